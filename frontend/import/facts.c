/* From the keys of a configuration to what they say. In: JSON. Out: Facts. Defaults of keys that are absent
 * are those of transformers 5.24. */
#include "frontend/import/facts.h"

#include "frontend/language/diag.h"

#include <string.h>

const Family family[] = {
#define FAMILY(type, architecture, models, body, traits) {type, architecture, models, BODY_##body, traits},
#include "frontend/import/families.def"
#undef FAMILY
};
enum { FAMILIES = COUNT_OF(family) };
const uint32_t family_count = FAMILIES;

typedef struct MissingRow {
    const char *type, *what;
} MissingRow;
static const MissingRow missing[] = {
#define MISSING(type, what) {type, what},
#include "frontend/import/missing.def"
#undef MISSING
};

typedef enum Wanted { WANT_ANY, WANT_FALSE, WANT_TRUE, WANT_ZERO, WANT_ONE, WANT_ABSENT } Wanted;
typedef struct KeyRow {
    const char *key;
    Wanted wanted;
    const char *what;
} KeyRow;
static const KeyRow known_key[] = {
#define ONLY(key, value, what) {key, WANT_##value, what},
#define SAFE(key)              {key, WANT_ANY, NULL},
#include "frontend/import/keys.def"
#undef ONLY
#undef SAFE
};

enum { MOST = INT32_MAX }; /* of any size in a configuration */

/* ---- which family ---- */

static const char *list_of_families(Arena *arena) {
    Text text = {.arena = arena};
    for (uint32_t i = 0; i < family_count; i++)
        text_add(&text, "%s%s (%s)", i ? ", " : "", family[i].type, family[i].models);
    return text.at;
}

static const Family *family_of_type(Config *c, const char *type) {
    const char *names[FAMILIES + COUNT_OF(missing)];
    for (uint32_t i = 0; i < family_count; i++) {
        names[i] = family[i].type;
        if (!strcmp(type, names[i])) return &family[i];
    }
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        names[family_count + i] = missing[i].type;
        if (strcmp(type, missing[i].type)) continue;
        config_wrong(c, "model_type", "models of the type '%s' cannot be trained yet: they need %s", type,
                     missing[i].what);
        config_help(c, "known: %s", list_of_families(c->arena));
        return NULL;
    }
    const char *near = diag_nearest(type, names, COUNT_OF(names));
    config_wrong(c, "model_type", "unknown model_type '%s'%s%s%s", type, near ? "; did you mean '" : "",
                 near ? near : "", near ? "'?" : "");
    config_help(c, "known: %s", list_of_families(c->arena));
    return NULL;
}

/* `architectures` names the class with the head that is trained: another class has another head. */
static const Family *family_read(Config *c) {
    const char *type = NULL;
    const json_t *classes = config_value(c, "architectures");
    if (!config_word(c, "model_type", &type)) return NULL;
    const Family *found = type ? family_of_type(c, type) : NULL;
    if (type && !found) return NULL;
    if (classes && (!json_is_array(classes) || !json_is_string(json_array_get(classes, 0)))) {
        config_wrong(c, "architectures", "architectures: a list of names is wanted, not %s",
                     config_shown(c, classes));
        return NULL;
    }
    if (!classes && found) return found;
    if (!classes) {
        config_wrong(c, NULL,
                     "there is neither `model_type` nor `architectures`: this is no model's "
                     "config.json");
        return NULL;
    }
    const char *class = json_string_value(json_array_get(classes, 0)), *names[FAMILIES];
    for (uint32_t i = 0; i < family_count; i++) {
        names[i] = family[i].architecture;
        if (!strcmp(class, names[i]) && (!found || found == &family[i])) return &family[i];
    }
    const char *near = found ? found->architecture : diag_nearest(class, names, FAMILIES);
    config_wrong(c, "architectures", "the architecture %s cannot be trained",
                 config_shown(c, json_array_get(classes, 0)));
    if (found)
        config_help(c, "of the type '%s' it is %s, which predicts the next token", type, near);
    else
        config_help(c, near ? "did you mean '%s'?" : "known: %s", near ? near : list_of_families(c->arena));
    return NULL;
}

/* ---- other keys ---- */

static bool is_wanted(const json_t *value, Wanted wanted) {
    bool number = json_is_number(value), list = json_is_object(value) || json_is_array(value);
    switch (wanted) {
    case WANT_ANY: return true;
    case WANT_FALSE: return json_is_false(value);
    case WANT_TRUE: return json_is_true(value);
    case WANT_ZERO: return number && json_number_value(value) == 0;
    case WANT_ONE: return number && json_number_value(value) == 1;
    case WANT_ABSENT: return list && !json_object_size(value) && !json_array_size(value);
    }
    die("no such wish");
}

/* Refuses what changes the model. Comes before the rest is read: it may be why something is not there. */
static bool refuse_keys(Config *c) {
    for (size_t i = 0; i < COUNT_OF(known_key); i++) {
        const KeyRow *row = &known_key[i];
        const json_t *value = config_value(c, row->key);
        if (!value || is_wanted(value, row->wanted)) continue;
        return config_wrong(c, row->key, "%s = %s: %s is not there yet", row->key, config_shown(c, value),
                            row->what);
    }
    return true;
}

static void warn_unknown(Config *c) {
    const char *key;
    json_t *value;
    json_object_foreach(c->object, key, value) {
        if (map_get(c->asked, key) == NONE && !json_is_null(value))
            config_warn(c, "nothing is known of the key '%s' (%s): it is left out", config_path(c, key),
                        config_shown(c, value));
    }
}

/* ---- what all bodies have ---- */

static bool dtype_read(Config *c, Facts *out) {
    const char *now = NULL, *legacy = NULL;
    if (!config_word(c, "dtype", &now) || !config_word(c, "torch_dtype", &legacy)) return false;
    const char *key = now ? "dtype" : "torch_dtype", *word = now ? now : legacy;
    out->narrow = word && (!strcmp(word, "bfloat16") || !strcmp(word, "float16"));
    if (!word || out->narrow || !strcmp(word, "float32") || !strcmp(word, "auto")) return true;
    config_wrong(c, key, "%s: weights in %s are not there yet", key, word);
    config_help(c, "float32, bfloat16 and float16 are");
    return false;
}

static bool nothing_left_out(Config *c) {
    const json_t *left = config_value(c, "llm_int8_skip_modules");
    const char *only = json_string_value(json_array_get(left, 0));
    if (!left || (json_is_array(left) && !json_array_size(left))) return true;
    if (json_array_size(left) == 1 && only && !strcmp(only, "lm_head")) return true;
    return config_wrong(
        c, "llm_int8_skip_modules",
        "llm_int8_skip_modules = %s: other modules than lm_head that are not quantised are not "
        "there yet",
        config_shown(c, left));
}

/* Of what bitsandbytes stores: how the matrices of all linear layers but `lm_head` lie in the files. */
static bool quantised_read(Config *outer, Facts *out) {
    json_t *object = config_value(outer, "quantization_config");
    if (!object) return true;
    if (!json_is_object(object))
        return config_wrong(outer, "quantization_config", "quantization_config: an object is wanted, not %s",
                            config_shown(outer, object));
    static const char *const says_nothing[] = {
        "_load_in_4bit", /* what load_in_4bit says */
        "_load_in_8bit",
        "load_in_8bit",
        "bnb_4bit_compute_dtype", /* of another program: specs have their own */
        "llm_int8_enable_fp32_cpu_offload",
        "llm_int8_has_fp16_weight", /* of 8 bits */
        "llm_int8_threshold",
    };
    Config c = config_inner(outer, "quantization_config", object);
    const char *method = NULL, *type = "fp4", *storage = "uint8";
    if (!config_word(&c, "quant_method", &method)) return false;
    if (!method) return config_wrong(&c, NULL, "'%s' is missing", config_path(&c, "quant_method"));
    if (strcmp(method, "bitsandbytes"))
        return config_wrong(
            &c, "quant_method",
            "quantization_config: weights that are stored quantised by '%s' are not there yet", method);
    if (!config_flag(&c, "load_in_4bit", &out->nf4) || !config_word(&c, "bnb_4bit_quant_type", &type) ||
        !config_flag(&c, "bnb_4bit_use_double_quant", &out->double_quant) ||
        !config_word(&c, "bnb_4bit_quant_storage", &storage))
        return false;
    if (!out->nf4 || strcmp(type, "nf4"))
        return config_wrong(&c, out->nf4 ? "bnb_4bit_quant_type" : "load_in_4bit",
                            "quantization_config: weights that are stored in %s are not there yet",
                            out->nf4 ? type : "8 bits");
    if (strcmp(storage, "uint8"))
        return config_wrong(&c, "bnb_4bit_quant_storage", "codes that are stored as %s are not there yet",
                            storage);
    if (out->family->body == BODY_gpt2)
        return config_wrong(&c, NULL, "quantization_config: GPT-2 stored in 4 bits is not there yet");
    if (!nothing_left_out(&c)) return false;
    for (size_t i = 0; i < COUNT_OF(says_nothing); i++) config_value(&c, says_nothing[i]);
    warn_unknown(&c);
    return true;
}

static bool activation_read(Config *c, const char *key, const char *usual, Facts *out) {
    static const char *const table[][2] = {
        {"silu", "silu"}, {"swish", "silu"}, {"gelu_new", "gelu"}, {"gelu_pytorch_tanh", "gelu"}};
    const char *word = usual;
    if (!config_word(c, key, &word)) return false;
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (!strcmp(word, table[i][0])) {
            out->activation = table[i][1];
            return true;
        }
    config_wrong(c, key, "%s: the activation '%s' is not there yet", key, word);
    config_help(c, "silu, swish, gelu_new and gelu_pytorch_tanh are");
    return false;
}

/* Dropout of attention's weights: the language has none, and training works without. */
static bool attention_dropout(Config *c, const char *key, Facts *out) {
    if (!config_number(c, key, 0, 1, &out->attention_dropout)) return false;
    if (out->attention_dropout > 0)
        config_warn(c, "%s = %g is left out: attention has no dropout", key, out->attention_dropout);
    return true;
}

/* ---- bodies ---- */

/* True where every layer sees the whole context: no window, one that is switched off, or one that begins
 * behind the last layer. */
static bool windows_read(Config *c, const Facts *facts) {
    bool windows = facts->family->traits & TRAIT_WINDOW, use = !windows;
    bool usual = windows || facts->family->traits & TRAIT_WINDOW_OF_4096;
    int64_t window = usual && !json_object_get(c->object, "sliding_window") ? 4096 : 0, first = 0;
    if (!config_flag(c, "use_sliding_window", &use) || !config_count(c, "sliding_window", 1, MOST, &window))
        return false;
    if (windows) first = 28;
    if (windows && !config_count(c, "max_window_layers", 0, MOST, &first)) return false;
    if (!use || !window || first >= facts->layers) return true;
    return config_wrong(c, "sliding_window",
                        "sliding_window = %lld: attention in a sliding window is not there yet",
                        (long long)window);
}

static bool layer_types_read(Config *c, const Facts *facts) {
    const json_t *types = config_value(c, "layer_types");
    if (!types) return true;
    if (!json_is_array(types) || json_array_size(types) != (size_t)facts->layers)
        return config_wrong(c, "layer_types", "layer_types: a list of %lld names is wanted, one a layer",
                            (long long)facts->layers);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *word = json_string_value(json_array_get(types, i));
        if (!word || strcmp(word, "full_attention"))
            return config_wrong(c, "layer_types", "layer_types: a layer of %s is not there yet",
                                config_shown(c, json_array_get(types, i)));
    }
    return true;
}

static bool heads_read(Config *c, Facts *out) {
    unsigned traits = out->family->traits;
    if (!config_needs(c, "num_attention_heads", 1, MOST, &out->heads)) return false;
    out->kv_heads = out->heads;
    if (traits & TRAIT_NEEDS_KV && !json_object_get(c->object, "num_key_value_heads"))
        return config_wrong(c, NULL, "'num_key_value_heads' is missing");
    if (!config_count(c, "num_key_value_heads", 1, MOST, &out->kv_heads)) return false;
    if (out->heads % out->kv_heads)
        return config_wrong(c, "num_key_value_heads",
                            "num_attention_heads = %lld does not divide over num_key_value_heads = %lld",
                            (long long)out->heads, (long long)out->kv_heads);
    out->head_width = traits & TRAIT_HEADS_OF_128 ? 128 : 0;
    if (!config_count(c, "head_dim", 1, MOST, &out->head_width)) return false;
    if (out->head_width) return true;
    if (out->width % out->heads)
        return config_wrong(c, "num_attention_heads",
                            "hidden_size = %lld does not divide into num_attention_heads = %lld",
                            (long long)out->width, (long long)out->heads);
    out->head_width = out->width / out->heads;
    return true;
}

/* Keys that Phi-3 and what came after it have alone. */
static bool fused_read(Config *c, Facts *out) {
    config_value(c, "attention_bias"); /* which the library's model does not read, nor the next */
    config_value(c, "embd_pdrop");
    config_value(c, "original_max_position_embeddings"); /* of longrope, which is refused */
    return config_number(c, "resid_pdrop", 0, 0.999, &out->residual_dropout);
}

static bool decoder_read(Config *c, Facts *out) {
    unsigned traits = out->family->traits;
    bool attention_bias = false;
    out->positions = 2048;
    out->eps = traits & TRAIT_FUSED ? 1e-5 : 1e-6;
    if (!config_needs(c, "vocab_size", 1, MOST, &out->vocabulary) ||
        !config_needs(c, "hidden_size", 1, MOST, &out->width) ||
        !config_needs(c, "intermediate_size", 1, MOST, &out->inner) ||
        !config_needs(c, "num_hidden_layers", 1, MOST, &out->layers) || !heads_read(c, out) ||
        !config_count(c, "max_position_embeddings", 1, MOST, &out->positions) ||
        !config_number(c, "rms_norm_eps", 1e-20, 1, &out->eps) ||
        !activation_read(c, "hidden_act", "silu", out) || !rope_read(c, out->positions, &out->rope))
        return false;
    if (traits & TRAIT_ATTENTION_BIAS_KEY && !config_flag(c, "attention_bias", &attention_bias)) return false;
    if (traits & TRAIT_MLP_BIAS_KEY && !config_flag(c, "mlp_bias", &out->mlp_bias)) return false;
    if (traits & TRAIT_FUSED && !fused_read(c, out)) return false;
    out->qkv_bias = attention_bias || traits & TRAIT_QKV_BIAS;
    out->out_bias = attention_bias;
    return windows_read(c, out) && layer_types_read(c, out) && attention_dropout(c, "attention_dropout", out);
}

/* Newer names stand beside GPT-2's own: transformers takes either. */
static bool gpt2_size(Config *c, const char *key, const char *other, int64_t *out) {
    if (config_value(c, key)) return config_count(c, key, 1, MOST, out);
    if (config_value(c, other)) return config_count(c, other, 1, MOST, out);
    return config_wrong(c, NULL, "'%s' is missing", key);
}

static bool gpt2_read(Config *c, Facts *out) {
    out->positions = 1024;
    out->eps = 1e-5;
    out->embed_dropout = out->residual_dropout = out->attention_dropout = 0.1;
    if (!config_needs(c, "vocab_size", 1, MOST, &out->vocabulary) ||
        !gpt2_size(c, "n_embd", "hidden_size", &out->width) ||
        !gpt2_size(c, "n_layer", "num_hidden_layers", &out->layers) ||
        !gpt2_size(c, "n_head", "num_attention_heads", &out->heads) ||
        !gpt2_size(c, "n_positions", "max_position_embeddings", &out->positions) ||
        !config_count(c, "n_inner", 1, MOST, &out->inner) ||
        !config_number(c, "layer_norm_epsilon", 1e-20, 1, &out->eps) ||
        !config_number(c, "embd_pdrop", 0, 0.999, &out->embed_dropout) ||
        !config_number(c, "resid_pdrop", 0, 0.999, &out->residual_dropout) ||
        !activation_read(c, "activation_function", "gelu_new", out))
        return false;
    if (out->width % out->heads)
        return config_wrong(c, "n_head", "n_embd = %lld does not divide into n_head = %lld",
                            (long long)out->width, (long long)out->heads);
    out->kv_heads = out->heads;
    out->head_width = out->width / out->heads;
    return attention_dropout(c, "attn_pdrop", out);
}

bool facts_read(Config *c, Facts *out) {
    static bool (*const body[])(Config *, Facts *) = {
        [BODY_decoder] = decoder_read,
        [BODY_gpt2] = gpt2_read,
    };
    *out = (Facts){.family = family_read(c)};
    if (!out->family) return false;
    out->tied = out->family->traits & TRAIT_TIED;
    if (!refuse_keys(c) || !config_flag(c, "tie_word_embeddings", &out->tied) || !dtype_read(c, out) ||
        !quantised_read(c, out) || !body[out->family->body](c, out))
        return false;
    warn_unknown(c);
    return true;
}
