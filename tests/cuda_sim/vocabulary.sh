#!/bin/sh
# vocabulary.sh REMATC SOURCE WORK EMIT_COPIES: programs with an odd vocabulary on the simulated device, whose logits,
# gradient and tied head have room for padded rows. In f32, in bf16, and with a head that is cast: two plans, copies to
# host memory, poison and a run that is resumed print the same losses; the host's are near. What is used is what was
# planned, checkpoints are as large as the host's, and the padding of the head stays zero.
. "$(dirname "$0")/common.sh"
emit_copies=$4
shape="--set L=2 --set D=32 --set T=24 --set B=2 --set V=517"

sed -e 's/^train {/tie "lm_head" = "wte"\n&/' -e 's/every 100 steps 8/every 1 steps 2/' \
    "$source/examples/bytes-gpt.remat" > "$work/f32.remat"
sed 's/^train {/dtype { compute bf16  trained bf16  gradient bf16 }\n&/' "$work/f32.remat" > "$work/bf16.remat"
sed 's/^train {/dtype { compute bf16  trained f32 }\n&/' "$work/f32.remat" > "$work/cast.remat"

validations() { # NAME
    sed -n 's/.*"validation_loss":\([^,}]*\).*/\1/p' "$work/$1.jsonl"
}
same() { # NAME NAME: training and validation
    cmp "$work/$1.loss" "$work/$2.loss" || fail "$1 and $2 differ"
    validations "$1" > "$work/one"
    validations "$2" | cmp - "$work/one" || fail "$1 and $2 differ when validated"
    [ -s "$work/one" ] || fail "$1 is not validated"
}
near() { # NAME NAME SHARE
    validations "$1" | cat "$work/$1.loss" - > "$work/one"
    validations "$2" | cat "$work/$2.loss" - | paste "$work/one" - |
        awk -v near="$3" '{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= near * $2)) bad = 1 } END { exit bad }' ||
        fail "$1 and $2 are not near"
}
as_planned() { # NAME: high water marks
    sed -n 's/.*"planned_bytes":\([0-9]*\),"measured_bytes":\([0-9]*\).*/\1 \2/p' "$work/$1.jsonl" |
        awk '$1 != $2 { bad = 1 } { n++ } END { exit bad || !n }' || fail "$1: not the planned memory"
}
# After every update of NAME, zeros past the elements of every weight that has room; on the simulated device its
# memory is the host's.
check_room() {
    awk '/^static const RtProgram program = / {
            print "static void checked_update(RtRun *run) {"
            print "    train_update(run);"
            print "    for (const RtTensor &t : tensors) {"
            print "        int64_t count = t.dim[0] * (t.rank > 1 ? t.dim[1] : 1), bytes = t.dtype == K_BF16 ? 2 : 4;"
            print "        for (int64_t i = count * bytes; t.kind == RT_PARAM && i < t.room * bytes; i++)"
            print "            if (run->arena[t.offset + i]) __builtin_trap();"
            print "    }"
            print "}"
        }
        { sub(/\.update = train_update/, ".update = checked_update"); print }' "$work/$1/train.cu" > "$work/checked.cu"
    cmp -s "$work/checked.cu" "$work/$1/train.cu" && fail "$1 is not checked"
    mv "$work/checked.cu" "$work/$1/train.cu"
}

for type in f32 bf16 cast; do
    emit_three $type
    grep -q 'linear, OUT(ROOM(.*, 2, 24, 517))' "$work/$type-keep/train.cu" || fail "$type: logits are not padded"
    grep -q 'cross_entropy_both, OUT(ROOM(.*, 2, 24, 517), F32(' "$work/$type-keep/train.cu" ||
        fail "$type: their gradient is not padded"
    grep -q 'ROOM(' "$work/$type-host/train.c" && fail "$type: padding on the host"
    check_room $type-block
    run_three $type
    same $type-keep $type-block
    near $type-keep $type-host "$([ $type = f32 ] && echo 1e-4 || echo 3e-2)"
    as_planned $type-keep
    as_planned $type-block
    for name in keep host; do wc -c < "$(ls "$work/out-$type-$name"/*.safetensors | tail -n 1)"; done | uniq |
        [ "$(wc -l)" = 1 ] || fail "$type: the host's checkpoint has another size"
    "$emit_copies" 5 3 emit "$work/$type.remat" $shape --target cuda --device h100 --budget 8GiB --policy none \
        -o "$work/$type-copies" --force
    build $type-copies
    losses $type-copies --poison
    same $type-keep $type-copies
    as_planned $type-copies
done

# resumed, with everything else poisoned
losses bf16-block --poison
tail -n 1 "$work/bf16-block.loss" > "$work/third.loss"
(cd "$work/bf16-block" && for steps in 2 3; do
    ./train --data "$work/text.txt" --save-dir "$work/out-resumed" $([ $steps = 2 ] && echo --fresh) --quiet --poison \
        --sample 0 --steps $steps --log "$work/resumed.jsonl" || exit
done) || fail "resumed"
sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$work/resumed.jsonl" | tail -n 1 | cmp - "$work/third.loss" ||
    fail "resumed, with another loss"

# the host draws the same text
for name in f32-keep f32-host; do
    (cd "$work/$name" && ./train --data "$work/text.txt" --save-dir "$work/out-$name" --fresh --steps 3 --sample 60 \
        --log "$work/text.jsonl") > "$work/$name.out" 2>&1 || fail "$(cat "$work/$name.out")"
    sed -n 's/.*"sample":\(.*\)/\1/p' "$work/text.jsonl" > "$work/$name.text"
    [ -s "$work/$name.text" ] || fail "$name: no text: $(cat "$work/text.jsonl")"
done
cmp "$work/f32-keep.text" "$work/f32-host.text" || fail "host and device draw other texts"

# the loss in chunks of tokens, for which alone there is memory
shape="--set L=1 --set D=16 --set T=64 --set B=16 --set V=4001"
reserved=$("$rematc" devices h100 --json | sed -n 's/.*"reserved_bytes": *\([0-9]*\).*/\1/p')
emit whole "$work/bf16.remat" --target cuda --device h100 --budget "$((reserved + (26 << 20)))B"
emit tiled "$work/bf16.remat" --target cuda --device h100 --budget "$((reserved + (14 << 20)))B"
grep -q 'lm_head.tile7: linear' "$work/tiled/train.cu" || fail "no tiles"
grep -q 'linear, OUT(ROOM(.*, 128, 4001))' "$work/tiled/train.cu" || fail "tiles are not padded"
for name in whole tiled; do
    build $name
    losses $name --poison
    as_planned $name
done
near tiled whole 1e-2
echo ok
