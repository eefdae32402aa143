"""Losses, their derivatives, and what goes with them: targets from labels, labels from outputs. In plain NumPy.

Letters: m samples, one a column; z and a (n, m) the output layer's values before and after its activation; y (n, m)
targets. Every loss is a mean over the samples; a derivative is that of each sample's own loss.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cmlp.activations import (
    ACTIVATIONS,
    DERIVATIVES,
    Array,
    Function,
    activation_backward,
    floating,
    look_up,
)


def _targets(A: Array, Y: ArrayLike) -> Array:
    """Return Y in A's dtype. Its shape has to be A's: broadcasting would give a number that means nothing."""
    targets = np.asarray(Y, dtype=A.dtype)
    if targets.shape != A.shape:
        raise ValueError(f"Y must have the outputs' shape {A.shape}, got {targets.shape}: see one_hot")
    return targets


def _y_log_a(Y: Array, A: Array) -> Array:
    """Return y log a, with 0 log 0 = 0; y log 0 is minus infinity for any other y."""
    with np.errstate(divide="ignore"):
        return np.asarray(Y * np.log(np.where((Y == 0) & (A == 0), 1, A)))


def cross_entropy(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over the samples of -sum_j y_j log a_j.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Probabilities, and targets that sum to 1 in each column.

    Returns
    -------
    float
        Nats per sample.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    A = np.asarray(A, dtype=np.float64)
    return float(-np.mean(np.sum(_y_log_a(_targets(A, Y), A), axis=0)))


def cross_entropy_deriv(A: ArrayLike, Y: ArrayLike) -> Array:
    """Return a - y, the dz of a softmax and cross-entropy together.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Probabilities that a softmax gave, and targets that sum to 1 in each column.

    Returns
    -------
    ndarray of shape (n, m), float32 or float64
        Derivative of each sample's loss by the softmax's input.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    A = floating(A)
    return A - _targets(A, Y)


def binary_cross_entropy(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over samples and outputs of -(y log a + (1 - y) log(1 - a)).

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Probabilities, each on its own, and targets in [0, 1].

    Returns
    -------
    float
        Nats per output.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    A = np.asarray(A, dtype=np.float64)
    Y = _targets(A, Y)
    return float(-np.mean(_y_log_a(Y, A) + _y_log_a(1 - Y, 1 - A)))


def mean_squared_error(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over samples and outputs of (a - y)^2.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Outputs and targets.

    Returns
    -------
    float
        The square of the targets' unit.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    A = np.asarray(A, dtype=np.float64)
    return float(np.mean((A - _targets(A, Y)) ** 2))


LOSSES: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_squared_error": mean_squared_error,
}

# The output activations whose dz is known for each loss.
PAIRS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    "mean_squared_error": tuple(ACTIVATIONS),
}

# The notebook's table; a loss stands in it with the dz that it has after a softmax.
derivatives: dict[Callable[..., Any], Function] = {**DERIVATIVES, cross_entropy: cross_entropy_deriv}


def check_pair(loss: str, activation: str) -> None:
    """Refuse a loss that has no derivative here after this output activation."""
    allowed = look_up("loss", loss, PAIRS)
    if activation not in allowed:
        raise ValueError(f"{loss} needs {' or '.join(allowed)} as the output activation, got {activation!r}")


def loss_value(loss: str, activation: str, Z: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean loss from the last layer's z, without a logarithm of a rounded probability.

    The logarithm of the softmax is z_j - log sum_i exp(z_i); binary cross-entropy of the sigmoid comes to
    max(z, 0) - z y + log(1 + exp(-abs(z))).

    Parameters
    ----------
    loss, activation : str
        A name of PAIRS, and one of the output activations there.
    Z, Y : ndarray of shape (n, m), float32 or float64
        The last layer's values before its activation, and the targets.

    Returns
    -------
    float
        The value of ``LOSSES[loss]`` at a = f(z).

    Raises
    ------
    ValueError
        If the loss and the activation are not a pair, or the shapes differ.
    """
    check_pair(loss, activation)
    Z = np.asarray(Z, dtype=np.float64)
    Y = _targets(Z, Y)
    if loss == "cross_entropy":
        Z = Z - np.max(Z, axis=0, keepdims=True)
        return float(np.mean(np.sum(Y * (np.log(np.sum(np.exp(Z), axis=0)) - Z), axis=0)))
    if loss == "binary_cross_entropy":
        return float(np.mean(np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))))
    return LOSSES[loss](ACTIVATIONS[activation](Z), Y)


def output_gradient(loss: str, activation: str, Z: ArrayLike, Y: ArrayLike) -> Array:
    """Return dz of the last layer.

    Parameters
    ----------
    loss, activation : str
        A name of PAIRS, and one of the output activations there.
    Z, Y : ndarray of shape (n, m), float32 or float64
        The last layer's values before its activation, and the targets.

    Returns
    -------
    ndarray like Z
        Derivative of each sample's loss by Z, not yet divided by m.

    Raises
    ------
    ValueError
        If the loss and the activation are not a pair, or the shapes differ.
    """
    check_pair(loss, activation)
    A = ACTIVATIONS[activation](Z)
    error = A - _targets(A, Y)
    if loss == "cross_entropy":
        return error
    if loss == "binary_cross_entropy":
        return error / len(A)
    return activation_backward(activation, Z, 2 * error / len(A))


def one_hot(Y: ArrayLike, n_classes: int | None = None) -> Array:
    """Return one column per label, 1 in the label's row and 0 elsewhere.

    Parameters
    ----------
    Y : ndarray of shape (m,), integers
        Labels, counted from 0.
    n_classes : int, optional
        Number of rows. The default is the notebook's, the largest label plus 1: too few for a batch without
        the top class, so training has to give the number.

    Returns
    -------
    ndarray of shape (n_classes, m), float64
        The targets.

    Raises
    ------
    ValueError
        If a label is no integer from 0 to n_classes - 1.
    """
    n = int(np.max(Y)) + 1 if n_classes is None else n_classes
    hot = np.arange(n)[:, np.newaxis] == np.asarray(Y)
    if not np.all(np.any(hot, axis=0)):
        raise ValueError(f"labels must be integers from 0 to {n - 1} for {n} classes, got {np.unique(Y)}")
    return np.asarray(hot, dtype=np.float64)


def get_predictions(A: ArrayLike) -> Array:
    """Return the row of each column's largest value.

    Parameters
    ----------
    A : ndarray of shape (n, m), float32 or float64
        Outputs of a network.

    Returns
    -------
    ndarray of shape (m,), integers
        Labels, counted from 0.
    """
    return np.asarray(np.argmax(A, axis=0))


def get_accuracy(predictions: ArrayLike, Y: ArrayLike) -> float:
    """Return the share of predictions that are right.

    Parameters
    ----------
    predictions, Y : ndarray of shape (m,), integers
        Predicted labels and true ones.

    Returns
    -------
    float
        A fraction from 0 to 1.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    predictions, Y = np.asarray(predictions), np.asarray(Y)
    if predictions.shape != Y.shape:
        raise ValueError(f"predictions and labels must have one shape, got {predictions.shape} and {Y.shape}")
    return float(np.mean(predictions == Y))
