/* See chat_template.h. */
#include "frontend/text/chat_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const ChatRow known[] = {
#define CHAT_TEMPLATE(fingerprint, name, renderer, shape, traits, system, source)                            \
    {fingerprint, name, chat_render_##renderer, &chat_shape_##shape, traits, system},
#include "frontend/text/chat_templates.def"
#undef CHAT_TEMPLATE
};

uint64_t chat_fingerprint(const char *text, size_t length) {
    uint64_t hash = HASH_SEED;
    for (size_t i = 0, end; i < length; i = end + 1) {
        for (end = i; end < length && text[end] != '\r' && text[end] != '\n'; end++) {
        }
        hash = hash_bytes(hash, text + i, end - i);
        if (end + 1 < length && text[end] == '\r' && text[end + 1] == '\n') end++;
        if (end + 1 < length) hash = hash_bytes(hash, "\n", 1); /* behind it there is more */
    }
    return hash;
}

const char *chat_template_names(Arena *arena) {
    Text names = {.arena = arena};
    for (uint32_t i = 0; i < COUNT_OF(known); i++) {
        bool first = true;
        for (uint32_t k = 0; k < i; k++) first = first && strcmp(known[k].name, known[i].name);
        if (first) text_add(&names, "%s%s", i ? ", " : "", known[i].name);
    }
    return names.at;
}

/* ---- errors ---- */

static bool wrong(Arena *arena, ChatTemplate *out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool wrong(Arena *arena, ChatTemplate *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    out->error = arena_vprintf(arena, format, args);
    va_end(args);
    return false;
}

/* ---- what tokenizer_config.json says ---- */

static const char config_name[] = "tokenizer_config.json";
static const char jinja_name[] = "chat_template.jinja";

/* A token: its text, or an object that has it as `content`. */
static bool token_text(Arena *arena, const char *folder, const json_t *config, const char *key,
                       const char **token, ChatTemplate *out) {
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!value || json_is_null(value)) return true;
    if (!json_is_string(value))
        return wrong(arena, out, "%s/%s: %s is neither a text nor an object with one as content", folder,
                     config_name, key);
    *token = arena_strdup(arena, json_string_value(value));
    return true;
}

/* The text of `chat_template`: itself, or the one of a list that is called `default`. */
static bool template_text(Arena *arena, const json_t *config, const json_t **text, ChatTemplate *out) {
    const json_t *value = json_object_get(config, "chat_template");
    *text = value;
    if (!value || json_is_null(value) || json_is_string(value)) return true;
    *text = NULL;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && !strcmp(name, "default")) *text = json_object_get(one, "template"); /* the last wins */
    }
    if (!json_is_string(*text))
        return wrong(arena, out,
                     "%s: chat_template is neither a text nor a list with a text called 'default'",
                     out->file);
    return true;
}

/* ---- a known one ---- */

static bool shape_has(const ChatShape *s, const char *token) {
    const char *const marks[] = {s->system_open,    s->system_close,    s->user_open, s->user_close,
                                 s->assistant_open, s->assistant_close, s->prompt,    s->stop};
    for (uint32_t i = 0; i < COUNT_OF(marks); i++)
        if (marks[i] && strstr(marks[i], token)) return true;
    return false;
}

static void add_stop(ChatTemplate *out, const char *token) {
    for (uint32_t i = 0; i < out->stop_count; i++)
        if (!strcmp(out->stop[i], token)) return;
    out->stop[out->stop_count++] = token;
}

static bool find_row(Arena *arena, const char *folder, ChatTemplate *out) {
    for (uint32_t i = 0; i < COUNT_OF(known) && !out->row; i++)
        if (known[i].fingerprint == out->fingerprint) out->row = &known[i];
    if (!out->row) {
        out->help = arena_printf(arena,
                                 "known are those of %s; a text that you rendered yourself is taken as "
                                 "`prompt` and `completion`",
                                 chat_template_names(arena));
        return wrong(arena, out, "%s: a chat template that is not known (fingerprint %016" PRIx64 ")",
                     out->file, out->fingerprint);
    }
    const ChatShape *s = out->row->shape;
    out->name = out->row->name;
    const char *missing = NULL;
    if (!out->bos_token && (out->row->traits & CHAT_BOS || shape_has(s, BOS))) missing = "bos_token";
    if (!out->eos_token && (out->row->traits & CHAT_EOS_LAST || shape_has(s, EOS))) missing = "eos_token";
    if (missing)
        return wrong(arena, out, "%s/%s has no %s, which the chat template of %s writes", folder, config_name,
                     missing, out->name);
    add_stop(out, *s->stop == *EOS ? out->eos_token : s->stop);
    if (out->eos_token) add_stop(out, out->eos_token);
    return true;
}

static bool read_parsed(Arena *arena, const char *folder, const char *jinja, size_t jinja_length,
                        const json_t *config, ChatTemplate *out) {
    out->file = arena_printf(arena, "%s/%s", folder, jinja ? jinja_name : config_name);
    if (!token_text(arena, folder, config, "bos_token", &out->bos_token, out) ||
        !token_text(arena, folder, config, "eos_token", &out->eos_token, out) ||
        !token_text(arena, folder, config, "pad_token", &out->pad_token, out))
        return false;
    const json_t *text = NULL;
    if (!jinja && !template_text(arena, config, &text, out)) return false;
    if (!jinja && !json_is_string(text)) {
        out->help = "a text that you rendered yourself is taken as `prompt` and `completion`";
        return wrong(arena, out, "%s has no chat template: neither %s nor chat_template in %s", folder,
                     jinja_name, config_name);
    }
    out->fingerprint = jinja ? chat_fingerprint(jinja, jinja_length)
                             : chat_fingerprint(json_string_value(text), json_string_length(text));
    return find_row(arena, folder, out);
}

bool chat_template_read_text(Arena *arena, const char *folder, const char *jinja, size_t jinja_length,
                             const char *config, size_t config_length, ChatTemplate *out) {
    *out = (ChatTemplate){0};
    if (!config) return read_parsed(arena, folder, jinja, jinja_length, NULL, out);
    json_error_t error;
    /* Lengths without bound are written as whole numbers that no integer holds. */
    json_t *root = json_loadb(config, config_length, JSON_DECODE_INT_AS_REAL, &error);
    if (!root)
        return wrong(arena, out, "%s/%s:%d:%d: %s", folder, config_name, error.line, error.column,
                     error.text);
    bool fine = json_is_object(root) ? read_parsed(arena, folder, jinja, jinja_length, root, out)
                                     : wrong(arena, out, "%s/%s: no object of JSON", folder, config_name);
    json_decref(root);
    return fine;
}

/* The file, or NULL where there is none. False after an error. */
static bool read_if_there(Arena *arena, const char *folder, const char *name, const char **text,
                          size_t *length, ChatTemplate *out) {
    const char *path = arena_printf(arena, "%s/%s", folder, name);
    errno = 0;
    *text = read_file(arena, path, length);
    if (*text || errno == ENOENT || errno == ENOTDIR) return true;
    return wrong(arena, out, "%s: %s", path, read_file_error());
}

bool chat_template_read(Arena *arena, const char *folder, ChatTemplate *out) {
    const char *jinja, *config;
    size_t jinja_length = 0, config_length = 0;
    *out = (ChatTemplate){0};
    return read_if_there(arena, folder, jinja_name, &jinja, &jinja_length, out) &&
           read_if_there(arena, folder, config_name, &config, &config_length, out) &&
           chat_template_read_text(arena, folder, jinja, jinja_length, config, config_length, out);
}
