"""The page in a browser: nothing complains, nothing is cut, switches switch, and on paper every reason is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from frugal_theory.report import write_report
from tests.browser import chromium
from tests.theory.results_folders import EXPERIMENT, write_ladder, write_study, write_theory, write_training

pytestmark = pytest.mark.ecosystem

WIDTHS = (390, 768, 1024, 1280)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra ecosystem")
    path = chromium()
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells with a violation, a training run, a ladder and a study."""
    directory = tmp_path_factory.mktemp("browser") / "runs" / "demo"
    directory.mkdir(parents=True)
    (directory / "experiment.toml").write_text(EXPERIMENT)
    records = write_theory(directory, (0.02, 0.05), sweep=True)
    records[4] |= {"status": "violated", "tightness": 1.2, "reason": "A long reason, " + "word " * 40 + "and its end."}
    (directory / "theory" / "verdicts.json").write_text(json.dumps(records))
    write_training(directory)
    write_ladder(directory)
    write_study(directory / "studies" / "a", "a", "yes")
    write_report(directory)
    return directory


def opened(browser: Any, folder: Path, width: int = 1280, scheme: str = "light", scripts: bool = True) -> tuple[Any, list[str]]:
    """The page, and what its console says."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
    )
    page.goto((folder / "report.html").as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_complains_and_nothing_is_cut(browser: Any, folder: Path, width: int, scheme: str) -> None:
    page, said = opened(browser, folder, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for reason in page.locator(".verdicts .reason").all():
        box = reason.bounding_box()
        assert box is not None
        assert box["height"] > 10
        assert box["x"] + box["width"] <= width
    assert page.locator(".drawing canvas").count() == 2
    assert all(canvas.bounding_box()["width"] > 200 for canvas in page.locator(".drawing canvas").all())
    assert said == []
    page.context.close()


def test_switches_hover_and_keyboard(browser: Any, folder: Path) -> None:
    page, said = opened(browser, folder)
    figure = page.locator("#figure")
    rows = figure.locator(".readout tbody tr")
    before = rows.count()
    figure.get_by_label("learning_rate = 0.05").uncheck()
    assert 0 < rows.count() < before
    assert not any("0.05" in text for text in rows.all_inner_texts())
    figure.get_by_label("run-length theorem", exact=False).check()
    assert any("run-length" in text for text in rows.all_inner_texts())
    figure.get_by_label("vertical axis logarithmic").uncheck()
    assert figure.locator("canvas").count() == 1
    box = figure.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert figure.locator("caption").inner_text().startswith("step k = ")
    figure.locator(".drawing").focus()
    page.keyboard.press("End")
    assert figure.locator("caption").inner_text() == "step k = 2,000"
    assert "SGD" in figure.locator("[role=status]").inner_text()
    page.get_by_role("button", name="None of the cells").click() if page.get_by_role(
        "button", name="None of the cells"
    ).count() else None
    runs = page.locator("#runs-figure")
    for axis, label in (
        ("tokens", "tokens"),
        ("seconds of training", "seconds of training"),
        ("bytes of optimizer state", "bytes"),
    ):
        runs.locator("[data-axis]").select_option(axis)
        runs.locator(".drawing").focus()
        page.keyboard.press("Home")
        assert runs.locator("caption").inner_text().startswith(label)
    assert said == []
    page.context.close()


def test_sorting_filtering_links_and_files(browser: Any, folder: Path) -> None:
    page, said = opened(browser, folder)
    visible = page.locator("#verdicts tbody:not([hidden])")
    assert visible.count() == 8
    page.locator(".filter").get_by_label("Status").select_option("violated")
    assert visible.count() == 1
    assert page.locator(".filter output").inner_text() == "1 of 8 shown"
    page.get_by_role("button", name="Show all").click()
    visible.nth(7).wait_for()
    page.locator("#verdicts").get_by_role("button", name="Tightness").click()
    shares = [cell.get_attribute("data-v") for cell in page.locator("#verdicts td[data-label=Tightness]").all()]
    numbers = [float(share) for share in shares if share]
    assert numbers == sorted(numbers)
    assert shares[len(numbers) :] == [""] * (8 - len(numbers))
    assert page.locator("#verdicts th[aria-sort=ascending]").inner_text().startswith("Tightness")
    with page.expect_download() as file:
        page.get_by_role("button", name="CSV of the rows shown").click()
    saved = Path(file.value.path()).read_text()
    assert saved.splitlines()[0].startswith("Status,Theorem,Cell,Measured,Bound,Tightness,Learning rate,reason,lower,upper")
    assert len(saved.splitlines()) == 9
    records = json.loads((folder / "theory" / "verdicts.json").read_text())
    assert all(repr(record["measured"]) in saved for record in records if record["measured"])
    with page.expect_download() as file:
        page.locator("#figure").get_by_role("button", name="CSV of all lines").click()
    assert len(Path(file.value.path()).read_text().splitlines()) > 1000
    page.locator("#verdict-1 a[data-figure]").click()
    assert page.locator("#figure .drawing").evaluate("element => element === document.activeElement")
    assert not any("0.02" in text for text in page.locator("#figure .readout tbody tr").all_inner_texts())
    page.locator("#matrix td a").first.click()
    assert "#verdict-" in page.url
    page.locator("#theorem-run_length").get_by_role("link", name="Proof").click()
    assert page.locator("#proof-run-length").evaluate("element => element.open")
    assert page.locator("#proof-run-length math").first.is_visible()
    assert said == []
    page.context.close()


def test_the_ladder_and_the_comparison_of_runs_are_data_too(browser: Any, folder: Path, tmp_path: Path) -> None:
    """A row a rung with every digit, its cell and its interval; a row a run, in the words of the page."""
    write_report(folder, folder, out=tmp_path / "report.html")
    page, said = opened(browser, tmp_path)
    with page.expect_download() as file:
        page.locator("#run-1 #run-1-ladder").get_by_role("button", name="CSV of this table").click()
    rungs = pd.read_csv(file.value.path())
    (ladder,) = json.loads((folder / "ladder.json").read_text())["ladders"]
    assert list(rungs["Average"].fillna(0)) == [rung["value"] or 0 for rung in ladder["rungs"]]
    assert list(rungs["lower"].fillna(0)) == [rung["lower"] or 0 for rung in ladder["rungs"]]
    assert set(rungs["cell"]) == {"a cell"}
    assert list(rungs["Against the next rung"].fillna("")) == ["equal", "below 33 %", "", ""]
    with page.expect_download() as file:
        page.locator("#overview + .tools").get_by_role("button", name="CSV of this table").click()
    runs = pd.read_csv(file.value.path())
    assert list(runs.columns) == ["Run", "Theory", "Practice"]
    assert list(runs["Theory"]) == 2 * ["8 verdicts: 1 violated, 3 hold, 2 shape only, 2 not applicable"]
    assert said == []
    page.context.close()


def test_without_scripts_everything_is_there(browser: Any, folder: Path) -> None:
    page, _ = opened(browser, folder, scripts=False)
    assert not page.locator("#figure").is_visible()
    assert page.locator("#measured-and-bounds-01 svg").is_visible()
    assert page.locator("#verdicts .reason").first.is_visible()
    assert not page.locator(".filter").is_visible()
    assert page.locator("#theorem-sgd math").first.is_visible()
    page.context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_on_paper_every_reason_is_there(browser: Any, folder: Path, tmp_path: Path, scripts: bool) -> None:
    reader = pytest.importorskip("pypdf", reason="needs the extra ecosystem").PdfReader
    page, _ = opened(browser, folder, scripts=scripts)
    page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    pages = reader(tmp_path / "page.pdf").pages
    assert (round(pages[0].mediabox.width), round(pages[0].mediabox.height)) == (595, 842)
    text = "".join("".join(one.extract_text() for one in pages).split())
    for record in json.loads((folder / "theory" / "verdicts.json").read_text()):
        assert "".join(record["reason"].split()) in text
    assert "Howtighteachboundis" in text, "the still figures are printed"
    page.context.close()


def test_a_run_in_progress_is_read_again(browser: Any, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "experiment.toml").write_text(EXPERIMENT)
    write_training(directory, until=100)
    write_report(directory, reload=0.5)
    page, said = opened(browser, directory)
    page.locator("#runs-figure").get_by_label("vertical axis logarithmic").uncheck()
    shutil.rmtree(directory / "training")
    write_training(directory)
    write_report(directory)
    page.locator("body:not([data-reload])").wait_for(timeout=20_000)
    assert "1,000 steps" in page.locator("header").inner_text()
    assert said == []
    page.context.close()
