/* What became of what the forward pass makes: a row for each operation whose results the backward pass needs,
 * a cell for each layer; equal neighbours are one rectangle. */
#include "codegen/picture/report_parts.h"

#include <string.h>

typedef enum CellFate { CELL_FREED, CELL_KEPT, CELL_AGAIN, CELL_AWAY, CELL_FATES } CellFate;
static const struct {
    const char *what, *said;
} cell_look[CELL_FATES] = {[CELL_FREED] = {"freed", "freed at once"},
                           [CELL_KEPT] = {"kept", "kept"},
                           [CELL_AGAIN] = {"again", "computed again"},
                           [CELL_AWAY] = {"away", "copied to host memory and back"}};

typedef struct Cell {
    CellFate fate;
    uint32_t again;
    int64_t bytes; /* of all that the operation makes */
} Cell;

static Cell cell_of(const Page *page, NodeId n) {
    const Node *node = &page->g->node.at[n];
    Cell cell = {.again = page->fates.again[n]};
    for (uint32_t o = 0; o < node->nout; o++) cell.bytes += value_bytes(&page->g->value.at[node->out[o]]);
    cell.fate = cell.again                                               ? CELL_AGAIN
                : decisions_moved_bytes(page->g, &page->fates, node) > 0 ? CELL_AWAY
                : decisions_kept_bytes(page->g, &page->fates, node) > 0  ? CELL_KEPT
                                                                         : CELL_FREED;
    return cell;
}

static bool is_equal(const Cell *a, const Cell *b) {
    return a->fate == b->fate && a->again == b->again && a->bytes == b->bytes;
}

/* "h.1" in "h.*": what comes before the number. */
static size_t family(const char *block) {
    const char *dot = strrchr(block, '.');
    return dot ? (size_t)(dot - block) + 1 : 0;
}

/* Where the cells of a row lie: block `b` is number `place[b]` of the `count[b]` that are called alike. */
typedef struct Places {
    uint32_t *place, *count;
    uint32_t most;
} Places;

static Places find_places(const Page *page) {
    uint32_t blocks = page->g->block.count;
    Places places = {.place = NEW_ARRAY(page->arena, uint32_t, blocks + 1),
                     .count = NEW_ARRAY(page->arena, uint32_t, blocks + 1),
                     .most = 1};
    for (uint32_t b = 0; b < blocks; b++) {
        const char *name = page->g->block.at[b];
        for (uint32_t other = 0; other < blocks; other++) {
            const char *against = page->g->block.at[other];
            if (family(name) != family(against) || strncmp(name, against, family(name)) != 0) continue;
            places.place[b] += other < b;
            places.count[b]++;
        }
        if (places.count[b] > places.most) places.most = places.count[b];
    }
    return places;
}

static const char *place_name(const Page *page, NodeId from, NodeId to) {
    const Node *first = &page->g->node.at[from], *last = &page->g->node.at[to];
    if (first->block == NONE || last->block == NONE) return first->name;
    const char *name = page->g->block.at[first->block];
    return first->block == last->block
               ? name
               : arena_printf(page->arena, "%s to %s", name, page->g->block.at[last->block]);
}

static void draw_cell(const Page *page, const Cell *cell, NodeId from, NodeId to, double x, double width) {
    char bytes[24];
    const char *times = cell->again > 1 ? arena_printf(page->arena, " %u times", cell->again) : "";
    html_add(page->out,
             "<rect class=\"f-$\" x=\"$\" width=\"$\" height=\"100%\"><title>$: $$, $$</title></rect>",
             cell_look[cell->fate].what, percent(x, page->arena), percent(width, page->arena),
             place_name(page, from, to), cell_look[cell->fate].said, times, format_bytes(cell->bytes, bytes),
             from == to ? "" : " each");
}

/* Between layers. Lines that many rows have are there once: "cuts-32" cuts a strip into 32. */
static void add_cuts(const Page *page, const Places *places, const DecisionRow *row) {
    uint32_t count = places->count[page->g->node.at[row->node.at[0]].block];
    if (count > 1) html_add(page->out, "<use href=\"#cuts-$\"/>", arena_printf(page->arena, "%u", count));
}

static void define_cuts(const Page *page, const Places *places) {
    bool *done = NEW_ARRAY(page->arena, bool, places->most + 1);
    text_add(page->out, "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>");
    for (uint32_t b = 0; b < page->g->block.count; b++) {
        uint32_t count = places->count[b];
        if (count < 2 || done[count]) continue;
        done[count] = true;
        text_add(page->out,
                 "<symbol id=\"cuts-%u\" viewBox=\"0 0 %u 1\" preserveAspectRatio=\"none\"><path "
                 "class=\"cut\" d=\"",
                 count, count);
        for (uint32_t i = 1; i < count; i++) text_add(page->out, "M%u 0V1", i);
        text_add(page->out, "\"/></symbol>");
    }
    text_add(page->out, "</defs></svg>\n");
}

static void draw_strip(const Page *page, const Places *places, const DecisionRow *row) {
    uint32_t count = row->node.count;
    double *x = NEW_ARRAY(page->arena, double, count + 1), *width = NEW_ARRAY(page->arena, double, count + 1);
    for (uint32_t i = 0, pieces; i < count; i += pieces) {
        uint32_t block = page->g->node.at[row->node.at[i]].block;
        for (pieces = 1; i + pieces < count && page->g->node.at[row->node.at[i + pieces]].block == block;)
            pieces++;
        double whole = 1.0 / (block == NONE ? places->most : places->count[block]);
        for (uint32_t k = 0; k < pieces; k++) {
            width[i + k] = whole / pieces;
            x[i + k] = (block == NONE ? 0 : places->place[block] * whole) + k * width[i];
        }
    }
    html_add(page->out, "<svg class=\"strip\" width=\"100%\" height=\"16\" role=\"img\" aria-label=\"$\">",
             row->name);
    for (uint32_t i = 0, last; i < count; i = last + 1) {
        Cell cell = cell_of(page, row->node.at[i]), next;
        for (last = i; last + 1 < count; last++) {
            next = cell_of(page, row->node.at[last + 1]);
            if (!is_equal(&cell, &next) || x[last + 1] < x[last]) break;
        }
        draw_cell(page, &cell, row->node.at[i], row->node.at[last], x[i], x[last] + width[last] - x[i]);
    }
    if (page->g->node.at[row->node.at[0]].block != NONE) add_cuts(page, places, row);
    text_add(page->out, "</svg>");
}

static const char *row_number(const Page *page, uint32_t row, const char *key, Form form) {
    const char *path = arena_printf(page->arena, "decisions.%u.%s", row, key);
    return page_double(page, path) > 0 ? page_number(page, "span", path, form) : "";
}

static void add_row(const Page *page, const Places *places, uint32_t i) {
    const DecisionRow *row = &page->decisions.row.at[i];
    Text *out = page->out;
    html_add(out, "<tr><th scope=\"row\"><b class=\"name\">@</b>", html_name(row->name, page->arena));
    const char *last = strrchr(row->name, '.');
    if (strcmp(last ? last + 1 : row->name, row->op) != 0) html_add(out, " <i class=\"name\">$</i>", row->op);
    text_add(out, "</th><td class=\"cells\">");
    draw_strip(page, places, row);
    html_add(out, "</td><td>@</td><td>@</td>", row_number(page, i, "kept_bytes", FORM_BYTES),
             row_number(page, i, "recompute_seconds", FORM_SECONDS));
    if (page->decisions.moves) html_add(out, "<td>@</td>", row_number(page, i, "away_bytes", FORM_BYTES));
    text_add(out, "</tr>\n");
}

static void add_key(const Page *page) {
    bool seen[CELL_FATES] = {false};
    for (uint32_t i = 0; i < page->decisions.row.count; i++)
        for (uint32_t k = 0; k < page->decisions.row.at[i].node.count; k++)
            seen[cell_of(page, page->decisions.row.at[i].node.at[k]).fate] = true;
    text_add(page->out, "<ul class=\"key\">");
    for (int f = CELL_FATES; f-- > 0;)
        if (seen[f])
            html_add(page->out,
                     "<li><svg class=\"swatch\" width=\"22\" height=\"14\" aria-hidden=\"true\"><rect "
                     "width=\"22\" "
                     "height=\"14\" rx=\"2\" class=\"f-$\"/></svg>$</li>",
                     cell_look[f].what, cell_look[f].said);
    text_add(page->out, "</ul>\n");
}

void report_layers(Page *page) {
    Text *out = page->out;
    Places places = find_places(page);
    uint32_t dropped = 0;
    text_add(out, "<section id=\"layers\"><h2>What the backward pass needs, layer by layer</h2>\n"
                  "<p>A row for each operation of the forward pass whose results are read again, a cell for "
                  "each layer.<span class=\"scripted\"> Point at a cell, or walk through them with the arrow "
                  "keys, to read "
                  "it.</span></p>\n");
    add_key(page);
    define_cuts(page, &places);
    html_add(
        out,
        "<div class=\"wide cellwise\" tabindex=\"0\" role=\"region\" aria-label=\"What became of each "
        "operation\">"
        "<table class=\"layers\"><thead><tr><th scope=\"col\">operation</th><th scope=\"col\" "
        "class=\"cells\">"
        "<span>first layer</span><span>last</span></th><th scope=\"col\">kept</th><th scope=\"col\">again, a "
        "step</th>@</tr></thead><tbody>\n",
        page->decisions.moves ? "<th scope=\"col\">in host memory</th>" : "");
    for (uint32_t i = 0; i < page->decisions.row.count; i++) {
        const DecisionRow *row = &page->decisions.row.at[i];
        if (row->kept || row->recomputed || row->moved)
            add_row(page, &places, i);
        else
            dropped++;
    }
    text_add(out, "</tbody></table></div>\n");
    if (dropped)
        html_add(out,
                 "<p class=\"aside\">Left out: @ operation$ whose results nobody reads in the backward pass. "
                 "They are freed "
                 "at once.</p>\n",
                 page_value(page, "span", "freed_rows", dropped, FORM_COUNT), dropped == 1 ? "" : "s");
    text_add(out, "</section>\n");
}
