/* rematc: one verb a run. Results go to stdout, messages to stderr. */
#include "codegen/json_tree.h"
#include "frontend/driver/output.h"
#include "frontend/verbs/verb.h"
#include "ir/tasks.h"
#include "planner/problem/stats.h"

int main(int argc, char **argv) {
    alloc_keep_freed();
    output_begin();
    json_tree_begin();
    Arena *arena = arena_new();
    Options options;
    int code = options_parse(&options, arena, argc, argv);
    if (code < 0) {
        Compilation compilation = {.arena = arena, .options = &options};
        if (options.stats) compilation.stats = NEW(arena, Stats);
        compilation.tasks = tasks_new(arena, options.threads);
        code = verbs_call(&compilation);
        tasks_free(compilation.tasks);
        if (options.stats) output_stats(compilation.stats, arena);
    }
    arena_free(arena);
    return output_end(&options, code);
}
