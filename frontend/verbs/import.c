/* See import.h. What is a name here, a folder of the hub's cache say, is decided here; what is in the file by
 * frontend/import. */
#include "frontend/verbs/import.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/import/import.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

static bool ends_in(const char *text, const char *tail) {
    size_t length = strlen(text), behind = strlen(tail);
    return length >= behind && !strcmp(text + length - behind, tail);
}

/* Whether the verb's file is a model and not a spec. `fmt` writes its file: it takes none. */
static bool is_model(const Options *options) {
    if (options->verb == VERB_IMPORT) return true;
    if (options->verb == VERB_FMT || !strcmp(options->file, "-")) return false;
    return ends_in(options->file, ".json") || is_folder(options->file);
}

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* What the model in a folder is called: as the folder, or, in a cache of the hub, where it is
 * models--ORGANISATION--NAME/snapshots/REVISION, as the model there. */
static const char *model_name(const char *folder, Arena *arena) {
    char *real = realpath(folder, NULL);
    char *path = arena_strdup(arena, real ? real : folder);
    free(real);
    const char *name = arena_strdup(arena, base_of(path));
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (!slash) return name;
        *slash = 0;
        if (up == 0 && strcmp(base_of(path), "snapshots")) return name;
    }
    const char *cached = base_of(path);
    if (strncmp(cached, "models--", 8)) return name;
    for (const char *at; (at = strstr(cached, "--"));) cached = at + 2;
    return cached;
}

/* The configuration's path, and the folder it lies in (NULL: it comes from standard input). */
static const char *config_of(const char *file, Arena *arena, const char **folder) {
    size_t end = strlen(file);
    *folder = NULL;
    if (!strcmp(file, "-")) return file;
    bool whole = is_folder(file);
    if (!whole) end = (size_t)(base_of(file) - file);
    while (end > 1 && file[end - 1] == '/') end--;
    *folder = end ? arena_strndup(arena, file, end) : ".";
    if (!whole) return file;
    return arena_printf(arena, "%s/config.json", strcmp(*folder, "/") ? *folder : "");
}

static void warn_all(const Options *options, const char *path, const Import *made) {
    for (uint32_t i = 0; i < made->warning.count; i++)
        message_warn(options, "'%s': %s", path, made->warning.at[i]);
}

int import_if_folder(const Options *options, Arena *arena, const char **text, size_t *length) {
    *text = NULL;
    if (!is_model(options)) return -1;
    const char *folder, *path = config_of(options->file, arena, &folder);
    char *json = read_file_head(arena, path, IMPORT_LARGEST_BYTES + 1, length);
    if (!json) return message_fail(options, EXIT_IO, "cannot read '%s': %s", path, strerror(errno));
    Import made;
    const char *name = folder ? model_name(folder, arena) : "model";
    if (!import_config(json, *length, name, folder, arena, &made)) {
        message_fail_at(options, EXIT_SOURCE, path, made.line, made.column, "%s", made.error);
        if (made.help) message_help(options, "%s", made.help);
        return EXIT_SOURCE;
    }
    warn_all(options, path, &made);
    *text = made.text;
    *length = made.length;
    return -1;
}

/* -1 where the spec may be written: not over the configuration, and over nothing that was there unless that
 * is asked for, since it may have been edited. Else the exit code after a message. */
static int output_is_free(const Options *options, Arena *arena) {
    if (!options->output || !strcmp(options->output, "-")) return -1;
    Options read = *options;
    const char *folder;
    read.file = config_of(options->file, arena, &folder);
    int code = output_not_input(&read);
    if (code >= 0 || options->force || access(options->output, F_OK)) return code;
    return message_fail_help(options, EXIT_IO, "--force replaces it", "'%s' is there already",
                             options->output);
}

int import_write(Compilation *c) {
    const Options *options = c->options;
    int code = output_is_free(options, c->arena);
    if (code < 0) code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    Text text = {.arena = c->arena};
    fmt_print(c->ast, &text);
    if (!options->output || !strcmp(options->output, "-")) return output_print(options, &text);
    code = output_write(options, options->output, &text);
    if (code != EXIT_FINE) return code;
    Text out = {.arena = c->arena};
    text_add_printable(&out, options->output, "");
    text_add(&out, ": %s, %" PRId64 " parameters\n", c->spec.model, graph_parameters(c->forward));
    return output_print(options, &out);
}
