"""A small semidefinite program with exact data: its numerical solution, and rational points near it.

Unknowns are paths into the certificate. Linear equations are solved exactly, by elimination over the rationals, before anything
is rounded: whatever numbers the remaining unknowns get, the equations hold.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Affine", "Form", "Path", "Program", "Vector", "available", "dot", "mix"]

Array = NDArray[np.float64]
Path = tuple[Any, ...]
Vector = Mapping[str, Fraction]
"""A combination of the basis letters of a block."""
Form = dict[tuple[str, str], Fraction]
"""Coefficients of the products u·v, u ≤ v in the alphabet."""
Affine = dict[int | None, Fraction]
"""Coefficients of unknowns by number; None is the constant."""

ZERO, ONE = Fraction(0), Fraction(1)


def available() -> bool:
    """Whether the solver is installed."""
    return importlib.util.find_spec("clarabel") is not None


def mix(*terms: tuple[Fraction | int, Vector]) -> dict[str, Fraction]:
    """Σ c·u."""
    total: dict[str, Fraction] = {}
    for c, vector in terms:
        for letter, value in vector.items():
            total[letter] = total.get(letter, ZERO) + c * value
    return total


def dot(u: Vector, v: Vector) -> Form:
    """⟨u, v⟩."""
    form: Form = {}
    for i, x in u.items():
        for j, y in v.items():
            key = (i, j) if i <= j else (j, i)
            form[key] = form.get(key, ZERO) + x * y
    return form


@dataclass
class Block:
    """A quadratic form, affine in the unknowns, that must be ≥ 0. ``scale``: of each letter, for the solver."""

    scale: dict[str, float]
    terms: dict[int | None, Form] = field(default_factory=dict)

    def add(self, unknown: int | None, form: Form, factor: Fraction | int = 1) -> None:
        """Add unknown · factor · form (None: a constant)."""
        total = self.terms.setdefault(unknown, {})
        for key, value in form.items():
            total[key] = total.get(key, ZERO) + factor * value


@dataclass
class Program:
    """Minimise an affine function of unknowns, some of them ≥ 0, under linear equations and semidefinite blocks."""

    paths: list[Path] = field(default_factory=list)
    number: dict[Path, int] = field(default_factory=dict)
    unsigned: list[int] = field(default_factory=list)
    equations: list[Affine] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def unknown(self, *path: Any, nonnegative: bool = False) -> int:
        """The number of the unknown at this path, which is made if there is none."""
        if path not in self.number:
            self.number[path] = len(self.paths)
            self.paths.append(path)
            if nonnegative:
                self.unsigned.append(self.number[path])
        return self.number[path]

    def block(self, scale: dict[str, float]) -> Block:
        """A new block in these letters."""
        self.blocks.append(Block(scale))
        return self.blocks[-1]

    def reduced(self) -> Reduced:
        """The program in the unknowns that the equations leave free."""
        return Reduced(self, _eliminate(self.equations, len(self.paths)))


@dataclass
class Reduced:
    """A program without equations. ``dependent``: unknowns that the others settle, as affine functions of those."""

    program: Program
    dependent: dict[int, Affine]

    def __post_init__(self) -> None:
        self.free = [i for i in range(len(self.program.paths)) if i not in self.dependent]
        self.column = {unknown: i for i, unknown in enumerate(self.free)}
        self._rows = [self._row({i: ONE}) for i in self.program.unsigned]
        self._blocks = [self._block(block) for block in self.program.blocks]

    def expanded(self, affine: Affine) -> Affine:
        """The same function of the free unknowns alone."""
        total: Affine = {}
        for unknown, c in affine.items():
            for key, value in (self.dependent.get(unknown, {unknown: ONE}) if unknown is not None else {None: ONE}).items():
                total[key] = total.get(key, ZERO) + c * value
        return total

    def minimise(self, objective: Affine, limits: Sequence[tuple[Affine, float]] = ()) -> Array | None:
        """The free unknowns at the minimum, under function ≤ limit as well; None where the solver finds none."""
        return self._solve(self._row(objective)[0], self._limits(limits), 0.0)

    def centre(self, limits: Sequence[tuple[Affine, float]]) -> Array | None:
        """The point with the widest margin: every block and every unknown that must be ≥ 0 is at least t, t the largest."""
        cost = np.zeros(len(self.free) + 1)
        cost[-1] = -1
        return self._solve(cost, self._limits(limits), 1.0)

    def rounded(self, free: Array, digits: int) -> dict[Path, Fraction] | None:
        """All unknowns, the free ones rounded to so many decimal digits; None where a block or a sign is lost by that."""
        values = [_rounded(float(value), digits) for value in free]
        floats = np.array([float(value) for value in values])
        for constant, matrices in self._blocks:
            if np.linalg.eigvalsh(constant + np.tensordot(floats[matrices[0]], matrices[1], 1)).min() < 0:
                return None
        known = dict(zip(self.free, values, strict=True))
        for unknown, affine in self.dependent.items():
            known[unknown] = sum((c * (ONE if i is None else known[i]) for i, c in affine.items()), ZERO)
        if any(known[unknown] < 0 for unknown in self.program.unsigned):
            return None
        return {path: known[i] for i, path in enumerate(self.program.paths)}

    def value(self, affine: Affine, free: Array) -> float:
        """A function of the unknowns, in floating point."""
        row, constant = self._row(affine)
        return float(row @ free + constant)

    def _row(self, affine: Affine) -> tuple[Array, float]:
        row = np.zeros(len(self.free))
        expanded = self.expanded(affine)
        for unknown, c in expanded.items():
            if unknown is not None:
                row[self.column[unknown]] += float(c)
        return row, float(expanded.get(None, ZERO))

    def _limits(self, limits: Sequence[tuple[Affine, float]]) -> list[tuple[Array, float]]:
        rows = [(self._row(affine), limit) for affine, limit in limits]
        return [(row, limit - constant) for (row, constant), limit in rows]

    def _block(self, block: Block) -> tuple[Array, tuple[Array, Array]]:
        """The constant matrix, and numbers and matrices of the free unknowns, in the solver's scale."""
        letters = {letter: i for i, letter in enumerate(block.scale)}
        scale = np.array(list(block.scale.values()))
        total: dict[int | None, Form] = {}
        for unknown, form in block.terms.items():
            for key, c in self.expanded({unknown: ONE}).items():
                into = total.setdefault(key, {})
                for pair, value in form.items():
                    into[pair] = into.get(pair, ZERO) + c * value
        matrices = {}
        for unknown, form in total.items():
            matrix = np.zeros((len(letters), len(letters)))
            for (u, v), value in form.items():
                matrix[letters[u], letters[v]] += float(value) / 2
                matrix[letters[v], letters[u]] += float(value) / 2
            matrices[unknown] = matrix * np.outer(scale, scale)
        constant = matrices.pop(None, np.zeros((len(letters), len(letters))))
        columns = np.array([self.column[unknown] for unknown in matrices if unknown is not None], dtype=int)
        return constant, (columns, np.array(list(matrices.values())).reshape(-1, *constant.shape))

    def _solve(self, cost: Array, limits: list[tuple[Array, float]], margin: float) -> Array | None:
        import clarabel

        width = len(cost)
        rows: list[Any] = []
        values: list[Any] = []
        cones: list[Any] = []
        slack = [margin] if margin else []
        linear = [(np.append(-row, slack), constant) for row, constant in self._rows]
        linear += [(np.append(row, [0.0] * len(slack)), limit) for row, limit in limits]
        for row, limit in linear:
            rows.append(sparse.csr_matrix(row))
            values.append([limit])
        cones.append(clarabel.NonnegativeConeT(len(linear)))
        for constant, (columns, matrices) in self._blocks:
            size = len(constant)
            j, i = np.tril_indices(size)  # column by column of the upper triangle
            factor = np.where(i == j, 1.0, math.sqrt(2))
            part = np.zeros((len(i), width))
            part[:, columns] = -(matrices[:, i, j] * factor).T
            if margin:
                part[:, -1] = margin * (i == j)
            rows.append(sparse.csr_matrix(part))
            values.append(constant[i, j] * factor)
            cones.append(clarabel.PSDTriangleConeT(size))
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
        nothing = sparse.csc_matrix((width, width))
        solver = clarabel.DefaultSolver(nothing, cost, sparse.vstack(rows).tocsc(), np.concatenate(values), cones, settings)
        found = solver.solve()
        if str(found.status) not in ("Solved", "AlmostSolved", "InsufficientProgress"):
            return None
        x: Array = np.array(found.x)
        return x[: len(self.free)]


def _eliminate(equations: Sequence[Affine], count: int) -> dict[int, Affine]:
    """Unknowns that Σ c·unknown + constant = 0 settles, as functions of the others. Raises ValueError for a contradiction."""
    known: dict[int, Affine] = {}
    for equation in equations:
        row: Affine = {}
        for unknown, c in equation.items():
            for key, value in known.get(unknown, {unknown: ONE}).items() if unknown is not None else [(None, ONE)]:
                row[key] = row.get(key, ZERO) + c * value
        row = {unknown: c for unknown, c in row.items() if c != 0}
        if not row:
            continue
        pivot = max((unknown for unknown in row if unknown is not None), default=None)
        if pivot is None or pivot >= count:
            raise ValueError("the linear equations contradict each other")
        top = row.pop(pivot)
        settled: Affine = {unknown: -c / top for unknown, c in row.items()}
        for other, affine in known.items():
            if pivot in affine:
                c = affine.pop(pivot)
                for unknown, value in settled.items():
                    affine[unknown] = affine.get(unknown, ZERO) + c * value
                known[other] = {unknown: value for unknown, value in affine.items() if value != 0}
        known[pivot] = settled
    return known


def _rounded(value: float, digits: int) -> Fraction:
    """The number of so many significant decimal digits that is next to a float; from 17 on the float itself."""
    if digits >= 17 or value == 0 or not math.isfinite(value):
        return Fraction(value)
    unit = Fraction(10) ** (math.floor(math.log10(abs(value))) - digits + 1)
    return round(Fraction(value) / unit) * unit
