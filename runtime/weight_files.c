/* See weight_files.h. */
#include "weight_files.h"

#include "json_reader.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const prefixes[] = {"model.", "transformer."};
enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

/* ---- which files ---- */

static void add_file(WeightFiles *files, const char *path) {
    WeightFile *one = &files->at[files->count];
    RtError error;
    one->path = rt_text("%s", path);
    if (!st_open(&one->file, path, &error)) rt_fail(RT_EXIT_IO, "weights: '%s': %s", path, error.text);
    one->used = rt_allocate((size_t)one->file.tensors + 1);
    files->count++;
}

static void make_room(WeightFiles *files, size_t count) {
    files->at = rt_allocate(count * sizeof *files->at);
}

static void open_one(WeightFiles *files, const char *path) {
    make_room(files, 1);
    add_file(files, path);
}

/* Every weights file in a folder: what its own name holds of *, ? or [ stands for itself. */
static char *pattern_of(const char *folder) {
    static const char tail[] = "/*.safetensors";
    char *pattern = rt_allocate(2 * strlen(folder) + sizeof tail), *to = pattern;
    for (; *folder; *to++ = *folder++)
        if (strchr("*?[]\\", *folder)) *to++ = '\\';
    memcpy(to, tail, sizeof tail);
    return pattern;
}

static void open_all(WeightFiles *files, const char *folder) {
    glob_t found = {0};
    char *pattern = pattern_of(folder);
    int answer = glob(pattern, 0, NULL, &found);
    if (answer == GLOB_NOMATCH) rt_fail(RT_EXIT_IO, "weights: no .safetensors file in '%s'", folder);
    if (answer) rt_fail(RT_EXIT_IO, "weights: the folder '%s' cannot be read", folder);
    make_room(files, found.gl_pathc);
    for (size_t i = 0; i < found.gl_pathc; i++) add_file(files, found.gl_pathv[i]);
    globfree(&found);
    free(pattern);
}

/* ---- the index ---- */

_Noreturn static void bad_index(const WeightFiles *files, const char *what, const char *name) {
    rt_fail(RT_EXIT_IO, "weights: '%s': %s '%.200s'", files->index_path, what, name);
}

static void read_map(JsonReader *reader, WeightFiles *files) {
    int capacity = 0, good = reader_expect(reader, '{', "an object should stand here");
    if (good && !reader_accept(reader, '}')) {
        do {
            if (files->entries == capacity) {
                capacity = capacity ? 2 * capacity : 256;
                files->entry = realloc(files->entry, (size_t)capacity * sizeof *files->entry);
                if (!files->entry) rt_fail(RT_EXIT_MEMORY, "no room for the index of the weights");
            }
            IndexEntry *entry = &files->entry[files->entries++];
            *entry = (IndexEntry){0};
            good = reader_string(reader, &entry->tensor) &&
                   reader_expect(reader, ':', "':' should stand here") &&
                   reader_string(reader, &entry->shard);
        } while (good && reader_accept(reader, ','));
        good = good && reader_expect(reader, '}', "an object should end here");
    }
    if (!good) rt_fail(RT_EXIT_IO, "weights: '%s': %s", files->index_path, reader->error->text);
}

/* {"metadata": {..}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors", ..}} */
static void read_index(WeightFiles *files, int64_t bytes) {
    RtError error;
    JsonReader reader = {files->index_text, files->index_text + bytes, files->index_text, "index", &error};
    int good = reader_utf8(&reader) && reader_expect(&reader, '{', "an object should stand here"), maps = 0;
    if (good && !reader_accept(&reader, '}')) {
        do {
            const char *key;
            good = reader_string(&reader, &key) && reader_expect(&reader, ':', "':' should stand here");
            if (!good) break;
            if (strcmp(key, "weight_map") != 0)
                good = reader_skip(&reader);
            else if (maps++)
                good = reader_bad(&reader, "a second weight_map");
            else
                read_map(&reader, files);
        } while (good && reader_accept(&reader, ','));
        good = good && reader_expect(&reader, '}', "the index should end here");
    }
    good = good && reader_end(&reader);
    if (good && !files->entries) good = rt_error(&error, "its weight_map names no tensor");
    if (!good) rt_fail(RT_EXIT_IO, "weights: '%s': %s", files->index_path, error.text);
}

static void load_index(WeightFiles *files) {
    RtError error;
    struct stat status;
    int fd = rt_open_regular(files->index_path, &status, &error);
    if (fd >= 0 && status.st_size > ST_MAX_HEADER_BYTES)
        rt_fail(RT_EXIT_IO, "weights: '%s' has %lld bytes: no index is that long", files->index_path,
                (long long)status.st_size);
    if (fd >= 0) files->index_text = rt_allocate((size_t)status.st_size + 1);
    if (fd < 0 || !rt_read_at(fd, files->index_text, status.st_size, 0, &error))
        rt_fail(RT_EXIT_IO, "weights: '%s': %s", files->index_path, error.text);
    close(fd);
    read_index(files, status.st_size);
}

static int by_shard(const void *left, const void *right) {
    return strcmp(((const IndexEntry *)left)->shard, ((const IndexEntry *)right)->shard);
}

static int by_tensor(const void *left, const void *right) {
    return strcmp(((const IndexEntry *)left)->tensor, ((const IndexEntry *)right)->tensor);
}

/* A name that an index may give a shard: of a file that lies in its own folder. */
static int is_shard_name(const char *name) {
    static const char tail[] = ".safetensors";
    return rt_ends_in(name, tail) && strcmp(name, tail) != 0 && !strchr(name, '/');
}

static int lies_in(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || (length && folder[length - 1] == '/'));
}

/* Links may lead anywhere in the folder, and in the hub's cache, where a snapshot is a folder of links, to
 * the blobs of the same model: models--ORGANISATION--NAME/{snapshots/REVISION,blobs}. */
void weight_files_check_link(const char *of, const char *path) {
    char *real = realpath(path, NULL), *folder = realpath(of, NULL);
    if (!real || !folder) rt_fail(RT_EXIT_IO, "weights: '%s': %s", path, strerror(errno));
    int inside = lies_in(real, folder);
    for (int up = 0; up < 2 && !inside; up++) {
        char *slash = strrchr(folder, '/');
        if (slash) *slash = 0;
        const char *base = strrchr(folder, '/');
        if (up == 0 && (!base || strcmp(base, "/snapshots") != 0)) break;
        if (up == 0) continue;
        char *blobs = rt_text("%s/blobs", folder);
        inside = lies_in(real, blobs);
        free(blobs);
    }
    free(folder);
    if (!inside)
        rt_fail(RT_EXIT_IO, "weights: '%s' is a link out of its folder, to '%s': copy the file there", path,
                real);
    free(real);
}

static void open_shards(WeightFiles *files) {
    int shards = 0;
    qsort(files->entry, (size_t)files->entries, sizeof *files->entry, by_shard);
    for (int i = 0; i < files->entries; i++) {
        if (!is_shard_name(files->entry[i].shard))
            bad_index(files, "this is no name of a shard beside it:", files->entry[i].shard);
        shards += i == 0 || by_shard(&files->entry[i - 1], &files->entry[i]) != 0;
        files->entry[i].file = shards - 1;
    }
    make_room(files, (size_t)shards);
    for (int i = 0; i < files->entries; i++) {
        if (files->entry[i].file < files->count) continue;
        char *path = rt_text("%s/%s", files->path, files->entry[i].shard);
        if (access(path, F_OK) != 0) {
            const int why = errno;
            free(path);
            rt_fail(RT_EXIT_IO, "weights: '%s' names the shard '%s': %s", files->index_path,
                    files->entry[i].shard, strerror(why));
        }
        weight_files_check_link(files->path, path);
        add_file(files, path);
        free(path);
    }
}

static void check_entries(WeightFiles *files) {
    qsort(files->entry, (size_t)files->entries, sizeof *files->entry, by_tensor);
    for (int i = 1; i < files->entries; i++)
        if (!by_tensor(&files->entry[i - 1], &files->entry[i]))
            bad_index(files, "it has two entries for", files->entry[i].tensor);
    for (int i = 0; i < files->entries; i++) {
        const IndexEntry *entry = &files->entry[i];
        if (!st_find(&files->at[entry->file].file, entry->tensor))
            rt_fail(RT_EXIT_IO, "weights: '%s' says that '%.200s' is in '%s', which has no such tensor",
                    files->index_path, entry->tensor, entry->shard);
    }
}

/* ---- opening and closing ---- */

void weight_files_open(WeightFiles *files, const char *path) {
    *files = (WeightFiles){.path = path};
    struct stat status;
    if (stat(path, &status) != 0) rt_fail(RT_EXIT_IO, "weights: cannot open '%s': %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode)) {
        open_one(files, path);
        return;
    }
    char *whole = rt_text("%s/model.safetensors", path), *index = rt_text("%s.index.json", whole);
    if (lstat(whole, &status) == 0) {
        open_one(files, whole);
    } else if (lstat(index, &status) == 0) {
        files->index_path = rt_text("%s", index);
        load_index(files);
        open_shards(files);
        check_entries(files);
    } else {
        open_all(files, path);
    }
    free(whole);
    free(index);
}

void weight_files_close(WeightFiles *files) {
    for (int i = 0; i < files->count; i++) {
        st_close(&files->at[i].file);
        free(files->at[i].path);
        free(files->at[i].used);
    }
    free(files->at);
    free(files->index_path);
    free(files->index_text);
    free(files->entry);
    *files = (WeightFiles){0};
}

/* ---- tensors ---- */

static Found find_exact(const WeightFiles *files, const char *name) {
    Found found = {0};
    IndexEntry key = {.tensor = name};
    const IndexEntry *entry =
        files->entries ? bsearch(&key, files->entry, (size_t)files->entries, sizeof key, by_tensor) : NULL;
    if (entry) return (Found){entry->file, st_find(&files->at[entry->file].file, name)};
    for (int i = 0; i < files->count; i++) {
        const StTensor *tensor = st_find(&files->at[i].file, name);
        if (tensor && found.tensor)
            rt_fail(RT_EXIT_IO, "weights: '%s' is both in '%s' and in '%s'", name, files->at[found.file].path,
                    files->at[i].path);
        if (tensor) found = (Found){i, tensor};
    }
    return found;
}

Found weight_files_find(const WeightFiles *files, const char *name) {
    Found found = find_exact(files, name);
    if (found.tensor) return found;
    for (int i = 0; i < PREFIXES; i++) {
        size_t length = strlen(prefixes[i]);
        char *longer = rt_text("%s%s", prefixes[i], name);
        const char *spelling[2] = {longer, strncmp(name, prefixes[i], length) ? NULL : name + length};
        for (int k = 0; k < 2; k++) {
            Found other = spelling[k] ? find_exact(files, spelling[k]) : (Found){0};
            if (other.tensor && found.tensor)
                rt_fail(RT_EXIT_IO, "weights: '%s' could be '%s' or '%s'", name, found.tensor->name,
                        other.tensor->name);
            if (other.tensor) found = other;
        }
        free(longer);
    }
    return found;
}

static int is_used(const WeightFile *file, const StTensor *tensor) {
    return file->used[tensor - file->file.tensor];
}

void weight_files_use(const WeightFiles *files, Found found) {
    files->at[found.file].used[found.tensor - files->at[found.file].file.tensor] = 1;
}

static const char *without_prefix(const char *name) {
    for (int i = 0; i < PREFIXES; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    return name;
}

const char *weight_files_nearest(const WeightFiles *files, const char *name) {
    const char *nearest = NULL, *bare = without_prefix(name);
    int least = (int)strlen(bare) / 3 + 1;
    for (int i = 0; i < files->count; i++)
        for (int k = 0; k < files->at[i].file.tensors; k++) {
            const StTensor *tensor = &files->at[i].file.tensor[k];
            if (is_used(&files->at[i], tensor)) continue;
            int distance = rt_distance(bare, without_prefix(tensor->name));
            if (distance < least) least = distance, nearest = tensor->name;
        }
    return nearest;
}

static void read_bytes(const WeightFiles *files, Found found, int64_t begin, int64_t bytes, void *to) {
    const WeightFile *from = &files->at[found.file];
    RtError error;
    if (!st_read(&from->file, found.tensor, begin, to, bytes, &error))
        rt_fail(RT_EXIT_IO, "weights: '%s': %s", from->path, error.text);
}

void weight_files_read(const WeightFiles *files, Found found, int64_t begin, int64_t count, void *to) {
    int64_t size = found.tensor->element_bytes;
    read_bytes(files, found, begin * size, count * size, to);
}

uint64_t weight_files_begin_sum(const StTensor *tensor) {
    char shape[128];
    st_shape_text(shape, sizeof shape, tensor->rank, tensor->dim);
    char *head = rt_text("%s %s %s", tensor->name, tensor->dtype, shape);
    uint64_t sum = rt_checksum(0, head, (int64_t)strlen(head));
    free(head);
    return sum;
}

uint64_t weight_files_sum(const WeightFiles *files, Found found, void *buffer) {
    uint64_t sum = weight_files_begin_sum(found.tensor);
    int64_t bytes = found.tensor->end - found.tensor->begin;
    for (int64_t begin = 0; begin < bytes; begin += WEIGHT_PART_BYTES) {
        int64_t part = bytes - begin < WEIGHT_PART_BYTES ? bytes - begin : WEIGHT_PART_BYTES;
        read_bytes(files, found, begin, part, buffer);
        sum = rt_checksum(sum, buffer, part);
    }
    return sum;
}

/* Constants that older releases of transformers saved with their models: causal masks, rope frequencies. */
static int is_constant(const StTensor *tensor) {
    static const struct {
        const char *tail;
        int rank;
    } constant[] = {{".attn.bias", 4}, {".attn.masked_bias", 0}, {".rotary_emb.inv_freq", 1}};
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++)
        if (rt_ends_in(tensor->name, constant[i].tail) && tensor->rank == constant[i].rank) return 1;
    return 0;
}

void weight_files_name_unused(const WeightFiles *files) {
    enum { NAMED = 4 };
    char text[512] = "";
    int unused = 0;
    size_t length = 0;
    for (int i = 0; i < files->count; i++)
        for (int k = 0; k < files->at[i].file.tensors; k++) {
            const StTensor *tensor = &files->at[i].file.tensor[k];
            if (is_used(&files->at[i], tensor) || is_constant(tensor) || ++unused > NAMED) continue;
            length += (size_t)snprintf(text + length, sizeof text - length, "%s'%.80s'", length ? ", " : "",
                                       tensor->name);
        }
    if (unused > NAMED) snprintf(text + length, sizeof text - length, " and %d more", unused - NAMED);
    if (unused) rt_warn("weights: the program has no use for %s", text);
}
