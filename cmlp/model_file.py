"""Model files: a network's numbers in the safetensors format, its architecture as JSON in the metadata.

What training needs to go on is there too: the optimizer's moments among the numbers; its settings and its schedule, the
generator's state, and the seed by which samples were set aside in the JSON.
Nothing in such a file is executed. Reading judges all of it before the network is built; writing leaves a whole file,
the new one or the old. A file has exactly the fields of its version: a further field makes a further version, and files
of all versions are read.
"""

import errno
import json
import os
import reprlib
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmlp import _arrays, _validate
from cmlp.losses import WITH_OPTIONS
from cmlp.optimizers import OPTIMIZERS
from cmlp.schedules import SCHEDULES

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork

Network = TypeVar("Network", bound="NeuralNetwork")
Array = NDArray[Any]

WITHOUT_STATE = "save it with training_state=False, or not at all"
KEY = "cmlp"  # the only one in the metadata, whose order safetensors leaves to chance
TYPES = {"float32": "F32", "float64": "F64"}  # as safetensors calls them
MAX_LAYERS = 1000  # adding one copies those before it: a million tiny ones, in a hostile file, would take days
MAX_MESSAGE = 400  # characters of what is said of a file, which may quote it

# Fields of the JSON. The names are lists, or null.
NAMES = {"feature_names": (str,), "class_names": (str, int)}
FIELDS = ("version", "loss", "loss_options", "dtype", "input_scale", "input_shift", "layers", "training", *NAMES)
LAYER_FIELDS = ("input_size", "neurons", "activation", "init", "dropout")
TRAINING_FIELDS = ("generator", "optimizer", "aside")
OPTIMIZER_FIELDS = ("kind", "settings", "schedule", "plateau", "moments", "taken", "seen")
PLATEAU_FIELDS = ("best", "waited")

# Versions of the format, with the fields that each of them added, and what those are in files from before.
ADDED: dict[str, dict[str, Any]] = {
    "1": {},
    "2": {"loss_options": {}, "input_shift": 0.0, "training": None, "dropout": 0.0},
    "3": {"init": None},
    "4": dict.fromkeys(NAMES),
    "5": {"aside": None},
    "6": dict.fromkeys(("settings", "schedule")),
    "7": {"plateau": None},
}
VERSION = max(ADDED, key=int)

# What stands in place of a number if there is one for each feature, in a tensor of the field's name.
TENSOR = "tensor"

# The tensor of what the optimizer remembers. It is in the core's packed order, which is the same for every instruction
# set: the padding is to whole cache lines, the panels are of two, whatever the registers' width.
MOMENTS = "optimizer.moments"

# How many numbers of each parameter's past an optimizer may keep: gradient descent those of its momentum.
MOMENT_COUNTS = {"sgd": (0, 1), "adam": (2,), "adamw": (2,), "rmsprop": (1,), "lion": (1,)}
MAX_STEPS = 2**53  # that an optimizer has taken: the core counts them in a machine's word, and in double

# The states of NumPy's bit generators: whole numbers, each less than a bound, or so many of them; see `_check_state`.
HALF, WORD, LONG = 2**32, 2**64, 2**128
REST = {"has_uint32": 2, "uinteger": HALF}
GENERATORS: dict[str, dict[str, Any]] = {
    "PCG64": {"state": {"state": LONG, "inc": LONG}, **REST},
    "PCG64DXSM": {"state": {"state": LONG, "inc": LONG}, **REST},
    "MT19937": {"state": {"key": (624, HALF), "pos": 624 + 1}},
    "Philox": {
        "state": {"counter": (4, WORD), "key": (2, WORD)},
        "buffer": (4, WORD),
        "buffer_pos": 4 + 1,
        **REST,
    },
    "SFC64": {"state": {"state": (4, WORD)}, **REST},
}


def save(network: "NeuralNetwork", path: str | os.PathLike[str], training_state: bool = True) -> None:
    """
    Write a network to a model file.

    Parameters
    ----------
    network : NeuralNetwork
        At least one layer; all its numbers finite.
    path : path-like
        The file, see `replacing`.
    training_state : bool, default True
        Whether to write what the optimizer remembers and the state of the generator.

    Raises
    ------
    ValueError
        If the network has no layers, or holds NaN or infinity; if its optimizer is not one of cmlp or its generator
        not one of NumPy, and their state is to be written.
    OSError
        If the file cannot be written; one that was there before is left as it was.
    ImportError
        If the safetensors library is not installed.
    """
    content = dumps(network, training_state)
    with replacing(path) as file:
        file.write(content)


def check_place(path: str) -> None:
    """
    See that a model file can be written, before there is anything to write.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    OSError
        If there is no such directory.
    ImportError
        If the safetensors library is not installed.
    """
    _safetensors()
    directory = os.path.dirname(path) or os.curdir
    if not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)


def load(cls: type[Network], path: str | os.PathLike[str]) -> Network:
    """
    Read a network from a model file.

    Parameters
    ----------
    cls : type
        NeuralNetwork, or a subclass that is made in the same way.
    path : path-like
        A file that `save` wrote.

    Returns
    -------
    NeuralNetwork
        With the same architecture and the same numbers, bit for bit. It is trained further as the saved one would be,
        if the file holds the state of that; else by an optimizer that begins anew, and a generator with a new seed.

    Raises
    ------
    ValueError
        If the file is not a whole and sound model file. The message is one line that names the file.
    OSError
        If it cannot be read; FileNotFoundError if it is not there.
    ImportError
        If the safetensors library is not installed.
    """
    safetensors = _safetensors()
    name = os.fspath(path)
    if os.path.exists(name) and not os.path.isfile(name):
        raise ValueError(f"{name}: expected a model file, got a directory or a device")
    open(name, "rb").close()  # the system's own errors name the file, those of safetensors do not
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            architecture = _architecture(file.metadata() or {})
            expected = _tensors_of(architecture)
            keys = file.keys()
            slices = {key: file.get_slice(key) for key in keys}
            found = {key: (part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()}
            _compare(found, expected)
            tensors = {key: file.get_tensor(key) for key in expected}
        _check_finite(tensors)
        scale, shift = (tensors.get(field, architecture[field]) for field in ("input_scale", "input_shift"))
        _validate.scale(scale, np.dtype(architecture["dtype"]))
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, OverflowError) as error:
        what = " ".join(str(error).split())[:MAX_MESSAGE]
        raise ValueError(f"{name}: not a model file of cmlp: {what}") from error
    loss = _loss(architecture["loss"], architecture["loss_options"])
    network = cls(loss, architecture["dtype"], input_scale=scale, input_shift=shift)
    for layer in architecture["layers"]:
        network._add(*(layer[field] for field in LAYER_FIELDS))
    for number, built in enumerate(network.layers):
        built.weights = tensors[f"layers.{number}.weights"]
        built.biases = tensors[f"layers.{number}.biases"][:, np.newaxis]
    network.feature_names, network.class_names = (architecture[field] for field in NAMES)
    if architecture["training"] is not None:
        state, optimizer = architecture["training"]["generator"], architecture["training"]["optimizer"]
        bits = getattr(np.random, state["bit_generator"])()
        bits.state = state
        network.rng = np.random.Generator(bits)
        if optimizer is not None:
            moments = tensors.get(MOMENTS, np.zeros(_arrays.NOTHING, network.dtype))
            network._memory.restore(
                moments,
                kind=OPTIMIZERS[optimizer["kind"]],
                optimizer=_made(OPTIMIZERS, optimizer, "optimizer"),
                schedule=_made(SCHEDULES, optimizer["schedule"], "schedule"),
                plateau=optimizer["plateau"] and tuple(optimizer["plateau"][field] for field in PLATEAU_FIELDS),
                taken=optimizer["taken"],
                seen=optimizer["seen"],
            )
        network._aside = architecture["training"]["aside"]
    return network


def dumps(network: "NeuralNetwork", training_state: bool = True) -> bytes:
    """
    Return the content of a network's model file.

    Parameters
    ----------
    network : NeuralNetwork
        At least one layer; all its numbers finite.
    training_state : bool, default True
        Whether it holds what the optimizer remembers and the state of the generator.

    Returns
    -------
    bytes
        The same for the same network.

    Raises
    ------
    ValueError
        As for `save`.
    ImportError
        If the safetensors library is not installed.
    """
    safetensors = _safetensors()
    _validate.has_layers([layer.neurons for layer in network.layers])
    if training_state and network._memory.owner.is_elsewhere():
        raise RuntimeError(
            f"another thread is training this network: save it from a callback there; or {WITHOUT_STATE}"
        )
    tensors = {}
    for number, layer in enumerate(network.layers):
        tensors[f"layers.{number}.weights"] = np.ascontiguousarray(layer.weights)
        tensors[f"layers.{number}.biases"] = np.ascontiguousarray(layer.biases[:, 0])
    inputs = {"input_scale": network.input_scale, "input_shift": network.input_shift}
    tensors.update((field, value) for field, value in inputs.items() if np.ndim(value))
    architecture = {
        "version": VERSION,
        "loss": network.loss,
        "loss_options": {option: np.asarray(value).tolist() for option, value in network.loss_options.items()},
        "dtype": network.dtype.name,
        **{field: TENSOR if np.ndim(value) else value for field, value in inputs.items()},
        "layers": [{field: getattr(layer, field) for field in LAYER_FIELDS} for layer in network.layers],
        "training": _training(network, tensors) if training_state else None,
        "feature_names": network.feature_names,
        "class_names": network.class_names,
    }
    metadata = {KEY: json.dumps(architecture, default=np.ndarray.tolist)}
    _architecture(metadata)  # what cannot be read is not written
    _check_finite(tensors)
    content: bytes = safetensors.numpy.save(tensors, metadata)
    return content


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """
    Open a file that takes the place of another when the block ends, and only if it ends without an exception.

    The content is on the disk before the name points to it: a crash, too, leaves the old file or the new one. A device
    or a pipe has no place to take; it is written to straight away.

    Parameters
    ----------
    path : path-like
        The file; a link is followed. A new file has the permissions of any other, a replaced one keeps its own.

    Yields
    ------
    file
        Open for writing bytes; in the same directory, under another name.

    Raises
    ------
    OSError
        If the file cannot be written; at once if its directory or its permissions do not allow it.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:  # by this name: the one that a link to it tells of may be none
            yield device
        return
    if not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    target = Path(os.path.realpath(path))
    exists = target.exists()
    if exists:
        open(target, "r+b").close()  # renaming would not ask whether the old file may be written
    temporary = target.with_name(f".cmlp-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = os.fspath(path)  # the name that the user knows
        raise
    finally:
        with suppress(OSError):  # it has been renamed, or there is an error already
            temporary.unlink()
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a directory cannot be opened, nor its entries forced to the disk
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _safetensors() -> Any:
    """Return the safetensors library."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('model files need safetensors: pip install "cmlp[cli]"') from error
    return safetensors


def _training(network: "NeuralNetwork", tensors: dict[str, Array]) -> dict[str, Any]:
    """Return the state that training goes on from; add to the tensors what of it is one."""
    generator, memory, optimizer = network.rng.bit_generator, network._memory, None
    if type(generator).__name__ not in GENERATORS:
        raise ValueError(f"the generator must be one of {', '.join(GENERATORS)}, got {generator!r}: {WITHOUT_STATE}")
    if memory.moments is not None:
        kind = _name_of(OPTIMIZERS, memory.kind)
        if kind is None:
            raise ValueError(
                f"the optimizer must be one of {', '.join(OPTIMIZERS)}, got {memory.kind!r}: {WITHOUT_STATE}"
            )
        optimizer = _described(OPTIMIZERS, memory.optimizer) or {"kind": kind, "settings": None}
        kept = memory.moments.shape[1] == network._params.size  # and not the row of one number for those that keep none
        optimizer |= {"schedule": _described(SCHEDULES, memory.schedule), "moments": len(memory.moments) if kept else 0}
        optimizer |= {"taken": memory.taken, "seen": memory.seen}
        optimizer["plateau"] = memory.plateau and dict(zip(PLATEAU_FIELDS, memory.plateau, strict=True))
        tensors.update({MOMENTS: memory.moments} if kept else {})
    return {"generator": generator.state, "optimizer": optimizer, "aside": network._aside}


def _described(kinds: dict[str, type[Any]], value: Any) -> dict[str, Any] | None:
    """Return the kind and the settings of an optimizer or a schedule, or None."""
    if value is None:
        return None
    settings = asdict(value)
    for field in fields(value):  # of what type JSON is to have it: it may have been given as 1, or as one of NumPy's
        kind = type(field.default) if isinstance(field.default, bool | float) else int
        if settings[field.name] is not None:
            settings[field.name] = kind(settings[field.name])
    return {"kind": _name_of(kinds, type(value)), "settings": settings}


def _name_of(kinds: dict[str, type[Any]], kind: type[Any] | None) -> str | None:
    """Return what files call a class; None if they do not know it."""
    return next((name for name, known in kinds.items() if known is kind), None)


def _check_kind(kinds: dict[str, type[Any]], kind: object, name: str) -> None:
    """Judge the name of a class."""
    if _text(kind, f"kind of {name}") not in kinds:
        raise ValueError(f"expected kind of {name} to be one of {', '.join(kinds)}, got {kind!r}")


def _made(kinds: dict[str, type[Any]], value: Any, name: str) -> Any:
    """Return what `_described` describes, after judging it; None where nobody knows the settings."""
    if value is None or (name == "optimizer" and value["settings"] is None):
        return None
    _check_kind(kinds, value["kind"], name)
    kind, settings = kinds[value["kind"]], value["settings"]
    usual = {field.name: field.default for field in fields(kind)}
    _check_fields(settings, usual, f"settings of {name}")
    for field, setting in settings.items():
        if isinstance(usual[field], bool) != isinstance(setting, bool):
            raise ValueError(f"expected {field} to be like {usual[field]!r}, got {reprlib.repr(setting)}")
        if setting is not None and not isinstance(setting, bool):
            _validate.number(setting, field, below=MAX_STEPS if isinstance(setting, int) else np.inf)
    return kind(**settings)


def _loss(name: str, options: Any) -> Any:
    """Return the loss of that name with these options, after judging both, as a network takes it."""
    _validate.loss(_text(name, "loss"))
    if options == {}:
        return name
    names = [field.name for field in fields(WITH_OPTIONS[name])] if name in WITH_OPTIONS else []
    _check_fields(options, names, "loss_options")
    for option, value in options.items():
        for number in value if isinstance(value, list) else [value]:
            _validate.number(number, option)
    return WITH_OPTIONS[name](**options)


def _architecture(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the architecture that the metadata describe, after judging all of it."""
    if KEY not in metadata:
        raise ValueError(f"expected metadata under {KEY!r}, got {reprlib.repr(metadata)}")
    try:
        architecture = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON in the metadata, got {reprlib.repr(metadata[KEY])}") from error
    version = architecture.get("version") if isinstance(architecture, dict) else None
    if not isinstance(version, str) or version not in ADDED:
        raise ValueError(f"expected a version of the format from '1' to {VERSION!r}, got {reprlib.repr(version)}")
    architecture = _completed(architecture, FIELDS, version, "the network")
    _loss(architecture["loss"], architecture["loss_options"])
    if _text(architecture["dtype"], "dtype") not in TYPES:
        raise ValueError(f"expected dtype to be one of {', '.join(TYPES)}, got {architecture['dtype']!r}")
    scale, shift = (_scaling(architecture[field], field, version) for field in ("input_scale", "input_shift"))
    _validate.scale(scale, np.dtype(architecture["dtype"]))
    _validate.shift(shift)
    layers = architecture["layers"]
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        got = f"{len(layers)} of them" if isinstance(layers, list) else reprlib.repr(layers)
        raise ValueError(f"expected a list of 1 to {MAX_LAYERS} layers, got {got}")
    sizes: list[int] = []
    for number, layer in enumerate(layers):
        layers[number] = layer = _completed(layer, LAYER_FIELDS, version, f"layer {number}")
        for field in ("input_size", "neurons"):
            _validate.count(layer[field], f"{field} of layer {number}")
        _validate.activation(_text(layer["activation"], f"activation of layer {number}"))
        _validate.next_size(layer["input_size"], sizes)
        sizes.append(layer["neurons"])
        if layer["init"] is not None:  # which is the one that suits the activation
            _validate.initialiser(_text(layer["init"], f"init of layer {number}"))
        _validate.number(layer["dropout"], f"dropout of layer {number}", below=1.0)
    counts = layers[0]["input_size"], max(2, sizes[-1])
    for (field, kinds), count in zip(NAMES.items(), counts, strict=True):
        _validate.one_name_for_each(_validate.names(architecture[field], field, kinds), field, count)
    if architecture["training"] is not None:
        architecture["training"] = _training_state(architecture["training"], version)
    return architecture


def _training_state(value: Any, version: str) -> dict[str, Any]:
    """Judge the state that training goes on from."""
    training = _completed(value, TRAINING_FIELDS, version, "training")
    if training["aside"] is not None:
        _check_state(training["aside"], WORD, "aside")
    generator, optimizer = training["generator"], training["optimizer"]
    name = _text(generator.get("bit_generator") if isinstance(generator, dict) else None, "bit_generator")
    if name not in GENERATORS:
        raise ValueError(f"expected bit_generator to be one of {', '.join(GENERATORS)}, got {name!r}")
    state = {field: value for field, value in generator.items() if field != "bit_generator"}
    _check_state(state, GENERATORS[name], "generator")
    # From other states the same few numbers come for ever: who draws until a number is small enough would not end.
    if state["state"].get("inc", 1) % 2 == 0 or (name == "MT19937" and not any(state["state"]["key"][1:])):
        raise ValueError(f"expected a state that {name} can come to, got {reprlib.repr(state)}")
    if optimizer is None:
        return training
    training["optimizer"] = optimizer = _completed(optimizer, OPTIMIZER_FIELDS, version, "optimizer")
    _check_kind(OPTIMIZERS, optimizer["kind"], "optimizer")
    _made(OPTIMIZERS, optimizer, "optimizer")
    if optimizer["schedule"] is not None:
        _check_fields(optimizer["schedule"], ["kind", "settings"], "schedule")
        _made(SCHEDULES, optimizer["schedule"], "schedule")
    if optimizer["plateau"] is not None:
        _check_fields(optimizer["plateau"], PLATEAU_FIELDS, "plateau")
        _validate.number(optimizer["plateau"]["best"], "best of the plateau", least=-np.inf, above=True)
        _validate.count(optimizer["plateau"]["waited"], "waited of the plateau", least=0)
    kind, moments = optimizer["kind"], optimizer["moments"]
    if _validate.count(moments, "moments", least=0) not in MOMENT_COUNTS[kind]:
        raise ValueError(f"expected {kind} to have {MOMENT_COUNTS[kind][-1]} moments, got {moments}")
    for name, what in (("taken", "steps taken"), ("seen", "samples seen")):
        if _validate.count(optimizer[name], name, least=0) > MAX_STEPS:
            raise ValueError(f"expected at most {MAX_STEPS} {what}, got {optimizer[name]}")
    return training


def _check_state(value: Any, expected: Any, name: str) -> None:
    """Check that a JSON value is a whole number below `expected`; or a list, or an object, of what that says."""
    if isinstance(expected, dict):
        _check_fields(value, expected, name)
        for field in expected:
            _check_state(value[field], expected[field], f"{name}.{field}")
    elif isinstance(expected, tuple):
        count, bound = expected
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"expected {name} to be {count} numbers, got {reprlib.repr(value)}")
        for number in value:
            _check_state(number, bound, name)
    elif _validate.count(value, name, least=0) >= expected:
        raise ValueError(f"expected {name} to be less than {expected}, got {value}")


def _completed(value: Any, names: Iterable[str], version: str, owner: str) -> dict[str, Any]:
    """Return a JSON value that has to be an object of these fields, with those that its version lacks."""
    later = [added for number, added in ADDED.items() if int(number) > int(version)]
    lacking = {name: added[name] for added in later for name in names if name in added}
    _check_fields(value, set(names) - lacking.keys(), owner)
    return {**value, **lacking}


def _check_fields(value: object, names: Iterable[str], owner: str) -> None:
    """Check that a JSON value is an object of exactly these fields."""
    if not isinstance(value, dict) or value.keys() != set(names):
        listed = ", ".join(sorted(names)) or "none"
        raise ValueError(f"expected {owner} to have the fields {listed}, got {reprlib.repr(value)}")


def _scaling(value: object, name: str, version: str) -> object:
    """Return a JSON value that has to be a number, or 1 in place of a tensor; a list is none."""
    if isinstance(value, list):
        raise ValueError(f"expected {name} to be a number or {TENSOR!r}, got {reprlib.repr(value)}")
    return 1.0 if value == TENSOR and version != "1" else value


def _text(value: object, name: str) -> str:
    """Return a JSON value that has to be a short string: names are, and errors quote them."""
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError(f"expected {name} to be a name, got {reprlib.repr(value)}")
    return value


def _tensors_of(architecture: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the type and the shape of each tensor that the architecture calls for."""
    kind = TYPES[architecture["dtype"]]
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for number, layer in enumerate(architecture["layers"]):
        expected[f"layers.{number}.weights"] = kind, (layer["neurons"], layer["input_size"])
        expected[f"layers.{number}.biases"] = kind, (layer["neurons"],)
    for field in ("input_scale", "input_shift"):
        if architecture[field] == TENSOR:
            expected[field] = TYPES["float64"], (architecture["layers"][0]["input_size"],)
    optimizer = (architecture["training"] or {}).get("optimizer")
    if optimizer is not None and optimizer["moments"] > 0:
        layers, dtype = architecture["layers"], np.dtype(architecture["dtype"])
        size = sum((layer["input_size"] + 1) * _arrays.padded(layer["neurons"], dtype) for layer in layers)
        expected[MOMENTS] = kind, (optimizer["moments"], size)
    return expected


def _compare(found: dict[str, tuple[str, tuple[int, ...]]], expected: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Check that the file holds the expected tensors and no others."""
    for key in sorted(found.keys() | expected.keys()):
        wanted, got = (
            f"{tensors[key][0]} {tensors[key][1]}" if key in tensors else "none" for tensors in (expected, found)
        )
        if wanted != got:
            raise ValueError(f"tensor {reprlib.repr(key)}: expected {wanted}, got {got}")


def _check_finite(tensors: dict[str, Array]) -> None:
    """Check that the tensors hold numbers."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"tensor {name!r}: expected finite numbers, got {tensor[~np.isfinite(tensor)][0]}")
