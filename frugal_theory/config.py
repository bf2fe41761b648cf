"""The experiment file: what it may say, and how it is read.

One TOML file describes one :class:`Experiment`. Its ``[algorithm]`` table is read by both engines,
``frugal_theory`` (NumPy) and ``frugal_gpu`` (PyTorch). Everything here is frozen: an override makes a
new experiment, it never edits one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "DIMENSIONS",
    "AdamW",
    "Algorithm",
    "Case",
    "Data",
    "Experiment",
    "FractionOfAdmissible",
    "Lion",
    "Model",
    "Noise",
    "Problem",
    "Sgdm",
    "Simulation",
    "StateFree",
    "Training",
    "Verify",
]

DIMENSIONS = {"breast-cancer": 30, "digits": 64}
"""Number of features of the bundled data sets that logistic regression runs on."""

UNIT_SUBSPACES = ("coordinates", "blocks", "columns", "rows", "randk")
"""Subspaces spanned by coordinates: a unit (coordinate, block, column, row) is in the set or not."""

BASIS_SUBSPACES = ("random", "svd", "eigen")
"""Subspaces spanned by an orthonormal basis that need not be aligned with the coordinates."""

MATRIX_SUBSPACES = ("columns", "rows", "svd")
"""Subspaces that only a matrix has."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Pair = Annotated[tuple[Decay, Decay], Field(strict=False)]
Count = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """A table of the experiment file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- [algorithm] -------------------------------------------------------------------------------------


class Sgdm(Part):
    """SGD with momentum, m ← βm + (1−β)g, update m."""

    rule: Literal["sgdm"] = "sgdm"
    beta: Decay = 0.9


class AdamW(Part):
    """Adam with bias correction; its decoupled weight decay is ``algorithm.weight_decay``."""

    rule: Literal["adamw"] = "adamw"
    betas: Pair = (0.9, 0.999)
    eps: Positive = 1e-8


class Lion(Part):
    """Lion: update sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g."""

    rule: Literal["lion"] = "lion"
    betas: Pair = (0.9, 0.99)


StateFull = Annotated[Sgdm | AdamW | Lion, Field(discriminator="rule")]


class StateFree(Part):
    """The rule of the residual: the gradient, its sign, or nothing; times ``lr_scale``."""

    rule: Literal["sgd", "signsgd", "none"] = "signsgd"
    lr_scale: NonNegative = 1.0


class FractionOfAdmissible(Part):
    """A learning rate given as a share of the largest step that the experiment's theorems admit."""

    fraction_of_admissible: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _rule_table(value: object) -> object:
    """``"adamw"`` is short for ``{ rule = "adamw" }``."""
    return {"rule": value} if isinstance(value, str) else value


class Algorithm(Part):
    """Algorithm 1 of FRUGAL (arXiv 2411.07837): everything both engines need to run it."""

    learning_rate: Positive | FractionOfAdmissible = 1e-3
    density: Probability = 0.25
    update_gap: Count = 200
    subspace: Literal["coordinates", "blocks", "columns", "rows", "randk", "random", "svd", "eigen"] = "blocks"
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    sampling: Literal["independent", "fixed_size"] = "independent"
    order: Literal["random", "ascending", "descending", "mirror"] = "random"
    state_full: StateFull = AdamW()
    state_free: StateFree = StateFree()
    on_update: Literal["reset", "keep", "project"] = "reset"
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    weight_decay: NonNegative = 0.0
    embeddings: Literal["state_full", "split", "state_free"] = "state_full"
    norms: Literal["state_full", "split", "state_free"] = "state_full"
    output: Literal["state_full", "split", "state_free"] = "state_full"
    seed: int | None = None

    _tables = field_validator("state_full", "state_free", mode="before")(_rule_table)

    @model_validator(mode="after")
    def _combinations(self) -> Algorithm:
        if self.set is not None:
            if self.subspace != "coordinates":
                raise ValueError(
                    f'set = [...] is a set of coordinates; subspace is "{self.subspace}", "coordinates" is allowed'
                )
            if len(set(self.set)) != len(self.set):
                raise ValueError("set names a coordinate twice")
        if self.off_set_momentum != "reset" and self.subspace in BASIS_SUBSPACES:
            raise ValueError(
                f'off_set_momentum = "{self.off_set_momentum}" needs units that leave and enter: '
                f'subspace is "{self.subspace}", {quoted(UNIT_SUBSPACES)} are allowed'
            )
        return self


# --- [problem] and [noise] ---------------------------------------------------------------------------

NonNegatives = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]
Numbers = Annotated[tuple[float, ...], Field(strict=False)]
Start = Literal["normal", "ones"] | Numbers


class Quadratic(Part):
    """f(x) = ½ Σ λ_i ⟨v_i, x⟩², V the identity or a random rotation."""

    kind: Literal["quadratic"] = "quadratic"
    dimension: Count = 100
    spectrum: Literal["power", "uniform", "two-level"] = "power"
    exponent: NonNegative = 1.0
    condition: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 100.0
    smoothness: Positive = 1.0
    eigenvalues: NonNegatives | None = None
    rotated: bool = False
    start: Start = "normal"
    blocks: Count | None = None

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
        _check_start(self.start, self.dimension)
        return self


class Logistic(Part):
    """ℓ2-regularised logistic regression on data that scikit-learn ships."""

    kind: Literal["logistic"] = "logistic"
    dataset: Literal["breast-cancer", "digits"] = "breast-cancer"
    l2: NonNegative = 0.01
    start: Start = "normal"
    blocks: Count | None = None

    @property
    def dimension(self) -> int:
        """Number of features."""
        return DIMENSIONS[self.dataset]

    @model_validator(mode="after")
    def _lengths(self) -> Logistic:
        _check_start(self.start, self.dimension)
        return self


class Nonconvex(Part):
    """Robust regression with the Geman–McClure loss: smooth, not convex, globally Lipschitz gradient."""

    kind: Literal["nonconvex"] = "nonconvex"
    dimension: Count = 20
    samples: Count = 100
    start: Start = "normal"
    blocks: Count | None = None

    @model_validator(mode="after")
    def _lengths(self) -> Nonconvex:
        _check_start(self.start, self.dimension)
        return self


class Matrix(Part):
    """½ Σ_l ‖A_l W_l B_l − C_l‖² in one or several matrices W_l."""

    kind: Literal["matrix"] = "matrix"
    rows: Count = 6
    columns: Count = 5
    condition: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 10.0
    layers: Count | None = None
    start: Literal["normal", "ones"] = "normal"


Problem = Annotated[Quadratic | Logistic | Nonconvex | Matrix, Field(discriminator="kind")]


class NoNoise(Part):
    """The gradient itself."""

    kind: Literal["none"] = "none"


class GaussianNoise(Part):
    """Normal noise with standard deviation sigma (one for all coordinates, or one for each)."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: NonNegative | NonNegatives = 0.1


class StudentNoise(Part):
    """sigma · t_ν: sigma is the *scale*; the variance is sigma²ν/(ν−2) for ν > 2 and infinite otherwise."""

    kind: Literal["student-t"] = "student-t"
    degrees_of_freedom: Positive = 3.0
    sigma: NonNegative | NonNegatives = 0.1


class MinibatchNoise(Part):
    """The gradient of a batch drawn with replacement from the problem's data."""

    kind: Literal["minibatch"] = "minibatch"
    batch_size: Count = 8


Noise = Annotated[NoNoise | GaussianNoise | StudentNoise | MinibatchNoise, Field(discriminator="kind")]


def _check_start(start: object, dimension: int) -> None:
    if isinstance(start, tuple) and len(start) != dimension:
        raise ValueError(f"start has {len(start)} entries, the problem has dimension {dimension}; they must agree")


# --- [simulation], [verify] --------------------------------------------------------------------------


class Simulation(Part):
    """How much Monte Carlo evidence to gather."""

    steps: Count = 1000
    trials: Count = 128


class Verify(Part):
    """Which theorems to judge, and the family-wise confidence of all the verdicts together."""

    theorems: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("sgd", "sgdm", "run_length", "theorem_5_2")
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.99


# --- [model], [data], [training] ---------------------------------------------------------------------

Preset = Literal[
    "llama-tiny",
    "llama-9m",
    "llama-20m",
    "llama-35m",
    "llama-40m",
    "llama-60m",
    "llama-71m",
    "llama-100m",
    "llama-130m",
    "llama-250m",
    "llama-350m",
    "llama-1b",
    "llama-3b",
    "llama-7b",
]


class Model(Part):
    """A LLaMA by preset name; any of its sizes may be set apart. ``vocabulary`` has at least 256 bytes and a separator."""

    preset: Preset = "llama-9m"
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    initializer_range: Positive = 0.02


class Data(Part):
    """Text to train on: Python's own documentation, a local file or folder, or C4 through ``datasets``.

    ``source`` is "python-docs", "c4", or a path (relative to the working folder) that ends in .txt, .jsonl or .parquet,
    or a folder of such files. ``tokenizer`` is the path of a tokenizer.json; without it one is trained on the text.
    """

    source: Annotated[str, Field(min_length=1)] = "python-docs"
    text_field: Annotated[str, Field(min_length=1)] = "text"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    tokenizer: Annotated[str, Field(min_length=1)] | None = None


class Training(Part):
    """The training run. ``learning_rate`` replaces the algorithm's, whose scale is the theory problem's.

    ``batch_size`` counts the sequences of one step, over all devices and micro-batches: ``accumulation`` (micro-batches
    a step) and the number of devices change speed and memory, not the result. ``warmup_steps`` is a tenth of the run by
    default, ``final_learning_rate`` a share of the peak. ``evaluation_tokens`` caps the validation tokens of one evaluation.
    """

    steps: Count = 1000
    learning_rate: Positive | None = None
    batch_size: Count = 16
    sequence_length: Annotated[int, Field(ge=2)] = 256
    accumulation: Count = 1
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    final_learning_rate: Probability = 0.1
    max_gradient_norm: Positive | None = None
    precision: Literal["float32", "bf16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    evaluate_every: Count = 100
    evaluation_tokens: Count | None = None
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 2
    activation_checkpointing: bool = False

    @property
    def warmup(self) -> int:
        """Steps of linear warm-up: ``warmup_steps``, or a tenth of the run."""
        return self.steps // 10 if self.warmup_steps is None else self.warmup_steps

    @model_validator(mode="after")
    def _combinations(self) -> Training:
        if self.warmup > self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, steps is {self.steps}; warmup_steps <= steps is allowed")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size is {self.batch_size}, accumulation is {self.accumulation}; "
                f"a batch is cut into equal micro-batches: a divisor of {self.batch_size} is allowed"
            )
        return self


class Case(BaseModel):
    """One named variation of the experiment: the tables it replaces."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, Field(min_length=1)]


class Experiment(Part):
    """The validated contents of one experiment file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0)] = 0
    algorithm: Algorithm = Algorithm()
    problem: Problem | None = None
    noise: Noise = NoNoise()
    simulation: Simulation = Simulation()
    verify: Verify = Verify()
    model: Model | None = None
    data: Data = Data()
    training: Training | None = None
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    cases: list[Case] = Field(default_factory=list)

    @model_validator(mode="after")
    def _algorithm_seed(self) -> Experiment:
        """``algorithm.seed`` defaults to the experiment's: both engines then draw the same subspaces."""
        if self.algorithm.seed is None:
            object.__setattr__(self, "algorithm", self.algorithm.model_copy(update={"seed": self.seed}))
        return self

    @model_validator(mode="after")
    def _combinations(self) -> Experiment:
        if self.problem is not None:
            _check_subspace(self.algorithm, self.problem)
            _check_noise(self.noise, self.problem)
        return self


def quoted(names: Any) -> str:
    """``"a", "b"``: names as an error message lists them."""
    return ", ".join(f'"{name}"' for name in names)


def _check_subspace(algorithm: Algorithm, problem: Any) -> None:
    subspace, vector = algorithm.subspace, not isinstance(problem, Matrix)
    if vector and subspace in MATRIX_SUBSPACES:
        allowed = quoted(("coordinates", "blocks", "randk", "random") + (("eigen",) if isinstance(problem, Quadratic) else ()))
        raise ValueError(
            f'algorithm.subspace = "{subspace}" needs a matrix, and problem.kind = "{problem.kind}" is a vector; '
            f'{allowed} are allowed, or problem.kind = "matrix"'
        )
    if subspace == "eigen" and not isinstance(problem, Quadratic):
        raise ValueError(f'algorithm.subspace = "eigen" needs problem.kind = "quadratic"; it is "{problem.kind}"')
    if algorithm.set is not None:
        dimension = problem.dimension if vector else problem.rows * problem.columns * (problem.layers or 1)
        outside = [j for j in algorithm.set if j >= dimension]
        if outside:
            raise ValueError(f"algorithm.set names coordinate {outside[0]}; the problem has coordinates 0 to {dimension - 1}")
    if vector and problem.blocks is not None and problem.blocks > problem.dimension:
        raise ValueError(f"problem.blocks = {problem.blocks} is more than the problem's dimension {problem.dimension}")
    parts = problem.blocks if vector else problem.layers
    if subspace == "blocks" and parts == 1 and 0 < algorithm.density < 1:
        raise ValueError(f'algorithm.subspace = "blocks" needs problem.{"blocks" if vector else "layers"} >= 2; it is 1')


def _check_noise(noise: Any, problem: Any) -> None:
    if isinstance(noise, MinibatchNoise) and not isinstance(problem, (Logistic, Nonconvex)):
        raise ValueError(
            'noise.kind = "minibatch" needs a problem made of samples ("logistic", "nonconvex"); '
            f'problem.kind is "{problem.kind}"'
        )
    sigma = getattr(noise, "sigma", None)
    if isinstance(sigma, tuple):
        dimension = problem.rows * problem.columns * (problem.layers or 1) if isinstance(problem, Matrix) else problem.dimension
        if len(sigma) != dimension:
            raise ValueError(f"noise.sigma has {len(sigma)} entries, the problem has {dimension} coordinates; they must agree")
