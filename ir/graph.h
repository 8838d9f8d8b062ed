/* The graph: what every stage after parsing reads and writes.
 *
 * Values are tensors in single-assignment form; nodes are operations in topological
 * order, which is also the order of first execution. What is "saved for backward" is
 * simply an edge from a forward to a backward node. Handles are ids into the arrays.
 *
 * Writing over an input. The last `nmut` outputs of a node are new versions of its last
 * `nmut` inputs and live in the same storage: accumulated gradients, AdamW's weights and
 * moments, the loss sum. Such a node runs exactly once a micro-step (or once a step).
 * A view (OP_RESHAPE) is a node too; it has no kernel and shares its input's storage.
 * `graph_root` follows both to the value that owns the storage. */
#ifndef REMAT_GRAPH_H
#define REMAT_GRAPH_H

#include "ir/base.h"

typedef uint32_t ValueId;
typedef uint32_t NodeId;

typedef enum DType {
#define DTYPE(name, NAME, bytes) DT_##NAME,
#include "kernels/dtype.def"
#undef DTYPE
    DT_COUNT
} DType;
extern const char *const dtype_name[DT_COUNT];
extern const int64_t dtype_bytes[DT_COUNT]; /* of an element; 0: of a packed type, see kernels/packed.h */

enum { MAX_RANK = 4 };
typedef struct Type {
    DType dtype;
    int rank;
    int64_t dim[MAX_RANK];
} Type;

/* Byte offsets into the source text; {0, 0} for what the compiler made. */
typedef struct Span {
    uint32_t beg, end;
} Span;

typedef enum Op {
#define OP(name, ...) OP_##name,
#include "ir/op.def"
#undef OP
    OP_COUNT
} Op;

typedef enum Phase { PHASE_FORWARD, PHASE_BACKWARD, PHASE_UPDATE, PHASE_COUNT } Phase;
extern const char *const phase_name[PHASE_COUNT];

typedef enum ValueKind {
    VALUE_INPUT,      /* a batch from the data: tokens, targets, mask, ..; filled before each micro-step */
    VALUE_PARAM,      /* trained; persistent */
    VALUE_FROZEN,     /* read only; persistent */
    VALUE_STATE,      /* optimizer moments, master weights, gradient accumulators, metrics, caches; persistent */
    VALUE_ACTIVATION, /* made by a node and dead after its last use: activations and every gradient */
    VALUE_KIND_COUNT
} ValueKind;
extern const char *const value_kind_name[VALUE_KIND_COUNT];

/* What a value is for, finer than its kind: the memory report's categories. */
typedef enum Role {
    ROLE_ACTIVATION,  /* made in the forward phase */
    ROLE_GRADIENT,    /* gradient of an activation */
    ROLE_WGRAD,       /* gradient of a parameter, transient or accumulator */
    ROLE_WEIGHT,      /* parameters, frozen or trained */
    ROLE_OPTIMIZER,   /* moments and master weights */
    ROLE_INPUT,
    ROLE_METRIC,      /* loss sum, squared gradient norm, clip scale */
    ROLE_CACHE,       /* keys and values of earlier tokens, kept from one run of a sampling program to the next */
    ROLE_COUNT
} Role;
extern const char *const role_name[ROLE_COUNT];

typedef struct Attr {
#define ATTR_F(name) double name;
#define ATTR_I(name) int64_t name;
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
} Attr;

typedef struct Value {
    Type type;
    NodeId def;         /* NONE for inputs, params, frozen and states */
    uint32_t out_index; /* which output of `def` */
    ValueKind kind;
    Role role;
    int64_t room;       /* elements its storage has room for; 0: for those of its type (pad.c) */
    const char *name;   /* unique in the graph; safetensors name for weights; "h.0.attn.qkv" style otherwise */
    Span span;
} Value;

typedef struct Node {
    Op op;
    uint32_t nin, nout, nmut;
    ValueId *in, *out;
    Attr attr;
    Phase phase;
    uint32_t block;     /* index of the repeated block instance it belongs to, NONE outside; for display */
    const char *name;   /* scope path and operation, e.g. "model.layers.3.mlp.silu"; pins match it */
    Span span;
} Node;

/* How a parameter starts, and what updates it. */
typedef enum InitKind { INIT_NORMAL, INIT_CONSTANT, INIT_UNIFORM, INIT_KIND_COUNT } InitKind;
extern const char *const init_kind_name[INIT_KIND_COUNT];
typedef struct Tie { /* another name of a weight, which files of weights may hold too */
    const char *name;
    const struct Tie *next;
} Tie;

typedef struct Param {
    ValueId value;
    const Tie *tie;     /* NULL: none */
    bool transposed;    /* the files that `weights` names hold it as [in, out] */
    bool adapter;       /* of a low-rank adapter: those files do not hold it */
    InitKind init;
    double init_value;  /* standard deviation; the constant; uniform in [-init_value, init_value] */
    bool decays;        /* AdamW's weight decay applies (rank >= 2) */
    /* filled by autodiff; NONE when absent */
    ValueId moment1, moment2, master, accumulator;
} Param;

typedef struct Graph {
    Arena *arena;
    VEC(Node) node;
    VEC(Value) value;
    VEC(Param) param;      /* trained parameters in order of declaration, then frozen ones */
    VEC(const char *) block; /* names of repeated block instances: "h.0", "h.1", ... */
    ValueId tokens, targets, mask; /* inputs; mask may be NONE, and is f32 [B, T] */
    ValueId first_key, last_query, positions; /* inputs i32 [B, T] where data are documents (kernels.h); else NONE */
    ValueId logits;        /* [B, T, V]; NONE where the loss is in chunks of tokens */
    ValueId loss_sum;      /* state f32 [1]: sum over unmasked tokens of all micro-steps so far */
    ValueId norm_sum;      /* state f32 [1]: squared gradient norm; NONE before autodiff */
    int64_t batch, context;      /* B and T of one micro-step */
    int64_t accumulate;    /* micro-steps per optimizer step */
} Graph;

/* ---- building ---- */
Graph *graph_new(Arena *arena);
ValueId graph_value(Graph *g, Type type, ValueKind kind, Role role, const char *name, Span span);
/* Appends a node, checks the op's arity, and makes its outputs with the op's shape rule
 * (names: node name, then ".1", ".2" for later outputs). Dies on a shape the rule rejects: callers
 * that take user input test with `op_infer` first. */
NodeId graph_node(Graph *g, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout, const Attr *attr,
                  Phase phase, uint32_t block, const char *name, Span span);
/* The same, yielding the first output. */
ValueId graph_op(Graph *g, Op op, const ValueId *in, uint32_t nin, const Attr *attr, Phase phase, uint32_t block,
                 const char *name, Span span);

/* With the output types wished for, where the op leaves them free: cast and dequantize (dtype), reshape (dims), embed and positions
 * (dtype; rows T), the gradient sums. wish[i] of rank 0, or no `wish`, is no wish: embed and positions then have the
 * table's dtype and all its rows. graph_op_as takes one, for the first output. */
NodeId graph_node_as(Graph *g, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout, const Type *wish,
                     const Attr *attr, Phase phase, uint32_t block, const char *name, Span span);
ValueId graph_op_as(Graph *g, Op op, const ValueId *in, uint32_t nin, const Type *wish, const Attr *attr, Phase phase,
                    uint32_t block, const char *name, Span span);

/* ---- asking ---- */
int64_t type_elements(const Type *type);
int64_t type_bytes(const Type *type);
int64_t value_bytes(const Value *value); /* of its storage: those of its type, and its room */
bool type_equal(const Type *a, const Type *b);
char *type_text(Arena *arena, const Type *type); /* "f32[16, 256, 256]" */
/* The value that owns the storage `v` lives in (follows views and writes over inputs). */
ValueId graph_root(const Graph *g, ValueId v);
bool value_persistent(const Graph *g, ValueId v); /* its root is not VALUE_ACTIVATION */
int64_t graph_parameters(const Graph *g); /* numbers in all parameters; tied ones count once */
int64_t graph_trained_parameters(const Graph *g); /* of these, in those that are not frozen */

#endif
