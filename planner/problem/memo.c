/* See memo.h. In: keys and results; out: the result of an equal key. */
#include "planner/problem/memo.h"

#include <pthread.h>
#include <string.h>

typedef struct Known {
    uint64_t hash;
    size_t length;
    const char *key;
    const void *result;
} Known;

struct Memo {
    pthread_mutex_t lock;
    Arena *arena; /* nobody else's, and under the lock */
    VEC(Known) known;
    uint64_t hash; /* of what is being kept */
};

Memo *memo_new(Arena *arena) {
    Memo *memo = NEW(arena, Memo);
    if (pthread_mutex_init(&memo->lock, NULL)) die("no lock");
    memo->arena = arena_child(arena);
    return memo;
}

static const void *find(const Memo *memo, const Text *key, uint64_t hash) {
    for (uint32_t i = 0; i < memo->known.count; i++) {
        const Known *known = &memo->known.at[i];
        if (known->hash == hash && known->length == key->length && !memcmp(known->key, key->at, key->length))
            return known->result;
    }
    return NULL;
}

const void *memo_recall(Memo *memo, const Text *key) {
    uint64_t hash = hash_key(key->at, key->length);
    pthread_mutex_lock(&memo->lock);
    const void *result = find(memo, key, hash);
    pthread_mutex_unlock(&memo->lock);
    return result;
}

Arena *memo_begin(Memo *memo, const Text *key) {
    uint64_t hash = hash_key(key->at, key->length);
    pthread_mutex_lock(&memo->lock);
    memo->hash = hash;
    if (!find(memo, key, hash)) return memo->arena;
    pthread_mutex_unlock(&memo->lock);
    return NULL;
}

void memo_remember(Memo *memo, const Text *key, const void *result) {
    Known known = {.hash = memo->hash, .length = key->length};
    known.key = memcpy(NEW_ARRAY(memo->arena, char, key->length + 1), key->at, key->length);
    known.result = result;
    *vec_add(memo->arena, &memo->known) = known;
    pthread_mutex_unlock(&memo->lock);
}
