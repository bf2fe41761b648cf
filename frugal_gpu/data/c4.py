"""C4's English part, streamed."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from frugal_gpu.data.source import Source, texts
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["SOURCE"]

C4 = "allenai/c4"


def _documents(_: Data, part: str) -> Iterator[str]:
    from datasets import load_dataset

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would announce each attempt to reach the network
    try:
        yield from texts(load_dataset(C4, "en", split=part, streaming=True), "text", "c4")
    except ExperimentError:
        raise
    except Exception as error:  # whatever the hub's client raises when there is no network
        reason = " ".join(str(error).split())[:200]
        raise ExperimentError(
            f'data.source = "c4": {C4} cannot be streamed ({type(error).__name__}: {reason}); it needs a network; '
            'allowed without one: "python-docs" or a local file'
        ) from error


SOURCE = Source(_documents, lambda _: C4, validation=True, endless=True)
