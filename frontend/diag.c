/* See diag.h. In: errors with byte spans, in any order. Out: text or JSON in source order.
 * Invariant: every stored error has its notes and help lines in the order they were added. */
#include "diag.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define CODE(code, title, text) #code,
const char *const code_name[CODE_COUNT] = {
#include "codes.def"
};
#undef CODE
#define CODE(code, title, text) title,
const char *const code_title[CODE_COUNT] = {
#include "codes.def"
};
#undef CODE
#define CODE(code, title, text) text,
const char *const code_text[CODE_COUNT] = {
#include "codes.def"
};
#undef CODE

Code code_find(const char *name) {
    for (int i = 0; i < CODE_COUNT; i++) {
        const char *a = code_name[i], *b = name;
        while (*a && toupper((unsigned char)*b) == *a) a++, b++;
        if (!*a && !*b) return (Code)i;
    }
    return CODE_COUNT;
}

typedef enum RemarkKind { REMARK_NOTE, REMARK_HELP } RemarkKind;
typedef struct Remark {
    RemarkKind kind;
    Span span;
    const char *message;
} Remark;

typedef struct Error {
    Code code;
    Span span;
    const char *message;
    VEC(Remark) remark;
} Error;

struct Diag {
    Arena *arena;
    const char *path, *text;
    size_t length;
    VEC(Error) error;
    uint32_t reported;
    bool dropped; /* the latest error was not stored: neither are its remarks */
};

Diag *diag_new(Arena *arena, const char *path, const char *text, size_t length) {
    Diag *diag = NEW(arena, Diag);
    *diag = (Diag){.arena = arena, .path = path, .text = text, .length = length};
    return diag;
}

uint32_t diag_errors(const Diag *diag) {
    return diag->reported;
}

static const char *format_message(Arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) die("bad format '%s'", format);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void diag_error(Diag *diag, Code code, Span span, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *message = format_message(diag->arena, format, args);
    va_end(args);
    diag->dropped = true;
    for (uint32_t i = 0; i < diag->error.count; i++) {
        const Error *error = &diag->error.at[i];
        bool same_place = error->span.beg == span.beg && error->span.end == span.end;
        if (error->code == code && same_place && (span.end || !strcmp(error->message, message))) return;
    }
    diag->reported++;
    if (diag->error.count == DIAG_MAX_ERRORS) return;
    diag->dropped = false;
    Error *error = vec_add(diag->arena, &diag->error);
    error->code = code;
    error->span = span;
    error->message = message;
}

static void remark(Diag *diag, RemarkKind kind, Span span, const char *message) {
    if (diag->dropped) return;
    if (!diag->error.count) die("a note before any error: %s", message);
    Error *error = &diag->error.at[diag->error.count - 1];
    *vec_add(diag->arena, &error->remark) = (Remark){kind, span, message};
}

void diag_note(Diag *diag, Span span, const char *format, ...) {
    va_list args;
    va_start(args, format);
    remark(diag, REMARK_NOTE, span, format_message(diag->arena, format, args));
    va_end(args);
}

void diag_help(Diag *diag, const char *format, ...) {
    va_list args;
    va_start(args, format);
    remark(diag, REMARK_HELP, NO_SPAN, format_message(diag->arena, format, args));
    va_end(args);
}

/* ---- did you mean ---- */

/* Restricted edit distance (insert, delete, replace, swap neighbours) of names under 64 bytes; 99 for longer.
 */
static int edit_distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    int n = (int)strnlen(a, LONGEST), m = (int)strnlen(b, LONGEST);
    if (n == LONGEST || m == LONGEST) return 99;
    int row[3][LONGEST + 1];
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *above = row[(i + 2) % 3], *above2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && above2[j - 2] + 1 < best) best = above2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *diag_nearest(const char *name, const char *const *candidates, uint32_t count) {
    int limit = (int)strnlen(name, 64) / 3, best = 99;
    if (limit < 1) limit = 1;
    const char *nearest = NULL;
    for (uint32_t i = 0; i < count; i++) {
        int distance = edit_distance(name, candidates[i]);
        if (distance == 0 || distance > limit || distance >= best) continue;
        /* replacing every letter of a short name is not a misspelling of it */
        if (distance >= (int)strlen(candidates[i]) && distance >= (int)strlen(name)) continue;
        best = distance;
        nearest = candidates[i];
    }
    return nearest;
}

const char *diag_suggest(Diag *diag, const char *name, const char *const *candidates, uint32_t count) {
    const char *nearest = diag_nearest(name, candidates, count);
    if (nearest) diag_help(diag, "did you mean '%s'?", nearest);
    return nearest;
}

/* ---- places ---- */

typedef struct Place {
    uint32_t line, column; /* from 1; columns count characters */
    size_t beg, end;       /* the line's bytes, without its end-of-line */
} Place;

static bool continuation_byte(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

static Place place_of(const Diag *diag, uint32_t offset) {
    size_t at = offset < diag->length ? offset : diag->length;
    Place place = {.line = 1, .column = 1};
    for (size_t i = 0; i < at; i++)
        if (diag->text[i] == '\n') place.line++, place.beg = i + 1;
    const char *newline = memchr(diag->text + place.beg, '\n', diag->length - place.beg);
    place.end = newline ? (size_t)(newline - diag->text) : diag->length;
    if (place.end > place.beg && diag->text[place.end - 1] == '\r') place.end--;
    for (size_t i = place.beg; i < at; i++) place.column += !continuation_byte(diag->text[i]);
    return place;
}

static bool has_place(Span span) {
    return span.beg || span.end;
}

/* Decodes one UTF-8 character (a byte that is none counts as one character). */
static size_t decode(const char *at, const char *end, uint32_t *code) {
    unsigned char c = (unsigned char)*at;
    size_t size = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if ((size_t)(end - at) < size) size = 1;
    *code = size == 1 ? c : c & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) *code = *code << 6 | ((unsigned char)at[i] & 0x3f);
    return size;
}

/* Cells a character takes on a terminal: combining marks none, East Asian wide ones two. */
static int cells(uint32_t code) {
    if ((code >= 0x300 && code < 0x370) || (code >= 0x200b && code <= 0x200f) || code == 0xfeff) return 0;
    if ((code >= 0x1100 && code < 0x1160) || (code >= 0x2e80 && code < 0xa4d0) ||
        (code >= 0xac00 && code < 0xd7a4) || (code >= 0xf900 && code < 0xfb00) ||
        (code >= 0xfe30 && code < 0xfe70) || (code >= 0xff00 && code < 0xff61) ||
        (code >= 0x1f300 && code < 0x1fb00))
        return 2;
    return 1;
}

/* The source line and, under it, ^~~~ over the span; a very long line is cut around the span. */
static void print_line(const Diag *diag, Span span, Text *out, const char *caret_on, const char *caret_off) {
    enum { BEFORE = 80, WIDEST = 160 };
    Place place = place_of(diag, span.beg);
    size_t beg = place.beg, end = place.end, from = span.beg < end ? span.beg : end;
    size_t upto = span.end > from ? span.end : from + 1;
    if (end - beg > WIDEST && from - beg > BEFORE) beg = from - BEFORE;
    while (beg < from && continuation_byte(diag->text[beg])) beg++;
    if (end - beg > WIDEST) {
        end = beg + WIDEST;
        while (end > from + 1 && continuation_byte(diag->text[end])) end--;
    }
    if (upto > end) upto = end;
    const char *text = diag->text, *cut_left = beg > place.beg ? "..." : "";
    Text under = {.arena = out->arena};
    text_add(&under, "%*s", (int)strlen(cut_left), "");
    text_add(out, "%s", cut_left);
    bool started = false;
    for (size_t i = beg; i < end;) {
        uint32_t code;
        size_t size = decode(text + i, text + end, &code);
        bool control = code < 32 && code != '\t';
        if (control || code == 127 || (size == 1 && code >= 128))
            text_add(out, "?");
        else
            text_add_n(out, text + i, size);
        if (i < from) {
            if (code == '\t')
                text_add(&under, "\t");
            else
                text_add(&under, "%*s", cells(code), "");
        } else if (i < upto) {
            int width = control ? 1 : cells(code);
            for (int k = 0; k < width; k++, started = true) text_add(&under, started ? "~" : "^");
        }
        i += size;
    }
    if (!started) text_add(&under, "^");
    text_add(out, "%s\n", end < place.end ? "..." : "");
    size_t blank = strspn(under.at, " \t");
    text_add_n(out, under.at, blank);
    text_add(out, "%s%s%s\n", caret_on, under.at + blank, caret_off);
}

/* ---- printing ---- */

static int by_place(const void *left, const void *right) {
    const Error *const *a = left, *const *b = right;
    if ((*a)->span.beg != (*b)->span.beg) return (*a)->span.beg < (*b)->span.beg ? -1 : 1;
    return *a < *b ? -1 : *a > *b;
}

static const Error **sorted(const Diag *diag, Arena *arena) {
    const Error **order = NEW_ARRAY(arena, const Error *, diag->error.count + 1);
    for (uint32_t i = 0; i < diag->error.count; i++) order[i] = &diag->error.at[i];
    if (diag->error.count) qsort(order, diag->error.count, sizeof *order, by_place);
    return order;
}

static void print_remark(const Diag *diag, const Remark *remark, Text *out, bool colour) {
    const char *bold = colour ? "\033[1m" : "", *blue = colour ? "\033[36m" : "",
               *off = colour ? "\033[0m" : "";
    if (has_place(remark->span)) {
        Place place = place_of(diag, remark->span.beg);
        text_add(out, "%s%s:%u:%u:%s ", bold, diag->path, place.line, place.column, off);
    }
    text_add(out, "%s%s:%s %s\n", blue, remark->kind == REMARK_NOTE ? "note" : "help", off, remark->message);
    if (has_place(remark->span)) print_line(diag, remark->span, out, blue, off);
}

void diag_print(const Diag *diag, Text *out, bool colour) {
    const char *bold = colour ? "\033[1m" : "", *red = colour ? "\033[1;31m" : "",
               *off = colour ? "\033[0m" : "";
    const Error **order = sorted(diag, out->arena);
    for (uint32_t i = 0; i < diag->error.count; i++) {
        const Error *error = order[i];
        text_add(out, "%s%s:", bold, diag->path);
        if (has_place(error->span)) {
            Place place = place_of(diag, error->span.beg);
            text_add(out, "%u:%u:", place.line, place.column);
        }
        text_add(out, "%s %serror:%s %s%s%s [%s]\n", off, red, off, bold, error->message, off,
                 code_name[error->code]);
        if (has_place(error->span)) print_line(diag, error->span, out, red, off);
        for (uint32_t k = 0; k < error->remark.count; k++)
            print_remark(diag, &error->remark.at[k], out, colour);
    }
    if (diag->reported > diag->error.count)
        text_add(out, "%s: %u more errors not shown\n", diag->path, diag->reported - diag->error.count);
}

static void json_place(const Diag *diag, Span span, Text *out) {
    if (!has_place(span)) return;
    Place beg = place_of(diag, span.beg), end = place_of(diag, span.end > span.beg ? span.end : span.beg);
    text_add(out, ",\"line\":%u,\"column\":%u,\"end_line\":%u,\"end_column\":%u", beg.line, beg.column,
             end.line, end.column);
}

static void error_json(const Diag *diag, const Error *error, Text *out) {
    text_add(out, "{\"file\":");
    text_add_json(out, diag->path);
    json_place(diag, error->span, out);
    text_add(out, ",\"severity\":\"error\",\"code\":\"%s\",\"message\":", code_name[error->code]);
    text_add_json(out, error->message);
    for (int kind = REMARK_NOTE; kind <= REMARK_HELP; kind++) {
        text_add(out, kind == REMARK_NOTE ? ",\"notes\":[" : "],\"help\":[");
        const char *comma = "";
        for (uint32_t k = 0; k < error->remark.count; k++) {
            const Remark *remark = &error->remark.at[k];
            if ((int)remark->kind != kind) continue;
            text_add(out, "%s%s", comma, kind == REMARK_NOTE ? "{\"message\":" : "");
            text_add_json(out, remark->message);
            json_place(diag, remark->span, out);
            if (kind == REMARK_NOTE) text_add(out, "}");
            comma = ",";
        }
    }
    text_add(out, "]}");
}

void diag_print_json(const Diag *diag, Text *out) {
    const Error **order = sorted(diag, out->arena);
    for (uint32_t i = 0; i < diag->error.count; i++) {
        error_json(diag, order[i], out);
        text_add(out, "\n");
    }
}

void diag_print_json_list(const Diag *diag, Text *out) {
    const Error **order = sorted(diag, out->arena);
    text_add(out, "[");
    for (uint32_t i = 0; i < diag->error.count; i++) {
        text_add(out, i ? ",\n " : "");
        error_json(diag, order[i], out);
    }
    text_add(out, "]");
}
