"""A network of any number of layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cmlp.activations import ACTIVATIONS, Array, activation_backward, look_up
from cmlp.losses import check_options, check_pair, get_predictions, loss_value, output_gradient
from cmlp.reference.optimizers import OPTIMIZERS, State


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
    l1, l2 : float, default 0.0
        Penalties: the loss grows by l1 times the sum of abs(w) and l2 / 2 times that of w^2, biases not among them.
    **options : float or sequence of float
        The loss's own: label_smoothing, delta or levels.

    Raises
    ------
    ValueError
        If the layers do not fit each other, or the loss does not fit the last of them.
    """

    def __init__(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        activations: Sequence[str],
        loss: str,
        l1: float = 0.0,
        l2: float = 0.0,
        **options: Any,
    ) -> None:
        self.weights: list[Array] = [np.array(W, dtype=np.float64) for W in weights]
        self.biases: list[Array] = [np.array(b, dtype=np.float64) for b in biases]
        self.activations, self.loss, self.options = list(activations), loss, options
        self.l1, self.l2 = l1, l2
        if not len(self.weights) == len(self.biases) == len(self.activations) > 0:
            raise ValueError("each layer needs weights, biases and an activation, and there must be a layer")
        k = self.weights[0].shape[-1]
        for W, b, activation in zip(self.weights, self.biases, self.activations, strict=True):
            look_up("activation", activation, ACTIVATIONS)
            if W.shape != (len(b), k) or b.shape != (len(b), 1):
                raise ValueError(f"expected weights (n, {k}) and biases (n, 1), got {W.shape} and {b.shape}")
            k = len(b)
        check_pair(loss, self.activations[-1])
        check_options(loss, options)

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

    def loss_value(self, X: ArrayLike, Y: ArrayLike, weights: Array | None = None) -> float:
        """Return the mean loss, and the penalties.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.
        weights : ndarray of shape (m,), optional
            The weight of each sample in the mean, at least 0 and not all 0. By default all weigh the same.

        Returns
        -------
        float
            In the unit of the loss.
        """
        loss = loss_value(self.loss, self.activations[-1], self.forward(X)[0][-1], Y, weights, **self.options)
        return loss + sum(float(np.sum(self.l1 * np.abs(W) + self.l2 / 2 * W**2)) for W in self.weights)

    def gradients(self, X: ArrayLike, Y: ArrayLike, weights: Array | None = None) -> list[tuple[Array, Array]]:
        """Return the gradients of the mean loss and of the penalties.

        Parameters
        ----------
        X, Y : ndarray of shape (k, m) and (n, m)
            Data, and one-hot or other targets.
        weights : ndarray of shape (m,), optional
            The weight of each sample in the mean, at least 0 and not all 0. By default all weigh the same.

        Returns
        -------
        list of (ndarray, ndarray), float64
            The pairs dW, db in the shapes of W and b, first layer first.
        """
        Zs, As = self.forward(X)
        m = As[0].shape[1]
        shares = np.full(m, 1 / m) if weights is None else weights / np.sum(weights)
        dZ = output_gradient(self.loss, self.activations[-1], Zs[-1], Y, **self.options)
        pairs = []
        for layer in reversed(range(len(Zs))):
            W = self.weights[layer]
            penalty = self.l1 * np.sign(W) + self.l2 * W
            pairs.append((shares * dZ @ As[layer].T + penalty, np.sum(shares * dZ, axis=1, keepdims=True)))
            if layer > 0:  # the data have no dz
                dA = W.T @ dZ
                dZ = activation_backward(self.activations[layer - 1], Zs[layer - 1], dA)
        return pairs[::-1]

    def step(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        optimizer: str,
        t: int,
        states: dict[str, State],
        weights: Array | None = None,
        **options: Any,
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
        weights : ndarray of shape (m,), optional
            The weight of each sample in the mean, at least 0 and not all 0. By default all weigh the same.
        **options : float
            The optimizer's own, such as learning_rate; they hold for weights and biases alike.

        Returns
        -------
        float
            The mean loss and the penalties before the step.

        Raises
        ------
        ValueError
            If there is no such optimizer.
        """
        update = look_up("optimizer", optimizer, OPTIMIZERS)
        loss = self.loss_value(X, Y, weights)
        for layer, gradients in enumerate(self.gradients(X, Y, weights)):
            for name, parameters, g in zip("Wb", (self.weights, self.biases), gradients, strict=True):
                state = states.setdefault(f"{name}{layer}", {})
                parameters[layer] = update(parameters[layer], g, state, t, **options)
        return loss

    def optimize(self, batches: Iterable[tuple[Any, ...]], optimizer: str, **options: Any) -> list[float]:
        """Take one step per batch with a fresh optimizer.

        Parameters
        ----------
        batches : iterable of (X, Y) or (X, Y, weights)
            The data and targets of each step, and the samples' weights if wanted, shaped as for step.
        optimizer : str
            A name of OPTIMIZERS.
        **options : float
            The optimizer's own.

        Returns
        -------
        list of float
            The mean loss of each batch, and the penalties, before its step.
        """
        states: dict[str, State] = {}
        steps = enumerate(batches, start=1)
        return [self.step(X, Y, optimizer, t, states, *weights, **options) for t, (X, Y, *weights) in steps]

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
            The mean loss and the penalties before the step.
        """
        return self.optimize([(X, Y)], "sgd", learning_rate=learning_rate)[0]
