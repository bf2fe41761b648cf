"""An equation for a terminal: LaTeX in Unicode. Quotients and roots get the brackets that their lines stood for."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["in_unicode"]

SIGNS = {
    **{r"\,": " ", r"\;": " ", r"\ ": " ", r"\quad": "  ", r"\left": "", r"\right": "", r"\circ": "∘", r"\le": " ≤ "},
    **{r"\leftarrow": " ← ", r"\sim": " ~ ", r"\sum": " Σ", r"\top": "ᵀ", r"\lVert": "‖", r"\rVert": "‖", r"\max": "max"},
    **{r"\beta": "β", r"\delta": "δ", r"\ell": "ℓ", r"\mu": "μ", r"\rho": "ρ", r"\varepsilon": "ε", r"\varphi": "φ"},
    **{r"\alpha": "α", r"\lambda": "λ", r"\sigma": "σ", r"\ge": " ≥ ", r"\cdot": "·", r"\times": "×", r"\sign": "sign"},
}
"""What each command without an argument becomes."""

RAISED = dict(zip("0123456789+-TinᵀX", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀⁱⁿᵀˣ", strict=True))
LOWERED = dict(zip("0123456789+-ijkt", "₀₁₂₃₄₅₆₇₈₉₊₋ᵢⱼₖₜ", strict=True))
HAT = "\N{COMBINING CIRCUMFLEX ACCENT}"

TOKEN = re.compile(r"(\\[A-Za-z]+)\s*|\\.|[{}^_]|\s+|.")
"""A command, without the spaces after it, which say nothing; or one sign."""


def in_unicode(latex: str) -> str:
    """The equation in one line; a command that is not known stays as it is.

    >>> in_unicode(r"u = \\frac{\\hat m}{\\sqrt{\\hat v} + \\varepsilon},\\quad P^{-1} G_{ij}^2")
    'u = m̂/(√v̂ + ε),  P⁻¹ Gᵢⱼ²'
    """
    tokens = (found[1] or found[0] for found in TOKEN.finditer(latex))
    said = re.sub(r" *([=+]) *", r" \1 ", _several(tokens))
    return re.sub(r"(?<=[^ ,]) {2,}(?=\S)", " ", said).strip()


def _several(tokens: Iterator[str]) -> str:
    """Everything up to the end, or to the bracket that closes the group."""
    made = ""
    for token in tokens:
        if token == "}":
            break
        made += _one(token, tokens)
    return made


def _one(token: str, tokens: Iterator[str]) -> str:
    """One token with its arguments."""
    if token == "{":
        return _several(tokens)
    if token == "^":
        return _shifted(_argument(tokens), RAISED, "^")
    if token == "_":
        return _shifted(_argument(tokens), LOWERED, "_")
    if token == r"\frac":
        upper, lower = _argument(tokens), _argument(tokens)
        return f"{_bracketed(upper)}/{_bracketed(lower)}"
    if token == r"\sqrt":
        return f"√{_bracketed(_argument(tokens))}"
    if token == r"\hat":
        return _argument(tokens) + HAT
    if token == r"\text":
        return _text(tokens)
    if token in (r"\mathrm", r"\mathcal"):
        return _argument(tokens)
    return " " if token.isspace() else SIGNS.get(token, token)


def _argument(tokens: Iterator[str]) -> str:
    """The next group, command or sign."""
    token = next((token for token in tokens if not token.isspace()), "")
    return _one(token, tokens).strip()


def _text(tokens: Iterator[str]) -> str:
    """Words as they stand."""
    next(tokens, None)
    words = ""
    for token in tokens:
        if token == "}":
            break
        words += token
    return words


def _shifted(text: str, signs: dict[str, str], otherwise: str) -> str:
    """An index or exponent in small figures, where there are any."""
    if all(sign in signs for sign in text):
        return "".join(signs[sign] for sign in text)
    return f"{otherwise}{text}" if len(text) == 1 else f"{otherwise}({text.replace(' ', '')}) "


def _bracketed(text: str) -> str:
    """In brackets, unless it is one symbol, a number, or a norm."""
    symbol = rf"√?[^\W\d_]{HAT}?[{''.join(set(LOWERED.values()))}]*|[\d.]+|‖[^‖]*‖"
    return text if re.fullmatch(symbol, text) else f"({text})"
