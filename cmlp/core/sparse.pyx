# The first layer of samples most of whose numbers are 0: only the others are looked at.
#
# Letters and addresses as in dense.pyx and gemm.pyx. The numbers of sample i are values[starts[i]], ... up to starts[i + 1], in
# the columns of the same places, ascending (SciPy's CSR).

cdef enum:
    NUMBERS_AT_ONCE = 262144             # by a panel's columns: between two looks at whether somebody wants to stop

cdef struct Sparse:
    const void* values                   # of the network's type; NULL: the samples are in a table
    const int* columns
    const Py_ssize_t* starts
    unsigned int last                    # of the columns that there are


cdef inline Py_ssize_t column_of(const Sparse* x, Py_ssize_t p) noexcept nogil:
    """Where the p-th number stands: in bounds, whatever has been written there since it was judged"""
    return min(<unsigned int> x.columns[p], x.last)


cdef Py_ssize_t place_of(const Sparse* x, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t column) noexcept nogil:
    """The first of a sample's numbers that does not stand before the column"""
    cdef Py_ssize_t middle
    while begin < end:
        middle = begin + (end - begin) // 2
        if column_of(x, middle) < column:
            begin = middle + 1
        else:
            end = middle
    return begin


cdef inline floating scaled(const Sparse* x, Py_ssize_t p, Py_ssize_t column, const Scaling* scaling,
                            const floating* like) noexcept nogil:
    """The p-th number; nothing is subtracted from it, as that would have to be from the zeros too"""
    cdef floating value = (<const floating*> x.values)[p]
    return value * <floating> (scaling.factor[column] if scaling.factor != NULL else scaling.scale)


cdef Py_ssize_t samples_at_once(const Sparse* x, const Py_ssize_t* order, Py_ssize_t first, Py_ssize_t m,
                                Py_ssize_t panels) noexcept nogil:
    """Of m samples from the first, those before the next look: each of their numbers may have to come from memory"""
    cdef Py_ssize_t i = 0, numbers = 0, s
    while i < m and (i == 0 or numbers * panels < NUMBERS_AT_ONCE):
        s = first + i if order == NULL else order[first + i]
        numbers += x.starts[s + 1] - x.starts[s]
        i += 1
    return i


cdef struct Beside:                      # two panels of w side by side, of which the second may be narrower, or not be there
    const void* w
    const void* w_too
    Py_ssize_t ldw
    Py_ssize_t ldw_too


cdef inline inlined gather(floating* y, const Beside* of, const Sparse* given, Py_ssize_t begin, Py_ssize_t end,
                           const Scaling* scaling, Py_ssize_t chain, Py_ssize_t k, const vec* like, int vectors,
                           int too) noexcept nogil:
    """y := x @ w and the biases, row k of w, for one sample and so many registers of both panels: as `product` adds up, but for
    what is 0"""
    cdef vec sum[2 * PANEL_FLOATS]
    cdef vec acc[2 * PANEL_FLOATS]
    cdef vec zero
    cdef const vec* row
    cdef const vec* row_too
    cdef Sparse own = given[0]           # which no store into y can be taken to change
    cdef Scaling how = scaling[0]
    cdef const floating* w = <const floating*> of.w
    cdef const floating* w_too = <const floating*> of.w_too
    cdef Py_ssize_t ldw = of.ldw, ldw_too = of.ldw_too, p, column, block = chain
    cdef floating value
    cdef int j
    memset(&zero, 0, sizeof(zero))
    for j in range(vectors):
        sum[j], acc[j] = (<const vec*> (w + k * ldw))[j], zero
    for j in range(too):
        sum[vectors + j], acc[vectors + j] = (<const vec*> (w_too + k * ldw_too))[j], zero
    for p in range(begin, end):
        column = column_of(&own, p)
        while column >= block:           # the end of a chain of multiply-adds
            for j in range(vectors + too):
                sum[j], acc[j] = sum[j] + acc[j], zero
            block += chain
        row, row_too = <const vec*> (w + column * ldw), <const vec*> (w_too + column * ldw_too)
        value = scaled(&own, p, column, &how, y)
        for j in range(vectors):
            acc[j] = acc[j] + row[j] * value
        for j in range(too):
            acc[vectors + j] = acc[vectors + j] + row_too[j] * value
    for j in range(vectors + too):
        (<vec*> y)[j] = sum[j] + acc[j]


cdef inline inlined gather_columns(floating* y, const Beside* of, const Sparse* x, Py_ssize_t begin, Py_ssize_t end,
                                   const Scaling* scaling, Py_ssize_t chain, Py_ssize_t k, int bytes, int too) noexcept nogil:
    """`gather` for the dtype at hand"""
    if floating is float:
        gather(y, of, x, begin, end, scaling, chain, k, <const vf*> NULL, bytes // sizeof(vf), too // sizeof(vf))
    else:
        gather(y, of, x, begin, end, scaling, chain, k, <const vd*> NULL, bytes // sizeof(vd), too // sizeof(vd))


cdef void sparse_forward(floating* y, const Sparse* x, const Scaling* scaling, const Py_ssize_t* order, Py_ssize_t first,
                         const Part* of, const floating* w, bint w_packed, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """A part of y := x @ w + b, for samples from the first; two panels at a time, which stay in the cache while samples go by

    One of two would wait for its own sums, and look at each number of x twice; more than 8 registers are too many for most.
    """
    cdef Py_ssize_t ld = padded(n, y), ldy = spread(n, y), width = panel(y), chain = chain_length(k), i, s, wide, too
    cdef Py_ssize_t j = of.column, columns = of.column + of.columns, begin, end
    cdef Beside panels
    while j < columns:
        wide = min(columns - j, width)
        too = min(columns - j - wide, width) if 4 * sizeof(vf) >= PANEL_BYTES else 0
        panels.ldw, panels.ldw_too = wide if w_packed else ld, too if w_packed else ld
        panels.w, panels.w_too = w + j * (k + 1 if w_packed else 1), w + (j + wide) * (k + 1 if w_packed else 1)
        for i in range(of.row, of.row + of.rows):
            s = first + i if order == NULL else order[first + i]
            begin, end = x.starts[s], x.starts[s + 1]
            if too == width:
                gather_columns(y + i * ldy + j, &panels, x, begin, end, scaling, chain, k, PANEL_BYTES, PANEL_BYTES)
            elif too > 0:
                gather_columns(y + i * ldy + j, &panels, x, begin, end, scaling, chain, k, PANEL_BYTES, LINE_BYTES)
            elif wide == width:
                gather_columns(y + i * ldy + j, &panels, x, begin, end, scaling, chain, k, PANEL_BYTES, 0)
            else:
                gather_columns(y + i * ldy + j, &panels, x, begin, end, scaling, chain, k, LINE_BYTES, 0)
        j += wide + too


cdef inline inlined scatter(floating* dw, const vec* d, const Sparse* given, Py_ssize_t begin, Py_ssize_t end,
                            const Scaling* scaling, const Part* of, int vectors) noexcept nogil:
    """dw += x.T @ d for one sample's numbers that stand in a part, and `vectors` registers of columns, a panel's"""
    cdef vec row[PANEL_FLOATS]
    cdef vec* to
    cdef Sparse own = given[0]           # as in `gather`
    cdef Scaling how = scaling[0]
    cdef Py_ssize_t p, column, least = of.row, most = of.row + of.rows - 1
    cdef floating value
    cdef int j
    for j in range(vectors):
        row[j] = d[j]
    for p in range(begin, end):
        column = min(max(column_of(&own, p), least), most)       # wherever that is by now
        value = scaled(&own, p, column, &how, dw)
        to = <vec*> dw + (column - least) * vectors
        for j in range(vectors):
            to[j] = to[j] + row[j] * value


cdef inline inlined scatter_columns(floating* dw, const floating* d, const Sparse* x, Py_ssize_t begin, Py_ssize_t end,
                                    const Scaling* scaling, const Part* of, int bytes) noexcept nogil:
    """`scatter` for the dtype at hand"""
    if floating is float:
        scatter(dw, <const vf*> d, x, begin, end, scaling, of, bytes // sizeof(vf))
    else:
        scatter(dw, <const vd*> d, x, begin, end, scaling, of, bytes // sizeof(vd))


cdef void sparse_gradient(floating* dw, const floating* d, const Sparse* x, const Scaling* scaling, const Py_ssize_t* order,
                          Py_ssize_t first, Py_ssize_t m, const Part* of, Py_ssize_t k, Py_ssize_t n, bint fresh) noexcept nogil:
    """dw := (0 if fresh else dw) + x.T @ d, the part of it, a panel, sample by sample"""
    cdef Py_ssize_t ldd = spread(n, d), i, s, begin, end
    d += of.column
    if fresh:
        memset(dw, 0, of.rows * of.columns * sizeof(floating))
    for i in range(m):
        s = first + i if order == NULL else order[first + i]
        begin, end = x.starts[s], x.starts[s + 1]
        if of.rows < k:
            begin, end = place_of(x, begin, end, of.row), place_of(x, begin, end, of.row + of.rows)
        if of.columns == panel(d):
            scatter_columns(dw, d + i * ldd, x, begin, end, scaling, of, PANEL_BYTES)
        else:
            scatter_columns(dw, d + i * ldd, x, begin, end, scaling, of, LINE_BYTES)
