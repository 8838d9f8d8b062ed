/* Times of operations that a profile does not have, from those that it has. */
#ifndef REMAT_COST_INTERPOLATE_H
#define REMAT_COST_INTERPOLATE_H

#include "planner/cost/profile.h"

/* How much longer, or shorter, measured operations take than the roofline says: by kind (operation, types of
 * its operands) and by how long that is. */
typedef struct Interpolation Interpolation;
/* Of what the device's profile has chosen; in the arena. */
const Interpolation *interpolation_new(const Device *device, Arena *arena);

/* By what to multiply the roofline's `seconds` of a node: between the two measured operations of its kind
 * that are next to it, in the logarithms of the roofline's time and of the ratio; beyond them, as at the
 * nearest one. Where none of its kind was measured, the median over all that were, and *measured_kind is
 * false. */
double interpolation_ratio(const Interpolation *of, const Graph *g, const Node *node, double seconds,
                           bool *measured_kind);

#endif
