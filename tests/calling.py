"""Calling the commands from tests: in this process, which saves importing everything anew, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from frugal_theory.commands.main import main

__all__ = ["COMMAND", "SMALL", "SMALL_LLAMA", "called", "frugal_theory", "hears_ctrl_c", "in_a_process"]

COMMAND = [sys.executable, "-c", "from frugal_theory.commands.main import main; main()"]
"""frugal-theory in an interpreter of its own."""

SMALL = """
name = "small"
seed = 1
[algorithm]
learning_rate = { fraction_of_admissible = 0.5 }
density = 0.5
update_gap = 5
subspace = "coordinates"
state_full = { rule = "sgdm", beta = 0.9 }
state_free = "sgd"
[problem]
kind = "quadratic"
dimension = 8
[noise]
kind = "gaussian"
sigma = 0.1
[simulation]
steps = 40
trials = 40
[sweep]
"algorithm.density" = [0.0, 0.5]
"""
"""An experiment of two cells that takes no time."""

SMALL_LLAMA = """
[model]
preset = "llama-tiny"
vocabulary = 300
hidden_size = 16
intermediate_size = 32
layers = 1
heads = 2
[data]
source = "text.txt"
[training]
steps = 2
batch_size = 2
sequence_length = 16
learning_rate = 1e-3
threads = 1
"""
"""What makes it train a model that takes no time on text.txt."""


def called(main: Callable[[], None], *arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in this process: its exit status and what it printed. What it adds to a registry stays there."""
    line = ["command", *map(str, arguments)]
    out, error = io.StringIO(), io.StringIO()
    status: Any = 0
    before = Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), mock.patch.object(sys, "argv", line):
            main()
    except SystemExit as ended:
        status = ended.code or 0
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(line, status, out.getvalue(), error.getvalue())


def frugal_theory(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """frugal-theory in this process."""
    return called(main, *arguments, cwd=cwd)


def in_a_process(*arguments: Any, cwd: Path, command: list[str] = COMMAND, **keys: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user calls it."""
    return subprocess.run([*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, **keys)


def hears_ctrl_c() -> None:
    """For ``preexec_fn``: Ctrl-C reaches the child, though tests that a shell began in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
