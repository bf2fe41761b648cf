"""Horizons: the few steps k at which a long run is looked at, spread evenly in log k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["JUDGED", "horizons", "judged"]

JUDGED = 16
"""Horizons k at which figures and self-tests look at a long run."""

EVERY, RATIO = 128, 1.05
"""Trials are held against bounds at every step up to the first, and from then on at steps of this ratio."""


def horizons(steps: int, count: int = JUDGED) -> NDArray[np.int64]:
    """At most ``count`` horizons of a run of ``steps`` steps, the first and the last step among them, ascending.

    >>> horizons(2000, 5).tolist()
    [1, 7, 45, 299, 2000]
    """
    return np.unique(np.round(np.geomspace(1, steps, count)).astype(np.int64))


def judged(steps: int) -> NDArray[np.int64]:
    """The horizons at which every trial's average is kept, the last step among them, ascending.

    What lies between two of them is judged, too: k times an average of non-negative numbers up to k never falls.

    >>> judged(3).tolist(), len(judged(2000)), len(judged(10**6))
    ([1, 2, 3], 185, 312)
    """
    if steps <= EVERY:
        return np.arange(1, steps + 1)
    count = int(np.ceil(np.log(steps / EVERY) / np.log(RATIO)))
    later = np.round(np.geomspace(EVERY, steps, count + 1)).astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, EVERY + 1), later]))
