/* See glob.h. A pattern is run as a nondeterministic automaton, all states it may be in at once (Thompson
 * 1968): state i is "the next to match is byte i of the pattern", the last state is the end.
 *
 *     a {  b ,  c *  ,  d }  e        '{' leads to its first byte and behind each of its commas,
 *     0 1  2 3  4 5  6  7 8  9        a comma, which ends what stands before it, to behind its '}' */
#include "ir/glob.h"

#include <string.h>

typedef enum Part { PART_BYTE, PART_ONE, PART_ANY, PART_OPEN, PART_COMMA, PART_CLOSE, PART_END } Part;

typedef struct State {
    Part part;
    char byte;
    uint32_t comma; /* of '{' the first comma, of a comma the next of the same braces; NONE: there is none */
    uint32_t close; /* of a comma: the '}' */
    uint32_t seen;  /* the last round that added it */
} State;

typedef struct StateSet {
    uint32_t *at, count;
} StateSet;

struct Glob {
    State *state;
    uint32_t end;     /* the last state */
    uint32_t literal; /* so many bytes at the start stand for themselves */
    uint32_t round;
    const char *pattern;
    StateSet now, next;
    uint32_t *stack;
};

/* Finds the braces that have a partner, and the commas between them. */
static void pair_braces(Glob *glob, Arena *arena) {
    State *state = glob->state;
    uint32_t *open = NEW_ARRAY(arena, uint32_t, glob->end + 1), depth = 0;
    for (uint32_t i = 0; i < glob->end; i++) {
        if (state[i].byte == '{') open[depth++] = i;
        if (state[i].byte != '}' || !depth) continue;
        state[open[--depth]].part = PART_OPEN;
        state[open[depth]].close = i;
        state[i].part = PART_CLOSE;
    }
    uint32_t *last = open; /* of each pair of braces around: its '{' or last comma so far */
    depth = 0;
    for (uint32_t i = 0; i < glob->end; i++) {
        if (state[i].part == PART_OPEN) last[depth++] = i;
        if (state[i].part == PART_CLOSE) depth--;
        if (state[i].byte != ',' || !depth) continue;
        state[i].part = PART_COMMA;
        state[i].close = state[last[depth - 1]].close;
        state[last[depth - 1]].comma = i;
        last[depth - 1] = i;
    }
}

Glob *glob_new(Arena *arena, const char *pattern) {
    Glob *glob = NEW(arena, Glob);
    glob->pattern = arena_strdup(arena, pattern);
    glob->end = (uint32_t)strlen(pattern);
    glob->state = NEW_ARRAY(arena, State, glob->end + 1);
    for (uint32_t i = 0; i < glob->end; i++) {
        Part part = pattern[i] == '*' ? PART_ANY : pattern[i] == '?' ? PART_ONE : PART_BYTE;
        glob->state[i] = (State){.part = part, .byte = pattern[i], .comma = NONE};
    }
    glob->state[glob->end] = (State){.part = PART_END};
    pair_braces(glob, arena);
    while (glob->state[glob->literal].part == PART_BYTE) glob->literal++;
    glob->now.at = NEW_ARRAY(arena, uint32_t, glob->end + 1);
    glob->next.at = NEW_ARRAY(arena, uint32_t, glob->end + 1);
    glob->stack = NEW_ARRAY(arena, uint32_t, glob->end + 1);
    return glob;
}

/* Puts a state on the stack, once a round. */
static uint32_t push(Glob *glob, uint32_t depth, uint32_t i) {
    if (glob->state[i].seen == glob->round) return depth;
    glob->state[i].seen = glob->round;
    glob->stack[depth] = i;
    return depth + 1;
}

/* Adds a state to `set`, with all that it leads to without a byte. */
static void enter(Glob *glob, StateSet *set, uint32_t first) {
    uint32_t depth = push(glob, 0, first);
    while (depth) {
        uint32_t i = glob->stack[--depth];
        const State *state = &glob->state[i];
        switch (state->part) {
        case PART_BYTE:
        case PART_ONE:
        case PART_END: set->at[set->count++] = i; break;
        case PART_ANY:
            set->at[set->count++] = i;
            depth = push(glob, depth, i + 1);
            break;
        case PART_OPEN:
            for (uint32_t comma = state->comma; comma != NONE; comma = glob->state[comma].comma)
                depth = push(glob, depth, comma + 1);
            depth = push(glob, depth, i + 1);
            break;
        case PART_COMMA: depth = push(glob, depth, state->close + 1); break;
        case PART_CLOSE: depth = push(glob, depth, i + 1); break;
        }
    }
}

static bool has_ended(const Glob *glob) {
    return glob->state[glob->end].seen == glob->round;
}

/* A new round, whose states are none yet. */
static void begin_round(Glob *glob, StateSet *set) {
    set->count = 0;
    if (++glob->round) return;
    for (uint32_t i = 0; i <= glob->end; i++) glob->state[i].seen = 0; /* 2^32 rounds ago is not now */
    glob->round = 1;
}

bool glob_matches(Glob *glob, const char *name) {
    if (strncmp(glob->pattern, name, glob->literal) != 0) return false;
    begin_round(glob, &glob->now);
    enter(glob, &glob->now, glob->literal);
    for (name += glob->literal;; name++) {
        if ((!*name || *name == '.') && has_ended(glob)) return true;
        if (!*name || !glob->now.count) return false;
        bool inside = ((unsigned char)name[1] & 0xc0) == 0x80; /* a character goes on with the next byte */
        begin_round(glob, &glob->next);
        for (uint32_t k = 0; k < glob->now.count; k++) {
            uint32_t i = glob->now.at[k];
            const State *state = &glob->state[i];
            if (state->part == PART_ANY || (state->part == PART_ONE && inside)) enter(glob, &glob->next, i);
            if (state->part == PART_ONE && !inside) enter(glob, &glob->next, i + 1);
            if (state->part == PART_BYTE && state->byte == *name) enter(glob, &glob->next, i + 1);
        }
        StateSet swap = glob->now;
        glob->now = glob->next;
        glob->next = swap;
    }
}
