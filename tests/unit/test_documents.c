/* Documents packed into rows against the same documents alone: models are lowered once with the inputs that
 * tell documents apart, for whole rows, and once as for plain tokens, for the length of each document. Losses
 * and every gradient agree to 1e-6 in f32; no gradient crosses from one document to another; a plan that
 * recomputes changes no bit; four micro-batches with unequal masks agree with one. */
#include "tests/support/machine.h"

#include "frontend/language/ast.h"
#include "frontend/lower/lower.h"
#include "ir/check.h"
#include "ir/passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { B = 4, T = 24, V = 64, DOCUMENTS = 9 };

/* GPT-2's parts, and Llama's. */
static const char learned[] =
    "language 1\n"
    "dims { V = 64  P = 40  D = 32  L = 2  H = 2  E = D / H  B = 4  T = 24 }\n"
    "block layer(x: [B, T, D]) -> [B, T, D] {\n"
    "  q, k, v = split(linear(layernorm(x, \"ln_1\"), [3*D, D], \"qkv\", bias), 3)\n"
    "  o = attend(q as [B, T, H, E], k as [B, T, H, E], v as [B, T, H, E], causal) as [B, T, D]\n"
    "  x = x + linear(o, [D, D], \"proj\", bias)\n"
    "  return x + linear(gelu(linear(layernorm(x, \"ln_2\"), [2*D, D], \"fc\", bias)), [D, 2*D], \"down\")\n"
    "}\n"
    "model learned {\n"
    "  x = embed(data.tokens, [V, D], \"wte\") + positions([P, D], \"wpe\")\n"
    "  repeat i in 0..L scope \"h.{i}\" { x = layer(x) }\n"
    "  loss = cross_entropy(linear(x, [V, D], \"head\"), data.targets, mask = data.loss_mask)\n"
    "}\n"
    "train { steps 10  optimizer adamw(lr = 1e-3) }\n"
    "data { train \"x.docs\" }\n";
static const char rotary[] =
    "language 1\n"
    "dims { V = 64  D = 40  F = 48  L = 2  H = 4  K = 2  E = 12  B = 4  T = 24 }\n"
    "block layer(x: [B, T, D]) -> [B, T, D] {\n"
    "  h = rmsnorm(x, \"ln_1\")\n"
    "  q = linear(h, [H*E, D], \"q\") as [B, T, H, E]\n"
    "  k = linear(h, [K*E, D], \"k\") as [B, T, K, E]\n"
    "  v = linear(h, [K*E, D], \"v\") as [B, T, K, E]\n"
    "  q, k = rope(q, k, theta = 1e4, scaling = llama3(8, low = 1, high = 4, original = 64))\n"
    "  x = x + linear(attend(q, k, v, causal) as [B, T, H*E], [D, H*E], \"o\")\n"
    "  h = rmsnorm(x, \"ln_2\")\n"
    "  return x + linear(silu(linear(h, [F, D], \"gate\")) * linear(h, [F, D], \"up\"), [D, F], \"down\")\n"
    "}\n"
    "model rotary {\n"
    "  x = embed(data.tokens, [V, D], \"wte\")\n"
    "  repeat i in 0..L scope \"h.{i}\" { x = layer(x) }\n"
    "  loss = cross_entropy(linear(x, [V, D], \"head\"), data.targets, mask = data.loss_mask)\n"
    "}\n"
    "train { steps 10  optimizer adamw(lr = 1e-3) }\n"
    "data { train \"x.docs\" documents }\n";

/* Where each lies: row, first place, places. Rows 0 and 1 end in padding, row 3 is all padding. */
static const int document[DOCUMENTS][3] = {{0, 0, 7},  {0, 7, 9},  {0, 16, 5}, {1, 0, 1}, {1, 1, 12},
                                           {1, 13, 1}, {1, 14, 6}, {2, 0, 24}, {3, 0, 0}};

/* Tokens of a document are its own: 8 d to 8 d + 7 for the first eight. */
static int32_t token_of(int d, int place) {
    return 8 * d + (place * 5 + place / 3) % 8;
}
static int mask_of(int d, int place, int only) {
    return only >= 0 ? d == only : (d * 7 + place * 3) % 4 != 0;
}

/* The targets that count; `only` one document's, or everyone's. */
static int targets_of(int only) {
    int count = 0;
    for (int d = 0; d < DOCUMENTS; d++)
        for (int i = 0; i < document[d][2]; i++) count += mask_of(d, i, only);
    return count;
}

/* ---- a model, ready to run ---- */

typedef struct Model {
    Arena *arena;
    Ast *ast;
    Diag *diag;
    Spec spec;
} Model;

static Model model_read(const char *text) {
    Model m = {.arena = arena_new()};
    m.diag = diag_new(m.arena, "model.remat", text, strlen(text));
    m.ast = ast_parse(m.arena, "model.remat", text, strlen(text), m.diag);
    if (!m.ast || !lower_spec(m.ast, m.diag, m.arena, &m.spec)) fail_msg("the model is no model");
    assert_int_equal(m.spec.train_format, DATA_DOCUMENTS);
    return m;
}

static Machine *machine_for(const Model *model, bool documents, int64_t batch, int64_t context,
                            int64_t accumulate, bool smallest) {
    Spec spec = model->spec;
    if (!documents) spec.train_format = DATA_AUTO;
    TrainRule rule = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip_norm = 1, .accumulate = 2};
    Graph *forward = lower_graph(model->ast, &spec, batch, context, model->diag, model->arena);
    assert_non_null(forward);
    assert_true(documents == (forward->first_key != NONE));
    forward->accumulate = rule.accumulate = accumulate;
    Graph *g = fuse(autodiff(forward, &rule, model->arena), NULL, model->arena);
    const char *broken = graph_check(g, model->arena);
    if (broken) fail_msg("%s", broken);
    PlanRequest request = {.graph = g,
                           .cost = cost_graph(g, device_find("host"), model->arena),
                           .device = device_find("host"),
                           .policy = smallest ? POLICY_OPTIMAL : POLICY_NONE};
    if (smallest) request.budget = budget_limited(plan_graph(&request, model->arena)->smallest_bytes, 0);
    PlanResult *result = plan_graph(&request, model->arena);
    assert_true(result->feasible);
    Machine *m = machine_new(g, &result->plan, result->layout, true);
    machine_init(m, 4);
    return m;
}

/* ---- batches ---- */

static void fill_place(const Machine *m, int64_t at, int d, int place, int only) {
    const Graph *g = m->graph;
    ((int32_t *)machine_bytes(m, g->tokens))[at] = d < 0 ? 0 : token_of(d, place);
    ((int32_t *)machine_bytes(m, g->targets))[at] = d < 0 ? 0 : token_of(d, place + 1);
    machine_reals(m, g->mask)[at] = d < 0 ? 0 : (K_REAL)mask_of(d, place, only);
}

static void fill_sight(const Machine *m, int64_t at, int first, int last, int position) {
    const Graph *g = m->graph;
    ((int32_t *)machine_bytes(m, g->first_key))[at] = first;
    ((int32_t *)machine_bytes(m, g->last_query))[at] = last;
    if (g->positions != NONE) ((int32_t *)machine_bytes(m, g->positions))[at] = position;
}

/* Rows [row, row + batch) of the packed documents. */
static void fill_rows(const Machine *m, int row, int only) {
    const int batch = (int)m->graph->batch;
    for (int i = 0; i < batch * T; i++) {
        fill_place(m, i, -1, 0, only);
        fill_sight(m, i, i % T, i % T, 0);
    }
    for (int d = 0; d < DOCUMENTS; d++) {
        const int r = document[d][0] - row, first = document[d][1], places = document[d][2];
        if (r < 0 || r >= batch) continue;
        for (int i = 0; i < places; i++) {
            fill_place(m, r * T + first + i, d, i, only);
            fill_sight(m, r * T + first + i, first, first + places - 1, i);
        }
    }
}

/* ---- losses and gradients ---- */

typedef struct Sums {
    double loss;
    double *gradient[64];
    int64_t elements[64];
    uint32_t params;
} Sums;

static void sums_add(Sums *sums, const Machine *m) {
    const Graph *g = m->graph;
    sums->params = g->param.count;
    assert_true(g->param.count <= 64);
    for (uint32_t p = 0; p < g->param.count; p++) {
        const ValueId from = g->param.at[p].accumulator;
        assert_true(from != NONE);
        sums->elements[p] = type_elements(&g->value.at[g->param.at[p].value].type);
        if (!sums->gradient[p]) sums->gradient[p] = calloc((size_t)sums->elements[p], sizeof(double));
        const K_REAL *gradient = machine_reals(m, from);
        for (int64_t i = 0; i < sums->elements[p]; i++) sums->gradient[p][i] += (double)gradient[i];
    }
    sums->loss += machine_loss(m);
}

static void sums_free(Sums *sums) {
    for (uint32_t p = 0; p < sums->params; p++) free(sums->gradient[p]);
}

static void check_same(const Sums *a, const Sums *b, double tolerance, const char *what) {
    if (!(fabs(a->loss - b->loss) <= tolerance * fabs(b->loss)))
        fail_msg("%s: loss %.9g, not %.9g", what, a->loss, b->loss);
    assert_int_equal(a->params, b->params);
    for (uint32_t p = 0; p < a->params; p++) {
        double off = 0, size = 0;
        for (int64_t i = 0; i < a->elements[p]; i++) {
            off += pow(a->gradient[p][i] - b->gradient[p][i], 2);
            size += pow(b->gradient[p][i], 2);
        }
        assert_true(size > 0);
        if (!(sqrt(off) <= tolerance * sqrt(size)))
            fail_msg("%s: gradient %u is off by %.3g of itself", what, p, sqrt(off / size));
    }
}

static Sums packed(const Model *model, int64_t batch, bool smallest, int only) {
    Sums sums = {0};
    Machine *m = machine_for(model, true, batch, T, B / batch > 1 ? B / batch : 2, smallest);
    for (int micro = 0; micro < B / batch; micro++) {
        fill_rows(m, micro * (int)batch, only);
        machine_run(m, 1.0 / targets_of(only), micro);
    }
    sums_add(&sums, m);
    machine_free(m);
    return sums;
}

/* Each as if there were no other, by the graph that plain tokens have. */
static Sums alone(const Model *model, int only) {
    Sums sums = {0};
    for (int d = 0; d < DOCUMENTS; d++) {
        if (!document[d][2]) continue;
        Machine *m = machine_for(model, false, 1, document[d][2], 2, false);
        for (int i = 0; i < document[d][2]; i++) fill_place(m, i, d, i, only);
        machine_run(m, 1.0 / targets_of(only), 0);
        sums_add(&sums, m);
        machine_free(m);
    }
    return sums;
}

static const char *const model_text[] = {learned, rotary};

static void packed_is_alone(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model_text); i++) {
        Model model = model_read(model_text[i]);
        for (int only = -1; only < 8; only += 3) {
            Sums one = packed(&model, B, false, only), other = alone(&model, only);
            check_same(&one, &other, 1e-6, model.spec.model);
            sums_free(&one);
            sums_free(&other);
        }
        arena_free(model.arena);
    }
}

/* With a loss on one document alone, the rows of the embedding that no other token has get a gradient, and
 * those of all other documents none at all. */
static void no_gradient_crosses(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model_text); i++) {
        Model model = model_read(model_text[i]);
        for (int only = 0; only < 8; only++) {
            Sums sums = packed(&model, B, false, only);
            const int64_t width = sums.elements[0] / V;
            for (int64_t token = 0; token < V; token++) {
                double size = 0;
                for (int64_t e = 0; e < width; e++) size += fabs(sums.gradient[0][token * width + e]);
                bool seen = false;
                for (int place = 0; place < document[only][2]; place++)
                    seen |= token == token_of(only, place);
                if ((size > 0) != seen)
                    fail_msg("%s: a loss on document %d, gradient %g of token %d", model.spec.model, only,
                             size, (int)token);
            }
            sums_free(&sums);
        }
        arena_free(model.arena);
    }
}

static void plans_change_no_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model_text); i++) {
        Model model = model_read(model_text[i]);
        Sums keep = packed(&model, B, false, -1), least = packed(&model, B, true, -1);
        check_same(&least, &keep, 0, model.spec.model);
        sums_free(&keep);
        sums_free(&least);
        arena_free(model.arena);
    }
}

/* Rows with different numbers of targets, one with none: the mean is over those of the step, not of a
 * micro-batch. */
static void accumulation_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model_text); i++) {
        Model model = model_read(model_text[i]);
        Sums whole = packed(&model, B, false, -1);
        for (int64_t batch = 1; batch < B; batch *= 2) {
            Sums parts = packed(&model, batch, false, -1);
            check_same(&parts, &whole, 1e-6, model.spec.model);
            sums_free(&parts);
        }
        sums_free(&whole);
        arena_free(model.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_is_alone), cmocka_unit_test(no_gradient_crosses),
        cmocka_unit_test(plans_change_no_bit), cmocka_unit_test(accumulation_agrees)};
    return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}
