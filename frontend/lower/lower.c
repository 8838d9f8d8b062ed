/* Statements, blocks and repetitions, and the two entry points of lowering. See lower.h.
 *
 * In: a tree that parsed. Out: Spec and Graph. A block's body is lowered anew at each call, with the scope of
 * the repetition it stands in; a repetition stops at the first round in which something failed. */
#include "frontend/lower/lower_parts.h"

#include <string.h>

enum { MAX_CALLS = 100000, MAX_ITEMS = 4096 };

/* ---- blocks ---- */

uint32_t block_find(const Lower *l, const char *name) {
    for (uint32_t i = 0; i < l->ast->block.count; i++)
        if (l->ast->block.at[i]->name.text && !strcmp(l->ast->block.at[i]->name.text, name)) return i;
    return NONE;
}

static void body_lower(Lower *l, const StmtList *body, const Block *block, Operand *result);

/* A declared parameter against what is given; false after an error. */
static bool argument_fits(Lower *l, const Block *block, uint32_t i, const Expr *given, const Operand *x,
                          Shape *declared) {
    const BlockParam *param = &block->param.at[i];
    if (!shape_eval(l, param->shape, declared)) return false;
    DimMatch match = shape_match(&x->shape, declared);
    if (match == DIM_SAME && x->dtype != DT_I32) return true;
    if (match == DIM_COINCIDE) {
        coincidence(l, given->span, block->name.text, &x->shape, declared);
        return false;
    }
    if (match == DIM_SAME) {
        diag_error(l->diag, E0325, given->span, "%s: %s holds whole numbers (i32), not values",
                   block->name.text, expr_text(l, given));
        return false;
    }
    diag_error(l->diag, E0317, given->span, "%s: '%s' is declared %s, not %s", block->name.text,
               param->name.text, shape_symbols(l, declared), shape_symbols(l, &x->shape));
    note_operand(l, given, x);
    diag_note(l->diag, param->name.span, "'%s' is %s", param->name.text, shape_text(l, declared));
    note_defined(l, given);
    help_fitting(l, given, declared, false);
    return false;
}

static bool arguments_fit(Lower *l, const Expr *call, const Block *block, Operand *argument) {
    bool ok = true;
    if (call->args.count != block->param.count) {
        diag_error(l->diag, E0301, call->span, "%s takes %u value%s, not %u", block->name.text,
                   block->param.count, block->param.count == 1 ? "" : "s", call->args.count);
        diag_note(l->diag, block->name.span, "'%s' is defined here", block->name.text);
        return false;
    }
    for (uint32_t i = 0; i < call->args.count; i++) {
        const Arg *arg = &call->args.at[i];
        if (arg->name.text) {
            diag_error(l->diag, E0301, arg->span, "%s takes its values in order, without names",
                       block->name.text);
            return false;
        }
        argument[i] = expr_tensor(l, arg->value);
        Shape declared;
        ok = argument[i].kind == OPERAND_TENSOR &&
             argument_fits(l, block, i, arg->value, &argument[i], &declared) && ok;
        if (ok) argument[i].shape = declared;
    }
    return ok;
}

Operand block_call(Lower *l, const Expr *call, uint32_t index) {
    const Block *block = l->ast->block.at[index];
    Operand *argument = NEW_ARRAY(l->arena, Operand, call->args.count + 1);
    l->block_used[index] = true;
    if (!arguments_fit(l, call, block, argument)) return poison();
    if (l->block_busy[index]) {
        diag_error(l->diag, E0212, call->span, "block '%s' calls itself", block->name.text);
        return poison();
    }
    if (l->calls++ >= MAX_CALLS) {
        too_large(l, call->span, "more than 100000 block calls and repetitions");
        return poison();
    }
    l->block_busy[index] = true;
    uint32_t frame = l->frame;
    const char *name = l->block_name;
    l->frame = l->variable.count;
    l->block_name = block->name.text;
    for (uint32_t i = 0; i < block->param.count; i++) variable_set(l, block->param.at[i].name, argument[i]);
    Operand result = poison();
    body_lower(l, &block->body, block, &result);
    variables_drop(l, l->frame);
    l->frame = frame;
    l->block_name = name;
    l->block_busy[index] = false;
    return result;
}

/* ---- statements ---- */

static void assign(Lower *l, const Stmt *stmt) {
    Operand value = expr_lower(l, stmt->value);
    uint32_t targets = stmt->target.count, items = value.kind == OPERAND_MANY ? value.items : 1;
    if (value.kind != OPERAND_POISON && targets != items) {
        diag_error(l->diag, E0210, stmt->span, "%u name%s for %u result%s", targets, targets == 1 ? "" : "s",
                   items, items == 1 ? "" : "s");
        value = poison();
    }
    for (uint32_t i = 0; i < targets; i++)
        variable_set(l, stmt->target.at[i],
                     value.kind == OPERAND_MANY     ? value.item[i]
                     : value.kind == OPERAND_POISON ? poison()
                                                    : value);
}

static bool result_fits(Lower *l, const Block *block, uint32_t i, const Expr *given, Operand *x) {
    Shape declared;
    if (!shape_eval(l, block->result.at[i], &declared)) return false;
    DimMatch match = shape_match(&x->shape, &declared);
    if (match == DIM_COINCIDE) {
        coincidence(l, given->span, "return", &x->shape, &declared);
        return false;
    }
    if (match == DIM_DIFFERENT) {
        diag_error(l->diag, E0318, given->span, "return: block '%s' is declared to give %s, not %s",
                   block->name.text, shape_symbols(l, &declared), shape_symbols(l, &x->shape));
        note_operand(l, given, x);
        diag_note(l->diag, block->result.at[i]->span, "declared %s", shape_text(l, &declared));
        note_defined(l, given);
        help_fitting(l, given, &declared, false);
        return false;
    }
    x->shape = declared;
    return true;
}

static void return_lower(Lower *l, const Stmt *stmt, const Block *block, Operand *result) {
    uint32_t count = stmt->result.count;
    if (count != block->result.count) {
        diag_error(l->diag, E0318, stmt->span, "return: block '%s' is declared to give %u value%s, not %u",
                   block->name.text, block->result.count, block->result.count == 1 ? "" : "s", count);
        return;
    }
    Operand out = {.kind = OPERAND_MANY, .item = NEW_ARRAY(l->arena, Operand, count), .items = count};
    bool ok = true;
    for (uint32_t i = 0; i < count; i++) {
        out.item[i] = expr_tensor(l, stmt->result.at[i]);
        ok = out.item[i].kind == OPERAND_TENSOR &&
             result_fits(l, block, i, stmt->result.at[i], &out.item[i]) && ok;
    }
    if (ok) *result = count == 1 ? out.item[0] : out;
}

/* "h.{i}" with the numbers of this repetition. NULL after an error. */
static const char *scope_expand(Lower *l, const Name *scope) {
    Text out = {.arena = l->arena};
    text_add(&out, "%s", l->scope);
    for (const char *at = scope->text; *at;) {
        const char *open = strchr(at, '{'), *close = open ? strchr(open, '}') : NULL;
        if (!close) {
            text_add(&out, "%s", at);
            break;
        }
        text_add_n(&out, at, (size_t)(open - at));
        const char *name = arena_strndup(l->arena, open + 1, (size_t)(close - open - 1));
        Variable *v = variable_find(l, name);
        if (!v || v->operand.kind != OPERAND_NUMBER) {
            diag_error(l->diag, E0201, scope->span, "scope: no repetition counts '%s'", name);
            return NULL;
        }
        v->used = true;
        text_add(&out, "%lld", (long long)v->operand.number);
        at = close + 1;
    }
    return out.at;
}

static void repeat_lower(Lower *l, const Stmt *stmt) {
    enum { MAX_REPEATS = 10000 };
    Dim low, high;
    if (!dim_eval(l, stmt->low, &low) || !dim_eval(l, stmt->high, &high)) return;
    if (low.value < 0 || high.value - low.value > MAX_REPEATS || high.value <= low.value) {
        diag_error(l->diag, E0320, span_join(stmt->low->span, stmt->high->span),
                   "repeat: %lld..%lld must count up from 0 or more, at most %d times", (long long)low.value,
                   (long long)high.value, MAX_REPEATS);
        return;
    }
    if (variable_find(l, stmt->variable.text)) {
        diag_error(l->diag, E0206, stmt->variable.span, "'%s' is already the name of a value",
                   stmt->variable.text);
        return;
    }
    const char *outer_scope = l->scope;
    uint32_t outer_block = l->block, first = l->variable.count;
    for (int64_t i = low.value; i < high.value && !l->too_large; i++) {
        if (l->calls++ >= MAX_CALLS) too_large(l, stmt->span, "more than 100000 block calls and repetitions");
        variable_set(l, stmt->variable, (Operand){.kind = OPERAND_NUMBER, .number = (double)i});
        if (l->variable.count == first) break; /* the counter's name is taken */
        l->variable.at[first].used = true;
        const char *scope = stmt->scope.text ? scope_expand(l, &stmt->scope) : outer_scope;
        if (!scope) break;
        if (outer_block == NONE) {
            const char *name = stmt->scope.text
                                   ? scope
                                   : arena_printf(l->arena, "%s.%lld", stmt->variable.text, (long long)i);
            l->block = l->graph->block.count;
            *vec_add(l->graph->arena, &l->graph->block) = name;
        }
        if (stmt->scope.text && *scope) l->scope = arena_printf(l->arena, "%s.", scope);
        uint32_t errors = diag_errors(l->diag);
        body_lower(l, &stmt->body, NULL, NULL);
        variables_drop(l, first);
        l->scope = outer_scope;
        if (diag_errors(l->diag) > errors) break;
    }
    l->block = outer_block;
}

/* `block` NULL: the model's body or a repetition's, which return nothing. */
static void body_lower(Lower *l, const StmtList *body, const Block *block, Operand *result) {
    bool returned = false;
    for (uint32_t i = 0; i < body->count && !l->too_large; i++) {
        const Stmt *stmt = body->at[i];
        if (returned) {
            diag_error(l->diag, E0213, stmt->span, "nothing may follow `return`");
            return;
        }
        switch (stmt->kind) {
        case STMT_ASSIGN: assign(l, stmt); break;
        case STMT_REPEAT: repeat_lower(l, stmt); break;
        case STMT_RETURN:
            if (!block) {
                diag_error(l->diag, E0213, stmt->span, "only a block returns, at its end");
                return;
            }
            return_lower(l, stmt, block, result);
            returned = true;
        }
    }
    if (block && !returned && !l->too_large)
        diag_error(l->diag, E0213, block->name.span, "block '%s' has no `return`", block->name.text);
}

/* ---- the model ---- */

static void check_blocks(Lower *l) {
    for (uint32_t i = 0; i < l->ast->block.count; i++) {
        const Name *name = &l->ast->block.at[i]->name;
        if (!name->text) continue;
        if (op_known(name->text))
            diag_error(l->diag, E0206, name->span, "'%s' is already an operation", name->text);
        else if (block_find(l, name->text) != i)
            diag_error(l->diag, E0206, name->span, "there is already a block '%s'", name->text);
    }
}

static void model_lower(Lower *l) {
    const Block *model = l->ast->model;
    if (!model) {
        diag_error(l->diag, E0205, NO_SPAN, "there is no model");
        diag_help(l->diag, "model NAME { x = embed(data.tokens, [V, D], \"wte\") .. loss = "
                           "cross_entropy(logits, data.targets) }");
        return;
    }
    body_lower(l, &model->body, NULL, NULL);
    Variable *loss = variable_find(l, "loss");
    if (loss) loss->used = true;
    if (!diag_errors(l->diag) && (!loss || loss->operand.kind != OPERAND_LOSS)) {
        diag_error(l->diag, E0211, model->name.span, "model '%s' does not end in a loss", model->name.text);
        diag_help(l->diag, "its last line: loss = cross_entropy(logits, data.targets)");
    }
    variables_drop(l, 0);
    if (diag_errors(l->diag)) return;
    if (l->graph->tokens == NONE)
        diag_error(l->diag, E0211, model->name.span, "model '%s' never looks at data.tokens",
                   model->name.text);
    for (uint32_t i = 0; i < l->ast->block.count; i++)
        if (!l->block_used[i])
            diag_error(l->diag, E0209, l->ast->block.at[i]->name.span, "block '%s' is never used",
                       l->ast->block.at[i]->name.text);
}

/* ---- entry points ---- */

/* Small enough for passes that look at all pairs of things. */
static bool sizes_fine(const Ast *ast, Diag *diag) {
    uint32_t count = ast->item.count;
    for (int i = 0; i < SECTION_COUNT; i++)
        if (ast->section[i] && ast->section[i]->entry.count > count) count = ast->section[i]->entry.count;
    if (count <= MAX_ITEMS) return true;
    diag_error(diag, E0320, NO_SPAN, "%u dims, blocks, ties or other items; at most %d", count, MAX_ITEMS);
    return false;
}

int64_t spec_dim(const Spec *spec, const char *name) {
    for (uint32_t i = 0; i < spec->dim.count; i++)
        if (!strcmp(spec->dim.at[i].name, name)) return spec->dim.at[i].value;
    return 0;
}

bool lower_batch_fits(const Spec *spec, int64_t batch) {
    int64_t tokens = batch * spec_dim(spec, "T");
    return tokens > 0 && spec->tokens_per_step % tokens == 0;
}

bool lower_spec(const Ast *ast, Diag *diag, Arena *arena, Spec *out) {
    uint32_t errors = diag_errors(diag);
    Lower l = {.ast = ast, .spec = out, .diag = diag, .arena = arena, .scope = "", .block = NONE};
    *out = (Spec){.path = ast->path,
                  .model = ast->model && ast->model->name.text ? ast->model->name.text : "model"};
    if (!sizes_fine(ast, diag)) return false;
    dims_read(&l, 0, 0);
    settings_read(&l, out);
    for (uint32_t i = 0; i < l.dim.count; i++) {
        const NamedDim *d = &l.dim.at[i];
        (void)vec_add(arena, &out->dim);
        out->dim.at[i].name = d->name.text;
        out->dim.at[i].value = d->dim.value;
    }
    return diag_errors(diag) == errors;
}

static void mark_dims(Lower *l, const Expr *e) {
    if (!e) return;
    switch (e->kind) {
    case EXPR_NAME: {
        NamedDim *d = dims_find(l, e->text);
        if (d) d->used = true;
        break;
    }
    case EXPR_BINARY:
    case EXPR_NEGATE:
        mark_dims(l, e->left);
        if (e->kind == EXPR_BINARY) mark_dims(l, e->right);
        break;
    case EXPR_CALL:
        for (uint32_t i = 0; i < e->args.count; i++) mark_dims(l, e->args.at[i].value);
        break;
    default: break;
    }
}

static void mark_settings(Lower *l) {
    for (int i = SECTION_DTYPE; i < SECTION_COUNT; i++)
        for (uint32_t j = 0; l->ast->section[i] && j < l->ast->section[i]->entry.count; j++) {
            const Entry *entry = &l->ast->section[i]->entry.at[j];
            mark_dims(l, entry->value);
            for (uint32_t k = 0; k < entry->clause.count; k++) mark_dims(l, entry->clause.at[k].value);
        }
}

/* data.targets are the tokens one position later. Warns where attention that is not causal carries tokens to
 * the loss: each position then reads its own target. */
static void check_causal(Lower *l) {
    Graph *g = l->graph;
    if (g->context < 2) return; /* there is no later position */
    bool *of_tokens = NEW_ARRAY(l->arena, bool, g->value.count + 1);
    bool *to_loss = NEW_ARRAY(l->arena, bool, g->value.count + 1);
    of_tokens[g->tokens] = true;
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        for (uint32_t i = 0; i < node->nin; i++)
            for (uint32_t o = 0; o < node->nout; o++) of_tokens[node->out[o]] |= of_tokens[node->in[i]];
    }
    Span loss = NO_SPAN;
    for (uint32_t n = g->node.count; n-- > 0;) {
        const Node *node = &g->node.at[n];
        bool needed = node->op == OP_CROSS_ENTROPY;
        if (needed) loss = node->span;
        for (uint32_t o = 0; o < node->nout; o++) needed |= to_loss[node->out[o]];
        for (uint32_t i = 0; i < node->nin; i++) to_loss[node->in[i]] |= needed;
        if (!needed || node->op != OP_ATTEND || node->attr.causal) continue;
        if (!of_tokens[node->in[1]] && !of_tokens[node->in[2]]) continue;
        diag_warning(
            l->diag, W0601, node->span,
            "attend: without `causal` every position reads the tokens after it, and so its own target");
        diag_note(l->diag, loss, "the loss compares with data.targets, the next tokens");
        diag_help(l->diag, "write attend(q, k, v, causal)");
    }
}

Graph *lower_graph(const Ast *ast, const Spec *spec, int64_t batch, int64_t context, Diag *diag,
                   Arena *arena) {
    if (!sizes_fine(ast, diag)) return NULL;
    Graph *g = graph_new(arena);
    Lower l = {
        .ast = ast, .spec = spec, .diag = diag, .arena = arena, .graph = g, .scope = "", .block = NONE};
    l.block_busy = NEW_ARRAY(arena, bool, ast->block.count + 1);
    l.block_used = NEW_ARRAY(arena, bool, ast->block.count + 1);
    l.names = map_new(arena);
    l.next_suffix = map_new(arena);
    l.weight_index = map_new(arena);
    dims_read(&l, batch, context);
    check_blocks(&l);
    ties_read(&l);
    adapt_begin(&l);
    model_lower(&l);
    if (diag_errors(diag)) return NULL;
    weights_finish(&l);
    mark_settings(&l);
    dims_check_used(&l);
    if (diag_errors(diag)) return NULL;
    g->batch = dims_find(&l, "B")->dim.value;
    g->context = dims_find(&l, "T")->dim.value;
    int64_t tokens = g->batch * g->context;
    g->accumulate =
        spec->tokens_per_step > 0 && spec->tokens_per_step % tokens == 0 ? spec->tokens_per_step / tokens : 1;
    check_causal(&l);
    return g;
}
