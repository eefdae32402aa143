# What a layer does to z = x @ w + b: y := f(z) in place, and dz := dy * f'(z). For most f, f' is read off y, so that z need not
# be kept; where it cannot be, or not as fast as f and f' are made together, or where dropout has changed y, the step keeps s,
# what dy is to be multiplied by.
#
# m rows of n numbers, ld apart. Functions of one number run over `columns` of each row, the padding as well.
cdef enum activation:
    IDENTITY
    RELU
    LEAKY_RELU
    ELU
    SELU
    GELU
    GELU_TANH
    SILU
    MISH
    SOFTPLUS
    HARD_SWISH
    TANH
    SIGMOID
    EXP
    SOFTMAX

cdef extern from *:
    """
    #define SELU_SCALE 1.0507009873554804934193349852946
    #define SELU_ALPHA 1.6732632423543772848170429916717
    #define ROOT_OF_HALF 0.70710678118654752440084436210485
    #define NORMAL_DENSITY_AT_0 0.39894228040143267793994605993438
    """
    const double SELU_SCALE, SELU_ALPHA  # Klambauer et al. 2017, eq. 14
    const double ROOT_OF_HALF
    const double NORMAL_DENSITY_AT_0     # 1 / sqrt(2 pi)

cdef enum:
    FLAT_NORMAL = 40                     # beyond it the normal distribution is 0 or 1 in either type
    FLAT_SIGMOID = 800                   # and the sigmoid

ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "selu": SELU, "gelu": GELU,
               "gelu_tanh": GELU_TANH, "silu": SILU, "mish": MISH, "softplus": SOFTPLUS, "hard_swish": HARD_SWISH, "tanh": TANH,
               "sigmoid": SIGMOID, "exp": EXP, "softmax": SOFTMAX}

cdef inline floating gate(floating z) noexcept nogil:
    """The normal distribution's approximation of Hendrycks & Gimpel 2016: (1 + tanh(u)) / 2 = sigmoid(2 u)"""
    return sigmoid(<floating> (2 * 2 * NORMAL_DENSITY_AT_0) * (z + <floating> 0.044715 * z * z * z))


cdef inline bint needs_z(int kind) noexcept nogil:
    """Whether f' is made with f, from z"""
    return (kind == GELU or kind == GELU_TANH or kind == SILU or kind == MISH or kind == SOFTPLUS or kind == HARD_SWISH)


cdef inline bint is_costly(int kind) noexcept nogil:
    """Whether f takes an exponential, and so as long as many products"""
    return not (kind == IDENTITY or kind == RELU or kind == LEAKY_RELU or kind == HARD_SWISH)


cdef inline inlined value_and_slope(floating* y, floating* s, floating z, int kind) noexcept nogil:
    """y := f(z), s := f'(z) for those f that need z for it; the kind is a constant where this is inlined"""
    cdef floating e, g, u, v             # all is there before it is chosen: the choice is then no branch
    if kind == GELU:                     # z g, g the normal distribution
        g = <floating> 0.5 * erfc(-z * <floating> ROOT_OF_HALF, &e)
        u = g + z * <floating> NORMAL_DENSITY_AT_0 * e
        y[0] = 0 if z < -FLAT_NORMAL else z * g
        s[0] = 1 if z > FLAT_NORMAL else 0 if z < -FLAT_NORMAL else u
    elif kind == GELU_TANH:
        g = gate(z)
        u = g + z * g * (1 - g) * <floating> (2 * 2 * NORMAL_DENSITY_AT_0) * (1 + <floating> (3 * 0.044715) * z * z)
        y[0] = 0 if z < -FLAT_NORMAL else z * g
        s[0] = 1 if z > FLAT_NORMAL else 0 if z < -FLAT_NORMAL else u
    elif kind == SILU:
        g = sigmoid(z)
        u = g + z * g * (1 - g)
        y[0] = 0 if z < -FLAT_SIGMOID else z * g
        s[0] = 1 if z > FLAT_SIGMOID else 0 if z < -FLAT_SIGMOID else u
    elif kind == MISH:                   # z tanh(log(1 + e)) = z v / (v + 2), v = e (e + 2), e = exp(z); z before that overflows
        e = exp(<floating> 20 if z > 20 else z)
        v = e * (e + 2)
        g = v / (v + 2)
        u = g + z * (e / (1 + e)) * (1 - g * g)
        y[0] = 0 if z < -FLAT_SIGMOID else z * g
        s[0] = 1 if z > FLAT_SIGMOID else 0 if z < -FLAT_SIGMOID else u
    elif kind == SOFTPLUS:               # log(1 + exp(z)), of which the derivative is the sigmoid
        e = exp(-z if z > 0 else z)
        y[0] = (0 if z < 0 else z) + log1p(e)
        s[0] = (1 if z > 0 else e) / (1 + e)
    else:                                # HARD_SWISH
        y[0] = 0 if z < -3 else z if z > 3 else z * (z + 3) * <floating> (1. / 6)
        s[0] = 0 if z <= -3 else 1 if z >= 3 else (2 * z + 3) * <floating> (1. / 6)


cdef inline inlined value(floating* y, floating z, int kind) noexcept nogil:
    """y := f(z). NaN stays NaN, as it is on neither side of a comparison"""
    cdef floating u
    if needs_z(kind):
        value_and_slope(y, &u, z, kind)
    elif kind == RELU:
        y[0] = 0 if z < 0 else z
    elif kind == LEAKY_RELU:
        y[0] = <floating> 0.01 * z if z < 0 else z
    elif kind == ELU:
        u = expm1(z)
        y[0] = u if z < 0 else z
    elif kind == SELU:
        u = <floating> (SELU_SCALE * SELU_ALPHA) * expm1(z)
        y[0] = u if z < 0 else <floating> SELU_SCALE * z
    elif kind == TANH:
        y[0] = tanh(z)
    elif kind == SIGMOID:
        y[0] = sigmoid(z)
    elif kind == EXP:
        y[0] = exp(z)


cdef inline inlined slope(floating* d, floating y, int kind) noexcept nogil:
    """d := d * f'(z), read off y = f(z)"""
    if kind == RELU:
        d[0] = d[0] if y > 0 else 0
    elif kind == LEAKY_RELU:
        d[0] *= 1 if y > 0 else <floating> 0.01
    elif kind == ELU:
        d[0] *= 1 if y > 0 else y + 1
    elif kind == SELU:
        d[0] *= <floating> SELU_SCALE if y > 0 else y + <floating> (SELU_SCALE * SELU_ALPHA)
    elif kind == TANH:
        d[0] *= 1 - y * y
    elif kind == SIGMOID:
        d[0] *= y * (1 - y)
    elif kind == EXP:
        d[0] *= y


cdef inline inlined values(floating* y, Py_ssize_t size, int kind) noexcept nogil:
    """y := f(y) of numbers side by side; the kind is a constant where this is inlined"""
    cdef Py_ssize_t i
    for i in range(size):
        value(y + i, y[i], kind)


cdef inline inlined slopes(floating* d, const floating* y, Py_ssize_t size, int kind) noexcept nogil:
    """d := d * f', read off y"""
    cdef Py_ssize_t i
    for i in range(size):
        slope(d + i, y[i], kind)


cdef inline inlined values_and_slopes(floating* y, floating* s, Py_ssize_t size, int kind) noexcept nogil:
    """y := f(y), and s := f'"""
    cdef Py_ssize_t i
    for i in range(size):
        value_and_slope(y + i, s + i, y[i], kind)


cdef void values_of(floating* y, Py_ssize_t size, int kind) noexcept nogil:
    """`values`, with one loop for each kind"""
    if kind == RELU:
        values(y, size, RELU)
    elif kind == LEAKY_RELU:
        values(y, size, LEAKY_RELU)
    elif kind == ELU:
        values(y, size, ELU)
    elif kind == SELU:
        values(y, size, SELU)
    elif kind == GELU:
        values(y, size, GELU)
    elif kind == GELU_TANH:
        values(y, size, GELU_TANH)
    elif kind == SILU:
        values(y, size, SILU)
    elif kind == MISH:
        values(y, size, MISH)
    elif kind == SOFTPLUS:
        values(y, size, SOFTPLUS)
    elif kind == HARD_SWISH:
        values(y, size, HARD_SWISH)
    elif kind == TANH:
        values(y, size, TANH)
    elif kind == SIGMOID:
        values(y, size, SIGMOID)
    elif kind == EXP:
        values(y, size, EXP)


cdef void slopes_of(floating* d, const floating* y, Py_ssize_t size, int kind) noexcept nogil:
    """`slopes`, with one loop for each kind whose f' is read off y"""
    if kind == RELU:
        slopes(d, y, size, RELU)
    elif kind == LEAKY_RELU:
        slopes(d, y, size, LEAKY_RELU)
    elif kind == ELU:
        slopes(d, y, size, ELU)
    elif kind == SELU:
        slopes(d, y, size, SELU)
    elif kind == TANH:
        slopes(d, y, size, TANH)
    elif kind == SIGMOID:
        slopes(d, y, size, SIGMOID)
    elif kind == EXP:
        slopes(d, y, size, EXP)


cdef void forward_of(floating* y, floating* s, Py_ssize_t size, int kind) noexcept nogil:
    """y := f(y), and s := f' if it is wanted"""
    cdef Py_ssize_t i
    if s != NULL and needs_z(kind):
        if kind == GELU:
            values_and_slopes(y, s, size, GELU)
        elif kind == GELU_TANH:
            values_and_slopes(y, s, size, GELU_TANH)
        elif kind == SILU:
            values_and_slopes(y, s, size, SILU)
        elif kind == MISH:
            values_and_slopes(y, s, size, MISH)
        elif kind == SOFTPLUS:
            values_and_slopes(y, s, size, SOFTPLUS)
        elif kind == HARD_SWISH:
            values_and_slopes(y, s, size, HARD_SWISH)
        return
    values_of(y, size, kind)
    if s != NULL:
        for i in range(size):
            s[i] = 1
        slopes_of(s, y, size, kind)


cdef void softmax_abreast(floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, floating* largest,
                          floating* total) noexcept nogil:
    """`softmax_rows` with a number of each row in a register"""
    cdef floating across[SOME_COLUMNS][SOME_ROWS]
    cdef Py_ssize_t i, j, q, some
    for j from 0 <= j < n by SOME_COLUMNS:
        some = min(n - j, SOME_COLUMNS)
        take_across(across[0], y + j, ld, m, some, ld - j)
        for q in range(some):
            for i in range(m):
                largest[i] = max(largest[i], across[q][i])
    for j from 0 <= j < n by SOME_COLUMNS:
        some = min(n - j, SOME_COLUMNS)
        if n > SOME_COLUMNS:             # otherwise they are there still
            take_across(across[0], y + j, ld, m, some, ld - j)
        for q in range(some):
            for i in range(m):
                across[q][i] -= largest[i]
        for q from 0 <= q < some by (some if m == SOME_ROWS else 1):
            values_of(across[q], some * m if m == SOME_ROWS else m, EXP)
        for q in range(some):
            for i in range(m):
                total[i] += across[q][i]
        for q in range(some if n <= SOME_COLUMNS else 0):
            for i in range(m):
                across[q][i] /= total[i]
        give_across(y + j, ld, across[0], m, some, ld - j)
    for i in range(m if n > SOME_COLUMNS else 0):
        for j in range(min(padded(n, y), ld)):
            y[i * ld + j] = y[i * ld + j] / total[i] if j < n else 0


cdef void softmax_rows(floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, floating* largest, floating* total) noexcept nogil:
    """largest := that of each row, total := sum(exp(y - largest)), y := exp(y - largest) / total, from y's first and 0"""
    cdef Py_ssize_t i, j, columns = min(padded(n, y), ld)    # whole registers
    for i in range(m):
        for j in range(1, n):
            largest[i] = max(largest[i], y[j])
        for j in range(columns):
            y[j] -= largest[i]
        values_of(y, columns, EXP)
        for j in range(n):
            total[i] += y[j]
        for j in range(columns):
            y[j] = y[j] / total[i] if j < n else 0
        y += ld


cdef void softmax(floating* y, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld, floating* log_sums) noexcept nogil:
    """y := exp(y) / sum(exp(y)) for m <= SOME_ROWS rows of n numbers; log_sums := log(sum(exp(y)))

    Padding of 0 stays 0. The largest y is subtracted first, so nothing overflows.
    """
    cdef floating largest[SOME_ROWS]
    cdef floating total[SOME_ROWS]
    cdef Py_ssize_t i
    for i in range(m):
        largest[i], total[i] = y[i * ld], 0
    if m < FEWEST_ABREAST:
        softmax_rows(y, m, n, ld, largest, total)
    else:
        softmax_abreast(y, m, n, ld, largest, total)
    for i in range(m):
        log_sums[i] = largest[i] + log(total[i])


cdef void activate(floating* y, floating* s, Py_ssize_t m, Py_ssize_t n, Py_ssize_t columns, Py_ssize_t ld,
                   int kind) noexcept nogil:
    """y := f(y), and s := f'(y) if it is wanted; a softmax has none"""
    cdef floating log_sums[SOME_ROWS]
    cdef Py_ssize_t i
    if kind == SOFTMAX:
        for i from 0 <= i < m by SOME_ROWS:
            softmax(y + i * ld, min(m - i, SOME_ROWS), n, ld, log_sums)
        return
    if columns == ld:                                   # one loop without a tail
        m, columns = 1, m * ld
    for i in range(m):
        forward_of(y + i * ld, s + i * ld if s != NULL else s, columns, kind)


cdef void activate_backward(floating* d, const floating* y, const floating* s, Py_ssize_t m, Py_ssize_t n, Py_ssize_t columns,
                            Py_ssize_t ld, int kind) noexcept nogil:
    """d := d * f'(z), where y = f(z), or f'(z) = s if that was kept"""
    cdef Py_ssize_t i, j, q, some
    cdef floating dot
    cdef floating products[PANEL_FLOATS]
    cdef floating* dr
    cdef const floating* yr
    if columns == ld and kind != SOFTMAX:
        m, columns = 1, m * ld
    for i in range(m):
        dr, yr = d + i * ld, y + i * ld
        if kind == SOFTMAX:                             # dz = y * (dy - dy . y)
            dot = 0
            # Products in a loop of their own, which compilers do not join with the sum's: in one they would be rounded where
            # they fill a register, and not in the tail, so that the sum would depend on the registers' width.
            for j from 0 <= j < n by PANEL_FLOATS:
                some = min(n - j, PANEL_FLOATS)
                for q in range(some):
                    products[q] = dr[j + q] * yr[j + q]
                for q in range(some):
                    dot += products[q]
            for j in range(n):
                dr[j] = yr[j] * (dr[j] - dot)
        elif s != NULL:
            for j in range(columns):
                dr[j] *= s[i * ld + j]
        else:
            slopes_of(dr, yr, columns, kind)
