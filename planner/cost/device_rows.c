/* device_rows FILE..: when rematc is built, .device files into the rows of device.c's table, on stdout. */
#include "planner/cost/device_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_text(const char *text) {
    putchar('"');
    for (; *text; text++) printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    putchar('"');
}
static void put_figure(const char *name, const DeviceFigure *figure) {
    printf("     .%s = {INT64_C(%" PRId64 "), ", name, figure->bytes);
    put_text(figure->source);
    printf("},\n");
}

static void put_row(const Device *d) {
    printf("    {.name = ");
    put_text(d->name);
    printf(", .about = ");
    put_text(d->about);
    printf(", .cuda = true, .copies_beside = true,\n");
    put_figure("board", &d->board);
    put_figure("driver", &d->driver);
    put_figure("context", &d->context);
    put_figure("code", &d->code);
    printf("     .memory_bytes = INT64_C(%" PRId64 "), .reserved_bytes = INT64_C(%" PRId64 "),\n",
           d->memory_bytes, d->reserved_bytes);
    printf("     .flops_per_second = {[DT_F32] = %a, [DT_BF16] = %a}, .bytes_per_second = %a,\n",
           d->flops_per_second[DT_F32], d->flops_per_second[DT_BF16], d->bytes_per_second);
    printf("     .copy_bytes_per_second = %a, .launch_seconds = %a, .capability = %d, .multiprocessors = %d, "
           ".threads = %d},\n",
           d->copy_bytes_per_second, d->launch_seconds, d->capability, d->multiprocessors, d->threads);
}

/* By memory, then by speed, so that a table of them reads from small to large. */
static int order(const void *x, const void *y) {
    const Device *a = x, *b = y;
    if (a->board.bytes != b->board.bytes) return a->board.bytes < b->board.bytes ? -1 : 1;
    if (a->bytes_per_second != b->bytes_per_second) return a->bytes_per_second < b->bytes_per_second ? -1 : 1;
    return strcmp(a->name, b->name);
}

int main(int argc, char **argv) {
    Arena *arena = arena_new();
    Device *list = NEW_ARRAY(arena, Device, (uint32_t)argc);
    for (int i = 1; i < argc; i++) {
        size_t length;
        char *text = read_file(arena, argv[i], &length);
        DeviceError error = {0};
        if (text && device_parse(text, length, arena, &list[i - 1], &error)) continue;
        fprintf(stderr, "%s:%u: %s\n", argv[i], error.line, error.text ? error.text : "cannot be read");
        return 1;
    }
    qsort(list, (size_t)(argc - 1), sizeof *list, order);
    for (int i = 0; i + 1 < argc; i++) put_row(&list[i]);
    arena_free(arena);
    return 0;
}
