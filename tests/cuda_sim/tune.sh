#!/bin/sh
# tune.sh REMATC SOURCE WORK: a program that measures, on the simulated device. Its times stand for a card's: a plan for
# that card takes them, one for another card does not.
. "$(dirname "$0")/common.sh"
shape="--set L=2 --set D=32 --set H=2 --set T=16 --set B=1 --set tokens_per_step=16"
sed 's/^train {/dtype { compute bf16  trained bf16  gradient f32 }\n&/' "$source/examples/bytes-gpt.remat" > "$work/bf16.remat"

plan() { # DEVICE
    "$rematc" plan "$work/bf16.remat" $shape --target cuda --device "$1" --budget 8GiB --profile "$work/sim.profile"
}
rm -f "$work/sim.profile"
# shellcheck disable=SC2086
"$rematc" tune "$work/bf16.remat" $shape --target cuda --device h100 --budget 8GiB --emit --folder "$work/tune" --force
build tune tune
code=0
"$work/tune/tune" -o "$work/sim.profile" > "$work/refused.out" 2>&1 || code=$?
[ $code = 5 ] || fail "exit $code on a device that it was not made for"
grep -q 'this is simulated device (capability 9.0, 1 multiprocessors' "$work/refused.out" || fail "$(cat "$work/refused.out")"
[ ! -e "$work/sim.profile" ] || fail "a profile of another device"
"$work/tune/tune" -o "$work/sim.profile" --device h100 --each 0.001 > "$work/tune.out" || fail "$(cat "$work/tune.out")"
grep -q '^origin [0-9a-f]* device=h100 card=simulated_device driver=cuda-13.0 clocks=0/0 compiler=cuda-13.0-cublasLt-130000 ' \
    "$work/sim.profile" || fail "$(head -n 2 "$work/sim.profile")"
plan h100 > "$work/plan.out" || fail "$(cat "$work/plan.out")"
grep -q 'computed from   times measured on simulated device (driver cuda-13.0, cuda-13.0-cublasLt-130000)$' "$work/plan.out" ||
    fail "$(cat "$work/plan.out")"
code=0
plan h200 > "$work/plan.out" 2>&1 || code=$?
[ $code = 1 ] || fail "exit $code with another card's times"
grep -q 'no times of h200.*on other devices: h100' "$work/plan.out" || fail "$(cat "$work/plan.out")"
echo ok
