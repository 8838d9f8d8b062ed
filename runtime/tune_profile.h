/* The profile that a tuner writes (planner/cost/profile.h has its form): its lines, sorted and each once.
 * Those of other places stay. */
#ifndef REMAT_RT_TUNE_PROFILE_H
#define REMAT_RT_TUNE_PROFILE_H

#include "tune.h"

typedef enum RtRecord {
    RT_RECORD_TIME,
    RT_RECORD_WITHIN,
    RT_RECORD_PRODUCT,
    RT_RECORD_VARIANT,
    RT_RECORDS
} RtRecord;

typedef struct RtTuneProfile {
    const char *path;
    char **line; /* without their newlines */
    int lines, room;
    char *prefix[RT_RECORDS]; /* "time ID " and its like, of this place */
} RtTuneProfile;

/* Of a file that is not there: empty. What is no profile, and what cannot be read, ends the program. */
void rt_tune_profile_read(RtTuneProfile *profile, const char *path);
void rt_tune_profile_write(const RtTuneProfile *profile);
void rt_tune_profile_free(RtTuneProfile *profile);
/* Adds the origin of what is measured here, of which all records are from then on. */
void rt_tune_profile_begin(RtTuneProfile *profile, const char *device, const RtTunePlace *place,
                           const char *kernels);
/* A record of this place; `text`: what is behind its kind and origin. */
void rt_tune_profile_add(RtTuneProfile *profile, RtRecord kind, const char *text);
/* The texts of this place's records of a kind, one after the other; `at` begins as 0. NULL: there are no
 * more. */
const char *rt_tune_profile_next(const RtTuneProfile *profile, RtRecord kind, int *at);
/* What the first record of a kind says of an operation, measured here; NULL: there is none. */
const char *rt_tune_profile_known(const RtTuneProfile *profile, RtRecord kind, const char *key);
/* The median that stands there for an operation; 0: none does. */
double rt_tune_profile_seconds(const RtTuneProfile *profile, RtRecord kind, const char *key);

#endif
