/* How hard is searched: the numbers of effort.def as constants.
 *
 * rematc without a technique, or with another number, is built by cmake -D REMAT_EFFORT=NAME=VALUE. */
#ifndef REMAT_EFFORT_H
#define REMAT_EFFORT_H

enum {
#define EFFORT(NAME, value, low, high, buys, measured) EFFORT_ROW_##NAME,
#include "planner/effort.def"
#undef EFFORT
};

#ifndef EFFORT_CHANGED /* the row whose value another takes the place of */
#define EFFORT_CHANGED       (-1)
#define EFFORT_CHANGED_VALUE 0
#endif
#define EFFORT(NAME, value, low, high, buys, measured)                                                       \
    enum { EFFORT_##NAME = EFFORT_ROW_##NAME == EFFORT_CHANGED ? EFFORT_CHANGED_VALUE : value };             \
    _Static_assert(EFFORT_##NAME >= low && EFFORT_##NAME <= high, #NAME " is out of its range");
#include "planner/effort.def"
#undef EFFORT

#endif
