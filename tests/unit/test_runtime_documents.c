/* Documents in the trainer: the file and everything that can be wrong with it, rows that hold each document
 * once, packed by first fit in the epoch's order; runs over them that are stopped and resumed, steps without
 * a target that change nothing, epochs. */
#include "tests/support/documents.h"
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"

enum { T = 16, DOCUMENTS = 60 };

/* Document d begins with token d, and no other token is below DOCUMENTS. */
static uint32_t token_of(int document, int place) {
    return place ? 64 + (uint32_t)(document * 31 + place * 7) % 190 : (uint32_t)document;
}
static int mask_of(int document, int place) {
    return (document * 13 + place * 5) % 3 != 0;
}
static int mask_none(int document, int place) {
    (void)document, (void)place;
    return 0;
}

/* Lengths from 0 to 26: empty ones, single tokens, some that are longer than a row. */
static void lengths(int *length) {
    for (int d = 0; d < DOCUMENTS; d++) length[d] = (d * d * 7 + d) % 27;
}
static int usable(const int *length) {
    int count = 0;
    for (int d = 0; d < DOCUMENTS; d++) count += length[d] > 1;
    return count;
}
static int places_of(int length) {
    return length > T ? T : length - 1;
}

static DocumentsFile write_sample(const char *path, uint32_t token_bytes) {
    int length[DOCUMENTS];
    lengths(length);
    DocumentsFile file = documents_make(length, DOCUMENTS, token_bytes, token_of, mask_of);
    write_bytes(path, file.at, file.bytes);
    return file;
}

typedef struct Row {
    int32_t tokens[T], targets[T], first_key[T], last_query[T], positions[T];
    float mask[T];
} Row;
static RtRows row_rows(Row *row) {
    return (RtRows){row->tokens, row->targets, row->mask, row->first_key, row->last_query, row->positions};
}

/* What a row holds, place by place; the documents in it, in order. */
static int check_row(const Row *row, const int *length, int *document) {
    int at = 0, count = 0;
    while (at < T && row->mask[at] >= 0 &&
           !(row->first_key[at] == row->last_query[at] && row->tokens[at] == 0 && row->targets[at] == 0)) {
        int d = row->tokens[at], places = places_of(length[d]);
        assert_true(d < DOCUMENTS && length[d] > 1 && at + places <= T);
        for (int i = 0; i < places; i++) {
            assert_int_equal(row->tokens[at + i], token_of(d, i));
            assert_int_equal(row->targets[at + i], token_of(d, i + 1));
            assert_true(row->mask[at + i] == (float)mask_of(d, i + 1));
            assert_int_equal(row->first_key[at + i], at);
            assert_int_equal(row->last_query[at + i], at + places - 1);
            assert_int_equal(row->positions[at + i], i);
        }
        document[count++] = d;
        at += places;
    }
    for (; at < T; at++) {
        assert_true(row->mask[at] == 0 && row->positions[at] == 0);
        assert_int_equal(row->first_key[at], at);
        assert_int_equal(row->last_query[at], at);
    }
    return count;
}

/* First fit, naively, of documents in the order of an epoch: the rows must be these. */
static void check_epoch(RtData *data, const int *length, const int *split, int64_t epoch, int64_t first_row,
                        int64_t rows) {
    int left[DOCUMENTS], member[DOCUMENTS][T], members[DOCUMENTS] = {0}, used = 0;
    for (int64_t i = 0; i < data->count; i++) {
        int d = split[rt_data_shuffle(5, epoch * data->count + i, data->count)], r = 0;
        while (r < used && left[r] < places_of(length[d])) r++;
        if (r == used) left[used++] = T;
        left[r] -= places_of(length[d]);
        member[r][members[r]++] = d;
    }
    assert_int_equal(rows, used);
    for (int r = 0; r < used; r++) {
        Row row;
        int document[T];
        RtRows to = row_rows(&row);
        int64_t targets = rt_documents_targets(data, 5, first_row + r);
        rt_documents_row(data, 5, first_row + r, &to);
        assert_int_equal(check_row(&row, length, document), members[r]);
        assert_memory_equal(document, member[r], (size_t)members[r] * sizeof(int));
        for (int i = 0; i < T; i++) targets -= row.mask[i] > 0;
        assert_int_equal(targets, 0);
    }
}

static void test_rows(void **state) {
    (void)state;
    int length[DOCUMENTS], split[DOCUMENTS], count = 0;
    lengths(length);
    for (int d = 0; d < DOCUMENTS; d++)
        if (length[d] > 1) split[count++] = d;
    for (uint32_t token_bytes = 2; token_bytes <= 4; token_bytes += 2) {
        DocumentsFile file = write_sample("sample.docs", token_bytes);
        RtData data, validate;
        rt_data_open(&data, "sample.docs", RT_DOCUMENTS, 2, T, 256);
        assert_int_equal(data.count, usable(length));
        int cut = 0, out = 0;
        for (int d = 0; d < DOCUMENTS; d++)
            cut += length[d] > T + 1, out += length[d] > T + 1 ? length[d] - T - 1 : 0;
        assert_int_equal(data.cut_documents, cut);
        assert_int_equal(data.cut_tokens, out);
        assert_int_equal(data.short_documents, DOCUMENTS - count);
        int64_t before = 0;
        for (int64_t epoch = 0; epoch < 5; epoch++) {
            int64_t until = rt_documents_rows(&data, 5, epoch + 1);
            check_epoch(&data, length, split, epoch, before, until - before);
            before = until;
        }
        check_epoch(&data, length, split, 0, 0, rt_documents_rows(&data, 5, 1)); /* back again */
        rt_data_split(&data, &validate, 0.25, 2);
        assert_int_equal(data.count + validate.count, count);
        check_epoch(&data, length, split, 0, 0, rt_documents_rows(&data, 5, 1));
        int seen = 0, document[T];
        for (int64_t r = 0; r < rt_documents_rows_in_order(&validate); r++) {
            Row row;
            RtRows to = row_rows(&row);
            rt_documents_row_in_order(&validate, r, &to);
            seen += check_row(&row, length, document);
            if (r == 0) assert_int_equal(document[0], split[data.count]);
        }
        assert_int_equal(seen, validate.count);
        rt_data_close(&validate);
        rt_data_close(&data);
        free(file.at);
    }
}

/* More rows than the tree of rows begins with, and shards. */
static void test_many(void **state) {
    (void)state;
    enum { MANY = 3000 };
    static int length[MANY];
    for (int d = 0; d < MANY; d++) length[d] = 2 + (d * 17 + d / 7) % 15;
    for (int shard = 0; shard < 2; shard++) {
        DocumentsFile file = documents_make(length, MANY, 2, token_of, mask_of);
        write_bytes(shard ? "many_1.docs" : "many_0.docs", file.at, file.bytes);
        free(file.at);
    }
    RtData data;
    rt_data_open(&data, "many_?.docs", RT_DOCUMENTS, 2, T, 1 << 20);
    assert_int_equal(data.count, 2 * MANY);
    int64_t rows = rt_documents_rows(&data, 1, 1), places = 0, targets = 0, held = 0, counted = 0;
    for (int d = 0; d < MANY; d++) {
        places += 2 * (length[d] - 1);
        for (int i = 1; i < length[d]; i++) targets += 2 * mask_of(d, i);
    }
    assert_true(rows * T >= places && (double)places > 0.97 * (double)(rows * T));
    for (int64_t r = 0; r < rows; r++) {
        Row row;
        RtRows to = row_rows(&row);
        rt_documents_row(&data, 1, r, &to);
        counted += rt_documents_targets(&data, 1, r);
        for (int i = 0; i < T; i++) held += row.targets[i] != 0;
    }
    assert_int_equal(held, places);
    assert_int_equal(counted, targets);
    rt_data_close(&data);
}

/* ---- files that are wrong ---- */

static void spoilt(const DocumentsFile *good, size_t at, uint64_t value, size_t bytes, const char *says) {
    unsigned char *file = malloc(good->bytes);
    memcpy(file, good->at, good->bytes);
    memcpy(file + at, &value, bytes);
    if (at != 32) documents_seal(file, good->bytes);
    write_bytes("spoilt.docs", file, good->bytes);
    assert_int_equal(opens("spoilt.docs", RT_DOCUMENTS, T, 256), 6);
    assert_in_file("stderr", says);
    free(file);
}

static void test_wrong_files(void **state) {
    (void)state;
    DocumentsFile good = write_sample("sample.docs", 2);
    assert_int_equal(opens("sample.docs", RT_DOCUMENTS, T, 256), 0);
    assert_in_file("stderr", "documents are longer than 17 tokens and cut there");
    assert_in_file("stderr", "have fewer than two tokens and are left out");
    spoilt(&good, 0, 'x', 1, "it holds no documents");
    spoilt(&good, 8, 2, 4, "documents of version 2; this program reads version 1");
    spoilt(&good, 12, 3, 4, "tokens of 3 bytes");
    spoilt(&good, 12, 4, 4, "is it cut short?");
    spoilt(&good, 16, good.documents + 1, 8, "is it cut short?");
    spoilt(&good, 16, UINT64_MAX / 8 + 1, 8, "more than 2147483647 documents");
    spoilt(&good, 24, good.tokens - 1, 8, "is it cut short?");
    spoilt(&good, 24, UINT64_MAX / 3 + 1, 8, "is it cut short?");
    spoilt(&good, 32, 0, 4, "its checksum is wrong");
    spoilt(&good, 36, 1, 1, "bytes 36 to 39 must be zero");
    spoilt(&good, 64, 1, 8, "document 0 begins at token 1");
    spoilt(&good, 64 + 8 * 9, 0, 8, "document 9 begins at token 0");
    spoilt(&good, 64 + 8 * 9, UINT64_MAX, 8, "document 9 begins at token 18446744073709551615");
    spoilt(&good, documents_token_at(&good, 77), 256, 2,
           "token 256 at position 77 is outside the vocabulary of 256");
    spoilt(&good, documents_mask_at(&good, 5), 2, 1, "the mask of token 5 is 2, not 0 or 1");
    assert_int_equal(opens("sample.docs", RT_AUTO, T, 256), 6);
    assert_in_file("stderr", "'sample.docs' holds documents, and this program was not made for them");
    assert_int_equal(opens("sample.docs", RT_BYTES, T, 256), 6);
    write_bytes("text.txt", "rematdoc", 8);
    assert_int_equal(opens("text.txt", RT_DOCUMENTS, T, 256), 6);
    assert_in_file("stderr", "too short for the header");
    int length[2] = {1, 0}, long_enough[1] = {4};
    DocumentsFile none = documents_make(length, 2, 2, token_of, mask_of);
    write_bytes("none.docs", none.at, none.bytes);
    assert_int_equal(opens("none.docs", RT_DOCUMENTS, T, 256), 6);
    assert_in_file("stderr", "has no document of two tokens or more");
    DocumentsFile masked = documents_make(long_enough, 1, 2, token_of, mask_none);
    write_bytes("masked.docs", masked.at, masked.bytes);
    assert_int_equal(opens("masked.docs", RT_DOCUMENTS, T, 256), 6);
    assert_in_file("stderr", "nothing in 'masked.docs' is to be learnt");
    free(none.at);
    free(masked.at);
    free(good.at);
}

/* Every file that is cut short, and every one with another bit, is refused. */
static void test_damaged_files(void **state) {
    (void)state;
    DocumentsFile good = write_sample("sample.docs", 4);
    uint64_t random = 3;
    for (int round = 0; round < 150; round++) {
        unsigned char *file = malloc(good.bytes);
        memcpy(file, good.at, good.bytes);
        random = k_mix(random + 0x9e3779b97f4a7c15u);
        size_t at = (size_t)(random % good.bytes), bytes = round % 3 ? good.bytes : at;
        if (round % 3) file[at] ^= (unsigned char)(1 << (random >> 40) % 8);
        write_bytes("damaged.docs", file, bytes);
        assert_int_equal(opens("damaged.docs", RT_DOCUMENTS, T, INT64_C(1) << 32), 6);
        free(file);
    }
    free(good.at);
}

/* ---- runs ---- */

static RtProgram documents_program(void) {
    RtProgram program = model_program();
    program.train_path = "sample.docs";
    program.format = RT_DOCUMENTS;
    program.steps = 0;
    program.epochs = 3;
    program.warmup_steps = 1;
    program.validate_every = 0;
    program.save_every = 1;
    return program;
}

static void clear_run(void) {
    model_delay_us = 0;
    model_rows_path = NULL;
    assert_int_equal(system("rm -rf out *.jsonl rows whole"), 0);
}

/* Stopped after every step, and in the middle of an epoch: the same rows, bits and log. */
static void test_epochs_and_resume(void **state) {
    (void)state;
    clear_run();
    int length[DOCUMENTS];
    lengths(length);
    free(write_sample("sample.docs", 2).at);
    RtProgram program = documents_program();
    model_rows_path = "rows";
    assert_int_equal(train(&program, "--save-dir whole --log whole.jsonl --sample 0"), 0);
    RtData data;
    rt_data_open(&data, "sample.docs", RT_DOCUMENTS, 1, T, 256);
    const int64_t rows = rt_documents_rows(&data, program.seed, 3), each = MODEL_B * MODEL_ACCUMULATE;
    const int64_t steps = (rows + each - 1) / each;
    rt_data_close(&data);
    assert_true(rows % each != 0 && steps > 4);
    char *says = rt_text("3 epochs: %lld rows of 16 tokens, %lld steps", (long long)rows, (long long)steps);
    assert_in_file("stderr", says);
    size_t handed;
    free(read_text("rows", &handed));
    assert_int_equal(handed, steps * each);
    model_rows_path = NULL;
    for (int64_t step = 1; step <= steps; step++) {
        char *words = rt_text("--steps %lld --log log.jsonl --sample 0 --quiet", (long long)step);
        assert_int_equal(train(&program, words), 0);
        free(words);
    }
    char *last = rt_text("step-%06lld.safetensors", (long long)steps), *left = rt_text("out/run/%s", last),
         *right = rt_text("whole/%s", last);
    assert_same_files(left, right);
    for (int step = 0; step < (int)steps; step++) {
        static const char *const keys[] = {
            "\"loss\":", "\"loss_tokens\":", "\"grad_norm\":", "\"learning_rate\":"};
        for (int k = 0; k < 4; k++)
            assert_true(logged("log.jsonl", keys[k], step) == logged("whole.jsonl", keys[k], step));
    }
    free(last), free(left), free(right), free(says);
    assert_int_equal(train(&program, "--steps 2 --fresh --sample 0"), 0);
    program.warmup_steps = 1000;
    assert_int_equal(train(&program, "--fresh --sample 0"), 2);
    assert_in_file("stderr", "warmup: 1000 steps are more than");
}

static int mask_late(int document, int place) {
    (void)place;
    return document == 5;
}

/* A step without a target is logged and leaves every byte of weights and states as it was. */
static void test_nothing_to_learn(void **state) {
    (void)state;
    clear_run();
    int length[6];
    for (int d = 0; d < 6; d++) length[d] = T + 1; /* a row each */
    DocumentsFile file = documents_make(length, 6, 2, token_of, mask_late);
    write_bytes("sample.docs", file.at, file.bytes);
    free(file.at);
    RtProgram program = documents_program();
    program.batch = 1; /* the arena has room for more */
    program.accumulate = 1;
    program.epochs = 1;
    program.warmup_steps = 0;
    program.save_keep = 10;
    model_rows_path = NULL;
    assert_int_equal(train(&program, "--log log.jsonl --sample 0"), 0);
    char *log = read_text("log.jsonl", NULL);
    static const char said[] = "\"loss\":null,\"loss_tokens\":0,\"grad_norm\":null,";
    int noops = 0, steps = 0, learnt = 0;
    char *before = NULL;
    size_t size = 0;
    for (char *line = log; (line = strstr(line, "{\"step\":")); line++) {
        if (!strstr(line, "\"loss_tokens\"")) break;
        steps++;
        int nothing = !strncmp(strstr(line, "\"loss\":"), said, strlen(said));
        char *path = rt_text("out/run/step-%06d.safetensors", steps), *now = read_text(path, &size);
        size_t header = (size_t) * (const uint64_t *)(const void *)now + 8;
        if (before && nothing) assert_memory_equal(before + header, now + header, size - header);
        if (before && !nothing) assert_memory_not_equal(before + header, now + header, size - header);
        noops += nothing, learnt += !nothing;
        free(before);
        before = now;
        free(path);
    }
    assert_int_equal(steps, 6);
    assert_true(noops == 5 && learnt == 1);
    free(before);
    free(log);
}

/* Validation is the mean over the targets that count of documents held back. */
static void test_validation(void **state) {
    (void)state;
    clear_run();
    free(write_sample("sample.docs", 2).at);
    RtProgram program = documents_program();
    program.validate_every = 2;
    program.validate_fraction = 0.3;
    assert_int_equal(train(&program, "--steps 2 --log log.jsonl --sample 0"), 0);
    char *log = read_text("log.jsonl", NULL), *at = strstr(log, "\"validation_loss\":");
    assert_non_null(at);
    double loss = strtod(at + strlen("\"validation_loss\":"), NULL);
    assert_true(loss > 4 && loss < 7); /* ln 256 = 5.5 */
    free(log);
    /* what is left out of a file of its own is said of that, too, and of what was split off once */
    char *said = read_text("stderr", NULL);
    char *first = strstr(said, "fewer than two tokens");
    assert_true(first && !strstr(first + 1, "fewer than two tokens"));
    free(said);
    free(write_sample("held.docs", 2).at);
    program.validate_path = "held.docs";
    assert_int_equal(train(&program, "--steps 2 --fresh --sample 0"), 0);
    assert_in_file("stderr", "held.docs: ");
    said = read_text("stderr", NULL);
    first = strstr(said, "sample.docs: ");
    assert_true(first && strstr(said, "fewer than two tokens") != NULL);
    assert_non_null(strstr(strstr(said, "held.docs: "), "documents are longer than 17 tokens and cut there"));
    free(said);
}

/* Epochs of plain tokens: as many steps as their windows fill. */
static void test_epochs_of_tokens(void **state) {
    (void)state;
    clear_run();
    unsigned char text[50 * T + 1];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)(i % 251);
    write_bytes("text.txt", text, sizeof text);
    RtProgram program = documents_program();
    program.train_path = "text.txt";
    program.format = RT_BYTES;
    assert_int_equal(train(&program, "--log log.jsonl --sample 0"), 0);
    assert_in_file("stderr", "3 epochs: 150 rows of 16 tokens, 19 steps");
    assert_in_file("log.jsonl", "{\"step\":19,\"loss\":");
    char *log = read_text("log.jsonl", NULL);
    assert_null(strstr(log, "\"step\":20,"));
    assert_null(strstr(log, "loss_tokens"));
    free(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_epochs_and_resume),
        cmocka_unit_test(test_nothing_to_learn),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_epochs_of_tokens),
    };
    return cmocka_run_group_tests_name("runtime documents", tests, enter_folder, leave_folder);
}
