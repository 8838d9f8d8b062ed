/* Tensor cores and asynchronous copies of the simulated device. A copy is done as late as it may be, when its
 * thread waits for its group; until then its target is NaN. Addresses that are not multiples of 16, or
 * outside the block's shared memory, and a thread that ends before its copies end the test. */
#include "sim.h"

#include "cuda_runtime.h"

#include <deque>

enum { WARP = 32, ROW_BYTES = 16 };

/* ---- addresses: 0 is nothing, so that a null pointer shows ---- */

enum { FIRST_ADDRESS = 1024 };

uint32_t sim_shared_address(const void *p) {
    const ptrdiff_t at = (const char *)p - (const char *)sim_shared_memory();
    if (at < 0 || at > (ptrdiff_t)sim_shared_bytes()) sim_fail(-1, "an address outside shared memory");
    return FIRST_ADDRESS + (uint32_t)at;
}
/* 16 bytes; `lane` of the current warp, or -1 for the current thread */
static char *row_at(uint32_t address, int lane) {
    if (address % ROW_BYTES != 0) sim_fail(lane, "an address that is no multiple of 16");
    if (address < FIRST_ADDRESS || address - FIRST_ADDRESS + ROW_BYTES > sim_shared_bytes())
        sim_fail(lane, "a row outside shared memory");
    return (char *)sim_shared_memory() + (address - FIRST_ADDRESS);
}

/* ---- matrices ---- */

struct Load {
    uint32_t *r, row;
    bool transposed;
};

static void load_matrices(void **argument) {
    const auto lane = [&](int i) { return (Load *)argument[i]; };
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t element[8][8];
        uint32_t address[8];
        for (int j = 0; j < 8; j++) {
            address[j] = lane(8 * matrix + j)->row;
            memcpy(element[j], row_at(address[j], 8 * matrix + j), ROW_BYTES);
        }
        sim_bank_phase(address, 8, ROW_BYTES);
        for (int i = 0; i < WARP; i++) {
            const int g = i / 4, c = i % 4 * 2;
            const bool turn = lane(i)->transposed;
            lane(i)->r[matrix] = (uint32_t)(turn ? element[c][g] : element[g][c]) |
                                 (uint32_t)(turn ? element[c + 1][g] : element[g][c + 1]) << 16;
        }
    }
}
void sim_ldmatrix(uint32_t *r, uint32_t row, bool transposed, const char *file, int line) {
    Load load = {r, row, transposed};
    sim_collective(load_matrices, &load, file, line);
}

struct Product {
    float *d;
    const uint32_t *a;
    uint32_t b[2];
};

static float half_of(uint32_t pair, int high) {
    return __uint_as_float(high ? pair & 0xffff0000u : pair << 16);
}
/* Products of bf16 are exact in f32; they are added one after the other. */
static void multiply(void **argument) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const Product *p = (const Product *)argument[lane];
        const int g = lane / 4, c = lane % 4 * 2;
        for (int i = 0; i < 2; i++)
            for (int r = 0; r < 4; r++) a[g + r % 2 * 8][c + r / 2 * 8 + i] = half_of(p->a[r], i);
        for (int i = 0; i < 2; i++)
            for (int r = 0; r < 2; r++) b[c + 8 * r + i][g] = half_of(p->b[r], i);
    }
    for (int lane = 0; lane < WARP; lane++)
        for (int i = 0; i < 4; i++) {
            float *d = &((Product *)argument[lane])->d[i];
            for (int k = 0; k < 16; k++) *d += a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
        }
}
void sim_mma(float *d, const uint32_t *a, uint32_t b0, uint32_t b1, const char *file, int line) {
    Product product = {d, a, {b0, b1}};
    sim_collective(multiply, &product, file, line);
}

/* ---- copies ---- */

struct Copy {
    char *to;
    const void *from; /* NULL: zeros */
    int group;
};
struct Copies {
    std::deque<Copy> pending;
    int group; /* the one that is open */
};
static Copies copies[1024]; /* by thread of the block */

void sim_copy_async(uint32_t to, const void *from, bool there) {
    Copies *own = &copies[threadIdx.x];
    if ((uintptr_t)from % ROW_BYTES != 0) sim_fail(-1, "a copy from an address that is no multiple of 16");
    char *target = row_at(to, -1);
    sim_bank_note(target, ROW_BYTES, __builtin_return_address(0));
    memset(target, 0xff, ROW_BYTES);
    own->pending.push_back({target, there ? from : nullptr, own->group});
}
void sim_copy_commit(void) {
    copies[threadIdx.x].group++;
}
void sim_copy_wait(int pending) {
    Copies *own = &copies[threadIdx.x];
    while (!own->pending.empty() && own->pending.front().group < own->group - pending) {
        const Copy copy = own->pending.front();
        own->pending.pop_front();
        if (copy.from)
            memcpy(copy.to, copy.from, ROW_BYTES);
        else
            memset(copy.to, 0, ROW_BYTES);
    }
}
void sim_copy_end(int thread) {
    if (!copies[thread].pending.empty()) sim_fail(-1, "ends before its copies");
    copies[thread].group = 0;
}
