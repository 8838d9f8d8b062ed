/* What the kernels cannot take (kernels/limits.def): limit_<limit> of an operation's row in op.def. */
#include "ir/limits.h"
#include "ir/ops.h"

static int64_t last(const Type *t) {
    return t->dim[t->rank - 1];
}

typedef enum Limit {
#define LIMIT(NAME, most, what) LIMIT_##NAME,
#include "kernels/limits.def"
#undef LIMIT
} Limit;

static const char *within(int64_t size, Limit limit, Arena *arena) {
    static const struct {
        int64_t most;
        const char *what;
    } table[] = {
#define LIMIT(NAME, most, what) [LIMIT_##NAME] = {most, what},
#include "kernels/limits.def"
#undef LIMIT
    };
    if (size <= table[limit].most) return NULL;
    return arena_printf(arena, "%lld %s; the kernels take at most %lld", (long long)size, table[limit].what,
                        (long long)table[limit].most);
}

/* Of a node's first input and those after it. */
typedef const char *LimitRule(const Type *in, uint32_t nin, Arena *arena);

static const char *limit_none(const Type *in, uint32_t nin, Arena *arena) {
    (void)in, (void)nin, (void)arena;
    return NULL;
}

static const char *limit_rows(const Type *in, uint32_t nin, Arena *arena) {
    (void)nin;
    return within(type_elements(in) / last(in), LIMIT_ROWS, arena);
}

static const char *limit_attend(const Type *in, uint32_t nin, Arena *arena) {
    const char *wide = within(last(in), LIMIT_HEAD_WIDTH, arena);
    return wide ? wide : limit_rows(in, nin, arena);
}

static const char *limit_rope(const Type *in, uint32_t nin, Arena *arena) {
    (void)nin;
    return within(last(in), LIMIT_ROPE_WIDTH, arena);
}

static const char *limit_embed(const Type *in, uint32_t nin, Arena *arena) {
    const char *wide = nin > 1 ? within(in[1].dim[0], LIMIT_VOCABULARY, arena) : NULL;
    return wide ? wide : within(type_elements(in), LIMIT_ROWS, arena);
}

static const char *limit_loss(const Type *in, uint32_t nin, Arena *arena) {
    const char *wide = within(last(in), LIMIT_VOCABULARY, arena);
    return wide ? wide : limit_rows(in, nin, arena);
}

static LimitRule *const limit_rule[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, ...)         \
    [OP_##NAME] = limit_##limit,
#include "ir/op.def"
#undef OP
};

const char *op_limit(Op op, const Type *in, uint32_t nin, Arena *arena) {
    if (!nin || type_wrong(&in[0], "an input", arena)) return NULL; /* that is for op_infer to say */
    return limit_rule[op](in, nin, arena);
}
