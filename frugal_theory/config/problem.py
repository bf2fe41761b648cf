"""``[problem]`` and ``[noise]``: the function, and what turns its gradient into a stochastic one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frugal_theory.config.dataset import features_of, is_file
from frugal_theory.config.fields import TableOf
from frugal_theory.config.parts import Count, NonNegative, NonNegatives, Numbers, Part, Positive
from frugal_theory.config.registry import NOISES, PROBLEMS

__all__ = [
    "GaussianNoise",
    "Logistic",
    "Matrix",
    "MinibatchNoise",
    "NoNoise",
    "Noise",
    "Nonconvex",
    "Problem",
    "Quadratic",
    "Start",
    "StudentNoise",
    "Vector",
    "coordinates",
]

Start = Literal["normal", "ones"] | Numbers


class Vector(Part):
    """A problem in one vector x: where x starts, and into how many blocks, each a parameter, it is cut.

    Its tables also have a field or property ``dimension``.
    """

    start: Start = "normal"
    """x¹: standard normal entries from ``seed``, ones, or the entries themselves."""
    blocks: Count | None = None
    """Into how many parameters x is cut, their lengths as equal as can be; one by default."""

    @model_validator(mode="after")
    def _start_fits(self) -> Vector:
        if isinstance(self.start, tuple) and len(self.start) != (dimension := coordinates(self)):
            raise ValueError(f"start has {len(self.start)} entries, the problem has dimension {dimension}; they must agree")
        return self


class Quadratic(Vector):
    """f(x) = ½ Σ λ_i ⟨v_i, x⟩², V the identity or a random rotation."""

    kind: Literal["quadratic"] = "quadratic"
    dimension: Count = 100
    """Coordinates."""
    spectrum: Literal["power", "uniform", "two-level"] = "power"
    """λ_i = L i^(−exponent); or evenly from L to L/condition; or the first half of them L, the others L/condition."""
    exponent: NonNegative = 1.0
    """The exponent of spectrum "power"; refused beside the others."""
    condition: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 100.0
    """L / λ_min of "uniform" and "two-level"; refused beside "power"."""
    smoothness: Positive = 1.0
    """L, the largest eigenvalue."""
    eigenvalues: NonNegatives | None = None
    """The eigenvalues themselves, one a coordinate, in place of the four keys above."""
    rotated: bool = False
    """Whether the eigenvectors are a random rotation instead of the axes."""

    @model_validator(mode="before")
    @classmethod
    def _given_eigenvalues(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("eigenvalues"), (list, tuple)):
            data = {"dimension": len(data["eigenvalues"]), **data}
        return data

    @model_validator(mode="after")
    def _lengths(self) -> Quadratic:
        if self.eigenvalues is not None:
            if len(self.eigenvalues) != self.dimension:
                raise ValueError(
                    f"dimension is {self.dimension}, eigenvalues has {len(self.eigenvalues)} entries; they must agree"
                )
            if max(self.eigenvalues) == 0:
                raise ValueError("eigenvalues are all zero; at least one must be positive")
        return self

    def of(self, eigenvalues: tuple[float, ...]) -> Quadratic:
        """The same with these eigenvalues, in place of what a spectrum would say."""
        said = {key: type(self).model_fields[key].default for key in ("spectrum", "smoothness", "exponent", "condition")}
        return self.model_copy(update={**said, "eigenvalues": eigenvalues})

    @model_validator(mode="after")
    def _all_is_read(self) -> Quadratic:
        """A key that says nothing here is refused: a sweep over it would label equal cells differently."""
        of = {"power": "exponent", "uniform": "condition", "two-level": "condition"}[self.spectrum]
        read = () if self.eigenvalues is not None else ("spectrum", "smoothness", of)
        for key in ("spectrum", "smoothness", "exponent", "condition"):
            if key not in read and getattr(self, key) != type(self).model_fields[key].default:
                instead = f'spectrum = "{self.spectrum}" has {of}' if read else "eigenvalues are given, which say it all"
                raise ValueError(f"{key} = {getattr(self, key)} is not read: {instead}; leave {key} out")
        return self


class Logistic(Vector):
    """ℓ2-regularised logistic regression on data that scikit-learn ships, or on a CSV or libsvm file.

    ``dataset``: "breast-cancer", "digits" or the path of a file that ends in .csv, .tsv, .svm or .libsvm. ``label``: the column
    of the labels in a table, by default its last; they have two values.
    """

    kind: Literal["logistic"] = "logistic"
    dataset: Annotated[str, Field(min_length=1)] = "breast-cancer"
    """Data that scikit-learn ships ("breast-cancer", "digits"), or the path of a .csv, .tsv, .svm or .libsvm file."""
    label: str | None = None
    """The column of the labels in a table; its last by default."""
    l2: NonNegative = 0.01
    """The factor of ½‖x‖² that is added to the loss."""

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, table: Any) -> Any:
        if isinstance(table, dict) and isinstance(name := table.get("dataset"), str) and is_file(name):
            features_of(name, table.get("label"))
        elif isinstance(table, dict) and table.get("label") is not None:
            raise ValueError("label names a column of a file; the bundled data sets have none")
        return table

    @property
    def dimension(self) -> int:
        """Number of features."""
        return features_of(self.dataset, self.label)


class Nonconvex(Vector):
    """Robust regression with the Geman–McClure loss: smooth, not convex, globally Lipschitz gradient."""

    kind: Literal["nonconvex"] = "nonconvex"
    dimension: Count = 20
    """Coordinates."""
    samples: Count = 100
    """Rows of data."""


class Matrix(Part):
    """½ Σ_l ‖A_l W_l B_l − C_l‖² in one or several matrices W_l."""

    kind: Literal["matrix"] = "matrix"
    rows: Count = 6
    """Rows of each matrix W_l."""
    columns: Count = 5
    """Columns of each matrix W_l."""
    condition: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 10.0
    """Condition number of each A_l and B_l."""
    layers: Count | None = None
    """How many matrices there are, each a parameter; one by default."""
    start: Literal["normal", "ones"] = "normal"
    """x¹: standard normal entries from ``seed``, or ones."""


Problem = Annotated[Any, TableOf(PROBLEMS, "kind")]


class NoNoise(Part):
    """The gradient itself."""

    kind: Literal["none"] = "none"


class GaussianNoise(Part):
    """Normal noise with standard deviation sigma (one for all coordinates, or one for each)."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: NonNegative | NonNegatives = 0.1
    """The standard deviation of a coordinate: one for all, or one for each; in units of the gradient."""


class StudentNoise(Part):
    """sigma · t_ν: sigma is the *scale*; the variance is sigma²ν/(ν−2) for ν > 2 and infinite otherwise."""

    kind: Literal["student-t"] = "student-t"
    degrees_of_freedom: Positive = 3.0
    """ν; the variance is finite for ν > 2."""
    sigma: NonNegative | NonNegatives = 0.1
    """The scale of a coordinate: one for all, or one for each; in units of the gradient."""


class MinibatchNoise(Part):
    """The gradient of a batch drawn with replacement from the problem's data."""

    kind: Literal["minibatch"] = "minibatch"
    batch_size: Count = 8
    """Samples of a batch, drawn with replacement."""


Noise = Annotated[Any, TableOf(NOISES, "kind")]


def coordinates(problem: Any) -> int | None:
    """How many coordinates a ``[problem]`` table has; None for an added one that does not say."""
    if isinstance(problem, Matrix):
        return problem.rows * problem.columns * (problem.layers or 1)
    dimension: int | None = getattr(problem, "dimension", None)
    return dimension
