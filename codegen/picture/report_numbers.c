/* See report_parts.h: numbers that say where they are from, and names that say in which layer. */
#define _GNU_SOURCE /* memrchr */
#include "codegen/picture/report_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "65,536" */
static const char *grouped(int64_t count, Arena *arena) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    Text out = {.arena = arena};
    for (int i = 0; i < length; i++) {
        int left = length - i;
        text_add(&out, "%s%c", i && left % 3 == 0 && digits[i - 1] != '-' ? "," : "", digits[i]);
    }
    return out.at;
}

const char *seconds_text(double seconds, Arena *arena) {
    char text[24];
    format_seconds(seconds, text);
    char *micro = strstr(text, "us");
    return micro ? arena_printf(arena, "%.*s\u00b5s", (int)(micro - text), text) : arena_strdup(arena, text);
}

const char *form_text(double value, Form form, Arena *arena) {
    char *text = arena_alloc(arena, 24);
    switch (form) {
    case FORM_BYTES: return format_bytes((int64_t)value, text);
    case FORM_BYTES_UP: return format_bytes_up((int64_t)value, text);
    case FORM_SECONDS: return seconds_text(value, arena);
    case FORM_COUNT: return grouped((int64_t)floor(value + 0.5), arena);
    case FORM_PERCENT: break;
    }
    double hundredths = 100 * value;
    return arena_printf(arena, "%.*f%%",
                        fabs(hundredths) < 9.995   ? 2
                        : fabs(hundredths) < 99.95 ? 1
                                                   : 0,
                        hundredths);
}

const char *page_value(const Page *page, const char *tag, const char *key, double value, Form form) {
    Text out = {.arena = page->arena};
    char exact[32];
    html_add(&out, "<@ data-key=\"$\" data-value=\"$\">$</@>", tag, key, format_number(value, exact),
             form_text(value, form, page->arena), tag);
    return out.at;
}

/* The value at a path of names and indices, with dots between. */
static const json_t *find(const json_t *tree, const char *path) {
    while (tree && *path) {
        char name[64];
        int length = snprintf(name, sizeof name, "%.*s", (int)strcspn(path, "."), path);
        if (length >= (int)sizeof name) die("a long name in the path '%s'", path);
        tree =
            json_is_array(tree) ? json_array_get(tree, strtoul(name, NULL, 10)) : json_object_get(tree, name);
        path += length + (path[length] == '.');
    }
    return tree;
}

double page_double(const Page *page, const char *path) {
    const json_t *value = find(page->request->plan, path);
    if (!json_is_number(value)) die("the plan's JSON has no number '%s'", path);
    return json_number_value(value);
}

const char *page_number(const Page *page, const char *tag, const char *path, Form form) {
    return page_value(page, tag, arena_printf(page->arena, "plan.%s", path), page_double(page, path), form);
}

GeneralName names_of(Names *names, const char *name) {
    const Graph *g = names->g;
    if (!names->blocks) {
        names->blocks = map_new(names->arena);
        names->index = map_new(names->arena);
        for (uint32_t b = 0; b < g->block.count; b++) map_set(names->blocks, g->block.at[b], b);
    }
    GeneralName found = {.block = NONE};
    const char *general = name;
    char *part = arena_strdup(names->arena, name);
    size_t length = strlen(name);
    /* from a dot or the beginning to a dot: "h.3" in "h.3.ln_1" and in "m.h.3.ln_1.weight" */
    for (size_t from = 0; from < length && found.block == NONE; from++) {
        if (from && name[from - 1] != '.') continue;
        for (size_t to = from; to < length && found.block == NONE; to++) {
            if (name[to] != '.') continue;
            part[to] = 0;
            found.block = map_get(names->blocks, part + from);
            part[to] = '.';
            const char *dot = memrchr(name + from, '.', to - from);
            if (found.block != NONE && dot)
                general = arena_printf(names->arena, "%.*s.*%s", (int)(dot - name), name, name + to);
        }
    }
    found.name = map_get(names->index, general);
    if (found.name == NONE) {
        found.name = names->general.count;
        *vec_add(names->arena, &names->general) = general;
        map_set(names->index, general, found.name);
    }
    return found;
}
