"""The site: `make docs` builds it into build/docs, from the repository's own pages. Warnings are errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.site import keys
from frugal_theory.config.version import installed
from frugal_theory.report.formulas import mathml

project = "frugal-lab"
author = "the frugal-lab authors"
release = installed()
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The root of the sources is the repository, so that links between its pages are the same here and on a forge.
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "simulations/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [".venv", "build", "runs", "docs/images", "**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = f"frugal-lab {release}"
html_additional_pages = {"index": "to_the_start.html"}
templates_path = ["site"]
html_static_path = ["site/style.css"]
html_css_files = ["style.css"]
html_search_scorer = "docs/site/scorer.js"
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are shown with the outputs that they have
nb_render_markdown_format = "myst"
html_math_renderer = "mathml"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
python_maximum_signature_line_length = 88

LOG = logging.getLogger(__name__)


def formula(self: Any, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers set by themselves: no script, no font and no network."""
    block = isinstance(node, nodes.math_block)
    made = mathml(node.astext().strip(), display=block)
    if not made.startswith("<math"):
        LOG.warning("formula: %s", node.astext(), location=node)
    self.body.append(f'<div class="math">{made}</div>' if block else made)
    raise nodes.SkipNode


def generated(_app: Any, name: str, source: list[str]) -> None:
    """What pages take from the code: the keys of the experiment file, and what each command says of itself."""
    if name == "docs/reference/experiment":
        source[0] = source[0].replace("<!-- keys -->", keys.page())
    if name == "docs/reference/commands":
        for package in ("frugal_theory", "frugal_gpu"):
            source[0] = source[0].replace(f"<!-- {package} -->", commands(package))
    if name in ("docs/systems", "docs/theory"):
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n\n{name.removeprefix('docs/')}/*\n```\n"


def short(_app: Any, _what: str, _name: str, found: Any, _options: Any, _signature: str, _returns: str) -> Any:
    """No signature for a table of the experiment file: its keys are on a page of their own."""
    return ("", None) if isinstance(found, type) and issubclass(found, BaseModel) else None


def commands(package: str) -> str:
    """The help text of every command of a package."""
    from importlib import import_module

    app = import_module(f"{package}.commands.main").app
    program = package.replace("_", "-")
    names = sorted(one.name or one.callback.__name__.replace("_", "-") for one in app.registered_commands)
    call = f"import sys; from {package}.commands.main import app\nfor name in sys.argv[1:]:\n"
    call += f"    try: app([name, '--help'], prog_name='{program}')\n    except SystemExit: print('\\f', flush=True)"
    said = subprocess.run(
        [sys.executable, "-c", call, *names],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "TERMINAL_WIDTH": "100", "COLUMNS": "100", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    texts = said.stdout.split("\f")
    return "\n\n".join(
        f"### `{program} {name}`\n\n```text\n{text.strip()}\n```" for name, text in zip(names, texts, strict=False)
    )


def setup(app: Any) -> None:
    """What is ours: formulas, and pages from the code."""
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula, None))
    app.connect("source-read", generated)
    app.connect("autodoc-process-signature", short)
