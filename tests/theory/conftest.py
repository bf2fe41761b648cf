"""Results folders that the tests of the report look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.theory.results_folders import EXPERIMENT, Rendered, rendered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty results folder with its experiment."""
    return _folder(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """A report of theory and practice, rendered once a module. Nobody writes to its folder."""
    return rendered(_folder(tmp_path_factory.mktemp("report")))


def _folder(place: Path) -> Path:
    directory = place / "runs" / "demo"
    directory.mkdir(parents=True)
    (directory / "experiment.toml").write_text(EXPERIMENT)
    return directory
