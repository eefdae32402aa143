"""The course of a training by scikit-learn's rules: an epoch's figures come in, and say how the next one goes."""

import copy
import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring

from cmlp.callbacks import Callback
from cmlp.optimizers import SGD, Lion, Optimizer, RMSprop
from cmlp.training import Memory, Samples

Array = NDArray[Any]

# From here on an adaptive learning rate is not divided any more.
LEAST_RATE = 1e-6

# The least that cmlp's optimizers take; scikit-learn's take any number above 0.
LEAST_EPSILON = 1e-16


class Held(NamedTuple):
    """Samples to validate with: y as the user knows it, and as the network does."""

    rows: Array
    y: Array
    targets: Array
    weights: Array | None


class Course(Callback):
    """What scikit-learn does after an epoch: keeps its figures, changes the learning rate, says when it is enough."""

    def __init__(self, estimator: Any, held: Held | None, samples: int) -> None:
        self.estimator, self.held, self.samples = estimator, held, samples
        self.best: Array | None = None
        self.finished = False
        if held is not None and estimator.monitor != "loss":
            self.scorer = check_scoring(estimator, scoring=estimator.monitor)
            self.weighs = _takes_weights(self.scorer)

    def on_train_begin(self, run: Any) -> None:
        """Keep what will be put back if nothing gets better, and see to what is judged."""
        self.judged = copy.copy(self.estimator)
        vars(self.judged).pop("feature_names_in_", None)  # the rows have lost theirs
        if self.estimator.early_stopping:
            self.best = run.network._params.copy()

    def on_epoch_end(self, run: Any) -> None:
        """Do all of it."""
        estimator, scale = self.estimator, self.estimator._scale()
        estimator.n_iter_ += 1
        estimator.t_ += self.samples
        estimator.loss_ = run.figures["loss"] * scale
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self.held is not None:
            estimator.validation_loss_curve_.append(run.figures["val_loss"] * scale)
            estimator.validation_scores_.append(self._score(self.held, run.figures))
            if estimator.verbose:
                print(f"Validation score: {estimator.validation_scores_[-1]:f}")
        self._compare(run)
        self._go_on(run)

    def on_train_end(self, run: Any) -> None:
        """Put the best parameters back, if some score was one, and be done with the samples."""
        if self.best is not None and self.estimator.best_validation_score_ > -math.inf:
            run.network._params[:] = self.best

    def _score(self, held: Held, figures: dict[str, float]) -> float:
        """How good the network is with the samples held out: more is better."""
        if self.estimator.monitor == "loss":
            return -float(self.estimator.validation_loss_curve_[-1])
        if self.estimator.monitor is None and self.estimator._accuracy_is_score():
            return figures["val_accuracy"]
        if not math.isfinite(figures["val_loss"]):  # nor may the outputs be, which scorers refuse
            return math.nan
        weights = {"sample_weight": held.weights} if held.weights is not None and self.weighs else {}
        return float(self.scorer(self.judged, held.rows, held.y, **weights))

    def _compare(self, run: Any) -> None:
        """Count the epochs that are no better than the best before them."""
        estimator = self.estimator
        if self.best is None:
            now, before = -estimator.loss_, -estimator.best_loss_
            estimator.best_loss_ = min(estimator.loss_, estimator.best_loss_)
        else:
            now, before = estimator.validation_scores_[-1], estimator.best_validation_score_
            if now > before:
                estimator.best_validation_score_ = now
                self.best[:] = run.network._params
        better = now >= before + estimator.tol  # which NaN is not
        estimator._no_improvement_count = 0 if better else estimator._no_improvement_count + 1

    def _go_on(self, run: Any) -> None:
        """Train on, perhaps with another learning rate, or stop."""
        estimator = self.estimator
        if estimator._schedule() == "invscaling":
            self._set_rate(run, estimator._rule().learning_rate / (estimator.t_ + 1) ** estimator.power_t)
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return
        what = "loss" if self.best is None else "validation score"
        text = f"The {what} got better by less than {estimator.tol:g} for {estimator.n_iter_no_change} epochs:"
        if estimator._schedule() == "adaptive" and estimator._rate > LEAST_RATE:
            estimator._no_improvement_count = 0
            self._set_rate(run, estimator._rate / 5)
            text = f"{text} the learning rate is {estimator._rate:g} now."
        else:
            self.finished = True
            text = f"{text} training ends."
            run.stop(text)
        if estimator.verbose:
            print(text)

    def _set_rate(self, run: Any, rate: float) -> None:
        """Go on with this rate."""
        estimator = self.estimator
        rule = replace(run.optimizer, learning_rate=run.learning_rate * (rate / estimator._rate))
        estimator._rate = rate
        keep_velocities(run.network._memory, rule)
        run.optimizer = rule


def _takes_weights(scorer: Any) -> bool:
    """Whether a scorer, or a function that stands for one, can be told what samples weigh."""
    if hasattr(scorer, "_accept_sample_weight"):
        return bool(scorer._accept_sample_weight())
    parameters = inspect.signature(scorer).parameters
    return "sample_weight" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def keep_velocities(memory: Memory, rule: Optimizer) -> None:
    """Let momentum go on by steps as long as before: in scikit-learn velocities are steps, in cmlp gradients."""
    before, moments = memory.optimizer, memory.moments
    if moments is None or not isinstance(before, SGD) or not isinstance(rule, SGD):
        return
    if before.learning_rate != rule.learning_rate:
        moments *= before.learning_rate / rule.learning_rate
        memory.follow(rule)


def of_sum(rule: Optimizer, outputs: int) -> Optimizer:
    """The optimizer whose steps by the gradient of a mean over outputs are those of `rule` by that of their sum."""
    if isinstance(rule, SGD):
        return replace(rule, learning_rate=rule.learning_rate * outputs, weight_decay=rule.weight_decay / outputs)
    if isinstance(rule, Lion):
        return rule
    rule = replace(rule, epsilon=max(rule.epsilon / outputs, LEAST_EPSILON))
    return replace(rule, weight_decay=rule.weight_decay / outputs) if isinstance(rule, RMSprop) else rule


def orders(samples: Samples, random: np.random.RandomState | None) -> Iterator[Samples]:
    """The samples again and again, each time in a new order, which scikit-learn draws from the one before."""
    if random is None:
        yield from repeat(samples)
        return
    order = np.arange(len(samples.rows), dtype=np.intp) if samples.order is None else samples.order
    while True:
        order = order[random.permutation(len(order))]  # what scikit-learn's shuffle does, and in a tenth of its time
        yield samples._replace(order=order)
