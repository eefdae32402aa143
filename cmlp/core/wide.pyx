# The wide pass: all samples of a step go through a layer before the next one, and the threads share what each layer makes, by
# panels of its columns or by rows. A layer's parameters move while a tile of their gradient is in the cache, which is never
# kept as a whole.
#
# Every number is made by the same chain of sums as in the fused pass.

cdef enum:
    TILE_FLOATS = 262144                 # of a gradient that is in the cache when its parameters move
    MOST_PRODUCTS = 2147483648           # between two looks at whether somebody wants to stop


cdef inline Py_ssize_t tile_rows(Py_ssize_t columns) noexcept nogil:
    """Rows of a gradient that are made before their parameters move"""
    return min(max(TILE_FLOATS // columns // WHOLE_TILES, 1) * WHOLE_TILES, MOST_ROWS)


cdef inline Py_ssize_t tile_size(const Net* net, const floating* like) noexcept nogil:
    """Elements of the largest such gradient, with a row for the biases"""
    cdef Py_ssize_t columns = widest(net, like)
    return max(TILE_FLOATS, WHOLE_TILES * columns) + columns


cdef inline Py_ssize_t rows_at_once(Py_ssize_t k, Py_ssize_t columns) noexcept nogil:
    """Rows of a product before the next look"""
    return max(MOST_PRODUCTS // (k * columns) // WHOLE_TILES, 2) * WHOLE_TILES


cdef inline Py_ssize_t columns_at_once(Py_ssize_t rows, Py_ssize_t k, const floating* like) noexcept nogil:
    """Columns of a product before the next look"""
    return max(MOST_PRODUCTS // (max(rows, 1) * k) // panel(like), 1) * panel(like)


cdef void forward_part(Job* job, floating* y, floating* s, const floating* x, Py_ssize_t ldx, const floating* w, Part of,
                       Py_ssize_t l, bint activated, bint skips, Py_ssize_t step, floating* copy, int thread) noexcept nogil:
    """This thread's part of y := f(x @ w + b) of layer l"""
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], ld = spread(n, w), some = rows_at_once(k, of.columns)
    cdef Py_ssize_t end = of.row + of.rows, row, at
    for row from of.row <= row < end by some:
        if stopped(&job.team, thread):
            return
        of.row, of.rows = row, min(end - row, some)
        dense_forward(y, x, ldx, w, True, &of, k, n, skips, copy)
        if l == 0:
            job.tallies[thread].finite &= all_finite(y + row * ld + of.column, of.rows, ld)
        if activated:
            at = row * ld + of.column
            activate(y + at, s + at if s != NULL else s, of.rows, n, of.columns, ld, job.net.activations[l])
            leave_out(job, y + at, s + at, of.rows, of.columns, l, step, row, of.column)


cdef void backward_part(Job* job, floating* dx, const floating* d, const floating* y, const floating* s, const floating* w,
                        Part of, Py_ssize_t l, floating* copy, int thread) noexcept nogil:
    """This thread's part of dx := (d @ w.T) * f'(z), z and y = f(z) of the layer before layer l

    It is made by columns, as every product transposes what it uses of w; after a softmax by whole rows.
    """
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], ld = spread(k, d), at
    cdef bint by_rows = job.net.activations[l - 1] == SOFTMAX
    cdef Py_ssize_t rows = rows_at_once(n, of.columns) if by_rows else of.rows
    cdef Py_ssize_t columns = of.columns if by_rows else columns_at_once(of.rows, n, d)
    cdef Py_ssize_t row, column
    cdef Part piece
    for row from of.row <= row < of.row + of.rows by rows:
        for column from of.column <= column < of.column + of.columns by columns:
            if stopped(&job.team, thread):
                return
            piece.row, piece.rows, piece.column = row, min(of.row + of.rows - row, rows), column
            piece.columns, at = min(of.column + of.columns - column, columns), row * ld + column
            dense_input_gradient(dx, d, w, <const floating*> NULL, &piece, k, n, copy)
            activate_backward(dx + at, y + at, s + at if s != NULL else s, piece.rows, k, piece.columns, ld,
                              job.net.activations[l - 1])


cdef const floating* share_panels(Job* job, const Plan* p, floating* packed, const floating* d, Part of, Py_ssize_t m,
                                  Py_ssize_t n, int thread, int threads) noexcept nogil:
    """d in packed panels, shard by shard: those panels at least that this thread's part of the layer's gradient needs"""
    cdef Py_ssize_t ld = padded(n, d), ldd = spread(n, d), s, at, rows
    cdef bint by_rows = of.columns == ld                     # everybody needs all panels
    cdef const floating* panels = d
    for s in range(p.shards):
        at = shard_begin(p, s, m)
        rows = shard_begin(p, s + 1, m) - at
        of.row, of.rows = 0, rows
        if by_rows:
            of = share(rows, ld, True, thread, threads, d)
        panels = in_panels(packed + at * ld, d + at * ldd, rows, &of, n) - at * ld
    if by_rows and panels != d:
        barrier(&job.team, threads)
    return panels


cdef bint step_part(Job* job, const Run* run, const Rule* rule, const Plan* p, const floating* d,
                    const floating* panels, const floating* x, Py_ssize_t ldx, Part of, Py_ssize_t l,
                    Py_ssize_t offset, floating* after, const floating* before,
                    Py_ssize_t m, floating share, bint skips, int thread) noexcept nogil:
    """A step of this thread's part of the parameters of layer l, which begin at the offset; whether they are finite"""
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], width = panel(d), some = tile_rows(of.columns)
    cdef Py_ssize_t end = of.row + of.rows, row, rows, s, j, at, wide
    cdef Py_ssize_t apart = tile_size(&job.net, d)
    cdef floating* copy = own_space(job, thread, d)
    cdef floating* g = copy + copy_size(d)
    cdef bint finite = True
    for row from of.row <= row < end by some:
        if stopped(&job.team, thread):
            return True
        of.row, of.rows = row, min(end - row, some)
        rows = of.rows + (row + of.rows == k)
        for s in range(p.shards):
            at = shard_begin(p, s, m)
            dense_gradient(g + s * apart, rows, d + at * spread(n, d), panels + at * padded(n, d), x + at * ldx, ldx, l > 0,
                           shard_begin(p, s + 1, m) - at, &of, k, n, True, p.block, skips, copy)
        for j from 0 <= j < of.columns by width:
            wide = min(of.columns - j, width)
            at = offset + (of.column + j) * (k + 1) + row * wide
            finite &= step_slice(run, rule, after, before, g + j * rows, apart, p.shards, at, of.rows * wide, True, share)
            finite &= step_slice(run, rule, after, before, g + j * rows + of.rows * wide, apart, p.shards,
                                 at + of.rows * wide, (rows - of.rows) * wide, False, share)
    return finite


cdef status wide_step(Job* job, Run* run, const Plan* p, const floating* w, floating* after, Py_ssize_t first, Py_ssize_t m,
                      Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef const Net* net = &job.net
    cdef Room room = room_for(net, <floating*> job.space, m)
    cdef Py_ssize_t l, k, n, ldx, at, offset = 0, row = m * thread // threads, rows = m * (thread + 1) // threads - row
    cdef const floating* x = inputs(job, <floating*> room.x, &ldx, first, row, rows)
    cdef const floating* a = x
    cdef const floating* panels
    cdef floating* y = <floating*> room.y
    cdef floating* d = <floating*> room.d
    cdef floating* dx = <floating*> room.dx
    cdef floating* copy = own_space(job, thread, w)
    cdef floating* slopes = <floating*> room.s
    cdef floating* s = NULL
    cdef Rule rule = at_step(&run.rule, t, run.rates, t - run.taken - 1)
    cdef Part of
    cdef bint last, skips
    cdef double loss
    cdef floating share_of_one = share_of(job, first, m)

    job.tallies[thread].finite = run.finite[thread] = True
    barrier(&job.team, threads)          # all of x is there
    penalty_share(run, net, w, thread, threads)
    skips = skips_zeros(net, x, ldx, m, <floating*> room.x)
    for l in range(net.layers):
        k, n, last = net.sizes[l], net.sizes[l + 1], l + 1 == net.layers
        of = share(m, padded(n, w), last or net.activations[l] == SOFTMAX, thread, threads, w)
        s = slopes if keeps_slope(net, l) else NULL
        slopes += m * spread(n, w) if keeps_slope(net, l) else 0
        forward_part(job, y, s, a, spread(k, w) if l > 0 else ldx, w + offset, of, l, not last, l == 0 and skips, t, copy,
                     thread)
        offset += (k + 1) * padded(n, w)
        if last:
            at = of.row * spread(n, w)
            take_loss(job, d + at, y + at, s + at if s != NULL else s, <floating*> room.t + at, of.row, first + of.row, of.rows)
        else:
            a, y = y, y + m * spread(n, w)
        if barrier(&job.team, threads):
            return INTERRUPTED

    loss = sum_of(job.losses, m)
    if not all_is_finite(job, threads) or loss - loss != 0:
        return BAD_LOSS

    slopes -= m * spread(net.sizes[net.layers], w) if keeps_slope(net, net.layers - 1) else 0
    for l in range(net.layers - 1, -1, -1):
        k, n = net.sizes[l], net.sizes[l + 1]
        offset -= (k + 1) * padded(n, w)
        of = share(k, padded(n, w), False, thread, threads, w)
        panels = share_panels(job, p, <floating*> room.packed, d, of, m, n, thread, threads)
        y -= m * spread(k, w)            # what this layer was given
        if l > 0:
            slopes -= m * spread(k, w) if keeps_slope(net, l - 1) else 0
            backward_part(job, dx, d, y, slopes if keeps_slope(net, l - 1) else <floating*> NULL, w + offset,
                          share(m, padded(k, w), net.activations[l - 1] == SOFTMAX, thread, threads, w), l, copy, thread)
        run.finite[thread] &= step_part(job, run, &rule, p, d, panels, x if l == 0 else y, ldx if l == 0 else spread(k, w), of, l,
                                        offset, after, w, m, share_of_one, l == 0 and skips, thread)
        d, dx = dx, d
        if barrier(&job.team, threads):
            return INTERRUPTED
    return DONE
