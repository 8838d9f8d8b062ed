/* Stream capture, between the files of the simulated device (graph.cpp). */
#ifndef REMAT_CUDA_SIM_GRAPH_H
#define REMAT_CUDA_SIM_GRAPH_H

#include "cuda_runtime.h"

/* Where in a capture an event was recorded; capture 0: in none. */
struct SimMark {
    unsigned capture;
    cudaStream_t stream;
    size_t place;
};
SimMark sim_capture_mark(cudaStream_t stream);
/* Whether the wait belongs to a capture, which the stream is part of from then on: then the action is kept.
 */
bool sim_capture_wait(cudaStream_t stream, const SimMark &mark, std::function<void()> action);
/* Ends the test where a capture is under way. */
void sim_not_capturing(const char *call);

#endif
