"""MLPClassifier and MLPRegressor of scikit-learn over cmlp's network: the same parameters, attributes and numbers."""

from contextlib import suppress
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target
from sklearn.utils.validation import check_is_fitted

from cmlp import _validate
from cmlp._perceptron import Perceptron, is_stochastic
from cmlp.losses import CrossEntropy, Huber, Quantile
from cmlp.optimizers import Optimizer

Array = NDArray[Any]


def _labels(y: Array) -> tuple[bool, Array]:
    """Whether a sample may have several labels, and which there are: found once, as that takes its time."""
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass", "multilabel-indicator"):
        raise ValueError(f"Unknown label type: y must hold a label a sample, or a table of 0 and 1, got {kind} values")
    multilabel = kind == "multilabel-indicator"
    return multilabel, np.arange(y.shape[1]) if multilabel else np.unique(y)


class MLPClassifier(ClassifierMixin, Perceptron):
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
        Let `fit` go on from what the `fit` before has come to, by the settings as they are now. Only the classes, the
        layers' sizes and the output layer's activation cannot change.
    momentum : float, default 0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Stop by the score of samples held out, instead of by the loss, and keep the best parameters. As in scikit-learn,
        "lbfgs" does without.
    validation_fraction : float, default 0.1
        Share of the samples to hold out, if none are given to `fit`. With `warm_start` each `fit` draws others, as in
        scikit-learn, some of which the fits before have trained on: give `X_val` to hold out the same.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Of "adam": decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-08
        Of "adam": added to the root of the square's mean.
    n_iter_no_change : int, default 10
        So many epochs may be no better in a row; after the next such one training stops.
    max_fun : int, default 15000
        Evaluations of the loss by "lbfgs" at most.
    class_weight : dict, list of dict or "balanced", optional
        What a class's samples weigh, times `sample_weight`; "balanced" makes all classes weigh the same together. It
        goes for samples that are held out of X too, and not for X_val.
    label_smoothing : float, default 0.0
        Share of each label that is spread evenly over the classes, in [0, 1).
    activations : array_like of str, optional
        One name for each hidden layer, in place of `activation`.
    dropout : float or array_like of float, default 0.0
        Share of the outputs that each step leaves out of the hidden layers, or of each of them.
    optimizer : str or optimizer, optional
        In place of `solver`: "adamw", say, or ``cmlp.AdamW(0.01, weight_decay=0.1)``, with a learning rate of its own.
    monitor : str or callable, optional
        The score of the samples held out: "loss", of which less is better, or a scorer or its name in scikit-learn,
        which is given the samples' weights if it takes `sample_weight`. By default the accuracy. Not for "lbfgs".
    callbacks : array_like of callback, default ()
        As `NeuralNetwork.fit` takes them; not for "lbfgs". Where the loss is a sum over outputs, they see its mean, and
        the rate by which that makes the same steps.
    max_time : float, optional
        Seconds after which no epoch begins; not for "lbfgs".
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
        What is trained; it has its samples in columns, and can be saved. A fit from the beginning makes another, and so
        does one after a change of activations, dropout or loss, which keeps the weights.
    loss_ : float
        Of the last epoch: a mean over its batches, each taken before its step, with the penalty.
    loss_curve_ : list of float
        That of every epoch.
    best_loss_ : float or None
        The least of them since it was first or anew what training goes by; None with early stopping.
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

    - the samples held out for early stopping are stratified for any number of classes, as far as that goes;
    - with weights, the loss of an epoch is the mean over all its samples by weight; scikit-learn takes the mean over
      its batches by their numbers of samples. The steps are the same;
    - probabilities below the rounding error are not cut off in the loss;
    - `warm_start` keeps what the optimizer remembers, velocities as steps, and each `fit` has `n_iter_no_change`
      epochs anew;
    - `partial_fit` goes on with a learning rate, or another setting of the optimizer, that is new.

    For labels of several classes at once, y is a table of 0 and 1, and the loss is the sum over its columns.

    Examples
    --------
    >>> from cmlp import MLPClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = MLPClassifier((32,), learning_rate_init=0.01, batch_size=20, tol=1e-3, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Perceptron._parameter_constraints,
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
        if self._multilabel or len(self.classes_) == 1:  # of one class, the network may still name a second
            return False
        return self.label_smoothing == 0 or self.out_activation_ == "softmax"

    def _class_names(self) -> Array | None:
        names: Array = np.asarray(self.classes_.tolist())
        if names.dtype.kind not in "iU" or len(names) == 1 or self._multilabel:
            return None
        with suppress(ValueError):  # of whole numbers and strings that files cannot hold
            return np.array(_validate.names(names, "class_names", (str, int)))
        return None

    def _output_activation(self) -> str:
        return "sigmoid" if self._multilabel or len(self.classes_) <= 2 else "softmax"

    def _loss(self, output: str, dtype: Any) -> Any:  # noqa: ARG002
        return CrossEntropy(self.label_smoothing) if output == "softmax" else "binary_cross_entropy"

    def _expect(self, classes: Any) -> None:
        _check_partial_fit_first_call(self, classes)

    def _learn_targets(self, y: Array, incremental: bool, first: bool) -> Array:
        """The targets, and first the classes, if they are not known yet."""
        multilabel, labels = _labels(y)
        if first:
            self._multilabel, self._sparse = multilabel, hasattr(y, "toarray")
        if first and not incremental:
            self.classes_ = labels
        elif self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(f"warm_start needs y with the same classes: {self.classes_} then, {labels} now")
        return self._codes(y, multilabel, labels)

    def _targets(self, y: Array) -> Array:
        return self._codes(y, *_labels(y))

    def _codes(self, y: Array, multilabel: bool, labels: Array) -> Array:
        """The targets, from y and the labels in it."""
        if multilabel != self._multilabel:
            kinds = "one label a sample", "a table of 0 and 1"
            raise ValueError(f"y must hold {kinds[self._multilabel]}, as before, got {kinds[multilabel]}")
        unknown = np.setdiff1d(labels, self.classes_, assume_unique=True)
        if len(unknown):
            raise ValueError(f"y has classes that are not in classes_, {self.classes_}: {unknown}")
        if self._multilabel:
            table = y.toarray() if hasattr(y, "toarray") else y
            if table.min() < 0 or (table.max() > 1 and table.min() > 0):
                raise ValueError(f"y must be a table of 0 and 1, got {table.min()} and {table.max()}")
            codes: Array = np.ascontiguousarray(table != 0, dtype=np.uint8)
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
        if self.class_weight == "balanced":  # scikit-learn's function does not know what the samples weigh
            table = y.toarray() if hasattr(y, "toarray") else y.reshape(len(y), -1)
            codes = [np.unique(column, return_inverse=True)[1] for column in table.T]
            by_column = [_validate.balanced(of, int(of.max()) + 1, weights) for of in codes]
            by_class = np.prod([weight[of] for weight, of in zip(by_column, codes, strict=True)], axis=0)
        else:
            by_class = compute_sample_weight(self._of_these(y) if incremental else self.class_weight, y)
        if not (np.isfinite(by_class) & (by_class >= 0)).all():
            raise ValueError(f"class_weight must hold finite numbers of at least 0, got {self.class_weight}")
        if not by_class.any():
            raise ValueError(f"class_weight must leave some class of y a weight, got {self.class_weight}")
        return by_class if weights is None else weights * by_class

    def _of_these(self, y: Array) -> Any:
        """The weights of those classes that are in y, as scikit-learn's function refuses others."""
        if self._multilabel == isinstance(self.class_weight, dict):
            return self.class_weight  # which it refuses as well
        if self._multilabel:
            columns = (y.toarray() if hasattr(y, "toarray") else y).T.tolist()
            if len(columns) != len(self.class_weight):
                return self.class_weight
            pairs = zip(self.class_weight, columns, strict=True)
            return [{label: of[label] for label in of if label in column} for of, column in pairs]
        unknown = [label for label in self.class_weight if label not in self.classes_]
        if unknown:
            raise ValueError(f"class_weight has classes that are not in classes_, {self.classes_}: {unknown}")
        found = set(y.tolist())
        return {label: weight for label, weight in self.class_weight.items() if label in found}

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
            Labels of any type that scikit-learn takes; or a table of 0 and 1, a column for each class.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts, at least 0.
        X_val, y_val : array_like, optional
            Samples to validate with after every epoch, as X and y; with `early_stopping` none of X are held out then.
            Not for "lbfgs".
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

    @available_if(is_stochastic)
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
        return self._fit(X, y, sample_weight, True, (None, None, None), classes)

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
            return csr_matrix(table) if self._sparse else table
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


class MLPRegressor(RegressorMixin, Perceptron):
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
        Let `fit` go on from what the `fit` before has come to, by the settings as they are now. Only the layers' sizes
        and the output layer's activation cannot change.
    momentum : float, default 0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Stop by the score of samples held out, instead of by the loss, and keep the best parameters. As in scikit-learn,
        "lbfgs" does without.
    validation_fraction : float, default 0.1
        Share of the samples to hold out, if none are given to `fit`. With `warm_start` each `fit` draws others, as in
        scikit-learn, some of which the fits before have trained on: give `X_val` to hold out the same.
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
        The score of the samples held out: "loss", of which less is better, or a scorer or its name in scikit-learn,
        which is given the samples' weights if it takes `sample_weight`. By default the coefficient of determination.
        Not for "lbfgs".
    callbacks : array_like of callback, default ()
        As `NeuralNetwork.fit` takes them; not for "lbfgs". Where the loss is a sum over outputs, they see its mean, and
        the rate by which that makes the same steps.
    max_time : float, optional
        Seconds after which no epoch begins; not for "lbfgs".
    n_jobs : int, optional
        Threads to train and predict with; -1 for all processors, -2 for all but one. By default as many as
        `cmlp.get_num_threads` says. The numbers that come out are the same.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_in, n_out) and biases of shape (n_out,) of each layer: views of the network's.
    network_ : NeuralNetwork
        What is trained; it has its samples in columns, and can be saved. A fit from the beginning makes another, and so
        does one after a change of activations, dropout or loss, which keeps the weights.
    loss_ : float
        Of the last epoch: a mean over its batches, each taken before its step, with the penalty.
    loss_curve_ : list of float
        That of every epoch.
    best_loss_ : float or None
        The least of them since it was first or anew what training goes by; None with early stopping.
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
    - `warm_start` keeps what the optimizer remembers, velocities as steps, and each `fit` has `n_iter_no_change`
      epochs anew;
    - `partial_fit` goes on with a learning rate, or another setting of the optimizer, that is new.

    With n outputs, "poisson" is their sum, as in scikit-learn, and the other losses are their means.

    Examples
    --------
    >>> from cmlp import MLPRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(500, random_state=0)
    >>> model = MLPRegressor(hidden_layer_sizes=64, solver="lbfgs", max_iter=1000, tol=0.01, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Perceptron._parameter_constraints,
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
            Not for "lbfgs".
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

    @available_if(is_stochastic)
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
