/* A graph as text: what is read passes its check, and its own text reads back as the same. */
#include "exits.h"
#include "ir/graph.h"
#include "ir/check.h"
#include "ir/text.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char *input;
static size_t length;

static void read_and_print(void *arena) {
    const char *error = NULL;
    Graph *graph = graph_read(arena_strndup(arena, input, length), arena, &error);
    MUST(graph ? !error : error != NULL);
    if (!graph) return;
    MUST(graph_check(graph, arena) == NULL);
    Text once = {.arena = arena}, twice = {.arena = arena};
    graph_print(graph, &once);
    Graph *again = graph_read(once.at, arena, &error);
    MUST(again);
    graph_print(again, &twice);
    MUST(strcmp(once.at, twice.at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes;
    length = count;
    Arena *arena = arena_new();
    run_to_exit(read_and_print, arena);
    arena_free(arena);
    return 0;
}
