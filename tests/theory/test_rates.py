"""Fitted exponents are those of theory, their intervals mean something, and a wrong law is said to differ."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import frugal_theory as ft
from frugal_theory.commands.main import app
from frugal_theory.studies.rates import fits as module
from frugal_theory.studies.rates import study
from frugal_theory.studies.rates.fits import _exponent, _share_applied, implied_constant, law_of, rates
from tests.tolerances import ATTAINED


@pytest.fixture(scope="module")
def fits():
    return {fit.name: fit for fit in rates(ft.load("simulations/demo.toml"))}


@pytest.mark.ecosystem
def test_every_rate_is_the_predicted_one_but_for_a_uniform_constant(fits):
    assert len(fits) == 10
    differing = [name for name, fit in fits.items() if fit.verdict != "agrees"]
    assert differing == ["theorem_5_2's constant in 1/(1−β), worst ρ"]
    for fit in fits.values():
        assert fit.lower < fit.estimate < fit.upper


def test_theorem_5_2_needs_a_constant_that_grows_like_one_over_the_effective_step():
    """Without noise the shape is Δ/(Kα), and what is measured is Δ/(Kαω) with ω at its least about 2√(1−β)."""
    law = law_of(ft.load("simulations/demo.toml"))
    for leak in (1 / 64, 1 / 256):
        density = 1 - np.sqrt(leak)
        found = implied_constant(law, 1 - leak, density)
        assert found == pytest.approx(1 / _share_applied(density, 1 - leak), rel=0.1)
        assert found * 2 * np.sqrt(leak) == pytest.approx(1, rel=0.2)
    assert implied_constant(law, 1 - 1 / 4096, 0.5) == pytest.approx(2, rel=ATTAINED)


@pytest.mark.parametrize("power", [-0.5, 1.0, 2.0])
def test_an_exponent_is_found_under_corrections(power):
    s = 2.0 ** -np.arange(3, 11)
    points = [(float(a), float(a**power * np.exp(3 * a - a**2)), float(a)) for a in s]
    fit = _exponent("", "", power, points)
    assert fit.verdict == "agrees"
    assert _exponent("", "", power + 0.01, points).verdict == "differs"


def test_scattered_points_are_inconclusive():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 4, 12)
    points = [(float(a), float(a * np.exp(rng.normal())), 0.0) for a in x]
    assert _exponent("", "", 1.0, points).verdict == "inconclusive"


def test_an_engine_with_another_law_differs(monkeypatch):
    """Noise that grows as σ^{2.2} in place of σ²."""
    law = law_of(ft.load("simulations/demo.toml"))
    true = module._floor
    monkeypatch.setattr(module, "_floor", lambda law, alpha, variance: true(law, alpha, variance**1.1))
    assert module.noise_in_variance(law).verdict == "differs"


@pytest.mark.ecosystem
def test_the_command_writes_its_numbers(tmp_path, fits, monkeypatch):
    known = dict(zip(module.FITS, fits.values(), strict=True))
    monkeypatch.setattr(study, "FITS", {name: lambda _, fit=fit: fit for name, fit in known.items()})
    result = CliRunner().invoke(app, ["rates", "simulations/demo.toml", "--out", str(tmp_path), "--jobs", "1"])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(tmp_path / "rates.parquet")
    assert set(table["name"]) == set(fits)
    assert table["y"].notna().all()
    folder = tmp_path / "studies" / "rates"
    assert {path.name for path in folder.iterdir()} == {"experiment.toml", "figures", "study.json", "table.csv"}
    record = json.loads((folder / "study.json").read_text())
    assert record["status"] == "no"
    assert record["answer"].startswith("9 of 10 fitted rates agree with theory; theorem_5_2's constant")


def test_what_is_no_quadratic_or_not_algorithm_2_is_refused(quadratic):
    others = ({"problem": {"kind": "logistic"}}, {"algorithm.state_full": "lion"}, {"algorithm.state_free": "none"})
    others += ({"algorithm.off_set_momentum": "hold"}, {"algorithm.split_lr_scale": 0.5}, {"algorithm.subspace": "blocks"})
    others += ({"algorithm.density_schedule": {"to": 0.1, "steps": 9}},)
    for overrides in others:
        with pytest.raises(ft.ExperimentError, match="needed"):
            rates(quadratic(overrides))
