"""Learning rates that change as training goes on: the factor that the base rate is multiplied by, at each step.

The unit is the step, one for each mini-batch. t is a step's number, from 0, among all that the optimizer remembers: a
second `fit` counts on. A total that is not given is that of the steps of the `fit`, then counted from its first one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmlp import _validate

Array = NDArray[Any]


class Plan(NamedTuple):
    """
    Where a training stands when an epoch begins.

    Attributes
    ----------
    begin : int
        Steps that were taken before this `fit`.
    total : int or None
        Steps that it will take; None if nobody knows, in `partial_fit`.
    per_epoch : int or None
        Steps of an epoch; None in `partial_fit`.
    seen : int
        Samples that steps were taken on before this epoch.
    """

    begin: int = 0
    total: int | None = None
    per_epoch: int | None = None
    seen: int = 0


class Schedule(ABC):
    """A factor of the learning rate for every step."""

    @abstractmethod
    def factors(self, t: Array, plan: Plan) -> Array:
        """
        Return what the base learning rate is multiplied by at some steps.

        Parameters
        ----------
        t : ndarray of shape (n_steps,), integers
            The steps of an epoch.
        plan : Plan
            Where the training stands.

        Returns
        -------
        ndarray of shape (n_steps,), float64
            Numbers of at least 0.

        Raises
        ------
        ValueError
            If the plan lacks what the schedule needs.
        """

    def _span(self, t: Array, plan: Plan, total: int | None) -> tuple[Array, int]:
        """The steps, and how many there will be: as given, or those of the fit, counted from its first."""
        if total is not None:
            return t, total
        return t - plan.begin, _validate.known(plan.total, type(self).__name__, "total")


@dataclass(frozen=True)
class Constant(Schedule):
    """
    One factor for all steps.

    Parameters
    ----------
    factor : float, default 1.0
        The factor, more than 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        _validate.number(self.factor, "factor", above=True)

    def factors(self, t: Array, plan: Plan) -> Array:  # noqa: ARG002
        """Return the factors."""
        return np.full(len(t), float(self.factor))


@dataclass(frozen=True)
class Step(Schedule):
    """
    A smaller rate every so often: ``factor ** (t // every)``.

    Parameters
    ----------
    every_epochs, every_steps : int, optional
        How long a rate holds; one of the two is to be given. An epoch counts as the steps that it takes in the `fit` at
        hand, for the steps before that as well.
    factor : float, default 0.1
        What the rate is multiplied by each time, in (0, 1].

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.
    """

    every_epochs: int | None = None
    every_steps: int | None = None
    factor: float = 0.1

    def __post_init__(self) -> None:
        _validate.one_given(every_epochs=self.every_epochs, every_steps=self.every_steps)
        _validate.number(self.factor, "factor", below=1.0, above=True, up_to=True)

    def factors(self, t: Array, plan: Plan) -> Array:
        """Return the factors."""
        every = self.every_steps
        if self.every_epochs is not None:
            every = self.every_epochs * _validate.known(plan.per_epoch, "Step", "every_steps")
        return np.asarray(float(self.factor) ** (t // every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """
    A rate that shrinks by the same share at every step: ``decay ** t``.

    Parameters
    ----------
    decay : float, default 0.999
        What is left of the rate from one step to the next, in (0, 1]. `Step` with ``every_epochs=1`` does so by epochs.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        _validate.number(self.decay, "decay", below=1.0, above=True, up_to=True)

    def factors(self, t: Array, plan: Plan) -> Array:  # noqa: ARG002
        """Return the factors."""
        return np.asarray(float(self.decay) ** t)


@dataclass(frozen=True)
class Cosine(Schedule):
    """
    Half a wave of the cosine down [1]_, after a straight way up.

    ``(t + 1) / warmup`` for the first `warmup` steps, then ``final + (1 - final) * (1 + cos(pi * s)) / 2`` with
    ``s = (t - warmup) / (total - warmup)``, and `final` from then on.

    Parameters
    ----------
    total : int, optional
        Steps until the rate is the final one, those of the warmup among them; by default those of the fit.
    warmup : int, default 0
        Steps of the way up; fewer than the total.
    final : float, default 0.0
        The factor at the end, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.

    References
    ----------
    .. [1] Loshchilov, Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017, equation 5.
    """

    total: int | None = None
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        _validate.number(self.final, "final", below=1.0, up_to=True)
        _validate.less_than(_validate.count(self.warmup, "warmup", least=0), "warmup", self.total, "total")

    def factors(self, t: Array, plan: Plan) -> Array:
        """Return the factors."""
        t, total = self._span(t, plan, self.total)
        _validate.less_than(self.warmup, "warmup", total, "the steps of the fit")
        done = np.clip((t - self.warmup) / (total - self.warmup), 0, 1)
        down = self.final + (1 - self.final) * (1 + np.cos(np.pi * done)) / 2
        return np.where(t < self.warmup, (t + 1) / max(self.warmup, 1), down)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """
    A straight way up to the base rate, and a longer one down to much less [1]_.

    Parameters
    ----------
    total : int, optional
        Steps of the cycle, at least 2; by default those of the fit. Afterwards the rate stays at the last one.
    rise : float, default 0.3
        Share of the steps that lead up, in (0, 1); where that is one step or less, the first one is at the base rate.
    start : float, default 0.04
        The first step's factor, in (0, 1], where more lead up.
    final : float, default 4e-06
        The last step's, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range; when training begins, if it is of a single step.

    References
    ----------
    .. [1] Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, section 4.1.
    """

    total: int | None = None
    rise: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        _validate.number(self.rise, "rise", below=1.0, above=True)
        _validate.number(self.start, "start", below=1.0, above=True, up_to=True)
        _validate.number(self.final, "final", below=1.0, up_to=True)
        if self.total is not None:
            _validate.count(self.total, "total", least=2)

    def factors(self, t: Array, plan: Plan) -> Array:
        """Return the factors."""
        t, total = self._span(t, plan, self.total)
        _validate.count(total, "the number of steps of OneCycle", least=2)
        top = self.rise * total - 1
        if top <= 0:
            return np.interp(t, [0, total - 1], [1.0, self.final])
        return np.interp(t, [0, top, total - 1], [self.start, 1.0, self.final])


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """
    A rate that falls with the samples seen, as scikit-learn's "invscaling": ``(1 + seen) ** -power``.

    Seen are the samples of all epochs before; the rate holds for an epoch, the base rate for the first.

    Parameters
    ----------
    power : float, default 0.5
        How fast, more than 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        _validate.number(self.power, "power", above=True)

    def factors(self, t: Array, plan: Plan) -> Array:
        """Return the factors."""
        return np.full(len(t), (1.0 + plan.seen) ** -float(self.power))


# By their names in model files.
SCHEDULES: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Constant, Step, Exponential, Cosine, OneCycle, InverseScaling)
}
