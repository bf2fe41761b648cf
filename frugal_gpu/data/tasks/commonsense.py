"""Commonsense170K and its eight test sets, in the format of LLM-Adapters (Hu et al. 2023, arXiv 2304.01933).

A row has an ``instruction``, a response under ``output`` ("the correct answer is …"), and the ``answer`` alone. Rows as the
eight data sets themselves have them are put into that form. The template around the instruction is Alpaca's; the published code
indents its lines by sixteen spaces, which is not repeated here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from frugal_gpu.data.tasks.task import Answered, Row, Task

__all__ = [
    "ARC_CHALLENGE",
    "ARC_EASY",
    "BOOLQ",
    "COMMONSENSE",
    "HELLASWAG",
    "OPENBOOKQA",
    "PIQA",
    "SIQA",
    "WINOGRANDE",
    "found",
]

HEAD = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
HEAD_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)

ANSWER = re.compile(r"true|false|(?:solution|answer|ending|option)[1-9]")
"""What counts as an answer in a response: the first of these."""

TESTS = ("boolq", "piqa", "siqa", "hellaswag", "winogrande", "arc-easy", "arc-challenge", "openbookqa")


def found(response: str) -> str:
    """The answer in a response, or nothing."""
    match = ANSWER.search(response.lower())
    return "" if match is None else match.group()


def answered(instruction: str, answer: str, given: str = "", response: str | None = None) -> Answered:
    """An instruction, with what is ``given`` beside it, in the template."""
    parts = [HEAD_WITH_INPUT if given else HEAD, f"### Instruction:\n{instruction}"]
    parts += [f"### Input:\n{given}"] if given else []
    prompt = "\n\n".join([*parts, "### Response:\n"])
    return Answered(prompt, f"the correct answer is {answer}" if response is None else response, answer)


def _written(row: Row) -> Answered:
    """A row of Commonsense170K."""
    for key in ("instruction", "output", "answer"):
        if not isinstance(row.get(key), str):
            raise ValueError(f'has no text in "{key}"')
    return answered(row["instruction"], row["answer"], row.get("input") or "", row["output"])


def _reader(question: Callable[[Row], tuple[str, str]]) -> Callable[[Row], Answered]:
    """Rows in either form; ``question`` makes instruction and answer of one as its data set has it."""

    def read(row: Row) -> Answered:
        if "instruction" in row:
            return _written(row)
        try:
            return answered(*question(row))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"is no row of this task ({type(error).__name__}: {error})") from None

    return read


def _chosen(kind: str, request: str, choices: list[str], right: int, between: str = " ") -> tuple[str, str]:
    """A question with numbered choices, and the name of the ``right`` one, which counts from 0."""
    if not 0 <= right < len(choices):
        raise ValueError(f"its answer is number {right + 1} of {len(choices)}")
    numbered = between.join(f"{kind.capitalize()}{n}: {text}" for n, text in enumerate(choices, 1))
    names = "/".join(f"{kind}{n}" for n in range(1, len(choices) + 1))
    return f"{request}\n\n{numbered}\n\nAnswer format: {names}", f"{kind}{right + 1}"


def _boolq(row: Row) -> tuple[str, str]:
    question, truth = str(row["question"]).rstrip("?"), row["answer"]
    request = f"Please answer the following question with true or false, question: {question}?\n\nAnswer format: true/false"
    return request, "true" if truth else "false"


def _piqa(row: Row) -> tuple[str, str]:
    request = f"Please choose the correct solution to the question: {row['goal']}"
    return _chosen("solution", request, [row["sol1"], row["sol2"]], int(row["label"]), "\n\n")


def _siqa(row: Row) -> tuple[str, str]:
    request = f"Please choose the correct answer to the question: {row['context']} {row['question']}"
    return _chosen("answer", request, [row[f"answer{letter}"] for letter in "ABC"], int(row["label"]) - 1)


def _hellaswag(row: Row) -> tuple[str, str]:
    request = f"Please choose the correct ending to complete the given sentence: {row['activity_label']}: {row['ctx']}"
    return _chosen("ending", request, list(row["endings"]), int(row["label"]))


def _winogrande(row: Row) -> tuple[str, str]:
    fill = "Please choose the correct answer to fill in the blank to complete the given sentence"
    return _chosen("option", f"{fill}: {row['sentence']}", [row["option1"], row["option2"]], int(row["answer"]) - 1)


def _multiple_choice(row: Row) -> tuple[str, str]:
    """ARC and OpenBookQA."""
    choices: Any = row["choices"]
    question = row["question"] if "question" in row else row["question_stem"]
    request = f"Please choose the correct answer to the question: {question}"
    return _chosen("answer", request, list(choices["text"]), list(choices["label"]).index(row["answerKey"]))


COMMONSENSE = Task(("zwhe99/commonsense_170k", None), _written, validation=None, others=TESTS, files=("commonsense_170k",))
BOOLQ = Task(("google/boolq", None), _reader(_boolq))
PIQA = Task(("ybisk/piqa@refs/convert/parquet", None), _reader(_piqa))
SIQA = Task(("allenai/social_i_qa@refs/convert/parquet", None), _reader(_siqa), files=("social_i_qa",))
HELLASWAG = Task(("Rowan/hellaswag", None), _reader(_hellaswag))
WINOGRANDE = Task(("allenai/winogrande", "winogrande_xl"), _reader(_winogrande))
ARC_EASY = Task(("allenai/ai2_arc", "ARC-Easy"), _reader(_multiple_choice), validation="test")
ARC_CHALLENGE = Task(
    ("allenai/ai2_arc", "ARC-Challenge"), _reader(_multiple_choice), validation="test", files=("ARC-Challenge",)
)
OPENBOOKQA = Task(("allenai/openbookqa", "main"), _reader(_multiple_choice), validation="test")
