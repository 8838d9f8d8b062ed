/* The inside of a tokenizer: what tokenizer_read makes of the files, what encoding and decoding walk through.
 * Each section names the file that has its functions. */
#ifndef REMAT_TOKENIZER_PARTS_H
#define REMAT_TOKENIZER_PARTS_H

#include "frontend/text/tokenizer.h"

typedef struct Bytes {
    const char *at;
    uint32_t length;
} Bytes;

/* ---- tokenizer_unicode.c: characters as the library classes them ---- */
bool unicode_is_space(uint32_t c);   /* White_Space, 25 characters */
bool unicode_is_numeric(uint32_t c); /* Nd, Nl, No */
bool unicode_is_word(uint32_t c);    /* \w of the library's added tokens */
/* The character to match in the place of one that is too young for some tables; `c` for all others. */
uint32_t unicode_stand_in(uint32_t c);
bool unicode_is_newer(uint32_t c); /* than the library's tables */
/* The character that begins at `at`, in text that is valid, and its bytes. */
uint32_t unicode_read(const char *at, uint32_t *size);
uint32_t unicode_write(uint32_t c, char at[4]); /* returns the bytes */

/* ---- tokenizer_nfc.c: composition ---- */
typedef struct Composed {
    uint32_t character;
    int32_t change; /* 1: stands beside the one before it; -n: takes the place of 1 + n characters */
} Composed;
typedef struct Nfc Nfc;
Nfc *nfc_new(Arena *arena);
bool nfc_leaves(const Nfc *nfc, const char *text, size_t length); /* as it is */
/* Composes the characters of `text`; the result is the Nfc's own until its next text. */
const Composed *nfc_compose(Nfc *nfc, const char *text, size_t length, uint32_t *count);

/* ---- tokenizer_regex.c: the library's regular expressions, matched by PCRE2 ---- */
typedef struct Regex Regex;
/* NULL: `*error` says what in it is not supported, or what PCRE2 says. */
Regex *regex_new(Arena *arena, const char *pattern, size_t length, const char **error);
void regex_free(Regex *regex);
typedef enum RegexFound { REGEX_MATCH, REGEX_NONE, REGEX_LIMIT } RegexFound;
/* The next match at or after `from`. The text is valid; matches are never empty. */
RegexFound regex_find(Regex *regex, const char *text, size_t length, size_t from, size_t *begin, size_t *end);
const char *regex_version(Arena *arena); /* of PCRE2 and its Unicode tables */

/* ---- tokenizer_lookup.c: strings of bytes to numbers, pairs to merges ---- */
typedef struct LookupSlot {
    Bytes key;
    uint32_t value; /* NONE: empty */
} LookupSlot;
typedef struct Lookup {
    LookupSlot *slot;
    uint32_t mask, count;
} Lookup;
void lookup_init(Arena *arena, Lookup *lookup, size_t most);
void lookup_set(Lookup *lookup, Bytes key, uint32_t value);               /* keeps the key's address */
uint32_t lookup_get(const Lookup *lookup, const char *at, size_t length); /* NONE */
uint64_t lookup_hash(const char *at, size_t length);

typedef struct Merge {
    uint32_t left, right, rank, id; /* left NONE: empty */
} Merge;
typedef struct Merges {
    Merge *slot;
    uint32_t mask;
} Merges;
void merges_init(Arena *arena, Merges *merges, size_t most);
void merges_set(Merges *merges, Merge merge); /* of a pair that is there: the last one stays */
const Merge *merges_get(const Merges *merges, uint32_t left, uint32_t right); /* NULL */

/* ---- tokenizer_bpe.c: a word to tokens ---- */
enum { CHARACTER_PAGES = 0x110000 >> 8 };
typedef struct Model {
    bool byte_level; /* characters of the vocabulary stand for bytes */
    bool fuse_unk, ignore_merges, byte_fallback;
    uint32_t unk;                         /* NONE */
    uint32_t byte[256];                   /* byte_level: the token of a byte; else of "<0xHH>" */
    uint32_t *character[CHARACTER_PAGES]; /* else: tokens of one character, 256 a page */
    Merges merges;
    Lookup whole; /* ignore_merges: tokens by their text */
    /* No token has U+2581 behind another character: words begin there, whatever the pre-tokenizer says. */
    bool words_at_metaspace;
} Model;
typedef struct Part {
    uint32_t id, length; /* bytes of the word */
} Part;
typedef struct Bpe Bpe; /* what is kept between words: those seen, room for symbols */
Bpe *bpe_new(Arena *arena);
/* The tokens of one word; the Bpe's own until the next. */
const Part *bpe_word(Bpe *bpe, const Model *model, const char *word, uint32_t length, uint32_t *count);

/* ---- tokenizer_added.c: tokens that are found before anything else ---- */
typedef struct Added {
    Bytes content; /* as it is written in the file */
    Bytes sought;  /* what is looked for: normalised where `normalized` */
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} Added;
typedef struct Trie Trie;
Trie *trie_new(Arena *arena);
bool trie_add(Arena *arena, Trie *trie, Bytes key, uint32_t value); /* false: empty, or there already */
typedef struct Found {
    uint32_t begin, end, added; /* added NONE: text between */
} Found;
typedef VEC(Found) Founds;
/* Cuts the text at the tokens that `trie` has: indices of `added`. */
void added_find(Arena *arena, const Trie *trie, const Added *added, const char *text, uint32_t length,
                Founds *out);

/* ---- tokenizer_split.c: normalisers and pre-tokenizers ---- */
typedef enum StepKind {
    STEP_NFC,
    STEP_PREPEND,    /* content */
    STEP_REPLACE,    /* pattern or regex, by content */
    STEP_SPLIT,      /* at pattern or regex */
    STEP_DIGITS,     /* at digits */
    STEP_METASPACE,  /* pattern for " ", before a piece by `prepend`, and a cut before it */
    STEP_BYTE_LEVEL, /* a space before a piece; regex NULL: no cut */
} StepKind;
typedef enum SplitBehavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} SplitBehavior;
typedef enum PrependScheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } PrependScheme;
typedef struct Step {
    StepKind kind;
    Bytes pattern, content;
    Regex *regex;
    SplitBehavior behavior;
    PrependScheme prepend;
    bool invert, cut;
} Step;

/* A stretch of the text on its way: bytes of the buffer, or a token already. */
typedef struct Piece {
    uint32_t begin, end;        /* in the buffer's text */
    uint32_t id;                /* NONE: still text */
    uint32_t from, to;          /* a token's: in the original text */
    uint32_t leading, trailing; /* a token's: white space at its ends, in characters */
} Piece;
/* The text as it is now, and for each byte the bytes of the original that it came from. */
typedef struct Buffer {
    VEC(char) text;
    VEC(uint32_t) from;
    VEC(uint32_t) to;
} Buffer;
typedef VEC(Piece) Pieces;
typedef struct Course {
    Arena *arena;
    const char *original;
    uint32_t length;
    const char *text; /* the original, or that of the buffer in use */
    Buffer buffer[2];
    const Buffer *aligned; /* NULL: the text is the original */
    Pieces pieces, next;
    VEC(Found) cuts;
    Founds found;
    Nfc *nfc;
    bool stands_in;     /* some of its characters are too young for tables */
    VEC(char) stood_in; /* a piece as a regular expression sees it then */
    bool limit;         /* a regular expression or a normaliser went beyond what it may take */
} Course;
void course_begin(Course *course, const char *text, uint32_t length);
void course_step(Course *course, const Step *step); /* every piece that is still text */
void course_added(Course *course, const Trie *trie, const Added *added);
/* The original bytes of [begin, end) of the text, whole characters. */
void course_origin(const Course *course, uint32_t begin, uint32_t end, uint32_t *from, uint32_t *to);

/* ---- tokenizer_decode.c ---- */
typedef enum DropKind { DROP_NOTHING, DROP_SPACE, DROP_METASPACE } DropKind;
typedef struct Decoder {
    bool byte_level, byte_fallback;
    VEC(Step) replace; /* STEP_REPLACE, in order */
    Bytes metaspace;   /* length 0: none */
    DropKind drop;     /* at the start of a text */
} Decoder;
uint32_t byte_of_character(uint32_t c); /* of a byte-level vocabulary; NONE */
/* The bytes that such a token stands for; `out` has room for as many as the token has. False: for none. */
bool bytes_of_token(Bytes token, char *out, uint32_t *length);
uint32_t byte_of_fallback(Bytes token); /* of "<0xHH>"; NONE */
/* What the decoder makes of one token's text. */
void decode_token(const Decoder *decoder, Bytes token, bool first, Text *out);

/* ---- all of it ---- */
typedef VEC(Step) Steps;
typedef struct TokenText {
    Bytes written;         /* as the library keeps it; at NULL: no such token */
    Bytes middle;          /* decoded in the middle of a text */
    Bytes first;           /* and at its start */
    bool special, skipped; /* `skip_special_tokens` skips it, which is not the same where it is normalised */
} TokenText;
struct Tokenizer {
    Arena *arena;
    Model model;
    Bpe *bpe;
    Steps normalizer, pre_tokenizer;
    Decoder decoder;
    VEC(Added) added;
    Trie *raw, *normalized; /* NULL: none */
    VEC(TokenText) token;   /* by id */
    Lookup by_text;
    VEC(uint32_t) before, behind;
    bool trims, trims_prefix; /* the post-processor takes white space out of ranges */
    VEC(Regex *) regexes;
    struct {
        const char *name;
        uint32_t id;
    } role[4];
    uint64_t fingerprint;
    bool stands_in; /* a normaliser brings characters that tables may not know */
    Course course;
    VEC(Token) out;
    char error[160];
};

/* ---- tokenizer_steps.c, tokenizer_vocab.c: parts of tokenizer.json ---- */
struct Node; /* tokenizer_json.h */
bool read_normalizer(Tokenizer *tokenizer, struct Node node);
bool read_pre_tokenizer(Tokenizer *tokenizer, struct Node node);
bool read_decoder(Tokenizer *tokenizer, struct Node node);
bool read_post_processor(Tokenizer *tokenizer, struct Node node); /* after the vocabulary */
bool read_model(Tokenizer *tokenizer, struct Node node);          /* after the pre-tokenizer */
bool read_added_tokens(Tokenizer *tokenizer, struct Node node);   /* after the model and the normaliser */

#endif
