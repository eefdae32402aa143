"""Arrays as the compiled core wants them: rows of whole cache lines, beginning on one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlp._dispatch import core

LINE_BYTES = 64
CHUNK = 1 << 20  # elements of temporaries, whatever the size of X
NOTHING = 1, 1  # shape of what stands for no array: the core wants a row, if only to leave it alone

Array = NDArray[Any]


def empty(count: int, dtype: "np.dtype[Any]") -> Array:
    """An uninitialised flat array that begins on a cache line."""
    store = np.empty(count * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -store.ctypes.data % LINE_BYTES
    return store[start : start + count * dtype.itemsize].view(dtype)


def zeros(count: int, dtype: "np.dtype[Any]") -> Array:
    """A flat array of zeros that begins on a cache line."""
    array = empty(count, dtype)
    array.fill(0)
    return array


def read_only(value: Any) -> Any:
    """A view of an array that cannot be written into; a number as it is."""
    if np.ndim(value) == 0:
        return value
    view = value.view()
    view.flags.writeable = False
    return view


def padded(columns: int, dtype: "np.dtype[Any]") -> int:
    """Elements that a row of so many columns takes."""
    return int(core.padded_columns(columns, np.empty(1, dtype)))


def rows(count: int, columns: int, dtype: "np.dtype[Any]") -> Array:
    """Zeros of shape (count, columns), whose rows are padded."""
    width = padded(columns, dtype)
    return zeros(count * width, dtype).reshape(count, width)[:, :columns]


def moments(rows: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, in double, a block of rows at a time; exactly 0 of a constant."""
    step = max(1, CHUNK // rows.shape[1])
    blocks = [rows[i : i + step] for i in range(0, len(rows), step)]
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is the caller's to judge
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
        mean = mean + sum((block - mean).sum(axis=0) for block in blocks) / len(rows)  # what rounding took of it
        square = sum(((block - mean) ** 2).sum(axis=0) for block in blocks) / len(rows)
    constant = np.logical_and.reduce([(block == rows[0]).all(axis=0) for block in blocks])
    mean, deviation = np.where(constant, rows[0], mean), np.where(constant, 0, np.sqrt(square))
    return mean.astype(np.float64, copy=False), deviation.astype(np.float64, copy=False)
