/* See base.h. Arenas are chains of blocks, each twice the last up to 16 MiB: what the C library takes from
 * the system and gives back at once is larger. */
#include "ir/base.h"

#include "runtime/printable.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

enum { EXIT_INTERNAL = 70 };

void die_at(const char *file, int line, const char *format, ...) {
    char message[2048], shown[4096]; /* no arena: what broke may be one */
    va_list args;
    fflush(stdout);
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    printable(shown, sizeof shown, message, strlen(message), "\n");
    fprintf(stderr, "%s:%d: %s\n", file, line, shown);
    exit(EXIT_INTERNAL);
}

/* ---- arena ---- */

typedef struct Block {
    struct Block *next;
    size_t used, capacity;
    _Alignas(16) unsigned char bytes[];
} Block;

struct Arena {
    Block *first, *current;
    Arena *child, *next; /* its own, and the next of its parent's */
};

static void *must(void *memory) {
    if (!memory) {
        fputs("rematc: out of memory\n", stderr);
        exit(EXIT_INTERNAL);
    }
    return memory;
}

void alloc_keep_freed(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_ARENA_MAX, 1); /* what one thread frees is there for all */
#endif
}

void *alloc_or_exit(size_t bytes) {
    return must(malloc(bytes ? bytes : 1));
}

static Block *block_new(size_t capacity) {
    Block *block = must(malloc(sizeof *block + capacity));
    block->next = NULL;
    block->used = 0;
    block->capacity = capacity;
    return block;
}

Arena *arena_new(void) {
    Arena *arena = must(malloc(sizeof *arena));
    arena->first = arena->current = block_new(64 << 10);
    arena->child = arena->next = NULL;
    return arena;
}

Arena *arena_child(Arena *parent) {
    Arena *arena = arena_new();
    arena->next = parent->child;
    return parent->child = arena;
}

static void free_children(Arena *arena) {
    for (Arena *child = arena->child, *next; child; child = next) {
        next = child->next;
        arena_free(child);
    }
    arena->child = NULL;
}

void arena_reset(Arena *arena) {
    free_children(arena);
    for (Block *block = arena->first; block; block = block->next) block->used = 0;
    arena->current = arena->first;
}

void arena_free(Arena *arena) {
    if (!arena) return;
    free_children(arena);
    for (Block *block = arena->first, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(arena);
}

void *arena_alloc_raw(Arena *arena, size_t bytes) {
    size_t size = (bytes + 15) & ~(size_t)15;
    if (size < bytes) die("allocation of %zu bytes overflows", bytes);
    Block *block = arena->current;
    while (block->capacity - block->used < size) {
        if (!block->next) {
            size_t capacity = block->capacity < ((size_t)8 << 20) ? block->capacity * 2 : (size_t)16 << 20;
            block->next = block_new(capacity < size ? size : capacity);
        }
        block = block->next;
    }
    arena->current = block;
    void *result = block->bytes + block->used;
    block->used += size;
    return result;
}

void *arena_alloc(Arena *arena, size_t bytes) {
    return memset(arena_alloc_raw(arena, bytes), 0, bytes);
}

char *arena_strndup(Arena *arena, const char *text, size_t length) {
    char *copy = arena_alloc_raw(arena, length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

char *arena_strdup(Arena *arena, const char *text) {
    return arena_strndup(arena, text, strlen(text));
}

/* As vsnprintf where the format has %s and %u alone and the text fits, else -1: the names of graphs, made by
 * the hundred thousand, take a fraction of the time. */
static int print_name(char *line, size_t size, const char *format, va_list args) {
    size_t length = 0;
    for (const char *f = format; *f; f++) {
        char digit[10];
        const char *from = f;
        size_t count = 1;
        if (*f == '%') {
            f++;
            if (*f == 's') {
                from = va_arg(args, const char *);
                if (!from) return -1;
                count = strlen(from);
            } else if (*f == 'u') {
                unsigned number = va_arg(args, unsigned);
                size_t at = sizeof digit;
                do digit[--at] = (char)('0' + number % 10);
                while (number /= 10);
                from = &digit[at];
                count = sizeof digit - at;
            } else {
                return -1;
            }
        }
        if (count >= size - length) return -1;
        memcpy(line + length, from, count);
        length += count;
    }
    return (int)length;
}

char *arena_vprintf(Arena *arena, const char *format, va_list args) {
    char line[256];
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(line, sizeof line, format, args);
    if (length < 0) die("bad format '%s'", format);
    char *text = arena_alloc(arena, (size_t)length + 1);
    if ((size_t)length < sizeof line)
        memcpy(text, line, (size_t)length);
    else
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_printf(Arena *arena, const char *format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    int length = print_name(line, sizeof line, format, args);
    va_end(args);
    if (length >= 0) return arena_strndup(arena, line, (size_t)length);
    va_start(args, format);
    char *text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

bool ends_in(const char *text, const char *tail) {
    size_t length = strlen(text), behind = strlen(tail);
    return length > behind && !strcmp(text + length - behind, tail);
}

/* ---- growing arrays and text ---- */

/* The array moved to where there is room for `more`, which is not zeroed; in items, the new capacity. */
static uint32_t widen(Arena *arena, void **at, uint32_t capacity, uint32_t count, uint32_t more,
                      size_t item_bytes) {
    if (count > UINT32_MAX / 2 || more > UINT32_MAX / 2) die("array of %u items cannot grow", count);
    uint32_t wider = capacity ? capacity * 2 : 8;
    if (wider < count + more) wider = count + more;
    void *moved = arena_alloc_raw(arena, item_bytes * wider);
    if (count) memcpy(moved, *at, item_bytes * count);
    *at = moved;
    return wider;
}

void vec_widen(Arena *arena, void **at, uint32_t *capacity, uint32_t count, uint32_t more,
               size_t item_bytes) {
    *capacity = widen(arena, at, *capacity, count, more, item_bytes);
}

void vec_grow(Arena *arena, void **at, uint32_t *capacity, uint32_t count, size_t item_bytes) {
    if (count < *capacity) return;
    *capacity = widen(arena, at, *capacity, count, 1, item_bytes);
    memset((char *)*at + item_bytes * count, 0, item_bytes * (*capacity - count));
}

void text_add_n(Text *text, const char *bytes, size_t count) {
    if (text->length + count + 1 > text->capacity) {
        size_t wider = text->capacity ? text->capacity * 2 : 256;
        while (wider < text->length + count + 1) wider *= 2;
        char *moved = arena_alloc(text->arena, wider);
        if (text->length) memcpy(moved, text->at, text->length);
        text->at = moved;
        text->capacity = wider;
    }
    if (count) memcpy(text->at + text->length, bytes, count);
    text->length += count;
    text->at[text->length] = 0;
}

void text_add(Text *text, const char *format, ...) {
    char line[512];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0) die("bad format '%s'", format);
    if ((size_t)length < sizeof line) {
        text_add_n(text, line, (size_t)length);
    } else {
        char *longer = arena_alloc(text->arena, (size_t)length + 1);
        vsnprintf(longer, (size_t)length + 1, format, again);
        text_add_n(text, longer, (size_t)length);
    }
    va_end(again);
}

void text_add_json(Text *text, const char *bytes) {
    size_t length = strlen(bytes), size;
    text_add_n(text, "\"", 1);
    for (size_t i = 0; i < length; i += size) {
        unsigned code;
        size = printable_decode(bytes + i, length - i, &code);
        bool plain = size && code != '"' && code != '\\' && printable(NULL, 0, bytes + i, size, "") == size;
        if (!size) size = 1, code = (unsigned char)bytes[i];
        if (plain)
            text_add_n(text, bytes + i, size);
        else if (code == '"' || code == '\\')
            text_add(text, "\\%c", (int)code);
        else if (code == '\n')
            text_add(text, "\\n");
        else if (code >= 0x10000)
            text_add(text, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
        else
            text_add(text, "\\u%04x", code);
    }
    text_add_n(text, "\"", 1);
}

void text_add_printable(Text *text, const char *bytes, const char *keep) {
    size_t length = strlen(bytes), size = printable(NULL, 0, bytes, length, keep);
    char *shown = arena_alloc(text->arena, size + 1);
    printable(shown, size + 1, bytes, length, keep);
    text_add_n(text, shown, size);
}

/* ---- hashing, names to ids (open addressing, linear probes) ---- */

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

typedef struct Entry {
    const char *key;
    uint64_t hash;
    uint32_t value;
} Entry;

struct Map {
    Arena *arena;
    Entry *entries;
    uint32_t capacity, count;
};

Map *map_new(Arena *arena) {
    Map *map = NEW(arena, Map);
    map->arena = arena;
    map->capacity = 16;
    map->entries = NEW_ARRAY(arena, Entry, map->capacity);
    return map;
}

static Entry *map_slot(const Map *map, const char *key, uint64_t hash) {
    uint32_t mask = map->capacity - 1, i = (uint32_t)hash & mask;
    while (map->entries[i].key && (map->entries[i].hash != hash || strcmp(map->entries[i].key, key)))
        i = (i + 1) & mask;
    return &map->entries[i];
}

uint64_t hash_key(const char *key, size_t length) {
    uint64_t hash = HASH_SEED + length;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t part = 0;
        memcpy(&part, key + i, length - i < 8 ? length - i : 8);
        hash = hash_word(hash, part);
    }
    return hash;
}

void map_set(Map *map, const char *key, uint32_t value) {
    if (map->count * 2 >= map->capacity) {
        Entry *old = map->entries;
        uint32_t old_capacity = map->capacity;
        map->capacity *= 2;
        map->entries = NEW_ARRAY(map->arena, Entry, map->capacity);
        for (uint32_t i = 0; i < old_capacity; i++)
            if (old[i].key) *map_slot(map, old[i].key, old[i].hash) = old[i];
    }
    size_t length = strlen(key);
    uint64_t hash = hash_key(key, length);
    Entry *entry = map_slot(map, key, hash);
    if (!entry->key) {
        entry->key = arena_strndup(map->arena, key, length);
        entry->hash = hash;
        map->count++;
    }
    entry->value = value;
}

uint32_t map_get(const Map *map, const char *key) {
    const Entry *entry = map_slot(map, key, hash_key(key, strlen(key)));
    return entry->key ? entry->value : NONE;
}

/* Steele, Lea, Flood 2014: "Fast splittable pseudorandom number generators". */
uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double random_unit(uint64_t *state) {
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* ---- for people ---- */

static const char *const size_unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};

char *format_bytes(int64_t bytes, char out[24]) {
    double value = (double)bytes;
    int u = 0;
    while ((value >= 1023.995 || value <= -1023.995) && u < 4) value /= 1024, u++;
    if (u == 0)
        snprintf(out, 24, "%lld B", (long long)bytes);
    else
        snprintf(out, 24, "%.2f %s", value, size_unit[u]);
    return out;
}

char *format_bytes_up(int64_t bytes, char out[24]) {
    int64_t unit = 1;
    int u = 0;
    while (bytes / unit >= 1024 && u < 4) unit <<= 10, u++;
    if (u == 0) return format_bytes(bytes, out);
    int64_t hundredths = bytes / unit * 100 + (bytes % unit * 100 + unit - 1) / unit;
    snprintf(out, 24, "%.2f %s", (double)hundredths / 100, size_unit[u]);
    return out;
}

char *format_seconds(double seconds, char out[24]) {
    if (seconds < 1e-3)
        snprintf(out, 24, "%.1f us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(out, 24, "%.2f ms", seconds * 1e3);
    else
        snprintf(out, 24, "%.3f s", seconds);
    return out;
}

char *format_number(double value, char out[32]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    return out;
}

/* ---- files ---- */

char *read_file_head(Arena *arena, const char *path, size_t most, size_t *length) {
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!file) return NULL;
    Text text = {.arena = arena};
    char chunk[1 << 16];
    size_t got = 1;
    text_add_n(&text, "", 0);
    while (got > 0 && text.length < most) {
        size_t room = most - text.length;
        got = fread(chunk, 1, room < sizeof chunk ? room : sizeof chunk, file);
        text_add_n(&text, chunk, got);
    }
    int failed = ferror(file) ? errno : 0;
    if (file != stdin) fclose(file);
    if (failed) {
        errno = failed;
        return NULL;
    }
    *length = text.length;
    return text.at;
}

char *read_file(Arena *arena, const char *path, size_t *length) {
    const size_t limit = (size_t)READ_FILE_MIB << 20;
    char *text = read_file_head(arena, path, limit + 1, length);
    if (!text || *length <= limit) return text;
    errno = EFBIG;
    return NULL;
}

const char *read_file_error(void) {

    _Static_assert(READ_FILE_MIB == 256, "the message says so");
    return errno == EFBIG ? "it has more than 256 MiB, the limit" : strerror(errno);
}
