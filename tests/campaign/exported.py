"""What is handed on, in the tools that it is for: small random models of every imported family are trained for ten
steps, whole, with adapters, with adapters beside NF4 weights, with a norm trained beside adapters, and written out as
a model, in shards where the base is in shards, and as an adapter. transformers and peft must load both without a word,
under the base's names and shapes; their logits must agree with each other (but for 4-bit weights, beside which an adapter
has another base), and their loss with that of the trainer's next step. Adapters over weights that bitsandbytes saved in
4 bits are merged with these, where PEFT must agree with them apart, and with the weights as they were, as PEFT does.

    python3 exported.py REMATC WORK_DIR [MODEL...]       (needs torch, transformers, peft, bitsandbytes and safetensors)
"""
import json
import pathlib
import shutil
import subprocess
import sys
import warnings

import peft
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from published import BATCH, CONTEXT, FOUR_BITS, MODELS, STEPS, build_program, quantised, random_model, wide

LOGITS, LOSS = 1e-4, 1e-5  # differences that are allowed: of logits, and of the loss, which is their mean
INDEX = "model.safetensors.index.json"
LORA = "adapt=lora(rank = 4, alpha = 6{})"


def train(rematc, folder, place, tokens, *more):
    """Losses of the steps, and of one more from the last checkpoint."""
    program, log = build_program(rematc, folder, place, tokens, STEPS + 1, *more)
    save = ["--save-dir", place / "saves"]
    subprocess.run([program / "train", "--quiet", "--steps", str(STEPS), "--fresh", *save], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.copytree(place / "saves", place / "ten")
    subprocess.run([program / "train", "--quiet", "--log", log, *save], check=True)
    return [json.loads(line)["loss"] for line in log.read_text().splitlines() if '"loss"' in line][-1]


def export(rematc, place, name, *more):
    subprocess.run([rematc, "export", place / "ten", "-o", place / name, *more], check=True, stdout=subprocess.DEVNULL)
    return place / name


def load(folder):
    """The model, and whether a tensor was missing, unexpected or of another shape."""
    model, said = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    return model.eval(), all(not said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def logits_and_loss(model, tokens):
    windows = torch.stack([tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in range(BATCH)])
    with torch.no_grad():
        logits = model(windows[:, :-1], use_cache=False).logits
    return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).item()


def tensors_of(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def with_adapter(model, adapter):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns of adapters that find no place
        warnings.simplefilter("ignore", FutureWarning)
        return peft.PeftModel.from_pretrained(model, adapter)


def compare_saved(rematc, name, place, config, tokens, double):
    """Over a folder of 4-bit weights: merged with these, beside them in PEFT, and merged with the weights as they were,
    there and here."""
    shutil.rmtree(place, ignore_errors=True)
    random_model(wide(config), 1).save_pretrained(place / "whole")
    quantised(place / "whole", double).save_pretrained(place / "saved")
    ours = train(rematc, place / "saved", place, tokens, LORA.format(""), "optimizer.lr=1e-2")
    model, whole = load(export(rematc, place, "merged"))
    adapter = export(rematc, place, "adapter", "--adapter")
    logits, loss = logits_and_loss(model, tokens)
    # in training bitsandbytes goes the way that is right for any shape; nothing is dropped
    beside = with_adapter(quantised(place / "whole", double), adapter).train()
    other = (logits_and_loss(beside, tokens)[0] - logits).abs().max().item()
    model, all_found = load(export(rematc, place, "onto", "--unquantised", "--onto", place / "whole"))
    theirs = with_adapter(load(place / "whole")[0], adapter).merge_and_unload().eval()
    onto = logits_and_loss(model, tokens)[0]
    there = (logits_and_loss(theirs, tokens)[0] - onto).abs().max().item()
    moved = (onto - logits).abs().max().item()
    fine = whole and all_found and abs(loss - ours) < LOSS and max(other, there) < LOGITS < moved
    print(f"{name:32} loss {ours:.6f}: {abs(loss - ours):.1e} apart; logits of adapter and merged {other:.1e}, of both "
          f"onto the weights as they were {there:.1e} apart, which are {moved:.1e} from 4 bits"
          f"{'' if fine else '  FAILED'}", flush=True)
    return not fine


def compare(rematc, name, folder, place, tokens, adapted, quantised, *more):
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    ours = train(rematc, folder, place, tokens, *more)
    merged = export(rematc, place, "merged", *(["--shard-size", "60KB"] if (folder / INDEX).exists() else []))
    base, out = tensors_of(folder), tensors_of(merged)
    same = base.keys() == out.keys() and all(base[k].shape == out[k].shape and base[k].dtype == out[k].dtype
                                             for k in base)
    model, whole = load(merged)
    whole &= (merged / INDEX).exists() == (folder / INDEX).exists()
    logits, loss = logits_and_loss(model, tokens)
    apart, other = abs(loss - ours), 0.0
    if adapted:
        adapter = export(rematc, place, "adapter", "--adapter")
        beside = with_adapter(load(folder)[0], adapter).eval()
        wanted = set(peft.get_peft_model_state_dict(beside))
        whole &= wanted == set(load_file(adapter / "adapter_model.safetensors"))
        if not quantised:
            other = (logits_and_loss(beside, tokens)[0] - logits).abs().max().item()
    fine = same and whole and apart < LOSS and other < LOGITS
    print(f"{name:32} loss {ours:.6f}: {apart:.1e} apart; logits of adapter and merged {other:.1e} apart"
          f"{'' if same else ', other tensors'}{'' if whole else ', not all found'}{'' if fine else '  FAILED'}", flush=True)
    return not fine


def main():
    only = sys.argv[3:]
    rematc, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    failed = tried = 0
    logging.disable_progress_bar()
    for seed, (name, config) in enumerate(MODELS.items()):
        if only and name not in only:
            continue
        folder = work / name / "model"
        shutil.rmtree(work / name, ignore_errors=True)
        model = random_model(config, seed)
        model.save_pretrained(folder, **({"max_shard_size": "60KB"} if seed % 2 else {}))
        tokens = torch.randint(0, config.vocab_size, (BATCH * CONTEXT + 1,))
        norm = "adapt.train=*ln_f" if "gpt2" in name else "adapt.train=model.norm"
        runs = {"whole": (False, False), "lora": (True, False, LORA.format("")),
                "rslora and a norm": (True, False, LORA.format(", rslora"), norm),
                "lora on one": (True, False, LORA.format(""),
                                "adapt.on=" + ("*.c_attn" if "gpt2" in name else "*.1.self_attn.qkv_proj" if "phi3" in name else
                                              "*.1.self_attn.{q,v}_proj")),
                "qlora": (True, True, LORA.format(""), "dtype.frozen=nf4")}
        for run, settings in runs.items():
            place = work / name / run.replace(" ", "-")
            failed += compare(rematc, f"{name} {run}", folder, place, tokens, *settings)
            tried += 1
        for double in (False, True) if name in FOUR_BITS else ():
            run = "saved nf4 double" if double else "saved nf4"
            failed += compare_saved(rematc, f"{name} {run}", work / name / run.replace(" ", "-"), config, tokens, double)
            tried += 1
    print(f"{tried - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
