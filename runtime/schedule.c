/* The learning rate of a step: a linear rise, then the program's schedule. */
#include "internal.h"

#include <math.h>

double rt_learning_rate(const RtProgram *program, int64_t step) {
    if (step < program->warmup_steps)
        return program->learning_rate * (double)(step + 1) / (double)program->warmup_steps;
    if (program->schedule == RT_CONSTANT) return program->learning_rate;
    double begin = (double)program->warmup_steps;
    if (program->schedule == RT_WSD) begin = fmax(begin, (1 - program->decay_part) * (double)program->steps);
    double length = (double)program->steps - begin;
    double progress = length > 0 ? ((double)step - begin) / length : 1;
    progress = fmin(fmax(progress, 0), 1);
    double shape =
        program->schedule == RT_COSINE ? 0.5 * (1 + cos(3.14159265358979323846 * progress)) : 1 - progress;
    return program->learning_rate * (program->floor + (1 - program->floor) * shape);
}
