/* Conversations as the text that a published model was trained to continue, and which bytes of it the model
 * is to learn to write.
 *
 * The text is that of transformers' `apply_chat_template(conversation, tokenize=False)`, byte for byte; what
 * the template does not say, where each completion begins and ends, the renderer knows. It is to be turned
 * into tokens with special tokens recognised and none added (`add_special_tokens=False`): it already begins
 * with the BOS token where the template writes one. */
#ifndef REMAT_TEXT_CHAT_H
#define REMAT_TEXT_CHAT_H

#include "frontend/text/chat_template.h"

#include <jansson.h>

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
