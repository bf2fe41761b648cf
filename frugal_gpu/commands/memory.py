"""frugal-gpu memory: a row a method, in the unit that suits the largest."""

from __future__ import annotations

from frugal_theory.commands.options import ExperimentFile, Out, Settings
from frugal_theory.config.load import ExperimentError, load, parse_overrides

__all__ = ["memory"]


def memory(experiment: ExperimentFile, settings: Settings = None, out: Out = None) -> None:
    """Weights, gradients and optimizer state of the experiment and its neighbours, from shapes alone."""
    loaded = load(experiment, parse_overrides(settings or []))
    from rich.console import Console
    from rich.table import Table

    from frugal_gpu.studies.memory import STUDY, not_split, unit_of
    from frugal_theory.studies.runner import beside, carry_out

    try:
        found = carry_out(STUDY, loaded, beside(out, loaded.name, STUDY)).table
    except ExperimentError as error:
        raise ExperimentError(f"{experiment}: {error}") from None
    unit, size = unit_of(found)
    table = Table("method", box=None, pad_edge=False, header_style="dim")
    for name in ("weights", "gradients", "state", "selection", "together"):
        table.add_column(f"{name},\n{unit}", justify="right", no_wrap=True)
    table.add_column(f"temporaries\nof a step,\n{unit}", justify="right", no_wrap=True)
    parts = found[["parameters", "gradients", "state", "selection", "total", "temporaries"]] / size
    parts["share"] = found["temporaries"] / found["parameters"]
    for method, row in zip(found["method"], parts.to_numpy(), strict=True):
        table.add_row(method, *(f"{part:,.2f}" for part in row[:-2]), f"{row[-2]:,.2f} ({100 * row[-1]:.0f} %)")
    console = Console()
    console.print(table)
    console.print(f"{not_split(loaded.algorithm)}.", highlight=False, style="dim")
    weights = "bfloat16" if loaded.training is not None and loaded.training.precision == "pure-bf16" else "float32"
    said = f"{weights} weights; without activations. selection: index of the units in the set. "
    said += "temporaries: at most, on a CPU, in a step "
    console.print(f"{said}without a new basis, and as a share of the weights.", highlight=False, style="dim")
