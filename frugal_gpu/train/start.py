"""A run before its first step: what it needs, its text, its model and its optimizer."""

from __future__ import annotations

from typing import Any

import torch

from frugal_gpu.data.text import check_source, source_of
from frugal_gpu.data.tokens import Corpus, prepare
from frugal_gpu.model.build import check_model, made, vocabulary_of, with_tokenizer
from frugal_gpu.probes import Watch, sample_size
from frugal_gpu.train.norms import Norms
from frugal_gpu.train.precision import scaler, weights
from frugal_gpu.train.sizes import check_machine
from frugal_gpu.train.step import Run, objective
from frugal_theory import config
from frugal_theory.config import Experiment, Training
from frugal_theory.config.load import ExperimentError

__all__ = ["accelerator_of", "corpus_of", "required", "resolved", "start"]


def required(experiment: Experiment) -> float:
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
    if training.update_in_backward and experiment.probes is not None:
        raise ExperimentError(
            "training.update_in_backward = true frees gradients as they arrive, and [probes] reads them; one of them is allowed"
        )
    check_model(experiment.model, training)
    check_machine(experiment)
    check_source(with_tokenizer(experiment.data, experiment.model))
    return learning_rate


def resolved(experiment: Experiment) -> tuple[Experiment, Training, Corpus | None]:
    """The experiment with its ``epochs`` in steps, its [training], and the text if that had to be read for it."""
    training = experiment.training or Training()
    if training.epochs is None:
        return experiment, training, None
    if source_of(experiment.data).endless and experiment.data.tokens is None:
        raise ExperimentError(
            f'training.epochs = {training.epochs:g}: data.source = "{experiment.data.source}" has no end; '
            "give training.steps, training.tokens or data.tokens"
        )
    corpus = corpus_of(experiment, training)
    try:
        training = training.of_epochs(len(corpus.train))
    except ValueError as error:
        raise ExperimentError(f"training: {error}") from None
    return experiment.model_copy(update={"training": training}), training, corpus


def start(
    experiment: Experiment,
    training: Training,
    learning_rate: float,
    accelerator: Any = None,
    corpus: Corpus | None = None,
) -> Run:
    """Tokens, model, optimizer and device, as they are before step 1."""
    from frugal_gpu.optim.build import build_optimizer
    from frugal_gpu.optim.schedules import schedule_of

    model_table = experiment.model or config.Model()
    seed, corpus = experiment.seed, corpus or corpus_of(experiment, training)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    accelerator = accelerator or accelerator_of(training)
    torch.manual_seed(seed)
    model = made(model_table, training).to(accelerator.device, weights(training.precision))
    try:
        optimizer = build_optimizer(model, experiment, lr=learning_rate)  # which may put adapters into the model
    except ExperimentError:
        raise
    except ValueError as error:
        raise ExperimentError(f"algorithm: {str(error).removeprefix('Frugal: ')}") from None
    if training.update_in_backward and accelerator.num_processes > 1:
        raise ExperimentError(
            "training.update_in_backward = true steps a parameter before its gradient is averaged over processes; "
            f"{accelerator.num_processes} are at work, one is allowed"
        )
    wrapped = accelerator.prepare(model)
    if training.compile:
        wrapped = torch.compile(wrapped)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        if training.update_in_backward:
            group["check_finite"] = False  # the norm of the gradients says so after the step
    run = Run(training, accelerator, model, wrapped, optimizer, corpus, seed, experiment.data.sampling)
    run.norms = Norms(model) if training.update_in_backward else None
    run.schedule = schedule_of(experiment.algorithm, optimizer)
    run.scaler = scaler(training.precision, accelerator.device)
    run.random = model_table.checkpoint is not None or experiment.adapter is not None
    if experiment.probes is not None and accelerator.is_main_process:
        size = sample_size(experiment.probes, training.batch_size)
        run.watch = Watch(experiment.probes, objective(run, size), training.steps, seed, experiment.algorithm.density)
    return run


def corpus_of(experiment: Experiment, training: Training) -> Corpus:
    """The text of the experiment in tokens, as many as the training reads."""
    model = experiment.model or config.Model()
    needed = training.steps * training.batch_size * training.sequence_length
    data = with_tokenizer(experiment.data, model)
    return prepare(data, experiment.seed, vocabulary_of(model), training.sequence_length, needed)


def accelerator_of(training: Training) -> Any:
    """The device and the processes of the run. Raises :class:`ExperimentError` for a batch that they cannot share."""
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
