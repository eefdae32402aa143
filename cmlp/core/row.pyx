# A single row of y := c + a @ b, as one sample makes it, or a few: the sums of a tile's rows, without the waiting. The letters
# are those of gemm.pyx.

cdef inline inlined chains(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const vec* b, Py_ssize_t ldb,
                           Py_ssize_t depth, int blocks, int vectors) noexcept nogil:
    """y := c + a @ b for one row and `vectors` registers: `blocks` chains of k side by side, which do not wait for each other"""
    cdef vec acc[ROW_BLOCKS][TILE_VECTORS]
    cdef vec zero
    cdef Py_ssize_t _p, b_apart = depth * ldb
    cdef int i, j
    memset(&zero, 0, sizeof(zero))
    for i in range(blocks):
        for j in range(vectors):
            acc[i][j] = zero
    for _p in range(depth):
        for i in range(blocks):
            for j in range(vectors):
                acc[i][j] = acc[i][j] + (<const vec*> (<const floating*> b + i * b_apart))[j] * a[i * depth * apart]
        a += apart
        b = <const vec*> (<const floating*> b + ldb)
    for j in range(vectors):
        zero = (<const vec*> c)[j]
        for i in range(blocks):
            zero = zero + acc[i][j]
        (<vec*> y)[j] = zero


cdef inline inlined chain_blocks(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const floating* b,
                                 Py_ssize_t ldb, Py_ssize_t depth, int blocks, int vectors) noexcept nogil:
    """`chains` for the dtype at hand"""
    if floating is float:
        chains(y, c, a, apart, <const vf*> b, ldb, depth, blocks, vectors)
    else:
        chains(y, c, a, apart, <const vd*> b, ldb, depth, blocks, vectors)


cdef inline inlined row_tile(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const floating* b,
                             Py_ssize_t ldb, Py_ssize_t k, int vectors) noexcept nogil:
    """y := c + a @ b for one row and `vectors` registers, a constant where this is inlined"""
    cdef Py_ssize_t depth = chain_length(k)
    while k >= ROW_BLOCKS * depth:
        chain_blocks(y, c, a, apart, b, ldb, depth, ROW_BLOCKS, vectors)
        a, b, c, k = a + ROW_BLOCKS * depth * apart, b + ROW_BLOCKS * depth * ldb, y, k - ROW_BLOCKS * depth
    if k >= 2 * depth:
        chain_blocks(y, c, a, apart, b, ldb, depth, 2, vectors)
        a, b, c, k = a + 2 * depth * apart, b + 2 * depth * ldb, y, k - 2 * depth
    if k >= depth:
        chain_blocks(y, c, a, apart, b, ldb, depth, 1, vectors)
        a, b, c, k = a + depth * apart, b + depth * ldb, y, k - depth
    if k > 0 or c != y:
        chain_blocks(y, c, a, apart, b, ldb, k, 1, vectors)


cdef one_copy row_panel(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const floating* b, Py_ssize_t ldb,
                        Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """y := c + a @ b for one row and the n columns of a panel"""
    cdef Py_ssize_t lanes = lane_count(y), j
    for j from 0 <= j < n by TILE_VECTORS * lanes:
        if n - j > lanes:
            row_tile(y + j, c + j, a, apart, b + j, ldb, k, TILE_VECTORS)
        else:
            row_tile(y + j, c + j, a, apart, b + j, ldb, k, 1)


cdef inline inlined sweep(vec* acc, const floating* a, Py_ssize_t rows_apart, Py_ssize_t apart, const vec* b, Py_ssize_t ldb,
                          Py_ssize_t registers, int rows, int depth) noexcept nogil:
    """acc += a @ b for `rows` rows and `depth` of k, constants where this is inlined: rows of acc lie side by side"""
    cdef vec factors[MOST_SWEPT][SWEPT_DEPTH]
    cdef vec sums[MOST_SWEPT]
    cdef vec one
    cdef Py_ssize_t _j
    cdef int i, q
    memset(&one, 0, sizeof(one))
    for i in range(rows):
        for q in range(depth):
            factors[i][q] = one + a[i * rows_apart + q * apart]
    for _j in range(registers):
        for i in range(rows):
            sums[i] = acc[i * registers]
        for q in range(depth):
            one = (<const vec*> (<const floating*> b + q * ldb))[0]
            for i in range(rows):
                sums[i] = sums[i] + one * factors[i][q]
        for i in range(rows):
            acc[i * registers] = sums[i]
        acc += 1
        b += 1


cdef inline inlined sweep_rows(floating* acc, const floating* a, Py_ssize_t rows_apart, Py_ssize_t apart, const floating* b,
                               Py_ssize_t ldb, Py_ssize_t n, int rows, int depth) noexcept nogil:
    """`sweep` for the dtype at hand"""
    if floating is float:
        sweep(<vf*> acc, a, rows_apart, apart, <const vf*> b, ldb, n * sizeof(float) // sizeof(vf), rows, depth)
    else:
        sweep(<vd*> acc, a, rows_apart, apart, <const vd*> b, ldb, n * sizeof(double) // sizeof(vd), rows, depth)


cdef one_copy sweep_any(floating* acc, const floating* a, Py_ssize_t rows_apart, Py_ssize_t apart, const floating* b,
                        Py_ssize_t ldb, Py_ssize_t n, Py_ssize_t rows, int depth) noexcept nogil:
    """`sweep` for some depth that is 1 or SWEPT_DEPTH, and a few rows"""
    cdef Py_ssize_t i
    if depth == 1:
        for i in range(rows):
            sweep_rows(acc + i * n, a + i * rows_apart, 0, apart, b, ldb, n, 1, 1)
    elif rows == 1:
        sweep_rows(acc, a, rows_apart, apart, b, ldb, n, 1, SWEPT_DEPTH)
    elif rows == 2:
        sweep_rows(acc, a, rows_apart, apart, b, ldb, n, 2, SWEPT_DEPTH)
    elif rows == 3:
        sweep_rows(acc, a, rows_apart, apart, b, ldb, n, 3, SWEPT_DEPTH)
    else:
        sweep_rows(acc, a, rows_apart, apart, b, ldb, n, MOST_SWEPT, SWEPT_DEPTH)


cdef one_copy row_chain(floating* acc, const floating* a, Py_ssize_t rows_apart, Py_ssize_t apart, const floating* b,
                        Py_ssize_t ldb, Py_ssize_t m, Py_ssize_t depth, Py_ssize_t n) noexcept nogil:
    """acc := a @ b for a few rows and one chain of k, b being row-major and read from end to end: rows of acc lie side by side"""
    cdef Py_ssize_t q
    memset(acc, 0, m * n * sizeof(floating))
    for q from 0 <= q < depth // SWEPT_DEPTH * SWEPT_DEPTH by SWEPT_DEPTH:
        sweep_any(acc, a + q * apart, rows_apart, apart, b + q * ldb, ldb, n, m, SWEPT_DEPTH)
    for q in range(depth // SWEPT_DEPTH * SWEPT_DEPTH, depth):
        sweep_any(acc, a + q * apart, rows_apart, apart, b + q * ldb, ldb, n, m, 1)


cdef one_copy row_sweep(floating* y, Py_ssize_t ldy, const floating* c, const floating* a, Py_ssize_t rows_apart,
                        Py_ssize_t apart, const floating* b, Py_ssize_t ldb, Py_ssize_t m, Py_ssize_t k, Py_ssize_t n,
                        floating* acc) noexcept nogil:
    """y := c + a @ b, c being one row, by such chains; acc: room for m rows of n"""
    cdef Py_ssize_t p, i, j, chain = chain_length(k)
    for p from 0 <= p < max(k, 1) by chain:
        row_chain(acc, a + p * apart, rows_apart, apart, b + p * ldb, ldb, m, min(k - p, chain), n)
        for i in range(m):
            for j in range(n):
                y[i * ldy + j] = (c[j] if p == 0 else y[i * ldy + j]) + acc[i * n + j]
