/* The verb `completion`: the command line as a shell completes it, from the tables of command.h. Offered are
 * verbs, the options of a verb, the words of an option, names of devices and error codes, and files by their
 * ending. The scripts say all of it themselves: no key press runs rematc. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/command.h"
#include "frontend/driver/devices.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <string.h>

/* The words that are offered, in `count`; NULL where it is files, or nothing. */
static const char *const *offered(Arena *arena, Offer offer, const OptionRow *row, uint32_t *count) {
    switch (offer) {
    case OFFER_WORDS: *count = row->detail.word_count; return row->detail.words;
    case OFFER_SHELL: *count = SHELL_COUNT; return shell_word;
    case OFFER_CODE: *count = CODE_COUNT; return code_name;
    case OFFER_DEVICE: return devices_names(arena, count);
    case OFFER_NOTHING:
    case OFFER_FILE:
    case OFFER_FOLDER:
    case OFFER_SPEC:
    case OFFER_GRAPH:
    case OFFER_TABLE: break;
    }
    *count = 0;
    return NULL;
}

/* The ending of the files that are offered, "" for any, NULL for none. */
static const char *ending_of(Offer offer) {
    switch (offer) {
    case OFFER_SPEC: return ".remat";
    case OFFER_GRAPH: return ".json";
    case OFFER_TABLE: return ".csv";
    case OFFER_DEVICE: return ".device";
    case OFFER_FILE: return "";
    case OFFER_NOTHING:
    case OFFER_FOLDER:
    case OFFER_CODE:
    case OFFER_SHELL:
    case OFFER_WORDS: break;
    }
    return NULL;
}

static void add_words(Text *out, const char *const *words, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) text_add(out, "%s%s", i ? " " : "", words[i]);
}

/* As one word of a shell, in single quotes; `special` are escaped with a backslash inside. */
static void add_quoted(Text *out, const char *text, const char *special, const char *quote) {
    for (; *text; text++) {
        if (*text == '\'') {
            text_add(out, "%s", quote);
            continue;
        }
        if (strchr(special, *text)) text_add_n(out, "\\", 1);
        text_add_n(out, text, 1);
    }
}

static bool takes(int verb, const OptionRow *row) {
    return row->verbs >> verb & 1;
}

/* ---- bash ---- */

/* What helps with one argument: a call of a function of the script. */
static void bash_offer(Text *out, Offer offer, const OptionRow *row) {
    uint32_t count;
    const char *const *words = offered(out->arena, offer, row, &count), *ending = ending_of(offer);
    if (words) {
        text_add(out, " _rematc_words '");
        add_words(out, words, count);
        text_add(out, "';");
    }
    if (ending) text_add(out, " _rematc_files '%s';", ending);
    if (offer == OFFER_FOLDER) text_add(out, " _rematc_files /;");
}

static void bash_script(Text *out) {
    text_add(out, "%s",
             "_rematc_words() { # LIST: those that begin as the last of what is typed, behind commas\n"
             "    local last=${_rematc_typed##*,}\n"
             "    COMPREPLY+=($(compgen -P \"${_rematc_typed%\"$last\"}\" -W \"$1\" -- \"$last\"))\n"
             "}\n"
             "_rematc_files() { # ENDING: files that end so, '' for all, and folders; / for folders alone\n"
             "    local IFS=$'\\n'\n"
             "    compopt -o filenames 2>/dev/null\n"
             "    [ \"$1\" = / ] || COMPREPLY+=($(compgen -f -X \"!*$1\" -- \"$_rematc_typed\"))\n"
             "    [ -z \"$1\" ] || COMPREPLY+=($(compgen -d -- \"$_rematc_typed\"))\n"
             "}\n"
             "_rematc() {\n"
             "    local verb=${COMP_WORDS[1]} before=${COMP_WORDS[COMP_CWORD-1]} i\n"
             "    local _rematc_typed=${COMP_WORDS[COMP_CWORD]}\n"
             "    COMPREPLY=()\n"
             "    if [ \"$COMP_CWORD\" -le 1 ]; then\n"
             "        _rematc_words '");
    for (int v = 0; v < VERB_COUNT; v++) text_add(out, "%s ", verb_row[v].name);
    text_add(out, "%s",
             "help --help --version'\n"
             "        return\n"
             "    fi\n"
             "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
             "        [ \"${COMP_WORDS[i]}\" != -- ] || { _rematc_files ''; return; }\n"
             "    done\n"
             "    # --option=value comes as three words\n"
             "    if [ \"$_rematc_typed\" = = ]; then\n"
             "        _rematc_typed=\n"
             "    elif [ \"$before\" = = ]; then\n"
             "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
             "    fi\n"
             "    case $verb:$before in\n"
             "    help:help) _rematc_words '");
    for (int v = 0; v < VERB_COUNT; v++) text_add(out, "%s%s", v ? " " : "", verb_row[v].name);
    text_add(out, "'; return ;;\n");
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        if (row->kind == KIND_SWITCH) continue;
        const char *bar = "    ";
        for (int v = 0; v < VERB_COUNT; v++) {
            if (!takes(v, row)) continue;
            text_add(out, "%s%s:%s", bar, verb_row[v].name, row->name);
            bar = "|";
        }
        text_add(out, ")");
        bash_offer(out, row->detail.offer, row);
        text_add(out, " return ;;\n");
    }
    text_add(out, "    esac\n    case $verb:$_rematc_typed in\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        text_add(out, "    %s:-*) _rematc_words '", verb_row[v].name);
        for (uint32_t i = 0; i < option_row_count; i++)
            if (takes(v, &option_row[i])) text_add(out, "%s ", option_row[i].name);
        text_add(out, "--help --version' ;;\n    %s:*)", verb_row[v].name);
        bash_offer(out, verb_row[v].offer, NULL);
        text_add(out, " ;;\n");
    }
    text_add(out, "    esac\n}\ncomplete -F _rematc rematc\n");
}

/* ---- zsh ---- */

/* The action behind the second colon of a specification for _arguments, inside single quotes. */
static void zsh_action(Text *out, Offer offer, const OptionRow *row) {
    uint32_t count;
    const char *const *words = offered(out->arena, offer, row, &count), *ending = ending_of(offer);
    if (offer == OFFER_DEVICE) {
        text_add(out, row && row->verbs >> VERB_SWEEP & 1 ? "_sequence _rematc_devices" : "_rematc_devices");
    } else if (words) {
        text_add(out, "(");
        add_words(out, words, count);
        text_add(out, ")");
    } else if (ending) {
        text_add(out, *ending ? "_files -g \"*%s(-.)\"" : "_files%s", ending);
    } else {
        text_add(out, offer == OFFER_FOLDER ? "_files -/" : " ");
    }
}

static void zsh_quoted(Text *out, const char *text) {
    add_quoted(out, text, "[]:\\", "'\\''");
}

static void zsh_option(Text *out, const OptionRow *row) {
    bool word = row->name[1] == '-';
    text_add(out, " \\\n            '%s%s%s[", row->kind == KIND_LIST ? "*" : "", row->name,
             row->argument && word ? "=" : "");
    zsh_quoted(out, command_summary(out->arena, row));
    text_add(out, "]");
    if (row->argument) {
        text_add(out, ":");
        zsh_quoted(out, row->argument);
        text_add(out, ":");
        zsh_action(out, row->detail.offer, row);
    }
    text_add(out, "'");
}

static void zsh_script(Text *out) {
    uint32_t count;
    const char *const *devices = offered(out->arena, OFFER_DEVICE, NULL, &count);
    text_add(out, "_rematc_devices() {\n    compadd \"$@\" - ");
    add_words(out, devices, count);
    text_add(out, "\n    _files -g '*.device(-.)'\n}\n"
                  "_rematc_verbs() {\n    local -a verbs\n    verbs=(\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        text_add(out, "        '%s:", verb_row[v].name);
        zsh_quoted(out, verb_row[v].summary);
        text_add(out, "'\n");
    }
    text_add(out, "%s",
             "        'help:what there is, or the options of a verb'\n"
             "    )\n"
             "    _describe verb verbs\n"
             "}\n"
             "_rematc() {\n"
             "    local context state state_descr line ret=1\n"
             "    typeset -A opt_args\n"
             "    _arguments -C '(- *)--help[what there is]' '(- *)--version[the version]' \\\n"
             "        '1:verb:_rematc_verbs' '*::argument:->argument' && ret=0\n"
             "    [[ $state = argument ]] || return ret\n"
             "    case $words[1] in\n"
             "    help) _arguments '1:verb:_rematc_verbs' && ret=0 ;;\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        text_add(out, "    %s)\n        _arguments", verb_row[v].name);
        for (uint32_t i = 0; i < option_row_count; i++)
            if (takes(v, &option_row[i])) zsh_option(out, &option_row[i]);
        text_add(out, " \\\n            '--help[this text]' '--version[the version]' \\\n            '1:");
        zsh_quoted(out, verb_row[v].argument);
        text_add(out, ":");
        zsh_action(out, verb_row[v].offer, NULL);
        text_add(out, "' && ret=0\n        ;;\n");
    }
    text_add(out, "%s",
             "    esac\n"
             "    return ret\n"
             "}\n"
             "# in a folder of fpath this file is the function; sourced, it is bound to the name\n"
             "if [[ $funcstack[1] = _rematc ]]; then\n"
             "    _rematc \"$@\"\n"
             "else\n"
             "    compdef _rematc rematc\n"
             "fi\n");
}

/* ---- fish ---- */

static void fish_offer(Text *out, Offer offer, const OptionRow *row) {
    uint32_t count;
    const char *const *words = offered(out->arena, offer, row, &count), *ending = ending_of(offer);
    if (offer == OFFER_FILE) {
        text_add(out, " -F");
    } else if (offer == OFFER_FOLDER) {
        text_add(out, " -a '(__fish_complete_directories)'");
    } else if (words || ending) {
        text_add(out, " -a '");
        add_words(out, words, count);
        if (ending) text_add(out, "%s(__rematc_files %s)", count ? " " : "", ending + 1);
        text_add(out, "'");
    }
}

static void fish_condition(Text *out, unsigned verbs) {
    text_add(out, "complete -c rematc -n '__fish_seen_subcommand_from");
    for (int v = 0; v < VERB_COUNT; v++)
        if (verbs >> v & 1) text_add(out, " %s", verb_row[v].name);
    text_add(out, "'");
}

static void fish_summary(Text *out, const char *summary) {
    text_add(out, " -d '");
    add_quoted(out, summary, "\\", "\\'");
    text_add(out, "'\n");
}

static void fish_script(Text *out) {
    text_add(out, "%s",
             "function __rematc_files # ENDING: files that end so, and folders\n"
             "    __fish_complete_path (commandline -ct) | string match -r -- "
             "'^.*(?:/|[.]'$argv[1]')(?:\\t.*)?$'\n"
             "end\n"
             "complete -c rematc -f\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        text_add(out, "complete -c rematc -n __fish_use_subcommand -a %s", verb_row[v].name);
        fish_summary(out, verb_row[v].summary);
    }
    text_add(
        out,
        "complete -c rematc -n __fish_use_subcommand -a help -d 'what there is, or the options of a verb'\n"
        "complete -c rematc -n '__fish_seen_subcommand_from help' -a '");
    for (int v = 0; v < VERB_COUNT; v++) text_add(out, "%s%s", v ? " " : "", verb_row[v].name);
    text_add(out, "'\n");
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        bool word = row->name[1] == '-';
        fish_condition(out, row->verbs);
        text_add(out, word ? " -l %s" : " -s %s", row->name + 1 + word);
        if (row->argument) text_add(out, row->detail.offer == OFFER_FILE ? " -r" : " -x");
        fish_offer(out, row->detail.offer, row);
        fish_summary(out, command_summary(out->arena, row));
    }
    text_add(out, "complete -c rematc -l help -d 'what there is'\n"
                  "complete -c rematc -l version -d 'the version'\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        fish_condition(out, 1u << v);
        fish_offer(out, verb_row[v].offer, NULL);
        text_add(out, "\n");
    }
}

/* ---- the verb ---- */

int verb_completion(Compilation *c) {
    int shell = 0;
    while (shell < SHELL_COUNT && strcmp(c->options->file, shell_word[shell])) shell++;
    Text out = {.arena = c->arena};
    text_add(&out, "%s# rematc %s on the command line of %s; written by `rematc completion %s`\n",
             shell == SHELL_ZSH ? "#compdef rematc\n" : "", command_version(), c->options->file,
             c->options->file);
    switch ((Shell)shell) {
    case SHELL_BASH: bash_script(&out); break;
    case SHELL_ZSH: zsh_script(&out); break;
    case SHELL_FISH: fish_script(&out); break;
    case SHELL_COUNT:
        return message_fail(c->options, EXIT_USAGE, "there are completions for %s, not '%s'",
                            command_join(c->arena, shell_word, SHELL_COUNT), c->options->file);
    }
    return output_print(c->options, &out);
}
