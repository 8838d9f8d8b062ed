/* See batch_search.h. In: a lowered file, a policy and a budget; out: the graph, checked and planned, of the
 * micro-batch and the tiling that serve it best. */
#include "frontend/driver/batch_search.h"

#include "frontend/driver/programs.h"

#include "frontend/lower/lower.h"
#include "ir/tasks.h"
#include "planner/effort.h"
#include "planner/problem/stats.h"

#include <inttypes.h>
#include <math.h>

static bool is_feasible(const Program *trial) {
    return trial->result && trial->result->feasible;
}

/* Plans what was not planned yet. */
static void add_plan(const Compilation *c, Program *trial, Wish wish) {
    if (!trial->result) stages_plan(c, trial, wish, c->arena);
}

/* All that is asked of the one that is chosen. */
static void plan_in_full(const Compilation *c, Program *trial, Wish wish) {
    add_plan(c, trial, wish);
    if (trial->wish.ask == ASK_BOUND || !is_feasible(trial)) return;
    wish.ask = ASK_BOUND;
    stages_plan(c, trial, wish, c->arena);
}

/* Whether it is proved without a plan that none has a peak of at most so many bytes. */
static bool never_within(const Compilation *c, const Program *trial, Budget budget) {
    PlanRequest request = stages_glance(c, trial, budget);
    return plan_never_fits(&request);
}

/* Plans unless it is proved that nothing fits: then only where something turns on how near it comes. */
static void plan_if_it_may_fit(const Compilation *c, Program *trial, Wish wish) {
    if (trial->result) return;
    if (wish.policy != POLICY_OPTIMAL || !wish.budget.limited || !never_within(c, trial, wish.budget))
        add_plan(c, trial, wish);
}

static double seconds_per_token(const Program *trial) {
    return trial->result->plan.seconds / program_tokens(trial);
}

bool batch_search_takes_seconds(const Program *trial) {
    return trial->graph->node.count > EFFORT_TILES_MANY_OPS;
}

/* Whether a trial's smallest budget is less than another's. */
static bool is_nearer(const Compilation *c, Program *trial, Program *than, Wish wish) {
    if (!trial->result && !than->result)
        add_plan(c, programs_floor_bytes(c, trial) < programs_floor_bytes(c, than) ? trial : than, wish);
    if (!trial->result && never_within(c, trial, budget_limited(than->result->smallest_bytes - 1, 0)))
        return false;
    if (!than->result && never_within(c, than, budget_limited(trial->result->smallest_bytes, 0))) return true;
    add_plan(c, trial, wish);
    add_plan(c, than, wish);
    return trial->result->smallest_bytes < than->result->smallest_bytes;
}

/* Fits and is faster, or nothing fits and it comes nearer. */
static bool is_better(const Compilation *c, Program *trial, Program *than, Wish wish) {
    if (!than || is_feasible(trial) != is_feasible(than)) return !than || is_feasible(trial);
    return is_feasible(trial) ? seconds_per_token(trial) < seconds_per_token(than)
                              : is_nearer(c, trial, than, wish);
}

/* ---- tiles of tokens ---- */

/* With B left to the planner, and so the order of sums too, tiles are also tried where the graph fits whole,
 * if recomputation takes more than this share of a step ... */
static const double much_recomputation = EFFORT_TILES_RECOMPUTATION / 1000.;
/* ... and taken, like another micro-batch in tiles, if a token costs that much less; where the graph fits
 * whole with host memory only, if it costs less at all. */
static const double worthwhile = EFFORT_TILES_WORTHWHILE / 1000.;

/* How far a plan may be from what was foreseen, as a share; what would be faster by less is not planned,
 * unless the last one was further from it. */
static const double noticeable = EFFORT_TILES_NOTICEABLE / 1000.;

/* Whether the plan that checkpoints every block fits. */
static bool surely_fits(const Compilation *c, const Program *trial, Budget budget) {
    PlanRequest request = stages_glance(c, trial, budget);
    return plan_blocks_bytes(&request, false) <= budget.device_bytes &&
           plan_blocks_bytes(&request, true) <= budget.device_bytes;
}

/* How many of the finest tilings are searched for the smallest budget: what every block checkpointed needs
 * ranks only nearly, so that the last one need not be what comes nearest. */
static uint32_t finest_tries(const Program *whole, uint32_t count) {
    uint32_t ops = whole->graph->node.count;
    uint32_t tries = ops < EFFORT_TILES_NEAREST_OPS       ? EFFORT_TILES_NEAREST
                     : ops < EFFORT_TILES_COARSE_LOSS_OPS ? 2
                                                          : 1;
    return tries < count ? tries : count;
}

/* A tiling as it is tried for one wish. */
typedef struct TryOut {
    TileRule tile;
    double seconds, foreseen; /* a token, nothing recomputed, and as it is estimated */
    Program *trial;           /* once it was looked at again */
} TryOut;

static uint32_t list_tries(const Compilation *c, const Program *whole, TryOut list[MOST_TILINGS]) {
    const Tiling *tiling;
    uint32_t count = programs_tilings(c, whole, &tiling);
    for (uint32_t i = 0; i < count; i++)
        list[i] = (TryOut){.tile = tiling[i].tile, .seconds = tiling[i].seconds};
    return count;
}

static Program *trial_of_tiling(const Compilation *c, const Program *whole, TryOut *tiling) {
    if (!tiling->trial) tiling->trial = programs_get(c, whole->made[STAGE_GRAPH], tiling->tile);
    return tiling->trial;
}

/* Whether a bound leaves the chance of fewer seconds a token than `enough`. */
static bool may_be_faster(const Compilation *c, const Program *trial, Budget budget, double enough) {
    PlanRequest request = stages_glance(c, trial, budget);
    return plan_bound(&request) / program_tokens(trial) < enough;
}

/* The fastest of the tilings that are foreseen to fit and to take fewer than `enough` seconds a token, from
 * the most promising one on, at most so many that fit and twice as many in all, or `best`. The list goes on
 * from few bytes saved at little cost to many: once that no longer pays, it is not asked any further. */
static Program *best_foreseen(const Compilation *c, Program *whole, TryOut *list, uint32_t count, Wish wish,
                              double (*foresee)(const PlanRequest *), uint32_t most, double enough,
                              Program *best) {
    TryOut *order[MOST_TILINGS];
    for (uint32_t i = 0, worse = 0; i < count; i++) {
        list[i].foreseen = INFINITY;
        if (list[i].seconds < enough && worse < EFFORT_TILES_WORSE) {
            Program *trial = trial_of_tiling(c, whole, &list[i]);
            PlanRequest request = stages_glance(c, trial, wish.budget);
            list[i].foreseen = foresee(&request) / program_tokens(trial);
            worse = i > 0 && list[i].foreseen > order[0]->foreseen ? worse + 1 : 0;
        }
        uint32_t at = i;
        for (; at > 0 && order[at - 1]->foreseen >= list[i].foreseen; at--) order[at] = order[at - 1];
        order[at] = &list[i];
    }
    if (best != whole) enough = fmin(enough, seconds_per_token(best)); /* an earlier call's */
    double off = 1; /* how much of the foreseen time the last one took */
    for (uint32_t i = 0, tries = 0; i < count && tries < most && i < 2 * most; i++) {
        bool sure = tries > 0 && fabs(off - 1) <= noticeable;
        if (order[i]->foreseen * off >= enough * (1 + (sure ? -noticeable : noticeable))) break;
        Program *trial = order[i]->trial;
        add_plan(c, trial, wish);
        if (!is_feasible(trial)) continue;
        off = seconds_per_token(trial) / order[i]->foreseen;
        tries++;
        if (seconds_per_token(trial) >= enough) continue;
        best = trial;
        enough = seconds_per_token(trial);
    }
    return best;
}

/* The fastest tiling that fits, if it takes fewer than `enough` seconds a token; where nothing fits, what
 * comes nearest. */
static Program *best_tiling(const Compilation *c, Program *whole, Wish wish, double enough) {
    Program *best = whole;
    TryOut list[MOST_TILINGS];
    uint32_t count = list_tries(c, whole, list);
    /* the estimate knows nothing of host memory, with which plans come near the bound */
    bool host = wish.budget.host_bytes > 0, many = whole->graph->node.count >= EFFORT_TILES_COARSE_LOSS_OPS;
    best = best_foreseen(c, whole, list, count, wish, plan_estimate, host ? 1 : EFFORT_TILES_FORESEEN, enough,
                         best);
    if (host)
        best = best_foreseen(c, whole, list, count, wish, plan_bound,
                             many && enough < INFINITY ? 1 : EFFORT_TILES_FORESEEN, enough, best);
    uint32_t tries = finest_tries(whole, count);
    while (!is_feasible(best) && enough == INFINITY && tries-- > 0) {
        Program *trial = trial_of_tiling(c, whole, &list[--count]);
        plan_if_it_may_fit(c, trial, wish);
        if (is_better(c, trial, best, wish)) best = trial;
    }
    return best;
}

/* For one B, tiles are for what does not fit whole, or only with host memory: every budget that does has the
 * same bits, and host memory never stands in the way of a tiling that would be faster. */
static bool wants_tiles(const Compilation *c, const Program *trial, Wish wish) {
    const PlanResult *result = trial->result;
    if (wish.policy != POLICY_OPTIMAL || !wish.budget.limited) return false;
    if (batch_search_takes_seconds(trial)) return false;
    if (!is_feasible(trial) || result->needs_host) return true;
    return c->spec.batch_auto && result->plan.seconds > (1 + much_recomputation) * result->keep_all_seconds;
}

/* Says why there are tiles. Nobody is told of what does not fit, but in a comparison of policies. */
static void explain_tiles(const Compilation *c, Program *whole, Program *best, Wish wish) {
    Text text = {.arena = c->arena};
    char bytes[24];
    const TileRule *tile = &best->tile;
    if (tile_is_whole(*tile)) return;
    if (!is_feasible(best) && !c->options->compare) return;
    add_plan(c, whole, wish);
    if (tile->loss_chunks > 1)
        text_add(&text, "the loss head runs in %" PRId64 " chunks of tokens", tile->loss_chunks);
    if (tile->mlp_tiles > 1)
        text_add(&text, "%s in %" PRId64 " tiles", text.length ? ", MLPs" : "MLPs run", tile->mlp_tiles);
    if (whole->result->feasible)
        text_add(&text, ": whole, a step would take %.1f%% longer",
                 100 * (seconds_per_token(whole) / seconds_per_token(best) - 1));
    else
        text_add(&text, ": whole, the smallest budget would be %s",
                 format_bytes_up(whole->result->smallest_bytes + c->device.reserved_bytes, bytes));
    *vec_add(c->arena, &best->result->reason) = text.at;
}

/* Says how to get tiles for speed where much is computed again for want of them. */
static void offer_tiles(const Compilation *c, const Program *whole, Wish wish) {
    const PlanResult *result = whole->result;
    if (c->spec.batch_auto || wish.policy != POLICY_OPTIMAL || !is_feasible(whole)) return;
    if (result->plan.seconds <= (1 + much_recomputation) * result->keep_all_seconds) return;
    *vec_add(c->arena, &whole->result->reason) = arena_printf(
        c->arena,
        "B is fixed and the model fits whole, so nothing is cut into tiles: with B = auto(%" PRId64
        "..%" PRId64 ") the loss head and MLPs may be, for speed",
        whole->graph->batch, whole->graph->batch);
}

/* Whether another micro-batch is proved faster than one that surely fits: no need to plan that. */
static bool is_beaten(const Compilation *c, const Program *trial, const Program *best, Wish wish) {
    if (wish.policy != POLICY_OPTIMAL || !wish.budget.limited || c->spec.pin.count || !is_feasible(best))
        return false;
    return surely_fits(c, trial, wish.budget) &&
           !may_be_faster(c, trial, wish.budget, seconds_per_token(best));
}

/* The micro-batches that are tried, from the smallest; 0: the file's. */
static int64_t first_batch(const Compilation *c) {
    return c->spec.batch_auto ? c->spec.batch_low : 0;
}

static int64_t last_batch(const Compilation *c) {
    return c->spec.batch_auto ? c->spec.batch_high : 0;
}

/* The micro-batch that makes a step of one micro-step: where nothing is clipped, gradients are then not kept,
 * and it may need less than a smaller one. 0: there is none but the smallest. */
static int64_t single_batch(const Compilation *c) {
    const Spec *spec = &c->spec;
    if (!spec->batch_auto || !spec->tokens_per_step || spec->clip_norm > 0) return 0;
    int64_t batch = spec->tokens_per_step / c->forward->context;
    return batch > spec->batch_low && batch <= spec->batch_high ? batch : 0;
}

/* ---- which micro-batches ---- */

/* What is found for the micro-batches that are possible. */
typedef struct Batches {
    const Compilation *c;
    Wish wish;
    VEC(int64_t) of; /* ascending; one of 0: the file's */
    Program **trial; /* NULL: not tried, or beaten without a plan */
    uint32_t best;   /* NONE: none was tried */
    uint32_t misses; /* that need more than the best, in a row */
} Batches;

static Batches list_batches(const Compilation *c, Wish wish) {
    Batches batches = {.c = c, .wish = wish, .best = NONE};
    for (int64_t batch = first_batch(c); batch <= last_batch(c); batch++)
        if (!batch || lower_batch_fits(&c->spec, batch)) *vec_add(c->arena, &batches.of) = batch;
    batches.trial = NEW_ARRAY(c->arena, Program *, batches.of.count + 1);
    return batches;
}

/* Whether it is the best so far. */
static bool try_batch(Batches *b, uint32_t i) {
    Program *best = b->best == NONE ? NULL : b->trial[b->best], *trial = programs_of_batch(b->c, b->of.at[i]);
    if (best && is_beaten(b->c, trial, best, b->wish)) return false;
    plan_if_it_may_fit(b->c, trial, b->wish);
    b->trial[i] = trial;
    bool needs_more =
        best && !is_feasible(trial) && (is_feasible(best) || is_nearer(b->c, best, trial, b->wish));
    b->misses = needs_more ? b->misses + 1 : 0;
    if (!is_better(b->c, trial, best, b->wish)) return false;
    b->best = i;
    return true;
}

/* Larger ones need more too. */
static bool has_missed(const Batches *b, uint32_t i) {
    return b->trial[i] && b->misses == (wants_tiles(b->c, b->trial[i], b->wish) ? 2 : 1);
}

/* Between two that were tried on either side of the best: halves the wider side until none is left. A token
 * takes less the larger the micro-batch, until memory is short, and more from there on: where it is not as
 * smooth as that, one that is faster may be missed. */
static void try_between(Batches *b, uint32_t low, uint32_t high) {
    while (b->best - low > 1 || high - b->best > 1) {
        bool above = high - b->best > b->best - low;
        uint32_t was = b->best, i = above ? was + (high - was) / 2 : low + (was - low) / 2;
        bool is_best = try_batch(b, i);
        if (above)
            *(is_best ? &low : &high) = is_best ? was : i;
        else
            *(is_best ? &high : &low) = is_best ? was : i;
    }
}

/* All of them, from the smallest, or of many each about twice the one before and then those around the best.
 */
static void try_batches(Batches *b) {
    uint32_t count = b->of.count, low = 0, high = 0, last = 0;
    bool all = count <= EFFORT_BATCHES_ALL;
    for (uint32_t i = 0; i < count; i = all                                   ? i + 1
                                        : i < count - 1 && 2 * i + 1 >= count ? count - 1
                                                                              : 2 * i + 1) {
        if (try_batch(b, i)) low = last, high = i;
        if (b->best == last && i > last) high = i; /* the first after the best */
        last = i;
        if (has_missed(b, i)) break;
    }
    if (!all) try_between(b, low, high);
}

/* The micro-batch and tiling with the most tokens a second among those that fit; when none fits, what comes
 * nearest. Tiles are tried for those that fit whole by much recomputation or with host memory only, and for
 * the smallest that does not. */
Program batch_search(const Compilation *c, Policy policy, Budget budget, bool told) {
    Wish wish = {policy, budget, c->spec.batch_auto ? ASK_PLAN : ASK_BOUND};
    Batches batches = list_batches(c, wish);
    try_batches(&batches);
    Program *best = batches.trial[batches.best], *best_whole = best;
    for (uint32_t i = 0; i < batches.of.count; i++) {
        Program *whole = batches.trial[i];
        if (!whole || !wants_tiles(c, whole, wish)) continue;
        double less = is_feasible(whole) && whole->result->needs_host ? 0 : worthwhile;
        double enough = is_feasible(best) ? seconds_per_token(best) * (1 - less) : INFINITY;
        if (whole->seconds / program_tokens(whole) >= enough) continue;
        wish.ask = ASK_PLAN;
        Program *trial = best_tiling(c, whole, wish, enough);
        if (trial != best &&
            (is_feasible(trial) ? seconds_per_token(trial) < enough : is_better(c, trial, best, wish)))
            best = trial, best_whole = whole;
        if (!is_feasible(whole)) break;
    }
    if (!is_feasible(best) && wish.policy == POLICY_OPTIMAL && single_batch(c)) {
        Program *whole = programs_of_batch(c, single_batch(c));
        plan_if_it_may_fit(c, whole, wish);
        Program *trial = is_feasible(whole) ? whole : best_tiling(c, whole, wish, INFINITY);
        if (is_better(c, trial, best, wish)) best = trial, best_whole = whole;
    }
    plan_in_full(c, best, wish);
    if (told) explain_tiles(c, best_whole, best, wish);
    if (best == best_whole) offer_tiles(c, best, wish);
    return *best;
}

/* ---- the smallest budget ---- */

/* A lower bound on a trial's smallest budget, and just that once it is planned. */
typedef struct Bounded {
    Program *trial;
    int64_t bound;
    bool searched; /* at least its live bytes are known, or what is as good */
    bool packed;   /* and more than that */
    bool ahead;    /* a task of it was begun for another thread, before what it finds is asked for */
    Task task;
    PlanRequest request;
    Stats stats; /* of the task alone */
    int64_t live;
} Bounded;
typedef VEC(Bounded) BoundedList;

static void add_bounded(const Compilation *c, BoundedList *trials, Program *trial) {
    PlanRequest request = stages_glance(c, trial, (Budget){0});
    *vec_add(c->arena, trials) = (Bounded){.trial = trial, .bound = plan_operations_bytes(&request)};
}

/* A micro-batch and its finest tilings, in the order in which the first of equals is taken: from the finest
 * on, or any if it is for the bytes alone. Few operations are packed by an exact search, which takes longest
 * for the finest tiles: where bytes are all that is asked for, the least fine come before them. */
static void list_bounded(const Compilation *c, int64_t batch, bool bytes_alone, BoundedList *trials) {
    Program *whole = programs_of_batch(c, batch);
    add_bounded(c, trials, whole);
    if (batch_search_takes_seconds(whole)) return;
    TryOut list[MOST_TILINGS];
    uint32_t count = list_tries(c, whole, list);
    uint32_t tries = finest_tries(whole, count);
    bool least_fine_first = bytes_alone && whole->graph->node.count < EFFORT_TILES_FINE_OPS;
    for (uint32_t k = 0; k < tries; k++) {
        TryOut *next = &list[least_fine_first ? count - tries + k : count - 1 - k];
        add_bounded(c, trials, trial_of_tiling(c, whole, next));
    }
}

static void search_live(void *context) {
    Bounded *one = context;
    one->live = plan_least_live(&one->request);
}

/* That a search finds how much is live at least, and not just that where it is surely more than `live`, which
 * another needs, with what packing may lose. */
static void ask_live(const Compilation *c, Bounded *one, int64_t live, Wish any) {
    if (live < INT64_MAX)
        any.budget =
            budget_limited(live + (live - one->bound) / EFFORT_TILES_PACKING_LOSS, any.budget.host_bytes);
    one->request = stages_request(c, one->trial, any);
}

/* Whether another thread has done its task, if there is one. */
static bool was_done(const Compilation *c, Bounded *one) {
    bool done = one->ahead && task_drop(c->tasks, &one->task);
    if (done && c->stats) stats_add(c->stats, &one->stats);
    one->ahead = false;
    return done;
}

static int64_t live_of(const Compilation *c, Bounded *one, int64_t live, Wish any) {
    if (was_done(c, one)) return one->live;
    ask_live(c, one, live, any);
    search_live(one);
    return one->live;
}

/* Of those with the least known of them the first. */
static Bounded *most_promising(BoundedList *trials) {
    Bounded *best = &trials->at[0];
    for (uint32_t i = 1; i < trials->count; i++)
        if (trials->at[i].bound < best->bound) best = &trials->at[i];
    return best;
}

/* The least that any other is known to need: of those searched alone, or of all. */
static int64_t least_of_others(const BoundedList *trials, const Bounded *but, bool searched) {
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < trials->count; i++) {
        const Bounded *other = &trials->at[i];
        if (other != but && (other->searched || !searched) && other->bound < least) least = other->bound;
    }
    return least;
}

static void begin_ahead(const Compilation *c, Bounded *one, void (*run)(void *one)) {
    one->stats = (Stats){0};
    if (c->stats) one->request.stats = &one->stats;
    one->task = (Task){.run = run, .context = one, .alone = true};
    one->ahead = true;
    task_begin(c->tasks, &one->task);
}

/* What will be next after `but` of those that were searched, or not. */
static Bounded *most_promising_other(BoundedList *trials, const Bounded *but, bool searched) {
    Bounded *next = NULL;
    for (uint32_t i = 0; i < trials->count; i++) {
        Bounded *other = &trials->at[i];
        if (other == but || other->searched != searched || other->ahead || other->packed) continue;
        if (!next || other->bound < next->bound) next = other;
    }
    return next;
}

static void pack_next(void *context) {
    const Bounded *one = context;
    plan_pack_ahead(&one->request);
}

/* While `one` is looked at another thread may look at what is likely to be next: it finds the same, sooner or
 * later. Packing loses something, so that what is within a thousandth is packed too. */
static void look_ahead(const Compilation *c, BoundedList *trials, const Bounded *one, Wish any) {
    Bounded *next = c->tasks ? most_promising_other(trials, one, one->searched) : NULL;
    if (!next || (one->searched && next->bound - one->bound > one->bound / 1000)) return;
    ask_live(c, next, one->searched ? INT64_MAX : least_of_others(trials, next, true), any);
    begin_ahead(c, next, one->searched ? pack_next : search_live);
}

/* Packs of a trial what may need no more than others do; how much it then needs at least. */
static int64_t packed_of(const Compilation *c, const Program *trial, int64_t others, Wish any) {
    if (others < INT64_MAX) any.budget = budget_limited(others, any.budget.host_bytes);
    PlanRequest request = stages_request(c, trial, any);
    return plan_least_packed(&request);
}

/* What needs least, the first of equals, by best-first search: each time what may need least is looked at
 * more closely, until that is one that is planned. So what is not packed has more live than the answer needs.
 */
static Program *best_first(const Compilation *c, BoundedList *trials, Wish any) {
    for (;;) {
        Bounded *next = most_promising(trials);
        if (next->trial->result) {
            for (uint32_t i = 0; i < trials->count; i++) was_done(c, &trials->at[i]);
            return next->trial;
        }
        int64_t bytes = next->bound;
        look_ahead(c, trials, next, any);
        if (next->searched) was_done(c, next); /* what it packed is known now */
        if (trials->count > 1)
            bytes = next->searched ? packed_of(c, next->trial, least_of_others(trials, next, false), any)
                                   : live_of(c, next, least_of_others(trials, next, true), any);
        if (bytes <= next->bound && (next->searched || trials->count == 1)) {
            add_plan(c, next->trial, any);
            bytes = next->trial->result->smallest_bytes;
        }
        next->bound = bytes;
        next->packed = next->searched;
        next->searched = true;
    }
}

/* The first micro-batch that is possible. */
static int64_t smallest_batch(const Compilation *c) {
    int64_t batch = first_batch(c);
    while (batch && !lower_batch_fits(&c->spec, batch)) batch++;
    return batch;
}

const Program *batch_search_whole(const Compilation *c) {
    return programs_of_batch(c, smallest_batch(c));
}

/* Gradients that are added up over micro-steps count only where no micro-batch is a step by itself: they are
 * then not kept. */
int64_t batch_search_surely_bytes(const Compilation *c) {
    const Graph *g = batch_search_whole(c)->graph;
    bool adds_up = !single_batch(c);
    int64_t bytes = 0;
    for (ValueId v = 0; v < g->value.count; v++) {
        const Value *value = &g->value.at[v];
        if (value->kind == VALUE_ACTIVATION) continue;
        bool stays = value->role == ROLE_WEIGHT || value->role == ROLE_OPTIMIZER;
        if (stays || (adds_up && value->role == ROLE_WGRAD)) bytes += type_bytes(&value->type);
    }
    return bytes;
}

bool batch_search_never_fits(const Compilation *c, Budget budget) {
    return budget.limited && batch_search_surely_bytes(c) > budget.device_bytes;
}

/* The same with a fixed policy, which is planned at once. */
static Program *policy_nearest(const Compilation *c, int64_t batch, Wish any) {
    Program *best = programs_of_batch(c, batch);
    if (single_batch(c) > batch) {
        Program *single = programs_of_batch(c, single_batch(c));
        if (is_better(c, single, best, any)) best = single;
    }
    add_plan(c, best, any);
    return best;
}

Program batch_search_least(const Compilation *c, Policy policy, bool bytes_alone) {
    Wish any = {policy, {.host_bytes = c->spec.host_bytes}, ASK_LEAST};
    int64_t batch = smallest_batch(c);
    if (policy != POLICY_OPTIMAL) return *policy_nearest(c, batch, any);
    BoundedList trials = {0};
    list_bounded(c, batch, bytes_alone, &trials);
    if (single_batch(c) > batch) list_bounded(c, single_batch(c), bytes_alone, &trials);
    return *best_first(c, &trials, any);
}

/* The smallest budget of the finest tilings of `whole`, if it is within the arena's; 0: it is not. */
static int64_t tiling_that_fits(const Compilation *c, const Program *whole, Wish any, Budget budget) {
    if (batch_search_takes_seconds(whole)) return 0;
    TryOut list[MOST_TILINGS];
    uint32_t count = list_tries(c, whole, list);
    uint32_t tries = finest_tries(whole, count);
    while (tries-- > 0) {
        Program *trial = trial_of_tiling(c, whole, &list[--count]);
        if (never_within(c, trial, budget)) continue;
        add_plan(c, trial, any);
        if (trial->result->smallest_bytes <= budget.device_bytes) return trial->result->smallest_bytes;
    }
    return 0;
}

int64_t batch_search_fitting_bytes(const Compilation *c) {
    Budget budget = compile_arena_budget(c, c->budget);
    Wish any = {POLICY_OPTIMAL, {.host_bytes = c->spec.host_bytes}, ASK_LEAST};
    Program *first = NULL;
    if (!budget.limited || budget.device_bytes <= 0) return 0;
    for (int64_t batch = first_batch(c), tried = 0; batch <= last_batch(c) && tried < EFFORT_BATCHES_WHOLE;
         batch++) {
        if (batch && !lower_batch_fits(&c->spec, batch)) continue;
        Program *trial = programs_of_batch(c, batch);
        if (!first) first = trial;
        tried++;
        if (never_within(c, trial, budget)) continue;
        add_plan(c, trial, any);
        if (trial->result->smallest_bytes <= budget.device_bytes) return trial->result->smallest_bytes;
    }
    return first ? tiling_that_fits(c, first, any, budget) : 0;
}

bool batch_search_surely_fits(const Compilation *c) {
    Budget budget = compile_arena_budget(c, c->budget);
    if (c->spec.pin.count || !budget.limited || budget.device_bytes <= 0) return false;
    Arena *scratch = arena_new();
    Program whole = program_new(PROGRAM_TRAIN, c->forward, (TileRule){1, 1}, scratch);
    stages_run(c, &whole, STAGE_COST, scratch);
    bool fits = surely_fits(c, &whole, budget);
    arena_free(scratch);
    return fits;
}
