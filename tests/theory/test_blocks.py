"""Density is a budget of elements: the set of blocks holds it for any sizes, and its law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugal_theory.algorithm import choose_parts
from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.selection import budget, circle, pieces, selection_key, trial_keys
from frugal_theory.algorithm.subspaces import block_sizes, blocks_of
from frugal_theory.config import Algorithm
from tests.tolerances import ROUNDING, STANDARD_ERRORS

ORDERS = ("random", "ascending", "descending", "mirror")
SHAPES = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple), min_size=1, max_size=6)


def held(shapes, inside) -> int:
    """Elements in the set."""
    return sum(int(np.broadcast_to(member, shape).sum()) for shape, member in zip(shapes, inside, strict=True))


def largest_piece(shapes, window: int) -> int:
    return max(math.prod(shape) // math.prod(pieces(shape, window)) for shape in shapes)


@settings(deadline=None)
@given(shapes=SHAPES, density=st.floats(0.001, 1), order=st.sampled_from(ORDERS), period=st.integers(0, 50))
def test_the_set_holds_the_density_within_one_piece(shapes, density, order, period):
    total = sum(map(math.prod, shapes))
    window = budget(density, total)
    inside = blocks_of("blocks", order).members(selection_key(3, "blocks", period), period, shapes, density)
    found = held(shapes, inside)
    assert 0 < found < window + largest_piece(shapes, window)
    if order != "mirror":  # whose last window of a walk is what is left of the circle
        assert found > window - largest_piece(shapes, window)


SMALL = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(shapes=SMALL, density=st.floats(0.01, 0.99), order=st.sampled_from(["ascending", "descending"]))
def test_a_round_of_windows_holds_every_element_equally_often(shapes, density, order):
    total = sum(map(math.prod, shapes))
    window = budget(density, total)
    blocks, times = blocks_of("blocks", order), [np.zeros(shape, dtype=int) for shape in shapes]
    for period in range(total // math.gcd(window, total)):
        inside = blocks.members(0, period, shapes, density)
        times = [count + member for count, member in zip(times, inside, strict=True)]
    assert {int(n) for count in times for n in count.flat} == {window // math.gcd(window, total)}


@pytest.mark.parametrize("shapes", [[(30, 4), (5,), (2, 3)], [(1, 40), (8,)], [(50,)], [(3, 4, 5), (2, 2)]])
@pytest.mark.parametrize("density", [0.03, 0.3])
def test_the_share_of_every_element_is_that_of_the_window(shapes, density):
    trials = 4000
    names = {f"p{i}": shape for i, shape in enumerate(shapes)}
    algorithm = Algorithm(subspace="blocks", density=density, seed=2, state_full={"rule": "sgdm"}, state_free="sgd")
    share = run_lengths(algorithm, names).share
    parts = choose_parts(algorithm, names, 0, {}, np.arange(trials))
    expected = budget(density, sum(map(math.prod, shapes))) / sum(map(math.prod, shapes))
    for name, shape in names.items():
        assert float(share[name]) == pytest.approx(expected, rel=1e-15)
        frequency = np.broadcast_to(parts[name].inside, (trials, *shape)).mean(axis=0)
        assert np.abs(frequency - expected).max() < STANDARD_ERRORS * math.sqrt(expected * (1 - expected) / trials)


def test_a_trial_draws_what_a_single_run_draws():
    shapes = [(30, 4), (5,), (1, 9)]
    blocks, key = blocks_of("blocks", "random"), selection_key(1, "blocks", 4)
    once = blocks.members(key, 4, shapes, 0.05)
    trials = blocks.members(trial_keys(key, np.arange(3)), 4, shapes, 0.05)
    for single, several in zip(once, trials, strict=True):
        np.testing.assert_array_equal(single, several[0])


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), order=st.sampled_from(ORDERS), period=st.integers(0, 20))
def test_what_the_window_holds_is_taken_whole_and_as_ever(sizes, order, period):
    """No block is larger than this window: rows change nothing."""
    total = sum(sizes)
    density = min(1.0, (max(sizes) + 1) / total)
    key = selection_key(0, "blocks", period)
    inside = blocks_of("blocks", order).members(key, period, [(size, 1) for size in sizes], density)
    assert all(member.shape == (1, 1) for member in inside)
    active = circle(key, period, np.array(sizes), density, order)
    np.testing.assert_array_equal(np.concatenate([member.ravel() for member in inside]), active)


@settings(deadline=None)
@given(shapes=st.lists(SHAPES, min_size=1, max_size=4), density=st.floats(0.01, 1), order=st.sampled_from(ORDERS))
def test_layers_hold_the_density_too(shapes, density, order):
    """A layer is a block; one larger than the window is divided into its tensors, and those into rows."""
    named = {f"layers.{i}.{j}": shape for i, layer in enumerate(shapes) for j, shape in enumerate(layer)}
    algorithm = Algorithm(subspace="blocks", blocks="layer", density=density, order=order, seed=1)
    sizes, _ = block_sizes(algorithm, named)
    window = budget(density, int(sizes.sum()))
    pieces_of = [size if size <= window else largest_piece(layer, window) for size, layer in zip(sizes, shapes, strict=True)]
    for period in range(3):
        parts = choose_parts(algorithm, named, period, {})
        found = held(named.values(), [part.inside for part in parts.values()])
        assert 0 < found < window + max(pieces_of)
        if order != "mirror":
            assert found > window - max(pieces_of)


@pytest.mark.parametrize("blocks", ["tensor", "layer"])
@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
def test_divided_blocks_are_the_same_in_pytorch(blocks, reading):
    pytest.importorskip("torch")
    from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path

    problem = driven(12, shapes={"x": (7,), "W": (20, 3), "U": (1, 30), "T": (2, 25)})
    for rule, order in (("adamw", "random"), ("adafactor", "descending")):
        algorithm = Algorithm(
            learning_rate=0.03, subspace="blocks", blocks=blocks, density=0.1, order=order, update_gap=2, seed=2,
            off_set_momentum=reading, state_full=rule,
        )  # fmt: skip
        assert_same_path(torch_path(algorithm, problem), numpy_path(algorithm, problem), ROUNDING, (rule, order))
