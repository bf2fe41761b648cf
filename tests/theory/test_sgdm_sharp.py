"""SGDM by its Lyapunov function: its formula, attained where it is said to be, and false with any of its terms left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.worst_case import programs
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.theorem import published_step
from tests.tolerances import LONG_RECURSION, PRINTED, ROUNDING, SOLVERS_AGREE

THEOREM = THEOREMS["sgdm_sharp"]


def experiment(
    beta: float, alpha: float, *, values: Any = (1.0,), start: Any = (1.0,), sigma: Any = 0.0, steps: int = 100
) -> Any:
    return ft.parse(
        {
            "name": "momentum",
            "algorithm": {
                "density": 1.0,
                "state_full": {"rule": "sgdm", "beta": beta},
                "state_free": "sgd",
                "learning_rate": alpha,
            },
            "problem": {"kind": "quadratic", "eigenvalues": [float(v) for v in values], "start": [float(x) for x in start]},
            "noise": {"kind": "gaussian", "sigma": sigma} if np.any(sigma) else {"kind": "none"},
            "simulation": {"steps": steps, "trials": 4},
        }
    )


def test_the_bound_is_the_smaller_of_both_forms(quadratic):
    s = ft.setting_of(quadratic({"algorithm.density": 1.0})).having(learning_rate=0.3)
    reach, beta, k, noise = s.smoothness * 0.3, 0.9, s.horizons, s.total_variance
    room = 1 - reach * (1 - beta) / (2 * (1 + beta))
    settled = ((1 + 2 * beta * reach / (1 - beta**2)) * s.gap / (k * 0.3) + (1 - 1 / k) * reach * noise / 2) / room
    early = 2 * s.smoothness * s.gap + (1 - beta) * (beta + (1 - beta) * reach) * (k - 1) * reach * noise / 2
    np.testing.assert_allclose(THEOREM.bound(s), np.minimum(settled, early), rtol=ROUNDING)
    assert settled[0] > early[0]
    assert settled[-1] < early[-1]
    assert THEOREM.largest_step(s) == (pytest.approx(1.9 / s.smoothness), True)


def test_sgd_is_momentum_without_memory(quadratic):
    """The same for β = 0, an empty set, and that with a scaled step; the SGD theorem's but for its first noise."""
    plain = ft.setting_of(quadratic({"algorithm.density": 0.0})).having(learning_rate=0.7)
    scaled = ft.setting_of(quadratic({"algorithm.density": 0.0, "algorithm.state_free.lr_scale": 0.5})).having(
        learning_rate=1.4
    )
    full = ft.setting_of(quadratic({"algorithm.state_full.beta": 0.0})).having(learning_rate=0.7)
    bounds = [THEOREM.bound(s) for s in (plain, scaled, full)]
    np.testing.assert_allclose(bounds[1], bounds[0], rtol=ROUNDING)
    np.testing.assert_allclose(bounds[2], bounds[0], rtol=ROUNDING)
    first = plain.smoothness * 0.7 * plain.total_variance / 2 / (1 - plain.smoothness * 0.35) / plain.horizons
    assert np.all(bounds[0] <= THEOREMS["sgd"].bound(plain) - first + ROUNDING)
    assert THEOREM.largest_step(plain) == THEOREM.largest_step(full) == (2 / plain.smoothness, False)
    assert THEOREM.largest_step(scaled)[0] == 2 * THEOREM.largest_step(plain)[0]
    still = quadratic({"algorithm.density": 0.0, "algorithm.state_free.lr_scale": 0.0, "algorithm.learning_rate": 1.0})
    assert THEOREM.largest_step(ft.setting_of(still)) == (float("inf"), False)


@pytest.mark.parametrize(("beta", "alpha"), [(0.5, 1.5), (0.9, 1.5), (0.9, 0.1), (0.99, 1.99)])
def test_the_noise_term_is_attained_on_one_curvature(beta, alpha):
    """By the exact engine: what the last step adds to K·avg is (Lα/2)σ²/φ, 0.78082 at β = 0.9 and α = 1.5."""
    run = experiment(beta, alpha, start=(1e-9,), sigma=1.0, steps=4000)
    measured, bound = (
        np.diff(np.arange(1, 4001) * averages)[-1] for averages in (ft.exact(run).mean, ft.bound(run, "sgdm_sharp"))
    )
    np.testing.assert_allclose(measured, bound, rtol=1e3 * LONG_RECURSION)
    if (beta, alpha) == (0.9, 1.5):
        assert bound == pytest.approx(0.780822, abs=1e-6)


def test_the_transient_is_attained_on_one_curvature():
    """There the square that the proof leaves over is 0, so V falls by c‖g‖² exactly."""
    run = experiment(0.9, 1.2, steps=2000)
    np.testing.assert_allclose(ft.exact(run).mean[-1], ft.bound(run, "sgdm_sharp")[-1], rtol=LONG_RECURSION)


@pytest.mark.parametrize(
    ("beta", "alpha", "steps", "worst"),
    [(0.5, 1.0, 10, 0.279883), pytest.param(0.3, 0.5, 15, 0.204868, marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("solve_in_process")
def test_the_transient_is_that_of_the_worst_case(monkeypatch, beta, alpha, steps, worst):
    """Over all L-smooth functions, to 0.05 %."""
    pytest.importorskip("cvxpy", reason='needs the extra "worst-case"')
    monkeypatch.setattr(programs, "HORIZONS", ())
    run = experiment(beta, alpha, start=(np.sqrt(2),), steps=steps)
    found, bound = ft.worst_case(run).upper[-1], ft.bound(run, "sgdm_sharp")[-1]
    assert found == pytest.approx(worst, rel=SOLVERS_AGREE)
    assert found <= bound * (1 + SOLVERS_AGREE)
    assert bound <= found * (1 + SOLVERS_AGREE)


def random_runs(count: int) -> Any:
    """Quadratics of one to three curvatures with starts and noises of all sizes, steps up to the largest."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        beta = float(rng.choice([0.0, 0.5, 0.9, 0.99, rng.uniform()]))
        share = float(rng.choice([1.0, rng.uniform(), 10 ** rng.uniform(-3, 0)]))
        size = int(rng.integers(1, 4))
        values = [1.0, *np.maximum(rng.uniform(size=size - 1) ** 3, 1e-4)]
        start = 10 ** rng.uniform(-3, 3, size)
        sigma = [float(s) for s in 10 ** rng.uniform(-2, 1, size) * rng.choice([0, 1], size)]
        yield experiment(beta, share * (1 + beta if beta else 1.99), values=values, start=start, sigma=sigma)


@pytest.fixture(scope="module")
def measured() -> list[tuple[ft.Setting, Any]]:
    """Random runs and one near stationarity: the setting and the exact averages of each."""
    stationary = experiment(0.9, 1.5, start=(1e-9,), sigma=1.0, steps=30_000)
    return [(ft.setting_of(run), ft.exact(run).mean) for run in [stationary, *random_runs(150)]]


def largest_ratio(runs: list[tuple[ft.Setting, Any]], bound: Any) -> float:
    return max(float(np.max(average / bound(setting))) for setting, average in runs)


def test_it_holds_on_random_quadratics_and_is_reached(measured):
    assert 0.9999 < largest_ratio(measured, THEOREM.bound) <= 1 + LONG_RECURSION


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"gap": s.gap * (1 - 1e-3)},
        lambda s: {"smoothness": s.smoothness * (1 - 1e-3)},
        lambda s: {"variance": {name: value * (1 - 1e-3) for name, value in s.variance.items()}},
    ],
    ids=["gap", "smoothness", "noise"],
)
def test_a_thousandth_less_of_anything_is_too_little(measured, change):
    """The stationary run decides on the noise, random ones on the rest."""
    assert largest_ratio(measured, lambda s: THEOREM.bound(s.having(**change(s)))) > 1


def test_the_form_for_few_steps_needs_its_noise():
    """2LΔ alone is what there is without noise; with noise it is passed at the second step."""
    run = experiment(0.9, 1.9, start=(0.1,), sigma=1.0, steps=4)
    setting = ft.setting_of(run)
    measured, silent = ft.exact(run).mean, THEOREM.bound(setting.having(variance={"x": np.zeros(1)}))
    assert silent[1] == 2 * setting.smoothness * setting.gap
    assert measured[1] > silent[1]
    assert np.all(measured <= THEOREM.bound(setting) * (1 + ROUNDING))


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_it_is_never_above_the_sharp_run_length_theorem(beta, share):
    setting = ft.setting_of(experiment(beta, share * 2 * (1 - beta) / (1 + beta), sigma=3.0))
    assert np.all(THEOREM.bound(setting) <= THEOREMS["run_length_sharp"].bound(setting) * (1 + ROUNDING))


def test_against_liu_et_al():
    """docs/theory/momentum.md: at most 0.625 of their transient constant and 0.572 of their noise constant."""
    transient, noise = [], []
    for beta in [*np.linspace(0, 0.99, 34), *(1 - np.geomspace(1e-2, 1e-7, 6))]:
        run = ft.setting_of(experiment(beta, published_step(1.0, beta), sigma=1.0, steps=10**5))
        silent = run.having(variance={"x": np.zeros(1)})
        transient.append(THEOREM.bound(silent)[-1] / THEOREMS["sgdm"].bound(silent)[-1])
        bare = run.having(gap=0.0)
        noise.append(THEOREM.bound(bare)[-1] / THEOREMS["sgdm"].bound(bare)[-1]) if beta < 0.99 else None
    assert max(transient) == pytest.approx(0.625, rel=PRINTED)
    assert max(transient) <= 0.625 + PRINTED
    assert max(noise) == pytest.approx(4 / 7, rel=PRINTED)
