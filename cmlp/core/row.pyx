# A single row of y := c + a @ b, as one sample makes it: the sums of a tile's row, without the waiting. The letters are those of
# gemm.pyx.

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


cdef void row_panel(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const floating* b, Py_ssize_t ldb,
                    Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """y := c + a @ b for one row and the n columns of a panel"""
    cdef Py_ssize_t lanes = (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating), j
    for j from 0 <= j < n by TILE_VECTORS * lanes:
        if n - j > lanes:
            row_tile(y + j, c + j, a, apart, b + j, ldb, k, TILE_VECTORS)
        else:
            row_tile(y + j, c + j, a, apart, b + j, ldb, k, 1)


cdef void row_sweep(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const floating* b, Py_ssize_t ldb,
                    Py_ssize_t k, Py_ssize_t n, floating* acc) noexcept nogil:
    """y := c + a @ b for one row and a row-major b that is read from end to end; acc: room for n chains"""
    cdef Py_ssize_t p, q, _q, j, depth, chain = chain_length(k)
    cdef floating a0, a1, a2, a3
    for p from 0 <= p < max(k, 1) by chain:
        depth = min(k - p, chain)
        memset(acc, 0, n * sizeof(floating))
        for q from 0 <= q < depth // 4 * 4 by 4:
            a0, a1, a2, a3 = a[0], a[apart], a[2 * apart], a[3 * apart]
            for j in range(n):
                acc[j] = acc[j] + a0 * b[j]
                acc[j] = acc[j] + a1 * b[ldb + j]
                acc[j] = acc[j] + a2 * b[2 * ldb + j]
                acc[j] = acc[j] + a3 * b[3 * ldb + j]
            a, b = a + 4 * apart, b + 4 * ldb
        for _q in range(depth // 4 * 4, depth):
            a0 = a[0]
            for j in range(n):
                acc[j] = acc[j] + a0 * b[j]
            a, b = a + apart, b + ldb
        for j in range(n):
            y[j] = c[j] + acc[j]
        c = y
