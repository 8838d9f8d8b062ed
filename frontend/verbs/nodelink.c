/* See nodelink.h. In: JSON text; out: arrays, or one message. Invariant: what comes out is acyclic, every
 * cost is below 1e100 and not negative, and bytes sum to less than 2^50. */
#include "frontend/verbs/nodelink.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES   ((int64_t)1 << 50) /* the sums of a search stay within 63 bits */
#define MOST_SECONDS 1e100              /* times all bytes and nodes a finite number */

typedef struct Reader {
    Arena *arena;
    json_t *root;
    uint32_t nodes;
    json_t **node;     /* as in the file */
    const char **name; /* as JSON */
    Map *by_name;
    double *seconds;
    int64_t *bytes, persistent_bytes, all_bytes;
    DagLink *link; /* of nodes as in the file */
    uint32_t links;
    uint32_t *order;
    const char *wrong;
} Reader;

#define WRONG(r, ...) ((r)->wrong = arena_printf((r)->arena, __VA_ARGS__), false)

/* A node's name as JSON text; NULL if it is neither a whole number nor a string. */
static const char *name_of(Reader *r, const json_t *id) {
    if (json_is_integer(id)) return arena_printf(r->arena, "%lld", (long long)json_integer_value(id));
    if (!json_is_string(id)) return NULL;
    char *quoted = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
    const char *name = arena_strdup(r->arena, quoted ? quoted : "");
    free(quoted);
    return name;
}

/* The first of the fields that the node has. */
static const json_t *field(const json_t *node, const char *const *names, const char **found) {
    for (; *names; names++) {
        const json_t *value = json_object_get(node, *names);
        if (value) {
            *found = *names;
            return value;
        }
    }
    return NULL;
}

static bool read_bytes(Reader *r, uint32_t i, const char *name, const json_t *value, int64_t *bytes) {
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= 0 && number < (double)MOST_BYTES) || number != floor(number))
        return WRONG(r, "node %s: %s is a number of bytes: whole, not negative and below 2^50", r->name[i],
                     name);
    *bytes = json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
    r->all_bytes += *bytes;
    if (r->all_bytes >= MOST_BYTES) return WRONG(r, "the nodes' bytes add up to more than 2^50");
    return true;
}

static bool read_node(Reader *r, uint32_t i) {
    static const char *const time_fields[] = {"cost_cpu", "duration", NULL}, *const bytes_fields[] = {
                                                                                 "cost_ram", "out_cost",
                                                                                 NULL};
    const json_t *node = r->node[i], *id = json_object_get(node, "id");
    if (!json_is_object(node)) return WRONG(r, "node %u of the list is not an object", i);
    if (!id) id = json_object_get(node, "name");
    if (!id) return WRONG(r, "node %u of the list has neither `id` nor `name`", i);
    r->name[i] = name_of(r, id);
    if (!r->name[i]) return WRONG(r, "node %u of the list: a name is a whole number or a string", i);
    if (map_get(r->by_name, r->name[i]) != NONE) return WRONG(r, "there are two nodes %s", r->name[i]);
    map_set(r->by_name, r->name[i], i);

    const char *name = NULL;
    const json_t *value = field(node, time_fields, &name);
    if (!value) return WRONG(r, "node %s has no time: neither `cost_cpu` nor `duration`", r->name[i]);
    r->seconds[i] = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(r->seconds[i] >= 0 && r->seconds[i] < MOST_SECONDS))
        return WRONG(r, "node %s: %s is a number, not negative and below 1e100", r->name[i], name);
    value = field(node, bytes_fields, &name);
    if (!value) return WRONG(r, "node %s has no bytes: neither `cost_ram` nor `out_cost`", r->name[i]);
    if (!read_bytes(r, i, name, value, &r->bytes[i])) return false;
    int64_t persistent = 0;
    value = json_object_get(node, "param_cost");
    if (value && !read_bytes(r, i, "param_cost", value, &persistent)) return false;
    r->persistent_bytes += persistent;
    return true;
}

static bool read_nodes(Reader *r) {
    const json_t *nodes = json_object_get(r->root, "nodes");
    if (!json_is_array(nodes)) return WRONG(r, "there is no list `nodes`: this is not node-link JSON");
    size_t count = json_array_size(nodes);
    if (count == 0) return WRONG(r, "there are no nodes");
    if (count > DAG_MOST_NODES) return WRONG(r, "%zu nodes; at most %d are planned", count, DAG_MOST_NODES);
    r->nodes = (uint32_t)count;
    r->node = NEW_ARRAY(r->arena, json_t *, count);
    r->name = NEW_ARRAY(r->arena, const char *, count);
    r->seconds = NEW_ARRAY(r->arena, double, count);
    r->bytes = NEW_ARRAY(r->arena, int64_t, count);
    r->by_name = map_new(r->arena);
    for (uint32_t i = 0; i < count; i++) {
        r->node[i] = json_array_get(nodes, i);
        if (!read_node(r, i)) return false;
    }
    return true;
}

static bool find_end(Reader *r, uint32_t i, const json_t *link, const char *key, const char *other,
                     uint32_t *node) {
    const json_t *id = json_object_get(link, key);
    if (!id) id = json_object_get(link, other);
    if (!id) return WRONG(r, "link %u has no `%s`", i, key);
    const char *name = name_of(r, id);
    *node = name ? map_get(r->by_name, name) : NONE;
    if (*node == NONE) return WRONG(r, "link %u: there is no node %s", i, name ? name : "of that kind");
    return true;
}

static bool read_links(Reader *r) {
    const json_t *links = json_object_get(r->root, "links");
    if (!links) links = json_object_get(r->root, "edges");
    if (!json_is_array(links)) return WRONG(r, "there is no list `links`: this is not node-link JSON");
    r->links = (uint32_t)json_array_size(links);
    r->link = NEW_ARRAY(r->arena, DagLink, r->links + 1);
    for (uint32_t i = 0; i < r->links; i++) {
        const json_t *link = json_array_get(links, i);
        if (!json_is_object(link)) return WRONG(r, "link %u is not an object", i);
        if (!find_end(r, i, link, "source", "0", &r->link[i].from)) return false;
        if (!find_end(r, i, link, "target", "1", &r->link[i].to)) return false;
        if (r->link[i].from == r->link[i].to)
            return WRONG(r, "link %u leads from node %s to itself", i, r->name[r->link[i].from]);
    }
    return true;
}

/* ---- the order of first executions ---- */

static bool read_order(Reader *r, const json_t *order) {
    if (!json_is_array(order) || json_array_size(order) != r->nodes)
        return WRONG(r, "graph.order is a list of all %u nodes", r->nodes);
    uint32_t *place = NEW_ARRAY(r->arena, uint32_t, r->nodes);
    for (uint32_t i = 0; i < r->nodes; i++) place[i] = NONE;
    for (uint32_t i = 0; i < r->nodes; i++) {
        const char *name = name_of(r, json_array_get(order, i));
        uint32_t node = name ? map_get(r->by_name, name) : NONE;
        if (node == NONE) return WRONG(r, "graph.order: there is no node %s", name ? name : "of that kind");
        if (place[node] != NONE) return WRONG(r, "graph.order names node %s twice", name);
        place[node] = i;
        r->order[i] = node;
    }
    for (uint32_t i = 0; i < r->links; i++)
        if (place[r->link[i].from] > place[r->link[i].to])
            return WRONG(r, "graph.order runs node %s before node %s, which it reads", r->name[r->link[i].to],
                         r->name[r->link[i].from]);
    return true;
}

/* Nodes that were not ordered lie on cycles or behind them: following links backwards finds one. */
static bool name_cycle(Reader *r, const uint32_t *waits) {
    uint32_t *behind = NEW_ARRAY(r->arena, uint32_t, r->nodes),
             *seen = NEW_ARRAY(r->arena, uint32_t, r->nodes);
    uint32_t at = NONE;
    for (uint32_t i = 0; i < r->links; i++) {
        if (!waits[r->link[i].from] || !waits[r->link[i].to]) continue;
        at = r->link[i].to;
        behind[at] = r->link[i].from;
    }
    while (!seen[at]) seen[at] = 1, at = behind[at];
    uint32_t begin = at, steps = 0;
    const char *path = r->name[begin];
    do {
        at = behind[at];
        path = ++steps < 12 || at == begin ? arena_printf(r->arena, "%s -> %s", r->name[at], path)
               : steps == 12               ? arena_printf(r->arena, "... -> %s", path)
                                           : path;
    } while (at != begin);
    return WRONG(r, "the links form a cycle: %s", path);
}

typedef struct Rank {
    json_int_t id;
    uint32_t node;
} Rank;

static int by_id(const void *a, const void *b) {
    const Rank *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : x->node < y->node ? -1 : x->node > y->node;
}

/* The topological order that is least in ids, or in places where some id is a string. */
static bool make_order(Reader *r) {
    uint32_t n = r->nodes;
    Rank *rank = NEW_ARRAY(r->arena, Rank, n);
    bool numbers = true;
    for (uint32_t i = 0; i < n; i++) numbers = numbers && r->name[i][0] != '"';
    for (uint32_t i = 0; i < n; i++) rank[i] = (Rank){numbers ? strtoll(r->name[i], NULL, 10) : 0, i};
    qsort(rank, n, sizeof *rank, by_id);

    uint32_t *waits = NEW_ARRAY(r->arena, uint32_t, n), *first = NEW_ARRAY(r->arena, uint32_t, n + 2);
    uint32_t *reader = NEW_ARRAY(r->arena, uint32_t, r->links + 1);
    bool *done = NEW_ARRAY(r->arena, bool, n);
    for (uint32_t i = 0; i < r->links; i++) waits[r->link[i].to]++, first[r->link[i].from + 2]++;
    for (uint32_t i = 0; i < n; i++) first[i + 2] += first[i + 1];
    for (uint32_t i = 0; i < r->links; i++) reader[first[r->link[i].from + 1]++] = r->link[i].to;
    uint32_t scan = 0;
    for (uint32_t count = 0; count < n; count++) {
        while (scan < n && done[rank[scan].node]) scan++;
        uint32_t at = scan;
        while (at < n && (done[rank[at].node] || waits[rank[at].node])) at++;
        if (at == n) return name_cycle(r, waits);
        uint32_t node = r->order[count] = rank[at].node;
        done[node] = true;
        for (uint32_t k = first[node]; k < first[node + 1]; k++) waits[reader[k]]--;
    }
    return true;
}

static bool read_graph(Reader *r) {
    if (!json_is_object(r->root))
        return WRONG(r, "the top level is not an object: this is not node-link JSON");
    if (json_is_false(json_object_get(r->root, "directed"))) return WRONG(r, "the graph is not directed");
    if (!read_nodes(r) || !read_links(r)) return false;
    r->order = NEW_ARRAY(r->arena, uint32_t, r->nodes);
    const json_t *order = json_object_get(json_object_get(r->root, "graph"), "order");
    return order ? read_order(r, order) : make_order(r);
}

const char *nodelink_read(const char *text, size_t length, NodeLink *graph, int *line, int *column,
                          Arena *arena) {
    Reader r = {.arena = arena};
    json_error_t error;
    *line = *column = 0;
    if (memchr(text, 0, length))
        return "not JSON: a NUL byte"; /* which jansson passes over behind a number */
    r.root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!r.root) {
        *line = error.line;
        *column = error.column;
        return arena_printf(arena, "not JSON: %s", error.text);
    }
    bool fine = read_graph(&r);
    json_decref(r.root);
    if (!fine) return r.wrong;
    *graph = (NodeLink){.nodes = r.nodes, .links = r.links, .link = r.link};
    graph->persistent_bytes = r.persistent_bytes;
    graph->name = NEW_ARRAY(arena, const char *, r.nodes);
    graph->seconds = NEW_ARRAY(arena, double, r.nodes);
    graph->bytes = NEW_ARRAY(arena, int64_t, r.nodes);
    uint32_t *place = NEW_ARRAY(arena, uint32_t, r.nodes);
    for (uint32_t i = 0; i < r.nodes; i++) {
        place[r.order[i]] = i;
        graph->name[i] = r.name[r.order[i]];
        graph->seconds[i] = r.seconds[r.order[i]];
        graph->bytes[i] = r.bytes[r.order[i]];
    }
    for (uint32_t i = 0; i < r.links; i++)
        graph->link[i] = (DagLink){place[r.link[i].from], place[r.link[i].to]};
    return NULL;
}
