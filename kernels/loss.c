/* Softmax cross-entropy over the last dimension: log-sum-exp of each row with the row's maximum taken out,
 * and the gradient exp(logits - lse) - onehot; both at once while a row is in the cache. Rows are shared
 * among threads; the loss is summed over rows in order, in double. A row whose target is outside the
 * vocabulary (-1 in many data sets) counts as masked. */
#include "host.h"

/* NaN is passed over. Columns K_RUN apart share a running maximum; these are folded in halves. */
static real row_maximum(const KTensor *logits, int64_t first, int64_t width) {
    real buffer[K_RUN], top[K_RUN];
    for (int64_t i = 0; i < K_RUN; i++) top[i] = (real)-INFINITY;
    for (int64_t at = 0; at < width; at += K_RUN) {
        const int64_t n = k_min(K_RUN, width - at);
        const real *x = k_load(logits, first + at, n, buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) top[i] = x[i] > top[i] ? x[i] : top[i];
    }
    for (int64_t half = K_RUN / 2; half > 0; half /= 2)
#pragma omp simd
        for (int64_t i = 0; i < half; i++) top[i] = top[i + half] > top[i] ? top[i + half] : top[i];
    return top[0];
}

static real row_log_sum_exp(const KTensor *logits, int64_t first, int64_t width) {
    real buffer[K_RUN], e[K_RUN];
    real maximum = row_maximum(logits, first, width);
    if (!(maximum > (real)-INFINITY)) maximum = 0;
    double total = 0;
    for (int64_t at = 0; at < width; at += K_RUN) {
        const int64_t n = k_min(K_RUN, width - at), whole = (n + K_LANES - 1) / K_LANES * K_LANES;
        const real *x = k_load(logits, first + at, n, buffer);
        KVec sum = {0};
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[i] = k_exp(x[i] - maximum);
        for (int64_t i = n; i < whole; i++) e[i] = 0;
        for (int64_t i = 0; i < whole; i += K_LANES) sum += *(const KVec *)(e + i);
        total += (double)k_lane_sum(&sum);
    }
    return maximum + (real)log(total);
}

/* What a row's loss is multiplied by. */
static real row_weight(const KTensor *mask, int32_t target, int64_t width, int64_t row) {
    if (target < 0 || target >= width) return 0;
    return mask ? k_get(mask, row) : 1;
}

void k_cross_entropy(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    const KTensor *logits = &in[0], *mask = nin > 3 ? &in[2] : NULL;
    const int32_t *target = in[1].data;
    const int64_t rows = k_rows(logits), width = k_last(logits);
    real *lse = out[0].data;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) lse[r] = row_log_sum_exp(logits, r * width, width);
    double loss = 0;
    for (int64_t r = 0; r < rows; r++) {
        const real weight = row_weight(mask, target[r], width, r);
        if (weight != 0)
            loss += (double)weight * ((double)lse[r] - (double)k_get(logits, r * width + target[r]));
    }
    real *sum = out[1].data;
    *sum = (real)((double)*sum + loss);
}

static void gradient_row(const KTensor *dx, const KTensor *logits, int64_t first, int64_t width,
                         int64_t target, real lse, real scale) {
    real from[K_RUN], to[K_RUN];
    for (int64_t at = 0; at < width; at += K_RUN) {
        const int64_t n = k_min(K_RUN, width - at);
        const real *x = k_load(logits, first + at, n, from);
        real *y = k_target(dx, first + at, to);
        const int here = target >= at && target < at + n;
        const real hot = here ? (k_exp(x[target - at] - lse) - 1) * scale : 0;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = k_exp(x[i] - lse) * scale;
        if (here) y[target - at] = hot;
        k_store(dx, first + at, n, y);
    }
}

void k_cross_entropy_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                         const KAttr *attr) {
    (void)nout, (void)attr;
    const KTensor *logits = &in[0], *mask = nin > 3 ? &in[3] : NULL;
    const int32_t *target = in[1].data;
    const real *lse = in[2].data;
    const int64_t rows = k_rows(logits), width = k_last(logits);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const real weight = row_weight(mask, target[r], width, r);
        if (weight != 0)
            gradient_row(&out[0], logits, r * width, width, target[r], lse[r], weight * (real)cx->loss_scale);
        else
            memset(k_at(&out[0], r * width), 0, (size_t)width * k_element_bytes(out[0].dtype));
    }
}

/* logits, targets, mask?, loss -> dlogits, loss. The gradient may be the logits' storage. */
void k_cross_entropy_both(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    (void)nout, (void)attr;
    const KTensor *logits = &in[0], *mask = nin > 3 ? &in[2] : NULL;
    const int32_t *target = in[1].data;
    const int64_t rows = k_rows(logits), width = k_last(logits);
    double *row_loss = cx->workspace, loss = 0;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const real weight = row_weight(mask, target[r], width, r);
        row_loss[r] = 0;
        if (weight == 0) {
            memset(k_at(&out[0], r * width), 0, (size_t)width * k_element_bytes(out[0].dtype));
            continue;
        }
        const real lse = row_log_sum_exp(logits, r * width, width);
        row_loss[r] = (double)weight * ((double)lse - (double)k_get(logits, r * width + target[r]));
        gradient_row(&out[0], logits, r * width, width, target[r], lse, weight * (real)cx->loss_scale);
    }
    for (int64_t r = 0; r < rows; r++) loss += row_loss[r];
    real *sum = out[1].data;
    *sum = (real)((double)*sum + loss);
}
