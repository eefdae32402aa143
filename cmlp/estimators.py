"""MLPClassifier and MLPRegressor of scikit-learn over cmlp's network: the same parameters, attributes and numbers.

Letters: m samples, one a row; n outputs. Targets are what the network is trained on: labels from 0 or numbers.
"""

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise, repeat
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d, compute_sample_weight, shuffle
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cmlp import _lbfgs, _threads, _validate, fitting
from cmlp.activations import ACTIVATIONS
from cmlp.callbacks import Callback
from cmlp.losses import CrossEntropy, Huber, Quantile
from cmlp.network import NeuralNetwork
from cmlp.optimizers import OPTIMIZERS, SGD, Adam, Lion, Optimizer, RMSprop
from cmlp.training import Samples, Shaping

Array = NDArray[Any]

# Activations that scikit-learn calls otherwise.
OWN_NAMES: dict[str, str] = {"logistic": "sigmoid"}
THEIR_NAMES = {"sigmoid": "logistic"}

# From here on an adaptive learning rate is not divided any more.
LEAST_RATE = 1e-6

# The least that cmlp's optimizers take; scikit-learn's take any number above 0.
LEAST_EPSILON = 1e-30


class _Held(NamedTuple):
    """Samples to validate with: y as the user knows it, and as the network does."""

    rows: Array
    y: Array
    targets: Array
    weights: Array | None


class _Views(list[Array]):
    """Views of a network's numbers: what is put in the place of one goes into the network."""

    def __setitem__(self, index: Any, value: Any) -> None:
        self[index][...] = value


class _Course(Callback):
    """What scikit-learn does after an epoch: keeps its figures, changes the learning rate, says when it is enough."""

    def __init__(self, estimator: Any, held: _Held | None, samples: int) -> None:
        self.estimator, self.held, self.samples = estimator, held, samples
        self.best: Array | None = None
        self.finished = False
        if held is not None and estimator.monitor != "loss":
            self.judged = copy.copy(estimator)
            vars(self.judged).pop("feature_names_in_", None)  # the rows have lost theirs
            self.scorer = check_scoring(self.judged, scoring=estimator.monitor)

    def on_train_begin(self, run: Any) -> None:
        """Keep what will be put back if nothing gets better."""
        if self.estimator.early_stopping:
            self.best = run.network._params.copy()

    def on_epoch_end(self, run: Any) -> None:
        """Do all of it."""
        estimator, scale = self.estimator, self.estimator._scale()
        estimator.n_iter_ += 1
        estimator.t_ += self.samples
        estimator.loss_ = run.figures["loss"] * scale
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self.held is not None:
            estimator.validation_loss_curve_.append(run.figures["val_loss"] * scale)
            estimator.validation_scores_.append(self._score(self.held, run.figures))
            if estimator.verbose:
                print(f"Validation score: {estimator.validation_scores_[-1]:f}")
        self._compare(run)
        self._go_on(run)

    def on_train_end(self, run: Any) -> None:
        """Put the best parameters back, and be done with the samples."""
        if self.best is not None:
            run.network._params[:] = self.best

    def _score(self, held: _Held, figures: dict[str, float]) -> float:
        """How good the network is with the samples held out: more is better."""
        if self.estimator.monitor == "loss":
            return -float(self.estimator.validation_loss_curve_[-1])
        if self.estimator.monitor is None and self.estimator._accuracy_is_score():
            return figures["val_accuracy"]
        if not math.isfinite(figures["val_loss"]):  # nor may the outputs be, which scorers refuse
            return math.nan
        weights = {} if held.weights is None else {"sample_weight": held.weights}
        return float(self.scorer(self.judged, held.rows, held.y, **weights))

    def _compare(self, run: Any) -> None:
        """Count the epochs that are no better than the best before them."""
        estimator = self.estimator
        if self.best is None:
            now, before = -estimator.loss_, -estimator.best_loss_
            estimator.best_loss_ = min(estimator.loss_, estimator.best_loss_)
        else:
            now, before = estimator.validation_scores_[-1], estimator.best_validation_score_
            if now > before:
                estimator.best_validation_score_ = now
                self.best[:] = run.network._params
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if now < before + estimator.tol else 0

    def _go_on(self, run: Any) -> None:
        """Train on, perhaps with another learning rate, or stop."""
        estimator = self.estimator
        if estimator._schedule() == "invscaling":
            self._set_rate(run, estimator._rule().learning_rate / (estimator.t_ + 1) ** estimator.power_t)
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return
        what = "loss" if self.best is None else "validation score"
        text = f"The {what} got better by less than {estimator.tol:g} for {estimator.n_iter_no_change} epochs:"
        if estimator._schedule() == "adaptive" and estimator._rate > LEAST_RATE:
            estimator._no_improvement_count = 0
            self._set_rate(run, estimator._rate / 5)
            text = f"{text} the learning rate is {estimator._rate:g} now."
        else:
            self.finished = True
            text = f"{text} training ends."
            run.stop(text)
        if estimator.verbose:
            print(text)

    def _set_rate(self, run: Any, rate: float) -> None:
        """Go on with this rate, and with velocities as they are: in scikit-learn they are steps, in cmlp gradients."""
        estimator = self.estimator
        if isinstance(run.optimizer, SGD) and run.optimizer.momentum > 0:
            run.network._memory.moments *= estimator._rate / rate
        run.learning_rate *= rate / estimator._rate
        estimator._rate = rate


def _rows(X: Any) -> Array:
    """X as the core reads it fastest: a sample's numbers side by side."""
    return np.ascontiguousarray(X) if isinstance(X, np.ndarray) and X.flags.f_contiguous else X


def _of_sum(rule: Optimizer, outputs: int) -> Optimizer:
    """The optimizer whose steps by the gradient of a mean over outputs are those of `rule` by that of their sum."""
    if isinstance(rule, SGD):
        return replace(rule, learning_rate=rule.learning_rate * outputs, weight_decay=rule.weight_decay / outputs)
    if isinstance(rule, Lion):
        return rule
    rule = replace(rule, epsilon=max(rule.epsilon / outputs, LEAST_EPSILON))
    return replace(rule, weight_decay=rule.weight_decay / outputs) if isinstance(rule, RMSprop) else rule


def _orders(samples: Samples, random: np.random.RandomState | None) -> Iterator[Samples]:
    """The samples again and again, each time in a new order, which scikit-learn draws from the one before."""
    if random is None:
        yield from repeat(samples)
    order = np.arange(len(samples.rows)) if samples.order is None else samples.order
    while True:
        order = shuffle(order, random_state=random)
        yield samples._replace(order=order.astype(np.intp, copy=False))


def _is_stochastic(estimator: Any) -> bool:
    """Whether training goes by mini-batches."""
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError("partial_fit takes a solver that goes by mini-batches: sgd or adam, not lbfgs")
    return True


class _Perceptron(BaseEstimator):
    """What the two estimators share."""

    loss: Any = "log_loss"

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
        "optimizer": [StrOptions(set(OPTIMIZERS)), HasMethods("rule"), None],
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

    def _names(self, count: int) -> list[str]:
        """The activations of so many hidden layers."""
        given: list[str] = [self.activation] * count if self.activations is None else list(self.activations)
        if len(given) != count:
            raise ValueError(f"activations must hold one name for each of {count} hidden layers, got {given}")
        return [OWN_NAMES.get(name, name) for name in given]

    def _build(self, sizes: list[int], output: str, dtype: Any, random: np.random.RandomState) -> NeuralNetwork:
        """A network whose first weights are those that scikit-learn draws."""
        hidden = self._names(len(sizes) - 2)
        dropout = [self.dropout] * len(hidden) if np.ndim(self.dropout) == 0 else list(self.dropout)
        if len(dropout) != len(hidden):
            raise ValueError(f"dropout must be one number, or one for each of {len(hidden)} layers, got {dropout}")
        network = NeuralNetwork(self._loss(output, dtype), dtype, rng=0)
        ruling = hidden[-1:] or [self.activation]
        for (inputs, neurons), name, rate, style in zip(
            pairwise(sizes), [*hidden, output], [*dropout, 0.0], hidden + ruling, strict=True
        ):
            network.add_layer(inputs, neurons, name, dropout=rate)
            bound = math.sqrt((2 if style in ("sigmoid", "logistic") else 6) / (inputs + neurons))
            layer = network.layers[-1]
            layer.weights = random.uniform(-bound, bound, (inputs, neurons)).T
            layer.biases = random.uniform(-bound, bound, (neurons, 1))
        if any(dropout):
            network.rng = np.random.default_rng(random.randint(2**31))
        return network

    def _checked(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Array, Array]:
        """X as rows, and y."""
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), dtype="numeric", multi_output=True, reset=reset, **options
        )
        return _rows(X), column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _samples(self, rows: Array, targets: Array, weights: Array | None) -> Samples:
        """What the network is trained on, or judged by."""
        return self.network_._data(rows.T, targets.T, weights)

    def _validation(self, X: Any, y: Any, sample_weight: Any) -> _Held | None:
        """What was given to validate with."""
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        rows, y = self._checked(X, y, reset=False)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, rows, dtype=np.float64)
        return _Held(rows, y, self._targets(y), weights)

    def _split(self, y: Array, targets: Array, random: np.random.RandomState) -> tuple[Array, Array]:
        """Which samples are trained on, and which are held out: the same share of each class, if that can be."""
        count = len(targets)
        held = math.ceil(self.validation_fraction * count)
        if held < 2:
            raise ValueError(f"validation_fraction={self.validation_fraction} of {count} samples are fewer than 2")
        stratify = None
        if self._is_single_label():
            of_each = np.unique(y, return_counts=True)[1]
            if of_each.min() > 1 and len(of_each) <= min(held, count - held):
                stratify = y
        train, out = train_test_split(
            np.arange(count), test_size=self.validation_fraction, random_state=random, stratify=stratify
        )
        return train, out

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any]) -> Self:
        """All kinds of training."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit sees one batch of data and cannot stop early: early_stopping must be False")
        hidden = np.ravel(np.asarray(self.hidden_layer_sizes, dtype=object)).tolist()
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}")
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
            self.t_ = 0
        elif sizes != [layer.input_size for layer in self.network_.layers] + [self.n_outputs_]:
            raise ValueError(f"the layers' sizes are {sizes} now: only a fit from the beginning can change them")
        held = self._validation(*validation)
        self.n_iter_ = 0
        try:
            with _threads.limited(self.n_jobs):
                if self.solver == "lbfgs" and self.optimizer is None:
                    self._minimise(self._samples(rows, targets, weights))
                else:
                    self._train(rows, y, targets, weights, held, random, first, incremental)
        except FloatingPointError as error:
            raise ValueError(f"Training led to numbers that are not finite: {error}") from error
        return self

    def _train(
        self,
        rows: Array,
        y: Array,
        targets: Array,
        weights: Array | None,
        held: _Held | None,
        random: np.random.RandomState,
        first: bool,
        incremental: bool,
    ) -> None:
        """Go over mini-batches, until the course of the training says that it is enough."""
        samples = self._samples(rows, targets, weights)
        if self.early_stopping and held is None:
            train, out = self._split(y, targets, random)
            samples = samples._replace(order=train)
            held = _Held(rows[out], y[out], targets[out], None if weights is None else weights[out])
        count = samples.size()
        batch = min(200 if self.batch_size == "auto" else self.batch_size, count)
        if self.batch_size != "auto" and self.batch_size > count:
            warnings.warn(f"batch_size={self.batch_size} is more than there are samples: {count}", stacklevel=4)
        self._prepare(held is not None, first, incremental)
        scale = self._scale()
        course = _Course(self, held, count)
        rule = replace(self._rule(), learning_rate=self._rate)
        recipe = fitting.Recipe(
            batch,
            rule if scale == 1 else _of_sum(rule, scale),
            shuffle=False,
            shaping=Shaping(l2=self.alpha / scale, l2_of_sum=True),
            schedule=None,
            callbacks=_validate.callbacks((course, *self.callbacks)),
            max_time=np.inf if self.max_time is None else self.max_time,
        )
        epochs = 1 if incremental else self.max_iter
        rounds = islice(_orders(samples, random if self.shuffle else None), epochs)
        validation = None if held is None else self._samples(held.rows, held.targets, held.weights)
        try:
            fitting.fit_chunks(self.network_, rounds, recipe, validation, epochs)
        except KeyboardInterrupt:
            warnings.warn("Training was interrupted: the network is as it was then", stacklevel=4)
        except FloatingPointError as error:
            if course.best is None or not self.n_iter_:
                raise
            text = f"Training ended at numbers that are not finite, the best parameters before are kept: {error}"
            warnings.warn(text, ConvergenceWarning, stacklevel=4)
        if self.n_iter_ == self.max_iter and not course.finished and not incremental:
            warnings.warn(
                f"Maximum iterations ({self.max_iter}) reached, and training has not converged yet",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _prepare(self, is_held: bool, first: bool, incremental: bool) -> None:
        """Begin or go on with the figures of the epochs."""
        if first:
            self.loss_curve_: list[float] = []
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
            self.best_loss_: float | None = None
            self.best_validation_score_: float | None = None
        if is_held and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        if first or self.early_stopping != (self.best_loss_ is None):
            self.best_loss_, self.best_validation_score_ = (None, -np.inf) if self.early_stopping else (np.inf, None)
        if first or not incremental:
            self._no_improvement_count, self._rate = 0, self._rule().learning_rate

    def _minimise(self, samples: Samples) -> None:
        """Take all samples at once, for steps as long as they can be."""
        scale = self._scale()
        shaping = Shaping(l2=self.alpha / scale, l2_of_sum=True)
        options = {"maxiter": self.max_iter, "maxfun": self.max_fun, "gtol": self.tol}
        found, _ = _lbfgs.search(self.network_, samples, shaping, options, scale)
        self.n_iter_, self.loss_ = _check_optimize_result("lbfgs", found, self.max_iter), float(found.fun)

    def _scale(self) -> int:
        """How many times the network's loss scikit-learn's is, which adds up the outputs of some losses."""
        return self.n_outputs_ if self.loss in ("log_loss", "poisson") and self.out_activation_ != "softmax" else 1

    def _pass(self, X: Any, what: str) -> Array:
        """The outputs of the network (m, n), or the classes (m,)."""
        network = vars(self).get("network_")
        # Of a few samples, scikit-learn's validation takes longer than all the rest: first see if they need any.
        if network is not None and type(X) is np.ndarray and X.ndim == 2 and not hasattr(self, "feature_names_in_"):
            few = network._few(X.T, what, None)
            if few is not None:
                return few.T
        check_is_fitted(self)
        rows = _rows(validate_data(self, X, accept_sparse=("csr", "csc"), dtype="numeric", reset=False))
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
        for layer, weights in zip(self.network_.layers, value, strict=True):
            layer.weights = np.transpose(weights)

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
        for layer, biases in zip(self.network_.layers, value, strict=True):
            layer.biases = np.reshape(biases, (-1, 1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, _Perceptron):
    """
    A multilayer perceptron that predicts classes, as scikit-learn's MLPClassifier.

    Parameters that scikit-learn has mean what they mean there. With the same `random_state` first weights, the samples
    held out and their orders are the same, and in float64 so are the losses, but for rounding.

    Parameters
    ----------
    hidden_layer_sizes : int or array_like of int, default (100,)
        Neurons of each hidden layer; none for a linear model.
    activation : str, default "relu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any other name in `cmlp.activations`.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        L-BFGS over all samples at once, or steps over mini-batches.
    alpha : float, default 0.0001
        Of the penalty ``alpha / 2 * sum(W ** 2)`` of all weights, which is added to the sum over a batch's samples.
    batch_size : int or "auto", default "auto"
        Samples of a step; "auto" is 200, or all if they are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        How the rate of "sgd", or of `optimizer`, goes on: as it is; divided by ``(t_ + 1) ** power_t`` after every
        epoch; or divided by 5 whenever training would stop, until it is 1e-6.
    learning_rate_init : float, default 0.001
        The first rate.
    power_t : float, default 0.5
        See `learning_rate`.
    max_iter : int, default 200
        Epochs at most; iterations of "lbfgs".
    shuffle : bool, default True
        Take the samples in a new order in every epoch.
    random_state : None, int or numpy.random.RandomState, optional
        Where first weights, samples to hold out, orders and what dropout leaves out are drawn from.
    tol : float, default 0.0001
        What counts as better: this much less loss, or this much more of a validation score.
    verbose : bool, default False
        Print a line an epoch.
    warm_start : bool, default False
        Let `fit` go on from what the `fit` before has come to.
    momentum : float, default 0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Stop by the score of samples held out, instead of by the loss, and keep the best parameters.
    validation_fraction : float, default 0.1
        Share of the samples to hold out, if none are given to `fit`.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Of "adam": decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-08
        Of "adam": added to the root of the square's mean.
    n_iter_no_change : int, default 10
        So many epochs may be no better in a row; after the next such one training stops.
    max_fun : int, default 15000
        Evaluations of the loss by "lbfgs" at most.
    class_weight : dict, list of dict or "balanced", optional
        What a class's samples weigh, times `sample_weight`; "balanced" makes all classes weigh the same together.
    label_smoothing : float, default 0.0
        Share of each label that is spread evenly over the classes, in [0, 1).
    activations : array_like of str, optional
        One name for each hidden layer, in place of `activation`.
    dropout : float or array_like of float, default 0.0
        Share of the outputs that each step leaves out of the hidden layers, or of each of them.
    optimizer : str or optimizer, optional
        In place of `solver`: "adamw", say, or ``cmlp.AdamW(0.01, weight_decay=0.1)``, with a learning rate of its own.
    monitor : str or callable, optional
        The score of the samples held out: "loss", of which less is better, or a scorer or its name in scikit-learn.
        By default the accuracy.
    callbacks : array_like of callback, default ()
        As `NeuralNetwork.fit` takes them; not for "lbfgs".
    max_time : float, optional
        Seconds after which no epoch begins.
    n_jobs : int, optional
        Threads to train and predict with; -1 for all processors, -2 for all but one. By default as many as
        `cmlp.get_num_threads` says. The numbers that come out are the same.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_in, n_out) and biases of shape (n_out,) of each layer: views of the network's.
    network_ : NeuralNetwork
        What is trained; it has its samples in columns, and can be saved.
    loss_ : float
        Of the last epoch: a mean over its batches, each taken before its step, with the penalty.
    loss_curve_ : list of float
        That of every epoch.
    best_loss_ : float or None
        The least of them; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Of every epoch, if samples are held out; of "loss" as `monitor`, what is less than 0 is its negative.
    best_validation_score_ : float or None
        The best score; None without early stopping.
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : int
        Samples that steps were taken on, counted again in each epoch.
    n_features_in_, n_layers_, n_outputs_ : int
        Features, layers with the input, and outputs.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The columns' names, if X came with such.
    out_activation_ : str
        The output layer's activation.

    Notes
    -----
    The answers differ from scikit-learn's 1.9 where those differ from its documentation, or keep users waiting:

    - the samples held out for early stopping are stratified for more than two classes too, if every class can be;
    - with weights, the loss of an epoch is the mean over all its samples by weight; scikit-learn takes the mean over
      its batches by their numbers of samples. The steps are the same;
    - probabilities below the rounding error are not cut off in the loss;
    - `warm_start` keeps what the optimizer remembers, and each `fit` has `n_iter_no_change` epochs anew.

    For labels of several classes at once, y is a table of 0 and 1, and the loss is the sum over its columns.

    Examples
    --------
    >>> from cmlp import MLPClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = MLPClassifier((32,), learning_rate_init=0.01, batch_size=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Perceptron._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        activations: Any = None,
        dropout: Any = 0.0,
        optimizer: str | Optimizer | None = None,
        monitor: Any = None,
        callbacks: Any = (),
        max_time: float | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.__dict__.update((name, value) for name, value in locals().items() if name != "self")

    def _is_single_label(self) -> bool:
        return not self._multilabel

    def _accuracy_is_score(self) -> bool:
        return not self._multilabel and (self.label_smoothing == 0 or self.out_activation_ == "softmax")

    def _output_activation(self) -> str:
        return "sigmoid" if self._multilabel or len(self.classes_) <= 2 else "softmax"

    def _loss(self, output: str, dtype: Any) -> Any:  # noqa: ARG002
        return CrossEntropy(self.label_smoothing) if output == "softmax" else "binary_cross_entropy"

    def _learn_targets(self, y: Array, incremental: bool, first: bool) -> Array:
        """The targets, and first the classes, if they are not known yet."""
        check_classification_targets(y)
        if first:
            self._multilabel = type_of_target(y) == "multilabel-indicator"
            self._sparse = hasattr(y, "toarray")
        if first and not incremental:
            self.classes_ = unique_labels(y)
        elif self.warm_start and set(unique_labels(y)) != set(self.classes_):
            raise ValueError(f"warm_start needs y with the same classes: {self.classes_} then, {unique_labels(y)} now")
        return self._targets(y)

    def _targets(self, y: Array) -> Array:
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"y has classes that are not in classes_, {self.classes_}: {unknown}")
        if self._multilabel:
            y = y.toarray() if hasattr(y, "toarray") else y
            codes: Array = np.ascontiguousarray(y, dtype=np.uint8)
        else:
            codes = np.searchsorted(self.classes_, y)
        if self.label_smoothing == 0 or self._output_activation() == "softmax":
            return codes
        return codes * (1 - self.label_smoothing) + self.label_smoothing / 2

    def _with_class_weight(self, weights: Array | None, y: Array, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise ValueError("partial_fit does not see how often classes are in all: class_weight cannot be 'balanced'")
        by_class = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else weights * by_class

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """
        Train from the beginning, or go on with `warm_start`.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row. Integers are read as they are; float32 is computed in float32, the rest in float64.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any type; or a table of 0 and 1, a column for each class.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts, at least 0.
        X_val, y_val : array_like, optional
            Samples to validate with after every epoch, as X and y; with `early_stopping` none of X are held out then.
        sample_weight_val : array_like, optional
            How much each of those counts.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data do not fit, or if training leads to numbers that are not finite.
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val))

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """
        Train for one epoch on these samples.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row. Integers are read as they are; float32 is computed in float32, the rest in float64.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, not of all classes perhaps.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts, at least 0.
        classes : array_like of shape (n_classes,), optional
            All labels there will be; needed in the first call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data do not fit, or if training leads to numbers that are not finite.
        """
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, True, (None, None, None))

    def predict(self, X: ArrayLike) -> Array:
        """
        Return the class of each sample.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels; or a table of 0 and 1, sparse if that of `fit` was.
        """
        check_is_fitted(self)
        if self._multilabel:
            table = (self._pass(X, "outputs") > 0.5).astype(int)
            return csr_array(table) if self._sparse else table
        return self.classes_[np.minimum(self._pass(X, "classes"), len(self.classes_) - 1)]

    def predict_proba(self, X: ArrayLike) -> Array:
        """
        Return the probability of each class.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32 or float64
            In the order of `classes_`.
        """
        outputs = self._pass(X, "outputs")
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """
        Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32 or float64
            In nats, in the order of `classes_`.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _Perceptron):
    """
    A multilayer perceptron that predicts numbers, as scikit-learn's MLPRegressor.

    Parameters that scikit-learn has mean what they mean there. With the same `random_state` first weights, the samples
    held out and their orders are the same, and in float64 so are the losses, but for rounding.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"}, default "squared_error"
        Half of the squared error; half of the Poisson deviance, of targets of at least 0, after exp; the error's size;
        half of the squared error near 0 and a line further out; or the loss that is least at a quantile.
    hidden_layer_sizes : int or array_like of int, default (100,)
        Neurons of each hidden layer; none for a linear model.
    activation : str, default "relu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any other name in `cmlp.activations`.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        L-BFGS over all samples at once, or steps over mini-batches.
    alpha : float, default 0.0001
        Of the penalty ``alpha / 2 * sum(W ** 2)`` of all weights, which is added to the sum over a batch's samples.
    batch_size : int or "auto", default "auto"
        Samples of a step; "auto" is 200, or all if they are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        How the rate of "sgd", or of `optimizer`, goes on: as it is; divided by ``(t_ + 1) ** power_t`` after every
        epoch; or divided by 5 whenever training would stop, until it is 1e-6.
    learning_rate_init : float, default 0.001
        The first rate.
    power_t : float, default 0.5
        See `learning_rate`.
    max_iter : int, default 200
        Epochs at most; iterations of "lbfgs".
    shuffle : bool, default True
        Take the samples in a new order in every epoch.
    random_state : None, int or numpy.random.RandomState, optional
        Where first weights, samples to hold out, orders and what dropout leaves out are drawn from.
    tol : float, default 0.0001
        What counts as better: this much less loss, or this much more of a validation score.
    verbose : bool, default False
        Print a line an epoch.
    warm_start : bool, default False
        Let `fit` go on from what the `fit` before has come to.
    momentum : float, default 0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Stop by the score of samples held out, instead of by the loss, and keep the best parameters.
    validation_fraction : float, default 0.1
        Share of the samples to hold out, if none are given to `fit`.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Of "adam": decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-08
        Of "adam": added to the root of the square's mean.
    n_iter_no_change : int, default 10
        So many epochs may be no better in a row; after the next such one training stops.
    max_fun : int, default 15000
        Evaluations of the loss by "lbfgs" at most.
    quantile : float, default 0.5
        Which quantile the loss "quantile" is least at, between 0 and 1.
    delta : float, default 1.0
        The error from which on the loss "huber" is a line, more than 0.
    activations : array_like of str, optional
        One name for each hidden layer, in place of `activation`.
    dropout : float or array_like of float, default 0.0
        Share of the outputs that each step leaves out of the hidden layers, or of each of them.
    optimizer : str or optimizer, optional
        In place of `solver`: "adamw", say, or ``cmlp.AdamW(0.01, weight_decay=0.1)``, with a learning rate of its own.
    monitor : str or callable, optional
        The score of the samples held out: "loss", of which less is better, or a scorer or its name in scikit-learn.
        By default the coefficient of determination.
    callbacks : array_like of callback, default ()
        As `NeuralNetwork.fit` takes them; not for "lbfgs".
    max_time : float, optional
        Seconds after which no epoch begins.
    n_jobs : int, optional
        Threads to train and predict with; -1 for all processors, -2 for all but one. By default as many as
        `cmlp.get_num_threads` says. The numbers that come out are the same.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_in, n_out) and biases of shape (n_out,) of each layer: views of the network's.
    network_ : NeuralNetwork
        What is trained; it has its samples in columns, and can be saved.
    loss_ : float
        Of the last epoch: a mean over its batches, each taken before its step, with the penalty.
    loss_curve_ : list of float
        That of every epoch.
    best_loss_ : float or None
        The least of them; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Of every epoch, if samples are held out; of "loss" as `monitor`, what is less than 0 is its negative.
    best_validation_score_ : float or None
        The best score; None without early stopping.
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : int
        Samples that steps were taken on, counted again in each epoch.
    n_features_in_, n_layers_, n_outputs_ : int
        Features, layers with the input, and outputs.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The columns' names, if X came with such.
    out_activation_ : str
        The output layer's activation.

    Notes
    -----
    The answers differ from scikit-learn's 1.9 where that takes wrong steps, or keeps users waiting:

    - with n outputs, "squared_error" is a mean over them in both; steps here follow its gradient, those of scikit-learn
      n times as much, so that `alpha` counts n times as much here, and "sgd" takes n times smaller steps;
    - with weights, the loss of an epoch is the mean over all its samples by weight; scikit-learn takes the mean over
      its batches by their numbers of samples. The steps are the same;
    - `warm_start` keeps what the optimizer remembers, and each `fit` has `n_iter_no_change` epochs anew.

    With n outputs, "poisson" is their sum, as in scikit-learn, and the other losses are their means.

    Examples
    --------
    >>> from cmlp import MLPRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(500, random_state=0)
    >>> model = MLPRegressor(hidden_layer_sizes=(64,), solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Perceptron._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"})],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        quantile: float = 0.5,
        delta: float = 1.0,
        activations: Any = None,
        dropout: Any = 0.0,
        optimizer: str | Optimizer | None = None,
        monitor: Any = None,
        callbacks: Any = (),
        max_time: float | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.__dict__.update((name, value) for name, value in locals().items() if name != "self")

    def _is_single_label(self) -> bool:
        return False

    def _accuracy_is_score(self) -> bool:
        return False

    def _output_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self, output: str, dtype: Any) -> Any:  # noqa: ARG002
        return {
            "squared_error": Huber(float(np.finfo(dtype).max)),  # half of the squared error, whatever its size
            "absolute_error": "mean_absolute_error",
            "huber": Huber(self.delta),
            "quantile": Quantile((self.quantile,)),
            "poisson": "poisson",
        }[self.loss]

    def _checked(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Array, Array]:
        return super()._checked(X, y, reset, y_numeric=True, **options)

    def _learn_targets(self, y: Array, incremental: bool, first: bool) -> Array:  # noqa: ARG002
        return self._targets(y)

    def _targets(self, y: Array) -> Array:
        return y

    def _with_class_weight(self, weights: Array | None, y: Array, incremental: bool) -> Array | None:  # noqa: ARG002
        return weights

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """
        Train from the beginning, or go on with `warm_start`.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row. Integers are read as they are; float32 is computed in float32, the rest in float64.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            What to predict.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts, at least 0.
        X_val, y_val : array_like, optional
            Samples to validate with after every epoch, as X and y; with `early_stopping` none of X are held out then.
        sample_weight_val : array_like, optional
            How much each of those counts.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data do not fit, or if training leads to numbers that are not finite.
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val))

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """
        Train for one epoch on these samples.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row. Integers are read as they are; float32 is computed in float32, the rest in float64.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            What to predict.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts, at least 0.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data do not fit, or if training leads to numbers that are not finite.
        """
        return self._fit(X, y, sample_weight, True, (None, None, None))

    def predict(self, X: ArrayLike) -> Array:
        """
        Return what is predicted for each sample.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            One sample a row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float32 or float64
            The predictions.
        """
        outputs = self._pass(X, "outputs")
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
