"""Rows of tasks: what the readers make of each data set's columns, how rows become batches, and what is measured."""

import os
import subprocess
import sys

import hub
import numpy as np
import pytest
import rows
import torch
from tolerances import ACCUMULATION_FLOAT32, ROUNDING

import frugal_theory as ft
from frugal_gpu.data.tasks import Task, add_task
from frugal_gpu.data.tasks.commonsense import TESTS, found
from frugal_gpu.data.tasks.examples import Answers, Labels
from frugal_gpu.data.tasks.prepare import Words, prepare_task
from frugal_gpu.data.tasks.rows import further_parts, place_of
from frugal_gpu.data.tasks.task import Answered, Labelled
from frugal_gpu.train.scores import METRICS, respond, scores
from frugal_theory.config import Data
from frugal_theory.config.registry import TASKS

GLUE = {
    "cola": ({"sentence": "a b", "label": 1}, ("a b",), 2, "matthews"),
    "sst2": ({"sentence": "a b", "label": 0}, ("a b",), 2, "accuracy"),
    "mrpc": ({"sentence1": "a", "sentence2": "b", "label": 1}, ("a", "b"), 2, "accuracy f1"),
    "stsb": ({"sentence1": "a", "sentence2": "b", "label": 3.8}, ("a", "b"), 1, "pearson spearman"),
    "qqp": ({"question1": "a", "question2": "b", "label": 1}, ("a", "b"), 2, "accuracy f1"),
    "mnli": ({"premise": "a", "hypothesis": "b", "label": 2}, ("a", "b"), 3, "accuracy"),
    "qnli": ({"question": "a", "sentence": "b", "label": 1}, ("a", "b"), 2, "accuracy"),
    "rte": ({"sentence1": "a", "sentence2": "b", "label": 1}, ("a", "b"), 2, "accuracy"),
    "wnli": ({"sentence1": "a", "sentence2": "b", "label": 1}, ("a", "b"), 2, "accuracy"),
}

RAW = {
    "boolq": (
        {"question": "is the moon red", "passage": "…", "answer": False},
        "Please answer the following question with true or false, question: is the moon red?\n\nAnswer format: true/false",
        "false",
    ),
    "piqa": (
        {"goal": "Open it.", "sol1": "Pull.", "sol2": "Push.", "label": 1},
        "Please choose the correct solution to the question: Open it.\n\nSolution1: Pull.\n\nSolution2: Push.\n\n"
        "Answer format: solution1/solution2",
        "solution2",
    ),
    "siqa": (
        {"context": "He ran.", "question": "Why?", "answerA": "x", "answerB": "y", "answerC": "z", "label": "3"},
        "Please choose the correct answer to the question: He ran. Why?\n\nAnswer1: x Answer2: y Answer3: z\n\n"
        "Answer format: answer1/answer2/answer3",
        "answer3",
    ),
    "hellaswag": (
        {"activity_label": "Rowing", "ctx": "A man", "endings": ["a", "b", "c", "d"], "label": "0"},
        "Please choose the correct ending to complete the given sentence: Rowing: A man\n\n"
        "Ending1: a Ending2: b Ending3: c Ending4: d\n\nAnswer format: ending1/ending2/ending3/ending4",
        "ending1",
    ),
    "winogrande": (
        {"sentence": "Ian fed Al as _ was kind.", "option1": "Ian", "option2": "Al", "answer": "1"},
        "Please choose the correct answer to fill in the blank to complete the given sentence: Ian fed Al as _ was kind.\n\n"
        "Option1: Ian Option2: Al\n\nAnswer format: option1/option2",
        "option1",
    ),
    "arc-easy": (
        {"question": "Which?", "choices": {"text": ["p", "q", "r"], "label": ["1", "2", "3"]}, "answerKey": "2"},
        "Please choose the correct answer to the question: Which?\n\nAnswer1: p Answer2: q Answer3: r\n\n"
        "Answer format: answer1/answer2/answer3",
        "answer2",
    ),
    "openbookqa": (
        {"question_stem": "Which?", "choices": {"text": ["p", "q"], "label": ["A", "B"]}, "answerKey": "B"},
        "Please choose the correct answer to the question: Which?\n\nAnswer1: p Answer2: q\n\nAnswer format: answer1/answer2",
        "answer2",
    ),
}


@pytest.fixture
def one_tokenizer(tmp_path):
    return rows.tokenizer(tmp_path / "words", roberta=False)


# --- what a row holds


@pytest.mark.parametrize("name", GLUE)
def test_glue_columns_labels_and_metrics(name):
    row, texts, labels, metrics = GLUE[name]
    task = TASKS[name]
    assert task.read(row) == Labelled(texts, float(row["label"]))
    assert (task.labels, set(metrics.split()) <= set(task.metrics), task.hub) == (labels, True, ("nyu-mll/glue", name))
    assert task.metrics[0] == metrics.split()[0]
    missing = {key: value for key, value in row.items() if key != next(iter(row))}
    with pytest.raises(ValueError, match=f'has no text in "{next(iter(row))}"'):
        task.read(missing)
    for wrong in (None, -1, "1") if labels > 1 else (None, "1"):
        with pytest.raises(ValueError, match='its "label" is'):
            task.read({**row, "label": wrong})


@pytest.mark.parametrize("name", RAW)
def test_rows_of_the_eight_data_sets_are_put_into_the_form_of_commonsense170k(name):
    row, instruction, answer = RAW[name]
    ready = {"instruction": instruction, "input": "", "output": f"the correct answer is {answer}", "answer": answer}
    assert TASKS[name].read(row) == TASKS[name].read(ready) == TASKS["commonsense"].read(ready)
    prompt = TASKS[name].read(row).prompt
    assert prompt.startswith("Below is an instruction that describes a task. Write a response")
    assert prompt.endswith(f"\n\n### Instruction:\n{instruction}\n\n### Response:\n")
    with pytest.raises(ValueError, match="no row of this task"):
        TASKS[name].read({"nothing": 1})


def test_every_test_set_of_commonsense_is_a_task():
    assert set(TESTS) == {*RAW, "arc-challenge"}
    assert {TASKS[name].labels for name in TESTS} == {0}


def test_an_input_has_a_section_of_its_own():
    row = {"instruction": "Add.", "input": "1 and 2", "output": "3", "answer": "3"}
    assert "### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n" in TASKS["commonsense"].read(row).prompt


@pytest.mark.parametrize(
    ("response", "answer"),
    [("the correct answer is answer3", "answer3"), ("Solution2 or solution1", "solution2"), ("True.", "true"), ("maybe", "")],
)
def test_the_first_answer_in_a_response_counts(response, answer):
    assert found(response) == answer


# --- where rows are


def test_local_layouts_are_found_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)
    row = GLUE["mnli"][0]
    for name in ("train-00000-of-00001.parquet", "validation_matched-00000-of-00001.parquet", "validation_mismatched.jsonl"):
        rows.write(tmp_path / "glue/mnli" / name, [row])
    rows.write(tmp_path / "glue/mnli" / "validation_matched_old.jsonl", [row, row])
    found = {split: place_of(str(tmp_path / "glue"), "mnli", split) for split in ("train", "validation")}
    assert [next(iter(place.rows()))[1] for place in found.values()] == [row, row]
    assert [len(place.files) for place in found.values()] == [1, 1]
    assert list(further_parts(str(tmp_path / "glue"), "mnli")) == ["validation_mismatched"]


def test_the_folder_of_llm_adapters_has_training_rows_and_test_sets(tmp_path):
    ready = {"instruction": "i", "input": "", "output": "the correct answer is true", "answer": "true"}
    rows.write(tmp_path / "commonsense_170k.json", [ready] * 3)
    rows.write(tmp_path / "boolq/train.json", [ready])
    rows.write(tmp_path / "boolq/test.json", [ready] * 2)
    rows.write(tmp_path / "social_i_qa/test.json", [ready])
    rows.write(tmp_path / "ARC-Easy/test.json", [RAW["arc-easy"][0]])
    assert len(list(place_of(str(tmp_path), "commonsense", "train").rows())) == 3
    assert {name: len(list(place.rows())) for name, place in further_parts(str(tmp_path), "commonsense").items()} == {
        "boolq": 2,
        "siqa": 1,
        "arc-easy": 1,
    }


CARD = b"""---
configs:
- config_name: rte
  data_files:
  - split: train
    path: rte/train-*
  - split: validation
    path: rte/validation-*
---
"""

READ = """
from frugal_gpu.data.tasks.rows import place_of
from frugal_theory.config.load import ExperimentError
for split in ("train", "validation"):
    print(len(list(place_of("hub", "rte", split).rows())), next(iter(place_of("hub", "rte", split).rows()))[1]["sentence1"])
try:
    next(place_of("some/where", "rte", "train").rows())
except ExperimentError as error:
    print(error)
"""


@pytest.mark.ecosystem
def test_the_hub_is_read_by_datasets(tmp_path):
    """A hub on loopback with RTE in GLUE's layout, and without anything else."""
    files = {"README.md": CARD}
    for split, count in (("train", 3), ("validation", 2)):
        rte = [{"sentence1": f"{split} {n}", "sentence2": "b", "label": 0, "idx": n} for n in range(count)]
        name = f"rte/{split}-00000-of-00001.parquet"
        files[name] = rows.write(tmp_path / name, rte).read_bytes()
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    with hub.running("nyu-mll/glue", files) as server:
        here = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", READ], env={**kept, **here}, capture_output=True, text=True, timeout=300, check=False
        )
    train, validation, missing = done.stdout.splitlines()
    assert (train, validation) == ("3 train 0", "2 validation 0"), done.stderr
    assert missing.startswith('data.source = "some/where": some/where, train, cannot be had from the hub (')


# --- rows as tokens


def test_two_texts_are_encoded_as_transformers_does_it(tmp_path):
    from transformers import PreTrainedTokenizerFast

    path = rows.tokenizer(tmp_path / "roberta", roberta=True)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token="<pad>")
    pairs = [("the cat sees", "a red house"), ("my neighbour forgets the moon seven times", "the sea")]
    for length in (64, 10, 7):
        expected = theirs([a for a, _ in pairs], [b for _, b in pairs], truncation="longest_first", max_length=length)
        assert Words(str(path), 1).rows(pairs, length) == expected.input_ids
        alone = theirs([a for a, _ in pairs], truncation=True, max_length=length)
        assert Words(str(path), 1).rows([(a,) for a, _ in pairs], length) == alone.input_ids


def test_without_a_template_an_end_stands_before_each_text(one_tokenizer):
    words = Words(str(one_tokenizer), None)
    (row,) = words.rows([("the cat", "a dog")], 64)
    assert row == [words.end, *words.plain("the cat"), words.end, *words.plain("a dog")]
    assert [len(each) for each in words.rows([("the cat sees the moon", "a dog")], 5)] == [5]


def answers(one_tokenizer, tmp_path, loss_on="all", length=128, count=6):
    ready = [
        {
            "instruction": f"Count {n} {'again and ' * n}",
            "input": "",
            "output": f"the correct answer is answer{n}",
            "answer": f"answer{n}",
        }
        for n in range(1, count + 1)
    ]
    path = rows.write(tmp_path / f"rows{count}.json", ready)
    data = Data(task="commonsense", source=str(path), tokenizer=str(one_tokenizer), validation_fraction=0.4, loss_on=loss_on)
    return prepare_task(data, 0, 400, length, None)


def test_an_answer_is_predicted_from_its_prompt_and_ends(one_tokenizer, tmp_path):
    corpus = answers(one_tokenizer, tmp_path)
    words, train = Words(str(one_tokenizer), None), corpus.train
    assert isinstance(train, Answers)
    assert len(train) + len(corpus.validation) == 6
    for i in range(len(train)):
        row, prompt = train.row(i), int(train.prompts[i])
        assert words.tokenizer.decode(row[prompt:].tolist()) == f"the correct answer is {train.answers[i]}"
        assert row[-1] == words.end
    only = answers(one_tokenizer, tmp_path, "answer").train
    for packed, begin in ((train, [1] * len(train)), (only, only.prompts.tolist())):
        inputs, targets = packed.batch(range(len(packed)))
        for i, (seen, target) in enumerate(zip(inputs, targets, strict=True)):
            row = packed.row(i)
            assert seen[: len(row) - 1].tolist() == row[:-1].tolist()
            assert target[target != -100].tolist() == row[begin[i] :].tolist()
        assert packed.predicted(range(len(packed))) == int((targets != -100).sum())


def test_a_long_prompt_loses_its_beginning_and_no_answer(one_tokenizer, tmp_path):
    whole, cut = (answers(one_tokenizer, tmp_path, length=length).train for length in (128, 40))
    for i in range(len(cut)):
        assert len(cut.row(i)) <= 40
        assert cut.row(i).tolist() == whole.row(i)[-len(cut.row(i)) :].tolist()


def test_padding_changes_no_row(tmp_path):
    """The loss of a batch is the sum of the losses of its rows, each alone and without padding."""
    from transformers import AutoModelForSequenceClassification

    texts = [(text,) for text in ("the cat", "a dog sees the red house and the moon", "the sea")]
    for make in (rows.roberta, rows.llama):
        folder = make(tmp_path / make.__name__)
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).eval()
        words = Words(str(folder / "tokenizer.json"), model.config.pad_token_id)
        model.config.pad_token_id = words.padding
        ids = words.rows(texts, 64)
        begins = np.cumsum([0, *map(len, ids)])
        packed = Labels(np.concatenate(ids), 64, words.padding, begins, label=np.array([0.0, 2.0, 1.0]))
        with torch.no_grad():
            inputs, labels = packed.batch([0, 1, 2])
            together = model(input_ids=inputs, **packed.model_inputs(inputs)).logits
            alone = torch.cat([model(input_ids=torch.tensor([row])).logits for row in ids])
        torch.testing.assert_close(together, alone, rtol=ACCUMULATION_FLOAT32, atol=ACCUMULATION_FLOAT32)
        expected = -alone.log_softmax(1)[torch.arange(3), labels].sum()
        assert float(packed.summed_loss(together, labels)) == pytest.approx(float(expected), rel=ACCUMULATION_FLOAT32)


# --- what is measured


def test_metrics_in_closed_form():
    predicted, label = np.array([1, 1, 0, 0, 1.0]), np.array([1, 0, 0, 1, 1.0])  # tp 2, fp 1, tn 1, fn 1
    expected = {"accuracy": 3 / 5, "f1": 2 * 2 / (2 * 2 + 1 + 1), "matthews": (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5}
    assert {name: METRICS[name](predicted, label) for name in expected} == pytest.approx(expected, rel=ROUNDING)
    x, y = np.array([1.0, 2.0, 3.0, 10.0]), np.array([1.0, 3.0, 2.0, 5.0])
    covariance = np.mean(x * y) - x.mean() * y.mean()
    assert METRICS["pearson"](x, y) == pytest.approx(covariance / x.std() / y.std(), rel=ROUNDING)
    assert METRICS["spearman"](x, y) == pytest.approx(1 - 6 * 2 / (4 * 15), rel=ROUNDING)
    constant = np.zeros(4)
    assert [METRICS[name](constant, y) for name in ("pearson", "spearman")] == [0.0, 0.0]
    assert METRICS["matthews"](np.ones(5), label) == 0.0


def test_classes_are_the_largest_logits_and_a_regression_is_its_one_number():
    packed = Labels(np.zeros(3, dtype=np.int64), 4, 0, np.arange(4), label=np.array([1.0, 0.0, 1.0]))
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0], [-2.0, 1.0]])
    assert scores(TASKS["sst2"], packed, logits) == {"accuracy": pytest.approx(2 / 3, rel=ROUNDING)}
    numbers = Labels(np.zeros(3, dtype=np.int64), 4, 0, np.arange(4), label=np.array([1.0, 2.0, 4.0]), regression=True)
    assert scores(TASKS["stsb"], numbers, torch.tensor([[3.0], [5.0], [9.0]]))["pearson"] == pytest.approx(1.0, rel=ROUNDING)


def test_responses_do_not_depend_on_who_is_answered_beside(one_tokenizer, tmp_path, monkeypatch):
    """A model that copies: prompts of other lengths, padded at the left, are answered as alone."""
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("frugal_gpu.train.scores.NEW_TOKENS", 4)
    corpus = answers(one_tokenizer, tmp_path, count=5)
    folder = rows.llama(tmp_path / "llama")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    said = []

    class Spy:
        def decode_batch(self, ids, **_):
            said.append([[i for i in row if i] for row in ids])
            return Tokenizer.from_file(str(one_tokenizer)).decode_batch(ids)

    indices = list(range(len(corpus.train)))
    respond(model, corpus.train, indices, Spy(), torch.device("cpu"))
    for i in indices:
        respond(model, corpus.train, [i], Spy(), torch.device("cpu"))
    assert said[0] == [one for (one,) in said[1:]]


# --- errors, and tasks of one's own


def test_what_cannot_be_used_is_said_in_one_line(tmp_path, one_tokenizer):
    good = {"sentence": "a", "label": 0}
    path = rows.write(tmp_path / "cola/train.jsonl", [good, {"sentence": None, "label": 0}, [1], good])
    data = Data(task="cola", source=str(tmp_path), tokenizer=str(one_tokenizer), validation_fraction=0.5)
    rows.write(tmp_path / "cola/validation.jsonl", [good])
    with pytest.raises(ft.ExperimentError, match=rf'data.bad_rows = "refuse": {path}, row 2 has no text in "sentence"'):
        prepare_task(data, 0, 400, 16, None)
    corpus = prepare_task(data.model_copy(update={"bad_rows": "skip"}), 0, 400, 16, None)
    assert (len(corpus.train), corpus.skipped) == (2, 2)
    with pytest.raises(ft.ExperimentError, match="the tokenizer has 400 tokens"):
        prepare_task(data.model_copy(update={"bad_rows": "skip"}), 0, 300, 16, None)
    with pytest.raises(ft.ExperimentError, match="has no training rows; allowed: train"):
        place_of(str(tmp_path), "rte", "train")
    with pytest.raises(ft.ExperimentError, match=r'no such file; allowed for data.task = "rte": "hub"'):
        place_of("/no/such/folder", "rte", "train")
    path.write_text("{broken\n", encoding="utf-8")
    with pytest.raises(ft.ExperimentError, match=f"{path} cannot be read"):
        prepare_task(data, 0, 400, 16, None)
    with pytest.raises(ValueError, match="tokens = 5 is of text"):
        Data(task="cola", tokens=5)


def test_a_task_of_ones_own_is_one_entry(tmp_path, one_tokenizer):
    with ft.extended():
        add_task("shout", Task(("no/where", None), lambda row: Labelled((row["words"],), float(row["loud"])), labels=2))
        rows.write(tmp_path / "train.json", [{"words": "a", "loud": True}])
        rows.write(tmp_path / "validation.json", [{"words": "b", "loud": False}])
        corpus = prepare_task(Data(task="shout", source=str(tmp_path), tokenizer=str(one_tokenizer)), 0, 400, 16, None)
        assert (corpus.train.label.tolist(), corpus.validation.label.tolist()) == ([1.0], [0.0])
    assert isinstance(TASKS["commonsense"].read(dict.fromkeys(("instruction", "output", "answer"), "x")), Answered)
