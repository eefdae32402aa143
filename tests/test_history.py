"""What a fit returns: a dict with a table and a picture of it."""

import copy
import pickle
import sys

import numpy as np
import pytest

from cmlp import History, NeuralNetwork


@pytest.fixture
def history(rng):
    nn = NeuralNetwork(rng=0)
    nn.add_layer(4, 3, "softmax")
    X, y = rng.normal(size=(4, 30)), rng.integers(0, 3, 30)
    return nn.fit(X, y, 3, validation_data=(X, y))


def test_it_is_a_dict(history):
    assert isinstance(history, dict)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert all(isinstance(value, float) for values in history.values() for value in values)
    assert history["learning_rate"] == [0.001] * 3
    assert history.stopped is None


def test_it_shows_its_last_numbers(history):
    history["seconds"][-1] = 0.25
    history["val_loss"][-1] = np.nan
    numbers = [history[name][-1] for name in ("loss", "accuracy")]
    shown = "<History: epochs 3, loss {:.4g}, accuracy {:.4g}, val_loss nan, ".format(*numbers)
    assert repr(history).startswith(shown)
    assert repr(history).endswith("learning_rate 0.001, seconds 0.25>")
    history.stopped = "enough"
    assert repr(history).endswith("seconds 0.25, stopped: enough>")
    assert repr(dict(history)) == str({name: list(values) for name, values in history.items()})
    assert repr(History()) == "<History: epochs 0>"
    assert repr(History(loss=[1.0])) == "<History: epochs 1, loss 1>"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_keep_why_it_stopped(history, duplicate):
    history.stopped = "enough"
    other = duplicate(history)
    assert type(other) is History
    assert other == history
    assert other.stopped == "enough"


def test_a_table_has_a_row_for_every_epoch(history):
    pytest.importorskip("pandas")
    frame = history.to_frame()
    assert list(frame.columns) == list(history)
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [0, 1, 2]
    assert frame["val_loss"].tolist() == history["val_loss"]


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_a_picture_shows_losses_and_accuracies(history, pyplot):
    ax = history.plot()
    left, right = ax.figure.axes
    assert left is ax
    assert [line.get_label() for line in left.lines] == ["loss", "val_loss"]
    assert [line.get_label() for line in right.lines] == ["accuracy", "val_accuracy"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (mean of a sample)")
    assert right.get_ylabel() == "accuracy (share of right predictions)"
    assert left.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert left.lines[1].get_ydata().tolist() == history["val_loss"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["loss", "val_loss", "accuracy", "val_accuracy"]
    assert pyplot.fignum_exists(ax.figure.number)


def test_there_is_no_picture_of_nothing():
    with pytest.raises(ValueError, match=r"no loss to draw, in a history of \[\]: plot the one that fit returns"):
        History().plot()


def test_a_picture_goes_where_it_is_told(pyplot):
    ax = pyplot.figure().subplots()
    assert History(loss=[2.0, 1.0]).plot(ax) is ax
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize(
    ("call", "library", "extra"),
    [(History.to_frame, "pandas", "cli"), (History.plot, "matplotlib", "plot")],
    ids=["to_frame", "plot"],
)
def test_what_is_missing_is_named(monkeypatch, call, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'{library}: pip install "cmlp\[{extra}\]"'):
        call(History(loss=[1.0]))
