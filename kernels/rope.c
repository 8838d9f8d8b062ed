/* Rotary position embedding (Su et al. 2021) with Llama-3's frequency scaling: x [B, T, H, E] turned pair by
 * pair (i, i + E/2) by t * frequency[i], t the token's place in the row or in its document. Angles are
 * reduced in double, so long contexts stay exact. Each pair is read before it is written: x and y may be one
 * storage. */
#include "host.h"

#include <stdlib.h>

enum { MAX_PAIRS = K_MOST_ROPE_WIDTH / 2 };
static const double PI = 3.14159265358979323846;

static double frequency(const KAttr *a, int64_t pair, int64_t width) {
    const double f = pow(a->theta, -2.0 * (double)pair / (double)width);
    if (a->rope_factor <= 0) return f;
    const double turns = (double)a->rope_original * f / (2 * PI); /* within the original context */
    if (turns > a->rope_high) return f;
    if (turns < a->rope_low) return f / a->rope_factor;
    const double smooth = (turns - a->rope_low) / (a->rope_high - a->rope_low);
    return (1 - smooth) * f / a->rope_factor + smooth * f;
}

/* cos and sin of t * f[i]; Taylor series on |r| <= pi/4 leave an error under 1e-11, far below float's. */
static void turn(double t, const double *f, int64_t n, real *c, real *s) {
    if (K_REAL_IS_DOUBLE) {
        for (int64_t i = 0; i < n; i++) c[i] = (real)cos(t * f[i]), s[i] = (real)sin(t * f[i]);
        return;
    }
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52 */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const double angle = t * f[i], quarter = (angle * (2 / PI) + shifter) - shifter;
        const double r = angle - quarter * (PI / 2), z = r * r;
        const double sine =
            r * (1 + z * (-1.0 / 6 +
                          z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800))))));
        const double cosine =
            1 + z * (-1.0 / 2 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 +
                                                                                          z / 479001600)))));
        const double fold = quarter - 4 * ((quarter * 0.25 + shifter) - shifter); /* -2 .. 2 */
        const int odd = fold == 1 || fold == -1;
        const double x = odd ? sine : cosine, y = odd ? cosine : sine;
        c[i] = (real)(fold == 1 || fold == 2 || fold == -2 ? -x : x);
        s[i] = (real)(fold == -1 || fold == 2 || fold == -2 ? -y : y);
    }
}

static void rotate(const KTensor *y, const KTensor *x, int64_t first, int64_t half, const real *c,
                   const real *s) {
    real low_copy[MAX_PAIRS], high_copy[MAX_PAIRS], low_to[MAX_PAIRS], high_to[MAX_PAIRS];
    const real *low = k_load(x, first, half, low_copy), *high = k_load(x, first + half, half, high_copy);
    real *to_low = k_target(y, first, low_to), *to_high = k_target(y, first + half, high_to);
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const real a = low[i], b = high[i];
        to_low[i] = a * c[i] - b * s[i];
        to_high[i] = b * c[i] + a * s[i];
    }
    k_store(y, first, half, to_low);
    k_store(y, first + half, half, to_high);
}

void k_rope(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nout;
    const int64_t batch = in->dim[0], time = in->dim[1], heads = in->dim[2], width = in->dim[3],
                  half = width / 2;
    const int32_t *positions = nin > 1 ? in[1].data : NULL; /* [B, T] */
    double f[MAX_PAIRS];
    if (half > MAX_PAIRS) abort();
    for (int64_t i = 0; i < half; i++) f[i] = frequency(attr, i, width);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < time; t++) {
        real c[MAX_PAIRS], s[MAX_PAIRS];
        for (int64_t b = 0; b < batch; b++) {
            double place = positions ? positions[b * time + t] : (double)t;
            if (place < 0) place = NAN;
            if (b == 0 || positions) turn(attr->inverse ? -place : place, f, half, c, s);
            for (int64_t h = 0; h < heads; h++)
                rotate(&out[0], &in[0], ((b * time + t) * heads + h) * width, half, c, s);
        }
    }
}
