import itertools
import json
import math
import shutil

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from tolerances import ACCUMULATION_FLOAT32, ROUNDING

import frugal_theory as ft
from frugal_gpu.data.batches import Packed, batch_indices
from frugal_gpu.data.tokens import prepare
from frugal_gpu.model.llama import build_model, model_shape
from frugal_gpu.train import checkpoint
from frugal_gpu.train import loop as training_module
from frugal_gpu.train import start as starting
from frugal_gpu.train.log import Log, read_metrics, training_evidence
from frugal_gpu.train.loop import train
from frugal_gpu.train.schedule import learning_rate_factor
from frugal_gpu.train.step import evaluate, take_step
from frugal_theory.config import Training

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


def metrics(folder):
    return [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in read_metrics(folder / "metrics.jsonl")]


def weights(folder):
    last = checkpoint.latest(folder / "checkpoints")
    return load_file(last / "model.safetensors")


def start(experiment):
    """A run before its first step."""
    return starting.start(experiment, experiment.training, 0.01)


def by_hand(model, inputs, targets):
    """−log p of every target, one sequence and one position at a time."""
    losses = []
    with torch.no_grad():
        for row, wanted in zip(inputs, targets, strict=True):
            log_p = model(input_ids=row[None]).logits[0].log_softmax(-1)
            losses += [-log_p[t, token].item() for t, token in enumerate(wanted.tolist()) if token >= 0]
    return losses


# --- schedule


def test_schedule_is_a_ramp_and_half_a_cosine():
    training = Training(steps=110, warmup_steps=10, final_learning_rate=0.2)
    factors = [learning_rate_factor(training, step) for step in range(1, 111)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)], rel=ROUNDING)
    assert factors[59] == pytest.approx(0.6, rel=ROUNDING)  # half way: the mean of 1 and 0.2
    assert factors[-1] == pytest.approx(0.2, rel=ROUNDING)
    assert all(a > b for a, b in itertools.pairwise(factors[9:]))


def test_constant_schedule_without_warmup():
    training = Training(steps=5, warmup_steps=0, schedule="constant")
    assert [learning_rate_factor(training, step) for step in range(1, 6)] == [1.0] * 5


# --- loss and gradient


def test_perplexity_weighs_every_token_the_same(source):
    run = start(tiny.experiment(source, {"training.batch_size": 3}))
    packed = Packed(run.corpus.validation.stream[:54], 16)  # 53 predicted tokens: sequences of 16, 16, 16 and 5
    run.corpus = type(run.corpus)(run.corpus.train, packed, run.corpus.tokenizer, run.corpus.vocabulary, run.corpus.key)
    losses = by_hand(run.model, *packed.batch(range(4)))
    assert len(losses) == 53
    assert evaluate(run)[0] == pytest.approx(math.fsum(losses) / 53, rel=ACCUMULATION_FLOAT32)
    assert not run.model.training


def test_step_reports_the_mean_loss_and_the_squared_norm_of_its_gradient(source):
    experiment = tiny.experiment(source)
    run, twin = start(experiment), start(experiment)
    indices = batch_indices(experiment.seed, 1, 8, len(run.corpus.train))
    inputs, targets = run.corpus.train.batch(indices)
    logits = twin.model(input_ids=inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    squared = sum(float((p.grad.double() ** 2).sum()) for p in twin.model.parameters())
    found = take_step(run, 1)
    assert found["loss"] == pytest.approx(loss.item(), rel=ACCUMULATION_FLOAT32)
    assert found["squared_gradient_norm"] == pytest.approx(squared, rel=ACCUMULATION_FLOAT32)
    assert found["learning_rate"] == 0.01 * learning_rate_factor(experiment.training, 1)


@pytest.mark.parametrize("accumulation", [2, 8])
def test_accumulation_does_not_change_the_step(source, accumulation):
    whole, parts = (start(tiny.experiment(source, {"training.accumulation": a, **SGD})) for a in (1, accumulation))
    first, second = (take_step(run, 1) for run in (whole, parts))
    assert second == pytest.approx(first, rel=ACCUMULATION_FLOAT32)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=ACCUMULATION_FLOAT32, atol=ACCUMULATION_FLOAT32)


SGD = {"algorithm.state_full": {"rule": "sgdm"}, "algorithm.state_free": "sgd"}
"""Continuous rules: the sign of a gradient that is rounding noise is noise too."""


def test_clipping_comes_after_the_norm_is_measured(source):
    free, clipped = (start(tiny.experiment(source, {**SGD, **extra})) for extra in ({}, {"training.max_gradient_norm": 0.1}))
    before = [p.detach().clone() for p in free.model.parameters()]
    norms = [take_step(run, 1)["squared_gradient_norm"] ** 0.5 for run in (free, clipped)]
    assert norms[0] == norms[1] > 0.1
    moved = [
        math.sqrt(sum(float(((p.detach() - q) ** 2).sum()) for p, q in zip(run.model.parameters(), before, strict=True)))
        for run in (free, clipped)
    ]
    assert moved[1] / moved[0] == pytest.approx(0.1 / norms[0], rel=1e-3)  # steps of 1e-4 in float32 weights of 1e-2


# --- a whole run


def test_the_model_learns_and_the_summary_says_so(source, tmp_path):
    overrides = {"training.steps": 60, "training.evaluate_every": 30, "algorithm.learning_rate": 0.02}
    outcome = train(tiny.experiment(source, overrides), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert outcome.status == "complete"
    assert outcome.summary == summary
    assert summary["final_validation_perplexity"] < 0.3 * summary["unigram_perplexity"]
    assert summary["initial_validation_perplexity"] > summary["unigram_perplexity"]
    assert summary["tokens"] == metrics(tmp_path)[-2]["tokens"]
    assert 0 < summary["optimizer_state_bytes"] < summary["adamw_state_bytes"]
    assert [line["step"] for line in metrics(tmp_path) if "validation_loss" in line] == [0, 30, 60]
    for line in metrics(tmp_path):
        if "validation_loss" in line:
            assert line["validation_perplexity"] == pytest.approx(math.exp(line["validation_loss"]), rel=ROUNDING)
    names = {path.name for path in tmp_path.iterdir()}
    files = {"evidence.parquet", "experiment.toml", "metrics.jsonl", "summary.json", "tokenizer.json", "checksums.json"}
    assert names == {*files, "checkpoints", ".lock"}


@pytest.mark.parametrize("subspace", ["columns", "coordinates", "blocks", "random"])
def test_resuming_repeats_the_run_bit_for_bit(source, tmp_path, subspace, monkeypatch):
    experiment = tiny.experiment(source, {"algorithm.subspace": subspace})  # 12 steps, checkpoint after 6, gap 4
    train(experiment, tmp_path / "whole")
    take_step = training_module.log_step

    def die_at_9(run, step, *rest):
        if step == 9:
            raise SystemExit("killed")
        take_step(run, step, *rest)

    monkeypatch.setattr(training_module, "log_step", die_at_9)
    with pytest.raises(SystemExit):
        train(experiment, tmp_path / "halves")
    with (tmp_path / "halves" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # what a killed process may leave
    monkeypatch.undo()
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    outcome = train(experiment, tmp_path / "halves", resume=True)
    assert outcome.status == "complete"
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_stop_request_keeps_the_step_and_resumes(source, tmp_path, monkeypatch):
    import signal

    experiment = tiny.experiment(source)
    take_step = training_module.log_step

    def stop_in_4(run, step, *rest):
        if step == 4:
            signal.raise_signal(signal.SIGTERM)
        take_step(run, step, *rest)

    monkeypatch.setattr(training_module, "log_step", stop_in_4)
    outcome = train(experiment, tmp_path / "stopped")
    monkeypatch.setattr(training_module, "log_step", take_step)
    assert (outcome.status, outcome.step) == ("interrupted", 4)
    assert not (tmp_path / "stopped" / "summary.json").exists()
    train(experiment, tmp_path / "stopped", resume=True)
    train(experiment, tmp_path / "whole")
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")


def test_a_complete_run_is_not_repeated_and_another_one_is_refused(source, tmp_path):
    experiment = tiny.experiment(source, {"training.steps": 2})
    train(experiment, tmp_path)
    stamp = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    assert train(experiment, tmp_path).status == "already complete"
    assert (
        train(tiny.experiment(source, {"training.steps": 2, "training.keep_checkpoints": 1}), tmp_path).status
        == "already complete"
    )
    with pytest.raises(ft.ExperimentError, match=r"holds a finished run with other settings \(training.steps was 2, is 3\)"):
        train(tiny.experiment(source, {"training.steps": 3}), tmp_path)
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == stamp


def test_an_unfinished_run_needs_resume_and_the_same_settings(source, tmp_path):
    experiment = tiny.experiment(source, {"training.steps": 2})
    train(experiment, tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(ft.ExperimentError, match=r"holds an unfinished run \(step-000002\); .*--resume"):
        train(experiment, tmp_path)
    with pytest.raises(ft.ExperimentError, match=r"trained with other settings \(algorithm.density was 0.5, is 0.3\)"):
        train(tiny.experiment(source, {"training.steps": 2, "algorithm.density": 0.3}), tmp_path, resume=True)
    assert train(experiment, tmp_path, resume=True).status == "complete"


def test_a_text_that_has_changed_is_refused(source, tmp_path):
    changed = tmp_path / "text.jsonl"
    shutil.copy(source, changed)
    experiment = tiny.experiment(changed, {"training.steps": 2})
    train(experiment, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    changed.write_text(changed.read_text() + '{"text": "one more document"}\n')
    with pytest.raises(ft.ExperimentError, match="the text has changed since"):
        train(experiment, tmp_path / "run", resume=True)


def test_divergence_is_one_clear_line(source, tmp_path):
    overrides = {**SGD, "training.learning_rate": 1e30, "training.warmup_steps": 0}
    with pytest.raises(ft.ExperimentError, match=r"training.learning_rate: the run diverged, loss \S+ at step \d+"):
        train(tiny.experiment(source, overrides), tmp_path)
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"algorithm.learning_rate": {"fraction_of_admissible": 0.5}}, "training.learning_rate: is missing"),
        ({"algorithm.subspace": "eigen"}, "eigen"),
        ({"model.heads": 3}, "model.heads = 3"),
        ({"data.source": "nowhere.txt"}, r'data.source = "nowhere.txt"'),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(source, tmp_path, overrides, message):
    with pytest.raises(ft.ExperimentError, match=message):
        train(tiny.experiment(source, overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_cuda_without_a_device_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ft.ExperimentError, match=r'training.device = "cuda": no CUDA device is visible; allowed here: "auto", "cpu"'
    ):
        train(tiny.experiment(source, {"training.device": "cuda"}), tmp_path / "run")


def test_bf16_autocast_keeps_float32_weights_and_state(source, tmp_path):
    train(tiny.experiment(source, {"training.steps": 2, "training.precision": "bf16"}), tmp_path / "half")
    train(tiny.experiment(source, {"training.steps": 2}), tmp_path / "full")
    assert {tensor.dtype for tensor in weights(tmp_path / "half").values()} == {torch.float32}
    half, full = (metrics(tmp_path / name)[0]["validation_loss"] for name in ("half", "full"))
    assert half != full
    assert half == pytest.approx(full, rel=2**-7)  # bf16 has eight significant bits


def test_activation_checkpointing_changes_nothing(source):
    plain, frugal = (start(tiny.experiment(source, {**SGD, "training.activation_checkpointing": on})) for on in (False, True))
    assert take_step(frugal, 1) == pytest.approx(take_step(plain, 1), rel=ACCUMULATION_FLOAT32)


def test_start_depends_on_the_seed_alone(source):
    experiment = tiny.experiment(source)
    torch.manual_seed(experiment.seed)
    fresh = build_model(model_shape(experiment.model), 16)
    torch.rand(7)
    for a, b in zip(start(experiment).model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)


# --- metrics and evidence


def test_log_drops_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    log = Log(path, '{"step": 1}\n{"step": 2}\n')
    log.add({"step": 3, "again": True})
    log.flush()
    assert read_metrics(path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_a_log_with_a_damaged_line_is_one_clear_line_and_a_cut_one_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_bytes(b'{"step": 1}\n{"st\xffp": 2}\n{"step": 3}\n')
    with pytest.raises(ft.ExperimentError, match=r"metrics.jsonl: line 2 is damaged"):
        read_metrics(path)


def test_evidence_is_the_running_average_of_squared_norms(source, tmp_path):
    train(tiny.experiment(source), tmp_path)
    norms = [line["squared_gradient_norm"] for line in metrics(tmp_path) if "loss" in line]
    evidence = training_evidence(tmp_path / "metrics.jsonl")
    assert evidence.source == "training"
    assert evidence.steps.tolist() == list(range(1, 13))
    assert evidence.mean == pytest.approx([np.mean(norms[:k]) for k in range(1, 13)], rel=ROUNDING)
    assert np.array_equal(evidence.lower, evidence.mean)
    assert np.array_equal(evidence.upper, evidence.mean)
    assert any("noise" in note for note in evidence.notes)


@pytest.mark.parametrize("lines", [[], [{"step": 2, "squared_gradient_norm": 1.0}]])
def test_evidence_needs_every_step(lines):
    with pytest.raises(ValueError, match="one training line for each of the steps"):
        training_evidence(lines)


def test_vocabulary_of_the_model_holds_the_tokenizers(source):
    experiment = tiny.experiment(source)
    corpus = prepare(experiment.data, 3, 300, 16, 0)
    assert int(corpus.train.stream.max()) < corpus.vocabulary <= 300
