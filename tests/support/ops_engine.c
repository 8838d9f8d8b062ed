/* See ops_engine.h. */
#include "tests/support/ops_engine.h"
#include "tests/support/packed.h"

#include "kernels/packed.h"

#include <dlfcn.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

const OpInfo op_row[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, ...)                       \
    {#name, min_in, max_in, min_out, max_out, OPF_##place | (flags), OVER_##over, NAN_##nan},
#include "ir/op.def"
#undef OP
};

Library library_float, library_double;

bool library_open(Library *library, const char *path, size_t real_bytes) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    library->real_bytes = real_bytes;
    for (int op = 0; op < OP_COUNT; op++) {
        char name[64];
        snprintf(name, sizeof name, "k_%s", op_row[op].name);
        void *symbol = dlsym(module, name);
        memcpy(&library->kernel[op], &symbol, sizeof symbol);
    }
    void *symbol = dlsym(module, "k_workspace");
    memcpy(&library->workspace, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* ---- memory ---- */

enum { POOL_BYTES = 1 << 30, GUARD_BYTES = 256, GUARD = 0xa5 };
static char *pool;
static size_t pool_used;

void *pool_alloc(size_t bytes) {
    if (!pool) pool = aligned_alloc(4096, POOL_BYTES);
    size_t beg = pool_used;
    pool_used += (bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
    if (!pool || pool_used > POOL_BYTES) {
        fprintf(stderr, "operation tests: out of memory\n");
        exit(1);
    }
    return pool + beg;
}
size_t pool_mark(void) {
    return pool_used;
}
void pool_release(size_t mark) {
    pool_used = mark;
}

/* ---- operands ---- */

int parse_specs(const char *text, Spec *spec) {
    int count = 0;
    while (*text) {
        Spec *s = &spec[count++];
        *s = (Spec){.letter = *text++, .count = 1};
        char *end;
        s->bound = (int)strtol(text, &end, 10);
        text = end;
        if (*text == '+' || *text == '!') s->shared = *text++;
        do {
            s->dim[s->rank] = strtol(text + 1, &end, 10);
            s->count *= s->dim[s->rank++];
            text = end;
        } while (*text == 'x');
        if (*text == '~') {
            s->anything = text[1] == '?';
            int64_t padded = s->letter == 'w' ? s->dim[0] : s->dim[s->rank - 1];
            s->room = s->count / padded * strtol(text + 1 + s->anything, &end, 10);
            text = end;
        }
        while (*text == ' ') text++;
    }
    return count;
}

int spec_dtype(const Spec *spec, int mode) {
    if (strchr("iflpno", spec->letter)) return K_I32;
    if (spec->letter == 'q') return K_NF4;
    if (spec->letter == 'Q') return K_NF4_F32;
    if (spec->letter == 'd') return K_DYNAMIC8;
    if (spec->letter == 'u') return K_UDYNAMIC8;
    if (spec->letter == 'a') return mode & MODE_BF16_ACTIVATION ? K_BF16 : K_F32;
    if (spec->letter == 'w' || spec->letter == 'v') return mode & MODE_BF16_WEIGHT ? K_BF16 : K_F32;
    return K_F32;
}

static uint16_t to_bf16(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (f != f) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static double from_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
double round_to(int dtype, double x) {
    return dtype == K_BF16 ? from_bf16(to_bf16(x)) : dtype == K_F32 ? (double)(float)x : x;
}

static uint64_t random_state = 88172645463325252u;

void random_begin(const char *name, const char *operands) {
    random_state = 0xcbf29ce484222325u; /* FNV-1a */
    for (int part = 0; part < 2; part++)
        for (const char *c = part ? operands : name; *c; c++)
            random_state = (random_state ^ (unsigned char)*c) * 0x100000001b3u;
    random_state |= 1;
}

double unit_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) * 0x1p-53;
}

/* Where a document begins, of `bound` tokens on average. */
static bool begins_document(const Spec *spec, int64_t i) {
    return i % spec->dim[1] == 0 || (uint64_t)(i + 1) * 2654435761u % 1000003 % (uint64_t)spec->bound == 0;
}

static double *document_values(const Spec *spec, double *value) {
    for (int64_t first = 0, end; first < spec->count; first = end) {
        for (end = first + 1; end < spec->count && !begins_document(spec, end);) end++;
        const int64_t row = first / spec->dim[1] * spec->dim[1];
        for (int64_t i = first; i < end; i++)
            value[i] = (double)(spec->letter == 'f'   ? first - row
                                : spec->letter == 'l' ? end - 1 - row
                                                      : i - first);
    }
    return value;
}

double *random_values(const Spec *spec, int mode) {
    double *value = pool_alloc(sizeof(double) * (size_t)spec->count);
    int dtype = spec_dtype(spec, mode);
    if (strchr("flp", spec->letter)) return document_values(spec, value);
    for (int64_t i = 0; i < spec->count; i++) {
        double u = unit_random(), x;
        switch (spec->letter) {
        case 'i':
        case 'n': x = floor(u * spec->bound); break;
        case 'o': x = (double)(i % spec->dim[1]); break;
        case 'm': x = u < 0.7; break;
        case 's':
        case 'v': x = 0.5 + u; break;
        default: x = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * unit_random());
        }
        value[i] = round_to(dtype, x);
    }
    return value;
}

static double unit_of(uint64_t *state) {
    (void)state;
    return unit_random();
}

void random_operand(Call *call, int i) {
    const Spec *spec = &call->in[i];
    if (!k_packing(spec_dtype(spec, call->mode)).code_bits) {
        call->value[i] = random_values(spec, call->mode);
        return;
    }
    call->packed[i] = pool_alloc((size_t)k_storage_bytes(spec_dtype(spec, 0), spec->count));
    packed_fill(spec_dtype(spec, 0), spec->count, call->packed[i], 1, unit_of, NULL);
    call->value[i] = pool_alloc(sizeof(double) * (size_t)spec->count);
    unpack(spec, call->packed[i], call->value[i]);
}

/* ---- one call ---- */

static size_t element_bytes(const Library *library, int dtype) {
    return dtype == K_F32 ? library->real_bytes : dtype == K_BF16 ? 2 : 4;
}
static void write_element(const Library *library, int dtype, void *data, int64_t i, double x) {
    if (dtype == K_I32)
        ((int32_t *)data)[i] = (int32_t)x;
    else if (dtype == K_BF16)
        ((uint16_t *)data)[i] = to_bf16(x);
    else if (library->real_bytes == 8)
        ((double *)data)[i] = x;
    else
        ((float *)data)[i] = (float)x;
}
static double read_element(const Library *library, int dtype, const void *data, int64_t i) {
    if (dtype == K_I32) return ((const int32_t *)data)[i];
    if (dtype == K_BF16) return from_bf16(((const uint16_t *)data)[i]);
    return library->real_bytes == 8 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* [.. K_ALIGN + shift ..][bytes][guard]; a fresh buffer is all NaN (0xff) */
static char *place(size_t bytes, const How *how) {
    char *at = (char *)pool_alloc(bytes + how->shift_bytes + GUARD_BYTES) + how->shift_bytes;
    memset(at, 0xff, bytes);
    memset(at + bytes, GUARD, GUARD_BYTES);
    return at;
}
static bool guard_intact(const char *at, size_t bytes) {
    for (int i = 0; i < GUARD_BYTES; i++)
        if ((unsigned char)at[bytes + (size_t)i] != GUARD) return false;
    return true;
}

static KTensor tensor_of(const Library *library, const Spec *spec, int mode, size_t *bytes) {
    KTensor t = {.dtype = spec_dtype(spec, mode), .rank = spec->rank, .room = library->pads ? spec->room : 0};
    memcpy(t.dim, spec->dim, sizeof t.dim);
    *bytes = k_packing(t.dtype).code_bits ? (size_t)k_storage_bytes(t.dtype, spec->count)
                                          : (size_t)k_room(&t) * element_bytes(library, t.dtype);
    return t;
}

/* Where element e of a tensor lies: its rows may lie apart, those of a weight have room behind them. */
static int64_t place_of(const KTensor *t, const Spec *spec, int64_t e) {
    if (!t->room || spec->letter == 'w') return e;
    return e / k_last(t) * k_pitch(t) + e % k_last(t);
}

static void write_elements(const Library *library, const KTensor *t, const Spec *spec, const double *value) {
    for (int64_t e = 0; e < t->room; e++)
        write_element(library, t->dtype, t->data, e, spec->anything ? (double)NAN : 0.0);
    for (int64_t e = 0; e < spec->count; e++)
        write_element(library, t->dtype, t->data, place_of(t, spec, e), value[e]);
}

static double *read_elements(const Library *library, const KTensor *t, const Spec *spec) {
    double *value = pool_alloc(sizeof(double) * (size_t)spec->count);
    if (k_packing(t->dtype).code_bits) {
        unpack(spec, t->data, value);
        return value;
    }
    for (int64_t e = 0; e < spec->count; e++)
        value[e] = read_element(library, t->dtype, t->data, place_of(t, spec, e));
    return value;
}

/* Whether the padding that has to be zero is. */
static bool padding_is_right(const Library *library, const KTensor *t, const Spec *spec) {
    int64_t set = 0, elements = 0; /* not zero: of all, and of those that may be */
    if (!t->room || spec->anything) return true;
    for (int64_t e = 0; e < t->room; e++) set += read_element(library, t->dtype, t->data, e) != 0;
    for (int64_t e = 0; e < spec->count; e++)
        elements += read_element(library, t->dtype, t->data, place_of(t, spec, e)) != 0;
    return set == elements;
}

/* Padding that may be anything is not compared either. */
static void clear_padding(const Library *library, const KTensor *t, const Spec *spec) {
    if (!t->room || !spec->anything) return;
    int64_t rows = spec->letter == 'w' ? 1 : spec->count / k_last(t), width = spec->count / rows;
    size_t bytes = element_bytes(library, t->dtype);
    for (int64_t r = 0; r < rows; r++)
        memset((char *)t->data + (size_t)(r * (t->room / rows) + width) * bytes, 0,
               (size_t)(t->room / rows - width) * bytes);
}

const char *execute(const Call *call, const How *how, Result *result) {
    const Library *library = how->library;
    KTensor in[MAX_OPERANDS], out[MAX_OPERANDS];
    size_t in_bytes[MAX_OPERANDS];
    const void *before[MAX_OPERANDS] = {0};
    for (int i = 0; i < call->nout; i++) {
        out[i] = tensor_of(library, &call->out[i], call->mode, &result->bytes[i]);
        out[i].data = place(result->bytes[i], how);
        result->raw[i] = out[i].data;
    }
    for (int i = 0; i < call->nin; i++) {
        in[i] = tensor_of(library, &call->in[i], call->mode, &in_bytes[i]);
        bool shares = call->in[i].shared || how->inplace == i;
        in[i].data = call->in[i].shared  ? out[call->nout - (call->nin - i)].data
                     : how->inplace == i ? out[0].data
                                         : place(in_bytes[i], how);
        if (call->packed[i])
            memcpy(in[i].data, call->packed[i], in_bytes[i]);
        else
            write_elements(library, &in[i], &call->in[i], call->value[i]);
        if (!shares) before[i] = memcpy(pool_alloc(in_bytes[i]), in[i].data, in_bytes[i]);
    }
    const char *name = op_row[call->op].name;
    KCtx cx = call->cx;
    cx.workspace_bytes = library->workspace(K_HOST, name, call->nout, out, call->nin, in, &call->attr);
    cx.workspace = place(cx.workspace_bytes, how);
    omp_set_num_threads(how->threads);
    if (!library->kernel[call->op]) return "has no kernel";
    library->kernel[call->op](&cx, call->nout, out, call->nin, in, &call->attr);

    if (!guard_intact(cx.workspace, cx.workspace_bytes)) return "wrote past the workspace";
    for (int i = 0; i < call->nin; i++) {
        if (!before[i]) continue;
        if (!guard_intact(in[i].data, in_bytes[i])) return "wrote past an input";
        if (memcmp(before[i], in[i].data, in_bytes[i]) != 0) return "wrote an input";
    }
    for (int i = 0; i < call->nout; i++) {
        if (!guard_intact(out[i].data, result->bytes[i])) return "wrote past an output";
        if (!padding_is_right(library, &out[i], &call->out[i])) return "left padding that is not zero";
        clear_padding(library, &out[i], &call->out[i]);
        result->value[i] = read_elements(library, &out[i], &call->out[i]);
    }
    return NULL;
}

const char *same_bits(const Call *call, const Result *a, const Result *b) {
    static char message[80];
    for (int i = 0; i < call->nout; i++)
        if (memcmp(a->raw[i], b->raw[i], a->bytes[i]) != 0) {
            size_t at = 0;
            while (((const char *)a->raw[i])[at] == ((const char *)b->raw[i])[at]) at++;
            snprintf(message, sizeof message, "output %d differs at byte %zu of %zu", i, at, a->bytes[i]);
            return message;
        }
    return NULL;
}

const char *close_to(const Spec *spec, const double *got, const double *want, double tolerance) {
    static char message[120];
    double squares = 0;
    for (int64_t i = 0; i < spec->count; i++) squares += want[i] * want[i];
    double typical = sqrt(squares / (double)spec->count);
    for (int64_t i = 0; i < spec->count; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * (fabs(want[i]) + typical) + 1e-30)) {
            snprintf(message, sizeof message, "element %lld is %.9g, expected %.9g", (long long)i, got[i],
                     want[i]);
            return message;
        }
    return NULL;
}
