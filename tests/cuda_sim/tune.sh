#!/bin/sh
# tune.sh REMATC SOURCE WORK: a program that measures, on the simulated device. Its times stand for a card's: a plan for
# that card takes them, one for another card does not. Of the algorithms that a product has it chooses the fastest;
# programs that are planned with the profile take it, at every budget the same, and end where the library refuses it.
# So it does of the variants of our own kernels, of which a program has those that it takes.
. "$(dirname "$0")/common.sh"
shape="--set L=2 --set D=32 --set H=2 --set T=16 --set B=1 --set tokens_per_step=16"
sed 's/^train {/dtype { compute bf16  trained bf16  gradient f32 }\n&/' "$source/examples/bytes-gpt.remat" > "$work/bf16.remat"

plan() { # DEVICE
    "$rematc" plan "$work/bf16.remat" $shape --target cuda --device "$1" --budget 8GiB --profile "$work/sim.profile"
}
emit_with() { # NAME PROFILE OPTIONS..
    name=$1 profile=$2
    shift 2
    emit "$name" "$work/bf16.remat" --target cuda --device h100 --profile "$work/$profile" "$@" > /dev/null
}
# objects_with NAME FLAGS..: those of all programs, but for kernels that have variants, which are compiled with the flags
objects_with() {
    mkdir -p "$work/$1"
    cp "$work"/obj/*.o "$work/$1"
    for file in attention_mma norm; do
        ${CXX:-c++} -std=c++20 $flags ${2:-} -x c++ -c -o "$work/$1/$file.cu.o" "$work/plain/kernels/$file.cu"
    done
}
link_with() { # NAME OBJECTS
    (cd "$work/$1" && ${CXX:-c++} -o train ./*.o "../$2"/*.o -lm)
}
refused() { # NAME TEXT
    code=0
    (cd "$work/$1" && ./train --data "$work/text.txt" --fresh --quiet --steps 1 --save-dir "$work/out-$1") > "$work/refused.out" 2>&1 || code=$?
    [ $code = 5 ] || fail "$1: exit $code: $(cat "$work/refused.out")"
    grep -q "$2" "$work/refused.out" || fail "$1: $(cat "$work/refused.out")"
}
emit plain "$work/bf16.remat" --target cuda --device h100 --budget 8GiB --policy none > /dev/null
build plain
losses plain
! grep -q '^static const KChoice' "$work/plain/train.cu" || fail "algorithms that nobody chose"

rm -f "$work/sim.profile"
# shellcheck disable=SC2086
"$rematc" tune "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --emit --folder "$work/tune" --force
build tune tune
code=0
"$work/tune/tune" -o "$work/sim.profile" > "$work/refused.out" 2>&1 || code=$?
[ $code = 5 ] || fail "exit $code on a device that it was not made for"
grep -q 'this is simulated device (capability 9.0, 1 multiprocessors' "$work/refused.out" || fail "$(cat "$work/refused.out")"
[ ! -e "$work/sim.profile" ] || fail "a profile of another device"
objects_with all -DK_ALL_VARIANTS
(cd "$work/tune" && ${CXX:-c++} -o tune ./*.o ../all/*.o -lm)
# slow: the first variants of attention forwards, and of norms one with eight rows a block
REMAT_SIM_SLOW_LAUNCH="128:49152=10 256:128=10" REMAT_SIM_SLOW_PRODUCT=1 "$work/tune/tune" -o "$work/sim.profile" --device h100 --each 0.001 > "$work/tune.out" || fail "$(cat "$work/tune.out")"
grep -q '^origin [0-9a-f]* device=h100 card=simulated_device driver=cuda-13.0 clocks=0/0 compiler=cuda-13.0-cublasLt-130000 ' \
    "$work/sim.profile" || fail "$(head -n 2 "$work/sim.profile")"
# the library's first algorithm is the slow one: never chosen; each product has one line, however often it is measured
grep '^product' "$work/sim.profile" > "$work/products"
[ "$(wc -l < "$work/products")" -ge 10 ] || fail "only these products: $(cat "$work/products")"
! grep ' id=1 ' "$work/products" || fail "the slowest algorithm was chosen"
[ "$(sed 's/ : .*//' "$work/products" | sort -u | wc -l)" = "$(wc -l < "$work/products")" ] || fail "a product twice: $(cat "$work/products")"
for way in offload fetch duplex; do
    grep -q "^time [0-9a-f]* $way f32\[16777216\] < f32\[16777216\] : " "$work/sim.profile" || fail "no copies by $way"
done
grep '^variant' "$work/sim.profile" > "$work/variants"
for of in attend_packed attend_packed_bwd layernorm add_layernorm; do
    grep -q "^variant [0-9a-f]* $of .* : [a-z0-9_]*\$" "$work/variants" || fail "no variant of $of: $(cat "$work/variants")"
done
! grep -q ' : attend_e64_q128x64$\| : norm_rows8$' "$work/variants" || fail "a slow variant was chosen: $(cat "$work/variants")"
grep -v '^time [0-9a-f]* [a-z]*_*\(linear\|attend_packed\) ' "$work/sim.profile" > "$work/again.profile"
"$work/tune/tune" -o "$work/again.profile" --device h100 --each 0.001 > "$work/tune.out" || fail "$(cat "$work/tune.out")"
grep '^product' "$work/again.profile" | cmp - "$work/products" || fail "other algorithms than those that the times are of"
grep '^variant' "$work/again.profile" | cmp - "$work/variants" || fail "other variants than those that the times are of"

# variants that a profile names: called so at every plan, and the only ones that are compiled beside the first
grep -v '^product' "$work/sim.profile" | sed -e '/^variant/s/ : attend_e64.*/ : attend_e64_q64x64/' \
    -e '/^variant/s/ : attend_bwd_e64.*/ : attend_bwd_e64_kv64x64_q64x64/' -e '/^variant/s/ : norm_.*/ : norm_block/' > "$work/varied.profile"
emit_with varied varied.profile --budget 8GiB --policy none
emit_with varied-block varied.profile --budget 8GiB --policy every-block
for name in varied varied-block; do
    [ "$(grep -c '^ *VARIANT(attend_e64_q64x64);$' "$work/$name/train.cu")" -ge 1 ] || fail "$name: attention is the first variant"
    grep -q '^ *VARIANT(norm_block);$' "$work/$name/train.cu" || fail "$name: norms are the first variant"
    grep -q '^VARIANTS = -DK_WITH_attend_e64_q64x64=1 -DK_WITH_attend_bwd_e64_kv64x64_q64x64=1 -DK_WITH_norm_block=1$' "$work/$name/Makefile" ||
        fail "$name: $(grep '^VARIANTS' "$work/$name/Makefile")"
    build "$name"
done
! grep -q VARIANT "$work/plain/Makefile" "$work/plain/train.cu" || fail "variants that nobody chose"
code=0
(cd "$work/varied" && ./train --data "$work/text.txt" --fresh --quiet --steps 1 --save-dir "$work/out-varied") > "$work/refused.out" 2>&1 || code=$?
[ $code = 70 ] && grep -q "its variant '[a-z0-9_]*' is not in this program" "$work/refused.out" ||
    fail "exit $code without the variants: $(cat "$work/refused.out")"
objects_with taken "$(sed -n 's/^VARIANTS = //p' "$work/varied/Makefile")"
link_with varied taken
link_with varied-block all
losses varied
losses varied-block --poison
cmp "$work/varied.loss" "$work/varied-block.loss" || fail "one profile, two plans, two results"
losses_near bf16 varied plain
code=0
sed '/^variant/s/ : norm_.*/ : attend_e64_q64x64/' "$work/sim.profile" > "$work/other.profile"
"$rematc" plan "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --profile "$work/other.profile" > "$work/plan.out" 2>&1 || code=$?
[ $code = 1 ] && grep -q "'attend_e64_q64x64' is no variant of " "$work/plan.out" || fail "exit $code: $(cat "$work/plan.out")"

# one that rounds otherwise: the profile makes the bits, the plan does not
sed -e '/^variant/d' -e '/^product/s/ : .*/ : id=3 tile=13 stages=1 splits=1 reduction=0 swizzle=0 custom=0 inner=0 cluster=3/' \
    "$work/sim.profile" > "$work/single.profile"
emit_with keep single.profile --budget 8GiB --policy none
emit_with block single.profile --budget 8GiB --policy every-block
grep -q '^ *{.id = 3, .tile = 13, .stages = 1' "$work/keep/train.cu" || fail "the program does not say which algorithms it takes"
build keep
build block
losses keep
losses block --poison
cmp "$work/keep.loss" "$work/block.loss" || fail "one profile, two plans, two results"
! cmp -s "$work/keep.loss" "$work/plain.loss" || fail "the chosen algorithms are not those that ran"
losses_near bf16 keep plain

# what the library has not, for this product or at all, and another library
sed '/^product/s/tile=[0-9]*/tile=77/' "$work/single.profile" > "$work/other.profile"
emit_with tile other.profile --budget 8GiB --policy none
build tile
refused tile 'error: cuBLASLt: the algorithm that was chosen when it was measured is refused.*(product of bf16 operands into'
sed '/^product/s/ id=[0-9]*/ id=9/' "$work/single.profile" > "$work/other.profile"
emit_with id other.profile --budget 8GiB --policy none
build id
refused id 'error: cuBLASLt: the algorithm that was chosen when it was measured is refused'
sed '/^origin/s/cublasLt-130000/cublasLt-120900/' "$work/single.profile" > "$work/other.profile"
emit_with library other.profile --budget 8GiB --policy none
build library
refused library 'were measured with cuda-13.0-cublasLt-120900, and here is cuda-13.0-cublasLt-130000'

plan h100 > "$work/plan.out" || fail "$(cat "$work/plan.out")"
grep -q 'computed from   times measured on simulated device (driver cuda-13.0, cuda-13.0-cublasLt-130000)$' "$work/plan.out" ||
    fail "$(cat "$work/plan.out")"
code=0
plan h200 > "$work/plan.out" 2>&1 || code=$?
[ $code = 1 ] || fail "exit $code with another card's times"
grep -q 'no times of h200.*on other devices: h100' "$work/plan.out" || fail "$(cat "$work/plan.out")"
echo ok
