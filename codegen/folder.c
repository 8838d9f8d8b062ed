/* See folder.h. Everything is looked at before anything is written. */
#include "codegen/folder.h"

#include "runtime/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char manifest_head[] =
    "# Files of this folder that rematc wrote, each with a hash of its bytes (FNV-1a, 64 bit). What is not\n"
    "# listed, or was changed since, rematc neither replaces nor removes unless told to by --force.\n";

typedef struct Listed {
    const char *path;
    uint64_t hash;
} Listed;

typedef enum State { ABSENT, RIGHT, OURS, FOREIGN } State;

typedef struct Folder {
    const FolderRequest *request;
    Arena *arena;
    const char *error;
    bool listed; /* a manifest of ours was there */
    VEC(Listed) old;
    State *state; /* of each file of the request */
    VEC(const char *) foreign;
    struct stat input; /* st_ino 0: none */
    FolderAnswer answer;
} Folder;

static const char *in_folder(const Folder *f, const char *path) {
    return arena_printf(f->arena, "%s/%s", f->request->dir, path);
}

static bool fail(Folder *f, FolderAnswer answer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(Folder *f, FolderAnswer answer, const char *format, ...) {
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    f->error = arena_strdup(f->arena, message);
    f->answer = answer;
    return false;
}

static bool cannot(Folder *f, const char *what, const char *path) {
    return fail(f, FOLDER_FAILED, "cannot %s '%s': %s", what, path, strerror(errno));
}

static uint64_t hash_of(const char *bytes, size_t length) {
    return hash_bytes(HASH_SEED, bytes, length);
}

static bool is_listed(const Folder *f, const char *path, uint64_t hash) {
    for (uint32_t i = 0; i < f->old.count; i++)
        if (f->old.at[i].hash == hash && !strcmp(f->old.at[i].path, path)) return true;
    return false;
}

/* ---- the manifest ---- */

/* Paths below the folder: what a manifest of others says cannot lead out of it. */
static bool stays_inside(const char *path) {
    if (!*path || *path == '/') return false;
    for (const char *part = path; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        size_t length = strcspn(part, "/");
        if (!length || (length <= 2 && !strncmp(part, "..", length))) return false;
    }
    return true;
}

static bool read_manifest(Folder *f) {
    const char *path = in_folder(f, FOLDER_MANIFEST);
    struct stat status;
    size_t length;
    if (lstat(path, &status)) return errno == ENOENT || cannot(f, "read", path);
    char *text = S_ISREG(status.st_mode) ? read_file(f->arena, path, &length) : NULL;
    if (!text && S_ISREG(status.st_mode))
        return fail(f, FOLDER_FAILED, "cannot read '%s': %s", path, read_file_error());
    if (!text || strncmp(text, manifest_head, strlen(manifest_head))) {
        *vec_add(f->arena, &f->foreign) = FOLDER_MANIFEST;
        return true;
    }
    f->listed = true;
    for (char *line = text + strlen(manifest_head), *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        char *after;
        uint64_t hash = strtoull(line, &after, 16);
        if (after == line + 16 && *after == ' ' && stays_inside(after + 1))
            *vec_add(f->arena, &f->old) = (Listed){.path = after + 1, .hash = hash};
    }
    return true;
}

static void list_file(Text *out, const char *path, uint64_t hash) {
    text_add(out, "%016" PRIx64 " %s\n", hash, path);
}

/* Lists the files of the request, and of the old ones those that `keep` names (NULL: all). */
static bool write_manifest(Folder *f, const bool *keep) {
    Text out = {.arena = f->arena};
    const char *path = in_folder(f, FOLDER_MANIFEST);
    struct stat status;
    text_add(&out, "%s", manifest_head);
    for (uint32_t i = 0; i < f->request->files; i++) {
        const FolderFile *file = &f->request->file[i];
        list_file(&out, file->path, hash_of(file->bytes, file->length));
    }
    for (uint32_t i = 0; i < f->old.count; i++)
        if (!keep || keep[i]) list_file(&out, f->old.at[i].path, f->old.at[i].hash);
    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        if (unlink(path)) return cannot(f, "replace", path);
    } else {
        size_t length;
        const char *old = read_file(f->arena, path, &length);
        if (old && length == out.length && !memcmp(old, out.at, length)) return true;
    }
    return atomic_file_put(path, out.at, (int64_t)out.length) || cannot(f, "write", path);
}

/* ---- looking ---- */

static void add_foreign(Folder *f, const char *path) {
    for (uint32_t i = 0; i < f->foreign.count; i++)
        if (!strcmp(f->foreign.at[i], path)) return;
    *vec_add(f->arena, &f->foreign) = arena_strdup(f->arena, path);
}

/* The first of the folders that a file lies in which is no real one, NULL where all are; with st_mode 0 where
 * errno says why it cannot be looked at. */
static const char *first_obstacle(const Folder *f, const char *path, struct stat *status) {
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        const char *part = arena_strndup(f->arena, path, (size_t)(slash - path));
        const char *full = in_folder(f, part);
        if (lstat(full, status)) status->st_mode = 0;
        if (!S_ISDIR(status->st_mode)) return part;
    }
    return NULL;
}

/* The folders that a file lies in: real ones, or not there yet. A link leads to a place that is not ours. */
static bool look_at_parents(Folder *f, const char *path, bool *absent) {
    struct stat status;
    const char *part = first_obstacle(f, path, &status);
    *absent = part != NULL;
    if (!part) return true;
    if (!status.st_mode) return errno == ENOENT || cannot(f, "read", in_folder(f, part));
    if (!S_ISLNK(status.st_mode))
        return fail(f, FOLDER_FAILED, "'%s' is in the way: it is no folder", in_folder(f, part));
    add_foreign(f, part);
    return true;
}

static bool look_at_file(Folder *f, const FolderFile *file, State *state) {
    const char *path = in_folder(f, file->path);
    struct stat status;
    bool absent;
    *state = ABSENT;
    if (!look_at_parents(f, file->path, &absent)) return false;
    if (absent) return true;
    if (lstat(path, &status)) return errno == ENOENT || cannot(f, "read", path);
    if (status.st_ino == f->input.st_ino && status.st_dev == f->input.st_dev)
        return fail(f, FOLDER_IS_INPUT,
                    "'%s' is the file that is read, and would be written over: name another folder", path);
    *state = FOREIGN;
    if (S_ISLNK(status.st_mode)) {
        add_foreign(f, file->path);
        return true;
    }
    if (!S_ISREG(status.st_mode)) return fail(f, FOLDER_FAILED, "'%s' is in the way: it is no file", path);
    size_t length;
    const char *bytes = read_file(f->arena, path, &length);
    if (!bytes) return fail(f, FOLDER_FAILED, "cannot read '%s': %s", path, read_file_error());
    if (length == file->length && !memcmp(bytes, file->bytes, length))
        *state = RIGHT;
    else if (is_listed(f, file->path, hash_of(bytes, length)))
        *state = OURS;
    else
        add_foreign(f, file->path);
    return true;
}

static bool refuse(Folder *f) {
    enum { MOST_NAMES = 20 };
    Text names = {.arena = f->arena};
    uint32_t shown = f->foreign.count > MOST_NAMES ? MOST_NAMES : f->foreign.count;
    for (uint32_t i = 0; i < shown; i++) text_add(&names, "%s%s", i ? ", " : "", f->foreign.at[i]);
    if (shown < f->foreign.count) text_add(&names, " and %u more", f->foreign.count - shown);
    f->answer = FOLDER_REFUSED;
    f->error = arena_printf(
        f->arena,
        "'%s' has files that rematc did not write, or that were changed since: %s; nothing was touched",
        f->request->dir, names.at);
    return false;
}

static bool look(Folder *f) {
    const FolderRequest *request = f->request;
    struct stat status;
    if (request->input && stat(request->input, &f->input)) f->input = (struct stat){.st_ino = 0};
    f->state = NEW_ARRAY(f->arena, State, request->files);
    if (stat(request->dir, &status)) return errno == ENOENT || cannot(f, "write", request->dir);
    if (status.st_ino == f->input.st_ino && status.st_dev == f->input.st_dev)
        return fail(f, FOLDER_IS_INPUT, "'%s' is the file that is read: name a folder", request->dir);
    if (!S_ISDIR(status.st_mode)) return fail(f, FOLDER_FAILED, "'%s' is no folder", request->dir);
    if (!read_manifest(f)) return false;
    for (uint32_t i = 0; i < request->files; i++)
        if (!look_at_file(f, &request->file[i], &f->state[i])) return false;
    for (const char *const *made = request->made; !f->listed && *made; made++)
        if (lstat(in_folder(f, *made), &status) == 0) add_foreign(f, *made);
    return !f->foreign.count || request->force || refuse(f);
}

/* ---- writing ---- */

/* mkdir -p; a link in the folder makes room for a folder. */
static bool make_dirs(Folder *f, const char *path, size_t given) {
    char *part = arena_strdup(f->arena, path);
    struct stat status;
    for (size_t i = 1;; i++) {
        if (part[i] && part[i] != '/') continue;
        char end = part[i];
        part[i] = 0;
        if (i > given && lstat(part, &status) == 0 && S_ISLNK(status.st_mode) && unlink(part))
            return cannot(f, "replace", part);
        if (mkdir(part, 0777) && errno != EEXIST) return cannot(f, "write", part);
        part[i] = end;
        if (!end) return true;
    }
}

static bool write_file(Folder *f, const FolderFile *file, State state) {
    const char *path = in_folder(f, file->path), *slash = strrchr(file->path, '/');
    size_t given = strlen(f->request->dir);
    if (slash && !make_dirs(f, arena_strndup(f->arena, path, strlen(path) - strlen(slash)), given))
        return false;
    if (state == RIGHT) return true;
    struct stat status;
    bool there = lstat(path, &status) == 0;
    if (there && S_ISLNK(status.st_mode) && unlink(path)) return cannot(f, "replace", path);
    if (!atomic_file_put(path, file->bytes, (int64_t)file->length)) return cannot(f, "write", path);
    /* what replaces another keeps its time: make must see it */
    const struct timespec time[2] = {{.tv_sec = 946684800}, {.tv_sec = 946684800}}; /* 2000-01-01 */
    return !file->undated || there || utimensat(AT_FDCWD, path, time, 0) == 0 || cannot(f, "write", path);
}

/* Removes what an earlier call wrote and this one does not; what was changed since stays, and stays listed.
 */
static bool remove_rest(Folder *f, bool *keep) {
    for (uint32_t i = 0; i < f->old.count; i++) {
        const Listed *old = &f->old.at[i];
        const char *path = in_folder(f, old->path), *bytes;
        struct stat status;
        size_t length;
        bool wanted = false;
        for (uint32_t k = 0; k < f->request->files && !wanted; k++)
            wanted = !strcmp(f->request->file[k].path, old->path);
        if (wanted || first_obstacle(f, old->path, &status)) continue;
        if (lstat(path, &status) || !S_ISREG(status.st_mode)) continue;
        if (status.st_ino == f->input.st_ino && status.st_dev == f->input.st_dev) continue;
        bytes = read_file(f->arena, path, &length);
        keep[i] = !bytes || hash_of(bytes, length) != old->hash;
        if (!keep[i] && unlink(path)) return cannot(f, "remove", path);
    }
    return true;
}

static bool write_all(Folder *f) {
    const FolderRequest *request = f->request;
    bool *keep = NEW_ARRAY(f->arena, bool, f->old.count + 1);
    if (!make_dirs(f, request->dir, strlen(request->dir)) || !write_manifest(f, NULL)) return false;
    for (uint32_t i = 0; i < request->files; i++)
        if (!write_file(f, &request->file[i], f->state[i])) return false;
    return remove_rest(f, keep) && write_manifest(f, keep);
}

FolderAnswer folder_write(const FolderRequest *request, Arena *arena, const char **error) {
    Folder f = {.request = request, .arena = arena, .answer = FOLDER_WRITTEN};
    if (!look(&f) || !write_all(&f)) *error = f.error;
    return f.answer;
}
