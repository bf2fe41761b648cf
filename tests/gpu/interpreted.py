"""Runs the GPU's kernels in triton's interpreter on the CPU: ``python -m tests.gpu.interpreted`` prints a line of JSON a case.

A process of its own: triton reads TRITON_INTERPRET when it is imported.
"""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
from triton import language as tl
from triton.runtime import interpreter

from benchmarks.gpu.kernels import Case, cases, error_of
from frugal_gpu.optim import stepping
from frugal_gpu.optim.backends import multi_tensor

BLOCK = 512
"""So that the tests' parameters have several blocks, whole ones and ends."""


def rounded_to_nearest(convert: Any) -> Any:
    """The interpreter cuts float32 to bfloat16; GPUs round to the nearest, to even at a tie, as torch does."""

    def converted(values: Any, given: Any, wanted: Any, rounding: Any) -> Any:
        if given == tl.float32 and wanted == tl.bfloat16:
            flat = torch.from_numpy(np.ascontiguousarray(values).reshape(-1).view(np.float32))
            return flat.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16).reshape(values.shape)
        return convert(values, given, wanted, rounding)

    return converted


def main() -> None:
    torch.set_num_threads(1)
    interpreter._convert_float = rounded_to_nearest(interpreter._convert_float)
    multi_tensor.BLOCK = multi_tensor.UNITS_BLOCK = BLOCK
    for case in cases():
        print(json.dumps({"case": case.name, "error": error_of(case, "cpu")}), flush=True)
    stepping.rate = lambda lr: lr  # a tensor on a CPU is as good as one on a device then
    for subspace in ("blocks", "columns"):
        error = error_of(Case(subspace, "adamw", "signsgd"), "cpu", tensor_lr=True)
        print(json.dumps({"case": f"{subspace}, α on the device", "error": error}), flush=True)


if __name__ == "__main__":
    main()
