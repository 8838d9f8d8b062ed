/* What our tokenizer says of texts that a script makes. tokenize PATH reads tokenizer.json in (or at) PATH,
 * and answers records on standard input; all numbers are 4 bytes, little-endian.
 *
 *     e LENGTH BYTES   encode           -> status, COUNT, (id, begin, end)..., newer characters
 *     d COUNT IDS      decode           -> status, LENGTH, BYTES
 *     s COUNT IDS      decode, special tokens left out
 *     t LENGTH BYTES   encode once more, for the time alone -> status, microseconds
 *     f                what stands around a text -> befores, behinds, ids
 *
 * Status 0: done; 1: refused, with LENGTH, BYTES of the message behind it. A tokenizer that cannot be read
 * ends the program with its message and code 1. */
#include "frontend/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put(uint32_t number) {
    fwrite(&number, sizeof number, 1, stdout);
}

static void put_text(uint32_t status, const char *text, size_t length) {
    put(status);
    put((uint32_t)length);
    fwrite(text, 1, length, stdout);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void encode(Tokenizer *tokenizer, const char *text, size_t length, bool timed) {
    Encoding made;
    double begin = seconds();
    bool fine = tokenizer_encode(tokenizer, text, length, &made);
    double took = seconds() - begin;
    if (!fine) {
        put_text(1, made.error, strlen(made.error));
        return;
    }
    put(0);
    if (timed) {
        put((uint32_t)(1e6 * took));
        return;
    }
    put(made.count);
    fwrite(made.token, sizeof *made.token, made.count, stdout);
    put(made.newer);
}

static void decode(const Tokenizer *tokenizer, const uint32_t *id, size_t count, bool skip) {
    Arena *scratch = arena_new();
    Text text = {.arena = scratch};
    text_add_n(&text, "", 0);
    if (tokenizer_decode(tokenizer, id, count, skip, &text))
        put_text(0, text.at, text.length);
    else
        put_text(1, "no such token", 13);
    arena_free(scratch);
}

static void frame(const Tokenizer *tokenizer) {
    TokenizerFrame made = tokenizer_frame(tokenizer);
    put(made.befores);
    put(made.behinds);
    if (made.befores) fwrite(made.before, sizeof(uint32_t), made.befores, stdout);
    if (made.behinds) fwrite(made.behind, sizeof(uint32_t), made.behinds, stdout);
}

int main(int argc, char **argv) {
    Arena *arena = arena_new();
    const char *error = "usage: tokenize PATH";
    Tokenizer *tokenizer = argc == 2 ? tokenizer_read(arena, argv[1], &error) : NULL;
    if (!tokenizer) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    for (int kind; (kind = getchar()) != EOF; fflush(stdout)) {
        uint32_t count = 0;
        if (kind == 'f') {
            frame(tokenizer);
            continue;
        }
        size_t width = kind == 'd' || kind == 's' ? sizeof(uint32_t) : 1;
        if (!fread(&count, sizeof count, 1, stdin)) return 1;
        char *bytes = malloc(count ? count * width : 1); /* to the byte, which a sanitizer watches */
        if (!bytes || fread(bytes, width, count, stdin) != count) return 1;
        if (width == 1)
            encode(tokenizer, bytes, count, kind == 't');
        else
            decode(tokenizer, (const uint32_t *)(const void *)bytes, count, kind == 's');
        free(bytes);
    }
    tokenizer_close(tokenizer);
    arena_free(arena);
    return 0;
}
