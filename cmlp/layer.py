"""One dense layer: its parameters and, for those who take steps by hand, its forward and backward pass."""

from __future__ import annotations  # numpy.random takes as long to import as the rest of cmlp

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp import _arrays, _init, _validate, _validate_data
from cmlp._arrays import CHUNK
from cmlp._dispatch import core
from cmlp.activations import activation_backward

Array = NDArray[Any]


# What the network of a layer has built upon.
FIXED = ("input_size", "neurons", "activation", "input_activation", "is_first", "init")


class DenseLayer:
    """
    A layer whose every neuron sees all inputs: ``a = f(weights @ x + biases)``.

    `NeuralNetwork.add_layer` makes layers; one made by itself serves for steps by hand, as in the notebook. Its
    weights, biases and dropout can be assigned; what else it was made with stays.

    Parameters
    ----------
    input_size : int
        Inputs of the layer.
    nr_neurons : int
        Neurons, which is outputs.
    activation : str or callable
        A name of `cmlp.activations.ACTIVATIONS`, such as "relu", or the function of that name in cmlp.
    is_first : bool, default False
        Whether the layer's input is the data, whose gradient nobody needs.
    init : str, optional
        See `NeuralNetwork.add_layer`. Biases begin at 0 except under "uniform".
    dtype : {"float32", "float64"}, default "float32"
        Type of the parameters and of what the layer computes.
    rng : None, int or numpy.random.Generator, optional
        Where the first weights are drawn from.
    input_activation : str or callable, default "relu"
        The activation of the layer before, whose derivative `backprop` multiplies by.
    dropout : float, default 0.0
        Share of the outputs that a network's steps leave out, in [0, 1); steps by hand do not.

    Attributes
    ----------
    input_size, neurons : int
        Sizes.
    activation, input_activation : str
        Names.
    init : str
        Name of the initialiser.
    is_first : bool
        Whether it is the first.

    Raises
    ------
    ValueError, TypeError
        If a size, a name or the type is not one of the above.
    """

    def __init__(
        self,
        input_size: int,
        nr_neurons: int,
        activation: str | Callable[..., Any],
        is_first: bool = False,
        *,
        init: str | None = None,
        dtype: Any = "float32",
        rng: int | np.random.Generator | None = None,
        input_activation: str | Callable[..., Any] = "relu",
        dropout: float = 0.0,
    ) -> None:
        generator = _validate.rng(rng)
        self._prepare(input_size, nr_neurons, activation, is_first, init, dtype, input_activation, dropout)
        self._draw(generator)

    @classmethod
    def _undrawn(cls, *given: Any) -> DenseLayer:
        """A layer of parameters 0, for those who have others."""
        layer = cls.__new__(cls)
        layer._prepare(*given)
        return layer

    def _prepare(
        self,
        input_size: int,
        nr_neurons: int,
        activation: str | Callable[..., Any],
        is_first: bool,
        init: str | None,
        dtype: Any,
        input_activation: str | Callable[..., Any],
        dropout: float,
    ) -> None:
        """Judge and keep the settings, and make room for the parameters."""
        self.input_size = _validate.count(input_size, "input_size")
        self.neurons = _validate.count(nr_neurons, "nr_neurons")
        self.activation = _validate.activation(activation)
        self.input_activation = _validate.activation(input_activation)
        self.dropout = dropout
        self.is_first = bool(is_first)
        self._dtype = _validate.dtype(dtype)
        self.init = _init.default(self.activation) if init is None else _validate.initialiser(init)
        self._rows = self._in(_arrays.zeros(self._room(), self._dtype))

    def __setattr__(self, name: str, value: object) -> None:
        if name in FIXED and name in self.__dict__:
            raise AttributeError(
                f"{name} of a layer cannot be changed, as its network computes with {self.__dict__[name]!r}: "
                "make a network with another layer, and assign the weights and biases that are to be kept"
            )
        super().__setattr__(name, value)

    def _draw(self, rng: np.random.Generator) -> None:
        """Begin with new parameters."""
        weights, biases = _init.INITIALISERS[self.init](self.neurons, self.input_size, rng)
        self._rows[:-1], self._rows[-1:] = weights.T, biases.T  # which need no judging

    def _room(self) -> int:
        """Elements that the layer takes in an array of parameters."""
        return (self.input_size + 1) * _arrays.padded(self.neurons, self._dtype)

    def _in(self, room: Array) -> Array:
        """The parameters in `room`: rows of inputs, and a last row of biases, all padded: what the core calls w."""
        return room.reshape(self.input_size + 1, -1)[:, : self.neurons]

    @property
    def dropout(self) -> float:
        """
        Share of the outputs that a network's steps leave out, which can be assigned.

        Returns
        -------
        float
            In [0, 1); the steps that come follow it.
        """
        return self._dropout

    @dropout.setter
    def dropout(self, value: float) -> None:  # numpydoc ignore=GL08
        self._dropout = _validate.number(value, "dropout", below=1.0)

    @property
    def weights(self) -> Array:
        """
        The weights, which can be assigned.

        Returns
        -------
        ndarray of shape (neurons, input_size), the network's dtype
            A view: what is written into it is what the layer computes with. Assignable as a whole as well.
        """
        return self._rows[:-1].T

    @weights.setter
    def weights(self, value: ArrayLike) -> None:  # numpydoc ignore=GL08
        self.weights[...] = _validate_data.parameters(value, (self.neurons, self.input_size), "weights", self._dtype)

    @property
    def biases(self) -> Array:
        """
        The biases, which can be assigned.

        Returns
        -------
        ndarray of shape (neurons, 1), the network's dtype
            A view, as `weights`.
        """
        return self._rows[-1:].T

    @biases.setter
    def biases(self, value: ArrayLike) -> None:  # numpydoc ignore=GL08
        self.biases[...] = _validate_data.parameters(value, (self.neurons, 1), "biases", self._dtype)

    def _parts(self, *tables: Array) -> Iterator[tuple[Any, ...]]:
        """Of as many samples at a time as are converted at once: which they are, then the tables' rows of them."""
        step = max(1, CHUNK // sum(table.shape[1] for table in tables))
        for first in range(0, len(tables[0]), step):
            yield slice(first, first + step), *(self._as_read(table[first : first + step]) for table in tables)

    def _as_read(self, rows: Array) -> Array:
        """Rows in the layer's type and as the core's product reads them; not copied if they are so."""
        rows = np.require(rows, self._dtype, "A")
        size = self._dtype.itemsize
        return rows if size in rows.strides and not any(stride % size for stride in rows.strides) else rows.copy()

    def _product(self, y: Array, a: Array, b: Array, bias: Array | None = None, accumulate: bool = False) -> None:
        """``y = a @ b + bias``, or ``y += a @ b``."""
        work = _arrays.empty(core.matmul_work(len(b), b.shape[1], np.empty(1, self._dtype)), self._dtype)
        core.matmul(y, a, b, bias, accumulate, work)

    def forward_pass(self, input: ArrayLike) -> tuple[Array, Array]:
        """
        Return what the neurons sum up, and what they make of it.

        Parameters
        ----------
        input : array_like of shape (input_size, m), any number type
            One sample a column.

        Returns
        -------
        z : ndarray of shape (neurons, m), the layer's dtype
            ``weights @ input + biases``.
        a : ndarray of shape (neurons, m), the layer's dtype
            ``f(z)``.

        Raises
        ------
        ValueError, TypeError
            If the input has another shape or holds no numbers.
        """
        given = _validate_data.inputs(input, self.input_size, "input", may_be_sparse=False)
        z = _arrays.rows(len(given), self.neurons, self._dtype)
        for part, x in self._parts(given):
            self._product(z[part], x, self._rows[:-1], self._rows[-1])
        a = z.copy()
        core.activate_rows(a, core.ACTIVATIONS[self.activation])
        return z.T, a.T

    def backprop(
        self, dz: ArrayLike, z_value: ArrayLike, activation: ArrayLike, batch_size: int, learning_rate: float
    ) -> Array | None:
        """
        Take a step of gradient descent, and hand the gradient on to the layer before.

        The gradient that is handed on is taken with the weights from before the step, and with the derivative of the
        activation of the layer before: ``weights.T @ dz * f'(z_value)``.

        Parameters
        ----------
        dz : array_like of shape (neurons, m)
            Gradient of each sample's loss by this layer's z.
        z_value : array_like of shape (input_size, m)
            The z of the layer before; not looked at in the first layer.
        activation : array_like of shape (input_size, m)
            What this layer was given.
        batch_size : int
            Samples that the gradients are averaged over.
        learning_rate : float
            Size of the step.

        Returns
        -------
        ndarray of shape (input_size, m), the layer's dtype, or None
            Gradient of each sample's loss by the z of the layer before; None in the first layer.

        Raises
        ------
        ValueError, TypeError
            If an array has another shape or a number is out of range.
        """
        gradient = _validate_data.inputs(dz, self.neurons, "dz", may_be_sparse=False)
        given = _validate_data.inputs(activation, self.input_size, "activation", may_be_sparse=False)
        _validate_data.same_samples(len(gradient), len(given), "dz", "activation")
        rate = _validate.number(learning_rate, "learning_rate") / _validate.count(batch_size, "batch_size")
        before = None
        if not self.is_first:
            z = _validate_data.inputs(z_value, self.input_size, "z_value", may_be_sparse=False)
            _validate_data.same_samples(len(gradient), len(z), "dz", "z_value")
            handed_on = _arrays.rows(len(gradient), self.input_size, self._dtype)
            for part, of_z in self._parts(gradient):
                self._product(handed_on[part], of_z, self._rows[:-1].T)
            before = activation_backward(self.input_activation, z.T, handed_on.T)
        step = self._dtype.type(rate)
        weights, biases = self.weights, self.biases
        of_weights = _arrays.rows(self.input_size, self.neurons, self._dtype)
        for part, x, of_z in self._parts(given, gradient):
            self._product(of_weights, x.T, of_z, accumulate=part.start > 0)
        weights -= step * of_weights.T
        biases -= step * gradient.sum(axis=0, dtype=self._dtype)[:, np.newaxis]
        return before

    def __getstate__(self) -> dict[str, Any]:
        # The array behind the views belongs to the network; what a copy needs is the numbers.
        return {**self.__dict__, "_rows": np.ascontiguousarray(self._rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        rows = self._in(_arrays.zeros(self._room(), self._dtype))
        rows[...] = self._rows
        self._rows = rows

    def __repr__(self) -> str:
        return f"DenseLayer({self.input_size}, {self.neurons}, {self.activation!r})"
