"""What the pages and the listing say of a system is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import frugal_theory as ft
from frugal_gpu.commands import main as cli
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
    defaults = tomllib.loads(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    assert defaults == dict(system.defaults)
    algorithm = ft.parse({"name": "one", "algorithm": {**defaults, "seed": 0}}).algorithm
    named = ft.parse({"name": "one", "algorithm": {"system": name, "seed": 0}}).algorithm
    assert named.model_copy(update={"system": None}) == algorithm
    index = (DOCS / "systems.md").read_text(encoding="utf-8")
    assert f"[{name}](systems/{name}.md) | {system.title} | {system.source} | {counted[name].state:.3f} |" in index


def test_the_listing_says_all_of_it(capsys, monkeypatch, counted):
    monkeypatch.setattr("sys.argv", ["frugal-gpu", "systems"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = capsys.readouterr().out
    for name, one in counted.items():
        assert all(text in said for text in (name, one.system.equation, one.system.source, one.defaults, f"{one.state:.3f}"))


def test_a_system_that_does_not_exist_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["frugal-gpu", "systems", "adamax"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert '"adamax" does not exist; allowed: "frugal"' in capsys.readouterr().err
