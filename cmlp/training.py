"""Steps of a network over mini-batches: what they are over, what an optimizer remembers, and who may take them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmlp import _arrays, _threads
from cmlp._dispatch import core
from cmlp._sparse import SparseRows

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork
    from cmlp.optimizers import Optimizer, Rule
    from cmlp.schedules import Schedule

Array = NDArray[Any]

STATUS_NAMES = {status: name for name, status in core.STATUSES.items()}

# The rule that has no settings, see `Rule`: the gradient itself.
GRADIENT: Rule = (core.OPTIMIZERS["gradient"], 0.0, 0.0, 0.0, 0.0, 0.0, False, False)

# Sum of the parameters' squares, above one for each, and loss before a step, from which its own might not be finite.
LARGE_SQUARES, LARGE_LOSS = 1e6, 1e12
# Logarithm of what the layers may make of a number, by the type's size.
LARGE_GAIN = {np.dtype(kind).itemsize: math.log(np.finfo(kind).max) / 2 for kind in (np.float32, np.float64)}


class Samples(NamedTuple):
    """What a pass is over: rows (m, n_inputs); labels (m,) or targets (m, n_outputs); weights; which, in what order."""

    rows: Array | SparseRows
    labels: Array | None
    targets: Array | None
    weights: Array | None = None
    order: Array | None = None
    name: str = "X"  # of what the rows are, in errors

    def given(self, dtype: np.dtype[Any]) -> Any:
        """The rows as the core takes them, for a network of this type."""
        return self.rows.astype(dtype) if isinstance(self.rows, SparseRows) else self.rows

    def size(self) -> int:
        """Samples that are used."""
        return len(self.rows) if self.order is None else len(self.order)

    def mean(self, total: float) -> float:
        """A sum over those that are used as a mean, by weight; NaN if they weigh nothing."""
        if self.weights is None:
            return total / self.size()
        weight = float((self.weights if self.order is None else self.weights[self.order]).sum())
        return total / weight if weight > 0 else np.nan

    def times(self, of_classes: Array | None) -> Samples:
        """The same samples, each times the weight of its class."""
        if of_classes is None or self.labels is None:
            return self
        weights = of_classes[self.labels]
        return self._replace(weights=weights if self.weights is None else weights * self.weights)


class Shaping(NamedTuple):
    """What is done to a gradient before the optimizer sees it, and to weights after it; 0 for what is not wanted."""

    l1: float = 0.0
    l2: float = 0.0
    l2_of_sum: bool = False
    clip_value: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0


PLAIN = Shaping()


class Memory:
    """What an optimizer remembers from step to step, and the room that steps work in and can be taken back from."""

    def __init__(self) -> None:
        self.owner = core.Owner()  # keeps others, callbacks too, from training the network or changing what it is
        self.work: Array | None = None
        self.origin: Snapshot | None = None
        self.params_squared = 0.0  # the sum of the parameters' squares, as the last step left them
        self.stepping = False  # whether steps may have been taken that nothing else tells of
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.kind: type[Any] | None = None
        self.optimizer: Optimizer | None = None  # of this kind, as it was at last, if that is known
        self.schedule: Schedule | None = None  # what changed its rate
        self.plateau: tuple[float, int] | None = None  # the best number before it, and the epochs since
        self.moments: Array | None = None
        self.taken = self.seen = 0

    def lose(self, moments: Array) -> None:
        """Begin anew, if it is these moments that no longer belong to the parameters; plain descent has none."""
        if self.moments is moments and moments.shape != _arrays.NOTHING:
            self.forget()

    def recall(self, optimizer: Optimizer, schedule: Schedule | None, shaping: Shaping, params: Array) -> Array:
        """What this optimizer remembers: nothing, if it is of another kind than the one before."""
        past = core.moment_count((*optimizer.rule(), *shaping))
        shape = (past, params.size) if past else _arrays.NOTHING
        if self.moments is None or self.kind is not type(optimizer) or self.moments.shape != shape:
            self.forget()
            self.kind = type(optimizer)
            self.moments = _arrays.zeros(math.prod(shape), params.dtype).reshape(shape)
        self.optimizer, self.schedule = optimizer, schedule
        return self.moments

    def follow(self, optimizer: Optimizer) -> None:
        """Take over what a callback has made of the optimizer; another kind begins with the next epoch."""
        if self.kind is type(optimizer):
            self.optimizer = optimizer

    def restore(self, moments: Array | None, **others: Any) -> None:
        """Go on from what was remembered once, here or in another process."""
        if moments is not None:  # on a cache line once more
            given, moments = moments, _arrays.empty(moments.size, moments.dtype).reshape(moments.shape)
            moments[...] = given
        self.__dict__.update(others, moments=moments)

    def origin_of(self, network: NeuralNetwork) -> Snapshot:
        """The network as it is now, in arrays that are used again: new memory takes longer to get than to fill."""
        if self.origin is None:
            self.origin = Snapshot(network)
        else:
            self.origin.take(network)
        return self.origin

    def __getstate__(self) -> dict[str, Any]:
        if self.owner.is_elsewhere():  # what is remembered does not belong to its parameters then
            return Memory().__getstate__()
        kept = ("kind", "optimizer", "schedule", "plateau", "moments", "taken", "seen")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.restore(**state)


class Snapshot:
    """
    A network's parameters, and what its optimizer remembers, at one time.

    Parameters
    ----------
    network : NeuralNetwork
        Whose.
    """

    def __init__(self, network: NeuralNetwork) -> None:
        self._params, self._moments = np.empty(0, network.dtype), np.empty((0, 0), network.dtype)
        self.take(network)

    def take(self, network: NeuralNetwork) -> None:
        """
        Remember the network as it is now instead, in the same arrays.

        Parameters
        ----------
        network : NeuralNetwork
            If it has other layers by now, the arrays are new ones.
        """
        if self._params.shape != network._params.shape:
            self._params = np.empty_like(network._params)
        self._params[:] = network._params
        self._memory = network._memory.__getstate__()
        moments = self._memory["moments"]
        if moments is not None:
            if self._moments.shape != moments.shape:
                self._moments = np.empty_like(moments)
            self._moments[:] = moments
            self._memory["moments"] = self._moments

    def restore(self, network: NeuralNetwork) -> None:
        """
        Put everything back.

        Parameters
        ----------
        network : NeuralNetwork
            The same one, of the same layers.
        """
        network._params[:] = self._params
        network._memory.restore(**self._memory)


def steps(
    network: NeuralNetwork,
    samples: Samples,
    batch: int,
    optimizer: Optimizer,
    moments: Array,
    taken: int,
    *,
    shaping: Shaping = PLAIN,
    continued: bool = False,
    rates: Array | None = None,
    seed: int = 0,
) -> tuple[float, float, int]:
    """
    Take a step for each mini-batch.

    Parameters
    ----------
    network : NeuralNetwork
        Whose parameters move.
    samples : Samples
        In the order of their use.
    batch : int
        Samples of a step.
    optimizer : Optimizer
        Its rule.
    moments : ndarray of shape (n_moments, n_parameters), the network's dtype
        What the optimizer remembers; changed.
    taken : int
        Steps that the moments have seen.
    shaping : Shaping
        Penalties and bounds.
    continued : bool
        Whether the call before this one took the last of these steps: it may be taken back then.
    rates : ndarray of shape (n_steps,), float64, optional
        Learning rates of the steps.
    seed : int
        Of dropout.

    Returns
    -------
    loss : float
        Mean over the samples, with the penalties, each batch's taken before its step.
    accuracy : float
        Share of the right classes.
    count : int
        Steps taken.

    Raises
    ------
    FloatingPointError
        If a loss or a parameter is not finite, see `NeuralNetwork.fit`.
    ValueError
        If that is because X holds NaN or infinity.
    """
    loss, accuracy, count, status = _train(
        network, network._params, samples, batch, optimizer.rule(), shaping, moments, taken, continued, rates, seed
    )
    if status != "done":
        raise bad_step(network, status, taken + count + 1)
    return loss, accuracy, count


def _train(
    network: NeuralNetwork,
    params: Array,
    samples: Samples,
    batch: int,
    rule: Rule,
    shaping: Shaping,
    moments: Array,
    taken: int = 0,
    continued: bool = False,
    rates: Array | None = None,
    seed: int = 0,
) -> tuple[float, float, int, str]:
    """Let the core train these parameters of a network; mean loss, accuracy, steps, and what became of them."""
    memory, body = network._memory, network._body
    batch = min(batch, samples.size())
    whole, sparse = shaping.clip_norm > 0, isinstance(samples.rows, SparseRows)
    steps = -(-samples.size() // batch)
    whole_rule = (*rule, *shaping)
    paying = core.paying_threads(body.model, batch, steps, whole_rule, whole, sparse, params)
    threads = _threads.threads_for(paying)
    size = network._work_for(body, batch, threads, "gradient", whole, sparse)
    if memory.work is None or memory.work.size < size:
        work = _arrays.empty(size, params.dtype)
        if memory.work is not None:  # the last step can still be taken back
            kept = min(2 * params.size, memory.work.size)
            work[:kept] = memory.work[:kept]
        else:
            continued = False
        memory.work = work
    memory.stepping = True
    loss, penalty, correct, count, status, memory.params_squared = core.train(
        body.model,
        memory.work,
        params,
        moments,
        samples.given(params.dtype),
        threads,
        core.REGIMES[network._regime],
        batch,
        whole_rule,
        taken,
        continued,
        samples.labels,
        samples.targets,
        samples.weights,
        samples.order,
        rates,
        seed,
    )
    memory.stepping = status == core.STATUSES["done"]
    if status != core.STATUSES["done"]:
        network._check_finite(samples.rows, "X")
    return samples.mean(loss + penalty), samples.mean(correct), count, STATUS_NAMES[status]


def loss_and_gradient(network: NeuralNetwork, samples: Samples, shaping: Shaping = PLAIN) -> tuple[float, Array]:
    """
    Return the mean loss over the samples, and its gradient by the parameters.

    Like steps, it needs the network's memory for itself, and it is no step that could be taken back.

    Parameters
    ----------
    network : NeuralNetwork
        Where it is now; its parameters do not change. Its dropout is that of some first step, always the same.
    samples : Samples
        All of them in one batch.
    shaping : Shaping
        Penalties, and bounds of the gradient; the bound of weights has no part in it.

    Returns
    -------
    loss : float
        With the penalties.
    gradient : ndarray of shape (n_parameters,), the network's dtype
        Each number in its parameter's place, as in `network._params`; 0 in the padding.

    Raises
    ------
    FloatingPointError
        If the loss or a number of the gradient is not finite.
    ValueError
        If that is because X holds NaN or infinity.
    """
    none = np.empty(_arrays.NOTHING, network.dtype)
    gradient = _arrays.empty(network._params.size, network.dtype)
    gradient[:] = network._params  # in whose place the core puts the gradient
    unbound = shaping._replace(max_norm=0.0)
    loss, _, _, status = _train(network, gradient, samples, samples.size(), GRADIENT, unbound, none)
    if status != "done":
        what = "gradient" if status == "bad_step" else "loss"
        raise FloatingPointError(f"the {what} is not finite with the parameters as they are, in {network.dtype}")
    return loss, gradient


def check_last_step(network: NeuralNetwork, samples: Samples, loss: float, moments: Array, taken: int) -> None:
    """
    Take back the last of the steps, whose loss no next step has shown yet, if that is not finite.

    Parameters
    ----------
    network : NeuralNetwork
        That took the steps.
    samples : Samples
        That it took them on.
    loss : float
        Mean over them, before the steps.
    moments : ndarray
        That it took them with.
    taken : int
        The step's number.

    Raises
    ------
    FloatingPointError
        If it was taken back.
    """
    memory, body = network._memory, network._body
    layers, params = body.layers, body.params
    grows = any(layer.activation == "exp" for layer in layers)  # beyond all numbers from small ones
    squares = memory.params_squared
    # Layers multiply what they are given by the product of their weights' norms at most, which is the largest where
    # their squares are alike, by the inequality of the means. The root of the largest number is left to inputs, loss.
    gain = len(layers) / 2 * math.log(max(squares / len(layers), 1.0))
    steep = gain >= LARGE_GAIN[params.itemsize]
    if squares < params.size + LARGE_SQUARES and loss < LARGE_LOSS and not grows and not steep:
        return  # a look at the loss costs a pass forward
    if not np.isfinite(network._pass(samples, "loss")[0]):
        assert memory.work is not None  # steps have been taken in it
        core.take_back(body.model, params, memory.work)
        memory.lose(moments)
        raise bad_step(network, "bad_loss", taken)


def bad_step(network: NeuralNetwork, status: str, number: int) -> FloatingPointError:
    """
    Say what became of a step.

    Parameters
    ----------
    network : NeuralNetwork
        That took it, or did not.
    status : str
        Of the core's.
    number : int
        The step's.

    Returns
    -------
    FloatingPointError
        To be raised.
    """
    what = {
        "bad_start": "the loss is not a finite {0} with the parameters as they are: no step was taken",
        "bad_loss": "step {1} led to a loss that is not a finite {0}: it was taken back",
        "bad_step": "step {1} would lead to a parameter that is not a finite {0}: it was not taken",
    }[status].format(network.dtype, number)
    return FloatingPointError(f"{what}. A smaller learning rate, or inputs and targets of about 1, may help")
