"""What an exception at any line leaves of a network: Ctrl-C, another signal's handler, no memory left."""

import copy
import linecache
import pickle
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import cmlp
from cmlp import Adam, NeuralNetwork, _arrays, model_file, network, reference
from cmlp.callbacks import EarlyStopping

PACKAGE = str(Path(cmlp.__file__).parent)


class Interrupt(BaseException):
    """As KeyboardInterrupt, but nobody else's."""


def interrupt(action, at, kept):
    """Do it, and raise in the package's line that comes as the at-th; return whether there were so many."""
    left = at

    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        # Tracing comes in between the ends of a block and what it holds too, where no signal does.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and "_memory.owner" not in line and line != "try:":
            left -= 1
            if left == 0:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except Interrupt as error:
        kept.append(error)  # as Python keeps it at its prompt, and the frames with it
        return True
    finally:
        sys.settrace(before)
    return False


def make():
    nn = NeuralNetwork(rng=0, dtype="float64", input_scale=0.5)
    nn.add_layer(6, 5, "tanh")
    nn.add_layer(5, 3, "softmax")
    return nn


X = np.random.default_rng(1).normal(size=(6, 50))
Y = np.random.default_rng(2).integers(0, 3, 50)


def is_whole(nn):
    """That it computes what its layers say, and can be trained."""
    for layer in nn.layers:
        assert np.shares_memory(layer.weights, nn._params)
        assert np.shares_memory(layer.biases, nn._params)
    weights, biases = [layer.weights for layer in nn.layers], [layer.biases for layer in nn.layers]
    oracle = reference.Network(weights, biases, [layer.activation for layer in nn.layers], nn.loss)
    np.testing.assert_allclose(nn.forward(X), oracle.forward(nn.input_scale * X)[1][-1], rtol=1e-9)
    np.testing.assert_allclose(nn.forward(X[:, :3]), oracle.forward(nn.input_scale * X[:, :3])[1][-1], rtol=1e-9)
    y = Y if nn.layers[-1].neurons == 3 else Y % 2
    twin = pickle.loads(pickle.dumps(nn))
    assert nn.train(X, y, 0.01) == twin.train(X, y, 0.01)
    for one in (nn, twin):
        one.fit(X, y, 1, 20, Adam(0.1))
    assert nn._params.tobytes() == twin._params.tobytes()
    if find_spec("safetensors"):
        model_file.dumps(nn)


def set_dropout(nn):
    nn.layers[0].dropout = 0.5
    nn.evaluate(X, Y)


ACTIONS = {
    "add_layer": lambda nn: nn.add_layer(3, 2, "softmax"),
    "input_scale": lambda nn: setattr(nn, "input_scale", 3.0),
    "loss": lambda nn: setattr(nn, "loss", cmlp.CrossEntropy(0.1)),
    "dropout": set_dropout,
    "reset": lambda nn: nn.reset(),
    "predict": lambda nn: nn.predict(X[:, :2]),
    "train": lambda nn: nn.train(X, Y, 0.1),
    "fit": lambda nn: nn.fit(X, Y, 2, 20, Adam(0.1)),
    "early stopping": lambda nn: nn.fit(X, Y, 2, 20, Adam(0.1), callbacks=[EarlyStopping(lambda *_: 1.0, mode="max")]),
}


@pytest.mark.parametrize("what", ACTIONS)
def test_a_network_is_whole_wherever_it_is_interrupted(what):
    states = {}
    for epochs in range(3):
        twin = make()
        if epochs > 0:
            twin.fit(X, Y, epochs, 20, Adam(0.1))
            states[3 * epochs] = twin._memory.moments.tobytes(), twin._params.tobytes()
    at = 0
    while True:
        at += 1
        nn, kept = make(), []
        if not interrupt(lambda nn=nn: ACTIONS[what](nn), at, kept):
            break
        memory = nn._memory
        if memory.taken > 0 and what == "fit":
            assert (memory.moments.tobytes(), nn._params.tobytes()) == states[memory.taken]
        is_whole(nn)
    assert at > 5


@pytest.mark.parametrize("where", [(_arrays, "zeros"), (network, "_body_of"), (network.DenseLayer, "_draw")])
@pytest.mark.parametrize("what", ["add_layer", "input_scale", "loss"])
def test_what_finds_no_memory_changes_nothing(what, where, monkeypatch):
    nn = make()
    before, parameters = nn.forward(X), nn._params.copy()

    def full(*_):
        raise MemoryError

    needed = where[1] == "_body_of" or what == "add_layer"
    monkeypatch.setattr(*where, full)
    with pytest.raises(MemoryError) if needed else nullcontext():
        ACTIONS[what](nn)
    monkeypatch.undo()
    if needed:
        assert len(nn.layers) == 2
        np.testing.assert_array_equal(nn.forward(X), before)
        np.testing.assert_array_equal(nn._params, parameters)
    is_whole(nn)


def test_a_prediction_beside_a_change_is_of_one_of_the_two(monkeypatch):
    nn = make()
    work_for = NeuralNetwork._work_for

    def late(self, *given):
        monkeypatch.setattr(NeuralNetwork, "_work_for", work_for)
        self.input_scale = 7.0
        return work_for(self, *given)

    before = copy.deepcopy(nn).forward(X[:, :3])
    monkeypatch.setattr(NeuralNetwork, "_work_for", late)
    np.testing.assert_array_equal(nn.forward(X[:, :3]), before)
    is_whole(nn)


def given(nn, **changed):
    """What `forward` of the core is given."""
    work = _arrays.empty(100_000, nn.dtype)
    return {"model": nn._body.model, "work": work, "params": nn._params, "x": X.T, "threads": 1, **changed}


WRONG = {
    "no model": ({"model": None}, TypeError),
    "few parameters": ({"params": np.zeros(50)}, ValueError),
    "few outputs": ({"outputs": np.zeros((50, 2))}, ValueError),
    "few rows of outputs": ({"outputs": np.zeros((40, 3))}, ValueError),
    "few classes": ({"classes": np.zeros(49, np.intp)}, ValueError),
    "few labels": ({"labels": np.zeros(49, np.intp)}, ValueError),
    "few targets": ({"targets": np.zeros((49, 3))}, ValueError),
    "narrow targets": ({"targets": np.zeros((50, 2))}, ValueError),
    "high labels": ({"labels": np.full(50, 3, np.intp)}, ValueError),
    "low labels": ({"labels": np.full(50, -1, np.intp)}, ValueError),
    "few weights": ({"labels": np.zeros(50, np.intp), "weights": np.ones(49)}, ValueError),
    "little work": ({"labels": np.zeros(50, np.intp), "work": _arrays.empty(10, np.dtype(float))}, ValueError),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_core_refuses_what_does_not_belong_together(use_core, case):
    nn = make()
    changed, error = WRONG[case]
    with pytest.raises(error):
        use_core.forward(**given(nn, **changed))


def test_a_shortcut_refuses_what_does_not_belong_together(use_core):
    nn, index = make(), np.dtype(np.intp)
    for work, params in ((10, nn._params), (100_000, np.zeros(50))):
        room = _arrays.empty(work, nn.dtype)
        with pytest.raises(ValueError, match="must have"):
            use_core.Shortcut(
                nn._body.model, room, params, 8, use_core.WANTS["classes"], np.ndarray, np.empty, index, 1, int
            )
