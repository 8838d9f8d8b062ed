#!/bin/sh
# check.sh [--build-only [ARCH] | --run-only]: in a folder made by bundle.sh, on a machine with a GPU, nvcc, a C and C++
# compiler with OpenMP, and make. Compiles everything, then prints one line a check. What --build-only made elsewhere
# (for ARCH, sm_90 unless said; for any x86-64 processor with AVX2) --run-only uses, so that time on a GPU is not spent
# compiling.
#   operations   every kernel on the device against the host's in double, same bits again and again
#   losses       bytes-gpt trained on both targets: losses agree to 1 part in 1000
#   plans        bytes-gpt under three plans, one at its smallest budget, with dropout: the very same losses
#   poison       dead memory filled with NaN changes nothing
#   copies       activations copied to host memory and back, poisoned or not: the very same losses
#   speed        seconds a step of gpt2-124m
#   rates        every kernel: microseconds, GB/s as a share of the card's own copy rate, or TFLOP/s
# Exit code 0 when all pass, 1 when one fails, 5 without a device.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
NVCC=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
steps=20
failures=0

report() { # NAME STATUS TEXT
    printf '%-12s %-6s %s\n' "$1" "$2" "$3"
    [ "$2" != FAILED ] || failures=$((failures + 1))
}

arch=${2:-sm_90}
mode=${1:-}
if [ "$mode" != --build-only ]; then
    device=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2> /dev/null | head -n 1) || device=
    [ -n "$device" ] || {
        echo "check.sh: no GPU here" >&2
        exit 5
    }
    report device "" "$device"
    [ "$mode" = --run-only ] || arch=sm_$(echo "${device##*, }" | tr -d .)
fi
cpu=native
[ "$mode" != --build-only ] || cpu=x86-64-v3
cuda=$(dirname "$(dirname "$(readlink -f "$NVCC")")")

# ---- build ----

build_all() {
    mkdir -p build/names
    (
        cd source
        sh tests/cuda_sim/rename.sh kernels/kernels.h ../build/names
        ${CC:-cc} -std=gnu11 -O3 -march=$cpu -fno-math-errno -fopenmp -fPIC -shared -DK_REAL=double \
            -o ../build/double.so kernels/*.c -lm
        for file in kernels/*.cu; do
            "$NVCC" -std=c++20 -O3 -DK_ALL_VARIANTS -arch=$arch -Xcompiler -fPIC -include ../build/names/cuda_rename.h -Ikernels \
                -c -o "../build/$(basename "$file").o" "$file"
        done
        ${CC:-cc} -std=gnu11 -O2 -fPIC -fopenmp-simd -I. -c -o ../build/workspace.o tests/cuda_sim/workspace.c
        mkdir -p ../build/module
        cp tests/cuda_sim/module.cpp ../build/module # away from the simulated device's headers
        "$NVCC" -x cu -std=c++20 -O2 -arch=$arch -Xcompiler -fPIC -I. -I../build/names \
            -c -o ../build/module.o ../build/module/module.cpp
        "$NVCC" -arch=$arch -shared -o ../build/cuda.so ../build/*.cu.o ../build/module.o ../build/workspace.o \
            -lcublasLt -Xlinker -rpath -Xlinker "$cuda/lib64"
        ${CC:-cc} -std=gnu11 -O1 -fopenmp -I. -Itests/gpu -DOPS_CUDA=1 -DOPS_FLOAT="\"./build/cuda.so\"" \
            -DOPS_DOUBLE="\"./build/double.so\"" -o ../build/test_ops tests/unit/test_ops.c tests/support/ops_engine.c \
            tests/support/ops_reference.c tests/support/packed.c -lm -ldl
        # the rates of the kernels
        ${CC:-cc} -std=gnu11 -O1 -fopenmp -I. -I../build/names -I"$cuda/include" -c -o ../build/bench_kernels.o \
            tests/gpu/bench_kernels.c
        for file in ops_engine ops_reference packed; do
            ${CC:-cc} -std=gnu11 -O1 -fopenmp -I. -c -o ../build/$file.o tests/support/$file.c
        done
        "$NVCC" -arch=$arch -o ../build/bench_kernels ../build/bench_kernels.o ../build/ops_engine.o ../build/ops_reference.o \
            ../build/packed.o ../build/*.cu.o \
            ../build/workspace.o -lcublasLt -lgomp -ldl -lm -Xlinker -rpath -Xlinker "$cuda/lib64"
        # tensors of more than 2^31 elements
        ${CC:-cc} -std=gnu11 -O1 -I. -I../build/names -I"$cuda/include" -c -o ../build/large.o tests/gpu/large.c
        "$NVCC" -arch=$arch -o ../build/large ../build/large.o ../build/*.cu.o ../build/workspace.o -lcublasLt -lm \
            -Xlinker -rpath -Xlinker "$cuda/lib64"
    ) > build/ops.log 2>&1 || {
        cat build/ops.log
        exit 1
    }
    for program in programs/*; do
        name=$(basename "$program") obj=$here/build/obj-cuda
        [ "$name" != bytes-host ] || obj=$here/build/obj-host
        make -j4 -C "$program" ARCH=$arch OBJ="$obj" NVCC="$NVCC" CFLAGS="-O3 -march=$cpu" > "build/$name.log" 2>&1 || {
            cat "build/$name.log"
            exit 1
        }
    done
    report build ok "operation tests and $(ls programs | wc -l) programs for $arch"
}
[ "$mode" = --run-only ] || build_all
[ "$mode" != --build-only ] || exit 0

# ---- run ----

if build/test_ops > build/test_ops.log 2>&1; then
    report operations ok "$(tail -n 1 build/test_ops.log)"
else
    report operations FAILED "$(grep -m 1 -B 1 FAILED build/test_ops.log | head -n 1) (build/test_ops.log)"
fi

train() { # LABEL PROGRAM OPTIONS...: build/LABEL.loss has one loss a line
    label=$1 program=$2
    shift 2
    rm -f "build/$label.jsonl"
    if (cd programs/"$program" && ./train --data "$here/corpus.txt" --save-dir "$here/build/out-$label" --fresh \
        --quiet --sample 0 --log "$here/build/$label.jsonl" "$@") > "build/$label.out" 2>&1; then
        sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "build/$label.jsonl" > "build/$label.loss"
    else
        report "$label" FAILED "$(tail -n 1 "build/$label.out")"
        : > "build/$label.loss"
    fi
}
same() { # CHECK LABEL LABEL
    if [ -s "build/$2.loss" ] && cmp -s "build/$2.loss" "build/$3.loss"; then
        report "$1" ok "$3 as $2: the same $(wc -l < "build/$2.loss") losses, last $(tail -n 1 "build/$2.loss")"
    else
        report "$1" FAILED "$3 differs from $2"
    fi
}

for name in bytes-host bytes-keep bytes-block bytes-least; do train $name $name --steps $steps; done
train poison bytes-least --steps $steps --poison
train no-graph bytes-least --steps $steps --no-graph
worst=$(paste build/bytes-host.loss build/bytes-keep.loss |
    awk '{ d = $1 - $2; if (d < 0) d = -d; d /= $1; if (NF < 2) d = 9; if (d > w) w = d } END { print NR ? w + 0 : 9 }')
if awk "BEGIN { exit !($worst < 1e-3) }"; then
    report losses ok "host and device differ by at most $worst over $steps steps"
else
    report losses FAILED "host and device differ by $worst"
fi
same plans bytes-keep bytes-block
same plans bytes-keep bytes-least
same poison bytes-least poison
same graphs bytes-least no-graph
if [ -d programs/bytes-copies ]; then
    train bytes-copies bytes-copies --steps $steps
    train copies-poison bytes-copies --steps $steps --poison
    same copies bytes-keep bytes-copies
    same copies bytes-keep copies-poison
fi

cp corpus.txt build/tokens.u16 # two letters are a number below the vocabulary's size
cp corpus.txt programs/gpt2-124m/val.bin
rm -f build/gpt2.jsonl
if (cd programs/gpt2-124m && ./train --data "$here/build/tokens.u16" --save-dir "$here/build/out-gpt2" --fresh \
    --quiet --steps 12 --log "$here/build/gpt2.jsonl") > build/gpt2.out 2>&1; then
    seconds=$(sed -n 's/.*"step_seconds":\([^,]*\),.*/\1/p' build/gpt2.jsonl | sort -n | sed -n 6p)
    report speed ok "gpt2-124m, 4 x 1024 tokens, f32: $seconds s a step (median of 12)"
else
    report speed FAILED "$(tail -n 1 build/gpt2.out)"
fi

if build/bench_kernels > build/rates.txt 2>&1; then
    report rates ok "$(head -n 1 build/rates.txt) (build/rates.txt)"
    sed 1d build/rates.txt
else
    report rates FAILED "$(tail -n 1 build/rates.txt)"
fi
exit $((failures > 0))
