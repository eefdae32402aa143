"""Losses, their derivatives, and what goes with them: targets from labels, labels from outputs. In plain NumPy.

Letters: m samples, one a column; z and a (n, m) the output layer's values before and after its activation; y (n, m)
targets; e = a - y. Every loss is a mean over the samples; a derivative is that of each sample's own loss.
"""

from __future__ import annotations  # whose names are what `help` shows

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from operator import index
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp.activations import (
    ACTIVATIONS,
    DERIVATIVES,
    Array,
    Function,
    activation_backward,
    exp,
    floating,
    look_up,
    sigmoid,
    softmax,
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


def smooth(Y: Array, label_smoothing: float = 0.0) -> Array:
    """Return targets a share of which is spread evenly over the outputs.

    Parameters
    ----------
    Y : ndarray of shape (n, m), any number type
        Targets.
    label_smoothing : float, default 0.0
        The share s, in [0, 1).

    Returns
    -------
    ndarray of shape (n, m), float32 or float64
        (1 - s) y + s / n: Szegedy et al., 2016, section 7.

    Raises
    ------
    ValueError
        If the share is out of its range.
    """
    check_options("cross_entropy", {"label_smoothing": label_smoothing})
    return np.asarray((1 - label_smoothing) * Y + label_smoothing / len(Y))


def cross_entropy(A: ArrayLike, Y: ArrayLike, label_smoothing: float = 0.0) -> float:
    """Return the mean over the samples of -sum_j y_j log a_j.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Probabilities, and targets that sum to 1 in each column.
    label_smoothing : float, default 0.0
        Share s of each target, in [0, 1), that goes to all outputs alike: (1 - s) y + s / n stands in y's place.

    Returns
    -------
    float
        Nats per sample.

    Raises
    ------
    ValueError
        If the shapes differ, or the option is out of its range.
    """
    A = np.asarray(A, dtype=np.float64)
    return float(-np.mean(np.sum(_y_log_a(smooth(_targets(A, Y), label_smoothing), A), axis=0)))


def cross_entropy_deriv(A: ArrayLike, Y: ArrayLike, label_smoothing: float = 0.0) -> Array:
    """Return a - y, the dz of a softmax and cross-entropy together.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Probabilities that a softmax gave, and targets that sum to 1 in each column.
    label_smoothing : float, default 0.0
        As in cross_entropy.

    Returns
    -------
    ndarray of shape (n, m), float32 or float64
        Derivative of each sample's loss by the softmax's input.

    Raises
    ------
    ValueError
        If the shapes differ, or the option is out of its range.
    """
    A = floating(A)
    return A - smooth(_targets(A, Y), label_smoothing)


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


def _squared(error: Array) -> tuple[Array, Array]:
    """e^2."""
    return error**2, 2 * error


def _absolute(error: Array) -> tuple[Array, Array]:
    """abs(e), with the derivative 0 at its kink."""
    return np.abs(error), np.sign(error)


def _huber(error: Array, delta: float = 1.0) -> tuple[Array, Array]:
    """Half of e^2 within delta of 0 and delta (abs(e) - delta / 2) beyond, with e cut at delta as the derivative."""
    near = np.clip(error, -delta, delta)
    return near * (error - near / 2), near


def _quantile(error: Array, levels: Sequence[float]) -> tuple[Array, Array]:
    """max(-q e, (1 - q) e), with the derivative 0 at its kink."""
    q = np.asarray(levels, dtype=error.dtype)[:, np.newaxis]
    if len(q) != len(error):
        raise ValueError(f"levels must hold one number for each of the {len(error)} outputs, got {len(q)}")
    slope = np.where(error > 0, 1 - q, q)
    return slope * np.abs(error), slope * np.sign(error)


# The losses that are a mean over samples and outputs of a function of e: that function and its derivative.
_OF_ERROR: dict[str, Callable[..., tuple[Array, Array]]] = {
    "mean_squared_error": _squared,
    "mean_absolute_error": _absolute,
    "huber": _huber,
    "quantile": _quantile,
}


def _mean_of_error(loss: str, A: ArrayLike, Y: ArrayLike, **options: Any) -> float:
    check_options(loss, options)
    A = np.asarray(A, dtype=np.float64)
    return float(np.mean(_OF_ERROR[loss](A - _targets(A, Y), **options)[0]))


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
    return _mean_of_error("mean_squared_error", A, Y)


def mean_absolute_error(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over samples and outputs of abs(a - y).

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Outputs and targets.

    Returns
    -------
    float
        The targets' unit.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _mean_of_error("mean_absolute_error", A, Y)


def huber(A: ArrayLike, Y: ArrayLike, delta: float = 1.0) -> float:
    """Return the mean over samples and outputs of (a - y)^2 / 2, which goes on as a line beyond delta: Huber, 1964.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Outputs and targets.
    delta : float, default 1.0
        The error, more than 0, from where on the loss of an output is delta (abs(a - y) - delta / 2).

    Returns
    -------
    float
        The square of the targets' unit.

    Raises
    ------
    ValueError
        If the shapes differ, or the option is out of its range.
    """
    return _mean_of_error("huber", A, Y, delta=delta)


def quantile_loss(A: ArrayLike, Y: ArrayLike, levels: Sequence[float]) -> float:
    """Return the mean over samples and outputs of max(q (y - a), (q - 1) (y - a)): Koenker & Bassett, 1978.

    It is least where a is the quantile q of the y that belong to the same input.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Outputs and targets.
    levels : sequence of n floats
        The quantile that each output stands for, between 0 and 1.

    Returns
    -------
    float
        The targets' unit.

    Raises
    ------
    ValueError
        If the shapes differ, or the levels are out of their range or not one for each output.
    """
    return _mean_of_error("quantile", A, Y, levels=levels)


def poisson(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over samples and outputs of y log(y / a) - y + a, half of the Poisson deviance.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Expected counts or rates of more than 0, and observed ones of at least 0.

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
    return float(np.mean(_y_log_a(Y, Y) - _y_log_a(Y, A) - Y + A))


def given_gradient(A: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean over the samples of sum_j y_j a_j, whose derivative by a is y.

    It stands for a loss of one's own: y is then the derivative of that, by the outputs as they are now. A step of it is
    the step that the loss itself would give. As the outputs have changed after it, y has to be made anew for the next.

    Parameters
    ----------
    A, Y : ndarray of shape (n, m), float32 or float64
        Outputs, after their activation; and the derivative of each sample's loss by them, not divided by m. That of
        mean_squared_error would be 2 (a - target) / n.

    Returns
    -------
    float
        The mean of y times a, summed over the outputs: not the value of the loss that y is the derivative of.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    The squared error of those targets that are known:

    >>> import numpy as np
    >>> from cmlp import NeuralNetwork
    >>> X, Y = np.eye(3), np.array([[1, 2, np.nan], [3, np.nan, 4]])
    >>> nn = NeuralNetwork("given_gradient", rng=0)
    >>> nn.add_layer(3, 2, "identity")
    >>> for _ in range(500):
    ...     error = nn.forward(X) - Y
    ...     history = nn.partial_fit(X, np.where(np.isnan(Y), 0, 2 * error), optimizer="sgd", learning_rate=0.1)
    >>> bool(np.nanmax(np.abs(error)) < 1e-4)
    True
    """
    A = np.asarray(A, dtype=np.float64)
    return float(np.mean(np.sum(_targets(A, Y) * A, axis=0)))


LOSSES: dict[str, Callable[..., float]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "quantile": quantile_loss,
    "poisson": poisson,
    "given_gradient": given_gradient,
}

# The output activations whose dz is known for each loss.
PAIRS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    **dict.fromkeys(_OF_ERROR, tuple(ACTIVATIONS)),
    "poisson": ("exp",),
    "given_gradient": tuple(ACTIVATIONS),
}

# What a loss takes beside a and y: when it is in its range, and that range in words.
OPTIONS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "cross_entropy": {"label_smoothing": (lambda s: 0 <= s < 1, "a number of at least 0 and less than 1")},
    "huber": {"delta": (lambda d: 0 < d < np.inf, "a finite number of more than 0")},
    "quantile": {
        "levels": (lambda q: len(q) > 0 and all(0 < x < 1 for x in q), "numbers between 0 and 1, at least one")
    },
}

# The notebook's table; a loss stands in it with the dz that it has after a softmax.
derivatives: dict[Callable[..., Any], Function] = {**DERIVATIVES, cross_entropy: cross_entropy_deriv}


def check_pair(loss: str, activation: str) -> None:
    """Refuse a loss that has no derivative here after this output activation."""
    allowed = look_up("loss", loss, PAIRS)
    if activation not in allowed:
        raise ValueError(f"{loss} needs {' or '.join(allowed)} as the output activation, got {activation!r}")


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that the loss does not have or that is out of its range."""
    known = OPTIONS.get(name, {})
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}, but {', '.join(known) or 'none'}")
        in_range, expected = known[option]
        try:
            good = not isinstance(value, bool) and in_range(value)
        except TypeError:
            raise TypeError(f"{option} must be {expected}, got {value!r}") from None
        if not good:
            raise ValueError(f"{option} must be {expected}, got {value!r}")


class LossWithOptions:
    """A loss with its options, which are its fields."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_options(self.name, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """
        What loss_value and output_gradient take as options.

        Returns
        -------
        dict of str to object
            The fields.
        """
        return dict(vars(self))


@dataclass(frozen=True)
class CrossEntropy(LossWithOptions):
    """
    Cross-entropy after a softmax, with label smoothing if wanted.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        Share s of each target, in [0, 1), that goes to all n classes alike: (1 - s) y + s / n stands in y's place [1]_.

    Raises
    ------
    ValueError, TypeError
        If the option is out of its range.

    References
    ----------
    .. [1] Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision", 2016.
    """

    name: ClassVar[str] = "cross_entropy"
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Huber(LossWithOptions):
    """
    Half of the squared error near 0, and a line further out, so that outliers weigh less.

    Parameters
    ----------
    delta : float, default 1.0
        The error, more than 0, from where on the loss is ``delta * (abs(a - y) - delta / 2)``.

    Raises
    ------
    ValueError, TypeError
        If the option is out of its range.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", 1964.
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0


@dataclass(frozen=True)
class Quantile(LossWithOptions):
    """
    The loss whose best outputs are quantiles of the targets: 0.5 is the median.

    Parameters
    ----------
    levels : sequence of float, default (0.5,)
        The quantile that each output stands for, between 0 and 1. Of several levels each number to predict has as
        many outputs, side by side, and one row of y.

    Raises
    ------
    ValueError, TypeError
        If the option is out of its range.

    References
    ----------
    .. [1] Koenker, Bassett, "Regression quantiles", 1978.
    """

    name: ClassVar[str] = "quantile"
    levels: Sequence[float] = (0.5,)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "levels", tuple(float(level) for level in self.levels))


# The losses that take options, by their names.
WITH_OPTIONS: dict[str, Any] = {loss.name: loss for loss in (CrossEntropy, Huber, Quantile)}


def _cross_entropy_of_softmax(Z: Array, Y: Array, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    """-sum_j y_j log a_j, where log a_j is z_j - log sum_i exp(z_i)."""
    Y = smooth(Y, label_smoothing)
    below = Z - np.max(Z, axis=0, keepdims=True)
    return np.sum(Y * (np.log(np.sum(np.exp(below), axis=0)) - below), axis=0), softmax(Z) - Y


def _binary_cross_entropy_of_sigmoid(Z: Array, Y: Array) -> tuple[Array, Array]:
    """The logarithms come to max(z, 0) - z y + log(1 + exp(-abs(z)))."""
    values = np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))
    return np.mean(values, axis=0), (sigmoid(Z) - Y) / len(Z)


def _poisson_of_exp(Z: Array, Y: Array) -> tuple[Array, Array]:
    """The logarithm of a is z."""
    A = exp(Z)
    return np.mean(_y_log_a(Y, Y) - Y * Z - Y + A, axis=0), (A - Y) / len(Z)


# The pairs whose logarithm and activation cancel: from z, each sample's loss (m,) and its derivative by z (n, m).
_OF_Z: dict[tuple[str, str], Callable[..., tuple[Array, Array]]] = {
    ("cross_entropy", "softmax"): _cross_entropy_of_softmax,
    ("binary_cross_entropy", "sigmoid"): _binary_cross_entropy_of_sigmoid,
    ("poisson", "exp"): _poisson_of_exp,
}


def _of_z(loss: str, activation: str, Z: Array, Y: ArrayLike, options: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return each sample's loss (m,) and its derivative by z (n, m)."""
    check_pair(loss, activation)
    check_options(loss, options)
    targets = _targets(Z, Y)
    if (loss, activation) in _OF_Z:
        return _OF_Z[loss, activation](Z, targets, **options)
    A = ACTIVATIONS[activation](Z)
    if loss == "given_gradient":
        return np.sum(targets * A, axis=0), activation_backward(activation, Z, targets)
    values, slopes = _OF_ERROR[loss](A - targets, **options)
    return np.mean(values, axis=0), activation_backward(activation, Z, slopes / len(Z))


def loss_value(
    loss: str, activation: str, Z: ArrayLike, Y: ArrayLike, weights: Array | None = None, **options: Any
) -> float:
    """Return the mean loss from the last layer's z, without a logarithm of a rounded output.

    Parameters
    ----------
    loss, activation : str
        A name of PAIRS, and one of the output activations there.
    Z, Y : ndarray of shape (n, m), float32 or float64
        The last layer's values before its activation, and the targets.
    weights : ndarray of shape (m,), optional
        The weight of each sample in the mean, at least 0 and not all 0. By default all weigh the same.
    **options : float or sequence of float
        The loss's own: label_smoothing, delta or levels.

    Returns
    -------
    float
        The value of ``LOSSES[loss]`` at a = f(z).

    Raises
    ------
    ValueError
        If the loss and the activation are not a pair, the shapes differ, or an option is out of its range.
    """
    values, _ = _of_z(loss, activation, np.asarray(Z, dtype=np.float64), Y, options)
    return float(np.average(values, weights=weights))


def output_gradient(loss: str, activation: str, Z: ArrayLike, Y: ArrayLike, **options: Any) -> Array:
    """Return dz of the last layer.

    Parameters
    ----------
    loss, activation : str
        A name of PAIRS, and one of the output activations there.
    Z, Y : ndarray of shape (n, m), float32 or float64
        The last layer's values before its activation, and the targets.
    **options : float or sequence of float
        The loss's own: label_smoothing, delta or levels.

    Returns
    -------
    ndarray like Z
        Derivative of each sample's loss by Z, not yet divided by m.

    Raises
    ------
    ValueError
        If the loss and the activation are not a pair, the shapes differ, or an option is out of its range.
    """
    return _of_z(loss, activation, floating(Z), Y, options)[1]


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
        If there is none, or a label is no integer from 0 to n_classes - 1.
    TypeError
        If labels are no numbers, or masked.
    """
    _unmasked(Y)
    Y = np.asarray(Y)
    if Y.ndim != 1 or Y.size == 0:
        raise ValueError(f"labels must have shape (m,), of one sample at least, got {Y.shape}")
    if _kind(Y) != "numbers":
        raise TypeError(f"labels must be integers, got {Y.dtype}")
    if n_classes is None and not 0 <= np.max(Y) < np.inf:
        raise ValueError(f"labels must be integers of at least 0, got {np.unique(Y)}")
    n = int(np.max(Y)) + 1 if n_classes is None else index(n_classes)
    hot = np.arange(n)[:, np.newaxis] == Y
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
    predictions, Y : ndarray of shape (m,), integers or str
        Predicted labels and true ones.

    Returns
    -------
    float
        A fraction from 0 to 1.

    Raises
    ------
    ValueError
        If the shapes differ, or there is nothing to compare.
    TypeError
        If some are numbers and the others text, of which none is ever right.
    """
    for labels in (predictions, Y):
        _unmasked(labels)
    predictions, Y = np.asarray(predictions), np.asarray(Y)
    if predictions.shape != Y.shape:
        raise ValueError(f"predictions and labels must have one shape, got {predictions.shape} and {Y.shape}")
    if Y.size == 0:
        raise ValueError("predictions and labels must be of one sample at least, got none")
    kinds = {_kind(predictions), _kind(Y)}
    if len(kinds) > 1 and "others" not in kinds:
        raise TypeError(
            f"predictions and labels must both be numbers or both be text, got {predictions.dtype} and {Y.dtype}: "
            "class_names[predictions] makes names of numbers"
        )
    return float(np.mean(predictions == Y))


def _kind(labels: NDArray[np.generic]) -> str:
    """Return whether labels are numbers, text or bytes, as NumPy or as pandas keeps them."""
    if labels.dtype.kind == "O":
        for name, kind in (("text", str), ("bytes", bytes)):
            if any(isinstance(one, kind) for one in labels.flat):
                return name
        return "numbers" if all(isinstance(one, Number) for one in labels.flat) else "others"
    kinds = {"numbers": "biuf", "text": "TU", "bytes": "S"}
    return next((name for name, letters in kinds.items() if labels.dtype.kind in letters), "others")


def _unmasked(labels: ArrayLike) -> None:
    """That nothing of labels is masked, which would be taken at its hidden value."""
    if np.ma.isMaskedArray(labels):
        raise TypeError("labels are masked: leave out those samples")
