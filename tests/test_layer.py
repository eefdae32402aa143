"""DenseLayer by hand, as the notebook's NeuralNetwork uses it."""

import numpy as np
import pytest

from cmlp import DenseLayer, NeuralNetwork, one_hot, reference
from cmlp import layer as _layer

SIZES = (7, 5, 4)


def layers(rng, dtype, hidden):
    first = DenseLayer(7, 5, hidden, is_first=True, dtype=dtype, rng=rng)
    second = DenseLayer(5, 4, "softmax", dtype=dtype, rng=rng, input_activation=hidden)
    return first, second


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("hidden", reference.ACTIVATIONS)
def test_steps_by_hand_equal_the_reference(dtype, rng, hidden):
    X, y = rng.normal(size=(7, 23)), rng.integers(0, 4, 23)
    first, second = layers(rng, dtype, hidden)
    parameters = ([layer.weights.astype(float) for layer in (first, second)], [np.zeros((5, 1)), np.zeros((4, 1))])
    oracle = reference.Network(*parameters, [hidden, "softmax"], "cross_entropy")
    for _ in range(5):
        z1, a1 = first.forward_pass(X)
        z2, a2 = second.forward_pass(a1)
        Zs, As = oracle.forward(X)
        for ours, theirs in ((z1, Zs[0]), (a1, As[1]), (z2, Zs[1]), (a2, As[2])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 if dtype == np.float32 else 1e-13)
            assert ours.dtype == dtype
        dz = second.backprop(a2 - one_hot(y, 4), z1, a1, 23, 0.5)
        assert first.backprop(dz, X, X, 23, 0.5) is None
        oracle.train(X, one_hot(y, 4), 0.5)
    for layer, W, b in zip((first, second), oracle.weights, oracle.biases, strict=True):
        np.testing.assert_allclose(layer.weights, W, rtol=1e-4, atol=1e-5 if dtype == np.float32 else 1e-13)
        np.testing.assert_allclose(layer.biases, b, rtol=1e-4, atol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("neurons", [1, 8, 15, 16, 32])
@pytest.mark.parametrize("m", [1, 5])
def test_z_and_its_activation_are_two_arrays(dtype, rng, neurons, m):
    layer = DenseLayer(4, neurons, "sigmoid", dtype=dtype, rng=rng)
    X = rng.normal(size=(4, m))
    z, a = layer.forward_pass(X)
    np.testing.assert_allclose(z, layer.weights @ X, rtol=1e-5)
    np.testing.assert_allclose(a, reference.sigmoid(layer.weights @ X), rtol=1e-5)


@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, lambda X: (8 * X).astype(np.int8)])
def test_samples_in_parts_are_those_at_once(dtype, rng, convert, monkeypatch):
    X, z, dz = (convert(rng.normal(size=(rows, 50))) for rows in (6, 6, 3))
    done = []
    for elements in (1 << 20, 7 * 9):
        monkeypatch.setattr(_layer, "CHUNK", elements)
        layer = DenseLayer(6, 3, "tanh", dtype=dtype, rng=0)
        done.append([*layer.forward_pass(X), layer.backprop(dz, z, X, 50, 0.1), layer.weights, layer.biases])
    off = 1e-5 if dtype == np.float32 else 1e-13
    for whole, parts in zip(*done, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=off, atol=off)


def test_numbers_that_no_parameter_can_be_are_refused():
    layer = DenseLayer(3, 2, "relu", rng=0)
    before = layer.weights.copy()
    with pytest.raises(ValueError, match=r"weights holds 1e\+300, too large for float32, at \[1, 2\]"):
        layer.weights = [[0, 0, 0], [0, 0, 1e300]]
    with pytest.raises(ValueError, match=r"biases holds NaN at \[1, 0\]"):
        layer.biases = [[0], [np.nan]]
    assert (layer.weights == before).all()
    assert not layer.biases.any()


def test_the_gradient_handed_on_is_that_of_before_the_step(rng):
    layer = DenseLayer(3, 2, "identity", dtype="float64", rng=0, input_activation="tanh")
    weights, z, dz = layer.weights.copy(), rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    handed_on = layer.backprop(dz, z, np.tanh(z), 4, 100.0)
    np.testing.assert_allclose(handed_on, weights.T @ dz * (1 - np.tanh(z) ** 2), rtol=1e-13)


ONES = {rows: np.ones((rows, 4)) for rows in (2, 3)}
CALLS = {
    "input must have 3 rows": lambda layer: layer.forward_pass(ONES[2]),
    "dz must have 2 rows": lambda layer: layer.backprop(ONES[3], ONES[3], ONES[3], 4, 0.1),
    "z_value must have 3 rows": lambda layer: layer.backprop(ONES[2], ONES[2], ONES[3], 4, 0.1),
    "as many columns, got 4 and 5": lambda layer: layer.backprop(ONES[2], ONES[3], np.ones((3, 5)), 4, 0.1),
    "batch_size must be at least 1": lambda layer: layer.backprop(ONES[2], ONES[3], ONES[3], 0, 0.1),
}


@pytest.mark.parametrize("message", CALLS)
def test_bad_arguments_are_refused_and_change_nothing(message):
    layer = DenseLayer(3, 2, "relu", rng=0)
    before = layer.weights.copy()
    with pytest.raises(ValueError, match=message):
        CALLS[message](layer)
    assert (layer.weights == before).all()


def test_sparse_samples_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"input is sparse, and steps by hand take arrays: input.toarray\(\), perhaps"):
        DenseLayer(3, 2, "relu").forward_pass(sparse.csr_array(ONES[3]))


@pytest.mark.parametrize("name", ["input_size", "neurons", "activation", "input_activation", "is_first", "init"])
def test_what_the_network_is_built_upon_cannot_be_assigned(rng, name):
    nn = NeuralNetwork(rng=0)
    nn.add_layer(3, 2, "relu", dropout=0.5)
    nn.add_layer(2, 2, "softmax")
    X, layer = rng.normal(size=(3, 5)), nn.layers[0]
    before, outputs = getattr(layer, name), nn.forward(X)
    with pytest.raises(AttributeError, match=f"^{name} of a layer cannot be changed.*make a network with another"):
        setattr(layer, name, "tanh")
    assert getattr(layer, name) == before
    assert (nn.forward(X) == outputs).all()


def test_weights_that_are_assigned_may_lie_anywhere(rng):
    layer = DenseLayer(3, 2, "tanh")
    weights = rng.normal(size=(2, 3)).astype(np.float32)
    crooked = np.empty(weights.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(2, 3)
    crooked[...] = weights
    layer.weights = crooked
    np.testing.assert_array_equal(layer.weights, weights)
    X = np.empty(12 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(3, 4)
    X[...] = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(layer.forward_pass(X)[1], layer.forward_pass(X.copy())[1])


def test_repr_is_how_it_is_made():
    assert repr(DenseLayer(3, 2, "relu")) == "DenseLayer(3, 2, 'relu')"
