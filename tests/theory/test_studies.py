"""The runner: what every study gets, shown on a small one of the test's own."""

from __future__ import annotations

import copy
import importlib
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import frugal_theory as ft
from frugal_theory.commands.main import app
from frugal_theory.config.identity import identity, name_of
from frugal_theory.config.load import Cell
from frugal_theory.studies import questions
from frugal_theory.studies.interruption import INTERRUPTED
from frugal_theory.studies.runner import carry_out
from frugal_theory.studies.study import Answer
from tests.calling import frugal_theory, in_a_process
from tests.conftest import QUADRATIC

ROOT = Path(__file__).parents[2]

STUDY = """
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    QUESTION = "Is the density above a half?"

    def measure(experiment):
        with Path("calls").open("a") as calls:
            calls.write("x")
        if Path("stop").exists() and len(Path("calls").read_text()) == int(Path("stop").read_text()):
            raise KeyboardInterrupt
        return pd.DataFrame({"measured": [experiment.algorithm.density, 2 * experiment.algorithm.density]})

    def draw(table):
        figure = Figure()
        figure.add_subplot().plot(table["measured"])
        return figure

    def answer(table):
        share = (table["measured"] > 0.5).mean()
        return f"In {share:.0%} of the cells.", "yes" if share == 1 else "no"
"""

SWEEP = '\n[sweep]\n"algorithm.density" = [0.1, 0.2, 0.3, 0.4]\n'


class Toy:
    """A study that needs no experiment."""

    name, question, by_cell = "toy", "Does a claim fail?", False

    def __init__(self, failed=False):
        self.failed = failed

    def measure(self, _, run):
        run.say("measuring")
        return pd.concat([*run.each(one, [(1.5,), (2.5,)]), *run.kept({"last": lambda: one(3.5)})], ignore_index=True)

    def draw(self, table):  # noqa: ARG002
        return {}

    def answer(self, table):
        return Answer(f"The sum is {table['x'].sum():g}.", "open", self.failed)


def one(x):
    return pd.DataFrame({"x": [x]})


@pytest.fixture
def place(tmp_path, experiment_file, monkeypatch):
    """A folder with a study of the user's and its experiment."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(STUDY))
    experiment_file((QUADRATIC + SWEEP).replace('"test"', '"mine"'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(*arguments, cwd):
    return frugal_theory("study", *arguments, cwd=cwd)


def study_in_a_process(*arguments, cwd):
    return in_a_process("study", *arguments, cwd=cwd)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_of_the_users_is_a_study(place):
    done = study("mine.py", "--jobs", 1, "--out", "out", cwd=place)
    assert done.returncode == 0, "the answer is no, and that is done"
    assert done.stderr == ""
    assert "In 50%" not in done.stdout
    assert "In 25% of the cells." in done.stdout
    out = place / "out"
    assert files(out) == ["experiment.toml", "figures/mine.png", "figures/mine.svg", "study.json", "table.csv"]
    table = pd.read_csv(out / "table.csv")
    assert list(table.columns) == ["algorithm.density", "measured"]
    assert list(table["algorithm.density"]) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    record = json.loads((out / "study.json").read_text())
    assert record["name"] == "mine"
    assert record["question"] == "Is the density above a half?"
    assert record["status"] == "no"
    assert record["answer"] == "In 25% of the cells."
    assert ft.parse(record["experiment"]) == ft.load(place / "mine.toml") == ft.load(out / "experiment.toml")


@pytest.mark.ecosystem
def test_an_interrupted_study_goes_on_where_it_was(place):
    whole = study("mine.py", "--jobs", 1, "--out", "whole", cwd=place)
    assert whole.returncode == 0
    (place / "calls").unlink()
    (place / "stop").write_text("3")
    broken = study("mine.py", "--jobs", 1, "--out", "out", cwd=place)
    assert broken.returncode == INTERRUPTED
    assert broken.stderr.count("\n") == 1
    assert "2 of 4 cells are kept in out" in broken.stderr
    assert "continues" in broken.stderr
    assert {path.parent.name for path in (place / "out").rglob("*") if path.is_file()} == {"cells"}
    (place / "stop").unlink()
    done = study("mine.py", "--jobs", 1, "--out", "out", cwd=place)
    assert done.returncode == 0
    assert "2 of 4 cells are those of an interrupted run" in done.stderr
    assert len((place / "calls").read_text()) == 3 + 2, "the kept cells are not measured again"
    assert files(place / "out") == files(place / "whole")
    assert (place / "out" / "table.csv").read_bytes() == (place / "whole" / "table.csv").read_bytes()


def test_what_a_study_imports_from_beside_it_is_part_of_it(tmp_path, monkeypatch):
    """The user mends a helper after Ctrl-C; the study itself is the same text."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "asks.py").write_text("import helps_it_here\n" + textwrap.dedent(STUDY))
    (tmp_path / "unasked.py").write_text("")
    (tmp_path / "helps_it_here.py").write_text("FACTOR = 2\n")
    questions.from_file(tmp_path / "asks.py")
    first = questions.written(tmp_path / "asks.py")
    (tmp_path / "unasked.py").write_text("1")
    assert questions.written(tmp_path / "asks.py") == first
    (tmp_path / "helps_it_here.py").write_text("FACTOR = 3\n")
    assert questions.written(tmp_path / "asks.py") != first
    for name in ("asks", "helps_it_here"):
        monkeypatch.delitem(sys.modules, name)


def test_an_edit_of_what_was_added_gives_another_name(tmp_path, monkeypatch):
    """To cells, premises and tables; and none to another name, or where it is added no more."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "adds_a_theorem.py"
    file.write_text("class Mine:\n    name = 'mine'\n")
    before = name_of("x")
    with ft.extended():
        ft.add_theorem(importlib.import_module("adds_a_theorem").Mine())
        first = name_of("x")
        assert name_of("x") == first != before
        file.write_text("class Mine:\n    name = 'mine'  # mended\n")
        assert name_of("x") not in (first, before)
    assert name_of("x") == before
    monkeypatch.delitem(sys.modules, "adds_a_theorem")


@pytest.mark.ecosystem
def test_nothing_kept_is_used_by_another_study_or_experiment(place):
    (place / "stop").write_text("3")
    assert study("mine.py", "--jobs", 1, "--out", "out", cwd=place).returncode == INTERRUPTED
    (place / "stop").unlink()
    (place / "mine.py").write_text((place / "mine.py").read_text().replace("2 * experiment", "3 * experiment"))
    done = study("mine.py", "--jobs", 1, "--out", "out", cwd=place)
    assert done.returncode == 0
    assert done.stderr == ""
    assert pd.read_csv(place / "out" / "table.csv")["measured"].max() == pytest.approx(1.2)


@pytest.mark.ecosystem
def test_the_processes_do_not_matter(place):
    """Slow enough for processes of its own to be worth their start."""
    one = study("mine.py", "--jobs", 1, "--out", "out1", cwd=place)
    (place / "mine.py").write_text((place / "mine.py").read_text().replace("def measure(experiment):", SLOW))
    two = study_in_a_process("mine.py", "--jobs", 2, "--out", "out2", cwd=place)
    assert one.returncode == two.returncode == 0, two.stderr
    assert (place / "out1" / "table.csv").read_bytes() == (place / "out2" / "table.csv").read_bytes()


SLOW = """def measure(experiment):
    import time

    time.sleep(1)"""


FAULTS = {
    "measure": ("with Path", "1 / 0\n        with Path", "ZeroDivisionError: division by zero"),
    "draw": ("figure = Figure()", "figure = table['absent']", "KeyError: 'absent'"),
    "answer": ("share = (", "share = np.nan + (", "NameError: name 'np' is not defined"),
}


@pytest.mark.parametrize("part", FAULTS)
def test_a_fault_of_the_users_own_code_is_called_theirs(place, part):
    old, new, said = FAULTS[part]
    text = (place / "mine.py").read_text().replace(old, new.replace("\n        ", "\n    "), 1)
    (place / "mine.py").write_text(text)
    done = study("mine.py", "--jobs", 1, "--out", "out", cwd=place)
    number = next(number for number, line in enumerate(text.splitlines(), 1) if new.partition("\n")[0] in line)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"mine.py, line {number}: {said} (")


@pytest.mark.ecosystem
def test_so_it_is_in_another_process(place):
    slow = SLOW.replace("time.sleep(1)", "time.sleep(1)\n    1 / (experiment.algorithm.density - 0.4)")
    (place / "mine.py").write_text((place / "mine.py").read_text().replace("def measure(experiment):", slow))
    done = study_in_a_process("mine.py", "--jobs", 2, "--out", "out", cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "mine.py, line " in done.stderr
    assert "ZeroDivisionError" in done.stderr


BAD = {
    "unknown": (["interpolatoin"], ['"interpolatoin" is not a study', 'did you mean "interpolation"']),
    "one of two": (["nonsense", "interpolation"], ['"nonsense"']),
    "no file": (["nowhere.py"], ["nowhere.py", "no such file"]),
    "no experiment": (["alone.py"], ["alone.toml", "no such file"]),
    "no study": (["empty.py"], ["empty.py", "has no QUESTION"]),
    "broken": (["broken.py"], ["broken.py", "ZeroDivisionError"]),
    "a key": (["mine.py", "--set", "algorithm.densty=1"], ["mine.toml", '"density"']),
    "an experiment that it cannot measure": (["vanishing_momentum", "--set", "simulation.steps=9"], ["10 steps"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(place, case):
    (place / "empty.py").write_text("")
    (place / "alone.py").write_text((place / "mine.py").read_text())
    (place / "broken.py").write_text("1 / 0")
    arguments, words = BAD[case]
    done = study(*arguments, "--out", "new/out", cwd=place)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert [word for word in words if word not in done.stderr] == []
    assert not (place / "new").exists()


def test_a_study_without_an_experiment(tmp_path):
    found = carry_out(Toy(), None, tmp_path / "toy")
    assert found.answer == ("The sum is 7.5.", "open", False)
    assert files(tmp_path / "toy") == ["study.json", "table.csv"]
    assert json.loads((tmp_path / "toy" / "study.json").read_text())["experiment"] == ""


class Seeds(Toy):
    """A study whose tasks are experiments that differ in a key that no ``repr`` shows."""

    stop = 0

    def measure(self, experiment, run):
        one = [(seed, experiment.model_copy(update={"seed": seed})) for seed in range(4)]
        return pd.concat(run.each(seed_of, [("a task", experiment) for _, experiment in one]), ignore_index=True)


def seed_of(_, experiment):
    if Seeds.stop == experiment.seed > 0:
        raise KeyboardInterrupt
    return one(experiment.seed)


def test_kept_tables_are_those_of_the_very_experiment(quadratic, tmp_path, monkeypatch, capsys):
    """The runner's keys say all of an experiment, and how many cells there will be is known from the first."""
    monkeypatch.setattr(Seeds, "stop", 3)
    with pytest.raises(SystemExit) as ended:
        carry_out(Seeds(), quadratic(), tmp_path / "out")
    assert ended.value.code == INTERRUPTED
    assert "interrupted: 3 of 4 cells are kept in" in capsys.readouterr().err
    monkeypatch.setattr(Seeds, "stop", 0)
    found = carry_out(Seeds(), quadratic(), tmp_path / "out")
    assert "3 of 4 cells are those of an interrupted run" in capsys.readouterr().err
    assert list(found.table["x"]) == [0, 1, 2, 3]


def test_the_parts_of_a_study_are_counted_beforehand(tmp_path, capsys):
    def broken():
        raise KeyboardInterrupt

    class Parts(Toy):
        def measure(self, _, run):
            return pd.concat(run.kept({"first": lambda: one(1.0), "second": broken, "third": lambda: one(3.0)}))

    with pytest.raises(SystemExit):
        carry_out(Parts(), None, tmp_path / "out")
    assert "interrupted: 1 of 3 cells are kept in" in capsys.readouterr().err


def test_the_list_names_every_question(tmp_path):
    done = study(cwd=tmp_path)
    assert done.returncode == 0
    for name in questions.names():
        assert f"{name:20} {questions.STUDIES[name].question}" in done.stdout


def test_a_study_is_added_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ft.extended():
        questions.STUDIES.add("toy", Toy(failed=True))
        found = CliRunner().invoke(app, ["study", "toy", "--jobs", "1"])
    assert found.exit_code == 1
    assert found.stdout.startswith("toy: Does a claim fail?\n    The sum is 7.5.\n    open; ")
    assert files(tmp_path / "runs" / "toy") == ["study.json", "table.csv"]


def test_a_failed_claim_is_exit_status_1(place):
    (place / "mine.py").write_text((place / "mine.py").read_text().replace('else "no"', 'else "no", True'))
    assert study("mine.py", "--jobs", 1, "--out", "out", cwd=place).returncode == 1
    assert json.loads((place / "out" / "study.json").read_text())["failed"] is True


class Opaque:
    def __reduce__(self):
        raise TypeError


def test_tasks_are_told_apart_by_all_that_is_in_them(quadratic):
    """A long array, or an experiment in a list, prints as another does that differs from it."""
    one, other = (quadratic({"algorithm.state_full": {"rule": "sgdm", "beta": beta}}) for beta in (0.3, 0.31))
    here, there = np.zeros(5000), np.zeros(5000)
    there[2500] = 1
    assert repr(here) == repr(there)
    for a, b in ((here, there), ([one], [other]), ({"of": one}, {"of": other}), (Cell({}, one), Cell({}, other)), ([], [[]])):
        assert identity(a) == identity(copy.deepcopy(a))
        assert identity(a) != identity(b)
    frames = [pd.DataFrame({"x": value}) for value in (here, there)]
    assert identity(frames[0]) == identity(frames[0].copy()) != identity(frames[1])
    assert identity(np.float64(1)) != identity(np.float32(1)) != identity(1)
    assert identity(Opaque()) != identity(Opaque())
