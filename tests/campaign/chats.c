/* chats FOLDER: renders conversations with the folder's chat template, for chats.py.
 *
 * The first line that it writes is what was found, {"name": ..., "fingerprint": ..., "stop": [...]} or
 * {"error": ...}. Then for each line of standard input, {"messages": [...]} with `generation_prompt`,
 * `no_thinking`, `date` and `tools` as they are given, one of {"text": ..., "spans": [[begin, end], ...]} or
 * {"error": ...}. */
#include "frontend/text/chat.h"

#include <inttypes.h>
#include <stdlib.h>

static int print_and_free(json_t *line) {
    char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    if (!text) return 1;
    puts(text);
    fflush(stdout);
    free(text);
    return 0;
}

static json_t *found(const ChatTemplate *template, Arena *arena) {
    if (template->error) return json_pack("{s:s, s:s?}", "error", template->error, "help", template->help);
    json_t *stop = json_array();
    for (uint32_t i = 0; i < template->stop_count; i++)
        json_array_append_new(stop, json_string(template->stop[i]));
    return json_pack("{s:s, s:s, s:o}", "name", template->name, "fingerprint",
                     arena_printf(arena, "%016" PRIx64, template->fingerprint), "stop", stop);
}

static json_t *rendered(Arena *arena, const ChatTemplate *template, const json_t *request) {
    ChatOptions options = {
        .generation_prompt = json_is_true(json_object_get(request, "generation_prompt")),
        .no_thinking = json_is_true(json_object_get(request, "no_thinking")),
        .date = json_string_value(json_object_get(request, "date")),
        .tools = json_object_get(request, "tools"),
    };
    Chat chat;
    if (!chat_render(arena, template, json_object_get(request, "messages"), &options, &chat))
        return json_pack("{s:s}", "error", chat.error);
    json_t *spans = json_array();
    for (uint32_t i = 0; i < chat.completion.count; i++) {
        ChatSpan span = chat.completion.at[i];
        json_array_append_new(spans, json_pack("[I, I]", (json_int_t)span.begin, (json_int_t)span.end));
    }
    return json_pack("{s:o, s:o}", "text", json_stringn(chat.text.at, chat.text.length), "spans", spans);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: chats FOLDER\n", stderr);
        return 2;
    }
    Arena *kept = arena_new(), *arena = arena_new();
    ChatTemplate template;
    bool fine = chat_template_read(kept, argv[1], &template);
    if (print_and_free(found(&template, kept))) return 1;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t length; fine && (length = getline(&line, &room, stdin)) > 0; arena_reset(arena)) {
        json_error_t error;
        json_t *request = json_loadb(line, (size_t)length, 0, &error);
        json_t *answer =
            request ? rendered(arena, &template, request) : json_pack("{s:s}", "unread", error.text);
        json_decref(request);
        if (print_and_free(answer)) return 1;
    }
    free(line);
    arena_free(arena);
    arena_free(kept);
    return 0;
}
