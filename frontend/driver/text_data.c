/* See text_data.h. */
#define _GNU_SOURCE
#include "frontend/driver/text_data.h"

#include "frontend/driver/message.h"
#include "runtime/documents_format.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the cache folder ---- */

const char *text_data_folder(Arena *arena) {
    const char *own = getenv("REMAT_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) return arena_strdup(arena, own);
    if (cache && *cache == '/') return arena_printf(arena, "%s/remat", cache); /* others are to be ignored */
    return home && *home ? arena_printf(arena, "%s/.cache/remat", home) : NULL;
}

/* With the folders above it; false with errno. */
static bool make_folder(char *path) {
    for (char *at = path + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        const bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        *at = '/';
        if (!made) return false;
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

/* One process prepares at a time: who comes second finds the file there. -1 with errno. */
static int lock_folder(const char *folder, Arena *arena) {
    const int lock = open(arena_printf(arena, "%s/.lock", folder), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) return -1;
    while (flock(lock, LOCK_EX) != 0)
        if (errno != EINTR) {
            close(lock);
            return -1;
        }
    return lock;
}

static const char *name_in(const char *folder, const char *text, uint64_t encoding, uint64_t fingerprint,
                           Arena *arena) {
    const char *slash = strrchr(text, '/'), *name = slash ? slash + 1 : text;
    char *plain = arena_strdup(arena, name);
    plain[strnlen(plain, 100)] = 0;
    for (char *at = plain; *at; at++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at)) *at = '_';
    char *whole =
        arena_printf(arena, "%s/%s-%016" PRIx64 "-%016" PRIx64 ".docs", folder, plain, fingerprint, encoding);
    char *real = realpath(folder, NULL);
    if (real) {
        whole = arena_printf(arena, "%s%s", real, whole + strlen(folder));
        free(real);
    }
    return whole;
}

/* The checksum of a file, its own digits as zeros. */
static uint32_t file_checksum(FILE *file, Arena *arena) {
    enum { BLOCK = 1 << 20 };
    Crc *crc = NEW(arena, Crc);
    char *block = arena_alloc_raw(arena, BLOCK);
    bool first = true;
    crc_begin(crc);
    rewind(file);
    for (size_t count; (count = fread(block, 1, BLOCK, file)) > 0; first = false) {
        if (first) memset(block + DOCUMENTS_CHECKSUM_AT, 0, sizeof crc->value);
        crc_add(crc, block, (int64_t)count);
    }
    return crc_value(crc);
}

/* Is it there, and as it was written? Else it is made again. */
static bool is_there(const char *path, uint64_t encoding, uint64_t fingerprint) {
    unsigned char bytes[DOCUMENTS_HEADER_BYTES];
    DocumentsHead head;
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool sound = fread(bytes, sizeof bytes, 1, file) == 1 && fstat(fileno(file), &status) == 0 &&
                 documents_magic(bytes) && documents_get_head(bytes, &head) && head.encoding == encoding &&
                 head.text == fingerprint && documents_is_whole(&head, (uint64_t)status.st_size);
    if (sound) {
        Arena *arena = arena_new();
        sound = file_checksum(file, arena) == head.checksum;
        arena_free(arena);
    }
    fclose(file);
    return sound;
}

/* ---- what the spec names ---- */

/* The files of a pattern, or the one that is called so, as a trainer finds them. */
static int find_texts(const Compilation *c, const char *path, const char *const **out, uint32_t *count) {
    glob_t found = {0};
    const char **all;
    if (access(path, F_OK) == 0 || !strpbrk(path, "*?[")) {
        all = NEW_ARRAY(c->arena, const char *, 1);
        all[0] = path;
        *count = 1;
    } else {
        const int answer = glob(path, 0, NULL, &found);
        if (answer == GLOB_NOMATCH)
            return message_fail(c->options, EXIT_IO, "data: no file matches '%s'", path);
        if (answer)
            return message_fail(c->options, EXIT_IO, "data: the files of '%s' cannot be listed", path);
        all = NEW_ARRAY(c->arena, const char *, found.gl_pathc);
        *count = (uint32_t)found.gl_pathc;
        for (uint32_t i = 0; i < *count; i++) all[i] = arena_strdup(c->arena, found.gl_pathv[i]);
        globfree(&found);
    }
    *out = all;
    for (uint32_t i = 0; i < *count; i++) {
        struct stat status;
        if (stat(all[i], &status) != 0)
            return message_fail(c->options, EXIT_IO, "data: cannot open '%s': %s", all[i], strerror(errno));
        if (!S_ISREG(status.st_mode))
            return message_fail(c->options, EXIT_IO, "data: '%s' is no regular file", all[i]);
    }
    return -1;
}

/* Where the chat template lies: the tokenizer's folder, which may be named by its tokenizer.json. */
static const char *folder_of(const char *tokenizer, Arena *arena) {
    const char *slash = strrchr(tokenizer, '/');
    if (!ends_in(tokenizer, ".json")) return tokenizer;
    return slash ? arena_strndup(arena, tokenizer, (size_t)(slash - tokenizer)) : ".";
}

/* What makes tokens of text. */
static int read_tools(const Compilation *c, Preparation *out) {
    const Spec *spec = &c->spec;
    const char *error = NULL;
    const Type *logits = &c->forward->value.at[c->forward->logits].type;
    *out = (Preparation){.form = spec->train_format == DATA_TEXT    ? FORM_TEXT
                                 : spec->train_format == DATA_JSONL ? FORM_LINES
                                                                    : FORM_CHAT,
                         .all = spec->loss_on == LOSS_ALL,
                         .completions = spec->loss_on == LOSS_COMPLETIONS,
                         .vocab = logits->dim[logits->rank - 1]};
    out->tokenizer = tokenizer_read(c->arena, spec->tokenizer_path, &error);
    if (!out->tokenizer) return message_fail(c->options, EXIT_IO, "%s", error);
    if (out->form == FORM_TEXT) return -1;
    ChatTemplate *chat = NEW(c->arena, ChatTemplate);
    out->chat = chat;
    if (chat_template_read(c->arena, folder_of(spec->tokenizer_path, c->arena), chat) ||
        out->form == FORM_LINES)
        return -1;
    return message_fail_help(c->options, EXIT_IO, chat->help, "%s", chat->error);
}

static void warn(const Compilation *c, const TextFile *file) {
    const Prepared *p = &file->prepared;
    if (p->newer_character)
        message_warn(
            c->options,
            "%s: U+%04X is newer than the tables of characters here: the tokenizer's own library may "
            "split the text around it otherwise",
            p->newer_where, p->newer_character);
    if (p->without_loss)
        message_warn(c->options, "%s: %" PRId64 " of %" PRId64 " documents have no completion, and no loss",
                     file->text, p->without_loss, p->documents);
}

static int make_file(const Compilation *c, const Preparation *preparation, const char *folder,
                     uint64_t encoding, TextFile *out) {
    const char *const *path = NULL;
    const char *error = NULL;
    uint32_t paths = 0, failed = 0;
    int code = find_texts(c, out->text, &path, &paths);
    if (code >= 0) return code;
    if (!prepare_text_fingerprint(path, paths, &out->fingerprint, &failed))
        return message_fail(c->options, EXIT_IO, "data: cannot read '%s': %s", path[failed], strerror(errno));
    out->path = name_in(folder, out->text, encoding, out->fingerprint, c->arena);
    if (is_there(out->path, encoding, out->fingerprint)) return -1;
    if (!prepare_files(preparation, path, paths, out->path, out->fingerprint, c->arena, &out->prepared,
                       &error))
        return message_fail(c->options, EXIT_IO, "%s", error);
    out->made = true;
    warn(c, out);
    return -1;
}

/* With what makes tokens at hand; the folder is this process's meanwhile. */
static int make_files(const Compilation *c, const Preparation *preparation, TextData *out) {
    char *folder = (char *)text_data_folder(c->arena);
    if (!folder)
        return message_fail_help(c->options, EXIT_ENVIRONMENT, "set REMAT_CACHE to one",
                                 "data: there is no folder for prepared text: HOME is not set");
    const int lock = make_folder(folder) ? lock_folder(folder, c->arena) : -1;
    if (lock < 0)
        return message_fail_help(c->options, EXIT_IO, "REMAT_CACHE names another folder",
                                 "data: cannot write into '%s': %s", folder, strerror(errno));
    out->encoding = prepare_fingerprint(preparation);
    int code = make_file(c, preparation, folder, out->encoding, &out->train);
    if (code < 0 && out->validate.text)
        code = make_file(c, preparation, folder, out->encoding, &out->validate);
    close(lock);
    return code;
}

int text_data(const Compilation *c, TextData *out) {
    Preparation preparation;
    *out = (TextData){.train.text = c->spec.train_path, .validate.text = c->spec.validate_path};
    int code = read_tools(c, &preparation);
    if (code < 0) code = make_files(c, &preparation, out);
    tokenizer_close(preparation.tokenizer);
    return code;
}
