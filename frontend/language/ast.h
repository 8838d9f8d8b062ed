/* The syntax tree of one .remat file: what was written, with byte spans, nothing resolved.
 *
 * Top-level things are in `item`, in source order, and also filed by kind. Parsing has already
 * checked: one `language 1` first, at most one of each section, model, weights, device, budget, host and
 * maximize, no key twice in a section, no dim twice, sizes where sizes belong, expressions at most MAX_DEPTH
 * deep. Names, shapes, keys and values are left to lowering. A Name that was not written has text NULL. */
#ifndef REMAT_AST_H
#define REMAT_AST_H

#include "frontend/language/diag.h"

enum { AST_MAX_DEPTH = 200 }; /* of expressions and of nested brackets: recursion over the tree is safe */

typedef struct Name {
    const char *text; /* without quotes, escapes resolved, when it was a string */
    Span span;
} Name;
typedef VEC(Name) NameList;

/* ---- expressions ---- */
typedef struct Expr Expr;
typedef VEC(Expr *) ExprList;

/* f(x, [D, D], "w", bias, eps = 1e-5): names of flags are EXPR_NAME values without a name */
typedef struct Arg {
    Name name; /* text NULL: positional */
    Expr *value;
    Span span;
} Arg;
typedef VEC(Arg) ArgList;

typedef enum ExprKind {
    EXPR_NAME,   /* text: "x", "data.tokens" */
    EXPR_INT,    /* integer (number holds the same as a double) */
    EXPR_FLOAT,  /* number */
    EXPR_SIZE,   /* integer, in bytes: 21GiB */
    EXPR_STRING, /* text */
    EXPR_CALL,   /* callee, args */
    EXPR_BINARY, /* op '+' '-' '*' '/', left, right */
    EXPR_NEGATE, /* left */
    EXPR_AS,     /* left, right (an EXPR_SHAPE) */
    EXPR_SHAPE,  /* items: [H*E, D]; only as an argument, after `as`, in parameters and results */
    EXPR_TUPLE,  /* items, two or more: (0.9, 0.95) */
    EXPR_RANGE,  /* left..right; only as an argument: auto(1..8) */
    EXPR_KIND_COUNT
} ExprKind;
extern const char *const expr_kind_name[EXPR_KIND_COUNT];

struct Expr {
    ExprKind kind;
    Span span;
    int depth;        /* 1 for leaves */
    const char *text; /* NAME, STRING; the spelling for INT, FLOAT, SIZE */
    union {
        struct { /* INT, FLOAT, SIZE */
            int64_t integer;
            double number;
        };
        struct { /* BINARY, NEGATE, AS, RANGE */
            Expr *left, *right;
            char op;
        };
        struct { /* CALL */
            Name callee;
            ArgList args;
        };
        ExprList items; /* SHAPE, TUPLE */
    };
};

/* ---- statements ---- */
typedef struct Stmt Stmt;
typedef struct StmtList {
    Stmt **at;
    uint32_t count, capacity;
    Span span; /* from '{' to behind '}' */
} StmtList;

typedef enum StmtKind { STMT_ASSIGN, STMT_RETURN, STMT_REPEAT } StmtKind;
struct Stmt {
    StmtKind kind;
    Span span;
    union {
        struct { /* q, k = value */
            NameList target;
            Expr *value;
        };
        ExprList result;          /* return a, b */
        struct {                  /* repeat i in low..high scope "h.{i}" { ... }; high is exclusive */
            Name variable, scope; /* scope text NULL: none */
            Expr *low, *high;
            StmtList body;
        };
    };
};

/* ---- top level ---- */
typedef struct BlockParam {
    Name name;
    Expr *shape;
} BlockParam;

/* block attention(x: [B, T, D]) -> [B, T, D] { ... }, and the model (no parameters, no results) */
typedef struct Block {
    Name name;
    VEC(BlockParam) param;
    ExprList result; /* shapes */
    StmtList body;
    Span span;
} Block;

/* `every 200 steps`: word "every", value 200, unit "steps". `50 batches`: word "batches", value 50, no unit.
 * `onto "folder"`, `onto original`: word "onto", the text or name. `bytes`: the word alone, value NULL. */
typedef struct Clause {
    Name word;
    Expr *value;
    Name unit;
    Span span;
} Clause;

/* dims: `key = value`. Others: `key value [unit] clause...`. Sections keep several on one line. */
typedef struct Entry {
    Name key;
    Expr *value;
    Name unit; /* `every 250 steps` in save */
    VEC(Clause) clause;
    Span span;
} Entry;

typedef enum SectionKind {
#define SECTION(id, word, token) SECTION_##id,
#include "frontend/language/words.def"
    SECTION_COUNT
} SectionKind;
extern const char *const section_name[SECTION_COUNT];
/* The keys a section knows, ended by NULL (none for dims). An unknown key still parses: lowering rejects it.
 */
extern const char *const section_key[SECTION_COUNT][9];
typedef struct Section {
    SectionKind kind;
    VEC(Entry) entry;
    Span span, body; /* body: from '{' to behind '}' */
} Section;

typedef enum ItemKind {
    ITEM_LANGUAGE, /* value (EXPR_INT) */
    ITEM_SECTION,  /* section */
    ITEM_BLOCK,    /* block */
    ITEM_MODEL,    /* block */
    ITEM_WEIGHTS,  /* name: path; flag: frozen; other: pattern after `transposed` (text NULL: none) */
    ITEM_ADAPT,    /* value: lora(...) or a name; name: pattern after `on`, other: after `train` (text NULL:
                      none) */
    ITEM_TIE,      /* name = other */
    ITEM_INIT,     /* name: pattern (text NULL: everything); value: normal(0.02) */
    ITEM_DEVICE,   /* name; value (EXPR_SIZE): the memory it is taken to have, NULL: its own */
    ITEM_BUDGET,   /* value (EXPR_SIZE) */
    ITEM_HOST,     /* value (EXPR_SIZE) */
    ITEM_MAXIMIZE, /* name */
    ITEM_KEEP,     /* name: pattern */
    ITEM_RECOMPUTE,
    ITEM_OFFLOAD,
    ITEM_KIND_COUNT
} ItemKind;
extern const char *const item_word[ITEM_KIND_COUNT]; /* the word it starts with; NULL for sections */

typedef struct Item {
    ItemKind kind;
    Span span;
    Name name, other;
    bool flag;
    Expr *value;
    Section *section;
    Block *block;
} Item;

typedef struct Comment {
    Span span; /* from '#' to the end of the line, no trailing blanks */
} Comment;

typedef struct Ast {
    Arena *arena;
    const char *path, *source;
    size_t length;
    VEC(Item *) item;                /* everything, in source order */
    Section *section[SECTION_COUNT]; /* NULL when absent */
    VEC(Block *) block;
    Block *model;                  /* NULL when absent: lowering says so */
    Item *single[ITEM_KIND_COUNT]; /* WEIGHTS, ADAPT, DEVICE, BUDGET, HOST, MAXIMIZE, LANGUAGE; NULL when
                                      absent */
    VEC(Comment) comment;
} Ast;

/* ---- making one ---- */
#define AST_LARGEST_BYTES ((size_t)1 << 20)
/* The tree, or NULL when the text has errors (they are in `diag`, made over the same text). */
Ast *ast_parse(Arena *arena, const char *path, const char *text, size_t length, Diag *diag);
/* `--set name=value`: replaces a dim ("B=4"), a top-level setting ("budget=200MiB", "device=host") or a key
 * of a section ("train.steps=20", or "steps=20" when no dim has that name), adding it where the file has
 * none; or an argument of a setting the file has ("optimizer.lr=1e-4", "schedule.warmup=10"). `diag` is the
 * sink the file was parsed with: the option is appended to its text, and errors about the new value point
 * there. False after an error. */
bool ast_override(Ast *ast, const char *setting, Diag *diag);
/* `--device rtx4090`, `--device-memory 30GiB`, `--budget 3GiB`: options that are named as the setting they
 * replace. */
bool ast_override_option(Ast *ast, const char *name, const char *value, Diag *diag);

/* ---- asking ---- */
/* NULL when there is no such section, entry, clause or argument. */
const Entry *ast_entry(const Ast *ast, SectionKind kind, const char *key);
const Clause *entry_clause(const Entry *entry, const char *word);
const Arg *call_named(const Expr *call, const char *name);     /* eps = 1e-5 */
const Expr *call_positional(const Expr *call, uint32_t index); /* index counts positional arguments only */
const Arg *call_flag(const Expr *call, const char *word);      /* a positional EXPR_NAME `word` */
bool expr_is_name(const Expr *expr, const char *text);
bool expr_is_number(const Expr *expr); /* INT or FLOAT */
Span span_join(Span a, Span b);        /* from the start of one to the end of the other */

/* The unit meant by one that is none ("G", "gb", "Gib" -> "GiB", "GB", "GiB"), NULL where nothing is near. */
const char *unit_meant(const char *unit);
/* A size outside of a file, spelled as in one: "5GB", "1.5GiB". False for what is none. */
bool size_read(const char *text, int64_t *bytes);
/* What was meant by one that is none: "21g" -> "21GiB", "21" too. NULL where nothing is near. */
const char *size_meant(const char *text, Arena *arena);

/* ---- printing ---- */
void ast_print(const Ast *ast, Text *out);  /* `dump --stage ast`: indented, one thing a line */
void fmt_expr(const Expr *expr, Text *out); /* canonical source of an expression: "[H * E, D]" */
void fmt_print(const Ast *ast, Text *out);  /* `rematc fmt`: canonical form, comments kept */

#endif
