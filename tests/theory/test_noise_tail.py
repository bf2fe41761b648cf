"""How far noise reaches beyond its variance: closed forms, limits that cover, and what draws cannot have seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.bench_premises import Additive, instance
from frugal_theory.instance import Instance
from frugal_theory.premises.draws import Draws, draw
from frugal_theory.premises.noise_tail import LEVEL, noise_tail
from frugal_theory.problems import Gaussian, Minibatch, NoNoise, Quadratic, StudentT
from tests.tolerances import LEAST_P_VALUE, ROUNDING

D = 20


def jumps(probability, joint):
    """Half of the variance in jumps of both signs, of all coordinates at once or of each by itself."""

    def law(rng, shape):
        jump = rng.random((*shape[:-1], 1) if joint else shape) < probability
        sign, other = rng.choice([-1.0, 1.0], shape), rng.choice([-1.0, 1.0], shape)
        return np.sqrt(0.5) * sign + np.sqrt(0.5 / probability) * jump * other

    return law


def fourth(probability, joint):
    """E‖ξ‖⁴/σ⁴ of such jumps: of ξ_j = (s + b√(1/p)s')/√2, E ξ_j⁴ = (1 + 6 + 1/p)/4, and by pairs."""
    own = (7 + 1 / probability) / 4
    pair = (1 + 2 + (1 / probability if joint else 1)) / 4
    return (own + (D - 1) * pair) / D


def made(noise, seed=0, d=D):
    return Instance.of_parts(Quadratic(np.ones(d)), noise, seed=seed)


def tail(noise, seed=0):
    one = made(noise, seed)
    return noise_tail(one, draw(one))


def test_what_ships_knows_its_fourth_moments():
    sigma = np.arange(1.0, D + 1)
    share = np.sum(sigma**4) / np.sum(sigma**2) ** 2
    problem = Quadratic(np.ones(D))
    assert Gaussian(sigma).kurtosis(problem) == pytest.approx((1 + 2 * share, 3.0), rel=ROUNDING)
    assert StudentT(10.0, sigma).kurtosis(problem) == pytest.approx((1 + 3 * share, 4.0), rel=ROUNDING)
    assert StudentT(4.0, sigma).kurtosis(problem) == (np.inf, np.inf)
    assert NoNoise().kurtosis(problem) == (0.0, 0.0)
    assert Gaussian(0.0).kurtosis(problem) == (0.0, 0.0)
    assert tail(NoNoise()).q == 0


@pytest.mark.parametrize("noise", [Gaussian(2.0), StudentT(12.0, np.arange(1.0, D + 1))])
def test_the_closed_form_is_what_draws_have(noise):
    found = tail(noise)
    assert found.known.whole <= found.fourth_upper
    assert found.fourth == pytest.approx(found.known.whole, rel=0.1)
    assert found.shown_lower <= 1 <= found.shown * 1.1


@pytest.mark.parametrize("table", ['kind = "logistic"', 'kind = "logistic"\ndataset = "digits"', 'kind = "nonconvex"'])
@pytest.mark.parametrize("size", [1, 4])
def test_the_bound_of_mini_batches_is_one_everywhere(table, size):
    """Every sample, or many batches, at points near and far: the fourth moment is below the bound, as is every deviation."""
    one = instance((table, f'kind = "minibatch"\nbatch_size = {size}'), 0)
    problem, noise, rng = one.problem, Minibatch(size), np.random.default_rng(0)
    bound, declared = noise.kurtosis(problem), one.setting.variance
    reach, whole = problem.sample_range()
    for scale in (0.0, 1.0, 30.0):
        x = {name: value + scale * rng.standard_normal(value.shape) for name, value in one.start.items()}
        batch = np.arange(problem.samples)[:, None] if size == 1 else rng.integers(problem.samples, size=(1000, size))
        stacked = {name: np.repeat(value[None], len(batch), axis=0) for name, value in x.items()}
        found, gradient = problem.batch_gradient(stacked, batch), problem.gradient(x)
        off = {name: found[name] - gradient[name] for name in x}
        square = sum(np.sum(v**2, axis=-1) for v in off.values())
        assert np.mean(square**2) <= bound.whole * one.setting.total_variance**2 * (1 + ROUNDING)
        assert np.sqrt(square.max()) <= whole * (1 + ROUNDING)
        for name, value in off.items():
            assert np.all(np.abs(value).max(axis=0) <= reach[name] + ROUNDING)
            usable = declared[name] > 0
            assert np.all(np.mean(value**4, axis=0)[usable] <= bound.coordinate * declared[name][usable] ** 2)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("one_in", [100, 500])
def test_limits_cover_jumps_that_have_come_up(one_in, joint):
    law, true, repetitions = jumps(1 / one_in, joint), fourth(1 / one_in, joint), 20
    instance_, rng, missed, shown = made(Additive(law)), np.random.default_rng(0), 0, 0
    for _ in range(repetitions):
        found = noise_tail(instance_, [Draws("x¹", law(rng, (1, 2048, D)), np.zeros(D))], 0.05)
        missed += not found.fourth_upper >= true
        shown += found.shown_lower > 1
    assert stats.binom.sf(missed - 1, repetitions, 0.05) > LEAST_P_VALUE
    assert stats.binom.sf(shown - 1, repetitions, 0.05) > LEAST_P_VALUE


def test_jumps_that_have_not_come_up_are_missing_from_the_variance():
    """One in 5000 draws: where none is among them the limits are too small, and half of the declared variance is not shown."""
    law, rng = jumps(1 / 5000, True), np.random.default_rng(0)
    noise = law(rng, (1, 4096, D))
    quiet = noise[:, np.abs(noise[0]).max(axis=1) < 1]
    found = noise_tail(made(Additive(law)), [Draws("x¹", quiet, np.zeros(D))])
    assert found.fourth_upper < fourth(1 / 5000, True) < 1e4
    assert found.shown < 0.6
    assert found.unseen > 1 / 5000


def test_independent_jumps_are_seen_by_all_coordinates_together():
    found = tail(Additive(jumps(1 / 5000, False)))
    assert found.fourth_upper > fourth(1 / 5000, False)


@pytest.mark.parametrize(
    ("law", "variance", "most"),
    [
        (lambda rng, s: rng.standard_t(2.5, s), 5.0, 2.5),
        (lambda rng, s: rng.standard_t(4.0, s), 2.0, 4.0),
        (lambda rng, s: rng.standard_t(6.5, s), 6.5 / 4.5, 6.5),
        (lambda rng, s: rng.pareto(2.1, s) - 1 / 1.1, 2.1 / (1.1**2 * 0.1), 2.1),
        (lambda rng, s: rng.pareto(2.5, s) - 1 / 1.5, 2.5 / (1.5**2 * 0.5), 2.5),
        (lambda rng, s: rng.laplace(size=s), 2.0, np.inf),
        (lambda rng, s: rng.lognormal(size=s) - np.exp(0.5), np.e**2 - np.e, np.inf),
    ],
)
def test_the_tail_index_is_a_lower_limit(law, variance, most):
    assert all(tail(Additive(law, variance), seed).index <= most for seed in range(4))


def test_light_tails_have_a_large_index():
    assert tail(Gaussian(1.0)).index > 6
    assert tail(Additive(lambda rng, s: rng.choice([-1.0, 1.0], s))).index > 1e6
    assert tail(Additive(lambda rng, s: rng.laplace(size=s), 2.0)).index > 4


def test_infinite_variance_and_wild_draws_promise_nothing():
    found = tail(StudentT(1.5, 1.0))
    assert found.q == np.inf
    assert found.index == 0
    assert noise_tail(made(Gaussian(1.0)), []).shown_lower == 0
    assert LEVEL < 1e-3
