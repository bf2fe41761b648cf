"""What the report calls things: theorems, metrics, statuses, numbers."""

from __future__ import annotations

import pytest

import frugal_theory as ft
from frugal_theory.metrics import add_metric
from frugal_theory.metrics import words as metric_words
from frugal_theory.report import panels, words
from frugal_theory.report.experiment import rule_name
from frugal_theory.report.words import memory, number, percent, verdict_sentence
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.run_length_sharp import RunLengthSharp


def test_every_theorem_and_its_metric_have_names() -> None:
    """A new theorem needs a ``short_name``, and a ``label`` if that is too long for the end of a line."""
    names = {name: words.theorem_name(name) for name in THEOREMS}
    labels = {name: words.theorem_label(name) for name in THEOREMS}
    assert names == {name: theorem.short_name for name, theorem in THEOREMS.items()}
    assert len(set(names.values())) == len(set(labels.values())) == len(THEOREMS)
    assert max(map(len, labels.values())) <= panels.LINE_LABEL
    for name, theorem in THEOREMS.items():
        assert words.theorem_statement(name) == (theorem.statement, theorem.source)
        assert metric_words(theorem.metric).title.startswith("average ")
    assert words.theorem_statement("of somebody else") == ("", "")


class LargestCoordinate:
    """A metric from outside, with a title."""

    title = "average max|g|"

    def __call__(self, gradients, *_):
        return max(abs(g).max() for g in gradients.values())


class Derived(RunLengthSharp):
    """What somebody derives from a theorem has its title, or not even that: never the names of its parent."""

    name = "half_of_it"


def test_what_is_added_is_called_by_its_own_name() -> None:
    with ft.extended():
        ft.add_theorem(Derived())
        assert (words.theorem_name("half_of_it"), words.theorem_label("half_of_it")) == ("half of it", "half of it")
    with ft.extended():
        Derived.title = "Half of the sharp run-length theorem"
        ft.add_theorem(Derived())
        assert words.theorem_name("half_of_it") == "Half of the sharp run-length theorem"
    assert words.theorem_name("of_somebody_else") == "of somebody else"
    assert metric_words("largest_coordinate")[:2] == ("largest coordinate", "largest coordinate")
    with ft.extended():
        add_metric("largest_coordinate", LargestCoordinate())
        assert metric_words("largest_coordinate")[:2] == ("average max|g|", "largest coordinate")
    assert [rule_name(name) for name in ("adamw", "signsgd", "none", "mine")] == ["AdamW", "signSGD", "none", "mine"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (61.2134, "61.2"),
        (389.2, "389"),
        (1234567.0, "1.23×10⁶"),
        (12345, "12,345"),
        (0.000012, "1.2×10⁻⁵"),
        (1e-5, "10⁻⁵"),
        (-0.5, "−0.5"),
        (None, "–"),
        ("inf", "∞"),
        ("nan", "–"),
        (999_999.7, "1,000,000"),
        (0.0999999, "0.1"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.372, "37 %"),
        (1.0, "100 %"),
        (0.99999, "< 100 %"),
        (1.00001, "> 100 %"),
        (1.083, "108 %"),
        (0.985, "98 %"),
        (0.9951, "99.51 %"),
        (1.004, "100.4 %"),
        (0.0012, "0.12 %"),
    ],
)
def test_percentages_never_round_to_the_line(share: float, text: str) -> None:
    assert percent(share) == text


def test_sentences() -> None:
    assert verdict_sentence([{"status": "holds"}]) == "1 verdict: 1 holds; nothing violated"
    assert verdict_sentence([{"status": "inconclusive"}, {"status": "violated"}]) == "2 verdicts: 1 violated, 1 inconclusive"
    assert [memory(b) for b in (0, 999, 24_500_000, 3e9)] == ["0 B", "999 B", "24.5 MB", "3 GB"]
