/* Named dims and shapes, by number and by symbol.
 *
 * In: the dims section and expressions over it. Out: a Dim for each, its value exact (no rounding division,
 * no overflow) and its form canonical, so that H*E with E = D / H is the same dim as D, while two dims that
 * merely happen to be 256 are told apart. Forms are Laurent polynomials with rational coefficients; dims
 * written as a number or auto(..) are their variables, the others are expanded. */
#include "frontend/lower/lower_parts.h"

#include <math.h>
#include <string.h>

static const int64_t dim_limit = (int64_t)1 << 40;

/* ---- forms ---- */

static int64_t common_divisor(int64_t a, int64_t b) {
    if (a < 0) a = -a;
    if (b < 0) b = -b;
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a ? a : 1;
}

static void term_reduce(Term *t) {
    int64_t d = common_divisor(t->numerator, t->denominator);
    t->numerator /= d;
    t->denominator /= d;
    if (t->denominator < 0) t->numerator = -t->numerator, t->denominator = -t->denominator;
}

/* Order and equality of the product of dims, coefficients aside. */
static int term_compare(const Term *a, const Term *b) {
    if (a->factors != b->factors) return a->factors < b->factors ? 1 : -1;
    for (int i = 0; i < a->factors; i++) {
        if (a->factor[i].name != b->factor[i].name) return a->factor[i].name < b->factor[i].name ? -1 : 1;
        if (a->factor[i].power != b->factor[i].power) return a->factor[i].power > b->factor[i].power ? -1 : 1;
    }
    return 0;
}

/* a * b^sign, sign 1 or -1; false when it would not fit. */
static bool term_multiply(const Term *a, const Term *b, int sign, Term *out) {
    Term t = {.numerator = 1, .denominator = 1};
    int64_t bn = sign > 0 ? b->numerator : b->denominator, bd = sign > 0 ? b->denominator : b->numerator;
    if (__builtin_mul_overflow(a->numerator, bn, &t.numerator) ||
        __builtin_mul_overflow(a->denominator, bd, &t.denominator) || !t.denominator)
        return false;
    int i = 0, j = 0;
    while (i < a->factors || j < b->factors) {
        Factor f;
        if (j == b->factors || (i < a->factors && a->factor[i].name < b->factor[j].name)) {
            f = a->factor[i++];
        } else if (i == a->factors || b->factor[j].name < a->factor[i].name) {
            f = b->factor[j++];
            f.power = (int16_t)(sign * f.power);
        } else {
            f = a->factor[i++];
            f.power = (int16_t)(f.power + sign * b->factor[j++].power);
        }
        if (!f.power) continue;
        if (t.factors == FORM_FACTORS || f.power > 1000 || f.power < -1000) return false;
        t.factor[t.factors++] = f;
    }
    term_reduce(&t);
    *out = t;
    return true;
}

static bool form_add_term(Form *form, const Term *t, int sign) {
    int at = 0;
    while (at < form->terms && term_compare(&form->term[at], t) < 0) at++;
    if (at < form->terms && term_compare(&form->term[at], t) == 0) {
        Term *into = &form->term[at];
        int64_t left, right, sum, below;
        if (__builtin_mul_overflow(into->numerator, t->denominator, &left) ||
            __builtin_mul_overflow(t->numerator * sign, into->denominator, &right) ||
            __builtin_add_overflow(left, right, &sum) ||
            __builtin_mul_overflow(into->denominator, t->denominator, &below))
            return false;
        into->numerator = sum;
        into->denominator = below;
        term_reduce(into);
        if (!sum) {
            memmove(into, into + 1, sizeof *into * (size_t)(form->terms - at - 1));
            form->terms--;
        }
        return true;
    }
    if (form->terms == FORM_TERMS) return false;
    memmove(&form->term[at + 1], &form->term[at], sizeof *t * (size_t)(form->terms - at));
    form->term[at] = *t;
    form->term[at].numerator *= sign;
    form->terms++;
    return true;
}

static bool form_equal(const Form *a, const Form *b) {
    if (a->terms != b->terms) return false;
    for (int i = 0; i < a->terms; i++)
        if (a->term[i].numerator != b->term[i].numerator ||
            a->term[i].denominator != b->term[i].denominator || term_compare(&a->term[i], &b->term[i]))
            return false;
    return true;
}

static bool form_constant(const Form *f) {
    return f->terms == 0 || (f->terms == 1 && f->term[0].factors == 0);
}

static const Form *form_of_number(Lower *l, int64_t value) {
    Form *f = NEW(l->arena, Form);
    if (value) {
        f->terms = 1;
        f->term[0] = (Term){.numerator = value, .denominator = 1};
    }
    return f;
}

static const Form *form_of_name(Lower *l, uint32_t name) {
    if (name > INT16_MAX) return NULL;
    Form *f = NEW(l->arena, Form);
    f->terms = 1;
    f->term[0] = (Term){.numerator = 1, .denominator = 1, .factors = 1, .factor = {{(int16_t)name, 1}}};
    return f;
}

static const Form *form_combine(Lower *l, char op, const Form *a, const Form *b) {
    if (!a || !b) return NULL;
    Form *f = NEW(l->arena, Form);
    Term t;
    if (op == '+' || op == '-') {
        *f = *a;
        for (int i = 0; i < b->terms; i++)
            if (!form_add_term(f, &b->term[i], op == '+' ? 1 : -1)) return NULL;
        return f;
    }
    if (op == '/' && b->terms > 1) return form_equal(a, b) ? form_of_number(l, 1) : NULL;
    if (op == '/' && !b->terms) return NULL;
    for (int i = 0; i < a->terms; i++)
        for (int j = 0; j < b->terms; j++)
            if (!term_multiply(&a->term[i], &b->term[j], op == '*' ? 1 : -1, &t) || !form_add_term(f, &t, 1))
                return NULL;
    return f;
}

static void form_print(const Lower *l, const Form *form, Text *out) {
    if (!form->terms) text_add(out, "0");
    for (int i = 0; i < form->terms; i++) {
        const Term *t = &form->term[i];
        bool negative = t->numerator < 0, first = true;
        if (i || negative) text_add(out, i ? (negative ? " - " : " + ") : "-");
        int64_t n = negative ? -t->numerator : t->numerator;
        bool above = false;
        for (int j = 0; j < t->factors; j++) above |= t->factor[j].power > 0;
        if (n != 1 || !above) text_add(out, "%lld", (long long)n), first = false;
        for (int sign = 1; sign >= -1; sign -= 2) {
            if (sign < 0 && t->denominator != 1) text_add(out, "/%lld", (long long)t->denominator);
            for (int j = 0; j < t->factors; j++)
                for (int k = t->factor[j].power * sign; k > 0; k--) {
                    if (!first) text_add(out, sign > 0 ? "*" : "/");
                    text_add(out, "%s", l->dim.at[t->factor[j].name].name.text);
                    first = false;
                }
        }
    }
}

/* ---- the dims section ---- */

NamedDim *dims_find(Lower *l, const char *name) {
    for (uint32_t i = 0; i < l->dim.count; i++)
        if (!strcmp(l->dim.at[i].name.text, name)) return &l->dim.at[i];
    return NULL;
}

static void unknown_dim(Lower *l, const Expr *expr) {
    const char **names = NEW_ARRAY(l->arena, const char *, l->dim.count + 1);
    for (uint32_t i = 0; i < l->dim.count; i++) names[i] = l->dim.at[i].name.text;
    diag_error(l->diag, E0201, expr->span, "no dimension is called '%s'", expr->text);
    if (!strcmp(expr->text, "auto"))
        diag_help(l->diag, "auto takes the micro-batches to choose from, for B alone: B = auto(1..8)");
    else
        diag_suggest(l->diag, expr->text, names, l->dim.count);
}

static bool read_auto(Lower *l, NamedDim *d) {
    const Expr *range = call_positional(d->expr, 0);
    if (strcmp(d->name.text, "B")) {
        diag_error(l->diag, E0407, d->expr->span,
                   "only the micro-batch B can be chosen by the planner, not '%s'", d->name.text);
        return false;
    }
    Dim low, high;
    if (!range || range->kind != EXPR_RANGE || d->expr->args.count != 1) {
        diag_error(l->diag, E0407, d->expr->span, "auto takes a range, as in auto(1..8)");
        return false;
    }
    if (!dim_eval(l, range->left, &low) || !dim_eval(l, range->right, &high)) return false;
    if (low.value < 1 || high.value < low.value || high.value > 65536) {
        diag_error(l->diag, E0402, range->span, "auto: the range must lie in 1..65536 and not be empty");
        return false;
    }
    d->automatic = true;
    d->low = low.value;
    d->high = high.value;
    d->dim.value = low.value;
    return true;
}

static bool dim_resolve(Lower *l, uint32_t index, Span use) {
    NamedDim *d = &l->dim.at[index];
    if (d->state == DIM_KNOWN) return true;
    if (d->state == DIM_FAILED) return false;
    if (d->state == DIM_VISITING) {
        diag_error(l->diag, E0203, use, "dimension '%s' is defined by itself", d->name.text);
        diag_note(l->diag, d->name.span, "'%s' is defined here", d->name.text);
        return false;
    }
    if (!depth_enter(l, d->name.span)) return false;
    d->state = DIM_VISITING;
    bool automatic = d->expr->kind == EXPR_CALL && !strcmp(d->expr->callee.text, "auto"), ok;
    ok = automatic ? read_auto(l, d) : dim_eval(l, d->expr, &d->dim);
    l->depth--;
    if (ok && (d->dim.value < 1 || d->dim.value > dim_limit)) {
        diag_error(l->diag, E0320, d->expr->span, "dimension '%s' is %lld, must be 1 to 2^40", d->name.text,
                   (long long)d->dim.value);
        ok = false;
    }
    if (ok && (automatic || !d->dim.form || form_constant(d->dim.form))) d->dim.form = form_of_name(l, index);
    d->dim.written = NULL;
    d->state = ok ? DIM_KNOWN : DIM_FAILED;
    return ok;
}

void dims_read(Lower *l, int64_t batch, int64_t context) {
    const Section *section = l->ast->section[SECTION_DIMS];
    if (!section) {
        diag_error(l->diag, E0205, NO_SPAN, "there is no dims section");
        diag_help(
            l->diag,
            "name the sizes first: dims { V = 256  D = 128  L = 6  H = 4  E = D / H  B = 16  T = 128 }");
        return;
    }
    for (uint32_t i = 0; i < section->entry.count; i++) {
        const Entry *entry = &section->entry.at[i];
        if (!entry->key.text || !entry->value) continue;
        *vec_add(l->arena, &l->dim) = (NamedDim){.name = entry->key, .expr = entry->value};
    }
    for (uint32_t i = 0; i < l->dim.count; i++) dim_resolve(l, i, l->dim.at[i].name.span);
    /* `data.tokens` is [B, T] */
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "T" : "B";
        NamedDim *d = dims_find(l, name);
        if (!d) {
            diag_error(l->diag, E0205, section->span, "dims lacks '%s', the %s", name,
                       i ? "number of tokens a sequence (context)" : "number of sequences a micro-batch");
            continue;
        }
        d->used = true;
        if (d->state == DIM_KNOWN && (i ? context : batch) > 0) d->dim.value = i ? context : batch;
    }
    if (batch <= 0 && context <= 0) return;
    /* what is computed from an overridden B or T follows it */
    for (uint32_t i = 0; i < l->dim.count; i++) {
        NamedDim *d = &l->dim.at[i];
        bool fixed = !strcmp(d->name.text, "B") || !strcmp(d->name.text, "T");
        if (d->state == DIM_KNOWN && !fixed && d->expr->kind != EXPR_INT) d->state = DIM_UNSEEN;
    }
    for (uint32_t i = 0; i < l->dim.count; i++) dim_resolve(l, i, l->dim.at[i].name.span);
}

void dims_check_used(Lower *l) {
    for (uint32_t i = 0; i < l->dim.count; i++) {
        const NamedDim *d = &l->dim.at[i];
        if (!d->used) diag_error(l->diag, E0209, d->name.span, "dimension '%s' is never used", d->name.text);
    }
}

/* ---- expressions over dims ---- */

Dim dim_of_number(Lower *l, int64_t value) {
    return (Dim){.value = value, .form = form_of_number(l, value)};
}

Dim dim_combine(Lower *l, char op, Dim a, Dim b) {
    Dim out = {.form = form_combine(l, op, a.form, b.form)};
    switch (op) {
    case '+': out.value = a.value + b.value; break;
    case '-': out.value = a.value - b.value; break;
    case '*':
        if (__builtin_mul_overflow(a.value, b.value, &out.value)) out.value = INT64_MAX, out.form = NULL;
        break;
    default: out.value = b.value ? a.value / b.value : 0;
    }
    return out;
}

static bool binary_eval(Lower *l, const Expr *expr, Dim *out) {
    Dim a, b;
    if (!dim_eval(l, expr->left, &a) || !dim_eval(l, expr->right, &b)) return false;
    if (expr->op == '/' && (b.value == 0 || a.value % b.value)) {
        diag_error(l->diag, E0319, expr->span, "%s = %lld / %lld is not a whole number",
                   dim_text(l, &(Dim){0, NULL, expr}), (long long)a.value, (long long)b.value);
        return false;
    }
    *out = dim_combine(l, expr->op, a, b);
    out->written = expr;
    if (out->value > dim_limit || out->value < -dim_limit) {
        diag_error(l->diag, E0320, expr->span, "%s is too large: dimensions end at 2^40",
                   dim_text(l, &(Dim){0, NULL, expr}));
        return false;
    }
    return true;
}

bool dim_eval(Lower *l, const Expr *expr, Dim *out) {
    switch (expr->kind) {
    case EXPR_INT:
        if (expr->integer > dim_limit) {
            diag_error(l->diag, E0320, expr->span, "%s is too large: dimensions end at 2^40", expr->text);
            return false;
        }
        *out = dim_of_number(l, expr->integer);
        out->written = expr;
        return true;
    case EXPR_NAME: {
        NamedDim *d = dims_find(l, expr->text);
        if (d) {
            uint32_t index = (uint32_t)(d - l->dim.at);
            d->used = true;
            if (!dim_resolve(l, index, expr->span)) return false;
            *out = d->dim;
            out->written = expr;
            return true;
        }
        Variable *v = l->graph ? variable_find(l, expr->text) : NULL;
        if (v && v->operand.kind == OPERAND_NUMBER && v->operand.number == floor(v->operand.number)) {
            v->used = true;
            *out = dim_of_number(l, (int64_t)v->operand.number);
            return true;
        }
        unknown_dim(l, expr);
        return false;
    }
    case EXPR_BINARY: return binary_eval(l, expr, out);
    case EXPR_NEGATE: {
        Dim zero = dim_of_number(l, 0), a;
        if (!dim_eval(l, expr->left, &a)) return false;
        *out = dim_combine(l, '-', zero, a);
        out->written = expr;
        return true;
    }
    default:
        diag_error(l->diag, E0302, expr->span,
                   "%s is no dimension: whole numbers, names of dims and + - * / make one",
                   expr_text(l, expr));
        return false;
    }
}

bool dim_eval_size(Lower *l, const Expr *expr, Dim *out) {
    if (!dim_eval(l, expr, out)) return false;
    if (out->value >= 1) return true;
    diag_error(l->diag, E0320, expr->span, "%s is %lld: a dimension is at least 1", dim_text(l, out),
               (long long)out->value);
    return false;
}

bool shape_eval(Lower *l, const Expr *expr, Shape *out) {
    *out = (Shape){0};
    if (expr->kind != EXPR_SHAPE) {
        diag_error(l->diag, E0302, expr->span, "%s is no shape: write one as [B, T, D]", expr_text(l, expr));
        return false;
    }
    if (expr->items.count < 1 || expr->items.count > MAX_RANK) {
        diag_error(l->diag, E0323, expr->span, "a shape has 1 to %d dimensions, this has %u", MAX_RANK,
                   expr->items.count);
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < expr->items.count; i++)
        ok &= dim_eval_size(l, expr->items.at[i], &out->dim[out->rank++]);
    return ok;
}

/* B = auto(..), or a dim made of it */
static bool depends_on_automatic(const Lower *l, const Form *form) {
    for (int i = 0; form && i < form->terms; i++)
        for (int j = 0; j < form->term[i].factors; j++)
            if (l->dim.at[form->term[i].factor[j].name].automatic) return true;
    return false;
}

bool number_eval(Lower *l, const Expr *expr, double *out) {
    double a, b;
    switch (expr->kind) {
    case EXPR_INT:
    case EXPR_FLOAT: *out = expr->number; return true;
    case EXPR_NEGATE:
        if (!number_eval(l, expr->left, &a)) return false;
        *out = -a;
        return true;
    case EXPR_NAME: {
        Dim d;
        NamedDim *named = dims_find(l, expr->text);
        if (named && !l->graph && depends_on_automatic(l, named->dim.form)) {
            diag_error(l->diag, E0407, expr->span,
                       "a setting cannot depend on '%s', which the planner chooses", expr->text);
            return false;
        }
        if (!dim_eval(l, expr, &d)) return false;
        *out = (double)d.value;
        return true;
    }
    case EXPR_BINARY:
        if (!number_eval(l, expr->left, &a) || !number_eval(l, expr->right, &b)) return false;
        *out = expr->op == '+' ? a + b : expr->op == '-' ? a - b : expr->op == '*' ? a * b : a / b;
        break;
    case EXPR_CALL:
        if (strcmp(expr->callee.text, "sqrt") || expr->args.count != 1 || expr->args.at[0].name.text) {
            diag_error(l->diag, E0302, expr->span, "a number is made of numbers, dims, + - * / and sqrt(x)");
            return false;
        }
        if (!number_eval(l, expr->args.at[0].value, &a)) return false;
        *out = sqrt(a);
        break;
    default: diag_error(l->diag, E0302, expr->span, "%s is no number", expr_text(l, expr)); return false;
    }
    if (!isfinite(*out)) {
        diag_error(l->diag, E0402, expr->span, "%s is no finite number", expr_text(l, expr));
        return false;
    }
    return true;
}

/* ---- comparing and printing ---- */

DimMatch dim_match(const Dim *a, const Dim *b) {
    if (a->value != b->value) return DIM_DIFFERENT;
    if (!a->form || !b->form || form_constant(a->form) || form_constant(b->form)) return DIM_SAME;
    return form_equal(a->form, b->form) ? DIM_SAME : DIM_COINCIDE;
}

DimMatch shape_match(const Shape *a, const Shape *b) {
    if (a->rank != b->rank) return DIM_DIFFERENT;
    DimMatch worst = DIM_SAME;
    for (int i = 0; i < a->rank; i++) {
        DimMatch m = dim_match(&a->dim[i], &b->dim[i]);
        if (m == DIM_DIFFERENT) return m;
        if (m == DIM_COINCIDE) worst = m;
    }
    return worst;
}

static void written_print(const Expr *e, Text *out) {
    switch (e->kind) {
    case EXPR_BINARY: {
        bool product = e->op == '*' || e->op == '/';
        const Expr *side[2] = {e->left, e->right};
        for (int i = 0; i < 2; i++) {
            bool parens =
                side[i]->kind == EXPR_BINARY && ((product && (side[i]->op == '+' || side[i]->op == '-')) ||
                                                 (i && e->op != '+' && e->op != '*'));
            if (i) text_add(out, product ? "%c" : " %c ", e->op);
            if (parens) text_add(out, "(");
            written_print(side[i], out);
            if (parens) text_add(out, ")");
        }
        break;
    }
    case EXPR_NEGATE:
        text_add(out, "-");
        written_print(e->left, out);
        break;
    default: text_add(out, "%s", e->text ? e->text : "?");
    }
}

static void dim_print(const Lower *l, const Dim *dim, Text *out) {
    if (dim->written)
        written_print(dim->written, out);
    else if (dim->form)
        form_print(l, dim->form, out);
    else
        text_add(out, "%lld", (long long)dim->value);
}

const char *dim_text(Lower *l, const Dim *dim) {
    Text out = {.arena = l->arena};
    dim_print(l, dim, &out);
    return out.at;
}

const char *shape_symbols(Lower *l, const Shape *s) {
    Text out = {.arena = l->arena};
    text_add(&out, "[");
    for (int i = 0; i < s->rank; i++) {
        if (i) text_add(&out, ", ");
        dim_print(l, &s->dim[i], &out);
    }
    text_add(&out, "]");
    return out.at;
}

const char *shape_numbers(Lower *l, const Shape *s) {
    Text out = {.arena = l->arena};
    text_add(&out, "[");
    for (int i = 0; i < s->rank; i++) text_add(&out, "%s%lld", i ? ", " : "", (long long)s->dim[i].value);
    text_add(&out, "]");
    return out.at;
}

const char *shape_text(Lower *l, const Shape *s) {
    const char *symbols = shape_symbols(l, s), *numbers = shape_numbers(l, s);
    return strcmp(symbols, numbers) ? arena_printf(l->arena, "%s = %s", symbols, numbers) : numbers;
}

Shape shape_with_last(const Shape *s, Dim last) {
    Shape out = *s;
    out.dim[out.rank - 1] = last;
    return out;
}

Type shape_type(const Shape *s, DType dtype) {
    Type t = {.dtype = dtype, .rank = s->rank};
    for (int i = 0; i < s->rank; i++) t.dim[i] = s->dim[i].value;
    return t;
}
