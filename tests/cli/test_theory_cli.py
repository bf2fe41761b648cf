"""frugal-theory from outside: exit status, one-line errors, results that are complete or absent, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import frugal_theory as ft
from frugal_theory.config.load import load
from frugal_theory.testing import scaled
from tests.calling import COMMAND, SMALL, frugal_theory, hears_ctrl_c, in_a_process


@pytest.fixture
def folder(experiment_file):
    return experiment_file(SMALL).parent


def test_verify_writes_the_results_that_the_contract_names(folder):
    done = frugal_theory("verify", "small.toml", "--jobs", 1, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "run_length" in done.stdout
    assert "hold" in done.stdout
    out = folder / "runs" / "small"
    assert load(out / "experiment.toml") == load(folder / "small.toml")
    verdicts = json.loads((out / "theory" / "verdicts.json").read_text())
    assert len(verdicts) == 8
    assert {v["cell"]["algorithm.density"] for v in verdicts} == {0.0, 0.5}
    assert {"theorem", "status", "measured", "bound", "margin", "reason", "cell"} <= set(verdicts[0])
    evidence = pd.read_parquet(out / "theory" / "evidence.parquet")
    assert {"cell", "source", "metric", "step", "mean", "lower", "upper"} <= set(evidence.columns)
    assert set(evidence["source"]) == {"monte_carlo"}
    assert not list(out.rglob("*.part")), "no temporary files are left"
    assert not (out / "theory" / "cells").exists()


@pytest.mark.ecosystem
def test_results_do_not_depend_on_the_number_of_jobs(folder):
    frames = []
    for jobs in (1, 2):
        frugal_theory("verify", "small.toml", "--jobs", jobs, "--out", f"out{jobs}", cwd=folder)
        frames.append((folder / f"out{jobs}" / "theory" / "evidence.parquet").read_bytes())
    assert frames[0] == frames[1]


def test_a_violated_theorem_is_exit_status_1(folder):
    """A theorem that is false: the SGD bound a thousand times too small."""
    with ft.extended():
        ft.add_theorem(scaled(ft.THEOREMS["sgd"], 0.001, name="false"))
        done = frugal_theory("verify", "small.toml", "--jobs", 1, "--set", 'verify.theorems=["false"]', cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "violated" in done.stdout
    reported = frugal_theory("report", "runs/small", cwd=folder)
    assert reported.returncode == 1, reported.stderr
    assert (folder / "runs" / "small" / "report.html").exists()


BAD = {
    "missing file": (["verify", "none.toml"], ["none.toml", "no such file"]),
    "typo": (["verify", "small.toml", "--set", "algorithm.densty=1"], ["small.toml", "algorithm.densty", '"density"']),
    "range": (["simulate", "small.toml", "--set", "algorithm.density=2"], ["algorithm.density", "2", "1"]),
    "theorem": (["verify", "small.toml", "--set", 'verify.theorems=["sgdx"]'], ["verify.theorems", "sgdx", '"run_length"']),
    "override": (["verify", "small.toml", "--set", "algorithm.density"], ["KEY=VALUE"]),
    "fraction": (
        ["verify", "small.toml", "--set", "algorithm.state_full=adamw", "--set", "algorithm.density=1.0"],
        ["learning_rate"],
    ),
    "report of nothing": (["report", "nowhere"], ["nowhere"]),
    "command": (["veriffy", "small.toml"], ["veriffy", "verify"]),
    "option's range": (["verify", "small.toml", "--jobs", "0"], ["--jobs", "1"]),
    "one argument too many": (["verify", "small.toml", "other.toml"], ["other.toml"]),
    "more dimensions than memory": (
        ["verify", "small.toml", "--set", "problem.dimension=1000000000000"],
        ["problem.dimension = 1000000000000", "GiB of memory"],
    ),
    "more trials than memory": (
        ["simulate", "small.toml", "--set", "simulation.trials=1000000000000"],
        ["simulation.trials = 1000000000000", "GiB of memory"],
    ),
    "more steps than memory": (
        ["verify", "small.toml", "--set", "simulation.steps=1000000000000"],
        ["simulation.steps = 1000000000000", "GiB of memory"],
    ),
    "budget": (["verify", "small.toml", "--set", "simulation.max_trials=3"], ["max_trials = 3", "trials = 40"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_status_2(folder, case):
    arguments, words = BAD[case]
    before = set(folder.rglob("*"))
    done = (in_a_process if case == "typo" else frugal_theory)(*arguments, cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert set(folder.rglob("*")) == before, "nothing is written"


def test_a_folder_that_cannot_be_written_is_one_line(folder):
    done = frugal_theory("verify", "small.toml", "--out", "small.toml/out", cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "small.toml/out" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line():
    from frugal_theory.results.files import ResultsError, finished

    with pytest.raises(ResultsError, match="No space left"), finished(Path("/tmp/never-written")):
        Path("/dev/full").write_text("x")
    assert not Path("/tmp/never-written").exists()


@pytest.mark.ecosystem
def test_an_interrupted_run_keeps_its_cells_and_continues(folder):
    """Ctrl-C after the first cell: status 130, the finished cells are kept, and the same command ends bit-identically."""
    slow = ["--jobs", "1", "--set", "simulation.steps=9000", "--out", "out"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    command = [*COMMAND, "verify", "small.toml", *slow]
    process = subprocess.Popen(command, cwd=folder, **pipes, preexec_fn=hears_ctrl_c)  # noqa: PLW1509
    cells = folder / "out" / "theory" / "cells"
    deadline = time.monotonic() + 60
    while not (cells.exists() and list(cells.glob("*.npz"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continues" in stderr
    assert "of 2 cells are kept" in stderr
    assert not (folder / "out" / "theory" / "verdicts.json").exists()
    (kept,) = cells.glob("*.npz")
    stamp = os.stat(kept).st_mtime_ns

    done = frugal_theory("verify", "small.toml", *slow, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert stamp
    whole = frugal_theory("verify", "small.toml", *slow[:-1], "whole", cwd=folder)
    assert whole.returncode == 0
    pieces = [(folder / out / "theory" / "evidence.parquet").read_bytes() for out in ("out", "whole")]
    assert pieces[0] == pieces[1]


def test_simulate_and_theorems(folder):
    done = frugal_theory("simulate", "small.toml", "--jobs", 1, cwd=folder)
    assert done.returncode == 0
    assert (folder / "runs" / "small" / "theory" / "evidence.parquet").exists()
    assert not (folder / "runs" / "small" / "theory" / "verdicts.json").exists()
    listed = frugal_theory("theorems", cwd=folder).stdout
    for name in ("sgd", "sgdm", "run_length", "theorem_5_2", "shape only", "explicit"):
        assert name in listed
    premises = {block.split()[0]: block for block in listed.split("\n\n")}
    assert "premises P1–P6" in premises["run_length"]
    assert "premises P1–P5 (nothing is selected)" in premises["sgd"]
    assert "premises P1 for every coordinate" in premises["signsgd"]
    assert "symmetric and unimodal" in premises["hybrid_symmetric"].split("premises")[1]


def test_no_verdict_outlives_the_evidence_that_it_is_of(folder):
    """`simulate` with other settings in the same folder: the report would show the old verdict beside the new noise."""
    assert frugal_theory("verify", "small.toml", "--out", "out", cwd=folder).returncode == 0
    theory = folder / "out" / "theory"
    assert {"verdicts.json", "bounds.parquet"} < {path.name for path in theory.iterdir()}
    assert frugal_theory("simulate", "small.toml", "--set", "seed=5", "--out", "out", cwd=folder).returncode == 0
    assert {path.name for path in theory.iterdir()} == {"evidence.parquet"}


def test_importing_needs_neither_torch_nor_much_time(tmp_path):
    """In an interpreter where torch cannot be imported; the time is that of the import alone."""
    script = (
        "import sys, time\n"
        "class Block:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'datasets', 'accelerate'):\n"
        "            raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Block())\n"
        "import frugal_theory as ft\n"
        "import frugal_theory.commands.main\n"
        "[getattr(ft, name) for name in ft.__all__]\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_init_writes_experiments_that_load_and_overwrites_nothing(tmp_path):
    done = frugal_theory("init", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert "demo.toml" in names
    assert all(load(tmp_path / "mine" / name).name for name in names)
    (tmp_path / "mine" / "demo.toml").write_text("mine")
    again = frugal_theory("init", "mine", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "exists already" in again.stderr
    assert (tmp_path / "mine" / "demo.toml").read_text() == "mine"


def test_json_is_all_that_is_printed(folder):
    done = frugal_theory("verify", "small.toml", "--jobs", 1, "--json", cwd=folder)
    assert json.loads(done.stdout) == json.loads((folder / "runs" / "small" / "theory" / "verdicts.json").read_text())
    cells = json.loads(frugal_theory("simulate", "small.toml", "--jobs", 1, "--json", "--out", "s", cwd=folder).stdout)
    assert [sorted(cell) for cell in cells] == [["cell", "learning_rate", "lower", "mean", "upper"]] * 2


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.slow)])
def test_no_encoding_is_an_error(folder, encoding):
    done = in_a_process("theorems", cwd=folder, env={**os.environ, "PYTHONIOENCODING": encoding}, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2264" in done.stdout


def test_nothing_reaches_the_terminal_raw(folder):
    """Escape sequences, markup and line ends in names, keys and values: one line, spelled out."""
    escape = "\x1b[31m"
    for line in (f"{escape}x = 1", '"a\\nb" = 2', f'name = "{"long" * 9000}"'):
        (folder / "bad.toml").write_text(f'{line}\n[problem]\nkind = "[/nope]"\n')
        done = frugal_theory("verify", "bad.toml", cwd=folder)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert escape not in done.stderr
        assert len(done.stderr) < 2100
    case = f'[[cases]]\nname = "[/nope] {escape.encode("unicode_escape").decode().replace("x1b", "u001b")}"\n'
    (folder / "odd.toml").write_text((folder / "small.toml").read_text() + case)
    done = frugal_theory("simulate", "odd.toml", "--jobs", 1, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "[/nope]" in done.stdout
    assert escape not in done.stdout


def test_an_interruption_that_keeps_nothing_says_so(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("frugal_theory.commands.verify.load", interrupt)
    done = frugal_theory("verify", "small.toml", cwd=folder)
    assert done.returncode == 130
    assert done.stderr == "interrupted: nothing is kept; the same command begins again\n"


def test_an_interruption_of_the_imports_is_one_line():
    script = "import sys; sys.modules['frugal_theory.config.load'] = None\n" + (
        "import builtins; true = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name.startswith('frugal_theory.commands'): raise KeyboardInterrupt\n"
        "    return true(name, *rest)\n"
        "from frugal_theory.__main__ import main\n"
        "builtins.__import__ = stop\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "interrupted: nothing is kept; the same command begins again\n"
