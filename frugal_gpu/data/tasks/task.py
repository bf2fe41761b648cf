"""What a task is: where its rows are, what of a row the model sees, and what is measured on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from frugal_theory.config.registry import TASKS

__all__ = ["Answered", "Labelled", "Row", "Task", "add_task"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Labelled:
    """One or two texts, and the number of their class, or a real number that is to be predicted."""

    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True)
class Answered:
    """A prompt, the response that is to follow it, and in that the answer by which it is judged."""

    prompt: str
    response: str
    answer: str


@dataclass(frozen=True)
class Task:
    """A task of the registry. ``hub``: name (and after an @ the revision) and configuration of its data set there.

    ``read(row)``: what a row holds; raises ValueError, in words, for one that holds nothing of use. ``labels``: how many
    classes, 1 for a real number, 0 for a task with answers. ``metrics``: names of what is measured (see ``train.scores``), the
    one that decides first. ``validation``: the split that it is measured on; ``others``: further ones, or tasks, that are
    measured at the end of a run. ``files``: names beside its own under which a folder may hold its rows.
    """

    hub: tuple[str, str | None]
    read: Callable[[Row], Labelled | Answered]
    labels: int = 0
    metrics: tuple[str, ...] = ("accuracy",)
    validation: str | None = "validation"
    others: tuple[str, ...] = field(default=())
    files: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        """Whether a real number is predicted."""
        return self.labels == 1


def add_task(name: str, task: Task) -> Task:
    """Add a task that ``data.task`` may name. Raises ValueError if the name is taken."""
    added: Task = TASKS.add(name, task)
    return added
