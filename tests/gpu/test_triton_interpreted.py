"""The GPU's kernels in triton's interpreter, on a CPU: every kind of part, rule and type against the formula."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.kernels import cases
from tests.tolerances import BFLOAT16_STEP, FLOAT32

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton (pip install 'frugal-lab[triton]')"),
]


@pytest.fixture(scope="module")
def errors():
    """What the cases' largest errors are, from one process for all."""
    run = subprocess.run([sys.executable, "-m", "tests.gpu.interpreted"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return {line["case"]: line["error"] for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_kernels_follow_the_formula(case, errors):
    assert errors[case.name] <= (FLOAT32 if case.dtype == torch.float32 else BFLOAT16_STEP)


@pytest.mark.parametrize("subspace", ["blocks", "columns"])
def test_a_learning_rate_on_the_device_is_the_number(subspace, errors):
    assert errors[f"{subspace}, α on the device"] <= FLOAT32
