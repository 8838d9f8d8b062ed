"""tokenizer_files.py PROGRAM FOLDER [FILE...]: our tokenizer against the tokenizers library.
tokenizer_files.py --cases FOLDER: small tokenizers, and what the library makes of a few texts (tests/cases/tokenizer).

One tokenizer per published kind is trained by the library with that kind's normaliser, pre-tokenizer, decoder and
added tokens; FILEs are tokenizer.json files of others, and published vocabularies that are installed with mistral_common,
llama_models, openai-whisper or dashscope are made into such files. On texts in 20 scripts, on code, on strings made to break
things and on every character there is, ids and ranges must be the library's and ids must decode to the same bytes. Then
both are timed in turn, on one core. PROGRAM is tests/campaign/tokenize.c. Files that are
changed at random are refused, or read as the library reads them. REMAT_TOKENIZERS names the kinds to run ("characters", "splits" and
"changed" are three), REMAT_TOKENIZER_STRINGS how many strings (100000), REMAT_TOKENIZER_MIB how much text (10) and
REMAT_TOKENIZER_MUTANTS how many files (20000).
"""
import base64, glob, importlib.util, json, os, random, statistics, struct, subprocess, sys, sysconfig, time, unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

STRINGS = int(os.environ.get("REMAT_TOKENIZER_STRINGS", 100000))
TEXT_BYTES = int(os.environ.get("REMAT_TOKENIZER_MIB", 10)) << 20
MUTANTS = int(os.environ.get("REMAT_TOKENIZER_MUTANTS", 20000))
SMALL = sys.argv[1:2] == ["--cases"]

# ---- texts ----

SCRIPTS = {
    "latin": "aăâáàäãåąbcćčçdďđeéèêëęěfgğhiíìîïıjklłmnńňñoóòôöõøőpqrřsśšşștťțuúùûüůűvwxyýzźžżßæœ",
    "cyrillic": (0x410, 0x44F), "greek": (0x3B1, 0x3C9), "hebrew": (0x5D0, 0x5EA), "arabic": (0x621, 0x64A),
    "devanagari": (0x905, 0x94D), "bengali": (0x985, 0x9B9), "tamil": (0xB85, 0xBCD), "telugu": (0xC05, 0xC4D),
    "thai": (0xE01, 0xE4E), "lao": (0xE81, 0xEBD), "tibetan": (0xF40, 0xFBC), "myanmar": (0x1000, 0x103E),
    "georgian": (0x10D0, 0x10F0), "armenian": (0x561, 0x586), "ethiopic": (0x1200, 0x1357), "khmer": (0x1780, 0x17D2),
    "hangul": (0xAC00, 0xD7A3), "han": (0x4E00, 0x9FA5), "kana": (0x3041, 0x30FA), "sinhala": (0xD85, 0xDDF),
    "mongolian": (0x1820, 0x1877),
}
NO_SPACES = {"han", "kana", "thai", "lao", "khmer", "tibetan", "myanmar"}


def letters_of(span):
    if isinstance(span, str):
        return list(span)
    return [chr(c) for c in range(span[0], span[1] + 1) if unicodedata.category(chr(c)) != "Cn"]


def script_text(name, size, rng):
    """Words with the frequencies of words: the nth is 1/n as frequent as the first."""
    letters = letters_of(SCRIPTS[name])
    words = ["".join(rng.choices(letters[:3000], k=min(12, 1 + int(rng.expovariate(0.25))))) for _ in range(3000)]
    weights = [1 / (n + 2) for n in range(len(words))]
    out, have = [], 0
    while have < size:
        line = []
        for word in rng.choices(words, weights, k=rng.randint(3, 40)):
            line.append(word.capitalize() if rng.random() < 0.1 else word)
            if rng.random() < 0.05:
                line.append(str(rng.randint(0, 99999)))
            if rng.random() < 0.1:
                line[-1] += rng.choice([",", ".", "!", "?", ";", "。", "、", "।", "۔"])
        text = ("" if name in NO_SPACES else " ").join(line) + rng.choice(["\n", "\n\n", " ", "\r\n"])
        out.append(text)
        have += len(text.encode())
    return "".join(out)


def code_text(size):
    """Python's own library, and what is in it besides: code and English."""
    out, have = [], 0
    for folder, folders, files in os.walk(sysconfig.get_paths()["stdlib"]):
        folders[:] = sorted(f for f in folders if f not in ("site-packages", "__pycache__"))
        for name in sorted(files):
            if not name.endswith((".py", ".txt", ".rst", ".c", ".h")):
                continue
            try:
                text = open(os.path.join(folder, name), encoding="utf-8", newline="").read()
            except (UnicodeDecodeError, OSError):
                continue
            out.append(text)
            have += len(text.encode())
            if have > size:
                return out
    return out


def corpus(rng):
    texts = code_text(TEXT_BYTES // 2)
    for name in SCRIPTS:
        texts.append(script_text(name, TEXT_BYTES // 2 // len(SCRIPTS), rng))
    pieces = []
    for text in texts:
        while text:
            cut = rng.choice([80, 400, 2000, 20000, 300000])
            pieces.append(text[:cut])
            text = text[cut:]
    rng.shuffle(pieces)
    return pieces


NASTY = [
    "\u0301", "\u0323", "\u0345", "\u0334", "\u0315", "\u093c", "\u0f71", "\u0f72", "\u3099", "\u1161", "\u11a8", "\u1100",
    "\u00e9", "e\u0301", "\u1e9b\u0323", "\u212b", "\u2126", "\ufb01", "\u0344", "\u0958", "\ufb2c", "\u1ec7", "\u0f73",
    "👩‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇩🇪", "❤️", "\u200d", "\u200c", "\ufe0f", "\u180e", "\u00a0", "\u2007", "\u202f", "\u3000", "\u1680",
    "\u2028", "\u2029", "\u0085", "\u000b", "\u000c", "\u001c", "\u001f", "\r", "\n", "\r\n", "\n\n", "\n\r", "\t", " ", "  ", "   ",
    "\u200b", "\u2060", "\ufeff", "\u202e", "\u2066", "\u00ad", "\u0000", "\u0001", "\u007f", "\u009f", "\ufffd", "\uffff", "\U0010ffff",
    "\u0660", "\u0661\u0662\u0663", "\u0967", "\u0e51", "\u00b2", "\u00bd", "\u2167", "\u3007", "\u4e00", "\u2460", "\U0001d7d8", "\uff11",
    "0", "1", "12", "123", "1234", "12345678", "3.14", "1,000", "1e-5", "0x1F", "'s", "'S", "'ll", "'LL", "'Re", "'ſ", "'\u212a", "'d", "’s",
    "'", "''", "n't", "I'm", "it's", "they'RE", "ſ", "ß", "ı", "İ", "ŉ", "ǰ", "\u24b6", "\U0001f130", "\u16ee", "ª", "º",
    "a", "A", "the", " the", "Hello", " world", "camelCase", "HTTPServer", "snake_case", "__init__", "_", "--", "...", "…", "»", "«", "!!", "?!",
    "/", "//", "\\", "/\n", "://", "#", "{", "}", "[", "]", "(", ")", "<", ">", "<|", "|>", "<s", "</s", "<0x0A>", "<0xFF>", "<unk>", "▁", "▁▁",
    "▁the", "x▁", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<bos>", "<eos>", "[INST]", "[/INST]", "<tool>",
    "word", "<pad>", " <pad> ", "<mask>", "  <mask>  ", "naïve", "Ünïcödé", "\u0915\u094d\u0937", "한국어", "각", "日本語", "中文", "カタカナ",
    "שלום", "مرحبا", "สวัสดี", "မြန်မာ", "ᠮᠣᠩᠭᠣᠯ", "\U0001e900", "\U00010400", "\U0001f600", "\U00020000", "\U000323af", "\u0897", "\u1c89",
    "\U000105c0", "\u088f", "\u0558", "\ua7ce", "\U00016ea0", "\U0002ebf0", "\U000311ff", "\u0378", "\U000e0001", "\ue000", "\U000f0000",
    "Ġ", "Ċ", "č", "Ń", "\u0120the", "€", "£", "¥", "°C", "©", "™", "→", "∑", "√2", "x²", "H₂O", "½", "№", "½½", "\u0300\u0301\u0302\u0303\u0304" * 3,
]


def nasty(rng):
    kind = rng.random()
    if kind < 0.02:
        return rng.choice(NASTY) * rng.randint(50, 3000)
    if kind < 0.12:
        return "".join(chr(c) for c in (rng.randrange(0x110000) for _ in range(rng.randint(1, 12))) if not 0xD800 <= c < 0xE000)
    if kind < 0.2:
        return "".join(chr(rng.choice([rng.randrange(0x250), rng.randrange(0x300, 0x370), rng.randrange(0x800)])) for _ in range(rng.randint(1, 30)))
    return "".join(rng.choice(NASTY) for _ in range(rng.randint(0, 16)))


# ---- kinds ----

GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3, QWEN2 = GPT4 % "{1,3}", GPT4 % ""
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}"
          r"\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
DEEPSEEK = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽΑ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᴀ-ᴫＡ-Ｚａ-ｚ𐐀-𐑏𞤀-𞥃]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]


def split(regex, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(regex), behavior, invert)


def bytes_only():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def template(t, bos, eos=None):
    single = " ".join(([bos] if bos else []) + ["$A"] + ([eos] if eos else []))
    return processors.TemplateProcessing(single=single, special_tokens=[(x, t.token_to_id(x)) for x in (bos, eos) if x])


def byte_level_kind(t, texts, specials, vocab):
    trainer = trainers.BpeTrainer(vocab_size=330 if SMALL else vocab, special_tokens=[], show_progress=False, max_token_length=40,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(texts, trainer)
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in specials])
    t.decoder = decoders.ByteLevel()
    return t


def kind_gpt2(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t = byte_level_kind(t, texts, ["<|endoftext|>"], 20000)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def kind_gpt2_prefix(texts):
    """As RoBERTa-like ones are: a space before the text, and white space out of the ranges."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t = byte_level_kind(t, texts, ["<|endoftext|>"], 8000)
    t.add_tokens([AddedToken("word", single_word=True), AddedToken("<pad>", lstrip=True, rstrip=True), AddedToken("<mask>", lstrip=True)])
    t.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    return t


def kind_llama3(texts):
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([split(LLAMA3), bytes_only()])
    t = byte_level_kind(t, texts, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], 30000)
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t, "<|begin_of_text|>")])
    return t


def kind_qwen2(texts):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([split(QWEN2), bytes_only()])
    t = byte_level_kind(t, texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 30000)
    t.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("e\u0301toile"), AddedToken("naïve")])
    t.post_processor = processors.ByteLevel(trim_offsets=False, add_prefix_space=False)
    return t


def kind_qwen35(texts):
    t = kind_qwen2(texts)
    t.pre_tokenizer = pre_tokenizers.Sequence([split(QWEN35), bytes_only()])
    return t


def kind_tekken(texts):
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([split(TEKKEN), bytes_only()])
    return byte_level_kind(t, texts, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], 30000)


def kind_o200k(texts):
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([split(O200K), bytes_only()])
    return byte_level_kind(t, texts, ["<|endoftext|>"], 20000)


def kind_cl100k(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([split(CL100K), bytes_only()])
    return byte_level_kind(t, texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 20000)


def kind_smollm(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return byte_level_kind(t, texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 12000)


def kind_deepseek(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([split(x) for x in DEEPSEEK[:4]] + [pre_tokenizers.Digits(True), split(DEEPSEEK[4]), bytes_only()])
    return byte_level_kind(t, texts, ["<|endoftext|>"], 12000)


def fallback_model(texts, vocab, across=False):
    """Trained on words, as SentencePiece is; the published pre-tokenizer comes afterwards."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if not across:
        t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    bytes_ = ["<0x%02X>" % b for b in range(256)]
    alphabet = sorted({c for x in texts[:400] for c in x})[:70 if SMALL else 2500]
    trainer = trainers.BpeTrainer(vocab_size=420 if SMALL else vocab, special_tokens=["<unk>", "<s>", "</s>"] + bytes_, show_progress=False,
                                  initial_alphabet=alphabet, limit_alphabet=80 if SMALL else 3000, max_token_length=16)
    t.train_from_iterator([x[:200] for x in texts] if across else texts, trainer)
    file = json.loads(t.to_str())
    file["added_tokens"] = [x for x in file["added_tokens"] if not x["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(file))


def llama_decoder(strip):
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if strip else []))


def kind_llama2(texts):
    t = fallback_model(texts, 20000)
    t.pre_tokenizer = None
    t.decoder = llama_decoder(True)
    t.post_processor = template(t, "<s>")
    t.add_tokens([AddedToken("<pad>", lstrip=False), AddedToken("<tool>", normalized=True), AddedToken("word", single_word=True)])
    return t


def kind_llama2_across(texts):
    """Tokens that go across words: nothing may be cut at a metaspace."""
    t = fallback_model(texts, 6000, across=True)
    t.decoder = llama_decoder(True)
    return t


def kind_mistral(texts):
    t = fallback_model(texts, 12000)
    t.normalizer = None
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    t.decoder = llama_decoder(True)
    t.add_special_tokens(["[INST]", "[/INST]"])
    t.post_processor = template(t, "<s>", "</s>")
    return t


def kind_metaspace(texts):
    t = fallback_model(texts, 8000)
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)
    t.decoder = decoders.Metaspace()
    return t


def kind_gemma(texts):
    t = fallback_model(texts, 20000)
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = llama_decoder(False)
    t.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    t.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False), AddedToken("<tool>", normalized=False)])
    t.post_processor = template(t, "<bos>")
    return t


def kind_unknown(texts):
    """Neither bytes nor all characters: unknown ones stay unknown, each by itself."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex("[0-9]+"), "9"), normalizers.Replace(Regex(r"(?<=a)b|x{2,3}"), "yz")])
    t.pre_tokenizer = pre_tokenizers.Sequence([split(r"\s+", "removed"), split(r"[\p{P}\p{S}]", "contiguous"), split("[aeiou]+", "merged_with_previous"),
                                               pre_tokenizers.Digits(individual_digits=False), split(r"[A-Z]", "merged_with_next"), split(r"\w{3}".replace(r"\w", "[a-z]"), "removed", True)])
    t.train_from_iterator(texts[:500], trainers.BpeTrainer(vocab_size=150 if SMALL else 2000, special_tokens=["<unk>"], limit_alphabet=60 if SMALL else 300, show_progress=False))
    t.decoder = decoders.Fuse()
    return t


KINDS = {name[5:]: make for name, make in globals().items() if name.startswith("kind_")}

# ---- vocabularies that packages have ----


def ranked(ranks, regex, specials, first=0):
    """A vocabulary of tiktoken: tokens by rank, and every pair of them that makes a third is a merge."""
    shown = dict(zip(range(256), byte_characters()))
    written = lambda token: "".join(shown[b] for b in token)
    merges = []
    for token, rank in ranks.items():
        pairs = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += [(rank, ranks[a], ranks[b], written(a), written(b)) for a, b in pairs]
    merges.sort()
    vocab = {written(token): rank + first for token, rank in ranks.items()}
    vocab.update({x: i for i, x in enumerate(specials[:first])})
    t = Tokenizer(models.BPE(vocab, [m[3:] for m in merges], ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([split(regex), bytes_only()]) if regex else pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in specials])
    return t


def byte_characters():
    """The character of each byte in a byte-level vocabulary, as GPT-2 has it."""
    seen = [b for b in range(256) if 0x21 <= b <= 0x7E or (0xA1 <= b and b != 0xAD)]
    hidden = iter(range(256))
    return [chr(b) if b in seen else chr(256 + next(hidden)) for b in range(256)]


def tiktoken_file(path):
    return {base64.b64decode(a): int(b) for a, b in (line.split() for line in open(path, "rb") if line.strip())}


def package(name, *path):
    found = importlib.util.find_spec(name)
    return sorted(glob.glob(os.path.join(found.submodule_search_locations[0], *path))) if found else []


def installed_files(folder):
    """name: tokenizer.json, of what is installed beside the library."""
    out = {}
    for path in package("whisper", "assets", "*.tiktoken"):
        out["whisper-" + os.path.basename(path)[:-9]] = lambda path=path: ranked(tiktoken_file(path), None, ["<|endoftext|>"])
    for path in package("dashscope", "resources", "qwen.tiktoken"):
        def qwen(path=path):
            t = ranked(tiktoken_file(path), QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
            t.normalizer = normalizers.NFC()
            return t
        out["qwen"] = qwen
    for path in package("llama_models", "llama[34]", "tokenizer.model"):
        name = os.path.basename(os.path.dirname(path))
        def llama(path=path, regex=LLAMA3 if name == "llama3" else O200K):
            t = ranked(tiktoken_file(path), regex, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
            t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t, "<|begin_of_text|>")])
            return t
        out["published-" + name] = llama
    for path in package("mistral_common", "data", "tekken_*.json"):
        def tekken(path=path):
            file = json.load(open(path))
            first = file["config"]["default_num_special_tokens"]
            ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in file["vocab"][:file["config"]["default_vocab_size"] - first]}
            specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
            return ranked(ranks, file["config"]["pattern"], specials + ["<SPECIAL_%d>" % i for i in range(len(specials), first)], first)
        out[os.path.basename(path)[:-5]] = tekken
    if all(importlib.util.find_spec(name) for name in ("sentencepiece", "transformers", "google")):  # google.protobuf
        for path in package("mistral_common", "data", "*.model.v[13]"):
            def pieces(path=path):
                from transformers import LlamaTokenizer
                beside = os.path.join(folder, os.path.basename(path))
                os.makedirs(beside, exist_ok=True)
                with open(os.path.join(beside, "tokenizer.model"), "wb") as copy:
                    copy.write(open(path, "rb").read())
                return LlamaTokenizer.from_pretrained(beside, legacy=False)._tokenizer
            out["sentencepiece-" + path[-2:]] = pieces
    return out


# ---- ours ----


class Ours:
    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, count, data):
        self.process.stdin.write(kind + struct.pack("<I", count) + data)
        self.process.stdin.flush()

    def number(self):
        data = self.process.stdout.read(4)
        if len(data) != 4:
            raise SystemExit("the program ended: code %s" % self.process.wait())
        return struct.unpack("<I", data)[0]

    def encode(self, text):
        data = text.encode()
        self.ask(b"e", len(data), data)
        if self.number():
            return self.process.stdout.read(self.number()).decode(), None, 0
        count = self.number()
        flat = struct.unpack("<%dI" % (3 * count), self.process.stdout.read(12 * count))
        return list(flat[::3]), list(zip(flat[1::3], flat[2::3])), self.number()

    def read(self, path):
        """What is wrong with it, or None."""
        data = path.encode()
        self.ask(b"r", len(data), data)
        return self.process.stdout.read(self.number()).decode() if self.number() else None

    def decode(self, ids, skip=False):
        self.ask(b"s" if skip else b"d", len(ids), struct.pack("<%dI" % len(ids), *ids))
        status = self.number()
        data = self.process.stdout.read(self.number())
        return data if status == 0 else None

    def microseconds(self, text):
        data = text.encode()
        self.ask(b"t", len(data), data)
        assert self.number() == 0
        return self.number()

    def frame(self):
        self.process.stdin.write(b"f")
        self.process.stdin.flush()
        before, behind = self.number(), self.number()
        ids = [self.number() for _ in range(before + behind)]
        return ids[:before], ids[before:]


def byte_places(text):
    """Where each character begins, in bytes, and the end."""
    if text.isascii():
        return range(len(text) + 1)
    places, at = [0], 0
    for c in text:
        at += 1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4
        places.append(at)
    return places


class Compare:
    def __init__(self, name, library, ours):
        self.name, self.library, self.ours = name, library, ours
        self.texts = self.bytes = self.tokens = self.newer = self.wrong = 0

    def differs(self, what, text, theirs, ours):
        self.wrong += 1
        if self.wrong <= 5:
            print("  %s: %s differ for %a\n    library %a\n    ours    %a" % (self.name, what, text[:80], theirs[:24] if theirs else theirs, ours[:24] if ours else ours))

    def text(self, text, skip_decode=False):
        theirs = self.library.encode(text, add_special_tokens=False)
        ids, ranges, newer = self.ours.encode(text)
        self.texts += 1
        self.bytes += len(text.encode())
        self.newer += newer
        if ranges is None:
            return self.differs("refusal: " + ids, text, theirs.ids, [])
        self.tokens += len(ids)
        if ids != theirs.ids:
            return self.differs("ids", text, theirs.ids, ids)
        places = byte_places(text)
        expected = [(places[a], places[b]) for a, b in theirs.offsets]
        if expected != ranges:
            first = next(i for i in range(len(ids)) if expected[i] != ranges[i])
            return self.differs("ranges (token %d)" % first, text, expected[first:], ranges[first:])
        if not skip_decode:
            for skip in (False, True):
                self.decoded(ids, text, skip)

    def decoded(self, ids, text, skip):
        theirs, ours = self.library.decode(ids, skip_special_tokens=skip), self.ours.decode(ids, skip)
        if ours is None:
            return self.differs("decoding", text, theirs, None)
        shown = ours.decode(errors="replace")
        # the library's byte fallback replaces whole runs, valid characters too, where one byte is wrong
        if shown != theirs and not ("\ufffd" in theirs and "ByteFallback" in self.library.to_str()[:20000]):
            self.differs("decoded texts (skip_special_tokens=%s)" % skip, text, theirs, shown)


# ---- checks ----


def speed(name, library, ours, texts):
    rounds, batch = 5, [t for t in texts if t]
    size = sum(len(t.encode()) for t in batch)
    mine, fast, theirs = [], [], []
    for _ in range(rounds):
        mine.append(sum(ours.microseconds(t) for t in batch) / 1e6)
        begin = time.perf_counter()
        library.encode_batch(batch, add_special_tokens=False)
        theirs.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        library.encode_batch_fast(batch, add_special_tokens=False)
        fast.append(time.perf_counter() - begin)
    rate = lambda xs: size / statistics.median(xs) / 1e6
    print("  %-12s ours %6.1f MB/s   encode_batch %6.1f MB/s (%.1fx)   encode_batch_fast %6.1f MB/s (%.1fx)"
          % (name, rate(mine), rate(theirs), rate(mine) / rate(theirs), rate(fast), rate(mine) / rate(fast)))
    return statistics.median(mine) <= min(statistics.median(theirs), statistics.median(fast))


def run(name, library, program, path, texts, strings):
    ours = Ours(program, path)
    compare = Compare(name, library, ours)
    for text in texts:
        compare.text(text)
    for text in strings:
        compare.text(text)
    rng = random.Random(7)
    known = sorted(library.get_vocab().values())
    for _ in range(2000):
        ids = rng.choices(known, k=rng.randint(0, 20))
        for skip in (False, True):
            compare.decoded(ids, str(ids), skip)
    before, behind = ours.frame()
    if library.encode("x").ids != before + library.encode("x", add_special_tokens=False).ids + behind:
        compare.differs("frames", "x", library.encode("x").ids, before + behind)
    print("%-14s %7d texts %6.1f MB %9d tokens  %d newer characters  %d wrong"
          % (name, compare.texts, compare.bytes / 1e6, compare.tokens, compare.newer, compare.wrong), flush=True)
    fine = speed(name, library, ours, texts)
    if not fine:
        print("  %s: slower than the library" % name)
    return compare.wrong == 0, fine


def every_character(program, folder):
    """Classes, digits, white space, words and NFC, for every character there is, in several neighbourhoods."""
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    classes = ([r"\s", r"\S", r"[\sa]", r"[\Sa]", r"\d", r"\D", ".", r"[^\s\p{L}\p{N}]", r"(?i:[sdmtk])", r"\P{L}", r"\p{^N}"] +
               [r"\p{%s}" % x for x in "L Ll Lm Lo Lt Lu M Me N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs Cc Cf "
                "Han Hangul Hiragana Katakana".split()])
    steps = {"class " + x: (None, [split(x, "removed")], lambda c: c) for x in classes}
    steps["digits"] = (None, [pre_tokenizers.Digits(False), split("^[0-9]|[0-9]$", "removed")], lambda c: "1" + c + "1")
    for label, around in {"alone": "%s", "behind a letter": "q%s", "between marks": "q\u0345%s\u0334", "before a mark": "%s\u0301",
                          "among marks": "q\u0315%s\u0315\u0323"}.items():
        steps["NFC " + label] = (normalizers.NFC(), [], lambda c, around=around: around % c)
    wrong = 0
    for label, (normalizer, cuts, around) in steps.items():
        library = Tokenizer(models.BPE(alphabet, []))
        if normalizer:
            library.normalizer = normalizer
        library.pre_tokenizer = pre_tokenizers.Sequence(cuts + [bytes_only()])
        library.decoder = decoders.ByteLevel()
        wrong += compare_characters(label, library, program, folder, characters, around)
    library = Tokenizer(models.BPE(alphabet, []))
    library.pre_tokenizer, library.decoder = bytes_only(), decoders.ByteLevel()
    library.add_tokens([AddedToken("word", single_word=True, normalized=False), AddedToken("<l>", lstrip=True, rstrip=True, normalized=False)])
    wrong += compare_characters("single words", library, program, folder, characters, lambda c: c + "word" + c)
    wrong += compare_characters("stripped", library, program, folder, characters, lambda c: c + "<l>" + c)
    print("every character: %d checks, %d wrong" % (len(steps) + 2, wrong), flush=True)
    return wrong == 0


def splits(program, folder, strings):
    """Where each published expression cuts: seen in ids, since a space is put before every piece."""
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    every = "".join(chr(c) for c in range(0x32400) if not 0xD800 <= c < 0xE000)  # the last planes have no letters
    around = ["a%s1", " %s\n", "%s\u0301A"]
    texts = strings + ["|".join(form % c for c in every[at:at + 256]) for at in range(0, len(every), 256) for form in around]
    expressions = {"gpt2": [GPT2], "llama3": [LLAMA3], "qwen2": [QWEN2], "qwen35": [QWEN35], "tekken": [TEKKEN], "o200k": [O200K], "cl100k": [CL100K],
                   "deepseek": DEEPSEEK}
    wrong = 0
    for name, regexes in expressions.items():
        library = Tokenizer(models.BPE(alphabet, []))
        library.pre_tokenizer = pre_tokenizers.Sequence([split(x) for x in regexes] + [pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)])
        library.decoder = decoders.ByteLevel()
        path = os.path.join(folder, "splits.json")
        library.save(path)
        compare = Compare("splits of " + name, library, Ours(program, path))
        for text in texts:
            compare.text(text, skip_decode=True)
        wrong += compare.wrong
    print("splits of %d expressions in %d texts: %d wrong" % (len(expressions), len(texts), wrong), flush=True)
    return wrong == 0


def compare_characters(label, library, program, folder, characters, around):
    path = os.path.join(folder, "characters.json")
    library.save(path)
    ours = Ours(program, path)
    different = []
    for at in range(0, len(characters), 512):
        few = characters[at:at + 512]
        text = "\n".join(around(c) for c in few)
        if library.encode(text, add_special_tokens=False).ids == ours.encode(text)[0]:
            continue
        different += [c for c in few if library.encode(around(c), add_special_tokens=False).ids != ours.encode(around(c))[0]] or few[:1]
    ours.process.stdin.close()
    ours.process.wait()
    if different:
        print("  %s: %d characters differ: %s" % (label, len(different), " ".join("%04X" % ord(c) for c in different[:30])))
    return len(different)


# ---- files that somebody changed ----

STRINGS_OF_FILES = (["NFC", "Prepend", "Replace", "Sequence", "Split", "ByteLevel", "Metaspace", "Digits", "Fuse", "Strip", "ByteFallback", "BPE", "A", "B",
                     "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous", "always", "first", "never", "1.0", "", " ", "▁", "a", "e\u0301",
                     "<unk>", "<s>", "the", "<0x41>", "Ġ", "Ġt", "t h", "e", "[a-z]+", r"\p{L}+|\p{N}", r"\s", r"[^\s]", "(?i:a)", "x|", "^a", "a$", "[\r\n]+"])
PARTS = ["normalizer", "pre_tokenizer", "post_processor", "decoder"]


def places_in(value, out, parent=None, key=None):
    if parent is not None:
        out.append((parent, key))
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in inside:
        if k in ("truncation", "padding", "pair", "tokens"):  # not looked into: nothing comes of them here
            continue
        # of a vocabulary or its merges a few stand for all
        if not (isinstance(value, (dict, list)) and len(value) > 40 and random_place.random() > 4 / len(value)):
            places_in(v, out, value, k)
    return out


random_place = random.Random(5)


def change_file(file, others, rng):
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.25:
            part = rng.choice(PARTS)
            file[part] = json.loads(json.dumps(rng.choice(others)[part]))
            continue
        parent, key = rng.choice(places_in(file, []))
        value, what = parent[key], rng.random()
        if what < 0.1:
            del parent[key]
        elif what < 0.15:
            parent[key] = rng.choice([None, [], {}, 0, "", True])
        elif isinstance(value, bool):
            parent[key] = not value
        elif isinstance(value, int):
            parent[key] = rng.choice([value + 1, max(0, value - 1), 0, 300, -1])
        elif isinstance(value, list) and value:
            i, k = rng.randrange(len(value)), rng.randrange(len(value))
            value[i], value[k] = value[k], value[i]
            if what < 0.5:
                value.insert(i, json.loads(json.dumps(value[k])))
            elif what < 0.6:
                del value[i]
        elif isinstance(value, dict) and what < 0.5:
            value[rng.choice(STRINGS_OF_FILES)] = rng.choice([1, "x", None, len(value)])
        else:
            parent[key] = rng.choice(STRINGS_OF_FILES)
    return file


def changed_files(program, folder):
    """What we read, the library reads too, and to the same end. What it alone reads is counted by our message."""
    cases = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cases", "tokenizer")
    names = sorted(glob.glob(os.path.join(cases, "*.json")))
    files = [json.load(open(name)) for name in names]
    rng, path = random.Random(3), os.path.join(folder, "changed.json")
    ours = Ours(program, names[0])
    texts = CASE_TEXTS + [nasty(rng) for _ in range(20)]
    equal = both_refuse = wrong = 0
    messages = {}
    for _ in range(MUTANTS):
        file = change_file(json.loads(json.dumps(rng.choice(files))), files, rng)
        with open(path, "w") as out:
            json.dump(file, out)
        refused = ours.read(path)
        try:
            library, why = Tokenizer.from_file(path), None
        except BaseException as e:  # the library panics at some
            library, why = None, e
        if refused is not None:
            both_refuse += library is None
            if library is not None:
                message = refused.split(".json: ", 1)[-1]
                kind = " ".join(w for w in message.split() if w.isalpha())
                messages.setdefault(kind, [0, message])[0] += 1
            continue
        compare = Compare("changed", library, ours)
        if library is None:
            compare.differs("acceptance (%s)" % why, json.dumps(file)[:200], None, None)
        else:
            for text in texts:
                try:
                    compare.text(text)
                except BaseException as e:
                    if not type(e).__name__ == "PanicException":
                        raise
        if compare.wrong:
            wrong += 1
            os.replace(path, os.path.join(folder, "changed-%d.json" % wrong))
        else:
            equal += 1
    print("changed files: %d equal, %d refused by both, %d wrong; refused here alone:" % (equal, both_refuse, wrong))
    for count, message in sorted(messages.values(), reverse=True)[:40]:
        print("  %6d  %.120s" % (count, message))
    return wrong == 0


def keys_of(value, path=()):
    for key in value if isinstance(value, dict) else range(min(3, len(value))) if isinstance(value, list) else ():
        yield path + (key,)
        if key != "vocab":
            yield from keys_of(value[key], path + (key,))


def every_key(program, folder):
    """Every key of the small tokenizers in turn gone, null and of another type: what the library refuses is refused."""
    cases = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cases", "tokenizer")
    names, path = sorted(glob.glob(os.path.join(cases, "*.json"))), os.path.join(folder, "key.json")
    ours, files, wrong = Ours(program, names[0]), 0, 0
    for name in names:
        text = open(name).read()
        for keys in keys_of(json.loads(text)):
            for value in ("absent", None, 0, True, "x", [], {}):
                file = json.loads(text)
                at = file
                for key in keys[:-1]:
                    at = at[key]
                if value == "absent":
                    del at[keys[-1]]
                else:
                    at[keys[-1]] = value
                with open(path, "w") as out:
                    json.dump(file, out)
                files += 1
                if ours.read(path) is not None:
                    continue
                try:
                    Tokenizer.from_file(path)
                except BaseException as why:
                    wrong += 1
                    print("  %s: %s = %r is read here; the library: %s" % (os.path.basename(name), keys, value, why))
    print("every key gone or another: %d files, %d wrong" % (files, wrong))
    return wrong == 0


CASE_TEXTS = ["", "a", " ", "Hello world", "  two  spaces ", "the theme of the thing", "naïve café", "e\u0301toile", "x\u0323\u0307y", "line\nline\r\n\r\n  end\n",
              "12 1234 ½ x²", "it's THEY'LL we'Re", "👩‍👩‍👧 👍🏽", "日本語のテキスト", "\u1100\u1161\u11a8", "\u180e\u00a0\u3000x", "<|endoftext|>", "a<|im_start|>user\nb<|im_end|>",
              "<s>x</s>", " <pad>  word wordy sword word", "<bos>▁▁x▁the\n\n\n", "[INST] hi [/INST]", "<tool>the", "def f(x):\n\treturn x  # no\n", "\u0000\u0001\u007f",
              "\ufffd\U0010ffff", "\U000105c0\u0897\u1c89", "\u0344\u0958\u1ec7", "q\u0315\u0345\u0334\u0323", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
              "Привет мир", "مرحبا", "ABCdef.GHI/jkl//\n", "xxxx ab 0099", "...---!!!", "   ", "\n", "\t\t x"]


def write_cases(folder):
    """The library's own word on each kind: NAME.json, and NAME.expected, a list of texts, ids, ranges in bytes and decoded texts."""
    texts = ["the theme of the thing then there that this other them\n", "Hello world, hello the world of words 12 34\n", "def return x y z # it's they'll\n",
             "naïve café étoile été\n", "line line  two  spaces   three\n", "ABC def GHI jkl\n"] * 20
    os.makedirs(folder, exist_ok=True)
    for name, make in KINDS.items():
        if name in ("qwen35", "o200k"):  # differ from others in their expressions alone
            continue
        library = make(texts)
        library.save(os.path.join(folder, name + ".json"), pretty=False)
        rows = []
        for text in CASE_TEXTS:
            made, places = library.encode(text, add_special_tokens=False), byte_places(text)
            rows.append({"text": text, "ids": made.ids, "ranges": [[places[a], places[b]] for a, b in made.offsets],
                         "decoded": library.decode(made.ids, skip_special_tokens=False), "without_special": library.decode(made.ids)})
        with open(os.path.join(folder, name + ".expected"), "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return 0


def main():
    if SMALL:
        return write_cases(sys.argv[2])
    program, folder, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(1)
    texts = corpus(rng)
    strings = [nasty(rng) for _ in range(STRINGS)]
    published = installed_files(folder)
    wanted = os.environ.get("REMAT_TOKENIZERS", " ".join(["characters", "splits", "changed"] + list(KINDS) + list(published))).split()
    fine = every_character(program, folder) if "characters" in wanted else True
    if "splits" in wanted:
        fine &= splits(program, folder, strings)
    if "changed" in wanted:
        fine &= every_key(program, folder) & changed_files(program, folder)
    slow = []
    for name in list(KINDS) + list(published):
        if name not in wanted:
            continue
        path = os.path.join(folder, name + ".json")
        if not os.path.exists(path):
            made = KINDS[name](texts) if name in KINDS else published[name]()
            made.save(path)
        files.append(path)
    for path in files:
        path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
        name = os.path.basename(path)[:-5]
        equal, fast = run(name, Tokenizer.from_file(path), program, path, texts, strings)
        fine &= equal
        slow += [] if fast else [name]
    print("all equal" if fine else "NOT equal", "; slower than the library: %s" % ", ".join(slow) if slow else "; none slower than the library")
    return 0 if fine and not slow else 1


if __name__ == "__main__":
    sys.exit(main())
