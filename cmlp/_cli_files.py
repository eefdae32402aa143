"""What the commands read and write: samples and labels out of CSV files, model files, and results."""

import argparse
import os
import sys
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Any

from numpy.typing import DTypeLike, NDArray

import cmlp
from cmlp import model_file

Array = NDArray[Any]

# Each is written out at once: whoever reads the other end of a pipe waits for it, or has left.
say = partial(print, flush=True)


def import_pandas() -> Any:
    """Return pandas: importing it takes longer than all of cmlp. load_csv has said so if it is missing."""
    import pandas

    return pandas


def set_threads(given: argparse.Namespace) -> None:
    if given.threads is not None:
        cmlp.set_num_threads(given.threads)


def output(path: str, *inputs: str) -> AbstractContextManager[IO[bytes]]:
    """Open the file to write: first of all, so that no work is lost if it cannot be."""
    for other in inputs:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise ValueError(f"--out {path} would overwrite {other}, which is read")
    return model_file.replacing(path)


def stdout() -> IO[bytes]:
    """Open stdout once more: under PYTHONUNBUFFERED Python's own may write a part of the bytes and say nothing."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


def labelled(given: argparse.Namespace, dtype: DTypeLike) -> tuple[Array, Array]:
    """Return samples and their labels."""
    X, y, _ = cmlp.load_csv(given.file, given.label, dtype, given.header)
    if y is None or y.dtype.kind != "i" or y.min() < 0:
        raise ValueError(
            f"{given.file}: labels must be whole numbers of at least 0, got others in column {given.label!r}"
        )
    return X, y


def classifier(path: str) -> cmlp.NeuralNetwork:
    """Return a model that predicts classes."""
    network = cmlp.NeuralNetwork.load(path)
    if not network._classifies:
        raise ValueError(f"{path}: expected a classifier, got a network for regression ({network.loss})")
    return network


def check_features(X: Array, network: cmlp.NeuralNetwork, given: argparse.Namespace) -> None:
    """Check that the samples are such as the model was trained on."""
    expected = network.layers[0].input_size
    if len(X) != expected:
        raise ValueError(
            f"{given.file}: expected {expected} features, as {given.model} was trained on, got {len(X)}; "
            "--label names a column that is not a feature"
        )
