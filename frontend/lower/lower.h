/* Lowering: from the syntax tree to the settings (Spec) and the forward graph.
 *
 *     Ast --lower_spec--> Spec          every key used or rejected, every default resolved
 *     Ast --lower_graph--> Graph        forward nodes with concrete shapes for one micro-batch size
 *
 * Errors go to `diag`, codes E02xx to E05xx. Both may be called whatever the other found: a fault is
 * reported once, and lower_spec leaves a usable Spec even when it returns false. */
#ifndef REMAT_LOWER_H
#define REMAT_LOWER_H

#include "ir/spec.h"
#include "frontend/language/ast.h"

/* False when the settings have errors. */
bool lower_spec(const Ast *ast, Diag *diag, Arena *arena, Spec *out);

/* The forward graph for micro-batches of `batch` sequences of `context` tokens; 0 takes B and T as the
 * file has them (for B = auto(..): its lower end). `accumulate` is tokens_per_step / (B T), or 1 when that is
 * no whole number (a sampling or evaluation graph of another batch). NULL when `diag` holds any error. */
Graph *lower_graph(const Ast *ast, const Spec *spec, int64_t batch, int64_t context, Diag *diag,
                   Arena *arena);

/* Can one optimizer step be made of whole micro-batches of this many sequences? */
bool lower_batch_fits(const Spec *spec, int64_t batch);
/* The value of a dim; 0 when there is none. */
int64_t spec_dim(const Spec *spec, const char *name);

#endif
