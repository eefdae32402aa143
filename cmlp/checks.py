"""Checks of what the compiled core computes, on a user's own network and data."""

from __future__ import annotations  # the network's module is above or beside this one

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp import _validate, training

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork

Array = NDArray[Any]

MOST = 200  # numbers of an array that are looked at
DIGITS = 1e-6  # share of itself to which a gradient can be told by differences, or it is as good as 0

# Derivatives from values at so many steps, with an error of the step's fourth power: Abramowitz & Stegun, table 25.2.
STENCIL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}


def check_gradients(
    nn: NeuralNetwork, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, step: float = 1e-4
) -> dict[str, float]:
    """
    Compare the gradient that training follows with differences of the loss.

    The network is not changed: a copy of it is checked, with the same parameters in float64 and without dropout. A
    float32 network thus has its formulas checked, which are those of float64, and not its rounding.

    Parameters
    ----------
    nn : NeuralNetwork
        The network.
    X : array_like of shape (features, m), any number type
        One sample a column. A few are enough.
    y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
        Labels, one-hot columns, or targets.
    sample_weight : array_like of shape (m,), optional
        How much each sample counts, at least 0.
    step : float, default 1e-4
        What a parameter is moved by, as a share of it or, if it is less than 1, as it stands; less than 1 itself. The
        differences are of fourth order, from moves by one and by two steps either way.

    Returns
    -------
    dict of str to float
        For each array of parameters, such as "layers.0.weights", the largest error among 200 of its numbers (or all,
        if there are not as many), over the largest of these. About 1e-8 or less if all is well; more if there is a
        kink nearby, as that of ReLU or of the mean absolute error, and a smaller step may help then. At a kink itself
        nothing does: under ReLU a new network's biases are there, as they are 0, if a sample is nothing but 0. A
        gradient so small that the loss's last digit hides it counts as large enough.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network, or holds NaN, infinity or no numbers.
    FloatingPointError
        If the loss or its gradient is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import NeuralNetwork, check_gradients
    >>> nn = NeuralNetwork("mean_squared_error", rng=0)
    >>> nn.add_layer(3, 1, "tanh")
    >>> errors = check_gradients(nn, np.eye(3), [0.1, 0.2, 0.3])
    >>> list(errors)
    ['layers.0.weights', 'layers.0.biases']
    >>> max(errors.values()) < 1e-8
    True
    """
    step = _validate.number(step, "step", below=1.0, above=True)
    double = _in_double(nn)
    samples = double._data(X, y, sample_weight)
    loss, gradient = training.loss_and_gradient(double, samples)
    rng, params, errors = np.random.default_rng(0), double._params, {}
    for name, places in _arrays_of(double):
        some = rng.permutation(places)[:MOST]
        exact, differences = gradient[some], np.empty(len(some))
        for number, place in enumerate(some):
            start = params[place]
            size = step * max(1.0, abs(start))
            slope = 0.0
            for steps, factor in STENCIL.items():
                params[place] = start + steps * size
                slope += factor * double._measure(samples)["loss"]
            params[place] = start
            differences[number] = slope / size
        least = np.spacing(abs(loss)) / (step * DIGITS)
        largest = max(np.abs(exact).max(), np.abs(differences).max(), least)
        errors[name] = float(np.abs(exact - differences).max() / largest)
    return errors


def _in_double(network: NeuralNetwork) -> NeuralNetwork:
    """Return a copy of a network with the same parameters in float64, and without dropout."""
    double = copy.deepcopy(network)
    double._dtype = np.dtype(np.float64)
    for layer in double.layers:
        layer._dtype, layer.dropout = double._dtype, 0.0
    double._lay_out(double._layers, double._loss, double._scaling)  # in an array of the new type
    return double


def _arrays_of(network: NeuralNetwork) -> Iterator[tuple[str, Array]]:
    """Yield the name of each array of weights or biases, and the places of its numbers among all parameters."""
    places, end = np.arange(network._params.size), 0
    for number, layer in enumerate(network.layers):
        begin, end = end, end + layer._room()
        rows = places[begin:end].reshape(layer.input_size + 1, -1)[:, : layer.neurons]
        yield f"layers.{number}.weights", rows[:-1].ravel()
        yield f"layers.{number}.biases", rows[-1]
