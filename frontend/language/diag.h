/* Messages about the user's file: errors and warnings with a caret range, notes and help lines, kept in a
 * sink and printed at the end in source order, at most 20, as text or as JSON lines. What names hold that
 * could steer a terminal is spelled out in both.
 *
 *     llama3.remat:30:14: error: linear: input width 4096 does not match weight [D, F] [E0312]
 *       return x + linear(h, [D, F], "mlp.down_proj")
 *                  ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
 *     note: input 'h' has shape [B, T, D]
 *
 * Spans are byte offsets; lines and columns (in characters) are computed only when printing. Settings of the
 * command line are appended to the text, so that a span can lie in them too:
 *
 *     rematc: error: dimension 'B' is 0, must be 1 to 2^40 [E0320]
 *     --set B=0
 *             ^
 */
#ifndef REMAT_DIAG_H
#define REMAT_DIAG_H

#include "ir/graph.h"

/* One row a code in codes.def: CODE(E0312, "short title", "explanation with an example"); W for warnings. */
typedef enum Code {
#define CODE(code, title, text) code,
#include "frontend/language/codes.def"
#undef CODE
    CODE_COUNT
} Code;
extern const char *const code_name[CODE_COUNT]; /* "E0312" */
extern const char *const code_title[CODE_COUNT];
extern const char *const code_text[CODE_COUNT];
/* "E0312"; also "e0312" and, where no other code has that number, "312". CODE_COUNT when there is none. */
Code code_find(const char *name);

enum { DIAG_MAX_ERRORS = 20 };
#define NO_SPAN ((Span){0, 0})

typedef struct Diag Diag;
/* `text` must outlive the sink; `path` is printed as given. */
Diag *diag_new(Arena *arena, const char *path, const char *text, size_t length);
/* Appends an option as the user typed it, "--set B=0", to be pointed at; returns where it begins. The text
 * moves: diag_text is the new one, the file's in front. */
uint32_t diag_add_option(Diag *diag, const char *typed);
const char *diag_text(const Diag *diag);

/* Starts an error. A second one with the same code at the same place is dropped, and so are the notes
 * and help lines that follow it. NO_SPAN: the message names the file but no line. */
void diag_error(Diag *diag, Code code, Span span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same, but nothing that keeps the file from being compiled. */
void diag_warning(Diag *diag, Code code, Span span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Add to the latest error or warning. A note with NO_SPAN is the bare line "note: ...". */
void diag_note(Diag *diag, Span span, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_help(Diag *diag, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The candidate that differs from `name` (of two letters or more) by case alone, else the nearest within edit
 * distance max(1, length/3), else NULL. */
const char *diag_nearest(const char *name, const char *const *candidates, uint32_t count);
/* The same, and when there is one adds "help: did you mean 'candidate'?" to the latest error. */
const char *diag_suggest(Diag *diag, const char *name, const char *const *candidates, uint32_t count);

uint32_t diag_errors(const Diag *diag); /* how many so far, those beyond 20 included */
uint32_t diag_warnings(const Diag *diag);
/* Whether an error lies in an option and not in the file. */
bool diag_option_wrong(const Diag *diag);

/* What was shown is not printed again; the array below always has everything. */
void diag_mark_shown(Diag *diag);
void diag_print(const Diag *diag, Text *out, bool colour);
/* One object a line:
 * {"file":..,"line":..,"column":..,"end_line":..,"end_column":..,"severity":"error" or "warning","code":..,
 * "message":..,"notes":[{"message":..,"line":..}],"help":[..]}; no "line" where there is no place; "option":
 * "--set B=0" with columns in it instead of "file" and lines where that is the place. */
void diag_print_json(const Diag *diag, Text *out);
/* The same objects as one array, those already shown too. */
void diag_print_json_list(const Diag *diag, Text *out);

#endif
