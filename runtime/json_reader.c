/* See json_reader.h. */
#include "json_reader.h"

#include "printable.h"

#include <stdlib.h>
#include <math.h>
#include <string.h>

int reader_bad(JsonReader *reader, const char *what) {
    return rt_error(reader->error, "%s byte %lld: %s", reader->what, (long long)(reader->at - reader->start),
                    what);
}

int reader_utf8(JsonReader *reader) {
    char *begin = reader->at;
    while (reader->at < reader->end) {
        unsigned code;
        size_t size = printable_decode(reader->at, (size_t)(reader->end - reader->at), &code);
        if (!size) return reader_bad(reader, "this is not UTF-8");
        reader->at += size;
    }
    reader->at = begin;
    return 1;
}

static void skip_space(JsonReader *reader) {
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at) reader->at++;
}

static int peek(JsonReader *reader, char c) {
    skip_space(reader);
    return reader->at < reader->end && *reader->at == c;
}

int reader_accept(JsonReader *reader, char c) {
    if (!peek(reader, c)) return 0;
    reader->at++;
    return 1;
}

int reader_expect(JsonReader *reader, char c, const char *what) {
    return reader_accept(reader, c) || reader_bad(reader, what);
}

static int hex4(JsonReader *reader, unsigned *value) {
    if (reader->end - reader->at < 4) return reader_bad(reader, "cut short in an escape");
    *value = 0;
    for (int i = 0; i < 4; i++) {
        char c = *reader->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return reader_bad(reader, "an escape that is no number");
        *value = *value << 4 | (unsigned)digit;
    }
    return 1;
}

static char *put_utf8(char *to, unsigned code) {
    if (code && code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

static int read_escape(JsonReader *reader, char **to) {
    if (reader->at >= reader->end) return reader_bad(reader, "cut short in a string");
    char c = *reader->at++;
    const char *plain = "\"\\/bfnrt", *meaning = "\"\\/\b\f\n\r\t", *found = c ? strchr(plain, c) : NULL;
    if (found) {
        *(*to)++ = meaning[found - plain];
        return 1;
    }
    if (c != 'u') return reader_bad(reader, "an unknown escape");
    unsigned code = 0, low = 0;
    if (!hex4(reader, &code)) return 0;
    if (code >= 0xd800 && code < 0xdc00) {
        if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u')
            return reader_bad(reader, "half a surrogate pair");
        reader->at += 2;
        if (!hex4(reader, &low)) return 0;
        if (low < 0xdc00 || low > 0xdfff) return reader_bad(reader, "half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code <= 0xdfff) {
        return reader_bad(reader, "half a surrogate pair");
    }
    *to = put_utf8(*to, code);
    return 1;
}

/* An escape is never shorter than what it stands for, so the string is decoded where it stands. */
int reader_string(JsonReader *reader, const char **string) {
    if (!reader_expect(reader, '"', "a string should stand here")) return 0;
    char *to = reader->at;
    *string = to;
    while (reader->at < reader->end && *reader->at != '"') {
        unsigned char c = (unsigned char)*reader->at++;
        if (c < 0x20) return reader_bad(reader, "a control character in a string");
        if (c != '\\')
            *to++ = (char)c;
        else if (!read_escape(reader, &to))
            return 0;
    }
    if (reader->at >= reader->end) return reader_bad(reader, "cut short in a string");
    reader->at++;
    *to = 0;
    return 1;
}

int reader_whole(JsonReader *reader, uint64_t *value) {
    skip_space(reader);
    if (reader->at >= reader->end || *reader->at < '0' || *reader->at > '9')
        return reader_bad(reader, "a whole number should stand here");
    int leading_zero = *reader->at == '0';
    *value = 0;
    for (int digits = 0; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; digits++) {
        if (digits && leading_zero) return reader_bad(reader, "a number with a leading zero");
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *reader->at++ - '0', value))
            return reader_bad(reader, "a number that is too large");
    }
    return 1;
}

int reader_count(JsonReader *reader, int64_t *value) {
    uint64_t whole = 0;
    if (!reader_whole(reader, &whole)) return 0;
    *value = (int64_t)whole;
    return whole <= INT64_MAX || reader_bad(reader, "a number that is too large");
}

int reader_counts(JsonReader *reader, int64_t *value, int most, int *count) {
    *count = 0;
    if (!reader_expect(reader, '[', "a list should stand here")) return 0;
    if (reader_accept(reader, ']')) return 1;
    do {
        if (*count == most) return reader_bad(reader, "a list that is too long");
        if (!reader_count(reader, &value[(*count)++])) return 0;
    } while (reader_accept(reader, ','));
    return reader_expect(reader, ']', "a list should end here");
}

static int digits(JsonReader *reader) {
    const char *begin = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') reader->at++;
    return reader->at > begin;
}

static int sign(JsonReader *reader, const char *any) {
    int there = reader->at < reader->end && *reader->at && strchr(any, *reader->at);
    reader->at += there;
    return there;
}

static int accept_word(JsonReader *reader, const char *word) {
    skip_space(reader);
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) return 0;
    reader->at += length;
    return 1;
}

int reader_null(JsonReader *reader) {
    return accept_word(reader, "null");
}

/* One that is infinite as a double is none. */
static int skip_number(JsonReader *reader) {
    const char *begin = reader->at;
    sign(reader, "-");
    int good = (sign(reader, "0") || digits(reader)) && (!sign(reader, ".") || digits(reader));
    if (good && sign(reader, "eE")) {
        sign(reader, "+-");
        good = digits(reader);
    }
    return good && isfinite(strtod(begin, NULL));
}

int reader_number(JsonReader *reader, double *value) {
    skip_space(reader);
    const char *begin = reader->at;
    if (!skip_number(reader)) return reader_bad(reader, "a number should stand here");
    *value = strtod(begin, NULL);
    return 1;
}

/* A number, true, false or null. */
static int skip_word(JsonReader *reader) {
    return accept_word(reader, "true") || accept_word(reader, "false") || reader_null(reader) ||
           skip_number(reader) || reader_bad(reader, "a value should stand here");
}

static int skip_value(JsonReader *reader, int depth) {
    const char *text;
    int object = peek(reader, '{');
    if (peek(reader, '"')) return reader_string(reader, &text);
    if (!object && !peek(reader, '[')) return skip_word(reader);
    if (depth == JSON_DEEPEST) return reader_bad(reader, "nested too deeply");
    char close = object ? '}' : ']';
    reader->at++;
    if (reader_accept(reader, close)) return 1;
    do {
        if (object && (!reader_string(reader, &text) || !reader_expect(reader, ':', "':' should stand here")))
            return 0;
        if (!skip_value(reader, depth + 1)) return 0;
    } while (reader_accept(reader, ','));
    return reader_expect(reader, close, "a list or an object should end here");
}

int reader_skip(JsonReader *reader) {
    return skip_value(reader, 0);
}

int reader_end(JsonReader *reader) {
    skip_space(reader);
    return reader->at == reader->end ||
           rt_error(reader->error, "%s byte %lld: text after the %s's end", reader->what,
                    (long long)(reader->at - reader->start), reader->what);
}
