#!/bin/sh
# fold.sh REMATC SOURCE WORK: layers that do the same are one function over a table: the emitted programs of the large
# models are short; segments that are recomputed, copies to host memory and tiles of the loss are folded too; folded
# programs call each operation as often as the plan says and give the losses and the weights of keep-all.
. "$(dirname "$0")/common.sh"
corpus

lines() { # MODEL TARGET MOST
    file=train.c
    [ "$2" = host ] || file=train.cu
    "$rematc" emit "$source_dir/examples/$1.remat" --target "$2" -o "$1-$2" >/dev/null 2>&1
    count=$(wc -l <"$1-$2/$file")
    [ "$count" -le "$3" ] || fail "$1 for $2: $count lines of $file, more than $3"
    echo "$1 for $2: $count lines"
}
lines llama3-8b cuda 2500
lines llama3-8b host 2500
lines llama3-70b cuda 4000
lines llama3-70b host 4000
lines gpt2-xl cuda 2500
lines qwen2-0.5b cuda 2500

# calls of each operation in a step, from the plan and as they were counted
planned_calls() { # DIR
    awk -F '"' '
        $2 == "accumulate" && !times { times = $3; gsub(/[^0-9]/, "", times); times += 0 }
        $2 == "update_begin" && !begin { begin = $3; gsub(/[^0-9]/, "", begin); begin += 0 }
        $2 == "buffers" { exit }
        $2 == "step" { step++ }
        $2 == "op" { calls[$4] += step <= begin ? times : 1 }
        END { for (op in calls) print op, calls[op] }' "$1/plan.json" | sort
}
counted_calls() { # NAME
    awk 'NR > 1 && $1 !~ /^(offload|fetch|wait)$/ { print $1, $2 }' "$1.profile" | sort
}
run_one() { # NAME OPTIONS...: NAME.losses
    name=$1
    shift
    expect 0 "$rematc" build "$spec" $small --set L=9 "$@" -o "$name" --quiet
    "$name/train" --steps 3 --quiet --fresh --poison --save-dir "$name.save" --log "$name.jsonl" >/dev/null
    losses "$name.jsonl" >"$name.losses"
    [ "$(wc -l <"$name.losses")" = 3 ] || fail "$name: $(wc -l <"$name.losses") losses, not 3"
    "$name/train" --steps 1 --quiet --fresh --sample 0 --save-dir "$name.once" --profile 2>"$name.profile"
    planned_calls "$name" >"$name.planned"
    counted_calls "$name" >"$name.counted"
    [ -s "$name.planned" ] || fail "$name: no operations in plan.json"
    cmp "$name.planned" "$name.counted" || fail "$name: other operations run than are planned"
}
same() { # NAME REFERENCE
    cmp "$1.losses" "$2.losses" || fail "$1: losses differ from $2"
    cmp "$1".save/step-*3.safetensors "$2".save/step-*3.safetensors || fail "$1: weights differ from $2"
}
has() { # NAME PATTERN: in the program
    grep -q "$2" "$1/train.c" || fail "$1: no '$2'"
}
run_one none --policy none --budget 1GiB
has none 'for (int i = 0; i < 9; i++) train_backward_h(run, &train_backward_h_rows\[i\])'
has none 'for (int i = 0; i < 9; i++) train_adamw_h(run, 8 - i)'
has none '{"m.h.\*.attn.qkv.weight", '
run_one sqrt --policy sqrt --budget 1GiB
has sqrt 'train_again_h(run, &train_again_h_rows\['
run_one away --policy offload-blocks --budget 1GiB --set host=1GiB
has away 'OFFLOAD(at->ticket'
has away 'WAIT(at->ticket'
for name in sqrt away; do same $name none; done

# the loss in chunks of tokens: tiles outside the layers are folded as layers are (what they compute: tiles.sh)
wide="--set V=4001 --set D=8 --set T=64 --set B=8 --set tokens_per_step=512"
least=$("$rematc" plan "$spec" $small --set L=9 $wide --json --budget 1GiB | json_int smallest_bytes /dev/stdin)
run_one tiles $wide --budget "$((least + (least >> 4)))B"
has tiles 'train_backward_tile(run, &train_backward_tile_rows\['
echo "folded programs run what is planned"
