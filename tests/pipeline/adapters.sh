#!/bin/sh
# Adapters beside frozen weights: the first loss is the frozen model's, losses and adapters are the same at every
# budget and after a stop, checkpoints hold what is trained, and less memory is needed than for training everything.
. "$(dirname "$0")/common.sh"
corpus
expect 0 "$rematc" build "$spec" $small --set steps=6 --set schedule.warmup=2 -o base --quiet
expect 0 base/train --quiet --save-dir base.save --log base.jsonl
weights=$(echo base.save/step-*6.safetensors)
lora="lora(rank = 4, alpha = 8, dropout = 0.1)"
short="--set weights=$weights --set steps=12 --set schedule.warmup=2 --set save.every=6"
adapted() { # VERB OPTIONS...
    verb=$1
    shift
    "$rematc" "$verb" "$spec" $small $short --set "adapt=$lora" "$@"
}
# -- memory: keep-all and the smallest budget, never above those of full training, nor of more layers --
bytes() { json_int "$1" plan.json; }
"$rematc" plan "$spec" $small $short --json >plan.json
full_all=$(bytes keep_all_bytes) full_least=$(bytes smallest_bytes)
adapted plan --json >plan.json
all=$(bytes keep_all_bytes) least=$(bytes smallest_bytes)
adapted plan --set 'adapt.on=h.*.attn.qkv' --json >plan.json
[ "$(bytes keep_all_bytes)" -le "$all" ] && [ "$(bytes smallest_bytes)" -le "$least" ] || fail "fewer adapters need more memory"
[ "$all" -lt "$full_all" ] && [ "$least" -lt "$full_least" ] ||
    fail "adapters need $all and $least bytes, full training $full_all and $full_least"
# -- B begins at 0: the first loss is that of training everything with no learning rate and no dropout of the adapters --
expect 0 adapted build --set optimizer.lr=0 -o start --quiet
expect 0 start/train --quiet --steps 1 --save-dir start.save --log start.jsonl
expect 0 "$rematc" build "$spec" $small $short --set optimizer.lr=0 -o frozen --quiet
expect 0 frozen/train --quiet --steps 1 --save-dir frozen.save --log frozen.jsonl
[ "$(losses start.jsonl | cut -d' ' -f2)" = "$(losses frozen.jsonl | cut -d' ' -f2)" ] || fail "the start is not the frozen model"
# -- every budget --
whole=$(whole_least "$spec" $small $short --set "adapt=$lora")
expect 0 adapted build --budget 1GiB -o all --quiet
expect 0 all/train --quiet --save-dir all.save --log all.jsonl
losses all.jsonl >want.txt
[ "$(wc -l <want.txt)" = 12 ] || fail "$(wc -l <want.txt) steps, not 12"
[ "$(head -n 1 want.txt | cut -d' ' -f2)" != "$(tail -n 1 want.txt | cut -d' ' -f2)" ] || fail "nothing is trained"
for case in least half blocks away; do
    case $case in
    least) set -- --budget "${whole}B" ;;
    half) set -- --budget "$(((whole + all) / 2))B" ;;
    blocks) set -- --budget 1GiB --policy every-block ;;
    away) set -- --budget "${whole}B" --set host=64MiB ;;
    esac
    expect 0 adapted build "$@" -o $case --quiet
    expect 0 $case/train --quiet --poison --save-dir $case.save --log $case.jsonl
    losses $case.jsonl | cmp - want.txt || fail "$case: other losses"
    cmp $case.save/step-*12.safetensors all.save/step-*12.safetensors || fail "$case: other adapters"
done
# -- stopped and gone on: what is frozen comes from the weights again --
expect 0 half/train --quiet --steps 6 --save-dir stop.save --log stop.jsonl
expect 0 half/train --quiet --save-dir stop.save --log stop.jsonl
losses stop.jsonl | cmp - want.txt || fail "gone on: other losses"
cmp stop.save/step-*12.safetensors all.save/step-*12.safetensors || fail "gone on: other adapters"
# -- a checkpoint holds adapters and their moments, and nothing that is frozen --
tr -c '[:print:]' '\n' <all.save/step-000012.safetensors | tr ',' '\n' | sed -n 's/.*"\([a-z0-9_.A-Z]*\)":{"dtype.*/\1/p' >names.txt
grep -q '^h.0.attn.qkv.lora_A.weight$' names.txt && grep -q '^v.h.3.mlp.proj.lora_B.weight$' names.txt || fail "no adapters are saved"
grep -v 'lora_[AB].weight$' names.txt && fail "what is frozen is saved"
# -- frozen in 4 bits: dequantised as the plan says, the same bits whatever is kept --
for kind in nf4 'nf4(double_quant)'; do
    set -- --set "frozen=$kind"
    adapted plan "$@" --json >plan.json
    [ "$(bytes keep_all_bytes)" -le "$all" ] && [ "$(bytes smallest_bytes)" -le "$least" ] ||
        fail "$kind needs $(bytes keep_all_bytes) and $(bytes smallest_bytes) bytes, f32 $all and $least"
    packed=$(whole_least "$spec" $small $short --set "adapt=$lora" "$@")
    for budget in 1073741824 "$(((packed + all) / 2))" "$packed"; do
        expect 0 adapted build "$@" --budget "${budget}B" -o packed --quiet --force
        expect 0 packed/train --quiet --poison --fresh --save-dir packed.save --log packed.jsonl
        losses packed.jsonl >packed.txt
        [ "$budget" != 1073741824 ] || { cp packed.txt packed.want; cp packed.save/step-*12.safetensors packed.bits; }
        cmp packed.txt packed.want || fail "$kind, $budget bytes: other losses"
        cmp packed.save/step-*12.safetensors packed.bits || fail "$kind, $budget bytes: other adapters"
    done
    cmp -s packed.txt want.txt && fail "$kind: nothing is quantised"
    awk 'NR == FNR { want[$1] = $2; next } { d = $2 / want[$1] - 1; if (d > 0.02 || d < -0.02) bad = 1 } END { exit bad }' \
        want.txt packed.txt || fail "$kind: losses far from those of f32"
done
# -- a longer text never needs less, also where weights are larger than activations --
for case in Mistral-Nemo-12B:few Qwen3-4B:few Phi-4:all; do
    set -- --set 'adapt=lora(rank = 16)' --set dtype.frozen=nf4 --device h100 --set B=1 --json
    [ "${case#*:}" = all ] || set -- "$@" --set 'adapt.on=*.{q,v}_proj'
    for length in 512 1024; do
        expect 0 "$rematc" plan "$source_dir/tests/cases/import/${case%:*}" --set T=$length "$@"
        json_int smallest_bytes stdout.txt >"length.$length"
    done
    [ "$(cat length.512)" -le "$(cat length.1024)" ] ||
        fail "$case: T = 512 needs $(cat length.512) bytes, T = 1024 $(cat length.1024)"
done
# -- on the command line --
expect 2 "$rematc" check "$spec" --set adapt.rank=3
grep -q "the file has no adapt; --set 'adapt=lora(rank = 16)' comes before it" stderr.txt || fail "no hint at adapt"
expect 2 adapted check --set train.adapt.rank=3
expect 2 adapted check --set adapt.rslora=1
grep -q "lora: 'rslora' stands alone" stderr.txt || fail "rslora = 1 is answered with something else"
expect 0 adapted check --set epochs=2
expect 0 adapted check --set epochs=2 --set steps=3
# -- trained beside them: both are saved --
expect 0 adapted build --set 'adapt.train=ln_f' -o more --quiet
expect 0 more/train --quiet --steps 2 --save-dir more.save --log more.jsonl
grep -qa '"m.ln_f.weight"' more.save/step-*2.safetensors || fail "ln_f is not trained"
echo "adapters: the same losses and bits in 5 plans and after a stop; $least bytes at least, $full_least to train everything"
