"""What two processes do together, started by the tests of sharding and of data-parallel runs (``-m tests.gpu.two_ranks``)."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

from frugal_gpu import Frugal
from frugal_gpu.optim.placement import local
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.studies.memory import state_by_parameter
from frugal_gpu.studies.scale import chunk
from frugal_theory.config import Algorithm

SUBSPACES = ("blocks", "columns", "rows", "randk", "coordinates", "random", "svd")
FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


class Net(nn.Module):
    """Uneven rows: 7 and 5 over two ranks."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 7, dtype=dtype), nn.Linear(7, 5, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def settings(rule: str = "adamw", **more) -> list[dict]:
    every = [{"subspace": s, **({"on_update": "project"} if s in ("random", "svd") else {})} for s in SUBSPACES]
    readings = [{"subspace": s, "off_set_momentum": r} for s in ("columns", "randk", "blocks") for r in ("decay", "hold")]
    return [{"density": 0.4, "update_gap": 3, "lr": 0.03, "state_full": rule, **one, **more} for one in (*every, *readings)]


def push(net: nn.Module, k: int, dtype: torch.dtype = torch.float64) -> None:
    """The gradient of step k, the same on every rank."""
    net.zero_grad()
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(k), dtype=dtype)
    net(x).square().sum().backward()


def whole(net: nn.Module) -> list[torch.Tensor]:
    return [x.detach().full_tensor() if hasattr(x, "full_tensor") else x.detach().clone() for x in net.parameters()]


def sharded(dtype: torch.dtype = torch.float64) -> nn.Module:
    net = Net(dtype)
    for layer in (net.first, net.second):
        fully_shard(layer)
    return fully_shard(net)


def equals_the_unsharded_run() -> None:
    for options in (
        *settings(),
        *settings("lion"),
        *settings("adagrad"),
        *settings("adafactor")[:7],
        *settings(maximize=True)[:3],
    ):
        net, alone = sharded(), Net()
        optimizers = [Frugal(each.named_parameters(), **options) for each in (net, alone)]
        for k in range(8):
            for each, optimizer in zip((net, alone), optimizers, strict=True):
                push(each, k)
                optimizer.step()
        for a, b in zip(whole(net), whole(alone), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda text, o=options: f"{o}: {text}")


class Experts(nn.Module):
    """Three experts over two ranks, each a wide matrix."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.Parameter(torch.randn(3, 4, 7, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.experts)


def push_experts(net: nn.Module, k: int) -> None:
    net.zero_grad()
    x = torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    (net(x) * (1 + net(x))).sum().backward()


def experts_equal_the_unsharded_run() -> None:
    """And what they hold comes back through a checkpoint: the resumed run is the straight one to the last bit."""
    chosen = [*settings(experts=True), *settings("lion", experts=True)[:7], *settings("adagrad", experts=True)[:7]]
    chosen += [one for one in settings("adafactor", experts=True, state_free="one_sided") if "on_update" in one]
    for options in chosen:
        if options["subspace"] == "blocks":
            continue
        nets = [fully_shard(Experts()), Experts(), fully_shard(Experts())]
        net, _, other = nets
        optimizers = [Frugal(each.named_parameters(), **options) for each in nets]
        for k in range(8):
            if k == 4:
                other.load_state_dict(net.state_dict())
                saved = get_optimizer_state_dict(net, optimizers[0])
                set_optimizer_state_dict(other, optimizers[2], saved)
            for each, optimizer in [*zip(nets, optimizers, strict=True)][: 2 if k < 4 else 3]:
                push_experts(each, k)
                optimizer.step()
        here, there, resumed = (whole(each)[0] for each in nets)
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9, msg=lambda text, o=options: f"{o}: {text}")
        assert torch.equal(here, resumed), options


def stochastic_rounding_is_that_of_the_whole() -> None:
    options = {"subspace": "randk", "density": 0.4, "update_gap": 3, "stochastic_rounding": True}
    net, alone = sharded(torch.bfloat16), Net(torch.bfloat16)
    for each in (net, alone):
        optimizer = Frugal(each.named_parameters(), lr=1e-3, **options)
        for k in range(5):
            for i, x in enumerate(each.parameters()):
                g = torch.randn(tuple(x.shape), generator=torch.Generator().manual_seed(10 * k + i)).to(x.dtype)
                mesh = getattr(x, "device_mesh", None)
                x.grad = g if mesh is None else torch.distributed.tensor.distribute_tensor(g, mesh, x.placements)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole(net), whole(alone), strict=True))


def save(folder: Path) -> None:
    for number, options in enumerate(settings()):
        net = sharded()
        optimizer = Frugal(net.named_parameters(), **options)
        for k in range(5):
            push(net, k)
            optimizer.step()
        dcp.save({"optimizer": get_optimizer_state_dict(net, optimizer)}, checkpoint_id=folder / f"{number}")
        rows = whole(net)
        full = get_optimizer_state_dict(net, optimizer, options=StateDictOptions(full_state_dict=True))
        if dist.get_rank() == 0:
            torch.save({"parameters": rows, "state": full["state"]}, folder / f"{number}.pt")


def load(folder: Path) -> None:
    """A fresh optimizer, on as many ranks as there are now, has the state that was saved, bit for bit."""
    for number, options in enumerate(settings()):
        saved = torch.load(folder / f"{number}.pt", weights_only=True)
        net = sharded()
        fresh = Frugal(net.named_parameters(), **options)
        template = {"optimizer": get_optimizer_state_dict(net, fresh)}
        dcp.load(template, checkpoint_id=folder / f"{number}")
        set_optimizer_state_dict(net, fresh, template["optimizer"])
        again = get_optimizer_state_dict(net, fresh, options=StateDictOptions(full_state_dict=True))["state"]
        assert again.keys() == saved["state"].keys()
        for name, state in saved["state"].items():
            for key, value in state.items():
                assert torch.equal(torch.as_tensor(again[name][key]), torch.as_tensor(value)), (options, name, key)
        assert fresh.param_groups[0]["step"] == 5


def counters_agree() -> None:
    """lr 0, and a gradient that is not zero on rank 0 only: both ranks count the step, or neither."""
    net = sharded()
    optimizer = Frugal(net.named_parameters(), lr=0.0, subspace="columns")
    push(net, 0)
    for x in net.parameters():
        local(x.grad).zero_()
    if dist.get_rank() == 0:
        local(net.first.weight.grad)[0, 0] = 1.0
    optimizer.step()
    steps = [None, None]
    dist.all_gather_object(steps, optimizer.param_groups[0]["step"])
    assert steps == [1, 1]
    local(net.first.weight.grad)[0, 0] = float("nan") if dist.get_rank() == 1 else 0.0
    try:
        optimizer.step()
    except RuntimeError as error:
        said = str(error)
    assert said.startswith("Frugal: the gradient of first.weight" if dist.get_rank() == 1 else "Frugal: another rank")


def flat_shards_are_refused() -> None:
    for use_orig_params in (True, False):
        net = FullyShardedDataParallel(Net(torch.float32), use_orig_params=use_orig_params, device_id=torch.device("cpu"))
        try:
            Frugal(net.named_parameters())
        except ValueError as error:
            assert "flat shard of FullyShardedDataParallel" in str(error)  # noqa: PT017
        else:
            raise AssertionError(f"use_orig_params={use_orig_params} was taken")


def data_parallel_ranks_agree() -> None:
    for options in settings():
        net = DistributedDataParallel(Net())
        optimizer = Frugal(net.named_parameters(), **options)
        for k in range(8):
            push(net, 2 * k + dist.get_rank())
            optimizer.step()
        for x in net.parameters():
            other = [torch.empty_like(x) for _ in range(2)]
            dist.all_gather(other, x.detach())
            assert torch.equal(*other), options


def the_scale_plan_counts_their_bytes() -> None:
    svd = {"density": 0.4, "subspace": "svd"}
    for keys in ({"density": 1.0}, {"density": 0.0}, svd, {"density": 1.0, "state_full": "adafactor"}):
        algorithm = Algorithm.model_validate({"update_gap": 3, **keys})
        net = sharded(torch.float32)
        optimizer = Frugal.from_config(net, algorithm, lr=0.01)
        for k in range(2):
            push(net, k, torch.float32)
            optimizer.step()
        share = {name: local(x).numel() / x.numel() for name, x in net.named_parameters()}
        kept = state_by_parameter(Net(torch.float32), algorithm)
        planned = sum(one.bytes * (1 if one.whole else share[one.name]) for one in kept)
        assert state_bytes_held(optimizer) == planned, keys
        if dist.get_rank() == 0:
            assert all(local(x).shape[0] == chunk(x.shape[0], 2) for x in net.parameters())


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    init_device_mesh("cpu", (dist.get_world_size(),))
    for name in sys.argv[2:]:
        action = globals()[name]
        action(FOLDER) if name in ("save", "load") else action()
        dist.barrier()
        if dist.get_rank() == 0:
            print(f"done: {name}", flush=True)
    dist.destroy_process_group()
