"""Notebooks: what they keep and show, what they do without extras; the theorem of ``your_own_theorem`` against expectations."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import frugal_theory as ft
from frugal_theory.problems import Quadratic
from tests.tolerances import LONG_RECURSION

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST = 60


EXTRAS = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "safetensors",
    "peft",
    "ipywidgets",
    "cvxpy",
    "clarabel",
)
EXTRAS += ("PEPit", "scs", "numba", "distributed", "lightning", "torchao")
"""What an installation of the theory alone lacks."""

FITS = 600_000
"""Bytes of a notebook, at most."""

PRIVATE = re.compile(r"/(?:home|root|tmp|work|Users|usr|opt|mnt|var)/|[A-Za-z]:\\Users|at 0x[0-9a-f]{6,}")
"""Paths of a machine, and addresses in its memory."""


def opened(name):
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def cells(name):
    """The sources of a notebook's code cells."""
    return ["".join(cell["source"]) for cell in opened(name)["cells"] if cell["cell_type"] == "code"]


def text_of(output):
    """What an output says in words, as text and as HTML."""
    data = output.get("data", {})
    return "\n".join("".join(part) for part in (output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_and_are_those_of_its_code_and_the_readme_lists_it(path):
    notebook = opened(path.stem)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    digest = hashlib.sha256("\0".join(cells(path.stem)).encode()).hexdigest()[:16]
    assert notebook["metadata"]["outputs_of"] == digest, "edited since: make notebooks STORE=1"
    assert not any("widget" in kind for output in outputs for kind in output.get("data", {}))
    assert path.stat().st_size <= FITS
    assert f"(notebooks/{path.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_show_no_error_no_warning_and_nothing_of_the_machine(path):
    outputs = [output for cell in opened(path.stem)["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        said = text_of(output)
        assert not PRIVATE.search(said), said[:300]
        assert socket.gethostname() not in said
        assert "Warning" not in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_figure_is_cut(path):
    """Whatever touches the frame of a picture may go on beyond it."""
    outputs = [output for cell in opened(path.stem)["cells"] for output in cell.get("outputs", [])]
    for picture in filter(None, (output.get("data", {}).get("image/png") for output in outputs)):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode("".join(picture)))).convert("L"), dtype=int)
        frame = np.concatenate([pixels[:2].ravel(), pixels[-2:].ravel(), pixels[:, :2].ravel(), pixels[:, -2:].ravel()])
        assert frame.max() - frame.min() <= 8


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_text_is_text_and_formulas_are_formulas(path):
    for cell in opened(path.stem)["cells"]:
        if cell["cell_type"] == "markdown":
            lines = "".join(cell["source"]).splitlines()
            headings = [line for line in lines if line.startswith("#")]
            assert len(headings) < max(2, len(lines) / 2)
            assert all(re.match(r"#+ \S", line) and not line.startswith("# #") for line in headings)
            words = re.sub(r"`[^`]*`", "", "\n".join(lines))
            assert words.count("$") % 2 == 0
            plain = re.sub(r"\$\$.*?\$\$|\$.*?\$", "", words, flags=re.S)
            assert not re.search("[α-ωΑ-Ω‖²√∑Σ≤≥∞½ᵏ⟨⟩]", plain), plain


class Without:
    """A finder of modules to which the extras are not installed."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *others):
        return None if name.split(".")[0] in EXTRAS else self.finder.find_spec(name, *others)


def run(name, monkeypatch):
    """A notebook's code in an interpreter without a kernel and without the extras."""
    matplotlib.use("Agg")
    monkeypatch.chdir(ROOT / "notebooks")
    for module in [module for module in sys.modules if module.split(".")[0] in ("frugal_gpu", *EXTRAS)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Without(finder) for finder in sys.meta_path])
    namespace = {"__name__": "__main__", "display": lambda _: None}
    with matplotlib.rc_context(), ft.extended(), pd.option_context("display.precision", 6):
        try:
            for place, source in enumerate(cells(name)):
                exec(compile(source, f"{name}, code cell {place}", "exec", dont_inherit=True), namespace)
        finally:
            plt.close("all")


NEEDS = {"theory_meets_practice": "gpu", "which_optimizer": "gpu", "certify_your_own": "worst-case"}
"""Notebooks that are about an extra."""


@pytest.mark.parametrize("name", NEEDS)
def test_what_is_about_an_extra_stops_with_the_command_that_installs_it(name, monkeypatch):
    with pytest.raises(SystemExit, match=rf"pip install 'frugal-lab\[{NEEDS[name]}\]'") as stopped:
        run(name, monkeypatch)
    assert "\n" not in str(stopped.value)


@pytest.mark.ecosystem
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS if path.stem not in NEEDS])
def test_the_others_run_where_the_theory_alone_is_installed(name, monkeypatch, capsys):
    run(name, monkeypatch)
    needed = "torch" in "".join(cells(name)) or "ipywidgets" in "".join(cells(name))
    assert ("pip install 'frugal-lab[" in capsys.readouterr().out) == needed


@pytest.mark.parametrize("name", ["convergence_rates", "interpolation"])
def test_the_labels_of_sliders_fit(name, monkeypatch):
    """Every label has room for its letters: 0.62 em is the widest that fonts of pages have on average."""
    widgets = pytest.importorskip("ipywidgets")
    sliders = {}
    monkeypatch.setattr(widgets, "interact", lambda _, **given: sliders.update(given))
    first, *rest = cells(name)
    (source,) = [cell for cell in rest if "interact(" in cell]
    monkeypatch.chdir(ROOT / "notebooks")
    namespace = {"__name__": "__main__", "show": None}
    with matplotlib.rc_context():
        exec(first, namespace)
        exec(source[source.index("if interact is None") :], namespace)
    assert len(sliders) >= 2
    for slider in sliders.values():
        room = float(slider.style.description_width.removesuffix("em"))
        assert 0.62 * len(slider.description) <= room
        assert float(slider.layout.width.removesuffix("em")) >= room + 20


@pytest.fixture
def theorem():
    (source,) = [cell for cell in cells("your_own_theorem") if cell.startswith("class SgdOnQuadratic")]
    namespace = {"__name__": "your_own_theorem", "np": np, "Quadratic": Quadratic}
    exec(source, namespace)
    return namespace["SgdOnQuadratic"]()


def test_the_theorem_and_its_verification_are_sixty_lines():
    _, theorem, verification, *_ = cells("your_own_theorem")
    assert theorem.startswith("class SgdOnQuadratic")
    assert "ft.verify" in verification
    assert len((theorem + "\n" + verification).splitlines()) <= LONGEST


@pytest.mark.parametrize("step", [0.01, 0.5, 1.0, 1.9])
def test_the_theorem_of_the_notebook_is_attained_and_never_exceeded(theorem, quadratic, step):
    """The start along λ = L attains it at every K; other starts of the same gap stay below. Every σ_j is another."""
    rng = np.random.default_rng(5)
    eigenvalues = [2.0, *rng.uniform(0, 2, 6).tolist(), 0.0]
    for j in range(7):
        start = [0.0] * 8
        start[j] = float((2 / eigenvalues[j]) ** 0.5)  # Δ = 1
        experiment = quadratic(
            {
                "problem": {"kind": "quadratic", "eigenvalues": eigenvalues, "start": start},
                "noise.sigma": rng.uniform(0, 1, 8).tolist(),
                "algorithm.density": 0.0,
                "algorithm.learning_rate": step / 2.0,
                "simulation.steps": 300,
            }
        )
        share = ft.exact(experiment).mean / theorem.bound(ft.setting_of(experiment))
        assert np.all(share <= 1 + LONG_RECURSION)
        if j == 0:
            np.testing.assert_allclose(share, 1, rtol=LONG_RECURSION)
