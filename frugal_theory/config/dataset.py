"""Data of one's own for logistic regression: a CSV or libsvm file, read once."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUNDLED", "digest", "features_of", "is_file", "read"]

Array = NDArray[np.float64]

BUNDLED = {"breast-cancer": 30, "digits": 64}
"""Number of features of the data sets that scikit-learn ships."""

SUFFIXES = (".csv", ".tsv", ".svm", ".libsvm")
"""What the name of a file of data ends with; .gz, .bz2 or .xz may stand behind the first two."""

LARGEST = 2 * 10**8
"""Numbers in a table of features, at most: 1.6 GB."""


def is_file(dataset: str) -> bool:
    """Whether this is the path of a file, not the name of a bundled data set."""
    return dataset not in BUNDLED


def features_of(dataset: str, label: str | None = None) -> int:
    """The number of features. Raises ValueError, one line, for a name or a file that is no data set."""
    return read(dataset, label)[0].shape[1] if is_file(dataset) else BUNDLED[dataset]


def read(dataset: str, label: str | None = None) -> tuple[Array, Array]:
    """Features, shape (n, d), and labels 0 or 1, shape (n,): the larger of the two values in the file is 1.

    A .csv or .tsv table has numbers under a line of names; the labels are the column ``label``, by default the last. A .svm or
    .libsvm file has a line a sample, ``label index:value …``. Raises ValueError, one line, for a file that is anything else.
    """
    path = Path(dataset)
    if path.suffix.lower() not in SUFFIXES and Path(path.stem).suffix.lower() not in SUFFIXES[:2]:
        names = ", ".join(f'"{name}"' for name in BUNDLED)
        raise ValueError(f"{dataset}: {names} are allowed, or the path of a file that ends in {', '.join(SUFFIXES)}")
    try:
        stamp = os.stat(path)
    except OSError as error:
        raise ValueError(f"{dataset}: {(error.strerror or str(error)).lower()}") from None
    if not path.is_file():
        raise ValueError(f"{dataset}: not a file")
    return _read(dataset, label, stamp.st_mtime_ns, stamp.st_size)


def digest(dataset: str) -> str:
    """A digest of what is in the file now. Raises OSError if it cannot be read."""
    stamp = os.stat(dataset)
    return _digest(dataset, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _digest(dataset: str, *_: int) -> str:
    return hashlib.sha256(Path(dataset).read_bytes()).hexdigest()


@lru_cache(maxsize=8)
def _read(dataset: str, label: str | None, *_: int) -> tuple[Array, Array]:
    sparse = Path(dataset).suffix.lower() in (".svm", ".libsvm")
    if sparse and label is not None:
        raise ValueError(f'{dataset}: label = "{label}" names a column, and a libsvm file has no names')
    features, labels = _libsvm(dataset) if sparse else _table(dataset, label)
    found = np.unique(labels)
    if len(found) != 2:
        shown = ", ".join(f"{value:g}" for value in found[:3]) + (", …" if len(found) > 3 else "")
        raise ValueError(f"{dataset}: the labels have {len(found)} values ({shown}); two are allowed")
    if not (np.isfinite(features).all() and features.shape[1]):
        raise ValueError(f"{dataset}: a feature is missing or not finite, or there is none; numbers are allowed")
    for array in (features, target := (labels == found[1]).astype(float)):
        array.flags.writeable = False
    return features, target


def _table(dataset: str, label: str | None) -> tuple[Array, Array]:
    import pandas as pd

    try:
        table = pd.read_csv(dataset, sep="\t" if ".tsv" in dataset.lower() else ",")
    except (ValueError, UnicodeError, OSError) as error:
        raise ValueError(f"{dataset}: no table: {str(error).splitlines()[0]}") from None
    if label is not None and label not in table.columns:
        raise ValueError(f'{dataset}: has no column "{label}" of labels; it has {", ".join(map(str, table.columns[:8]))}')
    labels = table.pop(label if label is not None else table.columns[-1])
    wrong = [str(name) for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    if wrong:
        raise ValueError(f'{dataset}: column "{wrong[0]}" has entries that are no numbers')
    codes = labels if pd.api.types.is_numeric_dtype(labels) else pd.Series(pd.factorize(labels, sort=True)[0])
    return np.ascontiguousarray(table.to_numpy(dtype=np.float64)), codes.to_numpy(dtype=np.float64)


def _libsvm(dataset: str) -> tuple[Array, Array]:
    from sklearn.datasets import load_svmlight_file

    try:
        features, labels = load_svmlight_file(dataset)
    except (ValueError, OSError) as error:
        raise ValueError(f"{dataset}: no libsvm file: {str(error).splitlines()[0]}") from None
    if np.prod(features.shape, dtype=float) > LARGEST:
        raise ValueError(
            f"{dataset}: {features.shape[0]} × {features.shape[1]} numbers are too many; {LARGEST:.0e} are allowed"
        )
    return features.toarray(), np.asarray(labels, dtype=np.float64)
