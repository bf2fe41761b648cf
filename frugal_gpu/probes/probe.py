"""What a probe sees and gives, and how it is kept from touching the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from frugal_theory.config.registry import PROBES

__all__ = ["Moment", "Probe", "add_probe", "measure"]


@dataclass(frozen=True)
class Moment:
    """A step of training, after the backward pass and before the parameters move. ``gradients``: by name, of the whole batch,
    before clipping; they and the model are to be read only."""

    step: int
    learning_rate: float
    model: nn.Module
    gradients: Mapping[str, Tensor]


class Probe(Protocol):
    """One measurement."""

    def measure(self, moment: Moment) -> Mapping[str, float]:
        """Numbers by name."""
        ...


def add_probe(name: str, probe: Probe) -> Probe:
    """Add a probe that ``probes.kinds`` may name. Raises ValueError if the name is taken."""
    added: Probe = PROBES.add(name, probe)
    return added


def measure(kinds: Iterable[str], moment: Moment) -> dict[str, float | None]:
    """What the probes of these kinds find, under "kind.number"; None for what is no finite number.

    Global random states are what they were afterwards, so that a run with probes is the run without them.
    """
    found: dict[str, float | None] = {}
    with _untouched(moment.model):
        for kind in kinds:
            numbers = PROBES[kind].measure(moment)
            found.update({f"{kind}.{name}": x if math.isfinite(x) else None for name, x in numbers.items()})
    return found


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        yield
    for module, training in modes.items():
        module.training = training
