/* Runs kernels on the CPU. Every thread of a block is a fiber; it runs until it reaches a barrier, a
 * collective of its warp (a shuffle, a matrix product) or its end. If a warp's threads stopped at a
 * collective they must all have, and go on; when all warps have stopped, all threads of the block must be at
 * the same barrier. Anything else, such as a thread that left while others wait, ends the test. Blocks, warps
 * and threads go forwards, backwards or in a random order, another one at every sim_next_schedule: a result
 * that depends on the order shows as different bits. Shared memory is NaN when a block starts and ends at a
 * page that must not be touched; so do allocations. */
#include "sim.h"

#include "graph.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

enum { MAX_THREADS = 1024, WARP = 32, STACK_BYTES = 64 << 10, MAX_SHARED_BYTES = 99 << 10 };
enum { FREE_SHARED_BYTES = 48 << 10, MAX_LIMITS = 256 };

dim3 sim_thread_index, sim_block_index, sim_block_size, sim_grid_size;

/* ---- fibers ---- */

#if defined(__x86_64__)
typedef void *Context;
extern "C" void sim_switch(Context *from, Context to);
__asm__(
    ".text\n.globl sim_switch\n.hidden sim_switch\nsim_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n    ret\n");
static void context_switch(Context *from, Context *to) {
    sim_switch(from, *to);
}
static void context_make(Context *context, char *stack, void (*entry)(void)) {
    void **top = (void **)(stack + STACK_BYTES - 56); /* 16 n + 8, as after a call */
    *top = nullptr;                                   /* entry's return address: it never returns */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *context = top;
}
#else
#include <ucontext.h>
typedef ucontext_t Context;
static void context_switch(Context *from, Context *to) {
    swapcontext(from, to);
}
static void context_make(Context *context, char *stack, void (*entry)(void)) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}
#endif

enum Stop { READY, BARRIER, COLLECTIVE, DONE };

struct Fiber {
    Context context;
    Stop stop;
    const char *file; /* where it stopped */
    int line;
    SimAction *action; /* of a collective */
    void *argument;
};
static Fiber fiber[MAX_THREADS];
static Context scheduler;
static int current, threads, warp_first;
static const char *kernel_name;
static void (*thread_body)(void *);
static void *thread_arguments;
static char *shared;
static size_t shared_size;

[[noreturn]] static void fail(const char *what) {
    fprintf(stderr, "%s: block (%u, %u), thread %d %s\n", kernel_name, sim_block_index.x, sim_block_index.y,
            current, what);
    abort();
}
void sim_fail(int lane, const char *what) {
    if (lane >= 0) current = warp_first + lane;
    fail(what);
}

static void stop(Stop why, const char *file, int line) {
    Fiber *f = &fiber[current];
    f->stop = why;
    f->file = file;
    f->line = line;
    context_switch(&f->context, &scheduler);
}
static void fiber_main(void) {
    thread_body(thread_arguments);
    sim_copy_end(current);
    stop(DONE, "", 0);
}
void sim_barrier(const char *file, int line) {
    stop(BARRIER, file, line);
}
void sim_collective(SimAction *action, void *argument, const char *file, int line) {
    fiber[current].action = action;
    fiber[current].argument = argument;
    stop(COLLECTIVE, file, line);
}

struct Shuffle {
    uint32_t bits; /* given, then received */
    int step;
};
static void shuffle(void **lane) {
    uint32_t bits[WARP];
    for (int i = 0; i < WARP; i++) {
        const Shuffle *s = (const Shuffle *)lane[i];
        if (s->step != ((const Shuffle *)lane[0])->step) sim_fail(i, "shuffles over another distance");
        bits[i] = ((const Shuffle *)lane[i ^ s->step])->bits;
    }
    for (int i = 0; i < WARP; i++) ((Shuffle *)lane[i])->bits = bits[i];
}
uint32_t sim_shuffle_xor(unsigned mask, uint32_t bits, int step, const char *file, int line) {
    if (mask != 0xffffffffu) fail("a shuffle of part of a warp");
    if (step <= 0 || step >= WARP) fail("a shuffle out of the warp");
    Shuffle s = {bits, step};
    sim_collective(shuffle, &s, file, line);
    return s.bits;
}
void *sim_shared_memory(void) {
    return shared;
}
size_t sim_shared_bytes(void) {
    return shared_size;
}

/* ---- schedules ---- */

static uint64_t schedule;

void sim_next_schedule(void) {
    schedule++;
}
static uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
/* order[0..n): forwards, backwards, or shuffled */
static void make_order(unsigned *order, unsigned n, uint64_t *state) {
    for (unsigned i = 0; i < n; i++) order[i] = schedule % 3 == 1 ? n - 1 - i : i;
    if (schedule % 3 != 2) return;
    for (unsigned i = n; i > 1; i--) std::swap(order[i - 1], order[draw(state) % i]);
}

/* ---- a block ---- */

static bool same_place(const Fiber *a, const Fiber *b) {
    return a->stop == b->stop && a->line == b->line && a->file == b->file;
}

/* Threads [first, first + 32) have stopped. True if it was at a collective: they may go on. */
static bool release_warp(int first) {
    if (fiber[first].stop != COLLECTIVE) return false;
    void *argument[WARP];
    for (int lane = 0; lane < WARP; lane++) {
        current = first + lane;
        const Fiber *f = &fiber[current];
        if (!same_place(f, &fiber[first]) || f->action != fiber[first].action)
            fail("does not take part in the collective of its warp");
        argument[lane] = f->argument;
    }
    warp_first = first;
    fiber[first].action(argument);
    for (int lane = 0; lane < WARP; lane++) fiber[first + lane].stop = READY;
    return true;
}

/* As far as the warp gets without the others: they may be a whole stretch between barriers behind. */
static void run_warp(int first, uint64_t *state) {
    unsigned order[WARP];
    const int lanes = threads - first < WARP ? threads - first : WARP;
    do {
        make_order(order, (unsigned)lanes, state);
        for (int i = 0; i < lanes; i++) {
            current = first + (int)order[i];
            if (fiber[current].stop != READY) continue;
            sim_thread_index = dim3((unsigned)current, 0, 0);
            sim_bank_lane();
            context_switch(&scheduler, &fiber[current].context);
        }
        sim_bank_settle();
    } while (release_warp(first));
}

/* False when all threads are done. */
static bool release_block(void) {
    for (current = 1; current < threads; current++)
        if (!same_place(&fiber[current], &fiber[0])) fail("does not reach the barrier that others wait at");
    if (fiber[0].stop == DONE) return false;
    for (int i = 0; i < threads; i++) fiber[i].stop = READY;
    return true;
}

static void run_block(uint64_t *state) {
    static char *stacks = (char *)mmap(nullptr, (size_t)MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned order[MAX_THREADS / WARP];
    for (int i = 0; i < threads; i++) {
        context_make(&fiber[i].context, stacks + (size_t)i * STACK_BYTES, fiber_main);
        fiber[i].stop = READY;
    }
    const int warps = (threads + WARP - 1) / WARP;
    do {
        make_order(order, (unsigned)warps, state);
        for (int i = 0; i < warps; i++) run_warp((int)order[i] * WARP, state);
    } while (release_block());
}

/* ---- launches and memory ---- */

/* `bytes` that end, but for alignment, at a page nobody may touch. */
static char *guarded(size_t bytes, size_t *mapped) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), aligned = (bytes + 255) / 256 * 256;
    const size_t room = (aligned + page - 1) / page * page;
    char *at = (char *)mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + room, page, PROT_NONE) != 0) return nullptr;
    if (mapped) *mapped = room + page;
    return at + room - aligned;
}

static struct Limit {
    const void *kernel;
    size_t bytes;
} limit[MAX_LIMITS];
static int limits;

cudaError_t sim_set_shared_limit(const void *kernel, cudaFuncAttribute, int bytes) {
    if (bytes < 0 || bytes > MAX_SHARED_BYTES) return cudaErrorInvalidValue;
    int i = 0;
    while (i < limits && limit[i].kernel != kernel) i++;
    if (i == MAX_LIMITS) return cudaErrorInvalidValue;
    if (i == limits) limits++;
    limit[i] = {kernel, (size_t)bytes};
    return cudaSuccess;
}
static size_t shared_limit(const void *kernel) {
    for (int i = 0; i < limits; i++)
        if (limit[i].kernel == kernel) return limit[i].bytes;
    return FREE_SHARED_BYTES;
}

/* Launches of a shape that REMAT_SIM_SLOW_LAUNCH names take a millisecond more, or so many: "128:49152
 * 256:128=20", threads and shared bytes. */
static void be_slow(unsigned block, size_t shared_bytes) {
    static const char *const slow = getenv("REMAT_SIM_SLOW_LAUNCH");
    char shape[40], list[160];
    if (!slow) return;
    snprintf(shape, sizeof shape, " %u:%zu", block, shared_bytes);
    snprintf(list, sizeof list, " %s ", slow);
    for (const char *found = list; (found = strstr(found, shape)); found++) {
        const char *end = found + strlen(shape);
        if (*end == ' ' || *end == '=') usleep(1000 * (*end == '=' ? (unsigned)atoi(end + 1) : 1));
    }
}

void sim_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                void (*thread)(void *), void *arguments) {
    static char *shared_end = guarded(MAX_SHARED_BYTES, nullptr) + (MAX_SHARED_BYTES + 255) / 256 * 256;
    kernel_name = name;
    thread_body = thread;
    thread_arguments = arguments;
    threads = (int)block.x;
    current = 0;
    sim_compute();
    if (block.y != 1 || block.z != 1 || grid.z != 1 || block.x < 1 || block.x > MAX_THREADS)
        fail("block size");
    if (grid.x < 1 || grid.y < 1 || grid.x > 0x7fffffffu || grid.y > 0xffffu) fail("grid size");
    if (shared_bytes > shared_limit(kernel)) fail("more shared memory than it was allowed");
    be_slow(block.x, shared_bytes);
    sim_block_size = block;
    sim_grid_size = grid;
    const size_t shared_room = (shared_bytes + 15) / 16 * 16;
    shared = shared_end - shared_room;
    shared_size = shared_bytes;
    uint64_t state = 88172645463325252u + schedule;
    const unsigned blocks = grid.x * grid.y;
    unsigned *order = (unsigned *)malloc(blocks * sizeof *order);
    make_order(order, blocks, &state);
    for (unsigned i = 0; i < blocks; i++) {
        sim_block_index = dim3(order[i] % grid.x, order[i] / grid.x, 0);
        memset(shared, 0xff, shared_room);
        run_block(&state);
    }
    free(order);
}

/* ---- runtime ---- */

const char *cudaGetErrorString(cudaError_t status) {
    return status == cudaErrorMemoryAllocation ? "out of memory" : "invalid value";
}
cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    snprintf(properties->name, sizeof properties->name, "simulated device");
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int) {
    *value = which == cudaDevAttrComputeCapabilityMajor ? 9 : which == cudaDevAttrMultiProcessorCount ? 1 : 0;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes) {
    *free_bytes = *all_bytes = (size_t)1 << 40;
    return cudaSuccess;
}

static struct Allocation {
    char *at;
    size_t mapped, page_offset;
} allocation[1024];

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    sim_not_capturing("cudaMalloc");
    for (Allocation &a : allocation) {
        if (a.at) continue;
        a.at = guarded(bytes, &a.mapped);
        if (!a.at) return cudaErrorMemoryAllocation;
        a.page_offset = (uintptr_t)a.at % (uintptr_t)sysconf(_SC_PAGESIZE);
        *pointer = a.at;
        return cudaSuccess;
    }
    return cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void *pointer) {
    sim_not_capturing("cudaFree");
    for (Allocation &a : allocation) {
        if (a.at != pointer || !pointer) continue;
        munmap(a.at - a.page_offset, a.mapped);
        a.at = nullptr;
        return cudaSuccess;
    }
    return pointer ? cudaErrorInvalidValue : cudaSuccess;
}
