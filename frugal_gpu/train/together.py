"""What one process of a distributed run does for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["main_process", "once"]

Result = TypeVar("Result")


def main_process() -> bool:
    """Whether this is the process that speaks and writes; torchrun and accelerate launch number them."""
    return os.environ.get("RANK", "0") == "0"


def once(accelerator: Any, function: Callable[[], Result]) -> Result:
    """Call ``function`` in the main process only; every process gets what it returns, or raises what it raises.

    Both must be picklable. With one process it is a plain call.
    """
    if accelerator.num_processes == 1:
        return function()
    from torch.distributed import broadcast_object_list

    said: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            said[0] = function()
        except Exception as error:  # whatever it is, the others must not wait for ever
            said[1] = error
    broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise said[1]
    result: Result = said[0]
    return result
