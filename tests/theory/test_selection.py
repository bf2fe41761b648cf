"""Selection: a pure function of (seed, name, period), with the law that the docstrings promise."""

from __future__ import annotations

import numpy as np
import pytest

from frugal_theory.algorithm.selection import (
    budget,
    circle,
    independent_units,
    normals,
    selection_key,
    stream,
    subset,
    trial_keys,
    uniform_bits,
)
from tests.tolerances import LEAST_P_VALUE, STANDARD_ERRORS

DRAWS = 20_000


def splitmix64(seed: int, count: int) -> list[int]:
    """SplitMix64 as published, in Python integers."""
    full, numbers = 2**64 - 1, []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & full
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & full
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & full
        numbers.append(z ^ (z >> 31))
    return numbers


@pytest.mark.parametrize("seed", [0, 1234567, 2**63 - 1])
def test_bits_are_splitmix64(seed):
    assert uniform_bits(seed, np.arange(5)).astype(np.uint64).tolist() == splitmix64(seed, 5)


def test_the_published_test_vector():
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_differ_in_seed_name_and_period():
    keys = {selection_key(s, n, p) for s in range(5) for n in ("x", "y", "W.0") for p in range(20)}
    assert len(keys) == 5 * 3 * 20
    assert selection_key(3, "x", 4) == selection_key(3, "x", 4)


def test_trial_zero_is_the_single_run():
    key = selection_key(0, "x", 2)
    many = trial_keys(key, np.arange(4))
    assert many.shape == (4, 1)
    assert many[0, 0] == key
    assert len(set(many.ravel().tolist())) == 4
    np.testing.assert_array_equal(subset(many, 9, 4)[0], subset(key, 9, 4))
    np.testing.assert_array_equal(trial_keys(key, np.array([2]))[0], many[2])


def test_independent_units_have_their_probability_and_are_uncorrelated():
    keys = trial_keys(selection_key(1, "x", 0), np.arange(DRAWS))
    inside = independent_units(keys, np.arange(8), 0.3)
    error = np.sqrt(0.3 * 0.7 / DRAWS)
    assert np.abs(inside.mean(axis=0) - 0.3).max() < STANDARD_ERRORS * error
    correlation = np.corrcoef(inside.T)
    assert np.abs(correlation - np.eye(8)).max() < STANDARD_ERRORS / np.sqrt(DRAWS)


def test_probability_one_and_zero():
    assert independent_units(5, np.arange(100), 1.0).all()
    assert not independent_units(5, np.arange(100), 0.0).any()


def test_subsets_have_their_size_and_every_pair_is_equally_likely():
    keys = trial_keys(selection_key(1, "x", 0), np.arange(DRAWS))
    chosen = subset(keys, 5, 2)
    assert chosen.shape == (DRAWS, 2)
    assert (np.diff(chosen, axis=1) > 0).all()
    pairs, counts = np.unique(chosen, axis=0, return_counts=True)
    assert len(pairs) == 10
    assert np.abs(counts / DRAWS - 0.1).max() < STANDARD_ERRORS * np.sqrt(0.1 * 0.9 / DRAWS)


def test_normals_are_normal():
    from scipy.stats import kstest

    assert kstest(normals(selection_key(0, "x", 0), DRAWS), "norm").pvalue > LEAST_P_VALUE


@pytest.mark.parametrize(("density", "count", "expected"), [(0, 9, 0), (0.01, 9, 1), (0.5, 5, 3), (1, 5, 5), (0.25, 8, 2)])
def test_budget(density, count, expected):
    assert budget(density, count) == expected


SIZES = np.array([3, 5, 2, 10, 4])


def test_random_blocks_are_active_with_the_density_whatever_their_size():
    keys = trial_keys(selection_key(1, "blocks", 0), np.arange(DRAWS))
    active = circle(keys, 0, SIZES, 0.25, "random")
    expected = np.maximum(6, SIZES) / 24  # a window of 6 elements; the block of 10 is also taken from inside
    assert np.abs(active.mean(axis=0) - expected).max() < STANDARD_ERRORS * np.sqrt(0.25 / DRAWS)


def test_equal_blocks_hold_exactly_the_density():
    keys = trial_keys(selection_key(1, "blocks", 0), np.arange(500))
    assert (circle(keys, 0, np.full(8, 6), 0.25, "random").sum(axis=1) == 2).all()


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_ordered_blocks_are_active_once_a_round(order):
    active = np.array([circle(0, period, np.full(6, 4), 1 / 3, order) for period in range(6)])
    assert (active.sum(axis=1) == 2).all()
    assert (active[:3].sum(axis=0) == 1).all()
    np.testing.assert_array_equal(active[:3], active[3:])
    first = active[0].nonzero()[0].tolist()
    assert first == ([0, 1] if order == "ascending" else [4, 5])


def test_mirror_walks_there_and_back():
    active = np.array([circle(0, period, np.full(4, 1), 0.25, "mirror").argmax() for period in range(8)])
    assert active.tolist() == [0, 1, 2, 3, 3, 2, 1, 0]


def test_some_block_is_always_active():
    for order in ("random", "ascending", "descending", "mirror"):
        for period in range(200):
            assert circle(selection_key(0, "b", period), period, SIZES, 0.05, order).any()


def test_streams_are_independent():
    draws = {name: np.random.default_rng(stream(5, name)).random() for name in ("problem", "start", "noise", "selection")}
    assert len(set(draws.values())) == 4
