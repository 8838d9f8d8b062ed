/* tokenizer.json: what is done before and behind the model. */
#include "frontend/text/tokenizer_json.h"

#include <string.h>

enum { LONGEST_PIECE = 64, MOST_STEPS = 64, DEEPEST = 16 };

/* GPT-2's, which a byte-level pre-tokenizer cuts with by itself */
static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bool read_type(Node node, Bytes *type) {
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    return node_text(node_key(node, "type"), type);
}

static bool short_text(Node node, Bytes *out) {
    if (!node_text(node, out)) return false;
    return out->length <= LONGEST_PIECE ||
           node_wrong(node, "more than %d bytes are not supported", LONGEST_PIECE);
}

static bool compile(Tokenizer *tokenizer, Node node, const char *pattern, size_t length, Regex **regex) {
    const char *why;
    *regex = regex_new(tokenizer->arena, pattern, length, &why);
    if (!*regex) return node_wrong(node, "the regular expression is not supported: %s", why);
    *vec_add(tokenizer->arena, &tokenizer->regexes) = *regex;
    return true;
}

/* {"String": "..."} or {"Regex": "..."} */
static bool read_pattern(Tokenizer *tokenizer, Node node, Step *step) {
    Bytes text;
    if (!node_is_object(node, " String Regex ")) return false;
    if (json_object_size(node.value) != 1) return node_wrong(node, "'String' or 'Regex' is wanted");
    Node regex = node_key(node, "Regex"), string = node_key(node, "String");
    if (regex.value)
        return node_text(regex, &text) && compile(tokenizer, regex, text.at, text.length, &step->regex);
    if (!short_text(string, &step->pattern)) return false;
    return step->pattern.length || node_wrong(string, "an empty pattern is not supported");
}

static bool add_step(Tokenizer *tokenizer, Node node, Steps *steps, Step step) {
    if (steps->count == MOST_STEPS)
        return node_wrong(node, "more than %d steps are not supported", MOST_STEPS);
    *vec_add(tokenizer->arena, steps) = step;
    return true;
}

typedef bool ReadPart(Tokenizer *tokenizer, Node node, int depth);

/* {"type": "Sequence", KEY: [...]} */
static bool read_sequence(Tokenizer *tokenizer, Node node, const char *key, int depth, ReadPart *part) {
    Node list = node_key(node, key);
    if (depth == DEEPEST) return node_wrong(node, "sequences in sequences more than %d deep", DEEPEST);
    if (!node_is_object(node, arena_printf(tokenizer->arena, " type %s ", key)) || !node_is_array(list))
        return false;
    for (size_t i = 0; i < json_array_size(list.value); i++)
        if (!part(tokenizer, node_item(list, i), depth + 1)) return false;
    return true;
}

/* ---- normalisers ---- */

static bool read_replace(Tokenizer *tokenizer, Node node, Step *step) {
    step->kind = STEP_REPLACE;
    return node_is_object(node, " type pattern content ") &&
           read_pattern(tokenizer, node_key(node, "pattern"), step) &&
           short_text(node_key(node, "content"), &step->content);
}

static bool normalizer_part(Tokenizer *tokenizer, Node node, int depth) {
    Bytes type = {"", 0};
    Step step = {0};
    if (!read_type(node, &type)) return false;
    if (text_is(type, "Sequence"))
        return read_sequence(tokenizer, node, "normalizers", depth, normalizer_part);
    if (text_is(type, "NFC")) {
        step.kind = STEP_NFC;
        if (!node_is_object(node, " type ")) return false;
        if (!tokenizer->course.nfc) tokenizer->course.nfc = nfc_new(tokenizer->arena);
    } else if (text_is(type, "Prepend")) {
        step.kind = STEP_PREPEND;
        if (!node_is_object(node, " type prepend ") || !short_text(node_key(node, "prepend"), &step.content))
            return false;
        if (!step.content.length) return node_unsupported(node_key(node, "prepend"));
    } else if (text_is(type, "Replace")) {
        if (!read_replace(tokenizer, node, &step)) return false;
    } else {
        return node_unsupported(node_key(node, "type"));
    }
    for (uint32_t i = 0, size; i < step.content.length; i += size)
        tokenizer->young |= unicode_is_young(unicode_read(step.content.at + i, &size));
    return add_step(tokenizer, node, &tokenizer->normalizer, step);
}

bool read_normalizer(Tokenizer *tokenizer, Node node) {
    return !node.value || normalizer_part(tokenizer, node, 0);
}

/* ---- pre-tokenizers ---- */

static bool read_split(Tokenizer *tokenizer, Node node, Step *step) {
    static const struct {
        const char *name;
        SplitBehavior behavior;
    } known[] = {{"Removed", SPLIT_REMOVED},
                 {"Isolated", SPLIT_ISOLATED},
                 {"MergedWithPrevious", SPLIT_WITH_PREVIOUS},
                 {"MergedWithNext", SPLIT_WITH_NEXT},
                 {"Contiguous", SPLIT_CONTIGUOUS}};
    Bytes behavior;
    step->kind = STEP_SPLIT;
    if (!node_is_object(node, " type pattern behavior invert ") ||
        !read_pattern(tokenizer, node_key(node, "pattern"), step) ||
        !node_flag(node_key(node, "invert"), &step->invert) ||
        !node_text(node_key(node, "behavior"), &behavior))
        return false;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (!text_is(behavior, known[i].name)) continue;
        step->behavior = known[i].behavior;
        return true;
    }
    return node_unsupported(node_key(node, "behavior"));
}

/* The replacement is one character. */
static bool read_metaspace_character(Node node, Bytes *out) {
    uint32_t size = 0;
    if (!node_text(node, out)) return false;
    if (out->length) unicode_read(out->at, &size);
    return (out->length && size == out->length) || node_wrong(node, "one character is wanted");
}

static bool read_metaspace(Node node, Step *step) {
    Bytes scheme = {"always", 6};
    bool prefix;
    Node named = node_key(node, "prepend_scheme"), old = node_key(node, "add_prefix_space");
    *step = (Step){.kind = STEP_METASPACE, .pattern = {" ", 1}, .behavior = SPLIT_WITH_NEXT};
    if (!node_is_object(node, " type replacement prepend_scheme split add_prefix_space str_rep ") ||
        !read_metaspace_character(node_key(node, "replacement"), &step->content) ||
        !node_flag_or(node_key(node, "split"), true, &step->cut) || !node_flag_or(old, true, &prefix) ||
        !node_not_null(named) || (named.value && !node_text(named, &scheme)))
        return false;
    if (text_is(scheme, "always"))
        step->prepend = PREPEND_ALWAYS;
    else if (text_is(scheme, "first"))
        step->prepend = PREPEND_FIRST;
    else if (text_is(scheme, "never"))
        step->prepend = PREPEND_NEVER;
    else
        return node_unsupported(named);
    return prefix || step->prepend == PREPEND_NEVER ||
           node_wrong(old, "false, but prepend_scheme is not 'never'");
}

typedef struct ByteLevel {
    bool prefix, trims, regex;
} ByteLevel;

static bool read_byte_level(Node node, ByteLevel *out) {
    return node_is_object(node, " type add_prefix_space trim_offsets use_regex ") &&
           node_flag(node_key(node, "add_prefix_space"), &out->prefix) &&
           node_flag(node_key(node, "trim_offsets"), &out->trims) &&
           node_not_null(node_key(node, "use_regex")) &&
           node_flag_or(node_key(node, "use_regex"), true, &out->regex);
}

static bool pre_tokenizer_part(Tokenizer *tokenizer, Node node, int depth) {
    Bytes type = {"", 0};
    Step step = {0};
    ByteLevel bytes;
    bool each;
    if (!read_type(node, &type)) return false;
    if (tokenizer->model.byte_level) return node_wrong(node, "behind ByteLevel, nothing is supported");
    if (text_is(type, "Sequence"))
        return read_sequence(tokenizer, node, "pretokenizers", depth, pre_tokenizer_part);
    if (text_is(type, "Split")) {
        if (!read_split(tokenizer, node, &step)) return false;
    } else if (text_is(type, "Digits")) {
        if (!node_is_object(node, " type individual_digits ") ||
            !node_flag(node_key(node, "individual_digits"), &each))
            return false;
        step = (Step){.kind = STEP_DIGITS, .behavior = each ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS};
    } else if (text_is(type, "Metaspace")) {
        if (!read_metaspace(node, &step)) return false;
    } else if (text_is(type, "ByteLevel")) {
        if (!read_byte_level(node, &bytes)) return false;
        step = (Step){.kind = STEP_BYTE_LEVEL,
                      .content = {" ", 1},
                      .prepend = bytes.prefix ? PREPEND_ALWAYS : PREPEND_NEVER,
                      .behavior = SPLIT_ISOLATED,
                      .cut = bytes.regex};
        if (bytes.regex && !compile(tokenizer, node, gpt2_words, strlen(gpt2_words), &step.regex))
            return false;
        tokenizer->model.byte_level = true;
    } else {
        return node_unsupported(node_key(node, "type"));
    }
    return add_step(tokenizer, node, &tokenizer->pre_tokenizer, step);
}

bool read_pre_tokenizer(Tokenizer *tokenizer, Node node) {
    return !node.value || pre_tokenizer_part(tokenizer, node, 0);
}

/* ---- decoders ---- */

typedef struct DecoderState {
    bool fused, whole; /* the tokens are one string; nothing may follow */
} DecoderState;

static bool read_strip(Node node, DecoderState *state, Decoder *decoder) {
    Bytes content;
    uint32_t start, stop;
    if (!node_is_object(node, " type content start stop ") ||
        !node_text(node_key(node, "content"), &content) || !node_number(node_key(node, "start"), 1, &start) ||
        !node_number(node_key(node, "stop"), 0, &stop))
        return false;
    if (!text_is(content, " ")) return node_unsupported(node_key(node, "content"));
    if (!state->fused) return node_wrong(node, "Strip before Fuse is not supported");
    if (start) decoder->drop = DROP_SPACE;
    state->whole = true;
    return true;
}

static bool decoder_part(Tokenizer *tokenizer, Node node, DecoderState *state, int depth);

static bool read_decoders(Tokenizer *tokenizer, Node node, DecoderState *state, int depth) {
    Node list = node_key(node, "decoders");
    if (depth == DEEPEST) return node_wrong(node, "sequences in sequences more than %d deep", DEEPEST);
    if (!node_is_object(node, " type decoders ") || !node_is_array(list)) return false;
    for (size_t i = 0; i < json_array_size(list.value); i++)
        if (!decoder_part(tokenizer, node_item(list, i), state, depth + 1)) return false;
    return true;
}

static bool decoder_part(Tokenizer *tokenizer, Node node, DecoderState *state, int depth) {
    Decoder *decoder = &tokenizer->decoder;
    Bytes type = {"", 0};
    Step step = {0};
    ByteLevel bytes;
    if (!read_type(node, &type)) return false;
    if (text_is(type, "Sequence")) return read_decoders(tokenizer, node, state, depth);
    if (text_is(type, "Strip")) return read_strip(node, state, decoder);
    if (state->whole) return node_wrong(node, "behind Strip, ByteLevel or Metaspace, nothing is supported");
    if (text_is(type, "Fuse")) {
        state->fused = true;
        return node_is_object(node, " type ");
    }
    if (state->fused) return node_wrong(node, "behind Fuse, Strip alone is supported");
    if (text_is(type, "ByteFallback")) {
        decoder->byte_fallback = true;
        return node_is_object(node, " type ");
    }
    if (decoder->byte_fallback)
        return node_wrong(node, "behind ByteFallback, Fuse and Strip alone are supported");
    if (text_is(type, "Replace")) {
        if (!read_replace(tokenizer, node, &step)) return false;
        if (step.regex) return node_wrong(node_key(node, "pattern"), "'Regex' is not supported");
        if (decoder->replace.count == MOST_STEPS)
            return node_wrong(node, "more than %d are not supported", MOST_STEPS);
        *vec_add(tokenizer->arena, &decoder->replace) = step;
        return true;
    }
    if (decoder->replace.count)
        return node_wrong(node, "behind Replace, %.*s is not supported", (int)type.length, type.at);
    state->whole = true;
    if (text_is(type, "ByteLevel")) {
        decoder->byte_level = true;
        return read_byte_level(node, &bytes);
    }
    if (!text_is(type, "Metaspace")) return node_unsupported(node_key(node, "type"));
    if (!read_metaspace(node, &step)) return false;
    decoder->metaspace = step.content;
    if (step.prepend != PREPEND_NEVER) decoder->drop = DROP_METASPACE;
    return true;
}

bool read_decoder(Tokenizer *tokenizer, Node node) {
    DecoderState state = {0};
    if (!node.value) return node_wrong(node, "null is not supported");
    if (!decoder_part(tokenizer, node, &state, 0)) return false;
    if (tokenizer->decoder.byte_level != tokenizer->model.byte_level)
        return node_wrong(
            node, "ByteLevel here without ByteLevel in pre_tokenizer, or there without it here, is not "
                  "supported");
    return true;
}

/* ---- post-processors ---- */

/* A part of a template: {"Sequence": PIECE}, one of the texts, or {"SpecialToken": PIECE}, a PIECE being
 * {"id": "..", "type_id": ..}, of whose type nothing is made. */
typedef struct TemplatePart {
    Node piece;
    Bytes id;
    bool text;
} TemplatePart;

static bool read_template_part(Node node, TemplatePart *out) {
    uint32_t type;
    if (!node_is_object(node, " Sequence SpecialToken ")) return false;
    if (json_object_size(node.value) != 1) return node_wrong(node, "'Sequence' or 'SpecialToken' is wanted");
    out->text = node_key(node, "Sequence").value;
    out->piece = node_key(node, out->text ? "Sequence" : "SpecialToken");
    return node_is_object(out->piece, " id type_id ") && node_text(node_key(out->piece, "id"), &out->id) &&
           node_number(node_key(out->piece, "type_id"), UINT32_MAX - 1, &type);
}

/* The ids of a special token of the template, to `to`. */
static bool add_special(Tokenizer *tokenizer, Node special_tokens, const TemplatePart *part, uint32_t **at,
                        uint32_t *count) {
    enum { MOST = 64 };
    Bytes name = part->id;
    if (strlen(name.at) != name.length) return node_unsupported(node_key(part->piece, "id"));
    Node token = node_key(special_tokens, name.at), ids = node_key(token, "ids");
    if (!token.value) return node_wrong(token, "it is missing");
    size_t more = json_array_size(ids.value);
    if (*count + more > MOST) return node_wrong(ids, "more than %d ids are not supported", MOST);
    uint32_t *wider = NEW_ARRAY(tokenizer->arena, uint32_t, *count + more);
    if (*count) memcpy(wider, *at, sizeof(uint32_t) * *count);
    for (size_t i = 0; i < more; i++) {
        uint32_t id;
        if (!node_number(node_item(ids, i), UINT32_MAX - 1, &id)) return false;
        if (!tokenizer_has(tokenizer, id)) return node_wrong(node_item(ids, i), "%u is no token's id", id);
        wider[(*count)++] = id;
    }
    *at = wider;
    return true;
}

/* The pieces of a pair of texts, which is not what is trained: of their form. */
static bool pair_fits(Node pair) {
    if (!node_is_array(pair)) return false;
    for (size_t i = 0; i < json_array_size(pair.value); i++) {
        TemplatePart part;
        if (!read_template_part(node_item(pair, i), &part)) return false;
        if (part.text && !text_is(part.id, "A") && !text_is(part.id, "B"))
            return node_unsupported(node_key(part.piece, "id"));
    }
    return true;
}

static bool special_token_fits(Node token) {
    Node ids = node_key(token, "ids"), texts = node_key(token, "tokens");
    Bytes text;
    uint32_t id;
    if (!node_is_object(token, " id ids tokens ") || !node_text(node_key(token, "id"), &text) ||
        !node_is_array(ids) || !node_is_array(texts))
        return false;
    for (size_t i = 0; i < json_array_size(ids.value); i++)
        if (!node_number(node_item(ids, i), UINT32_MAX - 1, &id)) return false;
    for (size_t i = 0; i < json_array_size(texts.value); i++)
        if (!node_text(node_item(texts, i), &text)) return false;
    return true;
}

static bool special_tokens_fit(Node node) {
    const char *key;
    json_t *value;
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    json_object_foreach(node.value, key, value) {
        if (!special_token_fits(node_key(node, key))) return false;
    }
    return true;
}

static bool read_template(Tokenizer *tokenizer, Node node) {
    Node single = node_key(node, "single"), special_tokens = node_key(node, "special_tokens");
    bool seen = false;
    if (!node_is_object(node, " type single pair special_tokens ") || !node_is_array(single) ||
        !pair_fits(node_key(node, "pair")) || !special_tokens_fit(special_tokens))
        return false;
    for (size_t i = 0; i < json_array_size(single.value); i++) {
        Tokenizer *t = tokenizer;
        Node item = node_item(single, i);
        TemplatePart part;
        if (!read_template_part(item, &part)) return false;
        if (part.text && (seen || !text_is(part.id, "A")))
            return node_wrong(item, "another sequence than one 'A' is not supported");
        if (!part.text && !add_special(t, special_tokens, &part, seen ? &t->behind.at : &t->before.at,
                                       seen ? &t->behind.count : &t->before.count))
            return false;
        seen |= part.text;
    }
    return seen || node_wrong(single, "the sequence 'A' is missing");
}

static bool post_processor_part(Tokenizer *tokenizer, Node node, int depth) {
    Bytes type = {"", 0};
    ByteLevel bytes;
    if (!read_type(node, &type)) return false;
    if (text_is(type, "Sequence"))
        return read_sequence(tokenizer, node, "processors", depth, post_processor_part);
    if (text_is(type, "TemplateProcessing")) {
        if (tokenizer->before.count || tokenizer->behind.count)
            return node_wrong(node, "a second TemplateProcessing is not supported");
        return read_template(tokenizer, node);
    }
    if (!text_is(type, "ByteLevel")) return node_unsupported(node_key(node, "type"));
    if (!read_byte_level(node, &bytes)) return false;
    if (!bytes.trims) return true;
    if (!tokenizer->model.byte_level)
        return node_wrong(node_key(node, "trim_offsets"),
                          "true without ByteLevel in pre_tokenizer is not supported");
    if (tokenizer->trims) return node_wrong(node, "a second ByteLevel is not supported");
    tokenizer->trims = true;
    tokenizer->trims_prefix = bytes.prefix;
    return true;
}

bool read_post_processor(Tokenizer *tokenizer, Node node) {
    return !node.value || post_processor_part(tokenizer, node, 0);
}
