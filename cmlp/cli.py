"""The command line: train a classifier on a CSV file, predict with it, and see how good it is."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

import cmlp
from cmlp import _validate, model_file
from cmlp.activations import ACTIVATIONS
from cmlp.callbacks import EarlyStopping
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer

Array = NDArray[Any]

INTERRUPTED, BROKEN_PIPE = 130, 141  # what a shell reports of a program that SIGINT or SIGPIPE ends

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

# Share of the training rows that early stopping goes by.
VALIDATION_SHARE = 0.1

# Rows set aside for the test unless told otherwise: so many, but not a larger share of all than this.
TEST_ROWS, TEST_SHARE = 1000, 0.2

# Each is written out at once: whoever reads the other end of a pipe waits for it, or has left.
say = partial(print, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status: 0; 2 after an error, which one line on stderr describes; 130 after Ctrl-C, when `train` has
        saved what was trained until then; 141 if whatever read the output has gone.
    """
    try:
        try:
            given = _parser().parse_args(argv)
            given.command(given)
        finally:
            sys.stdout.flush()  # at exit it would be too late to handle an error
    except BrokenPipeError:
        status = BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        status = INTERRUPTED
        _complain(": ".join(["cmlp: interrupted", *map(str, interrupt.args)]))
    except (OSError, ValueError, TypeError, ArithmeticError, ImportError, MemoryError) as error:
        status = 2
        _complain(f"cmlp: error: {' '.join(_text(error).split()) or type(error).__name__}")
    else:
        return 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python would try again at exit, complain, and change the status
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def _text(error: Exception) -> str:
    """What the error says, without the system's number for it."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _complain(line: str) -> None:
    """Print a line to stderr, if anyone reads it."""
    with suppress(OSError):
        print(line, file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are reported like all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `command`, the function that runs it."""
    parser = _Parser(prog="cmlp", description="Multilayer perceptrons on CPUs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"cmlp {cmlp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Callable[..., Any]:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        added.set_defaults(command=run)
        return added.add_argument

    column = {"type": _column, "metavar": "COLUMN"}
    labels = {**column, "default": "label", "help": "column of the labels: name, or position from 0 (label)"}
    header = {"action": argparse.BooleanOptionalAction, "help": "the first row names the columns (if it holds text)"}
    threads = {"type": partial(_whole, 1), "metavar": "N", "help": "use at most so many (all processors)"}
    model = {"metavar": "MODEL", "help": "a file that cmlp train --out wrote"}
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    rates = ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())

    add = command("train", _train, "train a classifier on a CSV file, and test it on rows set aside")
    add("file", metavar="FILE", help="one sample a row, with a column of labels: 0, 1, 2, ...")
    for name, text, settings in (
        (
            "hidden",
            "neurons of the hidden layers, given after FILE; without a number, none",
            {"type": partial(_whole, 1), "nargs": "*"},
        ),
        ("activation", f"of the hidden layers: {', '.join(hidden)}", {"choices": hidden, "metavar": "NAME"}),
        ("epochs", "passes over the training samples", {"type": partial(_whole, 1)}),
        ("batch_size", "samples of a step", {"type": partial(_whole, 1)}),
        ("optimizer", ", ".join(OPTIMIZERS), {"choices": list(OPTIMIZERS), "metavar": "NAME"}),
        (
            "class_weight",
            "balanced: all classes count the same, however many samples they have",
            {"choices": ["balanced"], "metavar": "balanced"},
        ),
        (
            "patience",
            f"stop after N epochs without a lower loss on {VALIDATION_SHARE:.0%} of the training rows; keep the best",
            {"type": partial(_whole, 1)},
        ),
        ("test_rows", "rows set aside for the test: how many, or which share of all", {"type": _count_or_share}),
        ("learning_rate", "size of a step", {"type": partial(_number, "learning_rate"), "metavar": "X"}),
        ("momentum", "share of the last step that sgd keeps", {"type": partial(_number, "momentum"), "metavar": "X"}),
    ):
        defaults = {"learning_rate": rates, "momentum": 0, "hidden": "30 20"}
        defaults["test_rows"] = f"{TEST_ROWS}, or if that is less {TEST_SHARE} of all"
        default = defaults.get(name, RECIPE.get(name))
        options = {"metavar": "N", "default": argparse.SUPPRESS, **settings}
        usual = "not done unless asked for" if default is None else default
        add(f"--{name.replace('_', '-')}", help=f"{text} ({usual})".replace("%", "%%"), **options)
    text = (
        "shift and scale each feature to mean 0 and deviation 1 of the training rows (unless all numbers in the file "
    )
    text += "are whole and from 0 to 255, as pixels: those are divided by 255)"
    add("--standardize", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    add("--seed", type=partial(_whole, 0), default=0, metavar="N", help="the same gives the same result (0)")
    types = list(model_file.TYPES)
    add("--dtype", choices=types, default="float32", metavar="TYPE", help=f"computes in {', '.join(types)} (float32)")
    add("--label", **labels)
    add("--header", **header)
    add("--threads", **threads)
    add("--out", metavar="FILE", help="save the model, in the safetensors format; also as Ctrl-C leaves it")
    add("--notebook", action="store_true", help="train as the notebook: 200 steps of 0.1, each on all training samples")
    add("--quiet", action="store_true", help="print the last line alone")

    add = command("predict", _predict, "predict the labels of a CSV file, in Kaggle's form: ImageId,Label")
    add("model", **model)
    add("file", metavar="FILE", help="one sample a row, with or without labels")
    add("--label", **column, help="column to leave out: name, or position from 0 (label, if there is one)")
    add("--header", **header)
    add("--probabilities", action="store_true", help="add a column for each class, with its probability")
    add("--threads", **threads)
    add("--out", default="-", metavar="FILE", help="a CSV file (stdout)")

    add = command("evaluate", _evaluate, "print accuracy, loss and confusion matrix on a CSV file")
    add("model", **model)
    add("file", metavar="FILE", help="one sample a row, with a column of labels")
    add("--label", **labels)
    add("--header", **header)
    add("--threads", **threads)

    command("config", _config, "print what this installation is and uses")
    return parser


def _whole(least: int, text: str) -> int:
    """Return a whole number of at least `least`."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")
    return number


def _number(field: str, text: str) -> float:
    """Return a number within the bounds of an optimizer's field."""
    least, below, above = _validate.BOUNDS[field]
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
    try:
        return _validate.number(number, "it", least, below, above)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("it ")) from None


def _count_or_share(text: str) -> float:
    """Return a whole number of at least 1, or a share between 0 and 1."""
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, or a share as 0.2, got {text!r}")


def _column(text: str) -> str | int:
    """Return the position that the text is, or else the name."""
    try:
        return int(text)
    except ValueError:
        return text


def _train(given: argparse.Namespace) -> None:
    """Train on some of the samples, test on the others, and save the model."""
    recipe, optimizer = _recipe(given)
    _set_threads(given)
    with nullcontext() if given.out is None else _output(given.out, given.file) as out:
        X, y = _labelled(given, given.dtype)
        classes = int(y.max()) + 1
        if not 2 <= classes <= len(y):
            got = "nothing but 0" if classes == 1 else f"at most {classes - 1}"
            raise ValueError(f"{given.file}: labels must be 0, 1, 2, ..., got {got} in {len(y)} rows")
        test_rows = _test_rows(recipe["test_rows"], len(y), given.file)
        rng = np.random.default_rng(given.seed)
        X_train, X_test, y_train, y_test = cmlp.train_test_split(X, y, test_rows, rng)
        network, inputs = _network(given, recipe, X_train, classes, rng)
        if out is not None:
            model_file.dumps(network)  # what would keep it from being saved must show now, not after the training
        if not given.quiet:
            say(f"{given.file}: {len(y)} samples of {len(X)} features, {classes} classes")
            more = f", {VALIDATION_SHARE:.0%} of the others to decide when to stop" if recipe.get("patience") else ""
            say(f"{test_rows} of {len(y)} rows are set aside for the test{more}; {inputs}")
            say(network)
        untrained, interrupted = network._params.copy(), False
        try:
            if given.notebook:
                seconds = _run_notebook(network, X_train, y_train, X_test, y_test, given.quiet)
                seen = NOTEBOOK["epochs"] * len(y_train)
            else:
                history = network.fit(
                    X_train,
                    y_train,
                    epochs=recipe["epochs"],
                    batch_size=recipe["batch_size"],
                    optimizer=optimizer,
                    verbose=0 if given.quiet else 1,
                    class_weight=recipe["class_weight"],
                    **_stopping(recipe["patience"], X_test, y_test),
                )
                share = 1 if recipe["patience"] is None else 1 - VALIDATION_SHARE
                seconds, seen = sum(history["seconds"]), len(history["loss"]) * share * len(y_train)
                if history.stopped is not None and not given.quiet:
                    say(history.stopped)
        except KeyboardInterrupt:  # which comes between two steps
            if out is None or np.array_equal(network._params, untrained):
                raise
            interrupted = True
        if out is not None:
            out.write(model_file.dumps(network, training_state=False))
    if interrupted:
        which = "of the best epoch until then" if recipe.get("patience") else "as it was then"
        raise KeyboardInterrupt(f"{given.out} holds the model {which}")
    accuracies = [network.evaluate(*samples)["accuracy"] for samples in ((X_train, y_train), (X_test, y_test))]
    figures = f" {seconds:.2f} s  {seen / seconds:,.0f} samples/s"
    say("train accuracy {:.4f}  test accuracy {:.4f}".format(*accuracies), figures)


def _stopping(patience: int | None, X_test: Array, y_test: Array) -> dict[str, Any]:
    """Return what to look at after every epoch: the test rows, unless that decides when training stops."""
    if patience is None:
        return {"validation_data": (X_test, y_test)}
    return {"validation_fraction": VALIDATION_SHARE, "callbacks": [EarlyStopping(patience=patience)]}


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
    if given.notebook:
        if options:
            named = ", ".join("--" + name.replace("_", "-") for name in options)
            raise ValueError(f"--notebook says all about the training: it cannot be combined with {named}")
        return NOTEBOOK, SGD(NOTEBOOK_RATE)
    recipe = RECIPE | options
    name = recipe["optimizer"]
    settings = {"learning_rate": recipe.get("learning_rate", LEARNING_RATES[name])}
    if "momentum" in options:
        if name != "sgd":
            raise ValueError(f"--momentum is for --optimizer sgd, got {name}")
        settings["momentum"] = recipe["momentum"]
    return recipe, OPTIMIZERS[name](**settings)


def _network(
    given: argparse.Namespace, recipe: dict[str, Any], X: Array, classes: int, rng: np.random.Generator
) -> tuple[cmlp.NeuralNetwork, str]:
    """Return the network to train, and what it does with its inputs."""
    pixels = X.dtype == np.uint8
    standardize = not pixels if recipe["standardize"] is None else recipe["standardize"]
    network = cmlp.NeuralNetwork(dtype=given.dtype, rng=rng, input_scale=1 / 255 if pixels else 1.0)
    init = "uniform" if given.notebook else None
    sizes = [len(X), *recipe["hidden"], classes]
    activations = [recipe["activation"]] * len(recipe["hidden"]) + ["softmax"]
    for inputs, neurons, activation in zip(sizes[:-1], sizes[1:], activations, strict=True):
        network.add_layer(inputs, neurons, activation, init)
    if standardize:
        network.adapt(X)
        return network, "features are standardised"
    return network, "pixels are divided by 255" if pixels else "features are taken as they are"


def _run_notebook(
    network: cmlp.NeuralNetwork, X_train: Array, y_train: Array, X_test: Array, y_test: Array, quiet: bool
) -> float:
    """Do and print what the notebook's training cell does; return the seconds that the steps took."""
    seconds = 0.0
    for epoch in range(NOTEBOOK["epochs"]):
        start = time.perf_counter()
        network.train(X_train, y_train, NOTEBOOK_RATE)
        seconds += time.perf_counter() - start
        if epoch % 10 == 0 and not quiet:
            predictions = network.predict(X_test)
            say("Epoch: ", epoch)
            say("Accuracy", cmlp.get_accuracy(predictions, y_test))
    return seconds


def _predict(given: argparse.Namespace) -> None:
    """Write a table of predictions."""
    _set_threads(given)
    to_stdout = given.out == "-"
    with _stdout() if to_stdout else _output(given.out, given.file, given.model) as out:
        network = _classifier(given.model)
        X, _, names = cmlp.load_csv(given.file, given.label, network.dtype, given.header)
        if given.label is None and "label" in names:
            X = np.delete(X, names.index("label"), axis=0)
        _check_features(X, network, given)
        labels = network.predict(X)
        table = _pandas().DataFrame({"ImageId": np.arange(1, len(labels) + 1), "Label": labels})
        if given.probabilities:
            table = table.join(_pandas().DataFrame(_probabilities(network, X).T))
        out.write(table.to_csv(index=False, lineterminator="\n").encode())
    if not to_stdout:
        say(f"{given.out}: {len(labels)} predictions")


def _probabilities(network: cmlp.NeuralNetwork, X: Array) -> Array:
    """Return one row of probabilities for each class; a single output is that of the second."""
    outputs = network.forward(X)
    return np.concatenate((1 - outputs, outputs)) if len(outputs) == 1 else outputs


def _evaluate(given: argparse.Namespace) -> None:
    """Print how good a model is, and which classes it takes for which."""
    _set_threads(given)
    network = _classifier(given.model)
    X, y = _labelled(given, network.dtype)
    _check_features(X, network, given)
    classes = max(2, network.layers[-1].neurons)
    if y.max() >= classes:
        raise ValueError(f"{given.file}: labels must be 0 to {classes - 1}, as {given.model} has them, got {y.max()}")
    figures = network.evaluate(X, y)
    counts = np.bincount(y * classes + network.predict(X), minlength=classes**2).reshape(classes, classes)
    say(f"{len(y)} samples  accuracy {figures['accuracy']:.4f}  loss {figures['loss']:.4f}")
    say(_pandas().DataFrame(counts).rename_axis(index="true", columns="predicted").to_string())


def _config(_: argparse.Namespace) -> None:
    """Print the configuration."""
    cmlp.show_config()


def _pandas() -> Any:
    """Return pandas: importing it takes longer than all of cmlp. load_csv has said so if it is missing."""
    import pandas

    return pandas


def _set_threads(given: argparse.Namespace) -> None:
    if given.threads is not None:
        cmlp.set_num_threads(given.threads)


def _output(path: str, *inputs: str) -> AbstractContextManager[IO[bytes]]:
    """Open the file to write: first of all, so that no work is lost if it cannot be."""
    for other in inputs:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise ValueError(f"--out {path} would overwrite {other}, which is read")
    return model_file.replacing(path)


def _stdout() -> IO[bytes]:
    """Open stdout once more: under PYTHONUNBUFFERED Python's own may write a part of the bytes and say nothing."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


def _labelled(given: argparse.Namespace, dtype: DTypeLike) -> tuple[Array, Array]:
    """Return samples and their labels."""
    X, y, _ = cmlp.load_csv(given.file, given.label, dtype, given.header)
    if y is None or y.dtype.kind != "i" or y.min() < 0:
        raise ValueError(
            f"{given.file}: labels must be whole numbers of at least 0, got others in column {given.label!r}"
        )
    return X, y


def _classifier(path: str) -> cmlp.NeuralNetwork:
    """Return a model that predicts classes."""
    network = cmlp.NeuralNetwork.load(path)
    if not network._classifies:
        raise ValueError(f"{path}: expected a classifier, got a network for regression ({network.loss})")
    return network


def _check_features(X: Array, network: cmlp.NeuralNetwork, given: argparse.Namespace) -> None:
    """Check that the samples are such as the model was trained on."""
    expected = network.layers[0].input_size
    if len(X) != expected:
        raise ValueError(
            f"{given.file}: expected {expected} features, as {given.model} was trained on, got {len(X)}; "
            "--label names a column that is not a feature"
        )
