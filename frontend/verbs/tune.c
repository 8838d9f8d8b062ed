/* The verb `tune`: the operations of a plan, measured on the device: the program that does it is written,
 * compiled and run. */
#include "frontend/verbs/verb.h"

#include "codegen/emit.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Hands over to the program: its exit codes mean what those of rematc do. */
static int run_tuner(const Compilation *c, const char *dir) {
    char **argv = NEW_ARRAY(c->arena, char *, c->options->rest_count + 4);
    argv[0] = arena_printf(c->arena, strchr(dir, '/') ? "%s/tune" : "./%s/tune", dir);
    argv[1] = "-o";
    argv[2] =
        arena_strdup(c->arena, c->options->output ? c->options->output : verbs_default_path(c, ".profile"));
    for (int i = 0; i < c->options->rest_count; i++) argv[i + 3] = c->options->rest[i];
    fflush(NULL);
    execv(argv[0], argv);
    return message_fail(c->options, EXIT_ENVIRONMENT, "cannot run '%s': %s", argv[0], strerror(errno));
}

int verb_tune(Compilation *c) {
    Planned planned = {0};
    const char *dir = c->options->folder, *error = NULL;
    int code = verbs_names_place(c, "--folder", dir, "folder");
    if (code < 0) code = verbs_names_place(c, "-o", c->options->output, "file");
    if (code >= 0) return code;
    if (c->options->emit_only && (c->options->output || c->options->rest_count))
        return message_fail(c->options, EXIT_USAGE, "--emit measures nothing here; it goes without %s",
                            c->options->output ? "-o" : "`--`");
    code = verbs_plan(c, &planned);
    if (code >= 0) return code;
    if (!dir) dir = verbs_default_path(c, ".tune");
    EmitPlace place = {.dir = dir, .input = c->options->file, .force = c->options->force};
    FolderAnswer answer = emit_tuner(&planned.request, &place, c->arena, &error);
    if (answer != FOLDER_WRITTEN)
        return message_fail_help(c->options, answer == FOLDER_IS_INPUT ? EXIT_USAGE : EXIT_IO,
                                 answer == FOLDER_REFUSED ? "--force replaces them" : NULL, "%s", error);
    if (c->options->emit_only) {
        Text out = {.arena = c->arena};
        text_add_printable(&out, dir, "");
        text_add(&out, ": %s for %s\n", planned.request.cuda ? "tune.cu" : "tune.c",
                 device_text(&c->device, c->arena));
        return output_print(c->options, &out);
    }
    BuildFailure failure;
    if (build_program(dir, planned.request.cuda, true, c->arena, &failure)) return run_tuner(c, dir);
    return message_fail_help(c->options, failure.code,
                             failure.help ? failure.help
                                          : "--emit writes the folder alone, to be built where the device is",
                             "%s", failure.error);
}
