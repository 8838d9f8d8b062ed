/* Chat templates: from a conversation to the text that a published model was trained to continue, and which
 * bytes of it the model is to learn to write.
 *
 * A published template is a program in Jinja. None is run here: a template is known by a fingerprint of its
 * text (chat_templates.def, a row each) and written by a renderer in C, which gives the bytes of
 * transformers' `apply_chat_template(conversation, tokenize=False)` and knows what the template does not say,
 * where each completion begins and ends. A template without a row is refused with its file and fingerprint.
 *
 * The text is to be turned into tokens with special tokens recognised and none added (`add_special_tokens=
 * False`): it already begins with the BOS token where the template writes one. */
#ifndef REMAT_TEXT_CHAT_H
#define REMAT_TEXT_CHAT_H

#include "ir/base.h"

#include <jansson.h>

/* ---- the template of a folder ---- */

enum { CHAT_MOST_STOPS = 3 };

typedef struct ChatTemplate {
    const char *file; /* which it was read from, FOLDER/chat_template.jinja or FOLDER/tokenizer_config.json */
    const char *name; /* whose template it is: "Qwen2.5"; NULL: the folder has none that is known */
    uint64_t fingerprint; /* of the template's text, as chat_fingerprint gives it */
    /* As tokenizer_config.json has them; NULL: it has none. */
    const char *bos_token, *eos_token, *pad_token;
    /* The tokens that end an answer, the first of them the one that the template writes: a sample stops
     * there. */
    const char *stop[CHAT_MOST_STOPS];
    uint32_t stop_count;
    const struct ChatRow *row;
    const char *error, *help; /* error NULL: all is well; help NULL: there is none */
} ChatTemplate;

/* Reads the template of a published model's folder: `chat_template.jinja`, or else `chat_template` of
 * tokenizer_config.json, a text or a list of named ones of which it is `default`. False after an error, whose
 * text names the file; for a template that is not known also its fingerprint. Nothing is printed. */
bool chat_template_read(Arena *arena, const char *folder, ChatTemplate *out);

/* The same from what the two files hold; `jinja` or `config` NULL: there is no such file. `folder` is named
 * in errors only. */
bool chat_template_read_text(Arena *arena, const char *folder, const char *jinja, size_t jinja_length,
                             const char *config, size_t config_length, ChatTemplate *out);

/* FNV-1a, 64 bits, of the text as Jinja reads it: \r\n and \r are \n, and one newline at the end does not
 * count. */
uint64_t chat_fingerprint(const char *text, size_t length);

/* The names of the templates that are known, each once, separated by ", ": for messages. */
const char *chat_template_names(Arena *arena);

/* ---- a conversation ---- */

/* What a template takes from outside of the conversation. All zero is what is trained on. */
typedef struct ChatOptions {
    bool generation_prompt; /* ends with the beginning of an answer, to sample one */
    bool no_thinking;       /* Qwen3's `enable_thinking=False`: the prompt of an answer without thoughts */
    /* What Llama 3.1 and later write as today's date. NULL: "26 Jul 2024", which is the templates' own where
     * no clock is at hand. The clock is never asked: preparing the same text again gives the same tokens. */
    const char *date;
    const json_t *tools; /* a list of functions' schemas; NULL: none */
} ChatOptions;

typedef struct ChatSpan {
    size_t begin, end; /* bytes of the text, end exclusive */
} ChatSpan;

typedef struct Chat {
    Text text;
    /* What an assistant writes, with the token that ends its turn: in order, apart, never empty. A token that
     * overlaps one has loss. */
    VEC(ChatSpan) completion;
    const char *error; /* NULL: all is well */
} Chat;

/* `conversation`: a list of messages, {"role": ..., "content": ...}. False after an error, whose text names
 * the message by its index from 0: what the template itself refuses, in its words; a message that it would
 * leave out without a word, or one with something it cannot say. `out` is begun anew; what is in it lies in
 * the arena. */
bool chat_render(Arena *arena, const ChatTemplate *template, const json_t *conversation,
                 const ChatOptions *options, Chat *out);

#endif
