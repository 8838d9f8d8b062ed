/* emit_copies SEED RARITY emit SPEC OPTIONS: as `rematc emit`, with copies to host memory put into the
 * training plan at random (copies.h), so that programs with copies are tested whatever the planner makes of a
 * budget. */
#include "tests/support/copies.h"
#include "frontend/driver/infeasible.h"
#include "tests/support/both_checks.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    Arena *arena = arena_new();
    Options options;
    if (argc < 3) return EXIT_USAGE;
    uint64_t seed = strtoull(argv[1], NULL, 10);
    uint32_t rarity = (uint32_t)strtoul(argv[2], NULL, 10);
    int code = options_parse(&options, arena, argc - 2, argv + 2);
    if (code >= 0) return code;
    Compilation c = {.arena = arena, .options = &options};
    Planned planned = {0};
    code = compile_parse(&c);
    if (code < 0) code = compile_lower(&c);
    if (code < 0) code = infeasible_or_plan(&c, &planned);
    if (code >= 0) return code;
    Part *train = &planned.request.train;
    Plan plan = with_copies(train->graph, train->plan, &seed, rarity, arena);
    Layout *layout = copies_layout(train->graph, train->cost, &plan, arena);
    const char *wrong = both_checks(train->graph, train->cost, &plan, layout, NULL, arena);
    if (wrong) die("%s", wrong);
    printf("%u steps, %u of them copies and frees put in; %lld bytes in host memory\n", plan.step.count,
           plan.step.count - train->plan->step.count, (long long)plan.host_bytes);
    train->plan = &plan;
    train->layout = layout;
    planned.request.arena_bytes = 0;
    const Layout *part[] = {layout, planned.request.evaluate.layout, planned.request.sample.layout};
    for (size_t i = 0; i < COUNT_OF(part); i++)
        if (part[i]->height_bytes > planned.request.arena_bytes)
            planned.request.arena_bytes = part[i]->height_bytes;
    const char *error = NULL;
    EmitPlace place = {.dir = options.output, .input = options.file, .force = options.force};
    bool written = emit_program(&planned.request, &place, arena, &error) == FOLDER_WRITTEN;
    if (!written) fprintf(stderr, "emit_copies: %s\n", error);
    arena_free(arena);
    return written ? EXIT_FINE : EXIT_IO;
}
