"""scikit-learn's estimators: its own checks, its numbers, its ways of use, and what it lacks."""

import copy
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import config_context
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import cmlp
from cmlp import MLPClassifier, MLPRegressor, _threads
from cmlp.callbacks import Callback

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:SCIPY_ARRAY_API",
)


def samples(kind, m=200):
    """X and y of a kind, and the two estimators for it."""
    if kind == "several labels":
        X, y = make_multilabel_classification(m, 8, random_state=0)
        return X / X.std(), y, MLPClassifier, theirs.MLPClassifier
    if kind in ("two classes", "three classes"):
        X, y = make_classification(m, 8, n_informative=4, n_classes=2 + (kind == "three classes"), random_state=0)
        return X, y, MLPClassifier, theirs.MLPClassifier
    X, y = make_regression(m, 8, noise=1, random_state=0)
    return X, y / y.std(), MLPRegressor, theirs.MLPRegressor


KINDS = ("two classes", "three classes", "several labels", "regression")
IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
QUICK = {"learning_rate_init": 0.01, "random_state": 0}


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# What scikit-learn's numbers are reproduced for.
SETTINGS = {
    "adam": {},
    "adam of other settings": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
    "small batches": {"batch_size": 32},
    "no shuffling": {"shuffle": False, "batch_size": 32},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.0},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.05},
    "inverse scaling": {"solver": "sgd", "learning_rate_init": 0.2, "learning_rate": "invscaling"},
    "adaptive": {
        "solver": "sgd",
        "learning_rate_init": 0.1,
        "learning_rate": "adaptive",
        "tol": 0.02,
        "n_iter_no_change": 2,
    },
    "large alpha": {"alpha": 2.0, "batch_size": 50},
    "logistic": {"activation": "logistic"},
    "tanh, two layers": {"activation": "tanh", "hidden_layer_sizes": (20, 10)},
    "identity": {"activation": "identity"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "early end": {"tol": 0.05, "n_iter_no_change": 3},
}


def check_same(ours, other, tolerance=1e-9):
    """The law of all that is said to be as in scikit-learn."""
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(ours, name) == getattr(other, name)
    np.testing.assert_allclose(ours.loss_, other.loss_, rtol=tolerance, atol=tolerance)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(other, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        assert hasattr(ours, name) == hasattr(other, name)
        if getattr(other, name, None) is None:
            assert getattr(ours, name, None) is None
        else:
            np.testing.assert_allclose(getattr(ours, name), getattr(other, name), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_numbers_of_scikit_learn(keep, kind, settings):
    X, y, ours, other = samples(kind)
    settings = {"max_iter": 20, "random_state": 1, **settings}
    a, b = ours(**settings).fit(X, y), other(**settings).fit(X, y)
    keep("losses of 20 epochs and scikit-learn's, relative", np.abs(np.divide(a.loss_curve_, b.loss_curve_) - 1))
    check_same(a, b)
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-9, atol=1e-9)
    if kind != "regression":
        np.testing.assert_array_equal(a.classes_, b.classes_)
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(a.predict_log_proba(X), b.predict_log_proba(X), rtol=1e-9, atol=1e-9)
    assert a.score(X, y) == pytest.approx(b.score(X, y))


@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs(kind):
    X, y, ours, other = samples(kind)
    for settings in ({"max_iter": 20}, {"max_iter": 15000, "tol": 0.05}, {"max_fun": 10}):
        settings = {"solver": "lbfgs", "random_state": 1, "hidden_layer_sizes": (10,), "alpha": 0.1, **settings}
        check_same(ours(**settings).fit(X, y), other(**settings).fit(X, y), 1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_poisson(solver, outputs):
    X = samples("regression")[0]
    y = np.random.default_rng(0).poisson(2, (len(X), outputs)).squeeze()
    settings = {"loss": "poisson", "solver": solver, "max_iter": 20, "random_state": 1, "alpha": 0.5, "batch_size": 64}
    check_same(MLPRegressor(**settings).fit(X, y), theirs.MLPRegressor(**settings).fit(X, y))


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_numbers(kind):
    X, y, ours, other = samples(kind)
    weights = np.random.default_rng(0).uniform(0.1, 2, len(X))
    for settings in (
        {},
        {"solver": "sgd", "alpha": 1.0},
        {"solver": "lbfgs", "hidden_layer_sizes": (5,), "activation": "tanh"},
    ):
        settings = {"max_iter": 15, "random_state": 1, "batch_size": len(X), **settings}
        check_same(ours(**settings).fit(X, y, weights), other(**settings).fit(X, y, weights))
    # With several batches the steps are the same; the mean over the batches is taken by weight here.
    settings = {"max_iter": 15, "random_state": 1, "batch_size": 32, "alpha": 1.0, "tol": 0}
    a, b = ours(**settings).fit(X, y, weights), other(**settings).fit(X, y, weights)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=0.2)


@pytest.mark.parametrize("kind", ["two classes", "several labels", "regression"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_early_stopping_of_scikit_learn(kind, weighted):
    X, y, ours, other = samples(kind)
    weights = np.random.default_rng(0).uniform(0.1, 2, len(X)) if weighted else None
    settings = {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.01, "random_state": 1}
    a, b = ours(**settings).fit(X, y, weights), other(**settings).fit(X, y, weights)
    assert a.n_iter_ < a.max_iter
    assert a.best_loss_ is None
    check_same(a, b)
    assert len(a.validation_loss_curve_) == a.n_iter_


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["adam", "nesterov", "adaptive", "inverse scaling"])
def test_partial_fit_of_scikit_learn(kind, name):
    X, y, ours, other = samples(kind)
    classes = () if kind == "regression" else (np.arange(y.max() + 1 if y.ndim == 1 else y.shape[1]),)
    a, b = (estimator(random_state=1, **SETTINGS[name]) for estimator in (ours, other))
    for _ in range(12):
        for part in (slice(100), slice(100, 200)):
            a.partial_fit(X[part], y[part], None, *classes)
            b.partial_fit(X[part], y[part], None, *classes)
    check_same(a, b)
    assert a.n_iter_ == 1


def test_several_outputs_follow_the_gradient_of_their_loss():
    # scikit-learn's gradient is that of the sum over the 3 outputs, but for alpha.
    X, y = make_regression(100, 6, n_targets=3, random_state=0)
    y /= y.std()
    settings = {"solver": "sgd", "max_iter": 5, "random_state": 1}
    ours = MLPRegressor(learning_rate_init=0.03, alpha=0.1, **settings).fit(X, y)
    other = theirs.MLPRegressor(learning_rate_init=0.01, alpha=0.3, **settings).fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0], other.coefs_[0], rtol=1e-9, atol=1e-9)

    def loss(weight):
        model = clone(ours).set_params(max_iter=1, learning_rate_init=1e-30, warm_start=True)
        model.partial_fit(X, y)
        model.coefs_[0][0, 0] = weight
        return model.partial_fit(X, y).loss_

    model = clone(ours).set_params(momentum=0.0, learning_rate_init=1e-3).partial_fit(X, y)
    start = clone(ours).set_params(learning_rate_init=1e-30).partial_fit(X, y).coefs_[0][0, 0]
    slope = (loss(start + 1e-5) - loss(start - 1e-5)) / 2e-5
    assert (start - model.coefs_[0][0, 0]) / 1e-3 == pytest.approx(slope, rel=1e-4)


def test_early_stopping_holds_out_the_same_share_of_every_class():
    y = np.repeat(["a", "b", "c"], (100, 60, 40))
    X = np.random.default_rng(0).normal(size=(200, 2))
    seen = []

    def scorer(estimator, X, y):
        seen.append(np.unique(y, return_counts=True)[1])
        return estimator.score(X, y)

    for seed in range(5):
        MLPClassifier(early_stopping=True, monitor=scorer, max_iter=1, random_state=seed).fit(X, y)
    np.testing.assert_array_equal(seen, [[10, 6, 4]] * 5)
    y[0] = "alone"
    MLPClassifier(early_stopping=True, max_iter=1).fit(X, y)


def test_labels_of_any_type():
    for labels in (NAMES, NAMES.astype(object), NAMES == "setosa", SPECIES - 1, SPECIES.astype(float)):
        model = MLPClassifier((20,), max_iter=100, **QUICK).fit(IRIS, labels)
        assert model.score(IRIS, labels) > 0.9
        np.testing.assert_array_equal(model.classes_, np.unique(labels))
        assert set(model.predict(IRIS)) <= set(labels.tolist())
    with pytest.warns(DataConversionWarning):
        MLPClassifier(max_iter=1).fit(IRIS, SPECIES[:, np.newaxis])
    one = MLPClassifier(max_iter=1).fit(IRIS, np.full(150, "only"))
    assert set(one.predict(IRIS)) == {"only"}


def test_several_labels_may_come_sparse():
    X, y, *_ = samples("several labels")
    dense = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, sparse.csr_array(y))
    predicted = model.predict(X)
    assert isinstance(predicted, sparse.csr_matrix)  # as scikit-learn's
    np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))


def test_one_label_a_sample_in_a_table_of_several():
    X, *_, other = samples("several labels")
    y = np.eye(4, dtype=int)[np.arange(len(X)) % 4]
    settings = {"early_stopping": True, "random_state": 0, "max_iter": 20}
    check_same(MLPClassifier(**settings).fit(X, y), other(**settings).fit(X, y))


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int16", "bool", "float16"])
def test_types_and_layouts(dtype, layout):
    X = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 200, (60, 5)).astype(dtype)
    y = X[:, 0] > X[:, 1]
    given = {"C": X, "F": np.asfortranarray(X), "strided": np.repeat(X, 2, 1)[:, ::2], "reversed": X[::-1].copy()[::-1]}
    model = MLPClassifier(max_iter=5, random_state=0).fit(given[layout], y)
    expected = np.float32 if dtype == "float32" else np.float64
    assert model.coefs_[0].dtype == model.intercepts_[0].dtype == model.network_.dtype == expected
    assert model.predict_proba(given[layout]).dtype == model.predict_proba(np.repeat(X, 9, 0)).dtype == expected
    wide = MLPClassifier(max_iter=5, random_state=0).fit(X.astype(expected), y)
    np.testing.assert_array_equal(model.predict_proba(given[layout]), wide.predict_proba(X.astype(expected)))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    module = pytest.importorskip(library)
    frame = module.DataFrame(dict(zip("abcd", IRIS.T, strict=True)))
    target = module.Series(NAMES)
    settings = {"max_iter": 5, "early_stopping": True, "monitor": "accuracy", "random_state": 0}
    model = MLPClassifier(**settings).fit(frame, target, X_val=frame, y_val=target)
    plain = MLPClassifier(**settings).fit(IRIS, NAMES, X_val=IRIS, y_val=NAMES)
    assert model.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(model.predict_proba(frame), plain.predict_proba(IRIS))
    assert model.validation_scores_ == plain.validation_scores_
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(IRIS)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename({"a": "z"}, **({"axis": 1} if library == "pandas" else {})))


def test_sparse_samples():
    X, y, *_ = samples("two classes")
    X[X < 0.5] = 0
    plain = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    for kind in (sparse.csr_array, sparse.csc_matrix):
        model = MLPClassifier(max_iter=5, random_state=0).fit(kind(X), y)
        np.testing.assert_array_equal(model.predict_proba(kind(X)), plain.predict_proba(X))


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_tools_of_scikit_learn(estimator):
    y = NAMES if estimator is MLPClassifier else SPECIES.astype(float)
    model = estimator(hidden_layer_sizes=(20,), max_iter=60, **QUICK)
    assert cross_val_score(model, IRIS, y, cv=3, n_jobs=2).shape == (3,)
    pipe = make_pipeline(StandardScaler(), model)
    name = estimator.__name__.lower()
    search = GridSearchCV(pipe, {f"{name}__alpha": [1e-4, 10.0], f"{name}__dropout": [0.0, 0.1]}, n_jobs=2, cv=3)
    assert search.fit(IRIS, y).score(IRIS, y) > 0.8
    assert clone(model.fit(IRIS, y)).get_params() == model.get_params()


def test_validation_through_a_pipeline():
    with config_context(enable_metadata_routing=True):
        model = MLPClassifier((20,), early_stopping=True, **QUICK).set_fit_request(X_val=True, y_val=True)
        pipe = Pipeline([("scale", StandardScaler()), ("model", model)], transform_input=["X_val"])
        pipe.fit(IRIS, NAMES, X_val=IRIS, y_val=NAMES)
        assert model.best_validation_score_ == pipe.score(IRIS, NAMES) > 0.9


def test_pickles_go_on_as_if_nothing_had_happened():
    X, y, *_ = samples("three classes")
    model = MLPClassifier(random_state=0).partial_fit(X, y, classes=np.unique(y))
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    for one in (model, copied):
        one.partial_fit(X, y)
    np.testing.assert_array_equal(copied.coefs_[0], model.coefs_[0])
    assert copied.loss_curve_ == model.loss_curve_


def test_warm_start_goes_on():
    X, y, *_ = samples("two classes")
    steps = MLPClassifier(random_state=0)
    warm = MLPClassifier(random_state=0, warm_start=True, max_iter=1)
    for _ in range(5):
        steps.partial_fit(X, y, classes=[0, 1])
        with pytest.warns(ConvergenceWarning):
            warm.fit(X, y)
    np.testing.assert_array_equal(steps.coefs_[0], warm.coefs_[0])  # the optimizer's memory is kept
    assert len(warm.loss_curve_) == 5
    assert warm.t_ == 1000
    warm.set_params(max_iter=50, tol=10.0, n_iter_no_change=2)
    assert [warm.fit(X, y).n_iter_ for _ in range(2)] == [3, 3]
    with pytest.raises(ValueError, match="same classes"):
        warm.fit(X, y + 1)
    warm.set_params(early_stopping=True, validation_fraction=0.5).fit(X, y)
    assert warm.best_loss_ is None
    with pytest.raises(ValueError, match=r"layers of \[8, 3, 1\], and those trained before are \[8, 100, 1\]"):
        warm.set_params(hidden_layer_sizes=(3,)).fit(X, y)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_momentum_goes_on_by_steps_as_long_as_before(learning_rate, nesterov, monkeypatch):
    class Keeping(SGDOptimizer):
        """scikit-learn's, which remembers the velocities of the fit before."""

        last = None

        def __init__(self, params, *given):
            super().__init__(params, *given)
            self.velocities = self.velocities if Keeping.last is None else Keeping.last.velocities
            Keeping.last = self

    monkeypatch.setattr("sklearn.neural_network._multilayer_perceptron.SGDOptimizer", Keeping)
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.1, "shuffle": False}
    settings |= {"nesterovs_momentum": nesterov, "warm_start": True, "random_state": 0, "tol": 0.01}
    X, y = StandardScaler().fit_transform(IRIS), SPECIES
    a, b = MLPClassifier(**settings), theirs.MLPClassifier(**settings)
    for max_iter, patience in [(1, np.inf), (1, np.inf), (1, np.inf), (80, 3), (1, np.inf), (5, np.inf)]:
        for model in (a, b):
            model.set_params(max_iter=max_iter, n_iter_no_change=patience)
            model._no_improvement_count = 0  # which scikit-learn goes on with
            model.fit(X, y)
        np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-7)
    if learning_rate == "adaptive":
        assert len(a.loss_curve_) > 20
    assert a.loss_curve_[-1] < 0.35


@pytest.mark.parametrize("batch_size", [40, 20])
def test_a_refused_chunk_leaves_the_velocities(batch_size):
    X, y, *_ = samples("regression", 40)
    model = MLPRegressor(
        hidden_layer_sizes=(5,), solver="sgd", learning_rate_init=0.1, batch_size=batch_size, random_state=0
    )
    for _ in range(5):
        model.partial_fit(X, y)
    one, other = (copy.deepcopy(model).set_params(learning_rate_init=0.01) for _ in range(2))
    with pytest.raises(ValueError, match="not finite"):
        one.partial_fit(X, 1e200 * y)
    for fitted in (one, other):
        fitted.partial_fit(X, y)
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_change_between_fits_hold_at_once(kind):
    X, y, ours, other = samples(kind)
    settings = {"solver": "sgd", "momentum": 0.0, "warm_start": True, "max_iter": 5, "random_state": 1}
    settings["n_iter_no_change"] = np.inf  # scikit-learn counts on from one fit to the next
    a, b = ours(**settings).fit(X, y), other(**settings).fit(X, y)
    for changed in (
        {"activation": "tanh"},
        {"alpha": 2.0, "batch_size": 50},
        {"learning_rate_init": 0.05, "shuffle": False},
        {"activation": "logistic", "learning_rate": "invscaling"},
        {"solver": "lbfgs", "activation": "identity"},
    ):
        check_same(a.set_params(**changed).fit(X, y), b.set_params(**changed).fit(X, y))
        assert [layer.activation for layer in a.network_.layers[:-1]] == [a._styles(1, "")[0][0]]
        np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_change_between_partial_fits_hold_at_once(kind):
    X, y, ours, other = samples(kind)
    classes = () if kind == "regression" else (np.arange(y.max() + 1 if y.ndim == 1 else y.shape[1]),)
    a, b = (estimator(random_state=1).partial_fit(X, y, None, *classes) for estimator in (ours, other))
    for changed in ({"activation": "tanh", "alpha": 2.0}, {"activation": "identity", "batch_size": 50}):
        check_same(*(model.set_params(**changed).partial_fit(X, y) for model in (a, b)))


STILL = {"learning_rate_init": 1e-30, "alpha": 0.0, "max_iter": 1, "warm_start": True, "random_state": 0}


def test_losses_that_change_leave_the_weights():
    X, y, *_ = samples("regression")
    model = MLPRegressor(max_iter=5, random_state=0).fit(X, y).set_params(**STILL)
    predicted, weights = model.predict(X), model.coefs_[0].copy()
    size = np.abs(predicted - y)
    for changed, loss in (
        ({"loss": "absolute_error"}, size),
        ({"loss": "huber", "delta": 0.1}, np.where(size < 0.1, size**2 / 2, 0.1 * (size - 0.05))),
        ({"delta": 0.5}, np.where(size < 0.5, size**2 / 2, 0.5 * (size - 0.25))),
        ({"loss": "quantile", "quantile": 0.9}, np.where(y > predicted, 0.9, 0.1) * size),
        ({"quantile": 0.5}, size / 2),
        ({"loss": "squared_error"}, size**2 / 2),
    ):
        assert model.set_params(**changed).fit(X, y).loss_ == pytest.approx(loss.mean())
        np.testing.assert_allclose(model.coefs_[0], weights)
    with pytest.raises(ValueError, match="loss='poisson' needs outputs of exp, and those trained before are of identi"):
        model.set_params(loss="poisson").fit(X, y)
    np.testing.assert_allclose(model.predict(X), predicted)


@pytest.mark.parametrize("change", ["monitor", "loss", "loss without early stopping", "validation"])
def test_what_judges_anew_forgets_the_scores_before(change):
    X, y, *_ = samples("regression")
    settings = {"early_stopping": "without" not in change, "warm_start": True, "max_iter": 3, "random_state": 0}
    model = MLPRegressor("absolute_error", (5,), monitor="loss", **settings)
    model.fit(X, y, **({"X_val": X[:5], "y_val": y[:5]} if change == "validation" else {}))
    before = model.coefs_[0].copy()
    best = model.best_validation_score_ if settings["early_stopping"] else -model.best_loss_
    now = {"monitor": {"monitor": "neg_mean_squared_error"}, "validation": {}}.get(change, {"loss": "squared_error"})
    # All scores are far below those before.
    model.set_params(**now).fit(X, 1000 * y, **({"X_val": X, "y_val": 1000 * y} if change == "validation" else {}))
    assert not np.array_equal(model.coefs_[0], before)
    assert (model.best_validation_score_ if settings["early_stopping"] else -model.best_loss_) < best


def test_label_smoothing_and_dropout_that_change_leave_the_weights():
    model = MLPClassifier(max_iter=5, random_state=0).fit(IRIS, NAMES).set_params(**STILL)
    proba, weights = model.predict_proba(IRIS), model.coefs_[0].copy()
    smooth = 0.7 * np.eye(3)[SPECIES] + 0.3 / 3
    assert model.set_params(label_smoothing=0.3).fit(IRIS, NAMES).loss_ == pytest.approx(
        -(smooth * np.log(proba)).sum(axis=1).mean()
    )
    before = model.loss_
    copied = pickle.loads(pickle.dumps(model))
    for one in (model, copied):
        assert one.set_params(dropout=[0.5]).fit(IRIS, NAMES).loss_ != pytest.approx(before, rel=1e-3)
    assert model.loss_ == copied.loss_  # what is left out is drawn from random_state
    assert model.set_params(dropout=0.0).fit(IRIS, NAMES).loss_ == pytest.approx(before)
    np.testing.assert_allclose(model.coefs_[0], weights)
    for wrong in ({"activations": ["swish"]}, {"dropout": [0.5, 0.5]}, {"dropout": [2.0]}):
        with pytest.raises(ValueError, match=r"activation|dropout"):
            clone(model).set_params(**wrong).fit(IRIS, NAMES)
        with pytest.raises(ValueError, match=r"activation|dropout"):
            model.set_params(**wrong, label_smoothing=0.9).fit(IRIS, NAMES)
        model.set_params(activations=None, dropout=0.0, label_smoothing=0.3)
        assert model.fit(IRIS, NAMES).loss_ == pytest.approx(before)


@pytest.mark.parametrize("monitor", [None, "accuracy", "neg_log_loss"])
def test_scores_are_those_of_the_settings_of_now(monitor):
    X, y, *_ = samples("three classes")
    model = MLPClassifier(max_iter=5, warm_start=True, monitor=monitor, random_state=0).fit(X, y)
    model.set_params(activation="sigmoid", max_iter=1).fit(X, y, X_val=X, y_val=y)
    score = get_scorer(monitor or "accuracy")(model, X, y)
    assert model.validation_scores_ == [pytest.approx(score)]


def test_settings_that_change_leave_the_rest_of_the_network():
    X, y, *_ = samples("two classes")
    model = MLPClassifier(max_iter=3, dropout=0.1, warm_start=True, random_state=0).fit(X, y)
    model.network_.adapt(X.T * 2)
    copied = pickle.loads(pickle.dumps(model))
    copied.network_._layers[0].__dict__["activation"] = "tanh"  # the core is told by what follows
    copied.network_._change()
    for one in (model, copied):
        one.set_params(activation="tanh").fit(X, y)
    np.testing.assert_array_equal(model.network_.input_scale, copied.network_.input_scale)
    np.testing.assert_array_equal(model.coefs_[0], copied.coefs_[0])
    assert model.loss_curve_ == copied.loss_curve_
    assert model.network_._memory.taken == copied.network_._memory.taken == 6


def test_settings_that_change_do_not_if_the_fit_is_refused():
    X, y, *_ = samples("two classes")
    model = MLPClassifier(max_iter=5, warm_start=True, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(activation="tanh")
    for settings, data, message in (
        ({}, {"sample_weight": -np.ones(len(X))}, "sample_weight"),
        ({}, {"X_val": X, "y_val": y + 5}, "classes"),
        ({}, {"X_val": X, "y_val": y, "sample_weight_val": -np.ones(len(X))}, "sample_weight"),
        ({"early_stopping": True, "validation_fraction": 0.001}, {}, "validation_fraction"),
        ({"early_stopping": True, "monitor": "nonsense"}, {}, "nonsense"),
        ({"callbacks": [3]}, {}, "callback"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            model.set_params(**settings).fit(X, y, **data)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        model.set_params(early_stopping=False, validation_fraction=0.1, monitor=None)
    assert not np.allclose(model.set_params(callbacks=()).fit(X, y).predict_proba(X), before)


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({"callbacks": [3]}, {}),
        ({}, {"sample_weight": -np.ones(200)}),
        ({"early_stopping": True, "monitor": "none"}, {}),
        ({"early_stopping": True, "validation_fraction": 1e-9}, {}),
        ({}, {"X_val": np.ones((2, 8)), "y_val": ["no", "class"]}),
        ({"hidden_layer_sizes": (0,)}, {}),
    ],
    ids=str,
)
def test_a_refused_fit_leaves_the_model_before_it(settings, given):
    X, y, *_ = samples("two classes")
    model = MLPClassifier((5,), max_iter=3, **QUICK)
    for _ in range(2):
        attributes = {name: id(value) for name, value in vars(model).items() if name.endswith("_")}
        with pytest.raises((ValueError, TypeError)):
            model.set_params(**settings).fit(X, np.where(y, "a", "b"), **given)
        assert {name: id(value) for name, value in vars(model).items() if name.endswith("_")} == attributes
        model.set_params(**MLPClassifier((5,), max_iter=3, **QUICK).get_params()).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("incremental", [False, True])
def test_an_epoch_that_fails_leaves_the_model_before_it(incremental):
    X, y, *_ = samples("regression")
    for batch in (10, len(X)):
        model = MLPRegressor(hidden_layer_sizes=(5,), batch_size=batch, max_iter=3, warm_start=True, **QUICK).fit(X, y)
        model.set_params(solver="sgd", learning_rate_init=1e20)
        before = [coefs.copy() for coefs in model.coefs_]
        figures = model.n_iter_, [*model.loss_curve_], model.t_, model.network_._memory.taken
        fit = model.partial_fit if incremental else model.fit
        with pytest.raises(ValueError, match="not finite"):
            [fit(X, y) for _ in range(3)]  # a single step's loss is found by the next one
        if batch == 10:
            for coefs, kept in zip(model.coefs_, before, strict=True):
                np.testing.assert_array_equal(coefs, kept)
            assert (model.n_iter_, model.loss_curve_, model.t_, model.network_._memory.taken) == figures


def test_partial_fit_takes_a_new_course():
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "random_state": 0}
    worn = MLPClassifier(n_iter_no_change=1, tol=10.0, **settings)
    for _ in range(6):
        worn.partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    assert worn.network_.optimizer.learning_rate == pytest.approx(0.1 / 5**2)
    for changed in ({"optimizer": cmlp.Adam(0.1)}, {"learning_rate": "constant"}):
        model = copy.deepcopy(worn).set_params(n_iter_no_change=10, **changed).partial_fit(IRIS, SPECIES)
        assert model.network_.optimizer.learning_rate == 0.1
    model = copy.deepcopy(worn).set_params(learning_rate="invscaling").partial_fit(IRIS, SPECIES)
    assert model.network_.schedule is None
    assert model._rate == pytest.approx(0.1 / (7 * 150 + 1) ** 0.5)
    assert model.t_ == 7 * 150


def test_partial_fit_takes_a_new_learning_rate():
    X, y, *_ = samples("regression")
    model = MLPRegressor(solver="sgd", momentum=0.0, batch_size=len(X), random_state=0).partial_fit(X, y)
    steps = []
    for factor in (1, 10):
        copied = pickle.loads(pickle.dumps(model)).set_params(learning_rate_init=0.001 * factor).partial_fit(X, y)
        steps.append(copied.coefs_[0] - model.coefs_[0])
    np.testing.assert_allclose(steps[1], 10 * steps[0], rtol=1e-6, atol=1e-12)


def test_lists_of_parameters_are_lists():
    X, y, *_ = samples("two classes")
    model = MLPClassifier((5,), max_iter=1, **QUICK).fit(X, y)
    copied = copy.deepcopy(model.coefs_)
    model.coefs_[:] = [2 * coefs for coefs in model.coefs_]
    for ours, before in zip(model.coefs_, copied, strict=True):
        np.testing.assert_array_equal(ours, 2 * before)
    copied[0] = np.ones(3)
    assert type(copied) is list
    model.coefs_[-1] = np.ones((5, 1))
    assert (model.network_.layers[-1].weights == 1).all()
    with pytest.raises(ValueError, match=r"shorter|longer"):
        model.coefs_[:] = model.coefs_[:1]


def test_parameters_can_be_written():
    X, y, *_ = samples("two classes")
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)
    for name, shape in (("coefs_", (8, 4)), ("intercepts_", (4,))):
        views = getattr(model, name)
        assert isinstance(views, list)
        assert views[0].shape == shape
        views[0][...] = 2.0
        views[1] = np.ones_like(views[1])
        assert getattr(model, name)[0].max() == 2
        assert getattr(model, name)[1].max() == 1
        setattr(model, name, [0 * view for view in views])
    assert model.predict_proba(X).tolist() == [[0.5, 0.5]] * len(X)


def test_class_weight():
    X, y = make_classification(300, 8, weights=[0.9], class_sep=0.3, random_state=0)
    names = np.where(y, "rare", "usual")
    found = {}
    for weight in (None, "balanced", {"rare": 100.0, "usual": 1.0}):
        model = MLPClassifier((5,), class_weight=weight, max_iter=100, **QUICK).fit(X, names)
        found[str(weight)] = np.mean(model.predict(X) == "rare")
    first, *others = found.values()
    assert first < min(others)
    by_sample = MLPClassifier((5,), max_iter=20, **QUICK).fit(X, names, np.where(y, 2 * 3.0, 2.0))
    both = MLPClassifier((5,), max_iter=20, class_weight={"rare": 3.0}, **QUICK).fit(X, names, np.full(len(X), 2.0))
    np.testing.assert_array_equal(by_sample.coefs_[0], both.coefs_[0])
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(class_weight="balanced").partial_fit(X, names, classes=["rare", "usual"])
    MLPClassifier(class_weight={"rare": 3.0}).partial_fit(X, names, classes=["rare", "usual"])


def test_class_weights_hold_for_chunks_without_some_class():
    X, y, *_ = samples("three classes")
    chunks = [y == 0, y > 0]
    by_class = MLPClassifier((5,), class_weight={0: 3.0, 1: 2.0}, **QUICK)
    by_sample = MLPClassifier((5,), **QUICK)
    for chunk in chunks:
        by_class.partial_fit(X[chunk], y[chunk], classes=[0, 1, 2])
        by_sample.partial_fit(X[chunk], y[chunk], np.array([3.0, 2.0, 1.0])[y[chunk]], classes=[0, 1, 2])
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    with pytest.raises(ValueError, match=r"not in classes_, \[0 1 2\]: \['none'\]"):
        MLPClassifier(class_weight={"none": 3.0}).partial_fit(X, y, classes=[0, 1, 2])
    of_each = MLPClassifier(class_weight=[{1: 2.0}] * 3, **QUICK).partial_fit(
        X, np.eye(3, dtype=int)[y], classes=range(3)
    )
    with pytest.raises(ValueError, match="number of outputs"):
        of_each.set_params(class_weight=[{1: 2.0}] * 4).partial_fit(X, np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match="multi-output"):
        of_each.set_params(class_weight={1: 2.0}).partial_fit(X, np.eye(3, dtype=int)[y])
    none_here = np.zeros((len(X), 3), dtype=int)
    none_here[0, 0] = 1
    of_each.set_params(class_weight=[{1: 2.0}] * 3).partial_fit(X, none_here)


@pytest.mark.parametrize("given", [False, True])
def test_of_a_single_class_all_predictions_are_right(given):
    X = samples("two classes")[0]
    validation = {"X_val": X, "y_val": np.zeros(len(X))} if given else {}
    model = MLPClassifier((7,), early_stopping=True, max_iter=3, **QUICK).fit(X, np.zeros(len(X)), **validation)
    assert model.validation_scores_ == [1.0] * 3


def test_tables_of_0_and_another_number_are_tables_of_0_and_1():
    X, y, *_ = samples("several labels")
    expected = MLPClassifier((5,), max_iter=3, **QUICK).fit(X, y).coefs_[0]
    for table in (y * 256, y * 2.0, sparse.csr_matrix(y * 255)):
        np.testing.assert_array_equal(MLPClassifier((5,), max_iter=3, **QUICK).fit(X, table).coefs_[0], expected)
    for table, found in ((y * 2 - 1, "-1 and 1"), (y + 1, "1 and 2")):
        with pytest.raises(ValueError, match=f"y must be a table of 0 and 1, got {found}"):
            MLPClassifier().fit(X, table)


@pytest.mark.filterwarnings("ignore:batch_size=:UserWarning")
@pytest.mark.parametrize("kind", ["three classes", "several labels"])
def test_balanced_classes_take_weight_2_for_the_row_twice_and_weight_0_for_no_row(kind, rng):
    X, y, *_ = samples(kind)
    weights = rng.integers(0, 3, len(X))
    rows = np.repeat(np.arange(len(X)), weights)
    settings = {"class_weight": "balanced", "max_iter": 20, "shuffle": False, "batch_size": 10**4, **QUICK}
    weighted = MLPClassifier((5,), **settings).fit(X, y, weights)
    repeated = MLPClassifier((5,), **settings).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)


def test_sparse_tables_of_labels_can_be_balanced():
    X, y, *_ = samples("several labels")
    one, other = (
        MLPClassifier((5,), class_weight="balanced", max_iter=3, **QUICK).fit(X, table)
        for table in (y, sparse.csr_matrix(y))
    )
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_as_many_sparse_samples_as_features(kind):
    X, y = np.eye(12), np.arange(12) % 3
    few = sparse.csr_array(X).asformat(kind)
    ours = MLPClassifier((5,), max_iter=5, **QUICK).fit(few, y, X_val=few, y_val=y)
    theirs = MLPClassifier((5,), max_iter=5, **QUICK).fit(X, y, X_val=X, y_val=y)
    np.testing.assert_allclose(ours.predict_proba(few), theirs.predict_proba(X), rtol=1e-9)


def test_rare_classes_are_held_out_by_their_share_and_never_as_a_whole(monkeypatch):
    X, y = IRIS[:120], np.r_[np.zeros(90), np.ones(29), 2].astype(int)
    parts = []
    whole = MLPClassifier._split
    monkeypatch.setattr(MLPClassifier, "_split", lambda *given: parts.append(whole(*given)) or parts[-1])
    for seed in range(5):
        MLPClassifier((3,), early_stopping=True, max_iter=1, random_state=seed).fit(X, y)
        rest, held = parts[-1]
        assert sorted([*rest, *held]) == list(range(120))
        assert np.bincount(y[held], minlength=3).tolist() == [9, 3, 0]
    assert len({tuple(held) for _, held in parts}) == 5
    few = np.r_[[0] * 10, [1] * 10, 2, 2]
    for seed in range(5):  # of a share above a half too
        settings = {"early_stopping": True, "max_iter": 1, "random_state": seed}
        MLPClassifier((3,), validation_fraction=0.8, **settings).fit(IRIS[:22], few)
        assert set(few[parts[-1][0]]) == {0, 1, 2}
    of_each = np.arange(120) % 40  # more classes than rows that are held out
    MLPClassifier((3,), early_stopping=True, max_iter=1, random_state=0).fit(X, of_each)
    rest, held = parts[-1]
    assert len(held) == 12
    assert len(set(of_each[rest])) == 40


def test_a_part_that_nothing_weighs_is_refused():
    alone = np.r_[1, np.zeros(149)]
    with pytest.raises(
        ValueError, match=r"leaves no sample to (train on|validate with) .* give X_val and y_val instead"
    ):
        MLPClassifier(early_stopping=True, random_state=0).fit(IRIS, SPECIES, alone)
    with pytest.raises(ValueError, match=r"class_weight must leave some class of y a weight, got \{0: 0\}"):
        MLPClassifier(class_weight={0: 0}).partial_fit(IRIS, np.zeros(150), classes=[0, 1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_without_a_score_the_last_parameters_stay():
    X, y, *_ = samples("regression")
    model = MLPRegressor(hidden_layer_sizes=(4,), early_stopping=True, max_iter=5, random_state=0)
    drawn = MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0).fit(X, y)
    with pytest.warns(
        ConvergenceWarning, match="No validation score was a number: the parameters are those of the last"
    ):
        model.fit(X, y, X_val=X[:1], y_val=y[:1])  # of one sample there is no coefficient of determination
    assert model.best_validation_score_ == -np.inf
    np.testing.assert_array_equal(model.coefs_[0], drawn.coefs_[0])


@pytest.mark.parametrize("labels", [np.array([-(2**63), 5]), np.array(["a", "a\0"], object)], ids=["int", "text"])
def test_classes_that_no_file_can_hold_are_learnt(labels):
    model = MLPClassifier(max_iter=3).fit(IRIS, labels[(SPECIES > 0).astype(int)])
    assert model.network_.class_names is None
    assert set(model.predict(IRIS)) <= set(labels)


def test_a_first_chunk_that_is_refused_leaves_nothing_behind():
    model = MLPClassifier()
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((3, 2), np.nan), [0, 1, 1], classes=[0, 1])
    with pytest.raises(NotFittedError):
        model.predict(IRIS)
    model.partial_fit(IRIS, SPECIES, classes=[0, 1, 2])


def test_parameters_are_assigned_all_or_none():
    model = MLPClassifier((4,), max_iter=1).fit(IRIS, SPECIES)
    before = copy.deepcopy(model.coefs_)
    for wrong, message in (
        ([before[0] + 1], "coefs_ must hold 2 arrays, one for each layer, got 1"),
        ([before[0] + 1, before[1].T], r"coefs_\[1\] must have shape \(4, 3\), got \(3, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.coefs_ = wrong
        np.testing.assert_array_equal(model.coefs_[0], before[0])
    square = MLPClassifier((4,), max_iter=1).fit(IRIS, np.arange(150) % 4)
    first, last = (weights.copy() for weights in square.coefs_)
    square.coefs_ = reversed(square.coefs_)
    np.testing.assert_array_equal(square.coefs_, [last, first])
    model.coefs_, model.intercepts_ = [2 * before[0], before[1]], [[1.0] * 4, [2.0] * 3]
    np.testing.assert_array_equal(model.coefs_[0], 2 * before[0])
    np.testing.assert_array_equal(model.intercepts_[1], [2.0] * 3)


def test_dropout_and_activations():
    model = MLPClassifier((30, 20), activations=["gelu", "silu"], dropout=[0.2, 0.1], max_iter=150, **QUICK)
    assert model.fit(IRIS, NAMES).score(IRIS, NAMES) > 0.9
    assert [layer.activation for layer in model.network_.layers] == ["gelu", "silu", "softmax"]
    assert [layer.dropout for layer in model.network_.layers] == [0.2, 0.1, 0.0]
    again = clone(model).fit(IRIS, NAMES)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    for settings in ({"activations": ["relu"]}, {"dropout": [0.1]}, {"activations": ["relu", "swish"]}):
        with pytest.raises(ValueError, match=r"layers, got|must be one of"):
            clone(model).set_params(**settings).fit(IRIS, NAMES)
    with pytest.raises(ValueError, match="dropout"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(IRIS, NAMES)


@pytest.mark.parametrize(
    "optimizer",
    ["adamw", "rmsprop", cmlp.Lion(0.001), cmlp.AdamW(0.01, weight_decay=0.1), cmlp.SGD(0.1, momentum=0.9)],
    ids=str,
)
@pytest.mark.parametrize("kind", ["three classes", "several labels"])
def test_optimizers(optimizer, kind):
    X, y, *_ = samples(kind)
    model = MLPClassifier(optimizer=optimizer, learning_rate="adaptive", solver="lbfgs", random_state=0)
    model.fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0] * 0.8
    clone(model).partial_fit(X, y, classes=model.classes_)


def test_optimizers_of_summed_losses_take_the_same_steps_as_of_means():
    X, y, *_ = samples("several labels")
    one = y[:, :1]
    for optimizer in (cmlp.RMSprop(weight_decay=0.1), cmlp.AdamW(), cmlp.SGD(0.1, 0.9, weight_decay=0.1), cmlp.Lion()):
        models = []
        for table in (one[:, 0], np.repeat(one, 2, axis=1)):
            model = MLPClassifier((), optimizer=optimizer, alpha=0.0, max_iter=10, random_state=0)
            model.fit(X, table)
            model.coefs_ = [0 * c for c in model.coefs_]
            model.intercepts_ = [0 * c for c in model.intercepts_]
            model.network_._memory.forget()
            models.append(model.set_params(warm_start=True).fit(X, table))
        np.testing.assert_allclose(models[0].coefs_[0], models[1].coefs_[0][:, :1], rtol=1e-6, atol=1e-9)
        assert models[1].loss_ == pytest.approx(2 * models[0].loss_)


def test_losses_of_regression():
    X, y, *_ = samples("regression")
    y = y.copy()
    y[::10] += 20
    settings = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "random_state": 0, "max_iter": 2000}
    square, huber = (MLPRegressor(loss, **settings).fit(X, y) for loss in ("squared_error", "huber"))
    far = np.arange(len(y)) % 10 == 0
    assert np.abs(huber.predict(X) - y)[~far].mean() < np.abs(square.predict(X) - y)[~far].mean() / 2
    assert np.abs(square.predict(X) - y).mean() > np.abs(huber.set_params(delta=0.1).fit(X, y).predict(X) - y).mean()
    settings = {"hidden_layer_sizes": (), "alpha": 0.0, "max_iter": 3000, "n_iter_no_change": np.inf, **QUICK}
    for level in (0.2, 0.5, 0.9):
        model = MLPRegressor("quantile", quantile=level, **settings).fit(X, y)
        assert np.mean(y < model.predict(X)) == pytest.approx(level, abs=0.06)
        best = QuantileRegressor(quantile=level, alpha=0).fit(X, y).predict(X)
        error = y - best
        assert model.loss_ < 1.05 * np.mean(np.maximum(level * error, (level - 1) * error))
    model = MLPRegressor("absolute_error", **settings).fit(X, y)
    assert np.mean(y < model.predict(X)) == pytest.approx(0.5, abs=0.06)
    with pytest.raises(ValueError, match="poisson"):
        MLPRegressor("poisson").fit(X, y)


def test_label_smoothing():
    for labels in (NAMES, NAMES == "setosa", np.eye(3, dtype=int)[SPECIES]):
        model = MLPClassifier((20,), label_smoothing=0.2, alpha=0.0, max_iter=300, early_stopping=True, **QUICK)
        proba = model.fit(IRIS, labels).predict_proba(IRIS)
        assert 0.5 < proba.max() < 0.97


def test_given_validation():
    X, y, *_ = samples("three classes")
    X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
    settings = {"max_iter": 60, **QUICK}
    model = MLPClassifier(early_stopping=True, **settings).fit(X_train, y_train, X_val=X_val, y_val=y_val)
    assert model.best_validation_score_ == max(model.validation_scores_) == model.score(X_val, y_val)
    watched = MLPClassifier(**settings).fit(X_train, y_train, X_val=X_val, y_val=y_val)
    plain = MLPClassifier(**settings).fit(X_train, y_train)
    assert watched.loss_curve_ == plain.loss_curve_
    assert watched.validation_scores_[-1] == watched.score(X_val, y_val)
    assert watched.validation_loss_curve_[-1] == pytest.approx(
        -np.log(watched.predict_proba(X_val)[np.arange(len(y_val)), y_val]).mean()
    )
    weights = np.random.default_rng(0).uniform(0, 2, len(y_val))
    for monitor in (None, "accuracy"):
        watched = MLPClassifier(monitor=monitor, **settings)
        watched.fit(X_train, y_train, X_val=X_val, y_val=y_val, sample_weight_val=weights)
        assert watched.validation_scores_[-1] == pytest.approx(watched.score(X_val, y_val, weights))
    for given in ({"X_val": X_val}, {"y_val": y_val}, {"sample_weight_val": weights}):
        with pytest.raises(ValueError, match="together"):
            plain.fit(X, y, **given)
    with pytest.raises(ValueError, match="classes"):
        plain.fit(X_train, y_train, X_val=X_val, y_val=y_val + 5)


def test_monitors():
    X, y, *_ = samples("two classes")
    settings = {"early_stopping": True, "n_iter_no_change": 3, **QUICK}
    by_loss = MLPClassifier(monitor="loss", **settings).fit(X, y)
    assert by_loss.validation_scores_ == [-loss for loss in by_loss.validation_loss_curve_]
    assert by_loss.best_validation_score_ == max(by_loss.validation_scores_)
    by_name = MLPClassifier(monitor="neg_log_loss", **settings).fit(X, y)
    np.testing.assert_allclose(by_name.validation_scores_, by_loss.validation_scores_)
    np.testing.assert_array_equal(by_name.coefs_[0], by_loss.coefs_[0])
    with pytest.raises(ValueError, match="nonsense"):
        MLPClassifier(monitor="nonsense", **settings).fit(X, y)


class Counting(Callback):
    """Stops after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, run):
        if run.epoch + 1 == self.epochs:
            run.stop("enough")


def test_scores_that_know_no_weights_are_taken_without():
    X, y, *_ = samples("two classes")
    weights = np.linspace(0.1, 1, len(X))
    settings = {"early_stopping": True, "max_iter": 3, **QUICK}
    by_name = MLPClassifier((5,), monitor="accuracy", **settings).fit(X, y, weights)
    with_weights = MLPClassifier(
        (5,), monitor=lambda model, X, y, sample_weight: model.score(X, y, sample_weight), **settings
    )
    assert with_weights.fit(X, y, weights).validation_scores_ == by_name.validation_scores_
    any_keyword = MLPClassifier((5,), monitor=lambda model, X, y, **more: model.score(X, y, **more), **settings)
    assert any_keyword.fit(X, y, weights).validation_scores_ == by_name.validation_scores_
    without = MLPClassifier((5,), monitor=lambda model, X, y: model.score(X, y), **settings).fit(X, y, weights)
    assert without.validation_scores_ != by_name.validation_scores_
    MLPRegressor(hidden_layer_sizes=(5,), monitor="neg_max_error", **settings).fit(X, y, weights)


def test_callbacks_and_time(recwarn):
    X, y, *_ = samples("two classes")
    model = MLPClassifier(callbacks=[Counting(3)], random_state=0)
    assert clone(model).fit(X, y).n_iter_ == 3
    assert MLPClassifier(max_time=1e-9).fit(X, y).n_iter_ == 1
    assert not [warning for warning in recwarn if issubclass(warning.category, ConvergenceWarning)]
    with pytest.raises(TypeError, match="callback"):
        MLPClassifier(callbacks=[3]).fit(X, y)


def test_lbfgs_refuses_what_it_would_not_do():
    X, y, *_ = samples("two classes")
    model = MLPClassifier(solver="lbfgs", warm_start=True, random_state=0, max_iter=5).fit(X, y)
    before = model.coefs_[0].copy()
    for settings, data, names in (
        ({"callbacks": [Counting(3)]}, {}, "callbacks"),
        ({"max_time": 1.0}, {}, "max_time"),
        ({}, {"X_val": X, "y_val": y}, "X_val, y_val"),
    ):
        message = f"solver='lbfgs' has no {names}: leave out"
        for one in (model, MLPClassifier(solver="lbfgs")):
            with pytest.raises(ValueError, match=message):
                one.set_params(**settings).fit(X, y, **data)
        assert not hasattr(one, "network_")
        model.set_params(callbacks=(), max_time=None)
    np.testing.assert_array_equal(model.coefs_[0], before)
    model.set_params(optimizer="adam", callbacks=[Counting(3)]).fit(X, y, X_val=X, y_val=y)  # not by L-BFGS then
    assert model.n_iter_ == 3


@pytest.mark.filterwarnings("default")
def test_warnings_are_at_the_line_that_calls():
    X, y, *_ = samples("regression")
    for estimator, settings, category in (
        (MLPClassifier, {"max_iter": 1}, ConvergenceWarning),
        (MLPClassifier, {"max_iter": 1, "solver": "lbfgs"}, ConvergenceWarning),
        (MLPRegressor, {"max_iter": 1}, ConvergenceWarning),
        (MLPRegressor, {"batch_size": 500, "tol": 1e9, "n_iter_no_change": 1}, UserWarning),
    ):
        with pytest.warns(category) as caught:
            estimator(**settings).fit(X, y > 0)
        assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="batch_size") as caught:
        MLPRegressor(batch_size=500).partial_fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]


def test_threads_change_nothing():
    X, y = make_classification(3000, 100, random_state=0)
    models = [MLPClassifier((200,), max_iter=2, random_state=0, n_jobs=jobs).fit(X, y) for jobs in (None, 1, 2, -1, -2)]
    for model in models[1:]:
        np.testing.assert_array_equal(model.coefs_[0], models[0].coefs_[0])
        np.testing.assert_array_equal(model.predict_proba(X), models[0].predict_proba(X))
    with pytest.raises(ValueError, match="n_jobs"):
        MLPClassifier(n_jobs=0).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("count", [1, 30, 3000])
def test_threads_are_limited_for_predictions_too(count, monkeypatch):
    X, y = make_classification(3000, 100, random_state=0)
    model = MLPClassifier((200,), max_iter=1, random_state=0, n_jobs=1).fit(X, y)
    seen, limit = [], _threads.get_num_threads

    def watched():
        seen.append(limit())
        return seen[-1]

    monkeypatch.setattr(_threads, "get_num_threads", watched)
    model.predict(X[:count])
    assert set(seen) <= {1}


def test_few_samples_are_predicted_as_many():
    for dtype in (np.float64, np.float32, np.uint8):
        X = np.random.default_rng(0).integers(0, 3, (200, 4)).astype(dtype)
        y = X[:, :2].sum(axis=1)
        for model in (MLPClassifier(max_iter=3).fit(X, y), MLPRegressor(max_iter=3).fit(X, y)):
            np.testing.assert_array_equal(model.predict(X[:1]), model.predict(X)[:1])
    model = MLPClassifier(max_iter=3).fit(IRIS, NAMES)
    bad = IRIS[:2].copy()
    bad[1, 1] = np.nan
    for X, message in ((bad, "NaN"), (IRIS[:2, :3], "features"), (IRIS[0], "2D"), (IRIS[:0], "minimum of 1")):
        with pytest.raises(ValueError, match=message):
            model.predict_proba(X)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict_proba(IRIS)


def test_verbose(capsys):
    X, y, *_ = samples("two classes")
    settings = {"solver": "sgd", "learning_rate": "adaptive", "verbose": True, "random_state": 0}
    model = MLPClassifier(tol=10.0, n_iter_no_change=1, learning_rate_init=1e-5, early_stopping=True, **settings)
    model.fit(X, y)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"Iteration 1, loss = {model.loss_curve_[0]:.8f}"
    assert out[1] == f"Validation score: {model.validation_scores_[0]:f}"
    assert "learning rate is 2e-06" in "".join(out)
    assert out[-1].endswith("training ends.")


def test_what_is_refused():
    X, y, *_ = samples("two classes")
    for settings, message in (
        ({"hidden_layer_sizes": (5, 0)}, "a size of hidden_layer_sizes must be at least 1, got 0"),
        ({"hidden_layer_sizes": 5.5}, "hidden_layer_sizes.* Got 5.5 instead"),
        ({"activations": "relu"}, "activations.* Got 'relu' instead"),
        ({"activations": ["relu"] * 2}, "activations must hold one name for each of 1 hidden layers, got .'relu', 'r"),
        ({"activation": "swish"}, "activation"),
        ({"optimizer": "rprop"}, "optimizer"),
        ({"dropout": 1.0}, "dropout"),
        ({"optimizer": cmlp.Adam}, "optimizer.*Adam'> instead"),
        ({"optimizer": cmlp.LBFGS()}, "optimizer.* an instance of 'cmlp.optimizers.SGD', .* Got LBFGS.* instead"),
        ({"class_weight": "even"}, "class_weight"),
        ({"class_weight": {0: -1.0, 1: 1.0}}, "class_weight must hold finite numbers of at least 0, got {0: -1.0"),
        ({"class_weight": {0: np.inf, 1: 1.0}}, "class_weight must hold finite numbers of at least 0, got {0: inf"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"validation_fraction": 0.001, "early_stopping": True}, "validation_fraction"),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(**settings).fit(X, y)
    for sizes, shown in (((5, 2.5), "2.5"), (("5",), "'5'"), ([True], "True"), (np.array([5.0]), "5.0")):
        with pytest.raises(TypeError, match=f"a size of hidden_layer_sizes must be a whole number, got {shown}"):
            MLPClassifier(sizes).fit(X, y)
    with pytest.raises(ValueError, match=r"Unknown label type: .* got multiclass-multioutput values"):
        MLPClassifier().fit(X, np.arange(400).reshape(200, 2))
    with pytest.raises(ValueError, match="must hold one label a sample, as before, got a table of 0 and 1"):
        MLPClassifier().partial_fit(X, y, classes=[0, 1]).partial_fit(X, np.eye(2, dtype=int)[y])
    with pytest.raises(ValueError, match="early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="classes"):
        MLPClassifier().partial_fit(X, y + 1, classes=[0, 1])
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    with pytest.warns(UserWarning, match="batch_size=500"):
        MLPClassifier(batch_size=500, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight"):
        MLPClassifier().fit(X, y, -np.ones(len(X)))


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_divergence(solver):
    X, y, *_ = samples("regression")
    settings = {"solver": solver, "activation": "identity", "random_state": 0}
    with pytest.raises(ValueError, match="not finite"):
        MLPRegressor(learning_rate_init=1e3, **settings).fit(X * 1e150, y * 1e150)


def test_early_stopping_outlives_divergence():
    X, y, *_ = samples("regression")
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model = MLPRegressor(
            solver="sgd", activation="identity", learning_rate_init=1.0, early_stopping=True, random_state=0
        ).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.best_validation_score_)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process there")
def test_interrupted():
    X, y = make_classification(2000, 100, random_state=0)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    begin = time.perf_counter()
    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier((300, 300), tol=0, max_iter=100000, random_state=0).fit(X, y)
    assert time.perf_counter() - begin < 20
    assert model.score(X, y) > 0.5


def test_linear_model_is_logistic_regression():
    X, y, *_ = samples("two classes")
    model = MLPClassifier((), solver="lbfgs", alpha=1.0, tol=1e-9, max_iter=1000, random_state=0).fit(X, y)
    other = LogisticRegression(C=1.0, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(model.coefs_[0].T, other.coef_, atol=1e-4)


def test_scikit_learn_is_imported_with_the_first_use(tmp_path):
    code = (
        "import sys, cmlp; assert 'sklearn' not in sys.modules and 'scipy' not in sys.modules;"
        "cmlp.MLPClassifier; assert 'sklearn' in sys.modules;"
        "sys.modules['sklearn.base'] = None; del sys.modules['cmlp.estimators'], cmlp.estimators;"
        "\ntry: cmlp.MLPRegressor\nexcept ImportError as error: assert 'cmlp[sklearn]' in str(error), error"
        "\nelse: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_help_goes_without_scikit_learn(tmp_path):
    assert {"MLPClassifier", "MLPRegressor"} < {*dir(cmlp)}
    code = (
        "import sys, cmlp, inspect; sys.modules['sklearn'] = None;"
        "assert not {'MLPClassifier', 'MLPRegressor'} & {*dir(cmlp)};"
        "inspect.getmembers(cmlp)"  # as help does
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
def test_steps_go_on_from_lbfgs(settings):
    fit = MLPClassifier(solver="lbfgs", warm_start=True, random_state=0, max_iter=5).fit(IRIS, SPECIES)
    fit.set_params(solver="adam", **settings).fit(IRIS, SPECIES)
    assert 1 <= fit.n_iter_ <= 5 + 5
    assert len(fit.loss_curve_) >= 1
    if not settings:
        fit = MLPClassifier(solver="lbfgs", random_state=0, max_iter=5).fit(IRIS, SPECIES)
        assert fit.set_params(solver="adam").partial_fit(IRIS, SPECIES).n_iter_ == 1


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["no", "yes", "maybe"], ["maybe", "no", "yes"]),
        ([3, 7], [3, 7]),
        ([False, True], None),
        ([0.0, 1.0], None),
    ],
)
def test_the_network_knows_the_names(labels, names, tmp_path):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(60, 2)), columns=["width", "height"]), np.resize(labels, 60)
    for warm_start in (False, True):
        fitted = cmlp.MLPClassifier(max_iter=3, random_state=0, warm_start=warm_start, hidden_layer_sizes=4).fit(X, y)
        fitted.network_.save(tmp_path / "model")
        network = cmlp.NeuralNetwork.load(tmp_path / "model")
        assert network.feature_names == ["width", "height"]
        assert network.class_names is names or network.class_names.tolist() == names
    assert cmlp.MLPClassifier(max_iter=3).fit(X.to_numpy(), np.resize(["a", "b"], 60)).network_.feature_names is None
    assert cmlp.MLPRegressor(max_iter=3).fit(X, rng.normal(size=60)).network_.class_names is None
    several = cmlp.MLPClassifier(max_iter=3).fit(X, rng.integers(0, 2, (60, 3)))
    assert several.network_.class_names is None
