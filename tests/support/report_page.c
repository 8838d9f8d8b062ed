/* report_page PAGE PLAN.json FOLDER.json COSTS [LOG]: holds every number that a page of `rematc report` shows
 * against what `rematc plan --json`, the plan.json of an emitted folder, `rematc dump --stage cost` and a
 * trainer's log say. For the pipeline tests. It shares nothing with what writes pages but how numbers are
 * spelled. */
#define _GNU_SOURCE /* memmem */
#include "ir/base.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(const char *) Keys;
typedef struct Page {
    Arena *arena;
    char *text;
    json_t *plan, *folder; /* read from files */
    json_t *buffers, *steps;
    const char *costs;
    json_t *log; /* its lines; NULL: none */
    Map *seen;   /* keys to indices of `value` */
    VEC(double) value;
    uint32_t numbers, bad;
    double shown_seconds; /* of kinds of operations */
} Page;

static void wrong(Page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(Page *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (p->bad++ < 20) fprintf(stderr, "%s\n", arena_vprintf(p->arena, format, arguments));
    va_end(arguments);
}

/* ---- what numbers should be ---- */

static double at_path(const json_t *tree, const char *path) {
    char *rest = strdup(path), *save = NULL;
    for (char *name = strtok_r(rest, ".", &save); name && tree; name = strtok_r(NULL, ".", &save))
        tree =
            json_is_array(tree) ? json_array_get(tree, strtoul(name, NULL, 10)) : json_object_get(tree, name);
    free(rest);
    return json_is_number(tree) ? json_number_value(tree) : NAN;
}

static double of_plan(const Page *p, const char *path) {
    return at_path(p->plan, path);
}

static double tokens_of(const Page *p) {
    return of_plan(p, "batch") * of_plan(p, "context") * of_plan(p, "accumulate");
}

static double derived(const Page *p, const char *name) {
    double peak = of_plan(p, "peak_bytes"), seconds = of_plan(p, "seconds"),
           budget = of_plan(p, "budget_bytes"), reserved = of_plan(p, "reserved_bytes");
    if (!strcmp(name, "budget_share")) return (peak + reserved) / budget;
    if (!strcmp(name, "limit_bytes")) return budget - reserved;
    if (!strcmp(name, "saved_share")) return fabs(1 - peak / of_plan(p, "keep_all_bytes"));
    if (!strcmp(name, "over_share")) return fabs(seconds / of_plan(p, "keep_all_seconds") - 1);
    if (!strcmp(name, "again_share")) return of_plan(p, "recompute_seconds") / seconds;
    if (!strcmp(name, "tokens")) return tokens_of(p);
    return NAN;
}

static double sum_of(const Page *p, const char *key) {
    double sum = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(p->plan, "decisions"), i, row) sum += at_path(row, key);
    return sum;
}

static bool on_device(const json_t *buffer) {
    return !strcmp(json_string_value(json_object_get(buffer, "memory")), "device");
}

static bool is_live(const json_t *buffer, double step) {
    return on_device(buffer) && at_path(buffer, "lower") <= step && at_path(buffer, "upper") > step;
}

static double live_at(const Page *p, double step) {
    double bytes = 0;
    size_t i;
    json_t *buffer;
    json_array_foreach(p->buffers, i, buffer) if (is_live(buffer, step)) bytes += at_path(buffer, "size");
    return bytes;
}

static double device_buffers(const Page *p) {
    double count = 0;
    size_t i;
    json_t *buffer;
    json_array_foreach(p->buffers, i, buffer) count += on_device(buffer);
    return count;
}

static double freed_rows(const Page *p) {
    double count = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(p->plan, "decisions"), i, row) count +=
        at_path(row, "kept") == 0 && at_path(row, "recomputed") == 0 && at_path(row, "away") == 0;
    return count;
}

/* Of one execution: "1.424e-04 2.097e+06 2.105e+06 0 embed wte; .." */
static double cost_of(const Page *p, const char *op, const char *node) {
    const char *line = strstr(p->costs, arena_printf(p->arena, " %s %s; ", op, node));
    if (!line) return NAN;
    while (line > p->costs && line[-1] != '\n') line--;
    return strtod(line, NULL);
}

/* To the four digits of the dump; of "rest", what is not shown by itself. */
static double operation_seconds(Page *p, const char *kind) {
    double seconds = 0;
    size_t i;
    json_t *step;
    json_array_foreach(p->steps, i, step) {
        const char *op = json_string_value(json_object_get(step, "op"));
        if (!op || strcmp(op, kind) != 0) continue;
        bool update = !strcmp(json_string_value(json_object_get(step, "phase")), "update");
        seconds += (update ? 1 : of_plan(p, "accumulate")) *
                   cost_of(p, op, json_string_value(json_object_get(step, "node")));
    }
    return seconds;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double of_log(const Page *p, const char *name) {
    VEC(double) seconds = {0};
    double steps = 0, last = NAN, planned = of_plan(p, "peak_bytes"), measured = NAN;
    size_t i;
    json_t *line;
    json_array_foreach(p->log, i, line) {
        if (!isnan(at_path(line, name))) last = at_path(line, name);
        if (!isnan(at_path(line, "measured_bytes"))) measured = at_path(line, "measured_bytes");
        if (!json_object_get(line, "loss")) continue;
        steps++;
        *vec_add(p->arena, &seconds) = at_path(line, "step_seconds");
    }
    qsort(seconds.at, seconds.count, sizeof *seconds.at, ascending);
    double median = (seconds.at[(seconds.count - 1) / 2] + seconds.at[seconds.count / 2]) / 2;
    if (!strcmp(name, "steps")) return steps;
    if (!strcmp(name, "median_seconds")) return median;
    if (!strcmp(name, "slowest_seconds")) return seconds.at[seconds.count - 1];
    if (!strcmp(name, "time_share")) return median / of_plan(p, "seconds");
    if (!strcmp(name, "off_bytes")) return fabs(measured - planned);
    return last;
}

static bool begins(const char *key, const char *with, const char **rest) {
    *rest = key + strlen(with);
    return !strncmp(key, with, strlen(with));
}

/* NAN: checked elsewhere. */
static double expected(Page *p, const char *key) {
    const char *rest;
    if (begins(key, "plan.", &rest)) return of_plan(p, rest);
    if (begins(key, "folder.", &rest)) return at_path(p->folder, rest);
    if (begins(key, "derived.", &rest)) return derived(p, rest);
    if (begins(key, "sum.", &rest)) return sum_of(p, rest);
    if (begins(key, "run.", &rest)) return p->log ? of_log(p, rest) : NAN;
    if (!strcmp(key, "steps")) return (double)json_array_size(p->steps);
    if (!strcmp(key, "buffers")) return device_buffers(p);
    if (!strcmp(key, "freed_rows")) return freed_rows(p);
    if (!strcmp(key, "live_bytes")) return at_path(p->folder, "train.live_bytes");
    if (!strcmp(key, "packing"))
        return at_path(p->folder, "train.peak_bytes") - at_path(p->folder, "train.live_bytes");
    return NAN;
}

/* ---- numbers that are checked by what they say together ---- */

static double shown(const Page *p, const char *key) {
    uint32_t i = map_get(p->seen, key);
    return i == NONE ? NAN : p->value.at[i];
}

/* Whether a name is one that the pattern stands for: * is the number of a layer. */
static bool stands_for(const char *pattern, const char *name) {
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*name++ != *pattern) return false;
            continue;
        }
        size_t digits = strspn(name, "0123456789");
        if (!digits) return false;
        name += digits;
    }
    return !*name;
}

/* A tensor is as large as the buffers that are named after it; what becomes of it adds up. */
static void check_tensor(Page *p, const char *name) {
    const char *at = arena_printf(p->arena, "tensor.%s", name);
    double bytes = shown(p, arena_printf(p->arena, "%s.bytes", at)),
           count = shown(p, arena_printf(p->arena, "%s.count", at)),
           total = shown(p, arena_printf(p->arena, "%s.total", at)), parts = 0, size;
    static const char *const fate[] = {"kept", "again", "away", "freed"};
    for (size_t i = 0; i < COUNT_OF(fate); i++) {
        double part = shown(p, arena_printf(p->arena, "%s.%s", at, fate[i]));
        if (!isnan(part)) parts += part;
    }
    if (total != bytes * count) wrong(p, "%s: %.0f is not %.0f times %.0f", name, total, count, bytes);
    if (parts > 0 && parts != count) wrong(p, "%s: %.0f have a fate, of %.0f", name, parts, count);
    size_t i;
    json_t *buffer;
    json_array_foreach(p->buffers, i, buffer) {
        size = at_path(buffer, "size");
        if (on_device(buffer) && stands_for(name, json_string_value(json_object_get(buffer, "value"))) &&
            (size < bytes || size >= bytes + 256))
            wrong(p, "%s: %.0f bytes, in a buffer of %.0f", name, bytes, size);
    }
}

/* Where memory is fullest there is a buffer of that size, as often. */
static void check_peak_tensor(Page *p, const char *name, double bytes) {
    double count = shown(p, arena_printf(p->arena, "peak_count.%s", name)), found = 0;
    if (isnan(count)) count = 1;
    size_t i;
    json_t *buffer;
    json_array_foreach(p->buffers, i, buffer) found +=
        is_live(buffer, shown(p, "peak_step")) && at_path(buffer, "size") == bytes / count;
    if (found < count)
        wrong(p, "%s: %.0f buffers of %.0f bytes at the peak, not %.0f", name, found, bytes / count, count);
}

static void check_operation(Page *p, const char *kind, double seconds) {
    double share = shown(p, arena_printf(p->arena, "operation.%s.share", kind)),
           want = operation_seconds(p, kind);
    p->shown_seconds += seconds;
    if (fabs(share - seconds / of_plan(p, "seconds")) > 1e-12) wrong(p, "%s: a share of %g", kind, share);
    if (strcmp(kind, "rest") != 0 && !(fabs(seconds / want - 1) < 2e-3))
        wrong(p, "%s: %g s where the costs add up to %g s", kind, seconds, want);
}

/* No plan is faster than its bound, nor larger than its budget. */
static void check_budget(Page *p, const char *rest, double value) {
    char *at = arena_strdup(p->arena, rest), *last = strrchr(at, '.');
    *last = 0;
    double budget = strtod(strrchr(at, '.') + 1, NULL);
    double bound = shown(p, arena_printf(p->arena, "budget.%s.lower_bound_seconds", at));
    if (!strcmp(last + 1, "budget_bytes") && value != budget) wrong(p, "%s: a budget of %.0f", rest, value);
    if (!strcmp(last + 1, "peak_bytes") && value > budget) wrong(p, "%s: a peak of %.0f", rest, value);
    if (!strcmp(last + 1, "seconds") && !(value >= bound * (1 - 1e-12)))
        wrong(p, "%s: %g s, bound %g s", rest, value, bound);
}

static void check_together(Page *p, const char *key, double value) {
    const char *rest;
    if (!strcmp(key, "peak_step")) {
        if (live_at(p, value) != at_path(p->folder, "train.live_bytes"))
            wrong(p, "step %.0f is not where memory is fullest", value);
    } else if (begins(key, "tensor.", &rest)) {
        size_t name = (size_t)(strrchr(rest, '.') - rest);
        if (!strcmp(rest + name, ".bytes")) check_tensor(p, arena_strndup(p->arena, rest, name));
    } else if (begins(key, "peak_tensor.", &rest)) {
        check_peak_tensor(p, rest, value);
    } else if (begins(key, "operation.", &rest)) {
        const char *dot = strrchr(rest, '.');
        if (!strcmp(dot, ".seconds"))
            check_operation(p, arena_strndup(p->arena, rest, (size_t)(dot - rest)), value);
    } else if (begins(key, "budget.", &rest)) {
        check_budget(p, rest, value);
    } else if (!begins(key, "peak_count.", &rest)) {
        wrong(p, "nothing says what '%s' is", key);
    }
}

/* ---- the page ---- */

static bool equals_any(Arena *arena, const char *text, double value) {
    char plain[24], micro[24], *at;
    if (!strcmp(text, format_bytes((int64_t)value, plain)) ||
        !strcmp(text, format_bytes_up((int64_t)value, plain)))
        return true;
    format_seconds(value, micro);
    const char *seconds =
        (at = strstr(micro, "us")) ? arena_printf(arena, "%.*s\u00b5s", (int)(at - micro), micro) : micro;
    if (!strcmp(text, seconds)) return true;
    Text bare = {.arena = arena};
    for (; *text; text++)
        if (*text != ',') text_add_n(&bare, text, 1);
    double share = 100 * value;
    return !strcmp(bare.at, arena_printf(arena, "%.0f", value)) ||
           !strcmp(bare.at, arena_printf(arena, "%.*f%%",
                                         share < 9.995   ? 2
                                         : share < 99.95 ? 1
                                                         : 0,
                                         share));
}

static char *decoded(Arena *arena, const char *text, size_t length) {
    static const struct {
        const char *name, *is;
    } entity[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    Text out = {.arena = arena};
    text_add_n(&out, "", 0);
    for (size_t i = 0; i < length;) {
        size_t e = 0;
        while (e < COUNT_OF(entity) && strncmp(text + i, entity[e].name, strlen(entity[e].name)) != 0) e++;
        text_add(&out, "%s", "");
        text_add_n(&out, e < COUNT_OF(entity) ? entity[e].is : text + i, 1);
        i += e < COUNT_OF(entity) ? strlen(entity[e].name) : 1;
    }
    return out.at;
}

/* The value of an attribute in a tag; NULL: it has none. */
static char *attribute(Page *p, const char *tag, const char *end, const char *name) {
    const char *lead = arena_printf(p->arena, " %s=\"", name),
               *at = memmem(tag, (size_t)(end - tag), lead, strlen(lead));
    if (!at) return NULL;
    at += strlen(lead);
    return decoded(p->arena, at, strcspn(at, "\""));
}

static void read_number(Page *p, const char *key, const char *value, const char *text) {
    double number = strtod(value, NULL), want = expected(p, key), before = shown(p, key);
    p->numbers++;
    if (!equals_any(p->arena, text, number)) wrong(p, "%s: '%s' is not how %s is written", key, text, value);
    if (!isnan(before) && before != number) wrong(p, "%s: %s here, %.17g before", key, value, before);
    if (!isnan(want) && !(fabs(number - want) <= 1e-12 * fabs(want)))
        wrong(p, "%s: %s on the page, which should be %.17g", key, value, want);
    map_set(p->seen, key, p->value.count);
    *vec_add(p->arena, &p->value) = number;
}

/* Names, shapes, marks of axes, and what is quoted may have digits of their own. */
static bool may_have_digits(const char *class) {
    static const char *const word[] = {"name", "tick", "said"};
    for (size_t i = 0; class && i < COUNT_OF(word); i++)
        if (strstr(class, word[i])) return true;
    return false;
}

typedef struct Open {
    const char *tag;
    bool free; /* digits in it need no key */
} Open;

/* Every text that has a digit stands in an element that says where its number is from, or may have some. */
static void read_body(Page *p, Keys *keys) {
    VEC(Open) open = {0};
    for (char *at = strstr(p->text, "<body>"); at && *at;) {
        char *end = strchr(at, '>'), *next = end ? strchr(end, '<') : NULL;
        if (!next) break;
        bool ends = at[1] == '/';
        const char *first = at + (ends ? 2 : 1), *tag = arena_strndup(p->arena, first, strcspn(first, " />"));
        if (!strncmp(at, "<script", 7)) {
            at = strstr(next, "</script>");
            at = at ? strchr(at + 1, '<') : NULL;
            continue;
        }
        if (ends) {
            while (open.count && strcmp(open.at[open.count - 1].tag, tag) != 0)
                open.count--; /* <wbr> has no end */
            if (open.count) open.count--;
        } else if (end[-1] != '/') {
            bool inside = open.count && open.at[open.count - 1].free;
            *vec_add(p->arena, &open) = (Open){tag, inside || !strcmp(tag, "title") ||
                                                        may_have_digits(attribute(p, at, end, "class"))};
        }
        char *text = decoded(p->arena, end + 1, (size_t)(next - end - 1));
        char *key = ends ? NULL : attribute(p, at, end, "data-key");
        if (key) {
            read_number(p, key, attribute(p, at, end, "data-value"), text);
            *vec_add(p->arena, keys) = key;
        } else if (strpbrk(text, "0123456789") && !(open.count && open.at[open.count - 1].free)) {
            wrong(p, "a number that says not where it is from: '%s'", text);
        }
        at = next;
    }
}

static json_t *block(Page *p, const char *id) {
    const char *lead = arena_printf(p->arena, "<script type=\"application/json\" id=\"%s\">", id);
    char *at = strstr(p->text, lead), *end = at ? strstr(at, "</script>") : NULL;
    json_t *tree = end ? json_loadb(at + strlen(lead), (size_t)(end - at) - strlen(lead), 0, NULL) : NULL;
    if (!tree) wrong(p, "there is no JSON block '%s'", id);
    return tree;
}

/* "h.*.ln_1" in block 3 is "h.3.ln_1". */
static const char *whole_name(Page *p, const json_t *script, size_t name, int64_t number) {
    const char *general = json_string_value(json_array_get(json_object_get(script, "names"), name));
    if (number < 0) return general;
    const char *whole = json_string_value(json_array_get(json_object_get(script, "blocks"), (size_t)number));
    const char *dot = strrchr(whole, '.'),
               *star = arena_printf(p->arena, "%.*s.*", (int)(dot - whole), whole),
               *at = strstr(general, star);
    if (!at) return "";
    return arena_printf(p->arena, "%.*s%s%s", (int)(at - general), general, whole, at + strlen(star));
}

/* The map has the buffers of the folder, each as it lies there. */
static void check_map(Page *p) {
    json_t *script = block(p, "script"), *list = json_object_get(script, "buffers"), *buffer;
    static const char *const key[] = {"offset", "size", "lower", "upper"};
    size_t i, k = 0;
    json_array_foreach(p->buffers, i, buffer) {
        if (!on_device(buffer)) continue;
        const char *want = json_string_value(json_object_get(buffer, "value")),
                   *name = whole_name(p, script, (size_t)json_integer_value(json_array_get(list, k)),
                                      json_integer_value(json_array_get(list, k + 1)));
        if (strcmp(want, name) != 0)
            wrong(p, "buffer %zu is '%s' on the page, '%s' in the folder", i, name, want);
        for (size_t f = 0; f < COUNT_OF(key); f++)
            if (json_number_value(json_array_get(list, k + 2 + f)) != at_path(buffer, key[f]))
                wrong(p, "'%s': another %s on the page", want, key[f]);
        k += 6;
    }
    if (k != json_array_size(list))
        wrong(p, "the map has %zu buffers, the folder %zu", json_array_size(list) / 6, k / 6);
    json_decref(script);
}

static json_t *log_lines(const char *path) {
    FILE *file = fopen(path, "r");
    json_t *lines = json_array(), *line;
    while (file && (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)))
        json_array_append_new(lines, line);
    if (file) fclose(file);
    return lines;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    Arena *arena = arena_new();
    size_t length;
    Page p = {.arena = arena,
              .text = read_file(arena, argv[1], &length),
              .plan = json_load_file(argv[2], 0, NULL),
              .folder = json_load_file(argv[3], 0, NULL),
              .costs = read_file(arena, argv[4], &length),
              .log = argc > 5 ? log_lines(argv[5]) : NULL,
              .seen = map_new(arena)};
    if (!p.text || !p.plan || !p.folder || !p.costs) return 2;
    json_t *train = json_object_get(p.folder, "train");
    p.buffers = json_object_get(train, "buffers");
    p.steps = json_object_get(train, "steps");
    Keys keys = {0};
    read_body(&p, &keys);
    for (uint32_t i = 0; i < keys.count; i++)
        if (map_get(p.seen, keys.at[i]) == i && isnan(expected(&p, keys.at[i])))
            check_together(&p, keys.at[i], p.value.at[i]);
    double seconds = p.shown_seconds + of_plan(&p, "wait_seconds");
    if (!(fabs(seconds / of_plan(&p, "seconds") - 1) < 1e-9))
        wrong(&p, "operations add up to %g s, a step takes %g s", seconds, of_plan(&p, "seconds"));
    json_t *held = block(&p, "plan");
    if (!json_equal(held, p.plan)) wrong(&p, "the page holds another plan than `plan --json` prints");
    check_map(&p);
    json_t *const read[] = {held, p.plan, p.folder, p.log};
    for (size_t i = 0; i < COUNT_OF(read); i++) json_decref(read[i]);
    printf("%u numbers, %u wrong\n", p.numbers, p.bad);
    bool bad = p.bad > 0 || p.numbers < 60;
    arena_free(arena);
    return bad;
}
