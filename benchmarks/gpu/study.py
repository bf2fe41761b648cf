"""``make gpu-study``: small LLaMAs trained by FRUGAL and its neighbours on equal tokens, in pieces. See docs/gpu.md."""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from benchmarks.gpu.methods import METHODS, PIECES, Trial, experiment
from benchmarks.gpu.place import MIB, Deadline, device, machine, write
from benchmarks.gpu.study_report import best_rows, report
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_theory.commands.options import application, in_one_line
from frugal_theory.config.load import ExperimentError

SMOOTH = 25
"""The training loss that is given is the mean of so many last steps."""

SETTLED = 20
"""Steps before which no speed is measured: the first ones compile and allocate."""

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")]
Chosen = Annotated[int, typer.Option("--piece", help=f"Which piece: {', '.join(map(str, PIECES))}.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="No run but the first is begun that would end after these.")]
Tiny = Annotated[bool, typer.Option("--tiny", envvar="GPU_TINY", help="A tiny model and six steps: to try the code.")]


def study(out: Out = Path("runs/gpu-study"), piece: Chosen = 1, seconds: Seconds = 270, tiny: Tiny = False) -> int:
    """Train what is missing of a piece, and write the table of all that is there. The same command goes on where it stopped."""
    if piece not in PIECES:
        raise ExperimentError(f"--piece {piece}: is none; allowed: {', '.join(map(str, PIECES))}")
    out = out / "tiny" if tiny else out  # beside real results, never among them
    deadline, last = Deadline(seconds), 0.0
    trials = list(trials_of(piece, out))
    for trial in trials:
        path = out / "runs" / f"{trial.name}.json"
        if path.exists():
            continue
        if last > 0 and deadline.left < 1.5 * last:
            break
        begin = time.monotonic()
        row = run(trial, out / "training" / trial.name, tiny)
        last = time.monotonic() - begin
        write(path, row)
        print(f"{deadline.used:6.1f} s  {trial.name}: {row['outcome']}, validation loss {row['validation loss']}", flush=True)
    rows = rows_of(out)
    done = sum(row["piece"] == piece for row in rows)
    pd.DataFrame(rows).drop(columns=["validation", "machine"], errors="ignore").to_csv(out / "study.csv", index=False)
    write(out / "study.json", rows)
    write(out / "study.md", report(rows))
    print(f"\n{report(rows)}\n\npiece {piece}: {done} of {len(trials)} runs are done. Results: {out}")
    if done < len(trials):
        print("The same command goes on.")
    return 0


def trials_of(number: int, out: Path) -> Iterator[Trial]:
    """The runs of a piece, every method at the first rate or seed before any at the next."""
    piece = PIECES[number]
    if piece.best_of is None:
        yield from (Trial(number, m, rate, seed) for rate in piece.rates for seed in piece.seeds for m in METHODS)
        return
    best = best_rows([row for row in rows_of(out) if row["piece"] == piece.best_of])
    if missing := [method for method in METHODS if method not in best]:
        raise ExperimentError(
            f"--piece {number}: takes the best rates of piece {piece.best_of}, which {out} lacks for {', '.join(missing)}; "
            f"run piece {piece.best_of} first"
        )
    yield from (Trial(number, m, best[m]["rate"], seed) for seed in piece.seeds for m in METHODS)


def run(trial: Trial, folder: Path, tiny: bool) -> dict[str, Any]:
    """Train, and keep of it what the tables need. What diverges is a result as well: it has no losses."""
    gpu = torch.cuda.is_available() and not tiny
    shutil.rmtree(folder, ignore_errors=True)  # a run that was cut off begins again: it takes seconds
    if gpu:
        gc.collect()  # what the run before has left
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    outcome, summary = "trained", {}
    try:
        summary = train(experiment(trial, tiny, gpu), folder).summary
        if not summary:
            raise KeyboardInterrupt  # the trainer ends in good order when it is interrupted
    except ExperimentError as error:
        if "diverged" not in str(error):
            raise
        outcome = "diverged"
    lines = read_metrics(folder / "metrics.jsonl")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    validation = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    steps = [line for line in lines if "loss" in line]
    trained = outcome == "trained"
    return {
        "piece": trial.piece,
        "preset": PIECES[trial.piece].preset,
        "method": trial.method,
        "rate": trial.rate,
        "seed": trial.seed,
        "outcome": outcome,
        "steps": len(steps),
        "tokens": steps[-1]["tokens"],
        "parameters": summary.get("parameters"),
        "validation": {str(step): loss for step, loss in validation.items()},
        "validation loss": round(validation[max(validation)], 4) if trained else None,
        "training loss": mean(line["loss"] for line in steps[-SMOOTH:]) if trained else None,
        "state bytes": summary.get("optimizer_state_bytes"),
        "tokens a second": _speed(steps),
        "peak MiB": torch.cuda.max_memory_allocated() / MIB if gpu else None,
        "machine": machine() if gpu else {**machine(), "device": str(device())},
    }


def _speed(steps: list[dict[str, Any]]) -> float | None:
    """Tokens a second of training steps, without evaluations, once the first steps are over."""
    begin = steps[min(SETTLED, len(steps) // 2)]
    taken = steps[-1]["seconds"] - begin["seconds"]
    return round((steps[-1]["tokens"] - begin["tokens"]) / taken) if taken > 0 else None


def rows_of(out: Path) -> list[dict[str, Any]]:
    """What is done, piece by piece, in the order of the methods."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in (out / "runs").glob("*.json")]
    return sorted(rows, key=lambda row: (row["piece"], list(METHODS).index(row["method"]), row["rate"], row["seed"]))


def main() -> None:
    """Exit status 0: done, or so far; 2: bad input; 130: interrupted."""
    app = application("Training with FRUGAL and its neighbours on equal tokens.")
    app.command()(study)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
