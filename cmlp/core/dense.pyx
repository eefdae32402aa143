# One dense layer, forward and backward: the product in its three forms, for some of the rows and columns of what it gives.
#
# m samples, k inputs, n outputs; rows of our own arrays are `spread` apart.   x (m, k), rows ldx apart   y (m, n)
# w: the layer's parameters, k rows of weights and then the biases, (k + 1, n), packed in panels or row-major
# d: the gradient of the loss by z = x @ w + b (m, n)   dw: that by w (k + 1, n), packed   turned: the weights' transpose
# (n, k), packed   skips: see `product`   copy: space to work in   columns: counted with the padding, from a panel's beginning

cdef struct Part:                        # of a matrix
    Py_ssize_t row
    Py_ssize_t rows
    Py_ssize_t column
    Py_ssize_t columns


cdef inline Part whole(Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """All of it"""
    cdef Part part
    part.row, part.rows, part.column, part.columns = 0, rows, 0, columns
    return part


cdef Part share_unevenly(Py_ssize_t rows, Py_ssize_t columns, bint by_rows, Py_ssize_t slack, int thread, int threads,
                         const floating* like) noexcept nogil:
    """A thread's part of a matrix that several make: panels side by side, or rows

    Rows, if these are wanted, or if some thread's panels would be more than its due by over 1 / slack of that.
    """
    cdef Part part = whole(rows, columns)
    cdef Py_ssize_t width = panel(like), panels = (columns + width - 1) // width
    cdef Py_ssize_t most = (panels + threads - 1) // threads * width
    if by_rows or panels < 2 * threads or slack * threads * most > (slack + 1) * columns:
        part.row = rows * thread // threads
        part.rows = rows * (thread + 1) // threads - part.row
    else:
        part.column = panels * thread // threads * width
        part.columns = min(panels * (thread + 1) // threads * width, columns) - part.column
    return part


cdef inline Part share(Py_ssize_t rows, Py_ssize_t columns, bint by_rows, int thread, int threads,
                       const floating* like) noexcept nogil:
    """The same, of dense products"""
    return share_unevenly(rows, columns, by_rows, 8, thread, threads, like)


cdef void dense_forward(floating* y, const floating* x, Py_ssize_t ldx, const floating* w, bint w_packed, const Part* of,
                        Py_ssize_t k, Py_ssize_t n, bint skips, Fetch* fetch, floating* copy) noexcept nogil:
    """y := x @ w + b"""
    cdef Py_ssize_t ldy = spread(n, y), width = panel(y)
    if is_narrow(of.rows, k, n, y):
        narrow_forward(y + of.row * ldy, x + of.row * ldx, ldx, w, of.rows, k, n)
        return
    cdef Into to = into(y + of.row * ldy + of.column, width, ldy, FROM_BIAS)
    product(&to, x + of.row * ldx, ldx, 1,
            w + of.column * (k + 1 if w_packed else 1), (k + 1) * width if w_packed else width, 0 if w_packed else padded(n, y),
            of.rows, k, of.columns, chain_length(k), skips, NULL, fetch, copy)


cdef void dense_partial(floating* y, const floating* x, Py_ssize_t ldx, const floating* w, const Part* of, Py_ssize_t m,
                        Py_ssize_t k, Py_ssize_t n, bint skips, Fetch* fetch, floating* copy) noexcept nogil:
    """y := x @ w of some of w's rows, packed, which are one chain of multiply-adds at most"""
    cdef Py_ssize_t ldy = spread(n, y), width = panel(y), j, wide
    cdef Into to
    for j from 0 <= j < of.columns by width:
        wide, to = min(of.columns - j, width), into(y + j, width, ldy, FROM_ZERO)
        product(&to, x + of.row, ldx, 1, w + j * (k + 1) + of.row * wide, 0, 0, m, of.rows, wide, K_BLOCK, skips, NULL,
                fetch, copy)


cdef void dense_chain(floating* y, const floating* x, Py_ssize_t ldx, const floating* w, Py_ssize_t first, Py_ssize_t depth,
                      Py_ssize_t m, Py_ssize_t n, floating* copy) noexcept nogil:
    """y := x @ w of one chain of w's rows, from the first on, row-major; rows of y lie side by side"""
    cdef Py_ssize_t ld = padded(n, y), width = panel(y), i
    cdef Into to = into(y, width, ld, FROM_ZERO)
    if sweeps(m, ld, ld, y):
        for i from 0 <= i < m by MOST_SWEPT:
            row_chain(y + i * ld, x + i * ldx + first, ldx, 1, w + first * ld, ld, min(m - i, MOST_SWEPT), depth, ld)
    else:
        product(&to, x + first, ldx, 1, w + first * ld, width, ld, m, depth, ld, K_BLOCK, False, NULL, NULL, copy)


cdef inline inlined add_parts(floating* y, const floating* parts, Py_ssize_t apart, Py_ssize_t number, const floating* b,
                              const vec* like, int vectors) noexcept nogil:
    """y := b + all the parts, in order, of `vectors` registers"""
    cdef vec acc[PANEL_FLOATS]
    cdef Py_ssize_t p
    cdef int j
    for j in range(vectors):
        acc[j] = (<const vec*> b)[j] + (<const vec*> parts)[j]
    for p in range(1, number):
        for j in range(vectors):
            acc[j] = acc[j] + (<const vec*> (parts + p * apart))[j]
    for j in range(vectors):
        (<vec*> y)[j] = acc[j]


cdef inline inlined add_parts_any(floating* y, const floating* parts, Py_ssize_t apart, Py_ssize_t number, const floating* b,
                                  int bytes) noexcept nogil:
    """`add_parts` for the dtype at hand"""
    if floating is float:
        add_parts(y, parts, apart, number, b, <const vf*> NULL, bytes // sizeof(vf))
    else:
        add_parts(y, parts, apart, number, b, <const vd*> NULL, bytes // sizeof(vd))


cdef void dense_sum(floating* y, const floating* parts, Py_ssize_t ld_parts, Py_ssize_t apart, Py_ssize_t number,
                    const floating* w, bint w_packed, const Part* of, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """y := b + all the parts that `dense_partial` or `dense_chain` made, in order"""
    cdef Py_ssize_t ld = spread(n, y), width = panel(y), end = of.column + of.columns, i, j, wide
    cdef const floating* b
    for i in range(of.row, of.row + of.rows):        # from end to end, as what other threads have made is far
        for j from of.column <= j < end by width:
            wide = min(end - j, width)
            b = w + (j * (k + 1) + k * wide if w_packed else k * padded(n, y) + j)
            if wide == width:
                add_parts_any(y + i * ld + j, parts + i * ld_parts + j, apart, number, b, PANEL_BYTES)
            else:
                add_parts_any(y + i * ld + j, parts + i * ld_parts + j, apart, number, b, LINE_BYTES)


cdef void dense_input_gradient(floating* dx, const floating* d, const floating* w, const floating* turned, const Part* of,
                               Py_ssize_t k, Py_ssize_t n, floating* copy) noexcept nogil:
    """dx := d @ w.T, by `turned`; or if that is NULL by w, packed, which is transposed on the way"""
    cdef Py_ssize_t ldx = spread(k, d), ldd = spread(n, d)
    cdef Into to = into(dx + of.row * ldx + of.column, panel(d), ldx, FROM_ZERO)
    cdef Loose of_w
    of_w.b, of_w.bias, of_w.panel_rows, of_w.first, of_w.columns = w, NULL, k + 1, of.column, k
    if turned != NULL:
        turned += of.column * n
    product(&to, d + of.row * ldd, ldd, 1, turned, n * panel(d), 0, of.rows, n, of.columns, chain_length(n), False,
            &of_w if turned == NULL else NULL, NULL, copy)


cdef inline inlined add_rows(floating* sum, const floating* d, Py_ssize_t ldd, Py_ssize_t m, const vec* like,
                             int vectors) noexcept nogil:
    """sum += the sum of d's m rows, of `vectors` registers"""
    cdef vec acc[PANEL_FLOATS]
    cdef Py_ssize_t i
    cdef int j
    for j in range(vectors):
        acc[j] = (<const vec*> d)[j]
    for i in range(1, m):
        for j in range(vectors):
            acc[j] = acc[j] + (<const vec*> (d + i * ldd))[j]
    for j in range(vectors):
        (<vec*> sum)[j] = (<const vec*> sum)[j] + acc[j]


cdef inline inlined add_columns(floating* sum, const floating* d, Py_ssize_t ldd, Py_ssize_t m, int bytes) noexcept nogil:
    """`add_rows` for the dtype at hand"""
    if floating is float:
        add_rows(sum, d, ldd, m, <const vf*> NULL, bytes // sizeof(vf))
    else:
        add_rows(sum, d, ldd, m, <const vd*> NULL, bytes // sizeof(vd))


cdef void bias_gradient(floating* dw, Py_ssize_t dw_rows, const floating* d, Py_ssize_t step, Py_ssize_t ld, Py_ssize_t m,
                        const Part* of, bint fresh, Py_ssize_t block) noexcept nogil:
    """The row of dw below the part of it := (0 if fresh else itself) + the sum of d's rows, a block at a time

    d: of the part's columns, in panels a step apart, their rows ld apart; ld = 0: one after the other.
    """
    cdef Py_ssize_t width = panel(d), i, j, wide, ldd, rows
    cdef const floating* dj
    cdef floating* db
    for j from 0 <= j < of.columns by width:
        wide = min(of.columns - j, width)
        ldd, dj, db = ld or wide, d + j // width * step, dw + j * dw_rows + of.rows * wide
        if fresh:
            memset(db, 0, wide * sizeof(floating))
        for i from 0 <= i < m by block:
            rows = min(m - i, block)
            if wide == width:
                add_columns(db, dj + i * ldd, ldd, rows, PANEL_BYTES)
            else:
                add_columns(db, dj + i * ldd, ldd, rows, LINE_BYTES)


cdef void turned_product(Into* to, const floating* x, Py_ssize_t ldx, bint x_padded, const floating* d, Py_ssize_t step,
                         Py_ssize_t ldd, Py_ssize_t m, const Part* of, Py_ssize_t n, Py_ssize_t block, bint skips, Fetch* fetch,
                         floating* copy) noexcept nogil:
    """to := its c + scale x.T @ d for a part of the weights, whose panels lie one after the other and `to.step` apart

    d: as `product` reads it, from the part's columns on. The last line of columns is made by itself if at most FEW of it are no
    padding, and it pays. x_padded, block: see `dense_gradient`.
    """
    cdef Py_ssize_t width = panel(x), columns = of.columns - line(x), few = n - of.column - columns, rows
    cdef Py_ssize_t at = columns // width, wide = of.columns - at * width
    cdef Into last = to[0]
    cdef bint pays = m * of.rows >= PRODUCTS_ACROSS if columns > 0 else m >= FEWEST_ABREAST
    if few > FEW or not pays or m > block or few * padded(of.rows, x) > copy_size(x):
        product(to, x, 1, ldx, d, step, ldd, of.rows, m, of.columns, block, skips, NULL, fetch, copy)
        return
    rows = of.rows if x_padded else of.rows // line(x) * line(x)
    last.y = <floating*> to.y + at * to.step + columns % width
    last.other, last.ld = <const floating*> to.other + at * to.step + columns % width, wide
    to.ld = width if columns % width > 0 else to.ld
    if columns > 0:
        product(to, x, 1, ldx, d, step, ldd or to.ld, of.rows, m, columns, block, skips, NULL, fetch, copy)
    d += at * step + columns % width
    narrow_gradient(&last, d, ldd or wide, x, ldx, m, rows, few, copy)
    if rows < of.rows:
        last.row += rows
        product(&last, x + rows, 1, ldx, d, step, ldd or wide, of.rows - rows, m, line(x), block, skips, NULL, fetch, copy)


cdef void dense_gradient(floating* dw, Py_ssize_t dw_rows, const floating* d, Py_ssize_t ldd, const floating* x,
                         Py_ssize_t ldx, bint x_padded, Py_ssize_t m, const Part* of, Py_ssize_t k, Py_ssize_t n, bint fresh,
                         Py_ssize_t block, bint skips, Fetch* fetch, floating* copy) noexcept nogil:
    """dw := (0 if fresh else dw) + x.T @ d, and below it, with the last of the inputs, the sum of d's rows.

    `dw` begins with the part of it, packed in panels of dw_rows rows. ldd: from one row of d to the next; 0 if it is packed:
    where other threads have made it, its rows stay in their caches. x_padded: x is our own, with as much as a cache line to be
    read behind its last row; of others, rows are read by whole lines as far as these go. block: the samples of one chain of
    multiply-adds.
    """
    cdef Py_ssize_t width = panel(dw), step = width if ldd > 0 else m * width
    cdef Into to = into(dw, dw_rows * width, 0, FROM_ZERO if fresh else FROM_Y)
    d += of.column * (1 if ldd > 0 else m)
    turned_product(&to, x + of.row, ldx, x_padded, d, step, ldd, m, of, n, block, skips, fetch, copy)
    if of.row + of.rows == k:
        bias_gradient(dw, dw_rows, d, step, ldd, m, of, fresh, block)


cdef void dense_step(floating* after, const floating* before, floating scale, const floating* panels, const floating* x,
                     Py_ssize_t ldx, bint x_padded, Py_ssize_t m, const Part* of, Py_ssize_t k, Py_ssize_t n, bint skips,
                     Fetch* fetch, floating* copy) noexcept nogil:
    """after := before + scale x.T @ d for a part of the weights, packed, in one chain of multiply-adds; panels: d, packed"""
    cdef Py_ssize_t width = panel(x), begin = of.column * (k + 1)
    cdef Into to = into(after + begin, (k + 1) * width, 0, FROM_OTHER)
    to.row, to.other, to.scale = of.row, before + begin, scale
    turned_product(&to, x + of.row, ldx, x_padded, panels + of.column * m, m * width, 0, m, of, n, K_BLOCK, skips, fetch, copy)


cdef inline const floating* in_panels(floating* packed, const floating* d, Py_ssize_t m, const Part* of,
                                      Py_ssize_t n) noexcept nogil:
    """d in packed panels, of which those in the part are put into `packed`; a single panel is packed as it stands"""
    cdef Py_ssize_t ldd = spread(n, d)
    if ldd <= panel(d):
        return d
    pack(packed + of.column * m, m, of.row, d + of.row * ldd + of.column, ldd, 1, of.rows, of.columns)
    return packed


cdef void dense_turn(floating* turned, const floating* w, Py_ssize_t k, Py_ssize_t n, int thread, int threads) noexcept nogil:
    """turned := w.T, from packed panels to packed panels: a thread's share of those"""
    cdef Py_ssize_t width = panel(w), j, wide
    cdef Py_ssize_t panels = (k + width - 1) // width, first = panels * thread // threads * width
    cdef Py_ssize_t columns = min(panels * (thread + 1) // threads * width, k) - first
    if columns > 0:
        for j from 0 <= j < n by width:
            wide = min(padded(n, w) - j, width)
            pack(turned + first * n, n, j, w + j * (k + 1) + first * wide, 1, wide, min(n - j, width), columns)
