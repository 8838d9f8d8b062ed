/* Reads one setting: its words, numbers and paths, and what does not belong to it. See lower_setting.h. */
#include "frontend/lower/lower_setting.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void setting_wrong_kind(Lower *l, const Expr *e, const char *what, const char *wanted) {
    diag_error(l->diag, E0401, e->span, "%s: %s is wanted, not %s", what, wanted, expr_text(l, e));
}

/* A number in [low, high]; false after an error, `out` untouched. */
bool setting_number(Lower *l, const Expr *e, const char *what, double low, double high, double *out) {
    double value;
    if (e->kind == EXPR_STRING || e->kind == EXPR_SIZE || e->kind == EXPR_TUPLE || e->kind == EXPR_SHAPE) {
        setting_wrong_kind(l, e, what, "a number");
        return false;
    }
    if (!number_eval(l, e, &value)) return false;
    if (value < low || value > high) {
        diag_error(l->diag, E0402, e->span, "%s: %.15g is out of range (%.15g to %.15g)", what, value, low,
                   high);
        return false;
    }
    *out = value;
    return true;
}

bool setting_count(Lower *l, const Expr *e, const char *what, int64_t low, int64_t high, int64_t *out) {
    double value;
    if (!setting_number(l, e, what, -HUGE_VAL, HUGE_VAL, &value)) return false;
    if (value < (double)low || value > (double)high) {
        diag_error(l->diag, E0402, e->span, "%s: %.15g is out of range (%" PRId64 " to %" PRId64 ")", what,
                   value, low, high);
        return false;
    }
    if (value != floor(value)) {
        diag_error(l->diag, E0401, e->span, "%s: a whole number is wanted, not %g", what, value);
        return false;
    }
    *out = (int64_t)value;
    return true;
}

/* Index of a word among those known, or -1 after an error. */
int setting_choice(Lower *l, Span span, const char *what, const char *word, const char *const *known,
                   uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(known[i], word)) return (int)i;
    Text list = {.arena = l->arena};
    for (uint32_t i = 0; i < count; i++) text_add(&list, "%s%s", i ? ", " : "", known[i]);
    diag_error(l->diag, E0404, span, "%s: '%s' is not known", what, word);
    if (!diag_suggest(l->diag, word, known, count)) diag_help(l->diag, "known: %s", list.at);
    return -1;
}

/* Arguments of adamw(..), cosine(..): positional ones but `flag`, and names not in `known`, are errors. */
void setting_arguments(Lower *l, const Expr *call, const char *const *known, uint32_t count,
                       const char *flag) {
    if (call->kind != EXPR_CALL) return;
    for (uint32_t i = 0; i < call->args.count; i++) {
        const Arg *arg = &call->args.at[i];
        uint32_t k = 0;
        while (arg->name.text && k < count && strcmp(known[k], arg->name.text)) k++;
        if (arg->name.text ? k < count : flag && expr_is_name(arg->value, flag)) continue;
        if (arg->name.text && flag && !strcmp(arg->name.text, flag)) {
            diag_error(l->diag, E0301, arg->span, "%s: '%s' stands alone", call->callee.text, flag);
            diag_help(l->diag, "as in %s(%s = .., %s)", call->callee.text, known[0], flag);
        } else if (arg->name.text) {
            diag_error(l->diag, E0204, arg->name.span, "%s knows no '%s'", call->callee.text, arg->name.text);
            diag_suggest(l->diag, arg->name.text, known, count);
        } else {
            diag_error(l->diag, E0301, arg->span, "%s: write name = value", call->callee.text);
            if (count)
                diag_help(l->diag, "as in %s(%s = ..)%s%s", call->callee.text, known[0],
                          flag ? ", or the word " : "", flag ? flag : "");
        }
    }
}

void setting_argument_number(Lower *l, const Expr *call, const char *name, double low, double high,
                             double *out) {
    const Arg *arg = call->kind == EXPR_CALL ? call_named(call, name) : NULL;
    if (arg) setting_number(l, arg->value, name, low, high, out);
}

const char *setting_word(const Expr *e) {
    return e->kind == EXPR_CALL ? e->callee.text : e->kind == EXPR_NAME ? e->text : NULL;
}

void setting_missing(Lower *l, SectionKind kind, const char *key, const char *example) {
    const Section *section = l->ast->section[kind];
    if (section)
        diag_error(l->diag, E0405, section->span, "%s lacks '%s'", section_name[kind], key);
    else
        diag_error(l->diag, E0405, NO_SPAN, "there is no %s section", section_name[kind]);
    diag_help(l->diag, "%s", example);
}

/* Clauses and units an entry has no use for. */
void setting_clauses(Lower *l, const Entry *entry, const char *const *known, uint32_t count,
                     const char *unit) {
    if (!entry) return;
    if (entry->unit.text && (!unit || strcmp(entry->unit.text, unit)))
        diag_error(l->diag, E0401, entry->unit.span, "%s: '%s' does not belong here", entry->key.text,
                   entry->unit.text);
    for (uint32_t i = 0; i < entry->clause.count; i++) {
        const Clause *clause = &entry->clause.at[i];
        uint32_t k = 0;
        while (k < count && strcmp(known[k], clause->word.text)) k++;
        bool twice = false;
        for (uint32_t j = 0; j < i; j++) twice |= !strcmp(entry->clause.at[j].word.text, clause->word.text);
        if (k == count || twice)
            diag_error(l->diag, E0401, clause->span, "%s: '%s' %s", entry->key.text, clause->word.text,
                       twice ? "is given twice" : "does not belong here");
        else if (!strcmp(clause->word.text, "every") &&
                 (!clause->unit.text || strcmp(clause->unit.text, "steps")))
            diag_error(l->diag, E0401, clause->span, "%s: every how many steps?", entry->key.text);
    }
}

bool setting_text(Lower *l, const Entry *entry, const char **out) {
    if (entry->value->kind != EXPR_STRING || !*entry->value->text) {
        setting_wrong_kind(l, entry->value, entry->key.text, "a path in quotes");
        return false;
    }
    *out = entry->value->text;
    return true;
}
