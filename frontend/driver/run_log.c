/* See run_log.h. A line without a loss (an evaluation, a sample, the last one, which has the peaks and the
 * planned time) adds no step. Where a run was resumed, the later line of a step counts. */
#include "frontend/driver/run_log.h"

#include "codegen/json_tree.h"
#include "frontend/driver/message.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int64_t integer_of(const json_t *line, const char *key, int64_t otherwise) {
    const json_t *value = json_object_get(line, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static double real_of(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void add_step(RunLog *run, const RunStep *step, Arena *arena) {
    while (run->step.count && run->step.at[run->step.count - 1].step >= step->step) run->step.count--;
    *vec_add(arena, &run->step) = *step;
}

static bool read_line(RunLog *run, const char *text, size_t length, Arena *arena) {
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    bool is_log =
        json_is_object(line) && (json_object_get(line, "step") || json_object_get(line, "planned_bytes"));
    if (is_log) {
        run->planned_bytes = integer_of(line, "planned_bytes", run->planned_bytes);
        run->measured_bytes = integer_of(line, "measured_bytes", run->measured_bytes);
        run->planned_host_bytes = integer_of(line, "planned_host_bytes", run->planned_host_bytes);
        run->measured_host_bytes = integer_of(line, "measured_host_bytes", run->measured_host_bytes);
        RunStep step = {.step = integer_of(line, "step", -1),
                        .loss = real_of(line, "loss"),
                        .seconds = real_of(line, "step_seconds")};
        if (json_object_get(line, "loss") && step.step >= 0) add_step(run, &step, arena);
    }
    json_decref(line);
    return is_log;
}

int run_log_read(const Options *options, Arena *arena, RunLog **run) {
    size_t length;
    const char *path = options->log, *text = read_file(arena, path, &length);
    if (!text) return message_fail(options, EXIT_IO, "cannot read '%s': %s", path, read_file_error());
    *run = NEW(arena, RunLog);
    (*run)->path = path;
    uint32_t number = 0;
    for (const char *end = text + length, *next; text < end; text = next) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        next = stop ? stop + 1 : end;
        number++;
        size_t bytes = (size_t)((stop ? stop : end) - text);
        if (!bytes || read_line(*run, text, bytes, arena)) continue;
        if (!stop) break; /* a run that was killed while it wrote */
        return message_fail_at(options, EXIT_IO, path, number, 0, "this is no line of a trainer's log");
    }
    if ((*run)->step.count) return -1;
    return message_fail(options, EXIT_IO, "'%s' has no step of a trainer", path);
}
