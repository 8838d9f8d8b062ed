/* Profiles: what is read and refused, which records are used, and that costs are theirs. */
#include "tests/support/replaced.h"
#include "ir/ops.h"
#include "planner/cost/cost.h"
#include "planner/cost/interpolate.h"
#include "planner/cost/packed.h"
#include "tests/support/transformer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ORIGIN(id, device, driver, kernels)                                                                  \
    "origin " id " device=" device " card=NVIDIA_H100 driver=" driver                                        \
    " clocks=1980/2619 compiler=cuda-13.0 kernels=" kernels "\n"
#define LINEAR  "linear bf16[4,96] < bf16[4,64] bf16[96,64] bf16[96]"
#define SECONDS " : p10_us=1.5 median_us=2 p90_us=2.5e0 count=31\n"

#define SHAPE_TEXT "rows=4 columns=96 depth=64 transpose_a=0 transpose_b=1 operands=1 result=1 bias=1 adds=0"
#define CHOICE     " : id=66 tile=20 stages=35 splits=1 reduction=0 swizzle=1 custom=0 inner=0 cluster=2\n"

static const char whole[] = "# what two machines said\n"
                            "\n"
                            "format remat-profile-1\n"                     /* 3 */
    ORIGIN("a", "h100", "580", "12ab")                                     /* 4 */
    ORIGIN("b", "h200", "580", "12ab")                                     /* 5 */
    "time a " LINEAR SECONDS                                               /* 6 */
    "time a rope f32[2,3]~8 < f32[2,3]~8 theta rope_original=8192" SECONDS /* 7 */
    "time b " LINEAR " : p10_us=7 median_us=8 p90_us=9 count=99\r\n"       /* 8 */
    "product a " SHAPE_TEXT CHOICE                                         /* 9 */
    "product b " SHAPE_TEXT
    " : id=67 tile=1 stages=1 splits=4 reduction=2 swizzle=0 custom=3 inner=0 cluster=0\n"
    "time a fetch f32[1000] < f32[1000] : p10_us=1 median_us=2 p90_us=3 count=4\n"
    "time a offload f32[1000] < f32[1000] : p10_us=1 median_us=4 p90_us=5 count=4";

static Profile *read(const char *text, Arena *arena) {
    ProfileError error = {0};
    Profile *profile = profile_read(text, strlen(text), arena, &error);
    if (!profile) fail_msg("line %u: %s", error.line, error.text);
    return profile;
}

static void choose(Profile *profile, const char *device, const char *kernels, Arena *arena) {
    ProfileError error = {0};
    if (!profile_choose(profile, device, kernels, arena, &error))
        fail_msg("line %u: %s", error.line, error.text);
}

static void what_fits_is_used(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Profile *p = read(whole, arena);
    assert_int_equal(p->origin.count, 2);
    assert_int_equal(p->time.count, 5);
    choose(p, "h100", "12ab", arena);
    assert_string_equal(profile_origin(p)->id, "a");
    assert_int_equal(p->used, 4);
    assert_int_equal(p->elsewhere, 1);
    assert_int_equal(p->outdated + p->others, 0);
    const ProfileTime *time = profile_find(p, LINEAR);
    assert_non_null(time);
    assert_true(time->p10_seconds == 1.5e-6 && time->median_seconds == 2e-6 && time->p90_seconds == 2.5e-6);
    assert_int_equal(time->count, 31);
    assert_null(profile_find(p, "linear"));
    /* the slower way: 4000 bytes in 4 us */
    assert_true(profile_copy_rate(p) > 0.999e9 && profile_copy_rate(p) < 1.001e9);
    char *duplex = arena_printf(
        arena, "%s\ntime a duplex f32[1000] < f32[1000] : p10_us=1 median_us=8 p90_us=9 count=4", whole);
    Profile *beside = read(duplex, arena);
    choose(beside, "h100", "12ab", arena);
    assert_true(profile_copy_rate(beside) > 0.499e9 && profile_copy_rate(beside) < 0.501e9);
    choose(p, "h200", "12ab", arena);
    assert_true(profile_find(p, LINEAR)->median_seconds == 8e-6);
    assert_int_equal(p->elsewhere, 4);
    assert_true(profile_copy_rate(p) == 0);
    choose(p, "h100", "ffff", arena);
    assert_null(profile_origin(p));
    assert_null(profile_find(p, LINEAR));
    assert_int_equal(p->used, 0);
    assert_int_equal(p->outdated, 4);
    arena_free(arena);
}

#define ADD "add f32[2] < f32[2] f32[2]"
/* In whatever order: the origin with most times, and of one operation what was measured most. */
/* A product takes the algorithm of the origin that is used; by its shape alone, whatever operation asks for
 * it. */
static void products_have_the_algorithm_of_their_origin(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Profile *p = read(whole, arena);
    choose(p, "h100", "12ab", arena);
    KShape shape = {4, 96, 64, 0, 1, K_BF16, K_BF16, 1, 0};
    const KChoice *choice = profile_product(p, &shape);
    assert_non_null(choice);
    assert_true(choice->algorithm.id == 66 && choice->algorithm.tile == 20 && choice->algorithm.cluster == 2);
    char text[K_CHOICE_TEXT];
    k_choice_print(choice, text);
    assert_non_null(strstr(whole, text));
    shape.bias = 0;
    assert_null(profile_product(p, &shape));
    Device device = *device_find("h100");
    Graph *g = profile_graph(LINEAR, arena);
    device.profile = p;
    assert_ptr_equal(cost_graph(g, &device, arena)[0].product, choice);
    assert_null(
        cost_graph(profile_graph("linear bf16[4,96] < bf16[4,64] bf16[96,64]", arena), &device, arena)[0]
            .product);
    device.cuda = false;
    assert_null(cost_graph(g, &device, arena)[0].product);
    choose(p, "h200", "12ab", arena);
    shape.bias = 1;
    assert_int_equal(profile_product(p, &shape)->algorithm.id, 67);
    arena_free(arena);
}

/* Products that read what they are added to are other products, with an algorithm of their own; the key tells
 * them apart, too. */
static void products_that_add_are_others(void **state) {
    (void)state;
    const KTensor dy = {.dtype = K_BF16, .rank = 2, .dim = {4, 96}},
                  w = {.dtype = K_BF16, .rank = 2, .dim = {96, 64}},
                  dx = {.dtype = K_BF16, .rank = 2, .dim = {4, 64}},
                  dw = {.dtype = K_F32, .rank = 2, .dim = {96, 64}};
    KShape alone, adds;
    assert_true(k_product_of("linear_bwd_x", 1, &dx, 2, (KTensor[]){dy, w}, &alone));
    assert_true(k_product_of("linear_bwd_x", 1, &dx, 3, (KTensor[]){dy, w, dx}, &adds));
    assert_false(k_product_same(&alone, &adds));
    adds.adds = 0;
    assert_true(k_product_same(&alone, &adds));
    assert_true(k_product_of("linear_bwd_w", 1, &dw, 2, (KTensor[]){dy, dx}, &alone));
    assert_true(k_product_of("linear_bwd_w", 1, &dw, 3, (KTensor[]){dy, dx, dw}, &adds));
    assert_true(!alone.adds && adds.adds);
    /* of several weights: the product alone, its rows are added later */
    assert_true(k_product_of("linear_bwd_w", 2, (KTensor[]){dw, dw}, 4, (KTensor[]){dy, dx, dw, dw}, &adds));
    assert_false(adds.adds);
    Arena *arena = arena_new();
    const char *key = "linear_bwd_x bf16[4,64] < bf16[4,96] bf16[96,64] bf16[4,64]";
    Graph *g = profile_graph(key, arena);
    assert_int_equal(g->node.at[0].nin, 3);
    Text again = {.arena = arena};
    profile_key(g, &g->node.at[0], &again);
    assert_string_equal(again.at, key);
    arena_free(arena);
}

#define NORM                            "rmsnorm bf16[4,64] f32[4] < bf16[4,64] f32[64] eps"
#define FLAT                            "rmsnorm f32[4,9] f32[4] < f32[4,9] f32[9] eps"
#define VARIANT_LINE(origin, key, name) "variant " origin " " key " : " name "\n"

/* An operation takes the variant of the origin that is used, where its kernel has it, and of two the first.
 */
static void operations_have_the_variant_of_their_origin(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    text_add(&text,
             "%s\n" VARIANT_LINE("a", NORM, "norm_rows8") VARIANT_LINE("a", NORM, "norm_rows2")
                 VARIANT_LINE("b", NORM, "norm_block"),
             whole);
    Device device = *device_find("h100");
    const Graph *g = profile_graph(NORM, arena), *flat = profile_graph(FLAT, arena);
    assert_true(g && flat);
    assert_int_equal(cost_graph(g, &device, arena)[0].family, K_FAMILY_cuda_norm);
    assert_int_equal(cost_graph(g, &device, arena)[0].variant, K_VARIANT_NONE);
    assert_int_equal(cost_graph(flat, &device, arena)[0].family, K_FAMILY_NONE);
    Profile *p = read(text.at, arena);
    choose(p, "h100", "12ab", arena);
    device.profile = p;
    assert_int_equal(cost_graph(g, &device, arena)[0].variant, K_VARIANT_norm_rows8);
    device.cuda = false; /* there is one kernel for it */
    assert_int_equal(cost_graph(g, &device, arena)[0].variant, K_VARIANT_NONE);
    device.cuda = true;
    choose(p, "h200", "12ab", arena);
    assert_int_equal(cost_graph(g, &device, arena)[0].variant, K_VARIANT_norm_block);
    choose(p, "h100", "ffff", arena); /* other kernels */
    assert_int_equal(cost_graph(g, &device, arena)[0].variant, K_VARIANT_NONE);
    /* names that there are not, of another kernel, of rows that it does not take: refused where they are used
     */
    static const char *const wrong[] = {
        VARIANT_LINE("a", NORM, "norm_rows9"), VARIANT_LINE("a", NORM, "attend_q32"),
        VARIANT_LINE("a", FLAT, "norm_rows8"), VARIANT_LINE("a", ADD, "norm_rows8"),
        VARIANT_LINE("a", "offload f32[1] < f32[1]", "norm_rows8")};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        ProfileError error = {0};
        p = read(arena_printf(arena, "%s\n%s", whole, wrong[i]), arena);
        assert_true(profile_choose(p, "h200", "12ab", arena, &error));
        assert_false(profile_choose(p, "h100", "12ab", arena, &error));
        assert_int_equal(error.line, 13);
        assert_non_null(strstr(error.text, "is no variant of"));
    }
    arena_free(arena);
}

/* The first of each family is that of programs without a profile; names are found. */
static void variants_are_a_table(void **state) {
    (void)state;
    int firsts = 0;
    for (int v = 1; v < K_VARIANTS; v++) {
        assert_int_equal(k_variant_find(k_variant_name(v)), v);
        firsts += k_variant_is_first(v);
#define FIRST_ALWAYS 1
#define FIRST_CHOSEN 0
#define FIRST(when, name)                                                                                    \
    if (v == K_VARIANT_##name) assert_int_equal(k_variant_is_first(v), FIRST_##when);
#define HOST_ATTEND(when, name, ...)             FIRST(when, name)
#define HOST_ATTEND_BWD(when, name, ...)         FIRST(when, name)
#define CUDA_ATTEND(when, family, name, ...)     FIRST(when, name)
#define CUDA_ATTEND_BWD(when, family, name, ...) FIRST(when, name)
#define CUDA_NORM(when, name, ...)               FIRST(when, name)
#define CUDA_WEIGHT(when, name, ...)             FIRST(when, name)
#include "kernels/variant.def"
    }
    assert_int_equal(firsts, 9);
    for (int v = 1; v < K_VARIANTS; v++) /* either way to have a packed weight, in each family of them */
        if (k_variant_is_apart(v))
            assert_true(k_variant_family(v) == K_FAMILY_host_packed ? !k_variant_is_first(v)
                                                                    : k_variant_is_first(v));
    assert_true(k_variant_is_apart(K_VARIANT_dequantise_apart) && k_variant_is_apart(K_VARIANT_weight_apart));
    assert_int_equal(k_variant_find("none"), K_VARIANT_NONE);
    assert_int_equal(k_variant_find(""), K_VARIANT_NONE);
    /* what a device has to have for attention, in whatever variant */
    assert_int_equal(k_cuda_attend_shared_bytes(K_BF16, 64), 66560);
    assert_int_equal(k_cuda_attend_shared_bytes(K_BF16, 128), 99328);
}

#define PACKED(rows) "linear bf16[" #rows ",768] < bf16[" #rows ",2048] nf4[768,2048]"

/* Whether a product of so many rows takes its weight packed; of `sharing` that read it dequantised. */
static bool takes_packed(const Device *device, int64_t rows, uint32_t sharing, Arena *arena) {
    Graph *g = graph_new(arena);
    const Type x = {DT_BF16, 2, {rows, 2048}}, w = {DT_NF4, 2, {768, 2048}}, wish = {DT_BF16, 2, {768, 2048}};
    ValueId in[2] = {graph_value(g, x, VALUE_ACTIVATION, ROLE_ACTIVATION, "x", (Span){0, 0})};
    const ValueId q = graph_value(g, w, VALUE_FROZEN, ROLE_WEIGHT, "w", (Span){0, 0});
    in[1] = graph_op_as(g, OP_DEQUANTIZE, &q, 1, &wish, NULL, PHASE_FORWARD, NONE, "made", (Span){0, 0});
    graph_op(g, OP_LINEAR, in, 2, NULL, PHASE_FORWARD, NONE, "y", (Span){0, 0});
    assert_int_equal(packed_way(g, &g->node.at[0]), PACKED_NOT);
    assert_int_equal(packed_way(g, &g->node.at[1]), PACKED_APART);
    return packed_is_taken(device, g, &g->node.at[1], &g->node.at[0], sharing);
}

/* Without a profile: on the host where the weight is unpacked but once, never on CUDA. Else what it says of
 * the product, whatever else was measured, where it is of ways that the target has. */
static void products_take_packed_weights_as_measured(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Device host = *device_find("host"), card = *device_find("h100");
    assert_true(takes_packed(&host, 256, 1, arena));
    assert_false(takes_packed(&host, 256, 8, arena)); /* dequantised once for eight */
    assert_false(takes_packed(&host, 1024, 1, arena));
    assert_false(takes_packed(&card, 1, 1, arena));
    Text text = {.arena = arena};
    text_add(&text, "format remat-profile-1\n" ORIGIN("a", "host", "6", "12ab"));
    text_add(&text, "time a " PACKED(256) " : p10_us=1 median_us=1 p90_us=1 count=9\n");
    text_add(&text, "time a " PACKED(1024) " : p10_us=9000 median_us=9000 p90_us=9000 count=9\n");
    text_add(&text,
             "time a dequantize bf16[768,2048] < nf4[768,2048] : p10_us=1 median_us=1 p90_us=1 count=9\n");
    host.profile = read(text.at, arena);
    choose((Profile *)host.profile, "host", "12ab", arena);
    assert_true(takes_packed(&host, 256, 1, arena) && !takes_packed(&host, 1024, 1, arena));
    text_add(&text, "%s", VARIANT_LINE("a", PACKED(256), "dequantise_apart"));
    text_add(&text, "%s", VARIANT_LINE("a", PACKED(1024), "dequantise_within"));
    host.profile = read(text.at, arena);
    choose((Profile *)host.profile, "host", "12ab", arena);
    assert_true(!takes_packed(&host, 256, 1, arena) && takes_packed(&host, 1024, 8, arena));
    card.profile = host.profile; /* of other ways */
    assert_false(takes_packed(&card, 1024, 1, arena));
    text_add(&text, "%s", ORIGIN("b", "h100", "6", "12ab"));
    text_add(&text, "%s", VARIANT_LINE("b", PACKED(256), "weight_within_64x128"));
    text_add(&text, "%s", VARIANT_LINE("b", PACKED(1024), "weight_apart"));
    text_add(&text, "time b " PACKED(512) " : p10_us=1 median_us=1 p90_us=1 count=9\n");
    card.profile = read(text.at, arena);
    choose((Profile *)card.profile, "h100", "12ab", arena);
    assert_true(takes_packed(&card, 256, 8, arena) && !takes_packed(&card, 1024, 1, arena) &&
                !takes_packed(&card, 512, 1, arena));
    const Cost *cost = cost_graph(profile_graph(PACKED(256), arena), &card, arena);
    assert_int_equal(cost->variant, K_VARIANT_weight_within_64x128);
    assert_true(cost->workspace_bytes == 0 && !cost->product && cost->launches[0] == 1);
    /* of shapes that its kernel does not take there is no choice: the record is refused */
    static const char *const other[] = {"linear bf16[8,768] < bf16[8,96] nf4[768,96]",
                                        "linear bf16[8,12] < bf16[8,64] nf4[12,64]",
                                        "linear f32[8,768] < f32[8,64] nf4[768,64]"};
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        ProfileError error = {0};
        Profile *p = read(arena_printf(arena, "%svariant b %s : weight_apart\n", text.at, other[i]), arena);
        assert_false(profile_choose(p, "h100", "12ab", arena, &error));
        assert_non_null(strstr(error.text, "is no variant of"));
    }
    arena_free(arena);
}

static void merged_profiles_say_one_thing(void **state) {
    (void)state;
    static const char *const line[] = {
        "time a " LINEAR " : p10_us=1 median_us=2 p90_us=3 count=31\n",
        "time a " LINEAR " : p10_us=1 median_us=1.5 p90_us=3 count=31\n",
        "time a " LINEAR " : p10_us=1 median_us=1 p90_us=3 count=30\n",
        "time a " ADD " : p10_us=1 median_us=1 p90_us=3 count=30\n",
        "time c " LINEAR " : p10_us=9 median_us=9 p90_us=9 count=99\n",
        "time a " ADD " : p10_us=1 median_us=5 p90_us=9 count=99\n",
        "within a " ADD " : p10_us=1 median_us=7 p90_us=9 count=8\n",
        "within a " ADD " : p10_us=1 median_us=8 p90_us=9 count=7\n",
    };
    enum { LINES = COUNT_OF(line) };
    Arena *arena = arena_new();
    for (uint32_t turn = 0; turn < LINES; turn++) {
        Text text = {.arena = arena};
        text_add(&text, "format remat-profile-1\n" ORIGIN("a", "h100", "580", "12ab")
                            ORIGIN("a", "h100", "580", "12ab") ORIGIN("c", "h100", "590", "12ab"));
        for (uint32_t i = 0; i < LINES; i++) text_add(&text, "%s", line[(turn + i) % LINES]);
        Profile *p = read(text.at, arena);
        choose(p, "h100", "12ab", arena);
        assert_string_equal(profile_origin(p)->driver, "580");
        assert_true(profile_find(p, LINEAR)->median_seconds == 1.5e-6);
        assert_true(profile_find(p, ADD)->median_seconds == 7e-6); /* within steps, though of fewer */
        assert_int_equal(p->used, 2);
        assert_int_equal(p->others, 1);
    }
    arena_free(arena);
}

static void a_wrong_line_is_named(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        uint32_t line;
        const char *said;
    } cases[] = {
        {"format", "origin", 3, "this is no profile"},
        {"remat-profile-1\n", "remat-profile-2\n", 3, "'remat-profile-2' is not remat-profile-1"},
        {"remat-profile-1\n", "remat-profile-1 x\n", 3, "'x' is too much"},
        {"origin a ", "origin ", 4, "its name is missing"},
        {"driver=580", "driver=", 4, "driver=... is expected, not 'driver='"},
        {" kernels=12ab", "", 4, "kernels=... is expected"},
        {"kernels=12ab", "kernels=12ab 3", 4, "'3' is too much"},
        {"origin b", "origin a", 5, "origin a: a second one"},
        {"time a", "tim a", 6, "there is no record 'tim'"},
        {"time a", "time x", 6, "there is no origin 'x' before it"},
        {"linear bf16", "Linear bf16", 6, "'Linear' is no operation"},
        {"bf16[4,96] <", "<", 6, "'<' is no tensor and no '<'"},
        {"bf16[4,96] <", "bf16[4,96]", 6, "is no tensor and no '<'"},
        {"bf16[4,96]", "bf16[4,]", 6, "'bf16[4,]' is no tensor"},
        {"bf16[4,96]", "bf16[4,96", 6, "is no tensor"},
        {"bf16[4,96]", "bf16[1,2,3,4,5]", 6, "is no tensor"},
        {"~8 <", "~ <", 7, "'f32[2,3]~' is no tensor"},
        {"f32[2,3]~8 theta", "theta", 7, "rope: it has no operand"},
        {"rope_original=8192", "rope_original=", 7, "'rope_original=' is no attribute"},
        {" : p10_us=1.5", " p10_us=1.5", 6, "'p10_us=1.5' is no attribute"},
        {"p10_us=1.5", "p10_us=nan", 6, "p10_us: 'nan' is no number above 0"},
        {"p10_us=1.5", "p10_us=0", 6, "p10_us: '0' is no number above 0"},
        {"median_us=2 ", "median_us=1e999 ", 6, "median_us: '1e999' is no number"},
        {"median_us=2 ", "", 6, "median_us=... is expected, not 'p90_us=2.5e0'"},
        {"p10_us=1.5", "p10_us=3", 6, "do not ascend"},
        {"count=31", "count=0", 6, "count: '0' is no such count"},
        {"count=31", "count=-1", 6, "is no such count"},
        {"count=31", "count=12345678901", 6, "is no such count"},
        {"count=31", "count=31 us", 6, "'us' is too much"},
        {"product a", "product x", 9, "there is no origin 'x' before it"},
        {"rows=4", "row=4", 9, "product: 'rows' is missing or wrong"},
        {"rows=4", "rows=-4", 9, "product: 'rows'"},
        {"depth=64", "depth=64x", 9, "product: 'depth'"},
        {"depth=64", "depth=99999999999999999999", 9, "product: 'depth'"},
        {" bias=1 adds", " adds", 9, "product: 'bias'"},
        {" adds=0 :", " :", 9, "product: 'adds'"},
        {"adds=0 : id", "adds=0 id", 9, "product: ':'"},
        {"id=66 tile=20", "tile=20 id=66", 9, "product: 'id'"},
        {"cluster=2", "cluster=70000", 9, "product: 'cluster'"},
        {"cluster=2", "", 9, "product: 'cluster'"},
        {"cluster=2", "cluster=2 us", 9, "product: 'us"},
        {"product a " SHAPE_TEXT CHOICE, "variant x " NORM " : norm_rows8\n", 9,
         "there is no origin 'x' before it"},
        {"product a " SHAPE_TEXT CHOICE, "variant a " NORM " norm_rows8\n", 9,
         "'' is no attribute and no ':'"},
        {"product a " SHAPE_TEXT CHOICE, "variant a " NORM " :\n", 9, "the variant's name is missing"},
        {"product a " SHAPE_TEXT CHOICE, "variant a " NORM " : norm_rows8 2\n", 9, "'2' is too much"},
    };
    Arena *arena = arena_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = replaced(arena, whole, cases[i].from, cases[i].to);
        ProfileError error = {0};
        assert_null(profile_read(text, strlen(text), arena, &error));
        if (error.line != cases[i].line || !strstr(error.text, cases[i].said))
            fail_msg("'%s' for '%s': line %u: %s", cases[i].to, cases[i].from, error.line, error.text);
    }
    ProfileError error = {0};
    assert_null(profile_read("", 0, arena, &error));
    assert_null(profile_read(whole, sizeof whole, arena, &error)); /* with its last byte, a zero */
    /* an operation that there is not, where it would be used */
    char *text = arena_printf(arena, "%s\ntime a linera f32[2] < f32[2]" SECONDS, whole);
    Profile *p = read(text, arena);
    assert_true(profile_choose(p, "h200", "12ab", arena, &error));
    assert_false(profile_choose(p, "h100", "12ab", arena, &error));
    assert_int_equal(error.line, 13);
    assert_non_null(strstr(error.text, "there is no operation 'linera'"));
    arena_free(arena);
}

/* Bytes changed, left out and doubled at random: an answer, or a line that there is. */
static void damaged_profiles_end_in_a_message(void **state) {
    (void)state;
    static const char letters[] = "atf0=:<[],~. \n\r#_";
    uint64_t random = 11;
    uint32_t refused = 0;
    for (int round = 0; round < 20000; round++) {
        Arena *arena = arena_new();
        Text text = {.arena = arena};
        for (size_t i = 0; i < strlen(whole); i++) {
            uint64_t pick = random_next(&random) % 1200;
            if (pick == 0) continue;
            char c = pick == 1 ? letters[random_next(&random) % (sizeof letters - 1)] : whole[i];
            if (pick == 2) text_add_n(&text, &c, 1);
            text_add_n(&text, &c, 1);
        }
        ProfileError error = {0};
        Profile *p = profile_read(text.at, text.length, arena, &error);
        if (p && profile_choose(p, "h100", "12ab", arena, &error)) {
            for (uint32_t t = 0; t < p->time.count; t++) {
                const ProfileTime *time = profile_find(p, p->time.at[t].key);
                assert_true(!time || (time->median_seconds > 0 && time->origin == p->chosen));
            }
            assert_true(profile_copy_rate(p) >= 0);
            Device device = *device_find("h100");
            device.profile = p;
            assert_non_null(interpolation_new(&device, arena));
        } else {
            uint32_t lines = 1;
            for (size_t i = 0; i < text.length; i++) lines += text.at[i] == '\n';
            assert_true(error.line >= 1 && error.line <= lines && *error.text);
            refused++;
        }
        arena_free(arena);
    }
    assert_true(refused > 1000 && refused < 19000);
}

/* Every operation of a training step, written down with a time of its own, costs that; what is not written
 * down costs what it did. Equal operations of two layers have one key. */
static void costs_are_what_was_measured(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Transformer shape = gpt2_124m;
    shape.layers = 2;
    const Graph *g = transformer_graph(&shape, arena);
    Device device = *device_find("h100");
    const Cost *computed = cost_graph(g, &device, arena);
    Text text = {.arena = arena};
    text_add(&text, "format remat-profile-1\n" ORIGIN("a", "h100", "580", "12ab"));
    Map *index = map_new(arena);
    uint32_t keys = 0, left_out = 0, nodes = 0;
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) continue;
        nodes++;
        Text key = {.arena = arena};
        profile_key(g, node, &key);
        if (map_get(index, key.at) != NONE || node->op == OP_ADAMW) continue;
        map_set(index, key.at, ++keys);
        text_add(&text, "time a %s : p10_us=%u median_us=%u p90_us=%u count=5\n", key.at, keys, keys, keys);
    }
    assert_true(keys > 15 && keys < nodes / 2 + 10);
    Profile *p = read(text.at, arena);
    choose(p, "h100", "12ab", arena);
    assert_int_equal(p->used, keys);
    device.profile = p;
    const Cost *cost = cost_graph(g, &device, arena);
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) continue;
        assert_int_equal(cost[n].workspace_bytes, computed[n].workspace_bytes);
        Text key = {.arena = arena};
        profile_key(g, node, &key);
        if (node->op == OP_ADAMW) {
            left_out++;
            assert_null(cost[n].measured);
            assert_true(cost[n].seconds == computed[n].seconds);
        } else {
            assert_non_null(cost[n].measured);
            assert_true(cost[n].seconds == map_get(index, key.at) / 1e6);
        }
    }
    assert_int_equal(left_out, 1); /* all weights at once */
    arena_free(arena);
}

/* The node of a key costs what the node costs that the key was made of. */
static void keys_are_nodes(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t compared = 0, several = 0;
    for (int gated = 0; gated < 2; gated++) {
        Transformer shape = gated ? llama3_8b : gpt2_124m;
        shape.layers = 3;
        const Graph *g = transformer_graph(&shape, arena);
        for (int d = 0; d < 2; d++) {
            const Device *device = device_find(d ? "h100" : "host");
            const Cost *cost = cost_graph(g, device, arena);
            for (uint32_t n = 0; n < g->node.count; n++) {
                const Node *node = &g->node.at[n];
                if (op_info[node->op].flags & OPF_VIEW) continue;
                Text key = {.arena = arena};
                profile_key(g, node, &key);
                Graph *one = profile_graph(key.at, arena);
                several += !one;
                if (!one) continue;
                assert_true(cost_roofline(one, &one->node.at[0], device, arena) == cost[n].seconds);
                Text again = {.arena = arena};
                profile_key(one, &one->node.at[0], &again);
                assert_string_equal(key.at, again.at);
                compared++;
            }
        }
    }
    assert_true(compared > 300 && several == 8); /* norms and updates over all weights */
    assert_null(profile_graph("offload f32[10] < f32[10]", arena));
    assert_null(profile_graph("linear f32[4,8]", arena));
    assert_null(profile_graph("linear f32[4,8] < f32[4,7] f32[8,6]", arena));
    assert_null(profile_graph("linear f32[4,9] < f32[4,7] f32[8,7]", arena));
    assert_null(profile_graph("add f16[4] < f16[4] f16[4]", arena));
    arena_free(arena);
}

/* Products of 1,000 and of 4,000 rows were measured at twice and at eight times what the roofline says: those
 * between lie between, on a straight line of logarithms, those beyond stay; other types are another kind. */
static void times_between_are_interpolated(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Device device = *device_find("h100");
    Text text = {.arena = arena};
    const struct {
        int rows;
        double times;
    } measured[] = {{1000, 2}, {4000, 8}};
    text_add(&text, "format remat-profile-1\n" ORIGIN("a", "h100", "580", "12ab"));
    for (size_t i = 0; i < COUNT_OF(measured); i++) {
        const char *key = arena_printf(arena, "linear f32[%d,4096] < f32[%d,4096] f32[4096,4096]",
                                       measured[i].rows, measured[i].rows);
        const Graph *g = profile_graph(key, arena);
        const double us = 1e6 * measured[i].times * cost_roofline(g, &g->node.at[0], &device, arena);
        text_add(&text, "time a %s : p10_us=%.17g median_us=%.17g p90_us=%.17g count=5\n", key, us, us, us);
    }
    Profile *p = read(text.at, arena);
    choose(p, "h100", "12ab", arena);
    device.profile = p;
    device.between = interpolation_new(&device, arena);
    const struct {
        const char *key;
        double times;
        bool of_kind;
    } cases[] = {{"linear f32[500,4096] < f32[500,4096] f32[4096,4096]", 2, true},
                 {"linear f32[1000,4096] < f32[1000,4096] f32[4096,4096]", 2, true},
                 {"linear f32[2000,4096] < f32[2000,4096] f32[4096,4096]", 4, true},
                 {"linear f32[8000,4096] < f32[8000,4096] f32[4096,4096]", 8, true},
                 {"linear bf16[2000,4096] < bf16[2000,4096] bf16[4096,4096]", 8, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const Graph *g = profile_graph(cases[i].key, arena);
        const double seconds = cost_roofline(g, &g->node.at[0], &device, arena);
        bool of_kind;
        double ratio = interpolation_ratio(device.between, g, &g->node.at[0], seconds, &of_kind);
        assert_int_equal(of_kind, cases[i].of_kind);
        assert_true(fabs(ratio / cases[i].times - 1) < 0.02); /* a launch is in either time */
        const Cost *cost = cost_graph(g, &device, arena);
        const bool is_measured = strstr(cases[i].key, "[1000,");
        assert_int_equal(cost[0].measured != NULL, is_measured);
        assert_int_equal(cost[0].interpolated, of_kind && !is_measured);
        assert_true(fabs(cost[0].seconds / (seconds * ratio) - 1) < 1e-9);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_fits_is_used),
                                       cmocka_unit_test(products_have_the_algorithm_of_their_origin),
                                       cmocka_unit_test(products_that_add_are_others),
                                       cmocka_unit_test(operations_have_the_variant_of_their_origin),
                                       cmocka_unit_test(variants_are_a_table),
                                       cmocka_unit_test(products_take_packed_weights_as_measured),
                                       cmocka_unit_test(merged_profiles_say_one_thing),
                                       cmocka_unit_test(a_wrong_line_is_named),
                                       cmocka_unit_test(damaged_profiles_end_in_a_message),
                                       cmocka_unit_test(costs_are_what_was_measured),
                                       cmocka_unit_test(keys_are_nodes),
                                       cmocka_unit_test(times_between_are_interpolated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
