/* Planning: from a graph, a device and a budget to a sequence of steps and a byte offset for every buffer.
 *
 *   cost -> (policy chooses what to keep) -> replay -> live (exact bytes) -> pack -> layout
 *                                                      checked by plan_check and layout_check
 *
 * A plan names nodes; what a step reads and writes follows from replaying it: each RUN or RECOMPUTE makes a
 * fresh instance of the node's outputs, FREE ends the current instance of a storage. At most one instance of a
 * storage is live at a time. Storages are `graph_root` values: steps never name views or the later versions of
 * an accumulator. Persistent storages (inputs, parameters, states) live for the whole plan and are never freed.
 *
 * OFFLOAD begins a copy of the current instance to pinned host memory; the FREE of that instance waits for it.
 * FETCH begins a copy back into a fresh instance; the first step that reads it (or its FREE) waits for it. Copies
 * out run one after the other beside the computation, and so do copies in:
 *
 *     compute   | make x | OFFLOAD x | ....... | FREE x | ....... | FETCH x | ....... | read x |
 *     device    [----------------- x ----------]                  [--------- x ----------------
 *     host               [------------------------ x ----------------------------------]
 *
 * No step may write over an instance between its OFFLOAD and its FREE. The host buffer lives from OFFLOAD to the
 * end of the first step that reads what the last FETCH brought back. */
#ifndef REMAT_PLAN_H
#define REMAT_PLAN_H

#include "ir/graph.h"
#include "ir/pin.h"
#include "planner/cost/cost.h"

/* ---- budgets ---- */
/* Memory a plan may take. */
typedef struct Budget {
    bool limited;         /* else it may take as much of the device as it likes */
    int64_t device_bytes; /* where limited; 0 and less: nothing fits */
    int64_t host_bytes;   /* pinned host memory, for copies; 0: none are made */
} Budget;
static inline Budget budget_limited(int64_t device_bytes, int64_t host_bytes) {
    return (Budget){.limited = true, .device_bytes = device_bytes, .host_bytes = host_bytes};
}

/* ---- plans ---- */
typedef enum StepKind { STEP_RUN, STEP_RECOMPUTE, STEP_OFFLOAD, STEP_FETCH, STEP_FREE } StepKind;
extern const char *const step_kind_name[];
typedef struct Step {
    StepKind kind;
    NodeId node;   /* RUN, RECOMPUTE */
    ValueId value; /* OFFLOAD, FETCH, FREE: a root; NONE otherwise */
} Step;

typedef enum Policy {
#define POLICY(NAME, name, beside, rule, does) POLICY_##NAME,
#include "planner/policy.def"
#undef POLICY
    POLICY_COUNT
} Policy;
extern const char *const policy_name[POLICY_COUNT]; /* "none", "every-block", ... */
Policy policy_find(const char *name);               /* POLICY_COUNT when unknown */

typedef struct Plan {
    VEC(Step) step;
    uint32_t update_begin;      /* first step after the micro-step, which runs `accumulate` times; of one, updates may be a part */
    int64_t live_bytes;         /* highest sum of live bytes, workspace included: the liveness bound of packing */
    int64_t peak_bytes;         /* height of the packed arena: what the program allocates */
    double seconds;             /* one optimizer step, all micro-steps */
    double recompute_seconds;   /* of which recomputation */
    double wait_seconds;        /* of which waiting for copies from and to host memory */
    int64_t offload_bytes;      /* copied to host memory in a micro-step */
    int64_t host_bytes;         /* height of the packed host arena: pinned memory the program allocates */
    Policy policy;
} Plan;

/* ---- layouts ---- */
/* A buffer has one lifetime, half-open in steps: [lo, hi). A step's own inputs, outputs and workspace are all
 * live during it. Instances that share by running in place are one buffer. Persistent buffers are [0, steps). */
typedef enum BufKind { BUF_VALUE, BUF_WORKSPACE, BUF_HOST } BufKind;
typedef struct Buf {
    BufKind kind;
    ValueId value;     /* root value of the first instance, or of the copy; NONE for workspace */
    uint32_t lo, hi;
    int64_t bytes;     /* rounded up to PLAN_ALIGN */
    int64_t offset;    /* filled by packing; of BUF_HOST, into the host arena */
    bool persistent;
} Buf;

/* Which buffer each operand of a step lives in: for step s running node n, bind[first[s] + i] is the buffer of
 * output i for i < nout, then of the inputs, then of the workspace (NONE when there is none). FREE: one entry.
 * OFFLOAD and FETCH: the buffer on the device, then the one in host memory. */
typedef struct Layout {
    VEC(Buf) buf;
    VEC(uint32_t) bind;
    uint32_t *first;       /* one a step, and one past the end */
    int64_t persistent_bytes; /* persistent buffers lie at [0, persistent_bytes), in value order */
    int64_t live_bytes;    /* the liveness lower bound */
    int64_t height_bytes;  /* highest end of any buffer on the device */
    int64_t host_bytes;    /* highest end of any buffer in host memory */
} Layout;

/* ---- the planner ---- */
/* What the search found for a graph, kept from one request to the next: it does not depend on the budget. Only for
 * requests that differ in nothing but policy, budget and brevity. Their results share steps and layouts, which nobody
 * may change. */
typedef struct PlanMemo PlanMemo;
PlanMemo *plan_memo_new(Arena *arena); /* the arena must live as long as the results */
/* What is asked for, from everything to less; what is not stays 0 in the result. */
typedef enum PlanAsk {
    ASK_ALL,
    ASK_BOUND, /* of what fits the plan and its bound, not the smallest budget */
    ASK_PLAN,  /* of what fits the plan alone */
    ASK_LEAST, /* the smallest budget and the plan that has it, whatever the budget of the request: neither a
                  bound nor what keeping everything would take */
} PlanAsk;
typedef struct PlanRequest {
    const Graph *graph;
    const Cost *cost;
    const Device *device;
    const Pins *pins;      /* NULL: none */
    Policy policy;
    Budget budget;         /* of the arena */
    PlanMemo *memo;        /* NULL: nothing is kept */
    struct Memo *known;    /* problem/memo.h: what was found for blocks and packings, of any request; NULL: the same */
    PlanAsk ask;
    struct Stats *stats;   /* problem/stats.h: where phases are counted; NULL: nowhere */
    struct Tasks *tasks;   /* ir/tasks.h: threads that may help; NULL: none */
} PlanRequest;

typedef struct PlanResult {
    bool feasible;
    bool needs_host;             /* ... which no plan without copies to host memory is that was found */
    Plan plan;                   /* when infeasible: the plan with the smallest peak found */
    Layout *layout;
    double lower_bound_seconds;  /* no schedule under the budget is faster */
    double gap;                  /* (seconds - lower bound) / lower bound */
    int64_t keep_all_bytes;      /* packed peak of policy none */
    double keep_all_seconds;
    int64_t smallest_bytes;      /* smallest budget this planner can meet */
    VEC(const char *) reason;    /* the heuristic's reasons */
} PlanResult;
/* Deterministic: the same request, the same plan. Fixed policies ignore the budget but for `feasible`. */
PlanResult *plan_graph(const PlanRequest *request, Arena *arena);
/* No plan of the graph within the budget takes fewer seconds: a bound as in PlanResult, weaker and without a search.
 * INFINITY: it proves that none fits. */
double plan_bound(const PlanRequest *request);
/* About the seconds of the plan that policy optimal would find without host memory and pins, from the recursion over
 * blocks alone: within a percent for a transformer, and often more than the plan takes where other things cross the
 * blocks. INFINITY: the recursion finds nothing that fits, though a search may. Recomputation is left out where the
 * graph is no chain of blocks, or the budget no limit. */
double plan_estimate(const PlanRequest *request);
/* The least live bytes of the plans that ASK_LEAST would pack with policy optimal: the smallest budget is no less. Found
 * without packing, and sooner where it is no less than the request's budget; what is found is kept in the memo. */
int64_t plan_least_live(const PlanRequest *request);
/* The same, and those plans are packed, of the least live bytes first, until none that is not packed may be lower than
 * one that is, which is then the smallest budget, or all need more than the request's budget. */
int64_t plan_least_packed(const PlanRequest *request);
/* For another thread, before that is asked: the search, kept in the memo, and the first packing, in `known` alone. */
void plan_pack_ahead(const PlanRequest *request);
/* Without a search: no plan has a lower peak, whatever the budget of the request. */
int64_t plan_operations_bytes(const PlanRequest *request);
/* Whether that proves that no plan has a peak within the budget. */
bool plan_never_fits(const PlanRequest *request);
/* The peak of POLICY_EVERY_BLOCK without pins, in live bytes or once it is packed. */
int64_t plan_blocks_bytes(const PlanRequest *request, bool packed);
/* Its live bytes while operations of blocks run, and while others do. */
typedef struct PlanFloor {
    int64_t in_blocks, outside;
} PlanFloor;
PlanFloor plan_floor(const PlanRequest *request);
/* The plan of a forward-only graph: every storage freed after its last use, but that of `kept`, which is read when the
 * plan has run, freed last; NONE: none. */
PlanResult *plan_forward(const Graph *g, const Cost *cost, ValueId kept, Arena *arena);

#endif
