/* The verb `pack`. In: a table of buffers and perhaps a capacity; out: an offset for each, the height, and
 * what is proved about it. First fit first; the exact search where that does not reach. Searches are limited
 * by nodes, so the same file gives the same answer everywhere. */
#include "frontend/verbs/verb.h"

#include "planner/layout/pack_exact.h"
#include "planner/plan.h"
#include "frontend/verbs/csv.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "planner/layout/pack.h"
#include "planner/layout/pack_lowest.h"
#include "planner/effort.h"
#include "planner/problem/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Packing {
    BufferTable table;
    PackExactItem *item;
    uint32_t count;
    bool gaps, fixed;     /* some have them */
    int64_t capacity;     /* -1: the smallest height */
    int64_t live, height; /* the liveness bound, what was reached */
    int64_t bound;        /* what alignment makes of the first */
    PackLowestProof proof;
    PackExactAnswer answer;
} Packing;

/* ---- table to items ---- */

static int time_compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

typedef struct Times {
    int64_t *at; /* ascending, distinct */
    uint32_t count;
    bool dense; /* they lie near enough that the distance from the first serves, and keeps lengths */
} Times;

static Times find_times(const BufferTable *table, Arena *arena) {
    uint32_t n = 0, distinct = 0;
    for (uint32_t i = 0; i < table->row.count; i++) n += 2 + 2 * table->row.at[i].gap.count;
    Times times = {.at = NEW_ARRAY(arena, int64_t, n + 1)};
    n = 0;
    for (uint32_t i = 0; i < table->row.count; i++) {
        const BufferRow *row = &table->row.at[i];
        times.at[n++] = row->lower;
        times.at[n++] = row->upper;
        for (uint32_t g = 0; g < row->gap.count; g++) {
            times.at[n++] = row->gap.at[g].lower;
            times.at[n++] = row->gap.at[g].upper;
        }
    }
    qsort(times.at, n, sizeof *times.at, time_compare);
    for (uint32_t i = 0; i < n; i++)
        if (!i || times.at[distinct - 1] != times.at[i]) times.at[distinct++] = times.at[i];
    times.count = distinct;
    times.dense = n && times.at[distinct - 1] - times.at[0] < UINT32_MAX;
    return times;
}

static uint32_t time_of(const Times *times, int64_t time) {
    if (times->dense) return (uint32_t)(time - times->at[0]);
    const int64_t *found = bsearch(&time, times->at, times->count, sizeof *times->at, time_compare);
    return (uint32_t)(found - times->at);
}

/* The runs of a lifetime between its gaps. */
static void find_runs(const BufferRow *row, const Times *times, PackExactItem *item, Arena *arena) {
    int64_t at = row->lower;
    item->run = NEW_ARRAY(arena, PackExactRun, row->gap.count + 1);
    for (uint32_t g = 0; g <= row->gap.count; g++) {
        int64_t end = g < row->gap.count ? row->gap.at[g].lower : row->upper;
        if (at < end && row->bytes)
            item->run[item->runs++] = (PackExactRun){time_of(times, at), time_of(times, end)};
        if (g < row->gap.count) at = row->gap.at[g].upper;
    }
}

static void make_items(Packing *p, Arena *arena) {
    Times times = find_times(&p->table, arena);
    p->count = p->table.row.count;
    p->item = NEW_ARRAY(arena, PackExactItem, p->count + 1);
    for (uint32_t i = 0; i < p->count; i++) {
        const BufferRow *row = &p->table.row.at[i];
        p->item[i] = (PackExactItem){.bytes = row->bytes, .align = row->alignment, .fixed = row->offset};
        find_runs(row, &times, &p->item[i], arena);
        p->gaps |= p->item[i].runs > 1;
        p->fixed |= row->offset >= 0;
    }
}

static bool share_time(const PackExactItem *a, const PackExactItem *b) {
    for (uint32_t i = 0; i < a->runs; i++)
        for (uint32_t j = 0; j < b->runs; j++)
            if (a->run[i].lo < b->run[j].hi && b->run[j].lo < a->run[i].hi) return true;
    return false;
}

/* Offsets that the file fixes must not collide. */
static bool fixed_agree(const Packing *p, const Options *options) {
    if (p->fixed && p->count > EFFORT_PACK_PAIRS) {
        message_fail_at(options, EXIT_SOURCE, options->file, 0, 0,
                        "with offsets, a file has at most %d buffers, not %u", EFFORT_PACK_PAIRS, p->count);
        return false;
    }
    for (uint32_t i = 0; i < p->count; i++)
        for (uint32_t j = 0; j < i && p->item[i].fixed >= 0; j++) {
            const PackExactItem *a = &p->item[i], *b = &p->item[j];
            if (b->fixed < 0 || a->fixed >= b->fixed + b->bytes || b->fixed >= a->fixed + a->bytes) continue;
            if (!share_time(a, b)) continue;
            message_fail_at(options, EXIT_SOURCE, options->file, p->table.row.at[i].line, 0,
                            "at their offsets '%.100s' and '%.100s' of line %u share bytes",
                            p->table.row.at[i].id, p->table.row.at[j].id, p->table.row.at[j].line);
            return false;
        }
    return true;
}

/* ---- packing ---- */

static int64_t first_fit(Packing *p, Arena *arena) {
    if (p->fixed || (p->gaps && p->count <= EFFORT_PACK_PAIRS))
        return pack_lowest_first_fit(p->item, p->count, arena);
    PackItem *item = NEW_ARRAY(arena, PackItem, p->count + 1);
    for (uint32_t i = 0; i < p->count; i++) {
        const PackExactItem *from = &p->item[i];
        item[i] = (PackItem){.bytes = from->bytes, .align = from->align};
        if (from->runs) item[i].lo = from->run[0].lo, item[i].hi = from->run[from->runs - 1].hi;
    }
    int64_t height = pack_items(item, p->count, 0, arena);
    for (uint32_t i = 0; i < p->count; i++) p->item[i].offset = item[i].offset;
    return height;
}

static uint64_t node_limit(const Packing *p, uint64_t nodes) {
    if (p->count > EFFORT_PACK_SEARCHED) return 0;
    return p->count > EFFORT_PACK_SMALL ? nodes * EFFORT_PACK_SMALL / p->count : nodes;
}

static void find_packing(Packing *p, Stats *stats, Arena *arena) {
    p->live = pack_lowest_live(p->item, p->count, arena);
    p->proof.bound = p->bound = pack_lowest_bound(p->item, p->count, arena);
    p->answer = PACK_EXACT_FOUND;
    if (p->capacity >= 0 && p->proof.bound > p->capacity) {
        p->answer = PACK_EXACT_IMPOSSIBLE;
        return;
    }
    double began = stats_begin(stats);
    p->height = first_fit(p, arena);
    stats_end(stats, STATS_FIRST_FIT, began, p->height == p->bound);
    began = stats_begin(stats);
    if (p->capacity < 0) {
        p->height = pack_lowest(p->item, p->count, p->height, 0, 0, node_limit(p, EFFORT_PACK_LOWEST_NODES),
                                &p->proof, arena);
        stats_end(stats, STATS_PACK_LOWEST, began, p->proof.nodes);
        return;
    }
    if (p->height <= p->capacity) return;
    uint64_t limit = node_limit(p, EFFORT_PACK_CAPACITY_NODES);
    p->answer = limit ? pack_exact(p->item, p->count, p->capacity, limit, &p->proof.nodes, arena)
                      : PACK_EXACT_UNKNOWN;
    stats_end(stats, STATS_PACK_EXACT, began, p->proof.nodes);
    if (p->answer == PACK_EXACT_IMPOSSIBLE) p->proof.bound = p->capacity + 1;
    if (p->answer != PACK_EXACT_FOUND) return;
    p->height = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->item[i].runs && p->item[i].offset + p->item[i].bytes > p->height)
            p->height = p->item[i].offset + p->item[i].bytes;
}

/* ---- printing ---- */

static double gap_of(const Packing *p) {
    return p->live > 0 ? (double)(p->height - p->live) / (double)p->live : 0;
}

static void print_json(const Packing *p, Text *out) {
    static const char *const answers[] = {"found", "impossible", "unknown"};
    text_add(out, "{\"buffers\": %u, \"answer\": \"%s\"", p->count, answers[p->answer]);
    if (p->capacity >= 0) text_add(out, ", \"capacity\": %" PRId64, p->capacity);
    if (p->answer == PACK_EXACT_FOUND)
        text_add(out, ", \"height\": %" PRId64 ", \"gap\": %.6f", p->height, gap_of(p));
    text_add(out, ", \"live\": %" PRId64 ", \"lower_bound\": %" PRId64 ", \"placements\": %" PRIu64 "}\n",
             p->live, p->proof.bound, p->proof.nodes);
}

static void print_found(const Packing *p, const char *path, Text *out) {
    text_add(out, "%s: %u buffers, %" PRId64 " high", path, p->count, p->height);
    if (p->capacity >= 0) text_add(out, ", within %" PRId64, p->capacity);
    text_add(out, "\n  live at once  %" PRId64 "\n  gap           %.3f%%", p->live, 100 * gap_of(p));
    if (p->height == p->live)
        text_add(out, ", none can be lower\n");
    else if (p->capacity < 0 && p->height == p->proof.bound)
        text_add(out, ", proved: none is lower\n");
    else if (p->capacity < 0)
        text_add(out, ", proved: none is below %" PRId64 "\n", p->proof.bound);
    else
        text_add(out, "\n");
}

static void print_not_found(const Packing *p, const Options *options) {
    message_fail(options, EXIT_INFEASIBLE, "no packing of %s within %" PRId64, options->file, p->capacity);
    if (p->live > p->capacity) {
        message_note(options, "proved impossible: %" PRId64 " are live at once", p->live);
    } else if (p->bound > p->capacity) {
        message_note(options, "proved impossible: aligned, what is live at once takes %" PRId64, p->bound);
    } else if (p->answer == PACK_EXACT_IMPOSSIBLE) {
        message_note(options, "proved impossible, in %" PRIu64 " placements", p->proof.nodes);
    } else {
        message_note(options, "nothing is proved: the search ended after its limit of %" PRIu64 " placements",
                     p->proof.nodes);
        message_help(options, "without --capacity, pack says the smallest height it finds");
    }
}

static int read_table(Packing *p, const Options *options, Arena *arena) {
    const char *path = options->file;
    size_t length;
    uint32_t line;
    const char *text = read_file(arena, path, &length);
    if (!text) return message_fail(options, EXIT_IO, "cannot read '%s': %s", path, read_file_error());
    const char *wrong = csv_read(&p->table, text, length, &line, arena);
    if (!wrong) return -1;
    return message_fail_at(options, EXIT_SOURCE, path, line, 0, "%s", wrong);
}

static int write_offsets(const Packing *p, const Options *options, Arena *arena) {
    Text out = {.arena = arena};
    int64_t *offset = NEW_ARRAY(arena, int64_t, p->count + 1);
    for (uint32_t i = 0; i < p->count; i++) offset[i] = p->item[i].offset;
    csv_write(&p->table, offset, &out);
    return output_write(options, options->output, &out);
}

int verb_pack(Compilation *c) {
    const Options *options = c->options;
    Arena *arena = c->arena;
    Packing p = {.capacity = -1};
    if (options->capacity) {
        char *end;
        errno = 0;
        p.capacity = strtoll(options->capacity, &end, 10);
        if (end == options->capacity || *end || errno || p.capacity < 0)
            return message_fail(options, EXIT_USAGE, "--capacity takes a whole number, not '%s'",
                                options->capacity);
    }
    int code = output_not_input(options);
    if (code < 0) code = read_table(&p, options, arena);
    if (code >= 0) return code;
    make_items(&p, arena);
    if (!fixed_agree(&p, options)) return EXIT_SOURCE;
    find_packing(&p, c->stats, arena);
    /* the table first: where it cannot be written, that is the one answer */
    if (p.answer == PACK_EXACT_FOUND && options->output &&
        (code = write_offsets(&p, options, arena)) != EXIT_FINE)
        return code;
    Text out = {.arena = arena};
    text_add(&out, "%s", "");
    if (options->json)
        print_json(&p, &out);
    else if (p.answer == PACK_EXACT_FOUND)
        print_found(&p, options->file, &out);
    /* a table on standard output stands alone */
    if (options->output && !strcmp(options->output, "-"))
        message_text(&out);
    else if ((code = output_print(options, &out)) != EXIT_FINE)
        return code;
    if (p.answer == PACK_EXACT_FOUND) return EXIT_FINE;
    if (!options->json) print_not_found(&p, options);
    return EXIT_INFEASIBLE;
}
