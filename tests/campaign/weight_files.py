"""Files of weights as our readers take them, against the libraries that define them: safetensors files, indexes of
shards and configurations, mutated a million times. A safetensors file is accepted exactly where the library accepts
it, an index where Python's json reads it and it names shards as it may, and no configuration that json refuses.

    python3 weight_files.py READERS CASES [ATTEMPTS]       (needs safetensors)

CASES/*.txt are cases by hand, which test_weight_files goes through: here their verdicts are held against the library.
READERS is tests/campaign/readers.c; built with REMAT_SANITIZE, it is watched while it reads.
"""
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys

import safetensors

BATCH, DEEPEST = 500, 125
DTYPES = ("BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E5M2FNUZ F8_E4M3FNUZ F8_E8M0 I16 U16 F16 BF16 I32 U32 F32 "
          "F64 C64 I64 U64").split()


class Readers:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, files):
        """One answer a file. The answers of a batch fit into the pipe, so that neither side waits for the other."""
        self.process.stdin.write(b"".join(kind + struct.pack("<I", len(file)) + file for file in files))
        self.process.stdin.flush()
        answers = self.process.stdout.read(len(files))
        if len(answers) != len(files):
            raise SystemExit(f"READERS ended with {self.process.wait()} at {kind} {files[len(answers)]!r}")
        return [answer == ord("y") for answer in answers]


# ---- what the libraries say ----

def library_accepts(file):
    try:
        safetensors.deserialize(file)
        return True
    except safetensors.SafetensorError:
        return False


def strict_json(text):
    def no_constant(name):
        raise ValueError(name)

    def pairs(items):
        items = [(key, value) for key, value in items]
        return Object(items)

    def finite(number):
        if math.isinf(float(number)):
            raise ValueError(number)

    return json.loads(text.decode("utf-8"), parse_constant=no_constant, parse_float=finite, parse_int=finite,
                      object_pairs_hook=pairs)


class Object(list):
    """Pairs of an object, repeated keys and all."""


def depth(value):
    if isinstance(value, Object):
        return 1 + max((depth(item) for _, item in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


SHARDS = {"1.safetensors": ["a"], "2.safetensors": ["b"]}


def index_is_sound(file):
    """{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}, and around it whatever JSON may hold."""
    try:
        index = strict_json(file)
    except (ValueError, RecursionError):
        return False
    if not isinstance(index, Object):
        return False
    if any(depth(value) > DEEPEST for key, value in index if key != "weight_map") or is_torn(index):
        return False
    maps = [value for key, value in index if key == "weight_map"]
    if len(maps) != 1 or not isinstance(maps[0], Object):
        return False
    names = [name for name, _ in maps[0]]
    if len(set(names)) != len(names) or not all(isinstance(shard, str) for _, shard in maps[0]):
        return False
    return all(name in SHARDS.get(shard, ()) for name, shard in maps[0]) and set(names) == {"a", "b"}


def is_torn(value):
    """Whether there is half a surrogate pair in it, which Python reads."""
    if isinstance(value, str):
        return any(0xD800 <= ord(c) < 0xE000 for c in value)
    if isinstance(value, Object):
        return any(is_torn(key) or is_torn(item) for key, item in value)
    return isinstance(value, list) and any(map(is_torn, value))


def json_reads(file):
    try:
        strict_json(file)
        return True
    except (ValueError, RecursionError):
        return False


# ---- files to begin with, and what is done to them ----

def of_header(header, data_bytes):
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


def random_header(rng):
    """A sound header, or nearly: now and then a number in it is another."""
    tensors, at = [], 0
    for i in range(rng.randrange(4)):
        dtype = rng.choice(DTYPES)
        bits = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8}.get(dtype) or 8 * {
            "8": 1, "6": 2, "2": 4, "4": 8}[re.sub(r"F8.*", "8", dtype)[-1]]
        shape = [rng.choice([0, 1, 2, 3, 4, 8]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 9]))]
        count = 1
        for dim in shape:
            count *= dim
        size = count * bits // 8 + (rng.random() < 0.03)
        tensors.append((rng.choice("abcdé") + rng.choice(["", ".weight", "\\n"]), dtype, shape, at, at + size))
        at += size
    rng.shuffle(tensors)
    items = [f'"{n}":{{"dtype":"{d}","shape":{json.dumps(s)},"data_offsets":[{b},{e}]}}' for n, d, s, b, e in tensors]
    if rng.random() < 0.4:
        items.insert(rng.randrange(len(items) + 1), '"__metadata__":' + rng.choice(
            ['{"format":"pt"}', "{}", "null", '{"a":"b","a":"c"}', '{"a":1}', '"x"', '{"\\u00e9":""}']))
    return ("{" + ",".join(items) + "}" + " " * rng.choice([0, 0, 0, 3])).encode(), at


TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"0", b"1", b"-1", b"-0", b"1.0", b"1e1", b"01", b"null",
          b"true", b"18446744073709551615", b"18446744073709551616", b"9223372036854775807", b"9223372036854775808", b" ",
          b"\n", b"\0", b"\x80", b"\xff", b"\xc3\xa9", b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u00e9",
          b'"dtype":"F32",', b'"shape":[],', b'"data_offsets":[0,0],', b'"x":{"y":[1,2,{}]},', b"[" * 70, b"{}", b"[]",
          b'"__metadata__":{},', b"\t", b"/", b"..", b'"1.safetensors"', b'"../1.safetensors"', b'"a"', b'"weight_map":{}']


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            del data[at:at + rng.choice([1, 1, 2, 8])]
        elif kind == 3:
            data[at:at + rng.choice([1, 2, 4])] = rng.choice(TOKENS)
        elif kind == 4:
            end = min(len(data), at + rng.randrange(1, 40))
            other = rng.randrange(len(data) + 1)
            data[other:other] = data[at:end]
        elif kind == 5:
            numbers = list(re.finditer(rb"\d+", bytes(data)))
            if numbers:
                number = rng.choice(numbers)
                data[number.start():number.end()] = str(max(0, int(number.group()[:18]) + rng.choice([-1, 1, 4, 8]))).encode()
        elif at < len(data):
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def header_file(rng):
    header, data_bytes = random_header(rng)
    fate = rng.random()
    if fate < 0.1:
        return of_header(header, data_bytes)
    if fate < 0.8:
        return of_header(mutate(rng, header), max(0, data_bytes + rng.choice([0, 0, 0, 0, 0, 0, -1, 1])))
    return mutate(rng, of_header(header, data_bytes))


INDEXES = [b'{"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}',
           b' {"weight_map": {"b": "2.safetensors", "a": "1.safetensors"}, "x": [1.5e3, true, {"y": null}]}\n']
CONFIGS = [b'{"model_type":"llama","vocab_size":64,"hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,'
           b'"num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":128,"rms_norm_eps":1e-5,'
           b'"rope_parameters":{"rope_type":"llama3","rope_theta":5e5,"factor":8.0,"low_freq_factor":1.0,'
           b'"high_freq_factor":4.0,"original_max_position_embeddings":64},"dtype":"bfloat16","hidden_act":"silu"}',
           b'{"model_type":"gpt2","vocab_size":64,"n_positions":32,"n_embd":32,"n_layer":2,"n_head":2,"n_inner":null}']


def index_file(rng):
    return mutate(rng, rng.choice(INDEXES))


def config_file(rng):
    return mutate(rng, rng.choice(CONFIGS))


# ---- all of it ----

def hold(readers, kind, what, files, oracle, exact):
    """How many are accepted; every difference is shown."""
    accepted = wrong = 0
    for file, ours in zip(files, readers.ask(kind, files)):
        theirs = oracle(file)
        accepted += ours
        if ours != theirs and (exact or ours):
            wrong += 1
            print(f"{what}: {'accepted' if ours else 'refused'} here, not there: {file!r}", flush=True)
    return accepted, wrong


def by_hand(readers, cases):
    """CASES/*.txt: lines of a verdict, a kind and what is in the file, spelled as in Python."""
    count = wrong = 0
    for path in sorted(cases.glob("*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            verdict, kind, data_bytes, text = line.split(" ", 3)
            text = text.encode("ascii").decode("unicode_escape").encode("latin-1")
            file = of_header(text, int(data_bytes)) if kind == "header" else text
            theirs = {"header": library_accepts, "file": library_accepts, "index": index_is_sound}[kind](file)
            ours, = readers.ask(b"i" if kind == "index" else b"s", [file])
            count += 1
            if not ours == theirs == (verdict == "accept"):
                wrong += 1
                print(f"{path}:{number}: accepted here {ours}, there {theirs}: {line}")
    print(f"{count} cases by hand, {wrong} wrong")
    return wrong


def main():
    readers, cases = Readers(sys.argv[1]), pathlib.Path(sys.argv[2])
    attempts = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    failed = by_hand(readers, cases)
    for kind, what, make, oracle, exact, share in (
            (b"s", "safetensors", header_file, library_accepts, True, 0.6),
            (b"i", "index", index_file, index_is_sound, True, 0.2),
            (b"c", "config", config_file, json_reads, False, 0.2)):
        rng = random.Random(what)
        left, accepted, wrong = round(attempts * share), 0, 0
        while left and wrong < 20:
            files = [make(rng) for _ in range(min(BATCH, left))]
            left -= len(files)
            more_accepted, more_wrong = hold(readers, kind, what, files, oracle, exact)
            accepted += more_accepted
            wrong += more_wrong
        print(f"{what}: {round(attempts * share) - left} files, {accepted} accepted, {wrong} wrong", flush=True)
        failed += wrong
    sys.exit(failed > 0)


main()
