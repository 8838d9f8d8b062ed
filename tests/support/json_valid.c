/* json_valid FILE...: exits 0 where every file is one JSON document, else says which is none. For the
 * pipeline tests. */
#include <jansson.h>
#include <stdio.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        json_error_t error;
        json_t *document = json_load_file(argv[i], 0, &error);
        if (!document) {
            fprintf(stderr, "%s:%d:%d: no JSON: %s\n", argv[i], error.line, error.column, error.text);
            return 1;
        }
        json_decref(document);
    }
    return 0;
}
