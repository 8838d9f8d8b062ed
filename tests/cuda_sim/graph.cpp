/* Stream capture on the simulated device. While a stream is captured, what is issued in it is not done but
 * kept, with the addresses and numbers it has then; a launch of the graph issues all of it again, in the
 * streams it was issued in, so copies are as late as ever. A stream joins the capture by waiting for one of
 * its events, and must be waited for in turn before the capture ends. Calls that wait for the device, take
 * memory or use the legacy stream end the test meanwhile: CUDA refuses them, or lets them break the capture.
 */
#include "graph.h"
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

typedef std::vector<std::function<void()>> Actions;
struct SimGraph {
    cudaStream_t origin;
    Actions action;
    size_t nodes;
};
struct SimGraphExec {
    SimGraph graph;
    bool uploaded;
};
struct Fork {
    size_t issued,
        joined; /* the latest place in the graph of its own actions; up to which it was waited for */
};

static SimGraph *capture; /* NULL: none is under way */
static std::map<cudaStream_t, Fork> forks;
static unsigned captures;

[[noreturn]] static void fail(const char *what, const char *call = "") {
    fprintf(stderr, "simulated device: %s%s\n", what, call);
    abort();
}

static bool belongs(cudaStream_t stream) {
    return capture && (stream == capture->origin || forks.count(stream));
}

bool sim_captured(cudaStream_t stream, SimNode node, std::function<void()> action) {
    if (capture && !stream) fail("the legacy stream is used during a capture");
    if (!belongs(stream)) return false;
    capture->action.push_back(std::move(action));
    capture->nodes += node == SIM_NODE;
    if (stream != capture->origin && node == SIM_NODE) forks[stream].issued = capture->action.size();
    return true;
}
void sim_not_capturing(const char *call) {
    if (capture) fail("not permitted during a capture: ", call);
}

SimMark sim_capture_mark(cudaStream_t stream) {
    return belongs(stream) ? SimMark{captures, stream, capture->action.size()} : SimMark{0, NULL, 0};
}
bool sim_capture_wait(cudaStream_t stream, const SimMark &mark, std::function<void()> action) {
    const bool captured = mark.capture != 0, ours = capture && mark.capture == captures;
    if (!ours && belongs(stream)) fail("a captured stream waits for what is not of the capture");
    if (!ours && captured) fail("a stream waits for an event of a capture that has ended");
    if (!ours) return false;
    if (!belongs(stream)) forks[stream] = Fork{0, 0};
    if (stream == capture->origin && mark.stream != stream && mark.place > forks[mark.stream].joined)
        forks[mark.stream].joined = mark.place;
    return sim_captured(stream, SIM_ORDER, std::move(action));
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    sim_not_capturing("cudaStreamBeginCapture");
    if (!stream || mode != cudaStreamCaptureModeGlobal) return cudaErrorInvalidValue;
    capture = new SimGraph{stream, {}, 0};
    forks.clear();
    captures++;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    if (!capture || stream != capture->origin) fail("the end of a capture that did not begin in this stream");
    for (const auto &[fork, at] : forks)
        if (at.issued > at.joined) fail("a capture ends before all its streams were waited for");
    *graph = capture;
    capture = NULL;
    return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    if (nodes) return cudaErrorInvalidValue;
    *count = graph->nodes;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags) {
    sim_not_capturing("cudaGraphInstantiate");
    if (flags) return cudaErrorInvalidValue;
    *exec = new SimGraphExec{*graph, false};
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t) {
    sim_not_capturing("cudaGraphUpload");
    exec->uploaded = true;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    sim_not_capturing("cudaGraphLaunch");
    if (!exec->uploaded) fail("a graph is launched that was not uploaded: its launch may take memory");
    if (stream != exec->graph.origin)
        fail("a graph in another stream than it was captured in is not simulated");
    for (const std::function<void()> &action : exec->graph.action) action();
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}
