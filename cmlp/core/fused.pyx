# The fused pass: a block of samples goes through every layer, the loss, and back through every layer, while it is in the
# cache; its gradient is added to a running sum, its shard's; then the next block.

cdef void block_pass(Job* job, const floating* w, const floating* turned, floating* g, bint fresh, floating* space,
                     Py_ssize_t at, Py_ssize_t first, Py_ssize_t m, Py_ssize_t step, Fetch* fetch, int thread) noexcept nogil:
    """What is wanted of m samples: layer by layer forward, the loss, layer by layer backward into g

    at: the number of the first of them in the pass. first: in the order of the samples. fetch: those that come next, or NULL.
    """
    cdef Net* net = &job.net
    cdef Room room = room_for(net, space, m, False)
    cdef Py_ssize_t l, k, n = net.sizes[net.layers], ld, ldx = inputs_apart(net, False, w), some, column
    cdef Part part = whole(m, net.sizes[0])
    cdef const floating* x = inputs(job, <floating*> room.x, &ldx, first, part)
    cdef const floating* a
    cdef floating* free = <floating*> room.y
    cdef floating* y = free
    cdef floating* d = <floating*> room.d
    cdef floating* dx = d + m * widest(net, w)
    cdef floating* copy = <floating*> room.end
    cdef floating* s = <floating*> room.s
    cdef bint slopes = job.wanted == GRADIENT, skips = skips_zeros(net, x, ldx, part, <floating*> room.x)

    ld = 0
    for l in range(net.layers):
        k, n, ld = net.sizes[l], net.sizes[l + 1], spread(net.sizes[l + 1], w)
        a = x if l == 0 else y
        y = free
        part = whole(m, padded(n, w))
        if stopped_within(job, thread):
            return
        if forward_pieces(job, y, a, ldx if l == 0 else spread(k, w), first, w, job.packed, &part, k, n, l == 0 and skips,
                          fetch if l == 0 else NULL, copy, thread):
            return
        if l == 0:
            job.tallies[thread].finite &= first_column_finite(y, m, ld)
        if l + 1 < net.layers or job.wanted <= CLASSES:
            activate(y, s if slopes and keeps_slope(net, l) else <floating*> NULL, m, n, part.columns, ld, net.activations[l])
            leave_out(job, y, s, m, part.columns, l, step, at, 0)
            s += m * ld if keeps_slope(net, l) else 0
        w += (k + 1) * part.columns
        free += m * ld

    if job.wanted <= CLASSES:
        give_results(job, y, first, m, n)
        return

    take_loss(job, d, y, s if keeps_slope(net, net.layers - 1) else <floating*> NULL, <floating*> room.t, at, first, m,
              job.tallies[thread].unit)
    if job.wanted == LOSS:
        return

    g += parameter_count(net, w)
    turned += turned_count(net, w)
    for l in range(net.layers - 1, -1, -1):
        k, n = net.sizes[l], net.sizes[l + 1]
        g -= (k + 1) * padded(n, w)
        y -= m * spread(k, w)            # what this layer was given; before the first layer that is x
        if l == 0 and x == NULL:
            part = whole(k, padded(n, w))
            sparse_pieces(job, g, k + 1, d, first, m, &part, k, n, fresh, m, thread)
            return
        part, some = whole(k, padded(n, w)), columns_at_once(m, k, padded(n, w), w)
        for column from 0 <= column < padded(n, w) by some:
            part.column, part.columns = column, min(padded(n, w) - column, some)
            if stopped_within(job, thread):
                return
            dense_gradient(g + column * (k + 1), k + 1, d, spread(n, w), x if l == 0 else y, ldx if l == 0 else spread(k, w),
                           l > 0 or x == <floating*> room.x, m, &part, k, n, fresh, m, l == 0 and skips,
                           fetch if l == 0 else NULL, copy)
        if l > 0:
            turned -= n * padded(k, w)
            part, some = whole(m, padded(k, w)), columns_at_once(m, n, padded(k, w), w)
            for column from 0 <= column < padded(k, w) by some:
                part.column, part.columns = column, min(padded(k, w) - column, some)
                if stopped_within(job, thread):
                    return
                dense_input_gradient(dx, d, <const floating*> NULL, turned, &part, k, n, copy)
            s -= m * spread(k, w) if keeps_slope(net, l - 1) else 0
            activate_backward(dx, y, s if keeps_slope(net, l - 1) else <floating*> NULL, m, k, padded(k, w), spread(k, w),
                              net.activations[l - 1])
            d, dx = dx, d


cdef inline floating* own_space(const Job* job, int thread, const floating* like) noexcept nogil:
    """Where a thread works alone"""
    return <floating*> job.space + thread * job.own_size


cdef Fetch fetch_block(const Job* job, const Plan* p, Py_ssize_t first, Py_ssize_t b) noexcept nogil:
    """Block b of the samples from the first, to be brought while the first layer is at work"""
    cdef Py_ssize_t k = job.net.sizes[0], at = first + b * p.block, end = job.training.samples
    return fetching(&job.x, job.order, at, max(min(p.block, end - at), 0), 0, k)


cdef Py_ssize_t shard_after(Team* team, Py_ssize_t s, Py_ssize_t shards, int threads) noexcept nogil:
    """The shard to make after s in a step: the one to be added to it if nobody has begun that, or any; `shards` if none is left

    Each thread began with one of the first.
    """
    cdef Py_ssize_t then = s + first_half(shards)
    if threads <= then < shards and claim_this(team, then):
        return then
    for then in range(threads, shards):
        if claim_this(team, then):
            break
    else:
        then = shards
    return then


cdef void shard_pass(Job* job, const Plan* p, const floating* w, const floating* turned, floating* gradients,
                     Py_ssize_t first, Py_ssize_t m, int thread) noexcept nogil:
    """Shards of m samples, until none is left: a thread takes the next one when it is ready for it

    In a step it begins with its own, and takes the next one before its last block: so it knows what to fetch meanwhile. If that
    is a single block, to be added to the one before, it is at once: the next thread to read them has one gradient less to read.
    """
    cdef bint steps = job.training != NULL
    cdef bint joins = steps and p.blocks == p.shards and job.sparse.values == NULL     # whose gradient is many chains
    cdef bint fetches = steps and job.sparse.values == NULL and not in_place(&job.x, job.order, &job.net.inputs, w)
    cdef Py_ssize_t s = thread if steps else claim(&job.team), then = p.shards, into = p.shards, b, begin, end, at
    cdef Fetch fetch
    job.tallies[thread].finite = True
    while s < p.shards:
        if steps:
            into = s - first_half(p.shards) if joins and s - first_half(p.shards) == into else s
            job.training.joined[s] = into < s
        begin, end, then = p.blocks * s // p.shards, p.blocks * (s + 1) // p.shards, p.shards
        for b in range(begin, end):
            if stopped(&job.team, thread):
                break
            if steps and b == end - 1:
                then = shard_after(&job.team, s, p.shards, job.threads)
            at = b * p.block
            if fetches and b + 1 < end:
                fetch = fetch_block(job, p, first, b + 1)
            elif fetches and then < p.shards:
                fetch = fetch_block(job, p, first, p.blocks * then // p.shards)
            elif fetches:                # the next step's, as far as it is like this one
                fetch = fetch_block(job, p, first + m, p.blocks * thread // p.shards)
            block_pass(job, w, turned, gradients + into * parameter_count(&job.net, w), b == begin and into == s,
                       own_space(job, thread, w), at, first + at, min(p.block, m - at), p.step, &fetch if fetches else NULL,
                       thread)
        s = then if steps else claim(&job.team)
