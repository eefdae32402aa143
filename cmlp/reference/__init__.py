"""Backpropagation in plain NumPy, to be read beside its derivation.

Nothing here is compiled or fast: it says what the kernels of cmlp have to compute, and their tests compare
with it.

Letters: m samples; k inputs and n outputs of a layer; L the loss, a mean over the samples; f an activation;
x (k, m) the data, one sample per column; W (n, k) weights; b (n, 1) biases; z and a (n, m) a layer's values
before and after its activation; y (n, m) targets. A ``d`` before a letter means the derivative of the loss by
it, in its shape. Each column of dz and da belongs to one sample and is the derivative of that sample's own
loss; the mean over the samples enters with dW and db.

Forward, for the layers l = 1, 2, ... from a_0 = x::

    z_l = W_l a_(l-1) + b_l
    a_l = f_l(z_l)

Backward starts at the last layer, with dz = a - y if that is a softmax under cross-entropy
(``output_gradient`` has the other pairs), and finds each layer's dz from the one above it by the chain rule::

    dW_l     = dz_l a_(l-1)^T / m
    db_l     = mean of dz_l over the samples
    da_(l-1) = W_l^T dz_l
    dz_(l-1) = da_(l-1) * f'_(l-1)(z_(l-1))

Every W in these lines is the one that the forward pass used: first all gradients are taken, then all
parameters move. Each output of a softmax depends on all its inputs, so there the last line has the softmax's
Jacobian in place of f': dz = a * (da - sum(a * da)), the sum being over the outputs. Where samples have weights,
each mean over the samples is a weighted one.
"""

from cmlp.activations import (
    ACTIVATIONS,
    activation_backward,
    elu,
    elu_deriv,
    exp,
    exp_deriv,
    gelu,
    gelu_deriv,
    gelu_tanh,
    gelu_tanh_deriv,
    hard_swish,
    hard_swish_deriv,
    identity,
    identity_deriv,
    leaky_relu,
    leaky_relu_deriv,
    mish,
    mish_deriv,
    reLU,
    relu,
    reLU_deriv,
    relu_deriv,
    selu,
    selu_deriv,
    sigmoid,
    sigmoid_deriv,
    silu,
    silu_deriv,
    softmax,
    softplus,
    softplus_deriv,
    tanh,
    tanh_deriv,
)
from cmlp.losses import (
    LOSSES,
    PAIRS,
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_deriv,
    derivatives,
    get_accuracy,
    get_predictions,
    given_gradient,
    huber,
    loss_value,
    mean_absolute_error,
    mean_squared_error,
    one_hot,
    output_gradient,
    poisson,
    quantile_loss,
)
from cmlp.reference.network import Network
from cmlp.reference.one_hidden_layer import backward_prop, forward_prop, grad_descent, init_params, update_params
from cmlp.reference.optimizers import OPTIMIZERS, adam, adamw, lion, rmsprop, sgd

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "Network",
    "OPTIMIZERS",
    "PAIRS",
    "activation_backward",
    "adam",
    "adamw",
    "backward_prop",
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_deriv",
    "derivatives",
    "elu",
    "elu_deriv",
    "exp",
    "exp_deriv",
    "forward_prop",
    "gelu",
    "gelu_deriv",
    "gelu_tanh",
    "gelu_tanh_deriv",
    "get_accuracy",
    "get_predictions",
    "given_gradient",
    "grad_descent",
    "hard_swish",
    "hard_swish_deriv",
    "huber",
    "identity",
    "identity_deriv",
    "init_params",
    "leaky_relu",
    "leaky_relu_deriv",
    "lion",
    "loss_value",
    "mean_absolute_error",
    "mean_squared_error",
    "mish",
    "mish_deriv",
    "one_hot",
    "output_gradient",
    "poisson",
    "quantile_loss",
    "reLU",
    "reLU_deriv",
    "relu",
    "relu_deriv",
    "rmsprop",
    "selu",
    "selu_deriv",
    "sgd",
    "sigmoid",
    "sigmoid_deriv",
    "silu",
    "silu_deriv",
    "softmax",
    "softplus",
    "softplus_deriv",
    "tanh",
    "tanh_deriv",
    "update_params",
]
