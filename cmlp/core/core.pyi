# Entry points of the compiled core, the same in every build: cmlp.core_v2, core_v3, ...
#
# Array stands for one type, float32 or float64, throughout a call. Flat parameters and samples as rows: see core.pyx.

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sizes = NDArray[np.intp]
SparseSamples = tuple[Array, NDArray[np.intc], Sizes, int]
Rule = tuple[Any, ...]  # an optimizer's rule, then training.Shaping: see Rule in optimizer.pyx

ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
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
def logarithms(y: Array) -> None: ...

class Model:
    def __init__(
        self,
        sizes: Sizes,
        activations: NDArray[np.intc],
        dropout: NDArray[np.float64],
        loss: int,
        smoothing: float,
        delta: float,
        levels: NDArray[np.float64],
        scale: float,
        shift: NDArray[np.float64] | None,
        factor: NDArray[np.float64] | None,
    ) -> None: ...

def paying_threads(
    model: Model, samples: int, steps: int, rule: Rule | None, whole: bool, sparse: bool, like: Array
) -> int: ...
def work_size(
    model: Model, samples: int, threads: int, wanted: int, forced: int, whole: bool, sparse: bool, like: Array
) -> int: ...

class Owner:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
    def is_elsewhere(self) -> bool: ...

class Shortcut:
    def __init__(
        self,
        model: Model,
        work: Array,
        params: Array,
        most: int,
        wanted: int,
        array_type: type,
        empty: Any,
        dtype: Any,
        threads: int,
        limit: Any,
    ) -> None: ...
    def __call__(self, x: Any, out: Any) -> Array | None: ...

def forward(
    model: Model,
    work: Array,
    params: Array,
    x: Array | SparseSamples,
    threads: int,
    outputs: Array | None = None,
    classes: Sizes | None = None,
    labels: Sizes | None = None,
    targets: Array | None = None,
    weights: NDArray[np.float64] | None = None,
    order: Sizes | None = None,
) -> tuple[float, float, bool]: ...
def moment_count(rule: Rule) -> int: ...
def train(
    model: Model,
    work: Array,
    params: Array,
    moments: Array,
    x: Array | SparseSamples,
    threads: int,
    forced: int,
    batch: int,
    rule: Rule,
    taken: int,
    continued: bool,
    labels: Sizes | None = None,
    targets: Array | None = None,
    weights: NDArray[np.float64] | None = None,
    order: Sizes | None = None,
    rates: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> tuple[float, float, float, int, int, float]: ...
def take_back(model: Model, params: Array, work: Array) -> None: ...
