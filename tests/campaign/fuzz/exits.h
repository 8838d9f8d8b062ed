/* Code that may end the program, run many times in one process. Linked with --wrap for the functions that
 * end it, allocate, open and map: whatever was still held when it ended is given back. */
#ifndef REMAT_FUZZ_EXITS_H
#define REMAT_FUZZ_EXITS_H

#include <stdbool.h>

/* -1 when `body` returned, else the code it ended with. Codes that are no answer to the user's input (70: a
 * broken invariant; whatever the manual does not list) are reported as crashes. */
int run_to_exit(void (*body)(void *argument), void *argument);

/* Reports a crash unless `condition` holds. */
#define MUST(condition) ((condition) ? (void)0 : must_fail(__FILE__, __LINE__, #condition))
_Noreturn void must_fail(const char *file, int line, const char *condition);

#endif
