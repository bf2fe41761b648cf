"""Families of instances: a method whose numbers are free, on functions and noise whose numbers are free.

A theorem is attacked with every family that it covers, so one that is added is attacked without a word here. What a theorem
needs that no family has is added as a family.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """A method, and what it is tried on.

    ``table``: keys of ``[algorithm]``. ``dimension``: of f. ``free``: which of the method's numbers are searched: "beta",
    "betas" (of Adam), "density", "update_gap", "scale" (the state-free ``lr_scale``), "decay" (of the weights). ``noise``:
    "two-point", "gauss" (two-point on the set, that of Gauss's inequality where a sign is seen) or "none". ``rotated``: whether
    the directions along which f is separable are searched, too. ``together``: one noise for all coordinates, or one each.
    ``quadratic``: f = ½Σλ_jx_j² alone. ``blocks``: parameters that x is cut into, or the shape of the matrix that it is.
    ``shape``: of f, "any", "convex" (strongly), or "bounded" (its gradient).
    """

    name: str
    table: dict[str, Any] = field(hash=False)
    dimension: int = 1
    free: tuple[str, ...] = ()
    noise: str = "two-point"
    rotated: bool = False
    together: bool = True
    quadratic: bool = False
    blocks: int | tuple[int, int] = 1
    shape: str = "any"


_SGDM = {"state_full": "sgdm", "state_free": "sgd"}
_ALONE = {"state_full": "sgdm", "state_free": "none"}
_SIGNS = {"state_full": "sgdm", "state_free": "signsgd"}
_COORDINATES = {"subspace": "coordinates"}
_TURN = {"subspace": "blocks", "order": "ascending", "density": 0.5}
_DRAWN = ("beta", "density", "update_gap")


def _families() -> list[Family]:
    two: dict[str, Any] = {"dimension": 2, "rotated": True}
    found = [
        Family("SGD", _COORDINATES | _SGDM | {"density": 0.0}, free=("scale",)),
        Family("SGD in the plane", _COORDINATES | _SGDM | {"density": 0.0}, free=("scale",), **two),
        Family("SGDM", _COORDINATES | _SGDM | {"density": 1.0}, free=("beta",)),
        Family("momentum on a direction of a quadratic", _SGDM | {"subspace": "eigen", "density": 0.5}, 2, ("beta", "scale")),
    ]
    found[-1] = Family(**{**found[-1].__dict__, "noise": "none", "quadratic": True})
    for rules, word in ((_SGDM, "SGD off it"), (_ALONE, "nothing off it")):
        scale = ("scale",) if rules is _SGDM else ()
        found += [
            Family(
                f"a set of one coordinate of two, {word}", _COORDINATES | rules | {"set": (0,)}, free=("beta", *scale), **two
            ),
            Family(f"a coordinate that is drawn, {word}", _COORDINATES | rules, free=(*_DRAWN, *scale)),
            Family(
                f"one of two coordinates drawn, {word}",
                _COORDINATES | rules | {"sampling": "fixed_size", "density": 0.5},
                free=("beta", "update_gap", *scale),
                **two,
            ),
            Family(f"two blocks in turn, {word}", _TURN | rules, free=("beta", "update_gap", *scale), blocks=2, **two),
        ]
        for noise, together in (("one noise", True), ("independent noise", False)):
            kind: dict[str, Any] = two | {"together": together}
            found += [
                Family(
                    f"a fixed direction, {word}, {noise}",
                    rules | {"subspace": "eigen", "density": 0.5},
                    free=("beta", *scale),
                    **kind,
                ),
                Family(
                    f"a random direction, {word}, {noise}",
                    rules | {"subspace": "random", "density": 0.5},
                    free=("beta", "update_gap", *scale),
                    **kind,
                ),
            ]
    svd: dict[str, Any] = {"subspace": "svd", "density": 0.5, "update_gap": 1}
    found += [
        Family("the leading singular vector of two, SGD off it", svd | _SGDM, 4, ("beta", "scale"), blocks=(2, 2)),
        Family("the leading singular vector of two, nothing off it", svd | _ALONE, 4, ("beta",), blocks=(2, 2)),
    ]
    adam: dict[str, Any] = {"state_full": "adamw", "state_free": "signsgd"}
    plain: dict[str, Any] = {"state_full": "adamw", "state_free": "sgd"}
    found += [
        Family("SGDM on a strongly convex f", _COORDINATES | _SGDM | {"density": 1.0}, free=("beta",), shape="convex"),
        Family("SGD with weight decay", _COORDINATES | _SGDM | {"density": 0.0}, free=("decay",)),
        Family("Adagrad", _COORDINATES | {"state_full": "adagrad", "state_free": "sgd", "density": 1.0}, shape="bounded"),
        Family("Lion", _COORDINATES | {"state_full": "lion", "state_free": "sgd", "density": 1.0}),
        Family(
            "a coordinate that is drawn for Lion, signSGD off it",
            _COORDINATES | {"state_full": "lion", "state_free": "signsgd"},
            free=("density", "update_gap", "scale"),
        ),
        Family("Adam", _COORDINATES | adam | {"density": 1.0}, free=("betas",), shape="bounded"),
        Family(
            "a coordinate that is drawn for Adam, signSGD off it",
            _COORDINATES | adam,
            free=("betas", "density", "update_gap", "scale"),
            shape="bounded",
        ),
        Family(
            "a coordinate that is drawn for Adam, SGD off it",
            _COORDINATES | plain,
            free=("betas", "density", "update_gap", "scale"),
            shape="bounded",
        ),
    ]
    for noise in ("two-point", "gauss"):
        word = ", two-point noise" if noise == "two-point" else ", noise of Gauss's inequality"
        kind = {"noise": noise}
        found += [
            Family(f"signSGD{word}", _COORDINATES | _SIGNS | {"density": 0.0}, free=("scale",), **kind),
            Family(f"signSGD in the plane{word}", _COORDINATES | _SIGNS | {"density": 0.0}, 2, ("scale",), **kind),
            Family(
                f"a set of one coordinate of two, signSGD off it{word}",
                _COORDINATES | _SIGNS | {"set": (0,)},
                free=("beta", "scale"),
                **two,
                **kind,
            ),
            Family(f"a coordinate that is drawn, signSGD off it{word}", _COORDINATES | _SIGNS, free=(*_DRAWN, "scale"), **kind),
            Family(
                f"two blocks in turn, signSGD off it{word}",
                _TURN | _SIGNS,
                free=("beta", "update_gap", "scale"),
                blocks=2,
                **two,
                **kind,
            ),
        ]
    return found


FAMILIES: dict[str, Family] = {family.name: family for family in _families()}
"""By name."""
