"""What docs/theory states, written down again from the page, is what the bounds compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.short_runs import SHARES
from tests.tolerances import FACTORISATION, ROUNDING

EIGENVALUES, SIGMA, START = np.array([2.0, 0.7, 0.3]), np.array([0.3, 0.1, 0.5]), [1.0, -2.0, 0.5]
BETA, STEPS = 0.8, 7
K = np.arange(1, STEPS + 1)

GRID = 1e-6
"""How far the least value on the grid of η may be above the minimum: the square of the grid's spacing of 2e-4, relative."""


def setting(algorithm: dict[str, Any], alpha: float, blocks: int = 1) -> Any:
    problem = {"kind": "quadratic", "eigenvalues": EIGENVALUES.tolist(), "start": START, "blocks": blocks}
    noise = {"kind": "gaussian", "sigma": SIGMA.tolist()}
    rule = {"state_full": {"rule": "sgdm", "beta": BETA}} | algorithm | {"learning_rate": alpha}
    return ft.setting_of(
        ft.parse({"name": "stated", "algorithm": rule, "problem": problem, "noise": noise, "simulation": {"steps": STEPS}})
    )


def average(values: Any) -> Any:
    return np.cumsum(values) / K


def drawn(p: float, gap: int) -> tuple[Any, Any]:
    """E W and E W² of a unit that is in the set, steps 1 … K, by the sum over the periods in which it stays."""
    stays, left = np.arange(400), gap - (K - 1) % gap
    weight = 1 - BETA ** (left[:, None] + gap * stays)
    law = p**stays * (1 - p)
    return weight @ law, weight**2 @ law


@pytest.mark.parametrize("gap", [1, 3, 5, 20])
def test_held_sets_pays_for_the_least_weight_up_to_k(gap):
    known = setting({"subspace": "coordinates", "density": 0.4, "update_gap": gap, "state_free": "sgd"}, 0.02)
    least = np.minimum.accumulate(drawn(0.4, gap)[0])
    np.testing.assert_allclose(THEOREMS["held_sets"].bound(known) * least, THEOREMS["run_length"].bound(known), rtol=ROUNDING)
    if gap <= STEPS:
        assert least[-1] == pytest.approx(1 - BETA * 0.6 / (1 - 0.4 * BETA**gap), rel=ROUNDING)


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_short_runs_has_the_best_of_both_its_constants(gap):
    p, alpha, s = 0.4, 0.1, 0.5
    free = {"rule": "sgd", "lr_scale": s}
    known = setting({"subspace": "coordinates", "density": p, "update_gap": gap, "state_free": free}, alpha)
    square = drawn(p, gap)[1]
    phase, over = (K - 1) % gap, (K - 1) // gap
    aged = [
        sum(p**n * (1 - p) * BETA ** (2 * (i + n * gap)) for n in range(m)) + p**m * BETA ** (2 * (i + m * gap))
        for i, m in zip(phase, over, strict=True)
    ]
    later = np.arange(1, 400)  # steps after one of phase i; the run goes on with probability p at every new period
    memory = 0.0
    for i in range(gap):
        alive, left = p ** ((i + later) // gap), gap - (i + later) % gap
        squares = (
            1 - 2 * BETA**left * (1 - p) / (1 - p * BETA**gap) + BETA ** (2 * left) * (1 - p) / (1 - p * BETA ** (2 * gap))
        )
        weight = 1 - BETA ** (gap - i) * (1 - p) / (1 - p * BETA**gap)
        memory = max(memory, np.sum(alive * squares * (1 - BETA) * BETA ** (later - 1.0)) / weight)
    variance, smoothness = np.sum(SIGMA**2), EIGENVALUES.max()
    inside = p * square * variance
    lag = (smoothness * alpha * BETA / (1 - BETA)) ** 2
    plain = known.gap / (K * alpha) + smoothness * alpha / 2 * average(inside + (1 - p) * s**2 * variance)
    young = average(inside * (1 - np.array(aged)))
    eta = np.geomspace(1e-3, 2, 40001)[:, None]
    found = np.full(STEPS, np.inf)
    for c in SHARES:
        left = 1 - smoothness * alpha / 2 - eta / 2 - (1 + c) * memory * lag / (2 * eta)
        value = (plain + lag / (2 * eta) * (1 + 1 / c) * (1 - BETA) / (1 + BETA) * young) / np.where(left > 0, left, np.nan)
        found = np.fmin(found, np.nanmin(np.where(left > 0, value, np.inf), axis=0))
    bound = THEOREMS["short_runs"].bound(known)
    np.testing.assert_allclose(bound, found, rtol=GRID)
    assert np.all(bound <= found * (1 + FACTORISATION))


@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("law", ["fixed", "drawn", "in turn"])
def test_lion_pays_its_lag_for_the_longest_step(law, kappa):
    first, second, alpha, gap, c = 0.9, 0.95, 0.05, 2, np.sqrt(3) / 4
    how = {
        "fixed": {"subspace": "coordinates", "set": [0, 2]},
        "drawn": {"subspace": "coordinates", "density": 0.4},
        "in turn": {"subspace": "blocks", "order": "ascending", "density": 1 / 3},
    }[law]
    rules = {"state_full": {"rule": "lion", "betas": [first, second]}, "state_free": {"rule": "signsgd", "lr_scale": kappa}}
    known = setting(how | rules | {"update_gap": gap}, alpha, blocks=3 if law == "in turn" else 1)
    age = np.arange(1, STEPS + 1)
    rho, past = 1 - first * second ** (age - 1.0), np.sqrt((1 - second) / (1 + second) * (1 - second ** (2.0 * (age - 1))))
    late = (1 - second ** (age - 1.0)) / (1 - second) - (age - 1) * second ** (age - 1.0)
    noise = np.minimum(c * (1 - first) + 2 * first * past, 2 * np.sqrt((1 - first) ** 2 + first**2 * past**2)) / rho
    chance = np.zeros((STEPS, 3, STEPS))  # of every age, by step and coordinate
    for k in range(STEPS):
        if law == "fixed":
            chance[k, [0, 2], k] = 1
        elif law == "drawn":
            for n in range(k // gap + 1):
                chance[k, :, k % gap + n * gap] = 0.4 ** (n + 1) * (0.6 if n < k // gap else 1)
        else:
            chance[k, (k // gap) % 3, k % gap] = 1
    inside = chance.sum(axis=2)
    moved = (inside + kappa**2 * (1 - inside)) @ EIGENVALUES
    longest = moved if law == "fixed" else np.full(STEPS, max(1, kappa**2) * EIGENVALUES.sum())
    signs = (chance @ noise) @ SIGMA + c * kappa * (1 - inside) @ SIGMA
    drift = 2 * alpha * first * np.sqrt(late * longest * ((chance @ (late / rho**2)) @ EIGENVALUES))
    stated = known.gap / (K * alpha) + average(alpha / 2 * moved + signs + drift)
    np.testing.assert_allclose(THEOREMS["lion"].bound(known), stated, rtol=FACTORISATION)


def test_nothing_in_the_set_has_no_momentum():
    """hybrid and its sharper forms are then signSGD with L for every coordinate, whatever β."""
    known = setting({"density": 0.0, "state_free": {"rule": "signsgd", "lr_scale": 0.7}}, 0.05)
    sums = known.gap / (K * 0.05) + EIGENVALUES.max() * 0.05 / 2 * 0.7**2 * 3
    for name, floor in {"hybrid": 2.0, "hybrid_sharp": np.sqrt(3) / 4, "hybrid_symmetric": 0.0}.items():
        np.testing.assert_allclose(THEOREMS[name].bound(known), sums + floor * 0.7 * SIGMA.sum(), rtol=ROUNDING)
