/* The ground everything in the compiler stands on: arenas, growing arrays,
 * strings, hashing, names, and dying when an invariant of ours is broken.
 *
 * `malloc` is called only in base.c. Nothing is freed singly: a pass allocates
 * from an arena and the arena is reset or freed whole. No mutable globals. */
#ifndef REMAT_BASE_H
#define REMAT_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A broken invariant of the compiler: prints "file:line: message", exits 70. */
#define die(...) die_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void die_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NONE            UINT32_MAX /* "no id" for every 32-bit handle */

/* ---- arena: memory that lives and dies together ---- */
typedef struct Arena Arena;
Arena *arena_new(void);
/* One that is freed with its parent, and sooner only where that is reset: for what another thread makes. */
Arena *arena_child(Arena *parent);
void arena_reset(Arena *arena); /* keeps the blocks, forgets what is in them */
void arena_free(Arena *arena);
/* Zeroed, aligned to 16 bytes; never NULL (out of memory: exits 70). */
void *arena_alloc(Arena *arena, size_t bytes);
void *arena_alloc_raw(Arena *arena, size_t bytes); /* not zeroed: for what is written before it is read */
char *arena_strndup(Arena *arena, const char *text, size_t length);
char *arena_strdup(Arena *arena, const char *text);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *arena, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
bool ends_in(const char *text, const char *tail); /* and is longer than it */
/* Once, at the start: what arenas free is kept for those that come after, since getting it again from the
 * system takes longer than filling it. */
void alloc_keep_freed(void);
/* Of malloc, with the same end, for libraries that allocate by themselves and free by free(). */
void *alloc_or_exit(size_t bytes);
#define NEW(arena, Type)          ((Type *)arena_alloc((arena), sizeof(Type)))
#define NEW_ARRAY(arena, Type, n) ((Type *)arena_alloc((arena), sizeof(Type) * (size_t)(n)))

/* ---- growing arrays: `VEC(Node) nodes = {0}; *vec_add(arena, &nodes) = node;` ---- */
#define VEC(Type)                                                                                            \
    struct {                                                                                                 \
        Type *at;                                                                                            \
        uint32_t count, capacity;                                                                            \
    }
void vec_grow(Arena *arena, void **at, uint32_t *capacity, uint32_t count, size_t item_bytes);
void vec_widen(Arena *arena, void **at, uint32_t *capacity, uint32_t count, uint32_t more, size_t item_bytes);
/* Makes room for one more, counts it, and yields its address (zeroed). */
#define vec_add(arena, vec)                                                                                  \
    ((vec)->count < (vec)->capacity                                                                          \
         ? (void)0                                                                                           \
         : vec_grow((arena), (void **)&(vec)->at, &(vec)->capacity, (vec)->count, sizeof *(vec)->at),        \
     &(vec)->at[(vec)->count++])
/* Makes room for `more` beyond those that are counted, not zeroed. */
#define vec_room(arena, vec, more)                                                                           \
    ((vec)->capacity - (vec)->count >= (more) ? (void)0                                                      \
                                              : vec_widen((arena), (void **)&(vec)->at, &(vec)->capacity,    \
                                                          (vec)->count, (more), sizeof *(vec)->at))

/* ---- text that grows ---- */
typedef struct Text {
    Arena *arena;
    char *at; /* always NUL-terminated once anything was added */
    size_t length, capacity;
} Text;
void text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_n(Text *text, const char *bytes, size_t count);
/* `bytes` as a JSON string, quotes included: what could steer a terminal is escaped, a byte that is no UTF-8
 * is read as Latin-1. */
void text_add_json(Text *text, const char *bytes);
/* `bytes` with what could steer a terminal spelled out, but the control characters in `keep`
 * (runtime/printable.h). */
void text_add_printable(Text *text, const char *bytes, const char *keep);

/* ---- names to ids ---- */
typedef struct Map Map;
Map *map_new(Arena *arena);
void map_set(Map *map, const char *key, uint32_t value); /* key is copied; last set wins */
uint32_t map_get(const Map *map, const char *key);       /* NONE when absent */

/* FNV-1a, 64 bit: the one hash used for canonical forms. Start with HASH_SEED. */
#define HASH_SEED 0xcbf29ce484222325u
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count);
/* Of tables in memory, eight bytes at a time: another hash, which nothing that is kept depends on. */
static inline uint64_t hash_word(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}
/* Of a key in such a table: names are looked up by the million, and some keys have millions of bytes. */
uint64_t hash_key(const char *key, size_t length);

/* A reproducible random stream (splitmix64): tests and seeded searches. */
uint64_t random_next(uint64_t *state);
double random_unit(uint64_t *state); /* [0, 1) */

/* "12.3 MiB", "981 B": for people. Writes into `out` and returns it. */
char *format_bytes(int64_t bytes, char out[24]);
/* The same, never less than `bytes`: what is read back as a size is enough. For what is needed. */
char *format_bytes_up(int64_t bytes, char out[24]);
/* "981.0 us", "12.30 ms", "2.310 s": for people. */
char *format_seconds(double seconds, char out[24]);
/* The fewest digits that read back as the same number. */
char *format_number(double value, char out[32]);

/* Whole file into the arena, NUL-terminated; "-" is standard input. A file of more than 256 MiB, or one
 * without end, is refused while it is read (EFBIG). NULL and errno on failure; read_file_error() says what
 * that means. */
enum { READ_FILE_MIB = 256 };
char *read_file(Arena *arena, const char *path, size_t *length);
const char *read_file_error(void);
/* The same, but reads `most` bytes of a longer file and leaves the rest. */
char *read_file_head(Arena *arena, const char *path, size_t most, size_t *length);

#endif
