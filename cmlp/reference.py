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

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cmlp.activations import (
    ACTIVATIONS,
    Array,
    Function,
    activation_backward,
    identity,
    identity_deriv,
    look_up,
    reLU,
    relu,
    reLU_deriv,
    relu_deriv,
    sigmoid,
    sigmoid_deriv,
    softmax,
    tanh,
    tanh_deriv,
)
from cmlp.losses import (
    LOSSES,
    PAIRS,
    binary_cross_entropy,
    check_pair,
    cross_entropy,
    cross_entropy_deriv,
    derivatives,
    get_accuracy,
    get_predictions,
    loss_value,
    mean_squared_error,
    one_hot,
    output_gradient,
)

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "Network",
    "OPTIMIZERS",
    "PAIRS",
    "activation_backward",
    "adam",
    "adamw",
    "backward_prop",
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_deriv",
    "derivatives",
    "forward_prop",
    "get_accuracy",
    "get_predictions",
    "grad_descent",
    "identity",
    "identity_deriv",
    "init_params",
    "loss_value",
    "mean_squared_error",
    "one_hot",
    "output_gradient",
    "reLU",
    "reLU_deriv",
    "relu",
    "relu_deriv",
    "sgd",
    "sigmoid",
    "sigmoid_deriv",
    "softmax",
    "tanh",
    "tanh_deriv",
    "update_params",
]

State = dict[str, Any]
Seed = np.random.Generator | int | None


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
            look_up("activation", activation, ACTIVATIONS)
            if W.shape != (len(b), k) or b.shape != (len(b), 1):
                raise ValueError(f"expected weights (n, {k}) and biases (n, 1), got {W.shape} and {b.shape}")
            k = len(b)
        check_pair(loss, self.activations[-1])

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
        update = look_up("optimizer", optimizer, OPTIMIZERS)
        loss = self.loss_value(X, Y)
        for layer, gradients in enumerate(self.gradients(X, Y)):
            for name, parameters, g in zip("Wb", (self.weights, self.biases), gradients, strict=True):
                state = states.setdefault(f"{name}{layer}", {})
                parameters[layer] = update(parameters[layer], g, state, t, **options)
        return loss

    def optimize(self, batches: Iterable[tuple[ArrayLike, ArrayLike]], optimizer: str, **options: float) -> list[float]:
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
