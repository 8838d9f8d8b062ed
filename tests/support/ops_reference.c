/* What each operation means, element by element in double, from the formulas of kernels.h: slow, obvious, and
 * sharing nothing with the kernels but the random stream. */
#include "tests/support/ops_engine.h"

#include "kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef double *const *Values;

static int64_t last(const Spec *s) {
    return s->dim[s->rank - 1];
}

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
static double silu(double x) {
    return x / (1 + exp(-x));
}

/* y = (x - mean) rstd g + b over rows of x; mean and b may be NULL */
static void norm(const Spec *spec, const double *x, const double *g, const double *b, double eps, double *y,
                 double *mean, double *rstd) {
    const int64_t width = last(spec), rows = spec->count / width;
    for (int64_t r = 0; r < rows; r++) {
        double centre = 0, squares = 0;
        for (int64_t i = 0; mean && i < width; i++) centre += x[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++) squares += pow(x[r * width + i] - centre, 2) / (double)width;
        rstd[r] = 1 / sqrt(squares + eps);
        if (mean) mean[r] = centre;
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = (x[r * width + i] - centre) * rstd[r] * g[i] + (b ? b[i] : 0);
    }
}

static double rope_frequency(const KAttr *a, int64_t pair, int64_t width) {
    const double plain = pow(a->theta, -2.0 * (double)pair / (double)width);
    if (a->rope_factor <= 0) return plain;
    const double wavelength = 2 * acos(-1.0) / plain, original = (double)a->rope_original;
    if (wavelength < original / a->rope_high) return plain;
    if (wavelength > original / a->rope_low) return plain / a->rope_factor;
    const double blend = (original / wavelength - a->rope_low) / (a->rope_high - a->rope_low);
    return (1 - blend) * plain / a->rope_factor + blend * plain;
}

static void rope(const Call *call, const double *x, double *y) {
    const int64_t *dim = call->in[0].dim, heads = dim[2], width = dim[3], half = width / 2;
    for (int64_t row = 0; row < dim[0] * dim[1] * heads; row++)
        for (int64_t i = 0; i < half; i++) {
            const double t = call->nin > 1 ? call->value[1][row / heads] : (double)(row / heads % dim[1]);
            const double angle = t * rope_frequency(&call->attr, i, width) * (call->attr.inverse ? -1 : 1);
            const double a = x[row * width + i], b = x[row * width + i + half];
            y[row * width + i] = a * cos(angle) - b * sin(angle);
            y[row * width + i + half] = b * cos(angle) + a * sin(angle);
        }
}

typedef struct Keys {
    int64_t begin, end;
} Keys;

/* Of the token at `place` of [B, T]; the first of both operands that say so is number `sight`. */
static Keys keys_seen(const Call *call, int sight, int64_t place) {
    const int64_t time = call->in[1].dim[1], t = place % time;
    if (call->nin == sight) return (Keys){0, call->attr.causal ? t + 1 : time};
    return (Keys){(int64_t)call->value[sight][place],
                  1 + (call->attr.causal ? t : (int64_t)call->value[sight + 1][place])};
}

static void attend(const Call *call, Values in, double *o, double *lse) {
    const int64_t *q_dim = call->in[0].dim, time = q_dim[1], heads = q_dim[2], width = q_dim[3];
    const int64_t kv_heads = call->in[1].dim[2];
    for (int64_t b = 0; b < q_dim[0]; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t t = 0; t < time; t++) {
                const int64_t kv = h / (heads / kv_heads);
                const Keys keys = keys_seen(call, 3, b * time + t);
                const double *q = in[0] + ((b * time + t) * heads + h) * width;
                double *y = o + ((b * time + t) * heads + h) * width, sum = 0;
                memset(y, 0, sizeof(double) * (size_t)width);
                for (int64_t s = keys.begin; s < keys.end; s++) {
                    const int64_t at = ((b * time + s) * kv_heads + kv) * width;
                    double score = 0;
                    for (int64_t e = 0; e < width; e++) score += q[e] * in[1][at + e] / sqrt((double)width);
                    sum += exp(score);
                    for (int64_t e = 0; e < width; e++) y[e] += exp(score) * in[2][at + e];
                }
                for (int64_t e = 0; e < width; e++) y[e] /= sum;
                lse[(b * heads + h) * time + t] = log(sum);
            }
}

/* The row of attention at a position, in the caches' own order; what is behind it is not looked at. */
static void attend_cached(const Call *call, Values in, double *o) {
    const Spec *q = &call->in[0], *cache = &call->in[1];
    const int64_t heads = q->dim[2], width = q->dim[3], time = cache->dim[1], kv_heads = cache->dim[2];
    memset(o, 0, sizeof(double) * (size_t)q->count);
    for (int64_t row = 0; row < q->count / width; row++) { /* of [B, H] */
        const int64_t b = row / heads, kv = row % heads / (heads / kv_heads);
        double sum = 0;
        for (int64_t s = 0; s <= (int64_t)in[3][b]; s++) {
            const int64_t at = ((b * time + s) * kv_heads + kv) * width;
            double score = 0;
            for (int64_t e = 0; e < width; e++)
                score += in[0][row * width + e] * in[1][at + e] / sqrt((double)width);
            sum += exp(score);
            for (int64_t e = 0; e < width; e++) o[row * width + e] += exp(score) * in[2][at + e];
        }
        for (int64_t e = 0; e < width; e++) o[row * width + e] /= sum;
    }
}

static void cache_rows(const Call *call, Values in, Values out) {
    const int64_t tokens = call->in[0].dim[1], time = call->out[0].dim[1],
                  width = call->out[0].count / (call->out[0].dim[0] * time);
    for (int i = 0; i < 2; i++) {
        memcpy(out[i], in[3 + i], sizeof(double) * (size_t)call->out[i].count);
        for (int64_t e = 0; e < call->in[i].count; e++) {
            const int64_t r = e / width, row = r / tokens * time + (int64_t)in[2][r];
            out[i][row * width + e % width] = in[i][e];
        }
    }
}

/* Attention, or its gradients, of the three parts of qkv each by itself. */
static Call unpacked(const Call *call, Values in) {
    const int back = call->op == OP_ATTEND_PACKED_BWD;
    const Spec *o = back ? &call->in[0] : &call->out[0];
    const int64_t rows = o->dim[0] * o->dim[1], whole = last(&call->in[back]), width = o->dim[3];
    Call apart = *call;
    apart.op = back ? OP_ATTEND_BWD : OP_ATTEND;
    apart.nin = call->nin + 2;
    int64_t first = 0;
    for (int i = back; i < back + 3; i++) {
        apart.in[i] = *o;
        if (i > back) apart.in[i].dim[2] = (whole / width - o->dim[2]) / 2;
        const int64_t columns = apart.in[i].dim[2] * width;
        apart.in[i].count = rows * columns;
        apart.value[i] = pool_alloc(sizeof(double) * (size_t)apart.in[i].count);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                apart.value[i][r * columns + c] = in[back][r * whole + first + c];
        first += columns;
        if (back) apart.out[i - back] = apart.in[i];
    }
    if (back) apart.nout = 3;
    for (int i = back + 1; i < call->nin; i++)
        apart.in[i + 2] = call->in[i], apart.value[i + 2] = call->value[i];
    return apart;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t e = 0; e < n; e++) sum += a[e] * b[e];
    return sum;
}

/* Those of the gradients of q, k and v, side by side. */
static void packed_terms(const Call *call, double *spread) {
    const Call apart = unpacked(call, call->value);
    const int64_t whole = last(&call->out[0]), rows = call->out[0].count / whole;
    double *part[MAX_OPERANDS];
    for (int i = 0; i < 3; i++) part[i] = pool_alloc(sizeof(double) * (size_t)apart.out[i].count);
    attend_terms(&apart, part);
    for (int64_t r = 0, first; r < rows; r++) {
        first = 0;
        for (int i = 0; i < 3; i++) {
            const int64_t columns = apart.out[i].count / rows;
            memcpy(spread + r * whole + first, part[i] + r * columns, sizeof(double) * (size_t)columns);
            first += columns;
        }
    }
}

void attend_terms(const Call *call, double *spread[MAX_OPERANDS]) {
    if (call->op == OP_ATTEND_PACKED_BWD) {
        packed_terms(call, spread[0]);
        return;
    }
    if (call->op == OP_ATTEND_PACKED) {
        const Call apart = unpacked(call, call->value);
        attend_terms(&apart, spread);
        return;
    }
    const bool back = call->op == OP_ATTEND_BWD;
    double *const *in = call->value;
    const Spec *q_spec = &call->in[back], *k_spec = &call->in[back + 1];
    const int64_t time = q_spec->dim[1], heads = q_spec->dim[2], width = q_spec->dim[3],
                  kv_heads = k_spec->dim[2];
    const double *q = in[back], *k = in[back + 1], *v = in[back + 2], scale = 1 / sqrt((double)width);
    for (int o = 0; o < call->nout; o++) memset(spread[o], 0, sizeof(double) * (size_t)call->out[o].count);
    for (int64_t row = 0; row < q_spec->count / width; row++) { /* of [B, T, H] */
        const int64_t h = row % heads, t = row / heads % time, b = row / heads / time;
        const int64_t kv = h / (heads / kv_heads);
        const Keys keys = keys_seen(call, back ? 6 : 3, b * time + t);
        const int64_t first = (b * time * kv_heads + kv) * width, step = kv_heads * width, at = row * width;
        double lse = 0, delta = 0;
        if (back) {
            lse = in[5][(b * heads + h) * time + t];
            delta = dot(in[0] + at, in[4] + at, width);
        } else {
            for (int64_t s = keys.begin; s < keys.end; s++)
                lse += exp(dot(q + at, k + first + s * step, width) * scale);
            lse = log(lse);
        }
        for (int64_t s = keys.begin; s < keys.end; s++) {
            const int64_t key = first + s * step;
            const double p = exp(dot(q + at, k + key, width) * scale - lse);
            const double ds = back ? fabs(p * (dot(in[0] + at, v + key, width) - delta)) * scale : 0;
            for (int64_t e = 0; e < width; e++) {
                if (!back) {
                    spread[0][at + e] += p * fabs(v[key + e]);
                    continue;
                }
                spread[0][at + e] += ds * fabs(k[key + e]);
                spread[1][key + e] += ds * fabs(q[at + e]);
                spread[2][key + e] += p * fabs(in[0][at + e]);
            }
        }
    }
}

static void cross_entropy(const Call *call, Values in, double *lse, double *loss) {
    const int64_t width = last(&call->in[0]), rows = call->in[0].count / width;
    const double *mask = call->nin > 3 ? in[2] : NULL;
    *loss = *in[call->nin - 1];
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++) sum += exp(in[0][r * width + i]);
        lse[r] = log(sum);
        *loss += (mask ? mask[r] : 1) * (lse[r] - in[0][r * width + (int64_t)in[1][r]]);
    }
}

/* lse, and mask or NULL */
static void cross_entropy_bwd(const Call *call, Values in, const double *lse, const double *mask,
                              double *dx) {
    const int64_t width = last(&call->in[0]);
    for (int64_t i = 0; i < call->in[0].count; i++) {
        const int64_t r = i / width;
        const double hot = (int64_t)in[1][r] == i % width;
        dx[i] = (exp(in[0][i] - lse[r]) - hot) * (mask ? mask[r] : 1) * (double)call->cx.loss_scale;
    }
}

static void cross_entropy_both(const Call *call, Values in, double *dx, double *loss) {
    double *lse = pool_alloc(sizeof(double) * (size_t)(call->in[0].count / last(&call->in[0])));
    cross_entropy(call, in, lse, loss);
    cross_entropy_bwd(call, in, lse, call->nin > 3 ? in[2] : NULL, dx);
}

/* ---- packed types ---- */

static int ascending(const void *left, const void *right) {
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/* The dynamic map, as the paper builds it: in each of seven decades the means of neighbours among 2^i + 1
 * points evenly from 0.1 to 1, with both signs where there are two; then 0 and 1, and all in order. */
static void dynamic_map(bool both_signs, float map[256]) {
    int count = 0;
    for (int i = 0; i < 7; i++) {
        const int points = 1 << (both_signs ? i : i + 1);
        for (int j = 0; j < points; j++) {
            float end[2];
            for (int side = 0; side < 2; side++) {
                const double at = j + side, step = (double)((1.0f - 0.1f) / (float)points);
                end[side] = (float)(2 * at < points ? (double)0.1f + at * step : 1 - (points - at) * step);
            }
            const float value = (float)pow(10, i - 6) * ((end[0] + end[1]) / 2);
            map[count++] = value;
            if (both_signs) map[count++] = -value;
        }
    }
    map[count++] = 0;
    map[count++] = 1;
    qsort(map, 256, sizeof *map, ascending);
}

void unpack(const Spec *spec, const void *storage, double *value) {
    static const float nf4[] = {-1.0f,
                                -0.6961928009986877f,
                                -0.5250730514526367f,
                                -0.39491748809814453f,
                                -0.28444138169288635f,
                                -0.18477343022823334f,
                                -0.09105003625154495f,
                                0.0f,
                                0.07958029955625534f,
                                0.16093020141124725f,
                                0.24611230194568634f,
                                0.33791524171829224f,
                                0.44070982933044434f,
                                0.5626170039176941f,
                                0.7229568362236023f,
                                1.0f};
    const unsigned char *bytes = storage;
    const int64_t blocks = (spec->count + 63) / 64, codes = ((spec->count + 1) / 2 + 15) / 16 * 16;
    const float *group = (const float *)(const void *)(bytes + codes + (blocks + 15) / 16 * 16);
    const float *scale = (const float *)(const void *)(bytes + codes);
    float map[256];
    dynamic_map(spec->letter != 'u', map);
    if (strchr("du", spec->letter)) {
        scale = (const float *)(const void *)(bytes + (spec->count + 15) / 16 * 16);
        for (int64_t i = 0; i < spec->count; i++) value[i] = (double)(map[bytes[i]] * scale[i / 256]);
        return;
    }
    for (int64_t i = 0; i < spec->count; i++) {
        const int code = i % 2 ? bytes[i / 2] % 16 : bytes[i / 2] / 16;
        float by = spec->letter == 'Q' ? scale[i / 64] : 0;
        if (spec->letter == 'q') {
            const volatile float part =
                map[bytes[codes + i / 64]] * group[i / 64 / 256]; /* rounded by itself */
            by = part + group[(blocks + 255) / 256];
        }
        value[i] = (double)(nf4[code] * by);
    }
}

/* x, in blocks of 256, as what its codes stand for: the nearest of the map, times the largest of the block.
 */
static void round_to_codes(bool both_signs, int64_t count, double *x) {
    float map[256];
    dynamic_map(both_signs, map);
    for (int64_t first = 0; first < count; first += 256) {
        const int64_t end = first + 256 < count ? first + 256 : count;
        float scale = 0;
        for (int64_t i = first; i < end; i++) scale = fmaxf(scale, fabsf((float)x[i]));
        for (int64_t i = first; i < end; i++) {
            int nearest = 0;
            const double at = x[i] / (double)scale;
            for (int c = 1; c < 256; c++)
                if (fabs((double)map[c] - at) < fabs((double)map[nearest] - at)) nearest = c;
            x[i] = (double)(map[nearest] * scale);
        }
    }
}

/* Weight t of `tensors`: its states stand from `first` on among the outputs, and behind those among the
 * inputs. */
static void adamw(const Call *call, Values in, Values out, int t, int tensors) {
    const int states = call->nout / tensors, first = t * states, old = call->nin - call->nout + first;
    const double scale = call->nin > call->nout + tensors ? *in[tensors] : 1,
                 time = (double)(call->cx.step + 1 - call->cx.passed_over);
    const KAttr *a = &call->attr;
    const double decay = tensors == 1 || t < a->decayed ? a->decay : 0;
    for (int64_t i = 0; i < call->in[t].count; i++) {
        const double g = in[t][i] * scale, w = in[old + (states == 4 ? 3 : 0)][i];
        const double m = a->beta1 * in[old + 1][i] + (1 - a->beta1) * g;
        const double v = a->beta2 * in[old + 2][i] + (1 - a->beta2) * g * g;
        const double step = m / (1 - pow(a->beta1, time)) / (sqrt(v / (1 - pow(a->beta2, time))) + a->eps);
        const double rate = (double)call->cx.learning_rate;
        const bool last = call->op == OP_ADAMW8BIT || a->decay_last;
        const double next = last ? (w - rate * step) * (1 - rate * decay) : w - rate * (step + decay * w);
        out[first][i] = next;
        out[first + 1][i] = m;
        out[first + 2][i] = v;
        if (states == 4) out[first + 3][i] = next;
    }
    if (call->op != OP_ADAMW8BIT) return;
    round_to_codes(true, call->out[first + 1].count, out[first + 1]);
    round_to_codes(false, call->out[first + 2].count, out[first + 2]);
}

static void linear(const Call *call, Values in, double *y) {
    const int64_t width = last(&call->in[0]), units = call->in[1].dim[0];
    for (int64_t i = 0; i < call->out[0].count; i++) {
        const int third = call->nin > 2, adds = third && call->in[2].rank == call->out[0].rank;
        double sum = third && !adds ? in[2][i % units] : 0;
        for (int64_t k = 0; k < width; k++)
            sum += in[0][i / units * width + k] * in[1][i % units * width + k];
        y[i] = (call->attr.factor != 0 ? sum * call->attr.factor : sum) + (adds ? in[2][i] : 0);
    }
}

static void linear_bwd_x(const Call *call, Values in, double *dx) {
    const int64_t units = last(&call->in[0]), width = last(&call->out[0]);
    for (int64_t i = 0; i < call->out[0].count; i++) {
        double sum = 0;
        for (int64_t o = 0; o < units; o++)
            sum += in[0][i / width * units + o] * in[1][o * width + i % width];
        dx[i] = (call->attr.factor != 0 ? sum * call->attr.factor : sum) + (call->nin > 2 ? in[2][i] : 0);
    }
}

/* Of weights whose rows are dy's columns, one weight after the other. */
static void linear_bwd_w(const Call *call, Values in, Values out) {
    const int64_t columns = last(&call->in[0]), width = last(&call->in[1]);
    const int64_t rows = call->in[0].count / columns;
    for (int64_t c = 0, row = 0, t = 0; c < columns; c++, row++) {
        if (row == call->out[t].dim[0]) t++, row = 0;
        for (int64_t k = 0; k < width; k++) {
            double sum = call->attr.acc ? in[2 + t][row * width + k] : 0;
            for (int64_t r = 0; r < rows; r++) sum += in[0][r * columns + c] * in[1][r * width + k];
            out[t][row * width + k] = sum;
        }
    }
}

/* Column c of row r of the parts side by side. */
static double *column(const Spec *spec, Values part, int64_t r, int64_t c) {
    int i = 0;
    while (c >= last(&spec[i])) c -= last(&spec[i++]);
    return &part[i][r * last(&spec[i]) + c];
}

static bool elementwise(const Call *call, Values x, double *y) {
    const int64_t n = call->out[0].count, second = call->nin > 1 ? call->in[1].count : 1;
    const uint64_t key = k_random_key(call->cx.seed, call->cx.step, call->cx.micro, call->attr.rng);
    for (int64_t i = 0; i < n; i++) switch (call->op) {
        case OP_DEQUANTIZE: y[i] = x[0][i]; break;
        case OP_GELU: y[i] = gelu(x[0][i]); break;
        case OP_SILU: y[i] = silu(x[0][i]); break;
        case OP_ADD:
        case OP_ADD_BROADCAST: y[i] = x[0][i] + x[1][i % second]; break;
        case OP_MUL: y[i] = x[0][i] * x[1][i]; break;
        case OP_ADD_SCALED: y[i] = x[0][i] + x[1][i] * call->attr.factor; break;
        case OP_SCALE: y[i] = x[0][i] * call->attr.factor; break;
        case OP_SWIGLU: y[i] = silu(x[0][i]) * x[1][i]; break;
        case OP_BIAS_GELU: y[i] = gelu(x[0][i] + x[1][i % second]); break;
        case OP_POSITIONS: y[i] = x[0][i]; break;
        case OP_EMBED:
            y[i] =
                x[1][(int64_t)x[0][i / last(&call->out[0])] * last(&call->out[0]) + i % last(&call->out[0])];
            break;
        case OP_DROPOUT:
            y[i] = (double)k_random24(key, (uint64_t)(call->attr.element + i)) >= call->attr.p * 16777216.0
                       ? x[0][i] / (1 - call->attr.p)
                       : 0;
            break;
        default: return false;
        }
    return true;
}

bool reference(const Call *call, double *out[MAX_OPERANDS]) {
    double *const *in = call->value;
    const double eps = call->attr.eps;
    const int64_t width = last(&call->in[0]);
    switch (call->op) {
    case OP_LINEAR: linear(call, in, out[0]); return true;
    case OP_LAYERNORM: norm(&call->in[0], in[0], in[1], in[2], eps, out[0], out[1], out[2]); return true;
    case OP_RMSNORM: norm(&call->in[0], in[0], in[1], NULL, eps, out[0], NULL, out[1]); return true;
    case OP_ROPE: rope(call, in[0], out[0]); return true;
    case OP_ATTEND: attend(call, in, out[0], out[1]); return true;
    case OP_ATTEND_PACKED: {
        const Call apart = unpacked(call, in);
        attend(&apart, apart.value, out[0], out[1]);
        return true;
    }
    case OP_CACHE_ROWS: cache_rows(call, in, out); return true;
    case OP_ATTEND_CACHED: attend_cached(call, in, out[0]); return true;
    case OP_CROSS_ENTROPY: cross_entropy(call, in, out[0], out[1]); return true;
    case OP_CROSS_ENTROPY_BWD:
        cross_entropy_bwd(call, in, in[2], call->nin > 3 ? in[3] : NULL, out[0]);
        return true;
    case OP_CROSS_ENTROPY_BOTH: cross_entropy_both(call, in, out[0], out[1]); return true;
    case OP_ADAMW:
    case OP_ADAMW8BIT:
        for (int t = 0; t < k_tensors(&call->attr); t++) adamw(call, in, out, t, k_tensors(&call->attr));
        return true;
    case OP_LINEAR_BWD_X: linear_bwd_x(call, in, out[0]); return true;
    case OP_LINEAR_BWD_W: linear_bwd_w(call, in, out); return true;
    case OP_CAST:
        for (int64_t t = 0, o = 0, at = 0; t < call->nin; t++) {
            if (at == call->out[o].count) o++, at = 0;
            for (int64_t i = 0; i < call->in[t].count; i++) out[o][at++] = in[t][i];
        }
        return true;
    case OP_CLIP_SCALE: out[0][0] = fmin(1, call->attr.max_norm / sqrt(in[0][0])); return true;
    case OP_SQUARE_NORM:
        out[0][0] = call->attr.acc ? in[call->nin - 1][0] : 0;
        for (int t = 0; t + 1 < call->nin; t++)
            for (int64_t i = 0; i < call->in[t].count; i++) out[0][0] += in[t][i] * in[t][i];
        return true;
    case OP_SPLIT:
        for (int64_t i = 0; i < call->in[0].count; i++)
            *column(call->out, out, i / width, i % width) = in[0][i];
        return true;
    case OP_SLICE_ROWS: {
        const int64_t row = call->in[0].count / call->in[0].dim[0];
        for (int64_t i = 0; i < call->out[0].count; i++) out[0][i] = in[0][call->attr.begin * row + i];
        return true;
    }
    case OP_JOIN_ROWS:
        for (int64_t p = 0, at = 0; p < call->nin; p++)
            for (int64_t i = 0; i < call->in[p].count; i++) out[0][at++] = in[p][i];
        return true;
    case OP_CONCAT:
        for (int64_t i = 0; i < call->out[0].count; i++)
            out[0][i] = *column(call->in, in, i / last(&call->out[0]), i % last(&call->out[0]));
        return true;
    default: return elementwise(call, in, out[0]);
    }
}
