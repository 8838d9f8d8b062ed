#!/bin/sh
# What rematc says: names of others never steer the terminal, and --json is answered in JSON whatever happens.
. "$(dirname "$0")/common.sh"
esc=$(printf '\033')
json_valid=$4
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
says 2 "rematc: error: unknown device 'rtx3060' [E0702]
--device rtx3060
         ^~~~~~~
help: did you mean 'rtx3090'?" --device rtx3060
says 2 "note: known devices: host, t4, rtx3090, rtx4090, rtx5090, a10g, l4, l40s, a100-40, a100-80, h100-pcie, h100, h200, b200" --device x
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
says 2 "help: did you mean 'optimizer.lr'?" --set lr=1e-3
says 2 "help: did you mean 'T'?" --set seq_len=8
expect 1 "$rematc" check "$spec" --set H=7 # the file is where it no longer fits: it says what was set
grep -qx 'note: the file is read with --set H=7' stderr.txt || { cat stderr.txt >&2; fail "no word of --set H=7"; }
expect 2 "$rematc" check "$spec" --device rtx3060 --json; valid 'wrong option'
grep -q '"option":"--device rtx3060","column":10' stdout.txt || fail "no option in $(cat stdout.txt)"
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
for verb in check plan 'plan --compare' 'dump --stage order' 'sweep --device t4,rtx3090 --budget 2GiB'; do
    # shellcheck disable=SC2086
    expect 0 "$rematc" $verb both_ways.remat --set compute=f32
    [ "$(grep -c W0601 stderr.txt)" = 1 ] || { cat stderr.txt >&2; fail "not one warning from $verb"; }
done
expect 3 "$rematc" plan both_ways.remat --budget 1MiB
[ "$(grep -c W0601 stderr.txt)" = 1 ] || { cat stderr.txt >&2; fail "not one warning where nothing fits"; }
expect 0 "$rematc" check both_ways.remat --json; valid warnings
grep -q '"severity":"warning","code":"W0601"' stdout.txt || fail "no warning in $(cat stdout.txt)"
expect 0 "$rematc" check both_ways.remat --set T=1 --set tokens_per_step=16
[ -s stderr.txt ] && fail "one token a sequence has nothing to look ahead to"
expect 0 "$rematc" check "$spec"
[ -s stderr.txt ] && fail "a warning without a reason"
echo "messages answered"
