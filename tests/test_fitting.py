"""The fit loop: weights, parts set aside, penalties and bounds, dropout, what is continued and what is put back."""

import copy
import pickle
import signal
import tracemalloc
import types
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from cmlp import (
    SGD,
    Adam,
    AdamW,
    History,
    NeuralNetwork,
    _threads,
    _validate_data,
    callbacks,
    get_num_threads,
    one_hot,
    reference,
    set_num_threads,
    setting_aside,
    training,
)
from cmlp._dispatch import core as CORE
from cmlp.schedules import Step
from cmlp.training import Samples, Shaping, steps

SIZES = (6, 5, 3)


def make(rng=0, sizes=SIZES, loss="cross_entropy", output="softmax", dropout=0.0, dtype="float64", hidden="tanh"):
    nn = NeuralNetwork(loss=loss, rng=rng, dtype=dtype)
    for k, n in pairwise(sizes[:-1]):
        nn.add_layer(k, n, hidden, dropout=dropout)
    nn.add_layer(sizes[-2], sizes[-1], output)
    return nn


def oracle_of(nn, **penalties):
    """The same network in the reference."""
    weights, biases = [layer.weights for layer in nn.layers], [layer.biases for layer in nn.layers]
    return reference.Network(weights, biases, [layer.activation for layer in nn.layers], nn.loss, **penalties)


def distance(nn, oracle):
    pairs = [(layer.weights, W) for layer, W in zip(nn.layers, oracle.weights, strict=True)]
    pairs += [(layer.biases, b) for layer, b in zip(nn.layers, oracle.biases, strict=True)]
    return max(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-3) for ours, theirs in pairs)


def bits(nn):
    return nn._params.tobytes()


def batches(m, size, epochs=1):
    return [slice(i, min(i + size, m)) for _ in range(epochs) for i in range(0, m, size)]


@pytest.fixture
def data(rng):
    return rng.normal(size=(6, 53)), rng.integers(0, 3, 53)


@pytest.fixture
def threads():
    before = get_num_threads()
    yield set_num_threads
    set_num_threads(before)


TAKE = {
    "train": lambda nn, X, y, w: nn.train(X, y, 0.3, sample_weight=w),
    "fit": lambda nn, X, y, w: nn.fit(
        X, y, 3, len(X.T), Adam(0.01), shuffle=False, sample_weight=w, l2=0.01, clip_norm=0.5
    )["loss"],
    "partial_fit": lambda nn, X, y, w: nn.partial_fit(X, y, 1000, shuffle=False, sample_weight=w)["loss"],
    "evaluate": lambda nn, X, y, w: list(nn.evaluate(X, y, w).values()),
}


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize(
    ("loss", "output"), [("cross_entropy", "softmax"), ("mean_squared_error", "identity"), ("huber", "tanh")]
)
def test_weight_2_is_the_row_twice_and_weight_0_is_no_row(rng, keep, take, loss, output):
    X, y = rng.normal(size=(6, 200)), rng.integers(0, 3, 200)
    y = y if loss == "cross_entropy" else one_hot(y, 3)
    w = rng.integers(0, 3, 200)
    weighted, repeated = make(loss=loss, output=output), make(loss=loss, output=output)
    ours = TAKE[take](weighted, X, y, w)
    theirs = TAKE[take](repeated, np.repeat(X, w, axis=1), np.repeat(y, w, axis=-1), None)
    keep("parameters by weights 2 and 0, and by rows twice and none", np.abs(weighted._params - repeated._params))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_allclose(weighted._params, repeated._params, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_only_the_ratios_of_weights_count(data, rng, scale):
    X, y = data
    w = rng.uniform(size=53)
    one, other = make(), make()
    assert one.fit(X, y, 2, 10, sample_weight=w)["loss"] == pytest.approx(
        other.fit(X, y, 2, 10, sample_weight=w * scale)["loss"]
    )
    np.testing.assert_allclose(one._params, other._params, rtol=1e-9)


@pytest.mark.parametrize("regime", ["fused", "wide"])
@pytest.mark.parametrize("scale", [1e-290, 1e-41, 1e38, 1e290])  # of weights, and the smallest numbers, of either type
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_far_from_1_count_as_their_ratios_do(data, regime, scale, dtype):
    X, y = data
    of_sum = Shaping(l2=0.1 * scale, l2_of_sum=True), Shaping(l2=0.1, l2_of_sum=True)
    w = 2.0 ** -np.arange(53)  # each batch weighs a thousandth of the one before
    one, other = make(dtype=dtype), make(dtype=dtype)
    for nn, weights, shaping in zip((one, other), (w * scale, w), of_sum, strict=True):
        nn._regime = regime
        nn.fit(X, y, 2, 10, sample_weight=weights, shuffle=False)
        steps(nn, nn._data(X, y, weights), 10, SGD(0.1), np.zeros((1, 1), dtype), 0, shaping=shaping)
    np.testing.assert_allclose(one._params, other._params, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-30)


def test_a_share_set_aside_and_the_rest_weigh_something(data):
    X, y = data
    nn = make()
    before = bits(nn), nn.rng.bit_generator.state, nn._aside
    with pytest.raises(ValueError, match=r"leaves no sample to (train on|validate with) whose weight"):
        nn.fit(X, y, 2, 10, sample_weight=np.arange(53) == 0, validation_fraction=0.5)
    assert (bits(nn), nn.rng.bit_generator.state, nn._aside) == before


def test_weighted_batches_equal_the_reference(data, rng):
    X, y = data
    w = rng.uniform(0.1, 3, 53)
    nn = make()
    oracle = oracle_of(nn)
    history = nn.fit(X, y, 4, 10, Adam(0.01), shuffle=False, sample_weight=w, validation_data=(X, y, w))
    Y = one_hot(y, 3)
    losses = oracle.optimize([(X[:, i], Y[:, i], w[i]) for i in batches(53, 10, 4)], "adam", learning_rate=0.01)
    assert distance(nn, oracle) < 1e-12
    by_batch = [w[i].sum() for i in batches(53, 10)]
    assert history["loss"][-1] == pytest.approx(np.average(losses[-6:], weights=by_batch))
    assert history["val_loss"][-1] == pytest.approx(oracle.loss_value(X, Y, w))
    assert history["val_accuracy"][-1] == pytest.approx(np.average(oracle.predict(X) == y, weights=w))


def test_class_weights_multiply_those_of_the_samples(data, rng):
    X, y = data
    w = rng.uniform(0.1, 3, 53)
    one, other = make(), make()
    one.fit(X, y, 2, 10, sample_weight=w, class_weight={0: 2.0, np.int64(2): 0})
    other.fit(X, y, 2, 10, sample_weight=w * np.array([2.0, 1.0, 0.0])[y])
    assert bits(one) == bits(other)
    one.partial_fit(X, y, class_weight={0: 2.0})
    other.partial_fit(X, y, sample_weight=np.array([2.0, 1.0, 1.0])[y])
    assert bits(one) == bits(other)


def test_balanced_classes_count_the_same(data):
    X, _ = data
    y = np.repeat([0, 2], [43, 10])  # a class that is not there has no part in the mean
    one, other = make(), make()
    one.fit(X, y, 2, 10, class_weight="balanced")
    other.fit(X, y, 2, 10, class_weight={0: 53 / (2 * 43), 2: 53 / (2 * 10)})
    assert bits(one) == bits(other)


def test_balanced_classes_take_weight_2_for_the_row_twice_and_weight_0_for_no_row(data, rng):
    X, y = data
    w = rng.integers(0, 3, 53)
    rows = np.repeat(np.arange(53), w)
    one, other = make(), make()
    for nn, samples, weights in ((one, (X, y), {"sample_weight": w}), (other, (X[:, rows], y[rows]), {})):
        nn.fit(*samples, 2, 100, shuffle=False, class_weight="balanced", **weights)
        nn.train(*samples, 0.1, class_weight="balanced", **weights)
    np.testing.assert_allclose(one._params, other._params, rtol=1e-9, atol=1e-12)
    found = one.evaluate(X, y, w, "balanced")
    assert found == pytest.approx(other.evaluate(X[:, rows], y[rows], class_weight="balanced"))
    by_hand = one.evaluate(X, y, w * (w.sum() / (3 * np.bincount(y, w)))[y])
    assert found == pytest.approx(by_hand)
    assert found != pytest.approx(one.evaluate(X, y, w))


def test_steps_by_hand_and_measuring_weigh_classes(data):
    X, y = data
    weights = {0: 2.0, 2: 0.5}
    of_each = np.array([2.0, 1.0, 0.5])[y]
    one, other = make(), make()
    assert one.train(X, y, 0.1, class_weight=weights) == other.train(X, y, 0.1, of_each)
    assert bits(one) == bits(other)
    assert one.evaluate(X, y, class_weight=weights) == other.evaluate(X, y, of_each)
    with pytest.raises(ValueError, match="class_weight must be for labels from 0 to 2, got 3"):
        one.evaluate(X, y, class_weight={3: 1.0})


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5, 0.9])
def test_every_class_gives_its_share(rng, classes, fraction):
    shares = rng.dirichlet(np.ones(classes))
    y = np.concatenate([np.arange(classes), rng.choice(classes, 400, p=shares)])
    samples = Samples(np.zeros((len(y), 1)), y, None)
    wanted = _validate_data.part_of(fraction, y, len(y))
    assert wanted == min(round(fraction * len(y)), len(y) - classes)
    rest, part = setting_aside.split(samples, wanted, rng)
    assert sorted([*rest.order, *part.order]) == list(range(len(y)))
    whole, given, kept = (np.bincount(y[of], minlength=classes) for of in (slice(None), part.order, rest.order))
    assert kept.min() >= 1
    assert given.sum() == wanted
    if fraction <= 0.5:  # no class gave less for the sake of its last sample
        assert np.abs(given - whole * wanted / len(y)).max() < 1


def test_the_same_samples_validate_until_it_starts_over(data, monkeypatch):
    parts = []
    whole = setting_aside.split
    monkeypatch.setattr(setting_aside, "split", lambda *given: parts.append(whole(*given)) or parts[-1])
    nn = make()
    for epochs in (1, 2):
        nn.fit(*data, epochs, validation_fraction=0.3)
    nn.reset()
    nn.fit(*data, 1, validation_fraction=0.3)
    first, second, third = (part.order.tolist() for _, part in parts)
    assert first == second
    assert third != first
    nn.reset()
    state = nn.rng.bit_generator.state
    spoiled = data[0].copy()
    spoiled[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        nn.fit(spoiled, data[1], 1, validation_fraction=0.3)
    assert (nn._aside, nn.rng.bit_generator.state) == (None, state)


def test_a_part_is_drawn_from_the_generator():
    y = np.repeat(np.arange(4), 25)
    samples = Samples(np.zeros((100, 1)), y, None)
    parts = [setting_aside.split(samples, 20, np.random.default_rng(seed))[1].order for seed in (1, 1, 2)]
    assert (parts[0] == parts[1]).all()
    assert (parts[0] != parts[2]).any()
    seen = {i for seed in range(60) for i in setting_aside.split(samples, 20, np.random.default_rng(seed))[1].order}
    assert seen == set(range(100))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_a_fraction_equals_validation_data(data, rng, loss, shuffle):
    X, y = data
    w = rng.uniform(0.1, 2, 53)
    y = y if loss == "cross_entropy" else one_hot(y, 3)
    output = "softmax" if loss == "cross_entropy" else "identity"
    one, other = make(loss=loss, output=output), make(loss=loss, output=output)
    ours = one.fit(X, y, 3, 10, shuffle=shuffle, sample_weight=w, validation_fraction=0.3)
    samples = Samples(X.T, y if loss == "cross_entropy" else None, None)
    aside = np.random.default_rng(int(other.rng.integers(2**63)))
    rest, part = (some.order for some in setting_aside.split(samples, 16, aside))
    theirs = other.fit(
        X[:, rest],
        y[..., rest],
        3,
        10,
        shuffle=shuffle,
        sample_weight=w[rest],
        validation_data=(X[:, part], y[..., part], w[part]),
    )
    assert bits(one) == bits(other)
    for name in set(ours) - {"seconds"}:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-14)


@pytest.mark.usefixtures("two_processors")
def test_setting_aside_copies_nothing(rng):
    X = rng.integers(0, 256, (784, 10_000), dtype=np.uint8)
    nn = make(sizes=(784, 20, 10), dtype="float32")
    tracemalloc.start()
    nn.fit(X, rng.integers(0, 10, 10_000), 1, validation_fraction=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6  # X is 7.8 MB as it is, half of it in float32 would be 16 MB


def shaped_step(oracle, X, Y, rate, clip_value=None, clip_norm=None, max_norm=None):
    """A step of gradient descent with bounds."""
    gradients = oracle.gradients(X, Y)
    if clip_value is not None:
        gradients = [tuple(np.clip(g, -clip_value, clip_value) for g in pair) for pair in gradients]
    if clip_norm is not None:
        length = np.sqrt(sum((g**2).sum() for pair in gradients for g in pair))
        gradients = [tuple(g * min(1, clip_norm / length) for g in pair) for pair in gradients]
    for layer, (dW, db) in enumerate(gradients):
        oracle.weights[layer] = oracle.weights[layer] - rate * dW
        oracle.biases[layer] = oracle.biases[layer] - rate * db
        if max_norm is not None:
            lengths = np.linalg.norm(oracle.weights[layer], axis=1, keepdims=True)
            oracle.weights[layer] *= np.minimum(1, max_norm / lengths)


SHAPES = [
    {"l1": 0.02},
    {"l2": 0.3},
    {"l1": 0.01, "l2": 0.1},
    {"clip_value": 0.01},
    {"clip_norm": 0.1},
    {"max_norm": 0.8},
    {"l1": 0.02, "l2": 0.1, "clip_value": 0.02, "clip_norm": 0.05, "max_norm": 1.0},
]


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("regime", CORE.REGIMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_penalties_and_bounds_equal_the_reference(rng, shape, regime):
    X, y = rng.normal(size=(20, 90)), rng.integers(0, 3, 90)
    nn = make(sizes=(20, 33, 3))
    nn._regime = regime
    penalties = {name: shape[name] for name in shape if name in ("l1", "l2")}
    bounds = {name: shape[name] for name in shape if name not in penalties}
    oracle, Y = oracle_of(nn, **penalties), one_hot(y, 3)
    before = oracle.loss_value(X[:, :30], Y[:, :30])
    history = nn.fit(X, y, 4, 30, SGD(0.5), shuffle=False, **shape)
    for i in batches(90, 30, 4):
        shaped_step(oracle, X[:, i], Y[:, i], 0.5, **bounds)
    assert distance(nn, oracle) < 1e-11
    nn = make(sizes=(20, 33, 3))
    assert nn.fit(X[:, :30], y[:30], 1, 30, SGD(0.5), **shape)["loss"][0] == pytest.approx(before)
    assert len(history["loss"]) == 4


def test_penalties_with_moments_equal_the_reference(data):
    X, y = data
    nn = make()
    oracle, Y = oracle_of(nn, l1=0.01, l2=0.1), one_hot(y, 3)
    nn.fit(X, y, 3, 10, AdamW(0.01), shuffle=False, l1=0.01, l2=0.1)
    steps = [(X[:, i], Y[:, i]) for i in batches(53, 10, 3)]
    oracle.optimize(steps, "adamw", learning_rate=0.01, weight_decay=0.01)
    assert distance(nn, oracle) < 1e-11


def kept(rate, n, seed, m=1):
    """What a layer of n ones is multiplied by in m steps of one sample each, seen in the step of the weights behind."""
    nn = NeuralNetwork("mean_squared_error", "float64", rng=seed)
    nn.add_layer(1, n, "identity", dropout=rate)
    nn.add_layer(n, 1, "identity")
    found = []
    for _ in range(m):
        nn.layers[0].weights, nn.layers[0].biases = np.zeros((n, 1)), np.ones((n, 1))
        nn.layers[1].weights, nn.layers[1].biases = np.zeros((1, n)), np.zeros((1, 1))
        nn.fit(np.zeros((1, 1)), np.ones((1, 1)), 1, 1, SGD(0.5))  # the gradient of (a - 1)^2 is -2
        found.append(nn.layers[1].weights[0].copy())
    return np.array(found)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_leaves_out_its_share(rate):
    factors = kept(rate, 500, 3, 40)
    assert set(np.unique(factors.round(12))) == {0.0, np.round(1 / (1 - rate), 12)}
    # 5 standard deviations of a share, and of the mean of as many factors
    spread = 5 * np.sqrt(rate * (1 - rate) / factors.size)
    assert abs((factors == 0).mean() - rate) < spread
    assert abs(factors.mean() - 1) < spread / (1 - rate)
    assert np.abs((factors == 0).mean(axis=0) - rate).max() < 6 * np.sqrt(rate * (1 - rate) / 40)
    assert np.abs(np.corrcoef(factors)[np.triu_indices(40, 1)]).max() < 6 / np.sqrt(500)


def test_dropout_draws_anew_for_each_epoch_and_seed():
    one, same_seed, other = kept(0.5, 50, 1, 2), kept(0.5, 50, 1, 2), kept(0.5, 50, 2, 2)
    assert (one == same_seed).all()
    assert (one[0] != one[1]).any()
    assert (one != other).any()


@pytest.mark.parametrize("take", ["train", "fit", "partial_fit"])
def test_dropout_can_be_assigned(data, take):
    X, y = data
    step = {
        "train": lambda nn: nn.train(X, y, 0.1),
        "fit": lambda nn: nn.fit(X, y, 2, 10)["loss"],
        "partial_fit": lambda nn: nn.partial_fit([(X, y)] * 2)["loss"],
    }[take]
    nn, twin, plain = make(), make(dropout=0.4), make()
    nn.layers[0].dropout = 0.4
    assert step(nn) == step(twin) != step(plain)
    assert bits(nn) == bits(twin)
    nn.layers[0].dropout = 0.0
    with pytest.raises(ValueError, match=r"dropout must be .* less than 1, got 1"):
        nn.layers[0].dropout = 1.0
    undropped = make()
    undropped._params[:] = nn._params
    assert nn.train(X, y, 0.1) == undropped.train(X, y, 0.1)
    nn.layers[-1].dropout = 0.5
    before = bits(nn)
    with pytest.raises(ValueError, match="the last layer cannot have dropout"):
        step(nn)
    assert bits(nn) == before


def test_a_callback_may_assign_dropout(data):
    X, y = data

    def drop(run):
        run.network.layers[0].dropout = 0.4

    nn, twin = make(), make()
    nn.fit(X, y, 3, 10, callbacks=[callbacks.LambdaCallback(on_epoch_end=drop)])
    twin.fit(X, y, 1, 10)
    twin.layers[0].dropout = 0.4
    twin.fit(X, y, 2, 10)
    assert bits(nn) == bits(twin)


def test_dropout_is_for_training_alone(data):
    X, y = data
    with_it, without = make(dropout=0.5), make()
    assert (with_it.forward(X) == without.forward(X)).all()
    assert with_it.evaluate(X, y) == without.evaluate(X, y)
    assert with_it.train(X, y, 0.1) != without.train(X, y, 0.1)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("sizes", [(30, 64, 40, 5), (50, 330, 260, 5)])
def test_dropout_has_the_same_bits_for_any_threads_and_regime(dtype, threads, monkeypatch, sizes):
    monkeypatch.setattr("cmlp._threads.threads_for", lambda *_: _threads.get_num_threads())
    rng = np.random.default_rng(1)
    batch = 130 if max(sizes) > 300 else 390  # so that a step of either is several blocks
    X, y = rng.normal(size=(sizes[0], 3 * batch + 10)), rng.integers(0, 5, 3 * batch + 10)
    results = set()
    for regime in CORE.REGIMES:
        for number in (1, 2, 3):
            threads(number)
            nn = make(sizes=sizes, dropout=0.3, dtype=dtype, hidden="relu")
            nn._regime = regime
            nn.fit(X, y, 2, batch)
            results.add(bits(nn))
    assert len(results) == 1


@pytest.mark.parametrize("hidden", ["tanh", "sigmoid"])
@pytest.mark.parametrize("regime", ["fused", "wide"])
def test_dropout_has_the_gradient_of_central_differences(rng, regime, hidden):
    nn = make(sizes=(5, 6, 4, 3), dropout=0.4, hidden=hidden)
    nn._regime = regime
    X, y = rng.normal(size=(5, 9)), rng.integers(0, 3, 9)
    samples, none, start = nn._data(X, y), np.empty((1, 1)), nn._params.copy()

    def step(params, rate):
        """The loss with one mask, and the parameters after a step."""
        nn._params[:] = params
        loss, _, _ = training.steps(nn, samples, 9, SGD(rate), none, 0, seed=11)
        return loss, nn._params.copy()

    gradient = start - step(start, 1.0)[1]
    numeric, h = np.empty_like(start), 1e-3
    for i in range(start.size):
        unit = h * (np.arange(start.size) == i)
        low2, low, high, high2 = (step(start + k * unit, 1e-9)[0] for k in (-2, -1, 1, 2))
        numeric[i] = (low2 - 8 * low + 8 * high - high2) / (12 * h)
    assert np.abs(gradient - numeric).max() < 1e-9
    assert (gradient != 0).any()


OPTIMIZERS = ["sgd", SGD(0.1, momentum=0.9), "adam", "adamw", "rmsprop", "lion"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("shuffle", [False, True])
def test_two_fits_are_one_longer_fit(data, optimizer, shuffle):
    X, y = data
    one, other = make(dropout=0.2), make(dropout=0.2)
    whole = one.fit(X, y, 5, 10, optimizer, shuffle=shuffle)
    halves = [other.fit(X, y, epochs, 10, optimizer, shuffle=shuffle) for epochs in (2, 3)]
    assert bits(one) == bits(other)
    assert whole["loss"] == halves[0]["loss"] + halves[1]["loss"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_continues_too(data, duplicate):
    X, y = data
    nn = make()
    nn.fit(X, y, 2, 10)
    other = duplicate(nn)
    for each in (nn, other):
        each.fit(X, y, 2, 10)
    assert bits(nn) == bits(other)


@pytest.mark.parametrize("first", [SGD(0.1), Adam(0.01)], ids=repr)
def test_an_optimizer_of_another_kind_begins_anew(data, first):
    X, y = data
    nn = make()
    nn.fit(X, y, 2, 10, first)
    oracle, momentum = oracle_of(nn), SGD(0.1, momentum=0.9)
    nn.fit(X, y, 2, 10, momentum, shuffle=False)
    Y = one_hot(y, 3)
    oracle.optimize([(X[:, i], Y[:, i]) for i in batches(53, 10, 2)], "sgd", **vars(momentum))
    assert distance(nn, oracle) < 1e-11


def test_reset_starts_over(data):
    X, y = data
    nn = NeuralNetwork(rng=4)
    nn.add_layer(6, 5, "tanh", init="uniform")
    nn.add_layer(5, 3, "softmax", init="he_normal")
    start = bits(nn)
    first = nn.fit(X, y, 3, 10)["loss"]
    nn.rng = np.random.default_rng(4)
    nn.reset()
    assert bits(nn) == start
    assert nn.layers[0].init == "uniform"
    assert nn.fit(X, y, 3, 10)["loss"] == first
    nn.reset()
    assert bits(nn) != start


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_chunks_of_whole_batches_are_one_epoch(rng, optimizer):
    X, y, w = rng.normal(size=(6, 90)), rng.integers(0, 3, 90), rng.uniform(0.1, 2, 90)
    one, other = make(), make()
    whole = one.fit(X, y, 1, 10, optimizer, shuffle=False, sample_weight=w)
    chunks = ((X[:, i], y[i], w[i]) for i in (slice(0, 30), slice(30, 80), slice(80, 90)))
    history = other.partial_fit(chunks, batch_size=10, optimizer=optimizer, shuffle=False)
    assert bits(one) == bits(other)
    assert isinstance(history, History)
    assert list(history) == ["loss", "accuracy", "learning_rate", "seconds"]
    weights = [w[:30].sum(), w[30:80].sum(), w[80:].sum()]
    assert np.average(history["loss"], weights=weights) == pytest.approx(whole["loss"][0])
    one.fit(X, y, 1, 90, optimizer, shuffle=False)
    other.partial_fit(X, y, 90, optimizer, shuffle=False)
    assert bits(one) == bits(other)


def test_chunks_take_flat_memory():
    def chunks(number):
        rng = np.random.default_rng(0)
        for _ in range(number):
            yield rng.normal(size=(100, 1000)), rng.integers(0, 3, 1000)  # 0.8 MB

    peaks = []
    for number in (4, 40):
        nn = make(sizes=(100, 5, 3))
        tracemalloc.start()
        nn.partial_fit(chunks(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e5


def test_a_bad_chunk_leaves_what_those_before_it_taught(data):
    X, y = data
    spoiled = X.copy()
    spoiled[2, 50] = np.nan
    for bad, error, message in [
        ((spoiled, y), ValueError, r"X holds NaN at \[2, 50\]"),
        ((X[:5], y), ValueError, "6 rows"),
        (X, TypeError, r"each chunk must be \(X, y\).*got ndarray"),
    ]:
        one, other = make(), make()
        with pytest.raises(error, match=message):
            one.partial_fit([(X, y), bad], batch_size=10)
        other.partial_fit([(X, y)], batch_size=10)
        assert bits(one) == bits(other)
        assert one.partial_fit(X, y)["loss"] == other.partial_fit(X, y)["loss"]  # moments and generator too


REFUSED_STEPS = {
    "NaN": (lambda X, y: (np.where(np.arange(53) == 50, np.nan, X), y, 0.1), ValueError, "X holds NaN"),
    "shape": (lambda X, y: (X, y[:2], 0.1), ValueError, "y must have the outputs' shape"),
    "rate": (lambda X, y: (X, y, -1.0), ValueError, "learning_rate must be"),
    "loss": (lambda X, y: (X * 1e200, y, 0.1), FloatingPointError, "no step was taken"),
    "step": (lambda X, y: (X * 1e5, y, 1e308), FloatingPointError, "would lead to"),
    "next loss": (lambda X, y: (X, y, 1e300), FloatingPointError, "was taken back"),
}


@pytest.mark.parametrize("case", REFUSED_STEPS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", SGD(0.1, momentum=0.9)], ids=repr)
def test_a_step_that_is_refused_changes_nothing(data, case, dropout, optimizer):
    X, y = data[0], one_hot(data[1], 3)
    give, error, message = REFUSED_STEPS[case]
    nn, twin = (make(0, SIZES, "mean_squared_error", "identity", dropout, hidden="relu") for _ in range(2))
    for each in (nn, twin):
        each.fit(X, y, 2, 10, optimizer)
    with pytest.raises(error, match=message):
        nn.train(*give(X, y))
    assert bits(nn) == bits(twin)
    assert nn.rng.bit_generator.state == twin.rng.bit_generator.state
    assert nn.fit(X, y, 2, 10, optimizer)["loss"] == twin.fit(X, y, 2, 10, optimizer)["loss"]  # moments and steps too
    assert bits(nn) == bits(twin)


def test_nan_found_on_the_way_changes_nothing(data):
    X, y = data
    nn, twin = make(), make()
    for each in (nn, twin):
        each.fit(X, y, 2, 10)
    spoiled = X.copy()
    spoiled[3, 52] = np.inf
    with pytest.raises(ValueError, match=r"X holds infinity at \[3, 52\]"):
        nn.fit(spoiled, y, 2, 10, validation_fraction=0.1, shuffle=False)
    whole = {"batch_size": 10, "validation_fraction": 0.98}  # the column is in the part that validates
    with pytest.raises(ValueError, match=r"^X holds infinity at \[3, 52\]"):
        nn.fit(spoiled, y, 2, **whole)
    with pytest.raises(ValueError, match="monitor must be one of"):
        nn.fit(X, y, 2, **whole, callbacks=[callbacks.EarlyStopping("f1")])
    with pytest.raises(ValueError, match="X of validation_data holds infinity"):
        nn.fit(X, y, 2, 10, validation_data=(spoiled, y))
    for optimizer in ("adam", "rmsprop", "sgd"):  # a single step: with the same moments, with others, with none
        with pytest.raises(ValueError, match="X holds infinity"):
            nn.partial_fit(spoiled, y, 53, optimizer)
        with pytest.raises(ValueError, match="X holds infinity"):
            nn.fit(spoiled, y, 1, 53, optimizer)
        with pytest.raises(ValueError, match="X of validation_data holds infinity"):
            nn.fit(X, y, 1, 53, optimizer, validation_data=(spoiled, y))
    assert bits(nn) == bits(twin)
    assert nn.fit(X, y, 2, 10)["loss"] == twin.fit(X, y, 2, 10)["loss"]


def test_a_step_can_be_taken_back_when_the_next_chunk_needs_more_room(rng):
    nn = NeuralNetwork("mean_squared_error", rng=0)
    nn.add_layer(2, 300, "exp")
    nn.add_layer(300, 1, "identity")
    before = nn._params.copy()
    chunks = [(rng.normal(size=(2, 10)), rng.normal(size=10)), (1e3 * rng.normal(size=(2, 700)), rng.normal(size=700))]
    with pytest.raises(
        FloatingPointError, match="step 1 led to a loss that is not a finite float32: it was taken back"
    ):
        nn.partial_fit(iter(chunks), optimizer="sgd", learning_rate=1e-3, batch_size=1000)
    np.testing.assert_array_equal(nn._params, before)


@pytest.mark.parametrize("train", ["train", "fit"])
def test_the_last_step_is_looked_at_if_the_inputs_are_huge(train):
    nn = NeuralNetwork("mean_absolute_error", rng=0)
    nn.add_layer(1, 1, "identity")
    nn.layers[0].weights = [[1.0]]
    fit = nn.train if train == "train" else lambda X, y, rate: nn.fit(X, y, 1, optimizer="sgd", learning_rate=rate)
    with pytest.raises(FloatingPointError, match="step 1 led to a loss that is not a finite float32"):
        fit([[1e37]], [[0.0]], 1e-35)
    assert nn.layers[0].weights == 1


def test_weights_are_no_denormal_numbers(data):
    X, y = data
    nn = make()
    with pytest.raises(ValueError, match="sample_weight must hold a number of at least 1e-290, got 53 up to 1e-308"):
        nn.fit(X, y, 1, sample_weight=np.full(len(y), 1e-308))


@pytest.mark.parametrize(("rate", "far"), [(10.0, False), (17.8, True), (30.0, True)])
def test_a_step_of_many_layers_does_not_go_where_the_loss_is_not_finite(rate, far):
    refused = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        nn = make(seed, (4, *[32] * 22, 3), dtype="float32", hidden="identity")
        X, y = 5 * rng.normal(size=(4, 20)), rng.integers(0, 3, 20)
        before = bits(nn)
        try:
            nn.train(X, y, rate)
        except FloatingPointError:
            refused += 1
            assert bits(nn) == before
        assert np.isfinite(nn.evaluate(X, y)["loss"])
    assert (refused > 0) is far


def test_beside_a_training_only_what_belongs_together_is_copied(data, tmp_path):
    pytest.importorskip("safetensors")
    nn = make(dtype="float32")
    nn.fit(*data, 2)
    path, parameters = tmp_path / "nn.safetensors", bits(nn)
    with nn._memory.owner, ThreadPoolExecutor(1) as other:
        for twin in (other.submit(copy.deepcopy, nn).result(), pickle.loads(other.submit(pickle.dumps, nn).result())):
            assert bits(twin) == parameters
            assert twin.optimizer is None  # moments are of a time, parameters of another
            twin.fit(*data, 1)
        with pytest.raises(
            RuntimeError, match="another thread is training this network: save it from a callback there"
        ):
            other.submit(nn.save, path).result()
        other.submit(nn.save, path, training_state=False).result()
        assert copy.deepcopy(nn).optimizer == Adam()
    assert bits(NeuralNetwork.load(path)) == parameters
    assert nn.optimizer == Adam()


def test_a_generator_of_another_kind_is_put_back(data):
    X, y = data
    nn, other = make(), np.random.Generator(np.random.MT19937(0))
    before = nn.rng, nn.rng.bit_generator.state

    def chunks():
        nn.rng = other
        yield np.full_like(X, np.nan), y

    with pytest.raises(ValueError, match="X holds NaN"):
        nn.partial_fit(chunks())
    assert nn.rng is other
    wrong = (np.where(np.arange(53) == 52, np.nan, X), y)
    look = callbacks.LambdaCallback(on_train_begin=lambda run: setattr(run.network, "rng", other))
    with pytest.raises(ValueError, match="X holds NaN"):
        make().fit(*wrong, 1, 20, callbacks=[look])
    assert before[1] == before[0].bit_generator.state


def test_weights_have_a_finite_sum(data):
    X, y = data
    nn = make()
    with pytest.raises(ValueError, match=r"sample_weight must have a finite sum: got \d+ numbers up to 1e\+308"):
        nn.fit(X, y, 1, sample_weight=np.full(len(y), 1e308))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_plain_descent_has_nothing_to_lose_when_it_is_interrupted(data, momentum, monkeypatch):
    nn, optimizer, schedule = make(), SGD(0.1, momentum), Step(every_steps=2)

    def interrupt(*_):
        raise KeyboardInterrupt

    calls = iter([CORE.train, CORE.train, interrupt])
    monkeypatch.setattr(training, "core", types.SimpleNamespace(**vars(CORE) | {"train": lambda *a: next(calls)(*a)}))
    with pytest.raises(KeyboardInterrupt):
        nn.fit(*data, 3, 20, optimizer, schedule=schedule)
    remembered = nn.optimizer, nn.schedule, nn._memory.taken
    assert remembered == ((None, None, 0) if momentum else (optimizer, schedule, 6))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
def test_a_step_that_an_error_of_a_signal_follows_has_been_taken_as_a_whole(data):
    class LateError(ValueError):
        pass

    def fail(*_):
        raise LateError

    X, y = np.tile(data[0], 100), np.tile(data[1], 100)
    before, outcomes = signal.signal(signal.SIGALRM, fail), set()
    try:
        for delay in np.linspace(1e-4, 6e-3, 30):
            nn, twin = make(), make()
            for each in (nn, twin):
                each.fit(X, y, 1, len(y))
            start = bits(nn)
            raised = None
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                nn.fit(X, y, 1, len(y))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except ValueError as error:  # NumPy's, of LateError, if it comes while y becomes an array
                raised = error
            assert raised is None or LateError in (type(raised), type(raised.__cause__))
            twin.fit(X, y, 1, len(y))
            assert bits(nn) in (start, bits(twin))
            outcomes.add((bits(nn) != start, nn._memory.taken))
    finally:
        signal.signal(signal.SIGALRM, before)
    # Whether the step was taken, and how many the moments have seen: none, if it is not known.
    assert outcomes <= {(False, 1), (False, 0), (True, 2), (True, 0)}


def test_an_error_of_a_callback_leaves_the_steps_that_were_taken(data):
    X, y = data
    nn, twin = make(), make()

    def fail(run):
        if run.epoch == 1:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        nn.fit(X, y, 5, 10, callbacks=[callbacks.LambdaCallback(on_epoch_end=fail)])
    twin.fit(X, y, 2, 10)
    assert bits(nn) == bits(twin)


def test_time_runs_out_at_the_end_of_an_epoch(data):
    X, y = data
    history = make().fit(X, y, 1000, 10, max_time=1e-9)
    assert len(history["loss"]) == 1
    assert history.stopped == "max_time of 1e-09 s ran out"
    assert make().fit(X, y, 2, 10, max_time=1e9).stopped is None


ZEROS = np.zeros(53)
REFUSED = {
    "weights": ({"sample_weight": ZEROS}, ValueError, "sample_weight must hold .*, not all 0: got nothing but 0"),
    "weight": ({"sample_weight": ZEROS - np.eye(53)[7]}, ValueError, r"of at least 0, .* got -1.0 at \[7\]"),
    "weight NaN": ({"sample_weight": ZEROS + np.nan}, ValueError, r"sample_weight must hold .* got nan at \[0\]"),
    "weight infinite": ({"sample_weight": ZEROS + np.inf}, ValueError, r"sample_weight must hold .* got inf at \[0\]"),
    "weights' shape": ({"sample_weight": [1.0]}, ValueError, r"sample_weight must have shape \(53,\)"),
    "class": ({"class_weight": {3: 1.0}}, ValueError, "class_weight must be for labels from 0 to 2, got 3"),
    "class name": ({"class_weight": {"a": 1.0}}, TypeError, "a label of class_weight must be a whole number, got 'a'"),
    "class weight": ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be finite, at least 0, got -1"),
    "no class": ({"class_weight": dict.fromkeys(range(3), 0)}, ValueError, "leaves no sample"),
    "class word": ({"class_weight": "even"}, ValueError, "'balanced', got 'even'"),
    "class list": ({"class_weight": [1, 2, 3]}, TypeError, "mapping of label to weight or 'balanced', got list"),
    "fraction": ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be .* less than 1, got 1"),
    "all set aside": ({"validation_fraction": 0.5, "y": np.arange(53) % 3, "m": 3}, ValueError, "3 samples of 3 cl"),
    "both": ({"validation_fraction": 0.5, "validation_data": (1, 2)}, ValueError, "both given"),
    "validation": ({"validation_data": (1,)}, TypeError, r"pair \(X, y\), or \(X, y, sample_weight\)"),
    "l1": ({"l1": -1.0}, ValueError, "l1 must be finite, at least 0, got -1"),
    "clip": ({"clip_value": 0}, ValueError, "clip_value must be finite, more than 0, got 0"),
    "norm": ({"clip_norm": "1"}, TypeError, "clip_norm must be a number"),
    "max norm": ({"max_norm": -2}, ValueError, "max_norm must be finite, more than 0"),
    "time": ({"max_time": 0}, ValueError, "max_time must be finite, more than 0"),
    "schedule": ({"schedule": 0.1}, TypeError, "schedule must be a function or an object of cmlp's class Schedule"),
    "schedule class": ({"schedule": History}, TypeError, "schedule must be"),
    "factor": ({"schedule": lambda t: 1.0 - t}, ValueError, r"finite factors of at least 0, got -5.0 at step 6"),
    "no factor": ({"schedule": lambda _: "1"}, TypeError, "what a schedule returns must hold"),
    "callbacks": ({"callbacks": callbacks.Callback()}, TypeError, "callbacks must be a list of callbacks, got Callb"),
    "callback": ({"callbacks": [print]}, TypeError, "on_train_begin, on_epoch_end, on_train_end, got <built-in"),
    "callback class": (
        {"callbacks": [callbacks.EarlyStopping]},
        TypeError,
        r"must be an object, got the class EarlyStopping: EarlyStopping\(\) is one",
    ),
    "no callbacks": (
        {"callbacks": callbacks.EarlyStopping},
        TypeError,
        "list of callbacks, got the class EarlyStopping",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(data, case):
    options, error, message = REFUSED[case]
    options = dict(options)
    X, y = data
    m = options.pop("m", 53)
    y = options.pop("y", y)
    nn, twin = make(), make()
    for each in (nn, twin):
        each.fit(X, data[1], 1, 10)
    with pytest.raises(error, match=message):
        nn.fit(X[:, :m], y[:m], 2, 10, **options)
    assert bits(nn) == bits(twin)
    assert nn.fit(X, data[1], 1, 10)["loss"] == twin.fit(X, data[1], 1, 10)["loss"]


def test_class_weights_are_for_classes(data):
    nn = make(loss="mean_squared_error", output="identity")
    with pytest.raises(ValueError, match="class_weight needs classes"):
        nn.fit(data[0], data[0][:3], class_weight="balanced")


CHUNKS = {
    "none": (lambda nn, _: nn.partial_fit(iter([])), ValueError, "at least one"),
    "number": (lambda nn, _: nn.partial_fit(3), TypeError, "chunks must be an iterable"),
    "x alone": (lambda nn, d: nn.partial_fit(d[0]), TypeError, r"partial_fit\(X, y\)"),
    "weights": (lambda nn, d: nn.partial_fit([d], sample_weight=ZEROS), TypeError, "goes into each chunk"),
    "balanced": (lambda nn, d: nn.partial_fit(*d, class_weight="balanced"), ValueError, "must be a mapping"),
}


@pytest.mark.parametrize("case", CHUNKS)
def test_what_are_no_chunks_is_refused(data, case):
    call, error, message = CHUNKS[case]
    nn = make()
    before = bits(nn)
    with pytest.raises(error, match=message):
        call(nn, data)
    assert bits(nn) == before


def test_a_network_that_was_trained_can_grow(data):
    nn = make()
    nn.fit(*data, verbose=False)
    nn.add_layer(SIZES[-1], SIZES[-1], "softmax")
    history = nn.fit(*data, verbose=False)
    assert np.isfinite(history["loss"]).all()
    broken = data[0].copy()
    broken[0, -1] = np.nan
    before = bits(nn)
    with pytest.raises(ValueError, match="NaN"):
        nn.fit(broken, data[1], verbose=False)
    assert bits(nn) == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", reference.PAIRS)
def test_losses_are_the_same_whoever_computes_them(rng, threads, loss, outputs, dtype):
    """So many samples that threads' parts, whole registers and the rest behind these fall in other places."""
    m = 101
    X, Y = rng.normal(size=(100, m)), rng.poisson(2.0, (outputs, m)).astype(float)
    if loss == "binary_cross_entropy":
        Y = np.minimum(Y, 1)
    if loss == "cross_entropy":
        outputs, Y = outputs + 1, rng.integers(0, outputs + 1, m)
    found = set()
    for count in (1, 2, 3, 4):
        for regime in ("fused", "wide"):
            threads(count)
            nn = make(sizes=(100, 1000, outputs), loss=loss, output=reference.PAIRS[loss][0], dtype=dtype)
            nn._regime = regime
            # Each time once, as what is given for a gradient holds for a single step.
            fits = [nn.fit(X, Y, epochs=1, batch_size=m, optimizer="sgd", learning_rate=1e-4) for _ in range(3)]
            found.add(tuple(fit["loss"][0] for fit in fits))
    assert len(found) == 1
