"""What a finished run says of the theorems: constants.json, evidence.parquet and verdicts.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_gpu.data.batches import Packed
from frugal_gpu.data.tasks.examples import Labels
from frugal_gpu.optim.placement import is_coded
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.probes.constants import Facts, constants, evidence
from frugal_gpu.probes.law import law_of, off_the_law
from frugal_gpu.probes.objective import parameters_of
from frugal_gpu.train.log import training_evidence
from frugal_theory.results.files import write_table, write_text
from frugal_theory.results.schema import CONSTANTS, PRACTICE_VERDICTS, TRAINING_EVIDENCE
from frugal_theory.verdicts.practice import judge, measured_of

if TYPE_CHECKING:
    from frugal_gpu.train.step import Run
    from frugal_theory.config import Experiment

__all__ = ["finish"]


def finish(run: Run, experiment: Experiment, folder: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Write what the log holds for theory into ``folder``; returns what the summary says of the probes."""
    import pandas as pd

    columns = list(TRAINING_EVIDENCE.columns)
    first = next((line for line in lines if "learning_rate" in line), {})
    tables = [] if "skipped" in first else [training_evidence(lines).frame()[columns]]
    found = evidence(lines, experiment.verify.confidence)
    if found is not None:
        tables.append(found.frame()[columns])
    if tables:
        write_table(folder / Path(TRAINING_EVIDENCE.path).name, pd.concat(tables, ignore_index=True))
    if run.watch is None or experiment.probes is None:
        return {}
    timetable = run.watch.timetable
    summary: dict[str, Any] = {
        "probe_seconds": round(sum(timetable.seconds.values()), 3),
        "probe_share": round(timetable.share, 5),
        "probe_measurements": dict(timetable.counts),
    }
    if beyond := run.watch.sentence():
        summary["probe_notice"] = beyond
    record = constants(lines, _facts(run, experiment))
    if record is None:
        return summary
    write_text(folder / Path(CONSTANTS.path).name, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    verdicts = judge([measured_of(record, experiment.algorithm)], confidence=experiment.verify.confidence)
    records = [verdict.record() for verdict in verdicts]
    write_text(folder / Path(PRACTICE_VERDICTS.path).name, json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    return summary


def _facts(run: Run, experiment: Experiment) -> Facts:
    training, watch = run.training, run.watch
    assert watch is not None
    obstacle = off_the_law(experiment.algorithm)
    if _rounds_statistics(run):
        obstacle = (
            f"statistics are rounded in every step, which no theorem covers (training.state_dtype = {training.state_dtype})"
        )
    if run.skipped:
        steps = f"{run.skipped} step{' was' if run.skipped == 1 else 's were'}"
        obstacle = f"{steps} left out, as their gradients were not finite: theorems speak of steps that are all taken"
    if experiment.adapter is not None:
        obstacle = "an adapter is trained, and what it is merged into moves, too"
    if training.max_gradient_norm is not None:
        obstacle = (
            f"gradients are clipped, which no theorem covers (training.max_gradient_norm = {training.max_gradient_norm:g})"
        )
    law = law_of(experiment.algorithm, run.optimizer.param_groups)
    return Facts(
        steps=training.steps,
        shapes={name: tuple(parameter.shape) for name, parameter in parameters_of(run.model).items()},
        law=law,
        batch_size=training.batch_size,
        sample=watch.objective.size,
        premises=_premises(run, law is not None),
        obstacle=obstacle,
        confidence=experiment.verify.confidence,
    )


def _rounds_statistics(run: Run) -> bool:
    """Whether the optimizer's statistics wait in fewer bits than they are computed in: in eight, those that are long enough."""
    if run.training.state_dtype == "8bit":
        return any(map(is_coded, run.optimizer.state.values()))
    return run.training.state_dtype not in (None, "float32") and state_bytes_held(run.optimizer) > 0


def _premises(run: Run, known_law: bool) -> list[dict[str, Any]]:
    """P2, P3, P5 and P6: what a run meets by how it is made, and what it does not."""
    independent, rows = run.sampling == "independent", run.watch.objective.rows if run.watch else 0
    equal = isinstance(run.corpus.train, Packed | Labels)
    exact = run.training.precision == "float32" and equal

    def entry(name: str, statement: str, held: bool, how: str) -> dict[str, Any]:
        return {"name": name, "statement": statement, "held": held, "how": how}

    drawn = (
        f"every sequence of a batch is drawn from all {rows:,}, with replacement, from a stream of its own"
        if independent
        else 'sequences are drawn without replacement (data.sampling = "shuffled"; "independent" is what theorems suppose)'
    )
    unbiased = (
        f"the mean loss of sequences drawn uniformly from {rows:,}, each with the same number of tokens, in float32"
        if exact
        else 'sequences have different numbers of tokens, and a batch weighs each token the same (data.packing = "documents")'
        if not equal
        else f"gradients are computed in {run.training.precision}, whose rounding is not known to be unbiased"
    )
    selected = "the set is drawn from a stream of its own, or never changes" if known_law else "its law is not known beforehand"
    return [
        entry("P2", "f is bounded below", True, "f* ≥ 0: a cross-entropy is never negative"),
        entry("P3", "the stochastic gradient is unbiased", exact, unbiased),
        entry("P5", "samples are independent across steps", independent, drawn),
        entry("P6", "the selection does not depend on the noise", known_law, selected),
    ]
