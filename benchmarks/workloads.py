"""What is timed: networks, data and how they are trained, and the ratios to the peers that are aimed at."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

IMAGES = Path(__file__).resolve().parent.parent / "data" / "images.csv.gz"
RATE = {"sgd": 0.1, "adam": 1e-3}


@dataclass(frozen=True)
class Workload:
    """An epoch of training, or a prediction if there is no optimizer."""

    key: str
    sizes: tuple[int, ...]
    samples: int
    batch: int = 0
    optimizer: str = ""
    dtype: str = "float32"
    pixels: bool = False  # uint8, scaled by 1/255 on the way in
    digits: bool = False  # images of data/, four fifths of whose pixels are 0, in place of random numbers
    ratios: dict[str, float] = field(default_factory=dict)  # to reach, against each peer
    share: float = 0.0  # to reach, of the processor's multiply-adds

    @property
    def title(self):
        net = "-".join(map(str, self.sizes))
        how = f"batch {self.batch:,} {self.optimizer}" if self.optimizer else "prediction"
        if self.batch == self.samples:
            how = "one full-batch step"
        kind = "uint8" if self.pixels else self.dtype
        rows = f"{self.samples:,} sample{'s' if self.samples > 1 else ''}"
        what = ("" if kind == "float32" else f", {kind}") + (", digits" if self.digits else "")
        return f"{net}, {how}, {rows}{what}"

    @property
    def operations(self):
        """Multiplications and additions; the gradient of the data itself is nobody's."""
        products = [k * n for k, n in pairwise(self.sizes)]
        times = [2, *[3] * (len(products) - 1)] if self.optimizer else [1] * len(products)
        return 2 * self.samples * sum(a * b for a, b in zip(times, products, strict=True))

    def in_float64(self):
        """The same work, in the type in which its answer is judged."""
        return replace(self, dtype="float64")

    def data(self):
        """Samples as rows, and a label for each."""
        if self.digits:
            from cmlp import load_csv  # not above: the other libraries' processes do without cmlp

            images, labels, _ = load_csv(IMAGES)
            X = np.ascontiguousarray(images.T[: self.samples])
            return X if self.pixels else (X / np.float32(255)).astype(self.dtype, copy=False), labels[: self.samples]
        rng = np.random.default_rng(1)
        X = rng.random((self.samples, self.sizes[0]), np.float32).astype(self.dtype, copy=False)
        if self.pixels:
            X = (X * 255).astype(np.uint8)
        return X, rng.integers(0, self.sizes[-1], self.samples)

    def parameters(self):
        """For each layer weights (inputs, outputs) and biases (outputs,)."""
        rng = np.random.default_rng(2)
        limits = [(k, n, (6 / (k + n)) ** 0.5) for k, n in pairwise(self.sizes)]
        return [(rng.uniform(-u, u, (k, n)).astype(self.dtype), np.zeros(n, self.dtype)) for k, n, u in limits]


DIGITS, MIDDLE, SMALL, WIDE = (784, 30, 20, 10), (784, 512, 256, 10), (50, 64, 64, 2), (1024, 4096, 4096, 1000)

WORKLOADS = [
    Workload(
        "W1",
        DIGITS,
        41_000,
        41_000,
        "sgd",
        ratios={"jax": 2.5, "torch": 4.5, "sklearn": 5, "numpy": 13},
        share=0.7,
    ),
    Workload("W1d", DIGITS, 41_000, 41_000, "sgd", "float64", ratios={"jax": 4, "sklearn": 4, "numpy": 10}),
    Workload("W1u", DIGITS, 41_000, 41_000, "sgd", pixels=True),
    Workload("W1z", DIGITS, 41_000, 41_000, "sgd", pixels=True, digits=True),
    Workload("W2", DIGITS, 10_240, 32, "sgd", ratios={"jax": 3.5, "torch": 13}),
    Workload("W3", MIDDLE, 10_240, 128, "adam", ratios={"jax": 1.35, "torch": 2.4}),
    Workload("W3z", MIDDLE, 10_240, 128, "adam", digits=True),
    Workload("W4", SMALL, 51_200, 256, "adam", ratios={"jax": 2.3, "torch": 7.5}),
    Workload("W5", WIDE, 2_048, 512, "sgd", ratios={"jax": 1.15, "torch": 2.2}, share=0.85),
    Workload("I1", DIGITS, 1, ratios={"onnxruntime": 3, "torch": 9}),
    Workload("I2", DIGITS, 41_000, ratios={"onnxruntime": 1.5}),
    Workload("I3", MIDDLE, 1, ratios={"onnxruntime": 1.2}),
    Workload("I4", MIDDLE, 10_000, ratios={"onnxruntime": 1.35, "jax": 1.35, "torch": 1.35}),
    Workload("I5", SMALL, 64, ratios={"onnxruntime": 2.5}),
]

SCALED = ("W1", "W3", "W5")  # whose time on two threads is set beside that on one
SCALING = 1.85  # to reach
DISTURBED = ("W2", "W3", "W4")  # whose times are taken beside a process that keeps a processor busy as well
REMEMBERED = "W1"  # whose memory is set beside the notebook's

SWEEP_WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
SWEEP_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
SWEEP_SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def sweeps():
    """Workloads over the width of two equal hidden layers, over the batch, and over the samples of a prediction."""
    widths = [
        Workload(f"width {n}", (64, n, n, 10), max(128, min(16_384, 2**31 // (n * n) // 128 * 128)), 128, "sgd")
        for n in SWEEP_WIDTHS
    ]
    batches = [Workload(f"batch {b}", (64, 64, 64, 10), max(b, min(256 * b, 16_384)), b, "sgd") for b in SWEEP_BATCHES]
    return widths, batches, [Workload(f"samples {m}", MIDDLE, m) for m in SWEEP_SAMPLES]
