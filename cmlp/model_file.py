"""Model files: a network's numbers in the safetensors format, its architecture as JSON in the metadata.

Nothing in such a file is executed. Reading judges all of it before the network is built; writing leaves a whole
file, the new one or the old.
"""

import json
import os
import reprlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmlp import _validate

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork

Network = TypeVar("Network", bound="NeuralNetwork")
Array = NDArray[Any]

KEY = "cmlp"  # the only one in the metadata, whose order safetensors leaves to chance
VERSION = "1"
TYPES = {"float32": "F32", "float64": "F64"}  # as safetensors calls them
MAX_LAYERS = 1000  # adding one copies those before it: a million tiny ones, in a hostile file, would take days


def save(network: "NeuralNetwork", path: str | os.PathLike[str]) -> None:
    """
    Write a network to a model file.

    Parameters
    ----------
    network : NeuralNetwork
        At least one layer; all its numbers finite.
    path : path-like
        The file, see `replacing`.

    Raises
    ------
    ValueError
        If the network has no layers, or holds NaN or infinity.
    OSError
        If the file cannot be written; one that was there before is left as it was.
    ImportError
        If the safetensors library is not installed.
    """
    content = dumps(network)
    with replacing(path) as file:
        file.write(content)


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
        With the same architecture and the same numbers, bit for bit.

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
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: not a model file of cmlp: {' '.join(str(error).split())}") from error
    network = cls(architecture["loss"], architecture["dtype"], input_scale=architecture["input_scale"])
    for layer in architecture["layers"]:
        network.add_layer(layer["input_size"], layer["neurons"], layer["activation"])
    for number, built in enumerate(network.layers):
        built.weights = tensors[f"layers.{number}.weights"]
        built.biases = tensors[f"layers.{number}.biases"][:, np.newaxis]
    return network


def dumps(network: "NeuralNetwork") -> bytes:
    """
    Return the content of a network's model file.

    Parameters
    ----------
    network : NeuralNetwork
        At least one layer; all its numbers finite.

    Returns
    -------
    bytes
        The same for the same network.

    Raises
    ------
    ValueError
        If the network has no layers, or holds NaN or infinity.
    ImportError
        If the safetensors library is not installed.
    """
    safetensors = _safetensors()
    _validate.has_layers([layer.neurons for layer in network.layers])
    architecture = {
        "version": VERSION,
        "loss": network.loss,
        "dtype": network.dtype.name,
        "input_scale": network.input_scale,
        "layers": [
            {"input_size": layer.input_size, "neurons": layer.neurons, "activation": layer.activation}
            for layer in network.layers
        ],
    }
    metadata = {KEY: json.dumps(architecture)}
    _architecture(metadata)  # what cannot be read is not written
    tensors = {}
    for number, layer in enumerate(network.layers):
        tensors[f"layers.{number}.weights"] = np.ascontiguousarray(layer.weights)
        tensors[f"layers.{number}.biases"] = np.ascontiguousarray(layer.biases[:, 0])
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
    target = Path(os.path.realpath(path))
    exists = target.exists()
    if exists and not target.is_file():
        with open(target, "wb") as device:
            yield device
        return
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


def _architecture(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the architecture that the metadata describe, after judging all of it."""
    if KEY not in metadata:
        raise ValueError(f"expected metadata under {KEY!r}, got {reprlib.repr(metadata)}")
    try:
        architecture = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON in the metadata, got {reprlib.repr(metadata[KEY])}") from error
    version = architecture.get("version") if isinstance(architecture, dict) else None
    if version != VERSION:
        raise ValueError(f"expected version {VERSION!r} of the format, got {reprlib.repr(version)}")
    _check_fields(architecture, {"version", "loss", "dtype", "input_scale", "layers"}, "the network")
    _validate.loss(_text(architecture["loss"], "loss"))
    if _text(architecture["dtype"], "dtype") not in TYPES:
        raise ValueError(f"expected dtype to be one of {', '.join(TYPES)}, got {architecture['dtype']!r}")
    _validate.scale(architecture["input_scale"], np.dtype(architecture["dtype"]))
    layers = architecture["layers"]
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        got = f"{len(layers)} of them" if isinstance(layers, list) else reprlib.repr(layers)
        raise ValueError(f"expected a list of 1 to {MAX_LAYERS} layers, got {got}")
    sizes: list[int] = []
    for number, layer in enumerate(layers):
        _check_fields(layer, {"input_size", "neurons", "activation"}, f"layer {number}")
        for field in ("input_size", "neurons"):
            _validate.count(layer[field], f"{field} of layer {number}")
        _validate.activation(_text(layer["activation"], f"activation of layer {number}"))
        _validate.next_size(layer["input_size"], sizes)
        sizes.append(layer["neurons"])
    return dict(architecture)


def _check_fields(value: object, names: set[str], owner: str) -> None:
    """Check that a JSON value is an object of exactly these fields."""
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"expected {owner} to have the fields {', '.join(sorted(names))}, got {reprlib.repr(value)}")


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
