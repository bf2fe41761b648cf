"""Bets: what trials say of an expectation holds for every law, at whatever number of trials."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence import betting
from frugal_theory.evidence.exact.expectations import at_most
from frugal_theory.evidence.horizons import judged
from frugal_theory.evidence.moments import Moments, sampled
from frugal_theory.evidence.monte_carlo.simulation import simulation
from frugal_theory.evidence.second_moments import Part, _Noise, known_squares
from frugal_theory.instance import Instance, instance_of
from frugal_theory.metrics import METRICS, HybridNorm, SignNorm
from frugal_theory.problems.noise import Gaussian, NoNoise
from frugal_theory.problems.quadratic import Quadratic
from frugal_theory.testing import Changed, scaled
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.verdicts.claims import Claims, FourthMoment, claims_of, fourth_moment
from frugal_theory.verdicts.judging import verdict
from tests.tolerances import ENUMERATION, ROUNDING

METRIC = "squared_gradient_norm"
ONE = np.ones(1)


class Additive:
    """Noise of variance 1 by a function that draws it: nothing more is known of it."""

    def __init__(self, draw):
        self.draw = draw

    def variance(self, problem):
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        return {name: g + self.draw(rng, g.shape) for name, g in gradient.items()}


def two_point(rate):
    """0, or with this probability ±1/√rate."""
    return lambda rng, shape: (rng.random(shape) < rate) * rng.choice([-1.0, 1.0], shape) / np.sqrt(rate)


# --- the bets, by enumeration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "chances"), [((0.0, 4.0), (0.75, 0.25)), ((0.5, 0.9, 3.0), (0.5, 0.4, 0.13))])
def test_no_bet_wins_on_average_under_its_hypothesis(values, chances):
    """Over all samples of three trials of a discrete law whose expectation is the bound, or off it on the side allowed."""
    chances = np.array(chances) / sum(chances)
    mean, square = float(chances @ values), float(chances @ np.square(values))
    outcomes = list(itertools.product(range(len(values)), repeat=3))
    weight = np.array([np.prod(chances[list(outcome)]) for outcome in outcomes])
    samples = [np.array(values)[list(outcome)][:, None] for outcome in outcomes]
    for bound in (mean, 1.3 * mean):  # E x ≤ b
        grown = np.exp([betting.above(sample, np.array([bound]), ONE)[0] for sample in samples])
        assert weight @ grown <= 1 + ENUMERATION
    for bound in (mean, 0.7 * mean):  # E x ≥ b
        grown = np.exp([betting.below(sample, np.array([bound]), np.array([square]))[0] for sample in samples])
        assert weight @ grown <= 1 + ENUMERATION
    assert weight @ np.exp([betting.above(s, np.array([mean]), ONE)[0] for s in samples]) == pytest.approx(1)


def test_every_stake_is_a_number_and_some_win_on_zeros():
    """q is not negative for any c, and for every c some bet grows on the smallest samples that there are."""
    ratios = np.linspace(0, 50, 400)[:, None]
    for c in (1.0, 1.5, 10.0, 1e3, 1e6):
        grown = betting.growth_below(ratios, np.array([c]))
        assert not np.any(np.isnan(grown))
        assert grown[:, 0].max() > 0.2 / c
    assert np.all(betting.growth_below(ratios, np.array([np.inf])) == 0)


def test_limits_enclose_the_expectation():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400) ** 2
    lower, upper = betting.lower_limit(values, 1e-2), betting.upper_limit(values, 1e-2, 3.0)
    assert 0.6 < lower < 1 < upper < 1.5
    assert betting.upper_limit(values, 1e-2, np.inf) == np.inf
    assert betting.lower_limit(np.zeros(5), 1e-2) == 0
    tighter = betting.lower_limit(values, 0.1), betting.upper_limit(values, 0.1, 3.0)
    assert lower < tighter[0] < tighter[1] < upper


def test_horizons_that_are_judged():
    assert judged(1).tolist() == [1]
    assert judged(200)[:128].tolist() == list(range(1, 129))
    assert judged(10**5)[-1] == 10**5
    assert np.all(judged(10**5)[1:] / judged(10**5)[:-1] <= 2)


# --- the square mean that is known beforehand -------------------------------------------------------------------------

CASES = {
    "SGD": ({"algorithm.density": 0.0}, "sgd"),
    "SGDM": ({"algorithm.density": 1.0}, "sgdm"),
    "fixed": ({"algorithm.set": [0, 1, 2]}, "fixed_set"),
    "drawn": ({"algorithm.update_gap": 1}, "independent_sampling"),
    "held": ({}, "run_length_sharp"),
    "held, plain": ({}, "held_sets"),
    "bases": ({"algorithm.subspace": "random"}, "orthogonal_subspaces"),
    "hybrid": ({"algorithm.state_free": {"rule": "signsgd", "lr_scale": 0.1}}, "hybrid_sharp"),
    "hybrid, symmetric": ({"algorithm.state_free": {"rule": "signsgd", "lr_scale": 0.1}}, "hybrid_symmetric"),
    "regression": ({"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 4}}, "run_length_sharp"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_square_mean_is_at_least_that_of_trials(quadratic, case):
    """E x² of many trials stays below what the descent inequality says of it, and a hundredth of that would not do."""
    overrides, name = CASES[case]
    noisy = {"noise.sigma": 1.0} if "noise" not in overrides else {}
    rate = {"algorithm.learning_rate": {"fraction_of_admissible": 0.5}, "verify.theorems": [name]}
    (claims,) = claims_of(quadratic({**noisy, **overrides, **rate, "simulation": {"steps": 60, "trials": 192}}))
    (theorem,) = claims.theorems
    work = simulation(claims.instance, (claims.key(theorem),), measures=claims.measures)
    values = np.concatenate([work.run(batch)[claims.key(theorem)].values for batch in work.batches])
    known = claims.known(theorem)
    share = np.mean(values**2, axis=0) / known.square
    assert np.all(share <= 1)
    assert share.max() > 0.001
    bound = theorem.bound(claims.setting)
    assert np.all(known.square >= np.mean(values, axis=0) ** 2)
    assert np.median(known.square / bound**2) < 40, "a bound so far off would settle nothing"


def test_steps_of_bounded_size_bound_the_gradient(quadratic):
    """Lion moves no coordinate by more than α a step, so no trial exceeds the ceiling; nothing is known of AdamW in a basis."""
    lion = quadratic({"algorithm.state_full": "lion", "algorithm.state_free": "signsgd", "algorithm.learning_rate": 0.01})
    instance = instance_of(lion)
    known = known_squares(instance, METRICS[METRIC], None)
    work = simulation(instance, (METRIC,))
    values = np.concatenate([work.run(batch)[METRIC].values for batch in work.batches])
    assert np.isfinite(known.ceiling).all()
    assert np.all(values <= known.ceiling * (1 + ROUNDING))

    def strange(*known):
        return METRICS[METRIC](*known)

    assert np.isinf(known_squares(instance, strange, None).ceiling).all(), "nothing is known of a metric of one's own"


@pytest.mark.parametrize("subspace", ["random", "eigen"])
def test_steps_on_a_basis_may_be_longer_than_on_coordinates(subspace):
    """In a basis the step on it and the signs off it share coordinates: ‖u‖ may exceed the larger |u_j| times √d."""
    lion = {"subspace": subspace, "density": 0.5, "state_full": "lion", "state_free": "signsgd", "learning_rate": 0.1}
    near = {"kind": "quadratic", "eigenvalues": [1.0] * 64, "start": [0.001] * 64}
    tables = {"problem": near, "noise": {"kind": "none"}, "simulation": {"steps": 4, "trials": 8}}
    instance = instance_of(ft.parse({"name": "long-steps", "algorithm": lion, **tables}))
    work = simulation(instance, (METRIC,))
    values = np.concatenate([work.run(batch)[METRIC].values for batch in work.batches])
    assert np.all(values <= known_squares(instance, METRICS[METRIC], None).ceiling * (1 + ROUNDING))


@pytest.mark.parametrize("gap", [1, 3])
@pytest.mark.parametrize("shares", [(1.0, 0.01), (0.25, 0.25), (0.0, 0.5), (1.0, 1.0)])
def test_squares_of_the_noise_on_sets_of_unequal_shares(shares, gap):
    """Against the exact second moment: any of the declared variances is there or not, each jumps alone, as q allows."""
    kurtosis, steps = 2.0, np.arange(1.0, 8.0)
    known = _Noise(np.ones(2), kurtosis, 1.0, averaged=False).squares(Part(np.array(shares), float(gap)), steps)
    for there in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        p = np.array(shares) @ np.array(there)
        fourth = p * 4 * kurtosis / sum(there)  # E y² of a jump of ξ_j² = 4q/Σ with E‖ξ‖⁴ = qσ⁴
        same = sum(
            a * b * (shares[i] if i == j else shares[i] * shares[j])  # E Y_iY_k in one period, units by themselves
            for i, a in enumerate(there)
            for j, b in enumerate(there)
        )
        full, rest = np.divmod(steps, gap)
        together = full * gap * (gap - 1) + rest * (rest - 1)
        apart = steps * (steps - 1) - together
        exact = (steps * fourth + together * same + apart * p**2) / steps**2
        assert np.all(known**2 >= exact * (1 - ROUNDING))


def test_the_exact_expectation_bounds_that_under_any_noise_of_its_variance(quadratic):
    """Rademacher noise, and noise that is silent half of the time: both stay below the recursion with variance 1."""
    experiment = quadratic({"noise.sigma": 1.0, "algorithm.learning_rate": 0.02, "simulation.trials": 512})
    base = instance_of(experiment)
    exact = ft.exact(experiment).mean
    for draw in (two_point(1.0), lambda rng, shape: rng.choice([0.0, 1.0, -1.0], shape, p=[0.5, 0.25, 0.25])):
        instance = Instance.of_parts(
            base.problem, Additive(draw), base.setting.algorithm, learning_rate=0.02, steps=60, trials=512, seed=7
        )
        np.testing.assert_allclose(at_most(instance, [METRIC])[METRIC], exact, rtol=ROUNDING)
        work = simulation(instance, (METRIC,))
        values = np.concatenate([work.run(batch)[METRIC].values for batch in work.batches])
        error = values.std(axis=0) / np.sqrt(len(values))
        assert np.all(values.mean(axis=0) <= exact + 5 * error + ROUNDING * exact)
    turning = base.setting.algorithm.model_copy(update={"subspace": "random"})
    assert at_most(Instance.of_parts(base.problem, Additive(two_point(1.0)), turning, learning_rate=0.02), [METRIC]) == {}


@pytest.mark.parametrize("scale", [0.0, 0.01])
def test_sets_that_are_rarely_drawn_are_known_by_their_mean_weight_at_a_price(scale):
    """β = 0, Lα = 1, no noise: g = 1 until the set is drawn, then 0. Waiting times have a large square mean."""
    free = {"rule": "sgd", "lr_scale": scale} if scale else "none"
    table = {"density": 0.02, "update_gap": 1, "sampling": "independent", "state_full": {"rule": "sgdm", "beta": 0.0}}
    algorithm = ft.parse({"name": "rare", "algorithm": {**table, "subspace": "coordinates", "state_free": free}}).algorithm
    instance = Instance.of_parts(Quadratic(np.ones(1), start=(1.0,)), NoNoise(), algorithm, learning_rate=1.0, steps=200)
    square = known_squares(instance, METRICS[METRIC], 1.0).square[-1]
    kept = [sum((1 - scale) ** (2 * k) for k in range(n)) / 200 for n in range(1, 201)]
    chance = [0.02 * 0.98 ** (n - 1) for n in range(1, 200)] + [0.98**199]
    assert np.dot(chance, np.square(kept)) <= square


def test_noise_may_lie_where_the_set_always_is():
    """One coordinate is always in the set, the other hardly ever; all fourth moment is the first one's, the other is silent."""
    noise, part, steps = _Noise(np.ones(2), 2.0, 1.0, False), Part(np.array([1.0, 0.01]), 1.0), np.array([1.0, 2.0, 10.0])
    assert np.all(noise.squares(part, steps) ** 2 >= 1 + (8 - 1) / steps)  # ξ₁² = 8 with probability 1/8


def test_a_norm_of_the_package_with_other_numbers_is_known_by_them():
    """A theorem of one's own may bring a HybridNorm of ten times the scale, and of other deviations than are declared."""
    signs = ft.parse({"name": "s", "algorithm": {"density": 0.0, "state_free": {"rule": "signsgd", "lr_scale": 0.1}}}).algorithm
    start = Quadratic(np.ones(2), start=(1.0, 1.0))
    instance = Instance.of_parts(start, Gaussian(0.1), signs, learning_rate=0.05, steps=40, trials=32)
    small = {"x": np.full(2, 1e-6)}
    for metric in (HybridNorm(0.5, 10.0), HybridNorm(0.5, 0.1, small), SignNorm(small)):
        work = simulation(instance, ("own",), measures={"own": metric})
        values = np.concatenate([work.run(batch)["own"].values for batch in work.batches])
        assert np.all(np.mean(values**2, axis=0) <= known_squares(instance, metric, 3.0).square * (1 + ROUNDING))


# --- verdicts that were wrong -----------------------------------------------------------------------------------------


def measured(claims):
    (theorem,) = claims.theorems
    work = simulation(claims.instance, (claims.key(theorem),), measures=claims.measures)
    return np.concatenate([work.run(batch)[claims.key(theorem)].values for batch in work.batches])


def judged_by_trials(claims, values, confidence=0.99):
    evidence = {claims.key(claims.theorems[0]): sampled("monte_carlo", METRIC, Moments.of(values), 0.9)}
    return verdict(claims, claims.theorems[0], evidence, 1 - confidence, confidence)


@pytest.mark.parametrize("factor", [0.3, 0.6, 0.99])
def test_trials_that_agree_settle_nothing(factor):
    """W2: noise 0 with probability .51, α = 1, two steps. Three trials agree in 13 % of cases and look sure of anything."""
    exact = np.array([1.0, 1.0])
    theorem = Changed(Sgd(), "", lambda _: factor * exact)
    sgd = ft.Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
    draw = lambda rng, shape: (rng.random(shape) >= 0.51) * rng.choice([-1.0, 1.0], shape) / 0.7  # noqa: E731
    instance = Instance.of_parts(Quadratic(np.ones(1), start=(1.0,)), Additive(draw), sgd, learning_rate=1.0, steps=2)
    claims = Claims(instance, (theorem,), noise=fourth_moment(instance))
    for last in (0.5, 1.52):  # 0 and 2.04 at the second step: the two values that there are
        found = judged_by_trials(claims, np.array([[1.0, last]] * 3))
        assert found.status == "inconclusive", found.reason


@pytest.mark.parametrize("rate", [1 / 500, 1 / 2000, 1 / 5000])
def test_rare_jumps_leave_a_verdict_open(rate):
    """W5: sixteen trials hardly see a jump, and their average is far below the expectation: nothing false may hold."""
    sgd = ft.Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
    for seed in range(4):
        jumps, start = Additive(two_point(rate)), Quadratic(np.ones(2), start=(0.0, 0.0))
        instance = Instance.of_parts(start, jumps, sgd, learning_rate=0.5, steps=20, trials=16, seed=seed)
        exact = at_most(instance, [METRIC])[METRIC] + 1e-9
        claims = Claims(instance, (Changed(Sgd(), "", lambda _, b=0.5 * exact: b),), noise=fourth_moment(instance))
        assert judged_by_trials(claims, measured(claims)).status != "holds"
        if rate < 1 / 500:
            assert claims.noise.kurtosis is None, "what has not been seen of the variance may come in rarer jumps"


def test_trials_that_show_nothing_do_not_hold_a_bound_of_nothing():
    """From the minimum, with jumps so rare that no trial has one; with nothing known of the noise, and with no noise at all."""
    sgd = ft.Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
    theorem = Changed(Sgd(), "", lambda setting: np.zeros(setting.steps))
    for noise, kurtosis, status in ((Additive(two_point(1e-9)), None, "inconclusive"), (NoNoise(), 0.0, "holds")):
        instance = Instance.of_parts(Quadratic(np.ones(1), start=(0.0,)), noise, sgd, learning_rate=0.5, steps=20, trials=64)
        found = judged_by_trials(Claims(instance, (theorem,), noise=FourthMoment(kurtosis)), np.zeros((64, 20)))
        assert found.status == status, found.reason
    negative = Changed(Sgd(), "", lambda setting: -np.ones(setting.steps))
    assert judged_by_trials(Claims(instance, (negative,), noise=FourthMoment(0.0)), np.zeros((64, 20))).status == "violated"


def test_a_bound_whose_terms_underflow_is_not_negative(quadratic):
    tiny = {"kind": "quadratic", "eigenvalues": [1e-150, 1e-160], "start": [1.0, 1.0]}
    (bound,) = (
        c.theorems[0].bound(c.setting)
        for c in claims_of(
            quadratic({"problem": tiny, "algorithm.learning_rate": 0.05, "verify.theorems": ["run_length_sharp"]})
        )
    )
    assert np.all(bound > 0)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_trials_never_show_that_nothing_is_expected(bound):
    """A jump that no trial has seen may come: a bound of 0 must not hold because all trials are at 0."""
    sgd = ft.Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
    jumps, start = Additive(two_point(1e-9)), Quadratic(np.ones(2), start=(0.0, 0.0))
    instance = Instance.of_parts(start, jumps, sgd, learning_rate=0.5, steps=20, trials=16, seed=0)
    claims = Claims(instance, (Changed(Sgd(), "", lambda _: np.full(20, bound)),), noise=FourthMoment(3.0))
    assert judged_by_trials(claims, measured(claims)).status != "holds"


def test_every_theorem_is_judged_by_its_own_measure(quadratic):
    """W4: a theorem that calls its own measure by a name that is taken does not change what others are judged on."""

    class Tiny(Sgd):
        name = "tiny"

        def measure(self, setting):  # noqa: ARG002
            return lambda gradients, parts, runs, step: 1e-9 * METRICS[METRIC](gradients, parts, runs, step)

    experiment = quadratic({"algorithm.density": 0.0, "algorithm.learning_rate": 0.5})
    for order in ([Sgd(), Tiny()], [Tiny(), Sgd()]):
        verdicts = {v.theorem: v for v in ft.verify(experiment, theorems=order)}
        assert verdicts["sgd"].tightness > 1e-3
        assert verdicts["sgd"].metric == METRIC
        assert verdicts["tiny"].tightness < 1e-8
        assert "tiny" in verdicts["tiny"].metric
    one, two = ({v.theorem: v for v in ft.verify(experiment, theorems=order)}["sgd"] for order in ([Sgd()], [Tiny(), Sgd()]))
    assert one.measured == two.measured


def test_a_claim_that_is_false_at_one_step_does_not_hold(quadratic):
    """W7: true at all horizons of old, false at k = 5 and nowhere else; exact and deterministic evidence see it."""

    class Once(Sgd):
        def bound(self, setting):
            return np.where(setting.horizons == 5, 1e-3, 1.0) * super().bound(setting)

    keys = {"algorithm.density": 0.0, "algorithm.learning_rate": 0.5, "simulation.steps": 2000}
    for more in ({}, {"noise": {"kind": "none"}}):
        (found,) = ft.verify(quadratic(keys | more), theorems=[Once()])
        assert (found.status, found.step) == ("violated", 5)


@pytest.mark.ecosystem
def test_a_step_between_two_horizons_is_judged_too(quadratic):
    """By trials alone: false at a step that is not kept. It must not hold, and above the gap's ratio it may."""
    steps = 400
    gap = next(k for k in range(200, steps) if k not in judged(steps))

    class Between(Sgd):
        def bound(self, setting):
            return np.where(setting.horizons == gap, self.low, 1.0) * super().bound(setting)

    keys = {
        "algorithm.density": 0.0,
        "algorithm.learning_rate": 0.5,
        "simulation.steps": steps,
        "problem": {"kind": "nonconvex"},
    }
    for low, status in ((1e-3, "inconclusive"), (1.0, "holds")):
        theorem = Between()
        theorem.low = low
        (found,) = ft.verify(quadratic(keys), theorems=[theorem])
        assert found.status == status


@pytest.mark.parametrize("start", [1e160, 1e200])
def test_nothing_that_overflows_is_judged(quadratic, start):
    """C1: a start at 1e160 overflows ‖g‖² although the gradient is small; neither "violated" nor "holds" follows."""
    keys = {
        "algorithm.density": 0.0,
        "algorithm.learning_rate": 0.5,
        "problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": [start]},
    }
    for found in ft.verify(quadratic(keys), theorems=[Sgd(), scaled(Sgd(), 1e-3)]):
        assert found.status in ("inconclusive", "not applicable"), found.reason


def test_a_negative_metric_is_not_judged_by_trials(quadratic):
    class Signed(Sgd):
        metric = "signed"

        def measure(self, setting):  # noqa: ARG002
            return lambda gradients, *_: gradients["x"].sum(axis=1)

    (found,) = ft.verify(quadratic({"algorithm.density": 0.0, "algorithm.learning_rate": 0.5}), theorems=[Signed()])
    assert found.status == "inconclusive"
    assert "negative" in found.reason


@pytest.mark.ecosystem
def test_jumps_that_nobody_has_met_do_not_make_a_claim_hold():
    """19 % of the variance in jumps of probability 10⁻⁸: draws show the rest, trials too, and × .97 of the truth is false."""
    quiet = lambda rng, shape: 0.9 * rng.choice([-1.0, 1.0], shape)  # noqa: E731  (no jump will come up)
    sgd = ft.Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
    parts = {"learning_rate": 0.5, "steps": 30, "trials": 4096, "seed": 3}
    instance = Instance.of_parts(Quadratic(np.ones(1), start=(0.0,)), Additive(quiet), sgd, **parts)
    known = fourth_moment(instance)
    assert 0.8 < known.seen < 0.82
    exact = at_most(instance, [METRIC])[METRIC] + 1e-12
    claims = Claims(instance, (Changed(Sgd(), "", lambda _: 0.97 * exact),), noise=known)
    values = np.tile(measured(claims), (8, 1))
    assert judged_by_trials(claims, values).status == "inconclusive"
    trusting = Claims(instance, claims.theorems, noise=FourthMoment(1.0))
    assert judged_by_trials(trusting, values).status == "holds", "the planted bug: all of the variance is believed"
