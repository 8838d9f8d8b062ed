/* Weights in NF4: quantised while they are loaded, from any type, as they lie or transposed, and started from
 * the seed; or loaded as bitsandbytes and transformers saved them, where everything beside them is as it must
 * be. */
#include "tests/support/runtime_process.h"
#include "runtime/quantize.h"
#include "runtime/saved_nf4.h"

enum { ROWS = 37, COLUMNS = 100, COUNT = ROWS * COLUMNS, BLOCKS = (COUNT + 63) / 64, ARENA = 1 << 16 };

static RtTensor weight = {"w.weight", RT_FROZEN, K_NF4, 2, {ROWS, COLUMNS}, 256, 0, 0.5, 0, 0, NULL, 0};

static RtProgram program_of(int dtype, int transposed) {
    static const int first[] = {0};
    weight.dtype = dtype;
    return (RtProgram){.arena_bytes = ARENA,
                       .tensor = &weight,
                       .tensors = 1,
                       .transposed = first,
                       .transposed_count = transposed};
}

/* Loads, in a process of its own; with 0, the bytes of the tensor are in `copy`. */
static int loads(const RtProgram *program, const char *path, void *copy) {
    write_bytes("arena", "", 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("stderr", "w", stderr)) _exit(99);
        RtRun run = {.arena = rt_device_alloc(ARENA)};
        memset(run.arena, 0, ARENA);
        if (path)
            rt_weights_load(&run, program, path, 0, rt_allocate(RT_CHUNK_BYTES), 0);
        else
            rt_init_tensors(&run, program, 5, 0, rt_allocate(RT_CHUNK_BYTES));
        write_bytes("arena", run.arena, ARENA);
        fflush(NULL);
        _exit(0);
    }
    int code = await(child);
    if (code == 0) {
        char *arena = read_text("arena", NULL);
        memcpy(copy, arena + weight.offset, (size_t)k_storage_bytes(weight.dtype, COUNT));
        free(arena);
    }
    return code;
}

/* ---- files ---- */

typedef struct Piece {
    const char *name, *dtype, *shape;
    const void *data;
    size_t bytes;
} Piece;

static void write_pieces(const char *path, const Piece *piece, int pieces) {
    char *header = rt_text("{"), *data = rt_allocate(1 << 17);
    size_t end = 0;
    for (int i = 0; i < pieces; i++) {
        if (!piece[i].name) continue;
        char *longer =
            rt_text("%s%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", header,
                    end ? "," : "", piece[i].name, piece[i].dtype, piece[i].shape, end, end + piece[i].bytes);
        memcpy(data + end, piece[i].data, piece[i].bytes);
        end += piece[i].bytes;
        free(header);
        header = longer;
    }
    const size_t length = strlen(header) + 1;
    char *whole = rt_allocate(8 + length + end);
    whole[0] = (char)(length & 255), whole[1] = (char)(length >> 8);
    snprintf(whole + 8, length + 1, "%s}", header);
    memcpy(whole + 8 + length, data, end);
    write_bytes(path, whole, 8 + length + end);
    free(whole);
    free(data);
    free(header);
}

static float source(int64_t i) { /* exact in bf16 and f16 */
    return (float)((i * 37 + i / 64 * 11) % 255 - 127) / 64;
}

/* ---- quantised while loading ---- */

/* Sections of a tensor in storage. */
typedef struct Stored {
    unsigned char codes[(COUNT + 1) / 2], scale_codes[BLOCKS];
    float scale[BLOCKS], group_scale[1], offset;
} Stored;

static Stored quantised(void) {
    static float x[COUNT];
    Stored s;
    for (int64_t i = 0; i < COUNT; i++) x[i] = source(i);
    rt_nf4_quantize(x, COUNT, s.codes, s.scale);
    s.offset = rt_nf4_offset(s.scale, BLOCKS);
    rt_nf4_group(s.scale, BLOCKS, s.offset, s.scale_codes, s.group_scale);
    return s;
}

static void assert_stored(const unsigned char *got, int dtype, const Stored *want) {
    const KSections at = k_sections(k_packing(dtype), COUNT);
    assert_memory_equal(got, want->codes, sizeof want->codes);
    if (dtype == K_NF4_F32) {
        assert_memory_equal(got + at.scales, want->scale, sizeof want->scale);
        return;
    }
    assert_memory_equal(got + at.scales, want->scale_codes, sizeof want->scale_codes);
    assert_memory_equal(got + at.group_scales, want->group_scale, sizeof want->group_scale);
    assert_memory_equal(got + at.group_scales + sizeof want->group_scale, &want->offset, sizeof want->offset);
}

static void test_quantised(void **state) {
    (void)state;
    static unsigned char got[ARENA];
    static float f32[COUNT], turned[COUNT];
    static uint16_t bf16[COUNT], f16[COUNT];
    const Stored want = quantised();
    for (int i = 0; i < COUNT; i++) {
        f32[i] = source(i);
        turned[i % COLUMNS * ROWS + i / COLUMNS] = source(i);
        bf16[i] = rt_to_bf16(f32[i]);
        uint32_t bits;
        memcpy(&bits, &f32[i], 4);
        const uint32_t exponent = bits >> 23 & 255;
        f16[i] =
            (uint16_t)(f32[i] == 0 ? 0
                                   : (bits >> 16 & 0x8000) | (exponent - 112) << 10 | (bits >> 13 & 1023));
    }
    const Piece piece[] = {{"w.weight", "F32", "[37,100]", f32, sizeof f32},
                           {"w.weight", "BF16", "[37,100]", bf16, sizeof bf16},
                           {"w.weight", "F16", "[37,100]", f16, sizeof f16},
                           {"w.weight", "F32", "[100,37]", turned, sizeof turned}};
    for (int dtype = K_NF4; dtype <= K_NF4_F32; dtype++)
        for (int i = 0; i < 4; i++) {
            const RtProgram program = program_of(dtype, i == 3);
            write_pieces("w.safetensors", &piece[i], 1);
            assert_int_equal(loads(&program, "w.safetensors", got), 0);
            assert_stored(got, dtype, &want);
        }
}

/* The elements that another storage type would have, quantised. */
static void test_initialised(void **state) {
    (void)state;
    static unsigned char got[ARENA];
    static float x[COUNT];
    Stored want;
    RtProgram program = program_of(K_F32, 0);
    assert_int_equal(loads(&program, NULL, x), 0);
    rt_nf4_quantize(x, COUNT, want.codes, want.scale);
    program = program_of(K_NF4_F32, 0);
    assert_int_equal(loads(&program, NULL, got), 0);
    assert_stored(got, K_NF4_F32, &want);
}

/* ---- as saved ---- */

enum { CODES, STATE, MAP, SCALES, NESTED, NESTED_MAP, PIECES };

typedef struct Saved {
    Piece piece[PIECES];
    float map[16], nested_map[256];
    char json[400];
} Saved;

static void save(Saved *s, const Stored *stored, int grouped, const char *json) {
    static const float map[] = K_NF4_VALUES;
    static char shape[PIECES][32];
    memcpy(s->map, map, sizeof map);
    for (int c = 0; c < 256; c++) s->nested_map[c] = k_dynamic_value(1, c);
    snprintf(s->json, sizeof s->json, "%s", json);
    const Piece piece[PIECES] = {
        {"w.weight", "U8", shape[CODES], stored->codes, sizeof stored->codes},
        {"w.weight.quant_state.bitsandbytes__nf4", "U8", shape[STATE], s->json, strlen(s->json)},
        {"w.weight.quant_map", "F32", "[16]", s->map, sizeof s->map},
        {"w.weight.absmax", grouped ? "U8" : "F32", shape[SCALES],
         grouped ? (const void *)stored->scale_codes : (const void *)stored->scale,
         grouped ? sizeof stored->scale_codes : sizeof stored->scale},
        {grouped ? "w.weight.nested_absmax" : NULL, "F32", "[1]", stored->group_scale,
         sizeof stored->group_scale},
        {grouped ? "w.weight.nested_quant_map" : NULL, "F32", "[256]", s->nested_map, sizeof s->nested_map}};
    snprintf(shape[CODES], 32, "[%d,1]", (COUNT + 1) / 2);
    snprintf(shape[STATE], 32, "[%zu]", strlen(s->json));
    snprintf(shape[SCALES], 32, "[%d]", BLOCKS);
    memcpy(s->piece, piece, sizeof piece);
}

#define STATE_TEXT(type, block, shape, nested)                                                               \
    "{\"quant_type\": \"" type "\", \"blocksize\": " block ", \"dtype\": \"float32\", \"shape\": [" shape    \
    "]" nested "}"
#define GROUPS ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": "

static char *grouped_text(const Stored *stored) {
    return rt_text(STATE_TEXT("nf4", "64", "37, 100", GROUPS "%.17g"), (double)stored->offset);
}

/* The checksum that was said, when it is taken without a program: of the codes and all that lies beside. */
static void assert_sum(const char *path, int dtype) {
    WeightFiles files;
    weight.dtype = dtype;
    weight_files_open(&files, path);
    Found found = weight_files_find(&files, weight.name);
    saved_nf4_check(&files, found, &weight);
    void *buffer = rt_allocate(WEIGHT_PART_BYTES);
    uint64_t sum = saved_nf4_sum(&files, found, buffer), codes = weight_files_sum(&files, found, buffer);
    char *says = rt_text("checksum %016llx", (unsigned long long)sum);
    assert_in_file("stderr", says);
    assert_true(sum != codes);
    free(says), free(buffer);
    weight_files_close(&files);
}

static void test_saved(void **state) {
    (void)state;
    static unsigned char got[ARENA];
    Saved s;
    const Stored stored = quantised();
    RtProgram program = program_of(K_NF4, 0);
    char *text = grouped_text(&stored);
    save(&s, &stored, 1, text);
    write_pieces("w.safetensors", s.piece, PIECES);
    assert_int_equal(loads(&program, "w.safetensors", got), 0);
    assert_stored(got, K_NF4, &stored);
    char *said = read_text("stderr", NULL);
    assert_null(strstr(said, "no use")); /* all that lies beside it is used */
    free(said);
    assert_sum("w.safetensors", K_NF4);

    program = program_of(K_NF4_F32, 0);
    assert_int_equal(loads(&program, "w.safetensors", got), 6);
    assert_in_file("stderr",
                   "'w.weight' in 'w.safetensors' is saved in NF4, but with double quantisation, which "
                   "the model has not");
    save(&s, &stored, 0, STATE_TEXT("nf4", "64", "37, 100", ""));
    write_pieces("w.safetensors", s.piece, PIECES);
    assert_int_equal(loads(&program, "w.safetensors", got), 0);
    assert_stored(got, K_NF4_F32, &stored);
    assert_sum("w.safetensors", K_NF4_F32);
    program = program_of(K_NF4, 0);
    assert_int_equal(loads(&program, "w.safetensors", got), 6);
    assert_in_file("stderr", "without double quantisation, which the model has");
    free(text);
}

static void refused(const Saved *s, const char *what) {
    static unsigned char got[ARENA];
    const RtProgram program = program_of(K_NF4, 0);
    write_pieces("w.safetensors", s->piece, PIECES);
    assert_int_equal(loads(&program, "w.safetensors", got), 6);
    assert_in_file("stderr", what);
}

static void test_refused(void **state) {
    (void)state;
    Saved s;
    const Stored stored = quantised();
    char *text = grouped_text(&stored);
    static const struct {
        const char *json, *what;
    } wrong[] = {{STATE_TEXT("fp4", "64", "37, 100", GROUPS "1.5"), "its quant_type is not nf4"},
                 {STATE_TEXT("nf4", "128", "37, 100", GROUPS "1.5"), "not in blocks of 64"},
                 {STATE_TEXT("nf4", "64", "100, 37", GROUPS "1.5"),
                  "of shape [100, 37] where the model has [37, 100]"},
                 {STATE_TEXT("nf4", "64", "37, 100", ", \"nested_blocksize\": 128, \"nested_offset\": 1"),
                  "not in groups of 256 with an offset"},
                 {STATE_TEXT("nf4", "64", "37, 100", ", \"nested_blocksize\": 256"), "not in groups of 256"},
                 {STATE_TEXT("nf4", "64", "37, 100", GROUPS "true"), "a number should stand here"},
                 {"[]", "an object should stand here"},
                 {"{\"shape\": [37, 100]} x", "text after the quant_state's end"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        save(&s, &stored, 1, wrong[i].json);
        refused(&s, wrong[i].what);
    }
    static const struct {
        int piece;
        const char *what;
    } lacks[] = {{MAP, "lacks '.quant_map' of 16 in F32"},
                 {SCALES, "lacks '.absmax' of 58 in U8"},
                 {NESTED, "lacks '.nested_absmax' of 1 in F32"},
                 {NESTED_MAP, "lacks '.nested_quant_map' of 256 in F32"},
                 {STATE, "'w.weight' is [1850, 1] in 'w.safetensors' where the model has [37, 100]"}};
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
        save(&s, &stored, 1, text);
        s.piece[lacks[i].piece].name = NULL;
        refused(&s, lacks[i].what);
    }
    save(&s, &stored, 1, text);
    s.map[3] += 0.01f;
    refused(&s, "its '.quant_map' is not the one this program has");
    save(&s, &stored, 1, text);
    s.nested_map[200] += 0.01f;
    refused(&s, "its '.nested_quant_map' is not the one this program has");
    save(&s, &stored, 1, text);
    s.piece[CODES].shape = "[1849,1]";
    s.piece[CODES].bytes--;
    refused(&s, "it has not a byte for every two elements");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quantised), cmocka_unit_test(test_initialised),
                                       cmocka_unit_test(test_saved), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("weights in nf4", tests, enter_folder, leave_folder);
}
