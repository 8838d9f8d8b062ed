/* See exits.h. Only what happens inside run_to_exit is noted; libFuzzer's own calls pass through. */
#include "exits.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST_HELD = 1 << 16 };
typedef enum HeldKind { HELD_MEMORY, HELD_FILE, HELD_FOLDER, HELD_MAP } HeldKind;
typedef struct Held {
    HeldKind kind;
    void *at; /* a file's descriptor, as a pointer */
    size_t bytes;
} Held;

static Held held[MOST_HELD];
static int held_count;
static bool running;
static jmp_buf way_out;
static int exit_code;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *memory);
int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_close(int fd);
DIR *__real_opendir(const char *path);
int __real_closedir(DIR *folder);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
_Noreturn void __real_exit(int code);

static void note(HeldKind kind, void *at, size_t bytes) {
    if (!running) return;
    if (held_count == MOST_HELD) must_fail(__FILE__, __LINE__, "a run holds fewer things at once");
    held[held_count++] = (Held){kind, at, bytes};
}

static void forget(HeldKind kind, const void *at) {
    for (int i = held_count - 1; i >= 0; i--)
        if (held[i].kind == kind && held[i].at == at) {
            held[i] = held[--held_count];
            return;
        }
}

static void give_back(const Held *thing) {
    switch (thing->kind) {
    case HELD_MEMORY: __real_free(thing->at); break;
    case HELD_FILE: __real_close((int)(intptr_t)thing->at); break;
    case HELD_FOLDER: __real_closedir(thing->at); break;
    case HELD_MAP: __real_munmap(thing->at, thing->bytes); break;
    }
}

_Noreturn void must_fail(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

int run_to_exit(void (*body)(void *argument), void *argument) {
    held_count = 0;
    running = true;
    if (setjmp(way_out) == 0) {
        body(argument);
        running = false;
        return -1; /* what it still holds is a leak, and the leak checker's to find */
    }
    for (int i = 0; i < held_count; i++) give_back(&held[i]);
    return exit_code;
}

_Noreturn void __wrap_exit(int code) {
    if (!running) __real_exit(code);
    running = false;
    if (code < 0 || (code > 6 && code != 75)) abort();
    exit_code = code;
    longjmp(way_out, 1);
}

void *__wrap_malloc(size_t bytes) {
    void *memory = __real_malloc(bytes);
    if (memory) note(HELD_MEMORY, memory, bytes);
    return memory;
}

void *__wrap_calloc(size_t count, size_t bytes) {
    void *memory = __real_calloc(count, bytes);
    if (memory) note(HELD_MEMORY, memory, bytes);
    return memory;
}

void *__wrap_realloc(void *old, size_t bytes) {
    forget(HELD_MEMORY, old);
    void *memory = __real_realloc(old, bytes);
    if (memory) note(HELD_MEMORY, memory, bytes);
    return memory;
}

void __wrap_free(void *memory) {
    if (memory) forget(HELD_MEMORY, memory);
    __real_free(memory);
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & O_CREAT ? va_arg(rest, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int fd = __real_open(path, flags, mode_of(flags, rest));
    va_end(rest);
    if (fd >= 0) note(HELD_FILE, (void *)(intptr_t)fd, 0);
    return fd;
}

int __wrap_openat(int folder, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int fd = __real_openat(folder, path, flags, mode_of(flags, rest));
    va_end(rest);
    if (fd >= 0) note(HELD_FILE, (void *)(intptr_t)fd, 0);
    return fd;
}

int __wrap_close(int fd) {
    forget(HELD_FILE, (void *)(intptr_t)fd);
    return __real_close(fd);
}

DIR *__wrap_opendir(const char *path) {
    DIR *folder = __real_opendir(path);
    if (folder) note(HELD_FOLDER, folder, 0);
    return folder;
}

int __wrap_closedir(DIR *folder) {
    forget(HELD_FOLDER, folder);
    return __real_closedir(folder);
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    void *map = __real_mmap(at, bytes, protection, flags, fd, offset);
    if (map != MAP_FAILED) note(HELD_MAP, map, bytes);
    return map;
}

int __wrap_munmap(void *at, size_t bytes) {
    forget(HELD_MAP, at);
    return __real_munmap(at, bytes);
}
