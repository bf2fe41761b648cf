"""Two processes on the CPU: sharded by FSDP2, data-parallel, and distributed checkpoints on another number of ranks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ecosystem


def ranks(count: int, folder: Path, *actions: str) -> None:
    """Run actions of :mod:`tests.gpu.two_ranks` in ``count`` processes; an error of any of them is the test's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(port)]
    command = [sys.executable, "-W", "ignore", *launch, "-m", "tests.gpu.two_ranks", str(folder), *actions]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(
    "action",
    [
        "equals_the_unsharded_run",
        "experts_equal_the_unsharded_run",
        "stochastic_rounding_is_that_of_the_whole",
        "counters_agree",
        "flat_shards_are_refused",
        "data_parallel_ranks_agree",
        "the_scale_plan_counts_their_bytes",
    ],
)
def test_on_two_ranks(action, tmp_path):
    ranks(2, tmp_path, action)


def test_a_distributed_checkpoint_is_loaded_on_another_number_of_ranks(tmp_path):
    ranks(2, tmp_path, "save")
    for count in (1, 2, 3):
        ranks(count, tmp_path, "load")
