"""The notebook's own code on cmlp, its text unchanged, against the NumPy reference from the same first weights."""

import contextlib
import io

import numpy as np
import pytest

from cmlp import NeuralNetwork, get_accuracy, one_hot, reference, reLU, softmax

CELL = """
EPOCHS=200
nn=NeuralNetwork()
nn.add_layer(784,30,reLU)
nn.add_layer(30,20,reLU)
nn.add_layer(20,10,softmax)
for i in range(EPOCHS):

    nn.train(X_train,Y_train,0.1)
    if i % 10 == 0:
        predictions=nn.predict(X_test)
        print("Epoch: ", i)
        print("Accuracy",get_accuracy(predictions,Y_test))
"""


@pytest.fixture
def digits(rng):
    """Ten blurred blobs that a network can tell apart, in the notebook's shapes."""
    centres = rng.uniform(0, 1, (784, 10))
    y = rng.integers(0, 10, 700)
    X = np.clip(centres[:, y] + rng.normal(0, 0.5, (784, 700)), 0, 1)
    return {"X_train": X[:, :500], "Y_train": y[:500], "X_test": X[:, 500:], "Y_test": y[500:]}


def test_the_training_cell_runs_as_it_stands(digits):
    names = {"NeuralNetwork": NeuralNetwork, "reLU": reLU, "softmax": softmax, "get_accuracy": get_accuracy, **digits}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(CELL, names)
    lines = printed.getvalue().splitlines()
    assert lines[::2] == [f"Epoch:  {epoch}" for epoch in range(0, 200, 10)]
    accuracies = [float(line.removeprefix("Accuracy ")) for line in lines[1::2]]
    assert accuracies[-1] > 0.9 > accuracies[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_notebooks_network_learns_what_the_reference_learns(digits, dtype):
    nn = NeuralNetwork(dtype=dtype, rng=0)
    for k, n, activation in ((784, 30, reLU), (30, 20, reLU), (20, 10, softmax)):
        nn.add_layer(k, n, activation, init="uniform")
    weights = [layer.weights.astype(float) for layer in nn.layers]
    biases = [layer.biases.astype(float) for layer in nn.layers]
    oracle = reference.Network(weights, biases, ["relu", "relu", "softmax"], "cross_entropy")
    X, Y = digits["X_train"], one_hot(digits["Y_train"], 10)
    for _ in range(50):
        nn.train(X, digits["Y_train"], 0.1)
        oracle.train(X, Y, 0.1)
    for layer, W in zip(nn.layers, oracle.weights, strict=True):
        assert np.abs(layer.weights - W).max() < (1e-10 if dtype == "float64" else 1e-4) * np.abs(W).max()
