/* The fixed policies as retentions. In: a problem and its blocks; out: what each gap keeps (problem.h). */
#include "planner/retain/policy.h"

#include "ir/glob.h"

#include <string.h>

void retain_all(const Problem *p, Keep *retain) {
    memset(retain, 0, sizeof *retain * p->gaps);
}

/* Sets when storage `s` is kept again in each gap that reaches past the boundary. */
static void drop_over(const Problem *p, uint32_t s, uint32_t boundary, uint32_t from, Keep *retain) {
    for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++) {
        if (!p->may_drop[gap] || p->gap_end[gap] < boundary) continue;
        uint32_t at = from > p->gap_begin[gap] ? from : p->gap_begin[gap];
        retain[gap] = (Keep){.from = at < p->gap_end[gap] ? at : p->gap_end[gap]};
    }
}

static void drop_dequantized(const Problem *p, uint32_t boundary, uint32_t from, Keep *retain) {
    for (uint32_t s = 0; p->dequantized && s < p->storages; s++)
        if (p->dequantized[s]) drop_over(p, s, boundary, from, retain);
}

void retain_all_but_dequantized(const Problem *p, uint32_t boundary, Keep *retain) {
    retain_all(p, retain);
    drop_dequantized(p, boundary, boundary, retain);
}

void retain_none_dequantized(const Problem *p, uint32_t boundary, Keep *retain) {
    drop_dequantized(p, boundary, UINT32_MAX, retain);
}

/* The gap in which storage `s` may be in host memory over the boundary; NONE without a reader at its end. */
static uint32_t idle_over(const Problem *p, uint32_t s, uint32_t boundary) {
    if (p->overwritten && p->overwritten[s]) return NONE;
    for (uint32_t gap = p->gap_first[s]; gap + 1 < p->gap_first[s + 1]; gap++)
        if (p->gap_begin[gap] < boundary && p->gap_end[gap] >= boundary) return gap;
    return NONE;
}

void retain_offload_blocks(const Problem *p, const Blocks *blocks, Keep *retain) {
    for (uint32_t s = 0; s < p->storages; s++) {
        uint32_t gap = idle_over(p, s, blocks->boundary);
        if (gap != NONE && retain[gap].from <= p->gap_begin[gap]) retain[gap] = (Keep){.host = HOST_STAGED};
    }
}

static uint32_t segment_of(uint32_t block, uint32_t length) {
    return block == NONE ? NONE : block / length;
}

void retain_segments(const Problem *p, const Blocks *blocks, uint32_t length, bool nested, Keep *retain) {
    Arena *scratch = arena_new();
    bool *outer = NEW_ARRAY(scratch, bool, p->storages + 1); /* read from another segment */
    bool *inner = NEW_ARRAY(scratch, bool, p->storages + 1); /* read from another block */
    for (uint32_t op = 0; op < blocks->boundary; op++)
        for (EACH(i, p->reads, op)) {
            uint32_t s = p->reads.list[i], here = blocks->op_block[op], there = blocks->op_block[p->maker[s]];
            if (here != there) inner[s] = true;
            if (segment_of(here, length) != segment_of(there, length)) outer[s] = true;
        }
    retain_all(p, retain);
    for (uint32_t s = 0; s < p->storages; s++) {
        uint32_t block = blocks->op_block[p->maker[s]];
        if (p->maker[s] >= blocks->boundary || block == NONE || outer[s]) continue;
        uint32_t from = nested && !inner[s] ? blocks->backward_begin[block] : blocks->boundary;
        drop_over(p, s, blocks->boundary, from, retain);
    }
    arena_free(scratch);
}

void retain_pins(const Graph *g, const Problem *p, const Pins *pins, uint32_t boundary, Keep *retain) {
    if (!pins) return;
    Arena *scratch = arena_new();
    for (uint32_t i = 0; i < pins->count; i++) {
        const Pin *pin = &pins->at[i];
        arena_reset(scratch);
        Glob *glob = glob_new(scratch, pin->pattern);
        for (uint32_t s = 0; s < p->storages; s++) {
            if (p->maker[s] >= boundary || !glob_matches(glob, g->node.at[p->op_node[p->maker[s]]].name))
                continue;
            uint32_t idle = idle_over(p, s, boundary);
            if (pin->kind == PIN_OFFLOAD && idle != NONE)
                retain[idle] = (Keep){.host = HOST_EASY};
            else if (pin->kind == PIN_RECOMPUTE)
                drop_over(p, s, boundary, boundary, retain);
            else if (pin->kind == PIN_KEEP)
                for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++)
                    retain[gap] = (Keep){.from = 0};
        }
    }
    arena_free(scratch);
}

bool retain_heuristic(double parameters, double vram_bytes, int64_t sequence, bool four_bit, Reasons *reasons,
                      Arena *arena) {
    double billions = parameters / 1e9, gigabytes = vram_bytes / 1e9;
    bool limited = vram_bytes > 0;
    const char *reason;
    bool enable = true;
    if (billions > 7)
        reason = arena_printf(arena, "the model has %.1fB parameters, more than 7B: enable", billions);
    else if (limited && gigabytes < 16)
        reason = arena_printf(arena, "the device has %.1f GB, less than 16 GB: enable", gigabytes);
    else if (sequence > 4096)
        reason =
            arena_printf(arena, "the sequence has %lld tokens, more than 4096: enable", (long long)sequence);
    else if (four_bit)
        reason = "the base weights are 4-bit: usually optional, left off", enable = false;
    else if (limited && gigabytes < 24) {
        enable = billions >= 7;
        reason = arena_printf(
            arena, "the device has %.1f GB, 16 to 24 GB: enable for 7B and more; the model has %.2fB",
            gigabytes, billions);
    } else {
        reason = limited
                     ? arena_printf(arena, "the device has %.1f GB, 24 GB or more: optional, off for speed",
                                    gigabytes)
                     : "memory has no limit: optional, off for speed";
        enable = false;
    }
    *vec_add(arena, reasons) = reason;
    *vec_add(arena, reasons) =
        enable ? "checkpoint every block (claimed: 40-60% less memory for 20-30% more time)"
               : "keep everything";
    return enable;
}
