/* See planned.h. */
#include "frontend/driver/planned.h"

#include "frontend/driver/batch_search.h"
#include "frontend/driver/programs.h"
#include "frontend/lower/lower.h"
#include "ir/tasks.h"

#include <string.h>

/* A program without backward pass, in the arena of the training program. */
static Program beside(const Compilation *c, ProgramKind kind, Graph *forward, TileRule tile,
                      const Program *train) {
    Program program = program_new(kind, forward, tile, c->arena);
    program.inside = train;
    stages_run(c, &program, STAGE_LAYOUT, c->arena);
    return program;
}

static int64_t height(const Program *program) {
    return program->result->layout->height_bytes;
}

static bool fits_in(const Program *program, Budget budget) {
    return !budget.limited || height(program) <= budget.device_bytes;
}

/* In tiles only where it would need more than training does: in training's, or where those do not fit, as
 * with the activations of training in host memory, in the finest. */
static Program evaluation(const Compilation *c, const Program *train, Budget budget) {
    Graph *forward = train->made[STAGE_GRAPH];
    Program program = beside(c, PROGRAM_EVALUATE, forward, (TileRule){1, 1}, train);
    if (height(&program) <= height(train)) return program;
    if (!tile_is_whole(train->tile)) program = beside(c, PROGRAM_EVALUATE, forward, train->tile, train);
    if (fits_in(&program, budget)) return program;
    const Tiling *tiling;
    uint32_t count = programs_tilings(c, programs_get(c, forward, (TileRule){1, 1}), &tiling);
    return count ? beside(c, PROGRAM_EVALUATE, forward, tiling[count - 1].tile, train) : program;
}

/* One sequence, with all its logits: where they do not fit, of half the context, and so on. */
static Program sampling(const Compilation *c, const Program *train, Budget budget) {
    Graph *one = lower_graph(c->ast, &c->spec, 1, 0, c->diag, c->arena);
    if (!one) die("batch 1 does not lower, though another did");
    Program program = beside(c, PROGRAM_SAMPLE, one, (TileRule){1, 1}, train);
    for (int64_t context = one->context / 2;
         context >= 1 && budget.device_bytes > 0 && !fits_in(&program, budget); context /= 2) {
        Diag *diag = diag_new(c->arena, c->ast->path, c->ast->source, c->ast->length);
        one = lower_graph(c->ast, &c->spec, 1, context, diag, c->arena);
        if (!one) break;
        program = beside(c, PROGRAM_SAMPLE, one, (TileRule){1, 1}, train);
    }
    return program;
}

/* One token a run, over the keys and values of the tokens before it, where the model allows that and it takes
 * no more than the arena has anyway: no plan is larger for it. Else without a graph, and why. */
static Program sampling_step(const Compilation *c, const Program *sample, int64_t arena_bytes,
                             const char **why_not) {
    char need[24];
    Graph *one = graph_one_token(sample->made[STAGE_GRAD], c->arena, why_not);
    if (!one) return (Program){.kind = PROGRAM_STEP};
    Program program = beside(c, PROGRAM_STEP, one, (TileRule){1, 1}, sample->inside);
    if (height(&program) <= arena_bytes) return program;
    *why_not = arena_printf(c->arena, "keys and values would make the peak %s",
                            format_bytes(height(&program), need));
    return (Program){.kind = PROGRAM_STEP};
}

static const Buf *cache_named(const Program *p, const char *name) {
    for (uint32_t b = 0; b < p->result->layout->buf.count; b++) {
        const Buf *buf = &p->result->layout->buf.at[b];
        if (buf->persistent && !strcmp(p->graph->value.at[buf->value].name, name)) return buf;
    }
    return NULL;
}

/* Whether `step` keeps what it does of earlier tokens where `whole` leaves it. */
static bool share_caches(const Program *whole, const Program *step) {
    const Layout *layout = step->result->layout;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Value *value =
            layout->buf.at[b].persistent ? &step->graph->value.at[layout->buf.at[b].value] : NULL;
        if (!value || value->role != ROLE_CACHE) continue;
        const Buf *other = cache_named(whole, value->name);
        if (!other || other->offset != layout->buf.at[b].offset) return false;
    }
    return true;
}

/* The whole window, which leaves the keys and values of a prompt for the tokens behind it: in the place of
 * the program that does not, where that takes no more than the arena has. */
static void keep_prompts(const Compilation *c, Planned *planned) {
    const Program *sample = &planned->sample, *step = &planned->step;
    Graph *keeping = graph_keep_rows(sample->made[STAGE_GRAD], c->arena);
    Program whole = beside(c, PROGRAM_SAMPLE, keeping, (TileRule){1, 1}, sample->inside);
    if (height(&whole) > planned->request.arena_bytes || !share_caches(&whole, step)) return;
    planned->sample = whole;
    planned->request.sample = program_part(&whole);
    planned->request.prompt_at_once = 1 + (int64_t)(whole.result->plan.seconds / step->result->plan.seconds);
}

/* Adds evaluation and sampling to the training program: what the peak is made of. */
static void add_beside(const Compilation *c, Planned *planned, Budget arena_budget) {
    planned->evaluate = evaluation(c, &planned->train, arena_budget);
    planned->sample = sampling(c, &planned->train, arena_budget);
    const Program *const all[] = {&planned->train, &planned->evaluate, &planned->sample};
    planned->request =
        (EmitRequest){.spec = &c->spec,
                      .data = {.train_path = c->spec.train_path, .validate_path = c->spec.validate_path},
                      .device = &c->device,
                      .cuda = c->device.cuda,
                      .train = program_part(all[0]),
                      .evaluate = program_part(all[1]),
                      .sample = program_part(all[2])};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (height(all[i]) > planned->request.arena_bytes) planned->request.arena_bytes = height(all[i]);
    planned->fits = planned->train.result->feasible;
    for (size_t i = 0; i < COUNT_OF(all); i++) planned->fits &= fits_in(all[i], arena_budget);
}

/* All of them; they move with the result. */
static void complete(const Compilation *c, Planned *planned, Budget arena_budget) {
    EmitRequest *request = &planned->request;
    add_beside(c, planned, arena_budget);
    planned->step = sampling_step(c, &planned->sample, request->arena_bytes, &request->why_no_step);
    if (planned->step.graph) {
        request->step = program_part(&planned->step);
        keep_prompts(c, planned);
    }
    planned->evaluate.inside = planned->sample.inside = planned->step.inside = NULL;
}

Planned planned_by(const Compilation *c, Policy policy, Budget budget) {
    Budget arena_budget = compile_arena_budget(c, budget);
    Planned planned = {.train = batch_search(c, policy, arena_budget, true)};
    complete(c, &planned, arena_budget);
    return planned;
}

Planned planned_figures(const Compilation *c, Policy policy, Budget budget) {
    Budget arena_budget = compile_arena_budget(c, budget);
    Planned planned = {.train = batch_search(c, policy, arena_budget, false)};
    add_beside(c, &planned, arena_budget);
    planned.evaluate.inside = planned.sample.inside = NULL;
    return planned;
}

/* The smallest budget, looked for by another thread. */
typedef struct Least {
    Task task;
    Compilation *aside; /* NULL: freed */
    int64_t bytes;
} Least;

static int64_t least_bytes(const Compilation *c, Policy policy) {
    Program least = batch_search_least(c, policy, true);
    return planned_bytes(c, &least);
}

static void find_least(void *context) {
    Least *least = context;
    least->bytes = least_bytes(least->aside, least->aside->policy);
}

static void begin_least(Compilation *c) {
    if (!c->tasks || !c->asks_least || c->policy != POLICY_OPTIMAL) return;
    Least *least = NEW(c->arena, Least);
    least->aside = compile_aside(c);
    least->task = (Task){.run = find_least, .context = least};
    task_begin(c->tasks, &least->task);
    c->least = least;
}

bool planned_by_file(Compilation *c, Planned *out) {
    Budget arena_budget = compile_arena_budget(c, c->budget);
    if (batch_search_never_fits(c, arena_budget)) return false;
    begin_least(c);
    *out = (Planned){.train = batch_search(c, c->policy, arena_budget, true)};
    if (out->train.result->feasible) complete(c, out, arena_budget);
    return out->fits;
}

PlanResult *planned_again(const Compilation *c, const Planned *planned, Policy policy, Budget budget) {
    Program again = planned->train;
    stages_plan(c, &again, (Wish){policy, compile_arena_budget(c, budget), ASK_PLAN}, c->arena);
    return again.result;
}

int64_t planned_bytes(const Compilation *c, const Program *train) {
    Planned planned = {.train = *train};
    add_beside(c, &planned, budget_limited(height(train), 0));
    return planned.request.arena_bytes + c->device.reserved_bytes;
}

const Compilation *planned_least_aside(const Compilation *c) {
    if (!c->least) return c;
    task_end(c->tasks, &c->least->task);
    return c->least->aside;
}

void planned_least_end(const Compilation *c) {
    if (!c->least || !c->least->aside) return;
    compile_aside_end(c, c->least->aside);
    c->least->aside = NULL;
}

int64_t planned_least_bytes(const Compilation *c, Policy policy) {
    if (!c->least || policy != c->policy) return least_bytes(c, policy);
    planned_least_aside(c);
    planned_least_end(c);
    return c->least->bytes;
}
