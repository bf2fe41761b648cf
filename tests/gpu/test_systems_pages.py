"""What the pages and the listing say of a system is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import frugal_theory as ft
from frugal_gpu.commands import main as cli
from frugal_gpu.commands.in_unicode import in_unicode
from frugal_gpu.studies.systems import described
from frugal_theory.config.registry import SYSTEMS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def counted():
    return {one.system.name: one for one in described()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_a_page_and_it_is_true(name, counted):
    system, page = SYSTEMS[name], (DOCS / "systems" / f"{name}.md").read_text(encoding="utf-8")
    for said in (f'system = "{name}"', system.title, system.equation, system.source):
        assert said in page
    assert f"State: {counted[name].state:.3f} numbers a parameter" in page
    written = re.search(r"```toml\n(.+?)```", page, re.DOTALL)
    assert written or "Defaults: those of `[algorithm]`." in page
    defaults = tomllib.loads(written[1]) if written else {}
    assert defaults == dict(system.defaults)
    algorithm = ft.parse({"name": "one", "algorithm": {**defaults, "seed": 0}}).algorithm
    named = ft.parse({"name": "one", "algorithm": {"system": name, "seed": 0}}).algorithm
    assert named.model_copy(update={"system": None}) == algorithm
    allowed = "every key" if system.accepts is None else ", ".join(f"`{key}`" for key in system.allowed)
    assert f"Keys that may be given beside the name: {allowed}.\n" in page
    index = (DOCS / "systems.md").read_text(encoding="utf-8")
    assert f"[{name}](systems/{name}.md) | {system.title} | {system.source} | {counted[name].state:.3f} |" in index


def test_the_listing_says_all_of_it(capsys, monkeypatch, counted):
    monkeypatch.setattr("sys.argv", ["frugal-gpu", "systems"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = capsys.readouterr().out
    for name, one in counted.items():
        assert all(
            text in said
            for text in (name, in_unicode(one.system.equation), one.system.source, one.defaults, f"{one.state:.3f}")
        )


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_equation_in_the_terminal_has_nothing_of_latex(name):
    said = in_unicode(SYSTEMS[name].equation)
    assert not set(said) & set("\\{}$^")
    assert said.count("(") == said.count(")")


@pytest.mark.parametrize(
    ("latex", "said"),
    [
        (r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon}", "u = m̂/(√v̂ + ε)"),
        (r"\frac{r c^\top}{\mathrm{mean}(r)}", "(r cᵀ)/(mean(r))"),
        (r"\frac{\lVert R_j\rVert}{c\,(n + 10^{-8})}", "‖Rⱼ‖/(c (n + 10⁻⁸))"),
        (r"\sqrt{\max(1, m/n)}\;\mathrm{NS}_5", "√(max(1, m/n)) NS₅"),
        (r"P^{-1}\,\mathrm{full}(PG)", "P⁻¹ full(PG)"),
        (r"\frac1w\sum_{t\le w}\mathrm{mean}_{ij}\,G_{ij}^2", "1/w Σ_(t≤w) meanᵢⱼ Gᵢⱼ²"),
    ],
)
def test_what_stands_over_a_line_keeps_its_brackets(latex, said):
    assert in_unicode(latex) == said


def test_a_system_that_does_not_exist_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["frugal-gpu", "systems", "adamax"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert '"adamax" does not exist; allowed: "frugal"' in capsys.readouterr().err
