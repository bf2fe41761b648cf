"""Benchmarks are studies: tables of ratios measured in one run, written to runs/benchmarks/NAME."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import CORES, Cluster, Jobs, application, in_one_line
from frugal_theory.config.load import ExperimentError
from frugal_theory.studies.runner import carry_out

STATISTICS = ("premises", "premises_further", "intervals", "certificates", "certified_noise", "projector", "in_backward")
"""They count how often statistics miss, how tight bounds are, or train, or weigh: run by name only."""

OPTIMIZER = "optimizer"
"""The step times of PyTorch's side: frugal-gpu bench."""

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME ...]", help="Default: all that time.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results; every benchmark has its own in it.")]


def benchmark(names: Names = None, out: Out = Path("runs/benchmarks"), jobs: Jobs = None, cluster: Cluster = None) -> None:
    """Time this program against what it cannot do without, and count how often its statistics miss."""
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    for name in names or []:
        if name not in (*known, OPTIMIZER):
            raise ExperimentError(f'benchmarks: "{name}" is none; allowed: {", ".join([*known, OPTIMIZER])}')
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    for name in names or [*(name for name in known if name not in STATISTICS), OPTIMIZER]:
        print(f"\n== {name}", flush=True)
        if name == OPTIMIZER:  # a process of its own: torch and numba each bring threads
            subprocess.run([sys.executable, "-m", "frugal_gpu", "bench", "--out", str(out / name)], check=False)
            continue
        study = importlib.import_module(f"benchmarks.bench_{name}").STUDY
        found = carry_out(study, None, out / name, jobs=jobs or CORES, cluster=cluster)
        print(found.table.to_string(index=False, float_format="{:.3g}".format, na_rep=""))
        print(f"{found.answer.sentence} ({found.seconds:.0f} s)", flush=True)


def main() -> None:
    """Exit status 0: done; 2: bad input; 130: interrupted."""
    app = application("Benchmarks: ratios measured in one run.")
    app.command()(benchmark)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
