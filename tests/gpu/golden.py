"""The golden losses of a tiny LLaMA: twenty steps in float64 with every rule, on units and in a basis.

They guard the numbers against changes that nobody meant: ``test_golden.py`` trains again and compares with
``golden_losses.json``. Where a change is meant (another default, another formula), record them anew, with the reason that the
file then carries and the change log repeats::

    python -m tests.gpu.golden "AdamW's ε is 1e-6 by default"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.model.llama import Shape, build_model
from frugal_theory.config import Algorithm

FILE = Path(__file__).with_name("golden_losses.json")
STEPS, BATCH, LENGTH = 20, 4, 12
SHAPE = Shape(hidden_size=16, intermediate_size=24, layers=2, heads=2, vocabulary=40)

FULL: dict[str, dict[str, Any]] = {
    "sgdm": {"rule": "sgdm", "beta": 0.9},
    "adamw": {"rule": "adamw"},
    "lion": {"rule": "lion"},
    "adalayer": {"rule": "adalayer"},
    "adafactor": {"rule": "adafactor"},
    "split": {"rule": "split", "update_gap": 3, "density": 0.5, "state_full": "adamw"},
    "adagrad": {"rule": "adagrad"},
    "adamw_early_eps": {"rule": "adamw_early_eps"},
    "nesterov": {"rule": "nesterov"},
    "muon": {"rule": "muon"},
    "ldadam": {"rule": "ldadam", "rank": 4},
}
FREE = ("sgd", "none", "like_full", "signsgd", "one_sided", {"rule": "late_sign", "after": 4})
SUBSPACES = ("columns", "svd")
PAIRS = [(full, subspace) for full in FULL for subspace in SUBSPACES]
ROUND = [*(FREE[:4] * 4)[:14], *(FREE[4:] * 4)]
RUNS: dict[str, dict[str, Any]] = {
    f"{full}, {subspace}, {free if isinstance(free, str) else free['rule']}": {
        "state_full": FULL[full],
        "subspace": subspace,
        "state_free": free,
    }
    for (full, subspace), free in zip(PAIRS, ROUND, strict=True)
}
"""Every rule on one side and on the other; the state-free rules go round."""


def algorithm(run: str) -> Algorithm:
    """Two periods and a half of eight steps, on all that a LLaMA is made of."""
    rate = 0.3 if run.startswith("sgdm") else 3e-3  # updates of the gradient's size, and of size one
    rest = {"learning_rate": rate, "density": 0.25, "update_gap": 8, "weight_decay": 0.1, "seed": 5}
    return Algorithm.model_validate({**rest, **RUNS[run]})


def losses(run: str) -> list[float]:
    """The training loss before each of the steps. Weights and tokens come from NumPy's generator, whose draws are kept."""
    rng = np.random.default_rng(0)
    model = build_model(SHAPE, LENGTH).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)))
            parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.1 * noise)
    optimizer = Frugal.from_config(model, algorithm(run))
    found = []
    for _ in range(STEPS):
        first, stride = rng.integers(SHAPE.vocabulary, size=(BATCH, 1)), rng.integers(1, 4, size=(BATCH, 1))
        tokens = torch.from_numpy((first + stride * np.arange(LENGTH)) % SHAPE.vocabulary)  # a rule that can be learnt
        logits = model(input_ids=tokens).logits[:, :-1]  # the loss of transformers itself is in float32
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def record(reason: str) -> None:
    """Write the file anew."""
    found = {"reason": reason, "losses": {run: losses(run) for run in RUNS}}
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('the reason is asked for: python -m tests.gpu.golden "what changed, and why"')
    record(sys.argv[1])
