"""Activations and their derivatives, in plain NumPy.

Letters: z and a of shape (n, m), a layer's values before and after its activation, one sample a column.
"""

from __future__ import annotations  # whose names are what `help` shows

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Function = Callable[..., Array]
T = TypeVar("T")

LEAK = 0.01  # slope of leaky_relu below 0
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543773  # Klambauer et al., 2017
GELU_CUBIC = 0.044715  # Hendrycks & Gimpel, 2016, section 2
# exp(-FAR) is 0 in every type. A z further out counts as FAR where it stands beside such a factor: infinity times 0
# is NaN, and the limit is 0.
FAR = 2e4


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


def leaky_relu(Z: ArrayLike) -> Array:
    """Return z where z > 0 and z / 100 elsewhere: Maas et al., 2013.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of z's sign; NaN stays NaN.
    """
    Z = floating(Z)
    return np.asarray(np.where(Z > 0, Z, LEAK * Z))


def leaky_relu_deriv(Z: ArrayLike) -> Array:
    """Return 1 where z > 0 and 1 / 100 elsewhere, at the kink and at NaN too.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Slopes.
    """
    Z = floating(Z)
    return np.asarray(np.where(Z > 0, 1, LEAK), dtype=Z.dtype)


def elu(Z: ArrayLike) -> Array:
    """Return z where z > 0 and exp(z) - 1 elsewhere: Clevert et al., 2016, with their alpha of 1.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -1.
    """
    Z = floating(Z)
    return np.asarray(np.where(Z > 0, Z, np.expm1(np.minimum(Z, 0))))


def elu_deriv(Z: ArrayLike) -> Array:
    """Return 1 where z > 0 and exp(z) elsewhere.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, 1].
    """
    return np.asarray(np.exp(np.minimum(floating(Z), 0)))


def selu(Z: ArrayLike) -> Array:
    """Return scale * z where z > 0 and scale * alpha * (exp(z) - 1) elsewhere.

    With the numbers of Klambauer et al., 2017, which keep the mean 0 and the variance 1 from layer to layer.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -scale * alpha, which is -1.758.
    """
    Z = floating(Z)
    return np.asarray(SELU_SCALE * np.where(Z > 0, Z, SELU_ALPHA * np.expm1(np.minimum(Z, 0))))


def selu_deriv(Z: ArrayLike) -> Array:
    """Return scale where z > 0 and scale * alpha * exp(z) elsewhere, at the kink too.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, scale * alpha].
    """
    Z = floating(Z)
    return np.asarray(SELU_SCALE * np.where(Z > 0, 1, SELU_ALPHA * np.exp(np.minimum(Z, 0))))


def _normal_cdf(Z: Array) -> Array:
    """Return the standard normal distribution function, to the precision of float64.

    It is half of erfc(-z / sqrt(2)), which does not cancel where z is far below 0 as 1 + erf(z / sqrt(2)) does.
    """
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return np.asarray(erfc(np.asarray(Z, dtype=np.float64) / -math.sqrt(2)) / 2, dtype=Z.dtype)


def _gelu_u(Z: Array) -> Array:
    """Return the argument of gelu_tanh's tanh."""
    return np.asarray(math.sqrt(2 / math.pi) * Z * (1 + GELU_CUBIC * Z**2))


def gelu(Z: ArrayLike) -> Array:
    """Return z P(z), where P is the standard normal distribution function: Hendrycks & Gimpel, 2016.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -0.171.
    """
    Z = floating(Z)
    return np.asarray(np.maximum(Z, -FAR) * _normal_cdf(Z))


def gelu_deriv(Z: ArrayLike) -> Array:
    """Return P(z) + z p(z), where P and p are the standard normal distribution function and density.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-0.13, 1.13].
    """
    Z = np.clip(floating(Z), -FAR, FAR)
    return np.asarray(_normal_cdf(Z) + Z * np.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi))


def gelu_tanh(Z: ArrayLike) -> Array:
    """Return z (1 + tanh(u)) / 2, where u = sqrt(2 / pi) (z + 0.044715 z^3): Hendrycks & Gimpel, 2016.

    (1 + tanh(u)) / 2 is computed as sigmoid(2 u), which does not cancel where u is far below 0.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -0.171.
    """
    Z = np.maximum(floating(Z), -FAR)
    return np.asarray(Z * sigmoid(2 * _gelu_u(np.minimum(Z, FAR))))


def gelu_tanh_deriv(Z: ArrayLike) -> Array:
    """Return s + 2 z s (1 - s) u', where s = sigmoid(2 u) and u is that of gelu_tanh.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-0.13, 1.13].
    """
    Z = np.clip(floating(Z), -FAR, FAR)
    U = 2 * _gelu_u(Z)
    slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * GELU_CUBIC * Z**2)
    return np.asarray(sigmoid(U) + Z * sigmoid_deriv(U) * slope)


def silu(Z: ArrayLike) -> Array:
    """Return z sigmoid(z): Elfwing et al., 2018.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -0.28.
    """
    Z = floating(Z)
    return np.asarray(np.maximum(Z, -FAR) * sigmoid(Z))


def silu_deriv(Z: ArrayLike) -> Array:
    """Return s + z s (1 - s), where s = sigmoid(z).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-0.1, 1.1].
    """
    Z = np.clip(floating(Z), -FAR, FAR)
    return np.asarray(sigmoid(Z) + Z * sigmoid_deriv(Z))


def mish(Z: ArrayLike) -> Array:
    """Return z tanh(softplus(z)): Misra, 2019.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -0.31.
    """
    Z = floating(Z)
    return np.asarray(np.maximum(Z, -FAR) * np.tanh(softplus(Z)))


def mish_deriv(Z: ArrayLike) -> Array:
    """Return t + z (1 - t^2) sigmoid(z), where t = tanh(softplus(z)).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-0.12, 1.09].
    """
    Z = np.clip(floating(Z), -FAR, FAR)
    T = softplus(Z)
    return np.asarray(np.tanh(T) + Z * tanh_deriv(T) * sigmoid(Z))


def softplus(Z: ArrayLike) -> Array:
    """Return log(1 + exp(z)), computed as max(z, 0) + log(1 + exp(-abs(z))).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least 0.
    """
    Z = floating(Z)
    return np.asarray(np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z))))


def softplus_deriv(Z: ArrayLike) -> Array:
    """Return sigmoid(z).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [0, 1].
    """
    return sigmoid(Z)


def hard_swish(Z: ArrayLike) -> Array:
    """Return z min(max(z + 3, 0), 6) / 6: Howard et al., 2019.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least -3/8.
    """
    Z = floating(Z)
    return np.asarray(np.maximum(Z, -3) * (np.clip(Z + 3, 0, 6) / 6))


def hard_swish_deriv(Z: ArrayLike) -> Array:
    """Return 0 where z <= -3, 1 where z >= 3 and z / 3 + 1 / 2 between.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values in [-1/2, 3/2].
    """
    Z = floating(Z)
    return np.asarray(np.where(Z <= -3, 0, np.where(Z >= 3, 1, Z / 3 + 0.5)))


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


def exp(Z: ArrayLike) -> Array:
    """Return exp(z), which is infinite where the type has no such number.

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least 0: an output activation for targets that are.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(floating(Z)))


def exp_deriv(Z: ArrayLike) -> Array:
    """Return exp(z).

    Parameters
    ----------
    Z : ndarray of any shape, float32 or float64
        Values before the activation.

    Returns
    -------
    ndarray like Z
        Values of at least 0.
    """
    return exp(Z)


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

# Of those that look at one number at a time; each output of a softmax depends on all its inputs.
DERIVATIVES: dict[Callable[..., Any], Function] = {
    identity: identity_deriv,
    relu: relu_deriv,
    leaky_relu: leaky_relu_deriv,
    elu: elu_deriv,
    selu: selu_deriv,
    gelu: gelu_deriv,
    gelu_tanh: gelu_tanh_deriv,
    silu: silu_deriv,
    mish: mish_deriv,
    softplus: softplus_deriv,
    hard_swish: hard_swish_deriv,
    tanh: tanh_deriv,
    sigmoid: sigmoid_deriv,
    exp: exp_deriv,
}
ACTIVATIONS: dict[str, Function] = {f.__name__: f for f in (*DERIVATIVES, softmax)}


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
