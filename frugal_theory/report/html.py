"""The report page: one HTML file, figures and style inside, no script, nothing fetched."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frugal_theory.report import words
from frugal_theory.report.drawing import COLOURS, inline
from frugal_theory.report.figures import Figures, draw, write_figures
from frugal_theory.report.verdict_rows import confidence, practice_rows, row
from frugal_theory.results.files import write_text
from frugal_theory.results.read import Results, read
from frugal_theory.results.studies import StudyResult
from frugal_theory.verdicts.status import ANSWERS, STATUSES, sign

__all__ = ["write_report"]

TEMPLATES = Path(__file__).parent / "templates"

STUDY_ROWS = 20
"""Rows of a study's table on the page, at most."""


def write_report(directory: Path, *more: Path, out: Path | None = None) -> Path:
    """Write the report of a run's folder, or of several in one page, to ``out`` (default: report.html in the first).

    Figures go beside the results: to theory/figures, training/figures and ladder, each as SVG, PNG and the CSV of the
    numbers in it. Files are replaced one by one and only after everything has been rendered: a failure leaves the old
    report as it was. Raises :class:`ValueError`, one line, if there is nothing to report.
    """
    folders = [Path(folder) for folder in (directory, *more)]
    found = [read(folder) for folder in folders]
    drawn = [draw(results) for results in found]
    page = render(found[0], drawn[0]) if len(found) == 1 else render_together(found, drawn)
    for folder, figures in zip(folders, drawn, strict=True):
        write_figures(folder / "theory" / "figures", figures.theory)
        write_figures(folder / "training" / "figures", figures.practice)
        write_figures(folder / "ladder", figures.ladders)
    target = out or folders[0] / "report.html"
    write_text(target, page)
    return target


def render(results: Results, figures: Figures) -> str:
    """The page of one run as text."""
    return _fill("report.html.jinja", title=results.name, **_content(results, figures))


def render_together(found: Sequence[Results], drawn: Sequence[Figures]) -> str:
    """The page of several runs as text: what each came to, side by side, then each by itself."""
    from markupsafe import Markup

    runs = []
    for place, (results, figures) in enumerate(zip(found, drawn, strict=True), start=1):
        content = _content(results, figures, prefix=f"run-{place}-")
        runs.append({**content, "section": Markup(_fill("run.html.jinja", **content))})
    return _fill("runs.html.jinja", title=", ".join(results.name for results in found), runs=runs)


def _content(results: Results, figures: Figures, prefix: str = "") -> dict[str, Any]:
    """What the templates say of a run; ``prefix`` keeps the ids in its figures apart from another run's."""
    from frugal_theory.report import ladder
    from frugal_theory.report.experiment import experiment_groups

    trained = results.training
    practiced = [trained, *results.training_cells]
    return {
        "results": results,
        "figures": figures,
        "prefix": prefix,
        "verdict_sentence": words.verdict_sentence(results.verdicts) if results.verdicts else None,
        "worst": results.verdicts[0]["status"] if results.verdicts else None,
        "confidence": confidence(results.verdicts),
        "training_sentence": words.training_sentence(trained, results.experiment) if trained.is_there else None,
        "training_details": words.training_details(trained),
        "unfinished": trained.is_there and trained.summary is None,
        "training_rows": [
            {"name": run.name, "sentence": words.training_sentence(run), "details": words.training_details(run)}
            for run in results.training_cells
        ],
        "practice": practice_rows(practiced),
        "practice_alarm": any(v.get("status") == "contradicted" for run in practiced for v in run.verdicts),
        "practice_sentence": words.practice_sentence(trained.verdicts) if trained.verdicts else None,
        "groups": experiment_groups(results.experiment) if results.experiment else [],
        "rows": [row(verdict) for verdict in results.verdicts],
        "statuses": STATUSES,
        "counts": Counter(verdict.get("status") for verdict in results.verdicts),
        "has_cells": any(verdict["label"] for verdict in results.verdicts),
        "ladder_sentence": ladder.sentence(results) if results.ladders else None,
        "ladder_groups": ladder.groups(results),
        "ladder_alarm": not all(one["in_order"] for one in results.ladders),
        "undrawn": max(0, len(results.cells()) - len(figures.cells)) if figures.cells else 0,
        "studies": [_study(study) for study in results.studies],
    }


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


def _fill(template: str, **content: Any) -> str:
    """A template with its content and the style; whatever is not marked as HTML is text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda plot, prefix: Markup(inline(plot.svg, prefix + plot.name, plot.title))
    light = "".join(f"--{role}:{colour};" for role, colour in COLOURS.items())
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8").replace("/* colours of the figures */", light)
    return environment.get_template(template).render(css=Markup(style), **content)
