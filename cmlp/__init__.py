"""Multilayer perceptrons on CPUs: a NeuralNetwork over forward and backward passes compiled from typed Cython."""

from typing import TYPE_CHECKING, Any

from cmlp._config import show_config
from cmlp._threads import get_num_threads, set_num_threads
from cmlp._version import __version__
from cmlp.activations import (
    identity,
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
from cmlp.layer import DenseLayer
from cmlp.losses import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_deriv,
    derivatives,
    get_accuracy,
    get_predictions,
    mean_squared_error,
    one_hot,
)
from cmlp.network import NeuralNetwork
from cmlp.optimizers import SGD, Adam, AdamW

if TYPE_CHECKING:
    from cmlp.data import load_csv, train_test_split

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "DenseLayer",
    "NeuralNetwork",
    "__version__",
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_deriv",
    "derivatives",
    "get_accuracy",
    "get_num_threads",
    "get_predictions",
    "identity",
    "load_csv",
    "mean_squared_error",
    "one_hot",
    "reLU",
    "reLU_deriv",
    "relu",
    "relu_deriv",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_deriv",
    "softmax",
    "tanh",
    "tanh_deriv",
    "train_test_split",
]


def __getattr__(name: str) -> Any:
    # Reading files takes libraries that training does without: they are imported with the first use.
    if name in ("load_csv", "train_test_split"):
        from cmlp import data

        return getattr(data, name)
    raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
