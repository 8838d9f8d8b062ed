/* From a planned graph to a folder that builds a training program by itself: train.c or train.cu, the
 * kernels and the runtime it uses, a Makefile, and the plan as JSON. */
#ifndef REMAT_EMIT_H
#define REMAT_EMIT_H

#include "ir/graph.h"
#include "ir/spec.h"
#include "planner/plan.h"
#include "codegen/folder.h"

/* A graph with the plan and the layout that run it. */
typedef struct Part {
    const Graph *graph;
    const Cost *cost;
    const Plan *plan;
    const Layout *layout;
    bool reads_logits; /* they are read once it has run: its FREE of them is left out */
} Part;

/* What the program trains on: as the spec says, or the files that its text was prepared into. */
typedef struct EmitData {
    const char *train_path, *validate_path; /* NULL: none */
    uint64_t encoding;                      /* of prepared text: fingerprints (documents_format.h) */
    uint64_t train_text, validate_text;
} EmitData;

typedef struct EmitRequest {
    const Spec *spec;
    EmitData data;
    const Device *device;
    bool cuda;     /* the target; need not be what the device suggests */
    Part train;    /* one micro-step and the update */
    Part evaluate; /* forward only, same batch; its layout lies inside train's arena (pack_forward) */
    Part sample;   /* forward only, batch 1; the same */
    Part step;     /* of `sample` one token a run, over caches; graph NULL: there is none */
    const char *why_no_step; /* then the reason; NULL otherwise */
    int64_t prompt_at_once;  /* `sample` fills the caches: faster for so many tokens; 0: it does not */
    int64_t arena_bytes;     /* highest end of all layouts */
} EmitRequest;

typedef struct EmitPlace {
    const char *dir;   /* made when missing */
    const char *input; /* the file this comes from, never written over */
    bool force;        /* --force: files that rematc did not write are replaced */
} EmitPlace;

/* Writes the folder (folder.h). */
FolderAnswer emit_program(const EmitRequest *request, const EmitPlace *place, Arena *arena,
                          const char **error);
void emit_source(const EmitRequest *request, Text *out);
/* The same without its main: tables and steps, and `program`. */
void emit_training(const EmitRequest *request, Text *out);
/* Bytes that the process of a program for the host takes beside the arena: code, buffers, what loading,
 * sampling and merging hold at a time. Threads (RT_THREAD_BYTES of
 * runtime/sizes.h each) and tables of a data file's documents are not among them: they are as long
 * as the file is. */
int64_t process_bytes(const EmitRequest *request);
void emit_plan_json(const EmitRequest *request, Text *out);
/* The folder of a program that measures the training part's operations instead (tune.c); of it, its source.
 */
FolderAnswer emit_tuner(const EmitRequest *request, const EmitPlace *place, Arena *arena, const char **error);
void emit_tuner_source(const EmitRequest *request, Text *out);
/* Of the kernels' sources of a target: times that were taken with others say nothing of these. */
uint64_t emit_kernels_hash(bool cuda);

typedef struct BuildFailure {
    int code; /* 5: a program to build with is missing, or make failed (its output is on stderr); 6: I/O */
    const char *error, *help; /* `help` may be NULL */
} BuildFailure;

/* Runs `make` in the folder. */
bool build_program(const char *dir, bool cuda, bool quiet, Arena *arena, BuildFailure *failure);

/* ---- inside codegen ---- */

/* The functions of one part (step.c). Their names begin with `prefix` ("train", "sample", ..);
 * `micro` and `update` get the names of those to call, "NULL" when there is none. Marks the homes that it
 * names. */
typedef struct Homes Homes;
void emit_steps(const Part *part, const char *prefix, Homes *homes, Text *out, const char **micro,
                const char **update);
/* static const RtProgram program = {...} and its tables (table.c). */
typedef struct EmitNames {
    const char *micro, *update, *evaluate, *sample, *step; /* step NULL: there is none */
} EmitNames;
/* A C string literal; NULL: NULL. */
void emit_string(Text *out, const char *text);
void emit_tables(const EmitRequest *request, const EmitNames *names, const Homes *homes, Text *out);

/* Sources carried into every emitted folder, compiled into rematc (embedded.c, made by embed.cmake). */
typedef struct EmbeddedFile {
    const char *path; /* "kernels/elem.c" */
    const char *beg, *end;
} EmbeddedFile;
extern const EmbeddedFile embedded_file[];
extern const unsigned embedded_file_count;

#endif
