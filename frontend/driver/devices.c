/* See devices.h. */
#include "frontend/driver/devices.h"

#include "frontend/driver/message.h"
#include "planner/cost/device_file.h"
#include "planner/cost/this_computer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A name with a slash, or one that ends as such files do, is a file's. */
static bool names_file(const char *device) {
    return strchr(device, '/') || ends_in(device, ".device");
}

static int read_file_of(const Options *options, Arena *arena, const char *path, Device *out) {
    enum { LARGEST = 1 << 16 };
    size_t length;
    DeviceError error = {0};
    char *text = read_file_head(arena, path, LARGEST, &length);
    if (!text) return message_fail(options, EXIT_IO, "cannot read '%s': %s", path, strerror(errno));
    if (device_parse(text, length, arena, out, &error)) return -1;
    const char *near = error.key ? diag_nearest(error.key, device_key, device_key_count) : NULL;
    if (near) error.text = arena_printf(arena, "%s; did you mean '%s'?", error.text, near);
    if (!error.line) return message_fail(options, EXIT_SOURCE, "'%s': %s", path, error.text);
    return message_fail_at(options, EXIT_SOURCE, path, error.line, 1, "%s", error.text);
}

/* This computer, or two cores of the kind that REMAT_HOST names: where plans shall not depend on where they
 * are made. */
static int read_host(const Options *options, Arena *arena, Device *out) {
    const char *name = getenv("REMAT_HOST");
    const bool named = name && *name;
    const Device *kind = named ? device_find(name) : this_computer_kind();
    if (!kind || kind->cuda)
        return message_fail(options, EXIT_USAGE, "REMAT_HOST: '%s' is no built-in host", name);
    *out = this_computer(kind, named ? DEVICE_HOST_CORES : this_computer_cores(), arena);
    return -1;
}

int devices_read(const Options *options, Arena *arena, const char *name, Device *out) {
    if (names_file(name)) return read_file_of(options, arena, name, out);
    const Device *device = device_find(name);
    if (!device) return 0;
    if (strcmp(name, "host") == 0) return read_host(options, arena, out);
    *out = *device;
    return -1;
}

const char **devices_names(Arena *arena, uint32_t *count) {
    const Device *list = device_list(count);
    const char **names = NEW_ARRAY(arena, const char *, *count);
    for (uint32_t i = 0; i < *count; i++) names[i] = list[i].name;
    return names;
}
