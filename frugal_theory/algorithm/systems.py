"""Systems: the optimizers that are named settings of the algorithm's keys, each with the defaults of its paper.

Equations are of one m×n matrix with gradient G: R = P(G) is what the subspace shows of it, U its orthonormal directions, S what
is left, m and v moving averages, a hat their bias correction, c = √(1−β₂ᵗ)/(1−β₁ᵗ). The step is W ← (1 − αλ)W − α·scale·u.
"""

from __future__ import annotations

import math
from typing import Any

from frugal_theory.config.systems import System

__all__ = ["NEVER"]

NEVER = 10**12
"""An update gap that no run reaches: the set of the first period is there for good."""

_ROLES = ("embeddings", "norms", "biases", "output")
_ADAM = ("state_full.betas", "state_full.eps")
_BASIS = ("density", "rank", "update_gap", "side", "projector", "refresh", "experts", "on_update", "split_lr_scale")
_BLOCKS = ("density", "order", "blocks", "update_gap", "split_lr_scale")


def _rest(table: dict[str, Any] | str) -> dict[str, Any]:
    """What is not split, all of it treated alike."""
    return dict.fromkeys(_ROLES, table)


FRUGAL = System(
    "frugal",
    "FRUGAL",
    r"u = P^{-1}\,\mathrm{full}(PG) + \mathrm{free}(G - P^{-1}PG)",
    "Zmushko et al., ICML 2025, arXiv 2411.07837, Algorithm 1",
)

GALORE = System(
    "galore",
    "GaLore",
    r"u = U\,\frac{\hat m}{\sqrt{\hat v} + \varepsilon},\quad m, v \text{ of } R = U^\top G",
    "Zhao et al. 2024, arXiv 2403.03507",
    {
        "subspace": "svd",
        "state_full": {"rule": "adamw"},
        "state_free": {"rule": "none"},
        "density": 0.25,
        "update_gap": 200,
        "on_update": "keep",
        "learning_rate": 0.01,
        "split_lr_scale": 0.25,
    },
    (*_BASIS, *_ADAM, "weight_decay", *_ROLES),
)

BADAM = System(
    "badam",
    "BAdam",
    r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon} \text{ on the active block, nothing elsewhere}",
    "Luo, Yu & Li 2024, arXiv 2404.02827",
    {
        "subspace": "blocks",
        "blocks": "layer",
        "order": "descending",
        "state_full": {"rule": "adamw"},
        "state_free": {"rule": "none"},
        "density": 0.25,
        "update_gap": 100,
    },
    (*_BLOCKS, *_ADAM, "weight_decay", *_ROLES),
)

FIRA = System(
    "fira",
    "Fira",
    r"u = c\left(U\,\frac{m}{\sqrt v + \varepsilon} + \frac{\varphi \circ S}{\ell}\right),\quad "
    r"\varphi_j = \frac{\lVert m_j/(\sqrt{v_j} + \varepsilon)\rVert}{\lVert R_j\rVert + 10^{-8}},\quad "
    r"\ell = \max\left(\frac{\lVert\varphi\circ S\rVert}{1.01\,(n + 10^{-8})}, 1\right)",
    "Chen et al. 2024, arXiv 2410.01623, Algorithm 1",
    {
        "subspace": "svd",
        "state_full": {"rule": "adamw_early_eps", "eps": 1e-6},
        "state_free": {"rule": "like_full", "by": "channel", "limit": 1.01},
        "density": 0.25,
        "update_gap": 200,
        "on_update": "keep",
        "learning_rate": 0.01,
        "split_lr_scale": 0.25,
    },
    (*_BASIS, *_ADAM, "state_free.limit", "weight_decay", *_ROLES),
)

ADAMEM = System(
    "adamem",
    "AdaMeM",
    r"u = U\,\frac{\hat m}{\sqrt{\hat V} + \varepsilon} + \delta\,\frac{S_{ij}}{\sqrt{\hat s_i} + \varepsilon},\quad "
    r"V = \frac{r c^\top}{\mathrm{mean}(r)},\ r, c \text{ of } m^2,\ s_i \text{ of } \mathrm{mean}_j S_{ij}^2",
    "the authors' answer to the reviews of arXiv 2411.07837 (Table 2′)",
    {
        "subspace": "svd",
        "state_full": {"rule": "adafactor", "betas": [0.9, 0.999], "eps": 1e-6, "second_moment": "momentum"},
        "state_free": {"rule": "one_sided", "beta": 0.999, "eps": 1e-6, "lr_scale": 1.0},
        "density": 0.25,
        "update_gap": 200,
        "on_update": "keep",
    },
    (
        *_BASIS,
        *_ADAM,
        "state_full.second_moment",
        "state_free.beta",
        "state_free.eps",
        "state_free.lr_scale",
        "weight_decay",
        *_ROLES,
    ),
)

ADALAYER = System(
    "adalayer",
    "AdaLayer",
    r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon},\quad v \text{ of } \mathrm{mean}_{ij}\,G_{ij}^2 "
    r"\text{ (of the output head: } \mathrm{mean}_j\,G_{ij}^2)",
    "Zhao et al. 2024, arXiv 2407.07972, Algorithm 1",
    {
        "density": 1.0,
        "state_full": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15},
        "output": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "by": "row"},
    },
    (*_ADAM, "state_full.by", "weight_decay", *_ROLES),
)

ADALAYER_SGDM = System(
    "adalayer-sgdm",
    "AdaLayer's SGDM",
    r"u = 0 \text{ for } t \le w, \text{ then } \frac{\hat m}{\sqrt v + \varepsilon},\quad "
    r"v = \frac1w\sum_{t\le w}\mathrm{mean}_{ij}\,G_{ij}^2 \text{ (norms and head: AdaLayer)}",
    "Zhao et al. 2024, arXiv 2407.07972, Section 3.2",
    {
        "density": 1.0,
        "state_full": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "warm": 1000, "frozen": True},
        "norms": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "warm": 1000},
        "output": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "by": "row", "warm": 1000},
    },
    (*_ADAM, "state_full.warm", *_ROLES),
)

ADALAYER_SIGNSGD = System(
    "adalayer-signsgd",
    "AdaLayer's signSGD",
    r"u = 0 \text{ for } t \le w, \text{ then } \mathrm{sign}(G) \text{ (norms and head: AdaLayer)}",
    "the authors' answer to the reviews of arXiv 2411.07837 (Table 4′), on Section 3.2 of arXiv 2407.07972",
    {
        "density": 0.0,
        "state_free": {"rule": "late_sign", "after": 1000},
        **_rest("state_free"),
        "norms": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "warm": 1000},
        "output": {"rule": "adalayer", "betas": [0.9, 0.95], "eps": 1e-15, "by": "row", "warm": 1000},
    },
    ("state_free.after", "state_free.lr_scale", *_ROLES),
)

APOLLO = System(
    "apollo",
    "APOLLO",
    r"u = c\,\frac{\varphi \circ G}{\ell},\quad "
    r"\varphi_j = \frac{\lVert \hat m_j/(\sqrt{\hat v_j} + \varepsilon)\rVert}{c\,(\lVert R_j\rVert + 10^{-8})},\quad "
    r"R = P^\top G,\ P_{ik}\sim\mathcal N(0, 1/r)",
    "Zhu et al. 2024, arXiv 2412.05270",
    {
        "subspace": "gaussian",
        "state_full": {"rule": "adamw"},
        "state_free": {"rule": "like_full", "by": "channel", "limit": 1.01, "lr_scale": 1.0},
        "density": 0.25,
        "update_gap": 200,
        "on_update": "keep",
        "learning_rate": 0.01,
    },
    (*_BASIS, *_ADAM, "state_free.limit", "state_free.lr_scale", "weight_decay", *_ROLES),
)

APOLLO_MINI = System(
    "apollo-mini",
    "APOLLO-mini",
    r"u = c\,\sqrt{128}\,\frac{\varphi\,G}{\ell},\quad "
    r"\varphi = \frac{\lVert \hat m/(\sqrt{\hat v} + \varepsilon)\rVert}{c\,(\lVert R\rVert + 10^{-8})},\quad "
    r"R = p^\top G,\ p_i\sim\mathcal N(0, 1)",
    "Zhu et al. 2024, arXiv 2412.05270",
    {
        **{key: value for key, value in APOLLO.defaults.items() if key != "density"},
        "state_free": {"rule": "like_full", "by": "tensor", "limit": 1.01, "lr_scale": math.sqrt(128)},
        "rank": 1,
    },
    APOLLO.accepts,
)

LDADAM = System(
    "ldadam",
    "LDAdam",
    r"u = U\,\frac{\hat m}{\sqrt{\hat v} + \varepsilon},\quad U = \mathrm{orth}(BB^\top U^-),\ "
    r"B = \rho\,U^-\hat m^- + (1-\rho)(G + E),\quad m, v, E \text{ carried along}",
    "Robert et al. 2024, arXiv 2410.16103",
    {
        "density": 1.0,
        "state_full": {"rule": "ldadam", "rank": 16, "betas": [0.908, 0.99], "eps": 1e-8, "rho": 0.908},
        **_rest({"rule": "adamw", "betas": [0.908, 0.99], "eps": 1e-8}),
    },
    (*_ADAM, "state_full.rank", "state_full.rho", "split_lr_scale", "weight_decay", *_ROLES),
)

MUON = System(
    "muon",
    "Muon",
    r"u = \sqrt{\max(1, m/n)}\;\mathrm{NS}_5\left(\mu M + (1-\mu)G\right),\quad M \leftarrow \mu M + (1-\mu)G",
    "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    {
        "density": 1.0,
        "state_full": {"rule": "muon", "beta": 0.95, "steps": 5},
        **_rest({"rule": "adamw"}),
        "split_lr_scale": 20.0,
    },
    ("state_full.beta", "state_full.steps", "state_full.eps", "split_lr_scale", "weight_decay", *_ROLES),
)

ADAMW = System(
    "adamw",
    "AdamW",
    r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon}",
    "Loshchilov & Hutter 2019, arXiv 1711.05101",
    {"density": 1.0, "state_full": {"rule": "adamw"}},
    (*_ADAM, "weight_decay", *_ROLES),
)

_FIXED = {
    "subspace": "blocks",
    "blocks": "layer",
    "state_full": {"rule": "adamw"},
    "state_free": {"rule": "none"},
    "density": 0.25,
    "update_gap": NEVER,
}

ADAMW_FIRST = System(
    "adamw-first",
    "AdamW on the first layers",
    r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon} \text{ on the first } \rho \text{ of the layers, nothing on the rest}",
    "the authors' answer to the reviews of arXiv 2411.07837 (Table 3′)",
    {**_FIXED, "order": "ascending"},
    ("density", "blocks", *_ADAM, "weight_decay", *_ROLES),
)

ADAMW_LAST = System(
    "adamw-last",
    "AdamW on the last layers",
    r"u = \frac{\hat m}{\sqrt{\hat v} + \varepsilon} \text{ on the last } \rho \text{ of the layers, nothing on the rest}",
    "the authors' answer to the reviews of arXiv 2411.07837 (Table 3′)",
    {**_FIXED, "order": "descending"},
    ("density", "blocks", *_ADAM, "weight_decay", *_ROLES),
)

LION = System(
    "lion",
    "Lion",
    r"u = \mathrm{sign}(\beta_1 m + (1-\beta_1)G),\quad m \leftarrow \beta_2 m + (1-\beta_2)G",
    "Chen et al. 2023, arXiv 2302.06675",
    {"density": 1.0, "state_full": {"rule": "lion", "betas": [0.9, 0.99]}, "learning_rate": 1e-4},
    ("state_full.betas", "weight_decay", *_ROLES),
)

SGDM = System(
    "sgdm",
    "SGDM",
    r"u = m,\quad m \leftarrow \beta m + (1-\beta)G",
    "Polyak 1964, in the form of arXiv 2411.07837, Algorithm 2",
    {"density": 1.0, "state_full": {"rule": "sgdm", "beta": 0.9}, "learning_rate": 0.1},
    ("state_full", "weight_decay", *_ROLES),
)

SGD = System(
    "sgd",
    "SGD",
    r"u = G",
    "Robbins & Monro 1951",
    {"density": 0.0, "state_free": {"rule": "sgd"}, **_rest("state_free"), "learning_rate": 0.1},
    ("state_free.lr_scale", "weight_decay", *_ROLES),
)

SIGNSGD = System(
    "signsgd",
    "signSGD",
    r"u = \mathrm{sign}(G)",
    "Bernstein et al. 2018, arXiv 1802.04434",
    {"density": 0.0, "state_free": {"rule": "signsgd"}, **_rest("state_free"), "learning_rate": 1e-4},
    ("state_free.lr_scale", "weight_decay", *_ROLES),
)
