/* Watches the loss for a run that has left the rails. A model that knows nothing guesses, at a loss of
 * ln(vocabulary); runs begin there, or higher where the first weights are bad, and fall. Three things do not
 * happen to a sound run, whatever the noise of its batches, the warmup or the data of a fine-tuning:
 *
 *   - the mean of recent losses is over twice what guessing gives, and over twice what the run began with;
 *   - it is over both by a quarter when a hundred steps are done;
 *   - it is over three times the lowest it ever was and has lost more than a quarter of ln(vocabulary) to it,
 *     which a jump among small losses (0.01 to 0.05) is not.
 *
 * The mean weighs a step by 0.9 to the number of steps since: some ten steps. */
#include "internal.h"

#include <math.h>

enum { SETTLED = 10, BEGUN = 100 }; /* steps before a mean counts as the lowest; before it must have fallen */

void rt_watch_begin(RtWatch *watch, int64_t vocab, int64_t step) {
    double guessing = log((double)(vocab > 2 ? vocab : 2));
    /* a run that goes on is beyond its first losses; one that begins has its limit raised by the first */
    *watch = (RtWatch){.guessing = guessing, .limit = 2 * guessing, .best = INFINITY, .seen = step > 0};
}

double rt_watch_mean(const RtWatch *watch) {
    return watch->sum / watch->weight;
}

int rt_watch_step(RtWatch *watch, double loss) {
    if (!watch->seen && 2 * loss > watch->limit) watch->limit = 2 * loss;
    watch->seen++;
    watch->sum = 0.9 * watch->sum + 0.1 * loss;
    watch->weight = 0.9 * watch->weight + 0.1;
    double mean = rt_watch_mean(watch);
    if (watch->seen >= SETTLED && mean < watch->best) watch->best = mean;
    int was = watch->diverged;
    double lost = mean - watch->best,
           ease = was ? 0.8 : 1; /* a run on the edge is not warned of again and again */
    double limit = watch->seen > BEGUN ? 0.625 * watch->limit : watch->limit;
    watch->diverged =
        mean > ease * limit || (lost > ease * 2 * watch->best && lost > ease * 0.25 * watch->guessing);
    return watch->diverged && !was;
}
