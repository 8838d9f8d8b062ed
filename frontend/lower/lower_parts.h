/* What the parts of lowering share: symbolic dims, tensors as expressions see them, and the state.
 *
 *     lower_dim.c       dims and shapes, by number and by symbol
 *     lower_expr.c      names, operators, block calls
 *     lower_op.c        the operations of the language
 *     lower_node.c      nodes of the graph, and their names
 *     lower_rope.c      how rope's frequencies are scaled
 *     lower_weight.c    parameters: names, ties, how they start
 *     lower_adapt.c     which of them are trained; low-rank adapters beside the others
 *     lower_settings.c  sections and top-level settings
 *     lower.c           statements, and the two entry points
 *
 * No cascades: what failed becomes a poisoned Operand, and anything made of one is poison without a message.
 */
#ifndef REMAT_LOWER_PARTS_H
#define REMAT_LOWER_PARTS_H

#include "frontend/lower/lower.h"
#include "ir/glob.h"

/* ---- dims ---- */

/* A sum of rational multiples of products of powers of named dims: 3*D, H*E = H*D/H = D. Two dims are the
 * same by definition when their forms are equal. NULL where it would not fit: only the number counts. */
enum { FORM_TERMS = 4, FORM_FACTORS = 6 };
typedef struct Factor {
    int16_t name, power; /* index into Lower.dim; never 0 */
} Factor;
typedef struct Term {
    int64_t numerator, denominator;
    int factors;
    Factor factor[FORM_FACTORS]; /* by rising name */
} Term;
typedef struct Form {
    int terms;
    Term term[FORM_TERMS]; /* in order of term_compare */
} Form;

typedef struct Dim {
    int64_t value;
    const Form *form;
    const Expr *written; /* how the file spells it; NULL: printed from the form */
} Dim;

typedef struct Shape {
    int rank;
    Dim dim[MAX_RANK];
} Shape;

typedef struct NamedDim {
    Name name;
    const Expr *expr;
    Dim dim;
    enum { DIM_UNSEEN, DIM_VISITING, DIM_KNOWN, DIM_FAILED } state;
    bool used, automatic;
    int64_t low, high; /* automatic: auto(low..high) */
} NamedDim;

/* ---- operands: what an expression is worth ---- */

typedef enum OperandKind {
    OPERAND_POISON, /* something in it was wrong, and has been reported */
    OPERAND_TENSOR,
    OPERAND_NUMBER,
    OPERAND_LOSS,
    OPERAND_MANY, /* several results: only on the right of `q, k = ..` */
} OperandKind;

typedef struct Operand Operand;
struct Operand {
    OperandKind kind;
    ValueId value; /* TENSOR */
    DType dtype;
    Shape shape;
    double number; /* NUMBER */
    Operand *item; /* MANY */
    uint32_t items;
};

typedef struct Variable {
    const char *name;
    Span span; /* of the name, where it was last assigned */
    Operand operand;
    bool used;
} Variable;

typedef struct Weight {
    const char *name; /* with ".weight" or ".bias" */
    ValueId value;
    Shape shape;
    Span span;
    bool declared; /* false while only a tie has asked for it */
} Weight;

typedef struct Lower {
    const Ast *ast;
    const Spec *spec;
    Diag *diag;
    Arena *arena;
    VEC(NamedDim) dim;

    /* lower_graph only */
    Graph *graph;
    VEC(Variable) variable; /* of the block or model being lowered, from `frame` on */
    uint32_t frame;
    const char *scope;      /* "h.3." or "" */
    const char *block_name; /* of the block being lowered; NULL in the model */
    uint32_t block;         /* index of the repeated instance, NONE outside */
    bool *block_busy, *block_used;
    Map *names;       /* of values and nodes */
    Map *next_suffix; /* "h.0.layer.add" -> the number its next repetition gets */
    Map *weight_index;
    VEC(Weight) weight;
    Map *tied; /* "lm_head" -> index of its tie item */
    bool *tie_used;
    Glob *adapted, *trained; /* patterns of `adapt`; NULL without one */
    bool any_adapted, any_trained;
    const char *linear_example; /* the name of one that makes no logits, if there is any */
    int64_t dropouts, adapter_dropouts;
    Shape embedding; /* of the table that data.tokens index; rank 0: none yet */
    int depth;
    uint32_t calls; /* of blocks, and repetitions */
    bool too_large; /* reported; nothing more is lowered */
} Lower;

/* ---- lower_dim.c ---- */
/* Reads the dims section; `batch` and `context` above 0 replace B and T. */
void dims_read(Lower *l, int64_t batch, int64_t context);
NamedDim *dims_find(Lower *l, const char *name); /* NULL when there is none */
void dims_check_used(Lower *l);
/* An expression over dims. False after an error, or where a dim in it has failed. */
bool dim_eval(Lower *l, const Expr *expr, Dim *out);
bool dim_eval_size(Lower *l, const Expr *expr, Dim *out); /* the same, at least 1 */
/* [H*E, D]: every dim at least 1. */
bool shape_eval(Lower *l, const Expr *expr, Shape *out);
Dim dim_of_number(Lower *l, int64_t value);
/* a op b without the exactness check: '+', '-', '*', '/'. */
Dim dim_combine(Lower *l, char op, Dim a, Dim b);
typedef enum DimMatch { DIM_SAME, DIM_DIFFERENT, DIM_COINCIDE } DimMatch; /* COINCIDE: equal only by number */
DimMatch dim_match(const Dim *a, const Dim *b);
/* The worst of the pairs; DIFFERENT when ranks differ. */
DimMatch shape_match(const Shape *a, const Shape *b);
const char *dim_text(Lower *l, const Dim *dim);      /* "3*D" */
const char *shape_symbols(Lower *l, const Shape *s); /* "[B, T, D]" */
const char *shape_numbers(Lower *l, const Shape *s); /* "[16, 128, 256]" */
const char *shape_text(Lower *l, const Shape *s);    /* "[B, T, D] = [16, 128, 256]" */
Shape shape_with_last(const Shape *s, Dim last);
Type shape_type(const Shape *s, DType dtype);
/* A number in a setting, an init line or a model: literals, dims, + - * / and sqrt(). False after an error.
 */
bool number_eval(Lower *l, const Expr *expr, double *out);

/* ---- lower_expr.c ---- */
void too_large(Lower *l, Span span, const char *what);
/* One level deeper; false, and reported, where that is too deep. The caller takes it back: l->depth--. */
bool depth_enter(Lower *l, Span span);
Operand poison(void);
Operand tensor_of(Lower *l, ValueId value, const Shape *shape);
Variable *variable_find(Lower *l, const char *name);
void variable_set(Lower *l, Name name, Operand operand);
/* Leaves the scope of every variable from `first` on; says so where one was never read. */
void variables_drop(Lower *l, uint32_t first);
Operand expr_lower(Lower *l, const Expr *expr);
/* An input [B, T] of the graph, whose place in it is `id`; made where it is first asked for. */
Operand batch_tensor(Lower *l, ValueId *id, DType dtype, const char *name, Span span);
/* The same, which must be worth a tensor. */
Operand expr_tensor(Lower *l, const Expr *expr);
const char *expr_text(Lower *l, const Expr *expr); /* its source, shortened */
const char *expr_is(const Expr *expr);             /* "a shape", "text": what cannot be computed with */
/* "note: 'h' has shape [B, T, D] = ..", where it was defined, and which other value would fit. */
void note_operand(Lower *l, const Expr *expr, const Operand *operand);
void note_defined(Lower *l, const Expr *expr);
void help_fitting(Lower *l, const Expr *instead, const Shape *want, bool last_only);
/* "equal here, but not by definition" [E0313], about two shapes that coincide. */
void coincidence(Lower *l, Span span, const char *what, const Shape *a, const Shape *b);

/* ---- lower_node.c ---- */
enum { MAX_TENSORS = 8 }; /* that an operation takes, or gives */
/* Appends a node, or reports what the shape rule says [E0322]. Returns its id or NONE. */
NodeId node_add(Lower *l, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                const Type *wish, const Attr *attr, const char *name, Span span);
/* An operation with one output like its first input; `name` NULL: called after the operation. */
Operand node_same(Lower *l, Op op, const Operand *in, uint32_t nin, const Attr *attr, const char *name,
                  Span span);
/* What the first output of a node is, of that shape; poison of NONE. */
Operand first_output(Lower *l, NodeId node, const Shape *shape);
/* "h.3.layer.gelu", ".2" and so on for repetitions. */
const char *node_name(Lower *l, const char *word, uint32_t nout);
/* The same for a whole name. */
const char *unique_name(Lower *l, const char *stem, uint32_t nout);
/* The value in the storage type activations have, by a node called `name`.cast or, of a packed type,
 * `name`.dequantize; NONE after an error. */
ValueId cast_to_compute(Lower *l, ValueId value, const char *name, Span span);

/* ---- lower_op.c ---- */
bool op_known(const char *name);
Operand op_lower(Lower *l, const Expr *expr);
void op_suggest(Lower *l, const char *name);

/* ---- lower_rope.c ---- */
/* linear(4), llama3(8, low = 1, high = 4, original = 8192). False after an error. */
bool rope_scaling(Lower *l, const Expr *e, Attr *attr);

/* ---- lower_weight.c ---- */
/* Who reads a weight, which decides how it is stored. */
typedef enum WeightUse {
    USE_ANY,
    USE_MATRIX, /* a linear layer, and not the one that makes the logits */
    USE_ADAPTER /* a low-rank adapter: it is trained */
} WeightUse;
void ties_read(Lower *l);
/* The tie that a weight's name, without suffix, stands on either side of; NULL: none. */
const Item *tie_of(const Lower *l, const char *name);
/* The parameter "scope + name + suffix" of the given shape, made on first use; NONE after an error. */
ValueId weight_get(Lower *l, const Expr *name, const char *suffix, const Shape *shape, InitKind init,
                   double value, WeightUse use);
/* A new parameter of that full name. */
ValueId weight_make(Lower *l, const char *full, const Shape *shape, Span span, bool declared, InitKind init,
                    double value, WeightUse use);
void weights_finish(Lower *l); /* init lines, residual scaling, ties and patterns that match nothing */

/* ---- lower_adapt.c ---- */
void adapt_begin(Lower *l); /* before any weight is made */
/* Whether a linear layer of this weight makes the logits: it has a row for each row of the embedding. */
bool makes_logits(Lower *l, const Shape *weight);
/* Whether a weight of this name is trained, and not read only. */
bool adapt_trains(Lower *l, const char *full);
/* `y`, what linear layer `base` makes of x, with its adapter's part where `adapt` names it. */
Operand adapt_linear(Lower *l, const char *base, const Operand *x, const Shape *weight, Operand y, Span span);
void adapt_finish(Lower *l); /* patterns that match nothing, ties that are torn */

/* ---- lower_settings.c ---- */
void settings_read(Lower *l, Spec *out);

/* ---- lower.c ---- */
Operand block_call(Lower *l, const Expr *call, uint32_t index);
uint32_t block_find(const Lower *l, const char *name); /* NONE when there is none */

/* ---- lower_data.c ---- */
void lower_data(Lower *l, Spec *out);
/* Text has a tokenizer: its own, or that of the weights. Requires weights. */
void lower_check_data(Lower *l, Spec *out);
void lower_save(Lower *l, Spec *out);
/* The folders of `save`: what they are made of is there. Requires weights and adapters. */
void lower_check_saved(Lower *l, const Spec *out);

#endif
