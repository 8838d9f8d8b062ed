/* Graphs as text, and back. One line a value that no node makes, one line a node:
 *
 *     graph batch=16 context=256 accumulate=1
 *     block h.0
 *     %0 = input : i32[16, 256]  # tokens
 *     %3 = param normal=0.02 decays m=%90 v=%91 : f32[768, 768]  # h.0.attn.proj.weight
 *     forward
 *     %42 = linear(%40, %7, %8) @0 : f32[16, 256, 768]  # h.0.attn.qkv
 *     %43, %44 = cross_entropy(%42, %1, !%5) : f32[16, 256], f32[1]  # loss
 *     %45 = linear(%41, %3) : bf16[64, 1001] room=65536  # logits
 *
 * "!" marks inputs that are written over, "@" the block. Ids and all fields but spans are kept. The reader
 * believes nothing: what it yields has passed graph_check. */
#include "ir/text.h"
#include "ir/check.h"
#include "ir/ops.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- printing ---- */

static void print_quoted(Text *out, const char *name) {
    size_t n = strlen(name);
    text_add(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < ' ' || c >= 127 || c == '"' || c == '\\')
            text_add(out, "\\%02x", c);
        else
            text_add_n(out, &name[i], 1);
    }
    text_add(out, "\"");
}

/* At the end of a line: bare when the reader takes it as it stands. */
static void print_name(Text *out, const char *name) {
    size_t n = strlen(name);
    bool bare = n && name[0] != '"';
    for (size_t i = 0; i < n; i++) bare &= name[i] > ' ' && name[i] < 127;
    if (bare)
        text_add_n(out, name, n);
    else
        print_quoted(out, name);
}

static void print_attr(Text *out, const Attr *attr) {
    const char *before = " {";
    char digits[32];
#define ATTR_F(name)                                                                                         \
    if (attr->name != 0)                                                                                     \
        text_add(out, "%s" #name "=%s", before, format_number(attr->name, digits)), before = ", ";
#define ATTR_I(name)                                                                                         \
    if (attr->name != 0) text_add(out, "%s" #name "=%lld", before, (long long)attr->name), before = ", ";
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
    if (before[0] == ',') text_add(out, "}");
}

static Role usual_role(const Graph *g, const Node *node, uint32_t i) {
    uint32_t fresh = node->nout - node->nmut;
    if (i >= fresh) return g->value.at[node->in[node->nin - node->nmut + i - fresh]].role;
    return node->phase == PHASE_FORWARD    ? ROLE_ACTIVATION
           : node->phase == PHASE_BACKWARD ? ROLE_GRADIENT
                                           : ROLE_METRIC;
}

static void print_id(Text *out, const char *before, ValueId v) {
    if (v != NONE) text_add(out, "%s%%%u", before, v);
}

static void print_type(Text *out, const Value *value) {
    text_add(out, "%s", type_text(out->arena, &value->type));
    if (value->room) text_add(out, " room=%lld", (long long)value->room);
}

static void print_node(const Graph *g, const Node *node, Text *out) {
    for (uint32_t i = 0; i < node->nout; i++) print_id(out, i ? ", " : "", node->out[i]);
    text_add(out, " = %s(", op_info[node->op].name);
    for (uint32_t i = 0; i < node->nin; i++) {
        text_add(out, "%s", i ? ", " : "");
        print_id(out, i >= node->nin - node->nmut ? "!" : "", node->in[i]);
    }
    text_add(out, ")");
    if (node->block != NONE) text_add(out, " @%u", node->block);
    print_attr(out, &node->attr);
    for (uint32_t i = 0; i < node->nout; i++) {
        const Value *value = &g->value.at[node->out[i]];
        text_add(out, "%s", i ? ", " : " : ");
        print_type(out, value);
        if (value->role != usual_role(g, node, i)) text_add(out, " %s", role_name[value->role]);
        const char *usual = i ? arena_printf(out->arena, "%s.%u", node->name, i) : node->name;
        if (strcmp(value->name, usual)) {
            text_add(out, " as ");
            print_quoted(out, value->name);
        }
    }
    text_add(out, "  # ");
    print_name(out, node->name);
    text_add(out, "\n");
}

static void print_value(const Graph *g, ValueId v, const Param *param, Text *out) {
    const Value *value = &g->value.at[v];
    text_add(out, "%%%u = %s", v, value_kind_name[value->kind]);
    if (value->kind == VALUE_STATE) text_add(out, " %s", role_name[value->role]);
    if (param) {
        char digits[32];
        if (param->adapter) text_add(out, " adapter");
        text_add(out, " %s=%s%s", init_kind_name[param->init], format_number(param->init_value, digits),
                 param->decays ? " decays" : "");
        print_id(out, " m=", param->moment1);
        print_id(out, " v=", param->moment2);
        print_id(out, " master=", param->master);
        print_id(out, " grad=", param->accumulator);
    }
    text_add(out, " : ");
    print_type(out, value);
    text_add(out, "  # ");
    print_name(out, value->name);
    text_add(out, "\n");
}

/* Parameters stand in the order of their list, other values in the order of their ids. */
void graph_print(const Graph *g, Text *out) {
    text_add(out, "graph batch=%lld context=%lld accumulate=%lld", (long long)g->batch, (long long)g->context,
             (long long)g->accumulate);
    print_id(out, " tokens=", g->tokens);
    print_id(out, " targets=", g->targets);
    print_id(out, " mask=", g->mask);
    print_id(out, " first_key=", g->first_key);
    print_id(out, " last_query=", g->last_query);
    print_id(out, " positions=", g->positions);
    print_id(out, " logits=", g->logits);
    print_id(out, " loss_sum=", g->loss_sum);
    print_id(out, " norm_sum=", g->norm_sum);
    text_add(out, "\n");
    for (uint32_t i = 0; i < g->block.count; i++) {
        text_add(out, "block ");
        print_name(out, g->block.at[i]);
        text_add(out, "\n");
    }
    for (ValueId v = 0; v < g->value.count; v++) {
        ValueKind kind = g->value.at[v].kind;
        if (kind == VALUE_INPUT || kind == VALUE_STATE) print_value(g, v, NULL, out);
    }
    for (uint32_t p = 0; p < g->param.count; p++) print_value(g, g->param.at[p].value, &g->param.at[p], out);
    Phase phase = PHASE_COUNT;
    for (NodeId n = 0; n < g->node.count; n++) {
        if (g->node.at[n].phase != phase) text_add(out, "%s\n", phase_name[phase = g->node.at[n].phase]);
        print_node(g, &g->node.at[n], out);
    }
}

/* ---- reading ---- */

typedef struct Reader {
    Graph *g;
    Arena *arena;
    const char *at;
    uint32_t line, most; /* ids are below `most` */
    Phase phase;
    const char *error; /* the first one; every take_ below fails once it is set */
} Reader;

static void fail(Reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(Reader *r, const char *format, ...) {
    if (r->error) return;
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    r->error = arena_printf(r->arena, "line %u: %s", r->line, what);
}

static void skip_spaces(Reader *r) {
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') r->at++;
}

/* Takes `mark` if it comes next. */
static bool take(Reader *r, const char *mark) {
    size_t n = strlen(mark);
    skip_spaces(r);
    if (r->error || strncmp(r->at, mark, n)) return false;
    if (isalnum((unsigned char)mark[n - 1]) && (isalnum((unsigned char)r->at[n]) || r->at[n] == '_'))
        return false;
    r->at += n;
    return true;
}

static void must(Reader *r, const char *mark) {
    if (!take(r, mark)) fail(r, "expected '%s' before '%.12s'", mark, r->at);
}

static const char *take_word(Reader *r) {
    skip_spaces(r);
    const char *from = r->at;
    while (isalnum((unsigned char)*r->at) || *r->at == '_') r->at++;
    if (r->at == from) fail(r, "expected a word before '%.12s'", from);
    return arena_strndup(r->arena, from, (size_t)(r->at - from));
}

static int64_t take_integer(Reader *r) {
    char *end;
    skip_spaces(r);
    long long value = strtoll(r->at, &end, 10);
    if (end == r->at || *r->at == '\n') fail(r, "expected a number before '%.12s'", r->at);
    r->at = end;
    return value;
}

static double take_number(Reader *r) {
    char *end;
    skip_spaces(r);
    double value = strtod(r->at, &end);
    if (end == r->at || *r->at == '\n' || !isfinite(value))
        fail(r, "expected a number before '%.12s'", r->at);
    r->at = end;
    return value;
}

static ValueId take_id(Reader *r) {
    must(r, "%");
    if (r->error) return 0;
    int64_t id = take_integer(r);
    if (id < 0 || id >= r->most) fail(r, "%%%lld is no value", (long long)id);
    return r->error ? 0 : (ValueId)id;
}

static const char *take_name(Reader *r) {
    skip_spaces(r);
    const char *from = r->at;
    if (*from != '"') {
        while (*r->at > ' ' || *r->at < 0) r->at++;
        if (r->at == from) fail(r, "expected a name");
        return arena_strndup(r->arena, from, (size_t)(r->at - from));
    }
    Text name = {.arena = r->arena};
    text_add(&name, "%s", "");
    for (r->at++; *r->at && *r->at != '"' && *r->at != '\n'; r->at++) {
        char c = *r->at;
        if (c == '\\') {
            char hex[3] = {r->at[1], r->at[1] ? r->at[2] : 0, 0}, *end;
            c = (char)strtol(hex, &end, 16);
            if (end != hex + 2 || !c) fail(r, "bad escape in a name");
            if (r->error) return "";
            r->at += 2;
        }
        text_add_n(&name, &c, 1);
    }
    if (*r->at != '"')
        fail(r, "a name without its closing quote");
    else
        r->at++;
    return name.at ? name.at : "";
}

static Type take_type(Reader *r) {
    Type type = {0};
    const char *word = take_word(r);
    int dtype = 0;
    while (dtype < DT_COUNT && strcmp(word, dtype_name[dtype])) dtype++;
    if (dtype == DT_COUNT)
        fail(r, "unknown type '%.40s'", word);
    else
        type.dtype = (DType)dtype;
    must(r, "[");
    do {
        int64_t dim = take_integer(r);
        if (type.rank == MAX_RANK)
            fail(r, "more than %d dimensions", MAX_RANK);
        else
            type.dim[type.rank++] = dim;
    } while (!r->error && take(r, ","));
    must(r, "]");
    return type;
}

static int64_t take_room(Reader *r) {
    if (!take(r, "room")) return 0;
    must(r, "=");
    return r->error ? 0 : take_integer(r);
}

/* The role named next, if any. */
static Role take_role(Reader *r, Role usual) {
    for (int role = 0; role < ROLE_COUNT; role++)
        if (take(r, role_name[role])) return (Role)role;
    return usual;
}

/* Where value `id` is to be; dies out by an error when it was there before. */
static Value *new_value(Reader *r, ValueId id) {
    static const char missing[] = "";
    while (r->g->value.count <= id) vec_add(r->arena, &r->g->value)->name = missing;
    Value *value = &r->g->value.at[id];
    if (value->name != missing) fail(r, "%%%u is there twice", id);
    return value;
}

static void take_attr(Reader *r, Attr *attr) {
    do {
        const char *word = take_word(r);
        bool known = false;
        must(r, "=");
        if (r->error) return;
#define ATTR_F(name)                                                                                         \
    if (!strcmp(word, #name)) attr->name = take_number(r), known = true;
#define ATTR_I(name)                                                                                         \
    if (!strcmp(word, #name)) attr->name = take_integer(r), known = true;
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
        if (!known) fail(r, "unknown attribute '%.40s'", word);
    } while (!r->error && take(r, ","));
    must(r, "}");
}

typedef VEC(ValueId) Ids;

/* After the operation's name: (inputs) @block {attributes} : types # name */
static void take_node(Reader *r, Op op, const Ids *out) {
    Graph *g = r->g;
    Node node = {.op = op, .nout = out->count, .phase = r->phase, .block = NONE};
    Ids in = {0};
    must(r, "(");
    while (!r->error && !take(r, ")")) {
        if (in.count) must(r, ",");
        if (take(r, "!"))
            node.nmut++;
        else if (node.nmut)
            fail(r, "inputs that are written over come last");
        *vec_add(r->arena, &in) = take_id(r);
    }
    if (take(r, "@")) {
        int64_t block = take_integer(r);
        if (block < 0 || block >= g->block.count) fail(r, "no block %lld", (long long)block);
        node.block = (uint32_t)block;
    }
    if (take(r, "{")) take_attr(r, &node.attr);
    if (node.nmut > node.nout) fail(r, "more inputs written over than outputs");
    node.nin = in.count;
    node.in = in.at;
    node.out = out->at;
    const char **name = NEW_ARRAY(r->arena, const char *, out->count);
    must(r, ":");
    for (uint32_t i = 0; i < out->count && !r->error; i++) {
        if (i) must(r, ",");
        for (uint32_t j = 0; j < node.nin; j++)
            if (node.in[j] >= g->value.count) fail(r, "%%%u is made only later", node.in[j]);
        Type type = take_type(r);
        int64_t room = take_room(r);
        if (r->error) return;
        Role role = take_role(r, usual_role(g, &node, i));
        if (take(r, "as")) name[i] = take_name(r);
        Value *value = new_value(r, out->at[i]);
        *value = (Value){.type = type,
                         .def = g->node.count,
                         .out_index = i,
                         .kind = VALUE_ACTIVATION,
                         .role = role,
                         .room = room};
    }
    must(r, "#");
    node.name = take_name(r);
    if (r->error) return;
    for (uint32_t i = 0; i < out->count; i++)
        g->value.at[out->at[i]].name = name[i] ? name[i]
                                       : i     ? arena_printf(r->arena, "%s.%u", node.name, i)
                                               : node.name;
    *vec_add(r->arena, &g->node) = node;
}

/* After the kind: its particulars : type # name */
static void take_value(Reader *r, ValueKind kind, ValueId id) {
    Value value = {.def = NONE, .kind = kind};
    bool weight = kind == VALUE_PARAM || kind == VALUE_FROZEN;
    value.role = kind == VALUE_INPUT ? ROLE_INPUT : weight ? ROLE_WEIGHT : take_role(r, ROLE_METRIC);
    if (weight) {
        Param param = {.value = id, .moment1 = NONE, .moment2 = NONE, .master = NONE, .accumulator = NONE};
        param.adapter = take(r, "adapter");
        while (param.init + 1 < INIT_KIND_COUNT && !take(r, init_kind_name[param.init])) param.init++;
        if (param.init + 1 == INIT_KIND_COUNT) must(r, init_kind_name[param.init]);
        must(r, "=");
        param.init_value = take_number(r);
        param.decays = take(r, "decays");
        if (take(r, "m")) must(r, "="), param.moment1 = take_id(r);
        if (take(r, "v")) must(r, "="), param.moment2 = take_id(r);
        if (take(r, "master")) must(r, "="), param.master = take_id(r);
        if (take(r, "grad")) must(r, "="), param.accumulator = take_id(r);
        *vec_add(r->arena, &r->g->param) = param;
    }
    must(r, ":");
    value.type = take_type(r);
    value.room = take_room(r);
    must(r, "#");
    value.name = take_name(r);
    if (!r->error) *new_value(r, id) = value;
}

/* %1, %2 = ... */
static void take_definition(Reader *r) {
    Ids out = {0};
    do *vec_add(r->arena, &out) = take_id(r);
    while (!r->error && take(r, ","));
    must(r, "=");
    if (r->error) return;
    const char *word = take_word(r);
    for (int kind = 0; kind < VALUE_ACTIVATION; kind++)
        if (!strcmp(word, value_kind_name[kind])) {
            if (out.count > 1)
                fail(r, "%s makes one value", word);
            else
                take_value(r, (ValueKind)kind, out.at[0]);
            return;
        }
    Op op = op_find(word);
    if (op == OP_COUNT)
        fail(r, "unknown op '%.40s'", word);
    else
        take_node(r, op, &out);
}

static void take_header(Reader *r) {
    Graph *g = r->g;
    while (!r->error && *(skip_spaces(r), r->at) != '\n' && *r->at) {
        const char *word = take_word(r);
        must(r, "=");
        if (r->error) return;
        if (!strcmp(word, "batch"))
            g->batch = take_integer(r);
        else if (!strcmp(word, "context"))
            g->context = take_integer(r);
        else if (!strcmp(word, "accumulate"))
            g->accumulate = take_integer(r);
        else if (!strcmp(word, "tokens"))
            g->tokens = take_id(r);
        else if (!strcmp(word, "targets"))
            g->targets = take_id(r);
        else if (!strcmp(word, "mask"))
            g->mask = take_id(r);
        else if (!strcmp(word, "first_key"))
            g->first_key = take_id(r);
        else if (!strcmp(word, "last_query"))
            g->last_query = take_id(r);
        else if (!strcmp(word, "positions"))
            g->positions = take_id(r);
        else if (!strcmp(word, "logits"))
            g->logits = take_id(r);
        else if (!strcmp(word, "loss_sum"))
            g->loss_sum = take_id(r);
        else if (!strcmp(word, "norm_sum"))
            g->norm_sum = take_id(r);
        else
            fail(r, "unknown field '%.40s'", word);
    }
}

static void take_line(Reader *r) {
    if (take(r, "graph")) {
        if (r->line > 1) fail(r, "a second graph");
        take_header(r);
    } else if (r->line == 1) {
        fail(r, "expected 'graph' first");
    } else if (take(r, "block")) {
        const char *name = take_name(r);
        *vec_add(r->arena, &r->g->block) = name;
    } else if (take(r, phase_name[PHASE_FORWARD])) {
        r->phase = PHASE_FORWARD;
    } else if (take(r, phase_name[PHASE_BACKWARD])) {
        r->phase = PHASE_BACKWARD;
    } else if (take(r, phase_name[PHASE_UPDATE])) {
        r->phase = PHASE_UPDATE;
    } else if (*r->at != '\n' && *r->at) {
        take_definition(r);
    }
    skip_spaces(r);
    if (!r->error && *r->at && *r->at != '\n') fail(r, "'%.12s' is one thing too many", r->at);
}

Graph *graph_read(const char *text, Arena *arena, const char **error) {
    Reader r = {.g = graph_new(arena), .arena = arena, .at = text, .line = 1};
    size_t length = strlen(text);
    if (length > UINT32_MAX / 2) {
        *error = "line 1: too long for a graph";
        return NULL;
    }
    for (const char *c = text; *c; c++) r.most += *c == '%'; /* each value is named where it is made */
    for (;; r.line++) {
        take_line(&r);
        if (r.error || !*r.at) break;
        r.at++;
    }
    for (ValueId v = 0; v < r.g->value.count && !r.error; v++)
        if (!*r.g->value.at[v].name) r.error = arena_printf(arena, "%%%u is nowhere made", v);
    if (!r.error) r.error = graph_check(r.g, arena);
    *error = r.error;
    return r.error ? NULL : r.g;
}
