"""The first weights: their spread, their bounds and their seeds."""

import numpy as np
import pytest

from cmlp import NeuralNetwork
from cmlp._init import INITIALISERS

VARIANCE = {
    "he_normal": 2 / 400,
    "he_uniform": 2 / 400,
    "glorot_normal": 2 / 700,
    "glorot_uniform": 2 / 700,
    "lecun_normal": 1 / 400,
    "lecun_uniform": 1 / 400,
    "uniform": 1 / 12,
}
LIMIT = {
    "he_uniform": np.sqrt(6 / 400),
    "glorot_uniform": np.sqrt(6 / 700),
    "lecun_uniform": np.sqrt(3 / 400),
    "uniform": 0.5,
}


def layer(init, rng=0, activation="relu"):
    nn = NeuralNetwork(rng=rng)
    nn.add_layer(400, 300, activation, init=init)
    return nn.layers[0]


@pytest.mark.parametrize("init", INITIALISERS)
def test_weights_have_the_variance_of_the_paper(init):
    weights, biases = layer(init).weights, layer(init).biases
    assert np.var(weights) == pytest.approx(VARIANCE[init], rel=0.02)
    assert abs(weights.mean()) < 4 * np.sqrt(VARIANCE[init] / weights.size)
    assert (biases != 0).any() == (init == "uniform")
    if init in LIMIT:
        assert 0.99 * LIMIT[init] < np.abs(weights).max() <= LIMIT[init]


@pytest.mark.parametrize("rng", [3, np.random.default_rng(3)])
def test_a_seed_and_its_generator_give_the_same_weights(rng):
    assert (layer("he_normal", rng).weights == layer("he_normal", 3).weights).all()


def test_without_a_seed_weights_differ():
    assert (layer(None, None).weights != layer(None, None).weights).any()


@pytest.mark.parametrize(("activation", "init"), [("relu", "he_uniform"), ("tanh", "glorot_uniform")])
def test_the_default_suits_the_activation(activation, init):
    assert (layer(None, 1, activation).weights == layer(init, 1, activation).weights).all()
