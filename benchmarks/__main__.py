"""Run every benchmark of this folder, and the optimizer's step times if PyTorch is installed."""

from __future__ import annotations

import importlib
import platform
import subprocess
import sys
from pathlib import Path

STUDIES = ("premises", "intervals")
"""Studies of statistics, which take long and print rates, not ratios: run by name only."""


def main() -> None:
    """``python -m benchmarks [NAME ...]``: all, or those named (bench_NAME.py; "optimizer" for frugal-gpu bench)."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    names = sys.argv[1:] or [*(name for name in found if name not in STUDIES), "optimizer"]
    print(f"{platform.machine()}, Python {platform.python_version()}, {_cores()} cores")
    for name in names:
        print(f"\n== {name}", flush=True)
        if name == "optimizer":
            subprocess.run([sys.executable, "-c", "from frugal_gpu.commands.main import main; main()", "bench"], check=False)
        else:
            importlib.import_module(f"benchmarks.bench_{name}").main()


def _cores() -> int:
    import os

    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
