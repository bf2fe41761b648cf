"""Storages: eight bits a number, in blocks that share a scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frugal_theory.algorithm.storages import LEAST, SIGNED8, STORAGES, UNSIGNED8, Coded, bytes_in_8, dynamic_map
from tests.tolerances import FLOAT32

BOTH = pytest.mark.parametrize(("storage", "signed"), [(SIGNED8, True), (UNSIGNED8, False)])


def numbers(signed: bool, shape: tuple[int, ...] = (17, 300)) -> np.ndarray:
    """Numbers of many sizes; those of a row are alike."""
    rng = np.random.default_rng(4)
    values = rng.standard_normal(shape) * np.exp(3 * rng.standard_normal((shape[0], 1)))
    return (values if signed else values**2).astype(np.float32)


@pytest.mark.parametrize("signed", [True, False])
def test_the_map_has_its_known_values(signed):
    values = dynamic_map(signed)
    assert values.shape == (256,)
    assert np.all(np.diff(values) > 0)
    assert {0.0, 1.0} <= set(values.tolist())
    assert values[values > 0].min() == pytest.approx(5.5e-7 if signed else 3.25e-7, rel=FLOAT32)
    in_the_last_decade = int(np.sum(values > 0.1)) - 1
    assert in_the_last_decade == (64 if signed else 128)
    assert values[0] == pytest.approx(-(1 - 0.9 / 128) if signed else 0, rel=FLOAT32)


@BOTH
def test_every_number_becomes_the_nearest_of_its_block(storage, signed):
    """By brute force over the 256 values."""
    values = numbers(signed)
    coded = storage.encode(values)
    assert isinstance(coded, Coded)
    assert coded.codes.shape == values.shape
    assert coded.codes.dtype == np.uint8
    assert coded.scales.shape == (-(-values.size // 256),)
    decoded = storage.decode(coded, values)
    flat, known = values.ravel(), dynamic_map(signed)
    for block, scale in enumerate(coded.scales):
        inside = slice(256 * block, min(256 * (block + 1), flat.size))
        assert scale == np.abs(flat[inside]).max()
        nearest = np.abs(flat[inside, None] - scale * known).min(axis=1)
        np.testing.assert_allclose(np.abs(decoded.ravel()[inside] - flat[inside]), nearest, rtol=0, atol=scale * FLOAT32)


@BOTH
def test_torch_and_numpy_have_the_same_codes(storage, signed):
    values = numbers(signed)
    ours, theirs = storage.encode(values), storage.encode(torch.from_numpy(values))
    np.testing.assert_array_equal(ours.codes, theirs.codes.numpy())
    np.testing.assert_array_equal(ours.scales, theirs.scales.numpy())
    np.testing.assert_array_equal(storage.decode(ours, values), storage.decode(theirs, torch.from_numpy(values)).numpy())


@BOTH
def test_chunks_change_nothing(storage, signed, monkeypatch):
    whole = storage.encode(numbers(signed))
    monkeypatch.setattr("frugal_theory.algorithm.storages.CHUNK", 512)
    cut = storage.encode(numbers(signed))
    np.testing.assert_array_equal(whole.codes, cut.codes)
    np.testing.assert_array_equal(whole.scales, cut.scales)


@pytest.mark.parametrize("storage", [SIGNED8, UNSIGNED8])
def test_zeros_and_the_largest_of_a_block_are_exact(storage):
    values = np.zeros(LEAST, dtype=np.float32)
    values[300] = 0.3
    np.testing.assert_array_equal(storage.decode(storage.encode(values), values), values)


def test_small_arrays_stay_as_they_are():
    values = np.linspace(0, 1, LEAST - 1)
    np.testing.assert_array_equal(SIGNED8.encode(values), values.astype(np.float32))
    assert bytes_in_8(LEAST - 1) == 4 * (LEAST - 1)
    assert bytes_in_8(LEAST + 1) == LEAST + 1 + 4 * (LEAST // 256 + 1)


def test_both_are_known_by_name():
    assert STORAGES["signed8"] is SIGNED8
    assert STORAGES["unsigned8"] is UNSIGNED8


@pytest.mark.ecosystem
@BOTH
def test_codes_are_those_of_torchao(storage, signed):
    utilities = pytest.importorskip("torchao.optim.quant_utils")
    known = torch.tensor(utilities.create_dynamic_map(signed))
    np.testing.assert_allclose(dynamic_map(signed), known.numpy(), rtol=0, atol=FLOAT32 / 10)
    values = torch.from_numpy(numbers(signed, (16, 512)))
    scaled, scales = utilities.scale_tensor(values, 256)
    ours = storage.encode(values)
    torch.testing.assert_close(ours.scales, scales, rtol=0, atol=0)
    torch.testing.assert_close(ours.codes.view(-1), utilities.quantize_8bit_with_qmap(scaled, known).view(-1), rtol=0, atol=0)
