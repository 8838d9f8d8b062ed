#!/bin/sh
# copies.sh REMATC SOURCE WORK EMIT_COPIES: programs that move activations to host memory and back give the losses and
# the weights of the program that keeps everything, with copies at once and (--poison) as late as they may be; both
# high waters are the planned ones. A WAIT taken out shows.
. "$(dirname "$0")/common.sh"
emit_copies=$4
corpus

train_one() { # NAME OPTIONS...: NAME.jsonl, NAME.losses
    name=$1
    shift
    "$name/train" --steps 6 --quiet --fresh --save-dir "$name.save" --log "$name.jsonl" "$@" >/dev/null
    losses "$name.jsonl" >"$name.losses"
    [ "$(wc -l <"$name.losses")" = 6 ] || fail "$name: $(wc -l <"$name.losses") losses, not 6"
}
same() { # NAME: as the reference
    cmp none.losses "$1.losses" || fail "$1: losses differ"
    cmp none.save/step-*6.safetensors "$1".save/step-*6.safetensors || fail "$1: weights differ"
}
last_int() { # KEY NAME
    tail -n 1 "$2.jsonl" | sed -n "s/.*\"$1\": *\\([0-9]*\\).*/\\1/p"
}

"$rematc" build "$spec" $small --policy none --budget 1GiB -o none --quiet >/dev/null
train_one none
grep -q host_bytes none.jsonl && fail "none: host memory in a program without copies"
n=0
for policy in none every-block sqrt; do
    n=$((n + 1))
    "$emit_copies" $n 3 emit "$spec" $small --policy $policy --budget 1GiB -o copies$n >copies$n.out
    make -s -C copies$n >/dev/null
    grep -q 'OFFLOAD(0, ' copies$n/train.c || fail "copies$n: nothing is copied"
    host=$(json_int host_bytes copies$n/plan.json)
    for option in "" --poison; do
        train_one copies$n $option
        same copies$n
        for kind in "" host_; do
            [ "$(last_int planned_${kind}bytes copies$n)" = "$(last_int measured_${kind}bytes copies$n)" ] ||
                fail "copies$n: $(tail -n 1 copies$n.jsonl)"
        done
        [ "$(last_int planned_host_bytes copies$n)" = "$host" ] || fail "copies$n: host memory is not $host bytes"
    done
done
expect 0 copies1/train --dry-run
grep -q "planned pinned host memory .* ($(json_int host_bytes copies1/plan.json) bytes)" stderr.txt ||
    fail "$(cat stderr.txt)"
grep -q 'free on the host' stderr.txt || fail "$(cat stderr.txt)"
cp copies1/train.c whole.c
waits=$(grep -c 'WAIT(' whole.c)
for part in 1 4 7; do # of ten: the WAIT that is taken out
    line=$(grep -n 'WAIT(' whole.c | cut -d : -f 1 | sed -n "$((waits * part / 10 + 1))p")
    sed "${line}d" whole.c >copies1/train.c
    make -s -C copies1 >/dev/null
    code=0
    copies1/train --steps 6 --quiet --fresh --poison --save-dir lost.save --log lost.jsonl >/dev/null 2>&1 || code=$?
    losses lost.jsonl >lost.losses
    if [ $code = 0 ] && cmp -s none.losses lost.losses; then fail "WAIT $part/10 is missing and nothing shows"; fi
done
# more host memory than there is
sed 's/\.host_bytes = .*/.host_bytes = INT64_C(1) << 50,/' whole.c >copies1/train.c
make -s -C copies1 >/dev/null
expect 3 copies1/train --fresh --save-dir huge.save
grep -q 'of which 1125899906842624 for copies' stderr.txt || fail "$(cat stderr.txt)"
[ ! -e huge.save ] || fail "something was made before memory was checked"
echo "$n programs with copies gave the losses and weights of keep-all; missing waits show"
