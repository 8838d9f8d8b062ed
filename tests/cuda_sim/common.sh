# Sourced by the tests of whole programs: sh NAME.sh REMATC SOURCE WORK .. Programs share one folder of objects;
# $shape is given to each that is emitted.
set -eu
rematc=$1 source=$2 work=$3
sim=$source/tests/cuda_sim
flags="-O1 -g -w -I$sim -I."
mkdir -p "$work/obj"
rm -f "$work"/obj/*.o # of earlier sources
head -c 20000 "$source/examples/bytes-gpt.remat" "$source/docs/gpu.md" "$source"/runtime/*.c > "$work/text.txt"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

emit() { # NAME SPEC OPTIONS...
    name=$1 spec=$2
    shift 2
    "$rematc" emit "$spec" $shape "$@" -o "$work/$name" --force # left by an earlier run
}
build() { # NAME [PROGRAM]: kernels and runtime are the same for all
    cd "$work/$1"
    if [ ! -e ../obj/sim.o ]; then
        for file in kernels/*.cu; do
            ${CXX:-c++} -std=c++20 $flags -x c++ -c -o "../obj/$(basename "$file").o" "$file"
        done
        for file in $(ls runtime/*.c | grep -v /tune) kernels/workspace.c; do
            ${CC:-cc} -std=gnu11 $flags -c -o "../obj/$(basename "$file").o" "$file"
        done
        for file in banks blas graph sim stream tensor_core; do ${CXX:-c++} -std=c++20 $flags -c -o "../obj/$file.o" "$sim/$file.cpp"; done
    fi
    ${CXX:-c++} -std=c++20 -O0 -w -I. -x c++ -c -o ${2:-train}.o ${2:-train}.cu
    for own in runtime/tune*.c; do
        [ ! -e "$own" ] || ${CC:-cc} -std=gnu11 $flags -c -o "$(basename "$own").o" "$own"
    done
    ${CXX:-c++} -o ${2:-train} ./*.o ../obj/*.o -lm
    cd - > /dev/null
}
# TYPE, whose spec is TYPE.remat: TYPE-keep keeps everything, TYPE-block recomputes layers, TYPE-host is for the host
emit_three() {
    emit $1-keep "$work/$1.remat" --target cuda --device h100 --budget 8GiB --policy none
    emit $1-block "$work/$1.remat" --target cuda --device h100 --budget 8GiB --policy every-block
    emit $1-host "$work/$1.remat" --device host --budget 1GiB --policy none
}
run_three() {
    build $1-keep
    build $1-block
    make -s -C "$work/$1-host" OBJ="$work/obj-host" > "$work/host.log" 2>&1 || fail "$(cat "$work/host.log")"
    losses $1-keep
    losses $1-block --poison
    losses $1-host
    cmp "$work/$1-keep.loss" "$work/$1-block.loss" || fail "$1: two plans, two results"
}
losses_near() { # TYPE NAME NAME: but for rounding
    paste "$work/$2.loss" "$work/$3.loss" |
        awk -v near="$([ $1 = f32 ] && echo 1e-4 || echo 3e-2)" \
            '{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= near * $2)) bad = 1 } END { exit bad }' ||
        fail "$1: host and device differ"
}
losses() { # NAME OPTIONS...
    name=$1
    shift
    rm -f "$work/$name.jsonl"
    (cd "$work/$name" && ./train --data "${data:-$work/text.txt}" --save-dir "$work/out-$name" --fresh --quiet --sample 0 \
        --steps 3 --log "$work/$name.jsonl" "$@") || fail "$name"
    sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$work/$name.jsonl" > "$work/$name.loss"
    [ "$(wc -l < "$work/$name.loss")" = 3 ] || fail "$name: $(cat "$work/$name.jsonl")"
}

