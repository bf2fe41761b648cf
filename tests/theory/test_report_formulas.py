"""Formulas on the page: a theorem's LaTeX says what its statement says, and all of it can be set."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree

import pytest

import frugal_theory as ft
from frugal_theory.report import formulas
from frugal_theory.report.formulas import mathml, proof, proof_file, statement
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.names import formula
from frugal_theory.theorems.sgd import Sgd

SIGNS = {
    "alpha": "α", "beta": "β", "sigma": "σ", "varphi": "φ", "tau": "τ", "theta": "θ", "mu": "μ", "lambda": "λ", "kappa": "κ",
    "eta": "η", "rho": "ρ", "omega": "ω", "varepsilon": "ε", "Delta": "Δ", "Pi": "Π", "Gamma": "Γ", "nabla": "∇", "sum": "Σ",
    "le": "≤", "ge": "≥", "notin": "∉", "in": "∈", "to": "→", "cdot": "·", "ldots": "…", "langle": "⟨", "rangle": "⟩",
    "lvert": "|", "rvert": "|", "|": "‖", "sqrt": "√", "max": "max", "min": "min", "ln": "ln",
}  # fmt: skip
"""What LaTeX writes with a command and a statement with a sign."""

ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304"}


def symbols_of_latex(latex: str) -> str:
    """The symbols from left to right, without brackets, fractions, and what raises or lowers."""
    text = re.sub(r"\\(text|operatorname|mathtt)\{([^{}]*)\}", lambda found: " " + found.group(2).replace("\\_", "_"), latex)
    text = text.replace(r"\mathbb{E}", " E")
    text = re.sub(r"\\(hat|tilde|bar)\{(\w)\}", lambda found: found.group(2) + ACCENTS[found.group(1)], text)
    text = re.sub(r"\\(Bigl|Bigr|frac|quad)(?![a-z])", "", text)
    text = re.sub(r"\\([A-Za-z]+|\|)", lambda found: SIGNS[found.group(1)], text)
    return symbols(text)


def symbols(text: str) -> str:
    """The same of a statement."""
    text = text.replace("½", "12")
    raised = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵏ₀₁₂₃₄₅₆₇₈₉", "0123456789−k0123456789")
    text = unicodedata.normalize("NFD", text.translate(raised).replace("-", "−"))
    return re.sub(r"[\s()\[\]{}/^_,.;:]", "", text)


@pytest.mark.parametrize("name", list(THEOREMS))
def test_the_formula_says_what_the_statement_says(name: str) -> None:
    theorem = THEOREMS[name]
    assert symbols_of_latex(formula(theorem)) == symbols(theorem.statement)


def test_every_formula_can_be_set() -> None:
    for name in THEOREMS:
        shown = statement(name)
        assert "<code>" not in shown
        assert len(list(ElementTree.fromstring(f"<p>{shown}</p>"))) == len(formula(THEOREMS[name]).splitlines())


def test_what_is_derived_or_unknown_has_no_formula_of_another() -> None:
    class Derived(Sgd):
        name = "derived"

    with ft.extended():
        ft.add_theorem(Derived())
        assert statement("derived") == ""
    assert statement("of_somebody_else") == ""
    assert statement("sgd") != ""


def test_what_cannot_be_read_is_shown_as_it_is_written() -> None:
    assert mathml(r"<^1^2") == "<code>&lt;^1^2</code>"
    assert "<script" not in mathml(r"\text{<script>}")


@pytest.mark.parametrize(("named", "sign"), [*formulas.DELIMITERS.items()])
def test_a_delimiter_of_a_given_size_is_its_sign(named: str, sign: str) -> None:
    set_ = ElementTree.fromstring(mathml(rf"a\Bigm\{named} b"))
    assert "".join(set_.itertext()) == f"a{sign}b"
    assert mathml(rf"\bigl\{named} a\bigr\{named}_2").startswith("<math")
    assert mathml(r"\bigl\unknownarrow a") == r"<code>\bigl\unknownarrow a</code>"


def test_the_proofs_that_sources_name_are_there_with_their_formulas() -> None:
    files = {proof_file(theorem.source) for theorem in THEOREMS.values()}
    ours = {name for name, theorem in THEOREMS.items() if "docs/theory/" in theorem.source}
    assert ours == {name for name, theorem in THEOREMS.items() if proof_file(theorem.source)}
    assert {"momentum", "run-length", "signs", "adaptive"} < files
    for file in sorted(name for name in files if name):
        text = proof(file)
        source = (formulas.PROOFS / f"{file}.md").read_text(encoding="utf-8")
        assert text.count("<math") >= source.count("$$") // 2 > 0 or "$$" not in source
        assert not re.search(r"<code>[^<]*\\[a-z]|<mo[^>]*>\\", text), file
        assert not re.search(r"<a |<img |<h[123]|<script", text), file
    assert proof_file("Ghadimi & Lan 2013") is None
    assert proof_file("docs/theory/absent.md") is None
