"""Options and groups: what may be given, how a model's parameters are grouped, and what a mistake is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.groups import rules_of
from frugal_theory import config
from frugal_theory.algorithm.rules import Lion


def weights(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(shape)) for shape in shapes or [(4, 6)]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": -1.0}, ["lr = -1.0", ">= 0"]),
        ({"lr": float("nan")}, ["lr = nan"]),
        ({"density": 1.5}, ["density = 1.5", "less than or equal to 1"]),
        ({"update_gap": 0}, ["update_gap = 0", "greater than or equal to 1"]),
        ({"subspace": "diagonal"}, ["subspace = 'diagonal'", "'columns'"]),
        ({"state_full": "adam"}, ["state_full", "adam", "'adamw'"]),
        ({"state_full": {"rule": "sgdm", "betas": (0.9, 0.99)}}, ["state_full.betas"]),
        ({"state_full": {"rule": "lion", "betas": (0.9, 1.0)}}, ["betas.1 = 1.0", "less than 1"]),
        ({"state_full": "sgdm", "beta": 1.0}, ["beta = 1.0", "less than 1"]),
        ({"state_free": "lion"}, ["state_free", "lion", "'signsgd'"]),
        ({"state_free_lr_scale": -0.1}, ["lr_scale = -0.1"]),
        ({"betas": (0.9,)}, ["betas"]),
        ({"eps": -1e-8}, ["eps = -1e-08"]),
        ({"weight_decay": -0.1}, ["weight_decay = -0.1"]),
        ({"on_update": "rotate"}, ["on_update = 'rotate'", "'project'"]),
        ({"off_set_momentum": "keep"}, ["off_set_momentum = 'keep'", "'hold'"]),
        ({"subspace": "svd", "off_set_momentum": "hold"}, ['off_set_momentum = "hold"', '"blocks"']),
        ({"order": "sideways"}, ["order = 'sideways'", "'mirror'"]),
        ({"sampling": "poisson"}, ["sampling = 'poisson'", "'fixed_size'"]),
        ({"seed": -1}, ["seed = -1", ">= 0"]),
        ({"seed": 0.5}, ["seed = 0.5", "integer"]),
        ({"split": "both"}, ["split = 'both'", '"state_free"']),
        ({"set": [1, 2]}, ["set = [...]", "blocks"]),
        ({"subspace": "coordinates", "set": [1, 1]}, ["twice"]),
        ({"subspace": "coordinates", "set": [3, 24]}, ["coordinate 24", "0 to 23"]),
        ({"subspace": "eigen"}, ["eigen", "bases", "0 is missing"]),
        ({"subspace": "eigen", "bases": {"0": torch.eye(3)}}, ["(3, 3)", "4 rows"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(options, said):
    with pytest.raises(ValueError, match="Frugal: ") as caught:
        Frugal(weights(), **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize("rule", [{"rule": "lion", "betas": [0.8, 0.95]}, Lion(betas=(0.8, 0.95))])
def test_a_rule_may_be_a_table_or_its_config(rule):
    group = Frugal(weights(), state_full=rule, state_free={"rule": "sgd", "lr_scale": 0.1}).param_groups[0]
    assert (group["state_full"], tuple(group["betas"])) == ("lion", (0.8, 0.95))
    assert (group["state_free"], group["state_free_lr_scale"]) == ("sgd", 0.1)


def test_eigen_takes_its_leading_columns_by_constructor_or_group():
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    for optimizer in (
        Frugal([("w", weights()[0])], subspace="eigen", density=0.5, bases={"w": basis}),
        Frugal([{"params": [("w", weights()[0])], "bases": {"w": basis.numpy()}}], subspace="eigen", density=0.5),
    ):
        (state,) = optimizer.state.values()
        assert torch.equal(state["basis"], basis[:, :2])
        assert "bases" not in optimizer.state_dict()["param_groups"][0]


# --- from_config -----------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """A model with everything that is treated apart."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.up = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.gate = nn.Parameter(torch.ones(8, 8))
        self.head = nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def grouped(model: nn.Module, **keys: object) -> dict[object, set[str]]:
    optimizer = Frugal.from_config(model, config.Algorithm.model_validate(keys))
    return {group["split"]: set(group["param_names"]) for group in optimizer.param_groups}


def test_the_default_groups_of_a_model():
    assert grouped(Tiny()) == {
        True: {"up.weight", "gate"},
        "state_full": {"embed.weight", "up.bias", "norm.weight", "norm.bias", "head.weight"},
    }


def test_the_switches_of_norms_embeddings_and_output():
    assert grouped(Tiny(), norms="state_free", embeddings="split", output="state_free") == {
        True: {"up.weight", "gate", "embed.weight"},
        "state_full": {"up.bias"},
        "state_free": {"norm.weight", "norm.bias", "head.weight"},
    }


def test_tied_embeddings_are_the_head():
    assert grouped(Tiny(tied=True), embeddings="state_free", output="split")[True] == {"up.weight", "gate", "embed.weight"}


def test_what_is_frozen_is_left_out_and_blocks_do_not_count_it():
    model = Tiny()
    model.gate.requires_grad_(False)
    assert grouped(model)[True] == {"up.weight"}


def test_a_llama_is_grouped_by_its_layers():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, tie_word_embeddings=False))
    groups = grouped(llama, norms="state_free")
    assert groups["state_full"] == {"model.embed_tokens.weight", "lm_head.weight"}
    assert all("norm" in name for name in groups["state_free"])
    assert len(groups["state_free"]) == 5
    assert len(groups[True]) == 14


def test_from_config_takes_every_option_of_the_table():
    experiment = ft.parse("""
        name = "all"
        seed = 4
        [algorithm]
        learning_rate = 0.02
        density = 0.3
        update_gap = 11
        subspace = "columns"
        state_full = { rule = "adamw", betas = [0.8, 0.95], eps = 1e-6 }
        state_free = { rule = "sgd", lr_scale = 0.1 }
        on_update = "keep"
        off_set_momentum = "hold"
        weight_decay = 0.01
    """)
    group = Frugal.from_config(Tiny(), experiment.algorithm).param_groups[0]
    expected = {
        "lr": 0.02, "density": 0.3, "update_gap": 11, "subspace": "columns", "state_full": "adamw", "betas": (0.8, 0.95),
        "eps": 1e-6, "state_free": "sgd", "state_free_lr_scale": 0.1, "on_update": "keep", "off_set_momentum": "hold",
        "weight_decay": 0.01, "seed": 4,
    }  # fmt: skip
    assert {key: group[key] for key in expected} == expected
    assert Frugal.from_config(Tiny(), experiment.algorithm, lr=0.5).param_groups[0]["lr"] == 0.5


def test_a_fraction_of_the_admissible_step_needs_a_number():
    algorithm = config.Algorithm(learning_rate=config.FractionOfAdmissible(fraction_of_admissible=0.5))
    with pytest.raises(ValueError, match="fraction of the admissible step"):
        Frugal.from_config(Tiny(), algorithm)
    assert Frugal.from_config(Tiny(), algorithm, lr=0.1).param_groups[0]["lr"] == 0.1


def test_eigen_without_bases_is_refused_from_config_too():
    with pytest.raises(ValueError, match="eigen"):
        Frugal.from_config(Tiny(), config.Algorithm(subspace="eigen"))


@pytest.mark.parametrize(("first", "second"), [("adalayer", "adamw"), ("adalayer", "sgdm"), ("adamw", "adafactor")])
def test_a_group_with_another_rule_has_nothing_of_the_first_ones(first, second):
    optimizer = Frugal(weights(), state_full=first, state_free="like_full")
    optimizer.add_param_group({"params": weights(), "state_full": second, "state_free": "sgd"})
    full, free = rules_of(optimizer.param_groups[1])
    assert full == config.Algorithm(state_full=second).state_full
    assert free == config.Algorithm(state_free="sgd").state_free


def test_options_reach_a_rule_that_keeps_its_table():
    optimizer = Frugal(weights(), state_full="adalayer", betas=(0.5, 0.6), state_free="like_full", state_free_lr_scale=0.3)
    full, free = rules_of(optimizer.param_groups[0])
    assert (full.betas, full.eps, free.lr_scale) == ((0.5, 0.6), 1e-15, 0.3)
