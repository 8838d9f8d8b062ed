/* In: a planned training program. Out: a folder with everything needed to build and run it on a machine that
 * does not have rematc. */
#include "codegen/emit.h"
#include "codegen/homes.h"

#include <inttypes.h>
#include <string.h>

static const char *copies_text(const Layout *layout, Arena *arena) {
    char size[24];
    if (!layout->host_bytes) return "";
    return arena_printf(arena, " * Copies in %s of pinned host memory (%" PRId64 " bytes).\n",
                        format_bytes(layout->host_bytes, size), layout->host_bytes);
}

static void add_head(const EmitRequest *request, Text *out) {
    const Plan *plan = request->train.plan;
    const Graph *g = request->train.graph;
    char peak[24], fixed[24];
    uint32_t recomputed = 0;
    for (uint32_t s = 0; s < plan->step.count; s++) recomputed += plan->step.at[s].kind == STEP_RECOMPUTE;
    text_add(
        out,
        "/* %s, made by rematc from %s.\n"
        " *\n"
        " * Target %s, planned for device %s with policy %s.\n"
        " * Micro-batch [%" PRId64 ", %" PRId64 "], %" PRId64 " micro-step%s a step.\n"
        " * Peak %s (%" PRId64 " bytes), of which %s persistent; %u of %u steps recompute.\n"
        "%s *\n"
        " * A function is a stretch of steps: a layer's forward or backward pass, an update. Layers that do\n"
        " * the same share one, and a table has what differs: a row a layer, a column a tensor. In which\n"
        " * order they run say train_micro_step and train_update. A tensor is a byte offset into one arena;\n"
        " * runtime/rt.h explains the notation, kernels/kernels.h what each operation computes. */\n"
        "#include \"runtime/rt.h\"\n\n",
        request->spec->model, name_comment(out->arena, request->spec->path), request->cuda ? "cuda" : "host",
        device_text(request->device, out->arena), policy_name[plan->policy], g->batch, g->context,
        g->accumulate, g->accumulate == 1 ? "" : "s", format_bytes(request->arena_bytes, peak),
        request->arena_bytes, format_bytes(request->train.layout->persistent_bytes, fixed), recomputed,
        plan->step.count, copies_text(request->train.layout, out->arena));
}

void emit_training(const EmitRequest *request, Text *out) {
    static const char *const heading[] = {
        "training: one micro-step, and the update", "evaluation: the loss of one batch",
        "sampling: the logits of one sequence", "sampling: those of one token, over caches of earlier ones"};
    static const char *const prefix[] = {"train", "evaluate", "sample", "step"};
    const Part *part[] = {&request->train, &request->evaluate, &request->sample, &request->step};
    EmitNames names = {0};
    const char *none;
    const char **micro[] = {&names.micro, &names.evaluate, &names.sample, &names.step};
    Arena *arena = out->arena;
    const Part *train = &request->train;
    Homes *homes = homes_find(train->graph, train->layout, families_find(train->graph, arena), arena);
    Text steps = {.arena = arena};
    for (size_t i = 0; i < COUNT_OF(part); i++) {
        if (!part[i]->graph) continue;
        text_add(&steps, "/* ======== %s ======== */\n\n", heading[i]);
        emit_steps(part[i], prefix[i], homes, &steps, micro[i], i ? &none : &names.update);
    }
    add_head(request, out);
    text_add(out, "/* ======== persistent tensors: byte offsets into the arena ======== */\n\n");
    homes_print(homes, out);
    text_add_n(out, steps.at, steps.length);
    text_add(out, "/* ======== what the runtime needs to know ======== */\n\n");
    emit_tables(request, &names, homes, out);
}

void emit_source(const EmitRequest *request, Text *out) {
    emit_training(request, out);
    text_add(out, "int main(int argc, char **argv) {\n    return rt_main(&program, argc, argv);\n}\n");
}

/* What only programs that measure have. */
static const char tune_prefix[] = "runtime/tune";
static bool wanted_by_tuner(bool cuda, const char *path) {
    if (!strcmp(path, "runtime/tune_cuda.c")) return cuda;
    if (!strcmp(path, "runtime/tune_host.c") || !strcmp(path, "runtime/tune_steps.c")) return !cuda;
    return !strncmp(path, tune_prefix, strlen(tune_prefix));
}

/* Kernels and runtime files of the other target stay out of the folder. */
static bool wanted(bool cuda, const char *path) {
    const char *dot = strrchr(path, '.');
    if (!strncmp(path, tune_prefix, strlen(tune_prefix))) return false;
    if (!strcmp(path, "runtime/device_cuda.c")) return cuda;
    if (!strcmp(path, "runtime/device_host.c")) return !cuda;
    if (strncmp(path, "kernels/", 8)) return true;
    if (!strncmp(path, "kernels/rate.", 13) || !strncmp(path, "kernels/launches.", 17))
        return false; /* the planner's */
    if (!strcmp(dot, ".cu") || !strcmp(dot, ".cuh")) return cuda;
    if (!strcmp(path, "kernels/workspace.c") || strcmp(dot, ".c")) return true;
    return !cuda;
}

/* Stands for the files of a folder, "" for all: programs with other kernels or another runtime have other
 * objects. */
static uint64_t sources_hash(bool cuda, const char *folder) {
    uint64_t hash = HASH_SEED;
    for (unsigned i = 0; i < embedded_file_count; i++) {
        const EmbeddedFile *file = &embedded_file[i];
        if (!wanted(cuda, file->path) || strncmp(file->path, folder, strlen(folder))) continue;
        hash = hash_bytes(hash, file->path, strlen(file->path) + 1);
        hash = hash_bytes(hash, file->beg, (size_t)(file->end - file->beg));
    }
    return hash;
}

uint64_t emit_kernels_hash(bool cuda) {
    return sources_hash(cuda, "kernels/");
}

/* The variants of kernels that calls of the program take beside the first ones, by name. */
static const char *variants_text(const EmitRequest *request, Arena *arena) {
    const Part *const part[] = {&request->train, &request->evaluate, &request->sample, &request->step};
    bool taken[K_VARIANTS] = {false};
    Text names = {.arena = arena};
    for (size_t p = 0; p < COUNT_OF(part); p++)
        for (NodeId n = 0; part[p]->graph && n < part[p]->graph->node.count; n++)
            taken[part[p]->cost[n].variant] = true;
    for (int v = 1; v < K_VARIANTS; v++)
        if (taken[v] && !k_variant_is_first(v)) text_add(&names, " -DK_WITH_%s=1", k_variant_name(v));
    return names.length ? names.at : "";
}

/* `name`: of the program; `variants`: of kernels, the macros that compile them; `own`: objects that it shares
 * with no other, made of its own source and of those of the runtime that only programs of its kind have. */
static void add_makefile(const EmitRequest *request, const char *name, const char *variants, const char *own,
                         Text *out) {
    const uint64_t sources = sources_hash(request->cuda, "");
    text_add(out,
             "# Builds ./%s. OBJ may name a folder shared by several programs: the objects in it do not\n"
             "# depend on the plan.\n"
             "OBJ ?= obj\n"
             "OBJECT_DIR = $(OBJ)/%s-%016" PRIx64 "\n"
             "CC ?= cc\n",
             name, request->cuda ? "cuda" : "host", hash_bytes(sources, variants, strlen(variants)));
    if (*variants)
        text_add(out,
                 "# variants of kernels that are compiled beside the first (kernels/variant.def)\n"
                 "VARIANTS =%s\n",
                 variants);
    const char *flags = *variants ? " $(VARIANTS)" : "";
    if (request->cuda) {
        text_add(out,
                 "NVCC ?= nvcc\n"
                 "# one or more of sm_80 sm_90 ...; other devices are compiled for when the program starts\n"
                 "ARCH ?= sm_%d\n"
                 "CFLAGS ?= -O2\n"
                 "NVCCFLAGS ?= -O3\n"
                 "override NVCCFLAGS += -std=c++20 -I.%s\n"
                 "GENCODE = $(foreach a,$(ARCH:sm_%%=%%),-gencode "
                 "\"arch=compute_$a$(comma)code=[compute_$a$(comma)sm_$a]\")\n"
                 "comma := ,\n"
                 "CUDA_HOME ?= $(patsubst %%/bin/nvcc,%%,$(realpath $(shell command -v $(NVCC))))\n"
                 "LIBS = -lcublasLt -lm -Xcompiler -fopenmp -Xlinker -rpath -Xlinker $(CUDA_HOME)/lib64\n",
                 request->device->capability ? request->device->capability : 80, flags);
    } else {
        text_add(out, "CFLAGS ?= -O3 -march=native\n"
                      "LIBS = -lm\n");
    }
    text_add(out, "override CFLAGS += -std=gnu11 -fno-math-errno -I. -fopenmp%s\n\n",
             request->cuda ? " -I$(CUDA_HOME)/include" : flags);
    text_add(out, "OBJECTS =");
    for (unsigned i = 0; i < embedded_file_count; i++) {
        const char *path = embedded_file[i].path, *dot = strrchr(path, '.');
        if (!wanted(request->cuda, path) || (strcmp(dot, ".c") && strcmp(dot, ".cu"))) continue;
        text_add(out, " \\\n    $(OBJECT_DIR)/%.*s.o", (int)(dot - path), path);
    }
    text_add(out, "\n\n");
    if (request->cuda)
        text_add(out,
                 "%s: %s $(OBJECTS) Makefile\n"
                 "\t$(NVCC) $(NVCCFLAGS) -o $@ %s $(OBJECTS) $(LIBS)\n\n"
                 "# calls and tables, no device code: nothing for an optimiser to find\n"
                 "%s.o: %s.cu Makefile\n"
                 "\t$(NVCC) -x c++ $(filter-out -O%%,$(NVCCFLAGS)) -O0 -c -o $@ $<\n\n"
                 "$(OBJECT_DIR)/%%.o: %%.cu\n"
                 "\t@mkdir -p $(@D)\n"
                 "\t$(NVCC) $(NVCCFLAGS) $(GENCODE) -c -o $@.$$$$ $< && mv $@.$$$$ $@\n\n",
                 name, own, own, name, name);
    else
        text_add(out,
                 "%s: %s $(OBJECTS) Makefile\n"
                 "\t$(CC) $(CFLAGS) $(LDFLAGS) -o $@ %s $(OBJECTS) $(LIBS)\n\n"
                 "# calls and tables: nothing for an optimiser to find\n"
                 "%s.o: %s.c Makefile\n"
                 "\t$(CC) $(CFLAGS) -O1 -c -o $@ $<\n\n",
                 name, own, own, name, name);
    text_add(
        out,
        "$(OBJECT_DIR)/%%.o: %%.c\n"
        "\t@mkdir -p $(@D)\n"
        "\t$(CC) $(CFLAGS) -c -o $@.$$$$ $< && mv $@.$$$$ $@\n\n"
        "$(OBJECTS): $(wildcard runtime/*.h kernels/*.h kernels/*.cuh kernels/*.def)\n\n"
        "# What was made here, and the folders it lay in where nothing else lies there.\n"
        "clean:\n"
        "\trm -f %s %s $(OBJECTS) $(wildcard $(addsuffix .*,$(OBJECTS)))\n"
        "\t@for d in $(OBJECT_DIR)/kernels $(OBJECT_DIR)/runtime $(OBJECT_DIR) $(filter obj,$(OBJ)); do \\\n"
        "\t    rmdir \"$$d\" 2>/dev/null || :; done\n\n"
        ".PHONY: clean\n",
        name, own);
}

typedef VEC(FolderFile) Files;

static void add_embedded(Files *files, bool cuda, bool (*is_wanted)(bool cuda, const char *path),
                         Arena *arena) {
    for (unsigned i = 0; i < embedded_file_count; i++) {
        const EmbeddedFile *file = &embedded_file[i];
        if (!is_wanted(cuda, file->path)) continue;
        *vec_add(arena, files) = (FolderFile){.path = file->path,
                                              .bytes = file->beg,
                                              .length = (size_t)(file->end - file->beg),
                                              .undated = true};
    }
}

static void add_text(Files *files, const char *path, const Text *text) {
    *vec_add(text->arena, files) = (FolderFile){.path = path, .bytes = text->at, .length = text->length};
}

static FolderAnswer write_folder(const EmitPlace *place, const Files *files, const char *const *made,
                                 Arena *arena, const char **error) {
    FolderRequest folder = {.dir = place->dir,
                            .input = place->input,
                            .force = place->force,
                            .file = files->at,
                            .files = files->count,
                            .made = made};
    return folder_write(&folder, arena, error);
}

FolderAnswer emit_program(const EmitRequest *request, const EmitPlace *place, Arena *arena,
                          const char **error) {
    static const char *const made[] = {"train", "train.o", NULL};
    Files files = {0};
    Text source = {.arena = arena}, makefile = {.arena = arena}, json = {.arena = arena};
    add_embedded(&files, request->cuda, wanted, arena);
    emit_source(request, &source);
    add_makefile(request, "train", variants_text(request, arena), "train.o", &makefile);
    emit_plan_json(request, &json);
    add_text(&files, request->cuda ? "train.cu" : "train.c", &source);
    add_text(&files, "Makefile", &makefile);
    add_text(&files, "plan.json", &json);
    return write_folder(place, &files, made, arena, error);
}

FolderAnswer emit_tuner(const EmitRequest *request, const EmitPlace *place, Arena *arena,
                        const char **error) {
    static const char *const made[] = {"tune", "tune.o", NULL};
    Files files = {0};
    Text source = {.arena = arena}, makefile = {.arena = arena};
    add_embedded(&files, request->cuda, wanted, arena);
    add_embedded(&files, request->cuda, wanted_by_tuner, arena);
    emit_tuner_source(request, &source);
    add_makefile(
        request, "tune", " -DK_ALL_VARIANTS",
        request->cuda
            ? "tune.o runtime/tune.o runtime/tune_profile.o runtime/tune_cuda.o"
            : "tune.o runtime/tune.o runtime/tune_profile.o runtime/tune_steps.o runtime/tune_host.o",
        &makefile);
    text_add(&makefile, "\nruntime/%%.o: runtime/%%.c\n\t$(CC) $(CFLAGS) -c -o $@ $<\n");
    add_text(&files, request->cuda ? "tune.cu" : "tune.c", &source);
    add_text(&files, "Makefile", &makefile);
    return write_folder(place, &files, made, arena, error);
}
