/* The files a trainer reads: data in every format gives the same windows, the shuffle is a permutation,
 * safetensors headers are refused unless they are sound (a seeded fuzz included). */
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"
#include "runtime/model.h"
#include "runtime/safetensors.h"

#include <sys/statvfs.h>

#include <dirent.h>

static void test_shuffle(void **state) {
    (void)state;
    static const int64_t counts[] = {1, 2, 3, 4, 5, 16, 17, 255, 1000, 4097};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        int64_t n = counts[c], moved = 0;
        char *seen = rt_allocate((size_t)n);
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            memset(seen, 0, (size_t)n);
            for (int64_t i = 0; i < n; i++) {
                int64_t window = rt_data_shuffle(3, epoch * n + i, n);
                assert_true(window >= 0 && window < n && !seen[window]);
                seen[window] = 1;
                moved += window != rt_data_shuffle(3, i, n);
            }
        }
        assert_true(n < 16 || moved > n);
        free(seen);
    }
    int64_t differ = 0;
    for (int64_t i = 0; i < 1000; i++) differ += rt_data_shuffle(1, i, 1000) != rt_data_shuffle(2, i, 1000);
    assert_true(differ > 900);
}

enum { TOKENS = 1000, T = 16 };

static void put32(unsigned char *to, uint32_t value) {
    memcpy(to, &value, 4);
}

/* The same tokens (all below 256) as bytes, uint16, uint32 and both kinds of llm.c shards. */
static void write_formats(void) {
    static unsigned char one[TOKENS], two[1024 + 2 * TOKENS], four[1024 + 4 * TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        one[i] = (unsigned char)(k_mix((uint64_t)i + 1) % 200);
        two[1024 + 2 * i] = four[1024 + 4 * i] = one[i];
    }
    put32(two, 20240520), put32(two + 4, 1), put32(two + 8, TOKENS);
    put32(four, 20240801), put32(four + 4, 7), put32(four + 8, TOKENS);
    write_bytes("data.txt", one, sizeof one);
    write_bytes("data.u16", two + 1024, 2 * TOKENS);
    write_bytes("data.bin", two + 1024, 2 * TOKENS);
    write_bytes("data.u32", four + 1024, 4 * TOKENS);
    write_bytes("gpt2.bin", two, sizeof two);
    write_bytes("llama3.bin", four, sizeof four);
}

static void test_formats(void **state) {
    (void)state;
    write_formats();
    static const char *const path[] = {"data.txt", "data.u16", "data.bin",
                                       "data.u32", "gpt2.bin", "llama3.bin"};
    static const int format[] = {RT_BYTES, RT_U16, RT_U16, RT_U32, RT_LLMC, RT_LLMC};
    int32_t tokens[T], targets[T];
    char *raw = read_text("data.txt", NULL);
    for (int f = 0; f < 6; f++) {
        RtData data;
        rt_data_open(&data, path[f], RT_AUTO, 2, T, 256);
        assert_int_equal(data.format, format[f]);
        assert_int_equal(data.count, (TOKENS - 1) / T);
        for (int64_t w = 0; w < data.count; w++) {
            rt_data_window(&data, w, tokens, targets);
            for (int i = 0; i < T; i++) {
                assert_int_equal(tokens[i], (unsigned char)raw[w * T + i]);
                assert_int_equal(targets[i], (unsigned char)raw[w * T + i + 1]);
            }
        }
        rt_data_close(&data);
    }
    free(raw);
}

static void test_shards_and_split(void **state) {
    (void)state;
    write_formats();
    assert_int_equal(system("cp gpt2.bin shard_0.bin && cp gpt2.bin shard_1.bin"), 0);
    RtData data, validate;
    rt_data_open(&data, "shard_*.bin", RT_AUTO, 2, T, 256);
    assert_int_equal(data.count, 2 * ((TOKENS - 1) / T));
    int32_t a[T], b[T], c[T], d[T];
    rt_data_window(&data, 3, a, b);
    rt_data_window(&data, 3 + (TOKENS - 1) / T, c, d);
    assert_memory_equal(a, c, sizeof a);
    assert_memory_equal(b, d, sizeof b);
    rt_data_split(&data, &validate, 0.1, 2);
    assert_int_equal(validate.count, 12);
    assert_int_equal(data.count + validate.count, data.windows);
    assert_int_equal(validate.first, data.count);
    rt_data_close(&data);
}

/* Every window is the right one, whatever the order, and fewer than `most` files are open. */
static void visit_shards(int shards, int most) {
    RtData data;
    int32_t tokens[T], targets[T];
    rt_data_open(&data, "shards/*.txt", RT_AUTO, 2, T, 256);
    assert_int_equal(data.count, 2 * shards);
    for (int64_t i = 0; i < 3 * data.count; i++) {
        int64_t window = rt_data_shuffle(4, i, data.count);
        rt_data_window(&data, window, tokens, targets);
        assert_int_equal(tokens[0], window / 2);
        assert_int_equal(targets[T - 1], window / 2);
    }
    DIR *open_files = opendir("/proc/self/fd");
    int count = 0;
    while (open_files && readdir(open_files)) count++;
    closedir(open_files);
    assert_true(count < most);
    rt_data_close(&data);
}

/* More shards than stay open at once, with many descriptors and with few. */
static void test_many_shards(void **state) {
    (void)state;
    enum { SHARDS = 230 };
    assert_int_equal(system("mkdir -p shards"), 0);
    for (int i = 0; i < SHARDS; i++) {
        unsigned char text[2 * T + 1];
        char *path = rt_text("shards/%03d.txt", i);
        memset(text, i, sizeof text);
        write_bytes(path, text, sizeof text);
        free(path);
    }
    visit_shards(SHARDS, 215);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, before.rlim_max}), 0);
    visit_shards(SHARDS, 32);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_bad_data(void **state) {
    (void)state;
    write_formats();
    assert_int_equal(opens("data.txt", RT_AUTO, T, 256), 0);
    assert_int_equal(opens("none_*.bin", RT_AUTO, T, 256), 6);
    assert_in_file("stderr", "no file matches 'none_*.bin'");
    assert_int_equal(opens("data.txt", RT_LLMC, T, 256), 6);
    assert_int_equal(opens("data.bin", RT_LLMC, T, 256), 6);
    assert_in_file("stderr", "not of llm.c's format");
    write_bytes("odd.u16", "abc", 3);
    assert_int_equal(opens("odd.u16", RT_AUTO, T, 256), 6);
    assert_in_file("stderr", "no whole number of 2-byte tokens");
    assert_int_equal(truncate("gpt2.bin", 2000), 0);
    assert_int_equal(opens("gpt2.bin", RT_AUTO, T, 256), 6);
    assert_in_file("stderr", "promises 1000 tokens but holds 488");
    uint16_t tokens[TOKENS] = {0};
    tokens[777] = 50257;
    write_bytes("large.u16", tokens, sizeof tokens);
    assert_int_equal(opens("large.u16", RT_AUTO, T, 50257), 6);
    assert_in_file("stderr", "'large.u16': token 50257 at position 777 is outside the vocabulary of 50257");
    assert_int_equal(opens("large.u16", RT_AUTO, T, 50258), 0);
    assert_int_equal(system("cp data.txt mix_a.xyz && cp data.u32 mix_b.u32"), 0);
    assert_int_equal(opens("mix_*", RT_AUTO, T, 256), 6);
    assert_in_file("stderr", "has another format than");
}

/* ---- safetensors ---- */

#define ONE "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

static int parses(const char *header, int64_t data_bytes, RtError *error) {
    StFile file;
    error->text[0] = 0;
    int good = st_parse(&file, header, (int64_t)strlen(header), data_bytes, error);
    if (good) st_close(&file);
    return good;
}

static void test_sound_headers(void **state) {
    (void)state;
    RtError error;
    assert_true(parses("{}", 0, &error));
    assert_true(parses("{" ONE "}   ", 24, &error));
    assert_true(parses("{\"__metadata__\":{}," ONE "}", 24, &error));
    assert_true(parses("{\"s\":{\"shape\":[],\"data_offsets\":[0,8],\"dtype\":\"F64\"}}", 8, &error));
    assert_true(
        parses("{\"z\":{\"dtype\":\"I8\",\"shape\":[0,5],\"data_offsets\":[24,24]}," ONE "}", 24, &error));
    assert_true(parses("{\"__metadata__\":null," ONE "}", 24, &error));
    assert_true(parses("{\"a\":{\"x\":[{\"y\":-1.5e3},true],\"dtype\":\"F6_E2M3\",\"shape\":[4],"
                       "\"data_offsets\":[0,3]}}",
                       3, &error));
    assert_true(parses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,6],\"data_offsets\":[0,24]}}",
                       24, &error));
    StFile file;
    const char *twice = "{\"a\":{\"dtype\":\"I8\",\"shape\":[9],\"data_offsets\":[1,9]}," ONE "}";
    assert_true(st_parse(&file, twice, (int64_t)strlen(twice), 24, &error)); /* the last counts */
    assert_true(file.tensors == 1 && file.tensor[0].rank == 2 && file.tensor[0].end == 24);
    st_close(&file);
    const char *nul = "{\"a\\u0000\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}," ONE "}";
    assert_true(st_parse(&file, nul, (int64_t)strlen(nul), 24, &error));
    assert_true(file.tensors == 2 && st_find(&file, "a")->end == 24); /* two names */
    st_close(&file);
    const char *text = "{ \"__metadata__\" : {\"k\\u00e9\\ud83d\\ude00\":\"v\\n\\\"\"} , " ONE "}";
    assert_true(st_parse(&file, text, (int64_t)strlen(text), 24, &error));
    assert_string_equal(st_metadata(&file, "k\xc3\xa9\xf0\x9f\x98\x80"), "v\n\"");
    const StTensor *tensor = st_find(&file, "a");
    assert_non_null(tensor);
    assert_true(tensor->rank == 2 && tensor->dim[1] == 3 && tensor->end == 24 && tensor->element_bytes == 4);
    assert_null(st_find(&file, "b"));
    st_close(&file);
}

static void test_hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header, *says;
        int64_t data_bytes;
    } hostile[] = {
        {"", "an object should stand here", 0},
        {"{", "a string should stand here", 0},
        {"{}x", "text after the header's end", 0},
        {"{" ONE "}", "cut short", 23},
        {"{" ONE "}", "the tensors end at byte 24 but the file holds 25", 25},
        {"{" ONE ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}", "overlaps", 24},
        {"{" ONE ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[28,32]}}", "hole", 32},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[7],\"data_offsets\":[0,24]}}",
         "has 24 bytes where its shape needs 28", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", "too large",
         0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,0]}}", "too large",
         0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,24]}}", "a whole number", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[24,0]}}", "lies at bytes 24 to 0", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0]}}", "two data_offsets", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6]}}", "without dtype, shape", 24},
        {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[6],\"data_offsets\":[0,24]}}", "unknown dtype 'Q4'", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
         "repeated key", 24},
        {"{\"a\":{\"color\":\"red\"}}", "without dtype, shape", 24},
        {"{\"a\":{\"color\":red}}", "a value should stand here", 24},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", "ends within a byte", 1},
        {"{\"a\xff\":{}}", "header byte 3: this is not UTF-8", 0},
        {"{\"__metadata__\":{},\"__metadata__\":null}", "two __metadata__", 0},
        {"{\"a\":{\"dtype\":\"F32\\u0000\",\"shape\":[6],\"data_offsets\":[0,24]}}", "unknown dtype", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}," ONE ",\"b\":1}",
         "a tensor's description should stand here", 24},
        {"{\"a\\ud800\":{}}", "surrogate", 0},
        {"{\"a\\q\":{}}", "unknown escape", 0},
        {"{\"a\nb\":{}}", "control character", 0},
        {"{\"a", "cut short in a string", 0},
        {"{\"a\\", "cut short in a string", 0},
        {"{\"__metadata__\":{\"a\":\"b\"},\"__metadata__\":{}}", "two __metadata__", 0},
        {"{\"__metadata__\":{\"a\":1}}", "a string should stand here", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[06],\"data_offsets\":[0,24]}}", "leading zero", 24},
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        RtError error;
        assert_false(parses(hostile[i].header, hostile[i].data_bytes, &error));
        if (!strstr(error.text, hostile[i].says)) fail_msg("%s: %s", hostile[i].header, error.text);
    }
}

static void test_hostile_files(void **state) {
    (void)state;
    StFile file;
    RtError error;
    write_bytes("bad", "1234567", 7);
    assert_false(st_open(&file, "bad", &error));
    write_bytes("bad", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_false(st_open(&file, "bad", &error));
    write_bytes("bad", "\x03\0\0\0\0\0\0\0{}", 10);
    assert_false(st_open(&file, "bad", &error));
    write_bytes("bad", "\x02\0\0\0\0\0\0\0{}", 10);
    assert_true(st_open(&file, "bad", &error));
    st_close(&file);
    assert_false(st_open(&file, ".", &error));
    assert_false(st_open(&file, "not there", &error));
}

/* Mutations of a sound header: never a crash, and whatever is accepted keeps the promises of the table. */
static void test_fuzz(void **state) {
    (void)state;
    static const char sound[] = "{\"__metadata__\":{\"step\":\"12\",\"k\\u00e9\":\"v\"}," ONE
                                ",\"b.c\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                                "\"d\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[32,33]}}";
    static const char alphabet[] = "{}[]\",:\\u0123456789-abdtFBe \n\0\xff";
    uint64_t random = 17;
    int accepted = 0;
    for (int round = 0; round < 100000; round++) {
        char header[sizeof sound];
        int64_t length = sizeof sound - 1;
        memcpy(header, sound, sizeof sound);
        for (int change = 0; change < 1 + round % 3; change++) {
            random = k_mix(random + 0x9e3779b97f4a7c15u);
            int64_t at = (int64_t)(random >> 8) % length;
            if (random % 5 == 0)
                length = at > 0 ? at : 1;
            else if (random % 5 == 1)
                memmove(header + at, header + at + 1, (size_t)(--length - at + 1));
            else
                header[at] = alphabet[(random >> 40) % sizeof alphabet];
            if (length < 2) break;
        }
        StFile file;
        RtError error;
        if (!st_parse(&file, header, length, 33, &error)) continue;
        accepted++;
        int64_t bytes = 0;
        for (int i = 0; i < file.tensors; i++) bytes += file.tensor[i].end - file.tensor[i].begin;
        assert_int_equal(bytes, 33);
        st_close(&file);
    }
    assert_true(accepted > 100);
}

/* ---- sampling and initial values ---- */

static char *sample(RtRun *run, const RtProgram *program, int format, uint64_t seed, int64_t most,
                    const volatile sig_atomic_t *stop) {
    const int32_t prompt = format == RT_BYTES ? '\n' : 0;
    const RtSample wanted = {
        .prompt = &prompt, .prompts = 1, .most = most, .format = format, .temperature = 0.8, .seed = seed};
    return rt_sample_text(run, program, &wanted, stop);
}

static void test_sample(void **state) {
    (void)state;
    RtProgram program = model_program();
    RtRun run = {.arena = rt_device_alloc(program.arena_bytes)};
    memset(run.arena, 0, (size_t)program.arena_bytes);
    uint16_t *table = (uint16_t *)(run.arena + model_tensor[TABLE].offset);
    for (int i = 0; i < MODEL_V; i++)
        table[i * MODEL_V + (i == '\n' ? 'a' : i + 1) % MODEL_V] = rt_to_bf16(60);
    volatile sig_atomic_t stop = 0;
    char *text = sample(&run, &program, RT_BYTES, 1, 30, &stop);
    assert_string_equal(text, "abcdefghijklmnopqrstuvwxyz{|}~");
    free(text);
    text = sample(&run, &program, RT_U16, 1, 3, &stop);
    assert_string_equal(text, "1 2 3");
    free(text);
    for (int i = 0; i < MODEL_V; i++) memset(table + i * MODEL_V, 0, MODEL_V * 2);
    char *first = sample(&run, &program, RT_BYTES, 1, 200, &stop),
         *again = sample(&run, &program, RT_BYTES, 1, 200, &stop);
    char *other = sample(&run, &program, RT_BYTES, 2, 200, &stop);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_non_null(strstr(first, "\\x"));
    free(first);
    free(again);
    free(other);
    stop = 1; /* a signal came: what there is by then */
    text = sample(&run, &program, RT_BYTES, 1, 1 << 20, &stop);
    assert_string_equal(text, "");
    free(text);
    rt_device_close(&run);
}

static void k_nothing(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                      const KAttr *attr) {
    (void)cx, (void)nout, (void)out, (void)nin, (void)in, (void)attr;
}

/* Room past a tensor's elements counts as used, and is zero before the first step. */
static void test_room(void **state) {
    (void)state;
    RtProgram program = model_program();
    RtRun run = {.arena = rt_device_alloc(program.arena_bytes), .poison = 1};
    const KTensor plain = {run.arena + 256, K_BF16, 2, {3, 50}, 0},
                  padded = {run.arena + 256, K_BF16, 2, {3, 50}, 192};
    const KAttr none = {0};
    rt_call(&run, "nothing", k_nothing, 1, &plain, 0, NULL, &none, 0, 0);
    assert_int_equal(run.high_water_bytes, 256 + 512);
    rt_call(&run, "nothing", k_nothing, 0, NULL, 1, &padded, &none, 0, 0);
    assert_int_equal(run.high_water_bytes, 256 + 512);
    const KTensor large = {run.arena + 256, K_BF16, 2, {3, 50}, 384};
    rt_call(&run, "nothing", k_nothing, 1, &large, 0, NULL, &none, 0, 0);
    assert_int_equal(run.high_water_bytes, 256 + 768);
    RtTensor tensor = {
        .name = "odd", .kind = RT_PARAM, .dtype = K_BF16, .rank = 2, .dim = {3, 50}, .room = 192};
    program.tensor = &tensor;
    program.tensors = 1;
    rt_poison_transient(&run, &program);
    rt_clear_room(&run, &program);
    const unsigned char *bytes = (const unsigned char *)run.arena;
    for (int i = 300; i < 384; i++) assert_int_equal(bytes[i], 0);
    assert_int_equal(bytes[384], 0xff);
    rt_device_close(&run);
}

static void test_initial_values(void **state) {
    (void)state;
    RtProgram program = model_program();
    RtRun run = {.arena = rt_device_alloc(program.arena_bytes), .poison = 1};
    void *chunk = rt_allocate(RT_CHUNK_BYTES);
    rt_poison_transient(&run, &program);
    rt_init_tensors(&run, &program, 9, 0, chunk);
    const float *master = (float *)(run.arena + model_tensor[MASTER].offset);
    const uint16_t *table = (uint16_t *)(run.arena + model_tensor[TABLE].offset);
    double sum = 0, square = 0, fourth = 0, n = MODEL_V * MODEL_V;
    for (int i = 0; i < MODEL_V * MODEL_V; i++) {
        double z = (double)master[i] / 0.02;
        sum += z, square += z * z, fourth += z * z * z * z;
        assert_true(table[i] == rt_to_bf16(master[i]));
    }
    assert_true(fabs(sum / n) < 0.02 && fabs(square / n - 1) < 0.03 && fabs(fourth / n - 3) < 0.2);
    const float *moment = (float *)(run.arena + model_tensor[V_BIAS].offset);
    for (int i = 0; i < MODEL_V; i++) assert_true(moment[i] == 0);
    float logit;
    memcpy(&logit, run.arena + at_logits + 400, 4);
    assert_true(isnan(logit));
    assert_true(rt_from_bf16(rt_to_bf16(1.00390625f)) == 1.0f &&
                rt_from_bf16(rt_to_bf16(1.01171875f)) == 1.015625f);
    assert_true(isnan(rt_from_bf16(rt_to_bf16(NAN))) && isinf(rt_from_bf16(rt_to_bf16(3.4e38f))));
    model_tensor[BIAS].kind = RT_FROZEN;
    rt_device_fill(run.arena, 0x7f, program.arena_bytes);
    rt_init_tensors(&run, &program, 9, 1, chunk); /* what no checkpoint holds, alone */
    const float *bias = (float *)(run.arena + model_tensor[BIAS].offset);
    for (int i = 0; i < MODEL_V; i++) assert_true(bias[i] == 0);
    for (int i = 0; i < MODEL_V * MODEL_V; i++) assert_int_equal(table[i], 0x7f7f);
    free(chunk);
    rt_device_close(&run);
}

/* ---- what a checkpoint says of its model, and room for what will be saved ---- */

static void test_model_text(void **state) {
    (void)state;
    static const char text[] = "weights ../a b\nbase 0123456789abcdef\nadapt 16 32 0.050000000000000003 1\n"
                               "transposed h.0.w\ntie lm_head.weight\nof wte.weight\nnf4 q\nnf4_f32 r\n";
    static const char *const bad[] = {
        "x y\n",           "weights",         "base 12\n",       "base 0123456789abcdeg\n", "adapt 16 32\n",
        "adapt 0 1 0 0\n", "adapt 8 x 0 0\n", "adapt 8 1 1 0\n", "adapt 8 1 0 0 9\n",       "tie a\n",
        "of a\n",          "nf5 a\n"};
    RtModel model;
    RtError error;
    assert_true(rt_model_parse(&model, text, &error));
    assert_true(model.base == 0x0123456789abcdef && model.rank == 16 && model.dropout == 0.05);
    assert_true(rt_model_scale(&model) == 8); /* 32 / sqrt(16) */
    assert_int_equal(model.packed_dtype[1], K_NF4_F32);
    char *again = rt_model_text(&model);
    assert_string_equal(again, text);
    free(again);
    rt_model_free(&model);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (rt_model_parse(&model, bad[i], &error)) fail_msg("'%s' is understood", bad[i]);
    assert_true(rt_model_parse(&model, NULL, &error) && !model.weights);
}

static int has_space(int64_t here, int64_t there) {
    const char *const path[] = {"new/folder", "."};
    const int64_t bytes[] = {here, there};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("stderr", "w", stderr)) _exit(99);
        rt_need_space(path, bytes, 2);
        _exit(0);
    }
    return await(child);
}

static void test_space(void **state) {
    (void)state;
    struct statvfs space;
    assert_int_equal(statvfs(".", &space), 0);
    int64_t left = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
    assert_int_equal(has_space(1, 1), 0);
    assert_int_equal(has_space(left / 4 * 3, left / 4 * 3), RT_EXIT_IO); /* each fits, both do not */
    assert_in_file("stderr", "GiB are free");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_text),       cmocka_unit_test(test_space),
        cmocka_unit_test(test_shuffle),          cmocka_unit_test(test_formats),
        cmocka_unit_test(test_shards_and_split), cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_sound_headers),    cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_files),    cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_many_shards),      cmocka_unit_test(test_room),
        cmocka_unit_test(test_sample),           cmocka_unit_test(test_initial_values),
    };
    return cmocka_run_group_tests_name("runtime files", tests, enter_folder, leave_folder);
}
