"""The command that trains: options make a recipe, the recipe a network, which is fitted to a file and saved."""

import argparse
import time
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp import model_file
from cmlp._cli_files import errors, labelled, measured, output, say, set_names, set_threads
from cmlp.callbacks import EarlyStopping
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer

Array = NDArray[Any]

# What `train` does unless told otherwise. Options that are not given are not set, so that a contradiction shows.
RECIPE: dict[str, Any] = {
    "hidden": [30, 20],
    "activation": "relu",
    "epochs": 15,
    "batch_size": 64,
    "optimizer": "adam",
    "class_weight": None,
    "patience": None,
    "test_rows": None,
    "standardize": None,
}
LEARNING_RATES = {"sgd": 0.1, "adam": 0.002, "adamw": 0.002, "rmsprop": 0.001, "lion": 0.0003}

# What `train --notebook` does; those of the recipe that it leaves out mean nothing to it.
NOTEBOOK: dict[str, Any] = {
    "hidden": [30, 20],
    "activation": "relu",
    "epochs": 200,
    "test_rows": None,
    "standardize": False,
}
NOTEBOOK_RATE = 0.1

# Epochs at most, if early stopping decides, unless told otherwise.
PATIENT_EPOCHS = 500

# More classes than this with fewer than 3 rows each, on average, are numbers to predict.
MANY_CLASSES = 20

# Whole numbers of at most 255 are pixels if the largest is at least this.
DARKEST_WHITE = 128

# Share of the training rows that early stopping goes by.
VALIDATION_SHARE = 0.1

# Distance of two numbers of the network's type beside the spread of what it is to predict, at most.
MOST_ROUNDING = 0.01

# Rows set aside for the test unless told otherwise: so many, but not a larger share of all than this.
TEST_ROWS, TEST_SHARE = 1000, 0.2


class Parts(NamedTuple):
    """The rows to train on and those set aside, as `train_test_split` gives them."""

    X_train: Array
    X_test: Array
    y_train: Array
    y_test: Array

    @property
    def train(self) -> tuple[Array, Array]:
        return self.X_train, self.y_train

    @property
    def test(self) -> tuple[Array, Array]:
        return self.X_test, self.y_test


def train(given: argparse.Namespace) -> None:
    """Train on some of the samples, test on the others, and save the model."""
    recipe, optimizer = _recipe(given)
    set_threads(given)
    with nullcontext() if given.out is None else output(given.out, given.file) as out:
        X, y, features, classes = _samples(given)
        test_rows = _test_rows(recipe["test_rows"], len(y), given.file)
        rng = np.random.default_rng(given.seed)
        parts = Parts(*cmlp.train_test_split(X, y, test_rows, rng))
        network, inputs = _network(given, recipe, parts.X_train, classes, rng)
        set_names(network, features, classes)
        if out is not None:
            model_file.dumps(network)  # what would keep it from being saved must show now, not after the training
        if not given.quiet:
            _announce(given, recipe, parts, classes, inputs, network)
        aims = parts
        if classes is None:
            centre, spread = _units(given, network.dtype, parts.y_train)
            y_train, y_test = ((y[np.newaxis] - centre) / spread for y in (parts.y_train, parts.y_test))
            aims = parts._replace(y_train=y_train, y_test=y_test)
        untrained, interrupted = network._params.copy(), False
        try:
            if given.notebook:
                samples, seconds = _run_notebook(network, parts, given.quiet)
            else:
                samples, seconds = _fit(network, recipe, optimizer, aims, given.quiet)
        except KeyboardInterrupt:  # which comes between two steps
            if out is None or np.array_equal(network._params, untrained):
                raise
            interrupted = True
        if classes is None:
            _in_units(network, centre, spread)
        if out is not None:
            out.write(model_file.dumps(network, training_state=False))
    if interrupted:
        which = "of the best epoch until then" if recipe.get("patience") else "as it was then"
        raise KeyboardInterrupt(f"{given.out} holds the model {which}")
    figures = _figures(network, parts, classes is None)
    say(figures, f" {seconds:.2f} s  {samples / seconds:,.0f} samples/s")


def _announce(
    given: argparse.Namespace,
    recipe: dict[str, Any],
    parts: Parts,
    classes: Array | None,
    inputs: str,
    network: cmlp.NeuralNetwork,
) -> None:
    """Say what is trained on, and what is trained."""
    test_rows = len(parts.y_test)
    rows = len(parts.y_train) + test_rows
    kinds = "numbers to predict" if classes is None else f"{len(classes)} classes"
    say(f"{given.file}: {rows} samples of {len(parts.X_train)} features, {kinds}")
    more = f", {VALIDATION_SHARE:.0%} of the others to decide when to stop" if recipe.get("patience") else ""
    say(f"{test_rows} of {rows} rows are set aside for the test{more}; {inputs}")
    say(network)


def _figures(network: cmlp.NeuralNetwork, parts: Parts, regression: bool) -> str:
    """Return how good the network is on the rows it was trained on, and on those set aside."""
    if regression:
        (r2, _), (r2_test, error) = errors(network, *parts.train), errors(network, *parts.test)
        return f"train R2 {r2:.4f}  test R2 {r2_test:.4f}  test RMSE {error:.6g}"
    accuracy, accuracy_test = (network.evaluate(*samples)["accuracy"] for samples in (parts.train, parts.test))
    return f"train accuracy {accuracy:.4f}  test accuracy {accuracy_test:.4f}"


def _samples(given: argparse.Namespace) -> tuple[Array, Array, list[str] | None, Array | None]:
    """Return samples, the class or the number of each, and what features and classes are called, if they have names."""
    if given.regression:
        X, y, features = measured(given, given.dtype)
        return X, y, features, None
    X, y, features = labelled(given, given.dtype, given.text_labels or None)
    classes, y = np.unique(y, return_inverse=True)
    if not 2 <= len(classes) < len(y) or (len(classes) > MANY_CLASSES and len(y) < 3 * len(classes)):
        got = f"nothing but {classes[0]}" if len(classes) == 1 else f"{len(classes)} different ones"
        wanted = "labels must be two classes or more, of some rows each"
        hint = "" if classes.dtype.kind == "U" or len(classes) == 1 else "; --regression predicts numbers"
        raise ValueError(f"{given.file}: {wanted}, got {got} in {len(y)} rows{hint}")
    return X, y, features, classes


def _units(given: argparse.Namespace, dtype: np.dtype[Any], y: Array) -> tuple[float, float]:
    """Return the mean of the labels and their standard deviation, or 1, if the network's type can tell them apart."""
    if np.ptp(y) == 0:
        return float(y[0]), 1.0
    largest = np.abs(y).max()
    with np.errstate(over="ignore"):
        spread = y.std()
    if not np.spacing(largest.astype(dtype)) <= MOST_ROUNDING * spread < np.inf:
        raise ValueError(
            f"{given.file}: labels must be numbers that {dtype} can tell apart, got a spread of {spread:.6g} in labels "
            f"up to {largest:.6g}; {'--dtype float64, or ' if dtype == np.float32 else ''}labels in another unit, or "
            "without what is common to all"
        )
    return float(y.mean()), float(spread)


def _in_units(network: cmlp.NeuralNetwork, centre: float, spread: float) -> None:
    """Let the last layer, which gives standardised numbers, give them as they were."""
    last = network.layers[-1]
    last.weights, last.biases = last.weights * spread, last.biases * spread + centre


def _fit(
    network: cmlp.NeuralNetwork, recipe: dict[str, Any], optimizer: Optimizer, parts: Parts, quiet: bool
) -> tuple[float, float]:
    """Fit the network as the recipe says; return how many samples it was trained on, and the seconds."""
    settings = {name: recipe[name] for name in ("epochs", "batch_size", "class_weight")}
    if recipe["patience"] is None:
        share = 1.0
        settings["validation_data"] = parts.test
    else:  # which the test rows may not decide
        share = 1 - VALIDATION_SHARE
        settings["validation_fraction"] = VALIDATION_SHARE
        settings["callbacks"] = [EarlyStopping(patience=recipe["patience"])]
    history = network.fit(*parts.train, optimizer=optimizer, verbose=0 if quiet else 1, **settings)
    if history.stopped is not None and not quiet:
        say(history.stopped)
    return len(history["loss"]) * share * parts.X_train.shape[1], sum(history["seconds"])


def _test_rows(wanted: float | None, rows: int, path: str) -> int:
    """Return how many of the rows of a file to set aside."""
    if wanted is None:
        wanted = min(TEST_ROWS, max(1, round(TEST_SHARE * rows)))
    count = wanted if isinstance(wanted, int) else round(wanted * rows)
    if not 1 <= count < rows:
        raise ValueError(f"--test-rows must set aside 1 to {rows - 1} of the {rows} rows of {path}, got {count}")
    return count


def _recipe(given: argparse.Namespace) -> tuple[dict[str, Any], Optimizer]:
    """Return the recipe that the options make, and the optimizer."""
    options = {name: value for name, value in vars(given).items() if name in {*RECIPE, "learning_rate", "momentum"}}
    if given.regression:
        of_classes = {
            "notebook": given.notebook,
            "text-labels": given.text_labels,
            "class-weight": "class_weight" in options,
        }
        if refused := [name for name, value in of_classes.items() if value]:
            raise ValueError(f"--regression has no classes: it cannot be combined with --{refused[0]}")
    if given.notebook:
        if options:
            named = ", ".join("--" + name.replace("_", "-") for name in options)
            raise ValueError(f"--notebook says all about the training: it cannot be combined with {named}")
        return NOTEBOOK, SGD(NOTEBOOK_RATE)
    recipe = RECIPE | ({"epochs": PATIENT_EPOCHS} if "patience" in options else {}) | options
    name = recipe["optimizer"]
    settings = {"learning_rate": recipe.get("learning_rate", LEARNING_RATES[name])}
    if "momentum" in options:
        if name != "sgd":
            raise ValueError(f"--momentum is for --optimizer sgd, got {name}")
        settings["momentum"] = recipe["momentum"]
    return recipe, OPTIMIZERS[name](**settings)


def _network(
    given: argparse.Namespace, recipe: dict[str, Any], X: Array, classes: Array | None, rng: np.random.Generator
) -> tuple[cmlp.NeuralNetwork, str]:
    """Return the network to train, and what it does with its inputs."""
    pixels = X.dtype == np.uint8 and X.max() >= DARKEST_WHITE
    standardize = not pixels if recipe["standardize"] is None else recipe["standardize"]
    loss, outputs, last = (
        ("mean_squared_error", 1, "identity") if classes is None else ("cross_entropy", len(classes), "softmax")
    )
    network = cmlp.NeuralNetwork(loss, dtype=given.dtype, rng=rng, input_scale=1 / 255 if pixels else 1.0)
    init = "uniform" if given.notebook else None
    sizes = [len(X), *recipe["hidden"], outputs]
    activations = [recipe["activation"]] * len(recipe["hidden"]) + [last]
    for inputs, neurons, activation in zip(sizes[:-1], sizes[1:], activations, strict=True):
        network.add_layer(inputs, neurons, activation, init)
    if standardize:
        network.adapt(X)
        return network, "features are standardised"
    return network, "pixels are divided by 255" if pixels else "features are taken as they are"


def _run_notebook(network: cmlp.NeuralNetwork, parts: Parts, quiet: bool) -> tuple[float, float]:
    """Do and print what the notebook's training cell does; return as `_fit` does."""
    seconds = 0.0
    for epoch in range(NOTEBOOK["epochs"]):
        start = time.perf_counter()
        network.train(*parts.train, NOTEBOOK_RATE)
        seconds += time.perf_counter() - start
        if epoch % 10 == 0 and not quiet:
            predictions = network.predict(parts.X_test)
            say("Epoch: ", epoch)
            say("Accuracy", cmlp.get_accuracy(predictions, parts.y_test))
    return NOTEBOOK["epochs"] * len(parts.y_train), seconds
