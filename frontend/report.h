/* What people read about a plan: the summary, the comparison of policies, why nothing fits. */
#ifndef REMAT_REPORT_H
#define REMAT_REPORT_H

#include "../codegen/emit.h"

/* Which storages a plan keeps from forward to backward and which it makes again, summed over equal layers. */
typedef struct DecisionRow {
    const char *name; /* "h.*.attn.qkv" */
    const char *op;
    /* storages: alive at the turn; made again; in host memory in between; needed no more */
    uint32_t kept, recomputed, moved, dropped;
    int64_t kept_bytes, moved_bytes;
    double recompute_seconds;
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
    int64_t budget_bytes; /* for the whole program, reserved bytes included; 0: none */
    int64_t more_bytes;   /* a budget that much larger ... */
    double more_seconds;  /* ... takes this long a step; 0: not asked */
} PlanReport;
void report_plan(const PlanReport *report, Text *out);
void report_plan_json(const PlanReport *report, Text *out);

/* For every forward operation that `pattern` matches: what became of it and what speaks for that. How many
 * there were. */
uint32_t report_why(const PlanReport *report, const char *pattern, Text *out);

typedef struct CompareRow {
    Policy policy;
    bool feasible;
    int64_t peak_bytes, host_bytes;
    double seconds, tokens_per_second;
    int64_t batch;
    const char *const *reason; /* the heuristic's */
    uint32_t reasons;
} CompareRow;
void report_compare(const CompareRow *row, uint32_t count, int64_t budget_bytes, Text *out);
void report_compare_json(const CompareRow *row, uint32_t count, int64_t budget_bytes, Text *out);

#endif
