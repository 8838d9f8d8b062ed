#!/bin/sh
# Documents with a loss mask from the command line: a file that docs/documents.py wrote with a tokenizer of bytes; two
# epochs, at every budget the same, stopped and resumed in the middle of one; four micro-batches against one; files of
# the wrong kind. Without python3 there is no file.
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
cat >write.py <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from documents import completions, write_documents
words = "the cat sat on the mat while a dog lay under it and slept".split()
pairs = [(" ".join(words[i % 7:i % 7 + 1 + i % 4]), " ".join(words[(i * 5) % 9:(i * 5) % 9 + i % 5])) for i in range(150)]
encode = lambda text: list(text.encode())
write_documents("chat.docs", completions(pairs, encode, 0))
write_documents("few.docs", completions(pairs[:20], encode, 0))
write_documents("silent.docs", [[(token, 0) for token in encode(" ".join(pair))] for pair in pairs])
END
python3 -B write.py "$source_dir/docs" || fail "docs/documents.py"
cat >model.remat <<'END'
language 1
dims { V = 256  D = 32  L = 3  H = 4  K = 2  E = D / H  B = 8  T = 48 }
block layer(x: [B, T, D]) -> [B, T, D] {
  h = rmsnorm(x, "ln_1")
  q = linear(h, [H*E, D], "q") as [B, T, H, E]
  k = linear(h, [K*E, D], "k") as [B, T, K, E]
  v = linear(h, [K*E, D], "v") as [B, T, K, E]
  q, k = rope(q, k)
  x = x + linear(attend(q, k, v, causal) as [B, T, H*E], [D, H*E], "o")
  return x + linear(gelu(linear(rmsnorm(x, "ln_2"), [4*D, D], "up")), [D, 4*D], "down")
}
model packed {
  x = embed(data.tokens, [V, D], "wte") + positions([64, D], "wpe")
  repeat i in 0..L scope "h.{i}" { x = layer(x) }
  loss = cross_entropy(linear(rmsnorm(x, "ln_f"), [V, D], "lm_head"), data.targets, mask = data.loss_mask)
}
train { epochs 2  tokens_per_step 384  optimizer adamw(lr = 2e-3)  schedule cosine(warmup = 2)  clip_norm 1.0  seed 3 }
data { train "chat.docs" documents  validate 0.1 every 4 steps 2 batches }
save { dir "out/" every 1 steps keep 2 }
device host
END

# one program at any budget: the same losses, poisoned or not
"$rematc" build model.remat -o whole --policy none --quiet >/dev/null
whole/train --save-dir save.whole --log whole.jsonl --sample 0 >/dev/null 2>whole.err || fail "$(cat whole.err)"
grep -q '^chat.docs: 135 documents, ' whole.err || fail "$(cat whole.err)"
grep -q '^2 epochs: ' whole.err || fail "$(cat whole.err)"
steps=$(sed -n 's/^2 epochs: .*, \([0-9]*\) steps$/\1/p' whole.err)
losses whole.jsonl >whole.losses
[ "$(wc -l <whole.losses)" = "$steps" ] && [ "$steps" -ge 8 ] || fail "$steps steps, $(wc -l <whole.losses) lines"
grep -q '"validation_loss":[0-9]' whole.jsonl || fail "no validation"
"$rematc" build model.remat -o least --budget "$(whole_least model.remat)B" --quiet >/dev/null
least/train --save-dir save.least --log least.jsonl --sample 20 --poison >/dev/null 2>least.err || fail "$(cat least.err)"
losses least.jsonl | cmp - whole.losses || fail "another budget, other losses"
grep -q '"sample":' least.jsonl || fail "no sample"

# behind a prompt: it is run at once, token by token, or again for each token, and the text is the same, past the window too
for variant in 'prompt_at_once = 1' 'prompt_at_once = 1000' 'step = NULL'; do
    rm -rf variant variant.jsonl && cp -rp whole variant
    grep -q "^    \.${variant%% *} = " whole/train.c || fail "nothing to change: $variant"
    sed "s/^    \.${variant%% *} = .*/    .$variant,/" whole/train.c >variant/train.c
    make -s -C variant >make.txt 2>&1 || fail "$(cat make.txt)"
    variant/train --save-dir save.whole --log variant.jsonl --sample 60 --temperature 0 --poison >/dev/null 2>variant.err ||
        fail "$(cat variant.err)"
    sed -n '/"prompt":"[^"]/s/.*"sample"://p' variant.jsonl >variant.txt
    [ "$(wc -c <variant.txt)" -gt 40 ] || fail "no text behind a prompt: $(cat variant.jsonl)"
    [ -f prompted.txt ] || cp variant.txt prompted.txt
    cmp variant.txt prompted.txt || fail "another text: $variant"
done

# stopped after every third step
for to in 3 6 999; do
    [ $to -lt "$steps" ] || to=$steps
    whole/train --save-dir save.parts --log parts.jsonl --sample 0 --steps $to --quiet >/dev/null || fail "to step $to"
done
losses parts.jsonl | cmp - whole.losses || fail "resumed, other losses"
last=$(printf 'step-%06d.safetensors' "$steps")
cmp "save.parts/$last" "save.whole/$last" || fail "resumed, other weights"

# four micro-batches whose masks differ, or one
"$rematc" build model.remat --set B=2 -o four --quiet >/dev/null
four/train --save-dir save.four --log four.jsonl --sample 0 --quiet >/dev/null || fail "four micro-batches"
losses four.jsonl >four.losses
paste -d ' ' whole.losses four.losses | awk '
    function off(a, b) { return (a > b ? a - b : b - a) / (b > 0 ? b : 1) }
    $1 != $4 || (NR == 1 && (off($2, $5) > 1e-6 || off($3, $6) > 1e-5)) { bad = 1 }
    off($2, $5) > 1e-4 || off($3, $6) > 1e-3 { bad = 1 } # AdamW divides small by small: differences grow
    END { exit bad || NR < 8 }' || { paste whole.losses four.losses; fail "accumulation changes the numbers"; }

# adapters beside the frozen result
sed "s#^data {#weights \"save.whole/$last\" frozen\nadapt lora(rank = 4, alpha = 8) on \"h.*\"\n&#" model.remat >lora.remat
for policy in none every-block; do
    "$rematc" build lora.remat -o lora.$policy --policy $policy --quiet >/dev/null
    lora.$policy/train --save-dir save.$policy --log lora.$policy.jsonl --sample 0 --poison --quiet >/dev/null || fail "adapters, $policy"
    losses lora.$policy.jsonl >lora.$policy.losses
done
[ "$(wc -l <lora.none.losses)" = "$steps" ] && cmp lora.none.losses lora.every-block.losses || fail "adapters: two plans, two results"

# what does not go together
# what is measured is one document in each row: attention over none would take no time
expect 0 "$rematc" tune model.remat --emit --folder times
grep -q 'K_I32, RT_FILL_LAST' times/tune.c || fail "last queries are not the last"
expect 6 whole/train --data silent.docs --fresh --save-dir save.no
grep -q "nothing in 'silent.docs' is to be learnt" stderr.txt || fail "$(cat stderr.txt)"
expect 6 whole/train --data model.remat --fresh --save-dir save.no
grep -q 'holds no documents' stderr.txt || fail "$(cat stderr.txt)"
sed 's/ documents  validate/ bytes  validate/' model.remat >plain.remat
"$rematc" build plain.remat -o plain --quiet >/dev/null
expect 6 plain/train --fresh --save-dir save.no
grep -q "'chat.docs' holds documents, and this program was not made for them" stderr.txt || fail "$(cat stderr.txt)"
grep -q RtDocumentInputs plain/train.c && fail "plain tokens have inputs for documents"
sed 's/, mask = data.loss_mask//' model.remat >unmasked.remat
expect 1 "$rematc" check unmasked.remat
grep -q 'the data are documents with a loss mask, and the loss does not take it \[E0406\]' stderr.txt || fail "$(cat stderr.txt)"
# the name tells where no word does
sed 's/ documents  validate/  validate/' model.remat >named.remat
"$rematc" emit named.remat -o named >/dev/null
grep -q 'RT_DOCUMENTS' named/train.c || fail "chat.docs is not taken for documents"
whole/train --data few.docs --fresh --save-dir save.few --sample 0 >/dev/null 2>few.err || fail "$(cat few.err)"
echo "documents: $steps steps, packed, stopped, resumed and accumulated alike"
