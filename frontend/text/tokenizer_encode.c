/* See tokenizer.h: one text to tokens. */
#include "frontend/text/tokenizer_parts.h"

#include "runtime/printable.h"

#include <string.h>

static const char metaspace[] = "\xe2\x96\x81";

static bool fails(Tokenizer *tokenizer, Encoding *out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fails(Tokenizer *tokenizer, Encoding *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(tokenizer->error, sizeof tokenizer->error, format, args);
    va_end(args);
    out->error = tokenizer->error;
    return false;
}

/* Whether it is UTF-8, and whether it has characters that some tables do not know. */
static bool look_at(Tokenizer *tokenizer, const char *text, size_t length, Encoding *out) {
    uint64_t eight;
    for (size_t i = 0, size; i < length; i += size) {
        unsigned c;
        if ((unsigned char)text[i] < 0x80) {
            size = 1;
            while (i + size + sizeof eight <= length) {
                memcpy(&eight, text + i + size, sizeof eight);
                if (eight & 0x8080808080808080u) break;
                size += sizeof eight;
            }
            continue;
        }
        size = printable_decode(text + i, length - i, &c);
        if (!size) return fails(tokenizer, out, "byte %zu (0x%02x) is not UTF-8", i, (unsigned char)text[i]);
        tokenizer->course.young |= unicode_is_young(c);
        if (unicode_is_newer(c) && !out->newer++) out->newer_character = c;
    }
    return true;
}

size_t tokenizer_cut(Tokenizer *tokenizer, const char *text, size_t length, size_t *valid) {
    Course *course = &tokenizer->course;
    size_t cut = 0;
    uint32_t longest = 0;
    unsigned c;
    *valid = 0;
    for (size_t size; (size = printable_decode(text + *valid, length - *valid, &c)); *valid += size) {
    }
    if (length > TOKENIZER_LONGEST_TEXT || !tokenizer->raw) return 0;
    for (uint32_t i = 0; i < tokenizer->added.count; i++) {
        const Added *added = &tokenizer->added.at[i];
        if (added->single_word) return 0; /* looks at what is beside it, beyond a cut */
        if (!added->normalized && added->sought.length > longest) longest = added->sought.length;
    }
    course->found.count = 0;
    added_find(course->arena, tokenizer->raw, tokenizer->added.at, text, (uint32_t)*valid, &course->found);
    /* at the end, a longer token may begin where a shorter one is found */
    for (uint32_t i = 0; i < course->found.count && course->found.at[i].end + longest <= *valid; i++)
        if (course->found.at[i].added != NONE) cut = course->found.at[i].begin;
    return cut;
}

/* ---- ranges ---- */

static uint32_t forward(const Course *course, uint32_t at, uint32_t characters, uint32_t end) {
    uint32_t size;
    for (; characters && at < end; characters--) {
        unicode_read(course->original + at, &size);
        at += size;
    }
    return at < end ? at : end;
}

static uint32_t backward(const Course *course, uint32_t at, uint32_t characters, uint32_t end) {
    for (; characters && at > end; characters--) {
        at--;
        while (at && ((unsigned char)course->original[at] & 0xc0) == 0x80) at--;
    }
    return at > end ? at : end;
}

/* As the library's byte-level post-processor: white space at a token's ends is taken out of its range, but
 * not the one space that may have been put before the first. */
static Token trimmed(const Tokenizer *tokenizer, Token token, uint32_t leading, uint32_t trailing) {
    const Course *course = &tokenizer->course;
    bool first = !tokenizer->out.count || !token.begin;
    if (first && tokenizer->trims_prefix && leading == 1) leading = 0;
    token.begin = forward(course, token.begin, leading, token.end);
    token.end = backward(course, token.end, trailing, token.begin);
    return token;
}

static void add_token(Tokenizer *tokenizer, Token token, uint32_t leading, uint32_t trailing) {
    if (tokenizer->trims && (leading || trailing)) token = trimmed(tokenizer, token, leading, trailing);
    *vec_add(tokenizer->arena, &tokenizer->out) = token;
}

/* ---- words ---- */

static void add_word(Tokenizer *tokenizer, uint32_t begin, uint32_t end) {
    const Course *course = &tokenizer->course;
    uint32_t count;
    const Part *part = bpe_word(tokenizer->bpe, &tokenizer->model, course->text + begin, end - begin, &count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t leading = 0, trailing = 0, till = begin + part[i].length;
        Token token = {.id = part[i].id};
        course_origin(course, begin, till, &token.begin, &token.end);
        if (tokenizer->trims) {
            while (leading < part[i].length && course->text[begin + leading] == ' ') leading++;
            while (trailing < part[i].length && course->text[till - 1 - trailing] == ' ') trailing++;
        }
        add_token(tokenizer, token, leading, trailing);
        begin = till;
    }
}

/* A piece is a word, or more where no token goes beyond a metaspace's beginning: then they are shorter, and
 * those that were seen come again. */
static void add_piece(Tokenizer *tokenizer, const Piece *piece) {
    const char *text = tokenizer->course.text;
    const uint32_t width = sizeof metaspace - 1;
    uint32_t begin = piece->begin;
    if (tokenizer->model.words_at_metaspace) {
        for (uint32_t at = begin + 1; piece->end - begin > width && at + width <= piece->end; at++) {
            const char *next = memchr(text + at, (unsigned char)metaspace[0], piece->end - at);
            if (!next) break;
            at = (uint32_t)(next - text);
            bool starts = at + width <= piece->end && !memcmp(next, metaspace, width);
            bool follows = at - begin >= width && !memcmp(next - width, metaspace, width);
            if (!starts || follows) continue;
            add_word(tokenizer, begin, at);
            begin = at;
        }
    }
    if (begin < piece->end) add_word(tokenizer, begin, piece->end);
}

bool tokenizer_encode(Tokenizer *tokenizer, const char *text, size_t length, Encoding *out) {
    Course *course = &tokenizer->course;
    *out = (Encoding){0};
    tokenizer->out.count = 0;
    if (length > TOKENIZER_LONGEST_TEXT)
        return fails(tokenizer, out, "the text has more than %d MiB", TOKENIZER_LONGEST_TEXT >> 20);
    course->young = tokenizer->young;
    if (!look_at(tokenizer, text, length, out)) return false;
    course_begin(course, text, (uint32_t)length);
    if (tokenizer->raw) course_added(course, tokenizer->raw, tokenizer->added.at);
    for (uint32_t i = 0; i < tokenizer->normalizer.count && !course->limit; i++)
        course_step(course, &tokenizer->normalizer.at[i]);
    if (tokenizer->normalized && !course->limit)
        course_added(course, tokenizer->normalized, tokenizer->added.at);
    for (uint32_t i = 0; i < tokenizer->pre_tokenizer.count && !course->limit; i++)
        course_step(course, &tokenizer->pre_tokenizer.at[i]);
    if (course->limit)
        return fails(tokenizer, out,
                     "a regular expression of the tokenizer takes too long on it, or it grows "
                     "more than eightfold");
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        const Piece *piece = &course->pieces.at[i];
        if (piece->id == NONE)
            add_piece(tokenizer, piece);
        else
            add_token(tokenizer, (Token){piece->id, piece->from, piece->to}, piece->leading, piece->trailing);
    }
    out->token = tokenizer->out.at;
    out->count = tokenizer->out.count;
    return true;
}
