"""The objective of a run, and its gradient on rows that are drawn for a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["MICRO_BATCHES", "Gradients", "Objective", "by_parameter", "flat", "gradients", "parameters_of"]

MICRO_BATCHES = 8
"""Of one measurement: four pairs, whose halves are independent."""

COORDINATES = 2048
"""Of each tensor so many coordinates, evenly spread, are kept of every micro-batch, for the moments of the noise."""


@dataclass(frozen=True)
class Objective:
    """f(x) = (1/n) Σ f_i(x), f_i the loss of row i: what a training step of ``batch_size`` rows takes a gradient of.

    ``rows``: n. ``loss``: the mean loss of some rows at the model's parameters, to be differentiated. ``draw(step, size)``:
    rows drawn uniformly with replacement, from a stream that the training does not read; a pure function. ``size``: the rows of
    one measurement, a multiple of :data:`MICRO_BATCHES`. ``seed``: of what the model itself draws (dropout).
    """

    model: nn.Module
    rows: int
    loss: Callable[[Sequence[int]], Tensor]
    draw: Callable[[int, int], list[int]]
    batch_size: int
    size: int
    seed: int = 0

    def micro_batches(self, step: int) -> list[list[int]]:
        """The rows of the measurement at a step, in :data:`MICRO_BATCHES` equal parts."""
        rows = self.draw(step, self.size)
        share = self.size // MICRO_BATCHES
        return [rows[begin : begin + share] for begin in range(0, self.size, share)]


@dataclass(frozen=True)
class Gradients:
    """The gradient of f estimated twice from independent rows: means of the first and of the second of pairs of micro-batches.

    ``first``, ``second``: all parameters' entries in the model's order, ``layout`` their names and numbers. ``losses``: of the
    micro-batches. ``spread``: by parameter, the mean over pairs of ½‖g − g'‖², which is the variance of one micro-batch's
    gradient without bias. ``corner``: (micro-batches, coordinates kept), and in ``weight`` how many each stands for.
    """

    first: Tensor
    second: Tensor
    layout: dict[str, int]
    losses: list[float]
    spread: dict[str, float]
    corner: Tensor
    weight: Tensor

    def inner(self) -> dict[str, float]:
        """⟨first, second⟩ by parameter: E of it is ‖∇f‖², without the variance that a squared norm contains."""
        return by_parameter(self.first * self.second, self.layout)

    def mean(self) -> Tensor:
        """The gradient of the whole sample."""
        return (self.first + self.second) / 2


def parameters_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name, shared ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def flat(model: nn.Module) -> Tensor:
    """A copy of all trainable parameters as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in parameters_of(model).values()])


def by_parameter(vector: Tensor, layout: dict[str, int]) -> dict[str, float]:
    """The sums over each parameter's entries, in float64."""
    sums = torch.stack([part.sum(dtype=torch.float64) for part in torch.split(vector, list(layout.values()))])
    return dict(zip(layout, sums.tolist(), strict=True))


def gradients(objective: Objective, batches: Sequence[Sequence[int]], step: int) -> Gradients:
    """The gradients of some micro-batches, an even number, at the model's parameters.

    What the model draws (dropout) depends on the step and the micro-batch alone, so that it is the same at another point. Four
    vectors of the model's size are held at most.
    """
    parameters = parameters_of(objective.model)
    layout = {name: parameter.numel() for name, parameter in parameters.items()}
    index, weight = _corner(layout)
    index = index.to(next(iter(parameters.values())).device)
    sums: list[Tensor | None] = [None, None]
    spread = dict.fromkeys(layout, 0.0)
    losses, corner, previous = [], [], torch.empty(0)
    for number, rows in enumerate(batches):
        torch.manual_seed(((objective.seed * 1_000_003 + step) * MICRO_BATCHES + number) % 2**63)  # untouched() restores it
        with torch.enable_grad():
            loss = objective.loss(rows)
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        losses.append(loss.detach())
        pieces = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), found, strict=True)]
        now = torch.cat([piece.flatten() for piece in pieces])
        corner.append(now[index].double())
        half = sums[number % 2]
        sums[number % 2] = now.clone() if half is None else half.add_(now)
        if number % 2:
            for name, value in by_parameter(previous.sub_(now).square_(), layout).items():
                spread[name] += value / 2
        previous = now
    first, second = sums
    assert first is not None
    assert second is not None
    pairs = len(batches) // 2
    means = {name: value / pairs for name, value in spread.items()}
    values = torch.stack(losses).double().tolist()
    return Gradients(first / pairs, second / pairs, layout, values, means, torch.stack(corner), weight.to(index.device))


def _corner(layout: dict[str, int]) -> tuple[Tensor, Tensor]:
    """The places of the coordinates that are kept, and how many each stands for."""
    places, weights, begin = [], [], 0
    for size in layout.values():
        kept = torch.arange(begin, begin + size, max(1, size // COORDINATES))
        places.append(kept)
        weights.append(torch.full((len(kept),), size / max(1, len(kept)), dtype=torch.float64))
        begin += size
    return torch.cat(places), torch.cat(weights)
