/* What a configuration says of a model, with every default resolved: all that a spec of it depends on. */
#ifndef REMAT_IMPORT_FACTS_H
#define REMAT_IMPORT_FACTS_H

#include "frontend/import/rope.h"

/* What distinguishes a family from others of its body. */
enum {
    TRAIT_ATTENTION_BIAS_KEY = 1 << 0, /* `attention_bias`: of all four projections */
    TRAIT_MLP_BIAS_KEY = 1 << 1,       /* `mlp_bias` */
    TRAIT_QKV_BIAS = 1 << 2,           /* queries, keys and values have biases, without a key that says so */
    TRAIT_QK_NORM = 1 << 3,        /* RMS norms of queries and keys over a head, before they are rotated */
    TRAIT_WINDOW = 1 << 4,         /* `use_sliding_window`, `sliding_window`, `max_window_layers` */
    TRAIT_NEEDS_KV = 1 << 5,       /* without `num_key_value_heads` the library takes 32, whatever H is */
    TRAIT_HEADS_OF_128 = 1 << 6,   /* without `head_dim` heads are 128 wide; elsewhere D / H */
    TRAIT_TIED = 1 << 7,           /* without `tie_word_embeddings` they are tied */
    TRAIT_WINDOW_OF_4096 = 1 << 8, /* `sliding_window`, of 4096 tokens where there is no such key */
    TRAIT_FUSED =
        1 << 9, /* queries, keys and values are one matrix, the MLP's gate and input another; `resid_pdrop` */
};
#define TRAIT_BIAS_KEYS (TRAIT_ATTENTION_BIAS_KEY | TRAIT_MLP_BIAS_KEY)

typedef enum Body { BODY_decoder, BODY_gpt2 } Body;

typedef struct Family {
    const char *type, *architecture, *models;
    Body body;
    unsigned traits;
} Family;
extern const Family family[];
extern const uint32_t family_count;

typedef struct Facts {
    const Family *family;
    int64_t vocabulary, width, inner, layers, heads, kv_heads, head_width;
    int64_t positions;       /* the most tokens it was made for */
    double eps;              /* of norms */
    const char *activation;  /* an operation of the language: "silu", "gelu" */
    bool qkv_bias, out_bias; /* of attention */
    bool mlp_bias, tied;
    bool narrow;            /* published in 16 bits */
    bool nf4, double_quant; /* its matrices are saved in 4 bits by bitsandbytes; their scales too */
    Rope rope;
    double embed_dropout;     /* gpt2's */
    double residual_dropout;  /* gpt2's, and of bodies with TRAIT_FUSED */
    double attention_dropout; /* of attention's weights: left out, and said */
} Facts;

/* False after an error. Warns of keys that nothing is known of. */
bool facts_read(Config *c, Facts *out);

#endif
