/* The verb `fmt`: a file in canonical form. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <string.h>

int verb_fmt(Compilation *c) {
    if (c->options->check && c->options->write)
        return message_fail(c->options, EXIT_USAGE,
                            "fmt --check looks and --write changes: name one of them");
    int code = compile_parse(c);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    fmt_print(c->ast, &out);
    if (c->options->check) {
        bool same = c->ast->length == out.length && !memcmp(c->ast->source, out.at, out.length);
        if (same) return EXIT_FINE;
        return message_fail_at(c->options, EXIT_SOURCE, c->options->file, 0, 0,
                               "not in canonical form; `rematc fmt --write` changes it");
    }
    if (!c->options->write) return output_print(c->options, &out);
    return output_write(c->options, c->options->file, &out);
}
