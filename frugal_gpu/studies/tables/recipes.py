"""What the tables train: sizes, and settings of the algorithm that are tuned alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import parse
from frugal_theory.config.registry import SYSTEMS

__all__ = ["FACTORS", "FEWER", "PERIODS", "QUARTER", "SCALED", "SETTINGS", "SIZES", "Setting", "Size", "experiment"]

FACTORS = (1.0, 3.0, 10.0, 30.0)
"""The grid: multiples of the learning rate that a system has by default. Small models take larger steps."""

SGD_SCALES = (1.0, 10.0, 100.0, 1000.0)
"""The grid of SGD's factor off the set, whose steps are in units of the gradient."""

PERIODS = 16
"""Update gap: a sixteenth of the run."""

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """A model, a text and a length. ``training`` of [training], the number of ``steps`` apart."""

    name: str
    steps: int
    model: Keys
    data: Keys
    training: Keys

    @property
    def tokens(self) -> int:
        """Tokens that a run reads."""
        return int(self.steps * self.training["batch_size"] * self.training["sequence_length"])


_ALWAYS = {"keep_best": False, "checkpoint_every": 10**6, "evaluate_every": 10**6}

SIZES = {
    "cpu": Size(
        "cpu",
        576,
        {
            "preset": "llama-tiny",
            **{"vocabulary": 512, "hidden_size": 64, "intermediate_size": 176, "layers": 4, "heads": 4},
        },
        {"source": "python-docs", "tokens": 300_000},
        {
            **_ALWAYS,
            **{"batch_size": 8, "sequence_length": 64, "evaluation_tokens": 16_384, "device": "cpu", "threads": 1},
        },
    ),
    "gpu": Size(
        "gpu",
        400,
        {"preset": "llama-60m"},
        {"source": "python-sources", "tokens": 60_000_000, "validation_fraction": 0.02},
        {**_ALWAYS, "batch_size": 256, "sequence_length": 256, "evaluation_tokens": 196_608, "precision": "bf16"},
    ),
}
"""CPU: 0.2 million parameters outside embedding and head, 294,912 tokens. GPU: the paper's 60M, 26.2 million tokens."""


@dataclass(frozen=True)
class Setting:
    """An [algorithm], and how it is tuned: the best of ``choices`` on the first seed. ``rate_of``: another setting, whose
    learning rate it has. ``steps`` and ``length``: factors on the number of steps, and on the length of a sequence, of which a
    step has so many fewer. ``angles``: whether the gradient's subspaces are followed."""

    name: str
    algorithm: Keys
    rate_of: str | None = None
    choices: tuple[Keys, ...] = field(default=(), hash=False)
    steps: float = 1.0
    length: int = 1
    angles: bool = False


def _tuned(name: str, algorithm: Keys, **more: Any) -> Setting:
    """At the best rate of the grid."""
    own: Any = Algorithm.model_validate(algorithm).learning_rate
    return Setting(name, algorithm, choices=tuple({"learning_rate": factor * own} for factor in FACTORS), **more)


def _like(other: str, name: str, algorithm: Keys, **more: Any) -> Setting:
    """At the rate of another setting."""
    return Setting(name, algorithm, rate_of=other, **more)


FRUGAL: dict[str, Any] = {"system": "frugal", "density": 0.25, "order": "descending"}
ZERO: dict[str, Any] = {"system": "frugal", "density": 0.0}
QUARTER = "FRUGAL ρ = ¼"
SCALED = "matrices at ¼ of the rate"
"""As GaLore has them: embeddings, norms and head take larger steps than the matrices that are split."""

FEWER = "four ninths of the tokens"

_LAYER = {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15}
_FAST = {"rule": "adamw", "betas": [0.9, 0.95]}
_TUNED_SGD = tuple({"state_free": {"rule": "sgd", "lr_scale": scale}} for scale in SGD_SCALES)


def _settings() -> list[Setting]:
    tuned = [
        _tuned("AdamW", {"system": "adamw"}),
        _tuned(QUARTER, FRUGAL),
        _tuned("FRUGAL ρ = 0", ZERO),
        _tuned("GaLore", {"system": "galore"}),
        _tuned("BAdam", {"system": "badam"}),
        _tuned("signSGD", {"system": "signsgd"}),
        _tuned("AdaMeM", {"system": "adamem"}),
        _tuned("AdaLayer's signSGD", {"system": "adalayer-signsgd"}),
        _tuned(f"AdamW, {SCALED}", {"system": "frugal", "density": 1.0, "split_lr_scale": 0.25}),
        _tuned(f"{QUARTER}, {SCALED}", {**FRUGAL, "split_lr_scale": 0.25}),
    ]
    keys: Keys
    for kind in ("svd", "random", "randk", "blocks"):
        order = {"order": "descending"} if kind == "blocks" else {}
        for free, word in (("none", "nothing"), ("signsgd", "sign")):
            if (kind, free) != ("blocks", "signsgd"):  # that is FRUGAL ρ = ¼
                own = {"system": "frugal", "density": 0.25, "subspace": kind, "state_free": free, **order}
                tuned.append(_tuned(f"{kind}, {word} off it", own))
    alike = [
        Setting("ρ = ¼, SGD off it", FRUGAL, rate_of=QUARTER, choices=_TUNED_SGD),
        Setting("ρ = 0, SGD off it", ZERO, rate_of="FRUGAL ρ = 0", choices=_TUNED_SGD),
    ]
    for roles in (("embeddings",), ("norms",), ("output",), ("embeddings", "norms"), ("embeddings", "norms", "output")):
        keys = {**ZERO, **dict.fromkeys(roles, "state_free")}
        alike.append(_like("FRUGAL ρ = 0", f"ρ = 0, {', '.join(roles)} state-free", keys))
    for way in ("random", "ascending", "mirror", "inward"):
        alike.append(_like(QUARTER, f"blocks, {way}", {**FRUGAL, "order": way}))
    alike.append(_like(QUARTER, "columns", {"system": "frugal", "density": 0.25, "subspace": "columns"}))
    for density, word in ((0.5, "½"), (0.125, "⅛")):
        alike.append(_like(QUARTER, f"FRUGAL ρ = {word}", {**FRUGAL, "density": density}))
    alike.append(_like("AdamW", "AdamW, β₂ = .95", {"system": "adamw", "state_full": _FAST}))
    alike.append(_like(QUARTER, f"{QUARTER}, β₂ = .95", {**FRUGAL, "state_full": _FAST}))
    alike.append(_like("FRUGAL ρ = 0", "FRUGAL ρ = 0, β₂ = .95", {**ZERO, "state_full": _FAST}))
    alike += [_like("AdamW", f"AdamW on the {end} layers", {"system": f"adamw-{end}"}) for end in ("first", "last")]
    for density, word in ((1.0, "1"), (0.5, "½"), (0.25, "¼"), (0.0, "0")):
        keys = {**FRUGAL, "density": density, "state_full": _LAYER, "output": {**_LAYER, "by": "row"}}
        alike.append(_like(QUARTER, f"AdaLayer ρ = {word}", keys))
    for way in ("reset", "keep", "project"):
        keys = {"system": "frugal", "density": 0.25, "subspace": "svd", "on_update": way}
        alike.append(_like("svd, sign off it", f"svd, sign off it, {way}", keys))
        alike.append(_like("svd, nothing off it", f"svd, nothing off it, {way}", {**keys, "state_free": "none"}))
    for name, keys in (("AdamW", {"system": "adamw"}), (QUARTER, FRUGAL), ("GaLore", {"system": "galore"})):
        alike.append(_like(name, f"{name}, {FEWER}", keys, steps=4 / 9))
        alike.append(_like(name, f"{name}, sequences 4 times as long", keys, length=4))
    alike.append(_like("AdamW", "AdamW, angles", {"system": "adamw"}, angles=True))
    return [*tuned, *alike]


SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _settings()}
"""By name: those that are tuned, then those that have the rate of one of them."""


def experiment(setting: Setting, size: Size, seed: int, choice: Keys, rate: float | None) -> Experiment:
    """The experiment of a run. ``choice``: the keys that are tuned; ``rate``: the learning rate where they do not say it."""
    system = SYSTEMS[setting.algorithm["system"]]
    steps = round(size.steps * setting.steps)
    keys: dict[str, Any] = {**setting.algorithm, **choice}
    if not system.allowed or "update_gap" in system.allowed:
        keys["update_gap"] = max(1, size.steps // PERIODS)
    if setting.algorithm["system"] == "adalayer-signsgd":
        warm = max(1, size.steps // 10)
        keys |= {"norms": {**_LAYER, "warm": warm}, "output": {**_LAYER, "by": "row", "warm": warm}}
        keys |= {"state_free": {"rule": "late_sign", "after": warm}}
    if rate is not None:
        keys.setdefault("learning_rate", rate)
    training = {**size.training, "steps": steps}
    training["batch_size"] //= setting.length
    training["sequence_length"] *= setting.length
    tables = {"algorithm": keys, "model": dict(size.model), "data": dict(size.data), "training": training}
    if setting.angles:
        tables["probes"] = {"every": max(1, steps // PERIODS), "kinds": ["angles"]}
    return parse({"name": "studies", "seed": seed, **tables}, setting.name)
