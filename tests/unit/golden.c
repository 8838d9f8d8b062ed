/* Golden files: for every CASES/x.remat, each x.STAGE beside it holds what that stage prints.
 *
 *     golden CASES [--update] [--rematc PROGRAM] [x...]
 *
 * .ast, .fmt and .err of syntax errors are made in this process; the other stages, and .err of files that
 * parse, and .warn of files that are compiled with warnings, by `rematc dump --stage STAGE x.remat` and
 * `rematc check x.remat` (left out, and said so, without
 * --rematc). A formatted file must also parse to the same tree and format to itself. `--update` rewrites the
 * expectations that exist; to add one, create it empty first. A stage without any is an error. */
#include "runtime/atomic_file.h"
#include "frontend/language/ast.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BROKEN "broken: " /* begins what no update may write down */

typedef struct Run {
    Arena *arena;
    const char *rematc;
    bool update;
    char **only;
    int only_count, checked, failed, skipped;
} Run;

typedef struct Parsed {
    Ast *ast;
    Diag *diag;
} Parsed;

static Parsed parse_text(Arena *arena, const char *path, const char *text, size_t length) {
    Parsed parsed = {.diag = diag_new(arena, path, text, length)};
    parsed.ast = ast_parse(arena, path, text, length, parsed.diag);
    return parsed;
}

static char *tree_text(Arena *arena, const Ast *ast) {
    Text out = {.arena = arena};
    ast_print(ast, &out);
    return out.at;
}

static char *error_text(Arena *arena, const Diag *diag) {
    Text out = {.arena = arena};
    text_add(&out, "%s", "");
    diag_print(diag, &out, false);
    return out.at;
}

static char *formatted(Arena *arena, const char *path, const Ast *ast) {
    Text once = {.arena = arena}, twice = {.arena = arena};
    fmt_print(ast, &once);
    Parsed again = parse_text(arena, path, once.at, once.length);
    if (!again.ast)
        return arena_printf(arena, BROKEN "formatted text does not parse:\n%s",
                            error_text(arena, again.diag));
    if (strcmp(tree_text(arena, ast), tree_text(arena, again.ast)))
        return BROKEN "formatting changes the tree\n";
    fmt_print(again.ast, &twice);
    if (strcmp(once.at, twice.at))
        return arena_printf(arena, BROKEN "formatting twice differs:\n%s", twice.at);
    return once.at;
}

/* Standard output, or with `errors` standard error, of rematc; the exit status in `status`. */
static char *from_rematc(Run *run, const char *verb, const char *path, bool errors, int *status) {
    char *command = arena_printf(run->arena, "NO_COLOR=1 '%s' %s '%s' %s", run->rematc, verb, path,
                                 errors ? "2>&1 >/dev/null" : "");
    FILE *pipe = popen(command, "r");
    if (!pipe) die("cannot run %s", command);
    Text out = {.arena = run->arena};
    char chunk[4096];
    size_t got;
    text_add(&out, "%s", "");
    while ((got = fread(chunk, 1, sizeof chunk, pipe)) > 0) text_add_n(&out, chunk, got);
    int ended = pclose(pipe);
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
    return out.at;
}

/* What `stage` prints for the file; NULL when that needs rematc and there is none. */
static char *stage_text(Run *run, const char *path, const char *text, size_t length, const char *stage) {
    Parsed parsed = parse_text(run->arena, path, text, length);
    int status = 0;
    if (!strcmp(stage, "err")) {
        if (!parsed.ast) return error_text(run->arena, parsed.diag);
        if (!run->rematc) return NULL;
        char *out = from_rematc(run, "check", path, true, &status);
        return status == 1 ? out
                           : arena_printf(run->arena, BROKEN "exit status %d instead of 1\n%s", status, out);
    }
    if (!parsed.ast) return error_text(run->arena, parsed.diag);
    if (!strcmp(stage, "warn")) {
        if (!run->rematc) return NULL;
        char *out = from_rematc(run, "check", path, true, &status);
        return status == 0 ? out : arena_printf(run->arena, BROKEN "exit status %d\n%s", status, out);
    }
    if (!strcmp(stage, "ast")) return tree_text(run->arena, parsed.ast);
    if (!strcmp(stage, "fmt")) return formatted(run->arena, path, parsed.ast);
    if (!run->rematc) return NULL;
    char *out = from_rematc(run, arena_printf(run->arena, "dump --stage %s", stage), path, false, &status);
    return status == 0 ? out : arena_printf(run->arena, BROKEN "exit status %d\n", status);
}

static void show_difference(const char *want, const char *got) {
    for (int line = 1; *want || *got; line++) {
        size_t a = strcspn(want, "\n"), b = strcspn(got, "\n");
        if (a != b || memcmp(want, got, a)) {
            printf("  line %d\n    expected: %.*s\n    found:    %.*s\n", line, (int)a, want, (int)b, got);
            return;
        }
        want += a + (want[a] == '\n');
        got += b + (got[b] == '\n');
    }
}

static void check_stage(Run *run, const char *name, const char *stage) {
    size_t length, want_length;
    const char *path = arena_printf(run->arena, "%s.remat", name);
    const char *expected_path = arena_printf(run->arena, "%s.%s", name, stage);
    char *text = read_file(run->arena, path, &length),
         *want = read_file(run->arena, expected_path, &want_length);
    if (!text || !want) return;
    char *got = stage_text(run, path, text, length, stage);
    if (!got) {
        run->skipped++;
        return;
    }
    run->checked++;
    bool broken = !strncmp(got, BROKEN, strlen(BROKEN));
    if (!broken && !strcmp(got, want)) return;
    if (run->update && !broken) {
        if (!atomic_file_put(expected_path, got, (int64_t)strlen(got))) die("cannot write %s", expected_path);
        printf("updated %s\n", expected_path);
        return;
    }
    printf("FAILED %s\n", expected_path);
    show_difference(want, got);
    run->failed++;
}

static bool wanted(const Run *run, const char *name) {
    for (int i = 0; i < run->only_count; i++)
        if (!strcmp(run->only[i], name)) return true;
    return run->only_count == 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv) {
    static const char *const stages[] = {
        "fmt",
        "err",
        "warn",
#define STAGE(NAME, name, leaves) name,
#include "frontend/driver/stages.def"
#undef STAGE
    };
    Run run = {.arena = arena_new()};
    if (argc < 2) die("usage: golden CASES [--update] [--rematc PROGRAM] [x...]");
    int next = 2;
    for (; next < argc && argv[next][0] == '-'; next++) {
        if (!strcmp(argv[next], "--update"))
            run.update = true;
        else if (!strcmp(argv[next], "--rematc") && next + 1 < argc)
            run.rematc = argv[++next];
        else
            die("unknown option %s", argv[next]);
    }
    run.only = argv + next;
    run.only_count = argc - next;
    if (chdir(argv[1])) die("no folder %s", argv[1]);
    DIR *folder = opendir(".");
    VEC(char *) names = {0};
    for (struct dirent *entry; (entry = readdir(folder));) {
        char *dot = strrchr(entry->d_name, '.');
        if (dot && !strcmp(dot, ".remat"))
            *vec_add(run.arena, &names) =
                arena_strndup(run.arena, entry->d_name, (size_t)(dot - entry->d_name));
    }
    closedir(folder);
    if (names.count) qsort(names.at, names.count, sizeof *names.at, by_name);
    for (size_t s = 0; s < COUNT_OF(stages); s++) {
        const int before = run.checked + run.skipped;
        for (uint32_t i = 0; i < names.count; i++)
            if (wanted(&run, names.at[i])) check_stage(&run, names.at[i], stages[s]);
        if (run.only_count || run.checked + run.skipped > before) continue;
        printf("FAILED no file holds what the stage %s prints: x.%s beside an x.remat\n", stages[s],
               stages[s]);
        run.failed++;
    }
    printf("%d expectations checked, %d failed, %d left out for want of rematc\n", run.checked, run.failed,
           run.skipped);
    int status = run.failed || !run.checked;
    arena_free(run.arena);
    return status;
}
