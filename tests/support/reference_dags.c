#include "tests/support/reference_dags.h"

#include "frontend/verbs/nodelink.h"

#include <stdlib.h>

const ReferenceOptimum reference_optimum[REFERENCE_OPTIMA] = {
    {"vgg16_train.json", 0.9, 1.9677},    {"fcn8_vgg_train.json", 0.9, 0.0294},
    {"fcn8_vgg_train.json", 0.8, 0.1361}, {"vgg_unet_train.json", 0.9, 1.1289},
    {"vgg_unet_train.json", 0.8, 1.9836}, {"vgg_unet_train.json", 0.7, 2.9673},
    {"vgg_unet_train.json", 0.6, 4.4509}, {"resnet50_train.json", 0.9, 0.1085},
    {"resnet50_train.json", 0.8, 0.2786}, {"resnet50_train.json", 0.7, 0.5645},
    {"resnet50_train.json", 0.6, 0.9626}, {"resnet50_train.json", 0.5, 1.4988},
};

Problem *reference_read(const char *file, Arena *arena) {
    const char *data = getenv("REMAT_DATA");
    size_t length;
    const char *text = read_file(arena,
                                 data ? arena_printf(arena, "%s/remat/%s", data, file)
                                      : arena_printf(arena, SOURCE_DIR "/../shared/data/remat/%s", file),
                                 &length);
    if (!text) return NULL;
    NodeLink graph;
    int line, column;
    const char *wrong = nodelink_read(text, length, &graph, &line, &column, arena);
    if (wrong) die("%s: %s", file, wrong);
    return dag_problem(graph.nodes, graph.seconds, graph.bytes, graph.link, graph.links, arena);
}
