import pytest
import torch

import frugal_theory as ft
from frugal_gpu.model.llama import SHAPES, Shape, build_model, meta_model, model_shape, parameter_count
from frugal_theory import config

REPORTED = {
    "llama-9m": "9.0",
    "llama-20m": "19.5",
    "llama-35m": "35.2",
    "llama-40m": "42.4",
    "llama-60m": "58.1",
    "llama-71m": "70.6",
    "llama-100m": "100.1",
    "llama-130m": "134.1",
    "llama-250m": "247.4",
    "llama-350m": "368.0",
    "llama-1b": "1339",
    "llama-3b": "2686",
    "llama-7b": "6738",
}
"""Parameters in millions, as the FRUGAL paper prints them."""


@pytest.mark.parametrize("preset", REPORTED)
def test_presets_have_the_reported_number_of_parameters(preset):
    digits = len(REPORTED[preset].partition(".")[2])
    assert f"{parameter_count(SHAPES[preset]) / 1e6:.{digits}f}" == REPORTED[preset]


def test_every_shape_is_a_preset_and_the_tiny_one_has_about_a_million_parameters():
    assert [config.Model(preset=name).preset for name in SHAPES] == list(SHAPES)
    with pytest.raises(ValueError, match="'llama-3b' or 'llama-7b'"):
        config.Model(preset="llama-8b")
    assert 0.9e6 < parameter_count(SHAPES["llama-tiny"]) < 1.3e6


def test_count_is_the_sum_over_matrices_and_norms():
    shape = Shape(hidden_size=24, intermediate_size=40, layers=3, heads=2, vocabulary=300)
    layer = 4 * 24**2 + 3 * 24 * 40 + 2 * 24
    assert parameter_count(shape) == 2 * 300 * 24 + 3 * layer + 24


def test_meta_model_has_no_storage():
    assert {parameter.device.type for parameter in meta_model(SHAPES["llama-7b"]).parameters()} == {"meta"}


def test_sizes_override_the_preset():
    shape = model_shape(config.Model(preset="llama-60m", layers=2, vocabulary=512))
    assert shape == Shape(512, 1376, 2, 8, vocabulary=512)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ft.ExperimentError, match=r"model.heads = 3: hidden_size 128 must be"):
        model_shape(config.Model(preset="llama-9m", heads=3))


def test_weights_are_float32_untied_and_drawn_with_the_given_range():
    torch.manual_seed(0)
    model = build_model(Shape(64, 96, 2, 2, vocabulary=1000), 16, initializer_range=0.1)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert float(model.lm_head.weight.detach().std()) == pytest.approx(0.1, rel=0.02)  # 64,000 draws: 7 standard errors
