"""What a study is: a question, a measurement that gives a tidy table, figures drawn from it, and an answer read off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALONE", "Alone", "Answer", "Run", "Status", "Study"]

Status = Literal["yes", "no", "open"]


class Answer(NamedTuple):
    """One sentence with the numbers of the table in it, and what it comes to.

    ``failed``: a claim did not stand (a theorem violated, a planted fault missed): exit status 1. "no" alone is an answer.
    """

    sentence: str
    status: Status
    failed: bool = False


class Run(Protocol):
    """What the runner hands to a measurement: who shares the work, who hears of it, and what an interruption may not lose.

    ``jobs``: processes of this machine; ``cluster``: the address of a Dask scheduler that takes their place.
    """

    jobs: int
    cluster: str | None

    def say(self, text: str) -> None:
        """What is being done, for whoever watches."""
        ...

    def progress(self, done: int, total: int) -> None:
        """How much of it is done."""
        ...

    def kept(self, parts: Mapping[str, Callable[[], pd.DataFrame]]) -> list[pd.DataFrame]:
        """What every part computes, one after the other; each is kept under its key as soon as it is there."""
        ...

    def each(self, function: Callable[..., pd.DataFrame], tasks: Sequence[tuple[Any, ...]]) -> list[pd.DataFrame]:
        """``function(*task)`` for every task, in order, shared among the jobs; each is kept as soon as it is there.

        A task is made of experiments, numbers, words and arrays, or lists and tables of such; its
        :func:`~frugal_theory.config.identity.identity` is the key under which its table is kept.
        """
        ...


class Alone:
    """A run without a runner: silent, nothing kept; in this process, unless the study itself shares its work."""

    def __init__(self, jobs: int = 1, cluster: str | None = None) -> None:
        self.jobs, self.cluster = jobs, cluster

    def say(self, text: str) -> None:
        """Nobody listens."""

    def progress(self, done: int, total: int) -> None:
        """Nobody watches."""

    def kept(self, parts: Mapping[str, Callable[[], pd.DataFrame]]) -> list[pd.DataFrame]:
        """What every part computes, one after the other."""
        return [compute() for compute in parts.values()]

    def each(self, function: Callable[..., pd.DataFrame], tasks: Sequence[tuple[Any, ...]]) -> list[pd.DataFrame]:
        """``function(*task)`` for every task, in order."""
        return [function(*task) for task in tasks]


ALONE = Alone()


class Study(Protocol):
    """A question that is answered by measuring; :func:`frugal_theory.studies.runner.carry_out` runs any of them.

    ``by_cell``: ``measure`` is called once for every cell of the experiment's sweep, with the cell's experiment, and the
    cell's settings become columns of the table. A study whose cells belong together (one error level, one search) takes
    the experiment whole.
    """

    @property
    def name(self) -> str:
        """A word, the name of its folder."""
        ...

    @property
    def question(self) -> str:
        """What is asked, with its question mark."""
        ...

    @property
    def by_cell(self) -> bool:
        """Whether it is measured cell by cell."""
        ...

    def measure(self, experiment: Any, run: Run) -> pd.DataFrame:
        """Everything that is measured, tidy: a row a number, or a few numbers, of one setting.

        ``experiment``: the :class:`~frugal_theory.config.Experiment`; None for a study that needs none.
        """
        ...

    def draw(self, table: pd.DataFrame) -> Mapping[str, Any]:
        """Figures (``matplotlib.figure.Figure``) by name, drawn from the table alone."""
        ...

    def answer(self, table: pd.DataFrame) -> Answer:
        """What the table says."""
        ...
