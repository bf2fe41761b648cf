"""The tables: which settings each has, and which orderings were reported."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from frugal_gpu.studies.tables.recipes import FEWER, QUARTER, SCALED, SETTINGS

__all__ = ["TABLES", "Claim", "Table"]


@dataclass(frozen=True)
class Claim:
    """``first`` has the smaller loss, as was ``reported``: in which words, or by which numbers."""

    first: str
    second: str
    reported: str


@dataclass(frozen=True)
class Table:
    """``rows``: settings by name. ``seeds``: 0, 1, … ``numbers``: what was reported of a row, of other data and models, in
    ``unit``. ``title``: what the table of the paper, or of the answer to its reviews, is about."""

    name: str
    title: str
    question: str
    rows: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    seeds: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict, hash=False)
    unit: str = ""


PERPLEXITY = "perplexity of 60M on C4"
REPORTED = {"AdamW": 22.73, "GaLore": 25.68, "BAdam": 24.86, QUARTER: 23.59, "FRUGAL ρ = 0": 24.06}
"""Zmushko et al., Table 2, LLaMA-60M."""

KINDS = ("svd", "random", "randk", "blocks")
_HYBRID = "the hybrid matters most (the authors' answer)"
_LAST = "the projection matters least (the authors' answer)"


def _signed(kind: str) -> str:
    return QUARTER if kind == "blocks" else f"{kind}, sign off it"


def _two(first: str, second: str) -> Claim:
    return Claim(first, second, f"{REPORTED[first]:g} against {REPORTED[second]:g}")


_LONG = "sequences 4 times as long"
_THREE = ("AdamW", QUARTER, "GaLore")
_ADALAYER = "slightly worse than AdamW on the subspace (the authors' answer)"
_ORDER = "the order of Table 2, which β₂ = .95 does not change (the authors' answer)"

_ALL = (
    Table(
        "table-1",
        "Table 1: which subspace, and what becomes of the rest",
        "Does signSGD off the subspace lower the loss, whatever the subspace?",
        tuple(name for kind in KINDS for name in (f"{kind}, nothing off it", _signed(kind))),
        tuple(Claim(_signed(kind), f"{kind}, nothing off it", _HYBRID) for kind in KINDS),
        seeds=3,
    ),
    Table(
        "table-2",
        "Table 2: systems",
        "Is the order AdamW, FRUGAL ρ = ¼, FRUGAL ρ = 0, BAdam, GaLore?",
        ("AdamW", QUARTER, "FRUGAL ρ = 0", "BAdam", "GaLore", f"AdamW, {SCALED}", f"{QUARTER}, {SCALED}"),
        (
            *(_two(*pair) for pair in itertools.pairwise(("AdamW", QUARTER, "FRUGAL ρ = 0", "BAdam", "GaLore"))),
            Claim(f"AdamW, {SCALED}", f"{QUARTER}, {SCALED}", "22.73 against 23.59, at the rate itself"),
            Claim(f"{QUARTER}, {SCALED}", "GaLore", "23.59 against 25.68, FRUGAL at the rate itself"),
        ),
        seeds=3,
        numbers=REPORTED,
        unit=PERPLEXITY,
    ),
    Table(
        "table-3",
        "Table 3: which modules may be state-free (ρ = 0)",
        "May embeddings and norms be state-free, and the output layer not?",
        ("FRUGAL ρ = 0", *(name for name in SETTINGS if name.endswith("state-free"))),
        tuple(
            Claim(f"ρ = 0, {role} state-free", "ρ = 0, output state-free", "logits: no; embeddings, norms: yes")
            for role in ("embeddings", "norms")
        ),
    ),
    Table(
        "table-8",
        "Table 8: signSGD against SGD off the subspace",
        "Is signSGD better than SGD off the subspace?",
        (QUARTER, "ρ = ¼, SGD off it", "FRUGAL ρ = 0", "ρ = 0, SGD off it"),
        (
            Claim(QUARTER, "ρ = ¼, SGD off it", "the sign rule matters (the authors' answer)"),
            Claim("FRUGAL ρ = 0", "ρ = 0, SGD off it", "the sign rule matters (the authors' answer)"),
        ),
        seeds=3,
    ),
    Table(
        "table-11",
        "Table 11: ways to alternate the subspace",
        "Does the way in which the subspace alternates matter?",
        (QUARTER, *(name for name in SETTINGS if name.startswith("blocks, ") and not name.endswith("it")), "columns"),
    ),
    Table(
        "table-15",
        "Table 15: densities",
        "Does a larger density lower the loss?",
        ("AdamW", "FRUGAL ρ = ½", QUARTER, "FRUGAL ρ = ⅛", "FRUGAL ρ = 0"),
        (
            Claim("AdamW", QUARTER, "22.73 against 23.59"),
            Claim(QUARTER, "FRUGAL ρ = 0", "23.59 against 24.06"),
        ),
    ),
    Table(
        "table-1-prime",
        "Table 1′: β₂ = .95",
        "Does the order stay with β₂ = .95?",
        (
            "AdamW",
            "AdamW, β₂ = .95",
            QUARTER,
            f"{QUARTER}, β₂ = .95",
            "FRUGAL ρ = 0",
            "FRUGAL ρ = 0, β₂ = .95",
        ),
        (
            Claim("AdamW, β₂ = .95", f"{QUARTER}, β₂ = .95", _ORDER),
            Claim(f"{QUARTER}, β₂ = .95", "FRUGAL ρ = 0, β₂ = .95", _ORDER),
        ),
    ),
    Table(
        "table-2-prime",
        "Table 2′: AdaMeM",
        "Is AdaMeM behind FRUGAL?",
        ("AdamW", QUARTER, "AdaMeM"),
        (Claim(QUARTER, "AdaMeM", "slightly behind (the authors' answer)"),),
    ),
    Table(
        "table-3-prime",
        "Table 3′: AdamW on fixed layers",
        "Is training a fixed quarter of the layers behind FRUGAL?",
        (QUARTER, "BAdam", "AdamW on the first layers", "AdamW on the last layers"),
        tuple(Claim(QUARTER, f"AdamW on the {end} layers", "behind (the authors' answer)") for end in ("first", "last")),
    ),
    Table(
        "table-4-prime",
        "Table 4′: AdaLayer",
        "Is FRUGAL with AdaLayer on the subspace slightly behind FRUGAL with AdamW?",
        ("AdaLayer ρ = 1", "AdaLayer ρ = ½", "AdaLayer ρ = ¼", "AdaLayer ρ = 0", "AdaLayer's signSGD", QUARTER),
        (Claim(QUARTER, "AdaLayer ρ = ¼", _ADALAYER),),
    ),
    Table(
        "figure-3",
        "Figure 3: momentum after the subspace has changed",
        "Does projecting the momentum into the new subspace lower the loss?",
        tuple(f"svd, {off} off it, {way}" for off in ("nothing", "sign") for way in ("reset", "keep", "project")),
        tuple(
            Claim(f"svd, {off} off it, project", f"svd, {off} off it, keep", "momentum of another basis misleads (figure 3)")
            for off in ("nothing", "sign")
        ),
    ),
    Table(
        "over-training",
        "More tokens a parameter",
        "Does the order of AdamW, FRUGAL ρ = ¼ and GaLore stay as their tokens grow by 2¼?",
        (*(f"{name}, {FEWER}" for name in _THREE), *_THREE),
        tuple(
            Claim(f"{one}{length}", f"{other}{length}", "the order of Table 2")
            for length in (f", {FEWER}", "")
            for one, other in itertools.pairwise(_THREE)
        ),
    ),
    Table(
        "longer-context",
        "Longer sequences",
        "Does the order of AdamW, FRUGAL ρ = ¼ and GaLore stay with sequences four times as long?",
        tuple(f"{name}, {_LONG}" for name in _THREE),
        tuple(
            Claim(f"{one}, {_LONG}", f"{other}, {_LONG}", "the order of Table 2") for one, other in itertools.pairwise(_THREE)
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
"""By name: trained ones. Learning rates (``rates``), angles (figure 2), memory (5′) and time (7′) have modules of their own."""
