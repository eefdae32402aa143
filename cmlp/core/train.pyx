# The fused pass: a block of samples goes through every layer, the loss, and back through every layer, while it is in the
# cache; its gradient is added to a running sum; then the next block. And the loop of steps around it.
#
# Who computes what never decides what is added to what: the samples of a step are cut into blocks, the blocks into shards, by
# the step's and the network's sizes alone; a shard's blocks are added up in order, then the shards in order. So the same bits
# come out of any number of threads.

cdef enum:
    MAX_SHARDS = 32
    MAX_THREADS = 256
    STEP_PIECE = 256                     # parameters that stay in the L1 cache with all that a step reads of them
    FEWEST_ROWS = 16                     # in a block, if there are samples enough
    FEWEST_BLOCKS = 4
    PASS_BYTES = 393216                  # of a block and its activations: with a network's parameters inside 1 MiB of L2
    SHARD_BYTES = 8388608                # of all shards' gradients together, beyond the first two

cdef enum want:
    OUTPUTS                              # what the last activation gives
    CLASSES                              # the index of its largest
    LOSS                                 # and how many classes are right
    GRADIENT                             # of the loss as well

cdef enum status:
    DONE
    BAD_LOSS                             # it is not finite: the step that led there has been taken back
    BAD_START                            # it was not from the start: there was no such step
    BAD_STEP                             # a parameter would not be finite: the step has not been taken

cdef struct Net:
    Py_ssize_t layers
    const Py_ssize_t* sizes              # layers + 1 of them: the inputs, then every layer's outputs
    const int* activations
    int loss

cdef struct Plan:
    Py_ssize_t block                     # rows
    Py_ssize_t blocks
    Py_ssize_t shards

cdef struct Tally:                       # of one shard
    double loss
    Py_ssize_t correct
    bint finite                          # whether z of the first layer is, as far as it shows what x holds

cdef struct Job:
    Net net
    want wanted
    bint packed                          # the parameters are in panels
    Table x
    Table targets
    const Py_ssize_t* labels             # or NULL: targets are read from their table
    const Py_ssize_t* order
    double scale                         # of x
    void* outputs
    Py_ssize_t ld_outputs
    Py_ssize_t* classes
    void* space                          # of the threads, space_size each
    Py_ssize_t space_size
    Tally tallies[MAX_SHARDS]


cdef inline Py_ssize_t parameter_count(const Net* net, const floating* like) noexcept nogil:
    """Parameters of all layers, with their padding"""
    cdef Py_ssize_t l, count = 0
    for l in range(net.layers):
        count += (net.sizes[l] + 1) * padded(net.sizes[l + 1], like)
    return count


cdef void pack_layers(const Net* net, floating* to, const floating* params) noexcept nogil:
    """to := the parameters in panels, from row-major ones"""
    cdef Py_ssize_t l, k, ld
    for l in range(net.layers):
        k, ld = net.sizes[l], padded(net.sizes[l + 1], params)
        pack(to, k + 1, 0, params, ld, 1, k + 1, ld)
        to += (k + 1) * ld
        params += (k + 1) * ld


cdef void unpack_layers(const Net* net, floating* params, const floating* source) noexcept nogil:
    """params := row-major parameters, from those in panels"""
    cdef Py_ssize_t l, k, ld
    for l in range(net.layers):
        k, ld = net.sizes[l], padded(net.sizes[l + 1], source)
        unpack(params, ld, source, k + 1, ld)
        params += (k + 1) * ld
        source += (k + 1) * ld


cdef inline Py_ssize_t turned_count(const Net* net, const floating* like) noexcept nogil:
    """Elements of the transposed weights of all layers but the first"""
    cdef Py_ssize_t l, count = 0
    for l in range(1, net.layers):
        count += net.sizes[l + 1] * padded(net.sizes[l], like)
    return count


cdef inline Py_ssize_t widest(const Net* net, const floating* like) noexcept nogil:
    """Columns of the widest layer, with their padding"""
    cdef Py_ssize_t l, width = 0
    for l in range(net.layers):
        width = max(width, padded(net.sizes[l + 1], like))
    return width


cdef inline Py_ssize_t row_count(const Net* net, const floating* like) noexcept nogil:
    """Elements that one sample takes in a thread's space"""
    cdef Py_ssize_t l, count = padded(net.sizes[0], like) + padded(net.sizes[net.layers], like) + 3 * widest(net, like)
    for l in range(net.layers):
        count += padded(net.sizes[l + 1], like)
    return count


cdef inline Py_ssize_t largest_block(const Net* net, const floating* like) noexcept nogil:
    """Rows that leave room in the cache"""
    cdef Py_ssize_t rows = PASS_BYTES // (row_count(net, like) * <Py_ssize_t> sizeof(floating))
    return min(max(rows // WHOLE_TILES, 1) * WHOLE_TILES, MOST_ROWS)


cdef inline Py_ssize_t shards_in_cache(const Net* net, const floating* like) noexcept nogil:
    """Gradients that may be kept apart"""
    return max(SHARD_BYTES // (parameter_count(net, like) * <Py_ssize_t> sizeof(floating)), 2)


cdef Plan plan(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """How m samples are cut"""
    cdef Plan p
    cdef Py_ssize_t rows = largest_block(net, like)
    p.blocks = max((m + rows - 1) // rows, min(FEWEST_BLOCKS, m // FEWEST_ROWS), 1)
    p.block = (m + p.blocks - 1) // p.blocks
    p.blocks = (m + p.block - 1) // p.block
    p.shards = min(p.blocks, MAX_SHARDS, shards_in_cache(net, like))
    return p


cdef inline Py_ssize_t most_shards(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Of any step of at most m samples"""
    return min(max(m // largest_block(net, like) + 1, FEWEST_BLOCKS), MAX_SHARDS, shards_in_cache(net, like))


cdef inline Py_ssize_t space_count(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Elements of one thread's space for steps of at most m samples"""
    return min(m, largest_block(net, like)) * row_count(net, like) + copy_size(like)


cdef void read_targets(floating* t, Job* job, Py_ssize_t first, Py_ssize_t m, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """t := the targets of m samples; a label's are 1 for its class and 0 for the others"""
    cdef Py_ssize_t i, sample
    if job.labels == NULL:
        read_rows(t, ld, &job.targets, job.order, first, m, n, 1.)
        return
    memset(t, 0, m * ld * sizeof(floating))
    for i in range(m):
        sample = first + i if job.order == NULL else job.order[first + i]
        if n == 1:                       # two classes, told apart by one number
            t[i * ld] = job.labels[sample]
        else:
            t[i * ld + job.labels[sample]] = 1


cdef void block_pass(Job* job, const floating* w, const floating* turned, floating* g, bint fresh, floating* space,
                     Py_ssize_t first, Py_ssize_t m, Tally* tally) noexcept nogil:
    """What is wanted of m samples, from the first: layer by layer forward, the loss, layer by layer backward into g"""
    cdef Net* net = &job.net
    cdef Py_ssize_t l, i, k, n = net.sizes[net.layers], ld, ldx = padded(net.sizes[0], w), wide = widest(net, w)
    cdef floating* free = space + m * ldx
    cdef const floating* x = space
    cdef const floating* a
    cdef floating* y = space
    cdef floating* d
    cdef floating* dx
    cdef floating* t
    cdef floating* packed
    cdef floating* copy

    if in_place(&job.x, job.order, job.scale, w):
        x, ldx = <const floating*> (job.x.data + first * job.x.rows_apart), job.x.rows_apart // <Py_ssize_t> sizeof(floating)
    else:
        read_rows(space, ldx, &job.x, job.order, first, m, net.sizes[0], job.scale)

    # Behind x lie the activations of one layer after the other, the targets, three gradients, the product's own copy.
    t = space + m * (row_count(net, w) - 3 * wide - padded(n, w))
    d = t + m * padded(n, w)
    dx = d + m * wide
    packed = dx + m * wide
    copy = packed + m * wide

    ld = 0
    for l in range(net.layers):
        k, n, ld = net.sizes[l], net.sizes[l + 1], padded(net.sizes[l + 1], w)
        a = x if l == 0 else y
        y = free
        dense_forward(y, a, ldx if l == 0 else padded(k, w), w, job.packed, m, k, n, copy)
        if l == 0:                       # NaN or infinity in a sample's inputs shows in each of its z, before ReLU can hide it
            for i in range(m):
                tally.finite &= y[i * ld] - y[i * ld] == 0
        if l + 1 < net.layers or job.wanted <= CLASSES:
            activate(y, m, n, ld, net.activations[l])
        w += (k + 1) * ld
        free += m * ld

    if job.wanted == OUTPUTS:
        copy_block(<floating*> job.outputs + first * job.ld_outputs, job.ld_outputs, y, ld, m, n)
    elif job.wanted == CLASSES:
        for i in range(m):
            job.classes[first + i] = arg_max(y + i * ld, n)
    if job.wanted <= CLASSES:
        return

    read_targets(t, job, first, m, n, ld)
    tally.loss += loss_and_gradient(d, y, t, m, n, ld, net.loss, net.activations[net.layers - 1])
    for i in range(m if job.labels != NULL else 0):
        tally.correct += arg_max(y + i * ld, n) == job.labels[first + i if job.order == NULL else job.order[first + i]]
    if job.wanted == LOSS:
        return

    g += parameter_count(net, w)
    turned += turned_count(net, w)
    for l in range(net.layers - 1, -1, -1):
        k, n = net.sizes[l], net.sizes[l + 1]
        g -= (k + 1) * padded(n, w)
        y -= m * padded(k, w)            # what this layer was given; before the first layer that is x
        dense_backward(g, d, x if l == 0 else y, ldx if l == 0 else padded(k, w), m, k, n, fresh, packed, copy)
        if l > 0:
            turned -= n * padded(k, w)
            dense_input_gradient(dx, d, turned, m, k, n, copy)
            activate_backward(dx, y, m, k, padded(k, w), net.activations[l - 1])
            d, dx = dx, d


cdef void shard_pass(Job* job, const Plan* p, const floating* w, const floating* turned, floating* gradients,
                     Py_ssize_t first, Py_ssize_t m, int thread, int threads) noexcept nogil:
    """This thread's share of the shards of m samples"""
    cdef Py_ssize_t s, b, begin, rows
    cdef floating* space = <floating*> job.space + thread * job.space_size
    for s in range(p.shards * thread // threads, p.shards * (thread + 1) // threads):
        job.tallies[s].loss, job.tallies[s].correct, job.tallies[s].finite = 0, 0, True
        begin = p.blocks * s // p.shards
        for b in range(begin, p.blocks * (s + 1) // p.shards):
            rows = min(p.block, m - b * p.block)
            block_pass(job, w, turned, gradients + s * parameter_count(&job.net, w), b == begin, space,
                       first + b * p.block, rows, &job.tallies[s])


cdef Tally total(const Job* job, const Plan* p) noexcept nogil:
    """The shards' tallies, added up in order"""
    cdef Tally sum
    cdef Py_ssize_t s
    sum.loss, sum.correct, sum.finite = 0, 0, True
    for s in range(p.shards):
        sum.loss += job.tallies[s].loss
        sum.correct += job.tallies[s].correct
        sum.finite &= job.tallies[s].finite
    return sum


cdef struct Run:                         # steps over mini-batches
    Team team
    Rule rule
    Py_ssize_t samples
    Py_ssize_t batch
    Py_ssize_t taken                     # steps before this run
    void* current                        # parameters, packed
    void* other                          # those before the last step, and room for those after the next
    void* moment1
    void* moment2
    void* turned
    void* gradients                      # one for each shard
    bint finite[MAX_THREADS]
    Tally sum                            # of the steps taken
    Py_ssize_t steps
    status ended


cdef bint step_slice(Run* run, floating* after, const floating* p, Py_ssize_t count, Py_ssize_t shards, Py_ssize_t m,
                     Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t of this thread's share of the parameters, a piece at a time that stays in the L1 cache; whether it is finite"""
    cdef Py_ssize_t begin = count // line(p) * thread // threads * line(p)
    cdef Py_ssize_t end = count // line(p) * (thread + 1) // threads * line(p), i, q, s, size
    cdef floating* g = <floating*> run.gradients
    cdef const floating* more
    cdef floating share = 1. / m
    cdef bint finite = True
    for i from begin <= i < end by STEP_PIECE:
        size = min(end - i, STEP_PIECE)
        for s in range(1, shards):
            more = g + s * count
            for q in range(i, i + size):
                g[q] += more[q]
        for q in range(i, i + size):
            g[q] *= share
        finite &= update(after + i, p + i, g + i, <floating*> run.moment1 + i, <floating*> run.moment2 + i, size,
                         &run.rule, t)
    return finite


cdef void turn_weights(const Net* net, floating* turned, const floating* w, int thread, int threads) noexcept nogil:
    """This thread's share of the layers' transposed weights"""
    cdef Py_ssize_t l, k, n
    for l in range(net.layers):
        k, n = net.sizes[l], net.sizes[l + 1]
        if l > 0:
            if l % threads == thread:
                dense_turn(turned, w, k, n)
            turned += n * padded(k, w)
        w += (k + 1) * padded(n, w)


cdef void train_thread(Job* job, Run* run, int thread, const floating* like) noexcept nogil:
    """One thread's part in all the steps. Every thread comes to the same decisions from the same tallies."""
    cdef int threads = team_size(), i
    cdef Py_ssize_t count = parameter_count(&job.net, like), first, m, steps = 0
    cdef floating* current = <floating*> run.current
    cdef floating* other = <floating*> run.other
    cdef Plan p
    cdef Tally now, sum
    cdef status ended = DONE
    sum.loss, sum.correct, sum.finite = 0, 0, True
    for first from 0 <= first < run.samples by run.batch:
        m = min(run.samples - first, run.batch)
        p = plan(&job.net, m, like)
        turn_weights(&job.net, <floating*> run.turned, current, thread, threads)
        barrier(&run.team, threads)
        shard_pass(job, &p, current, <const floating*> run.turned, <floating*> run.gradients, first, m, thread, threads)
        barrier(&run.team, threads)
        now = total(job, &p)
        if not now.finite or now.loss - now.loss != 0:
            ended = BAD_START
            if run.taken + steps > 0:    # the step before this one led here: take it back
                ended = BAD_LOSS
                steps -= 1
                current, other = other, current
            break
        run.finite[thread] = step_slice(run, other, current, count, p.shards, m, run.taken + steps + 1, thread, threads)
        barrier(&run.team, threads)
        for i in range(threads):
            if not run.finite[i]:
                ended = BAD_STEP
        if ended != DONE:
            break
        current, other = other, current
        sum.loss += now.loss
        sum.correct += now.correct
        steps += 1
    if thread == 0:
        run.current, run.other, run.sum, run.steps, run.ended = current, other, sum, steps, ended
