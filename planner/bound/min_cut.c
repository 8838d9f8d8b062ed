/* Minimum cut by blocking flows: Dinic (1970), with distances to the sink, so that a path never starts where
 * it cannot end. In: a network and capacities; out: the cut's value and sides. Arcs come in pairs, an arc and
 * its reverse at ids 2i and 2i + 1, laid out by the vertex they leave before the first solve; `rest` is
 * residual capacity. Invariant: the flow is feasible between solves, so raised capacities continue from it
 * and lowered ones start again. */
#include "planner/bound/min_cut.h"

#include <string.h>

typedef struct Given {
    uint32_t from, to;
    int64_t capacity;
} Given;

typedef struct Arc {
    uint32_t to, back; /* vertex; place of the reverse arc */
    int64_t rest;
} Arc;

struct MinCut {
    Arena *arena;
    uint32_t vertices;
    VEC(Given) given; /* by id */
    uint32_t *place;  /* by id, in `arc` */
    Arc *arc; /* those of vertex v: arc[first[v]] .. arc[first[v + 1] - 1]; NULL before the first solve */
    uint32_t *first;
    uint32_t *distance; /* to the sink, NONE where there is no way */
    uint32_t *queue, *current, *path;
    bool *source_side;
    int64_t value;
    bool restart;
};

MinCut *min_cut_new(uint32_t vertices, Arena *arena) {
    MinCut *cut = NEW(arena, MinCut);
    cut->arena = arena;
    cut->vertices = vertices;
    cut->arc = NULL;
    cut->distance = NEW_ARRAY(arena, uint32_t, vertices);
    cut->queue = NEW_ARRAY(arena, uint32_t, vertices);
    cut->current = NEW_ARRAY(arena, uint32_t, vertices);
    cut->path = NEW_ARRAY(arena, uint32_t, vertices);
    cut->source_side = NEW_ARRAY(arena, bool, vertices);
    return cut;
}

uint32_t min_cut_arc(MinCut *cut, uint32_t from, uint32_t to, int64_t capacity) {
    uint32_t id = cut->given.count;
    *vec_add(cut->arena, &cut->given) = (Given){from, to, capacity};
    *vec_add(cut->arena, &cut->given) = (Given){to, from, 0};
    return id;
}

void min_cut_capacity(MinCut *cut, uint32_t id, int64_t capacity) {
    int64_t change = capacity - cut->given.at[id].capacity;
    cut->given.at[id].capacity = capacity;
    if (!cut->arc) return;
    Arc *arc = &cut->arc[cut->place[id]];
    arc->rest += change;
    if (arc->rest < 0) cut->restart = true;
}

static void lay_out(MinCut *cut) {
    uint32_t arcs = cut->given.count;
    cut->first = NEW_ARRAY(cut->arena, uint32_t, cut->vertices + 1);
    cut->place = NEW_ARRAY(cut->arena, uint32_t, arcs + 1);
    cut->arc = NEW_ARRAY(cut->arena, Arc, arcs + 1);
    for (uint32_t id = 0; id < arcs; id++) cut->first[cut->given.at[id].from + 1]++;
    for (uint32_t v = 0; v < cut->vertices; v++) cut->first[v + 1] += cut->first[v];
    memcpy(cut->current, cut->first, sizeof *cut->current * cut->vertices);
    for (uint32_t id = 0; id < arcs; id++) cut->place[id] = cut->current[cut->given.at[id].from]++;
    for (uint32_t id = 0; id < arcs; id++) {
        const Given *given = &cut->given.at[id];
        cut->arc[cut->place[id]] = (Arc){given->to, cut->place[id ^ 1], given->capacity};
    }
}

/* Distances to the sink over arcs with room, up to the source's. False when the source cannot reach it. */
static bool find_distances(MinCut *cut) {
    memset(cut->distance, 0xff, sizeof *cut->distance * cut->vertices);
    uint32_t head = 0, tail = 0;
    cut->queue[tail++] = MIN_CUT_SINK;
    cut->distance[MIN_CUT_SINK] = 0;
    while (head < tail) {
        uint32_t v = cut->queue[head++];
        for (uint32_t i = cut->first[v]; i < cut->first[v + 1]; i++) {
            const Arc *arc = &cut->arc[i];
            if (cut->distance[arc->to] != NONE || cut->arc[arc->back].rest <= 0) continue;
            cut->distance[arc->to] = cut->distance[v] + 1;
            if (arc->to == MIN_CUT_SOURCE) return true;
            cut->queue[tail++] = arc->to;
        }
    }
    return false;
}

/* What the source reaches over arcs with room. */
static void find_source_side(MinCut *cut) {
    memset(cut->source_side, 0, sizeof *cut->source_side * cut->vertices);
    uint32_t head = 0, tail = 0;
    cut->queue[tail++] = MIN_CUT_SOURCE;
    cut->source_side[MIN_CUT_SOURCE] = true;
    while (head < tail) {
        uint32_t v = cut->queue[head++];
        for (uint32_t i = cut->first[v]; i < cut->first[v + 1]; i++) {
            const Arc *arc = &cut->arc[i];
            if (arc->rest <= 0 || cut->source_side[arc->to]) continue;
            cut->source_side[arc->to] = true;
            cut->queue[tail++] = arc->to;
        }
    }
}

/* Sends flow along shortest paths until none has room. `path` holds the arcs from the source to `v`. */
static void block_flow(MinCut *cut) {
    memcpy(cut->current, cut->first, sizeof *cut->current * cut->vertices);
    uint32_t v = MIN_CUT_SOURCE, length = 0;
    for (;;) {
        if (v == MIN_CUT_SINK) {
            int64_t room = INT64_MAX;
            for (uint32_t i = 0; i < length; i++)
                if (cut->arc[cut->path[i]].rest < room) room = cut->arc[cut->path[i]].rest;
            uint32_t back = length;
            for (uint32_t i = length; i-- > 0;) {
                Arc *arc = &cut->arc[cut->path[i]];
                arc->rest -= room;
                cut->arc[arc->back].rest += room;
                if (arc->rest == 0) back = i;
            }
            cut->value += room;
            length = back;
            v = cut->arc[cut->arc[cut->path[back]].back].to;
            continue;
        }
        bool advanced = false;
        for (; cut->current[v] < cut->first[v + 1]; cut->current[v]++) {
            const Arc *arc = &cut->arc[cut->current[v]];
            if (arc->rest <= 0 || cut->distance[arc->to] == NONE ||
                cut->distance[arc->to] + 1 != cut->distance[v])
                continue;
            cut->path[length++] = cut->current[v];
            v = arc->to;
            advanced = true;
            break;
        }
        if (advanced) continue;
        if (length == 0) return;
        v = cut->arc[cut->arc[cut->path[--length]].back].to;
        cut->current[v]++;
    }
}

int64_t min_cut_solve(MinCut *cut) {
    if (!cut->arc) lay_out(cut);
    if (cut->restart) {
        for (uint32_t id = 0; id < cut->given.count; id++)
            cut->arc[cut->place[id]].rest = cut->given.at[id].capacity;
        cut->value = 0;
        cut->restart = false;
    }
    while (find_distances(cut)) block_flow(cut);
    find_source_side(cut);
    return cut->value;
}

bool min_cut_source_side(const MinCut *cut, uint32_t vertex) {
    return cut->source_side[vertex];
}
