"""Multilayer perceptrons on CPUs: a NeuralNetwork over forward and backward passes compiled from typed Cython."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cmlp._config import show_config
from cmlp._threads import get_num_threads, set_num_threads
from cmlp._version import __version__
from cmlp.activations import (
    elu,
    elu_deriv,
    exp,
    exp_deriv,
    gelu,
    gelu_deriv,
    gelu_tanh,
    gelu_tanh_deriv,
    hard_swish,
    hard_swish_deriv,
    identity,
    leaky_relu,
    leaky_relu_deriv,
    mish,
    mish_deriv,
    reLU,
    relu,
    reLU_deriv,
    relu_deriv,
    selu,
    selu_deriv,
    sigmoid,
    sigmoid_deriv,
    silu,
    silu_deriv,
    softmax,
    softplus,
    softplus_deriv,
    tanh,
    tanh_deriv,
)
from cmlp.layer import DenseLayer
from cmlp.losses import (
    CrossEntropy,
    Huber,
    Quantile,
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_deriv,
    derivatives,
    get_accuracy,
    get_predictions,
    given_gradient,
    huber,
    mean_absolute_error,
    mean_squared_error,
    one_hot,
    poisson,
    quantile_loss,
)
from cmlp.network import NeuralNetwork

if TYPE_CHECKING:
    from cmlp import callbacks, schedules
    from cmlp.checks import check_gradients
    from cmlp.data import load_csv, train_test_split
    from cmlp.estimators import (
        MLPClassifier as MLPClassifier,  # not in __all__: all of cmlp can do without scikit-learn
    )
    from cmlp.estimators import MLPRegressor as MLPRegressor
    from cmlp.history import History
    from cmlp.optimizers import LBFGS, SGD, Adam, AdamW, Lion, RMSprop

__all__ = [
    "Adam",
    "AdamW",
    "CrossEntropy",
    "DenseLayer",
    "History",
    "Huber",
    "LBFGS",
    "Lion",
    "NeuralNetwork",
    "Quantile",
    "RMSprop",
    "SGD",
    "__version__",
    "binary_cross_entropy",
    "callbacks",
    "check_gradients",
    "cross_entropy",
    "cross_entropy_deriv",
    "derivatives",
    "elu",
    "elu_deriv",
    "exp",
    "exp_deriv",
    "gelu",
    "gelu_deriv",
    "gelu_tanh",
    "gelu_tanh_deriv",
    "get_accuracy",
    "get_num_threads",
    "get_predictions",
    "given_gradient",
    "hard_swish",
    "hard_swish_deriv",
    "huber",
    "identity",
    "leaky_relu",
    "leaky_relu_deriv",
    "load_csv",
    "mean_absolute_error",
    "mean_squared_error",
    "mish",
    "mish_deriv",
    "one_hot",
    "poisson",
    "quantile_loss",
    "reLU",
    "reLU_deriv",
    "relu",
    "relu_deriv",
    "schedules",
    "selu",
    "selu_deriv",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_deriv",
    "silu",
    "silu_deriv",
    "softmax",
    "softplus",
    "softplus_deriv",
    "tanh",
    "tanh_deriv",
    "train_test_split",
]


# What networks do without until it is asked for, and the modules that it is in; some take libraries of others, too.
LATER = {
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "History": "history",
    "LBFGS": "optimizers",
    "Lion": "optimizers",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "RMSprop": "optimizers",
    "SGD": "optimizers",
    "callbacks": "callbacks",
    "check_gradients": "checks",
    "load_csv": "data",
    "optimizers": "optimizers",
    "schedules": "schedules",
    "train_test_split": "data",
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
    try:
        module = import_module(f"cmlp.{LATER[name]}")
    except ImportError as error:
        if LATER[name] != "estimators":
            raise
        raise ImportError(f'{name} needs scikit-learn: pip install "cmlp[sklearn]"') from error
    return module if LATER[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    from importlib.util import find_spec

    later = {name for name, module in LATER.items() if module != "estimators" or find_spec("sklearn") is not None}
    return sorted({*__all__, *later, *(name for name in globals() if name.startswith("__"))})
