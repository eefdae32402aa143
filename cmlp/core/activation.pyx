# What a layer does to z = x @ w + b: y := f(z) in place, and dz := dy * f'(z) with f' read off y, so that z need not be kept.
#
# m rows of n columns, ld apart. Functions of one number run over the padding as well: one loop without a tail.
from libc.math cimport exp as exp_double, expf, log1p as log1p_double, log1pf, log as log_double, logf, tanh as tanh_double, tanhf

cdef enum activation:
    IDENTITY
    RELU
    SIGMOID
    TANH
    SOFTMAX

ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "softmax": SOFTMAX}


cdef inline floating exp(floating x) noexcept nogil:
    return expf(x) if floating is float else exp_double(x)


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


cdef inline floating softmax(floating* y, Py_ssize_t n) noexcept nogil:
    """y := exp(y) / sum(exp(y)); returns log(sum(exp(y))). The largest y is subtracted first, so nothing overflows."""
    cdef floating largest = y[0], total = 0
    cdef Py_ssize_t j
    for j in range(1, n):
        largest = max(largest, y[j])
    for j in range(n):
        y[j] = exp(y[j] - largest)
        total += y[j]
    for j in range(n):
        y[j] /= total
    return largest + log(total)


cdef void activate(floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, int kind) noexcept nogil:
    """y := f(y)"""
    cdef Py_ssize_t i
    if kind == RELU:
        for i in range(m * ld):
            y[i] = 0 if y[i] < 0 else y[i]              # this way round NaN stays NaN
    elif kind == SIGMOID:
        for i in range(m * ld):
            y[i] = sigmoid(y[i])
    elif kind == TANH:
        for i in range(m * ld):
            y[i] = tanh(y[i])
    elif kind == SOFTMAX:
        for i in range(m):
            softmax(y + i * ld, n)


cdef void activate_backward(floating* d, const floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, int kind) noexcept nogil:
    """d := d * f'(z), where y = f(z)"""
    cdef Py_ssize_t i, j
    cdef floating dot
    if kind == RELU:
        for i in range(m * ld):
            d[i] = d[i] if y[i] > 0 else 0
    elif kind == SIGMOID:
        for i in range(m * ld):
            d[i] *= y[i] * (1 - y[i])
    elif kind == TANH:
        for i in range(m * ld):
            d[i] *= 1 - y[i] * y[i]
    elif kind == SOFTMAX:                               # dz = y * (dy - dy . y), row by row
        for i in range(m):
            dot = 0
            for j in range(n):
                dot += d[i * ld + j] * y[i * ld + j]
            for j in range(n):
                d[i * ld + j] = y[i * ld + j] * (d[i * ld + j] - dot)
