/* The planner's entry. In: a graph with costs, a policy and a budget; out: a plan, packed, with its bound.
 * Invariant: the result depends on the request alone; candidates do not depend on the budget, which only
 * chooses among them, so more memory never gives a slower plan and less never a higher peak. */
#include "planner/plan.h"

#include "planner/bound/closure.h"
#include "planner/chain/revolve.h"
#include "planner/retain/policy.h"
#include "planner/layout/live.h"
#include "planner/layout/layout.h"
#include "planner/search.h"
#include "ir/tasks.h"
#include "planner/bound/instants.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

const char *const step_kind_name[] = {"run", "recompute", "offload", "fetch", "free"};

const char *const policy_name[POLICY_COUNT] = {
#define POLICY(NAME, name, beside, rule, does) name,
#include "planner/policy.def"
#undef POLICY
};

Policy policy_find(const char *name) {
    for (int i = 0; i < POLICY_COUNT; i++)
        if (strcmp(policy_name[i], name) == 0) return (Policy)i;
    return POLICY_COUNT;
}

/* Whether the rule of thumb would checkpoint. It speaks of the size a card is sold with; a device without
 * memory of its own has the budget's. */
static bool heuristic(const PlanRequest *request, const Problem *p, PlanResult *result, Arena *arena) {
    const Device *device = request->device;
    int64_t vram = request->budget.limited ? request->budget.device_bytes : 0;
    if (device && device->memory_bytes)
        vram = device->memory_pretended ? device->memory_bytes : device->board.bytes;
    Reasons reasons = {0};
    bool enable = retain_heuristic((double)graph_parameters(request->graph), (double)vram,
                                   request->graph->context, p->dequantized != NULL, &reasons, arena);
    result->reason.at = reasons.at;
    result->reason.count = reasons.count;
    result->reason.capacity = reasons.capacity;
    return enable;
}

/* ---- policies: what each keeps, and why where it chooses ---- */

typedef void PolicyRule(const PlanRequest *request, const Problem *p, const Blocks *blocks,
                        PlanResult *result, Keep *retain, Arena *arena);

static void policy_all(const PlanRequest *request, const Problem *p, const Blocks *blocks, PlanResult *result,
                       Keep *retain, Arena *arena) {
    (void)request, (void)result, (void)arena;
    retain_all_but_dequantized(p, blocks->boundary, retain);
}

static void policy_every_block(const PlanRequest *request, const Problem *p, const Blocks *blocks,
                               PlanResult *result, Keep *retain, Arena *arena) {
    (void)request, (void)result, (void)arena;
    retain_segments(p, blocks, 1, false, retain);
}

/* Segments of about sqrt(blocks): Chen et al. 2016. */
static void policy_sqrt(const PlanRequest *request, const Problem *p, const Blocks *blocks,
                        PlanResult *result, Keep *retain, Arena *arena) {
    (void)request, (void)result, (void)arena;
    uint32_t length = (uint32_t)lround(sqrt((double)blocks->count));
    retain_segments(p, blocks, length ? length : 1, false, retain);
}

static void policy_offload_blocks(const PlanRequest *request, const Problem *p, const Blocks *blocks,
                                  PlanResult *result, Keep *retain, Arena *arena) {
    policy_every_block(request, p, blocks, result, retain, arena);
    retain_offload_blocks(p, blocks, retain);
    if (p->host_bytes <= 0)
        *vec_add(arena, &result->reason) =
            "no host memory is given: the inputs of layers stay where they are";
}

static void policy_heuristic(const PlanRequest *request, const Problem *p, const Blocks *blocks,
                             PlanResult *result, Keep *retain, Arena *arena) {
    PolicyRule *choice = heuristic(request, p, result, arena) ? policy_every_block : policy_all;
    choice(request, p, blocks, result, retain, arena);
}

#define policy_searched NULL
static PolicyRule *const policy_rule[POLICY_COUNT] = {
#define POLICY(NAME, name, beside, rule, does) policy_##rule,
#include "planner/policy.def"
#undef POLICY
};
#undef policy_searched

/* Whether the search takes a policy's plan among its own. */
typedef enum Beside { BESIDE_NEVER, BESIDE_ALWAYS, BESIDE_WITH_HOST } Beside;
static const Beside policy_beside[POLICY_COUNT] = {
#define POLICY(NAME, name, beside, rule, does) BESIDE_##beside,
#include "planner/policy.def"
#undef POLICY
};

/* Packs the plan of `retain` into `plan`; its layout. */
static Layout *realise(const PlanRequest *request, Replay *r, const Keep *retain, Plan *plan, Arena *arena) {
    Sequence sequence = {0};
    replay(r, retain, &sequence);
    replay_plan(r, &sequence, arena, plan);
    double began = stats_begin(request->stats);
    Layout *layout = live_analyse(request->graph, request->cost, plan, arena);
    if (layout->live_bytes != plan->live_bytes)
        die("replay counts %lld live bytes, the buffers %lld", (long long)plan->live_bytes,
            (long long)layout->live_bytes);
    Arena *scratch = arena_new();
    pack_layout(layout, request->graph, request->known, scratch);
    arena_free(scratch);
    stats_end(request->stats, STATS_PACK, began, layout->height_bytes == layout->live_bytes);
    plan->peak_bytes = layout->height_bytes;
    plan->host_bytes = layout->host_bytes;
    return layout;
}

/* Gaps that pins decide; NULL without pins. */
static Keep *pinned_gaps(const PlanRequest *request, Problem *p, const Blocks *blocks, Arena *scratch) {
    if (!request->pins || !request->pins->count) return NULL;
    Keep *pinned = NEW_ARRAY(scratch, Keep, p->gaps + 1);
    for (uint32_t gap = 0; gap < p->gaps; gap++) pinned[gap].from = NONE;
    retain_pins(request->graph, p, request->pins, blocks->boundary, pinned);
    return pinned;
}

static bool host_fits(const PlanRequest *request, const Plan *plan) {
    return plan->host_bytes <= request->budget.host_bytes;
}

/* What one search found. */
typedef struct Found {
    bool searched;
    SearchGoal goal; /* as search_front was asked for */
    Front front;
    Front beside; /* what packing may leave better: the front's smallest before refinement, fixed policies */
} Found;

typedef struct Realised {
    const Keep *retain;
    Plan plan;
    Layout *layout;
} Realised;

enum { WITHOUT_COPIES, WITH_COPIES, SEARCHES };
struct PlanMemo {
    Arena *arena;
    Front families;        /* which both searches begin with */
    Found found[SEARCHES]; /* without host memory the first alone */
    VEC(Realised) realised;
};

/* The plan of a candidate, if it was packed already. */
static const Realised *realised(const PlanMemo *memo, const Candidate *candidate) {
    for (uint32_t i = 0; i < memo->realised.count; i++)
        if (memo->realised.at[i].retain == candidate->retain) return &memo->realised.at[i];
    return NULL;
}

/* The plan of a candidate, packed once for all requests. */
static Realised realise_once(const PlanRequest *request, Replay *r, const Candidate *candidate,
                             PlanMemo *memo, Arena *arena) {
    const Realised *before = realised(memo, candidate);
    if (before) return *before;
    Realised next = {.retain = candidate->retain};
    next.layout = realise(request, r, next.retain, &next.plan, request->memo ? memo->arena : arena);
    return *vec_add(memo->arena, &memo->realised) = next;
}

/* What was packed so far: the fastest that fits, the lowest, and anything. */
typedef struct Chosen {
    Realised best, least, any;
    int64_t least_without; /* the lowest without copies */
} Chosen;

/* Whether it fits. */
static bool weigh(const PlanRequest *request, Realised next, int64_t budget, Chosen *chosen) {
    int64_t peak = next.plan.peak_bytes;
    if (!chosen->any.layout) chosen->any = next;
    if (!host_fits(request, &next.plan)) return false;
    if (!next.plan.host_bytes && peak < chosen->least_without) chosen->least_without = peak;
    if (!chosen->least.layout || peak < chosen->least.plan.peak_bytes) chosen->least = next;
    if (peak > budget) return false;
    if (!chosen->best.layout || next.plan.seconds < chosen->best.plan.seconds) chosen->best = next;
    return true;
}

/* The highest peak that fits: none does where only the smallest is asked for. */
static int64_t most_bytes(const PlanRequest *request) {
    if (request->ask == ASK_LEAST) return 0;
    return request->budget.limited ? request->budget.device_bytes : INT64_MAX;
}

/* What may be lowest of all but `but`; how much it needs at least. */
static const Candidate *lowest_of(const PlanRequest *request, const PlanMemo *memo, const Candidate *but,
                                  int64_t *bytes) {
    const Candidate *lowest = NULL;
    *bytes = INT64_MAX;
    for (uint32_t k = 0; k < SEARCHES; k++)
        for (uint32_t i = 0; i < memo->found[k].beside.count; i++) {
            const Candidate *candidate = &memo->found[k].beside.at[i];
            const Realised *packed = realised(memo, candidate);
            int64_t needs = packed ? packed->plan.peak_bytes : candidate->peak_bytes;
            if (candidate == but || needs >= *bytes || (packed && !host_fits(request, &packed->plan)))
                continue;
            *bytes = needs;
            lowest = candidate;
        }
    return lowest;
}

/* The part of the transient bytes that packing seldom loses less of where it loses any: what needs no more
 * than that beyond the lowest is likely packed next. */
enum { LIKELY_LOSS = 256 };

/* A candidate that another thread packs before it is asked for: what it finds is kept in request->known
 * alone, where whoever asks finds it. */
typedef struct PackAhead {
    PlanRequest request;
    const Problem *p;
    const Keep *retain; /* NULL: none was begun, or it is over */
    Stats stats;
    Task task;
} PackAhead;

static void pack_ahead(void *context) {
    const PackAhead *ahead = context;
    Arena *scratch = arena_new();
    Plan plan = {0};
    realise(&ahead->request, replay_new(ahead->p, scratch), ahead->retain, &plan, scratch);
    arena_free(scratch);
}

static void begin_ahead(const PlanRequest *request, const Problem *p, const Candidate *candidate,
                        PackAhead *ahead) {
    *ahead = (PackAhead){.request = *request, .p = p, .retain = candidate->retain};
    if (request->stats) ahead->request.stats = &ahead->stats;
    ahead->task = (Task){.run = pack_ahead, .context = ahead, .alone = true};
    task_begin(request->tasks, &ahead->task);
}

static void drop_ahead(const PlanRequest *request, PackAhead *ahead) {
    if (!ahead->retain) return;
    task_drop(request->tasks, &ahead->task);
    if (request->stats) stats_add(request->stats, &ahead->stats);
    ahead->retain = NULL;
}

/* Packs what may be lowest, of the least live bytes first, until that is one that is packed, or needs more
 * than `enough`: what is not packed then needs no less. Returns how much that is. Meanwhile another thread
 * packs what is next unless the first loses nothing. */
static int64_t pack_lowest_of(const PlanRequest *request, const Problem *p, Replay *r, PlanMemo *memo,
                              int64_t enough, Arena *arena) {
    PackAhead ahead = {0};
    int64_t bytes, needs;
    for (;;) {
        const Candidate *lowest = lowest_of(request, memo, NULL, &bytes);
        if (!lowest || bytes > enough || realised(memo, lowest)) break;
        drop_ahead(request, &ahead);
        const Candidate *next = request->tasks ? lowest_of(request, memo, lowest, &needs) : NULL;
        int64_t close = bytes + (bytes - p->persistent_bytes) / LIKELY_LOSS;
        if (next && needs <= enough && needs <= close && !realised(memo, next))
            begin_ahead(request, p, next, &ahead);
        realise_once(request, r, lowest, memo, arena);
    }
    drop_ahead(request, &ahead);
    return bytes;
}

/* The fastest plan whose packed height fits; without one, the one of least height. Each front is asked by
 * itself: what one of them hides in the other may be what fits once it is packed. */
static void choose(const PlanRequest *request, const Problem *p, Replay *r, PlanMemo *memo,
                   PlanResult *result, Arena *arena) {
    int64_t budget = most_bytes(request);
    bool plan_alone = request->ask != ASK_ALL && request->budget.host_bytes <= 0;
    Chosen chosen = {.least_without = INT64_MAX};
    if (request->ask == ASK_LEAST) pack_lowest_of(request, p, r, memo, INT64_MAX, arena);
    for (uint32_t k = 0; k < SEARCHES; k++) {
        const Front *front = &memo->found[k].front;
        for (uint32_t i = front->count; i-- > 0;) {
            if (front->at[i].peak_bytes > budget) continue;
            if (chosen.best.layout && front->at[i].seconds >= chosen.best.plan.seconds) break;
            if (weigh(request, realise_once(request, r, &front->at[i], memo, arena), budget, &chosen)) break;
        }
    }
    for (uint32_t k = 0; k < SEARCHES; k++) {
        const Front *beside = &memo->found[k].beside;
        for (uint32_t i = 0; i < beside->count; i++) {
            const Candidate *candidate = &beside->at[i];
            bool may_be_best = candidate->peak_bytes <= budget &&
                               (!chosen.best.layout || candidate->seconds < chosen.best.plan.seconds);
            bool may_be_least = !chosen.least.layout || candidate->peak_bytes < chosen.least.plan.peak_bytes;
            if (plan_alone && chosen.best.layout) may_be_least = false;
            if (request->ask == ASK_LEAST) may_be_least = realised(memo, candidate) != NULL;
            if (may_be_least || may_be_best)
                weigh(request, realise_once(request, r, candidate, memo, arena), budget, &chosen);
        }
    }
    if (!chosen.least.layout)
        chosen.least = chosen.any; /* host memory is too small for what pins send there */
    result->feasible = chosen.best.layout != NULL;
    result->smallest_bytes = plan_alone && result->feasible ? 0 : chosen.least.plan.peak_bytes;
    result->needs_host = result->feasible && request->budget.host_bytes > 0 && chosen.least_without > budget;
    if (!result->feasible) chosen.best = chosen.least;
    result->plan = chosen.best.plan;
    result->layout = chosen.best.layout;
}

static void add_fixed_policies(const PlanRequest *request, const Problem *p, const Blocks *blocks, Replay *r,
                               Front *front, Arena *scratch) {
    for (int policy = 0; policy < POLICY_COUNT; policy++) {
        Beside when = policy_beside[policy];
        if (policy == POLICY_NONE && !p->dequantized) continue; /* the search has it */
        if (when == BESIDE_NEVER || (when == BESIDE_WITH_HOST && p->host_bytes <= 0)) continue;
        Keep *retain = NEW_ARRAY(scratch, Keep, p->gaps + 1);
        Sequence sequence = {0};
        PlanResult ignored = {0}; /* its reasons */
        policy_rule[policy](request, p, blocks, &ignored, retain, scratch);
        retain_pins(request->graph, p, request->pins, blocks->boundary, retain);
        replay(r, retain, &sequence);
        *vec_add(scratch, front) = (Candidate){sequence.peak_bytes, sequence.seconds, retain, UINT32_MAX};
    }
}

PlanMemo *plan_memo_new(Arena *arena) {
    PlanMemo *memo = NEW(arena, PlanMemo);
    memo->arena = arena;
    return memo;
}

static bool for_least(SearchGoal goal) {
    return goal.ask == SEARCH_LEAST || goal.ask == SEARCH_BELOW;
}

/* Whether what was found has all that is asked of it. */
static bool serves(const Found *found, SearchGoal goal) {
    if (!found->searched) return false;
    int64_t least = found->front.at[0].peak_bytes;
    SearchGoal had = found->goal;
    if (for_least(had) && goal.ask == SEARCH_ANYTHING) return false;
    if (had.ask == SEARCH_BELOW && least >= had.bytes) /* which is all that is known */
        return goal.ask == SEARCH_BELOW && least >= goal.bytes;
    bool whole = had.ask == SEARCH_ANY || (had.ask == SEARCH_WITHIN && had.bytes >= least);
    return whole || goal.ask == SEARCH_ANYTHING || for_least(goal) ||
           (goal.ask == SEARCH_WITHIN && goal.bytes < least);
}

/* Without copies too: host memory never makes a plan slower, nor the smallest budget larger. */
static void search(const PlanRequest *request, const Problem *p, const Blocks *blocks, const Keep *pinned,
                   SearchGoal goal, Replay *r, PlanMemo *memo) {
    Problem without = *p;
    without.host_bytes = 0;
    for (uint32_t k = 0; k < SEARCHES; k++) {
        const Problem *problem = k == WITH_COPIES ? p : &without;
        Found *found = &memo->found[k];
        if ((k == WITH_COPIES && p->host_bytes <= 0) || serves(found, goal)) continue;
        *found = (Found){.searched = true, .goal = goal};
        found->front = search_front(problem, blocks, pinned, goal, for_least(goal) ? NULL : &memo->families,
                                    &found->beside, memo->arena);
        add_fixed_policies(request, problem, blocks, r, &found->beside, memo->arena);
    }
}

/* The plan that keeps everything, dequantised weights too, and its live bytes by operation. What is told of
 * policy none is the same where there are none. */
static Realised keep_all(const PlanRequest *request, const Problem *p, uint32_t boundary, Replay *r,
                         Keep *retain, int64_t *live, PlanResult *result, Arena *arena) {
    Realised all = {.retain = retain};
    Plan none = {0};
    if (p->dequantized) {
        retain_all_but_dequantized(p, boundary, retain);
        realise(request, r, retain, &none, arena);
    }
    retain_all(p, retain);
    all.layout = realise(request, r, retain, &all.plan, arena);
    memcpy(live, replay_live(r), sizeof *live * p->ops); /* nothing runs twice: run i is operation i */
    result->keep_all_bytes = p->dequantized ? none.peak_bytes : all.plan.peak_bytes;
    result->keep_all_seconds = p->dequantized ? none.seconds : all.plan.seconds;
    return all;
}

/* The largest of the bounds on recomputation; those that take longer only for a plan that fits, where the
 * first leave a gap to what it recomputes. */
static double best_bound(const Problem *p, uint32_t boundary, const int64_t *live, int64_t budget_bytes,
                         bool feasible, double plan_seconds) {
    double began = stats_begin(p->stats), total = 0, best = closure_seconds(p, live, budget_bytes);
    stats_end(p->stats, STATS_CLOSURE, began, best > 0);
    for (uint32_t op = 0; op < p->ops; op++) total += p->seconds[op];
    double close = 5e-4 * total;
    if (!feasible || p->host_bytes > 0) return best; /* the others know no copies */
    if (EFFORT_REVOLVE && plan_seconds - best > close) {
        began = stats_begin(p->stats);
        double seconds = revolve_seconds(p, boundary, budget_bytes);
        stats_end(p->stats, STATS_REVOLVE, began, seconds > best);
        best = fmax(best, seconds);
    }
    if (EFFORT_INSTANTS && plan_seconds - best > close) {
        began = stats_begin(p->stats);
        double seconds = instants_seconds(p, live, budget_bytes);
        stats_end(p->stats, STATS_INSTANTS, began, seconds > best);
        best = fmax(best, seconds);
    }
    return best;
}

/* A plan that does not fit is judged at the budget it would need. `once_seconds`: of running nothing twice.
 */
static void judge(const PlanRequest *request, const Problem *p, uint32_t boundary, const int64_t *live,
                  double once_seconds, PlanResult *result) {
    double again = result->plan.seconds - once_seconds;
    int64_t peak = result->plan.peak_bytes, budget = request->budget.device_bytes;
    result->lower_bound_seconds = once_seconds;
    if (request->budget.limited && again > 0)
        result->lower_bound_seconds +=
            best_bound(p, boundary, live, budget > peak ? budget : peak, result->feasible, again);
    result->gap = (result->plan.seconds - result->lower_bound_seconds) / result->lower_bound_seconds;
}

static Problem *problem_of(const PlanRequest *request, Arena *arena) {
    double began = stats_begin(request->stats);
    Problem *p = problem_from_graph(request->graph, request->cost, arena);
    p->known = request->known;
    p->stats = request->stats;
    stats_end(p->stats, STATS_PROBLEM, began, p->ops);
    if (request->budget.host_bytes > 0 && request->device)
        problem_allow_copies(p, request->device, request->budget.host_bytes, request->graph->accumulate);
    return p;
}

/* What search_front is asked for. With copies to host memory it looks at everything even for the smallest. */
static SearchGoal goal_of(const PlanRequest *request) {
    if (request->ask == ASK_LEAST && request->budget.host_bytes <= 0)
        return (SearchGoal){.ask = SEARCH_LEAST};
    if (request->ask == ASK_LEAST) return (SearchGoal){.ask = SEARCH_WITHIN, .bytes = 0};
    if (!request->budget.limited) return (SearchGoal){.ask = SEARCH_ANY};
    return (SearchGoal){.ask = SEARCH_WITHIN, .bytes = request->budget.device_bytes};
}

/* Whether each operation takes time, so that what runs none again is the fastest plan and the only such. */
static bool all_take_time(const Problem *p) {
    double total = 0, least = HUGE_VAL;
    for (uint32_t op = 0; op < p->ops; op++) {
        total += p->seconds[op];
        if (p->rerun[op] && p->seconds[op] < least) least = p->seconds[op];
    }
    return total + least > total;
}

static void plan_optimal(const PlanRequest *request, Problem *p, const Blocks *blocks, Replay *r,
                         const Realised *all, PlanResult *result, Arena *scratch, Arena *arena) {
    const Keep *pinned = pinned_gaps(request, p, blocks, scratch);
    bool all_fits = all->layout && !pinned && all->plan.peak_bytes <= most_bytes(request);
    if (all_fits && request->ask != ASK_ALL && all_take_time(p)) {
        result->feasible = true;
        result->plan = all->plan;
        result->layout = all->layout;
        return;
    }
    PlanMemo own = {.arena = scratch}, *memo = request->memo ? request->memo : &own;
    search(request, p, blocks, pinned, all_fits ? (SearchGoal){.ask = SEARCH_ANYTHING} : goal_of(request), r,
           memo);
    choose(request, p, r, memo, result, arena);
}

static void plan_fixed(const PlanRequest *request, Problem *p, const Blocks *blocks, Replay *r,
                       PlanResult *result, Keep *retain, Arena *arena) {
    policy_rule[request->policy](request, p, blocks, result, retain, arena);
    retain_pins(request->graph, p, request->pins, blocks->boundary, retain);
    result->layout = realise(request, r, retain, &result->plan, arena);
    result->smallest_bytes = result->plan.peak_bytes;
    result->feasible = host_fits(request, &result->plan) && result->plan.peak_bytes <= most_bytes(request);
}

PlanResult *plan_graph(const PlanRequest *request, Arena *arena) {
    double began = stats_begin(request->stats);
    PlanResult *result = NEW(arena, PlanResult);
    Arena *scratch = arena_new();
    Problem *p = problem_of(request, scratch);
    Blocks blocks = problem_blocks(request->graph, p, scratch);
    Replay *r = replay_new(p, scratch);
    Keep *retain = NEW_ARRAY(scratch, Keep, p->gaps + 1);
    int64_t *live = NEW_ARRAY(scratch, int64_t, p->ops + 1);
    Realised all = {0};
    if (request->ask != ASK_LEAST)
        all = keep_all(request, p, blocks.boundary, r, retain, live, result, arena);
    if (!policy_rule[request->policy])
        plan_optimal(request, p, &blocks, r, &all, result, scratch, arena);
    else
        plan_fixed(request, p, &blocks, r, result, retain, arena);
    result->plan.policy = request->policy;
    bool judged = request->ask == ASK_ALL || request->ask == ASK_BOUND || !result->feasible;
    if (judged && request->ask != ASK_LEAST)
        judge(request, p, blocks.boundary, live, all.plan.seconds, result);
    arena_free(scratch);
    stats_end(request->stats, STATS_PLAN, began, result->feasible);
    return result;
}

static int64_t least_live(const PlanMemo *memo) {
    int64_t least = INT64_MAX;
    for (uint32_t k = 0; k < SEARCHES; k++)
        for (uint32_t i = 0; i < memo->found[k].beside.count; i++)
            if (memo->found[k].beside.at[i].peak_bytes < least)
                least = memo->found[k].beside.at[i].peak_bytes;
    return least;
}

/* What ASK_LEAST would pack, searched for; `packs`: and packed as far as it may need no more than the budget.
 */
static int64_t least_bytes(const PlanRequest *request, SearchGoal goal, bool packs) {
    double began = stats_begin(request->stats);
    Arena *scratch = arena_new();
    Problem *p = problem_of(request, scratch);
    Blocks blocks = problem_blocks(request->graph, p, scratch);
    const Keep *pinned = pinned_gaps(request, p, &blocks, scratch);
    PlanMemo own = {.arena = scratch}, *memo = request->memo ? request->memo : &own;
    Replay *r = replay_new(p, scratch);
    search(request, p, &blocks, pinned, goal, r, memo);
    int64_t bytes = least_live(memo),
            enough = request->budget.limited ? request->budget.device_bytes : INT64_MAX;
    if (packs) {
        int64_t packed = pack_lowest_of(request, p, r, memo, enough, scratch);
        if (packed < INT64_MAX) bytes = packed;
    }
    arena_free(scratch);
    stats_end(request->stats, STATS_PLAN, began, bytes < INT64_MAX);
    return bytes;
}

int64_t plan_least_live(const PlanRequest *request) {
    SearchGoal goal = goal_of(request);
    if (goal.ask == SEARCH_LEAST && request->budget.limited)
        goal = (SearchGoal){.ask = SEARCH_BELOW, .bytes = request->budget.device_bytes};
    return least_bytes(request, goal, false);
}

int64_t plan_least_packed(const PlanRequest *request) {
    return least_bytes(request, goal_of(request), true);
}

void plan_pack_ahead(const PlanRequest *request) {
    int64_t bytes;
    Arena *scratch = arena_new();
    Problem *p = problem_of(request, scratch);
    Blocks blocks = problem_blocks(request->graph, p, scratch);
    const Keep *pinned = pinned_gaps(request, p, &blocks, scratch);
    search(request, p, &blocks, pinned, goal_of(request), replay_new(p, scratch), request->memo);
    const Candidate *lowest = lowest_of(request, request->memo, NULL, &bytes);
    PackAhead ahead = {.request = *request, .p = p, .retain = lowest ? lowest->retain : NULL};
    if (lowest && !realised(request->memo, lowest)) pack_ahead(&ahead);
    arena_free(scratch);
}

double plan_bound(const PlanRequest *request) {
    Arena *scratch = arena_new();
    Problem *p = problem_of(request, scratch);
    Replay *r = replay_new(p, scratch);
    Sequence sequence = {0};
    replay(r, NEW_ARRAY(scratch, Keep, p->gaps + 1), &sequence);
    double seconds = sequence.seconds;
    if (request->budget.limited && sequence.peak_bytes > request->budget.device_bytes)
        seconds += closure_seconds(p, replay_live(r), request->budget.device_bytes); /* nothing runs twice */
    arena_free(scratch);
    return seconds;
}

/* Frees a storage last of all. */
static void free_last(Plan *plan, ValueId root) {
    uint32_t count = 0, at = NONE;
    for (uint32_t s = 0; s < plan->update_begin; s++) {
        bool frees = plan->step.at[s].kind == STEP_FREE && plan->step.at[s].value == root;
        if (frees) at = s;
        if (!frees) plan->step.at[count++] = plan->step.at[s];
    }
    if (at != NONE) plan->step.at[count] = (Step){.kind = STEP_FREE, .node = NONE, .value = root};
}

PlanResult *plan_forward(const Graph *g, const Cost *cost, ValueId kept, Arena *arena) {
    PlanResult *result = NEW(arena, PlanResult);
    Plan *plan = &result->plan;
    Arena *scratch = arena_new();
    Problem *p = problem_from_graph(g, cost, scratch);
    Replay *r = replay_new(p, scratch);
    Sequence sequence = {0};
    replay(r, NEW_ARRAY(scratch, Keep, p->gaps + 1), &sequence);
    replay_plan(r, &sequence, arena, plan);
    if (kept != NONE) free_last(plan, graph_root(g, kept));
    result->layout = live_analyse(g, cost, plan, arena);
    plan->live_bytes = result->layout->live_bytes;
    pack_layout(result->layout, g, NULL, scratch);
    plan->peak_bytes = result->layout->height_bytes;
    plan->host_bytes = result->layout->host_bytes;
    result->feasible = true;
    result->keep_all_bytes = result->smallest_bytes = plan->peak_bytes;
    result->keep_all_seconds = result->lower_bound_seconds = plan->seconds;
    arena_free(scratch);
    return result;
}
