"""The command line: frugal-gpu. Heavy libraries are imported once the experiment file has been read without error."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from frugal_gpu.commands.bench import bench
from frugal_gpu.commands.compare import compare
from frugal_gpu.commands.memory import memory
from frugal_gpu.commands.plan import plan
from frugal_gpu.commands.study import study
from frugal_gpu.commands.systems import systems
from frugal_gpu.commands.use import evaluate, export, generate
from frugal_gpu.train.together import main_process
from frugal_theory.commands.options import INTERRUPTED, ExperimentFile, Out, Settings, application, in_one_line
from frugal_theory.config.cells import label
from frugal_theory.config.load import ExperimentError, cells, dump, load, parse_overrides
from frugal_theory.config.one_line import printable
from frugal_theory.results.files import missing_folders, remove_empty, write_text

if TYPE_CHECKING:
    from frugal_gpu.train.loop import Outcome
    from frugal_theory.config import Experiment

__all__ = ["app", "main"]

TRAINED = ("seed", "algorithm", "adapter", "model", "data", "training", "probes")
"""Tables of the experiment file that a training reads."""

app = application("Train LLaMA models with the FRUGAL algorithm family.", several=True)


def main() -> None:
    """Entry point. Exit status 0: done; 2: bad input or results that cannot be written; 130: interrupted."""
    for library in ("torchao", "torch.utils._pytree"):  # transformers imports torchao where it is, which then tells of itself
        logging.getLogger(library).setLevel(logging.ERROR)
    in_one_line(lambda: app(standalone_mode=False), quiet=not main_process())


@app.command()
def train(
    experiment: ExperimentFile,
    settings: Settings = None,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run from its last checkpoint.")] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Train every cell of the sweep, each in training/CELL, not the file's own settings.")
    ] = False,
) -> None:
    """Train the experiment's model with its algorithm; results in DIR/training.

    A run that is complete is not repeated. An unfinished one is continued with --resume and refused without it. Ctrl-C
    ends the running step, writes a checkpoint and says how to continue (exit status 130).
    """
    loaded = load(experiment, parse_overrides(settings or []))
    folder = out or Path("runs") / loaded.name
    runs, made = _runs(loaded, folder / "training", sweep), missing_folders(folder)
    try:
        from frugal_gpu.train.lock import alone, refuse_if_busy
        from frugal_gpu.train.loop import check

        refuse_if_busy(folder)
        for each, place in runs:
            check(each, place, resume)
        with alone(folder) if main_process() else nullcontext():
            if main_process():
                write_text(folder / "experiment.toml", dump(loaded))
            for each, place in runs:
                _train_one(each, place, resume)
    except ExperimentError as error:
        if made and main_process():
            _leave_nothing(folder, made)
        raise ExperimentError(f"{experiment}: {error}") from None


app.command()(memory)
app.command()(bench)
app.command()(systems)
app.command()(evaluate)
app.command()(export)
app.command()(generate)
app.command()(compare)
app.command()(study)
app.command()(plan)


def _leave_nothing(folder: Path, made: list[Path]) -> None:
    """Remove the folders that were ``made`` for a training that could not begin, if they hold no more than was asked for."""
    from frugal_gpu.train.lock import LOCK

    found = list(folder.rglob("*"))
    files = [path for path in found if not path.is_dir()]
    if any(path.name not in (LOCK, "experiment.toml") for path in files):
        return
    for path in files:
        path.unlink()
    remove_empty([*sorted((path for path in found if path not in files), reverse=True), *made])


def _runs(experiment: Experiment, folder: Path, sweep: bool) -> list[tuple[Experiment, Path]]:
    """The experiments to train and their folders."""
    if not sweep:
        return [(experiment.model_copy(update={"sweep": {}, "cases": []}), folder)]
    return [(each, folder / (_slug(name) or ".")) for name, each in _distinct(experiment).items()]


def _distinct(experiment: Experiment) -> dict[str, Experiment]:
    """The cells that are trainings of their own, by name: what only theory reads makes no other training, nor another name."""
    from frugal_gpu.train.run_folder import settings_of

    found: dict[str, dict[str, list[tuple[str, Experiment]]]] = {}
    for cell in cells(experiment):
        own = {key: value for key, value in cell.settings.items() if key.split(".")[0] in TRAINED}
        same = found.setdefault(label(own), {})
        same.setdefault(json.dumps([settings_of(cell.experiment), str(cell.experiment.probes)]), []).append(
            (cell.label, cell.experiment)
        )
    return {name if len(same) == 1 else first[0]: first[1] for name, same in found.items() for first, *_ in same.values()}


def _slug(label: str) -> str:
    """A cell's label as a folder name: ``density = 0.5, beta = 0.9`` to ``density-0.5_beta-0.9``."""
    return re.sub(r"[^\w.+-]+", "-", label.replace(" = ", "-").replace(", ", "_")).strip("-")


def _train_one(experiment: Experiment, folder: Path, resume: bool) -> None:
    from frugal_gpu.train.loop import train as run
    from frugal_gpu.train.progress import Progress

    console = Console(quiet=not main_process())
    outcome = run(experiment, folder, resume, Progress(console))
    if outcome.status == "interrupted":
        kept = f"step {outcome.step} is kept in {printable(str(folder))}" if outcome.step else "no step was finished"
        if main_process():
            print(f"interrupted: {kept}; the same command with --resume continues", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    _print_outcome(console, outcome)


def _print_outcome(console: Console, outcome: Outcome) -> None:
    summary = outcome.summary
    if outcome.status == "already complete":
        where = printable(str(outcome.folder))
        console.print(
            f"{where}: already complete; give another --out to train again", highlight=False, soft_wrap=True, markup=False
        )
    console.print(_result(summary), highlight=False, soft_wrap=True)
    held, adamw = summary["optimizer_state_bytes"], summary["adamw_state_bytes"]
    console.print(
        f"{summary['tokens']:,} tokens in {summary['seconds']:.1f} s; optimizer state {held / 2**20:.1f} MiB "
        f"(AdamW: {adamw / 2**20:.1f} MiB)",
        highlight=False,
        soft_wrap=True,
    )
    if "probe_share" in summary:
        _print_practice(console, outcome)
    console.print(f"Results: {printable(str(outcome.folder))}", highlight=False, soft_wrap=True, markup=False)


def _result(summary: dict[str, Any]) -> str:
    """What the run came to, in words."""
    if "task" not in summary:
        unigram, final = summary["unigram_perplexity"], summary["final_validation_perplexity"]
        return (
            f"validation perplexity {final:.2f}, {summary['initial_validation_perplexity']:.2f} before the first step: "
            f"{final / unigram:.2f} of the unigram perplexity {unigram:.2f}"
        )
    before = "final_validation_"
    found = {key.removeprefix(before): value for key, value in summary.items() if key.startswith(before)}
    words = [f"{name} {value:.4f}" for name, value in found.items()]
    others = [f"{part} {name} {value:.4f}" for part, each in summary.get("others", {}).items() for name, value in each.items()]
    return f"{summary['task']}: validation {', '.join(words)}{'; ' if others else ''}{', '.join(others)}"


def _print_practice(console: Console, outcome: Outcome) -> None:
    """What the probes took, and what the run says of the theorems."""
    import json

    from frugal_theory.commands.verdict_table import print_practice
    from frugal_theory.results.schema import CONSTANTS, PRACTICE_VERDICTS

    summary = outcome.summary
    taken = ", ".join(f"{count} × {group}" for group, count in summary["probe_measurements"].items()) or "nothing measured"
    console.print(
        f"probes: {taken}, {100 * summary['probe_share']:.1f} % of the training time", highlight=False, soft_wrap=True
    )
    if notice := summary.get("probe_notice"):
        console.print(notice, highlight=False, soft_wrap=True)
    constants, verdicts = (outcome.folder / Path(file.path).name for file in (CONSTANTS, PRACTICE_VERDICTS))
    if not verdicts.is_file():
        return
    found = json.loads(constants.read_text(encoding="utf-8"))
    console.print(
        f"measured along the path: L {found['smoothness']['value']:.4g}, σ² {found['variance']['total']:.4g} (both at least "
        f"about), Δ at most {found['gap']['value']:.4g}. {found['noise']['sentence']}",
        highlight=False,
        soft_wrap=True,
    )
    print_practice(console, json.loads(verdicts.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
