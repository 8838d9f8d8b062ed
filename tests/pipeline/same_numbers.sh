#!/bin/sh
# The plan never changes the numbers: 20 steps at six budgets and under every policy, dropout and accumulation on,
# give the same losses and the same final checkpoint; and the arena's high water is the planned peak, the whole process
# within 8 MiB of what is planned for it.
. "$(dirname "$0")/common.sh"
corpus
"$rematc" plan "$spec" $small --json --budget 1GiB >plan.json
low=$(whole_least "$spec" $small)
high=$(json_int keep_all_bytes plan.json)
[ "$low" -lt "$high" ] || fail "no room between $low and $high bytes"

train_one() { # name, options of rematc
    name=$1
    shift
    "$rematc" build "$spec" $small --set "dir=$name.save" "$@" -o "$name" --quiet >/dev/null
    "$name/train" --steps 20 --quiet --log "$name.jsonl" >/dev/null
    losses "$name.jsonl" >"$name.losses"
    [ "$(wc -l <"$name.losses")" = 20 ] || fail "$name: $(wc -l <"$name.losses") losses, not 20"
    planned=$(sed -n 's/.*"planned_bytes": *\([0-9]*\).*/\1/p' "$name.jsonl" | head -n 1)
    measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' "$name.jsonl" | tail -n 1)
    [ "$planned" = "$measured" ] || fail "$name: planned $planned bytes, measured $measured"
    planned=$(sed -n 's/.*"planned_process_bytes": *\([0-9]*\).*/\1/p' "$name.jsonl" | tail -n 1)
    measured=$(sed -n 's/.*"measured_process_bytes": *\([0-9]*\).*/\1/p' "$name.jsonl" | tail -n 1)
    apart=$((planned > measured ? planned - measured : measured - planned))
    case ${CFLAGS:-} in
    *sanitize*) ;; # whose own memory is beside it
    *) [ "$apart" -le 8388608 ] || fail "$name: planned $planned bytes for the process, measured $measured" ;;
    esac
    ls "$name".save/step-*20.safetensors >/dev/null || fail "$name: no checkpoint"
}
train_one none --policy none --budget 1GiB
reference=none
n=0
check_one() {
    train_one "$@"
    cmp "$reference.losses" "$1.losses" || fail "$1: losses differ from $reference"
    cmp "$reference".save/step-*20.safetensors "$1".save/step-*20.safetensors || fail "$1: weights differ from $reference"
    n=$((n + 1))
}
for policy in every-block sqrt heuristic; do check_one $policy --policy $policy --budget 1GiB; done
for i in 0 1 2 3 4 5; do
    budget=$((low + (high - low) * i / 5))
    check_one "budget$i" --budget "${budget}B"
    measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' "budget$i.jsonl" | tail -n 1)
    [ "$measured" -le "$budget" ] || fail "budget$i: $measured bytes used of $budget"
done
# host memory: the block inputs, all that pays at a small budget, and a card's plan (copies beside the operations)
middle=$((low + (high - low) / 4))
check_one offload-blocks --policy offload-blocks --budget 1GiB --set host=1GiB
check_one away --budget "${low}B" --set host=64MiB
reserved=$("$rematc" devices rtx4090 --json | sed -n 's/.*"reserved_bytes": *\([0-9]*\).*/\1/p')
check_one beside --device rtx4090 --target host --budget "$((middle + reserved))B" --set host=64MiB
for name in offload-blocks away beside; do
    grep -q 'FETCH(' $name/train.c || fail "$name: nothing goes to host memory"
    planned=$(sed -n 's/.*"planned_host_bytes": *\([0-9]*\).*/\1/p' $name.jsonl | head -n 1)
    measured=$(sed -n 's/.*"measured_host_bytes": *\([0-9]*\).*/\1/p' $name.jsonl | tail -n 1)
    [ "$planned" = "$measured" ] || fail "$name: $planned bytes of host memory planned, $measured measured"
done
for name in none every-block budget0 offload-blocks away beside; do # dead memory full of NaN changes nothing
    "$name/train" --steps 20 --quiet --fresh --poison --save-dir "$name.poison" --log "$name.poison.jsonl" >/dev/null
    losses "$name.poison.jsonl" | cmp - "$reference.losses" || fail "$name: poison changes the losses"
done
for option in "" --poison; do # nor what is sampled
    none/train --steps 1 --fresh $option --sample 20 --save-dir sample.save --log "sample$option.jsonl" >/dev/null
    grep '"sample"' "sample$option.jsonl" >"sample$option.text" || fail "nothing is sampled"
done
cmp sample.text sample--poison.text || fail "poison changes the sample"
echo "$n programs gave the losses and the weights of keep-all; smallest budget $((100 * low / high))% of keep-all"
