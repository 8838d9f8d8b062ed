/* Every case of tests/cases/weights/files.txt is accepted or refused as it says there. */
#include "tests/support/runtime_process.h"
#include "runtime/safetensors.h"

#include <stdbool.h>

static const RtTensor tensor[] = {
    {.name = "a", .kind = RT_PARAM, .dtype = K_F32, .rank = 1, .dim = {1}, .offset = 0, .of = 0},
    {.name = "b", .kind = RT_PARAM, .dtype = K_F32, .rank = 2, .dim = {1, 2}, .offset = 256, .of = 1},
};

/* "\xc3" and "\\" in what a line holds; in place. Returns its length. */
static size_t unescape(char *text) {
    char *to = text;
    for (char *at = text; *at; at++) {
        unsigned byte = (unsigned char)*at;
        if (byte == '\\' && at[1] == '\\') {
            at++;
        } else if (byte == '\\') {
            assert_int_equal(sscanf(at, "\\x%2x", &byte), 1);
            at += 3;
        }
        *to++ = (char)byte;
    }
    return (size_t)(to - text);
}

static void write_file(const char *path, const char *header, size_t length, size_t data_bytes) {
    char *whole = rt_allocate(8 + length + data_bytes);
    for (int i = 0; i < 8; i++) whole[i] = (char)(length >> 8 * i);
    memcpy(whole + 8, header, length);
    write_bytes(path, whole, 8 + length + data_bytes);
    free(whole);
}

static bool reads_header(void) {
    StFile file;
    RtError error;
    if (!st_open(&file, "case.safetensors", &error)) {
        assert_true(error.text[0]);
        return false;
    }
    for (int i = 0; i < file.tensors; i++)
        assert_ptr_equal(st_find(&file, file.tensor[i].name), &file.tensor[i]);
    st_close(&file);
    return true;
}

static bool reads_index(void) {
    const RtProgram program = {.model = "tiny", .target = "host", .tensor = tensor, .tensors = 2};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        static char arena[512];
        if (!freopen("stderr", "w", stderr)) _exit(99);
        RtRun run = {.arena = arena};
        rt_weights_load(&run, &program, "folder", 0, rt_allocate(RT_CHUNK_BYTES), 1);
        _exit(0);
    }
    int code = await(child);
    assert_true(code == 0 || code == RT_EXIT_IO);
    return code == 0;
}

static void every_case(void **state) {
    (void)state;
    static const char a[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                      b[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}";
    assert_int_equal(mkdir("folder", 0777), 0);
    write_file("folder/1.safetensors", a, strlen(a), 4);
    write_file("folder/2.safetensors", b, strlen(b), 8);
    char *cases = read_text(WEIGHT_CASES "/files.txt", NULL);
    int count = 0, wrong = 0;
    for (char *next = cases, *line; (line = strsep(&next, "\n"));) {
        char verdict[16], kind[16];
        long long data_bytes;
        int text = 0;
        if (line[0] == '#' || !line[0]) continue;
        assert_int_equal(sscanf(line, "%15s %15s %lld%n", verdict, kind, &data_bytes, &text), 3);
        char *shown = rt_text("%s", line);
        size_t bytes = unescape(line + text + 1);
        bool accepts;
        if (!strcmp(kind, "index")) {
            write_bytes("folder/model.safetensors.index.json", line + text + 1, bytes);
            accepts = reads_index();
        } else if (!strcmp(kind, "file")) {
            write_bytes("case.safetensors", line + text + 1, bytes);
            accepts = reads_header();
        } else {
            write_file("case.safetensors", line + text + 1, bytes, (size_t)data_bytes);
            accepts = reads_header();
        }
        count++;
        if (accepts == !strcmp(verdict, "accept")) {
            free(shown);
            continue;
        }
        wrong++;
        print_error("%s: %.300s\n", accepts ? "accepted" : "refused", shown);
        free(shown);
    }
    free(cases);
    assert_true(count >= 300);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case)};
    return cmocka_run_group_tests_name("weight files", tests, enter_folder, leave_folder);
}
