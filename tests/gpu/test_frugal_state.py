"""What Frugal saves: plain, safe to load, small, and enough to go on as if nothing had happened."""

from __future__ import annotations

import io
import itertools

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from tests.devices import on_every_device
from tests.families import BASIS_SUBSPACES, UNIT_SUBSPACES

RULES = ("sgdm", "adamw", "lion")
GAP = 5
OPTIONS = {
    **{f"{subspace} {reading}": {"subspace": subspace, "off_set_momentum": reading}
       for subspace, reading in itertools.product(UNIT_SUBSPACES, ("reset", "decay", "hold"))},
    **{f"{subspace} {on_update}": {"subspace": subspace, "on_update": on_update}
       for subspace, on_update in itertools.product(BASIS_SUBSPACES, ("reset", "keep", "project"))},
    "coordinates fixed size": {"subspace": "coordinates", "sampling": "fixed_size"},
    "coordinates set": {"subspace": "coordinates", "set": (0, 3, 11, 30)},
    "blocks mirror": {"subspace": "blocks", "order": "mirror"},
}  # fmt: skip


def model(dtype=torch.float32, device="cpu") -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    net = nn.Module()
    for name, shape in {"x": (7,), "W": (6, 5), "V": (4, 8)}.items():
        net.register_parameter(name, nn.Parameter(torch.randn(shape, generator=generator).to(device, dtype)))
    return net


def make(net: nn.Module, **options) -> Frugal:
    bases = {"x": torch.eye(7), "W": torch.eye(5), "V": torch.eye(4)} if options["subspace"] == "eigen" else None
    return Frugal(net.named_parameters(), lr=0.03, density=0.4, update_gap=GAP, weight_decay=0.1, bases=bases, **options)


def run(net: nn.Module, optimizer: Frugal, steps: range) -> None:
    for k in steps:
        generator = torch.Generator().manual_seed(k)
        for x in net.parameters():
            push = torch.randn(x.shape, generator=generator).to(x)
            x.grad = 0.7 * x.detach() + push
        optimizer.step()


def through_a_file(state: object) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_equal_states(left: dict, right: dict) -> None:
    assert left["param_groups"] == right["param_groups"]
    assert left["state"].keys() == right["state"].keys()
    for key, state in left["state"].items():
        assert state.keys() == right["state"][key].keys()
        for name, value in state.items():
            other = right["state"][key][name]
            assert_equal_entries(value, other, name)


def assert_equal_entries(value: object, other: object, name: str) -> None:
    """Tensors bit for bit, whatever they are nested in."""
    if isinstance(value, torch.Tensor):
        assert value.dtype == other.dtype
        assert torch.equal(value, other), name
    elif isinstance(value, dict):
        assert value.keys() == other.keys()
        for key, entry in value.items():
            assert_equal_entries(entry, other[key], f"{name}.{key}")
    else:
        assert value == other


def resumptions():
    """Options × rule × stop, with one of the dtypes, which go round, in `make test`, with the other in `make test-slow`."""
    stops, dtypes = {"mid-period": GAP + 2, "boundary": 2 * GAP}, (torch.float32, torch.bfloat16)
    for number, (name, rule, stop) in enumerate(itertools.product(OPTIONS, RULES, stops)):
        for k, dtype in enumerate(dtypes):
            marks = [pytest.mark.slow] if (number + number // 2 + k) % 2 else []
            yield pytest.param(OPTIONS[name], rule, stops[stop], dtype, marks=marks, id=f"{name}-{rule}-{stop}-{dtype}")


@on_every_device
@pytest.mark.parametrize(("options", "rule", "stop", "dtype"), list(resumptions()))
def test_a_resumed_run_goes_on_bit_for_bit(options, rule, stop, dtype, device):
    straight = model(dtype, device)
    optimizer = make(straight, state_full=rule, **options)
    run(straight, optimizer, range(stop))

    resumed = model(dtype, device)
    saved = through_a_file({"model": straight.state_dict(), "optimizer": optimizer.state_dict()})
    resumed.load_state_dict(saved["model"])
    other = make(resumed, state_full=rule, **options)
    other.load_state_dict(saved["optimizer"])
    assert_equal_states(other.state_dict(), optimizer.state_dict())

    for net, each in ((straight, optimizer), (resumed, other)):
        run(net, each, range(stop, stop + 2 * GAP))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
    assert_equal_states(other.state_dict(), optimizer.state_dict())


def test_a_loaded_state_is_not_shared_with_its_source():
    """Without a file between them torch's own load_state_dict leaves both optimizers on the same tensors."""
    first, second = model(), model()
    source, target = make(first, subspace="randk"), make(second, subspace="randk")
    run(first, source, range(3))
    target.load_state_dict(source.state_dict())
    before = [value.clone() for state in target.state.values() for value in state.values()]
    run(first, source, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(before, (v for s in target.state.values() for v in s.values()), strict=True))


def test_load_hooks_see_and_change_what_is_loaded():
    first, second = model(), model()
    source, target = make(first, subspace="randk"), make(second, subspace="randk")
    run(first, source, range(3))

    def forget(_, state_dict):
        return {**state_dict, "state": {k: {**s, "step": torch.ones_like(s["step"])} for k, s in state_dict["state"].items()}}

    target.register_load_state_dict_pre_hook(forget)
    target.load_state_dict(source.state_dict())
    assert all((state["step"] == 1).all() for state in target.state.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_state_is_tensors_and_plain_numbers(options, rule):
    net = model(torch.bfloat16)
    optimizer = make(net, state_full=rule, **options)
    run(net, optimizer, range(GAP + 2))
    for x, state in optimizer.state.items():
        for name, value in state.items():
            if name in ("step", "basis") and isinstance(value, torch.Tensor):
                assert value.dtype == torch.float32
            elif name in ("step", "period"):
                assert type(value) is int
            else:
                assert value.dtype == torch.float32, (x.dtype, name)
    plain = (int, float, str, bool, tuple, list, type(None))
    assert all(isinstance(value, plain) for value in optimizer.state_dict()["param_groups"][0].values())


# --- memory ----------------------------------------------------------------------------------------------

DENSITY = 0.25
SHAPES = [(24, 40), (32, 16), (30, 30), (12, 64), (40, 24), (20, 20)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def stored(optimizer: Frugal, names: tuple[str, ...]) -> int:
    """Elements that the named statistics keep alive: whole storages, so a view counts as what it is a view of."""
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() // value.element_size()
        for state in optimizer.state.values()
        for name, value in state.items()
        if name in names and isinstance(value, torch.Tensor)
    }
    return sum(storages.values())


def step_often(optimizer: Frugal, params: list[nn.Parameter], steps: int) -> list[int]:
    held = []
    for k in range(steps):
        for x in params:
            x.grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(k))
        optimizer.step()
        held.append(stored(optimizer, ("exp_avg",)))
    return held


@pytest.mark.parametrize(
    ("subspace", "slack"),
    [
        ("blocks", max(a * b for a, b in SHAPES)),  # a window of ρ of the elements can start in any block
        ("columns", sum(a for a, _ in SHAPES)),  # a column more or less by rounding
        ("rows", sum(b for _, b in SHAPES)),
        ("randk", len(SHAPES)),
        ("coordinates", 5 * int((DENSITY * (1 - DENSITY) * sum(a * b for a, b in SHAPES)) ** 0.5)),  # five deviations
        ("random", sum(max(shape) for shape in SHAPES)),  # a rank more or less by rounding
        ("svd", sum(max(shape) for shape in SHAPES)),
    ],
)
def test_a_statistic_takes_the_density_of_the_parameters(subspace, slack):
    params = matrices()
    total = sum(x.numel() for x in params)
    optimizer = Frugal(params, density=DENSITY, update_gap=2, subspace=subspace)
    held = step_often(optimizer, params, 12)
    assert max(held) <= DENSITY * total + slack
    assert stored(optimizer, ("exp_avg_sq",)) == held[-1]
    if subspace in ("random", "svd"):
        assert stored(optimizer, ("basis",)) <= sum(min(s) * round(DENSITY * min(s) + 0.5) for s in SHAPES)
    if subspace in ("columns", "rows"):
        assert stored(optimizer, ("step",)) <= DENSITY * sum(sum(shape) for shape in SHAPES)


def test_blocks_hold_the_density_on_average():
    params = matrices()
    optimizer = Frugal(params, density=DENSITY, update_gap=1)
    held = step_often(optimizer, params, 400)
    total = sum(x.numel() for x in params)
    assert abs(sum(held) / len(held) / total - DENSITY) < 0.05


@pytest.mark.parametrize("density", [0.0, 0.1])
@pytest.mark.parametrize("subspace", UNIT_SUBSPACES)
def test_what_left_the_set_takes_no_memory(subspace, density):
    params = matrices()
    optimizer = Frugal(params, density=density, update_gap=1, subspace=subspace)
    step_often(optimizer, params, 5)
    total = sum(x.numel() for x in params)
    bytes_held = sum(v.untyped_storage().nbytes() for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v))
    assert bytes_held <= 3 * 4 * (density * total + (max(x.numel() for x in params) if density else 0))
