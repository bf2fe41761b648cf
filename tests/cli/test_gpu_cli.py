import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from frugal_gpu.commands import main as cli
from frugal_theory.config.load import load
from tests.calling import hears_ctrl_c
from tests.gpu.tiny import TIMES

EXPERIMENT = """
name = "tiny"
seed = 3

[algorithm]
density = 0.5
update_gap = 4
subspace = "columns"

[model]
preset = "llama-tiny"
vocabulary = 300
hidden_size = 32
intermediate_size = 48
layers = 1
heads = 2

[data]
source = "text.jsonl"
validation_fraction = 0.2

[training]
steps = 4
batch_size = 4
sequence_length = 16
checkpoint_every = 2
device = "cpu"
"""

LONG = ["--set", "training.steps=150", "--set", "training.checkpoint_every=10", "--set", "training.evaluate_every=40"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Threads on a busy machine wait for each other far longer than such a small model computes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def place(tmp_path, experiment_file, monkeypatch):
    """A working folder with an experiment and its text."""
    experiment_file(EXPERIMENT)
    texts = [f"document {i} says that {i} times {i} is {i * i}" for i in range(60)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def call(monkeypatch, *arguments):
    """The command's exit status."""
    monkeypatch.setattr(sys, "argv", ["frugal-gpu", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0


def start(*arguments):
    """The command in a process of its own, as a user starts it."""
    command = [sys.executable, "-m", "frugal_gpu.commands.main", *map(str, arguments)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env=os.environ, preexec_fn=hears_ctrl_c)  # noqa: PLW1509


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def numbers(folder):
    """Everything that training measured, without times."""
    lines = (folder / "training" / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def test_help_names_the_commands(monkeypatch, capsys):
    assert call(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("train", "memory", "bench"))


def test_train_writes_the_results_and_says_what_it_reached(place, monkeypatch, capsys):
    assert call(monkeypatch, "train", "tiny.toml") == 0
    folder = place / "runs" / "tiny"
    assert load(folder / "experiment.toml") == load("tiny.toml")
    names = {path.name for path in (folder / "training").iterdir()}
    assert {"metrics.jsonl", "summary.json", "evidence.parquet", "tokenizer.json", "checkpoints"} <= names
    assert {path.name for path in (folder / "training" / "checkpoints").iterdir()} == {"step-000002", "step-000004", "best"}
    out = capsys.readouterr().out
    assert "unigram perplexity" in out
    assert "validation perplexity" in out
    assert call(monkeypatch, "train", "tiny.toml") == 0
    assert "already complete" in capsys.readouterr().out
    assert call(monkeypatch, "train", "tiny.toml", "--set", "training.steps=5") == 2
    assert "training.steps was 4, is 5" in capsys.readouterr().err


@pytest.mark.ecosystem
def test_interrupting_keeps_the_step_and_resume_repeats_the_uninterrupted_run(place, monkeypatch, capsys):
    process = start("train", "tiny.toml", *LONG, "--out", "halves")
    wait_for(place / "halves" / "training" / "checkpoints" / "step-000010", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    message = process.stderr.read()
    assert message.count("\n") == 1
    assert "--resume" in message
    assert not (place / "halves" / "training" / "summary.json").exists()
    assert call(monkeypatch, "train", "tiny.toml", *LONG, "--out", "halves") == 2
    assert "--resume" in capsys.readouterr().err
    assert call(monkeypatch, "train", "tiny.toml", *LONG, "--out", "halves", "--resume") == 0
    assert call(monkeypatch, "train", "tiny.toml", *LONG, "--out", "whole") == 0
    assert numbers(place / "halves") == numbers(place / "whole")


@pytest.mark.ecosystem
def test_a_killed_run_resumes_from_its_last_checkpoint(place, monkeypatch):
    process = start("train", "tiny.toml", *LONG, "--out", "killed")
    wait_for(place / "killed" / "training" / "checkpoints" / "step-000010", process)
    process.kill()
    process.wait()
    assert call(monkeypatch, "train", "tiny.toml", *LONG, "--out", "killed", "--resume") == 0
    assert [line["step"] for line in numbers(place / "killed") if "loss" in line] == list(range(1, 151))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.preset=llama-60", ["model.preset", "llama-60m"]),
        ("model.vocab=500", ["model.vocab", "vocabulary"]),
        ("model.heads=5", ["model.heads = 5", "hidden_size"]),
        ("training.stepz=5", ["training.stepz", "steps"]),
        ("training.steps=0", ["training.steps = 0", ">= 1"]),
        ("training.precision=fp8", ["training.precision", "bf16"]),
        ("training.tokens=100", ["steps = 4 and tokens = 100", "one of them"]),
        ("training.threads=1000", ["training.threads = 1000", "at most"]),
        ("seed=18446744073709551616", ["seed = 18446744073709551616", "2^64"]),
        ("model.vocabulary=1000000000000", ["model.vocabulary = 1000000000000", "GiB"]),
        ("model.hidden_size=1000000", ["model.hidden_size = 1000000", "GiB"]),
        ("model.initializer_range=1.5", ["model.initializer_range = 1.5", "allowed"]),
        ("model.key_value_heads=3", ["key_value_heads is 3", "divisor of 2"]),
        ("model.checkpoint=nowhere", ["checkpoint", "given; a checkpoint has its own sizes"]),
        ("algorithm.set=[200000]", ["algorithm", "set"]),
        ("probes.batch_size=1000000000000", ["probes.batch_size = 1000000000000", "GiB", "a smaller one"]),
        ("training.sequence_length=1000000000000", ["training.sequence_length = 1000000000000", "GiB", "a shorter one"]),
        ("adapter.rank=1000000", ["adapter.rank = 1000000", "at most 32 is allowed"]),
        ('algorithm.groups=[{pattern="xyz",density=1.0}]', ["algorithm.groups[0]", '"xyz"', "matches no parameter"]),
        ("training.batch_size=1000000000", ["training.batch_size = 1000000000", "GiB", "accumulation"]),
        ("training.cycle_steps=3", ["cycle_steps is of", "cosine-cycles"]),
        ("training.schedule=jagged-cosine", ["restart_every is missing"]),
        ("training.accumulation=3", ["accumulation is 3", "divisor of 4"]),
        ("training.warmup_steps=9", ["warmup_steps is 9", "steps is 4"]),
        ("data.source=nowhere.txt", ["data.source", "nowhere.txt", ".parquet", "python-docs"]),
        ("data.tokenizer=nowhere.json", ["data.tokenizer", "nowhere.json"]),
        ("algorithm.learning_rate.fraction_of_admissible=0.5", ["training.learning_rate"]),
        ("algorithm.subspace=eigen", ["algorithm.subspace", "eigen"]),
        ("algorithm.density=1.5", ["algorithm.density = 1.5", "allowed"]),
        ("nonsense", ["--set nonsense", "KEY=VALUE"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(place, monkeypatch, capsys, change, words):
    before = sorted(place.rglob("*"))
    assert call(monkeypatch, "train", "tiny.toml", "--set", change) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert change == "nonsense" or message.startswith("tiny.toml: ")
    assert [word for word in words if word not in message] == []
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("there", [False, True])
def test_what_only_the_model_shows_to_be_wrong_is_one_line_and_leaves_nothing(place, monkeypatch, capsys, there):
    """A folder that was there before stays."""
    if there:
        (place / "runs" / "one").mkdir(parents=True)
    change = 'algorithm.groups=[{pattern="qq_proj", density=0.1}]'
    assert call(monkeypatch, "train", "tiny.toml", "--set", change, "--out", "runs/one") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'tiny.toml: algorithm.groups[0], pattern "qq_proj", matches no parameter' in error
    assert (place / "runs").exists() == there


@pytest.mark.parametrize("table", ["model", "training"])
def test_a_missing_table_is_named(place, monkeypatch, capsys, table):
    begin = EXPERIMENT.index(f"[{table}]")
    end = EXPERIMENT.find("[", begin + 1)
    (place / "tiny.toml").write_text(EXPERIMENT[:begin] + (EXPERIMENT[end:] if end > 0 else ""))
    assert call(monkeypatch, "train", "tiny.toml") == 2
    assert capsys.readouterr().err.startswith(f"tiny.toml: {table}: is missing")
    assert not (place / "runs").exists()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("out", ["/proc/frugal", "tiny.toml/inside"])
def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch, capsys, out):
    assert call(monkeypatch, "train", "tiny.toml", "--out", out) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert out in message


@pytest.mark.usefixtures("place")
def test_a_full_disk_is_one_line_and_the_run_can_go_on(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    save = torch.save
    monkeypatch.setattr(torch, "save", full)
    assert call(monkeypatch, "train", "tiny.toml") == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "No space left on device" in message
    monkeypatch.setattr(torch, "save", save)
    assert call(monkeypatch, "train", "tiny.toml") == 0


def test_a_sweep_is_trained_cell_by_cell_on_request(place, experiment_file, monkeypatch):
    experiment_file(EXPERIMENT + '\n[sweep]\n"algorithm.density" = [0.25, 1.0]\n')
    assert call(monkeypatch, "train", "tiny.toml", "--out", "one") == 0
    assert (place / "one" / "training" / "summary.json").exists()
    assert call(monkeypatch, "train", "tiny.toml", "--out", "all", "--sweep") == 0
    found = {path.parent.name for path in (place / "all" / "training").glob("*/summary.json")}
    assert found == {"density-0.25", "density-1.0"}


THEORY = """
[problem]
kind = "quadratic"
dimension = 5
[noise]
kind = "gaussian"
sigma = 0.1
[sweep]
"algorithm.density" = [0.25, 1.0]
"noise.sigma" = [0.1, 0.2]
[[cases]]
name = "a"
[[cases]]
name = "b"
problem = { dimension = 6 }
"""


def test_cases_that_only_theory_reads_are_trained_once(experiment_file):
    text = EXPERIMENT.replace('subspace = "columns"', 'subspace = "coordinates"')
    assert list(cli._distinct(load(experiment_file(text + THEORY)))) == ["density = 0.25", "density = 1.0"]
    cases = '[[cases]]\nname = "a"\n[[cases]]\nname = "b"\ntraining = { steps = 3 }\n'
    assert list(cli._distinct(load(experiment_file(EXPERIMENT + cases)))) == ["a", "b"]


@pytest.mark.usefixtures("place")
def test_memory_prints_a_row_a_method(monkeypatch, capsys):
    assert call(monkeypatch, "memory", "tiny.toml", "--set", "model.preset=llama-60m") == 0
    out = capsys.readouterr().out
    assert all(method in out for method in ("AdamW", "GaLore", "BAdam", "FRUGAL"))
    assert "temporaries" in out
    assert call(monkeypatch, "memory", "tiny.toml", "--set", "model.heads=5") == 2


@pytest.mark.usefixtures("place")
@pytest.mark.ecosystem
def test_bench_prints_ratios_to_adamw(monkeypatch, capsys):
    assert call(monkeypatch, "bench", "--preset", "llama-tiny", "--rounds", "2") == 0
    assert "1.00" in capsys.readouterr().out
    assert call(monkeypatch, "bench", "--preset", "llama-big") == 2
    message = capsys.readouterr().err
    assert message.startswith("--preset llama-big: allowed: llama-tiny, llama-9m")
