/* Files that are written whole or not at all, and text that a terminal may see. */
#include "runtime/atomic_file.h"
#include "runtime/printable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int enter_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/remat-files-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static int put(const char *path, const char *text) {
    return atomic_file_put(path, text, (int64_t)strlen(text));
}

static void assert_holds(const char *path, const char *text) {
    char have[64] = {0};
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, have, sizeof have - 1) >= 0);
    close(fd);
    assert_string_equal(have, text);
}

static int files_here(void) {
    int count = 0;
    DIR *here = opendir(".");
    for (struct dirent *entry; (entry = readdir(here));)
        count += entry->d_name[0] != '.' || entry->d_name[1] > '.';
    closedir(here);
    return count;
}

static mode_t mode_of(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void new_files_and_replaced_ones(void **state) {
    (void)state;
    mode_t mask = umask(027);
    assert_true(put("new", "one"));
    assert_int_equal(mode_of("new"), 0640);
    assert_int_equal(chmod("new", 0604), 0);
    assert_true(put("new", "two"));
    umask(mask);
    assert_holds("new", "two");
    assert_int_equal(mode_of("new"), 0604);
    assert_int_equal(files_here(), 1);
}

static void links_are_followed_and_stay(void **state) {
    (void)state;
    assert_int_equal(mkdir("sub", 0777), 0);
    assert_true(put("sub/there", "old"));
    assert_int_equal(symlink("there", "sub/link"), 0);
    assert_int_equal(symlink("sub/link", "link"), 0);
    assert_int_equal(symlink("sub/nothing yet", "dangling"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_true(put("link", "new"));
    assert_holds("sub/there", "new");
    assert_true(put("dangling", "made"));
    assert_holds("sub/nothing yet", "made");
    struct stat status;
    assert_int_equal(lstat("link", &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(lstat("dangling", &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_false(put("loop", "x"));
    assert_int_equal(errno, ELOOP);
}

static void what_is_no_file_is_not_replaced(void **state) {
    (void)state;
    assert_int_equal(mkfifo("pipe", 0666), 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    assert_true(put("pipe", "through"));
    char have[16] = {0};
    assert_int_equal(read(reader, have, sizeof have), 7);
    assert_string_equal(have, "through");
    close(reader);
    struct stat status;
    assert_int_equal(lstat("pipe", &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_false(put("folder", "x"));
    assert_int_equal(errno, EISDIR);
}

/* As /dev/stdout and what a shell makes of >(command). */
static void what_has_no_name_is_written_to(void **state) {
    (void)state;
    int ends[2];
    char path[32], have[16] = {0};
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    assert_int_equal(symlink(path, "out"), 0);
    assert_true(put("out", "through"));
    assert_int_equal(read(ends[0], have, sizeof have), 7);
    assert_string_equal(have, "through");
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(files_here(), 1);
}

static void nothing_is_left_of_what_is_abandoned(void **state) {
    (void)state;
    assert_true(put("kept", "old"));
    AtomicFile file;
    assert_true(atomic_file_open(&file, "kept"));
    assert_int_equal(files_here(), 2);
    assert_true(atomic_file_write(&file, "half", 4));
    errno = ENOSPC;
    atomic_file_abandon(&file);
    assert_int_equal(errno, ENOSPC);
    assert_holds("kept", "old");
    assert_int_equal(files_here(), 1);
    assert_false(put("absent/file", "x"));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(files_here(), 1);
}

static void the_longest_name_fits(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    assert_true(put(name, "x"));
    assert_holds(name, "x");
}

static void assert_shown(const char *text, const char *shown) {
    char to[128];
    assert_int_equal(printable(to, sizeof to, text, strlen(text), "\n"), strlen(shown));
    assert_string_equal(to, shown);
}

static void a_terminal_sees_no_controls(void **state) {
    (void)state;
    assert_shown("plain\nwords", "plain\nwords");
    assert_shown("Grüße 世界 🙂", "Grüße 世界 🙂");
    assert_shown("\x1b[2J\t\x7f\r", "\\x1b[2J\\x09\\x7f\\x0d");
    assert_shown("a\xe2\x80\xae"
                 "b\xe2\x81\xa6"
                 "c\xc2\x9b",
                 "a\\u{202e}b\\u{2066}c\\u{9b}");
    assert_shown("\xff\xc0\x80\xed\xa0\x80\xe2\x82", "\\xff\\xc0\\x80\\xed\\xa0\\x80\\xe2\\x82");
    char nul[] = {'a', 0, 'b'}, to[16];
    assert_int_equal(printable(to, sizeof to, nul, sizeof nul, "\n"), 6);
    assert_string_equal(to, "a\\x00b");
}

static void what_does_not_fit_is_counted(void **state) {
    (void)state;
    char to[8];
    assert_int_equal(printable(to, sizeof to, "123456\x1b", 7, ""), 10);
    assert_string_equal(to, "123456");
    assert_int_equal(printable(to, sizeof to, "12345ü78", 9, ""), 9);
    assert_string_equal(to, "12345ü");
    assert_int_equal(printable(NULL, 0, "abc", 3, ""), 3);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(new_files_and_replaced_ones),          IN_FOLDER(links_are_followed_and_stay),
        IN_FOLDER(what_is_no_file_is_not_replaced),      IN_FOLDER(what_has_no_name_is_written_to),
        IN_FOLDER(nothing_is_left_of_what_is_abandoned), IN_FOLDER(the_longest_name_fits),
        cmocka_unit_test(a_terminal_sees_no_controls),   cmocka_unit_test(what_does_not_fit_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
