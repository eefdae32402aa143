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


cdef inline inlined chains(floating* y, const floating* c, const floating* a, Py_ssize_t apart, const vec* b, Py_ssize_t ldb,
                           Py_ssize_t depth, int blocks, int vectors) noexcept nogil:
    """y := c + a @ b for one row and `vectors` registers: `blocks` chains of k side by side, which do not wait for each other"""
    cdef vec acc[ROW_BLOCKS][TILE_VECTORS]
    cdef vec zero
    cdef Py_ssize_t _p, b_apart = K_BLOCK * ldb
    cdef int i, j
    memset(&zero, 0, sizeof(zero))
    for i in range(blocks):
        for j in range(vectors):
            acc[i][j] = zero
    for _p in range(depth):
        for i in range(blocks):
            for j in range(vectors):
                acc[i][j] = acc[i][j] + (<const vec*> (<const floating*> b + i * b_apart))[j] * a[i * K_BLOCK * apart]
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
    while k >= ROW_BLOCKS * K_BLOCK:
        chain_blocks(y, c, a, apart, b, ldb, K_BLOCK, ROW_BLOCKS, vectors)
        a, b, c, k = a + ROW_BLOCKS * K_BLOCK * apart, b + ROW_BLOCKS * K_BLOCK * ldb, y, k - ROW_BLOCKS * K_BLOCK
    if k >= 2 * K_BLOCK:
        chain_blocks(y, c, a, apart, b, ldb, K_BLOCK, 2, vectors)
        a, b, c, k = a + 2 * K_BLOCK * apart, b + 2 * K_BLOCK * ldb, y, k - 2 * K_BLOCK
    if k >= K_BLOCK:
        chain_blocks(y, c, a, apart, b, ldb, K_BLOCK, 1, vectors)
        a, b, c, k = a + K_BLOCK * apart, b + K_BLOCK * ldb, y, k - K_BLOCK
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
    cdef Py_ssize_t p, q, _q, j, depth
    cdef floating a0, a1, a2, a3
    for p from 0 <= p < max(k, 1) by K_BLOCK:
        depth = min(k - p, K_BLOCK)
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


cdef inline Py_ssize_t whole_tiles(Py_ssize_t m, Py_ssize_t most) noexcept nogil:
    """Rows of the blocks into which m rows are cut, at most so many each"""
    cdef Py_ssize_t blocks = max((m + most - 1) // most, 1), rows = (m + blocks - 1) // blocks
    return min((rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS, most)


cdef void product(floating* y, Py_ssize_t y_step, Py_ssize_t ldy,
                  const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                  const floating* b, Py_ssize_t b_step, Py_ssize_t ldb,
                  Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, start c, Py_ssize_t k_block, floating* copy) noexcept nogil:
    """y := c + a @ b, one chain of multiply-adds for each k_block <= K_BLOCK of k"""
    cdef floating zero[PANEL_FLOATS]
    cdef Py_ssize_t width = panel(y), size = sizeof(floating), apart = rows_apart if columns_apart == 1 else columns_apart
    # A copy of the block pays when panels reuse it, or when its rows would push each other out of the cache.
    cdef bint copies = n > 2 * width or apart * size % ALIAS_BYTES == 0
    # Blocks of about as many rows. With a single panel there is nothing to come back for: a tile's rows are read end to end.
    cdef Py_ssize_t row_block = TILE_ROWS if n <= width else whole_tiles(m, MOST_ROWS)
    cdef Py_ssize_t p, i, j, rows, depth, columns, yld, bld, ta, ra, ca, cld
    cdef const floating* block
    cdef const floating* bj
    cdef const floating* cj
    cdef floating* yj
    memset(zero, 0, sizeof(zero))
    if m == 1 and c == FROM_BIAS and k_block == K_BLOCK:
        if ldb > 0 and 2 * width < n <= copy_size(copy):
            row_sweep(y, b + k * ldb, a, columns_apart, b, ldb, k, n, copy)
            return
        for j from 0 <= j < n by width:
            columns = min(n - j, width)
            bld, bj = ldb or columns, b + j // width * b_step
            row_panel(y + j // width * y_step, bj + k * bld, a, columns_apart, bj, bld, k, columns)
        return
    for i from 0 <= i < m by row_block:
        rows = min(m - i, row_block)
        for p from 0 <= p < max(k, 1) by k_block:
            depth = min(k - p, k_block)
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


cdef inline void turn_square(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source) noexcept nogil:
    """to := source.T, both of as many rows and columns as 16 bytes hold"""
    cdef quad a, b, c, d, ac, bd
    cdef pair p, q
    if floating is float:
        a, b = (<const quad*> source)[0], (<const quad*> (source + ld_source))[0]
        c, d = (<const quad*> (source + 2 * ld_source))[0], (<const quad*> (source + 3 * ld_source))[0]
        ac, bd = deal_quads_low(a, c), deal_quads_low(b, d)
        (<quad*> to)[0], (<quad*> (to + ld_to))[0] = deal_quads_low(ac, bd), deal_quads_high(ac, bd)
        ac, bd = deal_quads_high(a, c), deal_quads_high(b, d)
        (<quad*> (to + 2 * ld_to))[0], (<quad*> (to + 3 * ld_to))[0] = deal_quads_low(ac, bd), deal_quads_high(ac, bd)
    else:
        p, q = (<const pair*> source)[0], (<const pair*> (source + ld_source))[0]
        (<pair*> to)[0], (<pair*> (to + ld_to))[0] = deal_pairs_low(p, q), deal_pairs_high(p, q)


cdef void turn(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
               Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to (rows, columns) := source, whose columns are runs of memory if rows_apart is 1: in squares then"""
    cdef Py_ssize_t side = 16 // sizeof(floating), squares = 0, whole = rows // side * side, i, j, r
    if HAS_SHUFFLES and rows_apart == 1:
        squares = columns // side * side
    for i from 0 <= i < whole by side:
        for j from 0 <= j < squares by side:
            turn_square(to + i * ld_to + j, ld_to, source + i + j * columns_apart, columns_apart)
        for r in range(i, i + side):
            for j in range(squares, columns):
                to[r * ld_to + j] = source[r * rows_apart + j * columns_apart]
    for r in range(whole, rows):
        for j in range(columns):
            to[r * ld_to + j] = source[r * rows_apart + j * columns_apart]


cdef void pack(floating* to, Py_ssize_t to_rows, Py_ssize_t first, const floating* source,
               Py_ssize_t rows_apart, Py_ssize_t columns_apart, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """Rows first .. first + rows of `to`, packed panels of to_rows rows, := source; the padding := 0"""
    cdef Py_ssize_t width = panel(to), all_columns = padded(columns, to), some = ROWS_TO_PACK if columns_apart == 1 else rows
    cdef Py_ssize_t i, j, r, wide, filled, depth
    cdef floating* out
    cdef const floating* block
    for i from 0 <= i < rows by some:
        depth = min(rows - i, some)
        for j from 0 <= j < all_columns by width:
            wide, filled = min(all_columns - j, width), min(columns - j, width)
            out, block = to + j * to_rows + (first + i) * wide, source + i * rows_apart + j * columns_apart
            for r in range(depth):
                memset(out + r * wide + filled, 0, (wide - filled) * sizeof(floating))
            if columns_apart == 1:
                for r in range(depth):
                    memcpy(out + r * wide, block + r * rows_apart, filled * sizeof(floating))
            else:
                turn(out, wide, block, rows_apart, columns_apart, depth, filled)


cdef void unpack(floating* to, Py_ssize_t ld, const floating* source, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to, row-major, := source, packed panels of `rows` rows"""
    cdef Py_ssize_t width = panel(to), all_columns = padded(columns, to)
    cdef Py_ssize_t j
    for j from 0 <= j < all_columns by width:
        copy_block(to + j, ld, source + j * rows, min(all_columns - j, width), rows, min(columns - j, width))
