"""The report page: one HTML file with figures, style, script and data inside; nothing is fetched."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.report import comparison, practice_figures
from frugal_theory.report.content import run_content, theorem_content
from frugal_theory.report.drawing import COLOURS, Plot, inline
from frugal_theory.report.figures import Figures, draw, write_figures
from frugal_theory.report.runs import CONFIDENCE, SameSetting, names, settings, training_runs
from frugal_theory.report.words import percent
from frugal_theory.results.files import write_text
from frugal_theory.results.read import Results, read

if TYPE_CHECKING:
    import jinja2

__all__ = ["unfinished", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"
VENDOR = Path(__file__).parent / "vendor"


def write_report(directory: Path, *more: Path, out: Path | None = None, reload: float | None = None) -> Path:
    """Write the report of a run's folder, or of several in one page, to ``out`` (default: report.html in the first).

    Figures go beside the results: to theory/figures, training/figures, ladder and, of training runs beside each other,
    comparison in the first folder, each as SVG, PNG and the CSV of the numbers in it. Files are replaced one by one and only
    after everything has been rendered: a failure leaves the old report as it was. ``reload``: seconds after which the page,
    open in a browser, looks at its file again. Raises :class:`ValueError`, one line, if there is nothing to report.
    """
    folders = [Path(folder) for folder in (directory, *more)]
    found = [read(folder) for folder in folders]
    called = names(found, [folder.resolve().name for folder in folders])
    joined = settings(training_runs(found, called))
    drawn = [draw(results, len(found)) for results in found]
    still = [figure(joined) for figure in (practice_figures.comparison, practice_figures.state)]
    beside = [plot for plot in still if plot is not None]
    page = render(found, called, drawn, joined, beside, reload)
    for folder, figures in zip(folders, drawn, strict=True):
        write_figures(folder / "theory" / "figures", figures.theory)
        write_figures(folder / "training" / "figures", figures.practice)
        write_figures(folder / "ladder", figures.ladders)
    write_figures(folders[0] / "comparison", beside)
    target = out or folders[0] / "report.html"
    write_text(target, page)
    return target


def unfinished(*folders: Path) -> bool:
    """Whether a training run of the folders goes on, or was interrupted. Raises ValueError as :func:`write_report` does."""
    found = [read(Path(folder)) for folder in folders]
    return any(run.unfinished for results in found for run in (results.training, *results.training_cells))


def render(
    found: Sequence[Results],
    called: Sequence[str],
    drawn: Sequence[Figures],
    joined: Sequence[SameSetting] = (),
    beside: Sequence[Plot] = (),
    reload: float | None = None,
) -> str:
    """The page as text: of one run, or what each of several came to, side by side, then each by itself."""
    from markupsafe import Markup

    training = {
        "curves": comparison.curves(joined),
        "run_rows": comparison.rows(joined),
        "still_runs": beside,
        "reload": None if reload is None else f"{reload:g}",
        "seeds": percent(CONFIDENCE) if any(len(setting.runs) > 1 for setting in joined) else None,
    }
    theorems = theorem_content(found)
    if len(found) == 1:
        content = run_content(found[0], drawn[0], called[0])
        return _fill("report.html.jinja", title=called[0], **content, **training, **theorems)
    runs = []
    for place, (results, name, figures) in enumerate(zip(found, called, drawn, strict=True), start=1):
        content = run_content(results, figures, name, prefix=f"run-{place}-", share=1 / len(found))
        runs.append({**content, "section": Markup(_fill("run.html.jinja", **content, **theorems))})
    return _fill("runs.html.jinja", title=", ".join(called), runs=runs, **training, **theorems)


@cache
def _templates() -> jinja2.Environment:
    """The templates, compiled when first used and kept; whatever is not marked as HTML is text."""
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
    environment.filters["html"] = Markup
    return environment


def _fill(template: str, **content: Any) -> str:
    """A template with its content, the style and the scripts."""
    from markupsafe import Markup

    light = "".join(f"--{role}:{colour};" for role, colour in COLOURS.items())
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8").replace("/* colours of the figures */", light)
    style = (VENDOR / "uPlot.min.css").read_text(encoding="utf-8") + "\n" + style
    scripts = [(VENDOR / "uPlot.iife.min.js").read_text("utf-8"), (TEMPLATES / "report.js").read_text("utf-8")]
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    shared = {"css": Markup(style), "scripts": [Markup(script) for script in scripts], "allowed": Markup(allowed)}
    return _templates().get_template(template).render(**shared, **content)


def _digest(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
