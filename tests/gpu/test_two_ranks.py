"""Two processes on the CPU: sharded by FSDP2, data-parallel, and distributed checkpoints on another number of ranks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ecosystem


ACTIONS = (
    "equals_the_unsharded_run",
    "experts_equal_the_unsharded_run",
    "stochastic_rounding_is_that_of_the_whole",
    "counters_agree",
    "flat_shards_are_refused",
    "data_parallel_ranks_agree",
    "the_scale_plan_counts_their_bytes",
)


def ranks(count: int, folder: Path, *actions: str) -> dict[str, str]:
    """Run actions of :mod:`tests.gpu.two_ranks` in ``count`` processes, and what the errors of those are that failed.

    One start does for all of them; after a failure, which leaves the ranks at odds, what has not run yet gets a new one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(port)]
    command = [sys.executable, "-W", "ignore", *launch, "-m", "tests.gpu.two_ranks", str(folder), *actions]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=540, check=False
    )
    done = [line.removeprefix("done: ") for line in ended.stdout.splitlines() if line.startswith("done: ")]
    assert done == list(actions[: len(done)])
    if len(done) == len(actions):
        assert ended.returncode == 0, ended.stderr[-4000:]
        return {}
    failed, *left = actions[len(done) :]
    return {failed: f"exit status {ended.returncode}\n{ended.stderr[-4000:]}", **(ranks(count, folder, *left) if left else {})}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong on two ranks, by action."""
    return ranks(2, tmp_path_factory.mktemp("ranks"), *ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_on_two_ranks(action, errors):
    assert action not in errors, errors[action]


def test_a_distributed_checkpoint_is_loaded_on_another_number_of_ranks(tmp_path):
    assert ranks(2, tmp_path, "save", "load") == {}
    for count in (1, 3):
        assert ranks(count, tmp_path, "load") == {}
