# Entry points of the compiled core, the same in every build: cmlp.core_v2, core_v3, ...
#
# Array stands for one type, float32 or float64, throughout a call. Flat parameters and samples as rows: see core.pyx.

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sizes = NDArray[np.intp]

ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
PAIRS: dict[str, tuple[str, ...]]
OPTIMIZERS: dict[str, int]
STATUSES: dict[str, int]
REGIMES: dict[str, int]
WANTS: dict[str, int]

def tile_shape(like: Array) -> tuple[int, int, int]: ...
def padded_columns(n: int, like: Array) -> int: ...
def has_threads() -> bool: ...
def has_openmp() -> bool: ...
def forget_threads() -> None: ...
def openmp_limit() -> int: ...
def matmul(y: Array, a: Array, b: Array, bias: Array | None, accumulate: bool, work: Array) -> None: ...
def matmul_work(k: int, n: int, like: Array) -> int: ...
def activate_rows(y: Array, activation: int) -> None: ...
def work_size(
    sizes: Sizes, activations: NDArray[np.intc], samples: int, threads: int, wanted: int, forced: int, like: Array
) -> int: ...

class Shortcut:
    def __init__(
        self,
        work: Array,
        params: Array,
        sizes: Sizes,
        activations: NDArray[np.intc],
        most: int,
        wanted: int,
        array_type: type,
        empty: Any,
        dtype: Any,
    ) -> None: ...
    def __call__(self, x: Any, scale: float, out: Any) -> Array | None: ...

def run(
    work: Array,
    params: Array,
    sizes: Sizes,
    activations: NDArray[np.intc],
    loss: int,
    x: Array,
    scale: float,
    threads: int,
    outputs: Array | None = None,
    classes: Sizes | None = None,
    labels: Sizes | None = None,
    targets: Array | None = None,
) -> tuple[float, int, bool]: ...
def moment_count(rule: tuple[int, float, float, float, float, float, bool]) -> int: ...
def train(
    work: Array,
    params: Array,
    moments: Array,
    sizes: Sizes,
    activations: NDArray[np.intc],
    loss: int,
    x: Array,
    scale: float,
    threads: int,
    forced: int,
    batch: int,
    rule: tuple[int, float, float, float, float, float, bool],
    taken: int,
    labels: Sizes | None = None,
    targets: Array | None = None,
    order: Sizes | None = None,
) -> tuple[float, int, int, int]: ...
def take_back(params: Array, sizes: Sizes, activations: NDArray[np.intc], work: Array) -> None: ...
