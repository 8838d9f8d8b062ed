#!/bin/sh
# launches.sh REMATC SOURCE WORK [SPEC OPTIONS..]: what a step of an emitted CUDA program issues, from the program
# itself on a device that only counts (launches.cpp): kernels, products, fills and copies by operation, and the bytes of
# their operands. Without SPEC it is gpt2-124m in bf16, B = 16, T = 1024. Needs a C++ compiler, neither nvcc nor a GPU.
# Exit 1 where the plan says another number of nodes and copies, or where there are more than REMAT_MOST_LAUNCHES or bytes
# than REMAT_MOST_GB.
set -eu
rematc=$(realpath "$1") source=$(realpath "$2") work=$3
shift 3
[ $# -gt 0 ] || set -- "$source/examples/gpt2-124m.remat" --set dtype.compute=bf16 --set dtype.trained=bf16 \
    --set dtype.gradient=bf16 --device h100 --budget 60GiB --set B=16 --set tokens_per_step=16384
spec=$1
shift
mkdir -p "$work/obj"
work=$(realpath "$work")
sed '/^weights /d; /^save /d; s/^data .*/data { train "tokens.u16" u16 }/' "$spec" > "$work/spec.remat"
head -c 8000000 /dev/zero > "$work/tokens.u16"
"$rematc" plan "$work/spec.remat" --target cuda "$@" --json > "$work/plan.json"
"$rematc" emit "$work/spec.remat" --target cuda "$@" -o "$work/program" --force > /dev/null
cd "$work/program"
flags="-O0 -w -I. -I$source/tests/cuda_sim"
rm -f ../obj/*.o
for file in kernels/*.cu train.cu "$source/tests/bench/launches.cpp"; do
    ${CXX:-c++} -std=c++20 $flags -x c++ -c -o "../obj/$(basename "$file").o" "$file"
done
for file in $(ls runtime/*.c | grep -v /tune) kernels/workspace.c; do
    ${CC:-cc} -std=gnu11 $flags -c -o "../obj/$(basename "$file").o" "$file"
done
${CXX:-c++} -Wl,--wrap=rt_call -o counted ../obj/*.o -lm
# two runs: what is issued before the first step and after the last falls out
count() { # NAME OPTIONS..
    name=$1
    shift
    for steps in 1 3; do
        ./counted --data "$work/tokens.u16" --quiet --sample 0 --steps $steps "$@" > "$work/counted"
        sed -n 's/^count //p' "$work/counted" > "$work/$name-$steps"
    done
}
count steps --no-graph
count graphs
awk -v spec="$(basename "$spec")" -v most="${REMAT_MOST_LAUNCHES:-1e9}" -v most_gb="${REMAT_MOST_GB:-1e9}" '
    NR == FNR { calls[$1] = $2; issued[$1] = $3; bytes[$1] = $4; next }
    {
        n = ($2 - calls[$1]) / 2; k = ($3 - issued[$1]) / 2; gb = ($4 - bytes[$1]) / 2e9
        if (k) printf "%-22s %5d calls %5d launches %8.3f GB\n", $1, n, k, gb | "sort -k 6 -n -r"
        launches += k
        if ($1 !~ /^(linear|attend)/) rest += gb
    }
    END {
        close("sort -k 6 -n -r")
        printf "%s: %d launches a step; %.1f GB outside products and attention\n", spec, launches, rest
        exit (launches > most || rest > most_gb)
    }' "$work/steps-1" "$work/steps-3"
planned() { # KEY
    sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' "$work/plan.json" | head -n 1
}
awk -v launches="$(planned launches)" -v transfers="$(planned transfers)" '
    NR == FNR { calls[$1] = $2; issued[$1] = $3; next }
    { n = ($2 - calls[$1]) / 2; k = ($3 - issued[$1]) / 2; if ($1 == "graphs") { graphs = k; nodes = n } else copies += k }
    END {
        printf "recorded: %d graphs of %d nodes in all, and %d copies of batches and results", graphs, nodes, copies
        printf " (by the plan: %d and %d)\n", launches, transfers
        exit nodes != launches || copies != transfers
    }' "$work/graphs-1" "$work/graphs-3"
