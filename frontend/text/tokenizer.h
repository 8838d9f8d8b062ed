/* Text to token ids and back, as the tokenizers library does it with the same tokenizer.json.
 *
 * In: a published model's tokenizer.json, and tokenizer_config.json beside it. What they ask for is done or
 * refused by name; nothing is passed over. Out: ids, and for each the bytes of the text it stands for.
 *
 *     text --added tokens--> pieces --normalise--> --pre-tokenize--> words --BPE--> ids
 *
 * Text is valid UTF-8, which is what the library takes: anything else is refused with the place of the first
 * wrong byte, never mended. NUL is a character like another. */
#ifndef REMAT_TOKENIZER_H
#define REMAT_TOKENIZER_H

#include "ir/base.h"

typedef struct Tokenizer Tokenizer;

/* `path`: a folder that tokenizer.json lies in, or such a file (then tokenizer_config.json is looked for
 * beside it). NULL: `*error` says which file cannot be read, is wrong or asks for what is not supported, and
 * where in it ("DIR/tokenizer.json: model.type 'Unigram' is not supported"). Lives as long as `arena`;
 * regular expressions that were compiled to machine code are given back by tokenizer_close. */
Tokenizer *tokenizer_read(Arena *arena, const char *path, const char **error);
void tokenizer_close(Tokenizer *tokenizer); /* NULL is none */

/* One token: its id, and the bytes [begin, end) of the text that it came from. They are whole characters: two
 * tokens that share one have both all of it, and a token that stands for nothing of the text is empty. The
 * ranges are the library's `offsets`, in bytes. */
typedef struct Token {
    uint32_t id, begin, end;
} Token;

typedef struct Encoding {
    const Token *token; /* the tokenizer's own, until its next text */
    uint32_t count;
    /* Characters that Unicode 16 has not, which is what the library knows: letters of later versions among
     * them, which tables here may know and cut at other places. How many, and the first of them. */
    uint32_t newer, newer_character;
    const char *error; /* why there is none: not UTF-8, or a limit; in the tokenizer's memory as well */
} Encoding;

enum { TOKENIZER_LONGEST_TEXT = 256 << 20 }; /* bytes of one text */

/* As `encode(text, add_special_tokens=False)`: added tokens, special ones too, are recognised in the text;
 * nothing is put around it, and it is neither cut nor padded where the file has `truncation` or `padding`.
 * Memory is kept for the next text: it grows with the longest, not with their number. False: `out->error`. */
bool tokenizer_encode(Tokenizer *tokenizer, const char *text, size_t length, Encoding *out);

/* The last place in the first bytes of a text, `length` of them, at which all of it may be cut so that the
 * two parts have the tokens of the whole, whatever comes behind: before an added token, since every text
 * between two of these is looked at alone. 0: there is none. `valid`: so many of the bytes are UTF-8. */
size_t tokenizer_cut(Tokenizer *tokenizer, const char *text, size_t length, size_t *valid);

/* What `add_special_tokens=True` puts before and behind one text: the beginning-of-text of Llama, say. */
typedef struct TokenizerFrame {
    const uint32_t *before, *behind;
    uint32_t befores, behinds;
} TokenizerFrame;
TokenizerFrame tokenizer_frame(const Tokenizer *tokenizer);

/* Appends the bytes of the text that the ids stand for, as `decode` does, but as they are where they are no
 * UTF-8 (the library puts U+FFFD there). False where an id is none of the vocabulary's: that far is appended.
 */
bool tokenizer_decode(const Tokenizer *tokenizer, const uint32_t *id, size_t count, bool skip_special,
                      Text *out);
/* The bytes of one token in the middle of a text; "" and 0 for an id that no token has. At the start of a
 * text `decode` leaves out the first space where tokenizer_drops_first_space says so. */
const char *tokenizer_bytes(const Tokenizer *tokenizer, uint32_t id, size_t *length);
bool tokenizer_drops_first_space(const Tokenizer *tokenizer);

/* One more than the largest id, added tokens included. There may be ids between that no token has. */
uint32_t tokenizer_size(const Tokenizer *tokenizer);
bool tokenizer_has(const Tokenizer *tokenizer, uint32_t id);
bool tokenizer_is_special(const Tokenizer *tokenizer, uint32_t id);
/* The id of the token that is written so in tokenizer.json ("<|im_end|>"); NONE. */
uint32_t tokenizer_id(const Tokenizer *tokenizer, const char *token);
/* The token that tokenizer_config.json calls "bos_token", "eos_token", "pad_token" or "unk_token"; NONE where
 * it names none. */
uint32_t tokenizer_named(const Tokenizer *tokenizer, const char *role);

/* Over all that decides what a text becomes: both files as far as they are used, the version of these rules
 * and of the Unicode tables they rest on. */
uint64_t tokenizer_fingerprint(const Tokenizer *tokenizer);

#endif
