"""What looks on while a network trains, and may have a say: called as it begins, after every epoch, and at its end."""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmlp import _validate
from cmlp.training import Snapshot

if TYPE_CHECKING:
    from cmlp.fitting import Run
    from cmlp.network import NeuralNetwork

    Monitor = str | Callable[[NeuralNetwork, Run], float]


# Columns of a terminal for what a progress bar shows beside the figures: the epoch, a short bar, the time.
BESIDE_FIGURES = 24

# Those of a terminal that does not say how many it has, where tqdm would show nothing.
USUAL_COLUMNS, USUAL_ROWS = 80, 24


class Callback:
    """A callback that does nothing: what others are made from."""

    def __repr__(self) -> str:
        from inspect import signature  # which takes as long to import as much of cmlp

        settings = [name for name in signature(type(self)).parameters if name in vars(self)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in settings)})"

    def on_train_begin(self, run: Run) -> None:
        """
        Prepare for a training; nothing has changed yet.

        Parameters
        ----------
        run : Run
            The training.
        """

    def on_epoch_end(self, run: Run) -> None:
        """
        Look at an epoch, or in `partial_fit` at a chunk, after its steps and its validation.

        Parameters
        ----------
        run : Run
            The training.
        """

    def on_train_end(self, run: Run) -> None:
        """
        Finish; called however the training ends, as `run.error` says, once it has begun.

        Parameters
        ----------
        run : Run
            The training.
        """


class LambdaCallback(Callback):
    """
    A callback made of functions.

    Parameters
    ----------
    on_train_begin, on_epoch_end, on_train_end : callable, optional
        Functions of the run.

    Raises
    ------
    TypeError
        If one of them cannot be called.
    """

    def __init__(
        self,
        on_train_begin: Callable[[Run], Any] | None = None,
        on_epoch_end: Callable[[Run], Any] | None = None,
        on_train_end: Callable[[Run], Any] | None = None,
    ) -> None:
        given = {"on_train_begin": on_train_begin, "on_epoch_end": on_epoch_end, "on_train_end": on_train_end}
        for name, function in given.items():
            if function is not None:
                setattr(self, name, _validate.function(function, name))


class _Watcher(Callback):
    """A callback that follows one number, and knows when it is better than ever."""

    def __init__(self, monitor: Monitor, min_delta: float, mode: str) -> None:
        self.monitor, self.mode = _validate.monitor(monitor, mode)
        self.min_delta = _validate.number(min_delta, "min_delta")
        self.best = math.nan

    def on_train_begin(self, run: Run) -> None:
        """Forget what was before, and see that there will be such a number."""
        self.best = math.nan
        if isinstance(self.monitor, str):
            _validate.metric(self.monitor, run.metrics)

    def _improves(self, run: Run) -> bool:
        """Whether the epoch is the best so far; NaN never is."""
        if isinstance(self.monitor, str):
            value = run.figures[self.monitor]
        else:
            value = _validate.measure(self.monitor(run.network, run), "what monitor returns")
        gain = value - self.best if self.mode == "max" else self.best - value
        if not (gain > self.min_delta or (math.isnan(self.best) and not math.isnan(value))):
            return False
        self.best = value
        return True

    def _name(self) -> str:
        return self.monitor if isinstance(self.monitor, str) else getattr(self.monitor, "__name__", "monitor")


class EarlyStopping(_Watcher):
    """
    Ends a training that has not become better for some epochs.

    Parameters
    ----------
    monitor : str or callable, default "val_loss"
        A key of the history, or a function of the network and the run that returns a number.
    patience : int, default 5
        Epochs in a row without one that is better after which the training is stopped.
    min_delta : float, default 0.0
        How much better counts, in the unit of what is monitored: more than this.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; "auto" takes more for accuracies and less for the rest, and is not for a
        function.
    restore_best : bool, default True
        At the end of the training, by Ctrl-C or a FloatingPointError too, put back the parameters of the best epoch,
        and what the optimizer remembered then. Callbacks are called in their order: what those behind it in the list
        made of that epoch, such as a smaller learning rate, is not put back.

    Attributes
    ----------
    best : float
        The best number so far.
    best_epoch : int or None
        The epoch it is from, counted from 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range; when training begins, if there is no such key.
    """

    def __init__(
        self,
        monitor: Monitor = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = _validate.count(patience, "patience")
        self.restore_best = bool(restore_best)
        self.best_epoch: int | None = None
        self._kept: Snapshot | None = None

    def on_train_begin(self, run: Run) -> None:
        """Begin to wait anew."""
        super().on_train_begin(run)
        self.best_epoch, self._kept, self._waited = None, None, 0

    def on_epoch_end(self, run: Run) -> None:
        """Keep the best epoch's parameters, and stop when it has been too long ago."""
        if self._improves(run):
            self.best_epoch, self._waited = run.epoch, 0
            if self.restore_best:
                self._kept = Snapshot(run.network)
            return
        self._waited += 1
        if self._waited >= self.patience:
            run.stop(f"{self._name()} was no better for {self._waited} epochs than {self.best:.6g}")

    def on_train_end(self, run: Run) -> None:
        """Put the best epoch's parameters back."""
        if self._kept is not None and isinstance(run.error, KeyboardInterrupt | FloatingPointError | None):
            self._kept.restore(run.network)
        self._kept = None


class ReduceLROnPlateau(_Watcher):
    """
    Makes the learning rate smaller when a training has not become better for some epochs.

    The next training begins with a rate of its own: `learning_rate`, or `nn.optimizer`, is what to go on with. With
    `resume` too, two trainings go as one would, in another process as well that has loaded the network.

    Parameters
    ----------
    monitor : str or callable, default "val_loss"
        As for `EarlyStopping`.
    factor : float, default 0.1
        What the rate is multiplied by, in (0, 1).
    patience : int, default 5
        Epochs in a row without one that is better after which the rate becomes smaller.
    min_delta : float, default 0.0
        How much better counts: more than this.
    min_lr : float, default 0.0
        The smallest rate.
    mode : {"auto", "min", "max"}, default "auto"
        As for `EarlyStopping`.
    resume : bool, default False
        Begin with the best number and the epochs since then that the network's last training with such a callback ended
        with, if its optimizer goes on, rather than with none.

    Attributes
    ----------
    learning_rate : float or None
        The base rate that the training has come to.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range; when training begins, if there is no such key.
    """

    def __init__(
        self,
        monitor: Monitor = "val_loss",
        factor: float = 0.1,
        patience: int = 5,
        min_delta: float = 0.0,
        min_lr: float = 0.0,
        mode: str = "auto",
        resume: bool = False,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.factor = _validate.number(factor, "factor", below=1.0, above=True)
        self.patience = _validate.count(patience, "patience")
        self.min_lr = _validate.number(min_lr, "min_lr")
        self.resume = bool(resume)
        self.learning_rate: float | None = None

    def on_train_begin(self, run: Run) -> None:
        """Begin to wait, anew or where the last training ended."""
        super().on_train_begin(run)
        self._waited, self.learning_rate = 0, run.learning_rate
        memory = run.network._memory
        if self.resume and memory.plateau is not None and memory.kind is type(run.optimizer):
            self.best, self._waited = memory.plateau

    def on_epoch_end(self, run: Run) -> None:
        """Make the rate smaller when the best epoch has been too long ago."""
        self._waited = 0 if self._improves(run) else self._waited + 1
        if self._waited >= self.patience:
            self._waited = 0
            smaller = max(run.learning_rate * self.factor, self.min_lr)
            if 0 < smaller < run.learning_rate:
                run.learning_rate = smaller
        self.learning_rate = run.learning_rate
        run.network._memory.plateau = (self.best, self._waited) if math.isfinite(self.best) else None


class ModelCheckpoint(_Watcher):
    """
    Saves the network after every epoch, or after every one that is the best so far.

    Callbacks are called in their order: what those behind it in the list make of an epoch, such as a smaller learning
    rate, is not in its file.

    Parameters
    ----------
    path : path-like
        A .safetensors file. Keys of the history and "epoch", counted from 0, in braces stand for their values, as in
        "digits-{epoch:03}-{val_loss:.3f}.safetensors"; without any, the file is written over.
    monitor : str or callable, default "val_loss"
        As for `EarlyStopping`; looked at only with `save_best_only`.
    save_best_only : bool, default False
        Save only the best so far.
    mode : {"auto", "min", "max"}, default "auto"
        As for `EarlyStopping`.
    initial_value_threshold : float, optional
        What the first file of a training with `save_best_only` has to be better than: the `best` of the one before,
        where that is gone on with. NaN, as of one that has saved nothing, is none.

    Attributes
    ----------
    best : float
        The best number so far, with `save_best_only`; else NaN.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range; when training begins, if there is no such key.
    OSError, ImportError
        When training begins, if there is no such directory, or no safetensors library.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: Monitor = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, 0.0, mode)
        self.path = os.fspath(path)
        self.save_best_only = bool(save_best_only)
        given = initial_value_threshold
        self.initial_value_threshold = None if given is None else _validate.measure(given, "initial_value_threshold")

    def on_train_begin(self, run: Run) -> None:
        """See that the path can be filled in, and that its directory is there, if that does not depend on numbers."""
        from cmlp import model_file  # which other trainings need not wait for

        if self.save_best_only:
            super().on_train_begin(run)
            self.best = math.nan if self.initial_value_threshold is None else self.initial_value_threshold
        path = _validate.filled(self.path, {"epoch": 0, **dict.fromkeys(run.metrics, 0.0)})
        model_file.check_place(os.path.basename(path) if "{" in os.path.dirname(self.path) else path)

    def on_epoch_end(self, run: Run) -> None:
        """Save the network."""
        if not self.save_best_only or self._improves(run):
            run.network.save(_validate.filled(self.path, {"epoch": run.epoch, **run.figures}))


class CSVLogger(Callback):
    """
    Writes every epoch's numbers to a file, one line an epoch, as they come.

    Parameters
    ----------
    path : path-like
        The file.
    append : bool, default False
        Add to the lines there are instead of writing over them, which the first epoch's line does.

    Raises
    ------
    OSError
        When training begins, if the file cannot be written.
    ValueError
        When training begins, if lines are to be added to those of a training with other numbers.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = os.fspath(path), bool(append)
        self._mode = "a"

    def on_train_begin(self, run: Run) -> None:
        """See that the file can be written. Its lines stay for now, as the training may yet be refused."""
        with open(self.path, "a+", newline="", encoding="utf-8") as file:
            file.seek(0)
            text = file.read()
            if self.append:
                found = next(csv.reader(text.splitlines(keepends=True)), None)
                _validate.columns(self.path, found, ["epoch", *run.metrics])
                if text and not text.endswith("\n"):  # whoever wrote it was killed: it keeps its last line for itself
                    file.write("\r\n")
        self._mode = "a" if self.append else "w"

    def on_epoch_end(self, run: Run) -> None:
        """Write a line, the first one below the names of the columns."""
        with open(self.path, self._mode, newline="", encoding="utf-8") as file:
            if file.tell() == 0:
                csv.writer(file).writerow(("epoch", *run.metrics))
            csv.writer(file).writerow((run.epoch, *(run.figures[name] for name in run.metrics)))
        self._mode = "a"


class ProgressBar(Callback):
    """
    A bar on a terminal or in a notebook, if tqdm is installed, and a line an epoch elsewhere.

    On a narrow terminal the number of the samples that validate stands behind the other, after a slash.
    """

    _bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Show the bar."""
        if not sys.stderr.isatty() and "ipykernel" not in sys.modules:
            return
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        # The figures matter more than the bar, which takes what they leave.
        shape = "{n_fmt}/{total_fmt} {bar} {desc} [{elapsed}]"
        size = {"ncols": USUAL_COLUMNS, "nrows": USUAL_ROWS} if _is_of_no_size(sys.stderr) else {"dynamic_ncols": True}
        self._bar = tqdm(total=run.epochs, unit=run.unit, bar_format=shape, **size)

    def on_epoch_end(self, run: Run) -> None:
        """Move the bar, or print a line."""
        numbers = {name: f"{value:.4f}" for name, value in run.figures.items() if name in run.measured}
        figures = "  ".join(f"{name} {number}" for name, number in numbers.items())
        if self._bar is not None:
            columns = self._bar.format_dict["ncols"]
            if columns and len(figures) + BESIDE_FIGURES > columns:
                pairs = {name: (name, f"val_{name}") for name in numbers if not name.startswith("val_")}
                figures = "  ".join(
                    f"{name} {'/'.join(numbers[key] for key in pair if key in numbers)}" for name, pair in pairs.items()
                )
            self._bar.set_description_str(figures, refresh=False)
            self._bar.update()
        else:
            of = "" if run.epochs is None else f"/{run.epochs}"
            print(f"{run.unit} {run.epoch + 1}{of}  {figures}  {run.figures['seconds']:.2f} s", flush=True)

    def on_train_end(self, run: Run) -> None:  # noqa: ARG002
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _is_of_no_size(terminal: Any) -> bool:
    """Return whether a terminal says that it has 0 columns or rows, as in some containers."""
    try:
        return 0 in os.get_terminal_size(terminal.fileno())
    except (OSError, ValueError):  # it is none, as in a notebook
        return False
