/* Finds the chain of blocks in a training step. In: a problem; out: links and their kinds (blocks.h).
 * Invariant: links partition the forward operations, and the backward ones up to the update, in mirrored
 * order; two links are of one kind only if replaying one is replaying the other. */
#include "planner/chain/blocks.h"

#include <string.h>

typedef struct Finder {
    const Problem *p;
    uint32_t boundary;
    uint32_t *first_read,
        *last_read;     /* by storage: forward operations that read it; its maker if none does */
    uint32_t *last_use; /* by storage: last operation that reads it */
    VEC(uint32_t) border, crosser;
} Finder;

static bool from_nothing(const Problem *p, uint32_t op) {
    return list_begin(&p->reads, op) == list_end(&p->reads, op);
}

/* Borders: times before which one storage crosses. What is made from persistent storages alone for one reader
 * (a cast of a weight) may cross beside it: it might as well be made on the other side. */
static void find_borders(Finder *f, Arena *arena) {
    const Problem *p = f->p;
    int32_t *change[2] = {NEW_ARRAY(arena, int32_t, f->boundary + 2),
                          NEW_ARRAY(arena, int32_t, f->boundary + 2)};
    int64_t *number[2] = {NEW_ARRAY(arena, int64_t, f->boundary + 2),
                          NEW_ARRAY(arena, int64_t, f->boundary + 2)};
    for (uint32_t s = 0; s < p->storages; s++) {
        if (p->maker[s] >= f->boundary || f->last_read[s] == p->maker[s]) continue;
        int which = from_nothing(p, p->maker[s]) && f->first_read[s] == f->last_read[s];
        uint32_t low = p->maker[s] + 1, high = f->last_read[s] + 1;
        change[which][low]++, change[which][high]--;
        number[which][low] += s, number[which][high] -= s; /* of a single crosser the sum is its number */
    }
    int32_t crossing[2] = {0, 0};
    int64_t sum[2] = {0, 0};
    for (uint32_t t = 1; t < f->boundary; t++) {
        for (int which = 0; which < 2; which++)
            crossing[which] += change[which][t], sum[which] += number[which][t];
        bool made = crossing[0] == 1, read = crossing[0] == 0 && crossing[1] == 1;
        if (!made && !read) continue;
        if (f->crosser.count && f->crosser.at[f->crosser.count - 1] == (uint32_t)sum[read]) continue;
        *vec_add(arena, &f->border) = t;
        *vec_add(arena, &f->crosser) = (uint32_t)sum[read];
    }
}

static Links make_links(const Finder *f, Arena *arena) {
    Links links = {.boundary = f->boundary, .count = f->border.count + 1};
    links.at = NEW_ARRAY(arena, Link, links.count);
    for (uint32_t i = 0; i < links.count; i++) {
        links.at[i].begin = i ? f->border.at[i - 1] : 0;
        links.at[i].end = i + 1 < links.count ? f->border.at[i] : f->boundary;
        links.at[i].input = i ? f->crosser.at[i - 1] : NONE;
    }
    return links;
}

/* A backward operation belongs to the link whose inside or input it reads, though never to a later link than
 * the one before it. One that reads no forward storage goes with the next that does, but for an update, which
 * goes with the operation before it; what remains at the end, an embedding's gradient, with the first link.
 */
static void mirror(const Finder *f, Links *links, Arena *arena) {
    const Problem *p = f->p;
    uint32_t *reader =
        NEW_ARRAY(arena, uint32_t, p->storages + 1); /* by storage: link that reads it backward */
    for (uint32_t i = 0; i < links->count; i++)
        for (uint32_t op = links->at[i].begin; op < links->at[i].end; op++)
            for (EACH(k, p->makes, op)) reader[p->makes.list[k]] = i;
    for (uint32_t i = 1; i < links->count; i++) reader[links->at[i].input] = i;
    uint32_t current = links->count - 1, undecided = f->boundary;
    links->at[current].backward_begin = f->boundary;
    for (uint32_t op = f->boundary; op < p->update_begin; op++) {
        uint32_t last = NONE;
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            if (p->maker[s] < f->boundary && (last == NONE || reader[s] > last)) last = reader[s];
        }
        if (p->updates && p->updates[op] && undecided == op) undecided++;
        if (last == NONE) continue;
        while (last < current) links->at[--current].backward_begin = undecided;
        undecided = op + 1;
    }
    while (current > 0) links->at[--current].backward_begin = undecided;
    for (uint32_t i = 0; i < links->count; i++)
        links->at[i].backward_end = i ? links->at[i - 1].backward_begin : p->update_begin;
}

/* ---- canonical hashes ---- */

static uint64_t hash_number(uint64_t hash, uint64_t number) {
    return hash_bytes(hash, &number, sizeof number);
}

/* Where a storage comes from, relative to the link. */
static uint64_t origin(const Problem *p, const Link *link, uint32_t s) {
    uint32_t maker = p->maker[s];
    uint64_t place = 0;
    for (EACH(k, p->makes, maker)) {
        if (p->makes.list[k] == s) break;
        place++;
    }
    if (s == link->input) return 1;
    if (maker >= link->begin && maker < link->end) return (uint64_t)(maker - link->begin + 1) << 8 | place;
    if (maker >= link->backward_begin && maker < link->backward_end)
        return (uint64_t)(maker - link->backward_begin + 1) << 32 | place;
    return 2;
}

/* How far what the link makes is read: in it, by later links, by earlier ones' backward pass, in the update.
 */
static uint64_t reach(const Finder *f, const Link *link, uint32_t s) {
    return (uint64_t)(f->last_read[s] >= link->end) | (uint64_t)(f->last_use[s] >= link->backward_end) << 1 |
           (uint64_t)(f->last_use[s] >= f->p->update_begin) << 2;
}

/* Until when an operation may run again, relative to the link. */
static uint64_t hash_end(const Problem *p, const Link *link, uint32_t op, uint64_t hash) {
    uint32_t end = p->lazy_end[op];
    uint64_t place = end < link->backward_begin ? 1 : (uint64_t)(end - link->backward_begin) + 2;
    return hash_number(hash, end >= link->backward_end ? 0 : place);
}

static uint64_t hash_ops(const Finder *f, const Link *link, uint32_t begin, uint32_t end, uint64_t hash) {
    const Problem *p = f->p;
    for (uint32_t op = begin; op < end; op++) {
        hash = hash_bytes(hash, &p->seconds[op], sizeof p->seconds[op]);
        hash = hash_number(hash, (uint64_t)p->workspace_bytes[op] << 1 | p->rerun[op]);
        hash = hash_end(p, link, op, hash);
        for (EACH(k, p->reads, op)) {
            hash = hash_number(hash, origin(p, link, p->reads.list[k]));
            hash = hash_number(hash, (uint64_t)p->bytes[p->reads.list[k]]);
        }
        hash = hash_number(hash, UINT64_MAX);
        for (EACH(k, p->makes, op)) {
            hash = hash_number(hash, (uint64_t)p->bytes[p->makes.list[k]]);
            hash = hash_number(hash, reach(f, link, p->makes.list[k]));
        }
        for (EACH(k, p->takeover, op)) hash = hash_number(hash, origin(p, link, p->takeover.list[k]));
        hash = hash_number(hash, UINT64_MAX - 1);
    }
    return hash;
}

static uint64_t hash_link(const Finder *f, const Link *link) {
    uint64_t hash = hash_number(HASH_SEED, link->end - link->begin);
    hash = hash_ops(f, link, link->begin, link->end, hash);
    return hash_ops(f, link, link->backward_begin, link->backward_end, hash);
}

static void number_kinds(const Finder *f, Links *links, Arena *arena) {
    uint64_t *known = NEW_ARRAY(arena, uint64_t, links->count + 1);
    links->kinds = 0;
    for (uint32_t i = 0; i < links->count; i++) {
        uint64_t hash = hash_link(f, &links->at[i]);
        uint32_t kind = 0;
        while (kind < links->kinds && known[kind] != hash) kind++;
        if (kind == links->kinds) known[links->kinds++] = hash;
        links->at[i].kind = kind;
    }
}

/* Links before the first of a repeated kind become one, and so do those after the last. */
static void merge_ends(Finder *f, const Links *links, Arena *arena) {
    uint32_t *times = NEW_ARRAY(arena, uint32_t, links->kinds + 1);
    for (uint32_t i = 0; i < links->count; i++) times[links->at[i].kind]++;
    uint32_t first = 0, last = links->count;
    while (first < links->count && times[links->at[first].kind] < 2) first++;
    while (last > first && times[links->at[last - 1].kind] < 2) last--;
    if (first == links->count) return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->border.count; i++) {
        uint32_t after = i + 1; /* the link after this border */
        if (after < first || after > last) continue;
        f->border.at[kept] = f->border.at[i];
        f->crosser.at[kept++] = f->crosser.at[i];
    }
    f->border.count = f->crosser.count = kept;
}

Links blocks_find(const Problem *p, uint32_t boundary, Arena *arena) {
    Finder f = {.p = p, .boundary = boundary};
    f.first_read = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    f.last_read = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    f.last_use = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    for (uint32_t s = 0; s < p->storages; s++) f.first_read[s] = f.last_read[s] = f.last_use[s] = p->maker[s];
    for (uint32_t op = 0; op < p->ops; op++)
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            f.last_use[s] = op;
            if (op >= boundary) continue;
            if (f.first_read[s] == p->maker[s]) f.first_read[s] = op;
            f.last_read[s] = op;
        }
    find_borders(&f, arena);
    Links links = make_links(&f, arena);
    mirror(&f, &links, arena);
    number_kinds(&f, &links, arena);
    merge_ends(&f, &links, arena);
    links = make_links(&f, arena);
    mirror(&f, &links, arena);
    number_kinds(&f, &links, arena);
    return links;
}
