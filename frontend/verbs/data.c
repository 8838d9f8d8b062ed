/* The verb `data`: text of the spec to the file that its trainer reads, which is then opened as a trainer
 * opens it, by the trainer's own code (runtime/data.c, documents.c): what is said and shown of it is what is
 * trained on. */
#include "frontend/verbs/verb.h"

#include "codegen/json_tree.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/text_data.h"
#include "runtime/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- figures ---- */

typedef struct Figures {
    int64_t documents, tokens,
        losses;           /* as a trainer uses them; windows of a text that is not cut into documents */
    int64_t without_loss; /* documents of which no target counts */
    int64_t shortest, half, most, longest; /* tokens of a document; of nine in ten: at most `most` */
    int64_t rows, places;                  /* of an epoch: rows of T places, how many of which have a token */
} Figures;

static int by_size(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static Figures figures(const Compilation *c, RtData *data) {
    Figures f = {.documents = data->count};
    if (!data->document) {
        f.rows = data->count;
        f.places = f.losses = f.rows * data->context;
        for (int i = 0; i < data->shards; i++) f.tokens += data->shard[i].tokens;
        return f;
    }
    uint32_t *size = NEW_ARRAY(c->arena, uint32_t, data->count);
    for (int64_t d = 0; d < data->count; d++) {
        size[d] = data->document[d].tokens;
        f.tokens += size[d];
        f.losses += data->document[d].targets;
        f.without_loss += !data->document[d].targets;
        f.places += size[d] - 1;
    }
    qsort(size, (size_t)data->count, sizeof *size, by_size);
    f.shortest = size[0];
    f.half = size[(data->count - 1) / 2];
    f.most = size[(data->count - 1) * 9 / 10];
    f.longest = size[data->count - 1];
    f.rows = rt_documents_rows(data, c->spec.seed, 1);
    return f;
}

static void add_count(Text *out, int64_t n) {
    char digits[32];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, n);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text_add(out, ",");
        text_add_n(out, digits + i, 1);
    }
}

/* "  rows of T = 512        1,234" */
static void add_line(Text *out, const char *name, int64_t n) {
    text_add(out, "  %-24s ", name);
    add_count(out, n);
}

static void add_figures(Text *out, const Compilation *c, const TextFile *file, const RtData *data,
                        const Figures *f) {
    const long long context = (long long)data->context;
    text_add_printable(out, file->text, "");
    text_add(out, ": ");
    if (data->document) {
        add_count(out, f->documents);
        text_add(out, f->documents == 1 ? " document, " : " documents, ");
    }
    add_count(out, f->tokens);
    text_add(out, " tokens, loss on %.1f%%\n", 100.0 * (double)f->losses / (double)f->tokens);
    if (data->document) {
        add_line(out, "tokens of a document", f->shortest);
        text_add(out, " to ");
        add_count(out, f->longest);
        text_add(out, "; half have at most ");
        add_count(out, f->half);
        text_add(out, ", nine in ten ");
        add_count(out, f->most);
        text_add(out, "\n");
    }
    if (data->cut_documents) {
        add_line(out, arena_printf(c->arena, "longer than %lld", context + 1), data->cut_documents);
        text_add(out, ", cut there: ");
        add_count(out, data->cut_tokens);
        text_add(out, " tokens are left out\n");
    }
    if (f->without_loss) {
        add_line(out, "no token with loss", f->without_loss);
        text_add(out, "\n");
    }
    if (data->short_documents) {
        add_line(out, "fewer than two tokens", data->short_documents);
        text_add(out, ", left out\n");
    }
    add_line(out, arena_printf(c->arena, "rows of T = %lld", context), f->rows);
    text_add(out, " an epoch, %.1f%% full\n  %-24s ", 100.0 * (double)f->places / (double)(f->rows * context),
             file->made ? "written to" : "is there already");
    text_add_printable(out, file->path, "");
    text_add(out, "\n");
}

static json_t *figures_json(const TextFile *file, const RtData *data, const Figures *f) {
    json_t *object = json_object();
    const struct {
        const char *key;
        int64_t value;
    } number[] = {{"documents", data->document ? f->documents : 0},
                  {"tokens", f->tokens},
                  {"loss_tokens", f->losses},
                  {"documents_without_loss", f->without_loss},
                  {"cut_documents", data->cut_documents},
                  {"cut_tokens", data->cut_tokens},
                  {"short_documents", data->short_documents},
                  {"shortest", f->shortest},
                  {"median", f->half},
                  {"ninetieth_percentile", f->most},
                  {"longest", f->longest},
                  {"rows", f->rows},
                  {"places", f->places}};
    json_set(object, "text", json_text(file->text));
    json_set(object, "file", json_text(file->path));
    json_set(object, "made", json_boolean(file->made));
    for (size_t i = 0; i < COUNT_OF(number); i++)
        json_set(object, number[i].key, json_integer(number[i].value));
    return object;
}

/* ---- what is in it ---- */

typedef struct Shown { /* a document, or a window of a text */
    int64_t count;
    uint32_t *token;
    bool *loss;
} Shown;

static Shown shown_document(const Compilation *c, RtData *data, int64_t d) {
    const RtDocument *document = &data->document[d];
    RtShard *shard = &data->shard[document->shard];
    Shown s = {.count = document->tokens};
    s.token = NEW_ARRAY(c->arena, uint32_t, s.count);
    s.loss = NEW_ARRAY(c->arena, bool, s.count);
    rt_data_read_tokens(data, shard, document->start, s.count);
    for (int64_t i = 0; i < s.count; i++) s.token[i] = (uint32_t)rt_data_token(data, shard, i);
    rt_data_read(data, shard, shard->mask_byte + document->start, s.count);
    for (int64_t i = 1; i < s.count; i++) s.loss[i] = data->buffer[i]; /* the first is no target */
    return s;
}

static Shown shown_window(const Compilation *c, RtData *data, int64_t window) {
    const int64_t context = data->context;
    int32_t *tokens = NEW_ARRAY(c->arena, int32_t, context), *targets = NEW_ARRAY(c->arena, int32_t, context);
    Shown s = {.count = context + 1,
               .token = NEW_ARRAY(c->arena, uint32_t, context + 1),
               .loss = NEW_ARRAY(c->arena, bool, context + 1)};
    rt_data_window(data, window, tokens, targets);
    s.token[0] = (uint32_t)tokens[0];
    for (int64_t i = 1; i <= context; i++) {
        s.token[i] = (uint32_t)targets[i - 1];
        s.loss[i] = true;
    }
    return s;
}

static void add_token_text(Text *out, const RtVocabulary *v, uint32_t token) {
    if (token >= v->tokens) return;
    const uint32_t begin = token ? v->end[token - 1] : 0;
    text_add_n(out, v->text + begin, v->end[token] - begin);
}

/* Tokens [from, to) as text that a terminal may see. NUL is shown like other control characters. */
static void add_printable_run(Text *out, const Compilation *c, const RtVocabulary *v, const Shown *s,
                              int64_t from, int64_t to) {
    Text bytes = {.arena = c->arena};
    for (int64_t i = from; i < to; i++) add_token_text(&bytes, v, s->token[i]);
    for (size_t at = 0; at < bytes.length; at += strlen(bytes.at + at) + 1) {
        if (at) text_add(out, "\\x00");
        text_add_printable(out, bytes.at + at, "\n\t");
    }
}

/* Text, then the tokens; what has loss stands in brackets. */
static void add_shown(Text *out, const Compilation *c, const RtVocabulary *v, const Shown *s) {
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0, end; i < s->count; i = end) {
            for (end = i; end < s->count && s->loss[end] == s->loss[i];) end++;
            if (s->loss[i]) text_add(out, "[[");
            if (pass == 0) add_printable_run(out, c, v, s, i, end);
            for (int64_t k = i; pass == 1 && k < end; k++)
                text_add(out, "%s%u", k > i ? " " : "", s->token[k]);
            if (s->loss[i]) text_add(out, "]]");
            if (pass == 1 && end < s->count) text_add(out, " ");
        }
        text_add(out, "\n");
    }
}

static json_t *shown_json(const Compilation *c, const RtVocabulary *v, const Shown *s) {
    json_t *object = json_object(), *tokens = json_array(), *loss = json_array();
    Text bytes = {.arena = c->arena};
    for (int64_t i = 0; i < s->count; i++) {
        add_token_text(&bytes, v, s->token[i]);
        json_add(tokens, json_integer(s->token[i]));
        json_add(loss, json_integer(s->loss[i]));
    }
    json_t *text = json_stringn(bytes.length ? bytes.at : "", bytes.length);
    json_set(object, "tokens", tokens);
    json_set(object, "text",
             text ? text : json_text(bytes.at)); /* a document may be cut within a character */
    json_set(object, "loss", loss);
    return object;
}

/* ---- the verb ---- */

static void show(const Compilation *c, RtData *data, int64_t most, Text *out) {
    RtVocabulary vocabulary = {0};
    rt_vocabulary_open(&vocabulary, data);
    for (int64_t d = 0; d < most && d < data->count; d++) {
        Shown s = data->document ? shown_document(c, data, d) : shown_window(c, data, d);
        if (c->options->json) {
            json_tree_print(shown_json(c, &vocabulary, &s), 0, out);
            continue;
        }
        text_add(out, "\n-- %s %" PRId64 ": %" PRId64 " tokens; [[with loss]] --\n",
                 data->document ? "document" : "window", d + 1, s.count);
        add_shown(out, c, &vocabulary, &s);
    }
    rt_vocabulary_close(&vocabulary);
}

static void open_as_trainer(const Compilation *c, const TextFile *file, RtData *data) {
    const Type *logits = &c->forward->value.at[c->forward->logits].type;
    const int format = data_has_documents(c->spec.train_format) ? RT_DOCUMENTS : RT_TEXT;
    rt_called = "rematc";
    rt_memory_exit = EXIT_INTERNAL;
    rt_data_open(data, file->path, format, 1, c->forward->context, logits->dim[logits->rank - 1]);
    data->rows_apart = c->spec.rows_apart;
}

int verb_data(Compilation *c) {
    const Options *options = c->options;
    TextData data;
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    if (!data_is_prepared(c->spec.train_format))
        return message_fail_help(options, EXIT_SOURCE,
                                 "text is what data { train \"..\" text|jsonl|chat  tokenizer \"..\" } names",
                                 "%s: its data is no text: there is nothing to prepare", options->file);
    code = text_data(c, &data);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    json_t *files = json_array();
    const TextFile *file[] = {&data.train, &data.validate};
    for (size_t i = 0; i < COUNT_OF(file); i++) {
        RtData opened;
        if (!file[i]->path) continue;
        open_as_trainer(c, file[i], &opened);
        const Figures f = figures(c, &opened);
        json_add(files, figures_json(file[i], &opened, &f));
        if (!options->json) add_figures(&out, c, file[i], &opened, &f);
        if (options->show && i == 0) show(c, &opened, options->show, &out);
        rt_data_close(&opened);
    }
    if (options->json && !options->show)
        json_tree_print(files, 2, &out);
    else
        json_decref(files);
    return output_print(options, &out);
}
