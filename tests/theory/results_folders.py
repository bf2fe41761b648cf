"""Results folders to report on, written by hand: SGD on one coordinate of a quadratic, in closed form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from frugal_theory.config.cells import label
from frugal_theory.premises.premise import Premise
from frugal_theory.report import write_report
from frugal_theory.report.figures import Figures, draw
from frugal_theory.results.read import read
from frugal_theory.verdicts.verdict import Verdict

EXPERIMENT = """
name = "demo"
[algorithm]
learning_rate = 0.02
density = 0.5
update_gap = 10
subspace = "coordinates"
state_full = { rule = "sgdm", beta = 0.9 }
state_free = { rule = "sgd" }
[problem]
kind = "quadratic"
dimension = 100
[noise]
kind = "gaussian"
sigma = 0.1
[simulation]
steps = 2000
trials = 256
[model]
preset = "llama-9m"
[training]
steps = 1000
learning_rate = 1e-3
"""

PREMISES = (
    Premise("P1", "smoothness: ‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖", True, "L = 1, the largest eigenvalue"),
    Premise("P6", "the selection does not look at the noise", True, "coordinates are drawn from the seed"),
)
FAILED = (
    PREMISES[0],
    Premise("P6", "the selection does not look at the noise", False, "svd looks at <the> gradient & its noise"),
)


def running_average(alpha: float, steps: int, sigma: float = 0.1) -> np.ndarray:
    """(1/k) Σ_{i≤k} E(gⁱ)² for SGD on f(x) = x²/2 from x¹ = 1: E(x²) contracts by (1 − α)² and gains α²σ² each step."""
    shrink, gain = (1 - alpha) ** 2, (alpha * sigma) ** 2
    powers = shrink ** np.arange(steps)
    squares = powers + gain * (1 - powers) / (1 - shrink)
    return np.cumsum(squares) / np.arange(1, steps + 1)


def sgd_bound(alpha: float, steps: int, sigma: float = 0.1) -> np.ndarray:
    """[Δ/(kα) + ασ²/2] / (1 − α/2) with L = 1, Δ = 1/2."""
    k = np.arange(1, steps + 1)
    return (0.5 / (k * alpha) + alpha * sigma**2 / 2) / (1 - alpha / 2)


def write_theory(directory: Path, alphas: tuple[float, ...] = (0.02,), steps: int = 2000, sweep: bool = False) -> list[dict]:
    """theory/ of a results folder: for each α evidence of two metrics and two sources, three bounds, four verdicts."""
    (directory / "theory").mkdir(parents=True)
    k = np.arange(1, steps + 1)
    evidence, bounds, records = [], [], []
    for alpha in alphas:
        cell = f"learning_rate = {alpha:g}" if sweep else ""
        settings = {"algorithm.learning_rate": alpha} if sweep else {}
        mean, bound = running_average(alpha, steps), sgd_bound(alpha, steps)
        weighted = mean * (0.55 + 0.3 / np.sqrt(k))
        for source, metric, values, spread in (
            ("monte_carlo", "squared_gradient_norm", mean, 0.06),
            ("exact", "squared_gradient_norm", mean, 0.0),
            ("monte_carlo", "weighted_squared_gradient_norm", weighted, 0.06),
        ):
            row = {"source": source, "metric": metric, "step": k, "mean": values, "lower": values * (1 - spread)}
            row |= {"upper": values * (1 + spread), "confidence": 0.99, "trials": 256 if spread else 1}
            evidence.append(pd.DataFrame(row).assign(cell=cell))
        for theorem, metric, values, explicit in (
            ("sgd", "squared_gradient_norm", bound, True),
            ("run_length", "weighted_squared_gradient_norm", 0.9 * bound, True),
            ("theorem_5_2", "squared_gradient_norm", 3.2 * bound, False),
        ):
            bounds.append(
                pd.DataFrame({"theorem": theorem, "metric": metric, "step": k, "bound": values}).assign(
                    explicit=explicit, cell=cell
                )
            )
        records += verdicts(alpha, settings, mean, weighted, bound)
    pd.concat(evidence).to_parquet(directory / "theory" / "evidence.parquet")
    pd.concat(bounds).to_parquet(directory / "theory" / "bounds.parquet")
    (directory / "theory" / "verdicts.json").write_text(json.dumps(records))
    return records


def verdicts(alpha: float, cell: dict, mean: np.ndarray, weighted: np.ndarray, bound: np.ndarray) -> list[dict]:
    """One verdict of each kind but "inconclusive", with the numbers of the horizon where measured / bound is largest."""

    def judged(theorem: str, status: str, values: np.ndarray, limit: np.ndarray, reason: str, **more: object) -> dict:
        at = int(np.argmax(values / limit))
        m, b = float(values[at]), float(limit[at])
        numbers = {"measured": m, "bound": b, "margin": b - m, "tightness": m / b, "lower": 0.94 * m, "upper": 1.06 * m}
        common = {"step": at + 1, "confidence": 0.99, "source": "monte_carlo", "trials": 256, "learning_rate": alpha}
        return Verdict(
            theorem, status, reason, premises=PREMISES, cell=cell, label=label(cell), **numbers, **common, **more
        ).record()

    tight = float((mean / (3.2 * bound)).max())
    return [
        judged("sgd", "holds", mean, bound, "the bound is above the band at every step", largest_step=2.0),
        judged(
            "run_length", "holds", weighted, 0.9 * bound, "holds with margin: tightness < 1 & explicit", largest_step=0.0643
        ),
        judged(
            "theorem_5_2",
            "shape only",
            mean,
            3.2 * bound,
            "its constant hides in O(·): the implied one is small",
            implied_constant=tight,
        ),
        Verdict(
            "signsgd",
            "not applicable",
            f"the rule is <sgd>, not signsgd (α = {alpha:g})",
            premises=FAILED,
            cell=cell,
            label=label(cell),
        ).record(),
    ]


def write_training(directory: Path, steps: int = 1000, until: int | None = None) -> None:
    """training/ of a results folder, finished unless it stops at ``until``."""
    (directory / "training").mkdir(parents=True)
    generator = np.random.default_rng(0)
    last = steps if until is None else until
    lines = [{"step": 0, "validation_loss": 8.32, "validation_perplexity": float(np.exp(8.32))}]
    for step in range(1, last + 1):
        loss = 4.05 + 4.27 * step**-0.55 + 0.06 * generator.standard_normal()
        square = 0.08 + 6 / step + 0.03 * generator.exponential()
        lines.append(
            {
                "step": step,
                "loss": loss,
                "learning_rate": 1e-3,
                "squared_gradient_norm": square,
                "tokens": 4096 * step,
                "seconds": step / 3,
            }
        )
        if step % 50 == 0:
            validation = 4.1143 + 4.1 * (step**-0.55 - steps**-0.55)
            lines.append({"step": step, "validation_loss": validation, "validation_perplexity": float(np.exp(validation))})
    (directory / "training" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if until is None:
        summary = {"unigram_perplexity": 389.2, "initial_validation_perplexity": 4105.1, "final_validation_perplexity": 61.21}
        summary |= {"parameters": 9_200_000, "steps": steps, "tokens": 4096 * steps, "seconds": 742.0, "device": "cpu"}
        summary |= {"precision": "float32", "optimizer_state_bytes": 24_500_000, "adamw_state_bytes": 73_600_000}
        (directory / "training" / "summary.json").write_text(json.dumps(summary))


def write_ladder(directory: Path, label: str = "a cell", status: str = "below") -> dict:
    """ladder.json and ladder.parquet: three rungs of one cell, one of them with an interval; the fourth is missing."""
    k, names = np.arange(1, 6), ["monte_carlo", "exact", "sgdm", "worst_case"]
    means = {"monte_carlo": 1 / k, "exact": 1 / k, "sgdm": 3 / k}
    curves = [
        pd.DataFrame({"cell": label, "rung": name, "step": k, "value": m, "lower": m * (1 - w), "upper": m * (1 + w)})
        for (name, m), w in zip(means.items(), (0.1, 0, 0), strict=True)
    ]
    pd.concat(curves).to_parquet(directory / "ladder.parquet")
    last = {line["rung"][0]: line.iloc[-1] for line in curves}
    facts = {"metric": "squared_gradient_norm", "source": "a <source>", "noise_free": True, "constant": None}
    rungs = []
    for name in names:
        ends = {key: float(last[name][key]) if name in last else None for key in ("value", "lower", "upper")}
        missing = "" if name in last else "the solvers are missing"
        rungs.append({"name": name, "title": name, "how": f"how {name} is known", "missing": missing, **facts, **ends})
    links = [("monte_carlo", "exact", "equal", 1.0), ("exact", "sgdm", status, 1 / 3)]
    comparisons = [
        {"lower": a, "upper": b, "status": s, "ratio": r, "largest": r, "step": 5, "reason": f"{a} is {s} & {b}."}
        for a, b, s, r in links
    ]
    record = {"label": label, "cell": {}, "metric": "squared_gradient_norm", "steps": 5, "learning_rate": 0.1}
    record |= {"confidence": 0.99, "in_order": status == "below", "sentence": f"it is {status}"}
    record |= {"rungs": rungs, "comparisons": comparisons}
    text = (directory / "experiment.toml").read_text()
    (directory / "ladder.json").write_text(json.dumps({"experiment": text, "ladders": [record]}))
    return record


class Page(HTMLParser):
    """What a browser would fetch or show: addresses in attributes, the text that is not script or style, and the ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self._unseen = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._unseen = tag in ("script", "style")
        for name, value in attrs:
            if name.split(":")[-1] in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._unseen &= tag not in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._unseen else data


def page_of(directory: Path) -> tuple[str, Page]:
    text = write_report(directory).read_text(encoding="utf-8")
    return text, Page(text)


@dataclass(frozen=True)
class Rendered:
    """A folder whose report has been written, its page, and the figures on it."""

    folder: Path
    records: list[dict]
    text: str
    page: Page
    figures: Figures


def rendered(directory: Path) -> Rendered:
    """The report of a sweep of two cells and of a training run, written once and looked at by many tests."""
    records = write_theory(directory, (0.02, 0.05), sweep=True)
    write_training(directory)
    text, page = page_of(directory)
    return Rendered(directory, records, text, page, draw(read(directory)))


def write_study(directory: Path, name: str = "momentum", status: str = "no", rows: int = 30) -> dict:
    """study.json, table.csv and a figure, as a study leaves them in its folder."""
    (directory / "figures").mkdir(parents=True)
    record = {"name": name, "question": f"Does {name} help & how?", "answer": "It <never> does.", "status": status}
    (directory / "study.json").write_text(json.dumps({**record, "seconds": 1.5}))
    table = pd.DataFrame({"beta": np.linspace(0, 1, rows), "verdict": "<b>", "missing": np.nan, "count": range(rows)})
    table.to_csv(directory / "table.csv", index=False)
    (directory / "figures" / "curve.png").write_bytes(b"\x89PNG not really")
    return record
