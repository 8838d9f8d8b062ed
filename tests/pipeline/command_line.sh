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
echo "messages answered"
