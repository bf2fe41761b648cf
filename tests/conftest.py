"""Experiments and arrays that many tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.config.load import parse
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.evidence.worst_case import programs as worst_case
from frugal_theory.testing import scaled
from frugal_theory.theorems import THEOREMS
from tests.contributing import BLOCKS

QUADRATIC = """
name = "test"
seed = 7

[algorithm]
learning_rate = 0.02
density = 0.5
update_gap = 10
subspace = "coordinates"
state_full = { rule = "sgdm", beta = 0.9 }
state_free = { rule = "sgd" }

[problem]
kind = "quadratic"
dimension = 12

[noise]
kind = "gaussian"
sigma = 0.1

[simulation]
steps = 60
trials = 48
"""


@pytest.fixture(scope="session")
def quadratic() -> Callable[..., ft.Experiment]:
    """``quadratic({"algorithm.density": 0.5})``: a small quadratic experiment with these keys set apart."""

    def build(overrides: dict[str, Any] | None = None) -> ft.Experiment:
        return parse(QUADRATIC, "test.toml", overrides)

    return build


@pytest.fixture
def experiment_file(tmp_path: Path) -> Callable[..., Path]:
    """``experiment_file(text, overrides)``: NAME.toml in the test's folder, by default with the small quadratic.

    A text is written as it is; with overrides, the experiment that they make of it.
    """

    def write(text: str = QUADRATIC, overrides: dict[str, Any] | None = None) -> Path:
        experiment = parse(text, "test.toml", overrides)
        path = tmp_path / f"{experiment.name}.toml"
        path.write_text(ft.dump(experiment) if overrides else text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], None]:
    """``planted("sgd", 0.9)``: that theorem has its bound times 0.9 for as long as the test takes."""

    def plant(name: str, factor: float) -> None:
        monkeypatch.setitem(THEOREMS._entries, name, scaled(THEOREMS[name], factor))

    return plant


@pytest.fixture
def solve_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve worst cases here, not in processes of their own: those cost seconds to start, and have tests of their own."""
    from frugal_theory.evidence.worst_case.sdp import solve

    def ask(task: dict[str, Any], _timeout: float) -> worst_case.Answer:
        inside, weights = np.array(task["members"], dtype=bool), np.array(task["weights"])
        return worst_case.Answer(task["solver"], *solve(inside, updates(**task["updates"]), task["solver"], weights))

    monkeypatch.setattr(worst_case, "_ask", ask)


@pytest.fixture
def block() -> Iterator[Callable[[str], dict[str, object]]]:
    """``block("A rule")``: what is in that block's namespace of CONTRIBUTING.md; everything it adds is gone after the test."""
    with ft.extended():

        def run(title: str) -> dict[str, object]:
            code = compile(BLOCKS[title], f"CONTRIBUTING.md: {title}", "exec", dont_inherit=True)  # not our annotations
            namespace: dict[str, object] = {"__name__": f"contributing_{title.split()[-1]}"}
            exec(code, namespace)
            return namespace

        yield run
