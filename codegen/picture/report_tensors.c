/* The tensors that take most memory, equal ones of all layers together, and what becomes of them. */
#include "codegen/picture/report_parts.h"
#include "ir/ops.h"

#include <stdlib.h>

/* What the plan decides on, what the backward pass makes, and what is always there. */
typedef enum Sort { SORT_FORWARD, SORT_SHORT, SORT_PERSISTENT, SORTS } Sort;
static const struct {
    uint32_t rows;
    const char *said, *becomes;
} sort_look[SORTS] = {
    [SORT_FORWARD] = {14, "made by the forward pass: the plan decides on them", ""},
    [SORT_SHORT] = {6, "gradients and what else lives for its readers alone", "freed when read"},
    [SORT_PERSISTENT] = {8, "weights and states", "always there"}};

/* Tensors of one name in all layers and of one size. */
typedef struct Group {
    uint32_t name, count;
    ValueId value; /* the first; NONE: workspace */
    int64_t bytes; /* of one */
    uint32_t kept, again, away, freed;
    Sort sort;
} Group;
typedef VEC(Group) Groups;

static int64_t total_bytes(const Group *group) {
    return group->bytes * group->count;
}

static int larger_first(const void *left, const void *right) {
    const Group *a = left, *b = right;
    if (total_bytes(a) != total_bytes(b)) return total_bytes(a) < total_bytes(b) ? 1 : -1;
    return a->name < b->name ? -1 : a->name > b->name;
}

static void add_fate(const Page *page, Group *group, ValueId v) {
    const Value *value = &page->g->value.at[v];
    if (value->def == NONE || !decisions_covers(page->g, &page->g->node.at[value->def])) return;
    group->sort = SORT_FORWARD;
    if (page->fates.again[value->def])
        group->again++;
    else if (page->fates.moved[v] != NONE)
        group->away++;
    else if (page->fates.kept[v])
        group->kept++;
    else
        group->freed++;
}

/* Of all that has storage of its own. */
static Groups find_groups(Page *page) {
    Groups groups = {0};
    for (ValueId v = 0; v < page->g->value.count; v++) {
        const Value *value = &page->g->value.at[v];
        if (graph_root(page->g, v) != v) continue;
        int64_t bytes = value_bytes(value);
        uint32_t name = names_of(&page->names, value->name).name, i = 0;
        while (i < groups.count && (groups.at[i].name != name || groups.at[i].bytes != bytes)) i++;
        if (i == groups.count)
            *vec_add(page->arena, &groups) =
                (Group){.name = name,
                        .value = v,
                        .bytes = bytes,
                        .sort = value->kind == VALUE_ACTIVATION ? SORT_SHORT : SORT_PERSISTENT};
        groups.at[i].count++;
        add_fate(page, &groups.at[i], v);
    }
    if (groups.count) qsort(groups.at, groups.count, sizeof *groups.at, larger_first);
    return groups;
}

static void add_count(const Page *page, const Group *group, const char *what, uint32_t count,
                      const char *said) {
    Arena *arena = page->arena;
    const char *key = arena_printf(arena, "tensor.%s.%s", page->names.general.at[group->name], what);
    const char *of = arena_printf(arena, "tensor.%s.count", page->names.general.at[group->name]);
    if (!count) return;
    html_add(
        page->out,
        "<span class=\"fate\"><svg class=\"swatch\" width=\"12\" height=\"12\" aria-hidden=\"true\"><rect "
        "width=\"12\" height=\"12\" rx=\"2\" class=\"f-$\"/></svg>$@</span> ",
        what, said,
        count == group->count
            ? ""
            : arena_printf(arena, " <i>%s of %s</i>", page_value(page, "span", key, count, FORM_COUNT),
                           page_value(page, "span", of, group->count, FORM_COUNT)));
}

static void add_row(const Page *page, const Group *group) {
    Text *out = page->out;
    Arena *arena = page->arena;
    const char *name = page->names.general.at[group->name], *key = arena_printf(arena, "tensor.%s", name);
    LiveColumn column = live_column(page->g, group->value);
    html_add(
        out,
        "<tr><th scope=\"row\" class=\"name\">@</th><td class=\"words\"><svg class=\"swatch\" width=\"12\" "
        "height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\" rx=\"2\" class=\"c$\"/></svg>"
        "<span>$</span></td><td class=\"name shape\">$</td>",
        html_name(name, arena), arena_printf(arena, "%u", stack_place(column)), live_label[column],
        type_text(arena, &page->g->value.at[group->value].type));
    html_add(out, "<td>@</td><td>@</td><td>@</td><td class=\"words\">",
             page_value(page, "span", arena_printf(arena, "%s.bytes", key), (double)group->bytes, FORM_BYTES),
             page_value(page, "span", arena_printf(arena, "%s.count", key), group->count, FORM_COUNT),
             page_value(page, "span", arena_printf(arena, "%s.total", key), (double)total_bytes(group),
                        FORM_BYTES));
    add_count(page, group, "kept", group->kept, "kept");
    add_count(page, group, "again", group->again, "computed again");
    add_count(page, group, "away", group->away, "in host memory");
    add_count(page, group, "freed", group->freed, "freed at once");
    html_add(out, "$</td></tr>\n", sort_look[group->sort].becomes);
}

void report_tensors(Page *page) {
    Text *out = page->out;
    Groups groups = find_groups(page);
    text_add(out,
             "<section id=\"tensors\"><h2>The largest tensors, and their fate</h2>\n<div class=\"wide\" "
             "tabindex=\"0\" role=\"region\" aria-label=\"The largest tensors\"><table class=\"numbers\">"
             "<thead><tr><th scope=\"col\">tensor</th><th scope=\"col\" class=\"words\">is</th>"
             "<th scope=\"col\" class=\"shape\">shape</th><th scope=\"col\">each</th><th scope=\"col\">how "
             "many</th>"
             "<th scope=\"col\">together</th><th scope=\"col\" "
             "class=\"words\">becomes</th></tr></thead>\n");
    for (int sort = 0; sort < SORTS; sort++) {
        uint32_t rows = 0;
        for (uint32_t i = 0; i < groups.count; i++) {
            if (groups.at[i].sort != (Sort)sort || rows == sort_look[sort].rows) continue;
            if (!rows++)
                html_add(out, "<tbody><tr><th colspan=\"7\" scope=\"rowgroup\" class=\"sort\">$</th></tr>\n",
                         sort_look[sort].said);
            add_row(page, &groups.at[i]);
        }
        if (rows) text_add(out, "</tbody>\n");
    }
    text_add(out, "</table></div></section>\n");
}
