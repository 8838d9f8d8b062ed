/* Copies to host memory, one rule at a time: what plan_check says of small plans, and what live_analyse and
 * pack_layout make of one. */
#include "tests/support/copies.h"
#include "tests/support/random_graph.h"
#include "tests/support/both_checks.h"
#include "planner/layout/live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* x is made and read by `reader`; `writer` makes the version y of it, which `last` reads. */
typedef struct Rewritten {
    Graph *g;
    NodeId make, reader, writer, last;
    ValueId x;
} Rewritten;

static Rewritten rewritten_graph(Arena *arena) {
    Rewritten r = {.g = graph_new(arena), .make = 0, .reader = 1, .writer = 2, .last = 3, .x = 1};
    static const Op op[] = {OP_GELU, OP_GELU, OP_LINEAR_BWD_W, OP_GELU};
    static const ValueId in[][3] = {{0}, {1}, {0, 0, 1}, {3}}, out[] = {1, 2, 3, 4};
    static const char *const name[] = {"p", "x", "read", "y", "last"};
    for (ValueId v = 0; v < 5; v++)
        graph_value(r.g, (Type){DT_F32, 1, {64}}, v ? VALUE_ACTIVATION : VALUE_PARAM, ROLE_WEIGHT, name[v],
                    (Span){0, 0});
    for (NodeId n = 0; n < 4; n++) {
        Node *node = vec_add(arena, &r.g->node);
        *node = (Node){.op = op[n], .nin = n == 2 ? 3 : 1, .nout = 1, .nmut = n == 2, .block = NONE};
        node->name = r.g->value.at[out[n]].name;
        node->in = NEW_ARRAY(arena, ValueId, 3);
        memcpy(node->in, in[n], sizeof in[n]);
        node->out = NEW_ARRAY(arena, ValueId, 1);
        node->out[0] = out[n];
        r.g->value.at[out[n]].def = n;
    }
    r.g->accumulate = 1;
    return r;
}

/* What plan_check says of x made, `count` steps, and what they made freed. */
static const char *say(const Rewritten *r, const Step *step, uint32_t count, Arena *arena) {
    Plan plan = {0};
    *vec_add(arena, &plan.step) = (Step){STEP_RUN, r->make, NONE};
    for (uint32_t i = 0; i < count; i++) *vec_add(arena, &plan.step) = step[i];
    for (ValueId v = 2; v < 5; v += 2) *vec_add(arena, &plan.step) = (Step){STEP_FREE, NONE, v};
    plan.update_begin = plan.step.count;
    return plan_check(r->g, &plan, arena);
}

static void copies_are_judged(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Rewritten r = rewritten_graph(arena);
    const Step out = {STEP_OFFLOAD, NONE, r.x}, in = {STEP_FETCH, NONE, r.x}, end = {STEP_FREE, NONE, r.x};
    const Step read = {STEP_RUN, r.reader, NONE}, write = {STEP_RUN, r.writer, NONE},
               last = {STEP_RUN, r.last, NONE};
#define SAY(...)                                                                                             \
    say(&r, (const Step[]){__VA_ARGS__}, sizeof((const Step[]){__VA_ARGS__}) / sizeof(Step), arena)
#define ASSERT_SAYS(part, ...)                                                                               \
    do {                                                                                                     \
        const char *said = SAY(__VA_ARGS__);                                                                 \
        if (!said || !strstr(said, part)) fail_msg("says '%s', not '%s'", said ? said : "right", part);      \
    } while (0)
    assert_null(SAY(read, write, last, end));
    assert_null(SAY(out, end, in, read, write, last, end));
    assert_null(SAY(out, end, in, read, end, in, write, last, end));      /* fetched twice */
    assert_null(SAY(out, read, end, in, write, out, end, in, last, end)); /* another version */
    ASSERT_SAYS("writes over", out, write, last, end, in, read, end);
    ASSERT_SAYS("in host memory already", out, out, end, in, read, write, last, end);
    ASSERT_SAYS("in host memory already", out, end, in, read, out, write, last, end);
    ASSERT_SAYS("never fetched", read, out, end, in, write, out, last, end);
    ASSERT_SAYS("never fetched", out, read, end, in, write, last, out, end);
    ASSERT_SAYS("is live", out, in, read, write, last, end);
    ASSERT_SAYS("no copy", read, end, in, write, last, end);
    ASSERT_SAYS("nothing has read it", out, end, in, end, in, read, write, last, end);
    ASSERT_SAYS("another version", out, end, in, read, write, end, in, last, end);
    ASSERT_SAYS("freed", out, end, read, write, last);
    ASSERT_SAYS("not live", read, write, last, end, out);
#undef ASSERT_SAYS
#undef SAY
    arena_free(arena);
}

/* steps:   0 make  1 OFFLOAD  2 FREE  3 FETCH  4 read  5 FREE  6 FETCH  7 write  8 FREE  9 last
 * device   [----------------)         [-----------------)      [------------------)
 * host             [------------------------------------------------------)  */
static void lifetimes(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Rewritten r = rewritten_graph(arena);
    const Step step[] = {{STEP_RUN, r.make, NONE}, {STEP_OFFLOAD, NONE, r.x},  {STEP_FREE, NONE, r.x},
                         {STEP_FETCH, NONE, r.x},  {STEP_RUN, r.reader, NONE}, {STEP_FREE, NONE, r.x},
                         {STEP_FETCH, NONE, r.x},  {STEP_RUN, r.writer, NONE}, {STEP_RUN, r.last, NONE},
                         {STEP_FREE, NONE, r.x},   {STEP_FREE, NONE, 2},       {STEP_FREE, NONE, 4}};
    Plan plan = {.update_begin = COUNT_OF(step)};
    for (size_t i = 0; i < COUNT_OF(step); i++) *vec_add(arena, &plan.step) = step[i];
    Cost *cost = NEW_ARRAY(arena, Cost, r.g->node.count);
    Layout *layout = copies_layout(r.g, cost, &plan, arena);
    assert_null(both_checks(r.g, cost, &plan, layout, NULL, arena));
    static const struct {
        BufKind kind;
        uint32_t lo, hi;
    } expect[] = {{BUF_VALUE, 0, 3}, {BUF_HOST, 1, 8}, {BUF_VALUE, 3, 6}, {BUF_VALUE, 6, 10}};
    uint32_t found = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->value != r.x) continue;
        assert_true(found < COUNT_OF(expect));
        assert_int_equal(buf->kind, expect[found].kind);
        assert_int_equal(buf->lo, expect[found].lo);
        assert_int_equal(buf->hi, expect[found].hi);
        found++;
    }
    assert_int_equal(found, COUNT_OF(expect));
    assert_int_equal(layout->host_bytes, 256);
    const Budget short_of_it = {.host_bytes = 255};
    assert_non_null(both_checks(r.g, cost, &plan, layout, &short_of_it, arena));
    arena_free(arena);
}

/* An output takes over a fetched instance, and never one whose copy may be in flight. */
static void takeovers(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Rewritten r = rewritten_graph(arena);
    r.g->node.at[r.writer].nmut = 0;
    r.g->node.at[r.last].in[0] = r.x;
    const Step step[] = {{STEP_RUN, r.make, NONE},   {STEP_RUN, r.writer, NONE}, {STEP_OFFLOAD, NONE, r.x},
                         {STEP_RUN, r.reader, NONE}, {STEP_FREE, NONE, r.x},     {STEP_FETCH, NONE, r.x},
                         {STEP_RUN, r.last, NONE},   {STEP_FREE, NONE, r.x},     {STEP_FREE, NONE, 2},
                         {STEP_FREE, NONE, 3},       {STEP_FREE, NONE, 4}};
    Plan plan = {.update_begin = COUNT_OF(step)};
    for (size_t i = 0; i < COUNT_OF(step); i++) *vec_add(arena, &plan.step) = step[i];
    Cost *cost = NEW_ARRAY(arena, Cost, r.g->node.count);
    Layout *layout = copies_layout(r.g, cost, &plan, arena);
    assert_null(both_checks(r.g, cost, &plan, layout, NULL, arena));
    const uint32_t *in_flight = &layout->bind.at[layout->first[3]],
                   *fetched = &layout->bind.at[layout->first[6]];
    assert_int_not_equal(in_flight[0], in_flight[1]);
    assert_int_equal(fetched[0], fetched[1]);
    arena_free(arena);
}

/* The table by role has every live byte of the device, and no other. */
static void roles_add_up(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const Device *device = device_find("host");
    for (uint64_t seed = 1; seed <= 40; seed++) {
        arena_reset(arena);
        uint64_t random = seed;
        Graph *g = random_training_graph(seed, arena);
        PlanRequest request = {.graph = g, .cost = cost_graph(g, device, arena), .device = device};
        Plan plan = with_copies(g, &plan_graph(&request, arena)->plan, &random, 3, arena);
        Layout *layout = copies_layout(g, request.cost, &plan, arena);
        const int64_t *peak = live_at_peak(g, &plan, layout, arena);
        int64_t total = 0;
        for (int c = 0; c < LIVE_COLUMNS; c++) total += peak[c];
        assert_int_equal(total, layout->live_bytes);
        assert_true(layout->host_bytes > 0);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_judged),
        cmocka_unit_test(lifetimes),
        cmocka_unit_test(takeovers),
        cmocka_unit_test(roles_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
