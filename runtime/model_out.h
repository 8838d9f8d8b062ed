/* A trained model as other tools read it: a folder like the published one it began from, with what was
 * trained in place of what was there, or the adapters alone as PEFT has them. Made of a checkpoint and the
 * published folder, whose other files are carried over; the device has no part in it.
 *
 *     merged     every tensor of the base under its name, in its shape and type, in shards of
 *                5 GB, or of another size. Adapters are added in f32, to what a quantised
 *                weight stands for where one was trained beside it, or to the weight as it was
 *                before where that is asked for.
 *     adapter    adapter_config.json and adapter_model.safetensors, always F32
 *
 * The folder is written beside its place, synced and renamed. Everything here ends the program with exit code
 * 6 and one message where it cannot be done. */
#ifndef REMAT_MODEL_OUT_H
#define REMAT_MODEL_OUT_H

#include "model.h"

typedef enum RtOutKind { RT_OUT_ADAPTER, RT_OUT_MERGED } RtOutKind;

typedef struct RtOutRequest { /* of a checkpoint */
    RtOutKind kind;
    const char *base;    /* in place of the published folder that it names; NULL: that one */
    const char *folder;  /* to write */
    int unquantised;     /* merged: of weights as the published model has them, which it has to have so */
    int64_t shard_bytes; /* most bytes of tensors in one file, but for a tensor that has more; 0: 5 GB */
} RtOutRequest;

/* Before anything is trained: that the folder could be written there, and how many bytes it will take. */
int64_t rt_model_out_check(const RtProgram *program, const RtOutRequest *request);
/* Returns the bytes written. */
int64_t rt_model_out(const char *checkpoint, const RtOutRequest *request);

#endif
