"""The network: it owns its layers and their parameters, and hands whole passes over the data to the compiled core."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp import _arrays, _progress, _threads, _validate, training
from cmlp._dispatch import core
from cmlp.layer import DenseLayer
from cmlp.losses import cross_entropy
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer
from cmlp.training import Samples

# Samples that are predicted without threads and with the parameters as they lie: at most so many, and products.
FEW_SAMPLES = 128
FEW_PRODUCTS = 1_000_000

INDEX = np.dtype(np.intp)

# Losses whose networks predict classes.
CLASSIFYING = ("cross_entropy", "binary_cross_entropy")

Array = NDArray[Any]


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
    input_scale : float or array_like of shape (features,), default 1.0
        What every number of X, or each feature, is multiplied by on the way in: 1/255 for pixels kept as bytes.
    input_shift : float or array_like of shape (features,), optional
        What is subtracted before that: with the features' means, and 1 over their standard deviations as `input_scale`,
        they are standardised. See `adapt`.

    Attributes
    ----------
    loss : str
        Name of the loss.
    dtype : numpy.dtype
        Type of the parameters.
    rng : numpy.random.Generator
        The generator.
    input_scale, input_shift : float or ndarray of shape (features,), float64
        What inputs are multiplied by, and what is subtracted from them before.

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
        input_scale: float | ArrayLike = 1.0,
        input_shift: float | ArrayLike = 0.0,
    ) -> None:
        self._layers: list[DenseLayer] = []
        self._memory = training.Memory()
        self._dtype = _validate.dtype(dtype)
        self._loss = _validate.loss(loss)
        self.rng = _validate.rng(rng)
        self._scaling = _validate.scale(input_scale, self.dtype), _validate.shift(input_shift)
        self._reset()

    def _reset(self) -> None:
        """Lay the layers' parameters one after the other into a single array, and describe it to the core."""
        self._params = _arrays.zeros(sum(layer._room() for layer in self._layers), self.dtype)
        end = 0
        for layer in self._layers:
            begin, end = end, end + layer._room()
            weights, biases = layer.weights, layer.biases
            layer._move(self._params[begin:end])
            layer.weights, layer.biases = weights, biases
        self._memory.forget()
        self._describe()

    def _describe(self) -> None:
        """Tell the core what the network is."""
        self._shortcuts: dict[str, Any] = {}
        self._model = None
        if not self._layers:
            return
        scale, shift = self._scaling
        n_inputs, n_outputs = self._layers[0].input_size, self._layers[-1].neurons
        _validate.one_for_each_feature((scale, shift), n_inputs)
        name, options = self._loss
        levels = options.get("levels", (0.0,))
        standardised = np.ndim(scale) > 0 or np.ndim(shift) > 0 or shift != 0
        self._model = core.Model(
            np.array([n_inputs, *self._neurons()], np.intp),
            np.array([core.ACTIVATIONS[layer.activation] for layer in self._layers], np.intc),
            np.array([layer.dropout for layer in self._layers], np.float64),
            core.LOSSES[name],
            options.get("label_smoothing", 0.0),
            options.get("delta", 1.0),
            np.resize(np.array(levels, np.float64), n_outputs),
            1.0 if standardised else scale,
            np.full(n_inputs, shift, np.float64) if standardised else None,
            np.full(n_inputs, scale, np.float64) if standardised else None,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """
        Type of the parameters and of all that is computed.

        Returns
        -------
        numpy.dtype
            float32 or float64.
        """
        return self._dtype

    @property
    def loss(self) -> str:
        """
        The loss, which can be assigned in the ways that the constructor takes.

        Returns
        -------
        str
            Its name.
        """
        return self._loss[0]

    @loss.setter
    def loss(self, value: Any) -> None:  # numpydoc ignore=GL08
        self._loss = _validate.loss(value)
        self._describe()

    @property
    def loss_options(self) -> dict[str, Any]:
        """
        What the loss was given.

        Returns
        -------
        dict
            Such as "delta"; empty for most losses.
        """
        return dict(self._loss[1])

    @property
    def input_scale(self) -> Any:
        """
        What inputs are multiplied by, which can be assigned.

        Returns
        -------
        float or ndarray of shape (features,), float64
            One for all features, or one for each.
        """
        return self._scaling[0]

    @input_scale.setter
    def input_scale(self, value: float | ArrayLike) -> None:  # numpydoc ignore=GL08
        self._scale(value, self.input_shift)

    @property
    def input_shift(self) -> Any:
        """
        What is subtracted from inputs before they are multiplied, which can be assigned.

        Returns
        -------
        float or ndarray of shape (features,), float64
            One for all features, or one for each.
        """
        return self._scaling[1]

    @input_shift.setter
    def input_shift(self, value: float | ArrayLike) -> None:  # numpydoc ignore=GL08
        self._scale(self.input_scale, value)

    def _scale(self, scale: float | ArrayLike, shift: float | ArrayLike) -> None:
        scaling = _validate.scale(scale, self.dtype), _validate.shift(shift)
        if self._layers:
            _validate.one_for_each_feature(scaling, self._layers[0].input_size)
        self._scaling = scaling
        self._describe()

    def adapt(self, X: ArrayLike) -> None:
        """
        Standardise what the network is given from now on, by the means and standard deviations of these samples.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column, as they come. A feature that is the same in all of them is only shifted.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the network, or holds NaN, infinity or no numbers.
        """
        rows = self._rows(X)
        _validate.finite(rows, "X")
        mean, deviation = _arrays.moments(rows)
        self._scale(1 / np.where(deviation > 0, deviation, 1.0), mean)

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
        self,
        input_size: int,
        nr_neurons: int,
        activation: str | Callable[..., Any],
        init: str | None = None,
        dropout: float = 0.0,
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
            A name of `cmlp.activations.ACTIVATIONS`, such as "relu", or the function of that name in cmlp.
        init : str, optional
            How the weights are drawn: "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal",
            "lecun_uniform", or "uniform", the notebook's U(-0.5, 0.5) for weights and biases. By default "he_uniform"
            for ReLU and those like it, "lecun_normal" for SELU, else "glorot_uniform".
        dropout : float, default 0.0
            Share of the layer's outputs that each step of training leaves out, in [0, 1); the others are made as much
            larger. Not for the last layer, nor after softmax.

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
            dropout=dropout,
        )
        _validate.next_size(layer.input_size, self._neurons())
        if not self._layers:
            _validate.one_for_each_feature(self._scaling, layer.input_size)
        self._layers.append(layer)
        self._reset()

    def _work_for(self, samples: int, threads: int, wanted: str, whole: bool = False) -> int:
        """Elements that the core needs to work in."""
        regime = core.REGIMES[self._regime]
        return int(core.work_size(self._model, samples, threads, core.WANTS[wanted], regime, whole, self._params))

    def _rows(self, X: ArrayLike, name: str = "X") -> Array:
        """X with samples as rows."""
        _validate.has_layers(self._layers)
        return _validate.inputs(X, self._layers[0].input_size, name)

    def _data(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, of: str = "") -> Samples:
        """X with samples as rows, labels or else targets, and the samples' weights."""
        rows = self._rows(X, f"X{of}")
        output = self._layers[-1]
        _validate.pair(self._loss, [layer.activation for layer in self._layers], output.neurons)
        _validate.dropout_places([layer.dropout for layer in self._layers], [x.activation for x in self._layers])
        labels, targets = _validate.targets(y, len(rows), output.neurons, self._loss, self.dtype, f"y{of}")
        return Samples(rows, labels, targets, _validate.weights(sample_weight, len(rows), f"sample_weight{of}"))

    def _pass(self, samples: Samples, what: str, name: str = "X", **wanted: Array) -> tuple[float, float]:
        """One pass forward; returns the sum of the losses, and what the samples whose classes are right weigh."""
        rows, labels, targets, weights, order = samples
        threads = _threads.threads_for(samples.count() * self._params.size)
        work = _arrays.empty(self._work_for(samples.count(), threads, what), self.dtype)
        loss, correct, finite = core.run(
            self._model,
            work,
            self._params,
            rows,
            threads,
            labels=labels,
            targets=targets,
            weights=weights,
            order=order,
            **wanted,
        )
        if not finite:
            self._check_finite(rows, name)
        return loss, correct

    def _check_finite(self, rows: Array, name: str) -> None:
        """Say where X holds NaN or infinity, if it does."""
        _validate.finite(rows, name, self.dtype, self._scaling)

    def _few(self, X: ArrayLike, what: str, out: Array | None) -> Array | None:
        """The outputs or classes of a few samples, or None if there are more or they have to be judged."""
        shortcut = self._shortcuts.get(what)
        if shortcut is None:
            if not self._layers:
                return None
            work = _arrays.empty(self._work_for(FEW_SAMPLES, 1, what), self.dtype)
            shortcut = self._shortcuts[what] = core.Shortcut(
                self._model,
                work,
                self._params,
                min(FEW_SAMPLES, FEW_PRODUCTS // self._params.size),
                core.WANTS[what],
                np.ndarray,
                np.empty,
                INDEX if what == "classes" else self.dtype,
            )
        few: Array | None = shortcut(X, out)
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
        self._pass(Samples(rows, None, None), "outputs", outputs=outputs.T)
        return outputs

    def predict(self, X: ArrayLike, out: Array | None = None) -> Array:
        """
        Return the class of each sample, or for regression the outputs.

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
        if self.loss not in CLASSIFYING:
            return self.forward(X, out)
        few = self._few(X, "classes", out)
        if few is not None:
            return few
        rows = self._rows(X)
        classes = _validate.out(out, (len(rows),), INDEX)
        self._pass(Samples(rows, None, None), "classes", classes=classes)
        return classes

    def evaluate(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> dict[str, float]:
        """
        Return how good the predictions are.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels, one-hot columns, or targets.
        sample_weight : array_like of shape (m,), optional
            How much each sample counts, at least 0.

        Returns
        -------
        dict of str to float
            "loss", the mean over the samples (in nats, under a cross-entropy), without penalties; with labels also
            "accuracy", the fraction of right predictions.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or hold NaN, infinity or no numbers.
        """
        return self._measure(self._data(X, y, sample_weight))

    def _measure(self, samples: Samples, name: str = "X") -> dict[str, float]:
        loss, correct = self._pass(samples, "loss", name)
        weight = samples.weight() or 1.0
        return {"loss": loss / weight, **({} if samples.labels is None else {"accuracy": correct / weight})}

    def train(self, X: ArrayLike, y: ArrayLike, learning_rate: float, sample_weight: ArrayLike | None = None) -> float:
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
        sample_weight : array_like of shape (m,), optional
            How much each sample counts, at least 0.

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
        optimizer = SGD(learning_rate)
        samples = self._data(X, y, sample_weight)
        with self._memory.alone():
            none = np.empty((1, 1), self.dtype)
            loss, _, _ = training.steps(self, samples, len(samples.rows), optimizer, none, 0, seed=self._seed())
            training.check_last_step(self, samples, 1)
        return loss

    def _seed(self) -> int:
        """A seed for what dropout leaves out, drawn only if there is dropout."""
        return int(self.rng.integers(2**63)) if any(layer.dropout for layer in self._layers) else 0

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
        rule = _validate.optimizer(optimizer, learning_rate, OPTIMIZERS)
        samples = self._data(X, y)
        validation = None
        if validation_data is not None:
            validation = self._data(*_validate.validation_pair(validation_data), of=" of validation_data")
        history: dict[str, list[float]] = {}
        memory = self._memory
        with memory.alone(), self._unchanged_on(ValueError):  # the passes find NaN and infinity on their way
            moments = memory.recall(rule, training.PLAIN, self._params)
            for epoch in _progress.epochs(epochs, verbose, history):
                start = time.perf_counter()
                order = self.rng.permutation(len(samples.rows)).astype(np.intp, copy=False) if shuffle else None
                shuffled = samples._replace(order=order)
                loss, accuracy, steps = training.steps(
                    self, shuffled, batch_size, rule, moments, memory.taken, continued=epoch > 0, seed=self._seed()
                )
                memory.taken += steps
                seconds = time.perf_counter() - start
                figures = {"loss": loss, **({} if samples.labels is None else {"accuracy": accuracy})}
                if validation is not None:
                    measured = self._measure(validation, "X of validation_data")
                    figures.update((f"val_{name}", value) for name, value in measured.items())
                for name, value in (*figures.items(), ("seconds", seconds)):
                    history.setdefault(name, []).append(value)
            training.check_last_step(self, samples, memory.taken)
        return history

    def save(self, path: str | os.PathLike[str], training_state: bool = True) -> None:
        """
        Write the network to a .safetensors file.

        Parameters
        ----------
        path : path-like
            The file; written beside it first and renamed when it is complete.
        training_state : bool, default True
            Write what the optimizer remembers and the generator's state as well: training goes on from the file, bit
            for bit. Without them the file is a half or a third as large, and predicts just the same.

        Raises
        ------
        ValueError
            If there are no layers, or a number is NaN or infinite; if the generator is not one of NumPy, or the
            optimizer's class not one of cmlp, and their state is to be written.
        OSError
            If it cannot be written; a file that was there before is left as it was.
        ImportError
            If the safetensors library is not installed.
        """
        from cmlp import model_file

        model_file.save(self, path, training_state)

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
            With the same layers, loss and scaling of inputs, bit for bit; and if `save` wrote the state of training,
            with the same next steps.

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
        # The rest follows from the layers.
        derived = ("_shortcuts", "_model", "_params")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __copy__(self) -> Self:
        # Two networks cannot share layers, whose parameters lie in the network's own array.
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        memory, self._memory = self._memory, training.Memory()
        self._reset()
        self._memory = memory

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
