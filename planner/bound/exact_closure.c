/* Branch and bound on the closure problem of one instant: a knapsack under precedence, whose relaxation is
 * the Lagrangian of closure.c (Geoffrion 1974; Samphaiboon and Yamada 2000 for closures). In: an instant and
 * a budget; out: a bound. A node of the tree makes some operations run again and forbids it to others; its
 * bound is the best of a few cuts at prices that start from its parent's. Nodes are opened best first, so the
 * least bound of the open ones holds at any time. */
#include "planner/bound/exact_closure.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

typedef struct TreeNode {
    uint32_t parent, op; /* NONE at the root */
    Force force;
    double bound, price;
    uint32_t branch; /* the operation to decide next; NONE: solved */
} TreeNode;

typedef struct Tree {
    const Problem *p;
    Closure *closure;
    Proof *proof;
    uint32_t instant;
    int64_t room;      /* bytes besides the fixed ones */
    Trade most, least; /* the ends of the curve */
    VEC(TreeNode) node;
    VEC(uint32_t) heap; /* open nodes, least bound first */
    uint8_t *forced;    /* by operation: Force in place */
    double best_set;    /* seconds of the best set found */
    bool *again_more, *again_less;
    Arena *arena, *scratch;
} Tree;

double exact_closure_unit(const Problem *p) {
    double unit = 0;
    for (uint32_t op = 0; op < p->ops; op++) {
        double a = p->seconds[op], b = unit;
        if (a != floor(a) || a > 0x1p52) return 0;
        while (a > 0) {
            double rest = fmod(b, a);
            b = a;
            a = rest;
        }
        unit = b;
    }
    return unit;
}

/* The least seconds a schedule can have that are not below `bound`. */
static double round_up(const Tree *t, double bound) {
    double unit = t->proof->unit_seconds;
    if (unit <= 0 || bound == HUGE_VAL) return bound;
    return ceil(bound / unit * (1 - 1e-12) - 1e-6) * unit;
}

static double target(const Tree *t) {
    return t->best_set < t->proof->upper_seconds ? t->best_set : t->proof->upper_seconds;
}

static bool is_enough(const Tree *t, double bound) {
    return round_up(t, bound) >= target(t) * (1 - 1e-12);
}

static void push(Tree *t, uint32_t node) {
    uint32_t at = t->heap.count;
    (void)vec_add(t->arena, &t->heap);
    for (; at > 0; at = (at - 1) / 2) {
        uint32_t up = t->heap.at[(at - 1) / 2];
        if (t->node.at[up].bound <= t->node.at[node].bound) break;
        t->heap.at[at] = up;
    }
    t->heap.at[at] = node;
}

static uint32_t pop(Tree *t) {
    uint32_t top = t->heap.at[0], last = t->heap.at[--t->heap.count], at = 0;
    for (;;) {
        uint32_t down = 2 * at + 1;
        if (down >= t->heap.count) break;
        if (down + 1 < t->heap.count &&
            t->node.at[t->heap.at[down + 1]].bound < t->node.at[t->heap.at[down]].bound)
            down++;
        if (t->node.at[last].bound <= t->node.at[t->heap.at[down]].bound) break;
        t->heap.at[at] = t->heap.at[down];
        at = down;
    }
    t->heap.at[at] = last;
    return top;
}

/* Puts the forces of a node in place. */
static void apply(Tree *t, uint32_t node) {
    uint8_t *wanted = NEW_ARRAY(t->scratch, uint8_t, t->p->ops + 1);
    for (; t->node.at[node].parent != NONE; node = t->node.at[node].parent)
        wanted[t->node.at[node].op] = (uint8_t)t->node.at[node].force;
    for (uint32_t op = 0; op < t->instant; op++) {
        if (wanted[op] == t->forced[op]) continue;
        closure_force(t->closure, op, (Force)wanted[op]);
        t->forced[op] = wanted[op];
    }
}

static void note_set(Tree *t, const Trade *trade) {
    if (trade->bytes > t->room || trade->seconds >= t->best_set * (1 - 1e-12)) return;
    t->best_set = trade->seconds;
    if (t->proof->found)
        t->proof->upper_seconds = t->proof->found(t->proof->context, t->instant, trade->keep);
}

/* The free operation to decide next: one on which the cuts of too many and of few bytes differ, if there is
 * one, and the one that costs most either way. */
static uint32_t branch_on(const Tree *t, double price, const bool *more, const bool *less) {
    const Problem *p = t->p;
    uint32_t best = NONE;
    double weight = -1;
    bool differs = false;
    for (uint32_t op = 0; op < t->instant; op++) {
        if (t->forced[op] != FORCE_FREE || !closure_may_run(t->closure, op)) continue;
        if (differs && more[op] == less[op]) continue;
        double bytes = 0;
        for (EACH(i, p->makes, op)) bytes += (double)p->bytes[p->makes.list[i]];
        double loss = bytes * price < p->seconds[op] ? bytes * price : p->seconds[op];
        bool first = !differs && more[op] != less[op];
        if (first || loss > weight) weight = loss, best = op;
        differs = differs || first;
    }
    return best;
}

/* Price of the line through two trades; 0 if it does not fall. */
static double price_between(const Trade *more, const Trade *less) {
    double price = (less->seconds - more->seconds) / (double)(more->bytes - less->bytes);
    return price > 0 ? price : 0;
}

static bool may_cut(const Tree *t) {
    return t->proof->cuts > 0 && !deadline_passed(t->proof->deadline);
}

/* Bounds a node, from its parent's price on; chooses where to branch. Prices follow the line between the last
 * trade that fits and the last that does not, or the ends of the whole curve as long as one is missing. */
static void evaluate(Tree *t, uint32_t node) {
    double price = t->node.at[node].price, bound = t->node.at[node].bound, best_price = price;
    Trade more = t->most, less = t->least;
    bool have_more = false, have_less = false;
    memset(t->again_more, 0, sizeof *t->again_more * t->p->ops);
    memset(t->again_less, 0, sizeof *t->again_less * t->p->ops);
    for (uint32_t i = 0; i < EFFORT_EXACT_CLOSURE_PRICES && may_cut(t); i++) {
        Trade trade;
        bool *again = NEW_ARRAY(t->scratch, bool, t->p->ops + 1);
        double value = closure_at(t->closure, price, t->room, &trade, again, t->scratch);
        t->proof->cuts--;
        if (value > bound) bound = value, best_price = price;
        note_set(t, &trade);
        if (is_enough(t, bound)) break;
        bool fits = trade.bytes <= t->room;
        memcpy(fits ? t->again_less : t->again_more, again, sizeof *again * t->p->ops);
        Trade *end = fits ? &less : &more;
        bool same = trade.bytes == end->bytes && trade.seconds == end->seconds;
        *end = trade;
        *(fits ? &have_less : &have_more) = true;
        if (trade.bytes == t->room || (same && have_less && have_more)) break;
        double next = more.bytes > less.bytes ? price_between(&more, &less) : 0;
        if (!have_less && next < price * 1.5)
            next = price * 4; /* forces make the curve steeper than it was */
        if (!have_more && (next > price * 0.7 || next == 0)) next = price * 0.25;
        if (next == price) break;
        price = next;
    }
    TreeNode *n = &t->node.at[node];
    n->bound = bound;
    n->price = best_price;
    n->branch = branch_on(t, best_price, t->again_more, t->again_less);
}

/* The least bound of what was closed because nothing could be decided there. */
static double search_tree(Tree *t) {
    double stuck = HUGE_VAL;
    while (t->heap.count && may_cut(t)) {
        uint32_t node = pop(t), op = t->node.at[node].branch;
        if (is_enough(t, t->node.at[node].bound)) { /* and so are all the others */
            push(t, node);
            break;
        }
        for (int again = 0; again < 2; again++) {
            arena_reset(t->scratch);
            uint32_t child = t->node.count;
            *vec_add(t->arena, &t->node) = (TreeNode){.parent = node,
                                                      .op = op,
                                                      .force = again ? FORCE_AGAIN : FORCE_NEVER,
                                                      .bound = t->node.at[node].bound,
                                                      .price = t->node.at[node].price};
            apply(t, child);
            evaluate(t, child);
            if (is_enough(t, t->node.at[child].bound)) continue;
            if (t->node.at[child].branch != NONE)
                push(t, child);
            else if (t->node.at[child].bound < stuck)
                stuck = t->node.at[child].bound;
        }
    }
    return stuck;
}

double exact_closure_seconds(const Problem *p, uint32_t instant, int64_t budget_bytes, Proof *proof,
                             Arena *arena) {
    Tree t = {.p = p, .instant = instant, .proof = proof, .best_set = HUGE_VAL, .arena = arena};
    t.closure = closure_new(p, instant, arena);
    t.room = budget_bytes - closure_fixed_bytes(t.closure);
    t.forced = NEW_ARRAY(arena, uint8_t, p->ops + 1);
    t.again_more = NEW_ARRAY(arena, bool, p->ops + 1);
    t.again_less = NEW_ARRAY(arena, bool, p->ops + 1);
    t.scratch = arena_new();
    closure_at(t.closure, 0, t.room, &t.most, NULL, NULL);
    closure_at(t.closure, HUGE_VAL, t.room, &t.least, NULL, NULL);
    if (t.most.bytes <= t.room || t.least.bytes >= t.most.bytes) {
        arena_free(t.scratch);
        return t.most.bytes <= t.room ? 0 : HUGE_VAL;
    }
    *vec_add(arena, &t.node) =
        (TreeNode){.parent = NONE, .op = NONE, .price = price_between(&t.most, &t.least)};
    evaluate(&t, 0);
    double bound = t.node.at[0].bound;
    if (t.node.at[0].branch != NONE && !is_enough(&t, bound)) {
        push(&t, 0);
        bound = search_tree(&t);
        if (t.heap.count && t.node.at[t.heap.at[0]].bound < bound) bound = t.node.at[t.heap.at[0]].bound;
    }
    arena_free(t.scratch);
    /* a closed node has at least the target's seconds */
    double least = is_enough(&t, bound) ? target(&t) : round_up(&t, bound);
    return least < target(&t) ? least : target(&t);
}
