/* The verb `check`: parse, shapes, everything that can be wrong before planning. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/output.h"
#include "frontend/language/diag.h"

#include <inttypes.h>

int verb_check(Compilation *c) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    int64_t parameters = graph_parameters(c->forward), trained = graph_trained_parameters(c->forward);
    Text out = {.arena = c->arena};
    if (c->options->json) {
        text_add(&out, "{\"model\": ");
        text_add_json(&out, c->spec.model);
        text_add(&out,
                 ", \"parameters\": %" PRId64 ", \"trained\": %" PRId64 ", \"batch\": %" PRId64
                 ", \"context\": %" PRId64 ", \"operations\": %u, \"warnings\": ",
                 parameters, trained, c->forward->batch, c->forward->context, c->forward->node.count);
        diag_print_json_list(c->diag, &out);
        text_add(&out, "}\n");
    } else {
        text_add_printable(&out, c->options->file, "");
        text_add(&out, ": fine; %s has %" PRId64 " parameters", c->spec.model, parameters);
        if (trained < parameters) text_add(&out, ", %" PRId64 " of them trained,", trained);
        text_add(&out, " and %u forward operations on [%" PRId64 ", %" PRId64 "] tokens\n",
                 c->forward->node.count, c->forward->batch, c->forward->context);
    }
    return output_print(c->options, &out);
}
