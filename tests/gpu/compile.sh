#!/bin/sh
# compile.sh REMATC SOURCE WORK: emits the CUDA program of every example, compiles and links it for sm_80 and
# sm_90, and runs it: without a device each must say so and exit with 5. The kernels are compiled once, so all
# programs are emitted first; registers.sh looks at what they became, and at all variants of those that have some.
# Needs nvcc, no GPU.
set -eu
rematc=$1 source=$2 work=$3
mkdir -p "$work"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

names=
for spec in "$source"/examples/*.remat; do
    name=$(basename "$spec" .remat)
    code=0
    "$rematc" emit "$spec" --target cuda --device h200 --budget 130GiB -o "$work/$name" --force || code=$?
    case $code in
    0) names="$names $name" ;;
    3) echo "$name: made for more than one device" ;;
    *) fail "emit $name: exit $code" ;;
    esac
done
[ "$(echo "$names" | wc -w)" -ge 5 ] || fail "only these examples fit:$names"

# a folder of objects is of one state of the kernels; once they are whole, what was said when they were compiled lies there
for name in $names; do
    objects=$work/obj/$(sed -n 's|^OBJECT_DIR = $(OBJ)/||p' "$work/$name/Makefile")
    [ -f "$objects/kernels.log" ] || rm -rf "$objects"
    make -Otarget -j2 --no-print-directory -C "$work/$name" ARCH="sm_80 sm_90" OBJ="$work/obj" NVCC="${NVCC:-nvcc}" \
        NVCCFLAGS="-O3 -Xptxas -v" > "$work/$name.log" 2>&1 || {
        cat "$work/$name.log" >&2
        fail "make $name"
    }
    [ -f "$objects/kernels.log" ] || cp "$work/$name.log" "$objects/kernels.log"
    "$work/$name/train" --version > /dev/null || fail "$name: --version"
    if [ ! -e /dev/nvidia0 ]; then
        code=0
        (cd "$work" && "$work/$name/train" > "$work/$name.out" 2>&1) || code=$?
        [ $code = 5 ] || fail "$name: exit $code without a device"
        grep -q 'no CUDA device' "$work/$name.out" || fail "$name: $(cat "$work/$name.out")"
    fi
    echo "$name: $(wc -c < "$work/$name/train") bytes"
done
varied=$(cd "$work/$name" && grep -l '^#include "variant.def"' kernels/*.cu)
[ -n "$varied" ] || fail "no kernel has variants"
all=$work/all/$(basename "$objects")
if [ ! -f "$all/kernels.log" ]; then
    rm -rf "$all"
    # shellcheck disable=SC2046
    make -Otarget -j2 --no-print-directory -C "$work/$name" ARCH="sm_80 sm_90" OBJ="$work/all" NVCC="${NVCC:-nvcc}" \
        NVCCFLAGS="-O3 -Xptxas -v -DK_ALL_VARIANTS" $(for file in $varied; do echo "$all/${file%.cu}.o"; done) > "$work/all.log" 2>&1 || {
        cat "$work/all.log" >&2
        fail "make of all variants"
    }
    cp "$work/all.log" "$all/kernels.log"
fi
! grep -i 'warning' "$objects/kernels.log" "$all/kernels.log" || fail "nvcc warns"
cat "$objects/kernels.log" "$all/kernels.log" > "$work/kernels.log"
cp "$objects/kernels/elem.o" "$all/kernels"
sh "$(dirname "$0")/registers.sh" "$work/kernels.log" "$all/kernels" "$source/tests/gpu/registers.txt"
