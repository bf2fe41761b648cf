"""Names of parameters: what the selection and rules by name read of them.

A name is part of the algorithm: it enters every draw. So that a wrapped model draws what the bare one draws, the prefixes
of wrappers do not count.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["KINDS", "canonical", "kind_of"]

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What DDP and FSDP1, torch.compile, FSDP and activation checkpointing put into names."""

KINDS = ("weight", "bias", "norm", "embedding", "output")
"""What a parameter may be."""

_OUTPUT = re.compile(r"(\w+_)?head|classifier|score|embed_out|qa_outputs")
_EMBEDDING = re.compile(r"embed|embd|(^|_)emb(_|$)|^(wte|wpe|shared)$")

_NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)


@lru_cache(maxsize=2**16)
def canonical(name: str) -> str:
    """The name without the prefixes of wrappers, wherever they stand.

    >>> canonical("module._orig_mod.layers.0._fsdp_wrapped_module.mlp.up_proj.weight")
    'layers.0.mlp.up_proj.weight'
    """
    *path, own = name.split(".")
    return ".".join([*(step for step in path if step not in WRAPPERS), own])


def kind_of(name: str, dimensions: int) -> str:
    """What a parameter is, by its name and its number of dimensions: one of :data:`KINDS`.

    What is called a bias is one, or "norm" below a module with norm or ln in its name; so are the other vectors of modules.
    Matrices are "output" below a module called head, …_head, classifier or score, "embedding" below one with embed in its
    name (or wte, wpe, shared, as GPT-2 and T5 have it), and else "weight", as is a parameter that stands in no module.

    >>> kind_of("model.norm.weight", 1), kind_of("model.embed_tokens.weight", 2), kind_of("model.mlp.up_proj.weight", 2)
    ('norm', 'embedding', 'weight')
    """
    *path, own = canonical(name).split(".")
    if own.endswith("bias"):
        return "norm" if any(_NORM.search(step) for step in path) else "bias"
    if dimensions < 2:
        return "norm" if path else "weight"
    if any(_OUTPUT.fullmatch(step) for step in path):
        return "output"
    return "embedding" if any(_EMBEDDING.search(step) for step in [*path, own]) else "weight"
