/* The files that pretrained weights are read from: a safetensors file, or what a folder has of them:
 *
 *     model.safetensors              this alone; else
 *     model.safetensors.index.json   the shards that it names, each tensor in the one it says; else
 *     *.safetensors                  all of them, each tensor in one
 *
 * Everything here ends the program with exit code 6 and one message where a file is not as it must be. */
#ifndef REMAT_WEIGHT_FILES_H
#define REMAT_WEIGHT_FILES_H

#include "safetensors.h"

typedef struct WeightFile {
    StFile file;
    char *path;
    char *used; /* a flag for each of its tensors */
} WeightFile;

typedef struct IndexEntry {
    const char *tensor, *shard;
    int file;
} IndexEntry;

typedef struct WeightFiles {
    const char *path; /* as it was given */
    WeightFile *at;
    int count;
    char *index_path;  /* NULL: there is none */
    char *index_text;  /* decoded in place: names of the entries point into it */
    IndexEntry *entry; /* sorted by tensor */
    int entries;
} WeightFiles;

typedef struct Found {
    int file;
    const StTensor *tensor; /* NULL: nowhere */
} Found;

void weight_files_open(WeightFiles *files, const char *path);
void weight_files_close(WeightFiles *files);
/* Exits where `path`, in `folder`, is a link out of it, but for the blobs of the hub's cache. */
void weight_files_check_link(const char *folder, const char *path);
/* The tensor of that name, or the only one whose name differs by a leading "model." or "transformer.". */
Found weight_files_find(const WeightFiles *files, const char *name);
void weight_files_use(const WeightFiles *files, Found found);
/* Of the tensors that are not in use the one with the most similar name; NULL: none is similar. */
const char *weight_files_nearest(const WeightFiles *files, const char *name);
enum { WEIGHT_PART_BYTES = RT_CHUNK_BYTES / 4 }; /* that a checksum goes on by */
/* The checksum of a tensor's name, type and shape; that of each WEIGHT_PART_BYTES of its data follows. */
uint64_t weight_files_begin_sum(const StTensor *tensor);
/* All of it, of a tensor that is read for this alone; `buffer` has WEIGHT_PART_BYTES. */
uint64_t weight_files_sum(const WeightFiles *files, Found found, void *buffer);
/* Elements [begin, begin + count). */
void weight_files_read(const WeightFiles *files, Found found, int64_t begin, int64_t count, void *to);
/* One line that names what is not in use, if anything is; not what a published model keeps beside its
 * weights. */
void weight_files_name_unused(const WeightFiles *files);

#endif
