"""One step of training, and one evaluation: the numbers of a run, without what is written of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frugal_gpu.data.batches import Packed, Sequences, batch_indices, independent_indices, shard
from frugal_gpu.data.tasks.examples import Labels
from frugal_gpu.data.tasks.task import Task
from frugal_gpu.data.tokens import Corpus
from frugal_gpu.optim.schedules import AdaFrugal
from frugal_gpu.probes import Objective, Watch
from frugal_gpu.train.divergence import diverged, may_skip
from frugal_gpu.train.norms import Norms
from frugal_gpu.train.precision import arithmetic
from frugal_gpu.train.schedule import learning_rate_factor
from frugal_gpu.train.scores import scores
from frugal_gpu.train.sharding import total_norm
from frugal_theory.algorithm.selection import selection_key
from frugal_theory.config import Training

__all__ = ["Run", "assess", "batch_of", "evaluate", "evaluated", "objective", "shown", "take_step"]


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
    sampling: str = "shuffled"
    watch: Watch | None = None
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf
    skipped: int = 0
    folder: Path = Path()
    scaler: torch.amp.GradScaler | None = None
    random: bool = False
    in_a_row: int = 0
    task: Task | None = None
    schedule: AdaFrugal | None = None
    norms: Norms | None = None

    @property
    def labels(self) -> int:
        """Numbers that the model makes of a row with a label."""
        return 0 if self.task is None else self.task.labels

    @property
    def shares(self) -> bool:
        """Whether several processes hold a share of the model each, so that all of them have to call it together."""
        return self.training.sharding == "fsdp2" and self.accelerator.num_processes > 1

    def agreed(self, here: bool) -> bool:
        """Whether all processes say so."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor(float(here), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") == self.accelerator.num_processes)

    def synchronised(self, last: bool) -> AbstractContextManager[Any]:
        """What a backward pass is made in: processes exchange their gradients in the ``last`` one of a step."""
        if self.shares:
            model: Any = self.model
            model.set_requires_gradient_sync(last)
            return nullcontext()
        found: AbstractContextManager[Any] = nullcontext() if last else self.accelerator.no_sync(self.wrapped)
        return found


def take_step(run: Run, step: int) -> dict[str, Any]:
    """One optimizer step; returns loss, learning rate and the squared norm of the mini-batch gradient.

    The loss is the mean over all predicted tokens of the step, however they are divided into micro-batches and
    processes.
    """
    training, accelerator = run.training, run.accelerator
    indices = batch_of(run, step)
    tokens = run.corpus.train.predicted(indices)
    micro = training.batch_size // training.accumulation
    run.wrapped.train()
    if run.schedule is not None:
        run.schedule.step()
    if run.random:  # dropout, a pure function of seed, step and process
        torch.manual_seed(selection_key(run.seed, f"dropout {accelerator.process_index}", step) % 2**63)
    factor = learning_rate_factor(training, step)
    for group in run.optimizer.param_groups:  # now, for a step may be taken in the backward pass
        group["lr"] = group["initial_lr"] * factor
    total = torch.zeros((), device=accelerator.device)
    for begin in range(0, len(indices), micro):
        mine = shard(indices[begin : begin + micro], accelerator.process_index, accelerator.num_processes)
        last = begin + micro == len(indices)
        with run.synchronised(last):
            summed = _summed_loss(run, run.corpus.train, mine)
            # processes average their gradients, hence the factor
            mean = summed * (accelerator.num_processes / tokens)
            accelerator.backward(mean if run.scaler is None else run.scaler.scale(mean))
        total += summed.detach()
    if run.scaler is not None:
        run.scaler.unscale_(run.optimizer)
        run.scaler.update()
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    norm = total_norm(gradients) if run.norms is None else run.norms.total()
    rate = run.optimizer.param_groups[0]["initial_lr"] * factor
    summed, length = torch.stack([accelerator.reduce(total, "sum"), norm.to(total.dtype)]).tolist()  # the host waits once
    loss, squared = summed / tokens, length**2
    run.tokens += run.corpus.train.read(indices)
    if not math.isfinite(loss + squared):
        if run.agreed(may_skip(run.model, training, run.scaler, loss, run.in_a_row)):
            run.optimizer.zero_grad(set_to_none=True)
            run.skipped, run.in_a_row = run.skipped + 1, run.in_a_row + 1
            return {"skipped": "loss" if not math.isfinite(loss) else "gradient", "learning_rate": rate}
        found = f"loss {loss:g} at step {step} with learning rate {rate:g}"
        raise diverged(run.model, training, run.folder, found, early=step == 1)
    run.in_a_row = 0
    visit = None if run.watch is None else run.watch.visit(step, *_before(run, factor))
    if training.max_gradient_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(run.model.parameters(), training.max_gradient_norm, norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    values = {"loss": loss, "learning_rate": rate, "squared_gradient_norm": squared, **density(run.optimizer)}
    values |= {} if run.schedule is None else run.schedule.shown()
    return {**values, **({} if visit is None else visit.after())}


def density(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The present density of the parameters that are split, as a mean over their numbers; nothing where none is, or by rank."""
    split = [group for group in optimizer.param_groups if group.get("split") is True]
    sizes = [sum(parameter.numel() for parameter in group["params"]) for group in split]
    if not sum(sizes) or any(group.get("rank") is not None for group in split):
        return {}
    return {"density": sum(size * group["density"] for size, group in zip(sizes, split, strict=True)) / sum(sizes)}


def _before(run: Run, factor: float) -> tuple[float, dict[str, torch.Tensor]]:
    """The learning rate of the step and its gradients by name, before clipping: what probes are told."""
    gradients = {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None}
    return run.optimizer.param_groups[0]["initial_lr"] * factor, gradients


def batch_of(run: Run, step: int) -> list[int]:
    """The sequences of a step, by number."""
    if run.sampling == "independent":
        return independent_indices(run.seed, "independent data", step, run.training.batch_size, _equal_rows(run))
    return batch_indices(run.seed, step, run.training.batch_size, len(run.corpus.train), run.corpus.window)


def _equal_rows(run: Run) -> int:
    """How many sequences f is the mean loss of: of a stream all but a short last one, so that each predicts as many tokens."""
    packed = run.corpus.train
    whole = packed.tokens // packed.length if isinstance(packed, Packed) else 0
    return whole or len(packed)


def objective(run: Run, size: int) -> Objective:
    """f: the mean loss of the training sequences, which batches are drawn from."""

    def loss(rows: Sequence[int]) -> torch.Tensor:
        return _summed_loss(run, run.corpus.train, list(rows), run.model) / run.corpus.train.predicted(rows)

    def draw(step: int, count: int) -> list[int]:
        return independent_indices(run.seed, "probe data", step, count, _equal_rows(run))

    return Objective(run.model, _equal_rows(run), loss, draw, run.training.batch_size, size, run.seed)


def _summed_loss(run: Run, packed: Sequences, indices: list[int], model: nn.Module | None = None) -> torch.Tensor:
    """Σ −log p over the predicted tokens of some sequences, in nats; of the ``model`` or, by default, as it is wrapped."""
    logits, targets = shown(run, packed, indices, model)
    return packed.summed_loss(logits, targets)


def shown(run: Run, packed: Sequences, indices: list[int], model: nn.Module | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model makes of some sequences, in float32, and what it should have made."""
    inputs, targets = (tensor.to(run.accelerator.device, non_blocking=True) for tensor in packed.batch(indices))
    with arithmetic(run.training.precision, run.accelerator.device):
        logits = (run.wrapped if model is None else model)(input_ids=inputs, **packed.model_inputs(inputs)).logits.float()
    return logits, targets


def evaluated(run: Run) -> int:
    """Number of validation sequences in one evaluation."""
    packed, cap = run.corpus.validation, run.training.evaluation_tokens
    return len(packed) if cap is None else min(len(packed), -(-cap // packed.length))


def evaluate(run: Run) -> tuple[float, dict[str, float]]:
    """The mean loss over the validation part (up to ``evaluation_tokens``), where each token, or each row with a label, weighs
    the same; and what a task measures of its labels."""
    return assess(run, run.corpus.validation, evaluated(run))


def assess(run: Run, packed: Sequences, count: int) -> tuple[float, dict[str, float]]:
    """The same of the first ``count`` sequences of any part. Every process computes its share, and all get the result."""
    training, accelerator = run.training, run.accelerator
    mine = range(accelerator.process_index, count, accelerator.num_processes)
    size = max(1, training.batch_size // training.accumulation // accelerator.num_processes)
    total = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    labelled = isinstance(packed, Labels)
    made = torch.zeros((count, run.labels) if labelled else (0, 0), dtype=torch.float64, device=accelerator.device)
    run.wrapped.eval()
    with torch.no_grad():
        for begin in range(0, -(-count // accelerator.num_processes), size):
            indices = list(mine[begin : begin + size])
            logits, targets = shown(run, packed, indices or [0])  # processes exchange in each pass: all make as many
            if not indices:
                continue
            total += packed.summed_loss(logits, targets).double()
            if labelled:
                made[indices] = logits.double()
    loss = float(accelerator.reduce(total, "sum")) / packed.predicted(range(count))
    if not isinstance(packed, Labels) or run.task is None:
        return loss, {}
    return loss, scores(run.task, packed, accelerator.reduce(made, "sum"))
