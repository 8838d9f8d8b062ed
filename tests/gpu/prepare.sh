#!/bin/sh
# prepare.sh [--dry] REMATC SOURCE BUNDLE [ARCH]: all that run.sh needs on a machine with a GPU, compiled here for ARCH
# (sm_90), so that nothing is compiled there: the checks (bundle.sh, check.sh), programs to time, programs that measure
# their operations, the probe of memory, products and copies, the check of tensors with more than 2^31 elements, and
# PyTorch at the same shapes. Sources and objects are left out again: BUNDLE is at most 40 MiB. Needs nvcc, no GPU.
#   --dry   small programs for this computer in place of those for a card, without nvcc: run.sh's way, gone through
set -eu
dry=
[ "${1:-}" != --dry ] || { dry=1; shift; }
[ $# -ge 3 ] || { sed -n 's/^# //p' "$0"; exit 2; }
rematc=$(realpath "$1") source=$(realpath "$2") bundle=$3 arch=${4:-sm_90}
here=$source/tests/gpu
NVCC=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ ! -e "$bundle" ] || [ -e "$bundle/run.sh" ] || { echo "prepare.sh: $bundle is there and no bundle" >&2; exit 2; }
rm -rf "$bundle"
mkdir -p "$bundle/speed" "$bundle/tune"
bundle=$(realpath "$bundle")

if [ -n "$dry" ]; then
    sh "$source/examples/corpus.sh" "$bundle/corpus.txt"
    mkdir -p "$bundle/build"
    cp "$here/check.sh" "$bundle"
else
    sh "$here/bundle.sh" "$rematc" "$source" "$bundle"
    sh "$bundle/check.sh" --build-only "$arch"
fi
# two letters are a number below every vocabulary: 0x7e7e is 32,382
LC_ALL=C tr -dc '\11\12\40-\176' < "$bundle/corpus.txt" | head -c 2000000 > "$bundle/tokens.u16"
cp "$here/run.sh" "$here/speed.sh" "$here/results.sh" "$here/torch_peer.py" "$bundle"

# program KIND NAME SPEC OPTIONS..: KIND is speed, tune or both; dry, of the sizes in $tiny
bf16="--set dtype.compute=bf16 --set dtype.trained=bf16 --set dtype.gradient=bf16"
program() {
    kinds=$1 name=$2 spec=$3
    shift 3
    # shellcheck disable=SC2086
    [ -z "$dry" ] || set -- "$@" $tiny --set L=2 --set D=64 --set H=4 --set V=32768 --set B=1 --set T=32 \
        --target host --device host --budget 2GiB
    [ "$kinds" != both ] || kinds="speed tune"
    for kind in $kinds; do
        if [ "$kind" = speed ]; then
            "$rematc" emit "$spec" "$@" -o "$bundle/speed/$name"
        else
            "$rematc" tune "$spec" "$@" --emit --folder "$bundle/tune/$name"
        fi
        make -s -j2 -C "$bundle/$kind/$name" ARCH="$arch" NVCC="$NVCC" CFLAGS="-O3 -march=x86-64-v3" \
            OBJ="$bundle/build/obj-cuda" > "$bundle/build/$kind-$name.log" 2>&1 || {
            tail -n 20 "$bundle/build/$kind-$name.log" >&2
            exit 1
        }
    done
}
# from random weights, and nothing is saved: that would take longer than the steps
mkdir "$bundle/specs"
for spec in gpt2-124m llama3-8b; do
    sed '/^weights /d; /^save /d' "$source/examples/$spec.remat" > "$bundle/specs/$spec.remat"
done
tiny="--set tokens_per_step=32"
# shellcheck disable=SC2086
program both gpt2-124m "$bundle/specs/gpt2-124m.remat" $bf16 --target cuda --device h100 --budget 60GiB --set B=16 \
    --set tokens_per_step=16384
tiny="--set K=2 --set F=128 --set tokens_per_step=32"
program both llama-1b "$here/llama-1b.remat" --target cuda --device h100 --budget 74GiB
# the shape of 8B with adapters
program speed 8b-lora "$bundle/specs/llama3-8b.remat" --target cuda --device h100 --budget 74GiB --set B=1 \
    --set 'adapt=lora(rank = 32)' --set tokens_per_step=4096
program both 8b-qlora "$bundle/specs/llama3-8b.remat" --target cuda --device h100 --budget 24GiB --set B=1 \
    --set 'adapt=lora(rank = 32)' --set 'dtype.frozen=nf4(double_quant)' --set tokens_per_step=4096
if [ -z "$dry" ]; then
    # as much as the card has: the memory is counted right if they start
    program speed all-h100 "$here/llama-1b.remat" --target cuda --device h100 --budget 81079MiB --set B=12
    program speed all-h200 "$here/llama-1b.remat" --target cuda --device h200 --budget 143155MiB --set B=20
    "$NVCC" -O2 -std=c++17 -arch="$arch" -o "$bundle/probe" "$here/probe.cu" -lcublasLt
fi

# ---- what is not needed there ----

rm -rf "$bundle/source" "$bundle"/build/*.o "$bundle"/build/obj-* "$bundle/build/names" "$bundle/build/module"
for folder in "$bundle"/programs/* "$bundle"/speed/* "$bundle"/tune/*; do
    [ -d "$folder" ] || continue
    find "$folder" -type f ! -name train ! -name tune ! -name plan.json -delete
    find "$folder" -type d -empty -delete
    strip "$folder"/train "$folder"/tune 2> /dev/null || :
done
# one file, which run.sh unpacks: every program has the same kernels
cd "$bundle"
archive=$(mktemp)
tar --exclude='./*.sh' --exclude='./*.py' -czf "$archive" .
find . -mindepth 1 ! -name '*.sh' ! -name '*.py' -delete
mv "$archive" files.tar.gz
mib=$(du -sm "$bundle" | cut -f 1)
echo "$bundle: $mib MiB; there: sh run.sh first, then sh run.sh second"
[ "$mib" -le 40 ] || { echo "prepare.sh: more than 40 MiB" >&2; exit 1; }
