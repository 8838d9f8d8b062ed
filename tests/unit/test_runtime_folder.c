/* Nothing of the user's is lost: the folder of checkpoints and the log as a trainer treats them, in child
 * processes. Files are renamed and copied under its hands, system calls fail, runs are started afresh over
 * earlier ones, output cannot be written. */
#define _GNU_SOURCE
#include "tests/support/runtime_model.h"
#include "tests/support/runtime_process.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#define FINAL "step-000020.safetensors"

static void clear_run(void) {
    model_delay_us = 0;
    assert_int_equal(system("rm -rf out log.jsonl* copy fifo stale"), 0);
}

/* ref/ and ref.jsonl: what an undisturbed run leaves; seven/: one of seed 7. */
static int make_reference(void **state) {
    if (enter_folder(state) != 0) return -1;
    char text[1500];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the cat sat on the mat; "[(i * i / 7 + i) % 24];
    write_bytes("text.txt", text, sizeof text);
    RtProgram program = model_program();
    return train(&program, "--quiet --save-dir ref --log ref.jsonl") ||
           train(&program, "--quiet --save-dir seven --seed 7 --log seven.jsonl");
}

static void shell(const char *command) {
    assert_int_equal(system(command), 0);
}

static void assert_absent_in(const char *path, const char *part) {
    char *text = read_text(path, NULL);
    if (strstr(text, part)) fail_msg("'%s' is in %s:\n%s", part, path, text);
    free(text);
}

/* Lines of a step with a loss. */
static int count_steps(const char *path) {
    char *text = read_text(path, NULL);
    int count = 0;
    for (const char *at = text; (at = strstr(at, ",\"loss\":")); at++) count++;
    free(text);
    return count;
}

/* ---- names and what is kept ---- */

static void test_last_saved_stays(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.save_keep = 1;
    assert_int_equal(train(&program, "--steps 5"), 0);
    shell("mv out/run/step-000005.safetensors out/run/step-000900.safetensors && cp -r out/run copy");
    assert_int_equal(train(&program, ""), 0); /* nothing else is there: from the start */
    assert_in_file("stderr", "step-000900.safetensors' holds step 5");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_same_files("out/run/step-000900.safetensors", "copy/step-000900.safetensors");
    assert_false(exists("out/run/step-000015.safetensors"));
}

static void test_other_spellings(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.save_keep = 1;
    assert_int_equal(train(&program, "--steps 5"), 0);
    shell("cp out/run/step-000005.safetensors out/run/step-7.safetensors");
    shell("cp out/run/step-000005.safetensors out/run/step-0000000006.safetensors");
    shell("cp out/run/step-000005.safetensors out/run/step-99999999999999999999.safetensors");
    assert_int_equal(train(&program, ""), 0);
    assert_in_file("stderr", "step-7.safetensors' is not spelled");
    assert_in_file("stderr", "step-0000000006.safetensors' is not spelled");
    assert_in_file("stderr", "step-99999999999999999999.safetensors' is not spelled");
    assert_in_file("stderr", "resuming after step 5");
    assert_true(exists("out/run/step-7.safetensors") && exists("out/run/step-0000000006.safetensors"));
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_false(exists("out/run/step-000005.safetensors"));
}

/* A stranger under the name that the next checkpoint needs is moved, not overwritten: a link is not followed.
 */
static void test_in_the_way(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 5"), 0);
    shell("cp out/run/step-000005.safetensors out/run/step-000010.safetensors");
    shell("cp text.txt copy && ln -s ../../copy out/run/step-000015.safetensors.old");
    assert_int_equal(train(&program, "--steps 10"), 0);
    assert_in_file("stderr", "it is 'out/run/step-000010.safetensors.old' now");
    assert_same_files("out/run/step-000010.safetensors.old", "out/run/step-000005.safetensors");
    model_delay_us =
        50000; /* from the first line to step 15 it is a fifth of a second, even on a busy machine */
    pid_t child = start(&program, "--log lines.jsonl", 0);
    for (struct stat lines = {0}; stat("lines.jsonl", &lines) != 0 || !lines.st_size;) usleep(1000);
    assert_int_equal(symlink("../../copy", "out/run/step-000015.safetensors"), 0);
    assert_int_equal(await(child), 0);
    assert_same_files("copy", "text.txt");
    assert_true(exists("out/run/step-000015.safetensors.old.1"));
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

static void test_damaged_twice(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(train(&program, "--steps 10"), 0);
        assert_int_equal(truncate("out/run/step-000010.safetensors", 70000 + i), 0);
    }
    assert_int_equal(train(&program, ""), 0);
    struct stat first, second;
    assert_int_equal(stat("out/run/step-000010.safetensors.damaged", &first), 0);
    assert_int_equal(stat("out/run/step-000010.safetensors.damaged.1", &second), 0);
    assert_int_equal(first.st_size, 70000);
    assert_int_equal(second.st_size, 70001);
}

/* What cannot be read at the moment is not damaged; what is no file is refused without waiting for it. */
static void test_unreadable_is_not_damaged(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 10"), 0);
    shell("mv out/run/step-000010.safetensors copy && mkfifo out/run/step-000010.safetensors");
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "step-000010.safetensors' cannot be resumed now: it is a FIFO");
    shell("rm out/run/step-000010.safetensors && mkdir out/run/step-000010.safetensors");
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "it is a folder");
    shell("rmdir out/run/step-000010.safetensors && ln -s loop out/run/step-000010.safetensors");
    assert_int_equal(train(&program, ""), 6);
    assert_in_file("stderr", "nothing was done");
    shell("rm out/run/step-000010.safetensors && mv copy out/run/step-000010.safetensors");
    assert_int_equal(train(&program, ""), 0);
    assert_in_file("stderr", "resuming after step 10");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

/* ---- the seed ---- */

static void test_seed_goes_on(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--seed 7 --steps 9 --log log.jsonl"), 0);
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    assert_absent_in("stderr", "warning");
    assert_same_files("out/run/" FINAL, "seven/" FINAL);
    assert_int_equal(count_steps("log.jsonl"), 20);
}

/* ---- --fresh ---- */

static void test_fresh_twice(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 10 --log log.jsonl"), 0);
    assert_int_equal(train(&program, "--steps 10 --fresh --seed 2 --log log.jsonl"), 0);
    assert_int_equal(train(&program, "--fresh --seed 7 --log log.jsonl"), 0);
    static const char *const kept[] = {
        "out/run/step-000005.safetensors.old", "out/run/step-000010.safetensors.old",
        "out/run/step-000005.safetensors.old.1", "out/run/step-000010.safetensors.old.1"};
    for (int i = 0; i < 4; i++) assert_true(exists(kept[i]));
    assert_same_files("out/run/" FINAL, "seven/" FINAL);
    assert_int_equal(count_steps("log.jsonl"), 20);
    assert_int_equal(count_steps("log.jsonl.old"), 10);
    assert_int_equal(count_steps("log.jsonl.old.1"), 10);
    assert_false(exists("log.jsonl.new"));
}

/* A fresh run that ends before it has saved leaves the folder and the log as they were. */
static void test_fresh_leaves_all_till_it_saves(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--steps 10 --log log.jsonl"), 0);
    shell("cp -r out/run copy && cp log.jsonl stale");
    assert_int_equal(train(&program, "--fresh --log nowhere/log"), 6);
    assert_int_equal(train(&program, "--fresh --data missing"), 6);
    assert_int_equal(train(&program, "--fresh --log text.txt"), 6);
    model_nan_step = 3;
    assert_int_equal(train(&program, "--fresh --log log.jsonl"), 1);
    model_nan_step = 0;
    assert_int_equal(await(start(&program, "--fresh --quiet", 100000)), 6); /* the first save fails */
    model_delay_us = 20000;
    pid_t child = start(&program, "--fresh --log log.jsonl", 0);
    nanosleep(&(struct timespec){0, 120000000}, NULL);
    kill(child, SIGKILL);
    await(child);
    model_delay_us = 0;
    shell("rm -f out/run/.step-*.tmp && diff -r out/run copy");
    assert_same_files("log.jsonl", "stale");
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    assert_in_file("stderr", "resuming after step 10");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_int_equal(count_steps("log.jsonl"), 20);
}

/* What a kill may leave after the new run's first checkpoint is on the disk: the next start finishes the
 * handing over, wherever it was, and goes on with the new run. */
static void test_handing_over_is_finished(void **state) {
    (void)state;
    static const char *const before_the_kill[] = {
        "true", "mv out/run/step-000005.safetensors out/run/step-000005.safetensors.old",
        "mv out/run/step-000005.safetensors out/run/step-000005.safetensors.old && "
        "mv out/run/step-000010.safetensors out/run/step-000010.safetensors.old && "
        "mv log.jsonl log.jsonl.old"};
    RtProgram program = model_program();
    for (int i = 0; i < 3; i++) {
        clear_run();
        assert_int_equal(train(&program, "--steps 10 --log log.jsonl"), 0);
        assert_int_equal(train(&program, "--steps 5 --seed 7 --save-dir out/new --log log.jsonl.new"), 0);
        shell("mv out/new/step-000005.safetensors out/run/step-000005.safetensors.new && "
              "cp out/run/step-000005.safetensors copy");
        shell(before_the_kill[i]);
        assert_int_equal(train(&program, "--log log.jsonl"), 0);
        assert_in_file("stderr", "resuming after step 5");
        assert_same_files("out/run/" FINAL, "seven/" FINAL);
        assert_true(exists("out/run/step-000010.safetensors.old"));
        assert_same_files("out/run/step-000005.safetensors.old", "copy");
        assert_int_equal(count_steps("log.jsonl.old"), 10);
        assert_int_equal(count_steps("log.jsonl"), 20);
        assert_false(exists("log.jsonl.new"));
        assert_false(exists("out/run/step-000005.safetensors.new"));
    }
}

/* ---- the log ---- */

static void test_only_logs_are_cut(void **state) {
    (void)state;
    static const char *const no_logs[] = {
        "my notes\n",
        "{\"step\":1,\"loss\":2}\nmy notes\n",
        "{\"step\":1,\"loss\":2}\nmy notes",
        "{\"step\":,\"loss\":2}\n",
        "{\"step\":1 and more\n",
        "\n",
        "{\"steps\":[1,2]}\n",
    };
    RtProgram program = model_program();
    for (size_t i = 0; i < sizeof no_logs / sizeof *no_logs; i++) {
        clear_run();
        write_bytes("stale", no_logs[i], strlen(no_logs[i]));
        write_bytes("log.jsonl", no_logs[i], strlen(no_logs[i]));
        assert_int_equal(train(&program, "--log log.jsonl"), 6);
        assert_in_file("stderr", "'log.jsonl' is not empty and holds no log");
        assert_int_equal(train(&program, "--fresh --log log.jsonl"), 6);
        assert_same_files("log.jsonl", "stale");
        assert_false(exists("out"));
    }
    write_bytes("log.jsonl", "", 0);
    assert_int_equal(train(&program, "--steps 7 --log log.jsonl"), 0);
    FILE *log = fopen("log.jsonl", "a");
    fputs("{\"step\":8,\"lo", log); /* a power cut */
    fclose(log);
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    assert_int_equal(count_steps("log.jsonl"), 20);
    assert_int_equal(train(&program, "--steps 3 --save-dir out/other --log log.jsonl"), 0);
    assert_int_equal(count_steps("log.jsonl.old"), 20); /* another run's lines, from the start */
}

/* A log of an earlier run, named again for one that has no lines in it yet. */
static void test_lines_of_another_run(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.save_every = 2;
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    shell("cp log.jsonl stale");
    assert_int_equal(train(&program, "--fresh --seed 9 --steps 2"), 0);
    assert_int_equal(train(&program, "--steps 4 --log log.jsonl"), 0);
    assert_same_files("log.jsonl.old", "stale");
    assert_in_file("stderr", "goes on beyond this run");
    assert_int_equal(count_steps("log.jsonl"), 4);
}

static void test_log_beside_what_is_read(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    shell("cp ref.jsonl log.jsonl && ln -s log.jsonl stale");
    assert_int_equal(train(&program, "--data log.jsonl --log stale"), 2);
    assert_in_file("stderr", "is a file of the data");
    assert_same_files("log.jsonl", "ref.jsonl");
    assert_int_equal(train(&program, "--log step-000005.safetensors"), 2);
    assert_false(exists("step-000005.safetensors"));
}

/* FILE.new is a fresh run's from its beginning: what is there before is no line of it. */
static void test_names_beside_the_log(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    shell("echo 'notes' > log.jsonl.new && cp log.jsonl.new stale");
    assert_int_equal(train(&program, "--fresh --log log.jsonl"), 6);
    assert_in_file("stderr", "log.jsonl.new' is in the way of the log");
    shell("mkdir -p out/run && cp ref/" FINAL " out/run/" FINAL ".new");
    assert_int_equal(train(&program, "--log log.jsonl"), 0); /* finishes another's handing over */
    assert_same_files("log.jsonl.new", "stale");
    clear_run();
    shell("cp ref.jsonl log.jsonl.new"); /* of a fresh run that never saved; its log is gone */
    assert_int_equal(train(&program, "--fresh --steps 10 --log log.jsonl"), 0);
    assert_int_equal(count_steps("log.jsonl"), 10);
    assert_same_files("log.jsonl.new.old", "ref.jsonl");
    assert_false(exists("log.jsonl.old"));
}

/* Lines that are lost do not stop the run, but its end says so. */
static void test_full_log(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--quiet --log /dev/full"), 6);
    assert_in_file("stderr", "cannot write the log: No space left on device");
    assert_in_file("stderr", "'/dev/full' lacks lines");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    clear_run();
    assert_int_equal(mkfifo("fifo", 0600), 0);
    int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    assert_int_equal(train(&program, "--quiet --steps 3 --log fifo"), 0);
    char line[16];
    assert_int_equal(read(reader, line, 9), 9);
    assert_memory_equal(line, "{\"step\":1", 9);
    close(reader);
    /* a pipe that nobody reads takes what it can hold; nobody waits for more */
    clear_run();
    assert_int_equal(mkfifo("fifo", 0600), 0);
    reader = open("fifo", O_RDWR | O_NONBLOCK);
    assert_int_equal(fcntl(reader, F_SETPIPE_SZ, 4096), 4096);
    assert_int_equal(train(&program, "--quiet --log fifo"), 6);
    assert_in_file("stderr", "cannot write the log: Resource temporarily unavailable; its lines wait");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    close(reader);
}

/* ---- output and signals ---- */

/* As start(), with standard output on a descriptor. */
static pid_t start_with_output(const RtProgram *program, int output, int hangup_ignored) {
    fflush(NULL);
    pid_t child = fork();
    if (child) return child;
    if (!freopen("stderr", "w", stderr) || dup2(output, STDOUT_FILENO) < 0) _exit(99);
    signal(SIGHUP, hangup_ignored ? SIG_IGN : SIG_DFL);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    char *argv[] = {"train", "--log", "log.jsonl", NULL};
    int code = rt_main(program, 3, argv);
    fflush(NULL);
    _exit(code);
}

/* Files never take the numbers of closed streams, or messages would go into them. */
static void test_closed_streams(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        for (int fd = 0; fd < 3; fd++) close(fd);
        setenv("OMP_WAIT_POLICY", "passive", 1);
        char *argv[] = {"train", "--log", "log.jsonl", NULL};
        _exit(rt_main(&program, 3, argv));
    }
    assert_int_equal(await(child), 6); /* standard output cannot be written */
    assert_int_equal(count_steps("log.jsonl"), 1);
    assert_int_equal(train(&program, "--log log.jsonl"), 0);
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_int_equal(count_steps("log.jsonl"), 20);
}

static void test_output_that_nobody_reads(void **state) {
    (void)state;
    RtProgram program = model_program();
    program.save_every = 0;
    for (int i = 0; i < 2; i++) {
        clear_run();
        int ends[2] = {-1, open("/dev/full", O_WRONLY)};
        if (i) {
            close(ends[1]);
            assert_int_equal(pipe(ends), 0);
            close(ends[0]);
        }
        assert_int_equal(await(start_with_output(&program, ends[1], 0)), 6);
        close(ends[1]);
        assert_in_file("stderr", i ? "cannot write to standard output: Broken pipe"
                                   : "cannot write to standard output: No space left on device");
        assert_in_file("stderr", "the checkpoint of step 1 in 'out/run' is kept, run again to go on");
        assert_int_equal(train(&program, "--log log.jsonl"), 0);
        assert_same_files("out/run/" FINAL, "ref/" FINAL);
        assert_int_equal(count_steps("log.jsonl"), 20);
    }
}

static void test_hangup(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    program.save_every = 0;
    model_delay_us = 8000;
    int output = open("stdout", O_WRONLY | O_CREAT, 0600);
    pid_t child = start_with_output(&program, output, 0);
    nanosleep(&(struct timespec){0, 120000000}, NULL);
    kill(child, SIGHUP);
    kill(child, SIGHUP); /* a shell and the kernel both send it */
    assert_int_equal(await(child), 75);
    assert_in_file("stderr", "run again to resume");
    child = start_with_output(&program, output, 1);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    kill(child, SIGHUP);
    assert_int_equal(await(child), 0);
    close(output);
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
}

/* ---- data ---- */

static void test_data_cut_short(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    model_delay_us = 10000;
    shell("cp text.txt copy");
    pid_t child = start(&program, "--quiet --data copy", 0);
    for (int i = 0; i < 500 && !exists("out/run/step-000005.safetensors"); i++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_int_equal(truncate("copy", 0), 0);
    assert_int_equal(await(child), 6);
    assert_in_file("stderr", "data: 'copy' had 1500 bytes and was cut short while it was read");
    shell("cp text.txt copy");
    model_delay_us = 0;
    assert_int_equal(train(&program, "--data copy"), 0);
    assert_in_file("stderr", "resuming after step");
    assert_same_files("out/run/" FINAL, "ref/" FINAL);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(train(&program, "--data fifo"), 6);
    assert_in_file("stderr", "cannot open 'fifo': it is a FIFO, not a regular file");
    assert_int_equal(train(&program, "--data /dev/zero"), 6);
    assert_in_file("stderr", "it is a device");
}

/* ---- a loss that runs away ---- */

static void test_runaway_loss(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--quiet --save-dir out/fine"), 0);
    assert_absent_in("stderr", "warning");
    program.learning_rate = 16;
    program.warmup_steps = 0;
    assert_int_equal(train(&program, "--quiet --steps 4"), 0);
    assert_in_file("stderr", "warning: the loss runs away");
    assert_in_file("stderr", "where guessing gives 5.545");
    assert_in_file("stderr", "warning: the run has diverged");
    assert_int_equal(train(&program, "--quiet --fresh --save-dir out/limited --max-loss 15"), 1);
    assert_in_file("stderr", "the loss of step 3 is 18.3426, above --max-loss 15; nothing was saved");
    assert_int_equal(train(&program, "--max-loss nan"), 2);
    assert_int_equal(train(&program, "--max-loss 0"), 2);
    assert_in_file("stderr", "--max-loss takes a number above 0, not '0'");
}

/* Losses that a criterion must keep quiet on, and those it must not. */
static int warned(const char *shape, int64_t vocab, int64_t from, int steps) {
    RtWatch watch;
    uint64_t random = 3;
    int warnings = 0;
    rt_watch_begin(&watch, vocab, from);
    for (int i = 0; i < steps; i++) {
        random = k_mix(random + 0x9e3779b97f4a7c15u);
        double noise = (double)(random >> 40) * 0x1p-24 - 0.5, guess = log((double)vocab), loss = guess;
        if (!strcmp(shape, "falls")) loss = 0.3 * guess + 0.7 * guess * exp(-i / 50.0) + 0.3 * guess * noise;
        if (!strcmp(shape, "bad weights")) loss = 2 + 200 * exp(-i / 30.0) * (1 + noise);
        if (!strcmp(shape, "fine-tuning")) loss = 1.2 + 2 * noise;
        if (!strcmp(shape, "memorises")) loss = i % 40 == 39 ? 0.4 : 0.01;
        if (!strcmp(shape, "a spike")) loss = i == 60 ? 8 : 3 + noise;
        if (!strcmp(shape, "collapses")) loss = i < 200 ? 2.5 + noise : 0.8 * guess;
        if (!strcmp(shape, "worse than guessing")) loss = 1.4 * guess;
        if (!strcmp(shape, "explodes")) loss = 10 * exp(i);
        warnings += rt_watch_step(&watch, fmax(loss, 0.001));
    }
    return warnings;
}

static void test_watch(void **state) {
    (void)state;
    static const char *const sound[] = {"guesses",     "falls",     "bad weights",
                                        "fine-tuning", "memorises", "a spike"};
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++)
        for (int from = 0; from < 2; from++)
            if ((from == 0 || strcmp(sound[i], "bad weights") != 0) &&
                warned(sound[i], 50257, from * 1000, 2000) != 0)
                fail_msg("a false alarm: %s", sound[i]);
    assert_int_equal(warned("falls", 256, 0, 2000), 0);
    assert_int_equal(warned("collapses", 50257, 0, 400), 1);
    assert_int_equal(warned("collapses", 50257, 70, 400), 1);
    assert_int_equal(warned("worse than guessing", 256, 70, 400), 1);
    assert_int_equal(warned("worse than guessing", 256, 0, 400), 0); /* as it began */
    assert_int_equal(warned("explodes", 256, 0, 5), 1);
    assert_int_equal(warned("explodes", 256, 70, 5), 1);
}

static void test_limits_and_names(void **state) {
    (void)state;
    clear_run();
    RtProgram program = model_program();
    assert_int_equal(train(&program, "--threads 100000"), 2);
    assert_in_file("stderr", "--threads takes a whole number from 1 to 4096, not '100000'");
    assert_int_equal(train(&program, "--data bad\x1b[2J\xe2\x80\xae\xff"), 6);
    assert_in_file("stderr", "'bad\\x1b[2J\\u{202e}\\xff'");
    program.model = "a\x1b]0;title\x07";
    assert_int_equal(train(&program, "--help"), 0);
    assert_in_file("stdout", "a\\x1b]0;title\\x07");
    assert_int_equal(train(&program, "--steps 1"), 0);
    assert_in_file("stderr", "a\\x1b]0;title\\x07");
    char *text = rt_json_string("\xff\"\\\n\x1b\xc3\xa9\xed\xa0\x80\x7f");
    assert_string_equal(text, "\"\\ufffd\\\"\\\\\\u000a\\u001b\xc3\xa9\\ufffd\\ufffd\\ufffd\\u007f\"");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_saved_stays),
        cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_in_the_way),
        cmocka_unit_test(test_damaged_twice),
        cmocka_unit_test(test_unreadable_is_not_damaged),
        cmocka_unit_test(test_seed_goes_on),
        cmocka_unit_test(test_fresh_twice),
        cmocka_unit_test(test_fresh_leaves_all_till_it_saves),
        cmocka_unit_test(test_handing_over_is_finished),
        cmocka_unit_test(test_only_logs_are_cut),
        cmocka_unit_test(test_lines_of_another_run),
        cmocka_unit_test(test_log_beside_what_is_read),
        cmocka_unit_test(test_names_beside_the_log),
        cmocka_unit_test(test_full_log),
        cmocka_unit_test(test_closed_streams),
        cmocka_unit_test(test_output_that_nobody_reads),
        cmocka_unit_test(test_hangup),
        cmocka_unit_test(test_data_cut_short),
        cmocka_unit_test(test_runaway_loss),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_limits_and_names),
    };
    return cmocka_run_group_tests_name("runtime folder", tests, make_reference, leave_folder);
}
