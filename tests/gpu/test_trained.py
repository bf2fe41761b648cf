"""A trained model used: exported for transformers, judged on texts, asked to go on with a text."""

import json
import math
import sys
from dataclasses import replace

import pytest
import tiny
import torch
from tokenizers import Tokenizer
from tolerances import ACCUMULATION_FLOAT32, FLOAT32

import frugal_theory as ft
from frugal_gpu.commands import main as cli
from frugal_gpu.train.judge import judge
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_gpu.train.speed import flops_per_token
from frugal_gpu.train.trained import export, load_trained
from tests.calling import called

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FRUGAL_LAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        changes = {"training.steps": 30, "algorithm.learning_rate": 0.02, "training.threads": 1}
        train(tiny.experiment(source, changes), folder / "training")
    return folder


def test_transformers_loads_what_is_exported_and_computes_the_same(run, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = load_trained(run)
    tokens = torch.arange(12).view(1, 12)
    with torch.no_grad():
        ours = trained.model(input_ids=tokens).logits
        export(trained, tmp_path / "out")
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert torch.equal(model(input_ids=tokens).logits, ours)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "the cat sees the moon."
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert model.generate(**tokenizer(text, return_tensors="pt"), max_new_tokens=3, pad_token_id=0).shape[1] <= 16 + 3
    with pytest.raises(ft.ExperimentError, match="exists and is not an empty folder"):
        export(trained, tmp_path / "out")


def test_the_runs_validation_loss_is_found_again(run):
    summary = json.loads((run / "training" / "summary.json").read_text())
    loss, count = judge(load_trained(run))
    assert math.exp(loss) == pytest.approx(summary["final_validation_perplexity"], rel=ACCUMULATION_FLOAT32)
    assert count > 100


def test_another_text_is_judged_as_a_whole_token_by_token(run, source):
    trained = load_trained(run)
    both, count = judge(trained, str(source))
    validation, share = judge(trained)
    assert count > share
    assert both != validation
    assert judge(trained, str(source), tokens=50)[1] <= 50 + 16


def test_another_text_is_read_to_its_end_however_short_or_long_it_is(run, source, tmp_path):
    """What caps the run's own text, or splits it, does not cap another; the loss is that of each document's tokens."""
    trained = load_trained(run)
    data = trained.experiment.data.model_copy(update={"tokens": 60})
    capped = replace(trained, experiment=trained.experiment.model_copy(update={"data": data}))
    assert judge(capped, str(source)) == judge(trained, str(source))
    (tmp_path / "one.txt").write_text("the cat\n")
    loss, count = judge(trained, str(tmp_path / "one.txt"))
    ids = [0, *Tokenizer.from_file(str(trained.tokenizer)).encode("the cat", add_special_tokens=False).ids, 0]
    with torch.no_grad():
        logits = trained.model(input_ids=torch.tensor([ids[:-1]])).logits[0]
    assert count == len(ids) - 1
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]))), rel=FLOAT32)
    for packing in ("stream", "documents"):
        data = trained.experiment.data.model_copy(update={"packing": packing})
        other = replace(trained, experiment=trained.experiment.model_copy(update={"data": data}))
        (tmp_path / "none.txt").write_text("\n")
        with pytest.raises(ft.ExperimentError, match=r'none\.txt": has no document'):
            judge(other, str(tmp_path / "none.txt"))
        assert judge(other, str(tmp_path / "one.txt"))[1] == len(ids) - (1 if packing == "stream" else 2)


@pytest.mark.parametrize("seed", [3, 4])
def test_another_text_is_one_stream_in_its_own_order(run, source, seed):
    """No document of it is held out: the loss is that of its rows, whatever the run's seed holds out of its own text."""
    trained = load_trained(run)
    trained = replace(trained, experiment=trained.experiment.model_copy(update={"seed": seed}))
    texts = [json.loads(line)["text"] for line in source.read_text().splitlines()]
    encodings = Tokenizer.from_file(str(trained.tokenizer)).encode_batch(texts, add_special_tokens=False)
    stream = torch.tensor([0, *(i for encoding in encodings for i in (*encoding.ids, 0))])
    summed, counts = [], []
    with torch.no_grad():
        for row in (stream[begin : begin + 17] for begin in range(0, len(stream) - 1, 16)):
            logits = trained.model(input_ids=row[None, :-1]).logits[0].double()
            summed.append(float(torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum")))
            counts.append(len(row) - 1)
    loss, count = judge(trained, str(source))
    assert count == sum(counts)
    assert loss == pytest.approx(sum(summed) / count, rel=ACCUMULATION_FLOAT32)
    first, some = judge(trained, str(source), tokens=33)
    assert some == sum(counts[:3])
    assert first == pytest.approx(sum(summed[:3]) / some, rel=ACCUMULATION_FLOAT32)


def test_a_text_without_an_end_needs_a_number_of_tokens(run):
    with pytest.raises(ft.ExperimentError, match="--tokens: is missing; the text of --data markov has no end"):
        judge(load_trained(run), "markov")


def test_a_checkpoint_is_named_by_itself(run):
    best = load_trained(run / "training" / "checkpoints" / "best")
    assert best.checkpoint.name == "best"
    assert load_trained(run / "training").checkpoint.name == "step-000030"


def test_the_commands_say_what_they_found_and_errors_are_one_line(run, tmp_path):
    done = called(cli.main, "evaluate", run, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "step-000030 on its validation text: loss " in done.stdout
    done = called(cli.main, "generate", run, "--prompt", "the cat", "--tokens", "4", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("the cat")
    again = called(cli.main, "generate", run, "--prompt", "the cat", "--tokens", "4", "--temperature", "1", cwd=tmp_path)
    assert again.returncode == 0
    assert called(cli.main, "export", run, "--out", tmp_path / "m", cwd=tmp_path).returncode == 0
    for arguments in (["evaluate", tmp_path], ["export", run, "--out", tmp_path / "m"], ["evaluate", run, "--data", "no.txt"]):
        failed = called(cli.main, *arguments, cwd=tmp_path)
        assert (failed.returncode, failed.stderr.count("\n")) == (2, 1), failed.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "RUN", "--temperature", "inf"], "--temperature inf: 0 is allowed, for the likeliest token, or 1e-06 to"),
        (["generate", "RUN", "--temperature", "1e-320"], "--temperature 9.99989e-321: 0 is allowed"),
        (["generate", "RUN", "--temperature", "1", "--seed", str(2**64)], "--seed"),
        (["generate", "RUN", "--prompt", "x" * 4000], "tokens; the model takes at most 14"),
        (["evaluate", "RUN", "--data", ""], '--data "": is empty; allowed: what data.source may be'),
    ],
)
def test_options_that_no_model_can_follow_are_refused_in_one_line(run, tmp_path, arguments, words):
    (tmp_path / "beside.txt").write_text("the cat\n")  # an empty path is the folder at hand
    failed = called(cli.main, *(run if part == "RUN" else part for part in arguments), cwd=tmp_path)
    assert (failed.returncode, failed.stderr.count("\n"), failed.stdout) == (2, 1, ""), failed.stderr
    assert words in failed.stderr


def test_a_text_is_continued_from_the_tokenizers_own_separator(source, tmp_path):
    """A separator that is not token 0: what is generated begins after it, as every document in training did, and ends at it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    own = Tokenizer(models.BPE(unk_token="<unk>"))
    own.pre_tokenizer, own.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    own.train_from_iterator([], trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet))
    own.save(str(tmp_path / "own.json"))
    keys = {"data.tokenizer": str(tmp_path / "own.json"), "training.steps": 20, "algorithm.learning_rate": 0.02}
    train(tiny.experiment(source, keys), tmp_path / "run" / "training")
    trained = load_trained(tmp_path / "run")
    assert trained.separator == 2
    ids = [2]
    with torch.no_grad():
        while len(ids) < 16 and (len(ids) == 1 or ids[-1] != 2):
            ids.append(int(trained.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    done = called(cli.main, "generate", tmp_path / "run", "--tokens", "40", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == own.decode(ids[1:]) + "\n"
    other = torch.tensor([[0]])
    assert int(trained.model(input_ids=other).logits[0, -1].argmax()) != ids[1]  # by which the two are told apart


def test_an_exported_model_is_what_a_run_begins_with(run, source, tmp_path):
    export(load_trained(run), tmp_path / "out")
    experiment = tiny.experiment(source, {"model": {"checkpoint": str(tmp_path / "out")}, "training.steps": 1})
    outcome = train(experiment, tmp_path / "again")
    summary = json.loads((run / "training" / "summary.json").read_text())
    first, last = outcome.summary["initial_validation_perplexity"], summary["final_validation_perplexity"]
    assert first == pytest.approx(last, rel=ACCUMULATION_FLOAT32)


def test_adapters_are_merged_into_what_is_exported(source, tmp_path):
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    experiment = tiny.experiment(source, {"adapter": {"rank": 4}, "training.steps": 4, "algorithm.learning_rate": 0.05})
    train(experiment, tmp_path / "training")
    trained, tokens = load_trained(tmp_path), torch.arange(12).view(1, 12)
    with torch.no_grad():
        ours = trained.model(input_ids=tokens).logits
        export(trained, tmp_path / "out")
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        torch.testing.assert_close(model(input_ids=tokens).logits, ours, rtol=FLOAT32, atol=FLOAT32)
    assert not [name for name in model.state_dict() if "lora" in name or "base_layer" in name]


# --- how fast, and watched


def test_flops_are_counted_by_hand(run):
    shape = load_trained(run).model
    matrices = 2 * (4 * 32**2 + 3 * 32 * 48) + 300 * 32  # two layers, the head
    norms = (2 * 2 + 1) * 32
    assert flops_per_token(shape, 16) == 6 * (matrices + norms) + 12 * 2 * 32 * 16


def test_the_summary_says_speed_and_memory(run):
    summary = json.loads((run / "training" / "summary.json").read_text())
    assert summary["tokens_per_second"] == pytest.approx(summary["tokens"] / summary["seconds"], rel=0.01)
    assert summary["mfu"] is None  # of a CPU no peak is known
    assert summary["peak_memory_bytes"] > 2**24


class FakeWandb:
    """What the trainer calls of wandb, and what it was told."""

    def __init__(self):
        self.begun, self.logged, self.finished = [], [], 0

    def init(self, **settings):
        self.begun.append(settings)
        return self

    def log(self, numbers, step):
        self.logged.append((step, numbers))

    def finish(self):
        self.finished += 1


def test_weights_and_biases_has_the_numbers_of_the_log_and_one_run_a_folder(source, tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    changes = {"training.wandb": True, "training.schedule": "constant", "training.warmup_steps": 0}
    train(tiny.experiment(source, {**changes, "training.steps": 2}), tmp_path)
    with pytest.warns(UserWarning, match="steps was 2, is 3"):
        train(tiny.experiment(source, {**changes, "training.steps": 3}), tmp_path, resume=True)
    first, second = fake.begun
    assert (first["project"], first["name"], first["dir"]) == ("frugal-lab", "tiny", str(tmp_path))
    assert first["id"] == second["id"] == (tmp_path / "wandb-id").read_text()
    assert first["config"]["training"]["steps"] == 2
    assert fake.finished == 2
    lines = read_metrics(tmp_path / "metrics.jsonl")
    said = [{"step": step, **numbers} for step, numbers in fake.logged]
    assert [line for line in said if line["step"] != 2 or "loss" in line] == [
        line for line in lines if line["step"] != 2 or "loss" in line
    ]
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    train(tiny.experiment(source, {**changes, "training.steps": 1}), tmp_path / "other")
    assert fake.begun[-1]["project"] == "mine"
    assert fake.begun[-1]["id"] != first["id"]


def test_what_is_not_installed_is_said_in_one_line(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ft.ExperimentError, match=r"^training.wandb: needs wandb; pip install wandb$"):
        train(tiny.experiment(source, {"training.wandb": True, "training.steps": 1}), tmp_path)


def test_every_training_line_is_complete(run):
    lines = [line for line in read_metrics(run / "training" / "metrics.jsonl") if "loss" in line]
    for line, before in zip(lines, [{"tokens": 0, "seconds": 0.0}, *lines], strict=False):
        assert line["density"] == 0.5
        rate = (line["tokens"] - before["tokens"]) / (line["seconds"] - before["seconds"])
        assert line["tokens_per_second"] == pytest.approx(rate, rel=0.5)  # the seconds are rounded to milliseconds
        assert line["peak_memory_bytes"] > 2**20
        assert line["learning_rate"] > 0


def test_tensorboard_has_the_numbers_of_the_log(source, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tiny.experiment(source, {"training.steps": 3, "training.tensorboard": True}), tmp_path)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(line["step"], pytest.approx(line["loss"], rel=ACCUMULATION_FLOAT32)) for line in lines]
