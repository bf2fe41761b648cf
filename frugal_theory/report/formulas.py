"""Formulas and proofs on the page: LaTeX as MathML, and the text of a proof with its formulas set."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.names import formula

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["mathml", "proof", "proof_file", "statement"]

PROOFS = Path(__file__).parent / "proofs"
"""The texts of docs/theory, which an installed package carries, too."""

DELIMITERS = {"lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lvert": "|", "rvert": "|", "vert": "|"}
DELIMITERS |= {"lbrace": "{", "rbrace": "}", "{": "{", "}": "}", "langle": "⟨", "rangle": "⟩"}
"""Signs that the library leaves as names behind a size (``\\Bigl\\lVert``)."""


def statement(name: str) -> str:
    """The theorem's formula as HTML, one display a line; empty where this installation knows none."""
    theorem = THEOREMS.get(name)
    lines = formula(theorem).splitlines() if theorem is not None else []
    return "".join(mathml(line, display=True) for line in lines)


@cache
def mathml(latex: str, *, display: bool = False) -> str:
    """A formula as a MathML element, readable by a screen reader. What the library cannot read is shown as it is written."""
    from latex2mathml.converter import convert

    try:
        text = convert(latex, display="block" if display else "inline")
        text = re.sub(r">\\([A-Za-z]+|[|{}])</mo>", lambda found: f">{DELIMITERS[found[1]]}</mo>", text)
        if not all(element.tag.rpartition("}")[2].startswith("m") for element in ElementTree.fromstring(text).iter()):
            raise ValueError("markup inside a formula")
    except Exception:  # the library's errors have no common class
        return f"<code>{html.escape(latex)}</code>"
    text = re.sub(r"&#x([0-9A-Fa-f]+);", _character, text).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    text = re.sub(r"<mo>([a-z]{2,})</mo>", r'<mi>\1</mi><mspace width="0.17em"></mspace>', text)  # avg is a name, not a sign
    return re.sub(r"<mi>([Α-Ω])</mi>", r'<mi mathvariant="normal">\1</mi>', text)  # upright, as TeX has them


def proof_file(source: str) -> str | None:
    """The file in docs/theory that a theorem's source names, without its ending; None if it names none that is here.

    >>> proof_file("proved here (docs/theory/momentum.md)")
    'momentum'
    """
    found = re.search(r"docs/theory/([\w-]+)\.md", source)
    return found.group(1) if found and (PROOFS / f"{found.group(1)}.md").is_file() else None


@cache
def proof(name: str) -> str:
    """The text of docs/theory/NAME.md as HTML: headings below the page's own, formulas as MathML, links as plain text."""
    text = (PROOFS / f"{name}.md").read_text(encoding="utf-8")
    rendered = str(_markdown().render(text))
    rendered = re.sub(r"<a [^>]*>|</a>|<img [^>]*>", "", rendered)
    return re.sub(r"(</?h)([1-4])", lambda found: f"{found.group(1)}{min(6, int(found.group(2)) + 3)}", rendered)


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def render(latex: str, options: dict[str, bool]) -> str:
        return mathml(latex.strip(), display=options["display_mode"])

    return MarkdownIt("commonmark", {"html": False}).enable("table").use(dollarmath_plugin, renderer=render)


def _character(found: re.Match[str]) -> str:
    """A character reference as the character, unless it is one that markup needs."""
    character = chr(int(found.group(1), 16))
    return found.group(0) if character in "<>&\"'" else character
