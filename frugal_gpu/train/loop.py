"""Training: the loop, its evaluation, and what it writes under ``training/``.

A run is a pure function of its experiment: the model's start, the order of the data, the subspaces and the learning
rate are all computed from the seed and the step number, so a resumed run repeats an uninterrupted one bit for bit on a CPU.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from frugal_gpu.data.batches import PADDING, Sequences, batch_indices, shard
from frugal_gpu.data.text import check_source, source_of
from frugal_gpu.data.tokens import Corpus, prepare, unigram_perplexity
from frugal_gpu.model.build import check_model, made, vocabulary_of, with_tokenizer
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.probes import Moment, measure
from frugal_gpu.train import checkpoint
from frugal_gpu.train.divergence import diverged, may_skip, not_finite
from frugal_gpu.train.interruption import stop_requested
from frugal_gpu.train.lock import alone, refuse_if_busy
from frugal_gpu.train.log import Log, read_metrics, training_evidence
from frugal_gpu.train.precision import arithmetic, scaler, weights
from frugal_gpu.train.progress import Progress
from frugal_gpu.train.run_folder import choose, find_run, moved, read_summary, reopen, settings_of, write_summary
from frugal_gpu.train.schedule import learning_rate_factor
from frugal_gpu.train.sizes import check_machine
from frugal_gpu.train.together import once
from frugal_theory import config
from frugal_theory.algorithm.selection import selection_key
from frugal_theory.config import Experiment, Training
from frugal_theory.config.load import ExperimentError, dump
from frugal_theory.results.files import make_folder, write_table, write_text
from frugal_theory.results.schema import TRAINING_EVIDENCE

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
    """The moving parts of one run, and what a checkpoint keeps of it: counters, and the best validation loss."""

    training: Training
    accelerator: Any
    model: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    corpus: Corpus
    seed: int
    probes: config.Probes | None = None
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf
    skipped: int = 0
    folder: Path = Path()
    scaler: torch.amp.GradScaler | None = None
    random: bool = False
    in_a_row: int = 0


def check(experiment: Experiment, folder: Path, resume: bool = False) -> None:
    """Raise :class:`ExperimentError` where :func:`train` would before its first step, without writing to ``folder``.

    The text is tokenised, into the cache, for it too may turn out to be of no use.
    """
    _required(experiment)
    refuse_if_busy(folder)
    experiment, training, _ = _resolved(experiment)
    if find_run(folder, settings_of(experiment), training.steps, resume) != "complete":
        _corpus(experiment, training)


def train(experiment: Experiment, folder: Path, resume: bool = False, progress: Progress | None = None) -> Outcome:
    """Train one experiment without a sweep into ``folder`` (the run's ``training/``).

    Raises :class:`ExperimentError` for settings that cannot be trained, for a folder that holds another run or that another
    training writes to, and for a run that diverges; :class:`OSError` where the folder cannot be written.
    """
    learning_rate, progress = _required(experiment), progress or Progress()
    experiment, training, corpus = _resolved(experiment)
    settings, accelerator = settings_of(experiment), _accelerator(training)
    with ExitStack() as held:
        once(accelerator, lambda: held.enter_context(alone(folder)))
        found = once(accelerator, lambda: _found(folder, settings, training.steps, resume))
        if found == "complete":
            return Outcome("already complete", training.steps, folder, read_summary(folder))
        run = _start(experiment, training, learning_rate, accelerator, corpus)
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
    unigram = unigram_perplexity(run.corpus.train, run.corpus.validation, run.corpus.vocabulary, _evaluated(run))
    write_text(folder / "tokenizer.json", run.corpus.tokenizer.read_text(encoding="utf-8"))
    log = Log(folder / "metrics.jsonl", before)
    try:
        progress.start(_describe(run, unigram, step), training.steps, step, run.tokens, run.seconds)
        with stop_requested() as stop:
            if step == 0:
                _log_evaluation(run, 0, log, progress)
            while step < training.steps and not _agreed(run, stop):
                step += 1
                _log_step(run, step, log, progress)
                if step % training.evaluate_every == 0 or step == training.steps:
                    _keep_best(run, step, _log_evaluation(run, step, log, progress))
                if step % training.checkpoint_every == 0:
                    _save(run, step, folder, log, settings)
            if step % training.checkpoint_every:
                _save(run, step, folder, log, settings)
        if step < training.steps:
            return Outcome("interrupted", step, folder)
        summary = _finish(run, folder, log, settings, unigram)
        return Outcome("complete", step, folder, summary)
    finally:
        progress.stop()
        log.close()


# --- before the first step --------------------------------------------------------------------------------


def _required(experiment: Experiment) -> float:
    """The peak learning rate; errors for what the theory side can do without."""
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
    restarts = None if experiment.adapter is None else experiment.adapter.restarts
    if training.schedule == "jagged-cosine" and restarts not in (None, training.restart_every):
        raise ExperimentError(
            f"training.restart_every = {training.restart_every}: the adapter restarts every {restarts} steps; they must agree"
        )
    check_model(experiment.model, training)
    check_machine(experiment)
    check_source(with_tokenizer(experiment.data, experiment.model))
    return learning_rate


def _resolved(experiment: Experiment) -> tuple[Experiment, Training, Corpus | None]:
    """The experiment with its ``epochs`` in steps, its [training], and the text if that had to be read for it."""
    training = experiment.training or Training()
    if training.epochs is None:
        return experiment, training, None
    if source_of(experiment.data).endless and experiment.data.tokens is None:
        raise ExperimentError(
            f'training.epochs = {training.epochs:g}: data.source = "{experiment.data.source}" has no end; '
            "give training.steps, training.tokens or data.tokens"
        )
    corpus = _corpus(experiment, training)
    try:
        training = training.of_epochs(len(corpus.train))
    except ValueError as error:
        raise ExperimentError(f"training: {error}") from None
    return experiment.model_copy(update={"training": training}), training, corpus


def _start(
    experiment: Experiment,
    training: Training,
    learning_rate: float,
    accelerator: Any = None,
    corpus: Corpus | None = None,
) -> Run:
    """Tokens, model, optimizer and device, as they are before step 1."""
    from frugal_gpu.optim.build import build_optimizer

    model_table = experiment.model or config.Model()
    seed, corpus = experiment.seed, corpus or _corpus(experiment, training)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    accelerator = accelerator or _accelerator(training)
    torch.manual_seed(seed)
    model = made(model_table, training).to(accelerator.device, weights(training.precision))
    try:
        optimizer = build_optimizer(model, experiment, lr=learning_rate)  # which may put adapters into the model
    except ExperimentError:
        raise
    except ValueError as error:
        raise ExperimentError(f"algorithm: {str(error).removeprefix('Frugal: ')}") from None
    wrapped = accelerator.prepare(model)
    if training.compile:
        wrapped = torch.compile(wrapped)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        group["stochastic_rounding"] = training.precision == "pure-bf16"  # or steps below a weight's resolution move nothing
    run = Run(training, accelerator, model, wrapped, optimizer, corpus, seed, experiment.probes)
    run.scaler = scaler(training.precision, accelerator.device)
    run.random = model_table.checkpoint is not None or experiment.adapter is not None
    return run


def _corpus(experiment: Experiment, training: Training) -> Corpus:
    model = experiment.model or config.Model()
    needed = training.steps * training.batch_size * training.sequence_length
    data = with_tokenizer(experiment.data, model)
    return prepare(data, experiment.seed, vocabulary_of(model), training.sequence_length, needed)


def _accelerator(training: Training) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a process may train several runs, each with its own precision
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision="no")  # precision is ours: see precision.py
    shares = training.accumulation * accelerator.num_processes
    if training.batch_size % shares:
        raise ExperimentError(
            f"training.batch_size = {training.batch_size}: must be a multiple of accumulation × processes = {shares}"
        )
    return accelerator


def _restore(run: Run, folder: Path, found: str, settings: dict[str, Any], progress: Progress) -> tuple[int, str]:
    """Load the newest sound checkpoint if there is one; returns the number of steps done and the log up to there."""
    if found == "nothing":
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
    return state["step"], checkpoint.read_log(path)


# --- the step ---------------------------------------------------------------------------------------------


def _step(run: Run, step: int) -> dict[str, Any]:
    """One optimizer step; returns loss, learning rate and the squared norm of the mini-batch gradient.

    The loss is the mean over all predicted tokens of the step, however they are divided into micro-batches and
    processes.
    """
    training, accelerator = run.training, run.accelerator
    indices = batch_indices(run.seed, step, training.batch_size, len(run.corpus.train), run.corpus.window)
    tokens = run.corpus.train.predicted(indices)
    micro = training.batch_size // training.accumulation
    run.wrapped.train()
    if run.random:  # dropout, a pure function of seed, step and process
        torch.manual_seed(selection_key(run.seed, f"dropout {accelerator.process_index}", step) % 2**63)
    total = torch.zeros((), device=accelerator.device)
    for begin in range(0, len(indices), micro):
        mine = shard(indices[begin : begin + micro], accelerator.process_index, accelerator.num_processes)
        last = begin + micro == len(indices)
        with nullcontext() if last else accelerator.no_sync(run.wrapped):
            summed = _summed_loss(run, run.corpus.train, mine)
            # processes average their gradients, hence the factor
            mean = summed * (accelerator.num_processes / tokens)
            accelerator.backward(mean if run.scaler is None else run.scaler.scale(mean))
        total += summed.detach()
    if run.scaler is not None:
        run.scaler.unscale_(run.optimizer)
        run.scaler.update()
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    factor = learning_rate_factor(training, step)
    rate = run.optimizer.param_groups[0]["initial_lr"] * factor
    loss, squared = float(accelerator.reduce(total, "sum")) / tokens, float(norm) ** 2
    run.tokens += tokens
    if not math.isfinite(loss + squared):
        if may_skip(run.model, training, run.scaler, loss, run.in_a_row):
            run.optimizer.zero_grad(set_to_none=True)
            run.skipped, run.in_a_row = run.skipped + 1, run.in_a_row + 1
            return {"skipped": "loss" if not math.isfinite(loss) else "gradient", "learning_rate": rate}
        found = f"loss {loss:g} at step {step} with learning rate {rate:g}"
        raise diverged(run.model, training, run.folder, found, early=step == 1)
    run.in_a_row = 0
    probed = _probed(run, step)
    if training.max_gradient_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(run.model.parameters(), training.max_gradient_norm, norm)
    for group in run.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return {
        "loss": loss,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "squared_gradient_norm": squared,
        **probed,
    }


def _probed(run: Run, step: int) -> dict[str, Any]:
    """What the probes find, under "probes", at the steps at which they measure."""
    if run.probes is None or step % run.probes.every:
        return {}
    gradients = {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None}
    rate = run.optimizer.param_groups[0]["initial_lr"] * learning_rate_factor(run.training, step)
    return {"probes": measure(run.probes.kinds, Moment(step, rate, run.model, gradients))}


def _summed_loss(run: Run, packed: Sequences, indices: list[int]) -> torch.Tensor:
    """Σ −log p over the predicted tokens of some sequences, in nats."""
    inputs, targets = (tensor.to(run.accelerator.device, non_blocking=True) for tensor in packed.batch(indices))
    with arithmetic(run.training.precision, run.accelerator.device):
        logits = run.wrapped(input_ids=inputs, **packed.model_inputs(inputs)).logits.float()
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
    run.seconds += time.perf_counter() - begin
    line = {"step": step, **values, "tokens": run.tokens, "seconds": round(run.seconds, 3)}
    log.add(line)
    progress.step(line)


def _log_evaluation(run: Run, step: int, log: Log, progress: Progress) -> float:
    loss = evaluate(run)
    if not math.isfinite(loss):
        found = f"validation loss {loss:g} after step {step}"
        raise diverged(run.model, run.training, run.folder, found, early=step == 0)
    line = {"step": step, "validation_loss": loss, "validation_perplexity": perplexity(loss)}
    log.add(line)
    log.flush()
    progress.evaluation(line)
    return loss


def _keep_best(run: Run, step: int, loss: float) -> None:
    """Keep the weights if this is the best validation loss so far."""
    if loss >= run.best:
        return
    run.best = loss
    if run.training.keep_best and run.accelerator.is_main_process:
        checkpoint.save_best(run.folder / "checkpoints", step, run.model, {"validation_loss": loss})


def _save(run: Run, step: int, folder: Path, log: Log, settings: dict[str, Any]) -> None:
    log.flush()
    if next(not_finite(run.model), None) is not None:  # what a step made of a finite gradient
        raise diverged(run.model, run.training, run.folder, f"step {step} was too large")
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
    if math.isfinite(run.best):
        state["best"] = run.best
    checkpoint.save(folder / "checkpoints", step, run.model, run.optimizer, state, run.training.keep_checkpoints, log.path)


def _finish(run: Run, folder: Path, log: Log, settings: dict[str, Any], unigram: float) -> dict[str, Any]:
    """The evidence, and summary.json last: it says that the run is complete."""
    lines = read_metrics(log.path)
    write_table(folder / Path(TRAINING_EVIDENCE.path).name, training_evidence(lines).frame()[list(TRAINING_EVIDENCE.columns)])
    measured = [line["validation_perplexity"] for line in lines if "validation_perplexity" in line]
    parameters = sum(p.numel() for p in run.model.parameters())
    summary = {
        "steps": run.training.steps,
        "parameters": parameters,
        "vocabulary": run.corpus.vocabulary,
        "tokens": run.tokens,
        "skipped_steps": run.skipped,
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
        "device": _device_name(run.accelerator.device),
        "precision": run.training.precision,
        "versions": _versions(),
        "settings": settings,
    }
    write_summary(folder, summary)
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
