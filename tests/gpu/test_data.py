import itertools
import json
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

import frugal_theory as ft
from frugal_gpu.data import python_docs, text, tokenizer, tokens
from frugal_gpu.data.batches import PADDING, Packed, batch_indices
from frugal_theory.config import Data


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    data = Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2)
    return data, tokens.prepare(data, 0, 300, 16, 0)


# --- packing and order


@pytest.mark.parametrize("count", [2, 16, 17, 18, 33, 100])
def test_packing_predicts_every_token_once_from_the_one_before(count):
    packed = Packed(np.arange(1000, 1000 + count), 16)
    inputs, targets = packed.batch(range(len(packed)))
    real = targets != PADDING
    assert targets[real].tolist() == list(range(1001, 1000 + count))
    assert torch.equal(inputs[real] + 1, targets[real])
    assert packed.predicted(range(len(packed))) == count - 1


def test_a_part_of_the_sequences_predicts_its_own_tokens():
    packed = Packed(np.arange(20), 8)
    assert [packed.predicted([i]) for i in range(3)] == [8, 8, 3]


def test_each_epoch_is_a_new_shuffle_of_all_sequences():
    count, batch = 10, 4
    places = [i for step in range(1, 6) for i in batch_indices(7, step, batch, count)]
    first, second = places[:count], places[count:]
    assert sorted(first) == sorted(second) == list(range(count))
    assert first != second


def test_order_is_a_pure_function_of_seed_and_step():
    early = batch_indices(7, 3, 4, 50)
    batch_indices(7, 40, 4, 50)
    assert batch_indices(7, 3, 4, 50) == early
    assert batch_indices(8, 3, 4, 50) != early


# --- tokens


def test_stream_is_the_documents_between_separators(corpus):
    data, prepared = corpus
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(prepared.tokenizer))
    for part, packed in (("train", prepared.train), ("validation", prepared.validation)):
        pieces, piece = [], []
        assert packed.stream[0] == 0
        for token in packed.stream[1:].tolist():
            if token:
                piece.append(token)
            else:
                pieces.append(reader.decode(piece))
                piece = []
        assert pieces == list(text.documents(data, 0, part))


def test_bytes_that_training_never_saw_survive_the_tokenizer():
    trained = tokenizer.train_tokenizer(["only plain words here"], 270)
    strange = "naïve ∇f(x) ≤ 0\t\x07"
    assert trained.decode(trained.encode(strange).ids) == strange


def test_unigram_perplexity_against_the_closed_form():
    # the first token of a stream is not predicted: counts are a:3 b:1 of N = 4, V = 3
    train, validation = np.array([2, 0, 0, 0, 1]), np.array([2, 0, 1, 2])
    expected = ((4 / 7) * (2 / 7) * (1 / 7)) ** (-1 / 3)
    assert tokens.unigram_perplexity(Packed(train, 2), Packed(validation, 2), 3) == pytest.approx(expected, rel=1e-12)


def test_unigram_perplexity_of_a_uniform_text_is_its_vocabulary():
    packed = Packed(np.array([0, *range(8)]), 3)
    assert tokens.unigram_perplexity(packed, packed, 8) == pytest.approx(8.0, rel=1e-12)


def test_tokens_are_found_again_and_not_made_again(corpus, monkeypatch):
    data, prepared = corpus
    monkeypatch.setattr(tokenizer, "train_tokenizer", None)
    again = tokens.prepare(data, 0, 300, 16, 0)
    assert again.key == prepared.key
    assert np.array_equal(again.train.stream, prepared.train.stream)


@pytest.mark.parametrize("change", [{"seed": 1}, {"vocabulary": 310}, {"fraction": 0.3}, {"text": "another document"}])
def test_another_text_or_tokenizer_is_another_cache_entry(corpus, change):
    data, prepared = corpus
    if "text" in change:
        with open(data.source, "a", encoding="utf-8") as file:
            file.write(json.dumps(change) + "\n")
    data = data.model_copy(update={"validation_fraction": change.get("fraction", 0.2)})
    assert tokens.prepare(data, change.get("seed", 0), change.get("vocabulary", 300), 16, 0).key != prepared.key


def test_a_failed_tokenisation_leaves_no_cache_entry(tmp_path, monkeypatch):
    data = Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens.Growing, "append", fail)
    with pytest.raises(ft.ExperimentError, match=r"the token cache .*cache.* cannot be written: No space left on device"):
        tokens.prepare(data, 0, 300, 16, 0)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_given_tokenizer_is_used_and_checked(corpus):
    data, prepared = corpus
    given = data.model_copy(update={"tokenizer": str(prepared.tokenizer)})
    assert np.array_equal(tokens.prepare(given, 0, 5000, 16, 0).train.stream, prepared.train.stream)
    with pytest.raises(ft.ExperimentError, match=r"model\.vocabulary = 280: the tokenizer has 300 tokens"):
        tokens.prepare(given, 0, 280, 16, 0)


# --- documents


def test_split_is_disjoint_complete_and_seeded(tmp_path):
    data = Data(source=str(tiny.write_text(tmp_path, documents=400)), validation_fraction=0.25)
    train, validation = (list(text.documents(data, 0, part)) for part in ("train", "validation"))
    with open(data.source, encoding="utf-8") as file:
        everything = [json.loads(line)["text"] for line in file]
    assert Counter(train) + Counter(validation) == Counter(everything)
    assert set(train).isdisjoint(validation)
    assert abs(len(validation) - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5
    assert list(text.documents(data, 1, "validation")) != validation


def test_equal_documents_are_on_one_side():
    assert len({text.in_validation("the same", 0, 0.5) for _ in range(10)}) == 1


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".parquet", "folder"])
def test_local_formats_hold_the_same_documents(tmp_path, ending):
    texts = ["first line\nsecond line", "another document", "a third"]
    path = tmp_path / f"text{ending}"
    if ending == ".txt":
        path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "n": i}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
    elif ending == ".parquet":
        pd.DataFrame({"text": texts}).to_parquet(path)
    else:
        path.mkdir()
        for i, t in enumerate(texts):
            (path / f"{i}.txt").write_text(t, encoding="utf-8")
    data = Data(source=str(path), validation_fraction=0.5)
    found = [t.strip() for part in ("train", "validation") for t in text.documents(data, 0, part)]
    assert sorted(found) == sorted(texts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "missing.txt",
            None,
            r'data.source = ".*missing.txt": no such file; allowed: "python-docs", .*"c4", a path ending in .txt',
        ),
        ("text.csv", "a,b", r"found .csv; allowed: files of one kind, .txt, .jsonl, .json, .parquet"),
        ("text.jsonl", '{"body": "x", "n": 1}\n', r'line 1 has no "text" \(data.text_field\); fields that hold text: "body"'),
        ("text.jsonl", "{not json\n", r"cannot be read as json"),
        ("text.parquet", "not parquet", r"cannot be read as parquet"),
        ("text.txt", "one document only", r"no document fell into (train|validation) with validation_fraction = 0.2"),
    ],
)
def test_text_that_cannot_be_used_is_one_clear_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    data = Data(source=str(path), validation_fraction=0.2)
    with pytest.raises(ft.ExperimentError, match=message) as caught:
        tokens.prepare(data, 0, 300, 16, 0)
    assert "\n" not in str(caught.value)


def test_python_docs_are_docstrings_in_order_without_repetition(tmp_path, monkeypatch):
    (tmp_path / "test").mkdir()
    (tmp_path / "b.py").write_text('"""Module b."""\ndef f():\n    """Shared."""\n', encoding="utf-8")
    (tmp_path / "a.py").write_text(
        '"""Module a."""\nclass C:\n    """Shared."""\n    def g(self):\n        """Does g."""\nraise SystemExit\n',
        encoding="utf-8",
    )
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    (tmp_path / "test" / "t.py").write_text('"""A test."""', encoding="utf-8")
    monkeypatch.setattr(python_docs.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)  # as where it is not installed
    python_docs.python_docs.cache_clear()
    try:
        assert python_docs.python_docs() == ("Module a.\n\nShared.\n\nDoes g.", "Module b.")
        python_docs._fingerprint.cache_clear()
        names = [text.fingerprint(Data())]
        (tmp_path / "b.py").write_text('"""Module c."""', encoding="utf-8")
        python_docs._fingerprint.cache_clear()
        assert text.fingerprint(Data()) != names[0]
    finally:
        python_docs._fingerprint.cache_clear()
        python_docs.python_docs.cache_clear()


def test_c4_is_read_only_as_far_as_needed(monkeypatch):
    read = Counter()

    def rows(split):
        for number in itertools.count():
            read[split] += 1
            yield {"text": f"document {number} of {split}", "url": "x"}
            if split == "validation" and number == 20:
                return

    import datasets

    monkeypatch.setattr(tokenizer, "TOKENIZER_DOCUMENTS", 10)
    monkeypatch.setattr(tokens, "WINDOW", 64)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, split, **__: rows(split))
    corpus = tokens.prepare(Data(source="c4"), 0, 300, 16, needed=200)
    assert 200 < len(corpus.train.stream) < 300
    assert read["train"] < 600


def test_c4_without_a_network_is_one_clear_line(monkeypatch):
    import datasets

    def fail(*_, **__):
        raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        ft.ExperimentError, match=r'data.source = "c4": .*needs a network; allowed without one: "python-docs"'
    ) as e:
        tokens.prepare(Data(source="c4"), 0, 300, 16, needed=200)
    assert "\n" not in str(e.value)
