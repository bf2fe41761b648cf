"""Horizons: the few steps k at which a long run is looked at, spread evenly in log k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["JUDGED", "horizons"]

JUDGED = 16
"""Horizons k at which a bound is held against its evidence."""


def horizons(steps: int, count: int = JUDGED) -> NDArray[np.int64]:
    """At most ``count`` horizons of a run of ``steps`` steps, the first and the last step among them, ascending.

    >>> horizons(2000, 5).tolist()
    [1, 7, 45, 299, 2000]
    """
    return np.unique(np.round(np.geomspace(1, steps, count)).astype(np.int64))
