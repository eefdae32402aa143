# What the network is trained to make small, and its gradient.
#
# m rows of n columns, ld apart.   y: z of the output layer on entry, its activation f(z) on return   t targets
# d := the gradient of the row's loss by z, not yet divided by the number of samples; 0 in the padding.
# The loss is taken from z, where exp and log of the activation cancel: it stays finite wherever the true loss does.

cdef enum loss:
    CROSS_ENTROPY
    BINARY_CROSS_ENTROPY
    MEAN_SQUARED_ERROR

LOSSES = {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
          "mean_squared_error": MEAN_SQUARED_ERROR}

# The output activations that a loss has a gradient for here.
PAIRS = {"cross_entropy": ("softmax",), "binary_cross_entropy": ("sigmoid",), "mean_squared_error": tuple(ACTIVATIONS)}


cdef inline double cross_entropy_after_softmax(floating* d, floating* y, const floating* t, Py_ssize_t n,
                                               Py_ssize_t columns) noexcept nogil:
    """-sum(t * log(softmax(z))) = sum(t) * log(sum(exp(z))) - t . z, with gradient sum(t) * softmax(z) - t"""
    cdef floating dot = 0, total = 0, log_sum
    cdef Py_ssize_t j
    for j in range(n):
        dot += t[j] * y[j]
        total += t[j]
    log_sum = softmax(y, n, columns)
    for j in range(columns):
        d[j] = total * y[j] - t[j]
    return total * log_sum - dot


cdef inline double binary_cross_entropy_after_sigmoid(floating* d, floating* y, const floating* t, Py_ssize_t n) noexcept nogil:
    """mean(max(z, 0) - t * z + log(1 + exp(-|z|))), with gradient (sigmoid(z) - t) / n"""
    cdef floating z
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        z = y[j]
        value += (z if z > 0 else 0) - t[j] * z + log1p(exp(-z if z > 0 else z))
        y[j] = sigmoid(z)
        d[j] = (y[j] - t[j]) / n
    return value / n


cdef inline double squared_error(floating* d, const floating* y, const floating* t, Py_ssize_t n) noexcept nogil:
    """mean((y - t)^2), with gradient 2 (y - t) / n by y"""
    cdef floating e
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        e = y[j] - t[j]
        value += <double> e * e
        d[j] = 2 * e / n
    return value / n


cdef void loss_and_gradient(double* losses, floating* d, floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n,
                            Py_ssize_t ld, int kind, int output) noexcept nogil:
    """losses := those of m rows"""
    cdef Py_ssize_t i
    if kind == MEAN_SQUARED_ERROR:
        activate(y, m, n, ld, ld, output)
    for i in range(m):
        if kind == CROSS_ENTROPY:
            losses[i] = cross_entropy_after_softmax(d, y + i * ld, t, n, ld)
        elif kind == BINARY_CROSS_ENTROPY:
            losses[i] = binary_cross_entropy_after_sigmoid(d, y + i * ld, t, n)
        else:
            losses[i] = squared_error(d, y + i * ld, t, n)
        memset(d + n, 0, (ld - n) * sizeof(floating))
        d, t = d + ld, t + ld
    if kind == MEAN_SQUARED_ERROR:
        activate_backward(d - m * ld, y, m, n, ld, ld, output)


cdef double sum_of(const double* losses, Py_ssize_t m) noexcept nogil:
    """Their sum, in the same order whoever computed them: four chains, which do not wait for each other"""
    cdef double a = 0, b = 0, c = 0, d = 0
    cdef Py_ssize_t i
    for i from 0 <= i < m // 4 * 4 by 4:
        a, b, c, d = a + losses[i], b + losses[i + 1], c + losses[i + 2], d + losses[i + 3]
    for i in range(m // 4 * 4, m):
        a += losses[i]
    return (a + b) + (c + d)


cdef inline Py_ssize_t arg_max(const floating* y, Py_ssize_t n) noexcept nogil:
    """Index of the first largest y, or of the first NaN, as NumPy has it; of two classes for a single y"""
    cdef Py_ssize_t j, best = 0
    if n == 1:
        return y[0] > 0.5
    for j in range(n):
        if y[j] != y[j]:
            return j
        if y[j] > y[best]:
            best = j
    return best
