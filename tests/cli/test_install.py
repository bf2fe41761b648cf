"""Wheel and sdist in empty environments, of every Python at hand: what is there works, what is missing is one line."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import frugal_gpu
from frugal_theory.config import extras
from tests.calling import SMALL, SMALL_LLAMA
from tests.pages import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
VERSIONS = ("3.11", "3.12", "3.13")


def interpreter(version: str) -> str | None:
    """A Python of that version that runs, or None."""
    home = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{home}/versions/{version}.*/bin/python"), reverse=True)]
    if sys.version.startswith(f"{version}."):
        found.insert(0, sys.executable)
    asked = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, found):
        said = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
        if said.stdout.strip() == version:
            return path
    return None


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist, of a copy of the tree."""
    place = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "runs", "tests", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, place / "src", symlinks=True, ignore=left_out)
    backend = "from setuptools import build_meta as b; print(b.build_sdist('..')); print(b.build_wheel('..'))"
    subprocess.run([sys.executable, "-c", backend], cwd=place / "src", check=True, capture_output=True)
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture
def run(tmp_path):
    """``run(python, *arguments)``: in an empty folder, with nothing of the checkout in sight."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    quiet = {name: value for name, value in os.environ.items() if name not in hidden}
    quiet |= {"OMP_NUM_THREADS": "1", "FRUGAL_LAB_CACHE": str(tmp_path / "cache")}
    (tmp_path / "small.toml").write_text(SMALL + SMALL_LLAMA, encoding="utf-8")
    text = "\n\n".join(f"Line {n} says {n * n % 17} and {n * 7 % 11}." for n in range(200))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")

    def call(*command: object) -> subprocess.CompletedProcess[str]:
        line = [str(word) for word in command]
        return subprocess.run(line, cwd=tmp_path, env=quiet, capture_output=True, text=True, check=False)

    return call


def environment(python: str, place: Path) -> Path:
    """The interpreter of a new virtual environment."""
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True, capture_output=True)
    return place / "bin" / "python"


def pip(python: Path) -> list[object]:
    """Our own pip, which works in that interpreter: unpacking another one takes longer than installing the wheel."""
    return [sys.executable, "-m", "pip", "--python", python]


@pytest.mark.ecosystem
def test_wheel_and_sdist_have_the_same_packages_and_nothing_else(built):
    wheel, sdist = built
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    assert {name.split("/")[0] for name in inside} == {"frugal_theory", "frugal_gpu"}
    assert inside <= source
    assert {"pyproject.toml", "README.md", "LICENSE"} <= source
    for needed in ("py.typed", "simulations/demo.toml", "simulations/interpolation.py", "config/keys.py"):
        assert f"frugal_theory/{needed}" in inside
    for folder in ("templates", "vendor", "proofs"):  # what the page is made of
        report = ROOT / "frugal_theory" / "report" / folder
        assert {f"frugal_theory/report/{folder}/{path.name}" for path in report.iterdir() if path.is_file()} <= inside


@pytest.mark.ecosystem
@pytest.mark.parametrize("version", VERSIONS)
def test_theory_alone(version, built, run, tmp_path):
    """A verdict, a study and a report without torch, and one line for what needs an extra."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"needs Python {version}")
    new = environment(python, tmp_path / "empty")
    installed = run(*pip(new), "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", built[0])
    assert installed.returncode == 0, installed.stderr
    there = run(*pip(new), "list").stdout
    assert "torch" not in there
    assert "transformers" not in there
    for program in ([new, "-m", "frugal_theory"], [new.parent / "frugal-theory"], [new, "-m", "frugal_gpu"]):
        assert run(*program, "--version").stdout == f"frugal-lab {VERSION}\n"
    theory = [new, "-m", "frugal_theory"]
    for arguments in (
        ["init", "examples"],
        ["verify", "small.toml"],
        ["study", "vanishing_momentum"],
        ["report", "runs/small"],
    ):
        done = run(*theory, *arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "small" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "examples" / "demo.toml").is_file()
    for arguments in (["train", "small.toml"], ["memory", "small.toml"], ["systems"], ["evaluate", "runs/small"]):
        done = run(new, "-m", "frugal_gpu", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert 'pip install "frugal-lab[gpu]"' in done.stderr
    asked = run(new, "-c", "import frugal_gpu; frugal_gpu.Frugal")
    assert asked.stderr.splitlines()[-1].endswith('torch is not installed: pip install "frugal-lab[gpu]"')


@pytest.mark.ecosystem
def test_everything(built, run, tmp_path):
    """The wheel among the libraries of this environment: it trains, judges and continues without a checkout."""
    new = environment(sys.executable, tmp_path / "empty")
    assert run(*pip(new), "install", "-q", "--no-compile", "--no-deps", built[0]).returncode == 0
    (inside,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    (inside / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    where = run(new, "-c", "import frugal_gpu; print(frugal_gpu.__file__)").stdout
    assert where.startswith(str(inside))
    for module, arguments in (
        ("frugal_gpu", ["train", "small.toml"]),
        ("frugal_gpu", ["evaluate", "runs/small"]),
        ("frugal_gpu", ["memory", "small.toml"]),
        ("frugal_theory", ["verify", "small.toml"]),
        ("frugal_theory", ["report", "runs/small"]),
    ):
        done = run(new, "-m", module, *arguments)
        assert done.returncode == 0, f"{module} {arguments}: {done.stderr}"


# --- what is missing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "gpu"), ("transformers.models", "gpu"), ("PEPit", "worst-case"), ("numba", "fast")]
)
def test_a_missing_library_names_its_extra(module, extra):
    assert extras.missing(module) == f'{module.split(".")[0]} is not installed: pip install "frugal-lab[{extra}]"'


@pytest.mark.parametrize("module", ["pytest", "sphinx", "no_such_module", "", None])
def test_what_no_extra_of_a_user_brings_has_no_line(module):
    assert extras.missing(module) is None


def test_the_optimizer_without_torch_is_one_line(monkeypatch):
    monkeypatch.setitem(frugal_gpu._HOME, "Frugal", "frugal_gpu.optim_without")
    monkeypatch.setattr(frugal_gpu, "import_module", lambda _: __import__("no_torch_here"))
    with pytest.raises(ModuleNotFoundError, match="no_torch_here"):
        frugal_gpu.Frugal  # noqa: B018

    def without(_: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(frugal_gpu, "import_module", without)
    with pytest.raises(ModuleNotFoundError, match=r'torch is not installed: pip install "frugal-lab\[gpu\]"'):
        frugal_gpu.Frugal  # noqa: B018
