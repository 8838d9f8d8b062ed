/* Pretrained weights are found, converted, turned or refused by name: single files, folders with and without
 * an index, and what is wrong with them. */
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"

static void write_safetensors(const char *path, const char *header, const void *data, size_t bytes) {
    size_t length = strlen(header);
    char *whole = rt_allocate(8 + length + bytes);
    whole[0] = (char)(length & 255), whole[1] = (char)(length >> 8);
    memcpy(whole + 8, header, length);
    memcpy(whole + 8 + length, data, bytes);
    write_bytes(path, whole, 8 + length + bytes);
    free(whole);
}

#define TABLE_BYTES (MODEL_V * MODEL_V * 4)

/* table F32 and bias F16 under the given names. */
static void write_weights(const char *path, const char *table, const char *bias) {
    static unsigned char data[TABLE_BYTES + 2 * MODEL_V];
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x3555}; /* 1, -2, 2^-24, 0.33325 */
    for (int i = 0; i < MODEL_V * MODEL_V; i++) {
        float value = (float)i / 7 - 1000;
        memcpy(data + 4 * i, &value, 4);
    }
    for (int i = 0; i < MODEL_V; i++) memcpy(data + TABLE_BYTES + 2 * i, &halves[i % 4], 2);
    char *header = rt_text("{\"%s\":{\"dtype\":\"F32\",\"shape\":[256,256],\"data_offsets\":[0,%d]},"
                           "\"%s\":{\"dtype\":\"F16\",\"shape\":[256],\"data_offsets\":[%d,%d]}}",
                           table, TABLE_BYTES, bias, TABLE_BYTES, TABLE_BYTES + 2 * MODEL_V);
    write_safetensors(path, header, data, sizeof data);
    free(header);
}

static int loads(const char *path, char *copy) {
    static const RtTie tie = {"head", TABLE};
    RtProgram program = model_program();
    program.tie = &tie;
    program.ties = 1;
    write_bytes("arena", "", 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("stderr", "w", stderr)) _exit(99);
        RtRun run = {.arena = rt_device_alloc(program.arena_bytes)};
        memset(run.arena, 0, (size_t)program.arena_bytes);
        rt_weights_load(&run, &program, path, 0, rt_allocate(RT_CHUNK_BYTES), 0);
        write_bytes("arena", run.arena, (size_t)program.arena_bytes);
        fflush(NULL);
        _exit(0);
    }
    int code = await(child);
    if (code == 0 && copy) {
        char *arena = read_text("arena", NULL);
        memcpy(copy, arena, (size_t)program.arena_bytes);
        free(arena);
    }
    return code;
}

static void test_weights(void **state) {
    (void)state;
    RtProgram program = model_program();
    char *arena = rt_allocate((size_t)program.arena_bytes);
    write_weights("w.safetensors", "table", "bias");
    assert_int_equal(loads("w.safetensors", arena), 0);
    const float *master = (float *)(arena + model_tensor[MASTER].offset),
                *bias = (float *)(arena + model_tensor[BIAS].offset);
    const uint16_t *table = (uint16_t *)(arena + model_tensor[TABLE].offset);
    for (int i = 0; i < MODEL_V * MODEL_V; i++) {
        assert_true(master[i] == (float)i / 7 - 1000);
        assert_true(table[i] == rt_to_bf16(master[i]));
    }
    assert_true(bias[0] == 1 && bias[1] == -2 && bias[2] == 0x1p-24f && fabsf(bias[3] - 0.33325f) < 1e-5f);
    free(arena);

    write_weights("w.safetensors", "model.table", "transformer.bias");
    assert_int_equal(loads("w.safetensors", NULL), 0);
    write_weights("w.safetensors", "model.table", "transformer.table");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "'table' could be 'model.table' or 'transformer.table'");
    write_weights("w.safetensors", "table", "other");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "lacks 1 of the model's tensors; the first is 'bias'");
    write_weights("w.safetensors", "bias", "table");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "'table' is [256] in 'w.safetensors' where the model has [256, 256]");
    assert_int_equal(loads("nothing", NULL), 6);
}

static void test_weights_folder(void **state) {
    (void)state;
    assert_int_equal(system("rm -rf folder && mkdir folder"), 0);
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "no .safetensors file in 'folder'");
    write_weights("folder/model-00001-of-00002.safetensors", "table", "unused");
    write_weights("folder/model-00002-of-00002.safetensors", "unused too", "bias");
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "2 of the 4 tensors");
    write_weights("folder/model-00003-of-00002.safetensors", "table", "x");
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "'table' is both in");
}

/* A file may hold a tied weight under both names, if they are equal; what has no use is named. */
static void test_weights_tied(void **state) {
    (void)state;
    assert_int_equal(system("rm -rf folder && mkdir folder"), 0);
    write_weights("folder/1.safetensors", "table", "bias");
    assert_int_equal(loads("folder", NULL), 0);
    char *text = read_text("stderr", NULL);
    assert_null(strstr(text, "no use"));
    free(text);
    write_weights("folder/2.safetensors", "model.head", "rotary\\u001b[2J");
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "'model.head' is equal to 'table', as the program ties them");
    assert_in_file("stderr", "warning: weights: the program has no use for 'rotary\\x1b[2J'\n");
    FILE *file = fopen("folder/2.safetensors", "r+b");
    assert_int_equal(fseek(file, -1000, SEEK_END), 0); /* within the last row of the head */
    assert_int_equal(fputc(1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "'model.head' in 'folder/2.safetensors' differs from 'table'");
    write_weights("folder/2.safetensors", "x", "head");
    assert_int_equal(loads("folder", NULL), 6); /* another shape */
    for (int i = 2; i < 5; i++) {
        char *path = rt_text("folder/%d.safetensors", i), *name = rt_text("%d.weight", i),
             *other = rt_text("%d.bias", i);
        write_weights(path, name, other);
        free(path), free(name), free(other);
    }
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "no use for '2.bias', '2.weight', '3.bias', '3.weight' and 2 more");
    assert_int_equal(system("rm -rf 'f[1]*\\' && cp -r folder 'f[1]*\\'"), 0);
    assert_int_equal(loads("f[1]*\\", NULL), 0);
    assert_int_equal(mkfifo("folder/5.safetensors", 0600), 0);
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "'folder/5.safetensors': it is a FIFO, not a regular file");
}

static void shell(const char *command) {
    assert_int_equal(system(command), 0);
}

/* The nearest name is asked after where one is near, whatever prefix it has. */
static void test_did_you_mean(void **state) {
    (void)state;
    write_weights("w.safetensors", "table", "transformer.bais");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "lacks 1 of the model's tensors; the first is 'bias'\n");
    write_weights("w.safetensors", "transformer.tables", "bias");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "the first is 'table'; did you mean 'transformer.tables'?");
    write_weights("w.safetensors", "table", "h.0.ln_1.bias");
    assert_int_equal(loads("w.safetensors", NULL), 6);
    assert_in_file("stderr", "the first is 'bias'\n");
}

/* ---- an index ---- */

#define INDEX    "folder/model.safetensors.index.json"
#define ONE_TWO  "\"table\":\"1.safetensors\",\"bias\":\"2.safetensors\""
#define MAP(map) "{\"weight_map\":{" map "}}"

static void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

/* table in 1.safetensors, bias in 2.safetensors, and strays in both. */
static void make_shards(void) {
    shell("rm -rf folder other && mkdir folder other");
    write_weights("folder/1.safetensors", "table", "stray");
    write_weights("folder/2.safetensors", "table", "bias");
}

static void test_index(void **state) {
    (void)state;
    make_shards();
    assert_int_equal(loads("folder", NULL), 6); /* without an index nothing tells which of the two it is */
    assert_in_file("stderr", "'table' is both in");
    write_text(INDEX, " {\"metadata\": {\"total_size\": 1.5e3, \"x\": [true, null, {\"y\": -0}]},\n"
                      "  \"weight_map\": {" ONE_TWO "}, \"more\": \"\\u00e9\" }\n");
    write_text("folder/3.safetensors", "no shard of the index: not read");
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "2 of the 4 tensors");
    assert_in_file("stderr", "no use for 'stray', 'table'\n");
    write_weights("folder/model.safetensors", "table", "bias"); /* alone, where it is there */
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "2 of the 2 tensors");
}

static void test_bad_index(void **state) {
    (void)state;
    static const struct {
        const char *index, *says;
    } bad[] = {
        {"", "index byte 0: an object should stand here"},
        {"{}", "names no tensor"},
        {MAP(""), "names no tensor"},
        {MAP(ONE_TWO) "x", "text after the index's end"},
        {"{\"weight_map\":[]}", "an object should stand here"},
        {"{\"weight_map\":{" ONE_TWO "},\"weight_map\":{}}", "a second weight_map"},
        {"{\"weight_map\":{\"table\":1}}", "a string should stand here"},
        {"{\"metadata\":truth,\"weight_map\":{" ONE_TWO "}}", "a value should stand here"},
        {"{\"metadata\":01x", "should end here"},
        {"{\"metadata\":-", "a value should stand here"},
        {"{\"metadata\":{\"a\":1", "should end here"},
        {MAP(ONE_TWO ",\"bias\":\"1.safetensors\""), "it has two entries for 'bias'"},
        {MAP(ONE_TWO ",\"head\":\"2.safetensors\""),
         "says that 'head' is in '2.safetensors', which has no such tensor"},
        {MAP(ONE_TWO ",\"head\":\"4.safetensors\""), "names the shard '4.safetensors': No such file"},
        {MAP(ONE_TWO ",\"head\":\"../other/1.safetensors\""), "no name of a shard beside it: '../other/1.s"},
        {MAP(ONE_TWO ",\"head\":\"/1.safetensors\""), "no name of a shard beside it"},
        {MAP(ONE_TWO ",\"head\":\"..\""), "no name of a shard beside it: '..'"},
        {MAP(ONE_TWO ",\"head\":\".safetensors\""), "no name of a shard beside it"},
        {MAP(ONE_TWO ",\"head\":\"out.safetensors\""), "is a link out of its folder"},
        {MAP(ONE_TWO ",\"head\":\"pipe.safetensors\""), "it is a FIFO"},
        {MAP(ONE_TWO ",\"head\":\"cut.safetensors\""), "is the file cut short?"},
        {MAP("\"table\":\"1.safetensors\""), "the first is 'bias'"},
    };
    make_shards();
    write_weights("other/1.safetensors", "head", "x");
    shell("ln -s ../other/1.safetensors folder/out.safetensors && mkfifo folder/pipe.safetensors && "
          "head -c 5000 folder/1.safetensors >folder/cut.safetensors && rm folder/2.safetensors");
    write_weights("folder/2.safetensors", "x", "bias");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(INDEX, bad[i].index);
        if (strstr(bad[i].says, "first is 'bias'")) write_weights("folder/1.safetensors", "table", "y");
        assert_int_equal(loads("folder", NULL), 6);
        assert_in_file("stderr", bad[i].says);
    }
    char deep[400] = "{\"metadata\":";
    memset(deep + strlen(deep), '[', 300);
    write_text(INDEX, deep);
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "nested too deeply");
    shell("rm " INDEX " && mkdir " INDEX);
    assert_int_equal(loads("folder", NULL), 6);
    assert_in_file("stderr", "it is a folder");
}

/* The hub's cache keeps the files of a snapshot as links to blobs; other links stay inside. */
static void test_links(void **state) {
    (void)state;
    shell("rm -rf hub && mkdir -p hub/blobs hub/snapshots/12ab/in");
    write_weights("hub/blobs/aa", "table", "x");
    write_weights("hub/snapshots/12ab/in/bb", "y", "bias");
    write_text("hub/blobs/cc", MAP(ONE_TWO));
    shell("cd hub/snapshots/12ab && ln -s ../../blobs/aa 1.safetensors && ln -s in/bb 2.safetensors && "
          "ln -s ../../blobs/cc model.safetensors.index.json");
    assert_int_equal(loads("hub/snapshots/12ab", NULL), 0);
    shell("cp -r hub/blobs hub/more && cd hub/snapshots/12ab && ln -sf ../../more/aa 1.safetensors");
    assert_int_equal(loads("hub/snapshots/12ab", NULL), 6);
    assert_in_file("stderr", "'hub/snapshots/12ab/1.safetensors' is a link out of its folder");
    shell("mv hub/snapshots hub/shots && cd hub/shots/12ab && ln -sf ../../blobs/aa 1.safetensors");
    assert_int_equal(loads("hub/shots/12ab", NULL), 6);
}

static void said_checksum(char sum[17]) {
    char *text = read_text("stderr", NULL), *at = strstr(text, "checksum ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "checksum %16[0-9a-f]", sum), 1);
    assert_int_equal(strlen(sum), 16);
    free(text);
}

/* What is loaded has one checksum, in whatever files it lies; another byte, name or shape has another. */
static void test_checksum(void **state) {
    (void)state;
    char whole[17], other[17];
    write_weights("w.safetensors", "table", "bias");
    assert_int_equal(loads("w.safetensors", NULL), 0);
    said_checksum(whole);
    make_shards();
    write_text(INDEX, MAP(ONE_TWO));
    assert_int_equal(loads("folder", NULL), 0);
    said_checksum(other);
    assert_string_equal(whole, other);
    write_text(INDEX, MAP("\"table\":\"2.safetensors\",\"bias\":\"2.safetensors\""));
    assert_int_equal(loads("folder", NULL), 0);
    said_checksum(other);
    assert_string_equal(whole, other);
    FILE *file = fopen("folder/2.safetensors", "r+b");
    assert_int_equal(fseek(file, -1, SEEK_END), 0); /* of the bias */
    assert_int_equal(fputc(1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(loads("folder", NULL), 0);
    said_checksum(other);
    assert_string_not_equal(whole, other);
    write_weights("w.safetensors", "model.table", "bias");
    assert_int_equal(loads("w.safetensors", NULL), 0);
    said_checksum(other);
    assert_string_not_equal(whole, other);
}

/* Changed bytes of an index: never a crash or a hang, and never other weights. */
static void test_index_fuzz(void **state) {
    (void)state;
    static const char sound[] = "{\"metadata\":{\"total_size\":[1,2e3]},\"weight_map\":{" ONE_TWO "}}";
    static const char alphabet[] = "{}[]\",:\\u01289-.abdt/ \n\0\xff";
    make_shards();
    uint64_t random = 5;
    int accepted = 0;
    for (int round = 0; round < 300; round++) {
        char text[sizeof sound];
        memcpy(text, sound, sizeof sound);
        for (int change = 0; change < 1 + round % 2; change++) {
            random = k_mix(random + 0x9e3779b97f4a7c15u);
            text[(random >> 8) % (sizeof sound - 1)] = alphabet[(random >> 40) % sizeof alphabet];
        }
        write_bytes(INDEX, text, sizeof text - 1 - (round % 7 ? 0 : random % 40));
        int code = loads("folder", NULL);
        assert_true(code == 0 || code == 6);
        accepted += code == 0;
    }
    assert_true(accepted > 10 && accepted < 290);
}

/* ---- matrices that lie as [in, out] ---- */

/* One matrix [rows, columns] of f32 in a file as [columns, rows], in each dtype, against its elements: every
 * element is its number in ours, which f16 and bf16 hold where it is small. */
static void check_transposed(int64_t rows, int64_t columns, const char *dtype, int to) {
    int64_t count = rows * columns;
    int size = !strcmp(dtype, "F32") ? 4 : 2;
    unsigned char *data = rt_allocate((size_t)(count * size));
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++) {
            float value = (float)((r * columns + c) % 251);
            uint16_t half = size == 4 ? 0 : rt_to_bf16(value);
            if (!strcmp(dtype, "F16") && value > 0) {
                int exponent;
                float fraction = frexpf(value, &exponent); /* [0.5, 1) */
                half = (uint16_t)((exponent + 14) << 10 | (int)((2 * fraction - 1) * 1024));
            } else if (!strcmp(dtype, "F16")) {
                half = 0;
            }
            memcpy(data + (c * rows + r) * size, size == 4 ? (void *)&value : (void *)&half, (size_t)size);
        }
    char *header = rt_text("{\"w\":{\"dtype\":\"%s\",\"shape\":[%lld,%lld],\"data_offsets\":[0,%lld]}}",
                           dtype, (long long)columns, (long long)rows, (long long)(count * size));
    write_safetensors("t.safetensors", header, data, (size_t)(count * size));
    static const int transposed[] = {0};
    RtTensor tensor = {.name = "w", .kind = RT_PARAM, .dtype = to, .rank = 2, .dim = {rows, columns}};
    RtProgram program = {.arena_bytes = (count * 4 + 511) / 256 * 256,
                         .tensor = &tensor,
                         .tensors = 1,
                         .transposed = transposed,
                         .transposed_count = 1};
    RtRun run = {.arena = rt_device_alloc(program.arena_bytes)};
    memset(run.arena, 0xff, (size_t)program.arena_bytes);
    void *chunk = rt_allocate(RT_CHUNK_BYTES);
    rt_weights_load(&run, &program, "t.safetensors", 0, chunk, 1);
    for (int64_t i = 0; i < count; i++) {
        float value = to == K_BF16 ? rt_from_bf16(((uint16_t *)run.arena)[i]) : ((float *)run.arena)[i];
        if (value != (float)(i % 251)) fail_msg("%s: element %lld is %g", dtype, (long long)i, (double)value);
    }
    for (int64_t i = count * rt_dtype_bytes(to); i < program.arena_bytes; i++)
        assert_int_equal((unsigned char)run.arena[i], 0xff);
    free(chunk), free(header), free(data);
    rt_device_close(&run);
}

static void test_transposed(void **state) {
    (void)state;
    static const char *const dtype[] = {"F32", "F16", "BF16"};
    for (int d = 0; d < 3; d++) {
        check_transposed(3, 5, dtype[d], K_F32);
        check_transposed(7, 7, dtype[d], K_BF16);      /* whose shape tells nothing */
        check_transposed(1500, 700, dtype[d], K_F32);  /* two buffers' full */
        check_transposed(2, 600000, dtype[d], K_BF16); /* rows longer than the buffer */
        check_transposed(600000, 2, dtype[d], K_F32);
        check_transposed(1, 1, dtype[d], K_F32);
    }
}

static void test_transposed_shapes(void **state) {
    (void)state;
    static const char header[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
    static const float data[6];
    static const int transposed[] = {0};
    RtTensor tensor = {.name = "w", .kind = RT_PARAM, .dtype = K_F32, .rank = 2, .dim = {2, 3}};
    RtProgram program = {.arena_bytes = 256, .tensor = &tensor, .tensors = 1, .transposed = transposed};
    write_safetensors("t.safetensors", header, data, sizeof data);
    for (int turned = 0; turned < 2; turned++)
        for (int swap = 0; swap < 2; swap++) {
            program.transposed_count = turned;
            tensor.dim[0] = swap ? 3 : 2, tensor.dim[1] = swap ? 2 : 3;
            fflush(NULL);
            pid_t child = fork();
            if (child == 0) {
                if (!freopen("stderr", "w", stderr)) _exit(99);
                RtRun run = {.arena = rt_device_alloc(program.arena_bytes)};
                rt_weights_load(&run, &program, "t.safetensors", 0, rt_allocate(RT_CHUNK_BYTES), 1);
                _exit(0);
            }
            assert_int_equal(await(child), turned == swap ? 0 : 6);
            if (turned < swap) assert_in_file("stderr", "takes `transposed \"PATTERN\"`");
            if (turned > swap) assert_in_file("stderr", "program, which reads it transposed, has [3, 2]");
        }
}

/* What older releases saved beside the weights is no news: masks and frequencies, by name and rank. */
static void test_constants(void **state) {
    (void)state;
    static const char header[] =
        "{\"h.0.attn.bias\":{\"dtype\":\"F32\",\"shape\":[1,1,2,2],\"data_offsets\":[0,16]},"
        "\"h.0.attn.masked_bias\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
        "\"h.1.attn.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}";
    static const float data[6];
    shell("rm -rf folder && mkdir folder");
    write_weights("folder/1.safetensors", "table", "bias");
    write_safetensors("folder/2.safetensors", header, data, sizeof data);
    assert_int_equal(loads("folder", NULL), 0);
    assert_in_file("stderr", "no use for 'h.1.attn.bias'\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_weights_folder),
        cmocka_unit_test(test_weights_tied),
        cmocka_unit_test(test_did_you_mean),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_bad_index),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_index_fuzz),
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_transposed_shapes),
        cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests_name("weights", tests, enter_folder, leave_folder);
}
