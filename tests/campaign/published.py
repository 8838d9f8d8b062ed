"""Imported models against transformers: small random models of every family that `rematc import` reads are
written as transformers writes them, every other one in shards, and the folders imported, built for the host and
trained for ten steps on the same tokens by both: whole, with low-rank adapters, where peft begins with the adapters
that the trainer begins with, and with these beside 4-bit weights, which bitsandbytes quantises there. The losses, the
first of which is the forward pass alone, the first gradient norm and, of adapters, the first gradient of each tensor must
agree. In bf16 both are held against transformers in f32 with the same weights, whole and with adapters that were trained
for an epoch: losses and gradients here may be no more than a quarter further away than transformers' own.

    python3 published.py REMATC WORK_DIR [MODEL...]      (needs torch, transformers, peft and bitsandbytes)
"""
import json
import math
import pathlib
import shutil
import subprocess
import sys

import peft
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GPT2Config, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config, Qwen3Config
from transformers.utils import logging

CONTEXT, BATCH, STEPS, RATE = 96, 4, 10, 1e-3
WINDOWS = 64  # whose losses in bf16 are compared
EACH_WINDOW = ["B=1", f"tokens_per_step={CONTEXT}"]
FIRST_LOSS, LATER_LOSS, GRADIENT = 1e-6, 3e-6, 1e-5  # relative differences that are allowed: rounding in f32
# with double quantisation: the mean of the scales is summed in another order, which moves a scale's code here and there
LOOSE_LOSS, LOOSE_GRADIENT = 1e-4, 1e-3
RANK, ALPHA = 4, {True: 12, False: 8}  # by whether rslora: scales of 6, and of 2, by which nothing is rounded
FOUR_BITS = ("llama", "llama3-tied", "qwen2", "qwen3", "mistral", "phi3")

SHAPE = dict(vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, dtype="float32")
LLAMA3 = dict(rope_type="llama3", rope_theta=1e3, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)

MODELS = {
    "llama": LlamaConfig(**SHAPE),
    "llama3-tied": LlamaConfig(**SHAPE, rope_parameters=LLAMA3, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "llama-linear-biases": LlamaConfig(**{**SHAPE, "num_key_value_heads": 4}, attention_bias=True, mlp_bias=True,
                                       rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=1e4)),
    "llama-narrow-heads": LlamaConfig(**SHAPE, head_dim=8),
    "llama-gelu": LlamaConfig(**SHAPE, hidden_act="gelu_pytorch_tanh"),
    "qwen2": Qwen2Config(**SHAPE, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen2-tied": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16),
    "qwen3-biases": Qwen3Config(**SHAPE, head_dim=32, attention_bias=True, tie_word_embeddings=True),
    "mistral": MistralConfig(**SHAPE, head_dim=16, sliding_window=None, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "phi3": Phi3Config(**SHAPE, pad_token_id=None),  # a row of the embedding that is padding has no gradient there
    "gpt2": GPT2Config(vocab_size=97, n_positions=128, n_embd=48, n_layer=3, n_head=4, resid_pdrop=0, embd_pdrop=0,
                       attn_pdrop=0, dtype="float32"),
    "gpt2-inner": GPT2Config(vocab_size=97, n_positions=96, n_embd=48, n_layer=2, n_head=3, n_inner=100, resid_pdrop=0,
                             embd_pdrop=0, attn_pdrop=0, tie_word_embeddings=False, dtype="float32"),
}


def random_model(config, seed):
    """Weights far from any convention, so that a gain, a bias or a norm in the wrong place shows."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(0, 0.12 if weight.dim() > 1 else 0.2)
            if "norm" in name or "ln_" in name:
                weight.add_(1 if name.endswith("weight") else 0)
    return model


def by_transformers(model, tokens):
    model.train()  # nothing is dropped; bitsandbytes has another path for inference
    windows = torch.stack([tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in range(BATCH)])
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    losses, norms, first = [], [], {}
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = model(windows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        losses.append(loss.item())
        norms.append(math.sqrt(sum(p.grad.pow(2).sum().item() for p in trained.values())))
        first = first or {name: p.grad.clone() for name, p in trained.items()}
        optimizer.step()
    return losses, norms, first


def build_program(rematc, folder, work, tokens, steps, *more):
    """A trainer of so many steps on the tokens, with plain settings, which `more` replaces; the place of its log."""
    data, program = work / "tokens.u16", work / "program"
    data.write_bytes(b"".join(int(t).to_bytes(2, "little") for t in tokens))
    settings = [f"B={BATCH}", f"T={CONTEXT}", f"tokens_per_step={BATCH * CONTEXT}", f"steps={steps}",
                f"optimizer.lr={RATE}", "schedule=constant", "clip_norm=0", f"data.train={data}", "validate=0", *more]
    flags = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([rematc, "build", folder, "-o", program, "--quiet", *flags], check=True,
                   stdout=subprocess.DEVNULL)
    return program, work / "log.jsonl"


def by_remat(rematc, folder, work, tokens, *more, goes_on=False):
    """Losses and gradient norms of a run: from the start, or from where the last of these stood, whose checkpoint stays."""
    program, log = build_program(rematc, folder, work, tokens, STEPS, *more)
    saves = work / ("saves on" if goes_on else "saves")
    shutil.rmtree(saves, ignore_errors=True)
    log.unlink(missing_ok=True)
    if goes_on:
        shutil.copytree(work / "saves", saves)
    subprocess.run([program / "train", "--quiet", "--log", log, "--save-dir", saves, "--resume" if goes_on else "--fresh"],
                   check=True, stderr=subprocess.DEVNULL if goes_on else None)  # a warning: the data is another
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    return [step["loss"] for step in steps], [step["grad_norm"] for step in steps]


def checkpoint(work, saves="saves"):
    paths = (work / saves).glob("step-*.safetensors")
    return load_file(max(paths, key=lambda path: int(path.stem.split("-")[1])))


def our_name(theirs):
    return theirs.removeprefix("base_model.model.").removeprefix("transformer.").replace(".default", "")


def adapters_setting(stabilized):
    return f"adapt=lora(rank={RANK}, alpha={ALPHA[stabilized]}{', rslora' if stabilized else ''})"


def with_adapters(model, work, stabilized):
    """The model with the adapters that are in a checkpoint of the trainer, and the gradients there: after a step
    with no learning rate the first moment is a tenth of it."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA[stabilized], target_modules="all-linear", use_rslora=stabilized,
                             fan_in_fan_out="gpt2" in work.name)
    adapted = peft.get_peft_model(model, config)  # adapters in f32, whatever the model is in
    saved, gradient = checkpoint(work), {}
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if not p.requires_grad:
                continue
            ours = our_name(name)
            p.copy_(saved[ours])
            gradient[name] = saved["m." + ours] / 0.1
    return adapted, gradient


def compare(name, ours, our_norms, theirs, their_norms, loose=False):
    apart = [abs(a - b) / b for a, b in zip(ours, theirs)]
    norm = abs(our_norms[0] - their_norms[0]) / their_norms[0]
    limits = (LOOSE_LOSS, LOOSE_LOSS, LOOSE_GRADIENT) if loose else (FIRST_LOSS, LATER_LOSS, GRADIENT)
    fine = len(ours) == STEPS and apart[0] < limits[0] and max(apart) < limits[1] and norm < limits[2]
    print(f"{name:28} loss {theirs[0]:.6f} -> {theirs[-1]:.6f}: first {apart[0]:.1e}, most {max(apart):.1e}, "
          f"gradient norm {norm:.1e} apart{'' if fine else '  FAILED'}", flush=True)
    return not fine


def compare_adapters(rematc, name, folder, place, model, tokens, stabilized, *more, loose=False):
    settings = [adapters_setting(stabilized), *more]
    by_remat(rematc, folder, place, tokens, *settings, "steps=1", "optimizer.lr=0")
    adapted, ours_first = with_adapters(model, place, stabilized)
    ours, our_norms = by_remat(rematc, folder, place, tokens, *settings)
    theirs, their_norms, first = by_transformers(adapted, tokens)
    failed = compare(name, ours, our_norms, theirs, their_norms, loose)
    for tensor, gradient in first.items():
        if (ours_first[tensor] - gradient).norm() > 1e-3 * gradient.norm():
            print(f"{name:28} the gradient of {tensor} differs  FAILED")
            failed = True
    trained = checkpoint(place)
    for tensor, p in adapted.named_parameters():
        # Adam makes as much of a small gradient as of a large one: where gradients are apart, so are steps
        if p.requires_grad and not loose and (p - trained[our_name(tensor)]).norm() > 1e-3 * p.norm():
            print(f"{name:28} {tensor} differs at the end  FAILED")
            failed = True
    return failed


def wide(config):
    """bitsandbytes dequantises on the CPU right where rows are whole blocks, and wrong where not."""
    return type(config)(**{**config.to_dict(), "hidden_size": 64, "intermediate_size": 128, "head_dim": 16})


def quantised(folder, double):
    packed = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double,
                                bnb_4bit_compute_dtype=torch.float32)
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=packed, dtype=torch.float32)


def four_bits(rematc, name, place, config, tokens):
    folder, failed = place / "model64", 0
    random_model(wide(config), 1).save_pretrained(folder)
    for double in (False, True):
        model = quantised(folder, double)
        failed += compare_adapters(rematc, name + (" nf4 double" if double else " nf4"), folder, place, model, tokens,
                                   False, f"frozen=nf4{'(double_quant)' if double else ''}", loose=double)
    return failed


def window_losses(model, tokens, cast):
    model.eval()
    windows = torch.stack([tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in range(WINDOWS)])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=cast):
        logits = model(windows[:, :-1], use_cache=False).logits.float()
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
    return flat.view(WINDOWS, -1).mean(1).double()


def gradients(model, tokens, cast):
    model.train()
    windows = torch.stack([tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in range(BATCH)])
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        logits = model(windows[:, :-1], use_cache=False).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten()).backward()
    return {our_name(name): p.grad.double() for name, p in model.named_parameters() if p.requires_grad}


def apart(these, exact):
    return math.sqrt(sum((these[n] - exact[n]).pow(2).sum().item() for n in exact) /
                     sum(exact[n].pow(2).sum().item() for n in exact))


def judge_rounding(name, tokens, our_losses, our_gradients, exact, theirs, cast=False):
    """Losses of windows, each once, in an order of the trainer's own: compared sorted by the exact loss."""
    want = window_losses(exact, tokens, False).sort()
    ours = (torch.tensor(our_losses, dtype=torch.float64).sort()[0] - want[0]).pow(2).mean().sqrt().item()
    their = (window_losses(theirs, tokens, cast)[want[1]] - want[0]).pow(2).mean().sqrt().item()
    precise = gradients(exact, tokens, False)
    our_gradient, their_gradient = apart(our_gradients(precise), precise), apart(gradients(theirs, tokens, cast), precise)
    fine = ours <= 1.25 * their and our_gradient <= 1.25 * their_gradient
    print(f"{name:28} loss {ours:.1e} from f32's, {ours / their:.2f} of transformers' own; gradient "
          f"{our_gradient:.1e}, {our_gradient / their_gradient:.2f}{'' if fine else '  FAILED'}", flush=True)
    return not fine


def rounded(folder, dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def rounding(rematc, name, place, folder, tokens):
    """Loss by loss over windows (a batch of one, a step each at no learning rate), and the gradient of a batch."""
    exact, theirs = (rounded(folder, dtype) for dtype in (torch.float32, torch.bfloat16))
    types = [f"dtype.{what}=bf16" for what in ("compute", "trained", "gradient")]
    losses = by_remat(rematc, folder, place, tokens, *types, *EACH_WINDOW, f"steps={WINDOWS}", "optimizer.lr=0")[0]
    by_remat(rematc, folder, place, tokens[: BATCH * CONTEXT + 1], *types, "steps=1", "optimizer.lr=0")
    saved = checkpoint(place)
    turned = {n for n, m in exact.named_modules() if type(m).__name__ == "Conv1D"}
    turned = {our_name(n) + ".weight" for n in turned}

    def here(names):
        moment = {n: saved["m." + n].double() / 0.1 for n in names}
        return {n: g.T if n in turned else g for n, g in moment.items()}

    return judge_rounding(name + " bf16", tokens, losses, here, exact, theirs)


def rounding_adapters(rematc, name, place, folder, tokens, stabilized):
    """The same with adapters that were trained for an epoch of windows. peft runs them as its users' trainers do:
    weights in f32, products under autocast."""
    types = ["dtype.compute=bf16", "dtype.frozen=bf16", "dtype.trained=f32", "dtype.gradient=f32", adapters_setting(stabilized)]
    by_remat(rematc, folder, place, tokens, *types, *EACH_WINDOW, f"steps={WINDOWS}", "optimizer.lr=0.003")
    before = checkpoint(place)
    exact, theirs = (with_adapters(rounded(folder, dtype), place, stabilized)[0]
                     for dtype in (torch.float32, torch.bfloat16))
    losses = by_remat(rematc, folder, place, tokens, *types, *EACH_WINDOW, f"steps={2 * WINDOWS}", "optimizer.lr=0",
                      goes_on=True)[0]
    by_remat(rematc, folder, place, tokens[: BATCH * CONTEXT + 1], *types, f"steps={WINDOWS + 1}", "optimizer.lr=0",
             goes_on=True)
    after = checkpoint(place, "saves on")

    def here(names):
        return {n: (after["m." + n].double() - 0.9 * before["m." + n].double()) / 0.1 for n in names}

    return judge_rounding(name + " bf16 lora", tokens, losses, here, exact, theirs, cast=True)


def main():
    only = sys.argv[3:]
    rematc, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    failed, tried = 0, 0
    logging.disable_progress_bar()
    for seed, (name, config) in enumerate(MODELS.items()):
        if only and name not in only:
            continue
        place = work / name
        shutil.rmtree(place, ignore_errors=True)
        folder = place / "model"
        model = random_model(config, seed)
        if seed % 2:
            model.save_pretrained(folder, max_shard_size="60KB")
            assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
        else:
            model.save_pretrained(folder)
        tokens = torch.randint(0, config.vocab_size, (BATCH * CONTEXT + 1,))
        failed += compare(name, *by_remat(rematc, folder, place, tokens), *by_transformers(model, tokens)[:2])
        fresh = AutoModelForCausalLM.from_pretrained(folder)
        failed += compare_adapters(rematc, name + " lora", folder, place, fresh, tokens, seed % 2 == 1)
        folder = place / "rounded"
        random_model(config, seed).to(torch.bfloat16).save_pretrained(folder)
        torch.manual_seed(seed)
        many = torch.randint(0, config.vocab_size, (WINDOWS * CONTEXT + 1,))
        failed += rounding(rematc, name, place, folder, many)
        failed += rounding_adapters(rematc, name, place, folder, many, seed % 2 == 1)
        tried += 4
        if name in FOUR_BITS:
            failed += four_bits(rematc, name, place, config, tokens)
            tried += 2
    print(f"{tried - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
