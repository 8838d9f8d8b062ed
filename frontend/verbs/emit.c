/* The verbs `emit`, `build` and `run`: the training program as sources, compiled, and started. */
#include "frontend/verbs/verb.h"

#include "codegen/emit.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/text_data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the data is text, the program reads what is made of it. */
static int prepare_text(const Compilation *c, EmitData *out) {
    TextData data;
    if (!data_is_prepared(c->spec.train_format)) return -1;
    int code = text_data(c, &data);
    if (code >= 0) return code;
    const TextFile *file[] = {&data.train, &data.validate};
    for (size_t i = 0; i < COUNT_OF(file); i++) {
        const Prepared *p = &file[i]->prepared;
        if (file[i]->made)
            message_note(c->options,
                         "%s: %" PRId64 " documents, %" PRId64
                         " tokens, loss on %.1f%%, in %s; `rematc data` "
                         "tells more",
                         file[i]->text, p->documents, p->tokens,
                         100.0 * (double)p->losses / (double)p->tokens, file[i]->path);
    }
    *out = (EmitData){.train_path = data.train.path,
                      .validate_path = data.validate.path,
                      .encoding = data.encoding,
                      .train_text = data.train.fingerprint,
                      .validate_text = data.validate.fingerprint};
    return -1;
}

static int emitted(Compilation *c, Planned *planned, const char **dir) {
    const char *wanted = c->options->output;
    int code = verbs_names_place(c, "-o", wanted, "folder");
    if (code < 0) code = verbs_plan(c, planned);
    if (code >= 0) return code;
    code = prepare_text(c, &planned->request.data);
    if (code >= 0) return code;
    *dir = wanted ? wanted : verbs_default_path(c, ".train");
    EmitPlace place = {.dir = *dir, .input = c->options->file, .force = c->options->force};
    const char *error = NULL;
    FolderAnswer answer = emit_program(&planned->request, &place, c->arena, &error);
    if (answer == FOLDER_WRITTEN) return -1;
    return message_fail_help(c->options, answer == FOLDER_IS_INPUT ? EXIT_USAGE : EXIT_IO,
                             answer == FOLDER_REFUSED ? "--force replaces them" : NULL, "%s", error);
}

int verb_emit(Compilation *c) {
    const char *dir = NULL;
    Planned planned = {0};
    int code = emitted(c, &planned, &dir);
    if (code >= 0) return code;
    char peak[24];
    Text out = {.arena = c->arena};
    text_add_printable(&out, dir, "");
    text_add(&out, ": %s for %s, peak %s\n", planned.request.cuda ? "train.cu" : "train.c",
             device_text(&c->device, c->arena), format_bytes(planned.request.arena_bytes, peak));
    return output_print(c->options, &out);
}

static int built(Compilation *c, const char **dir) {
    Planned planned = {0};
    int code = emitted(c, &planned, dir);
    if (code >= 0) return code;
    BuildFailure failure;
    if (build_program(*dir, planned.request.cuda, c->options->quiet, c->arena, &failure)) return -1;
    return message_fail_help(c->options, failure.code, failure.help, "%s", failure.error);
}

int verb_build(Compilation *c) {
    const char *dir = NULL;
    int code = built(c, &dir);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    text_add(&out, "%s/train\n", dir);
    return output_print(c->options, &out);
}

int verb_run(Compilation *c) {
    const char *dir = NULL;
    int code = built(c, &dir);
    if (code >= 0) return code;
    char **argv = NEW_ARRAY(c->arena, char *, c->options->rest_count + 2);
    argv[0] = arena_printf(c->arena, "%s/train", dir);
    if (!strchr(argv[0], '/')) argv[0] = arena_printf(c->arena, "./%s", argv[0]);
    for (int i = 0; i < c->options->rest_count; i++) argv[i + 1] = c->options->rest[i];
    fflush(NULL);
    execv(argv[0], argv);
    return message_fail(c->options, EXIT_ENVIRONMENT, "cannot run '%s': %s", argv[0], strerror(errno));
}
