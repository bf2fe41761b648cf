"""The reference has every public name and every key of the experiment file, and the links of all pages lead somewhere."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import pytest

import frugal_gpu
import frugal_theory as ft
import frugal_theory.testing
from docs.site import keys
from frugal_theory.config.keys import spelled, tables
from frugal_theory.config.registry import NOISES, PROBLEMS, RULES
from frugal_theory.config.tables import plain
from tests.pages import PAGES, ROOT, anchors, links

PYTHON = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
EVERY_KEY = [pytest.param(table, key, id=f"{table.path}.{key.name}") for table in tables() for key in table.keys]


@pytest.mark.parametrize("module", [ft, frugal_theory.testing, frugal_gpu], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module):
    start = PYTHON.index(f"currentmodule:: {module.__name__}\n")
    part = PYTHON[start:].split("currentmodule::")[1]
    assert sorted(re.findall(r"^\.\. (?:auto)?(?:function|class|exception|data):: (\w+)$", part, re.MULTILINE)) == sorted(
        module.__all__
    )


@pytest.mark.parametrize(("table", "key"), EVERY_KEY)
def test_every_key_is_in_the_reference_and_its_default_is_true(table, key):
    assert len(keys.meaning(table, key)) > 3
    field = table.model.model_fields[key.name]
    if not key.default:
        assert field.is_required()
        return
    default = field.get_default(call_default_factory=True)
    if key.default == "–":
        assert default is None
    else:
        said = tomllib.loads(f"default = {key.default}")["default"]
        full = plain(default)
        assert said == ({name: full[name] for name in said} if isinstance(full, dict) else full)


def test_the_page_has_every_table_and_every_key():
    page = keys.page()
    for table in tables():
        for key in table.keys:
            assert f"| `{key.name}` |" in page
    for registry in (RULES, PROBLEMS, NOISES):
        assert all(f'= "{name}"`' in page for name in registry)
    tops = [name for name in ft.Experiment.model_fields if name not in ("name", "seed", "sweep")]
    assert all(f"[{name}]" in page for name in tops)


def test_a_key_without_a_meaning_is_named(monkeypatch):
    (table,) = [table for table in tables() if table.path == "simulation"]
    mute = replace(table, keys=tuple(replace(key, meaning="") for key in table.keys))
    monkeypatch.setattr(keys, "tables", lambda: [mute])
    with pytest.raises(ValueError, match=r"Simulation\.steps: say under the field"):
        keys.page()


def test_a_meaning_is_inherited_until_a_table_says_another():
    meanings = {f"{table.path}.{key.name}": key.meaning for table in tables() for key in table.keys}
    assert meanings["rule.nesterov.beta"] == meanings["rule.sgdm.beta"]
    assert meanings["algorithm.groups.density"] == meanings["algorithm.density"]
    assert meanings["rule.adamw.eps"] != meanings["rule.adagrad.eps"]
    assert keys.meaning(*next((t, k) for t in tables() for k in t.keys if k.name == "system")).endswith(
        "[systems](../systems.md)."
    )


def test_what_is_allowed_is_in_words():
    allowed = {f"{table.path}.{key.name}": key.allowed for table in tables() for key in table.keys}
    assert allowed["algorithm.density"] == "a number from 0 to 1"
    assert allowed["algorithm.learning_rate"] == "a number > 0 or { fraction_of_admissible = … }"
    assert allowed["rule.adamw.betas"] == "2 of: a number >= 0 and < 1"
    assert allowed["training.precision"] == '"float32", "bf16", "pure-bf16", "fp16"'
    assert allowed["noise.gaussian.sigma"] == "a number >= 0 or a list of: a number >= 0"
    assert allowed["algorithm.norms"].startswith('"state_full", "split", "state_free" or a table whose rule is "sgdm"')
    assert spelled({"a": [True, 1e-8], "b": "x"}) == '{ a = [true, 1e-08], b = "x" }'


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {path}#{anchor} is no heading"
