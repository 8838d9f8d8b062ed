/* What the renderers of chat templates share: the conversation, the text that grows, and refusals.
 *
 *     chat_template.c   the folder's template, its row, the tokens that it writes
 *     chat.c            a conversation is looked at before it is rendered; messages, calls of tools, the text
 *     chat_text.c       blanks and JSON as Python has them
 *     chat_turns.c      the renderer of most: turn after turn, each with its marks
 *     chat_qwen.c       ChatML with tools and thoughts: Qwen2.5, Qwen3
 *     chat_llama.c      Llama 3.1 and later: a date and tools
 *
 * A renderer is a function of one family of templates; the rows of chat_templates.def name theirs, with what
 * distinguishes one published text from another. It writes into `r->out->text`, says where answers begin and
 * end, and returns false after an error. */
#ifndef REMAT_TEXT_CHAT_PARTS_H
#define REMAT_TEXT_CHAT_PARTS_H

#include "frontend/text/chat.h"

/* What distinguishes a row from others of its renderer. */
enum {
    CHAT_BOS = 1 << 0,                /* the text begins with the BOS token */
    CHAT_TRIM = 1 << 1,               /* contents without the blanks around them */
    CHAT_TRIM_ANSWER = 1 << 2,        /* only an assistant's */
    CHAT_TRIM_JOINED = 1 << 3,        /* after a system message was put in front of the content */
    CHAT_PARTS = 1 << 4,              /* a content may be a list of parts of text */
    CHAT_NO_SYSTEM = 1 << 5,          /* a system message would be left out without a word */
    CHAT_SYSTEM_FIRST_USER = 1 << 6,  /* it stands in front of the first user's content */
    CHAT_SYSTEM_LAST_USER = 1 << 7,   /* in front of the last message, if that is a user's */
    CHAT_SYSTEM_MAYBE_EMPTY = 1 << 8, /* one without content is not written */
    CHAT_EOS_LAST = 1 << 9,           /* the text ends with the EOS token, unless with a prompt */
    CHAT_ALWAYS_PROMPT = 1 << 10,     /* the text ends with a prompt whether one is asked for or not */
    CHAT_TOOLS = 1 << 11,             /* tools, calls and their results */
    CHAT_DATE = 1 << 12,              /* a date is written */
    CHAT_THINKS = 1 << 13,            /* thoughts are, in the answers since the last question */
    CHAT_ALWAYS_THINKS = 1 << 14,     /* in every answer */
    CHAT_NEEDS_CONTENT = 1 << 15,     /* a call of tools has a content, empty or not */
    CHAT_QWEN_2_5 = 1 << 16, /* an answer has the newline in front of it, and calls no texts for arguments */
    CHAT_EMPTY_CALLS = 1 << 17,    /* an empty list of calls is taken for a call, and the content lost */
    CHAT_SYSTEM_FIRST = 1 << 18,   /* the system message is written at the begin, wherever it stands */
    CHAT_DROPS_THOUGHTS = 1 << 19, /* of an answer only what is behind its last </think> is written */
    CHAT_LEARNS_OPEN = 1 << 20,    /* the mark in front of an answer is learned with it */
};

/* What stands around a message, and what the template refuses. BOS and EOS in these texts are the folder's
 * tokens. */
#define BOS "\1"
#define EOS "\2"
typedef struct ChatShape {
    /* In front of and behind the content of each role; where the system's stands in front of a user's
     * content, inside of that message. */
    const char *system_open, *system_close, *user_open, *user_close, *assistant_open, *assistant_close;
    const char *after;     /* behind an answer, no part of it */
    const char *prompt;    /* of an answer; begins as `assistant_open` does */
    const char *stop;      /* the token that ends an answer */
    const char *alternate; /* what it says where user and assistant do not alternate; NULL: they need not */
    const char *no_system; /* what it says to a system message; NULL: it takes one */
} ChatShape;

typedef struct Render Render;
typedef struct ChatRow {
    uint64_t fingerprint;
    const char *name;
    bool (*render)(Render *r);
    const ChatShape *shape;
    unsigned traits;
    const char *system; /* of a conversation that begins without one; NULL: none */
} ChatRow;

#define CHAT_SHAPE(name, ...) extern const ChatShape chat_shape_##name;
#include "frontend/text/chat_shapes.def"
#undef CHAT_SHAPE

struct Render {
    Arena *arena;
    const ChatTemplate *template;
    const ChatRow *row;
    const ChatOptions *options;
    const json_t *messages;
    uint32_t count;
    Chat *out;
};

/* ---- renderers ---- */
bool chat_render_turns(Render *r); /* turn after turn, each with its marks */
bool chat_render_qwen(Render *r);  /* ChatML with tools and thoughts: Qwen2.5, Qwen3 */
bool chat_render_llama(Render *r); /* Llama 3.1 and later: a date and tools */

/* ---- the text ---- */
void chat_add(Render *r, const char *text); /* with the folder's tokens where it has BOS or EOS */
void chat_add_json(Render *r, const json_t *value, unsigned indent); /* as Jinja's tojson here writes it */
/* What was written since `begin` is to be learned. */
void chat_completion(Render *r, size_t begin);

/* A piece of a text that stays where it is. */
typedef struct Piece {
    const char *at;
    size_t length;
} Piece;
void chat_add_piece(Render *r, Piece piece);
/* Without the characters at both ends that Python's str.strip() drops. */
Piece chat_stripped(Piece piece);
/* Without the newlines at the begin, at the end. */
Piece chat_without_newlines(Piece piece, bool begin, bool end);

/* ---- messages ---- */
typedef enum Role { ROLE_system, ROLE_user, ROLE_assistant, ROLE_tool } Role;
/* Of a message that chat_render found to have one. */
Role chat_role(const Render *r, uint32_t index);
/* Absent and null are the same. */
const json_t *chat_key(const Render *r, uint32_t index, const char *key);
/* The content, which is a text; false after a refusal. */
bool chat_content(Render *r, uint32_t index, Piece *out);
/* Refuses a message, by its index. Always false. */
bool chat_refuse(Render *r, uint32_t index, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* One of an answer's calls of tools. */
typedef struct ToolCall {
    Piece name;
    const json_t *arguments; /* an object, or a text where those are let through */
} ToolCall;
/* How many the answer has: 0 where the key is absent or its list is empty. */
uint32_t chat_call_count(const Render *r, uint32_t index);
/* `flat`: a call may stand without the object `function` around it. */
bool chat_call(Render *r, uint32_t index, uint32_t call, bool flat, bool text_arguments, ToolCall *out);

#endif
