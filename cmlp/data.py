"""Tables of numbers with labels: read one from a CSV file, and set samples aside for a test.

Samples are the columns of X, as in the whole package; in the file, and in the memory behind X, they are rows.
"""

import bz2
import csv
import gzip
import io
import lzma
import operator
import reprlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cmlp import _validate

Features = NDArray[np.uint8] | NDArray[np.floating[Any]]
Labels = NDArray[np.int64] | NDArray[np.floating[Any]] | NDArray[np.str_]
DType = np.dtype[Any]

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BLOCK = 1 << 23  # bytes of text parsed at a time: at most 32 MB of float64, whatever the size of the file
_EXACT = 2.0**53  # whole numbers below are exact in float64


def load_csv(
    path: str | PathLike[str],
    label: str | int | None = "label",
    dtype: DTypeLike = "float32",
    header: bool | None = None,
    columns: Sequence[str] | None = None,
    ignore: Sequence[str | int] = (),
    text_labels: bool | None = None,
) -> tuple[Features, Labels | None, list[str]]:
    """Read samples, which are numbers, and their labels from a comma-separated file.

    Parameters
    ----------
    path : str or path-like
        The file, one sample per row; ``.gz``, ``.bz2`` and ``.xz`` are decompressed. Blank lines are passed over.
    label : str, int or None, default="label"
        The column of the labels: its name, or its position counted from 0 (from -1 backwards). None reads
        every column as a feature: a file without labels, to predict on.
    dtype : {"float32", "float64"}, default="float32"
        What numbers that are not such integers as below are kept in. float32 tells 7 digits apart: times in
        seconds since 1970, say, want float64.
    header : bool, optional
        Whether the first row names the columns. By default it does if any of its cells is text, but that of a label
        given by its position, or if it counts four columns or more: 0, 1, 2, 3, ... Other names that are numbers
        look like a row.
    columns : sequence of str, optional
        The features to read, by their names, in this order; what else there is but the label is left out, whatever
        it holds. A file without a header has to have as many features, which are taken as they stand.
    ignore : sequence of str or int, default=()
        Names or positions of columns to leave out: identifiers, text. A name that no column has is passed over.
    text_labels : bool, optional
        Whether labels are text, even where they look like numbers. By default they are if the first of them is no
        number. They cannot hold line breaks.

    Returns
    -------
    X : ndarray of shape (n_features, n_samples), uint8 or `dtype`
        An array of uint8 if every feature is a whole number from 0 to 255. It is the transpose of a row-major
        table: ``X.T`` is C-contiguous.
    y : ndarray of shape (n_samples,), int64, `dtype` or str, or None
        The labels: int64 if all are whole numbers, str if they are text, such as classes' names: of these
        ``np.unique(y, return_inverse=True)`` makes classes 0, 1, 2, ...; None if `label` is None.
    names : list of str
        The n_features names of the features in the header; "0", "1", ... if the file has none.

    Raises
    ------
    ValueError
        If a feature is not a finite number, or a row not as long as the first, if the file is empty, or has no such
        column. The message is one line
        that names the file, the line in it (counting from 1) and the column.
    TypeError
        If `label` is not a str, an int or None, `columns` or `ignore` a str, or `dtype` no type.
    FileNotFoundError
        If there is no such file.
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> X, y, names = load_csv("data/images.csv.gz")  # doctest: +SKIP
    >>> X.shape, y.shape, names[:2]  # doctest: +SKIP
    ((784, 42000), (42000,), ['pixel0', 'pixel1'])
    """
    kept = _validate.dtype(dtype)
    samples: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    with _opened(Path(path)) as file:
        cells, line = _first_row(file)
        header = _looks_like_names(cells, file, label) if header is None else header
        position = _label_position(label, cells, header)
        taken = _features(cells, header, position, columns, ignore)
        text = text_labels if position is not None else False
        width, names = len(cells), [cells[i] if header else str(n) for n, i in enumerate(taken)]
        if not header:
            line = 0
            file.seek(0)
        while block := file.read(_BLOCK) + file.readline():
            if not block.isspace():
                try:
                    text = _begins_with_text(block, position) if text is None else text
                    values, target = _parse(block, width, position, taken, kept, text)
                except (ValueError, OverflowError, KeyError) as error:  # KeyError: of a column that a short row lacks
                    places = [repr(cells[i]) if header else f"{i} (from 0)" for i in range(width)]
                    numbers = {*taken, *([] if text or position is None else [position])}
                    fault = _fault(block, line, places, kept, position, numbers)
                    raise ValueError(fault or f"after line {line}: {error}") from error
                samples.append(values)
                labels.append(target)
            line += _count(block, b"\n")
        if not samples:
            raise ValueError("there is a header but no row below it")
    X: Features = np.concatenate(samples).T  # one block of floats makes all of them floats
    y = np.concatenate(labels)
    return X, None if position is None else y if text else _labels(y, kept), names


def train_test_split(
    X: ArrayLike, y: ArrayLike, test_size: float = 1000, rng: int | np.random.Generator | None = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shuffle the samples and set the last of them aside for a test.

    Parameters
    ----------
    X : array_like of shape (n_features, n_samples)
        The samples, one per column; any dtype, which is kept.
    y : array_like of shape (n_samples,) or (n_outputs, n_samples)
        Their labels or targets; any dtype, which is kept.
    test_size : int or float, default=1000
        How many samples to set aside: an int is their number, a float in (0, 1) their fraction, rounded to
        the nearest number of samples.
    rng : int, numpy.random.Generator or None, default=None
        Where the order comes from, see :func:`numpy.random.default_rng`. The same int gives the same split.

    Returns
    -------
    X_train, X_test : ndarray of shape (n_features, n_train) and (n_features, n_test)
        Copies, of which ``.T`` is C-contiguous: the numbers of a sample stand side by side.
    y_train, y_test : ndarray of shape (..., n_train) and (..., n_test)
        The labels of the same samples, in the same order.

    Raises
    ------
    ValueError
        If X and y have other shapes than these or differ in their number of samples, or if `test_size` does
        not leave at least one sample on each side.
    TypeError
        If `test_size` is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> X_train, X_test, y_train, y_test = train_test_split(np.eye(3), [0, 1, 2], test_size=1, rng=0)
    >>> y_train, y_test
    (array([2, 0]), array([1]))
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n_features, n_samples), got {X.shape}")
    m = X.shape[1]
    if y.ndim not in (1, 2) or y.shape[-1] != m:
        raise ValueError(f"y must have shape ({m},) or (n_outputs, {m}) to match X {X.shape}, got {y.shape}")
    n_test = _test_count(test_size, m)
    order = np.random.default_rng(rng).permutation(m)
    train, test = order[:-n_test], order[-n_test:]
    return X.T[train].T, X.T[test].T, y.T[train].T, y.T[test].T


def _test_count(test_size: float, m: int) -> int:
    """Return how many of m samples to set aside."""
    if isinstance(test_size, float | np.floating):
        if not 0 < test_size < 1:
            raise ValueError(f"test_size must be an int or a fraction between 0 and 1, got {test_size!r}")
        count = round(float(test_size) * m)
    else:
        count = operator.index(test_size)
    if not 1 <= count < m:
        raise ValueError(f"test_size must set aside some of {m} samples, not all: {test_size} makes {count}")
    return count


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the decompressed bytes; what is wrong with them leaves as a ValueError that names the path."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a CSV file, got a directory")
    try:
        with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            yield file if file.seekable() else io.BytesIO(file.read())
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the system's own, such as a missing file, names the path already
        raise ValueError(f"{path}: not a whole {path.suffix or 'CSV'} file ({error})") from error
    except (ValueError, csv.Error) as error:
        told = ValueError(f"{path}: {' '.join(str(error).split())}")
        for note in getattr(error, "__notes__", ()):  # of what only the caller of load_csv can do, not a command's user
            told.add_note(note)
        raise told from error


def _first_row(file: IO[bytes]) -> tuple[list[str], int]:
    """Return the first row that is not blank, and the number of lines read so far."""
    reader = csv.reader(_decode(line, number) for number, line in enumerate(file))
    for cells in reader:
        if not _is_blank(cells):
            return [cell.strip() for cell in cells], reader.line_num
    raise ValueError("the file is empty")


def _label_position(label: str | int | None, columns: list[str], header: bool) -> int | None:
    """Return the position, from 0, of the label's column; None without one."""
    if label is None:
        return None
    try:
        return _position(label, columns, header)
    except ValueError as error:
        error.add_note("label=None reads all columns as features")
        raise


def _position(label: str | int, columns: list[str], header: bool) -> int:
    """Return the position, from 0, of the column that its name or its position means."""
    if len(columns) == 1:
        other = next((f"; it has {mark!r}, where a comma is expected" for mark in ";\t|" if mark in columns[0]), "")
        raise ValueError(f"the only column cannot be that of the labels: there are no features beside it{other}")
    if isinstance(label, str):
        if not header:
            raise ValueError(f"no header names a column {label!r}: give its position, such as 0")
        if columns.count(label) != 1:
            found = "two columns" if label in columns else "no column"
            rows = "; a row without a header above it?" if 2 * sum(map(_is_number, columns)) > len(columns) else ""
            raise ValueError(f"{found} {label!r} in {reprlib.repr(columns)}{rows}")
        return columns.index(label)
    if isinstance(label, bool) or not hasattr(label, "__index__"):
        raise TypeError(f"label must be a column's name or position, or None, got {label!r}")
    position, width = operator.index(label), len(columns)
    if not -width <= position < width:
        raise ValueError(f"positions of columns are from {-width} to {width - 1}, got {label}")
    return position % width


def _looks_like_names(cells: list[str], file: IO[bytes], label: str | int | None) -> bool:
    """Return whether the first row of a file names the columns; the file stays where it is, behind that row."""
    place = operator.index(label) if isinstance(label, SupportsIndex) else len(cells)
    place = place + len(cells) if place < 0 else place
    features = [cell for i, cell in enumerate(cells) if i != place]
    counts = len(cells) > 3 and cells == [str(i) for i in range(len(cells))]
    if counts or not all(map(_is_number, filter(None, features))):
        return True
    if all(map(_is_number, filter(None, cells))):
        return False
    start = file.tell()  # only the label, given by its position, is text: if the next one is a number, this is its name
    try:
        below, _ = _first_row(file)
    except ValueError:
        below = []
    file.seek(start)
    return len(below) == len(cells) and _is_number(below[place])


def _features(
    cells: list[str], header: bool, label: int | None, columns: Sequence[str] | None, ignore: Sequence[str | int]
) -> list[int]:
    """Return the positions of the features, in the order in which they are wanted."""
    for name, value in (("columns", columns), ("ignore", ignore)):
        if isinstance(value, str):
            raise TypeError(f"{name} must be a list of columns, got {value!r}")
    if columns is not None and header:
        taken = [_position(name, cells, header) for name in columns]
        if len({*taken, label}) <= len(taken):
            raise ValueError(f"columns must be different, and others than the label's, got {reprlib.repr(columns)}")
        return taken
    named = {column for column in ignore if isinstance(column, str)}
    left_out = {i for i, cell in enumerate(cells) if header and cell in named}
    left_out |= {_position(column, cells, header) for column in ignore if not isinstance(column, str)}
    taken = [i for i in range(len(cells)) if i != label and i not in left_out]
    if columns is not None and len(columns) != len(taken):
        raise ValueError(f"expected {len(columns)} features, as were asked for, got {len(taken)}, without names")
    if not taken:
        raise ValueError("no column is left to be a feature")
    return taken


def _begins_with_text(block: bytes, position: int | None) -> bool:
    """Return whether the first label of the block is neither a number nor missing."""
    cells, _ = _first_row(io.BytesIO(block))
    return position is not None and position < len(cells) and bool(cells[position]) and not _is_number(cells[position])


def _parse(
    block: bytes, width: int, position: int | None, taken: list[int], dtype: DType, text: bool
) -> tuple[Features, NDArray[np.float64] | NDArray[np.str_]]:
    """Return the block's features, row-major, and its labels (any column of numbers if there are none)."""
    try:
        from pandas import read_csv
    except ImportError as error:
        raise ImportError('CSV files need pandas: pip install "cmlp[cli]"') from error

    # In pandas 2 a uint8 of 256 wraps to 0: read float64. Unfiltered, what is missing fails and is not NaN.
    plain: dict[str, Any] = {"header": None, "na_filter": False}
    numbers = sorted({*taken, *([] if text or position is None else [position])})
    others = [i for i in range(width) if i not in set(numbers)]
    frame = read_csv(io.BytesIO(block), dtype=np.float64, usecols=numbers if others else None, **plain)
    strings = read_csv(io.BytesIO(block), dtype=str, usecols=others, **plain) if others else None
    written = b"" if strings is None else "".join(strings.to_numpy().ravel()).encode()
    if b"\n" in written or b"\r" in written:  # of which the other half may be in another block
        raise ValueError("expected labels, and columns that are left out, without line breaks")
    # pandas 2 drops the surplus of a long row: each comma must stand between two of the numbers.
    if frame.shape[1] != len(numbers) or _count(block, b",") - written.count(b",") != len(frame) * (width - 1):
        raise ValueError(f"expected {width} cells in every row")
    # A column of nothing but true and false, in any case, would be read as 1 and 0.
    if any(letter in block and block.count(letter) > written.count(letter) for letter in (b"a", b"A", b"r", b"R")):
        raise ValueError("expected numbers in every cell")
    values = frame.to_numpy()
    with np.errstate(invalid="ignore"):  # a cast that fails shows in the comparison
        pixels = values.astype(np.uint8, order="C")
    whole = (pixels == values).all(axis=0)
    if not whole.all() and not (np.abs(values) <= float(np.finfo(dtype).max)).all():
        raise ValueError(f"expected finite numbers that {dtype} can hold")
    at = numbers.index(position) if position in numbers else None
    if at is not None:
        whole[at] = True  # whatever the labels are
    features = pixels if whole.all() else values.astype(dtype, order="C")
    if at is not None:
        features = np.delete(features, at, axis=1)
    if taken != sorted(taken):
        features = np.take(features, np.argsort(np.argsort(taken)), axis=1)
    if strings is None or not text:
        return features, values[:, at or 0].copy()
    labels = np.array([name.strip() for name in strings[position]], np.str_)
    if not all(labels):
        raise ValueError("expected a label in every row")
    return features, labels


def _count(text: bytes, character: bytes) -> int:
    """Return how often the character is in the text: NumPy counts it three times as fast as bytes do."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(character)))


def _labels(values: NDArray[np.float64], dtype: DType) -> Labels:
    """Return integers if all values are whole: class indices, most often."""
    whole = (values == np.trunc(values)) & (np.abs(values) < _EXACT)
    return values.astype(np.int64) if whole.all() else values.astype(dtype)


def _fault(
    block: bytes, line: int, columns: list[str], dtype: DType, label: int | None, numbers: set[int]
) -> str | None:
    """Say what in a block, which `line` lines precede, keeps it from being rows of numbers and of a label.

    This second look is slow and taken only when the fast one has failed.
    """
    reader = csv.reader(io.StringIO(_decode(block, line), newline=""))
    number, width = line + 1, len(columns)
    for cells in reader:
        got = 0 if _is_blank(cells) else len(cells)
        for i, cell in enumerate(cells[: min(got, width)]):
            if why := _objection(cell, dtype, i in numbers) if i in numbers or i == label else None:
                return f"line {number}, column {columns[i]}: {why}"
        if got not in (0, width):
            place = f"column {columns[got]}" if got < width else f"after column {columns[-1]}"
            return f"line {number}, {place}: expected {width} cells, got {got}"
        number = line + reader.line_num + 1
    return None


def _objection(cell: str, dtype: DType, number: bool) -> str | None:
    """Say why the cell is not a finite number, or not a name, if it is not."""
    if not cell.strip():
        return "the cell is empty"
    if not number:
        return None
    if not _is_number(cell):
        return f"expected a number, got {reprlib.repr(cell)}"
    if not abs(float(cell)) <= float(np.finfo(dtype).max):
        return f"expected a finite number that {dtype} can hold, got {reprlib.repr(cell)}"
    return None


def _is_blank(cells: list[str]) -> bool:
    """Return whether pandas would pass over the row; an empty cell in quotes is a cell."""
    return not cells or (len(cells) == 1 and cells[0].isspace())


def _is_number(cell: str) -> bool:
    """Return whether pandas would read the cell as a number: Python's float knows a few more spellings."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _decode(text: bytes, line: int) -> str:
    """Return the text, which `line` lines precede, without a byte order mark."""
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line += text.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not UTF-8 text") from error
