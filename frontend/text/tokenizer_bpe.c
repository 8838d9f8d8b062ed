/* Byte-pair encoding (Sennrich, Haddow, Birch 2016): of all pairs of neighbours that the file lists, the one
 * that stands first in it is merged, the leftmost where there are several, until none is left. Short words
 * look at every pair each time; long ones keep the pairs in a heap. Words that were seen are remembered. */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>

enum {
    SHORT_SYMBOLS = 48, /* as far as looking at every pair is faster than a heap */
    KEPT_WORD = 64,     /* bytes of the longest word that is remembered */
    KEPT_SLOTS = 1 << 16,
    KEPT_WORDS = KEPT_SLOTS / 2,
    KEPT_PARTS = 1 << 18,
    KEPT_BYTES = 1 << 20,
};

typedef struct Kept {
    uint32_t hash, text, part;
    uint16_t length, parts; /* length 0: empty */
} Kept;

typedef struct Symbol {
    uint32_t id, length, rank; /* of the pair it makes with the next; NONE: no merge */
    uint32_t merged;           /* what that pair becomes */
    uint32_t previous, next;   /* NONE; length 0: merged into the one before it */
} Symbol;

typedef struct Waiting {
    uint32_t rank, at;
} Waiting;

struct Bpe {
    Arena *arena;
    VEC(Symbol) symbol;
    VEC(Waiting) heap;
    VEC(Part) out;
    Kept *kept;
    char *kept_text;
    Part *kept_part;
    uint32_t words, bytes, parts; /* in use of these */
};

Bpe *bpe_new(Arena *arena) {
    Bpe *bpe = NEW(arena, Bpe);
    bpe->arena = arena;
    bpe->kept = NEW_ARRAY(arena, Kept, KEPT_SLOTS);
    bpe->kept_text = arena_alloc_raw(arena, KEPT_BYTES);
    bpe->kept_part = arena_alloc_raw(arena, sizeof(Part) * KEPT_PARTS);
    return bpe;
}

/* ---- words that were seen ---- */

static Kept *kept_slot(const Bpe *bpe, uint32_t hash, const char *word, uint32_t length) {
    for (uint32_t i = hash & (KEPT_SLOTS - 1);; i = (i + 1) & (KEPT_SLOTS - 1)) {
        Kept *kept = &bpe->kept[i];
        if (!kept->length) return kept;
        if (kept->hash == hash && kept->length == length &&
            !memcmp(bpe->kept_text + kept->text, word, length))
            return kept;
    }
}

static void keep(Bpe *bpe, uint32_t hash, const char *word, uint32_t length, const Part *part,
                 uint32_t parts) {
    if (bpe->words == KEPT_WORDS || bpe->bytes + length > KEPT_BYTES || bpe->parts + parts > KEPT_PARTS) {
        memset(bpe->kept, 0, sizeof(Kept) * KEPT_SLOTS);
        bpe->words = bpe->bytes = bpe->parts = 0;
    }
    *kept_slot(bpe, hash, word, length) =
        (Kept){hash, bpe->bytes, bpe->parts, (uint16_t)length, (uint16_t)parts};
    memcpy(bpe->kept_text + bpe->bytes, word, length);
    memcpy(bpe->kept_part + bpe->parts, part, sizeof *part * parts);
    bpe->words++;
    bpe->bytes += length;
    bpe->parts += parts;
}

/* ---- a word to symbols ---- */

static void add_symbol(Bpe *bpe, uint32_t id, uint32_t length) {
    *vec_add(bpe->arena, &bpe->symbol) = (Symbol){.id = id, .length = length};
}

static void bytes_to_symbols(Bpe *bpe, const Model *model, const char *word, uint32_t length) {
    uint32_t unknown = 0;
    for (uint32_t i = 0; i <= length; i++) {
        uint32_t id = i < length ? model->byte[(unsigned char)word[i]] : NONE;
        if (unknown && (id != NONE || i == length || !model->fuse_unk))
            add_symbol(bpe, model->unk, unknown), unknown = 0;
        if (id != NONE)
            add_symbol(bpe, id, 1);
        else
            unknown += i < length;
    }
}

static uint32_t character_id(const Model *model, uint32_t c) {
    const uint32_t *page = model->character[c >> 8];
    return page ? page[c & 0xff] : NONE;
}

static bool fallback(Bpe *bpe, const Model *model, const char *at, uint32_t size) {
    if (!model->byte_fallback) return false;
    for (uint32_t i = 0; i < size; i++)
        if (model->byte[(unsigned char)at[i]] == NONE) return false;
    for (uint32_t i = 0; i < size; i++) add_symbol(bpe, model->byte[(unsigned char)at[i]], 1);
    return true;
}

/* As in the library, an unknown character waits for the next known one, and bytes may go ahead of it. */
static void characters_to_symbols(Bpe *bpe, const Model *model, const char *word, uint32_t length) {
    uint32_t unknown = 0, size;
    for (uint32_t i = 0; i < length; i += size) {
        uint32_t id = character_id(model, unicode_read(word + i, &size));
        if (id == NONE && fallback(bpe, model, word + i, size)) continue;
        if (unknown && (id != NONE || !model->fuse_unk)) add_symbol(bpe, model->unk, unknown), unknown = 0;
        if (id != NONE)
            add_symbol(bpe, id, size);
        else
            unknown += size;
    }
    if (unknown) add_symbol(bpe, model->unk, unknown);
}

/* ---- merges ---- */

static void rank_pair(const Model *model, Symbol *left, const Symbol *right) {
    const Merge *merge = right ? merges_get(&model->merges, left->id, right->id) : NULL;
    left->rank = merge ? merge->rank : NONE;
    left->merged = merge ? merge->id : NONE;
}

static void merge_short(const Model *model, Symbol *symbol, uint32_t *count) {
    uint32_t n = *count;
    for (uint32_t i = 0; i < n; i++) rank_pair(model, &symbol[i], i + 1 < n ? &symbol[i + 1] : NULL);
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++)
            if (symbol[i].rank < symbol[best].rank) best = i;
        if (!n || symbol[best].rank == NONE) break;
        symbol[best].id = symbol[best].merged;
        symbol[best].length += symbol[best + 1].length;
        n--;
        memmove(&symbol[best + 1], &symbol[best + 2], sizeof *symbol * (n - best - 1));
        rank_pair(model, &symbol[best], best + 1 < n ? &symbol[best + 1] : NULL);
        if (best) rank_pair(model, &symbol[best - 1], &symbol[best]);
    }
    *count = n;
}

static bool before(Waiting a, Waiting b) {
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_add(Bpe *bpe, Waiting item) {
    uint32_t i = bpe->heap.count;
    vec_add(bpe->arena, &bpe->heap);
    for (Waiting *heap = bpe->heap.at; i && before(item, heap[(i - 1) / 2]); i = (i - 1) / 2)
        bpe->heap.at[i] = heap[(i - 1) / 2];
    bpe->heap.at[i] = item;
}

static Waiting heap_take(Bpe *bpe) {
    Waiting *heap = bpe->heap.at, first = heap[0], moved = heap[--bpe->heap.count];
    uint32_t i = 0, n = bpe->heap.count;
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], moved)) break;
        heap[i] = heap[child];
    }
    if (n) heap[i] = moved;
    return first;
}

static void wait_at(Bpe *bpe, const Model *model, uint32_t at) {
    Symbol *symbol = bpe->symbol.at;
    rank_pair(model, &symbol[at], symbol[at].next == NONE ? NULL : &symbol[symbol[at].next]);
    if (symbol[at].rank != NONE) heap_add(bpe, (Waiting){symbol[at].rank, at});
}

static void merge_long(Bpe *bpe, const Model *model) {
    Symbol *symbol = bpe->symbol.at;
    uint32_t n = bpe->symbol.count, kept = 0;
    bpe->heap.count = 0;
    for (uint32_t i = 0; i < n; i++)
        symbol[i].previous = i ? i - 1 : NONE, symbol[i].next = i + 1 < n ? i + 1 : NONE;
    for (uint32_t i = 0; i < n; i++) wait_at(bpe, model, i);
    while (bpe->heap.count) {
        Waiting top = heap_take(bpe);
        Symbol *left = &symbol[top.at];
        if (!left->length || left->rank != top.rank) continue; /* merged since, or another pair now */
        Symbol *right = &symbol[left->next];
        left->id = left->merged;
        left->length += right->length;
        left->next = right->next;
        right->length = 0;
        if (left->next != NONE) symbol[left->next].previous = top.at;
        wait_at(bpe, model, top.at);
        if (left->previous != NONE) wait_at(bpe, model, left->previous);
    }
    for (uint32_t i = 0; i < n; i++)
        if (symbol[i].length) symbol[kept++] = symbol[i];
    bpe->symbol.count = kept;
}

static void encode_word(Bpe *bpe, const Model *model, const char *word, uint32_t length) {
    bpe->symbol.count = 0;
    if (model->byte_level)
        bytes_to_symbols(bpe, model, word, length);
    else
        characters_to_symbols(bpe, model, word, length);
    if (bpe->symbol.count <= SHORT_SYMBOLS)
        merge_short(model, bpe->symbol.at, &bpe->symbol.count);
    else
        merge_long(bpe, model);
    vec_room(bpe->arena, &bpe->out, bpe->symbol.count);
    for (uint32_t i = 0; i < bpe->symbol.count; i++)
        bpe->out.at[bpe->out.count++] = (Part){bpe->symbol.at[i].id, bpe->symbol.at[i].length};
}

const Part *bpe_word(Bpe *bpe, const Model *model, const char *word, uint32_t length, uint32_t *count) {
    bool kept = length <= KEPT_WORD;
    uint32_t hash = kept ? (uint32_t)(lookup_hash(word, length) >> 20) : 0;
    const Kept *seen = kept ? kept_slot(bpe, hash, word, length) : NULL;
    if (seen && seen->length) {
        *count = seen->parts;
        return bpe->kept_part + seen->part;
    }
    uint32_t id = model->ignore_merges ? lookup_get(&model->whole, word, length) : NONE;
    bpe->out.count = 0;
    if (id == NONE)
        encode_word(bpe, model, word, length);
    else
        *vec_add(bpe->arena, &bpe->out) = (Part){id, length};
    if (kept) keep(bpe, hash, word, length, bpe->out.at, bpe->out.count);
    *count = bpe->out.count;
    return bpe->out.at;
}
