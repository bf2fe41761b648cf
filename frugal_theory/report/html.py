"""The report page: one HTML file, figures and style inside, no script, nothing fetched."""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frugal_theory.report import words
from frugal_theory.report.drawing import COLOURS, Plot
from frugal_theory.results.read import Results, read, to_number
from frugal_theory.verdicts.status import STATUSES, sign

__all__ = ["write_report"]

PANELS = 13
"""Cells that get a figure of their own, at most: one beside practice, twelve in the grid."""


@dataclass(frozen=True)
class Figures:
    """The page's figures: ``cells`` has the most telling cell first."""

    cells: list[Plot]
    overview: Plot | None
    practice: list[Plot]
    ladders: list[Plot]

    @property
    def columns(self) -> list[list[Plot]]:
        """The first screen's columns: theory beside practice, or the figures of the one that is there."""
        overview = [self.overview] if self.overview else []
        if not self.theory:
            return [self.practice[1:], self.practice[:1]] if len(self.practice) > 1 else [self.practice]
        left, right = (self.cells[:1] + overview, self.practice) if self.practice else (self.cells[:1], overview)
        return [column for column in (left, right) if column]

    @property
    def shorter(self) -> int:
        """The column that has room under its figures."""
        heights = [sum(plot.figure.get_figheight() for plot in column) for column in self.columns]
        return heights.index(min(heights)) if heights else 0

    @property
    def theory(self) -> list[Plot]:
        """Everything that belongs into theory/figures."""
        return self.cells + ([self.overview] if self.overview else [])


def write_report(directory: Path) -> Path:
    """Write ``directory``/report.html from the results in ``directory``, and the figures with their data beside the results.

    Figures go to theory/figures, training/figures and ladder, each as SVG, PNG and the CSV of the numbers in it. Files are
    replaced one by one and only after everything has been rendered: a failure leaves the old report as it was.
    Raises :class:`ValueError`, one line, if there is nothing to report.
    """
    directory = Path(directory)
    results = read(directory)
    figures = draw(results)
    page = render(results, figures)
    _write_figures(directory / "theory" / "figures", figures.theory)
    _write_figures(directory / "training" / "figures", figures.practice)
    _write_figures(directory / "ladder", figures.ladders)
    target = directory / "report.html"
    _replace(target, page.encode())
    return target


def draw(results: Results) -> Figures:
    """Every figure that the results allow."""
    from frugal_theory.report import ladder
    from frugal_theory.report.plots import measured_and_bounds, overview
    from frugal_theory.report.practice import gradient_norm, training_curve

    practice = [figure(results) for figure in (gradient_norm, training_curve)] if results.has_training else []
    return Figures(
        cells=measured_and_bounds(results, choose_cells(results)) if results.has_theory else [],
        overview=overview(results) if results.verdicts else None,
        practice=[plot for plot in practice if plot is not None],
        ladders=ladder.figures(results),
    )


def choose_cells(results: Results) -> list[str]:
    """Cells to draw: the cell of the most urgent, tightest verdict first, then the others in the order of the sweep.

    Where there are too many, those with a violated or inconclusive verdict stay.
    """
    drawable = list(dict.fromkeys([*results.evidence["cell"], *results.bounds["cell"]]))
    urgent = ["violated", "inconclusive", "holds"]
    telling = [v for v in results.verdicts if v.get("status") in urgent and v["label"] in drawable]
    telling.sort(key=lambda v: (urgent.index(v["status"]), -(_finite(v.get("tightness")) or 0.0)))
    ranked = list(dict.fromkeys([v["label"] for v in telling if v["status"] != "holds"] + drawable))
    first = telling[0]["label"] if telling else (drawable[0] if drawable else None)
    if first is None:
        return []
    kept = set([cell for cell in ranked if cell != first][: PANELS - 1])
    return [first, *(cell for cell in drawable if cell in kept)]


def render(results: Results, figures: Figures) -> str:
    """The page as text."""
    import jinja2
    from markupsafe import Markup

    from frugal_theory.report import ladder

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda plot: Markup(plot.inline)
    light = "".join(f"--{role}:{colour};" for role, colour in COLOURS.items())
    cells = len(results.cells())
    return environment.get_template("report.html.jinja").render(
        results=results,
        figures=figures,
        css=Markup((here / "report.css").read_text(encoding="utf-8").replace("/* colours of the figures */", light)),
        verdict_sentence=words.verdict_sentence(results.verdicts) if results.verdicts else None,
        worst=results.verdicts[0]["status"] if results.verdicts else None,
        confidence=_confidence(results),
        training_sentence=words.training_sentence(results) if results.has_training else None,
        training_details=words.training_details(results),
        unfinished=results.has_training and results.summary is None,
        groups=words.experiment_groups(results.experiment) if results.experiment else [],
        rows=[row(verdict) for verdict in results.verdicts],
        statuses=STATUSES,
        counts=Counter(verdict.get("status") for verdict in results.verdicts),
        has_cells=any(verdict["label"] for verdict in results.verdicts),
        ladder_sentence=ladder.sentence(results) if results.ladders else None,
        ladder_groups=ladder.groups(results),
        ladder_alarm=not all(one["in_order"] for one in results.ladders),
        undrawn=max(0, cells - len(figures.cells)) if figures.cells else 0,
    )


def row(verdict: dict[str, Any]) -> dict[str, Any]:
    """One verdict as the texts of its row in the table."""
    status = str(verdict.get("status", "unknown"))
    interval = [_finite(verdict.get(key)) for key in ("lower", "upper")]
    has_interval = None not in interval and interval[0] != interval[1]
    share = words.percent(verdict.get("tightness"))
    if status == "shape only" and _finite(verdict.get("implied_constant")) is not None:
        share = f"C ≤ {words.number(verdict['implied_constant'])}"
    premises = verdict.get("premises") or []
    failed = [p.get("name", "") for p in premises if not p.get("held")]
    statement, source = words.theorem_statement(str(verdict.get("theorem", "")))
    return {
        "statement": statement,
        "theorem_source": source,
        "status": status,
        "symbol": sign(status).mark,
        "slug": sign(status).role,
        "theorem": words.theorem_name(str(verdict.get("theorem", ""))),
        "cell": verdict["label"],
        "measured": words.number(verdict.get("measured")),
        "interval": f"[{words.number(interval[0])}, {words.number(interval[1])}]" if has_interval else "",
        "origin": _origin(verdict),
        "bound": words.number(verdict.get("bound")),
        "share": share,
        "rate": words.number(verdict.get("learning_rate")),
        "largest": words.number(verdict.get("largest_step")),
        "reason": verdict.get("reason") or "",
        "premises": premises,
        "premise_line": f"{', '.join(failed)} not met" if failed else f"all {len(premises)} premises met",
    }


def _origin(verdict: dict[str, Any]) -> str:
    """Where the measurement comes from: source, trials, horizon."""
    trials, step = _finite(verdict.get("trials")), _finite(verdict.get("step"))
    parts = [words.source_name(verdict.get("source"))] if verdict.get("source") else []
    if trials is not None and trials > 1:
        parts.append(f"{int(trials):,} trials")
    if step is not None:
        parts.append(f"k = {int(step):,}")
    return ", ".join(parts)


def _confidence(results: Results) -> str | None:
    values = {value for v in results.verdicts if (value := _finite(v.get("confidence"))) is not None}
    return words.percent(min(values)) if values else None


def _finite(value: object) -> float | None:
    x = to_number(value)
    return x if math.isfinite(x) else None


def _write_figures(folder: Path, plots: list[Plot]) -> None:
    """Write each plot's three files; those of an earlier report that this one does not replace go away."""
    if not plots:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        _replace(folder / f"{plot.name}.svg", plot.svg.encode())
        _replace(folder / f"{plot.name}.png", plot.png)
        _replace(folder / f"{plot.name}.csv", plot.csv.encode())
    kept = {plot.name for plot in plots}
    for series in ("measured-and-bounds-*.*", "ladder-*.*"):
        for old in folder.glob(series):
            if old.stem not in kept:
                old.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: readers see the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
