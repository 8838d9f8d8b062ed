/* Rotary positions: `rope_parameters` as version 5 of transformers writes it, `rope_theta` and `rope_scaling`
 * as those before did, the type called `rope_type` or `type`. */
#include "frontend/import/rope.h"

#include "frontend/language/diag.h"

#include <string.h>

#define MOST_THETA 1e12 /* the language's */

/* Types with what each needs of the language; NULL: it is there. */
typedef struct RopeType {
    const char *name;
    RopeScaling scaling;
    const char *missing;
} RopeType;
static const RopeType rope_type[] = {
    {"default", ROPE_PLAIN, NULL},
    {"linear", ROPE_LINEAR, NULL},
    {"llama3", ROPE_LLAMA3, NULL},
    {"dynamic", ROPE_PLAIN, "a base that depends on the length"},
    {"yarn", ROPE_PLAIN, "yarn's ramp and scale of attention"},
    {"longrope", ROPE_PLAIN, "a factor for each pair"},
    {"su", ROPE_PLAIN, "a factor for each pair"},
    {"mrope", ROPE_PLAIN, "several positions of a token"},
    {"proportional", ROPE_PLAIN, "rotation of a part of each head"},
};

static bool type_read(Config *c, const RopeType **out) {
    const char *name = NULL, *legacy = NULL;
    if (!config_word(c, "rope_type", &name) || !config_word(c, "type", &legacy)) return false;
    const char *key = name ? "rope_type" : "type";
    if (!name) name = legacy ? legacy : "default";
    const char *names[COUNT_OF(rope_type)];
    for (size_t i = 0; i < COUNT_OF(rope_type); i++) {
        names[i] = rope_type[i].name;
        if (strcmp(name, names[i])) continue;
        *out = &rope_type[i];
        if (!rope_type[i].missing) return true;
        config_wrong(c, key, "rope of the type '%s' is not there yet: it needs %s", name,
                     rope_type[i].missing);
        config_help(c, "default, linear and llama3 are there");
        return false;
    }
    config_wrong(c, key, "rope of an unknown type, '%s'", name);
    const char *near = diag_nearest(name, names, COUNT_OF(names));
    config_help(c, near ? "did you mean '%s'?" : "%s, linear and llama3 are there", near ? near : names[0]);
    return false;
}

static bool scaling_read(Config *c, int64_t positions, Rope *out) {
    const RopeType *type = NULL;
    double part = 1;
    if (!type_read(c, &type)) return false;
    if (!config_number(c, "partial_rotary_factor", 0, 1, &part)) return false;
    if (part != 1)
        return config_wrong(c, "partial_rotary_factor",
                            "%s = %g: rotation of a part of each head is not "
                            "there yet",
                            config_path(c, "partial_rotary_factor"), part);
    out->scaling = type->scaling;
    if (type->scaling == ROPE_PLAIN) return true;
    if (!config_needs_number(c, "factor", 1, 1e6, &out->factor)) return false;
    if (type->scaling == ROPE_LINEAR) return true;
    out->original = positions;
    if (!config_needs_number(c, "low_freq_factor", 1e-6, 1e6, &out->low) ||
        !config_needs_number(c, "high_freq_factor", 1e-6, 1e6, &out->high) ||
        !config_count(c, "original_max_position_embeddings", 1, INT32_MAX, &out->original))
        return false;
    if (out->high > out->low) return true;
    return config_wrong(c, "high_freq_factor", "%s = %g is not above low_freq_factor = %g",
                        config_path(c, "high_freq_factor"), out->high, out->low);
}

/* Keys of the object that do nothing for its type: transformers says so too, and goes on. */
static void warn_unused(Config *c) {
    const char *key;
    json_t *value;
    json_object_foreach(c->object, key, value) {
        if (map_get(c->asked, key) == NONE && !json_is_null(value))
            config_warn(c, "'%s' has no meaning for this type of rope, and is left out", config_path(c, key));
    }
}

bool rope_read(Config *c, int64_t positions, Rope *out) {
    json_t *legacy = config_value(c, "rope_scaling"), *now = config_value(c, "rope_parameters");
    const char *key = now ? "rope_parameters" : "rope_scaling";
    *out = (Rope){.theta = 1e4, .factor = 1};
    if (!config_number(c, "rope_theta", 1, MOST_THETA, &out->theta)) return false;
    bool outer_theta = config_value(c, "rope_theta");
    if (legacy && now && !json_equal(legacy, now))
        return config_wrong(c, "rope_scaling", "rope_scaling and rope_parameters are both there and differ");
    if (!now) now = legacy;
    if (!now) return true;
    if (!json_is_object(now))
        return config_wrong(c, key, "%s: an object is wanted, not %s", key, config_shown(c, now));
    Config inner = config_inner(c, key, now);
    const char *name;
    json_t *value;
    json_object_foreach(now, name, value) {
        if (json_is_object(value))
            return config_wrong(&inner, name, "%s: layers that are rotated differently are not there yet",
                                config_path(&inner, name));
    }
    double theta = out->theta;
    if (!config_number(&inner, "rope_theta", 1, MOST_THETA, &theta)) return false;
    if (outer_theta && theta != out->theta)
        return config_wrong(&inner, "rope_theta", "%s = %g, but rope_theta = %g",
                            config_path(&inner, "rope_theta"), theta, out->theta);
    out->theta = theta;
    if (!scaling_read(&inner, positions, out)) return false;
    warn_unused(&inner);
    return true;
}
