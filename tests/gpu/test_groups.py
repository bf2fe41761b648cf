"""Which parameter is treated how: by rules over names, by kind, and the same in every way to an optimizer."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.groups import rules_of
from frugal_gpu.optim.names import canonical
from frugal_theory.algorithm.selection import budget, pieces
from frugal_theory.config import Algorithm
from frugal_theory.config.groups import Group

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}


def llama() -> nn.Module:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, tie_word_embeddings=False))


def roberta() -> nn.Module:
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**SIZES, max_position_embeddings=16))


def scored() -> nn.Module:
    return transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**SIZES, pad_token_id=0))


class Unknown(nn.Module):
    """Embeddings, norms, a head and more, with names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token_embed = nn.Embedding(11, 6)
        self.up = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.gate = nn.Parameter(torch.ones(8, 8))
        self.offset = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(6, 11, bias=False)


def treated(optimizer: Frugal) -> dict[object, set[str]]:
    return {split: {n for g in optimizer.param_groups if g["split"] == split for n in g["param_names"]}
            for split in (True, "state_full", "state_free")}  # fmt: skip


WAYS = {
    "named": lambda model, **keys: Frugal(model.named_parameters(), **keys),
    "model": Frugal,
    "config": lambda model, **keys: Frugal.from_config(model, Algorithm(**keys)),
    "groups": lambda model, **keys: Frugal([{"params": model.named_parameters()}], **keys),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [llama, roberta, scored, Unknown])
def test_every_way_to_an_optimizer_treats_a_model_alike(make, way):
    model = make()
    found = treated(WAYS[way](model))
    linears = {f"{path}.weight" for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    apart = {n for n in linears if any(word in n for word in ("embed", "lm_head", "head", "classifier", "score"))}
    own = {"gate", "offset"} if make is Unknown else set()
    assert found[True] == linears - apart | own
    assert found["state_full"] == {n for n, _ in model.named_parameters()} - found[True]
    assert apart, "a head is there"


@pytest.mark.parametrize("way", WAYS)
def test_the_switches_are_the_same_words(way):
    keys = {"norms": "state_free", "embeddings": "split", "output": "state_free"}
    found = treated(WAYS[way](Unknown(), **keys))
    assert found == {
        True: {"up.weight", "gate", "offset", "token_embed.weight"},
        "state_full": {"up.bias"},
        "state_free": {"norm.weight", "norm.bias", "head.weight"},
    }


@pytest.mark.parametrize("way", ["named", "model"])
def test_one_algorithm_whichever_way(way):
    """The same words, and the same weights to the last bit after two periods."""
    models = [llama() for _ in range(2)]
    keys = {"density": 0.3, "update_gap": 2, "subspace": "blocks", "order": "ascending", "seed": 3}
    optimizers = [WAYS["config"](models[0], learning_rate=0.01, **keys), WAYS[way](models[1], lr=0.01, **keys)]
    tokens = torch.arange(12).reshape(2, 6)
    for _ in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
    for left, right in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(left, right)


def test_without_names_all_are_split_and_split_wins_over_names():
    assert [g["split"] for g in Frugal(Unknown().parameters()).param_groups] == [True]
    assert [g["split"] for g in Frugal(Unknown().named_parameters(), split=True).param_groups] == [True]
    (group,) = Frugal([{"params": Unknown().named_parameters(), "split": "state_free"}]).param_groups
    assert group["split"] == "state_free"


# --- rules -----------------------------------------------------------------------------------------------

RULES = [
    (r"lm_head", {"split": "state_free"}),
    (r"\.q_proj", {"density": 0.5, "subspace": "columns", "lr_scale": 0.1}),
    (r"\.(q|k)_proj", {"state_full": "lion", "weight_decay": 0.2}),
]


@pytest.mark.parametrize("way", ["named", "model", "file"])
def test_the_first_rule_that_matches_wins(way):
    if way == "file":
        text = """
            name = "groups"
            [algorithm]
            learning_rate = 0.02
            [[algorithm.groups]]
            pattern = "lm_head"
            split = "state_free"
            [[algorithm.groups]]
            pattern = '\\.q_proj'
            density = 0.5
            subspace = "columns"
            lr_scale = 0.1
            [[algorithm.groups]]
            pattern = '\\.(q|k)_proj'
            state_full = "lion"
            weight_decay = 0.2
        """
        experiment = ft.parse(text)
        assert ft.parse(ft.config.load.dump(experiment)) == experiment
        optimizer = Frugal.from_config(llama(), experiment.algorithm)
    else:
        optimizer = WAYS[way](llama(), lr=0.02, rules=RULES)
    by_name = {name: group for group in optimizer.param_groups for name in group["param_names"]}
    head, query, key, value = (
        by_name[name] for name in ("lm_head.weight", *(f"model.layers.1.self_attn.{p}_proj.weight" for p in "qkv"))
    )
    assert (head["split"], head["lr"]) == ("state_free", 0.02)
    assert (query["split"], query["density"], query["subspace"], query["state_full"]) == (True, 0.5, "columns", "adamw")
    assert query["lr"] == pytest.approx(0.002)
    assert (key["state_full"], tuple(key["betas"]), key["weight_decay"], key["density"]) == ("lion", (0.9, 0.99), 0.2, 0.25)
    assert (value["state_full"], value["weight_decay"], value["lr"]) == ("adamw", 0.0, 0.02)
    assert len(by_name) == len(list(llama().parameters()))


@pytest.mark.parametrize(
    ("rules", "keys", "said"),
    [
        ([("lm_haed", {"split": "state_full"})], {}, ['"lm_haed"', "matches no parameter", "lm_head.weight"]),
        ([("proj", {}), ("q_proj", {"density": 0.5})], {}, ["rules[1]", '"q_proj"', "earlier rules"]),
        ([("proj", {"densty": 0.5})], {}, ["'densty'", 'did you mean "density"', "allowed"]),
        ([("proj", {"density": 1.5})], {}, ["density = 1.5"]),
        ([("proj", {"split": "both"})], {}, ["split = 'both'", '"state_free"']),
        ([("(", {})], {}, ['"("', "regular expression"]),
        (["proj"], {}, ["'proj'", "pair"]),
        ([("proj", {})], {"unmatched": "error"}, ["no rule matches", "model.embed_tokens.weight"]),
        ([("proj", {})], {"unmatched": "never"}, ["unmatched = 'never'", '"error"']),
    ],
)
def test_a_bad_rule_is_named(rules, keys, said):
    with pytest.raises(ValueError, match="Frugal: ") as caught:
        Frugal(llama().named_parameters(), rules=rules, **keys)
    for part in said:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_need_names():
    with pytest.raises(ValueError, match="named_parameters"):
        Frugal(llama().parameters(), rules=[("proj", {})])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"pattern": "("}, ["groups[0].pattern", "regular expression"]),
        ({"pattern": "q", "densty": 1}, ["groups[0].densty", 'did you mean "density"', "lr_scale"]),
        ({"pattern": "q", "split": "both"}, ["groups[0].split", '"state_free"']),
        ({"pattern": "q", "subspace": "svd", "off_set_momentum": "hold"}, ["groups[0]", "off_set_momentum"]),
        ({"density": 0.5}, ["groups[0].pattern"]),
    ],
)
def test_a_bad_group_of_a_file_is_named(table, said):
    with pytest.raises(ft.ExperimentError) as caught:
        ft.parse({"name": "x", "algorithm": {"groups": [table]}})
    for part in said:
        assert part in str(caught.value), str(caught.value)


def test_a_group_may_set_what_the_algorithm_sets():
    """A new key of [algorithm] is a key of its groups, unless it is about the whole."""
    whole = {"learning_rate", "embeddings", "norms", "biases", "output", "seed", "groups", "unmatched", "system"}
    whole |= {"density_schedule", "update_gap_schedule"}
    assert set(Algorithm.model_fields) - whole == set(Group.model_fields) - {"pattern", "split", "lr_scale"}


def test_groups_are_for_models_only():
    keys = {"algorithm.groups": [{"pattern": ".*", "density": 0.5}]}
    experiment = ft.parse({"name": "x", "problem": {"kind": "quadratic"}}, overrides=keys)
    with pytest.raises(ft.ExperimentError, match=r'groups\[0\].pattern = ".\*" matches the parameter'):
        ft.build_problem(experiment)
    with pytest.raises(ValueError, match="groups are for the parameters of a model"):
        ft.step(experiment.algorithm, {"x": np.ones(3)}, {"x": np.ones(3)}, learning_rate=0.1)


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_do_not_count(wrapper):
    for path in ("{w}.layers.0.up.weight", "layers.{w}.0.up.weight", "layers.0.{w}.{w}.up.weight"):
        assert canonical(path.format(w=wrapper)) == "layers.0.up.weight"


@pytest.mark.parametrize("subspace", ["randk", "blocks", "random", "eigen"])
def test_a_wrapped_model_draws_what_the_bare_one_draws(subspace):
    models = [nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    named = [list(models[0].named_parameters()), [(f"module._orig_mod.{n}", p) for n, p in models[1].named_parameters()]]
    bases = {n: torch.linalg.qr(torch.randn(min(p.shape), min(p.shape)))[0] for n, p in named[0]}
    keys = {"subspace": subspace, "density": 0.5, "update_gap": 1, "rules": [(r"^0\.", {"density": 0.25})]}
    optimizers = [Frugal(pairs, lr=0.1, bases=bases, **keys) for pairs in named]
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in models), strict=True))


# --- what is frozen, and what blocks hold ------------------------------------------------------------------


def test_frozen_parameters_are_no_blocks():
    """The window is that of what is trained: a frozen giant does not fill it."""
    model = nn.Sequential(nn.Linear(400, 50, bias=False), *(nn.Linear(4, 4, bias=False) for _ in range(8)))
    model[0].weight.requires_grad_(False)
    optimizer = Frugal(model.parameters(), density=0.25)
    for parameter in list(model.parameters())[1:]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert sum(s["exp_avg"].numel() for s in optimizer.state.values()) == 2 * 16


@pytest.mark.parametrize("shapes", [[(256, 64), (10, 256)], [(1000, 64), (64, 64)], [(400,)], [(1, 400), (3, 5)]])
@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
def test_what_blocks_hold_is_the_density_within_one_piece(shapes, reading):
    """A row of what is larger than the window, or a whole block that is not."""
    params = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = Frugal(params, density=0.25, update_gap=1, off_set_momentum=reading, state_full="sgdm")
    total = sum(map(math.prod, shapes))
    largest = max(math.prod(shape) // math.prod(pieces(shape, budget(0.25, total))) for shape in shapes)
    for _ in range(6):
        before = [p.detach().clone() for p in params]
        for parameter in params:
            parameter.grad = torch.full_like(parameter, 0.5)  # SGDM moves by less than 1, the sign rule by 1
        optimizer.step()
        inside = sum(int(((b - p).abs() < 0.999e-3).sum()) for b, p in zip(before, params, strict=True))
        assert abs(inside - budget(0.25, total)) < largest
        if reading == "reset":
            assert sum(s["momentum"].numel() for s in optimizer.state.values()) == inside


# --- numbers, schedulers, groups of another optimizer -----------------------------------------------------


def test_numbers_of_numpy_are_numbers():
    weight = nn.Parameter(torch.ones(4, 4))
    keys = {"update_gap": np.int64(5), "density": np.float32(0.5), "seed": np.int32(3), "lr": np.float32(0.25)}
    group = Frugal([weight], **keys, betas=(np.float64(0.8), np.float64(0.9))).param_groups[0]
    assert {key: group[key] for key in keys} == {"update_gap": 5, "density": 0.5, "seed": 3, "lr": 0.25}
    assert all(type(group[key]) in (int, float) for key in keys)
    assert [type(beta) for beta in group["betas"]] == [float, float]


@pytest.mark.parametrize("lr", ["1e-3", None, [0.1]])
def test_a_learning_rate_is_a_number(lr):
    with pytest.raises(ValueError, match=r"Frugal: lr = .*allowed: a finite number >= 0"):
        Frugal([nn.Parameter(torch.ones(2))], lr=lr)


def test_eps_may_be_zero_as_in_torch():
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    optimizers = Frugal([ours], lr=0.1, density=1.0, eps=0.0), torch.optim.AdamW([theirs], lr=0.1, eps=0.0, weight_decay=0.0)
    for _ in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = parameter.detach() ** 3
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    ours.grad = torch.zeros(3)
    fresh = Frugal([ours], lr=0.1, density=1.0, eps=0.0)
    fresh.step()
    assert torch.isfinite(ours).all()


@pytest.mark.parametrize("rule", ["sgdm", "adamw", "lion", "adalayer"])
def test_a_scheduler_that_moves_the_first_beta_moves_the_rules(rule):
    optimizer = Frugal([nn.Parameter(torch.ones(4, 4))], state_full=rule)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, base_momentum=0.7, max_momentum=0.83)
    full, _ = rules_of(optimizer.param_groups[0])
    assert getattr(full, "beta", None) == 0.83 or full.betas[0] == 0.83


def test_the_beta_of_sgdm_has_three_spellings():
    for keys in ({"beta": 0.6}, {"betas": (0.6, 0.9)}, {"state_full": {"rule": "sgdm", "beta": 0.6}}):
        full, _ = rules_of(Frugal([nn.Parameter(torch.ones(2))], **{"state_full": "sgdm", **keys}).param_groups[0])
        assert full.beta == 0.6


def test_the_groups_of_another_optimizer_start_at_the_first_step():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6))
    old = Frugal(model.named_parameters(), update_gap=2, subspace="randk")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for _ in range(3):
        old.step()
    kept = copy.deepcopy([{k: v for k, v in g.items() if k != "params"} for g in old.param_groups])
    new = Frugal(old.param_groups)
    assert [g["step"] for g in new.param_groups] == [0, 0]
    assert [g["split"] for g in new.param_groups] == [g["split"] for g in old.param_groups]
    assert [{k: v for k, v in g.items() if k != "params"} for g in old.param_groups] == kept
