"""``training.weight_decay_exempt`` as rules over the names of parameters."""

from __future__ import annotations

import re

from torch import nn

from frugal_gpu.optim.arranging import named_kinds
from frugal_gpu.optim.names import canonical
from frugal_theory.config import Algorithm
from frugal_theory.config.groups import Group

__all__ = ["without_decay"]

KINDS = {"norms": "norm", "biases": "bias", "embeddings": "embedding", "output": "output"}


def without_decay(algorithm: Algorithm, model: nn.Module, exempt: tuple[str, ...]) -> Algorithm:
    """The algorithm with a weight decay of 0 for the parameters of these kinds.

    They get what ``[[algorithm.groups]]`` say of them in all else; a group that says its own weight decay keeps it. Those that
    are split draw among themselves, as every group does.
    """
    kinds = {KINDS[name] for name in exempt}
    if not kinds:
        return algorithm
    winners: dict[str, int] = {}
    free: dict[int, list[str]] = {}
    trained = [(canonical(name), kind) for name, parameter, kind in named_kinds(model) if parameter.requires_grad]
    for name, kind in trained:
        own = next((i for i, group in enumerate(algorithm.groups) if re.search(group.pattern, name)), -1)
        if kind in kinds and (own < 0 or algorithm.groups[own].weight_decay is None):
            free.setdefault(own, []).append(name)
        else:
            winners[name] = own
    first = [_of(names, algorithm.groups[own] if own >= 0 else Group(pattern=".")) for own, names in free.items()]
    # a group all of whose parameters are exempt has nothing left to match, which would be an error
    rest = [group for i, group in enumerate(algorithm.groups) if i not in free or i in winners.values()]
    return algorithm.model_copy(update={"groups": (*first, *rest)})


def _of(names: list[str], group: Group) -> Group:
    return group.model_copy(update={"pattern": f"^(?:{'|'.join(map(re.escape, names))})$", "weight_decay": 0.0})
