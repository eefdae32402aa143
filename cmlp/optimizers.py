"""The rules that `fit` follows down the gradient: their settings. The steps are taken in the compiled core."""

from dataclasses import dataclass
from typing import Any

from cmlp import _validate
from cmlp._dispatch import core

# As the core takes them: kind, learning rate, momentum or beta1, beta2, epsilon, weight decay, Nesterov, epsilon_hat.
Rule = tuple[int, float, float, float, float, float, bool, bool]


@dataclass(frozen=True)
class SGD:
    """
    Stochastic gradient descent, with momentum if wanted.

    ``v = momentum * v + g`` and ``p = p - learning_rate * v``, where g is the gradient of a mini-batch's mean
    loss; with Nesterov's momentum, ``p = p - learning_rate * (g + momentum * v)``.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Size of a step, in units of the gradient; more than 0.
    momentum : float, default 0.0
        Share of the last step's direction that is kept, in [0, 1).
    nesterov : bool, default False
        Look ahead by the momentum before taking the step [1]_.
    weight_decay : float, default 0.0
        Adds ``weight_decay * p`` to the gradient of every parameter, biases too.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", 2013.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _validate.settings(self)

    def rule(self) -> Rule:
        """
        Return the settings as the compiled core takes them.

        Returns
        -------
        tuple
            See `Rule`.
        """
        kind, decay = core.OPTIMIZERS["sgd"], self.weight_decay
        return kind, self.learning_rate, self.momentum, 0.0, 0.0, decay, self.nesterov, False


@dataclass(frozen=True)
class Adam:
    """
    Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    learning_rate : float, default 0.001
        Size of a step, in units of the parameters; more than 0.
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of its square, in [0, 1).
    epsilon : float, default 1e-08
        Added to the root of that mean; at least 1e-16.
    epsilon_hat : bool, default False
        Add epsilon before the mean's bias is corrected, as scikit-learn does and [1]_ remarks at the end of section 2.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    .. [1] Kingma, Ba, "Adam: A method for stochastic optimization", 2015, Algorithm 1.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False

    def __post_init__(self) -> None:
        _validate.settings(self)

    def rule(self) -> Rule:
        """
        Return the settings as the compiled core takes them.

        Returns
        -------
        tuple
            See `Rule`.
        """
        return self._with_decay(0.0)

    def _with_decay(self, decay: float) -> Rule:
        kind = core.OPTIMIZERS["adam"]
        return kind, self.learning_rate, self.beta1, self.beta2, self.epsilon, decay, False, self.epsilon_hat


@dataclass(frozen=True)
class AdamW(Adam):
    """
    Adam with weight decay apart from the gradient.

    Parameters
    ----------
    learning_rate : float, default 0.001
        Size of a step, in units of the parameters; more than 0.
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of its square, in [0, 1).
    epsilon : float, default 1e-08
        Added to the root of that mean; at least 1e-16.
    epsilon_hat : bool, default False
        Add epsilon before the mean's bias is corrected, as scikit-learn does.
    weight_decay : float, default 0.01
        Before each step every parameter, biases too, is multiplied by ``1 - learning_rate * weight_decay``.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    .. [1] Loshchilov, Hutter, "Decoupled weight decay regularization", 2019, Algorithm 2.
    """

    weight_decay: float = 0.01

    def rule(self) -> Rule:
        """
        Return the settings as the compiled core takes them.

        Returns
        -------
        tuple
            See `Rule`.
        """
        return self._with_decay(self.weight_decay)


@dataclass(frozen=True)
class RMSprop:
    """
    Steps scaled by a running mean of the gradient's square.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Size of a step, in units of the parameters; more than 0.
    beta2 : float, default 0.99
        Decay of the mean, in [0, 1); PyTorch's alpha, Keras's rho.
    epsilon : float, default 1e-08
        Added to the root of that mean; at least 1e-16.
    weight_decay : float, default 0.0
        Adds ``weight_decay * p`` to the gradient of every parameter, biases too.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    .. [1] Tieleman, Hinton, "Lecture 6.5 - rmsprop", COURSERA: Neural Networks for Machine Learning, 2012.
    """

    learning_rate: float = 0.01
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _validate.settings(self)

    def rule(self) -> Rule:
        """
        Return the settings as the compiled core takes them.

        Returns
        -------
        tuple
            See `Rule`.
        """
        kind = core.OPTIMIZERS["rmsprop"]
        return kind, self.learning_rate, 0.0, self.beta2, self.epsilon, self.weight_decay, False, False


@dataclass(frozen=True)
class Lion:
    """
    Steps of one size, by the sign of a running mean of the gradient.

    Parameters
    ----------
    learning_rate : float, default 0.0001
        Size of a step, in units of the parameters; more than 0.
    beta1 : float, default 0.9
        Share of the mean in the direction whose sign is taken, in [0, 1).
    beta2 : float, default 0.99
        Decay of the mean, in [0, 1).
    weight_decay : float, default 0.0
        Before each step every parameter, biases too, is multiplied by ``1 - learning_rate * weight_decay``.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    .. [1] Chen et al., "Symbolic discovery of optimization algorithms", 2023, Algorithm 2.
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _validate.settings(self)

    def rule(self) -> Rule:
        """
        Return the settings as the compiled core takes them.

        Returns
        -------
        tuple
            See `Rule`.
        """
        kind = core.OPTIMIZERS["lion"]
        return kind, self.learning_rate, self.beta1, self.beta2, 0.0, self.weight_decay, False, False


@dataclass(frozen=True)
class LBFGS:
    """
    Limited-memory BFGS [1]_: steps on all samples together, of a length that is searched for along each direction.

    It is for small data and networks without dropout, where it finds a minimum to many digits. It needs SciPy.

    Parameters
    ----------
    max_iter : int, optional
        Iterations at most, each of one pass over the samples or a few; by default the epochs that are asked for.
    tolerance : float, default 1e-05
        Where no number of the gradient is larger, it ends.
    history_size : int, default 10
        Steps that tell the loss's curvature.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range.

    References
    ----------
    .. [1] Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """

    max_iter: int | None = None
    tolerance: float = 1e-5
    history_size: int = 10

    def __post_init__(self) -> None:
        _validate.settings(self)


Optimizer = SGD | Adam | RMSprop | Lion
OPTIMIZERS: dict[str, type[Any]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "lion": Lion}
