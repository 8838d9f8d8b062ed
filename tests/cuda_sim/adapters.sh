#!/bin/sh
# adapters.sh REMATC SOURCE WORK: whole CUDA programs on the simulated device that train adapters beside 4-bit weights, in
# f32 and on tensor cores, with moments in 32 and in 8 bits: two plans print the same losses, the host's are near.
. "$(dirname "$0")/common.sh"
shape="--set L=2 --set D=64 --set H=4 --set K=2 --set F=96 --set V=256 --set T=24 --set B=2 --set tokens_per_step=96"
shape="$shape --set adapt.rank=8"
for type in f32 bf16; do
    sed -e "s/compute bf16/compute $type/; /^weights/d; s/\"train.bin\"  validate \"val.bin\"/\"text\" bytes  validate 0.1/" \
        "$source/examples/llama3-8b-qlora.remat" > "$work/$type.remat"
    [ $type = f32 ] || sed -i 's/optimizer adamw(/optimizer adamw8bit(/' "$work/$type.remat"
    emit_three $type
    grep -q 'dequantize, ' "$work/$type-keep/train.cu" || fail "nothing is in 4 bits"
    run_three $type
    cmp "$work"/out-$type-keep/step-*3.safetensors "$work"/out-$type-block/step-*3.safetensors || fail "$type: other adapters"
    losses_near $type $type-keep $type-host
    losses $type-block --no-graph # two micro-steps a step: the second adds to gradients
    cmp "$work/$type-keep.loss" "$work/$type-block.loss" || fail "$type: recorded steps change the result"
    cmp "$work"/out-$type-keep/step-*3.safetensors "$work"/out-$type-block/step-*3.safetensors || fail "$type: --no-graph"
done
echo ok
