/* In: a planned training program. Out: its tables as C: persistent tensors, planned memory by category, and
 * the RtProgram that rt_main runs (runtime/rt.h says what every field means). */
#include "codegen/emit.h"
#include "planner/layout/live.h"

#include <inttypes.h>
#include <string.h>

/* A C string literal, or NULL. */
static void add_string(Text *out, const char *text) {
    if (!text) {
        text_add(out, "NULL");
        return;
    }
    text_add(out, "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_add(out, "\\%c", *c);
        else if (*c < 32 || *c >= 127)
            text_add(out, "\\%03o", *c);
        else
            text_add_n(out, (const char *)c, 1);
    }
    text_add(out, "\"");
}

/* Offset of the persistent buffer of `value`; -1 when there is none. */
static int64_t offset_of(const Part *part, ValueId value) {
    if (value == NONE) return -1;
    ValueId root = graph_root(part->graph, value);
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        if (buf->kind == BUF_VALUE && buf->value == root && (buf->persistent || root != value))
            return buf->offset;
    }
    for (uint32_t b = 0; b < part->layout->buf.count; b++)
        if (part->layout->buf.at[b].kind == BUF_VALUE && part->layout->buf.at[b].value == root)
            return part->layout->buf.at[b].offset;
    return -1;
}

static void add_row(Text *out, const Part *part, const int64_t *offset, ValueId id, const char *kind,
                    int init, double init_value, uint32_t of) {
    const Value *value = &part->graph->value.at[id];
    static const char *const dtype[DT_COUNT] = {
#define DTYPE(name, NAME, bytes) "K_" #NAME,
#include "kernels/dtype.def"
#undef DTYPE
    };
    char digits[32];
    text_add(out, "    {");
    add_string(out, value->name);
    text_add(out, ", %s, %s, %d, {", kind, dtype[value->type.dtype], value->type.rank);
    for (int i = 0; i < value->type.rank; i++) text_add(out, "%s%" PRId64, i ? ", " : "", value->type.dim[i]);
    text_add(out, "}, INT64_C(%" PRId64 "), %d, %s, %u", offset[id], init, format_number(init_value, digits),
             of);
    if (value->room) text_add(out, ", INT64_C(%" PRId64 ")", value->room);
    text_add(out, "},\n");
}

static uint32_t add_tensors(Text *out, const Part *part) {
    const Graph *g = part->graph;
    int64_t *offset = NEW_ARRAY(out->arena, int64_t, g->value.count); /* of persistent values, by id */
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        if (buf->kind == BUF_VALUE && buf->persistent) offset[buf->value] = buf->offset;
    }
    uint32_t rows = 0;
    text_add(out, "static const RtTensor tensors[] = {\n"
                  "    /* name, kind, type, shape, offset, initialisation, parameter it belongs to */\n");
    for (uint32_t p = 0; p < g->param.count; p++, rows++) {
        const Param *param = &g->param.at[p];
        const char *kind = g->value.at[param->value].kind == VALUE_FROZEN ? "RT_FROZEN" : "RT_PARAM";
        add_row(out, part, offset, param->value, kind, param->init == INIT_CONSTANT, param->init_value, p);
    }
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Param *param = &g->param.at[p];
        const struct {
            ValueId value;
            const char *kind;
        } state[] = {{param->master, "RT_MASTER"},
                     {param->moment1, "RT_MOMENT1"},
                     {param->moment2, "RT_MOMENT2"},
                     {param->accumulator, "RT_ACCUMULATOR"}};
        for (size_t i = 0; i < COUNT_OF(state); i++) {
            if (state[i].value == NONE) continue;
            add_row(out, part, offset, state[i].value, state[i].kind, 1, 0, p);
            rows++;
        }
    }
    text_add(out, "};\n\n");
    return rows;
}

static uint32_t add_ties(Text *out, const Graph *g) {
    uint32_t rows = 0;
    for (uint32_t p = 0; p < g->param.count; p++)
        for (const Tie *tie = g->param.at[p].tie; tie; tie = tie->next, rows++) {
            text_add(out, rows ? "    {" : "static const RtTie ties[] = {\n    {");
            add_string(out, tie->name);
            text_add(out, ", %u},\n", p);
        }
    if (rows) text_add(out, "};\n\n");
    return rows;
}

/* The matrices that files of weights hold as [in, out]. */
static uint32_t add_transposed(Text *out, const Graph *g) {
    enum { IN_A_LINE = 16 };
    uint32_t count = 0;
    for (uint32_t p = 0; p < g->param.count; p++) {
        if (!g->param.at[p].transposed) continue;
        text_add(out, "%s%u,",
                 !count              ? "static const int transposed[] = {\n    "
                 : count % IN_A_LINE ? " "
                                     : "\n    ",
                 p);
        count++;
    }
    if (count) text_add(out, "\n};\n\n");
    return count;
}

static uint32_t add_categories(Text *out, const Part *part) {
    const int64_t *peak = live_at_peak(part->graph, part->plan, part->layout, out->arena);
    uint32_t rows = 0;
    int64_t total = 0;
    text_add(out, "static const RtCategory categories[] = { /* at the step with the most live bytes */\n");
    for (int r = 0; r < LIVE_COLUMNS; r++) {
        if (!peak[r]) continue;
        text_add(out, "    {\"%s\", INT64_C(%" PRId64 ")},\n", live_label[r], peak[r]);
        total += peak[r];
        rows++;
    }
    if (part->layout->height_bytes > total) {
        text_add(out, "    {\"packing\", INT64_C(%" PRId64 ")},\n", part->layout->height_bytes - total);
        rows++;
    }
    text_add(out, "};\n\n");
    return rows;
}

/* One ticket each (step.c). */
static uint32_t count_copies(const Plan *plan) {
    uint32_t copies = 0;
    for (uint32_t s = 0; s < plan->step.count; s++)
        copies += plan->step.at[s].kind == STEP_OFFLOAD || plan->step.at[s].kind == STEP_FETCH;
    return copies;
}

/* Floating-point operations of the model in one optimizer step; recomputation is not the model's. */
static double model_flops(const Part *part) {
    double micro = 0, update = 0;
    for (uint32_t n = 0; n < part->graph->node.count; n++) {
        if (part->graph->node.at[n].phase == PHASE_UPDATE)
            update += part->cost[n].flops;
        else
            micro += part->cost[n].flops;
    }
    return micro * (double)part->graph->accumulate + update;
}

/* Whether a micro-step writes parameters. */
static bool updates_within(const Part *part) {
    for (uint32_t s = 0; s < part->plan->update_begin; s++) {
        const Step *step = &part->plan->step.at[s];
        if (step->kind == STEP_RUN && part->graph->node.at[step->node].phase == PHASE_UPDATE) return true;
    }
    return false;
}

void emit_tables(const EmitRequest *request, const EmitNames *names, Text *out) {
    const Spec *spec = request->spec;
    const Part *train = &request->train;
    const Graph *g = train->graph;
    static const char *const schedule[] = {[SCHEDULE_CONSTANT] = "RT_CONSTANT",
                                           [SCHEDULE_COSINE] = "RT_COSINE",
                                           [SCHEDULE_LINEAR] = "RT_LINEAR"};
    static const char *const format[] = {[DATA_AUTO] = "RT_AUTO",
                                         [DATA_BYTES] = "RT_BYTES",
                                         [DATA_U16] = "RT_U16",
                                         [DATA_U32] = "RT_U32",
                                         [DATA_LLMC] = "RT_LLMC"};
    uint32_t tensors = add_tensors(out, train), categories = add_categories(out, train);
    uint32_t ties = add_ties(out, g), transposed = add_transposed(out, g);
    const Value *sampled = &request->sample.graph->value.at[request->sample.graph->logits];
    const Type *logits = &sampled->type;
    char digits[32];
    text_add(out, "static const RtProgram program = {\n");
#define FIELD_STRING(name, value)                                                                            \
    (text_add(out, "    ." name " = "), add_string(out, value), text_add(out, ",\n"))
#define FIELD_INT(name, value)  text_add(out, "    ." name " = INT64_C(%" PRId64 "),\n", (int64_t)(value))
#define FIELD_REAL(name, value) text_add(out, "    ." name " = %s,\n", format_number(value, digits))
#define FIELD_NAME(name, value) text_add(out, "    ." name " = %s,\n", value)
    FIELD_STRING("model", spec->model);
    FIELD_STRING("source", spec->path);
    FIELD_STRING("target", request->cuda ? "cuda" : "host");
    FIELD_STRING("device", request->device->name);
    FIELD_INT("arena_bytes", request->arena_bytes);
    if (request->cuda) {
        FIELD_INT("reserved_bytes", request->device->reserved_bytes);
        FIELD_INT("code_bytes", request->device->code.bytes);
    }
    if (train->layout->host_bytes) {
        FIELD_INT("host_bytes", train->layout->host_bytes);
        text_add(out, "    .copies = %u,\n", count_copies(train->plan));
    }
    FIELD_NAME("category", "categories");
    text_add(out, "    .categories = %u,\n", categories);
    FIELD_REAL("planned_seconds", train->plan->seconds);
    FIELD_REAL("flops", model_flops(train));
    FIELD_REAL("peak_flops", request->device->cuda ? request->device->flops_per_second[spec->compute] : 0);
    FIELD_NAME("tensor", "tensors");
    text_add(out, "    .tensors = %u,\n", tensors);
    if (ties) text_add(out, "    .tie = ties,\n    .ties = %u,\n", ties);
    if (transposed) text_add(out, "    .transposed = transposed,\n    .transposed_count = %u,\n", transposed);
    FIELD_INT("batch", g->batch);
    FIELD_INT("context", g->context);
    FIELD_INT("vocab", logits->dim[logits->rank - 1]);
    FIELD_INT("accumulate", g->accumulate);
    FIELD_INT("tokens_offset", offset_of(train, g->tokens));
    FIELD_INT("targets_offset", offset_of(train, g->targets));
    FIELD_INT("mask_offset", offset_of(train, g->mask));
    FIELD_INT("loss_offset", offset_of(train, g->loss_sum));
    FIELD_INT("norm_offset", offset_of(train, g->norm_sum));
    FIELD_NAME("micro_step", names->micro);
    FIELD_NAME("update", names->update);
    text_add(out, "    .updates_within = %d,\n", updates_within(train));
    FIELD_NAME("evaluate", names->evaluate);
    FIELD_NAME("sample", names->sample);
    if (request->sample.graph->context != g->context)
        FIELD_INT("sample_context", request->sample.graph->context);
    FIELD_INT("sample_tokens_offset", offset_of(&request->sample, request->sample.graph->tokens));
    FIELD_INT("sample_logits_offset", offset_of(&request->sample, request->sample.graph->logits));
    if (sampled->room)
        FIELD_INT("sample_logits_pitch",
                  sampled->room / (type_elements(logits) / logits->dim[logits->rank - 1]));
    text_add(out, "    .sample_logits_dtype = %s,\n", logits->dtype == DT_BF16 ? "K_BF16" : "K_F32");
    FIELD_INT("steps", spec->steps);
    FIELD_REAL("learning_rate", spec->learning_rate);
    FIELD_REAL("floor", spec->floor);
    FIELD_NAME("schedule", schedule[spec->schedule]);
    FIELD_INT("warmup_steps", spec->warmup_steps);
    text_add(out, "    .seed = UINT64_C(%" PRIu64 "),\n", spec->seed);
    FIELD_STRING("train_path", spec->train_path);
    FIELD_STRING("validate_path", spec->validate_path);
    FIELD_NAME("format", format[spec->train_format]);
    FIELD_REAL("validate_fraction", spec->validate_fraction);
    FIELD_INT("validate_every", spec->validate_every_steps);
    FIELD_INT("validate_batches", spec->validate_batches);
    FIELD_STRING("save_dir", spec->save_dir);
    FIELD_INT("save_every", spec->save_every_steps);
    FIELD_INT("save_keep", spec->save_keep);
    FIELD_STRING("weights_path", spec->weights_path);
    text_add(out, "};\n\n");
#undef FIELD_STRING
#undef FIELD_INT
#undef FIELD_REAL
#undef FIELD_NAME
}
