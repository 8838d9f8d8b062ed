#!/bin/sh
# adapters.sh REMATC SOURCE WORK: whole CUDA programs on the simulated device that train adapters beside 4-bit weights, in
# f32 and on tensor cores, with moments in 32 and in 8 bits: two plans print the same losses, the host's are near. Then
# weights that products dequantise themselves: `tune` measures that beside dequantising apart and the faster is taken;
# one profile is one set of bits at every plan, near the other's.
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

# -- products that take 4-bit weights --

# programs_with NAME FLAGS PROGRAM..: linked with the kernel of such products, compiled with the flags
programs_with() {
    name=$1 extra=$2
    shift 2
    ${CXX:-c++} -std=c++20 $flags $extra -x c++ -c -o "$work/$name.o" "$work/bf16-keep/kernels/matmul_packed.cu"
    for program in "$@"; do
        (cd "$work/$program" && ${CXX:-c++} -o train ./*.o $(ls ../obj/*.o | grep -v /matmul_packed) "../$name.o" -lm)
    done
}
# shellcheck disable=SC2086
"$rematc" tune "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --emit --folder "$work/tune" --force
build tune tune
${CXX:-c++} -std=c++20 $flags -DK_ALL_VARIANTS -x c++ -c -o "$work/all.o" "$work/tune/kernels/matmul_packed.cu"
(cd "$work/tune" && ${CXX:-c++} -o tune ./*.o $(ls ../obj/*.o | grep -v /matmul_packed) ../all.o -lm)
measure() { # NAME SLOW: a profile, where launches of those shapes take long
    rm -f "$work/$1.profile"
    REMAT_SIM_SLOW_LAUNCH="$2" "$work/tune/tune" -o "$work/$1.profile" --device h100 --each 0.0001 --only nf4 > "$work/tune.out" ||
        fail "$(cat "$work/tune.out")"
    grep '^variant.* linear.* nf4' "$work/$1.profile" > "$work/$1.ways"
    # down_proj's rows are 96 wide: it has no choice
    [ "$(wc -l < "$work/$1.ways")" = 6 ] && ! grep -v ' nf4.*,64\]' "$work/$1.ways" || fail "$1: $(cat "$work/$1.ways")"
}
# dequantize, whose shared memory is its two tables; the two tiles
apart=256:1088 large=256:73728 small=256:69632
measure small "$apart=12 $large=12"
! grep -v ' : weight_within_64x128$' "$work/small.ways" || fail "$(cat "$work/small.ways")"
measure large "$apart=12 $small=12"
! grep -v ' : weight_within_128x128$' "$work/large.ways" || fail "$(cat "$work/large.ways")"
measure apart "$large=12 $small=12"
! grep -v ' : weight_apart$' "$work/apart.ways" || fail "a slow kernel was chosen: $(cat "$work/apart.ways")"
grep -q "^time .* linear bf16.* < bf16.* nf4" "$work/apart.profile" || fail "$(cat "$work/apart.profile")"

# but for which way, by figures: the times are of this computer
time=$(grep -m 1 '^time.* dequantize' "$work/small.profile")
for way in small large apart; do
    { grep '^format\|^origin' "$work/$way.profile" && echo "${time%% : *} : p10_us=1 median_us=1 p90_us=1 count=5" &&
        cat "$work/$way.ways"; } > "$work/$way.only"
    for policy in none $([ $way != small ] || echo every-block); do
        emit $way-$policy "$work/bf16.remat" --target cuda --device h100 --budget 8GiB --policy $policy --profile "$work/$way.only" > /dev/null
    done
done
"$rematc" plan "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --policy none --profile "$work/small.only" --json > "$work/plan.json"
sed -n '/"products_dequantising"/,/}/p' "$work/plan.json" | tr -d ' \n' | grep -q '"within":[1-9][0-9]*,"apart":[1-9]' || fail "$(grep -A3 products_ "$work/plan.json")"
why() { # NAME PATTERN TEXT
    "$rematc" plan "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --profile "$work/$1.only" --why "$2" > "$work/why.txt"
    grep -q "^  its weight is dequantised $3\$" "$work/why.txt" || fail "$(cat "$work/why.txt")"
}
why small '*.mlp.up_proj' 'within the product, the faster when both were measured'
why apart '*.mlp.up_proj' 'apart from the product, the faster when both were measured'
why small '*.mlp.down_proj' 'apart from the product, the only way for these shapes and types'
build small-none
code=0
(cd "$work/small-none" && ./train --data "$work/text.txt" --fresh --quiet --steps 1 --save-dir "$work/out") > "$work/refused.out" 2>&1 || code=$?
[ $code = 70 ] && grep -q "linear: its variant 'weight_within_64x128' is not in this program" "$work/refused.out" ||
    fail "exit $code without the variant: $(cat "$work/refused.out")"
for program in small-every-block large-none apart-none; do build $program; done
for program in small-none small-every-block large-none; do
    tile=$(sed -n '1s/.* : weight_within_//p' "$work/${program%%-*}.ways")
    grep -q "^VARIANTS = -DK_WITH_weight_within_$tile=1\$" "$work/$program/Makefile" || fail "$program: $(grep '^VARIANTS' "$work/$program/Makefile")"
    grep -q "^ *VARIANT(weight_within_$tile);\$" "$work/$program/train.cu" || fail "$program: no product takes its weight packed"
    grep -q 'CALL(dequantize' "$work/$program/train.cu" || fail "$program: down_proj has no choice"
done
programs_with small "$(sed -n 's/^VARIANTS = //p' "$work/small-none/Makefile")" small-none small-every-block
programs_with large "$(sed -n 's/^VARIANTS = //p' "$work/large-none/Makefile")" large-none
losses small-none
losses small-every-block --poison
losses large-none
cmp "$work/small-none.loss" "$work/small-every-block.loss" || fail "one profile, two plans, two results"
cmp "$work"/out-small-none/step-*3.safetensors "$work"/out-small-every-block/step-*3.safetensors || fail "one profile, two plans, other adapters"
losses_near bf16 small-none bf16-host
cmp "$work/small-none.loss" "$work/large-none.loss" || fail "the tile of a product changes its bits"
! grep -q VARIANT "$work/apart-none/train.cu" "$work/apart-none/Makefile" || fail "variants that nobody chose"
losses apart-none
cmp "$work/apart-none.loss" "$work/bf16-keep.loss" || fail "what is dequantised apart is not as without a profile"
echo ok
