#!/bin/sh
# fail_compiler.sh REMATC SOURCE WORK SHIM [NAME...]: every system call and allocation of rematc's verbs fails (at most
# REMAT_CAMPAIGN_MOST, 300, of each kind for each verb, evenly spread). Exit 0 means the answer of the run without a
# fault, byte for byte; else a code and a message say so, and what stood where the output goes is whole: as it was, or
# new.
. "$(dirname "$0")/common.sh"
shim=$4
shift 4
most=${REMAT_CAMPAIGN_MOST:-300}
cp "$tiny" tiny.remat
sed 's/steps 8 /steps   9 /' tiny.remat >loose.remat
corpus_dir=$source_dir/tests/campaign/corpus
cp "$corpus_dir/csv/all.csv" buffers.csv
cp "$corpus_dir/nodelink/chain.json" chain.json
# text, and what makes tokens of it; V holds them, and the loss takes the mask
cp -r "$source_dir/tests/cases/text" model
cp "$source_dir/tests/cases/chat/chatml.jinja" model/chat_template.jinja
tail -c +2 "$corpus_dir/lines/chat" >chat.jsonl
sed -e 's/V = [0-9]*/V = 300/' -e 's/data\.targets)/data.targets, mask = data.loss_mask)/' \
    -e 's/^data .*/data { train "chat.jsonl" chat  tokenizer "model" }/' tiny.remat >chat.remat
REMAT_CACHE=$PWD/output
export REMAT_CACHE

# what is run, by name; what it writes is ./output, where it writes anything
command_of() {
    case $1 in
    check) echo check tiny.remat ;;
    wrong) echo check tiny.remat --set H=3 --diagnostics json ;;
    plan | threads) echo plan tiny.remat --json ;;
    deny) echo plan tiny.remat --budget 64KiB --json ;;
    compare) echo plan tiny.remat --compare ;;
    budget) echo plan tiny.remat --budget 90KiB --json ;;
    dump) echo dump tiny.remat --stage layout ;;
    sweep) echo sweep tiny.remat --points 3 --json ;;
    explain) echo explain E0312 ;;
    devices) echo devices --json ;;
    solve) echo solve chain.json --budget 0.7 --json ;;
    pack) echo pack buffers.csv --json -o output ;;
    fmt) echo fmt --write output ;;
    dot) echo graph tiny.remat -o output.dot ;;
    svg) echo graph tiny.remat -o output.svg ;;
    emit) echo emit tiny.remat -o output ;;
    data) echo data chat.remat --json ;;
    esac
}
[ $# -gt 0 ] || set -- check wrong plan threads deny compare budget dump sweep explain devices solve pack fmt dot emit data svg

place() { # what stands at the output before the run
    rm -rf output output.*
    case $1 in
    pack | dot | svg) echo "a file that was there" >"$2" ;;
    fmt) cp loose.remat "$2" ;;
    emit) cp -r before.emit "$2" ;;
    esac
}
output_of() {
    case $1 in dot | svg) echo "output.$1" ;; pack | fmt | emit | data) echo output ;; *) echo none ;; esac
}
threads_of() { # with one thread the same call fails each time
    case $1 in threads | deny) echo 2 ;; *) echo 1 ;; esac
}
timeless() { # seconds that a verb took are no part of its answer
    sed 's/"seconds": [0-9.]*/"seconds": 0/' "$1"
}

# old_or_new A OLD NEW: every file of A is that of OLD or that of NEW, and nothing of OLD is missing
old_or_new() {
    [ -e "$2" ] || return 0
    # a manifest lists both for as long as both are there
    (cd "$2" 2>/dev/null && find . -type f ! -name rematc.manifest || echo .) | while read -r name; do
        cmp -s "$1/$name" "$2/$name" || cmp -s "$1/$name" "$3/$name" || cmp -s "$1" "$2" || cmp -s "$1" "$3" || echo "$name"
    done
}

# same NAME OUTPUT: what the run without a fault wrote. Of a picture only that it is whole: Graphviz draws without a
# font or a part of itself that it cannot open, takes a guess at the width of a text, and says nothing of it.
same() {
    case $1 in
    dot) head -c 7 "$2" | grep -q digraph && tail -c 2 "$2" | grep -q '}' ;;
    svg) head -c 5 "$2" | grep -q xml && tail -c 7 "$2" | grep -q '</svg>' ;;
    *) diff -r "$2" "after.$1" >/dev/null ;;
    esac
}

try() { # NAME KIND N ERRNO HOW
    attempt="$*"
    out=$(output_of "$1")
    place "$1" "$out"
    code=0
    # shellcheck disable=SC2046
    timeout -k 1 60 env REMAT_THREADS="$(threads_of "$1")" LD_PRELOAD="$shim" FAIL_KIND="$2" FAIL_N="$3" FAIL_ERRNO="$4" FAIL_HOW="$5" \
        "$rematc" $(command_of "$1") >stdout.txt 2>stderr.txt || code=$?
    timeless stdout.txt >answer.txt
    attempts=$((attempts + 1))
    if [ "$code" = "$expected" ]; then
        cmp -s answer.txt "$1.answer" || report "$attempt: exit $code with another answer"
        [ "$code" = 0 ] || cmp -s stderr.txt "$1.message" || report "$attempt: exit $code with another message"
        [ "$out" = none ] || same "$1" "$out" || report "$attempt: exit $code with another output"
    else
        case $code in
        6 | 70) [ -s stderr.txt ] || report "$attempt: exit $code without a word" ;;
        *) report "$attempt: exit $code: $(tail -n 1 stderr.txt)" ;;
        esac
        wrong=$(old_or_new "$out" "before.$1" "after.$1")
        [ -z "$wrong" ] || report "$attempt: neither the old nor the new: $wrong"
        if [ "$1" = emit ]; then # what was begun can be completed
            # shellcheck disable=SC2046
            "$rematc" $(command_of emit) >/dev/null 2>&1 || report "$attempt: the folder cannot be written again"
            diff -r output after.emit >/dev/null || report "$attempt: the folder is not completed"
        fi
        # standard output: nothing, a beginning of the answer, or JSON that says what failed
        if [ -s stdout.txt ] && ! head -c "$(wc -c <answer.txt)" "$1.answer" | cmp -s - answer.txt &&
            ! grep -q '"error"' stdout.txt; then
            report "$attempt: exit $code with a wrong answer"
        fi
    fi
    left=$(find . -name '*.part' -o -name '*.tmp' -o -name '.*.tmp*' | head -n 3)
    [ -z "$left" ] || report "$attempt: left behind: $left"
    find . -name '*.part' -delete -o -name '*.tmp' -delete
}

"$rematc" emit loose.remat -o before.emit >/dev/null
attempts=0
for name; do
    out=$(output_of "$name")
    place "$name" "$out"
    if [ -e "$out" ] && [ "$name" != emit ]; then cp -r "$out" "before.$name"; fi
    rm -f counts
    expected=0
    # shellcheck disable=SC2046
    env REMAT_THREADS="$(threads_of "$name")" LD_PRELOAD="$shim" FAIL_COUNT=counts "$rematc" $(command_of "$name") >stdout.txt 2>"$name.message" || expected=$?
    # of the compiler and of a child that it has: the higher number
    awk '{ if ($2 > most[$1]) most[$1] = $2 } END { for (kind in most) print kind, most[kind] + 0 }' counts | sort >calls.txt
    timeless stdout.txt >"$name.answer"
    [ "$out" = none ] || cp -r "$out" "after.$name"
    all=0
    while read -r kind calls; do
        case $name:$kind in
        # without any memory Fontconfig tries on until rematc ends the child, after ten minutes
        dot:memory | svg:memory) ways='12:once' ;;
        *:map | *:memory) ways='12:once 12:from' ;;
        *:open) ways='24:once 13:from' ;;
        *:read) ways='5:once 4:once 0:short' ;;
        *:write) ways='5:once 4:once 28:from 0:short' ;;
        *:rename | *:sync) ways='5:once 28:from 5:late' ;;
        *:fork) ways='11:once' ;;
        *) ways='5:once' ;;
        esac
        for way in $ways; do
            n=1 stride=$((calls / most + 1))
            while [ "$n" -le "$calls" ]; do
                try "$name" "$kind" "$n" "${way%:*}" "${way#*:}"
                n=$((n + stride)) all=$((all + 1))
            done
        done
    done <calls.txt
    echo "$name: $all failing calls"
done
verdict "$attempts failing calls of the compiler"
