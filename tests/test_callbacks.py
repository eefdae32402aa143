"""Callbacks: when they are called, what they see, what they may change, and the ready-made ones."""

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cmlp
from cmlp import SGD, Adam, NeuralNetwork, schedules
from cmlp.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ProgressBar,
    ReduceLROnPlateau,
)


def make(rng=0, **options):
    nn = NeuralNetwork(rng=rng, **options)
    nn.add_layer(6, 5, "tanh")
    nn.add_layer(5, 3, "softmax")
    return nn


@pytest.fixture
def data(rng):
    return rng.normal(size=(6, 50)), rng.integers(0, 3, 50)


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self, run):
        self.calls.append(("begin", run.epoch, run.epochs, run.steps, run.metrics))

    def on_epoch_end(self, run):
        self.calls.append(("epoch", run.epoch, run.steps, dict(run.figures), run.network._params.tobytes()))
        assert {name: values[-1] for name, values in run.history.items()} == run.figures

    def on_train_end(self, run):
        self.calls.append(("end", run.epoch, run.error))


def series(*values):
    """A monitor that gives these numbers, one an epoch."""
    return lambda network, run: values[run.epoch]  # noqa: ARG005


def test_they_are_called_in_order_with_what_there_is(data):
    X, y = data
    recorder, nn = Recorder(), make()
    history = nn.fit(X, y, 3, 20, callbacks=[recorder], validation_fraction=0.2)
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
    assert recorder.calls[0] == ("begin", 0, 3, 0, names)
    assert [call[:3] for call in recorder.calls[1:-1]] == [("epoch", 0, 2), ("epoch", 1, 4), ("epoch", 2, 6)]
    assert tuple(history) == names
    assert recorder.calls[-1] == ("end", 2, None)
    assert recorder.calls[-2][-1] == nn._params.tobytes()


def test_of_chunks_they_see_each(data):
    recorder = Recorder()
    make().partial_fit([data, data], batch_size=20, callbacks=[recorder])
    assert recorder.calls[0] == ("begin", 0, None, 0, ("loss", "accuracy", "learning_rate", "seconds"))
    assert [call[:3] for call in recorder.calls[1:-1]] == [("epoch", 0, 3), ("epoch", 1, 6)]


@pytest.mark.parametrize("when", ["on_train_begin", "on_epoch_end"])
def test_those_that_began_are_told_of_an_error(data, when):
    def fail(_):
        raise KeyboardInterrupt

    first, last = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        make().fit(*data, callbacks=[first, LambdaCallback(**{when: fail}), last])
    assert isinstance(first.calls[-1][-1], KeyboardInterrupt)
    assert [call[0] for call in last.calls] == ([] if when == "on_train_begin" else ["begin", "end"])


def test_a_callback_may_evaluate_but_not_train(data):
    X, y = data
    seen = []
    look = LambdaCallback(on_epoch_end=lambda run: seen.append(run.network.evaluate(X, y)["loss"]))
    history = make().fit(X, y, 2, callbacks=[look], validation_data=(X, y))
    assert seen == history["val_loss"]


FORBIDDEN = {
    "train": lambda nn, data: nn.train(*data, 0.1),
    "reset": lambda nn, _: nn.reset(),
    "adapt": lambda nn, data: nn.adapt(data[0]),
    "input_scale": lambda nn, _: setattr(nn, "input_scale", 2.0),
    "loss": lambda nn, _: setattr(nn, "loss", "mean_squared_error"),
    "add_layer": lambda nn, _: nn.add_layer(nn.layers[-1].neurons, 2, "softmax"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_callback_may_not_train_nor_change_the_network(data, what):
    nn, twin = make(), make()
    with pytest.raises(RuntimeError, match="neither a callback nor a source of chunks can train or change"):
        nn.fit(*data, 2, callbacks=[LambdaCallback(on_epoch_end=lambda run: FORBIDDEN[what](run.network, data))])
    twin.fit(*data, 1)
    assert repr(nn) == repr(twin)
    assert nn.loss == twin.loss
    np.testing.assert_array_equal(nn.forward(data[0]), twin.forward(data[0]))


def test_accuracies_need_labels(data):
    nn = make(loss="mean_squared_error")
    targets = np.eye(nn.layers[-1].neurons)[:, data[1]]
    with pytest.raises(ValueError, match="got 'val_accuracy'; accuracies need labels"):
        nn.fit(data[0], targets, 2, validation_fraction=0.2, callbacks=[EarlyStopping("val_accuracy")])


def test_labels_are_those_of_the_beginning(data):
    X, y = data[0], data[1].astype(np.intp)
    spoil = LambdaCallback(on_epoch_end=lambda _: y.fill(2**40))
    assert make().fit(X, data[1], 3)["loss"] == make().fit(X, y, 3, callbacks=[spoil])["loss"]


def test_a_callback_may_set_the_rate_of_the_epochs_to_come(data):
    def halve(run):
        run.learning_rate /= 2
        assert run.optimizer.learning_rate == run.learning_rate

    nn, twin = make(), make()
    history = nn.fit(*data, 3, 20, SGD(0.4, momentum=0.5), callbacks=[LambdaCallback(on_epoch_end=halve)])
    assert history["learning_rate"] == [0.4, 0.2, 0.1]
    for rate in (0.4, 0.2, 0.1):
        twin.fit(*data, 1, 20, SGD(rate, momentum=0.5))
    assert nn._params.tobytes() == twin._params.tobytes()
    scheduled = make().fit(
        *data, 3, 20, SGD(0.4), schedule=schedules.Constant(0.5), callbacks=[LambdaCallback(on_epoch_end=halve)]
    )
    assert scheduled["learning_rate"] == [0.2, 0.1, 0.05]


def test_the_rate_is_judged(data):
    def spoil(run):
        run.learning_rate = -1

    with pytest.raises(ValueError, match="learning_rate must be finite, more than 0"):
        make().fit(*data, callbacks=[LambdaCallback(on_epoch_end=spoil)])


def test_an_optimizer_is_judged_as_fit_judges_it(data):
    def change(run):
        run.optimizer = "sgd" if run.epoch == 0 else 0.1

    nn = make()
    with pytest.raises(TypeError, match=r"optimizer must be one of .* got 0\.1"):
        nn.fit(*data, callbacks=[LambdaCallback(on_epoch_end=change)])
    assert nn.optimizer == SGD()


def test_the_first_reason_to_stop_is_kept(data):
    stops = [LambdaCallback(on_epoch_end=lambda run, why=why: run.stop(why)) for why in ("one", "two")]
    history = make().fit(*data, 5, callbacks=stops)
    assert history.stopped == "one"
    assert len(history["loss"]) == 1


@pytest.mark.parametrize(
    ("values", "mode", "patience", "min_delta", "epochs", "best"),
    [
        ((3, 2, 1, 1, 1, 1, 1), "min", 3, 0.0, 6, 2),
        ((3, 2, 1, 1, 1, 0, 1), "min", 4, 0.0, 7, 5),
        ((1, 2, 3, 2, 1, 0, 0), "max", 1, 0.0, 4, 2),
        ((3, 2.95, 2.91, 2.5, 2, 2, 2), "min", 2, 0.1, 3, 0),
        ((np.nan, 2, np.nan, 1, np.nan, np.nan, np.nan), "min", 2, 0.0, 6, 3),
        ((np.inf, np.nan, 5, 6, 5, 6, 7), "min", 5, 0.0, 7, 2),
    ],
)
def test_it_stops_when_it_has_been_no_better_for_too_long(data, values, mode, patience, min_delta, epochs, best):
    stopping = EarlyStopping(series(*values), patience, min_delta, mode)
    recorder, nn = Recorder(), make()
    history = nn.fit(*data, len(values), 20, callbacks=[stopping, recorder])
    assert len(history["loss"]) == epochs
    assert stopping.best_epoch == best
    assert stopping.best == values[best]
    assert nn._params.tobytes() == recorder.calls[1 + best][-1]
    waited = epochs - 1 - best
    if waited >= patience:
        assert history.stopped == f"<lambda> was no better for {waited} epochs than {values[best]:.6g}"
    else:
        assert history.stopped is None


def test_the_best_of_a_real_fit_comes_back_with_its_moments(rng):
    X, y = rng.normal(size=(6, 60)), rng.integers(0, 3, 60)  # noise: it overfits at once
    nn, twin = make(), make()
    stopping = EarlyStopping(patience=3)
    options = {"learning_rate": 0.05, "shuffle": False, "validation_data": (X[:, 30:], y[30:])}
    history = nn.fit(X[:, :30], y[:30], 200, 10, callbacks=[stopping], **options)
    assert history.stopped.startswith("val_loss was no better for 3 epochs than")
    best = int(np.argmin(history["val_loss"]))
    assert stopping.best_epoch == best == len(history["loss"]) - 4
    twin.fit(X[:, :30], y[:30], best + 1, 10, **options)
    assert nn._params.tobytes() == twin._params.tobytes()
    assert nn.evaluate(X[:, 30:], y[30:])["loss"] == stopping.best
    for each in (nn, twin):
        each.fit(X, y, 1, 10, shuffle=False)
    assert nn._params.tobytes() == twin._params.tobytes()


def ends_by(error):
    """What a callback may do after an epoch."""

    def end(run):
        if run.epoch == 2:
            raise error

    return end


@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError])
def test_the_best_is_put_back_after_an_interrupt_or_a_step_too_far(data, error):
    recorder, nn = Recorder(), make()
    stopping = EarlyStopping(series(2, 1, 3, 4), mode="min")
    with pytest.raises(error):
        nn.fit(*data, 4, callbacks=[stopping, recorder, LambdaCallback(on_epoch_end=ends_by(error))])
    epochs = [call[-1] for call in recorder.calls if call[0] == "epoch"]
    assert stopping.best_epoch == 1
    assert nn._params.tobytes() == epochs[1] != epochs[2]


def test_the_last_stays_if_that_is_wanted_or_there_was_an_error(data):

    rising = series(1, 2, 3, 4)
    recorder, nn = Recorder(), make()
    nn.fit(*data, 4, callbacks=[EarlyStopping(rising, mode="min", restore_best=False), recorder])
    assert nn._params.tobytes() == recorder.calls[-2][-1]
    recorder, nn = Recorder(), make()
    fails = LambdaCallback(on_epoch_end=ends_by(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        nn.fit(*data, 4, callbacks=[EarlyStopping(rising, mode="min"), recorder, fails])
    assert nn._params.tobytes() == recorder.calls[-2][-1]


LATE = {  # what a callback does after the first epoch; a schedule; what the error says
    "dropout": (lambda run: setattr(run.network.layers[-1], "dropout", 0.5), None, "dropout"),
    "names": (lambda run: setattr(run.network, "feature_names", ["a"]), None, "feature_names"),
    "schedule": (None, lambda step: math.sqrt(3 - step), "math domain error"),
    "factor": (None, lambda step: 1.0 if step < 3 else math.nan, "finite factors"),
}


@pytest.mark.parametrize("case", LATE)
def test_what_fails_in_a_later_epoch_leaves_what_was_learnt(data, case):
    change, schedule, message = LATE[case]
    recorder, nn = Recorder(), make()
    looks = [recorder, LambdaCallback(on_epoch_end=change)]
    with pytest.raises(ValueError, match=message):
        nn.fit(*data, 3, 20, SGD(0.5, momentum=0.5), schedule=schedule, callbacks=looks)
    epochs = [call for call in recorder.calls if call[0] == "epoch"]
    assert len(epochs) == 1
    assert nn._params.tobytes() == epochs[0][-1]
    assert nn.optimizer == SGD(0.5, momentum=0.5)
    assert nn._memory.taken == epochs[0][2]


def test_it_can_be_used_again(data):
    stopping = EarlyStopping("loss", patience=1)
    for _ in range(2):
        nn = make()
        nn.fit(*data, 3, callbacks=[stopping])
        assert stopping.best_epoch == 2


def test_a_plateau_makes_the_rate_smaller(data):
    plateau = ReduceLROnPlateau(series(3, 3, 3, 2, 2, 2, 2, 2), 0.5, patience=2, min_lr=0.2, mode="min")
    history = make().fit(*data, 8, 20, SGD(0.5), callbacks=[plateau])
    assert history["learning_rate"] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]


def test_another_training_goes_on_at_the_rate_that_a_plateau_led_to(data, tmp_path):
    pytest.importorskip("safetensors")
    nn, twin = make(), make()
    whole = ReduceLROnPlateau(series(3, 3, 3, 3, 2, 1), 0.5, patience=2, mode="min")
    expected = twin.fit(*data, 6, 20, SGD(0.5, momentum=0.9), callbacks=[whole])["learning_rate"]
    first = ReduceLROnPlateau(series(3, 3, 3), 0.5, patience=2, mode="min")
    assert first.learning_rate is None
    history = nn.fit(*data, 3, 20, SGD(0.5, momentum=0.9), callbacks=[first])
    assert history["learning_rate"] == expected[:3] == [0.5] * 3
    assert first.learning_rate == whole.learning_rate == 0.25
    nn.save(tmp_path / "nn.safetensors")
    for each in (nn, NeuralNetwork.load(tmp_path / "nn.safetensors")):
        assert each.fit(*data, 3, 20, SGD(first.learning_rate, momentum=0.9))["learning_rate"] == expected[3:]
        assert each._params.tobytes() == twin._params.tobytes()


def test_a_plateau_goes_on_waiting_where_it_is_to(data, tmp_path):
    pytest.importorskip("safetensors")

    def train(nn, epochs, optimizer, resume):
        plateau = ReduceLROnPlateau(series(*[3] * epochs), 0.5, patience=4, mode="min", resume=resume)
        return nn.fit(*data, epochs, 20, optimizer, callbacks=[plateau])["learning_rate"]

    assert train(make(), 7, SGD(0.5), resume=True) == [0.5] * 5 + [0.25] * 2
    nn = make()
    assert train(nn, 3, SGD(0.5), resume=True) == [0.5] * 3
    nn.save(tmp_path / "nn.safetensors")
    loaded, anew, changed, other, over = (NeuralNetwork.load(tmp_path / "nn.safetensors") for _ in range(5))
    assert train(nn, 4, nn.optimizer, resume=True) == [0.5] * 2 + [0.25] * 2
    assert train(loaded, 4, loaded.optimizer, resume=True) == [0.5] * 2 + [0.25] * 2
    assert train(anew, 4, anew.optimizer, resume=False) == [0.5] * 4
    assert train(changed, 4, Adam(0.5), resume=True) == [0.5] * 4  # which knows nothing of what was before
    other.fit(*data, 1, 20, "adam")
    assert train(other, 4, SGD(0.5), resume=True) == [0.5] * 4
    over.reset()
    assert train(over, 4, SGD(0.5), resume=True) == [0.5] * 4


def test_checkpoints_have_names(data, tmp_path):
    pytest.importorskip("safetensors")
    recorder, nn = Recorder(), make()
    each = ModelCheckpoint(tmp_path / "{epoch:02}-{loss:.3f}.safetensors")
    best = ModelCheckpoint(tmp_path / "best.safetensors", series(2, 1, 3), save_best_only=True, mode="min")
    history = nn.fit(*data, 3, callbacks=[each, best, recorder])
    names = [f"{epoch:02}-{loss:.3f}.safetensors" for epoch, loss in enumerate(history["loss"])]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "best.safetensors"]
    for name, epoch in [(names[0], 0), (names[2], 2), ("best.safetensors", 1)]:
        assert NeuralNetwork.load(tmp_path / name)._params.tobytes() == recorder.calls[1 + epoch][-1]


@pytest.mark.parametrize(("mode", "values"), [("min", (2, 1, 3)), ("max", (-2, -1, -3))])
def test_a_checkpoint_of_the_best_can_go_on(data, tmp_path, mode, values):
    pytest.importorskip("safetensors")
    path, nn = tmp_path / "best.safetensors", make()
    first = ModelCheckpoint(path, series(*values), True, mode)
    nn.fit(*data, 3, callbacks=[first])
    assert first.best == values[1]
    kept, sign = path.read_bytes(), 1 if mode == "min" else -1
    for later, better in [((sign * 1.5, sign * 1), False), ((sign * 1.5, sign * 0.5), True)]:
        go_on = ModelCheckpoint(path, series(*later), True, mode, initial_value_threshold=first.best)
        nn.fit(*data, 2, callbacks=[go_on])
        assert (path.read_bytes() != kept) is better
        assert go_on.best == (later[1] if better else first.best)


def test_a_log_grows_line_by_line(data, tmp_path):
    path, lines = tmp_path / "log.csv", []
    count = LambdaCallback(on_epoch_end=lambda _: lines.append(len(path.read_text().splitlines())))
    history = make().fit(*data, 3, callbacks=[CSVLogger(path), count])
    assert lines == [2, 3, 4]
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["0", "1", "2"]
    assert [{name: float(value) for name, value in row.items()} for row in rows] == [
        {name: values[epoch] for name, values in history.items()} for epoch in range(3)
    ]
    make().fit(*data, 2, callbacks=[CSVLogger(path, append=True)])
    assert len(path.read_text().splitlines()) == 6
    lines = path.read_text()
    with pytest.raises(ValueError, match="monitor must be one of"):
        make().fit(*data, 2, callbacks=[CSVLogger(path), EarlyStopping("f1")])
    assert path.read_text() == lines  # a training that is refused loses nothing
    with pytest.raises(ValueError, match=r"log.csv has columns 'epoch', 'loss', .* this training .* 'val_loss'"):
        make().fit(*data, 1, validation_data=data, callbacks=[CSVLogger(path, append=True)])
    assert path.read_text() == lines
    make().fit(*data, 1, callbacks=[CSVLogger(path)])
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_stays_by_itself(data, tmp_path):
    path = tmp_path / "log.csv"
    make().fit(*data, 2, callbacks=[CSVLogger(path)])
    begun = path.read_text()[:-5]
    path.write_text(begun)
    make().fit(*data, 1, callbacks=[CSVLogger(path, append=True)])
    lines = path.read_text().splitlines()
    assert (lines[:3], lines[3].split(",")[0], len(lines)) == (begun.splitlines(), "0", 4)


def test_a_checkpoint_has_a_place_before_anything_is_trained(data, tmp_path):
    pytest.importorskip("safetensors")
    nn = make()
    before = nn._params.copy()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nn.fit(*data, 2, callbacks=[ModelCheckpoint(tmp_path / "nowhere" / "model")])
    np.testing.assert_array_equal(nn._params, before)
    (tmp_path / "0").mkdir()
    nn.fit(*data, 1, callbacks=[ModelCheckpoint(tmp_path / "{epoch}" / "model")])
    assert (tmp_path / "0" / "model").exists()


def test_callbacks_show_their_settings():
    assert repr(EarlyStopping("loss", 3)) == (
        "EarlyStopping(monitor='loss', patience=3, min_delta=0.0, mode='min', restore_best=True)"
    )
    assert repr(ProgressBar()) == "ProgressBar()"
    assert repr(LambdaCallback(on_epoch_end=print)) == "LambdaCallback(on_epoch_end=<built-in function print>)"


def test_progress_is_lines_where_there_is_no_terminal(data, capsys):
    history = make().fit(*data, 2, verbose=1)
    make().partial_fit(*data, callbacks=[ProgressBar()])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"epoch 2/2  loss {history['loss'][1]:.4f}  accuracy {history['accuracy'][1]:.4f}  ")
    assert lines[1].endswith(" s")
    assert lines[2].startswith("chunk 1  loss ")


@pytest.mark.parametrize("chunked", [False, True])
def test_progress_is_a_bar_on_a_terminal(data, capsys, monkeypatch, chunked):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    nn = make()
    history = nn.partial_fit([data] * 2, verbose=1) if chunked else nn.fit(*data, 2, verbose=1)
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.replace("\n", "\r").split("\r")[-2]
    assert last.startswith("2/? " if chunked else "2/2 ")
    assert f"loss {history['loss'][1]:.4f}  accuracy" in last


@pytest.mark.parametrize("columns", [60, 80, 120, 0])
@pytest.mark.skipif(os.name == "nt", reason="terminals are of another kind")
def test_the_figures_are_whole_on_a_terminal_of_any_width(columns, tmp_path):
    pytest.importorskip("tqdm")
    import pty
    import termios

    code = """
import numpy as np, cmlp
nn = cmlp.NeuralNetwork(rng=0)
nn.add_layer(2, 2, "softmax")
data = np.eye(2), [0, 1]
history = nn.fit(*data, 15, verbose=1, validation_data=data)
print(*(f"{values[-1]:.4f}" for values in history.values()))
"""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24 if columns else 0, columns))
    environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=inner, text=True, cwd=tmp_path, env=environment, timeout=60, check=True
    )
    last = os.read(outer, 10**6).decode().split("\r")[-2]
    os.close(outer)
    os.close(inner)
    loss, accuracy, val_loss, val_accuracy = result.stdout.split()[:4]
    columns = columns or 80  # of a terminal that does not know
    if columns < 120:
        figures = f"loss {loss}/{val_loss}  accuracy {accuracy}/{val_accuracy}"
    else:
        figures = f"loss {loss}  accuracy {accuracy}  val_loss {val_loss}  val_accuracy {val_accuracy}"
    assert re.fullmatch(rf"15/15 \S+ {re.escape(figures)} \[\d\d:\d\d\]", last)
    assert len(last) <= columns


def test_without_tqdm_a_terminal_has_lines(data, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    make().fit(*data, 1, verbose=1)
    assert capsys.readouterr().out.startswith("epoch 1/1  loss ")


BAD = {
    "key": (
        lambda: EarlyStopping(),
        ValueError,
        "'loss', 'accuracy', 'learning_rate', .* got 'val_loss'; val_",
    ),
    "unknown": (lambda: ReduceLROnPlateau("f1"), ValueError, "monitor must be one of 'loss', .*, got 'f1'"),
    "val_loss": (lambda: EarlyStopping(), ValueError, "got 'val_loss'; val_... need validation: data or a fraction"),
    "best": (lambda: ModelCheckpoint("a", "f1", save_best_only=True), ValueError, "got 'f1'"),
    "threshold": (lambda: ModelCheckpoint("a", initial_value_threshold="1"), TypeError, "threshold must be a number"),
    "path": (lambda: ModelCheckpoint("{time}"), ValueError, "path must have none but 'epoch', 'loss', .* '{time}'"),
    "braces": (lambda: ModelCheckpoint("{}"), ValueError, "path must have none but"),
    "attribute": (lambda: ModelCheckpoint("{epoch.first}"), ValueError, "path must have none but"),
    "item": (lambda: ModelCheckpoint("{loss[0]}"), ValueError, "path must have none but"),
    "monitor": (lambda: EarlyStopping(3), TypeError, "monitor must be a key of the history or a function, got 3"),
    "auto": (lambda: EarlyStopping(max), ValueError, "mode must be 'min' or 'max' where monitor is a function"),
    "mode": (lambda: EarlyStopping(mode="low"), ValueError, "mode must be one of 'auto', 'min', 'max', got 'low'"),
    "patience": (lambda: EarlyStopping(patience=0), ValueError, "patience must be at least 1, got 0"),
    "delta": (lambda: EarlyStopping(min_delta="0"), TypeError, "min_delta must be a number"),
    "factor": (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "factor must be .* less than 1"),
    "least": (lambda: ReduceLROnPlateau(min_lr=-1), ValueError, "min_lr must be"),
    "function": (lambda: LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end must be a function, got 3"),
    "folder": (lambda: CSVLogger("no/such/folder/log.csv"), FileNotFoundError, "no/such/folder"),
    "measure": (
        lambda: EarlyStopping(lambda *_: "1", mode="min"),
        TypeError,
        "what monitor returns must be a number, got '1'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(data, case):
    build, error, message = BAD[case]
    nn = make()
    before = nn._params.tobytes()
    with pytest.raises(error, match=message):
        nn.fit(*data, 2, callbacks=[build()])
    assert (nn._params.tobytes() == before) or case == "measure"
