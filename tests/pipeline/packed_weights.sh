#!/bin/sh
# Products with 4-bit weights that dequantise them as they go, and weights that are dequantised apart: the same losses
# and adapters to the bit, no more memory; `tune` measures both, its profile says which programs have, at every budget.
. "$(dirname "$0")/common.sh"
corpus
shape="--set L=2 --set D=96 --set H=4 --set K=2 --set F=160 --set V=256 --set T=40 --set B=2 --set tokens_per_step=160
    --set adapt.rank=4 --set steps=6 --set schedule.warmup=2 --device host"
within() { sed -n '/"products_dequantising"/,/}/s/.*"within": *\([0-9]*\).*/\1/p' "$1"; }
apart() { sed -n '/"products_dequantising"/,/}/s/.*"apart": *\([0-9]*\).*/\1/p' "$1"; }
qlora() { # VERB OPTIONS..
    verb=$1
    shift
    # shellcheck disable=SC2086
    "$rematc" "$verb" qlora.remat $shape "$@"
}
for kind in 'f32 nf4' 'bf16 nf4(double_quant)'; do
    type=${kind%% *}
    sed -e "s/compute bf16/compute $type/; s/frozen nf4([^)]*)/frozen ${kind#* }/; /^weights/d" \
        -e 's/"train.bin"  validate "val.bin"/"corpus.txt" bytes  validate 0.1/' "$source_dir/examples/llama3-8b-qlora.remat" >qlora.remat
    grep -q "frozen ${kind#* }" qlora.remat || fail "the example has no such line"
    # -- both ways are measured, and one of them taken: of each product, forwards and backwards --
    # shellcheck disable=SC2086
    expect 0 qlora tune --budget 64MiB --folder tune --force -o $type.profile -- --each 0.0001 $(test $type = bf16 || echo --only nf4)
    grep '^variant.* linear.* nf4' $type.profile >ways.txt
    [ "$(wc -l <ways.txt)" -ge 8 ] && ! grep -v ' : dequantise_within$\| : dequantise_apart$' ways.txt || fail "$(cat ways.txt)"
    # but for which way, by figures: times that are taken here change plans from run to run
    time=$(grep -m 1 '^time.* dequantize' $type.profile)
    for way in within apart; do
        { grep '^format\|^origin' $type.profile && echo "${time%% : *} : p10_us=1 median_us=1 p90_us=1 count=5" &&
            sed "s/ : .*/ : dequantise_$way/" ways.txt; } >$way.profile
        expect 0 qlora plan --budget 64MiB --profile $way.profile --json
        mv stdout.txt $way.json
    done
    products=$(within within.json)
    [ "$products" -ge 20 ] && [ "$(apart within.json)" = 0 ] || fail "$(grep -A3 products_ within.json)"
    [ "$(within apart.json)" = 0 ] && [ "$(apart apart.json)" = "$products" ] || fail "$(grep -A3 products_ apart.json)"
    # -- the same numbers, at the budget of each that holds all and at its smallest without tiles, which add otherwise --
    for way in within apart; do
        # shellcheck disable=SC2086
        whole=$(whole_least qlora.remat $shape --profile $way.profile)
        echo "$whole" >$way.least
        for budget in 67108864 $(test $way = apart || echo "$whole"); do
            expect 0 qlora build --budget "${budget}B" --profile $way.profile -o $way --quiet --force
            expect 0 $way/train --quiet --poison --fresh --save-dir $way.save --log $way.jsonl
            losses $way.jsonl >$way.txt
            [ -f $type.want ] || { cp $way.txt $type.want && cp $way.save/step-*6.safetensors $type.bits; }
            cmp $way.txt $type.want || fail "$type, $way, $budget bytes: other losses"
            cmp $way.save/step-*6.safetensors $type.bits || fail "$type, $way, $budget bytes: other adapters"
        done
        [ $way = within ] && ! grep -q dequantize $way/train.c || grep -q 'CALL(dequantize' $way/train.c || fail "$way: $(grep -c dequantize $way/train.c)"
    done
    [ "$(wc -l <$type.want)" = 6 ] || fail "$(wc -l <$type.want) steps, not 6"
    [ "$(cat within.least)" -lt "$(cat apart.least)" ] && [ "$(json_int keep_all_bytes within.json)" -le "$(json_int keep_all_bytes apart.json)" ] ||
        fail "$type: $(cat within.least) bytes at least within, $(cat apart.least) apart"
    [ "$(json_int smallest_bytes within.json)" -le "$(json_int smallest_bytes apart.json)" ] ||
        fail "$type: in tiles $(json_int smallest_bytes within.json) bytes at least within, $(json_int smallest_bytes apart.json) apart"
done
for operation in dequantize 'linear bf16.* < bf16.* bf16' 'linear .*nf4' 'linear_bwd_x .*nf4'; do
    grep -q "^time [0-9a-f]* $operation" bf16.profile || fail "not measured: $operation"
done
# -- said, kept when measured again, and refused where it is damaged --
for way in within apart; do
    expect 0 qlora plan --budget 64MiB --profile $way.profile --why '*.mlp.down_proj'
    grep -q "^  its weight is dequantised $way.*, the faster when both were measured$" stdout.txt || fail "$(cat stdout.txt)"
done
expect 0 qlora plan --budget 64MiB --why '*.mlp.down_proj'
grep -q '^  its weight is dequantised within the product, as always where nothing was measured$' stdout.txt || fail "$(cat stdout.txt)"
expect 0 qlora dump --stage fuse --profile apart.profile
grep -q '= dequantize' stdout.txt || fail "$(cat stdout.txt)"
cp apart.profile again.profile
expect 0 tune/tune -o again.profile --each 0.0001 --only nf4
grep '^variant.* nf4' again.profile >again.txt
grep '^variant.* nf4' apart.profile | cmp - again.txt || fail "another way than the one that was chosen"
for wrong in dequantise_never attend_q32; do
    sed "/^variant.* nf4/s/ : .*/ : $wrong/" apart.profile >bad.profile
    expect 1 qlora plan --budget 64MiB --profile bad.profile
    grep -q "^bad.profile:[0-9]*:1: error: '$wrong' is no variant of 'linear" stderr.txt || fail "$(cat stderr.txt)"
    expect 6 tune/tune -o bad.profile --each 0.0001
done
echo "packed weights: the same numbers either way; $(cat within.least) bytes at least within, $(cat apart.least) apart"
