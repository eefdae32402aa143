# What a layer does to z = x @ w + b: y := f(z) in place, and dz := dy * f'(z) with f' read off y, so that z need not be kept.
#
# m rows of n numbers, ld apart. Functions of one number run over `columns` of each row, the padding as well.
from libc.math cimport exp as exp_double, log as log_double, log1p as log1p_double, tanh as tanh_double
from libc.math cimport log1pf, logf, rintf, tanhf

cdef enum activation:
    IDENTITY
    RELU
    SIGMOID
    TANH
    SOFTMAX

ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "softmax": SOFTMAX}


cdef inline float power_of_two(int n) noexcept nogil:
    """2^n, for -126 <= n <= 127, by its bits"""
    cdef int bits = (n + 127) << 23
    cdef float power
    memcpy(&power, &bits, sizeof(power))
    return power


cdef inline float exp_float(float x) noexcept nogil:
    """exp(x) = 2^n exp(r), |r| <= log(2) / 2. The polynomial is that of the Cephes library's expf.

    Without calls and branches, so that loops over it are vectorised. log(2) is subtracted in two parts, and 2^n multiplied in
    two, since n reaches beyond the exponents of normal numbers on both sides.
    """
    cdef float bounded = 89 if x > 89 else -105 if x < -105 else x        # beyond, it is infinity or 0; NaN stays NaN
    cdef float whole = rintf(bounded * <float> 1.44269504), p, r
    cdef int n = <int> whole
    r = bounded - whole * <float> 0.693359375
    r = r + whole * <float> 2.12194440e-4
    p = <float> 1.9875691500e-4 * r + <float> 1.3981999507e-3
    p = p * r + <float> 8.3334519073e-3
    p = p * r + <float> 4.1665795894e-2
    p = p * r + <float> 1.6666665459e-1
    p = p * r + <float> 5.0000001201e-1
    p = p * (r * r) + r + 1
    return p * power_of_two(n // 2) * power_of_two(n - n // 2)


cdef inline floating exp(floating x) noexcept nogil:
    return exp_float(x) if floating is float else exp_double(x)


cdef inline floating tanh(floating x) noexcept nogil:
    return tanhf(x) if floating is float else tanh_double(x)


cdef inline floating log(floating x) noexcept nogil:
    return logf(x) if floating is float else log_double(x)


cdef inline floating log1p(floating x) noexcept nogil:
    return log1pf(x) if floating is float else log1p_double(x)


cdef inline floating sigmoid(floating z) noexcept nogil:
    """1 / (1 + exp(-z)), from exp(-|z|), which cannot overflow"""
    cdef floating e = exp(-z if z > 0 else z)
    return (1 if z > 0 else e) / (1 + e)


cdef inline floating softmax(floating* y, Py_ssize_t n, Py_ssize_t columns) noexcept nogil:
    """y := exp(y) / sum(exp(y)) of n numbers, and anything in the columns behind them; returns log(sum(exp(y)))

    The largest y is subtracted first, so nothing overflows.
    """
    cdef floating largest = y[0], total = 0
    cdef Py_ssize_t j
    for j in range(1, n):
        largest = max(largest, y[j])
    for j in range(columns):
        y[j] = exp(y[j] - largest)
    for j in range(n):
        total += y[j]
    for j in range(columns):
        y[j] /= total
    return largest + log(total)


cdef void activate(floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t columns, Py_ssize_t ld, int kind) noexcept nogil:
    """y := f(y)"""
    cdef Py_ssize_t i, j
    cdef floating* row
    if columns == ld and kind != SOFTMAX:               # one loop without a tail
        m, columns = 1, m * ld
    for i in range(m):
        row = y + i * ld
        if kind == RELU:
            for j in range(columns):
                row[j] = 0 if row[j] < 0 else row[j]    # this way round NaN stays NaN
        elif kind == SIGMOID:
            for j in range(columns):
                row[j] = sigmoid(row[j])
        elif kind == TANH:
            for j in range(columns):
                row[j] = tanh(row[j])
        elif kind == SOFTMAX:
            softmax(row, n, ld)


cdef void activate_backward(floating* d, const floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t columns, Py_ssize_t ld,
                            int kind) noexcept nogil:
    """d := d * f'(z), where y = f(z)"""
    cdef Py_ssize_t i, j
    cdef floating dot
    cdef floating* dr
    cdef const floating* yr
    if columns == ld and kind != SOFTMAX:
        m, columns = 1, m * ld
    for i in range(m):
        dr, yr = d + i * ld, y + i * ld
        if kind == RELU:
            for j in range(columns):
                dr[j] = dr[j] if yr[j] > 0 else 0
        elif kind == SIGMOID:
            for j in range(columns):
                dr[j] *= yr[j] * (1 - yr[j])
        elif kind == TANH:
            for j in range(columns):
                dr[j] *= 1 - yr[j] * yr[j]
        elif kind == SOFTMAX:                           # dz = y * (dy - dy . y)
            dot = 0
            for j in range(n):
                dot += dr[j] * yr[j]
            for j in range(n):
                dr[j] = yr[j] * (dr[j] - dot)
