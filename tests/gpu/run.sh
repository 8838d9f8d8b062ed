#!/bin/sh
# run.sh first|second|PART..: in a folder made by prepare.sh, on the machine with the GPU. Each part runs under a limit of
# its own; one that fails, hangs or is killed does not stop the others. What they print is shown as it comes and stands
# in $OUT/log.txt (out/ unless OUT is set), with profiles and steps beside it: at most eight files, for results.sh.
#   first    at most 5 minutes, what tells most first
#   second   at most 5 minutes: peers, more products, sanitizer, counters
#   parts    the parts of both, by name any of them
# REMAT_GPU_SECONDS: after which a call ends (290). REMAT_GPU_LIMIT: most seconds of any command of a part.
# REMAT_GPU_EACH: seconds for each operation that is measured (0.1).
cd "$(dirname "$0")" || exit 2
OUT=${OUT:-$PWD/out}
export OUT
mkdir -p "$OUT" || exit 6
[ ! -e files.tar.gz ] || { tar -xzf files.tar.gz && rm files.tar.gz; } || exit 6
# cuBLASLt may lie beside PyTorch instead of beside nvcc
beside=$(timeout -k 1 10 python3 -c 'import nvidia, os; print(os.path.join(list(nvidia.__path__)[0], "cu13", "lib"))' 2> /dev/null)
LD_LIBRARY_PATH=/usr/local/cuda/lib64${beside:+:$beside}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
PYTHONUNBUFFERED=1
export LD_LIBRARY_PATH PYTHONUNBUFFERED
device=$(timeout -k 1 10 nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1)
case $device in
*H200*) card=h200 ;;
*H100*) card=h100 ;;
*) card= ;; # the programs say that it is another one
esac

limit() { # SECONDS COMMAND..: what is left of the call, where that is less
    most=$1
    shift
    [ "${REMAT_GPU_LIMIT:-$most}" -ge "$most" ] || most=$REMAT_GPU_LIMIT
    left=$((ends - $(date +%s)))
    [ "$left" -gt 5 ] || { echo "no time left"; return 124; }
    [ "$left" -ge "$most" ] || most=$left
    timeout -k 5 "$most" "$@" 2>&1
}
with_gpu() { # SECONDS COMMAND..: where there is none, says so
    [ -n "$device" ] || { echo "no GPU"; return 5; }
    limit "$@"
}
measure() { # NAME SECONDS: a profile; it is written operation by operation
    with_gpu $(($2 + 10)) "tune/$1/tune" -o "$OUT/$1.profile" --each "${REMAT_GPU_EACH:-0.1}" --seconds "$2" ${card:+--device "$card"}
}
facts() {
    with_gpu 10 nvidia-smi --format=csv \
        --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit || return
    limit 10 nvidia-smi -q -d CLOCK,PERFORMANCE | sed -n 10,50p
    ls -l /usr/local/cuda/lib64/libcublasLt.so.* "$beside"/libcublasLt.so.* 2> /dev/null
    nvcc --version 2> /dev/null | tail -n 2
    echo "$(nproc) cores"
}
sanitize() { # of the operation tests; racecheck does not end within a minute on attention
    for tool in memcheck racecheck; do
        limit 30 compute-sanitizer --tool "$tool" --error-exitcode 9 build/test_ops
        echo "sanitizer,$tool,exit,$?"
    done
}
count() { # what limits the kernels that take most of a step
    for kernel in attend attend_bwd adamw cross_entropy_bwd bias_gelu_bwd layernorm_bwd_x; do
        limit 12 ncu --section SpeedOfLight --launch-skip 4 --launch-count 2 build/bench_kernels "$kernel" |
            grep -E 'Context|Throughput|Duration|ERR'
    done
}

first="card probe gpt2 tune-gpt2 llama qlora check large all tune-llama lora"
second="pytorch products tune-qlora sanitizer counters"
part() {
    case $1 in
    card) facts ;;
    probe) with_gpu 45 ./probe memory copies products 35 ;;
    gpt2) with_gpu 45 sh speed.sh gpt2-124m 20 25 ;;
    tune-gpt2) measure gpt2-124m 25 ;;
    llama) with_gpu 60 sh speed.sh llama-1b 6 40 ;;
    lora) with_gpu 70 sh speed.sh 8b-lora 6 55 ;;
    qlora) with_gpu 70 sh speed.sh 8b-qlora 4 55 ;;
    check) limit 120 sh check.sh --run-only ;;
    large) with_gpu 25 build/large ;;
    all) with_gpu 60 sh speed.sh "all-${card:-h100}" 2 45 ;;
    tune-llama) measure llama-1b 25 ;;
    tune-qlora) measure 8b-qlora 25 ;;
    pytorch) limit 200 python3 torch_peer.py 190 ;;
    products) with_gpu 60 ./probe best 50 ;;
    sanitizer) with_gpu 70 true && sanitize ;;
    counters) with_gpu 70 true && count ;;
    *) echo "there is no such part"; return 2 ;;
    esac
}
ends=$(($(date +%s) + ${REMAT_GPU_SECONDS:-290}))
case ${1:-first} in
parts) echo "$first $second"; exit ;;
first) set -- $first ;;
second) set -- $second ;;
esac
for name; do
    begun=$(date +%s)
    echo "==== $name"
    part "$name"
    echo "---- $name: exit $?, $(($(date +%s) - begun)) s"
done | tee -a "$OUT/log.txt"
