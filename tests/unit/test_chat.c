/* Chat templates: what they write and which of it is learned, as transformers has it (tests/cases/chat, where
 * chats.py --expected made expected.json); which template a folder has; what is refused, in which words. */
#include "frontend/text/chat_parts.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char config_text[] = "{\"bos_token\": \"<bos>\", \"eos_token\": {\"content\": \"<eos>\"}}";

static json_t *read_json(Arena *arena, const char *name) {
    size_t length;
    const char *text = read_file(arena, arena_printf(arena, "%s/%s", REMAT_CHAT_CASES, name), &length);
    assert_non_null(text);
    json_t *root = json_loadb(text, length, 0, NULL);
    assert_non_null(root);
    return root;
}

static const char *template_of_ours(Arena *arena, const char *name, size_t *length) {
    const char *text = read_file(arena, arena_printf(arena, "%s/%s.jinja", REMAT_CHAT_CASES, name), length);
    assert_non_null(text);
    return text;
}

static ChatTemplate known(Arena *arena, const char *name) {
    ChatTemplate out;
    size_t length;
    const char *text = template_of_ours(arena, name, &length);
    if (!chat_template_read_text(arena, "models/m", text, length, config_text, strlen(config_text), &out))
        fail_msg("%s: %s", name, out.error);
    return out;
}

static ChatOptions options_of(const json_t *request) {
    return (ChatOptions){
        .generation_prompt = json_is_true(json_object_get(request, "generation_prompt")),
        .no_thinking = json_is_true(json_object_get(request, "no_thinking")),
        .date = json_string_value(json_object_get(request, "date")),
        .tools = json_object_get(request, "tools"),
    };
}

/* ---- texts and completions ---- */

static void same_as_expected(Arena *arena, const char *name, const json_t *request, const json_t *wanted) {
    ChatTemplate template = known(arena, name);
    ChatOptions options = options_of(request);
    const char *what = json_string_value(json_object_get(request, "what"));
    Chat chat;
    bool fine = chat_render(arena, &template, json_object_get(request, "messages"), &options, &chat);
    assert_int_equal(fine, !chat.error);
    if (fine != !json_is_null(wanted)) fail_msg("%s, %s: %s", name, what, fine ? "rendered" : chat.error);
    if (!fine) return;
    const char *text = json_string_value(json_object_get(wanted, "text"));
    if (strcmp(text, chat.text.at)) fail_msg("%s, %s:\n%s\nwanted:\n%s", name, what, chat.text.at, text);
    assert_int_equal(chat.text.length, strlen(text));
    const json_t *spans = json_object_get(wanted, "spans");
    assert_int_equal(chat.completion.count, json_array_size(spans));
    for (uint32_t i = 0; i < chat.completion.count; i++) {
        const json_t *span = json_array_get(spans, i);
        ChatSpan got = chat.completion.at[i];
        if (got.begin != (size_t)json_integer_value(json_array_get(span, 0)) ||
            got.end != (size_t)json_integer_value(json_array_get(span, 1)))
            fail_msg("%s, %s: completion %u is '%.*s'", name, what, i, (int)(got.end - got.begin),
                     text + got.begin);
    }
}

static void texts_are_the_librarys(void **state) {
    (void)state;
    Arena *arena = arena_new(), *kept = arena_new();
    json_t *every = read_json(kept, "expected.json"), *requests = read_json(kept, "conversations.json"),
           *wanted;
    const char *name;
    json_object_foreach(every, name, wanted) {
        assert_int_equal(json_array_size(wanted), json_array_size(requests));
        for (size_t i = 0; i < json_array_size(requests); i++) {
            same_as_expected(arena, name, json_array_get(requests, i), json_array_get(wanted, i));
            arena_reset(arena);
        }
    }
    json_decref(every);
    json_decref(requests);
    arena_free(arena);
    arena_free(kept);
}

/* ---- the table ---- */

static void rows_agree_with_their_shapes(void **state) {
    (void)state;
    static const struct {
        uint64_t fingerprint;
        const ChatShape *shape;
        unsigned traits;
        const char *source;
    } row[] = {
#define CHAT_TEMPLATE(fingerprint, name, renderer, shape, traits, system, source)                            \
    {fingerprint, &chat_shape_##shape, traits, source},
#include "frontend/text/chat_templates.def"
#undef CHAT_TEMPLATE
    };
    const unsigned in_front = CHAT_SYSTEM_FIRST_USER | CHAT_SYSTEM_LAST_USER;
    for (uint32_t i = 0; i < COUNT_OF(row); i++) {
        const ChatShape *s = row[i].shape;
        for (uint32_t k = 0; k < i; k++) assert_true(row[k].fingerprint != row[i].fingerprint);
        assert_true(row[i].source[0]);
        assert_true(s->stop && s->stop[0] && s->user_open && s->assistant_close);
        /* A completion begins behind the prompt, so an answer begins with it; or in front of the mark with
         * which the prompt begins too. */
        const char *head = row[i].traits & CHAT_LEARNS_OPEN ? s->assistant_open : s->prompt;
        const char *whole = row[i].traits & CHAT_LEARNS_OPEN ? s->prompt : s->assistant_open;
        if (head) assert_int_equal(strncmp(whole, head, strlen(head)), 0);
        /* What stands in front of a user's message is no message of its own, and is not refused. */
        if (row[i].traits & in_front) assert_null(s->no_system);
        assert_true((row[i].traits & in_front) != in_front);
    }
}

/* The templates of tests/cases/chat are rows: none is left out of expected.json. */
static void every_template_of_ours_is_expected(void **state) {
    (void)state;
    Arena *arena = arena_new();
    json_t *every = read_json(arena, "expected.json");
    static const char *const sources[] = {
#define CHAT_TEMPLATE(fingerprint, name, renderer, shape, traits, system, source) source,
#include "frontend/text/chat_templates.def"
#undef CHAT_TEMPLATE
    };
    const char begin[] = "tests/cases/chat/";
    size_t count = 0;
    for (uint32_t i = 0; i < COUNT_OF(sources); i++) {
        if (strncmp(sources[i], begin, strlen(begin))) continue;
        const char *name = arena_strdup(arena, sources[i] + strlen(begin));
        *strchr(name, '.') = 0;
        if (!json_object_get(every, name)) fail_msg("%s is not in expected.json", sources[i]);
        count++;
    }
    assert_int_equal(count, json_object_size(every));
    json_decref(every);
    arena_free(arena);
}

/* ---- which template a folder has ---- */

static void fingerprints_are_of_what_jinja_reads(void **state) {
    (void)state;
    const char *same[] = {"a\nb\n\nc", "a\nb\n\nc\n", "a\r\nb\r\rc", "a\r\nb\n\r\nc\r\n", "a\rb\r\n\rc\r"};
    uint64_t wanted = chat_fingerprint(same[0], strlen(same[0]));
    for (uint32_t i = 0; i < COUNT_OF(same); i++)
        assert_true(chat_fingerprint(same[i], strlen(same[i])) == wanted);
    const char *others[] = {"a\nb\nc", "a\nb\n\nc\n\n", "a\nb\n\nc ", "", "\na\nb\n\nc"};
    for (uint32_t i = 0; i < COUNT_OF(others); i++)
        assert_true(chat_fingerprint(others[i], strlen(others[i])) != wanted);
    assert_true(chat_fingerprint("a", 1) == hash_bytes(HASH_SEED, "a", 1));
}

static json_t *config_with(Arena *arena, const char *name) {
    size_t length;
    const char *text = template_of_ours(arena, name, &length);
    return json_pack("{s:s, s:s, s:s%, s:o}", "bos_token", "<s>", "eos_token", "</s>", "chat_template", text,
                     length, "model_max_length", json_real(1e30));
}

static bool read_config(Arena *arena, json_t *config, ChatTemplate *out) {
    char *text = json_dumps(config, 0);
    const char *copy = arena_strdup(arena, text);
    free(text);
    json_decref(config);
    return chat_template_read_text(arena, "models/m", NULL, 0, copy, strlen(copy), out);
}

static void templates_are_found_in_the_config(void **state) {
    (void)state;
    Arena *arena = arena_new();
    ChatTemplate out;
    assert_true(read_config(arena, config_with(arena, "zephyr"), &out));
    assert_string_equal(out.name, "Zephyr");
    assert_string_equal(out.file, "models/m/tokenizer_config.json");
    assert_string_equal(out.eos_token, "</s>");
    assert_null(out.pad_token);
    assert_int_equal(out.stop_count, 1);
    assert_string_equal(out.stop[0], "</s>");

    json_t *config = config_with(arena, "zephyr"), *text = json_object_get(config, "chat_template");
    json_t *list = json_pack("[{s:s, s:s}, {s:s, s:O}]", "name", "tool_use", "template", "x", "name",
                             "default", "template", text);
    json_object_set_new(config, "chat_template", list);
    json_object_set_new(config, "pad_token", json_pack("{s:s, s:b}", "content", "<pad>", "lstrip", 0));
    assert_true(read_config(arena, config, &out));
    assert_string_equal(out.name, "Zephyr");
    assert_string_equal(out.pad_token, "<pad>");

    /* chat_template.jinja comes first; a length without bound is a number that no integer holds. */
    size_t length;
    const char *chatml = template_of_ours(arena, "chatml", &length);
    const char other[] = "{\"chat_template\": \"x\", \"eos_token\": \"<|endoftext|>\", \"model_max_length\": "
                         "1000000000000000019884624838656}";
    assert_true(chat_template_read_text(arena, "models/m", chatml, length, other, strlen(other), &out));
    assert_string_equal(out.file, "models/m/chat_template.jinja");
    assert_string_equal(out.name, "ChatML");
    assert_int_equal(out.stop_count, 2);
    assert_string_equal(out.stop[0], "<|im_end|>");
    assert_string_equal(out.stop[1], "<|endoftext|>");
    assert_true(chat_template_read_text(arena, "models/m", chatml, length, NULL, 0, &out));
    assert_int_equal(out.stop_count, 1);
    arena_free(arena);
}

static void write_file(Arena *arena, const char *folder, const char *name, const char *text) {
    FILE *file = fopen(arena_printf(arena, "%s/%s", folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}

static void a_folder_is_read(void **state) {
    (void)state;
    Arena *arena = arena_new();
    char folder[] = "/tmp/remat-chat-XXXXXX";
    assert_non_null(mkdtemp(folder));
    ChatTemplate out;
    size_t length;
    assert_false(chat_template_read(arena, folder, &out));
    assert_non_null(strstr(out.error, "has no chat template"));
    assert_non_null(out.help);
    write_file(arena, folder, "tokenizer_config.json", config_text);
    assert_false(chat_template_read(arena, folder, &out));
    write_file(arena, folder, "chat_template.jinja", template_of_ours(arena, "llama3_1", &length));
    assert_true(chat_template_read(arena, folder, &out));
    assert_string_equal(out.name, "Llama 3.1");
    assert_string_equal(out.bos_token, "<bos>");
    remove(arena_printf(arena, "%s/tokenizer_config.json", folder));
    assert_false(chat_template_read(arena, folder, &out));
    assert_non_null(strstr(out.error, "has no bos_token, which the chat template of Llama 3.1 writes"));
    remove(arena_printf(arena, "%s/chat_template.jinja", folder));
    assert_int_equal(rmdir(folder), 0);
    arena_free(arena);
}

static void what_is_wrong_with_a_folder_is_named(void **state) {
    (void)state;
    Arena *arena = arena_new();
    static const struct {
        const char *jinja, *config, *error;
    } wrong[] = {
        {"{{ a }}", "{}", "models/m/chat_template.jinja: a chat template that is not known (fingerprint "},
        {NULL, "{\"chat_template\": \"x\"}",
         "models/m/tokenizer_config.json: a chat template that is not known "
         "(fingerprint af63f54c86021707)"},
        {NULL, "{\"chat_template\": null}", "models/m has no chat template"},
        {NULL, "{\"chat_template\": 3}", "chat_template is neither a text nor a list"},
        {NULL, "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"x\"}]}", "a text called 'default'"},
        {NULL, "{\"chat_template\": [{\"name\": \"default\", \"template\": 3}]}", "a text called 'default'"},
        {"x", "{\"bos_token\": 3}",
         "models/m/tokenizer_config.json: bos_token is neither a text nor an object"},
        {"x", "{\"eos_token\": {\"content\": []}}", "eos_token is neither a text nor an object"},
        {"x", "{\n \"bos_token\": }", "models/m/tokenizer_config.json:2:15: "},
        {"x", "[]", "models/m/tokenizer_config.json: no object of JSON"},
    };
    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        ChatTemplate out;
        const char *jinja = wrong[i].jinja;
        assert_false(chat_template_read_text(arena, "models/m", jinja, jinja ? strlen(jinja) : 0,
                                             wrong[i].config, strlen(wrong[i].config), &out));
        if (!strstr(out.error, wrong[i].error)) fail_msg("'%s' has no '%s'", out.error, wrong[i].error);
        assert_null(out.row);
    }
    const char *names = chat_template_names(arena);
    assert_non_null(strstr(names, "ChatML, SmolLM2, Qwen2, Qwen2.5, Qwen3, "));
    const char *first = strstr(names, "Phi-3,");
    assert_non_null(first);
    assert_null(strstr(first + 1, "Phi-3,"));
    arena_free(arena);
}

/* ---- refusals ---- */

static void refusals_name_the_message(void **state) {
    (void)state;
    Arena *arena = arena_new();
#define USER   "{\"role\": \"user\", \"content\": \"a\"}"
#define ANSWER "{\"role\": \"assistant\", \"content\": \"b\"}"
#define SYSTEM "{\"role\": \"system\", \"content\": \"s\"}"
    static const struct {
        const char *template, *messages, *error;
    } refused[] = {
        {"chatml", "[]", "a conversation is a list of at least one message"},
        {"chatml", "{}", "a conversation is a list"},
        {"chatml", "[" USER ", 3]", "message 1: it is no object"},
        {"chatml", "[{\"content\": \"a\"}]", "message 0: it has no role"},
        {"chatml", "[{\"role\": null, \"content\": \"a\"}]", "message 0: it has no role"},
        {"chatml", "[{\"role\": \"human\", \"content\": \"a\"}]",
         "message 0 (human): its role is none of system, user, assistant and tool"},
        {"chatml", "[" USER ", {\"role\": \"assistant\"}]", "message 1 (assistant): it has no content"},
        {"chatml", "[{\"role\": \"user\", \"content\": [{}]}]", "its content is a list; ChatML reads a text"},
        {"chatml", "[" USER ", {\"role\": \"tool\", \"content\": \"a\"}]",
         "message 1 (tool): ChatML is written here without tools"},
        {"zephyr", "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{}]}]",
         "its tool_calls would be"},
        {"zephyr", "[{\"role\": \"assistant\", \"content\": \"\", \"reasoning\": \"x\"}]",
         "writes no reasoning here"},
        {"zephyr", "[{\"role\": \"user\", \"content\": \"\", \"weight\": 0}]", "its weight is not 1"},
        {"zephyr", "[{\"role\": \"user\", \"content\": \"\", \"function_call\": {}}]",
         "no template reads function_"},
        {"gemma_no_bos", "[" SYSTEM ", " USER "]", "message 0 (system): System role not supported"},
        {"gemma_no_bos", "[" USER ", " USER "]",
         "message 1 (user): Conversation roles must alternate user/assistant/user/assistant/..."},
        {"gemma_no_bos", "[" USER ", " SYSTEM "]",
         "message 1 (system): Gemma reads a system message only as"},
        {"gemma3", "[" SYSTEM "]", "message 0 (system): Gemma 3 writes it only in front of the next message"},
        {"gemma3", "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]",
         "part 0 of its content is no text"},
        {"deepseek_r1", "[" USER ", " SYSTEM "]",
         "message 1 (system): DeepSeek R1 distilled reads a system message only as the first"},
        {"deepseek_r1", "[" USER ", {\"role\": \"assistant\", \"content\": \"<think>a</think>b\"}]",
         "message 1 (assistant): DeepSeek R1 distilled writes only what is behind its last </think>"},
        {"mistral_v1", "[" SYSTEM ", " ANSWER "]",
         "message 1 (assistant): After the optional system message, conversation roles must alternate"},
        {"mistral_nemo", "[" SYSTEM ", " USER ", " ANSWER "]",
         "message 0 (system): Mistral Nemo writes it only in front of the last message, which must be a "
         "user's"},
        {"mistral_v0_2", "[" SYSTEM ", " USER "]", "Only user and assistant roles are supported!"},
        {"phi3_first", "[" SYSTEM ", " USER "]", "Phi-3 has no system message: it would be lost"},
        {"qwen2_5",
         "[" USER ", {\"role\": \"assistant\", \"tool_calls\": [{\"name\": \"f\", \"arguments\": \"{}\"}]}]",
         "the arguments of call 0 of its tool_calls are a text"},
        {"qwen2_5", "[" USER ", {\"role\": \"assistant\", \"tool_calls\": [{\"function\": {}}]}]",
         "call 0 of its tool_calls has no function with a name"},
        {"qwen2_5", "[" USER ", {\"role\": \"assistant\", \"tool_calls\": {}}]",
         "its tool_calls are no list"},
        {"qwen2_5", "[{\"role\": \"user\", \"content\": \"\", \"tool_calls\": [{}]}]",
         "tool_calls are an assistant's"},
        {"llama3_1", "[" USER ", {\"role\": \"assistant\", \"tool_calls\": [{}, {}]}]",
         "message 1 (assistant): This model only supports single tool-calls at once!"},
        {"llama3_1", "[{\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": [{}]}]",
         "the content would be lost"},
        {"llama3_1", "[{\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": []}]",
         "would take for a call"},
        {"llama3_1", "[{\"role\": \"ipython\", \"content\": 3}]", "its content is no text, list or object"},
    };
    for (uint32_t i = 0; i < COUNT_OF(refused); i++) {
        json_t *messages = json_loads(refused[i].messages, 0, NULL);
        if (!messages) fail_msg("no JSON: %s", refused[i].messages);
        ChatTemplate template = known(arena, refused[i].template);
        ChatOptions options = {0};
        Chat chat;
        assert_false(chat_render(arena, &template, messages, &options, &chat));
        if (!strstr(chat.error, refused[i].error))
            fail_msg("%s: '%s' has no '%s'", refused[i].template, chat.error, refused[i].error);
        json_decref(messages);
        arena_reset(arena);
    }
    arena_free(arena);
}

static void options_that_are_not_read_are_refused(void **state) {
    (void)state;
    Arena *arena = arena_new();
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "a");
    json_t *tools = json_pack("[{s:s}]", "name", "f"), *no_list = json_object(),
           *no_objects = json_pack("[s]", "f");
    const struct {
        const char *template;
        ChatOptions options;
        const char *error;
    } refused[] = {
        {"chatml", {.date = "today"}, "the template of ChatML writes no date"},
        {"qwen2_5", {.no_thinking = true}, "thinking cannot be switched off in the template of Qwen2.5"},
        {"chatml", {.tools = tools}, "ChatML is written here without tools"},
        {"qwen3", {.tools = no_list}, "tools of Qwen3: a list is wanted"},
        {"qwen3", {.tools = no_objects}, "tools of Qwen3: each is an object"},
        {"qwen3", {.tools = tools, .no_thinking = true}, NULL},
        {"llama3_1", {.tools = tools, .date = "\1\2"}, NULL},
    };
    for (uint32_t i = 0; i < COUNT_OF(refused); i++) {
        ChatTemplate template = known(arena, refused[i].template);
        Chat chat;
        bool fine = chat_render(arena, &template, messages, &refused[i].options, &chat);
        assert_int_equal(fine, !refused[i].error);
        if (!fine && !strstr(chat.error, refused[i].error))
            fail_msg("'%s' has no '%s'", chat.error, refused[i].error);
        /* What comes from outside is no mark: it is written as it is. */
        if (fine && refused[i].options.date) assert_non_null(strstr(chat.text.at, "Today Date: \1\2\n"));
    }
    json_decref(messages);
    json_decref(tools);
    json_decref(no_list);
    json_decref(no_objects);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_the_librarys),
        cmocka_unit_test(rows_agree_with_their_shapes),
        cmocka_unit_test(every_template_of_ours_is_expected),
        cmocka_unit_test(fingerprints_are_of_what_jinja_reads),
        cmocka_unit_test(templates_are_found_in_the_config),
        cmocka_unit_test(a_folder_is_read),
        cmocka_unit_test(what_is_wrong_with_a_folder_is_named),
        cmocka_unit_test(refusals_name_the_message),
        cmocka_unit_test(options_that_are_not_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
