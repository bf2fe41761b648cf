"""A pytest plugin: every test's outcome as a line of JSON, as soon as it is known: a run that is stopped has results, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", metavar="FILE", help="append every test's outcome to this file, a line of JSON each")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--outcomes")
    if path and not hasattr(config, "workerinput"):  # with pytest-xdist the workers' reports come to the controller
        config.pluginmanager.register(Outcomes(Path(path)))


class Outcomes:
    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._add(report.nodeid, report.outcome if report.when == "call" else _beside(report), report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome == "failed":
            self._add(report.nodeid, "error", report)

    def _add(self, test: str, outcome: str, report: Any) -> None:
        line = {"test": test, "outcome": outcome, "seconds": round(getattr(report, "duration", 0.0), 3)}
        if outcome in ("failed", "error"):
            line["what"] = report.longreprtext[-3000:]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _beside(report: pytest.TestReport) -> str:
    """Of what is set up before a test and taken down after it."""
    return "skipped" if report.outcome == "skipped" else "error"
