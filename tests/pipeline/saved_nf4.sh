#!/bin/sh
# Over weights that were saved in 4 bits: saved_nf4.sh REMATC SOURCE_DIR WORK_DIR PUBLISH. Adapters trained over them are
# those that are trained over weights quantised while loading, to the bit, and so is the model they are merged into: the
# one beside 4 bits, where training goes on, and the one of the weights as they were before.
. "$(dirname "$0")/common.sh"
publish=$4
mkdir -p whole
cat >whole/config.json <<'END'
{
  "model_type": "llama",
  "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 32, "dtype": "float32"
}
END
awk 'BEGIN { for (i = 0; i < 65; i++) printf "%c%c", i * i % 61 + 1, 0 }' >tokens.u16
settings="--set B=2 --set T=16 --set tokens_per_step=64 --set schedule=constant --set data.train=tokens.u16
  --set validate=0 --set optimizer.lr=1e-2 --set clip_norm=0"
# shellcheck disable=SC2086
expect 0 "$rematc" import whole -o whole.remat $settings --set steps=3
sed '/^weights/d' whole.remat >seed.remat
expect 0 "$rematc" build seed.remat -o seed --quiet
expect 0 seed/train --quiet --save-dir seed.save
checkpoint=$(echo seed.save/step-*3.safetensors)
"$publish" "$checkpoint" whole 2
entries() { header "$1" | grep -o '"model[^"]*":{"dtype":"[A-Z0-9]*","shape":[^"]*' | sort; }
# tensors FOLDER: the numbers of each under its name, in the order of names
tensors() {
    for file in "$1"/*.safetensors; do
        begin=$((8 + $(od -An -tu8 -N8 "$file" | tr -d ' ')))
        header "$file" | tr '}' '\n' | sed -n 's/.*"\([a-z][^"]*\)":{"dtype".*\[\([0-9]*\), *\([0-9]*\)\]$/\1 \2 \3/p' |
            while read -r name from to; do
                echo "$name $(tail -c +$((begin + from + 1)) "$file" | head -c $((to - from)) | cksum)"
            done
    done | sort
}
lora='lora(rank = 4, alpha = 8, dropout = 0.1)'

for kind in nf4 nf4_double; do
    frozen=nf4
    [ $kind = nf4 ] || frozen='nf4(double_quant)'
    rm -rf saved && mkdir saved
    sed '$d' whole/config.json >saved/config.json
    sed -i '$s/$/,/' saved/config.json
    [ $kind = nf4 ] && double=false || double=true
    printf '  "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": %s}\n}\n' $double >>saved/config.json
    "$publish" "$checkpoint" saved 2 '' $kind
    header saved/model-00001-of-00002.safetensors | grep -q 'quant_state.bitsandbytes__nf4' || fail "nothing is saved in 4 bits"
    # a folder says itself how its weights are saved
    # shellcheck disable=SC2086
    expect 0 "$rematc" import saved -o saved.remat --force $settings --set steps=3
    grep -qF "  frozen $frozen  # the matrices, as they are saved" saved.remat || fail "$kind: $(grep frozen saved.remat)"
    [ $kind = nf4 ] && other='nf4(double_quant)' || other=nf4
    expect 0 "$rematc" build saved.remat --set "frozen=$other" -o other.train --quiet
    expect 6 other.train/train --quiet
    grep -q 'is saved in NF4, but with.* double quantisation' stderr.txt || fail "$kind: $(cat stderr.txt)"
    # the same training over both, up to the folder at its end
    sed "s/^  trained/  frozen $frozen\n&/" whole.remat | awk -v adapt="adapt $lora" '{ print } /^weights/ { print adapt }' >packed.remat
    for base in whole saved; do
        [ $base = whole ] && from=packed.remat || from=saved.remat
        expect 0 "$rematc" build $from --set "adapt=$lora" --set adapt.train=model.norm --set save.dir=$base.$kind \
            --set save.merged=$base.$kind.merged -o $base.train --quiet
        expect 0 $base.train/train --quiet --log $base.jsonl
        losses $base.jsonl >$base.losses
        expect 0 "$rematc" export $base.$kind -o $base.$kind.again
        [ ! -s stderr.txt ] && diff -r $base.$kind.merged $base.$kind.again || fail "another folder from the checkpoint: $(cat stderr.txt)"
        expect 0 "$rematc" export $base.$kind --adapter -o $base.$kind.adapter
        tensors $base.$kind.merged >$base.txt
    done
    [ "$(wc -l <whole.losses)" = 3 ] && cmp whole.losses saved.losses || fail "$kind: other losses over what was saved"
    cmp whole.$kind.adapter/adapter_model.safetensors saved.$kind.adapter/adapter_model.safetensors || fail "$kind: other adapters"
    [ "$(wc -l <whole.txt)" = 21 ] && cmp whole.txt saved.txt || fail "$kind: another merged model"
    # under the names, shapes and types of the model as it was; nothing of what lay beside the codes
    for file in whole/*.safetensors; do entries "$file"; done | sort >want.txt
    entries saved.$kind.merged/model.safetensors >got.txt
    cmp want.txt got.txt || fail "$kind: other names or shapes"
    cmp whole.$kind.merged/config.json whole/config.json || fail "$kind: another configuration"
    if grep quantization saved.$kind.merged/config.json; then fail "$kind: still said to be quantised"; fi
    # training goes on from it where it ended
    expect 0 "$rematc" build saved.remat --set "adapt=$lora" --set adapt.train=model.norm --set adapt.dropout=0 --set steps=4 -o on --quiet
    cp -r saved.$kind on.save
    expect 0 on/train --quiet --save-dir on.save --log on.jsonl
    expect 0 "$rematc" build whole.remat --set weights=saved.$kind.merged --set steps=1 --set save.dir=next -o next --quiet
    expect 0 next/train --quiet --fresh --log next.jsonl
    echo "$(losses on.jsonl | tail -n 1) $(losses next.jsonl)" |
        awk '{ exit !($1 == 4 && $2 > 0 && ($2 - $5) ^ 2 < 1e-11) }' || fail "$kind: goes on with $(losses on.jsonl), the folder with $(losses next.jsonl)"
    rm -r on.save

    # -- onto the weights as they were: the same from both, and it is said that these are others --
    expect 6 "$rematc" export saved.$kind --unquantised -o other
    grep -q "'model.layers.[01].[a-z_.]*_proj.weight' is quantised in 'saved'" stderr.txt || fail "$kind: $(cat stderr.txt)"
    [ ! -e other ] || fail "a refused folder was begun"
    expect 0 "$rematc" export saved.$kind --unquantised --onto whole -o saved.$kind.onto
    grep -q "warning: 14 weights of 'whole' are taken as they are there" stderr.txt || fail "$kind: nothing is said: $(cat stderr.txt)"
    grep -q "warning: the frozen weights in 'whole' are not those" stderr.txt || fail "$kind: nothing is said of another base"
    expect 0 "$rematc" export whole.$kind --unquantised -o whole.$kind.onto
    grep -q "warning: 14 weights of 'whole' are taken as they are there" stderr.txt || fail "$kind: nothing is said: $(cat stderr.txt)"
    if grep 'not those' stderr.txt; then fail "$kind: its own base is another"; fi
    diff -r saved.$kind.onto whole.$kind.onto || fail "$kind: onto the weights as they were: two models"
    # and a trainer writes the same where its file says so: onto another folder, onto the one it was trained from
    for base in whole saved; do
        [ $base = whole ] && onto=original from=packed.remat || onto='"whole"' from=saved.remat
        sed "s|^save .*|save { dir \"$base.$kind\"  merged \"$base.$kind.said\" onto $onto }|" $from >said.remat
        expect 0 "$rematc" build said.remat --set "adapt=$lora" --set adapt.train=model.norm -o $base.train --quiet
        expect 0 $base.train/train --quiet
        grep -q "warning: 14 weights of 'whole' are taken as they are there" stderr.txt || fail "$kind: nothing is said: $(cat stderr.txt)"
        diff -r $base.$kind.said whole.$kind.onto || fail "$kind: a trainer writes another model onto $onto"
    done
    # what was added is the same, whatever it was added to
    for folder in saved.$kind.merged saved.$kind.onto; do numbers $folder/model.safetensors | od -An -v -tf4 -w4 >$folder.txt; done
    cmp -s saved.$kind.merged.txt saved.$kind.onto.txt && fail "$kind: nothing was quantised"
done

# with a rate of 0 nothing is added: the model as it was, to the bit, where it is asked for, and what 4 bits leave of it
expect 0 "$rematc" build whole.remat --set "adapt=$lora" --set frozen=nf4 --set optimizer.lr=0 --set save.dir=still -o still.train --quiet
expect 0 still.train/train --quiet
expect 0 "$rematc" export still -o still.merged
expect 0 "$rematc" export still --unquantised -o still.onto
tensors whole >want.txt
tensors still.onto >got.txt
[ "$(wc -l <want.txt)" = 21 ] && cmp want.txt got.txt || fail "a model that was not trained is another"
# what adapters add: differences to the model without, in both
for folder in whole.nf4.merged whole.nf4.onto still.merged still.onto; do
    numbers $folder/model.safetensors | od -An -v -tf4 -w4 >$folder.txt
done
paste whole.nf4.merged.txt still.merged.txt whole.nf4.onto.txt still.onto.txt |
    awk '{ a = $1 - $2; b = $3 - $4; d = a - b; if (d * d > 1e-12) wrong++; if (b * b > 1e-6) added++; if ($2 != $4) packed++ }
        END { exit !(!wrong && added > 10000 && packed > 10000) }' || fail "adapters add something else to the weights as they were"

# -- what does not go together --
# before anything is trained: the weights it was trained from are quantised as they are saved
sed 's|^save .*|save { dir "late"  merged "late.merged" onto original }|' saved.remat >late.remat
expect 0 "$rematc" build late.remat --set "adapt=$lora" -o late.train --quiet
expect 6 late.train/train --quiet
grep -q "is quantised in 'saved': name the folder" stderr.txt || fail "onto what is quantised: $(cat stderr.txt)"
[ -z "$(ls late 2>/dev/null | grep safetensors)" ] || fail "steps were trained for a folder that cannot be written"
expect 2 "$rematc" export whole.nf4 --unquantised --adapter -o other
expect 6 "$rematc" export whole.nf4 --onto saved -o whole/in # the folder it was trained from, though not the base here
grep -q "would write over the published model in 'whole'" stderr.txt || fail "into the model: $(cat stderr.txt)"
expect 0 "$rematc" export whole.nf4_double --onto saved -o other # the codes that were saved are those it was trained beside
tensors other >got.txt
cmp whole.txt got.txt || fail "the 4 bits that were saved are others"
# another shape, or a weight that is not there
cp -r whole narrow
LC_ALL=C sed -i 's/\[64, 64\]/[16,256]/g' narrow/model-*
expect 6 "$rematc" export saved.nf4 --unquantised --onto narrow -o none
grep -q "do not fit it in 'narrow'" stderr.txt || fail "another shape: $(cat stderr.txt)"
rm -r narrow/*.index.json narrow/model-00002*
expect 6 "$rematc" export saved.nf4 --unquantised --onto narrow -o none
grep -q "was trained from another one: 'narrow' has no" stderr.txt || fail "a missing weight: $(cat stderr.txt)"
[ ! -e none ] || fail "a refused folder was begun"
echo "adapters over weights that were saved in 4 bits are merged with these, and with the weights as they were"
