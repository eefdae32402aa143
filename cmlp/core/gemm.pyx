# The product that everything else is made of: y := c + a @ b, over tiles of y that stay in registers.
#
# m rows, n columns, k the summed index.   a (m, k)   b (k, n)   y, c (m, n)   n counts the padding: see `padded`.
#
# a is read where it lies: element (i, p) at a[i * rows_apart + p * columns_apart], one of them 1. So a transposed left side
# is the same loop. b and y are read in panels of PANEL_BYTES: panel j starts at j * step, its rows are ld apart; ld = 0 means
# one after the other. A row-major matrix has step = one panel's width and ld = its row; a packed one has step = rows * width
# and ld = 0, so that a block of its rows is one run of memory. A matrix of one panel is both.
#
# Order: blocks of rows, blocks of k, panels, tiles. A panel's block stays in or near the L1 cache while the rows of a pass over
# it, and a block of rows of y in the L2 cache while k goes by.
#
# Every y[i, j] is the same sum whatever the tile, the panel, the vector's width and the rows around it: for each block of k one
# chain of multiply-adds from 0 in the order of k, and these chains added to c in order. Hence the same bits in any batch.
from libc.string cimport memcpy, memset

cdef extern from "vec.h" nogil:
    ctypedef float vf                    # to Cython a float; really one register of floats. Cython writes a + b * c, which
    ctypedef double vd                   # the C compiler reads as operations on whole registers
    ctypedef void inlined                # the C compiler has no choice but to inline what returns it
    void prefetch(const void* address)
    enum: TILE_ROWS                      # TILE_ROWS * TILE_VECTORS + TILE_VECTORS + 1 registers are in use

cdef enum:
    TILE_VECTORS = 2                     # registers across a tile
    LINE_BYTES = 64                      # a cache line: what rows of our own arrays are padded to
    PANEL_BYTES = 128                    # a whole number of tiles for every instruction set
    PANEL_FLOATS = 32
    K_BLOCK = 256                        # of k in one go: a panel's rows are 32 KiB, about an L1 cache
    WHOLE_TILES = 42                     # rows: three tiles of 14, seven of 6
    MOST_ROWS = 252                      # of a that are used on one panel after another
    BLOCK_BYTES = 393216                 # of y that stays in the L2 cache from one block of k to the next
    ALIAS_BYTES = 2048                   # rows this far apart, or a multiple of it, fall into the same few sets of the L1 cache

cdef enum start:                         # what c is
    FROM_ZERO
    FROM_BIAS                            # row k of b, for every row of y
    FROM_Y                               # y itself: the product is added to it

ctypedef fused vec:
    vf
    vd


cdef inline Py_ssize_t line(const floating* like) noexcept nogil:
    """Elements in a cache line"""
    return LINE_BYTES // sizeof(floating)


cdef inline Py_ssize_t panel(const floating* like) noexcept nogil:
    """Columns of a panel"""
    return PANEL_BYTES // sizeof(floating)


cdef inline Py_ssize_t padded(Py_ssize_t n, const floating* like) noexcept nogil:
    """n columns rounded up to whole cache lines"""
    return (n + line(like) - 1) // line(like) * line(like)


cdef inline inlined registers(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                              const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                              const vec* b, Py_ssize_t ldb, Py_ssize_t k, int rows, int vectors) noexcept nogil:
    """y := c + a @ b for `rows` rows and `vectors` registers of columns, both constants where this is inlined"""
    cdef vec acc[TILE_ROWS][TILE_VECTORS]
    cdef vec zero
    cdef Py_ssize_t _p
    cdef int i, j
    memset(&zero, 0, sizeof(zero))
    for i in range(rows):
        for j in range(vectors):
            acc[i][j] = zero
            prefetch(<const vec*> (c + i * ldc) + j)
    for _p in range(k):
        for i in range(rows):
            for j in range(vectors):
                acc[i][j] = acc[i][j] + b[j] * a[i * rows_apart]
        a += columns_apart
        b = <const vec*> (<const floating*> b + ldb)
    for i in range(rows):
        for j in range(vectors):
            (<vec*> y)[j] = (<const vec*> c)[j] + acc[i][j]
        y += ldy
        c += ldc


cdef inline inlined tile(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                         const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                         const floating* b, Py_ssize_t ldb, Py_ssize_t k, int rows, int vectors) noexcept nogil:
    """`registers` for the dtype at hand"""
    if floating is float:
        registers(y, ldy, c, ldc, a, rows_apart, columns_apart, <const vf*> b, ldb, k, rows, vectors)
    else:
        registers(y, ldy, c, ldc, a, rows_apart, columns_apart, <const vd*> b, ldb, k, rows, vectors)


cdef inline inlined tiles(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                          const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                          const floating* b, Py_ssize_t ldb, Py_ssize_t k, Py_ssize_t n, int rows) noexcept nogil:
    """y := c + a @ b for `rows` rows, a constant where this is inlined, and the n columns of a panel"""
    cdef Py_ssize_t lanes = (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating), j
    for j from 0 <= j < n by TILE_VECTORS * lanes:
        if n - j > lanes:
            tile(y + j, ldy, c + j, ldc, a, rows_apart, columns_apart, b + j, ldb, k, rows, TILE_VECTORS)
        else:
            tile(y + j, ldy, c + j, ldc, a, rows_apart, columns_apart, b + j, ldb, k, rows, 1)


cdef void strip(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc, const floating* a, Py_ssize_t tile_apart,
                Py_ssize_t rows_apart, Py_ssize_t columns_apart, const floating* b, Py_ssize_t ldb,
                Py_ssize_t m, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """y := c + a @ b for any m rows, those of whole tiles of a tile_apart, and the n columns of a panel"""
    while m >= TILE_ROWS:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, n, TILE_ROWS)
        y, c, a, m = y + TILE_ROWS * ldy, c + TILE_ROWS * ldc, a + tile_apart, m - TILE_ROWS
    if TILE_ROWS > 8 and m >= 8:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, n, 8)
        y, c, a, m = y + 8 * ldy, c + 8 * ldc, a + 8 * rows_apart, m - 8
    if m >= 4:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, n, 4)
        y, c, a, m = y + 4 * ldy, c + 4 * ldc, a + 4 * rows_apart, m - 4
    if m >= 2:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, n, 2)
        y, c, a, m = y + 2 * ldy, c + 2 * ldc, a + 2 * rows_apart, m - 2
    if m >= 1:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, n, 1)


cdef inline Py_ssize_t copy_size(const floating* like) noexcept nogil:
    """Elements that `product` needs to copy a block of a into"""
    return MOST_ROWS * (K_BLOCK + line(like))


cdef inline void copy_block(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source,
                            Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to := source, row by row"""
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(to + i * ld_to, source + i * ld_source, columns * sizeof(floating))


cdef void copy_turned(floating* to, const floating* source, Py_ssize_t columns_apart, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """to := source, whose columns are runs of memory, a tile's rows at a time: all of k for these lies together"""
    cdef Py_ssize_t i, p
    for i from 0 <= i < m by TILE_ROWS:
        for p in range(k):
            if m - i >= TILE_ROWS:       # of a size that the compiler knows
                memcpy(to, source + i + p * columns_apart, TILE_ROWS * sizeof(floating))
            else:
                memcpy(to, source + i + p * columns_apart, (m - i) * sizeof(floating))
            to += TILE_ROWS


cdef void product(floating* y, Py_ssize_t y_step, Py_ssize_t ldy,
                  const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                  const floating* b, Py_ssize_t b_step, Py_ssize_t ldb,
                  Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, start c, floating* copy) noexcept nogil:
    """y := c + a @ b"""
    cdef floating zero[PANEL_FLOATS]
    cdef Py_ssize_t width = panel(y), size = sizeof(floating), apart = rows_apart if columns_apart == 1 else columns_apart
    # A copy of the block pays when panels reuse it, or when its rows would push each other out of the cache.
    cdef bint copies = n > 2 * width or apart * size % ALIAS_BYTES == 0
    cdef Py_ssize_t row_block = min(max(BLOCK_BYTES // (n * size * WHOLE_TILES), 2) * WHOLE_TILES, MOST_ROWS)
    cdef Py_ssize_t p, i, j, rows, depth, columns, yld, bld, ta, ra, ca, cld
    cdef const floating* block
    cdef const floating* bj
    cdef const floating* cj
    cdef floating* yj
    if n <= width:                       # there is nothing to come back for: a tile's rows are read from end to end
        row_block = TILE_ROWS
    memset(zero, 0, sizeof(zero))
    for i from 0 <= i < m by row_block:
        rows = min(m - i, row_block)
        for p from 0 <= p < max(k, 1) by K_BLOCK:
            depth = min(k - p, K_BLOCK)
            block, ra, ca = a + i * rows_apart + p * columns_apart, rows_apart, columns_apart
            ta = TILE_ROWS * ra
            if copies:
                if columns_apart == 1:
                    ra = K_BLOCK + line(y)
                    ta = TILE_ROWS * ra
                    copy_block(copy, ra, block, rows_apart, rows, depth)
                else:
                    ca = TILE_ROWS
                    ta = TILE_ROWS * depth
                    copy_turned(copy, block, columns_apart, rows, depth)
                block = copy
            for j from 0 <= j < n by width:
                columns = min(n - j, width)
                yld, bld = ldy or columns, ldb or columns
                yj = y + j // width * y_step + i * yld
                bj = b + j // width * b_step
                if p > 0 or c == FROM_Y:
                    cj, cld = yj, yld
                else:
                    cj, cld = bj + k * bld if c == FROM_BIAS else zero, 0
                strip(yj, yld, cj, cld, block, ta, ra, ca, bj + p * bld, bld, rows, depth, columns)


cdef void pack(floating* to, Py_ssize_t to_rows, Py_ssize_t first, const floating* source,
               Py_ssize_t rows_apart, Py_ssize_t columns_apart, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """Rows first .. first + rows of `to`, packed panels of to_rows rows, := source; the padding := 0"""
    cdef Py_ssize_t width = panel(to), all_columns = padded(columns, to)
    cdef Py_ssize_t i, j, q, r, wide, filled
    cdef const floating* row
    cdef floating* out
    for j from 0 <= j < all_columns by width:
        wide, filled = min(all_columns - j, width), min(columns - j, width)
        out = to + j * to_rows + first * wide
        for i in range(rows):
            memset(out + i * wide + filled, 0, (wide - filled) * sizeof(floating))
        if columns_apart == 1:
            for i in range(rows):
                memcpy(out + i * wide, source + i * rows_apart + j, filled * sizeof(floating))
            continue
        for i from 0 <= i < rows by line(to):            # a cache line of each column at a time
            for q in range(filled):
                row = source + i * rows_apart + (j + q) * columns_apart
                for r in range(min(rows - i, line(to))):
                    out[(i + r) * wide + q] = row[r * rows_apart]


cdef void unpack(floating* to, Py_ssize_t ld, const floating* source, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to, row-major, := source, packed panels of `rows` rows"""
    cdef Py_ssize_t width = panel(to), all_columns = padded(columns, to)
    cdef Py_ssize_t j
    for j from 0 <= j < all_columns by width:
        copy_block(to + j, ld, source + j * rows, min(all_columns - j, width), rows, min(columns - j, width))
