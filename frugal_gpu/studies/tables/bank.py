"""Training runs that tables share: each kept in a file of its own, named by its experiment and the program's version."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.version import installed
from frugal_theory.results.files import write_text

__all__ = ["Bank", "OutOfTimeError", "Plan"]

Row = dict[str, Any]


class OutOfTimeError(Exception):
    """No time is left for a run that is missing, or it was interrupted."""


@dataclass
class Bank:
    """The runs in ``folder``. What is missing is trained, unless ``seconds`` have passed since the bank was opened."""

    folder: Path
    seconds: float | None = None
    say: Callable[[str], None] = lambda _: None
    opened: float = field(default_factory=time.monotonic)

    def get(self, experiment: Experiment, name: str) -> Row:
        """The run of an experiment: ``loss`` (nats a validation token; None if it diverged), ``losses`` by step, and what it
        held and took. Raises :class:`OutOfTimeError`."""
        path = self.path_of(experiment)
        if path.is_file():
            found: Row = json.loads(path.read_text(encoding="utf-8"))
            return found
        if self.over:
            raise OutOfTimeError
        self.say(name)
        row = {"name": name, **_trained(experiment)}
        write_text(path, json.dumps(row, ensure_ascii=False) + "\n")
        return row

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.seconds is not None and time.monotonic() - self.opened > self.seconds

    def path_of(self, experiment: Experiment) -> Path:
        """The file of a run."""
        from frugal_gpu.train.run_folder import settings_of

        probes = None if experiment.probes is None else experiment.probes.model_dump(mode="json")
        programs = [installed(name) for name in ("frugal-lab", "torch")]
        facts = json.dumps([programs, settings_of(experiment), probes], sort_keys=True)
        return self.folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:20]}.json"


@dataclass
class Plan:
    """A bank that trains nothing: it notes what a measurement would ask for."""

    bank: Bank
    asked: dict[Path, bool] = field(default_factory=dict)
    """By the file of a run, whether it is there."""

    def get(self, experiment: Experiment, name: str) -> Row:
        """The run if it is there, and one of the same form that says nothing if not."""
        path = self.bank.path_of(experiment)
        self.asked[path] = path.is_file()
        if self.asked[path]:
            return self.bank.get(experiment, name)
        return {"loss": None, "losses": [], "state_bytes": 0, "seconds": 0.0, "tokens": 0, "angles": []}

    @property
    def missing(self) -> int:
        """Runs that are still to be made."""
        return sum(not there for there in self.asked.values())

    def seconds(self, otherwise: float) -> float:
        """What the missing ones take, if each takes what those in the bank took; ``otherwise`` each, if there are none."""
        taken = [json.loads(path.read_text(encoding="utf-8"))["wall"] for path in self.bank.folder.glob("*.json")]
        return self.missing * (median(taken) if taken else otherwise)


def _trained(experiment: Experiment) -> Row:
    """Train it through the trainer, in a folder that is gone afterwards."""
    from frugal_gpu.train.log import read_metrics
    from frugal_gpu.train.loop import train

    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="frugal-study-") as place:
        folder = Path(place) / "training"
        summary: Row = {}
        try:
            outcome = train(experiment, folder)
            if outcome.status == "interrupted":
                raise OutOfTimeError
            summary = outcome.summary
        except ExperimentError as error:
            if "diverged" not in str(error):
                raise
        lines = read_metrics(folder / "metrics.jsonl")
    evaluated = [line["validation_loss"] for line in lines if "validation_loss" in line]
    return {
        "loss": evaluated[-1] if summary else None,
        "losses": [round(line["loss"], 5) for line in lines if "loss" in line],
        "state_bytes": summary.get("optimizer_state_bytes"),
        "tokens": summary.get("tokens"),
        "seconds": summary.get("seconds"),
        "wall": round(time.monotonic() - begin, 2),
        "device": summary.get("device"),
        "angles": [{"step": line["step"], **line["probes"]} for line in lines if line.get("probes")],
    }
