"""frugal-theory keys: what a file may say, at the terminal."""

from __future__ import annotations

import pytest

from frugal_theory.config.keys import tables
from tests.calling import frugal_theory


def test_every_table_is_listed(tmp_path):
    done = frugal_theory("keys", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, len(tables()))
    assert lines[1].startswith("[algorithm]  system, learning_rate, density")
    assert any(line.startswith('[noise] kind = "student-t"  kind, degrees_of_freedom') for line in lines)


@pytest.mark.parametrize("name", ["training.warmup_steps", "warmup_steps"])
def test_a_key_says_what_it_is(tmp_path, name):
    done = frugal_theory("keys", name, cwd=tmp_path)
    words = " ".join(done.stdout.split())
    assert words == (
        "[training] warmup_steps may be left out; a whole number >= 0 "
        "Steps of linear warm-up; a tenth of the run, or of a cycle, by default."
    )


def test_a_table_goes_before_a_key_of_that_name(tmp_path):
    shown = frugal_theory("keys", "probes", cwd=tmp_path).stdout
    assert shown.startswith("[probes]\n    every")
    assert "the file itself" not in shown


def test_a_kind_is_a_table(tmp_path):
    assert frugal_theory("keys", "adamw", cwd=tmp_path).stdout.startswith('rule = "adamw"\n')
    assert frugal_theory("keys", "problem", cwd=tmp_path).stdout.count('[problem] kind = "') == 4


def test_a_typo_is_one_line(tmp_path):
    done = frugal_theory("keys", "densty", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == '"densty" is no table or key; did you mean "density"? frugal-theory keys lists all\n'
