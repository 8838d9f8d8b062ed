/* What the runtime's files share. rt_main (train.c) owns one RtTrainer and calls the others in order:
 * options, device, data, weights or checkpoint, loop, sample. Functions that can be survived answer 0 with a
 * message in an RtError; everything else ends the program through rt_fail with one line and the exit code of
 * rt.h. */
#ifndef REMAT_RT_INTERNAL_H
#define REMAT_RT_INTERNAL_H

#include "rt.h"

#include <stdio.h>

enum { RT_EXIT_USAGE = 2, RT_EXIT_MEMORY = 3, RT_EXIT_DEVICE = 5, RT_EXIT_IO = 6, RT_EXIT_SAVED = 75 };
enum { RT_CHUNK_BYTES = 4 << 20 }; /* transfers go through one buffer of this size; checksums are per chunk */

typedef struct RtError {
    char text[512];
} RtError;

#if defined(__GNUC__)
#define RT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define RT_PRINTF(text, first)
#endif

_Noreturn void rt_fail(int code, const char *format, ...) RT_PRINTF(2, 3);
void rt_warn(const char *format, ...) RT_PRINTF(1, 2);
int rt_error(RtError *error, const char *format, ...) RT_PRINTF(2, 3); /* always 0 */
void *rt_allocate(size_t bytes);                                       /* zeroed; exits 3 */
char *rt_text(const char *format, ...) RT_PRINTF(1, 2); /* a formatted copy, from rt_allocate */
double rt_seconds(void);                                /* monotonic */
int64_t rt_dtype_bytes(int dtype);
int64_t rt_tensor_count(const RtTensor *tensor);
int64_t rt_tensor_bytes(const RtTensor *tensor);
float rt_from_bf16(uint16_t bits);
uint16_t rt_to_bf16(float value);

/* ---- host_memory.c ---- */
/* What this process may still take: -1 where it is not known. */
int64_t rt_host_free_bytes(void);
/* The number after `key` in a file of "key value" lines, or a bare number when key is ""; -1: not there. */
int64_t rt_read_number(const char *path, const char *key);

/* ---- options.c ---- */
typedef struct RtOptions {
    int64_t steps; /* stop after this many; -1: the program's */
    const char *data, *log, *save_dir;
    int fresh, dry_run, quiet, poison, profile, threads;
    int64_t sample; /* tokens to generate at the end; -1: 256 for bytes, else none */
    uint64_t seed;
} RtOptions;
/* Returns -1 to go on, else the exit code (--help, --version, a usage error). */
int rt_options_parse(RtOptions *options, const RtProgram *program, int argc, char **argv);

/* ---- data.c: token windows ---- */
typedef struct RtShard {
    const unsigned char *data; /* first token */
    void *map;
    int64_t map_bytes, tokens, windows;
    int token_bytes; /* 1, 2, 4 */
    char *path;
} RtShard;
typedef struct RtData { /* windows of T+1 tokens, T apart, none across two shards */
    RtShard *shard;
    int shards;
    int format; /* RtFormat, never RT_AUTO */
    int64_t context, vocab, windows;
    int64_t first, count; /* this split's windows: [first, first + count) */
} RtData;
/* Maps the file or the shards of a pattern; checks length and token range. Exits 6. */
void rt_data_open(RtData *data, const char *path, int format, int64_t batch, int64_t context, int64_t vocab);
/* Cuts the last `fraction` of the windows off into `validate`. Exits 6 where either side is too short. */
void rt_data_split(RtData *train, RtData *validate, double fraction, int64_t batch);
void rt_data_close(RtData *data); /* of a split, only the part that was opened */
/* The window at `position` of an endless run of seeded permutations of [0, count). */
int64_t rt_data_shuffle(uint64_t seed, int64_t position, int64_t count);
/* Fills row i of tokens and targets [B, T] with the split's window `window`. */
void rt_data_window(const RtData *data, int64_t window, int32_t *tokens, int32_t *targets);

/* ---- safetensors.c is in safetensors.h; init.c, weights.c ---- */
void rt_init_tensors(RtRun *run, const RtProgram *program, uint64_t seed, void *chunk);
/* Parameters and masters from a safetensors file or a directory of them; the rest stays as it was. Exits 6.
 */
void rt_weights_load(RtRun *run, const RtProgram *program, const char *path, void *chunk, int quiet);

/* ---- checkpoint.c ---- */
typedef struct RtState { /* what a checkpoint holds besides tensors */
    int64_t step;        /* finished optimizer steps */
    int64_t cursor;      /* windows consumed */
    uint64_t seed;
    int64_t windows; /* of the training data, to notice that it changed */
} RtState;
/* Makes the directory, takes its lock, clears what a killed run left half written. Exits 6. */
int rt_checkpoint_directory(const char *dir);
/* The newest readable checkpoint into the arena; damaged ones are put aside with a warning. 1 found, 0 none.
 */
int rt_checkpoint_load(RtRun *run, const RtProgram *program, const char *dir, RtState *state, void *chunk);
/* Steps of the newest checkpoint, or -1; sets old ones aside as *.old when `set_aside`. */
int64_t rt_checkpoint_newest(const char *dir, int set_aside);
/* Writes DIR/step-NNNNNN.safetensors, synced and renamed, then removes the oldest beyond `keep` (0: none). */
int rt_checkpoint_save(RtRun *run, const RtProgram *program, const char *dir, const RtState *state,
                       int64_t keep, void *chunk, RtError *error);

/* ---- log.c ---- */
typedef struct RtLog {
    FILE *file; /* --log */
    int terminal, quiet, line_open;
    int64_t first_step, measured_steps;
    double measured_seconds, slowest_seconds;
} RtLog;
typedef struct RtStepRecord {
    int64_t step, steps;
    float loss;
    double gradient_norm; /* negative: not known */
    double learning_rate, seconds;
} RtStepRecord;
/* Opens FILE.jsonl and cuts every line of a step after `step`. Exits 6. */
void rt_log_open(RtLog *log, const char *path, int64_t step, int quiet);
void rt_log_plan(const RtProgram *program, int64_t free_bytes, int64_t host_free_bytes);
void rt_log_step(RtLog *log, const RtProgram *program, const RtRun *run, const RtStepRecord *record);
void rt_log_validation(RtLog *log, int64_t step, double loss);
void rt_log_sample(RtLog *log, int64_t step, const char *text);
void rt_log_end(RtLog *log, const RtProgram *program, const RtRun *run, int64_t step);
void rt_log_break(RtLog *log); /* ends a progress line that is being rewritten */

/* ---- call.c ---- */
typedef struct RtProfileEntry {
    const char *name;
    double seconds;
    int64_t calls;
} RtProfileEntry;
typedef struct RtProfile {
    RtProfileEntry entry[96];
    int entries;
} RtProfile;
void rt_profile_print(const RtProfile *profile, FILE *to);
/* Fills everything but the tensors of the program with NaN, for poison mode; host memory too. */
void rt_poison_transient(RtRun *run, const RtProgram *program);

/* ---- sample.c ---- */
/* `count` tokens after a newline, as printable text (bytes) or numbers; from rt_allocate. */
char *rt_sample_text(RtRun *run, const RtProgram *program, int format, uint64_t seed, int64_t step,
                     int64_t count);

#endif
