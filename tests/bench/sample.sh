#!/bin/sh
# Seconds for a sampled token of GPT-2 124M, T = 1024, two threads, on the host: over keys and values that are kept, and
# with the whole window run again for each token; of the text's first tokens. usage: sample.sh REMATC SOURCE_DIR WORK_DIR
set -eu
rematc=$1 source_dir=$2 work=$3
mkdir -p "$work"
cd "$work"
OBJ=$work/obj OMP_NUM_THREADS=2
export OBJ OMP_NUM_THREADS
[ -f tokens.u16 ] || cmake --help-full | LC_ALL=C tr -cd '\1-\177' | head -c 100000 >tokens.u16
sed -e '/^save /d' -e 's/ *validate .*}/ u16 }/' -e 's/"train.bin"/"tokens.u16"/' "$source_dir/examples/gpt2-124m.remat" >gpt2.remat
seconds() { # PROGRAM TOKENS
    begin=$(date +%s.%N)
    "$1/train" --steps 0 --quiet --sample "$2" --temperature 0.9 >/dev/null
    end=$(date +%s.%N)
    echo "$begin $end" | awk '{ print $2 - $1 }'
}
each() { # WHAT PROGRAM FEW MORE: loading and the like are in both
    few=$(seconds "$2" "$3") more=$(seconds "$2" "$4")
    echo "$few $more" | awk -v what="$1" -v tokens=$(($4 - $3)) '{ printf "%-16s %.4f s a token\n", what, ($2 - $1) / tokens }'
}
for type in f32 bf16; do
    "$rematc" build gpt2.remat --set B=1 --set tokens_per_step=1024 --set compute=$type --budget 16GiB -o $type --force --quiet >/dev/null
    rm -rf $type.whole && cp -rp $type $type.whole
    sed 's/^    \.step = .*/    .step = NULL,/' $type/train.c >$type.whole/train.c
    make -s -C $type.whole >make.txt 2>&1 || { cat make.txt && exit 1; }
    each "$type, kept" $type 16 144
    each "$type, window" $type.whole 1 9
done
