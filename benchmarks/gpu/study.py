"""``make gpu-study``: LLaMAs trained by FRUGAL and its neighbours on equal tokens, in pieces. See docs/gpu.md."""

from __future__ import annotations

import gc
import json
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
import typer

from benchmarks.gpu.methods import METHODS, PIECES, Trial, experiment, trials_of
from benchmarks.gpu.place import MIB, Deadline, machine, write
from benchmarks.gpu.study_report import curves, picture_of, report, table
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_gpu.train.speed import peak_flops
from frugal_gpu.train.start import corpus_of
from frugal_theory.commands.options import application, in_one_line
from frugal_theory.config import Experiment, Training
from frugal_theory.config.load import ExperimentError

SMOOTH = 25
"""The training loss that is given is the mean of so many last steps."""

SETTLED = 10
"""Steps before which no speed is measured: the first ones compile and allocate."""

Row = dict[str, Any]

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")]
Chosen = Annotated[int, typer.Option("--piece", help=f"Which piece: {', '.join(map(str, PIECES))}.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="No run but the first is begun that would end after these.")]
Tiny = Annotated[bool, typer.Option("--tiny", envvar="GPU_TINY", help="A tiny model and six steps: to try the code.")]


def study(out: Out = Path("runs/gpu-study"), piece: Chosen = 1, seconds: Seconds = 270, tiny: Tiny = False) -> int:
    """Train what is missing of a piece, and write the tables of all that is there. The same command goes on where it stopped.

    A run that breaks is told with its error, tried again by the next command, and stops none of the others.
    """
    if piece not in PIECES:
        raise ExperimentError(f"--piece {piece}: is none; allowed: {', '.join(map(str, PIECES))}")
    out = out / "tiny" if tiny else out  # beside real results, never among them
    deadline, last = Deadline(seconds), 0.0
    trials = list(trials_of(piece))
    for trial in _missing(trials, out):
        if last > 0 and deadline.left < 1.3 * last:
            break
        made = experiment(trial, tiny)
        _read(made, deadline)
        begin = time.monotonic()
        row = run(trial, made)
        last = time.monotonic() - begin
        _add(out, row)
        print(f"{deadline.used:6.1f} s  {trial.name}: {row['outcome']}, {last:.1f} s, {_said(row)}", flush=True)
    left = len(_missing(trials, out))
    print(f"\n{report(rows_of(out))}\n\n{deadline.used:.1f} s. Results: {out}")
    print(f"piece {piece}: {len(trials) - left} of {len(trials)} runs are done.{' The same command goes on.' if left else ''}")
    return 0


def _missing(trials: list[Trial], out: Path) -> list[Trial]:
    """Those that are not done: what broke is tried again."""
    done = {row["name"] for row in rows_of(out) if row["outcome"] != "failed"}
    return [trial for trial in trials if trial.name not in done]


def run(trial: Trial, made: Experiment) -> Row:
    """Train, and keep of it what the tables need. What diverges is a result as well: it has no losses."""
    gpu = torch.cuda.is_available() and (made.training or Training()).device != "cpu"
    torch.compiler.reset()
    gc.collect()  # what the run before has left
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    row: Row = {
        "name": trial.name,
        "piece": trial.piece,
        "preset": PIECES[trial.piece].preset,
        "method": trial.method,
        "rate": made.algorithm.learning_rate,
        "factor": trial.factor,
        "seed": trial.seed,
        "compiled": trial.compiled,
        "machine": machine() if gpu else {**machine(), "device": "CPU"},
    }
    with tempfile.TemporaryDirectory(prefix="gpu-study-") as place:  # a run that was cut off begins again: it takes seconds
        folder = Path(place) / "training"
        try:
            summary = train(made, folder).summary
            if not summary:
                raise KeyboardInterrupt  # the trainer ends in good order when it is interrupted
            row |= {"outcome": "trained", **_trained(summary, gpu), **_practice(folder, summary)}
        except ExperimentError as error:
            if "diverged" not in str(error):
                raise
            row |= {"outcome": "diverged", "what": str(error)}
        except Exception:  # out of memory, a kernel that the machine cannot run: the others are still worth their time
            return {**row, "outcome": "failed", "what": traceback.format_exc()[-3000:]}
        return {**row, **_logged(read_metrics(folder / "metrics.jsonl"), row)}


def _trained(summary: dict[str, Any], gpu: bool) -> Row:
    """Of the run's summary.json what the tables need. ``peak flops``: of the device, in bfloat16."""
    return {
        "parameters": summary["parameters"],
        "state bytes": summary["optimizer_state_bytes"],
        "flops a token": summary["flops_per_token"],
        "peak flops": peak_flops(torch.device("cuda", 0)) if gpu else None,
        "peak MiB": torch.cuda.max_memory_allocated() / MIB if gpu else None,
        "unigram perplexity": summary["unigram_perplexity"],
        "training seconds": summary["seconds"],
    }


def _practice(folder: Path, summary: dict[str, Any]) -> Row:
    """What the probes found, and what theorems make of it."""
    if "probe_share" not in summary:
        return {}
    found: Row = {"probe share": summary["probe_share"], "probe measurements": summary["probe_measurements"]}
    for name in ("constants", "verdicts"):
        path = folder / f"{name}.json"
        found[name] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found["verdicts"] is not None:
        found["verdict counts"] = dict(Counter(verdict["status"] for verdict in found["verdicts"]))
        found["verdicts"] = [{key: v[key] for key in ("theorem", "status", "reason")} for v in found["verdicts"]]
    if found["constants"] is not None:
        kept = {"smoothness": "L", "gap": "Δ"}
        found["constants"] = {
            **{symbol: found["constants"][key]["value"] for key, symbol in kept.items()},
            "σ²": found["constants"]["variance"]["total"],
            "noise": found["constants"]["noise"]["sentence"],
        }
    return found


def _logged(lines: list[dict[str, Any]], row: Row) -> Row:
    """Of the log: losses by step, and the speed of ordinary steps."""
    steps = [line for line in lines if "loss" in line]
    validation = {str(line["step"]): round(line["validation_loss"], 4) for line in lines if "validation_loss" in line}
    trained = row["outcome"] == "trained"
    speed = _speed(steps)
    known = trained and speed is not None and row["peak flops"] is not None
    return {
        "steps": len(steps),
        "tokens": steps[-1]["tokens"] if steps else 0,
        "losses": [round(line["loss"], 4) for line in steps],
        "validation": validation,
        "validation loss": list(validation.values())[-1] if trained else None,
        "training loss": round(mean(line["loss"] for line in steps[-SMOOTH:]), 4) if trained else None,
        "tokens a second": speed,
        "mfu": row["flops a token"] * speed / row["peak flops"] if known else None,
    }


def _speed(steps: list[dict[str, Any]]) -> float | None:
    """Tokens a second of training steps, without evaluations and probes, once the first steps are over."""
    if len(steps) < 2:
        return None
    first = min(SETTLED, len(steps) // 2)
    timed = steps[first:]
    probes = sum(line.get("probe_seconds", 0.0) for line in timed)
    taken = timed[-1]["seconds"] - steps[first - 1]["seconds"] - probes
    return round((timed[-1]["tokens"] - steps[first - 1]["tokens"]) / taken) if taken > 0 else None


def _read(made: Experiment, deadline: Deadline) -> None:
    """Tokenise the text before the first run that needs it, so that its time is no run's."""
    begin = deadline.used
    corpus = corpus_of(made, made.training or Training())
    if (taken := deadline.used - begin) > 1:
        print(f"{deadline.used:6.1f} s  text: {corpus.train.tokens:,} tokens, in {taken:.1f} s", flush=True)


def _said(row: Row) -> str:
    if row["outcome"] != "trained":
        return row["what"].strip().splitlines()[-1][:300]
    mfu = "" if row["mfu"] is None else f", MFU {100 * row['mfu']:.1f} %"
    return f"validation loss {row['validation loss']}, {row['tokens a second']:,} tokens/s{mfu}"


def _add(out: Path, row: Row) -> None:
    """Keep a run in the place of one of the same name, and write everything anew."""
    rows = [other for other in rows_of(out) if other["name"] != row["name"]] + [row]
    write(out / "study.json", rows)
    rows = rows_of(out)
    write(out / "study.md", report(rows))
    table(rows).to_csv(out / "study.csv", index=False)
    curves(rows).to_csv(out / "curves.csv", index=False)
    if (drawn := picture_of(rows)) is not None:
        (out / "curves.png").write_bytes(drawn)


def rows_of(out: Path) -> list[Row]:
    """What is done, piece by piece, in the order of the methods."""
    path = out / "study.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return sorted(rows, key=lambda row: (row["piece"], row["compiled"], row["factor"], row["seed"], _place(row["method"])))


def _place(method: str) -> int:
    return list(METHODS).index(method)


def main() -> None:
    """Exit status 0: done, or so far; 2: bad input; 130: interrupted."""
    app = application("Training with FRUGAL and its neighbours on equal tokens.")
    app.command()(study)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
