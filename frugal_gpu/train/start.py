"""A run before its first step: what it needs, its text, its model and its optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from frugal_gpu.data.tasks.prepare import labels_of, prepare_task, task_of
from frugal_gpu.data.tasks.rows import check_place
from frugal_gpu.data.text import check_source, check_tokenizer, source_of
from frugal_gpu.data.tokens import Corpus, prepare
from frugal_gpu.model.build import check_model, made, padding_of, shapes_only, vocabulary_of, with_tokenizer
from frugal_gpu.model.confined import check_confined
from frugal_gpu.probes import Watch, sample_size
from frugal_gpu.train.norms import Norms
from frugal_gpu.train.precision import scaler, weights
from frugal_gpu.train.sharding import check_sharding, check_state, shard_model
from frugal_gpu.train.sizes import check_machine
from frugal_gpu.train.step import Run, objective
from frugal_theory import config
from frugal_theory.config import Data, Experiment, Training
from frugal_theory.config.load import ExperimentError

if TYPE_CHECKING:
    from frugal_gpu.optim.frugal import Frugal

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
    check_sharding(experiment)
    check_machine(experiment)
    check_data(with_tokenizer(experiment.data, experiment.model), experiment.model)
    check_algorithm(experiment, learning_rate)
    return learning_rate


def check_algorithm(experiment: Experiment, learning_rate: float) -> None:
    """Raise :class:`ExperimentError` where the model has no parameters as ``[algorithm]`` and ``[adapter]`` name them.

    Shapes tell, before any text is read; what cannot do without numbers is met when the model is there.
    """
    model = shapes_only(experiment.model or config.Model(), labels_of(experiment.data))
    try:
        with torch.device("meta"):
            optimizer_of(model, experiment, learning_rate)
    except RuntimeError:  # torch's, where a rule of one's own reads numbers that shapes lack: the model itself will tell
        return


def optimizer_of(model: nn.Module, experiment: Experiment, learning_rate: float) -> Frugal:
    """The optimizer, and adapters in the model. Raises :class:`ExperimentError` in the words of the experiment file."""
    from frugal_gpu.optim.build import build_optimizer

    try:
        return build_optimizer(model, experiment, lr=learning_rate)
    except ExperimentError:
        raise
    except ValueError as error:
        said = str(error).removeprefix("Frugal: ")  # rules of Frugal are the file's groups
        raise ExperimentError(f"algorithm.groups{said[5:]}" if said.startswith("rules[") else f"algorithm: {said}") from None


def check_data(data: Data, model: config.Model) -> None:
    """Raise :class:`ExperimentError` where ``[data]`` names nothing that can be read, or no task of the model's."""
    task, labelled = task_of(data), model.task == "sequence-classification"
    if labelled and (task is None or not task.labels):
        given = "is missing" if task is None else f'= "{data.task}" has answers, no labels'
        raise ExperimentError(
            f'data.task {given}; model.task = "sequence-classification" needs one with labels, such as "cola"'
        )
    if task is None:
        check_source(data)
        return
    if task.labels and not labelled:
        raise ExperimentError(
            f'model.task = "{model.task}": data.task = "{data.task}" has labels; "sequence-classification" is allowed'
        )
    check_place(data.source, str(data.task))
    if data.tokenizer is None:
        raise ExperimentError(
            f'data.tokenizer: is missing; data.task = "{data.task}" needs one, or a model.checkpoint with its own'
        )
    check_tokenizer(data)


def resolved(experiment: Experiment) -> tuple[Experiment, Training, Corpus | None]:
    """The experiment with its ``epochs`` in steps, its [training], and the text if that had to be read for it."""
    training = experiment.training or Training()
    if training.epochs is None:
        return experiment, training, None
    if experiment.data.task is None and source_of(experiment.data).endless and experiment.data.tokens is None:
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
    from frugal_gpu.optim.schedules import schedule_of

    model_table = experiment.model or config.Model()
    seed, corpus = experiment.seed, corpus or corpus_of(experiment, training)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    accelerator = accelerator or accelerator_of(training)
    torch.manual_seed(seed)
    task = task_of(experiment.data)
    sharded = training.sharding == "fsdp2"
    model = made(model_table, training, 0 if task is None else task.labels, corpus.padding)
    check_confined(model, model_table, experiment.data)
    model = model.to(weights(training.precision))
    model = shard_model(model, accelerator) if sharded else model.to(accelerator.device)
    optimizer = optimizer_of(model, experiment, learning_rate)
    if sharded:
        check_state(model, optimizer)
    if training.update_in_backward and accelerator.num_processes > 1:
        raise ExperimentError(
            "training.update_in_backward = true steps a parameter before its gradient is averaged over processes; "
            f"{accelerator.num_processes} are at work, one is allowed"
        )
    wrapped = model if sharded else accelerator.prepare(model)
    if training.compile:
        wrapped = torch.compile(wrapped)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        group["check_finite"] = False  # the norm of the gradients says so, before the step or (update_in_backward) after it
    run = Run(training, accelerator, model, wrapped, optimizer, corpus, seed, experiment.data.sampling)
    run.task = task
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
    if data.task is not None:
        return prepare_task(data, experiment.seed, vocabulary_of(model), training.sequence_length, padding_of(model))
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
