"""Backpropagation in plain NumPy, to be read beside its derivation.

Nothing here is compiled or fast: it says what the kernels of cmlp have to compute, and their tests compare
with it.

Letters: m samples; k inputs and n outputs of a layer; L the loss, a mean over the samples; f an activation;
x (k, m) the data, one sample per column; W (n, k) weights; b (n, 1) biases; z and a (n, m) a layer's values
before and after its activation; y (n, m) targets. A ``d`` before a letter means the derivative of the loss by
it, in its shape. Each column of dz and da belongs to one sample and is the derivative of that sample's own
loss; the mean over the samples enters with dW and db.

Forward, for the layers l = 1, 2, ... from a_0 = x::

    z_l = W_l a_(l-1) + b_l
    a_l = f_l(z_l)

Backward starts at the last layer, with dz = a - y if that is a softmax under cross-entropy
(``output_gradient`` has the other pairs), and finds each layer's dz from the one above it by the chain rule::

    dW_l     = dz_l a_(l-1)^T / m
    db_l     = mean of dz_l over the samples
    da_(l-1) = W_l^T dz_l
    dz_(l-1) = da_(l-1) * f'_(l-1)(z_(l-1))

Every W in these lines is the one that the forward pass used: first all gradients are taken, then all
parameters move. Each output of a softmax depends on all its inputs, so there the last line has the softmax's
Jacobian in place of f': dz = a * (da - sum(a * da)), the sum being over the outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Function = Callable[..., Array]
State = dict[str, Any]
Seed = np.random.Generator | int | None
T = TypeVar("T")


def _look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, or say which names there are."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}, expected one of: {', '.join(table)}")
    return table[name]


def _floating(values: ArrayLike) -> Array:
    """Return the values as a floating-point array: float32 stays float32, integers become float64."""
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def _targets(A: Array, Y: ArrayLike) -> Array:
    """Return Y in A's dtype. Its shape has to be A's: broadcasting would give a number that means nothing."""
    targets = np.asarray(Y, dtype=A.dtype)
    if targets.shape != A.shape:
        raise ValueError(f"Y must have the outputs' shape {A.shape}, got {targets.shape}: see one_hot")
    return targets


# ---- Activations and their derivatives ----


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
    return _floating(Z)


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
    return np.ones_like(_floating(Z))


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
    return np.asarray(np.maximum(_floating(Z), 0))


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
    Z = _floating(Z)
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
    Z = _floating(Z)
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
    return np.asarray(np.tanh(_floating(Z)))


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
    Z = _floating(Z)
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
    f = _look_up("activation", activation, ACTIVATIONS)
    dA = _floating(dA)
    if f is softmax:
        A = softmax(Z)
        return np.asarray(A * (dA - np.sum(A * dA, axis=0, keepdims=True)))
    return dA * derivatives[f](Z)


# ---- Losses ----


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
    A = _floating(A)
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
derivatives: dict[Callable[..., Any], Function] = {
    identity: identity_deriv,
    relu: relu_deriv,
    sigmoid: sigmoid_deriv,
    tanh: tanh_deriv,
    cross_entropy: cross_entropy_deriv,
}


def _check_pair(loss: str, activation: str) -> None:
    """Refuse a loss that has no derivative here after this output activation."""
    allowed = _look_up("loss", loss, PAIRS)
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
    _check_pair(loss, activation)
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
    _check_pair(loss, activation)
    A = ACTIVATIONS[activation](Z)
    error = A - _targets(A, Y)
    if loss == "cross_entropy":
        return error
    if loss == "binary_cross_entropy":
        return error / len(A)
    return activation_backward(activation, Z, 2 * error / len(A))


# ---- Optimizers: the new value of one array of parameters ----


def sgd(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Array:
    """Step against the gradient, or against its decaying sum if there is momentum.

    The conventions are PyTorch's: weight_decay * p is added to the gradient, the velocity becomes
    momentum * velocity + g, and the step is learning_rate * velocity, or for Nesterov's variant
    learning_rate * (g + momentum * velocity).

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The velocity, kept from step to step; empty at first.
    t : int
        Number of this step, from 1. Unused.
    learning_rate : float
        Step length per unit of gradient.
    momentum : float
        Share of the velocity that survives a step, in [0, 1).
    nesterov : bool
        Whether to look ahead along the velocity.
    weight_decay : float
        Factor of the parameters in the gradient.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    g = g + weight_decay * p
    v = state["velocity"] = momentum * state.get("velocity", 0.0) + g
    return np.asarray(p - learning_rate * (g + momentum * v if nesterov else v))


def adam(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Array:
    """Step by the ratio of the gradient's mean to its root mean square: Kingma & Ba, 2015, Algorithm 1.

    Both are moving averages that start at 0; dividing by 1 - beta^t takes away that start's weight.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The two moments, kept from step to step; empty at first.
    t : int
        Number of this step, from 1.
    learning_rate : float
        Bound on a typical step of one parameter.
    beta1, beta2 : float
        Share of each moment that survives a step, in [0, 1).
    epsilon : float
        Added to the root mean square, to divide by no zero.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    first = state["first"] = beta1 * state.get("first", 0.0) + (1 - beta1) * g
    second = state["second"] = beta2 * state.get("second", 0.0) + (1 - beta2) * g**2
    mean, mean_square = first / (1 - beta1**t), second / (1 - beta2**t)
    return np.asarray(p - learning_rate * mean / (np.sqrt(mean_square) + epsilon))


def adamw(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> Array:
    """Shrink the parameters, then step as Adam does: Loshchilov & Hutter, 2019, Algorithm 2.

    The decay does not pass through Adam's moments. As in PyTorch it is multiplied by the learning rate.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The two moments, kept from step to step; empty at first.
    t : int
        Number of this step, from 1.
    learning_rate : float
        Bound on a typical step of one parameter.
    beta1, beta2 : float
        Share of each moment that survives a step, in [0, 1).
    epsilon : float
        Added to the root mean square, to divide by no zero.
    weight_decay : float
        Share of a parameter that is lost in a step, per unit of learning rate.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    return adam(p * (1 - learning_rate * weight_decay), g, state, t, learning_rate, beta1, beta2, epsilon)


OPTIMIZERS: dict[str, Function] = {"sgd": sgd, "adam": adam, "adamw": adamw}


# ---- Labels ----


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


# ---- The notebook's network of one hidden layer, as functions ----


def init_params(
    rng: Seed = None, n_inputs: int = 784, n_hidden: int = 20, n_classes: int = 10
) -> tuple[Array, Array, Array, Array]:
    """Draw the parameters of both layers uniformly from [-0.5, 0.5).

    Parameters
    ----------
    rng : Generator, int or None
        Source of the numbers, or its seed.
    n_inputs, n_hidden, n_classes : int
        Sizes of the data, the hidden layer and the output.

    Returns
    -------
    tuple of ndarray, float64
        The arrays W1 (n_hidden, n_inputs), b1 (n_hidden, 1), W2 (n_classes, n_hidden) and b2 (n_classes, 1).
    """
    rng = np.random.default_rng(rng)
    W1 = rng.random((n_hidden, n_inputs)) - 0.5
    b1 = rng.random((n_hidden, 1)) - 0.5
    W2 = rng.random((n_classes, n_hidden)) - 0.5
    b2 = rng.random((n_classes, 1)) - 0.5
    return W1, b1, W2, b2


def forward_prop(W1: Array, b1: Array, W2: Array, b2: Array, X: Array) -> tuple[Array, Array, Array, Array]:
    """Pass the data through a relu layer and a softmax layer.

    Parameters
    ----------
    W1, b1, W2, b2 : ndarray, float32 or float64
        The parameters, shaped as init_params makes them.
    X : ndarray of shape (n_inputs, m)
        The data.

    Returns
    -------
    tuple of ndarray, float32 or float64
        The arrays Z1 and A1 (n_hidden, m), Z2 and A2 (n_classes, m).
    """
    Z1 = W1 @ X + b1
    A1 = relu(Z1)
    Z2 = W2 @ A1 + b2
    A2 = softmax(Z2)
    return Z1, A1, Z2, A2


def backward_prop(
    Z1: Array, A1: Array, Z2: Array, A2: Array, W1: Array, W2: Array, X: Array, Y: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of the mean cross-entropy.

    The means are over the samples in X and the classes are A2's rows. The notebook took the first number from
    a global variable and the second from the labels at hand.

    Parameters
    ----------
    Z1, A1, Z2, A2 : ndarray, float32 or float64
        What forward_prop returned; Z2 is unused.
    W1, W2 : ndarray, float32 or float64
        The weights that forward_prop used; W1 is unused.
    X : ndarray of shape (n_inputs, m)
        The data.
    Y : ndarray of shape (m,), integers
        Labels, counted from 0.

    Returns
    -------
    tuple of ndarray, float64
        The gradients dW1, db1, dW2, db2 in the shapes of the parameters.
    """
    m = X.shape[1]
    dZ2 = A2 - one_hot(Y, len(A2))
    dW2 = dZ2 @ A1.T / m
    db2 = np.mean(dZ2, axis=1, keepdims=True)
    dZ1 = W2.T @ dZ2 * relu_deriv(Z1)
    dW1 = dZ1 @ X.T / m
    db1 = np.mean(dZ1, axis=1, keepdims=True)
    return dW1, db1, dW2, db2


def update_params(
    W1: Array, b1: Array, W2: Array, b2: Array, dW1: Array, db1: Array, dW2: Array, db2: Array, alpha: float
) -> tuple[Array, Array, Array, Array]:
    """Take one step of gradient descent.

    Parameters
    ----------
    W1, b1, W2, b2 : ndarray, float32 or float64
        The parameters; they are not changed.
    dW1, db1, dW2, db2 : ndarray, float32 or float64
        Their gradients.
    alpha : float
        Learning rate: step length per unit of gradient.

    Returns
    -------
    tuple of ndarray, float32 or float64
        The new W1, b1, W2, b2.
    """
    return W1 - alpha * dW1, b1 - alpha * db1, W2 - alpha * dW2, b2 - alpha * db2


def grad_descent(
    X: Array, Y: ArrayLike, alpha: float, epochs: int, rng: Seed = None
) -> tuple[Array, Array, Array, Array]:
    """Train the network on all samples at once, printing its accuracy on them every ten epochs.

    As in the notebook there are 20 hidden units and 10 classes, or more if the labels need more. The accuracy
    printed is that of the parameters before the epoch's step.

    Parameters
    ----------
    X : ndarray of shape (n_inputs, m)
        The data.
    Y : ndarray of shape (m,), integers
        Labels, counted from 0.
    alpha : float
        Learning rate: step length per unit of gradient.
    epochs : int
        Number of steps.
    rng : Generator, int or None
        Source of the initial parameters, or its seed.

    Returns
    -------
    tuple of ndarray, float64
        The trained W1, b1, W2, b2.
    """
    W1, b1, W2, b2 = init_params(rng, n_inputs=len(X), n_classes=max(10, int(np.max(Y)) + 1))
    for i in range(epochs):
        Z1, A1, Z2, A2 = forward_prop(W1, b1, W2, b2, X)
        dW1, db1, dW2, db2 = backward_prop(Z1, A1, Z2, A2, W1, W2, X, Y)
        W1, b1, W2, b2 = update_params(W1, b1, W2, b2, dW1, db1, dW2, db2, alpha)
        if i % 10 == 0:
            print("Epoch: ", i)
            print(get_accuracy(get_predictions(A2), Y))
    return W1, b1, W2, b2


# ---- Any number of layers ----


class Network:
    """Dense layers, each with its own activation, under one loss.

    Parameters
    ----------
    weights, biases : sequence of ndarray of shape (n, k) and (n, 1)
        One of each per layer, copied to float64. A layer's k is the n of the layer before.
    activations : sequence of str
        One name of ACTIVATIONS per layer.
    loss : str
        A name of LOSSES; the last activation must be one of ``PAIRS[loss]``.

    Raises
    ------
    ValueError
        If the layers do not fit each other, or the loss does not fit the last of them.
    """

    def __init__(
        self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activations: Sequence[str], loss: str
    ) -> None:
        self.weights: list[Array] = [np.array(W, dtype=np.float64) for W in weights]
        self.biases: list[Array] = [np.array(b, dtype=np.float64) for b in biases]
        self.activations, self.loss = list(activations), loss
        if not len(self.weights) == len(self.biases) == len(self.activations) > 0:
            raise ValueError("each layer needs weights, biases and an activation, and there must be a layer")
        k = self.weights[0].shape[-1]
        for W, b, activation in zip(self.weights, self.biases, self.activations, strict=True):
            _look_up("activation", activation, ACTIVATIONS)
            if W.shape != (len(b), k) or b.shape != (len(b), 1):
                raise ValueError(f"expected weights (n, {k}) and biases (n, 1), got {W.shape} and {b.shape}")
            k = len(b)
        _check_pair(loss, self.activations[-1])

    def forward(self, X: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Pass the data through all layers.

        Parameters
        ----------
        X : ndarray of shape (k, m)
            The data.

        Returns
        -------
        tuple of two lists of ndarray of shape (n, m), float64
            The values Zs before each activation, and As: X, then the values after each.
        """
        Zs: list[Array] = []
        As: list[Array] = [np.asarray(X, dtype=np.float64)]
        for W, b, activation in zip(self.weights, self.biases, self.activations, strict=True):
            Zs.append(W @ As[-1] + b)
            As.append(ACTIVATIONS[activation](Zs[-1]))
        return Zs, As

    def predict(self, X: ArrayLike) -> Array:
        """Return labels if the loss is cross-entropy, or else the outputs.

        Parameters
        ----------
        X : ndarray of shape (k, m)
            The data.

        Returns
        -------
        ndarray of shape (m,), integers, or (n, m), float64
            Labels counted from 0, or the last layer's values.
        """
        A = self.forward(X)[1][-1]
        return get_predictions(A) if self.loss == "cross_entropy" else A

    def loss_value(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Return the mean loss.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.

        Returns
        -------
        float
            In the unit of the loss.
        """
        return loss_value(self.loss, self.activations[-1], self.forward(X)[0][-1], Y)

    def gradients(self, X: ArrayLike, Y: ArrayLike) -> list[tuple[Array, Array]]:
        """Return the gradients of the mean loss.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.

        Returns
        -------
        list of (ndarray, ndarray), float64
            The pairs dW, db in the shapes of W and b, first layer first.
        """
        Zs, As = self.forward(X)
        m = As[0].shape[1]
        dZ = output_gradient(self.loss, self.activations[-1], Zs[-1], Y)
        pairs = []
        for layer in reversed(range(len(Zs))):
            pairs.append((dZ @ As[layer].T / m, np.mean(dZ, axis=1, keepdims=True)))
            if layer > 0:  # the data have no dz
                dA = self.weights[layer].T @ dZ
                dZ = activation_backward(self.activations[layer - 1], Zs[layer - 1], dA)
        return pairs[::-1]

    def step(
        self, X: ArrayLike, Y: ArrayLike, optimizer: str, t: int, states: dict[str, State], **options: float
    ) -> float:
        """Move every parameter once.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.
        optimizer : str
            A name of OPTIMIZERS.
        t : int
            Number of this step, from 1.
        states : dict
            What the optimizer remembers of each array of parameters; empty before the first step.
        **options : float
            The optimizer's own, such as learning_rate; they hold for weights and biases alike.

        Returns
        -------
        float
            The mean loss before the step.

        Raises
        ------
        ValueError
            If there is no such optimizer.
        """
        update = _look_up("optimizer", optimizer, OPTIMIZERS)
        loss = self.loss_value(X, Y)
        for layer, gradients in enumerate(self.gradients(X, Y)):
            for name, parameters, g in zip("Wb", (self.weights, self.biases), gradients, strict=True):
                state = states.setdefault(f"{name}{layer}", {})
                parameters[layer] = update(parameters[layer], g, state, t, **options)
        return loss

    def optimize(
        self, batches: Iterable[tuple[ArrayLike, ArrayLike]], optimizer: str, **options: float
    ) -> list[float]:
        """Take one step per batch with a fresh optimizer.

        Parameters
        ----------
        batches : iterable of (X, Y)
            The data and targets of each step, shaped as for step.
        optimizer : str
            A name of OPTIMIZERS.
        **options : float
            The optimizer's own.

        Returns
        -------
        list of float
            The mean loss of each batch before its step.
        """
        states: dict[str, State] = {}
        steps = enumerate(batches, start=1)
        return [self.step(X, Y, optimizer, t, states, **options) for t, (X, Y) in steps]

    def train(self, X: ArrayLike, Y: ArrayLike, learning_rate: float) -> float:
        """Take one step of plain gradient descent on all samples.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.
        learning_rate : float
            Step length per unit of gradient.

        Returns
        -------
        float
            The mean loss before the step.
        """
        return self.optimize([(X, Y)], "sgd", learning_rate=learning_rate)[0]
