"""Notebooks without running them: stripped, listed, and the theorem of ``your_own_theorem`` against exact expectations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.problems import Quadratic
from tests.tolerances import LONG_RECURSION

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST = 60


def cells(name):
    """The sources of a notebook's code cells."""
    content = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_the_readme_lists_it(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert f"(notebooks/{path.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def theorem():
    (source,) = [cell for cell in cells("your_own_theorem") if cell.startswith("class SgdOnQuadratic")]
    namespace = {"__name__": "your_own_theorem", "np": np, "Quadratic": Quadratic}
    exec(source, namespace)
    return namespace["SgdOnQuadratic"]()


def test_the_theorem_and_its_verification_are_sixty_lines():
    _, theorem, verification, *_ = cells("your_own_theorem")
    assert theorem.startswith("class SgdOnQuadratic")
    assert "ft.verify" in verification
    assert len((theorem + "\n" + verification).splitlines()) <= LONGEST


@pytest.mark.parametrize("step", [0.01, 0.5, 1.0, 1.9])
def test_the_theorem_of_the_notebook_is_attained_and_never_exceeded(theorem, quadratic, step):
    """The start along λ = L attains it at every K; other starts of the same gap stay below. Every σ_j is another."""
    rng = np.random.default_rng(5)
    eigenvalues = [2.0, *rng.uniform(0, 2, 6).tolist(), 0.0]
    for j in range(7):
        start = [0.0] * 8
        start[j] = float((2 / eigenvalues[j]) ** 0.5)  # Δ = 1
        experiment = quadratic(
            {
                "problem": {"kind": "quadratic", "eigenvalues": eigenvalues, "start": start},
                "noise.sigma": rng.uniform(0, 1, 8).tolist(),
                "algorithm.density": 0.0,
                "algorithm.learning_rate": step / 2.0,
                "simulation.steps": 300,
            }
        )
        share = ft.exact(experiment).mean / theorem.bound(ft.setting_of(experiment))
        assert np.all(share <= 1 + LONG_RECURSION)
        if j == 0:
            np.testing.assert_allclose(share, 1, rtol=LONG_RECURSION)
