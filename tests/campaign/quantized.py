"""What bitsandbytes makes of tensors that tests/unit/test_quantize.c makes too: the numbers of tests/unit/quantized.def.
And ten steps of its 8-bit AdamW on a million numbers beside those of our kernel.

    python3 quantized.py > quantized.def        (needs torch, triton and bitsandbytes)
    python3 quantized.py SOURCE_DIR libops_kernels_float.so

The oracle is bitsandbytes' portable implementation, which its CUDA kernels agree with. Its native library for CPUs
is left out: it looks 8-bit codes up on a grid of 65536 points, and takes another than the nearest for some.
"""
import ctypes
import os
import re
import struct
import sys

load_library = ctypes.cdll.LoadLibrary


def without_native(name, *more):
    if "bitsandbytes" in str(name):
        raise OSError("the portable implementation is wanted")
    return load_library(name, *more)


ctypes.cdll.LoadLibrary = without_native
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from bitsandbytes import functional

MASK = 2**64 - 1


def words(seed, count):
    """splitmix64: random_next of ir/base.h."""
    state = seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        yield z ^ z >> 31


def numbers(seed, count, bits):
    """(k / 2^(bits-1) - 1)^3 of `bits` random bits, rounded to f32 after each product; a block of zeros, one with a tie
    at every midpoint, and one of numbers below the smallest scale."""
    half = 2.0 ** (bits - 1)
    x = torch.tensor([(w >> (64 - bits)) / half - 1 for w in words(seed, count)], dtype=torch.float32)
    return x * x * x if bits > 12 else x


def special(seed):
    x = numbers(seed, 64 * 8, 24)
    code = functional.get_4bit_type("nf4", device="cpu")
    x[64:128] = 0
    x[128:192] = 0
    x[128] = 1
    x[129:144] = (code[:-1] + code[1:]) / 2
    x[192:256] *= 1e-39
    return x


def checksum(data):
    """hash_bytes of ir/base.h."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return f"UINT64_C(0x{h:016x})"


def bits(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def nf4(name, x, dtype):
    source = x.to(dtype)
    assert torch.equal(source.float(), x)
    codes, plain = functional.quantize_4bit(source, blocksize=64, quant_type="nf4")
    _, nested = functional.quantize_4bit(source, blocksize=64, quant_type="nf4", compress_statistics=True)
    nested.dtype = torch.float32
    values = functional.dequantize_4bit(codes, nested)
    nested.dtype = torch.bfloat16
    rounded = functional.dequantize_4bit(codes, nested)
    plain.dtype = torch.float32
    single = functional.dequantize_4bit(codes, plain)
    assert torch.equal(rounded, values.bfloat16())
    offset = struct.unpack("<I", struct.pack("<f", nested.offset.item()))[0]
    fields = [checksum(bits(t)) for t in (codes, plain.absmax, nested.absmax, nested.state2.absmax, single, values,
                                          rounded)]
    print(f"CODES({name}, {x.numel()}, 0x{offset:08x},\n    {', '.join(fields)})")


# ---- 8-bit AdamW ----

STEPS, RATE, BETAS, EPS, DECAY = 10, 0.01, (0.9, 0.999), 1e-8, 0.1


def gradient(step, count):
    """Of sizes from 1 to 1e-5 in one block."""
    g = numbers(step + 2, count, 24)
    return g * g * g


class Library:
    """bitsandbytes' reference of its 8-bit update, but for the decay: its CUDA kernel multiplies by it last."""

    def __init__(self, w):
        blocks = (w.numel() + 255) // 256
        self.w = w.clone()
        self.codes = [torch.zeros(w.numel(), dtype=torch.uint8) for _ in range(2)]
        self.scales = [torch.zeros(blocks) for _ in range(2)]
        self.maps = [functional.create_dynamic_map(signed=signed) for signed in (True, False)]

    def step(self, number, g):
        from bitsandbytes.backends.triton.kernels_optim import optimizer_update_8bit_blockwise_pytorch as update

        update(self.w, g, *self.codes, *BETAS, 0.0, 0.0, EPS, number + 1, RATE, *self.maps, *self.scales, 0.0, 1.0, False,
               optimizer_name="adam")
        self.w.mul_(1 - RATE * DECAY)


def adamw(count):
    library = Library(numbers(1, count, 24))
    for step in range(STEPS):
        library.step(step, gradient(step, count))
    for block in range(0, count, 256):
        end = min(block + 256, count)
        sums = [int(c[block:end].sum()) for c in library.codes]
        scales = [f"{s[block // 256].item():.9g}f" for s in library.scales]
        print(f"ADAMW({count}, {sums[0]}, {sums[1]}, {scales[0]}, {scales[1]}, "
              f"{library.w[block:end].double().sum().item():.12g})")


# ---- the kernel itself ----

def fields_of(header, name):
    """A structure's fields, which are numbers and pointers."""
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", re.sub(r"/\*.*?\*/", "", header, flags=re.S), re.S)[1]
    plain = {"size_t": ctypes.c_size_t, "int": ctypes.c_int, "uint64_t": ctypes.c_uint64, "int64_t": ctypes.c_int64,
             "float": ctypes.c_float, "double": ctypes.c_double}
    declared = re.findall(r"([\w ]+?)\s*(\*?)(\w+);", body)
    return [(field, ctypes.c_void_p if pointer else plain[kind.strip()]) for kind, pointer, field in declared]


def ours(source, path):
    """k_adamw8bit of the operation tests' module."""
    kernel = load_library(path).k_adamw8bit
    fields = re.findall(r"^ATTR_([FI])\((\w+)\)", open(f"{source}/kernels/attr.def").read(), re.M)
    types = re.findall(r"^(?:DTYPE|PACKED)\((\w+),", open(f"{source}/kernels/dtype.def").read(), re.M)

    class Tensor(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int),
                    ("dim", ctypes.c_int64 * 4), ("room", ctypes.c_int64)]

    class Attr(ctypes.Structure):
        _fields_ = [(name, ctypes.c_double if kind == "F" else ctypes.c_int64) for kind, name in fields]

    class Context(ctypes.Structure):
        _fields_ = fields_of(open(f"{source}/kernels/kernels.h").read(), "KCtx")

    def tensor(data, dtype, count):
        return Tensor(data.data_ptr(), types.index(dtype), 1, (ctypes.c_int64 * 4)(count))

    def step(number, g, w, m, v):
        count = w.numel()
        states = [tensor(w, "f32", count), tensor(m, "dynamic8", count), tensor(v, "udynamic8", count)]
        attr = Attr(beta1=BETAS[0], beta2=BETAS[1], eps=EPS, decay=DECAY)
        kernel(ctypes.byref(Context(step=number, learning_rate=RATE)), 3, (Tensor * 3)(*states), 4,
               (Tensor * 4)(tensor(g, "f32", count), *states), ctypes.byref(attr))

    return step


def compare(source, path):
    count, step = 1 << 20, ours(source, path)
    w = numbers(1, count, 24)
    library, m, v = Library(w), *(torch.zeros(count + count // 64, dtype=torch.uint8) for _ in range(2))
    worst = 0
    for number in range(STEPS):
        g = gradient(number, count)
        library.step(number, g)
        step(number, g, w, m, v)
    for name, got, want in (("m", m, library.codes[0]), ("v", v, library.codes[1])):
        apart = (got[:count].int() - want.int()).abs()
        share = (apart > 0).double().mean().item()
        print(f"{name}: {share:.2e} of {count} codes differ, by {apart.max().item()} at most")
        worst = max(worst, share / 1e-4, apart.max().item())
    apart = (w - library.w).abs().max().item()  # a code that is another moves its weight by a part of a step
    print(f"w: {apart:.2e} apart at most")
    sys.exit(not (worst <= 1 and apart <= STEPS * RATE / 10))


if len(sys.argv) == 3:
    compare(*sys.argv[1:])
print("/* Made by tests/campaign/quantized.py from bitsandbytes: change nothing by hand.")
print(" * MAP(is_signed, hash of 256 values)")
print(" * CODES(numbers, how many, bits of the offset, hashes: codes, scales, scale codes, group scales, and the elements")
print(" *     with scales in f32, with grouped scales, and these in bf16)")
print(" * ADAMW(elements, then of a block of 256 after ten steps: sums of m's and of v's codes, their scales, sum of the")
print(" *     weights) */")
for signed in (1, 0):
    print(f"MAP({signed}, {checksum(bits(functional.create_dynamic_map(signed=bool(signed))))})")
CASES = [("NUMBERS_24", numbers(1, 64 * 256 * 3 + 64 * 5, 24), torch.float32),
         ("NUMBERS_24", numbers(1, 65, 24), torch.float32),
         ("NUMBERS_24", numbers(1, 64 * 300 + 13, 24), torch.float32),
         ("NUMBERS_11", numbers(1, 64 * 260, 11), torch.float16),
         ("NUMBERS_8", numbers(1, 64 * 260, 8), torch.bfloat16),
         ("SPECIAL", special(1), torch.float32)]
for case in CASES:
    nf4(*case)
adamw(256 * 16 + 77)
