"""The command line: what it trains, prints and writes, and how it ends when it cannot."""

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cmlp
from cmlp import SGD, Adam, AdamW, NeuralNetwork, _cli_train, cli, load_csv, train_test_split
from cmlp.cli import main

IMAGES = Path(__file__).parent.parent / "data" / "images.csv.gz"
ROWS, FEATURES, CLASSES = 1100, 12, 3


@pytest.fixture(autouse=True)
def _threads():
    """--threads holds for the process."""
    before = cmlp.get_num_threads()
    yield
    cmlp.set_num_threads(before)


@pytest.fixture(scope="session")
def table():
    """Pixels of three kinds, one sample a row, and what kind each is: easy to tell apart, but not quite."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, CLASSES, ROWS)
    kinds = rng.integers(0, 160, (CLASSES, FEATURES))
    return kinds[labels] + rng.integers(0, 96, (ROWS, FEATURES)), labels


@pytest.fixture(scope="session")
def frame(table):
    pixels, labels = table
    frame = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(FEATURES)])
    frame.insert(0, "label", labels)
    return frame


@pytest.fixture(scope="session")
def files(frame, tmp_path_factory):
    """The files that the tests begin with."""
    folder = tmp_path_factory.mktemp("files")
    frame.to_csv(folder / "CSV", index=False)
    labels = {"ZEROS": 0, "VAST": 10**9, "FRACTIONS": 0.5, "NUMBERED": range(ROWS), "FEWEACH": np.arange(ROWS) % 440}
    for name, label in labels.items():
        frame.assign(label=label).to_csv(folder / name, index=False)
    frame.drop(columns="pixel3").to_csv(folder / "FEW", index=False)
    frame.drop(columns="label").to_csv(folder / "UNLABELLED", index=False)
    network = NeuralNetwork(rng=0, input_scale=1 / 255)
    network.add_layer(FEATURES, 8, "relu")
    network.add_layer(8, CLASSES, "softmax")
    network.fit(frame.drop(columns="label").to_numpy(np.uint8).T, frame["label"].to_numpy(), epochs=3)
    network.save(folder / "MODEL")
    for name, outputs in {"REGRESSION": 1, "TWOFOLD": 2}.items():
        network = NeuralNetwork("mean_squared_error", rng=0)
        network.add_layer(FEATURES, outputs, "identity")
        network.save(folder / name)
    return folder


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    """A folder of its own to be in, with those files."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def csv(files, tmp_path):
    """A good CSV file."""
    return shutil.copy(files / "CSV", tmp_path / "digits.csv")


@pytest.fixture
def model(files, tmp_path):
    """A model file, and the network in it."""
    path = shutil.copy(files / "MODEL", tmp_path / "model.safetensors")
    return path, NeuralNetwork.load(path)


@pytest.fixture
def trained(monkeypatch):
    """The arguments of every `fit`, which still trains."""
    calls, fit = [], NeuralNetwork.fit

    def recorded(network, X, y, **settings):
        calls.append({"X": X, "y": y, **settings})
        return fit(network, X, y, **settings)

    monkeypatch.setattr(NeuralNetwork, "fit", recorded)
    return calls


def run(*arguments):
    """Exit status of a command in this process."""
    return main([str(argument) for argument in arguments])


def fails(capfd, *arguments):
    """The law of every error: status 2, nothing on stdout, one line on stderr, no temporary file. Returns the line."""
    assert run(*arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cmlp: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def leftovers(folder):
    return [path.name for path in Path(folder).iterdir() if path.name.endswith(".tmp")]


def shape(network):
    return [(layer.input_size, layer.neurons, layer.activation) for layer in network.layers]


# ---- train ----


def test_train_prints_the_network_the_progress_and_the_result(csv, tmp_path, capfd):
    assert run("train", csv, "--test-rows", 100, "--epochs", 4, "--out", tmp_path / "model") == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == f"{csv}: 1100 samples of 12 features, 3 classes"
    network = NeuralNetwork.load(tmp_path / "model")
    assert lines[1] == "100 of 1100 rows are set aside for the test; pixels are divided by 255"
    assert "\n".join(lines[2:8]) == repr(network)
    assert [line.split()[:2] for line in lines[8:12]] == [["epoch", f"{number}/4"] for number in range(1, 5)]
    assert len(lines) == 13
    result = re.fullmatch(r"train accuracy (\S+)  test accuracy (\S+)  (\S+) s  (\S+) samples/s", lines[-1]).groups()
    X, y, _ = load_csv(csv)
    X_train, X_test, y_train, y_test = train_test_split(X, y, 100, np.random.default_rng(0))
    assert result[0] == f"{network.evaluate(X_train, y_train)['accuracy']:.4f}"
    assert result[1] == f"{network.evaluate(X_test, y_test)['accuracy']:.4f}"
    seconds, rate = float(result[2]), float(result[3].replace(",", ""))
    assert abs(4 * 1000 / rate - seconds) <= 0.005 + 1e-6  # the seconds have two decimals
    assert captured.err == ""
    assert leftovers(tmp_path) == []


def test_train_learns(csv, capfd):
    assert run("train", csv, "--test-rows", 100, "--quiet") == 0
    captured = capfd.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err == ""
    assert float(captured.out.split()[5]) > 0.9


NETS = {
    "default": ([], [(12, 30, "relu"), (30, 20, "relu"), (20, 3, "softmax")], "float32"),
    "one hidden layer": (["--hidden", "5"], [(12, 5, "relu"), (5, 3, "softmax")], "float32"),
    "no hidden layer": (["--hidden"], [(12, 3, "softmax")], "float32"),
    "tanh": (["--hidden", "4", "--activation", "tanh"], [(12, 4, "tanh"), (4, 3, "softmax")], "float32"),
    "float64": (["--hidden", "4", "--dtype", "float64"], [(12, 4, "relu"), (4, 3, "softmax")], "float64"),
}


@pytest.mark.parametrize("case", NETS)
def test_train_makes_the_network_it_is_told_to(case, csv, tmp_path):
    options, layers, dtype = NETS[case]
    assert run("train", csv, "--test-rows", 100, "--epochs", 1, "--quiet", "--out", tmp_path / "model", *options) == 0
    network = NeuralNetwork.load(tmp_path / "model")
    assert shape(network) == layers
    assert network.dtype == dtype
    assert network.input_scale == 1 / 255


SETTINGS = {
    "default": ([], 15, 64, Adam(0.002)),
    "epochs": (["--epochs", "2", "--batch-size", "50"], 2, 50, Adam(0.002)),
    "rate": (["--learning-rate", "0.01"], 15, 64, Adam(0.01)),
    "sgd": (["--optimizer", "sgd"], 15, 64, SGD(0.1)),
    "momentum": (["--optimizer", "sgd", "--momentum", "0.9", "--learning-rate", "0.5"], 15, 64, SGD(0.5, momentum=0.9)),
    "adamw": (["--optimizer", "adamw"], 15, 64, AdamW(0.002)),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_train_trains_as_it_is_told_to(case, csv, trained):
    options, epochs, batch_size, optimizer = SETTINGS[case]
    assert run("train", csv, "--test-rows", 150, "--quiet", *options) == 0
    (call,) = trained
    assert (call["epochs"], call["batch_size"], call["optimizer"]) == (epochs, batch_size, optimizer)
    assert call["X"].shape == (FEATURES, ROWS - 150)
    assert call["validation_data"][0].shape == (FEATURES, 150)


def test_classes_can_be_balanced(csv, trained):
    assert run("train", csv, "--epochs", 1, "--quiet", "--class-weight", "balanced") == 0
    assert run("train", csv, "--epochs", 1, "--quiet") == 0
    assert [call["class_weight"] for call in trained] == ["balanced", None]


def test_patience_stops_the_training_and_keeps_the_best(csv, tmp_path, trained, capfd):
    options = ("--patience", 3, "--learning-rate", 0.05, "--epochs", 300, "--out", tmp_path / "model")
    assert run("train", csv, *options) == 0
    *_, reason, result = lines = capfd.readouterr().out.splitlines()
    (call,) = trained
    (stopping,) = call["callbacks"]
    assert "validation_data" not in call
    assert call["validation_fraction"] == 0.1
    best = stopping.best_epoch
    assert reason == f"val_loss was no better for 3 epochs than {stopping.best:.6g}"
    assert [line.split()[1] for line in lines[8:-2]] == [f"{number}/300" for number in range(1, best + 5)]
    X_train, X_test, y_train, y_test = train_test_split(*load_csv(csv)[:2], 220, rng := np.random.default_rng(0))
    twin = NeuralNetwork(rng=rng, input_scale=1 / 255)
    for layer in ((FEATURES, 30, "relu"), (30, 20, "relu"), (20, CLASSES, "softmax")):
        twin.add_layer(*layer)
    twin.fit(X_train, y_train, epochs=best + 1, batch_size=64, optimizer=Adam(0.05), validation_fraction=0.1)
    assert result.startswith(
        f"train accuracy {twin.evaluate(X_train, y_train)['accuracy']:.4f}  "
        f"test accuracy {twin.evaluate(X_test, y_test)['accuracy']:.4f} "
    )
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path / "model")._params, twin._params)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("option", "rows"), [("--header", 3), ("--no-header", 4), (None, 4)])
def test_numbers_can_be_names(option, rows, capfd):
    Path("numbers").write_text("0,1,2\n0,3,4\n1,5,6\n1,7,8\n")
    options = [option] if option else []
    assert run("train", "numbers", "--label", 0, "--test-rows", 1, "--epochs", 1, "--out", "model", *options) == 0
    assert capfd.readouterr().out.startswith(f"numbers: {rows} samples")
    assert run("evaluate", "model", "numbers", "--label", 0, *options) == 0
    assert capfd.readouterr().out.startswith(f"{rows} samples")
    assert run("predict", "model", "numbers", "--label", 0, *options) == 0
    assert capfd.readouterr().out.count("\n") == rows + 1


def test_a_seed_makes_the_model(csv, tmp_path):
    for name, seed, threads in (("a", 1, 1), ("b", 1, 2), ("c", 2, 2)):
        assert run("train", csv, "--epochs", 2, "--seed", seed, "--threads", threads, "--out", tmp_path / name) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_threads_are_set(csv, capfd):
    cmlp.set_num_threads(2)
    assert "argument --threads: must be a whole number of at least 1" in fails(capfd, "train", csv, "--threads", 0)
    assert run("train", csv, "--epochs", 1, "--threads", 1, "--quiet") == 0
    assert cmlp.get_num_threads() == 1


LABELS = {  # of the column of labels: its name, its place, the option
    "name": ("digit", 0, "digit"),
    "position": ("digit", 3, "3"),
    "from the end": ("digit", FEATURES, "-1"),
}


@pytest.mark.parametrize("case", LABELS)
def test_the_labels_may_stand_anywhere(case, frame, tmp_path, trained):
    name, place, option = LABELS[case]
    changed = frame.rename(columns={"label": name})
    changed.insert(place, name, changed.pop(name))
    changed.to_csv(tmp_path / "digits.csv", index=False)
    assert run("train", tmp_path / "digits.csv", f"--label={option}", "--epochs", 1, "--quiet") == 0
    (call,) = trained
    pixels = frame.drop(columns="label").to_numpy()
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(call["X"].T, pixels[order[:-220]])
    np.testing.assert_array_equal(call["y"], frame["label"].to_numpy()[order[:-220]])


TEST_ROWS = {  # rows of the file, the option, rows to test with
    "few": (150, [], 30),
    "very few": (6, [], 1),
    "many": (6000, [], 1000),
    "a number": (150, ["--test-rows", "7"], 7),
    "a share": (150, ["--test-rows", "0.5"], 75),
    "a small share": (150, ["--test-rows", "1e-2"], 2),
}


@pytest.mark.parametrize("case", TEST_ROWS)
def test_some_rows_are_set_aside(case, frame, tmp_path, trained, capfd):
    rows, options, expected = TEST_ROWS[case]
    pd.concat([frame] * 6).head(rows).to_csv(tmp_path / "file.csv", index=False)
    assert run("train", tmp_path / "file.csv", "--epochs", 1, *options) == 0
    (call,) = trained
    assert call["X"].shape == (FEATURES, rows - expected)
    assert call["validation_data"][0].shape == (FEATURES, expected)
    assert capfd.readouterr().out.splitlines()[1].startswith(f"{expected} of {rows} rows are set aside for the test; ")


SCALES = {  # whether the features are pixels, the option, what is said of them
    "pixels": (True, [], "pixels are divided by 255"),
    "pixels, as they are told to": (True, ["--standardize"], "features are standardised"),
    "pixels, as they would be": (True, ["--no-standardize"], "pixels are divided by 255"),
    "others": (False, [], "features are standardised"),
    "others, as they would be": (False, ["--standardize"], "features are standardised"),
    "others, as they are told to": (False, ["--no-standardize"], "features are taken as they are"),
    "others in the notebook": (False, ["--notebook"], "features are taken as they are"),
}


@pytest.mark.parametrize("case", SCALES)
def test_features_are_scaled(case, frame, tmp_path, trained, capfd):
    pixels, options, told = SCALES[case]
    changed = frame if pixels else frame.assign(pixel0=frame["pixel0"] * 1000.5, pixel1=frame["pixel1"] / 1000)
    changed.to_csv(tmp_path / "file.csv", index=False)
    epochs = [] if "--notebook" in options else ["--epochs", 1]
    assert run("train", tmp_path / "file.csv", "--out", tmp_path / "model", *epochs, *options) == 0
    assert capfd.readouterr().out.splitlines()[1] == f"220 of 1100 rows are set aside for the test; {told}"
    network = NeuralNetwork.load(tmp_path / "model")
    if told != "features are standardised":
        assert (network.input_scale, network.input_shift) == (1 / 255 if pixels else 1.0, 0.0)
        return
    (call,) = trained  # by the rows that are trained on, not by those of the test
    rows = call["X"].T.astype(np.float64)
    np.testing.assert_allclose(network.input_shift, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(network.input_scale, 1 / rows.std(axis=0), rtol=1e-6)


def test_features_of_any_scale_are_learnt_from_and_predicted_with(frame, tmp_path, capfd):
    changed = frame.assign(pixel0=frame["pixel0"] * 1e6 + 0.5, pixel1=frame["pixel1"] / 1e6)
    changed.to_csv(tmp_path / "file.csv", index=False)
    assert run("train", tmp_path / "file.csv", "--quiet", "--out", tmp_path / "model") == 0
    assert float(capfd.readouterr().out.split()[5]) > 0.9
    assert run("evaluate", tmp_path / "model", tmp_path / "file.csv") == 0
    assert float(capfd.readouterr().out.split()[3]) > 0.9


def test_notebook_does_and_prints_what_the_notebook_does(csv, tmp_path, capfd):
    assert run("train", csv, "--notebook", "--seed", 3, "--out", tmp_path / "model") == 0
    lines = capfd.readouterr().out.splitlines()
    rng = np.random.default_rng(3)
    X_train, X_test, y_train, y_test = train_test_split(*load_csv(csv)[:2], 220, rng)
    network = NeuralNetwork(rng=rng, input_scale=1 / 255)
    for layer in ((FEATURES, 30, "relu"), (30, 20, "relu"), (20, CLASSES, "softmax")):
        network.add_layer(*layer, init="uniform")
    expected = []
    for epoch in range(200):
        network.train(X_train, y_train, 0.1)
        if epoch % 10 == 0:
            expected += [f"Epoch:  {epoch}", f"Accuracy {np.mean(network.predict(X_test) == y_test)}"]
    assert lines[8:-1] == expected
    assert lines[-1].startswith(f"train accuracy {network.evaluate(X_train, y_train)['accuracy']:.4f}  test accuracy ")
    network.feature_names, network.class_names = [f"pixel{i}" for i in range(FEATURES)], list(range(CLASSES))
    network.save(tmp_path / "expected", training_state=False)
    assert (tmp_path / "model").read_bytes() == (tmp_path / "expected").read_bytes()


def test_notebook_can_be_quiet(csv, capfd):
    assert run("train", csv, "--notebook", "--quiet") == 0
    assert capfd.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        "--hidden 30 20",
        "--hidden",
        "--activation relu",
        "--epochs 200",
        "--batch-size 100",
        "--optimizer sgd",
        "--learning-rate 0.1",
        "--momentum 0",
        "--class-weight balanced",
        "--patience 3",
        "--test-rows 1000",
        "--standardize",
        "--no-standardize",
    ],
)
def test_notebook_refuses_options_that_it_decides(option, csv, capfd):
    error = fails(capfd, "train", csv, "--notebook", *option.split())
    assert "--notebook says all about the training: it cannot be combined with --" in error
    assert option.split()[0].replace("--no-", "--") in error


# ---- numbers to predict ----


@pytest.fixture
def houses(tmp_path):
    """A CSV file of prices, far from 0, that two features make and a third does not."""
    rng = np.random.default_rng(3)
    features = rng.normal([50, 3, 0], [20, 1, 1], (600, 3))
    prices = 20_000 + 900 * features[:, 0] * features[:, 1] + rng.normal(0, 2000, 600)
    table = pd.DataFrame(features, columns=["area", "rooms", "noise"]).assign(price=prices)
    table.to_csv(path := tmp_path / "houses.csv", index=False)
    return path, table


@pytest.mark.parametrize("more", [[], ["--dtype", "float64", "--patience", 20]], ids=str)
def test_numbers_are_predicted_in_their_units(houses, tmp_path, capfd, more):
    path, table = houses
    model = tmp_path / "model"
    arguments = ["--label", "price", "--regression", "--test-rows", 100, "--epochs", 80, "--out", model, *more]
    assert run("train", path, *arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 600 samples of 3 features, numbers to predict"
    form = r"train R2 (0\.9\d+)  test R2 (0\.9\d+)  test RMSE (\d+\.?\d*)  (\S+) s  (\S+) samples/s"
    told = re.fullmatch(form, lines[-1])
    assert float(told[5].replace(",", "")) * (float(told[4]) + 0.005) > 400  # an epoch's rows, at the least
    X_train, X_test, y_train, y_test = train_test_split(
        *load_csv(path, "price", more[1] if more else "float32")[:2], 100, np.random.default_rng(0)
    )
    network = NeuralNetwork.load(model)
    assert network.class_names is None
    for samples, targets, r2 in ((X_train, y_train, told[1]), (X_test, y_test, told[2])):
        off = network.predict(samples)[0] - targets.astype(float)
        spread = np.var(targets.astype(float))
        assert float(r2) == pytest.approx(1 - np.mean(off**2) / spread, abs=1e-3)
    assert float(told[3]) == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-3)

    assert run("evaluate", model, path, "--label", "price") == 0
    assert re.fullmatch(r"600 samples  R2 0\.9\d+  RMSE \d+\.?\d*\n", capfd.readouterr().out)
    assert run("predict", model, path, "--label", "price") == 0
    predicted = pd.read_csv(io.StringIO(capfd.readouterr().out))
    assert predicted.columns.tolist() == ["ImageId", "Label"]
    assert np.corrcoef(predicted["Label"], table["price"])[0, 1] > 0.95
    assert abs(predicted["Label"].mean() / table["price"].mean() - 1) < 0.02


def test_one_number_alone_is_learnt(tmp_path, capfd):
    (tmp_path / "flat.csv").write_text("a,label\n" + "".join(f"{i},7\n" for i in range(40)))
    assert run("train", tmp_path / "flat.csv", "--regression", "--quiet") == 0
    assert capfd.readouterr().out.startswith("train R2 nan  test R2 nan  test RMSE ")


@pytest.fixture
def instants(tmp_path):
    """A CSV file of numbers that lie as close to each other as float32 has them at their size; and these."""
    features = np.random.default_rng(5).random((500, 2))
    instants = 5e5 + np.round(4 * features[:, 0], 3)
    table = pd.DataFrame(features, columns=["a", "b"]).assign(label=instants)
    table.to_csv(path := tmp_path / "instants.csv", index=False)
    return path, instants


def test_errors_are_of_the_labels_in_the_file(instants, tmp_path, capfd):
    path, labels = instants
    model = tmp_path / "model"
    assert run("train", path, "--regression", "--quiet", "--dtype", "float64", "--out", model) == 0
    network = NeuralNetwork.load(model)
    single = NeuralNetwork("mean_squared_error", input_scale=network.input_scale, input_shift=network.input_shift)
    for layer in network.layers:
        single.add_layer(layer.input_size, layer.neurons, layer.activation)
        single.layers[-1].weights, single.layers[-1].biases = layer.weights, layer.biases
    single.save(model)
    capfd.readouterr()
    assert run("evaluate", model, path) == 0
    found = re.fullmatch(r"500 samples  R2 (\S+)  RMSE (\S+)\n", capfd.readouterr().out)
    off = single.predict(load_csv(path)[0])[0] - labels
    assert float(found[2]) == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-5)
    assert float(found[1]) == pytest.approx(1 - np.mean(off**2) / np.var(labels), abs=1e-4)


def test_labels_that_float32_cannot_tell_apart_need_float64(instants, tmp_path, capfd):
    path, _ = instants
    model = tmp_path / "model"
    error = fails(capfd, "train", path, "--regression", "--out", model, "--quiet")
    assert re.search(r"got a spread of 1\.1\d+ in labels up to 500004; --dtype float64", error)
    assert not model.exists()
    assert run("train", path, "--regression", "--quiet", "--epochs", 80, "--dtype", "float64") == 0
    assert float(capfd.readouterr().out.split()[5]) > 0.9


@pytest.mark.parametrize("label", ["0.1", "0.5", "0.3333333333333333"])
def test_of_labels_that_are_all_the_same_there_is_no_share_to_explain(label, tmp_path, capfd):
    (tmp_path / "flat.csv").write_text("a,label\n" + "".join(f"{i},{label}\n" for i in range(60)))
    model = tmp_path / "model"
    arguments = ["--regression", "--quiet", "--dtype", "float64", "--epochs", 1, "--out", model]
    assert run("train", tmp_path / "flat.csv", *arguments) == 0
    assert capfd.readouterr().out.startswith("train R2 nan  test R2 nan  test RMSE ")
    assert run("evaluate", model, tmp_path / "flat.csv") == 0
    assert capfd.readouterr().out.startswith("60 samples  R2 nan  RMSE ")


@pytest.mark.parametrize("size", [1e160, 1e-170])
def test_labels_of_no_spread_that_can_be_computed_are_refused_before_the_training(size, tmp_path, capfd):
    labels = size * np.random.default_rng(0).normal(size=60)
    (tmp_path / "far.csv").write_text(
        "a,label\n" + "".join(f"{i},{label!r}\n" for i, label in enumerate(labels.tolist()))
    )
    error = fails(
        capfd, "train", tmp_path / "far.csv", "--regression", "--quiet", "--dtype", "float64", "--out", "model"
    )
    assert re.search(
        r"labels must be numbers that float64 can tell apart, got a spread of (inf|0) in labels up to", error
    )


@pytest.mark.parametrize("cells", [["", "?"], ["1", "unknown"], ["01", "nan"]], ids=str)
@pytest.mark.parametrize("label", ["label", "3", "-1"])
def test_whatever_the_labels_are_predictions_are_made(cells, label, tmp_path, capfd):
    features = pd.DataFrame(np.random.default_rng(0).random((40, 3)).round(3), columns=["a", "b", "c"])
    features.assign(label=np.arange(40) % 2).to_csv(train := tmp_path / "train.csv", index=False)
    model = tmp_path / "model"
    assert run("train", train, "--quiet", "--epochs", 1, "--out", model) == 0
    features.assign(label=[cells[i % 2] for i in range(40)]).to_csv(path := tmp_path / "table.csv", index=False)
    capfd.readouterr()
    assert run("predict", model, path, f"--label={label}") == 0
    network = NeuralNetwork.load(model)
    expected = network.class_names[network.predict(features.to_numpy().T)]
    assert pd.read_csv(io.StringIO(capfd.readouterr().out))["Label"].tolist() == expected.tolist()


def test_names_that_python_takes_for_numbers_are_names(tmp_path):
    columns = ["1_0", "0_1", *(f"c{i}" for i in range(12)), "label"]
    table = pd.DataFrame(np.random.default_rng(0).random((40, 15)), columns=columns)
    table.assign(label=np.arange(40) % 2).to_csv(path := tmp_path / "table.csv", index=False)
    assert run("train", path, "--ignore", "1_0", "--epochs", 1, "--quiet", "--out", tmp_path / "model") == 0
    assert NeuralNetwork.load(tmp_path / "model").feature_names == columns[1:-1]


# ---- predict ----


def predictions(network, frame):
    """The file that Kaggle wants."""
    labels = network.predict(frame.drop(columns="label").to_numpy().T)
    return "ImageId,Label\n" + "".join(f"{number},{label}\n" for number, label in enumerate(labels, 1))


FILES = {  # how the file differs from `frame`; whether it has a header; options
    "with labels": (lambda frame: frame, True, []),
    "without labels": (lambda frame: frame.drop(columns="label"), True, []),
    "labels last": (lambda frame: frame[[*frame.columns[1:], "label"]], True, []),
    "large labels": (lambda frame: frame.assign(label=frame["label"] + 70_000), True, []),
    "another name": (lambda frame: frame.rename(columns={"label": "digit"}), True, ["--label", "digit"]),
    "a feature called label": (
        lambda frame: frame.rename(columns={"label": "digit", "pixel0": "label"}),
        True,
        ["--label", "digit"],
    ),
    "a position": (lambda frame: frame.rename(columns={"label": "digit"}), True, ["--label", "0"]),
    "no header": (lambda frame: frame.drop(columns="label"), False, []),
    "no header, with labels": (lambda frame: frame, False, ["--label", "0"]),
}


@pytest.mark.parametrize("case", FILES)
def test_predict_leaves_the_labels_out(case, frame, model, tmp_path, capfd):
    change, header, options = FILES[case]
    path, network = model
    change(frame).to_csv(tmp_path / "file.csv", index=False, header=header)
    assert run("predict", path, tmp_path / "file.csv", *options) == 0
    captured = capfd.readouterr()
    assert captured.out == predictions(network, frame)
    assert captured.err == ""


def test_predict_writes_a_file(csv, frame, model, tmp_path, capfd):
    path, network = model
    out = tmp_path / "predictions.csv"
    out.write_text("old")
    assert run("predict", path, csv, "--out", out) == 0
    assert out.read_bytes().decode() == predictions(network, frame)
    assert capfd.readouterr().out == f"{out}: {ROWS} predictions\n"
    assert leftovers(tmp_path) == []


def test_predict_writes_probabilities(csv, frame, model, capfd):
    path, network = model
    assert run("predict", path, csv, "--probabilities") == 0
    first, *rest = capfd.readouterr().out.splitlines()
    assert first == "ImageId,Label,0,1,2"
    written = np.array([line.split(",") for line in rest], float)
    X = frame.drop(columns="label").to_numpy().T
    np.testing.assert_array_equal(written[:, 1], network.predict(X))
    np.testing.assert_allclose(written[:, 2:], network.forward(X).T, rtol=1e-6)


# ---- evaluate ----


def test_evaluate_prints_figures_and_confusion(csv, frame, model, capfd):
    path, network = model
    X, y = frame.drop(columns="label").to_numpy().T, frame["label"].to_numpy()
    assert run("evaluate", path, csv) == 0
    first, *rest = capfd.readouterr().out.splitlines()
    figures = network.evaluate(X, y)
    assert first == f"{ROWS} samples  accuracy {figures['accuracy']:.4f}  loss {figures['loss']:.4f}"
    assert rest[0].split() == ["predicted", "0", "1", "2", "recall"]
    assert rest[1].strip() == "true"
    assert len({len(line.rstrip()) for line in (rest[0], *rest[2:])}) == 1  # aligned
    confusion = np.array([line.split()[:-1] for line in rest[2:]], int)
    recalls = [np.mean(network.predict(X[:, y == label]) == label) for label in range(CLASSES)]
    assert [line.split()[-1] for line in rest[2:]] == [f"{recall:.4f}" for recall in recalls]
    assert confusion[:, 0].tolist() == [0, 1, 2]
    expected = pd.crosstab(y, network.predict(X)).reindex(index=range(3), columns=range(3), fill_value=0)
    np.testing.assert_array_equal(confusion[:, 1:], expected)
    assert (confusion[:, 1:] - np.diag(np.diag(confusion[:, 1:]))).any()  # rows and columns could be told apart


def test_evaluate_shows_classes_that_the_file_lacks(frame, model, tmp_path, capfd):
    frame[frame["label"] == 2].head(2).to_csv(tmp_path / "twos.csv", index=False)
    assert run("evaluate", model[0], tmp_path / "twos.csv") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == ["0", "1", "2"]
    assert lines[3].split()[1:] == lines[4].split()[1:] == ["0", "0", "0", "-"]
    assert sum(map(int, lines[5].split()[1:-1])) == 2


def test_a_network_for_yes_or_no_is_a_classifier_too(tmp_path, capfd):
    network = NeuralNetwork("binary_cross_entropy", rng=0)
    network.add_layer(2, 1, "sigmoid")
    network.layers[0].weights, network.layers[0].biases = [[1.0, 0.0]], [[0.0]]
    network.save(tmp_path / "model")
    (tmp_path / "file.csv").write_text("label,a,b\n1,2,0.5\n0,-2,0.5\n0,2,0.5\n")
    assert run("predict", tmp_path / "model", tmp_path / "file.csv") == 0
    assert capfd.readouterr().out == "ImageId,Label\n1,1\n2,0\n3,1\n"
    assert run("predict", tmp_path / "model", tmp_path / "file.csv", "--probabilities") == 0
    first, *rest = capfd.readouterr().out.splitlines()
    assert first == "ImageId,Label,0,1"
    probability = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        np.array([line.split(",")[2:] for line in rest], float),
        [[1 - probability, probability], [probability, 1 - probability], [1 - probability, probability]],
        rtol=1e-6,
    )
    assert run("evaluate", tmp_path / "model", tmp_path / "file.csv") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split() for line in lines[3:]] == [["0", "1", "1", "0.5000"], ["1", "0", "1", "1.0000"]]


# ---- the rest ----


def test_version(capfd):
    with pytest.raises(SystemExit) as end:
        run("--version")
    assert end.value.code == 0
    assert capfd.readouterr().out == f"cmlp {cmlp.__version__}\n"


def test_config_is_that_of_the_package(capfd):
    assert run("config") == 0
    shown = capfd.readouterr().out
    cmlp.show_config()
    assert shown == capfd.readouterr().out != ""


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "config"])
def test_every_command_has_help(command, capfd):
    with pytest.raises(SystemExit) as end:
        run(command, "--help")
    assert end.value.code == 0
    assert capfd.readouterr().out.startswith(f"usage: cmlp {command} ")


def test_the_help_says_what_is_done_by_default(capfd):
    with pytest.raises(SystemExit):
        run("train", "--help")
    shown = " ".join(capfd.readouterr().out.split())
    for default in filter(None, cli.RECIPE.values()):
        assert f"({' '.join(map(str, default)) if isinstance(default, list) else default})" in shown
    assert f"({cli.TEST_ROWS}, or if that is less {cli.TEST_SHARE} of all)" in shown
    for name, rate in cli.LEARNING_RATES.items():
        assert f"{rate} for {name}" in shown


# ---- names ----

KINDS = ["ash", "beech, red", "\u00e9rable"]


@pytest.fixture
def trees(frame, tmp_path, monkeypatch):
    """Kinds that have names, in a folder with a file of them and a model."""
    monkeypatch.chdir(tmp_path)
    named = frame.assign(label=[KINDS[i] for i in frame["label"]]).rename(columns={"label": "kind"})
    named.to_csv("trees.csv", index=False)
    assert run("train", "trees.csv", "--label", "kind", "--out", "model", "--quiet") == 0
    return named


def test_names_of_features_and_classes_are_kept(trees, capfd):
    network = NeuralNetwork.load("model")
    assert network.feature_names == [f"pixel{i}" for i in range(FEATURES)]
    assert network.class_names.tolist() == KINDS
    capfd.readouterr()
    assert run("evaluate", "model", "trees.csv", "--label", "kind") == 0
    lines = capfd.readouterr().out.splitlines()
    assert float(lines[0].split()[3]) > 0.9
    assert [line[:10].strip() for line in lines[3:]] == KINDS
    assert run("predict", "model", "trees.csv", "--label", "kind", "--probabilities") == 0
    predicted = pd.read_csv(io.StringIO(capfd.readouterr().out))
    assert list(predicted) == ["ImageId", "Label", *KINDS]
    assert (predicted["Label"] == predicted[KINDS].idxmax(axis=1)).all()
    assert (predicted["Label"] == trees["kind"]).mean() > 0.9


def test_columns_are_found_by_their_names(trees, capfd):
    capfd.readouterr()
    assert run("predict", "model", "trees.csv", "--label", "kind") == 0
    expected = capfd.readouterr().out
    trees[reversed(trees.columns)].assign(other="a, b").to_csv("reversed.csv", index=False)
    for label in ([], ["--label", "kind"], ["--label", "nothing"]):  # which is left out anyway
        assert run("predict", "model", "reversed.csv", *label) == 0
        assert capfd.readouterr().out == expected
    assert run("evaluate", "model", "reversed.csv", "--label", "kind") == 0
    trees.drop(columns="kind").to_csv("unnamed.csv", index=False, header=False)
    trees.to_csv("labelled.csv", index=False, header=False)
    capfd.readouterr()
    assert run("predict", "model", "unnamed.csv") == 0
    assert capfd.readouterr().out == expected
    assert run("predict", "model", "labelled.csv", "--label", 0) == 0
    assert capfd.readouterr().out == expected
    assert "a row without a header above it?" in fails(capfd, "predict", "model", "labelled.csv")


def test_numbers_are_names_of_columns_too(trees, capfd):
    counted = trees.set_axis(["kind", *map(str, range(FEATURES))], axis=1)  # as pandas calls them
    counted.to_csv("counted.csv", index=False)
    counted[reversed(counted.columns)].assign(other=1).to_csv("reversed.csv", index=False)
    assert run("train", "counted.csv", "--label", "kind", "--out", "model", "--quiet") == 0
    capfd.readouterr()
    for command in ("evaluate", "predict"):
        assert run(command, "model", "counted.csv", "--label", "kind") == 0
        expected = capfd.readouterr().out
        assert run(command, "model", "reversed.csv", "--label", "kind") == 0
        assert capfd.readouterr().out == expected


def test_columns_can_be_left_out(trees, capfd):
    trees.assign(id=[f"a,{i}" for i in range(ROWS)], day=1).to_csv("more.csv", index=False)
    ignored = "--ignore", "id", "--ignore", "day"
    assert run("train", "more.csv", "--label", "kind", *ignored[:3], -1, "--out", "again", "--quiet") == 0
    assert Path("again").read_bytes() == Path("model").read_bytes()
    network = NeuralNetwork.load("model")
    network.feature_names = None
    network.save("nameless")
    capfd.readouterr()
    assert "column 'id': expected a number" in fails(capfd, "evaluate", "nameless", "more.csv", "--label", "kind")
    assert run("evaluate", "nameless", "more.csv", "--label", "kind", *ignored) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pixel3": "x"}, "other.csv: no column 'pixel3' in ['kind', 'pixel0', "),
        ({"pixel3": "pixel2"}, "other.csv: two columns 'pixel2' in ['kind', 'pixel0', "),
        ({}, "other.csv: labels must be 'ash', 'beech, red', '\u00e9rable', as model has them, got 'oak'"),
    ],
)
def test_other_names_are_refused(trees, change, expected, capfd):
    capfd.readouterr()
    trees.replace({"kind": {"ash": "oak"}}).rename(columns=change).to_csv("other.csv", index=False)
    assert expected in fails(capfd, "evaluate", "model", "other.csv", "--label", "kind")


@pytest.mark.parametrize(
    ("labels", "header", "features"),
    [
        ([-1, 1, 7], True, [f"pixel{i}" for i in range(FEATURES)]),
        ([1, 2, 3], False, None),
        (["1st", "2nd", "3rd"], False, None),
    ],
)
def test_classes_need_not_begin_with_0(frame, tmp_path, labels, header, features, capfd):
    path = tmp_path / "file.csv"
    frame.assign(label=[labels[i] for i in frame["label"]]).to_csv(path, index=False, header=header)
    assert run("train", path, "--label", 0, "--out", tmp_path / "model") == 0
    network = NeuralNetwork.load(tmp_path / "model")
    assert network.layers[-1].neurons == CLASSES
    assert (network.feature_names, network.class_names.tolist()) == (features, labels)
    capfd.readouterr()
    assert run("predict", tmp_path / "model", path, "--label", 0) == 0
    predicted = pd.read_csv(io.StringIO(capfd.readouterr().out))["Label"]
    assert (predicted.to_numpy() == [labels[i] for i in frame["label"]]).mean() > 0.9


def test_predict_leaves_out_a_label_of_text(frame, model, tmp_path, capfd):
    path, network = model
    named = frame.assign(label="a, b")
    named.to_csv(tmp_path / "named.csv", index=False)
    assert run("predict", path, tmp_path / "named.csv") == 0
    predicted = pd.read_csv(io.StringIO(capfd.readouterr().out))["Label"]
    np.testing.assert_array_equal(predicted, network.predict(frame.drop(columns="label").to_numpy().T))
    named.insert(3, "label", 7, allow_duplicates=True)
    named.to_csv(tmp_path / "twice.csv", index=False)
    assert run("predict", path, tmp_path / "twice.csv") == 0
    assert (pd.read_csv(io.StringIO(capfd.readouterr().out))["Label"] == predicted).all()


def test_a_feature_may_be_called_label(frame, tmp_path, capfd):
    renamed = frame.rename(columns={"label": "kind", "pixel3": "label"})
    renamed.to_csv(tmp_path / "file.csv", index=False)
    assert run("train", tmp_path / "file.csv", "--label", "kind", "--out", tmp_path / "model") == 0
    capfd.readouterr()
    assert run("predict", tmp_path / "model", tmp_path / "file.csv") == 0
    predicted = pd.read_csv(io.StringIO(capfd.readouterr().out))["Label"]
    assert (predicted == frame["label"]).mean() > 0.9


def test_classes_may_be_called_anything(frame, tmp_path, capfd):
    names = ["01", "recall", "Label"]
    frame.assign(label=[names[i] for i in frame["label"]]).to_csv(tmp_path / "file.csv", index=False)
    arguments = tmp_path / "file.csv", "--text-labels", "--out", tmp_path / "model"
    assert run("train", *arguments) == 0
    capfd.readouterr()
    assert run("evaluate", tmp_path / "model", tmp_path / "file.csv") == 0
    table = [line.split() for line in capfd.readouterr().out.splitlines()[1:]]
    assert table[0] == ["predicted", "01", "Label", "recall", "recall"]
    assert [row[0] for row in table[2:]] == sorted(names)
    assert sum(int(cell) for row in table[2:] for cell in row[1:-1]) == ROWS
    assert run("predict", tmp_path / "model", tmp_path / "file.csv", "--probabilities") == 0
    assert capfd.readouterr().out.splitlines()[0] == "ImageId,Label,01,Label,recall"


def test_patience_has_time(csv, trained):
    assert run("train", csv, "--patience", 2) == 0
    assert trained[0]["epochs"] > 100


# ---- errors ----

ERRORS = {  # arguments, in which CSV and MODEL are good ones; what the line says
    "no command": ("", "arguments are required: COMMAND"),
    "unknown command": ("teach CSV", "invalid choice: 'teach'"),
    "no file": ("train", "arguments are required: FILE"),
    "unknown option": ("train CSV --colour red", "unrecognized arguments: --colour red"),
    "abbreviation": ("train CSV --epoch 3", "unrecognized arguments: --epoch 3"),
    "epochs": ("train CSV --epochs 0", "argument --epochs: must be a whole number of at least 1, got '0'"),
    "epochs text": ("train CSV --epochs many", "--epochs: must be a whole number of at least 1, got 'many'"),
    "batch size": ("train CSV --batch-size -1", "argument --batch-size: "),
    "hidden": ("train CSV --hidden 30 0", "argument --hidden: must be a whole number of at least 1, got '0'"),
    "hidden vast": ("train CSV --hidden 1000000000000000", "llocate"),
    "activation": ("train CSV --activation swish", "argument --activation: invalid choice: 'swish'"),
    "activation softmax": ("train CSV --activation softmax", "argument --activation: invalid choice: 'softmax'"),
    "optimizer": ("train CSV --optimizer adadelta", "argument --optimizer: invalid choice: 'adadelta'"),
    "rate": ("train CSV --learning-rate 0", "argument --learning-rate: must be finite, more than 0, got 0"),
    "rate NaN": ("train CSV --learning-rate nan", "argument --learning-rate: must be finite, more than 0, got nan"),
    "rate text": ("train CSV --learning-rate fast", "argument --learning-rate: must be a number, got 'fast'"),
    "momentum": ("train CSV --optimizer sgd --momentum 1", "--momentum: must be finite, at least 0 and less than 1"),
    "momentum of Adam": ("train CSV --momentum 0.9", "--momentum is for --optimizer sgd, got adam"),
    "seed": ("train CSV --seed -1", "argument --seed: must be a whole number of at least 0, got '-1'"),
    "dtype": ("train CSV --dtype float16", "argument --dtype: invalid choice: 'float16'"),
    "test rows": (
        "train CSV --test-rows 1100",
        "--test-rows must set aside 1 to 1099 of the 1100 rows of CSV, got 1100",
    ),
    "test share": (
        "train CSV --test-rows 0.0001",
        "--test-rows must set aside 1 to 1099 of the 1100 rows of CSV, got 0",
    ),
    "test whole": ("train CSV --test-rows 1.5", "must be a whole number of at least 1, or a share as 0.2, got '1.5'"),
    "no test rows": ("train CSV --test-rows 0", "argument --test-rows: must be a whole number of at least 1"),
    "missing file": ("train NONE", "cmlp: error: NONE: No such file or directory\n"),
    "not a table": ("train MODEL", "MODEL: "),
    "no label": ("train CSV --label digit", "no column 'digit'"),
    "label beyond": ("train CSV --label 13", "CSV: positions of columns are from -13 to 12, got 13"),
    "labels of one kind": (
        "train ZEROS",
        "ZEROS: labels must be two classes or more, of some rows each, got nothing ",
    ),
    "labels all different": (
        "train NUMBERED",
        "two classes or more, of some rows each, got 1100 different ones in 1100 rows",
    ),
    "labels are numbers to predict": ("train FEWEACH", "of some rows each, got 440 different ones in 1100 rows"),
    "labels fractions": ("train FRACTIONS", "FRACTIONS: labels must be whole numbers or names, got others in column"),
    "diverging": ("train CSV --optimizer sgd --learning-rate 1e38 --quiet", "learning rate"),
    "out in no directory": ("train CSV --out none/model", "cmlp: error: none/model: No such file or directory\n"),
    "out a directory": ("train CSV --out .", ": Is a directory\n"),
    "out is read": ("train CSV --out CSV", "--out CSV would overwrite CSV, which is read"),
    "predict: missing model": ("predict NONE CSV", "cmlp: error: NONE: No such file or directory\n"),
    "predict: no model": ("predict CSV CSV", "CSV: not a model file of cmlp: "),
    "predict: two numbers": ("predict TWOFOLD CSV", "TWOFOLD: expected a model that predicts one number, got 2"),
    "predict: no classes": ("predict REGRESSION CSV --probabilities", "REGRESSION predicts numbers"),
    "predict: missing file": ("predict MODEL NONE", "cmlp: error: NONE: No such file or directory\n"),
    "predict: too few": ("predict MODEL FEW", "FEW: expected 12 features, as MODEL was trained on, got 11"),
    "train: out is none": ("train CSV --out -", "--out must name a file, got '-'"),
    "predict: out is none": ("predict MODEL CSV --out=", "--out must name a file, got ''"),
    "predict: no such label": ("predict MODEL CSV --label digit", "no column 'digit'"),
    "predict: out in no directory": (
        "predict MODEL CSV --out none/p.csv",
        "cmlp: error: none/p.csv: No such file or directory\n",
    ),
    "predict: out is read": ("predict MODEL CSV --out MODEL", "--out MODEL would overwrite MODEL, which is read"),
    "evaluate: too few": ("evaluate MODEL FEW", "FEW: expected 12 features, as MODEL was trained on, got 11"),
    "evaluate: no labels": ("evaluate MODEL UNLABELLED", "no column 'label'"),
    "evaluate: other classes": (
        "evaluate MODEL VAST",
        "VAST: labels must be 0, 1, 2, as MODEL has them, got 1000000000",
    ),
    "evaluate: two numbers": ("evaluate TWOFOLD CSV", "TWOFOLD: expected a model that predicts one number, got 2"),
    "regression: notebook": ("train CSV --regression --notebook", "cannot be combined with --notebook"),
    "regression: text": ("train CSV --regression --text-labels", "cannot be combined with --text-labels"),
    "regression: weights": ("train CSV --regression --class-weight balanced", "cannot be combined with --class-weight"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(case, folder, capfd):
    arguments, expected = ERRORS[case]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    error = fails(capfd, *arguments.split())
    assert expected in error
    assert not re.search(r"Errno|=None|\b(X|y|rng|given|test_size|learning_rate)\b", error)  # nobody typed that
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("path", ["none/model", ".", "CSV"])
@pytest.mark.parametrize("command", ["train CSV", "predict MODEL CSV"])
@pytest.mark.usefixtures("folder")
def test_a_path_that_cannot_be_written_is_noticed_before_any_work(command, path, monkeypatch, capfd):
    def unexpected(*_, **__):
        raise AssertionError("worked in vain")

    monkeypatch.setattr(cmlp, "load_csv", unexpected)
    monkeypatch.setattr(NeuralNetwork, "load", unexpected)
    fails(capfd, *command.split(), "--out", path)


def hide(monkeypatch, library):
    for name in {library, *(name for name in sys.modules if name.startswith(f"{library}."))}:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("pandas", "predict MODEL CSV"),
        ("pandas", "evaluate MODEL CSV"),
        ("safetensors", "train CSV --out new"),
        ("safetensors", "predict MODEL CSV"),
        ("safetensors", "evaluate MODEL CSV"),
    ],
)
def test_missing_libraries_are_named(library, command, folder, trained, monkeypatch, capfd):
    hide(monkeypatch, library)
    error = fails(capfd, *command.split())
    assert f"{'tables' if library == 'pandas' else 'model files'} need {library}: " in error
    assert 'pip install "cmlp[cli]"' in error
    assert not trained
    assert not (folder / "new").exists()


@pytest.mark.usefixtures("folder")
def test_training_on_images_needs_nothing_but_numpy(monkeypatch):
    for library in "pandas", "tqdm", "safetensors":  # the last with --out alone
        hide(monkeypatch, library)
    assert run("train", "CSV", "--epochs", 1) == 0


@pytest.mark.parametrize(
    ("failure", "status"),
    [(KeyboardInterrupt(), 130), (MemoryError(), 2), (BrokenPipeError(), 141)],
    ids=lambda value: getattr(type(value), "__name__", value),
)
@pytest.mark.parametrize(("command", "work"), [("train CSV", "fit"), ("predict MODEL CSV", "predict")])
def test_an_end_midway_leaves_the_old_file(command, work, failure, status, folder, monkeypatch, capfd):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(NeuralNetwork, work, fail)
    Path("out").write_text("old")
    assert run(*command.split(), "--out", "out") == status
    assert Path("out").read_text() == "old"
    assert leftovers(folder) == []
    assert len(capfd.readouterr().err.splitlines()) == (status != 141)


def test_the_model_is_saved_even_if_nobody_reads_the_result(folder, monkeypatch):
    def say(*words):
        if str(words[0]).startswith("train accuracy"):
            raise BrokenPipeError

    monkeypatch.setattr(_cli_train, "say", say)
    assert run("train", "CSV", "--epochs", 1, "--out", "out") == 141
    assert shape(NeuralNetwork.load("out"))[0] == (FEATURES, 30, "relu")
    assert leftovers(folder) == []


# ---- as a process ----


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def _buffering(request, monkeypatch):
    """With and without a buffer, writing to a pipe fails at other moments."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


def start(folder, *arguments, **settings):
    environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-W", "error", "-m", "cmlp", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    return subprocess.Popen(command, text=True, cwd=folder, env=environment, **pipes)


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_process_ends_with_the_status(tmp_path):
    assert finish(start(tmp_path, "--version")) == (0, f"cmlp {cmlp.__version__}\n", "")
    status, out, err = finish(start(tmp_path, "train", "none"))
    assert (status, out) == (2, "")
    assert err.startswith("cmlp: error: ")
    assert err.count("\n") == 1


def test_help_loads_no_library_but_numpy(tmp_path):
    code = """
import sys
from cmlp.cli import main
try:
    main(["--help"])
except SystemExit:
    print(*{"pandas", "tqdm", "safetensors"} & set(sys.modules), file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert result.stdout.startswith("usage: cmlp ")
    assert result.stderr == "\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way")
@pytest.mark.usefixtures("_buffering")
def test_a_broken_pipe_ends_training(folder):
    process = start(folder, "train", "CSV", "--epochs", 10**6, "--out", "out")
    assert process.stdout.readline().startswith("CSV: 1100 samples")
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
    assert not (folder / "out").exists()
    assert leftovers(folder) == []


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way")
@pytest.mark.usefixtures("_buffering")
def test_a_broken_pipe_ends_prediction(folder, frame):
    table = pd.concat([frame.drop(columns="label")] * 20)  # more predictions than a pipe holds
    table.to_csv(folder / "LONG", index=False)
    process = start(folder, "predict", "MODEL", "LONG")
    assert process.stdout.read(14) == "ImageId,Label\n"
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way")
@pytest.mark.usefixtures("_buffering")
def test_an_error_that_nobody_reads_leaves_the_status(folder):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        process = start(folder, "train", "none", stdout=nobody, stderr=nobody)
        assert process.wait(30) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.usefixtures("_buffering")
def test_a_full_disk_is_an_error(folder):
    with open("/dev/full", "w") as full:
        status, _, err = finish(start(folder, "predict", "MODEL", "CSV", stdout=full))
    assert status == 2
    assert re.fullmatch(r"cmlp: error: .*No space left on device.*\n", err)


@pytest.mark.skipif(os.name == "nt", reason="signals are of another kind")
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("kind", [[], ["--notebook"]], ids=["fit", "notebook"])
def test_an_interrupt_saves_what_is_trained(kind, before, folder, monkeypatch, capfd):
    if before:
        (folder / "out").write_text(before)
    taken = {}

    def interrupt(train):
        def interrupted(network, *arguments, **settings):
            if len(taken) < 3 and kind:
                taken[len(taken)] = train(network, *arguments, **settings)
                return
            if not kind:
                stop = cmlp.callbacks.LambdaCallback(on_epoch_end=lambda _: signal.raise_signal(signal.SIGINT))
                taken[0] = train(network, *arguments, **settings, callbacks=[stop])
            signal.raise_signal(signal.SIGINT)

        return interrupted

    name = "train" if kind else "fit"
    monkeypatch.setattr(NeuralNetwork, name, interrupt(getattr(NeuralNetwork, name)))
    assert run("train", "CSV", "--out", "out", "--quiet", *kind) == 130
    assert capfd.readouterr() == ("", "cmlp: interrupted: out holds the model as it was then\n")
    saved = NeuralNetwork.load("out")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    X, y, _ = load_csv("CSV")
    rng = np.random.default_rng(0)
    X_train, _, y_train, _ = train_test_split(X, y, 220, rng)
    network = NeuralNetwork(rng=rng, input_scale=1 / 255)
    for layer in saved.layers:
        network.add_layer(layer.input_size, layer.neurons, layer.activation, layer.init)
    if kind:
        for _ in range(3):
            network.train(X_train, y_train, 0.1)
    else:
        network.fit(X_train, y_train, 1, 64, Adam(0.002))
    for layer, other in zip(saved.layers, network.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, other.weights)
    assert leftovers(folder) == []


@pytest.mark.skipif(os.name == "nt", reason="signals are of another kind")
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_before_all_is_imported_leaves_no_traceback(ignored, tmp_path):
    handler = "signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignored else ""
    (tmp_path / "sitecustomize.py").write_text(f"import signal; {handler}")
    (tmp_path / "numpy.py").write_text("import signal; signal.raise_signal(signal.SIGINT); raise SystemExit('alive')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(cmlp.__file__).parent.parent}"}
    process = subprocess.run(
        [sys.executable, "-m", "cmlp"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert (process.returncode, process.stderr) == ((1, "alive\n") if ignored else (-signal.SIGINT, ""))


@pytest.mark.skipif(os.name == "nt", reason="signals are of another kind")
@pytest.mark.parametrize("out", [[], ["--out", "out"]], ids=["kept", "saved"])
def test_an_interrupted_process_leaves_no_traceback(out, folder):
    process = start(folder, "train", "CSV", "--epochs", 10**6, *out)
    while not process.stdout.readline().startswith("epoch 3/"):
        assert process.poll() is None
    assert len(leftovers(folder)) == len(out) // 2  # the file is open already
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    told = ": out holds the model as it was then" if out else ""
    assert (status, err) == (130, f"cmlp: interrupted{told}\n")
    assert leftovers(folder) == []
    if out:
        X, y, _ = load_csv(folder / "CSV")
        assert NeuralNetwork.load(folder / "out").evaluate(X, y)["accuracy"] > 0.5
    else:
        assert not (folder / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals are of another kind")
def test_a_process_that_is_ended_leaves_no_file(folder):
    process = start(folder, "train", "CSV", "--epochs", 10**6, "--out", "out")
    while not process.stdout.readline().startswith("epoch 3/"):
        assert process.poll() is None
    process.terminate()
    status, _, err = finish(process)
    assert (status, err, leftovers(folder)) == (128 + signal.SIGTERM, "", [])
    assert not (folder / "out").exists()


CLOSING = """
import os, sys
os.close({number})
os.execv(sys.executable, [sys.executable, "-m", "cmlp", *sys.argv[1:]])
"""


@pytest.mark.skipif(os.name == "nt", reason="files are closed in another way")
@pytest.mark.parametrize(
    ("number", "arguments", "told"),
    [
        (1, ["train", "CSV", "--quiet"], (0, "", "")),
        (1, ["predict", "MODEL", "CSV"], (2, "", "cmlp: error: stdout is closed: --out names a file\n")),
        (2, ["predict", "nothing", "CSV"], (2, "", "")),
    ],
)
def test_closed_streams(folder, number, arguments, told):
    environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)}
    command = [sys.executable, "-c", CLOSING.format(number=number), *arguments]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout, process.stderr) == told


# ---- the real images ----


def test_the_images(tmp_path, capfd):
    # On one thread it takes no longer when the machine has other work.
    assert run("train", IMAGES, "--epochs", 2, "--threads", 1, "--out", tmp_path / "model") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{IMAGES}: 42000 samples of 784 features, 10 classes"
    assert lines[1] == "1000 of 42000 rows are set aside for the test; pixels are divided by 255"
    assert "784 -> 30" in lines[4]
    assert float(lines[-1].split()[5]) > 0.9
    with gzip.open(IMAGES) as file:
        few = pd.read_csv(io.BytesIO(b"".join(file.readline() for _ in range(101))))
    few.drop(columns="label").to_csv(tmp_path / "test.csv", index=False)
    assert run("predict", tmp_path / "model", tmp_path / "test.csv") == 0
    table = pd.read_csv(io.StringIO(capfd.readouterr().out))
    assert table.columns.tolist() == ["ImageId", "Label"]
    assert table["ImageId"].tolist() == list(range(1, 101))
    assert (table["Label"].to_numpy() == few["label"].to_numpy()).mean() > 0.85
