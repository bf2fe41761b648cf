"""frugal-theory study: answer questions about the method, those of this package or one's own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frugal_theory.commands.options import CORES, Cluster, Jobs, Out, Settings
from frugal_theory.config.load import ExperimentError, load, parse_overrides
from frugal_theory.config.one_line import printable

if TYPE_CHECKING:
    from frugal_theory.config import Experiment
    from frugal_theory.studies.runner import Outcome
    from frugal_theory.studies.study import Study

__all__ = ["Names", "answer_all", "study"]

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|PATH.py ...]", help="Studies, or all; none lists them with their questions."),
]


def study(names: Names = None, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None) -> None:
    """Answer questions, each by one experiment, those of this package or your own. Exit status 1 if a claim failed."""
    several = len(set(names or [])) > 1 or "all" in (names or [])

    def folder(name: str) -> Path:
        return out if out is not None and not several else (out or Path("runs")) / name

    failed = [name for name, found in answer_all(names or [], settings, folder, jobs, cluster) if found.answer.failed]
    if failed:
        raise typer.Exit(1)


def answer_all(
    names: Sequence[str],
    settings: Sequence[str] | None,
    folder: Callable[[str], Path],
    jobs: int | None,
    cluster: str | None,
) -> Iterator[tuple[str, Outcome]]:
    """Carry out the studies of these names, each in its own folder, and say what they found; without names, list them."""
    from frugal_theory.studies.runner import carry_out

    if not names:
        _list()
    for one, experiment, source in _prepared(names, parse_overrides(settings or [])):
        print(f"{one.name}: {one.question}", flush=True)
        place = folder(one.name)
        found = carry_out(one, experiment, place, jobs=jobs or CORES, cluster=cluster, source=source)
        print(f"    {found.answer.sentence}")
        print(f"    {found.answer.status}; {found.seconds:.1f} s; {printable(str(place))}\n", flush=True)
        yield one.name, found


def _list() -> None:
    from frugal_theory.studies.questions import STUDIES

    for name, one in STUDIES.items():
        print(f"{name:20} {one.question}")
    print("\nfrugal-theory study NAME answers one, frugal-theory study all every one, frugal-theory study PATH.py your own.")


def _prepared(names: Sequence[str], overrides: Mapping[str, Any]) -> list[tuple[Study, Experiment | None, str]]:
    """The studies of these names, their experiments and their texts; "all" is every one that has a name.

    Everything is read before anything runs. Raises ExperimentError, in one line, for a name that is none.
    """
    from frugal_theory.studies.questions import STUDIES, from_file, written

    for name in names:
        if name not in STUDIES and name != "all" and not name.endswith(".py"):
            close = difflib.get_close_matches(name, STUDIES, n=1, cutoff=0.5)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            raise ExperimentError(f'study: "{name}" is not a study; {hint}allowed: {", ".join(STUDIES)}, all, or a file.py')
    found = []
    asked = [name for given in names for name in (STUDIES if given == "all" else [given])]
    for name in dict.fromkeys(asked):
        one = STUDIES[name] if name in STUDIES else from_file(Path(name))
        path = Path(name) if name not in STUDIES else getattr(one, "path", None)
        experiment = None if path is None else load(path.with_suffix(".toml"), overrides)
        found.append((one, experiment, "" if path is None else written(path)))
    return found
