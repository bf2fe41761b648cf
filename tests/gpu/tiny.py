"""A text, a model and an experiment small enough to train in a second."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import frugal_theory as ft
from frugal_theory.config.load import parse

WORDS = {
    "who": ["the cat", "a dog", "my neighbour", "the old queen"],
    "does": ["sees", "likes", "draws", "forgets"],
    "what": ["the moon", "a red house", "seven apples", "the sea"],
}

TIMES = {"seconds", "tokens_per_second", "peak_memory_bytes"}
"""What differs between two runs that are equal: how long they took, and on what."""

EXPERIMENT = """
name = "tiny"
seed = 3

[algorithm]
learning_rate = 0.01
density = 0.5
update_gap = 4
subspace = "columns"

[model]
preset = "llama-tiny"
vocabulary = 300
hidden_size = 32
intermediate_size = 48
layers = 2
heads = 2

[data]
source = "SOURCE"
validation_fraction = 0.2

[training]
steps = 12
batch_size = 8
sequence_length = 16
evaluate_every = 5
checkpoint_every = 6
device = "cpu"
"""


def write_text(folder: Path, documents: int = 120) -> Path:
    """A .jsonl file of short made-up sentences."""
    draw = random.Random(0)
    lines = []
    for number in range(documents):
        sentences = [" ".join(draw.choice(words) for words in WORDS.values()) for _ in range(draw.randint(1, 4))]
        lines.append(json.dumps({"text": f"{number}. {'. '.join(sentences)}.", "number": number}))
    path = folder / "text.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def experiment(source: Path, overrides: dict[str, Any] | None = None) -> ft.Experiment:
    """The tiny experiment on a text file."""
    return parse(EXPERIMENT.replace("SOURCE", str(source)), "tiny.toml", overrides)
