#!/bin/sh
# What others published of their programs' runs beside what is planned for ours at the same shapes, as the table of
# docs/published_runs.md: published_runs.sh REMATC SOURCE_DIR WORK_DIR. The document holds what this prints; of llm.c's
# log memory is within 5%, the step within 15%. To write it anew: copy WORK_DIR/published_runs.md over it.
. "$(dirname "$0")/common.sh"

number() { sed -n "s/.*\"$1\": *\\([0-9.e+-]*\\).*/\\1/p" plan.json | head -n 1; }
# row RUN FIGURE UNIT PUBLISHED PLANNED DIGITS [WITHIN]
row() {
    awk -v run="$1" -v figure="$2" -v unit="$3" -v published="$4" -v planned="$5" -v digits="$6" -v within="${7:-}" 'BEGIN {
        off = 100 * (planned / published - 1)
        printf "| %s | %s | %.*f %s | %.*f %s | %+.1f%% |\n", run, figure, digits, published, unit, digits, planned, unit, off
        exit within != "" && (off > within || off < -within) }' >>rows.txt || fail "$1, $2: more than $7% away: $(tail -n 1 rows.txt)"
}
mib() { awk "BEGIN { printf \"%.4f\", ($1) / 1048576 }"; }
bf16="--set dtype.compute=bf16 --set dtype.trained=bf16 --set dtype.gradient=bf16"

# llm.c, gelu computed again; its activations are those of attention that keeps no scores: a log of `train_gpt2cu -e d12 -b 56 -t 1024 -d 458752 -r 1`
run='llm.c, GPT-2 124M, A800 80 GB'
{ cat "$source_dir/examples/gpt2-124m.remat" && echo 'recompute "h.*.gelu"'; } >gelu.remat
"$rematc" plan gelu.remat --device a100-80 --budget 79GiB $bf16 --set V=50304 --set B=56 --set tokens_per_step=458752 --json >plan.json
row "$run" 'parameters' MiB 237 "$(mib "$(number weights)")" 0 5
row "$run" 'gradients' MiB 237 "$(mib "$(number 'weight gradients')")" 0 5
row "$run" "AdamW's moments and masters" MiB 1422 "$(mib "$(number optimizer)")" 0 5
row "$run" 'activations' MiB 18564 "$(mib "$(number activations)")" 0 5
row "$run" 'memory in use, with the context' MiB 21315 "$(mib "$(number peak_bytes) + $(number reserved_bytes)")" 0 5
row "$run" 'step' ms 2418 "$(awk "BEGIN { print 1000 * $(number seconds) }")" 0 15

# LLMQ at commit b77d969: the allocator's state in its README; benchmarks/H100x1.md and 4090x1.md, bf16, step 5
qwen() { # DEVICE BATCH D F L H K
    "$rematc" plan "$source_dir/examples/qwen2-0.5b.remat" --device "$1" --budget 1TiB $bf16 --set dtype.optimizer=bf16 --set T=1024 \
        --set B="$2" --set tokens_per_step=524288 --set D="$3" --set F="$4" --set L="$5" --set H="$6" --set K="$7" --json >plan.json 2>/dev/null
}
qwen rtx4090 8 896 4864 24 14 2
row 'LLMQ, Qwen2.5 0.5B' 'gradients' MiB 942 "$(mib "$(number 'weight gradients')")" 0
row 'LLMQ, Qwen2.5 0.5B' 'each of the moments, bf16' MiB 942 "$(mib "$(number optimizer) / 4")" 0 # a f32 master takes as much as both
speed() { # DEVICE BATCH TOKENS_PER_SECOND NAME D F L H K
    device=$1 published=$3 name=$4 batch=$2
    shift 4
    qwen "$device" "$batch" "$@"
    row "LLMQ, Qwen2.5 $name, $device, B = $batch" 'tokens a second' '' "$published" "$(number tokens_per_second)" 0
}
speed h100 32 149000 0.5B 896 4864 24 14 2
speed h100 32 58710 1.5B 1536 8960 28 12 2
speed h100 16 30958 3B 2048 11008 36 16 2
speed rtx4090 16 39842 0.5B 896 4864 24 14 2
speed rtx4090 4 14063 1.5B 1536 8960 28 12 2

{
    cat <<'END'
# Plans against runs that others published

What other programs took at the same shapes, beside what is planned for an emitted one there: estimates of one program held
against runs of another, so a difference is not an error of either. Columns that do not mean the same are left out. Printed by
`tests/pipeline/published_runs.sh`, which is one of the tests; not edited by hand.

- llm.c: a published log of `train_gpt2cu -e d12 -b 56 -t 1024 -d 458752 -r 1` on one A800 80 GB PCIe, bf16, whose steps 2 to 21
  took 2,392 to 2,445 ms: the middle. It computes GELU again, and so does this plan; its activations
  are as many as with attention that keeps no scores. Planned with the figures of `a100-80`.
- LLMQ at commit b77d969, github.com/IST-DASLab/llmq: the allocator's state in its README, and step 5 of the runs in bf16 of
  `benchmarks/H100x1.md` and `benchmarks/4090x1.md`, 524,288 tokens a step, T = 1024. It cuts the loss head into chunks in most of
  them; the budget here is all of the card.
- On the rtx4090 nothing of ours was measured: products are taken to reach what follows of LLMQ's figures, attention what an
  H100's reaches of mma.sync, memory what it reaches there.

| run | figure | published | planned | difference |
|---|---|---|---|---|
END
    cat rows.txt
} >published_runs.md
cmp published_runs.md "$source_dir/docs/published_runs.md" || { diff published_runs.md "$source_dir/docs/published_runs.md" >&2 || :; fail "the document says something else"; }
echo "$(wc -l <rows.txt) figures"
