"""Fine-tuning end to end on small data of the real format: trained, judged, exported, and measured by transformers alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import rows
import torch
from sklearn.metrics import matthews_corrcoef
from tolerances import ACCUMULATION_FLOAT32

import frugal_theory as ft
from frugal_gpu.adapters.lora import adapted
from frugal_gpu.commands import main as cli
from frugal_gpu.model.build import made, parameters_of, shapes_only
from frugal_gpu.optim.arranging import model_groups
from frugal_gpu.optim.layout import layout_of
from frugal_gpu.studies.memory import memory_table
from frugal_gpu.train.judge import judge_task
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_gpu.train.trained import export, load_trained
from frugal_theory.config import Training
from frugal_theory.config.adapter import Adapter
from frugal_theory.config.load import parse
from tests.calling import called
from tests.gpu.tiny import TIMES

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

EXPERIMENT = """
name = "fine"
seed = 1

[algorithm]
learning_rate = 3e-3
density = 0.25
update_gap = 10
subspace = "columns"

[training]
steps = 45
batch_size = 16
sequence_length = 32
schedule = "constant"
warmup_steps = 5
evaluate_every = 15
device = "cpu"

[data]
task = "cola"

[model]
"""


def experiment(source, checkpoint, changes=None):
    keys = {"data.source": str(source), "model.checkpoint": str(checkpoint), "model.task": "sequence-classification"}
    return parse(EXPERIMENT, "fine.toml", {**keys, **(changes or {})})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints and the rows of some tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    rows.roberta(folder / "roberta")
    rows.llama(folder / "llama")
    texts = rows.sentences(220)
    labelled = [{"sentence": text, "label": i % 2, "idx": i} for i, text in enumerate(texts)]
    rows.write(folder / "glue/cola/train.parquet", labelled[:160])
    rows.write(folder / "glue/cola/validation.parquet", labelled[160:])
    pairs = [{"sentence1": a, "sentence2": a, "label": 2.5 * (i % 2)} for i, a in enumerate(texts)]
    rows.write(folder / "glue/stsb/train.jsonl", pairs[:160])
    rows.write(folder / "glue/stsb/validation.jsonl", pairs[160:])
    entailed = [{"premise": a, "hypothesis": a, "label": i % 2, "idx": i} for i, a in enumerate(texts)]
    rows.write(folder / "glue/mnli/train.jsonl", entailed[:16])
    rows.write(folder / "glue/mnli/validation_matched.jsonl", entailed[16:19])
    rows.write(folder / "glue/mnli/validation_mismatched.jsonl", [{**row, "label": 2} for row in entailed[20:26]])
    answered = [
        {"instruction": a, "input": "", "output": "the correct answer is true", "answer": "true" if i % 4 else "false"}
        for i, a in enumerate(texts)
    ]
    rows.write(folder / "answers/commonsense_170k.json", answered[:40])
    rows.write(folder / "answers/boolq/test.json", [row for row in answered[:16] if row["answer"] == "true"])
    return folder


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    """CoLA learnt by the small RoBERTa."""
    folder = tmp_path_factory.mktemp("run")
    summary = train(experiment(place / "glue", place / "roberta"), folder / "training").summary
    return folder, summary


def test_the_metric_is_logged_kept_and_found_again(run):
    folder, summary = run
    lines = [line for line in read_metrics(folder / "training/metrics.jsonl") if "validation_matthews" in line]
    assert [line["step"] for line in lines] == [0, 15, 30, 45]
    assert "validation_perplexity" not in lines[0]
    assert summary["final_validation_matthews"] == lines[-1]["validation_matthews"] > 0.9
    assert summary["initial_validation_matthews"] < 0.5
    found, count = judge_task(load_trained(folder))
    assert count == 60
    assert found["matthews"] == summary["final_validation_matthews"]
    assert found["loss"] == pytest.approx(summary["final_validation_loss"], rel=ACCUMULATION_FLOAT32)
    state = json.loads((folder / "training/checkpoints/best/state.json").read_text())
    assert state["validation_matthews"] == summary["best_validation_matthews"]


def test_transformers_alone_measures_the_same(run, tmp_path):
    """The exported folder, its own tokenizer and scikit-learn: no code of ours."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, summary = run
    export(load_trained(folder), tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    held = [(text, i % 2) for i, text in enumerate(rows.sentences(220))][160:]
    with torch.no_grad():
        logits = model(**tokenizer([text for text, _ in held], padding=True, return_tensors="pt")).logits
    labels = np.array([label for _, label in held])
    assert matthews_corrcoef(labels, logits.argmax(1).numpy()) == summary["final_validation_matthews"]
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    assert float(loss) == pytest.approx(summary["final_validation_loss"], rel=ACCUMULATION_FLOAT32)


def test_the_commands_speak_of_the_task(run, place, tmp_path):
    folder, summary = run
    done = called(cli.main, "evaluate", folder, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert f"matthews {summary['final_validation_matthews']:.6f}, accuracy" in done.stdout
    other = called(cli.main, "evaluate", folder, "--data", place / "glue/cola/train.parquet", cwd=tmp_path)
    assert "160 rows" in other.stdout
    for arguments in (
        ["generate", folder],
        ["evaluate", folder, "--tokens", "5"],
        ["evaluate", folder, "--data", "none/here/x"],
    ):
        failed = called(cli.main, *arguments, cwd=tmp_path)
        assert (failed.returncode, failed.stderr.count("\n")) == (2, 1), failed.stderr


def test_a_run_that_was_stopped_goes_on_bit_for_bit(place, tmp_path):
    every = {"training.schedule": "constant", "training.warmup_steps": 0, "training.checkpoint_every": 2}
    longer, shorter = (
        experiment(place / "glue", place / "roberta", {**every, "training.evaluate_every": 2, "training.steps": steps})
        for steps in (4, 2)
    )
    train(longer, tmp_path / "whole")
    train(shorter, tmp_path / "run")
    with pytest.warns(UserWarning, match="steps was 2, is 4"):
        train(longer, tmp_path / "run", resume=True)
    ours, theirs = (
        [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("run", "whole")
    )
    assert ours == theirs


@pytest.mark.ecosystem
def test_a_number_is_predicted_by_a_llama(place, tmp_path):
    changes = {"data.task": "stsb", "training.precision": "bf16"}
    summary = train(experiment(place / "glue", place / "llama", changes), tmp_path / "run").summary
    assert min(summary["final_validation_pearson"], summary["final_validation_spearman"]) > 0.5
    assert summary["final_validation_loss"] < 1.25**2  # what the mean alone reaches


def test_both_parts_of_mnli_are_measured(place, tmp_path):
    changes = {"data.task": "mnli", "training.steps": 1, "training.warmup_steps": 0}
    experiment_of = experiment(place / "glue", place / "roberta", changes)
    summary = train(experiment_of, tmp_path / "run").summary
    mismatched, count = judge_task(load_trained(tmp_path / "run"), str(place / "glue/mnli/validation_mismatched.jsonl"))
    assert count == 6
    assert summary["others"] == {"validation_mismatched": {"accuracy": mismatched["accuracy"]}}
    assert load_trained(tmp_path / "run").model.config.num_labels == 3


def test_answers_are_learnt_and_generated(place, tmp_path):
    """Every response says "true": right for the rows of boolq's, and for those validation rows whose answer that is."""
    changes = {
        "data.task": "commonsense",
        "data.loss_on": "answer",
        "data.validation_fraction": 0.3,
        "model.task": "causal-lm",
        "training.sequence_length": 128,
        "training.learning_rate": 1e-2,
        "training.batch_size": 8,
        "training.steps": 30,
        "training.evaluate_every": 30,
    }
    ours = experiment(place / "answers", place / "llama", changes)
    summary = train(ours, tmp_path / "run").summary
    assert summary["final_validation_loss"] < 0.1 < summary["initial_validation_loss"]
    assert summary["others"] == {"boolq": {"accuracy": 1.0}}
    found, _ = judge_task(load_trained(tmp_path / "run"))
    assert found["accuracy"] == summary["final_validation_accuracy"] < 1


def test_an_adapter_leaves_the_head_to_be_trained(place):
    from transformers import AutoModelForSequenceClassification

    for name, head in (("roberta", "classifier."), ("llama", "score.")):
        model = AutoModelForSequenceClassification.from_pretrained(place / name, num_labels=2)
        adapted(model, Adapter(rank=2, target=("query", "value") if name == "roberta" else ("q_proj", "v_proj")))
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {n for n in trained if ".lora_" not in n} == {n for n, _ in model.named_parameters() if n.startswith(head)}
        assert len([n for n in trained if ".lora_" in n]) == 2 * 2 * 2


def test_lora_trains_adapters_and_head_alone_and_is_merged_on_export(place, tmp_path):
    from transformers import AutoModelForSequenceClassification

    changes = {"adapter": {"rank": 8, "target": ["query", "value"]}, "algorithm": {"system": "adamw", "learning_rate": 1e-2}}
    ours = experiment(place / "glue", place / "roberta", {**changes, "training.steps": 10, "training.evaluate_every": 10})
    summary = train(ours, tmp_path / "run").summary
    assert summary["final_validation_loss"] != summary["initial_validation_loss"]
    trained = load_trained(tmp_path / "run")
    start = AutoModelForSequenceClassification.from_pretrained(place / "roberta", num_labels=2).state_dict()
    tokens = torch.tensor([[0, 20, 30, 2]])
    with torch.no_grad():
        for name, weight in trained.model.named_parameters():
            if not (".lora_" in name or name.startswith("classifier.")):
                assert torch.equal(weight, start[name.replace(".base_layer", "")]), name
        before = trained.model(input_ids=tokens).logits
        export(trained, tmp_path / "out")
        after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")(input_ids=tokens).logits
    torch.testing.assert_close(before, after, rtol=ACCUMULATION_FLOAT32, atol=ACCUMULATION_FLOAT32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.task": "causal-lm"}, 'data.task = "cola" has labels; "sequence-classification" is allowed'),
        ({"data.task": "boolq"}, 'data.task = "boolq" has answers, no labels'),
        ({"training.sequence_length": 65}, "training.sequence_length = 65: model.checkpoint takes at most 64 tokens"),
        ({"data.source": "not/here/at/all"}, 'data.source = "not/here/at/all": no such file; allowed for data.task = "cola"'),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(place, tmp_path, changes, words):
    with pytest.raises(ft.ExperimentError) as error:
        train(experiment(place / "glue", place / "roberta", changes), tmp_path / "run")
    assert words in str(error.value)
    assert not (tmp_path / "run").exists()


PUBLISHED = {
    "glue": 124_647_170,
    "glue_lora": 124_647_170,
    "commonsense": 8_030_261_248,
    "commonsense_lora": 8_030_261_248,
}


@pytest.mark.parametrize(("task", "labels"), [("cola", 2), ("mnli", 3), ("stsb", 1)])
def test_a_model_for_labels_is_planned_as_it_is_made(task, labels):
    """With the task's head in place of the output layer, from sizes as from a checkpoint."""
    toml = (
        f'name = "g"\n[model]\npreset = "llama-tiny"\ntask = "sequence-classification"\n[data]\nsource = "x"\ntask = "{task}"\n'
    )
    own = ft.parse(toml)
    made_one = made(own.model, Training(), labels, padding=0)
    (planned,) = {row.parameters for row in memory_table(own)}
    assert planned == 4 * sum(parameter.numel() for parameter in made_one.parameters())
    assert parameters_of(own.model) == sum(parameter.numel() for parameter in shapes_only(own.model).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_settings_can_be_planned_without_a_network(name, monkeypatch):
    """Every cell of the files, on the meta device: counts of parameters, what is split, and the number of trainings."""
    monkeypatch.setattr("socket.socket.connect", None)
    ours = ft.load(f"simulations/{name}.toml")
    cells = cli._runs(ours, Path("runs"), sweep=True)
    assert len({folder for _, folder in cells}) == (8 if "glue" in name else 6)
    model = shapes_only(ours.model)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]
    if ours.adapter is not None:
        with torch.device("meta"):
            adapted(model, ours.adapter)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        shapes = (
            [(768, 768)] * 24
            if name == "glue_lora"
            else [(4096, 4096), (1024, 4096), (1024, 4096), (14336, 4096), (4096, 14336)] * 32
        )
        lora = sum(ours.adapter.rank * sum(shape) for shape in shapes)
        assert sum(p.numel() for n, p in trained.items() if ".lora_" in n) == lora
        return
    groups = model_groups(model, ours.algorithm)
    split = [n for group in groups if group["split"] is True for n, _ in group["params"]]
    free = [n for group in groups if group["split"] == "state_free" for n, _ in group["params"]]
    if name == "glue":
        assert len(split) == 2 * 12
        assert all(".query." in n or ".value." in n for n in split)
        assert len(free) == 12 * 4
        assert not any("classifier" in n or "embeddings" in n or "LayerNorm" in n or "bias" in n for n in free)
        assert layout_of("columns", "independent", (768, 768), ours.algorithm.density, "std", None).inside == 8
    else:
        assert len(split) == 32 * 5
        assert len(free) == 32 * 2 + 2


def test_the_warm_up_of_glue_is_six_per_cent_of_its_run():
    ours = ft.load("simulations/glue.toml", overrides={"data.task": "rte"})
    training = ours.training.of_epochs(2490)
    assert training.steps == -(-80 * 2490 // 256)
    assert training.warmup == -(-training.steps * 6 // 100)
    with pytest.raises(ft.ExperimentError, match=r"warmup_steps = 3 and warmup_fraction = 0.06 are both given"):
        ft.load("simulations/glue.toml", overrides={"training.warmup_steps": 3})
