"""The table of docs/howto/gpu.md: what `frugal-gpu memory` counts of llama-7b."""

from __future__ import annotations

import re

import pytest

import frugal_theory as ft
from frugal_gpu.studies.memory import memory_table
from tests.pages import ROOT

PAGE = (ROOT / "docs" / "howto" / "gpu.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split("|") for line in PAGE[PAGE.index("| AdamW |") :].splitlines()[2:6]]
SETTINGS = [{}, {"precision": "pure-bf16"}, {"state_dtype": "8bit"}, {"update_in_backward": True}]


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[row[0].strip() for row in ROWS])
def test_it_is_what_is_counted(row):
    training = {key: value for settings in SETTINGS[: row + 1] for key, value in settings.items()}
    experiment = {"name": "x", "algorithm": {"system": "frugal", "density": 0.25}, "model": {"preset": "llama-7b"}}
    counted = memory_table(ft.parse({**experiment, "training": training}))
    *others, ours = [cell.strip() for cell in ROWS[row][1:]]
    *counted_others, counted_ours = [f"{one.total / 2**30:.1f}" for one in counted]
    assert all(re.search(rf"\b{name}\b", ROWS[row][0]) for name in SETTINGS[row])
    assert ours == counted_ours
    assert others == (counted_others if row < 2 else ["", "", ""])
