"""The network: it owns its layers and their parameters, and hands whole passes over the data to the compiled core."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp import _arrays, _progress, _threads, _validate
from cmlp._dispatch import core
from cmlp.layer import DenseLayer
from cmlp.losses import cross_entropy
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer, Rule

# Samples that are predicted without threads and with the parameters as they lie: at most so many, and products.
FEW_SAMPLES = 128
FEW_PRODUCTS = 1_000_000

INDEX = np.dtype(np.intp)

# Sum of the parameters' squares, above one for each, from which a step's own loss might not be finite.
LARGE_SQUARES = 1e6

STATUS_NAMES = {status: name for name, status in core.STATUSES.items()}

Array = NDArray[Any]
Data = tuple[Array, Array | None, Array | None]  # samples as rows (m, n_inputs); labels (m,); or targets (m, n_outputs)


class NeuralNetwork:
    """
    A multilayer perceptron: dense layers, one after the other, and a loss to train them with.

    Samples are columns: X has shape (features, m). It may hold numbers of any type, lie in memory in any way, and be
    read-only; the passes convert it a block at a time, so it is never copied as a whole.

    Parameters
    ----------
    loss : str or callable, default cmlp.cross_entropy
        "cross_entropy", for classes, after softmax; "binary_cross_entropy", for yes or no, after sigmoid;
        "mean_squared_error", for regression, after any activation; or the function of that name in cmlp.
    dtype : {"float32", "float64"}, default "float32"
        Type of the parameters and of all that is computed, whatever the data's.
    rng : None, int or numpy.random.Generator, optional
        Where first weights and the order of samples are drawn from. The same seed gives the same bits, for any number
        of threads and with AVX2 as with AVX-512.
    input_scale : float, default 1.0
        What every number of X is multiplied by on the way in: 1/255 for pixels kept as bytes.

    Attributes
    ----------
    loss : str
        Name of the loss.
    dtype : numpy.dtype
        Type of the parameters.
    rng : numpy.random.Generator
        The generator.
    input_scale : float
        The factor.

    Raises
    ------
    ValueError, TypeError
        If a setting is not one of the above.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import NeuralNetwork, reLU, softmax
    >>> nn = NeuralNetwork(rng=0)
    >>> nn.add_layer(2, 8, reLU)
    >>> nn.add_layer(8, 2, softmax)
    >>> X = np.random.default_rng(0).normal(size=(2, 500))
    >>> y = (X[0] > X[1]).astype(int)
    >>> history = nn.fit(X, y, epochs=20, batch_size=10)
    >>> nn.evaluate(X, y)["accuracy"] > 0.95
    True
    """

    _regime = "by_size"  # how steps go through the layers; the tests compare the ways

    def __init__(
        self,
        loss: str | Callable[..., Any] = cross_entropy,
        dtype: Any = "float32",
        rng: int | np.random.Generator | None = None,
        input_scale: float = 1.0,
    ) -> None:
        self.loss = _validate.loss(loss)
        self.dtype = _validate.dtype(dtype)
        self.rng = _validate.rng(rng)
        self.input_scale = _validate.scale(input_scale, self.dtype)
        self._layers: list[DenseLayer] = []
        self._reset()

    def _reset(self) -> None:
        """Lay the layers' parameters one after the other into a single array, and describe it to the core."""
        self._training, self._process = threading.Lock(), os.getpid()
        self._work = _arrays.empty(0, self.dtype)
        self._shortcuts: dict[str, Any] = {}
        self._sizes = np.array([*(layer.input_size for layer in self._layers[:1]), *self._neurons()], np.intp)
        self._activations = np.array([core.ACTIVATIONS[layer.activation] for layer in self._layers], np.intc)
        self._params = _arrays.zeros(sum(layer._room() for layer in self._layers), self.dtype)
        end = 0
        for layer in self._layers:
            begin, end = end, end + layer._room()
            weights, biases = layer.weights, layer.biases
            layer._move(self._params[begin:end])
            layer.weights, layer.biases = weights, biases

    def _neurons(self) -> list[int]:
        return [layer.neurons for layer in self._layers]

    @property
    def layers(self) -> tuple[DenseLayer, ...]:
        """
        The layers, from the data on.

        Returns
        -------
        tuple of DenseLayer
            Their weights and biases can be read, written into and assigned. Adding a layer moves them: take them anew
            from here then.
        """
        return tuple(self._layers)

    def add_layer(
        self, input_size: int, nr_neurons: int, activation: str | Callable[..., Any], init: str | None = None
    ) -> None:
        """
        Add a layer behind those there are.

        Parameters
        ----------
        input_size : int
            Inputs: the features of X, or the neurons of the layer before.
        nr_neurons : int
            Neurons; in the last layer the number of classes, or of values to predict.
        activation : str or callable
            "identity", "relu", "sigmoid", "tanh" or "softmax", or the function of that name in cmlp.
        init : str, optional
            How the weights are drawn: "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", or "uniform", the
            notebook's U(-0.5, 0.5) for weights and biases. By default "he_uniform" for ReLU, else "glorot_uniform".

        Raises
        ------
        ValueError, TypeError
            If `input_size` is not the number of neurons of the layer before, or an argument is not one of the above.
        """
        before = self._layers[-1].activation if self._layers else "identity"
        layer = DenseLayer(
            input_size,
            nr_neurons,
            activation,
            is_first=not self._layers,
            init=init,
            dtype=self.dtype,
            rng=self.rng,
            input_activation=before,
        )
        _validate.next_size(layer.input_size, self._neurons())
        self._layers.append(layer)
        self._reset()

    def _work_for(self, samples: int, threads: int, wanted: str) -> int:
        """Elements that the core needs to work in."""
        return int(
            core.work_size(
                self._sizes,
                self._activations,
                samples,
                threads,
                core.WANTS[wanted],
                core.REGIMES[self._regime],
                self._params,
            )
        )

    def _rows(self, X: ArrayLike, name: str = "X") -> Array:
        """X with samples as rows."""
        _validate.has_layers(self._layers)
        return _validate.inputs(X, self._layers[0].input_size, name)

    def _data(self, X: ArrayLike, y: ArrayLike, of: str = "") -> Data:
        """X with samples as rows, and labels or else targets."""
        rows = self._rows(X, f"X{of}")
        output = self._layers[-1]
        _validate.pair(self.loss, output.activation, output.neurons)
        return rows, *_validate.targets(y, len(rows), output.neurons, self.loss, self.dtype, f"y{of}")

    def _pass(self, rows: Array, what: str, name: str = "X", **wanted: Array | None) -> tuple[float, int]:
        """One pass forward; returns the sum of the losses and the number of right classes."""
        threads = _threads.threads_for(len(rows) * self._params.size)
        work = _arrays.empty(self._work_for(len(rows), threads, what), self.dtype)
        loss, correct, finite = core.run(
            work,
            self._params,
            self._sizes,
            self._activations,
            core.LOSSES[self.loss],
            rows,
            self.input_scale,
            threads,
            **wanted,
        )
        if not finite:
            _validate.finite(rows, name, self.dtype, self.input_scale)
        return loss, correct

    def _few(self, X: ArrayLike, what: str, out: Array | None) -> Array | None:
        """The outputs or classes of a few samples, or None if there are more or they have to be judged."""
        shortcut = self._shortcuts.get(what)
        if shortcut is None:
            if not self._layers:
                return None
            work = _arrays.empty(self._work_for(FEW_SAMPLES, 1, what), self.dtype)
            shortcut = self._shortcuts[what] = core.Shortcut(
                work,
                self._params,
                self._sizes,
                self._activations,
                min(FEW_SAMPLES, FEW_PRODUCTS // self._params.size),
                core.WANTS[what],
                np.ndarray,
                np.empty,
                INDEX if what == "classes" else self.dtype,
            )
        few: Array | None = shortcut(X, self.input_scale, out)
        return few

    def forward(self, X: ArrayLike, out: Array | None = None) -> Array:
        """
        Return what the last layer makes of the samples.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column; a single sample may have shape (features,).
        out : ndarray of shape (n_outputs, m), the network's dtype, optional
            Where the results go, in any layout; a part of X it must not be.

        Returns
        -------
        ndarray of shape (n_outputs, m), the network's dtype
            Probabilities after softmax and sigmoid.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features, is empty, or holds NaN, infinity or no numbers; if `out` does not fit.
        """
        few = self._few(X, "outputs", out)
        if few is not None:
            return few
        rows = self._rows(X)
        outputs = _validate.out(out, (self._layers[-1].neurons, len(rows)), self.dtype)
        self._pass(rows, "outputs", outputs=outputs.T)
        return outputs

    def predict(self, X: ArrayLike, out: Array | None = None) -> Array:
        """
        Return the class of each sample, or under mean squared error the outputs.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column; a single sample may have shape (features,).
        out : ndarray of the shape and type that is returned, optional
            Where the results go, in any layout; a part of X it must not be.

        Returns
        -------
        ndarray of shape (m,), intp; or ndarray of shape (n_outputs, m), the network's dtype
            Index of the largest output; with a single output, whether it is above 0.5. For regression, the outputs.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features, is empty, or holds NaN, infinity or no numbers; if `out` does not fit.
        """
        if self.loss == "mean_squared_error":
            return self.forward(X, out)
        few = self._few(X, "classes", out)
        if few is not None:
            return few
        rows = self._rows(X)
        classes = _validate.out(out, (len(rows),), INDEX)
        self._pass(rows, "classes", classes=classes)
        return classes

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """
        Return how good the predictions are.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels, one-hot columns, or targets.

        Returns
        -------
        dict of str to float
            "loss", the mean over the samples (in nats, under a cross-entropy); with labels also "accuracy", the
            fraction of right predictions.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or hold NaN, infinity or no numbers.
        """
        return self._measure(self._data(X, y))

    def _measure(self, data: Data, name: str = "X") -> dict[str, float]:
        rows, labels, targets = data
        loss, correct = self._pass(rows, "loss", name, labels=labels, targets=targets)
        return {"loss": loss / len(rows), **({} if labels is None else {"accuracy": correct / len(rows)})}

    def train(self, X: ArrayLike, y: ArrayLike, learning_rate: float) -> float:
        """
        Take one step of gradient descent on all samples together.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels of any integer type, one-hot columns, or targets.
        learning_rate : float
            Size of the step, in units of the gradient of the mean loss.

        Returns
        -------
        float
            Mean loss before the step.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or hold NaN, infinity or no numbers; nothing has changed then.
        FloatingPointError
            If the loss is not finite, or it or a parameter would not be after the step, which is not taken then.
        RuntimeError
            If another thread is training this network.
        """
        rule = SGD(learning_rate).rule()
        data = self._data(X, y)
        with self._alone():
            loss, _, _ = self._steps(data, None, len(data[0]), rule, np.empty((1, 1), self.dtype), 0)
            self._check_last_step(data, 1)
        return loss

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads from training this network."""
        if self._process != os.getpid():  # forked, perhaps while a thread that is not here was training
            self._training, self._process = threading.Lock(), os.getpid()
        if not self._training.acquire(blocking=False):
            raise RuntimeError("another thread is training this network: train one network from one thread at a time")
        try:
            yield
        finally:
            self._training.release()

    @contextmanager
    def _unchanged_on(self, error: type[Exception]) -> Iterator[None]:
        """Put the parameters and the generator back to what they were, if there is an error."""
        params, state = self._params.copy(), self.rng.bit_generator.state
        try:
            yield
        except error:
            self._params[:] = params
            self.rng.bit_generator.state = state
            raise

    def _steps(
        self, data: Data, order: Array | None, batch: int, rule: Rule, moments: Array, taken: int
    ) -> tuple[float, float, int]:
        """A step for each mini-batch; returns the mean loss, the accuracy and the number of steps."""
        rows, labels, targets = data
        batch = min(batch, len(rows))
        threads = _threads.threads_for(batch * self._params.size, -(-len(rows) // batch))
        size = self._work_for(batch, threads, "gradient")
        if self._work.size < size:
            self._work = _arrays.empty(size, self.dtype)
        loss, correct, steps, status = core.train(
            self._work,
            self._params,
            moments,
            self._sizes,
            self._activations,
            core.LOSSES[self.loss],
            rows,
            self.input_scale,
            threads,
            core.REGIMES[self._regime],
            batch,
            rule,
            taken,
            labels,
            targets,
            order,
        )
        if status != core.STATUSES["done"]:
            _validate.finite(rows, "X", self.dtype, self.input_scale)
            raise self._bad_step(STATUS_NAMES[status], taken + steps + 1)
        return loss / len(rows), correct / len(rows), steps

    def _check_last_step(self, data: Data, taken: int) -> None:
        """Take back the last of the steps, whose loss no next step has shown yet, if it is not finite."""
        with np.errstate(over="ignore"):
            squares = np.dot(self._params, self._params)
        if squares < self._params.size + LARGE_SQUARES:  # a look at the loss costs a pass forward
            return
        rows, labels, targets = data
        loss, _ = self._pass(rows, "loss", labels=labels, targets=targets)
        if not np.isfinite(loss):
            core.take_back(self._params, self._sizes, self._activations, self._work)
            raise self._bad_step("bad_loss", taken)

    def _bad_step(self, status: str, number: int) -> FloatingPointError:
        """What to raise after the step of this number."""
        what = {
            "bad_start": "the loss is not a finite {0} with the parameters as they are: no step was taken",
            "bad_loss": "step {1} led to a loss that is not a finite {0}: it was taken back",
            "bad_step": "step {1} would lead to a parameter that is not a finite {0}: it was not taken",
        }[status].format(self.dtype, number)
        return FloatingPointError(f"{what}. A smaller learning rate, or inputs and targets of about 1, may help")

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        shuffle: bool = True,
        verbose: int = 0,
    ) -> dict[str, list[float]]:
        """
        Train on mini-batches.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column. It is read fastest where a sample's numbers lie side by side, as in the transpose of a
            C-ordered table with one sample a row.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels of any integer type, one-hot columns, or targets.
        epochs : int, default 10
            Passes over all samples.
        batch_size : int, default 128
            Samples of a step; the last one of an epoch may have fewer.
        optimizer : str or optimizer, default "adam"
            "sgd", "adam", "adamw", or an instance of `SGD`, `Adam` or `AdamW`.
        learning_rate : float, optional
            Instead of the optimizer's.
        validation_data : tuple of X and y, optional
            Evaluated after every epoch.
        shuffle : bool, default True
            Draw a new order of the samples for every epoch.
        verbose : int, default 0
            1 shows a progress bar on a terminal (with tqdm installed), and prints a line an epoch elsewhere.

        Returns
        -------
        dict of str to list of float
            One number an epoch: "loss" and "accuracy", means over the epoch's batches, each taken before its step;
            "val_loss" and "val_accuracy"; "seconds" for training. Accuracies only with labels, "val_..." only with
            validation data.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit, or holds NaN, infinity or no numbers; nothing has changed then.
        FloatingPointError
            If a batch's loss is not finite, or a parameter would not be; the step that led there is taken back.
        RuntimeError
            If another thread is training this network.
        """
        epochs, batch_size = _validate.count(epochs, "epochs"), _validate.count(batch_size, "batch_size")
        rule = _validate.optimizer(optimizer, learning_rate, OPTIMIZERS).rule()
        data = self._data(X, y)
        validation = None
        if validation_data is not None:
            validation = self._data(*_validate.validation_pair(validation_data), " of validation_data")
        samples = len(data[0])
        past = core.moment_count(rule)
        moments = _arrays.zeros(past * self._params.size or 1, self.dtype).reshape(past or 1, -1)
        history: dict[str, list[float]] = {}
        taken = 0
        with self._alone(), self._unchanged_on(ValueError):  # the passes find NaN and infinity on their way
            for _ in _progress.epochs(epochs, verbose, history):
                start = time.perf_counter()
                order = self.rng.permutation(samples).astype(np.intp, copy=False) if shuffle else None
                loss, accuracy, steps = self._steps(data, order, batch_size, rule, moments, taken)
                taken += steps
                seconds = time.perf_counter() - start
                figures = {"loss": loss, **({} if data[1] is None else {"accuracy": accuracy})}
                if validation is not None:
                    measured = self._measure(validation, "X of validation_data")
                    figures.update((f"val_{name}", value) for name, value in measured.items())
                for name, value in (*figures.items(), ("seconds", seconds)):
                    history.setdefault(name, []).append(value)
            self._check_last_step(data, taken)
        return history

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the network to a .safetensors file.

        Parameters
        ----------
        path : path-like
            The file; written beside it first and renamed when it is complete.

        Raises
        ------
        OSError
            If it cannot be written; a file that was there before is left as it was.
        ImportError
            If the safetensors library is not installed.
        """
        from cmlp import model_file

        model_file.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """
        Read a network that `save` wrote.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        NeuralNetwork
            With the same layers, bit for bit.

        Raises
        ------
        OSError, ValueError
            If there is no such file, or it does not hold a network of cmlp.
        ImportError
            If the safetensors library is not installed.
        """
        from cmlp import model_file

        return model_file.load(cls, path)

    def __getstate__(self) -> dict[str, Any]:
        # Of the rest some cannot be copied (the lock), and some follows from the layers.
        derived = ("_training", "_process", "_work", "_shortcuts", "_sizes", "_activations", "_params")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __copy__(self) -> Self:
        # Two networks cannot share layers, whose parameters lie in the network's own array.
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __repr__(self) -> str:
        rows = [("layer", "shape", "activation", "parameters")]
        for number, layer in enumerate(self._layers):
            shape = f"{layer.input_size} -> {layer.neurons}"
            rows.append((str(number), shape, layer.activation, f"{layer.weights.size + layer.biases.size:,}"))
        total = sum(layer.weights.size + layer.biases.size for layer in self._layers)
        rows.append(("total", "", "", f"{total:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = "{:<{}}  {:<{}}  {:<{}}  {:>{}}"
        lines = [aligned.format(*chain.from_iterable(zip(row, widths, strict=True))) for row in rows]
        return "\n".join((f"NeuralNetwork(loss={self.loss!r}, dtype={self.dtype.name!r})", *lines))
