#!/bin/sh
# `import`, and published models where other verbs take a spec: the specs pass check, fmt --check and plan; what
# is refused, what is written over, how the model is called; a program of an imported model trains.
. "$(dirname "$0")/common.sh"
cases=$source_dir/tests/cases/import
# -- every spec that import writes is fine and canonical, and says what the folder says --
for folder in "$cases"/*/; do
    name=$(basename "$folder")
    expect 0 "$rematc" import "$folder" -o "$name.remat"
    grep -q 'parameters$' stdout.txt || fail "no number of parameters of $name"
    expect 0 "$rematc" check "$name.remat"
    expect 0 "$rematc" fmt --check "$name.remat"
    expect 0 "$rematc" import "$folder/config.json"
    sed 's/^weights .*  #/weights  #/' stdout.txt >one.txt
    sed 's/^weights .*  #/weights  #/' "$name.remat" | cmp - one.txt || fail "$name differs"
    expect 0 "$rematc" check "$folder" --json
    [ "$(json_int parameters stdout.txt)" -gt 100000000 ] || fail "no JSON of $name"
done
# -- plan from config.json alone: there is a plan, or none fits and the answer says so --
for name in Llama-3.1-8B Llama-3.2-1B Qwen3-4B Qwen2.5-7B; do
    for device in rtx3060 rtx4090 h100; do
        code=0
        "$rematc" plan "$cases/$name" --device $device >stdout.txt 2>stderr.txt || code=$?
        [ $code = 0 ] || [ $code = 3 ] || { cat stderr.txt >&2; fail "exit $code: $name on $device"; }
    done
done
expect 0 "$rematc" plan "$cases/Llama-3.2-1B/config.json" --device h100 --set T=512 --set B=1
grep -q 'B = 1, T = 512' stdout.txt || fail "--set is not heard"
# -- settings of the command line stand in the file --
expect 0 "$rematc" import "$cases/gpt2" -o set.remat --set T=256 --set B=2 --set steps=70 --device rtx4090 --budget 9GiB
expect 0 "$rematc" fmt --check set.remat
for line in '  B = 2 ' '  T = 256 ' '  steps 70 ' 'device rtx4090' 'budget 9GiB'; do
    grep -q "^$line" set.remat || { cat set.remat >&2; fail "no '$line'"; }
done
expect 2 "$rematc" import "$cases/gpt2" --set TT=256; grep -q "did you mean 'T'" stderr.txt || fail "no suggestion for TT"
# -- nothing is written over --
cp set.remat before.remat
expect 6 "$rematc" import "$cases/gpt2" -o set.remat; grep -q -- '--force replaces it' stderr.txt || fail "no word of --force"
cmp set.remat before.remat || fail "a refused import wrote"
expect 0 "$rematc" import "$cases/gpt2" -o set.remat --force
cmp -s set.remat before.remat && fail "--force did nothing"
mkdir -p own
cp "$cases/gpt2/config.json" own/config.json
for file in own own/config.json; do
    expect 2 "$rematc" import $file -o own/config.json --force
done
expect 6 "$rematc" fmt own
expect 1 "$rematc" fmt --write own/config.json
cmp own/config.json "$cases/gpt2/config.json" || fail "the configuration was written over"
expect 6 "$rematc" import own -o /proc/nowhere
expect 0 "$rematc" import own -o /dev/null
# -- where it is read from, and what the model is called --
expect 0 "$rematc" import - <own/config.json
grep -q '^weights' stdout.txt && fail "weights of standard input"
expect 0 "$rematc" check own/config.json; grep -q 'own has 124439808' stdout.txt || fail "not called as its folder"
(cd own && expect 0 "$rematc" import config.json && grep -q '^weights "."' stdout.txt && grep -q '^model own ' stdout.txt) ||
    fail "a folder that is named by its file alone"
cache=hub/models--meta-llama--Llama-3.2-1B/snapshots/4e20de36
mkdir -p $cache
cp "$cases/Llama-3.2-1B/config.json" $cache
expect 0 "$rematc" import $cache/; grep -q '^model llama_3_2_1b ' stdout.txt || fail "a cache of the hub"
grep -q "^weights \"$cache\"" stdout.txt || fail "the weights of a cache"
mkdir -p "it's a \"folder\" # really"
cp "$cases/gpt2/config.json" "it's a \"folder\" # really"
expect 0 "$rematc" import "it's a \"folder\" # really" -o quoted.remat; expect 0 "$rematc" fmt --check quoted.remat
# -- what is wrong --
mkdir -p none bad
expect 6 "$rematc" import none; grep -q "none/config.json" stderr.txt || fail "which file is not there?"
expect 6 "$rematc" plan none
expect 6 "$rematc" import absent
printf '{\n  "model_type": "mixtral"\n}\n' >bad/config.json
for verb in import check plan "dump --stage graph" sweep; do
    # shellcheck disable=SC2086
    expect 1 "$rematc" $verb bad
    grep -q '^bad/config.json:2:3: error: .*mixtral.*routing to experts' stderr.txt || { cat stderr.txt >&2; fail "$verb: no place"; }
    grep -q '^help: known: llama' stderr.txt || fail "$verb: what is known?"
done
expect 1 "$rematc" plan bad --json; grep -q '"file": "bad/config.json", "line": 2, "column": 3' stdout.txt || fail "no JSON of the error"
head -c 2000000 /dev/zero >bad/config.json
expect 1 "$rematc" import bad
printf '{"model_type": "llama", "vocab_size": 9, "hidden_size": 512, "intermediate_size": 8, "num_hidden_layers": 1,
  "num_attention_heads": 1}' >bad/config.json # the kernels take heads of 256
expect 1 "$rematc" import bad -o wide.remat; grep -q E0326 stderr.txt || fail "heads of 512"
[ ! -e wide.remat ] || fail "a spec that does not pass check was written"
# -- a program of an imported model trains --
mkdir -p tiny
printf '{"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": true}' >tiny/config.json
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "%c%c", i * i % 61 + 1, 0 }' >tokens.u16
settings="--set B=2 --set T=16 --set tokens_per_step=64 --set steps=4 --set schedule.warmup=1 --set data.train=tokens.u16 --set validate=0.1"
# shellcheck disable=SC2086
expect 0 "$rematc" import tiny -o tiny.remat $settings
sed -i '/^weights/d' tiny.remat
expect 0 "$rematc" build tiny.remat -o tiny.train --quiet
expect 0 tiny.train/train --quiet --log tiny.jsonl
[ "$(losses tiny.jsonl | wc -l)" = 4 ] || fail "no four losses"
# shellcheck disable=SC2086
expect 0 "$rematc" emit tiny $settings; grep -q '^tiny.train: ' stdout.txt || fail "no folder of its own name"
echo "every import is as it should be"
