/* See machine.h. */
#include "tests/support/machine.h"
#include "tests/support/packed.h"

#include "kernels/random.h"
#include "ir/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define k_reshape NULL /* a view has no kernel */
static KFunction *const kernel[OP_COUNT] = {
#define OP(NAME, name, ...) [OP_##NAME] = k_##name,
#include "ir/op.def"
#undef OP
};
#undef k_reshape

typedef struct MachineCopy {
    char *to;
    const char *from; /* NULL: none */
    size_t bytes;
} MachineCopy;

static int64_t round_up(int64_t bytes) {
    return (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

static KTensor tensor(const Machine *m, ValueId value, uint32_t buffer) {
    const Type *type = &m->graph->value.at[value].type;
    KTensor t = {.data = m->memory + m->layout->buf.at[buffer].offset * m->scale,
                 .dtype = (int)type->dtype,
                 .rank = type->rank};
    memcpy(t.dim, type->dim, sizeof t.dim);
    return t;
}

Machine *machine_new(const Graph *g, const Plan *plan, const Layout *layout, bool poison) {
    Machine *m = calloc(1, sizeof *m);
    m->graph = g;
    m->plan = plan;
    m->layout = layout;
    m->scale = (int)(sizeof(K_REAL) / 4);
    m->poison = poison;
    size_t bytes = (size_t)round_up(layout->height_bytes) * (size_t)m->scale;
    m->memory = aligned_alloc(K_ALIGN, bytes ? bytes : K_ALIGN);
    memset(m->memory, 0xff, bytes);
    bytes = (size_t)layout->host_bytes * (size_t)m->scale;
    m->host = aligned_alloc(K_ALIGN, bytes ? bytes : K_ALIGN);
    memset(m->host, 0xff, bytes);
    m->copy = calloc(g->value.count + 1, sizeof *m->copy);
    m->cx.seed = 77;
    return m;
}

void machine_free(Machine *m) {
    free(m->memory);
    free(m->host);
    free(m->copy);
    free(m);
}

static uint32_t persistent_buffer(const Machine *m, ValueId value) {
    ValueId root = graph_root(m->graph, value);
    for (uint32_t b = 0; b < m->layout->buf.count; b++)
        if (m->layout->buf.at[b].persistent && m->layout->buf.at[b].value == root) return b;
    die("value %s is not persistent", m->graph->value.at[value].name);
}

void *machine_bytes(const Machine *m, ValueId value) {
    return m->memory + m->layout->buf.at[persistent_buffer(m, value)].offset * m->scale;
}

K_REAL *machine_reals(const Machine *m, ValueId value) {
    if (m->graph->value.at[value].type.dtype != DT_F32) die("%s is not f32", m->graph->value.at[value].name);
    return machine_bytes(m, value);
}

static void store(const Machine *m, ValueId value, int64_t i, double x) {
    if (m->graph->value.at[value].type.dtype == DT_F32) {
        ((K_REAL *)machine_bytes(m, value))[i] = (K_REAL)x;
    } else {
        float f = (float)x;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        ((uint16_t *)machine_bytes(m, value))[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

void machine_init(Machine *m, uint64_t seed) {
    const Graph *g = m->graph;
    for (uint32_t b = 0; b < m->layout->buf.count; b++) {
        const Buf *buf = &m->layout->buf.at[b];
        if (buf->persistent) memset(m->memory + buf->offset * m->scale, 0, (size_t)(buf->bytes * m->scale));
    }
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Param *param = &g->param.at[p];
        uint64_t state = seed * 1000003 + p;
        const Type *type = &g->value.at[param->value].type;
        int64_t n = type_elements(type);
        if (!dtype_bytes[type->dtype]) {
            packed_fill((int)type->dtype, n, machine_bytes(m, param->value), 0.1, random_unit, &state);
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            double u = random_unit(&state), v = random_unit(&state);
            double normal = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
            double x = param->init == INIT_CONSTANT ? param->init_value + 0.1 * normal : 0.2 * normal;
            store(m, param->value, i, x);
            if (param->master != NONE) store(m, param->master, i, x);
        }
    }
}

static void finish_copy(Machine *m, ValueId root) {
    MachineCopy *copy = &m->copy[root];
    if (copy->from) memcpy(copy->to, copy->from, copy->bytes);
    copy->from = NULL;
}

static void begin_copy(Machine *m, const Step *step, const uint32_t *bind) {
    const Buf *device = &m->layout->buf.at[bind[0]], *host = &m->layout->buf.at[bind[1]];
    char *here = m->memory + device->offset * m->scale, *there = m->host + host->offset * m->scale;
    bool out = step->kind == STEP_OFFLOAD;
    MachineCopy *copy = &m->copy[step->value];
    *copy = (MachineCopy){out ? there : here, out ? here : there, (size_t)(host->bytes * m->scale)};
    if (device->offset + device->bytes > m->high_water_bytes)
        m->high_water_bytes = device->offset + device->bytes;
    if (host->offset + host->bytes > m->host_high_water_bytes)
        m->host_high_water_bytes = host->offset + host->bytes;
    if (m->poison)
        memset(copy->to, 0xff, copy->bytes);
    else
        finish_copy(m, step->value);
}

static void run_steps(Machine *m, uint32_t from, uint32_t to) {
    for (uint32_t s = from; s < to; s++) {
        const Step *step = &m->plan->step.at[s];
        const uint32_t *bind = &m->layout->bind.at[m->layout->first[s]];
        if (step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH) {
            begin_copy(m, step, bind);
            continue;
        }
        if (step->kind == STEP_FREE) {
            finish_copy(m, step->value);
            if (bind[0] == NONE || !m->poison || m->layout->buf.at[bind[0]].hi > s + 1) continue;
            const Buf *buf = &m->layout->buf.at[bind[0]];
            memset(m->memory + buf->offset * m->scale, 0xff, (size_t)(buf->bytes * m->scale));
            continue;
        }
        const Node *node = &m->graph->node.at[step->node];
        KTensor *in = calloc(node->nin + node->nout + 1, sizeof *in), *out = in + node->nin;
        uint32_t workspace = bind[node->nout + node->nin];
        for (uint32_t i = 0; i < node->nout; i++) out[i] = tensor(m, node->out[i], bind[i]);
        for (uint32_t i = 0; i < node->nin; i++) {
            const MachineCopy *copy = &m->copy[graph_root(m->graph, node->in[i])];
            if (copy->from && copy->to >= m->memory &&
                copy->to < m->memory + m->layout->height_bytes * m->scale)
                finish_copy(m, graph_root(m->graph, node->in[i]));
            in[i] = tensor(m, node->in[i], bind[node->nout + i]);
        }
        for (uint32_t i = 0; i < node->nout + node->nin + 1; i++) {
            if (bind[i] == NONE) continue;
            int64_t end = m->layout->buf.at[bind[i]].offset + m->layout->buf.at[bind[i]].bytes;
            if (end > m->high_water_bytes) m->high_water_bytes = end;
        }
        m->cx.workspace = NULL;
        m->cx.workspace_bytes = 0;
        if (workspace != NONE) {
            const Buf *buf = &m->layout->buf.at[workspace];
            m->cx.workspace = m->memory + buf->offset * m->scale;
            m->cx.workspace_bytes = (size_t)(buf->bytes * m->scale);
            if (m->poison) memset(m->cx.workspace, 0xff, m->cx.workspace_bytes);
        }
        KAttr attr;
#define ATTR_F(name) attr.name = node->attr.name;
#define ATTR_I(name) attr.name = node->attr.name;
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
        kernel[node->op](&m->cx, (int)node->nout, out, (int)node->nin, in, &attr);
        free(in);
    }
}

void machine_run(Machine *m, double loss_scale, int64_t micro) {
    if (micro == 0) machine_reals(m, m->graph->loss_sum)[0] = 0;
    m->cx.micro = micro;
    m->cx.loss_scale = (float)loss_scale;
    m->cx.learning_rate = 1e-2f; /* updates may stand within */
    run_steps(m, 0, m->plan->update_begin);
}

/* The mask of token i of a micro-batch: about one in five is masked. */
static bool unmasked(const Graph *g, uint64_t seed, int64_t micro, int64_t i) {
    return g->mask == NONE || k_random24(k_random_key(seed, 1, micro, 5), (uint64_t)i) % 5 != 0;
}

/* Documents of one to five tokens, where the graph tells them apart. */
static void fill_documents(const Machine *m, uint64_t seed, int64_t micro) {
    const Graph *g = m->graph;
    int32_t *first = g->first_key == NONE ? NULL : machine_bytes(m, g->first_key),
            *last = g->first_key == NONE ? NULL : machine_bytes(m, g->last_query),
            *position = g->positions == NONE ? NULL : machine_bytes(m, g->positions);
    uint64_t key = k_random_key(seed, 2, micro, 4);
    for (int64_t b = 0; b < g->batch; b++)
        for (int64_t t = 0, end; t < g->context; t = end) {
            end = t + 1 + (int64_t)(k_random24(key, (uint64_t)(b * g->context + t)) % 5);
            if (end > g->context) end = g->context;
            for (int64_t i = t; i < end; i++) {
                const int64_t at = b * g->context + i;
                if (first) first[at] = (int32_t)t, last[at] = (int32_t)end - 1;
                if (position) position[at] = (int32_t)(i - t);
            }
        }
}

void machine_micro_step(Machine *m, uint64_t seed, int64_t micro) {
    const Graph *g = m->graph;
    NodeId loss = 0;
    while (op_info[g->node.at[loss].op].over != OVER_LOSS) loss++;
    const Type *logits = &g->value.at[g->node.at[loss].in[0]].type;
    int64_t tokens = g->batch * g->context, vocab = logits->dim[logits->rank - 1], count = 0;
    int32_t *token = machine_bytes(m, g->tokens), *target = machine_bytes(m, g->targets);
    K_REAL *mask = g->mask == NONE ? NULL : machine_reals(m, g->mask);
    uint64_t key = k_random_key(seed, 0, micro, 3);
    for (int64_t i = 0; i < tokens; i++) {
        token[i] = (int32_t)(k_random24(key, (uint64_t)(2 * i)) % vocab);
        target[i] = (int32_t)(k_random24(key, (uint64_t)(2 * i + 1)) % vocab);
        if (mask) mask[i] = unmasked(g, seed, micro, i);
    }
    fill_documents(m, seed, micro);
    for (int64_t u = 0; u < g->accumulate; u++)
        for (int64_t i = 0; i < tokens; i++) count += unmasked(g, seed, u, i);
    machine_run(m, 1.0 / (double)(count ? count : 1), micro);
}

void machine_update(Machine *m) {
    run_steps(m, m->plan->update_begin, m->plan->step.count);
}

double machine_loss(const Machine *m) {
    return (double)machine_reals(m, m->graph->loss_sum)[0] * (double)m->cx.loss_scale;
}

double machine_step(Machine *m, uint64_t seed, int64_t step) {
    m->cx.step = step;
    for (int64_t micro = 0; micro < m->graph->accumulate; micro++)
        machine_micro_step(m, seed + (uint64_t)step, micro);
    machine_update(m);
    return machine_loss(m);
}
