#!/bin/sh
# The same tokens a step in one micro-batch or in four give the same losses and norms, to rounding.
. "$(dirname "$0")/common.sh"
corpus
sed 's/dropout(\(linear(.*)\), 0.05)/\1/' "$spec" >plain.remat # masks of dropout depend on the micro-step
grep -q dropout plain.remat && fail "dropout is still on"
for batch in 8 2; do
    "$rematc" build plain.remat $small --set B=$batch -o "b$batch" --quiet >/dev/null
    "b$batch/train" --quiet --steps 5 --save-dir "b$batch.save" --log "b$batch.jsonl" >/dev/null
    losses "b$batch.jsonl" >"b$batch.losses"
done
grep -q 'RT_ACCUMULATOR' b2/train.c && ! grep -q 'RT_ACCUMULATOR' b8/train.c || fail "not one program accumulates and one does not"
paste -d ' ' b8.losses b2.losses | awk '
    function off(a, b) { return (a > b ? a - b : b - a) / (b > 0 ? b : 1) }
    $1 != $4 { bad = 1 }
    NR == 1 && (off($2, $5) > 1e-6 || off($3, $6) > 1e-5) { bad = 1 } # one forward and backward pass
    off($2, $5) > 1e-4 || off($3, $6) > 1e-3 { bad = 1 } # AdamW divides small by small: differences grow
    { print }
    END { exit bad || NR != 5 }' || fail "accumulation changes the numbers"
echo "4 micro-batches agree with one"
