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
    emit $type-keep "$work/$type.remat" --target cuda --device h100 --budget 8GiB --policy none
    emit $type-block "$work/$type.remat" --target cuda --device h100 --budget 8GiB --policy every-block
    emit $type-host "$work/$type.remat" --device host --budget 1GiB --policy none
    grep -q 'dequantize, ' "$work/$type-keep/train.cu" || fail "nothing is in 4 bits"
    build $type-keep
    build $type-block
    make -s -C "$work/$type-host" OBJ="$work/obj-host" > "$work/host.log" 2>&1 || fail "$(cat "$work/host.log")"
    losses $type-keep
    losses $type-block --poison
    losses $type-host
    cmp "$work/$type-keep.loss" "$work/$type-block.loss" || fail "$type: two plans, two results"
    cmp "$work"/out-$type-keep/step-*3.safetensors "$work"/out-$type-block/step-*3.safetensors || fail "$type: other adapters"
    losses_near $type $type-keep $type-host
done
echo ok
