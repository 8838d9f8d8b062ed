/* From text to the file of documents that a trainer reads.
 *
 *     file --lines--> texts, with completions marked --tokenizer--> tokens, with loss marked --> .docs
 *
 * A plain text is framed as the tokenizer frames one (the beginning-of-text of Llama, say) and ends in the
 * end-of-text token where the tokenizer names one; a chat is as its template writes it. */
#ifndef REMAT_PREPARE_H
#define REMAT_PREPARE_H

#include "frontend/text/chat.h"
#include "frontend/text/tokenizer.h"

typedef enum TextForm {
    FORM_TEXT,  /* a file is one text */
    FORM_LINES, /* JSON objects, one a line, with "messages", with "text", or with "prompt" and "completion"
                 */
    FORM_CHAT   /* all of them with "messages" (and "tools" where there are any) */
} TextForm;

typedef struct Preparation {
    TextForm form;
    bool all;         /* every token has loss; else those of completions, of a plain text all */
    bool completions; /* that was asked for: a plain text, which has none, is refused */
    Tokenizer *tokenizer;
    const ChatTemplate *chat; /* of "messages"; its error is told where there are any; NULL: FORM_TEXT */
    int64_t vocab;            /* of the model: every token is below */
} Preparation;

/* Over everything that decides what tokens and mask a text becomes. */
uint64_t prepare_fingerprint(const Preparation *preparation);
/* Over the bytes of the files, in this order; false with errno and the file's index in `*failed`. */
bool prepare_text_fingerprint(const char *const *path, uint32_t paths, uint64_t *out, uint32_t *failed);

typedef struct Prepared {
    int64_t documents, tokens, losses; /* tokens with loss */
    int64_t without_loss;              /* documents that have none */
    uint32_t newer_character;          /* 0, or one that the tokenizers library may take for something else */
    const char *newer_where;           /* "chat.jsonl:17" */
} Prepared;

/* Reads the files and writes `target`. False: `*error` says what is wrong, and where in which file. */
bool prepare_files(const Preparation *preparation, const char *const *path, uint32_t paths,
                   const char *target, uint64_t text, Arena *arena, Prepared *out, const char **error);

#endif
