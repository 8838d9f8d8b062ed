/* Normalisation form C (Unicode Standard Annex 15) as the library does it, whose tables are those of Unicode
 * 9, with what each character came from: the library aligns a composed character with the first of its parts.
 */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

enum { ACTIVE_END = 0x30000, ALWAYS_INERT = 0x300, MOST_PARTS = 8 };

typedef struct Element {
    uint32_t character;
    int32_t change; /* 0: the first of a character's decomposition; 1: a later one */
    int32_t class;  /* canonical combining class */
} Element;

struct Nfc {
    Arena *arena;
    /* Characters that composition may change or that may change one before them: all that decompose, have a
     * combining class or come second in a composition. Between others text is as it is. */
    uint8_t active[ACTIVE_END / 8];
    VEC(Element) decomposed, sorted;
    VEC(Composed) waiting, out;
};

static const struct {
    uint32_t first, last;
} not_composed[] = {
#define NOT_COMPOSED(first, last)    {first, last},
#define SINCE(first, last, stand_in) {first, last},
#include "frontend/text/unicode_since.def"
};

static bool is_active(const Nfc *nfc, uint32_t c) {
    return c >= ALWAYS_INERT && c < ACTIVE_END && nfc->active[c >> 3] >> (c & 7) & 1;
}

static void set_active(Nfc *nfc, uint32_t c, bool active) {
    if (c >= ACTIVE_END) return;
    if (active)
        nfc->active[c >> 3] |= (uint8_t)(1u << (c & 7));
    else
        nfc->active[c >> 3] &= (uint8_t) ~(1u << (c & 7));
}

static uint32_t decompose(uint32_t c, utf8proc_int32_t part[MOST_PARTS]) {
    int boundary = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char((utf8proc_int32_t)c, part, MOST_PARTS,
                                                     UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
    if (count < 1 || count > MOST_PARTS) die("U+%04X decomposes into %d characters", c, (int)count);
    return (uint32_t)count;
}

Nfc *nfc_new(Arena *arena) {
    Nfc *nfc = NEW(arena, Nfc);
    nfc->arena = arena;
    for (uint32_t c = ALWAYS_INERT; c < ACTIVE_END; c++) {
        utf8proc_int32_t part[MOST_PARTS];
        uint32_t count = decompose(c, part);
        if (count > 1 || (uint32_t)part[0] != c ||
            utf8proc_get_property((utf8proc_int32_t)c)->combining_class)
            set_active(nfc, c, true);
        for (uint32_t i = 1; i < count; i++) set_active(nfc, (uint32_t)part[i], true);
    }
    /* a few letters below decompose too, and are composed again; their second parts lie above */
    for (size_t i = 0; i < COUNT_OF(not_composed); i++)
        for (uint32_t c = not_composed[i].first; c <= not_composed[i].last; c++) set_active(nfc, c, false);
    return nfc;
}

bool nfc_leaves(const Nfc *nfc, const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        uint32_t size;
        if ((unsigned char)text[i] < 0xcc) { /* up to U+02FF */
            i += (unsigned char)text[i] < 0x80 ? 1 : 2;
            continue;
        }
        if (is_active(nfc, unicode_read(text + i, &size))) return false;
        i += size;
    }
    return true;
}

static uint32_t compose(uint32_t first, uint32_t second) {
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};
    return utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) == 1 ? (uint32_t)pair[0]
                                                                                      : NONE;
}

/* Marks of one base in the order of their classes, equal ones as they stood. */
static void order_marks(Nfc *nfc, Element *element, uint32_t count) {
    enum { CLASSES = 256, FEW = 8 };
    if (count <= FEW) {
        for (uint32_t i = 1; i < count; i++) {
            Element moved = element[i];
            uint32_t at = i;
            for (; at && element[at - 1].class > moved.class; at--) element[at] = element[at - 1];
            element[at] = moved;
        }
        return;
    }
    uint32_t begin[CLASSES + 1] = {0};
    for (uint32_t i = 0; i < count; i++) begin[element[i].class + 1]++;
    for (uint32_t k = 0; k < CLASSES; k++) begin[k + 1] += begin[k];
    nfc->sorted.count = 0;
    vec_room(nfc->arena, &nfc->sorted, count);
    for (uint32_t i = 0; i < count; i++) nfc->sorted.at[begin[element[i].class]++] = element[i];
    memcpy(element, nfc->sorted.at, sizeof *element * count);
}

static void add_decomposed(Nfc *nfc, uint32_t c) {
    utf8proc_int32_t part[MOST_PARTS] = {(utf8proc_int32_t)c};
    bool listed =
        c >= ALWAYS_INERT && !is_active(nfc, c); /* then it stands for itself, whatever it is here */
    uint32_t count = listed ? 1 : decompose(c, part);
    for (uint32_t i = 0; i < count; i++) {
        int class = listed ? 0 : utf8proc_get_property(part[i])->combining_class;
        *vec_add(nfc->arena, &nfc->decomposed) =
            (Element){.character = (uint32_t)part[i], .change = i != 0, .class = class};
    }
}

/* Puts each mark that is not blocked into its base where there is such a character. */
static void compose_all(Nfc *nfc) {
    bool based = false;
    Composed base = {0};
    int32_t last = -1; /* the class of the last mark that stayed behind the base; -1: none did */
    nfc->waiting.count = 0;
    for (uint32_t i = 0; i < nfc->decomposed.count; i++) {
        Element e = nfc->decomposed.at[i];
        Composed alone = {e.character, e.change};
        if (!based) {
            if (e.class)
                *vec_add(nfc->arena, &nfc->out) = alone;
            else
                base = alone, based = true;
            continue;
        }
        bool tried = last < e.class && is_active(nfc, e.character);
        uint32_t composed = tried ? compose(base.character, e.character) : NONE;
        if (composed != NONE) {
            base = (Composed){composed, base.change + e.change - 1};
        } else if (e.class) {
            *vec_add(nfc->arena, &nfc->waiting) = alone;
            last = e.class;
        } else {
            *vec_add(nfc->arena, &nfc->out) = base;
            for (uint32_t k = 0; k < nfc->waiting.count; k++)
                *vec_add(nfc->arena, &nfc->out) = nfc->waiting.at[k];
            nfc->waiting.count = 0;
            base = alone;
            last = -1;
        }
    }
    if (based) *vec_add(nfc->arena, &nfc->out) = base;
    for (uint32_t k = 0; k < nfc->waiting.count; k++) *vec_add(nfc->arena, &nfc->out) = nfc->waiting.at[k];
}

const Composed *nfc_compose(Nfc *nfc, const char *text, size_t length, uint32_t *count) {
    uint32_t size;
    nfc->decomposed.count = nfc->out.count = 0;
    for (size_t i = 0; i < length; i += size) add_decomposed(nfc, unicode_read(text + i, &size));
    Element *element = nfc->decomposed.at;
    for (uint32_t begin = 0, end; begin < nfc->decomposed.count; begin = end) {
        for (end = begin; end < nfc->decomposed.count && element[end].class;) end++;
        order_marks(nfc, element + begin, end - begin);
        if (end == begin) end++;
    }
    compose_all(nfc);
    *count = nfc->out.count;
    return nfc->out.at;
}
