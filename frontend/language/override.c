/* `--set name=value`, `--device` and `--budget`: settings of the command line in place of the file's. In: a
 * tree that parsed, and the sink it was parsed with. Out: the tree as if the file said so. The option becomes
 * a line behind the file's text, so that whatever is found wrong with the value later points at it. */
#include "frontend/language/token.h"
#include "parse.h"

#include <string.h>
#include <strings.h>

/* What a setting takes. */
typedef enum Wanted { WANT_DIM, WANT_SIZE, WANT_TEXT, WANT_VALUE } Wanted;

typedef struct Option {
    Ast *ast;
    Diag *diag;
    const char *name;      /* of the setting */
    Span name_span, value; /* in ast->source */
} Option;

/* ---- values ---- */

static void no_value(const Option *option, Wanted wanted) {
    static const char *const help[] = {
        [WANT_DIM] = "a dim is a whole number or made of other dims: 4, 2*D, or auto(1..8) for B",
        [WANT_SIZE] = "write a size with a unit, as in 21GiB",
        [WANT_TEXT] = "write a name or a path",
        [WANT_VALUE] = "write it as the file would: 300, 1e-3, (0.9, 0.95), adamw(lr = 1e-3)",
    };
    diag_error(option->diag, E0115, option->value, "'%.*s' is no value for '%s'",
               (int)(option->value.end - option->value.beg), option->ast->source + option->value.beg,
               option->name);
    diag_help(option->diag, "%s", help[wanted]);
}

/* The value as an expression; text without quotes where text is wanted. NULL after an error. */
static Expr *option_value(const Option *option, Wanted wanted) {
    Ast *ast = option->ast, *scratch = NEW(ast->arena, Ast);
    const char *text = ast->source + option->value.beg;
    size_t length = option->value.end - option->value.beg;
    *scratch =
        (Ast){.arena = ast->arena, .path = ast->path, .source = ast->source, .length = option->value.end};
    Diag *quiet = diag_new(ast->arena, ast->path, ast->source, ast->length);
    Parser parser = {
        .arena = ast->arena, .diag = quiet, .ast = scratch, .synced = NONE, .start = START_VALUE};
    if (!text_check(text, length, quiet)) {
        diag_error(option->diag, E0115, option->value, "the value of '%s' is not UTF-8", option->name);
        return NULL;
    }
    uint32_t errors = diag_errors(option->diag);
    if (wanted != WANT_TEXT) parser.diag = option->diag; /* what is no number or no size says so itself */
    tokens_scan(&parser, option->value.beg);
    if (diag_errors(option->diag) > errors) return NULL;
    parser.diag = quiet;
    if (!diag_errors(quiet) && parse_tokens(&parser) && !scratch->comment.count) {
        bool plain = parser.value->kind == EXPR_NAME || parser.value->kind == EXPR_BINARY;
        if (wanted != WANT_TEXT || !plain) return parser.value;
    }
    if (wanted == WANT_TEXT && text[0] != '"') {
        Token token = {
            .kind = STRING, .span = option->value, .text = arena_strndup(ast->arena, text, length)};
        return tree_leaf(&parser, EXPR_STRING, &token);
    }
    no_value(option, wanted);
    return NULL;
}

/* ---- what is replaced ---- */

static bool section_knows(int kind, const char *key) {
    for (uint32_t i = 0; section_key[kind][i]; i++)
        if (!strcmp(section_key[kind][i], key)) return true;
    return false;
}

static Section *section_wanted(Ast *ast, SectionKind kind) {
    if (!ast->section[kind]) {
        Item *item = NEW(ast->arena, Item);
        item->kind = ITEM_SECTION;
        item->section = ast->section[kind] = NEW(ast->arena, Section);
        item->section->kind = kind;
        *vec_add(ast->arena, &ast->item) = item;
    }
    return ast->section[kind];
}

/* The length of a run is its steps or its epochs: one takes the other's place. */
static void drop_other_length(Ast *ast, const char *key) {
    const char *other = !strcmp(key, "steps") ? "epochs" : !strcmp(key, "epochs") ? "steps" : NULL;
    Section *train = ast->section[SECTION_TRAIN];
    if (!other || !train) return;
    uint32_t left = 0;
    for (uint32_t i = 0; i < train->entry.count; i++)
        if (strcmp(train->entry.at[i].key.text, other)) train->entry.at[left++] = train->entry.at[i];
    train->entry.count = left;
}

static bool set_entry(const Option *option, SectionKind kind, const char *key) {
    Entry *entry = (Entry *)ast_entry(option->ast, kind, key);
    static const char *const no_path[] = {"every", "keep", "loss", "pack"};
    bool path = kind == SECTION_SAVE || kind == SECTION_DATA;
    for (size_t i = 0; i < COUNT_OF(no_path); i++) path &= strcmp(key, no_path[i]) != 0;
    Expr *value = option_value(option, kind == SECTION_DIMS ? WANT_DIM : path ? WANT_TEXT : WANT_VALUE);
    if (!value) return false;
    if (kind == SECTION_TRAIN) {
        drop_other_length(option->ast, key);
        entry = (Entry *)ast_entry(option->ast, kind, key);
    }
    if (!entry) {
        entry = vec_add(option->ast->arena, &section_wanted(option->ast, kind)->entry);
        entry->key = (Name){arena_strdup(option->ast->arena, key), option->name_span};
    }
    entry->value = value;
    return true;
}

static Item *item_wanted(Ast *ast, ItemKind kind) {
    if (!ast->single[kind]) {
        Item *item = ast->single[kind] = NEW(ast->arena, Item);
        item->kind = kind;
        *vec_add(ast->arena, &ast->item) = item;
    }
    return ast->single[kind];
}

/* NULL after an error. */
static Expr *size_value(const Option *option) {
    Expr *value = option_value(option, WANT_SIZE);
    if (!value || value->kind == EXPR_SIZE) return value;
    if (expr_is_number(value)) {
        diag_error(option->diag, E0105, option->value, "a byte size needs a unit");
        diag_help(option->diag, "write %sGiB, or %sMiB, or %sB", value->text, value->text, value->text);
    } else {
        no_value(option, WANT_SIZE);
    }
    return NULL;
}

static bool set_item(const Option *option, ItemKind kind) {
    Ast *ast = option->ast;
    bool size = kind == ITEM_BUDGET || kind == ITEM_HOST;
    if (kind == ITEM_ADAPT) {
        Expr *method = option_value(option, WANT_VALUE);
        if (method) item_wanted(ast, kind)->value = method;
        return method != NULL;
    }
    Expr *value = size ? size_value(option) : option_value(option, WANT_TEXT);
    if (!value) return false;
    if (!size && value->kind != EXPR_STRING) {
        no_value(option, WANT_TEXT);
        return false;
    }
    Item *item = item_wanted(ast, kind);
    item->value = size ? value : NULL; /* a memory that was pretended is the other device's */
    if (!size) item->name = (Name){value->text, option->value};
    return true;
}

/* A pattern over names. */
static bool set_pattern(const Option *option, Name *pattern) {
    Expr *value = option_value(option, WANT_TEXT);
    if (value && value->kind != EXPR_STRING) no_value(option, WANT_TEXT);
    if (!value || value->kind != EXPR_STRING) return false;
    *pattern = (Name){value->text, option->value};
    return true;
}

/* The memory that the device is taken to have. */
static bool set_memory(const Option *option) {
    Ast *ast = option->ast;
    Expr *value = size_value(option);
    if (!value) return false;
    Item *item = item_wanted(ast, ITEM_DEVICE);
    if (!item->name.text) item->name = (Name){"host", option->name_span};
    item->value = value;
    return true;
}

/* The value of a setting that takes arguments; NULL when the file has none. */
static Expr **value_with_arguments(Ast *ast, const char *key) {
    bool is_adapt = !strcmp(key, item_word[ITEM_ADAPT]);
    Entry *entry = is_adapt ? NULL : (Entry *)ast_entry(ast, SECTION_TRAIN, key);
    Item *adapt = is_adapt ? ast->single[ITEM_ADAPT] : NULL;
    Expr **value = entry ? &entry->value : adapt ? &adapt->value : NULL;
    return value && ((*value)->kind == EXPR_CALL || (*value)->kind == EXPR_NAME) ? value : NULL;
}

/* The part before the last dot of "optimizer.lr", "train.optimizer.lr" or "adapt.rank": a setting whose value
 * takes arguments. NULL when there is no such setting in the file. */
static Expr **setting_with_arguments(const Option *option, const char **argument) {
    static const char *const keys[] = {"optimizer", "schedule", "adapt"};
    const char *name = option->name;
    size_t head = strlen(section_name[SECTION_TRAIN]);
    bool in_train = !strncmp(name, section_name[SECTION_TRAIN], head) && name[head] == '.';
    if (in_train) name += head + 1;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        size_t length = strlen(keys[i]);
        if (strncmp(name, keys[i], length) || name[length] != '.' || !name[length + 1]) continue;
        if (in_train && !strcmp(keys[i], item_word[ITEM_ADAPT])) continue;
        *argument = name + length + 1;
        return value_with_arguments(option->ast, keys[i]);
    }
    return NULL;
}

static bool set_argument(const Option *option, Expr **setting, const char *name) {
    Arena *arena = option->ast->arena;
    Expr *call = *setting;
    const Arg *old = call->kind == EXPR_CALL ? call_named(call, name) : NULL;
    Expr *value = option_value(option, WANT_VALUE);
    if (!value) return false;
    if (call->kind == EXPR_NAME) { /* `schedule cosine` has no arguments yet */
        *setting = NEW(arena, Expr);
        **setting = (Expr){.kind = EXPR_CALL, .span = call->span, .callee = {call->text, call->span}};
    }
    Arg *arg = old ? (Arg *)old : vec_add(arena, &(*setting)->args);
    if (!old) *arg = (Arg){.name = {arena_strdup(arena, name), option->name_span}, .span = option->value};
    arg->value = value;
    return true;
}

/* ---- names ---- */

static const char adapt_on[] = "adapt.on", adapt_train[] = "adapt.train";
static const char device_memory[] = "device.memory", device_memory_option[] = "device-memory";
static const ItemKind settable[] = {ITEM_BUDGET,   ITEM_HOST,    ITEM_DEVICE,
                                    ITEM_MAXIMIZE, ITEM_WEIGHTS, ITEM_ADAPT};

typedef VEC(const char *) Names;

static void known_names(Ast *ast, Names *known) {
    const Section *dims = ast->section[SECTION_DIMS];
    for (uint32_t i = 0; dims && i < dims->entry.count; i++)
        *vec_add(ast->arena, known) = dims->entry.at[i].key.text;
    for (size_t i = 0; i < COUNT_OF(settable); i++) *vec_add(ast->arena, known) = item_word[settable[i]];
    *vec_add(ast->arena, known) = device_memory;
    if (ast->single[ITEM_ADAPT]) {
        *vec_add(ast->arena, known) = adapt_on;
        *vec_add(ast->arena, known) = adapt_train;
    }
    for (int kind = SECTION_DTYPE; kind < SECTION_COUNT; kind++)
        for (uint32_t i = 0; section_key[kind][i]; i++) {
            *vec_add(ast->arena, known) = section_key[kind][i];
            *vec_add(ast->arena, known) =
                arena_printf(ast->arena, "%s.%s", section_name[kind], section_key[kind][i]);
        }
    static const char *const arguments[] = {"optimizer.lr",    "optimizer.betas", "optimizer.eps",
                                            "optimizer.decay", "schedule.warmup", "schedule.floor",
                                            "adapt.rank",      "adapt.alpha",     "adapt.dropout"};
    for (size_t i = 0; i < COUNT_OF(arguments); i++) {
        const char *key = arena_strndup(ast->arena, arguments[i], strcspn(arguments[i], "."));
        if (value_with_arguments(ast, key)) *vec_add(ast->arena, known) = arguments[i];
    }
}

/* What other programs call it, where the file has it. */
static const char *other_name(const char *name, const Names *known) {
    static const struct {
        const char *here, *there;
    } table[] = {
        {"T", "seq_len seq_length sequence_length max_seq_len max_length context context_length ctx n_ctx "
              "block_size"},
        {"B", "batch batch_size micro_batch micro_batch_size mbs bs per_device_train_batch_size"},
        {"L", "layers n_layer n_layers num_layers num_hidden_layers depth"},
        {"D", "hidden hidden_size d_model n_embd dim width"},
        {"H", "heads n_head n_heads num_heads num_attention_heads"},
        {"V", "vocab vocab_size"},
        {"optimizer.lr", "learning_rate lr max_lr"},
        {"optimizer.decay", "weight_decay wd"},
        {"optimizer.betas", "beta beta1 beta2 adam_beta1 adam_beta2"},
        {"schedule.warmup", "warmup_steps warmup_iters num_warmup_steps"},
        {"schedule.floor", "min_lr min_lr_ratio"},
        {"steps", "max_steps iterations iters max_iters num_steps"},
        {"tokens_per_step", "total_batch_size global_batch_size gradient_accumulation_steps accumulation"},
        {"clip_norm", "grad_clip max_grad_norm clip gradient_clip"},
        {"save.dir", "out output out_dir output_dir"},
        {"data.train", "data dataset train_data"},
        {"data.tokenizer", "tokenizer_path tokenizer_name"},
        {"data.loss", "train_on_inputs completion_only_loss assistant_only_loss"},
        {"data.pack", "packing sample_packing"},
        {"budget", "memory max_memory"},
        {"adapt.rank", "r lora_r lora_rank rank"},
        {"adapt.alpha", "lora_alpha"},
        {"adapt.dropout", "lora_dropout"},
        {"adapt.on", "target_modules"},
        {"adapt.train", "modules_to_save"},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        size_t length = strlen(name);
        bool listed = false;
        for (const char *at = table[i].there; *at; at += strcspn(at, " "), at += *at == ' ')
            listed |= strcspn(at, " ") == length && !strncmp(at, name, length);
        for (uint32_t k = 0; listed && k < known->count; k++)
            if (!strcmp(known->at[k], table[i].here)) return table[i].here;
    }
    return NULL;
}

static void unknown_setting(const Option *option) {
    Ast *ast = option->ast;
    Names known = {0};
    known_names(ast, &known);
    diag_error(option->diag, E0114, option->name_span, "there is no dim or setting '%s'", option->name);
    const char *meant = other_name(option->name, &known);
    for (uint32_t i = 0; !meant && i < known.count;
         i++) { /* "d": D; "warmup": the end of "schedule.warmup" */
        const char *dot = strrchr(known.at[i], '.');
        if (!strcasecmp(known.at[i], option->name) || (dot && !strcmp(dot + 1, option->name)))
            meant = known.at[i];
    }
    if (meant) {
        diag_help(option->diag, "did you mean '%s'?", meant);
        return;
    }
    if (!ast->single[ITEM_ADAPT] && !strncmp(option->name, "adapt.", strlen("adapt."))) {
        diag_help(option->diag, "the file has no adapt; --set 'adapt=lora(rank = 16)' comes before it");
        return;
    }
    if (diag_suggest(option->diag, option->name, known.at, known.count)) return;
    Text list = {.arena = ast->arena};
    const Section *dims = ast->section[SECTION_DIMS];
    for (uint32_t i = 0; dims && i < dims->entry.count && i < 20; i++)
        text_add(&list, "%s%s", i ? ", " : "", dims->entry.at[i].key.text);
    if (list.length) diag_help(option->diag, "the dims of this file are %s", list.at);
}

static void several_sections(const Option *option, const int *fits) {
    diag_error(option->diag, E0114, option->name_span, "several sections have the key '%s'", option->name);
    diag_help(option->diag, "write %s.%s or %s.%s", section_name[fits[0]], option->name,
              section_name[fits[1]], option->name);
}

static bool set_any(const Option *option) {
    Ast *ast = option->ast;
    const char *name = option->name;
    if (ast_entry(ast, SECTION_DIMS, name)) return set_entry(option, SECTION_DIMS, name);
    for (size_t i = 0; i < COUNT_OF(settable); i++)
        if (!strcmp(item_word[settable[i]], name)) return set_item(option, settable[i]);
    if (ast->single[ITEM_ADAPT] && !strcmp(name, adapt_on))
        return set_pattern(option, &ast->single[ITEM_ADAPT]->name);
    if (ast->single[ITEM_ADAPT] && !strcmp(name, adapt_train))
        return set_pattern(option, &ast->single[ITEM_ADAPT]->other);
    if (!strcmp(name, device_memory) || !strcmp(name, device_memory_option)) return set_memory(option);
    int fits[SECTION_COUNT], count = 0;
    for (int kind = SECTION_DIMS; kind < SECTION_COUNT; kind++) {
        size_t head = strlen(section_name[kind]);
        if (!strncmp(name, section_name[kind], head) && name[head] == '.') {
            const char *key = name + head + 1;
            if (section_knows(kind, key) || ast_entry(ast, (SectionKind)kind, key))
                return set_entry(option, (SectionKind)kind, key);
        } else if (section_knows(kind, name)) {
            fits[count++] = kind;
        }
    }
    if (count == 1) return set_entry(option, (SectionKind)fits[0], name);
    const char *argument;
    Expr **setting = setting_with_arguments(option, &argument);
    if (setting) return set_argument(option, setting, argument);
    if (count)
        several_sections(option, fits);
    else
        unknown_setting(option);
    return false;
}

/* ---- entry points ---- */

/* The option as a line behind the file's text; `name` and `value` are where they stand in `typed`. */
static Option option_new(Ast *ast, Diag *diag, const char *typed, Span name, Span value) {
    uint32_t begin = diag_add_option(diag, typed);
    ast->source = diag_text(diag);
    return (Option){.ast = ast,
                    .diag = diag,
                    .name = arena_strndup(ast->arena, typed + name.beg, name.end - name.beg),
                    .name_span = {begin + name.beg, begin + name.end},
                    .value = {begin + value.beg, begin + value.end}};
}

bool ast_override(Ast *ast, const char *setting, Diag *diag) {
    const char *typed = arena_printf(ast->arena, "--set %s", setting), *equals = strchr(setting, '=');
    uint32_t name = (uint32_t)strlen("--set "), end = (uint32_t)strlen(typed);
    uint32_t at = equals ? name + (uint32_t)(equals - setting) : end;
    Option option = option_new(ast, diag, typed, (Span){name, at}, (Span){at < end ? at + 1 : end, end});
    if (at > name && at + 1 < end) return set_any(&option);
    diag_error(diag, E0115, (Span){option.name_span.beg, option.value.end},
               "--set takes a name and a value: write name=value");
    diag_help(diag, "as in B=4 or train.steps=20");
    return false;
}

bool ast_override_option(Ast *ast, const char *name, const char *value, Diag *diag) {
    const char *typed = arena_printf(ast->arena, "--%s %s", name, value);
    uint32_t end = (uint32_t)strlen(typed), at = 2 + (uint32_t)strlen(name);
    Option option = option_new(ast, diag, typed, (Span){2, at}, (Span){at + 1, end});
    if (at + 1 < end) return set_any(&option);
    diag_error(diag, E0115, (Span){option.name_span.beg - 2, option.name_span.end}, "--%s needs a value",
               name);
    return false;
}
