/* See published.h. What a name is, a folder of the hub's cache say, is decided here; what is in the file by
 * frontend/import. */
#include "frontend/driver/published.h"

#include "frontend/driver/message.h"
#include "frontend/import/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
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

const char *published_config(const char *file, Arena *arena, const char **folder) {
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

int published_spec(const Options *options, Arena *arena, const char **text, size_t *length) {
    *text = NULL;
    if (!is_model(options)) return -1;
    const char *folder, *path = published_config(options->file, arena, &folder);
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
