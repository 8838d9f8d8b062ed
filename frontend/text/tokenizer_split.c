/* A text on its way to words: pieces that are cut, and rewritten where a normaliser or pre-tokenizer changes
 * bytes. While nothing has changed, the text is the original and a byte's origin is its own character. After
 * that a buffer has the text and, for each byte, the bytes of the original that it came from. */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>

void course_begin(Course *course, const char *text, uint32_t length) {
    course->original = course->text = text;
    course->length = length;
    course->aligned = NULL;
    course->limit = false;
    course->pieces.count = course->next.count = 0;
    if (length) *vec_add(course->arena, &course->pieces) = (Piece){.end = length, .id = NONE};
}

static bool continues(const char *text, uint32_t at) {
    return ((unsigned char)text[at] & 0xc0) == 0x80;
}

void course_origin(const Course *course, uint32_t begin, uint32_t end, uint32_t *from, uint32_t *to) {
    if (course->aligned) {
        *from = course->aligned->from.at[begin];
        *to = course->aligned->to.at[end - 1];
        return;
    }
    while (continues(course->original, begin)) begin--;
    while (end < course->length && continues(course->original, end)) end++;
    *from = begin;
    *to = end;
}

/* ---- what rewrites: from the text in use to the other buffer ---- */

static Buffer *other_buffer(Course *course) {
    Buffer *to = &course->buffer[course->aligned == &course->buffer[0]];
    to->text.count = to->from.count = to->to.count = 0;
    return to;
}

/* False where the text has grown beyond all measure, which a normaliser could do again and again. */
static bool make_room(Course *course, Buffer *to, uint32_t more) {
    enum { MOST_GROWTH = 8, ALWAYS_FINE = 4096 };
    course->limit |= (uint64_t)to->text.count + more > (uint64_t)course->length * MOST_GROWTH + ALWAYS_FINE;
    if (course->limit) return false;
    vec_room(course->arena, &to->text, more);
    vec_room(course->arena, &to->from, more);
    vec_room(course->arena, &to->to, more);
    return true;
}

/* Bytes that all come from the same bytes of the original. */
static void put(Course *course, Buffer *to, const char *bytes, uint32_t length, uint32_t from,
                uint32_t till) {
    if (!make_room(course, to, length)) return;
    for (uint32_t i = 0; i < length; i++) {
        to->text.at[to->text.count++] = bytes[i];
        to->from.at[to->from.count++] = from;
        to->to.at[to->to.count++] = till;
    }
}

/* Bytes [begin, end), whole characters, as they are. */
static void copy(Course *course, Buffer *to, uint32_t begin, uint32_t end) {
    uint32_t length = end - begin;
    if (!length || !make_room(course, to, length)) return;
    memcpy(to->text.at + to->text.count, course->text + begin, length);
    to->text.count += length;
    if (course->aligned) {
        memcpy(to->from.at + to->from.count, course->aligned->from.at + begin, length * sizeof(uint32_t));
        memcpy(to->to.at + to->to.count, course->aligned->to.at + begin, length * sizeof(uint32_t));
        to->from.count = to->to.count = to->text.count;
        return;
    }
    for (uint32_t i = begin, size; i < end; i += size) {
        unicode_read(course->text + i, &size);
        for (uint32_t k = 0; k < size; k++) {
            to->from.at[to->from.count++] = i;
            to->to.at[to->to.count++] = i + size;
        }
    }
}

static void put_before(Course *course, Buffer *to, const Piece *piece, Bytes content) {
    uint32_t from, till;
    course_origin(course, piece->begin, piece->begin + 1, &from, &till);
    put(course, to, content.at, content.length, from, till);
}

static uint32_t character_end(const Course *course, uint32_t at) {
    uint32_t size;
    unicode_read(course->text + at, &size);
    return at + size;
}

static void compose_stretch(Course *course, Buffer *to, uint32_t begin, uint32_t end) {
    uint32_t count, at = begin, behind = begin;
    const Composed *composed = nfc_compose(course->nfc, course->text + begin, end - begin, &count);
    for (uint32_t i = 0; i < count; i++) {
        char bytes[4];
        uint32_t from, till, size = unicode_write(composed[i].character, bytes);
        bool beside = composed[i].change > 0;
        /* One beside another has that one's origin; one in the place of others, that of the first of them. */
        course_origin(course, beside ? behind : at, beside ? behind + 1 : at + 1, &from, &till);
        put(course, to, bytes, size, from, till);
        for (int32_t k = composed[i].change; k <= 0; k++) {
            behind = at;
            at = character_end(course, at);
        }
    }
}

/* Stretches that composition may change: characters that it may touch, with the one before them. */
static void compose(Course *course, Buffer *to, const Piece *piece) {
    uint32_t begin = piece->begin, before = begin, done = begin;
    for (uint32_t i = begin, next; i < piece->end; i = next) {
        next = character_end(course, i);
        if (nfc_leaves(course->nfc, course->text + i, next - i)) {
            before = i;
            continue;
        }
        while (next < piece->end) {
            uint32_t after = character_end(course, next);
            if (nfc_leaves(course->nfc, course->text + next, after - next)) break;
            next = after;
        }
        copy(course, to, done, before);
        compose_stretch(course, to, before, next);
        done = before = next;
    }
    copy(course, to, done, piece->end);
}

/* ---- what is looked for in a piece ---- */

/* The next occurrence in [from, end) of the text. */
static bool find_literal(const Course *course, Bytes pattern, uint32_t from, uint32_t end, uint32_t *begin) {
    while (end - from >= pattern.length) {
        const char *at = memchr(course->text + from, pattern.at[0], end - from - pattern.length + 1);
        if (!at) return false;
        *begin = (uint32_t)(at - course->text);
        if (!memcmp(at, pattern.at, pattern.length)) return true;
        from = *begin + 1;
    }
    return false;
}

static void add_cut(Course *course, uint32_t begin, uint32_t end, bool match) {
    *vec_add(course->arena, &course->cuts) = (Found){begin, end, match};
}

/* A regular expression sees stand-ins for characters that its tables may not know. */
static const char *matched_text(Course *course, const Piece *piece) {
    uint32_t length = piece->end - piece->begin, size;
    if (!course->stands_in) return course->text + piece->begin;
    course->stood_in.count = 0;
    vec_room(course->arena, &course->stood_in, length);
    char *copied = course->stood_in.at;
    memcpy(copied, course->text + piece->begin, length);
    for (uint32_t i = 0; i < length; i += size) {
        uint32_t c = unicode_read(copied + i, &size), other = unicode_stand_in(c);
        if (c != other && unicode_write(other, copied + i) != size) die("U+%04X has a shorter stand-in", c);
    }
    return copied;
}

/* The piece as matches and what lies between them, in course->cuts (`added`: whether it is a match). */
static void find_matches(Course *course, const Step *step, const Piece *piece) {
    uint32_t done = piece->begin;
    course->cuts.count = 0;
    if (step->kind == STEP_DIGITS) {
        for (uint32_t i = done, size; i < piece->end; i += size) {
            if (!unicode_is_numeric(unicode_read(course->text + i, &size))) continue;
            if (done < i) add_cut(course, done, i, false);
            add_cut(course, i, i + size, true);
            done = i + size;
        }
    } else if (step->regex) {
        size_t length = piece->end - piece->begin, begin, end = 0;
        const char *text = matched_text(course, piece);
        RegexFound found = REGEX_NONE;
        while (end < length &&
               (found = regex_find(step->regex, text, length, end, &begin, &end)) == REGEX_MATCH) {
            if (done < piece->begin + begin) add_cut(course, done, piece->begin + (uint32_t)begin, false);
            done = piece->begin + (uint32_t)end;
            add_cut(course, piece->begin + (uint32_t)begin, done, true);
        }
        course->limit |= found == REGEX_LIMIT;
    } else {
        for (uint32_t begin; find_literal(course, step->pattern, done, piece->end, &begin);) {
            if (done < begin) add_cut(course, done, begin, false);
            done = begin + step->pattern.length;
            add_cut(course, begin, done, true);
        }
    }
    if (done < piece->end) add_cut(course, done, piece->end, false);
}

static void replace(Course *course, Buffer *to, const Step *step, const Piece *piece) {
    find_matches(course, step, piece);
    for (uint32_t i = 0; i < course->cuts.count; i++) {
        Found cut = course->cuts.at[i];
        uint32_t from, till;
        if (!cut.added) {
            copy(course, to, cut.begin, cut.end);
            continue;
        }
        course_origin(course, cut.end - 1, cut.end, &from, &till);
        put(course, to, step->content.at, step->content.length, from, till);
    }
}

/* ---- what cuts ---- */

static void add_piece(Course *course, uint32_t begin, uint32_t end) {
    if (begin < end) *vec_add(course->arena, &course->next) = (Piece){.begin = begin, .end = end, .id = NONE};
}

/* The cuts joined to pieces as the behaviour says. */
static void join_cuts(Course *course, SplitBehavior behavior, bool invert) {
    Found *cut = course->cuts.at;
    uint32_t count = course->cuts.count, kept = 0;
    if (invert)
        for (uint32_t i = 0; i < count; i++) cut[i].added = !cut[i].added;
    bool previous = false;
    if (behavior == SPLIT_WITH_NEXT) {
        for (uint32_t i = count; i-- > 0;) {
            bool match = cut[i].added;
            if (match && !previous && kept)
                cut[count - kept].begin = cut[i].begin;
            else
                cut[count - ++kept] = cut[i];
            previous = match;
        }
        for (uint32_t i = count - kept; i < count; i++) add_piece(course, cut[i].begin, cut[i].end);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool match = cut[i].added;
        bool joins = behavior == SPLIT_CONTIGUOUS ? match == previous
                                                  : behavior == SPLIT_WITH_PREVIOUS && match && !previous;
        previous = match;
        if (joins && kept)
            cut[kept - 1].end = cut[i].end;
        else if (behavior != SPLIT_REMOVED || !match)
            cut[kept++] = cut[i];
    }
    for (uint32_t i = 0; i < kept; i++) add_piece(course, cut[i].begin, cut[i].end);
}

static void split(Course *course, const Step *step) {
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        Piece piece = course->pieces.at[i];
        if (piece.id != NONE) {
            *vec_add(course->arena, &course->next) = piece;
            continue;
        }
        find_matches(course, step, &piece);
        join_cuts(course, step->behavior, step->invert);
    }
}

/* ---- steps ---- */

static bool begins_with(const Course *course, const Piece *piece, Bytes what) {
    return piece->end - piece->begin >= what.length &&
           !memcmp(course->text + piece->begin, what.at, what.length);
}

/* Whether the step would change any byte of the text: mostly it does not, and the text stays as it is. */
static bool rewrites(const Course *course, const Step *step) {
    uint32_t at;
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        const Piece *piece = &course->pieces.at[i];
        if (piece->id != NONE || piece->begin == piece->end) continue;
        switch (step->kind) {
        case STEP_NFC:
            if (!nfc_leaves(course->nfc, course->text + piece->begin, piece->end - piece->begin)) return true;
            break;
        case STEP_PREPEND: return step->content.length;
        case STEP_REPLACE:
            if (step->regex || find_literal(course, step->pattern, piece->begin, piece->end, &at))
                return true;
            break;
        case STEP_METASPACE: return true;
        case STEP_BYTE_LEVEL:
            if (step->prepend != PREPEND_NEVER && !begins_with(course, piece, step->content)) return true;
            break;
        case STEP_SPLIT:
        case STEP_DIGITS: return false;
        }
    }
    return false;
}

static void metaspace(Course *course, Buffer *to, const Step *step, const Piece *piece) {
    static const Bytes space = {" ", 1};
    uint32_t from, till;
    course_origin(course, piece->begin, piece->begin + 1, &from, &till);
    bool wanted = step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && !from);
    if (wanted && !begins_with(course, piece, space) && !begins_with(course, piece, step->content))
        put_before(course, to, piece, step->content);
    replace(course, to, step, piece);
}

static void rewrite(Course *course, const Step *step) {
    Buffer *to = other_buffer(course);
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        Piece *piece = &course->pieces.at[i];
        if (piece->id != NONE || piece->begin == piece->end) continue;
        uint32_t begin = to->text.count;
        if (step->kind == STEP_NFC) {
            compose(course, to, piece);
        } else if (step->kind == STEP_REPLACE) {
            replace(course, to, step, piece);
        } else if (step->kind == STEP_METASPACE) {
            metaspace(course, to, step, piece);
        } else {
            if (step->kind == STEP_PREPEND || !begins_with(course, piece, step->content))
                put_before(course, to, piece, step->content);
            copy(course, to, piece->begin, piece->end);
        }
        piece->begin = begin;
        piece->end = to->text.count; /* nothing may be left of it */
    }
    course->aligned = to;
    course->text = to->text.at;
}

static void swap_pieces(Course *course) {
    Pieces done = course->pieces;
    course->pieces = course->next;
    course->next = done;
    course->next.count = 0;
}

void course_step(Course *course, const Step *step) {
    if (rewrites(course, step)) rewrite(course, step);
    if (step->kind == STEP_SPLIT || step->kind == STEP_DIGITS) {
        split(course, step);
    } else if (step->cut) {
        Step cut = *step;
        cut.kind = STEP_SPLIT;
        if (step->kind == STEP_METASPACE) cut.pattern = step->content;
        split(course, &cut);
    } else {
        return;
    }
    swap_pieces(course);
}

/* ---- added tokens ---- */

static uint32_t spaces(const char *text, uint32_t begin, uint32_t end, bool leading) {
    uint32_t count = 0, size, run = 0;
    for (uint32_t i = begin; i < end; i += size) {
        uint32_t c = unicode_read(text + i, &size);
        bool space = unicode_is_space(c) || c == 0x120; /* U+0120 is a space of byte-level tokens */
        if (leading && !space) return count;
        count++;
        run = space ? run + 1 : 0;
    }
    return leading ? count : run;
}

void course_added(Course *course, const Trie *trie, const Added *added) {
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        Piece piece = course->pieces.at[i];
        if (piece.id != NONE) {
            *vec_add(course->arena, &course->next) = piece;
            continue;
        }
        const char *text = course->text + piece.begin;
        course->found.count = 0;
        if (piece.begin < piece.end)
            added_find(course->arena, trie, added, text, piece.end - piece.begin, &course->found);
        for (uint32_t k = 0; k < course->found.count; k++) {
            Found found = course->found.at[k];
            if (found.begin == found.end) continue;
            Piece part = {.begin = piece.begin + found.begin, .end = piece.begin + found.end, .id = NONE};
            if (found.added != NONE) {
                part.id = added[found.added].id;
                course_origin(course, part.begin, part.end, &part.from, &part.to);
                part.leading = spaces(text, found.begin, found.end, true);
                part.trailing = spaces(text, found.begin, found.end, false);
            }
            *vec_add(course->arena, &course->next) = part;
        }
    }
    swap_pieces(course);
}
