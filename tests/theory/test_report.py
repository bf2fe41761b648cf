"""The report of a results folder. The folders are synthetic: SGD on one coordinate of a quadratic, in closed form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import frugal_theory as ft
from frugal_theory.metrics import words as metric_words
from frugal_theory.premises.premise import Premise
from frugal_theory.report import html, plots, words, write_report
from frugal_theory.report.words import memory, number, percent, training_sentence, verdict_sentence
from frugal_theory.results.read import read
from frugal_theory.theorems import THEOREMS, RunLengthSharp
from frugal_theory.verdicts.verdict import Verdict
from tests.tolerances import ROUNDING

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
        return Verdict(theorem, status, reason, premises=PREMISES, cell=cell, **numbers, **common, **more).record()

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
            "signsgd", "not applicable", f"the rule is <sgd>, not signsgd (α = {alpha:g})", premises=FAILED, cell=cell
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty results folder with its experiment."""
    directory = tmp_path / "runs" / "demo"
    directory.mkdir(parents=True)
    (directory / "experiment.toml").write_text(EXPERIMENT)
    return directory


class Page(HTMLParser):
    """What a browser would fetch or show: addresses in attributes, text, and whether ids are unique."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.split(":")[-1] in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(directory: Path) -> tuple[str, Page]:
    text = write_report(directory).read_text(encoding="utf-8")
    return text, Page(text)


def test_page_is_self_contained(folder: Path) -> None:
    write_theory(folder, (0.02, 0.05), sweep=True)
    write_training(folder)
    text, page = page_of(folder)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert len(text) < 3_000_000


def test_page_says_everything(folder: Path) -> None:
    records = write_theory(folder, (0.02, 0.05), sweep=True)
    write_training(folder)
    text, page = page_of(folder)
    assert "8 verdicts: 4 hold, 2 shape only, 2 not applicable; nothing violated." in page.text
    assert "Validation perplexity 61.2 against 389 for unigrams, 1,000 steps, 9.2 million parameters." in page.text
    for record in records:
        assert record["reason"] in page.text
        assert all(premise["how"] in page.text for premise in record["premises"])
    assert len(re.findall(r"<tr class", text)) == len(records)
    assert "learning_rate = 0.05" in page.text
    assert EXPERIMENT in page.text
    assert "SGDM, β = 0.9" in page.text


def test_both_schemes_and_phones_are_styled(folder: Path) -> None:
    write_theory(folder)
    text, _ = page_of(folder)
    assert "prefers-color-scheme: dark" in text
    assert "color-scheme: light dark" in text
    assert "max-width: 760px" in text
    body = text[text.index("<body>") :]
    assert "var(--hue-1)" in body
    assert not re.search(r"#[0-9a-f]{6}\b", body), "a colour that the dark scheme cannot answer"


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


def test_a_ladder_alone(folder: Path) -> None:
    record = write_ladder(folder)
    text, page = page_of(folder)
    assert "In order in one cell: 1 equal, 1 below the next rung, 1 rung missing." in page.text
    assert all(link["reason"] in page.text for link in record["comparisons"])
    assert all((rung["missing"] or rung["how"]) in page.text for rung in record["rungs"])
    assert "SGDM (Liu, Gao, Yin)" in page.text
    assert "[0.18, 0.22]" in page.text
    assert "33 %" in page.text
    assert "another version" not in page.text
    assert not page.tags & {"source", "script"}
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"#[0-9a-f]{6}\b", text[text.index("<body>") :]), "a colour that the dark scheme cannot answer"


def test_the_figure_of_a_ladder_shows_its_numbers(folder: Path) -> None:
    write_ladder(folder)
    (plot,) = html.draw(read(folder)).ladders
    assert plot.title.startswith("a cell: every rung below the next")
    curves = pd.read_parquet(folder / "ladder.parquet")
    (axes,) = plot.figure.axes
    for seen, (_, line) in zip(axes.lines, curves.groupby("rung", sort=False), strict=True):
        np.testing.assert_allclose(seen.get_xydata(), line[["step", "value"]].to_numpy(), rtol=ROUNDING, atol=0)
    write_report(folder)
    saved = pd.read_csv(folder / "ladder" / "ladder-01.csv")
    pd.testing.assert_frame_equal(saved, plot.data.astype(saved.dtypes), rtol=ROUNDING, atol=0)


def test_a_ladder_out_of_order_draws_attention(folder: Path) -> None:
    write_ladder(folder, status="not below")
    text, page = page_of(folder)
    assert "Out of order." in page.text
    assert '<section class="answer alarm">' in text
    assert '<div class="violated">' in text
    (plot,) = html.draw(read(folder)).ladders
    assert plot.title.startswith("a cell: out of order")


def test_a_ladder_of_another_experiment_is_said_to_be_one(folder: Path) -> None:
    write_ladder(folder)
    write_theory(folder)
    (folder / "experiment.toml").write_text(EXPERIMENT.replace("dimension = 100", "dimension = 99"))
    text, page = page_of(folder)
    assert "From another version of the experiment" in page.text
    assert "4 verdicts" in page.text
    assert text.index(">The ladder<") < text.index(">Verdicts<")


def test_every_theorem_and_its_metric_have_names() -> None:
    """A new theorem needs a ``short_name``, and a ``label`` if that is too long for the end of a line."""
    names = {name: words.theorem_name(name) for name in THEOREMS}
    labels = {name: words.theorem_label(name) for name in THEOREMS}
    assert names == {name: theorem.short_name for name, theorem in THEOREMS.items()}
    assert len(set(names.values())) == len(set(labels.values())) == len(THEOREMS)
    assert max(map(len, labels.values())) <= plots.LINE_LABEL
    for name, theorem in THEOREMS.items():
        assert words.theorem_statement(name) == (theorem.statement, theorem.source)
        assert metric_words(theorem.metric).title.startswith("average ")
    assert words.theorem_statement("of somebody else") == ("", "")


class Derived(RunLengthSharp):
    """What somebody derives from a theorem has its title, or not even that: never the names of its parent."""

    name = "half_of_it"


def test_what_is_added_is_called_by_its_own_name() -> None:
    with ft.extended():
        ft.add_theorem(Derived())
        assert (words.theorem_name("half_of_it"), words.theorem_label("half_of_it")) == ("half of it", "half of it")
    with ft.extended():
        Derived.title = "Half of the sharp run-length theorem"
        ft.add_theorem(Derived())
        assert words.theorem_name("half_of_it") == "Half of the sharp run-length theorem"
    assert words.theorem_name("of_somebody_else") == "of somebody else"
    assert metric_words("largest_coordinate") == ("largest coordinate", "largest coordinate")


def test_the_statement_of_a_theorem_is_on_the_page(folder: Path) -> None:
    write_theory(folder)
    _, page = page_of(folder)
    assert THEOREMS["run_length"].statement in page.text
    assert THEOREMS["sgd"].source in page.text


def test_markup_in_reasons_is_text(folder: Path) -> None:
    record = Verdict("sgd", "inconclusive", "<script>alert(1)</script> & more", cell={"case": "<b>bold</b> & co"}).record()
    (folder / "theory").mkdir()
    (folder / "theory" / "verdicts.json").write_text(json.dumps([record]))
    text, page = page_of(folder)
    assert "script" not in page.tags
    assert "<script>alert(1)</script> & more" in page.text
    assert "<b>bold</b> & co" in page.text
    assert "&lt;script&gt;" in text


def test_markup_in_a_cell_is_text_in_the_figures(folder: Path) -> None:
    write_theory(folder)
    for name in ("evidence", "bounds"):
        path = folder / "theory" / f"{name}.parquet"
        pd.read_parquet(path).assign(cell="<i>case</i> & $x$").to_parquet(path)
    _, page = page_of(folder)
    assert "i" not in page.tags
    assert "<i>case</i> & $x$" in page.text


def test_violated_verdicts_come_first_and_draw_attention(folder: Path) -> None:
    write_theory(folder, (0.02, 0.05), sweep=True)
    path = folder / "theory" / "verdicts.json"
    records = json.loads(path.read_text())
    records[5] |= {"status": "violated", "tightness": 1.2}
    path.write_text(json.dumps(records))
    text, page = page_of(folder)
    assert "8 verdicts: 1 violated, 3 hold, 2 shape only, 2 not applicable." in page.text
    assert "nothing violated" not in page.text
    assert re.findall(r'<tr class="([\w-]+)"', text) == ["violated"] + 3 * ["holds"] + 2 * ["shape-only"] + 2 * [
        "not-applicable"
    ]
    first = html.draw(read(folder)).cells[0]
    assert first.title.startswith("learning_rate = 0.05")


def test_the_csv_beside_a_figure_holds_exactly_what_is_plotted(folder: Path) -> None:
    write_theory(folder)
    write_training(folder)
    figures = html.draw(read(folder))
    write_report(folder)
    for plot in [*figures.cells, *figures.practice]:
        part = folder / ("theory" if plot in figures.cells else "training") / "figures"
        saved = pd.read_csv(part / f"{plot.name}.csv")
        pd.testing.assert_frame_equal(saved, plot.data.astype(saved.dtypes), rtol=ROUNDING, atol=0)
        series = ["kind", "origin", "metric"] if "kind" in saved else ["series"]
        lines = [
            line[["step", "perplexity" if "perplexity" in line else "value"]] for _, line in saved.groupby(series, sort=False)
        ]
        (axes,) = plot.figure.axes
        assert len(axes.lines) == len(lines)
        for seen, line in zip(axes.lines, lines, strict=True):
            np.testing.assert_allclose(seen.get_xydata(), line.to_numpy(), rtol=ROUNDING, atol=0)
        for ending in ("svg", "png"):
            assert (part / f"{plot.name}.{ending}").stat().st_size > 1000


def test_the_running_average_is_the_evidence_of_training(folder: Path) -> None:
    """training/evidence.parquet has nothing that the page does not show: frugal_gpu's average is the line drawn."""
    metrics = pytest.importorskip("frugal_gpu.train.log", reason="needs the extra gpu")
    write_training(folder)
    evidence = metrics.training_evidence(folder / "training" / "metrics.jsonl")
    gradient = html.draw(read(folder)).practice[0]
    line = gradient.data[gradient.data["series"] == "running average"]
    np.testing.assert_allclose(line["value"], evidence.mean[line["step"].to_numpy(dtype=int) - 1], rtol=ROUNDING, atol=0)


def test_the_bands_and_the_numbers_are_those_of_the_evidence(folder: Path) -> None:
    write_theory(folder)
    (plot,) = html.draw(read(folder)).cells
    measured = plot.data[(plot.data["kind"] == "measured") & (plot.data["metric"] == "squared_gradient_norm")]
    steps = measured["step"].to_numpy(dtype=int)
    assert np.array_equal(measured["value"], running_average(0.02, 2000)[steps - 1])
    bound = plot.data[plot.data["origin"] == "sgd"]
    assert np.array_equal(bound["value"], sgd_bound(0.02, 2000)[bound["step"].to_numpy(dtype=int) - 1])
    bands = [band for band in plot.figure.axes[0].collections if type(band).__name__ == "FillBetweenPolyCollection"]
    monte_carlo = measured[measured["origin"] == "monte_carlo"]
    corners = bands[0].get_paths()[0].vertices
    for ends in ("lower", "upper"):
        assert set(monte_carlo[ends]) <= set(corners[:, 1])


def test_the_overview_shows_the_verdicts_numbers(folder: Path) -> None:
    records = write_theory(folder)
    plot = html.draw(read(folder)).overview
    assert plot is not None
    shown = {record["theorem"]: record for record in records if record["tightness"]}
    assert list(plot.data["theorem"]) == list(shown)
    assert list(plot.data["tightness"]) == [record["tightness"] for record in shown.values()]
    assert list(plot.data["upper"]) == [record["upper"] / record["bound"] for record in shown.values()]


def test_a_violation_without_limit_is_in_the_overview(folder: Path) -> None:
    write_theory(folder)
    path = folder / "theory" / "verdicts.json"
    records = json.loads(path.read_text())
    records[0] |= {"status": "violated", "measured": "inf", "tightness": "inf", "lower": "inf", "upper": "inf"}
    path.write_text(json.dumps(records))
    plot = html.draw(read(folder)).overview
    assert plot is not None
    assert "✗ ∞" in plot.svg


def test_lines_are_thinned_and_keep_their_ends(folder: Path) -> None:
    write_theory(folder, steps=20_000)
    (plot,) = html.draw(read(folder)).cells
    for _, line in plot.data.groupby(["kind", "origin", "metric"]):
        assert len(line) <= 400
        assert (line["step"].min(), line["step"].max()) == (1, 20_000)


def test_metrics_that_coincide_share_one_colour(folder: Path) -> None:
    write_theory(folder)
    path = folder / "theory" / "evidence.parquet"
    frame = pd.read_parquet(path)
    plain = frame.loc[frame["metric"] == "squared_gradient_norm"].query("source == 'monte_carlo'")
    pd.concat([plain, plain.assign(metric="weighted_squared_gradient_norm")]).to_parquet(path)
    (plot,) = html.draw(read(folder)).cells
    assert len({line.get_color() for line in plot.figure.axes[0].lines}) == 1
    assert "measured, weighted" not in plot.svg


def test_cells_beyond_the_panels_are_in_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "PANELS", 2)
    alphas = (0.01, 0.02, 0.03, 0.04)
    write_theory(folder, alphas, steps=200, sweep=True)
    text, page = page_of(folder)
    assert "2 more cells without a figure" in page.text
    assert all(f"learning_rate = {alpha:g}" in page.text for alpha in alphas)
    assert len(text) / 2 * 13 < 3_000_000
    (folder / "theory" / "evidence.parquet").unlink()
    (folder / "theory" / "bounds.parquet").unlink()
    write_training(folder)
    write_report(folder)
    assert "measured-and-bounds" not in " ".join(path.name for path in (folder / "theory" / "figures").iterdir())


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        (None, "Validation perplexity 61.2 against 389 for unigrams"),
        (340, "Training is in progress or was interrupted at step 340 of 1,000; validation perplexity"),
        (1, "Training is in progress or was interrupted at step 1 of 1,000"),
        (0, "Training is in progress or was interrupted at step 0 of 1,000"),
    ],
)
def test_training_alone(folder: Path, until: int | None, sentence: str) -> None:
    write_training(folder, until=until)
    _, page = page_of(folder)
    assert sentence in page.text
    assert "verdict" not in page.text.split("experiment.toml")[0].replace("all verdicts together", "")
    assert not (folder / "theory").exists()


def test_theory_alone(folder: Path) -> None:
    write_theory(folder)
    _, page = page_of(folder)
    assert "4 verdicts" in page.text
    assert "perplexity" not in page.text
    assert not (folder / "training").exists()


def test_evidence_without_verdicts(folder: Path) -> None:
    write_theory(folder)
    (folder / "theory" / "verdicts.json").unlink()
    (folder / "theory" / "bounds.parquet").unlink()
    _, page = page_of(folder)
    assert "not yet verified" in page.text


def test_a_line_cut_short_is_passed_over_and_a_broken_one_is_not(folder: Path) -> None:
    write_training(folder, until=100)
    path = folder / "training" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 101, "lo')
    assert "interrupted at step 100" in training_sentence(read(folder))
    path.write_text("{oops\n" + path.read_text())
    with pytest.raises(ValueError, match=r"metrics.jsonl: line 1 is not JSON"):
        read(folder)


def test_a_repeated_step_counts_once_with_its_last_value(folder: Path) -> None:
    (folder / "training").mkdir()
    lines = [{"step": step, "loss": loss} for step, loss in ((1, 5.0), (2, 4.0), (3, 3.5), (2, 4.5), (3, 3.0))]
    (folder / "training" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(folder).training[["step", "loss"]].to_numpy().tolist() == [[1, 5.0], [2, 4.5], [3, 3.0]]


def test_a_summary_may_say_little(folder: Path) -> None:
    write_training(folder)
    (folder / "training" / "summary.json").write_text('{"steps": 1000}')
    assert training_sentence(read(folder)) == "1,000 steps"
    write_report(folder)


@pytest.mark.parametrize("make", [lambda _: None, lambda d: (d / "theory").mkdir()])
def test_nothing_to_report_is_one_line(folder: Path, make: object) -> None:
    make(folder)  # type: ignore[operator]
    with pytest.raises(ValueError, match="nothing to report") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()
    with pytest.raises(ValueError, match="no such folder"):
        write_report(folder / "absent")


def test_a_failure_leaves_the_old_report_and_no_debris(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_theory(folder)
    before = write_report(folder).read_bytes()
    files = sorted(folder.rglob("*"))

    def broken(*_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr(html, "render", broken)
    with pytest.raises(RuntimeError):
        write_report(folder)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(html.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert sorted(folder.rglob("*")) == files


def test_the_report_is_the_same_every_time_and_changes_no_global_setting(folder: Path) -> None:
    write_theory(folder)
    write_training(folder)
    settings, backend = dict(mpl.rcParams), mpl.rcParams._get_backend_or_none()
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert dict(mpl.rcParams) == settings
    assert mpl.rcParams._get_backend_or_none() == backend


def test_importing_the_report_is_light() -> None:
    code = (
        "import sys, frugal_theory.report\n"
        "print([m for m in ('torch', 'matplotlib', 'seaborn', 'pandas', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (61.2134, "61.2"),
        (389.2, "389"),
        (1234567.0, "1.23×10⁶"),
        (12345, "12,345"),
        (0.000012, "1.2×10⁻⁵"),
        (1e-5, "10⁻⁵"),
        (-0.5, "−0.5"),
        (None, "–"),
        ("inf", "∞"),
        ("nan", "–"),
        (999_999.7, "1,000,000"),
        (0.0999999, "0.1"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.372, "37 %"),
        (1.0, "100 %"),
        (0.99999, "< 100 %"),
        (1.00001, "> 100 %"),
        (1.083, "108 %"),
        (0.985, "98 %"),
        (0.9951, "99.51 %"),
        (1.004, "100.4 %"),
        (0.0012, "0.12 %"),
    ],
)
def test_percentages_never_round_to_the_line(share: float, text: str) -> None:
    assert percent(share) == text


def test_sentences() -> None:
    assert verdict_sentence([{"status": "holds"}]) == "1 verdict: 1 holds; nothing violated"
    assert verdict_sentence([{"status": "inconclusive"}, {"status": "violated"}]) == "2 verdicts: 1 violated, 1 inconclusive"
    assert [memory(b) for b in (0, 999, 24_500_000, 3e9)] == ["0 B", "999 B", "24.5 MB", "3 GB"]
