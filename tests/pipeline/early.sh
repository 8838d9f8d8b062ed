#!/bin/sh
# Without clipping and accumulation, weights are updated as soon as their gradients are complete: the numbers are those
# of updates after the backward pass (a norm that is never reached), under every plan and when killed and resumed; what
# is planned is what is measured; and less memory is needed.
. "$(dirname "$0")/common.sh"
corpus
one_micro="$small --set D=64 --set L=6 --set B=1 --set T=32 --set tokens_per_step=32 --set save.every=5"
steps=200
early="$one_micro --set clip_norm=0"

measures_its_plan() { # name
    planned=$(sed -n 's/.*"planned_bytes": *\([0-9]*\).*/\1/p' "$1.jsonl" | head -n 1)
    measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' "$1.jsonl" | tail -n 1)
    [ "$planned" = "$measured" ] || fail "$1: planned $planned bytes, measured $measured"
}
is_like_late() { # name
    losses "$1.jsonl" | cmp - late.losses || fail "$1: losses differ"
    cmp late/step-*$steps.safetensors "$1"/step-*$steps.safetensors || fail "$1: weights differ"
}

"$rematc" build "$spec" $one_micro --set clip_norm=1e30 --budget 1GiB -o late.program --quiet >/dev/null
grep -q 'updates_within = 0' late.program/train.c || fail "clipping has to wait for the norm"
late.program/train --quiet --steps $steps --save-dir late --log late.jsonl >/dev/null
losses late.jsonl >late.losses
[ "$(wc -l <late.losses)" = $steps ] || fail "$(wc -l <late.losses) losses, not $steps"

"$rematc" plan "$spec" $one_micro --set clip_norm=1e30 --json --budget 1GiB >late.json
"$rematc" plan "$spec" $early --json --budget 1GiB >early.json
low=$(json_int smallest_bytes early.json)
high=$(json_int keep_all_bytes early.json)
saved=$(($(json_int smallest_bytes late.json) - low))
gradients=$((6 * 12 * 64 * 64 * 4)) # the matrices of the blocks, in f32
[ $((saved * 10)) -ge $((gradients * 6)) ] || fail "$saved bytes saved of $gradients"

n=0
for i in 0 1 2 3; do
    budget=$((low + (high - low) * i / 3))
    "$rematc" build "$spec" $early --budget "${budget}B" -o "early$i.program" --quiet >/dev/null
    grep -q 'updates_within = 1' "early$i.program/train.c" || fail "early$i: nothing is updated within the micro-step"
    "early$i.program/train" --quiet --steps $steps --save-dir "early$i" --log "early$i.jsonl" --poison >/dev/null
    measures_its_plan "early$i"
    is_like_late "early$i"
    n=$((n + 1))
done

kills=0
tries=0
while [ "$tries" -lt 30 ]; do # by turns at once and after the step
    tries=$((tries + 1))
    early0.program/train --quiet --steps $steps --save-dir killed --log killed.jsonl >/dev/null 2>&1 &
    pid=$!
    sleep "0.$((tries * 7 % 10))$((tries * 3 % 10))"
    if [ $((tries % 2)) = 0 ]; then signal=KILL; else signal=TERM; fi
    if kill -$signal $pid 2>/dev/null; then kills=$((kills + 1)); fi
    code=0
    wait $pid 2>/dev/null || code=$?
    [ "$code" = 0 ] && break
done
early0.program/train --quiet --steps $steps --save-dir killed --log killed.jsonl >/dev/null
is_like_late killed
echo "$n programs and one stopped $kills times gave the numbers of late updates; $saved bytes saved of $gradients"
