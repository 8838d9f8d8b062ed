/* The front end's text half: messages, accessors, --set, hostile input. Golden files cover the rest.
 * REMAT_FUZZ_ROUNDS sets how many mutated files are tried. */
#include "frontend/language/ast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char example[] =
    "language 1\n"
    "dims { V = 256  D = 256  L = 6  H = 8  E = D / H  B = auto(1..16)  T = 256 }\n"
    "dtype {\n  compute bf16  accumulate f32   # both\n  frozen nf4(block = 64, double_quant)\n}\n"
    "block layer(x: [B, T, D]) -> [B, T, D] {\n"
    "  # first half\n"
    "  h = layernorm(x, \"ln_1\")\n"
    "  q, k, v = split(linear(h, [3*D, D], \"attn.qkv\", bias), 3)\n"
    "  q, k = rope(q, k, theta = 5e5, scaling = llama3(8, low = 1, high = 4))\n"
    "  o = attend(q as [B, T, H, E], k as [B, T, H, E], v as [B, T, H, E], causal) as [B, T, D]\n"
    "  return x + linear(gelu(o) * -2 / (1 - 0.5), [D, 4*D], \"mlp.proj\", bias)\n"
    "}\n"
    "model bytes_gpt {\n"
    "  x = embed(data.tokens, [V, D], \"wte\") + positions([T, D], \"wpe\")\n"
    "  repeat i in 0..L scope \"h.{i}\" { x = layer(x) }\n"
    "  loss = cross_entropy(linear(x, [V, D], \"lm_head\"), data.targets)\n"
    "}\n"
    "weights \"./w\" frozen\n"
    "adapt lora(rank = 16, alpha = 32) on \"h.*.{attn,mlp}.*\"\n"
    "tie \"lm_head\" = \"wte\"\n"
    "init \"*.proj\" normal(0.02 / sqrt(2*L))\n"
    "train { steps 300  optimizer adamw(lr = 1e-3, betas = (0.9, 0.95))  seed 1 }\n"
    "data { train \"corpus.txt\" bytes  validate \"val.bin\" every 200 steps 50 batches }\n"
    "save { dir \"out/\" every 250 steps keep 3 }\n"
    "keep \"h.*.attn\"   # pin\n"
    "device host\n"
    "budget 300MiB   host 8GiB\n"
    "maximize tokens_per_second\n";

typedef struct Parsed {
    Arena *arena;
    Diag *diag;
    Ast *ast;
} Parsed;

static Parsed parse_n(const char *text, size_t length) {
    Parsed p = {.arena = arena_new()};
    p.diag = diag_new(p.arena, "x.remat", text, length);
    p.ast = ast_parse(p.arena, "x.remat", text, length, p.diag);
    return p;
}

static Parsed parse(const char *text) {
    return parse_n(text, strlen(text));
}

static const char *errors(const Parsed *p) {
    Text out = {.arena = p->arena};
    text_add(&out, "%s", "");
    diag_print(p->diag, &out, false);
    return out.at;
}

static const char *tree(const Parsed *p) {
    Text out = {.arena = p->arena};
    ast_print(p->ast, &out);
    return out.at;
}

static const char *source_of(const Parsed *p, const Expr *expr) {
    Text out = {.arena = p->arena};
    fmt_expr(expr, &out);
    return out.at;
}

/* ---- the tree ---- */

static void test_accessors(void **state) {
    (void)state;
    Parsed p = parse(example);
    assert_non_null(p.ast);
    assert_int_equal(p.ast->block.count, 1);
    assert_string_equal(p.ast->model->name.text, "bytes_gpt");
    assert_string_equal(p.ast->single[ITEM_DEVICE]->name.text, "host");
    assert_int_equal(p.ast->single[ITEM_BUDGET]->value->integer, 300 << 20);
    assert_true(p.ast->single[ITEM_HOST]->value->integer == INT64_C(8) << 30);
    assert_true(p.ast->single[ITEM_WEIGHTS]->flag);
    const Entry *validate = ast_entry(p.ast, SECTION_DATA, "validate");
    assert_string_equal(validate->value->text, "val.bin");
    assert_int_equal(entry_clause(validate, "every")->value->integer, 200);
    assert_string_equal(entry_clause(validate, "every")->unit.text, "steps");
    assert_int_equal(entry_clause(validate, "batches")->value->integer, 50);
    assert_null(entry_clause(ast_entry(p.ast, SECTION_DATA, "train"), "bytes")->value);
    assert_string_equal(ast_entry(p.ast, SECTION_SAVE, "every")->unit.text, "steps");
    assert_null(ast_entry(p.ast, SECTION_SAVE, "seed"));
    const Expr *adamw = ast_entry(p.ast, SECTION_TRAIN, "optimizer")->value;
    assert_float_equal(call_named(adamw, "lr")->value->number, 1e-3, 0);
    assert_int_equal(call_named(adamw, "betas")->value->items.count, 2);
    const Stmt *attend = p.ast->block.at[0]->body.at[3];
    assert_int_equal(attend->value->kind, EXPR_AS);
    assert_non_null(call_flag(attend->value->left, "causal"));
    assert_null(call_flag(attend->value->left, "bias"));
    assert_string_equal(source_of(&p, call_positional(attend->value->left, 1)), "k as [B, T, H, E]");
    assert_null(call_positional(attend->value->left, 4));
    assert_string_equal(source_of(&p, p.ast->block.at[0]->body.at[4]->result.at[0]),
                        "x + linear(gelu(o) * -2 / (1 - 0.5), [D, 4*D], \"mlp.proj\", bias)");
    Span span = attend->span;
    assert_memory_equal(example + span.beg, "o = attend(", 11);
    assert_int_equal(example[span.end - 1], ']');
    arena_free(p.arena);
}

static void test_numbers(void **state) {
    (void)state;
    Parsed p = parse("language 1\ndims { A = 9223372036854775807  B = 0 }\nbudget 1.5GB host 2KiB\ntrain { a "
                     "2e-4  b 3B }\n");
    assert_non_null(p.ast);
    assert_true(ast_entry(p.ast, SECTION_DIMS, "A")->value->integer == INT64_MAX);
    assert_int_equal(p.ast->single[ITEM_BUDGET]->value->integer, 1500000000);
    assert_int_equal(p.ast->single[ITEM_HOST]->value->integer, 2048);
    assert_float_equal(ast_entry(p.ast, SECTION_TRAIN, "a")->value->number, 2e-4, 0);
    assert_int_equal(ast_entry(p.ast, SECTION_TRAIN, "b")->value->integer, 3);
    arena_free(p.arena);
}

static void test_byte_order_mark(void **state) {
    (void)state;
    Parsed p = parse("\xef\xbb\xbflanguage 1\nbudget 1\n");
    assert_null(p.ast);
    assert_non_null(strstr(errors(&p), "x.remat:2:8: error: a byte size needs a unit [E0105]"));
    assert_int_equal(diag_errors(p.diag), 1);
    arena_free(p.arena);
}

/* ---- messages ---- */

static void test_suggestions(void **state) {
    (void)state;
    static const char *const names[] = {"rmsnorm", "layernorm", "linear", "q", "split"};
    assert_string_equal(diag_nearest("rmsnrom", names, COUNT_OF(names)), "rmsnorm");
    assert_string_equal(diag_nearest("layer_norm", names, COUNT_OF(names)), "layernorm");
    assert_string_equal(diag_nearest("liner", names, COUNT_OF(names)), "linear");
    assert_null(diag_nearest("z", names, COUNT_OF(names)));
    assert_null(diag_nearest("conv", names, COUNT_OF(names)));
    assert_string_equal(diag_nearest("spilt", names, COUNT_OF(names)), "split");
}

static void test_messages(void **state) {
    (void)state;
    static const char text[] = "one\n\ttwo \"\\\n";
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena, "a\"b", text, strlen(text));
    diag_error(diag, E0102, (Span){5, 8}, "second");
    diag_note(diag, (Span){0, 3}, "see\n      here");
    diag_help(diag, "say %d", 3);
    diag_error(diag, E0101, (Span){0, 3}, "first");
    diag_error(diag, E0101, (Span){0, 3}, "first again");
    diag_note(diag, NO_SPAN, "dropped with it");
    Text out = {.arena = arena}, json = {.arena = arena}, colour = {.arena = arena};
    diag_print(diag, &out, false);
    assert_string_equal(out.at, "a\"b:1:1: error: first [E0101]\none\n^~~\n"
                                "a\"b:2:2: error: second [E0102]\n\ttwo \"\\\n\t^~~\n"
                                "a\"b:1:1: note: see\n      here\none\n^~~\nhelp: say 3\n");
    diag_print_json(diag, &json);
    assert_string_equal(
        json.at,
        "{\"file\":\"a\\\"b\",\"line\":1,\"column\":1,\"end_line\":1,\"end_column\":4,\"severity\":\"error\","
        "\"code\":\"E0101\",\"message\":\"first\",\"notes\":[],\"help\":[]}\n"
        "{\"file\":\"a\\\"b\",\"line\":2,\"column\":2,\"end_line\":2,\"end_column\":5,\"severity\":\"error\","
        "\"code\":\"E0102\",\"message\":\"second\",\"notes\":[{\"message\":\"see\\n      here\",\"line\":1,"
        "\"column\":1,\"end_line\":1,\"end_column\":4}],\"help\":[\"say 3\"]}\n");
    diag_print(diag, &colour, true);
    assert_non_null(strstr(colour.at, "\033[1;31m^~~\033[0m"));
    arena_free(arena);
}

static void test_warnings(void **state) {
    (void)state;
    static const char text[] = "a = b\n";
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena, "x", text, strlen(text));
    diag_warning(diag, W0601, (Span){4, 5}, "careful");
    diag_help(diag, "do not");
    assert_int_equal(diag_errors(diag), 0);
    assert_int_equal(diag_warnings(diag), 1);
    Text out = {.arena = arena}, json = {.arena = arena}, list = {.arena = arena}, later = {.arena = arena};
    diag_print(diag, &out, false);
    assert_string_equal(out.at, "x:1:5: warning: careful [W0601]\na = b\n    ^\nhelp: do not\n");
    diag_print_json(diag, &json);
    assert_non_null(strstr(json.at, "\"severity\":\"warning\",\"code\":\"W0601\""));
    diag_mark_shown(diag); /* what follows is printed alone; the whole list has both */
    diag_warning(diag, W0601, (Span){4, 5}, "careful");
    diag_error(diag, E0102, (Span){0, 1}, "wrong");
    diag_print(diag, &later, false);
    assert_string_equal(later.at, "x:1:1: error: wrong [E0102]\na = b\n^\n");
    diag_print_json_list(diag, &list);
    assert_non_null(strstr(list.at, "careful"));
    assert_non_null(strstr(list.at, "wrong"));
    assert_false(diag_option_wrong(diag));
    arena_free(arena);
}

/* Control and bidirectional characters of a file, of its name and of what messages quote. */
static void test_messages_steer_nothing(void **state) {
    (void)state;
    static const char text[] = "a\033[2J\342\200\256b = \377c\n";
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena, "x\033\342\201\246", text, strlen(text));
    diag_error(diag, E0101, (Span){8, 9}, "'%s'", "\033]0;\302\233");
    Text out = {.arena = arena}, json = {.arena = arena}, pair = {.arena = arena};
    diag_print(diag, &out, false);
    assert_string_equal(out.at, "x\\x1b\\u{2066}:1:7: error: '\\x1b]0;\\u{9b}' [E0101]\n"
                                "a\\x1b[2J\\u{202e}b = \\xffc\n"
                                "                ^\n");
    diag_print_json(diag, &json);
    for (const char *at = json.at; *at; at++) assert_true((*at >= 32 && *at < 127) || *at == '\n');
    text_add_json(&pair, "\363\240\201\201\377\"\\");
    assert_string_equal(pair.at, "\"\\udb40\\udc41\\u00ff\\\"\\\\\"");
    arena_free(arena);
}

static void test_at_most_twenty(void **state) {
    (void)state;
    Text text = {.arena = arena_new()};
    text_add(&text, "language 1\n");
    for (int i = 0; i < 50; i++) text_add(&text, "budget ]\n");
    Parsed p = parse(text.at);
    assert_null(p.ast);
    assert_int_equal(diag_errors(p.diag), 50);
    const char *out = errors(&p);
    int shown = 0;
    for (const char *at = out; (at = strstr(at, "[E0102]")); at++) shown++;
    assert_int_equal(shown, DIAG_MAX_ERRORS);
    assert_non_null(strstr(out, "x.remat: 30 more errors not shown"));
    arena_free(p.arena);
    arena_free(text.arena);
}

static void test_codes(void **state) {
    (void)state;
    for (int i = 0; i < CODE_COUNT; i++) {
        assert_int_equal(code_find(code_name[i]), i);
        assert_true(strlen(code_title[i]) > 3 && strlen(code_title[i]) < 80);
        assert_true(strlen(code_text[i]) > 40);
        for (int k = 0; k < i; k++) assert_string_not_equal(code_name[i], code_name[k]);
    }
    assert_int_equal(code_find("e0102"), E0102);
    assert_int_equal(code_find("E9999"), CODE_COUNT);
    assert_int_equal(code_find("E01"), CODE_COUNT);
    assert_int_equal(code_find("0102"), E0102);
    assert_int_equal(code_find("312"), E0312);
    assert_int_equal(code_find("12"), CODE_COUNT);
    assert_int_equal(code_find(""), CODE_COUNT);
}

/* ---- --set ---- */

static void test_override(void **state) {
    (void)state;
    static const char *const good[] = {"B=4",
                                       "budget=200MiB",
                                       "train.steps=20",
                                       "save.dir=out2",
                                       "device=rtx4090",
                                       "clip_norm=0.5",
                                       "D=H*32",
                                       "train.optimizer=adamw(lr = 2e-4)",
                                       "compute=f32",
                                       "data.train=a b.txt",
                                       "validate=0.1",
                                       "maximize=T",
                                       "weights=\"./v\"",
                                       "seed=7",
                                       "optimizer.lr=3e-4",
                                       "train.optimizer.betas=(0.8, 0.9)",
                                       "optimizer.decay=0.1",
                                       "train.schedule=cosine",
                                       "schedule.warmup=10"};
    Parsed p = parse(example);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!ast_override(p.ast, good[i], p.diag)) fail_msg("%s: %s", good[i], errors(&p));
    assert_int_equal(ast_entry(p.ast, SECTION_DIMS, "B")->value->integer, 4);
    assert_int_equal(p.ast->single[ITEM_BUDGET]->value->integer, 200 << 20);
    assert_int_equal(ast_entry(p.ast, SECTION_TRAIN, "steps")->value->integer, 20);
    assert_int_equal(ast_entry(p.ast, SECTION_SAVE, "dir")->value->kind, EXPR_STRING);
    assert_string_equal(ast_entry(p.ast, SECTION_SAVE, "dir")->value->text, "out2");
    assert_string_equal(p.ast->single[ITEM_DEVICE]->name.text, "rtx4090");
    assert_float_equal(ast_entry(p.ast, SECTION_TRAIN, "clip_norm")->value->number, 0.5, 0);
    assert_string_equal(source_of(&p, ast_entry(p.ast, SECTION_DIMS, "D")->value), "H * 32");
    assert_string_equal(source_of(&p, ast_entry(p.ast, SECTION_TRAIN, "optimizer")->value),
                        "adamw(lr = 3e-4, betas = (0.8, 0.9), decay = 0.1)");
    assert_string_equal(source_of(&p, ast_entry(p.ast, SECTION_TRAIN, "schedule")->value),
                        "cosine(warmup = 10)");
    assert_string_equal(ast_entry(p.ast, SECTION_DATA, "train")->value->text, "a b.txt");
    assert_non_null(entry_clause(ast_entry(p.ast, SECTION_DATA, "train"), "bytes"));
    assert_int_equal(ast_entry(p.ast, SECTION_DATA, "validate")->value->kind, EXPR_FLOAT);
    assert_string_equal(p.ast->single[ITEM_MAXIMIZE]->name.text, "T");
    assert_string_equal(p.ast->single[ITEM_WEIGHTS]->name.text, "./v");
    Text out = {.arena = p.arena};
    fmt_print(p.ast, &out);
    Parsed again = parse_n(out.at, out.length);
    assert_non_null(again.ast);
    assert_string_equal(tree(&p), tree(&again));
    arena_free(again.arena);
    arena_free(p.arena);
}

static void test_override_into_nothing(void **state) {
    (void)state;
    Parsed p = parse("language 1\ndims { steps = 3 }\n");
    assert_true(ast_override(p.ast, "steps=5", p.diag)); /* the dim comes first */
    assert_true(ast_override(p.ast, "train.steps=9", p.diag));
    assert_true(ast_override(p.ast, "budget=1GiB", p.diag));
    assert_string_equal(tree(&p),
                        "language 1\ndims\n  steps: 5\ntrain\n  steps: 9\nbudget 1073741824 bytes\n");
    arena_free(p.arena);
}

static void test_override_errors(void **state) {
    (void)state;
    static const struct {
        const char *setting, *says;
    } bad[] = {
        {"bugdet=1GiB", "did you mean 'budget'?"},
        {"train.step=1", "did you mean 'train.steps'?"},
        {"Z=1", "there is no dim or setting 'Z'"},
        {"Z=1", "the dims of this file are V, D, L, H, E, B, T"},
        {"budget=lots", "write a size with a unit"},
        {"budget=21", "write 21GiB, or 21MiB, or 21B"},
        {"budget=3G", "did you mean '3GiB'?"},
        {"budget=3gb", "did you mean '3GB'?"},
        {"budget=300mi", "did you mean '300MiB'?"},
        {"B=4 5", "'4 5' is no value for 'B'"},
        {"B=)", "a dim is a whole number or made of other dims"},
        {"B=)", "rematc: error: ')' is no value for 'B' [E0115]\n--set B=)\n        ^\n"},
        {"lr=1e-3", "did you mean 'optimizer.lr'?"},
        {"learning_rate=1e-3", "did you mean 'optimizer.lr'?"},
        {"decay=3", "did you mean 'optimizer.decay'?"},
        {"d=3", "did you mean 'D'?"},
        {"seq_len=8", "did you mean 'T'?"},
        {"batch_size=8", "did you mean 'B'?"},
        {"B=", "write name=value"},
        {"=4", "write name=value"},
        {"B", "write name=value"},
        {"optimizer=sgd", "several sections have the key 'optimizer'"},
        {"optimizer.lr=", "write name=value"},
        {"optimizer.lr=)", "write it as the file would"},
        {"optimiser.lr=1", "did you mean 'optimizer.lr'?"},
        {"steps.lr=1", "there is no dim or setting 'steps.lr'"},
        {"optimizer.=1", "there is no dim or setting"},
        {"save.optimizer.lr=1", "there is no dim or setting"},
        {"maximize=tok\xff", "the value of 'maximize' is not UTF-8"},
        {"data.train=caf\xe9.txt", "the value of 'data.train' is not UTF-8"},
        {"B=\xff", "the value of 'B' is not UTF-8"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Parsed p = parse(example);
        assert_false(ast_override(p.ast, bad[i].setting, p.diag));
        assert_int_equal(diag_errors(p.diag), 1);
        assert_true(diag_option_wrong(p.diag));
        if (!strstr(errors(&p), bad[i].says)) fail_msg("%s: %s", bad[i].setting, errors(&p));
        arena_free(p.arena);
    }
}

/* ---- hostile input ---- */

/* Either a tree whose formatted text means the same and is stable, or at least one message. */
static void must_cope(const char *text, size_t length) {
    Parsed p = parse_n(text, length);
    if (!p.ast) {
        assert_true(diag_errors(p.diag) > 0);
        assert_non_null(strstr(errors(&p), "error: "));
        Text json = {.arena = p.arena};
        diag_print_json(p.diag, &json);
        assert_true(json.length > 0);
    } else {
        assert_int_equal(diag_errors(p.diag), 0);
        Text once = {.arena = p.arena}, twice = {.arena = p.arena};
        fmt_print(p.ast, &once);
        Parsed again = parse_n(once.at, once.length);
        if (!again.ast)
            fail_msg("formatted text does not parse: %s\nfrom:\n%.*s", errors(&again), (int)length, text);
        assert_string_equal(tree(&p), tree(&again));
        assert_int_equal(p.ast->comment.count, again.ast->comment.count);
        fmt_print(again.ast, &twice);
        if (strcmp(once.at, twice.at))
            fail_msg("formatting twice differs:\n%s\nthen:\n%s", once.at, twice.at);
        arena_free(again.arena);
    }
    arena_free(p.arena);
}

static void test_every_truncation(void **state) {
    (void)state;
    for (size_t length = 0; length < sizeof example; length++) must_cope(example, length);
}

static void repeated(const char *before, const char *unit, int times, const char *after, const char *says) {
    Text text = {.arena = arena_new()};
    text_add(&text, "language 1\n%s", before);
    for (int i = 0; i < times; i++) text_add(&text, "%s", unit);
    text_add(&text, "%s", after);
    Parsed p = parse_n(text.at, text.length);
    assert_null(p.ast);
    if (!strstr(errors(&p), says)) fail_msg("%.40s...: %s", unit, errors(&p));
    arena_free(p.arena);
    arena_free(text.arena);
}

static void test_examples(void **state) {
    (void)state;
    static const char *const names[] = {"bytes-gpt", "gpt2-124m", "gpt2-xl", "llama3-8b", "qwen2-0.5b"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        size_t length;
        char *text = read_file(arena, arena_printf(arena, "%s/%s.remat", EXAMPLES, names[i]), &length);
        assert_non_null(text);
        Parsed p = parse_n(text, length);
        if (!p.ast) fail_msg("%s: %s", names[i], errors(&p));
        arena_free(p.arena);
        must_cope(text, length);
    }
    arena_free(arena);
}

static void test_deep_and_huge(void **state) {
    (void)state;
    enum { MANY = 50000 };
    repeated("model m { x = ", "(", 2 * MANY, "", "[E0106]");
    repeated("model m { x = ", "f(", MANY, "y", "[E0106]");
    repeated("model m { x = ", "[", MANY, "y", "[E0106]");
    repeated("model m { x = ", "-", MANY, "y }", "[E0106]");
    repeated("model m { x = y", " + y", MANY, " }", "[E0106]");
    repeated("model m { x = y", " as [B]", MANY, " }", "[E0106]");
    repeated("model m { ", "repeat i in 0..2 { ", MANY, "", "[E0106]");
    repeated("", "{", MANY, "", "[E0106]");
    repeated("", "}", MANY, "", "[E0102]");
    repeated("", ")", MANY, "", "[E0102]");
    repeated("model m { x = ", "n", MANY, " }", "[E0116]");
    repeated("model m { x = f(\"", "s", MANY, "\") }", "[E0116]");
    repeated("dims { x = ", "9", MANY, " }", "[E0104]");
    repeated("model m { x = \"", "s", MANY, "", "[E0103]");
    repeated("", "\001", MANY, "", "[E0101]");
    repeated("", "#", 1 << 20, "", "[E0111]");
    /* not quadratic: these take seconds otherwise */
    repeated("", "budget ]\n", MANY, "", "more errors not shown");
    repeated("dims { ", "a = 1 ", MANY, "}", "[E0110]");
    repeated("", "train {}\n", MANY, "", "[E0110]");
    repeated("model m { x = f(", "y, ", MANY, "z) }", "[E0116]");
}

/* Replaces, drops, doubles, moves and swaps pieces; splices in words of the language. */
static size_t mutate(char *text, size_t length, size_t room, uint64_t *random) {
    static const char *const pieces[] = {"{",
                                         "}",
                                         "(",
                                         ")",
                                         "[",
                                         "]",
                                         ",",
                                         "=",
                                         "..",
                                         "->",
                                         " as ",
                                         "\"",
                                         "#",
                                         "\n",
                                         "\t",
                                         "return ",
                                         "repeat ",
                                         "block ",
                                         "model ",
                                         "train {",
                                         "data {",
                                         "1e9",
                                         "GiB",
                                         "0x",
                                         "9999999999999999999",
                                         "\xc3\xa9",
                                         "\xff",
                                         "every ",
                                         "steps ",
                                         "\\",
                                         "-",
                                         "in ",
                                         "scope ",
                                         "tie ",
                                         "init ",
                                         "language 1\n",
                                         "# c\n",
                                         "\r\n",
                                         ":",
                                         "*",
                                         "."};
    int edits = 1 + (int)(random_next(random) % 4);
    for (int e = 0; e < edits && length; e++) {
        size_t at = random_next(random) % length, count = random_next(random) % 24;
        if (count > length - at) count = length - at;
        const char *piece = pieces[random_next(random) % COUNT_OF(pieces)];
        size_t size = strlen(piece);
        switch (random_next(random) % 5) {
        case 0: text[at] = (char)(random_next(random) & 0x7f); break;
        case 1:
            memmove(text + at, text + at + count, length - at - count);
            length -= count;
            break;
        case 2:
            if (length + count > room) break;
            memmove(text + at + count, text + at, length - at);
            length += count;
            break;
        case 3:
        case 4:
            if (length + size > room) break;
            memmove(text + at + size, text + at, length - at);
            memcpy(text + at, piece, size);
            length += size;
            break;
        }
    }
    return length;
}

static void test_mutations(void **state) {
    (void)state;
    const char *wanted = getenv("REMAT_FUZZ_ROUNDS");
    long rounds = wanted ? atol(wanted) : 3000;
    uint64_t random = 20240229;
    char text[2 * sizeof example];
    for (long i = 0; i < rounds; i++) {
        memcpy(text, example, sizeof example);
        size_t length = mutate(text, sizeof example - 1, sizeof text, &random);
        /* a copy of the exact size, so that a sanitizer sees a read behind the end */
        char *exact = malloc(length ? length : 1);
        assert_non_null(exact);
        memcpy(exact, text, length);
        must_cope(exact, length);
        free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_at_most_twenty),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_messages_steer_nothing),
        cmocka_unit_test(test_override),
        cmocka_unit_test(test_override_into_nothing),
        cmocka_unit_test(test_override_errors),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_deep_and_huge),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
