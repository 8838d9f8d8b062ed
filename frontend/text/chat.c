/* See chat.h. Before a renderer sees a conversation it is gone through once: each message
 * is an object with a role that is known, and says nothing that its template would leave out without a word.
 */
#include "frontend/text/chat_parts.h"

#include <string.h>

/* ---- the text ---- */

void chat_add(Render *r, const char *text) {
    for (size_t length; text && *text; text += length) {
        length = strcspn(text, BOS EOS);
        if (length) {
            text_add_n(&r->out->text, text, length);
            continue;
        }
        const char *token = *text == *BOS ? r->template->bos_token : r->template->eos_token;
        text_add_n(&r->out->text, token, strlen(token));
        length = 1;
    }
}

void chat_add_piece(Render *r, Piece piece) {
    text_add_n(&r->out->text, piece.at, piece.length);
}

void chat_completion(Render *r, size_t begin) {
    size_t end = r->out->text.length;
    uint32_t count = r->out->completion.count;
    if (begin == end) return;
    if (count && r->out->completion.at[count - 1].end == begin)
        r->out->completion.at[count - 1].end = end;
    else
        *vec_add(r->arena, &r->out->completion) = (ChatSpan){begin, end};
}

/* ---- messages ---- */

static const char *const role_name[] = {
    [ROLE_system] = "system", [ROLE_user] = "user", [ROLE_assistant] = "assistant", [ROLE_tool] = "tool"};

static const json_t *message_at(const Render *r, uint32_t index) {
    return json_array_get(r->messages, index);
}

const json_t *chat_key(const Render *r, uint32_t index, const char *key) {
    const json_t *value = json_object_get(message_at(r, index), key);
    return json_is_null(value) ? NULL : value;
}

static bool find_role(const Render *r, uint32_t index, Role *out) {
    const char *name = json_string_value(chat_key(r, index, "role"));
    for (uint32_t i = 0; name && i < COUNT_OF(role_name); i++)
        if (!strcmp(name, role_name[i])) {
            *out = (Role)i;
            return true;
        }
    /* Llama's own word for what a tool says. */
    *out = ROLE_tool;
    return name && r->row->render == chat_render_llama && !strcmp(name, "ipython");
}

Role chat_role(const Render *r, uint32_t index) {
    Role role;
    if (!find_role(r, index, &role)) die("message %u has no role", index);
    return role;
}

bool chat_refuse(Render *r, uint32_t index, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *what = arena_vprintf(r->arena, format, args);
    va_end(args);
    const char *role = json_string_value(chat_key(r, index, "role"));
    r->out->error = role ? arena_printf(r->arena, "message %u (%s): %s", index, role, what)
                         : arena_printf(r->arena, "message %u: %s", index, what);
    return false;
}

bool chat_content(Render *r, uint32_t index, Piece *out) {
    const json_t *content = chat_key(r, index, "content");
    if (!content) return chat_refuse(r, index, "it has no content");
    if (!json_is_string(content))
        return chat_refuse(r, index, "its content is %s; %s reads a text",
                           json_is_array(content) ? "a list" : "no text", r->row->name);
    *out = (Piece){json_string_value(content), json_string_length(content)};
    return true;
}

/* ---- calls of tools ---- */

uint32_t chat_call_count(const Render *r, uint32_t index) {
    return (uint32_t)json_array_size(chat_key(r, index, "tool_calls"));
}

bool chat_call(Render *r, uint32_t index, uint32_t call, bool flat, bool text_arguments, ToolCall *out) {
    const json_t *it = json_array_get(chat_key(r, index, "tool_calls"), call);
    const json_t *function = json_object_get(it, "function");
    if (!function && flat) function = it;
    const json_t *name = json_object_get(function, "name");
    out->arguments = json_object_get(function, "arguments");
    if (!json_is_string(name))
        return chat_refuse(r, index, "call %u of its tool_calls has no function with a name", call);
    out->name = (Piece){json_string_value(name), json_string_length(name)};
    if (json_is_object(out->arguments) || (text_arguments && json_is_string(out->arguments))) return true;
    if (!json_is_string(out->arguments))
        return chat_refuse(r, index, "the arguments of call %u of its tool_calls are no object", call);
    return chat_refuse(r, index,
                       "the arguments of call %u of its tool_calls are a text; %s would write it "
                       "quoted once more: an object is wanted",
                       call, r->row->name);
}

/* ---- what is looked at before ---- */

/* Keys of a message that change what is to be trained, where a template reads them. */
static bool keys_are_read(Render *r, uint32_t index, Role role) {
    static const char *const thoughts[] = {"reasoning_content", "reasoning", "thinking"};
    const json_t *calls = chat_key(r, index, "tool_calls");
    const json_t *function_call = chat_key(r, index, "function_call"), *weight = chat_key(r, index, "weight");
    if (calls && !json_is_array(calls)) return chat_refuse(r, index, "its tool_calls are no list");
    if (calls && !json_array_size(calls) && r->row->traits & CHAT_EMPTY_CALLS)
        return chat_refuse(r, index, "its tool_calls are empty, which %s would take for a call",
                           r->row->name);
    if (json_array_size(calls) && !(r->row->traits & CHAT_TOOLS))
        return chat_refuse(r, index, "%s is written here without tools, and its tool_calls would be lost",
                           r->row->name);
    if (json_array_size(calls) && role != ROLE_assistant)
        return chat_refuse(r, index, "tool_calls are an assistant's");
    if (function_call) return chat_refuse(r, index, "no template reads function_call: tool_calls are wanted");
    for (uint32_t i = 0; i < COUNT_OF(thoughts); i++) {
        const json_t *thought = chat_key(r, index, thoughts[i]);
        if (!thought || (json_is_string(thought) && !json_string_length(thought))) continue;
        if (!(r->row->traits & CHAT_THINKS) || role != ROLE_assistant)
            return chat_refuse(r, index, "%s writes no %s here, which would be lost", r->row->name,
                               thoughts[i]);
        if (!json_is_string(thought)) return chat_refuse(r, index, "its %s is no text", thoughts[i]);
    }
    if (weight && json_number_value(weight) != 1)
        return chat_refuse(r, index, "its weight is not 1: a message has loss or has not, by its role");
    return true;
}

static bool messages_are_read(Render *r) {
    for (uint32_t i = 0; i < r->count; i++) {
        Role role;
        if (!json_is_object(message_at(r, i))) return chat_refuse(r, i, "it is no object");
        if (!json_is_string(chat_key(r, i, "role"))) return chat_refuse(r, i, "it has no role");
        if (!find_role(r, i, &role))
            return chat_refuse(r, i, "its role is none of system, user, assistant and tool");
        if (role == ROLE_tool && !(r->row->traits & CHAT_TOOLS))
            return chat_refuse(r, i, "%s is written here without tools", r->row->name);
        if (!keys_are_read(r, i, role)) return false;
    }
    return true;
}

/* About no message. Always false. */
static bool cannot(Render *r, const char *format) __attribute__((format(printf, 2, 0)));
static bool cannot(Render *r, const char *format) {
    r->out->error = arena_printf(r->arena, format, r->row->name);
    return false;
}

static bool options_are_read(Render *r) {
    const ChatOptions *o = r->options;
    unsigned traits = r->row->traits;
    if (o->no_thinking && !(traits & CHAT_THINKS))
        return cannot(r, "thinking cannot be switched off in the template of %s, which has none");
    if (o->date && !(traits & CHAT_DATE)) return cannot(r, "the template of %s writes no date");
    if (!o->tools || json_is_null(o->tools)) return true;
    if (!(traits & CHAT_TOOLS)) return cannot(r, "%s is written here without tools");
    if (!json_is_array(o->tools)) return cannot(r, "tools of %s: a list is wanted");
    for (size_t i = 0; i < json_array_size(o->tools); i++)
        if (!json_is_object(json_array_get(o->tools, i))) return cannot(r, "tools of %s: each is an object");
    return true;
}

bool chat_render(Arena *arena, const ChatTemplate *template, const json_t *conversation,
                 const ChatOptions *options, Chat *out) {
    *out = (Chat){.text = {.arena = arena}};
    Render r = {arena, template, template->row, options, conversation, 0, out};
    if (!json_is_array(conversation) || !json_array_size(conversation)) {
        out->error = "a conversation is a list of at least one message";
        return false;
    }
    r.count = (uint32_t)json_array_size(conversation);
    return options_are_read(&r) && messages_are_read(&r) && r.row->render(&r);
}
