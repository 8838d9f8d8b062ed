/* The verb `explain`: what an error code means. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

int verb_explain(Compilation *c) {
    Text out = {.arena = c->arena};
    if (!c->options->file) {
        for (int i = 0; i < CODE_COUNT; i++) text_add(&out, "%s  %s\n", code_name[i], code_title[i]);
        return output_print(c->options, &out);
    }
    Code code = code_find(c->options->file);
    if (code == CODE_COUNT) {
        const char *near = diag_nearest(c->options->file, code_name, CODE_COUNT);
        return message_fail_help(c->options, EXIT_USAGE,
                                 near ? arena_printf(c->arena, "did you mean '%s'?", near)
                                      : "`rematc explain` lists them all",
                                 "there is no error code '%s'", c->options->file);
    }
    text_add(&out, "%s: %s\n\n%s\n", code_name[code], code_title[code], code_text[code]);
    return output_print(c->options, &out);
}
