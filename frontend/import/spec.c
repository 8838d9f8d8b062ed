/* See spec.h. The text is written as one would by hand, with the line breaks that `rematc fmt` keeps;
 * import.c sends it through the formatter for the rest. Tensors are called as in the published files. */
#include "frontend/import/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A small fine-tuning run, to be changed: 16 sequences a step, as long as the model takes them but no longer
 * than LONGEST; AdamW with the low rate of full fine-tuning, or the higher one of adapters. */
enum { LONGEST = 2048, SEQUENCES = 16 };
static const char train_settings[] = "  schedule cosine(warmup = 50, floor = 0.1)\n"
                                     "  clip_norm 1.0  seed 1\n"
                                     "}\n"
                                     "data { train \"train.bin\"  validate 0.05 every 100 steps 8 batches }\n"
                                     "save { dir \"out/\" every 250 steps keep 2 }\n";

/* As one would write it: 32, 0.1, 5e5, 1e-6. */
static const char *number(Arena *arena, double value) {
    char plain[32], parts[40];
    if (value >= 0 && value < 1e4 && value == floor(value)) return arena_printf(arena, "%.0f", value);
    int digits = 0;
    do snprintf(parts, sizeof parts, "%.*e", digits, value);
    while (strtod(parts, NULL) != value && ++digits < 17);
    char *power = strchr(parts, 'e');
    *power = 0;
    char *scientific = arena_printf(arena, "%se%d", parts, atoi(power + 1));
    format_number(value, plain);
    return strlen(scientific) < strlen(plain) ? scientific : arena_strdup(arena, plain);
}

static const char *dropped(Arena *arena, const char *what, double p) {
    return p > 0 ? arena_printf(arena, "dropout(%s, %s)", what, number(arena, p)) : what;
}

static void write_attend(const Facts *f, const char *line, Text *out) {
    if (f->attention_dropout > 0)
        text_add(out, "  # config.json has a dropout of %s inside attention, which has none here\n",
                 number(out->arena, f->attention_dropout));
    text_add(out, "%s", line);
}

static const char *bias(bool has) {
    return has ? ", bias" : "";
}

/* ---- dims ---- */

static int64_t context(const Facts *f) {
    return f->positions < LONGEST ? f->positions : LONGEST;
}

static void write_dims(const Facts *f, Text *out) {
    bool learned = f->family->body == BODY_gpt2, grouped = f->kv_heads != f->heads;
    text_add(out, "dims {\n  V = %lld  D = %lld", (long long)f->vocabulary, (long long)f->width);
    if (f->inner) text_add(out, "  F = %lld", (long long)f->inner);
    text_add(out, "  L = %lld  # vocabulary, width, %slayers\n", (long long)f->layers,
             f->inner ? "width inside the MLPs, " : "");
    text_add(out, "  H = %lld", (long long)f->heads);
    if (grouped) text_add(out, "  K = %lld", (long long)f->kv_heads);
    if (f->heads * f->head_width == f->width)
        text_add(out, "  E = D / H");
    else
        text_add(out, "  E = %lld", (long long)f->head_width);
    text_add(out, "  # heads, %shead width\n", grouped ? "key and value heads, " : "");
    if (learned) text_add(out, "  P = %lld  # learned positions\n", (long long)f->positions);
    text_add(out, "  B = auto(1..8)  # sequences of a micro-batch: the planner decides\n");
    text_add(out, "  T = %lld  # tokens of a sequence", (long long)context(f));
    if (!learned && context(f) < f->positions)
        text_add(out, "; the model takes %lld", (long long)f->positions);
    text_add(out, "\n}\n");
}

static void write_dtypes(const Facts *f, Text *out) {
    if (f->nf4)
        text_add(out,
                 "dtype {\n  compute %s  accumulate f32\n"
                 "  frozen nf4%s  # the matrices, as they are saved\n"
                 "  trained f32  gradient f32  optimizer f32\n}\n\n",
                 f->narrow ? "bf16" : "f32", f->double_quant ? "(double_quant)" : "");
    else if (f->narrow)
        text_add(out,
                 "dtype {\n  compute bf16  accumulate f32\n"
                 "  trained bf16  gradient bf16  optimizer f32  # and a master of each weight in f32\n}\n\n");
    else
        text_add(out, "dtype {\n  compute f32  accumulate f32\n"
                      "  trained f32  gradient f32  optimizer f32\n}\n\n");
}

/* ---- Llama and its kin ---- */

static const char *rope_scaling(const Rope *rope, Arena *arena) {
    switch (rope->scaling) {
    case ROPE_PLAIN: break;
    case ROPE_LINEAR: return arena_printf(arena, ", scaling = linear(%s)", number(arena, rope->factor));
    case ROPE_LLAMA3:
        return arena_printf(arena, ", scaling = llama3(%s, low = %s, high = %s, original = %lld)",
                            number(arena, rope->factor), number(arena, rope->low), number(arena, rope->high),
                            (long long)rope->original);
    }
    return "";
}

static void write_qkv(const Facts *f, const char *kv, Text *out) {
    text_add(out, "  q = linear(h, [H*E, D], \"self_attn.q_proj\"%s) as [B, T, H, E]\n", bias(f->qkv_bias));
    for (const char *name = "kv"; *name; name++)
        text_add(out, "  %c = linear(h, [%s*E, D], \"self_attn.%c_proj\"%s) as [B, T, %s, E]\n", *name, kv,
                 *name, bias(f->qkv_bias), kv);
}

/* One matrix, whose rows are those of the queries, then the keys', then the values'. */
static void write_fused_qkv(const char *kv, Text *out) {
    text_add(out,
             "  q, k, v = split(linear(h, [(H + 2*%s)*E, D], \"self_attn.qkv_proj\"), [H*E, %s*E, %s*E])\n",
             kv, kv, kv);
}

static void write_attention(const Facts *f, Text *out) {
    Arena *arena = out->arena;
    const char *eps = number(arena, f->eps), *kv = f->kv_heads == f->heads ? "H" : "K";
    text_add(out, "block attention(x: [B, T, D]) -> [B, T, D] {\n");
    text_add(out, "  h = rmsnorm(x, \"input_layernorm\", eps = %s)\n", eps);
    bool fused = f->family->traits & TRAIT_FUSED;
    if (fused)
        write_fused_qkv(kv, out);
    else
        write_qkv(f, kv, out);
    for (const char *name = "qk"; *name && f->family->traits & TRAIT_QK_NORM; name++)
        text_add(out, "  %c = rmsnorm(%c, \"self_attn.%c_norm\", eps = %s)\n", *name, *name, *name, eps);
    const char *heads = fused ? " as [B, T, H, E]" : "";
    const char *kv_heads = fused ? arena_printf(arena, " as [B, T, %s, E]", kv) : "";
    text_add(out, "  q, k = rope(q%s, k%s, theta = %s%s)\n", heads, kv_heads, number(arena, f->rope.theta),
             rope_scaling(&f->rope, arena));
    write_attend(f, arena_printf(arena, "  o = attend(q, k, v%s, causal) as [B, T, H*E]\n", kv_heads), out);
    const char *last = arena_printf(arena, "linear(o, [D, H*E], \"self_attn.o_proj\"%s)", bias(f->out_bias));
    text_add(out, "  return x + %s\n}\n", dropped(arena, last, f->residual_dropout));
}

static void write_decoder(const Facts *f, const char *identifier, Text *out) {
    const char *eps = number(out->arena, f->eps), *b = bias(f->mlp_bias);
    write_attention(f, out);
    text_add(out, "block mlp(x: [B, T, D]) -> [B, T, D] {\n");
    text_add(out, "  h = rmsnorm(x, \"post_attention_layernorm\", eps = %s)\n", eps);
    if (f->family->traits & TRAIT_FUSED) {
        text_add(out, "  g, u = split(linear(h, [2*F, D], \"mlp.gate_up_proj\"), 2)\n");
    } else {
        text_add(out, "  g = linear(h, [F, D], \"mlp.gate_proj\"%s)\n", b);
        text_add(out, "  u = linear(h, [F, D], \"mlp.up_proj\"%s)\n", b);
    }
    const char *down =
        arena_printf(out->arena, "linear(%s(g) * u, [D, F], \"mlp.down_proj\"%s)", f->activation, b);
    text_add(out, "  return x + %s\n}\n", dropped(out->arena, down, f->residual_dropout));
    text_add(out, "model %s {\n", identifier);
    text_add(out, "  x = embed(data.tokens, [V, D], \"model.embed_tokens\")\n");
    text_add(out, "  repeat i in 0..L scope \"model.layers.{i}\" { x = mlp(attention(x)) }\n");
    text_add(out, "  x = rmsnorm(x, \"model.norm\", eps = %s)\n", eps);
    text_add(
        out,
        "  loss = cross_entropy(linear(x, [V, D], \"lm_head\"), data.targets, mask = data.loss_mask)\n}\n");
    if (f->tied) text_add(out, "tie \"lm_head\" = \"model.embed_tokens\"\n");
}

/* ---- GPT-2 ---- */

static void write_gpt2(const Facts *f, const char *identifier, Text *out) {
    Arena *arena = out->arena;
    const char *eps = number(arena, f->eps), *inner = f->inner ? "F" : "4*D";
    const char *out_projection =
        dropped(arena, "linear(o, [D, D], \"attn.c_proj\", bias)", f->residual_dropout);
    const char *down = arena_printf(arena, "linear(h, [D, %s], \"mlp.c_proj\", bias)", inner);
    text_add(out, "block attention(x: [B, T, D]) -> [B, T, D] {\n");
    text_add(out, "  h = layernorm(x, \"ln_1\", eps = %s)\n", eps);
    text_add(out, "  q, k, v = split(linear(h, [3*D, D], \"attn.c_attn\", bias), 3)\n");
    write_attend(
        f, "  o = attend(q as [B, T, H, E], k as [B, T, H, E], v as [B, T, H, E], causal) as [B, T, D]\n",
        out);
    text_add(out, "  return x + %s\n}\n", out_projection);
    text_add(out, "block mlp(x: [B, T, D]) -> [B, T, D] {\n");
    text_add(out, "  h = layernorm(x, \"ln_2\", eps = %s)\n", eps);
    text_add(out, "  h = %s(linear(h, [%s, D], \"mlp.c_fc\", bias))\n", f->activation, inner);
    text_add(out, "  return x + %s\n}\n", dropped(arena, down, f->residual_dropout));
    text_add(out, "model %s {\n", identifier);
    text_add(out, "  x = embed(data.tokens, [V, D], \"wte\") + positions([P, D], \"wpe\")\n");
    if (f->embed_dropout > 0) text_add(out, "  x = %s\n", dropped(arena, "x", f->embed_dropout));
    text_add(out, "  repeat i in 0..L scope \"h.{i}\" { x = mlp(attention(x)) }\n");
    text_add(out, "  x = layernorm(x, \"ln_f\", eps = %s)\n", eps);
    text_add(
        out,
        "  loss = cross_entropy(linear(x, [V, D], \"lm_head\"), data.targets, mask = data.loss_mask)\n}\n");
    if (f->tied) text_add(out, "tie \"lm_head\" = \"wte\"\n");
}

/* ---- all of it ---- */

static void write_quoted(const char *text, Text *out) {
    text_add(out, "\"");
    for (; *text; text++) text_add(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    text_add(out, "\"");
}

void spec_write(const Facts *f, const SpecNames *names, Text *out) {
    static void (*const body[])(const Facts *, const char *, Text *) = {
        [BODY_decoder] = write_decoder,
        [BODY_gpt2] = write_gpt2,
    };
    text_add(out, "language 1\n# %s, a published %s model, %s.\n", names->name, f->family->type,
             f->nf4 ? "adapters trained over its weights in 4 bits" : "every weight trained");
    text_add(out, "# Written by `rematc import` from its config.json; change what you like.\n\n");
    write_dims(f, out);
    write_dtypes(f, out);
    body[f->family->body](f, names->identifier, out);
    text_add(out, "\n");
    if (names->weights) {
        text_add(out, "weights ");
        write_quoted(names->weights, out);
        if (f->family->body == BODY_gpt2) text_add(out, " transposed \"*.{c_attn,c_proj,c_fc}\"");
        text_add(out, "  # where its safetensors lie%s\n\n",
                 f->family->body == BODY_gpt2 ? ", with these matrices as [in, out]" : "");
    }
    if (f->nf4) text_add(out, "adapt lora(rank = 16, alpha = 32, dropout = 0.05)\n\n");
    text_add(out,
             "train {\n  steps 1000  tokens_per_step %lld\n"
             "  optimizer adamw(lr = %s, betas = (0.9, 0.95), eps = 1e-8, decay = 0.0)\n%s",
             (long long)(context(f) * SEQUENCES), f->nf4 ? "2e-4" : "1e-5", train_settings);
    text_add(
        out,
        "\ndevice host  # or a card: `rematc devices` lists them; then a budget, as in `budget 21GiB`\n");
}
