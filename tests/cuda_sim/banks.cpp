/* Banks of shared memory: 32 of 4 bytes side by side, each of which gives one word a pass. What the lanes of
 * a warp do at one place of the code is one access, done in phases: all 32 lanes where each has 4 bytes or
 * fewer, 16 lanes of 8 bytes, 8 lanes of 16. A phase takes as many passes as there are different words in the
 * bank that has most of them; those after the first are counted.
 *
 * Copies and matrix rows are noted wherever kernels run, loads and stores of kernels that were compiled with
 * -fsanitize=thread: the compiler then calls a function before each, and here these functions are ours. A
 * place is where that call returns to; lanes run one after the other from stop to stop, so the n-th time that
 * they come by a place between two stops is one access. */
#include "sim.h"

#include "cuda_runtime.h"

#include <algorithm>
#include <vector>

enum { WARP = 32, BANKS = 32, WORD = 4, WIDEST = 16 };

static long conflicts;

long sim_bank_conflicts(void) {
    const long found = conflicts;
    conflicts = 0;
    return found;
}

void sim_bank_phase(const uint32_t *address, int lanes, int bytes) {
    uint32_t word[WARP * WIDEST / WORD];
    int words = 0, in_bank[BANKS] = {0}, most = 1;
    uint32_t taken = 0, twice = 0; /* a bit a bank */
    for (int i = 0; i < lanes; i++)
        for (uint32_t at = address[i] / WORD; at <= (address[i] + (uint32_t)bytes - 1) / WORD; at++) {
            const uint32_t bank = UINT32_C(1) << at % BANKS;
            twice |= taken & bank;
            taken |= bank;
            word[words++] = at;
        }
    if (!twice) return;
    std::sort(word, word + words);
    words = (int)(std::unique(word, word + words) - word);
    for (int i = 0; i < words; i++) most = std::max(most, ++in_bank[word[i] % BANKS]);
    conflicts += most - 1;
}

/* ---- accesses of threads, until the warp's lanes have stopped ---- */

struct Access {
    const void *place;
    int nth, lane, bytes;
    uint32_t address;
};
static std::vector<Access> noted;
static std::vector<std::pair<const void *, int>> places; /* of the lane that runs: how often it came by */

/* In any case one of the few places between two stops. */
static int times_before(const void *place) {
    for (auto &[at, times] : places)
        if (at == place) return times++;
    places.push_back({place, 1});
    return 0;
}

void sim_bank_lane(void) {
    places.clear();
}
void sim_bank_note(const void *at, int bytes, const void *place) {
    const ptrdiff_t offset = (const char *)at - (const char *)sim_shared_memory();
    if (offset < 0 || offset >= (ptrdiff_t)sim_shared_bytes()) return;
    noted.push_back({place, times_before(place), (int)threadIdx.x % WARP, bytes, (uint32_t)offset});
}

void sim_bank_settle(void) {
    const auto before = [](const Access &a, const Access &b) {
        if (a.place != b.place) return std::less<const void *>()(a.place, b.place);
        return a.nth != b.nth ? a.nth < b.nth : a.lane < b.lane;
    };
    std::sort(noted.begin(), noted.end(), before);
    for (size_t i = 0; i < noted.size();) {
        const Access first = noted[i];
        const int together = WARP * WORD / std::max(first.bytes, (int)WORD); /* lanes of a phase */
        uint32_t address[WARP];
        int lanes = 0;
        for (; i < noted.size() && noted[i].place == first.place && noted[i].nth == first.nth &&
               noted[i].lane / together == first.lane / together;
             i++)
            address[lanes++] = noted[i].address;
        sim_bank_phase(address, lanes, first.bytes);
    }
    noted.clear();
}

/* ---- what the compiler calls ---- */

extern "C" {
#define ACCESS(bytes)                                                                                        \
    void __tsan_read##bytes(void *at) {                                                                      \
        sim_bank_note(at, bytes, __builtin_return_address(0));                                               \
    }                                                                                                        \
    void __tsan_write##bytes(void *at) {                                                                     \
        sim_bank_note(at, bytes, __builtin_return_address(0));                                               \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
/* Structures: 16 bytes at a time. */
static void note_range(const void *at, size_t bytes, const void *place) {
    for (size_t i = 0; i < bytes; i += WIDEST)
        sim_bank_note((const char *)at + i, (int)std::min(bytes - i, (size_t)WIDEST), place);
}
void __tsan_read_range(void *at, size_t bytes) {
    note_range(at, bytes, __builtin_return_address(0));
}
void __tsan_write_range(void *at, size_t bytes) {
    note_range(at, bytes, __builtin_return_address(0));
}
void *__tsan_memcpy(void *to, const void *from, size_t bytes) { /* clang's way to copy them */
    note_range(from, bytes, __builtin_return_address(0));
    note_range(to, bytes, __builtin_return_address(0));
    return memcpy(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    note_range(to, bytes, __builtin_return_address(0));
    return memset(to, value, bytes);
}
void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
}
