/* See infeasible.h. In: a lowered file and a budget that nothing fits. Out: messages, and JSON where it is
 * asked for. Every number in them is the peak of a plan that was made. */
#include "frontend/driver/infeasible.h"

#include "frontend/driver/batch_search.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/summary.h"
#include "ir/tasks.h"
#include "planner/layout/live.h"

#include <inttypes.h>
#include <string.h>

/* ---- other sizes of B and T, host memory ---- */

static int64_t weight_bytes(const Graph *g) {
    int64_t bytes = 0;
    for (uint32_t p = 0; p < g->param.count; p++) bytes += value_bytes(&g->value.at[g->param.at[p].value]);
    return bytes;
}

/* The file with further settings, in an arena of its own: many are tried. False where it is then in error;
 * the arena is the caller's to free in either case. */
static bool variant_of(const Compilation *c, const char *const *set, uint32_t count, Compilation *variant) {
    Compilation aside = *c;
    aside.arena = arena_new();
    bool fine = compile_variant(&aside, set, count, variant);
    variant->arena = aside.arena;
    return fine;
}

static const int64_t ENOUGH = INT64_MAX;
/* The smallest budget of the arena that the file needs with one dim at `value`: 0 where that is too much,
 * ENOUGH where it fits and `roughly` asks for no more, -1 where the file is then in error. */
static int64_t bytes_with(const Compilation *c, const char *dim, int64_t value, bool roughly) {
    Compilation other;
    const char *set = arena_printf(c->arena, "%s=%" PRId64, dim, value);
    if (value < 1) return -1;
    int64_t bytes = -1;
    if (variant_of(c, &set, 1, &other)) {
        bool too_heavy = weight_bytes(other.forward) > c->budget.device_bytes;
        bytes = too_heavy                                     ? 0
                : roughly && batch_search_surely_fits(&other) ? ENOUGH
                                                              : batch_search_fitting_bytes(&other);
    }
    arena_free(other.arena);
    return bytes;
}

/* The change to one dim that makes the smallest plan fit: the fewest halvings, at most ten; NULL when none
 * does. The first guess is right where all that is not persistent halves too; then the nearest one on the
 * other side is tried, or the most of all, since often nothing helps; then bisection finds it. */
static const char *change_that_fits(const Compilation *c, const Program *trial, int64_t arena_budget,
                                    const char *dim, int64_t value) {
    int64_t persistent = trial->result->layout->persistent_bytes, fits = 0;
    int64_t more = trial->result->smallest_bytes - persistent, room = arena_budget - persistent;
    int least = 1, most = 10, guess = 1, found = 0;
    while (most > 1 && value >> most < 1) most--;
    while (guess < most && more >> guess > room) guess++;
    for (int tries = 0; least <= most; tries++) {
        int halvings = tries == 0 ? guess : tries == 1 ? most : (least + most) / 2;
        int64_t bytes = bytes_with(c, dim, value >> halvings, tries > 0);
        if (bytes > 0) fits = bytes, found = halvings;
        if (bytes == 0)
            least = halvings + 1;
        else
            most = halvings - 1;
    }
    if (!found) return NULL;
    if (fits == ENOUGH) fits = bytes_with(c, dim, value >> found, false);
    char needs[24];
    return arena_printf(c->arena, "%s = %" PRId64 " (%s)", dim, value >> found,
                        format_bytes_up(fits + c->device.reserved_bytes, needs));
}

/* The host memory with which the file fits, rounded up to MiB or GiB; NULL when none does or it has some. */
static const char *host_that_fits(const Compilation *c) {
    const char *set = "host=64TB";
    Compilation other;
    if (c->spec.host_bytes || !c->device.copies_beside || !compile_variant(c, &set, 1, &other)) return NULL;
    Planned plan = planned_figures(&other, POLICY_OPTIMAL,
                                   budget_limited(c->budget.device_bytes, other.spec.host_bytes));
    if (!plan.fits) return NULL;
    int64_t mib = (plan.train.result->plan.host_bytes + (1 << 20) - 1) >> 20;
    return mib < 2048 ? arena_printf(c->arena, "host %" PRId64 "MiB", mib)
                      : arena_printf(c->arena, "host %" PRId64 "GiB", (mib + 1023) >> 10);
}

static void offer_sizes(Compilation *c, const Program *trial, Infeasible *answer) {
    int64_t arena_budget = compile_arena_budget(c, c->budget).device_bytes;
    if (arena_budget <= trial->result->layout->persistent_bytes) return;
    Text changes = {.arena = c->arena};
    const char *change[3] = {NULL, NULL, host_that_fits(c)};
    if (trial->graph->batch > 1)
        change[0] = change_that_fits(c, trial, arena_budget, "B", trial->graph->batch);
    change[1] = change_that_fits(c, trial, arena_budget, "T", trial->graph->context);
    for (size_t i = 0; i < COUNT_OF(change); i++)
        if (change[i])
            text_add(&changes, "%s%s%s", changes.length ? "; so would " : "", change[i],
                     changes.length ? "" : " would fit");
    if (changes.length) *vec_add(c->arena, &answer->help) = changes.at;
}

/* ---- other ways to train ---- */

/* Settings that need less memory for the weights' own sake, whatever B and T are. */
typedef struct Saving {
    const char *what, *set[2];
} Saving;

/* Without both, a weight is updated as soon as its gradient is complete, and gradients are not kept. */
static Saving without_gradients(const Compilation *c, int64_t accumulate) {
    Saving saving = {NULL, {NULL, NULL}};
    const char **set = saving.set;
    int64_t tokens = c->spec.batch_low * c->forward->context;
    if (c->spec.clip_norm > 0) *set++ = "train.clip_norm=0";
    if (accumulate > 1) *set = arena_printf(c->arena, "train.tokens_per_step=%" PRId64, tokens);
    if (saving.set[0])
        saving.what = saving.set[1]           ? "without clipping and accumulation"
                      : c->spec.clip_norm > 0 ? "without clipping"
                                              : "without accumulation";
    return saving;
}

/* What the file needs with some of the savings. */
typedef struct Need {
    int64_t at_least; /* as weights and the optimizer's states say without a plan; INT64_MAX: it is then in
                         error, or too heavy */
    int64_t bytes;    /* the smallest budget; 0: it was not looked for */
} Need;

/* Searched for where it may be at most `most`, and weights alone are at most `weights`. */
static Need need_with(const Compilation *c, const Saving *saving, uint32_t count, int64_t weights,
                      int64_t most) {
    const char *set[8];
    uint32_t sets = 0;
    for (uint32_t i = 0; i < count; i++)
        for (size_t k = 0; k < COUNT_OF(saving[i].set); k++)
            if (saving[i].set[k]) set[sets++] = saving[i].set[k];
    Compilation other;
    Need need = {.at_least = INT64_MAX};
    if (variant_of(c, set, sets, &other) && weight_bytes(other.forward) <= weights) {
        need.at_least = batch_search_surely_bytes(&other) + c->device.reserved_bytes;
        if (need.at_least <= most) need.bytes = planned_least_bytes(&other, POLICY_OPTIMAL);
    }
    arena_free(other.arena);
    return need;
}

/* The smallest budget with some of the savings, if it is at most `most`; 0: it is not, or the file is in
 * error. */
static int64_t smallest_with(const Compilation *c, const Saving *saving, uint32_t count, int64_t most) {
    Need need = need_with(c, saving, count, INT64_MAX, most);
    return need.bytes <= most ? need.bytes : 0;
}

static void add_saving(const Compilation *c, int64_t bytes, const char *what, Text *out) {
    char size[24];
    text_add(out, "%s%s %s%s", out->length ? "; " : "", format_bytes_up(bytes, size), what,
             bytes <= c->budget.device_bytes ? ", which fits" : "");
}

/* A saving that is worth a word. */
typedef struct Useful {
    Saving saving;
    int64_t bytes; /* 0: too much by far for the budget, so that how much is not looked for */
} Useful;

/* Alone, what surely does not fit is only known to help by what weights and states then take: how much is
 * needed is then said of all savings together, which come nearer. */
static bool is_useful(const Compilation *c, const Saving *saving, int64_t smallest, Useful *out) {
    int64_t worth = smallest - smallest / 50; /* more is not worth a word */
    int64_t budget = c->budget.device_bytes;
    Need need = need_with(c, saving, 1, INT64_MAX, budget < worth ? budget : worth);
    *out = (Useful){*saving, need.bytes};
    if (need.at_least <= worth && !need.bytes) {
        int64_t now = batch_search_surely_bytes(c) + c->device.reserved_bytes;
        if (now - need.at_least >= smallest - worth) return true;
        out->bytes = smallest_with(c, saving, 1, worth);
    }
    return out->bytes > 0 && out->bytes <= worth;
}

static void add_settings(const Saving *saving, Text *out) {
    for (size_t k = 0; k < COUNT_OF(saving->set); k++)
        if (saving->set[k]) text_add(out, "%s--set %s", out->length ? " " : "", saving->set[k]);
}

/* All of them, by name where not all were named before. */
static const char *name_together(const Compilation *c, const Useful *useful, uint32_t count) {
    Text names = {.arena = c->arena}, settings = {.arena = c->arena};
    bool named = true;
    for (uint32_t i = 0; i < count; i++) {
        named &= useful[i].bytes > 0;
        text_add(&names, "%s%s", i ? ", " : "", useful[i].saving.what);
        add_settings(&useful[i].saving, &settings);
    }
    if (named) return count == 2 ? "with both" : "with all three";
    return arena_printf(c->arena, "%s (%s)", names.at, settings.at);
}

static void offer_savings(Compilation *c, const Program *trial, int64_t smallest, Infeasible *answer) {
    Saving all[3];
    Useful useful[3] = {{.bytes = 0}};
    uint32_t count = 0, found = 0;
    Saving early = without_gradients(c, trial->graph->accumulate);
    if (early.what) all[count++] = early;
    if (c->spec.moment == DT_F32 && !c->spec.moments_8bit)
        all[count++] = (Saving){"with the optimizer's moments in bf16", {"dtype.optimizer=bf16"}};
    if (c->spec.gradient == DT_F32)
        all[count++] = (Saving){"with weight gradients in bf16", {"dtype.gradient=bf16"}};
    for (uint32_t i = 0; i < count; i++) found += is_useful(c, &all[i], smallest, &useful[found]);
    if (found == 1 && !useful[0].bytes) useful[0].bytes = smallest_with(c, &useful[0].saving, 1, INT64_MAX);
    Text out = {.arena = c->arena};
    for (uint32_t i = 0; i < found; i++) {
        Text settings = {.arena = c->arena};
        add_settings(&useful[i].saving, &settings);
        if (useful[i].bytes)
            add_saving(c, useful[i].bytes,
                       arena_printf(c->arena, "%s (%s)", useful[i].saving.what, settings.at), &out);
    }
    if (found > 1) {
        Saving together[3];
        for (uint32_t i = 0; i < found; i++) together[i] = useful[i].saving;
        int64_t bytes = smallest_with(c, together, found, INT64_MAX);
        if (bytes) add_saving(c, bytes, name_together(c, useful, found), &out);
    }
    if (out.length)
        *vec_add(c->arena, &answer->help) = arena_printf(c->arena, "less is needed otherwise: %s", out.at);
}

/* One of them, which another thread may look at while the file as it is is searched. */
typedef struct Way {
    const Saving *saving;
    int64_t weights;    /* what weights alone may take */
    Compilation *aside; /* NULL: it was not begun */
    int64_t surely;     /* it is searched for where it may be at most that: less than the file surely needs */
    Need need;
    Task task;
} Way;

static void look_at(void *context) {
    Way *way = context;
    way->need = need_with(way->aside, way->saving, 1, way->weights, way->surely);
}

static void begin_way(const Compilation *c, int64_t surely, Way *way) {
    way->aside = compile_aside(c);
    way->surely = surely;
    way->task = (Task){.run = look_at, .context = way};
    task_begin(c->tasks, &way->task);
}

/* Done at once by this thread where another has to be waited for anyway. */
static void hasten_way(const Compilation *c, Way *way) {
    if (way->aside) task_end(c->tasks, &way->task);
}

static void drop_way(const Compilation *c, Way *way) {
    if (!way->aside) return;
    task_drop(c->tasks, &way->task);
    compile_aside_end(c, way->aside);
    way->aside = NULL;
}

/* The smallest budget with it, if that is less than `smallest`; 0: it is not. */
static int64_t end_way(const Compilation *c, Way *way, int64_t smallest) {
    Need need = {.at_least = 0};
    if (way->aside) {
        task_end(c->tasks, &way->task);
        need = way->need;
        drop_way(c, way);
    }
    if (!need.bytes && need.at_least < smallest)
        need = need_with(c, way->saving, 1, way->weights, smallest - 1);
    return need.bytes < smallest ? need.bytes : 0;
}

/* Weights that are loaded need not all be trained: adapters beside them, and these beside 4-bit weights where
 * the first do not fit. */
typedef struct Ways {
    Way adapters, packed; /* the second is asked for where the first does not fit */
} Ways;

static bool asks_adapters(const Compilation *c) {
    return c->spec.weights_path && !c->spec.adapt.rank;
}

static bool asks_packed(const Compilation *c) {
    return c->spec.weights_path && dtype_bytes[c->spec.frozen_matrix];
}

/* Begins what will surely be asked. */
static void begin_ways(const Compilation *c, Ways *ways) {
#define ADAPT  "adapt=lora(rank = 16)"
#define PACKED "dtype.frozen=nf4(double_quant)"
    static const Saving adapters = {"with adapters beside frozen weights (--set '" ADAPT "')", {ADAPT}},
                        packed = {"with frozen weights in 4 bits (--set '" PACKED "')", {PACKED}},
                        both = {"with adapters beside 4-bit weights (--set '" ADAPT "' --set '" PACKED "')",
                                {ADAPT, PACKED}};
#undef ADAPT
#undef PACKED
    *ways = (Ways){{.saving = &adapters, .weights = c->budget.device_bytes},
                   {.saving = asks_adapters(c) ? &both : &packed, .weights = INT64_MAX}};
    if (!c->tasks || c->policy != POLICY_OPTIMAL || batch_search_takes_seconds(batch_search_whole(c))) return;
    int64_t surely = batch_search_surely_bytes(c) + c->device.reserved_bytes - 1;
    if (asks_adapters(c))
        begin_way(c, surely, &ways->adapters);
    else if (asks_packed(c))
        begin_way(c, surely, &ways->packed);
}

static void offer_ways(Compilation *c, int64_t smallest, Ways *ways, Infeasible *answer) {
    Text out = {.arena = c->arena};
    bool fits = false;
    if (asks_adapters(c)) {
        int64_t bytes = end_way(c, &ways->adapters, smallest);
        fits = bytes && bytes <= c->budget.device_bytes;
        if (bytes) add_saving(c, bytes, ways->adapters.saving->what, &out);
    }
    if (!fits && asks_packed(c)) {
        int64_t bytes = end_way(c, &ways->packed, smallest);
        if (bytes) add_saving(c, bytes, ways->packed.saving->what, &out);
    }
    if (out.length)
        *vec_add(c->arena, &answer->help) =
            arena_printf(c->arena, "fine-tuning in other ways needs less: %s", out.at);
}

/* ---- other cards ---- */

/* Known cards that hold the smallest plan, smallest first; where none does, the largest there is. The plan of
 * another card takes the same memory but for how ties in time are broken: those within 1% are left out. */
static void offer_devices(Compilation *c, int64_t smallest, Infeasible *answer) {
    enum { MOST = 3 };
    if (!c->device.memory_bytes || !c->device.copies_beside) return; /* the budget alone counts there */
    uint32_t count, found = 0;
    const Device *list = device_list(&count), *fit[MOST], *largest = NULL;
    char size[24];
    for (uint32_t i = 0; i < count; i++) {
        const Device *card = &list[i];
        if (!card->cuda || card->flops_per_second[c->spec.compute] <= 0) continue;
        if (!largest || card->memory_bytes > largest->memory_bytes) largest = card;
        if (card->memory_bytes - smallest < smallest / 100) continue;
        uint32_t at = found < MOST ? found++ : MOST;
        for (; at > 0 && fit[at - 1]->memory_bytes > card->memory_bytes; at--)
            if (at < MOST) fit[at] = fit[at - 1];
        if (at < MOST) fit[at] = card;
    }
    Text out = {.arena = c->arena};
    for (uint32_t i = 0; i < found; i++)
        text_add(&out, "%s%s (%s)",
                 !i               ? "as it is it fits "
                 : i + 1 == found ? " and "
                                  : ", ",
                 fit[i]->name, format_bytes(fit[i]->memory_bytes, size));
    if (!found && largest)
        text_add(
            &out,
            "no known card holds it as it is; the largest, %s, has %s: `--device-memory SIZE` pretends one",
            largest->name, format_bytes(largest->memory_bytes, size));
    if (out.length) *vec_add(c->arena, &answer->help) = out.at;
}

/* ---- the answer ---- */

/* Whether the command line, not the file, says what the budget is. */
static bool budget_overridden(const Options *options) {
    for (uint32_t i = 0; i < options->set.count; i++)
        if (!strncmp(options->set.at[i], "budget=", 7)) return true;
    return options->budget != NULL;
}

/* What the smallest plan consists of at its fullest moment. */
static void list_parts(const Compilation *c, const Program *trial, Infeasible *answer) {
    const PlanResult *result = trial->result;
    const int64_t *roles = live_at_peak(trial->graph, &result->plan, result->layout, c->arena);
    int64_t packing = result->plan.peak_bytes;
    for (int r = 0; r < LIVE_COLUMNS; r++) {
        packing -= roles[r];
        *vec_add(c->arena, &answer->part) = (FloorPart){live_label[r], roles[r]};
    }
    *vec_add(c->arena, &answer->part) = (FloorPart){"packing", packing};
    *vec_add(c->arena, &answer->part) =
        (FloorPart){"evaluation and sampling",
                    answer->smallest_bytes - c->device.reserved_bytes - result->plan.peak_bytes};
    *vec_add(c->arena, &answer->part) = (FloorPart){"context", c->device.reserved_bytes};
}

static void note_parts(const Compilation *c, const Program *trial, Infeasible *answer) {
    Text floor = {.arena = c->arena};
    const FloorPart *dearest = &answer->part.at[0];
    char size[24], whole[24];
    for (uint32_t i = 0; i < answer->part.count; i++) {
        const FloorPart *part = &answer->part.at[i];
        if (part->bytes > dearest->bytes) dearest = part;
        if (part->bytes < 1 << 10) continue;
        text_add(&floor, "%s%s %s", floor.length ? " + " : "", part->name, format_bytes(part->bytes, size));
    }
    *vec_add(c->arena, &answer->note) =
        arena_printf(c->arena, "floor = %s   (B = %" PRId64 ")", floor.at, trial->graph->batch);
    *vec_add(c->arena, &answer->note) =
        arena_printf(c->arena, "the dearest part is '%s': %s of %s", dearest->name,
                     format_bytes(dearest->bytes, size), format_bytes_up(answer->smallest_bytes, whole));
}

int infeasible_answer(Compilation *c) {
    char budget[24], least[24];
    Ways ways;
    begin_ways(c, &ways);
    if (c->least) hasten_way(c, &ways.adapters), hasten_way(c, &ways.packed);
    /* what comes nearest is found without a budget: the same whichever was asked for */
    const Compilation *aside = planned_least_aside(c);
    Program trial = batch_search_least(aside, c->policy, false);
    Infeasible answer = {.spec = &c->spec,
                         .device = &c->device,
                         .policy = c->policy,
                         .budget = c->budget,
                         .batch = trial.graph->batch,
                         .context = trial.graph->context};
    answer.smallest_bytes = planned_bytes(aside, &trial);
    const char *device = device_text(&c->device, c->arena);
    format_bytes(c->budget.device_bytes, budget);
    format_bytes_up(answer.smallest_bytes, least);
    answer.message = c->policy == POLICY_OPTIMAL
                         ? arena_printf(c->arena, "no plan fits %s on %s; the smallest feasible budget is %s",
                                        budget, device, least)
                         : arena_printf(c->arena, "policy %s needs %s, which does not fit %s on %s",
                                        policy_name[c->policy], least, budget, device);
    if (c->budget_capped)
        *vec_add(c->arena, &answer.note) =
            arena_printf(c->arena, "the budget of %s is more than %s has",
                         format_bytes(c->spec.budget_bytes, budget), c->device.name);
    list_parts(c, &trial, &answer);
    note_parts(c, &trial, &answer);
    if (c->policy == POLICY_OPTIMAL) {
        if (!batch_search_takes_seconds(&trial)) {
            offer_sizes(c, &trial, &answer);
            offer_savings(c, &trial, answer.smallest_bytes, &answer);
            offer_ways(c, answer.smallest_bytes, &ways, &answer);
        }
        offer_devices(c, answer.smallest_bytes, &answer);
    } else {
        *vec_add(c->arena, &answer.help) =
            arena_printf(c->arena, "policy optimal needs %s at least",
                         format_bytes_up(planned_least_bytes(c, POLICY_OPTIMAL), least));
    }
    drop_way(c, &ways.adapters);
    drop_way(c, &ways.packed);
    planned_least_end(c);
    bool from_file = c->spec.budget_bytes && !c->budget_capped && !budget_overridden(c->options);
    diag_error(c->diag, E0701, from_file ? c->spec.budget_span : NO_SPAN, "%s", answer.message);
    for (uint32_t i = 0; i < answer.note.count; i++) diag_note(c->diag, NO_SPAN, "%s", answer.note.at[i]);
    for (uint32_t i = 0; i < answer.help.count; i++) diag_help(c->diag, "%s", answer.help.at[i]);
    message_diagnostics(c->options, c->diag);
    if (c->options->json) {
        Text out = {.arena = c->arena};
        summary_infeasible_json(&answer, &out);
        int code = output_print(c->options, &out);
        if (code != EXIT_FINE) return code;
    }
    return EXIT_INFEASIBLE;
}

int infeasible_or_plan(Compilation *c, Planned *out) {
    if (!planned_by_file(c, out)) return infeasible_answer(c);
    compile_warn_capped(c);
    return -1;
}
