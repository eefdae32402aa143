"""The network: it owns its layers and their parameters, and hands whole passes over the data to the compiled core."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

import copy
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, starmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp import _arrays, _threads, _validate, _validate_data, training
from cmlp._dispatch import core
from cmlp._sparse import SparseRows
from cmlp.layer import DenseLayer
from cmlp.losses import cross_entropy
from cmlp.training import Samples

if TYPE_CHECKING:
    from cmlp.callbacks import Callback
    from cmlp.history import History
    from cmlp.losses import LossWithOptions
    from cmlp.optimizers import LBFGS, SGD, Optimizer
    from cmlp.schedules import Schedule

# Samples that are predicted at once if they need no judgement: at most so many, and products, of a network of at most
# so many parameters. Python's other threads wait meanwhile: some tenths of a millisecond with AVX-512, with SSE some
# milliseconds.
FEW_SAMPLES = 128
FEW_PRODUCTS = 20_000_000
FEW_PARAMETERS = 2_500_000

INDEX = np.dtype(np.intp)

# Losses whose networks predict classes.
CLASSIFYING = ("cross_entropy", "binary_cross_entropy")

Array = NDArray[Any]
Loss = tuple[str, dict[str, Any]]  # its name and options
Scaling = tuple[Any, Any]  # what inputs are multiplied by, and what is subtracted from them before


class Body(NamedTuple):
    """What a network is at one time, made as a whole and put in its place at once: others may be predicting with it."""

    layers: tuple[DenseLayer, ...]
    loss: Loss
    scaling: Scaling
    dropouts: tuple[float, ...]
    params: Array  # those of the layers, one after the other
    model: Any  # what the core knows of the rest; None as long as there are no layers
    shortcuts: dict[str, Any]  # to predictions of a few samples


def _body_of(layers: tuple[DenseLayer, ...], loss: Loss, scaling: Scaling, params: Array) -> Body:
    """The body that these make, as the core is told of it."""
    dropouts = tuple(layer.dropout for layer in layers)
    if not layers:
        return Body(layers, loss, scaling, dropouts, params, None, {})
    n_inputs, n_outputs = layers[0].input_size, layers[-1].neurons
    _validate.one_for_each_feature(scaling, n_inputs)
    (name, options), (scale, shift) = loss, scaling
    standardised = np.ndim(scale) > 0 or np.ndim(shift) > 0 or shift != 0
    model = core.Model(
        np.array([n_inputs, *(layer.neurons for layer in layers)], np.intp),
        np.array([core.ACTIVATIONS[layer.activation] for layer in layers], np.intc),
        np.array(dropouts, np.float64),
        core.LOSSES[name],
        options.get("label_smoothing", 0.0),
        options.get("delta", 1.0),
        np.resize(np.array(options.get("levels", (0.0,)), np.float64), n_outputs),
        1.0 if standardised else scale,
        np.full(n_inputs, shift, np.float64) if standardised else None,
        np.full(n_inputs, scale, np.float64) if standardised else None,
    )
    return Body(layers, loss, scaling, dropouts, params, model, {})


def _put(*changes: tuple[object, str, Any]) -> None:
    """Assign attributes of several objects in one call of C's, into which no signal and no other thread comes."""
    deque(starmap(object.__setattr__, changes), 0)


class NeuralNetwork:
    """
    A multilayer perceptron: dense layers, one after the other, and a loss to train them with.

    Samples are columns: X has shape (features, m). It may hold numbers of any type, lie in memory in any way, and be
    read-only; the passes convert it a block at a time, so it is never copied as a whole. It may be one of SciPy's
    sparse arrays, of shape (m, features) too, as CSR holds samples: its zeros take no time.

    Parameters
    ----------
    loss : str or callable, default cmlp.cross_entropy
        "cross_entropy", for classes, after softmax; "binary_cross_entropy", for yes or no, after sigmoid; "poisson",
        for counts, after exp; for other numbers, after any activation, "mean_squared_error", "mean_absolute_error",
        "huber" and "quantile"; "given_gradient", for a loss of one's own, whose derivative by the outputs is y; or the
        function of that name in cmlp. With options: `CrossEntropy`, `Huber`, `Quantile`.
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
        Name of the loss; `loss_options` are its options.
    dtype : numpy.dtype
        Type of the parameters.
    rng : numpy.random.Generator
        The generator.
    input_scale, input_shift : float or ndarray of shape (features,), float64
        What inputs are multiplied by, and what is subtracted from them before; to be assigned as a whole.
    feature_names : list of str, or None
        What the inputs are called, to be kept in the model file: the command cmlp finds columns by it.
    class_names : ndarray of shape (n_classes,), of str or int, or None
        What the classes are called, to be kept as well: ``nn.class_names[nn.predict(X)]``.
    optimizer, schedule : object, or None
        What `fit` took its last steps by: model files keep them, for another `fit` to be given.

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

    _body: Body
    _shortcuts: dict[str, Any]  # the body's, one step nearer
    _judged: Body | None  # the last one that was found fit for training
    _classifies: bool
    _regime = "by_size"  # how steps go through the layers; the tests compare the ways
    _aside: int | None = None  # the seed by which `fit` sets samples aside

    def __init__(
        self,
        loss: str | Callable[..., Any] | LossWithOptions = cross_entropy,
        dtype: Any = "float32",
        rng: int | np.random.Generator | None = None,
        input_scale: float | ArrayLike = 1.0,
        input_shift: float | ArrayLike = 0.0,
    ) -> None:
        self._memory = training.Memory()
        self._dtype = _validate.dtype(dtype)
        self._rng = _validate.rng(rng)
        self._feature_names: list[str] | None = None
        self._class_names: Array | None = None
        self._descent: SGD | None = None
        scaling = _validate.scale(input_scale, self.dtype), _validate.shift(input_shift)
        self._lay_out((), _validate.loss(loss), scaling)

    def _lay_out(self, layers: tuple[DenseLayer, ...], loss: Loss, scaling: Scaling) -> None:
        """Have these layers, with their parameters one after the other in a single array."""
        params = _arrays.zeros(sum(layer._room() for layer in layers), self.dtype)
        places, end = [], 0
        for layer in layers:
            begin, end = end, end + layer._room()
            places.append(layer._in(params[begin:end]))
            places[-1][...] = layer._rows
        moves = [(layer, "_rows", rows) for layer, rows in zip(layers, places, strict=True)]
        body = _body_of(layers, loss, scaling, params)
        self._memory.forget()  # what belongs to no other parameters
        self._become(body, moves)

    def _become(self, body: Body, moves: Iterable[tuple[DenseLayer, str, Array]] = ()) -> None:
        """Have this body from now on, and its layers their parameters in it."""
        classifies = body.loss[0] in CLASSIFYING
        near = [("_body", body), ("_shortcuts", body.shortcuts), ("_classifies", classifies), ("_judged", None)]
        _put(*((self, name, value) for name, value in near), *moves)

    def _change(self, loss: Loss | None = None, scaling: Scaling | None = None) -> None:
        """Have another loss, or scale inputs in another way."""
        with self._memory.owner:
            self._become(_body_of(self._layers, loss or self._loss, scaling or self._scaling, self._params))

    # What the network is, for those who need one thing of it; who needs two that belong together takes the body, once.

    @property
    def _layers(self) -> tuple[DenseLayer, ...]:
        return self._body.layers

    @property
    def _loss(self) -> Loss:
        return self._body.loss

    @property
    def _scaling(self) -> Scaling:
        return self._body.scaling

    @property
    def _params(self) -> Array:
        return self._body.params

    @property
    def dtype(self) -> np.dtype[Any]:
        """
        Type of the parameters and of all that is computed.

        Returns
        -------
        numpy.dtype
            Of float32 or float64.
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

        Raises
        ------
        ValueError, TypeError
            When it is assigned, if there is no such loss.
        RuntimeError
            When it is assigned, if the network is being trained.
        """
        return self._loss[0]

    @loss.setter
    def loss(self, value: Any) -> None:  # numpydoc ignore=GL08
        self._change(loss=_validate.loss(value))

    @property
    def rng(self) -> np.random.Generator:
        """
        Where weights and orders are drawn from, which can be assigned in the ways that the constructor takes.

        Returns
        -------
        numpy.random.Generator
            The generator.
        """
        return self._rng

    @rng.setter
    def rng(self, value: int | np.random.Generator | None) -> None:  # numpydoc ignore=GL08
        self._rng = _validate.rng(value)

    @property
    def loss_options(self) -> Mapping[str, Any]:
        """
        What the loss was given.

        Returns
        -------
        mapping of str to object
            Such as "delta"; empty for most losses. It cannot be written into: assign another `loss` instead.
        """
        return MappingProxyType(self._loss[1])

    @property
    def optimizer(self) -> Optimizer | None:
        """
        What `fit` or `partial_fit` took its last steps by, at the rate that callbacks left it.

        The model file holds it: `fit` goes on as before with ``optimizer=nn.optimizer, schedule=nn.schedule``. Where
        `EarlyStopping` restores the best weights, it is that of their epoch.

        Returns
        -------
        optimizer, or None
            None as long as there is nothing to go on with: before training, after `reset` and L-BFGS; after
            FloatingPointError or Ctrl-C in steps that moments had part in, while plain descent goes on behind its last
            whole epoch; and out of a model file from before it was kept.
        """
        return self._memory.optimizer

    @property
    def schedule(self) -> Schedule | None:
        """
        What changed that rate.

        Returns
        -------
        Schedule, or None
            One of `cmlp.schedules`; None where there was none, or one of one's own, which no file can hold.
        """
        return self._memory.schedule

    @property
    def feature_names(self) -> list[str] | None:
        """
        What the inputs are called: kept in the model file, and not computed with.

        Returns
        -------
        list of str, or None
            One name for each; to be assigned as any sequence of different ones. Training and `save` raise ValueError
            if they are not as many as the inputs.
        """
        return self._feature_names

    @feature_names.setter
    def feature_names(self, value: Sequence[str] | None) -> None:  # numpydoc ignore=GL08
        self._feature_names = _validate.names(value, "feature_names", (str,))
        self._judged = None

    @property
    def class_names(self) -> Array | None:
        """
        What the classes are called: kept in the model file, and not computed with.

        Returns
        -------
        ndarray of shape (n_classes,), of str or int, or None
            To be indexed with predictions; to be assigned as any sequence of different ones. Training and `save` raise
            ValueError if they are not as many as the classes.
        """
        return self._class_names

    @class_names.setter
    def class_names(self, value: Sequence[str] | Sequence[int] | Array | None) -> None:  # numpydoc ignore=GL08
        names = _validate.names(value, "class_names", (str, int))
        self._class_names = None if names is None else np.array(names)
        self._judged = None

    @property
    def input_scale(self) -> Any:
        """
        What inputs are multiplied by, which can be assigned.

        Returns
        -------
        float or ndarray of shape (features,), float64
            One for all features, or one for each: an array that cannot be written into. Assign a whole one instead.

        Raises
        ------
        ValueError, TypeError
            When it is assigned, if it is not finite or not one for all features or one for each.
        RuntimeError
            When it is assigned, if the network is being trained.
        """
        return _arrays.read_only(self._scaling[0])

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
            One for all features, or one for each: an array that cannot be written into. Assign a whole one instead.

        Raises
        ------
        ValueError, TypeError
            When it is assigned, if it is not finite or not one for all features or one for each.
        RuntimeError
            When it is assigned, if the network is being trained.
        """
        return _arrays.read_only(self._scaling[1])

    @input_shift.setter
    def input_shift(self, value: float | ArrayLike) -> None:  # numpydoc ignore=GL08
        self._scale(self.input_scale, value)

    def _scale(self, scale: float | ArrayLike, shift: float | ArrayLike) -> None:
        scaling = _validate.scale(scale, self.dtype), _validate.shift(shift)
        if self._layers:
            _validate.one_for_each_feature(scaling, self._layers[0].input_size)
        self._change(scaling=scaling)

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
            If X does not fit the network, or holds NaN, infinity, no numbers or such that their squares are infinite,
            or that differ by less than the network's type can be divided by.
        RuntimeError
            If the network is being trained.
        """
        rows = self._rows(X)
        if isinstance(rows, SparseRows):
            raise TypeError("adapt needs X as an array: sparse samples cannot be shifted; set input_scale for them")
        _validate_data.finite(rows, "X")
        mean, deviation = _arrays.moments(rows)
        deviation[deviation == 0] = 1
        _validate_data.deviations(deviation, self.dtype)
        self._scale(1 / deviation, mean)

    def _neurons(self) -> list[int]:
        return [layer.neurons for layer in self._layers]

    @property
    def layers(self) -> tuple[DenseLayer, ...]:
        """
        The layers, from the data on.

        Returns
        -------
        tuple of DenseLayer
            Their weights and biases can be read, written into and assigned, their dropout assigned. Adding a layer
            moves weights and biases: take them anew from here then.
        """
        return self._body.layers

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
        RuntimeError
            If the network is being trained.
        """
        self._add(input_size, nr_neurons, activation, init, dropout, self.rng)

    def _add(
        self,
        input_size: int,
        nr_neurons: int,
        activation: str | Callable[..., Any],
        init: str | None,
        dropout: float,
        rng: np.random.Generator | None = None,
    ) -> None:
        """`add_layer`, whose parameters are drawn if there is a generator."""
        before = self._layers[-1].activation if self._layers else "identity"
        size = _validate.count(input_size, "input_size")
        _validate.next_size(size, self._neurons())
        if not self._layers:
            _validate.one_for_each_feature(self._scaling, size)
        with self._memory.owner:
            layer = DenseLayer._undrawn(
                size, nr_neurons, activation, not self._layers, init, self.dtype, before, dropout
            )
            if rng is not None:  # and nothing is wrong with it
                layer._draw(rng)
            self._lay_out((*self._layers, layer), self._loss, self._scaling)

    def _work_for(
        self, body: Body, samples: int, threads: int, wanted: str, whole: bool = False, sparse: bool = False
    ) -> int:
        """Elements that the core needs to work in."""
        regime, want = core.REGIMES[self._regime], core.WANTS[wanted]
        return int(core.work_size(body.model, samples, threads, want, regime, whole, sparse, body.params))

    def _rows(self, X: ArrayLike, name: str = "X", body: Body | None = None) -> Any:
        """X with samples as rows."""
        body = body or self._body
        _validate.has_layers(body.layers)
        rows = _validate_data.inputs(X, body.layers[0].input_size, name)
        _validate_data.unshifted(rows, body.scaling[1], name)
        return rows

    def _data(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, of: str = "") -> Samples:
        """X with samples as rows, labels or else targets, and the samples' weights."""
        rows = self._rows(X, f"X{of}")
        self._judge()
        body = self._body
        outputs = body.layers[-1].neurons
        labels, targets = _validate_data.targets(y, len(rows), outputs, body.loss, self._dtype, f"y{of}")
        weights = _validate_data.weights(sample_weight, len(rows), f"sample_weight{of}")
        return Samples(rows, labels, targets, weights, name=f"X{of}")

    def _judge(self) -> None:
        """That the loss has a gradient; and that the core knows of the dropout as it is."""
        before = body = self._body
        if tuple(layer.dropout for layer in body.layers) != body.dropouts:
            body = _body_of(body.layers, body.loss, body.scaling, body.params)
        if self._judged is not body:
            _validate.one_name_for_each(self._feature_names, "feature_names", body.layers[0].input_size)
            _validate.one_name_for_each(self._class_names, "class_names", max(2, body.layers[-1].neurons))
            activations = [layer.activation for layer in body.layers]
            _validate.pair(body.loss, activations, body.layers[-1].neurons)
            _validate.dropout_places(body.dropouts, activations)
            _validate.dropout_beside(body.loss[0], body.dropouts)
            self._judged = body
        if body is not before:
            change = starmap(object.__setattr__, [(self, "_body", body), (self, "_shortcuts", body.shortcuts)])
            if self._body is before:  # no other thread has changed it meanwhile, nor does before the next line is done
                deque(change, 0)
            else:
                self._judge()

    def _class_weight(self, value: Any, samples: Samples) -> Array | None:
        """What the samples of each class count."""
        return _validate.class_weight(value, samples.labels, max(self._layers[-1].neurons, 2), samples.weights)

    def _weighted(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, class_weight: Any) -> Samples:
        """Samples that have been judged, each with the weight of its class."""
        samples = self._data(X, y, sample_weight)
        return samples.times(self._class_weight(class_weight, samples))

    def _pass(self, samples: Samples, what: str, body: Body | None = None, **wanted: Array) -> tuple[float, float]:
        """One pass forward; returns the sum of the losses, and what the samples whose classes are right weigh."""
        rows, labels, targets, weights, order, name = samples
        body, count, sparse = body or self._body, samples.size(), isinstance(rows, SparseRows)
        paying = core.paying_threads(body.model, count, 0, None, False, False, body.params)
        threads = _threads.threads_for(paying)
        work = _arrays.empty(self._work_for(body, count, threads, what, sparse=sparse), self.dtype)
        loss, correct, finite = core.forward(
            body.model,
            work,
            body.params,
            samples.given(self.dtype),
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

    def _check_finite(self, rows: Array | SparseRows, name: str) -> None:
        """Say where X holds NaN or infinity, or what becomes that in the network's type, if it does."""
        _validate_data.finite(rows, name, self.dtype, self._scaling)

    def _few(self, X: ArrayLike, what: str, out: Array | None) -> Array | None:
        """The outputs or classes of a few samples, or None if there are more or they have to be judged."""
        shortcut = self._shortcuts.get(what)
        if shortcut is None:
            body = self._body
            model, params = body.model, body.params
            if not body.layers:
                return None
            threads = _threads.most(core.paying_threads(model, FEW_SAMPLES, 0, None, False, False, params))
            work = _arrays.empty(self._work_for(body, FEW_SAMPLES, threads, what), self.dtype)
            shortcut = body.shortcuts[what] = core.Shortcut(
                model,
                work,
                params,
                min(FEW_SAMPLES, FEW_PRODUCTS // params.size) if params.size <= FEW_PARAMETERS else 0,
                core.WANTS[what],
                np.ndarray,
                np.empty,
                INDEX if what == "classes" else self.dtype,
                threads,
                _threads.get_num_threads,
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
            Where the results go, in any layout; it must not share memory with X. After an error it may be half full.

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
        body = self._body
        rows = self._rows(X, body=body)
        outputs = _validate_data.out(out, (body.layers[-1].neurons, len(rows)), self.dtype)
        self._pass(Samples(rows, None, None), "outputs", body, outputs=outputs.T)
        return outputs

    def predict(self, X: ArrayLike, out: Array | None = None) -> Array:
        """
        Return the class of each sample, or for regression the outputs.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column; a single sample may have shape (features,).
        out : ndarray of the shape and type that is returned, optional
            Where the results go, in any layout; it must not share memory with X. After an error it may be half full.

        Returns
        -------
        ndarray of shape (m,), intp; or ndarray of shape (n_outputs, m), the network's dtype
            Index of the largest output; with a single output, whether it is above 0.5. For regression and under
            "given_gradient", the outputs. Under binary cross-entropy with several outputs it is one class a sample as
            well: the table of all that hold is ``nn.forward(X) > 0.5``.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features, is empty, or holds NaN, infinity or no numbers; if `out` does not fit.
        """
        if not self._classifies:
            return self.forward(X, out)
        few = self._few(X, "classes", out)
        if few is not None:
            return few
        body = self._body
        rows = self._rows(X, body=body)
        classes = _validate_data.out(out, (len(rows),), INDEX)
        self._pass(Samples(rows, None, None), "classes", body, classes=classes)
        return classes

    def evaluate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> dict[str, float]:
        """
        Return how good the predictions are.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels, one-hot columns, or targets, as for `fit`.
        sample_weight : array_like of shape (m,), optional
            How much each sample counts, at least 0.
        class_weight : mapping of int to float or "balanced", optional
            How much each label's samples count besides, as for `fit`.

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
        return self._measure(self._weighted(X, y, sample_weight, class_weight))

    def _measure(self, samples: Samples) -> dict[str, float]:
        loss, correct = self._pass(samples, "loss")
        accuracy = {} if samples.labels is None else {"accuracy": samples.mean(correct)}
        return {"loss": samples.mean(loss), **accuracy}

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        learning_rate: float,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> float:
        """
        Take one step of gradient descent on all samples together.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels of any integer type, one-hot columns, or targets, as for `fit`.
        learning_rate : float
            Size of the step, in units of the gradient of the mean loss.
        sample_weight : array_like of shape (m,), optional
            How much each sample counts, at least 0.
        class_weight : mapping of int to float or "balanced", optional
            How much each label's samples count besides, as for `fit`.

        Returns
        -------
        float
            Mean loss before the step.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or hold NaN, infinity or no numbers; nothing has changed then.
        FloatingPointError
            If the loss is not finite, or it or a parameter would not be after the step; it is not taken, and nothing
            changes.
        RuntimeError
            If another thread is training this network.
        """
        samples = self._weighted(X, y, sample_weight, class_weight)
        if self._descent is None or self._descent.learning_rate is not learning_rate:  # judged once for many steps
            from cmlp.optimizers import SGD  # those who only predict do without

            self._descent = SGD(learning_rate)
        with self._memory.owner:
            none, generator = np.empty(_arrays.NOTHING, self.dtype), self.rng.bit_generator
            before = generator.state if self._draws() else None
            try:
                loss, _, _ = training.steps(self, samples, len(samples.rows), self._descent, none, 0, seed=self._seed())
                training.check_last_step(self, samples, loss, none, 1)
            except (ValueError, FloatingPointError):  # no step was taken
                if before is not None:
                    generator.state = before
                raise
        return loss

    def _draws(self) -> bool:
        """Whether steps draw what dropout leaves out."""
        return any(self._body.dropouts)

    def _seed(self) -> int:
        """A seed for that, drawn only if it is needed."""
        return int(self.rng.integers(2**63)) if self._draws() else 0

    def reset(self) -> None:
        """
        Start over: draw each layer's parameters anew, in its own way, and forget all of the training.

        The optimizer's moments are forgotten, and which samples `fit` has set aside.

        Raises
        ------
        RuntimeError
            If another thread is training this network.
        """
        with self._memory.owner:
            self._memory.forget()
            self._aside = None
            for layer in self._layers:
                layer._draw(self.rng)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: str | Optimizer | LBFGS = "adam",
        learning_rate: float | None = None,
        validation_data: tuple[ArrayLike, ...] | None = None,
        shuffle: bool = True,
        verbose: int = 0,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        validation_fraction: float = 0.0,
        schedule: Schedule | Callable[[int], float] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        callbacks: Iterable[Callback] = (),
        max_time: float | None = None,
    ) -> History:
        """
        Train on mini-batches.

        A second call continues: an optimizer of the same kind goes on with what it remembers and with its count of
        steps, at the rate that the call is given; ``optimizer=nn.optimizer, schedule=nn.schedule`` are those of the
        call before, also after `load`. See `reset`.

        Parameters
        ----------
        X : array_like of shape (features, m), any number type
            One sample a column. It is read fastest where a sample's numbers lie side by side, as in the transpose of a
            C-ordered table with one sample a row.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m)
            Labels of any integer type, one-hot columns, or targets: one row for all quantiles of a number; under
            cross-entropy the classes' shares, which add
            up to 1 in each column, within 0.01; under binary cross-entropy with several outputs a table of 0 and 1, or
            of what lies between, which says of each output on its own whether it holds. Targets have no accuracy.
        epochs : int, default 10
            Passes over all samples.
        batch_size : int, default 128
            Samples of a step; the last one of an epoch may have fewer.
        optimizer : str or optimizer, default "adam"
            A name of `cmlp.optimizers.OPTIMIZERS`, such as "sgd", or an instance of its class. "lbfgs" or an `LBFGS`
            goes by all samples at once, an iteration an epoch: it has neither rates nor validation nor callbacks, and
            `batch_size` and `shuffle` mean nothing to it.
        learning_rate : float, optional
            Instead of the optimizer's.
        validation_data : tuple of X and y, or of X, y and sample_weight, optional
            Evaluated after every epoch.
        shuffle : bool, default True
            Draw a new order of the samples for every epoch.
        verbose : int, default 0
            1 shows a progress bar on a terminal or in a notebook (with tqdm installed), and prints a line an epoch
            elsewhere.
        sample_weight : array_like of shape (m,), optional
            How much each sample counts, at least 0: 2 is as if it were there twice in its batch.
        class_weight : mapping of int to float or "balanced", optional
            How much each label's samples count besides, 1 for labels that are not in it; "balanced" lets all classes of
            y count the same in all: what all samples weigh, by the number of classes and by what the class's weigh.
            What validates is not weighted by it: that can have weights of its own.
        validation_fraction : float, default 0.0
            Share of the samples, in [0, 1), that is drawn to validate with instead of being trained on; with labels the
            same share of every class, as far as that goes. The same samples are drawn again in every later fit of the
            same share of the same labels, until `reset`.
        schedule : Schedule or callable, optional
            Of `cmlp.schedules`, or a function of the step's number, from 0, that returns what the learning rate is
            multiplied by.
        l1, l2 : float, default 0.0
            Penalties: the loss grows by l1 times the sum of abs(w), and by l2 / 2 times that of w^2, over all weights
            but not biases.
        clip_value : float, optional
            Largest size of any number of the gradient: what is more is cut off.
        clip_norm : float, optional
            Largest length of the gradient as a whole, after that: a longer one is scaled down.
        max_norm : float, optional
            Largest length of each neuron's weights: longer ones are scaled down after each step.
        callbacks : iterable of callbacks, optional
            Called at the beginning, after every epoch and at the end: see `cmlp.callbacks`.
        max_time : float, optional
            Seconds after which the epoch at hand is the last.

        Returns
        -------
        History
            One number an epoch of "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate" and "seconds"; of
            "loss" and "seconds" from L-BFGS, whose losses are those after each iteration.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit, or holds NaN, infinity or no numbers; nothing has changed then, unless an epoch
            has ended before.
        FloatingPointError
            If a batch's loss is not finite, or a parameter would not be; the step that led there is taken back.
        RuntimeError
            If another thread is training this network.

        Notes
        -----
        Errors of a callback, or of a schedule in a later epoch than the first, end the training, and leave the network
        as its last epoch made it.

        Steps take denormal numbers, those below 1e-38 in float32, for 0. Adam's moments of dead neurons become such,
        and some processors take a hundred times as long for them.
        """
        from cmlp import fitting  # a third of cmlp's import, which those who only predict do without
        from cmlp.optimizers import LBFGS

        epochs = _validate.count(epochs, "epochs")
        penalties = {"l1": l1, "l2": l2}
        bounds = {"clip_value": clip_value, "clip_norm": clip_norm, "max_norm": max_norm}
        if optimizer == "lbfgs" or isinstance(optimizer, LBFGS):
            useless = {
                "learning_rate": learning_rate,
                "validation_data": validation_data,
                "validation_fraction": validation_fraction,
                "schedule": schedule,
                "callbacks": callbacks,
                "max_time": max_time,
            }
            _validate.left_out(useless, "L-BFGS")
            _validate.count(batch_size, "batch_size")
            shaping = training.Shaping(**_validate.shaping(penalties, bounds))
            weighted = self._weighted(X, y, sample_weight, class_weight)
            lbfgs = LBFGS() if isinstance(optimizer, str) else optimizer
            return fitting.fit_at_once(self, weighted, lbfgs, shaping, epochs, verbose)
        recipe = fitting.recipe(
            batch_size, optimizer, learning_rate, shuffle, verbose, schedule, penalties, bounds, callbacks, max_time
        )
        fraction = _validate.one_validation(validation_data, validation_fraction)
        samples = self._data(X, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._data(*_validate_data.validation_data(validation_data), of=" of validation_data")
        of_classes = self._class_weight(class_weight, samples)
        return fitting.fit(self, samples, of_classes, validation, fraction, epochs, recipe)

    def partial_fit(
        self,
        X: ArrayLike | Iterable[tuple[ArrayLike, ...]],
        y: ArrayLike | None = None,
        batch_size: int = 128,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        shuffle: bool = True,
        verbose: int = 0,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        schedule: Schedule | Callable[[int], float] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        callbacks: Iterable[Callback] = (),
        max_time: float | None = None,
    ) -> History:
        """
        Train once on each of many chunks, which need not fit into memory together.

        It continues what came before, as a second `fit` does.

        Parameters
        ----------
        X : iterable of tuples (X, y) or (X, y, sample_weight); or array_like of shape (features, m)
            The chunks, as `fit` takes X and y, read one after the other; or with `y` a single one.
        y : array_like of shape (m,), (m, 1), (1, m) or (n_outputs, m), optional
            Labels or targets of the single chunk.
        batch_size : int, default 128
            Samples of a step; the last one of a chunk may have fewer.
        optimizer : str or optimizer, default "adam"
            As for `fit`.
        learning_rate : float, optional
            Instead of the optimizer's.
        shuffle : bool, default True
            Draw an order of the samples in each chunk.
        verbose : int, default 0
            1 shows how far it is, chunk by chunk.
        sample_weight : array_like of shape (m,), optional
            How much each sample of the single chunk counts.
        class_weight : mapping of int to float, optional
            As for `fit`, but not "balanced": how many samples each class will have is not known.
        schedule : Schedule or callable, optional
            As for `fit`; a schedule that goes by the total of steps has to be made with that number.
        l1, l2 : float, default 0.0
            Penalties, as for `fit`.
        clip_value, clip_norm, max_norm : float, optional
            Bounds, as for `fit`.
        callbacks : iterable of callbacks, optional
            What is an epoch to them is a chunk here.
        max_time : float, optional
            Seconds after which the chunk at hand is the last.

        Returns
        -------
        History
            One number a chunk of "loss", "accuracy", "learning_rate" and "seconds", which are not those of reading it.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; nothing has changed then. If a chunk does not fit, or holds NaN, infinity or no
            numbers; the network is as the chunks before it made it then.
        FloatingPointError
            If a batch's loss is not finite, or a parameter would not be; the step that led there is taken back.
        RuntimeError
            If another thread is training this network.

        Examples
        --------
        >>> import numpy as np
        >>> from cmlp import NeuralNetwork
        >>> X, y = np.random.default_rng(0).normal(size=(2, 500)), np.arange(500) % 2
        >>> nn = NeuralNetwork(rng=0)
        >>> nn.add_layer(2, 2, "softmax")
        >>> history = nn.partial_fit((X[:, i : i + 100], y[i : i + 100]) for i in range(0, 500, 100))
        >>> len(history["loss"])
        5
        """
        from cmlp import fitting

        penalties = {"l1": l1, "l2": l2}
        bounds = {"clip_value": clip_value, "clip_norm": clip_norm, "max_norm": max_norm}
        recipe = fitting.recipe(
            batch_size, optimizer, learning_rate, shuffle, verbose, schedule, penalties, bounds, callbacks, max_time
        )
        _validate.not_balanced(class_weight)
        chunks = (self._data(*chunk) for chunk in _validate_data.chunks(X, y, sample_weight))
        weighted = (samples.times(self._class_weight(class_weight, samples)) for samples in chunks)
        return fitting.fit_chunks(self, weighted, recipe)

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
            With the same layers, initialisers, loss and scaling of inputs, bit for bit; and if `save` wrote the state
            of training, with the same next steps.

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
        made, body = ("_body", "_shortcuts", "_classifies", "_judged", "_descent"), self._body
        kept = {name: value for name, value in self.__dict__.items() if name not in made}
        return kept | {"_layers": body.layers, "_loss": body.loss, "_scaling": body.scaling}

    def __copy__(self) -> Self:
        # Two networks cannot share layers, whose parameters lie in the network's own array.
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept, memory = dict(state), state["_memory"]
        layers, loss, scaling = (kept.pop(name) for name in ("_layers", "_loss", "_scaling"))
        self.__dict__.update(kept, _memory=training.Memory(), _descent=None)
        self._lay_out(tuple(layers), loss, scaling)
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
