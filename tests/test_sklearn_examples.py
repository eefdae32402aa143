"""What scikit-learn's user guide, reference and gallery show of its perceptrons, by its classes and by cmlp's."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network as theirs
from sklearn.datasets import (
    load_digits,
    load_iris,
    load_wine,
    make_circles,
    make_classification,
    make_moons,
    make_regression,
)
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

import cmlp

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",  # as the examples do
    "ignore:SCIPY_ARRAY_API",
)


@pytest.fixture(autouse=True)
def one_thread():
    """The products are so small that threads of a BLAS would only wait for one another."""
    with threadpool_limits(1):
        yield


def both(name, **settings):
    """The estimator of that name, of either library."""
    return [getattr(library, name)(**settings) for library in (cmlp, theirs)]


def split(X, y, stratified=False):
    """Samples to train and to test with, as the reference has them."""
    return train_test_split(X, y, random_state=1, stratify=y if stratified else None)


POINTS = [[0.0, 0.0], [1.0, 1.0]]
LBFGS = {"solver": "lbfgs", "alpha": 1e-5, "random_state": 1}

# Estimator, its settings, samples to train and to test with; what is predicted for the first of these, the least score,
# and the shapes of the weights.
SHOWN = {
    "two classes": (
        "MLPClassifier",
        {**LBFGS, "hidden_layer_sizes": (5, 2)},
        (POINTS, [[2.0, 2.0], [-1.0, -2.0]], [0, 1], [1, 0]),
        ([1, 0], 1.0),
        [(2, 5), (5, 2), (2, 1)],
    ),
    "several labels": (
        "MLPClassifier",
        {**LBFGS, "hidden_layer_sizes": (15,)},
        (POINTS, [[1.0, 2.0], [0.0, 0.0]], [[0, 1], [1, 1]], [[1, 1], [0, 1]]),
        ([[1, 1], [0, 1]], 1.0),
        [(2, 15), (15, 2)],
    ),
    "classifier": (
        "MLPClassifier",
        {"random_state": 1, "max_iter": 300},
        split(*make_classification(n_samples=100, random_state=1), stratified=True),
        ([1, 0, 1, 0, 1], 0.8),
        [(20, 100), (100, 1)],
    ),
    "regressor": (
        "MLPRegressor",
        {"random_state": 1, "max_iter": 2000, "tol": 0.1},
        split(*make_regression(n_samples=200, n_features=20, random_state=1)),
        ([28.98, -291], 0.975),
        [(20, 100), (100, 1)],
    ),
}


@pytest.mark.parametrize("example", SHOWN)
def test_the_guide_and_the_reference(example):
    name, settings, (X_train, X_test, y_train, y_test), (predicted, least), shapes = SHOWN[example]
    ours, other = (model.fit(X_train, y_train) for model in both(name, **settings))
    for model in (ours, other):
        np.testing.assert_allclose(model.predict(X_test[: len(predicted)]), predicted, rtol=2e-3)
        assert model.score(X_test, y_test) >= least
        assert [weights.shape for weights in model.coefs_] == shapes
    assert ours.score(X_test, y_test) == pytest.approx(other.score(X_test, y_test), abs=1e-6)
    if name == "MLPClassifier":
        np.testing.assert_allclose(ours.predict_proba(X_test), other.predict_proba(X_test), atol=1e-3)
    if "solver" not in settings:
        np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-6)


def test_the_tip_to_scale_features():
    X_train, X_test, y_train, y_test = split(*load_wine(return_X_y=True))
    scaler = StandardScaler().fit(X_train)
    for X, Z, low, high in ((X_train, X_test, 0, 0.8), (scaler.transform(X_train), scaler.transform(X_test), 0.95, 1)):
        ours, other = (m.fit(X, y_train).score(Z, y_test) for m in both("MLPClassifier", max_iter=100, random_state=1))
        assert ours == other
        assert low <= ours <= high


def test_the_tip_to_search_for_alpha():
    X, y = load_iris(return_X_y=True)
    grid = {"mlpclassifier__alpha": 10.0 ** -np.arange(1, 7)}
    scores = []
    for model in both("MLPClassifier", solver="sgd", learning_rate_init=0.1, max_iter=30, random_state=1):
        search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=3).fit(X, y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_allclose(*scores, atol=1e-9)
    assert min(scores[0]) > 0.9


def test_the_tip_to_train_an_epoch_at_a_time():
    losses = []
    for model in both("MLPClassifier", hidden_layer_sizes=(15,), random_state=1, max_iter=1, warm_start=True):
        for _ in range(10):
            model.fit(POINTS, [0, 1])
        assert (model.n_iter_, len(model.loss_curve_)) == (1, 10)
        losses.append(model.loss_curve_)
    # scikit-learn's Adam begins anew with every fit; cmlp's goes on.
    np.testing.assert_allclose(*losses, rtol=0.02)
    assert (np.diff(losses) < 0).all()


X, y = make_classification(n_features=2, n_redundant=0, n_informative=2, random_state=0, n_clusters_per_class=1)
SHAPES = {
    "moons": make_moons(noise=0.3, random_state=0),
    "circles": make_circles(noise=0.2, factor=0.5, random_state=1),
    "nearly a line": (X + 2 * np.random.RandomState(2).uniform(size=X.shape), y),
}
ALPHAS = np.logspace(-1, 1, 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gallery_varies_alpha(shape):
    X, y = SHAPES[shape]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
    axes = [np.linspace(column.min() - 0.5, column.max() + 0.5, 40) for column in X.T]
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    contrasts = []
    for alpha in ALPHAS:
        models = both(
            "MLPClassifier",
            solver="lbfgs",
            alpha=alpha,
            random_state=1,
            max_iter=2000,
            early_stopping=True,
            hidden_layer_sizes=[10, 10],
        )
        ours, other = (make_pipeline(StandardScaler(), model).fit(X_train, y_train) for model in models)
        assert ours.score(X_test, y_test) == pytest.approx(other.score(X_test, y_test), abs=0.1)
        # The losses have several minima, and rounding decides to which of them a search comes, but for a large alpha.
        surfaces = [model.predict_proba(grid)[:, 1] for model in (ours, other)]
        assert np.abs(surfaces[0] - surfaces[1]).mean() < (0.1 if alpha < 1 else 0.01)
        contrasts.append([surface.std() for surface in surfaces])
    assert (np.diff(contrasts, axis=0) < 1e-9).all()


CURVES = {
    "iris": load_iris(return_X_y=True),
    "digits": load_digits(return_X_y=True),
    "circles": SHAPES["circles"],
    "moons": SHAPES["moons"],
}
SGD = {"solver": "sgd", "learning_rate_init": 0.2}
STRATEGIES = {
    "constant": {**SGD, "momentum": 0},
    "constant, momentum": {**SGD, "nesterovs_momentum": False},
    "constant, Nesterov": {**SGD, "nesterovs_momentum": True},
    "inverse scaling": {**SGD, "learning_rate": "invscaling", "momentum": 0},
    "inverse scaling, momentum": {**SGD, "learning_rate": "invscaling", "nesterovs_momentum": False},
    "inverse scaling, Nesterov": {**SGD, "learning_rate": "invscaling", "nesterovs_momentum": True},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}


@pytest.mark.parametrize("data", CURVES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_gallery_compares_training_curves(data, strategy):
    X, y = CURVES[data]
    X = MinMaxScaler().fit_transform(X)
    settings = {"random_state": 0, "max_iter": 15 if data == "digits" else 400, **STRATEGIES[strategy]}
    ours, other = (model.fit(X, y) for model in both("MLPClassifier", **settings))
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-6)
    assert ours.loss_ == ours.loss_curve_[-1]
    assert ours.score(X, y) == other.score(X, y)
