"""Run every notebook from top to bottom and keep its outputs in runs/notebooks; exit status 1 if a cell fails."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

HERE = Path(__file__).resolve().parent


def client(notebook: nbformat.NotebookNode) -> NotebookClient:
    """What runs a notebook. It does not answer widgets: nbclient's answers make cells wait for the timeout now and then
    (nbclient issue 312), and without them the figure beside a slider is kept as the output of its cell."""
    chosen = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(HERE)}})
    chosen.comm_open_handlers = {}
    return chosen


def main() -> int:
    """Execute all notebooks beside this file; print a line each."""
    out = HERE.parent / "runs" / "notebooks"
    out.mkdir(parents=True, exist_ok=True)
    notebooks = sorted(HERE.glob("*.ipynb"))
    failed = 0
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        began = time.monotonic()
        try:
            client(notebook).execute()
            outcome = "passed"
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed += 1
            outcome = f"failed\n{error}"
        nbformat.write(notebook, out / path.name)
        print(f"{path.name}: {outcome} in {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(notebooks) - failed} passed, {failed} failed")
    return 1 if failed or not notebooks else 0


if __name__ == "__main__":
    sys.exit(main())
