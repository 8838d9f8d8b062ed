"""From chats to an answer: chat_model.py REMATC WORK_DIR TEMPLATE.jinja. A small model and tokenizer are made here, trained
whole on conversations, then adapted over its 4-bit weights, at half the memory of keep-all, to answer in another form; the run
is stopped and resumed to the same bits; the sample, from a prompt of the validation, answers in the new form, and the merged
model answers the same in transformers (greedy). Tokens and loss of the prepared file are those of the libraries.
Needs torch, transformers, tokenizers."""
import json
import os
import random
import re
import shutil
import subprocess
import sys

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

rematc, work, template = (os.path.abspath(path) for path in sys.argv[1:4])
shutil.rmtree(work, ignore_errors=True)
os.makedirs(work)
os.chdir(work)
os.environ["REMAT_CACHE"] = os.path.join(work, "cache")
random.seed(1)
torch.manual_seed(1)
NAMES = "Ann Bob Cleo Dan Eve Finn Gus Hal".split()
THINGS = "apple boat cat drum egg fish gate hat".split()
COLOURS = "red blue green black white pink".split()
# that of Qwen 2
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def conversation(i, answer):
    name, thing, colour = (random.choice(words) for words in (NAMES, THINGS, COLOURS))
    said = [("user", f"{name} has a {colour} {thing}. What colour is the {thing}?"), ("assistant", answer(thing, colour))]
    if i % 3 == 0:
        said.insert(0, ("system", "Answer shortly."))
    if i % 4 == 0:
        said += [("user", "Whose is it?"), ("assistant", f"It belongs to {name}.")]
    return [{"role": role, "content": text} for role, text in said]


def plain(thing, colour):
    return f"The {thing} is {colour}."


def styled(thing, colour):
    return f"{colour}, {colour} {thing}!"


def write_chats(name, answer, count):
    with open(name, "w", encoding="utf-8") as out:
        for i in range(count):
            out.write(json.dumps({"messages": conversation(i, answer), "id": i}) + "\n")


def make_model():
    texts = [m["content"] for answer in (plain, styled) for i in range(300) for m in conversation(i, answer)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated", False), pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)
                                  for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    with open(template, encoding="utf-8") as file:
        whole.chat_template = file.read()
    whole.save_pretrained("model")
    config = transformers.Qwen2Config(
        vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=whole.convert_tokens_to_ids("<|im_end|>"))
    transformers.Qwen2ForCausalLM(config).save_pretrained("model")
    return whole


def run(*words, code=0):
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    if done.returncode != code:
        sys.exit(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def build(name, folder, *settings):
    words = [word for setting in settings for word in ("--set", setting)]
    run(rematc, "import", folder, "-o", f"{name}.remat", *words)
    text = open(f"{name}.remat", encoding="utf-8").read()
    saved = 'save { dir "%s.out" every 50 steps  merged "%s.merged" }' % (name, name)
    open(f"{name}.remat", "w", encoding="utf-8").write(re.sub(r"save \{.*\}", saved, text))
    return f"{name}.remat"


def check_tokens(tokenizer, spec, chats):
    """The prepared file against apply_chat_template, token by token, where the template marks what is generated."""
    lines = [json.loads(line) for line in open(chats, encoding="utf-8")]
    shown = [json.loads(line) for line in run(rematc, "data", spec, "--show", str(len(lines)), "--json").splitlines()]
    assert len(shown) == len(lines)
    for line, ours in zip(lines, shown):
        theirs = tokenizer.apply_chat_template(line["messages"], return_dict=True, return_assistant_tokens_mask=True)
        assert ours["tokens"] == theirs["input_ids"], (ours, theirs)
        mask = theirs["assistant_masks"] if "generation" in tokenizer.chat_template else None
        assert mask is None or ours["loss"] == mask, (ours, mask)
    print(f"{chats}: tokens of {len(lines)} conversations are those of the library"
          f"{', so is their loss' if mask is not None else ''}")


def sampled(log):
    return [line for line in map(json.loads, open(log, encoding="utf-8")) if "sample" in line][-1]


def check_answer(tokenizer, folder, log, form):
    line = sampled(log)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode(line["prompt"], add_special_tokens=False)])
    out = model.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1]:]
    theirs = tokenizer.decode(out, skip_special_tokens=True)
    print(f"{log}: {line['prompt'].splitlines()[-2]!r} -> {line['sample']!r}; transformers: {theirs!r}")
    assert line["sample"].rstrip("\n") == theirs.rstrip("\n")
    assert re.fullmatch(form, line["sample"].strip()), form


def main():
    tokenizer = make_model()
    for name, answer in (("plain", plain), ("styled", styled)):
        write_chats(f"{name}.jsonl", answer, 560)
        write_chats(f"{name}-val.jsonl", answer, 40)
    common = ["T=128", "B=8", "tokens_per_step=1024", "schedule.warmup=10"]
    whole = build("whole", "model", *common, "data.train=plain.jsonl", "validate=plain-val.jsonl", "steps=400",
                  "optimizer.lr=3e-3")
    check_tokens(tokenizer, whole, "plain.jsonl")
    run(rematc, "build", whole, "-o", "whole.train", "--quiet")
    run("whole.train/train", "--log", "whole.jsonl", "--sample", "40", "--temperature", "0")
    check_answer(tokenizer, "whole.merged", "whole.jsonl", r"The \w+ is \w+\.")

    adapted = build("adapted", "whole.merged", *common, "data.train=styled.jsonl", "validate=styled-val.jsonl", "steps=200",
                    "optimizer.lr=5e-3", "adapt=lora(rank = 16, alpha = 32)", "dtype.frozen=nf4(double_quant)")
    keep = json.loads(run(rematc, "plan", adapted, "--json"))["keep_all_bytes"]
    budget = ("--budget", f"{keep // 2}B")
    run(rematc, "build", adapted, "-o", "adapted.train", "--quiet", *budget)
    run("adapted.train/train", "--log", "adapted.jsonl", "--sample", "40", "--temperature", "0")
    check_answer(tokenizer, "adapted.merged", "adapted.jsonl", r"\w+, \w+ \w+!")
    os.rename("adapted.merged", "first.merged")
    for steps in ("70", "200"):
        run("adapted.train/train", "--save-dir", "again.out", "--log", "again.jsonl", "--steps", steps)
    last = "step-000200.safetensors"
    assert open(f"again.out/{last}", "rb").read() == open(f"adapted.out/{last}", "rb").read()
    print(f"adapted over 4 bits at {keep // 2} of {keep} bytes; stopped at step 70 and resumed: the same bits")


main()
