"""Writing what theory found: evidence, bounds and verdicts of every cell, and the experiment they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frugal_theory.config.load import dump
from frugal_theory.results.files import write_table, write_text
from frugal_theory.results.schema import BOUNDS, EVIDENCE, EXPERIMENT, VERDICTS, settings_columns
from frugal_theory.theorems.theorem import bound_of

if TYPE_CHECKING:
    from frugal_theory.config import Experiment
    from frugal_theory.evidence.evidence import Evidence
    from frugal_theory.verdicts.claims import Claims
    from frugal_theory.verdicts.verdict import Verdict

__all__ = ["write_results"]


def write_results(
    folder: Path,
    experiment: Experiment,
    ready: Sequence[Claims],
    evidence: Sequence[Mapping[str, Evidence]],
    verdicts: Sequence[Verdict] | None,
) -> None:
    """Write experiment.toml and theory/{evidence.parquet, bounds.parquet, verdicts.json}; no verdicts, no bounds.

    Those that lie there are of other evidence, and go first; verdicts come last, when all that they speak of is there.
    """
    import pandas as pd

    for part in (VERDICTS, BOUNDS):
        (folder / part.path).unlink(missing_ok=True)
    settings = settings_columns([claims.cell for claims in ready])
    measured = [
        found.frame()
        .assign(cell=claims.cell.label, confidence=found.confidence, trials=found.trials)[list(EVIDENCE.columns)]
        .assign(**swept)
        for claims, metrics, swept in zip(ready, evidence, settings, strict=True)
        for found in metrics.values()
    ]
    write_table(folder / EVIDENCE.path, pd.concat(measured, ignore_index=True))
    write_text(folder / EXPERIMENT, dump(experiment))
    if verdicts is not None:
        bounds = [
            pd.DataFrame(
                {
                    "cell": claims.cell.label,
                    "theorem": theorem.name,
                    "metric": claims.key(theorem),
                    "step": np.arange(1, claims.setting.steps + 1),
                    "bound": bound_of(theorem, claims.setting),
                    "explicit": theorem.explicit,
                }
            )[list(BOUNDS.columns)].assign(**swept)
            for claims, swept in zip(ready, settings, strict=True)
            for theorem in claims.theorems
            if claims.excuse(theorem) is None
        ]
        table = pd.concat(bounds, ignore_index=True) if bounds else pd.DataFrame(columns=[*BOUNDS.columns, *settings[0]])
        write_table(folder / BOUNDS.path, table)
        records = [verdict.record() for verdict in verdicts]
        write_text(folder / VERDICTS.path, json.dumps(records, indent=1, ensure_ascii=False) + "\n")
