"""Chat templates against transformers, which runs them: for every template whose text is at hand and that is known,
random conversations are rendered by `apply_chat_template` and by the renderer in C. The texts must be equal to the
byte, what one refuses the other refuses, and the completions must be the spans that `{% generation %}` marks, in the
template itself or in another that writes the same texts.

What is refused here and rendered there is named below (`stricter`), each with the reason: it would be trained on
something else than the conversation says.

    python3 chats.py CHATS CASES WORK_DIR [NAME...]      (needs transformers and trl)
    python3 chats.py --expected CASES                    writes CASES/expected.json, which test_chat reads

Texts: CASES/*.jinja, those that trl has, and *.jinja in the folder REMAT_CHAT_TEMPLATES. REMAT_CAMPAIGN_CHATS: how
many conversations each, 10000; REMAT_CAMPAIGN_SEED.
"""
import importlib.util
import json
import os
import pathlib
import random
import re
import subprocess
import sys

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

COUNT = int(os.environ.get("REMAT_CAMPAIGN_CHATS", "10000"))
SEED = int(os.environ.get("REMAT_CAMPAIGN_SEED", "1"))
DATE = "26 Jul 2024"  # what is written where no date is given
TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>"}
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
PIECES = ["", " ", "\n", "\n\n", "\t", " \u00a0", "\u3000", "\u2028", "\x1c", "\u0085", "\u200b", "\ufeff", "a", "Hello",
          "How are you?", "straße", "日本語", "👩‍👩‍👧", "e\u0301", "\u202e", "<|im_start|>", "<|im_end|>", "<|im_end|>\n", "[INST]",
          "[/INST]", "</s>", "<bos>", "<eos>", "<end_of_turn>", "<|eot_id|>", "<|end|>", "<<SYS>>", "<think>", "</think>",
          "<think>\n", "\n</think>\n\n", "<tool_response>", "</tool_response>", "{{ 1 + 1 }}", "{% endif %}", "\\n", '"', "'",
          "\x01", "\x02", "\x7f", "1234567890", "x" * 300]
ROLES = ["user", "assistant", "system"]


# ---- random conversations ----

def text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 1, 2, 3, 5])))


def value(rng, depth=0):
    kind = rng.randrange(10 if depth < 3 else 7)
    if kind < 3:
        return text(rng)
    if kind == 3:
        return rng.choice([0, -1, 7, 2**31, 2**62, -(2**63)])
    if kind == 4:
        return rng.choice([0.0, -0.0, 1.0, 0.1, 1e-5, 1e16, 1.5e300, 123456.75, -2.5e-7, rng.random(), rng.uniform(-1e20, 1e20)])
    if kind < 7:
        return rng.choice([True, False, None])
    if kind == 7:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def call(rng):
    arguments = {text(rng): value(rng) for _ in range(rng.randrange(4))}
    if rng.random() < 0.05:
        arguments = rng.choice(["{}", 5, None, []])
    function = {"name": text(rng), "arguments": arguments}
    if rng.random() < 0.03:
        function.pop(rng.choice(["name", "arguments"]))
    if rng.random() < 0.03:
        function["name"] = 3
    return {"type": "function", "function": function} if rng.random() < 0.8 else function


def odd_content(rng):
    return rng.choice([None, 3, True, {}, {"text": "a"}, [], [{"type": "text", "text": text(rng)}],
                       [{"type": "text", "text": text(rng)}, {"type": "text", "text": text(rng)}],
                       [{"type": "image"}, {"type": "text", "text": text(rng)}], ["a"]])


def message(rng, role, tools):
    made = {"role": role, "content": text(rng)}
    if rng.random() < 0.02:
        made["content"] = odd_content(rng)
    if rng.random() < 0.01:
        made.pop(rng.choice(["role", "content"]))
    if rng.random() < 0.01:
        made["role"] = rng.choice(["developer", "human", "gpt", "", 3, None, "User", "ipython", "function"])
    if role == "assistant" and rng.random() < 0.1:
        made[rng.choice(["reasoning_content", "reasoning_content", "thinking", "reasoning"])] = text(rng)
    if role == "assistant" and tools and rng.random() < 0.4 or rng.random() < 0.005:
        made["tool_calls"] = [call(rng) for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))]
        if rng.random() < 0.5:
            made["content"] = rng.choice(["", None])
        if rng.random() < 0.3:
            made.pop("content", None)
    if rng.random() < 0.01:
        made[rng.choice(["name", "id", "weight", "function_call", "tool_call_id", "reasoning_content"])] = rng.choice(
            ["", "x", 1, 0, {"name": "f"}, None, 1.0])
    return made


def conversation(rng, share_of_tools):
    """The request that the program in C reads: messages and what a template takes from outside."""
    tools = rng.random() < share_of_tools
    length = rng.choice([1, 2, 2, 3, 3, 4, 5, 6, 8])
    roles = [ROLES[i % 2] for i in range(length)]  # mostly in order
    if rng.random() < 0.3:
        roles.insert(0, "system")
    if rng.random() < 0.2:
        roles[rng.randrange(len(roles))] = rng.choice(ROLES)
    if tools and rng.random() < 0.7:
        for _ in range(rng.choice([1, 2, 3])):
            roles.insert(rng.randrange(len(roles) + 1), "tool")
    if tools and rng.random() < 0.5:
        roles.append("assistant")
    request = {"messages": [message(rng, role, tools) for role in roles]}
    if rng.random() < 0.3:
        request["generation_prompt"] = True
    if tools and rng.random() < 0.5:
        request["tools"] = [{"type": "function", "function": {"name": text(rng), "parameters": value(rng)}, text(rng): value(rng)}
                            for _ in range(rng.choice([0, 1, 1, 2]))]
    if rng.random() < 0.05:
        request["date"] = rng.choice(["1 Jan 2025", "", "heute"])
    if rng.random() < 0.05:
        request["no_thinking"] = True
    return request


# ---- the library ----

def tokenizer_for(template):
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **TOKENS)
    made.chat_template = template
    return made


def outside(request):
    made = {"date_string": request.get("date", DATE)}
    if request.get("no_thinking"):
        made["enable_thinking"] = False
    return made


def library(tokenizer, request):
    """The text, or None where the library refuses."""
    try:
        return tokenizer.apply_chat_template(request["messages"], tools=request.get("tools"), tokenize=False,
                                             add_generation_prompt=request.get("generation_prompt", False), **outside(request))
    except Exception:
        return None


def marked(template, request):
    """The text and which of its bytes are marked, or None."""
    messages = [{k: v for k, v in m.items() if v is not None} for m in request["messages"]]
    try:
        [rendered], [spans] = render_jinja_template(
            [messages], tools=request.get("tools"), chat_template=template, return_assistant_tokens_mask=True,
            add_generation_prompt=request.get("generation_prompt", False), **TOKENS, **outside(request))
    except Exception:
        return None
    mask = bytearray(len(rendered.encode()))
    for begin, end in spans:
        at = len(rendered[:begin].encode())
        mask[at:at + len(rendered[begin:end].encode())] = b"\1" * len(rendered[begin:end].encode())
    return rendered, bytes(mask)


# ---- what is refused here alone ----

def is_lost(tokenizer, request, index, put):
    """Whether a message's text leaves no trace: another one in its place is not found in what is rendered."""
    mark = "\ue000mark\ue000"
    messages = json.loads(json.dumps(request["messages"]))
    put(messages[index], mark)
    rendered = library(tokenizer, {**request, "messages": messages})
    return rendered is not None and mark not in rendered


def put_content(made, mark):
    made["content"] = mark


def put_thought(made, mark):
    for key in ("reasoning_content", "thinking", "reasoning"):
        made.pop(key, None)
    made["reasoning_content"] = mark


def put_call(made, mark):
    made["tool_calls"] = [{"type": "function", "function": {"name": mark, "arguments": {}}}]


def stricter(model, tokenizer, request):
    """Why a conversation that the library renders is refused; None: it is not."""
    template = tokenizer.chat_template
    reads_tools, reads_parts = "<tool_call>" in template or "ipython" in template, "item['type']" in template
    thinks, llama = "message.reasoning_content" in template, "ipython" in template
    messages = request["messages"]
    roles = {"system", "user", "assistant"} | ({"tool"} if reads_tools else set()) | ({"ipython"} if llama else set())
    for i, m in enumerate(messages):
        content, calls = m.get("content"), m.get("tool_calls")
        if m.get("role") not in roles:
            return "a role that is none of the four"
        if calls and not (reads_tools and m["role"] == "assistant"):
            return "tool_calls that are not read"
        if calls == [] and model in ("Llama 3.1", "Llama 3.2", "Mistral v3", "Mistral Nemo"):
            return "an empty list of calls, which is taken for a call"
        may_lack = reads_tools and calls
        is_result = llama and m["role"] in ("tool", "ipython") and isinstance(content, (str, list, dict))
        parts = reads_parts and isinstance(content, list) and all(
            isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str) for p in content)
        if parts and m["role"] == "system" and len(content) != 1:
            return "only one of the parts is read"
        if not (isinstance(content, str) or is_result or parts or (content is None and may_lack)):
            return "a content that is no text"
        for c in calls or []:
            function = c.get("function") or c
            if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), dict) and not (
                    "arguments is string" in template and isinstance(function.get("arguments"), str)):
                return "a call without a name, or with arguments that are no object"
        if m["role"] == "assistant" and "<｜User｜>" in template and "split('</think>')" in template and "</think>" in content:
            return "thoughts in a content, which are dropped"
        for key in ("reasoning_content", "thinking", "reasoning"):
            if m.get(key) not in (None, "") and not (thinks and m["role"] == "assistant" and isinstance(m[key], str)):
                return "thoughts that are not written"
        if m.get("function_call") is not None or m.get("weight") not in (None, 1):
            return "a key that changes what is trained"
    if request.get("tools") is not None and not reads_tools:
        return "tools that are not read"
    if request.get("tools") is not None and llama and [m["role"] for m in messages if m["role"] != "system" or m is not messages[0]][:1] != ["user"]:
        return "tools in the first message, which is no user's"
    if request.get("date") is not None and "date_string" not in template:
        return "a date that is not written"
    if request.get("no_thinking") and "enable_thinking is defined" not in template:
        return "no thoughts to leave out"
    for i, m in enumerate(messages):
        if is_lost(tokenizer, request, i, put_content) and (m.get("content") or not m.get("tool_calls")):
            return "a message that is left out"
        if m.get("role") == "system" and i and ("start_of_turn" in template or "<｜User｜>" in template):
            return "a system message that is not the first"
    return None


# ---- one template ----

class Ours:
    def __init__(self, program, folder, template):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chat_template.jinja").write_text(template, newline="")
        (folder / "tokenizer_config.json").write_text(json.dumps(TOKENS))
        self.process = subprocess.Popen([program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.found = json.loads(self.process.stdout.readline())

    def render(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0, "the program failed"


def mask_of(rendered):
    mask = bytearray(len(rendered["text"].encode()))
    at = 0
    for begin, end in rendered["spans"]:
        assert at <= begin < end <= len(mask), "spans are in order, apart and not empty"
        mask[begin:end] = b"\1" * (end - begin)
        at = end
    return bytes(mask)


def try_template(name, model, template, ours, references):
    """Compares on random conversations; returns how many were refused and which reference gave the spans."""
    rng = random.Random(f"{SEED} {name}")
    tokenizer = tokenizer_for(template)
    references = [(n, t) for n, t in references if MARKED.search(t)]
    if MARKED.search(template):
        references = [(name, template)]
    refused, reasons, spanned = 0, {}, 0
    for _ in range(COUNT):
        request = conversation(rng, 0.5 if "tool_call" in template else 0.03)
        wanted, got = library(tokenizer, request), ours.render(request)
        shown = json.dumps(request, ensure_ascii=False)
        if "error" in got:
            refused += 1
            if wanted is not None:
                why = stricter(model, tokenizer, request)
                assert why, f"{name}: refused without a reason, {got['error']!r}: {shown}"
                reasons[why] = reasons.get(why, 0) + 1
            continue
        assert wanted is not None, f"{name}: the library refuses {shown}"
        assert got["text"] == wanted, f"{name}: {shown}\nthe library: {wanted!r}\nhere:        {got['text']!r}"
        why = stricter(model, tokenizer, request)
        assert not why, f"{name}: rendered, but {why}: {shown}"
        keep = []
        for reference in references:
            made = marked(reference[1], request)
            if made is None or made[0] != wanted:
                continue
            keep.append(reference)
        references = keep
        for reference in references:
            mask = marked(reference[1], request)[1]
            assert mask == mask_of(got), f"{name}: spans of {reference[0]}: {shown}\n{got}"
            spanned += 1
    assert references, f"{name}: no template with {{% generation %}} writes the same texts"
    return refused, reasons, [n for n, _ in references]


def texts(cases):
    found = {f"ours:{p.stem}": p.read_text() for p in sorted(pathlib.Path(cases).glob("*.jinja"))}
    for place in importlib.util.find_spec("trl").submodule_search_locations:  # not imported: its files are read
        for path in sorted(pathlib.Path(place).glob("chat_templates/*.jinja")):
            found[f"trl:{path.stem}"] = path.read_text()
    if extra := os.environ.get("REMAT_CHAT_TEMPLATES"):
        for path in sorted(pathlib.Path(extra).glob("*.jinja")):
            found[path.stem] = path.read_text()
    return found


def campaign(program, cases, work, only):
    every, seen = {}, set()
    for name, template in texts(cases).items():
        if template.removesuffix("\n") not in seen:
            every[name] = template
        seen.add(template.removesuffix("\n"))
    ours = {name: Ours(program, pathlib.Path(work) / name.replace(":", "-"), template) for name, template in every.items()}
    total = {}
    known = {name: o.found for name, o in ours.items() if "error" not in o.found}
    for name, found in sorted(known.items(), key=lambda item: (item[1]["name"], item[0])):
        if only and not any(word in name for word in only):
            continue
        references = [(other, every[other]) for other in known if known[other]["name"] == found["name"]]
        if found["name"] == "Llama 3.2":
            references += [(other, every[other]) for other in known if known[other]["name"] == "Llama 3.1"]
        refused, reasons, used = try_template(name, found["name"], every[name], ours[name], references)
        print(f"{found['name']:16} {found['fingerprint']} {name}: {COUNT} conversations, {refused} refused, "
              f"{sum(reasons.values())} here alone; spans as {', '.join(used)}", flush=True)
        for why, count in reasons.items():
            total[why] = total.get(why, 0) + count
    for o in ours.values():
        o.end()
    print("refused here alone:")
    for why, count in sorted(total.items(), key=lambda item: -item[1]):
        print(f"{count:8} {why}")
    print(f"{len(known)} templates are known, {len(every) - len(known)} are not")


def expected(cases):
    """What the library writes for the conversations that test_chat goes through; null: refused, here or there."""
    conversations = json.loads((cases / "conversations.json").read_text())
    made = {}
    for path in sorted(cases.glob("*.jinja")):
        template, made[path.stem] = path.read_text(), []
        for request in conversations:
            rendered = marked(template, request)
            if rendered and not stricter(model_of(template), tokenizer_for(template), request):
                spans = [[m.start(), m.end()] for m in re.finditer(b"\1+", rendered[1])]
                made[path.stem].append({"text": rendered[0], "spans": spans})
            else:
                made[path.stem].append(None)
    lists = (f'"{name}": [\n' + ",\n".join(json.dumps(one) for one in every) + "]" for name, every in made.items())
    (cases / "expected.json").write_text("{" + ",\n".join(lists) + "}\n")


def model_of(template):
    """As the first words of our own templates say."""
    return re.match(r"\{#- (Mistral \w+|Llama [\d.]+)?", template).group(1)


if __name__ == "__main__" and sys.argv[1] == "--expected":
    expected(pathlib.Path(sys.argv[2]))
elif __name__ == "__main__":
    campaign(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
