/* See prepare.h. */
#include "frontend/text/prepare.h"

#include "frontend/text/documents_writer.h"
#include "runtime/checksum.h"

#include <errno.h>
#include <string.h>

enum { RULES = 2 }; /* of this file: another number, and prepared files are made again */
enum { LONGEST_LINE = 1 << 28, BLOCK = 1 << 20, LONGEST_CHARACTER = 4 }; /* bytes */
enum { PART = 4 << 20 }; /* of a long text: from so many bytes on a place is looked for to cut it */

/* ---- fingerprints ---- */

uint64_t prepare_fingerprint(const Preparation *p) {
    const uint64_t part[] = {RULES,
                             (uint64_t)p->form,
                             (uint64_t)p->all + 2 * (uint64_t)p->completions,
                             tokenizer_fingerprint(p->tokenizer),
                             tokenizer_named(p->tokenizer, "eos_token"),
                             p->chat ? p->chat->fingerprint : 0};
    uint64_t hash = hash_bytes(HASH_SEED, part, sizeof part);
    return hash ? hash : 1; /* 0 says that it is not known */
}

bool prepare_text_fingerprint(const char *const *path, uint32_t paths, uint64_t *out, uint32_t *failed) {
    Arena *arena = arena_new();
    char *block = arena_alloc_raw(arena, BLOCK);
    uint64_t sum = RULES;
    bool read = true;
    int why = 0;
    for (uint32_t i = 0; read && i < paths; i++) {
        FILE *file = fopen(path[i], "rb");
        uint64_t length = 0;
        *failed = i;
        for (size_t count; file && (count = fread(block, 1, BLOCK, file)) > 0; length += count)
            sum = rt_checksum(sum, block, (int64_t)count);
        sum = rt_checksum(sum, &length, sizeof length);
        read = file && !ferror(file);
        why = errno;
        if (file) fclose(file);
    }
    arena_free(arena);
    errno = why;
    *out = sum ? sum : 1;
    return read;
}

/* ---- one document ---- */

typedef struct Maker {
    const Preparation *preparation;
    Arena *arena, *scratch; /* scratch: of one line, or of a file that is one text */
    DocumentsWriter *writer;
    Prepared *out;
    const char *path;
    uint64_t line;       /* of the file, from 1; 0: the file is one text */
    uint64_t before;     /* bytes of that text in front of what is looked at */
    VEC(uint32_t) token; /* of the document, as far as they are not yet written */
    VEC(uint8_t) loss;
    uint32_t last;  /* token of it; NONE */
    int64_t losses; /* of it */
    const char *error;
} Maker;

static const char *place(const Maker *m) {
    if (m->line) return arena_printf(m->arena, "%s:%llu", m->path, (unsigned long long)m->line);
    if (m->before)
        return arena_printf(m->arena, "%s, behind its first %llu bytes", m->path,
                            (unsigned long long)m->before);
    return arena_strdup(m->arena, m->path);
}

static bool fail(Maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Maker *m, const char *format, ...) {
    va_list args;
    va_start(args, format);
    m->error = arena_printf(m->arena, "%s: %s", place(m), arena_vprintf(m->arena, format, args));
    va_end(args);
    return false;
}

static bool add_token(Maker *m, uint32_t id, bool loss) {
    if ((int64_t)id >= m->preparation->vocab)
        return fail(
            m, "the tokenizer has a token %u, and the model's vocabulary %lld: they do not belong together",
            id, (long long)m->preparation->vocab);
    *vec_add(m->scratch, &m->token) = id;
    *vec_add(m->scratch, &m->loss) = loss;
    m->last = id;
    return true;
}

/* Tokens that overlap a span have loss; spans NULL: all have. */
static bool add_text(Maker *m, const char *text, size_t length, const ChatSpan *span, size_t spans) {
    Encoding encoding;
    size_t k = 0;
    if (!tokenizer_encode(m->preparation->tokenizer, text, length, &encoding))
        return fail(m, "%s", encoding.error);
    if (encoding.newer && !m->out->newer_character) {
        m->out->newer_character = encoding.newer_character;
        m->out->newer_where = place(m);
    }
    for (uint32_t i = 0; i < encoding.count; i++) {
        const Token *token = &encoding.token[i];
        const bool stands =
            token->begin < token->end; /* for something: then none begins before the last one */
        while (span && stands && k < spans && span[k].end <= token->begin) k++;
        const bool inside = span && stands && k < spans && span[k].begin < token->end;
        if (!add_token(m, token->id, !span || inside)) return false;
    }
    return true;
}

static void begin_document(Maker *m) {
    memset(&m->token, 0, sizeof m->token);
    memset(&m->loss, 0, sizeof m->loss);
    m->last = NONE;
    m->losses = 0;
    documents_start(m->writer);
}

/* What there is of the document is written. */
static void write_tokens(Maker *m) {
    for (uint32_t i = 0; i < m->token.count; i++) m->losses += m->loss.at[i];
    documents_add(m->writer, m->token.at, m->loss.at, m->token.count);
    m->out->tokens += m->token.count;
    m->token.count = m->loss.count = 0;
}

static void end_document(Maker *m) {
    write_tokens(m);
    m->out->documents++;
    m->out->losses += m->losses;
    m->out->without_loss += !m->losses;
}

static bool begin_framed(Maker *m, bool loss) {
    const TokenizerFrame frame = tokenizer_frame(m->preparation->tokenizer);
    begin_document(m);
    for (uint32_t i = 0; i < frame.befores; i++)
        if (!add_token(m, frame.before[i], loss)) return false;
    return true;
}

static bool end_framed(Maker *m) {
    const TokenizerFrame frame = tokenizer_frame(m->preparation->tokenizer);
    const uint32_t end = tokenizer_named(m->preparation->tokenizer, "eos_token");
    for (uint32_t i = 0; i < frame.behinds; i++)
        if (!add_token(m, frame.behind[i], true)) return false;
    if (end != NONE && m->last != end && !add_token(m, end, true)) return false;
    end_document(m);
    return true;
}

/* A text with what the tokenizer puts around one, and the end-of-text token. */
static bool add_framed(Maker *m, const char *text, size_t length, const ChatSpan *span, size_t spans) {
    return begin_framed(m, !span) && add_text(m, text, length, span, spans) && end_framed(m);
}

/* ---- lines ---- */

/* A member that is a string; NULL where there is none. */
static const char *member(const json_t *line, const char *key, size_t *length) {
    const json_t *value = json_object_get(line, key);
    *length = json_string_length(value);
    return json_string_value(value);
}

static bool add_line(Maker *m, const json_t *line) {
    const Preparation *p = m->preparation;
    size_t length, prompt_length, completion_length;
    const char *text = member(line, "text", &length), *prompt = member(line, "prompt", &prompt_length),
               *completion = member(line, "completion", &completion_length);
    if (text && (prompt || completion))
        return fail(m, "has \"text\" and \"prompt\" or \"completion\": which is it?");
    if (text && p->completions)
        return fail(m, "`loss completions`, and \"text\" does not say which part is one");
    if (text) return add_framed(m, text, length, NULL, 0);
    if (!prompt || !completion)
        return fail(
            m, "a list \"messages\", a string \"text\", or two, \"prompt\" and \"completion\", are wanted");
    char *both = arena_alloc_raw(m->scratch, prompt_length + completion_length + 1);
    memcpy(both, prompt, prompt_length);
    memcpy(both + prompt_length, completion, completion_length);
    const ChatSpan span = {prompt_length, prompt_length + completion_length};
    return add_framed(m, both, span.end, p->all ? NULL : &span, 1);
}

static bool add_chat(Maker *m, const json_t *line) {
    const Preparation *p = m->preparation;
    const json_t *messages = json_object_get(line, "messages"), *tools = json_object_get(line, "tools");
    const ChatOptions options = {.tools = json_is_null(tools) ? NULL : tools};
    Chat chat;
    if (!json_is_array(messages)) {
        const bool other = json_object_get(line, "text") || json_object_get(line, "prompt");
        return fail(m, other ? "has no \"messages\": behind the path, write `jsonl` instead of `chat`"
                             : "a list \"messages\" is wanted");
    }
    if (!json_array_size(messages)) return fail(m, "\"messages\" is empty");
    if (p->chat->error) return fail(m, "has \"messages\", and %s", p->chat->error);
    begin_document(m);
    if (!chat_render(m->scratch, p->chat, messages, &options, &chat)) return fail(m, "%s", chat.error);
    static const ChatSpan nothing;
    const ChatSpan *span = p->all ? NULL : chat.completion.count ? chat.completion.at : &nothing;
    if (!add_text(m, chat.text.at, chat.text.length, span, chat.completion.count)) return false;
    end_document(m);
    return true;
}

static bool is_blank(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

static bool take_line(Maker *m, const char *text, size_t length) {
    json_error_t wrong;
    static const char mark[] = "\xef\xbb\xbf"; /* a byte order mark */
    arena_reset(m->scratch);
    m->line++;
    if (m->line == 1 && length >= 3 && !memcmp(text, mark, 3)) text += 3, length -= 3;
    if (!length || is_blank(text, length)) return true;
    json_t *line = json_loadb(text, length, JSON_ALLOW_NUL, &wrong);
    if (!line) return fail(m, "column %d: %s", wrong.column, wrong.text);
    bool good = json_is_object(line) || fail(m, "a JSON object is wanted");
    const bool chat = m->preparation->form == FORM_CHAT || json_object_get(line, "messages");
    if (good) good = chat ? add_chat(m, line) : add_line(m, line);
    json_decref(line);
    return good;
}

/* A file, a block at a time. */
typedef struct Reader {
    FILE *file;
    char *block;
    size_t at, held;
} Reader;

static bool fill(Reader *reader) {
    reader->at = 0;
    reader->held = fread(reader->block, 1, BLOCK, reader->file);
    return reader->held > 0;
}

/* A line, however long, without its end; false at the end of the file, or after an error. */
static bool next_line(Maker *m, Reader *reader, Text *line) {
    line->length = 0;
    while (reader->at < reader->held || fill(reader)) {
        const char *from = reader->block + reader->at;
        const size_t left = reader->held - reader->at;
        const char *end = memchr(from, '\n', left);
        const size_t length = end ? (size_t)(end - from) : left;
        text_add_n(line, from, length);
        reader->at += length + (end != NULL);
        if (end) return true;
        if (line->length <= LONGEST_LINE) continue;
        m->line++;
        return fail(m, "a line of more than %d MiB", LONGEST_LINE >> 20);
    }
    return line->length > 0;
}

static bool take_lines(Maker *m, Reader *reader, Text *line) {
    bool good = true;
    while (good && next_line(m, reader, line)) good = take_line(m, line->at, line->length);
    return good && !m->error;
}

static bool too_long(Maker *m) {
    const Tokenizer *tokenizer = m->preparation->tokenizer;
    const uint32_t end = tokenizer_named(tokenizer, "eos_token");
    size_t length = 0;
    const char *written = end == NONE ? "" : tokenizer_bytes(tokenizer, end, &length);
    const char *advice = length ? arena_printf(m->arena, "put %.*s between its texts", (int)length, written)
                                : "name its parts by a pattern";
    return fail(m, "more than %d MiB with no place where they can be cut and have the same tokens: %s",
                TOKENIZER_LONGEST_TEXT >> 20, advice);
}

/* The file is one text. A long one becomes tokens part by part, where the tokenizer says that they are those
 * of the whole: then it may be of any length. */
static bool take_whole(Maker *m, Reader *reader, Text *text) {
    size_t wanted = PART;
    if (!fill(reader)) return true;
    arena_reset(m->scratch);
    if (!begin_framed(m, true)) return false;
    do {
        text_add_n(text, reader->block, reader->held);
        if (text->length < wanted) continue;
        size_t valid;
        const size_t cut = tokenizer_cut(m->preparation->tokenizer, text->at, text->length, &valid);
        wanted = cut ? PART : 2 * text->length;
        if (wanted > TOKENIZER_LONGEST_TEXT) wanted = TOKENIZER_LONGEST_TEXT;
        if (cut) {
            if (!add_text(m, text->at, cut, NULL, 0)) return false;
            write_tokens(m);
            m->before += cut;
            text->length -= cut;
            memmove(text->at, text->at + cut, text->length + 1);
        } else if (valid + LONGEST_CHARACTER <=
                   text->length) { /* no character that goes on in the next block */
            return add_text(m, text->at, text->length, NULL, 0);
        } else if (text->length > TOKENIZER_LONGEST_TEXT) {
            return too_long(m);
        }
    } while (fill(reader));
    return ferror(reader->file) || (add_text(m, text->at, text->length, NULL, 0) && end_framed(m));
}

static bool take_file(Maker *m, const char *path) {
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    Reader reader = {.file = fopen(path, "rb"), .block = arena_alloc_raw(arena, BLOCK)};
    m->path = path;
    m->line = m->before = 0;
    bool good = reader.file || fail(m, "%s", strerror(errno));
    if (good) {
        good =
            m->preparation->form == FORM_TEXT ? take_whole(m, &reader, &text) : take_lines(m, &reader, &text);
        if (good && ferror(reader.file)) good = fail(m, "cannot be read to its end");
        fclose(reader.file);
    }
    arena_free(arena);
    return good;
}

/* ---- the whole ---- */

static void put_word(Text *out, uint32_t word) {
    text_add_n(out, (const char *)&word, sizeof word);
}

/* Which tokens end a sample, and the text of each. */
static Text vocabulary(const Preparation *p, Arena *arena) {
    Text out = {.arena = arena}, bytes = {.arena = arena};
    VEC(uint32_t) stop = {0};
    const uint32_t size = tokenizer_size(p->tokenizer), end = tokenizer_named(p->tokenizer, "eos_token");
    const uint32_t tokens = (int64_t)size < p->vocab ? size : (uint32_t)p->vocab;
    for (uint32_t i = 0; p->chat && i < p->chat->stop_count; i++) {
        const uint32_t id = tokenizer_id(p->tokenizer, p->chat->stop[i]);
        if (id != NONE) *vec_add(arena, &stop) = id;
    }
    bool there = end == NONE;
    for (uint32_t i = 0; i < stop.count; i++) there |= stop.at[i] == end;
    if (!there) *vec_add(arena, &stop) = end;
    put_word(&out, tokens);
    put_word(&out, stop.count);
    for (uint32_t i = 0; i < stop.count; i++) put_word(&out, stop.at[i]);
    for (uint32_t id = 0; id < tokens; id++) {
        size_t length = 0;
        const char *text = tokenizer_bytes(p->tokenizer, id, &length);
        text_add_n(&bytes, text, length);
        put_word(&out, (uint32_t)bytes.length);
    }
    text_add_n(&out, bytes.at, bytes.length);
    return out;
}

bool prepare_files(const Preparation *p, const char *const *path, uint32_t paths, const char *target,
                   uint64_t text, Arena *arena, Prepared *out, const char **error) {
    Maker m = {.preparation = p, .arena = arena, .scratch = arena_new(), .out = out};
    bool good = true;
    *out = (Prepared){0};
    m.writer = documents_begin(arena, target, p->vocab > 65536 ? 4 : 2);
    if (!m.writer) {
        m.error = arena_printf(arena, "cannot write '%s': %s", target, strerror(errno));
        good = false;
    }
    for (uint32_t i = 0; good && i < paths; i++) good = take_file(&m, path[i]);
    if (good && !out->tokens) {
        m.line = 0;
        good = fail(&m, "there is no text in it");
    }
    if (!good) documents_abandon(m.writer);
    if (good) {
        Text words = vocabulary(p, arena);
        DocumentsHead head = {.encoding = prepare_fingerprint(p), .text = text};
        good = documents_commit(m.writer, &head, words.at, words.length);
        if (!good) m.error = arena_printf(arena, "cannot write '%s': %s", target, strerror(errno));
    }
    arena_free(m.scratch);
    *error = m.error;
    return good;
}
