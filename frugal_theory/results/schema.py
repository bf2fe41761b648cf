"""What lies in a run's folder: every file with its columns or keys and what they mean. It is written and read through this.

A folder, runs/NAME, holds what has been run of one experiment::

    experiment.toml                        the experiment as resolved, every default spelled out
    theory/evidence.parquet  bounds.parquet  verdicts.json  figures/       frugal-theory verify
    training/metrics.jsonl  summary.json  evidence.parquet  checkpoints/   frugal-gpu train; a sweep's: training/CELL/
    training/constants.json  verdicts.json                                 what its probes measured
    training/diverged.json                                                 of a run that did
    ladder.json  ladder.parquet                                            frugal-theory ladder
    study.json  table.csv  figures/                                        a study; also in studies/NAME/
    report.html                                                            frugal-theory report
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frugal_theory.config.cells import Cell

__all__ = [
    "BOUNDS",
    "CONSTANTS",
    "DIVERGED",
    "EVIDENCE",
    "EXPERIMENT",
    "LADDER",
    "LADDERS",
    "METRICS",
    "PRACTICE_VERDICTS",
    "STUDY",
    "SUMMARY",
    "TRAINING_EVIDENCE",
    "VERDICTS",
    "File",
    "settings_columns",
]


@dataclass(frozen=True)
class File:
    """A file: where it lies in the run's folder, and what its columns or keys mean. Those of ``optional`` may be missing."""

    path: str
    columns: Mapping[str, str]
    optional: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        """The columns that no reader can do without."""
        return [name for name in self.columns if name not in self.optional]


EXPERIMENT = "experiment.toml"

_CELL = {"cell": "the sweep's cell in words, or empty; beside it a column for every swept key, such as algorithm.density"}
_STEP = {"step": "horizon k, 1-based"}
_INTERVAL = {"lower": "lower end of the interval", "upper": "upper end; equal ends: exact, or one run"}

EVIDENCE = File(
    "theory/evidence.parquet",
    {
        "source": "monte_carlo, exact or worst_case",
        "metric": "the metric's name",
        **_STEP,
        "mean": "the metric, averaged over steps 1 to k and over the trials",
        **_INTERVAL,
        **_CELL,
        "confidence": "with which each single interval covers the expectation",
        "trials": "how many were averaged; 1 where nothing is random",
    },
    optional=("cell", "confidence", "trials"),
)
BOUNDS = File(
    "theory/bounds.parquet",
    {
        **_CELL,
        "theorem": "the theorem's name",
        "metric": "the metric that it bounds",
        **_STEP,
        "bound": "its bound of the average over steps 1 to k",
        "explicit": "false: up to a constant that the theorem hides",
    },
    optional=("cell",),
)
VERDICTS = File(
    "theory/verdicts.json",
    {
        "theorem": "the theorem's name",
        "status": "a key of frugal_theory.verdicts.status.STATUSES",
        "reason": "why, in one sentence",
        "measured": "the metric at the horizon that speaks",
        "bound": "the bound there",
        "margin": "bound − measured",
        "tightness": "measured / bound",
        "lower": "lower end of the interval there",
        "upper": "upper end",
        "step": "that horizon",
        "confidence": "of all verdicts of the experiment together",
        "source": "of the evidence",
        "metric": "the metric's name",
        "trials": "how many were averaged",
        "trials_needed": "how many would settle an inconclusive verdict, about",
        "learning_rate": "α in numbers",
        "largest_step": "the largest α that the theorem admits",
        "implied_constant": "the smallest constant with which a shape would hold here",
        "premises": "each with name, statement, held, how",
        "cell": "the settings of the sweep's cell, by key",
        "label": "the same in words",
    },
    optional=("label",),
)
METRICS = File(
    "training/metrics.jsonl",
    {
        "step": "optimizer steps so far; a line is of training or of an evaluation",
        "loss": "cross-entropy per token of the mini-batch",
        "learning_rate": "of this step",
        "squared_gradient_norm": "of the mini-batch gradient, before clipping",
        "density": "of the split parameters in this step",
        "update_gap": "T at this step, where the algorithm has a schedule of it or of the density",
        "tokens": "seen so far",
        "seconds": "of training so far",
        "tokens_per_second": "of this step",
        "peak_memory_bytes": "that the main process has held so far, on the GPU or of its own",
        "validation_loss": "cross-entropy per token of the validation text",
        "validation_perplexity": "its exponential; of a task instead its metrics, such as validation_accuracy",
        "probes": "what probes measured at this step, by kind.number",
        "intervals": "by group of probes the first and the last step of the interval that this step was drawn from",
        "probe_seconds": "what measuring took at this step; it is part of seconds",
        "skipped": "what of this step was not finite, loss or gradient, so that it was left out; it has no loss then",
    },
    optional=(
        "probes",
        "intervals",
        "probe_seconds",
        "skipped",
        "loss",
        "tokens_per_second",
        "peak_memory_bytes",
        "learning_rate",
        "squared_gradient_norm",
        "density",
        "update_gap",
        "tokens",
        "seconds",
        "validation_loss",
        "validation_perplexity",
    ),
)
TRAINING_EVIDENCE = File(
    "training/evidence.parquet",
    {
        "source": "training",
        "metric": "squared_gradient_norm, of the mini-batch gradients: it contains their noise; "
        "squared_gradient_norm of f, as probes measured it: without that noise, at the ends of their intervals",
        **_STEP,
        "mean": "its average over steps 1 to k of this one run",
        **_INTERVAL,
    },
)
CONSTANTS = File(
    "training/constants.json",
    {
        "smoothness": "L along the path, at least: value, lower, upper, kind, source",
        "gap": "Δ = f(x¹) − f*, at most, likewise",
        "variance": "Σ_j σ_j² by tensor, at least: the largest of the path; total, and the average over the path",
        "shapes": "of the tensors",
        "law": "of the momentum set: its name, and the share by tensor",
        "learning_rate": "α of the first step",
        "steps": "of the run",
        "stretch": "the first steps, of constant α, that are judged",
        "observed": "averages over the stretch: value, lower, upper, excess, allowance, by metric",
        "premises": "each with name, statement, held, how",
        "obstacle": "why no theorem speaks of the run, or null",
        "noise": "kurtosis and squared skewness of the gradient's noise, and which premise they break",
        "descent": "with which L the descent inequality holds, step by step",
        "hessian": "the ends of the Hessian's spectrum along the path",
        "angles": "mean cosines of principal angles between gradient subspaces",
        "measurements": "how many there are of the gradient",
    },
    optional=("law", "obstacle", "noise", "descent", "hessian", "angles", "measurements"),
)
PRACTICE_VERDICTS = File(
    "training/verdicts.json",
    {
        **VERDICTS.columns,
        "halved": "the bound with a constant halved, by constant",
        "dominant": "the constant whose halving takes most off the bound",
        "refuted_above": "what the average of a single run would have to exceed",
    },
    optional=("label", "halved", "dominant", "refuted_above"),
)
SUMMARY = File(
    "training/summary.json",
    {
        "steps": "the run's; the file is there when the run is complete",
        "parameters": "of the model",
        "vocabulary": "of the tokenizer",
        "tokens": "seen in training",
        "unigram_perplexity": "what the token frequencies alone reach",
        "initial_validation_perplexity": "before the first step",
        "final_validation_perplexity": "after the last",
        "best_validation_perplexity": "of all evaluations; of a task instead these of its loss and its metrics",
        "task": "that the run was fine-tuned on",
        "others": "the metrics of its further parts at the end, by part and name",
        "optimizer_state_bytes": "what the optimizer holds",
        "adamw_state_bytes": "what AdamW would hold",
        "seconds": "of training",
        "probe_seconds": "of them, what probes took",
        "probe_share": "the same as a share of the seconds",
        "probe_measurements": "how many there are, by group of probes",
        "probe_notice": "what their cost did not allow",
        "tokens_per_second": "of the run as a whole",
        "flops_per_token": "of forward and backward, 6N + 12·L·h·T",
        "mfu": "their share of the device's peak; null where that is not known",
        "peak_memory_bytes": "that the main process held, on the GPU or of its own",
        "skipped_steps": "left out, as they were not finite",
        "device": "its name",
        "precision": "of the arithmetic",
        "versions": "of the packages",
        "settings": "the experiment, for --resume",
    },
    optional=(
        "steps",
        "parameters",
        "vocabulary",
        "tokens",
        "unigram_perplexity",
        "initial_validation_perplexity",
        "final_validation_perplexity",
        "best_validation_perplexity",
        "task",
        "others",
        "optimizer_state_bytes",
        "adamw_state_bytes",
        "seconds",
        "probe_seconds",
        "probe_share",
        "probe_measurements",
        "probe_notice",
        "tokens_per_second",
        "flops_per_token",
        "mfu",
        "peak_memory_bytes",
        "skipped_steps",
        "device",
        "precision",
        "versions",
        "settings",
    ),
)
DIVERGED = File(
    "training/diverged.json",
    {"found": "what was not finite, and at which step, of a run that ended so; it goes when the run is resumed"},
)
LADDERS = File("ladder.json", {"experiment": "the text of its file", "ladders": "one a cell: rungs and comparisons"})
LADDER = File(
    "ladder.parquet",
    {**_CELL, "rung": "its name", **_STEP, "value": "the metric, averaged over steps 1 to k", **_INTERVAL},
    optional=("cell",),
)
STUDY = File(
    "study.json",
    {
        "name": "the study's name",
        "question": "what was asked",
        "answer": "in one sentence",
        "status": "a key of frugal_theory.verdicts.status.ANSWERS",
    },
)


def settings_columns(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """For each cell its settings as entries of columns, one a swept key. A column is of numbers, or else of text."""
    found: list[dict[str, Any]] = [{} for _ in cells]
    for key in dict.fromkeys(key for cell in cells for key in cell.settings):
        values = [cell.settings.get(key) for cell in cells]
        numbers = all(isinstance(value, (int, float)) for value in values)
        for entry, value in zip(found, values, strict=True):
            entry[key] = value if numbers or isinstance(value, str) else json.dumps(value, default=str)
    return found
