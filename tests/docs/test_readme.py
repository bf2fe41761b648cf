"""README.md is true: its commands run (those that take long are read), its excerpts are what they print, its blocks work."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import torch

import frugal_theory as ft
from frugal_gpu.commands.main import main as gpu_main
from frugal_theory.commands.main import main as theory_main
from tests.calling import SMALL, SMALL_LLAMA, called
from tests.pages import ROOT, blocks, commands

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
MAINS = {"frugal-theory": theory_main, "frugal-gpu": gpu_main}
LONG = {"self-test", "ladder", "certify", "compare", "bench", "proofs"}
"""Commands that take more than seconds whatever they are given, or need two minutes of solvers: they are read, not run."""

LESS = {
    ("frugal-theory", "attack"): ["--evaluations", "4"],
    ("frugal-theory", "study"): ["--set", "simulation.steps=20"],
    ("frugal-gpu", "study"): ["--dry-run"],
    ("frugal-gpu", "generate"): ["--tokens", "2"],
}
"""Options that make a command quick."""

OTHERS = {
    ("frugal-theory", "keys"): {"NAME": "training"},
    ("frugal-gpu", "systems"): {"NAME": "galore"},
    ("frugal-gpu", "export"): {"DIR": "exported"},
    ("frugal-gpu", "study"): {"NAME": "table-2"},
}
"""What stands for a name in one command alone."""

ORDER = ["theorems", "init", "verify", "simulate", "train", "memory", "evaluate", "generate", "export"]
"""What others need the results of comes first."""


def spans():
    """Commands in code spans, those that follow a program's name in the same cell with that name."""
    for line in TEXT.splitlines():
        program = ""
        for span in re.findall(r"`([^`]+)`", line):
            words = span.split()
            if words[0] in MAINS and len(words) > 1:
                program = words[0]
                yield span
            elif program and line.startswith("| `frugal") and re.match(r"[a-z][a-z-]* (RUN|FILE|NAME)", span):
                yield f"{program} {span}"


def command_of(span):
    """The program, its command and its arguments without brackets and dots."""
    program, command, *rest = shlex.split(re.sub(r"[\[\]…]|\.\.\.", " ", span))
    return program, command, rest


def place(span):
    """Where a command stands in the order in which they are run."""
    command = command_of(span)[1]
    return (ORDER.index(command) if command in ORDER else len(ORDER), span)


SPANS = sorted(set(spans()), key=place)


def test_the_table_has_every_command():
    told = {command_of(span)[:2] for span in SPANS}
    for program, main in MAINS.items():
        listed = called(main, "--help", cwd=ROOT).stdout.partition("Commands:")[2]
        there = {(program, name) for name in re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)}
        assert there, listed
        assert there <= told, f"README.md has no {sorted(there - told)}"


@pytest.mark.parametrize("span", SPANS)
def test_every_command_can_be_read(span):
    program, command, rest = command_of(span)
    done = called(MAINS[program], command, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in (word for word in rest if word.startswith("--")):
        assert option in done.stdout


@pytest.mark.ecosystem
def test_every_command_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(SMALL + SMALL_LLAMA, encoding="utf-8")
    (tmp_path / "text.txt").write_text(
        "\n\n".join(f"Line {n} says {n * n % 17} and {n * 7 % 11}." for n in range(200)), encoding="utf-8"
    )
    stand = {"FILE": "small.toml", "RUN": "runs/small", "NAME": "vanishing_momentum", "DIR": "new", "TEXT": "Line 3"}
    for span in SPANS:
        program, command, rest = command_of(span)
        if command in LONG:
            continue
        named = {**stand, **OTHERS.get((program, command), {})}
        words = [named.get(word, word) for word in rest]
        done = called(MAINS[program], command, *words, *LESS.get((program, command), []), cwd=tmp_path)
        assert done.returncode == 0, f"{span}: {done.stderr}"


@pytest.mark.ecosystem
def test_the_excerpt_of_a_verification_is_what_it_prints(tmp_path):
    (excerpt,) = re.findall(r"\$ (frugal-theory verify simulations/demo\.toml)\n\n(.*?)\n\n", TEXT, re.DOTALL)
    command, lines = excerpt
    done = called(theory_main, *shlex.split(command)[1:], "--out", tmp_path, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    for line in lines.splitlines():
        if line.strip() != "…":
            assert " ".join(line.split()) in printed, line


def test_the_excerpt_of_a_mistake_is_what_it_prints():
    command, line = re.search(r"\$ (frugal-theory verify \S+ --set algorithm\.densty=0\.25)\n +(.*)\n", TEXT).groups()
    done = called(theory_main, *shlex.split(command)[1:], cwd=ROOT)
    assert done.returncode == 2
    said, _, names = line.partition("allowed here: ")
    assert done.stderr.startswith(f"{said}allowed here: ")
    assert set(re.findall(r"\w+", names)) <= set(re.findall(r"\w+", done.stderr))
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)\b(?=[`\s])", TEXT))))
def test_every_target_is_there(target):
    """Make knows how, without doing it."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_experiment_file_is_one():
    (text,) = [block.text for block in blocks(README) if block.language == "toml"]
    assert ft.parse(text).name == "demo"


def test_the_optimizers_are_made():
    """The first block of Python, on a model that has the names it speaks of."""
    model = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(8, 8), "lm_head": torch.nn.Linear(8, 8)})
    block = next(one for one in blocks(README) if one.language == "python")
    demo = ft.load(ROOT / "simulations" / "demo.toml")
    import frugal_gpu

    nested = torch.nn.Module()
    nested.layer, nested.lm_head = torch.nn.ModuleDict({"q_proj": model["q_proj"]}), model["lm_head"]
    namespace = {"model": nested, "experiment": demo}
    exec(compile(block.text, "README.md", "exec"), namespace)
    assert isinstance(namespace["optimizer"], frugal_gpu.Frugal)


@pytest.mark.ecosystem
def test_the_run_seen_twice(monkeypatch):
    """The second block of Python, at a tenth of the steps."""
    _, block = [one for one in blocks(README) if one.language == "python"]
    monkeypatch.chdir(ROOT)
    fewer = block.text.replace('"algorithm.density": 0.25', '"algorithm.density": 0.25, "simulation.steps": 80')
    assert fewer != block.text
    exec(compile(fewer, "README.md", "exec", dont_inherit=True), {"__name__": "readme"})


def test_commands_of_its_blocks_are_known():
    assert {shlex.split(line)[0] for line in commands(README)} <= {*MAINS, "make", "pip"}
