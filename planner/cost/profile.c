/* See profile.h. In: a text; out: its records, or what is wrong with which line; and the key of a node, by
 * which its record is found. Invariant: what is chosen is of one origin, so that times that are compared with
 * each other were taken in one place. */
#include "planner/cost/profile.h"

#include "ir/ops.h"
#include "planner/cost/operand.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- words of a line ---- */

typedef struct Reader {
    Arena *arena;
    Profile *profile;
    ProfileError *error;
    Map *origin; /* by id */
    uint32_t line;
    const char *at, *end; /* of the line, what is not read yet */
} Reader;

static bool fail(Reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Reader *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    *r->error = (ProfileError){r->line, arena_vprintf(r->arena, format, arguments)};
    va_end(arguments);
    return false;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word, as a copy; "" at the end. */
static const char *next_word(Reader *r) {
    while (r->at < r->end && is_blank(*r->at)) r->at++;
    const char *begin = r->at;
    while (r->at < r->end && !is_blank(*r->at)) r->at++;
    return arena_strndup(r->arena, begin, (size_t)(r->at - begin));
}

/* What follows "NAME=" in the next word; NULL, and said, where it is another. */
static const char *next_value(Reader *r, const char *name) {
    const char *word = next_word(r);
    size_t length = strlen(name);
    if (!strncmp(word, name, length) && word[length] == '=' && word[length + 1]) return word + length + 1;
    fail(r, "%s=... is expected%s%s%s", name, *word ? ", not '" : "", word, *word ? "'" : "");
    return NULL;
}

static bool at_end(Reader *r) {
    const char *word = next_word(r);
    return !*word || fail(r, "'%s' is too much", word);
}

/* ---- records ---- */

static bool read_origin(Reader *r) {
    ProfileOrigin origin = {.id = next_word(r)};
    if (!*origin.id || strchr(origin.id, '=')) return fail(r, "origin: its name is missing");
    const struct {
        const char *name, **value;
    } field[] = {{"device", &origin.device}, {"card", &origin.card},         {"driver", &origin.driver},
                 {"clocks", &origin.clocks}, {"compiler", &origin.compiler}, {"kernels", &origin.kernels}};
    for (size_t i = 0; i < COUNT_OF(field); i++)
        if (!(*field[i].value = next_value(r, field[i].name))) return false;
    if (!at_end(r)) return false;
    uint32_t known = map_get(r->origin, origin.id);
    if (known != NONE) {
        const ProfileOrigin *same = &r->profile->origin.at[known];
        return (!strcmp(same->device, origin.device) && !strcmp(same->card, origin.card) &&
                !strcmp(same->driver, origin.driver) && !strcmp(same->clocks, origin.clocks) &&
                !strcmp(same->compiler, origin.compiler) && !strcmp(same->kernels, origin.kernels)) ||
               fail(r, "origin %s: a second one of that name", origin.id);
    }
    map_set(r->origin, origin.id, r->profile->origin.count);
    *vec_add(r->arena, &r->profile->origin) = origin;
    return true;
}

static const char *skip_digits(const char *at) {
    while (isdigit((unsigned char)*at)) at++;
    return at;
}

static const char *skip_name(const char *at) {
    while (islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_') at++;
    return at;
}

/* "bf16[16384,50257]", "bf16[16384,50257]~824180736", "bf16[768]*24", "f32[]" */
static bool is_tensor(const char *word) {
    int rank = 0;
    const char *at = skip_name(word), *digits;
    if (at == word || *at++ != '[') return false;
    for (; *at != ']'; rank++) {
        if (rank && *at++ != ',') return false;
        if ((digits = skip_digits(at)) == at) return false;
        at = digits;
    }
    if (rank > MAX_RANK) return false;
    at++;
    for (const char *mark = "~*"; *mark; mark++) {
        if (*at != *mark) continue;
        digits = skip_digits(at + 1);
        if (digits == at + 1) return false;
        at = digits;
    }
    return !*at;
}

/* "causal=1", "eps" */
static bool is_attribute(const char *word) {
    const char *at = skip_name(word);
    if (at == word) return false;
    if (!*at) return true;
    if (*at++ != '=') return false;
    if (*at == '-') at++;
    return isdigit((unsigned char)*at) && !*skip_digits(at);
}

/* An operation, up to the colon behind it. */
static const char *read_key(Reader *r) {
    Text key = {.arena = r->arena};
    const char *name = next_word(r), *word;
    uint32_t outs = 0, ins = 0;
    if (!*name || *skip_name(name)) return fail(r, "'%s' is no operation", name), NULL;
    text_add(&key, "%s", name);
    while (is_tensor(word = next_word(r))) text_add(&key, " %s", word), outs++;
    if (!outs || strcmp(word, "<")) return fail(r, "%s: '%s' is no tensor and no '<'", name, word), NULL;
    text_add(&key, " <");
    while (is_tensor(word = next_word(r))) text_add(&key, " %s", word), ins++;
    if (!ins) return fail(r, "%s: it has no operand", name), NULL;
    for (; is_attribute(word); word = next_word(r)) text_add(&key, " %s", word);
    if (strcmp(word, ":")) return fail(r, "%s: '%s' is no attribute and no ':'", name, word), NULL;
    return key.at;
}

static bool read_microseconds(Reader *r, const char *name, double *seconds) {
    const char *value = next_value(r, name);
    char *tail;
    if (!value) return false;
    errno = 0;
    double number = strtod(value, &tail);
    if (*tail || errno || !isdigit((unsigned char)*value) || !isfinite(number) || number <= 0)
        return fail(r, "%s: '%s' is no number above 0", name, value);
    *seconds = number / 1e6;
    return true;
}

static bool read_time(Reader *r, bool within) {
    const char *id = next_word(r);
    ProfileTime time = {.within = within, .origin = map_get(r->origin, id), .line = r->line};
    if (time.origin == NONE) return fail(r, "there is no origin '%s' before it", id);
    if (!(time.key = read_key(r))) return false;
    if (!read_microseconds(r, "p10_us", &time.p10_seconds) ||
        !read_microseconds(r, "median_us", &time.median_seconds) ||
        !read_microseconds(r, "p90_us", &time.p90_seconds))
        return false;
    if (time.p10_seconds > time.median_seconds || time.median_seconds > time.p90_seconds)
        return fail(r, "p10, median and p90 do not ascend");
    const char *count = next_value(r, "count");
    if (!count) return false;
    if (*skip_digits(count) || strlen(count) > 9 || (time.count = atoll(count)) < 1)
        return fail(r, "count: '%s' is no such count", count);
    r->profile->origin.at[time.origin].times++;
    *vec_add(r->arena, &r->profile->time) = time;
    return at_end(r);
}

static bool read_variant(Reader *r) {
    const char *id = next_word(r);
    ProfileVariant variant = {.origin = map_get(r->origin, id), .line = r->line};
    if (variant.origin == NONE) return fail(r, "there is no origin '%s' before it", id);
    if (!(variant.key = read_key(r))) return false;
    variant.name = next_word(r);
    if (!*variant.name) return fail(r, "the variant's name is missing");
    *vec_add(r->arena, &r->profile->variant) = variant;
    return at_end(r);
}

static bool read_product(Reader *r) {
    const char *id = next_word(r);
    ProfileProduct product = {.origin = map_get(r->origin, id)};
    if (product.origin == NONE) return fail(r, "there is no origin '%s' before it", id);
    Text rest = {.arena = r->arena};
    text_add(&rest, " ");
    for (const char *word; *(word = next_word(r));) text_add(&rest, "%s ", word);
    const char *wrong = k_choice_read(rest.at, &product.choice);
    if (wrong) return fail(r, "product: '%s' is missing or wrong", wrong);
    *vec_add(r->arena, &r->profile->product) = product;
    return true;
}

static bool read_line(Reader *r, bool *begun) {
    const char *word = next_word(r);
    if (!*word || *word == '#') return true;
    if (!strcmp(word, "format")) {
        const char *format = next_word(r);
        *begun = true;
        if (strcmp(format, "remat-profile-1"))
            return fail(r, "format: '%s' is not remat-profile-1, which this rematc reads", format);
        return at_end(r);
    }
    if (!*begun) return fail(r, "this is no profile: the first line is `format remat-profile-1`");
    if (!strcmp(word, "origin")) return read_origin(r);
    if (!strcmp(word, "time")) return read_time(r, false);
    if (!strcmp(word, "within")) return read_time(r, true);
    if (!strcmp(word, "product")) return read_product(r);
    if (!strcmp(word, "variant")) return read_variant(r);
    return fail(r, "there is no record '%s'", word);
}

Profile *profile_read(const char *text, size_t length, Arena *arena, ProfileError *error) {
    Reader r = {.arena = arena, .profile = NEW(arena, Profile), .error = error, .origin = map_new(arena)};
    r.profile->chosen = NONE;
    bool begun = false;
    if (memchr(text, 0, length)) return r.line = 1, fail(&r, "this is no text"), NULL;
    for (const char *at = text, *end = text + length; at < end; at = r.end + 1) {
        r.at = at;
        r.end = memchr(at, '\n', (size_t)(end - at));
        if (!r.end) r.end = end;
        r.line++;
        if (!read_line(&r, &begun)) return NULL;
    }
    if (!begun) return r.line = 1, fail(&r, "this is no profile: it is empty"), NULL;
    return r.profile;
}

/* ---- choosing ---- */

static bool fits(const ProfileOrigin *origin, const char *device, const char *kernels) {
    return !strcmp(origin->device, device) && !strcmp(origin->kernels, kernels);
}

static bool is_better(const ProfileTime *a, const ProfileTime *b) {
    if (a->within != b->within) return a->within;
    return a->count != b->count ? a->count > b->count : a->median_seconds < b->median_seconds;
}

/* Each way alone, and both at once under a product. */
static const char *const copy_name[] = {"offload", "fetch", "duplex"};
enum { DUPLEX = 2 };

static bool is_operation(const char *key, Arena *arena) {
    const char *word = arena_strndup(arena, key, strcspn(key, " "));
    for (size_t way = 0; way < COUNT_OF(copy_name); way++)
        if (!strcmp(word, copy_name[way])) return true;
    return op_find(word) != OP_COUNT;
}

/* The variant that a record names, of those that its operation has; K_VARIANT_NONE: none of them. */
static int variant_of(const ProfileVariant *record, Arena *arena) {
    const int variant = k_variant_find(record->name);
    const Graph *g = variant ? profile_graph(record->key, arena) : NULL;
    if (!g) return K_VARIANT_NONE;
    const Node *node = &g->node.at[0];
    const KTensor out = operand_of(&g->value.at[node->out[0]]);
    KTensor *in = NEW_ARRAY(arena, KTensor, node->nin);
    for (uint32_t i = 0; i < node->nin; i++) in[i] = operand_of(&g->value.at[node->in[i]]);
    for (int target = K_HOST; target <= K_CUDA; target++)
        if (k_variant_family_of((KTarget)target, op_info[node->op].name, &out, in) ==
            k_variant_family(variant))
            return variant;
    return K_VARIANT_NONE;
}

static bool choose_variants(Profile *p, Arena *arena, ProfileError *error) {
    p->variant_of = map_new(arena);
    for (uint32_t i = 0; i < p->variant.count; i++) {
        const ProfileVariant *record = &p->variant.at[i];
        if (record->origin != p->chosen || map_get(p->variant_of, record->key) != NONE) continue;
        const int variant = variant_of(record, arena);
        if (!variant) {
            *error = (ProfileError){
                record->line, arena_printf(arena, "'%s' is no variant of '%s'", record->name, record->key)};
            return false;
        }
        map_set(p->variant_of, record->key, (uint32_t)variant);
    }
    return true;
}

bool profile_choose(Profile *p, const char *device, const char *kernels, Arena *arena, ProfileError *error) {
    p->chosen = NONE;
    p->of_key = map_new(arena);
    p->used = p->elsewhere = p->outdated = p->others = 0;
    for (uint32_t o = 0; o < p->origin.count; o++) {
        const ProfileOrigin *origin = &p->origin.at[o];
        if (strcmp(origin->device, device))
            p->elsewhere += origin->times;
        else if (strcmp(origin->kernels, kernels))
            p->outdated += origin->times;
        if (!fits(origin, device, kernels) || !origin->times) continue;
        const ProfileOrigin *best = p->chosen == NONE ? NULL : &p->origin.at[p->chosen];
        if (!best || origin->times > best->times ||
            (origin->times == best->times && strcmp(origin->id, best->id) < 0))
            p->chosen = o;
    }
    for (uint32_t t = 0; t < p->time.count; t++) {
        const ProfileTime *time = &p->time.at[t];
        if (time->origin != p->chosen) {
            p->others += fits(&p->origin.at[time->origin], device, kernels);
            continue;
        }
        if (!is_operation(time->key, arena)) {
            *error = (ProfileError){time->line, arena_printf(arena, "there is no operation '%.*s'",
                                                             (int)strcspn(time->key, " "), time->key)};
            return false;
        }
        uint32_t known = map_get(p->of_key, time->key);
        p->used += known == NONE;
        if (known == NONE || is_better(time, &p->time.at[known])) map_set(p->of_key, time->key, t);
    }
    return choose_variants(p, arena, error);
}

const ProfileTime *profile_find(const Profile *profile, const char *key) {
    uint32_t t = map_get(profile->of_key, key);
    return t == NONE ? NULL : &profile->time.at[t];
}

int profile_variant(const Profile *profile, const char *key) {
    const uint32_t variant = map_get(profile->variant_of, key);
    return variant == NONE ? K_VARIANT_NONE : (int)variant;
}

const KChoice *profile_product(const Profile *profile, const KShape *shape) {
    for (uint32_t i = 0; i < profile->product.count; i++)
        if (profile->product.at[i].origin == profile->chosen &&
            k_product_same(&profile->product.at[i].choice.shape, shape))
            return &profile->product.at[i].choice;
    return NULL;
}

const ProfileOrigin *profile_origin(const Profile *profile) {
    return profile->chosen == NONE ? NULL : &profile->origin.at[profile->chosen];
}

/* Bytes of "offload f32[67108864] < f32[67108864]"; 0: of another form. */
static double copied_bytes(const char *key) {
    static const char type[] = " f32[";
    const char *at = strchr(key, ' ');
    if (!at || strncmp(at, type, strlen(type))) return 0;
    return 4 * strtod(at + strlen(type), NULL);
}

/* Of the largest copy one way, which is least a matter of beginning it; 0: there is none. */
static double copy_rate(const Profile *profile, const char *name) {
    double rate = 0, most = 0;
    const size_t length = strlen(name);
    for (uint32_t t = 0; t < profile->time.count; t++) {
        const ProfileTime *time = &profile->time.at[t];
        if (time->origin != profile->chosen || strncmp(time->key, name, length)) continue;
        double bytes = copied_bytes(time->key + length);
        if (bytes <= most || profile_find(profile, time->key) != time) continue;
        most = bytes;
        rate = bytes / time->median_seconds;
    }
    return rate;
}

double profile_copy_rate(const Profile *profile) {
    const double beside = copy_rate(profile, copy_name[DUPLEX]);
    if (beside > 0) return beside;
    double slower = 0;
    for (size_t way = 0; way < DUPLEX; way++) {
        const double rate = copy_rate(profile, copy_name[way]);
        if (rate > 0 && (slower == 0 || rate < slower)) slower = rate;
    }
    return slower;
}

/* ---- the key of a node ---- */

/* By hand: a plan asks for the keys of every graph that it considers. */
static void add_number(Text *out, int64_t number) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) digits[--at] = '-';
    text_add_n(out, digits + at, sizeof digits - at);
}

static void add_word(Text *out, const char *word) {
    text_add_n(out, word, strlen(word));
}

static void add_tensor(Text *out, const Value *value) {
    add_word(out, " ");
    add_word(out, dtype_name[value->type.dtype]);
    for (int i = 0; i < value->type.rank; i++) {
        add_word(out, i ? "," : "[");
        add_number(out, value->type.dim[i]);
    }
    add_word(out, value->type.rank ? "]" : "[]");
    if (!value->room) return;
    add_word(out, "~");
    add_number(out, value->room);
}

/* Which rows, or which random numbers, changes nothing of how long it takes. */
static bool is_place(const char *attribute) {
    static const char *const place[] = {"rng", "element", "begin"};
    for (size_t i = 0; i < COUNT_OF(place); i++)
        if (!strcmp(attribute, place[i])) return true;
    return false;
}

static bool is_shaped_as(const Value *a, const Value *b) {
    return type_equal(&a->type, &b->type) && a->room == b->room;
}

/* " bf16[768,3072] f32[768,3072] f32[768,3072] < bf16[768,3072]*12 bf16[768]*24": of several tensors, what is
 * written of the first, then how many there are of each. */
static void add_alike(const Graph *g, const Node *node, uint32_t tensors, Text *out) {
    const uint32_t each = node->nout > tensors ? node->nout / tensors : node->nout;
    for (uint32_t i = 0; i < each; i++) add_tensor(out, &g->value.at[node->out[i]]);
    add_word(out, " <");
    for (uint32_t i = 0; i < tensors; i++) {
        const Value *value = &g->value.at[node->in[i]];
        uint32_t before = 0, count = 0;
        for (uint32_t k = 0; k < tensors; k++) {
            const bool same = is_shaped_as(&g->value.at[node->in[k]], value);
            before += same && k < i;
            count += same;
        }
        if (before) continue;
        add_tensor(out, value);
        add_word(out, "*");
        add_number(out, count);
    }
}

void profile_key(const Graph *g, const Node *node, Text *out) {
    const Attr *attr = &node->attr;
    const uint32_t tensors = op_tensors(node);
    add_word(out, op_info[node->op].name);
    if (tensors > 1) {
        add_alike(g, node, tensors, out);
    } else {
        for (uint32_t i = 0; i < node->nout; i++) add_tensor(out, &g->value.at[node->out[i]]);
        add_word(out, " <");
        for (uint32_t i = 0; i < node->nin; i++) add_tensor(out, &g->value.at[node->in[i]]);
    }
#define ATTR_F(name)                                                                                         \
    if (attr->name != 0) add_word(out, " " #name);
#define ATTR_I(name)                                                                                         \
    if (attr->name != 0 && !is_place(#name)) add_word(out, " " #name "="), add_number(out, attr->name);
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
}

/* ---- the node of a key ---- */

/* "bf16[16384,50257]~824180736" */
static bool parse_tensor(const char *word, Type *type, int64_t *room) {
    const char *at = skip_name(word);
    DType dtype = 0;
    while (dtype < DT_COUNT && (strlen(dtype_name[dtype]) != (size_t)(at - word) ||
                                strncmp(dtype_name[dtype], word, (size_t)(at - word))))
        dtype++;
    if (dtype == DT_COUNT || strchr(word, '*')) return false;
    *type = (Type){.dtype = dtype};
    for (at++; *at != ']'; at += *at == ',') {
        char *end;
        type->dim[type->rank++] = strtoll(at, &end, 10);
        at = end;
    }
    *room = at[1] == '~' ? strtoll(at + 2, NULL, 10) : 0;
    return true;
}

static void parse_attribute(const char *word, Attr *attr) {
    const size_t length = strcspn(word, "=");
#define ATTR_F(name)                                                                                         \
    if (strlen(#name) == length && !strncmp(word, #name, length)) attr->name = 0.5;
#define ATTR_I(name)                                                                                         \
    if (strlen(#name) == length && !strncmp(word, #name, length) && word[length])                            \
        attr->name = strtoll(word + length + 1, NULL, 10);
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
}

Graph *profile_graph(const char *key, Arena *arena) {
    enum { MOST = 64 };
    Type type[2][MOST] = {{{0}}};
    int64_t room[2][MOST];
    uint32_t count[2] = {0, 0};
    int side = 0;
    Node node = {.block = NONE, .name = ""};
    for (const char *at = key, *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, " ");
        const char *word = arena_strndup(arena, at, (size_t)(end - at));
        if (at == key)
            node.op = op_find(word);
        else if (!strcmp(word, "<"))
            side = 1;
        else if (!strchr(word, '['))
            parse_attribute(word, &node.attr);
        else if (count[side] == MOST ||
                 !parse_tensor(word, &type[side][count[side]], &room[side][count[side]]))
            return NULL;
        else
            count[side]++;
    }
    if (node.op == OP_COUNT || !op_takes(node.op, count[1], count[0])) return NULL;
    Graph *g = graph_new(arena);
    node.nout = count[0], node.nin = count[1];
    node.out = NEW_ARRAY(arena, ValueId, node.nout + 1), node.in = NEW_ARRAY(arena, ValueId, node.nin + 1);
    for (int s = 0; s < 2; s++)
        for (uint32_t i = 0; i < count[s]; i++) {
            if (type_wrong(&type[s][i], "", arena)) return NULL;
            (s ? node.in : node.out)[i] =
                graph_value(g, type[s][i], VALUE_ACTIVATION, ROLE_ACTIVATION, "", (Span){0, 0});
            g->value.at[g->value.count - 1].room = room[s][i];
        }
    if (op_infer(node.op, type[1], count[1], &node.attr, type[0], count[0], arena)) return NULL;
    for (uint32_t i = 0; i < count[0]; i++)
        if (!type_equal(&type[0][i], &g->value.at[node.out[i]].type)) return NULL;
    *vec_add(arena, &g->node) = node;
    return g;
}
