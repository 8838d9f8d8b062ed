/* Search backwards over sets of storages. In: an operation and a budget; out: whether its operands can be
 * made.
 *
 *     ... | held: a, b | run d (reads a, b) | held: a, b, d | run e (reads b) | held: a, d, e = the operands
 *
 * Whatever the schedule, a last run made one of the set, x, while the rest of it and all that x reads were
 * live: before that run the set is less x and more those. So from the operands every schedule can be followed
 * back to the empty set, each step within the budget; when no step from any set met so far fits, none exists.
 * A step that adds nothing only helps and is taken at once. Best first: the set of fewest bytes. (Backwards
 * black pebbling; Paterson and Hewitt 1970.) */
#include "planner/dag/reach.h"

#include <string.h>

typedef struct Set {
    int64_t bytes;
    uint64_t *bits;
} Set;

typedef struct Search {
    const Problem *p;
    Arena *arena;
    int64_t room; /* for transient bytes */
    uint32_t words;
    VEC(Set) set;
    VEC(uint32_t) heap; /* sets not yet followed, fewest bytes first */
    uint32_t *table;    /* sets by hash; NONE where empty */
    uint32_t table_mask;
    uint64_t *bits; /* of the set being made */
} Search;

static bool has(const uint64_t *bits, uint32_t storage) {
    return bits[storage / 64] >> (storage % 64) & 1;
}

static bool is_before(const Search *s, uint32_t a, uint32_t b) {
    int64_t x = s->set.at[a].bytes, y = s->set.at[b].bytes;
    return x < y || (x == y && a > b);
}

static void push(Search *s, uint32_t set) {
    uint32_t at = s->heap.count;
    (void)vec_add(s->arena, &s->heap);
    for (; at > 0 && is_before(s, set, s->heap.at[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap.at[at] = s->heap.at[(at - 1) / 2];
    s->heap.at[at] = set;
}

static uint32_t pop(Search *s) {
    uint32_t top = s->heap.at[0], last = s->heap.at[--s->heap.count], at = 0;
    for (;;) {
        uint32_t down = 2 * at + 1;
        if (down >= s->heap.count) break;
        if (down + 1 < s->heap.count && is_before(s, s->heap.at[down + 1], s->heap.at[down])) down++;
        if (!is_before(s, s->heap.at[down], last)) break;
        s->heap.at[at] = s->heap.at[down];
        at = down;
    }
    s->heap.at[at] = last;
    return top;
}

/* Where the set in `bits` is in the table, or belongs. */
static uint32_t slot_of(const Search *s) {
    uint64_t hash = 0;
    for (uint32_t w = 0; w < s->words; w++) hash = (hash ^ s->bits[w]) * 0x9e3779b97f4a7c15u ^ hash >> 29;
    uint32_t slot = (uint32_t)(hash >> 32) & s->table_mask;
    for (; s->table[slot] != NONE; slot = (slot + 1) & s->table_mask)
        if (!memcmp(s->set.at[s->table[slot]].bits, s->bits, sizeof *s->bits * s->words)) break;
    return slot;
}

/* Makes `bits` what must be live before `op` runs for the set in `bits` to be live after it. Its bytes, or
 * -1 if the run does not fit. */
static int64_t step_back(const Search *s, uint32_t op, int64_t bytes) {
    const Problem *p = s->p;
    for (EACH(i, p->reads, op)) {
        uint32_t read = p->reads.list[i];
        if (!has(s->bits, read)) bytes += p->bytes[read];
        s->bits[read / 64] |= (uint64_t)1 << (read % 64);
    }
    int64_t more = p->workspace_bytes[op], less = 0;
    for (EACH(i, p->makes, op)) {
        uint32_t made = p->makes.list[i];
        if (has(s->bits, made))
            less += p->bytes[made];
        else
            more += p->bytes[made];
        s->bits[made / 64] &= ~((uint64_t)1 << (made % 64));
    }
    return bytes + more <= s->room ? bytes - less : -1;
}

/* Adds the set before `op` ran, if it is new. */
static void follow(Search *s, uint32_t parent, uint32_t op) {
    memcpy(s->bits, s->set.at[parent].bits, sizeof *s->bits * s->words);
    int64_t bytes = step_back(s, op, s->set.at[parent].bytes);
    if (bytes < 0) return;
    uint32_t slot = slot_of(s);
    if (s->table[slot] != NONE) return;
    s->table[slot] = s->set.count;
    Set set = {bytes, NEW_ARRAY(s->arena, uint64_t, s->words)};
    memcpy(set.bits, s->bits, sizeof *s->bits * s->words);
    *vec_add(s->arena, &s->set) = set;
    push(s, s->set.count - 1);
}

static bool adds_nothing(const Search *s, const Set *set, uint32_t op) {
    const Problem *p = s->p;
    int64_t more = p->workspace_bytes[op];
    for (EACH(i, p->reads, op))
        if (!has(set->bits, p->reads.list[i])) return false;
    for (EACH(i, p->makes, op))
        if (!has(set->bits, p->makes.list[i])) more += p->bytes[p->makes.list[i]];
    return set->bytes + more <= s->room;
}

/* Follows a set back through every operation that made one of it, or through one that adds nothing. */
static void follow_all(Search *s, uint32_t from, uint32_t most_op) {
    const Problem *p = s->p;
    for (int only = 1; only >= 0; only--) {
        for (uint32_t op = most_op; op-- > 0;) {
            bool made = false;
            for (EACH(i, p->makes, op)) made = made || has(s->set.at[from].bits, p->makes.list[i]);
            if (!made || (only && !adds_nothing(s, &s->set.at[from], op))) continue;
            follow(s, from, op);
            if (only) return;
        }
    }
}

bool reach_operands(const Problem *p, uint32_t op, int64_t budget_bytes, uint32_t states) {
    Search s = {.p = p, .room = budget_bytes - p->persistent_bytes};
    Set first = {0};
    for (EACH(i, p->reads, op)) first.bytes += p->bytes[p->reads.list[i]];
    if (first.bytes > s.room) return false;
    s.arena = arena_new();
    s.words = p->storages / 64 + 1;
    s.bits = NEW_ARRAY(s.arena, uint64_t, s.words);
    for (s.table_mask = 1024; s.table_mask < 4 * states; s.table_mask *= 2) continue;
    s.table = NEW_ARRAY(s.arena, uint32_t, s.table_mask);
    memset(s.table, 0xff, sizeof *s.table * s.table_mask--);
    first.bits = NEW_ARRAY(s.arena, uint64_t, s.words);
    for (EACH(i, p->reads, op)) {
        uint32_t read = p->reads.list[i];
        first.bits[read / 64] |= (uint64_t)1 << (read % 64);
    }
    *vec_add(s.arena, &s.set) = first;
    push(&s, 0);
    bool reached = false;
    while (s.heap.count && s.set.count < states && !reached) {
        uint32_t set = pop(&s);
        reached = s.set.at[set].bytes == 0;
        follow_all(&s, set, op);
    }
    reached = reached || s.heap.count;
    arena_free(s.arena);
    return reached;
}
