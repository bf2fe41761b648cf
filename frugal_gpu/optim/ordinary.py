"""Ordinary steps: what a step of a group has worked out is kept for the next, as long as nothing has changed that it rests on.

Most steps differ from the one before in gradients, learning rates and counts alone. So the jobs of a step are kept, and taken
again if all else is as it was: the group's options, its parameters and who of them has a gradient, their types and places in
memory, their parts, and every tensor of their states. Whatever else is found, the step is worked out anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from frugal_gpu.optim.backends.backend import Job, Law, WholeStep

__all__ = ["Kept", "kept_of"]

Group = dict[str, Any]

MOVING = ("params", "lr", "step")
"""Entries of a group that move from step to step, or are looked at apart."""


@dataclass(slots=True)
class _Watched:
    """A job, and what must still be so for it to be taken again."""

    job: Job
    state: dict[str, Any] | None
    held: list[tuple[str, Tensor, int]]
    counter: type
    dtype: Any
    strides: tuple[int, ...]
    place: int


@dataclass(slots=True)
class Kept:
    """The jobs of a group's last step: those that were ``watched``; parameters ``without`` a gradient had none."""

    law: Law
    wholes: list[WholeStep]
    watched: list[_Watched]
    without: list[Tensor]
    jobs: list[Job]
    parameters: list[Tensor]
    others: list[int]
    options: list[Any]
    counted: bool

    def again(self, groups: Sequence[Group], index: int, states: Mapping[Tensor, dict[str, Any]]) -> list[Job] | None:
        """The jobs of this step, their steps counted where the host counts; None if something is not as it was."""
        group = groups[index]
        if group["step"] - group["began"] >= group["update_gap"] or not self._same_group(groups, index):
            return None
        for x in self.without:
            if x.grad is not None:
                return None
        for watched in self.watched:
            job = watched.job
            x = job.parameter
            gradient = x.grad
            if (
                gradient is None
                or type(gradient) is not Tensor
                or gradient.dtype is not watched.dtype
                or gradient.is_sparse
                or gradient.stride() != watched.strides
                or gradient.device != x.device
                or x.data_ptr() != watched.place
                or states.get(x) is not watched.state
            ):
                return None
            state = watched.state
            if self.counted and "step" in job.statistics and type(state.get("step")) is not watched.counter:  # type: ignore[union-attr]
                return None
            for name, tensor, place in watched.held:
                if state.get(name) is not tensor or tensor.data_ptr() != place:  # type: ignore[union-attr]
                    return None
        for watched in self.watched:
            job = watched.job
            job.gradient = job.parameter.grad  # type: ignore[assignment]
            if self.counted and watched.state is not None and "step" in job.statistics:  # what is frozen has a state, too
                count = watched.state["step"]
                if isinstance(count, int):
                    watched.state["step"] = job.statistics["step"] = count + 1
        return self.jobs

    def let_go(self) -> None:
        """Hold no gradient until the next step: ``zero_grad()`` must free them for the forward pass."""
        for job in self.jobs:
            job.gradient = job.parameter

    def _same_group(self, groups: Sequence[Group], index: int) -> bool:
        group = groups[index]
        parameters = group["params"]
        if len(parameters) != len(self.parameters) or any(a is not b for a, b in zip(parameters, self.parameters, strict=True)):
            return False
        return self.others == [len(each["params"]) for each in groups] and self.options == _options(group)


def kept_of(
    law: Law,
    wholes: list[WholeStep],
    jobs: list[Job],
    without: list[Tensor],
    groups: Sequence[Group],
    index: int,
    states: Mapping[Tensor, dict[str, Any]],
) -> Kept:
    """What is kept of a step whose jobs are of the parameters themselves."""
    group = groups[index]
    watched = []
    for job in jobs:
        state = states.get(job.parameter)
        held = [] if state is None else [(k, v, v.data_ptr()) for k, v in state.items() if isinstance(v, Tensor)]
        gradient = job.gradient
        counter = type(job.statistics.get("step"))
        watched.append(_Watched(job, state, held, counter, gradient.dtype, gradient.stride(), job.parameter.data_ptr()))
    others = [len(each["params"]) for each in groups]
    kept = Kept(law, wholes, watched, without, jobs, list(group["params"]), others, _options(group), law.rule.counts)
    kept.let_go()
    return kept


def _options(group: Mapping[str, Any]) -> list[Any]:
    """The values of a group's options; lists, which may be changed in place, as tuples."""
    values = [value for key, value in group.items() if key not in MOVING and not isinstance(value, Tensor)]
    return [tuple(value) if type(value) is list else value for value in values]
