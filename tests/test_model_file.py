"""Model files: the same bits after a round trip, the old file or the new one after a crash, no broken file read."""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import cmlp
from cmlp import NeuralNetwork, model_file

# loss, input_scale, layers
NETWORKS = {
    "digits": ("cross_entropy", 1 / 255, [(7, 5, "relu"), (5, 4, "sigmoid"), (4, 3, "softmax")]),
    "one layer": ("cross_entropy", 1.0, [(2, 2, "softmax")]),
    "yes or no": ("binary_cross_entropy", 0.1, [(3, 17, "tanh"), (17, 1, "sigmoid")]),
    "regression": ("mean_squared_error", 1e-30, [(1, 1, "identity")]),
}


def build(loss="cross_entropy", input_scale=1.0, layers=((4, 3, "relu"), (3, 2, "softmax")), dtype="float32"):
    network = NeuralNetwork(loss, dtype=dtype, rng=0, input_scale=input_scale)
    for layer in layers:
        network.add_layer(*layer, init="uniform")
    return network


def bits(network):
    """Everything that a network is, to be compared."""
    layers = [(layer.input_size, layer.neurons, layer.activation) for layer in network.layers]
    numbers = [array.tobytes() for layer in network.layers for array in (layer.weights, layer.biases)]
    return network.loss, network.dtype, network.input_scale, layers, numbers


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
    assert repr(loaded) == repr(network)


def test_a_loaded_network_goes_on_as_the_saved_one_would(tmp_path, rng):
    X, y = rng.random((4, 50)), rng.integers(0, 2, 50)
    network = build()
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forward(X), network.forward(X), strict=True)
    assert loaded.train(X, y, 0.1) == network.train(X, y, 0.1)
    assert bits(loaded) == bits(network)


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
        assert json.loads(file.metadata()["cmlp"]) == {**ARCHITECTURE, "dtype": dtype.name}


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


# ---- What is not loaded ----

ARCHITECTURE = {
    "version": "1",
    "loss": "cross_entropy",
    "dtype": "float32",
    "input_scale": 1.0,
    "layers": [
        {"input_size": 4, "neurons": 3, "activation": "relu"},
        {"input_size": 3, "neurons": 2, "activation": "softmax"},
    ],
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


def test_the_parts_that_are_broken_below_are_sound(tmp_path):
    save_file(TENSORS, tmp_path / "model", {"cmlp": json.dumps(ARCHITECTURE)})
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
    "a list": ({"cmlp": "[]"}, "expected version '1' of the format, got None"),
}


@pytest.mark.parametrize("case", METADATA)
def test_broken_metadata_are_refused(case, tmp_path):
    metadata, expected = METADATA[case]
    save_file(TENSORS, tmp_path / "model", metadata)
    assert expected in refused(tmp_path / "model")


FIELDS = {  # where, the value put there (... takes the field away), what is said of it
    "no version": (["version"], ..., "expected version '1' of the format, got None"),
    "newer version": (["version"], "2", "expected version '1' of the format, got '2'"),
    "version a number": (["version"], 1, "expected version '1' of the format, got 1"),
    "no loss": (["loss"], ..., "expected the network to have the fields"),
    "another field": (["pickle"], "x", "expected the network to have the fields"),
    "loss unknown": (["loss"], "hinge", "loss must be one of 'cross_entropy', "),
    "loss a number": (["loss"], 3, "expected loss to be a name, got 3"),
    "loss endless": (["loss"], "x" * 10_000, "expected loss to be a name, got 'xxx"),
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
    "layers null": (["layers"], None, "expected a list of 1 to 1000 layers, got None"),
    "layers an object": (["layers"], {"0": {}}, "expected a list of 1 to 1000 layers, got {'0': {}}"),
    "layers none": (["layers"], [], "expected a list of 1 to 1000 layers, got 0 of them"),
    "layers too many": (["layers"], [0] * 1001, "expected a list of 1 to 1000 layers, got 1001 of them"),
    "layer a list": (["layers", 0], [4, 3, "relu"], "expected layer 0 to have the fields"),
    "no neurons": (["layers", 1, "neurons"], ..., "expected layer 1 to have the fields activation, input_size"),
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
}


@pytest.mark.parametrize("case", FIELDS)
def test_an_architecture_that_makes_no_sense_is_refused(case, tmp_path):
    (*way, last), value, expected = FIELDS[case]
    architecture = owner = json.loads(json.dumps(ARCHITECTURE))
    for step in way:
        owner = owner[step]
    if value is ...:
        del owner[last]
    else:
        owner[last] = value
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
}


@pytest.mark.parametrize("case", CHANGED)
def test_tensors_that_do_not_fit_are_refused(case, tmp_path):
    name, tensor, expected = CHANGED[case]
    tensors = {key: value for key, value in {**TENSORS, name: tensor}.items() if value is not None}
    save_file(tensors, tmp_path / "model", {"cmlp": json.dumps(ARCHITECTURE)})
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
    whole = model_file.dumps(build())
    for length in range(len(whole)):
        (tmp_path / "model").write_bytes(whole[:length])
        refused(tmp_path / "model")
    (tmp_path / "model").write_bytes(whole + b"\0")
    refused(tmp_path / "model")


def test_any_changed_byte_is_refused_or_is_another_number(tmp_path):
    whole = model_file.dumps(build())
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
            assert place < header or bits(loaded)[:4] == bits(build())[:4]
    assert 0 < read < len(whole) - header + 20  # every number can change, and hardly anything else


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
