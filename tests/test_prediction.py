"""Prediction of few samples and of many, into arrays of the user's own."""

import copy

import numpy as np
import pytest

from cmlp import NeuralNetwork, get_num_threads, network, set_num_threads

SIZES = [1, 2, 5, 127, 128, 129, 700]  # around network.FEW_SAMPLES, and beyond


def make(dtype, sizes=(700, 70, 40, 7), loss="cross_entropy", output="softmax"):
    nn = NeuralNetwork(loss=loss, dtype=dtype, rng=1)
    for k, n, activation in zip(sizes, sizes[1:], ("relu", "tanh", output), strict=False):
        nn.add_layer(k, n, activation)
    return nn


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("samples", SIZES)
def test_few_samples_give_the_bits_of_many(dtype, rng, monkeypatch, samples):
    X = rng.normal(size=(700, samples))
    nn = make(dtype)
    outputs, classes = nn.forward(X), nn.predict(X)
    monkeypatch.setattr(network, "FEW_SAMPLES", 0)
    nn = make(dtype)
    assert (nn.forward(X) == outputs).all()
    assert (nn.predict(X) == classes).all()
    assert (classes == outputs.argmax(axis=0)).all()


@pytest.mark.parametrize("samples", [3, 300])
@pytest.mark.parametrize("classes", [2, 3, 10, 17, 40])
def test_classes_are_those_of_numpy_in_ties_and_nan(core, dtype, rng, monkeypatch, classes, samples):
    for module in ("network", "layer", "_arrays", "_threads"):
        monkeypatch.setattr(f"cmlp.{module}.core", core)
    X = rng.integers(-1, 2, (classes, samples))
    for loss, output in (("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")):
        nn = NeuralNetwork(loss=loss, dtype=dtype)
        nn.add_layer(classes, classes, output)
        nn.layers[0].weights = np.eye(classes)
        nn.layers[0].biases = np.zeros((classes, 1))
        assert (nn.predict(X) == X.argmax(axis=0)).all()
        for unknown in (classes - 1, classes // 2, 0):  # of a softmax all are then, of sigmoids only these
            nn.layers[0].biases[unknown] = np.nan
            outputs = nn.forward(X)
            assert np.isnan(outputs[unknown]).all()
            assert (nn.predict(X) == outputs.argmax(axis=0)).all()


@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 64, 65, 200, 1030])
def test_a_single_row_gives_the_bits_of_a_tile(core, dtype, rng, monkeypatch, width):
    for module in ("network", "layer", "_arrays", "_threads"):
        monkeypatch.setattr(f"cmlp.{module}.core", core)
    for inputs in (1, 3, 255, 256, 257, 600, 1100):
        nn = make(dtype, (inputs, width), "mean_squared_error", "identity")
        X = rng.normal(size=(inputs, 20))
        whole = nn.forward(X)
        assert (np.hstack([nn.forward(X[:, i]) for i in range(20)]) == whole).all(), inputs


# From those that threads share by layers to those of which each takes some, around a tile's rows and a block's; with
# rows of weights that push each other out of the caches, and layers that are shared by their inputs, in a row or not.
# Threads take part if they happen to be awake.
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5])
def test_few_outputs_are_the_same_of_one_sample_and_of_many(core, dtype, rng, monkeypatch, outputs):
    for module in ("network", "layer", "_arrays", "_threads"):
        monkeypatch.setattr(f"cmlp.{module}.core", core)
    for inputs in (1, 2, 3, 4, 5, 17, 256, 257, 770):
        nn = NeuralNetwork(loss="mean_squared_error", dtype=dtype, rng=1)
        nn.add_layer(inputs, outputs, "identity")
        X = np.asarray(rng.normal(size=(75, inputs)), dtype).T
        alone = np.hstack([nn.forward(x) for x in X.T])
        # Summed in double, then rounded: as far off as k roundings of a partial sum can be.
        exact = nn.layers[0].weights.astype(float) @ X + nn.layers[0].biases
        size = np.abs(nn.layers[0].weights).astype(float) @ np.abs(X) + np.abs(nn.layers[0].biases)
        np.testing.assert_array_less(np.abs(alone - exact), (inputs + 2) * np.finfo(dtype).eps * size + 1e-300)
        for samples in (7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 75):
            assert (nn.forward(X[:, :samples]) == alone[:, :samples]).all(), (inputs, samples)


@pytest.mark.parametrize("sizes", [(300, 1024, 200, 3), (70, 2048, 40), (400, 512, 384, 256)], ids=str)
def test_any_number_of_samples_gives_the_bits_of_many_on_any_threads(core, dtype, rng, monkeypatch, sizes):
    for module in ("network", "layer", "_arrays", "_threads"):
        monkeypatch.setattr(f"cmlp.{module}.core", core)
    before = get_num_threads()
    activations = ("relu", "tanh", "softmax")[-len(sizes) + 1 :]
    nn = NeuralNetwork(dtype=dtype, rng=1)
    for k, n, activation in zip(sizes, sizes[1:], activations, strict=False):
        nn.add_layer(k, n, activation)
    X = rng.normal(size=(sizes[0], 4100)).astype(dtype)
    try:
        set_num_threads(1)
        outputs, classes = nn.forward(X), nn.predict(X)
        nets = {1: nn}
        for threads in (2, 16):
            set_num_threads(threads)
            nets[threads] = copy.deepcopy(nn)
            for samples in (1, 2, 3, 5, 8, 9, 15, 16, 27, 33, 64, 130, 4096):
                for _ in range(4 if samples < 40 else 1):
                    assert (nets[threads].forward(X[:, :samples]) == outputs[:, :samples]).all(), (threads, samples)
                    assert (nets[threads].predict(X[:, -samples:]) == classes[-samples:]).all(), (threads, samples)
    finally:
        set_num_threads(before)
    exact = X.astype(np.float64)
    functions = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "softmax": lambda z: np.exp(z) / np.exp(z).sum(0)}
    for layer, activation in zip(nn.layers, activations, strict=True):
        exact = functions[activation](layer.weights.astype(np.float64) @ exact + layer.biases)
    np.testing.assert_allclose(outputs, exact, atol=1e-12 if dtype == np.float64 else 2e-5)


def layouts(shape, dtype):
    yield "C", np.empty(shape, dtype)
    yield "Fortran", np.empty(shape, dtype, order="F")
    yield "every other", np.empty(tuple(2 * n for n in shape), dtype)[tuple(slice(None, None, 2) for _ in shape)]
    yield "backwards", np.empty(shape, dtype)[tuple(slice(None, None, -1) for _ in shape)]


@pytest.mark.parametrize("samples", [1, 3, 300])
def test_results_go_where_they_are_wanted(dtype, rng, samples):
    nn = make(dtype)
    X = rng.normal(size=(700, samples))
    for name, out in layouts((7, samples), dtype):
        assert nn.forward(X, out=out) is out
        assert (out == nn.forward(X)).all(), name
    for name, out in layouts((samples,), np.intp):
        assert nn.predict(X, out=out) is out
        assert (out == nn.predict(X)).all(), name
    regression = make(dtype, loss="mean_squared_error", output="identity")
    out = np.empty((7, samples), dtype)
    assert regression.predict(X, out=out) is out
    assert (out == regression.forward(X)).all()


@pytest.mark.parametrize("samples", [1, 300])
def test_an_out_that_does_not_fit_is_refused(rng, samples):
    nn = make("float32")
    X = rng.normal(size=(700, samples))
    frozen = np.empty((7, samples), np.float32)
    frozen.flags.writeable = False
    for out, error, message in (
        (np.empty((samples, 7, 1), np.float32), ValueError, "out must be writeable and have shape"),
        (np.empty((7, samples + 1), np.float32), ValueError, "out must be writeable and have shape"),
        (np.empty((6, samples), np.float32), ValueError, "out must be writeable and have shape"),
        (frozen, ValueError, "out must be writeable"),
        (np.empty((7, samples)), TypeError, "out must be an array of float32, got float64"),
        ([[0.0] * samples] * 7, TypeError, "out must be an array of float32, got list"),
    ):
        with pytest.raises(error, match=message):
            nn.forward(X, out=out)
    crooked = np.empty(28 * samples + 1, np.uint8)[1:].view(np.float32).reshape(7, samples)
    with pytest.raises(ValueError, match="out must be aligned"):
        nn.forward(X, out=crooked)
    with pytest.raises(TypeError, match="out must be an array of int"):
        nn.predict(X, out=np.empty(samples))
    with pytest.raises(ValueError, match=r"out must be writeable and have shape"):
        nn.predict(X, out=np.empty((1, samples), np.intp))


def test_few_samples_of_any_kind_are_judged_like_many(rng):
    nn = make("float32")
    x = rng.integers(0, 2, 700)
    expected = nn.predict(x)
    for kind in ("?", "i1", "u2", "f2", "f8", "g", ">f4", ">i8"):
        assert (nn.predict(x.astype(kind)) == expected).all()
    assert (nn.predict(x.tolist()) == expected).all()
    for bad, error in (
        (x.astype(complex), TypeError),
        (x.astype(object), TypeError),
        (x.astype("M8[s]"), TypeError),
        (np.ma.masked_array(x, x == 1), TypeError),
        (np.where(x, np.nan, 0), ValueError),
        (np.where(x, np.inf, 0), ValueError),
        (x[:-1], ValueError),
        (np.empty((700, 0)), ValueError),
        (np.zeros((700, 1, 1)), ValueError),
        (np.float32(1), ValueError),
    ):
        with pytest.raises(error, match="X "):
            nn.predict(bad)


def test_few_samples_follow_the_network_as_it_is(rng):
    nn = make("float64", (4, 3))
    x = rng.normal(size=4)
    nn.forward(x)
    nn.input_scale = 2.0
    nn.layers[0].weights[...] = 1
    whole = nn.layers[0].weights @ (2 * x)
    assert nn.forward(x)[:, 0] == pytest.approx(np.maximum(whole, 0))
    nn.add_layer(3, 2, "softmax")
    assert nn.forward(x).shape == (2, 1)


def test_an_out_of_no_dimensions_is_refused(rng):
    nn = make("float32")
    for X in (rng.normal(size=700), rng.normal(size=(700, 1))):
        with pytest.raises((ValueError, TypeError), match="out"):
            nn.predict(X, out=np.empty((), np.intp))
