/* See kinds.h. In: kinds with their choices; out: the same choices for kinds that are equal to the byte. */
#include "planner/chain/kinds.h"

#include <string.h>

static void add_numbers(Text *key, const uint32_t *number, uint32_t count) {
    text_add_n(key, (const char *)number, sizeof *number * count);
}

static void add_lists(Text *key, const Lists *lists, uint32_t ops) {
    add_numbers(key, lists->first, ops + 1);
    add_numbers(key, lists->list, lists->first[ops]);
}

Text kind_key(const Kind *kind, bool explored, Arena *arena) {
    const Problem *own = kind->own;
    Text key = {.arena = arena};
    uint32_t sizes[] = {MEMO_KIND, own->ops, own->storages, kind->forward_ops, explored};
    add_numbers(&key, sizes, COUNT_OF(sizes));
    text_add_n(&key, (const char *)&kind->incoming_bytes, sizeof kind->incoming_bytes);
    text_add_n(&key, (const char *)own->seconds, sizeof *own->seconds * own->ops);
    text_add_n(&key, (const char *)own->workspace_bytes, sizeof *own->workspace_bytes * own->ops);
    text_add_n(&key, (const char *)own->rerun, sizeof *own->rerun * own->ops);
    add_numbers(&key, own->rerun_end, own->ops);
    text_add_n(&key, (const char *)own->bytes, sizeof *own->bytes * own->storages);
    add_numbers(&key, own->maker, own->storages);
    if (own->dequantized)
        text_add_n(&key, (const char *)own->dequantized, sizeof *own->dequantized * own->storages);
    add_lists(&key, &own->reads, own->ops);
    add_lists(&key, &own->makes, own->ops);
    add_lists(&key, &own->takeover, own->ops);
    return key;
}

bool kind_recall(Memo *memo, const Text *key, Kind *kind) {
    const Kind *known = memo_recall(memo, key);
    if (!known) return false;
    kind->choice.at = known->choice.at;
    kind->choice.count = kind->choice.capacity = known->choice.count;
    return true;
}

void kind_remember(Memo *memo, const Text *key, const Kind *kind) {
    Arena *arena = memo_begin(memo, key);
    if (!arena) return;
    Kind *known = NEW(arena, Kind); /* its choices count */
    for (uint32_t i = 0; i < kind->choice.count; i++) {
        Choice choice = kind->choice.at[i];
        size_t bytes = sizeof *choice.retain * kind->own->gaps;
        choice.retain = memcpy(NEW_ARRAY(arena, Keep, kind->own->gaps + 1), choice.retain, bytes);
        *vec_add(arena, &known->choice) = choice;
    }
    memo_remember(memo, key, known);
}
