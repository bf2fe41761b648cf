"""What a theorem sees: constants and a law are enough for all but one, wherever the constants are from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.instance import instance as instance_module
from frugal_theory.instance import instance_of, setting_of
from frugal_theory.premises import PREMISES, PremiseTest
from frugal_theory.theorems import Constant, Setting
from frugal_theory.theorems.theorem import spared_premises

CELLS = {
    "SGD": {"algorithm.density": 0.0},
    "SGDM": {"algorithm.density": 1.0},
    "a fixed set": {"algorithm.set": [0, 3]},
    "redrawn at every step": {"algorithm.update_gap": 1},
    "held sets": {},
    "a turning basis": {"algorithm.subspace": "random"},
    "blocks in turn": {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "problem.blocks": 4},
    "weight decay": {"algorithm.density": 0.0, "algorithm.weight_decay": 0.1},
    "signSGD": {"algorithm.density": 0.0, "algorithm.state_free": "signsgd"},
    "hybrid": {"algorithm.state_free": "signsgd"},
    "logistic": {"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 4}},
    "adaptive": {"problem": {"kind": "nonconvex"}, "noise": {"kind": "minibatch"}, "algorithm.state_full": "adamw"},
    "Adam": {
        "problem": {"kind": "nonconvex"},
        "noise": {"kind": "minibatch"},
        "algorithm.state_full": "adamw",
        "algorithm.density": 1.0,
    },
    "Lion": {"algorithm.state_full": "lion", "algorithm.state_free": "signsgd"},
    "Adagrad": {
        "problem": {"kind": "nonconvex"},
        "noise": {"kind": "minibatch"},
        "algorithm.state_full": "adagrad",
        "algorithm.density": 1.0,
    },
    "rotated": {"problem.rotated": True, "problem.blocks": 2},
    "svd": {"algorithm.subspace": "svd", "algorithm.update_gap": 1, "problem": {"kind": "matrix", "rows": 3, "columns": 4}},
}


def settings(quadratic, overrides):
    """The setting with its problem, and the same one without."""
    whole = setting_of(quadratic({"algorithm.learning_rate": 0.001, **overrides}))
    return whole, whole.without_problem()


@pytest.mark.parametrize("cell", CELLS)
def test_constants_and_a_law_are_enough(quadratic, cell):
    whole, plain = settings(quadratic, CELLS[cell])
    assert type(plain) is Setting
    covered = [theorem for theorem in ft.THEOREMS.values() if theorem.covers(whole) is None]
    assert covered
    for theorem in covered:
        if theorem.name == "eigen_aligned" or (plain.runs is None and "P6" not in spared_premises(theorem)):
            continue
        assert theorem.covers(plain) is None
        assert theorem.largest_step(plain) == theorem.largest_step(whole)
        np.testing.assert_array_equal(theorem.bound(plain), theorem.bound(whole))


def test_every_theorem_but_one_is_among_them(quadratic):
    spoken = {
        name
        for overrides in CELLS.values()
        for name, theorem in ft.THEOREMS.items()
        if theorem.covers(settings(quadratic, overrides)[1]) is None
    }
    assert set(ft.THEOREMS) - spoken == {"eigen_aligned"}


def test_a_theorem_that_needs_eigenvalues_says_so(quadratic):
    whole, plain = settings(quadratic, {"algorithm.set": [0, 3], "noise": {"kind": "none"}})
    theorem = ft.THEOREMS["eigen_aligned"]
    assert theorem.covers(whole) is None
    assert "eigenvalues" in theorem.covers(plain)


def test_constants_may_be_measured(quadratic):
    _, plain = settings(quadratic, {})
    L = plain.smoothness
    measured = Constant(L, 0.9 * L, 1.1 * L, "measured", "Lanczos on 20 batches")
    probed = plain.having(smoothness=measured)
    assert probed.constants.smoothness is measured
    assert plain.constants.smoothness.kind == "declared"
    np.testing.assert_array_equal(ft.THEOREMS["run_length"].bound(probed), ft.THEOREMS["run_length"].bound(plain))


def test_without_curvature_by_coordinate_the_largest_serves_for_all(quadratic):
    _, plain = settings(quadratic, {})
    bare = replace(plain, constants=replace(plain.constants, coordinate_smoothness=None))
    np.testing.assert_array_equal(bare.coordinate_smoothness["x"], np.full(12, plain.smoothness))
    by_coordinate = ft.THEOREMS["run_length_by_coordinate"]
    assert np.all(by_coordinate.bound(bare) >= by_coordinate.bound(plain))


def test_a_symbol_that_does_not_exist_is_refused(quadratic):
    with pytest.raises(TypeError, match="smothness"):
        setting_of(quadratic()).having(smothness=1.0)


def test_verify_makes_a_cell_once(quadratic, monkeypatch):
    """One problem, one x¹ and one law of the set a cell, whatever is asked of it."""
    calls = []
    for name in ("build_problem", "starting_point", "run_lengths"):
        true = getattr(instance_module, name)
        monkeypatch.setattr(instance_module, name, lambda *a, _true=true, _name=name: calls.append(_name) or _true(*a))
    ft.verify(quadratic({"algorithm.learning_rate": 0.02, "simulation.trials": 4, "simulation.max_trials": 16}))
    assert sorted(calls) == ["build_problem", "run_lengths", "starting_point"]


def test_an_instance_of_parts_is_that_of_the_experiment(quadratic):
    made = instance_of(quadratic())
    parts = ft.Instance.of_parts(
        made.problem,
        made.noise,
        made.setting.algorithm,
        learning_rate=made.setting.alpha,
        steps=made.setting.steps,
        seed=made.seed,
    )
    assert parts.setting.gap == made.setting.gap
    np.testing.assert_array_equal(parts.start["x"], made.start["x"])
    np.testing.assert_array_equal(ft.THEOREMS["run_length"].bound(parts.setting), ft.THEOREMS["run_length"].bound(made.setting))


def test_a_premise_is_added_as_one_value(quadratic):
    """P7: the horizon is even. It is tested in every cell, and what it refuses is not applicable."""

    def even(test, grounds):
        steps = grounds.instance.setting.steps
        return test.found(steps % 2 == 0, f"K = {steps} is {'even' if steps % 2 == 0 else 'odd'}", 0.0)

    keys = {"algorithm.learning_rate": 0.001, "verify.theorems": ["run_length"], "simulation.steps": 9}
    with ft.extended():
        ft.add_premise(PremiseTest("P7", "the horizon is even", even))
        (verdict,) = ft.verify(quadratic(keys))
    assert verdict.reason == "Premise P7 fails: K = 9 is odd."
    assert [premise.name for premise in verdict.premises] == [f"P{number}" for number in range(1, 8)]
    assert "P7" not in PREMISES
