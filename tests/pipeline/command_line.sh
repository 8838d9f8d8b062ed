#!/bin/sh
# What rematc says: names of others never steer the terminal, and --json is answered in JSON whatever happens.
. "$(dirname "$0")/common.sh"
esc=$(printf '\033')
json_valid=$4 on_terminal=$5
valid() { "$json_valid" stdout.txt || { cat stdout.txt >&2; fail "no JSON: $*"; }; }
plain() { # no control character but newlines, no bidirectional mark, in FILE...
    if LC_ALL=C grep -q "[$(printf '\001-\010\013-\037\177')]" "$@"; then cat -v "$@" >&2; fail "a control character in $*"; fi
    if LC_ALL=C grep -q "$(printf '\342\200\256')" "$@"; then fail "a bidirectional mark in $*"; fi
}

# -- messages --
dark="no$esc]0;x$(printf '\007\342\200\256')"
expect 6 "$rematc" check "$dark"; plain stderr.txt; grep -q 'no\\x1b\]0;x\\x07\\u{202e}' stderr.txt || fail "the name is not spelled out"
expect 2 "$rematc" "$dark"; plain stderr.txt
expect 2 "$rematc" plan "$spec" --policy "$dark"; plain stderr.txt
expect 2 "$rematc" explain "$dark"; plain stderr.txt
expect 6 "$rematc" pack "$dark"; plain stderr.txt
expect 6 "$rematc" solve "$dark" --budget 0.5; plain stderr.txt

# -- what is wrong in a file, and results: spelled out on a terminal, byte for byte elsewhere --
bidi=$(printf '\342\200\256')
sed "s/\"h.{i}\"/\"h$bidi$esc[31m.{i}\"/" "$spec" >dark.remat
sed "s/^device host.*/device \"ho$esc[31mst$bidi\"/" "$spec" >wrong.remat
expect 1 "$rematc" check wrong.remat; plain stderr.txt
grep -q 'device "ho\\x1b\[31mst\\u{202e}"' stderr.txt || { cat -v stderr.txt >&2; fail "the source line is not spelled out"; }
grep -qxF '       ^~~~~~~~~~~~~~~~~~~~~~' stderr.txt || { cat -v stderr.txt >&2; fail "the caret is not under it"; }
expect 1 "$rematc" check wrong.remat --diagnostics json; plain stderr.txt
"$json_valid" stderr.txt || fail "no JSON"
for words in 'plan dark.remat' 'plan --why *.ln_1 dark.remat' 'dump dark.remat' 'fmt dark.remat' 'check dark.remat'; do
    # shellcheck disable=SC2086
    expect 0 "$on_terminal" "$rematc" $words
    tr -d '\r' <stdout.txt >shown.txt
    plain shown.txt
    # shellcheck disable=SC2086
    expect 0 "$rematc" $words
    case $words in
    fmt*) grep -q "h$bidi$esc\[31m" stdout.txt || fail "not byte for byte: $words" ;;
    esac
done
printf 'id,lower,upper,size\na\033[31m,0,1,64\n' >dark.csv
expect 0 "$on_terminal" "$rematc" pack dark.csv -o -; tr -d '\r' <stdout.txt >shown.txt; plain shown.txt stderr.txt
expect 0 "$rematc" pack dark.csv -o -; grep -q "^a$esc\[31m,0,1,64,0" stdout.txt || fail "the table is not byte for byte"

# -- near misses --
"$rematc" --version >version.txt
"$rematc" plan --help >plan.txt
for word in -V version; do expect 0 "$rematc" $word; cmp stdout.txt version.txt || fail "$word is not --version"; done
expect 0 "$rematc" plan -V; cmp stdout.txt version.txt || fail "plan -V is not --version"
expect 0 "$rematc" help plan; cmp stdout.txt plan.txt || fail "help plan is not plan --help"
expect 0 "$rematc" plan -h; cmp stdout.txt plan.txt || fail "plan -h is not plan --help"
expect 0 "$rematc" help; grep -q '^usage: rematc VERB' stdout.txt || fail "no help"
expect 2 "$rematc" help pln; grep -q "did you mean 'plan'" stderr.txt || fail "no suggestion for help pln"
expect 2 "$rematc" sovle x; grep -q "did you mean 'solve'" stderr.txt || fail "no suggestion for sovle"
expect 2 "$rematc" spec.remat; grep -q 'rematc check spec.remat' stderr.txt || fail "no verb, and no word of it"
expect 0 "$rematc" explain E0312; cp stdout.txt explained.txt
for code in 312 0312 e0312; do expect 0 "$rematc" explain $code; cmp stdout.txt explained.txt || fail "explain $code"; done
expect 0 "$rematc" explain; grep -q '^E0312  input does not match weight$' stdout.txt || fail "explain lists nothing"
[ "$(wc -l <stdout.txt)" = "$(grep -c '^CODE(' "$source_dir/frontend/language/codes.def")" ] || fail "explain does not list all codes"
expect 2 "$rematc" explain E9999; grep -q '`rematc explain` lists them all' stderr.txt || fail "no word of the list"
expect 2 "$rematc" plan "$spec" --policy best; grep -q -- '--policy' stderr.txt || fail "the option is not named"
# -- odd files --
printf '\377\376l\0a\0' >utf16.remat
expect 1 "$rematc" check utf16.remat; grep -q 'UTF-16: save it as UTF-8' stderr.txt || fail "no word of UTF-16"
{ printf '\357\273\277'; sed 's/$/\r/' "$spec"; } >windows.remat
expect 0 "$rematc" check windows.remat
printf '# About\n\n`rematc` is a compiler. Its files...\n' >prose.md
expect 1 "$rematc" check prose.md; [ "$(grep -c error: stderr.txt)" = 1 ] || { cat stderr.txt >&2; fail "more than one error about prose"; }
expect 6 "$rematc" check .; grep -q 'directory' stderr.txt || fail "no word of the directory"
expect 1 "$rematc" check /dev/null; grep -q 'is empty' stderr.txt || fail "no word of emptiness"

# -- answers in JSON --
expect 6 "$rematc" check "$dark" --json; valid check; grep -q '"exit": 6' stdout.txt || fail "no exit code in $(cat stdout.txt)"
expect 6 "$rematc" check "$(printf 'no\377\002"\\')" --json; valid 'check of no UTF-8'; plain stdout.txt stderr.txt
expect 2 "$rematc" plan "$spec" --policy heuristik --json; valid policy
grep -q "\"help\": \[\"did you mean 'heuristic'?\"\]" stdout.txt || fail "no help in $(cat stdout.txt)"
expect 2 "$rematc" plan "$spec" --bugdet 1GiB --json; valid option
expect 2 "$rematc" solve x.json --json; valid solve
printf 'id,lower,upper,size\na,0,x,1\n' >wrong.csv
expect 1 "$rematc" pack wrong.csv --json; valid pack; grep -q '"line": 2' stdout.txt || fail "no line in $(cat stdout.txt)"
sed 's/linear(/linaer(/' "$spec" >wrong.remat
expect 1 "$rematc" check wrong.remat --json; valid 'source errors'
grep -q '"diagnostics"' stdout.txt || fail "no diagnostics in $(cat stdout.txt)"
grep -q "did you mean 'linear'" stdout.txt || fail "no hint in $(cat stdout.txt)"
expect 6 "$rematc" check absent.remat --diagnostics json
{ "$json_valid" stderr.txt && grep -q '"severity": "error"' stderr.txt; } || fail "no JSON line on stderr"

# -- mistakes in options point at the option, and exit 2 --
says() { # says CODE TEXT OPTIONS...: every line of TEXT is a line of the message
    want_code=$1 want_text=$2
    shift 2
    expect "$want_code" "$rematc" check "$spec" "$@"
    [ "$(grep -cFx -e "$want_text" stderr.txt)" -ge "$(printf '%s\n' "$want_text" | wc -l)" ] ||
        { cat stderr.txt >&2; fail "no '$want_text' for $*"; }
    if grep -q "^$spec:" stderr.txt; then cat stderr.txt >&2; fail "points into the file: $*"; fi
}
says 2 "rematc: error: unknown device 'rtx3095' [E0702]
--device rtx3095
         ^~~~~~~
help: did you mean 'rtx3090'?" --device rtx3095
REMAT_HOST=h100 expect 2 "$rematc" devices host
grep -q "rematc: REMAT_HOST: 'h100' is no built-in host" stderr.txt || fail "REMAT_HOST: $(cat stderr.txt)"
REMAT_HOST=host-avx2 expect 0 "$rematc" devices host
grep -q '^host: this computer, 2 cores as those of host-avx2$' stdout.txt || fail "REMAT_HOST: $(cat stdout.txt)"
known=$("$rematc" devices | awk 'NR > 1 { printf "%s%s", (NR > 2 ? ", " : ""), $1 }')
echo "$known" | grep -q '^host, .*h200, ' || fail "devices: $known"
says 2 "note: known devices: $known" --device x
says 2 "rematc: error: dimension 'B' is 0, must be 1 to 2^40 [E0320]
--set B=0
        ^" --set B=0
says 2 "--set nosuch=1
      ^~~~~~
help: the dims of this file are V, D, L, H, E, B, T" --set nosuch=1
says 2 "--budget 3G
         ^~
help: did you mean '3GiB'?" --budget 3G
says 2 "help: write 3GiB, or 3MiB, or 3B" --budget=3
expect 2 "$rematc" sweep "$spec" --budget 30M..40MiB; grep -qx "help: did you mean '30MiB'?" stderr.txt || fail "no size meant in sweep"
says 2 "--device-memory 3gb
                ^~~
help: did you mean '3GB'?" --device-memory 3gb
says 2 "help: auto takes the micro-batches to choose from, for B alone: B = auto(1..8)" --set B=auto
says 2 "rematc: error: seed: -1 is out of range (0 to 9007199254740992) [E0402]" --set seed=-1
says 2 "help: did you mean 'optimizer.lr'?" --set lr=1e-3
says 2 "help: did you mean 'T'?" --set seq_len=8
expect 1 "$rematc" check "$spec" --set H=7 # the file is where it no longer fits: it says what was set
grep -qx 'note: the file is read with --set H=7' stderr.txt || { cat stderr.txt >&2; fail "no word of --set H=7"; }
expect 2 "$rematc" check "$spec" --device rtx3095 --json; valid 'wrong option'
grep -q '"option":"--device rtx3095","column":10' stdout.txt || fail "no option in $(cat stdout.txt)"
expect 2 "$rematc" check "$spec" --set "B=$dark"; plain stderr.txt

# -- limits of kernels are errors of check, whatever the device; those of a device, on it --
expect 1 "$rematc" check "$spec" --set D=257 --set H=1 --device h100
grep -q 'attend: 257 numbers a head; the kernels take at most 256 \[E0326\]' stderr.txt || { cat stderr.txt >&2; fail "no limit of heads"; }
expect 0 "$rematc" check "$spec" --set D=256 --set H=1 --device rtx3090 --set compute=f32
expect 1 "$rematc" check "$spec" --set D=256 --set H=2 --device t4 --set compute=f32
grep -q 'help: heads of at most 64 numbers fit it' stderr.txt || { cat stderr.txt >&2; fail "no limit of t4"; }
expect 0 "$rematc" check "$spec" --set D=256 --set H=4 --device t4 --set compute=f32

# -- warnings: once, and the exit code stays 0 --
sed 's/, causal)/)/' "$spec" >both_ways.remat
for verb in check plan 'plan --compare' 'dump --stage order' 'sweep --device t4,rtx3090 --budget 3GiB'; do
    # shellcheck disable=SC2086
    expect 0 "$rematc" $verb both_ways.remat --set compute=f32
    [ "$(grep -c W0601 stderr.txt)" = 1 ] || { cat stderr.txt >&2; fail "not one warning from $verb"; }
done
# attention whose result goes nowhere says nothing
awk '/attend\(/ { other = $0; sub(/o = /, "_o = ", other); sub(/, causal\)/, ")", other); print other } { print }' "$spec" >nowhere.remat
grep -q '_o = attend(.*E\]) as' nowhere.remat || fail "the example has changed"
expect 0 "$rematc" check nowhere.remat
[ -s stderr.txt ] && { cat stderr.txt >&2; fail "a warning of what reaches no loss"; }
expect 3 "$rematc" plan both_ways.remat --budget 1MiB
[ "$(grep -c W0601 stderr.txt)" = 1 ] || { cat stderr.txt >&2; fail "not one warning where nothing fits"; }
expect 0 "$rematc" check both_ways.remat --json; valid warnings
grep -q '"severity":"warning","code":"W0601"' stdout.txt || fail "no warning in $(cat stdout.txt)"
expect 0 "$rematc" check both_ways.remat --set T=1 --set tokens_per_step=16
[ -s stderr.txt ] && fail "one token a sequence has nothing to look ahead to"
expect 0 "$rematc" check "$spec"
[ -s stderr.txt ] && fail "a warning without a reason"

# -- options that exclude each other, folders without a name --
expect 2 "$rematc" fmt --check --write both_ways.remat
expect 2 "$rematc" emit "$spec" -o -
expect 2 "$rematc" build "$spec" -o ''
[ ! -e ./- ] || fail "a folder called -"
echo "messages answered"
