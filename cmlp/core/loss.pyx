# What the network is trained to make small, and its gradient.
#
# m rows of n columns, ld apart.   y: z of the output layer on entry, its activation f(z) on return   t: targets
# d := the gradient of the row's loss by z, not yet divided by the number of samples.   0 in the padding of each.
# The loss is taken from z, where exp and log of the activation cancel: it stays finite wherever the true loss does.

cdef enum:
    LOSS_PIECE = 256                     # outputs whose losses are taken side by side
    MOST_EXACT = 16777216                # whole numbers that a float can hold

cdef enum loss:
    CROSS_ENTROPY
    BINARY_CROSS_ENTROPY
    MEAN_SQUARED_ERROR
    MEAN_ABSOLUTE_ERROR
    HUBER
    QUANTILE
    POISSON
    GIVEN_GRADIENT

LOSSES = {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
          "mean_squared_error": MEAN_SQUARED_ERROR, "mean_absolute_error": MEAN_ABSOLUTE_ERROR, "huber": HUBER,
          "quantile": QUANTILE, "poisson": POISSON, "given_gradient": GIVEN_GRADIENT}

cdef struct Loss:
    int kind
    double smoothing                     # share of a label that goes to all classes alike
    double delta                         # where Huber's loss turns from square to straight
    const double* levels                 # the quantile of each output


cdef void dots_of_rows(floating* dots, floating* totals, const floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n,
                       Py_ssize_t ld) noexcept nogil:
    """dots += t . y; totals += sum(t), with a number of each row in a register, however many there are

    Of a row by itself, compilers make the products in registers and add them one by one: with one rounding more.
    """
    cdef floating of_y[SOME_COLUMNS][SOME_ROWS]
    cdef floating of_t[SOME_COLUMNS][SOME_ROWS]
    cdef Py_ssize_t i, j, q, some
    for j from 0 <= j < n by SOME_COLUMNS:
        some = min(n - j, SOME_COLUMNS)
        take_across(of_y[0], y + j, ld, m, some, ld - j)
        take_across(of_t[0], t + j, ld, m, some, ld - j)
        for q in range(some):
            for i in range(m):
                dots[i] += of_t[q][i] * of_y[q][i]
                totals[i] += of_t[q][i]


cdef void cross_entropy_after_softmax(double* losses, floating* d, floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n,
                                      Py_ssize_t ld) noexcept nogil:
    """-sum(t * log(softmax(z))) = sum(t) * log(sum(exp(z))) - t . z, with gradient sum(t) * softmax(z) - t, of some rows"""
    cdef floating log_sums[SOME_ROWS]
    cdef floating totals[SOME_ROWS]
    cdef floating dots[SOME_ROWS]
    cdef Py_ssize_t i, j
    memset(dots, 0, sizeof(dots))
    memset(totals, 0, sizeof(totals))
    dots_of_rows(dots, totals, y, t, m, n, ld)
    softmax(y, m, n, ld, log_sums)
    for i in range(m):
        for j in range(padded(n, y)):    # whole registers: 0 in the padding
            d[i * ld + j] = totals[i] * y[i * ld + j] - t[i * ld + j]
        losses[i] = totals[i] * log_sums[i] - dots[i]


cdef inline floating binary_cross_entropy_after_sigmoid(floating* d, floating* y, floating z, floating t) noexcept nogil:
    """max(z, 0) - t * z + log(1 + exp(-|z|)), with gradient sigmoid(z) - t"""
    y[0] = sigmoid(z)
    d[0] = y[0] - t
    return (z if z > 0 else 0) - t * z + log1p(exp(-z if z > 0 else z))


cdef inline floating poisson_after_exp(floating* d, floating* y, floating z, floating t) noexcept nogil:
    """t (log(t) - z) - t + exp(z), half the deviance of Poisson's distribution, with gradient exp(z) - t"""
    cdef floating u = log(t) - z
    u = u if t != 0 else 0               # before it is multiplied: what follows is then the same with and without a register
    y[0] = exp(z)
    d[0] = y[0] - t
    return t * u - t + y[0]


cdef void mean_by_z(double* losses, floating* d, floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld,
                    int kind) noexcept nogil:
    """One of these two, the mean over each row's outputs: of as many numbers side by side as there are, in whatever rows"""
    cdef floating z[LOSS_PIECE]
    cdef floating of[LOSS_PIECE]
    cdef floating g[LOSS_PIECE]
    cdef floating terms[LOSS_PIECE]
    cdef Py_ssize_t some = max(LOSS_PIECE // n, 1), i, j, r, q, rows, wide
    memset(losses, 0, m * sizeof(double))
    for i from 0 <= i < m by some:
        rows = min(m - i, some)
        for j from 0 <= j < n by LOSS_PIECE:
            wide = min(n - j, LOSS_PIECE)
            for q in range(wide):
                for r in range(rows):
                    z[q * rows + r], of[q * rows + r] = y[(i + r) * ld + j + q], t[(i + r) * ld + j + q]
            if kind == BINARY_CROSS_ENTROPY:
                for q in range(rows * wide):
                    terms[q] = binary_cross_entropy_after_sigmoid(&g[q], &z[q], z[q], of[q])
            else:
                for q in range(rows * wide):
                    terms[q] = poisson_after_exp(&g[q], &z[q], z[q], of[q])
            for q in range(wide):
                for r in range(rows):
                    y[(i + r) * ld + j + q], d[(i + r) * ld + j + q] = z[q * rows + r], g[q * rows + r] / n
                    losses[i + r] += terms[q * rows + r]
    for i in range(m):
        losses[i] /= n


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


cdef inline double mean_error(floating* d, const floating* y, const floating* t, Py_ssize_t n, const Loss* loss) noexcept nogil:
    """The mean over a row's outputs, with its gradient by y"""
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        value += error_of(d + j, y[j], t[j], loss, j)
        d[j] /= n
    return value / n


cdef inline double inner_product(floating* d, const floating* y, const floating* t, Py_ssize_t n) noexcept nogil:
    """GIVEN_GRADIENT: sum(t * y), with its gradient t by y"""
    cdef double value = 0
    cdef Py_ssize_t j
    for j in range(n):
        value += <double> t[j] * y[j]
        d[j] = t[j]
    return value


cdef void loss_and_gradient(double* losses, floating* d, floating* y, floating* s, const floating* t, Py_ssize_t m, Py_ssize_t n,
                            Py_ssize_t ld, const Loss* loss, int output) noexcept nogil:
    """losses := those of m rows; s: room for f' of the output activation, or NULL if that can be read off y"""
    cdef Py_ssize_t i
    memset(d, 0, m * ld * sizeof(floating))
    if loss.kind == CROSS_ENTROPY:
        for i from 0 <= i < m by SOME_ROWS:
            cross_entropy_after_softmax(losses + i, d + i * ld, y + i * ld, t + i * ld, min(m - i, SOME_ROWS), n, ld)
    elif loss.kind == BINARY_CROSS_ENTROPY or loss.kind == POISSON:
        mean_by_z(losses, d, y, t, m, n, ld, loss.kind)
    else:
        activate(y, s, m, n, padded(n, y), ld, output)
        for i in range(m):
            if loss.kind == GIVEN_GRADIENT:
                losses[i] = inner_product(d + i * ld, y + i * ld, t + i * ld, n)
            else:
                losses[i] = mean_error(d + i * ld, y + i * ld, t + i * ld, n, loss)
        activate_backward(d, y, s, m, n, padded(n, y), ld, output)


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
    """Index of the first largest y, or of the first NaN, as NumPy has it; of two classes for a single y

    Without branches, which would be guessed wrong as often as not.
    """
    cdef Py_ssize_t j, best = 0
    cdef floating most = y[0]
    cdef bint larger
    if n == 1:
        return y[0] > 0.5
    for j in range(1, n):
        larger = (not y[j] <= most) & (most == most)
        best, most = j if larger else best, y[j] if larger else most
    return best


cdef void arg_max_abreast(floating* best, const floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """best := `arg_max` of each row, with a number of each in a register"""
    cdef floating across[SOME_COLUMNS][SOME_ROWS]
    cdef floating most[SOME_ROWS]
    cdef Py_ssize_t i, j, q, some
    cdef bint larger
    for i in range(m):
        best[i], most[i] = 0, y[i * ld]
    for j from 0 <= j < n by SOME_COLUMNS:
        some = min(n - j, SOME_COLUMNS)
        take_across(across[0], y + j, ld, m, some, ld - j)
        for q in range(some):
            for i in range(m):
                larger = (not across[q][i] <= most[i]) & (most[i] == most[i])
                best[i], most[i] = <floating> (j + q) if larger else best[i], across[q][i] if larger else most[i]


cdef void arg_maxes(Py_ssize_t* best, const floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """best := `arg_max` of each of m <= SOME_ROWS rows"""
    cdef floating abreast[SOME_ROWS]
    cdef Py_ssize_t i
    if m < FEWEST_ABREAST or n <= FEW or n > MOST_EXACT:
        for i in range(m):
            best[i] = arg_max(y + i * ld, n)
        return
    arg_max_abreast(abreast, y, m, n, ld)
    for i in range(m):
        best[i] = <Py_ssize_t> abreast[i]
