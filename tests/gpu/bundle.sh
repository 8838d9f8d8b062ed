#!/bin/sh
# bundle.sh REMATC SOURCE BUNDLE: a folder with all that check.sh needs on a machine with a GPU, where there is
# only a C and C++ compiler, make and nvcc: emitted programs, a text to train on, the operation tests' sources.
set -eu
rematc=$1 source=$2 bundle=$3
mkdir -p "$bundle/source/tests/unit" "$bundle/source/tests/support" "$bundle/programs"

for folder in ir kernels; do
    mkdir -p "$bundle/source/$folder"
    cp "$source/$folder"/*.[ch] "$source/$folder"/*.def "$bundle/source/$folder"
done
cp "$source"/kernels/*.cu "$source"/kernels/*.cuh "$bundle/source/kernels"
cp "$source/tests/unit/test_ops.c" "$bundle/source/tests/unit"
cp "$source"/tests/support/ops_* "$source"/tests/support/packed.[ch] "$bundle/source/tests/support"
cp -r "$source/tests/cuda_sim" "$source/tests/gpu" "$bundle/source/tests"
cp "$source/tests/gpu/check.sh" "$bundle"
sh "$source/examples/corpus.sh" "$bundle/corpus.txt"

emit() { # NAME SPEC OPTIONS...
    name=$1 spec=$2
    shift 2
    "$rematc" emit "$source/examples/$spec.remat" "$@" -o "$bundle/programs/$name" --force
}
emit bytes-host bytes-gpt --device host --budget 1GiB --policy none
emit bytes-keep bytes-gpt --target cuda --device h100 --budget 8GiB --policy none
emit bytes-block bytes-gpt --target cuda --device h100 --budget 8GiB --policy every-block
least=$("$rematc" plan "$source/examples/bytes-gpt.remat" --target cuda --device h100 --budget 1MiB 2>&1 |
    sed -n 's/.*smallest feasible budget is \([0-9.]*\) \([KMG]iB\).*/\1 \2/p')
set -- $least
budget=$(awk "BEGIN { printf \"%.0f\", $1 + 1 }")$2
emit bytes-least bytes-gpt --target cuda --device h100 --budget "$budget"
# with copies to host memory put in, where the tool for that was built
if [ -x "$(dirname "$rematc")/tests/emit_copies" ]; then
    "$(dirname "$rematc")/tests/emit_copies" 5 3 emit "$source/examples/bytes-gpt.remat" --target cuda --device h100 \
        --budget 8GiB --policy none -o "$bundle/programs/bytes-copies" --force
fi
# one micro-step a step, so that a step is quick to time
emit gpt2-124m gpt2-124m --target cuda --device h100 --budget 40GiB --set B=4 --set tokens_per_step=4096
echo "$bundle: run  sh check.sh  in it on a machine with a GPU"
