#!/usr/bin/env python3
"""Plans from published configurations alone: published_plans.py REMATC SOURCE_DIR WORK [BEFORE].

Four models on three cards, trained whole, with LoRA and with QLoRA: how long each of the 36 plans takes, the median of
REMAT_CAMPAIGN_TIMES (3), against one second, and that each ends with exit 0 or 3. With BEFORE, another build of rematc, in turn
with it: whether both give the same bytes, and where not, in which figures they differ. REMAT_CAMPAIGN_ONLY names some models."""
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

rematc, source, work = (pathlib.Path(path).resolve() for path in sys.argv[1:4])
builds = [rematc] + [pathlib.Path(path).resolve() for path in sys.argv[4:5]]
times = int(os.environ.get("REMAT_CAMPAIGN_TIMES", 3))
work.mkdir(parents=True, exist_ok=True)
os.chdir(work)
MODELS = ["Llama-3.2-1B", "Qwen3-4B", "Qwen2.5-7B", "Llama-3.1-8B"]
LORA = ["--set", "adapt=lora(rank = 16)"]
WAYS = {"full": [], "lora": LORA, "qlora": LORA + ["--set", "dtype.frozen=nf4(double_quant)"]}
only = os.environ.get("REMAT_CAMPAIGN_ONLY", " ".join(MODELS)).split()


def plan(build, model, device, way):
    """Seconds on the clock and of the processor, the exit code and what was printed."""
    command = [str(build), "plan", str(source / "tests/cases/import" / model), "--device", device, "--json"] + WAYS[way]
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, capture_output=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, ran.returncode, ran.stdout + ran.stderr


def leaves(value, name=""):
    """The figures of a JSON text by their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{i}]")
    else:
        yield name, value


def figures(text):
    try:
        return dict(leaves(json.loads(text[:text.rindex(b"}") + 1])))
    except ValueError:
        return {"text": text}


failed, late, different, sums = 0, 0, 0, [0.0] * len(builds)
print(f"{'':34}" + "".join(f"{name:>20}" for name in ["seconds (processor)", "before"][:len(builds)]))
for model in [name for name in MODELS if name in only]:
    for way in WAYS:
        for device in ["rtx3060", "rtx4090", "h100"]:
            runs = [[plan(build, model, device, way) for build in builds] for _ in range(times)]
            medians = [[statistics.median(run[b][k] for run in runs) for k in range(2)] for b in range(len(builds))]
            code, said = runs[0][0][2:]
            print(f"{model:14} {way:6} {device:8} exit {code}" + "".join(f"{m[0]:12.2f} ({m[1]:.2f})" for m in medians), flush=True)
            failed += code not in (0, 3) or any(run[0][3] != said for run in runs)
            late += medians[0][0] > 1
            sums = [total + m[0] for total, m in zip(sums, medians)]
            if len(builds) == 1 or said == runs[0][1][3]:
                continue
            different += 1
            now, then = figures(said), figures(runs[0][1][3])
            for name in sorted(set(now) | set(then), key=str):
                if now.get(name) != then.get(name):
                    print(f"    {name}: {then.get(name)} -> {now.get(name)}")
print("in all: " + ", before: ".join(f"{total:.1f} s" for total in sums) +
      f"; {late} take more than 1 s, {failed} failed" + (f", {different} differ" if len(builds) > 1 else ""))
sys.exit(1 if failed else 0)
