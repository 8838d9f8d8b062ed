/* Most templates are one shape: turn after turn, each role with its marks. They differ in the marks, in
 * blanks, and in where a system message goes. */
#include "frontend/text/chat_parts.h"

#include <string.h>

#define CHAT_SHAPE(name, ...) const ChatShape chat_shape_##name = {__VA_ARGS__};
#include "frontend/text/chat_shapes.def"
#undef CHAT_SHAPE

enum { IN_FRONT = CHAT_SYSTEM_FIRST_USER | CHAT_SYSTEM_LAST_USER };

/* Adds the texts of a content that is a list of parts, each without the blanks around it. */
static bool add_parts(Render *r, uint32_t index, const json_t *parts) {
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") || !json_is_string(text))
            return chat_refuse(r, index, "part %zu of its content is no text", i);
        chat_add_piece(r, chat_stripped((Piece){json_string_value(text), json_string_length(text)}));
    }
    return true;
}

/* Adds the content of a message as the template trims it; `begin`: where what is in front of it begins. */
static bool add_content(Render *r, uint32_t index, size_t begin) {
    unsigned traits = r->row->traits;
    Text *text = &r->out->text;
    const json_t *content = chat_key(r, index, "content");
    if (traits & CHAT_PARTS && json_is_array(content)) return add_parts(r, index, content);
    Piece piece;
    if (!chat_content(r, index, &piece)) return false;
    bool trims = traits & CHAT_TRIM || (traits & CHAT_TRIM_ANSWER && chat_role(r, index) == ROLE_assistant);
    chat_add_piece(r, trims ? chat_stripped(piece) : piece);
    if (traits & CHAT_TRIM_JOINED && text->length > begin) {
        Piece joined = chat_stripped((Piece){text->at + begin, text->length - begin});
        memmove(text->at + begin, joined.at, joined.length);
        text->length = begin + joined.length;
        text->at[text->length] = 0;
    }
    return true;
}

/* The system message of the begin, which stands in front of a user's content. */
static bool add_system_in_front(Render *r) {
    const json_t *content = chat_key(r, 0, "content");
    Piece piece;
    if (r->row->traits & CHAT_PARTS && json_is_array(content)) {
        const json_t *text = json_object_get(json_array_get(content, 0), "text");
        if (json_array_size(content) != 1 || !json_is_string(text))
            return chat_refuse(r, 0, "of its content %s reads one part, a text", r->row->name);
        piece = (Piece){json_string_value(text), json_string_length(text)};
    } else if (!chat_content(r, 0, &piece)) {
        return false;
    }
    chat_add(r, r->row->shape->system_open);
    chat_add_piece(r, piece);
    chat_add(r, r->row->shape->system_close);
    return true;
}

/* `in_front`: the system message goes here. */
static bool add_user(Render *r, uint32_t index, bool in_front) {
    const ChatShape *s = r->row->shape;
    chat_add(r, s->user_open);
    size_t begin = r->out->text.length;
    if (in_front && !add_system_in_front(r)) return false;
    if (!add_content(r, index, begin)) return false;
    chat_add(r, s->user_close);
    return true;
}

static bool add_system(Render *r, uint32_t index) {
    const ChatShape *s = r->row->shape;
    if (index == 0 && s->no_system) return chat_refuse(r, index, "%s", s->no_system);
    if (r->row->traits & CHAT_NO_SYSTEM)
        return chat_refuse(r, index, "%s has no system message: it would be lost", r->row->name);
    if (s->no_system || r->row->traits & IN_FRONT || (r->row->traits & CHAT_SYSTEM_FIRST && index))
        return chat_refuse(r, index, "%s reads a system message only as the first", r->row->name);
    if (r->row->traits & CHAT_SYSTEM_MAYBE_EMPTY) {
        Piece content;
        if (!chat_content(r, index, &content)) return false;
        if (!content.length) return true;
    }
    chat_add(r, s->system_open);
    if (!add_content(r, index, r->out->text.length)) return false;
    chat_add(r, s->system_close);
    return true;
}

/* What is learned of an answer is what comes behind its prompt; a template may ask for the mark as well. */
static bool add_answer(Render *r, uint32_t index) {
    const ChatShape *s = r->row->shape;
    bool opens = s->prompt && !(r->row->traits & CHAT_LEARNS_OPEN);
    size_t begin = r->out->text.length + (opens ? strlen(s->prompt) : 0), content;
    chat_add(r, s->assistant_open);
    content = r->out->text.length;
    if (!add_content(r, index, content)) return false;
    if (r->row->traits & CHAT_DROPS_THOUGHTS && strstr(r->out->text.at + content, "</think>"))
        return chat_refuse(
            r, index,
            "%s writes only what is behind its last </think>: the thoughts would be lost (trl has a "
            "chat_template.jinja for training that keeps them)",
            r->row->name);
    chat_add(r, s->assistant_close);
    chat_completion(r, begin);
    chat_add(r, s->after);
    return true;
}

bool chat_render_turns(Render *r) {
    const ChatShape *s = r->row->shape;
    unsigned traits = r->row->traits;
    bool system = chat_role(r, 0) == ROLE_system, in_front = system && traits & IN_FRONT;
    uint32_t first = in_front ? 1 : 0;
    uint32_t holder = traits & CHAT_SYSTEM_LAST_USER ? r->count - 1 : first; /* of what is in front */
    if (traits & CHAT_BOS) chat_add(r, BOS);
    if (r->row->system && !system) {
        chat_add(r, s->system_open);
        chat_add(r, r->row->system);
        chat_add(r, s->system_close);
    }
    for (uint32_t i = first; i < r->count; i++) {
        Role role = chat_role(r, i);
        if (s->no_system && role == ROLE_system && i == 0) return add_system(r, i);
        if (s->alternate && (role == ROLE_user) != ((i - first) % 2 == 0))
            return chat_refuse(r, i, "%s", s->alternate);
        if (role == ROLE_system ? !add_system(r, i)
            : role == ROLE_user ? !add_user(r, i, in_front && i == holder)
                                : !add_answer(r, i))
            return false;
    }
    if (in_front && (holder >= r->count || holder == 0 || chat_role(r, holder) != ROLE_user))
        return chat_refuse(r, 0,
                           "%s writes it only in front of the %s message, which must be a user's: it "
                           "would be lost",
                           r->row->name, traits & CHAT_SYSTEM_LAST_USER ? "last" : "next");
    bool prompt = r->options->generation_prompt || traits & CHAT_ALWAYS_PROMPT;
    if (traits & CHAT_EOS_LAST && !prompt) {
        size_t begin = r->out->text.length;
        chat_add(r, EOS);
        if (chat_role(r, r->count - 1) == ROLE_assistant) chat_completion(r, begin);
    }
    if (prompt) chat_add(r, s->prompt);
    return true;
}
