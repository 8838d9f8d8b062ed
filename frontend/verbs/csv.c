/* See csv.h. One row a column: its names and how its cell is read. */
#include "frontend/verbs/csv.h"

#include "frontend/language/diag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum Column {
    COLUMN_ID,
    COLUMN_LOWER,
    COLUMN_UPPER,
    COLUMN_SIZE,
    COLUMN_ALIGNMENT,
    COLUMN_GAPS,
    COLUMN_OFFSET,
    COLUMN_COUNT
} Column;
enum { COLUMN_NEEDED = COLUMN_ALIGNMENT }; /* those before it */

typedef struct ColumnName {
    const char *name;
    Column column;
} ColumnName;
static const ColumnName column_name[] = {
    {"id", COLUMN_ID},       {"buffer", COLUMN_ID},           {"buffer_id", COLUMN_ID},
    {"lower", COLUMN_LOWER}, {"start", COLUMN_LOWER},         {"begin", COLUMN_LOWER},
    {"upper", COLUMN_UPPER}, {"end", COLUMN_UPPER},           {"size", COLUMN_SIZE},
    {"gaps", COLUMN_GAPS},   {"alignment", COLUMN_ALIGNMENT}, {"offset", COLUMN_OFFSET},
};

/* Offsets and heights stay far from overflow. */
static const int64_t value_limit = (int64_t)1 << 52, alignment_limit = (int64_t)1 << 32,
                     total_limit = (int64_t)1 << 60;
enum { ROW_LIMIT = 2000000 }; /* packing takes about two kilobytes for each */

typedef struct Reader {
    Arena *arena, *line_arena; /* the second for what is split, a line at a time */
    BufferTable *table;
    uint32_t line;
    uint32_t at[COLUMN_COUNT]; /* which field; NONE: no such column */
    uint32_t fields;
    bool inclusive;
    int64_t total_bytes;
    Map *ids; /* to the line they stand in */
    const char *error;
} Reader;

static bool fail(Reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Reader *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char message[400];
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    r->error = arena_strdup(r->arena, message);
    return false;
}

typedef VEC(char *) Fields;

/* The fields of one line, blanks around them dropped. */
static Fields split(Reader *r, const char *line, size_t length) {
    Fields fields = {0};
    for (const char *end = line + length;; line++) {
        const char *comma = memchr(line, ',', (size_t)(end - line)), *beg = line;
        const char *stop = comma ? comma : end;
        line = stop;
        while (beg < stop && (*beg == ' ' || *beg == '\t')) beg++;
        while (beg < stop && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r')) stop--;
        *vec_add(r->line_arena, &fields) = arena_strndup(r->line_arena, beg, (size_t)(stop - beg));
        if (!comma) return fields;
    }
}

/* The line without its field of offsets. */
static const char *without_offset(Reader *r, const Fields *fields) {
    Text text = {.arena = r->arena};
    text_add(&text, "%s", "");
    for (uint32_t f = 0, written = 0; f < fields->count; f++)
        if (f != r->at[COLUMN_OFFSET]) text_add(&text, "%s%s", written++ ? "," : "", fields->at[f]);
    return text.at;
}

/* A whole number at `text`; where it ends, or NULL. */
static const char *read_number(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || errno || *text == ' ' || number > value_limit || number < -value_limit) return NULL;
    *value = number;
    return end;
}

static bool read_cell(Reader *r, const Fields *fields, Column column, int64_t *value) {
    const char *cell = fields->at[r->at[column]], *end = read_number(cell, value);
    const char *name = column_name[0].name;
    for (size_t c = 0; c < COUNT_OF(column_name); c++)
        if (column_name[c].column == column) name = column_name[c].name;
    if (column == COLUMN_LOWER || column == COLUMN_UPPER) name = column == COLUMN_LOWER ? "lower" : "upper";
    if (column == COLUMN_UPPER && r->inclusive) name = "end";
    if (end && !*end) return true;
    return fail(r, "%s is a whole number of at most 52 bits, not '%.100s'", name, cell);
}

static int gap_compare(const void *left, const void *right) {
    const BufferGap *a = left, *b = right;
    return a->lower < b->lower ? -1 : a->lower > b->lower;
}

/* "3-5 7-8" */
static bool read_gaps(Reader *r, BufferRow *row, const char *cell) {
    for (const char *p = cell; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        BufferGap gap;
        const char *dash = read_number(p, &gap.lower),
                   *end = dash && *dash == '-' ? read_number(dash + 1, &gap.upper) : NULL;
        if (!end || (*end && *end != ' '))
            return fail(r, "gaps are written FROM-TO with blanks between, not '%.100s'", cell);
        gap.upper += r->inclusive;
        if (gap.lower >= gap.upper || gap.lower < row->lower || gap.upper > row->upper)
            return fail(r, "the gap '%.*s' of '%.100s' is not a span inside its lifetime", (int)(end - p), p,
                        row->id);
        *vec_add(r->arena, &row->gap) = gap;
        p = end;
    }
    if (row->gap.count) qsort(row->gap.at, row->gap.count, sizeof *row->gap.at, gap_compare);
    for (uint32_t g = 1; g < row->gap.count; g++)
        if (row->gap.at[g].lower < row->gap.at[g - 1].upper)
            return fail(r, "gaps of '%.100s' overlap", row->id);
    return true;
}

static bool read_row(Reader *r, const char *line, size_t length) {
    Fields fields = split(r, line, length);
    if (fields.count != r->fields)
        return fail(r, "%u fields where the header has %u", fields.count, r->fields);
    BufferRow row = {.id = arena_strdup(r->arena, fields.at[r->at[COLUMN_ID]]),
                     .alignment = 1,
                     .offset = -1,
                     .line = r->line};
    uint32_t before = map_get(r->ids, row.id);
    if (r->table->row.count == ROW_LIMIT) return fail(r, "a file has at most %d buffers", ROW_LIMIT);
    if (!*row.id) return fail(r, "the id is empty");
    if (before != NONE) return fail(r, "'%.100s' is also in line %u", row.id, before);
    map_set(r->ids, row.id, r->line);
    if (!read_cell(r, &fields, COLUMN_LOWER, &row.lower) ||
        !read_cell(r, &fields, COLUMN_UPPER, &row.upper) || !read_cell(r, &fields, COLUMN_SIZE, &row.bytes))
        return false;
    row.upper += r->inclusive;
    if (row.upper < row.lower) return fail(r, "the lifetime of '%.100s' ends before it begins", row.id);
    if (row.bytes < 0) return fail(r, "the size of '%.100s' is negative", row.id);
    r->total_bytes += row.bytes;
    if (r->total_bytes > total_limit) return fail(r, "the sizes add up to more than 2^60");
    if (r->at[COLUMN_ALIGNMENT] != NONE && *fields.at[r->at[COLUMN_ALIGNMENT]]) {
        if (!read_cell(r, &fields, COLUMN_ALIGNMENT, &row.alignment)) return false;
        if (row.alignment < 1 || row.alignment > alignment_limit)
            return fail(r, "the alignment of '%.100s' is not between 1 and 2^32", row.id);
    }
    if (r->at[COLUMN_OFFSET] != NONE && *fields.at[r->at[COLUMN_OFFSET]]) {
        if (!read_cell(r, &fields, COLUMN_OFFSET, &row.offset)) return false;
        if (row.offset < 0) return fail(r, "the offset of '%.100s' is negative", row.id);
        if (row.offset % row.alignment)
            return fail(r, "the offset of '%.100s' is no multiple of its alignment %" PRId64, row.id,
                        row.alignment);
    }
    if (r->at[COLUMN_GAPS] != NONE && !read_gaps(r, &row, fields.at[r->at[COLUMN_GAPS]])) return false;
    row.text = without_offset(r, &fields);
    *vec_add(r->arena, &r->table->row) = row;
    return true;
}

static bool read_header(Reader *r, const char *line, size_t length) {
    Fields fields = split(r, line, length);
    const char *known[COUNT_OF(column_name)];
    for (size_t c = 0; c < COUNT_OF(column_name); c++) known[c] = column_name[c].name;
    for (int c = 0; c < COLUMN_COUNT; c++) r->at[c] = NONE;
    r->fields = fields.count;
    for (uint32_t f = 0; f < fields.count; f++) {
        size_t c = 0;
        while (c < COUNT_OF(column_name) && strcmp(column_name[c].name, fields.at[f])) c++;
        if (c == COUNT_OF(column_name)) {
            const char *near = diag_nearest(fields.at[f], known, COUNT_OF(column_name));
            return fail(r, "unknown column '%.100s'%s%s%s", fields.at[f], near ? "; did you mean '" : "",
                        near ? near : "", near ? "'?" : "");
        }
        Column column = column_name[c].column;
        if (r->at[column] != NONE)
            return fail(r, "'%s' and '%s' are the same column", fields.at[r->at[column]], fields.at[f]);
        r->at[column] = f;
        if (!strcmp(fields.at[f], "end")) r->inclusive = true;
    }
    for (int c = 0; c < COLUMN_NEEDED; c++) {
        static const char *const needed[] = {"id", "lower", "upper", "size"};
        if (r->at[c] == NONE) return fail(r, "there is no column '%s'", needed[c]);
    }
    r->table->header = without_offset(r, &fields);
    return true;
}

static const char *read_lines(Reader *r, const char *text, size_t length, uint32_t *line) {
    BufferTable *table = r->table;
    for (const char *end = text + length, *next; text < end; text = next) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        next = stop ? stop + 1 : end;
        size_t bytes = (size_t)((stop ? stop : end) - text);
        if (bytes && text[bytes - 1] == '\r') bytes--;
        *line = ++r->line;
        arena_reset(r->line_arena);
        if (!bytes) continue;
        if (!(table->header ? read_row(r, text, bytes) : read_header(r, text, bytes))) return r->error;
    }
    *line = 0;
    if (!table->header) return "the file is empty; its first line names the columns: id,lower,upper,size";
    return NULL;
}

const char *csv_read(BufferTable *table, const char *text, size_t length, uint32_t *line, Arena *arena) {
    Reader r = {.arena = arena, .line_arena = arena_new(), .table = table, .ids = map_new(arena)};
    *table = (BufferTable){.header = NULL};
    *line = 0;
    const char *error = memchr(text, 0, length) ? "this is not text" : read_lines(&r, text, length, line);
    arena_free(r.line_arena);
    return error;
}

void csv_write(const BufferTable *table, const int64_t *offset, Text *out) {
    text_add(out, "%s,offset\n", table->header);
    for (uint32_t i = 0; i < table->row.count; i++)
        text_add(out, "%s,%" PRId64 "\n", table->row.at[i].text, offset[i]);
}
