"""The activations, in place on rows, against those of cmlp.reference, which take columns."""

import numpy as np
import pytest

from cmlp import _dispatch, reference

# At and beyond the ends of what exp can represent: e^88 and e^-104 in float32, e^710 and e^-745 in float64.
EDGES = [sign * size for size in (0.0, 1e-30, 1.0, 88.0, 104.0, 710.0, 745.0, 1e4) for sign in (1, -1)]

# Units in the last place of the result. Copies and products with constants err by half a unit each; exp by 1, tanh by
# 1, expm1 by 2, be they the core's own or the C library's (glibc promises 1 or 2); a sum and a quotient add half a unit
# each; and eps is up to 2 units.
UNITS = {
    "identity": 0,
    "relu": 0,
    "leaky_relu": 1,
    "elu": 4,
    "selu": 6,
    "gelu": 8,
    "gelu_tanh": 8,
    "silu": 6,
    "mish": 8,
    "softplus": 4,
    "hard_swish": 4,
    "tanh": 4,
    "sigmoid": 4,
    "exp": 2,
}

# The argument of an exponential, where it is large: half a unit of its own is as many units of the value.
ARGUMENT = {
    "gelu": lambda z: z**2,
    "gelu_tanh": lambda z: np.abs(1.6 * z) + 0.072 * np.abs(z) ** 3,
}

CANARY = -12345.0

every_activation = pytest.mark.parametrize("activation", _dispatch.core.ACTIVATIONS)


def test_every_activation_has_a_reference(core):
    assert set(core.ACTIVATIONS) == set(reference.ACTIVATIONS) == {*UNITS, "softmax"}


def activate(core, z, activation):
    """Return f(z), and see to it that nothing beside its rows is written."""
    whole = np.full((len(z) + 2, z.shape[1]), CANARY, z.dtype)
    whole[1:-1] = z
    core.activate_rows(whole[1:-1], core.ACTIVATIONS[activation])
    assert np.all(whole[[0, -1]] == CANARY)
    return whole[1:-1]


def bound(z, exact, activation, dtype):
    """Return the largest error that roundings explain, in the oracle too if it is no wider than the kernel.

    Softmax: the difference d to the largest z errs by |d| eps / 2; its exp, relative to itself, by |d| eps / 2 + eps;
    the sum of n of these by (n + log n) eps / 2 + eps, as a term weighs the less the larger its d; the quotient by
    eps / 2.
    """
    eps = np.finfo(dtype).eps
    if activation == "softmax":
        errors = eps * (np.abs(z - z.max(axis=1, keepdims=True)) + z.shape[1] + 3) * exact
        errors += np.finfo(dtype).smallest_subnormal
    else:
        units = UNITS[activation] + 4 * ARGUMENT.get(activation, np.zeros_like)(z)
        with np.errstate(over="ignore", invalid="ignore"):
            errors = units * np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
        # z times a number that is too small to be a normal one, or 0 in its place.
        errors += np.abs(np.where(exact < 0, z, 0)) * np.finfo(dtype).smallest_subnormal * 2
    return errors * (1 if np.finfo(exact.dtype).eps < eps else 2)


def check(y, z, activation):
    """Compare y with the reference's f(z)."""
    z, dtype = z.astype(np.longdouble), y.dtype
    exact = reference.ACTIVATIONS[activation](z.T).T
    exact[exact > np.finfo(dtype).max] = np.inf
    with np.errstate(invalid="ignore"):  # infinity less itself
        right = (y == exact) | (np.abs(y - exact) <= bound(z, exact, activation, dtype))
    assert np.all(right), f"f({z[~right]}) = {y[~right]}, expected {exact[~right]}"


@every_activation
@pytest.mark.parametrize("n", [1, 3, 10, 16, 37])
def test_values_and_range(core, dtype, rng, activation, n):
    signs = rng.choice([-1, 1], (300, n))
    z = np.concatenate(
        [
            signs * 10 ** rng.uniform(-30, 4, (300, n)),
            rng.normal(scale=20, size=(300, n)),
            rng.normal(size=(300, n)),
            np.resize(EDGES, (len(EDGES), n)),
        ]
    ).astype(dtype)
    y = activate(core, z, activation)
    assert not np.any(np.isnan(y))
    assert np.all(np.isfinite(y)) or activation == "exp"
    check(y, z, activation)


@every_activation
def test_infinity_gives_the_limit(core, dtype, rng, activation):
    z = rng.normal(size=(6, 5)).astype(dtype)
    z[1, 3] = z[2, 0] = z[3, 1:] = -np.inf
    if activation != "softmax":  # which has no limit there
        z[4, 2] = z[5, 4] = np.inf
    y = activate(core, z, activation)
    assert not np.any(np.isnan(y))
    check(y, z, activation)


@every_activation
def test_nan_stays_where_it_is(core, dtype, rng, activation):
    z = rng.normal(size=(9, 21)).astype(dtype)
    clean = activate(core, z, activation)
    for place in ((0, 0), (4, 7), (8, 20)):
        dirty = z.copy()
        dirty[place] = np.nan
        y = activate(core, dirty, activation)
        reached = place[0] if activation == "softmax" else place
        assert np.all(np.isnan(y[reached]))
        y[reached] = clean[reached]
        assert y.tobytes() == clean.tobytes()


@every_activation
def test_same_bits_in_any_rows(core, dtype, rng, activation):
    """No value may depend on where it lies, such as in a vector or in the rest behind the last."""
    z = rng.normal(scale=5, size=(40, 37)).astype(dtype)
    y = activate(core, z, activation)
    if activation != "softmax":
        z, y = z.reshape(-1, 1), y.reshape(-1, 1)
    for row, expected in zip(z, y, strict=True):
        assert activate(core, row[np.newaxis], activation).tobytes() == expected.tobytes(), row


@every_activation
def test_same_bits_from_every_build_with_fused_multiply_add(fused_cores, dtype, rng, activation):
    z = rng.normal(scale=20, size=(100, 37)).astype(dtype)
    first, *others = [activate(core, z, activation) for core in fused_cores]
    assert all(other.tobytes() == first.tobytes() for other in others)


@every_activation
@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_nothing_to_do(core, dtype, activation, shape):
    core.activate_rows(np.empty(shape, dtype), core.ACTIVATIONS[activation])


def logarithm(core, x):
    y = x.ravel().copy()
    core.logarithms(y)
    return y


# The functions that the others are made of: how the core computes them, and how NumPy does, which in a wider type errs
# by no more than a hair of a unit in the last place; and by how many units they may err in float32 and float64.
ELEMENTARY = {
    "exp": (lambda core, x: activate(core, x, "exp").ravel(), np.exp, 2, 2),
    "tanh": (lambda core, x: activate(core, x, "tanh").ravel(), np.tanh, 2, 2),
    "sigmoid": (lambda core, x: activate(core, x, "sigmoid").ravel(), lambda x: 1 / (1 + np.exp(-x)), 2, 3),
    "log": (logarithm, np.log, 2, 2),
}


def worst_error(core, x, function, wide):
    """The largest error at x, in units in the last place; the special values have to be right."""
    ours, exact, *_ = ELEMENTARY[function]
    y = ours(core, x.reshape(-1, 1))
    with np.errstate(all="ignore"):
        right = exact(x.astype(wide))
        rounded = right.astype(x.dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(x.dtype).max)).astype(wide)
        error = np.abs(y - right) / unit
    special = ~np.isfinite(rounded) | (x == 0)
    assert np.array_equal(y[special], rounded[special], equal_nan=True)
    assert np.array_equal(np.signbit(y[x == 0]), np.signbit(rounded[x == 0]))
    error[special] = 0
    assert not np.isnan(y[~special]).any()
    return error.max()


@pytest.mark.parametrize("function", ELEMENTARY)
def test_elementary_functions_err_by_two_units_at_most(core, rng, function):
    x = rng.integers(0, 2**32, 1 << 19, np.uint32).view(np.float32)
    x[:4] = 0.0, -0.0, np.inf, -np.inf
    assert worst_error(core, x, function, np.float64) <= ELEMENTARY[function][2]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="no type wider than double to compare with")
@pytest.mark.parametrize("function", ELEMENTARY)
def test_elementary_functions_of_doubles_err_by_little_more(core, rng, keep, function):
    bits = rng.integers(0, 2**64, 1 << 17, np.uint64).view(np.float64)  # of any size, and then of sizes that matter
    x = np.concatenate([[0.0, -0.0], bits, rng.normal(scale=3, size=1 << 17), rng.uniform(-750, 750, 1 << 15)])
    worst = worst_error(core, x, function, np.longdouble)
    keep(f"{function} of doubles: units in the last place", worst)
    assert worst <= ELEMENTARY[function][3]


@pytest.mark.slow
@pytest.mark.parametrize("function", ELEMENTARY)
def test_elementary_functions_err_by_two_units_at_most_over_all_floats(core, keep, function):
    worst = 0.0
    for first in range(0, 2**32, 1 << 22):
        x = np.arange(first, first + (1 << 22)).astype(np.uint32).view(np.float32)
        worst = max(worst, worst_error(core, x, function, np.float64))
    keep(f"{function} of all 2^32 floats: units in the last place", worst)
    assert worst <= ELEMENTARY[function][2]
