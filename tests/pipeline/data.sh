#!/bin/sh
# Text to what a trainer reads: data.sh REMATC SOURCE_DIR WORK_DIR. Chats, lines and plain text become tokens once; another
# text or option is another file; what is wrong is told with its line; programs train on what they were made with and on
# nothing else, and a sample continues a prompt.
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
REMAT_CACHE=$PWD/cache
export REMAT_CACHE
cp -r "$source_dir/tests/cases/text" model
chmod -R u+w model
cp "$source_dir/tests/cases/chat/chatml.jinja" model/chat_template.jinja
count() { find cache -name '*.docs' | wc -l | tr -d ' '; }
shown() { "$rematc" data "$1" --show 1000 --json; }

cat >chat.jsonl <<'END'
{"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "id": 7}

{"messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "a\u00e9"}, {"role": "assistant", "content": "b <|im_end|>"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": ""}]}
END
spec() { # NAME DATA
    cat >"$1.remat" <<END
language 1
dims { V = 300  D = 32  H = 2  E = D / H  B = 2  T = 64 }
block attention(x: [B, T, D]) -> [B, T, D] {
  q, k, v = split(linear(x, [3*D, D], "qkv"), 3)
  q, k = rope(q as [B, T, H, E], k as [B, T, H, E])
  return x + linear(attend(q, k, v as [B, T, H, E], causal) as [B, T, D], [D, D], "o")
}
model small {
  x = attention(embed(data.tokens, [V, D], "embed"))
  loss = cross_entropy(linear(x, [V, D], "head"), data.targets, mask = data.loss_mask)
}
train { steps 4  optimizer adamw(lr = 1e-2)  seed 3 }
data { $2 }
device host
END
}

# -- chats: the text of the template, the loss on answers and on what ends them --
spec chat 'train "chat.jsonl" chat  tokenizer "model"'
expect 0 "$rematc" data chat.remat
grep -q '^chat.jsonl: 2 documents, ' stdout.txt || fail "no figures"
grep -q 'written to' stdout.txt || fail "nothing was written"
[ "$(count)" = 1 ] || fail "$(count) files in the cache"
expect 0 "$rematc" data chat.remat
grep -q 'is there already' stdout.txt || fail "it was made again"
shown chat.remat >chat.json
python3 - <<'END' || fail "tokens or loss of chats"
import json
one, two = map(json.loads, open("chat.json"))
assert one["text"] == "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n", one["text"]
assert "b <|im_end|><|im_end|>\n<|im_start|>user\nc" in two["text"]
for document in one, two:
    assert len(document["tokens"]) == len(document["loss"])
    assert set(document["loss"]) == {0, 1} and document["loss"][0] == 0
END
expect 0 "$rematc" data chat.remat --show 1
grep -q 'assistant$' stdout.txt || fail "the text is not shown"
grep -q '\[\[two<|im_end|>' stdout.txt || grep -q '^two<|im_end|>' stdout.txt || fail "the completion is not marked"

# -- the same text with other options is another file, and so is another text; a damaged one is made again --
expect 0 "$rematc" data chat.remat --set data.loss=all
[ "$(count)" = 2 ] || fail "options: $(count) files"
file=$("$rematc" data chat.remat --json | sed -n 's/.*"file": "\(.*\)",/\1/p')
cp "$file" whole.docs
printf x | dd of="$file" bs=1 seek=200 conv=notrunc 2>/dev/null
expect 0 "$rematc" data chat.remat
cmp -s "$file" whole.docs || fail "a damaged file was left"
echo '{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}' >>chat.jsonl
expect 0 "$rematc" data chat.remat
[ "$(count)" = 3 ] || fail "text: $(count) files"

# -- a program: trains on it, samples behind a prompt, refuses others --
expect 0 "$rematc" build chat.remat -o chat --quiet
expect 0 chat/train --sample 5 --temperature 0 --log chat.log
grep -q '^---- prompt ----$' stderr.txt || fail "no prompt"
expect 0 chat/train --data "$file" # another text, of the same tokenizer and options
other=$("$rematc" data chat.remat --set data.loss=all --json | sed -n 's/.*"file": "\(.*\)",/\1/p')
expect 6 chat/train --data "$other"
grep -q 'another tokenizer, template or options' stderr.txt || fail "other options: $(cat stderr.txt)"
expect 6 chat/train --data chat.jsonl
grep -q 'rematc data SPEC' stderr.txt || fail "text for tokens: $(cat stderr.txt)"
now=$("$rematc" data chat.remat --json | sed -n 's/.*"file": "\(.*\)",/\1/p')
mv "$now" gone.docs
expect 6 chat/train
grep -q 'is not there: .rematc data chat.remat. makes it' stderr.txt || fail "gone: $(cat stderr.txt)"
cp whole.docs "$now"
expect 6 chat/train
grep -q 'not of the text' stderr.txt || fail "swapped: $(cat stderr.txt)"
rm "$now"

# -- the same losses whatever the budget, packed; a row each with pack none --
expect 0 "$rematc" build chat.remat -o apart --quiet --set data.pack=none
expect 0 apart/train --log apart.log
expect 0 "$rematc" data chat.remat --set data.pack=none
grep -q 'rows of T = 64 *3 an epoch' stdout.txt || fail "pack none: $(cat stdout.txt)"

# -- lines: text with an end, prompts and completions; plain text in windows --
printf '%s\n' '{"text": "abc"}' '{"prompt": "abc", "completion": "def"}' '{"text": ""}' \
    '{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}' >lines.jsonl
spec lines 'train "lines.jsonl"  tokenizer "model/tokenizer.json"'
shown lines.remat >lines.json
python3 - <<'END' || fail "tokens or loss of lines"
import json
text, pair, chat = map(json.loads, open("lines.json"))
assert text["text"] == "abc<|im_end|>" and text["loss"] == [0] + [1] * (len(text["tokens"]) - 1), text
assert pair["text"] == "abcdef<|im_end|>", pair
assert pair["loss"][-1] == 1 and 0 < sum(pair["loss"]) < len(pair["loss"]) - 1, pair
assert chat["text"].startswith("<|im_start|>user\n1<|im_end|>"), chat
END
# .. and with a tokenizer that begins a text with a token of its own
cp -r model begins
python3 - <<'END'
import json
file = json.load(open("begins/tokenizer.json"))
file["post_processor"] = {"type": "TemplateProcessing", "pair": [], "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [280], "tokens": ["<|endoftext|>"]}}}
json.dump(file, open("begins/tokenizer.json", "w"))
END
"$rematc" data lines.remat --set data.tokenizer=begins --show 1000 --json >begins.json
python3 - <<'END' || fail "tokens of lines behind a first token"
import json
begins = [row for row in map(json.loads, open("begins.json")) if row["tokens"] != [280, 282]]  # of no text
for plain, begun in zip(map(json.loads, open("lines.json")), begins, strict=True):
    chat = plain["text"].startswith("<|im_start|>")
    assert begun["text"] == ("" if chat else "<|endoftext|>") + plain["text"], begun
    assert begun["tokens"] == ([] if chat else [280]) + plain["tokens"], begun
    assert begun["loss"][not chat:][1:] == plain["loss"][1:], begun
END
# .. and with one some of whose tokens stand for nothing of the text: they have no loss, and what follows has
mkdir prefix
cp "$source_dir/tests/cases/tokenizer/gpt2_prefix.json" prefix/tokenizer.json
echo '{"eos_token": "<|endoftext|>"}' >prefix/tokenizer_config.json
echo '{"prompt": " word", "completion": "4567<|endoftext|>\u0301"}' >prefix.jsonl
"$rematc" data lines.remat --set data.tokenizer=prefix --set data.train=prefix.jsonl --set V=400 --show 1 --json >prefix.json
python3 - <<'END' || fail "loss behind a token that stands for nothing: $(cat prefix.json)"
import json
row = json.load(open("prefix.json"))
assert row["tokens"][-5:] == [330, 220, 136, 223, 330] and row["loss"][-5:] == [1, 0, 1, 1, 1], row
END
i=0
while [ $i -lt 60 ]; do echo "the line $i says nothing new"; i=$((i + 1)); done >plain.txt
spec plain 'train "plain.txt" text  tokenizer "model"  validate 0.2 every 2 steps'
expect 0 "$rematc" data plain.remat
grep -q '^plain.txt: [0-9,]* tokens, loss on' stdout.txt || fail "plain text: $(cat stdout.txt)"
expect 0 "$rematc" build plain.remat -o plain --quiet
expect 0 plain/train --sample 4 --log plain.log
grep -q validation_loss plain.log || fail "plain text is not validated"
# a long text is cut where its tokens stay the same: 9 MiB of equal texts have so many times the tokens of one
{ cat plain.txt; printf '<|endoftext|>'; } >one.txt
python3 -c 'open("long.txt", "w").write(5500 * open("one.txt").read())'
tokens() { "$rematc" data plain.remat --set "data.train=$1" --json | sed -n 's/.*"tokens": \([0-9]*\),/\1/p' | head -n 1; }
one=$(tokens one.txt) long=$(tokens long.txt) # each ends with one more
[ "$((long - 1))" = "$((5500 * (one - 1)))" ] || fail "a long text: $long tokens, $one each"
printf 'ab\377' >>long.txt
expect 6 "$rematc" data plain.remat --set data.train=long.txt
grep -q 'long.txt, behind its first [0-9]* bytes: byte [0-9]* (0xff) is not UTF-8' stderr.txt || fail "where: $(cat stderr.txt)"
# .. a wrong byte is told where it is, not after all of a text that nothing cuts
{ cat plain.txt; printf '\377'; } >long.txt
truncate -s 300M long.txt
expect 6 "$rematc" data plain.remat --set data.train=long.txt
grep -q "long.txt: byte $(wc -c <plain.txt | tr -d ' ') (0xff) is not UTF-8" stderr.txt || fail "where: $(cat stderr.txt)"
rm long.txt
cp plain.txt plain2.txt
expect 0 "$rematc" data plain.remat --set 'data.train=plain*.txt'

# -- what is wrong is told with its place, and leaves nothing behind --
files=$(count)
wrong() { # TEXT LINE... : message
    says=$1 format=$2
    shift 2
    printf '%s\n' "$@" >wrong.jsonl
    expect 6 "$rematc" data "$format.remat" --set data.train=wrong.jsonl
    grep -q "$says" stderr.txt || fail "wanted '$says': $(cat stderr.txt)"
}
good='{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}'
wrong 'wrong.jsonl:2: column' chat "$good" '{"messages": ['
wrong 'wrong.jsonl:3: a JSON object is wanted' chat "$good" '' '[1]'
wrong 'wrong.jsonl:1: .*write `jsonl` instead of `chat`' chat '{"text": "a"}'
wrong 'wrong.jsonl:1: "messages" is empty' chat '{"messages": []}'
wrong 'wrong.jsonl:2: .*role' chat "$good" '{"messages": [{"role": "dog", "content": "1"}]}'
wrong 'wrong.jsonl:1: a list "messages", a string "text"' lines '{"txt": "a"}'
wrong 'wrong.jsonl:1: has "text" and "prompt"' lines '{"text": "a", "prompt": "b"}'
wrong 'there is no text in it' chat ''
expect 6 "$rematc" data lines.remat --set data.loss=completions
grep -q 'lines.jsonl:1: .loss completions., and "text" does not say which part is one' stderr.txt || fail "text has no completion"
printf 'ab\377' >bad.txt
expect 6 "$rematc" data plain.remat --set data.train=bad.txt
grep -q '^rematc: bad.txt: ' stderr.txt || fail "not UTF-8: $(cat stderr.txt)"
expect 6 "$rematc" data chat.remat --set V=100
grep -q 'outside the vocabulary of 100' stderr.txt || fail "a smaller vocabulary: $(cat stderr.txt)"
expect 6 env REMAT_CACHE="$PWD/cache/new" "$rematc" data chat.remat --set V=100
grep -q 'do not belong together' stderr.txt || fail "a smaller vocabulary: $(cat stderr.txt)"
expect 6 "$rematc" data chat.remat --set data.train=absent.jsonl
expect 6 "$rematc" data chat.remat --set data.tokenizer=absent
expect 1 "$rematc" data "$source_dir/examples/bytes-gpt.remat"
[ "$(count)" = "$files" ] || fail "something was left: $(ls -a cache)"
[ -z "$(find cache -name '*.docs.*')" ] || fail "half a file was left: $(ls -a cache)"
sed 's/im_start/im_begin/' model/chat_template.jinja >t && mv t model/chat_template.jinja
expect 6 "$rematc" data chat.remat
grep -q 'model/chat_template.jinja' stderr.txt || fail "another template: $(cat stderr.txt)"
expect 6 "$rematc" data lines.remat # its last line is a chat
grep -q 'lines.jsonl:4: has "messages", and ' stderr.txt || fail "a chat without a template: $(cat stderr.txt)"
