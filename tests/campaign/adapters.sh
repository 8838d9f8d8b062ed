#!/bin/sh
# adapters.sh REMATC SOURCE_DIR WORK_DIR: how much memory and time plans of LoRA and QLoRA take, beside full training.
#
# 1. For Llama-3 with 8B and 70B weights, at ten budgets from a tenth above the smallest to where everything is kept,
#    the gap between a plan and its bound: at most 1%, and at most 0.2% at half.
# 2. For every published configuration at B = 1: the smallest budget and the peak of keeping everything are for QLoRA
#    at most LoRA's, for LoRA at most full training's, with fewer adapted layers no higher, with a longer T no lower.
# REMAT_CAMPAIGN_ONLY names some configurations alone, or `gaps`.
. "$(dirname "$0")/common.sh"
lora='adapt=lora(rank = 16)'
memory=4000GiB # pretended: the budget alone counts
plans=0

only() { # NAME: whether it is asked for
    case " ${REMAT_CAMPAIGN_ONLY:-$1} " in *" $1 "*) ;; *) return 1 ;; esac
}
# plan SPEC OPTIONS...: into plan.json; false where there is none
plan() {
    plans=$((plans + 1))
    "$rematc" plan "$@" --json >plan.json 2>said.txt && return
    report "no plan: $*: $(head -1 said.txt)"
    return 1
}

# ---- gaps ----

gaps() { # SPEC OPTIONS...
    plan "$@" --device-memory "$memory" --budget "$memory" || return 0
    least=$(json_int smallest_bytes plan.json) keep=$(json_int keep_all_bytes plan.json)
    reserved=$(json_int reserved_bytes plan.json)
    keep=$((keep + reserved)) worst=0
    for tenth in 1 2 3 4 5 6 7 8 9 10; do
        budget=$((least + (keep - least) / 10 * tenth))
        plan "$@" --device-memory "$memory" --budget "${budget}B" || continue
        gap=$(sed -n 's/.*"gap": *\([-0-9.e]*\).*/\1/p' plan.json)
        most=0.01
        [ "$tenth" != 5 ] || most=0.002
        awk "BEGIN { exit !($gap <= $most) }" || report "a gap of $gap at $budget bytes ($tenth tenths): $*"
        worst=$(awk "BEGIN { print (($gap > $worst) ? $gap : $worst) }")
    done
    echo "gap of $(basename "$1") $(echo "$*" | grep -o 'frozen=.*\|adapt=.*' | head -1): at most $worst"
}
if only gaps; then
    for size in 8b 70b; do
        spec=$source_dir/examples/llama3-$size.remat
        gaps "$spec" --set B=1
        gaps "$spec" --set B=1 --set "$lora"
        gaps "$spec" --set B=1 --set "$lora" --set dtype.frozen=nf4
    done
fi

# ---- which needs more ----

# measure NAME SPEC OPTIONS...: sets NAME_least and NAME_keep
measure() {
    name=$1
    shift
    plan "$@" --device h100 --device-memory "$memory" --budget "$memory" --set B=1 || return 1
    eval "${name}_least=$(json_int smallest_bytes plan.json) ${name}_keep=$(json_int keep_all_bytes plan.json)"
}
# no_more WHAT LESS MORE: of the smallest budget and of keeping everything
no_more() {
    eval "less_least=\$$2_least more_least=\$$3_least less_keep=\$$2_keep more_keep=\$$3_keep"
    [ "$less_least" -le "$more_least" ] ||
        report "$1: the smallest budget of $2 is $less_least bytes, of $3 $more_least"
    [ "$less_keep" -le "$more_keep" ] || report "$1: keeping everything takes $less_keep bytes with $2, $more_keep with $3"
}
for config in "$source_dir"/tests/cases/import/*/; do
    config=${config%/}
    family=$(basename "$config")
    only "$family" || continue
    few='adapt.on=*.{q,v}_proj'
    case $family in gpt2*) few='adapt.on=*.c_attn' ;; Phi-4*) few='adapt.on=*.qkv_proj' ;; esac
    for length in 512 1024; do
        at="--set T=$length"
        # shellcheck disable=SC2086 # options without blanks
        measure "full_$length" "$config" $at &&
            measure "lora_$length" "$config" $at --set "$lora" &&
            measure "few_$length" "$config" $at --set "$lora" --set "$few" &&
            measure "qlora_$length" "$config" $at --set "$lora" --set dtype.frozen=nf4 &&
            measure "qfew_$length" "$config" $at --set "$lora" --set "$few" --set dtype.frozen=nf4 || continue
        no_more "$family" "qlora_$length" "lora_$length"
        no_more "$family" "lora_$length" "full_$length"
        no_more "$family" "few_$length" "lora_$length"
        no_more "$family" "qfew_$length" "qlora_$length"
    done
    for way in full lora few qlora qfew; do no_more "$family" "${way}_512" "${way}_1024"; done
    echo "$family: $plans plans so far, $bad of what they say is wrong"
done
verdict "$plans plans"
