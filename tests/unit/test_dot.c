/* The memory-plan graph: what the picture says is what the plan does; folding; files and errors. */
#include "codegen/picture/child.h"
#include "codegen/picture/dot.h"
#include "codegen/picture/picture.h"
#include "ir/ops.h"
#include "planner/layout/live.h"
#include "tests/support/copies.h"
#include "tests/support/transformer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct Planned {
    Graph *g;
    Cost *cost;
    PlanResult *result;
} Planned;

static Planned plan_bytes_gpt(Policy policy, double fraction, Arena *arena) {
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    Planned p = {.g = transformer_graph(&bytes_gpt, arena)};
    p.cost = cost_graph(p.g, device, arena);
    PlanRequest request = {.graph = p.g, .cost = p.cost, .device = device, .policy = POLICY_NONE};
    PlanResult *all = plan_graph(&request, arena);
    request.policy = policy;
    if (policy == POLICY_OPTIMAL)
        request.budget =
            budget_limited((int64_t)((double)all->keep_all_bytes * fraction), request.budget.host_bytes);
    p.result = policy == POLICY_NONE ? all : plan_graph(&request, arena);
    return p;
}

static Picture *picture(const Planned *p, int layer, Arena *arena) {
    return picture_new(p->g, &p->result->plan, p->result->layout, layer, false, arena);
}

static void picture_tells_the_plan(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Planned all = plan_bytes_gpt(POLICY_NONE, 0, arena),
            blocks = plan_bytes_gpt(POLICY_EVERY_BLOCK, 0, arena);
    Picture *kept = picture(&all, -1, arena), *again = picture(&blocks, -1, arena);
    assert_int_equal(kept->tensors[FATE_RECOMPUTED], 0);
    assert_true(kept->bytes[FATE_KEPT] > again->bytes[FATE_KEPT]);
    assert_true(again->tensors[FATE_RECOMPUTED] > 0);
    /* every recomputed storage, and no other, is drawn so */
    uint32_t recomputed = 0;
    bool *seen = NEW_ARRAY(arena, bool, blocks.g->value.count);
    for (uint32_t s = 0; s < blocks.result->plan.step.count; s++) {
        const Step *step = &blocks.result->plan.step.at[s];
        if (step->kind != STEP_RECOMPUTE || blocks.g->node.at[step->node].phase != PHASE_FORWARD) continue;
        const Node *node = &blocks.g->node.at[step->node];
        for (uint32_t i = 0; i < node->nout; i++) {
            recomputed += !seen[node->out[i]];
            seen[node->out[i]] = true;
        }
    }
    assert_int_equal(again->tensors[FATE_RECOMPUTED], recomputed);
    assert_int_equal(kept->peak_bytes, all.result->plan.live_bytes);
    assert_int_equal(again->peak_bytes, blocks.result->plan.live_bytes);
    arena_free(arena);
}

static void equal_layers_fold(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Planned all = plan_bytes_gpt(POLICY_NONE, 0, arena);
    Picture *folded = picture(&all, -1, arena), *unfolded = picture(&all, 2, arena);
    uint32_t blocks = 0, block_rows = 0;
    for (uint32_t i = 0; i < folded->group.count; i++) blocks += folded->group.at[i].block.count;
    for (uint32_t r = 0; r < folded->row.count; r++) block_rows += folded->row.at[r].block == 2;
    assert_int_equal(blocks, all.g->block.count);
    assert_true(folded->group.count < all.g->block.count);
    assert_true(folded->shown.count < folded->row.count);
    assert_int_equal(unfolded->group.count, folded->group.count + 1);
    assert_true(unfolded->shown.count >= folded->shown.count + 1);
    bool alone = false;
    for (uint32_t i = 0; i < unfolded->group.count; i++)
        alone |= unfolded->group.at[i].block.count == 1 && unfolded->group.at[i].block.at[0] == 2 &&
                 !unfolded->group.at[i].whole;
    assert_true(alone && block_rows > 5);
    for (uint32_t e = 0; e < folded->edge.count; e++) {
        assert_true(folded->edge.at[e].from < folded->shown.count);
        assert_true(folded->edge.at[e].to < folded->shown.count);
    }
    arena_free(arena);
}

static void blocks_are_a_box_each(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Planned p = plan_bytes_gpt(POLICY_OPTIMAL, 0.6, arena);
    Picture *blocks = picture_new(p.g, &p.result->plan, p.result->layout, -1, true, arena),
            *one = picture_new(p.g, &p.result->plan, p.result->layout, 2, true, arena);
    for (uint32_t i = 0; i < blocks->shown.count; i++)
        assert_int_equal(blocks->shown.at[i].row == NONE, blocks->shown.at[i].group != NONE);
    assert_true(one->shown.count >
                blocks->shown.count + 5); /* the layer that is asked for has its operations */
    arena_free(arena);
}

/* A weight in another type is no box of its own, but counts as what the plan decides on. */
static void casts_of_weights_are_no_rows(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const Device *device = device_find("a100-40");
    Planned p = {.g = transformer_graph(&gpt2_xl, arena)};
    p.cost = cost_graph(p.g, device, arena);
    PlanRequest request = {.graph = p.g, .cost = p.cost, .device = device, .policy = POLICY_NONE};
    p.result = plan_graph(&request, arena);
    Picture *all = picture(&p, -1, arena);
    uint32_t casts = 0, tensors = 0;
    int64_t made = 0;
    for (uint32_t n = 0; n < p.g->node.count; n++) {
        const Node *node = &p.g->node.at[n];
        if (node->phase != PHASE_FORWARD || (op_info[node->op].flags & OPF_VIEW)) continue;
        tensors += node->nout - node->nmut;
        if (node->op != OP_CAST || !value_persistent(p.g, node->in[0])) continue;
        casts += node->nout;
        for (uint32_t i = 0; i < node->nout; i++) made += value_bytes(&p.g->value.at[node->out[i]]);
        assert_true(all->row_of_node[n] != NONE);
        assert_true(all->row.at[all->row_of_node[n]].node != n);
    }
    for (uint32_t r = 0; r < all->row.count; r++) made -= all->row.at[r].made_bytes;
    for (int f = 0; f < FATE_COUNT; f++) tensors -= all->tensors[f];
    assert_true(casts > 100);
    assert_int_equal(made, 0);
    assert_int_equal(tensors, 0);
    arena_free(arena);
}

static DotAnswer drawn(const Planned *p, int layer, const char *format, Text *out, const char **error) {
    DotRequest request = {.g = p->g,
                          .plan = &p->result->plan,
                          .layout = p->result->layout,
                          .cost = p->cost,
                          .title = "bytes <gpt> & co",
                          .source = "bytes.remat",
                          .layer = layer,
                          .format = format};
    return dot_draw(&request, out, error);
}

static char *draw(const Planned *p, int layer, const char *format, Arena *arena) {
    Text out = {.arena = arena};
    const char *error = "";
    assert_int_equal(drawn(p, layer, format, &out, &error), DOT_DRAWN);
    assert_string_equal(error, "");
    assert_true(out.length > 1000);
    return out.at;
}

static void files_are_written(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Planned p = plan_bytes_gpt(POLICY_OPTIMAL, 0.6, arena);
    char *svg = draw(&p, -1, "svg", arena);
    assert_non_null(strstr(svg, "<svg"));
    assert_non_null(strstr(svg, "PEAK"));
    assert_non_null(strstr(svg, "recomputed in the backward pass"));
    assert_non_null(strstr(svg, "bytes &lt;gpt&gt; &amp; co"));
    assert_non_null(strstr(svg, "bytes.remat"));
    assert_non_null(strstr(svg, live_label[ROLE_OPTIMIZER]));
    /* boxes, and with them names, are drawn over lines */
    assert_true(strstr(svg, "class=\"node\"") > strstr(svg, "class=\"edge\""));
    assert_non_null(strstr(svg, "layers"));
    assert_string_equal(svg, draw(&p, -1, "svg", arena));
    assert_true(strcmp(svg, draw(&p, 1, "svg", arena)) != 0);
    assert_memory_equal(draw(&p, -1, "png", arena), "\x89PNG", 4);
    assert_memory_equal(draw(&p, -1, "pdf", arena), "%PDF", 4);
    assert_non_null(strstr(draw(&p, -1, "dot", arena), "digraph memory_plan"));
    arena_free(arena);
}

static void copies_are_drawn(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 3;
    uint32_t copied = 0;
    Planned p = plan_bytes_gpt(POLICY_NONE, 0, arena);
    assert_null(strstr(draw(&p, -1, "svg", arena), "host memory"));
    p.result->plan = with_copies(p.g, &p.result->plan, &seed, 8, arena);
    p.result->layout = copies_layout(p.g, p.cost, &p.result->plan, arena);
    for (uint32_t s = 0; s < p.result->plan.step.count; s++) {
        const Step *step = &p.result->plan.step.at[s];
        copied +=
            step->kind == STEP_OFFLOAD && p.g->node.at[p.g->value.at[step->value].def].phase == PHASE_FORWARD;
    }
    Picture *drawn = picture(&p, -1, arena);
    assert_true(copied > 0);
    assert_int_equal(drawn->tensors[FATE_OFFLOADED], copied);
    assert_true(drawn->peak_bytes <= p.result->plan.live_bytes);
    char *svg = draw(&p, -1, "svg", arena);
    assert_non_null(strstr(svg, "copied to host memory and back: "));
    assert_non_null(strstr(svg, "pinned host memory"));
    arena_free(arena);
}

static void errors_are_told(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Planned p = plan_bytes_gpt(POLICY_NONE, 0, arena);
    Text out = {.arena = arena};
    const char *error = "";
    assert_int_equal(drawn(&p, -1, "xyz", &out, &error), DOT_REFUSED);
    assert_non_null(strstr(error, "xyz"));
    assert_int_equal(out.length, 0);
    arena_free(arena);
}

/* ---- work in a child process ---- */

static bool crash(void *context, int fd) {
    child_write(fd, "half", 4);
    raise(*(int *)context);
    return true;
}

static bool leave(void *context, int fd) {
    child_write(fd, "half", 4);
    exit(*(int *)context);
}

static bool sleep_long(void *context, int fd) {
    (void)context, (void)fd;
    sleep(60);
    return true;
}

static bool refuse(void *context, int fd) {
    child_write(fd, context, strlen(context));
    return false;
}

static bool write_much(void *context, int fd) {
    child_write(fd, context, 1 << 20);
    return true;
}

static bool talk(void *context, int fd) {
    (void)context, (void)fd;
    const char text[] = "what a library prints as it gives up";
    child_write(STDOUT_FILENO, text, strlen(text));
    abort();
}

/* Standard output is for answers, which may be JSON. */
static void a_child_says_nothing_on_standard_output(void **state) {
    (void)state;
    Arena *arena = arena_new();
    int ends[2], ours = dup(STDOUT_FILENO), theirs = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO), dup2(null, STDERR_FILENO);
    Text out = {.arena = arena};
    const ChildEnd end = child_run(talk, NULL, 10, &out);
    dup2(ours, STDOUT_FILENO), dup2(theirs, STDERR_FILENO);
    close(ends[1]), close(ours), close(theirs), close(null);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nothing but its end */
    close(ends[0]);
    assert_int_equal(end, CHILD_BROKEN);
    arena_free(arena);
}

static void every_end_of_a_child_is_told(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const int signals[] = {SIGSEGV, SIGABRT, SIGKILL};
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        Text out = {.arena = arena};
        int signal = signals[i];
        assert_int_equal(child_run(crash, &signal, 10, &out), CHILD_BROKEN);
        assert_non_null(strstr(out.at, strsignal(signal)));
        assert_null(strstr(out.at, "half"));
    }
    Text left = {.arena = arena}, late = {.arena = arena}, refused = {.arena = arena},
         much = {.arena = arena};
    int code = 1; /* as Graphviz leaves without memory */
    assert_int_equal(child_run(leave, &code, 10, &left), CHILD_BROKEN);
    assert_string_equal(left.at, "ended with exit code 1");
    assert_int_equal(child_run(sleep_long, NULL, 1, &late), CHILD_BROKEN);
    assert_string_equal(late.at, "no answer within 1 seconds");
    assert_int_equal(child_run(refuse, (void *)(uintptr_t) "no such format", 10, &refused), CHILD_REFUSED);
    assert_string_equal(refused.at, "no such format");
    char *bytes = arena_alloc(arena, 1 << 20);
    for (size_t i = 0; i < 1 << 20; i++) bytes[i] = (char)(i * 7 + i / 251);
    assert_int_equal(child_run(write_much, bytes, 10, &much), CHILD_DONE);
    assert_int_equal(much.length, 1 << 20);
    assert_memory_equal(much.at, bytes, 1 << 20);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picture_tells_the_plan),
        cmocka_unit_test(equal_layers_fold),
        cmocka_unit_test(blocks_are_a_box_each),
        cmocka_unit_test(casts_of_weights_are_no_rows),
        cmocka_unit_test(files_are_written),
        cmocka_unit_test(copies_are_drawn),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(every_end_of_a_child_is_told),
        cmocka_unit_test(a_child_says_nothing_on_standard_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
