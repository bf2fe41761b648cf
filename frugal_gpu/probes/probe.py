"""What a probe sees and gives, and how it is kept from touching the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from frugal_gpu.probes.objective import Gradients, Objective, flat, gradients
from frugal_theory.config.registry import PROBES

__all__ = ["Moment", "Probe", "add_probe", "group_of", "measure", "moved", "price_of", "untouched"]


@dataclass(frozen=True)
class Moment:
    """A step of training, after the backward pass and before the parameters move. ``gradients``: by name, of the whole batch,
    before clipping; they and the model are to be read only. ``objective``: f, for probes that take gradients of their own;
    what they share is computed once. ``density``: of the momentum set."""

    step: int
    learning_rate: float
    model: nn.Module
    gradients: Mapping[str, Tensor]
    objective: Objective | None = None
    density: float = 0.25

    @property
    def function(self) -> Objective:
        """f. Raises ValueError where the moment has none."""
        if self.objective is None:
            raise ValueError("this probe takes gradients of its own, and the moment has no objective")
        return self.objective

    @cached_property
    def here(self) -> Gradients:
        """∇f before the step, twice from independent rows."""
        return gradients(self.function, self.function.micro_batches(self.step), self.step)

    @cached_property
    def before(self) -> Tensor:
        """A copy of the parameters before the step, as one vector; it must be asked for then."""
        return flat(self.model)

    @cached_property
    def there(self) -> Gradients:
        """∇f after the step, from the same rows."""
        return gradients(self.function, self.function.micro_batches(self.step), self.step)

    @cached_property
    def displacement(self) -> Tensor:
        """x⁺ − x, after the step, as one vector in float64."""
        return flat(self.model).double() - self.before.double()

    @cached_property
    def distance_squared(self) -> float:
        """‖x⁺ − x‖², after the step."""
        return float(self.displacement.square().sum())


class Probe(Protocol):
    """One measurement. Four more members may be there: ``moved(moment)`` gives more numbers after the parameters moved.
    ``group``: probes of one group are measured at the same steps and share their gradients (by default each is alone).
    ``price``: what one measurement costs, about, in training steps with as many rows (1), or with the run's own if ``rows`` is
    False: for a probe that takes no gradients."""

    def measure(self, moment: Moment) -> Mapping[str, float]:
        """Numbers by name."""
        ...


def add_probe(name: str, probe: Probe) -> Probe:
    """Add a probe that ``probes.kinds`` may name. Raises ValueError if the name is taken."""
    added: Probe = PROBES.add(name, probe)
    return added


def group_of(kind: str) -> str:
    """The group that a kind is measured with."""
    return str(getattr(PROBES[kind], "group", kind))


def price_of(kinds: Sequence[str], scale: float = 1.0) -> float:
    """What kinds of one group cost together, about, in training steps. ``scale``: the rows of a measurement over a step's."""
    rows = any(getattr(PROBES[kind], "rows", True) for kind in kinds)
    return (scale if rows else 1.0) * max(1.0, sum(float(getattr(PROBES[kind], "price", 1.0)) for kind in kinds))


def measure(kinds: Iterable[str], moment: Moment) -> dict[str, float | None]:
    """What the probes of these kinds find, under "kind.number"; None for what is no finite number.

    Global random states are what they were afterwards, so that a run with probes is the run without them.
    """
    with untouched(moment.model):
        return _numbers(kinds, "measure", moment)


def moved(kinds: Iterable[str], moment: Moment) -> dict[str, float | None]:
    """What they find after the step, likewise."""
    with untouched(moment.model):
        return _numbers([kind for kind in kinds if hasattr(PROBES[kind], "moved")], "moved", moment)


def _numbers(kinds: Iterable[str], method: str, moment: Moment) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for kind in kinds:
        numbers = getattr(PROBES[kind], method)(moment)
        found.update({f"{kind}.{name}": x if math.isfinite(x) else None for name, x in numbers.items()})
    return found


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Global random states of torch, and which modules train, are afterwards what they were."""
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        yield
    for module, training in modes.items():
        module.training = training
