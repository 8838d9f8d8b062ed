/* Low-rank adapters: which weights are trained, and what an adapter adds to a linear layer.
 *
 * In: the `adapt` item. Without one every weight is trained. With one every weight is frozen but those that
 * its `train` names, and each linear layer that its `on` names, by default all but the one that makes the
 * logits, becomes
 *
 *     y + scale * linear(linear(dropout(x), NAME.lora_A), NAME.lora_B)        y = linear(x, NAME)
 *
 * with A [rank, in] from uniform(+-1/sqrt(in)) and B [out, rank] from zeros, so that training starts at the
 * frozen model (Hu et al. 2021). Names, order and rounding are those of the library PEFT, which reads the
 * adapters that are saved. Scaling by a power of two rounds nothing, so that what is scaled by one, as most
 * are, is the first product, which is thin: the same bits, both ways, of fewer bytes. */
#include "frontend/lower/lower_parts.h"

#include "ir/ops.h"

#include <math.h>
#include <string.h>

/* Random streams of adapters' dropout begin here, so that the model's own draw what they would without
 * adapters. */
static const int64_t FIRST_STREAM = INT64_C(1) << 32;

void adapt_begin(Lower *l) {
    const Adapt *adapt = &l->spec->adapt;
    if (adapt->on) l->adapted = glob_new(l->arena, adapt->on);
    if (adapt->train) l->trained = glob_new(l->arena, adapt->train);
}

bool adapt_trains(Lower *l, const char *full) {
    if (!l->spec->adapt.rank) return true;
    bool trained = l->trained && glob_matches(l->trained, full);
    l->any_trained |= trained;
    return trained;
}

bool makes_logits(Lower *l, const Shape *weight) {
    return l->embedding.rank && dim_match(&weight->dim[0], &l->embedding.dim[0]) == DIM_SAME;
}

static bool is_adapted(Lower *l, const char *base, const Shape *weight, Span span) {
    const Adapt *adapt = &l->spec->adapt;
    if (!adapt->rank) return false;
    if (l->adapted ? !glob_matches(l->adapted, base) : makes_logits(l, weight)) return false;
    const Item *tie = tie_of(l, base);
    if (!tie) return true;
    diag_error(l->diag, E0406, adapt->on ? adapt->on_span : tie->span,
               "adapt: '%s' is tied to '%s': an adapter would be of one of them only", tie->name.text,
               tie->other.text);
    diag_note(l->diag, span, "it is used here");
    return false;
}

static ValueId factor(Lower *l, const char *name, Dim rows, Dim columns, InitKind init, double value,
                      Span span) {
    const char *full = arena_printf(l->arena, "%s.weight", name);
    Shape shape = {2, {rows, columns}};
    if (map_get(l->names, full) != NONE) {
        diag_error(l->diag, E0207, span, "'%s' is the name of an adapter too", full);
        return NONE;
    }
    ValueId weight = weight_make(l, full, &shape, span, true, init, value, USE_ADAPTER);
    return cast_to_compute(l, weight, name, span);
}

static Operand product(Lower *l, const char *name, const Operand *x, ValueId weight, Dim width, Span span) {
    ValueId in[2] = {x->value, weight};
    Shape shape = shape_with_last(&x->shape, width);
    if (weight == NONE) return poison();
    return first_output(l, node_add(l, OP_LINEAR, in, 2, 0, 1, NULL, NULL, unique_name(l, name, 1), span),
                        &shape);
}

static Operand scaled(Lower *l, const char *base, const Operand *x, double scale, Span span) {
    if (x->kind != OPERAND_TENSOR || scale == 1) return *x;
    const char *name = unique_name(l, arena_printf(l->arena, "%s.lora_scale", base), 1);
    return node_same(l, OP_SCALE, x, 1, &(Attr){.factor = scale}, name, span);
}

Operand adapt_linear(Lower *l, const char *base, const Operand *x, const Shape *weight, Operand y,
                     Span span) {
    const Adapt *adapt = &l->spec->adapt;
    if (!makes_logits(l, weight)) l->linear_example = base;
    if (y.kind != OPERAND_TENSOR || !is_adapted(l, base, weight, span)) return y;
    l->any_adapted = true;
#define NAMED(word) unique_name(l, arena_printf(l->arena, "%s." word, base), 1)
    const char *a_name = arena_printf(l->arena, "%s.lora_A", base),
               *b_name = arena_printf(l->arena, "%s.lora_B", base);
    Dim rank = dim_of_number(l, adapt->rank);
    double rows = (double)adapt->rank, scale = adapt->alpha / (adapt->rank_stabilized ? sqrt(rows) : rows);
    Operand part = *x;
    if (adapt->dropout > 0) {
        Attr attr = {.p = adapt->dropout, .rng = FIRST_STREAM + ++l->adapter_dropouts};
        part = node_same(l, OP_DROPOUT, x, 1, &attr, NAMED("lora_dropout"), span);
    }
    if (part.kind != OPERAND_TENSOR) return part;
    ValueId a =
        factor(l, a_name, rank, weight->dim[1], INIT_UNIFORM, 1 / sqrt((double)weight->dim[1].value), span);
    ValueId b = factor(l, b_name, weight->dim[0], rank, INIT_CONSTANT, 0, span);
    const bool exact = scaling_is_exact(scale);
    part = product(l, a_name, &part, a, rank, span);
    if (exact) part = scaled(l, base, &part, scale, span);
    if (part.kind == OPERAND_TENSOR) part = product(l, b_name, &part, b, weight->dim[0], span);
    if (!exact) part = scaled(l, base, &part, scale, span);
    if (part.kind != OPERAND_TENSOR) return part;
    return node_same(l, OP_ADD, (Operand[]){y, part}, 2, NULL, NAMED("lora_add"), span);
#undef NAMED
}

static void nothing_fits(Lower *l, Span span, const char *what, const char *pattern, const char *like) {
    diag_error(l->diag, E0208, span, "adapt: no %s is called '%s'", what, pattern);
    if (like) diag_help(l->diag, "%ss are called like '%s'", what, like);
}

/* One of a tied pair alone cannot be trained. False, and reported, where that is asked for. */
static bool ties_stay(Lower *l) {
    bool stay = true;
    for (uint32_t i = 0; l->trained && i < l->ast->item.count; i++) {
        const Item *item = l->ast->item.at[i];
        if (item->kind != ITEM_TIE || !item->name.text || !item->other.text) continue;
        bool one = glob_matches(l->trained, item->name.text),
             other = glob_matches(l->trained, item->other.text);
        if (one == other) continue;
        diag_error(l->diag, E0406, l->spec->adapt.train_span,
                   "adapt: '%s' is trained, and '%s', which is tied to it, is not",
                   one ? item->name.text : item->other.text, one ? item->other.text : item->name.text);
        diag_help(l->diag, "name both, as in train \"{%s,%s}\", or neither", item->name.text,
                  item->other.text);
        stay = false;
    }
    return stay;
}

void adapt_finish(Lower *l) {
    const Adapt *adapt = &l->spec->adapt;
    if (!adapt->rank) return;
    bool stay = ties_stay(l);
    if (!l->any_adapted && adapt->on)
        nothing_fits(l, adapt->on_span, "linear layer", adapt->on, l->linear_example);
    else if (!l->any_adapted)
        diag_error(l->diag, E0406, l->ast->single[ITEM_ADAPT]->span,
                   "adapt: the only linear layer makes the logits, and is adapted only where `on` names it");
    if (stay && l->trained && !l->any_trained)
        nothing_fits(l, adapt->train_span, "weight", adapt->train,
                     l->weight.count ? l->weight.at[0].name : NULL);
}
