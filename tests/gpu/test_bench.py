"""frugal-gpu bench: what it times, what that needs, and what is refused before anything is made."""

from __future__ import annotations

import time

import pytest
import torch

from frugal_gpu.commands.bench import bench as command
from frugal_gpu.model.llama import SHAPES
from frugal_gpu.optim.backends import announcing
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.studies import bench as benching
from frugal_gpu.studies.bench import Bench, bytes_needed
from frugal_theory.config.load import ExperimentError


def study(**more):
    return Bench("llama-tiny", 0.25, 1, torch.device("cpu"), **more)


def test_it_times_the_chosen_ones_on_a_model_with_as_many_layers(monkeypatch):
    chosen, made = study(layers=1, only=("columns", "galore")), []
    assert list(chosen.chosen) == ["FRUGAL columns, signsgd", "GaLore (svd, none)"]
    keep = benching.Frugal.from_config
    monkeypatch.setattr(benching.Frugal, "from_config", lambda *a, **k: made.append(keep(*a, **k)) or made[-1])
    rows = benching.bench(chosen.shape, chosen.chosen, 1, chosen.device)
    assert [row.name for row in rows] == [benching.REFERENCE, *chosen.chosen]
    numbers = sum(p.numel() for group in made[0].param_groups for p in group["params"])
    held = sum(map(state_bytes_held, made)) + 4 * (2 + 2) * numbers  # AdamW's two, weights and gradients
    index = bytes_needed(chosen.shape, chosen.chosen.values()) - held
    assert 0 <= index < 0.01 * held


def test_a_billion_widths_with_twelve_layers_fit_into_24_gib():
    chosen = Bench("llama-1b", 0.25, 1, torch.device("cpu"), layers=12, only=("blocks",))
    assert chosen.shape.hidden_size == SHAPES["llama-1b"].hidden_size
    assert bytes_needed(chosen.shape, chosen.chosen.values()) < 14 * 2**30


def test_what_does_not_fit_or_is_none_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("frugal_theory.instance.sizes.available", lambda: 2.0**20)
    with pytest.raises(ExperimentError, match=r"^--preset llama-tiny: the state of all 2 .*--only NAME, are allowed$"):
        command(preset="llama-tiny", only=["blocks"], out=tmp_path)
    with pytest.raises(ExperimentError, match=r'^--only: "adam2" is no optimizer that is timed; allowed: FRUGAL blocks'):
        command(preset="llama-tiny", only=["adam2"], out=tmp_path)


def test_a_kernel_that_compiles_for_long_is_announced_once(monkeypatch, capsys):
    monkeypatch.setattr(announcing, "PATIENCE", 0.01)
    monkeypatch.setattr(announcing, "_READY", set())
    for _ in range(2):
        announcing.prepare("float16", lambda: time.sleep(0.2))
    announcing.prepare("float128", lambda: None)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "for float16" in said
