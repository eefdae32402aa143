"""Gradients against differences of the loss, and that a wrong gradient is seen."""

import numpy as np
import pytest

import cmlp
from cmlp import CrossEntropy, Huber, NeuralNetwork, Quantile, _dispatch, check_gradients, reference, training

core = _dispatch.core
CASES = [("tanh", loss, output) for loss, outputs in reference.PAIRS.items() for output in outputs]
CASES += [(hidden, "cross_entropy", "softmax") for hidden in core.ACTIVATIONS if hidden != "tanh"]
KINKS = {"relu", "leaky_relu", "hard_swish"}


def build(loss="cross_entropy", activations=("tanh", "softmax"), sizes=(5, 4, 3), dtype="float64", **settings):
    nn = NeuralNetwork(loss, dtype, np.random.default_rng(3), **settings)
    for number, activation in enumerate(activations):
        nn.add_layer(sizes[number], sizes[number + 1], activation, init="glorot_normal")
        nn.layers[-1].biases = nn.rng.normal(size=(sizes[number + 1], 1)) / 10
    return nn


def problem(loss="cross_entropy", sizes=(5, 4, 3), m=7):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(sizes[0], m))
    return X, rng.integers(0, sizes[-1], m) if loss == "cross_entropy" else rng.uniform(0, 1, (sizes[-1], m))


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize(("hidden", "loss", "output"), CASES)
def test_gradients_of_every_activation_and_loss_are_right(keep, hidden, loss, output):
    nn = build(loss, (hidden, output))
    errors = check_gradients(nn, *problem(loss), step=1e-5 if KINKS & {hidden, output} else 1e-4)
    assert list(errors) == ["layers.0.weights", "layers.0.biases", "layers.1.weights", "layers.1.biases"]
    keep("`check_gradients`, every activation and loss", max(errors.values()))
    assert max(errors.values()) < 1e-7, errors


SETTINGS = {  # what else the gradient depends on
    "label smoothing": {"loss": CrossEntropy(0.2)},
    "delta": {"loss": Huber(0.3), "activations": ("tanh", "identity")},
    "levels": {"loss": Quantile((0.1, 0.5, 0.9)), "activations": ("silu", "identity")},
    "scale": {"input_scale": 3.0, "input_shift": 0.5},
    "a scale for each": {"input_scale": np.arange(1, 6), "input_shift": np.arange(5)},
    "float32": {"dtype": "float32"},
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_right_whatever_is_set(case, weighted):
    nn = build(**SETTINGS[case])
    X, y = problem(nn.loss, (5, 4, 1) if case == "levels" else (5, 4, 3))
    errors = check_gradients(nn, X, y, sample_weight=[0, 1, 2, 0.5, 3, 1, 1] if weighted else None)
    assert max(errors.values()) < 1e-8


def test_the_network_is_as_it_was():
    nn = NeuralNetwork(rng=0)
    nn.add_layer(5, 40, "relu", dropout=0.5)
    nn.add_layer(40, 3, "softmax")
    X, y = problem()
    nn.fit(X, y, epochs=2)
    before = nn._params.tobytes(), nn._memory.moments.tobytes(), nn._memory.taken, str(nn.rng.bit_generator.state)
    assert max(check_gradients(nn, X, y).values()) < 1e-8  # and without dropout
    after = nn._params.tobytes(), nn._memory.moments.tobytes(), nn._memory.taken, str(nn.rng.bit_generator.state)
    assert before == after
    assert [layer.dropout for layer in nn.layers] == [0.5, 0]
    assert nn.dtype == np.float32


def test_of_a_large_array_some_numbers_are_looked_at(monkeypatch):
    passes = []
    right = NeuralNetwork._measure
    monkeypatch.setattr(NeuralNetwork, "_measure", lambda *given: passes.append(1) or right(*given))
    nn = build(sizes=(60, 4, 3))
    assert max(check_gradients(nn, *problem(sizes=(60, 4, 3))).values()) < 1e-8
    assert len(passes) == 4 * (200 + 4 + 12 + 3)


@pytest.mark.parametrize("array", range(4))
@pytest.mark.parametrize("wrong", ["a sign", "a factor", "a number"])
def test_a_wrong_gradient_shows_in_its_own_array(array, wrong, monkeypatch):
    nn = build()
    _, places = list(cmlp.checks._arrays_of(nn))[array]
    right = training.loss_and_gradient

    def spoilt(*given):
        loss, gradient = right(*given)
        if wrong == "a number":
            gradient[places[1]] += 0.1
        else:
            gradient[places] *= -1 if wrong == "a sign" else 1.01
        return loss, gradient

    monkeypatch.setattr(training, "loss_and_gradient", spoilt)
    errors = list(check_gradients(nn, *problem()).values())
    assert errors.pop(array) > 5e-3
    assert max(errors) < 1e-8


def test_a_gradient_of_zero_is_no_error():
    nn = build("mean_squared_error", ("relu", "identity"))
    nn.layers[0].biases[:] = -100
    X, Y = problem("mean_squared_error")
    errors = check_gradients(nn, X, Y)
    assert errors["layers.0.weights"] == errors["layers.0.biases"] == errors["layers.1.weights"] == 0
    assert errors["layers.1.biases"] < 1e-8


@pytest.mark.parametrize("step", [0, 1, -1e-4, np.nan, "1e-4"])
def test_steps_that_are_none_are_refused(step):
    with pytest.raises((ValueError, TypeError), match="step must be"):
        check_gradients(build(), *problem(), step=step)


def test_data_that_do_not_fit_are_refused():
    X, y = problem()
    with pytest.raises(ValueError, match="one number for each sample"):
        check_gradients(build(), X, y, sample_weight=[1])
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"X holds NaN at \[0, 0\]"):
        check_gradients(build(), X, y)
