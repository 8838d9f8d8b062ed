/* First fit in order of birth, as an allocator does it that knows what comes. In: items, most of them to be
 * placed, some already; out: their offsets. A list of the bytes that are taken now stands in for a tree over
 * time: where little is live it is short. */
#include "planner/layout/pack_rest.h"
#include "planner/effort.h"

#include <string.h>

typedef struct Taken {
    int64_t beg, end;
    uint32_t dies;
} Taken;

typedef struct Sweep {
    const PackItem *item;
    Taken *taken;           /* by offset; the dead among them are left out now and then */
    uint32_t count, enough; /* at which they are */
    uint32_t *placed;       /* items that are placed from the start, in order of birth ... */
    uint32_t places, next;  /* ... and the first of them that is not among the taken yet */
    uint64_t work;          /* ranges passed */
} Sweep;

static void leave_out_dead(Sweep *w, uint32_t now) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->taken[i].dies > now) w->taken[live++] = w->taken[i];
    w->count = live;
    w->enough = 2 * live + 16;
}

static void take(Sweep *w, const PackItem *e) {
    if (w->count >= w->enough) leave_out_dead(w, e->lo);
    uint32_t low = 0, high = w->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (w->taken[middle].beg > e->offset)
            high = middle;
        else
            low = middle + 1;
    }
    memmove(&w->taken[low + 1], &w->taken[low], sizeof *w->taken * (w->count - low));
    w->taken[low] = (Taken){e->offset, e->offset + e->bytes, e->hi};
    w->count++;
}

static int64_t align_up(int64_t at, int64_t align) {
    return (at + align - 1) / align * align;
}

/* The lowest offset from `at` on beside what is live when `e` is born. */
static int64_t beside_live(Sweep *w, const PackItem *e, int64_t at) {
    uint32_t i = 0;
    for (; i < w->count && w->taken[i].beg < at + e->bytes; i++)
        if (w->taken[i].end > at && w->taken[i].dies > e->lo) at = align_up(w->taken[i].end, e->align);
    w->work += i;
    return at;
}

/* The same beside what is placed and born while it lives. */
static int64_t beside_next(const Sweep *w, const PackItem *e, int64_t at) {
    for (uint32_t i = w->next; i < w->places && w->item[w->placed[i]].lo < e->hi; i++) {
        const PackItem *other = &w->item[w->placed[i]];
        if (other->offset < at + e->bytes && other->offset + other->bytes > at)
            at = align_up(other->offset + other->bytes, e->align);
    }
    return at;
}

static int64_t lowest_place(Sweep *w, const PackItem *e) {
    int64_t at = 0, before;
    do {
        before = at;
        at = beside_next(w, e, beside_live(w, e, at));
    } while (at > before);
    return at;
}

uint32_t pack_rest(PackItem *item, uint32_t count, int64_t height, Arena *scratch) {
    Sweep w = {.item = item, .enough = 16};
    uint32_t left = 0;
    w.taken = NEW_ARRAY(scratch, Taken, count + 1);
    w.placed = NEW_ARRAY(scratch, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++)
        if (item[i].offset >= 0) w.placed[w.places++] = i;
    for (uint32_t i = 0; i < count; i++) {
        PackItem *e = &item[i];
        if (e->offset >= 0) {
            w.next++;
        } else {
            int64_t at = w.work < EFFORT_PACK_TOP_WORK ? lowest_place(&w, e) : height;
            if (at + e->bytes > height) {
                left++;
                continue;
            }
            e->offset = at;
        }
        take(&w, e);
    }
    return left;
}
