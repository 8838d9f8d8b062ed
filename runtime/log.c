/* What a run says. On a terminal: one line, rewritten in place. Otherwise: one JSON line a step on stdout.
 * With --log the JSON lines also go to a file (log_file.c). Tables and summaries go to stderr, so stdout
 * stays JSON. Floats are printed with nine digits, which tell any two apart. Standard output that cannot be
 * written is noted, for the loop to end on. */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void size_text(char *text, size_t size, int64_t bytes) {
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int i = 0;
    while (value >= 1024 && i < 4) value /= 1024, i++;
    snprintf(text, size, i ? "%.2f %s" : "%.0f %s", value, unit[i]);
}

static void time_text(char *text, size_t size, double seconds) {
    long long whole = (long long)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(text, size, "%lldh%02lldm", whole / 3600, whole / 60 % 60);
    else
        snprintf(text, size, "%lldm%02llds", whole / 60, whole % 60);
}

void rt_log_open(RtLog *log, const char *path, int quiet) {
    *log = (RtLog){.terminal = isatty(STDOUT_FILENO), .quiet = quiet};
    rt_log_file_open(&log->file, path);
}

/* After every write: an interrupting signal is answered by the loop, anything else by ending the run. */
static void flush(RtLog *log) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return;
    if (errno != EINTR && !log->lost) log->lost = errno ? errno : EIO;
    clearerr(stdout);
}

void rt_log_break(RtLog *log) {
    if (log->line_open) fputc('\n', stdout);
    log->line_open = 0;
    flush(log);
}

/* A JSON line to the file, and to stdout where that is no terminal. */
static void emit(RtLog *log, const char *line) {
    rt_log_file_write(&log->file, line);
    if (log->quiet || log->terminal || log->lost) return;
    printf("%s\n", line);
    flush(log);
}

/* A JSON number, or null where there is none. */
static const char *number_text(char text[32], double value) {
    snprintf(text, 32, isfinite(value) ? "%.9g" : "null", value);
    return text;
}

static void print_free(const char *where, int64_t bytes) {
    char text[32] = "not known";
    if (bytes >= 0) size_text(text, sizeof text, bytes);
    fprintf(stderr, "  %-24s %12s\n", where, text);
}

void rt_log_plan(const RtProgram *program, int64_t free_bytes, int64_t host_free_bytes) {
    char text[32];
    size_text(text, sizeof text, program->arena_bytes);
    rt_say(stderr, "%s (%s) on %s: planned memory %s (%lld bytes)\n", program->model, program->source,
           rt_device_name(), text, (long long)program->arena_bytes);
    for (int i = 0; i < program->categories; i++) {
        size_text(text, sizeof text, program->category[i].bytes);
        rt_say(stderr, "  %-24s %12s\n", program->category[i].name, text);
    }
    print_free("free on the device", free_bytes);
    if (program->host_bytes <= 0) return;
    size_text(text, sizeof text, program->host_bytes);
    fprintf(stderr, "planned pinned host memory %s (%lld bytes)\n", text, (long long)program->host_bytes);
    print_free("free on the host", host_free_bytes);
}

void rt_log_recorded(const RtNodes *nodes, const char *why_not) {
    if (why_not) {
        fprintf(stderr, "steps: operation by operation (%s)\n", why_not);
        return;
    }
    fprintf(stderr, "steps: recorded as graphs of %lld nodes", (long long)nodes->of[RT_FIRST]);
    if (nodes->of[RT_LATER]) fprintf(stderr, " (%lld in later micro-steps)", (long long)nodes->of[RT_LATER]);
    if (nodes->of[RT_UPDATE]) fprintf(stderr, " and %lld", (long long)nodes->of[RT_UPDATE]);
    fprintf(stderr, "\n");
}

void rt_log_warm(const RtProgram *program, int64_t used_bytes, int64_t free_bytes) {
    char planned[32], measured[32], left[32];
    size_text(planned, sizeof planned, program->reserved_bytes);
    size_text(measured, sizeof measured, used_bytes - program->arena_bytes);
    size_text(left, sizeof left, free_bytes);
    rt_say(stderr, "context and libraries: planned %s, measured %s; %s of the device left\n", planned,
           measured, left);
}

static double batch_tokens(const RtProgram *program) {
    return (double)(program->batch * program->context * program->accumulate);
}

/* One line that fits the terminal, over the last one. */
static void rewrite_line(RtLog *log, const RtProgram *program, const RtRun *run, const RtStepRecord *record,
                         double left) {
    char planned[32], measured[32], time_left[32], share[32] = "", loss[32] = "none", shown[256];
    struct winsize window = {0};
    int width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1 : 255;
    size_text(planned, sizeof planned, program->arena_bytes);
    size_text(measured, sizeof measured, run->high_water_bytes);
    time_text(time_left, sizeof time_left, left);
    if (program->peak_flops > 0)
        snprintf(share, sizeof share, "  mfu %.0f%%",
                 100 * program->flops / (record->seconds * program->peak_flops));
    if (!isnan(record->loss)) snprintf(loss, sizeof loss, "%.4f", (double)record->loss);
    snprintf(shown, sizeof shown,
             "step %lld/%lld  loss %s  norm %.2f  lr %.1e  %.3f s  %.0f tok/s%s  left %s  mem %s of %s",
             (long long)record->step, (long long)record->steps, loss,
             record->gradient_norm >= 0 ? record->gradient_norm : 0.0, record->learning_rate, record->seconds,
             batch_tokens(program) / record->seconds, share, time_left, measured, planned);
    printf("\r\033[K%.*s", width, shown);
    log->line_open = 1;
    flush(log);
}

void rt_log_step(RtLog *log, const RtProgram *program, const RtRun *run, const RtStepRecord *record) {
    log->measured_steps++;
    log->measured_seconds += record->seconds;
    double mean = log->measured_seconds / (double)log->measured_steps;
    double left = mean * (double)(record->steps - record->step);
    char mfu[32] = "null", norm[32] = "null", rate[32];
    if (program->peak_flops > 0)
        snprintf(mfu, sizeof mfu, "%.4f", program->flops / (record->seconds * program->peak_flops));
    if (record->gradient_norm >= 0) snprintf(norm, sizeof norm, "%.9g", record->gradient_norm);
    char line[512], loss[32], targets[48] = "";
    if (record->targets >= 0)
        snprintf(targets, sizeof targets, "\"loss_tokens\":%lld,", (long long)record->targets);
    snprintf(line, sizeof line,
             "{\"step\":%lld,\"loss\":%s,%s%s\"grad_norm\":%s,\"learning_rate\":%s,\"step_seconds\":%.6f,"
             "\"tokens_per_second\":%.1f,\"mfu\":%s,\"planned_bytes\":%lld,\"measured_bytes\":%lld,"
             "\"time_left_seconds\":%.1f}",
             (long long)record->step, number_text(loss, (double)record->loss), targets,
             record->passed_over ? "\"passed_over\":true," : "", norm,
             number_text(rate, record->learning_rate), record->seconds,
             batch_tokens(program) / record->seconds, mfu, (long long)program->arena_bytes,
             (long long)run->high_water_bytes, left);
    emit(log, line);
    if (!log->quiet && log->terminal) rewrite_line(log, program, run, record, left);
}

void rt_log_validation(RtLog *log, int64_t step, double loss) {
    char line[128], number[32];
    snprintf(line, sizeof line, "{\"step\":%lld,\"validation_loss\":%s}", (long long)step,
             number_text(number, loss));
    emit(log, line);
    if (log->quiet || !log->terminal) return;
    rt_log_break(log);
    printf("step %lld  validation loss %.4f\n", (long long)step, loss);
    flush(log);
}

void rt_log_sample(RtLog *log, int64_t step, const char *prompt, const char *text) {
    char *quoted = rt_json_string(text), *before = prompt ? rt_json_string(prompt) : NULL,
         *line = rt_text("{\"step\":%lld,%s%s%s\"sample\":%s}", (long long)step, prompt ? "\"prompt\":" : "",
                         prompt ? before : "", prompt ? "," : "", quoted);
    emit(log, line);
    free(line);
    free(quoted);
    free(before);
    rt_log_break(log);
    if (log->quiet) return;
    if (prompt) rt_say(stderr, "---- prompt ----\n%s\n", prompt);
    rt_say(stderr, "---- sample ----\n%s\n----------------\n", text);
}

static void print_peak(const char *what, int64_t planned_bytes, int64_t measured_bytes) {
    char planned[32], measured[32];
    size_text(planned, sizeof planned, planned_bytes);
    size_text(measured, sizeof measured, measured_bytes);
    fprintf(stderr, "%s: planned %s (%lld bytes), measured %s (%lld bytes)\n", what, planned,
            (long long)planned_bytes, measured, (long long)measured_bytes);
}

void rt_log_end(RtLog *log, const RtProgram *program, const RtRun *run, int64_t step) {
    rt_log_break(log);
    if (!log->measured_steps) return;
    double mean = log->measured_seconds / (double)log->measured_steps;
    const int64_t process = program->process_bytes ? rt_process_peak_bytes() : -1;
    const int64_t planned_process = program->arena_bytes + program->host_bytes + program->process_bytes +
                                    rt_threads() * (int64_t)RT_THREAD_BYTES;
    char line[512], host[128] = "", whole[128] = "";
    if (process >= 0)
        snprintf(whole, sizeof whole, "\"planned_process_bytes\":%lld,\"measured_process_bytes\":%lld,",
                 (long long)planned_process, (long long)process);
    if (program->host_bytes > 0)
        snprintf(host, sizeof host, "\"planned_host_bytes\":%lld,\"measured_host_bytes\":%lld,",
                 (long long)program->host_bytes, (long long)run->host_high_water_bytes);
    snprintf(
        line, sizeof line,
        "{\"step\":%lld,\"planned_bytes\":%lld,\"measured_bytes\":%lld,%s%s\"planned_step_seconds\":%.6f,"
        "\"measured_step_seconds\":%.6f}",
        (long long)step, (long long)program->arena_bytes, (long long)run->high_water_bytes, host, whole,
        program->planned_seconds, mean);
    emit(log, line);
    if (log->quiet) return;
    print_peak("peak memory", program->arena_bytes, run->high_water_bytes);
    if (program->host_bytes > 0)
        print_peak("pinned host memory", program->host_bytes, run->host_high_water_bytes);
    if (process >= 0) print_peak("memory of the process", planned_process, process);
    fprintf(stderr, "step time: planned %.3f s, measured %.3f s (mean of %lld)\n", program->planned_seconds,
            mean, (long long)log->measured_steps);
}
