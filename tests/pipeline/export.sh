#!/bin/sh
# What was trained is handed on: export.sh REMATC SOURCE_DIR WORK_DIR PUBLISH. A model and an adapter as folders for other
# tools, from a trainer and from its checkpoint, the same bytes; a merged model goes on where the training ended; what
# would be lost is refused.
. "$(dirname "$0")/common.sh"
publish=$4
mkdir -p model
printf '{"model_type": "gpt2", "vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2,
  "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}\n' >model/config.json
echo '{"a": 1}' >model/tokenizer.json
echo terms >model/LICENSE
echo old >model/pytorch_model.bin
echo notes >model/README.md
# four windows, which every step goes through
awk 'BEGIN { for (i = 0; i < 65; i++) printf "%c%c", i * i % 61 + 1, 0 }' >tokens.u16
settings="--set B=2 --set T=16 --set tokens_per_step=64 --set schedule=constant --set data.train=tokens.u16
  --set validate=0 --set optimizer.lr=1e-2 --set clip_norm=0"
# shellcheck disable=SC2086
expect 0 "$rematc" import model -o model.remat $settings --set steps=4
sed '/^weights/d' model.remat >seed.remat
expect 0 "$rematc" build seed.remat -o seed --quiet
expect 0 seed/train --quiet --save-dir seed.save
"$publish" "$(echo seed.save/step-*4.safetensors)" model 3 transformer.
first_loss() { losses "$1" | head -n 1 | cut -d' ' -f2; }
# refused TEXT ARGUMENTS...: an export that says so and leaves nothing half written beside its target
refused() {
    text=$1
    shift
    expect 6 "$rematc" export "$@"
    grep -q "$text" stderr.txt || { cat stderr.txt >&2; fail "export $*: not '$text'"; }
    [ -z "$(find . -name '.*.tmp')" ] || fail "export $*: left $(find . -name '.*.tmp')"
}

# -- every weight trained: the folder has the base's names and shapes, and begins where the run ended --
sed 's|^save .*|save { dir "out/"  merged "merged" }|' model.remat >whole.remat
expect 0 "$rematc" build whole.remat -o whole --quiet
expect 0 whole/train
grep -q '^merged: ' stderr.txt || fail "nothing is said of the folder"
[ "$(ls merged | tr '\n' ' ')" = "LICENSE config.json model.safetensors tokenizer.json " ] || fail "carried over: $(ls merged)"
cmp model/config.json merged/config.json || fail "another configuration"
for file in model/*.safetensors; do header "$file"; done | grep -o '"transformer[^"]*":{"dtype":"[A-Z0-9]*","shape":[^"]*' |
    sort >want.txt
header merged/model.safetensors | grep -o '"transformer[^"]*":{"dtype":"[A-Z0-9]*","shape":[^"]*' | sort >got.txt
[ "$(wc -l <want.txt)" = 28 ] && cmp want.txt got.txt || fail "other names or shapes"
expect 0 "$rematc" export out -o again
diff -r merged again || fail "another folder from the checkpoint"
expect 0 "$rematc" build whole.remat --set steps=5 --set save.merged=unused -o on --quiet
cp -r out on.save
expect 0 on/train --quiet --save-dir on.save --log on.jsonl
sed 's|^weights "model"|weights "merged"|; s|^save .*|save { dir "next/" }|' model.remat >next.remat
expect 0 "$rematc" build next.remat --set steps=1 -o next --quiet
expect 0 next/train --quiet --log next.jsonl
echo "$(first_loss on.jsonl) $(first_loss next.jsonl)" | awk '{ exit !($1 > 0 && ($1 - $2) ^ 2 < 1e-12) }' ||
    fail "goes on with a loss of $(first_loss on.jsonl), the folder with $(first_loss next.jsonl)"
[ -d unused ] || fail "a run that went on wrote no folder"

# -- in shards: every tensor in the one that the index names, none larger than asked but for one tensor alone --
total=$(numbers merged/model.safetensors | wc -c)
expect 0 "$rematc" export out -o cut --shard-size 30KB
shards=$(find cut -name 'model-*' | wc -l)
[ "$shards" -gt 2 ] && [ ! -e cut/model.safetensors ] || fail "shards: $(ls cut)"
grep -q "\"total_size\": $total}" cut/model.safetensors.index.json || fail "total_size is not $total"
: >cut.numbers
for i in $(seq "$shards"); do
    file=$(printf 'model-%05d-of-%05d.safetensors' "$i" "$shards")
    [ "$(numbers "cut/$file" | wc -c)" -le 30000 ] || [ "$(header "cut/$file" | grep -o dtype | wc -l)" = 1 ] || fail "$file is too large"
    numbers "cut/$file" >>cut.numbers
    header "cut/$file" | grep -o '"transformer[^"]*":{' | sed "s/{/ \"$file\"/"
done | sort >want.txt
grep -o '"transformer[^,]*' cut/model.safetensors.index.json | sort >got.txt
[ "$(wc -l <want.txt)" = 28 ] && cmp want.txt got.txt || fail "the index: $(cat cut/model.safetensors.index.json)"
numbers merged/model.safetensors | cmp - cut.numbers || fail "other numbers than in one file"
for folder in merged cut; do
    expect 0 "$rematc" build next.remat --set steps=1 --set weights=$folder -o $folder.next --quiet
    expect 0 $folder.next/train --save-dir $folder.save --log $folder.jsonl
    grep -o '28 of the 28 tensors\|checksum [0-9a-f]*' stderr.txt >$folder.txt || fail "no checksum: $(cat stderr.txt)"
    losses $folder.jsonl >$folder.losses
done
cmp merged.txt cut.txt && cmp merged.losses cut.losses || fail "shards read back as another model"
# over it, in other shards and in one file: none of the first stays, and nothing of it is lost
cp -r cut cut.first
echo notes >cut/notes.txt
expect 0 "$rematc" export out -o cut --shard-size 60KB
again=$(find cut -name 'model-*' | wc -l)
[ "$again" -gt 1 ] && [ "$again" -lt "$shards" ] || fail "shards: $(ls cut)"
[ "$(find cut -name "model-*-of-$(printf %05d "$again").safetensors" | wc -l)" = "$again" ] || fail "old shards: $(ls cut)"
[ "$(cat cut.old/notes.txt)" = notes ] && rm cut.old/notes.txt && diff -r cut.first cut.old || fail "an earlier export was changed"
rm -r cut.old
expect 0 "$rematc" export out -o cut
diff -r merged cut || fail "one file over shards: $(ls cut)"
rm -r cut cut.old cut.first
# a size is one, and of a model
for size in 30 0GB -1GB 5gb 1e99GB x; do expect 2 "$rematc" export out -o cut --shard-size=$size; done
expect 2 "$rematc" export out -o cut --shard-size 5gb
grep -q "did you mean '5GB'?" stderr.txt || fail "no size, and nothing near"
expect 2 "$rematc" export out -o cut --shard-size 5GB --adapter
[ ! -e cut ] || fail "a refused folder was begun"

# -- an earlier run's folder is set aside; another's is left alone --
expect 0 whole/train --fresh --quiet
[ -d merged.old ] && diff -r merged merged.old || fail "an earlier folder was not set aside"
rm -r merged
expect 0 whole/train --quiet
diff -r merged merged.old || fail "a folder that is missing was not written again"
mkdir mine && echo mine >mine/notes.txt
refused "no model that was written here" out -o mine
[ "$(cat mine/notes.txt)" = mine ] || fail "somebody's folder was touched"
cp merged/model.safetensors mine/ours.safetensors && cp model/model-00001-of-00003.safetensors mine/theirs.safetensors
refused "no model that was written here" out -o mine
rm mine/ours.safetensors
refused "no model that was written here" out -o mine
for target in model model/in .; do
    refused "would write over the published model" out -o $target
done
ln -s model link
refused "would write over the published model" out -o link
refused "would write over the published model" out -o link/in
refused "cannot write the folder" out -o none/there
refused "the checkpoint 'tokens.u16'" tokens.u16 -o other
refused "its metadata lacks 'remat_checkpoint'" merged/model.safetensors -o other
expect 2 "$rematc" export out
refused "no adapters were trained" out --adapter -o other
refused "not trained from a published model" seed.save -o other
# a base that lacks one of the weights, or has one in another shape
cp -r model other.base && rm other.base/model.safetensors.index.json other.base/model-00002-of-00003.safetensors
refused "was trained from another one: 'other.base' has no" out --onto other.base -o other
cp model/model-0000* model/*.index.json other.base/
shard=$(grep -l '"transformer.wte.weight"' other.base/model-*)
LC_ALL=C sed -i '1s/\[64, 32\]/[32, 64]/' "$shard"
refused "'wte.weight' of the checkpoint has another shape in 'other.base'" out --onto other.base -o other
# a checkpoint that is damaged, by one bit of the last tensor or in its counters
cp "$(ls out/step-*4.safetensors)" damaged.safetensors
size=$(wc -c <damaged.safetensors)
tail -c 1 damaged.safetensors | tr '\000-\377' '\001-\377\000' | dd of=damaged.safetensors bs=1 seek=$((size - 1)) conv=notrunc 2>dd.txt
refused "the checkpoint 'damaged.safetensors': its checksum does not match its contents" damaged.safetensors -o other
sed 's/"cursor":"16"/"cursor":"17"/' "$(ls out/step-*4.safetensors)" >damaged.safetensors
refused "its checksum does not match its contents" damaged.safetensors -o other
[ ! -e other ] || fail "a refused folder was begun"
# the newest of a folder is the one whose own step is the latest: a name may say anything
mkdir renamed && cp out/step-*4.safetensors renamed/ && cp out/step-*4.safetensors renamed/step-000009.safetensors
expect 0 "$rematc" export renamed -o again
grep -q "renamed/step-000009.safetensors' holds step 4" stderr.txt || fail "a name that lies"
grep -q 'from renamed/step-000004.safetensors' stdout.txt || fail "taken: $(cat stdout.txt)"
# before the first step, too, and before an earlier run's log is set aside
sed 's|^save .*|save { dir "late/"  merged "model/in" }|' model.remat >late.remat
expect 0 "$rematc" build late.remat -o late --quiet
cp next.jsonl late.jsonl
expect 6 late/train --quiet --log late.jsonl
cmp next.jsonl late.jsonl || fail "a run that was refused cut the log"
[ ! -e late.jsonl.old ] || fail "a run that was refused set the log aside"
[ -z "$(find late -name 'step-*' 2>/dev/null)" ] || fail "it was noticed after training"
# -- a weight whose name ends in another's is no state of that --
sed 's|^  x = layernorm(x, "ln_f".*|&\n  x = layernorm(x, "last.ln_f", eps = 1e-5)|' model.remat >named.remat
sed '/^weights/d' named.remat >named.seed.remat
expect 0 "$rematc" build named.seed.remat --set steps=1 -o named.seed --quiet
expect 0 named.seed/train --quiet --save-dir named.first
mkdir named.model && cp model/config.json named.model
"$publish" "$(echo named.first/step-*1.safetensors)" named.model 1 transformer.
sed 's|^weights "model"|weights "named.model"|; s|^save .*|save { dir "named.save/"  merged "named.merged" }|' named.remat >named.whole.remat
expect 0 "$rematc" build named.whole.remat -o named --quiet
expect 0 named/train --quiet
mkdir named.want && "$publish" "$(echo named.save/step-*4.safetensors)" named.want 1 transformer.
for folder in named.want named.merged; do numbers $folder/model.safetensors >$folder.numbers; done
[ -s named.want.numbers ] && cmp named.want.numbers named.merged.numbers || fail "another weight than the checkpoint's"

# -- adapters --
lora='lora(rank = 4, alpha = 8, dropout = 0.1, rslora)'
expect 0 "$rematc" build whole.remat --set "adapt=$lora" --set adapt.on='*.{c_attn,c_fc}' --set adapt.train='ln_f' \
    --set save.dir=lora/ --set save.adapter=adapter --set save.merged=adapted -o lora.train --quiet
expect 0 lora.train/train --quiet
expect 0 "$rematc" export lora --adapter -o adapter.again
expect 0 "$rematc" export lora -o adapted.again
diff -r adapter adapter.again && diff -r adapted adapted.again || fail "other folders from the checkpoint"
cat >want.json <<'END'
{
  "peft_type": "LORA",
  "task_type": "CAUSAL_LM",
  "base_model_name_or_path": "model",
  "r": 4,
  "lora_alpha": 8,
  "lora_dropout": 0.1,
  "target_modules": [
    "c_attn",
    "c_fc"
  ],
  "modules_to_save": [
    "transformer.ln_f"
  ],
  "bias": "none",
  "fan_in_fan_out": true,
  "use_rslora": true,
  "use_dora": false,
  "init_lora_weights": true,
  "inference_mode": true,
  "rank_pattern": {},
  "alpha_pattern": {}
}
END
diff want.json adapter/adapter_config.json || fail "adapter_config.json"
header adapter/adapter_model.safetensors >header.txt
for entry in 'transformer.h.0.attn.c_attn.lora_A.weight":{"dtype":"F32","shape":\[4,32\]' \
    'transformer.h.1.mlp.c_fc.lora_B.weight":{"dtype":"F32","shape":\[128,4\]' 'transformer.ln_f.bias":{"dtype":"F32","shape":\[32\]'; do
    grep -q "\"base_model.model.$entry" header.txt || fail "the adapter has no $entry"
done
[ "$(grep -o lora_ header.txt | wc -l)" = 8 ] || fail "not eight factors"
cmp -s adapted/model.safetensors merged/model.safetensors && fail "nothing was added"
LC_ALL=C sed -i '1s/\[32, 96\]/[96, 32]/g' other.base/model-*
refused "the adapters of 'h.0.attn.c_attn.weight' do not fit it in 'other.base'" lora --onto other.base -o other
refused "the adapters of 'h.0.attn.c_attn.weight' do not fit it in 'other.base'" lora --onto other.base --adapter -o other
[ ! -e other ] || fail "a refused folder was begun"
# -- beside weights in 4 bits: added to what those stand for; the checksum is that of the base's own bytes --
expect 0 "$rematc" build whole.remat --set "adapt=$lora" --set adapt.on='*.{c_attn,c_fc}' --set 'frozen=nf4(double_quant)' \
    --set save.dir=qlora/ --set save.merged=dequantised -o qlora.train --quiet
expect 0 qlora.train/train --quiet
expect 0 "$rematc" export qlora -o dequantised.again
[ ! -s stderr.txt ] && diff -r dequantised dequantised.again || fail "another folder from the checkpoint: $(cat stderr.txt)"
cmp -s dequantised/model.safetensors adapted/model.safetensors && fail "nothing was quantised"
# -- another base is refused --
cp -r model model.first
printf '\001' | dd of=model/model-00001-of-00003.safetensors bs=1 seek=9000 conv=notrunc 2>dd.txt
expect 6 lora.train/train --quiet --steps 5
grep -q 'are not those that the checkpoint' stderr.txt || { cat stderr.txt >&2; fail "another base"; }
refused "the frozen weights in 'model' are not those that the checkpoint was trained beside" lora -o other
refused "the frozen weights in 'model' are not those that the checkpoint was trained beside" lora --adapter -o other
[ ! -e other ] || fail "a refused folder was begun"
expect 0 "$rematc" export out -o other # with nothing frozen there is nothing that must not differ
rm -r other && mv model model.other && cp -r model.first model
expect 0 "$rematc" export lora --onto model.other -o other
grep -q "warning: the frozen weights in 'model.other' are not those" stderr.txt || fail "nothing is said of another base"
rm -r other model.other
expect 0 "$rematc" export lora --onto model.first -o other
[ ! -s stderr.txt ] && diff -r adapted other || fail "a copy of the base: $(cat stderr.txt)"
rm -r model && mv model.first model
# -- what a killed run left is cleared away; configurations are cut --
mkdir .fresh.0123456789abcdef.tmp && echo half >.fresh.0123456789abcdef.tmp/model.safetensors
mkdir .fresh.mine && sed -i 's/"n_head": 2,/"n_head": 2, "quantization_config": {"a": [1, "}"]},/' model/config.json
expect 0 "$rematc" export lora -o fresh
[ ! -e .fresh.0123456789abcdef.tmp ] && [ -d .fresh.mine ] || fail "leftovers"
cmp fresh/config.json merged/config.json || fail "a quantization_config stays"
# -- memory that runs out is no plan that does not fit, and leaves nothing either --
if ! grep -q __asan_init "$rematc"; then
    truncate -s 250M model/vocab.json
    (ulimit -v 200000; expect 70 "$rematc" export lora -o short)
    grep -q 'out of memory' stderr.txt || fail "out of memory: $(cat stderr.txt)"
    [ ! -e short ] && [ -z "$(find . -name '.short.*')" ] || fail "left of a folder: $(find . -name '*short*')"
    rm model/vocab.json
fi
# -- what a spec cannot ask for --
sed 's|^save .*|save { dir "out/"  adapter "a" }|' model.remat >no.remat
expect 1 "$rematc" check no.remat
grep -q 'without `adapt` there is none' stderr.txt || fail "an adapter without adapters"
sed 's|^save .*|save { dir "out/"  merged "a" }|' seed.remat >no.remat
expect 1 "$rematc" check no.remat
grep -q 'made from a published one' stderr.txt || fail "a folder from the seed"
echo "models and adapters are handed on, the same from trainers and checkpoints; nothing of the base is touched"
