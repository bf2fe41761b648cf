"""What each system is: its equation, source, defaults, and the state that it holds for a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from frugal_gpu.studies.memory import memory_of
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SYSTEMS
from frugal_theory.config.systems import System

__all__ = ["Described", "described", "spelled"]

ROWS, COLUMNS = 512, 1376
"""The matrix that state is counted for: a down-projection of LLaMA-60M."""

FLOAT32 = 4
"""Bytes of a number."""


@dataclass(frozen=True)
class Described:
    """A system with its defaults in one line of TOML, and numbers of state per parameter of the matrix."""

    system: System
    defaults: str
    state: float


def described(rows: int = ROWS, columns: int = COLUMNS) -> list[Described]:
    """Every system; its state is that of a split rows × columns matrix, counted as ``frugal-gpu memory`` counts."""
    return [_described(SYSTEMS[name], rows, columns) for name in SYSTEMS]


def _described(system: System, rows: int, columns: int) -> Described:
    with torch.device("meta"):
        matrix = nn.Linear(columns, rows, bias=False)
    held = memory_of(matrix, Algorithm.model_validate({"system": system.name})).state / FLOAT32
    return Described(
        system, ", ".join(f"{key} = {spelled(value)}" for key, value in system.defaults.items()), held / (rows * columns)
    )


def spelled(value: Any) -> str:
    """A value as TOML spells it inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(spelled, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
