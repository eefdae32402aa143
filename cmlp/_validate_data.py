"""Judges the data of networks and layers: samples, targets, weights, and arrays to be assigned or filled."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp._arrays import CHUNK
from cmlp._sparse import SparseRows
from cmlp.losses import smooth

Array = NDArray[Any]

# The largest weight is at least this: steps take denormal numbers for 0, which is less than the rounding error then.
LEAST_WEIGHT = 1e-290

# How far from 1 the shares of a sample's classes may add up to: float16 rounds each of them.
SHARES_OFF = 1e-2


def unmasked(value: ArrayLike, name: str) -> None:
    """That nothing of an array is masked, which would be taken at its hidden value."""
    if isinstance(getattr(value, "mask", None), np.ndarray | np.bool_):
        raise TypeError(
            f"{name} is masked: replace what is masked, as with its method filled, or leave these samples out"
        )


def dense(value: ArrayLike, name: str, who: str) -> None:
    """That samples are an array, for those who take nothing else."""
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name} is sparse, and {who} arrays: {name}.toarray(), perhaps")


def numbers(value: ArrayLike, name: str, of_text: str = "") -> Array:
    """An array of numbers, not copied if it is one."""
    unmasked(value, name)
    if value is None:
        raise TypeError(f"{name} must be an array, got None")
    try:
        array = np.asarray(value)
    except ValueError as error:  # of rows that are not of one length
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        more = of_text if array.dtype.kind in "OSU" else ""
        if isinstance(value, Iterator):
            more = ": chunks go to partial_fit"
        elif array.dtype.kind == "O" and not more:
            more = f": {name.partition(' ')[0]}.astype('float32'), if they are numbers"
        raise TypeError(f"{name} must hold integers, floating-point numbers or bools, got {array.dtype}{more}")
    return array


def parameters(value: ArrayLike, shape: tuple[int, ...], name: str, dtype: np.dtype[Any]) -> Any:
    """Weights or biases to be assigned."""
    array = numbers(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    finite(array.reshape(len(array), -1).T, name, dtype)
    return array


def inputs(X: ArrayLike, n_inputs: int, name: str = "X", may_be_sparse: bool = True) -> Any:
    """
    The samples as rows (m, n_inputs), a view of X (n_inputs, m) if that is an array; one sample may come flat.

    Sparse samples may be rows already, where the shape leaves no doubt.
    """
    sparse, variable = hasattr(X, "tocsr"), name.partition(" ")[0]
    if not may_be_sparse:
        dense(X, name, "steps by hand take")
    array: Any = X if sparse else numbers(X, name)
    given = array.shape
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold integers, floating-point numbers or bools, got {array.dtype}")
    if array.ndim == 1 and not sparse:
        array = array[:, np.newaxis]
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, {n_inputs} features x samples, got shape {given}")
    if sparse and array.shape == (n_inputs, n_inputs) and n_inputs > 1 and array.format != "csc":
        raise ValueError(
            f"{name} is sparse and as wide as it is high, so its samples may be rows or columns: "
            f"give {variable}.tocsr().T if they are rows, {variable}.tocsc() if they are columns"
        )
    rows = array if sparse and array.shape[0] != n_inputs else array.T
    if rows.shape[1] != n_inputs:
        turned = "[np.newaxis]" if len(given) == 1 else ".T"  # one number a sample, or samples in rows
        hint = f": {variable}{turned}, perhaps" if rows.shape[0] == n_inputs else ""
        raise ValueError(
            f"{name} must have {n_inputs} rows, one for each feature (samples are columns), got shape {given}{hint}"
        )
    if rows.shape[0] == 0:
        raise ValueError(f"{name} must hold at least one sample, got shape {array.shape}")
    return SparseRows(rows) if sparse else rows


def unshifted(rows: Any, shift: Any, name: str) -> None:
    """That nothing is to be subtracted from sparse samples, whose zeros would be zeros no more."""
    if isinstance(rows, SparseRows) and np.any(shift):
        raise ValueError(f"{name} is sparse and input_shift is not 0: give {name} as an array, or only scale it")


def deviations(values: Array, dtype: np.dtype[Any]) -> None:
    """That features can be divided by their standard deviations."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"X must hold numbers whose squares float64 can hold: feature {bad[0]} has larger ones")
    bad = np.flatnonzero(values <= 1 / float(np.finfo(dtype).max))
    if len(bad):
        least = f"by which {dtype} can be divided: that of feature {bad[0]} is {values[bad[0]]:.3g}"
        raise ValueError(f"X must hold features of a standard deviation {least}; multiply X by a power of 10")


def same_samples(m: int, other: int, name: str, other_name: str) -> None:
    """That two arrays have as many columns."""
    if m != other:
        raise ValueError(f"{name} and {other_name} must have as many columns, got {m} and {other}")


def out(value: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array for results, which may lie in memory in any way; a new one, samples one after the other, for None."""
    if value is None:
        return np.empty(shape[::-1], dtype).T
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        given = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"out must be an array of {dtype}, got {given}")
    if value.shape != shape or not value.flags.writeable:
        raise ValueError(f"out must be writeable and have shape {shape}, got shape {value.shape}")
    if not value.flags.aligned:
        raise ValueError(f"out must be aligned, as arrays of NumPy's own are, got one at {value.ctypes.data:#x}")
    return value


def weights(value: Any, m: int, name: str) -> Array | None:
    """How much each sample counts."""
    if value is None:
        return None
    array = numbers(value, name)
    if array.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), one number for each sample, got {array.shape}")
    array = np.require(array, np.float64, ["C", "A"])
    bad = np.flatnonzero(~((array >= 0) & (array < np.inf)))
    if len(bad) or not array.any():
        got = f"{array[bad[0]]} at [{bad[0]}]" if len(bad) else "nothing but 0"
        raise ValueError(f"{name} must hold finite numbers of at least 0, not all 0: got {got}")
    with np.errstate(over="ignore"):
        total = array.sum()
    if not total < np.inf:
        raise ValueError(f"{name} must have a finite sum: got {m} numbers up to {array.max():.3g}")
    if array.max() < LEAST_WEIGHT:
        raise ValueError(f"{name} must hold a number of at least {LEAST_WEIGHT}, got {m} up to {array.max():.3g}")
    return array


def some_weight(values: Array | None, order: Array | None, purpose: str, instead: str = "validation_data") -> None:
    """That not all of the samples that a share was set aside of, or that are left, have a weight of 0."""
    if values is not None and order is not None and not values[order].any():
        raise ValueError(
            f"validation_fraction leaves no sample {purpose} whose weight is more than 0: give {instead} instead"
        )


def targets(
    y: ArrayLike, m: int, n_outputs: int, loss: tuple[str, dict[str, Any]], dtype: np.dtype[Any], name: str
) -> tuple[Array | None, Array | None]:
    """Labels (m,), or else targets (m, n_outputs), of m samples, from what the loss allows y to be."""
    loss_name, options = loss
    variable = name.partition(" ")[0]  # of "y of validation_data"
    classes = "entropy" in loss_name
    text = f": labels of text become integers by np.unique({variable}, return_inverse=True)[1]"
    array = numbers(y, name, text if classes else "")
    levels = len(options.get("levels", (0.5,)))
    flat, table = ((m,), (m, 1), (1, m)), (n_outputs // levels, m)
    if not classes:
        if array.shape != table and not (table[0] == 1 and array.shape in flat):
            hint = f": {variable}.T, perhaps" if array.shape == table[::-1] else ""
            if array.shape in flat and array.dtype.kind in "iu":
                hint = f": from labels: cmlp.one_hot({variable}, {table[0]})"
            what = "the outputs' shape" if levels == 1 else "a row for each number, not for each quantile of it: shape"
            raise ValueError(f"{name} must have {what} {table}, got {array.shape}{hint}")
        of_each = finite(array.reshape(table).T, name, dtype)
        if loss_name == "poisson" and of_each.min() < 0:
            raise ValueError(f"{name} must hold numbers of at least 0 under poisson, got {of_each.min()}")
        return None, of_each if levels == 1 else np.repeat(of_each, levels, axis=1)
    if array.shape == table and (n_outputs > 1 or array.dtype.kind == "f"):
        return _columns(array, loss, name)
    if array.shape not in flat:
        hint = f": {variable}.T, perhaps" if array.shape == table[::-1] else ""
        raise ValueError(
            f"{name} must hold {m} labels, one for each sample, or have shape {table}, got {array.shape}{hint}"
        )
    if array.dtype.kind == "f":
        if n_outputs == 1:
            return _columns(array.reshape(table), loss, name)
        finite(array.reshape(1, m).T, name)  # a label may be missing
        odd = array[array != np.trunc(array)]
        such_as = (odd if odd.size else array).flat[0]
        hint = "numbers to predict need another loss" if odd.size else f"{variable}.astype(int), perhaps"
        raise TypeError(f"{name} must hold integer labels, got {array.dtype} such as {such_as:g}: {hint}")
    labels = array.reshape(m).copy()  # ours: the core goes where they say, whatever becomes of the caller's
    low, high, last = int(labels.min()), int(labels.max()), max(n_outputs, 2) - 1
    if low < 0 or high > last:
        raise ValueError(f"{name} must hold labels from 0 to {last}, got {low if low < 0 else high}")
    return labels.astype(np.intp, copy=False), None


def _columns(array: Array, loss: tuple[str, dict[str, Any]], name: str) -> tuple[Array | None, Array | None]:
    """Labels of one-hot columns; else targets: shares of the classes, or each in [0, 1], whatever they add up to."""
    finite(array.T, name)
    loss_name, options = loss
    of_classes = loss_name == "cross_entropy"
    if of_classes and ((array == 0) | (array == 1)).all() and (array.sum(axis=0) == 1).all():
        return array.argmax(axis=0), None
    if array.min() < 0 or array.max() > 1 + SHARES_OFF * of_classes:
        raise ValueError(f"{name} must lie between 0 and 1 under {loss_name}, got {array.min()} to {array.max()}")
    if not of_classes:
        return None, array.T
    sums = array.sum(axis=0, dtype=np.float64)
    off = np.abs(sums - 1)
    if off.max() > SHARES_OFF:
        worst = int(off.argmax())
        raise ValueError(
            f"{name} of shape {array.shape} must hold one-hot columns, or each class's share of a sample, which add up "
            f"to 1: got {sums[worst]:g} in column {worst}"
        )
    return None, smooth(array.astype(np.float64), **options).T


def finite(rows: Any, name: str, dtype: np.dtype[Any] | None = None, scaling: tuple[Any, Any] = (1.0, 0.0)) -> Any:
    """That no number of a table with one sample a row is NaN or infinite, nor becomes so where a network reads it."""
    factor, shift = scaling
    if isinstance(rows, SparseRows):
        _finite_values(rows, name, dtype, factor)
        return rows
    whole = np.max(np.abs(shift)) + 2.0 ** (8 * rows.dtype.itemsize)
    largest = np.inf if rows.dtype.kind == "f" else whole * np.max(factor)
    if largest < np.finfo(dtype or "float32").max:
        return rows
    step = max(1, CHUNK // rows.shape[1])
    for first in range(0, len(rows), step):
        chunk = rows[first : first + step]
        good = np.isfinite(chunk if dtype is None else _as_read(chunk, dtype, factor, shift))
        if not good.all():
            sample, feature = (int(i) for i in np.argwhere(~good)[0])
            raise _not_finite(chunk[sample, feature], name, (feature, first + sample), dtype)
    return rows


def _finite_values(rows: SparseRows, name: str, dtype: np.dtype[Any] | None, factor: Any) -> None:
    """The same of sparse samples."""
    values = rows.values
    if dtype is not None:
        values = _as_read(values, dtype, 1.0, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            values = values * np.asarray(factor[rows.columns] if np.ndim(factor) else factor, dtype)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        sample = int(np.searchsorted(rows.starts, bad[0], side="right")) - 1
        raise _not_finite(rows.values[bad[0]], name, (int(rows.columns[bad[0]]), sample), dtype)


def _as_read(values: Array, dtype: np.dtype[Any], factor: Any, shift: Any) -> Array:
    """Numbers as the core takes them in: in double until they are shifted and have had factors of their own."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.ndim(factor) > 0 or np.ndim(shift) > 0 or shift != 0:
            return np.asarray(((values.astype(np.float64) - shift) * factor).astype(dtype))
        read = values.astype(dtype, copy=False)
        return read if factor == 1 else np.asarray(read * dtype.type(factor))


def _not_finite(value: Any, name: str, place: tuple[int, int], dtype: np.dtype[Any] | None) -> ValueError:
    """What is said of a number that is NaN, infinite, or becomes so."""
    at = f"at [{place[0]}, {place[1]}]"
    if not np.isfinite(value):
        kind = "NaN" if np.isnan(value) else "infinity"
        return ValueError(f"{name} holds {kind} {at}: every number must be finite")
    assert dtype is not None  # or it would have stayed finite
    with np.errstate(over="ignore"):
        scaled = "" if np.isinf(dtype.type(value)) else " when it has been scaled"
    wider = ", or make the network with dtype='float64'" if dtype == np.float32 else ""
    return ValueError(f"{name} holds {value}, too large for {dtype}{scaled}, {at}: give smaller numbers{wider}")


def validation_data(value: object) -> tuple[Any, Any, Any]:
    """X, y and perhaps sample weights to validate with."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError(f"validation_data must be a pair (X, y), or (X, y, sample_weight), got {type(value).__name__}")
    return _with_weights(value)


def _chunk(value: object) -> tuple[Any, Any, Any]:
    """X, y and perhaps sample weights of a chunk."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError(
            f"each chunk must be (X, y) or (X, y, sample_weight), got {type(value).__name__}; "
            "a single one is given as partial_fit(X, y)"
        )
    return _with_weights(value)


def chunks(value: Any, y: object, sample_weight: object) -> Iterator[tuple[Any, Any, Any]]:
    """All chunks, one after the other; at least one."""
    if y is not None:
        yield value, y, sample_weight
        return
    if sample_weight is not None:
        raise TypeError("sample_weight goes into each chunk, as (X, y, sample_weight), unless y is given too")
    if not isinstance(value, Iterable):
        raise TypeError(f"chunks must be an iterable of (X, y), got {type(value).__name__}")
    empty = True
    for given in value:
        yield _chunk(given)
        empty = False
    if empty:
        raise ValueError("chunks must hold at least one (X, y), got none")


def _with_weights(data: Sequence[Any]) -> tuple[Any, Any, Any]:
    """X, y, and sample weights or None."""
    return data[0], data[1], data[2] if len(data) > 2 else None


def part_of(fraction: float, labels: Array | None, m: int) -> int:
    """How many of m samples a share is: at least one, and not so many that a class of them is left without."""
    classes = 1 if labels is None else int(np.count_nonzero(np.bincount(labels)))
    part = min(max(round(fraction * m), 1), m - classes)
    if part < 1:
        raise ValueError(
            f"validation_fraction must leave at least one sample of each class to train on: "
            f"{m} samples of {classes} classes are too few"
        )
    return part
