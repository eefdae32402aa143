# The product that everything else is made of: y := c + a @ b, over tiles of y that stay in registers.
#
# m rows, n columns, k the summed index.   a (m, k)   b (k, n)   y, c (m, n)   n counts the padding: see `padded`.
#
# a is read where it lies: element (i, p) at a[i * rows_apart + p * columns_apart], one of them 1. So a transposed left side
# is the same loop. b and y are read in panels of PANEL_BYTES: panel j starts at j * step, its rows are ld apart; ld = 0 means
# one after the other. A row-major matrix has step = one panel's width and ld = its row; a packed one has step = rows * width
# and ld = 0, so that a block of its rows is one run of memory. A matrix of one panel is both. A loose b is in no panels: each
# block of one is made when it is used.
#
# Order: blocks of rows, blocks of k, panels, tiles. A panel's block stays in or near the L1 cache while the rows of a pass over
# it, and a block of a in the L2 cache while the panels do.
#
# Every y[i, j] is the same sum whatever the tile, the panel, the vector's width and the rows around it: for each block of k one
# chain of multiply-adds from 0 in the order of k, and these chains added to c in order. Hence the same bits in any batch.

cdef inline Py_ssize_t copy_size(const floating* like) noexcept nogil:
    """Elements that `product` needs to copy a block of a into, and a panel's block of b"""
    return MOST_ROWS * (K_BLOCK + line(like)) + K_BLOCK * panel(like)


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


cdef bint is_mostly_empty(const floating* a, Py_ssize_t rows_apart, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """Whether many of the k are such that a tile of a is 0 there: by some of the first tile's, as data is alike"""
    cdef Live live
    cdef Py_ssize_t p, looked = 0, count = 0
    if m < TILE_ROWS or k < FEWEST_TO_SKIP:
        return False
    for p from 0 <= p < k by 4 * FEWEST_TO_SKIP:
        find_live(&live, a + p, rows_apart, 1, min(k - p, FEWEST_TO_SKIP))
        looked, count = looked + min(k - p, FEWEST_TO_SKIP), count + live.count
    return 4 * count < 3 * looked


cdef inline bint alias(Py_ssize_t ldb, int ways, const floating* like) noexcept nogil:
    """Whether rows of b so far apart push each other out of the L1 cache, or, of 2 ways, out of the L2 cache too"""
    return ldb > 0 and ldb * <Py_ssize_t> sizeof(floating) % (2 * ways * ALIAS_BYTES) == 0


cdef inline bint sweeps(Py_ssize_t m, Py_ssize_t n, Py_ssize_t ldb, const floating* like) noexcept nogil:
    """Whether a row-major b is read from end to end, for some rows of a at a time; more rows than that are left to panels"""
    return n > 2 * panel(like) and ldb > 0 and m < (2 * MOST_SWEPT + 1 if alias(ldb, 1, like) else FEWEST_IN_PANELS)


cdef inline bint gathers(Py_ssize_t m, Py_ssize_t ldb, const floating* like) noexcept nogil:
    """Whether a panel's block of a row-major b is copied first, since several tiles would each read it from afar"""
    return m > 2 * MOST_SWEPT and alias(ldb, 2, like) or m >= FEWEST_TO_GATHER and alias(ldb, 1, like)


cdef inline Ahead run_ahead(const floating* at, Py_ssize_t by, Py_ssize_t k, Py_ssize_t tiles) noexcept nogil:
    """A run of memory, so many bytes for each of k and of the tiles"""
    cdef Ahead ahead
    ahead.at, ahead.by, ahead.beside = <const char*> at, by, LINE_BYTES if by > LINE_BYTES else 0
    ahead.next, ahead.tiles = by * k, tiles
    return ahead


cdef inline Ahead block_ahead(const Loose* loose, Py_ssize_t p, Py_ssize_t depth, Py_ssize_t j, Py_ssize_t n,
                              const floating* like) noexcept nogil:
    """The block of the panel that begins with column j: a tile fetches a line of each of its rows, or two of its columns"""
    cdef Py_ssize_t size = sizeof(floating), width = panel(like)
    cdef Ahead ahead
    ahead.tiles = 0
    if j >= n:
        return ahead
    if loose.panel_rows > 0:             # or what one panel has of it, which is a run of memory
        ahead = run_ahead(<const floating*> loose.b + p // width * width * loose.panel_rows + (loose.first + j) * width,
                          (width * PANEL_BYTES - 1) // depth + 1, depth, (p + depth - 1) // width - p // width + 1)
        ahead.next = PANEL_BYTES * loose.panel_rows
        return ahead
    ahead.at = <const char*> (<const floating*> loose.b + p * loose.rows_apart + (loose.first + j) * loose.columns_apart)
    if loose.columns_apart == 1:
        ahead.by, ahead.beside, ahead.next = loose.rows_apart * size, 0, LINE_BYTES
        ahead.tiles = PANEL_BYTES // LINE_BYTES
    else:
        ahead.by, ahead.beside, ahead.next = size, loose.columns_apart * size, 2 * loose.columns_apart * size
        ahead.tiles = width // 2
    return ahead


cdef inline Ahead rows_ahead(const floating* at, Py_ssize_t ldb) noexcept nogil:
    """A block of a panel of a row-major b, both lines of a row at a time"""
    cdef Ahead ahead
    ahead.at, ahead.by, ahead.beside = <const char*> at, ldb * <Py_ssize_t> sizeof(floating), LINE_BYTES
    ahead.next, ahead.tiles = 0, 1
    return ahead


cdef struct Block:                       # of a, as tiles are to read it
    const void* at
    Py_ssize_t rows_apart
    Py_ssize_t columns_apart
    Py_ssize_t tile_apart                # from one tile's rows to the next one's


cdef inline Block block_of(const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart, Py_ssize_t m, Py_ssize_t k,
                           bint copies, floating* copy) noexcept nogil:
    """A block of a where it lies, or copied so that a tile's rows are close to each other"""
    cdef Block block
    block.at, block.rows_apart, block.columns_apart, block.tile_apart = a, rows_apart, columns_apart, TILE_ROWS * rows_apart
    if copies and columns_apart == 1:
        copy_block(copy, K_BLOCK + line(a), a, rows_apart, m, k)
        block.at, block.rows_apart, block.tile_apart = copy, K_BLOCK + line(a), TILE_ROWS * (K_BLOCK + line(a))
    elif copies:
        copy_turned(copy, a, columns_apart, m, k)
        block.at, block.columns_apart, block.tile_apart = copy, TILE_ROWS, TILE_ROWS * k
    return block


cdef struct Into:                        # where a product goes
    void* y
    Py_ssize_t step
    Py_ssize_t ld
    Py_ssize_t row                       # of y, the first
    start c
    const void* other                    # the matrix that c is, if it is like y
    double scale                         # y := c + scale a @ b


cdef inline Into into(floating* y, Py_ssize_t step, Py_ssize_t ld, start c) noexcept nogil:
    """The usual one"""
    cdef Into to
    to.y, to.step, to.ld, to.row, to.c, to.other, to.scale = y, step, ld, 0, c, NULL, 1
    return to


cdef void product(const Into* to, const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                  const floating* b, Py_ssize_t b_step, Py_ssize_t ldb,
                  Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t k_block, bint skips,
                  const Loose* loose, Fetch* fetch, floating* copy) noexcept nogil:
    """y := c + scale a @ b, one chain of multiply-adds for each k_block <= K_BLOCK of k; chain_length(k) after a bias

    skips: the k at which a tile of a is 0, which gives the same if b is finite. loose: in place of b, unless it is NULL. Each
    block of a panel is then put into one by itself, for all rows of a block of a while it is in the cache.
    """
    cdef floating zero[PANEL_FLOATS]
    cdef floating* y = <floating*> to.y
    cdef start c = to.c
    cdef Py_ssize_t width = panel(y), size = sizeof(floating), apart = rows_apart if columns_apart == 1 else columns_apart
    # A copy of the block pays when several panels reuse columns that lie far apart, or when what it reads would push itself out
    # of the cache. Rows are read end to end, from wherever they are.
    cdef bint far = columns_apart > 1 and k * apart * size > (NEAR_BYTES if n > 4 * width else PAGED_BYTES)
    cdef bint copies = n > 2 * width and far or apart * size % ALIAS_BYTES == 0
    # With one panel or two it is the next rows that are fetched, if they lie end to end: b is in one of the caches.
    cdef bint single = n <= width and loose == NULL
    cdef bint streams = (n <= 2 * width and columns_apart == 1 and rows_apart < k + line(y) and k * n * size <= STREAM_BYTES
                         and loose == NULL)
    # Blocks of about as many rows. With a single panel there is nothing to come back for: a tile's rows are read end to end.
    cdef Py_ssize_t row_block = whole_tiles(m, MOST_ROWS), i = 0
    cdef Py_ssize_t p, j, rows, depth, columns, yld, bld, cld, strips
    cdef Ahead ahead
    cdef Loose rows_of_b
    cdef Block block
    cdef Tile t
    cdef const floating* left
    cdef const floating* bp
    cdef const floating* bias
    cdef floating* copy_of_b = copy + MOST_ROWS * (K_BLOCK + line(y))
    cdef const floating* cj
    cdef floating* yj
    cdef Live live[MOST_TILES]
    memset(zero, 0, sizeof(zero))
    if loose == NULL and c == FROM_BIAS and sweeps(m, n, ldb, y) and MOST_SWEPT * n <= copy_size(copy):
        for i from 0 <= i < m by MOST_SWEPT:
            row_sweep(y + i * to.ld, to.ld, b + k * ldb, a + i * rows_apart, rows_apart, columns_apart, b, ldb,
                      min(m - i, MOST_SWEPT), k, n, copy)
        return
    if loose == NULL and m == 1 and c == FROM_BIAS:
        for j from 0 <= j < n by width:
            columns = min(n - j, width)
            bld, bp = ldb or columns, b + j // width * b_step
            row_panel(y + j // width * to.step, bp + k * bld, a, columns_apart, bp, bld, k, columns)
        return
    if loose == NULL and gathers(m, ldb, y):
        rows_of_b.b, rows_of_b.bias, rows_of_b.panel_rows = b, b + k * ldb, 0
        rows_of_b.rows_apart, rows_of_b.columns_apart, rows_of_b.first, rows_of_b.columns = ldb, 1, 0, n
        loose = &rows_of_b
    while i < m:
        rows = next_rows(m - i, skips) if single or streams else min(m - i, row_block)
        for p from 0 <= p < max(k, 1) by k_block:
            depth = min(k - p, k_block)
            block = block_of(a + i * rows_apart + p * columns_apart, rows_apart, columns_apart, rows, depth, copies, copy)
            left = <const floating*> block.at
            for j in range(rows // TILE_ROWS if skips else 0):
                find_live(&live[j], left + j * block.tile_apart, block.rows_apart, block.columns_apart, depth)
            for j from 0 <= j < n by width:
                columns = min(n - j, width)
                yld, bld = to.ld or columns, ldb or columns
                yj = y + j // width * to.step + (to.row + i) * yld
                if loose != NULL:
                    bp, bld, bias = copy_of_b, columns, <const floating*> loose.bias + j
                    take_block(copy_of_b, loose, k, p, depth, loose.first + j, columns)
                else:
                    bp = b + j // width * b_step
                    bias, bp = bp + k * bld, bp + p * bld
                if p > 0 or c == FROM_Y:
                    cj, cld = yj, yld
                elif c == FROM_OTHER:
                    cj, cld = <const floating*> to.other + (yj - y), yld
                else:
                    cj, cld = bias if c == FROM_BIAS else zero, 0
                if streams and j == 0:
                    ahead = run_ahead(a + (i + rows) * rows_apart + p * rows, rows * size, depth, 1)
                elif loose != NULL:
                    ahead = block_ahead(loose, p, depth, j + width, n, y)
                elif ldb > 0 and k * ldb * size > LARGE_BYTES:
                    ahead = rows_ahead(bp + width if j + width < n else b + (p + depth) * ldb, ldb)
                else:
                    strips = rows // TILE_ROWS if ldb == 0 and j + width < n else 0
                    ahead = run_ahead(bp + b_step, (columns * size - 1) // max(strips, 1) + 1, depth, strips)
                t.y, t.ldy, t.c, t.ldc, t.a, t.b, t.ldb, t.k, t.n = yj, yld, cj, cld, left, bp, bld, depth, columns
                t.rows_apart, t.columns_apart, t.scale = block.rows_apart, block.columns_apart, to.scale
                strip(&t, block.tile_apart, rows, &live[0] if skips else <Live*> NULL, &ahead, fetch, y)
        i += rows
