#!/usr/bin/env python3
"""Lines of JSON to documents: lines.py REMATC CASES WORK [COUNT]. For every tokenizer of tests/cases/tokenizer random lines
of "text", and of "prompt" and "completion", are prepared; tokens and loss must be those that the tokenizers library gives
for the framed text, and of a completion those that reach into it. Needs tokenizers."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

from tokenizers import Tokenizer

rematc, cases, work = (pathlib.Path(path).resolve() for path in sys.argv[1:4])
count = int(sys.argv[4]) if len(sys.argv) > 4 else 300
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
os.chdir(work)
os.environ["REMAT_CACHE"] = str(work / "cache")
choice = random.Random(1)
ENDS = ["<|im_end|>", "<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>"]
SPEC = """language 1
dims { V = 512  D = 16  H = 2  E = D / H  B = 2  T = 512 }
block layer(x: [B, T, D]) -> [B, T, D] {
  q, k, v = split(linear(x, [3*D, D], "qkv"), 3)
  return x + linear(attend(q as [B, T, H, E], k as [B, T, H, E], v as [B, T, H, E], causal) as [B, T, D], [D, D], "o")
}
model small {
  x = layer(embed(data.tokens, [V, D], "embed"))
  loss = cross_entropy(linear(x, [V, D], "head"), data.targets, mask = data.loss_mask)
}
train { steps 4  optimizer adamw(lr = 1e-2)  seed 3 }
data { train "lines.jsonl" jsonl  tokenizer "model"  loss WHAT }
device host
"""
WORDS = ["the", " theme", "\n", "\n\n", "  ", "é", "naïve", "漢字", "😀", "\u0301", " 123", "4567", "don't", "word", "<s>", "</s>",
         "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "\t", "\r\n", "\u00a0", "!", "?!", "\u200d", "A", "ß", "\x00", "_"]


def text():
    return "".join(choice.choice(WORDS) for _ in range(choice.randrange(0, 12)))


def expected(tokenizer, line, end, everything):
    whole = line["text"] if "text" in line else line["prompt"] + line["completion"]
    ids = list(tokenizer.encode(whole, add_special_tokens=True).ids)
    bare = tokenizer.encode(whole, add_special_tokens=False)
    probe, framed = (tokenizer.encode("!", add_special_tokens=added).ids for added in (False, True))
    front = next(i for i in range(len(framed)) if framed[i:i + len(probe)] == probe)
    loss = [1] * len(ids)
    if "completion" in line and not everything:
        begin = len(line["prompt"])
        loss = [0] * front + [int(a < b and b > begin) for a, b in bare.offsets] + [1] * (len(ids) - front - len(bare.ids))
    if not ids or ids[-1] != end:
        ids.append(end)
        loss.append(1)
    return ids, [0] + loss[1:]


def run(*words):
    done = subprocess.run([rematc, *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def check(name):
    tokenizer = Tokenizer.from_file(str(cases / f"{name}.json"))
    ends = [token for token in ENDS if tokenizer.token_to_id(token) is not None]
    if not ends:
        return print(f"{name:14} has no token that could end a text")
    shutil.rmtree("model", ignore_errors=True)
    os.mkdir("model")
    shutil.copy(cases / f"{name}.json", "model/tokenizer.json")
    pathlib.Path("model/tokenizer_config.json").write_text(json.dumps({"eos_token": ends[0]}))
    end, wrong, compared = tokenizer.token_to_id(ends[0]), 0, 0
    for what in ("all", "completions"):
        lines = [{"prompt": text(), "completion": text()} if what == "completions" or choice.random() < 0.5 else {"text": text()}
                 for _ in range(count)]
        pathlib.Path("lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        pathlib.Path("s.remat").write_text(SPEC.replace("WHAT", what))
        shown = [json.loads(row) for row in run("data", "s.remat", "--show", str(count), "--json").splitlines()]
        wanted = [expected(tokenizer, line, end, what == "all") for line in lines]
        if len(shown) != len(wanted):  # a document of one token has nothing to learn
            wanted = [(ids, loss) for ids, loss in wanted if len(ids) > 1]
        assert len(shown) == len(wanted), (name, len(shown), len(wanted))
        for ours, (ids, loss) in zip(shown, wanted):
            compared += 1
            if ours["tokens"] != ids or ours["loss"] != loss:
                wrong += 1
                if wrong < 4:
                    print(name, what, ours, ids, loss, sep="\n  ")
    print(f"{name:14} {compared} documents, {wrong} wrong", flush=True)
    return wrong


total = sum(check(path.stem) or 0 for path in sorted(cases.glob("*.json")))
sys.exit(1 if total else 0)
