# A step's end: the shards' gradients added up, averaged, and the parameters moved, for any slice of them.

cdef enum:
    STEP_PIECE = 256                     # parameters that stay in the L1 cache with all that a step reads of them


cdef bint step_slice(const Run* run, const Rule* rule, floating* after, const floating* before, const floating* g,
                     Py_ssize_t apart, Py_ssize_t shards, Py_ssize_t begin, Py_ssize_t size, Py_ssize_t m) noexcept nogil:
    """A step of the parameters from `begin` on, a piece at a time that stays in the L1 cache; whether they are finite

    g: the first shard's gradient of the slice, the other shards' `apart` behind it. m: samples of the step.
    """
    cdef floating* u = <floating*> run.moment1 + begin
    cdef floating* v = <floating*> run.moment2 + begin
    cdef floating sum[STEP_PIECE]
    cdef const floating* of_all
    cdef const floating* p = before + begin
    cdef floating share = 1. / m
    cdef bint finite = True
    cdef Py_ssize_t i, q, s, piece
    after += begin
    for i from 0 <= i < size by STEP_PIECE:
        piece = min(size - i, STEP_PIECE)
        of_all = g + i
        if shards > 1:
            of_all = sum
            memcpy(sum, g + i, piece * sizeof(floating))
        for s in range(1, shards):
            for q in range(piece):
                sum[q] += g[s * apart + i + q]
        finite &= update(after + i, p + i, of_all, share, u + i, v + i, piece, rule)
    return finite


cdef bint step_share(const Run* run, const Rule* rule, floating* after, const floating* before, Py_ssize_t count,
                     Py_ssize_t shards, Py_ssize_t m, int thread, int threads) noexcept nogil:
    """A step of this thread's share of all parameters, from the gradients of all shards; whether it is finite"""
    cdef Py_ssize_t lines = count // line(before), begin = lines * thread // threads * line(before)
    return step_slice(run, rule, after, before, <floating*> run.gradients + begin, count, shards, begin,
                      lines * (thread + 1) // threads * line(before) - begin, m)
