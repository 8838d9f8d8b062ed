/* The sections `data` and `save`: on what to train, and where it goes. */
#include "frontend/lower/lower_setting.h"

#include <string.h>

/* ---- data ---- */

/* The format that a word behind the path names, or the path's ending. */
static DataFormat read_format(Lower *l, const Entry *train, const char *path) {
    static const char *const formats[] = {
        "",
#define FORMAT(word) word,
#include "frontend/language/words.def"
    };
    _Static_assert(COUNT_OF(formats) == DATA_FORMATS, "a word for each DataFormat");
    DataFormat found = DATA_AUTO;
    setting_clauses(l, train, &formats[1], COUNT_OF(formats) - 1, NULL);
    for (int i = 1; i < (int)COUNT_OF(formats); i++) {
        if (!entry_clause(train, formats[i])) continue;
        if (found)
            diag_error(l->diag, E0406, entry_clause(train, formats[i])->span, "train: one format, not two");
        found = (DataFormat)i;
    }
    if (found || !path) return found;
    /* the graph has inputs that other data have not, so the file's name alone must tell */
    if (ends_in(path, ".docs")) return DATA_DOCUMENTS;
    return ends_in(path, ".jsonl") ? DATA_JSONL : DATA_AUTO;
}

/* A word of one of the keys that say what becomes of text: 0 or 1, -1 where there is none. `belongs`: that it
 * means something for this data; else `what` says for which it does. */
static int read_choice(Lower *l, const char *key, const char *const known[2], bool belongs,
                       const char *what) {
    const Entry *entry = ast_entry(l->ast, SECTION_DATA, key);
    if (!entry) return -1;
    setting_clauses(l, entry, NULL, 0, NULL);
    const char *word = entry->value->kind == EXPR_NAME ? entry->value->text : NULL;
    if (!word) {
        setting_wrong_kind(l, entry->value, key, known[0]);
        return -1;
    }
    int which = setting_choice(l, entry->value->span, key, word, known, 2);
    if (belongs) return which;
    diag_error(l->diag, E0406, entry->key.span, "%s: it is for %s", key, what);
    return -1;
}

static void read_preparation(Lower *l, Spec *out) {
    static const char *const losses[2] = {"completions", "all"}, *const packs[2] = {"documents", "none"};
    const Entry *tokenizer = ast_entry(l->ast, SECTION_DATA, "tokenizer");
    const bool prepared = data_is_prepared(out->train_format),
               lines = prepared && out->train_format != DATA_TEXT;
    if (tokenizer) {
        setting_clauses(l, tokenizer, NULL, 0, NULL);
        setting_text(l, tokenizer, &out->tokenizer_path);
        if (!prepared) {
            diag_error(l->diag, E0406, tokenizer->key.span,
                       "tokenizer: it is for data of the formats text, jsonl and chat");
            diag_help(l->diag, "other files hold bytes or tokens already");
        }
    }
    int loss = read_choice(l, "loss", losses, lines, "data of the formats jsonl and chat");
    out->loss_on = loss == 0 ? LOSS_COMPLETIONS : loss == 1 ? LOSS_ALL : LOSS_AS_USUAL;
    out->rows_apart = read_choice(l, "pack", packs, data_has_documents(out->train_format),
                                  "data of documents: jsonl, chat and documents") == 1;
}

void lower_data(Lower *l, Spec *out) {
    static const char *const checks[] = {"every", "batches"};
    const Entry *train = ast_entry(l->ast, SECTION_DATA, "train"),
                *validate = ast_entry(l->ast, SECTION_DATA, "validate");
    if (!l->ast->section[SECTION_DATA]) return;
    setting_clauses(l, validate, checks, COUNT_OF(checks), NULL);
    if (!train) {
        setting_missing(l, SECTION_DATA, "train", "data { train \"corpus.txt\" bytes }");
        return;
    }
    setting_text(l, train, &out->train_path);
    out->train_format = read_format(l, train, out->train_path);
    out->train_span = train->value->span;
    read_preparation(l, out);
    if (!validate) return;
    out->validate_span = validate->value->span;
    if (validate->value->kind == EXPR_STRING)
        setting_text(l, validate, &out->validate_path);
    else
        setting_number(l, validate->value, "validate", 0, 0.9, &out->validate_fraction);
    const Clause *every = entry_clause(validate, "every"), *batches = entry_clause(validate, "batches");
    out->validate_every_steps = 100;
    out->validate_batches = 10;
    if (every) setting_count(l, every->value, "every", 1, INT64_C(1) << 40, &out->validate_every_steps);
    if (batches) setting_count(l, batches->value, "batches", 1, INT64_C(1) << 40, &out->validate_batches);
}

void lower_check_data(Lower *l, Spec *out) {
    if (!data_is_prepared(out->train_format) || out->tokenizer_path) return;
    if (out->weights_path && !ends_in(out->weights_path, ".safetensors")) {
        out->tokenizer_path = out->weights_path; /* a published folder has both */
        return;
    }
    diag_error(l->diag, E0405, out->train_span, "data: text without a tokenizer");
    diag_help(l->diag, "tokenizer \"PATH\" names the folder that tokenizer.json lies in");
}

/* ---- save ---- */

/* merged ".." onto original, or onto "FOLDER": adapters are added to weights that were never quantised. */
static void read_onto(Lower *l, const Entry *merged, Spec *out) {
    const Clause *onto = merged ? entry_clause(merged, "onto") : NULL;
    if (!onto) return;
    const bool named = onto->value->kind == EXPR_STRING && *onto->value->text;
    out->merged_unquantised = named || expr_is_name(onto->value, "original");
    out->merged_onto_path = named ? onto->value->text : NULL;
    out->onto_span = onto->span;
    if (!out->merged_unquantised)
        diag_error(l->diag, E0401, onto->value->span,
                   "merged: onto `original`, or a folder's path in quotes");
}

void lower_save(Lower *l, Spec *out) {
    const Entry *dir = ast_entry(l->ast, SECTION_SAVE, "dir"),
                *every = ast_entry(l->ast, SECTION_SAVE, "every"),
                *keep = ast_entry(l->ast, SECTION_SAVE, "keep"),
                *adapter = ast_entry(l->ast, SECTION_SAVE, "adapter"),
                *merged = ast_entry(l->ast, SECTION_SAVE, "merged");
    if (!l->ast->section[SECTION_SAVE]) return;
    setting_clauses(l, dir, NULL, 0, NULL);
    setting_clauses(l, every, NULL, 0, "steps");
    setting_clauses(l, keep, NULL, 0, NULL);
    if (dir)
        setting_text(l, dir, &out->save_dir);
    else
        setting_missing(l, SECTION_SAVE, "dir", "save { dir \"out/\" }");
    setting_clauses(l, adapter, NULL, 0, NULL);
    setting_clauses(l, merged, (const char *const[]){"onto"}, 1, NULL);
    if (adapter) setting_text(l, adapter, &out->adapter_path), out->adapter_span = adapter->key.span;
    if (merged) setting_text(l, merged, &out->merged_path), out->merged_span = merged->key.span;
    read_onto(l, merged, out);
    out->save_keep = 1;
    if (every && !every->unit.text) diag_error(l->diag, E0401, every->span, "save: every how many steps?");
    if (every) setting_count(l, every->value, "every", 1, INT64_C(1) << 40, &out->save_every_steps);
    if (keep) setting_count(l, keep->value, "keep", 1, 1000000, &out->save_keep);
}

/* The folders of `save`: what they are made of is there. */
void lower_check_saved(Lower *l, const Spec *out) {
    if (out->adapter_path && !out->adapt.rank) {
        diag_error(l->diag, E0406, out->adapter_span, "adapter: without `adapt` there is none");
        diag_help(l->diag, "a model that is trained whole goes into merged \"%s\"", out->adapter_path);
    }
    if (out->merged_unquantised && !out->adapt.rank) {
        diag_error(l->diag, E0406, out->onto_span, "onto: without `adapt` there is nothing to add");
        diag_help(l->diag, "a model that is trained whole is written as it is: leave `onto` out");
    } else if (out->merged_unquantised && !out->merged_onto_path && dtype_bytes[out->frozen_matrix]) {
        diag_error(l->diag, E0406, out->onto_span, "onto original: no frozen weight is quantised");
        diag_help(l->diag, "without `onto` the adapters are added to the same weights");
    }
    const Span *span = out->merged_path ? &out->merged_span : &out->adapter_span;
    if ((out->merged_path || out->adapter_path) && !out->weights_path)
        diag_error(l->diag, E0406, *span, "save: a folder for other tools is made from a published one");
    else
        return;
    diag_help(l->diag, "weights \"PATH\" names it");
}
