/* Lazy replay of a retention (problem.h). In: what each gap keeps; out: the sequence of runs, its seconds and
 * its exact peak. Invariant: an instance lives from the run that makes it to its last read before the storage
 * is made anew, and a run's inputs, outputs and workspace are all live during it, but for an output that
 * takes over an input dying there. */
#include "planner/problem/replay.h"
#include "planner/problem/copies.h"

#include <string.h>

typedef struct Place {
    uint32_t touched; /* the time a storage was last made or read, NONE if never */
    uint32_t gap;     /* that holds the current time */
} Place;

/* That a storage was asked for at a time, as it was last touched before. */
typedef struct Query {
    uint32_t time, touched;
    uint32_t next; /* of the same gap; NONE */
} Query;

/* Where the generation of runs stands at a time. */
typedef struct State {
    uint32_t runs, made;
    double seconds;
    Place *place;
} State;

/* A replay that others with one gap changed go on from. */
typedef struct Base {
    bool records;
    VEC(Query) query;
    uint32_t *first, *last; /* by gap: its queries */
    State *at;              /* by time */
    VEC(Run) run;
    VEC(uint32_t) time; /* by run */
} Base;

/* What a replay leaves beside the sequence. */
typedef struct Outcome {
    /* by run */
    VEC(uint32_t) time;
    VEC(int64_t) live; /* before `measure`: of what dies with it */
    VEC(uint32_t) death_first, death;
    Lists deaths;
} Outcome;

struct Replay {
    const Problem *p;
    Arena *arena;
    Place *place;         /* by storage */
    uint32_t *mark;       /* by operation: the last time + 1 it was called for */
    uint32_t *pending;    /* operations of the current group */
    uint64_t *is_pending; /* a bit an operation, while they are sorted */
    int64_t *made_bytes;  /* by operation: of what it makes */
    uint32_t made;        /* storages, over all runs */
    Outcome last, aside;
    Sequence sequence_aside;
    bool *read_later; /* by storage, scanning backwards */
    Copies *copies;
    bool copies_run; /* there are some */
    Base *base;      /* NULL: none was asked for */
};

Replay *replay_new(const Problem *p, Arena *arena) {
    Replay *r = NEW(arena, Replay);
    r->p = p;
    r->arena = arena;
    r->place = NEW_ARRAY(arena, Place, p->storages + 1);
    r->read_later = NEW_ARRAY(arena, bool, p->storages + 1);
    r->mark = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    r->pending = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    r->is_pending = NEW_ARRAY(arena, uint64_t, p->ops / 64 + 1);
    r->made_bytes = NEW_ARRAY(arena, int64_t, p->ops + 1);
    for (uint32_t op = 0; op < p->ops; op++)
        for (EACH(k, p->makes, op)) r->made_bytes[op] += p->bytes[p->makes.list[k]];
    if (p->host_bytes > 0) r->copies = copies_new(p, arena);
    return r;
}

/* Whether what was there of `s` when it was last touched is still there at `time`. */
static bool is_kept(const Keep *keep, uint32_t touched, uint32_t time) {
    return keep->from <= touched || (time <= keep->until && keep->since <= touched);
}

static bool available(const Replay *r, const Keep *retain, uint32_t s, uint32_t time) {
    const Place *place = &r->place[s];
    return place->touched != NONE && is_kept(&retain[place->gap], place->touched, time);
}

/* Puts the `count` pending operations in order, each of which is there once. They mostly are a stretch of the
 * forward pass, found from its end. */
static void sort_pending(Replay *r, uint32_t count) {
    uint32_t low = NONE, high = 0, next = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t op = r->pending[i], word = op / 64;
        r->is_pending[word] |= UINT64_C(1) << op % 64;
        if (word < low) low = word;
        if (word > high) high = word;
    }
    for (uint32_t word = low; word <= high; word++) {
        uint64_t left = r->is_pending[word];
        r->is_pending[word] = 0;
        for (; left; left &= left - 1) r->pending[next++] = word * 64 + (uint32_t)__builtin_ctzll(left);
    }
}

static void record_query(Base *base, const Place *place, uint32_t time, Arena *arena) {
    Query *query = vec_add(arena, &base->query);
    *query = (Query){.time = time, .touched = place->touched, .next = NONE};
    uint32_t at = base->query.count - 1, gap = place->gap;
    *(base->first[gap] == NONE ? &base->first[gap] : &base->query.at[base->last[gap]].next) = at;
    base->last[gap] = at;
}

/* The operations that must run again before `time` can, ascending, into r->pending. */
static uint32_t missing(Replay *r, const Keep *retain, uint32_t time) {
    const Problem *p = r->p;
    uint32_t count = 0;
    for (uint32_t next = 0, op = time;; op = r->pending[next++]) {
        for (EACH(i, p->reads, op)) {
            uint32_t s = p->reads.list[i];
            if (r->base && r->base->records) record_query(r->base, &r->place[s], time, r->arena);
            if (available(r, retain, s, time)) continue;
            uint32_t maker = p->maker[s];
            if (r->mark[maker] == time + 1) continue;
            if (!problem_may_rerun(p, maker, time))
                die("operation %u is needed again at %u but may not be", maker, time);
            r->mark[maker] = time + 1;
            r->pending[count++] = maker;
        }
        if (next == count) break;
    }
    if (count > 1) sort_pending(r, count);
    return count;
}

/* Notes what an operation touched at `time`. */
static void touch(Replay *r, uint32_t op, uint32_t time) {
    const Problem *p = r->p;
    for (EACH(i, p->reads, op)) r->place[p->reads.list[i]].touched = time;
    for (EACH(i, p->makes, op)) r->place[p->makes.list[i]].touched = time;
}

/* The same where it runs for the first time: each storage it reads then comes to its next gap. */
static void touch_first(Replay *r, uint32_t op) {
    const Problem *p = r->p;
    for (EACH(i, p->reads, op)) {
        Place *place = &r->place[p->reads.list[i]];
        place->touched = op;
        place->gap++;
    }
    for (EACH(i, p->makes, op)) r->place[p->makes.list[i]].touched = op;
}

/* Appends the `count` pending operations and the one they run again for. */
static void add_runs(Replay *r, uint32_t count, uint32_t time, Sequence *sequence) {
    const Problem *p = r->p;
    vec_room(r->arena, &sequence->run, count + 1);
    vec_room(r->arena, &r->last.time, count + 1);
    Run *run = &sequence->run.at[sequence->run.count];
    uint32_t *times = &r->last.time.at[r->last.time.count];
    double seconds = sequence->seconds;
    for (uint32_t i = 0; i <= count; i++) {
        uint32_t op = i < count ? r->pending[i] : time;
        run[i] = (Run){op, i < count};
        times[i] = time;
        seconds += p->seconds[op];
        r->made += list_end(&p->makes, op) - list_begin(&p->makes, op);
    }
    sequence->seconds = seconds;
    sequence->run.count += count + 1;
    r->last.time.count += count + 1;
}

static void record_state(const Replay *r, const Sequence *sequence, State *state) {
    state->runs = sequence->run.count;
    state->made = r->made;
    state->seconds = sequence->seconds;
    memcpy(state->place, r->place, sizeof *r->place * r->p->storages);
}

static void generate_from(Replay *r, const Keep *retain, uint32_t time, Sequence *sequence) {
    const Problem *p = r->p;
    memset(r->mark, 0, sizeof *r->mark * p->ops);
    for (; time < p->ops; time++) {
        if (r->base && r->base->records) record_state(r, sequence, &r->base->at[time]);
        uint32_t count = missing(r, retain, time);
        add_runs(r, count, time, sequence);
        for (uint32_t i = 0; i < count; i++) touch(r, r->pending[i], time);
        touch_first(r, time);
    }
}

static void generate(Replay *r, const Keep *retain, Sequence *sequence) {
    const Problem *p = r->p;
    sequence->run.count = r->last.time.count = r->made = 0;
    sequence->seconds = 0;
    for (uint32_t s = 0; s < p->storages; s++) r->place[s] = (Place){NONE, p->gap_first[s]};
    generate_from(r, retain, 0, sequence);
}

/* Which storages die with each run: at their last read before they are made anew, or at once if never read.
 * What is made dies once, so the lists are as long as what is made, and are filled from their end. */
static void find_deaths(Replay *r, const Sequence *sequence) {
    const Problem *p = r->p;
    uint32_t runs = sequence->run.count, left = r->made;
    r->last.death.count = r->last.death_first.count = r->last.live.count = 0;
    vec_room(r->arena, &r->last.death, r->made);
    vec_room(r->arena, &r->last.death_first, runs + 1);
    vec_room(r->arena, &r->last.live, runs);
    memset(r->read_later, 0, sizeof *r->read_later * p->storages);
    uint32_t *death = r->last.death.at, *first = r->last.death_first.at;
    bool *read_later = r->read_later;
    first[runs] = left;
    for (uint32_t i = runs; i-- > 0;) {
        uint32_t op = sequence->run.at[i].op;
        int64_t bytes = 0;
        for (EACH(k, p->makes, op)) {
            uint32_t s = p->makes.list[k];
            if (!read_later[s]) death[--left] = s, bytes += p->bytes[s];
            read_later[s] = false;
        }
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            if (!read_later[s]) death[--left] = s, bytes += p->bytes[s];
            read_later[s] = true;
        }
        first[i] = left;
        r->last.live.at[i] = bytes;
    }
    r->last.deaths = (Lists){first, death};
}

/* The storage that dies with run `i` whose bytes the run's first output takes over; NONE if there is none. */
static uint32_t taken_over(const Replay *r, uint32_t i, uint32_t op) {
    for (EACH(k, r->p->takeover, op))
        for (EACH(d, r->last.deaths, i))
            if (r->last.deaths.list[d] == r->p->takeover.list[k]) return r->p->takeover.list[k];
    return NONE;
}

static void measure(Replay *r, Sequence *sequence) {
    const Problem *p = r->p;
    const Copies *copies = r->copies;
    uint32_t count = r->copies_run ? copies->copy.count : 0, fetched = 0, freed = 0;
    uint32_t runs = sequence->run.count, peak_run = 0;
    int64_t live = p->persistent_bytes, peak = live, *by_run = r->last.live.at;
    for (uint32_t i = 0; i < runs; i++) {
        uint32_t op = sequence->run.at[i].op, taken = taken_over(r, i, op);
        int64_t passed_on = taken == NONE ? 0 : p->bytes[taken], dying = by_run[i];
        for (; fetched < count && copies_in(copies, &copies->need, fetched)->fetch_run <= i; fetched++)
            live += p->bytes[copies_in(copies, &copies->need, fetched)->storage];
        live += r->made_bytes[op] - passed_on;
        int64_t now = by_run[i] = live + p->workspace_bytes[op];
        if (now > peak) peak = now, peak_run = i;
        live -= dying - passed_on;
        for (; freed < count && copies_in(copies, &copies->freed, freed)->free_run <= i + 1; freed++)
            live -= p->bytes[copies_in(copies, &copies->freed, freed)->storage];
    }
    r->last.live.count = runs;
    sequence->peak_bytes = peak;
    sequence->peak_run = peak_run;
}

void replay(Replay *r, const Keep *retain, Sequence *sequence) {
    double began = stats_begin(r->p->stats);
    generate(r, retain, sequence);
    find_deaths(r, sequence);
    sequence->wait_seconds = 0;
    r->copies_run = r->copies && copies_find(r->copies, retain, sequence, r->last.time.at);
    if (r->copies_run) sequence->wait_seconds = r->copies->wait_seconds;
    sequence->seconds += sequence->wait_seconds;
    measure(r, sequence);
    stats_end(r->p->stats, STATS_REPLAY, began, sequence->run.count);
}

static void swap_aside(Replay *r, Sequence *sequence) {
    Outcome last = r->last;
    Sequence swap = *sequence;
    r->last = r->aside;
    *sequence = r->sequence_aside;
    r->aside = last;
    r->sequence_aside = swap;
}

void replay_put_aside(Replay *r, Sequence *sequence) {
    if (r->copies) return; /* where they lie is not kept */
    swap_aside(r, sequence);
}

bool replay_take_back(Replay *r, Sequence *sequence) {
    if (r->copies) return false;
    swap_aside(r, sequence);
    return true;
}

static Base *base_new(const Problem *p, Arena *arena) {
    Base *base = NEW(arena, Base);
    base->first = NEW_ARRAY(arena, uint32_t, p->gaps + 1);
    base->last = NEW_ARRAY(arena, uint32_t, p->gaps + 1);
    base->at = NEW_ARRAY(arena, State, p->ops + 1);
    for (uint32_t time = 0; time < p->ops; time++)
        base->at[time].place = NEW_ARRAY(arena, Place, p->storages + 1);
    return base;
}

void replay_base(Replay *r, const Keep *retain, Sequence *sequence) {
    const Problem *p = r->p;
    if (r->copies) die("a base with copies");
    if (!r->base) r->base = base_new(p, r->arena);
    Base *base = r->base;
    base->records = true;
    base->query.count = base->run.count = base->time.count = 0;
    memset(base->first, 0xff, sizeof *base->first * p->gaps);
    replay(r, retain, sequence);
    base->records = false;
    uint32_t runs = sequence->run.count;
    vec_room(r->arena, &base->run, runs);
    vec_room(r->arena, &base->time, runs);
    base->run.count = base->time.count = runs;
    memcpy(base->run.at, sequence->run.at, sizeof *base->run.at * runs);
    memcpy(base->time.at, r->last.time.at, sizeof *base->time.at * runs);
}

/* The first time at which it makes a difference that the base's retention is `retain` in one gap; NONE. */
static uint32_t first_difference(const Base *base, const Keep *before, const Keep *retain, uint32_t gap) {
    for (uint32_t q = base->first[gap]; q != NONE; q = base->query.at[q].next) {
        const Query *query = &base->query.at[q];
        if (query->touched == NONE) continue;
        if (is_kept(before, query->touched, query->time) != is_kept(retain, query->touched, query->time))
            return query->time;
    }
    return NONE;
}

bool replay_changed(Replay *r, const Keep *retain, uint32_t gap, Keep before, Sequence *sequence) {
    const Base *base = r->base;
    uint32_t time = first_difference(base, &before, &retain[gap], gap);
    if (time == NONE) return false;
    const State *state = &base->at[time];
    sequence->run.count = r->last.time.count = 0;
    vec_room(r->arena, &sequence->run, state->runs);
    vec_room(r->arena, &r->last.time, state->runs);
    memcpy(sequence->run.at, base->run.at, sizeof *base->run.at * state->runs);
    memcpy(r->last.time.at, base->time.at, sizeof *base->time.at * state->runs);
    memcpy(r->place, state->place, sizeof *r->place * r->p->storages);
    sequence->run.count = r->last.time.count = state->runs;
    sequence->seconds = state->seconds;
    r->made = state->made;
    generate_from(r, retain, time, sequence);
    find_deaths(r, sequence);
    sequence->wait_seconds = 0;
    measure(r, sequence);
    return true;
}

const int64_t *replay_live(const Replay *r) {
    return r->last.live.at;
}
const uint32_t *replay_time(const Replay *r) {
    return r->last.time.at;
}
const Lists *replay_deaths(const Replay *r) {
    return &r->last.deaths;
}
const Copies *replay_copies(const Replay *r) {
    return r->copies_run ? r->copies : NULL;
}

static void add_value_step(const Replay *r, StepKind kind, uint32_t s, Arena *arena, Plan *plan) {
    ValueId root = r->p->storage_root ? r->p->storage_root[s] : s;
    *vec_add(arena, &plan->step) = (Step){.kind = kind, .node = NONE, .value = root};
}

void replay_plan(Replay *r, const Sequence *sequence, Arena *arena, Plan *plan) {
    const Problem *p = r->p;
    const Copies *copies = r->copies;
    uint32_t count = r->copies_run ? copies->copy.count : 0, fetched = 0, gone = 0, freed = 0;
    plan->step.count = 0;
    vec_room(arena, &plan->step,
             sequence->run.count + list_begin(&r->last.deaths, sequence->run.count) + 3 * count);
    plan->update_begin = NONE;
    plan->seconds = sequence->seconds;
    plan->wait_seconds = sequence->wait_seconds;
    plan->recompute_seconds = 0;
    plan->offload_bytes = 0;
    for (uint32_t i = 0; i < sequence->run.count; i++) {
        Run run = sequence->run.at[i];
        for (; fetched < count && copies_in(copies, &copies->need, fetched)->fetch_run <= i; fetched++)
            add_value_step(r, STEP_FETCH, copies_in(copies, &copies->need, fetched)->storage, arena, plan);
        if (run.op == p->update_begin && !run.again) plan->update_begin = plan->step.count;
        *vec_add(arena, &plan->step) = (Step){.kind = run.again ? STEP_RECOMPUTE : STEP_RUN,
                                              .node = p->op_node ? p->op_node[run.op] : run.op,
                                              .value = NONE};
        if (run.again) plan->recompute_seconds += p->seconds[run.op];
        for (EACH(d, r->last.deaths, i)) add_value_step(r, STEP_FREE, r->last.deaths.list[d], arena, plan);
        for (; gone < count && copies->copy.at[gone].out_run <= i; gone++) {
            if (copies->copy.at[gone].held) continue;
            add_value_step(r, STEP_OFFLOAD, copies->copy.at[gone].storage, arena, plan);
            plan->offload_bytes += p->bytes[copies->copy.at[gone].storage];
        }
        for (; freed < count && copies_in(copies, &copies->freed, freed)->free_run <= i + 1; freed++)
            add_value_step(r, STEP_FREE, copies_in(copies, &copies->freed, freed)->storage, arena, plan);
    }
    if (plan->update_begin == NONE) plan->update_begin = plan->step.count;
    plan->live_bytes = sequence->peak_bytes;
}
