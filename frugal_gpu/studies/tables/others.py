"""The studies that are no table of losses: learning rates (from the runs that tuned them), angles, memory, time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frugal_gpu.studies.tables.recipes import FACTORS, SETTINGS, Size, experiment
from frugal_gpu.studies.tables.study import Runs, tuned
from frugal_theory.config import Algorithm
from frugal_theory.report.drawing import log_ticks
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Angles", "MemoryBySize", "Rates", "TimeBySize"]

SYSTEMS = ("AdamW", "FRUGAL ρ = ¼", "FRUGAL ρ = 0", "GaLore", "BAdam", "signSGD", "AdaMeM", "AdaLayer's signSGD")

STATE = {
    "AdamW": (0.43, 1.00, 2.74, 9.98),
    "FRUGAL ρ = ¼": (0.29, 0.52, 1.05, 3.23),
    "FRUGAL ρ = 0": (0.24, 0.37, 0.49, 0.98),
}
"""GiB of optimizer state in float32, as reported for these models (Zmushko et al., Table 2)."""

PRESETS = ("llama-60m", "llama-130m", "llama-350m", "llama-1b")


@dataclass(frozen=True)
class Rates:
    """How the loss of every system depends on its learning rate: the runs that tuned it."""

    size: Size
    runs: Runs

    name = "learning-rates"
    question = "How much does a learning rate off by a factor of three cost each system?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``setting``, ``factor`` of the system's own rate, ``learning_rate``, ``loss`` (NaN: diverged), seed 0."""
        import pandas as pd

        found = []
        for done, name in enumerate(SYSTEMS):
            run.progress(done, len(SYSTEMS))
            own: Any = Algorithm.model_validate(SETTINGS[name].algorithm).learning_rate
            for factor, loss in zip(FACTORS, tuned(SETTINGS[name], self.size, self.runs).losses, strict=True):
                rate = {"setting": name, "factor": factor, "learning_rate": factor * own}
                found.append({**rate, "loss": math.nan if loss is None else loss})
        return pd.DataFrame(found)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A line a system."""
        import seaborn as sns

        note = f"one seed, {self.size.tokens:,} tokens, {self.size.name} size; what diverged is left out"
        figure, (axes,) = panels("Sensitivity to the learning rate", ["validation loss over learning rate"], note, height=400)
        sns.lineplot(table, x="learning_rate", y="loss", hue="setting", palette="colorblind", marker="o", ax=axes)
        axes.set(xscale="log", xlabel="", ylabel="")
        log_ticks(axes.xaxis, float(table["learning_rate"].min()), float(table["learning_rate"].max()))
        axes.legend(frameon=False, fontsize=9.5)
        return {self.name: figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """The cost of the neighbours of the best rate, by system."""
        parts = []
        for name, own in table.groupby("setting", sort=False):
            losses = own.sort_values("factor").reset_index(drop=True)["loss"]
            best = int(losses.idxmin())
            beside = [losses[k] - losses[best] for k in (best - 1, best + 1) if 0 <= k < len(losses)]
            cost = max((x for x in beside if math.isfinite(x)), default=math.nan)
            edge = ", at an end of the grid" if best in (0, len(losses) - 1) else ""
            parts.append(f"{name} {cost:.3f} (best at × {own.sort_values('factor')['factor'].iloc[best]:g}{edge})")
        return Answer(f"The worse neighbour of the best rate costs, in nats on one seed: {'; '.join(parts)}.", "open")


@dataclass(frozen=True)
class Angles:
    """The paper's figure 2: how the leading subspaces of the gradient turn."""

    size: Size
    runs: Runs

    name = "figure-2"
    question = "Do the leading directions of the gradient stay from one update gap to the next?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``step``, ``tensor``, ``cosine`` (mean of the principal angles' cosines, to the measurement before), ``first`` (to
        the first one), ``random`` (the mean squared cosine of unrelated subspaces), ``inside`` (the energy that it keeps)."""
        import pandas as pd

        run.say("angles")
        setting = SETTINGS["AdamW, angles"]
        best = tuned(setting, self.size, self.runs)
        row = self.runs.get(experiment(setting, self.size, 0, best.choice, best.rate), setting.name)
        found = []
        for line in row["angles"]:
            for key, value in line.items():
                if key.startswith("angles.cosine of "):
                    tensor = key.removeprefix("angles.cosine of ")
                    more = {name: line[f"angles.{name} of {tensor}"] for name in ("first", "random", "inside")}
                    found.append({"step": line["step"], "tensor": tensor, "cosine": value, **more})
        return pd.DataFrame(found, columns=["step", "tensor", "cosine", "first", "random", "inside"])

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """By kind of matrix: to the measurement before, and to the first one."""
        import seaborn as sns

        drawn = table.assign(kind=table["tensor"].map(_kind))
        titles = ["mean cosine to the subspace before", "mean cosine to the first subspace"]
        note = "a quarter of the directions; mean over the matrices of a kind; unrelated subspaces have about a half"
        figure, axes = panels("Principal angles of the gradient's leading subspaces (figure 2)", titles, note, height=400)
        for own, column in zip(axes, ("cosine", "first"), strict=True):
            legend: Any = "brief" if column == "cosine" else False
            sns.lineplot(drawn, x="step", y=column, hue="kind", palette="colorblind", ax=own, legend=legend, errorbar=None)
            own.set(xlabel="", ylabel="", ylim=(0, 1))
        axes[0].legend(frameon=False, fontsize=9)
        return {self.name: figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Mean cosine and kept energy, beside those of unrelated subspaces."""
        mean = table[["cosine", "first", "random", "inside"]].mean()
        sentence = (
            f"The leading quarter of directions has a mean cosine of {mean['cosine']:.2f} to that of the update gap before and "
            f"{mean['first']:.2f} to the first one; the older one keeps {100 * mean['inside']:.0f} % of the gradient's energy, "
            f"where an unrelated one would keep {100 * mean['random']:.0f} %."
        )
        return Answer(sentence, "yes" if mean["inside"] > 2 * mean["random"] else "no")


class MemoryBySize:
    """The answer's table 5′: the state of AdamW and FRUGAL by size of the model, from shapes alone."""

    name = "table-5-prime"
    question = "Is the state as large as reported?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``preset``, ``setting``, ``state_bytes``, ``reported`` in GiB."""
        import pandas as pd

        from frugal_gpu.model.llama import SHAPES, meta_model
        from frugal_gpu.studies.memory import memory_of

        found = []
        for done, preset in enumerate(PRESETS):
            run.progress(done, len(PRESETS))
            model = meta_model(SHAPES[preset])
            for name, reported in STATE.items():
                state = memory_of(model, Algorithm.model_validate(SETTINGS[name].algorithm)).state
                found.append({"preset": preset, "setting": name, "state_bytes": state, "reported": reported[done]})
        return pd.DataFrame(found)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """GiB over parameters."""
        import seaborn as sns

        note = "crosses: as reported by the paper"
        figure, (axes,) = panels("State of the optimizer by size", ["GiB, float32"], note, height=360)
        drawn = table.assign(gib=table["state_bytes"] / 2**30)
        sns.lineplot(drawn, x="preset", y="gib", hue="setting", palette="colorblind", marker="o", ax=axes)
        axes.plot(drawn["preset"], drawn["reported"], "x", color="black")
        axes.set(yscale="log", xlabel="", ylabel="")
        log_ticks(axes.yaxis, float(drawn["gib"].min()), float(drawn["gib"].max()))
        axes.legend(frameon=False, fontsize=9.5)
        return {self.name: figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """The largest relative difference from what was reported."""
        relative = (table["state_bytes"] / 2**30 / table["reported"] - 1).abs()
        worst = table.loc[relative.idxmax()]
        sentence = (
            f"The state differs from the reported one by at most {100 * relative.max():.1f} %, at {worst['preset']}, "
            f"{worst['setting']}: {worst['state_bytes'] / 2**30:.2f} GiB against {worst['reported']:.2f}."
        )
        return Answer(sentence, "yes" if relative.max() < 0.05 else "no")


@dataclass(frozen=True)
class TimeBySize:
    """The answer's table 7′: the time of an optimizer step by size, over torch's fused AdamW's in the same rounds."""

    presets: tuple[str, ...] = ("llama-tiny", "llama-9m")
    rounds: int = 10

    name = "table-7-prime"
    question = "Is an optimizer step of FRUGAL on blocks faster than one of GaLore?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``preset``, ``optimizer``, ``milliseconds`` (median), ``ratio`` to fused AdamW, ``refresh`` (a step into a new
        subspace over an ordinary one)."""
        import pandas as pd
        import torch

        from frugal_gpu.model.llama import SHAPES
        from frugal_gpu.studies.bench import bench, variants

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        found = []
        for done, preset in enumerate(self.presets):
            run.progress(done, len(self.presets))
            for timing in bench(SHAPES[preset], variants(0.25), self.rounds, device):
                numbers = {"milliseconds": 1e3 * timing.seconds, "ratio": timing.ratio, "refresh": timing.refresh}
                found.append({"preset": preset, "optimizer": timing.name, **numbers})
        return pd.DataFrame(found)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A line an optimizer, its ratio at every size."""
        import seaborn as sns

        names = list(dict.fromkeys(table["optimizer"]))
        note = "ordinary steps; further left is faster"
        title = ["over torch's fused AdamW"]
        figure, (axes,) = panels("Time of an optimizer step", title, note, left=250, height=150 + 24 * len(names))
        sns.scatterplot(table, x="ratio", y="optimizer", hue="preset", style="preset", palette="colorblind", s=70, ax=axes)
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xscale="log", xlabel="", ylabel="")
        log_ticks(axes.xaxis, float(table["ratio"].min()), float(table["ratio"].max()))
        axes.legend(frameon=False, fontsize=9.5)
        return {self.name: figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """At the largest size, refreshes of every 200 steps included."""
        largest = table[table["preset"] == table["preset"].iloc[-1]].set_index("optimizer")
        cost = largest["ratio"] * (199 + largest["refresh"].fillna(1.0)) / 200
        blocks, galore = float(cost["FRUGAL blocks, signsgd"]), float(cost["GaLore (svd, none)"])
        sentence = (
            f"At {table['preset'].iloc[-1]}, T = 200, a step of FRUGAL on blocks takes {blocks:.2f} times as long as fused "
            f"AdamW's and one of GaLore {galore:.2f} times (reported, 1B on an A100, by APOLLO: .036 s AdamW, .371 s GaLore)."
        )
        return Answer(sentence, "yes" if blocks < galore else "no")


def _kind(tensor: str) -> str:
    """The part of a parameter's name that says what it is."""
    return tensor.removesuffix(".weight").rsplit(".", 1)[-1]
