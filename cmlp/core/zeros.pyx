# Where a tile's rows are all 0: the k that add nothing to it, by the bits of its numbers.

ctypedef fused word:
    word32
    word64


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
