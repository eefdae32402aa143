"""The reference against what does not depend on it: finite differences, values by hand, and laws."""

import itertools
import math
from functools import partial

import numpy as np
import pytest

from cmlp import CrossEntropy, Huber, Quantile, losses, reference

M = 3  # samples in the batches of the gradient tests
STEP = 1e-3  # of the central differences; the truncation error is of order STEP**4
KINK = 0.05  # nothing is closer to a kink than this, so that no difference reaches across it
KINKS = {  # of an activation by z, of a loss by a - y
    "relu": [0],
    "leaky_relu": [0],
    "elu": [0],
    "selu": [0],
    "hard_swish": [-3, 3],
    "mean_absolute_error": [0],
    "huber": [-0.7, 0.7],
    "quantile": [0],
}
WEIGHTS = np.array([2.0, 0.0, 0.5])
ONE, TWO = np.ones((1, 1)), np.ones((2, 1))

# The functions that have a derivative by z alone.
ELEMENTWISE = [f for f in reference.ACTIVATIONS.values() if f is not reference.softmax]
PAIRS = [(loss, activation) for loss, allowed in reference.PAIRS.items() for activation in allowed]
# Every pair, and hidden layers of every kind.
NETWORKS = [(*pair, "tanh", depth) for pair in PAIRS for depth in (1, 2)] + [
    ("mean_squared_error", "identity", hidden, depth) for hidden in reference.ACTIVATIONS for depth in (2, 3, 4)
]


def options_of(loss, n=3):
    """Return options for a loss of n outputs that are not the defaults, if it has any."""
    options = {
        "cross_entropy": {"label_smoothing": 0.2},
        "huber": {"delta": 0.7},
        "quantile": {"levels": np.linspace(0, 1, n + 2)[1:-1]},
    }
    return options.get(loss, {})


def random_network(rng, loss, activations, sizes, **options):
    weights = [rng.normal(scale=k**-0.5, size=(n, k)) for k, n in itertools.pairwise(sizes)]
    biases = [rng.normal(size=(n, 1)) for n in sizes[1:]]
    return reference.Network(weights, biases, activations, loss, **options)


def random_targets(rng, loss, shape):
    """Return targets that are as general as the loss allows, not only zeros and ones."""
    Y = rng.uniform(0.1, 1, shape)
    return Y / Y.sum(axis=0) if loss == "cross_entropy" else Y


def distance(values, kinks):
    return min((np.abs(values - kink).min() for kink in kinks), default=np.inf)


def network_and_batch(loss, output, hidden, depth):
    """Return a tiny network and a batch that are far from kinks, leave no gradient at 0 and let no exp explode."""
    activations = [hidden] * (depth - 1) + [output]
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        network = random_network(rng, loss, activations, [2] + [3] * depth, l1=0.1, l2=0.2, **options_of(loss))
        X, Y = rng.normal(size=(2, M)), random_targets(rng, loss, (3, M))
        with np.errstate(invalid="ignore"):  # exp of exp of exp may explode: then the next seed
            Zs, As = network.forward(X)
        inputs = [distance(Z, KINKS.get(f, ())) for Z, f in zip(Zs, activations, strict=True)]
        rest = [distance(As[-1] - Y, KINKS.get(loss, ())), *(distance(W, [0]) for W in network.weights)]
        if min(inputs + rest) > KINK and max(np.abs(Z).max() for Z in Zs) < 5:
            gradients = itertools.chain(*network.gradients(X, Y))
            if all(np.abs(g).max() > 1e-3 for g in gradients):
                return network, X, Y
    raise AssertionError("no seed gives such a network")


def central_difference(f):
    """Return f'(0) to the fourth order."""
    return (8 * (f(STEP) - f(-STEP)) - (f(2 * STEP) - f(-2 * STEP))) / (12 * STEP)


def numeric_gradient(network, parameters, X, Y, weights):
    gradient = np.empty_like(parameters)
    for index, value in np.ndenumerate(parameters):

        def moved(step, index=index, value=value):
            parameters[index] = value + step
            return network.loss_value(X, Y, weights)

        gradient[index] = central_difference(moved)
        parameters[index] = value
    return gradient


# ---- Gradients ----


@pytest.mark.parametrize(("loss", "output", "hidden", "depth"), NETWORKS)
def test_gradients_are_the_slopes_of_the_loss(loss, output, hidden, depth):
    network, X, Y = network_and_batch(loss, output, hidden, depth)
    weights = None if depth == 1 else WEIGHTS
    gradients = network.gradients(X, Y, weights)
    assert len(gradients) == depth
    for layer, (dW, db) in enumerate(gradients):
        for gradient, parameters in ((dW, network.weights[layer]), (db, network.biases[layer])):
            numeric = numeric_gradient(network, parameters, X, Y, weights)
            np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize("f", ELEMENTWISE)
def test_derivatives_are_the_slopes_of_the_activations(f):
    Z = np.linspace(-4, 4, 40)  # 0 is not among them
    slopes = central_difference(lambda step: f(Z + step))
    np.testing.assert_allclose(reference.derivatives[f](Z), slopes, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
def test_the_loss_from_z_is_the_loss_of_the_activation(loss, activation):
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(4, 5)), random_targets(rng, loss, (4, 5))
    A, options = reference.ACTIVATIONS[activation](Z), options_of(loss, 4)
    value = reference.loss_value(loss, activation, Z, Y, **options)
    assert value == pytest.approx(reference.LOSSES[loss](A, Y, **options), rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}])
def test_the_derivative_of_cross_entropy_is_that_after_a_softmax(options):
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(4, 5)), random_targets(rng, "cross_entropy", (4, 5))
    dZ = reference.derivatives[reference.cross_entropy](reference.softmax(Z), Y, **options)
    np.testing.assert_array_equal(dZ, reference.output_gradient("cross_entropy", "softmax", Z, Y, **options))


@pytest.mark.parametrize("loss", reference.LOSSES)
def test_a_weight_is_how_often_a_sample_counts(loss):
    network, X, Y = network_and_batch(loss, reference.PAIRS[loss][0], "tanh", 2)
    weights, repeated = np.array([2.0, 0.0, 1.0]), [0, 0, 2]
    weighted, other = (X, Y, weights), (X[:, repeated], Y[:, repeated])
    assert network.loss_value(*weighted) == pytest.approx(network.loss_value(*other), rel=1e-13)
    assert network.loss_value(X, Y, 3 * weights) == pytest.approx(network.loss_value(*weighted), rel=1e-13)
    gradients = [itertools.chain(*network.gradients(*batch)) for batch in (weighted, other)]
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    twin = reference.Network(network.weights, network.biases, network.activations, loss, **network.options)
    twin.l1, twin.l2 = network.l1, network.l2
    assert network.optimize([weighted] * 2, "adam") == pytest.approx(twin.optimize([other] * 2, "adam"), rel=1e-12)


def test_penalties_by_hand():
    W, b, X, Y = [[2.0, -3.0]], [[5.0]], np.ones((2, 1)), np.array([[4.0]])
    network = reference.Network([W], [b], ["identity"], "mean_squared_error", l1=0.1, l2=0.01)
    assert network.loss_value(X, Y) == pytest.approx(0 + 0.1 * 5 + 0.01 / 2 * 13)
    [(dW, db)] = network.gradients(X, Y)  # the error is 0
    np.testing.assert_allclose(dW, [[0.1 + 0.02, -0.1 - 0.03]])
    assert db == 0


def test_the_notebooks_functions_are_a_network_of_two_layers():
    rng = np.random.default_rng(7)
    W1, b1, W2, b2 = reference.init_params(rng, n_inputs=5, n_hidden=6, n_classes=4)
    X, labels = rng.random((5, 8)), np.array([0, 1, 2, 1, 0, 2, 2, 1])  # never the class 3
    network = reference.Network([W1, W2], [b1, b2], ["relu", "softmax"], "cross_entropy")
    Z1, A1, Z2, A2 = reference.forward_prop(W1, b1, W2, b2, X)
    gradients = reference.backward_prop(Z1, A1, Z2, A2, W1, W2, X, labels)
    Y = reference.one_hot(labels, 4)
    for ours, theirs in zip(gradients, itertools.chain(*network.gradients(X, Y)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(network.predict(X), reference.get_predictions(A2))
    network.train(X, Y, 0.5)
    updated = reference.update_params(W1, b1, W2, b2, *gradients, 0.5)
    trained = itertools.chain(*zip(network.weights, network.biases, strict=True))
    for ours, theirs in zip(updated, trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# ---- Values ----


SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # of selu
ROOT = math.sqrt(2 / math.pi)


@pytest.mark.parametrize(
    ("f", "Z", "expected"),
    [
        (reference.identity, [-2, 3], [-2, 3]),
        (reference.relu, [-2, 0, 3], [0, 0, 3]),
        (reference.leaky_relu, [-2, 0, 3], [-0.02, 0, 3]),
        (reference.elu, [-np.log(2), 0, 3], [-1 / 2, 0, 3]),
        (reference.selu, [-np.log(2), 0, 3], [-SCALE * ALPHA / 2, 0, 3 * SCALE]),
        (reference.gelu, [-1, 0, 2], [-(1 + math.erf(-1 / math.sqrt(2))) / 2, 0, 1 + math.erf(math.sqrt(2))]),
        (reference.gelu_tanh, [0, 1, 2], [0, (1 + math.tanh(ROOT * 1.044715)) / 2, 1 + math.tanh(ROOT * 2.35772)]),
        (reference.silu, [-np.log(3), 0, np.log(3)], [-np.log(3) / 4, 0, np.log(3) * 3 / 4]),
        (reference.mish, [0, np.log(2)], [0, np.log(2) * 4 / 5]),  # tanh(log(3)) is 4 / 5
        (reference.softplus, [0, np.log(3)], [np.log(2), np.log(4)]),
        (reference.hard_swish, [-4, -3, -1, 0, 1, 3, 4], [0, 0, -1 / 3, 0, 2 / 3, 3, 4]),
        (reference.tanh, [0, np.log(2)], [0, 3 / 5]),
        (reference.sigmoid, [0, np.log(3), -np.log(3)], [1 / 2, 3 / 4, 1 / 4]),
        (reference.exp, [0, np.log(3)], [1, 3]),
        (reference.softmax, [[0, 7], [np.log(3), 7]], [[1 / 4, 1 / 2], [3 / 4, 1 / 2]]),
        # at the kinks
        (reference.relu_deriv, [-2, 0, 3, np.nan], [0, 0, 1, 0]),
        (reference.leaky_relu_deriv, [-2, 0, 3, np.nan], [0.01, 0.01, 1, 0.01]),
        (reference.elu_deriv, [-np.log(2), 0, 3], [1 / 2, 1, 1]),
        (reference.selu_deriv, [-np.log(2), 0, 3], [SCALE * ALPHA / 2, SCALE * ALPHA, SCALE]),
        (reference.hard_swish_deriv, [-3, 0, 3], [0, 1 / 2, 1]),
        # far out, where a plain formula would overflow or cancel
        (reference.sigmoid, [-300], [np.exp(-300)]),
        (reference.silu, [-300], [-300 * np.exp(-300)]),
        (reference.mish, [-300], [-300 * np.exp(-300)]),
        (reference.softplus, [-300], [np.exp(-300)]),
        (reference.gelu, [-20], [-10 * math.erfc(20 / math.sqrt(2))]),
        (reference.gelu_tanh, [-10], [-10 * np.exp(2 * ROOT * -54.715)]),
        (reference.softmax, [[-1e4, 1e4], [1e4, 1e4]], [[0, 1 / 2], [1, 1 / 2]]),
    ],
)
def test_activations_by_hand(f, Z, expected):
    np.testing.assert_allclose(f(np.array(Z)), expected, rtol=1e-15 if np.abs(Z).max() < 10 else 1e-13)


# What f(z) comes to far below 0 and far above: a + b z, given as (a, b).
FLAT, LINE = (0, 0), (0, 1)
ASYMPTOTES = {
    "identity": (LINE, LINE),
    "relu": (FLAT, LINE),
    "leaky_relu": ((0, 0.01), LINE),
    "elu": ((-1, 0), LINE),
    "selu": ((-SCALE * ALPHA, 0), (0, SCALE)),
    "gelu": (FLAT, LINE),
    "gelu_tanh": (FLAT, LINE),
    "silu": (FLAT, LINE),
    "mish": (FLAT, LINE),
    "softplus": (FLAT, LINE),
    "hard_swish": (FLAT, LINE),
    "tanh": ((-1, 0), (1, 0)),
    "sigmoid": (FLAT, (1, 0)),
    "exp": (FLAT, (np.inf, np.inf)),
}


@pytest.mark.parametrize("f", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_activations_are_their_asymptotes(f, dtype):
    for sign, (a, b) in zip((-1, 1), ASYMPTOTES[f.__name__], strict=True):
        Z = sign * np.array([1e4, 1e30, np.inf], dtype)
        np.testing.assert_allclose(f(Z), a + b * Z if b else np.full(3, a), rtol=1e-6)
        np.testing.assert_allclose(reference.derivatives[f](Z), np.full(3, b), rtol=1e-6)


@pytest.mark.parametrize("f", ELEMENTWISE)
def test_nan_stays_nan(f):
    constant = {reference.identity, reference.relu, reference.leaky_relu}  # the derivatives, on either side
    assert np.isnan(f(np.nan))
    assert f in constant or np.isnan(reference.derivatives[f](np.nan))


@pytest.mark.parametrize(
    ("loss", "A", "Y", "options", "expected"),
    [
        ("cross_entropy", [[0.5, 0.8], [0.5, 0.2]], [[1, 0], [0, 1]], {}, (np.log(2) + np.log(5)) / 2),
        ("cross_entropy", [[0.5], [0.5]], [[0.3], [0.7]], {}, np.log(2)),
        ("cross_entropy", [[0.0, 1.0], [1.0, 0.0]], [[0, 1], [1, 0]], {}, 0),
        ("cross_entropy", [[0.0], [1.0]], [[1], [0]], {}, np.inf),
        ("cross_entropy", [[np.nan], [1.0]], [[0], [1]], {}, np.nan),
        ("cross_entropy", [[0.8], [0.2]], [[1], [0]], {"label_smoothing": 0.5}, -(3 * np.log(0.8) + np.log(0.2)) / 4),
        ("binary_cross_entropy", [[0.5, 0.8], [0.9, 0.2]], [[1, 0], [1, 1]], {}, np.log(2 * 5 / 0.9 * 5) / 4),
        ("binary_cross_entropy", [[0.0, 1.0]], [[0, 1]], {}, 0),
        ("binary_cross_entropy", [[1.0]], [[0]], {}, np.inf),
        ("mean_squared_error", [[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 5]], {}, (0 + 4 + 9 + 1) / 4),
        ("mean_absolute_error", [[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 5]], {}, (0 + 2 + 3 + 1) / 4),
        ("huber", [[1.0, 2.0], [3.0, 4.5]], [[1, 0], [0, 5]], {}, (0 + 1.5 + 2.5 + 0.125) / 4),
        ("huber", [[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 5]], {"delta": 2.0}, (0 + 2 + 4 + 0.5) / 4),
        ("quantile", [[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 5]], {"levels": (0.5, 0.9)}, (0 + 1 + 0.3 + 0.9) / 4),
        ("poisson", [[2.0, 3.0], [1.0, 4.0]], [[0, 3], [5, 1]], {}, (2 + 0 + 5 * np.log(5) - 4 - np.log(4) + 3) / 4),
        ("poisson", [[0.0]], [[0]], {}, 0),
        ("poisson", [[0.0]], [[1]], {}, np.inf),
        ("given_gradient", [[1.0, 2.0], [3.0, 4.0]], [[1, 0.5], [-2, 5]], {}, (1 - 6 + 1 + 20) / 2),
    ],
)
def test_losses_by_hand(loss, A, Y, options, expected):
    value = reference.LOSSES[loss](np.array(A), np.array(Y), **options)
    assert value == pytest.approx(expected, rel=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("loss", "options", "errors", "slopes"),
    [
        ("mean_squared_error", {}, [-2, 0, 3], [-4, 0, 6]),
        ("mean_absolute_error", {}, [-2, 0, 3], [-1, 0, 1]),
        ("huber", {}, [-2, -1, 0, 0.5, 1, 3], [-1, -1, 0, 0.5, 1, 1]),
        ("huber", {"delta": 2.0}, [-3, -1, 1, 3], [-2, -1, 1, 2]),
        ("quantile", {"levels": [0.9]}, [-2, 0, 3], [-0.9, 0, 0.1]),
    ],
)
def test_slopes_by_the_error_by_hand(loss, options, errors, slopes):
    Z = np.array([errors])
    np.testing.assert_allclose(reference.output_gradient(loss, "identity", Z, 0 * Z, **options), [slopes], rtol=1e-15)


@pytest.mark.parametrize(
    ("loss", "activation", "Z", "Y", "value", "gradient"),
    [
        ("cross_entropy", "softmax", [[1e4], [-1e4]], [[0], [1]], 2e4, [[1], [-1]]),
        ("cross_entropy", "softmax", [[1e4], [-1e4]], [[1], [0]], 0, [[0], [0]]),
        ("binary_cross_entropy", "sigmoid", [[1e4], [-1e4]], [[0], [1]], 1e4, [[0.5], [-0.5]]),
        ("binary_cross_entropy", "sigmoid", [[1e4], [-1e4]], [[1], [0]], 0, [[0], [0]]),
        ("mean_squared_error", "identity", [[1e4], [-1e4]], [[0], [0]], 1e8, [[1e4], [-1e4]]),
        ("mean_squared_error", "relu", [[1e4], [-1e4]], [[0], [1]], (1e8 + 1) / 2, [[1e4], [0]]),
        ("mean_squared_error", "sigmoid", [[1e4], [-1e4]], [[0], [1]], 1, [[0], [0]]),
        ("mean_squared_error", "tanh", [[1e4], [-1e4]], [[0], [1]], 2.5, [[0], [0]]),
        ("mean_squared_error", "softmax", [[1e4], [-1e4]], [[0], [1]], 1, [[0], [0]]),
        ("mean_absolute_error", "identity", [[1e4], [-1e4]], [[0], [0]], 1e4, [[0.5], [-0.5]]),
        ("huber", "identity", [[1e4], [-1e4]], [[0], [0]], 1e4 - 0.5, [[0.5], [-0.5]]),
        ("poisson", "exp", [[-1e4], [1e4]], [[1], [1]], np.inf, [[-0.5], [np.inf]]),
        ("poisson", "exp", [[-1e4], [-1e4]], [[1], [0]], (1e4 - 1) / 2, [[-0.5], [0]]),
        ("given_gradient", "identity", [[1e4], [-1e4]], [[2], [3]], -1e4, [[2], [3]]),
        ("given_gradient", "relu", [[1e4], [-1e4]], [[2], [3]], 2e4, [[2], [0]]),
    ],
)
def test_output_layers_by_hand_far_out(loss, activation, Z, Y, value, gradient):
    Z, Y = np.array(Z), np.array(Y)
    assert reference.loss_value(loss, activation, Z, Y) == value
    np.testing.assert_array_equal(reference.output_gradient(loss, activation, Z, Y), gradient)


@pytest.mark.parametrize("f", [*ELEMENTWISE, *map(reference.derivatives.get, ELEMENTWISE), reference.softmax])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_functions_of_z_keep_the_dtype(f, dtype):
    result = f(np.arange(-3, 3, dtype=dtype).reshape(3, 2))
    assert result.dtype == (dtype if dtype != np.int64 else np.float64)
    assert result.shape == (3, 2)


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_output_gradients_keep_the_dtype(loss, activation, dtype):
    Z = np.ones((3, 2), dtype)
    assert reference.output_gradient(loss, activation, Z, Z / 3, **options_of(loss)).dtype == dtype


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
def test_nan_in_one_sample_reaches_the_loss_and_that_samples_gradient(loss, activation):
    Z, Y = np.zeros((3, 2)), reference.one_hot([1, 2], 3)
    Z[1, 0] = np.nan
    A = reference.ACTIVATIONS[activation](Z)
    options = options_of(loss)
    dZ = reference.output_gradient(loss, activation, Z, Y, **options)
    for array in (A, dZ):
        # The derivative of what is linear in the outputs does not depend on them.
        assert np.isnan(array[1, 0]) or (array is dZ and loss == "given_gradient")
        assert not np.isnan(array[:, 1]).any()
    assert np.isnan(reference.LOSSES[loss](A, Y, **options))
    assert np.isnan(reference.loss_value(loss, activation, Z, Y, **options))


# ---- Losses with options ----


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (CrossEntropy(), {"label_smoothing": 0.0}),
        (CrossEntropy(label_smoothing=0.1), {"label_smoothing": 0.1}),
        (Huber(), {"delta": 1.0}),
        (Huber(2), {"delta": 2}),
        (Quantile(), {"levels": (0.5,)}),
        (Quantile(np.array([0.1, 0.9])), {"levels": (0.1, 0.9)}),
    ],
)
def test_losses_with_options_are_what_the_functions_take(loss, options):
    assert loss.options == options
    assert set(options) == set(losses.OPTIONS[loss.name])
    assert {loss: 1}[type(loss)(**options)] == 1
    Z = Y = np.full((len(options.get("levels", "ab")), 1), 0.5)
    reference.loss_value(loss.name, reference.PAIRS[loss.name][0], Z, Y, **loss.options)


@pytest.mark.parametrize(
    ("loss", "option", "values", "others"),
    [
        (CrossEntropy, "label_smoothing", [-0.1, 1, np.nan], ["0.1", None]),
        (Huber, "delta", [0, -1, np.inf, np.nan, True], ["1", None]),
        (Quantile, "levels", [(), (0.5, 1), [0], [np.nan]], [0.5, ["0.5"]]),
    ],
)
def test_options_out_of_range_are_refused(loss, option, values, others):
    for error, refused in ((ValueError, values), (TypeError, others)):
        for value in refused:
            with pytest.raises(error, match=f"{option} must be .*number"):
                loss(value)
            with pytest.raises(error, match=f"{option} must be .*number"):
                reference.loss_value(loss.name, reference.PAIRS[loss.name][0], ONE, ONE, **{option: value})


# ---- Labels ----


@pytest.mark.parametrize(
    ("labels", "n_classes", "expected"),
    [
        ([2, 0], 3, [[0, 1], [0, 0], [1, 0]]),
        ([1, 0], 3, [[0, 1], [1, 0], [0, 0]]),
        ([1, 0], None, [[0, 1], [1, 0]]),  # the flaw of the default: the class 2 is not in the batch
    ],
)
def test_one_hot_by_hand(labels, n_classes, expected):
    hot = reference.one_hot(np.array(labels), n_classes)
    assert hot.dtype == np.float64
    np.testing.assert_array_equal(hot, expected)
    np.testing.assert_array_equal(reference.get_predictions(hot), labels)


def test_accuracy_is_the_share_of_equal_labels():
    predictions = reference.get_predictions(np.array([[0.1, 0.9, 0.2, 0.4], [0.9, 0.1, 0.8, 0.6]]))
    np.testing.assert_array_equal(predictions, [1, 0, 1, 1])
    assert reference.get_accuracy(predictions, np.array([1, 0, 1, 0])) == 0.75


# ---- Optimizers ----

CONSTANT = [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("name", "options", "gradients", "expected"),
    [
        ("sgd", {}, CONSTANT, [0.8, 0.6, 0.4]),
        ("sgd", {"momentum": 0.5}, CONSTANT, [0.8, 0.5, 0.15]),  # velocities 2, 3, 3.5
        ("sgd", {"momentum": 0.5, "nesterov": True}, CONSTANT, [0.7, 0.35, -0.025]),  # steps 3, 3.5, 3.75
        ("sgd", {"weight_decay": 0.5}, CONSTANT, [0.75, 0.5125, 0.286875]),  # gradients 2 + p / 2
        ("sgd", {"weight_decay": 0.5, "momentum": 0.5}, [2.0, 2.0], [0.75, 0.3875]),  # velocities 2.5, 3.625
        # a constant gradient has the mean g and the mean square g^2: the step is the rate times g's sign
        ("adam", {}, CONSTANT, [0.9, 0.8, 0.7]),
        ("adam", {}, [-0.5], [1.1]),
        ("adam", {"epsilon": 2.0}, CONSTANT, [0.95, 0.9, 0.85]),
        # moments 1 and 1, over 1/2 and 1/4; then 1 and 1, over 3/4 and 7/16
        ("adam", {"beta1": 0.5, "beta2": 0.75}, [2.0, 1.0], [0.9, 0.9 - 0.1 * np.sqrt(7) / 3]),
        # moments 1 and 1; the factors are sqrt(1/4) / (1/2) and then sqrt(7/16) / (3/4)
        (
            "adam",
            {"beta1": 0.5, "beta2": 0.75, "epsilon": 1.0, "epsilon_hat": True},
            [2.0, 1.0],
            [0.95, 0.95 - 0.05 * np.sqrt(7) / 3],
        ),
        ("adam", {"epsilon_hat": True}, CONSTANT, [0.9, 0.8, 0.7]),
        ("adamw", {"weight_decay": 0.0}, CONSTANT, [0.9, 0.8, 0.7]),
        ("adamw", {"weight_decay": 0.5}, CONSTANT, [0.85, 0.7075, 0.572125]),  # 0.95 p - 0.1
        ("adamw", {}, [2.0], [0.899]),
        # mean squares 3 and 5/2
        ("rmsprop", {"beta2": 0.25}, [2.0, 4.0], [1 - 0.2 / np.sqrt(3), 1 - 0.2 / np.sqrt(3) - 0.4 / np.sqrt(12.75)]),
        ("rmsprop", {"epsilon": 1.8}, [2.0], [0.9]),  # the mean square is 0.04
        # means that are kept 1, 0, -1/2; those whose signs are taken 1/2, 1/2, -3/8
        ("lion", {"beta1": 0.75, "beta2": 0.5}, [2.0, -1.0, -1.5], [0.9, 0.8, 0.9]),
        ("lion", {}, [2.0, -0.17, 0.0], [0.9, 0.8, 0.7]),
        ("lion", {}, [0.0], [1.0]),
        ("lion", {"weight_decay": 0.5}, CONSTANT, [0.85, 0.7075, 0.572125]),  # 0.95 p - 0.1
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_optimizers_by_hand(name, options, gradients, expected, dtype):
    p, state = np.array([1, -1], dtype), {}  # the second parameter mirrors the first, as its gradients do
    for t, (g, value) in enumerate(zip(gradients, expected, strict=True), start=1):
        old, gradient = p.copy(), np.array([g, -g], dtype)
        old.flags.writeable = gradient.flags.writeable = False
        p = reference.OPTIMIZERS[name](old, gradient, state, t, learning_rate=0.1, **options)
        assert p.dtype == dtype
        np.testing.assert_allclose(p, [value, -value], rtol=1e-5 if dtype == np.float32 else 1e-7)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {"learning_rate": 0.2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        ("adam", {"learning_rate": 0.05}),
        ("adamw", {"learning_rate": 0.05, "weight_decay": 0.1}),
        ("rmsprop", {"learning_rate": 0.05}),
        ("lion", {"learning_rate": 0.05, "weight_decay": 0.1}),
    ],
)
def test_a_networks_steps_are_those_of_one_long_vector(name, options):
    """Every array of parameters has its own state, and the vector of them all moves as one array would."""
    rng = np.random.default_rng(3)
    twin = random_network(rng, "cross_entropy", ["tanh", "softmax"], [3, 4, 2])
    network = reference.Network(twin.weights, twin.biases, twin.activations, twin.loss)
    batches = [(rng.normal(size=(3, 5)), reference.one_hot(rng.integers(2, size=5), 2)) for _ in range(6)]

    def flat(arrays):
        return np.concatenate([array.ravel() for pair in arrays for array in pair])

    p, state, losses = flat(zip(twin.weights, twin.biases, strict=True)), {}, []
    for t, (X, Y) in enumerate(batches, start=1):
        losses.append(twin.loss_value(X, Y))
        p = reference.OPTIMIZERS[name](p, flat(twin.gradients(X, Y)), state, t, **options)
        pieces = iter(np.split(p, np.cumsum([12, 4, 8])))
        for layer in range(2):
            twin.weights[layer] = next(pieces).reshape(twin.weights[layer].shape)
            twin.biases[layer] = next(pieces).reshape(twin.biases[layer].shape)
    assert network.optimize(batches, name, **options) == pytest.approx(losses, rel=1e-12)
    np.testing.assert_allclose(flat(zip(network.weights, network.biases, strict=True)), p, rtol=1e-10)


def test_every_optimizer_has_been_tested_above():
    tested = {
        name
        for test in (test_optimizers_by_hand, test_a_networks_steps_are_those_of_one_long_vector)
        for mark in test.pytestmark
        if "name" in mark.args[0]
        for name, *_ in mark.args[1]
    }
    assert tested == set(reference.OPTIMIZERS)


# ---- Training ----


def clusters(n_classes=3, per_class=20):
    """Return data whose classes lie apart: (n_classes + 1, m) and (m,)."""
    labels = np.repeat(np.arange(n_classes), per_class)
    noise = np.random.default_rng(5).normal(scale=0.2, size=(n_classes + 1, labels.size))
    return reference.one_hot(labels, n_classes + 1) + noise, labels


def test_grad_descent_prints_as_the_notebook_does_and_learns(capsys):
    X, labels = clusters()
    parameters = reference.grad_descent(X, labels, 0.5, 201, rng=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [f"Epoch:  {i}" for i in range(0, 201, 10)]
    accuracies = [float(line) for line in lines[1::2]]
    before = reference.forward_prop(*reference.init_params(1, n_inputs=4), X)[-1]
    assert accuracies[0] == reference.get_accuracy(reference.get_predictions(before), labels) < 0.7
    assert accuracies[-1] > 0.95
    assert [p.shape for p in parameters] == [(20, 4), (20, 1), (10, 20), (10, 1)]


def test_grad_descent_makes_room_for_more_than_ten_classes(capsys):
    parameters = reference.grad_descent(np.ones((2, 3)), np.array([0, 5, 11]), 0.1, 1, rng=0)
    assert capsys.readouterr().out.startswith("Epoch:  0\n")
    assert parameters[-1].shape == (12, 1)


def test_init_params_draws_from_minus_to_plus_one_half():
    parameters = reference.init_params(0)
    assert [p.shape for p in parameters] == [(20, 784), (20, 1), (10, 20), (10, 1)]
    W1 = parameters[0]
    assert W1.min() == pytest.approx(-0.5, abs=1e-3)
    assert W1.max() == pytest.approx(0.5, abs=1e-3)
    assert W1.mean() == pytest.approx(0, abs=0.01)
    np.testing.assert_array_equal(reference.init_params(np.random.default_rng(0))[0], W1)


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
def test_training_lowers_every_loss(loss, activation):
    X, labels = clusters()
    Y = reference.one_hot(labels, 3)
    network = random_network(np.random.default_rng(6), loss, ["tanh", activation], [4, 5, 3], **options_of(loss))
    start = network.loss_value(X, Y)
    losses = network.optimize([(X, Y)] * 200, "adam", learning_rate=0.03)
    assert losses[0] == start
    assert network.loss_value(X, Y) < 0.6 * start
    predictions = network.predict(X)
    if loss == "cross_entropy":
        assert reference.get_accuracy(predictions, labels) > 0.95
    else:
        np.testing.assert_array_equal(predictions, network.forward(X)[1][-1])


def test_a_network_owns_its_parameters():
    W, b = np.ones((2, 2)), np.ones((2, 1))
    network = reference.Network([W], [b], ["identity"], "mean_squared_error")
    assert not np.shares_memory(network.weights[0], W)
    assert not np.shares_memory(network.biases[0], b)


# ---- Refusals ----


def network(weights, biases, activations, loss="cross_entropy", **options):
    return reference.Network(weights, biases, activations, loss, **options)


@pytest.mark.parametrize(
    ("f", "arguments", "message"),
    [
        (reference.activation_backward, ("swish", ONE, ONE), "'swish'.*identity, relu, .*, softmax"),
        (reference.loss_value, ("hinge", "tanh", ONE, ONE), "'hinge'.*cross_entropy, binary_cross_entropy"),
        (reference.loss_value, ("binary_cross_entropy", "softmax", ONE, ONE), "needs sigmoid.*'softmax'"),
        (reference.loss_value, ("mean_squared_error", "swish", ONE, ONE), "identity or relu or .*'swish'"),
        (reference.loss_value, ("cross_entropy", "softmax", TWO, ONE), r"\(2, 1\), got \(1, 1\)"),
        (reference.output_gradient, ("cross_entropy", "sigmoid", ONE, ONE), "needs softmax.*'sigmoid'"),
        (reference.output_gradient, ("mean_squared_error", "tanh", TWO, ONE), r"\(2, 1\), got \(1, 1\)"),
        (partial(reference.loss_value, delta=1.0), ("mean_squared_error", "tanh", ONE, ONE), "'delta', but none"),
        (partial(reference.loss_value, level=0.5), ("quantile", "tanh", ONE, ONE), "'level', but levels"),
        (reference.quantile_loss, (TWO, TWO, [0.5]), "each of the 2 outputs, got 1"),
        (partial(network, delta=1.0), ([ONE], [ONE], ["softmax"]), "'delta', but label_smoothing"),
        (reference.cross_entropy_deriv, (TWO, ONE), r"\(2, 1\), got \(1, 1\)"),
        *(
            (partial(f, **options_of(loss, 2)), (TWO, ONE), r"\(2, 1\), got \(1, 1\)")
            for loss, f in reference.LOSSES.items()
        ),
        *((reference.one_hot, ([0, label], 3), "from 0 to 2") for label in (3, -1, 0.5)),
        (reference.get_accuracy, ([1, 2], [[1], [2]]), r"\(2,\) and \(2, 1\)"),
        (network, ([], [], []), "must be a layer"),
        (network, ([ONE], [ONE, ONE], ["softmax"]), "each layer needs"),
        (network, ([ONE], [ONE], ["tanh"]), "needs softmax"),
        (network, ([ONE, ONE], [ONE, ONE], ["swish", "softmax"]), "'swish'"),
        (network, ([TWO], [ONE], ["softmax"]), r"got \(2, 1\) and \(1, 1\)"),
        (network, ([TWO, TWO], [TWO, TWO], ["tanh", "softmax"]), r"\(n, 2\)"),
        (network, ([ONE], [[1.0]], ["softmax"]), r"and \(1,\)"),
        (network([ONE], [ONE], ["softmax"]).optimize, ([(ONE, ONE)], "adagrad"), "'adagrad'.*sgd, adam, adamw"),
    ],
)
def test_refusals_say_what_was_expected(f, arguments, message):
    with pytest.raises(ValueError, match=message):
        f(*arguments)


def test_the_tables_name_what_the_module_names():
    for table in (reference.ACTIVATIONS, reference.LOSSES, reference.OPTIMIZERS):
        for name, function in table.items():
            assert getattr(reference, "quantile_loss" if name == "quantile" else name) is function
    assert set(reference.PAIRS) == set(reference.LOSSES)
    assert set(reference.derivatives) == {*ELEMENTWISE, reference.cross_entropy}
    assert reference.reLU is reference.relu
    assert reference.reLU_deriv is reference.relu_deriv


def test_labels_that_are_none_are_refused():
    with pytest.raises(TypeError, match=r"both be text, got .S1 and <U1"):
        reference.get_accuracy(np.array([b"a", b"b"]), ["a", "b"])
    days = np.array(["2026-01-01", "2026-01-02"], "datetime64[D]")
    assert reference.get_accuracy(days, days[::-1]) == 0
    with pytest.raises(TypeError, match=r"labels must be integers, got datetime64"):
        reference.one_hot(days)
    for hidden in (np.ma.array([0, 0], mask=[False, True]), np.ma.array([0, 1])):
        with pytest.raises(TypeError, match="labels are masked"):
            reference.get_accuracy([0, 1], hidden)
        with pytest.raises(TypeError, match="labels are masked"):
            reference.one_hot(hidden)
    with pytest.raises(TypeError, match="labels must be integers, got <U1"):
        reference.one_hot(["a"])
    for labels in ([np.nan], [-1], [np.inf, 0]):
        with pytest.raises(ValueError, match="labels must be integers of at least 0"):
            reference.one_hot(labels)
    with pytest.raises(TypeError, match="integer"):
        reference.one_hot([0, 1], 2.5)


@pytest.mark.parametrize("kind", [str, object, bytes, np.dtypes.StringDType()], ids=str)
def test_names_of_classes_are_not_compared_with_their_numbers(kind):
    names = np.array(["cat", "dog", "cat"], kind)
    assert reference.get_accuracy(names, np.array(["cat", "dog", "dog"], kind)) == 2 / 3
    for one, other in [(names, [0, 1, 0]), ([0, 1, 0], names)]:
        with pytest.raises(TypeError, match=r"both be numbers or both be text.*class_names"):
            reference.get_accuracy(one, other)
        with pytest.raises(TypeError, match=r"both be numbers or both be text"):
            reference.get_accuracy(np.asarray(one, object), other)
    assert reference.get_accuracy(np.array([0, 1, 0], object), [0, 1, 1]) == 2 / 3
    assert reference.get_accuracy(np.array(["a", None], object), ["a", "b"]) == 1 / 2
