#!/bin/sh
# dry.sh REMATC SOURCE WORK: run.sh's way without a GPU. A bundle of small programs for this computer is made and gone
# through: where there is no GPU every part says so; where one is pretended, programs are timed and measured and
# results.sh makes tables of it; parts that fail, hang or are killed stop no other.
set -eu
rematc=$(realpath "$1") source=$(realpath "$2") work=$3
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
mkdir -p "$work"
cd "$work"
sh "$source/tests/gpu/prepare.sh" --dry "$rematc" "$source" "$work/bundle" > prepare.log 2>&1 || fail "$(tail -n 5 prepare.log)"
cd bundle
parts=$(sh run.sh parts)
[ "$(echo "$parts" | wc -w)" -ge 16 ] || fail "parts: $parts"

# a world in which only what stands in $work/world is found beside the usual tools; each does as $STUB says
world=$work/world
rm -rf "$world"
mkdir -p "$world"
for tool in sh awk cat cp cut date dirname grep head ls mkdir mktemp mv nproc rm sed sleep sort tail tar tee timeout tr wc; do
    ln -s "$(command -v $tool)" "$world/$tool"
done
printf '%s\n' "#!$world/sh" 'case ${STUB:-} in hang) exec sleep 600 ;; kill) kill -9 $$ ;; fail) echo "said: no"; exit 9 ;; esac' > "$work/stub"
chmod +x "$work/stub"
run() { # STUB CALL: out/ afresh
    rm -rf out
    env -i PATH="$world" HOME="$work" OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive STUB="$1" ${3:-} sh run.sh "$2" > "$work/run.log" 2>&1 || fail "run.sh $2: exit $?"
    grep -v '^Killed$' "$work/run.log" > "$work/shown" || : # which the shell says, of a command that is killed
    grep -v '^Killed$' out/log.txt | cmp -s - "$work/shown" || fail "the log is not what was shown"
}
ends() { # NAME CODES: the part's end stands in the log, with one of these codes
    grep -qE "^---- $1: exit ($2), [0-9]+ s$" out/log.txt || fail "$1: $(grep -- "---- $1" out/log.txt || tail -n 5 out/log.txt)"
}

# no GPU
run none second
for part in products tune-qlora sanitizer counters; do ends $part 5; done
run none first
for part in card probe gpt2 tune-gpt2 llama qlora lora large all tune-llama; do ends $part 5; done
[ "$(grep -c '^no GPU$' out/log.txt)" -ge 8 ] || fail "not every part says that there is no GPU"
grep -q 'check.sh: no GPU here' out/log.txt || fail "the checks do not say so"

# one of no known kind, beside programs for this computer
printf '%s\n' "#!$world/sh" 'echo "Pretended card, 1.0"' > "$world/nvidia-smi"
printf '%s\n' "#!$world/sh" 'case $* in *torch_peer*) echo "peer,gpt2-124m,eager,s a step,0.5,tokens/s,64,model TFLOP/s,1,first step s,2,peak bytes,1073741824" ;; esac' > "$world/python3"
chmod +x "$world/nvidia-smi" "$world/python3"
rm -rf out
for part in gpt2 tune-gpt2 llama lora qlora tune-llama tune-qlora pytorch probe; do
    PATH=$world OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive REMAT_GPU_EACH=0.001 sh run.sh $part > run.log 2>&1
done
for part in gpt2 tune-gpt2 llama lora qlora tune-llama tune-qlora pytorch; do ends $part 0; done
ends probe '127|126|125|1' # it is not in this bundle
grep -q '^step,gpt2-124m,median s,[0-9.]*,planned s,[0-9.]*,tokens/s,[1-9][0-9]*,peak bytes,\([0-9]*\),planned bytes,\1,steps,20,' \
    out/log.txt || fail "$(grep '^step' out/log.txt)"
grep -q '^linear  *[0-9]' out/log.txt || fail "nothing is said of where the time goes"
[ "$(ls out | wc -l)" -le 8 ] || fail "more files than come back: $(ls out)"
sh results.sh out > results.md
grep -q '^| gpt2-124m | [0-9.]* ms (planned: [0-9.]*) | [0-9]* | [0-9.]* GiB, planned and measured |$' results.md || fail "$(cat results.md)"
grep -q '^| PyTorch eager, gpt2-124m | 500.0 ms | 64 | 1.00 GiB |$' results.md || fail "$(cat results.md)"
grep -q '^| linear bf16.* | [0-9.]* ([0-9.]* to [0-9.]*) | [0-9]* TFLOP/s |$' results.md || fail "$(cat results.md)"
"$rematc" plan "$source/examples/gpt2-124m.remat" --set tokens_per_step=32 --set L=2 --set D=64 --set H=4 --set V=32768 \
    --set B=1 --set T=32 --set dtype.compute=bf16 --set dtype.trained=bf16 --set dtype.gradient=bf16 --device host --budget 2GiB --profile out/all.profile > plan.txt || fail "the profile is not read"
grep -q '^  computed from   times measured on .* thread' plan.txt || fail "$(grep 'computed' plan.txt)"

# every program and tool hangs, fails, is killed: all parts end, and soon
for tool in nvidia-smi python3 compute-sanitizer ncu nvcc; do
    rm -f "$world/$tool"
    cp "$work/stub" "$world/$tool"
done
printf '%s\n' "#!$world/sh" 'case $* in "--query-gpu=name --format=csv,noheader") echo "NVIDIA H100 80GB HBM3" ;; *) exec '"$work/stub"' ;; esac' > "$world/nvidia-smi"
mkdir -p speed/all-h100 build
for program in probe build/large build/test_ops build/bench_kernels speed/gpt2-124m/train speed/llama-1b/train speed/8b-lora/train \
    speed/8b-qlora/train speed/all-h100/train tune/gpt2-124m/tune tune/llama-1b/tune tune/8b-qlora/tune; do
    cp "$work/stub" $program
done
printf '%s\n' "#!$world/sh" "exec $work/stub" > check.sh
for stub in hang fail kill; do
    for call in first second; do
        begun=$(date +%s)
        run $stub $call REMAT_GPU_LIMIT=1
        [ $(($(date +%s) - begun)) -lt 120 ] || fail "$stub: $call took $(($(date +%s) - begun)) s"
        [ "$(grep -c '^==== ' out/log.txt)" = "$(grep -c '^---- ' out/log.txt)" ] || fail "$stub: a part has no end"
        case $call in first) some="probe gpt2 check all" code=. ;; *) some="products pytorch" ;; esac
        case $stub in hang) code='124|137' ;; fail) code='9' ;; kill) code='137' ;; esac
        for part in $some; do ends $part "$code"; done
    done
done
# the call's own end
run hang first "REMAT_GPU_LIMIT=1 REMAT_GPU_SECONDS=8"
grep -q '^no time left$' out/log.txt || fail "a call goes on after its end"
ends lora 124
echo "$parts"
