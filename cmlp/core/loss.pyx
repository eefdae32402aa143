# What the network is trained to make small, and its gradient.
#
# m rows of n columns, ld apart.   y: z of the output layer on entry, its activation f(z) on return   t targets
# d := the gradient of the row's loss by z, not yet divided by the number of samples; 0 in the padding.
# The loss is taken from z, where exp and log of the activation cancel: it stays finite wherever the true loss does.

cdef enum loss:
    CROSS_ENTROPY
    BINARY_CROSS_ENTROPY
    MEAN_SQUARED_ERROR
    MEAN_ABSOLUTE_ERROR
    HUBER
    QUANTILE
    POISSON

LOSSES = {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
          "mean_squared_error": MEAN_SQUARED_ERROR, "mean_absolute_error": MEAN_ABSOLUTE_ERROR, "huber": HUBER,
          "quantile": QUANTILE, "poisson": POISSON}

# The output activations that a loss has a gradient for here.
PAIRS = {name: tuple(ACTIVATIONS) for name in LOSSES} | {"cross_entropy": ("softmax",), "binary_cross_entropy": ("sigmoid",),
                                                         "poisson": ("exp",)}

cdef struct Loss:
    int kind
    double smoothing                     # share of a label that goes to all classes alike
    double delta                         # where Huber's loss turns from square to straight
    const double* levels                 # the quantile of each output


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


cdef inline double error_of(floating* d, floating y, floating t, const Loss* loss, Py_ssize_t j) noexcept nogil:
    """The loss of one output, and d := its gradient by y"""
    cdef floating e = y - t, size = e if e > 0 else -e, delta, level
    if loss.kind == MEAN_SQUARED_ERROR:                         # e^2
        d[0] = 2 * e
        return <double> e * e
    if loss.kind == MEAN_ABSOLUTE_ERROR:                        # |e|
        d[0] = e if e != e else (e > 0) - (e < 0)
        return size
    if loss.kind == HUBER:                                      # e^2 / 2, or delta (|e| - delta / 2) beyond delta
        delta = loss.delta
        d[0] = -delta if e < -delta else delta if e > delta else e
        return delta * (size - delta / 2) if size > delta else e * e / 2
    level = loss.levels[j]                                      # QUANTILE: (1 - level) e, or -level e if that is positive
    d[0] = e if e != e else (1 - level) * (e > 0) - level * (e < 0)
    return (1 - level) * e if e > 0 else -level * e


cdef inline double poisson_after_exp(floating* d, floating* y, const floating* t, Py_ssize_t n) noexcept nogil:
    """mean(t (log(t) - z) - t + exp(z)), half the deviance of Poisson's distribution, with gradient (exp(z) - t) / n"""
    cdef floating z
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        z = y[j]
        y[j] = exp(z)
        value += (t[j] * (log(t[j]) - z) if t[j] != 0 else <floating> 0) - t[j] + y[j]
        d[j] = (y[j] - t[j]) / n
    return value / n


cdef inline double mean_error(floating* d, const floating* y, const floating* t, Py_ssize_t n, const Loss* loss) noexcept nogil:
    """The mean over a row's outputs, with its gradient by y"""
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        value += error_of(d + j, y[j], t[j], loss, j)
        d[j] /= n
    return value / n


cdef void loss_and_gradient(double* losses, floating* d, floating* y, floating* s, const floating* t, Py_ssize_t m, Py_ssize_t n,
                            Py_ssize_t ld, const Loss* loss, int output) noexcept nogil:
    """losses := those of m rows; s: room for f' of the output activation, or NULL if that can be read off y"""
    cdef Py_ssize_t i
    cdef bint by_z = loss.kind <= BINARY_CROSS_ENTROPY or loss.kind == POISSON
    if not by_z:
        activate(y, s, m, n, ld, ld, output)
    for i in range(m):
        if loss.kind == CROSS_ENTROPY:
            losses[i] = cross_entropy_after_softmax(d, y + i * ld, t, n, ld)
        elif loss.kind == BINARY_CROSS_ENTROPY:
            losses[i] = binary_cross_entropy_after_sigmoid(d, y + i * ld, t, n)
        elif by_z:
            losses[i] = poisson_after_exp(d, y + i * ld, t, n)
        else:
            losses[i] = mean_error(d, y + i * ld, t, n, loss)
        memset(d + n, 0, (ld - n) * sizeof(floating))
        d, t = d + ld, t + ld
    if not by_z:
        activate_backward(d - m * ld, y, s, m, n, ld, ld, output)


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
