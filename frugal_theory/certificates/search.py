"""Find a certificate: the semidefinite program of a plan, its solution, rounded, and held against the checker."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from typing import Any

from frugal_theory.certificates.checker import check
from frugal_theory.certificates.plan import Group, Plan
from frugal_theory.certificates.program import Affine, Block, Program, Vector, dot, mix

__all__ = ["TRADES", "Certificate", "NotCertified", "certificate", "sealed"]

TRADES = (0.1, 10.0)
"""Weights of the noise constant against the transient one, in units of 1/(αL)²."""

GIVEN_UP = (0.001, 0.01)
"""Shares of the optimum that are given up, in turn, for a margin that survives rounding."""

DIGITS = (6, 9, 12, 17)
"""Decimal digits to which coefficients are rounded, the fewest that do."""

Certificate = dict[str, Any]


class NotCertified(ValueError):
    """No certificate was found; the message says where it failed."""


def certificate(plan: Plan, trade: float = 1.0) -> Certificate:
    """A certificate of the plan that the checker has accepted. Raises NotCertified if none is found, and says where it failed.

    The constants C and n of avg E‖g‖² ≤ C·LΔ/K + nσ² minimise αL·C + trade·n/(αL), n weighted by the groups' shares.
    """
    program, noises = _program(plan)
    reduced, transient, a = program.reduced(), program.unknown("transient"), float(plan.step)
    best = reduced.minimise({transient: 1.0} | {unknown: trade * share / a**2 for unknown, share in noises.items()})
    if best is None:
        raise NotCertified("the semidefinite program has no solution")
    for share in GIVEN_UP:
        limits = [(transient, (1 + share) * reduced.value(transient, best))]
        limits += [(n, (1 + share) * max(0.0, reduced.value(n, best)) + share * 1e-3 * a) for n in noises]
        centre = reduced.centre(limits)
        if centre is None:
            continue
        for digits in DIGITS:
            values = reduced.rounded(centre, digits)
            if values is None:
                continue
            found = sealed(_assembled(plan, values))
            try:
                check(found)
            except ValueError:
                continue
            return found
    raise NotCertified("its solution does not survive rounding to rational numbers")


def sealed(certificate: Certificate) -> Certificate:
    """The certificate with the digest of its content."""
    content = json.dumps({key: value for key, value in certificate.items() if key != "digest"}, sort_keys=True)
    return certificate | {"digest": hashlib.sha256(content.encode()).hexdigest()}


def _program(plan: Plan) -> tuple[Program, dict[int, float]]:
    """The program, and the share of every noise constant in the objective."""
    program = Program()
    for k in range(plan.count):
        _step(program, plan, k)
        if plan.horizon is None:
            _bounded(program, plan, k, ("positive", k), start=False)
    _bounded(program, plan, 0, ("start",), start=True)
    noises: dict[int, float] = {}
    for k in range(plan.count):
        for i, group in enumerate(plan.groups):
            for now, part in _parts(plan, k, group):
                unknown = _noise(program, plan, k, i, now)
                noises[unknown] = noises.get(unknown, 0.0) + float(part) * group.weight / plan.count
    return program, noises


def _parts(plan: Plan, k: int, group: Group) -> list[tuple[str, Fraction]]:
    if group.random and group.share is not None:
        return [("in", group.share), ("out", 1 - group.share)]
    return [(plan.labels(k, group)[0], Fraction(1))]


def _noise(program: Program, plan: Plan, k: int, i: int, now: str) -> int:
    """The noise constant; one for all where only the sum of all variances is known."""
    key = "all" if plan.tied else f"{i}.{now}"
    return program.unknown("steps", k, "noise", key, nonnegative=True)


def _points(plan: Plan) -> tuple[str, ...]:
    return ("x", "z") if plan.auxiliary else ("x",)


def _value(point: str) -> str:
    return "f" if point in "xX" else "fz"


def _letters(plan: Plan, momentum: bool) -> str:
    return ("m" if momentum else "") + "g" + ("h" if plan.auxiliary else "")


def _scale(plan: Plan, letters: str) -> dict[str, float]:
    """Noise counts as a² of a gradient would: its letter is scaled up."""
    return {letter: float(plan.step) ** -0.5 if letter == "n" else 1.0 for letter in letters}


def _basis(plan: Plan) -> dict[str, Vector]:
    """The letters in the basis of a block: of the other gradients their distance from g, which is about √a where it counts."""
    near = float(plan.step) ** 0.5
    basis: dict[str, Vector] = {letter: {letter: 1.0} for letter in "mgn"}
    return basis | {letter: {"g": 1.0, letter: near} for letter in "hGH"}


def _balance(program: Program, values: dict[str, Affine], path: tuple[Any, ...], floors: bool) -> dict[tuple[str, str], int]:
    """Multipliers of all inequalities between the points, and the equations that take the values of f away."""
    pairs = [(i, j) for i in values for j in values if i != j] + [(i, "*") for i in values if floors]
    multipliers = {(i, j): program.unknown(*path, f"{i}>{j}", nonnegative=True) for i, j in pairs}
    for point, value in values.items():
        row = dict(value)
        for (i, j), unknown in multipliers.items():
            if point in (i, j):
                row[unknown] = row.get(unknown, Fraction(0)) + (-1 if point == i else 1)
        program.equations.append(row)
    return multipliers


def _inequalities(block: Block, multipliers: dict[tuple[str, str], int], at: dict[str, tuple[Vector, Vector]]) -> None:
    """Add Σ multiplier · inequality, given (position, gradient) of every point."""
    for (i, j), unknown in multipliers.items():
        y, dy = at[i]
        if j == "*":
            block.add(unknown, dot(dy, dy), 0.5)
            continue
        v, dv = at[j]
        move, change = mix((1, y), (-1, v)), mix((1, dy), (-1, dv))
        block.add(unknown, dot(mix((1, dy), (1, dv)), move), 0.5)
        block.add(unknown, dot(change, change), 0.25)
        block.add(unknown, dot(move, move), -0.25)


def _coefficients(
    program: Program, block: Block, path: tuple[Any, ...], values: dict[str, Vector], factor: float = 1.0
) -> None:
    """Add factor · (a form of unknown coefficients at this path) in the letters that have a value."""
    letters = list(values)
    for at, u in enumerate(letters):
        for v in letters[at:]:
            unknown = program.unknown(*path, u + v)
            block.add(unknown, dot(values[u], values[v]), factor)


def _step(program: Program, plan: Plan, k: int) -> None:
    """V − V' − g² + nξ² + (mean zero) − Σ multiplier · inequality ≥ 0 for every group and branch. "n" is the letter of ξ."""
    a, beta, last = float(plan.step), float(plan.beta), plan.horizon == k + 1
    following = (k + 1) % plan.count
    kappa = float(plan.kappa or 0)
    values: dict[str, Affine] = {p: {program.unknown("states", k, _value(p)): Fraction(1)} for p in _points(plan)}
    if not last:
        for p in _points(plan):
            values[p.upper()] = {program.unknown("states", following, _value(p)): Fraction(-1)}
    multipliers = _balance(program, values, ("steps", k, "multipliers"), floors=plan.horizon is not None)
    one = _basis(plan)
    for i, group in enumerate(plan.groups):
        for branch in plan.branches(k, group):
            letters = _letters(plan, branch.remembers)
            block = program.block(_scale(plan, letters + "n" + ("" if last else "GH" if plan.auxiliary else "G")))
            before: dict[str, Vector] = {letter: one[letter] for letter in letters}
            old: Vector = one["m"] if branch.remembers else {}
            seen = mix((1, one["g"]), (1, one["n"]))
            new = mix((beta, old), (1 - beta, seen)) if branch.now == "in" else {}
            move = mix((-a, new)) if branch.now == "in" else mix((-a * float(plan.off_set_scale), seen))
            kept: Vector = new if branch.after == "in" else {}
            _coefficients(program, block, ("states", k, f"{i}.{branch.label}"), before)
            if plan.kind == "average":
                block.add(None, dot(one["g"], one["g"]), -1)
            block.add(_noise(program, plan, k, i, branch.now), dot(one["n"], one["n"]))
            for letter in letters:
                path = ("steps", k, "cross", f"{i}.{branch.label}>{branch.now}", letter)
                block.add(program.unknown(*path), dot(one["n"], one[letter]))
            if branch.drawn is not None:
                _coefficients(program, block, ("steps", k, "shift", f"{i}.{branch.label}"), before, float(branch.drawn))
            at: dict[str, tuple[Vector, Vector]] = {
                "x": ({}, one["g"]),
                "X": (move, one["G"]),
                "z": (mix((-kappa, old)), one["h"]),
                "Z": (mix((1, move), (-kappa, kept)), one["H"]),
            }
            _inequalities(block, multipliers, at)
            if not last:
                then: dict[str, Vector] = {"m": kept} if kept else {}
                then |= {"g": one["G"]} | ({"h": one["H"]} if plan.auxiliary else {})
                _coefficients(program, block, ("states", following, f"{i}.{branch.after}"), then, -1)


def _bounded(program: Program, plan: Plan, k: int, path: tuple[Any, ...], *, start: bool) -> None:
    """V ≥ 0 at step k; or, at the start, V(m = 0) ≤ C(f − f*)."""
    kappa = float(plan.kappa or 0)
    states = {point: program.unknown("states", k, _value(point)) for point in _points(plan)}
    if start:
        values: dict[str, Affine] = {"x": {program.unknown("transient"): Fraction(1)}}
        values["x"] |= {unknown: Fraction(-1) for unknown in states.values()}
    else:
        values = {point: {unknown: Fraction(1)} for point, unknown in states.items()}
    multipliers = _balance(program, values, path, floors=True)
    one = _basis(plan)
    for i, group in enumerate(plan.groups):
        for label in plan.start(group) if start else plan.labels(k, group):
            letters = "g" if start else _letters(plan, plan.remembers(k, group, label))
            block = program.block(_scale(plan, letters))
            now: dict[str, Vector] = {letter: one[letter] for letter in letters}
            if start:
                now |= {"h": one["g"]} if plan.auxiliary else {}
            _coefficients(program, block, ("states", k, f"{i}.{label}"), now, -1 if start else 1)
            if plan.kind == "level" and not start:
                block.add(None, dot(one["g"], one["g"]), -1)
            at: dict[str, tuple[Vector, Vector]] = {
                "x": ({}, one["g"]),
                "z": (mix((-kappa, now.get("m", {}))), one["h"]),
            }
            _inequalities(block, multipliers, at)


def _assembled(plan: Plan, values: dict[tuple[Any, ...], Fraction]) -> Certificate:
    """The certificate's table."""
    table: Certificate = plan.table()
    for path, value in values.items():
        at = table
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = str(value)
    steps, states = ([_filled(table[key].get(k, {}), key) for k in range(plan.count)] for key in ("steps", "states"))
    table |= {"steps": steps, "states": states}
    if plan.horizon is None:
        table["positive"] = [table["positive"][k] for k in range(plan.count)]
    noise = []
    for k, step in enumerate(steps):
        if plan.tied:
            step["noise"] = {
                f"{i}.{now}": step["noise"]["all"] for i, g in enumerate(plan.groups) for now, _ in _parts(plan, k, g)
            }
        rows = []
        for i, group in enumerate(plan.groups):
            total = sum((part * Fraction(step["noise"][f"{i}.{now}"]) for now, part in _parts(plan, k, group)), Fraction(0))
            rows.append(str(total))
        noise.append(rows)
    return table | {"noise": noise}


def _filled(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {"shift": {}, "cross": {}, **table} if key == "steps" else table
