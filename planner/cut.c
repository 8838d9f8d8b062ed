/* Minimum cut by blocking flows: Dinic (1970). In: a network and capacities; out: the cut's value and sides.
 * Arcs come in pairs, an arc and its reverse at ids 2i and 2i + 1; `rest` is residual capacity. Invariant:
 * the flow is feasible between solves, so raised capacities continue from it and lowered ones start again. */
#include "cut.h"

#include <string.h>

typedef struct Arc {
    uint32_t from, to;
    int64_t capacity, rest;
} Arc;

struct Cut {
    Arena *arena;
    uint32_t vertices;
    VEC(Arc) arc;
    uint32_t *first, *leaving; /* arcs of vertex v: leaving[first[v]] .. leaving[first[v + 1] - 1] */
    uint32_t *level, *queue, *current, *path;
    int64_t value;
    bool restart;
};

Cut *cut_new(uint32_t vertices, Arena *arena) {
    Cut *cut = NEW(arena, Cut);
    cut->arena = arena;
    cut->vertices = vertices;
    cut->first = NULL;
    cut->level = NEW_ARRAY(arena, uint32_t, vertices);
    cut->queue = NEW_ARRAY(arena, uint32_t, vertices);
    cut->current = NEW_ARRAY(arena, uint32_t, vertices);
    cut->path = NEW_ARRAY(arena, uint32_t, vertices);
    return cut;
}

uint32_t cut_arc(Cut *cut, uint32_t from, uint32_t to, int64_t capacity) {
    uint32_t id = cut->arc.count;
    *vec_add(cut->arena, &cut->arc) = (Arc){from, to, capacity, capacity};
    *vec_add(cut->arena, &cut->arc) = (Arc){to, from, 0, 0};
    return id;
}

void cut_capacity(Cut *cut, uint32_t arc, int64_t capacity) {
    Arc *forward = &cut->arc.at[arc];
    int64_t change = capacity - forward->capacity;
    forward->capacity = capacity;
    forward->rest += change;
    if (forward->rest < 0) cut->restart = true;
}

static void index_arcs(Cut *cut) {
    cut->first = NEW_ARRAY(cut->arena, uint32_t, cut->vertices + 1);
    cut->leaving = NEW_ARRAY(cut->arena, uint32_t, cut->arc.count);
    for (uint32_t a = 0; a < cut->arc.count; a++) cut->first[cut->arc.at[a].from + 1]++;
    for (uint32_t v = 0; v < cut->vertices; v++) cut->first[v + 1] += cut->first[v];
    memcpy(cut->current, cut->first, sizeof *cut->current * cut->vertices);
    for (uint32_t a = 0; a < cut->arc.count; a++) cut->leaving[cut->current[cut->arc.at[a].from]++] = a;
}

/* Distances from the source over arcs with room. False when the sink is out of reach. */
static bool find_levels(Cut *cut) {
    memset(cut->level, 0xff, sizeof *cut->level * cut->vertices);
    uint32_t head = 0, tail = 0;
    cut->queue[tail++] = CUT_SOURCE;
    cut->level[CUT_SOURCE] = 0;
    while (head < tail) {
        uint32_t v = cut->queue[head++];
        for (uint32_t i = cut->first[v]; i < cut->first[v + 1]; i++) {
            const Arc *arc = &cut->arc.at[cut->leaving[i]];
            if (arc->rest <= 0 || cut->level[arc->to] != NONE) continue;
            cut->level[arc->to] = cut->level[v] + 1;
            cut->queue[tail++] = arc->to;
        }
    }
    return cut->level[CUT_SINK] != NONE;
}

/* Sends flow along shortest paths until none has room. `path` holds the arcs from the source to `v`. */
static void block_flow(Cut *cut) {
    memcpy(cut->current, cut->first, sizeof *cut->current * cut->vertices);
    uint32_t v = CUT_SOURCE, length = 0;
    for (;;) {
        if (v == CUT_SINK) {
            int64_t room = INT64_MAX;
            for (uint32_t i = 0; i < length; i++)
                if (cut->arc.at[cut->path[i]].rest < room) room = cut->arc.at[cut->path[i]].rest;
            uint32_t back = length;
            for (uint32_t i = length; i-- > 0;) {
                cut->arc.at[cut->path[i]].rest -= room;
                cut->arc.at[cut->path[i] ^ 1].rest += room;
                if (cut->arc.at[cut->path[i]].rest == 0) back = i;
            }
            cut->value += room;
            length = back;
            v = cut->arc.at[cut->path[back]].from;
            continue;
        }
        bool advanced = false;
        for (; cut->current[v] < cut->first[v + 1]; cut->current[v]++) {
            uint32_t a = cut->leaving[cut->current[v]];
            const Arc *arc = &cut->arc.at[a];
            if (arc->rest <= 0 || cut->level[arc->to] != cut->level[v] + 1) continue;
            cut->path[length++] = a;
            v = arc->to;
            advanced = true;
            break;
        }
        if (advanced) continue;
        if (length == 0) return;
        v = cut->arc.at[cut->path[--length]].from;
        cut->current[v]++;
    }
}

int64_t cut_solve(Cut *cut) {
    if (!cut->first) index_arcs(cut);
    if (cut->restart) {
        for (uint32_t a = 0; a < cut->arc.count; a += 2) {
            cut->arc.at[a].rest = cut->arc.at[a].capacity;
            cut->arc.at[a + 1].rest = 0;
        }
        cut->value = 0;
        cut->restart = false;
    }
    while (find_levels(cut)) block_flow(cut);
    return cut->value;
}

bool cut_source_side(const Cut *cut, uint32_t vertex) {
    return cut->level[vertex] != NONE;
}
