"""NeuralNetwork as its users hold it: building, what may be given, what is refused, copies, history."""

import contextlib
import copy
import gc
import pickle
import tracemalloc
import weakref
from itertools import pairwise

import numpy as np
import pytest

import cmlp
from cmlp import (
    SGD,
    Adam,
    CrossEntropy,
    DenseLayer,
    Huber,
    NeuralNetwork,
    cross_entropy,
    mean_squared_error,
    one_hot,
    reference,
    reLU,
    relu,
    softmax,
)

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", ">f4", ">i4", ">f8", ">u2"]


def make(rng=0, sizes=(6, 5, 3), loss="cross_entropy", output="softmax", **options):
    nn = NeuralNetwork(loss=loss, rng=rng, **options)
    for k, n in pairwise(sizes[:-1]):
        nn.add_layer(k, n, "relu")
    nn.add_layer(sizes[-2], sizes[-1], output)
    return nn


@pytest.fixture
def data(rng):
    return rng.normal(size=(6, 40)), rng.integers(0, 3, 40)


def state(nn):
    return [(layer.weights.copy(), layer.biases.copy()) for layer in nn.layers]


def same(nn, before):
    pairs = zip(state(nn), before, strict=True)
    return all((w == w0).all() and (b == b0).all() for (w, b), (w0, b0) in pairs)


def test_copies_keep_what_a_subclass_adds():
    class Named(NeuralNetwork):
        scaling = "mine"

        def __init__(self):
            super().__init__(rng=0)
            self.loss_of_mine, self.layers_of_mine = 1, 2

    nn = Named()
    nn.add_layer(2, 2, "softmax")
    twin = copy.deepcopy(nn)
    assert (twin.scaling, twin.loss_of_mine, twin.layers_of_mine) == ("mine", 1, 2)
    assert vars(twin).keys() == vars(nn).keys()


def test_a_network_is_freed_with_its_last_name(data):
    X, y = data

    def fail(_):
        raise ZeroDivisionError

    uses = {
        "fit": lambda nn: nn.fit(X, y, 2, validation_fraction=0.2),
        "predict": lambda nn: nn.predict(X),
        "NaN": lambda nn: nn.fit(np.where(np.arange(40) == 39, np.nan, X), y),
        "callback": lambda nn: nn.fit(X, y, callbacks=[cmlp.callbacks.LambdaCallback(on_epoch_end=fail)]),
        "chunks": lambda nn: nn.partial_fit([(X, y), (X, y + 7)]),
    }
    gc.collect()
    gc.disable()
    try:
        for use in uses.values():
            nn = make()
            with contextlib.suppress(ValueError, ZeroDivisionError):
                use(nn)
            kept = weakref.ref(nn)
            params = weakref.ref(nn._params)
            nn.add_layer(3, 2, "softmax")
            assert params() is None
            del nn
            assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("m", [1000, 100_000])
def test_adapt_tells_small_deviations_from_none(m):
    rng = np.random.default_rng(0)
    X = np.stack([1e9 + 1e-2 * rng.normal(size=m), np.full(m, 0.1), 1e9 + rng.normal(size=m), np.full(m, -7)])
    nn = NeuralNetwork(dtype="float64")
    nn.add_layer(4, 1, "sigmoid")
    nn.adapt(X)
    centred = X - X[:, :1]  # whose numbers are small, so that rounding is
    np.testing.assert_allclose(1 / nn.input_scale, [centred[0].std(), 1, centred[2].std(), 1], rtol=1e-4)
    np.testing.assert_allclose(nn.input_shift - X[:, 0], centred.mean(axis=1), atol=2e-7)
    assert (nn.input_shift[1], nn.input_shift[3]) == (0.1, -7)


def test_names_and_functions_mean_the_same():
    by_function = NeuralNetwork(loss=cross_entropy)
    by_function.add_layer(4, 3, reLU)
    by_function.add_layer(3, 2, softmax)
    by_name = NeuralNetwork(loss="cross_entropy")
    by_name.add_layer(4, 3, "relu")
    by_name.add_layer(3, 2, "softmax")
    assert [layer.activation for layer in by_function.layers] == [layer.activation for layer in by_name.layers]
    assert by_function.loss == by_name.loss
    assert relu is reLU


def test_every_name_of_the_interface_is_there():
    for name in cmlp.__all__:
        assert hasattr(cmlp, name)
    assert cmlp.optimizers.OPTIMIZERS["adam"] is cmlp.Adam
    notebook = "reLU sigmoid softmax cross_entropy one_hot get_predictions get_accuracy derivatives"
    assert {*notebook.split(), "DenseLayer", "NeuralNetwork"} <= set(cmlp.__all__)


def test_weights_are_views_and_can_be_assigned(data):
    X, _ = data
    nn = make()
    assert nn.layers[0].weights.shape == (5, 6)
    assert nn.layers[0].biases.shape == (5, 1)
    nn.layers[0].weights = np.zeros((5, 6))
    nn.layers[1].weights[...] = 0
    nn.layers[1].biases[2, 0] = 7
    assert (nn.predict(X) == 2).all()
    nn.layers[1].biases -= [[0], [0], [14]]
    assert (nn.predict(X) == 0).all()
    with pytest.raises(ValueError, match=r"weights must have shape \(5, 6\), got \(6, 5\)"):
        nn.layers[0].weights = np.zeros((6, 5))
    with pytest.raises(TypeError, match="biases must hold"):
        nn.layers[0].biases = np.zeros((5, 1), complex)


def test_adding_a_layer_keeps_those_there_are():
    nn = make()
    before = state(nn)
    nn.add_layer(3, 4, "tanh")
    assert len(nn.layers) == 3
    for layer, (weights, biases) in zip(nn.layers, before, strict=False):
        assert (layer.weights == weights).all()
        assert (layer.biases == biases).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_repr_is_a_table(dtype):
    lines = repr(make(sizes=(784, 30, 20, 10), dtype=dtype)).splitlines()
    assert lines[0] == f"NeuralNetwork(loss='cross_entropy', dtype='{dtype}')"
    assert lines[1].split() == ["layer", "shape", "activation", "parameters"]
    assert lines[2].split() == ["0", "784", "->", "30", "relu", "23,550"]
    assert lines[-1].split() == ["total", "24,380"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert repr(NeuralNetwork()).splitlines()[-1].split() == ["total", "0"]


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda nn: pickle.loads(pickle.dumps(nn))}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_are_equal_and_independent(data, duplicate):
    X, y = data
    nn = make()
    nn.train(X, y, 0.1)
    other = duplicate(nn)
    before = state(nn)
    assert repr(other) == repr(nn)
    assert same(other, before)
    assert nn.fit(X, y, epochs=2)["loss"] == other.fit(X, y, epochs=2)["loss"]  # the generator went with it
    assert same(nn, state(other))
    other.layers[0].weights[0, 0] += 1
    assert not same(nn, state(other))
    other.add_layer(3, 2, "softmax")
    assert len(nn.layers) == 2


def test_a_copy_of_a_subclass_keeps_what_it_has():
    class Named(NeuralNetwork):
        name = "none"

    nn = Named()
    nn.name = "digits"
    assert copy.deepcopy(nn).name == "digits"


def test_a_layer_can_be_copied_alone():
    layer = DenseLayer(4, 3, "tanh", rng=0)
    other = copy.deepcopy(layer)
    other.weights[...] = 0
    assert (layer.weights != 0).all()


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_type_gives_what_its_numbers_give(rng, kind, dtype):
    bound = 2 if kind == "?" else 100
    X = rng.integers(0 if kind in ("?", "u1", "u2", "u4", "u8", ">u2") else -100, bound, (7, 90)).astype(kind)
    nn = make(sizes=(7, 5, 3), dtype=dtype, input_scale=0.25)
    assert (nn.forward(X) == nn.forward(X.astype(dtype))).all()


def test_half_precision_means_every_half():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    nn = NeuralNetwork("mean_squared_error", dtype="float64")
    nn.add_layer(1, 1, "identity")
    nn.layers[0].weights = [[1.0]]
    assert (nn.forward(halves[np.newaxis]) == halves.astype(float)).all()


def layouts(X, tmp_path):
    padded = np.zeros((2 * X.shape[0], 3 * X.shape[1]), X.dtype)
    padded[::2, ::3] = X
    far = np.zeros((X.shape[0], 100_000), X.dtype)
    far[:, 7 : 7 + X.shape[1]] = X
    readonly = X.copy()
    readonly.flags.writeable = False
    stored = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
    stored[...] = X
    record = np.zeros(X.shape, [("pad", "u1"), ("value", X.dtype)])
    record["value"] = X
    return {
        "C": np.ascontiguousarray(X),
        "Fortran": np.asfortranarray(X),
        "every second": padded[::2, ::3],
        "far columns": far[:, 7 : 7 + X.shape[1]],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": readonly,
        "memmap": stored,
        "unaligned": record["value"],
        "list": X.tolist(),
    }


@pytest.mark.parametrize("features", [3, 130])
@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "i2"])
def test_any_layout_gives_the_same_bits(rng, tmp_path, kind, features):
    X = rng.uniform(0, 100, (features, 75)).astype(kind)
    y = rng.integers(0, 3, 75)
    results = set()
    for arranged in layouts(X, tmp_path).values():
        nn = make(sizes=(features, 5, 3))
        nn.fit(arranged, y, epochs=2, batch_size=20, learning_rate=1e-5)
        nn.train(arranged, y, 1e-6)
        results.add((nn.forward(arranged).tobytes(), nn._params.tobytes()))
    assert len(results) == 1


def test_a_broadcast_sample_is_every_sample(rng):
    nn = make()
    x = rng.normal(size=(6, 1))
    assert (nn.forward(np.broadcast_to(x, (6, 50))) == nn.forward(x)).all()


def test_a_single_sample_may_come_flat(data):
    nn = make()
    assert nn.predict(data[0][:, 3]).shape == (1,)
    assert nn.forward(data[0][:, 3]).shape == (3, 1)


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i4", "u8", "i8"])
def test_labels_of_any_shape_and_integer_type(data, kind):
    X, y = data
    y = y % 2
    forms = [y.astype(kind), y.astype(kind)[:, None], y.astype(kind)[None], one_hot(y, 3).astype(kind), y.tolist()]
    results = []
    for form in forms:
        nn = make()
        loss = nn.train(X, form, 0.1)
        results.append((loss, nn._params.tobytes(), nn.evaluate(X, form)["accuracy"]))
    assert len(set(results)) == 1


def test_classes_are_the_outputs_not_the_labels_at_hand(data):
    X, _ = data
    nn = make()
    assert np.isfinite(nn.train(X, np.zeros(40, int), 0.1))


@pytest.mark.parametrize("form", [lambda t: t, lambda t: t[0], lambda t: t[0][:, None]], ids=["row", "flat", "column"])
def test_one_number_to_predict_may_come_flat(data, form):
    X, _ = data
    t = X[:1] * 2 + 1
    nn = make(sizes=(6, 8, 1), loss=mean_squared_error, output="identity")
    history = nn.fit(X, form(t), epochs=200, batch_size=10, learning_rate=0.01)
    assert list(history) == ["loss", "learning_rate", "seconds"]
    assert nn.predict(X).shape == (1, 40)
    assert np.abs(nn.predict(X) - t).mean() < 0.2


def test_binary_classes_with_one_neuron(data):
    X, _ = data
    y = (X[0] > 0).astype(int)
    nn = make(sizes=(6, 8, 1), loss="binary_cross_entropy", output="sigmoid")
    nn.fit(X, y, epochs=100, batch_size=10, learning_rate=0.02)
    assert (nn.predict(X) == y).mean() > 0.95
    assert nn.evaluate(X, y)["accuracy"] == (nn.predict(X) == y).mean()
    assert nn.evaluate(X, y)["loss"] == pytest.approx(nn.evaluate(X, y.astype(float))["loss"])


def test_a_table_under_binary_cross_entropy_is_of_targets_whatever_its_columns_add_up_to(data):
    X, y = data
    one_each, Y = one_hot(y, 3), np.vstack([X[0] > 0, X[1] > 0.5, X[2] < 1])
    nn, labelled = (make(loss="binary_cross_entropy", output="sigmoid") for _ in range(2))
    history = nn.partial_fit([(X, one_each), (X, Y), (X, one_each.astype(int))], shuffle=False)
    assert list(history) == ["loss", "learning_rate", "seconds"]
    assert len(history["loss"]) == 3
    labelled.partial_fit([(X, y), (X, Y), (X, y)], shuffle=False)  # a label says the same of each output
    assert nn._params.tobytes() == labelled._params.tobytes()
    assert list(nn.evaluate(X, Y)) == list(nn.evaluate(X, one_each)) == ["loss"]
    assert nn.evaluate(X, one_each)["loss"] == nn.evaluate(X, y)["loss"]
    with pytest.raises(ValueError, match="integer labels in y, or under cross_entropy one-hot"):
        nn.fit(X, one_each, class_weight={0: 2.0})


def test_several_labels_a_sample_are_in_the_outputs(data):
    X, _ = data
    Y = np.vstack([X[0] > 0, X[1] > 0.5, X[2] < 1])
    nn = make(sizes=(6, 16, 3), loss="binary_cross_entropy", output="sigmoid")
    nn.fit(X, Y, epochs=150, batch_size=10, learning_rate=0.02)
    assert ((nn.forward(X) > 0.5) == Y).mean() > 0.95
    assert (nn.predict(X) == nn.forward(X).argmax(axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(0.2)])
def test_shares_of_classes_are_targets(data, dtype, loss):
    X, y = data
    shares = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], len(y)).T
    nn = make(loss=loss, dtype=dtype)
    layers = [(layer.weights.astype(float), layer.biases.astype(float), layer.activation) for layer in nn.layers]
    oracle = reference.Network(*map(list, zip(*layers, strict=True)), "cross_entropy", **loss.options)
    assert list(nn.evaluate(X, shares)) == ["loss"]
    for _ in range(20):
        assert nn.train(X, shares, 0.5) == pytest.approx(oracle.train(X, shares, 0.5), rel=1e-5)
    np.testing.assert_allclose(nn.forward(X), oracle.forward(X)[1][-1], rtol=1e-4 if dtype == "float32" else 1e-10)
    assert nn.fit(X, shares, epochs=1, validation_data=(X, y)).keys() >= {"loss", "val_loss", "val_accuracy"}
    with pytest.raises(ValueError, match="class_weight needs classes"):
        nn.fit(X, shares, class_weight="balanced")


def test_shares_may_be_rounded(data):
    X, _ = data
    teacher = make(rng=1).forward(X)  # whose float32 do not add up to 1 exactly
    teacher[:, 0] = [1 / 3, 1 / 3, 1 / 3 + 1e-3]
    student, other = make(), make()
    student.fit(X, teacher.astype(np.float16), epochs=2)
    other.fit(X, teacher, epochs=2)
    np.testing.assert_allclose(student.forward(X), other.forward(X), atol=1e-3)


def test_a_step_by_a_gradient_of_ones_own_is_that_of_the_loss(data):
    X, y = data
    own = make(loss="given_gradient", output="softmax", dtype="float64")
    twin = make(dtype="float64")
    adam = Adam(0.01)
    for _ in range(5):
        gradient = -one_hot(y, 3) / own.forward(X)  # of the cross-entropy, by the probabilities
        own.partial_fit(X, gradient, len(y), adam, shuffle=False)
        twin.partial_fit(X, y, len(y), adam, shuffle=False)
        np.testing.assert_allclose(own.forward(X), twin.forward(X), rtol=1e-9)
    assert own.predict(X).shape == (3, len(y))
    assert own.evaluate(X, gradient)["loss"] == pytest.approx((gradient * own.forward(X)).sum(axis=0).mean())
    before = state(own)
    for further, message in [
        (lambda: own.fit(X, gradient, epochs=2), "40 samples with batch_size=128 and epochs=2"),
        (lambda: own.fit(X, gradient, 1, 39), "batch_size=39 and epochs=1; call partial_fit with all"),
        (lambda: own.partial_fit([(X, gradient)], batch_size=39), "40 samples with batch_size=39; call"),
        (lambda: own.fit(X, gradient, optimizer="lbfgs"), "not given_gradient"),
    ]:
        with pytest.raises(ValueError, match=message):
            further()
    np.testing.assert_equal(state(own), before)
    own.layers[0].dropout = 0.5
    with pytest.raises(ValueError, match="given_gradient cannot have dropout"):
        own.partial_fit(X, gradient)


def test_history_has_a_number_for_every_epoch(data):
    X, y = data
    history = make().fit(X, y, epochs=3, validation_data=(X[:, :7], y[:7]))
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert {len(values) for values in history.values()} == {3}
    nn = make()
    history = nn.fit(X, y, epochs=1, batch_size=40, validation_data=(X, y))
    assert history["loss"][0] == pytest.approx(make().evaluate(X, y)["loss"])
    assert history["val_loss"][0] == nn.evaluate(X, y)["loss"]


def test_verbose_prints_a_line_an_epoch(data, capsys):
    history = make().fit(*data, epochs=2, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"epoch 2/2  loss {history['loss'][1]:.4f}  accuracy {history['accuracy'][1]:.4f}")


nan, inf = np.nan, np.inf
X_GOOD, Y_GOOD = np.ones((6, 4)), np.array([0, 1, 2, 0])


def spoil(value, row=2, column=3):
    X = np.ones((6, 4))
    X[row, column] = value
    return X


BAD_INPUTS = {
    "samples as rows": (np.ones((4, 6)), Y_GOOD, ValueError, r"6 rows.*\(4, 6\): X.T, perhaps"),
    "features": (np.ones((5, 4)), Y_GOOD, ValueError, r"X must have 6 rows.*\(5, 4\)"),
    "dimensions": (np.ones((6, 4, 1)), Y_GOOD, ValueError, r"2 dimensions.*\(6, 4, 1\)"),
    "number": (3.0, Y_GOOD, ValueError, "2 dimensions"),
    "no samples": (np.ones((6, 0)), np.array([], int), ValueError, "at least one sample"),
    "nan": (spoil(nan), Y_GOOD, ValueError, r"X holds NaN at \[2, 3\]"),
    "infinity": (spoil(-inf), Y_GOOD, ValueError, r"X holds infinity at \[2, 3\]"),
    "too large for float32": (spoil(1e300), Y_GOOD, ValueError, r"1e\+300, too large for float32, at \[2, 3\]"),
    "complex": (np.ones((6, 4), complex), Y_GOOD, TypeError, "X must hold .* got complex128"),
    "object": (np.ones((6, 4), object), Y_GOOD, TypeError, r"got object: X.astype\('float32'\), if they are numbers"),
    "chunks": (iter([]), Y_GOOD, TypeError, "got object: chunks go to partial_fit"),
    "text": (np.full((6, 4), "1"), Y_GOOD, TypeError, "got <U1"),
    "dates": (np.ones((6, 4), "M8[s]"), Y_GOOD, TypeError, "got datetime64"),
    "too few labels": (X_GOOD, np.array([0, 1]), ValueError, r"y must hold 4 labels.*got \(2,\)"),
    "no labels": (X_GOOD, np.array([], int), ValueError, r"y must hold 4 labels.*got \(0,\)"),
    "label too large": (X_GOOD, np.array([0, 1, 2, 3]), ValueError, "labels from 0 to 2, got 3"),
    "label negative": (X_GOOD, np.array([0, -1, 2, 3]), ValueError, "labels from 0 to 2, got -1"),
    "labels of floats": (X_GOOD, np.array([1.0, 0, 2, 0]), TypeError, r"got float64 such as 1: y.astype\(int\), perh"),
    "label is no integer": (X_GOOD, np.array([1, 0.5, 2, 0]), TypeError, "got float64 such as 0.5: numbers .* loss"),
    "label is nan": (X_GOOD, np.array([1, nan, 2, 0]), ValueError, r"y holds NaN at \[0, 1\]"),
    "one-hot rows": (X_GOOD, one_hot(Y_GOOD, 3).T, ValueError, r"or have shape \(3, 4\), got \(4, 3\): y.T, perhaps"),
    "flat sample": (np.ones(5), Y_GOOD, ValueError, r"X must have 6 rows.*got shape \(5,\)$"),
    "label is text": (
        X_GOOD,
        np.array(list("abca")),
        TypeError,
        r"got <U1: labels of text .* np.unique\(y, return_inv",
    ),
    "ragged": ([[1.0, 2.0], [3.0]], Y_GOOD, ValueError, "X must be an array of numbers: .*inhomogeneous"),
    "no X": (None, Y_GOOD, TypeError, "X must be an array, got None"),
    "no y": (X_GOOD, None, TypeError, "y must be an array, got None"),
    "masked": (np.ma.masked_array(np.ones((6, 4)), mask=True), Y_GOOD, TypeError, "X is masked"),
    "two classes a sample": (X_GOOD, np.ones((3, 4)), ValueError, r"one-hot columns, or .* got 3 in column 0"),
    "no whole": (X_GOOD, np.full((3, 4), 0.32), ValueError, "add up to 1: got 0.96 in column 0"),
    "a negative share": (X_GOOD, np.full((3, 4), [[-0.5], [1], [0.5]]), ValueError, r"y must lie .* -0.5 to 1"),
    "nan in y": (X_GOOD, np.full((3, 4), nan), ValueError, "y holds NaN"),
}


METHODS = {
    "train": lambda nn, X, y: nn.train(X, y, 0.1),
    "fit": lambda nn, X, y: nn.fit(X, y),
    "evaluate": lambda nn, X, y: nn.evaluate(X, y),
    "predict": lambda nn, X, _: nn.predict(X),
    "forward": lambda nn, X, _: nn.forward(X),
}
WITH_Y = ("train", "fit", "evaluate")


@pytest.mark.parametrize(
    ("case", "method"),
    [(case, method) for case in BAD_INPUTS for method in METHODS if method in WITH_Y or BAD_INPUTS[case][1] is Y_GOOD],
)
def test_bad_input_is_refused_and_changes_nothing(case, method):
    X, y, error, message = BAD_INPUTS[case]
    nn = make()
    before, generator = state(nn), nn.rng.bit_generator.state
    with pytest.raises(error, match=message):
        METHODS[method](nn, X, y)
    assert same(nn, before)
    assert nn.rng.bit_generator.state == generator


TOO_LARGE = {  # for float32, as the core takes it in
    "before it is scaled": (1e40, {"input_scale": 1e-10}, "1e.40, too large for float32, at"),
    "once scaled": (1e30, {"input_scale": 1e10}, "1e.30, too large for float32 when it has been scaled, at"),
    "by a scale of its own": (1e30, {"input_scale": [1, 1, 1e10, 1, 1, 1]}, "1e.30, too large for float32 when"),
    "shifted": (1e30, {"input_scale": 1e10, "input_shift": 1.0}, "1e.30, too large for float32 when"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_becomes_infinite_in_the_networks_type_is_refused(case, method):
    value, scaling, message = TOO_LARGE[case]
    nn = make(**scaling)
    before, generator = state(nn), nn.rng.bit_generator.state
    with pytest.raises(ValueError, match=rf"X holds {message}.*\[2, 3\]: give smaller numbers, or .* dtype='float64'"):
        METHODS[method](nn, np.where(spoil(0) == 0, value, 0), Y_GOOD)
    assert same(nn, before)
    assert nn.rng.bit_generator.state == generator
    assert np.isfinite(make(dtype="float64", **scaling).forward(spoil(value))).all()


def test_one_number_a_sample_is_a_row():
    nn = make(sizes=(1, 3))
    with pytest.raises(ValueError, match=r"X must have 1 rows.* got shape \(5,\): X\[np.newaxis\], perhaps"):
        nn.predict(np.ones(5))


def test_what_is_scaled_in_double_may_be_large_before():
    """Features with scales of their own are scaled before they are rounded."""
    X = spoil(1e40)
    wide, narrow = (make(dtype=dtype, input_scale=[1, 1, 1e-40, 1, 1, 1]) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(narrow.forward(X), wide.forward(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "hint"),
    [
        *[(np.ones(shape, int), r": from labels: cmlp.one_hot\(y, 2\)") for shape in ((4,), (4, 1), (1, 4))],
        (np.ones((4, 2)), ": y.T, perhaps"),
        *[(np.ones(shape), "") for shape in ((4,), (3, 4), (1, 4))],
    ],
)
def test_regression_refuses_targets_of_another_shape(y, hint):
    nn = make(sizes=(6, 2), loss="mean_squared_error", output="identity")
    with pytest.raises(ValueError, match=rf"outputs' shape \(2, 4\), got \({y.shape[0]},[ 0-9]*\){hint}$"):
        nn.train(X_GOOD, y, 0.1)
    with pytest.raises(ValueError, match="y holds infinity"):
        nn.train(X_GOOD, np.full((2, 4), inf), 0.1)


def test_regression_says_nothing_of_labels():
    nn = make(sizes=(6, 1), loss="mean_squared_error", output="identity")
    with pytest.raises(TypeError, match=r"y must hold integers, floating-point numbers or bools, got <U1$"):
        nn.train(X_GOOD, np.array(list("abca")), 0.1)


def test_binary_targets_lie_between_0_and_1():
    nn = make(sizes=(6, 2), loss="binary_cross_entropy", output="sigmoid")
    with pytest.raises(ValueError, match=r"y must lie between 0 and 1 .* 2.0"):
        nn.train(X_GOOD, np.full((2, 4), 2.0), 0.1)


CALLS = {
    "scale is 0 in float32": (lambda _: NeuralNetwork(input_scale=1e-300), ValueError, "input_scale must be finite"),
    "scale is infinite in float32": (
        lambda _: NeuralNetwork(input_scale=1e300),
        ValueError,
        "input_scale must be finite",
    ),
    "activation is an array": (lambda nn: nn.add_layer(3, 2, np.zeros(3)), ValueError, "'identity', 'relu'"),
    "dtype is None": (lambda _: NeuralNetwork(dtype=None), ValueError, "'float32', 'float64', got 'None'"),
    "epsilon": (lambda _: Adam(epsilon=1e-60), ValueError, "epsilon must be finite, at least 1e-16"),
    "validation y": (
        lambda nn: nn.fit(X_GOOD, Y_GOOD, validation_data=(X_GOOD, [0, 1])),
        ValueError,
        "y of validation_data must hold 4 labels",
    ),
    "validation rows": (
        lambda nn: nn.fit(X_GOOD, Y_GOOD, validation_data=(X_GOOD.T, Y_GOOD)),
        ValueError,
        r"X of validation_data must have 6 rows.*\(4, 6\): X.T, perhaps",
    ),
    "no layers": (lambda _: NeuralNetwork().predict(X_GOOD), ValueError, "no layers: add one with add_layer"),
    "sizes do not meet": (lambda nn: nn.add_layer(4, 2, "relu"), ValueError, "input_size must be 3.*got 4"),
    "size 0": (lambda nn: nn.add_layer(3, 0, "relu"), ValueError, "nr_neurons must be at least 1"),
    "size 2.5": (lambda nn: nn.add_layer(3, 2.5, "relu"), TypeError, "nr_neurons must be a whole number"),
    "size True": (lambda nn: nn.add_layer(3, True, "relu"), TypeError, "whole number"),
    "activation": (lambda nn: nn.add_layer(3, 2, "swish"), ValueError, "'identity', 'relu'.*got 'swish'"),
    "init": (lambda nn: nn.add_layer(3, 2, "relu", init="zeros"), ValueError, "'he_normal'.*got 'zeros'"),
    "loss": (lambda _: NeuralNetwork(loss=max), ValueError, "'cross_entropy'.*got <built-in"),
    "loss class": (lambda _: NeuralNetwork(loss=Huber), TypeError, r"got the class Huber: Huber\(\) is one"),
    "dtype": (lambda _: NeuralNetwork(dtype="float16"), ValueError, "'float32', 'float64', got 'float16'"),
    "no dtype": (lambda _: NeuralNetwork(dtype="single precision"), ValueError, "dtype must be"),
    "rng": (lambda _: NeuralNetwork(rng="seed"), TypeError, "rng, unless it is None or a Generator"),
    "negative rng": (lambda _: NeuralNetwork(rng=-1), ValueError, "at least 0"),
    "scale": (lambda _: NeuralNetwork(input_scale=0), ValueError, "input_scale must be finite, at least 1.17"),
    "epochs": (lambda nn: nn.fit(X_GOOD, Y_GOOD, epochs=0), ValueError, "epochs must be at least 1, got 0"),
    "batch": (lambda nn: nn.fit(X_GOOD, Y_GOOD, batch_size=1.5), TypeError, "batch_size must be a whole number"),
    "optimizer": (lambda nn: nn.fit(X_GOOD, Y_GOOD, optimizer="adadelta"), ValueError, "'sgd', 'adam', 'adamw'"),
    "optimizer class": (lambda nn: nn.fit(X_GOOD, Y_GOOD, optimizer=SGD), TypeError, "instance of its class"),
    "rate": (lambda nn: nn.fit(X_GOOD, Y_GOOD, learning_rate=-1), ValueError, "learning_rate must be finite, more"),
    "rate is nan": (lambda nn: nn.train(X_GOOD, Y_GOOD, nan), ValueError, "learning_rate must be finite"),
    "rate is text": (lambda nn: nn.train(X_GOOD, Y_GOOD, "0.1"), TypeError, "learning_rate must be a number"),
    "momentum": (lambda _: SGD(0.1, momentum=1.0), ValueError, "momentum must be .* less than 1"),
    "nesterov": (lambda _: SGD(0.1, nesterov=True), ValueError, "nesterov needs a momentum"),
    "validation": (lambda nn: nn.fit(X_GOOD, Y_GOOD, validation_data=X_GOOD), TypeError, r"pair \(X, y\)"),
    "validation nan": (
        lambda nn: nn.fit(X_GOOD, Y_GOOD, validation_data=(spoil(nan), Y_GOOD)),
        ValueError,
        "X of validation_data holds NaN",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_bad_arguments_are_refused_and_change_nothing(case):
    call, error, message = CALLS[case]
    nn = make()
    before, generator = state(nn), nn.rng.bit_generator.state
    with pytest.raises(error, match=message):
        call(nn)
    assert len(nn.layers) == 2
    assert same(nn, before)
    assert nn.rng.bit_generator.state == generator


@pytest.mark.parametrize(
    ("loss", "output"),
    [("cross_entropy", "sigmoid"), ("cross_entropy", "identity"), ("binary_cross_entropy", "softmax")],
)
def test_a_loss_without_a_gradient_is_refused_by_name(loss, output):
    nn = make(loss=loss, output=output)
    with pytest.raises(ValueError, match=f"{loss} has no gradient after {output}. Valid pairs: .*after sigmoid; mean"):
        nn.train(X_GOOD, Y_GOOD, 0.1)
    with pytest.raises(ValueError, match="softmax of a single neuron"):
        make(sizes=(6, 1)).train(X_GOOD, np.zeros(4, int), 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("take", ["train", "fit"])
def test_a_step_to_infinity_is_not_taken(rng, dtype, take):
    X, y = rng.normal(size=(6, 40)) * 1e3, rng.normal(size=(2, 40))
    nn = make(sizes=(6, 4, 2), loss="mean_squared_error", output="identity", dtype=dtype)

    def step():
        if take == "train":
            nn.train(X, y, 1e6)
        else:
            nn.fit(X, y, epochs=30, batch_size=10, optimizer="sgd", learning_rate=1e6)

    best = state(nn)
    with contextlib.suppress(FloatingPointError):
        for _ in range(100):
            best = state(nn)
            step()
    with pytest.raises(FloatingPointError, match=f"not a finite {dtype}.*(no step was|not|back)"):
        step()
    assert all(np.isfinite(w).all() and np.isfinite(b).all() for w, b in state(nn))
    if take == "train":
        assert same(nn, best)
    else:
        assert np.isfinite(nn.evaluate(X, y)["loss"])  # the step that led there was taken back


@pytest.mark.parametrize("batch_size", [10, 40, 10**30])
def test_a_step_is_taken_back_from_the_next_epoch_too(rng, batch_size):
    X, y = rng.normal(size=(6, 40)) * 1e3, rng.normal(size=(2, 40))
    nn = make(sizes=(6, 4, 2), loss="mean_squared_error", output="identity")
    with pytest.raises(FloatingPointError, match=r"step \d+ (led to a loss|would lead)"):
        nn.fit(X, y, epochs=100, batch_size=batch_size, optimizer=SGD(1e3))
    assert np.isfinite(nn.evaluate(X, y)["loss"])


@pytest.mark.parametrize("regime", ["fused", "wide"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("take", ["train", "fit"])
def test_a_step_to_finite_parameters_with_an_infinite_loss_is_taken_back_at_once(rng, dtype, steps, regime, take):
    X, y = rng.normal(size=(6, 40)), rng.normal(size=(2, 40))
    large = float(np.finfo(dtype).max) ** 0.6  # a step of this size is finite, the loss behind it is not
    nn = make(sizes=(6, 4, 2), loss="mean_squared_error", output="identity", dtype=dtype)
    nn._regime = regime
    for _ in range(steps - 1):
        nn.train(X, y, 0.1)
    before = state(nn)
    step = {"train": lambda: nn.train(X, y, large), "fit": lambda: nn.fit(X, y, 1, 40, SGD(large))}[take]
    with pytest.raises(FloatingPointError, match="step 1 led to a loss that is not a finite"):
        step()
    assert same(nn, before)


@pytest.mark.parametrize("take", ["train", "fit", "partial_fit"])
def test_a_step_of_small_exponents_to_an_infinite_loss_is_taken_back_at_once(take):
    X, y = np.full((1, 4), 100.0), np.full((1, 4), 9.0)
    nn = NeuralNetwork("poisson", rng=0)
    nn.add_layer(1, 1, "exp")
    nn.layers[0].weights = [[0.01]]
    before = state(nn)
    with pytest.raises(FloatingPointError, match="step 1 led to a loss that is not a finite"):
        getattr(nn, take)(X, y, **({"learning_rate": 1.0} if take == "train" else {"optimizer": SGD(1.0)}))
    assert same(nn, before)


def test_targets_beyond_the_networks_type_are_refused():
    nn = make(sizes=(6, 2), loss="mean_squared_error", output="identity")
    with pytest.raises(ValueError, match=r"y holds 1e.300, too large for float32"):
        nn.evaluate(X_GOOD, np.full((2, 4), 1e300))


def test_prediction_passes_on_what_is_not_finite_in_the_weights(data):
    nn = make()
    nn.layers[0].weights[0, 0] = nan
    assert np.isnan(nn.forward(data[0])).all()


@pytest.mark.usefixtures("two_processors")
def test_x_is_never_copied_as_a_whole(rng):
    X = rng.integers(0, 256, (784, 20_000), dtype=np.uint8)
    y = rng.integers(0, 10, 20_000)
    nn = make(sizes=(784, 30, 20, 10), input_scale=1 / 255)
    tracemalloc.start()
    nn.train(X, y, 0.1)
    nn.fit(X, y, epochs=1)
    nn.predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # in float32 X would be 63 MB, as bytes it is 16 MB


KINDS = {
    "as they are": lambda X: X,
    "strides": lambda X: np.ascontiguousarray(X),
    "single": lambda X: X.astype(np.float32),
    "bytes": lambda X: (np.abs(X) % 200).astype(np.uint8),
    "large": lambda X: X + 1e9,
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapted_networks_see_standardised_features(rng, dtype, kind):
    X = KINDS[kind](rng.normal(size=(300, 6)).T * [[1.0], [20.0], [300.0], [0.5], [7.0], [0.0]] + 40.0)
    y = rng.integers(0, 3, 300)
    nn, plain = make(sizes=(6, 5, 3), dtype=dtype), make(sizes=(6, 5, 3), dtype=dtype)
    nn.adapt(X)
    exact = X.astype(np.longdouble)
    deviation = exact.std(axis=1, keepdims=True)
    deviation[deviation == 0] = 1
    standardised = ((exact - exact.mean(axis=1, keepdims=True)) / deviation).astype(np.float64)
    tolerance = 1e-5 if dtype == np.float32 or kind == "large" else 1e-10
    np.testing.assert_allclose(nn.forward(X), plain.forward(standardised), rtol=tolerance, atol=tolerance)
    history, expected = (each.fit(x, y, epochs=2, shuffle=False) for each, x in ((nn, X), (plain, standardised)))
    assert history["loss"] == pytest.approx(expected["loss"], rel=10 * tolerance)
    np.testing.assert_allclose(nn.forward(X[:, 3]), plain.forward(standardised[:, 3]), rtol=10 * tolerance)
    again = copy.deepcopy(nn)
    assert (again.forward(X) == nn.forward(X)).all()


def test_scaling_can_be_assigned_and_is_judged(rng):
    X = rng.normal(size=(6, 9))
    nn = make(sizes=(6, 5, 3))
    plain = nn.forward(X)
    nn.input_shift, nn.input_scale = 0.25, np.full(6, 2.0)
    np.testing.assert_allclose(nn.forward(X / 2 + 0.25), plain, rtol=1e-5)
    for name, value, message in [
        ("input_scale", np.ones(5), r"input_scale must have shape \(6,\)"),
        ("input_scale", [1, 2, 0, 1, 1, 1], "input_scale must hold numbers of more than 0 and less than 3.4"),
        ("input_shift", [[1.0]], r"input_shift must be a number or have shape \(features,\)"),
        ("input_shift", np.nan, "input_shift must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            setattr(nn, name, value)
    np.testing.assert_allclose(nn.forward(X / 2 + 0.25), plain, rtol=1e-5)
    with pytest.raises(ValueError, match="loss must be one of"):
        nn.loss = "mse"


@pytest.mark.parametrize("duplicate", [lambda nn: nn, *COPIES.values()], ids=["itself", *COPIES])
@pytest.mark.parametrize("name", ["input_scale", "input_shift"])
def test_scaling_is_assigned_as_a_whole(rng, name, duplicate):
    given = np.arange(1.0, 7.0)
    nn = duplicate(make(**{name: given}))
    X = rng.normal(size=(6, 9))
    plain = nn.forward(X)
    with pytest.raises(ValueError, match="read-only"):
        getattr(nn, name)[0] = 5
    given[0] = 5  # the network has its own
    assert getattr(nn, name)[0] == 1
    assert (nn.forward(X) == plain).all()
    setattr(nn, name, given)
    assert (nn.forward(X) == make(**{name: given}).forward(X)).all()


def test_options_of_the_loss_are_assigned_with_it():
    nn = make(loss=Huber(2.0), output="identity")
    assert nn.loss_options == {"delta": 2.0}
    with pytest.raises(TypeError, match="does not support item assignment"):
        nn.loss_options["delta"] = 3.0
    nn.loss = Huber(3.0)
    assert nn.loss_options == {"delta": 3.0}
    assert make().loss_options == {}


def test_a_generator_is_assigned_as_it_is_given():
    nn = make()
    nn.rng = 7
    assert nn.rng.bit_generator.state == np.random.default_rng(7).bit_generator.state
    with pytest.raises(TypeError, match="rng, unless it is None or a Generator, must be a whole number, got 'seed'"):
        nn.rng = "seed"


def test_adapt_refuses_what_it_cannot_square():
    nn = NeuralNetwork(rng=0, dtype="float64")
    nn.add_layer(2, 1, "identity")
    with pytest.raises(ValueError, match=r"X must hold numbers whose squares .* feature 1 has larger ones"):
        nn.adapt(np.vstack([np.arange(7.0), 1e200 * np.arange(7.0)]))


def test_adapt_refuses_what_it_cannot_divide_by():
    X = np.vstack([np.arange(7.0), 1e-39 * np.arange(7.0)])
    nn = NeuralNetwork(rng=0)
    nn.add_layer(2, 1, "identity")
    with pytest.raises(ValueError, match=r"by which float32 can be divided: that of feature 1 is 2e-39; multiply X"):
        nn.adapt(X)
    nn = NeuralNetwork(rng=0, dtype="float64")
    nn.add_layer(2, 1, "identity")
    nn.adapt(X)
    np.testing.assert_allclose(nn.input_scale, [0.5, 0.5e39])


@pytest.mark.parametrize("constant", [0.1, -1e9 / 3, 0.0])
def test_adapt_only_shifts_a_feature_that_is_constant(constant):
    nn = NeuralNetwork(rng=0)
    nn.add_layer(2, 1, "identity")
    nn.adapt(np.vstack([np.full(7, constant), np.arange(7.0)]))
    assert nn.input_scale[0] == 1
    assert nn.input_scale[1] == pytest.approx(0.5)
