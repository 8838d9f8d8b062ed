/* See message.h. Everything is formatted whole first, then escaped, then written with one call. */
#include "frontend/driver/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the text came from and how it is introduced. */
typedef struct Message {
    const char *severity; /* "error", "warning", "note", "help" */
    int code;             /* the exit code of an error */
    const char *path;     /* NULL: the message is about the command, not about a file */
    uint32_t line, column;
    const char *help; /* NULL: none */
} Message;

static void add_args(Text *text, const char *format, va_list args) {
    const char *said = arena_vprintf(text->arena, format, args);
    text_add_n(text, said, strlen(said));
}

static void add_fields(const Message *message, const char *said, Text *out) {
    if (message->path) {
        text_add(out, "\"file\": ");
        text_add_json(out, message->path);
        text_add(out, ", ");
    }
    if (message->line) text_add(out, "\"line\": %u, ", message->line);
    if (message->column) text_add(out, "\"column\": %u, ", message->column);
    text_add(out, "\"message\": ");
    text_add_json(out, said);
    if (!message->help) return;
    text_add(out, ", \"help\": [");
    text_add_json(out, message->help);
    text_add(out, "]");
}

static void add_line(const Message *message, const char *said, Text *out) {
    bool error = message->severity[0] == 'e', remark = !error && message->severity[0] != 'w';
    if (message->path) {
        text_add_printable(out, message->path, "");
        if (message->line) text_add(out, ":%u", message->line);
        if (message->column) text_add(out, ":%u", message->column);
        text_add(out, ": error: ");
    } else {
        text_add(out, "%s", remark ? "" : "rematc: ");
        if (!error) text_add(out, "%s: ", message->severity);
    }
    text_add_printable(out, said, "");
    text_add(out, "\n");
    if (!message->help) return;
    text_add(out, "help: ");
    text_add_printable(out, message->help, "");
    text_add(out, "\n");
}

static bool in_json(const Options *options) {
    return options->diagnostics && !strcmp(options->diagnostics, "json");
}

static void say(const Options *options, const Message *message, const char *format, va_list args) {
    Arena *arena = arena_new();
    Text said = {.arena = arena}, line = {.arena = arena}, answer = {.arena = arena};
    add_args(&said, format, args);
    if (in_json(options)) {
        text_add(&line, "{\"severity\": \"%s\", ", message->severity);
        add_fields(message, said.at, &line);
        text_add(&line, "}\n");
    } else {
        add_line(message, said.at, &line);
    }
    fwrite(line.at, 1, line.length, stderr);
    if (options->json && message->code) {
        text_add(&answer, "{\"error\": {\"exit\": %d, ", message->code);
        add_fields(message, said.at, &answer);
        text_add(&answer, "}}\n");
        fwrite(answer.at, 1, answer.length, stdout);
        fflush(stdout);
    }
    arena_free(arena);
}

#define SAY(...)                                                                                             \
    do {                                                                                                     \
        va_list args;                                                                                        \
        va_start(args, format);                                                                              \
        say(options, &(Message){__VA_ARGS__}, format, args);                                                 \
        va_end(args);                                                                                        \
    } while (0)

int message_fail(const Options *options, int code, const char *format, ...) {
    SAY(.severity = "error", .code = code);
    return code;
}

int message_fail_help(const Options *options, int code, const char *help, const char *format, ...) {
    SAY(.severity = "error", .code = code, .help = help);
    return code;
}

int message_fail_at(const Options *options, int code, const char *path, uint32_t line, uint32_t column,
                    const char *format, ...) {
    SAY(.severity = "error", .code = code, .path = path, .line = line, .column = column);
    return code;
}

void message_error(const Options *options, const char *format, ...) {
    SAY(.severity = "error");
}

void message_warn(const Options *options, const char *format, ...) {
    SAY(.severity = "warning");
}

void message_note(const Options *options, const char *format, ...) {
    SAY(.severity = "note");
}

void message_help(const Options *options, const char *format, ...) {
    SAY(.severity = "help");
}

void message_diagnostics(const Options *options, const Diag *diag) {
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    text_add_n(&text, "", 0);
    if (in_json(options))
        diag_print_json(diag, &text);
    else
        diag_print(diag, &text, isatty(STDERR_FILENO) && !getenv("NO_COLOR"));
    fwrite(text.at, 1, text.length, stderr);
    arena_free(arena);
}

int message_fail_source(const Options *options, int code, const Diag *diag) {
    if (code == EXIT_SOURCE && diag_option_wrong(diag)) code = EXIT_USAGE;
    message_diagnostics(options, diag);
    if (!options->json) return code;
    Arena *arena = arena_new();
    Text answer = {.arena = arena};
    text_add(
        &answer, "{\"error\": {\"exit\": %d, \"message\": \"%u error%s in the %s\", \"diagnostics\": ", code,
        diag_errors(diag), diag_errors(diag) == 1 ? "" : "s", diag_option_wrong(diag) ? "options" : "source");
    diag_print_json_list(diag, &answer);
    text_add(&answer, "}}\n");
    fwrite(answer.at, 1, answer.length, stdout);
    fflush(stdout);
    arena_free(arena);
    return code;
}

void message_text(const Text *text) {
    Text shown = {.arena = text->arena};
    text_add_printable(&shown, text->at, "\n");
    fwrite(shown.at, 1, shown.length, stderr);
}
