"""transformers' Trainer, peft's adapters and accelerate, on models that are made from their configurations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from frugal_gpu import Frugal
from tests.tolerances import FLOAT32

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

pytestmark = pytest.mark.ecosystem

SIZES = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
OPTIONS = {"lr": 1e-2, "density": 0.3, "update_gap": 3}
STEPS, SAVED = 8, 4


def llama() -> nn.Module:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, max_position_embeddings=32))


def roberta() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.RobertaConfig(**SIZES, max_position_embeddings=32, num_labels=3)
    return transformers.RobertaForSequenceClassification(config)


class Sentences(Dataset):
    """Tokens that stand for their own labels, or carry one of three classes."""

    def __init__(self, classes: bool) -> None:
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(2, 60, (24, 8), generator=generator)
        self.labels = torch.randint(0, 3, (24,), generator=generator) if classes else self.tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[i], "labels": self.labels[i]}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def trainer(make: Callable[[], nn.Module], way: str, folder: Path, args: dict[str, Any] | None = None, **options: Any) -> Any:
    """A Trainer of a new model that has its optimizer in one of three ways."""
    model = make()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        save_steps=SAVED,
        logging_steps=1,
        per_device_train_batch_size=4,
        weight_decay=0.1,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=3,
        **(args or {}),
    )
    given: dict[str, Any]
    options = {**OPTIONS, **options}
    if way == "optimizers":
        optimizer = Frugal(model, weight_decay=0.1, **options)
        given = {"optimizers": (optimizer, OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS))}
    else:
        named = {"model": model, "weight_decay": 0.1} if way == "class and model" else {}
        given = {"optimizer_cls_and_kwargs": (Frugal, {**named, **options})}
    return transformers.Trainer(model=model, args=arguments, train_dataset=Sentences(make is roberta), **given)


def ours(trained: Any) -> Frugal:
    """The optimizer below what the Trainer wraps it in."""
    return getattr(trained.optimizer, "optimizer", trained.optimizer)


@pytest.mark.parametrize("subspace", ["blocks", "columns"])
@pytest.mark.parametrize("way", ["optimizers", "class", "class and model"])
@pytest.mark.parametrize("make", [llama, roberta])
def test_a_trainer_trains_and_resumes_bit_for_bit(make, way, subspace, tmp_path):
    whole = trainer(make, way, tmp_path, subspace=subspace)
    whole.train()
    losses = [entry["loss"] for entry in whole.state.log_history if "loss" in entry]
    assert all(0 < loss < 10 for loss in losses)
    again = trainer(make, way, tmp_path, subspace=subspace)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{SAVED}"))
    assert all(map(torch.equal, whole.model.parameters(), again.model.parameters()))
    assert [group["step"] for group in ours(again).param_groups] == [STEPS] * len(ours(again).param_groups)


def test_a_trainer_takes_the_steps_of_a_plain_loop(tmp_path):
    """The same batches, clipped and stepped by hand, under the same options."""
    trained = trainer(llama, "class and model", tmp_path, {"lr_scheduler_type": "constant", "save_strategy": "no"})
    batches = []
    step = trained.training_step
    trained.training_step = lambda model, inputs, *rest: (batches.append({**inputs}), step(model, inputs, *rest))[1]
    trained.train()
    model = llama()
    optimizer = Frugal(model, weight_decay=0.1, **OPTIONS)
    for batch in batches:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert len(batches) == STEPS
    torch.testing.assert_close(list(trained.model.parameters()), list(model.parameters()), rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (llama, {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"}),
        (roberta, {"classifier.out_proj.weight", "roberta.embeddings.word_embeddings.weight"}),
    ],
)
def test_the_class_alone_has_no_names_and_splits_all(make, whole, tmp_path):
    """The Trainer hands nameless parameters to a class, in its groups with and without decay; with a model, names are known."""
    alone, named = (trainer(make, way, tmp_path) for way in ("class", "class and model"))
    for built in (alone, named):
        built.create_optimizer()
    assert [(g["split"], g["weight_decay"]) for g in ours(alone).param_groups] == [(True, 0.1), (True, 0.0)]
    split, kept = ours(named).param_groups
    assert (split["split"], kept["split"]) == (True, "state_full")
    assert whole <= set(kept["param_names"])


@pytest.mark.parametrize("make", [llama, roberta])
def test_a_rule_exempts_from_decay_what_the_trainer_exempts(make, tmp_path):
    trained = trainer(make, "class and model", tmp_path, rules=[(r"(?i)norm|bias", {"weight_decay": 0.0})])
    groups = trained.create_optimizer().param_groups
    decayed = {name for group in groups if group["weight_decay"] > 0 for name in group["param_names"]}
    assert decayed == set(trained.get_decay_parameter_names(trained.model)) & {n for g in groups for n in g["param_names"]}
    assert all(group["split"] == "state_full" for group in groups if group["weight_decay"] == 0)


def test_updates_in_backward_under_a_trainer(tmp_path):
    """Without clipping they are the ordinary steps bit for bit; accumulation is refused in our words."""
    ends = []
    for way in (False, True):
        trained = trainer(llama, "optimizers", tmp_path, {"max_grad_norm": 0}, update_in_backward=way)
        trained.train()
        ends.append(list(trained.model.parameters()))
    assert all(map(torch.equal, *ends))
    accumulating = trainer(llama, "optimizers", tmp_path, {"gradient_accumulation_steps": 2}, update_in_backward=True)
    with pytest.raises(RuntimeError, match=r"Frugal: update_in_backward = True: .* has a second gradient"):
        accumulating.train()


@pytest.mark.parametrize("subspace", ["blocks", "columns", "svd"])
def test_accelerate_accumulates_clips_and_resumes(subspace, tmp_path):
    """``prepare``, ``accumulate``, ``clip_grad_norm_``, ``save_state``: as written by hand, and going on bit for bit."""

    def start() -> tuple[Any, ...]:
        model = llama()
        optimizer = Frugal(model, subspace=subspace, **OPTIONS)
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        loader = DataLoader(Sentences(False), batch_size=4)
        return accelerator, *accelerator.prepare(model, optimizer, loader, OneCycleLR(optimizer, 1e-2, total_steps=20))

    def epoch(accelerator: Any, model: Any, optimizer: Any, loader: Any, scheduler: Any) -> None:
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch).loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()

    parts = start()
    epoch(*parts)
    parts[0].save_state(str(tmp_path), safe_serialization=False)
    epoch(*parts)
    again = start()
    again[0].load_state(str(tmp_path))
    epoch(*again)
    assert all(map(torch.equal, parts[1].parameters(), again[1].parameters()))

    model = llama()
    optimizer = Frugal(model, subspace=subspace, **OPTIONS)
    scheduler = OneCycleLR(optimizer, 1e-2, total_steps=20)
    batches = [*DataLoader(Sentences(False), batch_size=4)] * 2
    for number, batch in enumerate(batches, 1):
        (model(**batch).loss / 2).backward()
        if number % 2 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert all(map(torch.equal, parts[1].parameters(), model.parameters()))


@pytest.mark.parametrize("kind", ["lora", "dora", "head saved"])
def test_adapters_of_peft_are_trained_and_resumed(kind, tmp_path):
    """Only adapters have statistics, the density is one of their elements, and a saved adapter goes on bit for bit."""
    peft = pytest.importorskip("peft")
    settings = {"dora": {"use_dora": True}, "head saved": {"modules_to_save": ["lm_head"]}}.get(kind, {})

    def start() -> tuple[nn.Module, Frugal]:
        base = llama()
        torch.manual_seed(1)
        targets = ["q_proj", "v_proj", "down_proj"]
        model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=targets, lora_dropout=0.0, **settings))
        return model, Frugal(model, subspace="columns", **OPTIONS)

    def train(model: nn.Module, optimizer: Frugal, epochs: int) -> None:
        for _ in range(epochs):
            for batch in DataLoader(Sentences(False), batch_size=8):
                optimizer.zero_grad()
                model(**batch).loss.backward()
                optimizer.step()

    model, optimizer = start()
    train(model, optimizer, 2)
    frozen = dict(llama().named_parameters())
    base = {name: x for name, x in model.get_base_model().named_parameters() if not x.requires_grad}
    assert base
    assert all(torch.equal(x, frozen[re.sub(r"\.(base_layer|original_module)", "", name)]) for name, x in base.items())
    split = [x for group in optimizer.param_groups if group["split"] is True for x in group["params"]]
    assert {name for name, x in model.named_parameters() if any(x is y for y in split)} == {
        name for name, _ in model.named_parameters() if ".lora_A." in name or ".lora_B." in name
    }
    held = sum(optimizer.state[x]["exp_avg"].numel() for x in split)
    assert held == sum(max(1, int(0.3 * x.shape[1] + 0.5)) * x.shape[0] for x in split)
    model.save_pretrained(tmp_path)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    again, second = start()
    again.load_adapter(str(tmp_path), "default", is_trainable=True)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    train(model, optimizer, 1)
    train(again, second, 1)
    expected = peft.get_peft_model_state_dict(model)
    found = peft.get_peft_model_state_dict(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(x, found[name]) for name, x in expected.items())
