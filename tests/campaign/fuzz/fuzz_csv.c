/* A table of buffers, as `rematc pack` reads it: the table, and what is written with offsets, read back.
 * Small tables go through the whole verb. */
#include "exits.h"
#include "folder.h"
#include "frontend/verbs/csv.h"
#include "frontend/verbs/verb.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { MOST_ROWS = 8 }; /* packed: exact search of more may take its time */

static const char *input;
static size_t length;
static uint32_t rows;

static void read_and_write(void *arena) {
    BufferTable table, again;
    uint32_t line = 0;
    if (csv_read(&table, input, length, &line, arena)) return;
    rows = table.row.count;
    int64_t *offset = NEW_ARRAY(arena, int64_t, rows + 1);
    for (uint32_t i = 0; i < rows; i++) offset[i] = table.row.at[i].offset >= 0 ? table.row.at[i].offset : i;
    Text out = {.arena = arena};
    csv_write(&table, offset, &out);
    const char *wrong = csv_read(&again, out.at, out.length, &line, arena);
    /* offsets that were made up here need not be aligned */
    if (wrong) return;
    MUST(again.row.count == rows);
    for (uint32_t i = 0; i < rows; i++) {
        const BufferRow *a = &table.row.at[i], *b = &again.row.at[i];
        MUST(a->lower == b->lower && a->upper == b->upper && a->bytes == b->bytes);
        MUST(a->alignment == b->alignment && b->offset == offset[i] && a->gap.count == b->gap.count);
        MUST(strcmp(a->id, b->id) == 0);
    }
}

static void pack(void *arena) {
    uint64_t pick = hash_bytes(HASH_SEED, input, length);
    Options options = {.verb = VERB_PACK, .json = pick & 1, .capacity = pick & 2 ? "4096" : NULL};
    options.file = folder_file("buffers.csv");
    options.output = pick & 4 ? "-" : NULL;
    Compilation compilation = {.arena = arena, .options = &options};
    int code = verb_pack(&compilation);
    MUST(code == EXIT_FINE || code == EXIT_SOURCE || code == EXIT_INFEASIBLE || code == EXIT_IO);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes;
    length = count;
    rows = 0;
    Arena *arena = arena_new();
    run_to_exit(read_and_write, arena);
    if (rows && rows <= MOST_ROWS) {
        folder_put("buffers.csv", bytes, count);
        run_to_exit(pack, arena);
    }
    arena_free(arena);
    return 0;
}
