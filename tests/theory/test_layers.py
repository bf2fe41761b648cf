"""The contracts of pyproject.toml see an arrow that points upwards, in a skeleton of the two packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason='needs the extra "dev"')

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
CONTRACTS = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LAYERS = [contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"]


@pytest.fixture
def skeleton(tmp_path):
    """The project's file beside packages that are empty."""
    for module in (module for layers in LAYERS for layer in layers for module in layer.replace(" ", "").split(":")):
        folder = tmp_path / module.replace(".", "/")
        folder.mkdir(parents=True)
        for path in (folder, folder.parent):
            (path / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_bytes(PROJECT.read_bytes())
    return tmp_path


def lint_imports(folder):
    call = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", call, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_arrow_is_no_fault(skeleton):
    done = lint_imports(skeleton)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "towards"),
    [
        ("frugal_theory.config", "import frugal_theory.commands", "frugal_theory.commands"),
        ("frugal_theory.theorems", "from frugal_theory import instance", "frugal_theory.instance"),
        ("frugal_gpu.optim", "def later():\n    import frugal_gpu.train", "frugal_gpu.train"),
        ("frugal_theory.report", "import torch", "torch"),
        ("frugal_theory.commands", "import frugal_gpu.optim", "frugal_gpu"),
    ],
    ids=["from the ground to the roof", "one floor up", "inside a function", "torch", "the trainer"],
)
def test_an_arrow_upwards_is_seen(skeleton, module, line, towards):
    (skeleton / module.replace(".", "/") / "__init__.py").write_text(line + "\n", encoding="utf-8")
    done = lint_imports(skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    here = "frugal_theory" if towards in ("torch", "frugal_gpu") else module
    assert f"{here} is not allowed to import {towards}" in " ".join(done.stdout.split())
