"""The site builds without a warning, needs no network, and every link in it leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.browser import chromium
from tests.pages import ROOT

pytest.importorskip("sphinx", reason='needs the extra "docs"')
pytestmark = pytest.mark.ecosystem


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-c", "docs", "-d", str(out / "doctrees")]
    call = [sys.executable, "-m", "sphinx", *options, ".", str(out / "html")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_it_opens_from_a_folder_without_a_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="([^"]+)"', text)
        assert not [target for target in loaded if re.match(r"(?:https?:)?//", target)], page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_every_link_leads_to_a_file_and_a_place_in_it(site):
    names = {}
    for page in site.rglob("*.html"):
        names[page] = set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))
    for page in names:
        for target in re.findall(r'<a\b[^>]*?href="([^"]+)"', page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there: Path = (page.parent / unquote(path)).resolve() if path else page
            assert there.exists(), f"{page.name}: {target}"
            if anchor and there in names:
                assert unquote(anchor) in names[there], f"{page.name}: {target}"


def test_formulas_are_set(site):
    """As MathML: no dollar sign and no command of LaTeX is left in what a reader sees."""
    pages = [site / "docs" / "theory.html", *(site / "docs" / "theory").glob("*.html"), *(site / "docs" / "systems").glob("*")]
    assert len(pages) > 25
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<math" in text
        article = re.sub(r"<(code|pre)\b.*?</\1>", "", text[text.index("<article") :], flags=re.DOTALL)
        assert not re.search(r"\$|\\[A-Za-z|{}]", re.sub(r"<[^>]+>", " ", article)), page.name


def test_notebooks_keys_and_names_are_there(site):
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").exists()
    experiment = (site / "docs" / "reference" / "experiment.html").read_text(encoding="utf-8")
    assert "fraction_of_admissible" in experiment
    assert "document_words" in experiment
    python = (site / "docs" / "reference" / "python.html").read_text(encoding="utf-8")
    assert all(f'id="frugal_theory.{name}"' in python for name in ("verify", "Experiment", "THEOREMS", "__version__"))
    commands = (site / "docs" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert commands.count("Usage: frugal-theory") >= 12
    assert commands.count("Usage: frugal-gpu") >= 8


def test_no_page_is_wider_than_its_window(site):
    """Nor are its contents, at the right, cut. Wide tables scroll by themselves."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra ecosystem")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        for name in ("docs/index", "docs/theory", "docs/scale", "docs/reference/experiment", "notebooks/interpolation"):
            page.goto((site / f"{name}.html").as_uri())
            for width in (390, 768, 1024, 1280, 1320, 1440, 1600, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width}"
        browser.close()


QUESTIONS = {
    "how do I add my theorem": "docs/howto/theorem.html",
    "memory of FRUGAL on 7B": "docs/howto/gpu.html",
    "my own data": "docs/howto/data.html",
    "resume": "docs/training.html",
}


def test_the_search_finds_what_answers_a_question(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra ecosystem")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        first = {}
        for question in QUESTIONS:
            page.goto(f"{(site / 'search.html').as_uri()}?q={question.replace(' ', '+')}")
            first[question] = page.locator("#search-results li a").first.get_attribute("href").partition("#")[0]
        browser.close()
    assert first == QUESTIONS


def test_no_block_of_code_is_empty(site):
    for page in site.rglob("*.html"):
        blocks = re.findall(r"<pre\b[^>]*>(.*?)</pre>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert all(re.sub(r"<[^>]+>", "", block).strip() for block in blocks), page.name


def test_no_footer_speaks_of_nothing(site):
    assert "Copyright" not in (site / "docs" / "index.html").read_text(encoding="utf-8")
