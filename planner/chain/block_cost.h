/* What the blocks of a run of equal ones cost in the windows of the backward pass (planner/chain/revolve.c),
 * for the bytes they hold. A block's first part is its backward pass up to an instant p, its second part what
 * follows.
 *
 *     p(d + 1)                                                  p(d)
 *     ---|-- second part of block d + 1 --|-- first part of d ----|-- second part of d --
 *         window d, which wants the output of block d
 *
 * Each is the least any schedule takes (exact_closure.c), by class of bytes. */
#ifndef REMAT_CHAIN_BLOCK_COST_H
#define REMAT_CHAIN_BLOCK_COST_H

#include "planner/problem/problem.h"

/* Seconds by class: class k holds k units and less than one more; the last stands for all above. */
typedef struct BlockSteps {
    double *at;
    uint32_t count;
} BlockSteps;

static inline double block_step(const BlockSteps *steps, int64_t k) {
    return steps->at[k < steps->count ? k : steps->count - 1];
}

enum { DEBTS = 9, PASS_PRICES = 40 };
typedef struct BlockCosts {
    uint32_t count;          /* blocks */
    int64_t unit;            /* bytes */
    int64_t room, head_room; /* units besides what p's own operation fixes, and besides the head's */
    uint32_t least;          /* class of m, the least bytes that give a block's output without its input */
    int64_t both_bytes;      /* least bytes that give output and first part without it */
    BlockSteps first;        /* output and first part, by class at p(d + 1) */
    BlockSteps second;       /* second part, by class at p(d) */
    BlockSteps owed;         /* output and both parts, less `first`, by class at p(d + 1) */
    double debt[DEBTS];      /* levels of that, ascending from 0 */
    double least_pass;       /* output, of a block that holds less than m */
    double price[PASS_PRICES], cheap[PASS_PRICES]; /* the same and its bytes at a price */
} BlockCosts;

/* The longest run of equal blocks; NULL where the reasoning does not apply to it. */
typedef struct BlockRun BlockRun;
BlockRun *block_cost_run(const Problem *p, uint32_t boundary, Arena *arena);
uint32_t block_cost_instants(const BlockRun *run); /* the operations p there are to choose from */
/* Costs with the p of that number, in `arena`, until the next call; NULL where they do not apply. */
const BlockCosts *block_cost_at(BlockRun *run, uint32_t which, int64_t budget_bytes, Arena *arena);
/* What so many blocks pay for their outputs, each with less than m, together with so many units. */
double block_cost_pass_seconds(const BlockCosts *costs, double passes, int64_t room);

#endif
