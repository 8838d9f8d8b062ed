/* JSON is whole, valid and the same, or the program ends with exit code 70: with every n-th allocation of the
 * library failing, with bytes that are no UTF-8, with numbers that JSON lacks. */
#include "codegen/emit.h"
#include "codegen/json_tree.h"
#include "tests/support/transformer.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static long fail_at; /* counts down to the allocation that fails; of the child processes below */

static void *failing_alloc(size_t bytes) {
    return --fail_at == 0 ? NULL : malloc(bytes);
}

/* The exit code of a child that prints the plan while the n-th allocation fails; 0: with the same text. */
static int printed(const EmitRequest *request, long n, const Text *whole) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Text out = {.arena = arena_new()};
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        fail_at = n;
        json_set_alloc_funcs(failing_alloc, free);
        emit_plan_json(request, &out);
        bool same = out.length == whole->length && !memcmp(out.at, whole->at, out.length);
        _exit(!same ? 2 : fail_at > 0 ? 3 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void no_allocation_is_lost(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    Graph *g = transformer_graph(&bytes_gpt, arena);
    Cost *cost = cost_graph(g, device, arena);
    PlanRequest plan = {.graph = g, .cost = cost, .device = device, .policy = POLICY_NONE};
    PlanResult *result = plan_graph(&plan, arena);
    Part part = {.graph = g, .cost = cost, .plan = &result->plan, .layout = result->layout};
    Spec spec = {.model = "bytes_gpt", .path = "a\xff.remat"};
    EmitRequest request = {.spec = &spec, .device = device, .train = part, .evaluate = part, .sample = part};
    Text whole = {.arena = arena};
    emit_plan_json(&request, &whole);
    json_t *read = json_loads(whole.at, 0, NULL);
    assert_non_null(read);
    assert_string_equal(json_string_value(json_object_get(read, "source")), "a\xc3\xbf.remat");
    json_decref(read);
    uint32_t ended = 0;
    int code = 0;
    for (long n = 1; code != 3; n += 1 + n / 12) {
        code = printed(&request, n, &whole);
        assert_true(code == 0 || code == 3 || code == 70);
        ended += code == 70;
    }
    assert_true(ended > 50);
    arena_free(arena);
}

static void what_json_lacks_has_a_form(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Text out = {.arena = arena};
    json_t *root = json_object(), *list = json_array();
    json_set(root, "text", json_text("\"\\\n\x01 \xc0\x80 \xed\xa0\x80 gr\xc3\xbc\xc3\x9f"));
    json_add(list, json_number(NAN));
    json_add(list, json_number(-INFINITY));
    json_add(list, json_number(0.5));
    json_set(root, "numbers", list);
    json_tree_print(root, 0, &out);
    assert_string_equal(out.at, "{\"text\": \"\\\"\\\\\\n\\u0001 \xc3\x80\xc2\x80 \xc3\xad\xc2\xa0\xc2\x80 "
                                "gr\xc3\xbc\xc3\x9f\", \"numbers\": [null, null, 0.5]}\n");
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_is_lost),
        cmocka_unit_test(what_json_lacks_has_a_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
