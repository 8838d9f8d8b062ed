/* How rotary positions are stretched beyond the context that a model was made for: what stands after
 * `scaling =` in a rope.
 *
 * In: an expression. Out: the attributes of OP_ROPE that kernels/rope.c reads. */
#include "frontend/lower/lower_parts.h"

#include <string.h>

/* linear(4): every frequency divided. The kernels have one rule, Llama 3's: of an original context of no
 * tokens all waves are longer, and divided. */
static bool rope_linear(Lower *l, const Expr *e, Attr *attr) {
    double factor = 0;
    if (e->args.count != 1 || e->args.at[0].name.text) {
        diag_error(l->diag, E0301, e->span, "linear takes a factor");
        diag_help(l->diag, "as in linear(4)");
        return false;
    }
    if (!number_eval(l, e->args.at[0].value, &factor)) return false;
    if (!(factor > 0)) {
        diag_error(l->diag, E0402, e->args.at[0].span, "linear: %g must be above 0", factor);
        return false;
    }
    attr->rope_factor = factor;
    attr->rope_low = attr->rope_high = 1;
    return true;
}

/* llama3(8, low = 1, high = 4, original = 8192) */
static bool rope_llama3(Lower *l, const Expr *e, Attr *attr) {
    static const char *const names[3] = {"low", "high", "original"};
    double value[4] = {0};
    bool seen[4] = {0};
    for (uint32_t i = 0; i < e->args.count; i++) {
        const Arg *a = &e->args.at[i];
        int which = 0;
        while (a->name.text && which < 3 && strcmp(a->name.text, names[which])) which++;
        if (a->name.text && which == 3) {
            diag_error(l->diag, E0204, a->name.span, "llama3 knows no '%s'", a->name.text);
            diag_suggest(l->diag, a->name.text, names, 3);
            return false;
        }
        which = a->name.text ? which + 1 : 0;
        if (seen[which]) {
            diag_error(l->diag, E0301, a->span, "llama3: given twice");
            return false;
        }
        seen[which] = true;
        if (!number_eval(l, a->value, &value[which])) return false;
        if (!(value[which] > 0)) {
            diag_error(l->diag, E0402, a->span, "llama3: %g must be above 0", value[which]);
            return false;
        }
    }
    if (!seen[0] || !seen[1] || !seen[2] || !seen[3] || value[2] <= value[1]) {
        diag_error(l->diag, E0301, e->span, "llama3 takes a factor, low, high above low, and original");
        diag_help(l->diag, "Llama 3.1 has llama3(8, low = 1, high = 4, original = 8192)");
        return false;
    }
    attr->rope_factor = value[0];
    attr->rope_low = value[1];
    attr->rope_high = value[2];
    attr->rope_original = (int64_t)value[3];
    return true;
}

bool rope_scaling(Lower *l, const Expr *e, Attr *attr) {
    if (e->kind == EXPR_CALL && !strcmp(e->callee.text, "llama3")) return rope_llama3(l, e, attr);
    if (e->kind == EXPR_CALL && !strcmp(e->callee.text, "linear")) return rope_linear(l, e, attr);
    diag_error(l->diag, E0404, e->span,
               "rope: the scalings known are linear(4) and llama3(8, low = 1, high = 4, original = 8192)");
    diag_help(l->diag,
              "yarn, dynamic and longrope are not there yet; without `scaling`, stay within the context "
              "that the model was made for");
    return false;
}
