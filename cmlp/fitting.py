"""The loop over epochs, or over chunks of data: what a training goes through, and who looks on."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmlp import _lbfgs, _validate, _validate_data, setting_aside, training
from cmlp.callbacks import Callback, ProgressBar
from cmlp.history import History
from cmlp.optimizers import LBFGS, OPTIMIZERS, Optimizer
from cmlp.schedules import SCHEDULES, Plan, Schedule
from cmlp.training import Samples, Shaping

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork

Array = NDArray[Any]


@dataclass(eq=False)
class Run:
    """
    A training as its callbacks see it.

    Attributes
    ----------
    network : NeuralNetwork
        That is trained; it can be evaluated and predict, but not be trained by a callback.
    epochs : int or None
        How many there will be at most; None in `partial_fit`.
    measured : tuple of str
        Keys of losses and accuracies.
    history : History
        Of all epochs so far, the last one among them.
    epoch : int
        The one at hand, from 0; in `partial_fit` the chunk.
    figures : dict of str to float
        Its numbers, by the keys of the history.
    error : BaseException or None
        What ended the training, if an error did; until the callbacks have been told of it.
    """

    network: NeuralNetwork
    _optimizer: Optimizer
    epochs: int | None
    measured: tuple[str, ...]
    history: History = field(default_factory=History)
    epoch: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def optimizer(self) -> Optimizer:
        """
        The rule of the epochs to come, which can be assigned.

        Returns
        -------
        optimizer
            With the base rate.
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, value: Optimizer) -> None:  # numpydoc ignore=GL08
        self._optimizer = _validate.optimizer(value, None, OPTIMIZERS)
        self.network._memory.follow(self._optimizer)

    @property
    def metrics(self) -> tuple[str, ...]:
        """
        What there will be a number of after every epoch.

        Returns
        -------
        tuple of str
            Keys of the history.
        """
        return (*self.measured, "learning_rate", "seconds")

    @property
    def unit(self) -> str:
        """
        What the training goes by.

        Returns
        -------
        str
            "epoch" or "chunk".
        """
        return "chunk" if self.epochs is None else "epoch"

    @property
    def steps(self) -> int:
        """
        How many steps were taken in all, those of the trainings that this one continues among them.

        Returns
        -------
        int
            The number.
        """
        return self.network._memory.taken

    @property
    def learning_rate(self) -> float:
        """
        Base rate of the epochs to come, which can be assigned; a schedule's factors multiply it.

        Returns
        -------
        float
            More than 0.
        """
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:  # numpydoc ignore=GL08
        self.optimizer = replace(self.optimizer, learning_rate=value)

    def stop(self, reason: str) -> None:
        """
        End the training after this epoch.

        Parameters
        ----------
        reason : str
            Why, for the history's `stopped`; of several, the first is kept.
        """
        self.history.stopped = self.history.stopped or str(reason)


@dataclass(frozen=True)
class Recipe:
    """How to train, whatever on."""

    batch: int
    optimizer: Optimizer
    shuffle: bool
    shaping: Shaping
    schedule: Schedule | Callable[[int], float] | None
    callbacks: tuple[Callback, ...]
    max_time: float


def recipe(
    batch_size: int,
    optimizer: str | Optimizer,
    learning_rate: float | None,
    shuffle: bool,
    verbose: int,
    schedule: Schedule | Callable[[int], float] | None,
    penalties: dict[str, float],
    bounds: dict[str, float | None],
    callbacks: Iterable[Callback],
    max_time: float | None,
) -> Recipe:
    """
    Judge the settings that `fit` and `partial_fit` share.

    Parameters
    ----------
    batch_size, optimizer, learning_rate, shuffle, verbose, schedule : object
        As `NeuralNetwork.fit` takes them.
    penalties, bounds : dict
        Its l1 and l2; and its clip_value, clip_norm and max_norm.
    callbacks, max_time : object
        As `NeuralNetwork.fit` takes them.

    Returns
    -------
    Recipe
        What they come to.

    Raises
    ------
    ValueError, TypeError
        If one of them is out of its range.
    """
    return Recipe(
        _validate.count(batch_size, "batch_size"),
        _validate.optimizer(optimizer, learning_rate, OPTIMIZERS),
        bool(shuffle),
        Shaping(**_validate.shaping(penalties, bounds)),
        schedule if schedule is None else _validate.function(schedule, "schedule", instead=Schedule),
        (*_validate.callbacks(callbacks), *([ProgressBar()] if verbose else [])),
        np.inf if max_time is None else _validate.number(max_time, "max_time", above=True),
    )


def fit(
    network: NeuralNetwork,
    samples: Samples,
    class_weight: Array | None,
    validation: Samples | None,
    fraction: float,
    epochs: int,
    recipe: Recipe,
) -> History:
    """
    Go over the samples again and again.

    Parameters
    ----------
    network : NeuralNetwork
        To train.
    samples : Samples
        To train on.
    class_weight : ndarray of shape (n_classes,), float64, optional
        What their weights are multiplied by.
    validation : Samples, optional
        To measure after every epoch.
    fraction : float
        The share of the samples to be set aside for that instead, or 0.
    epochs : int
        How often.
    recipe : Recipe
        How.

    Returns
    -------
    History
        A number an epoch.
    """
    aside = _validate_data.part_of(fraction, samples.labels, len(samples.rows)) if fraction else 0
    run = Run(network, recipe.optimizer, epochs, _measured(samples, samples if aside else validation))
    with network._memory.owner, _watched(run, recipe.callbacks):
        origin = Origin(network, epochs == 1 and not aside and _is_one_step(samples, recipe, validation))
        if aside:
            if network._aside is None:  # once: with the same share, none validates now and is trained on later
                network._aside = int(network.rng.integers(2**63))
            samples, validation = setting_aside.split(samples, aside, np.random.default_rng(network._aside))
        samples = samples.times(class_weight)
        if aside and validation is not None:
            try:
                _validate_data.some_weight(samples.weights, samples.order, "to train on")
                _validate_data.some_weight(validation.weights, validation.order, "to validate with")
            except ValueError:
                origin.restore(network)
                raise
        return _train(run, recipe, origin, repeat(samples, epochs), validation)


def fit_chunks(
    network: NeuralNetwork,
    chunks: Iterator[Samples],
    recipe: Recipe,
    validation: Samples | None = None,
    epochs: int | None = None,
) -> History:
    """
    Go over samples once, a chunk after the other.

    Parameters
    ----------
    network : NeuralNetwork
        To train.
    chunks : iterator of Samples
        To train on, at least one.
    recipe : Recipe
        How.
    validation : Samples, optional
        To measure after every chunk.
    epochs : int, optional
        How many chunks there are, if each is an epoch: the same samples in another order.

    Returns
    -------
    History
        A number a chunk.
    """
    with network._memory.owner:
        first = next(chunks)
        run = Run(network, recipe.optimizer, epochs, _measured(first, validation))
        rounds = chain([first], chunks)
        alone = epochs in (None, 1) and _is_one_step(first, recipe, validation)
        del first  # a chunk may be large
        with _watched(run, recipe.callbacks):
            return _train(run, recipe, Origin(network, alone), rounds, validation)


def fit_at_once(
    network: NeuralNetwork, samples: Samples, lbfgs: LBFGS, shaping: Shaping, epochs: int, verbose: int
) -> History:
    """
    Take all samples together, for iterations of L-BFGS.

    Parameters
    ----------
    network : NeuralNetwork
        To train.
    samples : Samples
        To train on.
    lbfgs : LBFGS
        When to stop, and how much to remember.
    shaping : Shaping
        An l2 penalty, if one is wanted.
    epochs : int
        Iterations at most, if `lbfgs` does not say.
    verbose : int
        Whether to show how far it is.

    Returns
    -------
    History
        A number an iteration.
    """
    settings: Any = lbfgs  # which have no rate
    run, bars = Run(network, settings, lbfgs.max_iter or epochs, ("loss",)), [ProgressBar()] if verbose else []

    def _show(figures: dict[str, float]) -> None:
        run.figures = figures
        for bar in bars:
            bar.on_epoch_end(run)
        run.epoch += 1

    with _watched(run, bars):
        return _lbfgs.minimise(network, samples, lbfgs, shaping, epochs, _show)


class Origin:
    """
    What a network was, its generator too, before steps that may be refused.

    Parameters
    ----------
    network : NeuralNetwork
        Which.
    alone : bool, default False
        Whether there will be a single step, which is taken as a whole or not at all.
    """

    def __init__(self, network: NeuralNetwork, alone: bool = False) -> None:
        memory = network._memory
        self.snapshot = None if alone else memory.origin_of(network)  # a copy of all, which may take as long as a step
        self.memory, self.aside = memory.__getstate__(), network._aside
        self.generator, self.state = network.rng, network.rng.bit_generator.state
        memory.stepping = False

    def restore(self, network: NeuralNetwork) -> None:
        """
        Make it that again.

        Parameters
        ----------
        network : NeuralNetwork
            The same one.
        """
        if self.snapshot is None and network._memory.stepping:  # by an error in the handler of a signal
            network._memory.forget()
            return
        if self.snapshot is None:
            network._memory.restore(**self.memory)
        else:
            self.snapshot.restore(network)
        self.generator.bit_generator.state = self.state
        network._rng, network._aside = self.generator, self.aside


def _is_one_step(samples: Samples, recipe: Recipe, validation: Samples | None) -> bool:
    """Whether nothing that is wrong with the data can show after a step has been taken on them."""
    return samples.size() <= recipe.batch and validation is None


def _measured(samples: Samples, validation: Samples | None) -> tuple[str, ...]:
    """Keys of the history that are measured."""
    names: tuple[str, ...] = ("loss",) if samples.labels is None else ("loss", "accuracy")
    if validation is not None:
        names += ("val_loss",) if validation.labels is None else ("val_loss", "val_accuracy")
    return names


def _train(run: Run, recipe: Recipe, origin: Origin, rounds: Iterable[Samples], validation: Samples | None) -> History:
    """Train on each of the rounds in turn: an epoch, or where their number is not known, a chunk."""
    network, memory, start = run.network, run.network._memory, time.perf_counter()
    taken, last = 0, None
    for run.epoch, samples in enumerate(rounds):
        try:
            if last is None:
                _recall(run, recipe)
            elif run.epochs is None:  # what an earlier chunk taught stays
                origin = Origin(network)
            _validate.one_step(network.loss, samples.size(), recipe.batch, run.epochs)
            figures = _epoch(run, recipe, samples, validation, taken, continued=last is not None)
            run.figures = {key: figures.get(key, np.nan) for key in run.metrics}  # those of the first chunk
        except FloatingPointError:
            raise
        except Exception as error:  # the passes find NaN and infinity on their way
            # What an earlier epoch has found sound is an argument no more: the error is a callback's, or a schedule's.
            sound = last is not None and run.epochs is not None
            refused = isinstance(error, ValueError | TypeError) and not sound
            if refused or (last is None and not memory.stepping):
                origin.restore(network)
            raise
        last = samples
        taken += -(-samples.size() // recipe.batch)
        run.history.add(run.figures)
        for callback in recipe.callbacks:
            callback.on_epoch_end(run)
        if time.perf_counter() - start >= recipe.max_time:
            run.stop(f"max_time of {recipe.max_time:g} s ran out")
        if run.history.stopped is not None:
            break
    if last is not None and memory.moments is not None:
        training.check_last_step(network, last, run.figures["loss"], memory.moments, memory.taken)
    return run.history


def _recall(run: Run, recipe: Recipe) -> Array:
    """What the optimizer remembers; it and its schedule are remembered, if that is one that model files can hold."""
    kept: Any = recipe.schedule if type(recipe.schedule) in SCHEDULES.values() else None
    return run.network._memory.recall(run.optimizer, kept, recipe.shaping, run.network._params)


@contextmanager
def _watched(run: Run, callbacks: Iterable[Callback]) -> Iterator[None]:
    """Tell the callbacks when the training begins and, whatever happens, when it ends."""
    begun: list[Callback] = []
    try:
        for callback in callbacks:
            callback.on_train_begin(run)
            begun.append(callback)
        yield
    except BaseException as error:
        run.error = error
        raise
    finally:
        with ExitStack() as ends:  # what one raises does not keep the others from it
            ends.callback(setattr, run, "error", None)  # whose frames hold the run, and that the network
            for callback in reversed(begun):
                ends.callback(callback.on_train_end, run)


def _epoch(
    run: Run, recipe: Recipe, samples: Samples, validation: Samples | None, taken: int, continued: bool
) -> dict[str, float]:
    """Take the steps of an epoch, after those that this training has taken, and return its numbers."""
    network, memory, start = run.network, run.network._memory, time.perf_counter()
    network._judge()  # callbacks may have assigned another dropout
    moments = _recall(run, recipe)
    # After a change of the optimizer its steps are counted from 0, and this training began before that.
    rates = _rates(run, recipe.schedule, memory.taken - taken, -(-samples.size() // recipe.batch))
    shuffled = samples
    if recipe.shuffle:
        order = network.rng.permutation(samples.size()).astype(np.intp, copy=False)
        shuffled = samples._replace(order=order if samples.order is None else samples.order[order])
    size = samples.size()
    try:
        loss, accuracy, count = training.steps(
            network,
            shuffled,
            recipe.batch,
            run.optimizer,
            moments,
            memory.taken,
            shaping=recipe.shaping,
            continued=continued,
            rates=rates,
            seed=network._seed(),
        )
        memory.taken, memory.seen = memory.taken + count, memory.seen + size
    except BaseException:  # how many steps the moments have seen is not known
        memory.lose(moments)
        raise
    seconds = time.perf_counter() - start
    figures = {"loss": loss, **({} if samples.labels is None else {"accuracy": accuracy})}
    if validation is not None:
        measured = network._measure(validation)
        figures.update((f"val_{name}", value) for name, value in measured.items())
    rate = run.learning_rate if rates is None else float(rates[-1])
    return {**figures, "learning_rate": rate, "seconds": seconds}


def _rates(run: Run, schedule: Schedule | Callable[[int], float] | None, begin: int, count: int) -> Array | None:
    """Learning rates of the next steps of a training that began at step `begin`; None for the base rate."""
    if schedule is None:
        return None
    memory = run.network._memory
    steps = np.arange(memory.taken, memory.taken + count)
    if isinstance(schedule, Schedule):
        plan = Plan(begin, None, None, memory.seen)
        if run.epochs is not None:
            plan = plan._replace(total=run.epochs * count, per_epoch=count)
        factors = schedule.factors(steps, plan)
    else:
        factors = np.array([schedule(t) for t in steps.tolist()])
    return float(run.learning_rate) * _validate.factors(factors, steps)
