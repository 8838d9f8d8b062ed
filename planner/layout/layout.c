/* Where the buffers of a program lie: persistent ones first, each on the shelf of its kind, the others packed
 * above them, and copies in host memory by themselves.
 *
 * In: buffers with lifetimes, of one arena and of host memory. Out: their offsets, and how high each gets. */
#include "planner/layout/layout.h"

#include "planner/layout/pack.h"
#include "planner/problem/memo.h"

#include <inttypes.h>

/* Where a persistent value lies: parameters and frozen weights, then states, then inputs. */
static int shelf(const Graph *g, ValueId v) {
    switch (g->value.at[v].kind) {
    case VALUE_PARAM:
    case VALUE_FROZEN: return 0;
    case VALUE_STATE: return 1;
    default: return 2;
    }
}

/* As pack_items, of items that are all aligned alike; offsets that are known for equal items are taken over.
 */
static void pack_once(PackItem *item, uint32_t count, int64_t below, Memo *known, Arena *scratch) {
    typedef struct Life {
        uint32_t lo, hi;
        int64_t bytes;
    } Life;
    Life *life = known ? NEW_ARRAY(scratch, Life, count + 1) : NULL;
    Text key = {.at = (char *)life, .length = sizeof *life * (count + 1)};
    const int64_t *offset = NULL;
    if (known) {
        life[0] = (Life){.lo = MEMO_PACKING, .bytes = below};
        for (uint32_t i = 0; i < count; i++) life[i + 1] = (Life){item[i].lo, item[i].hi, item[i].bytes};
        offset = memo_recall(known, &key);
    }
    if (!offset) pack_items(item, count, below, scratch);
    for (uint32_t i = 0; offset && i < count; i++) item[i].offset = offset[i];
    if (!known || offset) return;
    Arena *keeps = memo_begin(known, &key);
    if (!keeps) return;
    int64_t *found = NEW_ARRAY(keeps, int64_t, count + 1);
    for (uint32_t i = 0; i < count; i++) found[i] = item[i].offset;
    memo_remember(known, &key, found);
}

/* The largest that is not more. How hard is searched needs no more of what lies below, and packings are then
 * alike of a model that is trained in other ways. */
static int64_t power_of_two(int64_t bytes) {
    int64_t power = 1;
    while (power <= bytes / 2) power *= 2;
    return bytes ? power : 0;
}

/* Packs the buffers of one memory that are not persistent at and above `base`; the highest end of any there.
 */
static int64_t pack_memory(Layout *layout, bool host, int64_t base, Memo *known, Arena *scratch) {
    PackItem *item = NEW_ARRAY(scratch, PackItem, layout->buf.count);
    uint32_t *of = NEW_ARRAY(scratch, uint32_t, layout->buf.count), count = 0;
    int64_t height = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->persistent || (buf->kind == BUF_HOST) != host) continue;
        of[count] = b;
        item[count++] = (PackItem){.lo = buf->lo, .hi = buf->hi, .bytes = buf->bytes, .align = PLAN_ALIGN};
    }
    pack_once(item, count, power_of_two(base), known, scratch);
    for (uint32_t i = 0; i < count; i++) layout->buf.at[of[i]].offset = base + item[i].offset;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if ((buf->kind == BUF_HOST) == host && buf->offset + buf->bytes > height)
            height = buf->offset + buf->bytes;
    }
    return height;
}

static void pack_transients(Layout *layout, int64_t base, Memo *known, Arena *scratch) {
    layout->height_bytes = pack_memory(layout, false, base, known, scratch);
    layout->host_bytes = pack_memory(layout, true, 0, known, scratch);
}

void pack_layout(Layout *layout, const Graph *g, Memo *known, Arena *scratch) {
    int64_t base = 0;
    for (int s = 0; s < 3; s++)
        for (uint32_t b = 0; b < layout->buf.count; b++) {
            Buf *buf = &layout->buf.at[b];
            if (!buf->persistent || shelf(g, buf->value) != s) continue;
            buf->offset = base;
            base += buf->bytes;
        }
    layout->persistent_bytes = base;
    pack_transients(layout, base, known, scratch);
}

void pack_forward(Layout *forward, const Graph *fg, const Layout *train, const Graph *tg, Arena *scratch) {
    Map *home = map_new(scratch);
    for (uint32_t b = 0; b < train->buf.count; b++)
        if (train->buf.at[b].persistent) map_set(home, tg->value.at[train->buf.at[b].value].name, b);
    int64_t base = train->persistent_bytes;
    for (int others = 0; others < 2; others++)
        for (uint32_t b = 0; b < forward->buf.count; b++) {
            Buf *buf = &forward->buf.at[b];
            const Value *value = buf->persistent ? &fg->value.at[buf->value] : NULL;
            if (!value || (value->role != ROLE_CACHE) != others) continue;
            uint32_t at = others ? map_get(home, value->name) : NONE;
            bool same = at != NONE && tg->value.at[train->buf.at[at].value].kind == value->kind;
            if (same && train->buf.at[at].bytes >= buf->bytes) {
                buf->offset = train->buf.at[at].offset;
                continue;
            }
            if (shelf(fg, buf->value) == 0)
                die("the training program has no '%s' of %" PRId64 " bytes", value->name, buf->bytes);
            buf->offset = base;
            base += buf->bytes;
        }
    forward->persistent_bytes = base;
    pack_transients(forward, base, NULL, scratch);
}
