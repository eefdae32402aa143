# The register tile: some rows and columns of y := c + a @ b, which stay in registers while k goes by. The letters, and how a, b
# and y are addressed, are those of gemm.pyx.
from libc.string cimport memset

cdef extern from "vec.h" nogil:
    ctypedef float vf                    # to Cython a float; really one register of floats. Cython writes a + b * c, which
    ctypedef double vd                   # the C compiler reads as operations on whole registers
    ctypedef void inlined                # the C compiler has no choice but to inline what returns it
    ctypedef void shared                 # and may not inline what returns this
    void prefetch(const void* address)
    void prefetch_far(const void* address)
    ctypedef float quad                  # 16 bytes of them
    ctypedef double pair
    quad deal_quads_low(quad a, quad b)
    quad deal_quads_high(quad a, quad b)
    pair deal_pairs_low(pair a, pair b)
    pair deal_pairs_high(pair a, pair b)
    enum: HAS_SHUFFLES
    ctypedef unsigned int word32         # the bits of a float, and of a double or two floats
    ctypedef unsigned long long word64
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
    MOST_SWEPT = 4                       # rows for which a row-major b is read from end to end
    SWEPT_DEPTH = 4                      # of its rows at a time
    FEWEST_TO_GATHER = 64                # rows of a that copying a block of b pays for, if it stays in the L2 cache as it lies
    FEWEST_TO_SKIP = 32                  # of k: with fewer it does not pay to look for those at which a tile is 0
    STREAM_BYTES = 4194304               # of b at most, if it is to be read again for each tile's rows of a
    NEAR_BYTES = 32768                   # of a turned a: read where it lies, each of its columns is a line or two for a tile
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

ctypedef fused word:
    word32
    word64

ctypedef unsigned short ushort

cdef struct Live:                        # of the k of a tile: those at which not all of its rows are 0
    Py_ssize_t count
    ushort k[K_BLOCK]


cdef struct Ahead:                       # what is read after a panel's block: whole tiles fetch it, a line or two with each k
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


cdef inline inlined registers(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                              const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                              const vec* b, Py_ssize_t ldb, Py_ssize_t k, const ushort* live, bint all_live,
                              const char* ahead, Py_ssize_t by, Py_ssize_t beside, int rows, int vectors) noexcept nogil:
    """y := c + a @ b for `rows` rows and `vectors` registers of columns, both constants where this is inlined

    live: the k that are used, unless all are, which is a constant as well. ahead, by, beside: what whole tiles fetch, see Ahead
    """
    cdef vec acc[TILE_ROWS][TILE_VECTORS]
    cdef vec zero
    cdef const floating* ap = a
    cdef const vec* bp = b
    cdef Py_ssize_t p
    cdef int i, j
    memset(&zero, 0, sizeof(zero))
    for i in range(rows):
        for j in range(vectors):
            acc[i][j] = zero
            prefetch(<const vec*> (y + i * ldy) + j)
    for p in range(k):
        if not all_live:
            ap, bp = a + live[p] * columns_apart, <const vec*> (<const floating*> b + live[p] * ldb)
        if all_live and rows == TILE_ROWS:
            prefetch_far(ahead)
            prefetch_far(ahead + beside)
            ahead += by
        for i in range(rows):
            for j in range(vectors):
                acc[i][j] = acc[i][j] + bp[j] * ap[i * rows_apart]
        if all_live:
            ap, bp = ap + columns_apart, <const vec*> (<const floating*> bp + ldb)
    for i in range(rows):
        for j in range(vectors):
            (<vec*> y)[j] = (<const vec*> c)[j] + acc[i][j]
        y += ldy
        c += ldc


cdef inline inlined tile(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                         const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                         const floating* b, Py_ssize_t ldb, Py_ssize_t k, const ushort* live, bint all_live,
                         const char* ahead, Py_ssize_t by, Py_ssize_t beside, int rows, int vectors) noexcept nogil:
    """`registers` for the dtype at hand"""
    if floating is float:
        registers(y, ldy, c, ldc, a, rows_apart, columns_apart, <const vf*> b, ldb, k, live, all_live, ahead, by, beside, rows,
                  vectors)
    else:
        registers(y, ldy, c, ldc, a, rows_apart, columns_apart, <const vd*> b, ldb, k, live, all_live, ahead, by, beside, rows,
                  vectors)


cdef inline inlined tiles(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc,
                          const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                          const floating* b, Py_ssize_t ldb, Py_ssize_t k, const ushort* live, bint all_live,
                          const char* ahead, Py_ssize_t by, Py_ssize_t beside, Py_ssize_t n, int rows) noexcept nogil:
    """y := c + a @ b for `rows` rows, a constant where this is inlined, and the n columns of a panel"""
    cdef Py_ssize_t lanes = (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating), j
    for j from 0 <= j < n by TILE_VECTORS * lanes:
        if n - j > lanes:
            tile(y + j, ldy, c + j, ldc, a, rows_apart, columns_apart, b + j, ldb, k, live, all_live, ahead, by, beside,
                 rows, TILE_VECTORS)
        else:
            tile(y + j, ldy, c + j, ldc, a, rows_apart, columns_apart, b + j, ldb, k, live, all_live, ahead, by, beside,
                 rows, 1)


cdef void strip(floating* y, Py_ssize_t ldy, const floating* c, Py_ssize_t ldc, const floating* a, Py_ssize_t tile_apart,
                Py_ssize_t rows_apart, Py_ssize_t columns_apart, const floating* b, Py_ssize_t ldb,
                Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, const Live* live, const Ahead* ahead,
                Fetch* fetch) noexcept nogil:
    """y := c + a @ b for any m rows, those of whole tiles of a tile_apart, and the n columns of a panel

    live: of each whole tile, or NULL. ahead: what is read after b; fetch: what is to be fetched instead.
    """
    cdef Py_ssize_t fetched = 0, by, beside, size, i
    cdef const char* piece
    cdef bint more
    while m >= TILE_ROWS:
        more, size, piece, by, beside = fetch != NULL and fetch.row < fetch.end and k > 0, 0, <const char*> b, 0, 0
        if more:
            piece = next_piece(fetch, k * LINE_BYTES, &size)
            by = (size - 1) // k + 1     # a little with each k, as a cache can wait for few lines at a time
            if live == NULL and size == fetch.size and fetch.row < fetch.end:       # there may be fewer tiles than rows
                beside = next_piece(fetch, size, &size) - piece
        elif live == NULL and fetched < ahead.tiles:
            piece, by, beside = ahead.at + fetched * ahead.next, ahead.by, ahead.beside
            fetched += 1
        if live != NULL:                 # there is no saying how many k there will be
            for i from 0 <= i < size by LINE_BYTES:
                prefetch_far(piece + i)
            tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, live.count, live.k, False, piece, 0, 0, n, TILE_ROWS)
            live += 1
        else:
            tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, <const ushort*> NULL, True, piece, by, beside, n,
                  TILE_ROWS)
        y, c, a, m = y + TILE_ROWS * ldy, c + TILE_ROWS * ldc, a + tile_apart, m - TILE_ROWS
    if TILE_ROWS > 8 and m >= 8:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, <const ushort*> NULL, True, <const char*> b, 0, 0, n, 8)
        y, c, a, m = y + 8 * ldy, c + 8 * ldc, a + 8 * rows_apart, m - 8
    if m >= 4:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, <const ushort*> NULL, True, <const char*> b, 0, 0, n, 4)
        y, c, a, m = y + 4 * ldy, c + 4 * ldc, a + 4 * rows_apart, m - 4
    if m >= 2:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, <const ushort*> NULL, True, <const char*> b, 0, 0, n, 2)
        y, c, a, m = y + 2 * ldy, c + 2 * ldc, a + 2 * rows_apart, m - 2
    if m >= 1:
        tiles(y, ldy, c, ldc, a, rows_apart, columns_apart, b, ldb, k, <const ushort*> NULL, True, <const char*> b, 0, 0, n, 1)


cdef inline void bits_of_rows(word* bits, const word* a, Py_ssize_t rows_apart, Py_ssize_t k) noexcept nogil:
    """bits := those of a tile's rows, which are runs of memory, put together for each k"""
    cdef Py_ssize_t i, p
    for p in range(k):
        bits[p] = a[p]
    for i in range(1, TILE_ROWS):
        for p in range(k):
            bits[p] |= a[i * rows_apart + p]


cdef inline void bits_of_columns(word* bits, const word* a, Py_ssize_t columns_apart, Py_ssize_t k) noexcept nogil:
    """The same, if its columns are runs of memory"""
    cdef const word64* column
    cdef word64 some
    cdef Py_ssize_t i, p
    for p in range(k):
        column, some = <const word64*> (a + p * columns_apart), 0
        for i in range(<Py_ssize_t> (TILE_ROWS * sizeof(word) // sizeof(word64))):
            some |= column[i]
        bits[p] = some != 0


cdef inline void list_live(Live* live, word* bits, const word* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                           Py_ssize_t k) noexcept nogil:
    """`find_live` for numbers as wide as a word; bits: room for k of these"""
    cdef Py_ssize_t p, count = 0
    if columns_apart == 1:
        bits_of_rows(bits, a, rows_apart, k)
    else:
        bits_of_columns(bits, a, columns_apart, k)
    for p in range(k):
        live.k[count] = p
        count += bits[p] != 0
    live.count = count


cdef void find_live(Live* live, const floating* a, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                    Py_ssize_t k) noexcept nogil:
    """The k at which not all of a tile's rows are 0"""
    cdef word64 bits[K_BLOCK]
    if floating is float:
        list_live(live, <word32*> bits, <const word32*> a, rows_apart, columns_apart, k)
    else:
        list_live(live, bits, <const word64*> a, rows_apart, columns_apart, k)
