/* Token data of every format. The first six bytes choose format, name, batch, context, vocabulary and split;
 * the rest is the file. Every token handed out is below the vocabulary. Of documents, which a checksum
 * guards, every other input is made whole first, as far as its size allows; rows then hold what their shape
 * promises. */
#include "exits.h"
#include "folder.h"
#include "runtime/internal.h"
#include "tests/support/documents.h"

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

static float mask[MOST_CONTEXT];
static int32_t first_key[MOST_CONTEXT], last_query[MOST_CONTEXT], positions[MOST_CONTEXT];

/* A row is stretches, each of a document or of padding, that see themselves alone. */
static void check_row(const RtData *data, int64_t targets_wanted) {
    for (int64_t i = 0; i < data->context; i++) {
        MUST(tokens[i] >= 0 && tokens[i] < data->vocab && targets[i] >= 0 && targets[i] < data->vocab);
        MUST(first_key[i] >= 0 && first_key[i] <= i && last_query[i] >= i && last_query[i] < data->context);
        MUST(positions[i] == i - first_key[i] && (mask[i] == 0 || mask[i] == 1));
        MUST(first_key[last_query[i]] == first_key[i] && last_query[first_key[i]] == last_query[i]);
        MUST(i == last_query[i] || targets[i] == tokens[i + 1]);
        targets_wanted -= mask[i] != 0;
    }
    MUST(targets_wanted == 0);
}

static void check_documents(RtData *data) {
    const RtRows row = {tokens, targets, mask, first_key, last_query, positions};
    for (int64_t position = 0; position < 8; position++) {
        int64_t wanted = rt_documents_targets(data, choice[5], position);
        rt_documents_row(data, choice[5], position, &row);
        check_row(data, wanted);
    }
    int64_t rows = rt_documents_rows_in_order(data);
    check_row(data, rt_documents_row_in_order(data, rows - 1, &row));
}

static void check_data(RtData *data) {
    if (data->document)
        check_documents(data);
    else
        check_split(data);
}

/* A file of documents, as many bytes as there are: what the header must say so that it is read on. */
static void mend(unsigned char *file, size_t count) {
    uint32_t fixed[2] = {1, choice[1] & 64 ? 4 : 2};
    uint64_t documents, tokens, held = count - 64;
    memcpy(&documents, file + 16, 8);
    documents %= 1 + held / 8;
    while ((held - 8 * documents) % (fixed[1] + 1) && 8 * (documents + 1) <= held) documents++;
    tokens = (held - 8 * documents) / (fixed[1] + 1);
    memcpy(file, "rematdoc", 8);
    memcpy(file + 8, fixed, 8);
    memcpy(file + 16, &documents, 8);
    memcpy(file + 24, &tokens, 8);
    memset(file + 36, 0, 28);
    documents_seal(file, count);
}

static void read_all(void *unused) {
    (void)unused;
    static const int64_t vocabularies[] = {1, 50, 256, 257, 50257, 65536, 65537, 128256};
    int64_t vocabulary = vocabularies[choice[4] % 8], batch = 1 + choice[2] % 8;
    RtData train, validate;
    rt_data_open(&train, path, choice[0] % (RT_TEXT + 1), batch, 1 + choice[3] % MOST_CONTEXT, vocabulary);
    if (choice[5] & 1) {
        rt_data_split(&train, &validate, (choice[5] >> 1) / 128.0, batch);
        check_data(&validate);
        rt_data_close(&validate);
    }
    check_data(&train);
    rt_data_close(&train);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static const char *const names[] = {"tokens.txt", "tokens.bin", "tokens.u16", "tokens.u32"};
    if (count < CHOICES) return 0;
    choice = bytes;
    const char *name = names[bytes[1] % 4];
    size_t size = count - CHOICES;
    unsigned char *file = malloc(size + 1);
    memcpy(file, bytes + CHOICES, size);
    if (choice[0] % (RT_TEXT + 1) >= RT_DOCUMENTS && choice[1] & 128 && size >= 64) mend(file, size);
    folder_put(name, file, size);
    free(file);
    char whole[512];
    strcpy(whole, folder_file(name));
    path = whole;
    int code = run_to_exit(read_all, NULL);
    MUST(code == -1 || code == RT_EXIT_IO);
    folder_clear(NULL);
    return 0;
}
