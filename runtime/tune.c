/* Measures the operations of a plan, each for itself, and writes their times into a profile.
 *
 * In a batch an operation runs so often that the clock can tell; calls of a batch take their operands in turn
 * from copies that together are larger than the caches, as a step that touches gigabytes between two uses of
 * anything. A product that has several algorithms is tried with each, and takes the fastest (product.h); so
 * does an operation whose kernel has several variants (variant.h). What stands in the profile is the
 * distribution over batches. It is written after every operation: a program that is stopped goes on where it
 * was when it is started again, and times of other origins stay. Last, on the host, whole steps are run and
 * every call in them is timed (tune_steps.c). */
#include "internal.h"
#include "tune_profile.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROTATED_BYTES = 256 << 20, /* of all copies of an operation's tensors */
    MOST_COPIES = 24,
    MOST_BATCHES = 101,
    LEAST_BATCHES = 5,
    COPIED_BYTES = 64 << 20, /* to host memory and back */
    ROUNDS = 3,              /* variants are tried in turn, so often */
};
static const double BATCH_SECONDS = 2e-3, /* at least */
    OPERATION_SECONDS = 0.3,              /* then no further batch begins, once there are LEAST_BATCHES; or
                                             what --each says */
    TRIAL_SECONDS = 0.015,                /* the same of each algorithm that a product may take, or variant */
    WORTH = 0.98,                         /* of its time or less: a variant is taken in place of the first */
    SETTLE_SECONDS = 0.2,                 /* before the first one is measured: clocks rise under work */
    STEPS_SECONDS = 10;                   /* then no further step begins */

typedef struct Options {
    const char *output, *device, *only;
    double seconds, each; /* 0: not given */
} Options;

typedef struct Tune {
    const RtTuner *tuner;
    Options options;
    RtRun run;
    RtTuneProfile profile;
    KChoice *product;                            /* that were measured here before */
    int *variant, now;                           /* KVariant of each operation; of the next call */
    void *numbers[RT_FILL_COUNT][K_DTYPE_COUNT]; /* what tensors are filled with; NULL: not made yet */
    double begun;
    int settled, measured, known, left;
    double known_seconds, step_seconds; /* of a step: what stands in the profile, and all, as planned */
} Tune;

/* ---- what was chosen before ---- */

/* What was chosen here before stays: times that stand in the profile are of that. */
static void read_products(Tune *tune) {
    int count = 0, at = 0;
    tune->product = rt_allocate((size_t)(tune->profile.lines + 1) * sizeof *tune->product);
    for (const char *text; (text = rt_tune_profile_next(&tune->profile, RT_RECORD_PRODUCT, &at));) {
        const char *wrong = k_choice_read(text, &tune->product[count++]);
        if (wrong) rt_fail(RT_EXIT_IO, "'%s': product: '%s' is wrong", tune->profile.path, wrong);
    }
    rt_tune_products(tune->product, count);
}

/* The same of variants: by operation; K_VARIANT_NONE: its kernel has none, or none was chosen yet. */
static void read_variants(Tune *tune) {
    tune->variant = rt_allocate((size_t)(tune->tuner->operations + 1) * sizeof *tune->variant);
    for (int o = 0; o < tune->tuner->operations; o++) {
        const RtTuneOperation *operation = &tune->tuner->operation[o];
        const char *name = rt_tune_profile_known(&tune->profile, RT_RECORD_VARIANT, operation->key);
        if (!name) continue;
        tune->variant[o] = k_variant_find(name);
        if (!tune->variant[o] || (int)k_variant_family(tune->variant[o]) != operation->family)
            rt_fail(RT_EXIT_IO, "'%s': variant: '%s' is wrong", tune->profile.path, name);
    }
}

/* ---- time ---- */

typedef struct Times {
    double seconds[MOST_BATCHES]; /* a call, of each batch, ascending once they are done */
    int count;
} Times;

typedef void Once(Tune *tune, const void *what, int64_t turn);

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double batch_seconds(Tune *tune, Once *once, const void *what, int64_t calls, int64_t *turn) {
    double begin = rt_seconds();
    for (int64_t i = 0; i < calls; i++) once(tune, what, (*turn)++);
    rt_device_sync();
    return rt_seconds() - begin;
}

static double operation_seconds(const Tune *tune) {
    return tune->options.each > 0 ? tune->options.each : OPERATION_SECONDS;
}

static Times take_times(Tune *tune, Once *once, const void *what, double each) {
    Times times = {.count = 0};
    int64_t turn = 0, calls = 1;
    batch_seconds(tune, once, what, 1, &turn); /* loads code, and makes what the first call makes */
    double begin = rt_seconds(), took = batch_seconds(tune, once, what, 1, &turn);
    while (took < BATCH_SECONDS) {
        int64_t wish = (int64_t)(1.2 * BATCH_SECONDS / (took / (double)calls + 1e-9)) + 1;
        calls = wish > 16 * calls ? 16 * calls : wish > calls ? wish : calls + 1;
        took = batch_seconds(tune, once, what, calls, &turn);
    }
    while (!tune->settled && rt_seconds() - begin < SETTLE_SECONDS)
        batch_seconds(tune, once, what, calls, &turn);
    tune->settled = 1;
    begin = rt_seconds();
    while (times.count < MOST_BATCHES && (times.count < LEAST_BATCHES || rt_seconds() - begin < each))
        times.seconds[times.count++] = batch_seconds(tune, once, what, calls, &turn) / (double)calls;
    qsort(times.seconds, (size_t)times.count, sizeof *times.seconds, ascending);
    return times;
}

static double quantile(const Times *times, double share) {
    return times->seconds[(int)(share * (times->count - 1) + 0.5)];
}

static void add_record(Tune *tune, RtRecord kind, const char *key, const Times *times) {
    char *text =
        rt_text("%s : p10_us=%.6g median_us=%.6g p90_us=%.6g count=%d", key, 1e6 * quantile(times, 0.1),
                1e6 * quantile(times, 0.5), 1e6 * quantile(times, 0.9), times->count);
    rt_tune_profile_add(&tune->profile, kind, text);
    free(text);
}

static void add_times(Tune *tune, const char *key, const Times *times) {
    add_record(tune, RT_RECORD_TIME, key, times);
    rt_tune_profile_write(&tune->profile);
    tune->measured++;
}

static void print_times(const char *key, int64_t runs, double planned_seconds, const Times *times) {
    double median = quantile(times, 0.5);
    char planned[32] = "";
    if (planned_seconds > 0) snprintf(planned, sizeof planned, "%5.2f", median / planned_seconds);
    printf("%12.1f us %6.1f%% %6s %6lld  %s\n", 1e6 * median,
           100 * (quantile(times, 0.9) / quantile(times, 0.1) - 1), planned, (long long)runs, key);
    fflush(stdout);
}

static int is_late(const Tune *tune) {
    return tune->options.seconds > 0 && rt_seconds() - tune->begun > tune->options.seconds;
}

/* ---- operations ---- */

static int64_t footprint(const RtTuneOperation *operation) {
    int64_t bytes = 0;
    for (int i = 0; i < operation->tensors; i++) bytes += rt_aligned(operation->tensor[i].bytes, K_ALIGN);
    return bytes;
}

static int copies_of(int64_t footprint_bytes) {
    int64_t copies = ROTATED_BYTES / (footprint_bytes + 1) + 1;
    return (int)(copies > MOST_COPIES ? MOST_COPIES : copies);
}

static uint32_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static void make_numbers(const Tune *tune, int fill, int dtype, void *chunk) {
    uint64_t random = 88172645463325252u;
    if (fill == RT_FILL_BYTES || fill == RT_FILL_TOKENS || dtype == K_I32) {
        uint32_t *word = chunk, bound = tune->tuner->vocab > 0 ? (uint32_t)tune->tuner->vocab : 1;
        for (int64_t i = 0; i < RT_CHUNK_BYTES / 4; i++) {
            word[i] = next_random(&random);
            if (fill == RT_FILL_BYTES) word[i] = (word[i] & 0x7fffff) | 0x3c000000; /* a scale near 0.01 */
            if (fill == RT_FILL_TOKENS) word[i] %= bound;
            if (fill == RT_FILL_LAST) word[i] = (uint32_t)(tune->tuner->context - 1);
        }
        return;
    }
    const int64_t count = RT_CHUNK_BYTES / rt_dtype_bytes(dtype);
    for (int64_t i = 0; i < count; i++) {
        const float unit = (float)(next_random(&random) >> 8) * 0x1p-24f;
        const float number = fill == RT_FILL_POSITIVE ? 0.5f + unit : 3.4f * unit - 1.7f;
        if (dtype == K_BF16)
            ((uint16_t *)chunk)[i] = rt_to_bf16(number);
        else
            ((float *)chunk)[i] = number;
    }
}

/* Contents of a kind and type, made once: as much as a chunk holds, which a larger tensor repeats. */
static const void *numbers_of(Tune *tune, int fill, int dtype) {
    void **chunk = &tune->numbers[fill][dtype];
    if (!*chunk) make_numbers(tune, fill, dtype, *chunk = rt_allocate(RT_CHUNK_BYTES));
    return *chunk;
}

static void fill(Tune *tune, const RtTuneTensor *tensor, int64_t offset) {
    char *at = tune->run.arena + offset;
    if (tensor->fill == RT_FILL_NONE || tensor->fill == RT_FILL_ZEROS) {
        rt_device_fill(at, 0, tensor->bytes);
        return;
    }
    const void *numbers = numbers_of(tune, tensor->fill, tensor->dtype);
    for (int64_t done = 0; done < tensor->bytes; done += RT_CHUNK_BYTES) {
        int64_t left = tensor->bytes - done;
        rt_device_upload(at + done, numbers, left < RT_CHUNK_BYTES ? left : RT_CHUNK_BYTES);
    }
}

typedef struct Placed {
    const RtTuneOperation *operation;
    int copies;
    int64_t *at; /* [copies, tensors] */
} Placed;

static void call_once(Tune *tune, const void *what, int64_t turn) {
    const Placed *placed = what;
    const RtTuneOperation *operation = placed->operation;
    (operation->apart && k_variant_is_apart(tune->now) ? operation->apart : operation->call)(
        &tune->run, placed->at + turn % placed->copies * operation->tensors);
}

/* Where the operation is a product that has several algorithms, the fastest becomes its own. */
static void choose_algorithm(Tune *tune, const Placed *placed) {
    char text[K_CHOICE_TEXT];
    KChoice choice;
    rt_tune_candidates(); /* of the operation before */
    call_once(tune, placed, 0);
    rt_device_sync();
    const int candidates = rt_tune_candidates();
    double best_seconds = 0;
    int best = 0;
    for (int i = 0; i < candidates; i++) {
        rt_tune_take(i, 0, &choice);
        const Times times =
            take_times(tune, call_once, placed,
                       operation_seconds(tune) < TRIAL_SECONDS ? operation_seconds(tune) : TRIAL_SECONDS);
        if (i && quantile(&times, 0.5) >= best_seconds) continue;
        best_seconds = quantile(&times, 0.5);
        best = i;
    }
    if (!candidates) return;
    rt_tune_take(best, 1, &choice);
    k_choice_print(&choice, text);
    rt_tune_profile_add(&tune->profile, RT_RECORD_PRODUCT, text);
}

static int variant_now(RtRun *run) {
    return ((const Tune *)run->watch)->now;
}

/* Of a product with a packed weight: the variant that dequantises it apart, or, of the others, the one that
 * took the least, the first where none was tried. */
static int way_of(const RtTuneOperation *operation, int apart, const double *least) {
    int found = K_VARIANT_NONE;
    for (int v = 1; v < K_VARIANTS; v++)
        if ((int)k_variant_family(v) == operation->family && k_variant_is_apart(v) == apart &&
            (!found || least[v] < least[found]))
            found = v;
    return found;
}

/* What a call of the operation takes whose time stands under its key. Where a product's weight is packed,
 * that is within, whichever was chosen: what is done apart has times of its own. */
static int timed_variant(const Tune *tune, const RtTuneOperation *operation, const double *least) {
    const int chosen = tune->variant[operation - tune->tuner->operation];
    return operation->apart && (!chosen || k_variant_is_apart(chosen)) ? way_of(operation, 0, least) : chosen;
}

/* Where the operation's kernel has several variants, the fastest becomes its own: the least of their medians,
 * and the first where no other is clearly faster. `least` [K_VARIANTS]: zeros; seconds of those that were
 * tried. */
static void choose_variant(Tune *tune, const Placed *placed, double *least) {
    const RtTuneOperation *operation = placed->operation;
    int *variant = &tune->variant[operation - tune->tuner->operation], first = 1, last;
    if (!operation->family || *variant) return;
    while ((int)k_variant_family(first) != operation->family) first++;
    for (last = first; (int)k_variant_family(last + 1) == operation->family;) last++;
    const double each = operation_seconds(tune) < TRIAL_SECONDS ? operation_seconds(tune) : TRIAL_SECONDS;
    for (int i = 0; i < ROUNDS * (last + 1 - first); i++) {
        tune->now = first + i % (last + 1 - first);
        const Times times = take_times(tune, call_once, placed, each);
        const double median = quantile(&times, 0.5);
        if (least[tune->now] <= 0 || median < least[tune->now]) least[tune->now] = median;
    }
    *variant = first;
    for (int v = first + 1; v <= last; v++)
        if (least[v] < least[*variant] && least[v] < WORTH * least[first]) *variant = v;
    char *text = rt_text("%s : %s", operation->key, k_variant_name(*variant));
    rt_tune_profile_add(&tune->profile, RT_RECORD_VARIANT, text);
    free(text);
    for (int v = first; v <= last; v++)
        printf("%12.1f us %s%s\n", 1e6 * least[v], k_variant_name(v), v == *variant ? ", taken" : "");
}

static void measure(Tune *tune, const RtTuneOperation *operation) {
    Placed placed = {.operation = operation, .copies = copies_of(footprint(operation))};
    int64_t offset = 0;
    int64_t *at = placed.at =
        rt_allocate((size_t)placed.copies * (size_t)operation->tensors * sizeof *placed.at);
    for (int copy = 0; copy < placed.copies; copy++)
        for (int i = 0; i < operation->tensors; i++) {
            *at++ = offset;
            fill(tune, &operation->tensor[i], offset);
            offset += rt_aligned(operation->tensor[i].bytes, K_ALIGN);
        }
    double least[K_VARIANTS] = {0};
    /* only what is done apart is the library's product */
    tune->now =
        operation->apart ? way_of(operation, 1, least) : tune->variant[operation - tune->tuner->operation];
    choose_algorithm(tune, &placed);
    choose_variant(tune, &placed, least);
    tune->now = timed_variant(tune, operation, least);
    Times times = take_times(tune, call_once, &placed, operation_seconds(tune));
    print_times(operation->key, operation->runs, operation->planned_seconds, &times);
    add_times(tune, operation->key, &times);
    free(placed.at);
}

static void measure_operations(Tune *tune) {
    const RtTuner *tuner = tune->tuner;
    for (int i = 0; i < tuner->operations; i++) {
        const RtTuneOperation *operation = &tuner->operation[i];
        const double planned = (double)operation->runs * operation->planned_seconds;
        tune->step_seconds += planned;
        if (tune->options.only && !strstr(operation->key, tune->options.only)) continue;
        double known = rt_tune_profile_seconds(&tune->profile, RT_RECORD_TIME, operation->key);
        if (known <= 0 && is_late(tune)) {
            tune->left++;
            continue;
        }
        if (known <= 0)
            measure(tune, operation);
        else
            tune->known++;
        tune->known_seconds += planned;
    }
}

/* ---- copies ---- */

static void copy_out(Tune *tune, const void *what, int64_t turn) {
    (void)what, (void)turn;
    rt_device_offload(0, tune->run.host, tune->run.arena, COPIED_BYTES);
    rt_device_wait(0);
}

static void copy_in(Tune *tune, const void *what, int64_t turn) {
    (void)what, (void)turn;
    rt_device_fetch(0, tune->run.arena, tune->run.host, COPIED_BYTES);
    rt_device_wait(0);
}

/* What the device computes while it copies both ways: the product that takes most of a step, so often that
 * alone it would take as long as the slower way alone. */
typedef struct Beside {
    Placed product;
    int64_t calls;
} Beside;

/* Out of the arena's first part and into its second, with the product's tensors behind. */
static void copy_both(Tune *tune, const void *what, int64_t turn) {
    const Beside *beside = what;
    rt_device_offload(0, tune->run.host, tune->run.arena, COPIED_BYTES);
    rt_device_fetch(1, tune->run.arena + COPIED_BYTES, tune->run.host + COPIED_BYTES, COPIED_BYTES);
    for (int64_t i = 0; i < beside->calls; i++) call_once(tune, &beside->product, turn);
    rt_device_wait(0);
    rt_device_wait(1);
}

static double known_seconds(const Tune *tune, const char *key) {
    return rt_tune_profile_seconds(&tune->profile, RT_RECORD_TIME, key);
}

static const RtTuneOperation *dearest_product(const RtTuner *tuner) {
    const RtTuneOperation *dearest = NULL;
    for (int i = 0; i < tuner->operations; i++) {
        const RtTuneOperation *operation = &tuner->operation[i];
        if (strncmp(operation->key, "linear", strlen("linear"))) continue;
        if (!dearest || (double)operation->runs * operation->planned_seconds >
                            (double)dearest->runs * dearest->planned_seconds)
            dearest = operation;
    }
    return dearest;
}

/* Beside nothing where no product was measured, or no copy. */
static Beside beside_copies(Tune *tune, double copy_seconds) {
    const RtTuneOperation *product = dearest_product(tune->tuner);
    const double seconds = product ? known_seconds(tune, product->key) : 0;
    Beside beside = {.product = {.operation = product, .copies = 1}, .calls = 0};
    if (!(seconds > 0) || !(copy_seconds > 0)) return beside;
    beside.calls = (int64_t)(copy_seconds / seconds + 0.5);
    if (beside.calls < 1) beside.calls = 1;
    int64_t offset = 2 * (int64_t)COPIED_BYTES;
    beside.product.at = rt_allocate((size_t)product->tensors * sizeof *beside.product.at);
    for (int i = 0; i < product->tensors; i++) {
        beside.product.at[i] = offset;
        fill(tune, &product->tensor[i], offset);
        offset += rt_aligned(product->tensor[i].bytes, K_ALIGN);
    }
    const double none[K_VARIANTS] = {0};
    tune->now = timed_variant(tune, product, none);
    return beside;
}

/* Each way alone; where a device copies while it computes, both at once under a product, too. */
static void measure_copies(Tune *tune) {
    static const struct {
        const char *name;
        Once *once;
    } way[] = {{"offload", copy_out}, {"fetch", copy_in}, {"duplex", copy_both}};
    double slower = 0;
    for (int i = 0; i < 2 + rt_device_beside(); i++) {
        char *key = rt_text("%s f32[%d] < f32[%d]", way[i].name, COPIED_BYTES / 4, COPIED_BYTES / 4);
        if (tune->options.only && !strstr(key, tune->options.only)) {
            free(key);
            continue;
        }
        if (known_seconds(tune, key) > 0) {
            tune->known++;
        } else if (is_late(tune)) {
            tune->left++;
        } else {
            if (!tune->run.host) {
                tune->run.host = rt_device_alloc_host(2 * (int64_t)COPIED_BYTES, 2, 0);
                memset(tune->run.host, 0, 2 * (size_t)COPIED_BYTES);
            }
            Beside beside = way[i].once == copy_both ? beside_copies(tune, slower) : (Beside){.calls = 0};
            Times times = take_times(tune, way[i].once, &beside, operation_seconds(tune));
            print_times(key, 0, 0, &times);
            add_times(tune, key, &times);
            free(beside.product.at);
        }
        if (known_seconds(tune, key) > slower) slower = known_seconds(tune, key);
        free(key);
    }
}

/* ---- whole steps ---- */

/* Whether an operation is without a record of its time within steps. */
static int lacks_steps(const Tune *tune) {
    for (int i = 0; i < tune->tuner->operations; i++)
        if (tune->tuner->operation[i].runs > 0 &&
            rt_tune_profile_seconds(&tune->profile, RT_RECORD_WITHIN, tune->tuner->operation[i].key) <= 0)
            return 1;
    return 0;
}

/* What stands there already stays: an operation has one time, whichever plan it was measured for. */
static void add_steps(Tune *tune, const double *took, int steps) {
    const RtTuner *tuner = tune->tuner;
    double sum = 0;
    int added = 0;
    for (int i = 0; i < tuner->operations; i++) {
        const RtTuneOperation *operation = &tuner->operation[i];
        Times times = {.count = steps};
        if (!operation->runs) continue;
        for (int s = 0; s < steps; s++)
            times.seconds[s] = took[(int64_t)s * tuner->operations + i] / (double)operation->runs;
        qsort(times.seconds, (size_t)steps, sizeof *times.seconds, ascending);
        sum += quantile(&times, 0.5) * (double)operation->runs;
        if (rt_tune_profile_seconds(&tune->profile, RT_RECORD_WITHIN, operation->key) > 0 ||
            !(quantile(&times, 0.1) > 0))
            continue;
        add_record(tune, RT_RECORD_WITHIN, operation->key, &times);
        added++;
    }
    rt_tune_profile_write(&tune->profile);
    printf("%d whole steps: %.1f ms in operations, %d of them timed there\n", steps, 1e3 * sum, added);
}

static void measure_steps(Tune *tune) {
    const RtTuner *tuner = tune->tuner;
    if (!tuner->steps || tune->options.only || tune->left || is_late(tune) || !lacks_steps(tune)) return;
    double *took = rt_allocate(RT_TUNE_STEPS * (size_t)tuner->operations * sizeof *took);
    const int steps = tuner->steps->time(tuner, STEPS_SECONDS, tune->variant, took);
    if (steps)
        add_steps(tune, took, steps);
    else
        rt_warn(
            "there is not enough memory for the plan: its operations are timed alone, and no whole steps");
    free(took);
}

/* ---- the command line ---- */

static int usage(const RtTuner *tuner, const char *name, FILE *to) {
    fprintf(to,
            "usage: %s [-o FILE] [--seconds S] [--each S] [--only NAME] [--device NAME]\n"
            "measures the operations of %s on %s and writes a profile for `rematc plan --profile`\n\n"
            "  -o FILE         the profile, %s.profile unless named; what stands in it stays, and is not\n"
            "                  measured again\n"
            "  --seconds S     begin no further operation after S seconds: what takes most of a step comes "
            "first\n"
            "  --each S        for an operation, so many seconds (0.3), and no less than 5 batches\n"
            "  --only NAME     only operations and copies that have NAME in their record, as\n"
            "                  `linear` or `bf16`\n"
            "  --device NAME   this is the device NAME, not %s: the times are that one's\n\n"
            "exit codes: 0 done, 2 usage, 3 too little memory, 5 no device or another one, 6 files\n",
            name, tuner->model, tuner->device, tuner->model, tuner->device);
    return to == stdout ? 0 : RT_EXIT_USAGE;
}

/* -1 to go on. */
static int parse(Options *options, const RtTuner *tuner, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return usage(tuner, argv[0], stdout);
        const char **text = !strcmp(argv[i], "-o")         ? &options->output
                            : !strcmp(argv[i], "--only")   ? &options->only
                            : !strcmp(argv[i], "--device") ? &options->device
                                                           : NULL;
        double *seconds = !strcmp(argv[i], "--seconds") ? &options->seconds
                          : !strcmp(argv[i], "--each")  ? &options->each
                                                        : NULL;
        if ((!text && !seconds) || i + 1 >= argc || !*argv[i + 1]) return usage(tuner, argv[0], stderr);
        const char *value = argv[++i];
        char *end = NULL;
        if (text) *text = value;
        if (seconds) *seconds = strtod(value, &end);
        if (seconds && (*end || !(*seconds > 0))) return usage(tuner, argv[0], stderr);
    }
    return -1;
}

static void check_device(const Tune *tune) {
    char text[512];
    const char *other = tune->options.device ? NULL : rt_tune_other_device(tune->tuner, text, sizeof text);
    if (other)
        rt_fail(RT_EXIT_DEVICE,
                "this is %s, and not %s, which the program was made for; --device NAME says which it is",
                other, tune->tuner->device);
}

static void begin_profile(Tune *tune) {
    RtTunePlace place = {"", "", "", ""};
    rt_tune_place(&place);
    rt_tune_profile_begin(&tune->profile, tune->options.device ? tune->options.device : tune->tuner->device,
                          &place, tune->tuner->kernels);
    printf("%s on %s (driver %s, clocks %s MHz, %s)\n", tune->tuner->model, place.card, place.driver,
           place.clocks, place.compiler);
}

/* Enough for the largest operation, for as many copies as any wants, and for copies beside a product. */
static int64_t arena_bytes(const RtTuner *tuner) {
    const RtTuneOperation *product = dearest_product(tuner);
    int64_t most = 2 * (int64_t)COPIED_BYTES + (product ? footprint(product) : 0);
    for (int i = 0; i < tuner->operations; i++) {
        int64_t bytes = footprint(&tuner->operation[i]);
        bytes *= copies_of(bytes);
        if (bytes > most) most = bytes;
    }
    return most;
}

int rt_tune_main(const RtTuner *tuner, int argc, char **argv) {
    Tune tune = {.tuner = tuner, .begun = rt_seconds()};
    rt_called = "tune";
    rt_device_prepare(argv);
    int code = parse(&tune.options, tuner, argc, argv);
    if (code >= 0) return code;
    char *output = rt_text("%s.profile", tuner->model);
    if (!tune.options.output) tune.options.output = output;
    rt_tune_profile_read(&tune.profile, tune.options.output);
    rt_device_open(&tune.run, tuner->target);
    check_device(&tune);
    begin_profile(&tune);
    read_products(&tune);
    read_variants(&tune);
    tune.run.choose = variant_now;
    tune.run.watch = &tune;
    tune.run.arena = rt_device_alloc(arena_bytes(tuner));
    tune.run.cx.seed = 1;
    tune.run.cx.micro = 1; /* accumulators are added to */
    tune.run.cx.learning_rate = 1e-4f;
    tune.run.cx.loss_scale = 1;
    if (tune.run.cx.now) {
        const KStep now = k_step(&tune.run.cx, 0.9, 0.999);
        rt_device_upload((char *)tune.run.cx.now, &now, sizeof now);
    }
    printf("%15s %7s %6s %6s\n", "median", "spread", "/plan", "runs");
    measure_operations(&tune);
    measure_copies(&tune);
    rt_device_close(&tune.run);
    rt_tune_profile_write(&tune.profile);
    measure_steps(&tune);
    printf("%s: %d measured, %d there before, %d left; %.1f%% of the planned step\n", tune.options.output,
           tune.measured, tune.known, tune.left,
           tune.step_seconds > 0 ? 100 * tune.known_seconds / tune.step_seconds : 0);
    for (int i = 0; i < RT_FILL_COUNT * K_DTYPE_COUNT; i++)
        free(tune.numbers[i / K_DTYPE_COUNT][i % K_DTYPE_COUNT]);
    rt_tune_profile_free(&tune.profile);
    free(tune.product), free(tune.variant), free(output);
    return fflush(stdout) ? RT_EXIT_IO : 0;
}
