"""The rows of a CSV file.

A file's bytes are decompressed and cut into blocks of whole rows, and each block becomes an array of features and one
of labels.
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
from pathlib import Path
from typing import IO, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.uint8] | NDArray[np.floating[Any]]
Labels = NDArray[np.int64] | NDArray[np.floating[Any]] | NDArray[np.str_]
DType = np.dtype[Any]

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BLOCK = 1 << 23  # bytes of text parsed at a time: at most 32 MB of numbers, whatever the size of the file
_EXACT = 2.0**53  # whole numbers below are exact in float64


class Columns(NamedTuple):
    """What stands where in every row."""

    cells: list[str]  # of the first row: names, if it is a header
    header: bool
    line: int  # lines of the file before the first sample
    label: int | None  # position of the labels
    text: bool  # labels are text
    features: list[int]  # positions of the features, in the order in which they are wanted

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [self.cells[i] if self.header else str(n) for n, i in enumerate(self.features)]

    @property
    def numbers(self) -> list[int]:
        """Positions, from left to right, of the columns that hold numbers which are wanted."""
        return sorted([*self.features, *([] if self.text or self.label is None else [self.label])])

    def place(self, i: int) -> str:
        """Say which column the one at a position is."""
        return f"column {self.cells[i]!r}" if self.header else f"column {i} (from 0)"


def read(
    path: Path,
    label: str | int | None,
    dtype: DType,
    header: bool | None,
    wanted: Sequence[str] | None,
    ignored: Sequence[str | int],
    text: bool | None,
) -> tuple[Features, Labels | None, Columns]:
    """Return X, its samples as columns, the labels, and what the columns are; the arguments are those of `load_csv`.

    Labels are whole numbers, text, or numbers in float64.
    """
    with opened(path) as file:
        columns = columns_of(file, label, header, wanted, ignored, text)
        samples, of_each = zip(*blocks(file, columns, dtype), strict=True)
    X = np.concatenate(samples).T  # one block of floats makes all of them floats
    return X, None if columns.label is None else labels(np.concatenate(of_each)), columns


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
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


def columns_of(
    file: IO[bytes],
    label: str | int | None,
    header: bool | None,
    wanted: Sequence[str] | None,
    ignored: Sequence[str | int],
    text: bool | None,
) -> Columns:
    """Return what the columns of a file are, which is left in front of the first sample."""
    cells, line = _first_row(file)
    for name, value in (("columns", wanted), ("ignore", ignored)):
        if isinstance(value, str):
            raise TypeError(f"{name} must be a list of columns, got {value!r}")
    label, ignored = _bare(label), [_bare(column) for column in ignored]
    wanted = None if wanted is None else [_bare(column) for column in wanted]
    if header is None:
        holds_all = wanted is not None and len(wanted) > 0 and {*wanted} <= {*cells}
        header = holds_all or _looks_like_names(cells, file, label, ignored, text)
    position = _label_position(label, cells, header)
    features = _features(cells, header, position, wanted, ignored)
    if not header:
        line = 0
        file.seek(0)
    if position is None:
        text = False
    elif text is None:
        below = _next_row(file)
        text = position < len(below) and bool(below[position]) and not _is_number(below[position])
    return Columns(cells, header, line, position, text, features)


def blocks(file: IO[bytes], columns: Columns, dtype: DType) -> Iterator[tuple[Features, NDArray[Any]]]:
    """Yield the features, row-major, and the labels (any numbers if there are none) of one block after the other."""
    line, empty = columns.line, True
    while block := file.read(_BLOCK) + file.readline():
        if not block.isspace():
            try:
                yield _parse(block, columns, dtype)
            # A short row lacks a column, KeyError, or a cell of one, TypeError.
            except (ValueError, OverflowError, KeyError, TypeError, ImportError) as error:
                fault = _fault(block, line, columns, dtype)
                if fault is None and isinstance(error, ImportError):
                    raise
                raise ValueError(fault or f"after line {line}: {error}") from error
            empty = False
        line += block.count(b"\n")
    if empty:
        raise ValueError("there is a header but no row below it")


def labels(values: NDArray[Any]) -> Labels:
    """Return text as it is, and integers if all values are whole: class indices, most often."""
    if values.dtype.kind == "U":
        return values
    whole = (values == np.trunc(values)) & (np.abs(values) < _EXACT)
    return values.astype(np.int64) if whole.all() else values


def _first_row(file: IO[bytes]) -> tuple[list[str], int]:
    """Return the first row that is not blank, and the number of lines read so far."""
    reader = csv.reader(_decode(line, number) for number, line in enumerate(file))
    try:
        for cells in reader:
            if not _is_blank(cells):
                return [cell.strip() for cell in cells], reader.line_num
    except csv.Error as error:
        why = "expected lines that end in \\n or \\r\\n, got \\r alone" if "new-line" in str(error) else str(error)
        raise ValueError(f"line {reader.line_num}: {why}") from error
    raise ValueError("the file is empty")


def _next_row(file: IO[bytes]) -> list[str]:
    """Return the next row, or none; the file stays where it is."""
    start = file.tell()
    try:
        return _first_row(file)[0]
    except ValueError:  # it is looked at once more
        return []
    finally:
        file.seek(start)


def _label_position(label: str | int | None, columns: list[str], header: bool) -> int | None:
    """Return the position, from 0, of the label's column; None without one."""
    if label is None:
        return None
    try:
        if len(columns) == 1:
            other = next((f"; it has {mark!r}, where a comma is expected" for mark in ";\t|" if mark in columns[0]), "")
            raise ValueError(f"the only column cannot be that of the labels: there are no features beside it{other}")
        return _position(label, columns, header, "label must be a column's name or position, or None")
    except ValueError as error:
        told = ValueError(f"{error}; label says which column holds the labels")
        told.add_note("label=None reads all columns as features")
        raise told from None


def _bare(column: Any) -> Any:
    """Return a name as headers have it: without blanks around it."""
    return column.strip() if isinstance(column, str) else column


def _position(label: str | int, columns: list[str], header: bool, expected: str) -> int:
    """Return the position, from 0, of the column that its name or its position means."""
    if isinstance(label, str):
        if not header:
            raise ValueError(f"no header names a column {label!r}: give its position, such as 0")
        if columns.count(label) != 1:
            found = "two columns" if label in columns else "no column"
            rows = "; a row without a header above it?" if 2 * sum(map(_is_number, columns)) > len(columns) else ""
            raise ValueError(f"{found} {label!r} in {reprlib.repr(columns)}{rows}")
        return columns.index(label)
    if isinstance(label, bool) or not hasattr(label, "__index__"):
        raise TypeError(f"{expected}, got {label!r}")
    position, width = operator.index(label), len(columns)
    if not -width <= position < width:
        raise ValueError(f"positions of columns are from {-width} to {width - 1}, got {label}")
    return position % width


def _looks_like_names(
    cells: list[str], file: IO[bytes], label: str | int | None, ignored: Sequence[str | int], text: bool | None
) -> bool:
    """Return whether the first row of a file names the columns; the file stays where it is, behind that row."""
    width = len(cells)
    given = {operator.index(i) for i in (label, *ignored) if isinstance(i, SupportsIndex)}
    features = [cell for i, cell in enumerate(cells) if i not in given and i - width not in given]
    counts = width > 3 and cells == [str(i) for i in range(width)]
    if counts or not all(map(_is_number, filter(None, features))):
        return True
    place = operator.index(label) if isinstance(label, SupportsIndex) else width
    if text or not -width <= place < width or not cells[place] or _is_number(cells[place]):
        return False
    # Of these and the label only the latter, given by its position, is text: if the next is a number, this is its name.
    below = _next_row(file)
    return len(below) == width and _is_number(below[place])


def _features(
    cells: list[str], header: bool, label: int | None, columns: Sequence[str] | None, ignore: Sequence[str | int]
) -> list[int]:
    """Return the positions of the features, in the order in which they are wanted."""
    if columns is not None and header:
        taken = [_position(name, cells, header, "columns must hold names of columns") for name in columns]
        if len({*taken, label}) <= len(taken):
            raise ValueError(f"columns must be different, and others than the label's, got {reprlib.repr(columns)}")
    else:
        named = {column for column in ignore if isinstance(column, str)}
        left_out = {i for i, cell in enumerate(cells) if header and cell in named}
        expected = "ignore must hold names and positions of columns"
        left_out |= {_position(column, cells, header, expected) for column in ignore if not isinstance(column, str)}
        taken = [i for i in range(len(cells)) if i != label and i not in left_out]
    if columns is not None and len(columns) != len(taken):
        raise ValueError(f"expected {len(columns)} features, as were asked for, got {len(taken)}, without names")
    if not taken:
        raise ValueError("no column is left to be a feature")
    return taken


def _parse(block: bytes, columns: Columns, dtype: DType) -> tuple[Features, NDArray[Any]]:
    """Return the block's features, row-major, and its labels (any numbers if there are none)."""
    at, names = columns.numbers, None
    values: NDArray[Any] | None = None if columns.text else _whole_numbers(block, len(columns.cells))
    if values is None:
        values, names = _cells(block, columns)
    elif len(at) < len(columns.cells):
        values = values[:, at]
    with np.errstate(invalid="ignore"):  # a cast that fails shows in the comparison
        pixels = values.astype(np.uint8, order="C")
    whole = (pixels == values).all(axis=0)
    if not whole.all() and not (np.abs(values) <= float(np.finfo(dtype).max)).all():
        raise ValueError(f"expected finite numbers that {dtype} can hold")
    label = None if columns.text or columns.label is None else at.index(columns.label)
    if label is not None:
        whole[label] = True  # whatever the labels are
    features = pixels if whole.all() else values.astype(dtype, order="C")
    if label is not None:
        features = np.delete(features, label, axis=1)
    if columns.features != sorted(columns.features):
        features = np.take(features, np.argsort(np.argsort(columns.features)), axis=1)
    return features, values[:, label or 0].copy() if names is None else names


def _whole_numbers(block: bytes, width: int) -> NDArray[np.int64] | None:
    """Return a block of nothing but digits, which NumPy reads in a third of pandas' time; None of another one."""
    rows = block.replace(b"\r\n", b"\n").strip(b"\n") + b"\n"
    count = rows.count(b"\n")
    if rows.translate(None, b"0123456789") != (b"," * (width - 1) + b"\n") * count:
        return None
    cells = rows.replace(b"\n", b",")
    if cells.startswith(b",") or b",," in cells:  # one of them is empty
        return None
    values = np.fromstring(cells, np.int64, count * width, sep=",")
    # A number that int64 cannot hold has become the nearest that it can.
    return values.reshape(count, width) if values.max() < _EXACT else None


def _cells(block: bytes, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.str_] | None]:
    """Return the numbers of a block, and its labels if they are text, whatever the other cells hold."""
    try:
        from pandas import __version__, read_csv
    except ImportError as error:
        raise ImportError('CSV files of more than digits need pandas: pip install "cmlp[cli]"') from error

    # In pandas 2 a uint8 of 256 wraps to 0: read float64. Unfiltered, what is missing fails and is not NaN.
    plain: dict[str, Any] = {"header": None, "na_filter": False}
    if tuple(map(int, __version__.split(".")[:2])) < (3, 1):  # later ones read each number as the nearest anyway
        plain["float_precision"] = "round_trip"
    width, numbers = len(columns.cells), columns.numbers
    others = sorted({*range(width)} - {*numbers})
    frame = read_csv(io.BytesIO(block), dtype=np.float64, usecols=numbers if others else None, **plain)
    strings = read_csv(io.BytesIO(block), dtype=str, usecols=others, **plain) if others else None
    texts = [] if strings is None else strings.to_numpy().ravel().tolist()
    written = "".join(texts).encode()
    if b"\n" in written or b"\r" in written:  # of which the other half may be in another block
        raise ValueError("expected labels, and columns that are left out, without line breaks")
    # pandas 2 drops the surplus of a long row: each comma must stand between two of the numbers.
    if frame.shape[1] != len(numbers) or _count(block, b",") - written.count(b",") != len(frame) * (width - 1):
        raise ValueError(f"expected {width} cells in every row")
    if not all(texts) and _is_uneven(block, width):  # an empty one is none, and another row is as much longer
        raise ValueError("expected as many cells in every row")
    # A column of nothing but true and false, in any case, would be read as 1 and 0.
    if any(letter in block and block.count(letter) > written.count(letter) for letter in (b"a", b"A", b"r", b"R")):
        raise ValueError("expected numbers in every cell")
    if not columns.text or strings is None:
        return frame.to_numpy(), None
    labels = np.array([name.strip() for name in strings[columns.label]], np.str_)
    if not all(labels):
        raise ValueError("expected a label in every row")
    return frame.to_numpy(), labels


def _is_uneven(block: bytes, width: int) -> bool:
    """Return whether a row has more cells than this, or fewer."""
    rows = csv.reader(io.StringIO(_decode(block, 0), newline=""))
    return any(len(cells) != width for cells in rows if not _is_blank(cells))


def _count(text: bytes, character: bytes) -> int:
    """Return how often the character is in the text: NumPy counts it three times as fast as bytes do."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(character)))


def _fault(block: bytes, line: int, columns: Columns, dtype: DType) -> str | None:
    """Say what in a block, which `line` lines precede, keeps it from being rows of numbers and of a label.

    This second look is slow and taken only when the fast one has failed.
    """
    reader = csv.reader(io.StringIO(_decode(block, line), newline=""))
    number, width, numbers = line + 1, len(columns.cells), {*columns.numbers}
    for cells in reader:
        got = 0 if _is_blank(cells) else len(cells)
        for i, cell in enumerate(cells[: min(got, width)]):
            if (i in numbers or i == columns.label) and (why := _objection(cell, dtype, i in numbers)):
                return f"line {number}, {columns.place(i)}: {why}"
        if got not in (0, width):
            where = columns.place(got) if got < width else f"after {columns.place(width - 1)}"
            return f"line {number}, {where}: expected {width} cells, got {got}"
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
