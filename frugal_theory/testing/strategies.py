"""Hypothesis strategies: quadratics, algorithms and whole experiments, small enough to be run by the hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import parse
from frugal_theory.problems import Quadratic

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["algorithms", "experiments", "quadratics"]

CONFIDENCE = 1 - 1e-6
"""Of the verdicts on an experiment: a hundred true theorems on a hundred experiments are then hardly ever violated."""

VECTOR_SUBSPACES = ("coordinates", "blocks", "randk", "random")
MATRIX_SUBSPACES = (*VECTOR_SUBSPACES, "columns", "rows", "svd")


def quadratics(largest_dimension: int = 8) -> SearchStrategy[Quadratic]:
    """Quadratics, separable or rotated, in one parameter or several, with eigenvalues between 0 and 4, one of them > 0."""
    from frugal_theory.algorithm.subspaces import orthonormal

    st = _hypothesis()

    def build(eigenvalues: list[float], rotation: int | None, blocks: int, start: str) -> Quadratic:
        values, turn = np.array(eigenvalues), None
        values[0] = max(values[0], 0.1)
        if rotation is not None:
            turn = orthonormal(np.random.default_rng(rotation).standard_normal(values.size**2), values.size, values.size)
        return Quadratic(values, turn, start, min(blocks, values.size))  # type: ignore[arg-type]

    return st.builds(
        build,
        st.lists(st.floats(0.0, 4.0, width=32), min_size=1, max_size=largest_dimension),
        st.none() | st.integers(0, 99),
        st.integers(1, 3),
        st.sampled_from(["normal", "ones"]),
    )


def algorithms(subspaces: tuple[str, ...] = VECTOR_SUBSPACES) -> SearchStrategy[Algorithm]:
    """Algorithms with a learning rate as a share of the admissible step, every rule, reading and order among them."""
    return _algorithm_tables(subspaces).map(Algorithm.model_validate)


def experiments(largest_dimension: int = 8, steps: int = 40, trials: int = 24) -> SearchStrategy[Experiment]:
    """Experiments on small quadratics, matrices, real and non-convex regressions, with every kind of noise.

    ``steps`` and ``trials`` are upper limits. Nothing in them is degenerate, and every theorem applies to some of them.
    """
    st = _hypothesis()
    gaussian = st.fixed_dictionaries({"kind": st.just("gaussian"), "sigma": st.floats(0.0, 1.0)})
    student = st.fixed_dictionaries({"kind": st.just("student-t"), "degrees_of_freedom": st.floats(1.5, 8.0)})
    additive = gaussian | student | st.just({"kind": "none"})
    batches = st.fixed_dictionaries({"kind": st.just("minibatch"), "batch_size": st.integers(1, 8)})
    quadratic = st.fixed_dictionaries(
        {
            "kind": st.just("quadratic"),
            "dimension": st.integers(2, largest_dimension),
            "exponent": st.floats(0.0, 2.0),
            "smoothness": st.floats(0.1, 10.0),
            "rotated": st.booleans(),
        }
    )
    sums = st.fixed_dictionaries({"kind": st.just("nonconvex"), "dimension": st.integers(2, largest_dimension)}) | st.just(
        {"kind": "logistic"}
    )
    matrix = st.fixed_dictionaries({"kind": st.just("matrix"), "rows": st.integers(2, 4), "columns": st.integers(2, 4)})
    cases = st.one_of(
        st.tuples(quadratic, additive, _algorithm_tables((*VECTOR_SUBSPACES, "eigen"))),
        st.tuples(sums, additive | batches, _algorithm_tables(VECTOR_SUBSPACES)),
        st.tuples(matrix, additive, _algorithm_tables(MATRIX_SUBSPACES)),
    )

    def build(case: tuple[dict[str, Any], ...], seed: int, length: int, runs: int) -> Experiment:
        problem, noise, algorithm = case
        overrides = {
            "seed": seed,
            "problem": problem,
            "noise": noise,
            "algorithm": algorithm,
            "simulation": {"steps": length, "trials": runs},
            "verify.confidence": CONFIDENCE,
        }
        return parse('name = "drawn"', "drawn", overrides)

    return st.builds(build, cases, st.integers(0, 2**16), st.integers(2, steps), st.integers(2, trials))


def _algorithm_tables(subspaces: tuple[str, ...]) -> SearchStrategy[dict[str, Any]]:
    """``[algorithm]`` tables whose learning rate is a share of what some theorem admits, or a number if none speaks of it."""
    st = _hypothesis()
    share = st.floats(0.05, 0.95).map(lambda s: {"fraction_of_admissible": s})
    sgdm = st.fixed_dictionaries({"rule": st.just("sgdm"), "beta": st.floats(0.0, 0.95)})
    free = st.fixed_dictionaries(
        {"rule": st.sampled_from(["sgd", "sgd", "signsgd", "none"]), "lr_scale": st.sampled_from([1.0, 1.0, 0.5])}
    )
    density = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    within = st.fixed_dictionaries(
        {
            "learning_rate": share,
            "density": density,
            "update_gap": st.integers(1, 7),
            "subspace": st.sampled_from(subspaces),
            "state_full": sgdm,
            "state_free": free,
        },
        optional={"order": st.sampled_from(["random", "ascending", "descending", "mirror"])},
    )
    outside = st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-4, 0.1),
            "density": density,
            "update_gap": st.integers(1, 7),
            "subspace": st.sampled_from(subspaces),
            "state_full": sgdm | st.sampled_from([{"rule": "adamw"}, {"rule": "lion"}]),
            "state_free": free,
        },
        optional={"weight_decay": st.floats(0.0, 0.1), "on_update": st.sampled_from(["reset", "keep", "project"])},
    )
    return within.map(_spoken_of) | outside


def _spoken_of(table: dict[str, Any]) -> dict[str, Any]:
    """The table, with a number for its learning rate where no theorem speaks of it: signs off a basis."""
    on_basis = table["subspace"] in ("random", "svd", "eigen") and 0 < table["density"] < 1
    return table | {"learning_rate": 0.01} if on_basis and table["state_free"]["rule"] == "signsgd" else table


def _hypothesis() -> Any:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise ImportError("the strategies of frugal_theory.testing need hypothesis: pip install hypothesis") from error
    return strategies
