#!/bin/sh
# How a run may end, and what it leaves: output that nobody reads, data cut short, a learning rate far too high,
# weights that a spec ties and a file does not.
. "$(dirname "$0")/common.sh"
corpus
"$rematc" build "$spec" $small --set steps=60 --set save.every=5 -o program --quiet >/dev/null
program/train --quiet --save-dir whole --log whole.jsonl >/dev/null
losses whole.jsonl >whole.losses
same() { # name
    program/train --quiet --save-dir "$1" --log "$1.jsonl" >/dev/null
    losses "$1.jsonl" | cmp - whole.losses || fail "$1: losses differ from the uninterrupted run"
    cmp whole/step-*60.safetensors "$1"/step-*60.safetensors || fail "$1: weights differ"
}

code=0
program/train --save-dir full --log full.jsonl >/dev/full 2>stderr.txt || code=$?
[ "$code" = 6 ] || fail "exit $code, not 6, where standard output is full"
ls full/step-*.safetensors >/dev/null || fail "nothing was saved where standard output is full"
same full
code=0
{ program/train --save-dir pipe --log pipe.jsonl 2>stderr.txt || echo $? >code; } | head -n 2 >/dev/null
# a run that ended before its reader did has met with nothing
[ ! -f code ] || [ "$(cat code)" = 6 ] || fail "exit $(cat code), not 6, where the reader has gone"
same pipe

cp corpus.txt data.txt
program/train --quiet --steps 5 --data data.txt --save-dir cut --log cut.jsonl >/dev/null
: >stdout.txt
program/train --data data.txt --save-dir cut --log cut.jsonl >stdout.txt 2>stderr.txt &
pid=$!
while [ "$(wc -l <stdout.txt)" -lt 1 ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
: >data.txt
code=0
wait $pid || code=$?
# a run that was quicker than this script is no failure of either
[ "$code" = 0 ] || { [ "$code" = 6 ] && grep -q "cut short" stderr.txt; } || fail "exit $code after the data was cut"
same cut

sed 's/lr = 2e-3/lr = 10/; /schedule/d' "$spec" >wild.remat
"$rematc" build wild.remat $small --set steps=12 -o wild --quiet >/dev/null
expect 0 wild/train --quiet --fresh --save-dir wild-out
grep -q 'the loss runs away' stderr.txt || fail "nothing said of a loss that runs away"
grep -q 'the run has diverged' stderr.txt || fail "nothing said at the end of a run that diverged"
expect 1 wild/train --quiet --fresh --save-dir wild-limited --max-loss 12
grep -q 'above --max-loss 12' stderr.txt || fail "--max-loss is not named"

# the spec as it is has a head of its own
sed "/schedule/d" "$spec" >untied.remat
sed 's/^model /tie "lm_head" = "wte"\n&/' untied.remat >tied.remat
"$rematc" build untied.remat $small --set steps=2 -o untied --quiet >/dev/null
untied/train --quiet --save-dir untied-out >/dev/null
echo 'weights "untied-out/step-000002.safetensors"' >>tied.remat
"$rematc" build tied.remat $small --set steps=2 -o tied --quiet >/dev/null
expect 6 tied/train --quiet --fresh --save-dir tied-out
grep -q "'lm_head.weight' in .* differs from 'wte.weight'" stderr.txt || { cat stderr.txt >&2; fail "the two heads are not named"; }
echo "full output, a reader that leaves, data cut short, a loss that runs away, a second head: all answered"
