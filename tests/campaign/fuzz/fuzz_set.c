/* Settings of the command line, one a line, applied to one file that has everything a setting can name. */
#include "source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char file[] =
    "language 1\n"
    "dims { V = 64  D = 16  L = 2  H = 4  E = D / H  B = auto(1..4)  T = 8 }\n"
    "dtype { compute bf16  accumulate f32  trained f32  gradient f32  optimizer f32 }\n"
    "block layer(x: [B, T, D]) -> [B, T, D] {\n"
    "  q, k, v = split(linear(layernorm(x, \"ln_1\"), [3*D, D], \"attn.qkv\", bias), 3)\n"
    "  q, k = rope(q as [B, T, H, E], k as [B, T, H, E], theta = 5e5)\n"
    "  o = attend(q, k, v as [B, T, H, E], causal) as [B, T, D]\n"
    "  return x + dropout(linear(gelu(o), [D, D], \"proj\"), 0.1)\n"
    "}\n"
    "model tiny {\n"
    "  x = embed(data.tokens, [V, D], \"wte\") + positions([T, D], \"wpe\")\n"
    "  repeat i in 0..L scope \"h.{i}\" { x = layer(x) }\n"
    "  loss = cross_entropy(linear(x, [V, D], \"lm_head\"), data.targets)\n"
    "}\n"
    "tie \"lm_head\" = \"wte\"\n"
    "init \"*.proj\" normal(0.02 / sqrt(2*L))\n"
    "train { steps 30  optimizer adamw(lr = 1e-3, betas = (0.9, 0.95))  schedule cosine(warmup = 4, floor = "
    "0.1)\n"
    "        tokens_per_step 64  clip_norm 1.0  seed 1 }\n"
    "data { train \"corpus.txt\" bytes  validate 0.05 every 10 steps 5 batches }\n"
    "save { dir \"out/\" every 10 steps keep 3 }\n"
    "weights \"./w\"\n"
    "keep \"h.*.attn\"\n"
    "device host\n"
    "budget 300MiB   host 8GiB\n"
    "maximize tokens_per_second\n";

static const char *input;
static size_t length;

static void compile(void *arena) {
    Diag *diag = diag_new(arena, "x.remat", file, sizeof file - 1);
    Ast *ast = ast_parse(arena, "x.remat", file, sizeof file - 1, diag);
    MUST(ast);
    for (const char *at = input, *end = input + length; at <= end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        bool fine = ast_override(ast, arena_strndup(arena, at, (size_t)(stop - at)), diag);
        MUST(fine == (diag_errors(diag) == 0));
        if (!fine) {
            messages_print(diag, arena);
            return;
        }
        at = stop + 1;
    }
    tree_text(ast);
    lower_holds(ast, diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes;
    length = count;
    Arena *arena = arena_new();
    run_to_exit(compile, arena);
    arena_free(arena);
    return 0;
}
