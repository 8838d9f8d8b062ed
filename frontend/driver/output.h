/* Where results go: standard output, or the file after -o. Every verb prints and writes through these, so
 * that a full disk or a closed stream is an error wherever it strikes, and nothing that is read is written
 * over. */
#ifndef REMAT_OUTPUT_H
#define REMAT_OUTPUT_H

#include "frontend/driver/options.h"
#include "planner/problem/stats.h"

/* First of all: a standard stream that is closed is opened on nothing, so that no file of ours takes its
 * number and gets what was meant for it; a limit on the size of files makes errors, not an end. */
void output_begin(void);
/* The text on standard output, byte for byte; where that is a terminal, with what could steer it spelled out
 * (runtime/printable.h). EXIT_FINE, or EXIT_IO after a message. */
int output_print(const Options *options, const Text *results);
/* The text as the file after -o, whole or not at all ("-": standard output); the same codes. */
int output_write(const Options *options, const char *path, const Text *text);
/* -1, or EXIT_USAGE after a message where -o names the very file that is read, by whatever name. */
int output_not_input(const Options *options);
/* The table of --stats on stderr. */
void output_stats(const Stats *stats, Arena *arena);
/* Last of all: what was printed has arrived; `code`, or EXIT_IO in place of EXIT_FINE after a message. */
int output_end(const Options *options, int code);

#endif
