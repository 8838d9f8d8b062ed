/* tokenizer.json: the model's vocabulary and merges, and the tokens that were added to it. */
#include "frontend/text/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_ID = (1 << 24) - 1 };
static const Bytes metaspace = {"\xe2\x96\x81", 3};

static TokenText *token_room(Tokenizer *tokenizer, uint32_t id) {
    while (tokenizer->token.count <= id) vec_add(tokenizer->arena, &tokenizer->token);
    return &tokenizer->token.at[id];
}

/* ---- the vocabulary ---- */

static bool read_vocab(Tokenizer *tokenizer, Node node) {
    const char *key;
    json_t *value;
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    json_object_foreach(node.value, key, value) {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id > LARGEST_ID)
            return node_wrong(node, "the id of '%s' is %s, not a whole number up to %d", key,
                              node_shown((Node){node.file, value, "", false}), LARGEST_ID);
        TokenText *token = token_room(tokenizer, (uint32_t)id);
        if (token->written.at)
            return node_wrong(node, "'%s' and '%s' have the id %d", token->written.at, key, (int)id);
        token->written = (Bytes){arena_strdup(tokenizer->arena, key), (uint32_t)strlen(key)};
        lookup_set(&tokenizer->by_text, token->written, (uint32_t)id);
    }
    return true;
}

static uint32_t *character_slot(Tokenizer *tokenizer, uint32_t c) {
    enum { PAGE = 256 };
    uint32_t **page = &tokenizer->model.character[c / PAGE];
    if (!*page) {
        *page = arena_alloc_raw(tokenizer->arena, sizeof(uint32_t) * PAGE);
        for (int i = 0; i < PAGE; i++) (*page)[i] = NONE;
    }
    return &(*page)[c % PAGE];
}

/* By single bytes or characters, which words begin as, and by whole words where they may win over merges. */
static void index_tokens(Tokenizer *tokenizer) {
    Model *model = &tokenizer->model;
    for (int b = 0; b < 256; b++) model->byte[b] = NONE;
    if (model->ignore_merges) lookup_init(tokenizer->arena, &model->whole, tokenizer->by_text.count);
    for (uint32_t id = 0; id < tokenizer->token.count; id++) {
        Bytes written = tokenizer->token.at[id].written, raw = written;
        uint32_t size;
        if (!written.length) continue;
        if (model->byte_level) {
            char *bytes = arena_alloc_raw(tokenizer->arena, written.length);
            if (!bytes_of_token(written, bytes, &raw.length)) continue;
            raw.at = bytes;
            if (raw.length == 1) model->byte[(unsigned char)raw.at[0]] = id;
        } else {
            uint32_t c = unicode_read(written.at, &size), byte = byte_of_fallback(written);
            if (size == written.length) *character_slot(tokenizer, c) = id;
            /* the library writes them in capitals */
            if (byte != NONE && !strpbrk(written.at + 3, "abcdef")) model->byte[byte] = id;
        }
        if (model->ignore_merges) lookup_set(&model->whole, raw, id);
    }
}

/* A character that has no token and nothing in its place would be lost without a word. */
static bool covers_text(Tokenizer *tokenizer, Node node) {
    const Model *model = &tokenizer->model;
    bool whole = true;
    for (int b = 0; b < 256; b++) {
        if (b == 0xc0 || b == 0xc1 || b > 0xf4 || model->byte[b] != NONE)
            continue; /* the first are in no UTF-8 */
        whole = false;
        if (!model->byte_level) continue;
        if (model->byte_fallback) return node_wrong(node, "byte_fallback with ByteLevel is not supported");
        if (model->unk == NONE)
            return node_wrong(node, "there is no token for byte 0x%02x and no unk_token: text would be lost",
                              b);
    }
    if (!whole && !model->byte_level && model->unk == NONE)
        return node_wrong(node,
                          "there is no unk_token and no byte_fallback to all bytes: text would be lost");
    return whole || model->byte_level || model->byte_fallback || model->unk != NONE ||
           node_wrong(node, "text would be lost");
}

/* ---- merges ---- */

/* "a b", or ["a", "b"]. */
static bool read_pair(Tokenizer *tokenizer, Node list, size_t index, bool strings, uint32_t id[2]) {
    const json_t *merge = json_array_get(list.value, index);
    Bytes part[2];
    if (strings != json_is_string(merge))
        return node_wrong(node_item(list, index), "strings and lists are mixed");
    if (strings) {
        const char *text = json_string_value(merge), *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' '))
            return node_wrong(node_item(list, index), "not two tokens, one space apart");
        part[0] = (Bytes){text, (uint32_t)(space - text)};
        part[1] = (Bytes){space + 1, (uint32_t)strlen(space + 1)};
    } else {
        if (json_array_size(merge) != 2) return node_wrong(node_item(list, index), "not two tokens");
        for (size_t k = 0; k < 2; k++) {
            const json_t *text = json_array_get(merge, k);
            if (!json_is_string(text)) return node_wrong(node_item(list, index), "not two tokens");
            part[k] = (Bytes){json_string_value(text), (uint32_t)json_string_length(text)};
        }
    }
    for (size_t k = 0; k < 2; k++) {
        id[k] = lookup_get(&tokenizer->by_text, part[k].at, part[k].length);
        if (id[k] == NONE)
            return node_wrong(node_item(list, index), "the vocabulary has no '%.*s'", (int)part[k].length,
                              part[k].at);
    }
    return true;
}

/* Whether a metaspace stands behind another character: then words do not end before it. */
static bool crosses_words(Bytes token) {
    bool seen = false;
    for (uint32_t i = 0, size; i < token.length; i += size) {
        unicode_read(token.at + i, &size);
        bool space = size == metaspace.length && !memcmp(token.at + i, metaspace.at, size);
        if (space && seen) return true;
        seen |= !space;
    }
    return false;
}

static bool read_merges(Tokenizer *tokenizer, Node node) {
    Model *model = &tokenizer->model;
    if (!node_is_array(node)) return false;
    size_t count = json_array_size(node.value);
    bool strings = json_is_string(json_array_get(node.value, 0));
    VEC(char) joined = {0};
    merges_init(tokenizer->arena, &model->merges, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t id[2] = {NONE, NONE};
        const char *text = json_string_value(json_array_get(node.value, i));
        if (text && !strncmp(text, "#version", 8)) continue;
        if (!read_pair(tokenizer, node, i, strings, id)) return false;
        Bytes a = tokenizer->token.at[id[0]].written, b = tokenizer->token.at[id[1]].written;
        joined.count = 0;
        vec_room(tokenizer->arena, &joined, a.length + b.length);
        if (a.length) memcpy(joined.at, a.at, a.length);
        if (b.length) memcpy(joined.at + a.length, b.at, b.length);
        uint32_t made = lookup_get(&tokenizer->by_text, joined.at, a.length + b.length);
        if (made == NONE)
            return node_wrong(node_item(node, i), "the vocabulary has no '%.*s'", (int)(a.length + b.length),
                              joined.at);
        merges_set(&model->merges, (Merge){id[0], id[1], (uint32_t)i, made});
        if (model->words_at_metaspace && crosses_words(tokenizer->token.at[made].written))
            model->words_at_metaspace = false;
    }
    return true;
}

/* ---- the model ---- */

static bool must_be_empty(Node node) {
    Bytes text = {"", 0};
    if (node.value && !node_text(node, &text)) return false;
    return !text.length || node_unsupported(node);
}

bool read_model(Tokenizer *tokenizer, Node node) {
    Model *model = &tokenizer->model;
    Node type = node_key(node, "type"), unk = node_key(node, "unk_token"), vocab = node_key(node, "vocab");
    Node dropout = node_key(node, "dropout");
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    if (!node_not_null(type)) return false;
    if (type.value && !(json_is_string(type.value) && !strcmp(json_string_value(type.value), "BPE")))
        return node_wrong(type, "%s is not supported, 'BPE' is", node_shown(type));
    if (!node_is_object(node, " type dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk "
                              "byte_fallback ignore_merges vocab merges ") ||
        !must_be_empty(node_key(node, "continuing_subword_prefix")) ||
        !must_be_empty(node_key(node, "end_of_word_suffix")) ||
        !node_flag_or(node_key(node, "fuse_unk"), false, &model->fuse_unk) ||
        !node_flag_or(node_key(node, "byte_fallback"), false, &model->byte_fallback) ||
        !node_flag_or(node_key(node, "ignore_merges"), false, &model->ignore_merges))
        return false;
    if (dropout.value && !(json_is_number(dropout.value) && json_number_value(dropout.value) == 0))
        return node_unsupported(dropout);
    lookup_init(tokenizer->arena, &tokenizer->by_text, json_object_size(vocab.value));
    if (!read_vocab(tokenizer, vocab)) return false;
    model->unk = NONE;
    if (unk.value) {
        Bytes text;
        if (!node_text(unk, &text)) return false;
        model->unk =
            lookup_get(&tokenizer->by_text, text.at, text.length); /* "" has none, where none is needed */
    }
    index_tokens(tokenizer);
    model->words_at_metaspace = !model->byte_level && !model->ignore_merges &&
                                lookup_get(&tokenizer->by_text, metaspace.at, metaspace.length) != NONE;
    return read_merges(tokenizer, node_key(node, "merges")) && covers_text(tokenizer, vocab);
}

/* ---- added tokens ---- */

/* What the normaliser makes of the token, which is what is looked for in what it makes of a text. */
static bool normalize(Tokenizer *tokenizer, Node node, Added *added) {
    Course *course = &tokenizer->course;
    Text made = {.arena = tokenizer->arena};
    course->young = true;
    course_begin(course, added->content.at, added->content.length);
    for (uint32_t i = 0; i < tokenizer->normalizer.count; i++)
        course_step(course, &tokenizer->normalizer.at[i]);
    if (course->limit) return node_wrong(node, "its normal form is beyond all limits");
    for (uint32_t i = 0; i < course->pieces.count; i++) {
        Piece piece = course->pieces.at[i];
        text_add_n(&made, course->text + piece.begin, piece.end - piece.begin);
    }
    added->sought = (Bytes){made.at, (uint32_t)made.length};
    return true;
}

static bool read_added(Tokenizer *tokenizer, Node node, uint32_t *next, Added *added) {
    uint32_t id;
    Node content = node_key(node, "content");
    if (!node_is_object(node, " id content single_word lstrip rstrip normalized special ") ||
        !node_text(content, &added->content) || !node_number(node_key(node, "id"), LARGEST_ID, &id) ||
        !node_flag(node_key(node, "single_word"), &added->single_word) ||
        !node_flag(node_key(node, "lstrip"), &added->lstrip) ||
        !node_flag(node_key(node, "rstrip"), &added->rstrip) ||
        !node_flag(node_key(node, "normalized"), &added->normalized) ||
        !node_flag(node_key(node, "special"), &added->special))
        return false;
    if (!added->content.length || strlen(added->content.at) != added->content.length)
        return node_unsupported(content);
    added->id = lookup_get(&tokenizer->by_text, added->content.at, added->content.length);
    if (added->id == NONE) added->id = (*next)++;
    if (added->id != id)
        return node_wrong(node_key(node, "id"), "%u, but the tokenizers library would give it %u", id,
                          added->id);
    added->sought = added->content;
    return !added->normalized || normalize(tokenizer, node, added);
}

static bool put_added(Tokenizer *tokenizer, Node node, const Added *added) {
    TokenText *token = token_room(tokenizer, added->id);
    bool same = token->written.at && token->written.length == added->content.length &&
                !memcmp(token->written.at, added->content.at, added->content.length);
    if (token->written.at && !same)
        return node_wrong(node_key(node, "id"), "%u is the id of '%s'", added->id, token->written.at);
    token->special = added->special;
    token->written = added->sought;
    Trie **trie = added->normalized ? &tokenizer->normalized : &tokenizer->raw;
    if (!*trie) *trie = trie_new(tokenizer->arena);
    if (!trie_add(tokenizer->arena, *trie, added->sought, tokenizer->added.count))
        return node_wrong(node_key(node, "content"), "%s is there twice, or nothing is left of it",
                          node_shown(node_key(node, "content")));
    *vec_add(tokenizer->arena, &tokenizer->added) = *added;
    return true;
}

bool read_added_tokens(Tokenizer *tokenizer, Node node) {
    if (!node.value) return true;
    if (!node_is_array(node)) return false;
    size_t count = json_array_size(node.value);
    Lookup all, special;
    uint32_t next = tokenizer->by_text.count;
    lookup_init(tokenizer->arena, &all, tokenizer->by_text.count + count);
    lookup_init(tokenizer->arena, &special, count);
    for (uint32_t id = 0; id < tokenizer->token.count; id++)
        if (tokenizer->token.at[id].written.at) lookup_set(&all, tokenizer->token.at[id].written, id);
    tokenizer->by_text = all;
    for (size_t i = 0; i < count; i++) {
        Added added = {0};
        Node item = node_item(node, i);
        if (!read_added(tokenizer, item, &next, &added) || !put_added(tokenizer, item, &added)) return false;
        lookup_set(&tokenizer->by_text, added.content, added.id);
        if (added.special) lookup_set(&special, added.content, added.id);
    }
    for (uint32_t i = 0; i < tokenizer->added.count; i++) {
        Bytes written = tokenizer->added.at[i].sought;
        tokenizer->token.at[tokenizer->added.at[i].id].skipped =
            lookup_get(&special, written.at, written.length) != NONE;
    }
    return true;
}
