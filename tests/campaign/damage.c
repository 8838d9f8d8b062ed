/* damage FILE OTHER SEED: changes FILE in one of many ways, chosen by the seed, and says which. What it
 * leaves is never what was there. OTHER is a file to take pieces from. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;
static uint64_t next(uint64_t below) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

typedef struct Bytes {
    unsigned char *at;
    size_t count;
} Bytes;

static Bytes read_all(const char *path) {
    enum { MOST = 1 << 24 };
    Bytes bytes = {malloc(2 * MOST), 0};
    FILE *file = fopen(path, "rb");
    if (!file || !bytes.at) {
        fprintf(stderr, "damage: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    bytes.count = fread(bytes.at, 1, MOST, file);
    fclose(file);
    return bytes;
}

static void cut(Bytes *b, size_t from, size_t count) {
    memmove(b->at + from, b->at + from + count, b->count - from - count);
    b->count -= count;
}

static void insert(Bytes *b, size_t at, size_t count) {
    memmove(b->at + at + count, b->at + at, b->count - at);
    b->count += count;
}

static const char *change(Bytes *b, const Bytes *other) {
    uint64_t header = 0;
    memcpy(&header, b->at, 8);
    size_t head = 8 + (size_t)header, at = next(b->count), most = b->count - at;
    size_t some = 1 + next(most < 4096 ? most : 4096);
    switch (next(14)) {
    case 0: b->at[at] ^= (unsigned char)(1u << next(8)); return "a bit flipped";
    case 1: b->at[at] = (unsigned char)next(256); return "a byte replaced";
    case 2: b->at[next(head)] ^= (unsigned char)(1u << next(8)); return "a bit of the header flipped";
    case 3: {
        size_t digit = 8 + next(head - 8);
        while (digit < head && (b->at[digit] < '0' || b->at[digit] > '9')) digit++;
        if (digit < head) b->at[digit] = (unsigned char)('0' + next(10));
        return "a digit of the header replaced";
    }
    case 4: b->count = at; return "cut short";
    case 5: b->count = next(head); return "cut within the header";
    case 6: b->count = 0; return "emptied";
    case 7:
        insert(b, b->count, some);
        for (size_t i = 1; i <= some; i++) b->at[b->count - i] = (unsigned char)next(256);
        return "made longer";
    case 8: memset(b->at + at, 0, some); return "zeros";
    case 9: memset(b->at + at, 0, most); return "zeros to the end, as after a crash";
    case 10: cut(b, at, some); return "a piece taken out";
    case 11: insert(b, at, some); return "a piece doubled";
    case 12: {
        size_t from = next(b->count - some + 1);
        memmove(b->at + at, b->at + from, some);
        return "a piece copied elsewhere";
    }
    default:
        memcpy(b->at + at, other->at + at, at + some <= other->count ? some : 0);
        return "a piece of an older checkpoint";
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    Bytes before = read_all(argv[1]), after = read_all(argv[1]), other = read_all(argv[2]);
    state = strtoull(argv[3], NULL, 10);
    const char *what;
    do what = change(&after, &other);
    while (after.count == before.count && !memcmp(after.at, before.at, before.count));
    FILE *file = fopen(argv[1], "wb");
    if (!file || fwrite(after.at, 1, after.count, file) != after.count || fclose(file)) {
        fprintf(stderr, "damage: cannot write %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    printf("%s\n", what);
    free(before.at), free(after.at), free(other.at);
    return 0;
}
