/* The contract between an emitted program that measures and tune.c: the distinct operations of a plan, each a
 * function that runs it once, with what it needs of memory. rt_tune_main times them on the device and writes
 * a profile, which planner/cost/profile.h describes and `rematc plan --profile` reads. */
#ifndef REMAT_RT_TUNE_H
#define REMAT_RT_TUNE_H

#include "rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a tensor holds when it is measured: numbers of either sign; of 0.5 to 1.5, where others make no sense;
 * tokens of the vocabulary; the last place of a row; bytes, of which four are a small number; zeros. */
typedef enum RtFill {
    RT_FILL_NONE,
    RT_FILL_SIGNED,
    RT_FILL_POSITIVE,
    RT_FILL_TOKENS,
    RT_FILL_LAST,
    RT_FILL_BYTES,
    RT_FILL_ZEROS,
    RT_FILL_COUNT
} RtFill;

typedef struct RtTuneTensor {
    int64_t bytes; /* of its storage */
    int dtype;
    int fill; /* RtFill */
} RtTuneTensor;

typedef struct RtTuneOperation {
    const char *key;                             /* as it stands in the profile */
    void (*call)(RtRun *run, const int64_t *at); /* `at`: the offset of each tensor, in their order */
    const RtTuneTensor *tensor;
    int tensors;
    int64_t runs;           /* a step; 0: the plan does not have it */
    double planned_seconds; /* one of them */
    int family;             /* KFamily: of its kernel's variants */
    /* what k_variant_is_apart says it of: the same by several operations; else NULL */
    void (*apart)(RtRun *run, const int64_t *at);
} RtTuneOperation;

struct RtTuner;
typedef struct RtTuneSteps { /* the training program whose operations they are */
    int (*time)(const struct RtTuner *tuner, double seconds, const int *variant,
                double *took); /* rt_tune_steps */
    const RtProgram *program;
    const int *micro_call, *update_call; /* which operation each call of a micro-step and of the update is */
    int micro_calls, update_calls;
} RtTuneSteps;

typedef struct RtTuner {
    const char *model, *target, *device, *kernels; /* kernels: the hash of their sources */
    int capability, multiprocessors;               /* of the device; 0: not known */
    int64_t memory_bytes;                          /* as programs see it; 0: not known */
    int64_t vocab, context;                        /* tokens are below vocab; places of a row */
    const RtTuneOperation *operation;              /* those that take most of a step first */
    int operations;
    const RtTuneSteps *steps; /* NULL: operations are measured alone */
} RtTuner;

/* Runs the program's command line: see `tune --help`. Returns the exit code. */
int rt_tune_main(const RtTuner *tuner, int argc, char **argv);

/* ---- tune_steps.c ---- */
enum { RT_TUNE_STEPS = 40, RT_TUNE_LEAST_STEPS = 7 };
/* Runs steps for so many seconds, within the two bounds above, each operation in its variant; seconds of each
 * operation, all of its calls in a step together, into took [steps, operations], zeroed. How many steps; 0:
 * there is not enough memory. */
int rt_tune_steps(const RtTuner *tuner, double seconds, const int *variant, double *took);

/* ---- one implementation a target (tune_host.c, tune_cuda.c) ---- */
/* Where times are taken, after rt_device_open; words of the profile's origin, blanks and all. */
typedef struct RtTunePlace {
    char card[256], driver[128], clocks[64], compiler[128];
} RtTunePlace;
void rt_tune_place(RtTunePlace *place);
/* Which algorithms products take that were measured before; others have candidates from now on. */
void rt_tune_products(const KChoice *choice, int count);
/* Of the product that was called last: how many candidates it has, 0 where it has no choice; it takes one,
 * for a try or for good. Never more than one product is called by an operation. */
int rt_tune_candidates(void);
void rt_tune_take(int candidate, int for_good, KChoice *choice);
/* NULL, or what the device is where it is not the one that the program was made for; in `text`. */
const char *rt_tune_other_device(const RtTuner *tuner, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
