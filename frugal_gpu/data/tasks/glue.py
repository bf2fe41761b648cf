"""GLUE (Wang et al. 2018, arXiv 1804.07461): columns, labels and metrics of its tasks.

The metrics are the benchmark's: Matthews' correlation for CoLA, Pearson's and Spearman's for STS-B, F1 beside the accuracy for
MRPC and QQP, the accuracy for the others, on both validation parts of MNLI. The test splits have no labels.
"""

from __future__ import annotations

from collections.abc import Callable

from frugal_gpu.data.tasks.task import Labelled, Row, Task

__all__ = ["COLA", "MNLI", "MRPC", "QNLI", "QQP", "RTE", "SST2", "STSB", "WNLI"]

HUB = "nyu-mll/glue"


def labelled(columns: tuple[str, ...], labels: int) -> Callable[[Row], Labelled]:
    """A reader of rows whose texts stand in ``columns`` and whose label stands in "label"."""

    def read(row: Row) -> Labelled:
        texts = tuple(_text(row, column) for column in columns)
        label = row.get("label")
        if isinstance(label, bool) or not isinstance(label, int | float):
            raise ValueError(f'its "label" is {label!r}, no number')
        if labels > 1 and label not in range(labels):
            raise ValueError(f'its "label" is {label!r}; 0 to {labels - 1} are allowed')
        return Labelled(texts, float(label))

    return read


def _text(row: Row, column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str):
        found = ", ".join(f'"{name}"' for name, value in row.items() if isinstance(value, str)) or "none"
        raise ValueError(f'has no text in "{column}"; columns that hold text: {found}')
    return text


def _glue(
    name: str,
    columns: tuple[str, ...],
    labels: int = 2,
    metrics: tuple[str, ...] = ("accuracy",),
    validation: str = "validation",
    others: tuple[str, ...] = (),
) -> Task:
    return Task((HUB, name), labelled(columns, labels), labels, metrics, validation, others)


COLA = _glue("cola", ("sentence",), metrics=("matthews", "accuracy"))
SST2 = _glue("sst2", ("sentence",))
MRPC = _glue("mrpc", ("sentence1", "sentence2"), metrics=("accuracy", "f1"))
QQP = _glue("qqp", ("question1", "question2"), metrics=("accuracy", "f1"))
STSB = _glue("stsb", ("sentence1", "sentence2"), labels=1, metrics=("pearson", "spearman"))
MNLI = _glue("mnli", ("premise", "hypothesis"), 3, validation="validation_matched", others=("validation_mismatched",))
QNLI = _glue("qnli", ("question", "sentence"))
RTE = _glue("rte", ("sentence1", "sentence2"))
WNLI = _glue("wnli", ("sentence1", "sentence2"))
