/* The verb `devices`: the cards that are known in a table, or what one's memory is spent on and how fast it
 * is. */
#include "frontend/verbs/verb.h"

#include "codegen/json_tree.h"
#include "frontend/driver/devices.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <inttypes.h>

/* What it has not, or has no fixed size of, is a dash. */
static void add_row(const Device *d, Text *out) {
    const char *memory = d->memory_bytes ? arena_printf(out->arena, "%" PRId64, d->memory_bytes >> 20) : "-";
    double bf16 = d->flops_per_second[DT_BF16] / 1e12;
    text_add(out, "%-12s %12s %14s %14.1f %12.0f %12.1f\n", d->name, memory,
             bf16 > 0 ? arena_printf(out->arena, "%.1f", bf16) : "-", d->flops_per_second[DT_F32] / 1e12,
             d->bytes_per_second / 1e9, d->copy_bytes_per_second / 1e9);
}

/* What a card's memory is spent on, and how fast it is: `devices NAME`. */
static void add_account(const Device *d, Text *out) {
    text_add(out, "%s: %s\n", d->name, d->about);
    if (d->board.bytes) {
        const DeviceFigure seen = {d->memory_bytes, "what programs see: the most that a budget can be"},
                           rest = {d->memory_bytes - d->reserved_bytes, "for the tensors of a plan"};
        const struct {
            const char *name;
            const DeviceFigure *figure;
        } row[] = {{"memory", &d->board},      {"- driver", &d->driver}, {"= visible", &seen},
                   {"- context", &d->context}, {"- code", &d->code},     {"= arena", &rest}};
        for (size_t i = 0; i < COUNT_OF(row); i++)
            text_add(out, "  %-12s %8" PRId64 " MiB   %s\n", row[i].name, row[i].figure->bytes >> 20,
                     row[i].figure->source);
    }
    if (d->flops_per_second[DT_BF16] > 0)
        text_add(out, "  %-12s %8.6g TFLOP/s, dense, f32 accumulation\n", "bf16",
                 d->flops_per_second[DT_BF16] / 1e12);
    else
        text_add(out, "  %-12s %8s\n", "bf16", "none");
    text_add(out, "  %-12s %8.6g TFLOP/s\n", "f32", d->flops_per_second[DT_F32] / 1e12);
    text_add(out, "  %-12s %8.6g GB/s\n", "bandwidth", d->bytes_per_second / 1e9);
    text_add(out, "  %-12s %8.6g GB/s, host memory, one way\n", "link", d->copy_bytes_per_second / 1e9);
    if (d->capability)
        text_add(out, "  %-12s %6d.%d, %d multiprocessors of %d resident threads\n", "capability",
                 d->capability / 10, d->capability % 10, d->multiprocessors, d->threads);
}

static json_t *figure_json(const DeviceFigure *figure) {
    json_t *object = json_object();
    json_set(object, "bytes", json_integer(figure->bytes));
    json_set(object, "source", json_text(figure->source));
    return object;
}

static json_t *device_json(const Device *d) {
    json_t *object = json_object();
    json_set(object, "name", json_text(d->name));
    json_set(object, "about", json_text(d->about));
    json_set(object, "cuda", json_boolean(d->cuda));
    if (d->board.bytes) {
        json_set(object, "board", figure_json(&d->board));
        json_set(object, "driver", figure_json(&d->driver));
        json_set(object, "context", figure_json(&d->context));
        json_set(object, "code", figure_json(&d->code));
    }
    json_set(object, "memory_bytes", json_integer(d->memory_bytes));
    json_set(object, "reserved_bytes", json_integer(d->reserved_bytes));
    json_set(object, "bf16_flops_per_second", json_number(d->flops_per_second[DT_BF16]));
    json_set(object, "f32_flops_per_second", json_number(d->flops_per_second[DT_F32]));
    json_set(object, "bytes_per_second", json_number(d->bytes_per_second));
    json_set(object, "copy_bytes_per_second", json_number(d->copy_bytes_per_second));
    json_set(object, "capability", json_integer(d->capability));
    return object;
}

static int print_one(const Options *options, Arena *arena, const Device *device) {
    Text out = {.arena = arena};
    if (options->json) {
        json_t *list = json_array();
        json_add(list, device_json(device));
        json_tree_print(list, 2, &out);
    } else {
        add_account(device, &out);
    }
    return output_print(options, &out);
}

static int print_all(const Options *options, Arena *arena) {
    uint32_t count;
    const char **names = devices_names(arena, &count);
    Text out = {.arena = arena};
    json_t *array = options->json ? json_array() : NULL;
    if (!array)
        text_add(&out, "%-12s %12s %14s %14s %12s %12s\n", "device", "memory MiB", "bf16 TFLOP/s",
                 "f32 TFLOP/s", "memory GB/s", "copy GB/s");
    for (uint32_t i = 0; i < count; i++) {
        Device device;
        int code = devices_read(options, arena, names[i], &device);
        if (code > 0) return code;
        if (array)
            json_add(array, device_json(&device));
        else
            add_row(&device, &out);
    }
    if (array) json_tree_print(array, 2, &out);
    return output_print(options, &out);
}

int verb_devices(Compilation *c) {
    const Options *options = c->options;
    Arena *arena = c->arena;
    uint32_t count;
    if (!options->file) return print_all(options, arena);
    Device device;
    int code = devices_read(options, arena, options->file, &device);
    if (code < 0) return print_one(options, arena, &device);
    if (code > 0) return code;
    const char **names = devices_names(arena, &count);
    const char *near = diag_nearest(options->file, names, count);
    return message_fail_help(options, EXIT_USAGE,
                             near ? arena_printf(arena, "did you mean '%s'?", near)
                                  : "`rematc devices` lists them all",
                             "unknown device '%s'", options->file);
}
