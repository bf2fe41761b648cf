"""frugal-theory theorems and proofs: what is claimed, and that it can be derived."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

__all__ = ["proofs", "theorems"]


def theorems() -> None:
    """List the theorems: statement, source, premises, and whether every constant is explicit."""
    from frugal_theory.theorems import THEOREMS

    console = Console()
    for theorem in THEOREMS.values():
        constants = "every constant explicit" if theorem.explicit else "constants hidden: shape only"
        console.print(f"[bold]{theorem.name}[/bold]  {theorem.title}  ({constants})", highlight=False)
        premises = getattr(theorem, "premises", "P1–P6")
        for line in (theorem.statement, f"premises {premises}", f"source: {theorem.source}"):
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))
        console.print()
    console.print(
        "P1–P6 are those of docs/theory.md (Premises); all of them are tested, whatever the theorem (docs/premises.md). "
        "So are the L_j, and what the noise says of itself, where a theorem needs it.",
        highlight=False,
        soft_wrap=True,
    )


def proofs() -> None:
    """Derive every identity and inequality of the proofs in docs/theory/ with SymPy. Exit status 1 if one fails."""
    from frugal_theory.proofs import prove_all

    console = Console()
    found = prove_all()
    for proof in found:
        mark, failed = ("✓", "") if proof.checked else ("✗", f"  not derived: {', '.join(proof.failed)}")
        console.print(f"{mark} {proof.name}: {proof.statement}{failed}", highlight=False, markup=False)
    if not all(proof.checked for proof in found):
        raise typer.Exit(1)
