"""Where weights begin: an initialiser draws those of one layer from its sizes and a generator."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _normal(variance: float, neurons: int, inputs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.normal(0.0, np.sqrt(variance), (neurons, inputs)), np.zeros((neurons, 1))


def _uniform(variance: float, neurons: int, inputs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    limit = np.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (neurons, inputs)), np.zeros((neurons, 1))


def _notebook(neurons: int, inputs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Weights and biases from U(-0.5, 0.5), as the notebook has it."""
    return rng.uniform(-0.5, 0.5, (neurons, inputs)), rng.uniform(-0.5, 0.5, (neurons, 1))


# Name: (neurons, inputs, rng) -> weights (neurons, inputs), biases (neurons, 1).
# The variances keep a signal's size from layer to layer: He et al. 2015, eq. 10, after ReLU; Glorot & Bengio 2010,
# eq. 12 and 16, after functions like tanh; LeCun et al. 1998, eq. 16, after SELU.
INITIALISERS: dict[str, Callable[[int, int, np.random.Generator], tuple[Array, Array]]] = {
    "he_normal": lambda n, k, rng: _normal(2 / k, n, k, rng),
    "he_uniform": lambda n, k, rng: _uniform(2 / k, n, k, rng),
    "glorot_normal": lambda n, k, rng: _normal(2 / (n + k), n, k, rng),
    "glorot_uniform": lambda n, k, rng: _uniform(2 / (n + k), n, k, rng),
    "lecun_normal": lambda n, k, rng: _normal(1 / k, n, k, rng),
    "lecun_uniform": lambda n, k, rng: _uniform(1 / k, n, k, rng),
    "uniform": _notebook,
}


RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "hard_swish")


def default(activation: str) -> str:
    """The initialiser that suits an activation."""
    if activation == "selu":
        return "lecun_normal"
    return "he_uniform" if activation in RECTIFIERS else "glorot_uniform"
