#!/bin/sh
# longest.sh REMATC SOURCE_DIR WORK: the longest context that fits a card, fine-tuning Llama 3.1 8B and Llama 3.3 70B with adapters of
# rank 32 beside 4-bit weights, one sequence at a time, with host memory: as planned, beside what others published (the table of
# README, "What fits on a card"; theirs of December 2024). A row takes a minute or some. REMAT_CAMPAIGN_ONLY: cards.
set -eu
rematc=$1 source=$2 work=$3
mkdir -p "$work"
cd "$work"
number() { sed -n "s/.*\"$1\": *\\([0-9]*\\).*/\\1/p" longest.json | head -n 1; }
grouped() { echo "$1" | sed -e :a -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e ta; }
# row MODEL MEMORY UNSLOTH FLASH CARD [OPTION...]: published lengths of Unsloth and of transformers with FlashAttention 2
row() {
    model=$1 memory=$2 unsloth=$3 flash=$4 card=$5
    shift 5
    case " ${REMAT_CAMPAIGN_ONLY:-$card} " in *" $card "*) ;; *) return 0 ;; esac
    "$rematc" sweep "$source/examples/$model.remat" --set 'adapt=lora(rank = 32)' --set 'dtype.frozen=nf4(double_quant)' \
        --set B=1 --set host=1TiB --device "$card" "$@" --maximize T --json >longest.json
    context=$(number context)
    echo "| $model | $memory GB ($card) | $flash | $unsloth | $(grouped "$context") | $(($(number host_bytes) >> 30)) GiB |"
}
echo '| model | card | transformers | Unsloth | planned | of host memory |'
echo '|---|---|---|---|---|---|'
row llama3-8b 8 2,972 'out of memory' rtx3060 --device-memory 8008MiB
row llama3-8b 12 21,848 932 rtx3060
row llama3-8b 16 40,724 2,551 rtx4080
row llama3-8b 24 78,475 5,789 rtx4090
row llama3-8b 40 153,977 12,264 a100-40
row llama3-8b 48 191,728 15,502 rtx6000-ada
row llama3-8b 80 342,733 28,454 h100
row llama3-70b 48 12,106 'out of memory' rtx6000-ada
row llama3-70b 80 89,389 6,916 h100
