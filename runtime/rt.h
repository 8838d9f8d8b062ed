/* The contract between an emitted program and the runtime. An emitted train.c holds tables and some functions
 * (one micro-step, the update, one evaluation batch, one sampling pass, that of one token) and hands them to
 * rt_main, which does the rest: arena, data, loop, log, checkpoints, signals. The runtime knows nothing of the compiler; the same
 * sources serve both targets, but for device_host.c | device_cuda.c. */
#ifndef REMAT_RT_H
#define REMAT_RT_H

#include "../kernels/kernels.h"
#include "../kernels/product.h"
#include "../kernels/step.h"
#include "../kernels/variant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what an emitted program says of itself ---- */

/* Trained weights; those that are only read; of low-rank adapters, trained and in no files of weights; states. */
typedef enum RtKind { RT_PARAM, RT_FROZEN, RT_ADAPTER, RT_MASTER, RT_MOMENT1, RT_MOMENT2, RT_ACCUMULATOR } RtKind;
typedef struct RtTensor {       /* a persistent tensor */
    const char *name;           /* parameters: safetensors name; states: "m.NAME", "v.NAME", "master.NAME", "grad.NAME" */
    int kind;                   /* RtKind */
    int dtype, rank;
    int64_t dim[K_MAX_RANK];
    int64_t offset;             /* bytes from the arena's start */
    int init;                   /* parameters: 0 normal(0, init_value), 1 constant init_value, 2 uniform in +-init_value */
    double init_value;
    int of;                     /* which parameter a state belongs to, counted with all layers; its own place for parameters */
    int64_t room;               /* elements its storage has room for, zero past its own; 0: for its own alone */
    const int64_t *column;      /* of a row that stands for a tensor in each layer: their offsets ... */
    int apart;                  /* ... so many numbers apart; NULL: `offset` is the one */
} RtTensor;
/* The last two, from a table of offsets with a row a layer. */
#define COLUMN(table, member) &table[0].member, (int)(sizeof *table / sizeof(int64_t))

typedef struct RtLayers {       /* rows of `tensor` that stand for tensors of each layer, layer after layer */
    int first, rows;            /* those of one layer; "*" in their names is its number */
    int layers, number;         /* how many there are, the first one's number */
    int parameters;             /* a layer has: `of` is that of the first layer */
} RtLayers;

typedef struct RtTie {          /* a second name of a parameter, which files of weights may hold too */
    const char *name;
    int of;                     /* which parameter, counted with all layers */
} RtTie;

typedef struct RtCategory {     /* planned memory, for the start-up table */
    const char *name;
    int64_t bytes;              /* at the peak step */
} RtCategory;

typedef enum RtSchedule { RT_CONSTANT, RT_COSINE, RT_LINEAR, RT_WSD } RtSchedule;
/* RT_TEXT: a file of documents (documents_format.h) as one run of tokens, cut into windows. */
typedef enum RtFormat { RT_AUTO, RT_BYTES, RT_U16, RT_U32, RT_LLMC, RT_DOCUMENTS, RT_TEXT } RtFormat;

typedef struct RtDocumentInputs { /* which document a token is of: i32 [B,T] each, -1: the program reads none */
    int64_t first_key_offset, last_query_offset, positions_offset;
    int64_t sample_first_key_offset, sample_last_query_offset, sample_positions_offset; /* [1,T]: of all of them */
} RtDocumentInputs;

typedef struct RtRun RtRun;
typedef void RtSteps(RtRun *run);

typedef struct RtProgram {
    const char *model;          /* "bytes_gpt" */
    const char *source;         /* the .remat file's name */
    const char *target;         /* "host", "cuda" */
    const char *device;
    const KChoice *product;     /* on CUDA: which algorithms products take; from the profile that the plan was made with */
    int products;
    const char *libraries;      /* then: of which versions they are algorithms (rt_device_libraries) */
    int64_t arena_bytes;        /* planned peak: allocated once */
    int64_t reserved_bytes;     /* planned beside the arena: the device's context, and code_bytes; 0 on the host */
    int64_t code_bytes;         /* of that, for the code of kernels and libraries, which is loaded after the arena */
    int64_t process_bytes;      /* planned of the process beside the arena, host_bytes and its threads, on the host; 0: not known */
    int64_t host_bytes;         /* pinned host memory for copies, allocated once; 0: none */
    int copies;                 /* tickets that OFFLOAD and FETCH use: 0 .. copies - 1 */
    const RtCategory *category;
    int categories;
    double planned_seconds;     /* one optimizer step */
    double flops;               /* of the model, one optimizer step, recomputation not counted: MFU */
    double peak_flops;          /* of the device, for MFU; 0: not known */

    const RtTensor *tensor;     /* parameters first */
    int tensors;
    const RtLayers *layers;     /* in the order of their rows */
    int repeats;                /* how many; 0: every row is one tensor */
    const RtTie *tie;
    int ties;
    const int *transposed;      /* which parameters files of weights hold as [in, out]; counted with all layers */
    int transposed_count;

    int64_t batch, context, vocab, accumulate;
    int64_t tokens_offset, targets_offset, mask_offset; /* i32 [B,T], i32 [B,T], f32 [B,T]; mask -1: none */
    const RtDocumentInputs *documents;                  /* NULL: data without documents, or nothing that asks */
    int64_t loss_offset, norm_offset;                   /* f32 [1] each */

    RtSteps *micro_step;        /* gradients and the loss sum; writes no parameter and no optimizer state ... */
    RtSteps *update;            /* parameters, states and the sum of squares at norm_offset (-1: none) */
    int updates_within;         /* ... unless this is set: then micro_step begins what `update` (may be NULL) ends */
    int most_taken;             /* operands of the largest CALL_TAKEN; 0: there is none */
    RtSteps *evaluate;          /* the loss sum of one batch, as in micro-step 0; no gradients, no dropout */
    RtSteps *sample;            /* batch 1: tokens at sample_tokens_offset -> logits at sample_logits_offset */
    int64_t sample_context;     /* T of the sampling steps where it is not `context`; 0: it is */
    int64_t sample_tokens_offset, sample_logits_offset; /* i32 [1,T]; [1,T,V] of sample_logits_dtype */
    int64_t sample_logits_pitch; /* elements from a row of them to the next where that is not `vocab`; 0: it is */
    int sample_logits_dtype;
    RtSteps *step;              /* one token i32 [1,1] at its position i32 [1,1] -> logits [1,1,V], over what it kept when it
                                   ran for those at 0 .. position - 1; NULL: there is none */
    int64_t step_token_offset, step_position_offset, step_logits_offset;
    int64_t prompt_at_once;     /* `sample` leaves there what `step` keeps, of all its tokens: it is the faster one for prompts
                                   of so many and more. 0: it does not */
    int64_t sample_positions_offset; /* then: i32 [1,T], 0 .. T - 1 */

    int64_t steps;
    int64_t epochs;             /* instead of steps: so often all of the data, rounded up to whole steps; 0: `steps` */
    double beta1, beta2;        /* of AdamW's moments; on CUDA */
    double learning_rate, floor;
    int schedule;               /* RtSchedule */
    int64_t warmup_steps;
    double decay_part;          /* RT_WSD: the fraction of the steps, the last ones, in which the rate falls */
    double guard_spread;        /* a step whose loss is so many deviations above recent ones is passed over; 0: none */
    uint64_t seed;

    const char *train_path, *validate_path; /* NULL: none */
    int format;                 /* RtFormat */
    int rows_apart;             /* RT_DOCUMENTS: a row for each */
    int prepared;               /* the files were made of text, by what the fingerprints tell; texts 0: not known */
    uint64_t encoding, train_text, validate_text;
    double validate_fraction;
    int64_t validate_every, validate_batches;
    const char *save_dir;       /* NULL: nothing is saved */
    int64_t save_every, save_keep;
    const char *weights_path;   /* safetensors file, or a folder of them; NULL: initialise from the seed */
    int64_t adapter_rank;       /* of every RT_ADAPTER; 0: there are none */
    double adapter_alpha, adapter_dropout;
    int adapter_rank_stabilized;
    const char *adapter_path, *merged_path; /* folders to write when training is done; NULL: not */
    const char *merged_onto_path;   /* adapters are added to weights as this folder has them, never quantised; NULL: to
                                       those of weights_path, to what they stand for where they were quantised */
} RtProgram;

/* Runs the trainer's command line: see `train --help`. Returns the exit code. */
int rt_main(const RtProgram *program, int argc, char **argv);

/* ---- what emitted steps use ---- */

struct RtRun {
    char *arena, *host;         /* on the device; pinned host memory, NULL where the plan needs none */
    KCtx cx;
    int64_t high_water_bytes;   /* highest end of any buffer a step used */
    int64_t host_high_water_bytes;
    int poison;                 /* fill dead ranges with NaN */
    struct RtProfile *profile;  /* seconds by operation; NULL unless asked for */
    struct RtTaken *taken;      /* operands of the next CALL_TAKEN; NULL where there is none */
    struct RtRecorded *recorded; /* stretches of a step that are done by replay (steps.c); NULL: none */
    struct KVerdict *verdict;   /* of the guard, in the device's memory; goes on from step to step */
    void (*called)(RtRun *run, double seconds); /* told of each call and how long it took (tune_steps.c); NULL: nobody */
    int (*choose)(RtRun *run);  /* asked before each call which variant it takes (tune.c); NULL: what VARIANT says */
    void *watch;                /* whose who is told or asked */
};

/* One operation: checks nothing, notes the high water mark, hands over workspace, calls the kernel.
 * `kernel_name` is for the profile. */
void rt_call(RtRun *run, const char *kernel_name, KFunction *kernel, int nout, const KTensor *out, int nin,
             const KTensor *in, const KAttr *attr, int64_t workspace_offset, int64_t workspace_bytes);
/* Operands of a call that works over several tensors, one tensor after the other: what it reads, and what it writes
 * over. The call has all of the first, then all of the second as its inputs, and the second as its outputs. */
void rt_take(RtRun *run, int over, int count, const KTensor *tensor);
void rt_call_taken(RtRun *run, const char *kernel_name, KFunction *kernel, const KAttr *attr, int64_t workspace_offset,
                   int64_t workspace_bytes);
/* The storage at [offset, offset + bytes) is dead: filled with NaN in poison mode, else nothing. */
void rt_free(RtRun *run, int64_t offset, int64_t bytes);
/* Begins a copy from the arena to host memory, or back: after everything issued before it, beside what is issued
 * after it, up to the wait for its ticket; whatever comes after the wait finds it done. Copies out are done one
 * after the other, and so are copies in. A ticket may be used again once it was waited for. */
void rt_offload(RtRun *run, int ticket, int64_t offset, int64_t host_offset, int64_t bytes);
void rt_fetch(RtRun *run, int ticket, int64_t offset, int64_t host_offset, int64_t bytes);
void rt_wait(RtRun *run, int ticket);

/* The emitted notation, where at_gelu and at_fc are byte offsets into the arena:
 *     CALL(gelu, OUT(F32(at_gelu, 16, 256, 1024)), IN(F32(at_fc, 16, 256, 1024)), NO_ATTR, NO_WORKSPACE);
 *     FREE(at_fc, 16777216);
 * In a function that several layers share, those that differ stand in a table: `at` is the layer's row of it, `w` the
 * row of its weights, `m`, `v`, `master` and `grad` those of their states:
 *     CALL(linear, OUT(F32(at->fc, 16, 256, 1024)), IN(F32(at->ln, 16, 256, 256), F32(w->fc_weight, 1024, 256)), ...);
 * A call of another variant of its kernel than the first (kernels/variant.def):
 *     VARIANT(attend_q32);
 *     CALL(attend, ...);
 * One call for the gradients, weights and states of all layers:
 *     TAKE(BF16(at->fc_bwd_w, 1024, 256));   TAKE_OVER(BF16(w->fc_weight, 1024, 256), F32(m->fc_weight, ..), ..);   ...
 *     CALL_TAKEN(adamw, ATTR(.tensors = 50, ..), NO_WORKSPACE);
 * Copies, with host_in an offset into host memory:
 *     OFFLOAD(0, at_in, host_in, 4194304);   ...   WAIT(0);   FREE(at_in, 4194304);
 *     FETCH(1, at_in_2, host_in, 4194304);   ...   WAIT(1);   CALL(..., IN(F32(at_in_2, ...)), ...); */
#define RT_COUNT(...)      RT_COUNT_(__VA_ARGS__, 4, 3, 2, 1, 0)
#define RT_COUNT_(a, b, c, d, n, ...) n
#define RT_TENSOR(type, room, offset, ...)                                                                    \
    {run->arena + (offset), type, RT_COUNT(__VA_ARGS__), {__VA_ARGS__}, room}
#define F32(offset, ...)   RT_TENSOR(K_F32, 0, offset, __VA_ARGS__)
#define BF16(offset, ...)  RT_TENSOR(K_BF16, 0, offset, __VA_ARGS__)
#define I32(offset, ...)   RT_TENSOR(K_I32, 0, offset, __VA_ARGS__)
#define NF4(offset, ...)   RT_TENSOR(K_NF4, 0, offset, __VA_ARGS__)
#define NF4_F32(offset, ...) RT_TENSOR(K_NF4_F32, 0, offset, __VA_ARGS__)
#define DYNAMIC8(offset, ...) RT_TENSOR(K_DYNAMIC8, 0, offset, __VA_ARGS__)
#define UDYNAMIC8(offset, ...) RT_TENSOR(K_UDYNAMIC8, 0, offset, __VA_ARGS__)
/* ROOM(elements, BF16, at_logits, 16, 1024, 50257): a tensor with more room than elements (kernels.h). */
#define ROOM(elements, type, offset, ...) RT_TENSOR(K_##type, elements, offset, __VA_ARGS__)
#define OUT(...)           __VA_ARGS__
#define IN(...)            __VA_ARGS__
#define ATTR(...)          {__VA_ARGS__} /* designated, in attr.def's order (C++ needs it) */
#define NO_ATTR            {0}
#define WORKSPACE(offset, bytes) offset, bytes
#define NO_WORKSPACE       0, 0
#define CALL(name, outs, ins, attributes, workspace)                                                          \
    do {                                                                                                      \
        const KTensor out_[] = {outs}, in_[] = {ins};                                                         \
        const KAttr attr_ = attributes;                                                                       \
        rt_call(run, #name, k_##name, (int)(sizeof out_ / sizeof *out_), out_,                                \
                (int)(sizeof in_ / sizeof *in_), in_, &attr_, workspace);                                     \
    } while (0)
#define VARIANT(name)      run->cx.variant = K_VARIANT_##name
#define RT_TAKE(over, ...)                                                                                    \
    do {                                                                                                      \
        const KTensor taken_[] = {__VA_ARGS__};                                                               \
        rt_take(run, over, (int)(sizeof taken_ / sizeof *taken_), taken_);                                    \
    } while (0)
#define TAKE(...)          RT_TAKE(0, __VA_ARGS__)
#define TAKE_OVER(...)     RT_TAKE(1, __VA_ARGS__)
#define CALL_TAKEN(name, attributes, workspace)                                                               \
    do {                                                                                                      \
        const KAttr attr_ = attributes;                                                                       \
        rt_call_taken(run, #name, k_##name, &attr_, workspace);                                               \
    } while (0)
#define FREE(offset, bytes) rt_free(run, offset, bytes)
#define OFFLOAD(ticket, offset, host_offset, bytes) rt_offload(run, ticket, offset, host_offset, bytes)
#define FETCH(ticket, offset, host_offset, bytes)   rt_fetch(run, ticket, offset, host_offset, bytes)
#define WAIT(ticket)        rt_wait(run, ticket)

/* ---- memory and transfers, one implementation a target (device_host.c, device_cuda.c) ---- */
/* Errors print one line and exit with the codes of the command line (5 no device, 3 too little free memory).
 * Uploads, downloads and fills come after everything issued before them and before everything issued later; when
 * an upload or a download returns, the host buffer may be used again. */
/* First of all: may start the program again in a better environment. */
void rt_device_prepare(char **argv);
void rt_device_open(RtRun *run, const char *target);
/* The versions of what a device's programs are linked to: "cuda-13.0-cublasLt-130100"; "" on the host. */
void rt_device_libraries(char *text, size_t size);
/* Which algorithms products take from now on, of those versions: others are refused. */
void rt_device_products(const KChoice *choice, int count, const char *libraries);
int64_t rt_device_free_bytes(void);            /* -1: not known */
const char *rt_device_name(void);
char *rt_device_alloc(int64_t bytes);          /* the arena; K_ALIGN-aligned */
/* Before the first copy: pinned memory and what `copies` tickets need. With `poison` what a missing or misplaced
 * wait leaves to be read is NaN, as far as the device lets itself be told. */
char *rt_device_alloc_host(int64_t bytes, int copies, int poison);
void rt_device_offload(int ticket, char *to, const char *from, int64_t bytes);
void rt_device_fetch(int ticket, char *to, const char *from, int64_t bytes);
void rt_device_wait(int ticket);
/* Memory of the host from which the device fetches by itself, and to which it brings; a copy from there, which may be
 * done when whatever is issued after it needs it; one to there, done after what was issued before. Of each of RT_SLOTS:
 * its copies have all been issued; wait until they are done. */
enum { RT_SLOTS = 2 };
char *rt_device_alloc_slots(int64_t bytes);
void rt_device_free_slots(char *slots);
void rt_device_send(char *to, const void *from, int64_t bytes);
void rt_device_sent(int slot);
void rt_device_wait_sent(int slot);
void rt_device_bring(void *to, const char *from, int64_t bytes);
void rt_device_brought(int slot);
void rt_device_wait_brought(int slot);
/* Whether what is issued is done later, while the host goes on. */
int rt_device_beside(void);
/* Whether the step whose sum of losses is there is passed over, into run->verdict. 1: it is, and that is known; where
 * the device finds it out while the host goes on, 0, and the update that is issued next does nothing if it is. */
int rt_device_judge(RtRun *run, const char *loss_sum, double spread);
/* What is issued between begin and end is kept and not done; replay issues all of it again, with the addresses and
 * numbers it was recorded with, and may be called any number of times; it allocates nothing. End tells how many
 * launches, fills and copies were kept. Not on the host, where operations are done when they are called. */
enum { RT_RECORDINGS = 3 };
void rt_device_record_begin(void);
int64_t rt_device_record_end(int recording);
void rt_device_replay(int recording);
void rt_device_upload(char *to, const void *from, int64_t bytes);
void rt_device_download(void *to, const char *from, int64_t bytes);
/* Rows that lie without gaps on the host and `pitch` bytes apart in the arena. */
void rt_device_upload_rows(char *to, int64_t pitch, const void *from, int64_t row_bytes, int64_t rows);
void rt_device_fill(char *to, int value, int64_t bytes);
void rt_device_sync(void);
int rt_threads(void);                          /* that kernels of the host run on */
int64_t rt_process_peak_bytes(void);           /* the most that was resident of the process; -1: not known */
int64_t rt_device_used_bytes(void);            /* by this process, context included; -1: not known */
void rt_device_close(RtRun *run);

#ifdef __cplusplus
}
#endif
#endif
