/* See interpolate.h. A plan is compared with others whose operations were not measured, of another
 * micro-batch or in other tiles: with the roofline's times beside measured ones it would not be known which
 * of them is faster. What the roofline leaves out (caches, tails of waves, clocks) changes slowly with an
 * operation's size, so its ratio does. */
#include "planner/cost/interpolate.h"

#include "ir/ops.h"
#include "planner/cost/cost.h"

#include <math.h>
#include <stdlib.h>

typedef struct Point {
    double work, ratio; /* logarithms of the roofline's seconds, and of measured seconds over them */
} Point;
typedef struct Family {
    VEC(Point) point; /* ascending by work */
} Family;

struct Interpolation {
    Map *of_kind; /* into family, by the text of a kind */
    VEC(Family) family;
    double middle; /* the median of all ratios' logarithms */
};

/* "linear f32 < f32 f32", and whether attention is causal. */
static void add_kind(const Graph *g, const Node *node, Text *out) {
    text_add(out, "%s%s", op_info[node->op].name, node->attr.causal ? " causal" : "");
    for (uint32_t i = 0; i < node->nout; i++)
        text_add(out, " %s", dtype_name[g->value.at[node->out[i]].type.dtype]);
    text_add(out, " <");
    for (uint32_t i = 0; i < node->nin; i++)
        text_add(out, " %s", dtype_name[g->value.at[node->in[i]].type.dtype]);
}

static int by_work(const void *left, const void *right) {
    const Point *a = left, *b = right;
    return a->work != b->work ? (a->work > b->work) - (a->work < b->work)
                              : (a->ratio > b->ratio) - (a->ratio < b->ratio);
}

static int by_number(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Points of equal work, as of operations that differ in their dims alone, become one. */
static void merge_equals(Family *family) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < family->point.count;) {
        uint32_t end = i;
        double sum = 0;
        for (; end < family->point.count && family->point.at[end].work == family->point.at[i].work; end++)
            sum += family->point.at[end].ratio;
        family->point.at[kept++] = (Point){family->point.at[i].work, sum / (end - i)};
        i = end;
    }
    family->point.count = kept;
}

const Interpolation *interpolation_new(const Device *device, Arena *arena) {
    const Profile *profile = device->profile;
    Interpolation *of = NEW(arena, Interpolation);
    VEC(double) all = {0};
    Arena *scratch = arena_new();
    of->of_kind = map_new(arena);
    for (uint32_t t = 0; t < profile->time.count; t++) {
        const ProfileTime *time = &profile->time.at[t];
        arena_reset(scratch);
        Graph *g = time->origin == profile->chosen ? profile_graph(time->key, scratch) : NULL;
        if (!g || profile_find(profile, time->key) != time) continue;
        const double computed = cost_roofline(g, &g->node.at[0], device, scratch);
        const Point point = {log(computed), log(time->median_seconds / computed)};
        Text kind = {.arena = arena};
        add_kind(g, &g->node.at[0], &kind);
        uint32_t f = map_get(of->of_kind, kind.at);
        if (f == NONE) {
            f = of->family.count;
            map_set(of->of_kind, kind.at, f);
            *vec_add(arena, &of->family) = (Family){0};
        }
        *vec_add(arena, &of->family.at[f].point) = point;
        *vec_add(arena, &all) = point.ratio;
    }
    arena_free(scratch);
    for (uint32_t f = 0; f < of->family.count; f++) {
        Family *family = &of->family.at[f];
        qsort(family->point.at, family->point.count, sizeof *family->point.at, by_work);
        merge_equals(family);
    }
    if (all.count) qsort(all.at, all.count, sizeof *all.at, by_number);
    of->middle = all.count ? all.at[all.count / 2] : 0;
    return of;
}

double interpolation_ratio(const Interpolation *of, const Graph *g, const Node *node, double seconds,
                           bool *measured_kind) {
    Arena *scratch = arena_new();
    Text kind = {.arena = scratch};
    add_kind(g, node, &kind);
    const uint32_t f = map_get(of->of_kind, kind.at);
    arena_free(scratch);
    *measured_kind = f != NONE;
    if (f == NONE) return exp(of->middle);
    const Point *point = of->family.at[f].point.at;
    const uint32_t count = of->family.at[f].point.count;
    const double work = log(seconds);
    uint32_t after = 0;
    while (after < count && point[after].work < work) after++;
    if (after == 0) return exp(point[0].ratio);
    if (after == count) return exp(point[count - 1].ratio);
    const Point *a = &point[after - 1], *b = &point[after];
    return exp(a->ratio + (b->ratio - a->ratio) * (work - a->work) / (b->work - a->work));
}
