/* Inside the report page: what its parts share, and the parts, a file each. */
#ifndef REMAT_REPORT_PARTS_H
#define REMAT_REPORT_PARTS_H

#include "codegen/decisions.h"
#include "codegen/picture/html.h"
#include "codegen/picture/report.h"
#include "codegen/picture/timeline.h"
#include "planner/layout/live.h"

/* ---- names ---- */
/* "h.3.mlp.fc" is "h.*.mlp.fc" in block 3: what is alike in all layers has one name. */
typedef struct GeneralName {
    uint32_t name;  /* of Names.general */
    uint32_t block; /* of the graph; NONE: of no block */
} GeneralName;
typedef struct Names {
    Arena *arena;
    const Graph *g;
    Map *blocks, *index;
    VEC(const char *) general;
} Names;
GeneralName names_of(Names *names, const char *name);

/* ---- the page ---- */
/* Bytes from the bottom of a chart up. Below `base` lies what is always there: where that is most of it, in
 * less room. */
typedef struct ByteScale {
    int64_t base, top;
    double base_share; /* of the height; a linear scale: base / top */
} ByteScale;

typedef struct Page {
    Text *out;
    Arena *arena;
    const ReportRequest *request;
    const Part *train;
    const Graph *g;
    Fates fates;
    Decisions decisions;
    Timeline timeline;
    Names names;
    const int64_t *live;     /* live_by_column */
    bool used[LIVE_COLUMNS]; /* some step has bytes of it */
    int64_t limit_bytes;     /* what the budget leaves to the arena; 0: no limit */
    ByteScale scale;         /* of the arena */
    json_t *script;          /* what the script reads */
} Page;

/* ---- numbers ---- */
typedef enum Form {
    FORM_BYTES,
    FORM_BYTES_UP, /* rounded up: a budget of what is printed is enough */
    FORM_SECONDS,
    FORM_COUNT,
    FORM_PERCENT, /* of a share */
} Form;
/* Markup of a number; in SVG where `tag` is "tspan". `key` says where it is from. */
const char *page_value(const Page *page, const char *tag, const char *key, double value, Form form);
/* One of `rematc plan --json`: its path, as "peak.activations" or "decisions.3.kept". */
const char *page_number(const Page *page, const char *tag, const char *path, Form form);
double page_double(const Page *page, const char *path);
const char *seconds_text(double seconds, Arena *arena); /* as format_seconds, with a µ */
const char *form_text(double value, Form form, Arena *arena);

/* ---- charts ---- */
/* A chart is an SVG as wide as the page lets it be: texts and lines are placed in percent, shapes in a plane
 * that is stretched over it, PLANE units each way, from the top left. */
enum { PLANE = 10000 };
ByteScale scale_of(int64_t base, int64_t top);
double scale_y(const ByteScale *scale, int64_t bytes); /* in the plane */
/* `label`: what the chart shows, in words. The parts of a chart stand between open and close. */
void chart_open(Text *out, const char *id, const char *what, int height, const char *label);
void chart_close(Text *out);
void chart_plane_open(Text *out);
void chart_plane_close(Text *out);
void chart_bytes_axis(Text *out, const ByteScale *scale);
/* Of one micro-step and the update: seconds below, phases above, a line where one begins. */
void chart_time_axis(const Page *page);
bool scale_is_broken(const ByteScale *scale);
/* Distances of ticks that are round numbers, at most so many in a span; and what is written beside one. */
int64_t byte_step(int64_t span, int most);
double tick_step(double span, int most);
const char *bytes_tick(int64_t bytes, int64_t step, Arena *arena);
const char *seconds_tick(double seconds, double span, Arena *arena);
const char *percent(double share, Arena *arena); /* "12.34%" */
void chart_text(Text *out, double x, double y, const char *what, const char *markup);

/* A category of live memory, in the order in which charts stack them. */
extern const LiveColumn stack_order[LIVE_COLUMNS];
uint32_t stack_place(LiveColumn column);

/* ---- parts ---- */
void report_words(Page *page);
void report_memory(Page *page);
void report_layers(Page *page);
void report_arena(Page *page);
void report_copies(Page *page);
void report_budgets(Page *page);
void report_tensors(Page *page);
void report_operations(Page *page);
void report_run(Page *page);

#endif
