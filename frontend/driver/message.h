/* What rematc says beside its results: errors, hints and warnings that are not about a place in the source
 * (those are diag.h's). Lines on stderr, with whatever could steer a terminal spelled out
 * (runtime/printable.h); under `--diagnostics json` each is an object instead. Where --json asked for an
 * answer that programs read, an error is that answer too, one object on stdout:
 *
 *     {"error": {"exit": 2, "message": "plan has no option '--budgt'", "help": ["did you mean '--budget'?"]}}
 *
 * The JSON is valid whatever bytes a name has: those that are no UTF-8 are read as Latin-1. */
#ifndef REMAT_MESSAGE_H
#define REMAT_MESSAGE_H

#include "frontend/language/diag.h"
#include "frontend/driver/options.h"

/* "rematc: ..."; returns `code`, the one to leave with. At most one failure is reported in a run. */
int message_fail(const Options *options, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same line for an answer that is in JSON on stdout already. */
void message_error(const Options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As message_fail, with a line "help: ..." under it; `help` may be NULL. */
int message_fail_help(const Options *options, int code, const char *help, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "path:line:column: error: ...", for files that are no .remat; a line or column of 0 is left out. */
int message_fail_at(const Options *options, int code, const char *path, uint32_t line, uint32_t column,
                    const char *format, ...) __attribute__((format(printf, 6, 7)));
/* What is wrong in the source: the diagnostics on stderr, coloured where a terminal reads them. */
void message_diagnostics(const Options *options, const Diag *diag);
/* The same, and the answer to --json; returns `code`, or EXIT_USAGE in place of EXIT_SOURCE where an option
 * is what is wrong. */
int message_fail_source(const Options *options, int code, const Diag *diag);

/* Further lines on stderr: "rematc: warning: ...", "note: ...", "help: ...". */
void message_warn(const Options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
void message_note(const Options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
void message_help(const Options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lines of results that go to stderr, because standard output has others. */
void message_text(const Text *text);

#endif
