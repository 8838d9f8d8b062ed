/* Which of the small tokenizers of tests/cases/tokenizer, and a text: tokens lie in it, come again the same,
 * and decode to the text where nothing is normalised. */
#include "exits.h"
#include "tokenizer_holds.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct {
    const char *name;
    bool exact; /* decodes to the text */
} kind[] = {{"gpt2", true},           {"llama3", true},   {"tekken", true},   {"cl100k", true},
            {"smollm", true},         {"qwen2", false},   {"deepseek", true}, {"gpt2_prefix", false},
            {"llama2", false},        {"mistral", false}, {"gemma", false},   {"metaspace", false},
            {"llama2_across", false}, {"unknown", false}};
static Tokenizer *tokenizer[COUNT_OF(kind)];

static const char *text;
static size_t length, which;

static void encode(void *arena) {
    Tokenizer *t = tokenizer[which];
    Encoding made;
    if (!encoding_holds(t, text, length)) return;
    MUST(tokenizer_encode(t, text, length, &made));
    uint32_t *id = NEW_ARRAY(arena, uint32_t, made.count + 1), count = made.count;
    for (uint32_t i = 0; i < count; i++) id[i] = made.token[i].id;
    MUST(tokenizer_encode(t, text, length, &made) && made.count == count);
    for (uint32_t i = 0; i < count; i++) MUST(id[i] == made.token[i].id);
    if (!kind[which].exact) return;
    Text decoded = {.arena = arena};
    MUST(tokenizer_decode(t, id, count, false, &decoded));
    MUST(decoded.length == length && (!length || !memcmp(decoded.at, text, length)));
}

static void read_all(void) {
    Arena *arena = arena_new();
    for (size_t i = 0; i < COUNT_OF(kind); i++) {
        const char *error;
        tokenizer[i] = tokenizer_read(
            arena, arena_printf(arena, "%s/%s.json", REMAT_TOKENIZER_CASES, kind[i].name), &error);
        MUST(tokenizer[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (!tokenizer[0]) read_all();
    if (!count) return 0;
    which = bytes[0] % COUNT_OF(kind);
    text = (const char *)bytes + 1;
    length = count - 1;
    Arena *arena = arena_new();
    encode(arena);
    arena_free(arena);
    return 0;
}
