"""torchrun -m frugal_gpu train …: the run of one process, its errors said once, and its resumption by any number of them."""

import json
import subprocess
import sys

import pytest
import torch

from frugal_gpu.commands.main import main
from tests.calling import called
from tests.cli.test_gpu_cli import EXPERIMENT, numbers
from tests.tolerances import ACCUMULATION_FLOAT32

pytestmark = pytest.mark.ecosystem

CHANGES = ("training.schedule=constant", "training.warmup_steps=0", "training.evaluation_tokens=80")
OPTIONS = [word for change in CHANGES for word in ("--set", change)]
"""80 tokens are five sequences: one process evaluates in one pass more than the other."""


def written(folder):
    """The folder, with an experiment and its text."""
    (folder / "tiny.toml").write_text(EXPERIMENT)
    texts = [f"document {i} says that {i} times {i} is {i * i}" for i in range(60)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As many as each of two processes has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with an experiment, its text and a cache of its own."""
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return written(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the whole run of one process, "1", and that of two, "2". Nobody writes to it."""
    folder = written(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRUGAL_LAB_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for count in (1, 2):
            done = call(folder, count, "--out", str(count))
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("Results: ") == 1
    return folder


def call(place, processes, *arguments):
    """The command, by torchrun or here, and what it said."""
    if processes == 1:
        return called(main, "train", "tiny.toml", *OPTIONS, *arguments, cwd=place)
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *launch, "-m", "frugal_gpu", "train", "tiny.toml", *OPTIONS, *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=300)


def test_two_processes_train_what_one_does(trained):
    for two, one in zip(numbers(trained / "2"), numbers(trained / "1"), strict=True):
        assert two == pytest.approx(one, rel=ACCUMULATION_FLOAT32)


def test_accelerate_launches_what_torchrun_does(place, trained):
    launched = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    arguments = ["--dynamo_backend", "no", "-m", "frugal_gpu", "train", "tiny.toml", *OPTIONS, "--out", "launched"]
    done = subprocess.run(
        [sys.executable, "-m", *launched, *arguments], cwd=place, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for two, one in zip(numbers(place / "launched"), numbers(trained / "1"), strict=True):
        assert two == pytest.approx(one, rel=ACCUMULATION_FLOAT32)


def test_a_run_of_two_processes_goes_on_with_two_and_with_one(place, trained):
    assert call(place, 2, "--out", "run", "--set", "training.steps=2").returncode == 0
    subprocess.run(["cp", "-r", "run", "other"], cwd=place, check=True)
    for count, name in ((2, "run"), (1, "other")):
        done = call(place, count, "--out", name, "--resume")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("warning: training.steps was 2, is 4") == 1
        ours = [line for line in numbers(place / name) if "loss" in line]
        theirs = [line for line in numbers(trained / "2") if "loss" in line]
        if count == 2:
            assert ours == theirs
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=ACCUMULATION_FLOAT32)


def test_sharded_over_two_processes_trains_what_one_process_does_and_goes_on_with_one_and_two(place):
    """FSDP2, with micro-batches and clipping: the losses of the unsharded run, and a checkpoint for any number of processes."""
    options = [
        "--set",
        "training.sharding=fsdp2",
        "--set",
        "training.max_gradient_norm=1.0",
        "--set",
        "training.accumulation=2",
    ]
    for count, name, more in ((1, "alone", ["--set", "training.sharding=ddp"]), (2, "whole", []), (2, "run", [])):
        length = ["--set", "training.steps=2"] if name == "run" else []
        done = call(place, count, "--out", name, *options, *more, *length)
        assert done.returncode == 0, done.stderr
    alone = numbers(place / "alone")
    for sharded, one in zip(numbers(place / "whole"), alone, strict=True):
        assert sharded == pytest.approx(one, rel=ACCUMULATION_FLOAT32)
    subprocess.run(["cp", "-r", "run", "other"], cwd=place, check=True)
    for count, name in ((2, "run"), (1, "other")):
        done = call(place, count, "--out", name, "--resume", *options)
        assert done.returncode == 0, done.stderr
        ours = [line for line in numbers(place / name) if "loss" in line]
        theirs = [line for line in numbers(place / "whole") if "loss" in line]
        assert ours[:2] == theirs[:2]
        if count == 2:
            assert ours == theirs
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=ACCUMULATION_FLOAT32)
    said = called(main, "evaluate", "whole", cwd=place).stdout
    final = json.loads((place / "whole/training/summary.json").read_text())["final_validation_perplexity"]
    assert float(said.split("perplexity ")[1].split(",")[0]) == pytest.approx(final, abs=5e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("algorithm.density=2.0", "tiny.toml: algorithm.density = 2.0"),
        ("training.batch_size=3", "tiny.toml: training.batch_size = 3: must be a multiple of accumulation × processes = 2"),
    ],
)
def test_an_error_is_said_once(place, change, words):
    done = call(place, 2, "--set", change)
    assert done.returncode != 0
    assert done.stderr.count(words) == 1
