"""What tried to break the command line once: each ends in one line and exit status 2, and leaves nothing behind."""

from __future__ import annotations

import os

import pytest

from frugal_gpu.commands.main import main as gpu_main
from frugal_theory.config.load import ExperimentError, parse
from tests.calling import SMALL, called, frugal_theory


@pytest.fixture
def folder(experiment_file):
    """With a pipe in it, for every device: a fault here may not cost the machine one of its own."""
    place = experiment_file(SMALL).parent
    os.mkfifo(place / "pipe")
    return place


HOSTILE = {
    "a start that is no number": ["verify", "small.toml", "--set", "problem.start=[nan]"],
    "an infinite start": ["verify", "small.toml", "--set", "problem.start=[inf,0,0,0,0,0,0,0]"],
    "a level that rounds to one": ["verify", "small.toml", "--set", "verify.confidence=1.0"],
    "a seed that is negative": ["verify", "small.toml", "--set", "seed=-1"],
    "the same theorem twice": ["verify", "small.toml", "--set", 'verify.theorems=["sgd","sgd"]'],
    "the same cell twice": ["verify", "small.toml", "--set", 'sweep={"algorithm.density"=[0.5,0.5]}'],
    "the same case twice": ["verify", "small.toml", "--set", 'cases=[{name="a"},{name="a"}]'],
    "a sweep of the level": ["verify", "small.toml", "--set", 'sweep={"verify.confidence"=[0.9,0.99]}'],
    "a sweep in a case": ["verify", "small.toml", "--set", 'cases=[{name="a",sweep={"algorithm.density"=[0.5]}}]'],
    "an out that is a file": ["verify", "small.toml", "--out", "small.toml"],
    "a certificate into a device": ["certify", "small.toml", "--out", "pipe"],
    "an attack into a device": ["attack", "small.toml", "--evaluations", "2", "--out", "pipe"],
    "a report into a device": ["report", "runs/nowhere", "--out", "pipe"],
    "a budget without end": ["self-test", "--budget", "inf"],
    "a budget that is no number": ["self-test", "--budget", "nan"],
    "a folder for a file": ["verify", "."],
    "a study with markup": ["study", "[bold]x[/bold]"],
    "a run that is a file": ["report", "small.toml"],
    "an out that is empty": ["verify", "small.toml", "--out", ""],
    "a certificate into nowhere": ["certify", "small.toml", "--out", ""],
    "an attack into nowhere": ["attack", "small.toml", "--evaluations", "2", "--out", ""],
    "a report into nowhere": ["report", "runs/nowhere", "--out", ""],
    "a self-test into nowhere": ["self-test", "--out", ""],
}


@pytest.mark.parametrize("arguments", HOSTILE.values(), ids=HOSTILE)
def test_it_is_one_line_and_leaves_nothing(arguments, folder):
    before = set(folder.rglob("*"))
    done = frugal_theory(*arguments, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "a fault of frugal-lab" not in done.stderr
    assert set(folder.rglob("*")) == before
    assert (folder / "pipe").is_fifo()


DEEP = {"lists": "x = " + "[" * 500 + "]" * 500, "tables": "x = " + "{a=" * 500 + "1" + "}" * 500, "open": "x = " + "[" * 9000}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_nested_deeply_is_one_line(text):
    with pytest.raises(ExperimentError) as error:
        parse(text, "deep.toml")
    assert str(error.value).startswith("deep.toml: ")
    assert "\n" not in str(error.value)


def test_a_pipe_is_no_experiment(folder):
    """Reading one would wait for ever."""
    done = frugal_theory("verify", "pipe", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "key", ["verify.confidence=0.9999999999999999", "algorithm.density=1e-320", "algorithm.update_gap=9223372036854775808"]
)
def test_the_last_number_before_the_edge_is_judged_or_refused(key, folder):
    done = frugal_theory("verify", "small.toml", "--jobs", 1, "--set", key, "--set", "simulation.max_trials=40", cwd=folder)
    assert done.returncode in (0, 2), done.stderr
    assert "a fault of frugal-lab" not in done.stderr


TRAINING = {
    "a system with markup": ["systems", "[/nope]"],
    "a run that is a device": ["evaluate", "pipe"],
    "an export over a file": ["export", "runs/none", "--out", "small.toml"],
    "a density beyond one": ["bench", "--density", "2"],
    "no training table": ["train", "small.toml"],
    "an out that is empty": ["memory", "small.toml", "--out", ""],
    "an export to nowhere": ["export", "runs/none", "--out", ""],
    "a plan for machines without end": ["plan", "1B", "--flops", "inf"],
    "a plan for more ranks than there are": ["plan", "1B", "--ranks", "1,9999999999"],
    "a plan for sequences without end": ["plan", "1B", "--length", "9999999999999"],
    "an optimizer without a name": ["bench", "--only", ""],
    "more layers than can be timed": ["bench", "--layers", "1000000000"],
    "more layers than can be counted": ["memory", "small.toml", "--set", "model.layers=100000000000"],
}


@pytest.mark.parametrize("arguments", TRAINING.values(), ids=TRAINING)
def test_the_trainer_says_one_line_too(arguments, folder):
    before = set(folder.rglob("*"))
    done = called(gpu_main, *arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stdout + done.stderr
    assert "a fault of frugal-lab" not in done.stderr
    assert set(folder.rglob("*")) == before
