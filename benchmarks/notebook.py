"""The notebook's two trainings, run again: the accuracies it printed beside the medians of several seeds.

python benchmarks/notebook.py [--seeds 5]   (the one-hidden-layer network is plain NumPy and takes a minute a seed)
"""

import argparse
import contextlib
import io
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for a core that was built in place
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from test_notebook import CELL

import cmlp
from cmlp import reference

ROOT = Path(__file__).resolve().parent.parent

# What the notebook printed every 10 epochs: of 784-30-20-10 on its 1,000 test rows, of 784-20-10 on its training rows.
DEEP = [
    0.085,
    0.221,
    0.361,
    0.447,
    0.506,
    0.577,
    0.614,
    0.647,
    0.672,
    0.708,
    0.723,
    0.738,
    0.751,
    0.763,
    0.776,
    0.791,
    0.797,
    0.804,
    0.81,
    0.813,
]
FLAT = [
    0.0756,
    0.2983,
    0.4287,
    0.5088,
    0.5665,
    0.6085,
    0.6423,
    0.67,
    0.6926,
    0.7106,
    0.7258,
    0.7395,
    0.7499,
    0.7594,
    0.7687,
    0.7769,
    0.7828,
    0.7897,
    0.7958,
    0.8018,
    0.8066,
    0.8109,
    0.8151,
    0.8191,
    0.8228,
    0.8253,
    0.8285,
    0.8313,
    0.8336,
    0.8364,
    0.8391,
    0.8416,
    0.8441,
]


class NotebookNetwork(cmlp.NeuralNetwork):
    """A network that begins as the notebook's does."""

    def add_layer(self, input_size, nr_neurons, activation):
        super().add_layer(input_size, nr_neurons, activation, init="uniform")


def deep(digits, seed):
    names = {
        "NeuralNetwork": partial(NotebookNetwork, rng=seed),
        "reLU": cmlp.reLU,
        "softmax": cmlp.softmax,
        "get_accuracy": cmlp.get_accuracy,
        **digits,
    }
    exec(CELL, names)


def flat(digits, seed):
    reference.grad_descent(digits["X_train"].astype(np.float32), digits["Y_train"], 0.10, 10 * len(FLAT), rng=seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    X, y, _ = cmlp.load_csv(ROOT / "data" / "images.csv.gz")
    accuracies = {deep: [], flat: []}
    for seed in range(options.seeds):
        X_train, X_test, Y_train, Y_test = cmlp.train_test_split(X, y, rng=seed)
        digits = {"X_train": X_train / 255, "X_test": X_test / 255, "Y_train": Y_train, "Y_test": Y_test}
        for run, found in accuracies.items():
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                run(digits, seed)
            found.append([float(number) for number in re.findall(r"(?:Accuracy )?(0\.\d+)", printed.getvalue())])
    for run, printed in ((deep, DEEP), (flat, FLAT)):
        medians = np.median(accuracies[run], axis=0)
        difference = np.abs(medians - printed)
        largest = f"{difference[5:].max():.3f} from epoch 50, {difference[15:].max():.3f} from 150"
        print(f"{run.__name__}: largest difference {largest}")
        for number, (ours, theirs) in enumerate(zip(medians, printed, strict=True)):
            print(f"  epoch {10 * number:3}  notebook {theirs:.3f}  median {ours:.3f}")


if __name__ == "__main__":
    main()
