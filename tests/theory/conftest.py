"""Results folders that the tests of the report look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from frugal_theory.report import html
from frugal_theory.report.figures import Figures
from tests.theory.results_folders import EXPERIMENT, Rendered, rendered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty results folder with its experiment."""
    return _folder(tmp_path)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """A report of theory and practice, rendered once. Nobody writes to its folder."""
    return rendered(_folder(tmp_path_factory.mktemp("report")))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without their still figures, which take most of the time, for tests that read the words alone."""
    monkeypatch.setattr(html, "draw", lambda *_: Figures([], [], None, [], []))


def _folder(place: Path) -> Path:
    directory = place / "runs" / "demo"
    directory.mkdir(parents=True)
    (directory / "experiment.toml").write_text(EXPERIMENT)
    return directory
