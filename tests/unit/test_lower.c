/* Lowering: the example specs against known parameter counts, settings and their defaults, names, ties, how
 * weights start, golden messages (cases/lower_*.remat and .err), and mutated files.
 *
 * REMAT_UPDATE=1 rewrites the .err files; REMAT_FUZZ_ROUNDS sets how many mutated files are tried. */
#include "runtime/atomic_file.h"
#include "frontend/lower/lower.h"
#include "ir/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>

typedef struct Lowered {
    Arena *arena;
    Diag *diag;
    Ast *ast;
    Spec spec;
    Graph *graph;
} Lowered;

static Lowered lower_text(Arena *arena, const char *path, const char *text, size_t length) {
    Lowered l = {.arena = arena, .diag = diag_new(arena, path, text, length)};
    l.ast = ast_parse(arena, path, text, length, l.diag);
    if (!l.ast) return l;
    lower_spec(l.ast, l.diag, arena, &l.spec);
    l.graph = lower_graph(l.ast, &l.spec, 0, 0, l.diag, arena);
    return l;
}

static const char *messages(const Lowered *l) {
    Text out = {.arena = l->arena};
    text_add_n(&out, "", 0);
    diag_print(l->diag, &out, false);
    return out.at;
}

static Lowered lower_file(const char *folder, const char *name) {
    Arena *arena = arena_new();
    size_t length;
    char *text = read_file(arena, arena_printf(arena, "%s/%s", folder, name), &length);
    if (!text) fail_msg("cannot read %s/%s", folder, name);
    return lower_text(arena, name, text, length);
}

static void check_graph(const Lowered *l) {
    if (!l->graph) fail_msg("%s", messages(l));
    const char *broken = graph_check(l->graph, l->arena);
    if (broken) fail_msg("%s: %s", l->spec.path, broken);
    assert_int_equal(diag_errors(l->diag), 0);
}

static const Value *value_named(const Graph *g, const char *name) {
    for (uint32_t i = 0; i < g->value.count; i++)
        if (!strcmp(g->value.at[i].name, name)) return &g->value.at[i];
    return NULL;
}

static const Param *param_named(const Graph *g, const char *name) {
    for (uint32_t i = 0; i < g->param.count; i++)
        if (!strcmp(g->value.at[g->param.at[i].value].name, name)) return &g->param.at[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static uint32_t count_ops(const Graph *g, Op op) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->node.count; i++) count += g->node.at[i].op == op;
    return count;
}

/* ---- examples ---- */

static void examples_have_the_known_sizes(void **state) {
    (void)state;
    static const struct {
        const char *file;
        int64_t parameters;
        uint32_t blocks;
    } known[] = {
        {"gpt2-124m.remat", 124439808, 12},  {"gpt2-xl.remat", 1557611200, 48},
        {"llama3-8b.remat", 8030261248, 32}, {"llama3-8b-qlora.remat", 8072204288, 32},
        {"qwen2-0.5b.remat", 494032768, 24}, {"bytes-gpt.remat", 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        Lowered l = lower_file(REMAT_EXAMPLES, known[i].file);
        check_graph(&l);
        if (known[i].blocks) {
            assert_int_equal(graph_parameters(l.graph), known[i].parameters);
            assert_int_equal(l.graph->block.count, known[i].blocks);
        }
        arena_free(l.arena);
    }
}

static void every_example_is_tested(void **state) {
    (void)state;
    DIR *folder = opendir(REMAT_EXAMPLES);
    int count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ".remat")) continue;
        Lowered l = lower_file(REMAT_EXAMPLES, entry->d_name);
        check_graph(&l);
        arena_free(l.arena);
        count++;
    }
    closedir(folder);
    assert_true(count >= 5);
}

static void batch_and_context_can_be_replaced(void **state) {
    (void)state;
    Lowered l = lower_file(REMAT_EXAMPLES, "bytes-gpt.remat");
    check_graph(&l);
    Graph *small = lower_graph(l.ast, &l.spec, 1, 32, l.diag, l.arena);
    assert_non_null(small);
    assert_null(graph_check(small, l.arena));
    assert_int_equal(small->batch, 1);
    assert_int_equal(small->context, 32);
    assert_int_equal(small->node.count, l.graph->node.count);
    const Type *logits = &small->value.at[small->logits].type;
    assert_int_equal(logits->dim[0], 1);
    assert_int_equal(logits->dim[1], 32);
    for (uint32_t i = 0; i < small->node.count; i++) {
        assert_string_equal(small->node.at[i].name, l.graph->node.at[i].name);
        assert_int_equal(small->node.at[i].attr.rng, l.graph->node.at[i].attr.rng);
    }
    arena_free(l.arena);
}

static void automatic_batch(void **state) {
    (void)state;
    Lowered l = lower_file(REMAT_EXAMPLES, "gpt2-xl.remat");
    check_graph(&l);
    assert_true(l.spec.batch_auto);
    assert_int_equal(l.spec.batch_low, 1);
    assert_int_equal(l.spec.batch_high, 8);
    assert_int_equal(l.graph->accumulate, 512);
    assert_true(lower_batch_fits(&l.spec, 4));
    assert_false(lower_batch_fits(&l.spec, 3));
    Graph *wide = lower_graph(l.ast, &l.spec, 4, 0, l.diag, l.arena);
    assert_non_null(wide);
    assert_int_equal(wide->accumulate, 128);
    arena_free(l.arena);
}

static void names_are_unique_and_as_in_the_checkpoint(void **state) {
    (void)state;
    Lowered l = lower_file(REMAT_EXAMPLES, "qwen2-0.5b.remat");
    check_graph(&l);
    Map *seen = map_new(l.arena);
    for (uint32_t i = 0; i < l.graph->value.count; i++) {
        assert_int_equal(map_get(seen, l.graph->value.at[i].name), NONE);
        map_set(seen, l.graph->value.at[i].name, i);
    }
    static const char *const wanted[] = {"model.embed_tokens.weight",
                                         "model.layers.0.self_attn.q_proj.bias",
                                         "model.layers.23.mlp.down_proj.weight",
                                         "model.norm.weight",
                                         "model.layers.7.mlp.silu",
                                         "model.layers.7.attention.rope.2",
                                         "model.layers.7.self_attn.o_proj",
                                         "data.tokens",
                                         "data.loss_mask",
                                         "lm_head"};
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        if (!value_named(l.graph, wanted[i])) fail_msg("nothing is called %s", wanted[i]);
    assert_null(value_named(l.graph, "lm_head.weight"));
    arena_free(l.arena);
}

static void weights_are_cast_to_the_compute_type(void **state) {
    (void)state;
    Lowered qwen = lower_file(REMAT_EXAMPLES, "qwen2-0.5b.remat"),
            llama = lower_file(REMAT_EXAMPLES, "llama3-8b.remat");
    check_graph(&qwen);
    check_graph(&llama);
    assert_int_equal(count_ops(qwen.graph, OP_CAST), count_ops(qwen.graph, OP_LINEAR));
    assert_int_equal(count_ops(llama.graph, OP_CAST), 0);
    for (uint32_t i = 0; i < qwen.graph->node.count; i++) {
        const Node *n = &qwen.graph->node.at[i];
        if (n->op == OP_CROSS_ENTROPY) continue;
        assert_int_equal(qwen.graph->value.at[n->out[0]].type.dtype, DT_BF16);
    }
    arena_free(qwen.arena);
    arena_free(llama.arena);
}

/* ---- small models ---- */

static const char model_text[] =
    "language 1\n"
    "dims { V = 64  D = 16  L = 2  H = 4  E = D / H  B = 2  T = 8 }\n"
    "block layer(x: [B, T, D]) -> [B, T, D] {\n"
    "  h = dropout(layernorm(x, \"ln\"), 0.1)\n"
    "  q, k, v = split(linear(h, [3*D, D], \"qkv\", bias), 3)\n"
    "  q, k = rope(q as [B, T, H, E], k as [B, T, H, E], theta = 5e5,\n"
    "              scaling = llama3(8, low = 1, high = 4, original = 8192))\n"
    "  o = attend(q, k, v as [B, T, H, E], causal) as [B, T, H*E]\n"
    "  return x - dropout(linear(o, [D, D], \"proj\"), 0.2) * 0.5\n"
    "}\n"
    "model tiny {\n"
    "  x = embed(data.tokens, [V, D], \"wte\") / sqrt(D)\n"
    "  repeat i in 0..L scope \"h.{i}\" { x = layer(x) }\n"
    "  x = scale(-x, 2 - 1) + positions([2*T, D], \"wpe\")\n"
    "  loss = cross_entropy(linear(x, [V, D], \"head\"), data.targets, mask = data.loss_mask)\n"
    "}\n"
    "train { steps 10  optimizer adamw(lr = 1e-3) }\n";

static Lowered lower_with(const char *more) {
    Arena *arena = arena_new();
    const char *text = arena_printf(arena, "%s%s", model_text, more);
    return lower_text(arena, "tiny.remat", text, strlen(text));
}

static void attributes_arrive(void **state) {
    (void)state;
    Lowered l = lower_with("");
    check_graph(&l);
    int64_t stream = 0;
    for (uint32_t i = 0; i < l.graph->node.count; i++) {
        const Node *n = &l.graph->node.at[i];
        if (n->op == OP_DROPOUT) {
            assert_int_equal(n->attr.rng, ++stream);
            assert_true(n->attr.p == (stream % 2 ? 0.1 : 0.2));
        }
        if (n->op == OP_ROPE) {
            assert_true(n->attr.theta == 5e5 && n->attr.rope_factor == 8);
            assert_true(n->attr.rope_low == 1 && n->attr.rope_high == 4);
            assert_int_equal(n->attr.rope_original, 8192);
        }
        if (n->op == OP_ATTEND) assert_int_equal(n->attr.causal, 1);
        if (n->op == OP_LAYERNORM) assert_true(n->attr.eps == 1e-5);
    }
    assert_int_equal(stream, 4);
    assert_true(l.graph->node.at[1].op == OP_SCALE && l.graph->node.at[1].attr.factor == 0.25);
    assert_int_equal(count_ops(l.graph, OP_ADD_BROADCAST), 1);
    assert_int_equal(count_ops(l.graph, OP_ADD), 2);
    assert_int_equal(count_ops(l.graph, OP_ROPE), 4);
    assert_true(l.graph->mask != NONE && l.graph->loss_sum != NONE);
    assert_int_equal(l.graph->value.at[l.graph->logits].type.dim[2], 64);
    arena_free(l.arena);
}

/* Every frequency is divided, as the rule of llama3 does where no wave is within the original context. */
static void linear_rope_arrives(void **state) {
    (void)state;
    static const char llama3[] = "llama3(8, low = 1, high = 4, original = 8192)";
    Arena *arena = arena_new();
    char *text = arena_strdup(arena, model_text), *at = strstr(text, llama3);
    memset(at, ' ', sizeof llama3 - 1);
    memcpy(at, "linear(2 * 2)", 13);
    Lowered l = lower_text(arena, "linear.remat", text, strlen(text));
    check_graph(&l);
    uint32_t found = 0;
    for (uint32_t i = 0; i < l.graph->node.count; i++) {
        const Attr *attr = &l.graph->node.at[i].attr;
        if (l.graph->node.at[i].op != OP_ROPE) continue;
        assert_true(attr->theta == 5e5 && attr->rope_factor == 4 && !attr->rope_original);
        assert_true(attr->rope_low > 0 && attr->rope_high >= attr->rope_low);
        found++;
    }
    assert_int_equal(found, 4);
    arena_free(l.arena);
}

static void weights_start_by_convention(void **state) {
    (void)state;
    Lowered l = lower_with("");
    check_graph(&l);
    const Param *proj = param_named(l.graph, "h.1.proj.weight"),
                *gain = param_named(l.graph, "h.0.ln.weight"), *bias = param_named(l.graph, "h.0.qkv.bias");
    assert_int_equal(proj->init, INIT_NORMAL);
    assert_true(proj->decays && !gain->decays && !bias->decays);
    assert_true(fabs(proj->init_value - 0.02 / sqrt(2)) < 1e-12); /* two residual additions */
    assert_true(param_named(l.graph, "wte.weight")->init_value == 0.02);
    assert_true(gain->init == INIT_CONSTANT && gain->init_value == 1);
    assert_true(bias->init == INIT_CONSTANT && bias->init_value == 0);
    arena_free(l.arena);

    l = lower_with(
        "init normal(0.01)\ninit \"*.proj\" normal(0.02 / sqrt(2*L))\ninit \"*.bias\" constant(0.5)\n");
    check_graph(&l);
    assert_true(param_named(l.graph, "wte.weight")->init_value == 0.01);
    assert_true(fabs(param_named(l.graph, "h.1.proj.weight")->init_value - 0.01) < 1e-12);
    assert_true(param_named(l.graph, "h.0.qkv.bias")->init_value == 0.5);
    assert_true(param_named(l.graph, "h.0.ln.weight")->init_value == 1);
    arena_free(l.arena);
}

static void tied_weights_are_one(void **state) {
    (void)state;
    Lowered apart = lower_with(""), tied = lower_with("tie \"head\" = \"wte\"\n"),
            turned = lower_with("tie \"wte\" = \"head\"\n");
    check_graph(&apart);
    check_graph(&tied);
    check_graph(&turned);
    assert_int_equal(graph_parameters(apart.graph) - graph_parameters(tied.graph), 64 * 16);
    assert_int_equal(graph_parameters(turned.graph), graph_parameters(tied.graph));
    assert_non_null(value_named(tied.graph, "wte.weight"));
    assert_null(value_named(tied.graph, "head.weight"));
    assert_non_null(value_named(turned.graph, "head.weight"));
    arena_free(apart.arena);
    arena_free(tied.arena);
    arena_free(turned.arena);
}

static void settings_default(void **state) {
    (void)state;
    Lowered l = lower_with("");
    check_graph(&l);
    const Spec *s = &l.spec;
    assert_string_equal(s->model, "tiny");
    assert_string_equal(s->device, "host");
    assert_true(s->compute == DT_F32 && s->trained == DT_F32 && s->gradient == DT_F32 && s->moment == DT_F32);
    assert_true(s->steps == 10 && s->learning_rate == 1e-3 && s->beta1 == 0.9 && s->beta2 == 0.95);
    assert_true(s->eps == 1e-8 && s->decay == 0 && s->clip_norm == 0 && s->schedule == SCHEDULE_CONSTANT);
    assert_true(!s->train_path && !s->save_dir && !s->weights_path && !s->budget_bytes && !s->batch_auto);
    assert_int_equal(s->batch_low, 2);
    assert_int_equal(spec_dim(s, "E"), 4);
    assert_int_equal(l.graph->accumulate, 1);
    arena_free(l.arena);
}

static void settings_arrive(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const char *train = strstr(model_text, "train {");
    const char *text = arena_printf(
        arena,
        "%.*s"
        "train { steps 2*10  tokens_per_step 4*B*T  clip_norm 1  seed 7  schedule linear(warmup = 3, floor = "
        "0.1)\n"
        "  optimizer adamw(lr = 3e-4, betas = (0.8, 0.9), eps = 1e-6, decay = 0.1) }\n"
        "dtype { compute bf16  trained bf16  gradient f32  optimizer bf16  accumulate f32 }\n"
        "data { train \"a.bin\" u16  validate \"b.bin\" every 5 steps 2 batches }\n"
        "save { dir \"out\"  every 4 steps  keep 3 }\n"
        "weights \"w.safetensors\"\ndevice rtx4090 memory 30GiB\nbudget 21GiB\nmaximize tokens_per_second\n"
        "keep \"h.*.layer.attend\"\nrecompute \"*.dropout\"\n",
        (int)(train - model_text), model_text);
    Lowered l = lower_text(arena, "tiny.remat", text, strlen(text));
    check_graph(&l);
    const Spec *s = &l.spec;
    assert_true(s->steps == 20 && s->tokens_per_step == 64 && s->clip_norm == 1 && s->seed == 7);
    assert_true(s->schedule == SCHEDULE_LINEAR && s->warmup_steps == 3 && s->floor == 0.1);
    assert_true(s->learning_rate == 3e-4 && s->beta1 == 0.8 && s->beta2 == 0.9 && s->eps == 1e-6);
    assert_true(s->decay == 0.1 && s->compute == DT_BF16 && s->trained == DT_BF16);
    assert_true(s->gradient == DT_F32 && s->moment == DT_BF16);
    assert_string_equal(s->train_path, "a.bin");
    assert_string_equal(s->validate_path, "b.bin");
    assert_true(s->train_format == DATA_U16 && s->validate_every_steps == 5 && s->validate_batches == 2);
    assert_string_equal(s->save_dir, "out");
    assert_true(s->save_every_steps == 4 && s->save_keep == 3);
    assert_string_equal(s->weights_path, "w.safetensors");
    assert_string_equal(s->device, "rtx4090");
    assert_true(s->budget_bytes == INT64_C(21) << 30);
    assert_true(s->device_memory_bytes == INT64_C(30) << 30);
    assert_int_equal(s->pin.count, 2);
    assert_true(s->pin.at[0].kind == PIN_KEEP && s->pin.at[1].kind == PIN_RECOMPUTE);
    assert_int_equal(l.graph->accumulate, 4);
    arena_free(arena);
}

/* A memory that is pretended belongs to the device it was given to. */
static void pretended_memory_follows_the_device(void **state) {
    (void)state;
    Lowered l = lower_with("device h200 memory 1200GiB\n");
    check_graph(&l);
    assert_true(l.spec.device_memory_bytes == INT64_C(1200) << 30);
    assert_true(ast_override(l.ast, "device.memory=30GiB", l.diag));
    assert_true(lower_spec(l.ast, l.diag, l.arena, &l.spec));
    assert_true(l.spec.device_memory_bytes == INT64_C(30) << 30);
    assert_string_equal(l.spec.device, "h200");
    assert_true(ast_override_option(l.ast, "device", "b200", l.diag));
    assert_true(lower_spec(l.ast, l.diag, l.arena, &l.spec));
    assert_true(l.spec.device_memory_bytes == 0);
    assert_true(ast_override_option(l.ast, "device-memory", "2TiB", l.diag));
    assert_true(lower_spec(l.ast, l.diag, l.arena, &l.spec));
    assert_true(l.spec.device_memory_bytes == INT64_C(2) << 40);
    assert_string_equal(l.spec.device, "b200");
    assert_false(ast_override_option(l.ast, "device-memory", "2", l.diag));
    arena_free(l.arena);
    l = lower_with(""); /* no device: the host */
    assert_true(ast_override_option(l.ast, "device-memory", "2GiB", l.diag));
    assert_true(lower_spec(l.ast, l.diag, l.arena, &l.spec));
    assert_string_equal(l.spec.device, "host");
    assert_true(l.spec.device_memory_bytes == INT64_C(2) << 30);
    arena_free(l.arena);
}

static void overrides_are_lowered(void **state) {
    (void)state;
    Lowered l = lower_with("");
    check_graph(&l);
    assert_true(ast_override(l.ast, "T=4", l.diag) && ast_override(l.ast, "D=32", l.diag));
    assert_true(lower_spec(l.ast, l.diag, l.arena, &l.spec));
    Graph *g = lower_graph(l.ast, &l.spec, 0, 0, l.diag, l.arena);
    assert_non_null(g);
    assert_int_equal(g->context, 4);
    assert_int_equal(value_named(g, "wpe.weight")->type.dim[0], 8);
    assert_int_equal(value_named(g, "wpe.weight")->type.dim[1], 32);
    arena_free(l.arena);
}

/* ---- messages ---- */

static int is_case(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return !strncmp(entry->d_name, "lower_", 6) && length > 12 &&
           !strcmp(entry->d_name + length - 6, ".remat");
}

static void golden_messages(void **state) {
    (void)state;
    struct dirent **entry;
    bool seen[CODE_COUNT] = {false};
    int count = scandir(REMAT_CASES, &entry, is_case, alphasort), wrong = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        Lowered l = lower_file(REMAT_CASES, entry[i]->d_name);
        const char *got = messages(&l);
        char *path = arena_printf(l.arena, "%s/%.*s.err", REMAT_CASES, (int)strlen(entry[i]->d_name) - 6,
                                  entry[i]->d_name);
        size_t length;
        if (l.graph || !diag_errors(l.diag)) fail_msg("%s has no errors", entry[i]->d_name);
        if (getenv("REMAT_UPDATE")) assert_true(atomic_file_put(path, got, (int64_t)strlen(got)));
        const char *want = read_file(l.arena, path, &length);
        if (!want || strcmp(want, got)) {
            print_error("%s:\n%s", entry[i]->d_name, got);
            wrong++;
        }
        for (int code = 0; code < CODE_COUNT; code++)
            seen[code] |= strstr(got, arena_printf(l.arena, "[%s]", code_name[code])) != NULL;
        arena_free(l.arena);
        free(entry[i]);
    }
    free(entry);
    assert_int_equal(wrong, 0);
    for (int code = 0; code < CODE_COUNT; code++)
        if (code_name[code][2] >= '2' && code_name[code][2] <= '5' && !seen[code])
            fail_msg("no case shows %s", code_name[code]);
}

static void at_most_twenty_errors(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    text_add(&text, "language 1\ndims { B = 2  T = 8 }\nmodel m {\n");
    for (int i = 0; i < 60; i++) text_add(&text, "  a%d = gelu(nothing%d)\n", i, i);
    text_add(&text, "}\ntrain { steps 1  optimizer adamw(lr = 1) }\n");
    Lowered l = lower_text(arena, "many.remat", text.at, text.length);
    assert_null(l.graph);
    int printed = 0;
    for (const char *at = messages(&l); (at = strstr(at, "error: ")); at++) printed++;
    assert_true(printed >= 20 && printed <= 21);
    arena_free(arena);
}

/* ---- hostile files ---- */

static void large_models_are_refused(void **state) {
    (void)state;
    static const char head[] = "language 1\ndims { D = 16  V = 64  B = 2  T = 8 }\n",
                      train[] = "train { steps 1  optimizer adamw(lr = 1) }\n";
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    text_add(&text, "%s", head);
    for (int i = 0; i < 60; i++)
        text_add(&text, "block b%d(x: [B, T, D]) -> [B, T, D] { return b%d(b%d(x)) }\n", i, i + 1, i + 1);
    text_add(&text,
             "block b60(x: [B, T, D]) -> [B, T, D] { return x }\nmodel m { loss = b0(embed(data.tokens, [V, "
             "D], \"w\")) }\n%s",
             train);
    Lowered l = lower_text(arena, "double.remat", text.at, text.length);
    assert_null(l.graph);
    assert_non_null(strstr(messages(&l), "E0320"));

    text = (Text){.arena = arena};
    text_add(&text, "%s", head);
    for (int i = 0; i < 3000; i++)
        text_add(&text, "block b%d(x: [B, T, D]) -> [B, T, D] { return b%d(x) }\n", i, i + 1);
    text_add(&text,
             "block b3000(x: [B, T, D]) -> [B, T, D] { return x }\nmodel m { loss = b0(embed(data.tokens, "
             "[V, D], \"w\")) }\n%s",
             train);
    l = lower_text(arena, "deep.remat", text.at, text.length);
    assert_null(l.graph);
    assert_non_null(strstr(messages(&l), "E0320"));

    text = (Text){.arena = arena};
    text_add(&text, "language 1\ndims {\n");
    for (int i = 0; i < 4000; i++) text_add(&text, "  A%d = A%d\n", i, i + 1);
    text_add(&text, "  A4000 = 1  B = 1  T = A0\n}\n%s", train);
    l = lower_text(arena, "chain.remat", text.at, text.length);
    assert_null(l.graph);
    assert_non_null(strstr(messages(&l), "E0320"));
    arena_free(arena);
}

/* Swaps, drops, repeats and replaces words of a working file; whatever comes out is a sound graph or errors.
 */
static void mutated_files_are_answered(void **state) {
    (void)state;
    static const char *const words[] = {
        "D",   "E", "3", "0",     "x",    "h",  "(",  ")",      "[",          "]",
        ",",   "+", "*", "/",     "-",    "=",  "as", "linear", "data.mask",  "split",
        "1.5", "{", "}", "\"w\"", "bias", "..", "B",  "return", "99999999999"};
    const char *wanted = getenv("REMAT_FUZZ_ROUNDS");
    int rounds = wanted ? atoi(wanted) : 3000, fine = 0, refused = 0;
    uint64_t seed = 1;
    Arena *arena = arena_new();
    for (int round = 0; round < rounds; round++) {
        arena_reset(arena);
        Text text = {.arena = arena};
        size_t length = strlen(model_text);
        int changes = 1 + (int)(random_next(&seed) % 3);
        size_t at[3];
        for (int i = 0; i < 3; i++)
            at[i] = i < changes ? 11 + random_next(&seed) % (length - 11) : length + 1;
        for (size_t i = 0; i < length;) {
            size_t end = i + 1;
            bool word =
                strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.", model_text[i]);
            while (word && end < length && model_text[end] > ' ' &&
                   !strchr("()[],=+-*/\"{}", model_text[end]))
                end++;
            bool change = false;
            for (int k = 0; k < 3; k++) change |= at[k] >= i && at[k] < end;
            uint64_t how = random_next(&seed) % 4;
            if (!change || how == 0) text_add_n(&text, model_text + i, end - i);
            if (change && how < 3) text_add(&text, " %s ", words[random_next(&seed) % COUNT_OF(words)]);
            i = end;
        }
        Lowered l = lower_text(arena, "mutated.remat", text.at, text.length);
        if (l.graph) {
            const char *broken = graph_check(l.graph, arena);
            if (broken) fail_msg("%s\n%s", broken, text.at);
            fine++;
        } else {
            if (!diag_errors(l.diag)) fail_msg("no graph and no message:\n%s", text.at);
            messages(&l);
            refused++;
        }
    }
    arena_free(arena);
    assert_true(refused > rounds / 4 && fine > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_have_the_known_sizes),
        cmocka_unit_test(every_example_is_tested),
        cmocka_unit_test(batch_and_context_can_be_replaced),
        cmocka_unit_test(automatic_batch),
        cmocka_unit_test(names_are_unique_and_as_in_the_checkpoint),
        cmocka_unit_test(weights_are_cast_to_the_compute_type),
        cmocka_unit_test(attributes_arrive),
        cmocka_unit_test(linear_rope_arrives),
        cmocka_unit_test(weights_start_by_convention),
        cmocka_unit_test(tied_weights_are_one),
        cmocka_unit_test(settings_default),
        cmocka_unit_test(settings_arrive),
        cmocka_unit_test(pretended_memory_follows_the_device),
        cmocka_unit_test(overrides_are_lowered),
        cmocka_unit_test(golden_messages),
        cmocka_unit_test(at_most_twenty_errors),
        cmocka_unit_test(large_models_are_refused),
        cmocka_unit_test(mutated_files_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
