"""What every table of the experiment file is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "Count",
    "Decay",
    "Epsilon",
    "NonNegative",
    "NonNegatives",
    "Numbers",
    "Pair",
    "Part",
    "Positive",
    "Probability",
    "quoted",
]

SMALLEST = 2.0**-126
"""The smallest normal number of float32."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(lambda eps: eps or SMALLEST)]
"""ε of a division. 0 becomes ``SMALLEST``: the same quotients, but that 0/0 is 0."""
Pair = Annotated[tuple[Decay, Decay], Field(strict=False)]
Count = Annotated[int, Field(ge=1)]
NonNegatives = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]
Numbers = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(strict=False)]


class Part(BaseModel):
    """A table of the experiment file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def quoted(names: Iterable[object]) -> str:
    """``"a", "b"``: names as an error message lists them."""
    return ", ".join(f'"{name}"' for name in names)
