/* Names in the emitted source: what the model calls things, as identifiers of C and C++. */
#ifndef REMAT_NAMES_H
#define REMAT_NAMES_H

#include "ir/base.h"

/* Names that are taken: of one part of the program, and below it those of the whole program. */
typedef struct Scope {
    Arena *arena;
    Map *taken;
    const struct Scope *outer; /* NULL: none */
} Scope;
Scope scope_new(Arena *arena, const Scope *outer);

/* "at_", "h.0.attn.qkv" -> "at_h_0_attn_qkv": what the prefix begins is no other name of C or of rt.h. */
char *name_identifier(Arena *arena, const char *prefix, const char *name);
/* "h__" -> "h": no two lines in a row, none at the end. Changes the text. */
char *name_squeeze(char *name);
/* "attn.qkv" -> "attn_qkv", "int" -> "int_": a member of a struct, which no macro or keyword is. */
char *name_member(Arena *arena, const char *name);
/* `wish`, or wish_2, wish_3 ..., which is taken then. */
char *name_unique(Scope *scope, char *wish);
/* `wish`, or wish_b, wish_c ..., where numbers already mean something else. */
char *name_variant(Scope *scope, char *wish);

/* A name as it can stand inside a C comment. */
const char *name_comment(Arena *arena, const char *name);

#endif
