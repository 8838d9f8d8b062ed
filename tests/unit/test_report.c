/* What the report page is made of: markup that no text gets out of, hashes that content policies name, and
 * times that add up to those of the plan. */
#include "codegen/picture/html.h"
#include "codegen/picture/sha256.h"
#include "codegen/picture/timeline.h"
#include "tests/support/transformer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void texts_stay_texts(void **state) {
    (void)state;
    Text out = {.arena = arena_new()};
    html_add(&out, "<b title=\"$\">$</b>@", "a\"b'c", "</b><script>&amp;\n\u202e$@", "<i/>");
    assert_string_equal(
        out.at, "<b title=\"a&quot;b&#39;c\">&lt;/b&gt;&lt;script&gt;&amp;amp;\\x0a\\u{202e}$@</b><i/>");
    assert_string_equal(html_name("h.0<", out.arena), "h.<wbr>0&lt;");
    arena_free(out.arena);
}

static void json_stays_in_its_block(void **state) {
    (void)state;
    Text out = {.arena = arena_new()};
    const char *text = "</script><!--\u2028\u2029&\"\\";
    json_t *tree = json_object();
    json_set(tree, "a", json_text(text));
    html_json(&out, "id", tree);
    const char *from = strchr(out.at, '>') + 1, *to = strstr(from, "</script>");
    assert_true(to && !strcmp(to, "</script>\n"));
    assert_null(memchr(from, '<', (size_t)(to - from)));
    assert_true(!strstr(out.at, "\u2028") && !strstr(out.at, "\u2029"));
    json_t *back = json_loadb(from, (size_t)(to - from), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(back, "a")), text);
    json_decref(back);
    arena_free(out.arena);
}

/* FIPS 180-4's examples, and lengths around where the padding takes a block more. */
static void hashes_are_those_of_the_standard(void **state) {
    (void)state;
    Arena *arena = arena_new();
    assert_string_equal(sha256_source("", 0, arena), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_string_equal(sha256_source("abc", 3, arena),
                        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_string_equal(sha256_source(two, strlen(two), arena),
                        "sha256-JI1qYdIGOLjlwCaTDD5gOaM85Flk/yFn9uzt1BnbBsE=");
    const char *four =
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
        "mnopqrstnopqrstu";
    assert_string_equal(sha256_source(four, strlen(four), arena),
                        "sha256-z1sWp3ivg4ADbOWeewSSNwskmxHo8HpRr6xFA3r+6dE=");
    char many[130];
    memset(many, 'a', sizeof many);
    assert_string_equal(sha256_source(many, 63, arena),
                        "sha256-fT50oF19sVvOStnsBljqmOPwbu7PFrTG//LaRX3cLzQ=");
    assert_string_equal(sha256_source(many, 64, arena),
                        "sha256-/+BU/nrgy23GXDr5th1SCfQ5hR20PQulmXM33xVGaOs=");
    assert_string_equal(sha256_source(many, 65, arena),
                        "sha256-Y1NhxIu56rFBmOduqKt/GkFoXWrWKqkUbTAdTxfrCuA=");
    arena_free(arena);
}

/* Micro-steps and an update take what the plan says, waits for copies included; nothing begins before what is
 * before it. */
static void times_add_up(const Transformer *shape, const char *card, double fraction, int64_t host_bytes) {
    Arena *arena = arena_new();
    const Device *device = device_find(card);
    Graph *g = transformer_graph(shape, arena);
    Cost *cost = cost_graph(g, device, arena);
    PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = POLICY_NONE};
    int64_t all = plan_graph(&request, arena)->keep_all_bytes;
    request.policy = POLICY_OPTIMAL;
    request.ask = ASK_PLAN;
    request.budget = budget_limited((int64_t)((double)all * fraction), host_bytes);
    PlanResult *result = plan_graph(&request, arena);
    assert_true(result->feasible);
    Part part = {.graph = g, .cost = cost, .plan = &result->plan, .layout = result->layout};
    Timeline t = timeline_of(&part, device, arena);
    double seconds = t.micro_seconds * (double)g->accumulate + t.end_seconds - t.micro_seconds;
    assert_true(fabs(seconds / result->plan.seconds - 1) < 1e-9);
    double waits = 0, last[2] = {0};
    for (uint32_t s = 0; s < result->plan.step.count; s++) {
        assert_true(t.begin[s] <= t.begin[s + 1]);
        waits += t.wait[s] * (double)(s < result->plan.update_begin ? g->accumulate : 1);
    }
    assert_true(fabs(waits - result->plan.wait_seconds) <= 1e-9 * result->plan.seconds);
    for (uint32_t i = 0; i < t.copy.count; i++) {
        const TimedCopy *copy = &t.copy.at[i];
        assert_true(copy->begin >= last[copy->out] && copy->end > copy->begin);
        last[copy->out] = copy->end;
    }
    assert_int_equal(t.copy.count > 0, result->plan.host_bytes > 0);
    arena_free(arena);
}

static void times_are_those_of_the_plan(void **state) {
    (void)state;
    times_add_up(&bytes_gpt, "host", 0.4, 0);
    times_add_up(&bytes_gpt, "host", 0.35, INT64_C(1) << 30);
    times_add_up(&gpt2_124m, "rtx4090", 0.6, 0);
    times_add_up(&gpt2_124m, "rtx4090", 0.6, INT64_C(1) << 34);
    times_add_up(&gpt2_xl, "rtx4090", 0.8, INT64_C(1) << 36);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_stay_texts),
        cmocka_unit_test(json_stays_in_its_block),
        cmocka_unit_test(hashes_are_those_of_the_standard),
        cmocka_unit_test(times_are_those_of_the_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
