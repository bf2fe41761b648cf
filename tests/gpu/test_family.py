"""The study of all systems: what it measures, draws and answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frugal_gpu.studies.family import Family, _chain, _tokens, final, floor, settings_of
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SYSTEMS
from frugal_theory.report.drawing import style
from frugal_theory.studies.study import ALONE
from tests.tolerances import STANDARD_ERRORS


def test_every_setting_is_one_that_its_system_accepts():
    found = settings_of(40)
    assert {name for name, _ in found} == set(SYSTEMS)
    for name, keys in found:
        Algorithm.model_validate({"system": name, **keys})


def table(losses):
    rows = [
        {
            "system": name,
            "density": density,
            "learning_rate": 1.0,
            "edge": False,
            "state_bytes": held,
            "step": step,
            "loss": loss,
        }
        for (name, density, held), loss in losses.items()
        for step in range(1, 11)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("loss", "status"), [(2.9, "yes"), (3.1, "no")])
def test_the_answer_is_read_off_the_table(loss, status):
    losses = {("adamw", np.nan, 800): 3.0, ("galore", 0.25, 200): 3.5, ("frugal", 0.25, 300): loss, ("muon", np.nan, 900): 1.0}
    answer = Family(10).answer(table(losses))
    assert answer.status == status
    assert f"frugal's, {loss:.3f}, with 38% of the bytes" in answer.sentence
    assert "within 25% of AdamW's state galore (3.500)" in answer.sentence


def test_the_floor_is_the_entropy_of_the_tokens_that_are_drawn():
    """−log P of the tokens as they are drawn has the floor as its mean."""
    rng = np.random.default_rng(3)
    chain = _chain(rng)
    chances = np.diff(chain, axis=1, prepend=0.0)
    batches = [_tokens(chain, rng) for _ in range(100)]
    losses = [-np.log(chances[tokens[:, :-1], tokens[:, 1:]]).mean() for tokens in batches]
    error = np.std(losses, ddof=1) / np.sqrt(len(losses))
    assert abs(np.mean(losses) - floor(3)) < STANDARD_ERRORS * error


@pytest.mark.slow
def test_it_trains_draws_and_answers():
    study = Family(steps=60)
    found = study.measure(None, ALONE)
    scores = final(found).set_index("system")["loss"]
    assert np.isfinite(scores).all()
    assert scores["adamw"] < found.loc[found["step"] == 1, "loss"].min()
    with style():
        assert set(study.draw(found)) == {"family"}
    assert study.answer(found).status in ("yes", "no")
