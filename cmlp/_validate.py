"""Judges the settings of networks, layers, optimizers, schedules and callbacks; `_validate_data` judges the data."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlp._init import INITIALISERS
from cmlp._validate_data import numbers
from cmlp.activations import ACTIVATIONS
from cmlp.losses import LOSSES, PAIRS, LossWithOptions

NAMED = {str: "each a str", int: "each an int"}
WORD = 2**63 - 1  # the largest whole number that NumPy keeps as one

Array = NDArray[Any]

DTYPES = ("float32", "float64")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _one_of(value: object, name: str, names: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {_listed(names)}, got {value!r}")
    return value


def _name_of(value: object, name: str, table: dict[str, Callable[..., Any]]) -> str:
    """The name of a function of the table, given as that or as the function itself."""
    for known, function in table.items():
        if value is function or (isinstance(value, str) and value == known):
            return known
    raise ValueError(f"{name} must be one of {_listed(table)} or its function in cmlp, got {value!r}")


def activation(value: object) -> str:
    """The name of an activation."""
    return _name_of(value, "activation", ACTIVATIONS)


def loss(value: Any) -> tuple[str, dict[str, Any]]:
    """The name of a loss and its options."""
    if isinstance(value, type) and issubclass(value, LossWithOptions):
        raise TypeError(f"loss must be an object, got the class {value.__name__}: {value.__name__}() is one")
    if isinstance(value, LossWithOptions):
        return value.name, value.options
    name = _name_of(value, "loss", LOSSES)
    return name, {"levels": (0.5,)} if name == "quantile" else {}


def initialiser(value: object) -> str:
    """The name of an initialiser."""
    return _one_of(value, "init", INITIALISERS)


def dtype(value: Any) -> np.dtype[Any]:
    """The type that a network computes in."""
    try:
        name = repr(value) if value is None else np.dtype(value).name
    except TypeError:
        name = repr(value)
    return np.dtype(_one_of(name, "dtype", DTYPES))


def rng(value: object) -> np.random.Generator:
    """A generator, from None, a seed or a generator (Scientific Python's SPEC 7)."""
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    return np.random.default_rng(count(value, "rng, unless it is None or a Generator,", least=0))


def count(value: object, name: str, least: int = 1) -> int:
    """A whole number of at least 1, or `least`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def number(
    value: object, name: str, least: float = 0.0, below: float = np.inf, above: bool = False, up_to: bool = False
) -> float:
    """A finite number of at least `least` (more than it, if `above`) and less than `below` (or that, if `up_to`)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        result = float(value)
    except OverflowError:  # an int beyond all floats
        result = np.inf
    if not (least <= result < below or (up_to and result == below)) or (above and result == least):
        most = f" and {'at most' if up_to else 'less than'} {below:g}" if below < np.inf else ""
        raise ValueError(
            f"{name} must be finite, {'more than' if above else 'at least'} {least:g}{most}, got {result:g}"
        )
    return result


# Fields of the optimizers: least, upper bound (excluded), whether the least is excluded as well.
BOUNDS = {
    "learning_rate": (0.0, np.inf, True),
    "momentum": (0.0, 1.0, False),
    "beta1": (0.0, 1.0, False),
    "beta2": (0.0, 1.0, False),
    "epsilon": (
        1e-16,
        np.inf,
        False,
    ),  # a root of a mean of squares may be 0 below 1e-19 in float32
    "weight_decay": (0.0, np.inf, False),
    "tolerance": (0.0, np.inf, False),
}
COUNTS = ("max_iter", "history_size")  # at least 1, or None where that is the default


def optimizer(value: Any, learning_rate: float | None, table: dict[str, Any]) -> Any:
    """An optimizer, from its name or itself, with another learning rate if one is given."""
    if isinstance(value, str):
        if value not in table:
            raise ValueError(f"optimizer must be one of {_listed(table)}, or in fit 'lbfgs', got {value!r}")
        value = table[value]()
    if not isinstance(value, tuple(table.values())):
        raise TypeError(
            f"optimizer must be one of {_listed(table)} or an instance of its class in cmlp, or in fit 'lbfgs' or an "
            f"LBFGS, got {value!r}"
        )
    rule: Any = value
    return rule if learning_rate is None else replace(rule, learning_rate=learning_rate)


def one_validation(data: object, fraction: object) -> float:
    """The share of the samples to set aside, 0 for none; only where there is nothing else to validate with."""
    share = number(fraction, "validation_fraction", below=1.0)
    if share and data is not None:
        raise ValueError("validation_data and validation_fraction were both given: one of them will do")
    return share


def function(value: Any, name: str, instead: type | None = None) -> Any:
    """A function, or an object of a class that stands for one."""
    if isinstance(value, type) or not (callable(value) or (instead is not None and isinstance(value, instead))):
        other = "" if instead is None else f" or an object of cmlp's class {instead.__name__}"
        raise TypeError(f"{name} must be a function{other}, got {value!r}")
    return value


def factors(value: Any, steps: Array) -> Array:
    """What a schedule makes of the learning rate at some steps."""
    array = np.asarray(numbers(value, "what a schedule returns"), np.float64)
    if array.shape != steps.shape:
        raise ValueError(f"a schedule must return one factor for each of {len(steps)} steps, got shape {array.shape}")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(bad):
        raise ValueError(
            f"a schedule must return finite factors of at least 0, got {array[bad[0]]} at step {steps[bad[0]]}"
        )
    return array


def known(value: int | None, schedule: str, instead: str) -> int:
    """What a schedule needs to know of a fit."""
    if value is None:
        raise ValueError(f"{schedule} needs {instead} here: partial_fit does not know how many steps there will be")
    return value


def one_given(**values: int | None) -> None:
    """That of some counts one is given."""
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"one of {_listed(values)} must be given, got {_listed(given) or 'none'}")
    count(values[given[0]], given[0])


def less_than(value: int, name: str, limit: object, limit_name: str) -> None:
    """That a count is less than another one, if there is that."""
    if limit is not None and value >= count(limit, limit_name):
        raise ValueError(f"{name} must be less than {limit_name}, {limit}, got {value}")


def shaping(penalties: dict[str, float], bounds: dict[str, float | None]) -> dict[str, Any]:
    """Penalties, and bounds of gradients and weights: 0 for none."""
    shape = {name: number(value, name) for name, value in penalties.items()}
    return shape | {name: 0.0 if x is None else number(x, name, above=True) for name, x in bounds.items()}


def callbacks(value: object) -> tuple[Any, ...]:
    """What looks on at a training."""
    names = ("on_train_begin", "on_epoch_end", "on_train_end")
    if not isinstance(value, Iterable):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"callbacks must be a list of callbacks, got {got}")
    given = tuple(value)
    for callback in given:
        if isinstance(callback, type):
            raise TypeError(
                f"a callback must be an object, got the class {callback.__name__}: {callback.__name__}() is one"
            )
        if not all(callable(getattr(callback, name, None)) for name in names):
            raise TypeError(f"a callback must have the methods {', '.join(names)}, got {callback!r}")
    return given


def monitor(value: object, mode: object) -> tuple[Any, str]:
    """The key or function that a callback follows, and whether "min" or "max" of it is best."""
    chosen = _one_of(mode, "mode", ("auto", "min", "max"))
    if not isinstance(value, str) and not callable(value):
        raise TypeError(f"monitor must be a key of the history or a function, got {value!r}")
    if chosen != "auto":
        return value, chosen
    if not isinstance(value, str):
        raise ValueError("mode must be 'min' or 'max' where monitor is a function, got 'auto'")
    return value, "max" if "accuracy" in value else "min"


def metric(name: str, metrics: Iterable[str]) -> None:
    """That there is a number of this name after every epoch."""
    if name not in metrics:
        hint = ""
        if name.startswith("val_") and "val_loss" not in metrics:
            hint = "; val_... need validation: data or a fraction in fit, X_val or early_stopping of an estimator"
        elif name in ("accuracy", "val_accuracy"):
            hint = "; accuracies need labels"
        raise ValueError(f"monitor must be one of {_listed(metrics)} in this training, got {name!r}{hint}")


def measure(value: object, name: str) -> float:
    """A number that has been measured: NaN and infinity too."""
    if not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def columns(path: str, found: list[str] | None, wanted: list[str]) -> None:
    """That a file which is added to has the columns of what is added."""
    if found is not None and found != wanted:
        raise ValueError(f"{path} has columns {_listed(found)}, this training {_listed(wanted)}: choose another file")


def filled(path: str, values: dict[str, float]) -> str:
    """A path with numbers for the names in braces."""
    try:
        return path.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"path must have none but {_listed(values)} in braces, got {path!r}: {error}") from error


def settings(rule: Any) -> None:
    """The fields of an optimizer."""
    for field in fields(rule):
        if field.name in BOUNDS:
            least, below, above = BOUNDS[field.name]
            number(getattr(rule, field.name), field.name, least, below, above)
        elif field.name in COUNTS and (value := getattr(rule, field.name)) is not field.default:
            count(value, field.name)
    if getattr(rule, "nesterov", False) and rule.momentum == 0:
        raise ValueError("nesterov needs a momentum of more than 0")


def scale(value: Any, dtype: np.dtype[Any]) -> Any:
    """What inputs are multiplied by, in the network's type: a number, or one for each feature."""
    limits = np.finfo(dtype)
    if np.ndim(value) == 0:
        return number(value, "input_scale", least=float(limits.tiny), below=float(limits.max))
    array = _one_dimension(value, "input_scale")
    if not ((array > 0) & (array < float(limits.max))).all():
        raise ValueError(f"input_scale must hold numbers of more than 0 and less than {limits.max:.3g}, got {array}")
    return array


def shift(value: Any) -> Any:
    """What is subtracted from inputs: a number, or one for each feature."""
    if np.ndim(value) == 0:
        return number(value, "input_shift", least=-float(np.finfo(np.float64).max))
    array = _one_dimension(value, "input_shift")
    if not np.isfinite(array).all():
        raise ValueError(f"input_shift must hold finite numbers, got {array}")
    return array


def _one_dimension(value: Any, name: str) -> Array:
    array = numbers(value, name).astype(np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a number or have shape (features,), got shape {array.shape}")
    return array


def one_for_each_feature(scaling: tuple[Any, Any], features: int) -> None:
    """That arrays of input_scale and input_shift fit the first layer."""
    for value, name in zip(scaling, ("input_scale", "input_shift"), strict=True):
        if np.ndim(value) and len(value) != features:
            raise ValueError(f"{name} must have shape ({features},), one number for each feature, got {value.shape}")


def balanced(labels: Array, classes: int, weights: Array | None) -> Array:
    """How much a sample of each class counts if all classes are to count the same: (classes,)."""
    counts = np.bincount(labels, weights, minlength=classes)
    there = counts > 0  # the others have no part in the mean
    return np.asarray(np.divide(counts.sum(), np.count_nonzero(there) * counts, out=np.ones(classes), where=there))


def class_weight(value: Any, labels: Array | None, classes: int, weights: Array | None) -> Array | None:
    """How much a sample of each class counts: (classes,)."""
    if value is None:
        return None
    if labels is None:
        raise ValueError("class_weight needs classes: integer labels in y, or under cross_entropy one-hot columns")
    if isinstance(value, str):
        _one_of(value, "class_weight, if it is no mapping,", ("balanced",))
        return balanced(labels, classes, weights)
    if not isinstance(value, Mapping):
        raise TypeError(f"class_weight must be a mapping of label to weight or 'balanced', got {type(value).__name__}")
    table = np.ones(classes)
    for label, weight in value.items():
        if count(label, "a label of class_weight", least=0) >= classes:
            raise ValueError(f"class_weight must be for labels from 0 to {classes - 1}, got {label}")
        table[label] = number(weight, f"class_weight[{label}]")
    if not (table[labels] * (1 if weights is None else weights)).any():
        raise ValueError(f"class_weight leaves no sample with a weight of more than 0: {value!r}")
    return table


def not_balanced(value: object) -> None:
    """That weights of classes do not depend on data that is not there."""
    if isinstance(value, str):
        raise ValueError(f"class_weight of partial_fit must be a mapping of label to weight, got {value!r}")


def dropout_places(rates: Sequence[float], activations: Sequence[str]) -> None:
    """That no layer has dropout for which it means nothing."""
    if rates[-1] > 0:
        raise ValueError("the last layer cannot have dropout: its outputs are the answer")
    for number_, (rate, activation_) in enumerate(zip(rates, activations, strict=True)):
        if rate > 0 and activation_ == "softmax":
            raise ValueError(f"layer {number_} cannot have dropout after softmax, whose outputs belong together")


def dropout_beside(loss_name: str, rates: Sequence[float]) -> None:
    """That the outputs whose loss it is are those that a step sees."""
    if loss_name == "given_gradient" and any(rates):
        raise ValueError("given_gradient cannot have dropout: y is the derivative by outputs that are made without it")


def one_step(loss_name: str, samples: int, batch: int, epochs: int | None) -> None:
    """That a derivative by the outputs as they are is not used for steps after the first."""
    if loss_name == "given_gradient" and (samples > batch or (epochs or 1) > 1):
        raise ValueError(
            f"under given_gradient y is the derivative by the outputs as they are, which holds for a single step: got "
            f"{samples} samples with batch_size={batch}{'' if epochs is None else f' and epochs={epochs}'}; call "
            "partial_fit with all samples in one batch, and y made anew, for each step"
        )


def smooth(dropout: Sequence[float], shaping: dict[str, float], loss_name: str) -> None:
    """That a loss is a function of the parameters whose gradient is followed as it is, and has no kinks of its own."""
    if loss_name == "given_gradient":
        raise ValueError("L-BFGS needs the same loss at every step: not given_gradient")
    if any(dropout):
        raise ValueError("L-BFGS needs the same loss at every step: not with dropout")
    for name, value in shaping.items():
        if value and name not in ("l2", "l2_of_sum"):
            raise ValueError(f"L-BFGS needs a loss with a gradient everywhere, and that as it is: not with {name}")


def left_out(settings_: dict[str, Any], name: str) -> None:
    """That nothing is asked for that means nothing to this way of training."""
    given = [key for key, value in settings_.items() if value is not None and value not in (0, (), [])]
    if given:
        raise ValueError(f"{name} has no {', '.join(given)}: leave out what is for steps over mini-batches")


def next_size(input_size: int, sizes: Sequence[int]) -> None:
    """That a layer takes what the layer before it gives."""
    if sizes and input_size != sizes[-1]:
        raise ValueError(f"input_size must be {sizes[-1]}, the number of neurons of the layer before, got {input_size}")


def has_layers(layers: Sequence[object]) -> None:
    """That there is a network to compute with."""
    if not layers:
        raise ValueError("the network has no layers: add one with add_layer(input_size, neurons, activation)")


def pair(loss: tuple[str, dict[str, Any]], activations: Sequence[str], n_outputs: int) -> None:
    """That the loss has a gradient after the output layer's activation, and fits its size."""
    loss_name, output = loss[0], activations[-1]
    levels = loss[1].get("levels", (0.5,))
    if n_outputs % len(levels):
        raise ValueError(f"{n_outputs} outputs cannot be {len(levels)} quantiles of each target: {levels}")
    allowed = PAIRS[loss_name]
    if output not in allowed:
        valid = "; ".join(
            f"{name} after {'any' if len(outputs) == len(ACTIVATIONS) else ' or '.join(outputs)}"
            for name, outputs in PAIRS.items()
        )
        raise ValueError(f"{loss_name} has no gradient after {output}. Valid pairs: {valid}")
    if output == "softmax" and n_outputs == 1:
        raise ValueError(
            "softmax of a single neuron is always 1: use as many neurons as there are classes, "
            "or one neuron with sigmoid and binary_cross_entropy"
        )


def names(value: Any, field: str, kinds: tuple[type, ...]) -> Any:
    """Different names as a list of Python's own, all of one of the kinds; None stays None."""
    if value is None:
        return None
    listed = next((getattr(value, to)() for to in ("tolist", "to_list") if hasattr(value, to)), value)
    listed = list(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else [None]
    listed = [name.item() if isinstance(name, np.generic) else name for name in listed]
    alike = any(all(type(name) is kind for name in listed) for kind in kinds)
    if not alike or len(set(listed)) < len(listed) or any(type(name) is int and abs(name) > WORD for name in listed):
        wanted = " or ".join(NAMED[kind] for kind in kinds)
        raise ValueError(f"expected {field} to be different names, {wanted}, or none, got {reprlib.repr(value)}")
    return listed


def one_name_for_each(names: Any, field: str, count: int) -> None:
    """That there are as many names as there are features or classes, or none at all."""
    if names is not None and len(names) != count:
        raise ValueError(f"expected {field} to be {count} names or none, got {len(names)} of them")
