/* See tokenizer.h: tokenizer.json and tokenizer_config.json to a tokenizer. */
#include "frontend/text/tokenizer_json.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

/* Another result for the same text and files is another version. */
static const char rules[] = "tokenizer 1";

static const char *const roles[] = {"bos_token", "eos_token", "pad_token", "unk_token"};

/* ---- tokenizer.json ---- */

static bool read_tokenizer(Tokenizer *tokenizer, Node root) {
    Node version = node_key(root, "version");
    Bytes text;
    /* Texts are never cut or padded here, as they are not by transformers unless it is asked to. */
    if (!node_is_object(root,
                        " version truncation padding added_tokens normalizer pre_tokenizer post_processor "
                        "decoder model "))
        return false;
    const char *const unused[] = {"truncation", "padding"};
    for (size_t i = 0; i < COUNT_OF(unused); i++) {
        Node node = node_key(root, unused[i]);
        if (node.value && !json_object_size(node.value)) return node_unsupported(node);
    }
    if (!node_not_null(version) || !node_not_null(node_key(root, "added_tokens"))) return false;
    if (version.value && (!node_text(version, &text) || !text_is(text, "1.0")))
        return node_unsupported(version);
    const char *tables = arena_printf(tokenizer->arena, "%s, PCRE2 %s, utf8proc %s", rules,
                                      regex_version(tokenizer->arena), utf8proc_version());
    uint64_t hash = hash_bytes(HASH_SEED, tables, strlen(tables) + 1);
    tokenizer->fingerprint = hash_bytes(hash, root.file->text, root.file->length);
    return read_normalizer(tokenizer, node_key(root, "normalizer")) &&
           read_pre_tokenizer(tokenizer, node_key(root, "pre_tokenizer")) &&
           read_decoder(tokenizer, node_key(root, "decoder")) &&
           read_model(tokenizer, node_key(root, "model")) &&
           read_added_tokens(tokenizer, node_key(root, "added_tokens")) &&
           read_post_processor(tokenizer, node_key(root, "post_processor"));
}

/* What each token is in the middle of a text and at its start. */
static void decode_all(Tokenizer *tokenizer) {
    Arena *scratch = arena_new();
    for (uint32_t id = 0; id < tokenizer->token.count; id++) {
        TokenText *token = &tokenizer->token.at[id];
        if (!token->written.at) continue;
        for (int first = 0; first < 2; first++) {
            Text text = {.arena = scratch};
            decode_token(&tokenizer->decoder, token->written, first, &text);
            Bytes made = {text.at ? text.at : "", (uint32_t)text.length};
            const Bytes *like = first ? &token->middle : &token->written;
            bool same = like->length == made.length && !memcmp(like->at, made.at, made.length);
            Bytes kept =
                same ? *like : (Bytes){arena_strndup(tokenizer->arena, made.at, made.length), made.length};
            *(first ? &token->first : &token->middle) = kept;
            arena_reset(scratch);
        }
    }
    arena_free(scratch);
}

/* ---- tokenizer_config.json ---- */

/* A token of the configuration: a string, or an object with its content. */
static bool config_token(Tokenizer *tokenizer, Node node, uint32_t *id) {
    Bytes text;
    Node content = json_is_object(node.value) ? node_key(node, "content") : node;
    if (!node_text(content, &text)) return false;
    *id = lookup_get(&tokenizer->by_text, text.at, text.length);
    return *id != NONE || node_wrong(node, "tokenizer.json has no token %s", node_shown(content));
}

static bool config_tokens(Tokenizer *tokenizer, Node node) {
    uint32_t id;
    if (!node.value || json_is_object(node.value)) return true; /* an object names other roles */
    if (!node_is_array(node)) return false;
    for (size_t i = 0; i < json_array_size(node.value); i++)
        if (!config_token(tokenizer, node_item(node, i), &id)) return false;
    return true;
}

/* {"151643": {"content": ...}, ...}: transformers adds what is not there yet, which would be other ids. */
static bool config_added(Tokenizer *tokenizer, Node node) {
    const char *key;
    json_t *value;
    uint32_t id;
    if (!node.value) return true;
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    json_object_foreach(node.value, key, value) {
        Node token = node_key(node, key);
        char number[16];
        if (!config_token(tokenizer, token, &id)) return false;
        snprintf(number, sizeof number, "%u", id);
        if (strcmp(number, key)) return node_wrong(token, "in tokenizer.json its id is %u", id);
    }
    return true;
}

static bool read_config(Tokenizer *tokenizer, Node root) {
    bool splits = false;
    if (!json_is_object(root.value)) return node_wrong(root, "an object is wanted, not %s", node_shown(root));
    Node split = node_key(root, "split_special_tokens");
    if (!node_flag_or(split, false, &splits)) return false;
    if (splits) return node_unsupported(split);
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        Node role = node_key(root, roles[i]);
        if (role.value && !config_token(tokenizer, role, &tokenizer->role[i].id)) return false;
    }
    return config_tokens(tokenizer, node_key(root, "additional_special_tokens")) &&
           config_tokens(tokenizer, node_key(root, "extra_special_tokens")) &&
           config_added(tokenizer, node_key(root, "added_tokens_decoder"));
}

/* ---- both ---- */

static const char *beside(Arena *arena, const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return arena_printf(arena, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
}

static const char *find_file(Arena *arena, const char *path) {
    struct stat file;
    bool folder = !stat(path, &file) && S_ISDIR(file.st_mode);
    return folder ? arena_printf(arena, "%s%stokenizer.json", path, path[strlen(path) - 1] == '/' ? "" : "/")
                  : path;
}

static bool read_one(Tokenizer *tokenizer, const char *path, size_t flags, bool (*body)(Tokenizer *, Node),
                     const char **error) {
    Arena *scratch = arena_new();
    JsonFile file;
    json_t *root = json_file_read(&file, tokenizer->arena, scratch, path, flags);
    bool fine = root && body(tokenizer, (Node){&file, root, "", false});
    json_decref(root);
    arena_free(scratch);
    *error = file.error;
    return fine;
}

static bool read_files(Tokenizer *tokenizer, const char *path, const char **error) {
    const char *config = beside(tokenizer->arena, path, "tokenizer_config.json");
    struct stat file;
    if (!read_one(tokenizer, path, 0, read_tokenizer, error)) return false;
    decode_all(tokenizer);
    bool none = stat(config, &file) && errno == ENOENT;
    /* "model_max_length" may be 1e30, written as a whole number */
    if (!none && !read_one(tokenizer, config, JSON_DECODE_INT_AS_REAL, read_config, error)) return false;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        tokenizer->fingerprint = hash_bytes(tokenizer->fingerprint, &tokenizer->role[i].id, sizeof(uint32_t));
    return true;
}

Tokenizer *tokenizer_read(Arena *arena, const char *path, const char **error) {
    Tokenizer *tokenizer = NEW(arena, Tokenizer);
    *error = NULL;
    tokenizer->arena = tokenizer->course.arena = arena;
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        tokenizer->role[i].name = roles[i];
        tokenizer->role[i].id = NONE;
    }
    if (read_files(tokenizer, find_file(arena, path), error)) {
        tokenizer->bpe = bpe_new(arena);
        return tokenizer;
    }
    tokenizer_close(tokenizer);
    return NULL;
}

void tokenizer_close(Tokenizer *tokenizer) {
    if (!tokenizer) return;
    for (uint32_t i = 0; i < tokenizer->regexes.count; i++) regex_free(tokenizer->regexes.at[i]);
    tokenizer->regexes.count = 0;
}
