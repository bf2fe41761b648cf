"""The rate between SGD and SGDM as a theorem: attained, decaying at the rate of the closed form, and only where it applies."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.interpolation import asymptotic_rate
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


@pytest.mark.parametrize(("density", "alpha"), [(1.0, 0.02), (0.0, 0.02), (0.0, 1.7)])
def test_its_terms_decay_at_the_rate_of_the_closed_form(quadratic, density, alpha):
    """One eigenvalue, so that K·bound grows by 2Δλc(K)²; the roots of M are real for αλ < 0.026 at β = 0.9."""
    table = {"problem": {"kind": "quadratic", "eigenvalues": [1.0, 1.0]}, "noise": {"kind": "none"}, "simulation.steps": 400}
    setting = ft.setting_of(quadratic(table | {"algorithm.density": density, "algorithm.learning_rate": alpha}))
    terms = np.diff(THEOREM.bound(setting) * setting.horizons)
    rate = asymptotic_rate([1.0, 1.0], round(2 * density), alpha, 0.9)
    early = slice(0, 20) if density == 0 else slice(150, 200)  # later terms drown in the sum's rounding, earlier ones mix roots
    kept = terms[early]
    np.testing.assert_allclose(np.sqrt(kept[1:] / kept[:-1]), rate, rtol=PRINTED)


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
