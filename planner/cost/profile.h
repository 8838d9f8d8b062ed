/* Profiles: how long operations took on a device, in place of what its data sheet lets one expect.
 *
 * A profile is text, a record a line (here some are cut in two); `rematc tune` and the programs it emits
 * write it (runtime/tune.c):
 *
 *     format remat-profile-1
 *     origin 5f0e3a91 device=h100 card=NVIDIA_H100_80GB_HBM3 driver=580.159
 *         clocks=1980/2619 compiler=cuda-13.0 kernels=0123456789abcdef
 *     time 5f0e3a91 linear bf16[16384,3072] < bf16[16384,768] bf16[3072,768] :
 *         p10_us=112.4 median_us=113.1 p90_us=115 count=31
 *
 * An origin says where times were taken: the device by its name here and by its own, driver, clocks,
 * compiler, and a hash of the kernels' sources. A time has its origin, its operation and the quantiles of
 * `count` batches of calls. An operation is its name, its results, `<`, its operands, and its attributes:
 * whole numbers by value, but for those which say where and not what (random stream, first row or element);
 * of others whether they are set. `~` is the room of a tensor's storage, `*` how many tensors of a call over
 * several are so: of these, results are those of the first. Three more have a name of their own: `offload`
 * and `fetch`, copies of one tensor to host memory and back, and `duplex`, both at once while a product is
 * computed, as plans have them.
 *
 * A line that begins with `within` in place of `time` says how long the operation took where it stands in
 * whole steps of a training program, with whatever is in the caches there: `count` is of steps, and a
 * quantile is of the means over an operation's calls in one. Where there are both, this one counts.
 *
 * A line that begins with `product` says which algorithm of cuBLASLt was the fastest for a matrix product, in
 * the words of kernels/product.def; programs planned with the profile take it:
 *
 *     product 5f0e3a91 rows=16384 columns=3072 depth=768 .. bias=1 : id=66 tile=20 stages=35 ..
 *
 * Of two for one product the first counts.
 *
 * A line that begins with `variant` says which variant of its kernel (kernels/variant.def) was the fastest
 * for an operation; its times are of that one, and programs planned with the profile take it. Of two the
 * first counts. Of a product with a packed weight it also says which way that is dequantised
 * (planner/cost/packed.h): this changes the graph.
 *
 *     variant 5f0e3a91 rmsnorm bf16[16384,768] .. < bf16[16384,768] .. eps : norm_rows8
 *
 * Sorted by bytes (LC_ALL=C), the format comes first, then origins: `LC_ALL=C sort -u A B` merges two
 * profiles. Of two times of one kind, operation and origin the one of more batches counts, or else the
 * shorter. Lines that are empty or begin with # say nothing. */
#ifndef REMAT_COST_PROFILE_H
#define REMAT_COST_PROFILE_H

#include "kernels/product.h"
#include "kernels/variant.h"
#include "planner/cost/device.h"

/* Where a text is no profile: its line, 1 and up, and what is wrong. */
typedef struct ProfileError {
    uint32_t line;
    const char *text;
} ProfileError;

typedef struct ProfileOrigin {
    const char *id, *device, *card, *driver, *clocks, *compiler, *kernels;
    uint32_t times;
} ProfileOrigin;

typedef struct ProfileTime {
    const char *key; /* the operation, as profile_key writes it */
    double p10_seconds, median_seconds, p90_seconds;
    int64_t count;
    bool within; /* whole steps, else alone */
    uint32_t origin;
    uint32_t line;
} ProfileTime;

typedef struct ProfileProduct {
    KChoice choice;
    uint32_t origin;
} ProfileProduct;

typedef struct ProfileVariant {
    const char *key, *name;
    uint32_t origin;
    uint32_t line;
} ProfileVariant;

typedef struct Profile {
    VEC(ProfileOrigin) origin;
    VEC(ProfileTime) time;
    VEC(ProfileProduct) product;
    VEC(ProfileVariant) variant;
    /* filled by profile_choose */
    uint32_t chosen;    /* the origin that is used; NONE: none fits */
    Map *of_key;        /* times of that origin, by operation */
    Map *variant_of;    /* variants of that origin, KVariant, by operation */
    uint32_t used;      /* how many */
    uint32_t elsewhere; /* times that were taken on other devices: not used */
    uint32_t outdated;  /* .. with other kernels: not used */
    uint32_t others;    /* .. under another driver, clock or compiler than those that are used: not used */
} Profile;

/* NULL with `error`. */
Profile *profile_read(const char *text, size_t length, Arena *arena, ProfileError *error);
/* Chooses the records for a device and kernels: of the origins that fit the one with most times. False with
 * `error` where one of them names an operation that there is not, or a variant that it does not have. */
bool profile_choose(Profile *profile, const char *device, const char *kernels, Arena *arena,
                    ProfileError *error);
/* The time of an operation; NULL: it was not measured. */
const ProfileTime *profile_find(const Profile *profile, const char *key);
/* The algorithm of a product; NULL: none was chosen. */
const KChoice *profile_product(const Profile *profile, const KShape *shape);
/* The variant of an operation's kernel; K_VARIANT_NONE: none was chosen. */
int profile_variant(const Profile *profile, const char *key);
/* Bytes a second each way of copies to host memory and back: both at once under a product, as plans have
 * them, where that was measured, else the slower way alone; 0: neither was. */
double profile_copy_rate(const Profile *profile);
const ProfileOrigin *profile_origin(const Profile *profile); /* the chosen one */

/* The operation of a node, appended to `out`. */
void profile_key(const Graph *g, const Node *node, Text *out);
/* The other way: a graph of one node whose cost is that of a key's operation; attributes that are no whole
 * numbers are a half where they are set. NULL: a copy, a call over several tensors, or no operation that
 * there is.
 */
Graph *profile_graph(const char *key, Arena *arena);

#endif
