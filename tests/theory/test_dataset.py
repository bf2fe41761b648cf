"""Logistic regression on data of one's own: the same numbers from every format, and one line for what is no data."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.problems.logistic import signed_features
from tests.tolerances import ROUNDING

TEXT = 'name = "own"\n[algorithm]\nlearning_rate = 0.1\nsubspace = "coordinates"\nstate_full = "sgdm"\nstate_free = "sgd"\n'


@pytest.fixture
def table(tmp_path):
    """Features and labels, and the same in files of every format."""
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(20, 3)).round(6), np.where(np.arange(20) % 3 == 0, 1, -1)
    rows = [f"{','.join(map(str, row))},{label}" for row, label in zip(features, labels, strict=True)]
    (tmp_path / "a.csv").write_text("p,q,r,y\n" + "\n".join(rows))
    (tmp_path / "words.csv").write_text("y,p,q,r\n" + "\n".join(
        f"{'yes' if label > 0 else 'no'},{','.join(map(str, row))}" for row, label in zip(features, labels, strict=True)
    ))  # fmt: skip
    (tmp_path / "a.tsv").write_text(("p,q,r,y\n" + "\n".join(rows)).replace(",", "\t"))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(("p,q,r,y\n" + "\n".join(rows)).encode()))
    sparse = [f"{label} " + " ".join(f"{j + 1}:{value}" for j, value in enumerate(row)) for row, label in zip(features, labels, strict=True)]  # fmt: skip  # noqa: E501
    (tmp_path / "a.svm").write_text("\n".join(sparse) + "\n")
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    return tmp_path, standard * labels[:, None]


def parsed(dataset, **keys):
    return ft.parse(TEXT, overrides={"problem": {"kind": "logistic", "dataset": str(dataset), **keys}})


@pytest.mark.parametrize("name", ["a.csv", "words.csv", "a.tsv", "a.csv.gz", "a.svm"])
def test_every_format_gives_the_same_problem(table, name):
    folder, expected = table
    keys = {"label": "y"} if name == "words.csv" else {}
    experiment = parsed(folder / name, **keys)
    problem = ft.build_problem(experiment)
    assert experiment.problem.dimension == 3
    np.testing.assert_allclose(problem.signed_features, expected, rtol=0, atol=ROUNDING)
    assert np.isfinite(ft.simulate(experiment.model_copy(update={"simulation": experiment.simulation})).mean).all()


def test_a_file_that_changes_is_read_again(table):
    folder, _ = table
    first = signed_features(str(folder / "a.csv"))
    text = (folder / "a.csv").read_text().splitlines()
    (folder / "a.csv").write_text("\n".join(text[:11]))
    assert (len(first), len(signed_features(str(folder / "a.csv")))) == (20, 10)


BAD = {
    "brest-cancer": ({}, '"breast-cancer", "digits" are allowed, or the path of a file'),
    "none.csv": ({}, "no such file or directory"),
    "three.csv": ({}, r"the labels have 3 values \(1, 2, 3\); two are allowed"),
    "text.csv": ({}, 'column "p" has entries that are no numbers'),
    "hole.csv": ({}, "a feature is missing or not finite"),
    "empty.csv": ({}, "no table"),
    "bad.svm": ({}, "no libsvm file"),
    "a.csv": ({"label": "z"}, 'has no column "z" of labels; it has p, q, r, y'),
    "a.svm": ({"label": "y"}, "a libsvm file has no names"),
    "digits": ({"label": "y"}, "label names a column of a file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_one_line(table, name, monkeypatch):
    folder, _ = table
    monkeypatch.chdir(folder)
    (folder / "three.csv").write_text("p,y\n1,1\n2,2\n3,3\n")
    (folder / "text.csv").write_text("p,y\na,1\nb,2\n")
    (folder / "hole.csv").write_text("p,q,y\n1,2,1\n,2,2\n")
    (folder / "empty.csv").write_text("")
    (folder / "bad.svm").write_text("this is no such file\n")
    keys, words = BAD[name]
    with pytest.raises(ft.ExperimentError, match=words) as caught:
        parsed(name, **keys)
    assert "\n" not in str(caught.value)
    assert "problem" in str(caught.value)
    assert name in str(caught.value) or name == "digits"
