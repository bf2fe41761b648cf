"""Sequences: what is predicted, what attention sees, and who reads what."""

import numpy as np
import pytest
import tiny
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu.data import tokens
from frugal_gpu.data.batches import PADDING, Documents, Packed, batch_indices, shard
from frugal_gpu.model.llama import Shape, build_model
from frugal_theory.config import Data
from tests.tolerances import FLOAT32

SEPARATOR = 0
DOCUMENTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 15], [16, 17]]
STREAM = np.array([SEPARATOR, *(i for document in DOCUMENTS for i in (*document, SEPARATOR))], dtype=np.uint16)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))


# --- one document a row


@pytest.mark.parametrize("length", [2, 3, 4, 5, 9, 20])
def test_a_row_is_a_document_cut_or_padded(length):
    packed = Documents(STREAM, length, SEPARATOR)
    inputs, targets = packed.batch(range(len(packed)))
    assert inputs.shape == targets.shape == (len(DOCUMENTS), length)
    for document, row, target in zip(DOCUMENTS, inputs.tolist(), targets.tolist(), strict=True):
        kept = [*document[: length - 1], SEPARATOR]
        assert row == [*kept[:-1], *[SEPARATOR] * (length - len(kept) + 1)]
        assert target == [*kept[1:], *[PADDING] * (length - len(kept) + 1)]
    expected = [min(len(document), length - 1) for document in DOCUMENTS]
    assert [packed.predicted([i]) for i in range(len(packed))] == expected == (targets != PADDING).sum(1).tolist()
    assert packed.tokens == sum(expected)


@pytest.mark.parametrize("packed", [Documents(STREAM, 4, SEPARATOR), Packed(STREAM, 4, SEPARATOR)])
def test_counts_are_those_of_the_targets(packed):
    for rows in (None, 1, 3, len(packed)):
        _, targets = packed.batch(range(len(packed) if rows is None else rows))
        assert packed.counts(20, rows).tolist() == torch.bincount(targets[targets != PADDING], minlength=20).tolist()


def test_the_first_documents_of_a_stream_are_a_limit():
    limited = Documents(STREAM, 4, SEPARATOR, limit=2)
    assert len(limited) == 2
    assert limited.batch([1])[0].tolist() == [[8, SEPARATOR, SEPARATOR, SEPARATOR]]


def test_both_packings_train_on_the_documents_of_the_text(tmp_path):
    source = tiny.write_text(tmp_path)
    made = {
        packing: tokens.prepare(Data(source=str(source), validation_fraction=0.2, packing=packing), 0, 300, 16, 0)
        for packing in ("stream", "documents")
    }
    assert made["stream"].key == made["documents"].key  # tokenised once
    rows = sum(len(part) for part in (made["documents"].train, made["documents"].validation))
    assert rows == made["documents"].documents == 120
    assert made["documents"].train.tokens < made["stream"].train.tokens


# --- attention within documents


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = build_model(Shape(hidden_size=16, intermediate_size=24, layers=2, heads=2, vocabulary=20), 16, 0.5)
    return built.eval()


def losses(model, inputs, targets, **keywords):
    logits = model(input_ids=inputs, **keywords).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction="none")


def test_attention_within_documents_is_each_document_alone(model):
    """The loss of every token of one long row against that of its document as a row of its own."""
    within = Packed(STREAM, len(STREAM) - 1, SEPARATOR, within=True)
    inputs, targets = within.batch([0])
    alone = []
    for document in DOCUMENTS:
        row = torch.tensor([[SEPARATOR, *document]])
        alone.append(losses(model, row, torch.tensor([[*document, SEPARATOR]])))
    found = losses(model, inputs, targets, **within.model_inputs(inputs))
    torch.testing.assert_close(found, torch.cat(alone), rtol=FLOAT32, atol=FLOAT32)
    across = Packed(STREAM, len(STREAM) - 1, SEPARATOR)
    assert across.model_inputs(inputs) == {}
    seen = losses(model, inputs, targets)
    first = len(DOCUMENTS[0]) + 1
    torch.testing.assert_close(seen[:first], found[:first], rtol=FLOAT32, atol=FLOAT32)
    assert (seen[first:] - found[first:]).abs().min() > 1e-3


def test_a_change_in_one_document_moves_no_other(model):
    within = Packed(STREAM, 8, SEPARATOR, within=True)
    inputs, _ = within.batch(range(len(within)))
    other = inputs.clone()
    other[0, 1] = 19  # the first document's first token
    moved = [model(input_ids=ids, **within.model_inputs(ids)).logits for ids in (inputs, other)]
    changed = (moved[0] - moved[1]).abs().amax(-1) > 0
    assert changed.nonzero().tolist() == [[0, 1], [0, 2], [0, 3]]


def test_a_run_within_documents_is_another_run(tmp_path):
    from frugal_gpu.train.loop import train

    source = tiny.write_text(tmp_path)
    final = []
    for keys in ({}, {"data.attention": "within"}, {"data.packing": "documents"}):
        experiment = tiny.experiment(source, {"training.steps": 2, "training.evaluate_every": 2, **keys})
        final.append(train(experiment, tmp_path / str(len(final))).summary["final_validation_perplexity"])
    assert len(set(final)) == 3


# --- order and shares


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_the_shares_of_all_ranks_are_each_sequence_once(ranks):
    count, batch = 84, 28
    steps = [batch_indices(5, step, batch, count) for step in range(1, 4)]
    shares = [[shard(indices, rank, ranks) for rank in range(ranks)] for indices in steps]
    assert sorted(i for step in shares for share in step for i in share) == list(range(count))
    for indices, step in zip(steps, shares, strict=True):
        assert sorted(i for share in step for i in share) == sorted(indices)
        assert max(map(len, step)) - min(map(len, step)) <= 1


@pytest.mark.parametrize("processes", [(1, 2), (4, 1), (2, 7)])
def test_another_number_of_processes_reads_on_in_the_same_order(processes):
    before, after = processes
    expected = [batch_indices(5, step, 28, 100) for step in range(1, 9)]
    found = []
    for step in range(1, 9):
        ranks = before if step <= 4 else after
        shares = [shard(batch_indices(5, step, 28, 100), rank, ranks) for rank in range(ranks)]
        found.append([share[k] for k in range(28) for share in shares if k < len(share)])
    assert found == expected


def test_windows_shuffle_what_is_there_and_do_not_move_when_more_comes():
    seed, batch, window = 3, 4, 12
    short = [i for step in range(1, 7) for i in batch_indices(seed, step, batch, 24, window)]
    long = [i for step in range(1, 7) for i in batch_indices(seed, step, batch, 60, window)]
    assert short == long
    assert sorted(short[:12]) == list(range(12))
    assert sorted(short[12:]) == list(range(12, 24))
    assert short[:12] != sorted(short[:12])
    assert [i - 12 for i in short[12:]] != short[:12]
    whole = [i for step in range(1, 11) for i in batch_indices(seed, step, batch, 38, window)]
    assert sorted(whole[:38]) == list(range(38))  # the last window is short


# --- sizes


@pytest.mark.parametrize("packing", ["stream", "documents"])
def test_a_sequence_longer_than_the_text_is_refused_at_once(tmp_path, packing):
    data = Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2, packing=packing)
    most = tokens.prepare(data.model_copy(update={"packing": "stream"}), 0, 300, 16, 0).train.tokens
    tokens.prepare(data, 0, 300, most, 0)
    for length in (most + 1, 10**12):
        with pytest.raises(ft.ExperimentError, match=rf"training.sequence_length = {length}: .*allowed: 2 to {most}$"):
            tokens.prepare(data, 0, 300, length, 0)


@pytest.mark.parametrize("limit", [50, 333])
def test_a_cap_of_tokens_is_exact_and_the_beginning_of_the_text(tmp_path, limit):
    data = Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2)
    capped = tokens.prepare(data.model_copy(update={"tokens": limit}), 0, 300, 16, 0)
    whole = tokens.prepare(data, 0, 300, 16, 0)
    assert capped.key == whole.key
    assert capped.train.tokens == limit
    assert np.array_equal(capped.train.stream, whole.train.stream[: limit + 1])
    again = tokens.prepare(data.model_copy(update={"tokens": limit}), 0, 300, 16, 0)
    assert np.array_equal(again.train.stream, capped.train.stream)
    assert np.array_equal(again.validation.stream, capped.validation.stream)
    assert again.documents == capped.documents
