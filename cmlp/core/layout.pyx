# Where in the work memory, which Python allocates, everything has its place.

cdef inline Py_ssize_t double_room(Py_ssize_t m, const floating* like) noexcept nogil:
    """Elements that m doubles take"""
    return padded((m * <Py_ssize_t> sizeof(double) + sizeof(floating) - 1) // sizeof(floating), like)


cdef Py_ssize_t lay_out(Job* job, Training* training, floating* work, Py_ssize_t m, int threads) noexcept nogil:
    """Where in `work` everything has its place, for steps of at most m samples; returns how many elements that takes"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t count = parameter_count(net, work), shards, rows = min(m, largest_block(net, work)), wide_rows = m
    cdef bint wide = training.forced == WIDE and not net.whole, fused = not wide
    cdef floating* at = work
    if training.forced == BY_SIZE:       # the last step of an epoch may be smaller than the others
        wide_rows = min(m, wide_samples(net, work))
        wide, fused = wide_rows > 0, wide_rows < m
    elif fused:
        rows = min(m, K_BLOCK)
    shards = most_shards(net, m, work)
    training.current, training.other = at, at + count
    training.turned = at = at + 2 * count
    training.gradients = at = at + (turned_count(net, work) * (threads if turns_alone(net, work) else 1) if fused else 0)
    at += shards * count if fused else 0
    training.squares = <double*> at
    at += double_room(count // STEP_PIECE + 1, work) if net.whole else 0
    training.penalties = <double*> at
    at += double_room(2 * run_count(net, work), work)
    job.losses = <double*> at
    at += double_room(m, work)
    job.hits = <double*> at
    at += double_room(m, work)
    job.space = at
    job.own_size = pass_size(net, rows, work) if fused else 0
    job.wide_shared = wide_rows * row_count(net, True, work) if wide else 0
    job.splits = wide and splits_inputs(net, 1, threads, work)
    if job.splits:
        job.wide_shared += min(wide_rows, net.sizes[0]) * chain_count(net.sizes[0]) * spread(net.sizes[1], work)
    job.wide_size = tile_size(net, work) * (1 if training.forced == BY_SIZE else shards) + copy_size(work) if wide else 0
    return at - work + max(threads * job.own_size, job.wide_shared + threads * job.wide_size)


cdef Py_ssize_t lay_out_pass(Job* job, floating* work, Py_ssize_t m, int threads) noexcept nogil:
    """The same for a pass forward, whichever of the threads take part in it"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t count = parameter_count(net, work) if m >= PACKING_PAYS else 0
    cdef Py_ssize_t doubles = double_room(m, work) if job.wanted == LOSS else 0
    job.losses, job.hits = <double*> (work + count), <double*> (work + count + doubles)
    job.space = work + count + 2 * doubles
    cdef Py_ssize_t few = min(m, most_by_layers(net, work)) if threads > 1 and job.wanted != LOSS else 0
    return (<floating*> job.space - work + min(m + threads, threads * largest_block(net, work)) * row_count(net, False, work)
            + 2 * parts_size(net, few, work) + threads * few_size(net, few, work))
