"""The command line: train a classifier on a CSV file, predict with it, and see how good it is."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp import _startup, _validate, model_file
from cmlp._cli_files import (
    check_features,
    class_names,
    class_numbers,
    errors,
    import_pandas,
    labelled,
    measured,
    model_of,
    output,
    say,
    set_threads,
    stdout,
    unlabelled,
)
from cmlp._cli_train import (
    DARKEST_WHITE,
    LEARNING_RATES,
    PATIENT_EPOCHS,
    RECIPE,
    TEST_ROWS,
    TEST_SHARE,
    VALIDATION_SHARE,
    train,
)
from cmlp.activations import ACTIVATIONS
from cmlp.optimizers import OPTIMIZERS

Array = NDArray[Any]

INTERRUPTED, BROKEN_PIPE = 130, 141  # what a shell reports of a program that SIGINT or SIGPIPE ends


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
        _startup.raise_interrupts()
        try:
            given = _parser().parse_args(argv)
            given.command(given)
        finally:
            if sys.stdout is not None:
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
            if stream is not None:
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
    if sys.stderr is not None:  # in whose place print would take stdout
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
    names = "the first row names the columns (if it holds text, other than a label)"
    header = {"action": argparse.BooleanOptionalAction, "help": names}
    ignore = {**column, "action": "append", "default": []}
    ignore["help"] = "column to leave out: name, or position from 0; to be given once for each"
    threads = {"type": partial(_whole, 1), "metavar": "N", "help": "use at most so many (all processors)"}
    model = {"metavar": "MODEL", "help": "a file that cmlp train --out wrote"}
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    rates = ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())

    add = command("train", train, "train a network on a CSV file, and test it on rows set aside")
    add("file", metavar="FILE", help="one sample a row, with a column of labels: whole numbers or names, of classes")
    text = "labels are numbers to predict, by squared errors: standardised while the network is trained"
    add("--regression", action="store_true", help=text)
    for name, text, settings in (
        (
            "hidden",
            "neurons of the hidden layers, given after FILE; without a number, none",
            {"type": partial(_whole, 1), "nargs": "*"},
        ),
        ("activation", f"of the hidden layers: {', '.join(hidden)}", {"choices": hidden, "metavar": "NAME"}),
        (
            "epochs",
            f"passes over the training samples, or {PATIENT_EPOCHS} at most with --patience",
            {"type": partial(_whole, 1)},
        ),
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
    text = "shift and scale each feature to mean 0 and deviation 1 of the training rows (unless all are whole, at "
    text += f"least 0, and the largest {DARKEST_WHITE} to 255, as pixels: they are divided by 255)"
    add("--standardize", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    add("--text-labels", action="store_true", help="labels are names, even if they look like numbers")
    add("--seed", type=partial(_whole, 0), default=0, metavar="N", help="the same gives the same result (0)")
    types = list(model_file.TYPES)
    add("--dtype", choices=types, default="float32", metavar="TYPE", help=f"computes in {', '.join(types)} (float32)")
    add("--label", **labels)
    add("--ignore", **ignore)
    add("--header", **header)
    add("--threads", **threads)
    add("--out", metavar="FILE", help="save the model, in the safetensors format; also as Ctrl-C leaves it")
    add("--notebook", action="store_true", help="train as the notebook: 200 steps of 0.1, each on all training samples")
    add("--quiet", action="store_true", help="print the last line alone")

    add = command("predict", _predict, "predict the labels of a CSV file, in Kaggle's form: ImageId,Label")
    add("model", **model)
    add("file", metavar="FILE", help="one sample a row; of a model that knows its columns by name, others are left out")
    add("--label", **column, help="column to leave out: name, or position from 0 (label, if there is one)")
    add("--ignore", **ignore)
    add("--header", **header)
    add("--probabilities", action="store_true", help="add a column for each class, with its probability")
    add("--threads", **threads)
    add("--out", default="-", metavar="FILE", help="a CSV file (stdout)")

    text = "print accuracy, loss and confusion matrix on a CSV file, or how far off predicted numbers are"
    add = command("evaluate", _evaluate, text)
    add("model", **model)
    add("file", metavar="FILE", help="one sample a row, with a column of labels")
    add("--label", **labels)
    add("--ignore", **ignore)
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
    return int(text) if re.fullmatch("[+-]?[0-9]+", text) else text


def _predict(given: argparse.Namespace) -> None:
    """Write a table of predictions."""
    set_threads(given)
    to_stdout = given.out == "-"
    pandas = import_pandas()
    with stdout() if to_stdout else output(given.out, given.file, given.model) as out:
        network = model_of(given.model)
        if given.probabilities and not network._classifies:
            raise ValueError(f"--probabilities are of classes, and {given.model} predicts numbers")
        X = unlabelled(given, network.dtype, network.feature_names)
        check_features(X, network, given)
        labels = class_names(network)[network.predict(X)] if network._classifies else network.predict(X)[0]
        table = pandas.DataFrame({"ImageId": np.arange(1, len(labels) + 1), "Label": labels})
        if given.probabilities:
            probabilities = pandas.DataFrame(_probabilities(network, X).T, columns=class_names(network))
            table = pandas.concat([table, probabilities], axis=1)
        out.write(table.to_csv(index=False, lineterminator="\n").encode())
    if not to_stdout:
        say(f"{given.out}: {len(labels)} predictions")


def _probabilities(network: cmlp.NeuralNetwork, X: Array) -> Array:
    """Return one row of probabilities for each class; a single output is that of the second."""
    outputs = network.forward(X)
    return np.concatenate((1 - outputs, outputs)) if len(outputs) == 1 else outputs


def _evaluate(given: argparse.Namespace) -> None:
    """Print how good a model is, and which classes it takes for which."""
    set_threads(given)
    network = model_of(given.model)
    if not network._classifies:
        X, y, _ = measured(given, network.dtype, network.feature_names)
        check_features(X, network, given)
        say("{} samples  R2 {:.4f}  RMSE {:.6g}".format(len(y), *errors(network, X, y)))
        return
    pandas, classes = import_pandas(), class_names(network)
    X, y, _ = labelled(given, network.dtype, classes.dtype.kind == "U", network.feature_names)
    check_features(X, network, given)
    y = class_numbers(y, classes, given)
    figures = network.evaluate(X, y)
    counts = np.bincount(y * len(classes) + network.predict(X), minlength=len(classes) ** 2)
    table = pandas.DataFrame(counts.reshape(len(classes), -1), index=classes, columns=classes)
    table = table.rename_axis(index="true", columns="predicted")
    table.insert(len(classes), "recall", np.diag(table) / table.sum(axis=1), allow_duplicates=True)
    say(f"{len(y)} samples  accuracy {figures['accuracy']:.4f}  loss {figures['loss']:.4f}")
    say(table.to_string(float_format="{:.4f}".format, na_rep="-"))


def _config(_: argparse.Namespace) -> None:
    """Print the configuration."""
    cmlp.show_config()
