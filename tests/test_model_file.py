"""Model files: the same bits after a round trip, the old file or the new one after a crash, no broken file read."""

import copy
import errno
import json
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import cmlp
from cmlp import SGD, Adam, AdamW, CrossEntropy, Huber, NeuralNetwork, Quantile, model_file, schedules
from cmlp._init import INITIALISERS
from cmlp.callbacks import LambdaCallback, ModelCheckpoint, ReduceLROnPlateau
from cmlp.optimizers import OPTIMIZERS
from cmlp.schedules import SCHEDULES, Cosine, Schedule, Step

# loss, input_scale, layers with or without dropout, input_shift
NETWORKS = {
    "digits": ("cross_entropy", 1 / 255, [(7, 5, "relu"), (5, 4, "sigmoid"), (4, 3, "softmax")]),
    "one layer": ("cross_entropy", 1.0, [(2, 2, "softmax")]),
    "yes or no": ("binary_cross_entropy", 0.1, [(3, 17, "tanh"), (17, 1, "sigmoid")]),
    "regression": ("mean_squared_error", 1e-30, [(1, 1, "identity")]),
    "smoothed": (CrossEntropy(np.float32(0.1)), 1.0, [(3, 4, "selu", 0.25), (4, 2, "softmax")], -1 / 3),
    "cut": (Huber(1 / 3), [0.1, 1e-30, 7.0], [(3, 17, "mish", 0.1), (17, 1, "identity")], [1 / 3, -1e30, 0.0]),
    "quantiles": (Quantile((0.1, 1 / 3)), [0.1], [(1, 2, "gelu")]),
    "counts": ("poisson", 1.0, [(2, 1, "exp")], [1.0, 2.0]),
}


def build(
    loss="cross_entropy",
    input_scale=1.0,
    layers=((4, 3, "relu"), (3, 2, "softmax")),
    input_shift=0.0,
    dtype="float32",
    rng=0,
    init="uniform",
):
    network = NeuralNetwork(loss, dtype, rng, input_scale, input_shift)
    for input_size, neurons, activation, *dropout in layers:
        network.add_layer(input_size, neurons, activation, init, *dropout)
    return network


def bits(network):
    """Everything that a network is apart from its training, to be compared."""
    layers = [
        (layer.input_size, layer.neurons, layer.activation, layer.init, layer.dropout) for layer in network.layers
    ]
    numbers = [array.tobytes() for layer in network.layers for array in (layer.weights, layer.biases)]
    scaling = [np.asarray(value).tolist() for value in (network.input_scale, network.input_shift)]
    return network.loss, network.loss_options, network.dtype, scaling, layers, numbers


def training_state(network):
    """Everything that its next steps depend on as well."""
    memory = network._memory
    moments = None if memory.moments is None else (memory.moments.shape, memory.moments.tobytes())
    return (
        memory.optimizer,
        memory.schedule,
        memory.plateau,
        moments,
        memory.taken,
        str(network.rng.bit_generator.state),
        network._aside,
    )


def leftovers(folder):
    """Files of a folder that are nobody's."""
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_round_trip_changes_no_bit(name, dtype, tmp_path):
    network = build(*NETWORKS[name], dtype=dtype)
    kind = np.finfo(dtype)
    numbers = network.layers[0].weights.size
    network.layers[0].weights = np.resize(
        np.array([-0.0, kind.smallest_subnormal, -kind.max, kind.eps], dtype), numbers
    ).reshape(network.layers[0].weights.shape)
    path = tmp_path / "model.safetensors"
    network.save(path)
    loaded = NeuralNetwork.load(str(path))
    assert bits(loaded) == bits(network)
    assert training_state(loaded) == training_state(network)
    assert repr(loaded) == repr(network)


def test_a_loaded_network_goes_on_as_the_saved_one_would(tmp_path, rng):
    X, y = rng.random((4, 50)), rng.integers(0, 2, 50)
    network = build()
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forward(X), network.forward(X), strict=True)
    assert loaded.train(X, y, 0.1) == network.train(X, y, 0.1)
    assert bits(loaded) == bits(network)


RESUMED = """
import sys
import numpy as np
from cmlp import NeuralNetwork
from cmlp.callbacks import ReduceLROnPlateau
network = NeuralNetwork.load(sys.argv[1])
data = np.load(sys.argv[2])
settings = {"batch_size": 16, "optimizer": network.optimizer, "schedule": network.schedule, "validation_fraction": 0.2}
plateau = ReduceLROnPlateau(factor=0.5, patience=2, min_delta=0.2, resume=True)
history = network.fit(data["X"], data["y"], epochs=5, callbacks=[plateau], **settings)
print(network._params.tobytes().hex(), history["loss"], history["val_loss"])
"""


@pytest.mark.parametrize(
    ("generator", "optimizer", "schedule"),
    [
        ("PCG64", AdamW(0.004, beta2=0.99, weight_decay=0.1), Cosine(total=80, warmup=9)),
        ("MT19937", SGD(0.1, momentum=0.5, nesterov=True), Step(every_epochs=3, factor=0.5)),
    ],
)
def test_training_goes_on_in_another_process_as_in_one(generator, optimizer, schedule, dtype, tmp_path, rng, keep):
    X, y = rng.normal(size=(20, 150)), rng.integers(0, 3, 150)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    whole, half = (
        build(
            CrossEntropy(0.1),
            layers=[(20, 40, "relu", 0.5), (40, 9, "tanh", 0.1), (9, 3, "softmax")],
            dtype=dtype,
            rng=np.random.Generator(getattr(np.random, generator)(1)),
        )
        for _ in range(2)
    )
    for network in (whole, half):
        network.adapt(X)
    settings = {"batch_size": 16, "optimizer": optimizer, "schedule": schedule, "validation_fraction": 0.2}
    settings["callbacks"] = [plateau := ReduceLROnPlateau(factor=0.5, patience=2, min_delta=0.2)]
    history = whole.fit(X, y, epochs=10, **settings)
    assert plateau.learning_rate < optimizer.learning_rate / 4  # it has waited before the fifth epoch and after it
    half.fit(X, y, epochs=5, **settings)
    half.save(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", RESUMED, tmp_path / "model", tmp_path / "data.npz"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    resumed = np.frombuffer(bytes.fromhex(done.stdout.split()[0]), whole.dtype)
    keep("parameters after 10 epochs, and after 5, a file, and 5 in another process", np.abs(resumed - whole._params))
    assert done.stdout == f"{whole._params.tobytes().hex()} {history['loss'][5:]} {history['val_loss'][5:]}\n"


def trained(optimizer="adam", generator="PCG64", dtype="float32"):
    """A network that has taken three steps."""
    network = build(dtype=dtype, rng=np.random.Generator(getattr(np.random, generator)(0)))
    network.fit(np.eye(4), [0, 1, 1, 0], epochs=3, batch_size=4, optimizer=optimizer)
    return network


def test_every_schedule_has_a_name_in_files():
    assert {kind for kind in vars(schedules).values() if isinstance(kind, type) and issubclass(kind, Schedule)} == {
        Schedule,
        *SCHEDULES.values(),
    }


@pytest.mark.parametrize("schedule", [None, Cosine(10, final=np.float32(0.1)), lambda t: 1 / (1 + t)])
def test_the_rate_that_callbacks_left_is_kept_and_the_schedule_if_a_file_can_hold_it(schedule, tmp_path):
    network, first = build(), Adam(np.float32(0.01), beta2=0.99)

    def halve(run):
        run.learning_rate /= 2

    network.fit(
        np.eye(4), [0, 1, 1, 0], 2, optimizer=first, schedule=schedule, callbacks=[LambdaCallback(on_epoch_end=halve)]
    )
    network.save(tmp_path / "model")
    for each in (network, NeuralNetwork.load(tmp_path / "model"), copy.deepcopy(network)):
        assert each.optimizer == replace(first, learning_rate=float(np.float32(0.01)) / 4)
        assert each.schedule == (schedule if isinstance(schedule, Schedule) else None)
    network.reset()
    assert network.optimizer is network.schedule is None


def test_a_checkpoint_goes_on_at_the_rate_that_the_callbacks_of_its_epoch_left(tmp_path):
    X, y, rates = np.eye(4), [0, 1, 1, 0], []

    def halve(run):
        rates.append(run.learning_rate)
        run.learning_rate /= 2

    callbacks = [LambdaCallback(on_epoch_end=halve), ModelCheckpoint(tmp_path / "{epoch}")]
    whole = build()
    whole.fit(X, y, 4, optimizer=Adam(0.08), callbacks=callbacks)
    half = NeuralNetwork.load(tmp_path / "1")
    half.fit(X, y, 2, optimizer=half.optimizer, callbacks=callbacks)
    assert rates == [0.08, 0.04, 0.02, 0.01, 0.02, 0.01]
    assert bits(half) == bits(whole)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(1, momentum=0.5, nesterov=1), Adam(np.longdouble(0.01), epsilon_hat=np.True_)],
    ids=["whole numbers", "NumPy's"],
)
def test_settings_of_any_type_are_kept(optimizer, tmp_path):
    network = build()
    network.fit(np.eye(4), [0, 1, 1, 0], 1, optimizer=optimizer, schedule=Step(every_steps=np.int64(3)))
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert loaded.optimizer == optimizer
    assert loaded.schedule == network.schedule


@pytest.mark.parametrize("optimizer", [*model_file.MOMENT_COUNTS, SGD(0.1, momentum=0.9)], ids=str)
def test_what_every_optimizer_remembers_is_kept(optimizer, dtype, tmp_path):
    network = trained(optimizer, dtype=dtype)
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert loaded._memory.taken == 3
    assert loaded._memory.moments.ctypes.data % 64 == 0
    for more in (0, 1):
        assert bits(loaded) == bits(network), more
        assert training_state(loaded) == training_state(network), more
        for each in (loaded, network):
            each.fit(np.eye(4), [0, 1, 1, 0], epochs=1, batch_size=2, optimizer=optimizer)


def test_every_optimizer_has_its_count_of_moments():
    assert set(model_file.MOMENT_COUNTS) == set(OPTIMIZERS)


@pytest.mark.parametrize("generator", model_file.GENERATORS)
def test_every_generator_of_numpy_is_kept(generator, tmp_path):
    network = trained(generator=generator)
    network.rng.integers(2**31, dtype=np.int32)  # half a word is left over
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert training_state(loaded) == training_state(network)
    assert loaded.rng.normal(size=999).tolist() == network.rng.normal(size=999).tolist()


def test_the_state_of_training_can_be_left_out(tmp_path):
    network = trained()
    network.save(tmp_path / "whole")
    network.save(tmp_path / "model", training_state=False)
    assert (tmp_path / "model").read_bytes() == model_file.dumps(network, training_state=False)
    assert (tmp_path / "model").stat().st_size < (tmp_path / "whole").stat().st_size / 1.5
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert bits(loaded) == bits(network)
    assert loaded._memory.moments is None
    assert training_state(loaded)[-2] != training_state(network)[-2]


@pytest.mark.parametrize(
    ("features", "classes"),
    [(list("abcd"), [-1, 7]), (("1", "é", "", "x" * 500), np.array(["no", "yes"])), (None, np.arange(2)), (None, None)],
)
def test_names_are_kept(features, classes, tmp_path):
    network = build()
    network.feature_names, network.class_names = features, classes
    network.save(tmp_path / "model")
    for loaded in (NeuralNetwork.load(tmp_path / "model"), copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert loaded.feature_names == (None if features is None else list(features))
        if classes is None:
            assert loaded.class_names is None
        else:
            np.testing.assert_array_equal(
                loaded.class_names[loaded.predict(np.eye(4))], np.array(classes)[network.predict(np.eye(4))]
            )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_may_be_a_series(library):
    network = build()
    network.feature_names = pytest.importorskip(library).Series(list("abcd"))
    assert network.feature_names == list("abcd")


@pytest.mark.parametrize(
    "names", ["abcd", ["a", "b", "c", 1], ["a", "b", "c", "a"], [0.5, 1, 2, 3], {"a", "b"}, [[], []]]
)
def test_names_that_are_none_are_refused(names):
    network = build()
    for field in ("feature_names", "class_names"):
        with pytest.raises(ValueError, match=f"expected {field} to be different names, each a str"):
            setattr(network, field, names)
        assert getattr(network, field) is None


@pytest.mark.parametrize(("field", "count"), [("feature_names", 4), ("class_names", 2)])
def test_there_is_a_name_for_each(field, count, tmp_path):
    network = build()
    setattr(network, field, ["a"])
    message = f"expected {field} to be {count} names or none, got 1 of them"
    with pytest.raises(ValueError, match=message):
        network.save(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        network.fit(np.eye(4), [0, 1, 0, 1])
    setattr(network, field, list("abcd")[:count])
    network.fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("init", INITIALISERS)
def test_a_loaded_network_starts_over_as_the_saved_one_would(init, tmp_path):
    network = NeuralNetwork(rng=0)
    network.add_layer(4, 3, "relu", init)
    network.add_layer(3, 2, "softmax", init)
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    for each in (loaded, network):
        each.reset()
    assert bits(loaded) == bits(network)


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_files_of_older_versions_are_read(version, tmp_path):
    save_file(TENSORS, tmp_path / "model", {"cmlp": json.dumps(OLDER[version])})
    loaded = NeuralNetwork.load(tmp_path / "model")
    for layer in (network := build(init=None if version < "3" else "uniform")).layers:
        layer.weights, layer.biases = np.zeros_like(layer.weights), np.zeros_like(layer.biases)
    assert bits(loaded) == bits(network)


def test_older_states_of_training_are_read(tmp_path):
    training = {"generator": generator_state(), "optimizer": BEFORE}
    architecture = {**TRAINED, "version": "4", "training": training}
    save_file(TENSORS | MOMENTS, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert loaded._aside is None
    assert loaded._memory.taken == BEFORE["taken"]
    assert loaded.optimizer is loaded.schedule is None  # nobody knows what its settings were
    loaded.save(tmp_path / "again")
    assert training_state(NeuralNetwork.load(tmp_path / "again")) == training_state(loaded)
    loaded.fit(np.eye(4), [0, 1, 1, 0], 1, optimizer="adam")
    assert loaded._memory.taken == BEFORE["taken"] + 1


def test_the_same_network_makes_the_same_file():
    assert len({model_file.dumps(build()) for _ in range(20)}) == 1


def test_any_reader_of_safetensors_can_read_it(dtype, tmp_path):
    network = build(dtype=dtype)
    network.save(tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    for number, layer in enumerate(network.layers):
        np.testing.assert_array_equal(tensors.pop(f"layers.{number}.weights"), layer.weights, strict=True)
        np.testing.assert_array_equal(tensors.pop(f"layers.{number}.biases"), layer.biases[:, 0], strict=True)
    assert not tensors
    with safe_open(tmp_path / "model", framework="numpy") as file:
        architecture = json.loads(file.metadata()["cmlp"])
    training = {"generator": network.rng.bit_generator.state, "optimizer": None, "aside": None}
    assert architecture == {**ARCHITECTURE, "dtype": dtype.name, "training": training}


def test_a_subclass_is_loaded_as_such(tmp_path):
    class Mine(NeuralNetwork):
        pass

    build().save(tmp_path / "model")
    assert type(Mine.load(tmp_path / "model")) is Mine


def test_loading_and_saving_to_the_same_path(tmp_path):
    path = tmp_path / "model"
    network = build()
    network.save(path)
    before = path.read_bytes()
    loaded = NeuralNetwork.load(path)
    loaded.save(path)
    assert path.read_bytes() == before
    assert bits(loaded) == bits(network)


# ---- What is not saved ----


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["weights", "biases"])
def test_numbers_that_are_not_finite_are_not_saved(part, value, tmp_path):
    build().save(tmp_path / "model")
    network = build()
    getattr(network.layers[1], part)[1, 0] = value
    with pytest.raises(ValueError, match=rf"'layers\.1\.{part}': expected finite numbers, got {value}$"):
        network.save(tmp_path / "model")
    assert bits(NeuralNetwork.load(tmp_path / "model")) == bits(build())


def test_a_network_without_layers_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="no layers"):
        NeuralNetwork().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_loaded_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "MAX_LAYERS", 2)
    build().save(tmp_path / "model")
    assert len(NeuralNetwork.load(tmp_path / "model").layers) == 2
    deeper = build(layers=[(4, 3, "relu"), (3, 3, "relu"), (3, 2, "softmax")])
    with pytest.raises(ValueError, match="1 to 2 layers, got 3 of them"):
        deeper.save(tmp_path / "deeper")
    assert not (tmp_path / "deeper").exists()


@pytest.mark.parametrize("part", ["generator", "optimizer"])
def test_state_of_foreign_classes_is_not_saved_unless_it_is_left_out(part, tmp_path):
    class Mine(np.random.PCG64 if part == "generator" else SGD):
        pass

    network = build()
    if part == "generator":
        network.rng = np.random.Generator(Mine())
    else:
        network.fit(np.eye(4), [0, 1, 1, 0], epochs=1, optimizer=Mine(0.1))
    with pytest.raises(ValueError, match=rf"the {part} must be one of .*Mine.*training_state=False"):
        network.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    network.save(tmp_path / "model", training_state=False)
    assert bits(NeuralNetwork.load(tmp_path / "model")) == bits(network)


# ---- What is not loaded ----

ARCHITECTURE = {
    "version": "7",
    "loss": "cross_entropy",
    "loss_options": {},
    "dtype": "float32",
    "input_scale": 1.0,
    "input_shift": 0.0,
    "layers": [
        {"input_size": 4, "neurons": 3, "activation": "relu", "init": "uniform", "dropout": 0.0},
        {"input_size": 3, "neurons": 2, "activation": "softmax", "init": "uniform", "dropout": 0.0},
    ],
    "training": None,
    "feature_names": None,
    "class_names": None,
}
UNNAMED = {field: value for field, value in ARCHITECTURE.items() if not field.endswith("_names")}
OLDER = {
    "1": {
        "version": "1",
        "loss": "cross_entropy",
        "dtype": "float32",
        "input_scale": 1.0,
        "layers": [
            {"input_size": 4, "neurons": 3, "activation": "relu"},
            {"input_size": 3, "neurons": 2, "activation": "softmax"},
        ],
    },
    "2": {
        **UNNAMED,
        "version": "2",
        "layers": [
            {"input_size": 4, "neurons": 3, "activation": "relu", "dropout": 0.0},
            {"input_size": 3, "neurons": 2, "activation": "softmax", "dropout": 0.0},
        ],
    },
    "3": {**UNNAMED, "version": "3"},
    "4": {**ARCHITECTURE, "version": "4"},
    "5": {**ARCHITECTURE, "version": "5"},
}
TENSORS = {
    "layers.0.weights": np.zeros((3, 4), np.float32),
    "layers.0.biases": np.zeros(3, np.float32),
    "layers.1.weights": np.zeros((2, 3), np.float32),
    "layers.1.biases": np.zeros(2, np.float32),
}


class Unbuilt(NeuralNetwork):
    """A network that must not come into being: the file has to be judged first."""

    def __init__(self, *_, **__):
        raise AssertionError("built before the file was judged")


def refused(path):
    """The message with which loading a file is refused."""
    with pytest.raises(ValueError, match="model") as raised:
        model_file.load(Unbuilt, path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500
    return message


def generator_state(name="PCG64"):
    """A state as JSON has it."""
    return json.loads(json.dumps(getattr(np.random, name)(0).state, default=np.ndarray.tolist))


BEFORE = {"kind": "adam", "moments": 2, "taken": 7, "seen": 70}
ADAM = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "epsilon_hat": True}
SCHEDULED = {**BEFORE, "settings": ADAM, "schedule": {"kind": "Cosine", "settings": asdict(Cosine(total=9))}}
OPTIMIZER = {**SCHEDULED, "plateau": {"best": -0.5, "waited": 3}}
TRAINED = {**ARCHITECTURE, "training": {"generator": generator_state(), "optimizer": OPTIMIZER, "aside": 7}}
MOMENTS = {"optimizer.moments": np.zeros((2, 5 * 16 + 4 * 16), np.float32)}
SCALED = {**ARCHITECTURE, "input_scale": "tensor", "input_shift": "tensor"}
SCALING = {"input_scale": np.ones(4), "input_shift": np.ones(4)}
WHOLE = {  # what stands in the JSON and in the tensors
    "plain": (ARCHITECTURE, TENSORS),
    "version 1": (OLDER["1"], TENSORS),
    "version 2": (OLDER["2"], TENSORS),
    "version 3": (OLDER["3"], TENSORS),
    "trained": (TRAINED, TENSORS | MOMENTS),
    "trained in version 5": (
        {**OLDER["5"], "training": {**TRAINED["training"], "optimizer": BEFORE}},
        TENSORS | MOMENTS,
    ),
    "trained in version 6": (
        {**TRAINED, "version": "6", "training": {**TRAINED["training"], "optimizer": SCHEDULED}},
        TENSORS | MOMENTS,
    ),
    "scaled": (SCALED, TENSORS | SCALING),
}


@pytest.mark.parametrize("case", WHOLE)
def test_the_parts_that_are_broken_below_are_sound(case, tmp_path):
    architecture, tensors = WHOLE[case]
    save_file(tensors, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert NeuralNetwork.load(tmp_path / "model").predict(np.ones((4, 2))).tolist() == [0, 0]


def deep(text="["):
    return text * 100_000


METADATA = {  # what stands in the metadata; what is said of it
    "none": (None, "expected metadata under 'cmlp', got {}"),
    "of others": ({"format": "pt"}, "expected metadata under 'cmlp', got {'format': 'pt'}"),
    "empty": ({"cmlp": ""}, "expected JSON in the metadata, got ''"),
    "not JSON": ({"cmlp": "{'version': 1}"}, "expected JSON in the metadata, got"),
    "half of it": ({"cmlp": json.dumps(ARCHITECTURE)[:-9]}, "expected JSON in the metadata, got"),
    "deep lists": ({"cmlp": deep()}, "expected JSON in the metadata, got"),
    "deep objects": ({"cmlp": deep('{"layers":')}, "expected JSON in the metadata, got"),
    "endless digits": ({"cmlp": "1" * 10_000}, "expected JSON in the metadata, got"),
    "a list": ({"cmlp": "[]"}, "expected a version of the format from '1' to '7', got None"),
}


@pytest.mark.parametrize("case", METADATA)
def test_broken_metadata_are_refused(case, tmp_path):
    metadata, expected = METADATA[case]
    save_file(TENSORS, tmp_path / "model", metadata)
    assert expected in refused(tmp_path / "model")


def changed(whole, way, value):
    """A JSON value with another value at the end of the way, or (...) none."""
    *way, last = way
    copied = owner = json.loads(json.dumps(whole))
    for step in way:
        owner = owner[step]
    if value is ...:
        del owner[last]
    else:
        owner[last] = value
    return copied


FIELDS = {  # where, the value put there (... takes the field away), what is said of it
    "no version": (["version"], ..., "expected a version of the format from '1' to '7', got None"),
    "newer version": (["version"], "8", "expected a version of the format from '1' to '7', got '8'"),
    "version 3": (["version"], "3", "expected the network to have the fields dtype, input_scale, input_shift, "),
    "version 2": (["version"], "2", "expected the network to have the fields dtype, input_scale, input_shift, "),
    "version 1": (["version"], "1", "expected the network to have the fields dtype, input_scale, layers, "),
    "version a number": (["version"], 1, "expected a version of the format from '1' to '7', got 1"),
    "version a list": (["version"], ["3"], "expected a version of the format from '1' to '7', got ['3']"),
    "no loss": (["loss"], ..., "expected the network to have the fields"),
    "another field": (["pickle"], "x", "expected the network to have the fields"),
    "loss unknown": (["loss"], "hinge", "loss must be one of 'cross_entropy', "),
    "loss a number": (["loss"], 3, "expected loss to be a name, got 3"),
    "loss endless": (["loss"], "x" * 10_000, "expected loss to be a name, got 'xxx"),
    "options a list": (["loss_options"], [], "expected loss_options to have the fields label_smoothing, got []"),
    "options of another": (["loss_options"], {"delta": 1}, "expected loss_options to have the fields label_smoothing,"),
    "option text": (["loss_options"], {"label_smoothing": "0"}, "label_smoothing must be a number, got '0'"),
    "option endless": (["loss_options"], {"label_smoothing": "x" * 9999}, "label_smoothing must be a number, got 'xxx"),
    "option true": (["loss_options"], {"label_smoothing": True}, "label_smoothing must be a number, got True"),
    "option a list": (["loss_options"], {"label_smoothing": [0.1]}, "label_smoothing must be a number of at least 0"),
    "option one": (["loss_options"], {"label_smoothing": 1}, "label_smoothing must be a number of at least 0 and less"),
    "option NaN": (["loss_options"], {"label_smoothing": np.nan}, "label_smoothing must be finite, at least 0"),
    "dtype unknown": (["dtype"], "float16", "expected dtype to be one of float32, float64, got 'float16'"),
    "dtype null": (["dtype"], None, "expected dtype to be a name, got None"),
    "dtype a list": (["dtype"], [["a", "f4"]], "expected dtype to be a name, got [["),
    "dtype another": (["dtype"], "float64", "'layers.0.biases': expected F64 (3,), got F32 (3,)"),
    "scale text": (["input_scale"], "1", "input_scale must be a number, got '1'"),
    "scale true": (["input_scale"], True, "input_scale must be a number, got True"),
    "scale zero": (["input_scale"], 0, "input_scale must be finite, at least 1.17549e-38"),
    "scale NaN": (["input_scale"], np.nan, "input_scale must be finite, at least 1.17549e-38"),
    "scale infinite": (["input_scale"], np.inf, "input_scale must be finite, at least 1.17549e-38"),
    "scale huge": (["input_scale"], 10**400, ""),
    "scale a list": (["input_scale"], [1.0] * 4, "expected input_scale to be a number or 'tensor', got [1.0, 1.0"),
    "scale an object": (["input_scale"], {}, "input_scale must be a number, got {}"),
    "scale not there": (["input_scale"], "tensor", "'input_scale': expected F64 (4,), got none"),
    "shift text": (["input_shift"], "1", "input_shift must be a number, got '1'"),
    "shift null": (["input_shift"], None, "input_shift must be a number, got None"),
    "shift a list": (["input_shift"], [], "expected input_shift to be a number or 'tensor', got []"),
    "shift NaN": (["input_shift"], np.nan, "input_shift must be finite"),
    "shift infinite": (["input_shift"], -np.inf, "input_shift must be finite"),
    "shift not there": (["input_shift"], "tensor", "'input_shift': expected F64 (4,), got none"),
    "layers null": (["layers"], None, "expected a list of 1 to 1000 layers, got None"),
    "layers an object": (["layers"], {"0": {}}, "expected a list of 1 to 1000 layers, got {'0': {}}"),
    "layers none": (["layers"], [], "expected a list of 1 to 1000 layers, got 0 of them"),
    "layers too many": (["layers"], [0] * 1001, "expected a list of 1 to 1000 layers, got 1001 of them"),
    "layer a list": (["layers", 0], [4, 3, "relu"], "expected layer 0 to have the fields"),
    "no neurons": (["layers", 1, "neurons"], ..., "expected layer 1 to have the fields activation, dropout, in"),
    "another field of a layer": (["layers", 1, "bias"], True, "expected layer 1 to have the fields"),
    "size zero": (["layers", 0, "input_size"], 0, "input_size of layer 0 must be at least 1, got 0"),
    "size negative": (["layers", 0, "neurons"], -3, "neurons of layer 0 must be at least 1, got -3"),
    "size a fraction": (["layers", 0, "neurons"], 3.0, "neurons of layer 0 must be a whole number, got 3.0"),
    "size text": (["layers", 0, "neurons"], "3", "neurons of layer 0 must be a whole number, got '3'"),
    "size true": (["layers", 0, "input_size"], True, "input_size of layer 0 must be a whole number, got True"),
    "size absurd": (["layers", 0, "input_size"], 2**63, "weights': expected F32 (3, 9223372036854775808), got"),
    "size too large": (["layers", 0, "input_size"], 5, "'layers.0.weights': expected F32 (3, 5), got F32 (3, 4)"),
    "size between": (["layers", 0, "neurons"], 5, "input_size must be 5, the number of neurons"),
    "activation unknown": (["layers", 0, "activation"], "swish", "activation must be one of 'identity', "),
    "activation null": (["layers", 0, "activation"], None, "expected activation of layer 0 to be a name, got None"),
    "no init": (["layers", 0, "init"], ..., "expected layer 0 to have the fields activation, dropout, init, "),
    "init unknown": (["layers", 0, "init"], "zeros", "init must be one of 'he_normal', "),
    "init a number": (["layers", 1, "init"], 0.5, "expected init of layer 1 to be a name, got 0.5"),
    "init endless": (["layers", 1, "init"], "x" * 10_000, "expected init of layer 1 to be a name, got 'xxx"),
    "no dropout": (["layers", 0, "dropout"], ..., "expected layer 0 to have the fields activation, dropout"),
    "dropout null": (["layers", 0, "dropout"], None, "dropout of layer 0 must be a number, got None"),
    "dropout all": (["layers", 0, "dropout"], 1, "dropout of layer 0 must be finite, at least 0 and less than 1"),
    "dropout negative": (["layers", 1, "dropout"], -0.1, "dropout of layer 1 must be finite, at least 0 and less than"),
    "names text": (["feature_names"], "abcd", "each a str, or none, got 'abcd'"),
    "names too few": (
        ["feature_names"],
        ["a", "b", "c"],
        "to be 4 names or none, got 3 of them",
    ),
    "names alike": (["feature_names"], ["a", "b", "c", "a"], "each a str, or none, got ['a', 'b', 'c', 'a']"),
    "names numbers": (["feature_names"], [0, 1, 2, 3], "each a str, or none, got [0, 1, 2, 3]"),
    "names lists": (["feature_names"], [[], [], [], []], "each a str, or none, got [[], [], [], []]"),
    "names endless": (["feature_names"], ["x" * 9999] * 4, "each a str, or none, got ['xxx"),
    "classes too many": (
        ["class_names"],
        ["a", "b", "c"],
        "to be 2 names or none, got 3 of them",
    ),
    "classes mixed": (["class_names"], ["a", 1], "each a str or each an int, or none, got ['a', 1]"),
    "classes true": (["class_names"], [False, True], "each a str or each an int, or none, got [False, True]"),
    "classes vast": (["class_names"], [0, 2**63], "each an int, or none, got [0, 9223372036854775808]"),
    "no names": (["class_names"], ..., "expected the network to have the fields"),
    "no training": (["training"], ..., "expected the network to have the fields"),
    "training text": (["training"], "x", "expected training to have the fields aside, generator, optimizer, got 'x'"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_an_architecture_that_makes_no_sense_is_refused(case, tmp_path):
    way, value, expected = FIELDS[case]
    architecture = changed(ARCHITECTURE, way, value)
    save_file(TENSORS, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


TRAINING_FIELDS = {  # the same, of the state of training
    "no generator": (["generator"], None, "expected bit_generator to be a name, got None"),
    "generator a name": (["generator"], "PCG64", "expected bit_generator to be a name, got None"),
    "generator foreign": (["generator", "bit_generator"], "os.system", "one of PCG64, PCG64DXSM, "),
    "generator a list": (["generator", "bit_generator"], [], "expected bit_generator to be a name, got []"),
    "generator another": (["generator", "bit_generator"], "SFC64", "generator.state to have the fields state"),
    "no uinteger": (["generator", "uinteger"], ..., "generator to have the fields has_uint32, state, uinteg"),
    "uinteger wide": (["generator", "uinteger"], 2**32, "generator.uinteger to be less than 4294967296"),
    "state a list": (["generator", "state"], [1], "expected generator.state to have the fields inc, state"),
    "state negative": (["generator", "state", "state"], -1, "generator.state.state must be at least 0, got"),
    "state a fraction": (["generator", "state", "inc"], 1.0, "generator.state.inc must be a whole number"),
    "state wide": (["generator", "state", "inc"], 2**128 + 1, "expected generator.state.inc to be less than"),
    "state stuck": (["generator", "state", "inc"], 2, "expected a state that PCG64 can come to, got"),
    "optimizer text": (["optimizer"], "adam", "expected optimizer to have the fields kind, moments, plateau, "),
    "optimizer unknown": (["optimizer", "kind"], "Adam", "kind of optimizer to be one of sgd, adam, adamw,"),
    "optimizer null": (["optimizer", "kind"], None, "expected kind of optimizer to be a name, got None"),
    "moments missing": (["optimizer", "moments"], 1, "expected adam to have 2 moments, got 1"),
    "moments absurd": (["optimizer", "moments"], 10**30, "expected adam to have 2 moments, got 1000000"),
    "moments another's": (
        ["optimizer"],
        {**OPTIMIZER, "kind": "lion", "settings": None},
        "expected lion to have 1 moments, got 2",
    ),
    "settings another's": (
        ["optimizer", "kind"],
        "adamw",
        "settings of optimizer to have the fields beta1, beta2, eps",
    ),
    "settings a list": (["optimizer", "settings"], [0.1], "settings of optimizer to have the fields beta1, beta2, ep"),
    "rate text": (["optimizer", "settings", "learning_rate"], "0.1", "learning_rate must be a number, got '0.1'"),
    "rate 0": (["optimizer", "settings", "learning_rate"], 0.0, "learning_rate must be finite, more than 0, got 0"),
    "beta true": (["optimizer", "settings", "beta1"], True, "expected beta1 to be like 0.9, got True"),
    "hat a number": (["optimizer", "settings", "epsilon_hat"], 1, "expected epsilon_hat to be like False, got 1"),
    "schedule text": (["optimizer", "schedule"], "Cosine", "expected schedule to have the fields kind, settings, got"),
    "schedule unknown": (["optimizer", "schedule", "kind"], "cosine", "kind of schedule to be one of Constant, Step,"),
    "schedule short": (["optimizer", "schedule", "settings", "final"], ..., "settings of schedule to have the fields"),
    "warmup negative": (
        ["optimizer", "schedule", "settings", "warmup"],
        -1,
        "warmup must be finite, at least 0 and",
    ),
    "total a fraction": (["optimizer", "schedule", "settings", "total"], 1.5, "total must be a whole number"),
    "plateau a list": (["optimizer", "plateau"], [0.5, 3], "expected plateau to have the fields best, waited, got"),
    "best of no number": (["optimizer", "plateau", "best"], None, "best of the plateau must be a number, got None"),
    "best infinite": (["optimizer", "plateau", "best"], -np.inf, "best of the plateau must be finite"),
    "waited negative": (["optimizer", "plateau", "waited"], -1, "waited of the plateau must be at least 0, got -1"),
    "moments text": (["optimizer", "moments"], "2", "moments must be a whole number, got '2'"),
    "taken negative": (["optimizer", "taken"], -1, "taken must be at least 0, got -1"),
    "taken a fraction": (["optimizer", "taken"], 7.0, "taken must be a whole number, got 7.0"),
    "aside text": (["aside"], "7", "aside must be a whole number, got '7'"),
    "aside wide": (["aside"], 2**64, "expected aside to be less than 18446744073709551616"),
    "taken absurd": (["optimizer", "taken"], 2**64, "expected at most 9007199254740992 steps taken"),
}


@pytest.mark.parametrize("case", TRAINING_FIELDS)
def test_a_state_of_training_that_makes_no_sense_is_refused(case, tmp_path):
    way, value, expected = TRAINING_FIELDS[case]
    architecture = changed(TRAINED, ["training", *way], value)
    save_file(TENSORS | MOMENTS, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


OLDER_FIELDS = {  # the same, of a file of an older version
    "shift": ("1", ["input_shift"], 0.0, "expected the network to have the fields dtype, input_scale, layers, loss"),
    "dropout": ("1", ["layers", 0, "dropout"], 0.0, "expected layer 0 to have the fields activation, input_size, ne"),
    "scale a tensor": ("1", ["input_scale"], "tensor", "input_scale must be a number, got 'tensor'"),
    "names": (
        "3",
        ["class_names"],
        None,
        "expected the network to have the fields dtype, input_scale, input_shift, ",
    ),
    "init": ("2", ["layers", 0, "init"], "uniform", "expected layer 0 to have the fields activation, dropout, inp"),
}


@pytest.mark.parametrize("case", OLDER_FIELDS)
def test_files_of_older_versions_have_no_newer_fields(case, tmp_path):
    version, way, value, expected = OLDER_FIELDS[case]
    architecture = changed(OLDER[version], way, value)
    save_file(TENSORS | SCALING, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


OPTIONS = {  # loss, its options, what is said of them
    "of none": ("poisson", {"delta": 1.0}, "expected loss_options to have the fields none, got {'delta': 1.0}"),
    "zero": ("huber", {"delta": 0}, "delta must be a finite number of more than 0"),
    "infinite": ("huber", {"delta": np.inf}, "delta must be finite"),
    "a number": ("quantile", {"levels": 0.5}, "levels must be numbers between 0 and 1"),
    "none": ("quantile", {"levels": []}, "levels must be numbers between 0 and 1, at least one, got []"),
    "too large": ("quantile", {"levels": [0.5, 1.0]}, "levels must be numbers between 0 and 1"),
    "lists": ("quantile", {"levels": [[0.5]]}, "levels must be a number, got [0.5]"),
    "text": ("quantile", {"levels": "0.5"}, "levels must be a number, got '0.5'"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_a_loss_does_not_take_are_refused(case, tmp_path):
    loss, options, expected = OPTIONS[case]
    architecture = {**ARCHITECTURE, "loss": loss, "loss_options": options}
    save_file(TENSORS, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


STATES = {  # generator, part of its state, the value put there, what is said of it
    "beyond the key": ("MT19937", ["state", "pos"], 625, "expected generator.state.pos to be less than 625, got 625"),
    "before the key": ("MT19937", ["state", "pos"], -1, "generator.state.pos must be at least 0, got -1"),
    "short key": ("MT19937", ["state", "key"], [1] * 623, "expected generator.state.key to be 624 numbers, got [1, 1"),
    "key of text": ("MT19937", ["state", "key"], "1" * 624, "expected generator.state.key to be 624 numbers, got '1"),
    "wide key": ("MT19937", ["state", "key"], [2**32] * 624, "expected generator.state.key to be less than 4294967296"),
    "no key": ("MT19937", ["state", "key"], [1] + [0] * 623, "expected a state that MT19937 can come to, got"),
    "beyond the buffer": ("Philox", ["buffer_pos"], 5, "expected generator.buffer_pos to be less than 5, got 5"),
    "deep": ("Philox", ["state", "counter"], [[0], 0, 0, 0], "generator.state.counter must be a whole number, got [0]"),
    "true": ("SFC64", ["has_uint32"], True, "generator.has_uint32 must be a whole number, got True"),
    "even": ("PCG64DXSM", ["state", "inc"], 0, "expected a state that PCG64DXSM can come to, got"),
}


@pytest.mark.parametrize("case", STATES)
def test_states_that_no_generator_has_are_refused(case, tmp_path):
    name, way, value, expected = STATES[case]
    state = changed(generator_state(name), way, value)
    architecture = {**ARCHITECTURE, "training": {"generator": state, "optimizer": None, "aside": None}}
    save_file(TENSORS, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


CHANGED = {  # tensor, what it is instead (None: missing), what is said of it
    "missing": ("layers.1.biases", None, "'layers.1.biases': expected F32 (2,), got none"),
    "extra": ("layers.2.weights", np.zeros(1, np.float32), "'layers.2.weights': expected none, got F32 (1,)"),
    "transposed": ("layers.0.weights", np.zeros((4, 3), np.float32), "expected F32 (3, 4), got F32 (4, 3)"),
    "flat": ("layers.0.weights", np.zeros(12, np.float32), "expected F32 (3, 4), got F32 (12,)"),
    "a column": ("layers.0.biases", np.zeros((3, 1), np.float32), "expected F32 (3,), got F32 (3, 1)"),
    "empty": ("layers.0.biases", np.zeros(0, np.float32), "expected F32 (3,), got F32 (0,)"),
    "float64": ("layers.0.biases", np.zeros(3), "expected F32 (3,), got F64 (3,)"),
    "integers": ("layers.0.biases", np.zeros(3, np.int32), "expected F32 (3,), got I32 (3,)"),
    "float16": ("layers.0.biases", np.zeros(3, np.float16), "expected F32 (3,), got F16 (3,)"),
    "NaN": ("layers.0.biases", np.full(3, np.nan, np.float32), "'layers.0.biases': expected finite numbers, got nan"),
    "infinite": ("layers.1.weights", np.full((2, 3), -np.inf, np.float32), "expected finite numbers, got -inf"),
    "no moments": ("optimizer.moments", None, "'optimizer.moments': expected F32 (2, 144), got none"),
    "one moment": ("optimizer.moments", np.zeros((1, 144), np.float32), "expected F32 (2, 144), got F32 (1, 144)"),
    "few moments": ("optimizer.moments", np.zeros((2, 143), np.float32), "expected F32 (2, 144), got F32 (2, 143)"),
    "moments float64": ("optimizer.moments", np.zeros((2, 144)), "expected F32 (2, 144), got F64 (2, 144)"),
    "moments NaN": ("optimizer.moments", np.full((2, 144), np.nan, np.float32), "expected finite numbers, got nan"),
    "no scale": ("input_scale", None, "'input_scale': expected F64 (4,), got none"),
    "long scale": ("input_scale", np.ones(5), "'input_scale': expected F64 (4,), got F64 (5,)"),
    "scale float32": ("input_scale", np.ones(4, np.float32), "'input_scale': expected F64 (4,), got F32 (4,)"),
    "scale zero": ("input_scale", np.zeros(4), "input_scale must hold numbers of more than 0 and less than 3.4"),
    "scale NaN": ("input_scale", np.full(4, np.nan), "'input_scale': expected finite numbers, got nan"),
    "scale large": ("input_scale", np.full(4, 1e39), "input_scale must hold numbers of more than 0 and less than 3.4"),
    "shift infinite": ("input_shift", np.full(4, np.inf), "'input_shift': expected finite numbers, got inf"),
    "shift whole": ("input_shift", np.ones(4, np.int64), "'input_shift': expected F64 (4,), got I64 (4,)"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_tensors_that_do_not_fit_are_refused(case, tmp_path):
    name, tensor, expected = CHANGED[case]
    architecture, tensors = WHOLE["trained" if name in MOMENTS else "scaled" if name in SCALING else "plain"]
    tensors = {key: value for key, value in {**tensors, name: tensor}.items() if value is not None}
    save_file(tensors, tmp_path / "model", {"cmlp": json.dumps(architecture)})
    assert expected in refused(tmp_path / "model")


OTHERS = {
    "empty": b"",
    "text": b"label,pixel0\n1,0\n" * 9,
    "a zip": b"PK\3\4" + bytes(99),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}.",
    "zeros": bytes(99),
    "an endless header": b"\xff" * 8 + b"{}",
    "a header not there": (10**6).to_bytes(8, "little") + b"{}",
    "a header that is no JSON": (4).to_bytes(8, "little") + b"abcd",
    "bfloat16": (64).to_bytes(8, "little") + b'{"x":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}'.ljust(64),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused(case, tmp_path):
    (tmp_path / "model").write_bytes(OTHERS[case])
    assert "not a model file of cmlp" in refused(tmp_path / "model")


def test_every_truncation_is_refused(tmp_path):
    whole = model_file.dumps(build(), training_state=False)
    for length in range(len(whole)):
        (tmp_path / "model").write_bytes(whole[:length])
        refused(tmp_path / "model")
    (tmp_path / "model").write_bytes(whole + b"\0")
    refused(tmp_path / "model")


def test_any_changed_byte_is_refused_or_is_another_number(tmp_path):
    whole = model_file.dumps(build(), training_state=False)
    read, header = 0, 8 + int.from_bytes(whole[:8], "little")
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "model").write_bytes(changed)
        try:
            loaded = NeuralNetwork.load(tmp_path / "model")
        except ValueError:
            refused(tmp_path / "model")
        else:
            read += 1
            assert all(np.isfinite(layer.weights).all() for layer in loaded.layers)
            assert place < header or bits(loaded)[:-1] == bits(build())[:-1]
    assert 0 < read < len(whole) - header + 20  # every number can change, and hardly anything else


def test_any_changed_byte_of_the_state_of_training_is_refused_or_another_state(tmp_path):
    network = trained()
    whole = model_file.dumps(network)
    begin = whole.index(b"training")
    for place in range(begin, 8 + int.from_bytes(whole[:8], "little"), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "model").write_bytes(changed)
        try:
            loaded = NeuralNetwork.load(tmp_path / "model")
        except ValueError:
            refused(tmp_path / "model")
        else:
            assert bits(loaded) == bits(network)
            loaded.rng.permutation(99)
            loaded.fit(np.eye(4), [0, 1, 1, 0], epochs=1)


def test_a_missing_file_is_reported_as_such(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        NeuralNetwork.load(tmp_path / "none")
    assert raised.value.filename == str(tmp_path / "none")


def test_a_directory_and_a_device_are_refused(tmp_path):
    assert "expected a model file, got a directory" in refused(tmp_path)
    assert "or a device" in refused(os.devnull)


@pytest.mark.parametrize("use", [lambda path: build().save(path), NeuralNetwork.load], ids=["save", "load"])
def test_a_missing_library_is_named(use, tmp_path, monkeypatch):
    build().save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "cmlp\[cli\]"'):
        use(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


# ---- Writing ----

FAILURES = [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]


@pytest.fixture(params=["new", "replaced"])
def target(request, tmp_path):
    """A path, and what stands there before."""
    path = tmp_path / "model"
    if request.param == "replaced":
        path.write_bytes(b"old")
    return path, b"old" if request.param == "replaced" else None


def check_untouched(path, before):
    """The law of every failure: the old file or none, and no other."""
    assert (path.read_bytes() if path.exists() else None) == before
    assert sorted(path.parent.iterdir()) == ([path] if before else [])


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failure_of_the_system_leaves_the_old_file(moment, failure, target, monkeypatch):
    def fail(*_):
        raise failure

    path, before = target
    monkeypatch.setattr(os, moment, fail)
    with pytest.raises(type(failure)):
        build().save(path)
    check_untouched(path, before)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failure_midway_leaves_the_old_file(failure, target):
    path, before = target

    def half():
        with model_file.replacing(path) as file:
            file.write(b"half")
            file.flush()
            assert (path.read_bytes() if path.exists() else None) == before
            raise failure

    with pytest.raises(type(failure)):
        half()
    check_untouched(path, before)


def test_the_disk_has_the_content_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    done = []

    def recorded(function):
        def wrapper(*arguments):
            if function is os_fsync:
                done.append("directory" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else "file")
            else:
                done.append("replace")
                assert NeuralNetwork.load(arguments[0])  # all of it is there, even if the process ends here
            return function(*arguments)

        return wrapper

    os_fsync = os.fsync
    monkeypatch.setattr(os, "fsync", recorded(os.fsync))
    monkeypatch.setattr(os, "replace", recorded(os.replace))
    build().save(tmp_path / "model")
    assert done == ["file", "replace", "directory"] if hasattr(os, "O_DIRECTORY") else ["file", "replace"]


@pytest.mark.parametrize("where", ["none/model", "file/model"])
def test_a_path_that_cannot_be_written_is_named_at_once(where, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / where
    with pytest.raises(OSError, match="model") as raised, model_file.replacing(path):
        raise AssertionError("too late")
    assert raised.value.filename == str(path)


def test_a_directory_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OSError, match=r"model'$"):
        build().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any file")
def test_a_file_that_must_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        build().save(path)
    check_untouched(path, b"old")


@pytest.mark.skipif(os.name == "nt", reason="permissions are of another kind")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_file(umask, tmp_path):
    old = os.umask(umask)
    try:
        build().save(tmp_path / "new")
        (tmp_path / "other").touch()
        (tmp_path / "private").touch(0o600)
        (tmp_path / "private").chmod(0o660)
        build().save(tmp_path / "private")
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "other", "private")}
    assert modes == {"new": 0o666 & ~umask, "other": 0o666 & ~umask, "private": 0o660}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(Path("elsewhere", "model"))
    for _ in range(2):  # at first the link leads nowhere
        build().save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert bits(NeuralNetwork.load(tmp_path / "elsewhere" / "model")) == bits(build())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_a_pipe_is_written_to(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    build().save(path)
    reader.join(10)
    assert read == [model_file.dumps(build())]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="open files have no names")
def test_a_pipe_without_a_name_is_written_to():
    read, write = os.pipe()
    try:
        build().save(f"/dev/fd/{write}")
    finally:
        os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == model_file.dumps(build())


@pytest.mark.parametrize("name", ["models/", ""])
def test_a_directory_is_no_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError) as raised:
        build().save(name)
    assert raised.value.filename == name
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
from cmlp import NeuralNetwork
networks = []
for seed in range(2):
    network = NeuralNetwork(rng=seed)
    network.add_layer(300, 300, "softmax")
    networks.append(network)
while True:
    for network in networks:
        network.save(sys.argv[1])
        print(flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process cannot be killed at once")
def test_a_process_killed_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model"
    environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)}
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=tmp_path, env=environment
        )
        with process:
            process.stdout.readline()  # it has saved once
            time.sleep(random.Random(attempt).uniform(0, 0.02))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert NeuralNetwork.load(path).layers[0].input_size == 300
    assert len(leftovers(tmp_path)) <= 4  # what nobody could take away
