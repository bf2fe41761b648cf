"""A small semidefinite program: its numerical solution, and rational points near it.

Unknowns are paths into the certificate. Linear equations are solved exactly, by elimination over the rationals, before anything
is rounded: whatever numbers the remaining unknowns get, the equations hold. The semidefinite blocks are in floating point here:
that a rounded point satisfies them is for the checker to say.
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
Vector = Mapping[str, float]
"""A combination of the basis letters of a block."""
Form = dict[tuple[str, str], float]
"""Coefficients of the products u·v, u ≤ v in the alphabet."""
Affine = dict[int | None, Fraction]
"""Coefficients of unknowns by number; None is the constant."""

ZERO, ONE = Fraction(0), Fraction(1)


def available() -> bool:
    """Whether the solver is installed."""
    return importlib.util.find_spec("clarabel") is not None


def mix(*terms: tuple[float, Vector]) -> dict[str, float]:
    """Σ c·u."""
    total: dict[str, float] = {}
    for c, vector in terms:
        for letter, value in vector.items():
            total[letter] = total.get(letter, 0.0) + c * value
    return total


def dot(u: Vector, v: Vector) -> Form:
    """⟨u, v⟩."""
    form: Form = {}
    for i, x in u.items():
        for j, y in v.items():
            key = (i, j) if i <= j else (j, i)
            form[key] = form.get(key, 0.0) + x * y
    return form


@dataclass
class Block:
    """A quadratic form, affine in the unknowns, that must be ≥ 0. ``scale``: of each letter, for the solver."""

    scale: dict[str, float]
    terms: dict[int | None, Form] = field(default_factory=dict)

    def add(self, unknown: int | None, form: Form, factor: float = 1.0) -> None:
        """Add unknown · factor · form (None: a constant)."""
        total = self.terms.setdefault(unknown, {})
        for key, value in form.items():
            total[key] = total.get(key, 0.0) + factor * value


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
        return Reduced(self, _eliminate(self.equations))


class Reduced:
    """A program without equations. ``dependent``: unknowns that the others settle, as affine functions of those."""

    def __init__(self, program: Program, dependent: dict[int, Affine]) -> None:
        self.program, self.dependent = program, dependent
        self.free = [i for i in range(len(program.paths)) if i not in dependent]
        column: dict[int | None, int] = {unknown: i for i, unknown in enumerate(self.free)}
        column[None] = len(self.free)  # the constant
        known: dict[int | None, list[tuple[int, float]]] = {unknown: [(i, 1.0)] for unknown, i in column.items()}
        known |= {unknown: [(column[key], float(c)) for key, c in affine.items()] for unknown, affine in dependent.items()}
        self._known = known
        self._signs = self._table([{unknown: 1.0} for unknown in program.unsigned])
        rows: list[dict[int | None, float]] = []
        for block in program.blocks:
            rows.extend(_triangle(block))
        self._forms = self._table(rows)
        self._sizes = [len(block.scale) for block in program.blocks]

    def minimise(self, objective: Mapping[int, float], limits: Sequence[tuple[int, float]] = ()) -> Array | None:
        """The free unknowns at the minimum, under unknown ≤ limit as well; None where the solver finds none."""
        cost = self._table([dict(objective)]).toarray()[0, :-1]
        return self._solve(cost, limits, None)

    def centre(self, limits: Sequence[tuple[int, float]]) -> Array | None:
        """The point with the widest margin: every block and every unknown that must be ≥ 0 is at least t, t the largest."""
        on_diagonal = np.concatenate([_diagonal(size) for size in self._sizes])
        margin = np.concatenate([np.ones(self._signs.shape[0]), np.zeros(len(limits)), on_diagonal])
        return self._solve(np.append(np.zeros(len(self.free)), -1.0), limits, margin)

    def rounded(self, free: Array, digits: int) -> dict[Path, Fraction] | None:
        """All unknowns, the free ones rounded to so many decimal digits; None where a block or a sign is lost by that."""
        values = [_rounded(float(value), digits) for value in free]
        entries = self._forms @ np.append([float(value) for value in values], 1.0)
        first = 0
        for size in self._sizes:
            last = first + size * (size + 1) // 2
            if np.linalg.eigvalsh(_matrix(entries[first:last], size)).min() < 0:
                return None
            first = last
        known: dict[int | None, Fraction] = {None: ONE, **dict(zip(self.free, values, strict=True))}
        for unknown, affine in self.dependent.items():
            known[unknown] = sum((c * known[i] for i, c in affine.items()), ZERO)
        if any(known[unknown] < 0 for unknown in self.program.unsigned):
            return None
        return {path: known[i] for i, path in enumerate(self.program.paths)}

    def value(self, unknown: int, free: Array) -> float:
        """An unknown, in floating point."""
        return float((self._table([{unknown: 1.0}]) @ np.append(free, 1.0))[0])

    def _table(self, rows: Sequence[Mapping[Any, float]]) -> Any:
        """Functions of the unknowns as rows of a sparse matrix in the free ones and, last, the constant 1."""
        entries = [(i, j, c * d) for i, row in enumerate(rows) for unknown, c in row.items() for j, d in self._known[unknown]]
        i, j, value = (np.array(part) for part in zip(*entries, strict=True)) if entries else (np.zeros(0),) * 3
        return sparse.coo_matrix((value, (i, j)), shape=(len(rows), len(self.free) + 1)).tocsr()

    def _solve(self, cost: Array, limits: Sequence[tuple[int, float]], margin: Array | None) -> Array | None:
        import clarabel

        limited = self._table([{unknown: 1.0} for unknown, _ in limits])
        above = limited[:, -1].toarray().ravel() - [limit for _, limit in limits]
        rows = sparse.vstack([-self._signs, limited, -self._forms]).tocsc()
        constant = np.concatenate([self._signs[:, -1].toarray().ravel(), -above, self._forms[:, -1].toarray().ravel()])
        matrix = rows[:, :-1] if margin is None else sparse.hstack([rows[:, :-1], margin[:, None]])
        cones = [clarabel.NonnegativeConeT(self._signs.shape[0] + len(limits))]
        cones += [clarabel.PSDTriangleConeT(size) for size in self._sizes]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
        nothing = sparse.csc_matrix((len(cost), len(cost)))
        found = clarabel.DefaultSolver(nothing, cost, matrix.tocsc(), constant, cones, settings).solve()
        if str(found.status) not in ("Solved", "AlmostSolved", "InsufficientProgress"):
            return None
        x: Array = np.array(found.x)
        return x[: len(self.free)]


def _triangle(block: Block) -> list[dict[int | None, float]]:
    """The upper triangle of the block's matrix column by column, off-diagonal entries times √2, each affine in the unknowns."""
    letters = {letter: i for i, letter in enumerate(block.scale)}
    scale = list(block.scale.values())
    rows: list[dict[int | None, float]] = [{} for _ in range(len(scale) * (len(scale) + 1) // 2)]
    for unknown, form in block.terms.items():
        for (u, v), value in form.items():
            i, j = sorted((letters[u], letters[v]))
            row = rows[j * (j + 1) // 2 + i]
            row[unknown] = row.get(unknown, 0.0) + value * scale[i] * scale[j] * (1.0 if i == j else math.sqrt(0.5))
    return rows


def _diagonal(size: int) -> Array:
    """1 where an entry of the triangle is on the diagonal."""
    columns = np.repeat(np.arange(size), np.arange(1, size + 1))
    return (np.concatenate([np.arange(j + 1) for j in range(size)]) == columns).astype(float)


def _matrix(triangle: Array, size: int) -> Array:
    """The symmetric matrix of a triangle."""
    matrix = np.zeros((size, size))
    j, i = np.tril_indices(size)
    matrix[i, j] = matrix[j, i] = triangle * np.where(i == j, 1.0, math.sqrt(0.5))
    return matrix


def _eliminate(equations: Sequence[Affine]) -> dict[int, Affine]:
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
        if pivot is None:
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
