"""What a question is, where questions are found, and the frame of their figures."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, load
from frugal_theory.instance import setting_of
from frugal_theory.report.drawing import COLOURS
from frugal_theory.results.files import finished, write_text
from frugal_theory.theorems.theorem import off_the_family

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FIGURES",
    "FOLDER",
    "Question",
    "check_algorithm_2",
    "experiment",
    "names",
    "panels",
    "picture",
    "question",
    "write",
]

FOLDER = Path(__file__).parent
FIGURES = FOLDER / "figures"

WIDTH, HEIGHT = 860, 330
"""Size of a figure, in points: as wide as a README is read."""


class Question(Protocol):
    """A module of this folder. Its experiment is the file of the same name beside it, an ordinary experiment file."""

    QUESTION: str

    def measure(self, experiment: Experiment) -> pd.DataFrame:
        """Everything that is measured, tidy: a row a number or a few numbers of one setting."""
        ...

    def draw(self, table: pd.DataFrame) -> Any:
        """The figure, a ``matplotlib.figure.Figure``, drawn from the table alone."""
        ...

    def answer(self, table: pd.DataFrame) -> str:
        """One sentence with the numbers of the table in it."""
        ...


def names() -> list[str]:
    """Every question: the modules of this folder that have an experiment file beside them."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.with_suffix(".toml").exists())


def question(name: str) -> Question:
    """The question of that name. Raises ExperimentError, in one line, if there is none."""
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        raise ExperimentError(f'simulations: "{name}" is not a question; {hint}allowed: {", ".join(known)}, all')
    return cast(Question, import_module(f"simulations.{name}"))


def experiment(name: str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a question, with keys set apart as by ``--set``."""
    return load(FOLDER / f"{name}.toml", overrides=overrides)


def check_algorithm_2(experiment: Experiment) -> None:
    """Raise ExperimentError unless it is SGDM on an oblivious set and SGD, at the same learning rate, off it.

    Any reading of momentum off the set will do.
    """
    algorithm = experiment.algorithm.model_copy(update={"off_set_momentum": "reset"})
    setting = setting_of(experiment.model_copy(update={"algorithm": algorithm}))
    reason = off_the_family(setting)
    if reason is None and setting.runs is None:
        reason = f'the set of subspace "{algorithm.subspace}" is not known to be oblivious'
    if reason is None and algorithm.state_free.lr_scale != 1:
        reason = f"the state-free lr_scale is {algorithm.state_free.lr_scale:g}, not 1"
    if reason is None and algorithm.state_free.rule == "none":
        reason = 'the state-free rule is "none", not "sgd"'
    if reason is not None:
        raise ExperimentError(f"{experiment.name}: algorithm: {reason}")


def panels(
    title: str,
    subtitles: Sequence[str],
    note: str = "",
    *,
    height: float = HEIGHT,
    left: float = 52,
    gap: float = 58,
    right: float = 16,
) -> tuple[Any, list[Any]]:
    """A figure of panels side by side, and their axes; call it, and draw, inside ``frugal_theory.report.drawing.style()``.

    The title states the finding; each panel has a subtitle that says what its vertical axis measures; the note below them
    says what the marks are. ``left``, ``gap`` and ``right``, in points, are the room beside and between the axes, for tick
    labels and names of lines.
    """
    from matplotlib.figure import Figure

    top, bottom = 58, 60 if note else 44
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.text(8 / WIDTH, 1 - 18 / height, title, fontsize=13, fontweight="bold", va="baseline")
    figure.text(8 / WIDTH, 9 / height, note, fontsize=9.5, color=COLOURS["quiet"], va="baseline")
    width = (WIDTH - left - right - gap * (len(subtitles) - 1)) / len(subtitles)
    found = []
    for place, subtitle in enumerate(subtitles):
        x = left + place * (width + gap)
        axes: Any = figure.add_axes((x / WIDTH, bottom / height, width / WIDTH, (height - top - bottom) / height))
        figure.text((x - left + 8) / WIDTH, 1 - 42 / height, subtitle, fontsize=10.5, color=COLOURS["quiet"], va="baseline")
        axes.tick_params(length=0, pad=4)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        found.append(axes)
    return figure, found


def picture(figure: Any) -> bytes:
    """The figure as PNG, the same bytes whenever it is drawn from the same numbers."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130, metadata={"Software": None})
    return png.getvalue()


def write(folder: Path, table: pd.DataFrame, png: bytes) -> None:
    """figure.png and table.csv, every digit kept, each renamed to its name when it is complete."""
    write_text(folder / "table.csv", str(table.to_csv(index=False, lineterminator="\n")))
    with finished(folder / "figure.png") as temporary:
        temporary.write_bytes(png)
