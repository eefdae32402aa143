"""What the commands read and write: samples and labels out of CSV files, model files, and results."""

import argparse
import os
import reprlib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import cmlp
from cmlp import _csv, model_file

Array = NDArray[Any]

# Each is written out at once: whoever reads the other end of a pipe waits for it, or has left.
say = partial(print, flush=True)


def import_pandas() -> Any:
    """Return pandas, which writes tables: importing it takes longer than all of cmlp."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError('tables need pandas: pip install "cmlp[cli]"') from error

    return pandas


def set_threads(given: argparse.Namespace) -> None:
    if given.threads is not None:
        cmlp.set_num_threads(given.threads)


def output(path: str, *inputs: str) -> AbstractContextManager[IO[bytes]]:
    """Open the file to write: first of all, so that no work is lost if it cannot be."""
    if path in ("", "-"):
        raise ValueError(f"--out must name a file, got {path!r}")
    for other in inputs:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise ValueError(f"--out {path} would overwrite {other}, which is read")
    return model_file.replacing(path)


def stdout() -> IO[bytes]:
    """Open stdout once more: under PYTHONUNBUFFERED Python's own may write a part of the bytes and say nothing."""
    if sys.stdout is None:
        raise OSError("stdout is closed: --out names a file")
    return open(sys.stdout.fileno(), "wb", closefd=False)


def _read(
    given: argparse.Namespace, dtype: DTypeLike, text: bool | None, columns: Sequence[str] | None
) -> tuple[Array, Array | None, list[str] | None]:
    """Return samples, what belongs to each, and the names of the features, if a header says so."""
    kept = np.dtype(dtype)
    X, y, found = _csv.read(Path(given.file), given.label, kept, given.header, columns, given.ignore, text)
    return X, y, found.names if found.header else None


def labelled(
    given: argparse.Namespace, dtype: DTypeLike, text: bool | None, columns: Sequence[str] | None = None
) -> tuple[Array, Array, list[str] | None]:
    """Return samples, their labels, whole numbers or text, and the names of the features, if they have some."""
    X, y, names = _read(given, dtype, text, columns)
    if y is None or y.dtype.kind not in "iU":
        wanted = f"labels must be whole numbers or names, got others in column {given.label!r}"
        raise ValueError(f"{given.file}: {wanted}; --regression predicts numbers")
    return X, y, names


def measured(
    given: argparse.Namespace, dtype: DTypeLike, columns: Sequence[str] | None = None
) -> tuple[Array, Array, list[str] | None]:
    """Return samples, the number that belongs to each, and the names of the features if they have some."""
    X, y, names = _read(given, dtype, False, columns)
    return X, np.asarray(y, np.float64), names


def unlabelled(given: argparse.Namespace, dtype: DTypeLike, columns: Sequence[str] | None) -> Array:
    """Return samples alone, whatever the column of labels holds: there may be no labels yet."""
    label = "label" if given.label is None else given.label
    ignore = [*given.ignore, label]
    X, _, found = _csv.read(Path(given.file), None, np.dtype(dtype), given.header, columns, ignore, None)
    if columns is None and given.label is not None and isinstance(label, str) and label not in found.cells:
        raise ValueError(f"{given.file}: no column {label!r} in {reprlib.repr(found.cells)} to leave out")
    return X


def model_of(path: str) -> cmlp.NeuralNetwork:
    """Return a model that predicts classes, or a number."""
    network = cmlp.NeuralNetwork.load(path)
    if not network._classifies and network.layers[-1].neurons > 1:
        raise ValueError(f"{path}: expected a model that predicts one number, got {network.layers[-1].neurons} outputs")
    return network


def errors(network: cmlp.NeuralNetwork, X: Array, y: Array) -> tuple[float, float]:
    """Return R^2 and the root of the mean squared error of the numbers that a model predicts."""
    squared = float(np.mean((network.predict(X)[0] - y) ** 2))
    return 1 - squared / float(np.var(y)) if np.ptp(y) > 0 else np.nan, squared**0.5


def set_names(network: cmlp.NeuralNetwork, features: list[str] | None, classes: Array | None) -> None:
    """Let the model know what its features are called, if these names differ, and its classes, if it has some."""
    if features is not None and len(set(features)) == len(features):
        network.feature_names = features
    network.class_names = classes


def class_names(network: cmlp.NeuralNetwork) -> Array:
    """Return what the classes of a model are called: 0, 1, 2, ... unless it knows better."""
    return np.arange(max(2, network.layers[-1].neurons)) if network.class_names is None else network.class_names


def check_features(X: Array, network: cmlp.NeuralNetwork, given: argparse.Namespace) -> None:
    """Check that there are as many features as the model was trained on."""
    expected = network.layers[0].input_size
    if len(X) != expected:
        raise ValueError(
            f"{given.file}: expected {expected} features, as {given.model} was trained on, got {len(X)}; "
            "--label names a column that is not a feature, --ignore others"
        )


def class_numbers(y: Array, classes: Array, given: argparse.Namespace) -> Array:
    """Return the labels as the numbers that the classes of a model have."""
    known = classes.tolist()
    labels, of_each = np.unique(y, return_inverse=True)
    for label in labels.tolist():
        if label not in known:
            listed = reprlib.repr(known)[1:-1]
            raise ValueError(f"{given.file}: labels must be {listed}, as {given.model} has them, got {label!r}")
    return np.array([known.index(label) for label in labels.tolist()])[of_each]
