/* See report.h. The page from top to bottom: a policy that lets it load nothing, the style, the parts, and at
 * its end what the script reads, and the script. */
#include "codegen/picture/report_parts.h"
#include "codegen/picture/sha256.h"

#include <string.h>

/* The files of codegen/picture/ that travel inside rematc (embed.cmake). */
extern const EmbeddedFile picture_file[];
extern const unsigned picture_file_count;

static const EmbeddedFile *file_of(const char *path) {
    for (unsigned i = 0; i < picture_file_count; i++)
        if (!strcmp(picture_file[i].path, path)) return &picture_file[i];
    die("%s is not embedded", path);
}

static void add_head(const Page *page) {
    const EmbeddedFile *style = file_of("codegen/picture/report.css"),
                       *script = file_of("codegen/picture/report.js");
    size_t style_bytes = (size_t)(style->end - style->beg),
           script_bytes = (size_t)(script->end - script->beg);
    html_add(
        page->out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '$'; "
        "script-src "
        "'$'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>$ on $: memory plan</title>\n<style>",
        sha256_source(style->beg, style_bytes, page->arena),
        sha256_source(script->beg, script_bytes, page->arena), page->request->emit->spec->model,
        page->request->emit->device->name);
    text_add_n(page->out, style->beg, style_bytes);
    text_add(page->out, "</style>\n</head>\n<body>\n");
}

/* Hatches and dots, so that what became of a tensor can be told without colour. */
static void add_patterns(Text *out) {
    text_add(out, "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>"
                  "<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
                  "patternTransform=\"rotate(45)\"><rect class=\"ground\" width=\"6\" height=\"6\"/><rect "
                  "class=\"ink\" "
                  "width=\"2\" height=\"6\"/></pattern>"
                  "<pattern id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect "
                  "class=\"ground\" "
                  "width=\"6\" height=\"6\"/><circle class=\"ink\" cx=\"3\" cy=\"3\" r=\"1.4\"/></pattern>"
                  "</defs></svg>\n");
}

static void add_contents(const Page *page) {
    bool copies = page->train->layout->host_bytes > 0, run = page->request->run != NULL;
    html_add(page->out,
             "<nav aria-label=\"Parts of this page\"><a href=\"#memory\">memory</a><a "
             "href=\"#layers\">layers</a><a "
             "href=\"#arena\">arena</a>@<a href=\"#budgets\">budgets</a><a href=\"#tensors\">tensors</a><a "
             "href=\"#operations\">time</a>@</nav>\n",
             copies ? "<a href=\"#copies\">copies</a>" : "", run ? "<a href=\"#run\">run</a>" : "");
}

static void add_end(const Page *page) {
    Text *out = page->out;
    const EmbeddedFile *script = file_of("codegen/picture/report.js");
    html_add(
        out,
        "</main>\n<footer><p>Made by rematc from <span class=\"name\">$</span>. The numbers are those of "
        "<code>rematc plan --json</code>, which this page holds, too.</p></footer>\n"
        "<div id=\"tip\" role=\"status\" hidden></div>\n",
        page->request->emit->spec->path);
    html_json(out, "plan", page->request->plan);
    html_json(out, "script", page->script);
    text_add(out, "<script>");
    text_add_n(out, script->beg, (size_t)(script->end - script->beg));
    text_add(out, "</script>\n</body>\n</html>\n");
}

static Page page_of(const ReportRequest *request, Text *out) {
    const Part *train = &request->emit->train;
    Page page = {.out = out,
                 .arena = out->arena,
                 .request = request,
                 .train = train,
                 .g = train->graph,
                 .fates = decisions_fates(train, out->arena),
                 .decisions = decisions_of(train, out->arena),
                 .timeline = timeline_of(train, request->emit->device, out->arena),
                 .names = {.arena = out->arena, .g = train->graph},
                 .live = live_by_column(train->graph, train->plan, train->layout, out->arena),
                 .script = json_object()};
    for (size_t i = 0; i < (size_t)train->plan->step.count * LIVE_COLUMNS; i++)
        if (page.live[i]) page.used[i % LIVE_COLUMNS] = true;
    return page;
}

/* As high as the arena, and as the budget where that is not far above. */
static void choose_scale(Page *page) {
    const double far = 1.6;
    int64_t base = page->train->layout->persistent_bytes, top = page->request->emit->arena_bytes;
    int64_t budget = (int64_t)page_double(page, "budget_bytes");
    if (budget > 0) page->limit_bytes = budget - (int64_t)page_double(page, "reserved_bytes");
    if (page->limit_bytes > top && (double)(page->limit_bytes - base) < far * (double)(top - base))
        top = page->limit_bytes;
    page->scale = scale_of(base, top + (top - base) / 8);
}

void report_page(const ReportRequest *request, Text *out) {
    Page page = page_of(request, out);
    choose_scale(&page);
    add_head(&page);
    add_patterns(out);
    report_words(&page);
    add_contents(&page);
    text_add(out, "<main>\n");
    report_memory(&page);
    report_layers(&page);
    report_arena(&page);
    report_copies(&page);
    report_budgets(&page);
    report_tensors(&page);
    report_operations(&page);
    report_run(&page);
    add_end(&page);
}
