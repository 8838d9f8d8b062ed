#!/bin/sh
# late.sh REMATC SOURCE WORK: a CUDA program, whose host reads a step's results when the next one is on its way. With a
# guard that passes over steps: the same steps, the same log and, a stop or a kill in between or not, the same checkpoints,
# as when nothing is read late; the host waits no more often the more steps there are. A run that diverges says so.
. "$(dirname "$0")/common.sh"
shape="--set L=1 --set D=16 --set H=2 --set T=12 --set B=2"

# mostly one line, seldom noise: windows whose loss stands out
awk 'BEGIN { srand(3); for (i = 0; i < 1600; i++) { line = ""
    for (k = 0; k < 12; k++) line = line sprintf("%c", i % 29 == 5 ? 128 + int(rand() * 60) : 97 + k % 3)
    printf "%s", line } }' > "$work/text.txt"
sed -e 's/^  clip_norm 1.0/&  guard spike(1)/; s/warmup = 40/warmup = 4/; s/^  steps 1000/  steps 60/; s/lr = 2e-3/lr = 1e-2/' \
    -e 's/^data .*/data { train "corpus.txt" bytes  validate 0.05 every 25 steps 2 batches }/; s/every 200 steps keep 2/every 1 steps keep 100/' \
    "$source/examples/bytes-gpt.remat" > "$work/guard.remat"
emit cuda "$work/guard.remat" --target cuda --device h100 --budget 8GiB --policy none
emit host "$work/guard.remat" --device host --budget 1GiB --policy none
build cuda
make -s -C "$work/host" OBJ="$work/obj-host" > "$work/host.log" 2>&1 || fail "$(cat "$work/host.log")"

# the guard's decision is a node of the update that the plan counts
"$rematc" plan "$work/guard.remat" $shape --target cuda --device h100 --budget 8GiB --policy none --json > "$work/plan.json"
nodes=$(sed -n 's/.*"\(first_micro_step\|update\)": *\([0-9]*\).*/\2/p' "$work/plan.json" | tr '\n' ' ')
(cd "$work/cuda" && ./train --dry-run 2> "$work/dry.err") || fail "$(cat "$work/dry.err")"
grep -q "^steps: recorded as graphs of ${nodes%% *} nodes and $(echo "$nodes" | cut -d ' ' -f 2)\$" "$work/dry.err" ||
    fail "planned nodes $nodes, $(cat "$work/dry.err")"

run() { # PROGRAM FOLDER OPTIONS..: its log beside the folder, without times
    program=$1 folder=$2
    shift 2
    code=0
    (cd "$work/$program" && ./train --data "$work/text.txt" --save-dir "$work/$folder" --quiet --sample 0 \
        --log "$work/$folder.jsonl" "$@") 2> "$work/$folder.err" || code=$?
    sed 's/"step_seconds".*"planned_bytes"/"planned_bytes"/; s/,"time_left_seconds.*/}/; /measured_step_seconds/d' "$work/$folder.jsonl" > "$work/$folder.log"
}
same_folder() { # FOLDER FOLDER
    for file in "$work/$1"/step-*.safetensors; do
        cmp "$file" "$work/$2/$(basename "$file")" || fail "$1 and $2 differ"
    done
}
rm -rf "$work"/out-*
run host out-host
passed=$(grep -c '"passed_over":true' "$work/out-host.log") || fail "no step stands out: $(cat "$work/out-host.log")"
[ "$passed" -ge 2 ] || fail "too few steps stand out: $passed"
run cuda out-whole
[ $code = 0 ] || fail "$(cat "$work/out-whole.err")"
for name in host whole; do
    sed -n 's/{"step":\([0-9]*\),"loss":\([^,]*\),.*/\1 \2/p' "$work/out-$name.log" > "$work/$name.losses"
    grep 'passed_over\|validation' "$work/out-$name.log" | sed 's/,.*loss.*"pass.*//; s/_loss.*//' > "$work/$name.passed"
    sed -n 's/.*\(step [0-9]* is passed over\).*/\1/p' "$work/out-$name.err" > "$work/$name.said"
done
cmp "$work/host.passed" "$work/whole.passed" || fail "host and device pass over other steps"
cmp "$work/host.said" "$work/whole.said" || fail "host and device tell of other steps"
paste "$work/host.losses" "$work/whole.losses" |
    awk '{ d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || !(d <= 2e-3 * $2)) bad = 1 } END { exit bad || NR != 60 }' ||
    fail "host and device differ"

# nothing is saved on the way, and so every step but the first is issued while the one before is on its way
sed 's/ every 1 steps keep 100//' "$work/guard.remat" > "$work/seldom.remat"
sed -i 's/every 25 steps 2 batches/every 1000 steps 2 batches/' "$work/seldom.remat"
emit seldom "$work/seldom.remat" --target cuda --device h100 --budget 8GiB --policy none
build seldom
for options in "" --no-graph --poison; do
    rm -rf "$work/out-seldom"*
    run seldom out-seldom --fresh $options
    [ $code = 0 ] || fail "$(cat "$work/out-seldom.err")"
    cmp "$work/out-seldom/step-000060.safetensors" "$work/out-whole/step-000060.safetensors" || fail "read late, $options: other weights"
    grep -v validation "$work/out-whole.log" | cmp - "$work/out-seldom.log" || fail "read late, $options: another log"
done
for steps in 8 40; do
    rm -rf "$work/out-waits"*
    REMAT_SIM_WAITS=1 run seldom out-waits --fresh --steps $steps
    sed -n 's/.*the host waited \([0-9]*\) times.*/\1/p' "$work/out-waits.err" > "$work/waits-$steps"
    [ -s "$work/waits-$steps" ] || fail "no waits: $(cat "$work/out-waits.err")"
done
cmp "$work/waits-8" "$work/waits-40" || fail "the host waits for steps: $(cat "$work/waits-8" "$work/waits-40")"

# stopped anywhere, and behind a step that was passed over, the run goes on to the same bits
first=$(sed -n 's/{"step":\([0-9]*\),.*"passed_over".*/\1/p' "$work/out-whole.log" | head -n 1)
rm -rf "$work/out-part"*
for steps in 7 $((first - 1)) $first 60; do
    run cuda out-part --steps $steps
    [ $code = 0 ] || fail "$steps steps: $(cat "$work/out-part.err")"
done
same_folder out-whole out-part
cmp "$work/out-whole.log" "$work/out-part.log" || fail "a resumed run logs something else"
for signal in TERM KILL; do
    rm -rf "$work/out-killed"*
    program=seldom
    [ $signal = TERM ] || program=cuda # what a kill leaves was saved before
    for attempt in 1 2 3 4; do
        (cd "$work/$program" && exec ./train --data "$work/text.txt" --save-dir "$work/out-killed" --quiet --sample 0) \
            2> "$work/killed.err" &
        sleep 0.1
        kill -$signal $! 2> /dev/null || true
        wait $! 2> /dev/null || true
    done
    ls "$work/out-killed" > "$work/killed.list"
    run $program out-killed
    [ $code = 0 ] || fail "$(cat "$work/out-killed.err")"
    cmp "$work/out-killed/step-000060.safetensors" "$work/out-whole/step-000060.safetensors" || fail "$signal: other weights"
done

# what ends a run without a guard names its step, behind the lines of all steps before
sed 's/guard spike(1)//; s/lr = 1e-2/lr = 100/; s/decay = 0.1/decay = 1/' "$work/seldom.remat" > "$work/wild.remat"
emit wild "$work/wild.remat" --target cuda --device h100 --budget 8GiB --policy none
build wild
for end in "" "--max-loss 100"; do
    rm -rf "$work/out-end"*
    run wild out-end --fresh $end
    [ $code = 1 ] || fail "$end: exit $code"
    step=$(sed -n "s/train: error: the .* of step \([0-9]*\) is .*${end:+above --max-loss 100}.*; nothing was saved.*/\1/p" "$work/out-end.err")
    [ -n "$step" ] || fail "$end: $(cat "$work/out-end.err")"
    [ "$(wc -l < "$work/out-end.log")" = $((step - 1)) ] || fail "$end: step $step, and $(cat "$work/out-end.log")"
    if [ -e "$work/out-end"/step-000060.safetensors ]; then fail "$end: saved"; fi
done
echo ok
