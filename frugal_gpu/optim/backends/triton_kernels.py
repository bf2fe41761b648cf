"""Triton kernels: a whole step of many tensors in one launch, in place.

As in :mod:`frugal_gpu.optim.backends.kernels` a row of a table describes one tensor, by addresses; here the table lies on the
device, and a program takes a block of the numbers of one tensor: ``blocks[i]`` are the row and the number of the block that
program i takes. Arithmetic is float32 whatever the tensors are. What an address points to is at a multiple of sixteen bytes
where ``ALIGNED`` says so: then sixteen bytes pass at once. Offsets are int64, so a tensor may be longer than 2³¹ numbers.

Importing this file needs triton. With ``TRITON_INTERPRET=1`` in the environment before that, the same text runs on a CPU.
"""

# mypy: ignore-errors
# Triton compiles the text of these functions, in which an annotation other than constexpr is refused.

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["FIELDS", "count_up", "step_lifted", "step_units", "step_whole", "update_projected"]

FIELDS = 12
"""int64 numbers of a row: kind, numel, x, g, first, second, steps, lookup, width, inside, since, spare.

``first`` and ``second`` are addresses of the statistics, ``steps`` of a tensor that counts (0: ``since`` plus the launches of
this table do), ``lookup`` of what says where a unit's statistics are; ``width`` is the length of a row of a matrix, ``inside``
the number of units in the set. In a lifted row ``first`` is the lifted update, ``second`` the lifted projection of the
gradient (0 without a state-free rule), ``lookup`` the largest entry of the gradient by magnitude.
"""

SGDM = tl.constexpr(0)
ADAMW = tl.constexpr(1)
LION = tl.constexpr(2)
NONE = tl.constexpr(0)
SGD = tl.constexpr(1)
SIGNSGD = tl.constexpr(2)
FREE_ROW = tl.constexpr(1)
ROWS = tl.constexpr(0)
COLUMNS = tl.constexpr(1)
COORDINATES = tl.constexpr(2)
ROW = tl.constexpr(FIELDS)


@triton.jit
def _sign(values):
    return (values > 0).to(tl.float32) - (values < 0).to(tl.float32)


@triton.jit
def _at(address, start, kind, ALIGNED: tl.constexpr):
    """An address as a pointer to the number ``start`` of a tensor of this type."""
    pointer = address.to(tl.pointer_type(kind)) + start
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def _read(pointer, offsets, inside, MASKED: tl.constexpr):
    if MASKED:
        return tl.load(pointer + offsets, mask=inside, other=0.0).to(tl.float32)
    return tl.load(pointer + offsets).to(tl.float32)


@triton.jit
def _write(pointer, offsets, values, inside, MASKED: tl.constexpr):
    values = values.to(pointer.dtype.element_ty)
    if MASKED:
        tl.store(pointer + offsets, values, mask=inside)
    else:
        tl.store(pointer + offsets, values)


@triton.jit
def _rates(alpha_at, alpha, decay, split, ON_DEVICE: tl.constexpr):
    """1 − α · decay and α · split: of an α that lies on the device where ``ON_DEVICE``."""
    if ON_DEVICE:
        exact = tl.load(alpha_at).to(tl.float64)
        return (1.0 - exact * decay).to(tl.float32), (exact * split).to(tl.float32)
    return decay, alpha


@triton.jit
def _first(g, m, beta_1, beta_2, rest_1, rest_2, FULL: tl.constexpr):
    """The first statistic after this step."""
    if FULL == LION:
        return beta_2 * m + rest_2 * g
    return beta_1 * m + rest_1 * g


@triton.jit
def _update(g, m, v, a, b, eps, beta_1, rest_1, FULL: tl.constexpr):
    """The state-full update: of statistics after this step, of Lion's before it; a, b: reciprocals of bias corrections."""
    if FULL == ADAMW:
        return tl.div_rn(a * m, tl.sqrt_rn(b * v) + eps)
    if FULL == LION:
        return _sign(beta_1 * m + rest_1 * g)
    return m


@triton.jit
def _free(g, scale, FREE: tl.constexpr):
    """The state-free update."""
    if FREE == SIGNSGD:
        return scale * _sign(g)
    if FREE == SGD:
        return scale * g
    return g * 0.0


@triton.jit
def _corrections(count, ones, twos, last_1, last_2, inside):
    """1 / (1 − βᵏ) of both β, looked up by k; past the end of a table they are 1."""
    a = tl.load(ones + tl.minimum(count, last_1), mask=inside, other=1.0)
    b = tl.load(twos + tl.minimum(count, last_2), mask=inside, other=1.0)
    return a, b


@triton.jit
def _full_block(
    row, start, offsets, inside, a, b, shrink, step,
    beta_1, beta_2, eps, rest_1, rest_2,
    FULL: tl.constexpr, X: tl.constexpr, G: tl.constexpr, S: tl.constexpr, ALIGNED: tl.constexpr, MASKED: tl.constexpr,
    IN_PLACE: tl.constexpr,
):  # fmt: skip
    """The state-full rule on a block; ``IN_PLACE``: its update takes the place of the gradient, at x, and nothing moves."""
    x_at = _at(tl.load(row + 2), start, X, ALIGNED)
    first_at = _at(tl.load(row + 4), start, S, ALIGNED)
    x = _read(x_at, offsets, inside, MASKED)
    g = x
    if not IN_PLACE:
        g = _read(_at(tl.load(row + 3), start, G, ALIGNED), offsets, inside, MASKED)
    m = _read(first_at, offsets, inside, MASKED)
    new = _first(g, m, beta_1, beta_2, rest_1, rest_2, FULL)
    v = m
    if FULL == ADAMW:
        second_at = _at(tl.load(row + 5), start, S, ALIGNED)
        v = beta_2 * _read(second_at, offsets, inside, MASKED) + rest_2 * (g * g)
        _write(second_at, offsets, v, inside, MASKED)
    if FULL == LION:
        u = _update(g, m, v, a, b, eps, beta_1, rest_1, FULL)
    else:
        u = _update(g, new, v, a, b, eps, beta_1, rest_1, FULL)
    _write(first_at, offsets, new, inside, MASKED)
    if IN_PLACE:
        _write(x_at, offsets, u, inside, MASKED)
    else:
        _write(x_at, offsets, shrink * x - step * u, inside, MASKED)


@triton.jit
def _free_block(
    row, start, offsets, inside, shrink, step, scale,
    FREE: tl.constexpr, X: tl.constexpr, G: tl.constexpr, ALIGNED: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The state-free rule on a block."""
    x_at = _at(tl.load(row + 2), start, X, ALIGNED)
    g = _read(_at(tl.load(row + 3), start, G, ALIGNED), offsets, inside, MASKED)
    x = _read(x_at, offsets, inside, MASKED)
    _write(x_at, offsets, shrink * x - step * _free(g, scale, FREE), inside, MASKED)


@triton.jit
def _units_block(
    row, start, offsets, inside, shrink, step, scale,
    ones, twos, last_1, last_2,
    beta_1, beta_2, eps, rest_1, rest_2,
    FULL: tl.constexpr, FREE: tl.constexpr, BY: tl.constexpr, X: tl.constexpr, G: tl.constexpr, S: tl.constexpr,
    ALIGNED: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Both rules on a block: the state-full one on the units of the set, whose statistics are compact."""
    x_at = _at(tl.load(row + 2), start, X, ALIGNED)
    g = _read(_at(tl.load(row + 3), start, G, ALIGNED), offsets, inside, MASKED)
    x = _read(x_at, offsets, inside, MASKED)
    lookup, width, many = tl.load(row + 7), tl.load(row + 8), tl.load(row + 9)
    if BY == COORDINATES:  # a bit a number, and the rank of every 32nd number in the upper half of its word
        word = tl.load(lookup.to(tl.pointer_type(tl.int64)) + (start >> 5) + (offsets >> 5), mask=inside, other=0)
        bit = (offsets & 31).to(tl.uint32)
        bits = (word & 0xFFFFFFFF).to(tl.uint32)
        chosen = (((bits >> bit) & 1) != 0) & inside
        below = bits & ((tl.full((BLOCK,), 1, tl.uint32) << bit) - 1)
        below = below - ((below >> 1) & 0x55555555)
        below = (below & 0x33333333) + ((below >> 2) & 0x33333333)
        below = (((below + (below >> 4)) & 0x0F0F0F0F) * 0x01010101) >> 24
        place = (word >> 32).to(tl.int32) + below.to(tl.int32)
        unit = place
        ahead = start * 0
    else:
        begin = start // width
        across = (start - begin * width).to(tl.int32) + offsets  # < width + BLOCK
        if width >= BLOCK:
            down = (across >= width).to(tl.int32)
        else:  # both are small: a division of floats is exact enough for its floor
            down = ((across.to(tl.float32) + 0.5) / width.to(tl.float32)).to(tl.int32)
        column = across - down * width.to(tl.int32)
        if BY == COLUMNS:
            unit = tl.load(lookup.to(tl.pointer_type(tl.int32)) + column, mask=inside, other=-1)
            place = down * many.to(tl.int32) + unit  # 32 bits: what is common to the block is in ``ahead``
            ahead = begin * many
        else:
            unit = tl.load(lookup.to(tl.pointer_type(tl.int32)) + (begin + down), mask=inside, other=-1)
            place = unit.to(tl.int64) * width + column
            ahead = start * 0
        chosen = (unit >= 0) & inside
    first_at = tl.load(row + 4).to(tl.pointer_type(S)) + ahead + place
    m = tl.load(first_at, mask=chosen, other=0.0).to(tl.float32)
    new = _first(g, m, beta_1, beta_2, rest_1, rest_2, FULL)
    v, a, b = m, m, m
    if FULL == ADAMW:
        steps_at = tl.load(row + 6).to(tl.pointer_type(tl.float32)) + unit
        count = tl.load(steps_at, mask=chosen, other=0.0)
        if BY == COORDINATES:  # others' counts are moved before this kernel
            count += 1.0
            tl.store(steps_at, count, mask=chosen)
        a, b = _corrections(count.to(tl.int32), ones, twos, last_1, last_2, chosen)
        second_at = tl.load(row + 5).to(tl.pointer_type(S)) + ahead + place
        v = beta_2 * tl.load(second_at, mask=chosen, other=0.0).to(tl.float32) + rest_2 * (g * g)
        tl.store(second_at, v.to(S), mask=chosen)
    if FULL == LION:
        u = _update(g, m, v, a, b, eps, beta_1, rest_1, FULL)
    else:
        u = _update(g, new, v, a, b, eps, beta_1, rest_1, FULL)
    tl.store(first_at, new.to(S), mask=chosen)
    _write(x_at, offsets, shrink * x - step * tl.where(chosen, u, _free(g, scale, FREE)), inside, MASKED)


@triton.jit
def _lifted_block(
    row, start, offsets, inside, shrink, step, scale, rounding,
    FREE: tl.constexpr, X: tl.constexpr, G: tl.constexpr, ALIGNED: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """A lifted update, and the state-free rule on the residual; one up to ``rounding`` times the largest entry is rounding."""
    x_at = _at(tl.load(row + 2), start, X, ALIGNED)
    x = _read(x_at, offsets, inside, MASKED)
    u = _read(_at(tl.load(row + 4), start, tl.float32, ALIGNED), offsets, inside, MASKED)
    if FREE != NONE:
        g = _read(_at(tl.load(row + 3), start, G, ALIGNED), offsets, inside, MASKED)
        rest = g - _read(_at(tl.load(row + 5), start, tl.float32, ALIGNED), offsets, inside, MASKED)
        floor = rounding * tl.load(tl.load(row + 7).to(tl.pointer_type(tl.float32)))
        u += _free(tl.where(tl.abs(rest) <= floor, 0.0, rest), scale, FREE)
    _write(x_at, offsets, shrink * x - step * u, inside, MASKED)


@triton.jit
def _block(rows, blocks, BLOCK: tl.constexpr):
    """The row of this program's tensor, where its block begins, and the offsets in it that are in the tensor."""
    program = tl.program_id(0).to(tl.int64)
    row = rows + tl.load(blocks + 2 * program).to(tl.int64) * ROW
    start = tl.load(blocks + 2 * program + 1).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    left = tl.load(row + 1) - start
    return row, start, offsets, offsets < left, left >= BLOCK


@triton.jit(do_not_specialize=["launches", "last_1", "last_2"])
def step_whole(
    rows, blocks, launches, ones, twos, last_1, last_2,
    alpha_at, alpha, decay, split, scale,
    beta_1, beta_2, eps, rest_1, rest_2,
    FULL: tl.constexpr, FREE: tl.constexpr, X: tl.constexpr, G: tl.constexpr, S: tl.constexpr,
    ON_DEVICE: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Parameters that are state-full or state-free as a whole. With α on the host, ``alpha`` is α · split and ``decay`` is
    1 − α · decay."""
    row, start, offsets, inside, is_full = _block(rows, blocks, BLOCK)
    shrink, step = _rates(alpha_at, alpha, decay, split, ON_DEVICE)
    if tl.load(row) == FREE_ROW:
        if is_full:
            _free_block(row, start, offsets, inside, shrink, step, scale, FREE, X, G, ALIGNED, False)
        else:
            _free_block(row, start, offsets, inside, shrink, step, scale, FREE, X, G, ALIGNED, True)
    else:
        a, b = _of_a_whole(row, launches, ones, twos, last_1, last_2, FULL)
        if is_full:
            _full_block(row, start, offsets, inside, a, b, shrink, step, beta_1, beta_2, eps, rest_1, rest_2,
                        FULL, X, G, S, ALIGNED, False, False)  # fmt: skip
        else:
            _full_block(row, start, offsets, inside, a, b, shrink, step, beta_1, beta_2, eps, rest_1, rest_2,
                        FULL, X, G, S, ALIGNED, True, False)  # fmt: skip


@triton.jit
def _of_a_whole(row, launches, ones, twos, last_1, last_2, FULL: tl.constexpr):
    """Reciprocals of the bias corrections of a tensor that counts its steps as a whole."""
    if FULL == ADAMW:
        steps_at = tl.load(row + 6)
        counted = tl.load(steps_at.to(tl.pointer_type(tl.float32)), mask=steps_at != 0, other=0.0).to(tl.int64)
        count = tl.where(steps_at != 0, counted, tl.load(row + 10) + launches)
        return _corrections(count, ones, twos, last_1, last_2, count >= 0)
    return 1.0, 1.0


@triton.jit(do_not_specialize=["last_1", "last_2"])
def step_units(
    rows, blocks, ones, twos, last_1, last_2,
    alpha_at, alpha, decay, split, scale,
    beta_1, beta_2, eps, rest_1, rest_2,
    FULL: tl.constexpr, FREE: tl.constexpr, BY: tl.constexpr, X: tl.constexpr, G: tl.constexpr, S: tl.constexpr,
    ON_DEVICE: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Parameters of which units are state-full: ``BY`` rows, columns or coordinates."""
    row, start, offsets, inside, is_full = _block(rows, blocks, BLOCK)
    shrink, step = _rates(alpha_at, alpha, decay, split, ON_DEVICE)
    if is_full:
        _units_block(row, start, offsets, inside, shrink, step, scale, ones, twos, last_1, last_2,
                     beta_1, beta_2, eps, rest_1, rest_2, FULL, FREE, BY, X, G, S, ALIGNED, False, BLOCK)  # fmt: skip
    else:
        _units_block(row, start, offsets, inside, shrink, step, scale, ones, twos, last_1, last_2,
                     beta_1, beta_2, eps, rest_1, rest_2, FULL, FREE, BY, X, G, S, ALIGNED, True, BLOCK)  # fmt: skip


@triton.jit(do_not_specialize=["launches", "last_1", "last_2"])
def update_projected(
    rows, blocks, launches, ones, twos, last_1, last_2,
    beta_1, beta_2, eps, rest_1, rest_2,
    FULL: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The state-full update of projected gradients (float32, at x) in their place."""
    row, start, offsets, inside, _ = _block(rows, blocks, BLOCK)
    a, b = _of_a_whole(row, launches, ones, twos, last_1, last_2, FULL)
    _full_block(row, start, offsets, inside, a, b, 1.0, 1.0, beta_1, beta_2, eps, rest_1, rest_2,
                FULL, tl.float32, tl.float32, S, False, True, True)  # fmt: skip


@triton.jit
def step_lifted(
    rows, blocks, alpha_at, alpha, decay, split, scale, rounding,
    FREE: tl.constexpr, X: tl.constexpr, G: tl.constexpr, ON_DEVICE: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Parameters whose lifted update and lifted projection are made."""
    row, start, offsets, inside, is_full = _block(rows, blocks, BLOCK)
    shrink, step = _rates(alpha_at, alpha, decay, split, ON_DEVICE)
    if is_full:
        _lifted_block(row, start, offsets, inside, shrink, step, scale, rounding, FREE, X, G, ALIGNED, False)
    else:
        _lifted_block(row, start, offsets, inside, shrink, step, scale, rounding, FREE, X, G, ALIGNED, True)


@triton.jit
def count_up(rows, blocks, BLOCK: tl.constexpr):
    """Add one to counts (float32, at x)."""
    row, start, offsets, inside, _ = _block(rows, blocks, BLOCK)
    steps_at = tl.load(row + 2).to(tl.pointer_type(tl.float32)) + start + offsets
    tl.store(steps_at, tl.load(steps_at, mask=inside, other=0.0) + 1.0, mask=inside)
