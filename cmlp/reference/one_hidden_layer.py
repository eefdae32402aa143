"""The notebook's network of one hidden layer, as functions."""

import numpy as np
from numpy.typing import ArrayLike

from cmlp.activations import Array, relu, relu_deriv, softmax
from cmlp.losses import get_accuracy, get_predictions, one_hot

Seed = np.random.Generator | int | None


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
