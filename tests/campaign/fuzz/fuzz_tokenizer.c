/* A tokenizer.json, a NUL byte and a text: the file is refused with a message, or every text of UTF-8 gets
 * tokens that lie in it and decode, or a message. */
#include "exits.h"
#include "folder.h"
#include "frontend/text/tokenizer.h"
#include "tokenizer_holds.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char *text;
static size_t length;

static void read_and_encode(void *arena) {
    const char *error;
    Tokenizer *tokenizer = tokenizer_read(arena, folder_file("tokenizer.json"), &error);
    MUST(tokenizer ? !error : error && error[0]);
    if (!tokenizer) return;
    TokenizerFrame frame = tokenizer_frame(tokenizer);
    for (uint32_t i = 0; i < frame.befores; i++) MUST(tokenizer_has(tokenizer, frame.before[i]));
    for (uint32_t i = 0; i < frame.behinds; i++) MUST(tokenizer_has(tokenizer, frame.behind[i]));
    encoding_holds(tokenizer, text, length);
    encoding_holds(tokenizer, "The 12 caf\xc3\xa9s\r\n  e\xcc\x81 <s>", 24);
    tokenizer_close(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const uint8_t *end = memchr(bytes, 0, count);
    size_t file = end ? (size_t)(end - bytes) : count;
    text = (const char *)bytes + file + (end != NULL);
    length = count - file - (end != NULL);
    folder_put("tokenizer.json", bytes, file);
    Arena *arena = arena_new();
    run_to_exit(read_and_encode, arena);
    arena_free(arena);
    return 0;
}
