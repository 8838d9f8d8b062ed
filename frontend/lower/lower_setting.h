/* The pieces that settings are read by. In: entries and expressions of the tree. Each says what is wrong;
 * after an error `out` is untouched, and the default stands in. */
#ifndef REMAT_LOWER_SETTING_H
#define REMAT_LOWER_SETTING_H

#include "frontend/lower/lower_parts.h"

void setting_wrong_kind(Lower *l, const Expr *e, const char *what, const char *wanted);
/* A number in [low, high]; false after an error. */
bool setting_number(Lower *l, const Expr *e, const char *what, double low, double high, double *out);
bool setting_count(Lower *l, const Expr *e, const char *what, int64_t low, int64_t high, int64_t *out);
/* Index of a word among those known, or -1 after an error. */
int setting_choice(Lower *l, Span span, const char *what, const char *word, const char *const *known,
                   uint32_t count);
/* The word of a setting: adamw of adamw(..); NULL where it is none. */
const char *setting_word(const Expr *e);
/* Arguments of adamw(..), cosine(..): positional ones but `flag`, and names not in `known`, are errors. */
void setting_arguments(Lower *l, const Expr *call, const char *const *known, uint32_t count,
                       const char *flag);
void setting_argument_number(Lower *l, const Expr *call, const char *name, double low, double high,
                             double *out);
/* A path in quotes. */
bool setting_text(Lower *l, const Entry *entry, const char **out);
void setting_missing(Lower *l, SectionKind kind, const char *key, const char *example);
/* Clauses and units an entry has no use for. */
void setting_clauses(Lower *l, const Entry *entry, const char *const *known, uint32_t count,
                     const char *unit);

#endif
