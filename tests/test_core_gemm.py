"""The product y := c + a @ b in the three forms of training, against sums of integers, which are exact.

Letters as in gemm.pyx: m rows, n columns, k the summed index; a (m, k), b (k, n), y (m, n).
"""

import itertools

import numpy as np
import pytest

FORWARD, BACKWARD, GRADIENT = FORMS = ("x @ w + b", "dz @ w.T", "dw + x.T @ dz")
BITS = {4: 24, 8: 26}  # of the integers that stand for numbers, by itemsize: 784 products and c still fit in an int64
BEYOND_BLOCKS = (301, 600, 150)  # more rows, depth and columns than gemm.pyx takes at once
CANARY = -12345.0


def tile(core, dtype):
    return core.tile_shape(np.empty(1, dtype))


def beyond_tiles(core, dtype):
    """A shape that ends inside a tile, inside a vector and inside a block of k."""
    rows, columns, depth = tile(core, dtype)
    return 2 * rows + 3, depth + 44, 3 * columns + 5


def shapes(core, dtype):
    rows, columns, depth = tile(core, dtype)
    table = itertools.product(
        sorted({0, 1, rows - 1, rows, rows + 1, 2 * rows + 3}),
        sorted({0, 1, 7, depth - 1, depth, depth + 1, 784}),
        sorted({1, columns - 1, columns, columns + 1, 3 * columns + 5} - {0}),
    )
    every_height = ((m, depth + 1, n) for m in range(3 * rows) for n in (columns + 1, 3 * columns))
    return *table, *every_height, BEYOND_BLOCKS


def operands(form, shape, draw):
    """Return a, b and c as the form has them, each drawn by its shape; c is None if the sum starts from 0."""
    m, k, n = shape
    a = draw((k, m)).T if form == GRADIENT else draw((m, k))
    b = draw((n, k)).T if form == BACKWARD else draw((k, n))
    return a, b, {FORWARD: draw(n), BACKWARD: None, GRADIENT: draw((m, n))}[form]


def normal(rng, dtype):
    return lambda shape: rng.normal(size=shape).astype(dtype)


def integers(rng, dtype):
    largest = 2 ** BITS[dtype.itemsize]
    return lambda shape: rng.integers(-largest, largest, shape, endpoint=True)


def framed(core, m, n, dtype):
    """Return an array of CANARY and, within, room for y: rows that begin on no cache line and do not touch."""
    padded = core.padded_columns(n, np.empty(1, dtype))
    whole = np.full((m + 2, padded + 4), CANARY, dtype)
    return whole, whole[1 : m + 1, 1 : padded + 1]


def multiply(core, a, b, c=None):
    """Return c + a @ b: c is None, a bias (n,), or y's values before (m, n).

    The core writes padded_columns of each row of y and no other element. What it writes beyond n is 0, or what was
    there if it adds to y, as long as a is finite; it never depends on garbage that was there, nor on what work held.
    """
    m, n = a.shape[0], b.shape[1]
    accumulate = c is not None and c.ndim == 2
    whole, room = framed(core, m, n, a.dtype)
    room[:] = CANARY if accumulate else np.nan
    y = room[:, :n]
    if accumulate:
        y[:] = c
    size = core.matmul_work(a.shape[1], n, np.empty(1, a.dtype))
    work = np.full(size + 16, np.nan, a.dtype)
    work[size:] = CANARY
    core.matmul(y, a, b, None if accumulate else c, accumulate, work[:size])
    assert np.all(work[size:] == CANARY), f"written behind work, {a.shape} @ {b.shape}"
    padding = room[np.isfinite(a).all(axis=1), n:]
    assert np.all(padding == (CANARY if accumulate else 0)), f"padding of y, {a.shape} @ {b.shape}"
    result = y.copy()
    room[:] = CANARY
    assert np.all(whole == CANARY), f"written outside of y, {a.shape} @ {b.shape}"
    return result


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- Values ----


@pytest.mark.parametrize("form", FORMS)
def test_error_is_within_the_bound_of_its_roundings(core, dtype, rng, form):
    """|y - exact| <= gamma_(k+2) (|a| @ |b| + |c|), gamma_k = k u / (1 - k u): Higham, 2002, section 3.1."""
    for shape in shapes(core, dtype):
        a, b, c = operands(form, shape, integers(rng, dtype))
        y = multiply(core, *(None if part is None else part.astype(dtype) for part in (a, b, c)))
        c = np.zeros(shape[2], np.int64) if c is None else c
        roundings = (shape[1] + 2) * np.finfo(dtype).eps / 2
        bound = roundings / (1 - roundings) * (np.abs(a).astype(float) @ np.abs(b).astype(float) + np.abs(c))
        assert np.all(np.abs(y.astype(np.int64) - (a @ b + c)) <= bound), f"m, k, n = {shape}"


def test_nan_and_infinity_reach_their_own_outputs_only(core, dtype, rng):
    m, k, n = shape = beyond_tiles(core, dtype)
    rows, columns, depth = tile(core, dtype)
    x, w, b = operands(FORWARD, shape, normal(rng, dtype))
    w[:, 1] = 0  # 0 times infinity is NaN
    clean = multiply(core, x, w, b)
    spots = itertools.product((0, rows, m - 1), (0, depth - 1, depth, k - 1), (0, columns, n - 1))
    for value, (i, p, j) in itertools.product((np.nan, np.inf, -np.inf), spots):
        with np.errstate(invalid="ignore"):
            for array, place, outputs, expected in (
                (x, (i, p), (i, slice(None)), value * w[p]),
                (w, (p, j), (slice(None), j), value * x[:, p]),
                (b, j, (slice(None), j), value),
            ):
                before, array[place] = array[place], value
                y = multiply(core, x, w, b)
                array[place] = before
                name = f"{value} at {place} of an array {array.shape}, {m, k, n}"
                np.testing.assert_array_equal(y[outputs], np.broadcast_to(expected, y[outputs].shape), name)
                y[outputs] = clean[outputs]
                assert same_bits(y, clean), name


# ---- Bits: they depend on the row and the column alone ----


@pytest.mark.parametrize("form", FORMS)
def test_any_part_of_a_product_has_the_same_bits(core, dtype, rng, form):
    shape = m, _, n = BEYOND_BLOCKS
    a, b, c = operands(form, shape, normal(rng, dtype))
    whole = multiply(core, a, b, c)

    def part(rows, columns):
        start = c if c is None else c[columns] if c.ndim == 1 else c[rows, columns]
        assert same_bits(multiply(core, a[rows], b[:, columns], start), whole[rows, columns]), (rows, columns)

    everything = slice(None)
    for i in range(m):
        part(slice(i, i + 1), everything)
    for j in range(n):
        part(everything, slice(j, j + 1))
    for _ in range(20):
        top, bottom = sorted(rng.integers(0, m, 2, endpoint=True))
        left, right = sorted(rng.choice(n + 1, 2, replace=False))
        part(slice(top, bottom), slice(left, right))


@pytest.mark.parametrize("form", FORMS)
def test_same_bits_from_every_build_with_fused_multiply_add(fused_cores, dtype, rng, form):
    first, *others = fused_cores
    for shape in shapes(first, dtype):
        arrays = operands(form, shape, normal(rng, dtype))
        y = multiply(first, *arrays)
        for other in others:
            assert same_bits(multiply(other, *arrays), y), f"{other.__name__}, m, k, n = {shape}"


# ---- Layouts ----


def every_third_row(a):
    return np.repeat(a, 3, axis=0)[1::3]


def reversed_rows(a):
    return np.ascontiguousarray(a)[::-1]


def rows_4096_bytes_apart(a):
    wide = np.full((len(a), 4096 // a.itemsize), np.nan, a.dtype)
    wide[:, : a.shape[1]] = a
    return wide[:, : a.shape[1]]


def one_row_for_all(a):
    return np.broadcast_to(np.ascontiguousarray(a[0]), a.shape)


def transposed(layout):
    return lambda a: layout(a.T).T


ROWS = (np.ascontiguousarray, every_third_row, reversed_rows, rows_4096_bytes_apart, one_row_for_all)
LAYOUTS = (*ROWS, *map(transposed, ROWS))


def test_left_side_is_read_at_any_distance_of_rows_or_columns(core, dtype, rng):
    m, k, n = beyond_tiles(core, dtype)
    for columns, (index, layout) in itertools.product((1, n, BEYOND_BLOCKS[2]), enumerate(LAYOUTS)):
        x, w, b = operands(FORWARD, (m, k, columns), normal(rng, dtype))
        x = layout(x)
        expected = multiply(core, np.ascontiguousarray(x), w, b)
        assert same_bits(multiply(core, x, w, b), expected), f"layout {index}, m, k, n = {m, k, columns}"


def test_right_side_and_bias_are_read_at_any_strides(core, dtype, rng):
    shape = beyond_tiles(core, dtype)
    x, w, b = operands(FORWARD, shape, normal(rng, dtype))
    for index, layout in enumerate((*LAYOUTS, lambda w: np.repeat(np.repeat(w, 2, 0), 3, 1)[::-2, ::-3])):
        view = layout(w)
        expected = multiply(core, x, np.ascontiguousarray(view), b)
        assert same_bits(multiply(core, x, view, b), expected), f"layout {index}"
    for view in (np.repeat(b, 3)[::3], b[::-1], np.broadcast_to(b[:1], b.shape)):
        expected = multiply(core, x, w, view.copy())
        assert same_bits(multiply(core, x, w, view), expected), f"bias with strides {view.strides}"


# ---- Refusals ----

REFUSED = {
    "a, a row short": ("shapes do not match", lambda v: {"a": v["a"][:-1]}),
    "a, a column short": ("shapes do not match", lambda v: {"a": v["a"][:, :-1]}),
    "a, no stride of one element": ("a's strides", lambda v: {"a": np.repeat(v["a"], 2, axis=1)[:, ::2]}),
    "a, columns reversed": ("a's strides", lambda v: {"a": v["a"][:, ::-1]}),
    "b, a row short": ("shapes do not match", lambda v: {"b": v["b"][:-1]}),
    "b, a column short": ("shapes do not match", lambda v: {"b": v["b"][:, :-1]}),
    "b, transposed": ("shapes do not match", lambda v: {"b": v["b"].T}),
    "bias, one short": ("shapes do not match", lambda v: {"bias": v["bias"][:-1]}),
    "bias, one too many": ("shapes do not match", lambda v: {"bias": np.append(v["bias"], v["bias"][:1])}),
    "y, a row short": ("shapes do not match", lambda v: {"y": v["y"][:-1]}),
    "y, a column short": ("shapes do not match", lambda v: {"y": v["y"][:, :-1]}),
    "y, rows not padded": ("rows of y", lambda v: {"y": v["y"].copy()}),
    "y, one row for all": (
        "rows of y",
        lambda v: {"y": np.lib.stride_tricks.as_strided(v["y"], strides=(0, v["y"].itemsize))},
    ),
    "y, rows reversed": ("rows of y", lambda v: {"y": v["y"][::-1]}),
    "y, columns apart": ("rows of y", lambda v: {"y": np.repeat(v["y"], 16, axis=1)[:, ::16]}),
    "y, read-only": ("read-only", lambda v: {"y": np.broadcast_to(v["y"], v["y"].shape)}),
    "a, of the other type": (
        "2 dimensions of numbers f",
        lambda v: {"a": v["a"].astype({4: "f8", 8: "f4"}[v["a"].itemsize])},
    ),
    "b, a single row": ("2 dimensions of numbers f", lambda v: {"b": v["b"][0]}),
    "work, of halves": ("floats or doubles", lambda v: {"work": v["work"].view(np.float16)}),
    "work, one short": ("work is smaller", lambda v: {"work": v["work"][:-1]}),
    "work, empty": ("work is smaller", lambda v: {"work": v["work"][:0]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(core, dtype, rng, name):
    m, k, n = shape = (3, 4, 5)
    a, b, bias = operands(FORWARD, shape, normal(rng, dtype))
    y = framed(core, m, n, dtype)[1][:, :n]
    work = np.empty(core.matmul_work(k, n, np.empty(1, dtype)), dtype)
    given = {"y": y, "a": a, "b": b, "bias": bias, "accumulate": False, "work": work}
    core.matmul(*given.values())
    y[:] = CANARY
    message, change = REFUSED[name]
    wrong = change(given)
    with pytest.raises(ValueError, match=message):
        core.matmul(*(given | wrong).values())
    assert np.all(y == CANARY)
    assert np.all(wrong.get("y", y) == CANARY)
