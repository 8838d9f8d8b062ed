/* A conversation and the folder that has its template: a text with spans in it, or one error.
 *
 * The first byte picks one of the templates of tests/cases/chat, 'a' the first, or none; the second what is
 * asked for, by its bits. The rest of the first line is {"messages": ..., "tools": ..., "date": ...}; what
 * follows it is tokenizer_config.json. */
#include "exits.h"
#include "frontend/text/chat.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char *const source[] = {
#define CHAT_TEMPLATE(fingerprint, name, renderer, shape, traits, system, source) source,
#include "frontend/text/chat_templates.def"
#undef CHAT_TEMPLATE
};

typedef struct Ours {
    Arena *arena;
    const char *text[COUNT_OF(source)];
    size_t length[COUNT_OF(source)];
    uint32_t count;
} Ours;

static const Ours *read_ours(void) {
    static Ours ours;
    if (ours.count) return &ours;
    Arena *kept = ours.arena = arena_new();
    for (uint32_t i = 0; i < COUNT_OF(source); i++) {
        if (strncmp(source[i], "tests/cases/", 12)) continue;
        size_t *length = &ours.length[ours.count];
        ours.text[ours.count] = read_file(kept, arena_printf(kept, "%s/%s", REMAT_ROOT, source[i]), length);
        MUST(ours.text[ours.count++]);
    }
    return &ours;
}

static const uint8_t *input;
static size_t length;

static bool inside_character(const Text *text, size_t at) {
    return at < text->length && (text->at[at] & 0xc0) == 0x80;
}

static void render(Arena *arena, const ChatTemplate *template, const json_t *request, unsigned bits) {
    ChatOptions options = {.generation_prompt = bits & 1,
                           .no_thinking = bits & 2,
                           .date = json_string_value(json_object_get(request, "date")),
                           .tools = bits & 4 ? json_object_get(request, "tools") : NULL};
    const json_t *messages = json_object_get(request, "messages");
    Chat chat, again;
    bool fine = chat_render(arena, template, messages, &options, &chat);
    MUST(fine == !chat.error);
    if (!fine) return;
    MUST(chat_render(arena, template, messages, &options, &again));
    MUST(chat.text.length == again.text.length && !memcmp(chat.text.at, again.text.at, chat.text.length));
    MUST(chat.text.at[chat.text.length] == 0);
    size_t behind = 0;
    for (uint32_t i = 0; i < chat.completion.count; i++) {
        ChatSpan span = chat.completion.at[i];
        MUST((i == 0 || behind < span.begin) && span.begin < span.end && span.end <= chat.text.length);
        MUST(!inside_character(&chat.text, span.begin) && !inside_character(&chat.text, span.end));
        behind = span.end;
    }
    MUST(chat.completion.count <= json_array_size(messages));
}

static void read_and_render(void *arena) {
    const Ours *ours = read_ours();
    const char *line = (const char *)input + 2, *end = memchr(line, '\n', length - 2);
    size_t line_length = end ? (size_t)(end - line) : length - 2;
    const char *config = end ? end + 1 : NULL;
    size_t config_length = config ? length - 2 - line_length - 1 : 0;
    uint32_t which = (uint32_t)(input[0] - 'a');
    bool picked = which < ours->count;
    ChatTemplate template;
    if (!chat_template_read_text(arena, "m", picked ? ours->text[which] : NULL,
                                 picked ? ours->length[which] : 0, config, config_length, &template)) {
        MUST(template.error && !template.name == !template.row);
        return;
    }
    MUST(!template.error && template.row && template.stop_count > 0);
    json_t *request = json_loadb(line, line_length, 0, NULL);
    if (request) render(arena, &template, request, input[1]);
    json_decref(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 2) return 0;
    input = bytes;
    length = count;
    read_ours(); /* kept: not while what is allocated is given back */
    Arena *arena = arena_new();
    run_to_exit(read_and_render, arena);
    arena_free(arena);
    return 0;
}
