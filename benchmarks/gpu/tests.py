"""The tests of the PyTorch engine and the parity suite, each within a time of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.place import Deadline

SUITES = {"on the GPU": "cuda and not slow", "on the CPU": "not cuda and not slow and not ecosystem"}
"""By name, the marks of its tests: what needs a CUDA device, and everything else of the same folders."""

FOLDERS = ("tests/gpu", "tests/parity")
NOTHING_SELECTED = 5
PATIENCE = 20.0
"""Seconds that pytest has to end after it was interrupted."""


def run_suite(name: str, out: Path, seconds: float, processes: int, folders: tuple[str, ...] = FOLDERS) -> dict[str, Any]:
    """Run a suite and count its outcomes; after ``seconds`` it is stopped, and what had run until then is counted."""
    deadline = Deadline(seconds)
    lines = out / f"tests-{name.split()[-1].lower()}.jsonl"
    lines.parent.mkdir(parents=True, exist_ok=True)
    lines.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *folders, "-m", SUITES[name], "-p", "benchmarks.gpu.outcomes"]
    command += ["--outcomes", str(lines), "-p", "no:cacheprovider", "--tb=short", "--no-header", "-rfE"]
    if processes > 1 and importlib.util.find_spec("xdist") is not None:
        command += ["-n", str(processes)]
    log = lines.with_suffix(".log")
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **threads})
        status = _ended(process, deadline)
    outcomes = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    counts = Counter(line["outcome"] for line in outcomes)
    return {
        "suite": name,
        **{outcome: counts[outcome] for outcome in ("passed", "failed", "error", "skipped")},
        "seconds": round(deadline.used, 1),
        "complete": "yes"
        if status in (0, 1, NOTHING_SELECTED)
        else "no: stopped"
        if status is None
        else f"no: status {status}",
        "failures": [line for line in outcomes if line["outcome"] in ("failed", "error")],
        "last words": [] if status in (0, NOTHING_SELECTED) else log.read_text(encoding="utf-8").splitlines()[-5:],
    }


def _ended(process: subprocess.Popen[bytes], deadline: Deadline) -> int | None:
    """The exit status, or None where the time was over first."""
    try:
        return process.wait(max(deadline.left, 0.1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None


def _complete(status: int | None) -> str:
    if status is None:
        return "no: stopped"
    return "yes" if status in (0, 1, NOTHING_SELECTED) else f"no: exit status {status}"


COLUMNS = {
    "suite": "tests",
    "passed": "passed",
    "failed": "failed",
    "error": "errors",
    "skipped": "skipped",
    "seconds": "seconds",
    "complete": "complete",
}
