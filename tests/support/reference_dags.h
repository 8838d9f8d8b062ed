/* Training graphs of Checkmate's (Jain et al. 2020), and what is proved of them. They are other people's and
 * not part of the project: REMAT_DATA names the folder, else ../shared/data is looked into. */
#ifndef REMAT_TESTS_REFERENCE_DAGS_H
#define REMAT_TESTS_REFERENCE_DAGS_H

#include "planner/problem/problem.h"

typedef struct ReferenceOptimum {
    const char *file;
    double fraction; /* of keep-all's peak: the budget */
    double percent;  /* of one pass: the least recomputation there is */
} ReferenceOptimum;
enum { REFERENCE_OPTIMA = 12 };
extern const ReferenceOptimum reference_optimum[REFERENCE_OPTIMA];

/* NULL when the file is not there. */
Problem *reference_read(const char *file, Arena *arena);

#endif
