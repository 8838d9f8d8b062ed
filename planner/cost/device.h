/* Devices: what memory programs find on one, and how fast it is.
 *
 * A built-in device is a file of planner/cost/devices/, made into a row when rematc is built; `--device FILE`
 * reads one in the same format (device_file.c says which). */
#ifndef REMAT_COST_DEVICE_H
#define REMAT_COST_DEVICE_H

#include "ir/graph.h"

/* A figure of the memory's account, and where it is from; a fallback says by what rule it was made. */
typedef struct DeviceFigure {
    int64_t bytes;
    const char *source;
} DeviceFigure;

typedef struct Device {
    const char *name, *about;
    bool cuda;              /* else the host */
    DeviceFigure board;     /* as nvidia-smi names it; 0: no fixed size (host) */
    DeviceFigure driver;    /* what the driver keeps of it: no program sees that */
    DeviceFigure context;   /* what a process takes before its first allocation */
    DeviceFigure code;      /* for the code of kernels and libraries, loaded as they are first used */
    int64_t memory_bytes;   /* what programs see, board less driver; 0: the budget alone counts */
    bool memory_pretended;  /* ... which the user asked to take as given: no such device need have it */
    int64_t reserved_bytes; /* context and code, taken off memory_bytes and off a budget */
    double flops_per_second[DT_COUNT];   /* dense, f32 accumulation; 0: not supported */
    double bytes_per_second;             /* device memory */
    double copy_bytes_per_second;        /* host <-> device, one way */
    bool copies_beside;                  /* copies run beside the computation, one each way at a time */
    double launch_seconds;               /* fixed cost of one operation */
    int capability;                      /* 90 for sm_90; 0 on the host */
    int multiprocessors, threads;        /* threads: resident, on one multiprocessor; 0 on the host */
    const struct Profile *profile;       /* what was measured on it (profile.h); NULL: nothing */
    const struct Interpolation *between; /* ... and what follows for the rest (interpolate.h) */
} Device;

/* A built-in one; NULL when unknown. "host" is a computer of the least kind there: see this_computer.h. */
const Device *device_find(const char *name);
const Device *device_list(uint32_t *count);
enum { DEVICE_HOST_CORES = 2 }; /* of the built-in hosts */
/* Its name, and the size of its memory where that is pretended: "h200 (pretended memory: 1.17 TiB)". */
const char *device_text(const Device *device, Arena *arena);
/* Shared memory that one block of a kernel may ask for (CUDA C++ Programming Guide, technical specifications
 * by compute capability); INT64_MAX for the host. */
int64_t device_block_bytes(const Device *device);

#endif
