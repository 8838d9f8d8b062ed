/* Tokenizers: merges against a search without a heap, what a file says, and what is refused by name. */
#include "frontend/text/tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- small files, edited ---- */

static const char base[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[{\"id\":7,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}],"
    "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"_\"},"
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"_[^_]*\"},\"behavior\":\"Isolated\","
    "\"invert\":false},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
    "\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[7],\"tokens\":[\"<s>\"]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},"
    "\"content\":\" \"},"
    "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"_\":4,\"_a\":5,\"_ab\":6},"
    "\"merges\":[\"a b\",\"_ a\",\"_ ab\"]}}";

/* The value at a path like "model.vocab.a" or "added_tokens.0.id" becomes `value`; "" removes it. */
static void edit(json_t *root, const char *path, const char *value) {
    char key[64];
    json_t *made = *value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    if (*value && !made) fail_msg("no JSON: %s", value);
    for (;;) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        bool last = !path[length], item = json_is_array(root);
        if (last && item)
            json_array_set_new(root, (size_t)atoi(key), made);
        else if (last && made)
            json_object_set_new(root, key, made);
        else if (last)
            json_object_del(root, key);
        if (last) return;
        root = item ? json_array_get(root, (size_t)atoi(key)) : json_object_get(root, key);
        if (!root) fail_msg("no %s", key);
        path += length + 1;
    }
}

static char folder[] = "/tmp/remat-tokenizer-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[2][128];
    static int next;
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static void put_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_edited(const char *path, const char *value) {
    json_t *root = json_loads(base, 0, NULL);
    assert_non_null(root);
    if (path) edit(root, path, value);
    char *text = json_dumps(root, 0);
    put_file("tokenizer.json", text);
    free(text);
    json_decref(root);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(in_folder("tokenizer.json"));
    unlink(in_folder("tokenizer_config.json"));
    return rmdir(folder);
}

/* `message`: how the error goes on behind the file's name; NULL: there is none. */
static void expect_read(const char *what, const char *message) {
    Arena *arena = arena_new();
    const char *error;
    Tokenizer *tokenizer = tokenizer_read(arena, folder, &error);
    if (tokenizer && message) fail_msg("%s is accepted, not refused: %s", what, message);
    if (!tokenizer && !message) fail_msg("%s: %s", what, error);
    if (message) {
        assert_true(!strncmp(error, folder, strlen(folder)));
        const char *said = strchr(error, ' ');
        if (!said || strcmp(said + 1, message)) fail_msg("%s: '%s'\nnot '%s'", what, error, message);
    }
    tokenizer_close(tokenizer);
    arena_free(arena);
}

static const struct {
    const char *path, *value, *message;
} edits[] = {
    {"version", "\"2.0\"", "version: \"2.0\" is not supported"},
    {"novelty", "1", "the key 'novelty' is not supported"},
    {"model", "\"\"", "model: an object is wanted, not \"\""},
    {"model.type", "\"Unigram\"", "model.type: \"Unigram\" is not supported, 'BPE' is"},
    {"model.type", "\"WordPiece\"", "model.type: \"WordPiece\" is not supported, 'BPE' is"},
    {"model.type", "", NULL},
    {"model.dropout", "0.5", "model.dropout: 0.5 is not supported"},
    {"model.dropout", "0", NULL},
    {"model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix: \"##\" is not supported"},
    {"model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix: \"</w>\" is not supported"},
    {"model.end_of_word_suffix", "\"\"", NULL},
    {"model.fuse_unk", "1", "model.fuse_unk: true or false is wanted, not 1"},
    {"model.novelty", "1", "model: the key 'novelty' is not supported"},
    {"model.unk_token", "\"?\"",
     "model.vocab: there is no unk_token and no byte_fallback to all bytes: text would be lost"},
    {"model.unk_token", "null",
     "model.vocab: there is no unk_token and no byte_fallback to all bytes: text would be lost"},
    {"model.vocab", "[]", "model.vocab: an object is wanted, not a list"},
    {"model.vocab.b", "1", "model.vocab: 'a' and 'b' have the id 1"},
    {"model.vocab.b", "-1", "model.vocab: the id of 'b' is -1, not a whole number up to 16777215"},
    {"model.vocab.b", "2.0", "model.vocab: the id of 'b' is 2.0, not a whole number up to 16777215"},
    {"model.vocab.b", "99999999999",
     "model.vocab: the id of 'b' is 99999999999, not a whole number up to 16777215"},
    {"model.vocab.ab", "", "model.merges[0]: the vocabulary has no 'ab'"},
    {"model.vocab.b", "", "model.merges[0]: the vocabulary has no 'b'"},
    {"model.merges", "null", "model.merges: a list is wanted, not nothing"},
    {"model.merges", "[[\"a\",\"b\"],[\"_\",\"a\"]]", NULL},
    {"model.merges.0", "\"a  b\"", "model.merges[0]: not two tokens, one space apart"},
    {"model.merges.0", "\"ab\"", "model.merges[0]: not two tokens, one space apart"},
    {"model.merges.1", "[\"a\",\"b\"]", "model.merges[1]: strings and lists are mixed"},
    {"model.merges", "[[\"a\",\"b\",\"a\"]]", "model.merges[0]: not two tokens"},
    {"model.merges", "[[\"a\",1]]", "model.merges[0]: not two tokens"},
    {"model.merges.0", "\"#version: 0.2\"", NULL},
    {"normalizer.type", "\"NFKC\"", "normalizer.type: \"NFKC\" is not supported"},
    {"normalizer.type", "\"Lowercase\"", "normalizer.type: \"Lowercase\" is not supported"},
    {"normalizer", "{\"type\":\"NFC\"}", NULL},
    {"normalizer", "{\"type\":\"NFC\",\"strict\":true}", "normalizer: the key 'strict' is not supported"},
    {"normalizer.pattern", "{\"String\":\"\"}",
     "normalizer.pattern.String: an empty pattern is not supported"},
    {"normalizer.pattern", "{\"Regex\":\"x*\"}",
     "normalizer.pattern.Regex: the regular expression is not supported: it may match nothing at all"},
    {"normalizer.content", "3", "normalizer.content: a string is wanted, not 3"},
    {"normalizer.content", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"",
     "normalizer.content: more than 64 bytes are not supported"},
    {"pre_tokenizer.type", "\"Whitespace\"", "pre_tokenizer.type: \"Whitespace\" is not supported"},
    {"pre_tokenizer.behavior", "\"Merged\"", "pre_tokenizer.behavior: \"Merged\" is not supported"},
    {"pre_tokenizer.pattern.Regex", "\"\\\\w+\"",
     "pre_tokenizer.pattern.Regex: the regular expression is not supported: '\\w' is not supported"},
    {"pre_tokenizer",
     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":"
     "\"Punctuation\"}]}",
     "pre_tokenizer.pretokenizers[1].type: \"Punctuation\" is not supported"},
    {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"__\"}",
     "pre_tokenizer.replacement: one character is wanted"},
    {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}",
     "pre_tokenizer.add_prefix_space: false, but prepend_scheme is not 'never'"},
    {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"_\"}", NULL},
    {"pre_tokenizer", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false}",
     "decoder: ByteLevel here without ByteLevel in pre_tokenizer, or there without it here, is not "
     "supported"},
    {"decoder", "null", "decoder: null is not supported"},
    {"decoder.decoders.0.pattern", "{\"Regex\":\"_\"}",
     "decoder.decoders[0].pattern: 'Regex' is not supported"},
    {"decoder.decoders.1.type", "\"CTC\"", "decoder.decoders[1]: behind Replace, CTC is not supported"},
    {"decoder.decoders.2.start", "2", "decoder.decoders[2].start: a whole number up to 1 is wanted, not 2"},
    {"decoder.decoders.2.content", "\"_\"", "decoder.decoders[2].content: \"_\" is not supported"},
    {"decoder.decoders.1", "{\"type\":\"ByteFallback\"}",
     "decoder.decoders[2]: Strip before Fuse is not supported"},
    {"post_processor.type", "\"BertProcessing\"", "post_processor.type: \"BertProcessing\" is not supported"},
    {"post_processor.single.1.Sequence.id", "\"B\"",
     "post_processor.single[1]: another sequence than one 'A' is not supported"},
    {"post_processor.single", "[]", "post_processor.single: the sequence 'A' is missing"},
    {"post_processor.special_tokens.<s>.ids", "[8]",
     "post_processor.special_tokens.<s>.ids[0]: 8 is no token's id"},
    {"post_processor", "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}",
     "post_processor.trim_offsets: true without ByteLevel in pre_tokenizer is not supported"},
    {"added_tokens.0.id", "8", "added_tokens[0].id: 8, but the tokenizers library would give it 7"},
    {"added_tokens.0.content", "\"a\"", "added_tokens[0].id: 7, but the tokenizers library would give it 1"},
    {"added_tokens.0.content", "\"\"", "added_tokens[0].content: \"\" is not supported"},
    {"added_tokens.0.lstrip", "", "added_tokens[0].lstrip: true or false is wanted, not nothing"},
    {"added_tokens", "[]", "post_processor.special_tokens.<s>.ids[0]: 7 is no token's id"},
    /* what is null or of another type, and is not read otherwise, is refused as the library refuses it */
    {"added_tokens", "null", "added_tokens: null is not supported"},
    {"version", "null", "version: null is not supported"},
    {"truncation", "{}", "truncation: an object is not supported"},
    {"model.type", "null", "model.type: null is not supported"},
    {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":null}",
     "pre_tokenizer.prepend_scheme: null is not supported"},
    {"pre_tokenizer",
     "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":null}",
     "pre_tokenizer.use_regex: null is not supported"},
    {"post_processor.special_tokens.<s>.id", "0",
     "post_processor.special_tokens.<s>.id: a string is wanted, not 0"},
    {"post_processor.special_tokens.<s>.tokens", "[0]",
     "post_processor.special_tokens.<s>.tokens[0]: a string is wanted, not 0"},
    {"post_processor.pair", "[{\"Sequence\":{\"id\":\"C\",\"type_id\":0}}]",
     "post_processor.pair[0].Sequence.id: \"C\" is not supported"},
    {"post_processor.pair", "[0]", "post_processor.pair[0]: an object is wanted, not 0"},
};

static void test_edits(void **state) {
    (void)state;
    put_edited(NULL, NULL);
    expect_read("the base", NULL);
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        char what[256];
        snprintf(what, sizeof what, "%s = %s", edits[i].path, edits[i].value);
        put_edited(edits[i].path, edits[i].value);
        expect_read(what, edits[i].message);
    }
}

static void test_configuration(void **state) {
    static const struct {
        const char *config, *message;
    } table[] = {
        {"{}", NULL},
        {"{\"eos_token\":\"ab\",\"pad_token\":{\"content\":\"<s>\"},\"bos_token\":null,\"chat_template\":"
         "\"x\"}",
         NULL},
        {"[]", "an object is wanted, not a list"},
        {"{\"eos_token\":\"</s>\"}", "eos_token: tokenizer.json has no token \"</s>\""},
        {"{\"eos_token\":true}", "eos_token: a string is wanted, not true"},
        {"{\"additional_special_tokens\":[\"<s>\",\"<t>\"]}",
         "additional_special_tokens[1]: tokenizer.json has no token \"<t>\""},
        {"{\"added_tokens_decoder\":{\"7\":{\"content\":\"<s>\"}}}", NULL},
        {"{\"added_tokens_decoder\":{\"8\":{\"content\":\"<s>\"}}}",
         "added_tokens_decoder.8: in tokenizer.json its id is 7"},
        {"{\"added_tokens_decoder\":{\"8\":{\"content\":\"<t>\"}}}",
         "added_tokens_decoder.8: tokenizer.json has no token \"<t>\""},
        {"{\"split_special_tokens\":true}", "split_special_tokens: true is not supported"},
        {"{\"split_special_tokens\":false}", NULL},
        {"{\"model_max_length\":1000000000000000019884624838656}", NULL},
    };
    (void)state;
    put_edited(NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        put_file("tokenizer_config.json", table[i].config);
        expect_read(table[i].config, table[i].message);
    }
    put_file("tokenizer_config.json", "{\"eos_token\":\"ab\",\"pad_token\":{\"content\":\"<s>\"}}");
    Arena *arena = arena_new();
    const char *error;
    Tokenizer *tokenizer = tokenizer_read(arena, in_folder("tokenizer.json"), &error);
    assert_non_null(tokenizer);
    assert_int_equal(tokenizer_named(tokenizer, "eos_token"), 3);
    assert_int_equal(tokenizer_named(tokenizer, "pad_token"), 7);
    assert_int_equal(tokenizer_named(tokenizer, "bos_token"), NONE);
    uint64_t fingerprint = tokenizer_fingerprint(tokenizer);
    tokenizer_close(tokenizer);
    put_file("tokenizer_config.json", "{\"eos_token\":\"a\",\"pad_token\":{\"content\":\"<s>\"}}");
    tokenizer = tokenizer_read(arena, folder, &error);
    assert_true(tokenizer_fingerprint(tokenizer) != fingerprint);
    tokenizer_close(tokenizer);
    put_file("tokenizer_config.json", "{\"eos_token\":\"ab\",\"pad_token\":\"<s>\",\"chat_template\":\"\"}");
    tokenizer = tokenizer_read(arena, folder, &error);
    assert_true(tokenizer_fingerprint(tokenizer) == fingerprint);
    tokenizer_close(tokenizer);
    put_edited("model.fuse_unk", "false");
    tokenizer = tokenizer_read(arena, folder, &error);
    assert_true(tokenizer_fingerprint(tokenizer) != fingerprint);
    tokenizer_close(tokenizer);
    unlink(in_folder("tokenizer_config.json"));
    arena_free(arena);
}

/* ---- regular expressions ---- */

static void test_regexes(void **state) {
    static const struct {
        const char *regex, *refused; /* NULL: it is not */
    } table[] = {
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         NULL},
        {"[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|'(?i:[sdmt]|ll|ve|re)", NULL},
        {"\\s?[!-/:-~\\u4e00-\\u9fa5]+|\\s+$", NULL},
        {"a(?=b)|(?<=a)b|(?<!x)y|(?>ab)", NULL},
        {"\\x{1F600}|\\P{L}|\\p{^N}\\p{Han}", NULL},
        {"[a-]|[-a]|[\\]\\[]", NULL},
        {"\\bx", "'\\b'"},
        {"\\h", "'\\h'"},
        {"\\v", "'\\v'"},
        {"\\R", "'\\R'"},
        {"(a)\\1", "'\\1'"},
        {"\\x41", "'\\x'"},
        {"\\p{Greek}", "'\\p{Greek}'"},
        {"\\p{L &}", "'\\p{L &}'"},
        {"\\p{Mn}", "'\\p{Mn}'"},
        {"[\\P{L}]", "the complement of a set inside [...]"},
        {"[a\\D]", "the complement of a set inside [...]"},
        {"\\pL", "'\\p' without {...}"},
        {"[[:alpha:]]", "'[' inside [...]"},
        {"[a&&b]", "'&&' inside [...]"},
        {"[]a]", "']' at the start of [...]"},
        {"[a", "'[' without ']'"},
        {"[\\s-x]", "'-' behind a set inside [...]"},
        {"[x-\\s]", "'-' before a set inside [...]"},
        {"(a", "'(' without ')'"},
        {"a)", "')' without '('"},
        {"(?<name>a)", "'(?<n'"},
        {"(?i)a", "'(?i)'"},
        {"(?m:.)", "'(?m:'"},
        {"(?#x)a", "'(?#x'"},
        {"a{,3}", "'{' that is no repeat"},
        {"a{2,1}", "'{2,1}'"},
        {"a{1,2}+", "'+' behind {...}"},
        {"a{2}?", "'?' behind {...}"},
        {"a{9999}", "'{9999}'"},
        {"a+*", "'*' with nothing to repeat"},
        {"*a", "'*' with nothing to repeat"},
        {"x(?!y)*", "'*' with nothing to repeat"},
        {"a|+", "'+' with nothing to repeat"},
        {"(?i:\xc3\xa9)", "a letter beyond ASCII inside (?i:...)"},
        {"(?i:\\\xc3\xa9)", "a letter beyond ASCII inside (?i:...)"},
        {"(?i:ss)", "'ss' inside (?i:...)"},
        {"(?i:\\p{Lu})", "'\\p' inside (?i:...)"},
        {"a\\", "a '\\' at the end"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char wanted[256];
        json_t *regex = json_string(table[i].regex);
        char *text = json_dumps(regex, JSON_ENCODE_ANY);
        put_edited("pre_tokenizer.pattern.Regex", text);
        snprintf(wanted, sizeof wanted,
                 "pre_tokenizer.pattern.Regex: the regular expression is not supported: %s is not supported",
                 table[i].refused);
        expect_read(table[i].regex, table[i].refused ? wanted : NULL);
        free(text);
        json_decref(regex);
    }
    put_edited("pre_tokenizer.pattern.Regex", "\"a*|b\"");
    expect_read(
        "a*|b",
        "pre_tokenizer.pattern.Regex: the regular expression is not supported: it may match nothing at all");
}

/* A pattern that backtracks without end is stopped. */
static void test_limit(void **state) {
    (void)state;
    put_edited("pre_tokenizer.pattern.Regex", "\"(?:(?:a|aa)+)+[cd]\"");
    Arena *arena = arena_new();
    const char *error;
    Encoding made;
    char text[200];
    Tokenizer *tokenizer = tokenizer_read(arena, folder, &error);
    assert_non_null(tokenizer);
    memset(text, 'a', sizeof text);
    assert_false(tokenizer_encode(tokenizer, text, sizeof text, &made));
    assert_non_null(strstr(made.error, "takes too long"));
    assert_true(tokenizer_encode(tokenizer, "aac", 3, &made)); /* and it still works */
    assert_int_equal(made.count, 3);
    tokenizer_close(tokenizer);
    arena_free(arena);
}

/* ---- files ---- */

static void test_files(void **state) {
    (void)state;
    unlink(in_folder("tokenizer.json"));
    expect_read("no file", "No such file or directory");
    put_file("tokenizer.json", "{");
    expect_read("half a file", "not JSON: string or '}' expected near end of file");
    put_file("tokenizer.json", "{\"model\":{},\"model\":{}}");
    expect_read("a key twice", "not JSON: duplicate object key near '\"model\"'");
    put_file("tokenizer.json", "[]");
    expect_read("a list", "an object is wanted, not a list");
}

/* ---- one tokenizer and its answers ---- */

static void test_answers(void **state) {
    (void)state;
    put_edited(NULL, NULL);
    Arena *arena = arena_new();
    const char *error;
    size_t length;
    Tokenizer *tokenizer = tokenizer_read(arena, folder, &error);
    assert_non_null(tokenizer);
    assert_int_equal(tokenizer_size(tokenizer), 8);
    assert_int_equal(tokenizer_id(tokenizer, "_ab"), 6);
    assert_int_equal(tokenizer_id(tokenizer, "<s>"), 7);
    assert_int_equal(tokenizer_id(tokenizer, "c"), NONE);
    assert_true(tokenizer_is_special(tokenizer, 7) && !tokenizer_is_special(tokenizer, 0));
    assert_true(tokenizer_has(tokenizer, 7) && !tokenizer_has(tokenizer, 8));
    assert_memory_equal(tokenizer_bytes(tokenizer, 6, &length), " ab", 3);
    assert_int_equal(length, 3);
    assert_string_equal(tokenizer_bytes(tokenizer, 8, &length), "");
    assert_int_equal(length, 0);
    assert_true(tokenizer_drops_first_space(tokenizer));
    TokenizerFrame frame = tokenizer_frame(tokenizer);
    assert_int_equal(frame.befores, 1);
    assert_int_equal(frame.before[0], 7);
    assert_int_equal(frame.behinds, 0);
    static const uint32_t ids[] = {6, 7, 6, 9, 1};
    Text text = {.arena = arena};
    assert_true(tokenizer_decode(tokenizer, ids, 3, true, &text));
    assert_string_equal(text.at, "ab ab");
    text.length = 0;
    assert_true(tokenizer_decode(tokenizer, ids, 3, false, &text));
    assert_string_equal(text.at, "ab<s> ab");
    text.length = 0;
    assert_false(tokenizer_decode(tokenizer, ids, 5, false, &text)); /* 9 is no token */
    assert_string_equal(text.at, "ab<s> ab");
    tokenizer_close(tokenizer);
    arena_free(arena);
}

/* ---- merges, without a heap and without memory of words ---- */

enum { LETTERS = 3, DEEPEST = 60, LONGEST_WORD = 300 };

/* Ids 1.. are "a", "b", "c"; each merge makes the next id of two that are there. */
typedef struct Grown {
    char text[DEEPEST + LETTERS][64];
    int left[DEEPEST], right[DEEPEST];
    int merges;
} Grown;

static void grow(Grown *grown, uint64_t *random, Arena *arena) {
    Text vocab = {.arena = arena}, merges = {.arena = arena};
    for (int i = 0; i < LETTERS; i++) snprintf(grown->text[i], sizeof grown->text[i], "%c", 'a' + i);
    text_add(&vocab, "{\"<unk>\":0,\"a\":1,\"b\":2,\"c\":3");
    grown->merges = 0;
    for (int tries = 0; tries < 4 * DEEPEST && grown->merges < DEEPEST; tries++) {
        int have = LETTERS + grown->merges, seen = 0;
        int left = (int)(random_next(random) % (uint64_t)have),
            right = (int)(random_next(random) % (uint64_t)have);
        char made[128];
        snprintf(made, sizeof made, "%s%s", grown->text[left], grown->text[right]);
        for (int i = 0; i < have; i++) seen |= !strcmp(grown->text[i], made);
        if (seen || strlen(made) > 20) continue;
        strcpy(grown->text[have], made);
        grown->left[grown->merges] = left;
        grown->right[grown->merges++] = right;
        text_add(&vocab, ",\"%s\":%d", made, have + 1);
        text_add(&merges, "%s\"%s %s\"", merges.length ? "," : "", grown->text[left], grown->text[right]);
    }
    json_t *root = json_loads(base, 0, NULL);
    edit(root, "added_tokens", "[]");
    edit(root, "post_processor", "null");
    edit(root, "pre_tokenizer", "null");
    edit(root, "model.vocab", arena_printf(arena, "%s}", vocab.at));
    edit(root, "model.merges", arena_printf(arena, "[%s]", merges.at ? merges.at : ""));
    char *text = json_dumps(root, 0);
    put_file("tokenizer.json", text);
    free(text);
    json_decref(root);
}

/* The merge that stands first in the list, at its leftmost place, again and again. */
static int merge_slowly(const Grown *grown, int *id, int count) {
    for (int m = 0; m < grown->merges;) {
        int at = 0;
        while (at + 1 < count && !(id[at] == grown->left[m] && id[at + 1] == grown->right[m])) at++;
        if (at + 1 >= count) {
            m++;
            continue;
        }
        id[at] = LETTERS + m;
        memmove(id + at + 1, id + at + 2, sizeof *id * (size_t)(count - at - 2));
        count--;
        m = 0; /* what it made may be merged by one that stands further up */
    }
    return count;
}

static void test_merges(void **state) {
    uint64_t random = 4;
    (void)state;
    for (int round = 0; round < 40; round++) {
        Arena *arena = arena_new();
        Grown *grown = NEW(arena, Grown);
        const char *error;
        grow(grown, &random, arena);
        Tokenizer *tokenizer = tokenizer_read(arena, folder, &error);
        if (!tokenizer) fail_msg("%s", error);
        for (int i = 0; i < 200; i++) {
            char word[LONGEST_WORD];
            int id[LONGEST_WORD], length = 1 + (int)(random_next(&random) % (i % 4 ? 60 : LONGEST_WORD));
            Encoding made;
            for (int k = 0; k < length; k++) {
                id[k] = (int)(random_next(&random) % LETTERS);
                word[k] = (char)('a' + id[k]);
            }
            int count = merge_slowly(grown, id, length);
            assert_true(tokenizer_encode(tokenizer, word, (size_t)length, &made));
            assert_int_equal(made.count, count);
            for (int k = 0; k < count; k++) assert_int_equal(made.token[k].id, id[k] + 1);
        }
        tokenizer_close(tokenizer);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),  cmocka_unit_test(test_configuration), cmocka_unit_test(test_regexes),
        cmocka_unit_test(test_limit),  cmocka_unit_test(test_files),         cmocka_unit_test(test_answers),
        cmocka_unit_test(test_merges),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
