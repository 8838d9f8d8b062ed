#!/bin/sh
# threads.sh REMATC SOURCE_DIR WORK_DIR [all]: plans, their messages and pages are the same bytes with one thread, two and
# four: of what fits and of what does not, where other settings are looked at too. With `all`: of every example and of the
# published configurations on three cards, trained whole, with LoRA and with QLoRA.
all=${4:-}
. "$(dirname "$0")/common.sh"
lora='adapt=lora(rank = 16)' nf4='dtype.frozen=nf4(double_quant)'

same() { # CODE VERB OPTIONS...
    code=$1
    shift
    for threads in 1 2 4; do
        REMAT_THREADS=$threads
        export REMAT_THREADS
        expect "$code" "$rematc" "$@"
        cat stdout.txt stderr.txt >"$threads.txt"
        [ -s stdout.txt ] || fail "no answer: $*"
        cmp "1.txt" "$threads.txt" || fail "another answer with $threads threads: $*"
    done
    unset REMAT_THREADS
}
published() { # MODEL DEVICE
    for way in "" "$lora" "$nf4"; do
        set -- "$1" "$2" plan "$source_dir/tests/cases/import/$1" --device "$2" --json
        [ -z "$way" ] || set -- "$@" --set "$lora"
        [ "$way" != "$nf4" ] || set -- "$@" --set "$nf4"
        shift 2
        code=0
        REMAT_THREADS=1 "$rematc" "$@" >stdout.txt 2>stderr.txt || code=$?
        case $code in 0 | 3) same "$code" "$@" ;; *) cat stderr.txt >&2; fail "exit $code: $*" ;; esac
        set -- "$(basename "$2")" "$4"
    done
}

for threads in 0 5 12 2x -1; do
    expect 2 env REMAT_THREADS=$threads "$rematc" plan "$spec"
    grep -q "REMAT_THREADS: '$threads' is no number from 1 to 4" stderr.txt || fail "REMAT_THREADS=$threads is not refused"
done

same 0 plan "$spec" --json
same 3 plan "$source_dir/tests/cases/syntax_bytes_gpt.remat" --budget 60MiB --json # other settings, after a search
same 0 report "$spec" --budget 130MiB --points 2 -o -
same 0 plan "$source_dir/examples/gpt2-124m.remat" --device rtx4090 --budget 3GiB --json
model=$source_dir/tests/cases/import/Llama-3.2-1B
same 3 plan "$model" --device rtx3060 --json # other ways to train, beside the file's
same 0 plan "$model" --device rtx4090 --json --set "$lora"
[ -n "$all" ] || exit 0
for file in "$source_dir"/examples/*.remat; do
    same 0 plan "$file" --json
    same 3 plan "$file" --json --budget 40MiB
done
for name in Llama-3.2-1B Qwen3-4B Qwen2.5-7B Llama-3.1-8B; do
    for device in rtx3060 rtx4090 h100; do
        published "$name" "$device"
        echo "$name on $device: the same"
    done
done
