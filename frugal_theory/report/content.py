"""What the templates say of a run, of its theorems, and of several runs together."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frugal_theory.report import words
from frugal_theory.report.figures import Figures
from frugal_theory.report.formulas import proof, proof_file, statement
from frugal_theory.report.matrix import matrix
from frugal_theory.report.overlay import bounds_and_measurements
from frugal_theory.report.verdict_rows import confidence, practice_rows, row
from frugal_theory.results.read import Results
from frugal_theory.results.studies import StudyResult
from frugal_theory.verdicts.status import ANSWERS, STATUSES, sign

__all__ = ["run_content", "theorem_content"]

VERDICTS = 300
"""Rows that the tables of verdicts of one page have, at most: the most urgent ones."""

STUDY_ROWS = 20
"""Rows of a study's table on the page, at most."""


def run_content(results: Results, figures: Figures, name: str, prefix: str = "", share: float = 1.0) -> dict[str, Any]:
    """What the templates say of a run, which the page calls ``name``. ``prefix`` keeps its ids apart from another run's,
    ``share`` is its part of the page."""
    from frugal_theory.report import ladder
    from frugal_theory.report.experiment import experiment_groups

    trained = results.training
    practiced = [trained, *results.training_cells]
    shown = results.verdicts[: max(20, int(VERDICTS * share))]
    panels = {cell: f"{prefix}{plot.name}" for cell, plot in zip(figures.drawn, figures.cells, strict=True)}
    rows = [{**row(verdict), "panel": panels.get(verdict["label"])} for verdict in shown]
    return {
        "results": results,
        "name": name,
        "several": share < 1,
        "figures": figures,
        "prefix": prefix,
        "verdict_sentence": words.verdict_sentence(results.verdicts) if results.verdicts else None,
        "worst": results.verdicts[0]["status"] if results.verdicts else None,
        "confidence": confidence(results.verdicts),
        "training_sentence": words.training_sentence(trained, results.experiment) if trained.is_there else None,
        "training_details": words.training_details(trained),
        "unfinished": trained.unfinished,
        "diverged": trained.diverged is not None,
        "practice": practice_rows(practiced),
        "practice_alarm": any(v.get("status") == "contradicted" for run in practiced for v in run.verdicts),
        "practice_sentence": words.practice_sentence(trained.verdicts) if trained.verdicts else None,
        "groups": experiment_groups(results.experiment) if results.experiment else [],
        "matrix": matrix(results.verdicts, results.cells()) if results.verdicts else None,
        "overlay": bounds_and_measurements(results, share),
        "rows": rows,
        "all_rows": len(results.verdicts),
        "choices": {key: list(dict.fromkeys(one[key] for one in rows)) for key in ("status", "theorem", "cell")},
        "statuses": STATUSES,
        "counts": Counter(verdict.get("status") for verdict in results.verdicts),
        "has_cells": any(verdict["label"] for verdict in results.verdicts),
        "ladder_sentence": ladder.sentence(results) if results.ladders else None,
        "ladder_groups": ladder.groups(results),
        "ladder_alarm": not all(one["in_order"] for one in results.ladders),
        "undrawn": max(0, len(results.cells()) - len(figures.cells)) if figures.cells else 0,
        "studies": [_study(study) for study in results.studies],
    }


def theorem_content(found: Iterable[Results]) -> dict[str, Any]:
    """Every theorem that a verdict or a rung of the page is about, with its statement, its source and where its proof stands;
    and the texts of those proofs, each once."""
    from frugal_theory.theorems import THEOREMS

    named: dict[str, None] = {}
    for results in found:
        for verdict in results.verdicts:
            named[str(verdict.get("theorem", ""))] = None
        named.update({rung["name"]: None for one in results.ladders for rung in one["rungs"] if not rung["missing"]})
        for run in (results.training, *results.training_cells):
            for verdict in run.verdicts:
                if verdict.get("status") != "not applicable" or verdict.get("largest_step") is not None:
                    named[str(verdict.get("theorem", ""))] = None
    order = [name for name in THEOREMS if name in named]
    theorems = []
    for name in order:
        text, source = words.theorem_statement(name)
        theorems.append(
            {
                "name": name,
                "title": words.theorem_name(name),
                "statement": text,
                "formula": statement(name),
                "source": source,
                "premises": getattr(THEOREMS[name], "premises", ""),
                "proof": proof_file(source),
            }
        )
    files = list(dict.fromkeys(one["proof"] for one in theorems if one["proof"]))
    proved = {one["name"] for one in theorems if one["proof"]}
    return {"theorems": theorems, "known": set(order), "proved": proved, "proofs": [(name, proof(name)) for name in files]}


def _study(study: StudyResult) -> dict[str, Any]:
    """A study's section: its question, its answer with its sign, its figures, the first rows of its table."""
    first = study.table.head(STUDY_ROWS)
    rows = "1 row" if len(study.table) == 1 else f"{len(study.table)} rows"
    return {
        "name": study.name,
        "question": study.question,
        "answer": study.answer,
        "status": study.status,
        "sign": ANSWERS.get(study.status) or sign(study.status),
        "figures": [{"name": path.stem, "source": _embedded(path)} for path in study.figures],
        "columns": [str(column) for column in first.columns],
        "rows": [[_entry(value) for value in line] for line in first.itertuples(index=False)],
        "shown": rows if len(first) == len(study.table) else f"the first {len(first)} of {rows}",
    }


def _entry(value: object) -> str:
    """An entry of a table: numbers as the report says them, text as it is, nothing for what is missing."""
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, (str, bool)) or not hasattr(value, "__float__") else words.number(value, 5)


def _embedded(png: Path) -> str:
    return "data:image/png;base64," + b64encode(png.read_bytes()).decode("ascii")
