#!/bin/sh
# train.sh REMATC SOURCE WORK EMIT_COPIES: whole CUDA programs on the simulated device. A small bytes-gpt, in f32 and
# in bf16, is emitted with two plans, with copies to host memory, and for the host. All plans must print the same
# losses, to the last digit, with dead memory poisoned, and leave the same checkpoints whether steps are replayed or
# launched operation by operation; the host's must be near. A WAIT taken out must show, and so must a number that a
# recorded launch keeps.
. "$(dirname "$0")/common.sh"
emit_copies=$4
shape="--set L=2 --set D=32 --set T=24 --set B=2"

spec=$source/examples/bytes-gpt.remat
sed 's/^train {/dtype { compute bf16  trained bf16  gradient f32 }\n&/' "$spec" > "$work/bf16.remat"
cp "$spec" "$work/f32.remat"
for type in f32 bf16; do
    emit_three $type
    run_three $type
    "$emit_copies" 5 3 emit "$work/$type.remat" $shape --target cuda --device h100 --budget 8GiB --policy none \
        -o "$work/$type-copies" --force
    build $type-copies
    for option in --no-graph --poison; do
        losses $type-copies $option
        cmp "$work/$type-keep.loss" "$work/$type-copies.loss" || fail "$type: copies change the result"
        cmp "$work"/out-$type-keep/step-*3.safetensors "$work"/out-$type-copies/step-*3.safetensors ||
            fail "$type: copies, $option: another checkpoint"
    done
    losses_near $type $type-keep $type-host
done
# every kernel runs once before anything is read, and what is used beside the arena is said then
(cd "$work/f32-keep" && ./train --dry-run 2> "$work/dry.err") || fail "$(cat "$work/dry.err")"
grep -q 'code_bytes = INT64_C(268435456)' "$work/f32-keep/train.cu" || fail "no room for the code of kernels"
grep -Eq '^steps: recorded as graphs of [0-9]+ nodes and [0-9]+$' "$work/dry.err" ||
    fail "$(cat "$work/dry.err")"
(cd "$work/f32-keep" && ./train --dry-run --no-graph 2> "$work/dry.err") || fail "$(cat "$work/dry.err")"
grep -q '^steps: operation by operation (--no-graph)$' "$work/dry.err" || fail "$(cat "$work/dry.err")"
grep -q '^context and libraries: planned 783.00 MiB, measured ' "$work/dry.err" || fail "$(cat "$work/dry.err")"
# a number by value, which is another in each step: right when launched, wrong when replayed
mkdir -p "$work/planted"
sed -e 's/const KStep \*now/float now/; s/now->loss_scale/now/; s/cx->now/cx->loss_scale/' "$work/f32-keep/kernels/loss.cu" \
    > "$work/planted/loss.cu"
(cd "$work/f32-keep" && ${CXX:-c++} -std=c++20 $flags -Ikernels -x c++ -c -o ../planted/loss.o ../planted/loss.cu &&
    ${CXX:-c++} -o train ./*.o ../planted/loss.o $(ls ../obj/*.o | grep -v '/loss.cu.o') -lm) || fail "the planted number"
cp "$work/f32-keep.loss" "$work/right.loss"
losses f32-keep --no-graph
cmp "$work/right.loss" "$work/f32-keep.loss" || fail "the planted number changes launches"
losses f32-keep
if cmp -s "$work/right.loss" "$work/f32-keep.loss"; then fail "a number by value in a recorded launch: nothing shows"; fi
cp "$work/right.loss" "$work/f32-keep.loss"
# a ticket whose WAIT no other does the work of: copies one way are done one after the other
cp "$work/f32-copies/train.cu" "$work/whole.cu"
for kind in OFFLOAD FETCH; do
    for nth in 2 5; do
        ticket=$(awk -F '[(),]' -v kind=$kind '
            $1 ~ /OFFLOAD|FETCH/ { alone[$2] = $1 ~ kind }
            $1 ~ /WAIT/ { if (alone[$2]) print $2; for (t in alone) alone[t] = 0 }' "$work/whole.cu" | sed -n ${nth}p)
        sed "/WAIT($ticket);/d" "$work/whole.cu" > "$work/f32-copies/train.cu"
        build f32-copies
        rm -f "$work/lost.jsonl"
        (cd "$work/f32-copies" && ./train --data "$work/text.txt" --save-dir "$work/out-lost" --fresh --quiet \
            --poison --sample 0 --steps 3 --log "$work/lost.jsonl" > "$work/lost.out" 2>&1) || continue
        sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$work/lost.jsonl" > "$work/lost.loss"
        if cmp -s "$work/f32-keep.loss" "$work/lost.loss"; then fail "$kind $ticket is not waited for: nothing shows"; fi
    done
done
echo ok
