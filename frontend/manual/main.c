/* manual WHAT [DOCUMENT]: when rematc is built, one of the files that are installed beside it, on stdout. */
#include "frontend/manual/manual.h"

#include "codegen/json_tree.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    json_tree_begin();
    Arena *arena = arena_new();
    Text out = {.arena = arena};
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "rematc.1")) {
        page_add_command(&out);
    } else if (!strcmp(what, "remat.5") && argc > 2) {
        size_t length;
        const char *document = read_file(arena, argv[2], &length);
        if (!document) die("cannot read '%s': %s", argv[2], read_file_error());
        page_add_language(&out, document);
    } else if (!strcmp(what, "remat.vim")) {
        syntax_add_vim(&out);
    } else if (!strcmp(what, "remat.tmLanguage.json")) {
        syntax_add_textmate(&out);
    } else {
        die("usage: manual rematc.1|remat.5 DOCUMENT|remat.vim|remat.tmLanguage.json");
    }
    bool written = fwrite(out.at, 1, out.length, stdout) == out.length && !fflush(stdout);
    arena_free(arena);
    return written ? 0 : 1;
}
