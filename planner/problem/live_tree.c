/* A segment tree over runs. In: live bytes by run; out: the highest of any range as ranges change. Tree node
 * 1 is the root, 2i and 2i + 1 the halves of node i, and run r is node leaves + r + 1: the first and the last
 * leaf are fences, so that a range is what lies between two leaves and both walks go up from there, never
 * down. Invariant: highest[i] is added[i] plus the higher of its halves. */
#include "planner/problem/live_tree.h"

static int64_t higher_half(const LiveTree *t, uint32_t node) {
    int64_t left = t->highest[2 * node], right = t->highest[2 * node + 1];
    return left > right ? left : right;
}

void live_tree_load(LiveTree *tree, const int64_t *live, uint32_t count) {
    uint32_t leaves = 2;
    while (leaves < count + 2) leaves *= 2;
    if (leaves > tree->capacity) {
        tree->capacity = leaves;
        tree->highest = NEW_ARRAY(tree->arena, int64_t, (size_t)leaves * 2);
        tree->added = NEW_ARRAY(tree->arena, int64_t, (size_t)leaves * 2);
    }
    tree->leaves = leaves;
    for (uint32_t i = 0; i < leaves; i++)
        tree->highest[leaves + i] = i >= 1 && i <= count ? live[i - 1] : INT64_MIN / 4;
    for (uint32_t i = leaves; i-- > 1;) {
        tree->highest[i] = higher_half(tree, i);
        tree->added[i] = 0;
    }
}

static void raise(LiveTree *t, uint32_t node, int64_t bytes) {
    t->highest[node] += bytes;
    if (node < t->leaves) t->added[node] += bytes;
}

void live_tree_add(LiveTree *t, uint32_t lo, uint32_t hi, int64_t bytes) {
    if (lo >= hi) return;
    uint32_t left = t->leaves + lo, right = t->leaves + hi + 1;
    while ((left ^ right) != 1) {
        if (!(left & 1)) raise(t, left + 1, bytes);
        if (right & 1) raise(t, right - 1, bytes);
        left /= 2, right /= 2;
        t->highest[left] = t->added[left] + higher_half(t, left);
        t->highest[right] = t->added[right] + higher_half(t, right);
    }
    while (left /= 2) t->highest[left] = t->added[left] + higher_half(t, left);
}

int64_t live_tree_highest(const LiveTree *t, uint32_t lo, uint32_t hi) {
    if (lo >= hi) return INT64_MIN;
    uint32_t left = t->leaves + lo, right = t->leaves + hi + 1;
    int64_t below_left = INT64_MIN / 2, below_right = INT64_MIN / 2;
    while ((left ^ right) != 1) {
        if (!(left & 1) && t->highest[left + 1] > below_left) below_left = t->highest[left + 1];
        if ((right & 1) && t->highest[right - 1] > below_right) below_right = t->highest[right - 1];
        left /= 2, right /= 2;
        below_left += t->added[left];
        below_right += t->added[right];
    }
    int64_t highest = below_left > below_right ? below_left : below_right;
    while (left /= 2) highest += t->added[left];
    return highest;
}

uint32_t live_tree_peak(const LiveTree *t, int64_t *bytes) {
    *bytes = t->highest[1];
    uint32_t node = 1;
    while (node < t->leaves) {
        node *= 2;
        if (t->highest[node] < t->highest[node + 1]) node++;
    }
    return node - t->leaves - 1;
}
