"""Writes documents with a loss mask for a trainer that rematc made: data { train "chat.docs" documents }.

    encode = tokenizers.Tokenizer.from_file("tokenizer.json").encode
    pairs = [("What is 2 + 2?", "4"), ("And 3 + 3?", "6")]
    write_documents("chat.docs", completions(pairs, lambda text: encode(text).ids, end=2))
"""
import struct, zlib


def completions(pairs, encode, end):
    """Prompts with their answers: the loss is on the answer and the end token alone."""
    for prompt, answer in pairs:
        asked, said = encode(prompt), encode(answer) + [end]
        yield [(token, 0) for token in asked] + [(token, 1) for token in said]


def write_documents(path, documents):
    """A document is a list of (token, 1 where it counts as a target or 0)."""
    starts, tokens, mask = [], [], bytearray()
    for document in documents:
        starts.append(len(tokens))
        tokens += [token for token, _ in document]
        mask += bytes(counts for _, counts in document)
    body = struct.pack(f"<{len(starts)}Q{len(tokens)}I", *starts, *tokens) + mask
    head = struct.pack("<8sIIQQ", b"rematdoc", 1, 4, len(starts), len(tokens))
    crc = zlib.crc32(head + bytes(32) + body)
    with open(path, "wb") as file:
        file.write(head + struct.pack("<I28x", crc) + body)
