"""What both estimators share: X and y become a network and its samples, which go to the course or to L-BFGS.

Letters: m samples, one a row; n outputs. Targets are what the network is trained on: labels from 0 or numbers.
"""

import math
import warnings
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cmlp import _lbfgs, _threads, _validate, _validate_data, fitting, setting_aside
from cmlp._course import LEAST_EPSILON, Course, Held, keep_velocities, of_sum, orders
from cmlp.activations import ACTIVATIONS
from cmlp.network import NeuralNetwork
from cmlp.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from cmlp.training import Samples, Shaping, Snapshot

Array = NDArray[Any]

# Activations that scikit-learn calls otherwise.
OWN_NAMES: dict[str, str] = {"logistic": "sigmoid"}
THEIR_NAMES = {"sigmoid": "logistic"}

# Frames from where a training warns up to the line that calls fit, with scikit-learn's wrapper of it between.
USER = 6


class _Views(list[Array]):
    """Views of a network's numbers: what is put in the place of one goes into the network; a copy is a list."""

    def __setitem__(self, index: Any, value: Any) -> None:
        views, values = (self[index], value) if isinstance(index, slice) else ([self[index]], [value])
        for view, numbers in zip(views, values, strict=True):
            view[...] = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _rows(X: Any) -> Array:
    """X as the core reads it fastest: a sample's numbers side by side."""
    return np.ascontiguousarray(X) if isinstance(X, np.ndarray) and X.flags.f_contiguous else X


def _has_dropout(network: NeuralNetwork) -> bool:
    """Whether its steps draw what they leave out."""
    return any(layer.dropout for layer in network.layers)


def is_stochastic(estimator: Any) -> bool:
    """Whether training goes by mini-batches."""
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError("partial_fit takes a solver that goes by mini-batches: sgd or adam, not lbfgs")
    return True


class Perceptron(BaseEstimator):
    """What the two estimators share."""

    loss: Any = "log_loss"
    network_: NeuralNetwork
    _set_course: tuple[Any, ...] = ()  # how the learning rate was to go on, when a training by steps last began

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*OWN_NAMES, *ACTIVATIONS})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "activations": ["array-like", None],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "optimizer": [StrOptions(set(OPTIMIZERS)), *OPTIMIZERS.values(), None],
        "monitor": [str, callable, None],
        "callbacks": ["array-like"],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
    }

    def _rule(self) -> Optimizer:
        """The optimizer, for the loss as scikit-learn has it."""
        if self.optimizer is not None:
            return OPTIMIZERS[self.optimizer]() if isinstance(self.optimizer, str) else self.optimizer
        if self.solver == "sgd":
            momentum = min(self.momentum, np.nextafter(1.0, 0.0))
            return SGD(self.learning_rate_init, momentum, nesterov=self.nesterovs_momentum and momentum > 0)
        epsilon = max(self.epsilon, LEAST_EPSILON)
        return Adam(self.learning_rate_init, self.beta_1, self.beta_2, epsilon, epsilon_hat=True)

    def _schedule(self) -> str:
        """How the learning rate goes on."""
        return self.learning_rate if self.solver == "sgd" or self.optimizer is not None else "constant"

    def _class_names(self) -> Array | None:
        """What the classes are called, if that can be kept in a model file."""
        return None

    def _sizes(self) -> list[int]:
        """The neurons of the hidden layers."""
        given = np.ravel(np.asarray(self.hidden_layer_sizes, dtype=object)).tolist()
        return [_validate.count(size, "a size of hidden_layer_sizes") for size in given]

    def _styles(self, count: int, output: str) -> tuple[list[str], list[float]]:
        """The activations and the dropout of so many hidden layers and of the last."""
        names: list[Any] = [self.activation] * count if self.activations is None else list(self.activations)
        if len(names) != count:
            raise ValueError(f"activations must hold one name for each of {count} hidden layers, got {names}")
        rates = [self.dropout] * count if np.ndim(self.dropout) == 0 else list(self.dropout)
        if len(rates) != count:
            raise ValueError(f"dropout must be one number, or one for each of {count} layers, got {rates}")
        names = [_validate.activation(OWN_NAMES.get(name, name)) for name in names] + [output]
        rates = [_validate.number(rate, "dropout", below=1.0) for rate in rates] + [0.0]
        _validate.dropout_places(rates, names)
        return names, rates

    def _layered(self, sizes: list[int], output: str, dtype: Any, **scaling: Any) -> NeuralNetwork:
        """A network by the settings of now, whose weights are to come."""
        network = NeuralNetwork(self._loss(output, dtype), dtype, rng=0, **scaling)
        for (inputs, neurons), name, rate in zip(pairwise(sizes), *self._styles(len(sizes) - 2, output), strict=True):
            network._add(inputs, neurons, name, None, rate)
        return network

    def _build(self, sizes: list[int], output: str, dtype: Any, random: np.random.RandomState) -> NeuralNetwork:
        """A network whose first weights are those that scikit-learn draws."""
        network = self._layered(sizes, output, dtype)
        hidden = network.layers[:-1]
        ruling = hidden[-1].activation if hidden else OWN_NAMES.get(self.activation, self.activation)
        for layer, style in zip(network.layers, [*(layer.activation for layer in hidden), ruling], strict=True):
            inputs, neurons = layer.input_size, layer.neurons
            bound = math.sqrt((2 if style == "sigmoid" else 6) / (inputs + neurons))
            layer.weights = random.uniform(-bound, bound, (inputs, neurons)).T
            layer.biases = random.uniform(-bound, bound, (neurons, 1))
        if _has_dropout(network):
            network.rng = np.random.default_rng(random.randint(2**31))
        return network

    def _check_shape(self, sizes: list[int], output: str) -> None:
        """That the layers of now are as large as those trained before, and end as those do."""
        layers = self.network_.layers
        before = [layers[0].input_size, *(layer.neurons for layer in layers)]
        what = ""
        if sizes != before:
            what = f"hidden_layer_sizes and the data make layers of {sizes}, and those trained before are {before}"
        elif output != layers[-1].activation:
            last = layers[-1].activation
            what = f"loss={self.loss!r} needs outputs of {output}, and those trained before are of {last}"
        if what:
            raise ValueError(f"{what}: only a fit from the beginning, without warm_start, can change them")

    def _renew(self, random: np.random.RandomState) -> None:
        """Go on by the settings of now: with another network, if they make one, of the same weights and memory."""
        old = self.network_
        output = old.layers[-1].activation
        styles = [(layer.activation, layer.dropout) for layer in old.layers]
        now = list(zip(*self._styles(len(styles) - 1, output), strict=True))
        if now == styles and _validate.loss(self._loss(output, old.dtype)) == (old.loss, old.loss_options):
            return
        sizes = [old.layers[0].input_size, *(layer.neurons for layer in old.layers)]
        scaling = {"input_scale": old.input_scale, "input_shift": old.input_shift}
        network = self._layered(sizes, output, old.dtype, **scaling)
        Snapshot(old).restore(network)
        network.feature_names, network.class_names = old.feature_names, old.class_names
        began = _has_dropout(network) and not _has_dropout(old)
        network.rng = np.random.default_rng(random.randint(2**31)) if began else old.rng
        self.network_ = network

    def _checked(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Array, Array]:
        """X as rows, and y."""
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype="numeric", multi_output=True, reset=reset, **options
        )
        return _rows(X), column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _samples(self, rows: Array, targets: Array, weights: Array | None) -> Samples:
        """What the network is trained on, or judged by."""
        return self.network_._data(rows.T, targets.T, weights)

    def _validation(self, X: Any, y: Any, sample_weight: Any) -> Held | None:
        """What was given to validate with."""
        if X is None and y is None and sample_weight is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together, and sample_weight_val with them")
        rows, y = self._checked(X, y, reset=False)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, rows, dtype=np.float64)
        return Held(rows, y, self._targets(y), weights)

    def _split(self, y: Array, targets: Array, random: np.random.RandomState) -> tuple[Array, Array]:
        """Which samples are trained on, and which are held out: of each class the same share, as far as that goes."""
        count = len(targets)
        held = math.ceil(self.validation_fraction * count)
        if held < 2:
            raise ValueError(f"validation_fraction={self.validation_fraction} of {count} samples are fewer than 2")
        split = partial(train_test_split, np.arange(count), test_size=self.validation_fraction, random_state=random)
        if self._is_single_label():
            _, labels, of_each = np.unique(y, return_inverse=True, return_counts=True)
            if of_each.min() > 1 and len(of_each) <= min(held, count - held):
                train, out = split(stratify=y)
                if len(np.unique(labels[train])) == len(of_each):  # a large share may be all of some class
                    return train, out
            if len(of_each) <= count - 2:  # scikit-learn would take no share at all
                held = min(held, count - len(of_each))
                out = setting_aside.part_of_each(labels, held, np.random.default_rng(random.randint(2**31)))
                return np.flatnonzero(~out), np.flatnonzero(out)
        train, out = split()
        return train, out

    def _fit(self, *given: Any) -> Self:
        """All kinds of training; one that ends before it has learnt anything leaves everything as it was."""
        before = vars(self).copy()
        self.n_iter_ = 0
        try:
            self._learn(*given)
        except Exception:
            if self.n_iter_ == 0:
                self.__dict__ = before
            raise
        return self

    def _expect(self, classes: Any) -> None:
        """Take in which classes there will be in all batches, if there are classes."""

    def _learn(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool,
        validation: tuple[Any, Any, Any],
        classes: Any = None,
    ) -> None:
        """Judge what is given, begin with a network if there is none, and train it."""
        if incremental:
            self._expect(classes)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit sees one batch of data and cannot stop early: early_stopping must be False")
        hidden, by_lbfgs = self._sizes(), self.solver == "lbfgs" and self.optimizer is None
        if by_lbfgs:
            given = {"X_val": validation[0] is not None, "y_val": validation[1] is not None}
            given |= {"callbacks": len(self.callbacks) > 0, "max_time": self.max_time is not None}
            given |= {"monitor": self.monitor is not None}
            _validate.left_out(given, "solver='lbfgs'")
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        rows, y = self._checked(X, y, reset=first)
        targets = self._learn_targets(y, incremental, first)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, rows, dtype=np.float64)
        weights = self._with_class_weight(weights, y, incremental)
        outputs = 1 if targets.ndim == 1 else targets.shape[1]
        output = self._output_activation()
        outputs = len(self.classes_) if output == "softmax" else outputs
        sizes = [rows.shape[1], *hidden, outputs]
        random = check_random_state(self.random_state)
        if first:
            self.n_outputs_, self.n_layers_, self.out_activation_ = outputs, len(sizes), THEIR_NAMES.get(output, output)
            dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
            self.network_ = self._build(sizes, output, dtype, random)
            self.network_.feature_names = getattr(self, "feature_names_in_", None)
            self.network_.class_names = self._class_names()
            self.t_ = 0
        else:
            self._check_shape(sizes, output)
        held = self._validation(*validation)
        try:
            with _threads.limited(self.n_jobs):
                if by_lbfgs:
                    self._minimise(self._samples(rows, targets, weights), random)
                else:
                    self._train(rows, y, targets, weights, held, random, first, incremental)
        except FloatingPointError as error:
            raise ValueError(f"Training led to numbers that are not finite: {error}") from error

    def _train(
        self,
        rows: Array,
        y: Array,
        targets: Array,
        weights: Array | None,
        held: Held | None,
        random: np.random.RandomState,
        first: bool,
        incremental: bool,
    ) -> None:
        """Go over mini-batches, until the course of the training says that it is enough."""
        samples = self._samples(rows, targets, weights)
        anew = self._is_judged_anew(held) or first
        if self.early_stopping and held is None:
            train, out = self._split(y, targets, random)
            for part, purpose in ((train, "to train on"), (out, "to validate with")):
                _validate_data.some_weight(weights, part, purpose, "X_val and y_val")
            samples = samples._replace(order=train)
            held = Held(rows[out], y[out], targets[out], None if weights is None else weights[out])
        validation = None if held is None else self._samples(held.rows, held.targets, held.weights)
        count = samples.size()
        batch = min(200 if self.batch_size == "auto" else self.batch_size, count)
        if self.batch_size != "auto" and self.batch_size > count:
            warnings.warn(f"batch_size={self.batch_size} is more than there are samples: {count}", stacklevel=USER)
        self._prepare(held is not None, first, anew, incremental)
        scale = self._scale()
        course = Course(self, held, count)
        rule = replace(self._rule(), learning_rate=self._rate)
        recipe = fitting.Recipe(
            batch,
            rule if scale == 1 else of_sum(rule, scale),
            shuffle=False,
            shaping=Shaping(l2=self.alpha / scale, l2_of_sum=True),
            schedule=None,
            callbacks=_validate.callbacks((course, *self.callbacks)),
            max_time=np.inf if self.max_time is None else self.max_time,
        )
        self._renew(random)
        keep_velocities(self.network_._memory, recipe.optimizer)
        epochs = 1 if incremental else self.max_iter
        rounds = islice(orders(samples, random if self.shuffle else None), epochs)
        origin = None if first else fitting.Origin(self.network_, alone=count <= batch)
        try:
            fitting.fit_chunks(self.network_, rounds, recipe, validation, epochs)
        except KeyboardInterrupt:
            warnings.warn("Training was interrupted: the network is as it was then", stacklevel=USER)
        except FloatingPointError as error:
            if origin is not None and not self.n_iter_:  # the steps of an epoch before the one that failed
                origin.restore(self.network_)
            if course.best is None or not self.n_iter_ or self.best_validation_score_ == -np.inf:
                raise
            text = f"Training ended at numbers that are not finite, the best parameters before are kept: {error}"
            warnings.warn(text, ConvergenceWarning, stacklevel=USER)
        if self.early_stopping and self.best_validation_score_ == -np.inf:
            text = "No validation score was a number: the parameters are those of the last epoch"
            warnings.warn(text, ConvergenceWarning, stacklevel=USER)
        if self.n_iter_ == self.max_iter and not course.finished and not incremental:
            warnings.warn(
                f"Maximum iterations ({self.max_iter}) reached, and training has not converged yet",
                ConvergenceWarning,
                stacklevel=USER,
            )

    def _is_judged_anew(self, held: Held | None) -> bool:
        """Whether the figures of the fit before were of another loss, score or validation set than those to come."""
        given = joblib.hash(held) if held is not None and self.warm_start else None
        judge = self.monitor, self._loss(self.network_.layers[-1].activation, self.network_.dtype), given
        before, self._judge = getattr(self, "_judge", judge), judge
        return before != judge

    def _prepare(self, is_held: bool, first: bool, anew: bool, incremental: bool) -> None:
        """Begin or go on with the figures of the epochs, the best of them anew if they are to be of something else."""
        if first or not hasattr(self, "validation_scores_"):  # as after L-BFGS, which has none
            self.loss_curve_: list[float] = []
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
            self.best_loss_: float | None = None
            self.best_validation_score_: float | None = None
        if is_held and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        if anew or (self.best_validation_score_ if self.early_stopping else self.best_loss_) is None:
            self.best_loss_, self.best_validation_score_ = (None, -np.inf) if self.early_stopping else (np.inf, None)
        # In partial_fit a rate goes on as the course has made it, until another is set.
        rule = self._rule()
        now = type(rule), rule.learning_rate, self._schedule()
        if first or not incremental or now != self._set_course:
            self._no_improvement_count, self._rate = 0, rule.learning_rate
            if incremental and self.t_ > 0 and self._schedule() == "invscaling":
                self._rate /= (self.t_ + 1) ** self.power_t
        self._set_course = now

    def _minimise(self, samples: Samples, random: np.random.RandomState) -> None:
        """Take all samples at once, for steps as long as they can be."""
        scale = self._scale()
        shaping = Shaping(l2=self.alpha / scale, l2_of_sum=True)
        options = {"maxiter": self.max_iter, "maxfun": self.max_fun, "gtol": self.tol}
        self._renew(random)
        found, _ = _lbfgs.search(self.network_, samples, shaping, options, scale)
        self.n_iter_, self.loss_ = min(found.nit, self.max_iter), float(found.fun)  # SciPy's last may be one too many
        if found.status != 0:
            text = f"L-BFGS has not converged after {self.n_iter_} iterations: {found.message}"
            warnings.warn(text, ConvergenceWarning, stacklevel=USER)

    def _scale(self) -> int:
        """How many times the network's loss scikit-learn's is, which adds up the outputs of some losses."""
        return self.n_outputs_ if self.loss in ("log_loss", "poisson") and self.out_activation_ != "softmax" else 1

    def _pass(self, X: Any, what: str) -> Array:
        """The outputs of the network (m, n), or the classes (m,)."""
        network = vars(self).get("network_")
        # Of a few samples, scikit-learn's validation takes longer than all the rest: first see if they need any.
        if network is not None and type(X) is np.ndarray and X.ndim == 2 and not hasattr(self, "feature_names_in_"):
            with _threads.limited(self.n_jobs):
                few = network._few(X.T, what, None)
            if few is not None:
                return few.T
        check_is_fitted(self)
        rows = _rows(validate_data(self, X, accept_sparse="csr", dtype="numeric", reset=False))
        with _threads.limited(self.n_jobs):
            return (self.network_.forward if what == "outputs" else self.network_.predict)(rows.T).T

    @property
    def coefs_(self) -> list[Array]:
        """
        The weights, which can be written into and assigned.

        Returns
        -------
        list of ndarray of shape (n_in, n_out)
            Of each layer: views of the network's.
        """
        return _Views(layer.weights.T for layer in self.network_.layers)

    @coefs_.setter
    def coefs_(self, value: list[ArrayLike]) -> None:  # numpydoc ignore=GL08
        self.coefs_[:] = self._for_each_layer(value, "coefs_", [view.shape for view in self.coefs_])

    @property
    def intercepts_(self) -> list[Array]:
        """
        The biases, which can be written into and assigned.

        Returns
        -------
        list of ndarray of shape (n_out,)
            Of each layer: views of the network's.
        """
        return _Views(layer.biases[:, 0] for layer in self.network_.layers)

    @intercepts_.setter
    def intercepts_(self, value: list[ArrayLike]) -> None:  # numpydoc ignore=GL08
        self.intercepts_[:] = self._for_each_layer(value, "intercepts_", [view.shape for view in self.intercepts_])

    def _for_each_layer(self, value: list[ArrayLike], name: str, shapes: list[tuple[int, ...]]) -> list[Array]:
        """Arrays to be assigned, after a look at all of them."""
        arrays = [np.array(array) for array in value]  # which may be views of the places they go to
        if len(arrays) != len(shapes):
            raise ValueError(f"{name} must hold {len(shapes)} arrays, one for each layer, got {len(arrays)}")
        for number, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            _validate_data.parameters(array, shape, f"{name}[{number}]", self.network_.dtype)
        return arrays

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
