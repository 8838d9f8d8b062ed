#!/bin/sh
# Killed at any moment and started again, a run ends with the bits of the uninterrupted one; SIGTERM saves
# and exits 75; a torn checkpoint is passed over.
. "$(dirname "$0")/common.sh"
corpus
"$rematc" build "$spec" $small --set steps=60 --set save.every=5 -o program --quiet >/dev/null
program/train --quiet --save-dir whole --log whole.jsonl >/dev/null
losses whole.jsonl >whole.losses
[ "$(wc -l <whole.losses)" = 60 ] || fail "$(wc -l <whole.losses) steps, not 60"

same() { # name
    losses "$1.jsonl" | cmp - whole.losses || fail "$1: losses differ from the uninterrupted run"
    cmp whole/step-*60.safetensors "$1"/step-*60.safetensors || fail "$1: weights differ"
}

kills=0
tries=0
while [ "$tries" -lt 40 ]; do # SIGKILL at moments spread over the run
    tries=$((tries + 1))
    program/train --quiet --save-dir killed --log killed.jsonl >/dev/null 2>&1 &
    pid=$!
    sleep "0.$((tries * 7 % 10))$((tries * 3 % 10))"
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    code=0
    wait $pid 2>/dev/null || code=$?
    [ "$code" = 0 ] && break
done
program/train --quiet --save-dir killed --log killed.jsonl >/dev/null
same killed

program/train --quiet --save-dir stopped --log stopped.jsonl >/dev/null &
pid=$!
sleep 0.4
kill -TERM $pid 2>/dev/null || true
code=0
wait $pid || code=$?
[ "$code" = 75 ] || [ "$code" = 0 ] || fail "exit $code after SIGTERM, not 75"
program/train --quiet --save-dir stopped --log stopped.jsonl >/dev/null
same stopped

program/train --quiet --steps 40 --save-dir torn --log torn.jsonl >/dev/null
last=$(ls torn/step-*.safetensors | tail -n 1)
size=$(wc -c <"$last")
head -c $((size / 2)) "$last" >half && mv half "$last"
expect 0 program/train --save-dir torn --log torn.jsonl
grep -q "$(basename "$last")" stderr.txt || fail "nothing said of the torn checkpoint"
same torn
echo "killed $kills times, stopped once, torn once: the same bits"
