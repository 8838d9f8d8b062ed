#!/bin/sh
# rename.sh KERNELS_H DIR: from the list of kernels, DIR/cuda_functions.h (a line FUNCTION(name) each) and
# DIR/cuda_rename.h, which turns k_name into cuda_k_name where the CUDA kernels are compiled.
set -eu
mkdir -p "$2"
names=$(sed -n 's/^KFunction k_\([a-z0-9_]*\);.*/\1/p' "$1")
test -n "$names"
for name in $names; do echo "FUNCTION($name)"; done > "$2/cuda_functions.h"
for name in $names; do echo "#define k_$name cuda_k_$name"; done > "$2/cuda_rename.h"
