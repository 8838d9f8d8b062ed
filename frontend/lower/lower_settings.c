/* Sections and top-level settings: how to train, on what data, where to save, on which device.
 *
 * In: the tree and its dims. Out: Spec with every default resolved. Each key is used, or rejected with a
 * message: unknown keys and words get a did-you-mean [E0204, E0404], values a range [E0402], what cannot be
 * done yet a "not yet" [E05xx]. After an error the default stands in. */
#include "frontend/lower/lower_setting.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void check_keys(Lower *l) {
    for (int kind = SECTION_DTYPE; kind < SECTION_COUNT; kind++) {
        const Section *section = l->ast->section[kind];
        uint32_t known = 0;
        while (section_key[kind][known]) known++;
        for (uint32_t i = 0; section && i < section->entry.count; i++) {
            const Name *key = &section->entry.at[i].key;
            uint32_t k = 0;
            while (k < known && strcmp(section_key[kind][k], key->text)) k++;
            if (k < known) continue;
            diag_error(l->diag, E0204, key->span, "%s knows no '%s'", section_name[kind], key->text);
            diag_suggest(l->diag, key->text, section_key[kind], known);
        }
    }
}

/* ---- dtype ---- */

static DType read_dtype(Lower *l, const char *key, DType otherwise) {
    static const char *const later[] = {"nf4", "f16", "fp8", "e4m3", "e5m2", "i8", "int8", "u8", "f64"};
    static const char *const known[] = {"f32", "bf16", "nf4"};
    const Entry *entry = ast_entry(l->ast, SECTION_DTYPE, key);
    if (!entry) return otherwise;
    setting_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(entry->value);
    if (!word) {
        setting_wrong_kind(l, entry->value, key, "a storage type such as bf16");
        return otherwise;
    }
    bool frozen = !strcmp(key, "frozen");
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (!strcmp(word, later[i])) {
            diag_error(l->diag, E0502, entry->value->span, "%s: storage in %s is not there yet", key, word);
            diag_help(l->diag, frozen ? "f32, bf16 and nf4 are" : "f32 and bf16 are; nf4 is for `frozen`");
            return otherwise;
        }
    int which =
        setting_choice(l, entry->value->span, key, word, known, frozen ? 3 : 2); /* nf4 was read before */
    if (which >= 0 && entry->value->kind == EXPR_CALL)
        diag_error(l->diag, E0401, entry->value->span, "%s: %s takes no arguments", key, word);
    return which == 0 ? DT_F32 : which == 1 ? DT_BF16 : otherwise;
}

/* nf4(block = 64, double_quant) of frozen matrices; false where another type is written. */
static bool read_nf4(Lower *l, const Entry *entry, DType *out) {
    const Expr *e = entry->value;
    const char *word = setting_word(e);
    if (!word || strcmp(word, "nf4")) return false;
    int64_t block = 64;
    setting_clauses(l, entry, NULL, 0, NULL);
    setting_arguments(l, e, (const char *const[]){"block"}, 1, "double_quant");
    const Arg *arg = e->kind == EXPR_CALL ? call_named(e, "block") : NULL;
    if (arg && setting_count(l, arg->value, "block", 1, 65536, &block) && block != 64) {
        diag_error(l->diag, E0402, arg->span, "nf4: blocks of %" PRId64 " are not there, only of 64", block);
        diag_help(l->diag, "write nf4(block = 64, double_quant)");
    }
    *out = e->kind == EXPR_CALL && call_flag(e, "double_quant") ? DT_NF4 : DT_NF4_F32;
    return true;
}

static void read_dtypes(Lower *l, Spec *out) {
    out->compute = read_dtype(l, "compute", DT_F32);
    out->trained = read_dtype(l, "trained", DT_F32);
    out->gradient = read_dtype(l, "gradient", DT_F32);
    out->moment = read_dtype(l, "optimizer", DT_F32);
    const Entry *accumulate = ast_entry(l->ast, SECTION_DTYPE, "accumulate");
    if (read_dtype(l, "accumulate", DT_F32) != DT_F32) {
        diag_error(l->diag, E0502, accumulate->value->span,
                   "accumulate: sums are kept in f32, bf16 sums are not there yet");
        diag_help(l->diag, "write accumulate f32");
    }
    const Entry *frozen = ast_entry(l->ast, SECTION_DTYPE, "frozen");
    out->frozen = out->frozen_matrix = out->compute;
    if (!frozen || !read_nf4(l, frozen, &out->frozen_matrix))
        out->frozen = out->frozen_matrix = read_dtype(l, "frozen", out->compute);
    if (!frozen || l->ast->single[ITEM_ADAPT]) return;
    diag_error(l->diag, E0406, frozen->value->span, "frozen: without `adapt` every weight is trained");
    diag_help(l->diag, "remove the line; `trained` says how weights are stored");
}

/* ---- train ---- */

static const int64_t MOST_STEPS = INT64_C(1) << 40;

static void read_optimizer(Lower *l, Spec *out) {
    static const char *const known[] = {"adamw", "adamw8bit"}, *const names[] = {"lr", "betas", "eps",
                                                                                 "decay"};
    const Entry *entry = ast_entry(l->ast, SECTION_TRAIN, "optimizer");
    if (!entry) {
        setting_missing(l, SECTION_TRAIN, "optimizer", "train { steps 300  optimizer adamw(lr = 1e-3) }");
        return;
    }
    const Expr *e = entry->value;
    setting_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(e);
    if (!word) {
        setting_wrong_kind(l, e, "optimizer", "adamw(lr = ..)");
        return;
    }
    const int which = setting_choice(l, e->span, "optimizer", word, known, COUNT_OF(known));
    if (which < 0) return;
    out->moments_8bit = which == 1;
    setting_arguments(l, e, names, COUNT_OF(names), NULL);
    if (e->kind != EXPR_CALL || !call_named(e, "lr")) {
        diag_error(l->diag, E0405, e->span, "%s lacks the learning rate", word);
        diag_help(l->diag, "optimizer %s(lr = 1e-3)", word);
        return;
    }
    setting_argument_number(l, e, "lr", 0, 100, &out->learning_rate);
    setting_argument_number(l, e, "eps", 1e-30, 1, &out->eps);
    setting_argument_number(l, e, "decay", 0, 100, &out->decay);
    const Entry *moment = ast_entry(l->ast, SECTION_DTYPE, "optimizer");
    if (out->moments_8bit && moment && out->moment != DT_F32) {
        diag_error(l->diag, E0406, moment->value->span,
                   "optimizer: adamw8bit keeps moments in 8 bits, those of small tensors in f32");
        diag_help(l->diag, "remove the line, or train by adamw");
    }
    const Arg *betas = call_named(e, "betas");
    if (!betas) return;
    if (betas->value->kind != EXPR_TUPLE || betas->value->items.count != 2) {
        setting_wrong_kind(l, betas->value, "betas", "a pair such as (0.9, 0.95)");
        return;
    }
    setting_number(l, betas->value->items.at[0], "betas", 0, 0.999999999, &out->beta1);
    setting_number(l, betas->value->items.at[1], "betas", 0, 0.999999999, &out->beta2);
}

/* Steps, or epochs, which the trainer counts. */
static void read_length(Lower *l, Spec *out) {
    const Entry *steps = ast_entry(l->ast, SECTION_TRAIN, "steps"),
                *epochs = ast_entry(l->ast, SECTION_TRAIN, "epochs");
    setting_clauses(l, steps, NULL, 0, NULL);
    setting_clauses(l, epochs, NULL, 0, NULL);
    if (steps) setting_count(l, steps->value, "steps", 1, MOST_STEPS, &out->steps);
    if (epochs) setting_count(l, epochs->value, "epochs", 1, 1000000, &out->epochs);
    if (!steps && !epochs)
        setting_missing(l, SECTION_TRAIN, "steps",
                        "train { steps 300  optimizer adamw(lr = 1e-3) }, or epochs 2");
    if (!steps || !epochs) return;
    diag_error(l->diag, E0406, epochs->value->span, "train: steps or epochs, not both");
    diag_note(l->diag, steps->value->span, "the run has so many steps");
    out->epochs = 0;
}

/* Requires that the number of steps was read. */
static void read_schedule(Lower *l, Spec *out) {
    static const char *const known[] = {"constant", "cosine", "linear", "wsd"}, *const names[] = {"warmup",
                                                                                                  "floor",
                                                                                                  "decay"};
    const Entry *entry = ast_entry(l->ast, SECTION_TRAIN, "schedule");
    if (!entry) return;
    const Expr *e = entry->value;
    setting_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(e);
    if (!word) {
        setting_wrong_kind(l, e, "schedule", "cosine(warmup = ..)");
        return;
    }
    int which = setting_choice(l, e->span, "schedule", word, known, COUNT_OF(known));
    if (which < 0) return;
    out->schedule = (ScheduleKind)which;
    setting_arguments(l, e, names, which == SCHEDULE_CONSTANT ? 1 : which == SCHEDULE_WSD ? 3 : 2, NULL);
    setting_argument_number(l, e, "floor", 0, 1, &out->floor);
    out->decay_part = 0.2;
    setting_argument_number(l, e, "decay", 0, 1, &out->decay_part);
    const Arg *warmup = e->kind == EXPR_CALL ? call_named(e, "warmup") : NULL;
    if (!warmup || !setting_count(l, warmup->value, "warmup", 0, INT64_C(1) << 40, &out->warmup_steps))
        return;
    if (out->steps && out->warmup_steps > out->steps) {
        diag_error(l->diag, E0406, warmup->value->span,
                   "warmup: %lld steps are more than the %lld of the run", (long long)out->warmup_steps,
                   (long long)out->steps);
        diag_help(l->diag, "the learning rate would never be reached");
    }
}

/* guard spike(6): needs the loss of a step before any weight is updated. */
static void read_guard(Lower *l, Spec *out) {
    const Entry *entry = ast_entry(l->ast, SECTION_TRAIN, "guard");
    if (!entry) return;
    const Expr *e = entry->value;
    const char *word = setting_word(e);
    setting_clauses(l, entry, NULL, 0, NULL);
    if (!word || e->kind != EXPR_CALL || e->args.count != 1 || e->args.at[0].name.text) {
        setting_wrong_kind(l, e, "guard", "spike(K)");
        return;
    }
    if (setting_choice(l, e->span, "guard", word, (const char *const[]){"spike"}, 1) < 0) return;
    if (!setting_number(l, e->args.at[0].value, "spike", 1, 1e6, &out->guard_spread)) return;
    if (out->clip_norm > 0) return;
    diag_error(l->diag, E0406, e->span,
               "guard: without clip_norm weights are updated before the loss of the step is known");
    diag_help(l->diag, "write clip_norm 1.0, or remove the guard; train --max-loss X ends a run instead");
}

static void tokens_mismatch(Lower *l, const Spec *out, Span span, int64_t unit, const char *each) {
    diag_error(l->diag, E0403, span, "tokens_per_step: %lld is no multiple of %s = %lld",
               (long long)out->tokens_per_step, each, (long long)unit);
    int64_t below = out->tokens_per_step / unit * unit, above = below + unit;
    if (below)
        diag_help(l->diag, "%lld and %lld are", (long long)below, (long long)above);
    else
        diag_help(l->diag, "%lld is", (long long)above);
}

/* A step is a whole number of micro-batches of B sequences of T tokens. */
static void check_tokens(Lower *l, Spec *out, Span span) {
    const NamedDim *b = dims_find(l, "B"), *t = dims_find(l, "T");
    if (!b || !t || b->state != DIM_KNOWN || t->state != DIM_KNOWN) return;
    int64_t context = t->dim.value, batch = b->dim.value;
    if (out->tokens_per_step % context) {
        tokens_mismatch(l, out, span, context, "T");
    } else if (!b->automatic && out->tokens_per_step % (batch * context)) {
        tokens_mismatch(l, out, span, batch * context, "B*T");
        int64_t sequences = out->tokens_per_step / context, fit = batch < sequences ? batch : sequences;
        while (sequences % fit) fit--;
        diag_help(l->diag, "or B = %lld", (long long)fit);
    } else if (b->automatic) {
        for (int64_t i = b->low; i <= b->high; i++)
            if (out->tokens_per_step % (i * context) == 0) return;
        diag_error(l->diag, E0403, span,
                   "tokens_per_step: %lld is %lld sequences, which no B in %lld..%lld divides",
                   (long long)out->tokens_per_step, (long long)(out->tokens_per_step / context),
                   (long long)b->low, (long long)b->high);
    }
}

static void read_train(Lower *l, Spec *out) {
    const Entry *tokens = ast_entry(l->ast, SECTION_TRAIN, "tokens_per_step");
    const Entry *clip = ast_entry(l->ast, SECTION_TRAIN, "clip_norm"),
                *seed = ast_entry(l->ast, SECTION_TRAIN, "seed");
    out->beta1 = 0.9;
    out->beta2 = 0.95;
    out->eps = 1e-8;
    const Entry *plain[] = {tokens, clip, seed};
    for (size_t i = 0; i < COUNT_OF(plain); i++) setting_clauses(l, plain[i], NULL, 0, NULL);
    if (!l->ast->section[SECTION_TRAIN]) {
        setting_missing(l, SECTION_TRAIN, NULL, "train { steps 300  optimizer adamw(lr = 1e-3) }");
        return;
    }
    read_length(l, out);
    read_optimizer(l, out);
    read_schedule(l, out);
    if (tokens && setting_count(l, tokens->value, "tokens_per_step", 1, MOST_STEPS, &out->tokens_per_step))
        check_tokens(l, out, tokens->value->span);
    if (clip) setting_number(l, clip->value, "clip_norm", 0, 1e30, &out->clip_norm);
    read_guard(l, out);
    int64_t number = 0;
    if (seed && setting_count(l, seed->value, "seed", 0, INT64_C(1) << 53, &number))
        out->seed = (uint64_t)number;
}

/* ---- device, budget, pins, what is not there yet ---- */

static void read_weights(Lower *l, Spec *out) {
    const Item *weights = l->ast->single[ITEM_WEIGHTS];
    if (!weights) return;
    out->weights_path = weights->name.text;
    if (!*weights->name.text) diag_error(l->diag, E0401, weights->name.span, "weights: the path is empty");
    if (l->ast->single[ITEM_ADAPT] || !weights->flag) return;
    diag_error(l->diag, E0406, weights->span,
               "weights: frozen, and nothing adapts them: nothing would be trained");
    diag_help(l->diag, "without the word 'frozen' every weight is trained; or: adapt lora(rank = 16)");
}

/* lora(rank = 16, alpha = 32, dropout = 0.05, rslora) */
static void read_adapt(Lower *l, Adapt *out) {
    static const char *const known[] = {"lora"}, *const names[] = {"rank", "alpha", "dropout"};
    const Item *item = l->ast->single[ITEM_ADAPT];
    if (!item) return;
    const Expr *e = item->value;
    const char *word = setting_word(e);
    out->on = item->name.text;
    out->on_span = item->name.span;
    out->train = item->other.text;
    out->train_span = item->other.span;
    out->rank = 1; /* after an error the default stands in, and weights are frozen */
    if (!word) {
        setting_wrong_kind(l, e, "adapt", "lora(rank = ..)");
        return;
    }
    if (setting_choice(l, e->span, "adapt", word, known, 1) < 0) return;
    const Arg *stabilized = e->kind == EXPR_CALL ? call_flag(e, "rslora") : NULL;
    out->rank_stabilized = stabilized != NULL;
    setting_arguments(l, e, names, COUNT_OF(names), "rslora");
    const Arg *rank = e->kind == EXPR_CALL ? call_named(e, "rank") : NULL;
    if (!rank) {
        diag_error(l->diag, E0405, e->span, "lora lacks the rank");
        diag_help(l->diag, "adapt lora(rank = 16)");
        return;
    }
    setting_count(l, rank->value, "rank", 1, 65536, &out->rank);
    out->alpha = (double)out->rank;
    setting_argument_number(l, e, "alpha", 1e-6, 1e6, &out->alpha);
    setting_argument_number(l, e, "dropout", 0, 0.99, &out->dropout);
}

static void read_place(Lower *l, Spec *out) {
    const Item *device = l->ast->single[ITEM_DEVICE], *budget = l->ast->single[ITEM_BUDGET],
               *host = l->ast->single[ITEM_HOST], *maximize = l->ast->single[ITEM_MAXIMIZE];
    out->device = "host";
    if (device) {
        out->device = device->name.text;
        out->device_span = device->name.span;
    }
    if (device && device->value) {
        out->device_memory_bytes = device->value->integer;
        if (out->device_memory_bytes < 1)
            diag_error(l->diag, E0402, device->value->span, "device: its memory must be above 0");
    }
    if (budget) {
        out->budget_bytes = budget->value->integer;
        out->budget_span = span_join(budget->span, budget->value->span);
        if (out->budget_bytes < 1) diag_error(l->diag, E0402, budget->value->span, "budget: must be above 0");
    }
    if (host) out->host_bytes = host->value->integer;
    if (host && out->host_bytes < 1) diag_error(l->diag, E0402, host->value->span, "host: must be above 0");
    if (maximize && strcmp(maximize->name.text, "tokens_per_second")) {
        if (!strcmp(maximize->name.text, "T"))
            diag_error(l->diag, E0504, maximize->name.span,
                       "maximize T is not there yet, only tokens_per_second");
        else
            setting_choice(l, maximize->name.span, "maximize", maximize->name.text,
                           (const char *const[]){"tokens_per_second", "T"}, 2);
    }
}

static void read_items(Lower *l, Spec *out) {
    for (uint32_t i = 0; i < l->ast->item.count; i++) {
        const Item *item = l->ast->item.at[i];
        switch (item->kind) {
        case ITEM_OFFLOAD:
            if (!l->ast->single[ITEM_HOST]) {
                diag_error(l->diag, E0408, item->span, "offload: no host memory is given to copy \"%s\" to",
                           item->name.text);
                diag_help(l->diag, "say how much beside the budget: host 8GiB");
            }
            *vec_add(l->arena, &out->pin) = (struct Pin){PIN_OFFLOAD, item->name.text, item->name.span};
            break;
        case ITEM_KEEP:
        case ITEM_RECOMPUTE: {
            PinKind kind = item->kind == ITEM_KEEP ? PIN_KEEP : PIN_RECOMPUTE;
            *vec_add(l->arena, &out->pin) = (struct Pin){kind, item->name.text, item->name.span};
            break;
        }
        default: break;
        }
    }
}

void settings_read(Lower *l, Spec *out) {
    const NamedDim *b = dims_find(l, "B");
    if (b) {
        out->batch_auto = b->automatic;
        out->batch_low = b->automatic ? b->low : b->dim.value;
        out->batch_high = b->automatic ? b->high : b->dim.value;
    }
    check_keys(l);
    read_dtypes(l, out);
    read_train(l, out);
    lower_data(l, out);
    lower_save(l, out);
    read_weights(l, out);
    read_adapt(l, &out->adapt);
    lower_check_data(l, out);
    lower_check_saved(l, out);
    read_place(l, out);
    read_items(l, out);
}
