/* What the runtime's files share. rt_main (train.c) owns one RtTrainer and calls the others in order:
 * options, device, data, weights or checkpoint, loop, sample. Functions that can be survived answer 0 with a
 * message in an RtError; everything else ends the program through rt_fail with one line and the exit code of
 * rt.h. */
#ifndef REMAT_RT_INTERNAL_H
#define REMAT_RT_INTERNAL_H

#include "checksum.h"
#include "rt.h"
#include "../kernels/guard.h"
#include "sizes.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The exit codes of a trainer, beside 0 and 1; docs/trainer.md lists them. rematc has a table of its own, and
 * where both have one for the same thing it is the same number. */
enum { RT_EXIT_USAGE = 2, RT_EXIT_MEMORY = 3, RT_EXIT_DEVICE = 5, RT_EXIT_IO = 6, RT_EXIT_SAVED = 75 };

typedef struct RtError {
    char text[512];
    int reason; /* errno where the system refused, which says nothing of a file's contents; 0: they are wrong
                 */
} RtError;

#if defined(__GNUC__)
#define RT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define RT_PRINTF(text, first)
#endif

extern const char *rt_called; /* what messages begin with: "train" */
extern int rt_memory_exit;    /* the code of whoever is called so where memory is short: RT_EXIT_MEMORY */
_Noreturn void rt_fail(int code, const char *format, ...) RT_PRINTF(2, 3);
void rt_warn(const char *format, ...) RT_PRINTF(1, 2);
/* Writes text of others too, made safe for a terminal (printable.h). */
void rt_say(FILE *to, const char *format, ...) RT_PRINTF(2, 3);
int rt_error(RtError *error, const char *format, ...) RT_PRINTF(2, 3); /* always 0; reason 0 */
int rt_error_errno(RtError *error, const char *what);   /* "what: why", or why alone; always 0 */
void *rt_allocate(size_t bytes);                        /* zeroed; exits 3 */
char *rt_text(const char *format, ...) RT_PRINTF(1, 2); /* a formatted copy, from rt_allocate */
int rt_distance(const char *a, const char *b); /* of two names, in letters to change; 999: long ones */
int rt_ends_in(const char *name, const char *tail);
double rt_seconds(void);           /* monotonic */
int64_t rt_dtype_bytes(int dtype); /* of an element, where the type is not packed */
int64_t rt_tensor_count(const RtTensor *tensor);
int64_t rt_tensor_bytes(const RtTensor *tensor);
static inline float rt_float_of(uint32_t word) { /* the bits of one as the other */
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}
static inline uint32_t rt_word_of(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}
static inline float rt_from_bf16(uint16_t bits) {
    return rt_float_of((uint32_t)bits << 16);
}
/* Round to nearest even; NaN stays NaN. */
static inline uint16_t rt_to_bf16(float value) {
    uint32_t word = rt_word_of(value);
    return (uint16_t)((word & 0x7fffffffu) > 0x7f800000u ? word >> 16 | 0x40
                                                         : (word + 0x7fffu + (word >> 16 & 1)) >> 16);
}

/* Up to the next multiple of a unit. */
static inline int64_t rt_aligned(int64_t bytes, int64_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

/* ---- files.c ---- */
struct stat;
typedef struct RtNames {
    char **at;
    int count, room;
} RtNames;
void rt_names_add(RtNames *names, const char *name);
int rt_names_find(const RtNames *names, const char *name); /* -1: not there */
void rt_names_free(RtNames *names);
/* A text to write into; it is `text`, from malloc, once it is closed. Exit with 3. */
FILE *rt_text_open(char **text, size_t *length);
void rt_text_close(FILE *to, char *const *text);
/* A descriptor for reading, or -1 with an error; what is no regular file is refused without waiting for it.
 */
int rt_open_regular(const char *path, struct stat *status, RtError *error);
/* All of the bytes, or 0 with an error. */
int rt_read_at(int fd, void *to, int64_t bytes, int64_t offset, RtError *error);
/* Renames to PATH.suffix, or PATH.suffix.1 and so on where that is taken; the new name, or NULL with errno.
 */
char *rt_set_aside(const char *path, const char *suffix);
/* A JSON string, quotes included, whatever the bytes are. */
char *rt_json_string(const char *text);

/* That so many bytes can be written at each of the paths, those of one file system together. Exits 6. */
void rt_need_space(const char *const *path, const int64_t *bytes, int count);

/* ---- host_memory.c ---- */
/* What this process may still take: -1 where it is not known. */
int64_t rt_host_free_bytes(void);
/* The number after `key` in a file of "key value" lines, or a bare number when key is ""; -1: not there. */
int64_t rt_read_number(const char *path, const char *key);

/* ---- options.c ---- */
typedef struct RtOptions {
    int64_t steps; /* stop after this many; -1: the program's */
    const char *data, *log, *save_dir;
    int fresh, dry_run, quiet, poison, profile, no_graph, threads;
    int64_t sample; /* tokens to generate at the end; -1: 256 for bytes, else none */
    int seed_given; /* else a checkpoint's seed goes on */
    uint64_t seed;
    double temperature; /* of the sample */
    double max_loss;    /* a step's loss above it ends the run; infinite: never */
} RtOptions;
/* Returns -1 to go on, else the exit code (--help, --version, a usage error). */
int rt_options_parse(RtOptions *options, const RtProgram *program, int argc, char **argv);

/* ---- steps.c: what is done over and over ---- */
typedef enum RtStretch { RT_FIRST, RT_LATER, RT_UPDATE, RT_STRETCHES = RT_RECORDINGS } RtStretch;
typedef struct RtNodes {
    int64_t of[RT_STRETCHES]; /* launches, fills and copies; 0: the program has none */
} RtNodes;
/* Records them, with the run as it is; of a run that has none recorded they are launched operation by
 * operation. */
void rt_steps_record(RtRun *run, const RtProgram *program, RtNodes *nodes);
void rt_steps_do(RtRun *run, const RtProgram *program, RtStretch stretch);
void rt_steps_forget(RtRun *run);

/* ---- warm.c ---- */
/* Runs every kernel and product of the program once, over zeros, in the arena that is allocated, and records
 * the steps, unless an option is against it. What loading code and recording take is taken when it returns;
 * where that fails, the program ends with the exit code of the failure. Nothing to do on the host. Prints
 * what the device uses. */
void rt_warm_up(RtRun *run, const RtProgram *program, const RtOptions *options);

/* ---- data.c: tokens of files, cut into windows ---- */
typedef struct RtShard {
    int fd; /* -1: closed for now */
    uint64_t device, inode;
    int64_t bytes, first_byte, tokens, windows;
    int64_t mask_byte, vocabulary_byte; /* of a file of documents: where these parts begin */
    int token_bytes;                    /* 1, 2, 4 */
    char *path;
} RtShard;
typedef struct RtDocument { /* one with a target to learn: of at least two tokens */
    int64_t start;          /* which token of its shard it begins with */
    uint32_t tokens;        /* that are used: at most T + 1 */
    uint32_t targets;       /* that count, by its loss mask */
    uint32_t shard;
} RtDocument;
typedef struct RtPack { /* the rows of an epoch: row r holds the documents member[begin[r] .. begin[r + 1]) */
    int64_t epoch;
    uint32_t rows, *begin, *member; /* NULL: nothing is packed */
} RtPack;
enum { RT_PACKS = 2 };  /* a step may begin in one epoch and end in the next */
typedef struct RtData { /* windows of T+1 tokens, T apart, none across two shards; or documents */
    RtShard *shard;
    int shards;
    RtShard **open; /* a ring of those whose descriptors are open */
    int64_t most_open, opened;
    unsigned char *buffer;
    int format; /* RtFormat, never RT_AUTO */
    int64_t context, vocab;
    int64_t windows;                     /* or documents */
    int64_t first, count;                /* of this split: [first, first + count) */
    RtDocument *document;                /* [windows]; NULL: windows */
    int64_t cut_documents, cut_tokens;   /* longer than T + 1, and what that leaves out */
    int64_t short_documents;             /* of fewer than two tokens */
    int rows_apart;                      /* a row for each document */
    uint64_t encoding, text;             /* fingerprints of a file of documents; of texts, over all files */
    uint64_t seed;                       /* of the order of documents */
    int shuffled;                        /* 0: in the order of the files */
    RtPack pack[RT_PACKS];               /* of two epochs */
    int64_t epochs, *rows_before, epoch; /* known: rows_before[0 .. epochs]; looked at last */
} RtData;
/* Opens the file or the shards of a pattern; checks length and token range. Exits 6. */
void rt_data_open(RtData *data, const char *path, int format, int64_t batch, int64_t context, int64_t vocab);
void rt_data_reopen(RtData *data, RtShard *shard); /* where it was closed meanwhile */
/* Cuts the last `fraction` of the windows or documents off into `validate`. Exits 6 where either side is too
 * short. */
void rt_data_split(RtData *train, RtData *validate, double fraction, int64_t batch);
void rt_data_close(RtData *data); /* before the data that it was split off */
/* The window at `position` of an endless run of seeded permutations of [0, count). */
int64_t rt_data_shuffle(uint64_t seed, int64_t position, int64_t count);
/* Fills a row [T] of tokens and one of targets with the split's window `window`. Exits 6. */
void rt_data_window(RtData *data, int64_t window, int32_t *tokens, int32_t *targets);
int rt_data_holds(const RtData *data, uint64_t device, uint64_t inode); /* whether that file is one of it */
/* Of a shard, into the buffer: bytes; tokens, which are below the vocabulary. Exit 6. */
void rt_data_read(RtData *data, RtShard *shard, int64_t offset, int64_t bytes);
void rt_data_read_tokens(RtData *data, RtShard *shard, int64_t begin, int64_t count);
/* Tokens that are in the buffer, `begin` the place in its shard of the first. */
void rt_data_check_tokens(const RtData *data, const RtShard *shard, int64_t begin, int64_t count);
int64_t rt_data_token(const RtData *data, const RtShard *shard, int64_t index);

/* ---- documents_file.c, documents.c: documents packed into rows ---- */
typedef struct RtRows { /* [.., T] each; the last three are NULL but for documents */
    int32_t *tokens, *targets;
    float *mask;
    int32_t *first_key, *last_query, *positions; /* kernels.h: attend, rope */
} RtRows;
/* Checks all of a shard that was opened, and adds its documents where data->format is RT_DOCUMENTS. Exits 6.
 */
void rt_documents_open(RtData *data, RtShard *shard);
/* Says what they are and what of them is left out; exits 6 where nothing is to be learnt from this split. */
void rt_documents_look(const RtData *data, const char *path, int quiet);
typedef struct RtVocabulary { /* the text of each token, of those that end a sample their numbers */
    uint32_t tokens, stops;
    uint32_t *end, *stop; /* in `text`: token i is [end[i - 1], end[i]) */
    const char *text;
    unsigned char *all;
} RtVocabulary;
/* Of the first file of documents; 0: it has none. Exits 6. */
int rt_vocabulary_open(RtVocabulary *vocabulary, RtData *data);
void rt_vocabulary_close(RtVocabulary *vocabulary);
/* How many rows so many epochs have. */
int64_t rt_documents_rows(RtData *data, uint64_t seed, int64_t epochs);
/* Of the row at `position`, counted through all epochs: how many targets count; its tokens and all the rest.
 */
int64_t rt_documents_targets(RtData *data, uint64_t seed, int64_t position);
void rt_documents_row(RtData *data, uint64_t seed, int64_t position, const RtRows *to);
/* The same without epochs, in the order of the files; how many targets of the row count. */
int64_t rt_documents_rows_in_order(RtData *data);
int64_t rt_documents_row_in_order(RtData *data, int64_t row, const RtRows *to);
/* Of the split's first document what stands before the first token with loss, at least one token; from
 * rt_allocate. */
int32_t *rt_documents_prompt(RtData *data, int64_t *count);
void rt_documents_close(RtData *data, int borrowed); /* borrowed: the documents are another split's */

/* ---- batch.c: the rows of a micro-step, and what else differs between micro-steps ---- */
typedef struct RtSlot { /* of memory that the device fetches from by itself */
    KStep *step;
    RtRows rows;      /* [B, T] */
    int64_t position; /* of training: the first of the rows it holds; -1: others */
} RtSlot;
typedef struct RtBatch { /* one slot is filled while the device computes with what the other held */
    char *slots;
    RtSlot slot[RT_SLOTS];
    int next; /* to be sent */
} RtBatch;
void rt_batch_open(RtBatch *batch, const RtProgram *program);
void rt_batch_close(RtBatch *batch);
/* Rows from `position` on, counted through all epochs, into the arena, and the numbers of run->cx to where
 * kernels read them. What was prepared is not read again. */
void rt_batch_train(RtBatch *batch, const RtRun *run, const RtProgram *program, RtData *data, uint64_t seed,
                    int64_t position);
/* Reads these rows, which are trained on next: while the device still computes with those before. */
void rt_batch_prepare(RtBatch *batch, const RtProgram *program, RtData *data, uint64_t seed,
                      int64_t position);
/* Row `position` and those after it of `rows` that are spread over the whole data; how many targets count. */
int64_t rt_batch_validate(RtBatch *batch, const RtRun *run, const RtProgram *program, RtData *data,
                          int64_t position, int64_t rows);
/* How many targets count of the rows from `position` on. */
int64_t rt_batch_targets(RtData *data, uint64_t seed, int64_t position, int64_t rows);
/* Rows of so many epochs; rows to validate on. */
int64_t rt_batch_epochs(RtData *data, uint64_t seed, int64_t epochs);
int64_t rt_batch_rows(RtData *data);

/* ---- schedule.c ---- */
double rt_learning_rate(const RtProgram *program, int64_t step); /* step from 0 */

/* ---- results.c: what steps result in, for the host ---- */
typedef struct RtResult {
    float loss_sum, square_norm; /* where the program has one */
    KVerdict verdict;            /* where it has a guard */
} RtResult;
typedef struct RtResults { /* asked for and read in the same order, RT_SLOTS of them at most on their way */
    char *slots;
    int next, waiting;
} RtResults;
void rt_results_open(RtResults *results);
void rt_results_close(RtResults *results);
void rt_results_ask(RtResults *results, const RtRun *run, const RtProgram *program); /* of what was issued */
const RtResult *rt_results_read(RtResults *results);                                 /* waits for it */

/* ---- safetensors.c is in safetensors.h; init.c, weights.c ---- */
/* Both: every tensor, or those alone that no checkpoint holds. */
void rt_init_tensors(RtRun *run, const RtProgram *program, uint64_t seed, int frozen_only, void *chunk);
/* Parameters and masters from a safetensors file or a folder of them (weight_files.h); the rest stays as it
 * was. Returns a checksum of what was frozen (of all, where nothing is): of names, types, shapes and bytes as
 * the files have them, whatever files they are in and in whatever order. Exits 6. */
uint64_t rt_weights_load(RtRun *run, const RtProgram *program, const char *path, int frozen_only, void *chunk,
                         int quiet);

/* ---- checkpoint.c: one file ---- */
typedef struct RtState { /* what a checkpoint holds besides tensors */
    int64_t step;        /* finished optimizer steps */
    int64_t cursor;      /* windows consumed */
    uint64_t seed;
    int64_t windows;     /* of the training data, to notice that it changed */
    uint64_t base;       /* what rt_weights_load returned; 0: nothing was loaded */
    int64_t passed_over; /* of the steps, those that changed no weight */
    KGuard guard;
} RtState;
/* Whole or not at all: 1, or 0 with errno. */
int rt_checkpoint_write(const char *path, const RtRun *run, const RtProgram *program, const RtState *state,
                        void *chunk);
/* Into the arena, of which a failure may leave a part overwritten; 0 with an error. Exits 6 where the file is
 * sound but of another program. */
int rt_checkpoint_read(RtRun *run, const RtProgram *program, const char *path, RtState *state, void *chunk,
                       RtError *error);
/* No more than one takes on the disk. */
int64_t rt_checkpoint_bytes(const RtProgram *program);
/* The step its metadata tell, from the header alone; 0 with an error. */
int rt_checkpoint_step(const char *path, int64_t *step, RtError *error);
/* Whether it is a checkpoint as it was written, to the last byte; 0 with an error. */
int rt_checkpoint_check(const char *path, RtError *error);

/* ---- log_file.c: the file that --log names ---- */
typedef struct RtLogFile {
    FILE *to;      /* NULL: none, or given up */
    char *path;    /* links followed */
    char *pending; /* a run that has saved nothing yet writes here, so that an earlier run's lines stay */
    int regular;
    uint64_t device, inode;
    char *waiting; /* lines that could not be written yet */
    size_t waiting_bytes, waiting_room;
    int lost; /* errno of the write that failed: lines are missing; 0: none */
} RtLogFile;
/* Opens and looks, changing nothing: exits 6 where it cannot be written or holds anything but a log. */
void rt_log_file_open(RtLogFile *file, const char *path);
/* The run goes on after `step`: lines beyond are cut off, and where they go on for longer than the
 * `save_every` steps that a kill can have cost (0: not known), all lines stay as PATH.old first. A run from
 * the start sets earlier lines aside as PATH.old, a fresh one not before rt_log_file_hand_over. Exits 6. */
void rt_log_file_begin(RtLogFile *file, int64_t step, int64_t save_every, int fresh);
/* The lines that a fresh run has written so far take their place; 0 with an error. May be begun again. */
int rt_log_file_hand_over(RtLogFile *file, RtError *error);
void rt_log_file_write(RtLogFile *file, const char *line);
void rt_log_file_close(RtLogFile *file);

/* ---- folder.c: the checkpoints of a run ---- */
typedef struct RtFolder {
    const char *dir; /* NULL: nothing is saved */
    int lock;
    int fresh;           /* what is here is an earlier run's, until this one has saved */
    int unfinished;      /* a new run was about to take the folder over: rt_folder_hand_over comes next */
    int64_t newest_step; /* that this run has saved or loaded; -1: none */
} RtFolder;
/* Makes the folder, takes its lock, clears what a killed run left half written. Exits 6. */
void rt_folder_open(RtFolder *folder, const char *dir, int fresh);
/* Sets earlier checkpoints aside as *.old and gives the new run's its name. */
int rt_folder_hand_over(RtFolder *folder, RtError *error);
/* The newest sound checkpoint into the arena: 1, or 0 where there is none. Damaged ones are put aside with a
 * warning. Exits 6 where none of several can be read, or one cannot be read at the moment. */
int rt_folder_load(RtFolder *folder, RtRun *run, const RtProgram *program, RtState *state, void *chunk);
/* Saves, then removes the oldest beyond the program's save_keep (0: none); 0 with an error. */
int rt_folder_save(RtFolder *folder, const RtRun *run, const RtProgram *program, const RtState *state,
                   RtLogFile *log, void *chunk, RtError *error);
char *
rt_folder_newest(const RtFolder *folder); /* the path of what was saved or loaded last, from rt_allocate */
/* The same of a folder that nothing is saved into now; NULL: there is none, or it cannot be read. What holds
 * another step than its name says is warned of and passed over. */
char *rt_folder_newest_in(const char *dir);
/* How many checkpoints may come to lie in the folder beside those that are there: of `left` that will be
 * saved. */
int64_t rt_folder_growth(const RtFolder *folder, const RtProgram *program, int64_t left);
void rt_folder_close(RtFolder *folder);

/* ---- log.c ---- */
typedef struct RtLog {
    RtLogFile file;
    int terminal, quiet, line_open;
    int lost; /* errno where standard output could not be written; 0: it could */
    int64_t measured_steps;
    double measured_seconds;
} RtLog;
typedef struct RtStepRecord {
    int64_t step, steps;
    float loss;           /* NaN: no target counted, and nothing was done */
    int passed_over;      /* by the guard */
    int64_t targets;      /* that count, of documents; -1: all do */
    double gradient_norm; /* negative: not known */
    double learning_rate, seconds;
} RtStepRecord;
/* Opens FILE.jsonl where there is one (rt_log_file_open). */
void rt_log_open(RtLog *log, const char *path, int quiet);
void rt_log_plan(const RtProgram *program, int64_t free_bytes, int64_t host_free_bytes);
/* How steps are done: recorded, or why not. */
void rt_log_recorded(const RtNodes *nodes, const char *why_not);
/* What is used beside the arena once everything is loaded; used_bytes and free_bytes of the whole device. */
void rt_log_warm(const RtProgram *program, int64_t used_bytes, int64_t free_bytes);
void rt_log_step(RtLog *log, const RtProgram *program, const RtRun *run, const RtStepRecord *record);
void rt_log_validation(RtLog *log, int64_t step, double loss);
void rt_log_sample(RtLog *log, int64_t step, const char *prompt, const char *text); /* prompt NULL: none */
void rt_log_end(RtLog *log, const RtProgram *program, const RtRun *run, int64_t step);
void rt_log_break(RtLog *log); /* ends a progress line that is being rewritten */

/* ---- watch.c: does the loss run away? ---- */
typedef struct RtWatch {
    double guessing;    /* loss of a model that knows nothing: ln(vocabulary) */
    double limit;       /* above it the loss is worse than anything a run begins with */
    double sum, weight; /* of the recent losses */
    double best;        /* lowest mean of recent losses; infinite at first */
    int64_t seen;
    int diverged;
} RtWatch;
void rt_watch_begin(RtWatch *watch, int64_t vocab, int64_t step);
/* Takes in the loss of a step; 1 where the run begins to diverge with it: a warning is due. */
int rt_watch_step(RtWatch *watch, double loss);
double rt_watch_mean(const RtWatch *watch);

/* ---- layers.c ---- */
/* The program with a row for every tensor, as the runtime knows it; its list of tensors is its own. */
RtProgram rt_whole(const RtProgram *program);
void rt_whole_free(const RtProgram *program, RtProgram *whole);

/* ---- take.c: operands of calls over several tensors ---- */
void rt_taken_open(RtRun *run, int most); /* room for so many */
void rt_taken_close(RtRun *run);

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
/* A high water mark that something ends at or below. */
void rt_raise_to(int64_t *high_water_bytes, int64_t end);
void rt_profile_print(const RtProfile *profile, FILE *to);
/* Fills everything but the tensors of the program with NaN, for poison mode; host memory too. */
void rt_poison_transient(RtRun *run, const RtProgram *program);
/* Zeros past the elements of tensors whose storage has more room; after rt_poison_transient. */
void rt_clear_room(RtRun *run, const RtProgram *program);

/* ---- sample.c ---- */
typedef struct RtSample {
    const int32_t *prompt;          /* one token or more */
    int64_t prompts, most;          /* how many; how many to make */
    const RtVocabulary *vocabulary; /* NULL: there is none */
    int format;                     /* then bytes are shown as they are, others as numbers */
    double temperature;             /* 0: always the likeliest token */
    uint64_t seed;
    int64_t step;
} RtSample;
/* What the model writes behind the prompt, up to a token that ends it (which is left out), to `most` tokens,
 * or until *stop is set; from rt_allocate, as are tokens as printable text. */
char *rt_sample_text(RtRun *run, const RtProgram *program, const RtSample *sample,
                     const volatile sig_atomic_t *stop);
char *rt_tokens_text(const RtVocabulary *vocabulary, int format, const int32_t *token, int64_t count);

#endif
