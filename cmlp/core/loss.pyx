# What the network is trained to make small, and its gradient.
#
# m rows of n columns, ld apart.   y: z of the output layer on entry, its activation f(z) on return   t: targets
# d := the gradient of the row's loss by z, not yet divided by the number of samples.   0 in the padding of each.
# labels: in place of t, which is 1 for each row's label and 0 for the others; or NULL.
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


cdef void cross_entropy_after_softmax(double* losses, floating* d, floating* y, const floating* t, const Py_ssize_t* labels,
                                      Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """-sum(t * log(softmax(z))) = sum(t) * log(sum(exp(z))) - t . z, with gradient sum(t) * softmax(z) - t"""
    cdef floating log_sums[SOME_ROWS]
    cdef floating totals[SOME_ROWS]
    cdef floating dots[SOME_ROWS]
    cdef Py_ssize_t i, j
    if labels == NULL:
        memset(dots, 0, sizeof(dots))
        memset(totals, 0, sizeof(totals))
        dots_of_rows(dots, totals, y, t, m, n, ld)
    else:
        for i in range(m):
            dots[i], totals[i] = y[i * ld + labels[i]], 1
    softmax(y, m, n, ld, log_sums)
    for i in range(m):
        if labels == NULL:
            for j in range(padded(n, y)):                    # whole registers: 0 in the padding
                d[i * ld + j] = totals[i] * y[i * ld + j] - t[i * ld + j]
        else:
            memcpy(d + i * ld, y + i * ld, padded(n, y) * sizeof(floating))
            d[i * ld + labels[i]] -= 1
        losses[i] = totals[i] * log_sums[i] - dots[i]


cdef inline bint takes_z(const Loss* loss) noexcept nogil:
    """Whether the loss over outputs is taken from z, and f(z) made with it"""
    return loss.kind == BINARY_CROSS_ENTROPY or loss.kind == POISSON


cdef inline inlined term(double* value, floating* d, floating* y, floating t, floating delta, floating level,
                         int kind) noexcept nogil:
    """The loss of one output, and d := its gradient by y, or by z where y is that on entry; the kind is a constant"""
    cdef floating z = y[0], e = z - t, size = e if e > 0 else -e, u
    if kind == BINARY_CROSS_ENTROPY:     # max(z, 0) - t z + log(1 + exp(-|z|)), with gradient sigmoid(z) - t
        y[0] = sigmoid(z)
        d[0] = y[0] - t
        u = (z if z > 0 else 0) - t * z + log1p(exp(-z if z > 0 else z))
        value[0] = u
    elif kind == POISSON:                # t (log(t) - z) - t + exp(z), half the deviance of Poisson's distribution
        u = log(t) - z
        u = u if t != 0 else 0           # before it is multiplied: what follows is then the same with and without a register
        y[0] = exp(z)
        d[0] = y[0] - t
        u = t * u - t + y[0]
        value[0] = u
    elif kind == MEAN_SQUARED_ERROR:     # e^2
        d[0] = 2 * e
        value[0] = <double> e * e
    elif kind == MEAN_ABSOLUTE_ERROR:    # |e|
        d[0] = e if e != e else 1 if e > 0 else -1 if e < 0 else 0
        value[0] = size
    elif kind == HUBER:                  # e^2 / 2, or delta (|e| - delta / 2) beyond delta
        d[0] = -delta if e < -delta else delta if e > delta else e
        u = delta * (size - delta / 2) if size > delta else e * e / 2
        value[0] = u
    elif kind == QUANTILE:               # (1 - level) e, or -level e if that is positive
        d[0] = e if e != e else 1 - level if e > 0 else -level if e < 0 else 0
        u = (1 - level) * e if e > 0 else -level * e
        value[0] = u
    else:                                # GIVEN_GRADIENT: t y
        d[0] = t
        value[0] = <double> t * z


cdef inline inlined terms(double* values, floating* d, floating* y, const floating* t, Py_ssize_t size, const Loss* loss,
                          const double* levels, Py_ssize_t apart, floating share, int kind) noexcept nogil:
    """`term` of numbers side by side, the gradient times a share: that of an output in a mean over them"""
    cdef floating delta = loss.delta
    cdef Py_ssize_t i
    for i in range(size):
        term(values + i, d + i, y + i, t[i], delta, <floating> (levels[i * apart] if kind == QUANTILE else 0), kind)
        d[i] *= share


cdef out_of_line terms_of(double* values, floating* d, floating* y, const floating* t, Py_ssize_t size, const Loss* loss,
                          const double* levels, Py_ssize_t apart, floating share) noexcept nogil:
    """`terms`, with one loop for each kind; levels: the first one's quantile, and the next one's so far apart"""
    if loss.kind == BINARY_CROSS_ENTROPY:
        terms(values, d, y, t, size, loss, levels, apart, share, BINARY_CROSS_ENTROPY)
    elif loss.kind == POISSON:
        terms(values, d, y, t, size, loss, levels, apart, share, POISSON)
    elif loss.kind == MEAN_SQUARED_ERROR:
        terms(values, d, y, t, size, loss, levels, apart, share, MEAN_SQUARED_ERROR)
    elif loss.kind == MEAN_ABSOLUTE_ERROR:
        terms(values, d, y, t, size, loss, levels, apart, share, MEAN_ABSOLUTE_ERROR)
    elif loss.kind == HUBER:
        terms(values, d, y, t, size, loss, levels, apart, share, HUBER)
    elif loss.kind == QUANTILE:
        terms(values, d, y, t, size, loss, levels, apart, share, QUANTILE)
    else:
        terms(values, d, y, t, size, loss, levels, apart, share, GIVEN_GRADIENT)


cdef void add_terms(double* losses, floating* d, floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld,
                    const Loss* loss, floating share) noexcept nogil:
    """losses := the sum over each row's outputs: SOME_COLUMNS chains side by side, then these in order"""
    cdef double values[LOSS_PIECE]
    cdef double sums[SOME_COLUMNS]
    cdef Py_ssize_t i, j, q, c, wide
    for i in range(m):
        memset(sums, 0, sizeof(sums))
        for j from 0 <= j < n by LOSS_PIECE:
            wide, q = min(n - j, LOSS_PIECE), i * ld + j
            terms_of(values, d + q, y + q, t + q, wide, loss, &loss.levels[j], 1, share)
            for q in range(wide, (wide + SOME_COLUMNS - 1) // SOME_COLUMNS * SOME_COLUMNS):
                values[q] = 0
            for q from 0 <= q < wide by SOME_COLUMNS:
                for c in range(SOME_COLUMNS):
                    sums[c] += values[q + c]
        losses[i] = 0
        for c in range(min(n, SOME_COLUMNS)):
            losses[i] += sums[c]
        memset(d + i * ld + n, 0, (ld - n) * sizeof(floating))


cdef void add_terms_abreast(double* losses, floating* d, floating* y, const floating* t, Py_ssize_t m, Py_ssize_t n,
                            Py_ssize_t ld, const Loss* loss, floating share) noexcept nogil:
    """`add_terms` of a few outputs, with a number of each row in a register"""
    cdef floating of_y[SOME_COLUMNS][SOME_ROWS]
    cdef floating of_t[SOME_COLUMNS][SOME_ROWS]
    cdef floating of_d[SOME_COLUMNS][SOME_ROWS]
    cdef double values[SOME_COLUMNS][SOME_ROWS]
    cdef Py_ssize_t i, j, together = n if m == SOME_ROWS and loss.kind != QUANTILE else 1
    memset(d, 0, m * ld * sizeof(floating))
    memset(of_d[n], 0, (in_squares(n, SOME_COLUMNS, d) - n) * sizeof(of_d[0]))       # given back as well
    take_across(of_y[0], y, ld, m, n, ld)
    take_across(of_t[0], t, ld, m, n, ld)
    for j from 0 <= j < n by together:
        terms_of(values[j], of_d[j], of_y[j], of_t[j], together * m, loss, &loss.levels[j], 0, share)
    memset(losses, 0, m * sizeof(double))
    for j in range(n):
        for i in range(m):
            losses[i] += values[j][i]
    give_across(d, ld, of_d[0], m, n, ld)
    if takes_z(loss):
        give_across(y, ld, of_y[0], m, n, ld)


cdef void loss_and_gradient(double* losses, floating* d, floating* y, floating* s, const floating* t, const Py_ssize_t* labels,
                            Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, const Loss* loss, int output) noexcept nogil:
    """losses := those of m <= SOME_ROWS rows; s: room for f' of the output activation, or NULL if that can be read off y"""
    cdef floating share = 1 if loss.kind == GIVEN_GRADIENT else <floating> (1. / n)
    cdef Py_ssize_t i
    if loss.kind == CROSS_ENTROPY:
        cross_entropy_after_softmax(losses, d, y, t, labels, m, n, ld)
        return
    if not takes_z(loss):
        activate(y, s, m, n, padded(n, y), ld, output)
    if m < FEWEST_ABREAST or n > SOME_COLUMNS:
        add_terms(losses, d, y, t, m, n, ld, loss, share)
    else:
        add_terms_abreast(losses, d, y, t, m, n, ld, loss, share)
    for i in range(m if loss.kind != GIVEN_GRADIENT else 0):
        losses[i] /= n
    if not takes_z(loss):
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
    if m < FEWEST_ABREAST or n == 1 or n > MOST_EXACT:
        for i in range(m):
            best[i] = arg_max(y + i * ld, n)
        return
    arg_max_abreast(abreast, y, m, n, ld)
    for i in range(m):
        best[i] = <Py_ssize_t> abreast[i]
