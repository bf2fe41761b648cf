"""``make gpu-check``: step times, memory and tests on the GPU that is there, in five minutes. See docs/gpu.md."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.gpu import memory, steps, tests
from benchmarks.gpu.place import Deadline, device, machine, markdown, sentence, write
from frugal_theory.commands.options import application, in_one_line

FULL, TINY = ("llama-60m", "llama-350m", "llama-1b"), ("llama-tiny",)
"""Shapes of models: on a GPU, and to try the code without one."""

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="All of it ends soon after these.")]
Tiny = Annotated[bool, typer.Option("--tiny", envvar="GPU_TINY", help="A tiny model and few steps: to try the code.")]
Tests = Annotated[list[str] | None, typer.Option("--tests", metavar="PATH", help="Default: tests/gpu and tests/parity.")]


def check(out: Out = Path("runs/gpu-check"), seconds: Seconds = 270, tiny: Tiny = False, tests_in: Tests = None) -> int:
    """Time the optimizers' steps, weigh them, and run the tests. Exit status 1 where something failed.

    What was measured is written after every part, so that a run that is stopped leaves what it had.
    """
    tiny = tiny or device().type == "cpu"
    deadline, presets = Deadline(seconds), TINY if tiny else FULL
    rounds, gap = (9, 6) if tiny else (41, 20)
    share = 0.3 * seconds / len(presets)
    folders = tuple(tests_in or tests.FOLDERS)
    processes = min(8, os.cpu_count() or 1)
    found: dict[str, Any] = {"machine": machine(), "steps": [], "memory": [], "tests": [], "errors": []}
    parts: list[tuple[str, Callable[[], list[dict[str, Any]]]]] = [
        *(("steps", lambda p=preset: steps.step_times(p, rounds, gap, share)) for preset in presets),
        *(("memory", lambda p=preset: memory.memory(p, min(share / 2, deadline.left))) for preset in presets),
        *(("tests", lambda s=s: [tests.run_suite(s, out, deadline.left, processes, folders)]) for s in tests.SUITES),
    ]
    print(sentence(found["machine"]), flush=True)
    for name, measure in parts:
        try:
            found[name] += measure()
        except Exception:  # the other parts are still worth their time
            found["errors"].append({"part": name, "what": traceback.format_exc()})
        found["seconds"] = round(deadline.used, 1)
        print(f"{deadline.used:6.1f} s  {name}", flush=True)
        write(out / "check.json", found)
        write(out / "check.md", report(found, presets))
    print(f"\n{report(found, presets)}\nResults: {out}")
    failed = found["errors"] or any(row["failures"] or row["complete"] != "yes" for row in found["tests"])
    return 1 if failed else 0


def report(found: dict[str, Any], presets: tuple[str, ...]) -> str:
    """The tables, and what failed."""
    lines = [f"{sentence(found['machine'])}; {found['seconds']:.0f} s in all."]
    for preset in presets:
        for title, name, columns in (
            ("Time of a step", "steps", steps.COLUMNS),
            ("Memory above parameters and gradients", "memory", memory.COLUMNS),
        ):
            lines += ["", f"### {title}, {preset}", "", markdown(_of(found[name], preset), columns)]
    lines += ["", "### Tests", "", markdown(found["tests"], tests.COLUMNS)]
    for row in found["tests"]:
        lines += [f"\n`{each['test']}`:\n\n```\n{each['what'][-400:]}\n```" for each in row["failures"][:6]]
        if row["complete"] != "yes":
            lines += ["\n```", *row["last words"], "```"]
    lines += [f"\nA part failed ({each['part']}):\n\n```\n{each['what'][-2000:]}\n```" for each in found["errors"]]
    return "\n".join(lines)


def _of(rows: list[dict[str, Any]], preset: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["model"] == preset]


def main() -> None:
    """Exit status 0: done; 1: a test or a part failed; 2: bad input; 130: interrupted."""
    app = application("What holds, and what it costs, on the GPU that is there.")
    app.command()(check)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
