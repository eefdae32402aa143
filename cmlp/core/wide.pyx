# The wide pass, of large networks and of few samples: all samples of a step go through a layer before the next one, and the
# threads share what each layer makes, by panels of its columns or by rows. A first layer of many inputs and few columns they
# share by its inputs. They wait for each other where a part is made of what others have made, not where each goes on with rows
# of its own. All gradients by z are made before the parameters move; then a layer's do while a tile of their gradient is in the
# cache, which is never kept as a whole. Sparse samples make it a panel at a time, of all features that a thread moves.
#
# Every number is made by the same chain of sums as in the fused pass.

cdef enum:
    TILE_FLOATS = 262144                 # of a gradient that is in the cache when its parameters move


cdef inline Py_ssize_t tile_rows(Py_ssize_t columns) noexcept nogil:
    """Rows of a gradient that are made before their parameters move"""
    return min(max(TILE_FLOATS // columns // WHOLE_TILES, 1) * WHOLE_TILES, MOST_ROWS)


cdef inline Py_ssize_t tile_size(const Net* net, const floating* like) noexcept nogil:
    """Elements of the largest such gradient, with a row for the biases; by sparse samples it is a whole panel's"""
    cdef Py_ssize_t columns = widest(net, like)
    return max(min(TILE_FLOATS, MOST_ROWS * columns) + columns, (WHOLE_TILES + 1) * columns,
               (net.sizes[0] + 1) * panel(like) if net.sparse else 0)


cdef struct Wide:                        # what a step is to one of its threads
    int thread
    int threads
    Room room
    const void* x
    Py_ssize_t ldx
    bint skips
    bint split                           # the first layer is shared by its inputs
    Part inputs                          # this thread's share of its weights, if so
    bint alone                           # this thread can go on from rows that it has made itself
    Fetch next                           # its part of the next step's samples
    double share                         # what makes means of the step's sums


cdef inline floating* wide_space(const Job* job, int thread, const floating* like) noexcept nogil:
    """Where a thread works alone"""
    return <floating*> job.space + job.wide_shared + thread * job.wide_size


cdef bint splits_inputs(const Net* net, Py_ssize_t m, int threads, const floating* like) noexcept nogil:
    """Whether the threads share the first layer by its inputs, if it has too few columns.

    Each reads its columns of x alone, and its rows of the weights stay in its cache from step to step. What moves between the
    caches is z, as often as there are chains in it.
    """
    cdef Py_ssize_t k = net.sizes[0], columns = padded(net.sizes[1], like)
    if threads == 1 or k <= K_BLOCK or m > k or net.sparse:
        return False
    return share(m, columns, False, 0, threads, like).columns == columns


cdef Part samples_of(const Wide* v, Py_ssize_t m, Py_ssize_t k, const floating* like) noexcept nogil:
    """This thread's part of the samples of a step: some, or some columns of all"""
    cdef Part of = share(m, k, True, v.thread, v.threads, like)
    if v.split:
        of.row, of.rows, of.column, of.columns = 0, m, v.inputs.row, v.inputs.rows
    return of


cdef bint waits(Job* job, Wide* v, const Part* of, Py_ssize_t columns) noexcept nogil:
    """Waits for the others before a part of rows that are `columns` long, unless the thread goes on by itself: whether to stop"""
    cdef bint by_rows = of.columns == columns, alone = v.alone and by_rows
    v.alone = by_rows
    return not alone and barrier(&job.team, v.threads)


cdef void partial_part(Job* job, Wide* v, floating* parts, const floating* w, Py_ssize_t m) noexcept nogil:
    """This thread's part of the first layer's sums, a chain at a time"""
    cdef Py_ssize_t k = job.net.sizes[0], n = job.net.sizes[1], some = chain_length(k), row
    cdef Part of = v.inputs
    for row from v.inputs.row <= row < v.inputs.row + v.inputs.rows by some:
        if stopped_within(job, v.thread):
            return
        of.row, of.rows = row, min(v.inputs.row + v.inputs.rows - row, some)
        dense_partial(parts + row // some * m * spread(n, w), <const floating*> v.x, v.ldx, w, &of, m, k, n, v.skips, &v.next,
                      wide_space(job, v.thread, w))


cdef void forward_part(Job* job, Wide* v, floating* y, floating* s, const floating* x, Py_ssize_t ldx, Py_ssize_t first,
                       const floating* w, Part of, Py_ssize_t l, const floating* parts, Py_ssize_t m, bint activated,
                       Py_ssize_t step) noexcept nogil:
    """This thread's part of y := f(x @ w + b) of layer l; parts: of x @ w, if they have been made already, or NULL"""
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], ld = spread(n, w), some = rows_at_once(k, of.columns, w)
    cdef Py_ssize_t panels = (of.columns + panel(w) - 1) // panel(w), end = of.row + of.rows, row = of.row, at
    cdef bint skips = l == 0 and v.skips
    cdef Fetch* fetch = &v.next if l == 0 else NULL
    while row < end:
        if stopped_within(job, v.thread):
            return
        if x == NULL:
            some = samples_at_once(&job.sparse, job.order, first + row, end - row, panels) if job.asks else end - row
        of.row, of.rows = row, min(end - row, some)
        if parts != NULL:
            dense_sum(y, parts, ld, m * ld, chain_count(k), w, True, &of, k, n)
        elif forward_pieces(job, y, x, ldx, first, w, True, &of, k, n, skips, fetch, wide_space(job, v.thread, w), v.thread):
            return
        if l == 0:
            job.tallies[v.thread].finite &= first_column_finite(y + row * ld + of.column, of.rows, ld)
        if activated:
            at = row * ld + of.column
            activate(y + at, s + at if s != NULL else s, of.rows, n, of.columns, ld, job.net.activations[l])
            leave_out(job, y + at, s + at, of.rows, of.columns, l, step, row, of.column)
        row += some


cdef void backward_part(Job* job, floating* dx, const floating* d, const floating* y, const floating* s, const floating* w,
                        Part of, Py_ssize_t l, floating* copy, int thread) noexcept nogil:
    """This thread's part of dx := (d @ w.T) * f'(z), z and y = f(z) of the layer before layer l

    It is made by columns, as every product transposes what it uses of w; after a softmax by whole rows.
    """
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], ld = spread(k, d), at
    cdef bint by_rows = job.net.activations[l - 1] == SOFTMAX
    cdef Py_ssize_t rows = rows_at_once(n, of.columns, d) if by_rows else of.rows
    cdef Py_ssize_t columns = of.columns if by_rows else columns_at_once(of.rows, n, of.columns, d)
    cdef Py_ssize_t row, column
    cdef Part piece
    for row from of.row <= row < of.row + of.rows by rows:
        for column from of.column <= column < of.column + of.columns by columns:
            if stopped_within(job, thread):
                return
            piece.row, piece.rows, piece.column = row, min(of.row + of.rows - row, rows), column
            piece.columns, at = min(of.column + of.columns - column, columns), row * ld + column
            dense_input_gradient(dx, d, w, <const floating*> NULL, &piece, k, n, copy)
            activate_backward(dx + at, y + at, s + at if s != NULL else s, piece.rows, k, piece.columns, ld,
                              job.net.activations[l - 1])


cdef void pack_part(floating* packed, const floating* d, Part made, const Plan* p, Py_ssize_t n) noexcept nogil:
    """packed := what this thread made of d, in panels, shard by shard; unless d is a single panel as it stands"""
    cdef Py_ssize_t s, begin, end
    cdef Part of = made
    for s in range(p.shards):
        begin, end = shard_begin(p, s, p.rows), shard_begin(p, s + 1, p.rows)
        of.row = max(made.row - begin, 0)
        of.rows = min(made.row + made.rows, end) - begin - of.row
        if of.rows > 0:
            in_panels(packed + begin * padded(n, d), d + begin * spread(n, d), end - begin, &of, n)


cdef bint step_part(Job* job, const Training* training, const Rule* rule, const Plan* p, Wide* v, const floating* d,
                    const floating* panels, const floating* x, Py_ssize_t ldx, Py_ssize_t first, Part all_of, Py_ssize_t l,
                    Py_ssize_t offset, floating* after, const floating* before) noexcept nogil:
    """A step of this thread's part of the parameters of layer l, which begin at the offset; whether they are finite

    Some rows of the part at a time; if x is NULL, as samples from the first are sparse, a panel at a time.
    """
    cdef Py_ssize_t k = job.net.sizes[l], n = job.net.sizes[l + 1], width = panel(d)
    cdef Py_ssize_t some = tile_rows(all_of.columns) if x != NULL else all_of.rows
    cdef Py_ssize_t columns = all_of.columns if x != NULL else width
    cdef Py_ssize_t end = all_of.row + all_of.rows, last = all_of.column + all_of.columns, row, column, rows, samples
    cdef Py_ssize_t s, j, at, wide, m = p.rows
    cdef Py_ssize_t apart = tile_size(&job.net, d)
    cdef int thread = v.thread
    cdef bint skips = l == 0 and v.skips
    cdef Fetch* fetch = &v.next if l == 0 else NULL
    cdef floating share = v.share
    cdef Part of
    cdef floating* copy = wide_space(job, thread, d)
    cdef floating* g = copy + copy_size(d)
    cdef bint finite = True
    cdef bint direct = is_descent(rule) and not is_shaped(rule) and p.blocks == 1 and x != NULL
    for column from all_of.column <= column < last by columns:
        for row from all_of.row <= row < end by some:
            if stopped_within(job, thread):
                return True
            of.column, of.columns, of.row, of.rows = column, min(last - column, columns), row, min(end - row, some)
            rows = of.rows + (row + of.rows == k)
            if direct:
                dense_step(after + offset, before + offset, descent(rule, share), panels, x, ldx, l > 0, m, &of, k, n, skips,
                           fetch, copy)
                if rows > of.rows:
                    bias_gradient(g, rows, panels + column * m, m * width, 0, m, &of, True, p.block)
            for s in range(0 if direct else p.shards):
                at = shard_begin(p, s, m)
                samples = shard_begin(p, s + 1, m) - at
                if x == NULL:
                    if sparse_pieces(job, g + s * apart, rows, d + at * spread(n, d), first + at, samples, &of, k, n, True,
                                     p.block, thread):
                        return True
                else:
                    dense_gradient(g + s * apart, rows, panels + at * padded(n, d), 0, x + at * ldx, ldx, l > 0,
                                   samples, &of, k, n, True, p.block, skips, fetch, copy)
            for j from 0 <= j < of.columns by width:
                wide = min(of.columns - j, width)
                at = offset + (of.column + j) * (k + 1) + row * wide
                if direct:
                    finite &= are_finite(after + at, of.rows * wide)
                else:
                    finite &= step_slice(training, rule, after, before, g + j * rows, apart, p.shards, NULL, at, of.rows * wide,
                                         True, share)
                finite &= step_slice(training, rule, after, before, g + j * rows + of.rows * wide, apart, p.shards, NULL,
                                     at + of.rows * wide, (rows - of.rows) * wide, False, share)
    return finite


cdef bint wide_forward(Job* job, const Plan* p, Wide* v, const floating* w, Py_ssize_t first, Py_ssize_t step) noexcept nogil:
    """This thread's part of all layers' activations, of the losses and of the last gradient by z: whether to stop"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t l, k, n, ld, at, m = p.rows
    cdef const floating* a = <const floating*> v.x
    cdef floating* y = <floating*> v.room.y
    cdef floating* s = <floating*> v.room.s
    cdef floating* d = <floating*> v.room.d + m * layers_before(net, net.layers - 1, w)
    cdef floating* parts = <floating*> v.room.end if v.split else NULL
    cdef bint last, sloped
    cdef Part of
    if v.split:
        partial_part(job, v, parts, w, m)
        if barrier(&job.team, v.threads):
            return True
    for l in range(net.layers):
        k, n, last, sloped = net.sizes[l], net.sizes[l + 1], l + 1 == net.layers, keeps_slope(net, l)
        ld = spread(n, w)
        of = layer_share(net, l, m, last or net.activations[l] == SOFTMAX, v.thread, v.threads, w)
        if waits(job, v, &of, padded(n, w)):
            return True
        forward_part(job, v, y, s if sloped else <floating*> NULL, a, v.ldx if l == 0 else spread(k, w), first, w, of, l,
                     parts if l == 0 else <floating*> NULL, m, not last, step)
        if last:
            at = of.row * ld
            take_loss(job, d + at, y + at, s + at if sloped else <floating*> NULL, <floating*> v.room.t + at, of.row,
                      first + of.row, of.rows, job.tallies[v.thread].unit)
            if l > 0 or v.x != NULL:     # sparse samples do without
                pack_part(<floating*> v.room.packed + m * layers_before(net, l, w), d, of, p, n)
        a, y, s, w = y, y + m * ld, s + m * ld if sloped else s, w + (k + 1) * padded(n, w)
    return False


cdef bint wide_backward(Job* job, const Plan* p, Wide* v, const floating* w) noexcept nogil:
    """This thread's part of the gradients by z of all layers but the last; when all are there: whether to stop"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t l, k, at, before, m = p.rows
    cdef floating* d = <floating*> v.room.d
    cdef floating* s = <floating*> v.room.s + m * slope_columns(net, w)
    cdef Part of
    s -= m * spread(net.sizes[net.layers], w) if keeps_slope(net, net.layers - 1) else 0
    w += parameter_count(net, w)
    for l in range(net.layers - 1, 0, -1):
        k = net.sizes[l]
        w -= (k + 1) * padded(net.sizes[l + 1], w)
        of = share(m, padded(k, w), net.activations[l - 1] == SOFTMAX, v.thread, v.threads, w)
        if waits(job, v, &of, padded(k, w)):
            return True
        at, before = m * layers_before(net, l, w), m * layers_before(net, l - 1, w)
        s -= m * spread(k, w) if keeps_slope(net, l - 1) else 0
        backward_part(job, d + before, d + at, <floating*> v.room.y + before, s if keeps_slope(net, l - 1) else <floating*> NULL,
                      w, of, l, wide_space(job, v.thread, w), v.thread)
        if l > 1 or v.x != NULL:
            pack_part(<floating*> v.room.packed + before, d + before, of, p, k)
    return barrier(&job.team, v.threads)


cdef bint wide_update(Job* job, const Training* training, const Rule* rule, const Plan* p, Wide* v, const floating* w,
                      floating* after, Py_ssize_t first) noexcept nogil:
    """A step of this thread's part of all parameters: whether they are finite"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t l, k, n, before, offset = 0, m = p.rows
    cdef const floating* x = <const floating*> v.x
    cdef const floating* d = <const floating*> v.room.d
    cdef const floating* packed = <const floating*> v.room.packed
    cdef bint finite = True
    cdef Part of
    for l in range(net.layers):
        k, n, before = net.sizes[l], net.sizes[l + 1], m * layers_before(net, l, w)
        of = weights_share(net, l, v.split, v.thread, v.threads, w)
        finite &= step_part(job, training, rule, p, v, d + before, (packed if spread(n, w) > panel(w) else d) + before, x,
                            v.ldx if l == 0 else spread(k, w), first, of, l, offset, after, w)
        x, offset = <const floating*> v.room.y + before, offset + (k + 1) * padded(n, w)
    return finite


cdef status wide_step(Job* job, Training* training, const Plan* p, const floating* w, floating* after, Py_ssize_t first,
                      Py_ssize_t m, Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef const Net* net = &job.net
    cdef double loss, weight = weight_of(job, first, m), unit = unit_of(job, weight)
    cdef Rule rule = at_step(&training.rule, t, training.rates, t - training.taken - 1, unit)
    cdef floating* x
    cdef Wide v
    cdef Part of
    job.tallies[thread].finite, job.tallies[thread].unit = True, unit
    v.thread, v.threads, v.alone, v.share = thread, threads, True, share_of(weight * unit)
    v.room = room_for(net, <floating*> job.space, m, True)
    v.split, v.inputs = job.splits and splits_inputs(net, m, threads, w), share_inputs(net, 0, thread, threads, w)
    of = samples_of(&v, m, net.sizes[0], w)
    x = <floating*> v.room.x
    v.ldx = inputs_apart(net, True, w)
    if v.split:                          # each thread's columns lie apart: processors fetch more of a row than is read
        v.ldx = spread(v.inputs.rows, w)
        x += m * (padded(v.inputs.row, w) + 2 * line(w) * (v.inputs.row // chain_length(net.sizes[0]))) - v.inputs.row
    v.x = inputs(job, x, &v.ldx, first, of)
    v.skips = skips_zeros(net, <const floating*> v.x, v.ldx, of, x)
    of = samples_of(&v, min(m, max(training.samples - first - m, 0)), net.sizes[0], w)
    v.next = fetching(&job.x, job.order, first + m + of.row, of.rows, of.column, of.columns)
    if not v.split and v.x != v.room.x:  # in the user's array, whole rows are fetched by the processor and by the product
        v.next.end = v.next.row
    penalty_share(training, net, w, v.split, thread, threads)
    if wide_forward(job, p, &v, w, first, t) or wide_backward(job, p, &v, w):
        return INTERRUPTED
    loss = sum_of(job.losses, m)
    if not all_saw_finite(job, threads) or loss - loss != 0:
        return BAD_LOSS
    training.finite[thread] = wide_update(job, training, &rule, p, &v, w, after, first)
    if thread == 0:
        take_sums(job, training, loss, first, m, w)
        watch_time(job, training, first + m, True, threads)
    return INTERRUPTED if barrier(&job.team, threads) else DONE
