import os

import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.model.llama import Shape, build_model
from frugal_gpu.train import checkpoint
from frugal_theory.results.files import ResultsError

CPU = torch.device("cpu")


def trained(seed=0, steps=3, **options):
    """A small model and its optimizer after a few steps on made-up gradients."""
    torch.manual_seed(seed)
    model = build_model(Shape(16, 24, 1, 2, vocabulary=300), 8)
    optimizer = Frugal(model.named_parameters(), lr=0.01, update_gap=2, **{"subspace": "columns", **options})
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("subspace", ["columns", "coordinates", "blocks", "random", "svd"])
@pytest.mark.parametrize("rule", ["adamw", "lion", "sgdm"])
def test_a_checkpoint_restores_weights_and_state_exactly(tmp_path, subspace, rule):
    model, optimizer = trained(subspace=subspace, state_full=rule)
    path = checkpoint.save(tmp_path, 3, model, optimizer, {"tokens": 5}, keep=1)
    other, fresh = trained(seed=1, steps=0, subspace=subspace, state_full=rule)
    assert checkpoint.load(path, other, fresh, CPU) == {"step": 3, "tokens": 5}
    for _ in range(2):  # the second step enters a new period
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            b.grad = a.grad.clone()
        optimizer.step()
        fresh.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_names_say_what_is_inside_and_nothing_else_is_left(tmp_path):
    model, optimizer = trained()
    path = checkpoint.save(tmp_path, 500, model, optimizer, {}, keep=1)
    assert path == tmp_path / "step-000500"
    assert {p.name for p in path.iterdir()} == {*checkpoint.FILES, "checksums.json"}
    assert list(tmp_path.iterdir()) == [path]
    torch.load(path / "optimizer.pt", weights_only=True)


def test_the_last_ones_are_kept_by_step_not_by_name(tmp_path):
    model, optimizer = trained()
    for step in (999_999, 1_000_000, 1_000_001):
        checkpoint.save(tmp_path, step, model, optimizer, {}, keep=2)
    assert {p.name for p in tmp_path.iterdir()} == {"step-1000000", "step-1000001"}
    assert checkpoint.latest(tmp_path).name == "step-1000001"


def test_no_checkpoint(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("error", [RuntimeError("file write failed"), OSError(28, "No space left on device")])
def test_a_failed_write_leaves_the_older_checkpoint_alone(tmp_path, monkeypatch, error):
    model, optimizer = trained()
    old = checkpoint.save(tmp_path, 1, model, optimizer, {}, keep=1)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(ResultsError, match=r"step-000002: cannot be written: .*(No space|write failed)"):
        checkpoint.save(tmp_path, 2, model, optimizer, {}, keep=1)
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("name", [*checkpoint.FILES, "checksums.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, name, damage):
    model, optimizer = trained()
    path = checkpoint.save(tmp_path, 1, model, optimizer, {}, keep=1)
    file = path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    {"missing": file.unlink, "cut": lambda: os.truncate(file, len(content) // 2), "flipped": lambda: file.write_bytes(content)}[
        damage
    ]()
    with pytest.raises(ft.ExperimentError, match=r"step-000001: is damaged: ") as caught:
        checkpoint.load(path, *trained(seed=1, steps=0), CPU)
    assert "\n" not in str(caught.value)
    assert "delete" not in str(caught.value)


def test_the_checkpoint_of_another_step_is_told_by_its_name(tmp_path):
    path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=1)
    other = path.rename(tmp_path / "step-000007")
    assert checkpoint.damaged(other) == "it is that of step 1, under another name"


def test_files_of_another_checkpoint_are_not_taken(tmp_path):
    model, optimizer = trained()
    old, new = (checkpoint.save(tmp_path, step, model, optimizer, {"step": step}, keep=2) for step in (1, 2))
    (new / "state.json").write_bytes((old / "state.json").read_bytes())
    assert checkpoint.damaged(new) == "state.json does not have its checksum"
    assert checkpoint.damaged(old) == ""


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=1)
    (tmp_path / "step-abc").mkdir()
    (tmp_path / "step-000009").touch()
    assert checkpoint.all_in(tmp_path) == [path]


def test_a_checkpoint_that_was_being_replaced_when_its_process_died_comes_back(tmp_path):
    path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=1)
    path.rename(tmp_path / ".step-000001.replaced")
    (tmp_path / ".step-000002.partial").mkdir()
    checkpoint.mend(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert checkpoint.damaged(path) == ""
