/* See timeline.h. The queues are those of planner/problem/copies.c: a copy begins when it is asked for and
 * the ones before it are through; the FREE of what leaves waits for it, and so does the first that reads what
 * comes back. Where copies do not run beside the computation they take its time. */
#include "codegen/picture/timeline.h"

typedef struct Clock {
    const Part *part;
    const Device *device;
    Arena *arena;
    Timeline *timeline;
    double now, out, in;
    double *left, *arrives; /* by root: when its copy out, or back, is done; 0: none is under way */
} Clock;

static void await(Clock *c, uint32_t step, double *done) {
    if (c->device->copies_beside && *done > c->now) {
        c->timeline->wait[step] += *done - c->now;
        c->now = *done;
    }
    *done = 0;
}

static void copy(Clock *c, uint32_t step, bool out) {
    ValueId root = c->part->plan->step.at[step].value;
    int64_t bytes = value_bytes(&c->part->graph->value.at[root]);
    bytes = (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
    double seconds = c->device->launch_seconds + (double)bytes / c->device->copy_bytes_per_second;
    double *queue = out ? &c->out : &c->in, begin = *queue > c->now ? *queue : c->now;
    *queue = begin + seconds;
    *vec_add(c->arena, &c->timeline->copy) =
        (TimedCopy){.step = step, .out = out, .begin = begin, .end = *queue};
    (out ? c->left : c->arrives)[root] = *queue;
    if (c->device->copies_beside) return;
    c->timeline->wait[step] = seconds; /* the step itself stands behind what it took */
    c->now += seconds;
}

static void run(Clock *c, uint32_t step) {
    const Graph *g = c->part->graph;
    const Node *node = &g->node.at[c->part->plan->step.at[step].node];
    for (uint32_t i = 0; i < node->nin; i++) await(c, step, &c->arrives[graph_root(g, node->in[i])]);
    c->timeline->begin[step] = c->now;
    c->now += c->part->cost[c->part->plan->step.at[step].node].seconds;
    if (node->phase != PHASE_FORWARD && c->timeline->backward_begin == NONE)
        c->timeline->backward_begin = step;
}

Timeline timeline_of(const Part *part, const Device *device, Arena *arena) {
    const Plan *plan = part->plan;
    uint32_t steps = plan->step.count, values = part->graph->value.count;
    Timeline timeline = {.begin = NEW_ARRAY(arena, double, steps + 1),
                         .wait = NEW_ARRAY(arena, double, steps + 1),
                         .backward_begin = NONE};
    Clock clock = {.part = part,
                   .device = device,
                   .arena = arena,
                   .timeline = &timeline,
                   .left = NEW_ARRAY(arena, double, values + 1),
                   .arrives = NEW_ARRAY(arena, double, values + 1)};
    for (uint32_t s = 0; s < steps; s++) {
        const Step *step = &plan->step.at[s];
        if (s == plan->update_begin) timeline.micro_seconds = clock.now;
        if (step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE) {
            run(&clock, s);
            continue;
        }
        if (step->kind == STEP_FREE) {
            await(&clock, s, &clock.left[step->value]);
            await(&clock, s, &clock.arrives[step->value]);
        } else {
            copy(&clock, s, step->kind == STEP_OFFLOAD);
        }
        timeline.begin[s] = clock.now;
    }
    if (plan->update_begin >= steps) timeline.micro_seconds = clock.now;
    timeline.begin[steps] = timeline.end_seconds = clock.now;
    if (timeline.backward_begin == NONE) timeline.backward_begin = steps;
    return timeline;
}

double timeline_share(const Timeline *timeline, uint32_t step) {
    return timeline->end_seconds > 0 ? timeline->begin[step] / timeline->end_seconds : 0;
}
