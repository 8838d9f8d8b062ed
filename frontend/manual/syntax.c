/* See manual.h. Words are coloured wherever they stand, though the language reserves none: a variable that is
 * called as a section looks like one. */
#include "frontend/manual/manual.h"

#include "codegen/json_tree.h"
#include "frontend/language/ast.h"
#include "ir/graph.h"

#include <string.h>

typedef enum WordClass { CLASS_ITEM, CLASS_STATEMENT, CLASS_KEY, CLASS_TYPE, CLASS_COUNT } WordClass;
typedef struct WordList {
    const char *word[64];
    uint32_t count;
} WordList;
typedef struct WordLists {
    WordList of[CLASS_COUNT];
} WordLists;

/* What has several meanings is coloured as the first of them. */
static void add_word(WordLists *lists, WordClass class, const char *word) {
    WordList *list = &lists->of[class];
    for (int c = 0; c < CLASS_COUNT; c++)
        for (uint32_t i = 0; i < lists->of[c].count; i++)
            if (!strcmp(lists->of[c].word[i], word)) return;
    if (list->count == COUNT_OF(list->word)) die("more than %zu words of a class", COUNT_OF(list->word));
    list->word[list->count++] = word;
}

static WordLists all_words(void) {
    WordLists lists = {0};
#define SECTION(id, word, token) add_word(&lists, CLASS_ITEM, word);
#define ITEM(id, word, token)    add_word(&lists, CLASS_ITEM, word);
#define INNER(word, token)       add_word(&lists, CLASS_STATEMENT, word);
#define FORMAT(word)             add_word(&lists, CLASS_TYPE, word);
#include "frontend/language/words.def"
    for (int s = 0; s < SECTION_COUNT; s++)
        for (int k = 0; section_key[s][k]; k++) add_word(&lists, CLASS_KEY, section_key[s][k]);
#define COUNTED(word) add_word(&lists, CLASS_KEY, word);
#include "frontend/language/words.def"
    for (int d = 0; d < DT_COUNT; d++) add_word(&lists, CLASS_TYPE, dtype_name[d]);
    return lists;
}

static const char *const size_unit[] = {
#define BYTES(unit, bytes) unit,
#include "frontend/language/words.def"
};

static const char *joined(Arena *arena, const char *const *words, uint32_t count, const char *bar) {
    Text out = {.arena = arena};
    for (uint32_t i = 0; i < count; i++) text_add(&out, "%s%s", i ? bar : "", words[i]);
    return out.at;
}

void syntax_add_vim(Text *out) {
    static const char *const group[CLASS_COUNT] = {"Item", "Statement", "Key", "Type"};
    WordLists lists = all_words();
    text_add(out,
             "\" Vim syntax file for remat %s, written by its build from the compiler's own words\n"
             "if exists(\"b:current_syntax\")\n  finish\nendif\n"
             "syntax match rematCall \"\\<\\h\\w*\\ze(\"\n",
             REMAT_VERSION);
    for (int c = 0; c < CLASS_COUNT; c++)
        text_add(out, "syntax keyword remat%s %s\n", group[c],
                 joined(out->arena, lists.of[c].word, lists.of[c].count, " "));
    text_add(
        out,
        "syntax match rematNumber \"\\<\\d\\+\\(\\.\\d\\+\\)\\?\\([eE][+-]\\?\\d\\+\\)\\?\\(%s\\)\\?\\>\"\n",
        joined(out->arena, size_unit, COUNT_OF(size_unit), "\\|"));
    text_add(out, "%s",
             "syntax region rematString start=+\"+ skip=+\\\\.+ end=+\"+ oneline\n"
             "syntax match rematComment \"#.*$\"\n"
             "highlight default link rematItem Keyword\n"
             "highlight default link rematStatement Statement\n"
             "highlight default link rematKey Identifier\n"
             "highlight default link rematType Type\n"
             "highlight default link rematCall Function\n"
             "highlight default link rematNumber Number\n"
             "highlight default link rematString String\n"
             "highlight default link rematComment Comment\n"
             "let b:current_syntax = \"remat\"\n");
}

static void add_pattern(json_t *list, const char *scope, const char *match) {
    json_t *pattern = json_object();
    json_set(pattern, "name", json_text(scope));
    json_set(pattern, "match", json_text(match));
    json_add(list, pattern);
}

void syntax_add_textmate(Text *out) {
    static const char *const scope[CLASS_COUNT] = {"keyword.other.remat", "keyword.control.remat",
                                                   "variable.parameter.remat", "storage.type.remat"};
    WordLists lists = all_words();
    Arena *arena = out->arena;
    json_t *root = json_object(), *patterns = json_array(), *types = json_array();
    json_add(types, json_text("remat"));
    json_set(root, "name", json_text("remat"));
    json_set(root, "scopeName", json_text("source.remat"));
    json_set(root, "fileTypes", types);
    add_pattern(patterns, "comment.line.number-sign.remat", "#.*$");
    add_pattern(patterns, "string.quoted.double.remat", "\"([^\"\\\\]|\\\\.)*\"");
    for (int c = 0; c < CLASS_COUNT; c++)
        add_pattern(
            patterns, scope[c],
            arena_printf(arena, "\\b(%s)\\b", joined(arena, lists.of[c].word, lists.of[c].count, "|")));
    add_pattern(patterns, "constant.numeric.remat",
                arena_printf(arena, "\\b[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?(%s)?\\b",
                             joined(arena, size_unit, COUNT_OF(size_unit), "|")));
    add_pattern(patterns, "entity.name.function.remat", "\\b[A-Za-z_][A-Za-z0-9_]*(?=\\()");
    json_set(root, "patterns", patterns);
    json_tree_print(root, 2, out);
}
