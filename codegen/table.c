/* In: a planned training program. Out: its tables as C: persistent tensors, planned memory by category, and
 * the RtProgram that rt_main runs (runtime/rt.h says what every field means). */
#include "codegen/emit.h"
#include "codegen/item.h"
#include "codegen/homes.h"
#include "ir/ops.h"
#include "planner/layout/live.h"

#include <inttypes.h>
#include <string.h>

void emit_string(Text *out, const char *text) {
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

typedef struct Row {
    ValueId id;
    const char *kind; /* "RT_PARAM" */
    InitKind init;
    double init_value;
    uint32_t of; /* the parameter */
} Row;
typedef VEC(Row) Rows;

/* Parameters first. */
static Rows find_rows(const Graph *g, Arena *arena) {
    static const char *const state_kind[HOME_KIND_COUNT] = {[HOME_MASTER] = "RT_MASTER",
                                                            [HOME_MOMENT1] = "RT_MOMENT1",
                                                            [HOME_MOMENT2] = "RT_MOMENT2",
                                                            [HOME_GRADIENT] = "RT_ACCUMULATOR"};
    Rows rows = {0};
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Param *param = &g->param.at[p];
        const char *kind = g->value.at[param->value].kind == VALUE_FROZEN ? "RT_FROZEN"
                           : param->adapter                               ? "RT_ADAPTER"
                                                                          : "RT_PARAM";
        *vec_add(arena, &rows) = (Row){param->value, kind, param->init, param->init_value, p};
    }
    for (uint32_t p = 0; p < g->param.count; p++) {
        static const HomeKind order[] = {HOME_MASTER, HOME_MOMENT1, HOME_MOMENT2, HOME_GRADIENT};
        for (size_t i = 0; i < COUNT_OF(order); i++) {
            ValueId state = home_value(&g->param.at[p], order[i]);
            if (state != NONE)
                *vec_add(arena, &rows) = (Row){state, state_kind[order[i]], INIT_CONSTANT, 0, p};
        }
    }
    return rows;
}

static const Home *home_of(const Homes *homes, ValueId id) {
    if (homes->of_value[id] == NONE) die("%s has no place", homes->graph->value.at[id].name);
    return &homes->home.at[homes->of_value[id]];
}

/* The name with `number` in place of the layer's own; NULL where it has none. "m.h.0.w" in layer "h.0" ->
 * "m.h.*.w" */
static const char *name_with(const Homes *homes, ValueId id, const char *number) {
    const Home *home = home_of(homes, id);
    const Family *family = &homes->blocks->families.at[homes->table.at[home->table].family];
    const char *block = homes->blocks->name.at[family->member.at[home->ordinal]],
               *star = strchr(family->name, '*');
    const char *at = strstr(home->name, arena_printf(homes->arena, "%s.", block));
    if (!at || !star) return NULL;
    return arena_printf(homes->arena, "%.*s%.*s%s%s%s", (int)(at - home->name), home->name,
                        (int)(star - family->name), family->name, number, star + 1, at + strlen(block));
}

/* Whether `row` is in layer `layer` what `first` is in layer 0, so that one row can stand for both. */
static bool is_same(const Homes *homes, const Row *first, const Row *row, uint32_t layer,
                    uint32_t parameters) {
    const Home *a = home_of(homes, first->id), *b = home_of(homes, row->id);
    if (a->table != b->table || a->column != b->column || b->ordinal != layer) return false;
    const Family *family = &homes->blocks->families.at[homes->table.at[a->table].family];
    const char *number = arena_printf(homes->arena, "%u", family->first + layer);
    const char *name = name_with(homes, first->id, number);
    return name && !strcmp(name, b->name) && !strcmp(first->kind, row->kind) && first->init == row->init &&
           first->init_value == row->init_value && row->of == first->of + layer * parameters;
}

/* How many rows from `begin` on are those of a first layer which all its others repeat; 0: none. */
static uint32_t repeated_rows(const Homes *homes, const Rows *rows, uint32_t begin, uint32_t *layers,
                              uint32_t *parameters) {
    const Home *first = home_of(homes, rows->at[begin].id);
    if (first->table == NONE || first->ordinal != 0) return 0;
    uint32_t f = homes->table.at[first->table].family, count = 0;
    const Family *family = &homes->blocks->families.at[f];
    for (; begin + count < rows->count; count++) {
        const Home *home = home_of(homes, rows->at[begin + count].id);
        if (home->table == NONE || home->ordinal != 0 || homes->table.at[home->table].family != f) break;
        if (strchr(home->name, '*')) return 0;
    }
    *layers = family->member.count;
    *parameters = rows->at[begin + count - 1].of - rows->at[begin].of + 1;
    if (!family->numbered || begin + count * *layers > rows->count) return 0;
    for (uint32_t layer = 0; layer < *layers; layer++)
        for (uint32_t i = 0; i < count; i++)
            if (!is_same(homes, &rows->at[begin + i], &rows->at[begin + layer * count + i], layer,
                         *parameters))
                return 0;
    return count;
}

static void add_row(Text *out, const Homes *homes, const Row *row, bool repeated) {
    const Value *value = &homes->graph->value.at[row->id];
    const Home *home = home_of(homes, row->id);
    char digits[32];
    text_add(out, "    {");
    emit_string(out, repeated ? name_with(homes, row->id, "*") : value->name);
    text_add(out, ", %s, K_%s, %d, {", row->kind, dtype_macro[value->type.dtype], value->type.rank);
    for (int i = 0; i < value->type.rank; i++) text_add(out, "%s%" PRId64, i ? ", " : "", value->type.dim[i]);
    text_add(out, "}, INT64_C(%" PRId64 "), %d, %s, %u", repeated ? 0 : home->offset, row->init,
             format_number(row->init_value, digits), row->of);
    if (value->room || repeated) text_add(out, ", INT64_C(%" PRId64 ")", value->room);
    if (repeated) {
        const HomeTable *table = &homes->table.at[home->table];
        text_add(out, ", COLUMN(%s, %s)", table->name, table->column.at[home->column].member);
    }
    text_add(out, "},\n");
}

typedef struct TensorCounts {
    uint32_t rows, repeats;
} TensorCounts;

static TensorCounts add_tensors(Text *out, const Homes *homes) {
    Rows rows = find_rows(homes->graph, out->arena);
    Text layers = {.arena = out->arena};
    TensorCounts counts = {0};
    text_add(out, "static const RtTensor tensors[] = {\n"
                  "    /* name, kind, type, shape, offset, initialisation, parameter it belongs to */\n");
    for (uint32_t i = 0; i < rows.count;) {
        uint32_t repeats = 1, parameters, count = repeated_rows(homes, &rows, i, &repeats, &parameters);
        if (count) {
            uint32_t family = homes->table.at[home_of(homes, rows.at[i].id)->table].family;
            text_add(&layers, "    {%u, %u, %u, %u, %u},\n", counts.rows, count, repeats,
                     homes->blocks->families.at[family].first, parameters);
            counts.repeats++;
        }
        for (uint32_t k = 0; k < (count ? count : 1); k++) add_row(out, homes, &rows.at[i + k], count > 0);
        counts.rows += count ? count : 1;
        i += count ? count * repeats : 1;
    }
    text_add(out, "};\n\n");
    if (counts.repeats)
        text_add(out,
                 "static const RtLayers layers[] = {\n"
                 "    /* rows of tensors: the first, how many are a layer's; layers; the first's number; its "
                 "parameters */\n"
                 "%s};\n\n",
                 layers.at);
    return counts;
}

static uint32_t add_ties(Text *out, const Graph *g) {
    uint32_t rows = 0;
    for (uint32_t p = 0; p < g->param.count; p++)
        for (const Tie *tie = g->param.at[p].tie; tie; tie = tie->next, rows++) {
            text_add(out, rows ? "    {" : "static const RtTie ties[] = {\n    {");
            emit_string(out, tie->name);
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

/* One ticket each (stretch.c). */
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

/* Operands of the largest call that works over several tensors. */
static uint32_t most_taken(const Graph *g) {
    uint32_t most = 0;
    for (NodeId n = 0; n < g->node.count; n++)
        if (op_tensors(&g->node.at[n]) > 1 && g->node.at[n].nin > most) most = g->node.at[n].nin;
    return most;
}

/* Where documents are told apart, in training and in sampling. */
static bool add_documents(Text *out, const Part *train, const Part *sample) {
    const Graph *g = train->graph, *one = sample->graph;
    if (g->first_key == NONE && g->positions == NONE) return false;
    text_add(out, "static const RtDocumentInputs documents = {\n");
    const struct {
        const char *name;
        int64_t offset;
    } field[] = {{"first_key_offset", offset_of(train, g->first_key)},
                 {"last_query_offset", offset_of(train, g->last_query)},
                 {"positions_offset", offset_of(train, g->positions)},
                 {"sample_first_key_offset", offset_of(sample, one->first_key)},
                 {"sample_last_query_offset", offset_of(sample, one->last_query)},
                 {"sample_positions_offset", offset_of(sample, one->positions)}};
    for (size_t i = 0; i < COUNT_OF(field); i++)
        text_add(out, "    .%s = INT64_C(%" PRId64 "),\n", field[i].name, field[i].offset);
    text_add(out, "};\n\n");
    return true;
}

/* Sampling a token at a time. */
static void add_step(Text *out, const EmitRequest *request, const char *steps) {
    const Part *step = &request->step;
    text_add(out,
             "    .step = %s,\n"
             "    .step_token_offset = INT64_C(%" PRId64 "),\n"
             "    .step_position_offset = INT64_C(%" PRId64 "),\n"
             "    .step_logits_offset = INT64_C(%" PRId64 "),\n",
             steps, offset_of(step, step->graph->tokens), offset_of(step, step->graph->positions),
             offset_of(step, step->graph->logits));
    if (request->prompt_at_once)
        text_add(out,
                 "    .prompt_at_once = INT64_C(%" PRId64 "),\n"
                 "    .sample_positions_offset = INT64_C(%" PRId64 "),\n",
                 request->prompt_at_once, offset_of(&request->sample, request->sample.graph->positions));
}

/* Which tokens the program is for: what others made of the same text is refused. */
static void add_prepared(Text *out, const EmitData *data) {
    text_add(out,
             "    .prepared = 1,\n    .encoding = UINT64_C(0x%016" PRIx64 "),\n"
             "    .train_text = UINT64_C(0x%016" PRIx64 "),\n    .validate_text = UINT64_C(0x%016" PRIx64
             "),\n",
             data->encoding, data->train_text, data->validate_text);
}

/* The algorithms that a profile chose for products of the program; how many. Each stands there once. */
static uint32_t add_products(Text *out, const EmitRequest *request) {
    const Part *const part[] = {&request->train, &request->evaluate, &request->sample, &request->step};
    VEC(const KChoice *) seen = {0};
    for (size_t p = 0; p < COUNT_OF(part) && request->cuda; p++)
        for (NodeId n = 0; part[p]->graph && n < part[p]->graph->node.count; n++) {
            const KChoice *choice = part[p]->cost[n].product;
            uint32_t i = 0;
            while (i < seen.count && seen.at[i] != choice) i++;
            if (choice && i == seen.count) *vec_add(out->arena, &seen) = choice;
        }
    if (seen.count)
        text_add(out, "/* What `rematc tune` found the fastest (kernels/product.h; operands and result are "
                      "KDType). */\n"
                      "static const KChoice products[] = {\n");
    for (uint32_t i = 0; i < seen.count; i++) {
        text_add(out, "    {{");
        const char *between = "";
#define SHAPE(name)                                                                                          \
    text_add(out, "%s." #name " = %" PRId64, between, seen.at[i]->shape.name);                               \
    between = ", ";
#include "kernels/product.def"
        text_add(out, "},\n     {");
        between = "";
#define ALGORITHM(name, ATTRIBUTE, type)                                                                     \
    text_add(out, "%s." #name " = %" PRId64, between, seen.at[i]->algorithm.name);                           \
    between = ", ";
#include "kernels/product.def"
        text_add(out, "}},\n");
    }
    if (seen.count) text_add(out, "};\n");
    return seen.count;
}

void emit_tables(const EmitRequest *request, const EmitNames *names, const Homes *homes, Text *out) {
    const Spec *spec = request->spec;
    const Part *train = &request->train;
    const Graph *g = train->graph;
    static const char *const schedule[] = {[SCHEDULE_CONSTANT] = "RT_CONSTANT",
                                           [SCHEDULE_COSINE] = "RT_COSINE",
                                           [SCHEDULE_LINEAR] = "RT_LINEAR",
                                           [SCHEDULE_WSD] = "RT_WSD"};
    static const char *const format[] = {
        [DATA_AUTO] = "RT_AUTO", [DATA_BYTES] = "RT_BYTES",     [DATA_U16] = "RT_U16",
        [DATA_U32] = "RT_U32",   [DATA_LLMC] = "RT_LLMC",       [DATA_DOCUMENTS] = "RT_DOCUMENTS",
        [DATA_TEXT] = "RT_TEXT", [DATA_JSONL] = "RT_DOCUMENTS", [DATA_CHAT] = "RT_DOCUMENTS"};
    _Static_assert(COUNT_OF(format) == DATA_FORMATS, "a format of the runtime for each DataFormat");
    TensorCounts tensors = add_tensors(out, homes);
    uint32_t categories = add_categories(out, train);
    uint32_t ties = add_ties(out, g), transposed = add_transposed(out, g);
    uint32_t products = add_products(out, request);
    bool documents = add_documents(out, train, &request->sample);
    const Value *sampled = &request->sample.graph->value.at[request->sample.graph->logits];
    const Type *logits = &sampled->type;
    char digits[32];
    text_add(out, "static const RtProgram program = {\n");
#define FIELD_STRING(name, value)                                                                            \
    (text_add(out, "    ." name " = "), emit_string(out, value), text_add(out, ",\n"))
#define FIELD_INT(name, value)  text_add(out, "    ." name " = INT64_C(%" PRId64 "),\n", (int64_t)(value))
#define FIELD_REAL(name, value) text_add(out, "    ." name " = %s,\n", format_number(value, digits))
#define FIELD_NAME(name, value) text_add(out, "    ." name " = %s,\n", value)
    FIELD_STRING("model", spec->model);
    FIELD_STRING("source", spec->path);
    FIELD_STRING("target", request->cuda ? "cuda" : "host");
    FIELD_STRING("device", request->device->name);
    if (products) {
        text_add(out, "    .product = products,\n    .products = %u,\n", products);
        FIELD_STRING("libraries", profile_origin(request->device->profile)->compiler);
    }
    FIELD_INT("arena_bytes", request->arena_bytes);
    if (request->cuda) {
        FIELD_INT("reserved_bytes", request->device->reserved_bytes);
        FIELD_INT("code_bytes", request->device->code.bytes);
    }
    if (!request->cuda) FIELD_INT("process_bytes", process_bytes(request));
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
    text_add(out, "    .tensors = %u,\n", tensors.rows);
    if (tensors.repeats) text_add(out, "    .layers = layers,\n    .repeats = %u,\n", tensors.repeats);
    if (ties) text_add(out, "    .tie = ties,\n    .ties = %u,\n", ties);
    if (transposed) text_add(out, "    .transposed = transposed,\n    .transposed_count = %u,\n", transposed);
    FIELD_INT("batch", g->batch);
    FIELD_INT("context", g->context);
    FIELD_INT("vocab", logits->dim[logits->rank - 1]);
    FIELD_INT("accumulate", g->accumulate);
    FIELD_INT("tokens_offset", offset_of(train, g->tokens));
    FIELD_INT("targets_offset", offset_of(train, g->targets));
    FIELD_INT("mask_offset", offset_of(train, g->mask));
    if (documents) FIELD_NAME("documents", "&documents");
    FIELD_INT("loss_offset", offset_of(train, g->loss_sum));
    FIELD_INT("norm_offset", offset_of(train, g->norm_sum));
    FIELD_NAME("micro_step", names->micro);
    FIELD_NAME("update", names->update);
    text_add(out, "    .updates_within = %d,\n", updates_within(train));
    if (most_taken(g)) text_add(out, "    .most_taken = %u,\n", most_taken(g));
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
    if (names->step) add_step(out, request, names->step);
    FIELD_INT("steps", spec->steps);
    if (spec->epochs) FIELD_INT("epochs", spec->epochs);
    if (request->cuda) {
        FIELD_REAL("beta1", spec->beta1);
        FIELD_REAL("beta2", spec->beta2);
    }
    FIELD_REAL("learning_rate", spec->learning_rate);
    FIELD_REAL("floor", spec->floor);
    FIELD_NAME("schedule", schedule[spec->schedule]);
    FIELD_INT("warmup_steps", spec->warmup_steps);
    if (spec->schedule == SCHEDULE_WSD) FIELD_REAL("decay_part", spec->decay_part);
    if (spec->guard_spread > 0) FIELD_REAL("guard_spread", spec->guard_spread);
    text_add(out, "    .seed = UINT64_C(%" PRIu64 "),\n", spec->seed);
    FIELD_STRING("train_path", request->data.train_path);
    FIELD_STRING("validate_path", request->data.validate_path);
    FIELD_NAME("format", format[spec->train_format]);
    if (spec->rows_apart) text_add(out, "    .rows_apart = 1,\n");
    if (data_is_prepared(spec->train_format)) add_prepared(out, &request->data);
    FIELD_REAL("validate_fraction", spec->validate_fraction);
    FIELD_INT("validate_every", spec->validate_every_steps);
    FIELD_INT("validate_batches", spec->validate_batches);
    FIELD_STRING("save_dir", spec->save_dir);
    FIELD_INT("save_every", spec->save_every_steps);
    FIELD_INT("save_keep", spec->save_keep);
    FIELD_STRING("weights_path", spec->weights_path);
    if (spec->adapt.rank) {
        FIELD_INT("adapter_rank", spec->adapt.rank);
        FIELD_REAL("adapter_alpha", spec->adapt.alpha);
        FIELD_REAL("adapter_dropout", spec->adapt.dropout);
        text_add(out, "    .adapter_rank_stabilized = %d,\n", spec->adapt.rank_stabilized);
    }
    if (spec->adapter_path) FIELD_STRING("adapter_path", spec->adapter_path);
    if (spec->merged_path) FIELD_STRING("merged_path", spec->merged_path);
    if (spec->merged_unquantised)
        FIELD_STRING("merged_onto_path",
                     spec->merged_onto_path ? spec->merged_onto_path : spec->weights_path);
    text_add(out, "};\n\n");
#undef FIELD_STRING
#undef FIELD_INT
#undef FIELD_REAL
#undef FIELD_NAME
}
