/* What a test may ask of the simulated device, and what its files ask of each other. */
#ifndef REMAT_CUDA_SIM_H
#define REMAT_CUDA_SIM_H

#ifdef __cplusplus
extern "C" {
#endif
void sim_compute(void);        /* something was done in the first stream */
long sim_computed(void);       /* kernels, products, fills and copies in the first stream so far */
void sim_next_schedule(void);  /* later launches order their blocks and threads in another way */
long sim_bank_conflicts(void); /* passes over shared memory that other banks would have spared, since asked */
#ifdef __cplusplus
}

#include <stddef.h>
#include <stdint.h>

/* All threads of a warp give an argument; when they have, the action is called with those of lanes 0 to 31.
 */
typedef void SimAction(void **argument);
void sim_collective(SimAction *action, void *argument, const char *file, int line);
[[noreturn]] void sim_fail(int lane,
                           const char *what); /* lane of the warp in an action, -1: the thread that runs */
size_t sim_shared_bytes(void);
void *sim_shared_memory(void);
void sim_copy_end(int thread); /* it ends: all its copies must be done */

/* ---- banks.cpp: another lane runs; it accesses shared memory (elsewhere it does not matter); all lanes of
 * the warp have stopped; lanes whose accesses are done at once ---- */
void sim_bank_lane(void);
void sim_bank_note(const void *at, int bytes, const void *place);
void sim_bank_settle(void);
void sim_bank_phase(const uint32_t *address, int lanes, int bytes);
#endif

#endif
