/* What passes made of a small net: its nodes by their names, what they read and make. */
#include "tests/support/net_nodes.h"
#include "ir/check.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

const TrainRule plain = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .accumulate = 1};

Graph *checked(Graph *g, Arena *arena) {
    const char *wrong = graph_check(g, arena);
    if (wrong) fail_msg("%s", wrong);
    return g;
}

Graph *train(const NetOptions *options, const TrainRule *rule, Arena *arena) {
    return checked(autodiff(small_net(options, arena), rule, arena), arena);
}

Graph *fused(const Graph *g, Arena *arena) {
    return checked(fuse(g, NULL, arena), arena);
}

const Node *node_at(const Graph *g, const char *name) {
    NodeId id = node_named(g, name);
    if (id == NONE) fail_msg("no node '%s'", name);
    return &g->node.at[id];
}

const char *name_of(const Graph *g, ValueId v) {
    return v == NONE ? "none" : g->value.at[v].name;
}

void assert_reads(const Graph *g, const char *node, const char *operands) {
    const Node *n = node_at(g, node);
    Text text = {.arena = g->arena};
    for (uint32_t i = 0; i < n->nin; i++) text_add(&text, "%s%s", i ? " " : "", name_of(g, n->in[i]));
    assert_string_equal(text.at, operands);
}

void assert_makes(const Graph *g, const char *node, const char *names) {
    Text text = {.arena = g->arena};
    const Node *n = node_at(g, node);
    for (uint32_t i = 0; i < n->nout; i++) text_add(&text, "%s%s", i ? " " : "", name_of(g, n->out[i]));
    assert_string_equal(text.at, names);
}

const Param *param_of(const Graph *g, const char *name) {
    for (uint32_t p = 0; p < g->param.count; p++)
        if (!strcmp(name_of(g, g->param.at[p].value), name)) return &g->param.at[p];
    fail_msg("no parameter '%s'", name);
    return NULL;
}
