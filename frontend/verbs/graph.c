/* The verb `graph`: the memory plan as a picture. */
#include "frontend/verbs/verb.h"

#include "codegen/picture/dot.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <inttypes.h>
#include <string.h>

int verb_graph(Compilation *c) {
    const char *path = c->options->output, *format = c->options->format;
    if (!path) return message_fail(c->options, EXIT_USAGE, "graph needs -o FILE.svg, .png, .pdf or .dot");
    const char *dot = strrchr(path, '.');
    if (!format) format = dot ? dot + 1 : "";
    size_t f = 0;
    while (f < DOT_FORMATS && strcmp(format, dot_format[f])) f++;
    if (f == DOT_FORMATS)
        return message_fail(c->options, EXIT_USAGE,
                            "a picture is svg, png, pdf or dot, not '%s'; name it so, or use --format",
                            format);
    int code = output_not_input(c->options);
    Planned planned = {0};
    if (code < 0) code = verbs_plan(c, &planned);
    if (code >= 0) return code;
    const Part *train = &planned.request.train;
    if (c->options->layer >= (int64_t)train->graph->block.count)
        return message_fail(c->options, EXIT_USAGE, "there is no layer %" PRId64 "; %s has %u",
                            c->options->layer, c->spec.model, train->graph->block.count);
    char peak[24];
    const char *error = NULL;
    char *title = arena_printf(c->arena, "%s on %s, policy %s, peak %s", c->spec.model,
                               device_text(&c->device, c->arena), policy_name[c->policy],
                               format_bytes(planned.request.arena_bytes, peak));
    Text out = {.arena = c->arena};
    DotRequest request = {.g = train->graph,
                          .plan = train->plan,
                          .layout = train->layout,
                          .cost = train->cost,
                          .title = title,
                          .source = c->spec.path,
                          .layer = (int)c->options->layer,
                          .blocks_only = c->options->level && !strcmp(c->options->level, "blocks"),
                          .format = format};
    DotAnswer answer = dot_draw(&request, &out, &error);
    if (answer == DOT_DRAWN) return output_write(c->options, path, &out);
    return message_fail(c->options, answer == DOT_REFUSED ? EXIT_IO : EXIT_INTERNAL, "%s", error);
}
