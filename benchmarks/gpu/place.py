"""Where measurements are made, and how they are written: the device, the files, Markdown tables."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


@dataclass(frozen=True)
class Deadline:
    """A number of seconds that began when this was made."""

    seconds: float
    begin: float = field(default_factory=time.monotonic)

    @property
    def used(self) -> float:
        return time.monotonic() - self.begin

    @property
    def left(self) -> float:
        return self.seconds - self.used


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu(place: torch.device) -> bool:
    """Whether time there is told by CUDA events, and memory by the caching allocator."""
    return place.type == "cuda"


def wait() -> None:
    """Until the GPU has done everything that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> dict[str, Any]:
    """The device and the versions that the numbers belong to."""
    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if gpu else f"CPU ({platform.machine()})",
        "memory MiB": torch.cuda.get_device_properties(0).total_memory // MIB if gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def sentence(found: Mapping[str, Any]) -> str:
    """The machine in words."""
    cuda = f" (CUDA {found['cuda']})" if found["cuda"] else ""
    return f"{found['device']}, torch {found['torch']}{cuda}, Python {found['python']}"


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A Markdown table: ``columns`` gives each key its heading. What was not measured is a dash, numbers have three digits."""
    if not rows:
        return "Nothing was measured."
    lines = [list(columns.values()), ["---", *("---:" for _ in list(columns)[1:])]]
    lines += [[_cell(row.get(key)) for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        digits = f"{value:.3g}"
        return f"{value:.0f}" if "e" in digits and abs(value) >= 1 else digits
    return str(value)


def write(path: Path, content: Any) -> None:
    """JSON, or a text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
