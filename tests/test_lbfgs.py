"""L-BFGS: the minimum that a closed form gives, and what it leaves behind when it does not get there."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize

import cmlp
from cmlp import LBFGS, NeuralNetwork, training
from cmlp._lbfgs import minimise
from cmlp.training import Shaping


def build(dtype="float64", loss="mean_squared_error", sizes=(5, 3), activations=("identity",), **dropout):
    nn = NeuralNetwork(loss, dtype, np.random.default_rng(5))
    for number, activation in enumerate(activations):
        nn.add_layer(sizes[number], sizes[number + 1], activation, **dropout)
    return nn


def regression(rng, nn, m=60):
    """Samples with noise, and X and Y in columns."""
    X, Y = rng.normal(size=(5, m)) * [[1], [2], [0.5], [1], [3]] + 1, rng.normal(size=(3, m))
    return nn._data(X, Y), X, Y


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("penalty", [0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_regression_ends_at_the_closed_form(dtype, rng, penalty, weighted):
    nn = build(dtype)
    samples, X, Y = regression(rng, nn)
    share = rng.uniform(0, 1, X.shape[1]) if weighted else np.ones(X.shape[1])
    samples = samples._replace(weights=share if weighted else None)
    share = share / share.sum()
    losses = minimise(nn, samples, LBFGS(100, tolerance=1e-10), Shaping(l2=penalty))["loss"]
    # sum_i share_i mean_j (W x_i + b - y_i)_j^2 + penalty / 2 |W|^2 is least where its gradient is 0.
    rows = np.vstack([X, np.ones(X.shape[1])])
    ridge = np.diag([*[penalty * len(Y) / 2] * len(X), 0])
    best = np.linalg.solve((rows * share) @ rows.T + ridge, (rows * share) @ Y.T)
    close = 1e-7 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(nn.layers[0].weights, best[:-1].T, rtol=close, atol=close)
    np.testing.assert_allclose(nn.layers[0].biases[:, 0], best[-1], rtol=close, atol=close)
    error = best[:-1].T @ X + best[-1:].T - Y
    least = (share * (error**2).mean(axis=0)).sum() + penalty / 2 * (best[:-1] ** 2).sum()
    assert losses[-1] == pytest.approx(least, rel=1e-12 if dtype == np.float64 else 1e-5)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == training.loss_and_gradient(nn, samples, Shaping(l2=penalty))[0]


def test_hidden_layers_are_trained_to_the_tolerance(rng):
    nn = build(loss="cross_entropy", sizes=(5, 8, 3), activations=("tanh", "softmax"))
    samples = nn._data(rng.normal(size=(5, 90)), rng.integers(0, 3, 90))
    minimise(nn, samples, LBFGS(500, tolerance=1e-6), Shaping(l2=0.01))
    assert np.abs(training.loss_and_gradient(nn, samples, Shaping(l2=0.01))[1]).max() <= 1e-6


def test_iterations_are_counted(rng):
    for lbfgs, epochs, expected in ((LBFGS(3), 10, 3), (LBFGS(), 4, 4), (LBFGS(50, tolerance=1e30), 10, 1)):
        nn = build(loss="cross_entropy", sizes=(5, 8, 3), activations=("tanh", "softmax"))
        samples = nn._data(rng.normal(size=(5, 90)), rng.integers(0, 3, 90))
        before = training.loss_and_gradient(nn, samples)[0]
        history = minimise(nn, samples, lbfgs, epochs=epochs)
        losses = history["loss"]
        assert len(losses) == len(history["seconds"]) == expected
        assert (history.stopped or "").startswith("L-BFGS ended: CONVERGENCE" if lbfgs.tolerance > 1 else "")
        assert (history.stopped is None) == (lbfgs.tolerance < 1)
        assert losses[-1] == training.loss_and_gradient(nn, samples)[0]
        assert losses[-1] < before or lbfgs.tolerance > 1


def test_the_settings_reach_scipy(rng, monkeypatch):
    seen = []
    monkeypatch.setattr(scipy.optimize, "minimize", lambda *_, **given: seen.append(given["options"]) or 1 / 0)
    nn = build()
    with pytest.raises(ZeroDivisionError):
        minimise(nn, regression(rng, nn)[0], LBFGS(7, 0.5, 3))
    assert [seen[0][name] for name in ("maxiter", "gtol", "maxcor")] == [7, 0.5, 3]


def test_another_optimizer_begins_anew_afterwards(rng):
    nn = build()
    samples, X, Y = regression(rng, nn)
    nn.fit(X, Y, epochs=1)
    minimise(nn, samples, LBFGS())
    assert nn._memory.moments is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError])
def test_an_exception_leaves_the_last_iteration(error, rng, monkeypatch):
    nn = build()
    samples, _, _ = regression(rng, nn)
    gradient, minimize, passes, reached = training.loss_and_gradient, scipy.optimize.minimize, [], []

    def fail(*given):
        passes.append(nn._params.copy())
        if len(passes) == 7:
            raise error
        return gradient(*given)

    def watched(*given, callback, **named):
        def watching(intermediate_result):  # SciPy looks at the name
            callback(intermediate_result)
            reached.append(intermediate_result.x.copy())

        return minimize(*given, callback=watching, **named)

    monkeypatch.setattr(training, "loss_and_gradient", fail)
    monkeypatch.setattr(scipy.optimize, "minimize", watched)
    with pytest.raises(error):
        minimise(nn, samples, LBFGS(50))
    np.testing.assert_array_equal(nn._params, reached[-1], strict=True)
    assert (nn._params != passes[-1]).any()


def test_a_loss_that_is_not_finite_changes_nothing(rng):
    nn = build("float32")
    samples, X, Y = regression(rng, nn)
    before = nn._params.copy()
    X[2, 1] = np.inf
    with pytest.raises(ValueError, match=r"X holds infinity at \[2, 1\]"):
        minimise(nn, samples, LBFGS())
    np.testing.assert_array_equal(nn._params, before, strict=True)
    before[:] = nn._params[:] = np.where(before == 0, before, 3e38)
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        minimise(nn, nn._data(rng.normal(size=X.shape), Y), LBFGS())
    np.testing.assert_array_equal(nn._params, before, strict=True)


@pytest.mark.parametrize("name", ["l1", "clip_value", "clip_norm", "max_norm"])
def test_what_it_cannot_follow_is_refused(name, rng):
    nn = build()
    before = nn._params.copy()
    with pytest.raises(ValueError, match=f"not with {name}"):
        minimise(nn, regression(rng, nn)[0], LBFGS(), Shaping(**{name: 0.1}))
    nn = build(sizes=(5, 4), activations=("tanh",), dropout=0.5)
    nn.add_layer(4, 3, "identity")
    with pytest.raises(ValueError, match="not with dropout"):
        minimise(nn, regression(rng, nn)[0], LBFGS())
    np.testing.assert_array_equal(build()._params, before, strict=True)


SETTINGS = {
    "max_iter zero": ({"max_iter": 0}, "max_iter must be at least 1"),
    "max_iter a fraction": ({"max_iter": 1.5}, "max_iter must be a whole number"),
    "tolerance negative": ({"tolerance": -1}, "tolerance must be finite, at least 0"),
    "tolerance NaN": ({"tolerance": np.nan}, "tolerance must be finite, at least 0"),
    "no history": ({"history_size": 0}, "history_size must be at least 1"),
    "history null": ({"history_size": None}, "history_size must be a whole number"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_out_of_range_are_refused(case):
    settings, expected = SETTINGS[case]
    with pytest.raises((ValueError, TypeError), match=expected):
        LBFGS(**settings)


def test_a_missing_library_is_named(rng, monkeypatch):
    nn = build()
    samples, X, Y = regression(rng, nn)
    nn.fit(X, Y, epochs=1)
    before = nn._params.copy(), nn._memory.taken
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "cmlp\[lbfgs\]"'):
        minimise(nn, samples, LBFGS())
    np.testing.assert_array_equal(nn._params, before[0], strict=True)
    assert nn._memory.taken == before[1]


def test_scipy_is_imported_when_it_is_used(tmp_path):
    code = "import sys, cmlp, cmlp._lbfgs; cmlp.LBFGS(); sys.exit('scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_fit_goes_the_same_way(rng):
    ours, theirs = build(), build()
    samples, X, Y = regression(rng, theirs)
    history = ours.fit(X, Y, epochs=7, optimizer="lbfgs", l2=0.1)
    assert history["loss"] == minimise(theirs, samples, LBFGS(7), Shaping(l2=0.1))["loss"]
    assert list(history) == ["loss", "seconds"]
    assert (ours._params == theirs._params).all()
    again = ours.fit(X, Y, optimizer=LBFGS(3), sample_weight=np.ones(60))
    assert len(again["loss"]) <= 3


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 0.1},
        {"validation_fraction": 0.1},
        {"validation_data": ([[0.0]], [[0.0]])},
        {"max_time": 1},
        {"callbacks": [cmlp.callbacks.Callback()]},
        {"schedule": cmlp.schedules.Constant()},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_fit_refuses_what_means_nothing_to_it(rng, setting):
    nn = build()
    before = nn._params.copy()
    with pytest.raises(ValueError, match=f"L-BFGS has no {next(iter(setting))}"):
        nn.fit(rng.normal(size=(5, 9)), rng.normal(size=(3, 9)), optimizer="lbfgs", **setting)
    assert (nn._params == before).all()


def test_where_it_cannot_go_down_the_history_says_so(rng):
    nn = build()
    samples, _, _ = regression(rng, nn)
    minimise(nn, samples, LBFGS(100, tolerance=1e-9))
    before = nn._params.copy()
    history = minimise(nn, samples, LBFGS(100, tolerance=1e-3))
    assert history["loss"] == [training.loss_and_gradient(nn, samples)[0]]
    assert history.stopped.startswith("L-BFGS ended: CONVERGENCE")
    assert (nn._params == before).all()


def test_verbose_shows_each_iteration(rng, capsys):
    nn = build()
    _, X, Y = regression(rng, nn)
    history = nn.fit(X, Y, epochs=3, optimizer="lbfgs", verbose=1)
    lines = capsys.readouterr().out.splitlines()
    expected = [f"epoch {number}/3  loss {loss:.4f}  " for number, loss in enumerate(history["loss"], 1)]
    assert [line.startswith(start) for line, start in zip(lines, expected, strict=True)] == [True] * 3
    nn.fit(X, Y, epochs=3, optimizer="lbfgs")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda nn, *data: nn.partial_fit(*data, optimizer="lbfgs"),
            ValueError,
            "'lion', or in fit 'lbfgs', got 'lbfgs'",
        ),
        (lambda nn, *data: nn.partial_fit(*data, optimizer=LBFGS()), TypeError, r"or in fit .* got LBFGS\("),
        (lambda nn, *data: nn.fit(*data, optimizer="bfgs"), ValueError, "or in fit 'lbfgs', got 'bfgs'"),
        (lambda nn, *data: nn.fit(*data, batch_size=0, optimizer="lbfgs"), ValueError, "batch_size must be at least 1"),
    ],
    ids=["partial", "instance", "unknown", "batch"],
)
def test_it_is_named_where_it_is_and_is_not(rng, call, error, message):
    nn = build()
    before = nn._params.copy()
    with pytest.raises(error, match=message):
        call(nn, rng.normal(size=(5, 9)), rng.normal(size=(3, 9)))
    assert (nn._params == before).all()
