/* The verb `export`. In: a checkpoint of a trainer, or a folder of them; out: a folder for other tools,
 * written by the code that a trainer has for `save { merged ".." adapter ".." }` (runtime/model_out.c), which
 * ends the process where something is wrong. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "runtime/model_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int verb_export(Compilation *c) {
    const Options *options = c->options;
    struct stat status;
    const char *checkpoint = options->file;
    if (!options->output)
        return message_fail_help(options, EXIT_USAGE, "-o DIR names it",
                                 "export: no folder to write is given");
    if (options->adapter && options->shard_bytes)
        return message_fail(options, EXIT_USAGE, "--shard-size: an adapter is one file");
    if (options->adapter && options->unquantised)
        return message_fail(options, EXIT_USAGE, "--unquantised: an adapter is added to nothing");
    int code = verbs_names_place(c, "-o", options->output, "folder");
    if (code >= 0) return code;
    if (stat(checkpoint, &status))
        return message_fail(options, EXIT_IO, "cannot read '%s': %s", checkpoint, strerror(errno));
    rt_called = "rematc";
    rt_memory_exit = EXIT_INTERNAL; /* 3 is a plan's */
    if (S_ISDIR(status.st_mode)) {
        char *newest = rt_folder_newest_in(checkpoint);
        if (!newest) return message_fail(options, EXIT_IO, "there is no checkpoint in '%s'", checkpoint);
        checkpoint = arena_strdup(c->arena, newest);
        free(newest);
    }
    const RtOutRequest request = {.kind = options->adapter ? RT_OUT_ADAPTER : RT_OUT_MERGED,
                                  .base = options->onto,
                                  .folder = options->output,
                                  .unquantised = options->unquantised,
                                  .shard_bytes = options->shard_bytes};
    int64_t bytes = rt_model_out(checkpoint, &request);
    char size[24];
    Text out = {.arena = c->arena};
    text_add_printable(&out, options->output, "");
    text_add(&out, ": %s from ", format_bytes(bytes, size));
    text_add_printable(&out, checkpoint, "");
    text_add(&out, "\n");
    return output_print(options, &out);
}
