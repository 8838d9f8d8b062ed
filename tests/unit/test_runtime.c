/* The trainer as its user meets it, in child processes: a hand-written program is trained, killed, resumed,
 * starved of disk and memory, and given damaged files; losses and weights must come out bit for bit the same.
 */
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#define FINAL "step-000020.safetensors"

static void clear_run(void) {
    model_delay_us = model_nan_step = model_reads_dead = 0;
    model_rows_path = NULL;
    assert_int_equal(system("rm -rf out log.jsonl rows"), 0);
}

/* A text of 74 training windows, so that 20 steps of 8 cross two epoch boundaries, and the reference run:
 * ref/FINAL and ref.jsonl. */
static int make_reference(void **state) {
    if (enter_folder(state) != 0) return -1;
    char text[1500];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the cat sat on the mat; "[(i * i / 7 + i) % 24];
    write_bytes("text.txt", text, sizeof text);
    RtProgram program = model_program();
    return train(&program, "--save-dir ref --log ref.jsonl --sample 40");
}

/* Steps 1..count each once, with the reference's losses and norms, and its validation losses. */
static void assert_log_like_reference(const char *path, int count) {
    static const char *const keys[] = {"\"loss\":", "\"grad_norm\":", "\"learning_rate\":"};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++)
            assert_true(logged(path, keys[k], i) == logged("ref.jsonl", keys[k], i));
    assert_true(isnan(logged(path, "\"loss\":", count)));
    for (int i = 0; i < count / 5; i++)
        assert_true(logged(path, "\"validation_loss\":", i) ==
                    logged("ref.jsonl", "\"validation_loss\":", i));
    assert_true(isnan(logged(path, "\"validation_loss\":", count / 5)));
}

static void test_reference(void **state) {
    (void)state;
    RtProgram program = model_program();
    assert_log_like_reference("ref.jsonl", 20);
    assert_true(logged("ref.jsonl", "\"loss\":", 19) < 0.7 * logged("ref.jsonl", "\"loss\":", 0));
    assert_true(logged("ref.jsonl", "\"measured_bytes\":", 19) == (double)program.arena_bytes);
    assert_true(exists("ref/step-000015.safetensors") && exists("ref/" FINAL));
    assert_false(exists("ref/step-000010.safetensors"));
    assert_in_file("stdout", "\"step\":20,\"loss\":");
    assert_in_file("stdout", "\"sample\":\"");
    assert_in_file("stderr", "planned memory");
    assert_in_file("stderr", "peak memory: planned");
}

static void test_stdout_is_the_log(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    assert_same_files("stdout", "log.jsonl");
    assert_int_equal(train(&program, ""), 0);
    assert_in_file("stderr", "nothing to do: 20 of 20");
}

static void test_quiet(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--quiet --steps 3"), 0);
    write_bytes("empty", "", 0);
    assert_same_files("stdout", "empty");
    assert_same_files("stderr", "empty");
}

static void test_profile(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--profile --steps 3 --threads 2"), 0);
    assert_in_file("stderr", "model_adam");
}

static void sleep_us(long us) {
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static void test_killed_and_resumed(void **state) {
    (void)state;
    uint64_t random = 5;
    for (int round = 0; round < 3; round++) {
        clear_run();
        RtProgram program = model_program();
        program.save_every = 1 + round;
        model_delay_us = 500;
        int kills = 0, code;
        do {
            pid_t child = start(&program, "--log log.jsonl --save-dir out/killed", 0);
            random = k_mix(random + 0x9e3779b97f4a7c15u);
            sleep_us(3000 + (long)(random % 40000));
            if (kills < 40) kills += kill(child, SIGKILL) == 0;
            code = await(child);
            assert_true(code == 0 || code == 1000 + SIGKILL);
        } while (code != 0);
        assert_true(kills > 0);
        assert_log_like_reference("log.jsonl", 20);
        assert_same_files("out/killed/" FINAL, "ref/" FINAL);
    }
}

static void test_signal_saves(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.save_every = 0;
    model_delay_us = 8000;
    int stops = 0, code;
    do {
        pid_t child = start(&program, "--log log.jsonl", 0);
        sleep_us(120000);
        kill(child, stops % 2 ? SIGINT : SIGTERM);
        code = await(child);
        if (code == 75) assert_in_file("stderr", "run again to resume");
        stops += code == 75;
    } while (code == 75 && stops < 20);
    assert_int_equal(code, 0);
    assert_true(stops > 1);
    assert_log_like_reference("log.jsonl", 20);
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

static void model_whole_step(RtRun *run) {
    model_micro_step(run);
    model_update(run);
}

/* A program whose one micro-step also updates: the same numbers, and no signal leaves half a step behind. */
static void test_updates_within(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.accumulate = 1;
    assert_int_equal(train(&program, "--log late.jsonl --save-dir late"), 0);
    program.micro_step = model_whole_step;
    program.update = NULL;
    program.updates_within = 1;
    program.save_every = 0;
    model_delay_us = 16000;
    int stops = 0, code;
    do {
        pid_t child = start(&program, "--log log.jsonl", 0);
        sleep_us(120000);
        kill(child, SIGTERM);
        code = await(child);
        stops += code == 75;
    } while (code == 75 && stops < 20);
    assert_int_equal(code, 0);
    assert_true(stops > 1);
    assert_same_files("out/run/" FINAL, "late/" FINAL);
    for (int i = 0; i < 20; i++)
        assert_true(logged("log.jsonl", "\"loss\":", i) == logged("late.jsonl", "\"loss\":", i));
    clear_run();
    program.save_every = 5;
    model_nan_step = 8;
    assert_int_equal(train(&program, ""), 1);
    assert_in_file("stderr", "the checkpoint of step 5 in 'out/run' is kept");
    assert_true(exists("out/run/step-000005.safetensors") && !exists("out/run/step-000008.safetensors"));
}

static void test_second_signal(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    model_delay_us = 3000000;
    pid_t child = start(&program, "", 0);
    sleep_us(100000);
    kill(child, SIGTERM);
    sleep_us(20000);
    kill(child, SIGTERM);
    assert_int_equal(await(child), 128 + SIGTERM);
}

static void damage(const char *path, long offset, int truncate_there) {
    if (truncate_there) {
        assert_int_equal(truncate(path, offset), 0);
        return;
    }
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int c = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(c ^ 4, file);
    fclose(file);
}

static void test_damaged_checkpoint(void **state) {
    (void)state;
    static const struct {
        long offset;
        int cut;
    } how[] = {{0, 1}, {5, 1}, {400, 1}, {300000, 1}, {3, 0}, {20, 0}, {300, 0}, {70000, 0}};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        clear_run();
        RtProgram program = model_program();
        assert_int_equal(train(&program, "--steps 10 --log log.jsonl"), 0);
        damage("out/run/step-000010.safetensors", how[i].offset, how[i].cut);
        assert_int_equal(train(&program, "--log log.jsonl"), 0);
        assert_in_file("stderr", "step-000010.safetensors' is damaged");
        assert_in_file("stderr", "resuming after step 5");
        assert_true(exists("out/run/step-000010.safetensors.damaged"));
        assert_log_like_reference("log.jsonl", 20);
        assert_same_files("out/run/" FINAL, "ref/" FINAL);
    }
    damage("out/run/" FINAL, 100, 1);
    damage("out/run/step-000015.safetensors", 100, 1);
    RtProgram program = model_program();
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "no checkpoint in 'out/run' can be read");
    assert_int_equal(train(&program, "--fresh"), 0);
    assert_true(exists("out/run/" FINAL ".old"));
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

static void test_other_program(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 5"), 0);
    model_tensor[M_BIAS].name = "m.other";
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "is of another program: it has no tensor 'm.other'");
    program = model_program();
    model_tensor[BIAS].dim[0] = 128;
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "its tensor 'bias' is F32 [256] where the program has F32 [128]");
    program = model_program();
    model_tensor[MASTER].kind = RT_ACCUMULATOR;
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "the program has no tensor 'master.table'");
    program = model_program();
    assert_int_equal(train(&program, "--seed 12"), 0);
    assert_in_file("stderr", "made with seed 11");
}

static void test_full_disk(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 5"), 0);
    static const rlim_t limits[] = {1000, 100000, 700000};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(await(start(&program, "--quiet", limits[i])), 6);
        assert_in_file("stderr",
                       "cannot save the checkpoint 'out/run/step-000010.safetensors': File too large");
        assert_false(exists("out/run/step-000010.safetensors"));
        assert_int_equal(system("ls -A out/run | grep -c tmp >hidden"), 1 << 8);
    }
    assert_int_equal(train(&program, ""), 0);
    assert_in_file("stderr", "resuming after step 5");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

static void test_leftovers_and_lock(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 2"), 0);
    static const char leftover[] = "out/run/.step-000003.safetensors.0123456789abcdef.tmp";
    static const char *const of_others[] = {"out/run/.step-000003.safetensors.tmp",
                                            "out/run/.notes.0123456789abcdef.tmp",
                                            "out/run/.step-000003.safetensors.0123456789abcdeg.tmp",
                                            "out/run/step-000003.safetensors.0123456789abcdef.tmp"};
    write_bytes(leftover, "half", 4);
    for (size_t i = 0; i < sizeof of_others / sizeof *of_others; i++) write_bytes(of_others[i], "mine", 4);
    model_delay_us = 30000;
    pid_t child = start(&program, "--quiet", 0);
    sleep_us(100000);
    assert_false(exists(leftover));
    for (size_t i = 0; i < sizeof of_others / sizeof *of_others; i++) assert_true(exists(of_others[i]));
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "another trainer is saving into 'out/run'");
    kill(child, SIGKILL);
    await(child);
}

static void test_divergence(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    model_nan_step = 8;
    assert_int_equal(train(&program, ""), 1);
    assert_in_file("stderr", "the loss of step 8 is not a number");
    assert_in_file("stderr", "the checkpoint of step 5 in 'out/run' is kept");
    assert_true(exists("out/run/step-000005.safetensors"));
}

static void test_poison(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--poison --log log.jsonl"), 0);
    assert_log_like_reference("log.jsonl", 20);
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    clear_run();
    model_reads_dead = 1;
    assert_int_equal(train(&program, "--steps 2"), 0);
    assert_int_equal(train(&program, "--steps 3 --poison"), 1);
    assert_in_file("stderr", "the loss of step 3 is not a number");
}

static void test_options(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--stpes 3"), 2);
    assert_in_file("stderr", "unknown option '--stpes'; did you mean --steps?");
    static const char *const wrong[] = {
        "--steps",   "--steps x", "--steps 3x",       "--steps -1",  "--steps 99999999999999999999",
        "--quiet=1", "extra",     "--fresh --resume", "--threads 0", "--log="};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_int_equal(train(&program, wrong[i]), 2);
    assert_false(exists("out"));
    assert_int_equal(train(&program, "--help"), 0);
    assert_in_file("stdout", "--save-dir DIR");
    assert_int_equal(train(&program, "--version"), 0);
    assert_int_equal(train(&program, "--dry-run"), 0);
    assert_false(exists("out"));
    program.arena_bytes = INT64_C(1) << 50;
    assert_int_equal(train(&program, ""), 3);
    assert_in_file("stderr", "the plan needs 1125899906842624");
    program = model_program();
    assert_int_equal(train(&program, "--save-dir text.txt/x"), 6);
    assert_int_equal(train(&program, "--log nowhere/log"), 6);
}

static void test_data_errors(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--data missing.txt"), 6);
    assert_in_file("stderr", "cannot open 'missing.txt'");
    write_bytes("short.txt", "abc", 3);
    assert_int_equal(train(&program, "--data short.txt"), 6);
    assert_in_file("stderr", "has 3 tokens; a batch of 4 rows of 16 needs at least 65");
    write_bytes("empty.txt", "", 0);
    assert_int_equal(train(&program, "--data empty.txt"), 6);
    assert_int_equal(train(&program, "--data ref"), 6);
    program.vocab = 100;
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "is outside the vocabulary of 100");
    assert_false(exists("out"));
}

/* Windows 0..92 begin with their own number: each epoch of 93 rows shows each once, in another order. */
static void test_epochs(void **state) {
    (void)state;
    clear_run();
    unsigned char text[93 * MODEL_T + 1] = {0};
    for (int i = 0; i < 93; i++) text[i * MODEL_T] = (unsigned char)i;
    write_bytes("numbered.txt", text, sizeof text);
    RtProgram program = model_program();
    program.validate_every = 0;
    program.steps = 24; /* 192 rows */
    model_rows_path = "rows";
    assert_int_equal(train(&program, "--data numbered.txt --steps 13"), 0);
    assert_int_equal(train(&program, "--data numbered.txt"), 0);
    size_t rows;
    char *row = read_text("rows", &rows);
    assert_int_equal(rows, 24 * MODEL_ACCUMULATE * MODEL_B);
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[93] = {0};
        for (int i = 0; i < 93; i++) seen[(int)row[93 * epoch + i]]++;
        for (int i = 0; i < 93; i++) assert_int_equal(seen[i], 1);
    }
    assert_memory_not_equal(row, row + 93, 93);
    free(row);
    model_rows_path = NULL;
}

/* Rows that stand for a tensor in each layer become those of the layers, one layer after the other; the
 * parameter that a state belongs to is counted with all of them. */
static void test_layers_are_spelled_out(void **state) {
    (void)state;
    static const struct {
        int64_t w, b;
    } at[] = {{256, 512}, {1024, 768}, {1280, 1536}}, at_m[] = {{2048, 2304}, {2560, 2816}, {3072, 3328}};
    static const RtTensor row[] = {{"first", RT_PARAM, K_F32, 1, {8}, 0, 1, 0, 0, 0, NULL, 0},
                                   {"h.*.w", RT_PARAM, K_F32, 2, {4, 2}, 0, 0, 0.5, 1, 0, COLUMN(at, w)},
                                   {"h.*.b", RT_PARAM, K_F32, 1, {4}, 0, 1, 0, 2, 0, COLUMN(at, b)},
                                   {"m.first", RT_MOMENT1, K_F32, 1, {8}, 1792, 1, 0, 0, 0, NULL, 0},
                                   {"m.h.*.w", RT_MOMENT1, K_F32, 2, {4, 2}, 0, 1, 0, 1, 0, COLUMN(at_m, w)},
                                   {"m.h.*.b", RT_MOMENT1, K_F32, 1, {4}, 0, 1, 0, 2, 0, COLUMN(at_m, b)}};
    static const RtLayers layers[] = {{1, 2, 3, 9, 2}, {4, 2, 3, 9, 2}};
    static const struct {
        const char *name;
        int64_t offset;
        int of;
    } want[] = {{"first", 0, 0},       {"h.9.w", 256, 1},    {"h.9.b", 512, 2},     {"h.10.w", 1024, 3},
                {"h.10.b", 768, 4},    {"h.11.w", 1280, 5},  {"h.11.b", 1536, 6},   {"m.first", 1792, 0},
                {"m.h.9.w", 2048, 1},  {"m.h.9.b", 2304, 2}, {"m.h.10.w", 2560, 3}, {"m.h.10.b", 2816, 4},
                {"m.h.11.w", 3072, 5}, {"m.h.11.b", 3328, 6}};
    const RtProgram program = {.tensor = row, .tensors = 6, .layers = layers, .repeats = 2};
    RtProgram whole = rt_whole(&program);
    assert_int_equal(whole.tensors, sizeof want / sizeof *want);
    for (int i = 0; i < whole.tensors; i++) {
        const RtTensor *tensor = &whole.tensor[i];
        assert_string_equal(tensor->name, want[i].name);
        assert_int_equal(tensor->offset, want[i].offset);
        assert_int_equal(tensor->of, want[i].of);
        assert_int_equal(tensor->kind, i < 7 ? RT_PARAM : RT_MOMENT1);
        assert_int_equal(tensor->rank, strchr(tensor->name, 'w') ? 2 : 1);
        assert_null(tensor->column);
    }
    rt_whole_free(&program, &whole);
    assert_null(whole.tensor);
}

static void test_schedule_is_the_programs(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 7 --log log.jsonl"), 0);
    assert_int_equal(train(&program, "--steps 20 --log log.jsonl"), 0);
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_true(logged("ref.jsonl", "\"learning_rate\":", 0) == 0.025);
    assert_true(logged("ref.jsonl", "\"learning_rate\":", 3) == 0.1);
    assert_true(logged("ref.jsonl", "\"learning_rate\":", 19) < 0.0125);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_stdout_is_the_log),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_killed_and_resumed),
        cmocka_unit_test(test_signal_saves),
        cmocka_unit_test(test_updates_within),
        cmocka_unit_test(test_second_signal),
        cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_other_program),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_leftovers_and_lock),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_data_errors),
        cmocka_unit_test(test_schedule_is_the_programs),
        cmocka_unit_test(test_layers_are_spelled_out),
        cmocka_unit_test(test_epochs),
    };
    return cmocka_run_group_tests_name("runtime", tests, make_reference, leave_folder);
}
