/* In: an item of a step. Out: its line of C: a call of a kernel, a copy to host memory or back, a wait, the
 * end of a buffer's life. Slots are named from left to right. */
#include "codegen/item.h"
#include "ir/ops.h"

#include <inttypes.h>

const char *const dtype_macro[DT_COUNT] = {
#define DTYPE(name, NAME, bytes) #NAME,
#include "kernels/dtype.def"
#undef DTYPE
};

typedef struct Printer {
    const Graph *g;
    const char *const *slot_text;
    uint32_t next; /* slot of the item */
    Text *out;
} Printer;

static const char *next_slot(Printer *p) {
    const char *text = p->slot_text ? p->slot_text[p->next] : "@";
    p->next++;
    return text;
}

static void print_tensor(Printer *p, ValueId value) {
    const Value *tensor = &p->g->value.at[value];
    const Type *type = &tensor->type;
    if (tensor->room)
        text_add(p->out, "ROOM(INT64_C(%" PRId64 "), %s, %s", tensor->room, dtype_macro[type->dtype],
                 next_slot(p));
    else
        text_add(p->out, "%s(%s", dtype_macro[type->dtype], next_slot(p));
    for (int i = 0; i < type->rank; i++) text_add(p->out, ", %" PRId64, type->dim[i]);
    text_add(p->out, ")");
}

static void print_attributes(Printer *p, const Attr *attr) {
    const char *comma = "";
    char digits[32];
    Text list = {.arena = p->out->arena};
#define ATTR_F(name)                                                                                         \
    if (attr->name != 0)                                                                                     \
        text_add(&list, "%s." #name " = %s", comma, format_number(attr->name, digits)), comma = ", ";
#define ATTR_I(name)                                                                                         \
    if (attr->name != 0) text_add(&list, "%s." #name " = %s", comma, next_slot(p)), comma = ", ";
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
    if (list.length)
        text_add(p->out, "ATTR(%s)", list.at);
    else
        text_add(p->out, "NO_ATTR");
}

static void print_tensors(Printer *p, const ValueId *value, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (i) text_add(p->out, ", ");
        print_tensor(p, value[i]);
    }
}

static void print_rest_of_call(Printer *p, const Node *node, int64_t workspace_bytes) {
    print_attributes(p, &node->attr);
    if (!workspace_bytes)
        text_add(p->out, ", NO_WORKSPACE);\n");
    else
        text_add(p->out, ", WORKSPACE(%s, INT64_C(%" PRId64 ")));\n", next_slot(p), workspace_bytes);
}

/* `variant`: of the next call, where it takes another than the first (kernels/variant.def). */
static void print_variant(Printer *p, int variant) {
    if (variant && !k_variant_is_first(variant))
        text_add(p->out, "    VARIANT(%s);\n", k_variant_name(variant));
}

static void print_call(Printer *p, const Node *node, int64_t workspace_bytes) {
    text_add(p->out, "    CALL(%s, OUT(", op_info[node->op].name);
    print_tensors(p, node->out, node->nout);
    text_add(p->out, "),\n         IN(");
    print_tensors(p, node->in, node->nin);
    text_add(p->out, "),\n         ");
    print_rest_of_call(p, node, workspace_bytes);
}

Taken item_taken(const Node *node, uint32_t t) {
    const uint32_t tensors = op_tensors(node), first = node->nin - node->nmut, each = node->nmut / tensors;
    if (t == tensors)
        return (Taken){tensors, first - tensors, first + each * tensors, node->nmut - each * tensors};
    return (Taken){t, 1, first + each * t, each};
}

static void print_take(Printer *p, const Node *node, uint32_t t) {
    const Taken taken = item_taken(node, t);
    const struct {
        const char *name;
        uint32_t first, count;
    } part[] = {{"TAKE", taken.read, taken.reads}, {"TAKE_OVER", taken.over, taken.overs}};
    for (size_t i = 0; i < COUNT_OF(part); i++) {
        if (!part[i].count) continue;
        text_add(p->out, "    %s(", part[i].name);
        print_tensors(p, node->in + part[i].first, part[i].count);
        text_add(p->out, ");\n");
    }
}

void item_print_call(const Graph *g, const Node *node, int64_t workspace_bytes, const char *const *slot_text,
                     Text *out) {
    Printer p = {.g = g, .slot_text = slot_text, .out = out};
    print_call(&p, node, workspace_bytes);
}

/* Of the step's workspace; 0: it has none. */
static int64_t workspace_bytes(const Part *part, uint32_t step, const Node *node) {
    uint32_t buffer = part->layout->bind.at[part->layout->first[step] + node->nout + node->nin];
    return buffer == NONE ? 0 : part->layout->buf.at[buffer].bytes;
}

void item_print(const Steps *steps, const Item *item, const char *const *slot_text, Text *out) {
    const Part *part = steps->part;
    Printer p = {.g = part->graph, .slot_text = slot_text, .out = out};
    const Step *step = &part->plan->step.at[item->step];
    if (item->kind == ITEM_CALL) {
        const Node *node = &part->graph->node.at[step->node];
        const int64_t bytes = workspace_bytes(part, item->step, node);
        print_variant(&p, part->cost[step->node].variant);
        if (op_tensors(node) == 1) {
            print_call(&p, node, bytes);
        } else {
            text_add(out, "    CALL_TAKEN(%s, ", op_info[node->op].name);
            print_rest_of_call(&p, node, bytes);
        }
    } else if (item->kind == ITEM_TAKE) {
        print_take(&p, &part->graph->node.at[step->node], item->tensor);
    } else if (item->kind == ITEM_WAIT) {
        text_add(out, "    WAIT(%s);\n", next_slot(&p));
    } else if (item->kind == ITEM_FREE) {
        const Buf *buf = &part->layout->buf.at[steps->slot.at[item->slot].buffer];
        text_add(out, "    FREE(%s, INT64_C(%" PRId64 "));\n", next_slot(&p), buf->bytes);
    } else {
        const char *ticket = next_slot(&p), *at = next_slot(&p), *host = next_slot(&p);
        text_add(out, "    %s(%s, %s, %s, INT64_C(%" PRId64 "));\n",
                 item->kind == ITEM_OFFLOAD ? "OFFLOAD" : "FETCH", ticket, at, host,
                 value_bytes(&part->graph->value.at[step->value]));
    }
}
