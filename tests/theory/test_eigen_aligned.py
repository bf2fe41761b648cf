"""The rate between SGD and SGDM as a theorem: attained, decaying at the rate of the closed form, and only where it applies."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.interpolation import asymptotic_rate, best_rate
from frugal_theory.theorems import THEOREMS
from tests.tolerances import LONG_RECURSION, PRINTED

VALUES = [1.0, 0.5, 0.2, 0.05]
THEOREM = THEOREMS["eigen_aligned"]


def experiment(quadratic, start, **algorithm):
    table = {
        "problem": {"kind": "quadratic", "eigenvalues": VALUES, "start": [float(x) for x in start]},
        "noise": {"kind": "none"},
        "simulation.steps": 400,
        "algorithm.set": [0, 1],
    }
    return quadratic(table | {f"algorithm.{key}": value for key, value in algorithm.items()})


@pytest.mark.parametrize("keys", [{}, {"state_free.lr_scale": 0.4}, {"set": [2, 3]}, {"state_free.rule": "none"}], ids=str)
@pytest.mark.parametrize("alpha", [0.1, 1.5])
def test_the_bound_is_the_largest_exact_value_over_starts_along_one_direction(quadratic, keys, alpha):
    """With all of Δ = 1 on one eigenvalue at a time; so it is attained, and no bound could be smaller."""
    starts = np.diag(np.sqrt(2 / np.array(VALUES)))
    runs = [experiment(quadratic, start, learning_rate=alpha, **keys) for start in starts]
    attained = np.max([ft.exact(run).mean for run in runs], axis=0)
    for run in runs:
        setting = ft.setting_of(run)
        assert THEOREM.covers(setting) is None
        np.testing.assert_allclose(THEOREM.bound(setting), attained, rtol=LONG_RECURSION)


@pytest.mark.parametrize("alpha", [0.05, 1.2, 3.0])
def test_its_terms_decay_at_the_rate_of_the_closed_form(quadratic, alpha):
    setting = ft.setting_of(experiment(quadratic, np.ones(4), learning_rate=alpha))
    total = THEOREM.bound(setting) * setting.horizons
    rate = asymptotic_rate(VALUES, 2, alpha, 0.9)
    remaining = total[-1] - total[:300]
    assert alpha < THEOREM.largest_step(setting)[0]
    slope = np.polyfit(np.arange(100, 200), np.log(remaining[100:200]), 1)[0] / 2
    if rate**400 < 1e-6:
        assert np.exp(slope) <= rate * (1 + PRINTED)
    assert best_rate(VALUES, 2).rate <= rate


def test_momentum_on_the_top_directions_frees_the_step(quadratic):
    """α < 2/λ_3 = 10 in place of 2/λ_1 = 2; with momentum on the others it stays at 2."""

    def step(members):
        return THEOREM.largest_step(ft.setting_of(experiment(quadratic, np.ones(4), set=members)))

    assert step([0, 1]) == (pytest.approx(10.0), False)
    assert step([2, 3]) == (pytest.approx(2.0), False)
    assert step([0, 1, 2, 3]) == (pytest.approx(2 * 1.9 / 0.1), False)


def test_a_rotated_quadratic_has_the_same_bound(quadratic):
    keys = {"problem": {"kind": "quadratic", "eigenvalues": VALUES, "rotated": True}, "noise": {"kind": "none"}}
    run = quadratic(keys | {"algorithm.subspace": "eigen", "algorithm.density": 0.5, "algorithm.learning_rate": 1.5})
    setting = ft.setting_of(run)
    assert THEOREM.covers(setting) is None
    flat = ft.setting_of(experiment(quadratic, np.ones(4), learning_rate=1.5).model_copy(update={"simulation": run.simulation}))
    np.testing.assert_allclose(THEOREM.bound(setting) / setting.gap, THEOREM.bound(flat) / flat.gap, rtol=LONG_RECURSION)
    verdicts = ft.verify(run, theorems=[THEOREM])
    assert [v.status for v in verdicts] == ["holds"]
