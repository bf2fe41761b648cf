"""No input ends in a traceback, or in exit status 1 without a claim that failed; thousands of them in `make test-slow`."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

import pytest

from frugal_theory.commands.main import main as theory
from frugal_theory.commands.options import OURS, in_one_line
from tests.calling import COMMAND, called
from tests.cli import fuzz
from tests.pages import ROOT

MANY = 5000


@pytest.mark.slow
def test_no_input_is_a_fault():
    """In a process of its own: its children are forked, which a test runner with threads should not be."""
    line = [sys.executable, "-m", "tests.cli.fuzz", "--seed", "0", "--count", str(MANY)]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=one)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert f"{MANY} cases" in done.stdout


def test_cases_are_a_function_of_their_number():
    assert fuzz.case(3, 14) == fuzz.case(3, 14)
    assert fuzz.case(3, 14) != fuzz.case(3, 15)
    cases = [fuzz.case(0, number) for number in range(400)]
    assert {one.arguments[0] for one in cases} >= {"verify", "simulate", "train", "memory", "report", "study", "certify"}


@pytest.mark.parametrize(
    ("status", "out", "error", "fault"),
    [
        (0, "", "", None),
        (2, "", "small.toml: algorithm.density = 7: allowed: …\n", None),
        (130, "", "[1/2] density = 0.0: 8 trials\ninterrupted: 1 of 2 cells are kept\n", None),
        (1, "12 violated", "", "a true theorem is violated"),
        (3, "", "x\n", "exit status 3"),
        (-9, "", "", "exit status -9"),
        (2, "", "", "nothing is said"),
        (2, "", "one\ntwo\n", "2 lines of error"),
        (1, "", "Traceback (most recent call last):\n", "a traceback"),
        (2, "", f"{OURS}: KeyError: 1\n", "a fault of ours"),
        (2, "", "\x1b[31mred\n", "an escape sequence"),
    ],
)
def test_every_kind_of_fault_is_seen(status, out, error, fault):
    assert fuzz.Ended(status, out, error, 0.1).fault == fault


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (KeyError("planted"), f"{OURS}: KeyError: 'planted'"),
        (MemoryError("Unable to allocate 7 EiB"), "not enough memory: Unable to allocate 7 EiB"),
        (RecursionError("too deep"), f"{OURS}: RecursionError: too deep"),
    ],
)
def test_a_fault_of_ours_is_one_line_and_never_exit_status_1(raised, line, capsys, monkeypatch):
    command = mock.Mock(side_effect=raised)  # raised in Python's own files, where a user's would be named
    monkeypatch.delenv("FRUGAL_LAB_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        in_one_line(command)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith(line)
    if not isinstance(raised, MemoryError):
        monkeypatch.setenv("FRUGAL_LAB_TRACEBACK", "1")
        with pytest.raises(type(raised)):
            in_one_line(command)


# --- completion of shells --------------------------------------------------------------------------------------------


def complete(words, **more):
    """What a shell is told to offer for these words."""
    asked = {"_COMMAND_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), **more}
    call = [COMMAND[0], "-c", "import sys; sys.argv[0] = 'command'\n" + COMMAND[2]]
    return subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, **asked})


def under(shell, *options):
    """The command line as a child of this shell, whatever the tests were started from; the status is not the last thing
    that it does, so that it stays and waits."""
    call = [shell, "-c", '"$@"; status=$?; exit "$status"', shell, *COMMAND, *options]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.mark.ecosystem
def test_commands_and_options_are_completed():
    assert complete("command ver").stdout.split() == ["verify"]
    assert complete("command verify --j").stdout.split() == ["--jobs", "--json"]
    shown = under("bash", "--show-completion")
    assert shown.returncode == 0
    assert "_COMPLETE" in shown.stdout  # the script of the shell that is found


@pytest.mark.ecosystem
def test_a_shell_that_is_not_known_is_no_failed_claim():
    assert complete("command ver", _COMMAND_COMPLETE="complete_tcsh").returncode == 2
    assert complete("command ver", COMP_CWORD="x").returncode == 2
    shown = under("sh", "--show-completion")
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)


def test_both_command_lines_can_be_completed():
    from frugal_gpu.commands.main import main as gpu

    for main in (theory, gpu):
        assert "--install-completion" in called(main, "--help", cwd=ROOT).stdout
