"""Run notebooks from top to bottom: ``python notebooks/execute.py [--store] [NAME ...]``; exit status 1 if a cell fails.

With ``--store`` the notebooks keep their outputs, as a forge shows them: without times, counts of a session, or widgets that
need a kernel. What was run lies in runs/notebooks either way.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

HERE = Path(__file__).resolve().parent
KEPT = ("kernelspec", "language_info")
"""Metadata of a notebook that are none of a session."""

WIDGET = "application/vnd.jupyter.widget-view+json"


def client(notebook: nbformat.NotebookNode) -> NotebookClient:
    """What runs a notebook. It does not answer widgets: nbclient's answers make cells wait for the timeout now and then
    (nbclient issue 312), and without them the figure beside a slider is kept as the output of its cell."""
    chosen = NotebookClient(
        notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(HERE)}}
    )
    chosen.comm_open_handlers = {}
    return chosen


def sources(notebook: nbformat.NotebookNode) -> str:
    """A digest of the code that the outputs are of."""
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def settled(notebook: nbformat.NotebookNode, metadata: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is stored: ``metadata`` as before the run, no widgets, and the digest of its sources."""
    notebook["metadata"] = nbformat.from_dict(
        {**{key: metadata[key] for key in KEPT if key in metadata}}
    )
    notebook["metadata"]["outputs_of"] = sources(notebook)
    for count, cell in enumerate(
        (cell for cell in notebook["cells"] if cell["cell_type"] == "code"), start=1
    ):
        cell["metadata"].pop("execution", None)
        cell["execution_count"] = count
        cell["outputs"] = [output for output in cell["outputs"] if WIDGET not in output.get("data", {})]
        for output in cell["outputs"]:
            output.get("metadata", {}).clear()
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = smaller(picture)
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    return notebook


def smaller(picture: str) -> str:
    """The same PNG, in base64, with 256 colours at most: lines and letters need no more."""
    kept = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(kept, format="png", optimize=True)
    return base64.b64encode(kept.getvalue()).decode()


def words(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell says, without its figures."""
    said = []
    for cell in notebook["cells"]:
        parts = [
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.get("outputs", [])
        ]
        said.append("".join(part for part in parts if not part.startswith("<Figure size")))
    return said


def run(path: Path, out: Path, store: bool) -> bool:
    """Execute one notebook and print a line about it; whether it passed."""
    before = nbformat.read(path, as_version=4)
    notebook = nbformat.from_dict(before)
    began, failure = time.monotonic(), ""
    try:
        client(notebook).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = f"failed\n{error}"
    settled(notebook, before["metadata"])
    nbformat.write(notebook, out / path.name)
    if store and not failure:
        nbformat.write(notebook, path)
    pairs = enumerate(zip(words(before), words(notebook), strict=True))
    other = [str(place) for place, (old, new) in pairs if old != new]
    changed = f"; other words than before in cells {', '.join(other)}" if other and not failure else ""
    print(
        f"{path.name}: {failure or 'passed'} in {time.monotonic() - began:.0f} s{changed}", flush=True
    )
    return not failure


def main() -> int:
    """Execute the notebooks beside this file that are named, or all of them."""
    parser = argparse.ArgumentParser(description="Run notebooks from top to bottom.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--store", action="store_true", help="keep the outputs in the notebooks, too")
    chosen = parser.parse_args()
    known = {path.stem: path for path in sorted(HERE.glob("*.ipynb"))}
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f'no notebook "{unknown[0]}"; there are {", ".join(known)}')
    out = HERE.parent / "runs" / "notebooks"
    out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
    )
    passed = [run(known[name], out, chosen.store) for name in chosen.names or known]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
