"""Questions: a module NAME.py beside an experiment NAME.toml, of this package or anybody's, as a study."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import frugal_theory
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, load
from frugal_theory.config.registry import Registry
from frugal_theory.studies.study import Answer, Run, Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FOLDER", "STUDIES", "Question", "experiment", "from_file", "names", "written"]

FOLDER = Path(frugal_theory.__file__).parent / "simulations"
"""Experiments and questions. In a checkout a link to simulations/; an installed package has them here."""

NEEDED = ("QUESTION", "measure", "draw", "answer")


@dataclass(frozen=True)
class Question:
    """The study that a module is: ``QUESTION``, ``measure(experiment, run)``, ``draw(table)`` and ``answer(table)``.

    ``measure`` may do without ``run``. It sees one cell of the experiment's sweep at a time, unless ``WHOLE = True``. One
    figure may stand for a dictionary of them, and a sentence or (sentence, "yes") for an :class:`Answer`.
    """

    module: ModuleType

    @property
    def path(self) -> Path:
        """The module's file."""
        return Path(str(self.module.__file__))

    @property
    def name(self) -> str:
        """The module's own name."""
        return self.path.stem

    @property
    def question(self) -> str:
        """What is asked."""
        return str(self.module.QUESTION)

    @property
    def by_cell(self) -> bool:
        """Whether ``measure`` is called cell by cell."""
        return not getattr(self.module, "WHOLE", False)

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """The module's measurement."""
        alone = len(inspect.signature(self.module.measure).parameters) == 1
        table: pd.DataFrame = self.module.measure(experiment) if alone else self.module.measure(experiment, run)
        return table

    def draw(self, table: pd.DataFrame) -> Mapping[str, Any]:
        """The module's figures, by name."""
        drawn = self.module.draw(table)
        return drawn if isinstance(drawn, Mapping) else {self.name: drawn}

    def answer(self, table: pd.DataFrame) -> Answer:
        """The module's answer; a sentence alone leaves the question open."""
        found = self.module.answer(table)
        return Answer(found, "open") if isinstance(found, str) else Answer(*found)

    def __reduce__(self) -> tuple[Any, ...]:
        """Modules are not pickled: another process imports this one, or reads its file."""
        return _again, (self.module.__name__, str(self.path))


def names() -> list[str]:
    """Every question of this package: the modules that have an experiment file beside them."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.with_suffix(".toml").exists())


STUDIES: Registry[Study] = Registry(
    "study",
    "frugal_theory.studies.questions:STUDIES",
    {
        **{name: f"{frugal_theory.__name__}.{FOLDER.name}.{name}:__name__" for name in names()},
        "adversaries": "frugal_theory.studies.adversaries.study:ADVERSARIES",
    },
    each=lambda found: Question(import_module(found)) if isinstance(found, str) else found,
)
"""What ``frugal-theory study`` answers by name: the questions of this package, the adversaries, and studies that were added.

One with a ``path``, a file beside its experiment, is measured on that experiment, others on none.
"""


def experiment(name: str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a question of this package, with keys set apart as by ``--set``."""
    return load(FOLDER / f"{name}.toml", overrides=overrides)


class _AsWritten(SourceFileLoader):
    """Compiles the file as it is. What Python keeps compiled it takes for that of a file of the same size and second."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        """The code of the file."""
        return self.source_to_code(self.get_data(self.path), self.path)


def from_file(path: Path) -> Study:
    """The study in a file of the user's: its ``STUDY``, or the module as a question.

    Its folder is where it finds its neighbours, as for ``python path``. Raises ExperimentError, in one line, for what is no
    study.
    """
    if not path.is_file():
        raise ExperimentError(f"{path}: no such file; give a study of this package or the path of one of your own (.py)")
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=_AsWritten(path.stem, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise ExperimentError(f"{path}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file of the user's raises
        raise ExperimentError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    if hasattr(module, "STUDY"):
        study: Study = module.STUDY
        return study
    if missing := [part for part in NEEDED if not hasattr(module, part)]:
        raise ExperimentError(f"{path}: has no {missing[0]}; a study has {', '.join(NEEDED)}")
    return Question(module)


def written(path: Path) -> str:
    """What a study is written in: its file, and those beside it that it has imported."""
    folder = path.parent.resolve()
    loaded = {Path(file).resolve() for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    beside = sorted(file for file in loaded if file.parent == folder and file.suffix == ".py" and file.is_file())
    return "\n".join(file.read_text(encoding="utf-8") for file in dict.fromkeys([path.resolve(), *beside]))


def _again(name: str, path: str) -> Study:
    try:
        module = import_module(name)
    except ImportError:
        return from_file(Path(path))
    return Question(module) if str(module.__file__) == path else from_file(Path(path))
