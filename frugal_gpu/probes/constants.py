"""What the probes of a run came to: the constants of theorems, each measured, and evidence for what they bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugal_gpu.probes.averages import Average, average, ratio, running
from frugal_gpu.probes.objective import MICRO_BATCHES
from frugal_theory.evidence.evidence import Evidence

__all__ = ["Facts", "constants", "evidence"]

Line = Mapping[str, Any]

PARTS = 4
"""Of the path, at most, in which variances are averaged."""

METRIC = "squared_gradient_norm of f"
"""The metric of the evidence: ‖∇f‖², without the noise of a mini-batch."""


@dataclass(frozen=True)
class Facts:
    """What is known of a run beside its log.

    ``shapes``: of the trainable parameters. ``law``: the law of the momentum set and its share by parameter, None if unknown.
    ``batch_size``, ``sample``: rows of a training step and of a measurement. ``premises``: P1–P6 (P1 and P4 are added here).
    ``obstacle``: why no theorem speaks of the run. ``floor``: a lower bound of f, and ``known_floor`` what it is.
    """

    steps: int
    shapes: Mapping[str, tuple[int, ...]]
    law: dict[str, Any] | None
    batch_size: int
    sample: int
    premises: list[dict[str, Any]]
    obstacle: str | None
    confidence: float
    floor: float = 0.0
    known_floor: str = "a cross-entropy is never negative"


def constants(lines: Sequence[Line], facts: Facts) -> dict[str, Any] | None:
    """The contents of ``constants.json``; None for a run whose probes did not measure gradient, noise and smoothness."""
    stretch, rate = _stretch(lines)
    path = _measured(lines, "path")
    needed = ("gradient.squared", "gradient.biased", "noise.total")
    path = [line for line in path if all(line["probes"].get(key) is not None for key in needed)]
    ratios = [line["probes"]["smoothness.squared"] for line in path if line["probes"].get("smoothness.squared") is not None]
    if len(path) < 2 or not ratios or path[0]["step"] != 1:
        return None
    level = 1 - (1 - facts.confidence) / 2
    inside = [line for line in path if line["intervals"]["path"][1] <= stretch]
    judged = inside[-1]["intervals"]["path"][1] if len(inside) > 1 else 0
    sigma = _variance(path, facts, level)
    record: dict[str, Any] = {
        "smoothness": _smoothness(lines, path, level),
        "gap": _gap(path[0]["probes"], facts, level),
        "variance": sigma,
        "shapes": {name: list(shape) for name, shape in facts.shapes.items()},
        "law": facts.law,
        "learning_rate": rate,
        "steps": facts.steps,
        "stretch": judged or stretch,
        "observed": _observed(inside, sigma["total"], facts) if judged else {},
        "premises": facts.premises,
        "obstacle": facts.obstacle or _varies(stretch, judged, facts.steps),
        "noise": _shape(path, facts, level),
        "descent": _descent(path),
        "hessian": _hessian(lines),
        "angles": _angles(lines),
        "measurements": len(path),
    }
    _add_premises(record)
    plain: dict[str, Any] = _plain(record)
    return plain


def evidence(lines: Sequence[Line], confidence: float) -> Evidence | None:
    """The running average of ‖∇f‖², at the ends of the intervals in each of which it was measured once; None without any."""
    path = [line for line in _measured(lines, "path") if line["probes"].get("gradient.squared") is not None]
    if not path:
        return None
    ends = [line["intervals"]["path"] for line in path]
    squared, noise = ([line["probes"][f"gradient.{key}"] for line in path] for key in ("squared", "noise"))
    found = running([end - begin + 1 for begin, end in ends], squared, confidence, noise)
    return Evidence(
        source="training",
        steps=np.array([end for _, end in ends], dtype=np.int64),
        mean=np.array([one.value for one in found]),
        lower=np.array([max(0.0, one.lower) for one in found]),
        upper=np.array([one.upper for one in found]),
        metric=METRIC,
        confidence=confidence,
        notes=("one run: its average over steps, not an expectation over seeds",),
    )


def _measured(lines: Sequence[Line], group: str) -> list[Line]:
    return [line for line in lines if group in line.get("intervals", {})]


def _stretch(lines: Sequence[Line]) -> tuple[int, float]:
    """How many of the first steps have the same learning rate, and that rate."""
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    same = next((k for k, rate in enumerate(rates) if rate != rates[0]), len(rates))
    return same, rates[0]


def _varies(stretch: int, judged: int, steps: int) -> str | None:
    if judged:
        return None
    if stretch >= steps:
        return "the probes measured too little: two intervals are needed; probes.cost or probes.every gives more"
    return (
        f"the learning rate varies: it is constant for the first {stretch} of {steps} steps alone, and theorems speak of "
        'stretches of constant α from x¹ on (schedule = "constant", warmup_steps = 0)'
    )


def _smoothness(lines: Sequence[Line], path: Sequence[Line], level: float) -> dict[str, Any]:
    """L is at least every local ratio; of the squared ones the average is at most L², too."""
    known = [
        (line["intervals"]["path"], value) for line in path if (value := line["probes"].get("smoothness.squared")) is not None
    ]
    mean = average([end - begin + 1 for (begin, end), _ in known], [value for _, value in known], level)
    largest = math.sqrt(max(0.0, *(value for _, value in known)))
    source = f"the largest of {len(known)} estimates of ‖∇f(x⁺) − ∇f(x)‖/‖x⁺ − x‖ along the path"
    tops = [(line["probes"]["curvature.top"], line["probes"]["curvature.bottom"]) for line in _measured(lines, "curvature")]
    curvature = max((max(abs(top), abs(bottom)) for top, bottom in tops if top is not None and bottom is not None), default=0.0)
    if curvature > largest:
        source = (
            f"the largest of {len(tops)} Hessian eigenvalues by Lanczos, each of a sample and so on average above that of f; "
            "above the ratios of gradients"
        )
        largest = curvature
    return {
        "value": largest,
        "lower": math.sqrt(max(0.0, mean.lower)),
        "upper": None,
        "kind": "measured",
        "source": source,
    }


def _gap(numbers: Mapping[str, float], facts: Facts, level: float) -> dict[str, Any]:
    """Δ ≤ f(x¹) − the floor, at the upper end of the interval around f(x¹)."""
    from scipy.special import stdtrit

    half = float(stdtrit(MICRO_BATCHES - 1, level)) * numbers["gradient.loss_error"]
    loss = numbers["gradient.loss"]
    return {
        "value": loss + half - facts.floor,
        "lower": 0.0,
        "upper": loss + half - facts.floor,
        "kind": "measured",
        "source": f"at most: f(x¹) = {loss:.6g} ± {half:.2g}, f* ≥ {facts.floor:g}: {facts.known_floor}",
    }


def _variance(path: Sequence[Line], facts: Facts, level: float) -> dict[str, Any]:
    """σ_j² bounds the variance at every step, so by tensor it is at least the average over the part of the path where that is
    largest. Single estimates are too noisy to take the largest of: parts of at least two measurements, four parts at most."""
    lengths = np.array([end - begin + 1 for begin, end in (line["intervals"]["path"] for line in path)], dtype=float)
    parts = [part for part in np.array_split(np.arange(len(path)), max(1, min(PARTS, len(path) // 2))) if len(part)]
    largest, lower = {}, {}
    for name in facts.shapes:
        values = np.array([line["probes"].get(f"noise.of {name}") or 0.0 for line in path])
        largest[name] = max(float(lengths[part] @ values[part] / lengths[part].sum()) for part in parts)
        lower[name] = max(0.0, average(lengths.tolist(), values.tolist(), level).lower)
    mean = average(lengths.tolist(), [line["probes"]["noise.total"] for line in path], level)
    return {
        "value": largest,
        "lower": lower,
        "total": math.fsum(largest.values()),
        "average": {"value": mean.value, "lower": max(0.0, mean.lower), "upper": mean.upper},
        "kind": "measured",
        "source": f"by tensor the largest average over one of {len(parts)} parts of the path, {len(path)} measurements in all, "
        f"each of {MICRO_BATCHES // 2} pairs of micro-batches",
    }


def _observed(inside: Sequence[Line], sigma: float, facts: Facts) -> dict[str, Any]:
    """The averages over the stretch that theorems bound."""
    intervals = [line["intervals"]["path"] for line in inside]
    lengths = [end - begin + 1 for begin, end in intervals]
    weight = np.array(lengths) / sum(lengths)

    def total(key: str) -> float:
        return float(weight @ np.array([line["probes"][key] for line in inside]))

    values, noise = ([line["probes"][f"gradient.{key}"] for line in inside] for key in ("squared", "noise"))
    squared = average(lengths, values, facts.confidence, noise)
    share = facts.batch_size / facts.sample
    coordinates = sum(math.prod(shape) for shape in facts.shapes.values())
    return {
        "squared_gradient_norm": {
            "value": squared.value,
            "lower": max(0.0, squared.lower),
            "upper": squared.upper,
            "excess": total("gradient.biased"),
            "allowance": sigma * share,
        },
        "gradient_one_norm": {  # Σ|ḡ_j| is on average at least ‖∇f‖₁, and at most Σσ_j√(B/n) ≤ √(dσ²B/n) more
            "value": None,
            "lower": None,
            "upper": average(lengths, [line["probes"]["gradient.one_norm"] for line in inside], facts.confidence).upper,
            "excess": total("gradient.one_norm"),
            "allowance": math.sqrt(coordinates * sigma * share),
        },
    }


def _shape(path: Sequence[Line], facts: Facts, level: float) -> dict[str, Any]:
    """How far the noise is from symmetric and from Gaussian tails, in the step's gradient."""

    def of(above: str, below: str) -> Average:
        known = [line["probes"] for line in path if line["probes"].get(above) is not None]
        return ratio([p[above] for p in known], [p[below] for p in known], level)

    tails, skew = of("noise.cumulant", "noise.square"), of("noise.third", "noise.cube")
    broken = []
    if skew.lower > 0:
        broken.append("it is not symmetric")
    if tails.lower > 0:
        broken.append("its tails are heavier than Gaussian")
    said = " and ".join(broken) or "neither asymmetry nor heavy tails are seen"
    return {
        "kurtosis": {"value": 3 + tails.value, "lower": 3 + tails.lower, "upper": 3 + tails.upper},
        "squared_skewness": skew._asdict(),
        "sentence": f"Noise of a step's gradient ({facts.batch_size} rows): {said}.",
    }


def _descent(path: Sequence[Line]) -> dict[str, Any] | None:
    """At how many steps the descent inequality needs which L."""
    known = [line["probes"] for line in path if line["probes"].get("descent.needed") is not None]
    if not known:
        return None
    needed = [numbers["descent.needed"] for numbers in known]
    ratios = [math.sqrt(max(0.0, numbers["smoothness.squared"])) for numbers in known if "smoothness.squared" in numbers]
    largest = max(ratios, default=math.nan)
    held = sum(1 for n in known if n["descent.needed"] <= largest + n["descent.rounding"])
    return {
        "measurements": len(known),
        "needed": {"largest": max(needed), "mean": math.fsum(needed) / len(needed), "least": min(needed)},
        "held_with_measured_smoothness": held if ratios else None,
        "descended": sum(1 for n in known if n["descent.change"] < 0),
    }


def _hessian(lines: Sequence[Line]) -> dict[str, Any] | None:
    known = [(line["step"], line["probes"]) for line in _measured(lines, "curvature")]
    rows = [
        {"step": step, **{key.removeprefix("curvature."): value for key, value in numbers.items() if "curvature." in key}}
        for step, numbers in known
        if numbers.get("curvature.top") is not None
    ]
    return {"measurements": rows} if rows else None


def _angles(lines: Sequence[Line]) -> dict[str, Any] | None:
    known = [(line["step"], line["probes"]) for line in _measured(lines, "angles") if line["probes"].get("angles.cosine")]
    rows = [
        {"step": step, "since": step - int(n["angles.steps"]), "cosine": n["angles.cosine"], "inside": n["angles.inside"]}
        for step, n in known
    ]
    return {"measurements": rows} if rows else None


def _add_premises(record: dict[str, Any]) -> None:
    """P1 and P4 are what their constants are measured for."""
    sigma, smoothness = record["variance"], record["smoothness"]
    record["premises"] = [
        {
            "name": "P1",
            "statement": "f is L-smooth",
            "held": True,
            "how": f"L is at least about {smoothness['value']:.4g}, {smoothness['source']}",
        },
        {
            "name": "P4",
            "statement": "the variance of every coordinate is bounded",
            "held": True,
            "how": f"σ² is at least about {sigma['total']:.4g}, {sigma['source']}",
        },
        *record["premises"],
    ]
    record["premises"].sort(key=lambda premise: premise["name"])


def _plain(value: Any) -> Any:
    """What JSON can say: no number that is not finite."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
