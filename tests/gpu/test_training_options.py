"""Options of [training] and [model]: each against what it must be equal to, or what it must leave alone."""

import json
import math

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from tolerances import ACCUMULATION_FLOAT32, FLOAT32

import frugal_theory as ft
from frugal_gpu.data.batches import Packed
from frugal_gpu.model.build import shapes_only
from frugal_gpu.model.llama import SHAPES, Shape, build_model, model_shape, parameter_count
from frugal_gpu.optim.exempt import without_decay
from frugal_gpu.train import checkpoint
from frugal_gpu.train import loop as training_module
from frugal_gpu.train import start as starting
from frugal_gpu.train.divergence import MOST_IN_A_ROW
from frugal_gpu.train.log import read_metrics, training_evidence
from frugal_gpu.train.loop import train
from frugal_gpu.train.step import take_step
from frugal_theory import config
from frugal_theory.config.load import parse
from tests.gpu.tiny import TIMES

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

SMALL = {"model.layers": 1, "model.hidden_size": 16, "model.intermediate_size": 16, "training.evaluation_tokens": 32}


def start(experiment):
    """A run before its first step."""
    return starting.start(experiment, experiment.training, 0.01)


def lines(folder):
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder / "metrics.jsonl")]


def die_at(monkeypatch, step):
    take_step = training_module.log_step

    def die(run, at, *rest):
        if at == step:
            raise SystemExit("killed")
        take_step(run, at, *rest)

    monkeypatch.setattr(training_module, "log_step", die)


def halves(source, folder, changes, monkeypatch):
    """The metrics of a run that died in step 9 and was resumed from its checkpoint after 6, and of one that did not die."""
    experiment = tiny.experiment(source, {**SMALL, **changes})
    with monkeypatch.context() as patched:
        die_at(patched, 9)
        with pytest.raises(SystemExit):
            train(experiment, folder / "halves")
    train(experiment, folder / "halves", resume=True)
    train(experiment, folder / "whole")
    return lines(folder / "halves"), lines(folder / "whole")


# --- the model


def test_grouped_queries_and_tied_embeddings_have_the_parameters_that_are_counted():
    for shape in (
        Shape(24, 40, 2, 6, 300, key_value_heads=2),
        Shape(24, 40, 2, 6, 300, tie_embeddings=True),
        SHAPES["llama-tiny"],
    ):
        assert shape.parameters == parameter_count(shape)


def test_one_head_of_keys_is_what_every_head_sees():
    """Grouped queries are plain attention whose heads of keys and values are copies."""
    grouped = build_model(Shape(16, 24, 1, 4, 50, key_value_heads=1), 8)
    plain = build_model(Shape(16, 24, 1, 4, 50), 8)
    weights = grouped.state_dict()
    for name in list(weights):
        if "k_proj" in name or "v_proj" in name:
            weights[name] = weights[name].repeat(4, 1)
    plain.load_state_dict(weights)
    tokens = torch.arange(16).view(2, 8)
    with torch.no_grad():
        logits = [model(input_ids=tokens).logits for model in (grouped, plain)]
    torch.testing.assert_close(*logits, rtol=FLOAT32, atol=FLOAT32)


def test_a_tied_model_is_trained_saved_and_resumed(source, tmp_path, monkeypatch):
    run, whole = halves(source, tmp_path, {"model.tie_embeddings": True}, monkeypatch)
    assert run == whole
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["parameters"] == Shape(16, 16, 1, 2, 300, tie_embeddings=True).parameters


def test_a_preset_that_is_set_stands_in_the_place_of_the_files_model():
    table = {"name": "t", "model": {"preset": "llama-tiny", "hidden_size": 32, "vocabulary": 300, "initializer_range": 0.1}}
    assert model_shape(parse(table, overrides={"model.preset": "llama-7b"}).model) == SHAPES["llama-7b"]
    changed = parse(table, overrides={"model.layers": 2, "model.preset": "llama-7b"}).model
    assert (model_shape(changed).layers, changed.initializer_range) == (2, 0.1)
    assert model_shape(parse(table, overrides={"model.layers": 2}).model).hidden_size == 32


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, source):
    """A GPT-2 with dropout and a tokenizer in a folder, as transformers writes them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("pretrained")
    torch.manual_seed(1)
    small = GPT2Config(vocab_size=320, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(small).save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FRUGAL_LAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        corpus = starting.corpus_of(tiny.experiment(source), tiny.experiment(source).training)
    (folder / "tokenizer.json").write_text(corpus.tokenizer.read_text())
    return folder


def of_checkpoint(source, folder, **more):
    model = {"checkpoint": str(folder)}
    changes = {f"training.{key}": value for key, value in more.items()}
    return tiny.experiment(source, {"model": model, "training.evaluation_tokens": 32, **changes})


def attention_kinds():
    from transformers import BloomConfig, GPTNeoXConfig, LlamaConfig, MambaConfig, OPTConfig

    small = {"vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 1, "bos_token_id": 0, "eos_token_id": 0}
    heads = {"num_attention_heads": 2, "max_position_embeddings": 32}
    return {
        "llama": LlamaConfig(**small, **heads, intermediate_size=24),
        "gpt_neox": GPTNeoXConfig(**small, **heads, intermediate_size=24),
        "opt": OPTConfig(**small, **heads, ffn_dim=24, word_embed_proj_dim=16, pad_token_id=1),
        "bloom": BloomConfig(vocab_size=320, hidden_size=16, n_layer=1, n_head=2),
        "mamba": MambaConfig(**small),
    }


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "opt", "bloom", "mamba"])
def test_attention_within_documents_is_refused_of_a_model_that_attends_across_them(source, pretrained, tmp_path, kind):
    """A document's loss after another document against its loss alone decides which kinds may be trained so."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(attention_kinds()[kind])
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text((pretrained / "tokenizer.json").read_text())
    keys = {"model": {"checkpoint": str(folder)}, "data.attention": "within", "training.steps": 1}
    packed = Packed(np.array([0, 5, 6, 7, 0, 8, 9, 5, 0]), 8, 0, within=True)
    inputs, _ = packed.batch([0])
    with torch.no_grad():
        together = model.eval()(input_ids=inputs, use_cache=False, **packed.model_inputs(inputs)).logits[0, 4:]
        alone = model(input_ids=inputs[:, 4:]).logits[0]
    confined = torch.allclose(together, alone, rtol=FLOAT32, atol=FLOAT32)
    assert confined == (kind in ("llama", "gpt_neox"))
    if confined:
        start(tiny.experiment(source, keys))
        return
    with pytest.raises(ft.ExperimentError, match=rf'^data.attention = "within": .*"{kind}".* are allowed$'):
        start(tiny.experiment(source, keys))
    start(tiny.experiment(source, {**keys, "data.attention": "across"}))


def test_any_causal_language_model_goes_on_from_its_weights(source, pretrained, tmp_path):
    experiment = of_checkpoint(source, pretrained, steps=2, checkpoint_every=1)
    run, held = start(experiment), load_file(pretrained / "model.safetensors")
    own = run.model.state_dict()
    assert all(torch.equal(own[name if name in own else f"transformer.{name}"], held[name]) for name in held)
    assert run.corpus.tokenizer.read_text() == (pretrained / "tokenizer.json").read_text()
    outcome = train(experiment, tmp_path)
    assert outcome.summary["parameters"] == sum(p.numel() for p in shapes_only(experiment.model).parameters())


def test_dropout_is_drawn_anew_in_every_step_and_the_same_after_a_resumption(source, pretrained, tmp_path, monkeypatch):
    experiment = of_checkpoint(source, pretrained)
    with monkeypatch.context() as patched:
        die_at(patched, 9)
        with pytest.raises(SystemExit):
            train(experiment, tmp_path / "halves")
    torch.rand(3)
    train(experiment, tmp_path / "halves", resume=True)
    train(experiment, tmp_path / "whole")
    assert lines(tmp_path / "halves") == lines(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training.sequence_length": 64}, r"training.sequence_length = 64: model.checkpoint takes at most 32"),
        ({"model": {"checkpoint": "nowhere"}}, r'model.checkpoint = "nowhere": no such model; allowed: a folder with config'),
    ],
)
def test_a_checkpoint_that_does_not_serve_is_one_line(source, pretrained, tmp_path, changes, words):
    experiment = tiny.experiment(source, {"model": {"checkpoint": str(pretrained)}, **changes})
    with pytest.raises(ft.ExperimentError, match=words):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- weight decay


def test_what_is_exempt_does_not_decay_and_everything_else_does(source):
    changes = {**SMALL, "algorithm.weight_decay": 0.5, "training.weight_decay_exempt": ["norms", "embeddings"]}
    run = start(tiny.experiment(source, changes))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    for name, parameter in run.model.named_parameters():
        kept = 1.0 if "norm" in name or "embed" in name else 1 - 0.01 * 0.5
        torch.testing.assert_close(parameter.detach(), before[name] * kept, rtol=FLOAT32, atol=0)


def test_a_group_that_says_its_decay_keeps_it_and_others_keep_the_rest(source):
    groups = [
        {"pattern": "input_layernorm", "weight_decay": 0.25},
        {"pattern": "layernorm", "lr_scale": 2.0},
        {"pattern": "o_proj", "lr_scale": 3.0},
    ]
    changes = {**SMALL, "algorithm.weight_decay": 0.5, "algorithm.groups": groups, "training.weight_decay_exempt": ["norms"]}
    found = {}
    for group in start(tiny.experiment(source, changes)).optimizer.param_groups:
        found |= dict.fromkeys(group["param_names"], (group["weight_decay"], group["lr"]))
    expected = {
        "model.layers.0.input_layernorm.weight": (0.25, 0.01),
        "model.layers.0.post_attention_layernorm.weight": (0.0, 0.02),
        "model.layers.0.self_attn.o_proj.weight": (0.5, 0.03),
        "model.norm.weight": (0.0, 0.01),
        "lm_head.weight": (0.5, 0.01),
    }
    assert {name: found[name] for name in expected} == expected


def test_a_group_that_matches_nothing_is_still_an_error(source):
    changes = {"algorithm.groups": [{"pattern": "nothing"}], "training.weight_decay_exempt": ["norms"]}
    with pytest.raises(ft.ExperimentError, match="matches no parameter"):
        start(tiny.experiment(source, {**SMALL, **changes}))


def test_nothing_exempt_changes_nothing():
    algorithm = config.Algorithm()
    assert without_decay(algorithm, build_model(Shape(16, 16, 1, 2, 300), 8), ()) is algorithm


# --- steps that are not finite


def spoil(monkeypatch, steps):
    """Let the gradients of these steps have an infinite entry."""
    norm, calls = torch.nn.utils.get_total_norm, iter(range(1, 999))

    def spoiled(gradients, *rest):
        if next(calls) in steps:
            gradients[0][0] = torch.inf
        return norm(gradients, *rest)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", spoiled)


def test_a_step_that_is_not_finite_is_left_out_on_request(source, tmp_path, monkeypatch):
    spoil(monkeypatch, {5})
    experiment = tiny.experiment(source, {**SMALL, "training.nan_step": "skip", "training.checkpoint_every": 1})
    outcome = train(tiny.experiment(source, {**SMALL, "training.nan_step": "skip", "training.checkpoint_every": 1}), tmp_path)
    assert outcome.summary["skipped_steps"] == 1
    (skipped,) = [line for line in lines(tmp_path) if "skipped" in line]
    assert (skipped["step"], skipped["skipped"], "loss" in skipped) == (5, "gradient", False)
    assert skipped["tokens"] == 5 * 8 * 16
    evidence = training_evidence(tmp_path / "metrics.jsonl")
    assert evidence.steps.tolist() == [1, 2, 3, 4]
    assert any("step 5" in note for note in evidence.notes)
    assert experiment.training.steps == outcome.step == 12


def test_a_skipped_step_moves_nothing(source, monkeypatch):
    spoil(monkeypatch, {1})
    run = start(tiny.experiment(source, {**SMALL, "training.nan_step": "skip", "algorithm.weight_decay": 0.5}))
    before = [p.detach().clone() for p in run.model.parameters()]
    assert take_step(run, 1)["skipped"] == "gradient"
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), before, strict=True))
    assert not run.optimizer.state
    assert "skipped" not in take_step(run, 2)


def test_a_run_is_stopped_if_no_step_is_finite(source, tmp_path, monkeypatch):
    spoil(monkeypatch, set(range(4, 99)))
    experiment = tiny.experiment(source, {**SMALL, "training.nan_step": "skip", "training.steps": 40})
    with pytest.raises(ft.ExperimentError, match=f"at step {4 + MOST_IN_A_ROW} "):
        train(experiment, tmp_path)


# --- precision


@pytest.mark.parametrize("precision", ["bf16", "fp16", "pure-bf16"])
def test_short_arithmetic_learns_as_float32_does_and_resumes_bit_for_bit(source, tmp_path, monkeypatch, precision):
    run, whole = halves(source, tmp_path, {"training.precision": precision}, monkeypatch)
    assert run == whole
    train(tiny.experiment(source, SMALL), tmp_path / "exact")
    exact = lines(tmp_path / "exact")
    for ours, theirs in zip(whole, exact, strict=True):
        if "loss" in ours:
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
            assert ours["loss"] != theirs["loss"]
            assert math.sqrt(ours["squared_gradient_norm"]) == pytest.approx(
                math.sqrt(theirs["squared_gradient_norm"]), rel=0.1
            )
    last = load_file(checkpoint.latest(tmp_path / "whole" / "checkpoints") / "model.safetensors")
    wanted = torch.bfloat16 if precision == "pure-bf16" else torch.float32
    assert {tensor.dtype for tensor in last.values()} == {wanted}


def test_the_scale_of_float16_falls_when_a_gradient_overflows(source):
    run = start(tiny.experiment(source, {**SMALL, "training.precision": "fp16"}))
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    assert take_step(run, 1)["skipped"] == "gradient"
    assert run.scaler.get_scale() == 2.0**59


def test_the_gradient_of_float16_is_measured_without_its_scale(source):
    plain, scaled = (start(tiny.experiment(source, {**SMALL, "training.precision": p})) for p in ("float32", "fp16"))
    norms = [take_step(run, 1)["squared_gradient_norm"] for run in (plain, scaled)]
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


@pytest.mark.ecosystem
def test_a_compiled_model_trains_the_same_numbers(source, tmp_path):
    for compiled in (False, True):
        experiment = tiny.experiment(source, {**SMALL, "training.compile": compiled, "training.steps": 4})
        train(experiment, tmp_path / str(compiled))
    for plain, fast in zip(lines(tmp_path / "False"), lines(tmp_path / "True"), strict=True):
        assert fast == pytest.approx(plain, rel=100 * ACCUMULATION_FLOAT32)
    names = load_file(checkpoint.latest(tmp_path / "True" / "checkpoints") / "model.safetensors")
    assert "model.embed_tokens.weight" in names


# --- budgets


def test_epochs_are_counted_on_the_text(source, tmp_path):
    experiment = tiny.experiment(source)
    sequences = len(starting.corpus_of(experiment, experiment.training).train)
    table = experiment.model_dump(exclude_unset=True)
    table["training"] = {**table["training"], "epochs": 0.5}
    del table["training"]["steps"]
    outcome = train(parse(table), tmp_path)
    assert outcome.step == outcome.summary["steps"] == math.ceil(0.5 * sequences / 8)
    assert train(parse(table), tmp_path).status == "already complete"


def test_epochs_of_a_text_without_end_are_refused():
    table = {
        "name": "t",
        "model": {"preset": "llama-tiny"},
        "data": {"source": "markov"},
        "training": {"epochs": 1.0, "learning_rate": 0.1, "device": "cpu"},
    }
    with pytest.raises(ft.ExperimentError, match=r'training.epochs = 1: data.source = "markov" has no end; give'):
        starting.resolved(parse(table))
