"""Every example in a docstring of the toolkit runs and prints what it says; what is used most has one."""

from __future__ import annotations

import sys

import pytest

import frugal_theory as ft
from tests import examples


@pytest.mark.parametrize("module", examples.modules("frugal_theory"))
def test_the_examples_of_a_docstring_run(module):
    examples.run(module)


@pytest.mark.parametrize("name", ["bound", "exact", "load", "optimizer", "parse", "simulate", "step", "verify"])
def test_what_is_used_most_has_an_example(name):
    assert ">>> " in getattr(ft, name).__doc__


@pytest.mark.parametrize("theorem", ft.THEOREMS.values(), ids=ft.THEOREMS)
def test_every_theorem_has_an_example(theorem):
    said = type(theorem).__doc__
    assert (
        f'measured_and_bound("{theorem.name}"' in said or f'verify(experiment, theorems=[ft.THEOREMS["{theorem.name}"]' in said
    )


def test_an_example_that_is_wrong_is_reported(tmp_path, monkeypatch):
    (tmp_path / "wrong_example.py").write_text('"""Wrong.\n\n>>> 1 + 1\n3\n"""\n', encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match="Expected:\n    3"):
        examples.run("wrong_example")
    sys.modules.pop("wrong_example")
