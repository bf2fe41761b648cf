"""Notebooks as a reader meets them: converted to pages, in a browser, with formulas set by MathJax and no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.browser import REPORTING, chromium, loaded, served

pytestmark = pytest.mark.ecosystem

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MATHJAX = Path("/usr/share/javascript/mathjax")
"""Debian's libjs-mathjax."""

ASKED = r"""
<script type="text/x-mathjax-config">
MathJax.Hub.Queue(() => {
  const inside = selector => [...document.querySelectorAll(selector)];
  const set = "code, pre, script, [class^=MathJax], [class*=' MathJax'], .MJX_Assistive_MathML";
  const said = [];
  for (const cell of inside(".jp-RenderedMarkdown")) {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (!node.parentElement.closest(set)) said.push(node.textContent);
    }
  }
  const wider = element => element.scrollWidth > element.clientWidth + 1;
  report({
    formulas: MathJax.Hub.getAllJax().length,
    misread: inside(".MathJax_Error, .merror, .mjx-merror, [data-mjx-error]").map(e => e.textContent),
    text: said.join("\n"),
    headings: inside("h1").map(e => e.textContent),
    cut: inside(".jp-RenderedMarkdown, .jp-RenderedImage, .jp-RenderedText").filter(wider).map(e => e.textContent.slice(0, 80)),
    broken: inside("img").filter(e => !e.complete || !e.naturalWidth).length,
    images: inside("img").length,
    widest: document.documentElement.scrollWidth,
    window: innerWidth,
  });
});
</script>
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The address of a folder with a page a notebook."""
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is missing: pip install 'frugal-lab[notebooks]'")
    chromium()
    if not (MATHJAX / "MathJax.js").is_file():
        pytest.skip("no MathJax here: apt-get install libjs-mathjax")
    folder = tmp_path_factory.mktemp("pages")
    (folder / "mathjax").symlink_to(MATHJAX.resolve())
    (folder / "nothing.js").write_text("")
    exporter = nbconvert.HTMLExporter(
        mathjax_url="mathjax/MathJax.js?config=TeX-AMS-MML_SVG",
        require_js_url="nothing.js",
        jquery_url="nothing.js",
        mermaid_js_url="nothing.js",
    )
    for path in NOTEBOOKS:
        page, _ = exporter.from_filename(str(path))
        page = page.replace("<head>", f"<head>{REPORTING}", 1).replace("</head>", f"{ASKED}</head>", 1)
        (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
    with served(folder) as address:
        yield address


def written(name):
    """The number of formulas in a notebook's text."""
    cells = json.loads((NOTEBOOKS[0].parent / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return sum(len(re.findall(r"\$\$.*?\$\$|\$.*?\$", cell, flags=re.S)) for cell in text)


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_reads_well_in_a_browser(pages, name, tmp_path):
    found = loaded(f"{pages}/{name}.html", tmp_path / "profile")
    assert found["complaints"] == []
    assert found["misread"] == []
    assert found["formulas"] == written(name)
    assert "$" not in found["text"]
    assert "\\" not in found["text"]
    assert not any(line.startswith("# ") for line in found["text"].splitlines())
    assert len(found["headings"]) == 1
    assert found["images"] > 0
    assert found["broken"] == 0
    assert found["cut"] == []
    assert found["widest"] <= found["window"]
