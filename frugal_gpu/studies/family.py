"""All systems on the same small model and the same tokens: loss at equal steps, and at equal bytes of state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from frugal_gpu.model.llama import Shape, build_model
from frugal_gpu.optim.frugal import Frugal
from frugal_gpu.optim.state import state_bytes_held
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SYSTEMS
from frugal_theory.report.drawing import COLOURS
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Family", "settings_of"]

SHAPE = Shape(hidden_size=32, intermediate_size=88, layers=4, heads=2, vocabulary=64)
BATCH, LENGTH = 16, 32
DENSITIES = (0.125, 0.25, 0.5)
FACTORS = (1.0, 3.0, 10.0)
"""Of the system's own learning rate: a model this small takes larger steps. The best of them is each system's."""
LAST = 0.2
"""The share of the steps, at the end, whose mean loss is a run's."""
PLOTTED = ("adamw", "frugal", "galore", "badam", "fira", "signsgd")
"""Systems of the paper's table, in colour; the others are grey."""


def settings_of(steps: int) -> list[tuple[str, dict[str, Any]]]:
    """Every system, those with a density at several: refreshes and warm-ups are shortened to the run."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name in SYSTEMS:
        system = SYSTEMS[name]
        keys: dict[str, Any] = {}
        allowed = system.allowed or tuple(Algorithm.model_fields)
        if "update_gap" in allowed:
            keys["update_gap"] = max(1, steps // 8)
        warm = max(1, steps // 10)
        if name.startswith("adalayer-"):
            keys |= {"norms": {"warm": warm}, "output": {"warm": warm}}
            keys |= {"state_full": {"warm": warm}} if name.endswith("sgdm") else {"state_free": {"after": warm}}
        if name == "ldadam":
            keys["state_full"] = {"rank": SHAPE.hidden_size // 4}
        densities = DENSITIES if "density" in allowed and "rank" not in system.defaults else (None,)
        found += [(name, keys if density is None else {**keys, "density": density}) for density in densities]
    return found


@dataclass(frozen=True)
class Family:
    """``systems``, ``densities``: those that take part; all by default. A row a step of each setting's best learning rate."""

    steps: int = 160
    seed: int = 0
    systems: tuple[str, ...] = ()
    densities: tuple[float, ...] = DENSITIES

    name = "family"
    question = "Does a system of this family reach AdamW's loss, after the same steps, with less state?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``system``, ``density`` (NaN where there is none), ``learning_rate``, ``edge`` (whether that is an end of what
        was tried), ``state_bytes`` (the most that was held), ``step`` and ``loss``."""
        import pandas as pd

        taking_part = [one for one in settings_of(self.steps) if not self.systems or one[0] in self.systems]
        chosen = [(name, keys) for name, keys in taking_part if keys.get("density", self.densities[0]) in self.densities]
        tables = run.kept({f"{self.steps} {self.seed} {n} {keys}": partial(self._best, n, keys) for n, keys in chosen})
        return pd.concat(tables, ignore_index=True)

    def _best(self, name: str, keys: dict[str, Any]) -> pd.DataFrame:
        """The rows of one setting, at the learning rate with the least loss in the end."""
        import pandas as pd

        runs = [self._trained(name, keys, factor) for factor in FACTORS]
        scores = [score if math.isfinite(score := _score(losses)) else math.inf for _, losses, _ in runs]
        best = int(np.argmin(scores))
        rate, losses, held = runs[best]
        setting = {"system": name, "density": keys.get("density", math.nan), "learning_rate": rate}
        edge = best in (0, len(FACTORS) - 1)
        return pd.DataFrame({**setting, "edge": edge, "state_bytes": held, "step": range(1, self.steps + 1), "loss": losses})

    def _trained(self, name: str, keys: dict[str, Any], factor: float) -> tuple[float, list[float], int]:
        """The learning rate, the loss before every step, and the most bytes of state that were held."""
        own = cast(float, Algorithm.model_validate({"system": name}).learning_rate)
        algorithm = Algorithm.model_validate({"system": name, **keys, "learning_rate": factor * own, "seed": self.seed})
        rng = np.random.default_rng(self.seed)
        chain = _chain(rng)
        torch.manual_seed(self.seed)
        model = build_model(SHAPE, LENGTH)
        optimizer, losses, held = Frugal.from_config(model, algorithm), [], 0
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = factor * own * min(1.0, 10 * (1 - step / self.steps)) * min(1.0, (step + 1) / 10)
            tokens = torch.from_numpy(_tokens(chain, rng))
            logits = model(input_ids=tokens[:, :-1]).logits
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                return factor * own, losses + [math.nan] * (self.steps - len(losses)), held
            optimizer.step()
            held = max(held, state_bytes_held(optimizer))
        return factor * own, losses, held

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """Left: loss by step of the systems of the paper's table; right: final loss over the state's bytes, all of them."""
        import seaborn as sns

        scores = final(table)
        title = "Loss and state of every system, on one small model"
        note = f"a Markov chain of 64 tokens, entropy {floor(self.seed):.3f} (dotted); the best of three learning rates each"
        subtitles = ["training loss by step, density ¼", "final loss over KiB of state; a line joins densities"]
        figure, (left, right) = panels(title, subtitles, note, height=470, right=120)
        kept = [name for name in PLOTTED if name in set(table["system"])]
        colours = dict(zip(kept, sns.color_palette("colorblind", len(kept)), strict=True))
        curves = table[table["system"].isin(kept) & (table["density"].isna() | (table["density"] == 0.25))].copy()
        curves["loss"] = curves.groupby("system")["loss"].transform(lambda losses: losses.rolling(8, min_periods=1).mean())
        sns.lineplot(curves, x="step", y="loss", hue="system", palette=colours, ax=left, legend=False, errorbar=None)
        scores = scores.assign(kib=scores["state_bytes"] / 1024)
        for name, own in scores.groupby("system", sort=False):
            colour = colours.get(name, COLOURS["quiet"])
            right.plot(own["kib"], own["loss"], "o-", color=colour, lw=1, ms=4.5, alpha=1 if name in colours else 0.6)
        for axes in (left, right):
            axes.axhline(floor(self.seed), color=COLOURS["ink"], lw=1, ls=":", zorder=0)
            axes.set(xlabel="", ylabel="")
            axes.margins(x=0.02)
        ends = scores.sort_values("kib").groupby("system").last()
        _named(left, curves.groupby("system").last()["loss"].to_dict(), dict.fromkeys(kept, float(self.steps)), colours)
        _named(right, ends["loss"].to_dict(), ends["kib"].to_dict(), colours)
        return {"family": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if the best system that holds less state than AdamW has no larger final loss; and the best at equal bytes."""
        scores = final(table)
        adamw = scores[scores["system"] == "adamw"]
        if adamw.empty:
            return Answer("AdamW did not take part.", "open")
        loss, bytes_ = float(adamw["loss"].iloc[0]), float(adamw["state_bytes"].iloc[0])
        parts = []
        for share in (0.25, 0.5, 0.75):
            within = scores[scores["state_bytes"] <= share * bytes_]
            if not within.empty:
                best = within.loc[within["loss"].idxmin()]
                parts.append(f"within {share:.0%} of AdamW's state {best['system']} ({best['loss']:.3f})")
        less = scores[scores["state_bytes"] < bytes_]
        if less.empty:
            return Answer("No system with less state took part.", "open")
        best = less.loc[less["loss"].idxmin()]
        sentence = (
            f"After {self.steps} steps AdamW's loss is {loss:.3f}; the least with less state is {best['system']}'s, "
            f"{best['loss']:.3f}, with {best['state_bytes'] / bytes_:.0%} of the bytes; "
            f"{'; '.join(parts) or 'none holds 75 % or less'}."
        )
        return Answer(sentence, "yes" if best["loss"] <= loss else "no")


def final(table: pd.DataFrame) -> pd.DataFrame:
    """A row a setting: ``system``, ``density``, ``learning_rate``, ``edge``, ``state_bytes`` and ``loss``, the mean over the
    last steps."""
    late = table[table["step"] > (1 - LAST) * table["step"].max()]
    keys = ["system", "density", "learning_rate", "edge", "state_bytes"]
    return late.groupby(keys, sort=False, dropna=False)["loss"].mean().reset_index()


def floor(seed: int) -> float:
    """The least expected loss of the text: the entropy of the next token, in nats, averaged over the places of a sequence."""
    chances = np.diff(_chain(np.random.default_rng(seed)), axis=1, prepend=0.0)
    entropy = -(chances * np.log(chances)).sum(axis=1)
    here, found = np.full(SHAPE.vocabulary, 1 / SHAPE.vocabulary), 0.0
    for _ in range(LENGTH):
        found += float(here @ entropy) / LENGTH
        here = here @ chances
    return found


def _named(axes: Any, heights: dict[str, float], places: dict[str, float], colours: dict[str, Any]) -> None:
    """Names in a column right of the axes, in the order of heights and as far apart as a line is high, joined to points."""
    from scipy.optimize import isotonic_regression

    low, high = axes.get_ylim()
    gap, x = (high - low) / 25, axes.get_xlim()[1]
    names = sorted(heights, key=heights.__getitem__)
    apart = gap * np.arange(len(names))
    rows = isotonic_regression([heights[name] for name in names] - apart).x + apart  # nearest to the points
    for name, row in zip(names, rows, strict=True):
        colour = colours.get(name, COLOURS["quiet"])
        axes.plot([places[name], x], [heights[name], row], color=COLOURS["faint"], lw=0.6, clip_on=False, zorder=0)
        axes.text(x, row, f" {name}", fontsize=8.5, va="center", color=colour, clip_on=False)
    axes.set_ylim(low, high)


def _score(losses: list[float]) -> float:
    return float(np.mean(losses[int((1 - LAST) * len(losses)) :]))


def _chain(rng: np.random.Generator) -> np.ndarray:
    """Cumulative transition probabilities of a Markov chain whose entropy is well below that of uniform tokens."""
    weights = np.exp(2.0 * rng.standard_normal((SHAPE.vocabulary, SHAPE.vocabulary)))
    return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)


def _tokens(chain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A batch of sequences, shape (BATCH, LENGTH + 1)."""
    found = np.empty((BATCH, LENGTH + 1), dtype=np.int64)
    found[:, 0] = rng.integers(SHAPE.vocabulary, size=BATCH)
    for k in range(LENGTH):
        draw = rng.uniform(size=(BATCH, 1))
        found[:, k + 1] = np.minimum((chain[found[:, k]] < draw).sum(axis=1), SHAPE.vocabulary - 1)
    return found
