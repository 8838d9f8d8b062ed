/* See tune_profile.h. */
#include "tune_profile.h"
#include "atomic_file.h"
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const record_name[] = {"time", "within", "product", "variant"};

static void add_line(RtTuneProfile *profile, const char *text) {
    int at = profile->lines;
    while (at > 0 && strcmp(profile->line[at - 1], text) > 0) at--;
    if (at > 0 && !strcmp(profile->line[at - 1], text)) return;
    if (profile->lines == profile->room) {
        int room = 2 * profile->room + 64;
        char **line = rt_allocate((size_t)room * sizeof *line);
        if (profile->lines) memcpy(line, profile->line, (size_t)profile->lines * sizeof *line);
        free(profile->line);
        profile->line = line;
        profile->room = room;
    }
    memmove(&profile->line[at + 1], &profile->line[at],
            (size_t)(profile->lines - at) * sizeof *profile->line);
    profile->line[at] = rt_text("%s", text);
    profile->lines++;
}

void rt_tune_profile_read(RtTuneProfile *profile, const char *path) {
    struct stat status;
    *profile = (RtTuneProfile){.path = path};
    if (stat(path, &status)) {
        if (errno != ENOENT) rt_fail(RT_EXIT_IO, "cannot read '%s': %s", path, strerror(errno));
        return;
    }
    FILE *file = S_ISREG(status.st_mode) ? fopen(path, "r") : NULL;
    if (!file)
        rt_fail(RT_EXIT_IO, "cannot read '%s': %s", path,
                S_ISREG(status.st_mode) ? strerror(errno) : "no file");
    char *line = NULL;
    size_t size = 0;
    int begun = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        begun |= !strcmp(line, "format remat-profile-1");
        if (*line && *line != '#' && !begun)
            rt_fail(RT_EXIT_IO, "'%s' is there and is no profile: name another file", path);
        if (*line) add_line(profile, line);
    }
    if (ferror(file)) rt_fail(RT_EXIT_IO, "cannot read '%s': %s", path, strerror(errno));
    if (status.st_size && !begun)
        rt_fail(RT_EXIT_IO, "'%s' is there and is no profile: name another file", path);
    free(line);
    fclose(file);
}

void rt_tune_profile_write(const RtTuneProfile *profile) {
    size_t bytes = 0, at = 0;
    for (int i = 0; i < profile->lines; i++) bytes += strlen(profile->line[i]) + 1;
    char *text = rt_allocate(bytes + 1);
    for (int i = 0; i < profile->lines; i++) at += (size_t)sprintf(text + at, "%s\n", profile->line[i]);
    if (!atomic_file_put(profile->path, text, (int64_t)bytes))
        rt_fail(RT_EXIT_IO, "cannot write '%s': %s", profile->path, strerror(errno));
    free(text);
}

void rt_tune_profile_free(RtTuneProfile *profile) {
    for (int i = 0; i < profile->lines; i++) free(profile->line[i]);
    for (int i = 0; i < RT_RECORDS; i++) free(profile->prefix[i]);
    free(profile->line);
}

/* A word of a record: blanks are written as lines, and an empty one as a dash. */
static char *word_of(const char *text) {
    char *word = rt_text("%s", *text ? text : "-");
    for (char *at = word; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 127) *at = '_';
    return word;
}

void rt_tune_profile_begin(RtTuneProfile *profile, const char *device, const RtTunePlace *place,
                           const char *kernels) {
    char *on = word_of(device), *card = word_of(place->card), *driver = word_of(place->driver),
         *clocks = word_of(place->clocks), *compiler = word_of(place->compiler);
    char *text = rt_text("device=%s card=%s driver=%s clocks=%s compiler=%s kernels=%s", on, card, driver,
                         clocks, compiler, kernels);
    uint32_t hash = 2166136261u; /* FNV-1a, so that two origins seldom have one name */
    for (const char *at = text; *at; at++) hash = (hash ^ (unsigned char)*at) * 16777619u;
    char *origin = rt_text("origin %08x %s", hash, text);
    add_line(profile, "format remat-profile-1");
    add_line(profile, origin);
    for (int i = 0; i < RT_RECORDS; i++) profile->prefix[i] = rt_text("%s %08x ", record_name[i], hash);
    free(origin), free(text), free(on), free(card), free(driver), free(clocks), free(compiler);
}

void rt_tune_profile_add(RtTuneProfile *profile, RtRecord kind, const char *text) {
    char *line = rt_text("%s%s", profile->prefix[kind], text);
    add_line(profile, line);
    free(line);
}

const char *rt_tune_profile_next(const RtTuneProfile *profile, RtRecord kind, int *at) {
    const char *prefix = profile->prefix[kind];
    const size_t head = strlen(prefix);
    while (*at < profile->lines) {
        const char *line = profile->line[(*at)++];
        if (!strncmp(line, prefix, head)) return line + head;
    }
    return NULL;
}

const char *rt_tune_profile_known(const RtTuneProfile *profile, RtRecord kind, const char *key) {
    const size_t length = strlen(key);
    int at = 0;
    for (const char *said; (said = rt_tune_profile_next(profile, kind, &at));)
        if (!strncmp(said, key, length) && !strncmp(said + length, " : ", 3)) return said + length + 3;
    return NULL;
}

double rt_tune_profile_seconds(const RtTuneProfile *profile, RtRecord kind, const char *key) {
    const char *said = rt_tune_profile_known(profile, kind, key),
               *median = said ? strstr(said, "median_us=") : NULL;
    return median ? strtod(median + strlen("median_us="), NULL) / 1e6 : 0;
}
