#!/bin/sh
# GPT-2 124M, f32, two threads: the training step's rate as a fraction of this machine's sgemm rate (2048 cube),
# measured in turn. usage: train_step.sh REMATC SGEMM SOURCE_DIR WORK_DIR [ROUNDS]
# Floating-point operations of a step: 6 (12 L D^2 + V D) for every token, and 6 L T D for causal attention.
set -eu
rematc=$1 sgemm=$2 source_dir=$3 work=$4 rounds=${5:-5}
mkdir -p "$work"
cd "$work"
OBJ=$work/obj OMP_NUM_THREADS=2
export OBJ OMP_NUM_THREADS
# any text read as pairs of 7-bit characters is a file of 16-bit tokens below 32768
[ -f tokens.u16 ] || cmake --help-full | LC_ALL=C tr -cd '\1-\177' | head -c 1000000 >tokens.u16
sed -e '/^save /d' -e 's/ *validate .*}/ u16 }/' -e 's/"train.bin"/"tokens.u16"/' "$source_dir/examples/gpt2-124m.remat" >gpt2.remat
run() { # B T wanted steps
    name=b$1t$2
    "$rematc" build gpt2.remat --set B=$1 --set T=$2 --set tokens_per_step=$(($1 * $2)) --budget 16GiB -o $name --force --quiet >/dev/null
    : >$name.ratio
    round=0
    while [ $round -lt $rounds ]; do
        before=$("$sgemm")
        rm -f $name.jsonl
        $name/train --steps $4 --quiet --sample 0 --log $name.jsonl
        after=$("$sgemm")
        seconds=$(sed -n 's/.*"step_seconds":\([0-9.]*\).*/\1/p' $name.jsonl | tail -n +2 | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }')
        awk -v s="$seconds" -v g="$before" -v h="$after" -v b=$1 -v t=$2 'BEGIN {
            flops = b * t * (6 * (12 * 12 * 768 * 768 + 50257 * 768) + 6 * 12 * t * 768)
            printf "%.3f %.3f %.1f\n", flops / s / ((g + h) / 2 * 1e9), s, (g + h) / 2 }' >>$name.ratio
        round=$((round + 1))
    done
    sort -n $name.ratio | awk -v b=$1 -v t=$2 -v want=$3 '{ r[NR] = $1; s[NR] = $2; g[NR] = $3 } END {
        m = int((NR + 1) / 2)
        printf "B=%d T=%d: %.3f of sgemm (step %.3f s, sgemm %.0f GFLOP/s; min %.3f, max %.3f; wanted %.2f)\n", b, t, r[m], s[m], g[m], r[1], r[NR], want }'
}
run 4 64 0.65 6
run 1 1024 0.60 4
