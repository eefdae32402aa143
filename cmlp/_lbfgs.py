"""Training on all samples at once by L-BFGS: SciPy finds the way, the compiled core the loss and its gradient."""

from __future__ import annotations  # the network's module is above this one

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmlp import _validate, training
from cmlp.history import History
from cmlp.optimizers import LBFGS
from cmlp.training import PLAIN, Samples, Shaping

if TYPE_CHECKING:
    from cmlp.network import NeuralNetwork

Array = NDArray[Any]

# Passes in search of a step, as SciPy has it: what bounds them all has to be out of the iterations' way.
PASSES = 20


def minimise(
    network: NeuralNetwork,
    samples: Samples,
    lbfgs: LBFGS,
    shaping: Shaping = PLAIN,
    epochs: int = 10,
    watch: Callable[[dict[str, float]], None] = lambda _: None,
) -> History:
    """
    Move the parameters to where the loss has a minimum.

    Positions and directions are in float64, the loss and its gradient are computed in the network's type: one of
    float32 stops where its loss has no digits left to fall by.

    Parameters
    ----------
    network : NeuralNetwork
        Whose parameters move; no layer has dropout.
    samples : Samples
        All of them in one batch.
    lbfgs : LBFGS
        When to stop, and how much to remember.
    shaping : Shaping
        An l2 penalty, if one is wanted.
    epochs : int
        Iterations at most, if `lbfgs` does not say.
    watch : callable
        Called with the numbers of each iteration, while the network is there.

    Returns
    -------
    History
        "loss", with the penalty, after each iteration, and "seconds" for it; if the first finds no way down, the loss
        of before. What SciPy says of the end, if it came before the last iteration.

    Raises
    ------
    ValueError
        If there is dropout or another shaping than l2, or X holds NaN or infinity; nothing has changed then.
    FloatingPointError
        If the loss or its gradient is not finite on the way. The parameters are those after the last iteration, as they
        are if another exception ends the training.
    ImportError
        If SciPy is not installed.
    RuntimeError
        If another thread is training this network.
    """
    iterations = lbfgs.max_iter or epochs
    options = {
        "maxiter": iterations,
        "maxfun": PASSES * iterations + 1,
        "maxls": PASSES,
        "maxcor": lbfgs.history_size,
        "gtol": lbfgs.tolerance,
        "ftol": 0.0,  # falls by less than the loss's last digit end it
    }
    _scipy()  # whose import is no part of the first iteration
    history, start = History(), time.perf_counter()

    def add(loss: float) -> None:
        nonlocal start
        begin, start = start, time.perf_counter()
        figures = {"loss": loss, "seconds": start - begin}
        history.add(figures)
        watch(figures)

    result, losses = search(network, samples, shaping, options, watch=add)
    if not losses:
        add(float(result.fun))
    if len(losses) < iterations:
        history.stopped = f"L-BFGS ended: {result.message}"
    return history


def search(
    network: NeuralNetwork,
    samples: Samples,
    shaping: Shaping,
    options: dict[str, Any],
    scale: float = 1.0,
    watch: Callable[[float], None] = lambda _: None,
) -> tuple[Any, list[float]]:
    """
    Do what `minimise` does, as SciPy's options have it.

    Parameters
    ----------
    network : NeuralNetwork
        Whose parameters move.
    samples : Samples
        All of them.
    shaping : Shaping
        An l2 penalty.
    options : dict
        Of SciPy's method "L-BFGS-B".
    scale : float
        What SciPy is shown the loss times, on which some of its options depend.
    watch : callable
        Called with the loss after each iteration, while the network is there.

    Returns
    -------
    result : scipy.optimize.OptimizeResult
        What SciPy says of the way.
    losses : list of float
        The loss, with the penalty, after each iteration, as SciPy was shown it.

    Raises
    ------
    ValueError, FloatingPointError, ImportError, RuntimeError
        As `minimise` does.
    """
    _validate.smooth([layer.dropout for layer in network.layers], shaping._asdict(), network.loss)
    params, minimize = network._params, _scipy().minimize
    losses: list[float] = []

    def objective(position: Array) -> tuple[float, Array]:
        with np.errstate(over="ignore"):  # an infinite parameter shows in the loss
            params[:] = position
        loss, gradient = training.loss_and_gradient(network, samples, shaping)
        return loss * scale, gradient * np.float64(scale)

    def keep(intermediate_result: Any) -> None:
        params[:] = reached[:] = intermediate_result.x
        losses.append(float(intermediate_result.fun))
        watch(losses[-1])

    with network._memory.owner:
        reached = params.copy()
        try:
            # What pads the parameters is among them: it is 0, as is its gradient, and stays so.
            result = minimize(
                objective, params.astype(np.float64), method="L-BFGS-B", jac=True, callback=keep, options=options
            )
        finally:
            params[:] = reached
            if losses:  # what another optimizer knew of the way here is of no use elsewhere
                network._memory.forget()
    return result, losses


def _scipy() -> Any:
    """Return what SciPy optimises with."""
    try:
        import scipy.optimize
    except ImportError as error:
        raise ImportError('L-BFGS needs SciPy: pip install "cmlp[lbfgs]"') from error
    return scipy.optimize
