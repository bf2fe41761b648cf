"""Loss of a LLaMA-tiny under exact and randomised singular vectors. A table of docs/benchmarks.md.

``python -m benchmarks projector``, three minutes of one core. The same text, start and learning rates; three seeds each, which
draw the text's order, the model's start and the randomised starts. A random basis stands beside the two: what there is to lose.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

import frugal_theory as ft
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_theory.studies.study import Answer, Run

VARIANTS = {
    "exact": {"subspace": "svd"},
    "randomised": {"subspace": "svd", "projector": "randomised"},
    "random basis": {"subspace": "random"},
}
SEEDS = (0, 1, 2)
STEPS, EVERY = 160, 40

TABLES = {
    "algorithm": {"density": 0.25, "update_gap": 20},
    "model": {"preset": "llama-tiny", "layers": 2},
    "data": {"source": "markov"},
    "training": {
        "steps": STEPS,
        "batch_size": 8,
        "sequence_length": 64,
        "learning_rate": 3e-3,
        "evaluate_every": EVERY,
        "evaluation_tokens": 4096,
        "keep_best": False,
        "device": "cpu",
        "threads": 1,
    },
}


class Projector:
    """``projector``, ``seed``, ``step`` and ``loss``, in nats a token of the validation text."""

    name = "projector"
    question = "Is the loss under randomised singular vectors that under exact ones, within the spread of seeds?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        rows = []
        for done, (name, seed) in enumerate([(name, seed) for seed in SEEDS for name in VARIANTS]):
            tables = {**TABLES, "algorithm": {**TABLES["algorithm"], **VARIANTS[name]}}
            with tempfile.TemporaryDirectory() as folder:
                train(ft.parse({"name": "projector", "seed": seed, **tables}), Path(folder))
                lines = read_metrics(Path(folder) / "metrics.jsonl")
            found = [line for line in lines if "validation_loss" in line and line["step"]]
            rows += [(name, seed, line["step"], line["validation_loss"]) for line in found]
            run.progress(done + 1, len(SEEDS) * len(VARIANTS))
        table = pd.DataFrame(rows, columns=["projector", "seed", "step", "loss"])
        means = table.groupby(["step", "projector"])["loss"].mean().unstack()[list(VARIANTS)]
        means["spread of seeds"] = table[table["projector"] == "exact"].groupby("step")["loss"].std()
        apart = table.pivot_table("loss", ["step", "seed"], "projector")
        means["randomised - exact, most"] = (apart["randomised"] - apart["exact"]).abs().groupby("step").max()
        return means.reset_index()

    def draw(self, _: pd.DataFrame) -> dict[str, object]:
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        last = table.iloc[-1]
        between = abs(last["randomised"] - last["exact"])
        sentence = (
            f"After {last['step']:.0f} steps the mean loss is {last['exact']:.4f} under exact singular vectors and "
            f"{last['randomised']:.4f} under randomised ones; seeds are {last['spread of seeds']:.4f} apart."
        )
        return Answer(sentence, "yes" if between <= last["spread of seeds"] else "no")


STUDY = Projector()
