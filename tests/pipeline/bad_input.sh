#!/bin/sh
# Bad input of every sort: one clear error and the right exit code, never a crash.
. "$(dirname "$0")/common.sh"
corpus
one_error() { # the message has a line that says error or rematc:, and is short
    lines=$(wc -l <stderr.txt)
    [ "$lines" -ge 1 ] && [ "$lines" -le "${1:-12}" ] || { cat stderr.txt >&2; fail "$lines lines of message"; }
}
# -- the compiler --
: >empty.remat
expect 1 "$rematc" check empty.remat; one_error
head -c 100000 "$rematc" >binary.remat
expect 1 "$rematc" check binary.remat; one_error 80
expect 6 "$rematc" check absent.remat; one_error
expect 6 "$rematc" check .; one_error
i=0
while [ $i -lt 40 ]; do # truncated anywhere
    head -c $((i * 40)) "$spec" >cut.remat
    code=0
    "$rematc" check cut.remat >stdout.txt 2>stderr.txt || code=$?
    # what is left may be a whole file: only the data, save and device settings may be gone
    if [ "$code" = 0 ] && grep -q '^train {' cut.remat; then break; fi
    [ "$code" = 1 ] || fail "exit $code for the first $((i * 40)) bytes"
    one_error 80
    i=$((i + 1))
done
awk 'BEGIN { print "language 1"; printf "dims { A = "; for (i = 0; i < 200000; i++) printf "("; print "1 }" }' >deep.remat
expect 1 "$rematc" check deep.remat; one_error
awk 'BEGIN { print "language 1"; for (i = 0; i < 200000; i++) print "# " i; print "dims { X = 99999999999999999999 }" }' >huge.remat
expect 1 "$rematc" check huge.remat; one_error 40
expect 2 "$rematc"
expect 2 "$rematc" chekc "$spec"; grep -q "did you mean 'check'" stderr.txt || fail "no suggestion for chekc"
expect 2 "$rematc" plan "$spec" --bugdet 1GiB; grep -q "did you mean '--budget'" stderr.txt || fail "no suggestion for --bugdet"
expect 2 "$rematc" plan
expect 2 "$rematc" plan "$spec" --policy best
expect 2 "$rematc" plan "$spec" --set Z=3; one_error
expect 2 "$rematc" plan "$spec" --device rtx4091; grep -q rtx4090 stderr.txt || fail "no suggestion for rtx4091"
expect 3 "$rematc" plan "$spec" --budget 1MiB; grep -q 'smallest feasible budget' stderr.txt || fail "no smallest budget"
expect 6 "$rematc" emit "$spec" -o /proc/nowhere
for words in "plan $spec" "explain E0312" devices --help "plan --help" "emit $spec -o full"; do # a full disk
    code=0
    # shellcheck disable=SC2086
    "$rematc" $words >/dev/full 2>stderr.txt || code=$?
    [ "$code" = 6 ] || fail "exit $code, not 6, where standard output is full: $words"
done
expect 1 "$rematc" check "$spec" --set H=7
# -- the trainer --
"$rematc" build "$spec" $small -o program --quiet >/dev/null
expect 2 program/train --stpes 3
expect 2 program/train --steps many
expect 6 program/train --data absent.txt; one_error
printf 'short' >short.txt
expect 6 program/train --data short.txt; one_error
: >empty.txt
expect 6 program/train --data empty.txt; one_error
expect 0 program/train --dry-run
mkdir -p saves
expect 0 program/train --steps 3 --quiet --save-dir saves
for f in saves/step-*.safetensors; do printf '\377\377\377\377\377\377\377\177 junk' >"$f"; done
expect 6 program/train --save-dir saves; grep -q safetensors stderr.txt || fail "the unreadable checkpoint is not named"
printf 'x' >plain
expect 6 program/train --steps 3 --save-dir plain
# a full disk: files may not grow past 64 KiB
code=0
(ulimit -f 64; exec program/train --steps 3 --quiet --save-dir full) >stdout.txt 2>stderr.txt || code=$?
[ "$code" = 6 ] || { cat stderr.txt >&2; fail "exit $code on a full disk, not 6"; }
ls full/*.safetensors 2>/dev/null && fail "a torn checkpoint was left under its final name"
echo "every bad input answered"
