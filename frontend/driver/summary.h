/* What people read about a plan: the summary, the comparison of policies, why nothing fits. */
#ifndef REMAT_SUMMARY_H
#define REMAT_SUMMARY_H

#include "codegen/decisions.h"
#include "codegen/json_tree.h"
#include "ir/passes/passes.h"

typedef struct PlanSummary {
    const EmitRequest *request;
    const PlanResult *result;
    TileRule tile;
    Budget budget;          /* of the whole program, reserved bytes included */
    int64_t smallest_bytes; /* the smallest such budget that the file can be planned with */
    int64_t more_bytes;     /* a budget that much larger ... */
    double more_seconds;    /* ... takes this long a step; 0: nothing is left to gain, or not asked */
} PlanSummary;
void summary_plan(const PlanSummary *summary, Text *out);
/* What summary_plan_json prints. */
json_t *summary_plan_tree(const PlanSummary *summary, Arena *arena);
void summary_plan_json(const PlanSummary *summary, Text *out);
/* Where a step's seconds are from. */
const char *summary_sources(const EmitRequest *request, Arena *arena);

/* For every forward operation that `pattern` matches: what became of it and what speaks for that. How many
 * there were. */
uint32_t summary_why(const PlanSummary *summary, const char *pattern, Text *out);

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
void summary_infeasible_json(const Infeasible *answer, Text *out);

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
    Budget budget; /* as in a PlanSummary */
    int64_t smallest_bytes;
    CompareRow row[POLICY_COUNT];
    uint32_t rows;
} Comparison;
void summary_compare(const Comparison *all, Text *out);
void summary_compare_json(const Comparison *all, Text *out);

#endif
