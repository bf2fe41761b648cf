"""frugal-gpu systems: what ``[algorithm] system`` may be."""

from __future__ import annotations

from typing import Annotated

import typer

from frugal_theory.config.load import ExperimentError
from frugal_theory.config.parts import quoted
from frugal_theory.config.registry import SYSTEMS

__all__ = ["systems"]


def systems(names: Annotated[list[str] | None, typer.Argument(help="Only these systems.", metavar="[NAME]...")] = None) -> None:
    """Every system: equation, source, defaults, and numbers of state per parameter of a 512 × 1376 matrix."""
    unknown = [name for name in names or [] if name not in SYSTEMS]
    if unknown:
        raise ExperimentError(f'systems: "{unknown[0]}" does not exist; allowed: {quoted(SYSTEMS)}')
    from rich.console import Console
    from rich.text import Text

    from frugal_gpu.commands.in_unicode import in_unicode
    from frugal_gpu.studies.systems import described

    console = Console(soft_wrap=True, highlight=False)
    for one in described():
        system = one.system
        if names and system.name not in names:
            continue
        console.print(Text.assemble((system.name, "bold"), f"   {system.title}"))
        rows = {
            "equation": in_unicode(system.equation),
            "source": system.source,
            "defaults": one.defaults or "those of [algorithm]",
            "accepts": "every key" if system.accepts is None else ", ".join(system.allowed),
            "state": f"{one.state:.3f} numbers a parameter",
        }
        for label, value in rows.items():
            console.print(Text.assemble((f"  {label:<10}", "dim"), value))
