#!/bin/sh
# The documents say what happens: documents.sh REMATC SOURCE_DIR WORK_DIR. Of the blocks in README.md and docs/*.md
# (indented by four spaces, or between ```),
#
#     language 1 ..        a whole file: `check` finds nothing wrong
#     $ rematc ..          exits with 0 and prints what stands below, up to the next `$`; where that has an error,
#                          with another code
#     rematc ..            exits with 0 (with what is behind `#` left out); `run` builds, since there are no weights
#     device NAME ..       a .device file
#     of language.md       parts of a file, which parse: the whole block, or each of its lines
#
# Other programs' commands, messages and emitted code are not run, nor blocks where `..` stands for something.
. "$(dirname "$0")/common.sh"
mkdir bin
ln -s "$rematc" bin/rematc
ln -s "$source_dir/examples" examples
PATH=$work/bin:$PATH
export PATH
# eight layers forward, and backward again through what they left
awk 'BEGIN { n = 8
    printf "{\"directed\": true, \"nodes\": ["
    for (i = 0; i < 2 * n; i++) printf "%s{\"id\": %d, \"duration\": 1, \"out_cost\": 4096}", i ? ", " : "", i
    printf "], \"links\": ["
    for (i = 1; i < 2 * n; i++) printf "%s{\"source\": %d, \"target\": %d}", (i > 1 ? ", " : ""), i - 1, i
    for (i = 0; i < n; i++) printf ", {\"source\": %d, \"target\": %d}", i, 2 * n - 1 - i
    print "]}" }' >GRAPH.json
printf 'id,lower,upper,size\na,0,4,4096\nb,2,6,4096\n' >BUFFERS.csv

# published configurations, and one of a kind that is not known yet
mkdir -p models/Qwen3-30B-A3B
for model in "$source_dir"/tests/cases/import/*/; do ln -sn "$model" "models/$(basename "$model")"; done
sed -e 's/"model_type": "qwen3"/"model_type": "qwen3_moe"/' -e '2s/^/  "decoder_sparse_step": 1,\n  "norm_topk_prob": true,\n/' \
    models/Qwen3-4B/config.json >models/Qwen3-30B-A3B/config.json

# and one with a tokenizer and a chat template
cp -RL models/Qwen2.5-0.5B models/Qwen2.5-0.5B-Instruct
chmod -R u+w models/Qwen2.5-0.5B-Instruct
cp "$source_dir"/tests/cases/text/*.json models/Qwen2.5-0.5B-Instruct
cp "$source_dir/tests/cases/chat/chatml.jinja" models/Qwen2.5-0.5B-Instruct/chat_template.jinja
for i in 1 2 3 4; do
    echo '{"messages": [{"role": "user", "content": "Who wrote Faust?"}, {"role": "assistant", "content": "Goethe."}]}'
done >chats.jsonl
REMAT_CACHE=$work/cache
export REMAT_CACHE

# block-N: the lines; block-N.place: where it begins
cut_blocks() {
    awk -v folder="$1" -v name="$2" '
        function begin() { block = sprintf("%s/%s-%03d", folder, name, FNR); print name ".md:" FNR >(block ".place"); open = 1; blank = 0 }
        function add(line) { while (blank > 0) { print "" >block; blank-- }; print line >block }
        /^```/ { fenced = !fenced; if (fenced) { begin(); fence_first = 1 } else open = 0; next }
        fenced { add($0); next }
        /^    / { if (!open) begin(); add(substr($0, 5)); next }
        /^[ \t]*$/ { if (open) blank++; next }
        { open = 0 }' "$3"
}
mkdir blocks
for document in "$source_dir/README.md" "$source_dir"/docs/*.md; do
    cut_blocks blocks "$(basename "$document" .md)" "$document"
done

ran=0 compared=0 specs=0 parts=0
wrong() { cat "$@" >&2; fail "$place"; }
# command LINE SHOWN: runs it; SHOWN has what the document prints, or is empty
command_of() {
    got=0
    sh -c "$(echo "$1" | sed -n -e 's/^rematc run \(.*\) -- .*/rematc build \1/' -e p)" >output.txt 2>&1 </dev/null || got=$?
    if grep -q 'error: ' "$2"; then want=failure; else want=0; fi
    case $want$got in 00 | failure[1-9]) ;; *) echo "exit code $got of: $1" >&2; wrong output.txt ;; esac
    ran=$((ran + 1))
    [ -s "$2" ] || return 0
    cmp -s "$2" output.txt || { echo "other output of: $1" >&2; diff "$2" output.txt >difference.txt || :; wrong difference.txt; }
    compared=$((compared + 1))
}
session() { # FILE: `$` lines with what they print
    line='' && : >shown.txt
    while IFS= read -r text; do
        case $text in
        '$'*)
            sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' shown.txt >trimmed.txt # blank lines between two commands
            case $line in rematc\ *) command_of "$line" trimmed.txt ;; esac
            line=${text#\$} line=${line# } && : >shown.txt
            ;;
        *) printf '%s\n' "$text" >>shown.txt ;;
        esac
    done <"$1.ends"
}
for place_file in blocks/*.place; do
    block=${place_file%.place}
    place=$(cat "$place_file")
    first=$(head -n 1 "$block")
    case $first in
    'language 1'*)
        cp "$block" part.remat
        rematc check part.remat >output.txt 2>&1 || wrong output.txt
        specs=$((specs + 1))
        ;;
    device\ *MiB* | device\ *#*)
        cp "$block" part.device
        rematc devices ./part.device >output.txt 2>&1 || wrong output.txt
        parts=$((parts + 1))
        ;;
    '$ '*)
        { cat "$block" && echo '$'; } >"$block.ends"
        session "$block"
        ;;
    *)
        grep '^rematc ' "$block" | sed 's/  *#.*//' >commands.txt || :
        : >nothing.txt
        while IFS= read -r line; do command_of "$line" nothing.txt; done <commands.txt
        case $block in blocks/language-*) ;; *) continue ;; esac
        [ ! -s commands.txt ] || continue
        grep -q '[{(] *\.\.' "$block" && continue # `..` stands for something
        { echo 'language 1' && cat "$block"; } >part.remat
        if ! rematc dump --stage ast part.remat >output.txt 2>&1; then
            while IFS= read -r line; do
                printf 'language 1\n%s\n' "$line" >part.remat
                rematc dump --stage ast part.remat >output.txt 2>&1 || wrong output.txt
            done <"$block"
        fi
        parts=$((parts + 1))
        ;;
    esac
done
# what stands in the documents today: a pattern that no longer finds it must not pass
[ "$specs" -ge 1 ] && [ "$parts" -ge 8 ] && [ "$ran" -ge 12 ] && [ "$compared" -ge 5 ] ||
    fail "only $specs files, $parts parts, $ran commands, $compared outputs were found"
echo "$specs files, $parts parts of files, $ran commands, $compared of their outputs: as the documents say"
