/* A segment tree over runs. In: live bytes by run; out: the highest of any range as ranges change. Tree node
 * 1 is the root, 2i and 2i + 1 the halves of node i, and leaf r is node leaves + r. Invariant: highest[i] is
 * added[i] plus the higher of its halves. */
#include "profile.h"

void profile_load(Profile *profile, const int64_t *live, uint32_t count) {
    uint32_t leaves = 1;
    while (leaves < count) leaves *= 2;
    if (leaves > profile->capacity) {
        profile->capacity = leaves;
        profile->highest = NEW_ARRAY(profile->arena, int64_t, (size_t)leaves * 2);
        profile->added = NEW_ARRAY(profile->arena, int64_t, (size_t)leaves * 2);
    }
    profile->leaves = leaves;
    for (uint32_t i = 0; i < leaves; i++) profile->highest[leaves + i] = i < count ? live[i] : INT64_MIN / 4;
    for (uint32_t i = leaves; i-- > 1;) {
        int64_t left = profile->highest[2 * i], right = profile->highest[2 * i + 1];
        profile->highest[i] = left > right ? left : right;
        profile->added[i] = 0;
    }
}

static void add(Profile *t, uint32_t node, uint32_t beg, uint32_t end, uint32_t lo, uint32_t hi,
                int64_t bytes) {
    if (hi <= beg || end <= lo) return;
    if (lo <= beg && end <= hi) {
        t->highest[node] += bytes;
        if (node < t->leaves) t->added[node] += bytes;
        return;
    }
    uint32_t middle = beg + (end - beg) / 2;
    add(t, 2 * node, beg, middle, lo, hi, bytes);
    add(t, 2 * node + 1, middle, end, lo, hi, bytes);
    int64_t left = t->highest[2 * node], right = t->highest[2 * node + 1];
    t->highest[node] = t->added[node] + (left > right ? left : right);
}

static int64_t highest(const Profile *t, uint32_t node, uint32_t beg, uint32_t end, uint32_t lo,
                       uint32_t hi) {
    if (hi <= beg || end <= lo) return INT64_MIN;
    if (lo <= beg && end <= hi) return t->highest[node];
    uint32_t middle = beg + (end - beg) / 2;
    int64_t left = highest(t, 2 * node, beg, middle, lo, hi),
            right = highest(t, 2 * node + 1, middle, end, lo, hi);
    int64_t higher = left > right ? left : right;
    return higher == INT64_MIN ? higher : higher + t->added[node];
}

void profile_add(Profile *profile, uint32_t lo, uint32_t hi, int64_t bytes) {
    if (lo < hi) add(profile, 1, 0, profile->leaves, lo, hi, bytes);
}

int64_t profile_highest(const Profile *profile, uint32_t lo, uint32_t hi) {
    return lo < hi ? highest(profile, 1, 0, profile->leaves, lo, hi) : INT64_MIN;
}

uint32_t profile_peak(const Profile *profile, int64_t *bytes) {
    *bytes = profile->highest[1];
    uint32_t node = 1;
    while (node < profile->leaves) {
        node *= 2;
        if (profile->highest[node] < profile->highest[node + 1]) node++;
    }
    return node - profile->leaves;
}
