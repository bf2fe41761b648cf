"""Whatever happens to a run's folder: it ends with the numbers of an undisturbed run, or in one clear line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest
import tiny
import torch
from safetensors.torch import load_file

import frugal_theory as ft
from frugal_gpu.train import checkpoint
from frugal_gpu.train import loop as training_module
from frugal_gpu.train.lock import alone
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from tests.gpu.tiny import TIMES

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

SMALL = {"model.layers": 1, "model.hidden_size": 16, "model.intermediate_size": 16, "training.evaluation_tokens": 32}


def experiment(source, **more):
    """12 steps, evaluations after 5 and 10, checkpoints after 4, 8 and 12, of which the last two are kept."""
    changes = {f"training.{key}": value for key, value in more.items()}
    return tiny.experiment(source, {**SMALL, "training.checkpoint_every": 4, **changes})


def numbers(folder):
    """Everything that training measured, without times, and the last weights as they lie on disk."""
    last = checkpoint.latest(folder / "checkpoints")
    lines = [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder / "metrics.jsonl")]
    return lines, (last / "model.safetensors").read_bytes(), (folder / "checkpoints/best/model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    os.environ["FRUGAL_LAB_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    train(experiment(source), folder)
    return folder


@pytest.fixture(scope="module")
def dead(source, tmp_path_factory):
    """A run that died in step 10: checkpoints after 4 and 8, and a line that was cut."""
    folder = tmp_path_factory.mktemp("dead") / "run"
    take_step = training_module.log_step

    def die(run, step, *rest):
        if step == 10:
            raise SystemExit("killed")
        take_step(run, step, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_module, "log_step", die)
        with pytest.raises(SystemExit):
            train(experiment(source), folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "lo')
    return folder


def disturbed(folder, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(folder, tmp_path / "run")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << (int(place * 1000) % 8)
    path.write_bytes(content)


def resumed(source, folder, **more):
    """The run's end, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = train(experiment(source, **more), folder, resume=True)
    return outcome, [str(warning.message) for warning in caught if warning.category is UserWarning]


# --- damage


@pytest.mark.parametrize("name", [*checkpoint.FILES, "checksums.json"])
def test_the_newest_checkpoint_is_damaged_and_the_one_before_it_is_taken(source, whole, dead, tmp_path, name):
    folder = disturbed(dead, tmp_path)
    flip(folder / "checkpoints/step-000008" / name, 0.5)
    outcome, said = resumed(source, folder)
    assert outcome.status == "complete"
    assert [line for line in said if "step-000008: " in line and "continuing from step-000004" in line] == said[:1]
    assert numbers(folder) == numbers(whole)


def test_every_checkpoint_is_damaged_and_one_line_says_so(source, dead, tmp_path):
    folder = disturbed(dead, tmp_path)
    for path in checkpoint.all_in(folder / "checkpoints"):
        flip(path / "optimizer.pt", 0.3)
    with pytest.raises(ft.ExperimentError, match=r"every checkpoint is damaged \(step-000008: .*step-000004: ") as caught:
        resumed(source, folder)
    assert "\n" not in str(caught.value)


def test_the_log_is_no_part_of_what_a_run_is_resumed_from(source, whole, dead, tmp_path):
    for damage in (lambda log: log.unlink(), lambda log: os.truncate(log, 100), lambda log: flip(log, 0.2)):
        folder = disturbed(dead, tmp_path)
        damage(folder / "metrics.jsonl")
        assert resumed(source, folder)[1] == []
        assert numbers(folder) == numbers(whole)
        shutil.rmtree(folder)


def flips(folder):
    """Every file of a run and where in it a bit is turned."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return [(file, place) for file in files for place in (0.0, 0.37, 0.81)]


@pytest.mark.slow
@pytest.mark.parametrize("ended", [False, True])
def test_a_bit_that_flips_in_any_file_changes_no_number(source, whole, dead, tmp_path, ended):
    found = []
    for file, place in flips(whole if ended else dead):
        folder = disturbed(whole if ended else dead, tmp_path)
        flip(folder / file, place)
        try:
            resumed(source, folder)
            seen = ended and file.parts[0] == "checkpoints" and bool(checkpoint.damaged((folder / file).parent))
            found.append(seen or numbers(folder) == numbers(whole))  # a finished run reads no checkpoint; who does, sees it
        except ft.ExperimentError as error:
            found.append("\n" not in str(error))
        assert found[-1], file
        shutil.rmtree(folder)
    assert len(found) >= 36


def test_a_finished_run_whose_files_changed_is_mended_on_request(source, whole, tmp_path):
    folder = disturbed(whole, tmp_path)
    flip(folder / "metrics.jsonl", 0.4)
    with pytest.raises(ft.ExperimentError, match=r"is damaged: metrics.jsonl does not have its checksum; --resume mends it"):
        train(experiment(source), folder)
    assert resumed(source, folder)[0].status == "complete"
    assert numbers(folder) == numbers(whole)
    assert train(experiment(source), folder).status == "already complete"


@pytest.mark.parametrize("text", ["[]", "{}", '{"settings": 1, "steps": 2}', "nonsense", '{"settings": {}, "steps": "x"}'])
def test_a_summary_of_another_shape_is_one_line(source, whole, tmp_path, text):
    folder = disturbed(whole, tmp_path)
    (folder / "summary.json").write_text(text)
    with pytest.raises(ft.ExperimentError) as caught:
        train(experiment(source), folder)
    assert "\n" not in str(caught.value)


# --- one training a folder


def test_a_second_training_into_a_folder_is_refused_in_one_line(source, whole, tmp_path):
    folder = tmp_path / "run"
    with alone(folder):
        for refused in (train, training_module.check):
            with pytest.raises(ft.ExperimentError, match=r"run: another training writes here; .* --out") as caught:
                refused(experiment(source), folder)
            assert "\n" not in str(caught.value)
    train(experiment(source), folder)
    assert numbers(folder) == numbers(whole)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tiny, torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM  # what takes long is behind us when it begins
torch.set_num_threads(1)
from frugal_gpu.train.loop import train
from test_nothing_lost import experiment
print("ready", flush=True)
train(experiment(Path({source!r}), steps=400, keep_best=True), Path({folder!r}), resume=True)
"""


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_number(source, tmp_path):
    more = {"steps": 400}
    train(experiment(source, **more), tmp_path / "whole")
    draw, kills = random.Random(5), 0
    while kills < 20:
        code = KILLED.format(tests=os.path.dirname(__file__), source=str(source), folder=str(tmp_path / "run"))
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(draw.uniform(0, 2.5))
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()
            assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
            shutil.rmtree(tmp_path / "run")
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert resumed(source, tmp_path / "run", **more)[0].step == 400
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")


# --- divergence


@pytest.mark.parametrize("subspace", ["columns", "svd"])
def test_a_run_that_diverges_names_step_loss_parameter_and_checkpoint(source, tmp_path, subspace):
    changes = {**SMALL, "algorithm.subspace": subspace, "algorithm.state_free": "sgd", "training.checkpoint_every": 1}
    wild = tiny.experiment(source, {**changes, "algorithm.learning_rate": 1e18, "training.warmup_steps": 4})
    with pytest.raises(ft.ExperimentError) as caught:
        train(wild, tmp_path)
    message = str(caught.value)
    assert message.startswith("algorithm.learning_rate: the run diverged, ")
    assert "not finite" in message
    assert "\n" not in message
    last = checkpoint.latest(tmp_path / "checkpoints")
    assert (last.name if last else "no checkpoint") in message
    for path in checkpoint.all_in(tmp_path / "checkpoints"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(path / "model.safetensors").values())


def test_divergence_is_seen_in_gradients_whose_loss_is_finite(source, tmp_path, monkeypatch):
    norm = torch.nn.utils.get_total_norm

    def spoiled(gradients, *rest):
        gradients[3][0] = torch.inf
        return norm(gradients, *rest)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", spoiled)
    words = r"model.initializer_range: the run diverged, loss 5.\d+ at step 1 .*the gradient of model.layers.0.\S+ is"
    with pytest.raises(ft.ExperimentError, match=words):
        train(experiment(source), tmp_path)


# --- what may change on resume


def test_a_run_is_extended_and_is_that_of_the_longer_one(source, tmp_path):
    fixed = {"schedule": "constant", "warmup_steps": 2}
    train(experiment(source, steps=8, **fixed), tmp_path / "run")
    with pytest.raises(ft.ExperimentError, match=r"training.steps was 8, is 12\); --resume extends it"):
        train(experiment(source, **fixed), tmp_path / "run")
    outcome, said = resumed(source, tmp_path / "run", **fixed)
    assert outcome.step == 12
    assert said == ["training.steps was 8, is 12: from step 9 on the schedule is that of 12 steps"]
    train(experiment(source, **fixed), tmp_path / "long")
    (run, *rest), (long, *others) = numbers(tmp_path / "run"), numbers(tmp_path / "long")
    assert [line for line in run if "loss" in line] == [line for line in long if "loss" in line]
    assert rest[0] == others[0]
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(ft.ExperimentError, match=r"training.steps = 4: .*step-000012 has 12 steps behind it"):
        resumed(source, tmp_path / "run", steps=4, **fixed)


def test_other_accumulation_threads_and_intervals_do_not_stop_a_resumption(source, whole, dead, tmp_path):
    folder = disturbed(dead, tmp_path)
    outcome, said = resumed(source, folder, accumulation=2, threads=1, evaluate_every=3, checkpoint_every=5, keep_best=False)
    assert (outcome.status, said) == ("complete", [])
    losses = [[line["loss"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line] for run in (folder, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][:8] == losses[1][:8]


def test_a_text_that_moved_is_the_same_text(source, whole, dead, tmp_path):
    folder, elsewhere = disturbed(dead, tmp_path), tmp_path / "text.jsonl"
    shutil.copy(source, elsewhere)
    assert resumed(elsewhere, folder)[0].status == "complete"
    assert numbers(folder) == numbers(whole)


# --- the best weights


def test_the_best_weights_are_kept(source, tmp_path, monkeypatch):
    measured = iter([5.0, 3.0, 4.0, 3.5])  # before the first step, after 5, 10 and 12
    monkeypatch.setattr(training_module, "evaluate", lambda run: (next(measured), {}))  # noqa: ARG005
    train(experiment(source, checkpoint_every=5, keep_checkpoints=9), tmp_path)
    best = tmp_path / "checkpoints" / "best"
    assert checkpoint.damaged(best) == ""
    assert json.loads((best / "state.json").read_text()) == {"step": 5, "validation_loss": 3.0}
    at_five = load_file(tmp_path / "checkpoints/step-000005/model.safetensors")
    kept = load_file(best / "model.safetensors")
    assert all(torch.equal(kept[name], at_five[name]) for name in at_five)


def test_the_best_weights_of_another_run_that_left_no_checkpoint_go(source, tmp_path):
    """Else they would be taken for those of the run that is begun in its folder."""
    stale = tmp_path / "checkpoints" / "best"
    stale.mkdir(parents=True)
    (stale / "state.json").write_text('{"step": 7}')
    train(tiny.experiment(source, {"training.steps": 1, "training.keep_best": False}), tmp_path)
    assert not stale.exists()
