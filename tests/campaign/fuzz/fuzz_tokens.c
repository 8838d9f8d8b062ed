/* Token data of every format. The first six bytes choose format, name, batch, context, vocabulary and split;
 * the rest is the file. Every token handed out is below the vocabulary. */
#include "exits.h"
#include "folder.h"
#include "runtime/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { CHOICES = 6, MOST_CONTEXT = 64 };

static const uint8_t *choice;
static const char *path;
static int32_t tokens[MOST_CONTEXT], targets[MOST_CONTEXT];

static void check_window(RtData *data, int64_t window) {
    rt_data_window(data, window, tokens, targets);
    for (int64_t i = 0; i < data->context; i++) {
        MUST(tokens[i] >= 0 && tokens[i] < data->vocab && targets[i] >= 0 && targets[i] < data->vocab);
        MUST(i == 0 || tokens[i] == targets[i - 1]);
    }
}

static void check_split(RtData *data) {
    for (int64_t position = 0; position < 8; position++) {
        int64_t window = rt_data_shuffle(choice[5], position, data->count);
        MUST(window >= 0 && window < data->count);
        check_window(data, window);
    }
    check_window(data, 0);
    check_window(data, data->count - 1);
}

static void read_all(void *unused) {
    (void)unused;
    static const int64_t vocabularies[] = {1, 50, 256, 257, 50257, 65536, 65537, 128256};
    int64_t vocabulary = vocabularies[choice[4] % 8], batch = 1 + choice[2] % 8;
    RtData train, validate;
    rt_data_open(&train, path, choice[0] % (RT_LLMC + 1), batch, 1 + choice[3] % MOST_CONTEXT, vocabulary);
    if (choice[5] & 1) {
        rt_data_split(&train, &validate, (choice[5] >> 1) / 128.0, batch);
        check_split(&validate);
    }
    check_split(&train);
    rt_data_close(&train);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static const char *const names[] = {"tokens.txt", "tokens.bin", "tokens.u16", "tokens.u32"};
    if (count < CHOICES) return 0;
    choice = bytes;
    const char *name = names[bytes[1] % 4];
    folder_put(name, bytes + CHOICES, count - CHOICES);
    char whole[512];
    strcpy(whole, folder_file(name));
    path = whole;
    int code = run_to_exit(read_all, NULL);
    MUST(code == -1 || code == RT_EXIT_IO);
    folder_clear(NULL);
    return 0;
}
