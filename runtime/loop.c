/* The steps of a run. A step is issued whole: rows, micro-steps, update, and last what it results in, which
 * is brought to the host. A device that computes beside the host gets the next one before the results are
 * read, so that it never waits; what is said of a step is said when they are:
 *
 *     host     | issue 1 | issue 2 | read 1 | issue 3 | read 2 | ..
 *     device             | 1               | 2                | 3 ..
 *
 * Before anything is saved, validated or sampled, all results are read. A signal between micro-steps drops
 * the unfinished step (only `update` writes parameters and states), or waits for its end (where micro-steps
 * write them too), saves and exits 75; nothing is saved within a step. */
#define _GNU_SOURCE
#include "trainer.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile sig_atomic_t rt_stop_asked;
static volatile sig_atomic_t asked; /* by others than SIGHUP */

/* A terminal that goes away may send SIGHUP more than once, and others with it: that is not impatience. */
static void on_signal(int number) {
    if (number != SIGHUP) {
        if (asked) _exit(128 + number);
        asked = 1;
    }
    rt_stop_asked = 1;
}

void rt_loop_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigemptyset(&action.sa_mask);
    rt_stop_asked = asked = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* nohup(1) has it ignored, so that the run goes on */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is answered like a full disk */
    signal(SIGPIPE, SIG_IGN); /* and so is a reader of the output that has gone */
}

/* ---- steps ---- */

/* What of the run is safe, for a message. */
static char *kept_text(const RtTrainer *trainer) {
    return trainer->folder.newest_step < 0
               ? rt_text("nothing was saved")
               : rt_text("the checkpoint of step %lld in '%s' is kept",
                         (long long)trainer->folder.newest_step, trainer->folder.dir);
}

static _Noreturn void diverged(const RtTrainer *trainer, const char *what, double value) {
    rt_fail(
        1,
        "the %s of step %lld is %s; %s. Lower the learning rate; --poison tells whether dead memory was read",
        what, (long long)trainer->state.step + 1, isnan(value) ? "not a number" : "infinite",
        kept_text(trainer));
}

/* A loss that leaves the rails is said where it does; with --max-loss it ends the run. */
static void watch_loss(RtTrainer *trainer, double loss) {
    RtWatch *watch = &trainer->watch;
    long long step = (long long)trainer->state.step + 1;
    if (loss > trainer->options.max_loss)
        rt_fail(1, "the loss of step %lld is %.6g, above --max-loss %g; %s", step, loss,
                trainer->options.max_loss, kept_text(trainer));
    if (!rt_watch_step(watch, loss)) return;
    rt_log_break(&trainer->log);
    rt_warn(
        "the loss runs away: %.6g at step %lld, where guessing gives %.4g; a lower learning rate may help, "
        "--max-loss ends such a run",
        loss, step, watch->guessing);
}

/* The next step to issue, counted from 0, and where its rows begin. */
static int64_t next_step(const RtTrainer *trainer) {
    return trainer->state.step + trainer->is_ahead;
}
static int64_t next_cursor(const RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    return trainer->state.cursor + trainer->is_ahead * program->accumulate * program->batch;
}

static void step_done(RtTrainer *trainer, const RtStepRecord *record) {
    const RtProgram *program = trainer->program;
    RtStepRecord said = *record;
    trainer->state.step++;
    trainer->state.cursor += program->accumulate * program->batch;
    said.step = trainer->state.step;
    said.steps = trainer->steps;
    rt_log_step(&trainer->log, program, &trainer->run, &said);
}

static void say_spike(RtTrainer *trainer, double loss) {
    enum { MOST_IN_A_ROW = 50 };
    const KGuard *guard = &trainer->state.guard;
    long long step = (long long)trainer->state.step + 1;
    if (guard->in_a_row > MOST_IN_A_ROW)
        rt_fail(1, "the losses of the last %d steps, to step %lld, were all spikes; %s", MOST_IN_A_ROW, step,
                kept_text(trainer));
    rt_log_break(&trainer->log);
    rt_warn("step %lld is passed over: its loss is %.6g, recent ones %.6g, give or take %.2g", step, loss,
            guard->mean, sqrt(guard->variance));
}

/* Reads the results of the step that is ahead, if there is one, and says what became of it. A loss that is no
 * number may have gone into the weights already, and into those of the step after: the program ends without
 * saving them. */
static void finish_step(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    if (!trainer->is_ahead) return;
    const RtResult result = *rt_results_read(&trainer->results);
    const RtAhead *ahead = &trainer->ahead;
    RtStepRecord record = ahead->record;
    const double read = rt_seconds();
    trainer->is_ahead = 0;
    record.loss = k_mean_loss(result.loss_sum, ahead->targets);
    record.seconds = fmax(read - fmax(ahead->begin, trainer->last_read), 1e-9);
    trainer->last_read = read;
    if (program->guard_spread > 0) {
        trainer->state.guard = result.verdict.guard;
        record.passed_over = result.verdict.passes != 0;
    }
    if (record.passed_over) {
        say_spike(trainer, (double)record.loss);
        trainer->state.passed_over++;
    } else {
        if (!isfinite(record.loss)) diverged(trainer, "loss", (double)record.loss);
        watch_loss(trainer, (double)record.loss);
        if (program->norm_offset >= 0) record.gradient_norm = sqrt((double)result.square_norm);
        if (program->norm_offset >= 0 && !isfinite(record.gradient_norm))
            diverged(trainer, "gradient norm", record.gradient_norm);
    }
    step_done(trainer, &record);
}

/* Hands the micro-steps to the device, and right behind them the update, which the guard may turn into
 * nothing; while they are computed, the rows of what comes next are read. 0 when a signal came before the
 * update: nothing has changed then. */
static int issue_step(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    RtRun *run = &trainer->run;
    RtData *data = &trainer->train;
    const uint64_t seed = trainer->state.seed;
    int64_t position = next_cursor(trainer);
    for (int64_t micro = 0; micro < program->accumulate; micro++) {
        if (rt_stop_asked) return 0;
        run->cx.micro = micro;
        rt_batch_train(&trainer->batch, run, program, data, seed, position);
        rt_steps_do(run, program, micro ? RT_LATER : RT_FIRST);
        position += program->batch;
    }
    if (rt_stop_asked && !program->updates_within) return 0;
    rt_steps_do(run, program, RT_UPDATE);
    rt_results_ask(&trainer->results, run, program);
    if (next_step(trainer) + 1 < trainer->steps)
        rt_batch_prepare(&trainer->batch, program, data, seed, position);
    return 1;
}

/* Issues the next optimizer step and finishes the one before it; on a device that computes when it is told
 * to, this one too. 0 when a signal came before its update. */
static int one_step(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    RtRun *run = &trainer->run;
    const int64_t counted = rt_batch_targets(&trainer->train, trainer->state.seed, next_cursor(trainer),
                                             program->batch * program->accumulate);
    RtAhead next = {.begin = rt_seconds(), .targets = (double)counted};
    next.record = (RtStepRecord){.loss = NAN,
                                 .targets = trainer->train.document ? counted : -1,
                                 .gradient_norm = -1,
                                 .learning_rate = rt_learning_rate(program, next_step(trainer))};
    if (!counted) { /* nothing to learn: weights and states stay as they are */
        finish_step(trainer);
        next.record.seconds = 1e-9;
        trainer->state.passed_over++;
        step_done(trainer, &next.record);
        return 1;
    }
    run->cx.seed = trainer->state.seed;
    run->cx.step = next_step(trainer);
    run->cx.passed_over = trainer->state.passed_over;
    run->cx.unheard = program->guard_spread > 0 && trainer->is_ahead;
    run->cx.learning_rate = (float)next.record.learning_rate;
    run->cx.targets = next.targets;
    run->cx.loss_scale = (float)(1 / next.targets);
    if (!issue_step(trainer)) return 0;
    finish_step(trainer);
    trainer->ahead = next;
    trainer->is_ahead = 1;
    if (!rt_device_beside()) finish_step(trainer);
    return 1;
}

static void validate(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    const int64_t all = rt_batch_rows(&trainer->validate), most = program->validate_batches;
    int64_t batches = all / program->batch, targets = 0;
    if (batches < 1) batches = 1;
    if (most > 0 && batches > most) batches = most;
    const int64_t rows = batches * program->batch, spread = rows < all ? rows : all;
    double sum = 0;
    trainer->run.cx.micro = 0;
    for (int64_t i = 0; i < batches; i++) {
        targets += rt_batch_validate(&trainer->batch, &trainer->run, program, &trainer->validate,
                                     i * program->batch, spread);
        rt_device_fill(trainer->run.arena + program->loss_offset, 0, sizeof(float));
        program->evaluate(&trainer->run);
        float loss;
        rt_device_download(&loss, trainer->run.arena + program->loss_offset, sizeof loss);
        sum += (double)loss;
    }
    rt_log_validation(&trainer->log, trainer->state.step, targets ? sum / (double)targets : NAN);
}

static void save(RtTrainer *trainer) {
    RtError error;
    if (!trainer->folder.dir || trainer->saved_step == trainer->state.step) return;
    if (!rt_folder_save(&trainer->folder, &trainer->run, trainer->program, &trainer->state,
                        &trainer->log.file, trainer->chunk, &error))
        rt_fail(RT_EXIT_IO, "%s", error.text);
    trainer->saved_step = trainer->state.step;
}

void rt_loop_output_lost(RtTrainer *trainer) {
    finish_step(trainer);
    save(trainer);
    rt_fail(RT_EXIT_IO, "cannot write to standard output: %s; %s%s", strerror(trainer->log.lost),
            kept_text(trainer), trainer->folder.newest_step < 0 ? "" : ", run again to go on");
}

static void say_stopped(const RtTrainer *trainer) {
    fprintf(stderr, "stopped by a signal after step %lld; %s\n", (long long)trainer->state.step,
            trainer->folder.dir ? "run again to resume" : "nothing is saved without a save folder");
}

static void warn_of_divergence(const RtTrainer *trainer) {
    const RtWatch *watch = &trainer->watch;
    if (watch->diverged)
        rt_warn("the run has diverged: its loss is about %.6g, where guessing gives %.4g; %s",
                rt_watch_mean(watch), watch->guessing, "start again with a lower learning rate");
}

int rt_loop(RtTrainer *trainer) {
    const RtProgram *program = trainer->program;
    const KVerdict before = {.guard = trainer->state.guard};
    rt_watch_begin(&trainer->watch, program->vocab, trainer->state.step);
    rt_device_upload((char *)trainer->run.verdict, &before, sizeof before);
    while (next_step(trainer) < trainer->steps) {
        if (rt_stop_asked || !one_step(trainer)) break;
        const int64_t step = next_step(trainer);
        const int validates = trainer->validate.count && step % program->validate_every == 0;
        const int saves =
            step == trainer->steps || (program->save_every > 0 && step % program->save_every == 0);
        if (validates || saves) finish_step(trainer);
        if (validates) validate(trainer);
        if (saves) save(trainer);
        if (trainer->log.lost && !rt_stop_asked) rt_loop_output_lost(trainer);
    }
    finish_step(trainer);
    warn_of_divergence(trainer);
    if (trainer->state.step >= trainer->steps) return 0;
    rt_log_break(&trainer->log);
    save(trainer);
    if (!trainer->options.quiet) say_stopped(trainer);
    return RT_EXIT_SAVED;
}
