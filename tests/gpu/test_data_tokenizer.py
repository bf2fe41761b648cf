"""Given tokenizers: what is stored in a tokenizer.json beside the tokens must not touch the text."""

import itertools
import json
import os

import numpy as np
import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import frugal_theory as ft
from frugal_gpu.data import text, tokenizer, tokens
from frugal_theory.config import Data


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    data = Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2)
    return data, tokens.prepare(data, 0, 300, 16, 0)


@pytest.mark.parametrize("stored", ["truncation", "padding", "both", "post-processor"])
def test_what_is_stored_in_a_tokenizer_does_not_touch_the_text(corpus, tmp_path, stored):
    data, prepared = corpus
    given = Tokenizer.from_file(str(prepared.tokenizer))
    if stored in ("truncation", "both"):
        given.enable_truncation(4)
    if stored in ("padding", "both"):
        given.enable_padding(length=64, pad_id=7)
    if stored == "post-processor":
        given.post_processor = processors.TemplateProcessing(
            single=f"{tokenizer.SEPARATOR} $A {tokenizer.SEPARATOR}", special_tokens=[(tokenizer.SEPARATOR, 0)]
        )
    given.save(str(tmp_path / "given.json"))
    again = tokens.prepare(data.model_copy(update={"tokenizer": str(tmp_path / "given.json")}), 0, 300, 16, 0)
    for part in text.PARTS:
        assert np.array_equal(getattr(again, part).stream, getattr(prepared, part).stream)


@pytest.mark.parametrize("largest", [500, 70_000])
def test_ids_may_have_holes(tmp_path, largest):
    """Words with ids 3, 7 and ``largest``: the vocabulary is one more than the largest, and the ids are kept."""
    given = Tokenizer(models.WordLevel({"a": 3, "b": 7, "c": largest, "</s>": 1}, unk_token="a"))
    given.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    given.save(str(tmp_path / "given.json"))
    (tmp_path / "a.txt").write_text("a b c\n\nc b", encoding="utf-8")
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    data = Data(source=str(tmp_path / "a.txt"), validation=str(tmp_path / "b.txt"), tokenizer=str(tmp_path / "given.json"))
    corpus = tokens.prepare(data, 0, largest + 1, 2, 0)
    assert corpus.vocabulary == largest + 1
    assert corpus.train.stream.tolist() == [1, 3, 7, largest, 1, largest, 7, 1]
    assert tokens.unigram_perplexity(corpus.train, corpus.validation, corpus.vocabulary) > 1
    with pytest.raises(ft.ExperimentError, match=rf"model\.vocabulary = {largest}: the tokenizer has {largest + 1} tokens"):
        tokens.prepare(data, 0, largest, 2, 0)


SPELT = "before <|endoftext|> between <|endoftext|><|endoftext|> after"


def test_a_separator_that_is_spelt_out_is_text(tmp_path):
    """With the tokenizer that is trained here: the document is one document, and decodes to itself."""
    lines = [json.dumps({"text": SPELT}), *(json.dumps({"text": f"document {n}"}) for n in range(60))]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = Data(source=str(tmp_path / "a.jsonl"), validation_fraction=0.3)
    corpus = tokens.prepare(data, 0, 300, 4, 0)
    assert corpus.documents == 61
    assert sum(int((part.stream == 0).sum()) - 1 for part in (corpus.train, corpus.validation)) == 61
    reader = Tokenizer.from_file(str(corpus.tokenizer))
    found = []
    for part in (corpus.train, corpus.validation):
        ends = np.flatnonzero(part.stream == 0)
        found += [reader.decode(part.stream[a + 1 : b].tolist()) for a, b in itertools.pairwise(ends)]
    assert SPELT in found


@pytest.mark.parametrize("kind", ["special", "added", "unigram"])
def test_a_given_tokenizer_does_not_make_its_separator_of_text(kind):
    """Separators that are special, that were added as an ordinary token, and that are pieces of a Unigram model, as T5's."""
    letters = sorted(set(SPELT + "</s>"))
    if kind == "unigram":
        given = Tokenizer(models.Unigram([("</s>", 0.0), *((letter, -5.0) for letter in letters)], unk_id=1))
        separator, spelt = "</s>", "a </s> b"
    else:
        separator, spelt = "<|endoftext|>", SPELT
        given = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
        (given.add_special_tokens if kind == "special" else given.add_tokens)([separator])
    number = given.token_to_id(separator)
    if kind != "special":
        assert number in given.encode(spelt).ids  # what would have been the fault
    encoder = tokenizer.Encoder(given, number, "given")
    first, plain = encoder.ids([spelt, "between"])
    assert number not in first
    assert "".join(given.id_to_token(i) for i in first) == spelt
    assert "".join(given.id_to_token(i) for i in plain) == "between"


def test_a_tokenizer_whose_unknown_word_is_the_separator_is_refused():
    given = Tokenizer(models.WordLevel({"</s>": 0, "a": 1}, unk_token="</s>"))
    given.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = tokenizer.Encoder(given, 0, 'data.tokenizer = "given.json"')
    assert encoder.ids(["a a"]) == [[1, 1]]
    with pytest.raises(
        ft.ExperimentError, match=r'data.tokenizer = "given.json": makes its separator </s> out of text'
    ) as caught:
        encoder.ids(["a a", "a\nstranger"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "is not a tokenizer.json"),
        ("not json", "is not a tokenizer.json"),
        (None, "no such file; allowed: the path of a tokenizer.json"),
        (Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).to_str(), "has no token between documents"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_one_line(corpus, tmp_path, content, words):
    data, _ = corpus
    path = tmp_path / "given.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    given = data.model_copy(update={"tokenizer": str(path)})
    with pytest.raises(ft.ExperimentError, match=words) as caught:
        text.check_source(given) or tokens.prepare(given, 0, 300, 16, 0)
    assert str(caught.value).startswith(f'data.tokenizer = "{path}"')
    assert "\n" not in str(caught.value)


def test_a_tokenizer_is_known_by_its_content(corpus, tmp_path):
    data, prepared = corpus
    keys = []
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_bytes(prepared.tokenizer.read_bytes())
        keys.append(tokens.prepare(data.model_copy(update={"tokenizer": str(tmp_path / name)}), 0, 300, 16, 0).key)
    assert keys[0] == keys[1]
    other = Tokenizer.from_file(str(tmp_path / "one.json"))
    other.add_tokens(["queen"])
    os.replace(tmp_path / "two.json", tmp_path / "one.json")
    other.save(str(tmp_path / "one.json"))
    again = tokens.prepare(data.model_copy(update={"tokenizer": str(tmp_path / "one.json")}), 0, 301, 16, 0)
    assert again.key != keys[0]


def test_training_a_tokenizer_twice_gives_the_same():
    texts = [f"{n} the cat sees {n * n} apples in the sea" for n in range(300)]
    assert tokenizer.train_tokenizer(texts, 400).to_str() == tokenizer.train_tokenizer(texts, 400).to_str()
