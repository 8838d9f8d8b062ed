/* Optimal checkpointing of a chain by dynamic programming (Beaumont, Eyraud-Dubois, Herrmann, Joly and
 * Shilova, "Optimal checkpointing for heterogeneous chains"). In: links with their choices; out: tables.
 *
 * S(i, j, m): least seconds of recomputation to run blocks i..j backward with m bytes besides block i's
 * input: run block i by choice c, keep what it keeps and its output, then S(i + 1, j, less those bytes); or
 *   run i..k-1 keeping nothing, keep block k's input: S(k, j, less its bytes), and then S(i, k - 1, m) from
 * i.
 *
 * Segments whose kinds read the same share one table, so equal blocks cost run length x memory. A segment
 * that ends with the loss head has not run before: its forward pass is free. The others are run again while
 * the gradient that enters them is live, so their m is net of it. Gradients that live until the update shrink
 * m. Where memory is too small to keep the head's input while it runs, or all but a few blocks' inputs, a
 * segment ends with the block before the head: it runs again, and serves that block's own backward pass too.
 */
#include "planner/chain/chain_tables.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

enum { TABLES = 1024 };

uint32_t chain_slots(const Chain *c, int64_t bytes) {
    double exact = (double)(bytes + c->unit - 1) / (double)c->unit; /* of whole numbers: never up to one */
    return bytes <= 0 ? 0 : exact >= SLOTS + 1 ? SLOTS + 1 : (uint32_t)exact;
}

int64_t chain_grown_bytes(const Chain *c, uint32_t first, uint32_t last) {
    return c->grown[last + 1] - c->grown[first];
}

/* Least bytes a forward pass over a kind takes. */
static int64_t least_pass_bytes(const Kind *kind) {
    int64_t least = INT64_MAX;
    for (uint32_t k = 0; k < kind->choice.count; k++)
        if (kind->choice.at[k].again_bytes < least) least = kind->choice.at[k].again_bytes;
    return least;
}

/* The moves of a segment of one link. */
static uint32_t single_moves(Chain *c, uint32_t i, bool end) {
    const Kind *kind = chain_kind(c, i);
    uint32_t count = 0;
    for (uint32_t k = 0; k < kind->choice.count; k++) {
        const Choice *choice = &kind->choice.at[k];
        if (!end && choice->kept_bytes > 0) continue; /* it runs again just before its backward pass */
        int64_t bytes = choice->backward_bytes - (end && !c->again ? 0 : c->incoming_least);
        int64_t forward = c->again ? choice->again_bytes : choice->forward_bytes;
        if (end && forward > bytes) bytes = forward;
        c->move[count++] = (Move){.seconds = choice->seconds + (end && c->again ? kind->forward_seconds : 0),
                                  .least = chain_slots(c, bytes),
                                  .choice = k,
                                  .split = NONE};
    }
    return count;
}

uint32_t chain_moves(Chain *c, uint32_t i, uint32_t j) {
    uint32_t n = c->links.count, count = 0;
    bool end = j == c->end, head = end && !c->again;
    if (i == j) return single_moves(c, i, end);
    const Kind *kind = chain_kind(c, i);
    const double *after = end ? c->whole[i + 1] : c->segment[(i + 1) * n + j];
    int64_t credit = head ? 0 : c->incoming_least;
    for (uint32_t k = 0; k < kind->choice.count; k++) {
        const Choice *choice = &kind->choice.at[k];
        uint32_t forward = chain_slots(c, head ? choice->forward_bytes : choice->again_bytes);
        uint32_t backward = chain_slots(c, choice->backward_bytes + chain_grown_bytes(c, i + 1, j) - credit);
        c->move[count++] =
            (Move){.seconds = choice->seconds + (head ? 0 : kind->forward_seconds),
                   .least = chain_larger(forward, backward),
                   .after_slots = chain_slots(c, choice->kept_bytes + chain_kind(c, i + 1)->input_bytes),
                   .after = after,
                   .choice = k,
                   .split = NONE};
    }
    int64_t pass = 0;
    for (uint32_t k = i + 1; k <= j; k++) {
        int64_t bytes = c->pass_bytes[k - 1] + (k - 1 > i ? chain_kind(c, k - 1)->input_bytes : 0);
        if (bytes > pass) pass = bytes;
        c->move[count++] =
            (Move){.seconds = head ? 0 : c->run_seconds[k] - c->run_seconds[i],
                   .least = chain_slots(c, pass),
                   .after_slots = chain_slots(c, chain_kind(c, k)->input_bytes),
                   .before_slots = chain_slots(c, chain_grown_bytes(c, k, j) + (head ? c->incoming_most : 0)),
                   .after = end ? c->whole[k] : c->segment[k * n + j],
                   .before = c->segment[i * n + k - 1],
                   .split = k};
    }
    return count;
}

/* The first slot a move is possible at. */
static uint32_t move_first(const Move *move) {
    uint32_t after = move->after_slots + chain_table_first(move->after);
    uint32_t before = move->before_slots + chain_table_first(move->before);
    return chain_larger(move->least, chain_larger(after, before));
}

static double move_seconds(const Move *move, uint32_t m) {
    if (m < move_first(move)) return HUGE_VAL;
    return move->seconds + (move->after ? move->after[m - move->after_slots] : 0) +
           (move->before ? move->before[m - move->before_slots] : 0);
}

/* The slot from which more are of no use to a move. */
static uint32_t move_last(const Move *move) {
    uint32_t after = move->after_slots + chain_table_last(move->after);
    uint32_t before = move->before_slots + chain_table_last(move->before);
    return chain_larger(move_first(move), chain_larger(after, before));
}

/* Whether another move is at no memory worse: of choices of one block that differ in what no table asks for,
 * most are. Tables never rise with memory. */
static bool is_beaten(const Move *move, uint32_t count, uint32_t k, const uint32_t *first) {
    for (uint32_t j = 0; j < count; j++) {
        bool alike = move[j].after == move[k].after && move[j].before == move[k].before;
        if (j == k || !alike || first[j] > first[k] || move[j].seconds > move[k].seconds) continue;
        if (move[j].after_slots > move[k].after_slots || move[j].before_slots > move[k].before_slots)
            continue;
        bool same = first[j] == first[k] && move[j].seconds == move[k].seconds &&
                    move[j].after_slots == move[k].after_slots &&
                    move[j].before_slots == move[k].before_slots;
        if (!same || j < k) return true;
    }
    return false;
}

/* The moves that may be best at some memory come first, in their order; how many they are. */
static uint32_t unbeaten_moves(Chain *c, uint32_t count) {
    uint32_t good = 0, choices = 0;
    while (choices < count && c->move[choices].split == NONE) choices++;
    for (uint32_t k = 0; k < choices; k++) c->first[k] = move_first(&c->move[k]);
    for (uint32_t k = 0; k < choices; k++) c->beaten[k] = is_beaten(c->move, choices, k, c->first);
    for (uint32_t k = 0; k < count; k++)
        if (k >= choices || !c->beaten[k]) c->move[good++] = c->move[k];
    return good;
}

double *chain_fill(Chain *c, uint32_t count) {
    count = unbeaten_moves(c, count);
    uint32_t least = SLOTS + 1, most = c->most, last = 0;
    double *restrict table = (double *)arena_alloc_raw(c->arena, sizeof(double) * (most + 3)) + 2;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t first = move_first(&c->move[k]);
        if (first > most) continue;
        if (first < least) least = first;
        last = chain_larger(last, move_last(&c->move[k]));
    }
    if (last > most) last = most;
    for (uint32_t m = 0; m <= (least > most ? most : last); m++) table[m] = HUGE_VAL;
    for (uint32_t k = 0; k < count; k++) {
        const Move *move = &c->move[k];
        uint32_t first = move_first(move);
        if (first > most) continue;
        static const double nothing[SLOTS + 2];
        const double *restrict after = move->after ? move->after + (first - move->after_slots) : nothing;
        const double *restrict before = move->before ? move->before + (first - move->before_slots) : nothing;
        double seconds = move->seconds, *restrict best = table + first;
        for (uint32_t m = 0; m < last + 1 - first; m++) {
            double sum = seconds + after[m] + before[m];
            best[m] = sum < best[m] ? sum : best[m];
        }
    }
    if (least <= most) {
        double fewest = table[last];
        for (uint32_t m = last + 1; m <= most; m++) table[m] = fewest;
        while (last > least && table[last - 1] == fewest) last--;
    }
    table[-1] = least;
    table[-2] = last;
    return table;
}

/* For every segment the first one whose kinds read the same; false when there are too many. */
static bool find_equals(const Links *links, uint32_t *equal) {
    uint32_t n = links->count, distinct = n;
    for (uint32_t length = 1; length < n; length++)
        for (uint32_t i = 0; i + length < n; i++) {
            uint32_t j = i + length - 1, same = 0;
            for (; same < i; same++) {
                bool prefix = length == 1 || equal[same * n + same + length - 2] == equal[i * n + j - 1];
                if (prefix && links->at[same + length - 1].kind == links->at[j].kind) break;
            }
            equal[i * n + j] = same * n + same + length - 1;
            if (same == i && ++distinct > TABLES) return false;
        }
    return true;
}

static void fill_tables(Chain *c) {
    uint32_t n = c->links.count, *equal = c->equal;
    for (uint32_t length = 1; length <= c->end; length++)
        for (uint32_t i = 0; i + length <= c->end; i++) {
            uint32_t at = i * n + i + length - 1;
            c->segment[at] =
                equal[at] == at ? chain_fill(c, chain_moves(c, i, i + length - 1)) : c->segment[equal[at]];
        }
    for (uint32_t i = c->end + 1; i-- > 0;) c->whole[i] = chain_fill(c, chain_moves(c, i, c->end));
}

Move chain_best(const Chain *c, uint32_t count, uint32_t m) {
    uint32_t best = 0;
    for (uint32_t k = 1; k < count; k++)
        if (move_seconds(&c->move[k], m) < move_seconds(&c->move[best], m)) best = k;
    return c->move[best];
}

void chain_solve(Chain *c, uint32_t end, bool again, int64_t unit, uint32_t most) {
    uint32_t n = c->links.count;
    arena_reset(c->arena);
    c->end = end;
    c->again = again;
    c->unit = unit;
    c->most = most < SLOTS ? most : SLOTS;
    c->whole = NEW_ARRAY(c->arena, double *, n);
    c->segment = NEW_ARRAY(c->arena, double *, (size_t)n *n);
    fill_tables(c);
}

void chain_explore(Chain *c, bool explored, Arena *scratch) {
    c->kinds = choices_kinds(c->p, &c->links, explored, scratch);
    for (uint32_t i = 0; i < c->links.count; i++) c->pass_bytes[i] = least_pass_bytes(chain_kind(c, i));
}

bool chain_of(Chain *c, const Problem *p, uint32_t boundary, Arena *tables, Arena *scratch) {
    *c = (Chain){.p = p, .arena = tables, .links = blocks_find(p, boundary, scratch)};
    uint32_t n = c->links.count;
    c->equal = NEW_ARRAY(scratch, uint32_t, (size_t)n * n);
    if (n < 2 || n > TABLES || !find_equals(&c->links, c->equal)) return false;
    c->move = NEW_ARRAY(scratch, Move, EFFORT_CHOICES_MOST + n);
    c->first = NEW_ARRAY(scratch, uint32_t, EFFORT_CHOICES_MOST);
    c->beaten = NEW_ARRAY(scratch, bool, EFFORT_CHOICES_MOST);
    c->run_seconds = NEW_ARRAY(scratch, double, n + 1);
    c->grown = NEW_ARRAY(scratch, int64_t, n + 1);
    c->pass_bytes = NEW_ARRAY(scratch, int64_t, n + 1);
    chain_explore(c, true, scratch);
    c->incoming_least = INT64_MAX;
    for (uint32_t op = 0; op < p->ops; op++) c->step_seconds += p->seconds[op];
    for (uint32_t i = 0; i < n; i++) {
        const Kind *kind = chain_kind(c, i);
        c->run_seconds[i + 1] = c->run_seconds[i] + kind->forward_seconds;
        c->grown[i + 1] = c->grown[i] + kind->grown_bytes;
        if (i + 1 == n) break;
        if (kind->incoming_bytes > c->incoming_most) c->incoming_most = kind->incoming_bytes;
        if (kind->incoming_bytes < c->incoming_least) c->incoming_least = kind->incoming_bytes;
    }
    return true;
}
