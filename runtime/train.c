/* The trainer: an emitted program and a command line in, a trained model out. Step s is a pure function of
 * the tensors after step s-1, the data cursor and the seed, so a checkpoint of those is all that resuming
 * needs. What can be wrong at the start is checked before the first step; loop.c does the steps. */
#define _GNU_SOURCE
#include "model_out.h"
#include "trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* ---- start ---- */

/* Where a standard stream is closed, the next file opened would take its number, and the log or a checkpoint
 * the messages. What stands there instead can be neither read nor written, so a closed output is noticed. */
static void hold_standard_streams(void) {
    int fd;
    do fd = open("/dev/null", O_PATH | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

static void check_memory(const RtProgram *program, int quiet) {
    int64_t free_bytes = rt_device_free_bytes(), host_free_bytes = rt_host_free_bytes();
    int64_t host_needed = program->host_bytes + (!strcmp(program->target, "host") ? program->arena_bytes : 0);
    if (!quiet) rt_log_plan(program, free_bytes, host_free_bytes);
    int64_t code = program->code_bytes, needed = program->arena_bytes + code;
    if (free_bytes >= 0 && free_bytes < needed)
        rt_fail(
            RT_EXIT_MEMORY,
            "%s has %lld bytes free and the plan needs %lld, of which %lld for the code of kernels; compile "
            "again with a budget of at most %lldMiB",
            rt_device_name(), (long long)free_bytes, (long long)needed, (long long)code,
            (long long)((free_bytes - code + program->reserved_bytes) >> 20));
    if (program->host_bytes > 0 && host_free_bytes >= 0 && host_free_bytes < host_needed)
        rt_fail(
            RT_EXIT_MEMORY,
            "the host has %lld bytes free and the plan needs %lld, of which %lld for copies; compile again "
            "with a smaller host budget",
            (long long)host_free_bytes, (long long)host_needed, (long long)program->host_bytes);
}

static void allocate(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    trainer->run.arena = rt_device_alloc(program->arena_bytes);
    if (program->host_bytes > 0)
        trainer->run.host =
            rt_device_alloc_host(program->host_bytes, program->copies, trainer->options.poison);
    if (program->most_taken > 0) rt_taken_open(&trainer->run, program->most_taken);
    rt_batch_open(&trainer->batch, program);
    rt_results_open(&trainer->results);
    trainer->chunk = rt_allocate(RT_CHUNK_BYTES);
    trainer->run.poison = trainer->options.poison;
    rt_warm_up(&trainer->run, program, &trainer->options);
    if (trainer->options.profile) trainer->run.profile = rt_allocate(sizeof *trainer->run.profile);
}

/* Files that were made of text are of the tokenizer, template and options that the program was made for, and,
 * unless another file is named, of the same text. */
static void check_prepared(const RtProgram *program, const RtData *data, const char *path, uint64_t text) {
    if (!program->prepared) return;
    if (data->encoding != program->encoding)
        rt_fail(RT_EXIT_IO,
                "data: '%s' was made with another tokenizer, template or options (%016llx) than this program "
                "is for (%016llx): `rematc data %s` makes one that is",
                path, (unsigned long long)data->encoding, (unsigned long long)program->encoding,
                program->source);
    if (text && data->text != text)
        rt_fail(RT_EXIT_IO, "data: '%s' is not of the text that this program was made with: compile it again",
                path);
}

static void open_file(const RtProgram *program, RtData *data, const char *path, int64_t batch,
                      uint64_t text) {
    if (program->prepared && text && access(path, F_OK) != 0 && errno == ENOENT)
        rt_fail(RT_EXIT_IO, "data: '%s' is not there: `rematc data %s` makes it", path, program->source);
    rt_data_open(data, path, program->format, batch, program->context, program->vocab);
    data->rows_apart = program->rows_apart;
    check_prepared(program, data, path, text);
}

static void open_data(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    const char *path = trainer->options.data ? trainer->options.data : program->train_path;
    int validates = program->evaluate && program->validate_every > 0;
    if (!path) rt_fail(RT_EXIT_IO, "no training data: name it with --data");
    open_file(program, &trainer->train, path, program->batch,
              trainer->options.data ? 0 : program->train_text);
    if (validates && program->validate_path)
        open_file(program, &trainer->validate, program->validate_path, 1, program->validate_text);
    else if (validates && program->validate_fraction > 0)
        rt_data_split(&trainer->train, &trainer->validate, program->validate_fraction, program->batch);
    if (trainer->train.document) rt_documents_look(&trainer->train, path, trainer->options.quiet);
    if (trainer->validate.document)
        rt_documents_look(&trainer->validate, program->validate_path ? program->validate_path : path,
                          trainer->options.quiet || !program->validate_path);
}

/* Steps of as many epochs as the spec asks for; known once the seed is. */
static void count_steps(RtTrainer *trainer, RtProgram *program) {
    const RtOptions *options = &trainer->options;
    if (program->epochs) {
        const int64_t each = program->batch * program->accumulate;
        const int64_t rows = rt_batch_epochs(&trainer->train, trainer->state.seed, program->epochs);
        program->steps = (rows + each - 1) / each;
        if (program->warmup_steps > program->steps)
            rt_fail(RT_EXIT_USAGE, "warmup: %lld steps are more than the %lld of %lld epochs of this data",
                    (long long)program->warmup_steps, (long long)program->steps, (long long)program->epochs);
        if (!options->quiet)
            fprintf(stderr, "%lld epochs: %lld rows of %lld tokens, %lld steps\n", (long long)program->epochs,
                    (long long)rows, (long long)program->context, (long long)program->steps);
    }
    trainer->steps = options->steps >= 0 ? options->steps : program->steps;
}

/* Before it is opened, which would make a file of that name. */
static void check_log_name(const char *path) {
    if (path && rt_ends_in(path, ".safetensors"))
        rt_fail(RT_EXIT_USAGE, "--log '%s' is the name of weights or a checkpoint", path);
}

/* A log is written beside what the run reads, not over it. */
static void check_log(const RtTrainer *trainer) {
    const RtLogFile *log = &trainer->log.file;
    const char *weights = trainer->program->weights_path;
    struct stat status;
    if (!log->path || !log->regular) return;
    check_log_name(log->path); /* where its links lead */
    if (rt_data_holds(&trainer->train, log->device, log->inode) ||
        rt_data_holds(&trainer->validate, log->device, log->inode))
        rt_fail(RT_EXIT_USAGE, "--log '%s' is a file of the data", log->path);
    if (weights && stat(weights, &status) == 0 && status.st_dev == log->device && status.st_ino == log->inode)
        rt_fail(RT_EXIT_USAGE, "--log '%s' is the name of weights or a checkpoint", log->path);
}

/* A fresh run that a kill stopped while it took the folder over does so first. */
static void open_folder(RtTrainer *trainer, const char *dir) {
    RtError error;
    RtFolder *folder = &trainer->folder;
    rt_folder_open(folder, dir, trainer->options.fresh);
    if (!folder->unfinished) return;
    if (!rt_log_file_hand_over(&trainer->log.file, &error) || !rt_folder_hand_over(folder, &error))
        rt_fail(RT_EXIT_IO, "%s", error.text);
}

/* Every tensor has its first value when this returns: from a checkpoint, or else from the weights and the
 * seed. */
static void initialise(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    const RtOptions *options = &trainer->options;
    RtState saved, *state = &trainer->state;
    int frozen = 0;
    *state = (RtState){.seed = options->seed, .windows = trainer->train.count};
    for (int i = 0; i < program->tensors; i++) frozen |= program->tensor[i].kind == RT_FROZEN;
    if (trainer->run.poison) rt_poison_transient(&trainer->run, program);
    rt_clear_room(&trainer->run, program);
    int resumes = trainer->folder.dir && !options->fresh &&
                  rt_folder_load(&trainer->folder, &trainer->run, program, &saved, trainer->chunk);
    if (resumes && !options->seed_given) state->seed = saved.seed;
    if (!resumes || frozen) {
        rt_init_tensors(&trainer->run, program, state->seed, resumes, trainer->chunk);
        if (program->weights_path)
            state->base = rt_weights_load(&trainer->run, program, program->weights_path, resumes,
                                          trainer->chunk, options->quiet);
    }
    if (!resumes) return;
    if (!frozen) state->base = saved.base;
    if (frozen && saved.base && saved.base != state->base)
        rt_fail(RT_EXIT_IO,
                "the weights in '%s' are not those that the checkpoint's adapters were trained on (checksum "
                "%016llx, not %016llx); --fresh starts over",
                program->weights_path, (unsigned long long)state->base, (unsigned long long)saved.base);
    if (saved.seed != state->seed)
        rt_warn("the checkpoint was made with seed %llu; from here on the seed is %llu",
                (unsigned long long)saved.seed, (unsigned long long)state->seed);
    if (saved.windows != state->windows)
        rt_warn("the training data had %lld %s and has %lld: the order differs from an uninterrupted run's",
                (long long)saved.windows, trainer->train.document ? "documents" : "windows",
                (long long)state->windows);
    state->step = saved.step;
    state->cursor = saved.cursor;
    state->passed_over = saved.passed_over;
    state->guard = saved.guard;
    trainer->saved_step = saved.step;
    if (!options->quiet) fprintf(stderr, "resuming after step %lld\n", (long long)saved.step);
}

/* ---- folders for other tools ---- */

static RtOutRequest out_request(const RtProgram *program, RtOutKind kind) {
    const int merged = kind == RT_OUT_MERGED;
    return (RtOutRequest){.kind = kind,
                          .base = merged && program->merged_onto_path ? program->merged_onto_path
                                                                      : program->weights_path,
                          .folder = merged ? program->merged_path : program->adapter_path,
                          .unquantised = merged && program->merged_onto_path != NULL};
}

/* Whether they can be written, and whether there is room for all that will be saved, is known before the
 * first step. */
static void check_saving(const RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    const RtOutKind kinds[] = {RT_OUT_ADAPTER, RT_OUT_MERGED};
    const char *path[3];
    int64_t bytes[3], step = trainer->state.step, every = program->save_every;
    int count = 0;
    if (!trainer->folder.dir || step >= trainer->steps) return;
    int64_t saves = every > 0 ? (trainer->steps - 1) / every - step / every + 1 : 1;
    path[count] = trainer->folder.dir;
    bytes[count++] = rt_checkpoint_bytes(program) * rt_folder_growth(&trainer->folder, program, saves);
    for (int i = 0; i < 2; i++) {
        const RtOutRequest request = out_request(program, kinds[i]);
        if (!request.folder || trainer->steps < program->steps) continue;
        path[count] = request.folder;
        bytes[count++] = rt_model_out_check(program, &request);
    }
    rt_need_space(path, bytes, count);
}

/* When all steps of the spec are done; again only where a folder is not there. */
static void write_folder(const RtTrainer *trainer, RtOutKind kind, int trained) {
    const RtOutRequest request = out_request(trainer->program, kind);
    if (!request.folder || trainer->state.step < trainer->program->steps || !trainer->folder.dir) return;
    if (!trained && access(request.folder, F_OK) == 0) return;
    char *checkpoint = rt_folder_newest(&trainer->folder);
    int64_t bytes = rt_model_out(checkpoint, &request);
    if (!trainer->options.quiet) rt_say(stderr, "%s: %.2f MiB\n", request.folder, (double)bytes / (1 << 20));
    free(checkpoint);
}

/* Documents give the prompt, those of the validation where there are any; other data a token to begin with.
 */
static void write_sample(RtTrainer *trainer, int64_t tokens) {
    const RtProgram *program = trainer->program;
    RtData *data = trainer->validate.count ? &trainer->validate : &trainer->train;
    const int format = data->format;
    RtVocabulary vocabulary;
    RtSample sample = {.prompts = 1,
                       .most = tokens,
                       .vocabulary = rt_vocabulary_open(&vocabulary, data) ? &vocabulary : NULL,
                       .format = format,
                       .temperature = trainer->options.temperature,
                       .seed = trainer->state.seed,
                       .step = trainer->state.step};
    int32_t first = 0, *given = NULL;
    if (format == RT_BYTES && program->vocab > '\n') first = '\n';
    if (format == RT_TEXT) {
        rt_data_read_tokens(data, data->shard, 0, 1);
        first = (int32_t)rt_data_token(data, data->shard, 0);
    }
    if (data->document) given = rt_documents_prompt(data, &sample.prompts);
    sample.prompt = given ? given : &first;
    char *prompt = given ? rt_tokens_text(sample.vocabulary, format, given, sample.prompts) : NULL;
    char *text = rt_sample_text(&trainer->run, program, &sample, &rt_stop_asked);
    rt_log_sample(&trainer->log, trainer->state.step, prompt, text);
    free(text), free(prompt), free(given);
    rt_vocabulary_close(&vocabulary);
}

static void finish(RtTrainer *trainer, int trained) {
    const RtProgram *program = trainer->program;
    int64_t sample = trainer->options.sample;
    write_folder(trainer, RT_OUT_ADAPTER, trained);
    write_folder(trainer, RT_OUT_MERGED, trained);
    if (sample < 0)
        sample = trained && trainer->train.format == RT_BYTES && !trainer->options.quiet ? 256 : 0;
    if (sample > 0 && !program->sample) rt_warn("this program was built without sampling");
    if (sample > 0 && program->sample && !rt_stop_asked) {
        write_sample(trainer, sample);
    }
    rt_log_end(&trainer->log, program, &trainer->run, trainer->state.step);
}

/* Everything between the device's opening and its closing. Nothing of an earlier run's is touched before all
 * that this one needs is known to be there. */
static int train(RtTrainer *trainer, RtProgram *program) {
    const RtOptions *options = &trainer->options;
    const char *dir = options->save_dir ? options->save_dir : trainer->program->save_dir;
    open_data(trainer);
    check_log_name(options->log);
    rt_log_open(&trainer->log, options->log, options->quiet);
    check_log(trainer);
    if (dir) open_folder(trainer, dir);
    allocate(trainer);
    initialise(trainer);
    count_steps(trainer, program);
    check_saving(trainer);
    rt_log_file_begin(&trainer->log.file, trainer->state.step, trainer->program->save_every,
                      options->fresh && dir);
    int trained = trainer->state.step < trainer->steps;
    if (!trained && !options->quiet)
        fprintf(stderr, "nothing to do: %lld of %lld steps are done\n", (long long)trainer->state.step,
                (long long)trainer->steps);
    int code = rt_loop(trainer);
    if (code == 0) finish(trainer, trained);
    if (trainer->run.profile) rt_profile_print(trainer->run.profile, stderr);
    return code;
}

/* Whether all that was to be written has been; the code that says so where it has not. */
static int end_output(RtTrainer *trainer, int code) {
    RtLog *log = &trainer->log;
    int had_log = log->file.path != NULL;
    rt_log_file_close(&log->file);
    if (had_log && log->file.lost) {
        rt_warn("the log '%s' lacks lines: %s", trainer->options.log, strerror(log->file.lost));
        if (code == 0) code = RT_EXIT_IO;
    }
    if (log->lost && code == 0) rt_loop_output_lost(trainer);
    return code;
}

static void release(RtTrainer *trainer) {
    rt_folder_close(&trainer->folder);
    rt_data_close(&trainer->validate);
    rt_data_close(&trainer->train);
    rt_batch_close(&trainer->batch);
    rt_results_close(&trainer->results);
    rt_steps_forget(&trainer->run);
    rt_device_close(&trainer->run);
    free(trainer->run.profile);
    rt_taken_close(&trainer->run);
    free(trainer->chunk);
}

int rt_main(const RtProgram *program, int argc, char **argv) {
    RtTrainer trainer = {.folder = {.lock = -1, .newest_step = -1}, .saved_step = -1};
    hold_standard_streams();
    int code = rt_options_parse(&trainer.options, program, argc, argv);
    if (code >= 0) return code;
    RtProgram whole = rt_whole(program);
    trainer.program = &whole;
    rt_device_prepare(argv);
    const RtOptions *options = &trainer.options;
#ifdef _OPENMP
    if (options->threads) omp_set_num_threads(options->threads);
#else
    if (options->threads > 1) rt_warn("--threads: this program was built without OpenMP");
#endif
    rt_loop_catch_signals();
    rt_device_open(&trainer.run, program->target);
    rt_device_products(program->product, program->products, program->libraries);
    check_memory(program, options->quiet);
    if (options->dry_run) {
        allocate(&trainer);
        rt_device_fill(trainer.run.arena, 0, program->arena_bytes);
        if (trainer.run.host) memset(trainer.run.host, 0, (size_t)program->host_bytes);
        rt_device_sync();
        if (!options->quiet) fprintf(stderr, "allocated; this was a dry run\n");
        code = 0;
    } else {
        code = end_output(&trainer, train(&trainer, &whole));
    }
    release(&trainer);
    rt_whole_free(program, &whole);
    return code;
}
