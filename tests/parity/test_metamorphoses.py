"""What must happen to the path when the problem or the algorithm is changed in a known way, in both engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from frugal_theory.config import Algorithm
from tests.parity.problem import SHAPES, Driven, assert_same_path, driven, numpy_path, torch_path
from tests.tolerances import FACTORISATION, ROUNDING

STEPS = 16  # four periods
PROBLEM = driven(STEPS, seed=4)
TOTAL = sum(int(np.prod(shape)) for shape in SHAPES.values())
SIZE = SHAPES["x"][0]
VECTOR = driven(STEPS, seed=6, shapes={"x": SHAPES["x"]})

Path = Callable[[Algorithm, Driven], list]
on_both_engines = pytest.mark.parametrize("path", [numpy_path, torch_path])
with_every_rule = pytest.mark.parametrize("rule", ["sgdm", "adamw", "lion"])


def algorithm(**keys: object) -> Algorithm:
    defaults = {
        "learning_rate": 0.05,
        "density": 0.5,
        "update_gap": 4,
        "subspace": "coordinates",
        "state_full": "sgdm",
        "seed": 3,
    }
    return Algorithm.model_validate({**defaults, "state_free": "sgd", **keys})


@on_both_engines
@with_every_rule
def test_the_full_set_is_the_state_full_rule(path, rule):
    full = path(algorithm(state_full=rule, set=tuple(range(TOTAL))), PROBLEM)
    assert_same_path(full, path(algorithm(state_full=rule, density=1.0), PROBLEM), ROUNDING)


@on_both_engines
@with_every_rule
def test_the_empty_set_is_the_state_free_rule(path, rule):
    assert_same_path(
        path(algorithm(state_full=rule, set=()), PROBLEM), path(algorithm(state_full=rule, density=0.0), PROBLEM), ROUNDING
    )


@on_both_engines
@with_every_rule
@pytest.mark.parametrize("free", ["sgd", "signsgd", "none"])
def test_permuting_the_coordinates_permutes_the_path(path, rule, free):
    """Coordinate i of the permuted problem is coordinate order[i] of the problem, and so is the set."""
    order = np.random.default_rng(9).permutation(SIZE)
    permuted = Driven(
        left={"x": VECTOR.left["x"][np.ix_(order, order)]},
        right=VECTOR.right,
        push={"x": VECTOR.push["x"][:, order]},
        start={"x": VECTOR.start["x"][order]},
    )
    members = (0, 2, 5)
    plain = path(algorithm(state_full=rule, state_free=free, set=members), VECTOR)
    moved = tuple(int(np.flatnonzero(order == j)[0]) for j in members)
    other = path(algorithm(state_full=rule, state_free=free, set=moved), permuted)
    assert_same_path(other, [{"x": x["x"][order]} for x in plain], ROUNDING)


@on_both_engines
@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random", "svd"])
@pytest.mark.parametrize(("rule", "free"), [("sgdm", "sgd"), ("sgdm", "none")])
def test_scaling_f_is_scaling_the_learning_rate_of_linear_rules(path, subspace, rule, free):
    keys = {"state_full": rule, "state_free": free, "subspace": subspace}
    plain = path(algorithm(learning_rate=0.05, **keys), PROBLEM)
    scaled = path(algorithm(learning_rate=0.05 / 8, **keys), PROBLEM.scaled(8.0))
    assert_same_path(scaled, plain, FACTORISATION if subspace in ("random", "svd") else ROUNDING)


@on_both_engines
@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random", "svd"])
@pytest.mark.parametrize("rule", [{"rule": "adamw", "eps": 1e-300}, {"rule": "lion"}])
def test_scaling_f_does_not_move_scale_free_rules(path, subspace, rule):
    chosen = algorithm(state_full=rule, state_free="signsgd", subspace=subspace)
    tolerance = FACTORISATION if subspace in ("random", "svd") else ROUNDING
    assert_same_path(path(chosen, PROBLEM.scaled(8.0)), path(chosen, PROBLEM), tolerance)


@on_both_engines
@with_every_rule
@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random", "svd"])
def test_a_period_that_never_ends_is_one_subspace_for_good(path, rule, subspace):
    keys = {"state_full": rule, "subspace": subspace}
    endless, long = (path(algorithm(update_gap=gap, **keys), PROBLEM) for gap in (10**9, STEPS))
    assert_same_path(endless, long, 0.0)


@on_both_engines
@with_every_rule
def test_a_fixed_set_does_not_know_the_update_gap(path, rule):
    keys = {"state_full": rule, "set": (1, 4, 20, 44)}
    assert_same_path(path(algorithm(update_gap=3, **keys), PROBLEM), path(algorithm(update_gap=10**9, **keys), PROBLEM), 0.0)


@on_both_engines
@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk"])
def test_on_update_does_not_touch_units(path, subspace):
    """A unit that stays keeps its statistics, whatever a new basis would do with them: the basis did not change."""
    paths = [path(algorithm(subspace=subspace, state_full="adamw", on_update=u), PROBLEM) for u in ("reset", "keep", "project")]
    assert_same_path(paths[1], paths[0], 0.0)
    assert_same_path(paths[2], paths[0], 0.0)


@on_both_engines
@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk"])
def test_the_three_readings_differ_where_units_leave(path, subspace):
    """Guards the tests above and the parity grid: an option that does nothing would pass them all."""
    last = [path(algorithm(subspace=subspace, off_set_momentum=r), PROBLEM)[-1]["W"] for r in ("reset", "decay", "hold")]
    assert len({value.tobytes() for value in last}) == 3


@on_both_engines
@pytest.mark.parametrize("subspace", ["random", "svd"])
def test_the_three_updates_differ_where_the_basis_turns(path, subspace):
    last = [path(algorithm(subspace=subspace, on_update=u), PROBLEM)[-1]["W"] for u in ("reset", "keep", "project")]
    assert len({value.tobytes() for value in last}) == 3
