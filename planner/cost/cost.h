/* What one execution of each operation costs on a device. */
#ifndef REMAT_COST_COST_H
#define REMAT_COST_COST_H

#include "planner/cost/profile.h"

enum { PLAN_ALIGN = 256 }; /* every buffer's offset and rounded size */
typedef struct Cost {
    double flops, bytes;
    int64_t workspace_bytes; /* rounded to PLAN_ALIGN */
    double seconds; /* measured, or by the roofline, max(flops / rate, bytes / bandwidth) + launch, times what
                       measured operations took of that (interpolate.h) */
    const ProfileTime *measured; /* of the device's profile; NULL: computed */
    bool interpolated;           /* .. between what was measured of its kind */
    const KChoice *product;      /* the profile's algorithm for its product; NULL: the library's first */
    KFamily family;              /* of its kernel's variants; K_FAMILY_NONE: there is one kernel */
    int variant;                 /* KVariant: the profile's; K_VARIANT_NONE: the first */
    int launches[2]; /* kernels, products, fills and copies, in the first micro-step and later; 0 on the host
                      */
    const char *source; /* where it is: of the shares of the device's peaks that the rates are */
} Cost;
/* Seconds of a node by the roofline alone. */
double cost_roofline(const Graph *g, const Node *node, const Device *device, Arena *scratch);
/* One Cost a node of `g`. Views cost nothing. */
Cost *cost_graph(const Graph *g, const Device *device, Arena *arena);

#endif
