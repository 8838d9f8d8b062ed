/* What people read about a plan: the summary, the comparison of policies, why nothing fits. */
#ifndef REMAT_REPORT_H
#define REMAT_REPORT_H

#include "codegen/emit.h"
#include "ir/passes/passes.h"

/* Which storages a plan keeps from forward to backward and which it makes again, summed over equal layers. */
typedef struct DecisionRow {
    const char *name; /* "h.*.attn.qkv" */
    const char *op;
    /* storages: alive at the turn; made again; in host memory in between; needed no more */
    uint32_t kept, recomputed, moved, dropped;
    int64_t kept_bytes, moved_bytes;
    double recompute_seconds; /* a step */
} DecisionRow;
typedef struct Decisions {
    VEC(DecisionRow) row;
    bool moves; /* some are moved to host memory */
} Decisions;
Decisions plan_decisions(const Part *part, Arena *arena);

typedef struct PlanReport {
    const EmitRequest *request;
    const PlanResult *result;
    TileRule tile;
    Budget budget;          /* of the whole program, reserved bytes included */
    int64_t smallest_bytes; /* the smallest such budget that the file can be planned with */
    int64_t more_bytes;     /* a budget that much larger ... */
    double more_seconds;    /* ... takes this long a step; 0: nothing is left to gain, or not asked */
} PlanReport;
void report_plan(const PlanReport *report, Text *out);
void report_plan_json(const PlanReport *report, Text *out);

/* For every forward operation that `pattern` matches: what became of it and what speaks for that. How many
 * there were. */
uint32_t report_why(const PlanReport *report, const char *pattern, Text *out);

/* Why nothing fits: what the smallest plan is made of, and what would do. */
typedef struct FloorPart {
    const char *name;
    int64_t bytes;
} FloorPart;
typedef struct Infeasible {
    const Spec *spec;
    const Device *device;
    Policy policy;
    Budget budget;          /* of the whole program, reserved bytes included */
    int64_t smallest_bytes; /* the same */
    int64_t batch, context; /* of the smallest plan */
    VEC(FloorPart) part;    /* add up to smallest_bytes */
    const char *message;
    VEC(const char *) note, help;
} Infeasible;
void report_infeasible_json(const Infeasible *answer, Text *out);

typedef struct CompareRow {
    Policy policy;
    bool feasible;
    int64_t peak_bytes, host_bytes;
    double seconds, tokens_per_second;
    int64_t keep_all_bytes; /* of the same B and tiles with nothing recomputed */
    double keep_all_seconds;
    int64_t batch;
    const char *const *reason; /* the heuristic's */
    uint32_t reasons;
} CompareRow;
typedef struct Comparison {
    const Spec *spec;
    const Device *device;
    Budget budget; /* as in a PlanReport */
    int64_t smallest_bytes;
    CompareRow row[POLICY_COUNT];
    uint32_t rows;
} Comparison;
void report_compare(const Comparison *all, Text *out);
void report_compare_json(const Comparison *all, Text *out);

#endif
