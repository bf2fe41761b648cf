"""Every block of the how-tos, the start and the tour runs as it stands, in the order of the page, in one empty folder."""

from __future__ import annotations

import os
import shlex

import pytest

import frugal_theory as ft
from frugal_gpu.commands.main import main as gpu_main
from frugal_theory.commands.main import main as theory_main
from tests.calling import called
from tests.pages import ROOT, blocks, commands

QUICK = ("howto/theorem", "howto/optimizer")
SLOW = ("start", "tour", "howto/data", "howto/cluster", "howto/gpu")
PAGES = [*QUICK, *(pytest.param(name, marks=pytest.mark.ecosystem) for name in SLOW)]
MAINS = {"frugal-theory": theory_main, "frugal-gpu": gpu_main}


def run(page, folder):
    """Every block: Python in one namespace, TOML into the file that its first line names, commands in this process."""
    namespace = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.text, str(page), "exec", dont_inherit=True), namespace)
        elif block.language == "toml":
            first, _, _ = block.text.partition("\n")
            (folder / first.removeprefix("# ")).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for line in block.text.splitlines():
                program, *arguments = shlex.split(line)
                done = called(MAINS[program], *arguments, cwd=folder)
                assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    page = ROOT / "docs" / f"{name}.md"
    assert blocks(page)
    with ft.extended():
        run(page, tmp_path)


def test_every_how_to_is_run():
    there = {f"howto/{path.stem}" for path in (ROOT / "docs" / "howto").glob("*.md")}
    named = {getattr(page, "values", (page,))[0] for page in PAGES}
    assert there <= named


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page):
    """With its options: what a page prints below four spaces is not run, but read."""
    for command in commands(page):
        check(command)


def check(command):
    """That the command line can be parsed: its program, its command, and the names of its options."""
    program, *arguments = shlex.split(command.replace("[", " ").replace("]", " ").replace("...", " "))
    if program not in MAINS:
        return
    named = [argument for argument in arguments if not argument.startswith("-")][:1]
    told = called(MAINS[program], *named, "--help", cwd=os.getcwd())
    assert told.returncode == 0, f"{command}: {told.stderr}"
    for option in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
        assert option in told.stdout, f"{command}: {option} is no option"
