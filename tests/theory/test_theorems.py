"""Theorems: bounds against the formulas of docs/theory/, reductions between them, and where each applies."""

from __future__ import annotations

import numpy as np
import pytest

from frugal_theory.instance import setting_of
from frugal_theory.theorems import THEOREMS, add_theorem
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.sgdm import Sgdm
from frugal_theory.theorems.theorem import published_step
from frugal_theory.theorems.theorem_5_2 import Theorem52
from tests.tolerances import ROUNDING

BETAS = np.concatenate([np.linspace(0, 0.99, 34), 1 - np.geomspace(1e-2, 1e-9, 15)])


def setting(experiment, alpha=0.001):
    return setting_of(experiment).having(learning_rate=alpha)


def constants(s):
    return s.gap, s.smoothness, s.total_variance, s.horizons


def test_the_sgd_bound(quadratic):
    s = setting(quadratic({"algorithm.density": 0.0}), 0.3)
    gap, smooth, sigma2, k = constants(s)
    expected = (gap / (k * 0.3) + smooth * 0.3 * sigma2 / 2) / (1 - smooth * 0.3 / 2)
    np.testing.assert_allclose(Sgd().bound(s), expected, rtol=ROUNDING)
    assert Sgd().largest_step(s) == (2 / smooth, False)


def test_the_sgd_bound_counts_the_state_free_scale(quadratic):
    scaled = setting(quadratic({"algorithm.density": 0.0, "algorithm.state_free.lr_scale": 0.5}), 0.4)
    plain = setting(quadratic({"algorithm.density": 0.0}), 0.2)
    np.testing.assert_allclose(Sgd().bound(scaled), Sgd().bound(plain), rtol=ROUNDING)
    assert Sgd().largest_step(scaled)[0] == 2 * Sgd().largest_step(plain)[0]


def test_the_sgdm_bound(quadratic):
    s = setting(quadratic({"algorithm.density": 1.0}))
    gap, smooth, sigma2, k = constants(s)
    expected = 2 * gap / (k * 0.001) + ((0.9 + 3 * 0.81) / (2 * 1.9) + 1) * smooth * 0.001 * sigma2
    np.testing.assert_allclose(Sgdm().bound(s), expected, rtol=ROUNDING)
    assert Sgdm().largest_step(s) == (pytest.approx(0.1 / (4 - 0.9 + 0.81)), True)


def test_the_run_length_bound_of_a_fixed_set(quadratic):
    s = setting(quadratic({"algorithm.set": [0, 3, 7], "noise.sigma": [0.1 * (j + 1) for j in range(12)]}))
    gap, smooth, sigma2, k = constants(s)
    on_set = sum((0.1 * (j + 1)) ** 2 for j in (0, 3, 7))
    noise = smooth * 0.001 / 2 * (sigma2 + np.sqrt(2) * 0.9 / 1.9 * on_set)
    expected = (gap / (k * 0.001) + noise) / (1 - smooth * 0.001 * (0.5 + np.sqrt(2) * 9))
    np.testing.assert_allclose(RunLength().bound(s), expected, rtol=ROUNDING)


def test_the_run_length_bound_of_independent_sampling(quadratic):
    """E W² on the momentum part, as the corollary of run-length.md states it."""
    p, beta, alpha = 0.3, 0.9, 0.001
    s = setting(quadratic({"algorithm.density": p, "algorithm.update_gap": 1}), alpha)
    gap, smooth, sigma2, k = constants(s)
    w2 = 1 - 2 * (1 - p) * beta / (1 - p * beta) + (1 - p) * beta**2 / (1 - p * beta**2)
    noise = (1 - p + p * w2) * sigma2 + np.sqrt(2) * beta / (1 + beta) * p * w2 * sigma2
    expected = (gap / (k * alpha) + smooth * alpha / 2 * noise) / (1 - smooth * alpha * (0.5 + np.sqrt(2) * 9))
    np.testing.assert_allclose(RunLength().bound(s), expected, rtol=ROUNDING)


def test_an_empty_set_makes_the_run_length_bound_the_sgd_bound(quadratic):
    s = setting(quadratic({"algorithm.density": 0.0}), 0.7)
    np.testing.assert_allclose(RunLength().bound(s), Sgd().bound(s), rtol=ROUNDING)
    assert RunLength().largest_step(s)[0] == pytest.approx(Sgd().largest_step(s)[0])


@pytest.mark.parametrize("beta", BETAS)
def test_the_published_step_condition_implies_the_run_length_one(beta):
    assert published_step(1.0, beta) * (0.5 + np.sqrt(2) * beta / (1 - beta)) < 1


def test_run_length_against_liu_et_al():
    """For J = [d], on the whole admissible range, at most 0.774 of their transient and 0.698 of their noise constant."""
    transient, noise = [], []
    for beta in BETAS:
        for share in (0.01, 0.5, 1.0):
            alpha = share * published_step(1.0, beta)
            divisor = 1 - alpha * (0.5 + np.sqrt(2) * beta / (1 - beta))
            transient.append(1 / divisor / 2)
            theirs = (beta + 3 * beta**2) / (2 * (1 + beta)) + 1
            noise.append(0.5 * (1 + np.sqrt(2) * beta / (1 + beta)) / divisor / theirs)
    assert 0.773 < max(transient) <= 0.774
    assert 0.69 < max(noise) <= 0.698


@pytest.mark.parametrize(("density", "factor"), [(0.0, 1.0), (1.0, 1.0), (0.5, 1 + 0.5 * 0.5 * 9)])
def test_theorem_5_2_and_its_probabilities(quadratic, density, factor):
    s = setting(quadratic({"algorithm.density": density}))
    gap, smooth, sigma2, k = constants(s)
    np.testing.assert_allclose(Theorem52().bound(s), gap / (k * 0.001) + smooth * 0.001 * sigma2 * factor, rtol=ROUNDING)


def test_theorem_5_2_on_a_schedule(quadratic):
    """Blocks in ascending order, one at a time: p̂_max = 1 and p̄_min = 0 until every block has been visited."""
    overrides = {"algorithm": {"subspace": "blocks", "order": "ascending", "density": 0.25, "update_gap": 5}}
    s = setting(
        quadratic(
            overrides
            | {"problem.blocks": 4, "algorithm.state_full": {"rule": "sgdm", "beta": 0.9}, "algorithm.state_free": "sgd"}
        )
    )
    gap, smooth, sigma2, k = constants(s)
    factor = (Theorem52().bound(s) - gap / (k * 0.001)) / (smooth * 0.001 * sigma2)
    np.testing.assert_allclose(factor[:15], 10.0, rtol=1e3 * ROUNDING)
    np.testing.assert_allclose(factor[19], 1 + 0.75 * 9, rtol=1e3 * ROUNDING)


COVERED = [
    ("sgd", {"algorithm.density": 0.0}, True),
    ("sgd", {"algorithm.state_full.beta": 0.0}, True),
    ("sgd", {}, False),
    ("sgd", {"algorithm.density": 0.0, "algorithm.state_free.rule": "signsgd"}, False),
    ("sgd", {"algorithm.density": 0.0, "algorithm.weight_decay": 0.1}, False),
    ("sgdm", {"algorithm.density": 1.0}, True),
    ("sgdm", {"algorithm.set": list(range(12))}, True),
    ("sgdm", {}, False),
    ("sgdm", {"algorithm.density": 1.0, "algorithm.state_full": "adamw"}, False),
    ("sgdm_sharp", {"algorithm.density": 1.0}, True),
    ("sgdm_sharp", {"algorithm.density": 0.0, "algorithm.state_free.lr_scale": 0.5}, True),
    ("sgdm_sharp", {"algorithm.state_full.beta": 0.0}, True),
    ("sgdm_sharp", {}, False),
    ("sgdm_sharp", {"algorithm.density": 1.0, "algorithm.weight_decay": 0.1}, False),
    ("sgdm_linear", {"algorithm.density": 1.0}, True),
    ("sgdm_linear", {"algorithm.density": 0.0}, True),
    ("sgdm_linear", {}, False),
    ("sgd_weight_decay", {"algorithm.density": 0.0, "algorithm.weight_decay": 0.1}, True),
    ("sgd_weight_decay", {"algorithm.density": 0.0}, False),
    ("sgd_weight_decay", {"algorithm.density": 1.0, "algorithm.weight_decay": 0.1}, False),
    ("sgd_weight_decay", {"algorithm.weight_decay": 0.1}, False),
    ("run_length", {}, True),
    ("run_length", {"algorithm.state_free.lr_scale": 0.5}, True),
    ("run_length", {"algorithm.state_free.rule": "none"}, True),
    ("run_length", {"algorithm.state_free.lr_scale": 1.5}, False),
    ("run_length", {"algorithm.state_free.rule": "signsgd"}, False),
    ("run_length", {"algorithm.state_full": "lion"}, False),
    ("run_length", {"algorithm.off_set_momentum": "hold"}, False),
    ("run_length", {"algorithm.off_set_momentum": "decay"}, False),
    ("run_length", {"algorithm.off_set_momentum": "hold", "algorithm.set": [0, 1]}, True),
    ("run_length", {"algorithm.subspace": "random"}, True),
    ("run_length", {"algorithm.subspace": "random", "algorithm.on_update": "keep"}, False),
    ("run_length", {"algorithm.subspace": "random", "algorithm.on_update": "project"}, False),
    ("run_length", {"algorithm.subspace": "eigen"}, True),
    ("theorem_5_2", {}, True),
    ("theorem_5_2", {"algorithm.state_free.lr_scale": 0.5}, False),
    ("theorem_5_2", {"algorithm.state_free.rule": "none"}, False),
    ("theorem_5_2", {"algorithm.subspace": "random"}, False),
]


@pytest.mark.parametrize(("name", "overrides", "covered"), COVERED, ids=str)
def test_what_each_theorem_covers(quadratic, name, overrides, covered):
    reason = THEOREMS[name].covers(setting(quadratic(overrides)))
    assert (reason is None) == covered
    assert covered or (isinstance(reason, str) and reason)


@pytest.mark.parametrize("name", THEOREMS)
def test_every_theorem_documents_itself(name):
    theorem = THEOREMS[name]
    assert theorem.name == name
    for text in (theorem.title, theorem.source, theorem.statement, type(theorem).__doc__):
        assert text
    assert theorem.statement.split()[0] == "avg"


def test_names_of_theorems_are_unique():
    with pytest.raises(ValueError, match="exists already"):
        add_theorem(Sgd())


def test_a_given_set_is_named_by_its_size(quadratic):
    """Its density says nothing: the set stands in its place."""
    setting = setting_of(quadratic({"algorithm.set": [0, 1], "algorithm.density": 1.0}))
    assert THEOREMS["sgdm"].covers(setting) == "momentum is not on every coordinate (2 coordinates)"
    assert "on 2 coordinates" in THEOREMS["sgd"].covers(setting)
