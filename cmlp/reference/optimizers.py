"""Optimizers: each gives the new value of one array of parameters."""

import math
from typing import Any

import numpy as np

from cmlp.activations import Array, Function

State = dict[str, Any]


def sgd(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Array:
    """Step against the gradient, or against its decaying sum if there is momentum.

    The conventions are PyTorch's: weight_decay * p is added to the gradient, the velocity becomes
    momentum * velocity + g, and the step is learning_rate * velocity, or for Nesterov's variant
    learning_rate * (g + momentum * velocity).

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The velocity, kept from step to step; empty at first.
    t : int
        Number of this step, from 1. Unused.
    learning_rate : float
        Step length per unit of gradient.
    momentum : float
        Share of the velocity that survives a step, in [0, 1).
    nesterov : bool
        Whether to look ahead along the velocity.
    weight_decay : float
        Factor of the parameters in the gradient.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    g = g + weight_decay * p
    v = state["velocity"] = momentum * state.get("velocity", 0.0) + g
    return np.asarray(p - learning_rate * (g + momentum * v if nesterov else v))


def adam(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_hat: bool = False,
) -> Array:
    """Step by the ratio of the gradient's mean to its root mean square: Kingma & Ba, 2015, Algorithm 1.

    Both are moving averages that start at 0; dividing by 1 - beta^t takes away that start's weight.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The two moments, kept from step to step; empty at first.
    t : int
        Number of this step, from 1.
    learning_rate : float
        Bound on a typical step of one parameter.
    beta1, beta2 : float
        Share of each moment that survives a step, in [0, 1).
    epsilon : float
        Added to the root mean square, to divide by no zero.
    epsilon_hat : bool
        Whether epsilon is added to the root of the mean square that still has the start's weight in it, as in the
        remark that closes section 2 of the paper: scikit-learn's way.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    first = state["first"] = beta1 * state.get("first", 0.0) + (1 - beta1) * g
    second = state["second"] = beta2 * state.get("second", 0.0) + (1 - beta2) * g**2
    start1, start2 = 1 - beta1**t, 1 - beta2**t
    if epsilon_hat:
        return np.asarray(p - learning_rate * math.sqrt(start2) / start1 * first / (np.sqrt(second) + epsilon))
    return np.asarray(p - learning_rate * first / start1 / (np.sqrt(second / start2) + epsilon))


def adamw(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_hat: bool = False,
    weight_decay: float = 0.01,
) -> Array:
    """Shrink the parameters, then step as Adam does: Loshchilov & Hutter, 2019, Algorithm 2.

    The decay does not pass through Adam's moments. As in PyTorch it is multiplied by the learning rate.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The two moments, kept from step to step; empty at first.
    t : int
        Number of this step, from 1.
    learning_rate : float
        Bound on a typical step of one parameter.
    beta1, beta2 : float
        Share of each moment that survives a step, in [0, 1).
    epsilon : float
        Added to the root mean square, to divide by no zero.
    epsilon_hat : bool
        See adam.
    weight_decay : float
        Share of a parameter that is lost in a step, per unit of learning rate.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    shrunk = p * (1 - learning_rate * weight_decay)
    return adam(shrunk, g, state, t, learning_rate, beta1, beta2, epsilon, epsilon_hat)


def rmsprop(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 0.01,
    beta2: float = 0.99,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """Step by the ratio of the gradient to its root mean square: Tieleman & Hinton, 2012, lecture 6.5.

    The conventions are PyTorch's: the mean square is a moving average that starts at 0, and is not corrected for that.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The mean square, kept from step to step; empty at first.
    t : int
        Number of this step, from 1. Unused.
    learning_rate : float
        Size of a typical step of one parameter.
    beta2 : float
        Share of the mean square that survives a step, in [0, 1).
    epsilon : float
        Added to the root mean square, to divide by no zero.
    weight_decay : float
        Factor of the parameters in the gradient.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    g = g + weight_decay * p
    second = state["second"] = beta2 * state.get("second", 0.0) + (1 - beta2) * g**2
    return np.asarray(p - learning_rate * g / (np.sqrt(second) + epsilon))


def lion(
    p: Array,
    g: Array,
    state: State,
    t: int,
    learning_rate: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> Array:
    """Step by the sign of the gradient's mean: Chen et al., 2023, Algorithm 2.

    The mean whose sign is taken leans more on the last gradient than the one that is kept. The sign of 0 is 0.

    Parameters
    ----------
    p, g : ndarray of any shape, float32 or float64
        The parameters and their gradient; neither is changed.
    state : dict
        The mean, kept from step to step; empty at first.
    t : int
        Number of this step, from 1. Unused.
    learning_rate : float
        Size of every step of one parameter.
    beta1, beta2 : float
        Share of the mean in that whose sign is taken, and share of it that survives a step, in [0, 1).
    weight_decay : float
        Share of a parameter that is lost in a step, per unit of learning rate.

    Returns
    -------
    ndarray like p
        The new parameters.
    """
    mean = state.get("first", 0.0)
    state["first"] = beta2 * mean + (1 - beta2) * g
    return np.asarray(p - learning_rate * (np.sign(beta1 * mean + (1 - beta1) * g) + weight_decay * p))


OPTIMIZERS: dict[str, Function] = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop, "lion": lion}
