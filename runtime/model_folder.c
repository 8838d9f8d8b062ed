/* See model_folder.h. */
#include "model_folder.h"

#include "atomic_file.h"
#include "json_reader.h"
#include "weight_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_CARRIED_BYTES = 1 << 28 }; /* of one file: a tokenizer has some tens of millions */

/* ---- where it may be ---- */

/* The real path of what is there, or of its parent and its own name where it is not. */
static char *real_path(const char *path) {
    char *real = realpath(path, NULL);
    if (real || errno != ENOENT) return real;
    char *copy = rt_text("%s", path), *again = rt_text("%s", path);
    char *parent = realpath(dirname(copy), NULL);
    if (parent) real = rt_text("%s/%s", strcmp(parent, "/") ? parent : "", basename(again));
    free(parent), free(copy), free(again);
    return real;
}

static char *target_path(const char *target) {
    char *real = real_path(target);
    if (!real) rt_fail(RT_EXIT_IO, "cannot write the folder '%s': %s", target, strerror(errno));
    return real;
}

static int holds(const char *folder, const char *path) {
    size_t length = strlen(folder);
    return !strncmp(folder, path, length) && (!path[length] || path[length] == '/' || !strcmp(folder, "/"));
}

/* Is every file of weights in the folder a run's of ours? Without one it is somebody's, unless it is empty.
 */
static int is_ours(const char *path) {
    DIR *listing = opendir(path);
    if (!listing) return 0;
    int files = 0, ours = 0, foreign = 0;
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        files++;
        if (!rt_ends_in(entry->d_name, ".safetensors")) continue;
        RtError error;
        StFile file;
        char *name = rt_text("%s/%s", path, entry->d_name);
        int opened = st_open(&file, name, &error), is_one = opened && st_metadata(&file, MODEL_FOLDER_KEY);
        if (opened) st_close(&file);
        ours += is_one, foreign += !is_one;
        free(name);
    }
    closedir(listing);
    return !files || (ours && !foreign);
}

void model_folder_check(const char *target, const char *base) {
    char *to = target_path(target), *from = realpath(base, NULL);
    struct stat status;
    if (!from) rt_fail(RT_EXIT_IO, "'%s': %s", base, strerror(errno));
    if (holds(from, to) || holds(to, from))
        rt_fail(RT_EXIT_IO, "the folder '%s' would write over the published model in '%s': name another",
                target, base);
    if (lstat(to, &status) == 0 && (!S_ISDIR(status.st_mode) || !is_ours(to)))
        rt_fail(RT_EXIT_IO, "'%s' is there already, and no model that was written here: name another folder",
                target);
    char *parent = rt_text("%s", to);
    if (access(dirname(parent), W_OK) != 0)
        rt_fail(RT_EXIT_IO, "cannot write the folder '%s': %s", target, strerror(errno));
    free(parent), free(to), free(from);
}

/* ---- writing ---- */

/* Removes a folder that holds files alone. */
static void remove_folder(const char *path) {
    DIR *listing = opendir(path);
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing));) unlinkat(dirfd(listing), entry->d_name, 0);
    closedir(listing);
    rmdir(path);
}

/* What a killed run left: ".NAME.0123456789abcdef.tmp" beside the target. */
static void remove_leftovers(const char *target) {
    char *copy = rt_text("%s", target), *again = rt_text("%s", target);
    char *parent = dirname(copy), *stem = rt_text(".%s.", basename(again));
    DIR *listing = opendir(parent);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        const char *digits = entry->d_name + strlen(stem);
        if (strncmp(entry->d_name, stem, strlen(stem)) != 0 ||
            strspn(digits, "0123456789abcdef") != ATOMIC_FILE_DIGITS ||
            strcmp(digits + ATOMIC_FILE_DIGITS, ATOMIC_FILE_SUFFIX) != 0)
            continue;
        char *path = rt_text("%s/%s", parent, entry->d_name);
        remove_folder(path);
        free(path);
    }
    if (listing) closedir(listing);
    free(copy), free(again), free(stem);
}

static char *unfinished; /* NULL: no folder is being written */

static void remove_unfinished(void) {
    if (unfinished) remove_folder(unfinished);
    free(unfinished);
    unfinished = NULL;
}

void model_folder_begin(ModelFolder *folder, const char *target) {
    static int registered;
    uint64_t random;
    *folder = (ModelFolder){.target = target_path(target)};
    remove_leftovers(folder->target);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        rt_fail(RT_EXIT_IO, "no random number: %s", strerror(errno));
    char *copy = rt_text("%s", folder->target), *again = rt_text("%s", folder->target);
    folder->aside = rt_text("%s/.%s.%016llx%s", dirname(copy), basename(again), (unsigned long long)random,
                            ATOMIC_FILE_SUFFIX);
    free(copy), free(again);
    if (mkdir(folder->aside, 0777) != 0)
        rt_fail(RT_EXIT_IO, "cannot make the folder '%s': %s", folder->aside, strerror(errno));
    unfinished = rt_text("%s", folder->aside);
    if (!registered) registered = atexit(remove_unfinished) == 0;
}

void model_folder_fail(const ModelFolder *folder, const char *what, const char *why) {
    rt_fail(RT_EXIT_IO, "cannot write '%s' for '%s': %s; nothing was left there", what, folder->target, why);
}

char *model_folder_file(const ModelFolder *folder, const char *name) {
    return rt_text("%s/%s", folder->aside, name);
}

void model_folder_put(const ModelFolder *folder, const char *name, const char *text, size_t bytes) {
    char *path = model_folder_file(folder, name);
    if (!atomic_file_put(path, text, (int64_t)bytes)) model_folder_fail(folder, name, strerror(errno));
    free(path);
}

void model_folder_commit(ModelFolder *folder) {
    struct stat status;
    char *parent = rt_text("%s", folder->target);
    if (!atomic_file_sync_folder(folder->aside)) model_folder_fail(folder, "a folder", strerror(errno));
    if (lstat(folder->target, &status) == 0 && rmdir(folder->target) != 0) {
        char *old = rt_set_aside(folder->target, "old");
        if (!old) model_folder_fail(folder, "the folder", strerror(errno));
        rt_warn("'%s', which an earlier run wrote, is '%s' now", folder->target, old);
        free(old);
    }
    if (rename(folder->aside, folder->target) != 0) model_folder_fail(folder, "the folder", strerror(errno));
    free(unfinished);
    unfinished = NULL;
    if (!atomic_file_sync_folder(dirname(parent)))
        rt_fail(RT_EXIT_IO, "cannot sync the folder of '%s': %s", folder->target, strerror(errno));
    free(parent), free(folder->aside), free(folder->target);
}

/* ---- what is carried over ---- */

static void check_length(const char *path, int64_t bytes) {
    if (bytes > MOST_CARRIED_BYTES)
        rt_fail(RT_EXIT_IO, "'%s' has %lld bytes: no file of a model but its weights is that long", path,
                (long long)bytes);
}

/* All of a file, with a NUL behind it; NULL where it is not there. */
static char *read_whole(const char *path, size_t *bytes) {
    RtError error;
    struct stat status;
    int fd = rt_open_regular(path, &status, &error);
    if (fd < 0 && error.reason == ENOENT) return NULL;
    if (fd < 0) rt_fail(RT_EXIT_IO, "'%s': %s", path, error.text);
    check_length(path, status.st_size);
    char *text = rt_allocate((size_t)status.st_size + 1);
    if (!rt_read_at(fd, text, status.st_size, 0, &error)) rt_fail(RT_EXIT_IO, "'%s': %s", path, error.text);
    close(fd);
    *bytes = (size_t)status.st_size;
    return text;
}

typedef struct Member { /* of an object, in the text as it was */
    size_t begin, end;  /* from its key's first byte to its value's last */
    char *string;       /* its value, where that is text */
    int first, last;
} Member;

/* The member of that name of the object that `text` is; 0 where there is none, or no object. Strings are
 * decoded where they stand, so it works on a copy. */
static int find_member(const char *text, size_t bytes, const char *wanted, Member *found) {
    RtError error;
    char *copy = rt_allocate(bytes + 1);
    memcpy(copy, text, bytes);
    JsonReader reader = {copy, copy + bytes, copy, "config.json", &error};
    int there = 0, first = 1;
    if (reader_utf8(&reader) && reader_expect(&reader, '{', "") && !reader_accept(&reader, '}')) {
        for (int more = 1; more; first = 0) {
            const char *key, *string = NULL;
            while (reader.at < reader.end && strchr(" \t\r\n", *reader.at)) reader.at++;
            size_t begin = (size_t)(reader.at - reader.start);
            if (!reader_string(&reader, &key) || !reader_expect(&reader, ':', "")) break;
            int is_wanted = !strcmp(key, wanted);
            while (reader.at < reader.end && strchr(" \t\r\n", *reader.at)) reader.at++;
            if (!(*reader.at == '"' ? reader_string(&reader, &string) : reader_skip(&reader))) break;
            size_t end = (size_t)(reader.at - reader.start);
            more = reader_accept(&reader, ',');
            if (!is_wanted) continue;
            *found = (Member){begin, end, string ? rt_text("%s", string) : NULL, first, !more};
            there = 1;
            break;
        }
    }
    free(copy);
    return there;
}

/* Cuts the member out, with the comma on one side of it and the blanks that led to it. */
static size_t cut_member(char *text, size_t bytes, const char *name) {
    Member member;
    if (!find_member(text, bytes, name, &member)) return bytes;
    free(member.string);
    size_t begin = member.begin, end = member.end;
    while (begin > 0 && strchr(" \t\r\n", text[begin - 1])) begin--;
    if (!member.last)
        end += strcspn(text + end, ",") + 1;
    else if (!member.first)
        begin--; /* the comma before it */
    memmove(text + begin, text + end, bytes - end + 1);
    return bytes - (end - begin);
}

char *model_folder_config(const char *base, const char *key) {
    size_t bytes;
    Member member = {0};
    char *path = rt_text("%s/config.json", base), *text = read_whole(path, &bytes);
    if (text) find_member(text, bytes, key, &member);
    free(path), free(text);
    return member.string;
}

/* Files that tell how the model is built, read and licensed; weights in any format, and what describes them,
 * stay. */
static int is_carried(const char *name) {
    static const char *const tail[] = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".py"},
                             *const head[] = {"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"};
    if (name[0] == '.' || rt_ends_in(name, ".index.json") || !strncmp(name, "adapter_", 8)) return 0;
    for (size_t i = 0; i < sizeof tail / sizeof *tail; i++)
        if (rt_ends_in(name, tail[i])) return 1;
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        if (!strncmp(name, head[i], strlen(head[i]))) return 1;
    return 0;
}

int64_t model_folder_carry_over(const ModelFolder *folder, const char *base) {
    int64_t sum = 0;
    DIR *listing = opendir(base);
    if (!listing) rt_fail(RT_EXIT_IO, "cannot read the folder '%s': %s", base, strerror(errno));
    for (struct dirent *entry; (entry = readdir(listing));) {
        struct stat status;
        char *path = rt_text("%s/%s", base, entry->d_name);
        if (is_carried(entry->d_name) && stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            weight_files_check_link(base, path);
            check_length(path, status.st_size);
            size_t bytes = (size_t)status.st_size;
            char *text = folder ? read_whole(path, &bytes) : NULL;
            if (text && !strcmp(entry->d_name, "config.json"))
                bytes = cut_member(text, bytes, "quantization_config");
            if (text) model_folder_put(folder, entry->d_name, text, bytes);
            sum += (int64_t)bytes;
            free(text);
        }
        free(path);
    }
    closedir(listing);
    return sum;
}
