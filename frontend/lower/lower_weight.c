/* Parameters: their names, ties between them, and how they start.
 *
 * In: the name an operation gives its weight, the scope, tie and init items. Out: VALUE_PARAM values named as
 * in the checkpoint and one Param each. Matrices start from normal(0, 0.02), those that write into the
 * residual stream scaled down by the square root of how many do (Radford et al. 2019, GPT-2), gains at 1,
 * biases at 0; init lines replace that, the last one that matches winning. `weights` may say which matrices
 * its files hold transposed. */
#include "frontend/lower/lower_parts.h"

#include <math.h>
#include <string.h>

static const char *strip_suffix(Lower *l, const char *name) {
    const char *dot = strrchr(name, '.');
    return arena_strndup(l->arena, name, (size_t)(dot - name));
}

/* ---- ties ---- */

void ties_read(Lower *l) {
    const Ast *ast = l->ast;
    l->tied = map_new(l->arena);
    l->tie_used = NEW_ARRAY(l->arena, bool, ast->item.count + 1);
    for (uint32_t i = 0; i < ast->item.count; i++) {
        const Item *item = ast->item.at[i];
        if (item->kind != ITEM_TIE || !item->name.text || !item->other.text) continue;
        if (map_get(l->tied, item->name.text) != NONE || !strcmp(item->name.text, item->other.text)) {
            diag_error(l->diag, E0207, item->span, "'%s' is already %s", item->name.text,
                       strcmp(item->name.text, item->other.text) ? "tied" : "itself");
            continue;
        }
        map_set(l->tied, item->name.text, i);
    }
    for (uint32_t i = 0; i < ast->item.count; i++) {
        const Item *item = ast->item.at[i];
        if (item->kind != ITEM_TIE || !item->other.text || map_get(l->tied, item->other.text) == NONE)
            continue;
        diag_error(l->diag, E0207, item->other.span, "'%s' is itself tied: tie both to the same weight",
                   item->other.text);
    }
}

const Item *tie_of(const Lower *l, const char *name) {
    for (uint32_t i = 0; i < l->ast->item.count; i++) {
        const Item *item = l->ast->item.at[i];
        if (item->kind != ITEM_TIE || !item->name.text || !item->other.text) continue;
        if (!strcmp(item->name.text, name) || !strcmp(item->other.text, name)) return item;
    }
    return NULL;
}

/* ---- one weight ---- */

ValueId weight_make(Lower *l, const char *full, const Shape *shape, Span span, bool declared, InitKind init,
                    double value, WeightUse use) {
    Graph *g = l->graph;
    bool adapter = use == USE_ADAPTER, trained = adapter || adapt_trains(l, full);
    DType frozen = use == USE_MATRIX ? l->spec->frozen_matrix : l->spec->frozen;
    Type type = shape_type(shape, trained ? l->spec->trained : frozen);
    ValueId id = graph_value(g, type, trained ? VALUE_PARAM : VALUE_FROZEN, ROLE_WEIGHT, full, span);
    *vec_add(l->arena, &g->param) = (Param){.value = id,
                                            .init = init,
                                            .init_value = value,
                                            .adapter = adapter,
                                            .decays = shape->rank >= 2,
                                            .moment1 = NONE,
                                            .moment2 = NONE,
                                            .master = NONE,
                                            .accumulator = NONE};
    map_set(l->weight_index, full, l->weight.count);
    map_set(l->names, full, id);
    *vec_add(l->arena, &l->weight) =
        (Weight){.name = full, .value = id, .shape = *shape, .span = span, .declared = declared};
    return id;
}

static ValueId weight_twice(Lower *l, const Weight *first, const Expr *name, const Shape *shape) {
    bool same = shape_match(&first->shape, shape) != DIM_DIFFERENT;
    diag_error(l->diag, E0207, name->span, "weight '%s' is used twice%s", first->name,
               same ? "" : ", with different shapes");
    if (!same)
        diag_note(l->diag, NO_SPAN, "%s here, %s before", shape_text(l, shape), shape_text(l, &first->shape));
    bool again = first->span.beg == name->span.beg;
    if (!again) diag_note(l->diag, first->span, "it is first used here");
    if (again && l->block != NONE)
        diag_help(l->diag, "number the repetitions: repeat i in 0..L scope \"h.{i}\" { .. }");
    else
        diag_help(l->diag, "give each its own name; to share one on purpose, write: tie \"other\" = \"%s\"",
                  strip_suffix(l, first->name));
    return NONE;
}

ValueId weight_get(Lower *l, const Expr *name, const char *suffix, const Shape *shape, InitKind init,
                   double value, WeightUse use) {
    const char *base = arena_printf(l->arena, "%s%s", l->scope, name->text);
    uint32_t tie = strcmp(suffix, ".weight") ? NONE : map_get(l->tied, base);
    const char *wanted = tie == NONE ? base : l->ast->item.at[tie]->other.text;
    const char *full = arena_printf(l->arena, "%s%s", wanted, suffix);
    uint32_t index = map_get(l->weight_index, full);
    if (index == NONE) {
        if (tie != NONE) l->tie_used[tie] = true;
        if (map_get(l->names, full) != NONE) {
            diag_error(l->diag, E0207, name->span, "'%s' is already the name of an operation", full);
            return NONE;
        }
        return weight_make(l, full, shape, name->span, tie == NONE, init, value, use);
    }
    Weight *w = &l->weight.at[index];
    if ((tie == NONE && w->declared) || (tie != NONE && l->tie_used[tie]))
        return weight_twice(l, w, name, shape);
    if (tie == NONE)
        w->declared = true;
    else
        l->tie_used[tie] = true;
    if (shape_match(&w->shape, shape) == DIM_DIFFERENT) {
        diag_error(l->diag, E0311, name->span, "tied weights '%s' and '%s' differ in shape",
                   tie == NONE ? strip_suffix(l, full) : base, strip_suffix(l, w->name));
        diag_note(l->diag, NO_SPAN, "%s here, %s there", shape_text(l, shape), shape_text(l, &w->shape));
        diag_note(l->diag, w->span, "the other is used here");
        return NONE;
    }
    return w->value;
}

static void note_tie(Lower *l, ValueId weight, const char *name) {
    Param *param = l->graph->param.at;
    while (param->value != weight) param++;
    Tie *tie = NEW(l->arena, Tie);
    *tie = (Tie){arena_printf(l->arena, "%s.weight", name), param->tie};
    param->tie = tie;
}

static void check_ties(Lower *l) {
    const char **names = NEW_ARRAY(l->arena, const char *, l->weight.count + 1);
    for (uint32_t i = 0; i < l->weight.count; i++) names[i] = strip_suffix(l, l->weight.at[i].name);
    for (uint32_t i = 0; i < l->ast->item.count; i++) {
        const Item *item = l->ast->item.at[i];
        if (item->kind != ITEM_TIE || !item->name.text || !item->other.text) continue;
        uint32_t other = map_get(l->weight_index, arena_printf(l->arena, "%s.weight", item->other.text));
        bool has_other = other != NONE && l->weight.at[other].declared;
        if (l->tie_used[i] && has_other) {
            note_tie(l, l->weight.at[other].value, item->name.text);
            continue;
        }
        const Name *missing = l->tie_used[i] ? &item->other : &item->name;
        diag_error(l->diag, E0208, missing->span, "tie: no operation has a weight '%s'", missing->text);
        diag_suggest(l->diag, missing->text, names, l->weight.count);
    }
}

/* ---- how they start ---- */

/* The weight of the linear layer that made a value, or made it before dropout and scaling; NONE when there is
 * none. */
static ValueId weight_of_product(const Graph *g, ValueId x) {
    while (g->value.at[x].def != NONE) {
        const Node *n = &g->node.at[g->value.at[x].def];
        if (n->op == OP_LINEAR) {
            ValueId w = n->in[1];
            return g->value.at[w].def == NONE ? w : g->node.at[g->value.at[w].def].in[0];
        }
        if (n->op != OP_DROPOUT && n->op != OP_SCALE) return NONE;
        x = n->in[0];
    }
    return NONE;
}

/* The sum of what a layer makes and what its adapter makes. */
static bool adds_adapter(const Graph *g, const bool *adapter, const Node *n) {
    ValueId w = n->op == OP_ADD ? weight_of_product(g, n->in[1]) : NONE;
    return w != NONE && adapter[w];
}

/* The same through dropout, scaling and what an adapter adds. */
static ValueId weight_behind(const Graph *g, const bool *adapter, ValueId x) {
    while (g->value.at[x].def != NONE) {
        const Node *n = &g->node.at[g->value.at[x].def];
        if (n->op == OP_LINEAR) return weight_of_product(g, x);
        if (n->op != OP_DROPOUT && n->op != OP_SCALE && !adds_adapter(g, adapter, n)) return NONE;
        x = n->in[0];
    }
    return NONE;
}

static void scale_residuals(Lower *l) {
    Graph *g = l->graph;
    uint32_t residuals = 0;
    bool *writes = NEW_ARRAY(l->arena, bool, g->value.count);
    bool *adapter = NEW_ARRAY(l->arena, bool, g->value.count);
    for (uint32_t i = 0; i < g->param.count; i++) adapter[g->param.at[i].value] = g->param.at[i].adapter;
    for (uint32_t i = 0; i < g->node.count; i++) {
        const Node *n = &g->node.at[i];
        if (n->op != OP_ADD || adds_adapter(g, adapter, n)) continue;
        bool any = false;
        for (uint32_t j = 0; j < 2; j++) {
            ValueId w = weight_behind(g, adapter, n->in[j]);
            if (w != NONE) writes[w] = any = true;
        }
        residuals += any;
    }
    for (uint32_t i = 0; i < g->param.count; i++) {
        Param *p = &g->param.at[i];
        if (writes[p->value] && p->init == INIT_NORMAL) p->init_value /= sqrt((double)residuals);
    }
}

static bool read_init(Lower *l, const Expr *e, InitKind *kind, double *value) {
    static const char *const kinds[2] = {"normal", "constant"};
    if (e->kind != EXPR_CALL) {
        diag_error(l->diag, E0404, e->span, "init: write normal(deviation) or constant(value)");
        return false;
    }
    int which = 0;
    while (which < 2 && strcmp(e->callee.text, kinds[which])) which++;
    if (which == 2) {
        diag_error(l->diag, E0404, e->callee.span, "init: '%s' is not known, only normal and constant",
                   e->callee.text);
        diag_suggest(l->diag, e->callee.text, kinds, 2);
        return false;
    }
    if (e->args.count != 1 || e->args.at[0].name.text) {
        diag_error(l->diag, E0301, e->span, "init: %s takes one number", kinds[which]);
        return false;
    }
    if (!number_eval(l, e->args.at[0].value, value)) return false;
    if (which == 0 && *value < 0) {
        diag_error(l->diag, E0402, e->span, "init: the deviation %g is below 0", *value);
        return false;
    }
    *kind = which ? INIT_CONSTANT : INIT_NORMAL;
    return true;
}

/* Vectors (gains, biases) keep their start unless the pattern names them to the end: "*.bias". Adapters begin
 * by adding nothing. */
static bool init_matches(const char *pattern, Glob *glob, const Weight *w) {
    if (!glob) return w->shape.rank >= 2;
    if (!glob_matches(glob, w->name)) return false;
    const char *last = strrchr(pattern, '.'), *suffix = strrchr(w->name, '.');
    return w->shape.rank >= 2 || (last && !strcmp(last, suffix));
}

static void apply_inits(Lower *l) {
    for (uint32_t i = 0; i < l->ast->item.count; i++) {
        const Item *item = l->ast->item.at[i];
        InitKind kind;
        double value;
        if (item->kind != ITEM_INIT || !read_init(l, item->value, &kind, &value)) continue;
        bool any = false;
        Glob *glob = item->name.text ? glob_new(l->arena, item->name.text) : NULL;
        for (uint32_t j = 0; j < l->weight.count; j++) {
            Param *p = &l->graph->param.at[j]; /* one Param a Weight, in the same order */
            if (p->adapter || !init_matches(item->name.text, glob, &l->weight.at[j])) continue;
            p->init = kind;
            p->init_value = value;
            any = true;
        }
        if (any) continue;
        diag_error(l->diag, E0208, item->name.text ? item->name.span : item->span,
                   "init: no matrix is called '%s'", item->name.text ? item->name.text : "*");
        diag_help(l->diag, "a vector is named to the end, as in \"*.bias\"; weights are called like '%s'",
                  l->weight.count ? l->weight.at[0].name : "wte.weight");
    }
}

static void apply_transposed(Lower *l) {
    const Item *item = l->ast->single[ITEM_WEIGHTS];
    if (!item || !item->other.text) return;
    bool any = false;
    Glob *glob = glob_new(l->arena, item->other.text);
    for (uint32_t i = 0; i < l->weight.count; i++) {
        const Weight *w = &l->weight.at[i];
        if (l->graph->param.at[i].adapter || w->shape.rank != 2 || !glob_matches(glob, w->name)) continue;
        l->graph->param.at[i].transposed = any = true; /* one Param a Weight, in the same order */
    }
    if (any) return;
    diag_error(l->diag, E0208, item->other.span, "weights: no matrix is called '%s'", item->other.text);
    if (l->weight.count) diag_help(l->diag, "weights are called like '%s'", l->weight.at[0].name);
}

static void check_pins(Lower *l) {
    const Graph *g = l->graph;
    for (uint32_t i = 0; i < l->spec->pin.count; i++) {
        const Pin *pin = &l->spec->pin.at[i];
        bool any = false;
        Glob *glob = glob_new(l->arena, pin->pattern);
        for (uint32_t j = 0; j < g->node.count && !any; j++) any = glob_matches(glob, g->node.at[j].name);
        if (any) continue;
        diag_error(l->diag, E0208, pin->span, "no operation is called '%s'", pin->pattern);
        if (g->node.count)
            diag_help(l->diag, "operations are called like '%s'; `rematc dump --stage graph` lists them",
                      g->node.at[g->node.count / 2].name);
    }
}

/* Trained parameters first, as graphs have them. */
static void trained_first(Lower *l) {
    Graph *g = l->graph;
    uint32_t count = g->param.count, next = 0;
    Param *all = NEW_ARRAY(l->arena, Param, count + 1);
    for (int frozen = 0; frozen < 2; frozen++)
        for (uint32_t i = 0; i < count; i++)
            if ((g->value.at[g->param.at[i].value].kind == VALUE_FROZEN) == frozen)
                all[next++] = g->param.at[i];
    for (uint32_t i = 0; i < count; i++) g->param.at[i] = all[i];
}

void weights_finish(Lower *l) {
    check_ties(l);
    adapt_finish(l);
    scale_residuals(l);
    apply_inits(l);
    apply_transposed(l);
    check_pins(l);
    trained_first(l); /* last: until here there is one Param a Weight, in the same order */
}
