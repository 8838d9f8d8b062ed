#!/bin/sh
# Adapters that read one value share a product: the same bits in every plan, tiles included; checkpoints, names and
# first steps are those of adapters apart (a dropout too small to drop anything keeps them so), and neither launches of a
# GPU nor memory become more.
. "$(dirname "$0")/common.sh"
corpus
sed '/^weights /d; /^save /d; s/^data .*/data { train "corpus.txt" bytes  validate 0.1 }/' \
    "$source_dir/examples/llama3-8b-qlora.remat" >spec.remat
shape="--set L=2 --set D=64 --set H=4 --set K=2 --set F=96 --set V=256 --set T=32 --set B=4 --set tokens_per_step=256
    --set steps=6 --set schedule.warmup=1 --set clip_norm=1000 --set compute=f32 --set frozen=f32"
adapted() { # VERB DROPOUT OPTIONS...
    verb=$1 dropout=$2
    shift 2
    "$rematc" "$verb" spec.remat $shape --set "adapt=lora(rank = 8, alpha = 16, dropout = $dropout)" --device host "$@"
}
apart=0.000000001
# -- the graph: one product each for queries, keys, values, and for gate and up; behind it the parts are what they were --
adapted dump 0 --stage group >group.txt
adapted dump $apart --stage group >apart.txt
count() { grep -c "$1" "$2" || true; }
[ "$(count ' = linear(.*lora_A' apart.txt)" = 14 ] && [ "$(count ' = linear(.*lora_A' group.txt)" = 8 ] ||
    fail "$(count ' = linear(.*lora_A' group.txt) first products of $(count ' = linear(.*lora_A' apart.txt)"
[ "$(count ' = split(' group.txt)" = 4 ] && [ "$(count ' = param adapter' group.txt)" = 28 ] || fail "other parts or weights"
# -- apart and together --
expect 0 adapted build 0 --budget 1GiB -o all --quiet
expect 0 adapted build $apart --budget 1GiB -o apart --quiet
expect 0 all/train --quiet --save-dir all.save --log all.jsonl
expect 0 apart/train --quiet --save-dir apart.save --log apart.jsonl
losses all.jsonl >want.txt
losses apart.jsonl >apart.txt
[ "$(wc -l <want.txt)" = 6 ] || fail "$(wc -l <want.txt) steps, not 6"
first_losses() { head -n 2 "$1" | cut -d' ' -f2; } # of the second step too, when no B is zero any more
[ "$(first_losses want.txt)" = "$(first_losses apart.txt)" ] || fail "other bits forwards"
cmp -s want.txt apart.txt && fail "the same bits backwards: nothing is shared"
awk 'NR == FNR { loss[$1] = $2; norm[$1] = $3; next } { d = $2 / loss[$1] - 1; e = $3 / norm[$1] - 1
    if (d * d > 1e-12 || e * e > 1e-8) bad = 1 } END { exit bad }' want.txt apart.txt || fail "losses or norms differ"
for save in all apart; do header $save.save/step-*6.safetensors | tr ',' '\n' | sed -n 's/.*"\([a-z0-9_.A-Z]*\)":{"dtype.*/\1/p' >$save.names; done
cmp all.names apart.names || fail "checkpoints hold other tensors"
# -- a checkpoint of one goes on in the other --
expect 0 apart/train --quiet --steps 3 --save-dir mixed.save --log mixed.jsonl --fresh
expect 0 all/train --quiet --save-dir mixed.save --log mixed.jsonl
[ "$(losses mixed.jsonl | wc -l)" = 6 ] || fail "it does not go on"
# -- every budget, and MLPs in tiles --
least=$(whole_least spec.remat $shape --set 'adapt=lora(rank = 8, alpha = 16)' --device host)
for budget in "${least}B" "$((least * 5 / 4))B"; do
    expect 0 adapted build 0 --budget $budget -o less --quiet --force
    expect 0 less/train --quiet --poison --save-dir less.save --log less.jsonl --fresh
    losses less.jsonl | cmp - want.txt || fail "$budget: other losses"
    cmp less.save/step-*6.safetensors all.save/step-*6.safetensors || fail "$budget: other adapters"
done
# -- what it saves --
# nor memory: but for gradients of the last pieces, which wait for their sum, at the smallest budget (of 0.2% here)
for figure in smallest_bytes keep_all_bytes; do
    together=$(adapted plan 0 --json | json_int $figure /dev/stdin)
    separate=$(adapted plan $apart --json | json_int $figure /dev/stdin)
    more=0
    [ $figure = keep_all_bytes ] || more=$((separate / 200))
    [ "$together" -le $((separate + more)) ] || fail "$figure: $together together, $separate apart"
done
launches() { adapted plan "$@" --target cuda --device h100 --budget 60GiB --json | json_int launches /dev/stdin; }
[ "$(launches 0)" -lt "$(launches $apart)" ] || fail "$(launches 0) launches together, $(launches $apart) apart"
echo "adapters_shared: $(count ' = linear(.*lora_A' group.txt) first products of 14, $(launches 0) launches of $(launches $apart)"
