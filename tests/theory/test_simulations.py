"""The questions under simulations/: every one complete, and what they measure held against closed forms."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.verify import studies
from simulations import study, vanishing_momentum
from tests.tolerances import CONSTANT_GRADIENT

ROOT = Path(__file__).parents[2]

FEW_GAPS = {"algorithm.density": [0.25, 1.0], "algorithm.state_full.beta": [0.5, 0.99], "algorithm.update_gap": [1, 10]}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "simulations", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", study.names())
def test_a_question_is_complete(name):
    asked = study.question(name)
    assert asked.QUESTION.endswith("?")
    assert study.experiment(name).name == name
    assert (study.FIGURES / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    readme = (study.FOLDER / "README.md").read_text(encoding="utf-8")
    row = f"| [{asked.QUESTION}](#{name}) |"
    assert row in readme, f"simulations/README.md has no row {row}"
    for needed in (f"`python -m simulations {name}`", f"### {name}\n", f"(figures/{name}.png)"):
        assert needed in readme


@pytest.mark.parametrize("path", sorted(study.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_an_experiment_can_be_verified(path):
    one = ft.load(path)
    cells = ft.cells(one)
    assert cells
    few = one.model_copy(update={"sweep": {key: values[:1] for key, values in one.sweep.items()}})
    assert all(ready.setting.alpha > 0 for ready in studies(few))


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["vanishing_momentun", "all"], ["vanishing_momentum", "--set", "nonsense=1"]]
)
def test_bad_input_is_one_line(arguments, tmp_path):
    done = command(*arguments, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_answers_are_printed_and_written(tmp_path):
    few = "".join(f'"{key}" = {values}, ' for key, values in FEW_GAPS.items()).removesuffix(", ")
    done = command("vanishing_momentum", "--out", str(tmp_path), "--set", f"sweep={{{few}}}", "--set", "simulation.steps=100")
    assert done.returncode == 0, done.stderr
    assert vanishing_momentum.QUESTION in done.stdout
    folder = tmp_path / "vanishing_momentum"
    assert sorted(path.name for path in folder.iterdir()) == ["figure.png", "table.csv"]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_two_engines_are_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]["find"]
    assert packages == {"include": ["frugal_theory*", "frugal_gpu*"]}


# --- does momentum vanish? -------------------------------------------------------------------------------------


def test_vanishing_momentum():
    keys = {"simulation.steps": 100, "sweep": FEW_GAPS}
    table = vanishing_momentum.measure(study.experiment("vanishing_momentum", keys))
    assert set(table["quantity"]) == {"on the set", "everywhere", "from the start"}
    np.testing.assert_allclose(table["measured"], table["closed_form"], rtol=CONSTANT_GRADIENT)
