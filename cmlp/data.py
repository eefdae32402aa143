"""Tables of numbers with labels: read one from a CSV file, and set samples aside for a test.

Samples are the columns of X, as in the whole package; in the file, and in the memory behind X, they are rows.
"""

import operator
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cmlp import _csv, _validate, _validate_data


def load_csv(
    path: str | PathLike[str],
    label: str | int | None = "label",
    dtype: DTypeLike = "float32",
    header: bool | None = None,
    columns: Sequence[str] | None = None,
    ignore: Sequence[str | int] = (),
    text_labels: bool | None = None,
) -> tuple[_csv.Features, _csv.Labels | None, list[str]]:
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
        Whether the first row names the columns. By default it does if it holds all of `columns`, if any of its cells
        is text, but that of a label or of a column left out that is given by its position; if that of such a label is
        text above a number, unless labels are text; or if it counts four columns or more: 0, 1, 2, 3, ... Other names
        that are numbers look like a row. Blanks around names, and around labels that are text, do not count.
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
        The labels: int64 if all are whole numbers below 2^53, str if they are text, such as classes' names: of these
        ``np.unique(y, return_inverse=True)`` makes classes 0, 1, 2, ...; None if `label` is None.
    names : list of str
        The n_features names of the features in the header; "0", "1", ... if the file has none.

    Raises
    ------
    ValueError
        If a feature is not a finite number, or a row not as long as the first, if the file is empty, or has no such
        column, or `dtype` is not one of these. The message is one line that names the file, the line in it (counting
        from 1) and the column.
    TypeError
        If `label` is not a str, an int or None, or `columns` or `ignore` a str.
    FileNotFoundError
        If there is no such file.
    ImportError
        If pandas is not installed, which reads all files but those of nothing but digits, as pixels are.

    Examples
    --------
    >>> X, y, names = load_csv("data/images.csv.gz")  # doctest: +SKIP
    >>> X.shape, y.shape, names[:2]  # doctest: +SKIP
    ((784, 42000), (42000,), ['pixel0', 'pixel1'])
    """
    kept = _validate.dtype(dtype)
    X, y, found = _csv.read(Path(path), label, kept, header, columns, ignore, text_labels)
    return X, y.astype(kept) if y is not None and y.dtype.kind == "f" else y, found.names


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
        If `test_size` is not a number, an array is masked, or X sparse.

    Examples
    --------
    >>> import numpy as np
    >>> X_train, X_test, y_train, y_test = train_test_split(np.eye(3), [0, 1, 2], test_size=1, rng=0)
    >>> y_train, y_test
    (array([2, 0]), array([1]))
    """
    _validate_data.dense(X, "X", "train_test_split splits")
    _validate_data.unmasked(X, "X")
    _validate_data.unmasked(y, "y")
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
