"""Steps in CUDA graphs, as far as the host decides: what is refused, and how replays are counted. On a GPU: test_triton.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal


def stepping(**options):
    weight = nn.Parameter(torch.ones(6, 8))
    weight.grad = torch.ones(6, 8)
    return Frugal([("a.weight", weight)], **{"subspace": "columns", "density": 0.5, "update_gap": 4, **options})


@pytest.mark.parametrize(
    "beside",
    [
        {"state_dtype": "bfloat16"},
        {"stochastic_rounding": True},
        {"check_finite": True},
        {"refresh": "staggered", "subspace": "random"},
        {"backend": "formula"},
        {"state_full": "adafactor"},
    ],
    ids=str,
)
def test_what_a_replay_would_do_wrong_is_refused(beside):
    with pytest.raises(ValueError, match=f"Frugal: capturable = True beside .*{next(iter(beside))} = ") as caught:
        stepping(capturable=True, **beside)
    assert "\n" not in str(caught.value)


def test_graphs_are_of_cuda_devices():
    with pytest.raises(ValueError, match=r"Frugal: capturable = True: a\.weight is on cpu"):
        stepping(capturable=True)


def test_replays_are_steps_of_the_present_period():
    optimizer = stepping()
    optimizer.step()
    with pytest.raises(ValueError, match="4 replayed steps: allowed: at most 3"):
        optimizer.count_replays(4)
    assert optimizer.param_groups[0]["step"] == 1, "nothing was counted"
    optimizer.count_replays(3)
    assert (optimizer.param_groups[0]["step"], optimizer.param_groups[0]["period"]) == (4, 0)
    optimizer.step()
    assert (optimizer.param_groups[0]["period"], optimizer.param_groups[0]["began"]) == (1, 4)


def test_what_counts_on_the_host_is_not_captured(monkeypatch):
    optimizer = stepping()
    monkeypatch.setattr("frugal_gpu.optim.graphs.capturing", lambda: True)
    with pytest.raises(RuntimeError, match="capturable = False"):
        optimizer.step()


def test_a_period_does_not_begin_in_a_graph(monkeypatch):
    optimizer = stepping()
    for _ in range(4):
        optimizer.step()
    monkeypatch.setattr("frugal_gpu.optim.periods.capturing", lambda: True)
    with pytest.raises(RuntimeError, match="a new period begins in this step"):
        optimizer.step()
    monkeypatch.setattr("frugal_gpu.optim.periods.capturing", lambda: False)
    optimizer.step()
    assert optimizer.param_groups[0]["period"] == 1


def test_a_captured_step_is_none_of_the_hosts(monkeypatch):
    optimizer = stepping()
    optimizer.step()
    monkeypatch.setattr("frugal_gpu.optim.frugal.is_captured", lambda groups: True)  # noqa: ARG005
    optimizer.step()
    assert optimizer.param_groups[0]["step"] == 1
