"""The page as a browser takes it: what is linked exists, what is operated has a name, what is read has contrast."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugal_theory.report import html, overlay, write_report
from frugal_theory.report.matrix import matrix
from frugal_theory.results.read import read
from tests.theory.results_folders import Rendered, page_of, running_average, sgd_bound, write_theory, write_training

VOID = {"meta", "input", "br", "hr", "img", "link", "use", "path", "rect", "mspace"}


@dataclass
class Element:
    """An element with its attributes, its text and what is in it."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    own: str = ""

    @property
    def text(self) -> str:
        return self.own + "".join(child.text for child in self.children)

    def all(self, *tags: str) -> list[Element]:
        found = [self] if self.tag in tags else []
        return found + [one for child in self.children for one in child.all(*tags)]


class Tree(HTMLParser):
    """The page as a tree."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self.now = Element("", {})
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.now)
        self.now.children.append(element)
        if tag not in VOID:
            self.now = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.now.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.now))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.now.tag == tag, f"</{tag}> closes <{self.now.tag}>"
        assert self.now.parent is not None
        self.now = self.now.parent

    def handle_data(self, data: str) -> None:
        self.now.own += data


def walk(element: Element) -> list[Element]:
    return [one for child in element.children for one in [child, *walk(child)]]


@pytest.fixture(scope="module")
def tree(report: Rendered) -> Element:
    return Tree(report.text).root


def test_ids_are_unique_and_every_link_and_label_has_its_target(tree: Element) -> None:
    everything = walk(tree)
    ids = [element.attributes["id"] for element in everything if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in everything:
        for name in ("href", "aria-labelledby", "data-filter", "data-table", "data-figure"):
            target = element.attributes.get(name)
            if target is not None:
                assert target.removeprefix("#") in ids, (element.tag, name, target)


def test_what_is_operated_has_a_name(tree: Element) -> None:
    for element in tree.all("input", "select", "button", "a", "summary"):
        label = element.parent
        while label is not None and label.tag != "label":
            label = label.parent
        named = element.attributes.get("aria-label") or element.text.strip() or (label.text.strip() if label else "")
        assert named, (element.tag, element.attributes)
    for element in walk(tree):
        if element.attributes.get("tabindex") == "0":
            assert element.attributes.get("role")
            assert {"aria-label", "aria-labelledby"} & set(element.attributes)
        if element.tag == "svg":
            assert element.attributes.get("aria-hidden") or element.attributes.get("aria-label")
    for fieldset in tree.all("fieldset"):
        assert fieldset.all("legend")[0].text.strip()


def test_headings_descend_by_one_and_tables_have_heads(tree: Element) -> None:
    (main,) = tree.all("main")
    levels = [int(heading.tag[1]) for heading in main.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    outside = [int(h.tag[1]) for h in main.all("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in pairwise(outside))
    for head in (th for table in main.all("table") for th in table.all("th")):
        inside_proof = head
        while inside_proof is not None and inside_proof.attributes.get("class") != "prose":
            inside_proof = inside_proof.parent
        assert inside_proof is not None or head.attributes.get("scope") in ("col", "row", "rowgroup")


def test_only_the_scripts_of_the_page_may_run(report: Rendered) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", report.text, re.S)
    allowed = re.search(r"script-src ([^\"]*)\"", report.text)
    assert len(scripts) == 2
    assert allowed is not None
    digests = [b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert allowed.group(1).split() == [f"'sha256-{digest}'" for digest in digests]
    assert "default-src 'none'" in report.text


def test_the_library_is_what_its_author_published() -> None:
    """Of uPlot 1.6.32; vendor/README.md says where it is from."""
    published = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    }
    for name, digest in published.items():
        assert hashlib.sha256((html.VENDOR / name).read_bytes()).hexdigest() == digest


# --- contrast ---------------------------------------------------------------------------------------------------------


def variables(css: str) -> tuple[dict[str, str], dict[str, str]]:
    """The colours by name of the light and of the dark scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    of = [dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block)) for block in (light, dark)]
    return of[0], {**of[0], **of[1]}


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_contrast_is_computed_as_it_is_defined() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_in_both_schemes(report: Rendered, scheme: int) -> None:
    css = report.text[report.text.index("<style>") : report.text.index("</style>")]
    colours = variables(css)[scheme]
    used = set(re.findall(r"(?<![-\w])color: var\(--([\w-]+)\)", css))
    assert {"ink", "quiet", "link", "holds", "violated", "inconclusive", "shape-only"} <= used
    grounds = {name: colours[name] for name in ("page", "card", "soft", "surface")}
    tint = mixed(colours["violated"], colours["card"], 0.09)  # behind the rows of what is violated
    for role in used:
        for background in [*grounds.values(), *([tint] if role in ("ink", "quiet", "link", "violated") else [])]:
            assert contrast(colours[role], background) >= 4.5, (role, background)
    for role in ("hue-1", "hue-2", "hue-3", "hue-4"):  # labels in still figures
        assert min(contrast(colours[role], grounds[name]) for name in ("card", "surface")) >= 4.5, role
    for line in range(1, 9):  # lines of the figure with switches
        assert contrast(colours[f"line-{line}"], colours["card"]) >= 3


def mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


# --- what the page holds ----------------------------------------------------------------------------------------------


def figures_of(text: str) -> list[dict]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)]


def test_the_figure_holds_the_numbers_of_the_evidence(report: Rendered) -> None:
    theory = next(one for one in figures_of(report.text) if one["name"] == "measured-and-bounds")
    cells, lines = ([entry["label"] for entry in group] for group in theory["groups"])
    assert cells == ["learning_rate = 0.02", "learning_rate = 0.05"]
    for place, alpha in enumerate((0.02, 0.05)):
        own = {lines[one["line"]]: one for one in theory["series"] if one["cell"] == place}
        for name, curve in (("measured (Monte Carlo)", running_average(alpha, 2000)), ("SGD: bound", sgd_bound(alpha, 2000))):
            steps = np.array(own[name]["x"]["step"])
            assert {1, 2000} <= set(steps)
            assert own[name]["y"] == curve[steps - 1].tolist()
        band = own["measured (Monte Carlo)"]
        assert np.all(np.array(band["lower"]) < band["y"])
        assert "lower" not in own["SGD: bound"]


def test_what_is_not_finite_is_no_number_and_no_markup(folder: Path) -> None:
    write_theory(folder)
    for name in ("evidence", "bounds"):
        path = folder / "theory" / f"{name}.parquet"
        frame = pd.read_parquet(path).assign(cell="</script><b>")
        if name == "evidence":
            frame.loc[frame["step"] == 2000, ["upper", "lower"]] = [np.inf, np.nan]
        frame.to_parquet(path)
    text, page = page_of(folder)
    assert "</script><b>" not in text
    assert "</script><b>" in page.text
    theory = figures_of(text)[0]
    assert theory["groups"][0][0]["label"] == "</script><b>"
    assert any(None in one.get("upper", []) for one in theory["series"])


def test_the_matrix_has_every_verdict_and_leads_to_its_row(tree: Element) -> None:
    (table,) = (one for one in tree.all("table") if one.attributes.get("id") == "matrix")
    heads = [head.text.strip() for head in table.all("thead")[0].all("th")][1:]
    assert heads == ["SGD", "run-length theorem", "Theorem 5.2", "signSGD"]
    rows = {row.all("th")[0].text: row.all("td") for row in table.all("tbody")[0].all("tr")}
    assert list(rows) == ["learning_rate = 0.02", "learning_rate = 0.05"]
    bodies = {one.attributes["id"]: one for one in tree.all("tbody") if "id" in one.attributes}
    for cell, entries in rows.items():
        for theorem, entry in zip(heads, entries, strict=True):
            (link,) = entry.all("a")
            row = bodies[link.attributes["href"][1:]].attributes
            assert (row["data-cell"], row["data-theorem"]) == (cell, theorem)
            assert link.attributes["aria-label"].startswith(f"{theorem}, {cell}: {row['data-status']}")


def test_too_many_cells_are_said_and_those_with_an_alarm_stay() -> None:
    verdicts = [{"theorem": "sgd", "label": "b", "status": "violated", "tightness": 1.5}]
    verdicts += [{"theorem": "sgd", "label": label, "status": "holds", "tightness": 0.5} for label in "acde"]
    found = matrix(verdicts, list("abcde"), rows=3)
    assert ([cell for cell, _ in found.rows], found.hidden) == (["a", "b", "c"], 2)
    assert found.rows[1][1][0] is not None
    assert found.rows[1][1][0].share == "150 %"


@pytest.mark.slow
def test_a_large_sweep_stays_under_three_megabytes(folder: Path) -> None:
    """As does a page of many runs: they share what one may hold."""
    write_theory(folder, tuple(np.linspace(0.001, 0.05, 130).round(6)), steps=200, sweep=True)
    write_training(folder)
    text, page = page_of(folder)
    assert len(text.encode()) <= 3_000_000
    assert "These are the 300 most urgent of 520 verdicts; all are in theory/verdicts.json." in page.text
    assert "10 least urgent cells are not shown" in page.text
    numbers = sum(len(one[key]) for one in figures_of(text)[0]["series"] for key in ("y", "lower", "upper") if key in one)
    assert numbers < 4 / 3 * overlay.NUMBERS
    several = write_report(*[folder] * 3, out=folder / "several.html")
    assert several.stat().st_size <= 3_000_000


# --- headings and counts that were wrong ------------------------------------------------------------------------------


def test_the_shade_of_a_violation_is_laid_once() -> None:
    """Twice, on a cell and on the link in it, it left the mark a contrast of 4.42."""
    css = (html.TEMPLATES / "report.css").read_text(encoding="utf-8")
    shaded = [
        rule.split("{")[0]
        for rule in re.findall(r"[^{}]+{[^{}]*}", css)
        if "background: color-mix(in srgb, var(--violated)" in rule
    ]
    assert not [selector for selector in shaded if re.search(r"\.violated (a|> span|b)\b", selector)]


def test_the_reason_stands_in_a_row_of_its_own_at_every_width(report: Rendered, tree: Element) -> None:
    """It was a column that vanished between 761 and 1,110 px, and in print."""
    css = report.text[report.text.index("<style>") : report.text.index("</style>")]
    assert not re.search(r"(table|\.verdicts)[^{}]*\{[^}]*min-width: \d\d", css)
    bodies = [one for one in tree.all("tbody") if one.attributes.get("id", "").startswith("verdict-")]
    assert len(bodies) == len(report.records)
    for body in bodies:
        _, second = body.all("tr")
        assert second.all("p")[0].text in {record["reason"] for record in report.records}
        assert second.all("td")[0].attributes["colspan"] == "7"


@pytest.mark.ecosystem
def test_a_figure_over_a_violation_does_not_say_under(folder: Path) -> None:
    write_theory(folder)
    assert "Measured under its bounds" in page_of(folder)[1].text
    path = folder / "theory" / "verdicts.json"
    records = json.loads(path.read_text())
    records[0] |= {"status": "violated", "tightness": 1.2}
    path.write_text(json.dumps(records))
    text = page_of(folder)[1].text
    assert "Measured, above a bound" in text
    assert "under its bounds" not in text


@pytest.mark.usefixtures("no_figures")
def test_not_applicable_does_not_say_that_all_premises_are_met(folder: Path) -> None:
    records = write_theory(folder)
    records[3]["premises"] = records[0]["premises"]
    (folder / "theory" / "verdicts.json").write_text(json.dumps(records))
    text = page_of(folder)[1].text
    assert text.count("all 2 premises met") == 3
    assert text.count("2 premises tested, none of them is the reason") == 1


@pytest.mark.ecosystem
def test_a_cut_overview_says_so(folder: Path) -> None:
    write_theory(folder, tuple(np.linspace(0.01, 0.05, 9)), steps=50, sweep=True)
    assert "24 of 27 verdicts" in page_of(folder)[1].text


@pytest.mark.usefixtures("no_figures")
def test_sigma_is_of_each_coordinate(folder: Path) -> None:
    write_theory(folder)
    assert "gaussian, σ of each coordinate 0.1" in page_of(folder)[1].text
    assert read(folder).experiment is not None
