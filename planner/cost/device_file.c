/* The format of .device files. In: a text; out: a Device, or what is wrong with which line.
 *
 * One figure a line: `key value unit`, and behind # its source. `device` comes first; `about` has the rest of
 * its line. What a card's memory is spent on before a tensor lies in it:
 *
 *     memory   MiB or GiB  as nvidia-smi names it
 *     driver   MiB or GiB  of it, kept by the driver: cudaMemGetInfo's total is less by that much.
 *                          Where it is not known: 1.5% of the memory, the largest share seen on any card
 *     context  MiB or GiB  what a process takes before it allocates anything. Where it is not known: 2 KiB a
 * resident thread, which is mostly the local memory of kernels (it fits an H100's 527 MiB) code     MiB or
 * GiB  code of kernels and libraries; 256 MiB unless said
 *
 * and `multiprocessors`, `threads` (resident, on one of them), `capability` (9.0), `bf16` and `f32` TFLOP/s
 * (dense, f32 accumulation; no bf16: not supported), `bandwidth` GB/s of its memory, `link` GB/s to host
 * memory, one way. */
#include "planner/cost/device_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((int64_t)1 << 20)
enum { CODE_MIB = 256, THREAD_BYTES = 2048, MOST_MIB = 1 << 26 };

typedef enum Key { /* in the order of device_key */
                   KEY_DEVICE,
                   KEY_ABOUT,
                   KEY_MEMORY,
                   KEY_DRIVER,
                   KEY_CONTEXT,
                   KEY_CODE,
                   KEY_MULTIPROCESSORS,
                   KEY_THREADS,
                   KEY_CAPABILITY,
                   KEY_BF16,
                   KEY_F32,
                   KEY_BANDWIDTH,
                   KEY_LINK,
                   KEY_COUNT
} Key;
const char *const device_key[] = {"device", "about",           "memory",  "driver",     "context",
                                  "code",   "multiprocessors", "threads", "capability", "bf16",
                                  "f32",    "bandwidth",       "link"};
const uint32_t device_key_count = KEY_COUNT;
_Static_assert(sizeof device_key / sizeof *device_key == KEY_COUNT, "a name for each key");

typedef struct Reader {
    Arena *arena;
    Device *out;
    DeviceError *error;
    uint32_t line;
    bool seen[KEY_COUNT];
} Reader;

static bool fail(Reader *r, uint32_t line, const char *text) {
    *r->error = (DeviceError){.line = line, .text = text};
    return false;
}

/* The next word of [*at, end), as a copy; "" when there is none. */
static char *next_word(Reader *r, const char **at, const char *end) {
    while (*at < end && (**at == ' ' || **at == '\t')) ++*at;
    const char *begin = *at;
    while (*at < end && **at != ' ' && **at != '\t') ++*at;
    return arena_strndup(r->arena, begin, (size_t)(*at - begin));
}
static char *rest_of_line(Reader *r, const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '#')) at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) end--;
    return arena_strndup(r->arena, at, (size_t)(end - at));
}

/* A number above 0 and its unit, which is one of `units`; its index by `unit`. */
static bool read_number(Reader *r, Key key, const char *value, const char *word, const char *const *units,
                        int count, double *number, int *unit) {
    char *tail;
    errno = 0;
    *number = strtod(value, &tail);
    if (tail == value || *tail || errno || !isfinite(*number) || *number <= 0)
        return fail(r, r->line,
                    arena_printf(r->arena, "%s: '%s' is no number above 0", device_key[key], value));
    for (int i = 0; i < count; i++)
        if (strcmp(word, units[i]) == 0) {
            *unit = i;
            return true;
        }
    return fail(r, r->line,
                **units ? arena_printf(r->arena, "%s: the unit is %s%s%s, not '%s'", device_key[key],
                                       units[0], count > 1 ? " or " : "", count > 1 ? units[1] : "", word)
                        : arena_printf(r->arena, "%s: '%s' after its number", device_key[key], word));
}

static bool read_bytes(Reader *r, Key key, const char *value, const char *unit, const char *source,
                       DeviceFigure *out) {
    static const char *const units[] = {"MiB", "GiB"};
    double number;
    int which = 0;
    if (!read_number(r, key, value, unit, units, 2, &number, &which)) return false;
    if (which) number *= 1024;
    if (number > MOST_MIB)
        return fail(r, r->line, arena_printf(r->arena, "%s: no device has that much", device_key[key]));
    *out = (DeviceFigure){(int64_t)(number * (double)MIB), source};
    return true;
}
static bool read_rate(Reader *r, Key key, const char *value, const char *unit, const char *wanted,
                      double factor, double *out) {
    int which = 0;
    if (!read_number(r, key, value, unit, &wanted, 1, out, &which)) return false;
    *out *= factor;
    return true;
}
static bool read_count(Reader *r, Key key, const char *value, const char *unit, int *out) {
    static const char *const none[] = {""};
    double number;
    int which = 0;
    if (!read_number(r, key, value, unit, none, 1, &number, &which)) return false;
    if (number > 1e5 || number != floor(number))
        return fail(r, r->line, arena_printf(r->arena, "%s: '%s' is no such count", device_key[key], value));
    *out = (int)number;
    return true;
}
/* 9.0 is 90, 12.0 is 120. */
static bool read_capability(Reader *r, const char *value, const char *unit) {
    char *tail;
    long major = strtol(value, &tail, 10);
    bool good =
        major >= 5 && major < 100 && tail[0] == '.' && tail[1] >= '0' && tail[1] <= '9' && !tail[2] && !*unit;
    if (!good) return fail(r, r->line, "capability: two numbers with a dot between them, as 9.0");
    r->out->capability = (int)major * 10 + (tail[1] - '0');
    return true;
}

static bool read_figure(Reader *r, Key key, const char *value, const char *unit, const char *source) {
    Device *d = r->out;
    switch (key) {
    case KEY_MEMORY: return read_bytes(r, key, value, unit, source, &d->board);
    case KEY_DRIVER: return read_bytes(r, key, value, unit, source, &d->driver);
    case KEY_CONTEXT: return read_bytes(r, key, value, unit, source, &d->context);
    case KEY_CODE: return read_bytes(r, key, value, unit, source, &d->code);
    case KEY_MULTIPROCESSORS: return read_count(r, key, value, unit, &d->multiprocessors);
    case KEY_THREADS: return read_count(r, key, value, unit, &d->threads);
    case KEY_CAPABILITY: return read_capability(r, value, unit);
    case KEY_BF16: return read_rate(r, key, value, unit, "TFLOP/s", 1e12, &d->flops_per_second[DT_BF16]);
    case KEY_F32: return read_rate(r, key, value, unit, "TFLOP/s", 1e12, &d->flops_per_second[DT_F32]);
    case KEY_BANDWIDTH: return read_rate(r, key, value, unit, "GB/s", 1e9, &d->bytes_per_second);
    case KEY_LINK: return read_rate(r, key, value, unit, "GB/s", 1e9, &d->copy_bytes_per_second);
    default: die("device_parse: a key of words");
    }
}

static bool read_line(Reader *r, const char *at, const char *end) {
    const char *source_begin = memchr(at, '#', (size_t)(end - at));
    const char *stop = source_begin ? source_begin : end;
    const char *source = source_begin ? rest_of_line(r, source_begin, end) : "";
    while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r')) stop--;
    const char *word = next_word(r, &at, stop);
    if (!*word) return true;
    Key key = 0;
    while (key < KEY_COUNT && strcmp(word, device_key[key])) key++;
    if (key == KEY_COUNT) {
        *r->error = (DeviceError){r->line, arena_printf(r->arena, "there is no key '%s'", word), word};
        return false;
    }
    if (r->seen[key]) return fail(r, r->line, arena_printf(r->arena, "%s: a second time", word));
    if (key != KEY_DEVICE && !r->seen[KEY_DEVICE])
        return fail(r, r->line, "the first line names it: device NAME");
    r->seen[key] = true;
    if (key == KEY_DEVICE || key == KEY_ABOUT) {
        const char *text = rest_of_line(r, at, stop);
        if (!*text || (key == KEY_DEVICE && strpbrk(text, " \t,/\"")))
            return fail(r, r->line, arena_printf(r->arena, "%s: '%s' is no name", word, text));
        *(key == KEY_DEVICE ? &r->out->name : &r->out->about) = text;
        return true;
    }
    const char *value = next_word(r, &at, stop), *unit = next_word(r, &at, stop),
               *more = next_word(r, &at, stop);
    if (!*value) return fail(r, r->line, arena_printf(r->arena, "%s: its value is missing", word));
    if (*more) return fail(r, r->line, arena_printf(r->arena, "%s: '%s' is too much", word, more));
    return read_figure(r, key, value, unit, source);
}

/* What follows from what was read, by the rules above. */
static bool complete(Reader *r) {
    Device *d = r->out;
    static const Key needed[] = {KEY_DEVICE,     KEY_MEMORY, KEY_MULTIPROCESSORS, KEY_THREADS,
                                 KEY_CAPABILITY, KEY_F32,    KEY_BANDWIDTH,       KEY_LINK};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!r->seen[needed[i]])
            return fail(r, 0, arena_printf(r->arena, "%s is missing", device_key[needed[i]]));
    if (!r->seen[KEY_DRIVER])
        d->driver = (DeviceFigure){d->board.bytes / MIB * 3 / 200 * MIB, "not known: 1.5% of the memory"};
    if (!r->seen[KEY_CONTEXT])
        d->context = (DeviceFigure){(int64_t)d->multiprocessors * d->threads * THREAD_BYTES,
                                    "not known: 2 KiB a resident thread"};
    if (!r->seen[KEY_CODE])
        d->code = (DeviceFigure){CODE_MIB * MIB, "kernels and libraries, loaded as they are first used"};
    if (!d->about) d->about = d->name;
    d->cuda = d->copies_beside = true;
    d->launch_seconds = 4e-6;
    d->memory_bytes = d->board.bytes - d->driver.bytes;
    d->reserved_bytes = d->context.bytes + d->code.bytes;
    if (d->memory_bytes <= d->reserved_bytes)
        return fail(r, 0, "driver, context and code take all of its memory");
    return true;
}

bool device_parse(const char *text, size_t length, Arena *arena, Device *out, DeviceError *error) {
    Reader r = {.arena = arena, .out = out, .error = error};
    *out = (Device){0};
    if (memchr(text, 0, length)) return fail(&r, 0, "this is no text");
    for (const char *at = text, *end = text + length; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        r.line++;
        if (!read_line(&r, at, stop)) return false;
        at = stop + 1;
    }
    return complete(&r);
}
