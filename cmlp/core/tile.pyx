# The register tile: some rows and columns of y := c + a @ b, which stay in registers while k goes by. The letters, and how a, b
# and y are addressed, are those of gemm.pyx.
from libc.string cimport memset

cdef extern from "vec.h" nogil:
    ctypedef float vf                    # to Cython a float; really one register of floats. Cython writes a + b * c, which
    ctypedef double vd                   # the C compiler reads as operations on whole registers
    ctypedef void inlined                # the C compiler has no choice but to inline what returns it
    ctypedef void out_of_line            # and may not inline what returns this
    ctypedef void one_copy               # or make it again for some of what it is given
    void prefetch(const void* address)
    void prefetch_far(const void* address)
    ctypedef float quad                  # 16 bytes of them
    ctypedef double pair
    quad deal_quads_low(quad a, quad b)
    quad deal_quads_high(quad a, quad b)
    pair deal_pairs_low(pair a, pair b)
    pair deal_pairs_high(pair a, pair b)
    vf deal_floats_low(vf a, vf b)       # in each 16 bytes of a register
    vf deal_floats_high(vf a, vf b)
    vd deal_doubles_low(vd a, vd b)
    vd deal_doubles_high(vd a, vd b)
    vf floats_of_quads(const float* first, Py_ssize_t apart)
    vd doubles_of_pairs(const double* first, Py_ssize_t apart)
    enum: HAS_SHUFFLES
    ctypedef unsigned int word32         # the bits of a float, and of a double or two floats
    ctypedef unsigned long long word64
    void opaque(const void* pointer)     # the compiler is to forget what it was made of, and give it a register
    enum: BROADCASTS                     # whether a multiply-add takes a number from memory for all of a register
    enum: TILE_ROWS                      # TILE_ROWS * TILE_VECTORS + TILE_VECTORS + 1 registers are in use

cdef enum:
    TILE_VECTORS = 2                     # registers across a tile
    LINE_BYTES = 64                      # a cache line: what rows of our own arrays are padded to
    PANEL_BYTES = 128                    # a whole number of tiles for every instruction set
    PANEL_FLOATS = 32
    K_BLOCK = 256                        # of k in one go, at most: a panel's rows are 32 KiB, about an L1 cache
    FEW = 4                              # columns that leave most of a register to the padding
    WHOLE_TILES = 42                     # rows: three tiles of 14, seven of 6
    MOST_ROWS = 294                      # of a that are used on one panel after another
    MOST_TILES = 49                      # in these, of 6 rows or more
    MOST_SWEPT = 4                       # rows for which a row-major b is read from end to end at once
    FEWEST_IN_PANELS = 4                 # rows for which it is read by panels, unless its rows alias
    SWEPT_DEPTH = 4                      # of its rows at a time
    FEWEST_TO_GATHER = 64                # rows of a that copying a block of b pays for, if it stays in the L2 cache as it lies
    FEWEST_TO_SKIP = 32                  # of k: with fewer it does not pay to look for those at which a tile is 0
    STREAM_BYTES = 4194304               # of b at most, if it is to be read again for each tile's rows of a
    FEWEST_TO_FETCH = 4                  # rows of a tile that fetches what comes next: others wait for themselves
    LARGE_BYTES = 524288                 # of a row-major b, more than which may not be in the L2 cache
    NEAR_BYTES = 32768                   # of a turned a: read where it lies, each of its columns is a line or two for a tile
    PAGED_BYTES = 393216                 # the same for a few panels: more pages are not all at hand to a processor
    ROWS_TO_PACK = 16                    # side by side, so that each is read as a run of memory
    ROW_BLOCKS = 4                       # chains of k that a single row is made of at a time
    ALIAS_BYTES = 2048                   # rows this far apart, or a multiple of it, fall into the same few sets of the L1 cache

cdef enum start:                         # what c is
    FROM_ZERO
    FROM_BIAS                            # row k of b, for every row of y
    FROM_Y                               # y itself: the product is added to it
    FROM_OTHER                           # a matrix like y

ctypedef fused vec:
    vf
    vd

ctypedef unsigned short ushort

cdef struct Live:                        # of the k of a tile: those at which not all of its rows are 0
    Py_ssize_t count
    ushort k[K_BLOCK]


cdef struct Ahead:                       # what is read after a panel's block: tiles of some rows fetch it, lines with each k
    const char* at
    Py_ssize_t by                        # bytes from what comes with one k to what comes with the next
    Py_ssize_t beside                    # to the second line that comes along
    Py_ssize_t next                      # from what one tile fetches first to where the tile below begins
    Py_ssize_t tiles                     # that are needed for it


cdef struct Fetch:                       # rows that are to come, brought into the cache bit by bit while tiles are made
    const char* data
    Py_ssize_t rows_apart                # in bytes
    const Py_ssize_t* order              # or NULL: one after the other
    Py_ssize_t row
    Py_ssize_t end
    Py_ssize_t at                        # bytes of the row
    Py_ssize_t size


cdef inline const char* next_piece(Fetch* f, Py_ssize_t most, Py_ssize_t* size) noexcept nogil:
    """Some bytes of a row, most at most"""
    cdef const char* piece = f.data + (f.row if f.order == NULL else f.order[f.row]) * f.rows_apart + f.at
    size[0] = min(f.size - f.at, most)
    f.at += size[0]
    if f.at >= f.size:
        f.at, f.row = 0, f.row + 1
    return piece


cdef inline Py_ssize_t line(const floating* like) noexcept nogil:
    """Elements in a cache line"""
    return LINE_BYTES // sizeof(floating)


cdef inline Py_ssize_t lane_count(const floating* like) noexcept nogil:
    """Elements of a register"""
    return <Py_ssize_t> (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating)


cdef inline Py_ssize_t panel(const floating* like) noexcept nogil:
    """Columns of a panel"""
    return PANEL_BYTES // sizeof(floating)


cdef inline Py_ssize_t padded(Py_ssize_t n, const floating* like) noexcept nogil:
    """n columns rounded up to whole cache lines"""
    return (n + line(like) - 1) // line(like) * line(like)


cdef inline Py_ssize_t spread(Py_ssize_t n, const floating* like) noexcept nogil:
    """Elements from a row of n columns to the next in arrays of our own: a line more, where rows would alias"""
    cdef Py_ssize_t ld = padded(n, like)
    return ld + line(like) if ld * <Py_ssize_t> sizeof(floating) % ALIAS_BYTES == 0 else ld


cdef inline Py_ssize_t chain_length(Py_ssize_t k) noexcept nogil:
    """Of k, those that are summed in one chain of multiply-adds: K_BLOCK at most, and as many in each chain"""
    cdef Py_ssize_t chains = max((k + K_BLOCK - 1) // K_BLOCK, 1)
    return max((k + chains - 1) // chains, 1)


cdef inline Py_ssize_t chain_count(Py_ssize_t k) noexcept nogil:
    """Of these chains in a sum over k"""
    return (k + chain_length(k) - 1) // chain_length(k)


cdef struct Tile:                        # what it is made of, for rows of which there are as many as is said elsewhere
    void* y
    Py_ssize_t ldy
    const void* c
    Py_ssize_t ldc
    double scale                         # y := c + scale a @ b
    const void* a
    Py_ssize_t rows_apart                # 1, unless columns_apart is
    Py_ssize_t columns_apart
    const void* b
    Py_ssize_t ldb
    Py_ssize_t k
    Py_ssize_t n                         # columns, of a panel at most


cdef inline inlined add_products(vec acc[TILE_ROWS][TILE_VECTORS], const vec* bp, const char** lines, Py_ssize_t row, int u,
                                 bint turned, int begin, int end, int vectors) noexcept nogil:
    """Rows begin .. end of `add_column`"""
    cdef Py_ssize_t size = sizeof(float) if vec is vf else sizeof(double)
    cdef const char* at
    cdef int i, j
    for i in range(begin, end):
        at = lines[0] + i * size if turned else lines[i // 3] + u * size + i % 3 * row
        for j in range(vectors):
            if vec is vf:
                acc[i][j] = acc[i][j] + bp[j] * (<const float*> at)[0]
            else:
                acc[i][j] = acc[i][j] + bp[j] * (<const double*> at)[0]
            # With some rows read once for each register, the processor has fewer instructions to take in, and no more to load
            # than it can. Compilers are to forget that they have read them.
            if BROADCASTS and vectors > 1 and j == 0 and (i % 2 == 0 if turned else i % 3 == 0):
                opaque(lines[0 if turned else i // 3])
                at = lines[0] + i * size if turned else lines[i // 3] + u * size


cdef inline inlined add_column(vec acc[TILE_ROWS][TILE_VECTORS], const vec* bp, const char** lines, Py_ssize_t row, int u,
                               bint turned, int rows, int vectors) noexcept nogil:
    """acc := acc + a column of a @ its row of b

    lines: of a, as `registers` has them; u: which column from there. row: bytes from one row of a to the next.
    """
    cdef int i
    opaque(bp)                           # or what comes next is read ahead, into registers that are not there
    for i in range(1 if turned else (rows + 2) // 3):
        opaque(lines[i])
    add_products(acc, bp, lines, row, u, turned, 0, rows // 4, vectors)  # in quarters: compilers unroll loops that are short
    add_products(acc, bp, lines, row, u, turned, rows // 4, rows // 2, vectors)
    add_products(acc, bp, lines, row, u, turned, rows // 2, 3 * rows // 4, vectors)
    add_products(acc, bp, lines, row, u, turned, 3 * rows // 4, rows, vectors)


cdef inline inlined registers(const Tile* t, Py_ssize_t column, const Live* live, const Ahead* ahead, const floating* like,
                              const vec* lanes, bint all_live, bint turned, int rows, int vectors) noexcept nogil:
    """y := c + scale a @ b for `rows` rows and `vectors` registers of columns from `column` on, constants where this is inlined

    live: the k that are used, unless all are. turned: a's columns are runs of memory, not its rows. ahead: what tiles of some
    rows fetch.
    """
    cdef vec acc[TILE_ROWS][TILE_VECTORS]
    cdef vec zero
    cdef floating* y = <floating*> t.y + column
    cdef const floating* c = <const floating*> t.c + column
    cdef const floating* b = <const floating*> t.b + column
    cdef const char* lines[TILE_ROWS]    # of a: a column, or rows 0, 3, 6, ..., from each of which two more are reached
    cdef const char* here[TILE_ROWS]
    cdef const char* next = ahead.at
    cdef Py_ssize_t by = ahead.by, beside = ahead.beside, ldy = t.ldy, ldc = t.ldc, ldb = t.ldb, k = t.k, p
    cdef Py_ssize_t size = sizeof(floating), row = t.rows_apart * size, step = t.columns_apart * size if turned else size
    cdef int i, j, number = 1 if turned else (rows + 2) // 3
    cdef floating scale = t.scale
    memset(&zero, 0, sizeof(zero))
    for i in range(rows):
        for j in range(vectors):
            acc[i][j] = zero
    for i in range(number):
        lines[i] = <const char*> t.a + 3 * i * row
    for p in range(0 if all_live else live.count):
        for i in range(number):
            here[i] = lines[i] + live.k[p] * step
        add_column(acc, <const vec*> (b + live.k[p] * ldb), here, row, 0, turned, rows, vectors)
    for _ in range(k // 2 if all_live and BROADCASTS else 0):     # two by two: fewer steps of pointers, where there are registers
        for _ in range(2 if rows >= FEWEST_TO_FETCH else 0):
            prefetch_far(next)
            prefetch_far(next + beside)
            next += by
        add_column(acc, <const vec*> b, lines, row, 0, turned, rows, vectors)
        if turned:
            lines[0] += step
        add_column(acc, <const vec*> (b + ldb), lines, row, 0 if turned else 1, turned, rows, vectors)
        for i in range(number):
            lines[i] += step if turned else 2 * step
        b += 2 * ldb
    for _ in range((k % 2 if BROADCASTS else k) if all_live else 0):
        if rows >= FEWEST_TO_FETCH:
            prefetch_far(next)
            prefetch_far(next + beside)
            next += by
        add_column(acc, <const vec*> b, lines, row, 0, turned, rows, vectors)
        for i in range(number):
            lines[i] += step
        b += ldb
    for i in range(rows):
        for j in range(vectors):
            (<vec*> y)[j] = (<const vec*> c)[j] + acc[i][j] * scale
        y += ldy
        c += ldc


cdef inline inlined tile(const Tile* t, Py_ssize_t column, const Live* live, const Ahead* ahead, const floating* like,
                         bint all_live, bint turned, int rows, int vectors) noexcept nogil:
    """`registers` for the dtype at hand"""
    if floating is float:
        registers(t, column, live, ahead, like, <const vf*> NULL, all_live, turned, rows, vectors)
    else:
        registers(t, column, live, ahead, like, <const vd*> NULL, all_live, turned, rows, vectors)


cdef inline inlined tiles_across(const Tile* t, const Live* live, const Ahead* ahead, const floating* like, bint all_live,
                                 bint turned, int rows) noexcept nogil:
    """`tiles` for a as it lies"""
    cdef Py_ssize_t lanes = lane_count(like), column
    for column from 0 <= column < min(t.n, panel(like)) by TILE_VECTORS * lanes:    # the compiler sees when this is a single one
        if t.n - column > lanes:
            tile(t, column, live, ahead, like, all_live, turned, rows, TILE_VECTORS)
        else:
            tile(t, column, live, ahead, like, all_live, turned, rows, 1)


cdef inline inlined tiles(const Tile* t, const Live* live, const Ahead* ahead, const floating* like, bint all_live,
                          int rows) noexcept nogil:
    """y := c + a @ b for `rows` rows, a constant where this is inlined, and the n columns of a panel"""
    if t.columns_apart == 1:
        tiles_across(t, live, ahead, like, all_live, False, rows)
    else:
        tiles_across(t, live, ahead, like, all_live, True, rows)


cdef out_of_line whole_tile(const Tile* t, const Ahead* ahead, const floating* like) noexcept nogil:
    """`tiles` of TILE_ROWS rows: by itself, so that the compiler has all registers for it"""
    tiles(t, NULL, ahead, like, True, TILE_ROWS)


cdef out_of_line live_tile(const Tile* t, const Live* live, const Ahead* ahead, const floating* like) noexcept nogil:
    """The same, for the k that are live"""
    tiles(t, live, ahead, like, False, TILE_ROWS)


cdef out_of_line part_tile(const Tile* t, const Ahead* ahead, const floating* like, Py_ssize_t rows) noexcept nogil:
    """`tiles` of fewer rows"""
    if TILE_ROWS > 12 and rows == 12:
        tiles(t, NULL, ahead, like, True, 12)
    elif TILE_ROWS > 10 and rows == 10:
        tiles(t, NULL, ahead, like, True, 10)
    elif TILE_ROWS > 8 and rows == 8:
        tiles(t, NULL, ahead, like, True, 8)
    elif TILE_ROWS > 6 and rows == 6:
        tiles(t, NULL, ahead, like, True, 6)
    elif rows == 4:
        tiles(t, NULL, ahead, like, True, 4)
    elif rows == 2:
        tiles(t, NULL, ahead, like, True, 2)
    else:
        tiles(t, NULL, ahead, like, True, 1)


cdef inline Py_ssize_t next_rows(Py_ssize_t m, bint by_whole_tiles) noexcept nogil:
    """Rows of the next tile of m: of two last ones about as many in each, unless the whole ones have been made ready for"""
    if m >= (1 if by_whole_tiles else 2) * TILE_ROWS:
        return TILE_ROWS
    if m > TILE_ROWS:
        return min((m // 2 + 1) // 2 * 2, TILE_ROWS)
    return m // 2 * 2 if m > 1 else m


cdef void strip(Tile* t, Py_ssize_t tile_apart, Py_ssize_t m, const Live* live, const Ahead* ahead, Fetch* fetch,
                const floating* like) noexcept nogil:
    """y := c + a @ b for any m rows, those of whole tiles of a tile_apart, and the columns of a panel; t is another one then

    live: of each whole tile, or NULL. ahead: what is read after b; fetch: what is to be fetched instead.
    """
    cdef Ahead here                      # what the next tile fetches, if only again what it reads
    cdef Py_ssize_t fetched = 0, rows, size, i
    cdef bint by_whole_tiles = live != NULL or tile_apart != TILE_ROWS * t.rows_apart
    while m > 0:
        rows = next_rows(m, by_whole_tiles)
        size, here.at, here.by, here.beside = 0, <const char*> t.b, 0, 0
        if fetch != NULL and fetch.row < fetch.end and t.k > 0 and rows >= FEWEST_TO_FETCH:
            here.at = next_piece(fetch, t.k * LINE_BYTES, &size)
            here.by = (size - 1) // t.k + 1         # a little with each k, as a cache can wait for few lines at a time
            if live == NULL and size == fetch.size and fetch.row < fetch.end:       # there may be fewer tiles than rows
                here.beside = next_piece(fetch, size, &size) - here.at
        elif live == NULL and fetched < ahead.tiles and rows >= FEWEST_TO_FETCH:
            here.at, here.by, here.beside = ahead.at + fetched * ahead.next, ahead.by, ahead.beside
            fetched += 1
        if live != NULL and rows == TILE_ROWS:
            for i from 0 <= i < size by LINE_BYTES:             # there is no saying how many k there will be
                prefetch_far(here.at + i)
            live_tile(t, live, &here, like)
            live += 1
        elif rows == TILE_ROWS:
            whole_tile(t, &here, like)
        else:
            part_tile(t, &here, like, rows)
        t.y, t.c = <floating*> t.y + rows * t.ldy, <const floating*> t.c + rows * t.ldc
        t.a, m = <const floating*> t.a + (tile_apart if rows == TILE_ROWS else rows * t.rows_apart), m - rows
