/* What is made of text, in the trainer: vocabularies, prompts and the tokens that end a sample, rows that
 * hold one document each, windows of a text, fingerprints; and the ways to train that come with it: warmup,
 * stable, decay, and the guard against spikes. */
#include "runtime/safetensors.h"
#include "tests/support/documents.h"
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"

enum { T = MODEL_T, DOCUMENTS = 12, MOST_LENGTH = 20 };

static uint32_t token_of(int document, int place) {
    return 'a' + (uint32_t)(document * 5 + place) % 26;
}
/* The first four tokens of a document are its prompt. */
static int mask_of(int document, int place) {
    (void)document;
    return place > 3;
}

/* Words of a vocabulary: token 'a' is "<a>", and 'z' ends a sample. */
static size_t put_vocabulary(unsigned char *to) {
    const uint32_t tokens = 128, stops = 1, stop = 'z';
    unsigned char *at = to;
    uint32_t end = 0;
    memcpy(at, &tokens, 4), memcpy(at + 4, &stops, 4), memcpy(at + 8, &stop, 4), at += 12;
    for (uint32_t i = 0; i < tokens; i++, at += 4) {
        end += i > ' ' ? 3 : 0;
        memcpy(at, &end, 4);
    }
    for (uint32_t i = ' ' + 1; i < tokens; i++) *at++ = '<', *at++ = (unsigned char)i, *at++ = '>';
    return (size_t)(at - to);
}

enum { VOCABULARY_ROOM = 2048 };

/* A file with a vocabulary and fingerprints. */
static DocumentsFile write_prepared(const char *path, uint64_t encoding, uint64_t text) {
    int length[DOCUMENTS];
    for (int d = 0; d < DOCUMENTS; d++) length[d] = 6 + d % (MOST_LENGTH - 5);
    DocumentsFile file = documents_make(length, DOCUMENTS, 2, token_of, mask_of);
    file.at = realloc(file.at, file.bytes + VOCABULARY_ROOM);
    const uint64_t bytes = put_vocabulary(file.at + file.bytes);
    memcpy(file.at + 40, &encoding, 8);
    memcpy(file.at + 48, &text, 8);
    memcpy(file.at + 56, &bytes, 8);
    file.bytes += bytes;
    documents_seal(file.at, file.bytes);
    write_bytes(path, file.at, file.bytes);
    return file;
}

static RtProgram prepared_program(void) {
    RtProgram program = model_program();
    program.train_path = "chat.docs";
    program.format = RT_DOCUMENTS;
    program.prepared = 1;
    program.encoding = 77;
    program.train_text = 99;
    program.validate_every = 0;
    program.steps = 2;
    return program;
}

static void clear_run(void) {
    model_nan_step = model_spike_step = 0;
    assert_int_equal(system("rm -rf out *.jsonl whole part"), 0);
}

static void test_fingerprints(void **state) {
    (void)state;
    clear_run();
    RtProgram program = prepared_program();
    free(write_prepared("chat.docs", 77, 99).at);
    assert_int_equal(train(&program, "--dry-run"), 0);
    assert_int_equal(train(&program, "--fresh"), 0);
    free(write_prepared("other.docs", 77, 98).at);
    assert_int_equal(train(&program, "--fresh --data other.docs"), 0); /* another text, by name */
    assert_int_equal(train(&program, "--fresh --data *.docs"), 0);
    free(write_prepared("chat.docs", 77, 98).at);
    assert_int_equal(train(&program, "--fresh"), 6);
    assert_in_file("stderr", "is not of the text that this program was made with");
    free(write_prepared("chat.docs", 76, 99).at);
    assert_int_equal(train(&program, "--fresh"), 6);
    assert_in_file("stderr", "was made with another tokenizer, template or options (000000000000004c)");
    assert_int_equal(train(&program, "--fresh --data *.docs"), 6); /* two kinds in one pattern */
    assert_in_file("stderr",
                   "'other.docs' was made with another tokenizer, template or options than 'chat.docs'");
    free(write_prepared("chat.docs", 0, 0).at);
    assert_int_equal(train(&program, "--fresh"), 6);
    remove("chat.docs");
    assert_int_equal(train(&program, "--fresh"), 6);
    assert_in_file("stderr", "'chat.docs' is not there: `rematc data ");
    remove("other.docs");
}

/* A row for each document, of both kinds of walks. */
static void test_rows_apart(void **state) {
    (void)state;
    RtData data;
    int32_t tokens[T], targets[T], first[T], last[T], position[T];
    float mask[T];
    const RtRows row = {tokens, targets, mask, first, last, position};
    free(write_prepared("chat.docs", 0, 0).at);
    rt_data_open(&data, "chat.docs", RT_DOCUMENTS, 1, T, 256);
    const int64_t packed = rt_documents_rows(&data, 5, 1);
    rt_data_close(&data);
    rt_data_open(&data, "chat.docs", RT_DOCUMENTS, 1, T, 256);
    data.rows_apart = 1;
    assert_int_equal(rt_documents_rows(&data, 5, 3), 3 * DOCUMENTS);
    assert_true(packed < DOCUMENTS);
    assert_int_equal(rt_documents_rows_in_order(&data), DOCUMENTS);
    for (int d = 0; d < DOCUMENTS; d++) {
        const int tokens_used = 6 + d < T + 1 ? 6 + d : T + 1;
        assert_int_equal(rt_documents_row_in_order(&data, d, &row), tokens_used - 4);
        for (int i = 0; i < T; i++) {
            const int inside = i < tokens_used - 1;
            assert_int_equal(tokens[i], inside ? (int)token_of(d, i) : 0);
            assert_int_equal(first[i], inside ? 0 : i);
            assert_int_equal(mask[i], inside && i >= 3);
        }
    }
    rt_data_close(&data);
}

/* The same tokens as one run, cut into windows that cross documents; every byte is checked. */
static void test_windows(void **state) {
    (void)state;
    RtData data;
    int32_t tokens[T], targets[T];
    DocumentsFile file = write_prepared("text.docs", 5, 6);
    rt_data_open(&data, "text.docs", RT_TEXT, 1, T, 256);
    assert_true(data.encoding == 5 && data.text == 6 && !data.document);
    assert_int_equal(data.count, (file.tokens - 1) / T);
    for (int64_t w = 0; w < data.count; w++) {
        rt_data_window(&data, w, tokens, targets);
        for (int i = 0; i < T; i++) {
            const unsigned char *at = file.at + documents_token_at(&file, (uint64_t)(w * T + i));
            assert_int_equal(tokens[i], at[0]);
            assert_int_equal(targets[i], at[2]);
        }
    }
    rt_data_close(&data);
    assert_int_equal(opens("text.docs", RT_BYTES, T, 256), 6);
    file.at[file.bytes - 1] ^= 1;
    write_bytes("text.docs", file.at, file.bytes);
    assert_int_equal(opens("text.docs", RT_TEXT, T, 256), 6);
    assert_in_file("stderr", "its checksum is wrong");
    free(file.at);
}

/* The bigram table says that each letter is followed by the next one. */
static void test_prompt_and_stop(void **state) {
    (void)state;
    RtData data;
    RtVocabulary vocabulary;
    int64_t given;
    free(write_prepared("chat.docs", 0, 0).at);
    rt_data_open(&data, "chat.docs", RT_DOCUMENTS, 1, T, 256);
    assert_true(rt_vocabulary_open(&vocabulary, &data));
    int32_t *prompt = rt_documents_prompt(&data, &given);
    assert_int_equal(given, 4);
    char *text = rt_tokens_text(&vocabulary, RT_DOCUMENTS, prompt, given);
    assert_string_equal(text, "<a><b><c><d>");
    free(text);
    RtProgram program = model_program();
    RtRun run = {.arena = rt_device_alloc(program.arena_bytes)};
    memset(run.arena, 0, (size_t)program.arena_bytes);
    uint16_t *table = (uint16_t *)(run.arena + model_tensor[TABLE].offset);
    for (int i = 0; i < MODEL_V; i++) table[i * MODEL_V + (i + 1) % MODEL_V] = rt_to_bf16(1);
    volatile sig_atomic_t stop = 0;
    RtSample sample = {.prompt = prompt, .prompts = given, .most = 100, .vocabulary = &vocabulary};
    text = rt_sample_text(&run, &program, &sample, &stop); /* the likeliest each time, past the window of T */
    assert_string_equal(text, "<e><f><g><h><i><j><k><l><m><n><o><p><q><r><s><t><u><v><w><x><y>");
    free(text);
    sample.most = 2;
    text = rt_sample_text(&run, &program, &sample, &stop);
    assert_string_equal(text, "<e><f>");
    free(text);
    const int32_t beyond[] = {200, 'a', ' '};
    text =
        rt_tokens_text(&vocabulary, RT_DOCUMENTS, beyond, 3); /* one past the vocabulary, one without text */
    assert_string_equal(text, "<a>");
    free(text), free(prompt);
    rt_vocabulary_close(&vocabulary);
    rt_data_close(&data);
    rt_device_close(&run);
    RtProgram whole = prepared_program();
    whole.prepared = 0;
    clear_run();
    assert_int_equal(train(&whole, "--sample 3 --temperature 0 --log log.jsonl"), 0);
    assert_in_file("stderr", "---- prompt ----\n<a><b><c><d>\n---- sample ----\n");
    assert_in_file("log.jsonl", "{\"step\":2,\"prompt\":\"<a><b><c><d>\",\"sample\":\"");
    assert_int_equal(train(&whole, "--sample 3 --temperature -1"), 2);
}

/* Every vocabulary that does not fit into its bytes is refused when it is asked for. */
static void test_wrong_vocabularies(void **state) {
    (void)state;
    RtProgram program = prepared_program();
    program.prepared = 0;
    DocumentsFile good = write_prepared("chat.docs", 0, 0);
    const size_t at = documents_mask_at(&good, good.tokens);
    const struct {
        size_t at;
        uint32_t value;
    } wrong[] = {{0, UINT32_MAX}, {0, 100000},      {4, UINT32_MAX},
                 {4, 4000},       {12 + 4 * 40, 5}, {12 + 4 * 127, 1 << 20}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        unsigned char *file = malloc(good.bytes);
        memcpy(file, good.at, good.bytes);
        memcpy(file + at + wrong[i].at, &wrong[i].value, 4);
        documents_seal(file, good.bytes);
        write_bytes("chat.docs", file, good.bytes);
        free(file); /* a child is about to exit with what it has */
        clear_run();
        assert_int_equal(train(&program, "--sample 2"), 6);
        assert_in_file("stderr", "malformed");
    }
    free(good.at);
}

static void write_text(void) {
    unsigned char text[80 * T + 1];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)(i * i % 251);
    write_bytes("text.txt", text, sizeof text);
}

static void test_warmup_stable_decay(void **state) {
    (void)state;
    clear_run();
    write_text();
    RtProgram program = model_program();
    program.schedule = RT_WSD;
    program.steps = 20;
    program.warmup_steps = 4;
    program.decay_part = 0.5;
    program.floor = 0.1;
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    const double rate[] = {0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.091, 0.082};
    for (int i = 0; i < 13; i++)
        assert_float_equal(logged("log.jsonl", "\"learning_rate\":", i), rate[i], 1e-12);
    assert_float_equal(logged("log.jsonl", "\"learning_rate\":", 19), 0.019, 1e-12);
}

/* A step that is a spike, and one whose loss is no number, change nothing but the place in the data; what is
 * remembered of the losses is saved, so that a run that is stopped anywhere goes on to the same bits. */
static void test_guard(void **state) {
    (void)state;
    clear_run();
    write_text();
    RtProgram program = model_program();
    program.steps = 40;
    program.save_every = 1;
    program.save_keep = 100;
    program.guard_spread = 6;
    model_spike_step = 30;
    model_nan_step = 35;
    assert_int_equal(train(&program, "--save-dir whole --log whole.jsonl"), 0);
    assert_in_file("stderr", "step 30 is passed over: its loss is ");
    assert_in_file("stderr", "step 35 is passed over: its loss is ");
    assert_in_file("whole.jsonl", "{\"step\":30,\"loss\":");
    char *log = read_text("whole.jsonl", NULL), *spike = strstr(log, "{\"step\":30,");
    assert_true(spike && strstr(spike, "\"passed_over\":true") < strchr(spike, '\n'));
    free(log);
    assert_int_equal(train(&program, "--save-dir part --log part.jsonl --steps 29"), 0);
    assert_int_equal(train(&program, "--save-dir part --log part.jsonl --steps 30"), 0);
    assert_int_equal(train(&program, "--save-dir part --log part.jsonl --steps 33"), 0);
    assert_int_equal(train(&program, "--save-dir part --log part.jsonl"), 0);
    assert_same_files("whole/step-000030.safetensors", "part/step-000030.safetensors");
    assert_same_files("whole/step-000040.safetensors", "part/step-000040.safetensors");
    /* the weights after the step are those before it: Adam's moments are, too */
    StFile before, after;
    RtError error;
    assert_true(st_open(&before, "whole/step-000029.safetensors", &error));
    assert_true(st_open(&after, "whole/step-000030.safetensors", &error));
    size_t left, right;
    char *a = read_text("whole/step-000029.safetensors", &left),
         *b = read_text("whole/step-000030.safetensors", &right);
    for (int i = 0; i < before.tensors; i++) {
        const StTensor *one = &before.tensor[i], *two = st_find(&after, one->name);
        assert_memory_equal(a + before.data_offset + one->begin, b + after.data_offset + two->begin,
                            (size_t)(one->end - one->begin));
    }
    free(a), free(b);
    st_close(&before), st_close(&after);
    /* without a guard the same run ends there */
    program.guard_spread = 0;
    clear_run();
    model_nan_step = 35;
    assert_int_equal(train(&program, ""), 1);
}

/* Bias correction counts updates: passed-over steps at the start leave the first update what it would be. */
static void test_guard_and_time(void **state) {
    (void)state;
    KGuard guard = {0};
    for (int i = 0; i < 20; i++) assert_false(k_guard_step(&guard, 3, 5 + 0.1 * (i % 3 - 1)));
    assert_float_equal(guard.mean, 5, 0.02);
    assert_float_equal(guard.variance, 0.00667, 0.002);
    assert_false(k_guard_step(&guard, 3, 5.2));
    assert_true(k_guard_step(&guard, 3, 5.4));
    assert_true(k_guard_step(&guard, 3, (double)NAN));
    assert_true(k_guard_step(&guard, 3, (double)INFINITY));
    assert_int_equal(guard.in_a_row, 3);
    assert_false(k_guard_step(&guard, 3, 2)); /* a fall is none */
    assert_int_equal(guard.in_a_row, 0);
    assert_int_equal(guard.seen, 22);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_rows_apart),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_prompt_and_stop),
        cmocka_unit_test(test_wrong_vocabularies),
        cmocka_unit_test(test_warmup_stable_decay),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_guard_and_time),
    };
    return cmocka_run_group_tests_name("runtime prepared", tests, enter_folder, leave_folder);
}
