# The register tile: some rows and columns of y := c + a @ b, which stay in registers while k goes by. The letters, and how a, b
# and y are addressed, are those of gemm.pyx.
from libc.string cimport memset

cdef extern from "vec.h" nogil:
    ctypedef float vf                    # to Cython a float; really one register of floats. Cython writes a + b * c, which
    ctypedef double vd                   # the C compiler reads as operations on whole registers
    ctypedef void inlined                # the C compiler has no choice but to inline what returns it
    void prefetch(const void* address)
    ctypedef float quad                  # 16 bytes of them
    ctypedef double pair
    quad deal_quads_low(quad a, quad b)
    quad deal_quads_high(quad a, quad b)
    pair deal_pairs_low(pair a, pair b)
    pair deal_pairs_high(pair a, pair b)
    enum: HAS_SHUFFLES
    enum: TILE_ROWS                      # TILE_ROWS * TILE_VECTORS + TILE_VECTORS + 1 registers are in use

cdef enum:
    TILE_VECTORS = 2                     # registers across a tile
    LINE_BYTES = 64                      # a cache line: what rows of our own arrays are padded to
    PANEL_BYTES = 128                    # a whole number of tiles for every instruction set
    PANEL_FLOATS = 32
    K_BLOCK = 256                        # of k in one go: a panel's rows are 32 KiB, about an L1 cache
    WHOLE_TILES = 42                     # rows: three tiles of 14, seven of 6
    MOST_ROWS = 294                      # of a that are used on one panel after another
    ROWS_TO_PACK = 16                    # side by side, so that each is read as a run of memory
    ROW_BLOCKS = 4                       # chains of k that a single row is made of at a time
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
