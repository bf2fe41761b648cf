"""Whether the kernels are right and fast on the GPU that is there, in under a minute: ``python -m benchmarks.gpu.smoke``.

Parts are tried one by one, and what breaks is printed whole, so one call tells all that is wrong. ``GPU_TINY=1``, or a machine
without a GPU, tries the code on a tiny model.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu import kernels
from benchmarks.gpu.optimizers import FUSED, model_with_gradients, optimizers
from benchmarks.gpu.place import Deadline, device, machine, markdown, on_gpu, sentence, wait
from benchmarks.gpu.steps import Busy, alone, copied_bytes_a_second
from frugal_gpu.optim.backends import MULTI_TENSOR, multi_tensor
from frugal_gpu.optim.state import state_bytes_held

NAMES = (FUSED, "FRUGAL blocks", "FRUGAL columns", "FRUGAL randk", "FRUGAL random", "FRUGAL ρ = 0", "signSGD everywhere")
PROCESSES = 6
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-7}
ROUNDS = 9

TABLE = {
    **{"optimizer": "optimizer", "host ms": "host, ms", "alone ms": "alone, ms", "queued ms": "queued, ms"},
    **{"ratio": "queued × fused", "floor ms": "floor, ms", "share": "share of copy", "first ms": "first step, ms"},
}


def main() -> int:
    """Exit status 1 where a kernel is wrong or a part broke."""
    if "--cases" in sys.argv:
        return _cases(int(sys.argv[-1]))
    tiny = os.environ.get("GPU_TINY") == "1" or device().type == "cpu"
    deadline = Deadline(600 if tiny else 75)
    print(sentence(machine()), "| triton:", MULTI_TENSOR.missing() or "there", flush=True)
    broken = 0
    parts: list[tuple[str, Callable[[], object]]] = [("parity, waiting and graphs", _parity)]
    parts += [(f"step times, {preset}", lambda p=preset: _times(p)) for preset in _presets(tiny)]
    parts += [
        ("top of a profile", lambda: _profile(_presets(tiny)[0])),
        ("blocks and warps", lambda: _tuned(_presets(tiny)[-1])),
    ]
    for name, part in parts:
        if deadline.left < 0:
            print(f"\n## {name}: no time left", flush=True)
            continue
        print(f"\n## {name}", flush=True)
        try:
            broken += bool(part())
        except Exception:
            broken += 1
            traceback.print_exc(file=sys.stdout)
        gc.collect()
        if on_gpu(device()):
            torch.cuda.empty_cache()
        print(f"({deadline.used:.1f} s)", flush=True)
    return min(broken, 1)


def _presets(tiny: bool) -> tuple[str, ...]:
    return ("llama-tiny",) if tiny else ("llama-60m", "llama-1b")


def _parity() -> bool:
    """Every case in one of some processes, since each compiles kernels of its own."""
    if MULTI_TENSOR.missing():
        print(f"no kernels here: {MULTI_TENSOR.missing()}", flush=True)
        return False
    command = [sys.executable, "-m", "benchmarks.gpu.smoke", "--cases"]
    started = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(PROCESSES)
    ]
    for process in started:
        print(process.communicate()[0], end="", flush=True)
    return any(process.returncode != 0 for process in started)


def _cases(share: int) -> int:
    """This share of the cases; exit status 1 where one fails."""
    place, failed = device().type, 0
    work: list[tuple[str, Callable[[], float], float]] = []
    for case in kernels.cases():
        work.append((f"parity {case.name}", lambda c=case: kernels.error_of(c, place), TOLERANCES[case.dtype]))
    for subspace in ("blocks", "columns", "rows", "randk", "random") if place == "cuda" else ():
        case = kernels.Case(subspace, "adamw", "signsgd")
        work.append((f"α on the device {case.name}", lambda c=case: kernels.error_of(c, place, True), TOLERANCES[case.dtype]))
        work.append((f"no waiting {case.name}", lambda c=case: _zero(kernels.ordinary_steps_without_waiting(c)), 0.0))
        work.append((f"graph {case.name}", lambda c=case: kernels.graph_against_eager(c), 0.0))
    for name, error, most in work[share::PROCESSES]:
        try:
            found = error()
            good = found <= most
            failed += not good
            print(f"{'pass' if good else 'FAIL'}  {found:9.2e}  {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()[-2500:]}", flush=True)
    return min(failed, 1)


def _zero(_: None) -> float:
    return 0.0


def _times(preset: str) -> None:
    """Host time to launch a step, and the device's alone and queued, of one optimizer after another."""
    place = device()
    begin = time.perf_counter()
    model = model_with_gradients(preset, place)
    size = sum(x.numel() for x in model.parameters())
    bandwidth, busy = copied_bytes_a_second(place), Busy(place)
    print(
        f"{size / 1e6:.0f} M numbers, copy {bandwidth / 1e12:.2f} TB/s, model {time.perf_counter() - begin:.1f} s", flush=True
    )
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        try:
            rows.append(_row(name, model, size, bandwidth, busy, rows))
        except Exception:
            print(f"{name}:\n{traceback.format_exc()[-2500:]}", flush=True)
        gc.collect()
        if on_gpu(place):
            torch.cuda.empty_cache()
    print(markdown(rows, TABLE), flush=True)


def _row(name: str, model: nn.Module, size: int, bandwidth: float, busy: Busy, rows: list[dict[str, Any]]) -> dict[str, Any]:
    place = device()
    optimizer = optimizers(10**6)[name](model)
    first = alone(optimizer.step, place)
    for _ in range(3):
        alone(optimizer.step, place)
    by_itself = [alone(optimizer.step, place) for _ in range(ROUNDS)]
    host = []
    for _ in range(ROUNDS):
        wait()
        begin = time.perf_counter()
        optimizer.step()
        host.append(1e3 * (time.perf_counter() - begin))
    queued = (
        [busy.queued(optimizer.step, 2 * float(np.median(by_itself))) for _ in range(ROUNDS)] if on_gpu(place) else by_itself
    )
    floor = 1e3 * (12 * size + 2 * state_bytes_held(optimizer)) / bandwidth
    row = {"optimizer": name, "first ms": first, "alone ms": _median(by_itself), "host ms": _median(host)}
    row |= {"queued ms": _median(queued), "floor ms": floor, "share": floor / _median(queued)}
    return {**row, "ratio": row["queued ms"] / (rows[0]["queued ms"] if rows else row["queued ms"])}


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _profile(preset: str) -> None:
    """Where ten ordinary steps of blocks spend the host's time, and the device's."""
    model = model_with_gradients(preset, device())
    optimizer = optimizers(10**6)["FRUGAL blocks"](model)
    for _ in range(3):
        optimizer.step()
    wait()
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_gpu(device()) else []
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(10):
            optimizer.step()
        wait()
    for column in ("self_cpu_time_total", "self_cuda_time_total")[: len(kinds)]:
        lines = profile.key_averages().table(sort_by=column, row_limit=10, max_name_column_width=50).splitlines()
        print("\n".join(line[:190] for line in lines), flush=True)


def _tuned(preset: str) -> None:
    """Queued times under other sizes of blocks and numbers of warps."""
    place = device()
    model, busy, rows = model_with_gradients(preset, place), Busy(place), []
    before = multi_tensor.BLOCK, multi_tensor.UNITS_BLOCK, multi_tensor.WARPS
    for name, sizes in (
        ("FRUGAL blocks", (1024, 2048, 4096)),
        ("FRUGAL columns", (512, 1024, 2048)),
        ("FRUGAL randk", (512, 1024)),
    ):
        optimizer = optimizers(10**6)[name](model)
        for size in sizes:
            for warps in (4, 8):
                multi_tensor.BLOCK = multi_tensor.UNITS_BLOCK = size
                multi_tensor.WARPS = warps
                for _ in range(2):
                    alone(optimizer.step, place)
                one = _median([alone(optimizer.step, place) for _ in range(3)])
                queued = _median([busy.queued(optimizer.step, 2 * one) for _ in range(5)]) if on_gpu(place) else one
                rows.append({"optimizer": name, "block": size, "warps": warps, "queued ms": queued})
    multi_tensor.BLOCK, multi_tensor.UNITS_BLOCK, multi_tensor.WARPS = before
    print(markdown(rows, {"optimizer": "optimizer", "block": "block", "warps": "warps", "queued ms": "queued, ms"}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
