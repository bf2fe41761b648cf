"""Rules that the contract was made for, against formulas written here: scalar, factored and residual state, nested splits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.combine import Split, Stored
from frugal_theory.algorithm.parts import Basis, Mask, Sketch, compact
from frugal_theory.algorithm.rules import AdamW, Lion, RuleTable, Sgd, Sgdm, SignSgd
from frugal_theory.algorithm.rules.adafactor import Adafactor
from frugal_theory.algorithm.rules.adalayer import AdaLayer
from frugal_theory.algorithm.rules.like_full import LikeFull
from frugal_theory.algorithm.subspaces import Scheduled
from frugal_theory.config import Part
from frugal_theory.config.registry import extended
from frugal_theory.testing import check_rule
from tests.tolerances import FLOAT16, ROUNDING

STEPS = 7
GRADIENTS = np.random.default_rng(5).standard_normal((STEPS, 6, 4))


def updates(rule, gradients=GRADIENTS):
    state, found = rule.init(gradients[0]), []
    for g in gradients:
        u, state = rule.update(state, g)
        found.append(u)
    return np.array(found)


def emas(values, beta):
    """Bias-corrected exponential moving averages: Σ β^(k−i)(1−β) v_i / (1 − βᵏ), summed as it is written."""
    weights = [[(1 - beta) * beta ** (k - i) / (1 - beta ** (k + 1)) for i in range(k + 1)] for k in range(len(values))]
    return np.array([sum(w * v for w, v in zip(row, values, strict=False)) for row in weights])


def test_adalayer_has_one_second_moment_a_tensor():
    rule = AdaLayer(betas=(0.8, 0.9), eps=1e-3)
    mean, square = emas(GRADIENTS, 0.8), emas([np.mean(g**2) for g in GRADIENTS], 0.9)
    np.testing.assert_allclose(updates(rule), mean / (np.sqrt(square)[:, None, None] + 1e-3), rtol=ROUNDING)
    assert rule.init(GRADIENTS[0])["exp_avg_sq"].size == 1


@pytest.mark.parametrize("of", ["momentum", "gradient"])
def test_adafactor_has_a_row_and_a_column(of):
    rule = Adafactor(betas=(0.8, 0.9), eps=1e-3, second_moment=of)
    mean = emas(GRADIENTS, 0.8)
    uncorrected = [m * (1 - 0.8 ** (k + 1)) for k, m in enumerate(mean)]
    squares = [np.square(s) for s in (uncorrected if of == "momentum" else GRADIENTS)]
    rows, columns = emas([s.mean(axis=1) for s in squares], 0.9), emas([s.mean(axis=0) for s in squares], 0.9)
    v = np.array([np.outer(r, c) / r.mean() for r, c in zip(rows, columns, strict=True)])
    np.testing.assert_allclose(updates(rule), mean / (np.sqrt(v) + 1e-3), rtol=ROUNDING)
    assert sorted(value.size for value in rule.init(GRADIENTS[0]).values()) == [1, 4, 6, 24]


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_fira_scales_the_residual_as_the_state_full_side_scales_its_part(shape):
    gradients = np.random.default_rng(6).standard_normal((STEPS, *shape)) * np.array([1, 1, 8, 1, 9, 1, 1])[:, None, None]
    q, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((4, 2)))
    left = shape[0] < shape[1]
    rule = Split(Basis(q, "left" if left else "right"), Sgdm(beta=0.7), LikeFull())
    m, norm, found, limited = 0.0, 0.0, [], 0
    for g in gradients:
        r = q.T @ g if left else g @ q
        m = 0.7 * m + 0.3 * r
        axis = 0 if left else 1
        phi = np.linalg.norm(m, axis=axis) / (np.linalg.norm(r, axis=axis) + 1e-8)
        lifted, rest = (q @ m, g - q @ r) if left else (m @ q.T, g - r @ q.T)
        s = rest * phi if left else rest * phi[:, None]
        if norm:
            limit = max(np.linalg.norm(s) / (norm + 1e-8), 1.01) / 1.01
            limited += limit > 1
            s = s / limit
        norm = np.linalg.norm(s)
        found.append(lifted + s)
    assert limited > 0
    np.testing.assert_allclose(updates(rule, gradients), found, rtol=ROUNDING, atol=ROUNDING)


def test_a_split_in_a_split():
    algorithm = ft.Algorithm.model_validate(
        {
            "subspace": "columns",
            "density": 0.5,
            "update_gap": 100,
            "state_full": "adamw",
            "state_free": {
                "rule": "split",
                "subspace": "rows",
                "density": 0.5,
                "state_full": "lion",
                "state_free": {"rule": "sgd", "lr_scale": 0.5},
            },
        }
    )
    found = updates(ft.optimizer(algorithm))
    columns = np.any(found[0] != 0, axis=0)  # read off, then held against the rules on what they should have seen
    _, state = ft.optimizer(algorithm).update(ft.optimizer(algorithm).init(GRADIENTS[0]), GRADIENTS[0])
    inside = state["rules"]["x"]["full"]["exp_avg"]
    chosen = [j for j in range(4) if any(np.allclose(inside[:, i], 0.1 * GRADIENTS[0][:, j]) for i in range(2))]
    others = [j for j in range(4) if j not in chosen]
    assert len(chosen) == 2
    np.testing.assert_allclose(found[:, :, chosen], updates(AdamW(), GRADIENTS[:, :, chosen]), rtol=ROUNDING)
    rest = found[:, :, others]
    rows = [i for i in range(6) if np.isin(rest[:, i], (-1.0, 1.0)).all()]
    assert len(rows) == 3
    np.testing.assert_allclose(rest[:, rows], updates(Lion(), GRADIENTS[:, rows][:, :, others]), rtol=ROUNDING)
    free = [i for i in range(6) if i not in rows]
    np.testing.assert_allclose(rest[:, free], 0.5 * GRADIENTS[:, free][:, :, others], rtol=ROUNDING)
    assert columns.all()


def test_units_that_stay_keep_their_state_and_those_that_enter_start():
    """Factored state on columns: the column's factor follows, the rows' is shared and stays."""
    algorithm = ft.Algorithm.model_validate(
        {"subspace": "columns", "density": 0.5, "update_gap": 1, "state_full": "adafactor", "state_free": "none", "seed": 2}
    )
    rule = ft.optimizer(algorithm)
    state, gradients = rule.init(GRADIENTS[0]), GRADIENTS
    sets, states = [], []
    for g in gradients:
        u, state = rule.update(state, g)
        sets.append(np.flatnonzero(np.any(u != 0, axis=0)))
        states.append(state["rules"]["x"]["full"])
    moved = 0
    for k in range(1, STEPS):
        stay = np.intersect1d(sets[k - 1], sets[k])
        for j in sets[k]:
            before = states[k - 1]["exp_avg"][:, list(sets[k - 1]).index(j)] if j in stay else 0.0
            now = states[k]["exp_avg"][:, list(sets[k]).index(j)]
            np.testing.assert_allclose(now, 0.9 * before + 0.1 * gradients[k][:, j], rtol=ROUNDING)
        assert states[k]["count"].item() == (states[k - 1]["count"].item() if len(stay) else 0) + 1
        moved += 0 < len(stay) < len(sets[k])
    assert moved, "the draws of this seed must show it"


def test_split_is_the_formula():
    inside = np.array([True, False, True, False])
    part = compact(Mask(inside[None]), (6, 4))
    found = updates(Split(part, AdamW(), SignSgd(lr_scale=0.3)))
    np.testing.assert_array_equal(found[:, :, inside], updates(AdamW(), GRADIENTS[:, :, inside]))
    np.testing.assert_array_equal(found[:, :, ~inside], 0.3 * np.sign(GRADIENTS[:, :, ~inside]))
    np.testing.assert_array_equal(found, updates(Split(Mask(inside[None]), AdamW(), SignSgd(lr_scale=0.3))))


def test_a_sketch_beside_like_full_scales_the_gradient_as_a_rule_scales_its_projection():
    """APOLLO's step before its limiter, which says nothing in the first one: channel by channel, with nothing lifted back."""
    q = np.random.default_rng(8).standard_normal((6, 3)) / np.sqrt(3)
    rule = Split(Sketch(q, "left"), AdamW(), LikeFull())
    projected = np.array([q.T @ g for g in GRADIENTS])
    scale = np.linalg.norm(updates(AdamW(), projected), axis=1) / (np.linalg.norm(projected, axis=1) + 1e-8)
    np.testing.assert_allclose(updates(rule)[0], (GRADIENTS * scale[:, None])[0], rtol=ROUNDING)


def test_stored_state_is_rounded_between_steps():
    plain, stored = updates(Sgdm()), updates(Stored(Sgdm(), "float16"))
    np.testing.assert_allclose(stored, plain, rtol=FLOAT16, atol=FLOAT16)
    assert not np.array_equal(stored[1:], plain[1:])
    assert Stored(Sgdm(), "float16").init(GRADIENTS[0])["momentum"].dtype == np.float16
    np.testing.assert_array_equal(stored[0], plain[0])


def test_trials_of_a_rule_that_holds_rules_do_not_mix(block):
    """A storage whose scale is that of the largest entry: side by side, trials would share it."""
    block("A storage")

    class Eight(Part):
        rule: Literal["eight"] = "eight"

    ft.add_rule(Eight, lambda _: Stored(AdamW(), "absmax"))
    algorithm = ft.Algorithm(state_full="eight", state_free="sgd", subspace="columns", density=0.5, learning_rate=0.1)
    scales = np.array([1.0, 100.0])[:, None, None]
    together, alone = ft.init(np.arange(2)), [ft.init(np.array([t])) for t in range(2)]
    x, y = np.zeros((2, 6, 4)), [np.zeros((1, 6, 4))] * 2
    for g in GRADIENTS:
        moved, together = ft.step(algorithm, {"W": x}, {"W": scales * g}, together)
        x = moved["W"]
        for t in range(2):
            moved, alone[t] = ft.step(algorithm, {"W": y[t]}, {"W": scales[t : t + 1] * g}, alone[t])
            y[t] = moved["W"]
    np.testing.assert_allclose(x, np.concatenate(y), rtol=ROUNDING)


def test_counts_are_not_rounded_by_a_storage():
    """float16 knows no whole number between 2048 and 2050."""
    rule = Stored(AdamW(betas=(0.9, 0.999)), "float16")
    state = rule.init(np.ones(1))
    state["count"] = state["count"] + 2048
    _, state = rule.update(state, np.ones(1))
    assert state["count"].item() == 2049
    assert state["exp_avg"].dtype == np.float16


def test_nothing_on_the_part_is_the_state_free_rule():
    part = compact(Mask(np.asarray(False)), (6, 4))
    np.testing.assert_array_equal(updates(Split(part, AdaLayer(), Sgd())), GRADIENTS)


@pytest.mark.parametrize("rule", [AdaLayer(), Adafactor(), LikeFull()], ids=lambda rule: rule.rule)
def test_they_keep_the_contract(rule):
    check_rule(rule)


def test_a_rule_that_holds_rules_has_no_state_to_freeze():
    with pytest.raises(ft.ExperimentError, match='off_set_momentum = "hold" needs a state by unit'):
        ft.parse('name = "x"\n[algorithm]\nsubspace = "columns"\nstate_full = "split"\noff_set_momentum = "hold"\n')


@pytest.mark.parametrize("subspace", ["columns", "rows", "randk"])
def test_the_residual_sees_the_part_alone_whatever_happens_off_it(subspace):
    """Under "decay" the state-full rule goes on off the set, which in two periods is nothing new to the set."""
    u = {}
    for reading in ("reset", "decay"):
        algorithm = ft.Algorithm(
            subspace=subspace,
            density=0.5,
            update_gap=1,
            state_full="sgdm",
            state_free="like_full",
            off_set_momentum=reading,
            seed=3,
        )
        rule = ft.optimizer(algorithm)
        state = rule.init(GRADIENTS[0])
        u[reading] = []
        for g in GRADIENTS[:2]:
            update, state = rule.update(state, g)
            u[reading].append(update)
    np.testing.assert_allclose(u["decay"], u["reset"], rtol=ROUNDING)


class Weighted(RuleTable):
    """u = w g, the weight in a list: a table that cannot be hashed."""

    rule: Literal["weighted"] = "weighted"
    weights: list[float]

    def init(self, like):  # noqa: ARG002
        return {}

    def update(self, state, g, seen=None):  # noqa: ARG002
        return self.weights[0] * g, state


def test_a_rule_may_have_a_table_that_cannot_be_hashed():
    with extended():
        ft.add_rule(Weighted)
        algorithm = ft.Algorithm(density=1.0, state_full={"rule": "weighted", "weights": [3.0]})
        rule = ft.optimizer(algorithm)
        np.testing.assert_array_equal(rule.update(rule.init(GRADIENTS[0]), GRADIENTS[0])[0], 3.0 * GRADIENTS[0])


@pytest.mark.parametrize("first", [True, False])
def test_two_subspaces_of_one_name_are_two(first):
    def units(period, shape, density):  # noqa: ARG001
        return np.arange(shape[-1]) % 2 == (0 if first else 1)

    with extended():
        ft.add_subspace("halves", Scheduled(lambda *given: units(*given)[None]))
        rule = ft.optimizer(ft.Algorithm(subspace="halves", density=0.5, state_full="sgdm", state_free="none"))
        u, _ = rule.update(rule.init(GRADIENTS[0]), np.ones((6, 4)))
    np.testing.assert_array_equal(u.any(axis=0), np.arange(4) % 2 == (0 if first else 1))
