"""Activations and their derivatives, in plain NumPy.

Letters: z and a of shape (n, m), a layer's values before and after its activation, one sample a column.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Function = Callable[..., Array]
T = TypeVar("T")


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, or say which names there are."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}, expected one of: {', '.join(table)}")
    return table[name]


def floating(values: ArrayLike) -> Array:
    """Return the values as a floating-point array: float32 stays float32, integers become float64."""
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def identity(Z: ArrayLike) -> Array:
    """Return z.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        The same values.
    """
    return floating(Z)


def identity_deriv(Z: ArrayLike) -> Array:
    """Return the derivative of z, which is 1.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Ones.
    """
    return np.ones_like(floating(Z))


def relu(Z: ArrayLike) -> Array:
    """Return max(z, 0).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least 0; NaN stays NaN.
    """
    return np.asarray(np.maximum(floating(Z), 0))


def relu_deriv(Z: ArrayLike) -> Array:
    """Return 1 where z > 0 and 0 elsewhere, at the kink and at NaN too.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Zeros and ones.
    """
    Z = floating(Z)
    return np.asarray(Z > 0, dtype=Z.dtype)


def sigmoid(Z: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-z)).

    Above and below are multiplied by exp(min(z, 0)), so that no exponential has a positive argument.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, 1].
    """
    Z = floating(Z)
    return np.asarray(np.exp(np.minimum(Z, 0)) / (1 + np.exp(-np.abs(Z))))


def sigmoid_deriv(Z: ArrayLike) -> Array:
    """Return a (1 - a), where a = sigmoid(z).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, 1/4].
    """
    A = sigmoid(Z)
    return np.asarray(A * (1 - A))


def tanh(Z: ArrayLike) -> Array:
    """Return the hyperbolic tangent of z.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-1, 1].
    """
    return np.asarray(np.tanh(floating(Z)))


def tanh_deriv(Z: ArrayLike) -> Array:
    """Return 1 - a^2, where a = tanh(z).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, 1].
    """
    return np.asarray(1 - tanh(Z) ** 2)


def softmax(Z: ArrayLike) -> Array:
    """Return exp(z_i) / sum_j exp(z_j) over axis 0.

    The largest z of each sample is subtracted first, which changes nothing but the range of the exponentials.

    Parameters
    ----------
    Z : ndarray of shape (n, m), float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Probabilities: each column sums to 1.
    """
    Z = floating(Z)
    exponentials = np.exp(Z - np.max(Z, axis=0, keepdims=True))
    return np.asarray(exponentials / np.sum(exponentials, axis=0, keepdims=True))


reLU, reLU_deriv = relu, relu_deriv  # the notebook's names

ACTIVATIONS: dict[str, Function] = {
    "identity": identity,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}


# Of those that look at one number at a time; each output of a softmax depends on all its inputs.
DERIVATIVES: dict[Callable[..., Any], Function] = {
    identity: identity_deriv,
    relu: relu_deriv,
    sigmoid: sigmoid_deriv,
    tanh: tanh_deriv,
}


def activation_backward(activation: str, Z: ArrayLike, dA: ArrayLike) -> Array:
    """Return dz, given the derivative of the loss by a = f(z).

    Parameters
    ----------
    activation : str
        A name of ACTIVATIONS.
    Z, dA : ndarray of shape (n, m), float32 or float64
        Values before the activation, and the derivative of each sample's loss by those after it.

    Returns
    -------
    ndarray of shape (n, m), float32 or float64
        Derivative of each sample's loss by Z.

    Raises
    ------
    ValueError
        If there is no such activation.
    """
    f = look_up("activation", activation, ACTIVATIONS)
    dA = floating(dA)
    if f is softmax:
        A = softmax(Z)
        return np.asarray(A * (dA - np.sum(A * dA, axis=0, keepdims=True)))
    return dA * DERIVATIVES[f](Z)
