/* Sections and top-level settings: how to train, on what data, where to save, on which device.
 *
 * In: the tree and its dims. Out: Spec with every default resolved. Each key is used, or rejected with a
 * message: unknown keys and words get a did-you-mean [E0204, E0404], values a range [E0402], what cannot be
 * done yet a "not yet" [E05xx]. After an error the default stands in. */
#include "frontend/lower/lower_parts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- pieces ---- */

static void wrong_kind(Lower *l, const Expr *e, const char *what, const char *wanted) {
    diag_error(l->diag, E0401, e->span, "%s: %s is wanted, not %s", what, wanted, expr_text(l, e));
}

/* A number in [low, high]; false after an error, `out` untouched. */
static bool read_number(Lower *l, const Expr *e, const char *what, double low, double high, double *out) {
    double value;
    if (e->kind == EXPR_STRING || e->kind == EXPR_SIZE || e->kind == EXPR_TUPLE || e->kind == EXPR_SHAPE) {
        wrong_kind(l, e, what, "a number");
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

static bool read_count(Lower *l, const Expr *e, const char *what, int64_t low, int64_t high, int64_t *out) {
    double value;
    if (!read_number(l, e, what, -HUGE_VAL, HUGE_VAL, &value)) return false;
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
static int read_word(Lower *l, Span span, const char *what, const char *word, const char *const *known,
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
static void check_arguments(Lower *l, const Expr *call, const char *const *known, uint32_t count,
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

static void argument_number(Lower *l, const Expr *call, const char *name, double low, double high,
                            double *out) {
    const Arg *arg = call->kind == EXPR_CALL ? call_named(call, name) : NULL;
    if (arg) read_number(l, arg->value, name, low, high, out);
}

static const char *setting_word(const Expr *e) {
    return e->kind == EXPR_CALL ? e->callee.text : e->kind == EXPR_NAME ? e->text : NULL;
}

static void missing(Lower *l, SectionKind kind, const char *key, const char *example) {
    const Section *section = l->ast->section[kind];
    if (section)
        diag_error(l->diag, E0405, section->span, "%s lacks '%s'", section_name[kind], key);
    else
        diag_error(l->diag, E0405, NO_SPAN, "there is no %s section", section_name[kind]);
    diag_help(l->diag, "%s", example);
}

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

/* Clauses and units an entry has no use for. */
static void check_clauses(Lower *l, const Entry *entry, const char *const *known, uint32_t count,
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

static bool read_text(Lower *l, const Entry *entry, const char **out) {
    if (entry->value->kind != EXPR_STRING || !*entry->value->text) {
        wrong_kind(l, entry->value, entry->key.text, "a path in quotes");
        return false;
    }
    *out = entry->value->text;
    return true;
}

/* ---- dtype ---- */

static DType read_dtype(Lower *l, const char *key, DType otherwise) {
    static const char *const later[] = {"nf4", "f16", "fp8", "e4m3", "e5m2", "i8", "int8", "u8", "f64"};
    static const char *const known[] = {"f32", "bf16", "nf4"};
    const Entry *entry = ast_entry(l->ast, SECTION_DTYPE, key);
    if (!entry) return otherwise;
    check_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(entry->value);
    if (!word) {
        wrong_kind(l, entry->value, key, "a storage type such as bf16");
        return otherwise;
    }
    bool frozen = !strcmp(key, "frozen");
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (!strcmp(word, later[i])) {
            diag_error(l->diag, E0502, entry->value->span, "%s: storage in %s is not there yet", key, word);
            diag_help(l->diag, frozen ? "f32, bf16 and nf4 are" : "f32 and bf16 are; nf4 is for `frozen`");
            return otherwise;
        }
    int which = read_word(l, entry->value->span, key, word, known, frozen ? 3 : 2); /* nf4 was read before */
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
    check_clauses(l, entry, NULL, 0, NULL);
    check_arguments(l, e, (const char *const[]){"block"}, 1, "double_quant");
    const Arg *arg = e->kind == EXPR_CALL ? call_named(e, "block") : NULL;
    if (arg && read_count(l, arg->value, "block", 1, 65536, &block) && block != 64) {
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
        missing(l, SECTION_TRAIN, "optimizer", "train { steps 300  optimizer adamw(lr = 1e-3) }");
        return;
    }
    const Expr *e = entry->value;
    check_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(e);
    if (!word) {
        wrong_kind(l, e, "optimizer", "adamw(lr = ..)");
        return;
    }
    const int which = read_word(l, e->span, "optimizer", word, known, COUNT_OF(known));
    if (which < 0) return;
    out->moments_8bit = which == 1;
    check_arguments(l, e, names, COUNT_OF(names), NULL);
    if (e->kind != EXPR_CALL || !call_named(e, "lr")) {
        diag_error(l->diag, E0405, e->span, "%s lacks the learning rate", word);
        diag_help(l->diag, "optimizer %s(lr = 1e-3)", word);
        return;
    }
    argument_number(l, e, "lr", 0, 100, &out->learning_rate);
    argument_number(l, e, "eps", 1e-30, 1, &out->eps);
    argument_number(l, e, "decay", 0, 100, &out->decay);
    const Entry *moment = ast_entry(l->ast, SECTION_DTYPE, "optimizer");
    if (out->moments_8bit && moment && out->moment != DT_F32) {
        diag_error(l->diag, E0406, moment->value->span,
                   "optimizer: adamw8bit keeps moments in 8 bits, those of small tensors in f32");
        diag_help(l->diag, "remove the line, or train by adamw");
    }
    const Arg *betas = call_named(e, "betas");
    if (!betas) return;
    if (betas->value->kind != EXPR_TUPLE || betas->value->items.count != 2) {
        wrong_kind(l, betas->value, "betas", "a pair such as (0.9, 0.95)");
        return;
    }
    read_number(l, betas->value->items.at[0], "betas", 0, 0.999999999, &out->beta1);
    read_number(l, betas->value->items.at[1], "betas", 0, 0.999999999, &out->beta2);
}

/* Steps, or epochs, which the trainer counts. */
static void read_length(Lower *l, Spec *out) {
    const Entry *steps = ast_entry(l->ast, SECTION_TRAIN, "steps"),
                *epochs = ast_entry(l->ast, SECTION_TRAIN, "epochs");
    check_clauses(l, steps, NULL, 0, NULL);
    check_clauses(l, epochs, NULL, 0, NULL);
    if (steps) read_count(l, steps->value, "steps", 1, MOST_STEPS, &out->steps);
    if (epochs) read_count(l, epochs->value, "epochs", 1, 1000000, &out->epochs);
    if (!steps && !epochs)
        missing(l, SECTION_TRAIN, "steps", "train { steps 300  optimizer adamw(lr = 1e-3) }, or epochs 2");
    if (!steps || !epochs) return;
    diag_error(l->diag, E0406, epochs->value->span, "train: steps or epochs, not both");
    diag_note(l->diag, steps->value->span, "the run has so many steps");
    out->epochs = 0;
}

/* Requires that the number of steps was read. */
static void read_schedule(Lower *l, Spec *out) {
    static const char *const known[] = {"constant", "cosine", "linear"}, *const names[] = {"warmup", "floor"};
    const Entry *entry = ast_entry(l->ast, SECTION_TRAIN, "schedule");
    if (!entry) return;
    const Expr *e = entry->value;
    check_clauses(l, entry, NULL, 0, NULL);
    const char *word = setting_word(e);
    if (!word) {
        wrong_kind(l, e, "schedule", "cosine(warmup = ..)");
        return;
    }
    int which = read_word(l, e->span, "schedule", word, known, COUNT_OF(known));
    if (which < 0 && !strcmp(word, "wsd"))
        diag_help(l->diag,
                  "wsd is not there yet; constant(warmup = ..) is its first part, without the decay");
    if (which < 0) return;
    out->schedule = (ScheduleKind)which;
    check_arguments(l, e, names, which == SCHEDULE_CONSTANT ? 1 : 2, NULL);
    argument_number(l, e, "floor", 0, 1, &out->floor);
    const Arg *warmup = e->kind == EXPR_CALL ? call_named(e, "warmup") : NULL;
    if (!warmup || !read_count(l, warmup->value, "warmup", 0, INT64_C(1) << 40, &out->warmup_steps)) return;
    if (out->steps && out->warmup_steps > out->steps) {
        diag_error(l->diag, E0406, warmup->value->span,
                   "warmup: %lld steps are more than the %lld of the run", (long long)out->warmup_steps,
                   (long long)out->steps);
        diag_help(l->diag, "the learning rate would never be reached");
    }
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
    for (size_t i = 0; i < COUNT_OF(plain); i++) check_clauses(l, plain[i], NULL, 0, NULL);
    if (!l->ast->section[SECTION_TRAIN]) {
        missing(l, SECTION_TRAIN, NULL, "train { steps 300  optimizer adamw(lr = 1e-3) }");
        return;
    }
    read_length(l, out);
    read_optimizer(l, out);
    read_schedule(l, out);
    if (tokens && read_count(l, tokens->value, "tokens_per_step", 1, MOST_STEPS, &out->tokens_per_step))
        check_tokens(l, out, tokens->value->span);
    if (clip) read_number(l, clip->value, "clip_norm", 0, 1e30, &out->clip_norm);
    int64_t number = 0;
    if (seed && read_count(l, seed->value, "seed", 0, INT64_C(1) << 53, &number))
        out->seed = (uint64_t)number;
}

/* ---- data, save ---- */

static void read_data(Lower *l, Spec *out) {
    static const char *const formats[] = {
        "",
#define FORMAT(word) word,
#include "frontend/language/words.def"
    };
    _Static_assert(COUNT_OF(formats) == DATA_DOCUMENTS + 1, "a word for each DataFormat");
    static const char *const checks[] = {"every", "batches"};
    const Entry *train = ast_entry(l->ast, SECTION_DATA, "train"),
                *validate = ast_entry(l->ast, SECTION_DATA, "validate");
    if (!l->ast->section[SECTION_DATA]) return;
    check_clauses(l, train, &formats[1], COUNT_OF(formats) - 1, NULL);
    check_clauses(l, validate, checks, COUNT_OF(checks), NULL);
    if (!train) {
        missing(l, SECTION_DATA, "train", "data { train \"corpus.txt\" bytes }");
        return;
    }
    read_text(l, train, &out->train_path);
    for (int i = 1; i < (int)COUNT_OF(formats); i++) {
        if (!entry_clause(train, formats[i])) continue;
        if (out->train_format)
            diag_error(l->diag, E0406, entry_clause(train, formats[i])->span, "train: one format, not two");
        out->train_format = (DataFormat)i;
    }
    /* the graph has inputs that other data have not, so the file's name alone must tell */
    if (!out->train_format && out->train_path && ends_in(out->train_path, ".docs"))
        out->train_format = DATA_DOCUMENTS;
    if (!validate) return;
    if (validate->value->kind == EXPR_STRING)
        read_text(l, validate, &out->validate_path);
    else
        read_number(l, validate->value, "validate", 0, 0.9, &out->validate_fraction);
    const Clause *every = entry_clause(validate, "every"), *batches = entry_clause(validate, "batches");
    out->validate_every_steps = 100;
    out->validate_batches = 10;
    if (every) read_count(l, every->value, "every", 1, INT64_C(1) << 40, &out->validate_every_steps);
    if (batches) read_count(l, batches->value, "batches", 1, INT64_C(1) << 40, &out->validate_batches);
}

static void read_save(Lower *l, Spec *out) {
    const Entry *dir = ast_entry(l->ast, SECTION_SAVE, "dir"),
                *every = ast_entry(l->ast, SECTION_SAVE, "every"),
                *keep = ast_entry(l->ast, SECTION_SAVE, "keep"),
                *adapter = ast_entry(l->ast, SECTION_SAVE, "adapter"),
                *merged = ast_entry(l->ast, SECTION_SAVE, "merged");
    if (!l->ast->section[SECTION_SAVE]) return;
    check_clauses(l, dir, NULL, 0, NULL);
    check_clauses(l, every, NULL, 0, "steps");
    check_clauses(l, keep, NULL, 0, NULL);
    if (dir)
        read_text(l, dir, &out->save_dir);
    else
        missing(l, SECTION_SAVE, "dir", "save { dir \"out/\" }");
    check_clauses(l, adapter, NULL, 0, NULL);
    check_clauses(l, merged, NULL, 0, NULL);
    if (adapter) read_text(l, adapter, &out->adapter_path), out->adapter_span = adapter->key.span;
    if (merged) read_text(l, merged, &out->merged_path), out->merged_span = merged->key.span;
    out->save_keep = 1;
    if (every && !every->unit.text) diag_error(l->diag, E0401, every->span, "save: every how many steps?");
    if (every) read_count(l, every->value, "every", 1, INT64_C(1) << 40, &out->save_every_steps);
    if (keep) read_count(l, keep->value, "keep", 1, 1000000, &out->save_keep);
}

/* The folders of `save`: what they are made of is there. */
static void check_saved_folders(Lower *l, const Spec *out) {
    if (out->adapter_path && !out->adapt.rank) {
        diag_error(l->diag, E0406, out->adapter_span, "adapter: without `adapt` there is none");
        diag_help(l->diag, "a model that is trained whole goes into merged \"%s\"", out->adapter_path);
    }
    const Span *span = out->merged_path ? &out->merged_span : &out->adapter_span;
    if ((out->merged_path || out->adapter_path) && !out->weights_path)
        diag_error(l->diag, E0406, *span, "save: a folder for other tools is made from a published one");
    else
        return;
    diag_help(l->diag, "weights \"PATH\" names it");
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
        wrong_kind(l, e, "adapt", "lora(rank = ..)");
        return;
    }
    if (read_word(l, e->span, "adapt", word, known, 1) < 0) return;
    const Arg *stabilized = e->kind == EXPR_CALL ? call_flag(e, "rslora") : NULL;
    out->rank_stabilized = stabilized != NULL;
    check_arguments(l, e, names, COUNT_OF(names), "rslora");
    const Arg *rank = e->kind == EXPR_CALL ? call_named(e, "rank") : NULL;
    if (!rank) {
        diag_error(l->diag, E0405, e->span, "lora lacks the rank");
        diag_help(l->diag, "adapt lora(rank = 16)");
        return;
    }
    read_count(l, rank->value, "rank", 1, 65536, &out->rank);
    out->alpha = (double)out->rank;
    argument_number(l, e, "alpha", 1e-6, 1e6, &out->alpha);
    argument_number(l, e, "dropout", 0, 0.99, &out->dropout);
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
            read_word(l, maximize->name.span, "maximize", maximize->name.text,
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
    read_data(l, out);
    read_save(l, out);
    read_weights(l, out);
    read_adapt(l, &out->adapt);
    check_saved_folders(l, out);
    read_place(l, out);
    read_items(l, out);
}
