"""One schema of results: what is written has the columns and keys that it says, and is read back by it."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest

from frugal_theory.config.cells import cells, label
from frugal_theory.results.read import read
from frugal_theory.results.schema import BOUNDS, EVIDENCE, TRAINING_EVIDENCE, VERDICTS, settings_columns
from frugal_theory.results.write import write_results
from frugal_theory.verdicts.claims import claims_of
from frugal_theory.verdicts.judging import judge
from frugal_theory.verdicts.status import STATUSES, counted
from frugal_theory.verdicts.verdict import Verdict
from frugal_theory.verdicts.verify import gather_all

SWEEP = {
    "sweep": {"algorithm.density": [0.5, 1.0], "algorithm.state_full": ["sgdm", {"rule": "sgdm", "beta": 0.5}]},
    "verify.theorems": ["run_length", "theorem_5_2"],
    "simulation.trials": 8,
}


@pytest.fixture(scope="module")
def verified(quadratic):
    """A sweep of four cells: the experiment, its claims, their evidence and verdicts."""
    experiment = quadratic(SWEEP)
    ready = claims_of(experiment)
    evidence = list(gather_all(ready))
    return experiment, ready, evidence, judge(ready, evidence, 0.99)


@pytest.fixture
def written(verified, tmp_path):
    """The folder of the sweep, and its verdicts."""
    write_results(tmp_path, *verified)
    return tmp_path, verified[-1]


def test_every_table_has_the_sweep_in_columns(written):
    folder, verdicts = written
    for file in (EVIDENCE, BOUNDS):
        table = pd.read_parquet(folder / file.path)
        assert list(table.columns) == [*file.columns, "algorithm.density", "algorithm.state_full"]
        for (density, rule), rows in table.groupby(["algorithm.density", "algorithm.state_full"]):
            said = {"algorithm.density": density, "algorithm.state_full": rule if rule == "sgdm" else json.loads(rule)}
            assert set(rows["cell"]) == {label(said)}
        assert table["algorithm.density"].dtype == float
        assert table.groupby("cell").ngroups == 4
    assert {verdict.label for verdict in verdicts} == set(table["cell"])


def test_a_verdict_is_written_and_read_as_it_is(written):
    folder, verdicts = written
    records = json.loads((folder / VERDICTS.path).read_text())
    assert [list(record) for record in records] == [list(VERDICTS.columns)] * len(verdicts)
    assert [record["label"] for record in records] == [label(verdict.cell) for verdict in verdicts]
    found = {(record["theorem"], record["label"]): record for record in read(folder).verdicts}
    assert found == {(verdict.theorem, verdict.label): verdict.record() for verdict in verdicts}


def test_the_schema_knows_every_field():
    assert list(VERDICTS.columns) == [field.name for field in dataclasses.fields(Verdict)]


def test_older_verdicts_have_their_labels_made(written):
    folder, verdicts = written
    records = [verdict.record() for verdict in verdicts]
    for record in records:
        del record["label"]
    (folder / VERDICTS.path).write_text(json.dumps(records))
    assert {record["label"] for record in read(folder).verdicts} == {verdict.label for verdict in verdicts}


@pytest.mark.parametrize("file", [EVIDENCE, BOUNDS])
def test_a_table_without_a_column_is_one_line(written, file):
    folder, _ = written
    path = folder / file.path
    pd.read_parquet(path).drop(columns="metric").to_parquet(path)
    with pytest.raises(ValueError, match="the column 'metric' is missing"):
        read(folder)


def test_columns_are_of_numbers_or_of_text(quadratic):
    swept = cells(quadratic({"sweep": {"simulation.trials": [8, 16], "problem.dimension": [4]}}))
    assert settings_columns(swept) == [
        {"simulation.trials": 8, "problem.dimension": 4},
        {"simulation.trials": 16, "problem.dimension": 4},
    ]
    assert settings_columns(cells(quadratic())) == [{}]
    fraction = {"fraction_of_admissible": 0.5}
    mixed = cells(quadratic({"sweep": {"algorithm.learning_rate": [0.1, fraction]}}))
    assert settings_columns(mixed) == [
        {"algorithm.learning_rate": "0.1"},
        {"algorithm.learning_rate": json.dumps(fraction)},
    ]


def test_training_writes_the_columns_of_its_evidence():
    log = pytest.importorskip("frugal_gpu.train.log", reason="needs the extra gpu")
    evidence = log.training_evidence([{"step": 1, "squared_gradient_norm": 2.0}])
    assert list(evidence.frame().columns) == list(TRAINING_EVIDENCE.columns)


def test_every_status_has_a_sign_and_is_counted():
    assert len({(sign.mark, sign.role) for sign in STATUSES.values()}) == len(STATUSES)
    assert all(sign.meaning and sign.style for sign in STATUSES.values())
    assert counted(["holds"]) == "1 holds"
    assert counted(["odd", "not applicable", "holds", "violated", "holds"]) == "1 violated, 2 hold, 1 not applicable, 1 odd"
