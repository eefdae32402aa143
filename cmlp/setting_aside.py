"""Which samples validate rather than train: a random part, of every class the same share as far as that goes."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlp.training import Samples

Array = NDArray[Any]


def split(samples: Samples, wanted: int, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """
    Set a random part of the samples aside, with labels the same share of every class as far as that goes.

    Parameters
    ----------
    samples : Samples
        All, in their own order.
    wanted : int
        How many; so many that of each class at least one is left.
    rng : numpy.random.Generator
        Where the part is drawn from.

    Returns
    -------
    rest : Samples
        At least one of every class.
    part : Samples
        Of the same rows, as many as are wanted.
    """
    labels = np.zeros(len(samples.rows), np.intp) if samples.labels is None else samples.labels
    aside = part_of_each(labels, wanted, rng)
    return samples._replace(order=np.flatnonzero(~aside)), samples._replace(order=np.flatnonzero(aside))


def part_of_each(labels: Array, wanted: int, rng: np.random.Generator) -> Array:
    """
    Choose the same share of every class, as far as that goes.

    Parameters
    ----------
    labels : ndarray of shape (m,), intp
        The class of each sample.
    wanted : int
        How many samples; so many that of each class at least one is left.
    rng : numpy.random.Generator
        Where they are drawn from.

    Returns
    -------
    ndarray of shape (m,), bool
        Which they are.
    """
    m = len(labels)
    counts = np.bincount(labels)
    order = rng.permutation(m)  # first of all: so a larger share is of the same ones, and others
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, each in an order of chance
    # Whole numbers near each class's share: rounded down, then one more for those that lost most, ties at random.
    most = np.maximum(counts - 1, 0)
    shares = wanted * counts / m
    taken = np.minimum(shares.astype(np.intp), most)
    while (lacking := wanted - taken.sum()) > 0:
        able = rng.permutation(np.flatnonzero(taken < most))
        first = able[np.argsort((taken - shares)[able], kind="stable")]
        taken[first[:lacking]] += 1
    place = np.arange(m) - np.repeat(np.cumsum(counts) - counts, counts)
    aside = np.zeros(m, bool)
    aside[order[place < np.repeat(taken, counts)]] = True
    return aside
