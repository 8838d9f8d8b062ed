#!/bin/sh
# Tiles of tokens: a budget below anything the whole graph can meet is met, training gives the losses of the whole to
# rounding, memory stays within the budget, and at one tiling the plan changes no bit.
. "$(dirname "$0")/common.sh"
corpus
model="--set D=32 --set L=3 --set H=2 --set B=8 --set T=64 --set V=512 --set train=corpus.txt"
sed 's/every 100 steps/every 10 steps/' "$spec" >short.remat # that validation, too, runs in tiles
spec=short.remat
"$rematc" plan "$spec" $model --json --budget 1GiB >whole.json
low=$(whole_least "$spec" $model)
grep -q 'whole, the smallest budget would be' least.txt || fail "nothing is said of the whole: $(cat least.txt)"
budget=$((low * 96 / 100))

train_one() { # name, options of rematc
    name=$1
    shift
    "$rematc" build "$spec" $model --set "dir=$name.save" "$@" -o "$name" --quiet >/dev/null
    "$name/train" --steps 20 --quiet --log "$name.jsonl" >"$name.out"
    losses "$name.jsonl" >"$name.losses"
    [ "$(wc -l <"$name.losses")" = 20 ] || fail "$name: $(wc -l <"$name.losses") losses, not 20"
}
tiling() { # of a plan.json
    echo "$(json_int loss_chunks "$1") chunks, $(json_int mlp_tiles "$1") tiles"
}
# close NAME: losses and gradient norms are those of the whole to rounding, which training amplifies
close() {
    paste -d ' ' whole.losses "$1.losses" | awk '
        function far(a, b, most) { d = a - b; return (d < 0 ? -d : d) > most * a }
        $1 != $4 || far($2, $5, NR == 1 ? 1e-6 : 1e-4) || far($3, $6, NR == 1 ? 1e-5 : 1e-2) {
            print "step " $1 ": loss " $5 " not " $2 ", norm " $6 " not " $3; bad = 1
        }
        END { exit bad }' || fail "$1: not the losses of the whole"
}
train_one whole --budget 1GiB
"$rematc" plan "$spec" $model --json --budget "${budget}B" >tiled.json
[ "$(tiling whole.json)" = "1 chunks, 1 tiles" ] || fail "the whole graph is in tiles: $(tiling whole.json)"
[ "$(tiling tiled.json)" != "1 chunks, 1 tiles" ] || fail "$budget bytes are met without tiles"
grep -q 'whole, the smallest budget would be' tiled.json || fail "no reason for tiles"
train_one tiled --budget "${budget}B"
close tiled
measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' tiled.jsonl | tail -n 1)
[ "$measured" -le "$budget" ] || fail "$measured bytes used of $budget"
tiled/train --steps 20 --quiet --fresh --poison --save-dir poison.save --log poison.jsonl >/dev/null
losses poison.jsonl | cmp - tiled.losses || fail "poison changes the losses"
for name in whole tiled; do
    sed -n 's/.*"validation_loss": *\([^,}]*\).*/\1/p' $name.jsonl >$name.validation
    [ "$(wc -l <$name.validation)" = 2 ] || fail "$name: not validated twice"
done
paste -d ' ' whole.validation tiled.validation | awk '{ d = $1 - $2; if (d * d > 1e-8 * $1 * $1) exit 1 }' ||
    fail "validation differs"
# another budget, the same tiling: the same bits
for part in 97 98 99; do
    "$rematc" plan "$spec" $model --json --budget "$((low * part / 100))B" >other.json
    [ "$(tiling other.json)" = "$(tiling tiled.json)" ] || continue
    train_one other --budget "$((low * part / 100))B"
    cmp tiled.losses other.losses || fail "another budget, the same tiling: other losses"
    cmp tiled.save/step-*20.safetensors other.save/step-*20.safetensors || fail "other weights"
    echo "same bits at $((low * part / 100)) bytes"
    break
done
# the budget the message names is met, and nothing below it
expect 3 "$rematc" plan "$spec" $model --budget 1KiB
least=$(sed -n 's/.*smallest feasible budget is \([0-9.]*\) MiB.*/\1/p' stderr.txt)
[ -n "$least" ] || fail "no smallest budget in the message"
awk "BEGIN { exit !($least * 1048576 < $low * 0.97) }" || fail "the smallest budget, $least MiB, is that of the whole"
[ "$least" = "$(sed -n 's/^  smallest budget \([0-9.]*\) MiB.*/\1/p' least.txt)" ] || fail "plan and E0701 differ"
expect 0 "$rematc" plan "$spec" $model --budget "${least}MiB"
expect 3 "$rematc" plan "$spec" $model --budget "$(awk "BEGIN { print $least - 0.01 }")MiB"
echo "$low bytes are the least of the whole, $least MiB of tiles; $budget bytes trained in $(tiling tiled.json)"
