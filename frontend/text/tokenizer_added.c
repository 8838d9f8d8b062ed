/* Added tokens: of those that match at the first place where any does, the longest; then on behind it. White
 * space beside one goes with it where the token says so. */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>

/* Nodes of a byte trie; children are lists, but the root's, which every byte of the text asks for. */
typedef struct TrieNode {
    uint32_t child, sibling; /* 0: none, since the root is nobody's */
    uint32_t value;          /* NONE: no key ends here */
    unsigned char byte;
} TrieNode;
struct Trie {
    VEC(TrieNode) node;
    uint32_t first[256];
};

Trie *trie_new(Arena *arena) {
    Trie *trie = NEW(arena, Trie);
    vec_add(arena, &trie->node)->value = NONE;
    return trie;
}

static uint32_t child_of(const Trie *trie, uint32_t at, unsigned char byte) {
    if (!at) return trie->first[byte];
    uint32_t child = trie->node.at[at].child;
    while (child && trie->node.at[child].byte != byte) child = trie->node.at[child].sibling;
    return child;
}

bool trie_add(Arena *arena, Trie *trie, Bytes key, uint32_t value) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < key.length; i++) {
        unsigned char byte = (unsigned char)key.at[i];
        uint32_t child = child_of(trie, at, byte);
        if (!child) {
            TrieNode node = {.sibling = trie->node.at[at].child, .value = NONE, .byte = byte};
            child = trie->node.count;
            *vec_add(arena, &trie->node) = node;
            trie->node.at[at].child = child;
            if (!at) trie->first[byte] = child;
        }
        at = child;
    }
    if (!at || trie->node.at[at].value != NONE) return false;
    trie->node.at[at].value = value;
    return true;
}

/* The longest key that the text begins with; its bytes, or 0. */
static uint32_t longest(const Trie *trie, const char *text, uint32_t length, uint32_t *value) {
    uint32_t at = 0, best = 0;
    for (uint32_t i = 0; i < length; i++) {
        at = child_of(trie, at, (unsigned char)text[i]);
        if (!at) break;
        if (trie->node.at[at].value != NONE) best = i + 1, *value = trie->node.at[at].value;
    }
    return best;
}

static uint32_t read_before(const char *text, uint32_t end, uint32_t *begin) {
    uint32_t at = end - 1, size;
    while (((unsigned char)text[at] & 0xc0) == 0x80) at--;
    *begin = at;
    return unicode_read(text + at, &size);
}

static bool word_before(const char *text, uint32_t end) {
    uint32_t begin;
    return end && unicode_is_word(read_before(text, end, &begin));
}

static bool word_behind(const char *text, uint32_t length, uint32_t at) {
    uint32_t size;
    return at < length && unicode_is_word(unicode_read(text + at, &size));
}

static uint32_t space_before(const char *text, uint32_t end) {
    uint32_t begin;
    while (end && unicode_is_space(read_before(text, end, &begin))) end = begin;
    return end;
}

static uint32_t space_behind(const char *text, uint32_t length, uint32_t at) {
    uint32_t size;
    while (at < length && unicode_is_space(unicode_read(text + at, &size))) at += size;
    return at;
}

/* As the library: the next match is looked for behind the token itself, not behind the white space that it
 * took, and a piece may then begin before the last one's end. */
void added_find(Arena *arena, const Trie *trie, const Added *added, const char *text, uint32_t length,
                Founds *out) {
    uint32_t done = 0, value = NONE, match;
    for (uint32_t i = 0; i < length; i += match ? match : 1) {
        match = trie->first[(unsigned char)text[i]] ? longest(trie, text + i, length - i, &value) : 0;
        if (!match) continue;
        const Added *token = &added[value];
        uint32_t begin = i, end = i + match;
        if (token->single_word && (word_before(text, begin) || word_behind(text, length, end))) continue;
        if (token->lstrip) {
            begin = space_before(text, begin);
            if (begin < done) begin = done;
        }
        if (token->rstrip) end = space_behind(text, length, end);
        if (done < begin) *vec_add(arena, out) = (Found){done, begin, NONE};
        *vec_add(arena, out) = (Found){begin, end, value};
        done = end;
    }
    if (done != length) *vec_add(arena, out) = (Found){done, length, NONE};
}
