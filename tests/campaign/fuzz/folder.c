/* See folder.h. */
#include "folder.h"

#include "exits.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void folder_remove(void) {
    folder_clear(NULL);
    rmdir(folder);
}

const char *folder_path(void) {
    if (folder[0]) return folder;
    const char *in = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/remat-fuzz-XXXXXX", in);
    MUST(mkdtemp(folder));
    atexit(folder_remove);
    return folder;
}

const char *folder_file(const char *name) {
    static char path[8][512];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", folder_path(), name);
    return path[next];
}

void folder_put(const char *name, const uint8_t *bytes, size_t count) {
    int fd = open(folder_file(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    MUST(fd >= 0);
    while (count) {
        ssize_t done = write(fd, bytes, count);
        MUST(done > 0);
        bytes += done;
        count -= (size_t)done;
    }
    MUST(close(fd) == 0);
}

static void put_shard(const char *name, const char *header, size_t data_bytes) {
    uint8_t file[256] = {(uint8_t)strlen(header)};
    memcpy(file + 8, header, strlen(header));
    memset(file + 8 + strlen(header), 'x', data_bytes);
    folder_put(name, file, 8 + strlen(header) + data_bytes);
}

void folder_put_shards(void) {
    put_shard("1.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    put_shard("2.safetensors", "{\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", 8);
}

void folder_clear(const char *but) {
    DIR *listing = opendir(folder_path());
    MUST(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_type != DT_DIR && (!but || strcmp(entry->d_name, but)))
            unlink(folder_file(entry->d_name));
    closedir(listing);
}
