"""Sparse samples against the same ones as arrays."""

import numpy as np
import pytest

from cmlp import Adam, NeuralNetwork
from cmlp.callbacks import LambdaCallback

scipy_sparse = pytest.importorskip("scipy.sparse")


def problem(rng, features=700, m=90, density=0.05):
    X = rng.normal(size=(features, m)) * (rng.random((features, m)) < density)
    X[:, 7] = 0  # nothing at all
    return X, rng.integers(0, 3, m)


def make(features, dtype="float64", hidden=40, **settings):
    nn = NeuralNetwork(dtype=dtype, rng=3, **settings)
    nn.add_layer(features, hidden, "tanh")
    nn.add_layer(hidden, 3, "softmax")
    return nn


def test_the_matrix_that_is_given_stays_as_it_is():
    # Neither sorted nor summed up.
    X = scipy_sparse.csr_array(([1.0, 2.0, 3.0, 4.0], [2, 0, 1, 1], [0, 2, 4]), shape=(2, 3))
    before = X.data.copy(), X.indices.copy(), X.indptr.copy()
    nn = make(3, hidden=4)
    nn.fit(X, [0, 1], 2)
    np.testing.assert_array_equal(nn.forward(X), nn.forward(X.toarray().T))
    for now, kept in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(now, kept)


FORMATS = ["csr", "csc", "dok"]


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("hidden", [5, 40, 70])
@pytest.mark.parametrize("scale", [1.0, 0.5, "each"])
def test_predictions_have_the_bits_of_those_from_an_array(rng, dtype, hidden, scale):
    X, y = problem(rng)
    X = X.astype(dtype)
    nn = make(len(X), dtype, hidden, input_scale=rng.uniform(1, 2, len(X)) if scale == "each" else scale)
    sparse = scipy_sparse.csr_array(X.T).T
    if scale == "each":  # which are multiplied in double, or in the network's type
        np.testing.assert_allclose(nn.forward(sparse), nn.forward(X), rtol=1e-5 if dtype == np.float32 else 1e-13)
    else:
        assert nn.forward(sparse).tobytes() == nn.forward(X).tobytes()
        assert nn.evaluate(sparse, y) == nn.evaluate(X, y)
    assert (nn.predict(sparse[:, :3]) == nn.predict(X[:, :3])).all()


@pytest.mark.parametrize("place", [2**30, -1])
def test_places_that_are_spoilt_meanwhile_stay_in_bounds(rng, place):
    """Each then means the last feature."""
    X, y = problem(rng)
    sparse = scipy_sparse.csr_array(X.T)
    spoil = LambdaCallback(on_epoch_end=lambda _: (sparse.indices.fill(place), sparse.indptr.fill(2**30)))
    last = np.zeros_like(X)
    last[-1] = X.sum(axis=0)
    ours, theirs = make(len(X)), make(len(X))
    ours.fit(sparse.T, y, 2, shuffle=False, callbacks=[spoil])
    theirs.fit(X, y, 1, shuffle=False)
    theirs.fit(last, y, 1, shuffle=False)
    np.testing.assert_allclose(ours._params, theirs._params, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("use_core")
@pytest.mark.parametrize("kind", FORMATS)
def test_training_equals_that_on_an_array(rng, dtype, kind):
    X, y = problem(rng)
    ours, theirs = make(len(X), dtype), make(len(X), dtype)
    sparse = scipy_sparse.csr_array(X).asformat(kind)
    histories = [nn.fit(data, y, epochs=5, batch_size=32) for nn, data in ((ours, sparse), (theirs, X))]
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-4 if dtype == np.float32 else 1e-12)
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(ours._params, theirs._params, rtol=tolerance, atol=tolerance)
    assert ours.train(sparse, y, 0.1) == pytest.approx(theirs.train(X, y, 0.1), rel=1e-4)


@pytest.mark.parametrize("batch", [20, 300])
@pytest.mark.parametrize("hidden", [5, 40, 130])  # which threads share by features, or by neurons
def test_same_bits_for_any_threads_and_regime(rng, monkeypatch, hidden, batch):
    X, y = problem(rng, m=1300 if batch > 256 else 90)
    results = set()
    for threads in (1, 2, 3, 7):
        for regime in ("fused", "wide", "by_size"):
            monkeypatch.setattr("cmlp._threads.threads_for", lambda *_, number=threads: number)
            nn = make(len(X), "float32", hidden)
            nn._regime = regime
            nn.fit(scipy_sparse.csc_array(X), y, epochs=2, batch_size=batch, optimizer=Adam())
            results.add(nn._params.tobytes())
    assert len(results) == 1


@pytest.mark.usefixtures("two_processors")
@pytest.mark.parametrize("batch", [20, 300])
def test_no_room_is_made_for_the_zeros(rng, batch):
    X, y = problem(rng, features=30_000, m=300, density=0.001)
    nn = make(len(X), hidden=5)
    nn.fit(scipy_sparse.csc_array(X), y, epochs=1, batch_size=batch)
    assert nn._memory.work.size < 8 * nn._params.size  # which is 8 numbers a feature


@pytest.mark.parametrize("kind", FORMATS)
def test_samples_may_be_rows(rng, kind):
    X, y = problem(rng)
    columns, rows = make(len(X)), make(len(X))
    columns.fit(scipy_sparse.csr_array(X.T).T, y, 2)
    rows.fit(scipy_sparse.csr_array(X.T).asformat(kind), y, 2)
    assert rows._params.tobytes() == columns._params.tobytes()
    assert (rows.predict(scipy_sparse.csr_array(X.T).asformat(kind)) == columns.predict(X)).all()


@pytest.mark.parametrize("kind", ["csr", "coo", "bsr", "lil", "dok", "dia"])
def test_a_square_of_samples_must_say_which_way_they_lie(kind):
    square, y = scipy_sparse.csr_array(np.triu(np.ones((4, 4)))), [0, 1, 2, 0]
    nn = make(4)
    with pytest.raises(ValueError, match=r"may be rows or columns: give X.tocsr\(\).T if they are rows, X.tocsc"):
        nn.predict(square.asformat(kind))
    assert nn.evaluate(square.asformat(kind).tocsr().T, y) == nn.evaluate(square.toarray().T, y)
    assert nn.evaluate(square.asformat(kind).tocsc(), y) == nn.evaluate(square.toarray(), y)


def test_no_samples_are_refused_whichever_way_they_lie():
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="X must hold at least one sample, got shape"):
            make(4).predict(scipy_sparse.csr_array(shape))


def test_duplicates_are_added_and_order_does_not_matter():
    nn = make(4)
    row, column, value = [1, 1, 0, 3], [0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]
    given = scipy_sparse.coo_array((value, (row, column)), shape=(4, 2))
    np.testing.assert_allclose(nn.forward(given), nn.forward(given.toarray()), rtol=1e-14)
    backwards = scipy_sparse.csr_array((np.array([2.0, 1.0]), np.array([3, 0]), np.array([0, 2])), shape=(1, 4))
    np.testing.assert_allclose(nn.forward(backwards.T), nn.forward(backwards.toarray().T), rtol=1e-14)
    empty = scipy_sparse.csc_array((4, 3))
    np.testing.assert_allclose(nn.forward(empty), nn.forward(np.zeros((4, 3))), rtol=1e-14)


def test_what_is_not_a_number_is_refused_and_changes_nothing(rng):
    X, y = problem(rng, features=20, m=30, density=0.5)
    X[4, 5] = np.nan
    nn = make(20)
    before = nn._params.copy()
    with pytest.raises(ValueError, match="X holds NaN"):
        nn.fit(scipy_sparse.csc_array(X), y, epochs=2)
    assert (nn._params == before).all()
    with pytest.raises(ValueError, match="X must have 20 rows"):
        nn.predict(scipy_sparse.csc_array((19, 3)))
    with pytest.raises(ValueError, match="X is sparse and input_shift is not 0"):
        make(20, input_shift=1.0).predict(scipy_sparse.csc_array((20, 3)))
    with pytest.raises(TypeError, match="adapt needs X as an array"):
        nn.adapt(scipy_sparse.csc_array((20, 3)))
    with pytest.raises(TypeError, match="X must hold integers"):
        nn.predict(scipy_sparse.csc_array((20, 3), dtype=complex))


def test_what_becomes_infinite_by_a_scale_of_its_own_is_refused():
    nn = make(4, np.float32, 5, input_scale=np.array([1.0, 1e20, 1.0, 1.0]))
    X = scipy_sparse.csr_array(np.array([[0, 1e30, 0, 1.0]] * 3)).T
    with pytest.raises(ValueError, match="too large"):
        nn.predict(X)


def test_indices_beyond_the_samples_are_refused():
    X = scipy_sparse.csr_array(np.eye(4))
    X.indices[2] = 9
    with pytest.raises(ValueError, match=r"ind(ex|ices)"):
        make(4, np.float32, 5).predict(X.T)


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_the_place_of_what_is_too_large_is_named(kind):
    X = np.zeros((4, 6))
    X[1, 2], X[3, 4] = 1.0, -1e40
    nn = make(4, np.float32, 5, input_scale=1e-10)
    for _ in range(2):  # a second time, when X has been read once
        with pytest.raises(ValueError, match=r"X holds -1e\+40, too large for float32, at \[3, 4\]: .*float64"):
            nn.predict(scipy_sparse.csr_array(X).asformat(kind))
    X[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"X holds NaN at \[3, 4\]"):
        nn.predict(scipy_sparse.csr_array(X).asformat(kind))
