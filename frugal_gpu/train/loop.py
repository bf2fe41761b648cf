"""Training: the loop, its evaluation, and what it writes under ``training/``.

A run is a pure function of its experiment: the model's start, the order of the data, the subspaces and the learning
rate are all computed from the seed and the step number, so a resumed run repeats an uninterrupted one bit for bit on a CPU.
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from frugal_gpu.data.batches import PADDING, Packed, Sequences, batch_indices, independent_indices, shard
from frugal_gpu.data.text import check_source
from frugal_gpu.data.tokens import Corpus, prepare, unigram_perplexity
from frugal_gpu.model.llama import build_model, model_shape
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.probes import Objective, Watch, sample_size
from frugal_gpu.train import checkpoint, practice
from frugal_gpu.train.interruption import stop_requested
from frugal_gpu.train.log import Log, read_metrics
from frugal_gpu.train.progress import Progress
from frugal_gpu.train.run_folder import find_run, settings_of
from frugal_gpu.train.schedule import learning_rate_factor
from frugal_theory import config
from frugal_theory.config import Experiment, Training
from frugal_theory.config.load import ExperimentError, dump
from frugal_theory.results.files import make_folder, write_text

__all__ = ["Outcome", "check", "evaluate", "perplexity", "train"]

LARGEST_EXPONENT = 700.0
"""exp of more than this overflows a double; perplexities beyond are reported as exp(700)."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, after which step, and its summary if it is complete."""

    status: Literal["complete", "interrupted", "already complete"]
    step: int
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """The moving parts of one run, and the two counters that a checkpoint keeps."""

    training: Training
    accelerator: Any
    model: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    corpus: Corpus
    seed: int
    sampling: str = "shuffled"
    watch: Watch | None = None
    tokens: int = 0
    seconds: float = 0.0


def check(experiment: Experiment, folder: Path, resume: bool = False) -> None:
    """Raise :class:`ExperimentError` where :func:`train` would before its first step, without writing to ``folder``.

    The text is tokenised, into the cache, for it too may turn out to be of no use.
    """
    training, _, settings = _required(experiment)
    if find_run(folder, settings, resume) != "complete":
        _corpus(experiment, training)


def train(experiment: Experiment, folder: Path, resume: bool = False, progress: Progress | None = None) -> Outcome:
    """Train one experiment without a sweep into ``folder`` (the run's ``training/``).

    Raises :class:`ExperimentError` for settings that cannot be trained, for a folder that holds another run, and for
    a run that diverges; :class:`OSError` where the folder cannot be written.
    """
    training, learning_rate, settings = _required(experiment)
    found = find_run(folder, settings, resume)
    if found == "complete":
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return Outcome("already complete", training.steps, folder, summary)
    run = _start(experiment, training, learning_rate)
    step = _restore(run, folder, found)
    if run.accelerator.is_main_process:
        return _train(run, experiment, folder, settings, step, progress or Progress())
    with tempfile.TemporaryDirectory() as scratch:  # the other processes of a distributed run leave nothing
        return _train(run, experiment, Path(scratch), settings, step, Progress())


def _train(run: Run, experiment: Experiment, folder: Path, settings: dict[str, Any], step: int, progress: Progress) -> Outcome:
    """The steps after ``step``, with everything they leave in ``folder``."""
    training = run.training
    make_folder(folder)
    write_text(folder / "experiment.toml", dump(experiment))
    unigram = unigram_perplexity(run.corpus.train, run.corpus.validation, run.corpus.vocabulary, _evaluated(run))
    write_text(folder / "tokenizer.json", run.corpus.tokenizer.read_text(encoding="utf-8"))
    log = Log(folder / "metrics.jsonl", step)
    try:
        progress.start(_describe(run, unigram, step), training.steps, step, run.tokens, run.seconds)
        with stop_requested() as stop:
            if step == 0:
                _log_evaluation(run, 0, log, progress)
            while step < training.steps and not _agreed(run, stop):
                step += 1
                _log_step(run, step, log, progress)
                if step % training.evaluate_every == 0 or step == training.steps:
                    _log_evaluation(run, step, log, progress)
                if step % training.checkpoint_every == 0:
                    _save(run, step, folder, log, settings)
            if step % training.checkpoint_every:
                _save(run, step, folder, log, settings)
        if step < training.steps:
            return Outcome("interrupted", step, folder)
        summary = _finish(run, experiment, folder, log, settings, unigram)
        return Outcome("complete", step, folder, summary)
    finally:
        progress.stop()
        log.close()


# --- before the first step --------------------------------------------------------------------------------


def _required(experiment: Experiment) -> tuple[Training, float, dict[str, Any]]:
    """[training], the peak learning rate and the run's settings; errors for what the theory side can do without."""
    if experiment.training is None:
        raise ExperimentError("training: is missing; frugal-gpu train needs a [training] table, for example steps = 1000")
    if experiment.model is None:
        raise ExperimentError('model: is missing; frugal-gpu needs a [model] table, for example preset = "llama-tiny"')
    training, learning_rate = experiment.training, experiment.training.learning_rate
    if experiment.algorithm.subspace == "eigen":
        raise ExperimentError('algorithm.subspace = "eigen": only a quadratic has known eigenvectors; allowed here: all others')
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ExperimentError('training.device = "cuda": no CUDA device is visible; allowed here: "auto", "cpu"')
    if learning_rate is None:
        if not isinstance(experiment.algorithm.learning_rate, float):
            raise ExperimentError(
                "training.learning_rate: is missing, and algorithm.learning_rate is a fraction_of_admissible, which only "
                "the theory side can resolve; give training.learning_rate a number > 0"
            )
        learning_rate = experiment.algorithm.learning_rate
    model_shape(experiment.model)
    check_source(experiment.data)
    return training, learning_rate, settings_of(experiment)


def _start(experiment: Experiment, training: Training, learning_rate: float) -> Run:
    """Tokens, model, optimizer and device, as they are before step 1."""
    from frugal_gpu.optim.build import build_optimizer

    model_table = experiment.model or config.Model()
    seed, shape = experiment.seed, model_shape(model_table)
    corpus = _corpus(experiment, training)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    accelerator = _accelerator(training)
    torch.manual_seed(seed)
    model = build_model(shape, training.sequence_length, model_table.initializer_range, training.activation_checkpointing).to(
        accelerator.device
    )
    optimizer = build_optimizer(model, experiment, lr=learning_rate)  # which may put adapters into the model
    wrapped = accelerator.prepare(model)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    run = Run(training, accelerator, model, wrapped, optimizer, corpus, seed, experiment.data.sampling)
    if experiment.probes is not None and accelerator.is_main_process:
        size = sample_size(experiment.probes, training.batch_size)
        run.watch = Watch(experiment.probes, _objective(run, size), training.steps, seed, experiment.algorithm.density)
    return run


def _corpus(experiment: Experiment, training: Training) -> Corpus:
    vocabulary = model_shape(experiment.model or config.Model()).vocabulary
    needed = training.steps * training.batch_size * training.sequence_length
    return prepare(experiment.data, experiment.seed, vocabulary, training.sequence_length, needed)


def _accelerator(training: Training) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a process may train several runs, each with its own precision
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision="bf16" if training.precision == "bf16" else "no")
    shares = training.accumulation * accelerator.num_processes
    if training.batch_size % shares:
        raise ExperimentError(
            f"training.batch_size = {training.batch_size}: must be a multiple of accumulation × processes = {shares}"
        )
    return accelerator


def _restore(run: Run, folder: Path, found: str) -> int:
    """Load the last checkpoint if there is one; returns the number of steps done."""
    if found == "nothing":
        return 0
    path = checkpoint.latest(folder / "checkpoints")
    assert path is not None
    state = checkpoint.load(path, run.model, run.optimizer, run.accelerator.device)
    if state["corpus"] != run.corpus.key:
        raise ExperimentError(f"{path}: the text has changed since; resuming needs the same text, or give another --out")
    run.tokens, run.seconds = state["tokens"], state["seconds"]
    if run.watch is not None and "probes" in state:
        run.watch.timetable.load(state["probes"])
    step: int = state["step"]
    return step


# --- the step ---------------------------------------------------------------------------------------------


def _step(run: Run, step: int) -> dict[str, Any]:
    """One optimizer step; returns loss, learning rate and the squared norm of the mini-batch gradient.

    The loss is the mean over all predicted tokens of the step, however they are divided into micro-batches and
    processes.
    """
    training, accelerator = run.training, run.accelerator
    indices = _batch(run, step)
    tokens = run.corpus.train.predicted(indices)
    micro = training.batch_size // training.accumulation
    run.wrapped.train()
    total = torch.zeros((), device=accelerator.device)
    for begin in range(0, len(indices), micro):
        mine = shard(indices[begin : begin + micro], accelerator.process_index, accelerator.num_processes)
        last = begin + micro == len(indices)
        with nullcontext() if last else accelerator.no_sync(run.wrapped):
            loss = _summed_loss(run, run.corpus.train, mine)
            # processes average their gradients, hence the factor
            accelerator.backward(loss * (accelerator.num_processes / tokens))
        total += loss.detach()
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    factor = learning_rate_factor(training, step)
    values = {
        "loss": float(accelerator.reduce(total, "sum")) / tokens,
        "learning_rate": run.optimizer.param_groups[0]["initial_lr"] * factor,
        "squared_gradient_norm": float(norm) ** 2,
    }
    if not all(map(math.isfinite, values.values())):
        return values  # the caller says so; an optimizer would only refuse the gradients
    visit = None if run.watch is None else run.watch.visit(step, *_before(run, factor))
    if training.max_gradient_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(run.model.parameters(), training.max_gradient_norm, norm)
    for group in run.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.tokens += tokens
    return {**values, **({} if visit is None else visit.after())}


def _before(run: Run, factor: float) -> tuple[float, dict[str, torch.Tensor]]:
    """The learning rate of the step and its gradients by name, before clipping: what probes are told."""
    gradients = {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None}
    return run.optimizer.param_groups[0]["initial_lr"] * factor, gradients


def _batch(run: Run, step: int) -> list[int]:
    """The sequences of a step."""
    if run.sampling == "independent":
        return independent_indices(run.seed, "independent data", step, run.training.batch_size, _equal_rows(run))
    return batch_indices(run.seed, step, run.training.batch_size, len(run.corpus.train), run.corpus.window)


def _equal_rows(run: Run) -> int:
    """How many sequences f is the mean loss of: of a stream all but a short last one, so that each predicts as many tokens."""
    packed = run.corpus.train
    whole = packed.tokens // packed.length if isinstance(packed, Packed) else 0
    return whole or len(packed)


def _objective(run: Run, size: int) -> Objective:
    """f: the mean loss of the training sequences, which batches are drawn from."""

    def loss(rows: Sequence[int]) -> torch.Tensor:
        return _summed_loss(run, run.corpus.train, list(rows), run.model) / run.corpus.train.predicted(rows)

    def draw(step: int, count: int) -> list[int]:
        return independent_indices(run.seed, "probe data", step, count, _equal_rows(run))

    return Objective(run.model, _equal_rows(run), loss, draw, run.training.batch_size, size, run.seed)


def _summed_loss(run: Run, packed: Sequences, indices: list[int], model: nn.Module | None = None) -> torch.Tensor:
    """Σ −log p over the predicted tokens of some sequences, in nats; of the ``model`` or, by default, as it is wrapped."""
    inputs, targets = (tensor.to(run.accelerator.device, non_blocking=True) for tensor in packed.batch(indices))
    logits = (run.wrapped if model is None else model)(input_ids=inputs, **packed.model_inputs(inputs)).logits.float()
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction="sum")


def _evaluated(run: Run) -> int:
    """Number of validation sequences in one evaluation."""
    packed, cap = run.corpus.validation, run.training.evaluation_tokens
    return len(packed) if cap is None else min(len(packed), -(-cap // packed.length))


def evaluate(run: Run) -> float:
    """Mean −log p a token, in nats, over the validation tokens (up to ``evaluation_tokens``): each token weighs the same."""
    training, accelerator, packed, count = run.training, run.accelerator, run.corpus.validation, _evaluated(run)
    mine = range(accelerator.process_index, count, accelerator.num_processes)
    size = max(1, training.batch_size // training.accumulation // accelerator.num_processes)
    total = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    run.wrapped.eval()
    with torch.no_grad():
        for begin in range(0, len(mine), size):
            total += _summed_loss(run, packed, list(mine[begin : begin + size])).double()
    return float(accelerator.reduce(total, "sum")) / packed.predicted(range(count))


def perplexity(loss: float) -> float:
    """exp of a mean −log p in nats."""
    return math.exp(min(loss, LARGEST_EXPONENT))


# --- what is written --------------------------------------------------------------------------------------


def _agreed(run: Run, stop: threading.Event) -> bool:
    """Whether any process of the run was asked to stop: all of them end after the same step."""
    if run.accelerator.num_processes == 1:
        return stop.is_set()
    flag = torch.tensor(float(stop.is_set()), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flag, "sum") > 0)


def _log_step(run: Run, step: int, log: Log, progress: Progress) -> None:
    begin = time.perf_counter()
    values = _step(run, step)
    seconds = time.perf_counter() - begin
    run.seconds += seconds
    if run.watch is not None:
        run.watch.timetable.stepped_in(seconds - values.get("probe_seconds", 0.0))
    if not all(math.isfinite(values[key]) for key in ("loss", "learning_rate", "squared_gradient_norm")):
        log.flush()
        raise ExperimentError(
            f"training.learning_rate: the run diverged, loss {values['loss']:g} at step {step} "
            f"with learning rate {values['learning_rate']:g}; give a smaller one, or set training.max_gradient_norm"
        )
    line = {"step": step, **values, "tokens": run.tokens, "seconds": round(run.seconds, 3)}
    log.add(line)
    progress.step(line)


def _log_evaluation(run: Run, step: int, log: Log, progress: Progress) -> None:
    loss = evaluate(run)
    line = {"step": step, "validation_loss": loss, "validation_perplexity": perplexity(loss)}
    log.add(line)
    log.flush()
    progress.evaluation(line)


def _save(run: Run, step: int, folder: Path, log: Log, settings: dict[str, Any]) -> None:
    log.flush()
    if not run.accelerator.is_main_process:
        return
    state = {"tokens": run.tokens, "seconds": run.seconds, "corpus": run.corpus.key, "settings": settings}
    if run.watch is not None:
        state["probes"] = run.watch.timetable.state()
    checkpoint.save(folder / "checkpoints", step, run.model, run.optimizer, state, run.training.keep_checkpoints)


def _finish(
    run: Run, experiment: Experiment, folder: Path, log: Log, settings: dict[str, Any], unigram: float
) -> dict[str, Any]:
    """The evidence, and summary.json last: it says that the run is complete."""
    lines = read_metrics(log.path)
    probed = practice.finish(run, experiment, folder, lines)
    measured = [line["validation_perplexity"] for line in lines if "validation_perplexity" in line]
    parameters = sum(p.numel() for p in run.model.parameters())
    summary = {
        "steps": run.training.steps,
        "parameters": parameters,
        "vocabulary": run.corpus.vocabulary,
        "tokens": run.tokens,
        "unigram_perplexity": unigram,
        "entropy_rate": run.corpus.entropy_rate,
        "documents": run.corpus.documents,
        "skipped_rows": run.corpus.skipped,
        "initial_validation_perplexity": measured[0],
        "final_validation_perplexity": measured[-1],
        "best_validation_perplexity": min(measured),
        "optimizer_state_bytes": state_bytes_held(run.optimizer),
        "adamw_state_bytes": 2 * 4 * parameters,
        "seconds": round(run.seconds, 3),
        **probed,
        "device": _device_name(run.accelerator.device),
        "precision": run.training.precision,
        "versions": _versions(),
        "settings": settings,
    }
    write_text(folder / "summary.json", json.dumps(summary, indent=2))
    return summary


def _describe(run: Run, unigram: float, step: int) -> str:
    """What is about to be trained, for the reader of the terminal."""
    corpus = run.corpus
    train, validation = corpus.train.tokens, corpus.validation.tokens
    size = sum(p.numel() for p in run.model.parameters())
    text = (
        f"{size:,} parameters on {_device_name(run.accelerator.device)}, {run.training.precision}; "
        f"{train:,} training tokens, {validation:,} for validation, vocabulary {corpus.vocabulary:,}\n"
        f"unigram perplexity {unigram:.2f}: what the token frequencies alone reach"
    )
    if corpus.entropy_rate is not None:
        text += (
            f"\nentropy rate of the language {corpus.entropy_rate:.4f} nats a token: no model's expected loss is less, "
            f"a perplexity of {math.exp(corpus.entropy_rate):.2f}"
        )
    if corpus.skipped:
        text += f'\n{corpus.skipped:,} rows that are no documents were left out (data.bad_rows = "skip")'
    if run.watch is not None and (beyond := run.watch.sentence()):
        text += f"\n{beyond}"
    return f"{text}\ncontinuing after step {step}" if step else text


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in ("frugal-lab", "torch", "transformers", "tokenizers", "accelerate")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # this package, where it runs from a checkout
        return "unknown"
