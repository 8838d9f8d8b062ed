#!/bin/sh
# same_plans.sh BEFORE AFTER SOURCE_DIR WORK_DIR [DATA_DIR...]: two builds of rematc give the same bytes.
#
# For every example at ten budgets (from a little below its smallest, in steps of 18%): plan.json, train.c and
# train.cu of `emit` and what `plan --json` prints. For every DAG (*.json) and table of buffers (*.csv) under the
# DATA_DIRs: what `solve` and `pack` print and their exit codes. For a change that is meant to move code, not answers.
# REMAT_SAME_EXAMPLES names some examples alone; REMAT_SAME_POINTS how many budgets.
set -eu
[ $# -ge 4 ] || { sed -n 's/^# //p' "$0"; exit 2; }
before=$(realpath "$1") after=$(realpath "$2") source_dir=$(realpath "$3") work=$4
shift 4
data=
for folder; do data="$data $(realpath "$folder")"; done
mkdir -p "$work"
cd "$work"
compared=0 different=0 emitted=0
points=${REMAT_SAME_POINTS:-10}

differ() { # WHAT
    different=$((different + 1))
    echo "DIFFERENT: $*"
}

# one SIDE REMATC SPEC BUDGET: plans, and emits for both targets, into the folder SIDE
one() {
    side=$1 rematc=$2 spec=$3 budget=$4
    rm -rf "$side"
    mkdir -p "$side"
    {
        "$rematc" plan "$spec" --budget "$budget" --json >"$side/plan.out" || echo "plan: exit $?"
        for target in host cuda; do
            "$rematc" emit "$spec" --budget "$budget" --target "$target" -o "$side/$target" || echo "emit: exit $?"
        done
    } >"$side/said" 2>&1
    # where it was written is no part of what is compared, nor are the sources that are carried along, the name of the
    # folder for their objects, and the runtime's objects
    sed -i "s#$side/#SIDE/#g" "$side/said"
    rm -rf "$side"/*/kernels "$side"/*/runtime "$side"/*/rematc.manifest
    for makefile in "$side"/*/Makefile; do
        [ ! -f "$makefile" ] || sed -i '/^OBJECT_DIR = /d; /^    .(OBJECT_DIR).runtime.*[.]o/d' "$makefile"
    done
}

for spec in "$source_dir"/examples/*.remat; do
    name=$(basename "$spec" .remat)
    case " ${REMAT_SAME_EXAMPLES:-$name} " in *" $name "*) ;; *) continue ;; esac
    least=$("$before" plan "$spec" --json | sed -n 's/.*"smallest_bytes": *\([0-9]*\).*/\1/p' | head -1)
    [ -n "$least" ] || { echo "no smallest budget of $name"; exit 1; }
    for point in $(seq 0 $((points - 1))); do
        # from 2% below the smallest, which must be refused alike, by steps of 18%
        budget=$(awk "BEGIN { printf \"%.0f\", $least * 0.98 * exp($point * log(1.18)) }")B
        one before "$before" "$spec" "$budget"
        one after "$after" "$spec" "$budget"
        compared=$((compared + 1))
        [ ! -f before/cuda/train.cu ] || emitted=$((emitted + 1))
        diff -r before after >difference || differ "$name at $budget: $(head -3 difference | tr '\n' ' ')"
    done
    echo "$name: $compared comparisons so far, $emitted of them programs, $different differ"
done
[ -z "$data" ] || for file in $(find $data -name '*.json' -o -name '*.csv' | sort); do
    for rematc in "$before" "$after"; do
        side=before
        [ "$rematc" = "$before" ] || side=after
        case $file in
        *.json) "$rematc" solve "$file" --budget 0.7 --json ;;
        *) "$rematc" pack "$file" --json ;;
        esac >"$side.out" 2>&1 || echo "exit $?" >>"$side.out"
        sed -i 's/, "seconds": [0-9.]*,/,/' "$side.out" # that it took on the clock
    done
    compared=$((compared + 1))
    cmp -s before.out after.out || differ "$file"
done
echo "$compared comparisons, $different differ"
[ "$emitted" -gt 0 ] || { echo "no program was emitted: nothing was compared"; exit 1; }
[ "$different" = 0 ]
