/* See stages.h. */
#include "frontend/driver/stages.h"

#include "ir/check.h"
#include "ir/ops.h"
#include "planner/check/check.h"
#include "planner/cost/packed.h"
#include "planner/layout/layout.h"

const char *const stage_name[STAGE_COUNT] = {
#define STAGE(NAME, name, leaves) name,
#include "frontend/driver/stages.def"
#undef STAGE
};

Program program_new(ProgramKind kind, Graph *forward, TileRule tile, Arena *arena) {
    Program program = {.kind = kind, .tile = tile, .done = STAGE_GRAPH, .graph = forward};
    program.made[STAGE_GRAPH] = forward;
    program.checked = NEW(arena, Checked);
    return program;
}

/* Whether a stage's turn has come: it is not behind the program, nor beyond `last`. */
static bool begins(Program *p, Stage stage, Stage last) {
    if (p->done >= stage || stage > last) return false;
    if (p->done + 1 != stage) die("nothing runs the stage %s", stage_name[p->done + 1]);
    p->done = stage;
    return true;
}

static void leaves(Program *p, Graph *graph) {
    p->graph = p->made[p->done] = graph;
}

static void add_costs(Program *p, Cost *cost) {
    p->cost = cost;
    for (NodeId n = 0; n < p->graph->node.count; n++)
        p->seconds +=
            cost[n].seconds * (double)(p->graph->node.at[n].phase == PHASE_UPDATE ? 1 : p->graph->accumulate);
}

/* What checks take down is of no use to anyone behind them: they have arenas of their own. */
static void check_graphs(Program *p) {
    Arena *scratch = arena_new();
    for (Stage stage = STAGE_GRAPH; stage < STAGE_COST && !p->checked->graphs; stage++) {
        bool is_new = stage == STAGE_GRAPH || p->made[stage] != p->made[stage - 1];
        arena_reset(scratch);
        const char *broken = is_new ? graph_check(p->made[stage], scratch) : NULL;
        if (broken) die("%s: %s", stage_name[stage], broken);
    }
    arena_free(scratch);
    p->checked->graphs = true;
}

/* Whether the plan was found right before, in another answer from the same memo. */
static bool was_checked(const Program *p) {
    for (uint32_t i = 0; i < p->checked->plan.count; i++)
        if (p->checked->plan.at[i] == p->result->plan.step.at) return true;
    return false;
}

static void check_plan(const Program *p) {
    if (was_checked(p)) return;
    Arena *scratch = arena_new();
    const char *broken = plan_check(p->graph, &p->result->plan, scratch);
    if (broken) die("plan: %s", broken);
    arena_free(scratch);
}

/* The layout once, that it keeps to what was wished for each time. */
static void check_layout(Program *p, Arena *arena) {
    const PlanResult *result = p->result;
    const Budget *budget = &p->wish.budget;
    if (!was_checked(p)) {
        Arena *scratch = arena_new();
        const char *broken = layout_check(p->graph, p->cost, &result->plan, result->layout, NULL, scratch);
        if (broken) die("layout: %s", broken);
        arena_free(scratch);
        *vec_add(arena, &p->checked->plan) = result->plan.step.at;
    }
    if (p->kind != PROGRAM_TRAIN || !result->feasible) return;
    if (budget->limited && result->layout->height_bytes > budget->device_bytes) die("a plan over its budget");
    if (result->layout->host_bytes > budget->host_bytes) die("a plan over its host memory");
}

/* Sampling reads them once the program has run. */
static bool reads_logits(const Program *p) {
    return p->kind == PROGRAM_SAMPLE || p->kind == PROGRAM_STEP;
}

/* Programs without backward pass lie in the training program's arena; that one was packed while it was
 * planned, since the planner chooses among packed plans. */
static void pack(Program *p) {
    if (p->kind == PROGRAM_TRAIN) return;
    Arena *scratch = arena_new();
    pack_forward(p->result->layout, p->graph, p->inside->result->layout, p->inside->graph, scratch);
    arena_free(scratch);
    p->result->plan.peak_bytes = p->result->layout->height_bytes;
}

/* How the file trains, with so many micro-steps a step. */
static TrainRule train_rule(const Spec *spec, int64_t accumulate) {
    return (TrainRule){.beta1 = spec->beta1,
                       .beta2 = spec->beta2,
                       .eps = spec->eps,
                       .decay = spec->decay,
                       .clip_norm = spec->clip_norm,
                       .accumulate = accumulate,
                       .gradient = spec->gradient,
                       .moment = spec->moment,
                       .moments_8bit = spec->moments_8bit};
}

void stages_run(const Compilation *c, Program *p, Stage last, Arena *arena) {
    const bool trains = p->kind == PROGRAM_TRAIN, cuda = c->device.cuda;
    const TrainRule rule = train_rule(&c->spec, p->graph->accumulate);

    if (begins(p, STAGE_TILE, last))
        leaves(p, tile_is_whole(p->tile) ? p->graph : tile_tokens(p->graph, &p->tile, arena));
    if (begins(p, STAGE_GROUP, last))
        leaves(p, has_adapters(p->graph) ? group_adapters(p->graph, arena) : p->graph);
    if (begins(p, STAGE_GRAD, last))
        leaves(p, trains ? autodiff(p->graph, &rule, arena) : graph_forward_only(p->graph, arena));
    const PackedRule packed = {packed_is_taken, &c->device};
    if (begins(p, STAGE_FUSE, last)) leaves(p, fuse(p->graph, &packed, arena));
    if (begins(p, STAGE_ORDER, last))
        leaves(p, trains && updates_may_move(p->graph) ? order_updates(p->graph, arena) : p->graph);
    if (begins(p, STAGE_PAD, last)) leaves(p, cuda ? pad_rows(p->graph, arena) : p->graph);
    if (begins(p, STAGE_COST, last)) add_costs(p, cost_graph(p->graph, &c->device, arena));
    if (begins(p, STAGE_PLAN, last)) {
        check_graphs(p);
        PlanRequest request = stages_request(c, p, p->wish);
        ValueId read = reads_logits(p) ? p->graph->logits : NONE; /* behind its last step */
        p->result = trains ? plan_graph(&request, arena) : plan_forward(p->graph, p->cost, read, arena);
        check_plan(p);
    }
    if (begins(p, STAGE_LAYOUT, last)) {
        pack(p);
        check_layout(p, arena);
    }
}

void stages_plan(const Compilation *c, Program *p, Wish wish, Arena *arena) {
    p->wish = wish;
    p->done = STAGE_COST;
    stages_run(c, p, STAGE_LAYOUT, arena);
}

PlanRequest stages_glance(const Compilation *c, const Program *program, Budget budget) {
    return (PlanRequest){.graph = program->graph,
                         .cost = program->cost,
                         .device = &c->device,
                         .budget = budget,
                         .known = c->known,
                         .stats = c->stats,
                         .tasks = c->tasks};
}

PlanRequest stages_request(const Compilation *c, const Program *program, Wish wish) {
    PlanRequest request = stages_glance(c, program, wish.budget);
    request.pins = &c->spec.pin;
    request.policy = wish.policy;
    request.memo = program->memo;
    request.ask = wish.ask;
    return request;
}

Graph *stages_fused(const Compilation *c, Graph *forward, Arena *arena) {
    Program program = program_new(PROGRAM_TRAIN, forward, (TileRule){1, 1}, arena);
    stages_run(c, &program, STAGE_FUSE, arena);
    return program.graph;
}

Part program_part(const Program *program) {
    return (Part){.graph = program->graph,
                  .cost = program->cost,
                  .plan = &program->result->plan,
                  .layout = program->result->layout,
                  .reads_logits = reads_logits(program)};
}

double program_tokens(const Program *program) {
    const Graph *g = program->made[STAGE_GRAPH];
    return (double)(g->batch * g->context * g->accumulate);
}
