/* Llama 3.1 and later: a system message that is always there, with dates, and tools that are told of in the
 * first user's message. */
#include "frontend/text/chat_parts.h"

#include <string.h>

static const char tools_told[] =
    "Given the following functions, please respond with a JSON for a function call with its proper arguments "
    "that best answers the given prompt.\n\nRespond in the format {\"name\": function name, \"parameters\": "
    "dictionary of argument name and its value}.Do not use variables.\n\n";
enum { TOOL_INDENT = 4 };

static bool has_tools(const Render *r) {
    return json_is_array(r->options->tools);
}

/* The content without the blanks around it, between the marks of its role. */
static bool add_stripped(Render *r, uint32_t index, const char *open, const char *close) {
    Piece content;
    if (!chat_content(r, index, &content)) return false;
    chat_add(r, open);
    chat_add_piece(r, chat_stripped(content));
    chat_add(r, close);
    return true;
}

/* Tells of the tools and then writes the message, which is a user's. */
static bool add_user_with_tools(Render *r, uint32_t index) {
    if (index >= r->count || chat_role(r, index) != ROLE_user)
        return chat_refuse(
            r, index < r->count ? index : 0,
            "tools are told of in the first message behind the system's, which must be a user's");
    chat_add(r, r->row->shape->user_open);
    chat_add(r, tools_told);
    for (size_t i = 0; i < json_array_size(r->options->tools); i++) {
        chat_add_json(r, json_array_get(r->options->tools, i), TOOL_INDENT);
        chat_add(r, "\n\n");
    }
    return add_stripped(r, index, "", r->row->shape->user_close);
}

static bool add_call(Render *r, uint32_t index) {
    ToolCall call;
    const json_t *content = chat_key(r, index, "content");
    if (chat_call_count(r, index) != 1)
        return chat_refuse(r, index, "This model only supports single tool-calls at once!");
    if (content && !(json_is_string(content) && !json_string_length(content)))
        return chat_refuse(r, index, "%s writes either a call or a content: the content would be lost",
                           r->row->name);
    if (!chat_call(r, index, 0, false, false, &call)) return false;
    chat_add(r, "{\"name\": \"");
    chat_add_piece(r, call.name);
    chat_add(r, "\", \"parameters\": ");
    chat_add_json(r, call.arguments, 0);
    chat_add(r, "}");
    chat_add(r, r->row->shape->assistant_close);
    return true;
}

static bool add_answer(Render *r, uint32_t index) {
    chat_add(r, r->row->shape->assistant_open);
    size_t begin = r->out->text.length;
    bool fine = chat_call_count(r, index) ? add_call(r, index)
                                          : add_stripped(r, index, "", r->row->shape->assistant_close);
    if (fine) chat_completion(r, begin);
    return fine;
}

/* What a tool said, as JSON: a text is quoted. */
static bool add_result(Render *r, uint32_t index) {
    const json_t *content = chat_key(r, index, "content");
    if (!json_is_string(content) && !json_is_array(content) && !json_is_object(content))
        return chat_refuse(r, index, "its content is no text, list or object");
    chat_add(r, "<|start_header_id|>ipython<|end_header_id|>\n\n");
    chat_add_json(r, content, 0);
    chat_add(r, "<|eot_id|>");
    return true;
}

bool chat_render_llama(Render *r) {
    const ChatShape *s = r->row->shape;
    bool system = chat_role(r, 0) == ROLE_system;
    uint32_t next = system ? 1 : 0;
    chat_add(r, BOS);
    chat_add(r, s->system_open);
    if (has_tools(r)) chat_add(r, "Environment: ipython\n");
    chat_add(r, "Cutting Knowledge Date: December 2023\nToday Date: ");
    const char *date = r->options->date ? r->options->date : "26 Jul 2024";
    chat_add_piece(r, (Piece){date, strlen(date)});
    chat_add(r, "\n\n");
    if (system && !add_stripped(r, 0, "", "")) return false;
    chat_add(r, s->system_close);
    if (has_tools(r) && !add_user_with_tools(r, next++)) return false;
    for (uint32_t i = next; i < r->count; i++) {
        bool fine = true;
        switch (chat_role(r, i)) {
        case ROLE_system: fine = add_stripped(r, i, s->system_open, s->system_close); break;
        case ROLE_user: fine = add_stripped(r, i, s->user_open, s->user_close); break;
        case ROLE_assistant: fine = add_answer(r, i); break;
        case ROLE_tool: fine = add_result(r, i); break;
        }
        if (!fine) return false;
    }
    if (r->options->generation_prompt) chat_add(r, s->prompt);
    return true;
}
