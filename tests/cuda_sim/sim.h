/* What a test may ask of the simulated device. */
#ifndef REMAT_CUDA_SIM_H
#define REMAT_CUDA_SIM_H

#ifdef __cplusplus
extern "C" {
#endif
void sim_compute(void);       /* something was done in the first stream */
void sim_next_schedule(void); /* later launches order their blocks and threads in another way */
#ifdef __cplusplus
}
#endif

#endif
