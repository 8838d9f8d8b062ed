/* See output.h. */
#include "frontend/driver/output.h"

#include "runtime/atomic_file.h"
#include "frontend/driver/message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void output_begin(void) {
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        /* the wrong way round: reading from it or writing to it fails, as with a closed one */
        if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static int not_printed(const Options *options) {
    return message_fail(options, EXIT_IO, "cannot write to standard output: %s", strerror(errno));
}

/* Names of others must not steer a terminal; what reads a pipe or a file gets them as they are. */
static Text for_reader(const Text *text) {
    if (!text->length || !isatty(STDOUT_FILENO)) return *text;
    Text shown = {.arena = text->arena};
    text_add_printable(&shown, text->at, "\n\t");
    return shown;
}

int output_print(const Options *options, const Text *results) {
    Text shown = for_reader(results), *text = &shown;
    bool printed = !text->length || fwrite(text->at, 1, text->length, stdout) == text->length;
    return printed && fflush(stdout) == 0 ? EXIT_FINE : not_printed(options);
}

int output_write(const Options *options, const char *path, const Text *text) {
    if (!strcmp(path, "-")) return output_print(options, text);
    if (atomic_file_put(path, text->at, (int64_t)text->length)) return EXIT_FINE;
    return message_fail(options, EXIT_IO, "cannot write '%s': %s", path, strerror(errno));
}

int output_not_input(const Options *options) {
    struct stat in, out;
    if (!options->output || !options->file) return -1;
    if (stat(options->file, &in) || stat(options->output, &out)) return -1;
    if (!S_ISREG(in.st_mode) || in.st_dev != out.st_dev || in.st_ino != out.st_ino) return -1;
    return message_fail(options, EXIT_USAGE, "-o '%s' is the file that is read, '%s': name another",
                        options->output, options->file);
}

void output_stats(const Stats *stats, Arena *arena) {
    Text out = {.arena = arena};
    stats_print(stats, &out);
    fputs(out.at, stderr);
}

int output_end(const Options *options, int code) {
    if (code != EXIT_FINE || (fflush(stdout) == 0 && !ferror(stdout))) return code;
    return not_printed(options);
}
