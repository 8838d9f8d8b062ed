/* ChatML as Qwen2.5 and Qwen3 write it: tools in the system message, their calls in an answer, their results
 * in a user's turn, and since Qwen3 thoughts. Thoughts are kept in the answers since the last question alone,
 * so that what an answer looks like depends on what follows. */
#include "frontend/text/chat_parts.h"

#include <string.h>

static const char tools_begin[] =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
    "function signatures within <tools></tools> XML tags:\n<tools>";
static const char tools_end[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
    "<args-json-object>}\n</tool_call>";

static bool thinks(const Render *r) {
    return r->row->traits & CHAT_THINKS;
}

/* ---- the beginning ---- */

static bool add_begin(Render *r) {
    const json_t *tools = r->options->tools;
    bool has_tools = json_array_size(tools) > 0, own = chat_role(r, 0) == ROLE_system;
    Piece system = {0};
    if (own && !chat_content(r, 0, &system)) return false;
    if (!own && r->row->system) system = (Piece){r->row->system, strlen(r->row->system)};
    if (!own && !r->row->system && !has_tools) return true;
    chat_add(r, r->row->shape->system_open);
    chat_add_piece(r, system);
    if (has_tools) {
        if (own || r->row->system) chat_add(r, "\n\n");
        chat_add(r, tools_begin);
        for (size_t i = 0; i < json_array_size(tools); i++) {
            chat_add(r, "\n");
            chat_add_json(r, json_array_get(tools, i), 0);
        }
        chat_add(r, tools_end);
    }
    chat_add(r, r->row->shape->system_close);
    return true;
}

/* ---- thoughts ---- */

static bool begins_with(Piece piece, const char *text) {
    return piece.length >= strlen(text) && !memcmp(piece.at, text, strlen(text));
}

static bool ends_with(Piece piece, const char *text) {
    size_t length = strlen(text);
    return piece.length >= length && !memcmp(piece.at + piece.length - length, text, length);
}

/* What a user asks, not what a tool said in a user's turn. The last message where there is none. */
static uint32_t last_question(const Render *r) {
    for (uint32_t i = r->count; i-- > 0;) {
        const json_t *content = chat_key(r, i, "content");
        Piece piece = {json_string_value(content), json_string_length(content)};
        if (chat_role(r, i) == ROLE_user && json_is_string(content) &&
            !(begins_with(piece, "<tool_response>") && ends_with(piece, "</tool_response>")))
            return i;
    }
    return r->count - 1;
}

/* The first (or last) place of `mark` in the piece; NULL: there is none. */
static const char *find(Piece piece, const char *mark, bool last) {
    size_t length = strlen(mark);
    const char *found = NULL;
    for (size_t i = 0; i + length <= piece.length && (last || !found); i++)
        if (!memcmp(piece.at + i, mark, length)) found = piece.at + i;
    return found;
}

/* Thoughts that stand inside the content, between <think> and </think>, are taken out of it. */
static void split_thoughts(Piece *content, Piece *thoughts) {
    const char open[] = "<think>", close[] = "</think>";
    const char *first = find(*content, close, false), *last = find(*content, close, true);
    if (!first) return;
    Piece before = {content->at, (size_t)(first - content->at)};
    before = chat_without_newlines(before, false, true);
    const char *begin = find(before, open, true);
    if (begin)
        before = (Piece){begin + strlen(open), (size_t)(before.at + before.length - begin) - strlen(open)};
    *thoughts = chat_without_newlines(before, true, false);
    last += strlen(close);
    *content = (Piece){last, (size_t)(content->at + content->length - last)};
    *content = chat_without_newlines(*content, true, false);
}

static bool thoughts_of(const Render *r, uint32_t index, Piece *out) {
    static const char *const keys[] = {"reasoning_content", "thinking", "reasoning"};
    for (uint32_t i = 0; i < COUNT_OF(keys); i++) {
        const json_t *value = chat_key(r, index, keys[i]);
        if (!value) continue;
        *out = (Piece){json_string_value(value), json_string_length(value)};
        return true;
    }
    return false;
}

/* ---- answers ---- */

static bool add_calls(Render *r, uint32_t index, bool newline_first) {
    bool texts = !(r->row->traits & CHAT_QWEN_2_5); /* arguments that are a text already are written as it */
    for (uint32_t i = 0; i < chat_call_count(r, index); i++) {
        ToolCall call;
        if (!chat_call(r, index, i, true, texts, &call)) return false;
        if (i || newline_first) chat_add(r, "\n");
        chat_add(r, "<tool_call>\n{\"name\": \"");
        chat_add_piece(r, call.name);
        chat_add(r, "\", \"arguments\": ");
        if (json_is_string(call.arguments))
            chat_add_piece(r, (Piece){json_string_value(call.arguments), json_string_length(call.arguments)});
        else
            chat_add_json(r, call.arguments, 0);
        chat_add(r, "}\n</tool_call>");
    }
    return true;
}

/* The content of an answer that calls tools may be absent. */
static bool answer_content(Render *r, uint32_t index, Piece *out) {
    bool may_lack = chat_call_count(r, index) && !(r->row->traits & CHAT_NEEDS_CONTENT);
    *out = (Piece){"", 0};
    return (may_lack && !chat_key(r, index, "content")) || chat_content(r, index, out);
}

/* Qwen2.5: the newline behind the role belongs to the answer, which may begin with a call at once. */
static bool add_answer_2_5(Render *r, uint32_t index) {
    Piece content;
    if (!answer_content(r, index, &content)) return false;
    chat_add(r, "<|im_start|>assistant");
    size_t begin = r->out->text.length;
    if (content.length || !chat_call_count(r, index)) {
        chat_add(r, "\n");
        chat_add_piece(r, content);
    }
    if (!add_calls(r, index, true)) return false;
    chat_add(r, r->row->shape->assistant_close);
    chat_completion(r, begin);
    return true;
}

/* `question`: the last one, as last_question gives it. */
static bool add_answer_3(Render *r, uint32_t index, uint32_t question) {
    Piece content, thoughts = {"", 0};
    if (!answer_content(r, index, &content)) return false;
    chat_add(r, r->row->shape->assistant_open);
    size_t begin = r->out->text.length;
    if (thinks(r) && !thoughts_of(r, index, &thoughts)) split_thoughts(&content, &thoughts);
    bool last = index == r->count - 1;
    if (thinks(r) &&
        (r->row->traits & CHAT_ALWAYS_THINKS || (index > question && (last || thoughts.length)))) {
        chat_add(r, "<think>\n");
        chat_add_piece(r, chat_without_newlines(thoughts, true, true));
        chat_add(r, "\n</think>\n\n");
        chat_add_piece(r, chat_without_newlines(content, true, false));
    } else {
        chat_add_piece(r, content);
    }
    if (!add_calls(r, index, content.length)) return false;
    chat_add(r, r->row->shape->assistant_close);
    chat_completion(r, begin);
    return true;
}

/* ---- the rest ---- */

/* Results that follow each other share one user's turn. */
static bool add_result(Render *r, uint32_t index) {
    Piece content;
    if (!chat_content(r, index, &content)) return false;
    if (index == 0 || chat_role(r, index - 1) != ROLE_tool) chat_add(r, "<|im_start|>user");
    chat_add(r, "\n<tool_response>\n");
    chat_add_piece(r, content);
    chat_add(r, "\n</tool_response>");
    if (index == r->count - 1 || chat_role(r, index + 1) != ROLE_tool) chat_add(r, r->row->shape->user_close);
    return true;
}

static bool add_text(Render *r, uint32_t index, const char *open, const char *close) {
    Piece content;
    if (!chat_content(r, index, &content)) return false;
    chat_add(r, open);
    chat_add_piece(r, content);
    chat_add(r, close);
    return true;
}

bool chat_render_qwen(Render *r) {
    const ChatShape *s = r->row->shape;
    uint32_t question = last_question(r);
    if (!add_begin(r)) return false;
    for (uint32_t i = 0; i < r->count; i++) {
        bool fine = true;
        switch (chat_role(r, i)) {
        case ROLE_system: fine = i == 0 || add_text(r, i, s->system_open, s->system_close); break;
        case ROLE_user: fine = add_text(r, i, s->user_open, s->user_close); break;
        case ROLE_tool: fine = add_result(r, i); break;
        case ROLE_assistant:
            fine = r->row->traits & CHAT_QWEN_2_5 ? add_answer_2_5(r, i) : add_answer_3(r, i, question);
            break;
        }
        if (!fine) return false;
    }
    if (!r->options->generation_prompt) return true;
    chat_add(r, s->prompt);
    if (r->options->no_thinking) chat_add(r, "<think>\n\n</think>\n\n");
    return true;
}
