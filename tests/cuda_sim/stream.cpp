/* Streams and copies of the simulated device. The first stream made is the one that computes: what is issued
 * there is done at once. In every other one copies wait in a queue until something needs them to be done: a
 * wait of another stream for an event behind them, or a synchronisation. A program without that wait finds
 * old bytes, or copies bytes that have been written over.
 *
 * A copy must also wait for what was computed before it was issued; one that does not ends the test, and so
 * does a copy from or to host memory that is not pinned. Pinned memory from which the first stream copies
 * cannot be written to until a synchronisation says that the copy is done, and what it copies to pinned
 * memory is NaN there until then.
 *
 * With REMAT_SIM_WAITS set, the device says at its end how often the host waited until nothing was left to
 * compute. */
#include "graph.h"
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

struct Task { /* a copy, or a wait for another stream */
    void *to;
    const void *from;
    size_t bytes;
    SimStream *stream; /* waited for, up to `tasks` of its tasks; NULL: a copy */
    size_t tasks;
};
struct SimStream {
    bool computes;
    uint64_t seen;          /* how much of the computation its next task waits for */
    std::vector<Task> task; /* the latest; those before were forgotten when all were done */
    size_t forgotten, done; /* `done` counts them too, and so do events */
};
struct SimEvent {
    SimStream *stream; /* NULL: not recorded */
    size_t tasks;
    uint64_t computed;
    SimMark mark; /* of the latest record that was issued */
};
struct Pinned {
    char *at;
    size_t bytes;
};
struct Reading { /* pages that the first stream copies from */
    char *at;
    size_t bytes;
    uint64_t computed; /* done when so much is */
};

struct Bringing { /* what the first stream copies to pinned memory */
    void *to;
    std::vector<char> bytes;
    uint64_t computed;
};

static std::vector<SimStream *> streams;
static std::vector<Pinned> pinned;
static std::vector<Reading> reading;
static std::vector<Bringing> bringing;
static uint64_t computed; /* calls in the first stream */

static struct Waits {
    long drained = 0;
    ~Waits() {
        if (getenv("REMAT_SIM_WAITS"))
            fprintf(stderr, "simulated device: the host waited %ld times until it was idle\n", drained);
    }
} waits;

void sim_compute(void) {
    computed++;
}
long sim_computed(void) {
    return (long)computed;
}

[[noreturn]] static void fail(const char *what) {
    fprintf(stderr, "simulated device: %s\n", what);
    abort();
}

static size_t issued(const SimStream *stream) {
    return stream->forgotten + stream->task.size();
}

static void advance(SimStream *stream, size_t tasks) {
    while (stream->done < tasks) {
        const Task task = stream->task[stream->done++ - stream->forgotten];
        if (task.stream)
            advance(task.stream, task.tasks);
        else
            memcpy(task.to, task.from, task.bytes);
    }
    if (stream->done != issued(stream)) return;
    stream->forgotten = stream->done;
    stream->task.clear();
}

static bool is_pinned(const void *at, size_t bytes) {
    for (const Pinned &p : pinned)
        if ((const char *)at >= p.at && (const char *)at + bytes <= p.at + p.bytes) return true;
    return false;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = new SimStream{streams.empty(), 0, {}, 0, 0};
    streams.push_back(*stream);
    return cudaSuccess;
}
static void release_pages(uint64_t until) {
    std::vector<Reading> left;
    for (const Reading &r : reading) {
        if (r.computed > until)
            left.push_back(r);
        else if (mprotect(r.at, r.bytes, PROT_READ | PROT_WRITE) != 0)
            fail("mprotect");
    }
    for (const Reading &r : left) mprotect(r.at, r.bytes, PROT_READ); /* pages that several copies share */
    reading = left;
}
static void bring(uint64_t until) {
    std::vector<Bringing> left;
    for (Bringing &b : bringing) {
        if (b.computed > until)
            left.push_back(std::move(b));
        else
            memcpy(b.to, b.bytes.data(), b.bytes.size());
    }
    bringing = std::move(left);
}
/* The host has waited for the first stream, up to there. */
static void waited(uint64_t until) {
    waits.drained += until == computed;
    release_pages(until);
    bring(until);
}
/* The whole pages around it: other slots share none of them. */
static void protect_pages(const void *from, size_t bytes) {
    const uintptr_t page = 4096, begin = (uintptr_t)from / page * page;
    const size_t size = ((uintptr_t)from + bytes + page - 1) / page * page - begin;
    if (mprotect((void *)begin, size, PROT_READ) != 0) fail("mprotect");
    reading.push_back(Reading{(char *)begin, size, computed});
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return cudaStreamSynchronize(stream); /* events may still name it */
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    sim_not_capturing("cudaStreamSynchronize");
    if (stream) advance(stream, issued(stream));
    if (!stream || stream->computes) waited(computed);
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void) {
    sim_not_capturing("cudaDeviceSynchronize");
    for (SimStream *stream : streams) cudaStreamSynchronize(stream);
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    *event = new SimEvent{};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
static void record(cudaEvent_t event, cudaStream_t stream) {
    event->stream = stream;
    event->tasks = issued(stream);
    event->computed = stream->computes ? computed : stream->seen;
}
static void wait(cudaStream_t stream, cudaEvent_t event) {
    if (!event->stream) return;
    if (stream->computes)
        advance(event->stream, event->tasks);
    else if (event->stream != stream)
        stream->task.push_back(Task{nullptr, nullptr, 0, event->stream, event->tasks});
    if (event->computed > stream->seen) stream->seen = event->computed;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->mark = sim_capture_mark(stream);
    if (!sim_captured(stream, SIM_ORDER, [=] { record(event, stream); })) record(event, stream);
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    if (!sim_capture_wait(stream, event->mark, [=] { wait(stream, event); })) wait(stream, event);
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    sim_not_capturing("cudaEventSynchronize");
    if (event->mark.capture) fail("the host waits for an event of a capture");
    if (!event->stream) return cudaSuccess;
    advance(event->stream, event->tasks);
    if (event->stream->computes) waited(event->computed);
    return cudaSuccess;
}

static void copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (!stream || stream->computes) {
        sim_compute();
        if (kind == cudaMemcpyHostToDevice && is_pinned(from, bytes)) protect_pages(from, bytes);
        if (kind == cudaMemcpyDeviceToHost && is_pinned(to, bytes)) {
            const char *now = (const char *)from;
            bringing.push_back({to, std::vector<char>(now, now + bytes), computed});
            memset(to, 0xff, bytes);
            return;
        }
        memcpy(to, from, bytes);
        return;
    }
    if (!is_pinned(kind == cudaMemcpyDeviceToHost ? to : from, bytes))
        fail("a copy beside the computation to or from memory that is not pinned");
    if (stream->seen != computed) fail("a copy does not wait for what was computed before it");
    stream->task.push_back(Task{to, from, bytes, nullptr, 0});
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    if (stream && !stream->computes) fail("a fill in a stream for copies");
    auto fill = [=] {
        sim_compute();
        memset(to, value, bytes);
    };
    if (!sim_captured(stream, SIM_NODE, fill)) fill();
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    auto action = [=] { copy(to, from, bytes, kind, stream); };
    if (!sim_captured(stream, SIM_NODE, action))
        action();
    else if (kind != cudaMemcpyDeviceToDevice &&
             !is_pinned(kind == cudaMemcpyDeviceToHost ? to : from, bytes))
        fail("a captured copy to or from memory that is not pinned");
    return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t row_bytes, size_t rows, cudaMemcpyKind, cudaStream_t stream) {
    if (stream && !stream->computes) fail("rows in a stream for copies");
    if (row_bytes > to_pitch || row_bytes > from_pitch) fail("rows that overlap");
    auto action = [=] {
        sim_compute();
        for (size_t i = 0; i < rows; i++)
            memcpy((char *)to + i * to_pitch, (const char *)from + i * from_pitch, row_bytes);
    };
    if (!sim_captured(stream, SIM_NODE, action)) action();
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
    sim_not_capturing("cudaMemcpy");
    sim_compute();
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned) {
    sim_not_capturing("cudaHostAlloc");
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return cudaErrorMemoryAllocation;
    pinned.push_back(Pinned{(char *)at, bytes});
    *pointer = at;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *pointer) {
    sim_not_capturing("cudaFreeHost");
    cudaDeviceSynchronize();
    for (size_t i = 0; i < pinned.size(); i++) {
        if (pinned[i].at != pointer) continue;
        munmap(pointer, pinned[i].bytes);
        pinned.erase(pinned.begin() + (ptrdiff_t)i);
        return cudaSuccess;
    }
    return cudaErrorInvalidValue;
}
