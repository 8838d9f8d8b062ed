/* See memo.h. In: keys and results; out: the result of an equal key. */
#include "planner/problem/memo.h"

#include <string.h>

typedef struct Known {
    uint64_t hash;
    size_t length;
    const char *key;
    const void *result;
} Known;

struct Memo {
    Arena *arena;
    VEC(Known) known;
};

Memo *memo_new(Arena *arena) {
    Memo *memo = NEW(arena, Memo);
    memo->arena = arena;
    return memo;
}

Arena *memo_arena(const Memo *memo) {
    return memo->arena;
}

const void *memo_recall(const Memo *memo, const Text *key) {
    uint64_t hash = hash_key(key->at, key->length);
    for (uint32_t i = 0; i < memo->known.count; i++) {
        const Known *known = &memo->known.at[i];
        if (known->hash == hash && known->length == key->length && !memcmp(known->key, key->at, key->length))
            return known->result;
    }
    return NULL;
}

void memo_remember(Memo *memo, const Text *key, const void *result) {
    Known known = {.hash = hash_key(key->at, key->length), .length = key->length};
    known.key = memcpy(NEW_ARRAY(memo->arena, char, key->length + 1), key->at, key->length);
    known.result = result;
    *vec_add(memo->arena, &memo->known) = known;
}
