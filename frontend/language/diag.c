/* See diag.h. In: errors with byte spans, in any order. Out: text or JSON in source order.
 * Invariant: every stored error has its notes and help lines in the order they were added. */
#include "frontend/language/diag.h"

#include "runtime/printable.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CODE(code, title, text) #code,
const char *const code_name[CODE_COUNT] = {
#include "frontend/language/codes.def"
};
#undef CODE
#define CODE(code, title, text) title,
const char *const code_title[CODE_COUNT] = {
#include "frontend/language/codes.def"
};
#undef CODE
#define CODE(code, title, text) text,
const char *const code_text[CODE_COUNT] = {
#include "frontend/language/codes.def"
};
#undef CODE

Code code_find(const char *name) {
    Code found = CODE_COUNT;
    for (int i = 0; i < CODE_COUNT; i++) {
        if (!strcasecmp(code_name[i], name)) return (Code)i;
        const char *digits = code_name[i] + 1;
        if (strcmp(digits, name) && (*digits != '0' || strcmp(digits + 1, name))) continue;
        if (found != CODE_COUNT) return CODE_COUNT;
        found = (Code)i;
    }
    return found;
}

typedef enum RemarkKind { REMARK_NOTE, REMARK_HELP } RemarkKind;
typedef struct Remark {
    RemarkKind kind;
    Span span;
    const char *message;
} Remark;

typedef struct Error {
    Code code;
    bool warning, shown;
    Span span;
    const char *message;
    VEC(Remark) remark;
} Error;

struct Diag {
    Arena *arena;
    const char *path, *text; /* the file, then a line for each option */
    size_t length, whole;    /* of the file; with the options */
    VEC(Error) error;
    uint32_t reported, warnings; /* errors beyond those stored included */
    bool dropped;                /* the latest error was not stored: neither are its remarks */
};

Diag *diag_new(Arena *arena, const char *path, const char *text, size_t length) {
    Diag *diag = NEW(arena, Diag);
    *diag = (Diag){.arena = arena, .path = path, .text = text, .length = length, .whole = length};
    return diag;
}

uint32_t diag_add_option(Diag *diag, const char *typed) {
    size_t more = strlen(typed), begin = diag->whole + 1;
    char *text = arena_alloc(diag->arena, begin + more + 1);
    memcpy(text, diag->text, diag->whole);
    text[diag->whole] = '\n';
    memcpy(text + begin, typed, more);
    diag->text = text;
    diag->whole = begin + more;
    return (uint32_t)begin;
}

const char *diag_text(const Diag *diag) {
    return diag->text;
}

static bool in_option(const Diag *diag, Span span) {
    return span.beg > diag->length && span.beg <= diag->whole;
}

bool diag_option_wrong(const Diag *diag) {
    for (uint32_t i = 0; i < diag->error.count; i++)
        if (!diag->error.at[i].warning && in_option(diag, diag->error.at[i].span)) return true;
    return false;
}

uint32_t diag_errors(const Diag *diag) {
    return diag->reported;
}

uint32_t diag_warnings(const Diag *diag) {
    return diag->warnings;
}

static void report(Diag *diag, bool warning, Code code, Span span, const char *message) {
    diag->dropped = true;
    for (uint32_t i = 0; i < diag->error.count; i++) {
        const Error *error = &diag->error.at[i];
        bool same_place = error->span.beg == span.beg && error->span.end == span.end;
        if (error->code == code && same_place && (span.end || !strcmp(error->message, message))) return;
    }
    *(warning ? &diag->warnings : &diag->reported) += 1;
    if (diag->error.count == DIAG_MAX_ERRORS) return;
    diag->dropped = false;
    Error *error = vec_add(diag->arena, &diag->error);
    *error = (Error){.code = code, .warning = warning, .span = span, .message = message};
}

void diag_error(Diag *diag, Code code, Span span, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(diag, false, code, span, arena_vprintf(diag->arena, format, args));
    va_end(args);
}

void diag_warning(Diag *diag, Code code, Span span, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(diag, true, code, span, arena_vprintf(diag->arena, format, args));
    va_end(args);
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
    remark(diag, REMARK_NOTE, span, arena_vprintf(diag->arena, format, args));
    va_end(args);
}

void diag_help(Diag *diag, const char *format, ...) {
    va_list args;
    va_start(args, format);
    remark(diag, REMARK_HELP, NO_SPAN, arena_vprintf(diag->arena, format, args));
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
    for (uint32_t i = 0; i < count; i++)
        if (name[0] && name[1] && !strcasecmp(name, candidates[i]) && strcmp(name, candidates[i]))
            return candidates[i]; /* `v` and `V` are different things */
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
    bool option = offset > diag->length;
    size_t end = option ? diag->whole : diag->length, at = offset < end ? offset : end;
    Place place = {.line = 1, .column = 1, .beg = option ? diag->length + 1 : 0};
    if (place.beg > at) place.beg = at;
    for (size_t i = place.beg; i < at; i++)
        if (diag->text[i] == '\n') place.line++, place.beg = i + 1;
    const char *newline = memchr(diag->text + place.beg, '\n', end - place.beg);
    place.end = newline ? (size_t)(newline - diag->text) : end;
    if (place.end > place.beg && diag->text[place.end - 1] == '\r') place.end--;
    for (size_t i = place.beg; i < at; i++) place.column += !continuation_byte(diag->text[i]);
    return place;
}

static bool has_place(Span span) {
    return span.beg || span.end;
}

/* Cells a character takes on a terminal: combining marks none, East Asian wide ones two. */
static int cells(unsigned code) {
    if ((code >= 0x300 && code < 0x370) || code == 0x200c || code == 0x200d) return 0;
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
        unsigned code = 0;
        char shown[16];
        size_t size = printable_decode(text + i, end - i, &code), taken = size ? size : 1;
        size_t bytes = printable(shown, sizeof shown, text + i, taken, "\t");
        int width =
            bytes > taken ? (int)bytes : cells(code); /* an escape is longer than what it stands for */
        text_add_n(out, shown, bytes);
        if (i < from) {
            if (code == '\t')
                text_add(&under, "\t");
            else
                text_add(&under, "%*s", width, "");
        } else if (i < upto) {
            for (int k = 0; k < width; k++, started = true) text_add(&under, started ? "~" : "^");
        }
        i += taken;
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

/* In order of place, ended by NULL; with `all`, those already shown too. */
static const Error **sorted(const Diag *diag, bool all, Arena *arena) {
    const Error **order = NEW_ARRAY(arena, const Error *, diag->error.count + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < diag->error.count; i++)
        if (all || !diag->error.at[i].shown) order[count++] = &diag->error.at[i];
    if (count) qsort(order, count, sizeof *order, by_place);
    return order;
}

void diag_mark_shown(Diag *diag) {
    for (uint32_t i = 0; i < diag->error.count; i++) diag->error.at[i].shown = true;
}

/* "path:3:7:", "path:" without a place, and "rematc:" where that is an option. */
static void print_place(const Diag *diag, Span span, Text *out) {
    if (in_option(diag, span)) {
        text_add(out, "rematc:");
        return;
    }
    text_add_printable(out, diag->path, "");
    text_add(out, ":");
    if (!has_place(span)) return;
    Place place = place_of(diag, span.beg);
    text_add(out, "%u:%u:", place.line, place.column);
}

static void print_remark(const Diag *diag, const Remark *remark, Text *out, bool colour) {
    const char *bold = colour ? "\033[1m" : "", *blue = colour ? "\033[36m" : "",
               *off = colour ? "\033[0m" : "";
    if (has_place(remark->span)) {
        text_add(out, "%s", bold);
        print_place(diag, remark->span, out);
        text_add(out, "%s ", off);
    }
    text_add(out, "%s%s:%s ", blue, remark->kind == REMARK_NOTE ? "note" : "help", off);
    text_add_printable(out, remark->message, "\n");
    text_add(out, "\n");
    if (has_place(remark->span)) print_line(diag, remark->span, out, blue, off);
}

void diag_print(const Diag *diag, Text *out, bool colour) {
    const char *bold = colour ? "\033[1m" : "", *off = colour ? "\033[0m" : "";
    uint32_t errors = 0;
    bool in_file = false;
    for (const Error **at = sorted(diag, false, out->arena); *at; at++) {
        const Error *error = *at;
        in_file |= !error->warning && has_place(error->span) && !in_option(diag, error->span);
        const char *bright = !colour ? "" : error->warning ? "\033[1;35m" : "\033[1;31m";
        errors += !error->warning;
        text_add(out, "%s", bold);
        print_place(diag, error->span, out);
        text_add(out, "%s %s%s:%s %s", off, bright, error->warning ? "warning" : "error", off, bold);
        text_add_printable(out, error->message, "\n");
        text_add(out, "%s [%s]\n", off, code_name[error->code]);
        if (has_place(error->span)) print_line(diag, error->span, out, bright, off);
        for (uint32_t k = 0; k < error->remark.count; k++)
            print_remark(diag, &error->remark.at[k], out, colour);
    }
    if (diag->reported > errors) {
        text_add_printable(out, diag->path, "");
        text_add(out, ": %u more errors not shown\n", diag->reported - errors);
    }
    if (in_file && diag->whole > diag->length) { /* what is wrong there may come from here */
        text_add(out, "note: the file is read with ");
        char *options = arena_strdup(out->arena, diag->text + diag->length + 1);
        for (char *at = options; *at; at++)
            if (*at == '\n') *at = ' ';
        text_add_printable(out, options, "");
        text_add(out, "\n");
    }
}

static void json_place(const Diag *diag, Span span, Text *out) {
    if (!has_place(span)) return;
    Place beg = place_of(diag, span.beg), end = place_of(diag, span.end > span.beg ? span.end : span.beg);
    if (in_option(diag, span)) {
        text_add(out, ",\"option\":");
        text_add_json(out, arena_strndup(out->arena, diag->text + beg.beg, beg.end - beg.beg));
        text_add(out, ",\"column\":%u,\"end_column\":%u", beg.column, end.column);
        return;
    }
    text_add(out, ",\"line\":%u,\"column\":%u,\"end_line\":%u,\"end_column\":%u", beg.line, beg.column,
             end.line, end.column);
}

static void error_json(const Diag *diag, const Error *error, Text *out) {
    text_add(out, "{\"file\":");
    text_add_json(out, diag->path);
    json_place(diag, error->span, out);
    text_add(out, ",\"severity\":\"%s\",\"code\":\"%s\",\"message\":", error->warning ? "warning" : "error",
             code_name[error->code]);
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
    for (const Error **at = sorted(diag, false, out->arena); *at; at++) {
        error_json(diag, *at, out);
        text_add(out, "\n");
    }
}

void diag_print_json_list(const Diag *diag, Text *out) {
    text_add(out, "[");
    const Error **first = sorted(diag, true, out->arena);
    for (const Error **at = first; *at; at++) {
        text_add(out, at > first ? ",\n " : "");
        error_json(diag, *at, out);
    }
    text_add(out, "]");
}
