"""``experts`` in the optimizer: states come back, bytes are counted, groups ask for it, what it cannot do is one line."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from frugal_gpu import Frugal
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.probes.law import law_of
from frugal_gpu.studies.memory import memory_of
from frugal_theory.algorithm.rules import rule_of
from frugal_theory.config import Algorithm
from tests.tolerances import FACTORISATION

GAP, STOPS = 3, (1, 5, 6)
UNITS = [{"subspace": s} for s in ("columns", "rows", "randk", "coordinates")]
HELD = [{**one, "off_set_momentum": reading} for one in UNITS for reading in ("decay", "hold")]
BASES = [{"subspace": s, "on_update": u} for s, u in (("svd", "project"), ("random", "reset"), ("gaussian", "keep"))]
RULES = [{"subspace": s, "state_full": rule} for s in ("rows", "columns", "svd") for rule in ("lion", "adagrad")]
BY_MATRIX = [
    {"subspace": "svd", "state_free": "like_full"},
    {"subspace": "gaussian", "state_free": "like_full", "on_update": "keep"},
    {"subspace": "svd", "state_full": "adafactor", "state_free": "one_sided", "on_update": "project"},
    {"subspace": "svd", "state_full": "adafactor", "state_free": "one_sided", "density": 1.0},
]
CASES = [*UNITS, *HELD, *BASES, *RULES, *BY_MATRIX]


class Mixture(nn.Module):
    """A router, E experts in two parameters of three dimensions, a norm, and a head."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = nn.Linear(6, 3, bias=False, dtype=dtype)
        self.up = nn.Parameter(torch.randn(3, 6, 8, dtype=dtype) / 3)
        self.down = nn.Parameter(torch.randn(3, 8, 6, dtype=dtype) / 3)
        self.norm = nn.LayerNorm(6, dtype=dtype)
        self.lm_head = nn.Linear(6, 5, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.router(x).softmax(-1)
        each = torch.einsum("bi,eij,ejk->bek", x, self.up, self.down).tanh()
        return self.lm_head(self.norm(torch.einsum("be,bek->bk", weights, each)))


def options(keys: dict) -> dict:
    return {"lr": 0.02, "density": 0.4, "update_gap": GAP, "experts": True, **keys}


def make(net: nn.Module, keys: dict, **more) -> Frugal:
    return Frugal(net, **options(keys), **more)


def run(net: nn.Module, optimizer: Frugal, steps: range) -> None:
    for k in steps:
        net.zero_grad()
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        net(x.to(net.up.dtype)).square().sum().backward()
        optimizer.step()


def assert_equal(net: nn.Module, other: nn.Module) -> None:
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("number", "keys"), [*enumerate(CASES)], ids=str)
def test_a_state_comes_back_bit_for_bit(number, keys):
    """Stops go round."""
    stop = STOPS[number % 3]
    net, other = Mixture(), Mixture()
    optimizer = make(net, keys)
    run(net, optimizer, range(stop))
    file = io.BytesIO()
    torch.save([net.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other.load_state_dict(weights)
    resumed = make(other, keys)
    resumed.load_state_dict(state)
    for each, own in ((net, optimizer), (other, resumed)):
        run(each, own, range(stop, stop + GAP + 1))
    assert_equal(net, other)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("keys", [*UNITS[:3], HELD[1], BASES[0], *RULES[1::2], *BY_MATRIX[2:]], ids=str)
def test_a_distributed_checkpoint_gives_it_back(keys, tmp_path):
    net, other = Mixture(), Mixture()
    optimizer = make(net, keys)
    run(net, optimizer, range(5))
    other.load_state_dict(net.state_dict())
    fresh = make(other, keys)
    dcp.save({"optimizer": get_optimizer_state_dict(net, optimizer)}, checkpoint_id=tmp_path)
    template = {"optimizer": get_optimizer_state_dict(other, fresh)}
    dcp.load(template, checkpoint_id=tmp_path)
    set_optimizer_state_dict(other, fresh, template["optimizer"])
    for each, own in ((net, optimizer), (other, fresh)):
        run(each, own, range(5, 8))
    assert_equal(net, other)


@pytest.mark.parametrize(
    "keys", [*CASES, {"subspace": "svd", "rank": 2}, {"subspace": "coordinates", "sampling": "fixed_size"}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_memory_is_what_is_held(keys, dtype):
    if keys.get("subspace") == "coordinates" and "sampling" not in keys and "off_set_momentum" not in keys:
        pytest.skip("drawn one by one: right on average")
    net = Mixture(dtype)
    kept = {key: value for key, value in options(keys).items() if key != "lr" and not (key == "density" and "rank" in keys)}
    algorithm = Algorithm.model_validate({**kept, "learning_rate": 0.02})
    optimizer = Frugal.from_config(net, algorithm)
    run(net, optimizer, range(1))
    assert memory_of(net, algorithm).state == state_bytes_held(optimizer)


def test_an_expert_has_its_share():
    """Counted by hand: of 6×8 and 8×6 matrices, ρ = 0.4 is 3 of 8 columns (rows: 2 of 6), 2 of 6 directions."""
    kept = {"state_full": "lion", "split": True, "lr": 0.1, "density": 0.4, "experts": True}
    for subspace, numbers in (("columns", 3 * 6), ("rows", 2 * 8), ("randk", 19), ("svd", 2 * 8 + 6 * 2)):
        x = nn.Parameter(torch.ones(5, 6, 8))
        optimizer = Frugal([("x", x)], subspace=subspace, **kept)
        x.grad = torch.randn(5, 6, 8)
        optimizer.step()
        assert state_bytes_held(optimizer) == 4 * 5 * numbers, subspace


@pytest.mark.parametrize("keys", [*UNITS, *BASES[:2]], ids=str)
@pytest.mark.parametrize("backend", ["foreach", "fused"])
def test_backends_follow_the_formula(keys, backend):
    nets = [Mixture(), Mixture()]
    for net, chosen in zip(nets, (backend, "formula"), strict=True):
        run(net, make(net, keys, backend=chosen), range(8))
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=FACTORISATION)


@pytest.mark.parametrize("keys", [*UNITS, *BASES], ids=str)
@pytest.mark.parametrize("practice", [{"stochastic_rounding": True}, {"state_dtype": "8bit"}], ids=str)
def test_short_numbers_are_those_of_the_experts_each_by_itself(keys, practice):
    if "stochastic_rounding" in practice:
        practice = {}  # the chance is by name and place, and a part has others
    torch.manual_seed(1)
    start, pushes = torch.randn(3, 6, 8).bfloat16(), torch.randn(7, 3, 6, 8).bfloat16()
    together = nn.Parameter(start.clone())
    apart = [nn.Parameter(own.clone()) for own in start]
    kept = {**options(keys), "split": True, **practice}
    whole = Frugal([("w", together)], **kept)
    several = Frugal([(f"w.{e}", own) for e, own in enumerate(apart)], **kept)
    for push in pushes:
        together.grad = push.clone()
        for own, part in zip(apart, push, strict=True):
            own.grad = part.clone()
        whole.step()
        several.step()
    assert torch.equal(together, torch.stack(apart))


def test_in_backward_is_the_ordinary_step():
    for keys in (UNITS[0], BASES[0]):
        nets = [Mixture(), Mixture()]
        for net, backward in zip(nets, (False, True), strict=True):
            run(net, make(net, keys, update_in_backward=backward), range(8))
        assert_equal(*nets)


@pytest.mark.parametrize("keys", [UNITS[0], UNITS[1], BASES[0]], ids=str)
def test_groups_ask_for_it_by_pattern(keys):
    """By the constructor's rules and by the file's groups; the others are the matrices that they were."""
    kept = {"density": 0.4, "update_gap": GAP, **keys}
    by_rule, by_file, everywhere = Mixture(), Mixture(), Mixture()
    algorithm = Algorithm.model_validate(
        {**kept, "learning_rate": 0.02, "groups": [{"pattern": "^(up|down)$", "experts": True}]}
    )
    run(by_rule, Frugal(by_rule, lr=0.02, rules=[("^(up|down)$", {"experts": True})], **kept), range(7))
    run(by_file, Frugal.from_config(by_file, algorithm), range(7))
    run(everywhere, make(everywhere, keys), range(7))
    assert_equal(by_rule, by_file)
    assert_equal(by_rule, everywhere)


def test_a_vector_and_a_matrix_are_as_without_it():
    for keys in (*UNITS, *BASES):
        ends = []
        for experts in (False, True):
            torch.manual_seed(0)
            named = [
                ("w", nn.Parameter(torch.ones(5, 6))),
                ("b", nn.Parameter(torch.ones(7))),
                ("c", nn.Parameter(torch.ones(2, 3, 2, 2))),
            ]
            optimizer = Frugal(named, **{**options(keys), "experts": experts, "split": True})
            for _ in range(5):
                for _, x in named:
                    x.grad = torch.randn(x.shape)
                optimizer.step()
            ends.append([x.detach() for _, x in named])
        assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("keys", [*UNITS[:2], BASES[0], BY_MATRIX[2]], ids=str)
def test_it_may_change_at_any_time(keys):
    """Statistics follow their units (coordinates) or begin anew, and then go on as from there."""
    net = Mixture()
    optimizer = make(net, keys)
    run(net, optimizer, range(4))
    for now in (False, True):
        for group in optimizer.param_groups:
            group["experts"] = now
        run(net, optimizer, range(4))
        other = copy.deepcopy(net)
        again = make(other, {**keys, "experts": now})
        again.load_state_dict(optimizer.state_dict())
        both = net, other
        for each, own in zip(both, (optimizer, again), strict=True):
            run(each, own, range(4))
        assert_equal(*both)
        assert all(x.isfinite().all() for x in net.parameters())


def test_a_state_from_before_the_option_goes_on_as_it_was():
    """Its groups and what they drew under know nothing of it: no basis is drawn anew for that."""
    net = Mixture()
    optimizer = make(net, {"subspace": "svd", "experts": False})
    run(net, optimizer, range(5))
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["experts"]
        group["drawn"] = tuple(pair for pair in group["drawn"] if pair[0] != "experts")
    other = copy.deepcopy(net)
    resumed = make(other, {"subspace": "svd", "experts": False})
    resumed.load_state_dict(state)
    run(net, optimizer, range(5, 6))
    run(other, resumed, range(5, 6))
    assert_equal(net, other)


SPLIT = {"rule": "split", "subspace": "columns", "density": 0.5}
REFUSED = [
    ({"subspace": "blocks"}, r'^Frugal: experts = true [^\n]*subspace is "blocks"; [^\n]*"svd"[^\n]* are allowed$'),
    ({"subspace": "eigen"}, r'^Frugal: experts = true [^\n]*subspace is "eigen"'),
    ({"subspace": "coordinates", "set": (1, 2)}, r"^Frugal: experts = true [^\n]*set = \[\.\.\.\]"),
    ({"subspace": "rows", "state_full": "muon"}, r'^Frugal: experts = true: state_full.rule = "muon"[^\n]*"rows"[^\n]*$'),
    ({"subspace": "columns", "state_free": "like_full"}, r'^Frugal: experts = true: state_free.rule = "like_full"[^\n]*$'),
    (
        {"subspace": "svd", "state_full": "ldadam"},
        r'^Frugal: experts = true: state_full.rule = "ldadam" keeps one state[^\n]*$',
    ),
    ({"subspace": "svd", "state_full": SPLIT}, r'^Frugal: experts = true: state_full.rule = "split" keeps one state[^\n]*$'),
    ({"subspace": "svd", "experts": 2}, r"^Frugal: experts = 2: [^\n]*$"),
    ({"subspace": "svd", "experts": None}, r"^Frugal: experts = None: [^\n]*$"),
]


@pytest.mark.parametrize(("keys", "line"), REFUSED, ids=lambda x: str(x)[:40])
def test_what_it_cannot_do_is_one_line(keys, line):
    with pytest.raises(ValueError, match=line):
        make(Mixture(), keys)


def test_what_is_treated_as_a_whole_may_have_any_rule():
    """The rule of a head is no business of the experts'."""
    assert not getattr(rule_of(Algorithm(state_full="adalayer").state_full), "elementwise", True)
    net = Mixture()
    run(net, make(net, {"subspace": "columns"}, output={"rule": "adalayer"}), range(2))
    head = {"pattern": "head", "split": "state_full", "state_full": "muon"}
    algorithm = Algorithm.model_validate({"subspace": "rows", "experts": True, "groups": [head]})
    optimizer = Frugal.from_config(net, algorithm)
    run(net, optimizer, range(1))
    assert memory_of(net, algorithm).state == state_bytes_held(optimizer)


def test_a_theorem_sees_the_share_of_an_expert():
    """Of 8 columns ρ = 0.4 takes 3, of a matrix's 48 (without the key) 19."""
    for keys, share in ((True, 3 / 8), (False, 19 / 48)):
        algorithm = Algorithm.model_validate({"subspace": "columns", "density": 0.4, "experts": keys})
        optimizer = Frugal(
            [("w", nn.Parameter(torch.ones(3, 6, 8)))], subspace="columns", density=0.4, experts=keys, split=True
        )
        law = law_of(algorithm, optimizer.param_groups)
        assert law is not None
        assert law["share"]["w"] == pytest.approx(share)
