"""Twenty steps of a tiny LLaMA with every rule give the losses that were recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frugal_theory.config.registry import RULES
from tests.gpu import golden
from tests.tolerances import GOLDEN

RECORDED = json.loads(golden.FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("run", golden.RUNS)
def test_the_losses_are_those_that_were_recorded(run):
    np.testing.assert_allclose(golden.losses(run), RECORDED["losses"][run], rtol=GOLDEN, atol=0)


def test_every_rule_stands_in_the_file():
    assert set(RECORDED["losses"]) == set(golden.RUNS)
    assert {part for run in golden.RUNS for part in run.split(", ")} >= set(RULES)


def test_the_tolerance_tells_runs_apart(monkeypatch):
    """A learning rate that is a ten-thousandth off is seen."""
    true = golden.algorithm

    def rate(run):
        return true(run).learning_rate

    monkeypatch.setattr(golden, "algorithm", lambda run: true(run).model_copy(update={"learning_rate": 1.0001 * rate(run)}))
    for run in ("sgdm, columns, sgd", "adamw, svd, signsgd"):
        assert not np.allclose(golden.losses(run), RECORDED["losses"][run], rtol=GOLDEN, atol=0), run
