"""Registries: what can be named in an experiment file, or asked for by name, and how more of it is added at run time.

There is one kind of registry for everything that can be added. What comes with the package is loaded when it is first asked
for, so a registry may stand below what it holds; what is added from outside reaches the processes that share the work
(:func:`carry`), lambdas and classes of ``__main__`` included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, get_args

from frugal_theory.config.parts import Part, quoted

__all__ = [
    "NOISES",
    "PROBES",
    "PROBLEMS",
    "RULES",
    "SCHEDULES",
    "SOURCES",
    "SUBSPACES",
    "SYSTEMS",
    "TASKS",
    "Kind",
    "Registry",
    "additions",
    "carry",
    "extended",
    "table_name",
]

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """Entries by name: first those that come with the package, then those that were added, in that order.

    ``noun``: what an entry is called in messages. ``home``: where this registry lives, "module:NAME". ``builtin``: where each
    entry that comes with the package lives. ``each`` makes the entry of what is found there.
    """

    def __init__(
        self, noun: str, home: str, builtin: Mapping[str, str] | None = None, each: Callable[[Any], Entry] | None = None
    ) -> None:
        self.noun, self.home = noun, home
        self._builtin, self._each = dict(builtin or {}), each
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, entry: Entry) -> Entry:
        """Add an entry. Raises ValueError if the name is taken."""
        if name in self:
            raise ValueError(f'a {self.noun} named "{name}" exists already; taken are {quoted(self)}')
        self._entries[name] = entry
        _ADDED.append(Addition(self, name, entry))
        return entry

    def is_added(self, name: str) -> bool:
        """Whether the entry of that name was added at run time."""
        return name in self._entries and name not in self._builtin

    def remove(self, addition: Addition) -> None:
        """Take back what was added."""
        self._entries.pop(addition.name, None)

    def replace(self, addition: Addition) -> None:
        """Let what was added under that name be this one."""
        self._entries[addition.name] = addition.entry

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            where, _, attribute = self._builtin[name].partition(":")
            found = getattr(import_module(where), attribute)
            self._entries[name] = found if self._each is None else self._each(found)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._entries

    def __iter__(self) -> Iterator[str]:
        yield from self._builtin
        yield from [name for name in self._entries if name not in self._builtin]

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash(self.home)

    def __reduce__(self) -> tuple[Callable[[str], Registry[Any]], tuple[str]]:
        return _found, (self.home,)

    def __repr__(self) -> str:
        return f"<{len(self)} of noun {self.noun}: {', '.join(self)}>"


def _found(home: str) -> Registry[Any]:
    where, _, attribute = home.partition(":")
    registry: Registry[Any] = getattr(import_module(where), attribute)
    return registry


@dataclass(frozen=True)
class Addition:
    """One entry that was added at run time."""

    registry: Registry[Any]
    name: str
    entry: Any


_ADDED: list[Addition] = []


def additions() -> tuple[Addition, ...]:
    """Everything that was added, in that order."""
    return tuple(_ADDED)


@contextmanager
def extended() -> Iterator[None]:
    """What is added inside is gone at the end."""
    before = len(_ADDED)
    try:
        yield
    finally:
        while len(_ADDED) > before:
            addition = _ADDED.pop()
            addition.registry.remove(addition)


def carry(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called in another process: what was added here is added there first."""
    return _Carried(function, tuple(_ADDED), os.getpid()) if _ADDED else function


@dataclass(frozen=True)
class _Carried:
    """A picklable function with the additions that it may need, and the process that made them."""

    function: Callable[..., Any]
    additions: tuple[Addition, ...]
    process: int

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        for addition in self.additions:
            if addition.name not in addition.registry:
                addition.registry.add(addition.name, addition.entry)
            elif os.getpid() != self.process:  # a worker outlives a run, and may have been told of another by that name
                addition.registry.replace(addition)
        return self.function(*arguments, **keywords)


# --- what the experiment file describes by a table, or by a name ----------------------------------------------------


@dataclass(frozen=True)
class Kind(Generic[Entry]):
    """Something that the experiment file describes by a table: the table's class, and what makes the thing of such a table."""

    table: type[Part]
    make: Callable[..., Entry]


def table_name(table: type[Part], tag: str, known: Registry[Kind[Any]]) -> str:
    """The name that a table gives itself by ``tag: Literal["name"] = "name"``.

    Raises ValueError for a table without such a field, or one that derives from a table with a name of its own, for which
    theorems would take it.
    """
    field = table.model_fields.get(tag)
    if field is None or not isinstance(field.default, str) or get_args(field.annotation) != (field.default,):
        raise ValueError(f'{table.__name__} needs the field {tag}: Literal["name"] = "name"')
    parents = [kind.table.__name__ for kind in known.values() if issubclass(table, kind.table) and kind.table is not table]
    if parents:
        raise ValueError(
            f"{table.__name__} derives from {parents[0]}, so theorems would take it for one; derive it from Part or Vector"
        )
    return field.default


_HERE = "frugal_theory.config.registry"

RULES: Registry[Any] = Registry(
    "rule",
    f"{_HERE}:RULES",
    {
        name: f"frugal_theory.algorithm.rules.{module}:KIND"
        for name, module in {
            "sgdm": "sgdm",
            "adamw": "adamw",
            "lion": "lion",
            "adagrad": "adagrad",
            "sgd": "sgd",
            "signsgd": "signsgd",
            "none": "nothing",
            "adalayer": "adalayer",
            "adafactor": "adafactor",
            "like_full": "like_full",
            "one_sided": "one_sided",
            "late_sign": "late_sign",
            "adamw_early_eps": "adamw_early_eps",
            "nesterov": "nesterov",
            "muon": "muon",
            "ldadam": "ldadam",
            "split": "split",
        }.items()
    },
)
"""What ``algorithm.state_full`` and ``algorithm.state_free`` may name: a rule stands on the sides that its table says."""

SUBSPACES: Registry[Any] = Registry(
    "subspace",
    f"{_HERE}:SUBSPACES",
    {
        name: f"frugal_theory.algorithm.subspaces:{name.upper()}"
        for name in ("coordinates", "blocks", "columns", "rows", "randk", "random", "svd", "eigen", "gaussian")
    },
)
"""What ``algorithm.subspace`` may be."""

SYSTEMS: Registry[Any] = Registry(
    "system",
    f"{_HERE}:SYSTEMS",
    {
        name: f"frugal_theory.algorithm.systems:{name.upper().replace('-', '_')}"
        for name in (
            "frugal",
            "galore",
            "badam",
            "fira",
            "adamem",
            "adalayer",
            "adalayer-sgdm",
            "adalayer-signsgd",
            "apollo",
            "apollo-mini",
            "ldadam",
            "muon",
            "adamw",
            "adamw-first",
            "adamw-last",
            "lion",
            "sgdm",
            "sgd",
            "signsgd",
        )
    },
)
"""What ``algorithm.system`` may name."""

PROBLEMS: Registry[Any] = Registry(
    "problem",
    f"{_HERE}:PROBLEMS",
    {name: f"frugal_theory.problems.{name}:KIND" for name in ("quadratic", "logistic", "nonconvex", "matrix")},
)
"""What ``problem.kind`` may be."""

NOISES: Registry[Any] = Registry(
    "noise",
    f"{_HERE}:NOISES",
    {
        name: f"frugal_theory.problems.noise:{name.upper().replace('-', '_')}"
        for name in ("none", "gaussian", "student-t", "minibatch")
    },
)
"""What ``noise.kind`` may be."""

SOURCES: Registry[Any] = Registry(
    "data source",
    f"{_HERE}:SOURCES",
    {name: f"frugal_gpu.data.{name.replace('-', '_')}:SOURCE" for name in ("python-docs", "python-sources", "markov", "c4")},
)
"""What ``data.source`` may name; anything else is a path."""

TASKS: Registry[Any] = Registry(
    "task",
    f"{_HERE}:TASKS",
    {
        **{
            name: f"frugal_gpu.data.tasks.glue:{name.upper()}"
            for name in ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
        },
        **{
            name: f"frugal_gpu.data.tasks.commonsense:{name.upper().replace('-', '_')}"
            for name in (
                "commonsense",
                "boolq",
                "piqa",
                "siqa",
                "hellaswag",
                "winogrande",
                "arc-easy",
                "arc-challenge",
                "openbookqa",
            )
        },
    },
)
"""What ``data.task`` may be: GLUE's, and those of Commonsense170K."""

SCHEDULES: Registry[Any] = Registry(
    "schedule",
    f"{_HERE}:SCHEDULES",
    {
        name: f"frugal_gpu.train.schedule:{where}"
        for name, where in {
            "cosine": "cosine",
            "constant": "constant",
            "linear": "linear",
            "wsd": "wsd",
            "cosine-cycles": "CYCLES",
            "jagged-cosine": "JAGGED",
        }.items()
    },
)
"""What ``training.schedule`` may be."""

PROBES: Registry[Any] = Registry(
    "probe",
    f"{_HERE}:PROBES",
    {name: f"frugal_gpu.probes.{name}:PROBE" for name in ("gradient", "noise", "smoothness", "descent", "curvature", "angles")},
)
"""What ``probes.kinds`` may name. The trainer's registries stand here because the file that names their entries does."""
