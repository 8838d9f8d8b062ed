/* Lines of JSON, and plain text, to a file of documents: a file that a trainer reads to the same numbers, or one
 * error with its place, and no file. The first byte chooses the form and what has loss. */
#include "exits.h"
#include "folder.h"
#include "frontend/text/prepare.h"
#include "runtime/internal.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

typedef struct Tools {
    Tokenizer *tokenizer;
    ChatTemplate chat;
} Tools;

static const Tools *tools(void) {
    static Tools kept;
    if (kept.tokenizer) return &kept;
    Arena *arena = arena_new();
    const char *error;
    size_t length;
    kept.tokenizer = tokenizer_read(arena, REMAT_ROOT "/tests/cases/text", &error);
    MUST(kept.tokenizer);
    char *text = read_file(arena, REMAT_ROOT "/tests/cases/chat/chatml.jinja", &length);
    MUST(text && chat_template_read_text(arena, "m", text, length, NULL, 0, &kept.chat));
    return &kept;
}

enum { VOCAB = 283, CONTEXT = 32 };
static unsigned choice;
static char text_path[512], target[512];

/* What a trainer finds in it. */
static void check_file(const Prepared *prepared, int format) {
    RtData data;
    RtVocabulary vocabulary;
    if (format == RT_TEXT && prepared->tokens <= CONTEXT) return; /* no window */
    if (format == RT_DOCUMENTS && prepared->tokens == prepared->documents) return; /* single tokens alone */
    rt_data_open(&data, target, format, 1, CONTEXT, VOCAB);
    MUST(data.encoding && data.text == 7 && rt_vocabulary_open(&vocabulary, &data));
    MUST(vocabulary.tokens == VOCAB && vocabulary.stops == 2);
    if (format == RT_DOCUMENTS) {
        int64_t tokens = data.cut_tokens, losses = 0;
        for (int64_t d = 0; d < data.count; d++) {
            tokens += data.document[d].tokens;
            losses += data.document[d].targets;
        }
        MUST(data.count + data.short_documents == prepared->documents && tokens <= prepared->tokens);
        MUST(losses <= prepared->losses);
    } else {
        MUST(data.shard[0].tokens == prepared->tokens);
    }
    rt_vocabulary_close(&vocabulary);
    rt_data_close(&data);
}

static void prepare(void *arena) {
    const Preparation preparation = {.form = (TextForm)(choice % 3),
                                     .all = choice & 8,
                                     .completions = choice & 16,
                                     .tokenizer = tools()->tokenizer,
                                     .chat = choice % 3 == FORM_TEXT ? NULL : &tools()->chat,
                                     .vocab = VOCAB};
    const char *path = text_path, *error = NULL;
    Prepared prepared;
    if (!prepare_files(&preparation, &path, 1, target, 7, arena, &prepared, &error)) {
        MUST(error && access(target, F_OK) != 0);
        return;
    }
    MUST(prepared.documents > 0 && prepared.tokens > 0 && prepared.losses <= prepared.tokens);
    check_file(&prepared, preparation.form == FORM_TEXT ? RT_TEXT : RT_DOCUMENTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (!count) return 0;
    tools(); /* kept: not while what is allocated is given back */
    choice = bytes[0];
    folder_put("lines.jsonl", bytes + 1, count - 1);
    strcpy(text_path, folder_file("lines.jsonl"));
    strcpy(target, folder_file("lines.docs"));
    Arena *arena = arena_new();
    MUST(run_to_exit(prepare, arena) == -1);
    arena_free(arena);
    folder_clear(NULL);
    return 0;
}
