/* The verb `import`: the spec of a published model, with the command line's settings in it, checked as
 * `check` does, on standard output or in the file after -o. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/published.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* -1 where the spec may be written: not over the configuration, and over nothing that was there unless that
 * is asked for, since it may have been edited. Else the exit code after a message. */
static int output_is_free(const Options *options, Arena *arena) {
    if (!options->output || !strcmp(options->output, "-")) return -1;
    Options read = *options;
    const char *folder;
    read.file = published_config(options->file, arena, &folder);
    int code = output_not_input(&read);
    struct stat there;
    if (code >= 0 || options->force || stat(options->output, &there) || !S_ISREG(there.st_mode)) return code;
    return message_fail_help(options, EXIT_IO, "--force replaces it", "'%s' is there already",
                             options->output);
}

int verb_import(Compilation *c) {
    const Options *options = c->options;
    int code = output_is_free(options, c->arena);
    if (code < 0) code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    Text text = {.arena = c->arena};
    fmt_print(c->ast, &text);
    if (!options->output || !strcmp(options->output, "-")) return output_print(options, &text);
    code = output_write(options, options->output, &text);
    if (code != EXIT_FINE) return code;
    Text out = {.arena = c->arena};
    text_add_printable(&out, options->output, "");
    text_add(&out, ": %s, %" PRId64 " parameters\n", c->spec.model, graph_parameters(c->forward));
    return output_print(options, &out);
}
