#!/bin/sh
# compile.sh REMATC SOURCE WORK: emits the CUDA program of every example, compiles and links it for sm_80 and
# sm_90, and runs it: without a device each must say so and exit with 5. The kernels are compiled once; none may
# spill registers. Needs nvcc, no GPU.
set -eu
rematc=$1 source=$2 work=$3
arch="sm_80 sm_90"
built=0
mkdir -p "$work"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

for spec in "$source"/examples/*.remat; do
    name=$(basename "$spec" .remat)
    code=0
    "$rematc" emit "$spec" --target cuda --device h200 --budget 130GiB -o "$work/$name" || code=$?
    if [ $code = 3 ]; then # made for more than one device
        echo "$name: too large"
        continue
    fi
    [ $code = 0 ] || fail "emit $name: exit $code"
    make -j2 --no-print-directory -C "$work/$name" ARCH="$arch" OBJ="$work/obj" NVCC="${NVCC:-nvcc}" \
        NVCCFLAGS="-O3 -Xptxas -v" > "$work/$name.log" 2>&1 || {
        cat "$work/$name.log" >&2
        fail "make $name"
    }
    if grep -E '[1-9][0-9]* bytes spill' "$work/$name.log"; then fail "$name: a kernel spills registers"; fi
    "$work/$name/train" --version > /dev/null || fail "$name: --version"
    if [ ! -e /dev/nvidia0 ]; then
        code=0
        (cd "$work" && "$work/$name/train" > "$work/$name.out" 2>&1) || code=$?
        [ $code = 5 ] || fail "$name: exit $code without a device"
        grep -q 'no CUDA device' "$work/$name.out" || fail "$name: $(cat "$work/$name.out")"
    fi
    built=$((built + 1))
    echo "$name: $(wc -c < "$work/$name/train") bytes"
done
[ $built -ge 5 ] || fail "only $built examples fit"
