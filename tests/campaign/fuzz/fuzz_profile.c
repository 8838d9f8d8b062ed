/* Measured times: the text that `--profile` names. What is read is found again by its key. */
#include "exits.h"
#include "planner/cost/interpolate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    Arena *arena = arena_new();
    ProfileError error = {0};
    Profile *profile = profile_read((const char *)bytes, count, arena, &error);
    MUST(profile || (error.line && error.text));
    for (uint32_t o = 0; profile && o < profile->origin.count; o++) {
        const ProfileOrigin *origin = &profile->origin.at[o];
        if (!profile_choose(profile, origin->device, origin->kernels, arena, &error)) {
            MUST(error.line && error.text);
            continue;
        }
        uint32_t counted = profile->used + profile->elsewhere + profile->outdated + profile->others;
        MUST(counted <= profile->time.count);
        for (uint32_t t = 0; t < profile->time.count; t++) {
            const ProfileTime *time = &profile->time.at[t];
            MUST(time->count > 0 && time->p10_seconds > 0 && time->p10_seconds <= time->median_seconds &&
                 time->median_seconds <= time->p90_seconds);
            MUST(time->origin != profile->chosen || profile_find(profile, time->key));
        }
        MUST(profile_copy_rate(profile) >= 0);
        Device device = *device_find("h100");
        device.profile = profile;
        MUST(interpolation_new(&device, arena));
    }
    arena_free(arena);
    return 0;
}
