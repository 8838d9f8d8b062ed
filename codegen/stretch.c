/* In: a plan and its layout. Out: its steps as items, cut where another block or another phase begins, and
 * the stretches that are alike gathered. Invariant: the items are exactly the plan's steps in the plan's
 * order, but that a FREE of what another value took over in place is none. Copies to host memory and back
 * have a ticket each, and a WAIT for it where the plan says so (planner/plan.h). */
#include "codegen/stretch.h"
#include "codegen/item.h"
#include "ir/ops.h"

#include <string.h>

typedef struct Cutter {
    Steps *steps;
    uint32_t tickets; /* given out */
    uint32_t *ticket; /* by root: the copy its current instance must be waited for; NONE */
    bool *fetched;    /* by root: that copy is a fetch */
    uint32_t *served; /* by step: the next RUN, its own or a later one; NONE */
    uint32_t *again;  /* by step: how many recomputations of its block stand together here */
} Cutter;

/* ---- items ---- */

static Item *add_item(Cutter *c, ItemKind kind, uint32_t step) {
    Item *item = vec_add(c->steps->arena, &c->steps->item);
    *item = (Item){.kind = kind, .step = step, .slot = c->steps->slot.count};
    return item;
}

static Slot *add_slot(Cutter *c, SlotKind kind, uint32_t buffer, int64_t number, ValueId value) {
    const Layout *layout = c->steps->part->layout;
    if (buffer != NONE) number = layout->buf.at[buffer].offset;
    Slot *slot = vec_add(c->steps->arena, &c->steps->slot);
    *slot = (Slot){.kind = kind, .buffer = buffer, .number = number, .value = value};
    return slot;
}

/* Whole numbers that are set: random streams and first rows differ from layer to layer. */
static void add_attributes(Cutter *c, const Attr *attr) {
#define ATTR_F(name)
#define ATTR_I(name)                                                                                         \
    if (attr->name != 0) add_slot(c, SLOT_ATTRIBUTE, NONE, attr->name, NONE)->attribute = #name;
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
}

static void add_wait(Cutter *c, uint32_t s, ValueId root) {
    if (c->ticket[root] == NONE) return;
    add_item(c, ITEM_WAIT, s);
    add_slot(c, SLOT_TICKET, NONE, c->ticket[root], root);
    c->ticket[root] = NONE;
}

static void add_copy(Cutter *c, uint32_t s) {
    const Part *part = c->steps->part;
    const Step *step = &part->plan->step.at[s];
    const uint32_t *bind = &part->layout->bind.at[part->layout->first[s]];
    add_item(c, step->kind == STEP_OFFLOAD ? ITEM_OFFLOAD : ITEM_FETCH, s);
    add_slot(c, SLOT_TICKET, NONE, c->tickets, step->value);
    add_slot(c, SLOT_BUFFER, bind[0], 0, step->value);
    add_slot(c, SLOT_BUFFER, bind[1], 0, step->value);
    c->ticket[step->value] = c->tickets++;
    c->fetched[step->value] = step->kind == STEP_FETCH;
}

static void add_free(Cutter *c, uint32_t s) {
    const Layout *layout = c->steps->part->layout;
    uint32_t b = layout->bind.at[layout->first[s]];
    ValueId value = c->steps->part->plan->step.at[s].value;
    add_wait(c, s, value);
    const Part *part = c->steps->part;
    if (part->reads_logits && value == graph_root(part->graph, part->graph->logits)) return;
    /* storage that another value took over in place is not dead yet */
    if (b == NONE || layout->buf.at[b].hi > s + 1) return;
    add_item(c, ITEM_FREE, s);
    add_slot(c, SLOT_BUFFER, b, 0, value);
}

static void add_call(Cutter *c, uint32_t s) {
    const Part *part = c->steps->part;
    const Node *node = &part->graph->node.at[part->plan->step.at[s].node];
    const uint32_t *bind = &part->layout->bind.at[part->layout->first[s]];
    for (uint32_t i = 0; i < node->nin && c->tickets; i++) {
        ValueId root = graph_root(part->graph, node->in[i]);
        if (c->fetched[root]) add_wait(c, s, root);
        c->fetched[root] = false;
    }
    add_item(c, ITEM_CALL, s);
    const bool taken = op_tensors(node) > 1;
    for (uint32_t i = 0; i < node->nout && !taken; i++) add_slot(c, SLOT_BUFFER, bind[i], 0, node->out[i]);
    for (uint32_t i = 0; i < node->nin && !taken; i++)
        add_slot(c, SLOT_BUFFER, bind[node->nout + i], 0, node->in[i]);
    add_attributes(c, &node->attr);
    if (bind[node->nout + node->nin] != NONE)
        add_slot(c, SLOT_WORKSPACE, bind[node->nout + node->nin], 0, NONE);
}

/* ---- stretches ---- */

static bool has_node(const Step *step) {
    return step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE;
}

static uint32_t block_of_step(const Cutter *c, uint32_t s) {
    return c->steps->blocks->of_node[c->steps->part->plan->step.at[s].node];
}

static void look_ahead(Cutter *c) {
    const Plan *plan = c->steps->part->plan;
    uint32_t next = NONE, together = 0, block = NONE;
    c->served = NEW_ARRAY(c->steps->arena, uint32_t, plan->step.count);
    c->again = NEW_ARRAY(c->steps->arena, uint32_t, plan->step.count);
    for (uint32_t s = plan->step.count; s-- > 0;) {
        const Step *step = &plan->step.at[s];
        if (step->kind == STEP_RUN) next = s;
        c->served[s] = next;
        if (!has_node(step)) continue;
        bool goes_on = step->kind == STEP_RECOMPUTE && together && block == block_of_step(c, s);
        together = step->kind != STEP_RECOMPUTE ? 0 : goes_on ? together + 1 : 1;
        block = block_of_step(c, s);
        c->again[s] = together;
    }
}

/* Recomputation belongs where it happens, with the backward step it serves, unless most of another block is
 * recomputed: that is a stretch of its own. An update within the micro-step stands in the stretch of the
 * gradient it follows. */
static Stretch where(const Cutter *c, uint32_t s, const Stretch *previous) {
    enum { MOST_OF_A_BLOCK = 4 };
    const Part *part = c->steps->part;
    const Step *step = &part->plan->step.at[s];
    Stretch here = {.kind = STRETCH_FORWARD, .block = NONE};
    if (!has_node(step)) return previous ? *previous : here;
    here.block = block_of_step(c, s);
    if (step->kind == STEP_RECOMPUTE && c->served[s] != NONE) {
        if (previous && previous->kind == STRETCH_AGAIN && previous->block == here.block) return *previous;
        uint32_t served = block_of_step(c, c->served[s]);
        bool own = here.block == NONE || here.block == served || c->again[s] < MOST_OF_A_BLOCK;
        here.kind = STRETCH_AGAIN;
        if (!own) return here;
        s = c->served[s];
        here.block = served;
    }
    Phase phase = part->graph->node.at[part->plan->step.at[s].node].phase;
    if (phase == PHASE_UPDATE && s < part->plan->update_begin && previous) return *previous;
    here.kind = phase == PHASE_FORWARD    ? STRETCH_FORWARD
                : phase == PHASE_BACKWARD ? STRETCH_BACKWARD
                                          : STRETCH_UPDATE;
    return here;
}

static Stretch *last_stretch(Steps *steps) {
    return steps->stretch.count ? &steps->stretch.at[steps->stretch.count - 1] : NULL;
}

/* What follows belongs here: to the last stretch, or to a new one. */
static void enter(Steps *steps, Stretch here, bool apart) {
    Stretch *last = last_stretch(steps);
    if (last) {
        last->items = steps->item.count - last->item;
        last->slots = steps->slot.count - last->slot;
    }
    if (last && !apart && here.kind == last->kind && here.block == last->block) return;
    *vec_add(steps->arena, &steps->stretch) = (Stretch){
        .kind = here.kind, .block = here.block, .item = steps->item.count, .slot = steps->slot.count};
}

/* The operands of a call over several tensors, each in a stretch of the block that its name says. */
static void take_tensors(Cutter *c, uint32_t s, Stretch here) {
    Steps *steps = c->steps;
    const Part *part = steps->part;
    const Node *node = &part->graph->node.at[part->plan->step.at[s].node];
    const uint32_t *bind = &part->layout->bind.at[part->layout->first[s]] + node->nout;
    const uint32_t tensors = op_tensors(node);
    for (uint32_t t = 0; t <= tensors && tensors > 1; t++) {
        const Taken taken = item_taken(node, t);
        if (!taken.reads && !taken.overs) continue;
        const uint32_t named = node->in[t == tensors || !taken.overs ? taken.read : taken.over];
        here.block = t < tensors
                         ? families_block(steps->blocks, steps->arena, part->graph->value.at[named].name)
                         : NONE;
        enter(steps, here, false);
        add_item(c, ITEM_TAKE, s)->tensor = t;
        for (uint32_t i = taken.read; i < taken.read + taken.reads; i++)
            add_slot(c, SLOT_BUFFER, bind[i], 0, node->in[i]);
        for (uint32_t i = taken.over; i < taken.over + taken.overs; i++)
            add_slot(c, SLOT_BUFFER, bind[i], 0, node->in[i]);
    }
}

static void cut(Cutter *c) {
    Steps *steps = c->steps;
    const Plan *plan = steps->part->plan;
    steps->update = NONE;
    for (uint32_t s = 0; s < plan->step.count; s++) {
        Stretch here = where(c, s, last_stretch(steps));
        const Step *step = &plan->step.at[s];
        bool updates = s == plan->update_begin;
        if (updates) steps->update = steps->stretch.count;
        if (has_node(step)) take_tensors(c, s, here);
        enter(steps, here, updates && steps->stretch.count == steps->update);
        if (step->kind == STEP_FREE)
            add_free(c, s);
        else if (step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH)
            add_copy(c, s);
        else
            add_call(c, s);
        Stretch *now = last_stretch(steps);
        now->items = steps->item.count - now->item;
        now->slots = steps->slot.count - now->slot;
    }
    if (steps->update == NONE) steps->update = steps->stretch.count;
}

/* Alike: of the same kind, in blocks of one family, with the same text but for the slots. */
static void gather(Steps *steps) {
    Map *bodies = map_new(steps->arena);
    for (uint32_t i = 0; i < steps->stretch.count; i++) {
        Stretch *stretch = &steps->stretch.at[i];
        uint32_t family = stretch->block == NONE ? NONE : steps->blocks->family[stretch->block];
        Text text = {.arena = steps->arena};
        text_add(&text, "%d %u %u\n", stretch->kind, family, family == NONE ? i : 0);
        for (uint32_t k = 0; k < stretch->items; k++) {
            const Item *item = &steps->item.at[stretch->item + k];
            text_add(&text, "%s", step_kind_name[steps->part->plan->step.at[item->step].kind]);
            item_print(steps, item, NULL, &text);
        }
        stretch->body = map_get(bodies, text.at);
        if (stretch->body == NONE) {
            stretch->body = steps->body.count;
            map_set(bodies, text.at, stretch->body);
            vec_add(steps->arena, &steps->body);
        }
        Body *body = &steps->body.at[stretch->body];
        stretch->row = body->stretch.count;
        *vec_add(steps->arena, &body->stretch) = i;
    }
}

/* Live bytes during each step, persistent ones included. */
static int64_t *live_at_steps(const Part *part, Arena *arena) {
    uint32_t steps = part->plan->step.count;
    int64_t *live = NEW_ARRAY(arena, int64_t, steps + 1);
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        if (buf->kind == BUF_HOST) continue;
        live[buf->lo] += buf->bytes;
        if (buf->hi <= steps) live[buf->hi] -= buf->bytes;
    }
    for (uint32_t s = 1; s <= steps; s++) live[s] += live[s - 1];
    return live;
}

Steps *steps_cut(const Part *part, const Families *blocks, Arena *arena) {
    Steps *steps = NEW(arena, Steps);
    *steps = (Steps){.arena = arena, .part = part, .blocks = blocks, .live = live_at_steps(part, arena)};
    Cutter c = {.steps = steps};
    c.ticket = NEW_ARRAY(arena, uint32_t, part->graph->value.count + 1);
    c.fetched = NEW_ARRAY(arena, bool, part->graph->value.count + 1);
    memset(c.ticket, 0xff, sizeof *c.ticket * part->graph->value.count);
    look_ahead(&c);
    cut(&c);
    gather(steps);
    return steps;
}
