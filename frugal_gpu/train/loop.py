"""Training: the loop, and what it writes under ``training/``.

A run is a pure function of its experiment: the model's start, the order of the data, the subspaces and the learning
rate are all computed from the seed and the step number, so a resumed run repeats an uninterrupted one bit for bit on a CPU.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from frugal_gpu.data.tokens import unigram_perplexity
from frugal_gpu.train import checkpoint
from frugal_gpu.train.board import boards
from frugal_gpu.train.divergence import diverged, not_finite
from frugal_gpu.train.finish import describe, finish, perplexity
from frugal_gpu.train.interruption import stop_requested
from frugal_gpu.train.lock import alone, refuse_if_busy
from frugal_gpu.train.log import Log
from frugal_gpu.train.progress import Progress
from frugal_gpu.train.run_folder import choose, find_run, moved, read_summary, reopen, settings_of
from frugal_gpu.train.sharding import gathered
from frugal_gpu.train.speed import peak_memory
from frugal_gpu.train.start import accelerator_of, corpus_of, required, resolved, start
from frugal_gpu.train.step import Run, evaluate, evaluated, take_step
from frugal_gpu.train.together import once
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, dump
from frugal_theory.results.files import make_folder, write_text

__all__ = ["Outcome", "check", "log_step", "train"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended, after which step, and its summary if it is complete."""

    status: Literal["complete", "interrupted", "already complete"]
    step: int
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)


def check(experiment: Experiment, folder: Path, resume: bool = False) -> None:
    """Raise :class:`ExperimentError` where :func:`train` would before its first step, without writing to ``folder``.

    The text is tokenised, into the cache, for it too may turn out to be of no use.
    """
    required(experiment)
    refuse_if_busy(folder)
    experiment, training, _ = resolved(experiment)
    if find_run(folder, settings_of(experiment), training.steps, resume) != "complete":
        corpus_of(experiment, training)


def train(experiment: Experiment, folder: Path, resume: bool = False, progress: Progress | None = None) -> Outcome:
    """Train one experiment without a sweep into ``folder`` (the run's ``training/``).

    Raises :class:`ExperimentError` for settings that cannot be trained, for a folder that holds another run or that another
    training writes to, and for a run that diverges; :class:`OSError` where the folder cannot be written.
    """
    learning_rate, progress = required(experiment), progress or Progress()
    experiment, training, corpus = resolved(experiment)
    settings, accelerator = settings_of(experiment), accelerator_of(training)
    with ExitStack() as held:
        once(accelerator, lambda: held.enter_context(alone(folder)))
        found = once(accelerator, lambda: _found(folder, settings, training.steps, resume))
        if found == "complete":
            return Outcome("already complete", training.steps, folder, read_summary(folder))
        run = start(experiment, training, learning_rate, accelerator, corpus)
        if accelerator.is_main_process:
            run.folder = folder
        else:  # the other processes of a distributed run leave nothing
            run.folder, progress = Path(held.enter_context(tempfile.TemporaryDirectory())), Progress()
        step, log = _restore(run, folder, found, settings, progress)
        return _train(run, experiment, run.folder, settings, step, log, progress)


def _found(folder: Path, settings: dict[str, Any], steps: int, resume: bool) -> str:
    checkpoint.mend(folder / "checkpoints")
    return find_run(folder, settings, steps, resume)


def _train(
    run: Run, experiment: Experiment, folder: Path, settings: dict[str, Any], step: int, before: str, progress: Progress
) -> Outcome:
    """The steps after ``step``, with everything they leave in ``folder``; ``before`` is the log up to there."""
    training = run.training
    make_folder(folder)
    reopen(folder)
    write_text(folder / "experiment.toml", dump(experiment))
    unigram = None
    if run.task is None:
        unigram = unigram_perplexity(run.corpus.train, run.corpus.validation, run.corpus.vocabulary, evaluated(run))
    write_text(folder / "tokenizer.json", run.corpus.tokenizer.read_text(encoding="utf-8"))
    watching = run.accelerator.is_main_process
    log = Log(folder / "metrics.jsonl", before, boards(training, folder, step, experiment.name, settings) if watching else ())
    try:
        progress.start(describe(run, unigram, step), training.steps, step, run.tokens, run.seconds)
        with stop_requested() as stop:
            if step == 0:
                _tell(run, 0, _log_evaluation(run, 0, log, progress))
            while step < training.steps and not _agreed(run, stop):
                step += 1
                log_step(run, step, log, progress)
                if step % training.evaluate_every == 0 or step == training.steps:
                    line = _log_evaluation(run, step, log, progress)
                    _keep_best(run, step, line)
                    _tell(run, step, line)
                if step % training.checkpoint_every == 0:
                    _save(run, step, folder, log, settings)
            if step % training.checkpoint_every:
                _save(run, step, folder, log, settings)
        if step < training.steps:
            return Outcome("interrupted", step, folder)
        summary = finish(run, experiment, folder, log, settings, unigram)
        return Outcome("complete", step, folder, summary)
    finally:
        progress.stop()
        log.close()


def _restore(run: Run, folder: Path, found: str, settings: dict[str, Any], progress: Progress) -> tuple[int, str]:
    """Load the newest sound checkpoint if there is one; returns the number of steps done and the log up to there."""
    if found == "nothing":
        if run.accelerator.is_main_process:  # of a run that ended before its first checkpoint
            shutil.rmtree(folder / "checkpoints" / checkpoint.BEST, ignore_errors=True)
        return 0, ""
    path, notices = once(run.accelerator, lambda: choose(folder / "checkpoints", settings, run.training.steps))
    for notice in notices:
        progress.warn(notice)
    state = checkpoint.read_state(path)
    if state["corpus"] != run.corpus.key:
        change = moved(state["settings"], settings)
        raise ExperimentError(
            f"{path}: the text has changed since{f' ({change})' if change else ''}; "
            "resuming needs the same text, or give another --out"
        )
    checkpoint.load(path, run.model, run.optimizer, run.accelerator.device, verified=True)
    run.tokens, run.seconds, run.best = state["tokens"], state["seconds"], state.get("best", math.inf)
    run.skipped = state.get("skipped", 0)
    if run.scaler is not None:
        run.scaler.load_state_dict(state["scaler"])
    if run.schedule is not None and "schedule" in state:
        run.schedule.load_state_dict(state["schedule"])
    if run.watch is not None and "probes" in state:
        run.watch.timetable.load(state["probes"])
    return state["step"], checkpoint.read_log(path)


def _agreed(run: Run, stop: threading.Event) -> bool:
    """Whether any process of the run was asked to stop: all of them end after the same step."""
    return not run.agreed(not stop.is_set())


def log_step(run: Run, step: int, log: Log, progress: Progress) -> None:
    """One step, timed, logged and shown."""
    begin, before = time.perf_counter(), run.tokens
    values = take_step(run, step)
    seconds = time.perf_counter() - begin
    run.seconds += seconds
    if run.watch is not None:
        run.watch.timetable.stepped_in(seconds - values.get("probe_seconds", 0.0))
    line = {
        "step": step,
        **values,
        "tokens": run.tokens,
        "seconds": round(run.seconds, 3),
        "tokens_per_second": round((run.tokens - before) / max(seconds, 1e-9), 1),
        "peak_memory_bytes": peak_memory(run.accelerator.device),
    }
    log.add(line)
    progress.step(line)


def _log_evaluation(run: Run, step: int, log: Log, progress: Progress) -> dict[str, Any]:
    loss, measured = evaluate(run)
    if not math.isfinite(loss):
        found = f"validation loss {loss:g} after step {step}"
        raise diverged(run.model, run.training, run.folder, found, early=step == 0)
    line = {"step": step, "validation_loss": loss}
    if run.task is None:
        line["validation_perplexity"] = perplexity(loss)
    line.update({f"validation_{name}": value for name, value in measured.items()})
    log.add(line)
    log.flush()
    progress.evaluation(line)
    return line


def _tell(run: Run, step: int, line: dict[str, Any]) -> None:
    """Tell the schedules of an evaluation; one that the end of the run alone has called for does not count."""
    if run.schedule is not None and step % run.training.evaluate_every == 0:
        run.schedule.evaluated(line["validation_loss"])


def _keep_best(run: Run, step: int, line: dict[str, Any]) -> None:
    """Keep the weights if this is the best evaluation so far: by the task's first metric, if it is logged, or else the loss."""
    key = "validation_loss" if run.task is None else f"validation_{run.task.metrics[0]}"
    key = key if key in line else "validation_loss"
    found = line[key] if key == "validation_loss" else -line[key]
    if found >= run.best:
        return
    run.best = found
    if not run.training.keep_best:
        return
    weights = gathered(run.model)[0] if run.training.sharding == "fsdp2" else run.model
    if run.accelerator.is_main_process:
        checkpoint.save_best(run.folder / "checkpoints", step, weights, {key: line[key]})


def _save(run: Run, step: int, folder: Path, log: Log, settings: dict[str, Any]) -> None:
    log.flush()
    if not run.agreed(next(not_finite(run.model), None) is None):  # what a step made of a finite gradient
        raise diverged(run.model, run.training, run.folder, f"step {step} was too large")
    weights, held = gathered(run.model, run.optimizer) if run.training.sharding == "fsdp2" else (run.model, run.optimizer)
    if not run.accelerator.is_main_process:
        return
    state = {
        "tokens": run.tokens,
        "seconds": run.seconds,
        "corpus": run.corpus.key,
        "steps": run.training.steps,
        "skipped": run.skipped,
        "settings": settings,
    }
    if run.scaler is not None:
        state["scaler"] = run.scaler.state_dict()
    if run.schedule is not None:
        state["schedule"] = run.schedule.state_dict()
    if run.watch is not None:
        state["probes"] = run.watch.timetable.state()
    if math.isfinite(run.best):
        state["best"] = run.best
    checkpoint.save(folder / "checkpoints", step, weights, held, state, run.training.keep_checkpoints, log.path)
