"""What bitsandbytes makes of tensors that tests/unit/test_quantize.c makes too: the numbers of tests/unit/quantized.def.

    python3 quantized.py > quantized.def        (needs torch and bitsandbytes)

The oracle is bitsandbytes' portable implementation, which its CUDA kernels agree with. Its native library for CPUs
is left out: it looks 8-bit codes up on a grid of 65536 points, and takes another than the nearest for some.
"""
import ctypes
import os
import struct

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


print("/* Made by tests/campaign/quantized.py from bitsandbytes: change nothing by hand.")
print(" * MAP(is_signed, hash of 256 values)")
print(" * CODES(numbers, how many, bits of the offset, hashes: codes, scales, scale codes, group scales, and the elements")
print(" *     with scales in f32, with grouped scales, and these in bf16) */")
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
