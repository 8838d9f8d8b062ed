/* Published configurations: the specs they become (tests/cases/import, `REMAT_UPDATE=1 test_import` rewrites
 * them), how many parameters those have, what is refused and warned of. */
#include "tests/support/published_models.h"

#include "frontend/language/ast.h"
#include "frontend/lower/lower.h"
#include "ir/check.h"
#include "runtime/atomic_file.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool import_json(json_t *root, Arena *arena, Import *out) {
    char *text = json_dumps(root, JSON_INDENT(2));
    assert_non_null(text);
    size_t length = strlen(text);
    char *copy = arena_strndup(arena, text, length);
    free(text);
    return import_config(copy, length, "Some-1B", "models/Some-1B", arena, out);
}

/* The spec of a configuration in which some keys have other values: `edits` is an object of JSON, null
 * removes. */
static bool import_edited(const char *name, const char *edits, Arena *arena, Import *out) {
    json_t *root = published_config_of(name), *changes = json_loads(edits, JSON_REJECT_DUPLICATES, NULL),
           *value;
    const char *key;
    if (!changes) fail_msg("no JSON: %s", edits);
    json_object_foreach(changes, key, value) {
        if (json_is_null(value))
            json_object_del(root, key);
        else
            json_object_set(root, key, value);
    }
    bool fine = import_json(root, arena, out);
    json_decref(changes);
    json_decref(root);
    return fine;
}

typedef struct Lowered {
    Diag *diag;
    Ast *ast;
    Spec spec;
    Graph *graph;
} Lowered;

static Lowered lower(const Import *made, Arena *arena) {
    Lowered l = {.diag = diag_new(arena, "imported", made->text, made->length)};
    l.ast = ast_parse(arena, "imported", made->text, made->length, l.diag);
    assert_non_null(l.ast);
    lower_spec(l.ast, l.diag, arena, &l.spec);
    l.graph = lower_graph(l.ast, &l.spec, 0, 0, l.diag, arena);
    return l;
}

static void show(const Lowered *l, Arena *arena) {
    Text text = {.arena = arena};
    diag_print(l->diag, &text, false);
    fail_msg("%s", text.at);
}

/* ---- golden files ---- */

static void specs_are_as_expected(void **state) {
    (void)state;
    Arena *arena = arena_new();
    for (size_t i = 0; i < PUBLISHED_MODELS; i++) {
        const char *name = published_model[i].name;
        const char *path = arena_printf(arena, "%s/%s.remat", REMAT_IMPORT_CASES, name);
        size_t length;
        char *json =
            read_file(arena, arena_printf(arena, "%s/%s/config.json", REMAT_IMPORT_CASES, name), &length);
        assert_non_null(json);
        Import made;
        if (!import_config(json, length, name, name, arena, &made)) fail_msg("%s: %s", name, made.error);
        published_is_canonical(&made, arena);
        if (getenv("REMAT_UPDATE")) atomic_file_put(path, made.text, (int64_t)made.length);
        char *want = read_file(arena, path, &length);
        if (!want) fail_msg("no %s", path);
        assert_string_equal(made.text, want);
        /* GPT-2's dropout inside attention is all that is left out of them */
        bool gpt2 = !strncmp(name, "gpt2", 4);
        assert_int_equal(made.warning.count, gpt2);
        if (gpt2) assert_non_null(strstr(made.warning.at[0], "attn_pdrop = 0.1"));
    }
    arena_free(arena);
}

static void parameters_are_as_published(void **state) {
    (void)state;
    for (size_t i = 0; i < PUBLISHED_MODELS; i++) {
        Arena *arena = arena_new();
        Import made;
        assert_true(import_edited(published_model[i].name, "{}", arena, &made));
        Lowered l = lower(&made, arena);
        if (!l.graph || diag_errors(l.diag)) show(&l, arena);
        assert_null(graph_check(l.graph, arena));
        if (graph_parameters(l.graph) != published_model[i].parameters)
            fail_msg("%s: %lld parameters, not %lld", published_model[i].name,
                     (long long)graph_parameters(l.graph), (long long)published_model[i].parameters);
        arena_free(arena);
    }
}

static void must_have(const Graph *g, const char *const *names, size_t count) {
    for (size_t n = 0; n < count; n++) {
        bool any = false;
        for (uint32_t p = 0; p < g->param.count && !any; p++)
            any = !strcmp(g->value.at[g->param.at[p].value].name, names[n]);
        if (!any) fail_msg("no parameter %s", names[n]);
    }
}

static void tensors_are_called_as_published(void **state) {
    (void)state;
    static const char *const qwen3[] = {"model.embed_tokens.weight",
                                        "model.layers.0.input_layernorm.weight",
                                        "model.layers.0.self_attn.q_proj.weight",
                                        "model.layers.0.self_attn.k_proj.weight",
                                        "model.layers.0.self_attn.v_proj.weight",
                                        "model.layers.0.self_attn.q_norm.weight",
                                        "model.layers.0.self_attn.k_norm.weight",
                                        "model.layers.0.self_attn.o_proj.weight",
                                        "model.layers.0.post_attention_layernorm.weight",
                                        "model.layers.0.mlp.gate_proj.weight",
                                        "model.layers.0.mlp.up_proj.weight",
                                        "model.layers.0.mlp.down_proj.weight",
                                        "model.norm.weight",
                                        "lm_head.weight"};
    static const char *const qwen2[] = {"model.layers.0.self_attn.q_proj.bias",
                                        "model.layers.0.self_attn.k_proj.bias",
                                        "model.layers.0.self_attn.v_proj.bias"};
    static const char *const llama[] = {
        "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.k_proj.bias",
        "model.layers.0.self_attn.v_proj.bias", "model.layers.0.self_attn.o_proj.bias",
        "model.layers.0.mlp.gate_proj.bias",    "model.layers.0.mlp.up_proj.bias",
        "model.layers.0.mlp.down_proj.bias"};
    static const char *const phi3[] = {
        "model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.mlp.gate_up_proj.weight", "model.layers.0.mlp.down_proj.weight"};
    static const char *const gpt2[] = {"wte.weight",
                                       "wpe.weight",
                                       "h.0.ln_1.weight",
                                       "h.0.ln_1.bias",
                                       "h.0.attn.c_attn.weight",
                                       "h.0.attn.c_attn.bias",
                                       "h.0.attn.c_proj.weight",
                                       "h.0.attn.c_proj.bias",
                                       "h.0.ln_2.weight",
                                       "h.0.ln_2.bias",
                                       "h.0.mlp.c_fc.weight",
                                       "h.0.mlp.c_fc.bias",
                                       "h.0.mlp.c_proj.weight",
                                       "h.0.mlp.c_proj.bias",
                                       "ln_f.weight",
                                       "ln_f.bias"};
    static const struct {
        const char *model, *edits;
        const char *const *name;
        size_t names;
        uint32_t others; /* parameters of one layer and the rest that are not listed */
    } cases[] = {
        {"Qwen3-8B", "{\"num_hidden_layers\": 1}", qwen3, COUNT_OF(qwen3), 0},
        {"Qwen2.5-7B", "{\"num_hidden_layers\": 1}", qwen2, COUNT_OF(qwen2), 12},
        {"Llama-3.2-1B", "{\"num_hidden_layers\": 1, \"attention_bias\": true, \"mlp_bias\": true}", llama,
         COUNT_OF(llama), 11},
        {"Mistral-Nemo-12B", "{\"num_hidden_layers\": 1}", qwen3 + 7, COUNT_OF(qwen3) - 7, 5},
        {"Phi-4", "{\"num_hidden_layers\": 1}", phi3, COUNT_OF(phi3), 5},
        {"gpt2", "{\"n_layer\": 1}", gpt2, COUNT_OF(gpt2), 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *arena = arena_new();
        Import made;
        assert_true(import_edited(cases[i].model, cases[i].edits, arena, &made));
        Lowered l = lower(&made, arena);
        if (!l.graph || diag_errors(l.diag)) show(&l, arena);
        must_have(l.graph, cases[i].name, cases[i].names);
        assert_int_equal(l.graph->param.count, cases[i].names + cases[i].others);
        arena_free(arena);
    }
}

/* ---- several ways to say one thing ---- */

static void older_and_newer_keys_say_the_same(void **state) {
    (void)state;
    static const char llama3[] = "\"factor\": 32, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                                 "\"original_max_position_embeddings\": 8192";
    static const char *const same[][2] = {
        {"Llama-3.2-1B",
         "{\"rope_theta\": null, \"rope_scaling\": null, \"rope_parameters\": {\"rope_theta\": "
         "500000, \"rope_type\": \"llama3\", %s}}"},
        {"Llama-3.2-1B", "{\"rope_scaling\": {\"type\": \"llama3\", %s}}"},
        {"Llama-3.2-1B", "{\"head_dim\": null, \"torch_dtype\": null, \"dtype\": \"bfloat16\"}"},
        {"Llama-3.2-1B", "{\"architectures\": null}"},
        {"Llama-3.2-1B", "{\"model_type\": null, \"hidden_act\": \"swish\", \"mlp_bias\": null}"},
        {"SmolLM2-1.7B", "{\"num_key_value_heads\": null, \"rope_scaling\": {\"rope_type\": \"default\"}}"},
        {"Qwen2.5-7B", "{\"use_sliding_window\": true}"}, /* max_window_layers is the number of layers */
        {"Qwen3-0.6B", "{\"head_dim\": null, \"rope_theta\": 1e6}"},
        {"gpt2", "{\"n_embd\": null, \"hidden_size\": 768, \"n_head\": null, \"num_attention_heads\": 12, "
                 "\"n_layer\": null, \"num_hidden_layers\": 12, \"attn_pdrop\": null, \"embd_pdrop\": null, "
                 "\"resid_pdrop\": null, \"tie_word_embeddings\": true}"},
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        Arena *arena = arena_new();
        Import one, other;
        char *edits = arena_strdup(arena, same[i][1]), *at = strstr(edits, "%s");
        if (at) edits = arena_printf(arena, "%.*s%s%s", (int)(at - edits), edits, llama3, at + 2);
        assert_true(import_edited(same[i][0], "{}", arena, &one));
        if (!import_edited(same[i][0], edits, arena, &other)) fail_msg("%s: %s", edits, other.error);
        assert_string_equal(one.text, other.text);
        arena_free(arena);
    }
}

/* What bitsandbytes says of weights that it stored. */
#define NF4(more)                                                                                            \
    "{\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true, "                \
    "\"bnb_4bit_quant_type\": \"nf4\", " more "}}"

static void what_is_said_arrives(void **state) {
    (void)state;
    static const struct {
        const char *model, *edits, *says;
    } cases[] = {
        {"Llama-2-7b", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}}",
         "theta = 1e4, scaling = linear(2))"},
        {"Llama-3.1-8B", "{\"max_position_embeddings\": 512}", "  T = 512 "},
        {"Llama-3.1-8B", "{\"max_position_embeddings\": 512}", "tokens_per_step 8192"},
        {"Llama-3.1-8B", "{\"head_dim\": 64}", "  E = 64 "},
        {"Llama-3.1-8B", "{\"tie_word_embeddings\": true}", "tie \"lm_head\" = \"model.embed_tokens\""},
        {"Llama-3.1-8B", "{\"attention_bias\": true}", "\"self_attn.o_proj\", bias)"},
        {"Llama-3.1-8B", "{\"mlp_bias\": true}", "\"mlp.down_proj\", bias)"},
        {"Llama-3.1-8B", "{\"hidden_act\": \"gelu_pytorch_tanh\"}", "gelu(g) * u"},
        {"Llama-3.1-8B", "{\"torch_dtype\": \"float32\"}", "trained f32"},
        {"Llama-3.1-8B", "{\"rms_norm_eps\": null}", "eps = 1e-6"},
        {"Qwen3-4B", "{\"attention_bias\": true}", "\"self_attn.q_proj\", bias) as"},
        {"Llama-3.1-8B", NF4("\"llm_int8_threshold\": 6.0, \"load_in_8bit\": false"), "  frozen nf4  #"},
        {"Llama-3.1-8B", NF4("\"bnb_4bit_use_double_quant\": true"), "frozen nf4(double_quant)"},
        {"Llama-3.1-8B", NF4("\"llm_int8_skip_modules\": [\"lm_head\"]"), "adapt lora(rank = 16"},
        {"Qwen3-4B", NF4("\"bnb_4bit_compute_dtype\": \"float32\""), "  compute bf16 "},
        {"Mistral-Nemo-12B", "{\"rms_norm_eps\": null, \"head_dim\": null}", "E = D / H "},
        {"Phi-4", "{\"rms_norm_eps\": null, \"num_key_value_heads\": null}", "[H*E, H*E, H*E])"},
        {"Phi-4", "{\"resid_pdrop\": 0.1}", "dropout(linear(o, [D, H*E], \"self_attn.o_proj\"), 0.1)"},
        {"Phi-4", "{\"attention_bias\": true}", "\"self_attn.o_proj\")\n"},
        {"gpt2", "{\"n_inner\": 1000}", "  F = 1000 "},
        {"gpt2", "{\"resid_pdrop\": 0.25}", "dropout(linear(h, [D, 4*D], \"mlp.c_proj\", bias), 0.25)"},
        {"gpt2", "{\"resid_pdrop\": 0}", "return x + linear(h, [D, 4*D], \"mlp.c_proj\", bias)"},
        {"gpt2", "{\"layer_norm_epsilon\": 1e-12}", "eps = 1e-12"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *arena = arena_new();
        Import made;
        if (!import_edited(cases[i].model, cases[i].edits, arena, &made))
            fail_msg("%s: %s", cases[i].edits, made.error);
        if (!strstr(made.text, cases[i].says)) fail_msg("no '%s' in:\n%s", cases[i].says, made.text);
        published_is_canonical(&made, arena);
        Lowered l = lower(&made, arena);
        if (!l.graph || diag_errors(l.diag)) show(&l, arena);
        arena_free(arena);
    }
}

/* Numbers arrive bit for bit, however they are written. */
static void numbers_arrive(void **state) {
    (void)state;
    uint64_t random = 20250731;
    for (int i = 0; i < 300; i++) {
        Arena *arena = arena_new();
        Import made;
        double theta = exp(log(1e12) * random_unit(&random));
        double eps = exp(log(1e-19) * random_unit(&random));
        if (i % 3 == 0) theta = floor(theta);
        if (i % 5 == 0) theta = pow(10, i % 12);
        if (!import_edited("Qwen3-0.6B",
                           arena_printf(arena,
                                        "{\"rope_theta\": %.17g, \"rms_norm_eps\": %.17g, "
                                        "\"num_hidden_layers\": 1}",
                                        theta, eps),
                           arena, &made))
            fail_msg("%s", made.error);
        Lowered l = lower(&made, arena);
        if (!l.graph || diag_errors(l.diag)) show(&l, arena);
        for (uint32_t n = 0; n < l.graph->node.count; n++) {
            const Node *node = &l.graph->node.at[n];
            if (node->op == OP_ROPE) assert_true(node->attr.theta == theta);
            if (node->op == OP_RMSNORM) assert_true(node->attr.eps == eps);
        }
        arena_free(arena);
    }
}

/* ---- what is refused ---- */

static void refused(const char *model, const char *edits, const char *says) {
    Arena *arena = arena_new();
    Import made;
    if (import_edited(model, edits, arena, &made)) fail_msg("%s with %s is imported", model, edits);
    if (!strstr(made.error, says) && !(made.help && strstr(made.help, says)))
        fail_msg("%s: no '%s' in: %s (%s)", edits, says, made.error, made.help ? made.help : "");
    assert_null(made.text);
    arena_free(arena);
}

static void what_is_not_there_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *model, *edits, *says;
    } cases[] = {
        {"Llama-3.1-8B", "{\"model_type\": \"lama\"}", "did you mean 'llama'?"},
        {"Llama-3.1-8B", "{\"model_type\": \"lama\"}", "qwen3 (Qwen3)"},
        {"Llama-3.1-8B", "{\"model_type\": \"zzzzzzzz\"}", "unknown model_type 'zzzzzzzz'"},
        {"Llama-3.1-8B", "{\"model_type\": null, \"architectures\": null}", "this is no model's config.json"},
        {"Llama-3.1-8B", "{\"architectures\": [\"LlamaForSequenceClassification\"]}", "LlamaForCausalLM"},
        {"Llama-3.1-8B", "{\"architectures\": [\"Qwen3ForCausalLM\"]}", "it is LlamaForCausalLM"},
        {"Llama-3.1-8B", "{\"model_type\": null, \"architectures\": [\"LlamaForCasualLM\"]}",
         "did you mean 'LlamaForCausalLM'?"},
        {"Llama-3.1-8B", "{\"architectures\": []}", "a list of names"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}}",
         "rope of the type 'yarn' is not there yet"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}}", "'dynamic'"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_type\": \"longrope\"}}", "'longrope'"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_type\": \"lama3\"}}", "did you mean 'llama3'?"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_type\": \"linear\"}}",
         "'rope_scaling.factor' is missing"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0.5}}", "out of range"},
        {"Llama-3.1-8B",
         "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4}}",
         "is not above"},
        {"Llama-3.1-8B", "{\"rope_scaling\": null, \"rope_parameters\": {\"full_attention\": {}}}",
         "layers that are rotated differently"},
        {"Llama-3.1-8B", "{\"rope_parameters\": {\"rope_type\": \"default\"}}", "are both there and differ"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"rope_theta\": 3}}", "but rope_theta = 500000"},
        {"Llama-3.1-8B", "{\"rope_scaling\": {\"partial_rotary_factor\": 0.5}}", "a part of each head"},
        {"Llama-3.1-8B", "{\"rope_scaling\": 3}", "an object is wanted, not 3"},
        {"Llama-3.1-8B", "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}",
         "quantised by 'gptq'"},
        {"Llama-3.1-8B", "{\"quantization_config\": {\"load_in_4bit\": true}}",
         "'quantization_config.quant_method' is missing"},
        {"Llama-3.1-8B", "{\"quantization_config\": \"nf4\"}", "an object is wanted"},
        {"Llama-3.1-8B",
         "{\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true}}",
         "stored in 8 bits"},
        {"Llama-3.1-8B",
         "{\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}}",
         "stored in fp4"},
        {"Llama-3.1-8B", NF4("\"bnb_4bit_quant_storage\": \"bfloat16\""), "stored as bfloat16"},
        {"Llama-3.1-8B", NF4("\"llm_int8_skip_modules\": [\"lm_head\", \"model.layers.0.mlp\"]"),
         "other modules than lm_head"},
        {"gpt2", NF4("\"load_in_8bit\": false"), "GPT-2 stored in 4 bits"},
        {"Llama-3.1-8B", "{\"sliding_window\": 4096}", "attention in a sliding window"},
        {"Llama-3.1-8B", "{\"num_key_value_heads\": 5}", "does not divide"},
        {"Llama-3.1-8B", "{\"num_attention_heads\": 24}", "does not divide into"},
        {"Llama-3.1-8B", "{\"hidden_size\": null}", "'hidden_size' is missing"},
        {"Llama-3.1-8B", "{\"hidden_size\": 4096.0}", "a whole number is wanted, not 4096.0"},
        {"Llama-3.1-8B", "{\"hidden_size\": 0}", "out of range"},
        {"Llama-3.1-8B", "{\"vocab_size\": 9223372036854775807}", "out of range"},
        {"Llama-3.1-8B", "{\"tie_word_embeddings\": 1}", "true or false is wanted"},
        {"Llama-3.1-8B", "{\"hidden_act\": \"relu\"}", "the activation 'relu'"},
        {"Llama-3.1-8B", "{\"hidden_act\": 7}", "a word in quotes is wanted"},
        {"Llama-3.1-8B", "{\"torch_dtype\": \"float8_e4m3fn\"}", "weights in float8_e4m3fn"},
        {"Llama-3.1-8B", "{\"layer_types\": [\"full_attention\"]}", "a list of 32 names"},
        {"Qwen2.5-7B", "{\"use_sliding_window\": true, \"max_window_layers\": 21}",
         "sliding_window = 131072"},
        {"Qwen2.5-7B", "{\"use_sliding_window\": true, \"max_window_layers\": 21, \"sliding_window\": null}",
         "sliding_window = 4096"},
        {"Qwen2.5-7B", "{\"num_key_value_heads\": null}", "'num_key_value_heads' is missing"},
        {"gpt2", "{\"activation_function\": \"gelu\"}", "the activation 'gelu'"},
        {"gpt2", "{\"n_head\": 11}", "does not divide into n_head = 11"},
        {"gpt2", "{\"n_embd\": null}", "'n_embd' is missing"},
        {"gpt2", "{\"resid_pdrop\": 1}", "out of range"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) refused(cases[i].model, cases[i].edits, cases[i].says);
}

static void every_row_of_the_tables_holds(void **state) {
    (void)state;
    static const char *const type[][2] = {
#define MISSING(name, what) {name, what},
#include "frontend/import/missing.def"
#undef MISSING
    };
    static const char *const only[][3] = {
#define ONLY(key, value, what) {key, #value, what},
#define SAFE(key)
#include "frontend/import/keys.def"
#undef ONLY
#undef SAFE
    };
    static const char *const safe[] = {
#define ONLY(key, value, what)
#define SAFE(key) key,
#include "frontend/import/keys.def"
#undef ONLY
#undef SAFE
    };
    static const char *const family[] = {
#define FAMILY(name, architecture, known, body, traits) name,
#include "frontend/import/families.def"
#undef FAMILY
    };
    Arena *arena = arena_new();
    for (size_t i = 0; i < COUNT_OF(type); i++) {
        for (size_t k = 0; k < COUNT_OF(family); k++) assert_string_not_equal(type[i][0], family[k]);
        refused("Llama-3.1-8B", arena_printf(arena, "{\"model_type\": \"%s\"}", type[i][0]), type[i][1]);
    }
    for (size_t i = 0; i < COUNT_OF(only); i++) {
        bool flag = !strcmp(only[i][1], "FALSE"), not = !strcmp(only[i][1], "TRUE");
        const char *bad = flag ? "true" : not ? "false" : "7";
        refused("Llama-3.1-8B", arena_printf(arena, "{\"%s\": %s}", only[i][0], bad), only[i][2]);
    }
    for (size_t i = 0; i < COUNT_OF(safe); i++) {
        Import made;
        assert_true(import_edited("Llama-3.1-8B", arena_printf(arena, "{\"%s\": \"anything\"}", safe[i]),
                                  arena, &made));
        assert_int_equal(made.warning.count, 0);
    }
    arena_free(arena);
}

static void unknown_keys_are_named(void **state) {
    (void)state;
    static const struct {
        const char *edits, *says;
    } cases[] = {
        {"{\"new_trick\": 3}", "nothing is known of the key 'new_trick' (3)"},
        {"{\"attention_dropout\": 0.1}", "attention_dropout = 0.1 is left out"},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2, \"beta_fast\": 32}}",
         "'rope_scaling.beta_fast' has no meaning"},
        {NF4("\"new_trick\": 3"), "nothing is known of the key 'quantization_config.new_trick' (3)"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *arena = arena_new();
        Import made;
        assert_true(import_edited("Llama-3.1-8B", cases[i].edits, arena, &made));
        assert_int_equal(made.warning.count, 1);
        if (!strstr(made.warning.at[0], cases[i].says)) fail_msg("%s", made.warning.at[0]);
        arena_free(arena);
    }
}

static void errors_have_their_place(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
        uint32_t line, column;
    } cases[] = {
        {"{\n  \"model_type\": \"lama\"\n}", "lama", 2, 3},
        {"{\"a\": \"\\\"model_type\", \"\xc3\xa9\": [{\"model_type\": 1}], \"model_type\": 7}", "not 7", 1,
         49},
        {"{\"model_type\": \"llama\",\n\"b\": {\"rope_type\": 1},\n\"vocab_size\": 9, \"hidden_size\": 8, "
         "\"intermediate_size\": 8,\n\"num_hidden_layers\": 1, \"num_attention_heads\": 2,\n"
         "\"rope_scaling\": {\"factor\": 2,\n    \"rope_type\": \"yarn\"}}",
         "yarn", 6, 5},
        {"{\"model_type\": \"llama\"}", "'vocab_size' is missing", 0, 0},
        {"[]", "not an object", 0, 0},
        {"{\n\n  nonsense}", "not JSON", 3, 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *arena = arena_new();
        Import made;
        assert_false(import_config(cases[i].json, strlen(cases[i].json), "m", NULL, arena, &made));
        if (!strstr(made.error, cases[i].says)) fail_msg("%s", made.error);
        if (made.line != cases[i].line || made.column != cases[i].column)
            fail_msg("%s: at %u:%u", made.error, made.line, made.column);
        arena_free(arena);
    }
}

/* Which the library that reads JSON passes over behind a number. */
static void a_nul_is_no_json(void **state) {
    (void)state;
    static const char json[] = "{\"model_type\": \"gpt2\", \"n_layer\": 2\0}";
    Arena *arena = arena_new();
    Import made;
    assert_false(import_config(json, sizeof json - 1, "m", NULL, arena, &made));
    assert_non_null(strstr(made.error, "a NUL byte"));
    arena_free(arena);
}

static void names_of_every_sort(void **state) {
    (void)state;
    static const struct {
        const char *name, *model;
    } cases[] = {
        {"Llama-3.2-1B", "model llama_3_2_1b {"},
        {"7B", "model model_7b {"},
        {"", "model llama {"},
        {"..", "model llama {"},
        {"\xe6\xa8\xa1\xe5\x9e\x8b", "model llama {"},
        {"a\nbudget 1GiB", "model a_budget_1gib {"},
        {"--x--", "model x {"},
    };
    Arena *arena = arena_new();
    json_t *root = published_config_of("Llama-3.2-1B");
    char *json = json_dumps(root, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Import made;
        assert_true(import_config(json, strlen(json), cases[i].name, cases[i].name, arena, &made) ||
                    strchr(cases[i].name, '\n'));
        assert_true(import_config(json, strlen(json), cases[i].name, NULL, arena, &made));
        if (!strstr(made.text, cases[i].model)) fail_msg("no '%s' in:\n%s", cases[i].model, made.text);
        assert_null(strstr(made.text, "weights "));
        assert_null(strstr(made.text, "\nbudget"));
    }
    /* a path that text cannot hold is an error and no other item */
    Import made;
    assert_false(import_config(json, strlen(json), "m", "a\"\nbudget 1GiB\n\"", arena, &made));
    assert_non_null(strstr(made.error, "a spec cannot hold it"));
    assert_false(import_config(json, strlen(json), "m", "caf\xe9", arena, &made));
    assert_true(import_config(json, strlen(json), "m", "a \"quoted\\ # path", arena, &made));
    Lowered l = lower(&made, arena);
    assert_string_equal(l.spec.weights_path, "a \"quoted\\ # path");
    free(json);
    json_decref(root);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_are_as_expected),
        cmocka_unit_test(parameters_are_as_published),
        cmocka_unit_test(tensors_are_called_as_published),
        cmocka_unit_test(older_and_newer_keys_say_the_same),
        cmocka_unit_test(what_is_said_arrives),
        cmocka_unit_test(numbers_arrive),
        cmocka_unit_test(what_is_not_there_is_refused_by_name),
        cmocka_unit_test(every_row_of_the_tables_holds),
        cmocka_unit_test(unknown_keys_are_named),
        cmocka_unit_test(errors_have_their_place),
        cmocka_unit_test(a_nul_is_no_json),
        cmocka_unit_test(names_of_every_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
