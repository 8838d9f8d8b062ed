/* Live bytes along a sequence of runs: the highest of a range, and bytes added to a range, in logarithmic
 * time. */
#ifndef REMAT_PROFILE_H
#define REMAT_PROFILE_H

#include "ir/base.h"

typedef struct Profile {
    Arena *arena;
    uint32_t leaves, capacity; /* leaves: a power of two */
    int64_t *highest;          /* by tree node: of its span, without what ancestors add */
    int64_t *added;            /* by tree node: to its whole span */
} Profile;

void profile_load(Profile *profile, const int64_t *live, uint32_t count);
/* Ranges are half-open, [lo, hi). */
void profile_add(Profile *profile, uint32_t lo, uint32_t hi, int64_t bytes);
int64_t profile_highest(const Profile *profile, uint32_t lo, uint32_t hi); /* INT64_MIN when empty */
uint32_t profile_peak(const Profile *profile, int64_t *bytes);             /* the first highest run */

#endif
