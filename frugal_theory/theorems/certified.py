"""A bound that is proved for the configuration at hand: a certificate is found, and checked, when it is asked for."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.certificates import TRADES, Certificate, Group, NotCertified, Plan, certificate, check
from frugal_theory.certificates.program import available
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import off_the_family

__all__ = ["HORIZONS", "LEVEL", "Certified", "CertifiedFor", "NotCovered", "plan_of", "short_runs", "variances"]

HORIZONS = (5, 10, 20)
"""Lengths of runs that have certificates of their own, with coefficients for every step."""

MOST_STEPS, MOST_GROUPS, PERIODS = 240, 8, 64
"""Steps of a cycle, laws that coordinates may follow, and periods within which a schedule must be seen to repeat."""

MOST_WITH_Z = 40
"""Longest periods that have a second point z: noise constants are smaller by up to a third, and it takes four times as long."""

LEVEL = 0.01
"""Of the weight of noise: in the bound of a single step, which is for short runs, noise has had few steps to add up."""

Mask = NDArray[np.bool_]


class NotCovered(ValueError):
    """No plan can be made of a setting; the message says why, as the end of a sentence."""


class Certified:
    """avg E‖gᵏ‖² ≤ C LΔ/K + avg Σ_j n_jᵏ σ_j², C and n found and proved for α, β, L and the law of the set as they are.

    A semidefinite program looks for V = φ(f − f*) + Σ_j (a quadratic form in momentum and gradient) that falls by ‖g‖², up
    to noise; what it finds is rounded to fractions and checked exactly (``docs/theory/certificates.md``, with the proof that
    a checked certificate implies the bound). The bound is the least of several: two trades of C against n for all K,
    certificates for runs of given lengths, and one for E‖gᵏ‖² step by step. There is no step condition: where no
    certificate is found, the theorem says so and claims nothing.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("certified", density=0.5, update_gap=1, subspace="coordinates")
    (0.889, 0.89)
    """

    name = "certified"
    title = "Certified bound"
    short_name = "certified"
    label = "certified"
    source = "proved for each configuration anew (docs/theory/certificates.md)"
    statement = "avg E‖gᵏ‖² ≤ C LΔ/K + avg Σ_j n_jᵏσ_j², C and n from a certificate that is checked in rational arithmetic"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le C\frac{L\Delta}{K}+\operatorname{avg}\sum_jn_j^k\sigma_j^2,"
        "\n"
        r"C\text{ and }n\text{ from a certificate that is checked in rational arithmetic}"
    )
    explicit = True
    premises = "P1–P6; on a random basis that is held uncorrelated noise coordinates, or else one constant for all noise"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 in the reading "reset", wherever a certificate is found; α unresolved, where one is sought."""
        if excuse := off_the_family(setting):
            return excuse
        if setting.runs is None:
            return None  # premise P6 says so
        try:
            if setting.learning_rate is not None:
                self.certificates(setting)
            else:
                _laws(setting)
        except (NotCovered, NotCertified) as error:
            return str(error)
        return None

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """Uncorrelated noise, where the certificates make use of it: on a turning basis that is held."""
        known = setting.runs is not None and setting.learning_rate is not None  # where the law is not known premise P6 says so
        used = known and setting.total_variance > 0 and plan_of(setting).uncorrelated
        return ("uncorrelated",) if used else ()

    def largest_step(self, setting: Setting) -> tuple[float, bool]:  # noqa: ARG002
        """Infinite: there is no condition on α but that a certificate is found, which ``covers`` says."""
        return float("inf"), False

    def certificates(self, setting: Setting) -> list[Certificate]:
        """The certificates that the bound rests on. Raises NotCovered or NotCertified, which say why there are none."""
        return list(_family(plan_of(setting)))

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,): the least that the certificates prove."""
        noise = variances(setting)
        found = [_bound(one, setting, noise) for one in self.certificates(setting)]
        return np.min(found, axis=0)


class CertifiedFor(Certified):
    """The bound of given certificates: of what ``ft.certify`` returns. It covers the configuration that they are for alone.

    They are checked again, wherever they are from: raises ValueError or LookupError for one that proves nothing.
    """

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        for one in certificates:
            check(one)
        self._certificates = tuple(copy.deepcopy(one) for one in certificates)

    def certificates(self, setting: Setting) -> list[Certificate]:
        """The certificates. Raises NotCovered if they are for another configuration."""
        wanted = plan_of(setting).table()
        keys = [key for key in wanted if key not in ("horizon", "auxiliary", "kind")]
        for one in self._certificates:
            if other := next((key for key in keys if one[key] != wanted[key]), None):
                raise NotCovered(f"the certificates are for another {other}: {one[other]}")
        return list(self._certificates)

    @property
    def text(self) -> str:
        """The certificates as the content of a file that ``frugal_theory/certificates/checker.py`` checks."""
        return json.dumps({"certificates": self._certificates}, indent=1) + "\n"

    def save(self, path: Path | str) -> None:
        """Write them to a file."""
        Path(path).write_text(self.text, encoding="utf-8")


def plan_of(setting: Setting) -> Plan:
    """What is to be certified: the setting's numbers as the fractions that they are. Raises NotCovered, saying why not."""
    runs = setting.runs
    if (excuse := off_the_family(setting)) or runs is None:
        raise NotCovered(excuse or "the selection is not oblivious")
    groups, _ = _laws(setting)
    basis: Any = None
    if setting.algorithm.set is None and setting.algorithm.density not in (0.0, 1.0):
        basis = "turning" if runs.law == "turning" else "fixed" if setting.algorithm.subspace == "eigen" else None
    return Plan(
        Fraction(setting.alpha),
        Fraction(setting.smoothness),
        Fraction(runs.beta),
        Fraction(runs.off_set_weight),
        setting.algorithm.update_gap,
        tuple(groups),
        basis,
        uncorrelated=basis == "turning" and setting.algorithm.update_gap > 1 and setting.uncorrelated,
        auxiliary=not runs.full and not runs.empty and (runs.law == "fixed" or 1 < setting.algorithm.update_gap <= MOST_WITH_Z),
    )


def _family(plan: Plan) -> tuple[Certificate, ...]:
    """The certificates of a plan: for every K by trade, and for short runs. Raises NotCertified for no such."""
    if not available():
        raise NotCertified('certificates need clarabel: pip install "frugal-lab[worst-case]"')
    found = _searched(plan)
    if isinstance(found, str):
        raise NotCertified(found)
    return found


@lru_cache(maxsize=256)
def _searched(plan: Plan) -> tuple[Certificate, ...] | str:
    """As :func:`_family`, or why not: a search that fails is not repeated either."""
    found, reason = [], ""
    for trade in TRADES:
        for wanted in (plan, replace(plan, auxiliary=False)) if plan.auxiliary else (plan,):
            try:
                found.append(certificate(wanted, trade))
                break
            except NotCertified as error:
                reason = str(error)
    return (*found, *short_runs(plan, HORIZONS, 1.0)) if found else reason


def short_runs(plan: Plan, horizons: Sequence[int], trade: float) -> list[Certificate]:
    """What can be certified of short runs beyond the certificates for every K, which hold for these, too."""
    found = []
    plain = replace(plan, auxiliary=False)
    for short in (replace(plain, kind="level"), *(replace(plain, horizon=horizon) for horizon in horizons)):
        try:
            found.append(certificate(short, trade * LEVEL if short.kind == "level" else trade))
        except NotCertified:
            continue
    return found


def _laws(setting: Setting) -> tuple[list[Group], list[dict[str, Mask]]]:
    """The laws that coordinates follow, and the coordinates that follow each. Raises NotCovered."""
    runs, algorithm = setting.runs, setting.algorithm
    assert runs is not None
    shapes = setting.shapes
    if runs.law == "fixed" and algorithm.subspace == "eigen" and not (runs.full or runs.empty):
        share = sum(float(np.sum(np.broadcast_to(runs.share[name], shape))) for name, shape in shapes.items())
        weight = share / sum(int(np.prod(shape)) for shape in shapes.values())
        everything = {name: np.ones(shape, dtype=bool) for name, shape in shapes.items()}
        nothing = {
            name: ~mask for name, mask in everything.items()
        }  # every group has the same noise constant, and σ² is one sum
        return [Group(Fraction(1), weight=weight), Group(Fraction(0), weight=1 - weight)], [everything, nothing]
    if runs.law == "turning" and SUBSPACES.is_added(algorithm.subspace):
        raise NotCovered(f'subspace "{algorithm.subspace}" is not known to have E Π = ρI')
    keys = _histories(runs, shapes, -(-setting.steps // algorithm.update_gap)) if runs.law == "scheduled" else dict(runs.share)
    flat = {name: np.broadcast_to(keys[name], shape) for name, shape in shapes.items()}
    size = sum(values.size for values in flat.values())
    groups, masks = [], []
    for law in sorted({value for values in flat.values() for value in np.unique(values).tolist()}, reverse=True):
        mask = {name: values == law for name, values in flat.items()}
        weight = sum(int(part.sum()) for part in mask.values()) / size
        if runs.law == "scheduled":
            groups.append(Group(None, tuple(c == "1" for c in law), weight))
        else:
            groups.append(Group(Fraction(law), weight=weight))
        masks.append(mask)
    if len(groups) > MOST_GROUPS:
        raise NotCovered(f"the coordinates follow {len(groups)} different laws, and at most {MOST_GROUPS} are certified")
    cycle = algorithm.update_gap * max(len(group.schedule) or 1 for group in groups)
    if runs.law != "fixed" and cycle > MOST_STEPS:
        raise NotCovered(f"the momentum set repeats after {cycle} steps, and at most {MOST_STEPS} are certified")
    return groups, masks


def _histories(runs: RunLengths, shapes: Any, periods: int) -> dict[str, NDArray[np.str_]]:
    """Of every coordinate when it is in the set during one cycle of the schedule, as a text of 0 and 1.

    The cycle is the shortest that the first periods show, whatever the number of steps, and every one of ``periods`` must
    follow it. Raises NotCovered if there is none.
    """
    members = [runs.probability(period) for period in range(max(PERIODS, periods))]
    short = members[:PERIODS]
    lengths = range(1, PERIODS // 2 + 1)
    cycle = next((c for c in lengths if all(_same(a, b) for a, b in zip(short, short[c:], strict=False))), None)
    if cycle is None or not all(_same(member, members[period % cycle]) for period, member in enumerate(members)):
        raise NotCovered(f"the schedule does not repeat within {PERIODS // 2} periods")
    texts = {}
    for name, shape in shapes.items():
        rows = np.array([np.broadcast_to(member[name], shape) for member in members[:cycle]]) > 0
        texts[name] = np.apply_along_axis(lambda row: "".join("1" if inside else "0" for inside in row), 0, rows).astype(
            np.str_
        )
    return texts


def _same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def variances(setting: Setting) -> list[float]:
    """Σ σ_j² over the coordinates of every group of the setting's plan; of a basis, all of it in any."""
    known = {name: np.broadcast_to(v, setting.shapes[name]) for name, v in setting.variance.items()}
    return [float(sum(np.sum(v[mask[name]]) for name, v in known.items())) for mask in _laws(setting)[1]]


def _bound(one: Certificate, setting: Setting, variances: Sequence[float]) -> Array:
    """What a certificate proves, for K = 1 … steps: of one for runs of N steps, what follows for K ≤ N, and inf beyond.

    A sum over K ≤ N steps is at most that over N: ΣE‖gᵏ‖² ≤ C LΔ + Σ_{k≤N} Σ n σ². Of kind "level" every E‖gᵏ‖² is at most
    C LΔ + Σ_{i<k} Σ n σ².
    """
    steps = setting.steps
    rows = np.array([[float(Fraction(n)) for n in row] for row in one["noise"]]) @ np.array(variances)
    transient = float(Fraction(one["transient"])) * setting.smoothness * setting.gap
    horizon = one["horizon"]
    if one["kind"] == "level":
        before = np.cumsum(np.resize(rows, steps)) - np.resize(rows, steps)
        return transient + np.cumsum(before) / setting.horizons
    if horizon is None:
        noise = np.cumsum(np.resize(rows, steps))
    else:
        noise = np.where(np.arange(1, steps + 1) <= horizon, rows.sum(), np.inf)
    return (transient + noise) / setting.horizons
