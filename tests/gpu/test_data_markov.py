"""The Markov language: its law, its entropy rate, and its text."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from frugal_gpu.data import markov, tokens
from frugal_theory.config import Data
from frugal_theory.config.data import Markov
from frugal_theory.config.load import parse
from tests.tolerances import LEAST_P_VALUE, ROUNDING, STANDARD_ERRORS


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))


SMALL = Markov(words=12, successors=3, document_words=5.0, seed=4)


def test_stationary_law_of_two_states():
    """P = [[1−a, a], [b, 1−b]]: π = (b, a)/(a + b), H = π₀ h(a) + π₁ h(b)."""
    a, b = 0.3, 0.05
    matrix = np.array([[1 - a, a], [b, 1 - b]])
    np.testing.assert_allclose(markov.stationary(matrix), [b / (a + b), a / (a + b)], rtol=ROUNDING)

    def h(p):
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    assert markov.entropy_rate(matrix) == pytest.approx((b * h(a) + a * h(b)) / (a + b), rel=ROUNDING)


@pytest.mark.parametrize("table", [SMALL, Markov(), Markov(words=2, successors=1), Markov(words=40, successors=40)])
def test_entropy_rate_in_closed_form(table):
    """Every word's row has the same entropy, h(q) + (1 − q) H(w), and π₀ = q/(1 + q): a document has 1/q words and one end.

    So H = π₀ H(first) + (1 − π₀)(h(q) + (1 − q) H(w)), a formula without the transition matrix or a linear system.
    """
    q = 1 / table.document_words
    first, weights = (w / w.sum() for w in (1 / np.arange(1, n + 1) for n in (table.words, table.successors)))
    end = q / (1 + q)
    row = stats.entropy([q, 1 - q]) + (1 - q) * stats.entropy(weights)
    expected = end * stats.entropy(first) + (1 - end) * row
    assert markov.entropy_rate(markov.language(table).transitions()) == pytest.approx(expected, rel=ROUNDING)


def test_transitions_are_a_law_with_the_stationary_one():
    matrix = markov.language(SMALL).transitions()
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=ROUNDING)
    assert ((matrix[1:, 1:] > 0).sum(1) == SMALL.successors).all()
    law = markov.stationary(matrix)
    np.testing.assert_allclose(law @ matrix, law, rtol=ROUNDING)
    assert (law > 0).all()


def test_the_text_is_drawn_from_the_law():
    """The transitions of the stream against P, row by row; and the loss of the law on it against the entropy rate."""
    data = Data(source="markov", markov=SMALL, tokens=60_000)
    corpus = tokens.prepare(data, 0, 257, 16, 0)
    matrix = markov.language(SMALL).transitions()
    for part in (corpus.train, corpus.validation):
        stream = np.asarray(part.stream, dtype=np.int64)
        seen = np.zeros_like(matrix)
        np.add.at(seen, (stream[:-1], stream[1:]), 1)
        assert (matrix[seen > 0] > 0).all()
        for row, law in zip(seen, matrix, strict=True):
            allowed = law > 0
            if allowed.sum() > 1:
                assert stats.chisquare(row[allowed], law[allowed] * row.sum()).pvalue > LEAST_P_VALUE
        nll = -np.log(matrix[stream[:-1], stream[1:]])
        # documents are independent of each other: sums over them and their lengths give the ratio's error
        ends = np.flatnonzero(stream[1:] == 0)
        sums = np.add.reduceat(nll[: ends[-1] + 1], [0, *(ends[:-1] + 1)])
        lengths = np.diff([-1, *ends])
        rate = corpus.entropy_rate
        error = math.sqrt(((sums - rate * lengths) ** 2).sum()) / lengths.sum()
        assert abs(sums.sum() / lengths.sum() - rate) < STANDARD_ERRORS * error


def test_one_token_a_word_and_the_parts_differ():
    data = Data(source="markov", markov=SMALL, tokens=500)
    corpus = tokens.prepare(data, 0, 257, 16, 0)
    assert corpus.vocabulary == SMALL.words + 1
    reader = markov.SOURCE.reader(data, "train", None)
    words = [int(word[1:]) + 1 for _, text in zip(range(200), reader, strict=False) for word in (*text.split(), "w-1")]
    assert corpus.train.stream.tolist() == [0, *words][:501]
    assert corpus.validation.stream[:501].tolist() != corpus.train.stream.tolist()
    assert tokens.prepare(data, 1, 257, 16, 0).key == corpus.key  # the experiment's seed does not change the language
    other = data.model_copy(update={"markov": SMALL.model_copy(update={"seed": 5})})
    assert tokens.prepare(other, 0, 257, 16, 0).key != corpus.key


def test_ids_that_are_read_off_the_words_are_the_tokenizers():
    data = Data(source="markov", markov=SMALL)
    made = markov.SOURCE.tokenizer(data)
    for _, document in zip(range(20), markov.SOURCE.reader(data, "train", None), strict=False):
        assert markov.SOURCE.ids(document) == made.encode(document).ids


def test_a_reader_goes_on_where_it_was():
    data = Data(source="markov", markov=SMALL)
    read = markov.SOURCE.reader(data, "train", None)
    for _ in range(markov.LANES + 10):
        next(read)
    again = markov.SOURCE.reader(data, "train", read.state())
    assert [next(again) for _ in range(300)] == [next(read) for _ in range(300)]


def test_more_steps_read_on_and_the_order_stays(monkeypatch):
    monkeypatch.setattr(tokens, "WINDOW", 256)
    data = Data(source="markov", markov=SMALL)
    short, long = (tokens.prepare(data, 0, 257, 16, needed) for needed in (500, 2000))
    assert (len(short.train), len(long.train), short.window) == (32, 128, 16)
    assert short.key == long.key
    assert np.array_equal(short.train.stream, long.train.stream[: len(short.train.stream)])
    again = tokens.prepare(data, 0, 257, 16, 500)
    assert len(again.train) == 32  # what another run has read is not this run's


def test_a_run_prints_what_cannot_be_beaten_and_does_not_beat_it(tmp_path):
    from frugal_gpu.train.finish import describe as _describe
    from frugal_gpu.train.loop import train
    from frugal_gpu.train.start import start as _start

    table = {
        "source": "markov",
        "markov": {"words": 12, "successors": 3, "document_words": 5.0},
        "tokens": 20_000,
    }
    experiment = parse(
        {
            "name": "markov",
            "model": {
                "preset": "llama-tiny",
                "vocabulary": 257,
                "hidden_size": 16,
                "intermediate_size": 24,
                "layers": 1,
                "heads": 2,
            },
            "data": table,
            "training": {
                "steps": 20,
                "learning_rate": 0.02,
                "sequence_length": 32,
                "batch_size": 16,
                "evaluate_every": 20,
                "evaluation_tokens": 4000,
                "device": "cpu",
            },
            "algorithm": {"density": 1.0, "subspace": "columns"},
        }
    )
    rate = markov.entropy_rate(markov.language(experiment.data.markov).transitions())
    assert f"entropy rate of the language {rate:.4f} nats a token" in _describe(
        _start(experiment, experiment.training, 0.02), 9.0, 0
    )
    summary = train(experiment, tmp_path / "run").summary
    assert summary["entropy_rate"] == pytest.approx(rate)
    matrix = markov.language(experiment.data.markov).transitions()
    logs = np.log(matrix, out=np.zeros_like(matrix), where=matrix > 0)
    variance = markov.stationary(matrix) @ (matrix * logs**2).sum(1) - rate**2
    error = STANDARD_ERRORS * math.sqrt(variance / 4000)
    assert rate - error < math.log(summary["final_validation_perplexity"]) < math.log(summary["initial_validation_perplexity"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"source": "markov", "markov": {"words": 4, "successors": 5}}, "successors is 5, words is 4"),
        ({"source": "markov", "tokenizer": "t.json"}, "no tokenizer is allowed"),
        ({"source": "markov", "markov": {"words": 10**6}}, "data.markov.words"),
        ({"source": "markov", "markov": {"document_words": 1.0}}, "data.markov.document_words"),
    ],
)
def test_a_language_that_cannot_be_is_refused(table, words):
    with pytest.raises(ft.ExperimentError, match=words):
        parse({"name": "a", "data": table})


def test_a_language_larger_than_the_model_is_refused():
    data = Data(source="markov", markov=Markov(words=300), tokens=1000)
    with pytest.raises(ft.ExperimentError, match=r"model\.vocabulary = 257: the tokenizer has 301 tokens"):
        tokens.prepare(data, 0, 257, 16, 0)


def test_more_than_the_disk_holds_is_refused_before_it_is_made():
    with pytest.raises(ft.ExperimentError, match=r"GiB of tokens, and .* GiB free.*FRUGAL_LAB_CACHE"):
        tokens.prepare(Data(source="markov", tokens=10**16), 0, 257, 16, 0)
    with pytest.raises(ft.ExperimentError, match=r"GiB free"):
        tokens.prepare(Data(source="markov"), 0, 257, 16, 10**16)
    assert list(itertools.islice(tokens.cache_folder().glob("*/train.bin"), 1)) == []
