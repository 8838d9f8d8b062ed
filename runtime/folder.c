/* The folder that checkpoints are saved into, locked while a trainer is at work. One spelling names them,
 * step-000250.safetensors; a file whose contents are of another step than its name says, or whose name is
 * spelled in another way, is named in a warning and then neither resumed, counted nor removed.
 *
 * With --fresh an earlier run's checkpoints stay as they are until the new run has one of its own. That is
 * written under a name of its own, and only then is the folder handed over:
 *
 *     1. step-000005.safetensors.new appears, whole and synced: from here on the new run is the folder's
 *     2. the log's earlier lines, then every step-*.safetensors, become *.old
 *     3. step-000005.safetensors.new becomes step-000005.safetensors
 *
 * A kill before 1 leaves the earlier run to be resumed; whoever opens a folder with a .new in it does 2 and 3
 * first, which may be begun again at any point: as long as the .new is there, all else is the earlier run's.
 */
#include "atomic_file.h"
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char new_suffix[] = ".new";

static char *path_of(const char *dir, int64_t step) {
    return rt_text("%s/step-%06lld.safetensors", dir, (long long)step);
}

/* ---- names ---- */

typedef enum NameKind { NAME_OTHER, NAME_CHECKPOINT, NAME_NEW, NAME_MISSPELLED } NameKind;

/* What a name stands for, and its step. */
static NameKind kind_of(const char *name, int64_t *step) {
    static const char suffix[] = ".safetensors";
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return NAME_OTHER;
    char *end, spelled[64];
    errno = 0;
    *step = strtoll(name + 5, &end, 10);
    if (strncmp(end, suffix, sizeof suffix - 1) != 0) return NAME_OTHER;
    int is_new = !strcmp(end + sizeof suffix - 1, new_suffix);
    if (end[sizeof suffix - 1] && !is_new) return NAME_OTHER;
    snprintf(spelled, sizeof spelled, "step-%06lld%s%s", (long long)*step, suffix, is_new ? new_suffix : "");
    if (errno || strcmp(spelled, name) != 0) return NAME_MISSPELLED;
    return is_new ? NAME_NEW : NAME_CHECKPOINT;
}

/* What a killed trainer leaves: ".step-000250.safetensors.0123456789abcdef.tmp" (atomic_file.h). */
static int is_leftover(const char *name) {
    static const char end[] = ATOMIC_FILE_SUFFIX;
    size_t length = strlen(name), tail = 1 + ATOMIC_FILE_DIGITS + sizeof end - 1;
    if (strncmp(name, ".step-", 6) != 0 || length < 6 + tail) return 0;
    const char *digits = name + length - tail + 1;
    if (digits[-1] != '.' || strcmp(digits + ATOMIC_FILE_DIGITS, end) != 0 ||
        strspn(digits, "0123456789abcdef") != ATOMIC_FILE_DIGITS)
        return 0;
    char *stem = rt_text("%.*s", (int)(length - tail), name);
    int ours = strstr(stem, ".safetensors") != NULL;
    free(stem);
    return ours;
}

/* Every name in the folder; 0 with errno where they cannot be read to the end. */
static int list_names(const char *dir, RtNames *names) {
    *names = (RtNames){0};
    DIR *listing = opendir(dir);
    if (!listing) return 0;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(listing)); errno = 0) rt_names_add(names, entry->d_name);
    int reason = errno;
    if (closedir(listing) != 0 && !reason) reason = errno;
    if (reason) rt_names_free(names);
    errno = reason;
    return !reason;
}

static int descending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

/* Steps of the names of one kind, largest first, from rt_allocate. */
static int64_t *steps_of(const RtNames *names, NameKind kind, int *count) {
    int64_t *steps = rt_allocate((size_t)names->count * sizeof *steps), step;
    *count = 0;
    for (int i = 0; i < names->count; i++)
        if (kind_of(names->at[i], &step) == kind) steps[(*count)++] = step;
    qsort(steps, (size_t)*count, sizeof *steps, descending);
    return steps;
}

/* ---- opening ---- */

static void make_directory(const char *path) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        rt_fail(RT_EXIT_IO, "cannot make the folder '%s': %s", path, strerror(errno));
}

static void make_directories(const char *dir) {
    char *path = rt_text("%s", dir);
    for (char *at = path + 1; *path && *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        make_directory(path);
        *at = '/';
    }
    make_directory(path);
    free(path);
}

static int take_lock(const char *dir) {
    int lock, taken;
    do lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (lock < 0 && errno == EINTR);
    if (lock < 0) rt_fail(RT_EXIT_IO, "cannot save into '%s': %s", dir, strerror(errno));
    do taken = flock(lock, LOCK_EX | LOCK_NB);
    while (taken != 0 && errno == EINTR);
    if (taken != 0 && errno == EWOULDBLOCK) rt_fail(RT_EXIT_IO, "another trainer is saving into '%s'", dir);
    if (taken != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        rt_fail(RT_EXIT_IO, "cannot lock the folder '%s': %s", dir, strerror(errno));
    if (taken != 0) rt_warn("'%s' cannot be locked: start no second trainer that saves into it", dir);
    return lock;
}

/* That a file can be made here is known before anything is trained. */
static void probe(const char *dir) {
    AtomicFile file;
    char *path = rt_text("%s/step-probe.safetensors", dir);
    if (!atomic_file_open(&file, path))
        rt_fail(RT_EXIT_IO, "cannot save into '%s': %s", dir, strerror(errno));
    atomic_file_abandon(&file);
    free(path);
}

void rt_folder_open(RtFolder *folder, const char *dir, int fresh) {
    RtNames names;
    int unfinished;
    make_directories(dir);
    *folder = (RtFolder){.dir = dir, .lock = take_lock(dir), .fresh = fresh, .newest_step = -1};
    if (!list_names(dir, &names))
        rt_fail(RT_EXIT_IO, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (int i = 0; i < names.count; i++)
        if (is_leftover(names.at[i]) && unlinkat(folder->lock, names.at[i], 0) != 0)
            rt_warn("cannot remove '%s' in '%s': %s", names.at[i], dir, strerror(errno));
    free(steps_of(&names, NAME_NEW, &unfinished));
    folder->unfinished = unfinished > 0;
    rt_names_free(&names);
    probe(dir);
}

void rt_folder_close(RtFolder *folder) {
    if (folder->lock >= 0) close(folder->lock);
    folder->lock = -1;
}

/* ---- handing over from one run to the next ---- */

/* The whole of it is on the disk when this answers 1. */
static int set_aside(const char *dir, int64_t step, const char *suffix, RtError *error) {
    char *path = path_of(dir, step), *aside = rt_set_aside(path, suffix);
    int good = aside || rt_error(error, "cannot rename '%s' to *.%s: %s", path, suffix, strerror(errno));
    free(aside);
    free(path);
    return good;
}

static int finish_renaming(const char *dir, const RtNames *names, RtError *error) {
    int old, fresh, good = 1;
    int64_t *steps = steps_of(names, NAME_CHECKPOINT, &old), *arrived = steps_of(names, NAME_NEW, &fresh);
    for (int i = 0; good && i < old; i++) good = set_aside(dir, steps[i], "old", error);
    for (int i = 0; good && i < fresh; i++) {
        char *path = path_of(dir, arrived[i]), *from = rt_text("%s%s", path, new_suffix);
        if (rename(from, path) != 0)
            good = rt_error(error, "cannot rename '%s' to '%s': %s", from, path, strerror(errno));
        free(from);
        free(path);
    }
    free(steps);
    free(arrived);
    if (good && !atomic_file_sync_folder(dir))
        good = rt_error(error, "cannot sync '%s': %s", dir, strerror(errno));
    return good;
}

int rt_folder_hand_over(RtFolder *folder, RtError *error) {
    RtNames names;
    if (!list_names(folder->dir, &names))
        return rt_error(error, "cannot read the folder '%s': %s", folder->dir, strerror(errno));
    int good = finish_renaming(folder->dir, &names, error);
    rt_names_free(&names);
    if (good) folder->unfinished = 0;
    return good;
}

/* ---- saving ---- */

/* Keeps what was saved last and the keep - 1 before it. What bears a later step is not this run's. */
static void remove_oldest(const RtFolder *folder, int64_t saved, int64_t keep) {
    RtNames names;
    int count;
    if (keep <= 0) return;
    if (!list_names(folder->dir, &names)) {
        rt_warn("cannot read the folder '%s': %s; older checkpoints stay", folder->dir, strerror(errno));
        return;
    }
    int64_t *steps = steps_of(&names, NAME_CHECKPOINT, &count), kept = 1;
    for (int i = 0; i < count; i++) {
        RtError error;
        int64_t within;
        if (steps[i] >= saved) continue;
        char *path = path_of(folder->dir, steps[i]);
        int ours = rt_checkpoint_step(path, &within, &error) && within == steps[i];
        if (ours && kept++ >= keep && unlink(path) != 0)
            rt_warn("cannot remove the old checkpoint '%s': %s", path, strerror(errno));
        free(path);
    }
    free(steps);
    rt_names_free(&names);
}

/* A file that stands where the next checkpoint belongs is not this run's: it is kept under another name. */
static int make_room(const char *path, RtError *error) {
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ||
               rt_error(error, "cannot save the checkpoint '%s': %s", path, strerror(errno));
    char *aside = rt_set_aside(path, "old");
    if (!aside)
        return rt_error(error, "'%s' is in the way of a checkpoint and cannot be renamed: %s", path,
                        strerror(errno));
    rt_warn("'%s' was not saved by this run; it is '%s' now", path, aside);
    free(aside);
    return 1;
}

int rt_folder_save(RtFolder *folder, const RtRun *run, const RtProgram *program, const RtState *state,
                   RtLogFile *log, void *chunk, RtError *error) {
    char *path = path_of(folder->dir, state->step);
    char *first = rt_text("%s%s", path, new_suffix), *to = folder->fresh ? first : path;
    int good = make_room(to, error);
    if (good && !rt_checkpoint_write(to, run, program, state, chunk))
        good = rt_error(error, "cannot save the checkpoint '%s': %s; earlier checkpoints are untouched", path,
                        strerror(errno));
    free(first);
    free(path);
    if (!good) return 0;
    if (folder->fresh) {
        if (!rt_log_file_hand_over(log, error) || !rt_folder_hand_over(folder, error)) return 0;
        folder->fresh = 0;
    }
    folder->newest_step = state->step;
    remove_oldest(folder, state->step, program->save_keep);
    return 1;
}

char *rt_folder_newest(const RtFolder *folder) {
    return path_of(folder->dir, folder->newest_step);
}

int64_t rt_folder_growth(const RtFolder *folder, const RtProgram *program, int64_t left) {
    RtNames names;
    int count = 0;
    if (list_names(folder->dir, &names)) {
        free(steps_of(&names, NAME_CHECKPOINT, &count));
        rt_names_free(&names);
    }
    if (folder->fresh || program->save_keep <= 0) count = 0; /* what is there stays */
    int64_t most =
        program->save_keep > 0 ? program->save_keep + 1 - count : left; /* one more while it is written */
    if (most < 1) most = 1;
    return left < most ? left : most;
}

/* ---- resuming ---- */

/* A sound checkpoint of another step: somebody has given it this name. */
static void warn_of_name(const char *path, int64_t within) {
    rt_warn("'%s' holds step %lld: it is left as it is and not used; to go on from it, name it "
            "step-%06lld.safetensors",
            path, (long long)within, (long long)within);
}

char *rt_folder_newest_in(const char *dir) {
    RtNames names;
    int count;
    if (!list_names(dir, &names)) return NULL;
    int64_t *steps = steps_of(&names, NAME_CHECKPOINT, &count), within;
    char *path = NULL;
    for (int i = 0; i < count && !path; i++) {
        RtError error;
        path = path_of(dir, steps[i]);
        if (!rt_checkpoint_step(path, &within, &error) || within == steps[i]) continue;
        warn_of_name(path, within);
        free(path);
        path = NULL;
    }
    free(steps);
    rt_names_free(&names);
    return path;
}

static void warn_of_spellings(const char *dir, const RtNames *names) {
    int64_t step;
    for (int i = 0; i < names->count; i++)
        if (kind_of(names->at[i], &step) == NAME_MISSPELLED)
            rt_warn(
                "'%s/%s' is not spelled as checkpoints are (step-000004.safetensors): it is left as it is "
                "and not resumed",
                dir, names->at[i]);
}

int rt_folder_load(RtFolder *folder, RtRun *run, const RtProgram *program, RtState *state, void *chunk) {
    RtNames names;
    int count, unreadable = 0, found = 0;
    const char *dir = folder->dir;
    if (!list_names(dir, &names))
        rt_fail(RT_EXIT_IO, "cannot read the folder '%s': %s", dir, strerror(errno));
    warn_of_spellings(dir, &names);
    int64_t *steps = steps_of(&names, NAME_CHECKPOINT, &count);
    int64_t *damaged = rt_allocate((size_t)count * sizeof *damaged);
    for (int i = 0; i < count && !found; i++) {
        RtError error;
        char *path = path_of(dir, steps[i]);
        found = rt_checkpoint_read(run, program, path, state, chunk, &error);
        if (found && state->step != steps[i]) {
            warn_of_name(path, state->step);
            free(path);
            found = 0;
            continue;
        }
        if (!found && error.reason)
            rt_fail(
                RT_EXIT_IO,
                "the checkpoint '%s' cannot be resumed now: %s; nothing was done, and the file is as it was",
                path, error.text);
        if (!found) {
            rt_warn("the checkpoint '%s' is damaged: %s%s", path, error.text,
                    i + 1 < count ? "; trying the one before" : "");
            damaged[unreadable++] = steps[i];
        }
        free(path);
    }
    if (unreadable && !found)
        rt_fail(RT_EXIT_IO, "no checkpoint in '%s' can be read; --fresh starts over and leaves them as *.old",
                dir);
    for (int i = 0; i < unreadable; i++) {
        RtError error;
        if (!set_aside(dir, damaged[i], "damaged", &error)) rt_fail(RT_EXIT_IO, "%s", error.text);
    }
    if (found) folder->newest_step = state->step;
    free(damaged);
    free(steps);
    rt_names_free(&names);
    return found;
}
