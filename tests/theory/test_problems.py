"""Problems: gradients against complex steps, L against true Hessians, f* against minimisers found by other means."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit

from frugal_theory.algorithm.selection import stream
from frugal_theory.config.load import parse
from frugal_theory.problems import FiniteSum, Layer, Logistic, Matrix, Nonconvex, Partition, Problem, Quadratic, build_problem
from frugal_theory.problems.logistic import signed_features
from tests.tolerances import COMPLEX_STEP, FACTORISATION, ROUNDING

CASES = {
    "power": 'kind = "quadratic"\ndimension = 12\nexponent = 1.5\nsmoothness = 3.0',
    "uniform": 'kind = "quadratic"\ndimension = 12\nspectrum = "uniform"\nsmoothness = 2.0',
    "two-level": 'kind = "quadratic"\ndimension = 7\nspectrum = "two-level"',
    "given": 'kind = "quadratic"\neigenvalues = [0.5, 2.0, 0.0, 1.0]\nstart = [1.0, 2.0, 3.0, 4.0]',
    "rotated": 'kind = "quadratic"\ndimension = 12\nrotated = true\nsmoothness = 3.0',
    "breast-cancer": 'kind = "logistic"\ndataset = "breast-cancer"\nl2 = 0.01',
    "digits": 'kind = "logistic"\ndataset = "digits"\nl2 = 1e-4',
    "no-l2": 'kind = "logistic"\nl2 = 0.0',
    "nonconvex": 'kind = "nonconvex"\ndimension = 8\nsamples = 30',
    "matrix": 'kind = "matrix"\nrows = 4\ncolumns = 3',
    "layers": 'kind = "matrix"\nrows = 3\ncolumns = 4\nlayers = 3\nstart = "ones"',
}
QUADRATICS = ("power", "uniform", "two-level", "given", "rotated")
LOGISTICS = ("breast-cancer", "digits", "no-l2")
VECTORS = ("power", "rotated", "breast-cancer", "nonconvex")
ALL = pytest.mark.parametrize("case", CASES)


def experiment(table, algorithm="", noise="", seed=0):
    tables = "".join(
        f"[{name}]\n{text}\n" for name, text in (("algorithm", algorithm), ("problem", table), ("noise", noise)) if text
    )
    return parse(f'name = "test"\nseed = {seed}\n{tables}')


def build(case, algorithm='subspace = "coordinates"', seed=0):
    return build_problem(experiment(CASES[case], algorithm, seed=seed))


def generator(name, seed=0):
    return np.random.default_rng(stream(seed, name))


def flatten(problem, x):
    """Parameters as one array (..., d)."""
    return np.concatenate([x[k].reshape(*x[k].shape[: x[k].ndim - len(s)], -1) for k, s in problem.shapes.items()], axis=-1)


def unflatten(problem, vector):
    ends = np.cumsum([math.prod(shape) for shape in problem.shapes.values()])
    parts = np.split(vector, ends[:-1], axis=-1)
    return {k: part.reshape(*vector.shape[:-1], *s) for (k, s), part in zip(problem.shapes.items(), parts, strict=True)}


def gradient(problem, vector):
    return flatten(problem, problem.gradient(unflatten(problem, vector)))


def derivative(function, vector):
    """Row j is ∂_j of the function, by a complex step: exact up to rounding, as there is no difference to cancel."""
    step = 1e-30
    return function(vector + 1j * step * np.eye(vector.size)).imag / step


def hessian(problem, vector):
    return derivative(lambda x: gradient(problem, x), vector)


def points(problem, count=6, seed=1):
    """Points near and far: normal vectors times 0, 0.1, 1, 10, …"""
    dimension = sum(math.prod(shape) for shape in problem.shapes.values())
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    return vectors * np.resize([0.0, 0.1, 1.0, 3.0, 10.0, 100.0], count)[:, None]


def minimiser(problem, case):
    """A point where f takes its minimum."""
    if case in QUADRATICS:
        return np.zeros(problem.eigenvalues.size)
    if case == "nonconvex":
        return problem.solution
    return np.concatenate([layer.solution.ravel() for layer in problem.layers.values()])


@ALL
def test_offers_the_contract(case):
    problem = build(case)
    assert isinstance(problem, Problem)
    assert isinstance(problem, FiniteSum) == (case in (*LOGISTICS, "nonconvex"))
    x = problem.start(generator("start"))
    assert {name: value.shape for name, value in x.items()} == dict(problem.shapes)
    assert np.shape(problem.value(x)) == ()


@ALL
def test_gradient_is_the_derivative_of_the_value(case):
    problem = build(case)
    for x in points(problem):
        expected = derivative(lambda z: problem.value(unflatten(problem, z)), x)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(gradient(problem, x), expected, rtol=0, atol=COMPLEX_STEP * scale)


@ALL
def test_hessian_is_symmetric_and_within_the_smoothness(case):
    problem = build(case)
    for x in points(problem, 12):
        matrix = hessian(problem, x)
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=FACTORISATION * problem.smoothness)
        assert np.abs(np.linalg.eigvalsh(matrix)).max() <= problem.smoothness * (1 + FACTORISATION)


@ALL
def test_smoothness_is_attained(case):
    """L is the supremum of the Hessian's norm, not only a bound: everywhere, at 0 (logistic) or at x* (non-convex)."""
    problem = build(case)
    where = problem.solution if case == "nonconvex" else points(problem, 1)[0]
    largest = np.linalg.eigvalsh(hessian(problem, where)).max()
    assert largest == pytest.approx(problem.smoothness, rel=FACTORISATION)


@ALL
def test_no_value_is_below_the_infimum(case):
    problem = build(case)
    vectors = points(problem, 600)
    assert problem.value(unflatten(problem, vectors)).min() >= problem.infimum


@pytest.mark.parametrize("case", [case for case in CASES if case not in LOGISTICS])
def test_the_infimum_is_attained(case):
    problem = build(case)
    x = unflatten(problem, minimiser(problem, case))
    assert problem.value(x) == problem.infimum == 0.0
    assert all(not part.any() for part in problem.gradient(x).values())


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
@pytest.mark.parametrize("l2", [1e-6, 0.01, 10.0])
def test_logistic_infimum_is_the_minimum(dataset, l2):
    """SciPy's trust region finds no value below it, and comes down to it."""
    problem = Logistic(signed_features(dataset), l2)
    found = minimize(
        lambda x: float(problem.value({"x": x})),
        np.zeros(problem.shapes["x"]),
        jac=lambda x: problem.gradient({"x": x})["x"],
        hess=lambda x: hessian(problem, x),
        method="trust-exact",
        options={"gtol": 1e-9},
    )
    assert problem.infimum <= found.fun
    assert problem.infimum == pytest.approx(found.fun, rel=FACTORISATION)


def test_logistic_infimum_without_l2_is_a_lower_bound():
    """Separable data: the loss goes to 0 and never gets there."""
    problem = Logistic(np.array([[1.0, 0.5], [2.0, -1.0]]))
    assert problem.infimum == 0.0
    assert 0 < problem.value({"x": np.array([50.0, 0.0])}) < ROUNDING


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
def test_logistic_value_is_the_loss_of_the_formula(dataset):
    """Also where e^t overflows: margins of up to ±10⁵."""
    rows = signed_features(dataset)
    problem = Logistic(rows, l2=0.3)
    for scale in (0.0, 1.0, 1e2, 1e4):
        x = scale * np.random.default_rng(0).standard_normal(rows.shape[1])
        expected = -log_expit(rows @ x).mean() + 0.15 * x @ x
        assert problem.value({"x": x}) == pytest.approx(expected, rel=ROUNDING)
        assert np.isfinite(problem.gradient({"x": x})["x"]).all()


def test_bundled_data_is_standardised_with_signed_labels():
    from sklearn import datasets

    features, target = datasets.load_digits(return_X_y=True)
    labels = np.where(target % 2 == 1, 1.0, -1.0)
    standard = signed_features("digits") * labels[:, None]
    constant = features.min(axis=0) == features.max(axis=0)
    assert constant.sum() == 3
    assert not standard[:, constant].any()
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=ROUNDING)
    np.testing.assert_allclose(standard[:, ~constant].std(axis=0), 1, rtol=ROUNDING)

    features, target = datasets.load_breast_cancer(return_X_y=True)
    standard = signed_features("breast-cancer") * (2 * target - 1)[:, None]
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=ROUNDING)
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=ROUNDING)
    assert np.corrcoef(standard[:, 0], features[:, 0])[0, 1] == pytest.approx(1, rel=ROUNDING)


def test_spectra_are_those_of_the_table():
    expected = {
        "power": 3.0 / np.arange(1, 13) ** 1.5,
        "uniform": 2.0 - np.arange(12) * (2.0 - 0.02) / 11,
        "two-level": [1, 1, 1, 1, 0.01, 0.01, 0.01],
        "given": [0.5, 2.0, 0.0, 1.0],
    }
    for case, eigenvalues in expected.items():
        np.testing.assert_allclose(build(case).eigenvalues, eigenvalues, rtol=ROUNDING)


@pytest.mark.parametrize("case", QUADRATICS)
def test_quadratic_knows_its_hessian_and_eigenvectors(case):
    problem = build(case)
    matrix = problem.hessian()
    np.testing.assert_allclose(matrix, hessian(problem, points(problem)[2]), rtol=0, atol=FACTORISATION)
    vectors = problem.bases["x"]
    turned = vectors.T @ matrix @ vectors
    np.testing.assert_allclose(turned, np.diag(np.sort(problem.eigenvalues)[::-1]), rtol=0, atol=FACTORISATION)
    assert problem.separable == (case != "rotated")
    assert problem.separable == (not (matrix - np.diag(np.diag(matrix))).any())


def test_nonconvex_is_not_convex_and_uses_its_range():
    """The least curvature comes close to −L/4 for one sample, whose residual can be ±1, and never goes below."""
    problem = Nonconvex(np.array([[1.0]]), np.zeros(1))
    assert hessian(problem, np.ones(1)) == pytest.approx(-problem.smoothness / 4, rel=ROUNDING)
    many = build("nonconvex")
    least = min(np.linalg.eigvalsh(hessian(many, x)).min() for x in points(many, 60))
    assert -many.smoothness / 4 <= least < 0
    assert many.smoothness == pytest.approx(1, rel=ROUNDING)


@pytest.mark.parametrize("case", ["matrix", "layers"])
def test_matrix_factors_have_the_condition(case):
    problem = build(case)
    for layer in problem.layers.values():
        for factor in (layer.left, layer.right):
            singular = np.linalg.svd(factor, compute_uv=False)
            np.testing.assert_allclose(singular, np.geomspace(1, 0.1, len(factor)), rtol=FACTORISATION)
    eigenvalues = np.linalg.eigvalsh(hessian(problem, points(problem)[2]))
    assert problem.smoothness == pytest.approx(1, rel=FACTORISATION)
    assert eigenvalues.max() / eigenvalues.min() == pytest.approx(10**4, rel=FACTORISATION)


def test_matrix_smoothness_is_the_largest_of_the_layers():
    identity, solution = np.eye(2), np.ones((2, 2))
    problem = Matrix([Layer(identity, 3 * identity, solution), Layer(2 * identity, identity, solution)])
    assert problem.smoothness == pytest.approx(9, rel=ROUNDING)


@ALL
def test_trials_side_by_side_equal_one_by_one(case):
    problem = build(case)
    vectors = points(problem).reshape(2, 3, -1)
    values, gradients = problem.value(unflatten(problem, vectors)), gradient(problem, vectors)
    assert values.shape == (2, 3)
    for trial in np.ndindex(2, 3):
        alone = unflatten(problem, vectors[trial])
        np.testing.assert_allclose(values[trial], problem.value(alone), rtol=ROUNDING, atol=ROUNDING)
        scale = 1 + np.abs(gradients[trial]).max()
        np.testing.assert_allclose(gradients[trial], gradient(problem, vectors[trial]), rtol=0, atol=ROUNDING * scale)


@pytest.mark.parametrize("case", VECTORS)
def test_blocks_cut_the_same_problem(case):
    whole = build(case)
    cut = build_problem(experiment(CASES[case] + "\nblocks = 3", 'subspace = "coordinates"'))
    assert list(cut.shapes) == ["x.0", "x.1", "x.2"]
    assert (cut.smoothness, cut.infimum) == (whole.smoothness, whole.infimum)
    np.testing.assert_array_equal(flatten(cut, cut.start(generator("start"))), whole.start(generator("start"))["x"])
    x = points(whole)
    np.testing.assert_array_equal(gradient(cut, x), gradient(whole, x))
    np.testing.assert_array_equal(cut.value(unflatten(cut, x)), whole.value({"x": x}))
    if isinstance(whole, FiniteSum):
        np.testing.assert_array_equal(flatten(cut, cut.sample_variance()), whole.sample_variance()["x"])


def test_partition_is_contiguous_and_near_equal():
    partition = Partition(11, 4)
    assert partition.shapes == {"x.0": (3,), "x.1": (3,), "x.2": (3,), "x.3": (2,)}
    vector = np.arange(22.0).reshape(2, 11)
    np.testing.assert_array_equal(partition.split(vector)["x.1"], vector[:, 3:6])
    np.testing.assert_array_equal(partition.join(partition.split(vector)), vector)
    assert Partition(5).shapes == {"x": (5,)}


def test_subspace_blocks_cuts_what_has_no_blocks_of_its_own():
    blocks = 'subspace = "blocks"'
    assert len(build("power", blocks).shapes) == 10
    assert len(build("given", blocks).shapes) == 4
    assert list(build("matrix", blocks).shapes) == ["W.0", "W.1", "W.2", "W.3"]
    assert list(build("layers", blocks).shapes) == ["W.0", "W.1", "W.2"]
    assert list(build("matrix").shapes) == ["W"]


@pytest.mark.parametrize("case", ["rotated", "nonconvex", "matrix"])
def test_streams_are_independent(case):
    """The noise moves neither problem nor start, the problem's draws do not move the start, the seed moves both."""
    x = points(build(case))
    plain = build_problem(experiment(CASES[case], 'subspace = "coordinates"', 'kind = "none"'))
    noisy = build_problem(experiment(CASES[case], 'subspace = "coordinates"', 'kind = "student-t"'))
    other = build(case, seed=1)
    np.testing.assert_array_equal(gradient(plain, x), gradient(noisy, x))
    assert not np.allclose(gradient(plain, x)[1:], gradient(other, x)[1:])
    start, same, moved = (flatten(p, p.start(generator("start", s))) for p, s in ((plain, 0), (noisy, 0), (other, 1)))
    np.testing.assert_array_equal(start, same)
    np.testing.assert_array_equal(start, generator("start").standard_normal(start.size))
    assert not np.allclose(start, moved)


def test_random_parts_come_from_the_problem_stream():
    drawn = generator("problem").standard_normal((30, 8))
    features = build("nonconvex").features
    np.testing.assert_allclose(features, drawn * (features[0, 0] / drawn[0, 0]), rtol=ROUNDING)


def test_starts():
    np.testing.assert_array_equal(build("given").start(generator("start"))["x"], [1, 2, 3, 4])
    assert all((part == 1).all() for part in build("layers").start(generator("start")).values())


def test_scaling_the_smoothness_scales_the_problem():
    one, three = (build_problem(experiment(f'kind = "quadratic"\nrotated = true\nsmoothness = {s}')) for s in (1.0, 3.0))
    x = points(one)
    np.testing.assert_allclose(gradient(three, x), 3 * gradient(one, x), rtol=0, atol=FACTORISATION)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build_problem(parse('name = "bare"')), r"bare: the experiment has no \[problem\] table"),
        (lambda: build_problem(experiment('kind = "quadratic"\nblocks = 2', 'subspace = "eigen"')), "problem.blocks = 2"),
        (lambda: Quadratic(np.ones(4), blocks=2).bases, "needs x as one parameter"),
        (lambda: Quadratic(np.zeros(3)), "one of them > 0"),
        (lambda: Quadratic(np.array([1.0, -1.0])), "finite numbers >= 0"),
        (lambda: Quadratic(np.ones((2, 2))), r"\(d,\) is allowed"),
        (lambda: Quadratic(np.ones(2), np.eye(3)), "they must agree"),
        (lambda: Quadratic(np.ones(2), np.ones((2, 2))), "not orthogonal"),
        (lambda: Quadratic(np.ones(2), start=(1.0,)).start(generator("start")), "2 numbers"),
        (lambda: Partition(3, 4), "1 to 3 blocks"),
        (lambda: Logistic(np.ones(3)), r"\(samples, dimension\)"),
        (lambda: Logistic(np.ones((3, 2)), l2=-1.0), "l2 = -1.0"),
        (lambda: Nonconvex(np.ones((3, 2)), np.ones(3)), r"\(samples, d\) and \(d,\)"),
        (lambda: Matrix([]), "one layer or more"),
        (lambda: Matrix([Layer(np.eye(2), np.eye(2), np.ones((2, 3)))]), r"\(m, m\), \(n, n\) and \(m, n\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
