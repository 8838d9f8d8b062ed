/* Campaigns against the checkers. A plan and a layout are right (toy.h, or made by the planner); then one
 * thing is changed. A mutant that the simulated machine finds wrong must be rejected, and so must every
 * mutant of a kind that is never harmless (a leak, a misaligned buffer, a wrong height...). */
#ifndef REMAT_TESTS_MUTANTS_H
#define REMAT_TESTS_MUTANTS_H

#include "tests/support/toy.h"

typedef struct Mutation {
    const char *name;
    bool (*change)(Toy *, uint64_t *seed); /* false when there is nothing to change so */
    bool harmful; /* always rejected; else only when the machine finds a difference */
} Mutation;

enum { MUTANTS_A_KIND = 1000 };
/* Makes `each` mutants of every kind, and fails the test when one survives. `layout`: they are layouts,
 * judged with their plans; else plans, judged without a layout. */
void mutants_die(const Mutation *mutation, size_t kinds, int each, bool layout);

enum { ANY = 31, RUNS = 1 << STEP_RUN | 1 << STEP_RECOMPUTE, COPIES = 1 << STEP_OFFLOAD | 1 << STEP_FETCH };
/* Some step of one of the kinds, a set of bits; false when the plan has none. */
bool pick_step(const Plan *plan, uint64_t *seed, unsigned kinds, uint32_t *s);

static inline uint32_t below(uint64_t *seed, uint32_t n) {
    return (uint32_t)(random_next(seed) % n);
}

#endif
