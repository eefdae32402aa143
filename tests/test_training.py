"""Training against the NumPy reference, for every activation and loss of the core's own tables."""

import signal
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from cmlp import (
    SGD,
    Adam,
    AdamW,
    CrossEntropy,
    Huber,
    Lion,
    NeuralNetwork,
    Quantile,
    RMSprop,
    _dispatch,
    _threads,
    get_num_threads,
    one_hot,
    reference,
    set_num_threads,
    training,
)

core = _dispatch.core
OUTPUTS = [(loss, output) for loss, outputs in reference.PAIRS.items() for output in outputs]
# Every pair of a loss and an output activation, and every activation in a hidden layer: both at once would be many.
TRIPLES = [("tanh", *pair) for pair in OUTPUTS] + [
    (hidden, "cross_entropy", "softmax") for hidden in core.ACTIVATIONS if hidden != "tanh"
]
OPTIONS = {"quantile": {"levels": (0.5,) * 4}}  # that the reference needs and the network has by default


def mostly_zeros(rng, shape, dtype):
    """Numbers of which whole runs are 0 in every sample, as the edges of images, and most of the others."""
    X = rng.normal(size=shape) * (rng.random(shape) < 0.03)
    X[: shape[0] // 3] = 0
    X[-5:] = -0.0
    return X.astype(dtype)


def problem(rng, loss, m=37, sizes=(6, 5, 4)):
    """Data that a network of these sizes may be trained on: X, y as cmlp takes it, and as the reference does."""
    X = rng.normal(size=(sizes[0], m))
    if loss == "cross_entropy":
        y = rng.integers(0, sizes[-1], m)
        return X, y, one_hot(y, sizes[-1])
    Y = rng.uniform(0, 1, (sizes[-1], m))
    return X, Y, Y


def network(rng, loss, sizes, activations, dtype):
    """A network with biases other than 0, and the same one in the reference."""
    nn = NeuralNetwork(loss=loss, dtype=dtype, rng=rng)
    for (k, n), activation in zip(pairwise(sizes), activations, strict=True):
        nn.add_layer(k, n, activation, init="glorot_normal")
        nn.layers[-1].biases = rng.normal(size=(n, 1)) / 10
    weights = [layer.weights.astype(np.float64) for layer in nn.layers]
    biases = [layer.biases.astype(np.float64) for layer in nn.layers]
    return nn, reference.Network(weights, biases, list(activations), loss, **OPTIONS.get(loss, {}))


def distance(nn, oracle):
    """The largest error of a parameter, relative to the largest parameter of its array."""
    pairs = [(layer.weights, W) for layer, W in zip(nn.layers, oracle.weights, strict=True)]
    pairs += [(layer.biases, b) for layer, b in zip(nn.layers, oracle.biases, strict=True)]
    return max(np.abs(ours - theirs).max() / np.abs(theirs).max() for ours, theirs in pairs)


def test_core_and_reference_have_the_same_tables():
    assert list(core.ACTIVATIONS) == list(reference.ACTIVATIONS)
    assert list(core.LOSSES) == list(reference.LOSSES)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize(("hidden", "loss", "output"), TRIPLES)
def test_50_steps_equal_the_reference(dtype, rng, hidden, loss, output):
    sizes = (6, 5, 4)
    X, y, Y = problem(rng, loss, sizes=sizes)
    nn, oracle = network(rng, loss, sizes, (hidden, output), dtype)
    for _ in range(50):
        ours, theirs = nn.train(X, y, 0.2), oracle.train(X.astype(dtype), Y.astype(dtype), 0.2)
        assert ours == pytest.approx(theirs, rel=1e-10 if dtype == np.float64 else 1e-4)
    assert distance(nn, oracle) < (1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("hidden", "loss", "output"), TRIPLES)
def test_gradients_equal_central_differences(rng, depth, hidden, loss, output):
    sizes = (5, 4, 6, 3, 4)[4 - depth :]
    X, y, _ = problem(rng, loss, m=9, sizes=sizes)
    nn, _ = network(rng, loss, sizes, (*(hidden,) * (depth - 1), output), "float64")
    params = nn._params
    if hidden == "exp":  # of exp of exp: more than a step of 1 can take
        params /= 4
    # The largest step that no kink of ReLU lies within, for these seeds.
    h = 1e-4
    numeric = np.empty_like(params)
    for i in range(params.size):
        start = params[i]
        losses = []
        for step in (-2, -1, 1, 2):
            params[i] = start + step * h
            losses.append(nn.evaluate(X, y)["loss"])
        params[i] = start
        numeric[i] = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * h)
    before = params.copy()
    nn.train(X, y, 1.0)
    assert np.abs((before - params) - numeric).max() < 1e-7 * max(1, np.abs(numeric).max())


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("sizes", [(784, 30, 20, 10), (33, 70, 129, 40, 3), (1, 1), (300, 512, 2)])
def test_any_sizes_and_many_blocks(dtype, rng, sizes):
    X, y, Y = problem(rng, "mean_squared_error", m=701, sizes=sizes)
    activations = (*("relu", "tanh", "sigmoid")[: len(sizes) - 2], "identity")
    nn, oracle = network(rng, "mean_squared_error", sizes, activations, dtype)
    for _ in range(3):
        nn.train(X, y, 0.1)
        oracle.train(X.astype(dtype), Y.astype(dtype), 0.1)
    assert distance(nn, oracle) < (1e-11 if dtype == np.float64 else 1e-5)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1),
        SGD(0.1, weight_decay=0.1),
        SGD(0.1, momentum=0.9),
        SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
        Adam(),
        Adam(0.01, beta1=0.5, beta2=0.9, epsilon=1e-3),
        Adam(0.01, epsilon=1e-3, epsilon_hat=True),
        AdamW(0.01, weight_decay=0.1),
        RMSprop(0.001, weight_decay=0.01),
        Lion(0.001, weight_decay=0.01),
    ],
    ids=repr,
)
def test_fit_equals_the_reference_batch_by_batch(dtype, rng, optimizer):
    sizes = (6, 5, 4)
    X, y, Y = problem(rng, "cross_entropy", m=53, sizes=sizes)
    nn, oracle = network(rng, "cross_entropy", sizes, ("tanh", "softmax"), dtype)
    nn.fit(X, y, epochs=4, batch_size=10, optimizer=optimizer, shuffle=False)
    batches = [(X[:, i : i + 10].astype(dtype), Y[:, i : i + 10]) for _ in range(4) for i in range(0, 53, 10)]
    oracle.optimize(batches, type(optimizer).__name__.lower(), **vars(optimizer))
    assert distance(nn, oracle) < (1e-12 if dtype == np.float64 else 1e-4)


LOSS_OBJECTS = [(CrossEntropy(0.1), "softmax"), (Huber(0.05), "identity"), (Quantile((0.1, 0.3, 0.5, 0.9)), "identity")]


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize(("loss", "output"), LOSS_OBJECTS, ids=repr)
def test_losses_with_options_equal_the_reference(dtype, rng, loss, output):
    sizes = (6, 5, 4)
    X, y, Y = problem(rng, loss.name, sizes=sizes)
    nn, _ = network(rng, loss.name, sizes, ("tanh", output), dtype)
    nn.loss = loss
    weights = [layer.weights.astype(np.float64) for layer in nn.layers]
    oracle = reference.Network(
        weights, [layer.biases.astype(np.float64) for layer in nn.layers], ["tanh", output], loss.name, **loss.options
    )
    if loss.name == "quantile":
        y = Y[:1]
        Y = np.repeat(y, 4, axis=0)
    for _ in range(20):
        ours, theirs = nn.train(X, y, 0.2), oracle.train(X.astype(dtype), Y.astype(dtype), 0.2)
        assert ours == pytest.approx(theirs, rel=1e-10 if dtype == np.float64 else 1e-4)
    assert distance(nn, oracle) < (1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("regime", core.REGIMES)
def test_weights_of_samples_equal_the_reference(dtype, rng, regime):
    sizes = (6, 5, 4)
    X, y, Y = problem(rng, "cross_entropy", m=300, sizes=sizes)
    weights = rng.integers(0, 4, 300).astype(float)
    nn, oracle = network(rng, "cross_entropy", sizes, ("gelu", "softmax"), dtype)
    nn._regime = regime
    for _ in range(10):
        ours = nn.train(X, y, 0.2, sample_weight=weights)
        theirs = oracle.step(X.astype(dtype), Y, "sgd", 1, {}, weights, learning_rate=0.2)
        assert ours == pytest.approx(theirs, rel=1e-10 if dtype == np.float64 else 1e-4)
    assert distance(nn, oracle) < (1e-10 if dtype == np.float64 else 1e-4)
    measured = nn.evaluate(X, y, sample_weight=weights)
    assert measured["accuracy"] == pytest.approx(np.average(oracle.predict(X) == y, weights=weights))
    repeated = np.repeat(np.arange(300), weights.astype(int))
    again = nn.evaluate(X[:, repeated], y[repeated])
    assert measured == pytest.approx(again, rel=1e-12 if dtype == np.float64 else 1e-5)


def test_momentum_begins_at_zero_after_descent_without_it(rng):
    X, y, _ = problem(rng, "cross_entropy", sizes=(6, 5, 4))
    ours, theirs = (
        network(np.random.default_rng(1), "cross_entropy", (6, 5, 4), ("tanh", "softmax"), "float64")[0] for _ in "ab"
    )
    ours.fit(X, y, epochs=1, optimizer=SGD(0.1), shuffle=False)
    theirs.train(X, y, 0.1)
    for nn in (ours, theirs):
        nn.fit(X, y, epochs=2, optimizer=SGD(0.1, momentum=0.9), shuffle=False)
    assert ours._memory.moments.shape == (1, ours._params.size)
    np.testing.assert_array_equal(ours._params, theirs._params, strict=True)


def test_shuffled_fit_takes_the_generators_order(rng):
    X, y, Y = problem(rng, "cross_entropy", m=53, sizes=(6, 5, 4))
    nn, oracle = network(np.random.default_rng(5), "cross_entropy", (6, 5, 4), ("tanh", "softmax"), "float64")
    nn.rng = np.random.default_rng(7)
    history = nn.fit(X, y, epochs=2, batch_size=10, optimizer="sgd", learning_rate=0.1)
    order = np.random.default_rng(7)
    batches = []
    for _ in range(2):
        index = order.permutation(53)
        batches += [(X[:, index[i : i + 10]], Y[:, index[i : i + 10]]) for i in range(0, 53, 10)]
    losses = oracle.optimize(batches, "sgd", learning_rate=0.1)
    assert distance(nn, oracle) < 1e-12
    sizes = np.array([10, 10, 10, 10, 10, 3])
    means = [np.average(epoch, weights=sizes) for epoch in (losses[:6], losses[6:])]
    assert history["loss"] == pytest.approx(means)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("loss", reference.PAIRS)
def test_a_step_of_descent_is_the_gradient(dtype, rng, loss):
    output = reference.PAIRS[loss][0]
    X, y, _ = problem(rng, loss)
    nn, _ = network(rng, loss, (6, 5, 4), ("tanh", output), dtype)
    before = nn._params.copy()
    samples = nn._data(X, y, rng.uniform(0, 1, X.shape[1]))
    loss, gradient = training.loss_and_gradient(nn, samples)
    np.testing.assert_array_equal(nn._params, before, strict=True)
    assert nn.train(X, y, 0.5, samples.weights) == loss
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(nn._params, before - dtype.type(0.5) * gradient, rtol=tolerance, atol=tolerance)


def test_the_gradient_with_penalties_and_bounds(rng):
    X, y, _ = problem(rng, "cross_entropy")
    nn, _ = network(rng, "cross_entropy", (6, 5, 4), ("tanh", "softmax"), "float64")
    samples = nn._data(X, y)
    loss, plain = training.loss_and_gradient(nn, samples)
    weights = np.concatenate([layer.weights.ravel() for layer in nn.layers])
    penalised, gradient = training.loss_and_gradient(nn, samples, training.Shaping(l1=0.1, l2=0.3, max_norm=1e-3))
    assert penalised == pytest.approx(loss + 0.1 * np.abs(weights).sum() + 0.15 * (weights**2).sum())
    with_weights = np.zeros_like(plain)
    for number, layer in enumerate(nn.layers):
        begin = number and nn.layers[0]._room()
        rows = with_weights[begin : begin + layer._room()].reshape(layer.input_size + 1, -1)
        rows[:-1, : layer.neurons] = 0.1 * np.sign(layer.weights.T) + 0.3 * layer.weights.T
    np.testing.assert_allclose(gradient, plain + with_weights, rtol=1e-12, atol=1e-15)
    _, gradient = training.loss_and_gradient(nn, samples, training.Shaping(clip_value=0.01))
    np.testing.assert_allclose(gradient, np.clip(plain, -0.01, 0.01), rtol=1e-12, atol=1e-15)
    _, gradient = training.loss_and_gradient(nn, samples, training.Shaping(clip_norm=0.01))
    np.testing.assert_allclose(gradient, plain / np.linalg.norm(plain) * 0.01, rtol=1e-12, atol=1e-15)


def test_a_gradient_that_is_not_finite_is_an_error(rng):
    X, y, _ = problem(rng, "mean_squared_error")
    nn, _ = network(rng, "mean_squared_error", (6, 5, 4), ("relu", "identity"), "float32")
    nn.layers[0].weights *= 1e25
    for factor, what in ((1e-5, "gradient"), (1e25, "loss")):
        nn.layers[1].weights *= factor
        before = nn._params.copy()
        with pytest.raises(FloatingPointError, match=f"the {what} is not finite with the parameters as they are, in f"):
            training.loss_and_gradient(nn, nn._data(X, y))
        np.testing.assert_array_equal(nn._params, before, strict=True)


@pytest.fixture
def threads():
    before = get_num_threads()
    yield set_num_threads
    set_num_threads(before)


# Samples of a step that is cut into three blocks or four.
BLOCKS = {(50, 64, 64, 2): 240, (90, 100, 3): 180, (5, 3): 21_000}


# After a softmax threads share whole rows; that takes a network that has one.
SHARED = [(sizes, "relu", "adam") for sizes in ((784, 30, 20, 10), (100, 330, 260, 5), *BLOCKS)]
SHARED += [(sizes, "softmax", "sgd") for sizes in ((784, 30, 20, 10), (50, 130, 100, 5))]
SHARED += [((45, 100, 50, 20, 3), "relu", "sgd")]  # layers that end in a few columns of a line


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize(("sizes", "hidden", "optimizer"), SHARED)
def test_same_bits_for_any_threads_regime_and_run(dtype, threads, monkeypatch, hidden, sizes, optimizer):
    monkeypatch.setattr("cmlp._threads.threads_for", lambda *_: _threads.get_num_threads())
    m, batches = 1300 if max(sizes[1:]) < 300 else 650, 10
    if sizes in BLOCKS:  # several in a step, which are cut by its work
        m, batches = 2 * BLOCKS[sizes], 2
    X, y, _ = problem(np.random.default_rng(1), "cross_entropy", m=m, sizes=sizes)
    activations = (*(hidden,) * (len(sizes) - 2), "softmax")
    results = []
    for regime in core.REGIMES:
        for number in (1, 2, 3, 4, 7, 1) if regime != "by_size" else (2,):  # which is one of the others
            threads(number)
            nn, _ = network(np.random.default_rng(2), "cross_entropy", sizes, activations, dtype)
            nn._regime = regime
            nn.fit(X, y, epochs=20 // batches, batch_size=m // batches, optimizer=optimizer)
            results.append((nn._params.tobytes(), nn.predict(X).tobytes(), nn.evaluate(X, y)["loss"]))
    assert len(set(results)) == 1


def test_layers_made_in_pieces_are_those_made_at_once(use_core):
    lanes = use_core.tile_shape(np.empty(1))[1] // 2
    width = int(1.1 * (2**27 * lanes / 252) ** 0.5)  # a block of which is too long between two looks at signals
    sizes, rng = (width, width, width, 3), np.random.default_rng(1)
    X, y, _ = problem(rng, "cross_entropy", m=253, sizes=sizes)
    results = []
    for regime in ("fused", "wide"):
        nn, _ = network(np.random.default_rng(2), "cross_entropy", sizes, ("relu", "relu", "softmax"), np.float64)
        nn._regime = regime
        outputs = nn.forward(X)
        assert (np.hstack([nn.forward(X[:, at : at + 23]) for at in range(0, 253, 23)]) == outputs).all()
        nn.train(X, y, 0.1)
        results.append(nn._params.tobytes())
    assert results[0] == results[1]


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("regime", ["fused", "wide"])
def test_moments_of_dead_neurons_do_not_become_denormal(dtype, rng, threads, monkeypatch, regime):
    monkeypatch.setattr("cmlp._threads.threads_for", lambda *_: _threads.get_num_threads())
    threads(2)
    X, y, _ = problem(rng, "cross_entropy", m=20)
    nn, _ = network(rng, "cross_entropy", (6, 5, 4), ("relu", "softmax"), dtype)
    nn._regime = regime
    tiny, settings = np.finfo(dtype).tiny, {"batch_size": 20, "optimizer": Adam(1e-3, beta1=0.8)}
    nn.fit(X, y, epochs=1, **settings)
    nn.layers[0].biases = -100 * np.ones((5, 1))  # each step leaves 0.8 times their first moments
    nn.fit(X, y, epochs=500 if dtype == np.float32 else 3500, **settings)
    moments = np.abs(nn._memory.moments)
    assert not ((moments > 0) & (moments < tiny)).any()
    assert np.array([tiny], dtype) / 2 > 0  # NumPy goes on as before


@pytest.mark.usefixtures("use_core")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
def test_handlers_of_signals_know_denormal_numbers(rng):
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(5e-324 * 1.0))
    X, y, _ = problem(rng, "cross_entropy", m=2000)
    nn, _ = network(rng, "cross_entropy", (6, 5, 4), ("relu", "softmax"), "float64")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        nn.fit(np.tile(X, 100), np.tile(y, 100), epochs=1, batch_size=10)
        inside = len(seen)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert inside > 1
    assert set(seen) == {5e-324}


# Networks whose first layer the threads share by its inputs, in steps of fewer and more samples than tiles have rows:
# what is read in place, row by row, from columns far apart, and to be converted.
@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("sizes", [(784, 30, 20, 10), (600, 100, 7), (257, 5, 3)])
@pytest.mark.parametrize("batch", [1, 9, 50])
@pytest.mark.parametrize("given", ["rows", "columns", "bytes"])
def test_a_first_layer_shared_by_its_inputs_has_the_same_bits(dtype, threads, monkeypatch, sizes, batch, given):
    monkeypatch.setattr("cmlp._threads.threads_for", lambda *_: _threads.get_num_threads())
    rng = np.random.default_rng(1)
    X = rng.integers(0, 256, (sizes[0], 3 * batch + 1))
    X = {"rows": (X / 256).astype(dtype), "columns": (X / 256).astype(dtype), "bytes": X.astype(np.uint8)}[given]
    X = np.asarray(X, order="C" if given == "columns" else "F")
    y, weights = rng.integers(0, sizes[-1], len(X.T)), rng.random(len(X.T))
    results = set()
    for regime, numbers in (("by_size", (1, 2, 3, 7)), ("fused", (1,))):
        for number in numbers:
            threads(number)
            nn, _ = network(
                np.random.default_rng(2), "cross_entropy", sizes, ("relu",) * (len(sizes) - 2) + ("softmax",), dtype
            )
            nn.layers[0].dropout, nn.input_scale, nn._regime = 0.25, 1 / 256 if given == "bytes" else 1, regime
            for shuffle in (False, True):
                nn.fit(X, y, 2, batch, "adam", shuffle=shuffle, l2=0.01, max_norm=3.0, sample_weight=weights)
            results.add((nn._params.tobytes(), nn.train(X, y, 0.1)))
    assert len(results) == 1


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 30, 127])
def test_a_first_layer_shared_by_its_inputs_equals_the_reference(dtype, rng, monkeypatch, number, batch):
    monkeypatch.setattr("cmlp._threads.threads_for", lambda *_: number)
    sizes, steps = (784, 30, 20, 10), 5
    X, y, Y = problem(rng, "cross_entropy", m=batch * steps, sizes=sizes)
    nn, oracle = network(rng, "cross_entropy", sizes, ("tanh", "softmax", "softmax"), dtype)
    history = nn.fit(X, y, 1, batch, SGD(0.1), shuffle=False)
    losses = [
        oracle.train(X[:, i : i + batch].astype(dtype), Y[:, i : i + batch].astype(dtype), 0.1)
        for i in range(0, batch * steps, batch)
    ]
    assert distance(nn, oracle) < (1e-11 if dtype == np.float64 else 1e-5)
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("regime", core.REGIMES)
@pytest.mark.parametrize("sizes", [(33, 70, 129, 40, 3), (300, 512, 2)])
def test_both_regimes_equal_the_reference(dtype, rng, regime, sizes):
    X, y, Y = problem(rng, "cross_entropy", m=701, sizes=sizes)
    activations = (*("tanh", "softmax", "relu")[: len(sizes) - 2], "softmax")
    nn, oracle = network(rng, "cross_entropy", sizes, activations, dtype)
    nn._regime = regime
    for _ in range(3):
        nn.train(X, y, 0.1)
        oracle.train(X.astype(dtype), Y.astype(dtype), 0.1)
    assert distance(nn, oracle) < (1e-11 if dtype == np.float64 else 1e-5)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("regime", core.REGIMES)
@pytest.mark.parametrize("sizes", [(784, 30, 10), (300, 130, 2), (33, 20, 3)])
@pytest.mark.parametrize("scaled", [False, True])
def test_zeros_are_left_out_and_nothing_changes(dtype, rng, regime, sizes, scaled):
    _, y, Y = problem(rng, "cross_entropy", m=700, sizes=sizes)
    X = mostly_zeros(rng, (sizes[0], 700), dtype)
    nn, oracle = network(rng, "cross_entropy", sizes, ("tanh", "softmax"), dtype)
    nn.input_scale, nn._regime = 2.0 if scaled else 1.0, regime
    few = np.hstack([nn.forward(X[:, i : i + 3]) for i in range(0, 700, 3)])  # fewer than a tile: all are used
    assert nn.forward(X).tobytes() == few.tobytes()
    for _ in range(3):
        nn.train(X, y, 0.1)
        oracle.train(X * dtype.type(nn.input_scale), Y.astype(dtype), 0.1)
    assert distance(nn, oracle) < (1e-11 if dtype == np.float64 else 1e-5)
    X[sizes[0] // 2, 60] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        nn.train(X, y, 0.1)


@pytest.fixture
def builds_with_fma(monkeypatch):
    """For each build with fused multiply-add: makes it the one that works."""
    builds = [isa for isa in _dispatch.supported() if isa in ("v3", "v4")]
    if len(builds) < 2:
        pytest.skip(f"this CPU runs {builds or 'none'} of the builds with fused multiply-add: nothing to compare")

    def use(isa):
        for module in ("network", "training", "layer", "_arrays", "_threads", "optimizers"):
            monkeypatch.setattr(f"cmlp.{module}.core", _dispatch.load(isa))

    return [partial(use, isa) for isa in builds]


def same_bits(builds, sizes, activations, loss, dtype, m=90, **options):
    """Whether a network that each build trains has the same parameters, and predicts the same."""
    results = set()
    for use in builds:
        use()
        X, y, _ = problem(np.random.default_rng(1), loss, m=m, sizes=sizes)
        nn, _ = network(np.random.default_rng(2), loss, sizes, activations, dtype)
        nn.fit(X, y, learning_rate=1e-3, **{"epochs": 2, "batch_size": m // 2 - 1, **options})
        results.add((nn._params.tobytes(), nn.forward(X).tobytes()))
    return len(results) == 1


@pytest.mark.parametrize("sizes", [(784, 30, 20, 10), (100, 300, 200, 5)])
def test_same_bits_in_every_build_that_has_fma(builds_with_fma, dtype, sizes):
    activations = (*("relu",) * (len(sizes) - 2), "softmax")
    assert same_bits(builds_with_fma, sizes, activations, "cross_entropy", dtype, m=700)


@pytest.mark.parametrize(("hidden", "loss", "output"), TRIPLES)
def test_same_bits_of_any_loss_and_activation(builds_with_fma, dtype, hidden, loss, output):
    options = {"l1": 1e-4, "l2": 1e-3, "max_norm": 2.0} if hidden == "tanh" else {"clip_norm": 0.1}
    if loss == "given_gradient":  # which is that of one step
        options |= {"epochs": 1, "batch_size": 90}
    assert same_bits(builds_with_fma, (20, 31, 19), (hidden, output), loss, dtype, **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "lion"])
def test_same_bits_of_any_optimizer(builds_with_fma, dtype, optimizer):
    assert same_bits(builds_with_fma, (20, 31, 19), ("relu", "softmax"), "cross_entropy", dtype, optimizer=optimizer)


@pytest.mark.usefixtures("use_core")
def test_prediction_of_a_sample_does_not_depend_on_the_others(dtype, rng):
    X = rng.normal(size=(100, 333)).astype(dtype)
    nn, _ = network(rng, "cross_entropy", (100, 70, 40, 7), ("relu", "tanh", "softmax"), dtype)
    whole = nn.forward(X)
    assert (np.hstack([nn.forward(X[:, i]) for i in range(X.shape[1])]) == whole).all()
    for cut in (1, 63, 64, 65, 200):
        assert (np.hstack([nn.forward(X[:, :cut]), nn.forward(X[:, cut:])]) == whole).all()
    assert (nn.predict(X) == whole.argmax(axis=0)).all()


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("classes", [3, 10, 40])
def test_loss_of_a_sample_does_not_depend_on_the_others(dtype, rng, classes, smoothing):
    nn = NeuralNetwork(loss=CrossEntropy(smoothing), dtype=dtype, rng=1)
    nn.add_layer(20, classes, "softmax")
    X = rng.normal(size=(20, 41)).astype(dtype)
    shares = rng.dirichlet(np.ones(classes), 41).T.astype(dtype)
    y = rng.integers(0, classes, 41) if smoothing else shares
    assert_losses_by_themselves(nn, X, y)


def assert_losses_by_themselves(nn, X, y):
    m = X.shape[1]
    alone = [nn.evaluate(X[:, [i]], y[..., [i]])["loss"] for i in range(m)]
    assert alone == [nn.evaluate(X, y, sample_weight=np.eye(m)[i])["loss"] for i in range(m)]


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("outputs", [1, 3, 40])
@pytest.mark.parametrize("loss", [loss for loss in reference.PAIRS if loss != "cross_entropy"])
def test_loss_over_outputs_does_not_depend_on_the_other_samples(dtype, rng, loss, outputs):
    levels = np.linspace(0.1, 0.9, outputs)
    nn = NeuralNetwork(loss=Quantile(levels) if loss == "quantile" else loss, dtype=dtype, rng=1)
    nn.add_layer(20, outputs, reference.PAIRS[loss][0])
    y = rng.uniform(size=(1 if loss == "quantile" else outputs, 41)).round(1).astype(dtype)
    assert_losses_by_themselves(nn, rng.normal(size=(20, 41)).astype(dtype), y)


@pytest.mark.parametrize(("hidden", "loss", "output"), TRIPLES)
def test_forward_and_evaluate_equal_the_reference(dtype, rng, hidden, loss, output):
    X, y, Y = problem(rng, loss, m=90)
    nn, oracle = network(rng, loss, (6, 5, 4), (hidden, output), dtype)
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(nn.forward(X), oracle.forward(X)[1][-1], rtol=tolerance, atol=tolerance)
    measured = nn.evaluate(X, y)
    assert measured["loss"] == pytest.approx(oracle.loss_value(X, Y), rel=tolerance)
    if loss == "cross_entropy":
        assert measured["accuracy"] == np.mean(oracle.predict(X) == y)


@pytest.mark.parametrize(("loss", "output"), OUTPUTS)
def test_loss_is_finite_and_right_at_the_far_ends(dtype, loss, output):
    # z of the output layer is the input: weights 1, biases 0.
    for size in (1e4, -1e4, 88, -104):
        nn = NeuralNetwork(loss=loss, dtype=dtype)
        nn.add_layer(2, 2, output)
        nn.layers[0].weights = np.eye(2)
        X, Y = np.array([[size], [0.0]]), np.array([[0.0], [1.0]])
        options = {"levels": (0.5, 0.5)} if loss == "quantile" else {}
        with np.errstate(over="ignore", invalid="ignore"):
            expected = reference.loss_value(loss, output, X, Y, **options)
        # exp of 1e4 is infinite, and 0 times that no number.
        assert nn.evaluate(X, Y)["loss"] == pytest.approx(expected, rel=1e-5, nan_ok=loss == "given_gradient")
