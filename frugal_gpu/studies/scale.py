"""The scale plan: memory, communication and time of a step of large LLaMAs under FSDP2, from shapes on the meta device.

FSDP2 cuts every parameter along its first dimension into R chunks of ⌈rows/R⌉ rows; each rank allocates a whole chunk, so that
rows which R does not divide are padded. What is said of "a rank" is said of the first one, which holds most.

Weights and their gradients are float32 shards, gathered for a layer at a time in bfloat16; gradients are reduced in float32.
State is what :class:`frugal_gpu.Frugal` keeps there: a rule that works element by element has it for its own rows, a basis (or
a rule that sees a whole matrix) on every rank for the whole matrix, whose gradient and weights are gathered in each step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from frugal_gpu.model.llama import SHAPES, Shape, meta_model
from frugal_gpu.studies.memory import Kept, state_by_parameter
from frugal_theory.config import Algorithm
from frugal_theory.report.drawing import log_ticks
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODELS", "RANKS", "SYSTEMS", "Machine", "Scale", "activations", "chunk", "of_rank"]

MODELS: dict[str, Shape] = {
    "1B": SHAPES["llama-1b"],
    "3B": SHAPES["llama-3b"],
    "7B": SHAPES["llama-7b"],
    "13B": Shape(5120, 13824, 40, 40),
    "30B": Shape(6656, 17920, 60, 52),
    "70B": Shape(8192, 28672, 80, 64, key_value_heads=8),
}
"""1B to 7B: the presets; 13B and 30B: LLaMA's (arXiv 2302.13971), 70B: LLaMA 2's (arXiv 2307.09288)."""

RANKS = tuple(2**k for k in range(11))

SYSTEMS: dict[str, dict[str, Any]] = {
    "AdamW": {"system": "adamw"},
    "FRUGAL ρ = ¼": {"system": "frugal", "density": 0.25},
    "FRUGAL ρ = 0": {"system": "frugal", "density": 0.0},
    "BAdam": {"system": "badam"},
    "GaLore": {"system": "galore"},
    "signSGD": {"system": "signsgd"},
}

FLOAT32, BFLOAT16 = 4, 2

UNSHARDED = 2
"""Layers whose weights are whole at the same time: the one that computes, and the next one, which is gathered meanwhile."""

SVD_SECONDS = 3.1 / (12 * (4 * 768**3 + 3 * 768**2 * 2048))
"""Seconds of one basis, by min(m, n)²·max(m, n): a new period of svd on LLaMA-130M took 3.1 s on an H200 (docs/gpu.md)."""


@dataclass(frozen=True)
class Machine:
    """One rank. ``flops``: what its matrix products reach, a second; ``bandwidth``: of its memory, ``network``: of what a rank
    sends or receives, both in bytes a second; ``memory`` in bytes. ``rows`` × ``length``: the tokens of a rank's step."""

    flops: float = 4e14
    bandwidth: float = 3e12
    network: float = 5e10
    memory: float = 80 * 2**30
    rows: int = 4
    length: int = 2048
    update_gap: int = 200


def chunk(rows: int, ranks: int) -> int:
    """Rows that every rank allocates of a parameter with so many: FSDP2's chunk, ⌈rows/R⌉."""
    return -(-rows // ranks)


def activations(shape: Shape, machine: Machine) -> dict[str, float]:
    """Bytes of bfloat16 activations of a rank's step with activation checkpointing, estimated.

    ``kept``: the input of every layer, 2·T·h·L for T tokens. ``layer``: one layer computed again, 2·T·(6h + 2k + 4f) for a
    width h, k of keys (and of values) and f of the MLP: both norms' outputs, q, attention's output, its projection's and the
    second residual; k and v; gate, its activation, up and their product. ``logits``: 10·T·V: in bfloat16, in float32, and their
    gradient in float32.
    """
    tokens = machine.rows * machine.length
    width, keys = shape.hidden_size, shape.hidden_size // shape.heads * (shape.key_value_heads or shape.heads)
    return {
        "kept": 2.0 * tokens * width * shape.layers,
        "layer": 2.0 * tokens * (6 * width + 2 * keys + 4 * shape.intermediate_size),
        "logits": 10.0 * tokens * shape.vocabulary,
    }


def of_rank(model: nn.Module, kept: list[Kept], shape: Shape, ranks: int, machine: Machine) -> dict[str, float]:
    """Bytes that the fullest rank holds, those that it receives in a step, and the seconds of a step.

    ``model`` on the meta device; ``kept``: the state of its parameters, from :func:`state_by_parameter`.
    """
    rows = {name: tuple(p.shape) for name, p in model.named_parameters()}
    sharded = {name: chunk(own[0], ranks) * math.prod(own[1:]) for name, own in rows.items()}
    local, size = float(sum(sharded.values())), float(sum(math.prod(own) for own in rows.values()))
    layer = sum(math.prod(own) for name, own in rows.items() if ".layers.0." in name)
    outside = size - layer * shape.layers
    parts = {one.name: one for one in kept}
    state = sum(one.bytes * (1.0 if one.whole else sharded[one.name] / math.prod(rows[one.name])) for one in kept)
    whole = [math.prod(rows[name]) for name, one in parts.items() if one.whole]
    gathered, largest = float(sum(whole)), float(max(whole, default=0))
    more = activations(shape, machine)
    step = {
        "parameters": FLOAT32 * local,
        "gradients": FLOAT32 * local,
        "state": state,
        "unsharded": BFLOAT16 * (outside + UNSHARDED * layer),
        "temporaries": 2 * FLOAT32 * largest if ranks > 1 else 0.0,
        "activations": sum(more.values()),
    }
    away = (ranks - 1) / ranks
    traffic = {
        "all_gather": 2 * BFLOAT16 * size * away,
        "reduce_scatter": FLOAT32 * size * away,
        "optimizer": 2 * FLOAT32 * gathered * away,
    }
    return {**step, "total": sum(step.values()), **traffic, **_seconds(shape, size, local, state, kept, rows, traffic, machine)}


def _seconds(
    shape: Shape,
    size: float,
    local: float,
    state: float,
    kept: list[Kept],
    rows: dict[str, tuple[int, ...]],
    traffic: dict[str, float],
    machine: Machine,
) -> dict[str, float]:
    """``compute``: 8N + 16·L·h·s FLOP a token, a third of 6N + 12·L·h·s more, for layers that are computed again. ``network``:
    of all that a rank receives. ``optimizer``: (12 local + 2 state) bytes through its memory, and, where matrices are whole,
    their 12 bytes a number on every rank; ``refresh``: new bases, a share of every period. ``step``: the larger of compute and
    layer traffic, which overlap, then the optimizer's traffic and time, which do not."""
    embedding = shape.vocabulary * shape.hidden_size
    tokens = machine.rows * machine.length
    flops = 4 / 3 * (6 * (size - embedding) + 12 * shape.layers * shape.hidden_size * machine.length) * tokens
    whole = [rows[one.name] for one in kept if one.whole]
    numbers = sum(math.prod(own) for own in whole)
    found = {
        "compute_seconds": flops / machine.flops,
        "network_seconds": (traffic["all_gather"] + traffic["reduce_scatter"]) / machine.network,
        "gather_seconds": traffic["optimizer"] / machine.network,
        "optimizer_seconds": (12 * (local + numbers) + 2 * state) / machine.bandwidth,
        "refresh_seconds": SVD_SECONDS * sum(min(own) ** 2 * max(own) for own in whole) / machine.update_gap,
    }
    alongside = max(found["compute_seconds"], found["network_seconds"])
    rest = found["gather_seconds"] + found["optimizer_seconds"] + found["refresh_seconds"]
    return {**found, "step_seconds": alongside + rest}


@dataclass(frozen=True)
class Scale:
    """The plan of ``models`` at every number of ``ranks``, on a machine."""

    machine: Machine = Machine()
    models: tuple[str, ...] = tuple(MODELS)
    ranks: tuple[int, ...] = RANKS

    name = "scale"
    question = "On how many ranks does each model fit, and what breaks first?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A row a model, system and number of ranks: the numbers of :func:`of_rank`, bytes and seconds."""
        import pandas as pd

        found = []
        for done, name in enumerate(self.models):
            run.progress(done, len(self.models))
            shape = MODELS[name]
            model = meta_model(shape)
            for system, keys in SYSTEMS.items():
                kept = state_by_parameter(model, Algorithm.model_validate({**keys}))
                for ranks in self.ranks:
                    row = of_rank(model, kept, shape, ranks, self.machine)
                    found.append({"model": name, "system": system, "ranks": ranks, **row})
        table = pd.DataFrame(found)
        return table.assign(fits=table["total"] <= self.machine.memory)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """Memory of a rank over the number of ranks, of the largest two models."""
        import seaborn as sns

        names = list(dict.fromkeys(table["model"]))[-2:]
        note = f"the line: {self.machine.memory / 2**30:g} GiB; {self.machine.rows} × {self.machine.length} tokens a rank"
        figure, axes = panels("Memory of the fullest rank under FSDP2", [f"{n}, GiB" for n in names], note, height=380)
        systems = dict.fromkeys(table["system"])
        dashes = {system: (2, 2) if system in ("BAdam", "signSGD") else "" for system in systems}  # over FRUGAL's, as long
        kind: dict[str, Any] = {
            "hue": "system",
            "style": "system",
            "palette": "colorblind",
            "dashes": dashes,
            "markers": ["o"] * len(systems),
        }
        for own, name in zip(axes, names, strict=False):
            part = table[table["model"] == name].assign(gib=lambda t: t["total"] / 2**30)
            legend: Any = "brief" if name == names[0] else False
            sns.lineplot(part, x="ranks", y="gib", **kind, ax=own, legend=legend, linewidth=2)
            own.axhline(self.machine.memory / 2**30, color="black", lw=0.8)
            own.set(xscale="log", yscale="log", xlabel="ranks", ylabel="")
            log_ticks(own.xaxis, 1.0, float(part["ranks"].max()) + 1.0)
            log_ticks(own.yaxis, float(part["gib"].min()), float(part["gib"].max()))
        axes[0].legend(frameon=False, fontsize=9)
        return {"scale": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """What holds the largest model up, by system."""
        largest = table[table["model"] == table["model"].iloc[-1]]
        parts = [f"{system} {_least(own)}" for system, own in largest.groupby("system", sort=False)]
        sentence = f"Ranks on which {largest['model'].iloc[0]} fits, of those planned: {'; '.join(parts)}. {_breaks(largest)}"
        return Answer(sentence, "open")


def _least(own: pd.DataFrame) -> str:
    fits = own[own["fits"]]
    return "none" if fits.empty else f"{int(fits['ranks'].min())} and more"


def _breaks(largest: pd.DataFrame) -> str:
    """The largest part of the fullest rank, and of the step, of what is worst at the most ranks."""
    last = largest[largest["ranks"] == largest["ranks"].max()]
    worst = last.loc[last["total"].idxmax()]
    parts = ("parameters", "gradients", "state", "unsharded", "temporaries", "activations")
    memory = max(parts, key=lambda part: worst[part])
    times = ("compute", "network", "gather", "optimizer", "refresh")
    slow = last.loc[last["step_seconds"].idxmax()]
    time = max(times, key=lambda part: slow[f"{part}_seconds"])
    return (
        f"On {int(worst['ranks']):,} ranks most memory is {worst['system']}'s, {worst['total'] / 2**30:.1f} GiB a rank, of "
        f"which {memory} {worst[memory] / 2**30:.1f}; the longest step is {slow['system']}'s, {slow['step_seconds']:.2f} s, of "
        f"which {time} {slow[f'{time}_seconds']:.2f}."
    )
