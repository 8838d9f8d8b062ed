/* See rebuild.h. */
#include "ir/passes/rebuild.h"

static ValueId moved(const ValueId *now, ValueId v) {
    return v == NONE ? NONE : now[v];
}

static void copy_params(Graph *g, const Graph *from, const ValueId *now) {
    for (uint32_t p = 0; p < from->param.count; p++) {
        Param *param = vec_add(g->arena, &g->param);
        *param = from->param.at[p];
        param->value = moved(now, param->value);
        param->moment1 = moved(now, param->moment1);
        param->moment2 = moved(now, param->moment2);
        param->master = moved(now, param->master);
        param->accumulator = moved(now, param->accumulator);
    }
}

Graph *graph_rebuild(const Graph *from, const Node *node, const ValueId *order, uint32_t count,
                     Arena *arena) {
    Graph *g = graph_new(arena);
    ValueId *now = NEW_ARRAY(arena, ValueId, from->value.count);
    vec_room(arena, &g->value, count);
    vec_room(arena, &g->node, from->node.count);
    for (ValueId v = 0; v < from->value.count; v++) now[v] = NONE;
    for (uint32_t i = 0; i < count; i++) {
        now[order[i]] = i;
        Value *value = vec_add(arena, &g->value);
        *value = from->value.at[order[i]];
        value->def = NONE;
        value->out_index = 0;
    }
    for (NodeId n = 0; n < from->node.count; n++) {
        if (!node[n].nout) continue;
        NodeId id = g->node.count;
        Node *copy = vec_add(arena, &g->node);
        *copy = node[n];
        copy->in = NEW_ARRAY(arena, ValueId, copy->nin + copy->nout);
        copy->out = copy->in + copy->nin;
        for (uint32_t i = 0; i < copy->nin; i++) copy->in[i] = now[node[n].in[i]];
        for (uint32_t i = 0; i < copy->nout; i++) {
            Value *value = &g->value.at[copy->out[i] = now[node[n].out[i]]];
            value->def = id;
            value->out_index = i;
        }
    }
    copy_params(g, from, now);
    for (uint32_t i = 0; i < from->block.count; i++) *vec_add(arena, &g->block) = from->block.at[i];
    g->tokens = moved(now, from->tokens);
    g->targets = moved(now, from->targets);
    g->mask = moved(now, from->mask);
    g->first_key = moved(now, from->first_key);
    g->last_query = moved(now, from->last_query);
    g->positions = moved(now, from->positions);
    g->logits = moved(now, from->logits);
    g->loss_sum = moved(now, from->loss_sum);
    g->norm_sum = moved(now, from->norm_sum);
    g->batch = from->batch;
    g->context = from->context;
    g->accumulate = from->accumulate;
    return g;
}
