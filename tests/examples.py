"""The examples in docstrings: where they stand, and running those of one module."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules(package: str) -> list[str]:
    """The modules of a package whose docstrings have examples. Nothing is imported."""
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def run(module: str) -> None:
    """Run a module's examples; the report of those that fail is the error."""
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(module)):
        runner.run(test, out=said.append)
    assert runner.tries > 0, f"{module}: no example is found by doctest"
    assert runner.failures == 0, "".join(said)
