#!/bin/sh
# Training goes on from a published model's folder: GPT-2's matrices as [in, out], one file or shards with an index,
# names with and without their prefix; the losses are those of the same weights in a checkpoint of the trainer's own.
# What is wrong with a folder is said before the first step.
. "$(dirname "$0")/common.sh"
publish=$4
mkdir -p model single
printf '{"model_type": "gpt2", "vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2,
  "resid_pdrop": 0.1, "embd_pdrop": 0, "attn_pdrop": 0}' >model/config.json
cp model/config.json single
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "%c%c", i * i % 61 + 1, 0 }' >tokens.u16
settings="--set B=2 --set T=16 --set tokens_per_step=64 --set steps=4 --set schedule.warmup=1 --set data.train=tokens.u16
  --set validate=0.1 --set optimizer.lr=1e-2"
# shellcheck disable=SC2086
expect 0 "$rematc" import model -o model.remat $settings
grep -q '^weights "model" transposed "\*.{c_attn,c_proj,c_fc}"' model.remat || fail "matrices are not read transposed"
# -- weights that a start from the seed would not have --
sed '/^weights/d' model.remat >seed.remat
expect 0 "$rematc" build seed.remat -o seed --quiet
expect 0 seed/train --quiet --save-dir seed.save --log seed.jsonl
checkpoint=$(echo seed.save/step-*4.safetensors)
"$publish" "$checkpoint" model 3 transformer.
"$publish" "$checkpoint" single 1
# -- the checkpoint's own matrices are not transposed: the reference, and refused where they should be --
sed "s|^weights .*|weights \"$checkpoint\"|" model.remat >own.remat
expect 0 "$rematc" build own.remat -o own --quiet
expect 0 own/train --quiet --save-dir own.save --log own.jsonl
losses own.jsonl >want.txt
[ "$(wc -l <want.txt)" = 4 ] || fail "no four losses"
losses seed.jsonl | cmp -s - want.txt && fail "the weights were not read"
sed "s|^weights \"model\"|weights \"$checkpoint\"|" model.remat >wrong.remat
expect 0 "$rematc" build wrong.remat -o wrong --quiet
expect 6 wrong/train --quiet --save-dir wrong.save
grep -q 'which reads it transposed, has' stderr.txt || { cat stderr.txt >&2; fail "a checkpoint was read transposed"; }
# -- the folders, straight from the command line --
for folder in model single; do
    # shellcheck disable=SC2086
    expect 0 "$rematc" build $folder $settings -o $folder.train --quiet
    expect 0 $folder.train/train --save-dir $folder.save --log $folder.jsonl
    grep -q "^weights: 28 of the 28 tensors in $folder" stderr.txt || { cat stderr.txt >&2; fail "$folder: how many tensors?"; }
    grep -q 'no use' stderr.txt && fail "$folder: something was left out"
    losses $folder.jsonl | cmp - want.txt || fail "$folder: other losses than from the checkpoint"
done
# all but the metadata, which say where they came from
header_of() { tail -c +9 "$1" | head -c "$(od -An -tu8 -N8 "$1" | tr -d ' ')" | sed 's/^{"__metadata__":{[^}]*},//; s/ *$//'; }
header_of own.save/step-*4.safetensors >own.header
grep -q '"m.h.1.mlp.c_fc.weight":{"dtype":"F32","shape":' own.header || fail "no header"
header_of model.save/step-*4.safetensors | cmp - own.header || fail "other tensors"
data_of() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }
data_of own.save/step-*4.safetensors >own.data
data_of model.save/step-*4.safetensors | cmp - own.data || fail "other weights"
# shellcheck disable=SC2086
expect 0 "$rematc" run single $settings -o run.train --quiet
# -- a shard that is cut short, one that is not there, a matrix that nobody said is transposed --
head -c 9000 model/model-00002-of-00003.safetensors >cut
cp cut model/model-00002-of-00003.safetensors
expect 6 model.train/train --fresh --save-dir none.save
grep -q "model-00002-of-00003.safetensors': .*cut short" stderr.txt || { cat stderr.txt >&2; fail "a shard cut short"; }
rm model/model-00002-of-00003.safetensors
expect 6 model.train/train --fresh --save-dir none.save
grep -q "names the shard 'model-00002-of-00003.safetensors'" stderr.txt || fail "a shard that is not there"
sed 's/^weights "model" transposed "[^"]*"/weights "single"/' model.remat >plain.remat
expect 0 "$rematc" build plain.remat -o plain --quiet
expect 6 plain/train --fresh --save-dir none.save
grep -q 'takes `transposed "PATTERN"`' stderr.txt || { cat stderr.txt >&2; fail "no hint at transposed"; }
sed 's/c_attn,c_proj,c_fc/c_atn/' model.remat >typo.remat
expect 1 "$rematc" check typo.remat
grep -q "no matrix is called '\*.{c_atn}'.*E0208" stderr.txt || { cat stderr.txt >&2; fail "a pattern that fits nothing"; }
echo "folders of published weights train as the checkpoint they were made of; damaged ones are refused"
