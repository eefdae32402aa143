# What every pass over samples is made of, whichever way it goes: what is asked of it, where its samples, targets and numbers
# lie, the loss of a block, and what is given back.

from libc.math cimport frexp

cdef enum want:
    OUTPUTS                              # what the last activation gives
    CLASSES                              # the index of its largest
    LOSS                                 # and how many classes are right
    GRADIENT                             # of the loss as well

cdef enum sharing:                       # how threads share a pass forward
    BY_SAMPLES
    BY_LAYERS
    ACCOMPANIED                          # one does it alone, another stays awake for the next pass

cdef enum status:
    DONE
    BAD_LOSS                             # it is not finite: the step that led there has been taken back
    BAD_START                            # it was not from the start: there was no such step
    BAD_STEP                             # a parameter would not be finite: the step has not been taken
    INTERRUPTED                          # between two steps, or in one that has not been taken
    PAUSED                               # after a step, to go on with more threads or fewer

cdef struct Training:                    # steps over mini-batches
    Rule rule
    regime forced
    Py_ssize_t samples
    Py_ssize_t batch
    Py_ssize_t taken                     # steps before these
    bint continued                       # work is that of the call before, which did the last of those
    void* params                         # as the user knows them
    void* current                        # the same, packed
    void* other                          # those before the last step, and room for those after the next
    void* moment1
    void* moment2
    void* turned                         # the transposed weights, for fused steps
    void* gradients                      # one for each shard
    bint joined[MAX_SHARDS]              # whether a shard's has been added to its partner's, rather than kept
    double* squares                      # of each piece of the gradient
    double* penalties                    # of each run of weights: the sum of their sizes, and that of their squares
    const double* rates                  # a learning rate for each step, or NULL
    bint finite[MAX_THREADS]
    double params_squared[MAX_THREADS]   # what each thread has seen of them at last
    double loss                          # of the steps taken
    double correct
    double penalty
    double step_loss                     # of the last one
    double step_correct
    double step_penalty
    Py_ssize_t steps
    status ended
    bint pauses                          # after the step at hand
    bint late                            # a thread has kept it waiting
    int here                             # the processor that the first thread began on
    double step_began                    # when, in seconds
    double until                         # when there are to be workers again

cdef struct Tally:                       # of what one thread has seen in a pass
    bint finite                          # whether z of the first layer is, as far as it shows what x holds
    double unit                          # of a step's weights: see `unit_of`
    char apart[LINE_BYTES]             # threads write to lines of their own

cdef struct Job:
    Net net
    want wanted
    bint packed                          # the parameters are in panels
    bint asks                            # the pass, or a step, takes so long that it is asked within whether to stop
    Table x
    Sparse sparse                        # in its place, if it has values
    Table targets
    const Py_ssize_t* labels             # or NULL: targets are read from their table
    const Py_ssize_t* order
    const double* weights                # of the samples, or NULL: all 1
    uint64_t seed                        # of what dropout leaves out
    char* results                        # outputs or classes, any bytes apart
    Py_ssize_t results_apart             # from one sample to the next
    Py_ssize_t outputs_apart
    double* losses                       # one for each sample of the pass, times its weight
    double* hits                         # its weight, if its class is right
    void* space                          # each thread's own; in a wide step after what all of them share
    Py_ssize_t own_size
    Py_ssize_t wide_size
    Py_ssize_t wide_shared
    bint in_double                       # what the pointers point to, if not to floats
    Training* training                   # the steps that the gradient is for, or NULL
    Plan plan                            # of a pass forward
    const void* params                   # for it
    sharing way
    int over                             # whether the first thread has done its part
    bint splits                          # there is room for a first layer shared by its inputs: see wide.pyx
    int threads
    Team team
    Tally tallies[MAX_THREADS]

cdef struct Room:                        # what a number of samples take in a pass
    void* x                              # unless they are sparse
    void* y                              # the activations of one layer after the other
    void* s                              # f' of the layers that keep it, one after the other
    void* t                              # targets
    void* d                              # gradients by z, of all layers in a wide pass, else of two, each as wide as the widest
    void* packed                         # the same in panels, in a wide pass
    void* end


cdef inline Room room_for(const Net* net, floating* space, Py_ssize_t m, bint wide) noexcept nogil:
    """Where m samples' numbers lie, one after the other"""
    cdef Room room
    cdef Py_ssize_t d = m * (layers_before(net, net.layers, space) if wide else 2 * widest(net, space))
    cdef Py_ssize_t t = m * spread(net.sizes[net.layers], space)
    room.x, room.y = space, space + m * inputs_apart(net, wide, space)
    room.end = space + m * row_count(net, wide, space)
    room.packed = <floating*> room.end - (d if wide else 0)
    room.d = <floating*> room.packed - d
    room.t = <floating*> room.d - t
    room.s = <floating*> room.t - m * slope_columns(net, space)
    return room


cdef inline bint stopped_within(Job* job, int thread) noexcept nogil:
    """`stopped`, if the pass or step takes long"""
    return job.asks and stopped(&job.team, thread)


cdef inline Py_ssize_t sample(const Job* job, Py_ssize_t i) noexcept nogil:
    """The number of the sample that is used as the i-th"""
    return i if job.order == NULL else job.order[i]


cdef const floating* inputs(const Job* job, floating* x, Py_ssize_t* ldx, Py_ssize_t first, Part of) noexcept nogil:
    """Where the samples from the first on lie: in the user's array, or in x, where a part of them is read to, ldx apart"""
    cdef Py_ssize_t size = sizeof(floating)
    if job.sparse.values != NULL:
        return NULL
    # A few columns of a few rows are in no cache when they are wanted, unless they are read one row after another.
    if (of.columns == job.net.sizes[0] or of.rows >= 2 * TILE_ROWS) and in_place(&job.x, job.order, &job.net.inputs, x):
        ldx[0] = job.x.rows_apart // size
        return <const floating*> (job.x.data + first * job.x.rows_apart)
    read_rows(x + of.row * ldx[0] + of.column, ldx[0], &job.x, job.order, first + of.row, of.rows, of.column, of.columns,
              &job.net.inputs)
    return x


cdef bint skips_zeros(const Net* net, const floating* x, Py_ssize_t ldx, Part of, const floating* own) noexcept nogil:
    """Whether the first layer is to look for zeros in a part of x, and leave them out.

    If it is a single panel, that takes as long as it saves, unless x has been read into our own array, which is in the cache.
    """
    return x != NULL and (net.sizes[1] > panel(x) or x == own) and \
        is_mostly_empty(x + of.row * ldx + of.column, ldx, of.rows, of.columns)


cdef void read_targets(floating* t, const Job* job, Py_ssize_t first, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """t := the targets of m samples; a label's are 1 for its class and 0 for the others, or a little less and a little more"""
    cdef Py_ssize_t i, j, label
    cdef Scaling none
    cdef floating share = job.net.loss.smoothing / n, right = 1 - share * n
    memset(t, 0, m * ld * sizeof(floating))
    if job.labels == NULL:
        none.scale, none.shift = 1, NULL
        read_rows(t, ld, &job.targets, job.order, first, m, 0, n, &none)
        return
    for i in range(m):
        label = job.labels[sample(job, first + i)]
        if n == 1:                       # two classes, told apart by one number
            t[i * ld] = label
            continue
        for j in range(n if share > 0 else 0):
            t[i * ld + j] = share
        t[i * ld + label] += right


cdef bint first_column_finite(const floating* z, Py_ssize_t m, Py_ssize_t ld) noexcept nogil:
    """Of the first layer: NaN or infinity in a sample's inputs shows in each of its z, before ReLU can hide it"""
    cdef int finite = 1
    cdef Py_ssize_t i
    for i in range(m):
        finite &= z[i * ld] - z[i * ld] == 0
    return finite


cdef void take_loss(const Job* job, floating* d, floating* y, floating* s, floating* t, Py_ssize_t at, Py_ssize_t first,
                    Py_ssize_t m, double unit) noexcept nogil:
    """The losses of m rows of the last z, and their gradient d, in which weights are counted in units

    at: the number of the first of them in the pass. first: in the order of the samples. t: room for the targets of some.
    """
    cdef const Net* net = &job.net
    cdef Py_ssize_t i, j, some, n = net.sizes[net.layers], ld = spread(n, y)
    cdef bint by_label = job.labels != NULL and net.loss.kind == CROSS_ENTROPY and net.loss.smoothing == 0 and n > 1
    cdef Py_ssize_t labels[SOME_ROWS]
    cdef Py_ssize_t best[SOME_ROWS]
    cdef const Py_ssize_t* in_place_of_t = &labels[0] if by_label else <Py_ssize_t*> NULL
    cdef double weight
    for i from 0 <= i < m by SOME_ROWS:
        some = min(m - i, SOME_ROWS)
        for j in range(some if job.labels != NULL else 0):
            labels[j] = job.labels[sample(job, first + i + j)]
        if not by_label:
            read_targets(t, job, first + i, some, n, ld)
        loss_and_gradient(job.losses + at + i, d + i * ld, y + i * ld, s + i * ld if s != NULL else s, t,
                          in_place_of_t, some, n, ld, &net.loss, net.activations[net.layers - 1])
        if job.labels != NULL:
            arg_maxes(best, y + i * ld, some, n, ld)
            for j in range(some):
                job.hits[at + i + j] = best[j] == labels[j]
    for i in range(m if job.weights != NULL else 0):
        weight = job.weights[sample(job, first + i)]
        if weight == 0:                  # whatever its loss is, even not finite
            job.losses[at + i] = 0
            memset(d + i * ld, 0, ld * sizeof(floating))
        job.losses[at + i] *= weight
        job.hits[at + i] *= weight
        for j in range(n):
            d[i * ld + j] *= <floating> (weight * unit)


cdef double weight_of(const Job* job, Py_ssize_t first, Py_ssize_t m) noexcept nogil:
    """What m samples weigh together, from the first"""
    cdef double sum = 0
    cdef Py_ssize_t i
    if job.weights == NULL:
        return m
    for i in range(m):
        sum += job.weights[sample(job, first + i)]
    return sum


cdef inline double unit_of(const Job* job, double weight) noexcept nogil:
    """A power of 2: what samples that weigh so much together weigh is multiplied by, to be a number near 1 in either type"""
    cdef int exponent
    if job.weights == NULL or not 0 < weight < INFINITY:
        return 1
    frexp(weight, &exponent)
    return ldexp(1, max(min(-exponent, 1000), -1000))


cdef void leave_out(const Job* job, floating* y, floating* s, Py_ssize_t m, Py_ssize_t columns, Py_ssize_t l, Py_ssize_t step,
                    Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    """Some of layer l's outputs, if it has dropout"""
    if job.net.dropout[l] > 0 and job.wanted == GRADIENT:
        drop(y, s, m, columns, spread(job.net.sizes[l + 1], y), job.net.dropout[l], job.seed, step, l, row, column)


cdef void give_results(Job* job, const floating* y, Py_ssize_t first, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    """What is wanted of the samples from the first on, from their last activations"""
    cdef Py_ssize_t i, j, some, ld = spread(n, y)
    cdef Py_ssize_t best[SOME_ROWS]
    if job.wanted == OUTPUTS:
        for i in range(m):
            for j in range(n):
                (<floating*> (job.results + (first + i) * job.results_apart + j * job.outputs_apart))[0] = y[i * ld + j]
    else:
        for i from 0 <= i < m by SOME_ROWS:
            some = min(m - i, SOME_ROWS)
            arg_maxes(best, y + i * ld, some, n, ld)
            for j in range(some):
                (<Py_ssize_t*> (job.results + (first + i + j) * job.results_apart))[0] = best[j]


cdef bint forward_pieces(Job* job, floating* y, const floating* x, Py_ssize_t ldx, Py_ssize_t first, const floating* w,
                         bint w_packed, const Part* of, Py_ssize_t k, Py_ssize_t n, bint skips, Fetch* fetch, floating* copy,
                         int thread) noexcept nogil:
    """`dense_forward`, a piece at a time: whether to stop; x is NULL if it is the samples from the first, and sparse"""
    cdef Py_ssize_t some = columns_at_once(of.rows, k, of.columns, w), end = of.column + of.columns, column
    cdef Part piece = of[0]
    for column from of.column <= column < end by some:
        piece.column, piece.columns = column, min(end - column, some)
        if column > of.column and stopped_within(job, thread):
            return True
        if x == NULL:
            sparse_forward(y, &job.sparse, &job.net.inputs, job.order, first, &piece, w, w_packed, k, n)
        else:
            dense_forward(y, x, ldx, w, w_packed, &piece, k, n, skips, fetch, copy)
    return False


cdef bint sparse_pieces(Job* job, floating* dw, Py_ssize_t dw_rows, const floating* d, Py_ssize_t first, Py_ssize_t m,
                        const Part* of, Py_ssize_t k, Py_ssize_t n, bint fresh, Py_ssize_t block, int thread) noexcept nogil:
    """`dense_gradient` by m sparse samples from the first, some at a time: whether to stop"""
    cdef Py_ssize_t width = panel(d), column, i, some
    cdef Part piece = of[0]
    for column from 0 <= column < of.columns by width:
        piece.column, piece.columns, i = of.column + column, min(of.columns - column, width), 0
        while i < m:
            if stopped_within(job, thread):
                return True
            some = samples_at_once(&job.sparse, job.order, first + i, m - i, 1) if job.asks else m
            sparse_gradient(dw + column * dw_rows, d + i * spread(n, d), &job.sparse, &job.net.inputs, job.order, first + i,
                            some, &piece, k, n, fresh and i == 0)
            i += some
    if of.row + of.rows == k:
        bias_gradient(dw, dw_rows, d + of.column, panel(d), spread(n, d), m, of, fresh, block)
    return False


cdef bint all_saw_finite(const Job* job, int threads) noexcept nogil:
    """Whether it is in all that the threads have seen"""
    cdef bint finite = True
    cdef int i
    for i in range(threads):
        finite &= job.tallies[i].finite
    return finite


cdef double hits_of(const Job* job, Py_ssize_t m) noexcept nogil:
    """What the samples of the pass whose classes are right weigh together"""
    return sum_of(job.hits, m) if job.labels != NULL else 0
