#!/bin/sh
# Moments in 8 bits: small, as planned, the same under every plan, early or late, and after a stop; and they train.
. "$(dirname "$0")/common.sh"
corpus
one_micro="$small --set D=64 --set B=1 --set T=32 --set tokens_per_step=32 --set save.every=7"
adamw='lr = 2e-3, betas = (0.9, 0.99), decay = 0.1'
steps=40

build() { # name OPTIONS...
    name=$1
    shift
    "$rematc" build "$spec" $one_micro --set "train.optimizer=adamw8bit($adamw)" "$@" -o "$name.program" --quiet >/dev/null
}
train() { # name of the run, of the program, OPTIONS...
    run=$1 program=$2
    shift 2
    "$program.program/train" --quiet --save-dir "$run" --log "$run.jsonl" "$@" >/dev/null
}
same() { # name
    losses "$1.jsonl" | cmp - whole.losses || fail "$1: losses differ"
    cmp whole/step-*$steps.safetensors "$1"/step-*$steps.safetensors || fail "$1: weights or moments differ"
}

build whole --set clip_norm=1e30 --budget 1GiB
train whole whole --steps $steps
losses whole.jsonl >whole.losses
[ "$(wc -l <whole.losses)" = $steps ] || fail "$(wc -l <whole.losses) steps, not $steps"
planned=$(json_int planned_bytes whole.jsonl)
measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' whole.jsonl | tail -n 1)
[ "$planned" = "$measured" ] || fail "planned $planned bytes, measured $measured"
awk 'NR == 1 { first = $2 } { last = $2 } END { exit !(last < first - 1) }' whole.losses || fail "nothing is learned"
grep -q 'CALL[_A-Z]*(adamw8bit' whole.program/train.c && grep -q 'CALL[_A-Z]*(adamw,' whole.program/train.c ||
    fail "large weights and small ones are not updated each in their way"

# what the moments take: 8 bytes a number of those in f32
optimizer() { "$rematc" plan "$spec" $one_micro --budget 1GiB --json --set "train.optimizer=$1($adamw)" >plan.json &&
    sed -n 's/.*"optimizer": *\([0-9][0-9]*\).*/\1/p' plan.json | head -n 1; }
floats=$(optimizer adamw) codes=$(optimizer adamw8bit)
[ -n "$codes" ] && [ $((codes * 100)) -lt $((floats * 30)) ] || fail "moments take $codes bytes, $floats in f32"

# early updates, the smallest plan, a stop
least=$("$rematc" plan "$spec" $one_micro --set clip_norm=0 --json --budget 1GiB \
    --set "train.optimizer=adamw8bit($adamw)" | json_int smallest_bytes /dev/stdin)
build early --set clip_norm=0 --budget "${least}B"
grep -q 'updates_within = 1' early.program/train.c || fail "nothing is updated within the micro-step"
train early early --steps $steps --poison
same early
train stopped whole --steps 17
train stopped whole --steps $steps
same stopped

# a checkpoint of f32 moments is of another program
"$rematc" build "$spec" $one_micro --set "train.optimizer=adamw($adamw)" --set clip_norm=1e30 --budget 1GiB -o f32.program \
    --quiet >/dev/null
expect 6 f32.program/train --quiet --steps $steps --save-dir stopped
grep -q "is U8" stderr.txt || fail "nothing said of the moments' type"

# bf16 moments and 8-bit ones are two wishes
expect 2 "$rematc" check "$spec" --set dtype.optimizer=bf16 --set "train.optimizer=adamw8bit($adamw)"
grep -q E0406 stderr.txt || fail "bf16 moments are not refused"
echo "moments: $codes bytes, $floats in f32"
