#!/usr/bin/env python3
"""How true plans are on this computer: fidelity.py REMATC SGEMM SOURCE WORK [-o FILE] [--models a,b]
[--budgets N] [--seconds N]

Six models at some budgets each (four where nothing is said), from the smallest to all kept. `rematc tune` measures their operations into one profile
a model; then every program runs in turn with the others of its model, and what the plan says is held against what the
run says: its peak to the byte, its step time as planned with the profile and from the device's figures alone. Where the
plan without the profile is another one, that program runs in turn with it too: plans that were tuned are no slower. Seconds
are normalised by a reference product (SGEMM, tests/bench/sgemm.c) timed beside each run and beside tuning, of the shape
of the model's own: what else runs on a shared machine slows products in cache by 4%, those from memory by 20% and steps by
something in between, for seconds at a time. So runs are short and many; a profile counts when the product is as fast
before and after as it ever was, and a run when it is as fast as at tuning, or else both are made again, some times.
Wants a quiet machine; half an hour. Exit 1 where a peak differs."""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import statistics
import struct
import subprocess
import sys

STEPS = 8  # of a run; the first two are not counted
ROUNDS = 4, 15  # runs of a program, at least and at most
TUNES = 6   # at most, until nothing of a plan is assumed
STEADY, AGAIN = 0.05, 4  # how far rates may be apart, and after how many profiles, or runs, one is taken as it is
REFERENCE_FLOPS = 4e10
CLOSE, WORST, UNTUNED = 0.05, 0.10, 0.25  # what is counted
APART = 0.03  # plans whose order is compared


def replace(text, *changes):
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text, flags=re.M)
        if not count:
            sys.exit(f"fidelity: '{pattern}' is not in the file")
    return text


# examples, made small enough for a step a second on this computer
HOST, ANY_BUDGET = (r"^device .*", "device host"), (r"^budget .*\n", "")
NO_WEIGHTS, NO_MASK = (r"^weights .*\n", ""), (r", mask = data.loss_mask", "")


def small(tokens, *changes, **dims):
    """A step of so many tokens, other dims, and data that is there."""
    sizes = tuple((rf"\b{name} = [^ \n]+", f"{name} = {value}") for name, value in dims.items())
    return (HOST, ANY_BUDGET, (r"^data .*", 'data { train "tokens.u16" u16 }'), (r"^save .*\n", ""),
            (r"tokens_per_step \d+", f"tokens_per_step {tokens}"), *sizes, *changes)


# example, changes, and the shape of its first product in an MLP: tokens, F, D
MODELS = {
    "bytes-gpt": ("bytes-gpt", (HOST, ANY_BUDGET), (2048, 512, 128)),
    "gpt2 6 layers f32": ("gpt2-124m", small(1024, V=8192, L=6, B=4, T=256), (1024, 3072, 768)),
    "gpt2 6 layers bf16": ("gpt2-124m", small(2048, (r"compute f32", "compute bf16"), V=8192, L=6, B=8, T=256),
                           (2048, 3072, 768)),
    "qwen2 8 layers": ("qwen2-0.5b", small(512, NO_WEIGHTS, NO_MASK, V=16384, D=448, F=2432, L=8, H=7, K=1, B=2, T=256),
                       (512, 2432, 448)),
    "llama3 8 layers bf16": ("llama3-8b", small(512, NO_WEIGHTS, NO_MASK, V=16384, D=512, F=1408, L=8, H=8, K=4, B=2, T=256),
                             (512, 1408, 512)),
    "llama3 accumulated": ("llama3-8b", small(1024, NO_WEIGHTS, NO_MASK, (r"compute bf16", "compute f32"),
                                              (r"trained bf16  gradient bf16", "trained f32  gradient f32"),
                                              V=8192, D=384, F=1024, L=12, H=6, K=2, B=1, T=512),
                           (512, 1024, 384)),
}


class Bench:
    def __init__(self, options):
        self.rematc, self.sgemm = (str(pathlib.Path(path).resolve()) for path in (options.rematc, options.sgemm))
        self.source, self.seconds = pathlib.Path(options.source).resolve(), options.seconds
        self.budgets, self.apart = options.budgets, options.apart
        self.work = pathlib.Path(options.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        os.chdir(self.work)
        os.environ["OBJ"] = str(self.work / "obj")
        values = random.Random(1)
        with open("tokens.u16", "wb") as file:
            file.write(b"".join(struct.pack("<H", int(values.random() ** 3 * 250)) for _ in range(200000)))
        pathlib.Path("corpus.txt").write_bytes(bytes(int(32 + values.random() * 90) for _ in range(200000)))

    def call(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"fidelity: {' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def rate(self):
        """GFLOP/s of the reference product, now."""
        rows, columns, depth = self.product
        runs = min(max(int(REFERENCE_FLOPS / (2 * rows * columns * depth)), 3), 101)
        return float(self.call(self.sgemm, runs, rows, columns, depth))

    def plan(self, spec, *words):
        return json.loads(self.call(self.rematc, "plan", spec, "--json", *words))

    def tune(self, spec, profile, budgets):
        """A profile, and the reference product's rate while it was made."""
        best = max(self.rate() for _ in range(10))
        for _ in range(AGAIN):
            pathlib.Path(profile).unlink(missing_ok=True)
            rates = [self.rate()]
            for budget in budgets:
                for _ in range(TUNES):
                    known = ["--profile", profile] if pathlib.Path(profile).exists() else []
                    if known and self.plan(spec, "--budget", budget, *known).get("measured_share", 0) >= 0.9999:
                        break
                    self.call(self.rematc, "tune", spec, "--budget", budget, *known, "-o", profile, "--folder", "tune", "--force",
                              "--", "--each", "0.15")
                    rates.append(self.rate())
            best = max(best, *rates)
            if min(rates) >= best * (1 - STEADY):
                break
        return statistics.median(rates)

    def build(self, spec, program, *words):
        """What the program does, in order."""
        self.call(self.rematc, "build", spec, *words, "-o", program, "--force", "--quiet")
        train = json.loads(pathlib.Path(program, "plan.json").read_text())["train"]
        return train["batch"], [(step["step"], step.get("node"), step.get("storage")) for step in train["steps"]]

    def run(self, program, tuned_at):
        """Seconds of its steps, normalised, and the peaks it says it took."""
        for _ in range(AGAIN):
            before, (seconds, peaks), after = self.rate(), self.run_once(program), self.rate()
            if max(abs(before / tuned_at - 1), abs(after / tuned_at - 1)) <= STEADY:
                break
        rate = (before + after) / 2
        return [s * rate for s in seconds], peaks

    def run_once(self, program):
        log = self.work / "run.jsonl"
        log.unlink(missing_ok=True)
        self.call(f"./{program}/train", "--steps", STEPS, "--sample", 0, "--quiet", "--fresh", "--log", log)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        seconds = [line["step_seconds"] for line in lines if "step_seconds" in line][2:]
        last = next(line for line in lines if "measured_process_bytes" in line)
        self.beside = max(self.beside, abs(last["measured_process_bytes"] - last["planned_process_bytes"]))
        return seconds, {line["measured_bytes"] for line in lines if "measured_bytes" in line}


def budgets_apart(bench, spec, low, high):
    """As many as have plans that are planned APART of each other; more of them are looked at where memory is short."""
    looked, chosen = 120, []
    for i in range(looked, -1, -1):
        budget = low + int((high - low) * (i / looked) ** 3)
        seconds = bench.plan(spec, "--budget", f"{budget}B")["seconds"]
        if not chosen or seconds >= chosen[-1][0] * (1 + APART):
            chosen.append((seconds, budget))
    return [f"{budget}B" for _, budget in reversed(chosen)]


def measure(bench, name):
    example, changes, bench.product = MODELS[name]
    spec = name.replace(" ", "-") + ".remat"
    pathlib.Path(spec).write_text(replace((bench.source / "examples" / f"{example}.remat").read_text(), *changes))
    whole = bench.plan(spec)
    low, high = whole["smallest_bytes"], whole["keep_all_bytes"]
    low += (high - low) // 20  # other times, other plans: the very smallest one may pack a little worse
    if bench.apart:
        budgets = budgets_apart(bench, spec, low, high)
    else:
        budgets = [f"{low + (high - low) * i // (bench.budgets - 1)}B" for i in range(bench.budgets)]
    profile = spec.replace(".remat", ".profile")
    tuned_at = bench.tune(spec, profile, budgets)
    rows = []
    for i, budget in enumerate(budgets):
        with_profile = bench.plan(spec, "--budget", budget, "--profile", profile)
        program = spec.replace(".remat", f".{i}")
        tuned = bench.build(spec, program, "--budget", budget, "--profile", profile)
        other = not bench.apart and bench.build(spec, program + "u", "--budget", budget) != tuned
        rows.append({"model": name, "budget": int(budget[:-1]), "program": program, "planned": with_profile["seconds"],
                     "peak": with_profile["peak_bytes"], "share": with_profile["measured_share"],
                     "untuned": bench.plan(spec, "--budget", budget)["seconds"], "work": [], "bytes": [],
                     "other": program + "u" if other else None, "other_work": []})
    rounds = min(max(int(bench.seconds / (STEPS * rows[0]["planned"])), ROUNDS[0]), ROUNDS[1])
    for _ in range(rounds):
        for row in rows:
            bench.beside = 0
            work, size = bench.run(row["program"], tuned_at)
            row["work"] += work
            row["bytes"] = sorted({*row["bytes"], *size})
            row["beside"] = max(row.get("beside", 0), bench.beside)
            if row["other"]:
                row["other_work"] += bench.run(row["other"], tuned_at)[0]
    for row in rows:
        seconds = sorted(work / tuned_at for work in row["work"])
        row["measured"] = statistics.median(seconds)
        row["gain"] = statistics.median(row["other_work"]) / statistics.median(row["work"]) if row["other"] else None
        row["spread"] = seconds[len(seconds) * 9 // 10] / seconds[len(seconds) // 10]
        print(f"{row['model']:24} {row['budget']:12} planned {row['planned']:.4f} s, measured {row['measured']:.4f} s "
              f"({row['planned'] / row['measured'] - 1:+.1%}), untuned {row['untuned']:.4f} s, "
              f"peak {'equal' if row['bytes'] == [row['peak']] else row['bytes']}, {len(seconds)} steps", flush=True)
    return rows


def spearman(first, second):
    def ranks(values):
        order = sorted(range(len(values)), key=values.__getitem__)
        return [order.index(i) for i in range(len(values))]
    a, b = ranks(first), ranks(second)
    n = len(a)
    return 1 - 6 * sum((x - y) ** 2 for x, y in zip(a, b)) / (n * (n * n - 1))


def mib(size):
    return f"{size / 2**20:,.1f}"


def report(rows, path, profile_line):
    errors = [row["planned"] / row["measured"] - 1 for row in rows]
    steady = [error for error, row in zip(errors, rows) if row["spread"] <= 1.05]
    untuned = [abs(row["untuned"] / row["measured"] - 1) for row in rows]
    gains = [row["gain"] for row in rows if row["gain"]]
    equal = sum(row["bytes"] == [row["peak"]] for row in rows)

    def within(values, bound):
        return sum(abs(value) <= bound for value in values)
    out = ["# Plans against runs", "",
           "Made by tests/campaign/fidelity.py (`ninja fidelity`), which says what is measured and how.", "",
           f"- {datetime.date.today()}, {profile_line}",
           f"- {len(rows)} programs, {min(len(row['work']) for row in rows)} to {max(len(row['work']) for row in rows)} counted"
           f" steps of each, in runs of {STEPS - 2} in turn with the others of their model; measured is the median",
           f"- peaks: {equal} of {len(rows)} as planned, to the byte; the whole process at most"
           f" {max(row['beside'] for row in rows) / 2**20:.1f} MiB off",
           f"- step time after `rematc tune`: within 5% at {within(errors, CLOSE)} of {len(rows)}, within 10% at"
           f" {within(errors, WORST)}; median of errors {statistics.median(errors):+.1%}, extremes {min(errors):+.1%} and"
           f" {max(errors):+.1%}",
           f"- of the {len(steady)} whose steps' 90th and 10th percentiles are within 5% of each other: within 5% at"
           f" {within(steady, CLOSE)}, within 10% at {within(steady, WORST)}",
           f"- from the device's figures alone: within 25% at {within(untuned, UNTUNED)} of {len(rows)}, the worst {max(untuned):.0%}",
           f"- the plan without the profile is another one at {len(gains)} of {len(rows)}"
           + (f"; its steps take {min(gains) - 1:+.1%} to {max(gains) - 1:+.1%} of the tuned one's, {statistics.median(gains) - 1:+.1%} in the median"
              if gains else ""), "",
           "| model | budget MiB | peak MiB, planned | measured | tuned ms | measured ms | error | p90/p10 | untuned ms | error | its plan |",
           "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row, error in zip(rows, errors):
        took = "equal" if row["bytes"] == [row["peak"]] else ", ".join(mib(size) for size in row["bytes"])
        out.append(f"| {row['model']} | {mib(row['budget'])} | {mib(row['peak'])} | {took} | {1e3 * row['planned']:.1f} |"
                   f" {1e3 * row['measured']:.1f} | {error:+.1%} | {row['spread']:.2f} | {1e3 * row['untuned']:.1f} |"
                   f" {row['untuned'] / row['measured'] - 1:+.0%} |"
                   f" {'the same' if not row['gain'] else format(row['gain'] - 1, '+.1%')} |")
    out += ["", f"Order of a model's plans by planned and by measured time (Spearman), of those that are planned at least {APART:.0%} apart:", ""]
    for model in dict.fromkeys(row["model"] for row in rows):
        own = []
        for row in sorted((row for row in rows if row["model"] == model), key=lambda row: row["planned"]):
            if not own or row["planned"] >= own[-1]["planned"] * (1 + APART):
                own.append(row)
        order = f"{spearman([row['planned'] for row in own], [row['measured'] for row in own]):.2f}" if len(own) > 1 else "-"
        out.append(f"- {model}: {order}, {len(own)} plans")
    pathlib.Path(path).write_text("\n".join(out) + "\n")
    print("\n".join(out))
    return equal == len(rows)


def main():
    parser = argparse.ArgumentParser()
    for name in ("rematc", "sgemm", "source", "work"):
        parser.add_argument(name)
    parser.add_argument("-o", default="fidelity.md")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--budgets", type=int, default=4)
    parser.add_argument("--apart", action="store_true", help="as many budgets as have plans 3%% apart")
    parser.add_argument("--seconds", type=int, default=25, help="of steps of each program, about")
    options = parser.parse_args()
    if unknown := set(options.models.split(",")) - set(MODELS):
        sys.exit(f"fidelity: no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    target = pathlib.Path(options.o).resolve()
    bench = Bench(options)
    # a run that was stopped goes on with `--models` of those that it lacked: rows of the same rematc count
    rematc = hashlib.sha256(pathlib.Path(bench.rematc).read_bytes()).hexdigest()
    saved = bench.work / "rows.json"
    before = json.loads(saved.read_text()) if saved.exists() else {}
    models = before["models"] if before.get("rematc") == rematc else {}
    for name in options.models.split(","):
        models[name] = measure(bench, name)
        saved.write_text(json.dumps({"rematc": rematc, "models": models}))
    rows = [row for name in MODELS if name in models for row in models[name]]
    origin = next(line for path in bench.work.glob("*.profile") for line in path.read_text().splitlines() if line.startswith("origin"))
    words = dict(word.split("=", 1) for word in origin.split() if "=" in word)
    machine = f"{words['card'].replace('_', ' ')}, {words['driver'].replace('_', ' ')}, {words['compiler']}"
    return 0 if report(rows, target, machine) else 1


if __name__ == "__main__":
    sys.exit(main())
