# A dense layer of at most FEW outputs, and the gradient of one whose last line of columns holds as few: in rows of them, most of
# each register would be padding. So registers hold a number of each of several samples, forward, or of several inputs, in the
# gradient. The letters are those of dense.pyx; w, being a single panel, is packed and row-major at once. Every sum is the one
# that `product` makes.

cdef enum:
    PRODUCTS_ACROSS = 4096               # of a column that is made across beside others, at least
    LINES_ACROSS = 64                    # that are turned before they are used: what has just been stored in parts comes late


cdef inline Py_ssize_t narrow_rows(const floating* like) noexcept nogil:
    """Samples side by side"""
    return TILE_VECTORS * lane_count(like)


cdef inline bint is_narrow(Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, const floating* like) noexcept nogil:
    """Whether m samples go through such a layer so: there are enough of them, and of inputs to be turned"""
    return HAS_SHUFFLES and n <= FEW and m >= narrow_rows(like) and k >= 16 // <Py_ssize_t> sizeof(floating)


cdef inline inlined narrow_chain(floating* sums, const floating* x, Py_ssize_t ldx, const floating* w, Py_ssize_t ldw,
                                 Py_ssize_t k, const vec* like, int n) noexcept nogil:
    """sums += (x @ w).T for one chain of k and n outputs, a constant where this is inlined: PANEL_FLOATS apart

    x is turned in registers, as many inputs at a time as 16 bytes hold; for the last ones some are read again.
    """
    cdef vec acc[FEW][TILE_VECTORS]
    cdef vec turned[TILE_VECTORS][4]
    cdef Py_ssize_t lanes = sizeof(vec) // sizeof(floating), side = 16 // sizeof(floating), p = 0, used = 0
    cdef vec* sum
    cdef int i, j, q
    memset(acc, 0, sizeof(acc))
    while p < k:
        if k - p < side:
            used, p = side - (k - p), k - side
        for j in range(TILE_VECTORS):
            turned_registers(turned[j], x + p + j * lanes * ldx, ldx)
        for q in range(side):
            if q < used:
                continue
            for i in range(n):
                for j in range(TILE_VECTORS):
                    acc[i][j] = acc[i][j] + turned[j][q] * w[(p + q) * ldw + i]
        p += side
    for i in range(n):
        for j in range(TILE_VECTORS):
            sum = <vec*> (sums + i * PANEL_FLOATS + j * lanes)
            sum[0] = sum[0] + acc[i][j]


cdef inline inlined narrow_sums(floating* sums, const floating* x, Py_ssize_t ldx, const floating* w, Py_ssize_t ldw,
                                Py_ssize_t k, int n) noexcept nogil:
    """`narrow_chain` for the dtype at hand"""
    if floating is float:
        narrow_chain(sums, x, ldx, w, ldw, k, <const vf*> NULL, n)
    else:
        narrow_chain(sums, x, ldx, w, ldw, k, <const vd*> NULL, n)


cdef out_of_line narrow_any(floating* sums, const floating* x, Py_ssize_t ldx, const floating* w, Py_ssize_t ldw, Py_ssize_t k,
                            Py_ssize_t n) noexcept nogil:
    """The same for any n"""
    if n == 1:
        narrow_sums(sums, x, ldx, w, ldw, k, 1)
    elif n == 2:
        narrow_sums(sums, x, ldx, w, ldw, k, 2)
    elif n == 3:
        narrow_sums(sums, x, ldx, w, ldw, k, 3)
    else:
        narrow_sums(sums, x, ldx, w, ldw, k, FEW)


cdef void narrow_forward(floating* y, const floating* x, Py_ssize_t ldx, const floating* w, Py_ssize_t m, Py_ssize_t k,
                         Py_ssize_t n) noexcept nogil:
    """y := x @ w + b, y being `padded`; the last samples are done with some of those before, once more"""
    cdef Py_ssize_t ld = padded(n, y), some = narrow_rows(y), chain = chain_length(k), row = 0, p, i, j
    cdef floating sums[FEW][PANEL_FLOATS]
    while row < m:
        row = min(row, m - some)
        for j in range(n):
            for i in range(some):
                sums[j][i] = w[k * ld + j]
        for p from 0 <= p < k by chain:
            narrow_any(sums[0], x + row * ldx + p, ldx, w + p * ld, ld, min(k - p, chain), n)
        memset(y + row * ld, 0, some * ld * sizeof(floating))
        for j in range(n):
            for i in range(some):
                y[(row + i) * ld + j] = sums[j][i]
        row += some


cdef inline inlined add_lines(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc, const floating* lines,
                              floating scale, Py_ssize_t m, const vec* like) noexcept nogil:
    """y := c + scale lines, m of them, in the operation that ends a tile: compilers would part a loop over numbers' in two"""
    cdef Py_ssize_t i
    cdef int j, registers_across = LINE_BYTES // sizeof(vec)
    for i in range(m):
        for j in range(registers_across):
            (<vec*> (y + i * ldy))[j] = (<const vec*> (c + i * ldc))[j] + (<const vec*> lines)[i * registers_across + j] * scale


cdef void narrow_gradient(const Into* to, const floating* d, Py_ssize_t ldd, const floating* x, Py_ssize_t ldx, Py_ssize_t m,
                          Py_ssize_t k, Py_ssize_t n, floating* across) noexcept nogil:
    """A line of columns of `to`, at most FEW of them no padding, := its c + scale x.T @ d in one chain of multiply-adds

    It goes through across := d.T @ x, whose rows fill registers.
    """
    cdef Py_ssize_t ld = padded(k, d), width = panel(d), ldc = 0, i, j, some
    cdef floating lines[LINES_ACROSS * SOME_COLUMNS]
    cdef floating zero[PANEL_FLOATS]
    cdef floating* y = <floating*> to.y + to.row * to.ld
    cdef const floating* c = &zero[0]
    cdef floating scale = to.scale
    cdef Ahead nothing
    cdef Tile t
    memset(zero, 0, sizeof(zero))
    memset(lines, 0, min(k, LINES_ACROSS) * line(d) * sizeof(floating))
    nothing.tiles, t.scale = 0, 1
    t.ldy, t.ldc, t.rows_apart, t.columns_apart, t.ldb, t.k = ld, 0, 1, ldd, ldx, m
    for j from 0 <= j < ld by width:
        t.y, t.c, t.a, t.b, t.n = across + j, zero, d, x + j, min(ld - j, width)
        strip(&t, 0, n, NULL, &nothing, NULL, d)
    if to.c == FROM_Y:
        c, ldc = y, to.ld
    elif to.c == FROM_OTHER:
        c, ldc = <const floating*> to.other + to.row * to.ld, to.ld
    for i from 0 <= i < k by LINES_ACROSS:
        some = min(k - i, LINES_ACROSS)
        turn(lines, line(d), across + i, 1, ld, some, n)
        if floating is float:
            add_lines(y + i * to.ld, to.ld, c + i * ldc, ldc, lines, scale, some, <const vf*> NULL)
        else:
            add_lines(y + i * to.ld, to.ld, c + i * ldc, ldc, lines, scale, some, <const vd*> NULL)
