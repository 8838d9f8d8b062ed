/* Two tables with open addressing, at most half full: strings of bytes to numbers, pairs of tokens to merges.
 */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>

static uint32_t slots_for(size_t most) {
    uint32_t slots = 16;
    while (slots < 2 * most) slots *= 2;
    return slots;
}

/* Eight bytes at a time: words are short, and there are many. */
uint64_t lookup_hash(const char *at, size_t length) {
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t hash = length * odd, word;
    for (; length >= sizeof word; at += sizeof word, length -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    word = 0;
    for (size_t i = 0; i < length; i++) word |= (uint64_t)(unsigned char)at[i] << 8 * i;
    hash = (hash ^ word) * odd;
    return hash ^ hash >> 29;
}

void lookup_init(Arena *arena, Lookup *lookup, size_t most) {
    uint32_t slots = slots_for(most);
    lookup->slot = NEW_ARRAY(arena, LookupSlot, slots);
    for (uint32_t i = 0; i < slots; i++) lookup->slot[i].value = NONE;
    lookup->mask = slots - 1;
    lookup->count = 0;
}

static LookupSlot *lookup_slot(const Lookup *lookup, const char *at, size_t length) {
    uint32_t i = (uint32_t)(lookup_hash(at, length) >> 20) & lookup->mask;
    for (;; i = (i + 1) & lookup->mask) {
        LookupSlot *slot = &lookup->slot[i];
        if (slot->value == NONE || (slot->key.length == length && !memcmp(slot->key.at, at, length)))
            return slot;
    }
}

void lookup_set(Lookup *lookup, Bytes key, uint32_t value) {
    LookupSlot *slot = lookup_slot(lookup, key.at, key.length);
    if (slot->value == NONE && ++lookup->count > lookup->mask / 2 + 1) die("a lookup is too small");
    *slot = (LookupSlot){key, value};
}

uint32_t lookup_get(const Lookup *lookup, const char *at, size_t length) {
    return lookup->slot ? lookup_slot(lookup, at, length)->value : NONE;
}

void merges_init(Arena *arena, Merges *merges, size_t most) {
    uint32_t slots = slots_for(most);
    merges->slot = NEW_ARRAY(arena, Merge, slots);
    for (uint32_t i = 0; i < slots; i++) merges->slot[i].left = NONE;
    merges->mask = slots - 1;
}

static Merge *merge_slot(const Merges *merges, uint32_t left, uint32_t right) {
    uint64_t hash = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    uint32_t i = (uint32_t)(hash >> 32) & merges->mask;
    for (;; i = (i + 1) & merges->mask) {
        Merge *slot = &merges->slot[i];
        if (slot->left == NONE || (slot->left == left && slot->right == right)) return slot;
    }
}

void merges_set(Merges *merges, Merge merge) {
    *merge_slot(merges, merge.left, merge.right) = merge;
}

const Merge *merges_get(const Merges *merges, uint32_t left, uint32_t right) {
    const Merge *slot = merge_slot(merges, left, right);
    return slot->left == NONE ? NULL : slot;
}
