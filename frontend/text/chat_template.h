/* The chat template of a published model's folder.
 *
 * A published template is a program in Jinja. None is run here: a template is known by a fingerprint of its
 * text, a row of chat_templates.def, and what it writes is written by a renderer in C. A template without a
 * row is refused with its file and fingerprint. */
#ifndef REMAT_TEXT_CHAT_TEMPLATE_H
#define REMAT_TEXT_CHAT_TEMPLATE_H

#include "ir/base.h"

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

#endif
