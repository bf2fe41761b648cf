"""Commands with mutated experiments and options, each in a forked child that has a limit of memory and of time.

A case is a pure function of (seed, number): ``python -m tests.cli.fuzz --seed 0 --first 0 --count 1500`` prints every finding
with the files and the line that repeat it. All imports are made before the first fork, so that a case costs little more than
what it does.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from frugal_theory.config.keys import spelled, tables
from tests.calling import SMALL, SMALL_LLAMA, called

MEMORY = 3 * 2**30
"""Bytes of address space that a child may take beside what it has from its parent."""

SECONDS = 10.0
"""Of the processor, after which a child gets Ctrl-C, which must end it."""

GRACE = 10
"""Seconds of the processor in which it must."""

PATIENCE = 300.0
"""Seconds of a clock after which a child hangs."""

THEORY = SMALL.replace("steps = 40", "steps = 6").replace("trials = 40", "trials = 8")
LLAMA = SMALL_LLAMA + 'device = "cpu"\n'
TEXT = "\n\n".join(f"Line {n} says {n * n % 17} and {n * 7 % 11}." for n in range(100))

NUMBERS = [0, -1, 1, 2, 3, 17, 2**31, 2**62, 2**63 - 1, 10**6, 10**9, 10**12, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e-300, 1e-12]
NUMBERS += [1e12, 1e160, 1e308, 0.9999999999999999, 1 - 1e-9, float("nan"), float("inf"), float("-inf"), -1.5]
WORDS = ["", " ", "x", "[/nope]", "[bold]x", "\x1b[31mred", "a\nb", "é", "\u202e", "y" * 300, "../../up", "pipe", "~"]
WORDS += ["none", "true", "adamw", "sgd", "split", "svd", "blocks", "quadratic", "matrix", "gaussian", "minibatch", "text.txt"]
OUTS = ["", "out", "small.toml", "pipe", "runs", "z" * 300, "a/b/c", "text.txt/x", "\x1b[31m", ".", "missing/.."]
KEYS = sorted(
    {".".join(filter(None, (table.place, key.name))) for table in tables() if table.place != "rule" for key in table.keys}
)
KEYS += [
    "algorithm.state_full.beta",
    "algorithm.state_full.rule",
    "algorithm.state_free.lr_scale",
    "sweep",
    "nonsense",
    "a.b.c",
]


@dataclass(frozen=True)
class Case:
    """A command line and the experiment file beside it."""

    program: str
    arguments: tuple[str, ...]
    experiment: bytes


@dataclass(frozen=True)
class Ended:
    """What a case did."""

    status: int
    out: str
    error: str
    seconds: float

    @property
    def fault(self) -> str | None:
        """What no input may do; None if all is well."""
        from frugal_theory.commands.options import OURS

        both = self.out + self.error
        if self.status not in (0, 1, 2, 130):
            return f"exit status {self.status}"
        if "Traceback (most recent call last)" in both:
            return "a traceback"
        if OURS in both:
            return "a fault of ours"
        lines = [line for line in self.error.splitlines() if line.strip() and not re.match(r"\[\d+/\d+\] ", line)]
        if len(lines) > 1:
            return f"{len(lines)} lines of error"
        if self.status != 0 and not (self.error.strip() or self.out.strip()):
            return "nothing is said"
        if self.status == 1 and "violated" in self.out:
            return "a true theorem is violated"
        return "an escape sequence" if "\x1b" in both else None


def case(seed: int, number: int) -> Case:
    """The case of that number."""
    rng = random.Random(f"{seed} {number}")
    program, command = rng.choice(COMMANDS)
    arguments = [word for part in command for word in (part(rng) if callable(part) else [part])]
    if rng.random() < 0.15:
        arguments.insert(
            rng.randrange(len(arguments) + 1), rng.choice(["--nonsense", "-x", "", "--set", "--jobs", "--", "extra"])
        )
    return Case(program, tuple(arguments), _experiment(rng))


def _settings(rng: random.Random) -> list[str]:
    return [word for _ in range(rng.choice([0, 0, 1, 1, 2])) for word in ("--set", _setting(rng))]


def _setting(rng: random.Random) -> str:
    value = _value(rng, 1)
    written = rng.choice([spelled, str, repr])(value)
    return rng.choice([f"{rng.choice(KEYS)}={written}"] * 8 + [written, f"={written}", f"{rng.choice(KEYS)}"])


def _out(rng: random.Random) -> list[str]:
    return ["--out", rng.choice(OUTS)] if rng.random() < 0.2 else []


def _jobs(rng: random.Random) -> list[str]:
    return ["--jobs", rng.choice(["1"] * 12 + ["0", "-3", "x", "1e3"])]


def _option(name: str, values: list[str]) -> Callable[[random.Random], list[str]]:
    return lambda rng: [name, rng.choice(values)]


FILE = "small.toml"
SETS = [_settings, _out]
COMMANDS: list[tuple[str, list[Any]]] = [
    *[("frugal-theory", ["verify", FILE, *SETS, _jobs])] * 8,
    *[("frugal-theory", ["simulate", FILE, *SETS, _jobs])] * 4,
    *[("frugal-theory", ["rates", FILE, *SETS])] * 2,
    *[("frugal-theory", ["attack", FILE, *SETS, _option("--evaluations", ["2", "2", "0", "x"])])] * 2,
    ("frugal-theory", ["attack", FILE, _option("--search", WORDS), _option("--optimizer", WORDS), "--evaluations", "2"]),
    ("frugal-theory", ["ladder", lambda rng: [rng.choice(WORDS)], *SETS]),  # of a file it asks other processes for minutes
    (
        "frugal-theory",
        ["certify", FILE, *SETS, _option("--horizon", ["1", "2", "0", "x"]), _option("--trade", ["1", "nan", "-1"])],
    ),
    ("frugal-theory", ["study", lambda rng: [rng.choice(["vanishing_momentum", "momentum_leak", *WORDS])], *SETS, _jobs]),
    ("frugal-theory", ["report", lambda rng: [rng.choice(["runs/small", FILE, "text.txt", *WORDS])], _out]),
    ("frugal-theory", ["keys", lambda rng: [rng.choice(WORDS)]]),
    ("frugal-theory", ["init", lambda rng: [rng.choice(OUTS)]]),
    ("frugal-theory", ["self-test", _option("--budget", ["nan", "inf", "-1", "0", "x"]), _option("--seed", ["-1", "x"])]),
    ("frugal-theory", [lambda rng: [rng.choice(WORDS)], FILE]),
    *[("frugal-gpu", ["train", FILE, *SETS])] * 6,
    ("frugal-gpu", ["train", FILE, "--sweep", *SETS]),
    ("frugal-gpu", ["train", FILE, "--resume", *SETS]),
    *[("frugal-gpu", ["memory", FILE, *SETS])] * 3,
    ("frugal-gpu", ["systems", lambda rng: [rng.choice(WORDS)]]),
    ("frugal-gpu", [lambda rng: [rng.choice(["evaluate", "export", "generate"])], lambda rng: [rng.choice(OUTS)], _out]),
    ("frugal-gpu", ["bench", _option("--rounds", ["0", "x"]), _option("--density", ["2", "nan"])]),
    ("frugal-gpu", ["compare", _option("--steps", ["0", "x"])]),
]


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if kind < 0.5 or depth > 2:
        return rng.choice(NUMBERS)
    if kind < 0.75:
        return rng.choice(WORDS)
    if kind < 0.8:
        return rng.choice([True, False])
    if kind < 0.92:
        return [_value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 8]))]
    names = ["rule", "kind", "beta", "rank", "x"]
    return {rng.choice(names): _value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2]))}


def _experiment(rng: random.Random) -> bytes:
    table = tomllib.loads(THEORY + LLAMA)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3])):
        _set(table, rng.choice(KEYS), _value(rng, 0))
    if rng.random() < 0.1:
        table["sweep"] = {rng.choice(KEYS): _value(rng, 0) for _ in range(rng.choice([1, 2]))}
    if rng.random() < 0.1:
        table["cases"] = [{"name": rng.choice(WORDS), rng.choice(KEYS).split(".")[0]: _value(rng, 0)} for _ in range(2)]
    text = bytearray(tomli_w.dumps(table).encode("utf-8"))
    if rng.random() < 0.15:
        for _ in range(rng.choice([1, 3, 20])):
            place = rng.randrange(len(text))
            text[place : place + rng.choice([0, 1, 5])] = bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 3])))
    if rng.random() < 0.02:
        text = bytearray(b"a = " + rng.choice([b"[", b"{a="]) * rng.choice([50, 500, 50000]))
    return bytes(text)


def _set(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = table.get(parent)
        table[parent] = table = inner if isinstance(inner, dict) else {}
    table[last] = value


# --- running -------------------------------------------------------------------------------------------------------


def mains() -> dict[str, Callable[[], None]]:
    """The two command lines, with what they import later imported now. Nothing is trained here: torch's threads do not fork."""
    import frugal_gpu.train.loop
    from frugal_gpu.commands.main import main as gpu
    from frugal_theory.commands.main import main as theory

    assert frugal_gpu.train.loop
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_text(THEORY + LLAMA, encoding="utf-8")
        for line in ("verify --jobs 1", "attack --evaluations 2"):
            command, *options = line.split()
            called(theory, command, FILE, *options, cwd=Path(folder))
        called(gpu, "memory", FILE, cwd=Path(folder))
    return {"frugal-theory": theory, "frugal-gpu": gpu}


def run(one: Case, programs: dict[str, Callable[[], None]], place: Path) -> Ended:
    """The case in a forked child, in a folder of its own that is gone afterwards."""
    place.mkdir()
    (place / FILE).write_bytes(one.experiment)
    (place / "text.txt").write_text(TEXT, encoding="utf-8")
    os.mkfifo(place / "pipe")  # for every device: a fault may not cost the machine its own
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _inside(one, programs[one.program], place)
    status = None
    while status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        passed = time.monotonic() - began
        if done:
            status = os.waitstatus_to_exitcode(code)
        elif passed > PATIENCE:
            os.kill(child, signal.SIGKILL)
        else:
            time.sleep(0.002)
    out, error = ((place / name).read_text(encoding="utf-8", errors="replace") for name in (".out", ".error"))
    shutil.rmtree(place)
    return Ended(status, out, error, time.monotonic() - began)


def _inside(one: Case, main: Callable[[], None], place: Path) -> None:
    """The child: it never returns."""
    code: Any = 99
    try:
        os.chdir(place)
        os.environ["FRUGAL_LAB_CACHE"] = str(place / "cache")
        for name, number in ((".out", 1), (".error", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + GRACE, int(SECONDS) + GRACE))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        for name, number in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        sys.argv = [one.program, *one.arguments]
        main()
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def findings(seed: int, first: int, count: int, report: Callable[[str], Any] = print) -> Iterator[tuple[Case, Ended]]:
    """Every case that does what no input may do."""
    programs = mains()
    tally: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            one = case(seed, number)
            ended = run(one, programs, Path(folder) / "case")
            tally[ended.status] = tally.get(ended.status, 0) + 1
            if ended.fault:
                yield one, ended
            if (number - first) % 100 == 99:
                report(f"{number - first + 1} cases, by exit status {dict(sorted(tally.items()))}")


def told(one: Case, ended: Ended) -> str:
    """A finding, with what repeats it."""
    line = shlex.join([one.program, *one.arguments])
    heading = f"--- {ended.fault} after {ended.seconds:.1f} s: {line}"
    return f"{heading}\n{ended.error[-1500:]}{ended.out[-200:]}\n{one.experiment[:3000]!r}"


def main() -> None:
    """Print the findings of a range of cases; exit status 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--seed", 0), ("--first", 0), ("--count", 1500)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    found = 0
    for one, ended in findings(asked.seed, asked.first, asked.count, lambda line: print(line, flush=True)):
        found += 1
        print(told(one, ended), flush=True)
    print(f"{found} findings")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
