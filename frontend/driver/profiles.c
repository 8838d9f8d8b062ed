/* See profiles.h. */
#include "frontend/driver/profiles.h"

#include "codegen/emit.h"
#include "frontend/driver/message.h"
#include "planner/cost/interpolate.h"

#include <inttypes.h>
#include <string.h>

const char *profile_text(const char *word, Arena *arena) {
    char *text = arena_strdup(arena, word);
    for (char *at = text; *at; at++)
        if (*at == '_') *at = ' ';
    return text;
}

static int none_fits(const Options *options, const Profile *profile, const Device *device, Arena *arena) {
    Text why = {.arena = arena};
    if (profile->outdated) text_add(&why, "; %u were taken there with other kernels", profile->outdated);
    if (profile->elsewhere) {
        text_add(&why, "; %u on other devices:", profile->elsewhere);
        for (uint32_t o = 0; o < profile->origin.count; o++) {
            const char *name = profile->origin.at[o].device;
            if (strcmp(name, device->name) && !strstr(why.at, name)) text_add(&why, " %s", name);
        }
    }
    return message_fail_help(options, EXIT_SOURCE, "`rematc tune` measures them where the device is",
                             "'%s' has no times of %s with the kernels of this rematc%s", options->profile,
                             device->name, why.length ? why.at : "");
}

int profiles_read(const Options *options, Arena *arena, Device *device) {
    size_t length;
    if (!options->profile) return -1;
    char *text = read_file(arena, options->profile, &length);
    if (!text)
        return message_fail(options, EXIT_IO, "cannot read '%s': %s", options->profile, read_file_error());
    ProfileError error = {0};
    Profile *profile = profile_read(text, length, arena, &error);
    char *kernels = arena_printf(arena, "%016" PRIx64, emit_kernels_hash(device->cuda));
    if (!profile || !profile_choose(profile, device->name, kernels, arena, &error))
        return message_fail_at(options, EXIT_SOURCE, options->profile, error.line, 1, "%s", error.text);
    if (!profile->used) return none_fits(options, profile, device, arena);
    device->profile = profile;
    device->between = interpolation_new(device, arena);
    double rate = profile_copy_rate(profile);
    if (rate > 0) device->copy_bytes_per_second = rate;
    return -1;
}
