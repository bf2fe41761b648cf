"""What a problem and a noise say of themselves is tested where a theorem needs it: L_j, μ, symmetry, degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from benchmarks import bench_premises_further as study
from frugal_theory.instance import Instance, instance_of
from frugal_theory.premises import LEVEL, check_premises
from frugal_theory.premises.moments import POWER
from frugal_theory.premises.shape import asymmetric, two_modes
from frugal_theory.premises.tails import heavier_than_student
from frugal_theory.problems import Gaussian, Quadratic, StudentT
from frugal_theory.theorems import THEOREMS
from tests.tolerances import LEAST_P_VALUE

FEW = 2**14
D = study.DIMENSION

HARD = ("two Gaussians, 3 of their deviations apart", "Student t, ν = 4, declared ν = 6")
"""Beyond what the tests promise."""


@pytest.mark.parametrize("number", [i for i, name in enumerate(study.said()) if name not in HARD])
def test_what_noise_says_of_itself_and_is_not_so_is_found(number):
    """Sizes follow from the number of draws, so names differ with it."""
    name = list(study.said(FEW))[number]
    coordinates = 2**18 if "Student" in name else FEW
    assert stats.binom.cdf(study.of_itself(*study.said(FEW)[name], 4, LEVEL, coordinates), 4, POWER) > LEAST_P_VALUE


@pytest.mark.parametrize("name", study.SYMMETRIC)
def test_symmetric_noise_is_refused_within_the_level(name):
    rng, law = np.random.default_rng(0), study.TRUE[name].law
    drawn = [law(rng, (1024, D)) for _ in range(10)]
    for test in (asymmetric, two_modes):
        count = sum(test(noise, np.zeros(D), 0.05).refused for noise in drawn)
        assert stats.binom.sf(count - 1, 10, 0.05) > LEAST_P_VALUE


@pytest.mark.parametrize("law", ["uniform", "zeros beside a Gaussian"])
def test_flat_and_sparse_densities_have_one_mode(law):
    """Both are on the border: equal density everywhere, and an atom at 0."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        noise = (
            rng.uniform(-1, 1, (2048, D))
            if law == "uniform"
            else rng.standard_normal((2048, D)) * (rng.random((2048, D)) < 0.1)
        )
        assert not two_modes(noise, np.zeros(D), 0.01).refused


@pytest.mark.parametrize("degrees", [3.0, 5.0, 20.0])
def test_student_noise_is_as_heavy_as_it_says(degrees):
    rng = np.random.default_rng(0)
    drawn = [rng.standard_t(degrees, (2**14, D)) for _ in range(8)]
    assert stats.binom.sf(sum(heavier_than_student(x, degrees, 0.05).refused for x in drawn) - 1, 8, 0.05) > LEAST_P_VALUE
    assert all(heavier_than_student(x, 3 * degrees, LEVEL).refused for x in drawn if degrees < 20)


@pytest.mark.parametrize("premise", ["coordinate_smoothness", "PL"])
def test_constants_of_the_problem_are_searched(premise):
    wrong = 0.99 if premise == "coordinate_smoothness" else 1.01
    assert study.of_problem(premise, 1.0, 2) == 0
    assert study.of_problem(premise, wrong, 2) == 2


def test_l_for_every_coordinate_is_what_p1_says():
    """A problem without L_j of its own has L for all of them, and P1 is the premise."""

    class Plain:
        shapes, smoothness, infimum = {"x": (4,)}, 1.0, 0.0

        def start(self, rng):
            return {"x": rng.standard_normal(4)}

        def value(self, x):
            return 0.5 * np.sum(x["x"] ** 2, axis=-1)

        def gradient(self, x):
            return {"x": x["x"].copy()}

    found = check_premises(Instance.of_parts(Plain(), Gaussian(1.0)), further=["coordinate_smoothness"])[-1]
    assert found.held
    assert found.how.startswith("L for every coordinate")


def test_a_coordinate_that_f_does_not_depend_on_may_have_no_smoothness():
    made = Instance.of_parts(Quadratic(np.array([1.0, 0.0, 0.5])), Gaussian(1.0))
    assert check_premises(made, further=["coordinate_smoothness"])[-1].held


def test_a_problem_that_declares_its_coordinates_ten_times_too_smooth_is_refused(quadratic):
    class Vain(Quadratic):
        def coordinate_smoothness(self):
            return {"x": 0.1 * self.eigenvalues}

    made = instance_of(quadratic())
    vain = Instance.of_parts(Vain(made.problem.eigenvalues), made.noise, made.setting.algorithm, learning_rate=0.01)
    found = check_premises(vain, further=["coordinate_smoothness"])[-1]
    assert found.name == "coordinate_smoothness"
    assert not found.held


def test_theorems_name_what_they_need():
    def needs(name, noise, **keys):
        algorithm = ft.Algorithm.model_validate(study.ALGORITHM.model_dump() | keys)
        return THEOREMS[name].needs(Instance.of_parts(study.ROUND, noise, algorithm, learning_rate=0.01).setting)

    own = study.Flagged(lambda rng, s: rng.standard_normal(s))
    assert needs("run_length_by_coordinate", own) == ("coordinate_smoothness",)
    assert needs("signsgd", Gaussian(1.0)) == ("coordinate_smoothness",)
    assert needs("signsgd_sharp", own) == ("coordinate_smoothness",)
    assert needs("signsgd_sharp", StudentT(5.0, 1.0)) == ("coordinate_smoothness", "symmetric_unimodal")
    assert needs("signsgd_symmetric", Gaussian(1.0)) == ("coordinate_smoothness", "symmetric_unimodal")
    assert needs("hybrid_sharp", own) == ()
    by_coordinate, shape = "coordinate_smoothness", "symmetric_unimodal"
    assert needs("lion", Gaussian(1.0), state_full="lion") == (by_coordinate, shape)
    assert needs("adam_hybrid", Gaussian(1.0), state_free={"rule": "signsgd"}) == ("bounded", by_coordinate, shape)
    assert needs("adam_hybrid", Gaussian(1.0), state_free={"rule": "sgd"}) == ("bounded", by_coordinate)
    assert needs("adagrad", own) == needs("adam", own) == ("bounded", by_coordinate)
    assert needs("signsgd_medians", own) == (by_coordinate, "symmetric")
    assert needs("hybrid_symmetric", Gaussian(1.0)) == ("symmetric_unimodal",)


def test_a_sign_theorem_is_not_applicable_to_noise_that_only_says_that_it_is_symmetric():
    problem, rule = Quadratic(np.ones(6)), {"rule": "signsgd"}
    algorithm = ft.Algorithm(density=0.0, state_free=rule)
    noise = study.Flagged(lambda rng, s: rng.choice([-1.0, 1.0], s), symmetric_unimodal=True)
    made = Instance.of_parts(problem, noise, algorithm, learning_rate=0.01, steps=40)
    theorem = THEOREMS["signsgd_symmetric"]
    assert theorem.covers(made.setting) is None
    failed = [p for p in check_premises(made, further=theorem.needs(made.setting)) if not p.held]
    assert [premise.name for premise in failed] == ["symmetric_unimodal"]


def test_sgd_that_moves_nothing_is_not_applicable(quadratic):
    still = {"algorithm.density": 0.0, "algorithm.state_free": {"rule": "sgd", "lr_scale": 0.0}, "algorithm.learning_rate": 0.1}
    assert "ever updated" in THEOREMS["sgd"].covers(ft.setting_of(quadratic(still)))


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_an_empty_set_is_the_sgd_bound_of_the_step_that_is_taken(quadratic, scale):
    keys = {
        "algorithm.density": 0.0,
        "algorithm.state_free": {"rule": "sgd", "lr_scale": scale},
        "algorithm.learning_rate": 0.5,
    }
    setting = ft.setting_of(quadratic(keys))
    expected = THEOREMS["sgd"].bound(setting) * scale  # W = s
    for name in ("run_length", "run_length_sharp"):
        np.testing.assert_allclose(THEOREMS[name].bound(setting), expected, rtol=1e-12)
        assert THEOREMS[name].largest_step(setting) == pytest.approx(THEOREMS["sgd"].largest_step(setting))
