# What a network is to the core, and how the samples of a step are cut.
#
# Who computes what never decides what is added to what: the samples of a step are cut into blocks, the blocks into shards, by
# the step's and the network's sizes alone; a shard's blocks are added up in order, then two shards, then these pairs in order.
# So the same bits come out of any number of threads.

cdef enum:
    MAX_SHARDS = 32
    FEWEST_ROWS = 32                     # in a block, if there are samples enough
    BLOCKS_FOR_THREADS = 4               # at most, of a step that would do with fewer
    COSTLY_WORK = 24                     # parameters that a sample passes in the time of one exponential, there and back
    HANDING_WORK = 100000                # work, see `sample_work`, of a pass that pays handing it to a thread that is awake
    WAKING_WORK = 2000000                # and that pays waking one
    THREAD_WORK = 800000                 # times bytes of a number: of a step that pays a thread, and so a block for it
    MOVING_SAMPLES = 48                  # that take as long as moving parameters and gradients between two threads' caches does
    WIDE_WORK = 4000000                  # times bytes of a number: of a step that goes layer by layer, for each thread
    STAYING_WORK = 400000                # the same, if few parameters ever move from one thread's cache to another's
    FEWEST_PASSED = 4                    # samples of a thread in a pass forward
    L2_BYTES = 1048576                   # of parameters, beyond which a thread would rather read some for all samples
    PACKING_PAYS = 4096                  # samples of a pass forward for which the parameters are first put in panels
    UPDATE_SAMPLES = 7                   # that take as long as reading and moving the parameters does
    ROOT_SAMPLES = 36                    # and as it does besides, if it takes roots
    PASS_BYTES = 524288                  # of a block and its activations: half of an L2 cache of 1 MiB
    SHARD_BYTES = 8388608                # of all shards' gradients together, beyond the first two
    WIDE_BYTES = 262144                  # of parameters: more than this, and a gradient for each shard costs more than barriers
    WIDE_SAMPLES = 4096                  # of a step that goes through a wide network layer by layer
    REGISTER_PRODUCTS = 134217728        # for each number in a register: between two looks at whether somebody wants to stop
    LARGE_PARAMETERS = 1048576           # more than so many take milliseconds to move
    BATCH_TO_CUT = 128                   # samples, with fewer of which a step is rather cut by its many inputs, if it has them

cdef enum regime:
    FUSED                                # a thread takes a block of samples through all layers
    WIDE                                 # all threads take all samples through a layer
    BY_SIZE                              # whichever is faster

cdef struct Net:
    Py_ssize_t layers
    const Py_ssize_t* sizes              # layers + 1 of them: the inputs, then every layer's outputs
    const int* activations
    const double* dropout                # share of each layer's outputs that a step leaves out
    Loss loss
    Scaling inputs
    bint whole                           # its gradient has to be kept as a whole: it goes fused
    bint sparse                          # its inputs are

cdef struct Plan:
    Py_ssize_t rows
    Py_ssize_t block                     # rows of a block
    Py_ssize_t blocks
    Py_ssize_t shards
    bint wide
    Py_ssize_t step                      # its number, from 1; 0 outside of training


cdef inline bint keeps_slope(const Net* net, Py_ssize_t l) noexcept nogil:
    """Whether a step keeps f' of layer l, rather than read it off y"""
    return needs_z(net.activations[l]) or net.dropout[l] > 0


cdef inline Py_ssize_t slope_columns(const Net* net, const floating* like) noexcept nogil:
    """Elements that one sample's f' take"""
    cdef Py_ssize_t l, count = 0
    for l in range(net.layers):
        count += spread(net.sizes[l + 1], like) if keeps_slope(net, l) else 0
    return count


cdef inline Py_ssize_t parameter_count(const Net* net, const floating* like) noexcept nogil:
    """Parameters of all layers, with their padding"""
    cdef Py_ssize_t l, count = 0
    for l in range(net.layers):
        count += (net.sizes[l] + 1) * padded(net.sizes[l + 1], like)
    return count


cdef void pack_layers(const Net* net, floating* to, const floating* params, int thread, int threads) noexcept nogil:
    """to := a thread's share of the parameters in panels, from row-major ones"""
    cdef Py_ssize_t l, rows, ld
    cdef Part of
    for l in range(net.layers):
        rows, ld = net.sizes[l] + 1, padded(net.sizes[l + 1], params)
        of = share(rows, ld, False, thread, threads, params)
        pack(to + of.column * rows, rows, of.row, params + of.row * ld + of.column, ld, 1, of.rows, of.columns)
        to += rows * ld
        params += rows * ld


cdef double unpack_layers(const Net* net, floating* params, const floating* source, int thread, int threads) noexcept nogil:
    """params := a thread's share of the row-major parameters, from those in panels; the sum of their squares"""
    cdef Py_ssize_t l, rows, ld
    cdef double sum = 0
    cdef Part of
    for l in range(net.layers):
        rows, ld = net.sizes[l] + 1, padded(net.sizes[l + 1], source)
        of = share(rows, ld, False, thread, threads, source)
        sum += unpack(params + of.row * ld + of.column, ld, source + of.column * rows, rows, of.row, of.rows, of.columns)
        params += rows * ld
        source += rows * ld
    return sum


cdef Py_ssize_t turned_count(const Net* net, const floating* like) noexcept nogil:
    """Elements of the transposed weights of all layers but the first"""
    cdef Py_ssize_t l, count = 0
    for l in range(1, net.layers):
        count += net.sizes[l + 1] * padded(net.sizes[l], like)
    return count


cdef inline bint turns_alone(const Net* net, const floating* like) noexcept nogil:
    """Whether each thread transposes all weights for itself: few are sooner done than waited for"""
    return parameter_bytes(net, like) <= WIDE_BYTES


cdef inline Py_ssize_t widest(const Net* net, const floating* like) noexcept nogil:
    """Elements that a row of the widest layer takes"""
    cdef Py_ssize_t l, width = 0
    for l in range(net.layers):
        width = max(width, spread(net.sizes[l + 1], like))
    return width


cdef inline Py_ssize_t layers_before(const Net* net, Py_ssize_t layer, const floating* like) noexcept nogil:
    """Elements that one sample's activations take, of all layers before this one"""
    cdef Py_ssize_t l, count = 0
    for l in range(layer):
        count += spread(net.sizes[l + 1], like)
    return count


cdef inline Py_ssize_t inputs_apart(const Net* net, bint wide, const floating* like) noexcept nogil:
    """Elements from one sample's inputs to the next one's; in a wide pass with room for each thread's columns by themselves

    Sparse ones are used where they lie.
    """
    if net.sparse:
        return 0
    return spread(net.sizes[0] + (2 * chain_count(net.sizes[0]) * line(like) if wide else 0), like)


cdef inline Py_ssize_t row_count(const Net* net, bint wide, const floating* like) noexcept nogil:
    """Elements that one sample takes in a pass: see Room"""
    return (inputs_apart(net, wide, like) + spread(net.sizes[net.layers], like) + slope_columns(net, like)
            + layers_before(net, net.layers, like)
            + 2 * (layers_before(net, net.layers, like) if wide else widest(net, like)))


cdef Py_ssize_t run_count(const Net* net, const floating* like) noexcept nogil:
    """Runs of weights: of each panel, the rows of one chain"""
    cdef Py_ssize_t l, count = 0
    for l in range(net.layers):
        count += (net.sizes[l + 1] + panel(like) - 1) // panel(like) * chain_count(net.sizes[l])
    return count


cdef inline Py_ssize_t parameter_bytes(const Net* net, const floating* like) noexcept nogil:
    """Of all layers"""
    return parameter_count(net, like) * <Py_ssize_t> sizeof(floating)


cdef Py_ssize_t sample_work(const Net* net, const floating* like) noexcept nogil:
    """What a sample takes, in parameters that it passes: an exponential, or a draw of dropout, is as many of them"""
    cdef Py_ssize_t l, costly = 0
    for l in range(net.layers):
        costly += padded(net.sizes[l + 1], like) if is_costly(net.activations[l]) or net.dropout[l] > 0 else 0
    return parameter_count(net, like) + COSTLY_WORK * costly


cdef Py_ssize_t largest_block(const Net* net, const floating* like) noexcept nogil:
    """Rows that leave room in the cache, or if the parameters do not fit there either, for which reading them pays"""
    cdef Py_ssize_t size = row_count(net, False, like) * <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t rows = max(PASS_BYTES, parameter_bytes(net, like)) // size
    return min(max(rows // WHOLE_TILES, 1), K_BLOCK // WHOLE_TILES) * WHOLE_TILES


cdef Py_ssize_t shards_in_cache(const Net* net, const floating* like) noexcept nogil:
    """Gradients that may be kept apart"""
    return max(SHARD_BYTES // parameter_bytes(net, like), 2)


cdef Py_ssize_t wide_samples(const Net* net, const floating* like) noexcept nogil:
    """Of the largest steps that go layer by layer"""
    if net.whole:
        return 0
    if parameter_bytes(net, like) > WIDE_BYTES:
        return WIDE_SAMPLES
    if net.sizes[0] > K_BLOCK and not net.sparse:
        return BATCH_TO_CUT - 1
    return 2 * FEWEST_ROWS - 1           # there is one block of them only


cdef inline bint is_wide(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Whether steps of m samples go layer by layer"""
    return m <= wide_samples(net, like)


cdef inline Py_ssize_t step_pays(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Threads that are worth having for a fused step"""
    cdef Py_ssize_t moving = MOVING_SAMPLES * parameter_count(net, like)
    return max(m * sample_work(net, like) - moving, 0) * <Py_ssize_t> sizeof(floating) // THREAD_WORK


cdef inline Py_ssize_t first_half(Py_ssize_t shards) noexcept nogil:
    """Of the shards of a step; each of the others has a partner there, to which it is added first"""
    return (shards + 1) // 2


cdef Plan plan(const Net* net, Py_ssize_t m, const floating* like, bint wide, Py_ssize_t step) noexcept nogil:
    """How m samples are cut, in a step of this number"""
    cdef Plan p
    cdef Py_ssize_t rows, paying
    p.rows, p.wide, p.step = m, wide, step
    if p.wide:
        p.blocks = max((m + K_BLOCK - 1) // K_BLOCK, 1)
    else:
        rows = largest_block(net, like)
        paying = min(BLOCKS_FOR_THREADS, m // FEWEST_ROWS, step_pays(net, m, like))
        p.blocks = max((m + rows - 1) // rows, paying - paying % 2, 1)
        p.blocks += p.blocks > 1 and p.blocks % 2 == 1       # two threads are to have as many, if the rows can be cut so
    p.block = (m + p.blocks - 1) // p.blocks
    p.blocks = (m + p.block - 1) // p.block
    rows = min(p.blocks, MAX_SHARDS, shards_in_cache(net, like))
    rows = (p.blocks + rows - 1) // rows                     # blocks of a shard, of each as many
    p.shards = 1 if p.wide else (p.blocks + rows - 1) // rows
    return p


cdef Plan plan_pass(const Net* net, Py_ssize_t m, int threads, const floating* like) noexcept nogil:
    """How m samples are cut for a pass forward, where no sum is over samples: as many blocks for each thread"""
    cdef Plan p
    cdef Py_ssize_t rows = largest_block(net, like), each = min(threads, max(m // FEWEST_PASSED, 1))
    p.rows, p.wide, p.step = m, False, 0
    p.blocks = (max((m + rows - 1) // rows, 1) + each - 1) // each * each
    p.block = max((m + p.blocks - 1) // p.blocks, 1)
    p.shards = p.blocks = (m + p.block - 1) // p.block       # each to be taken by itself
    return p


cdef Py_ssize_t most_by_layers(const Net* net, const floating* like) noexcept nogil:
    """Samples of a pass forward whose layers the threads share, rather than the samples"""
    return (4 if parameter_bytes(net, like) > L2_BYTES else 2) * FEWEST_PASSED - 1


cdef Part share_inputs(const Net* net, Py_ssize_t l, int thread, int threads, const floating* like) noexcept nogil:
    """A thread's part of layer l's weights, if that is shared by its inputs: some chains of their rows"""
    cdef Part of = whole(net.sizes[l], padded(net.sizes[l + 1], like))
    cdef Py_ssize_t length = chain_length(of.rows), number = chain_count(of.rows)
    of.row = number * thread // threads * length
    of.rows = min(number * (thread + 1) // threads * length, of.rows) - of.row
    return of


cdef Part layer_share(const Net* net, Py_ssize_t l, Py_ssize_t rows, bint by_rows, int thread, int threads,
                      const floating* like) noexcept nogil:
    """A thread's part of what layer l makes, or of its weights

    Sparse samples come to all weights: a thread had better have columns of its own in its cache, if a fourth more than its due.
    """
    cdef Py_ssize_t slack = 4 if l == 0 and net.sparse else 8
    return share_unevenly(rows, padded(net.sizes[l + 1], like), by_rows, slack, thread, threads, like)


cdef Part weights_share(const Net* net, Py_ssize_t l, bint split, int thread, int threads, const floating* like) noexcept nogil:
    """A thread's part of layer l's weights: those that are in its cache, as it moves them; split: the first layer's by inputs"""
    if split and l == 0:
        return share_inputs(net, l, thread, threads, like)
    return layer_share(net, l, net.sizes[l], False, thread, threads, like)


cdef bint by_inputs(const Net* net, Py_ssize_t l, Py_ssize_t m, int threads, const floating* like) noexcept nogil:
    """Whether the threads share layer l of a pass over a few samples by its inputs, if these make about as many chains for each

    Each reads a run of the weights then. With columns for each, processors fetch more of a row than is read: the cache of each
    holds all weights, if there is room for them.
    """
    cdef Py_ssize_t chains = chain_count(net.sizes[l]), columns = padded(net.sizes[l + 1], like)
    cdef Py_ssize_t most = (chains + threads - 1) // threads
    return (threads > 1 and 4 * threads * most <= 5 * chains
            and share(m, columns, False, 0, threads, like).columns < columns)


cdef Py_ssize_t parts_size(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Elements of the chains that these threads make of a layer, at most"""
    cdef Py_ssize_t l, size = 0
    for l in range(net.layers):
        if chain_count(net.sizes[l]) > 1:
            size = max(size, chain_count(net.sizes[l]) * m * padded(net.sizes[l + 1], like))
    return size


cdef inline Py_ssize_t few_size(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Elements that each of them needs for itself"""
    return m * widest(net, like) + copy_size(like)


cdef Py_ssize_t pass_size(const Net* net, Py_ssize_t rows, const floating* like) noexcept nogil:
    """Elements that a thread needs for blocks of so many rows"""
    return rows * row_count(net, False, like) + copy_size(like)


cdef inline Py_ssize_t shard_begin(const Plan* p, Py_ssize_t s, Py_ssize_t m) noexcept nogil:
    """The first row of a shard"""
    return min(p.blocks * s // p.shards * p.block, m)


cdef inline Py_ssize_t products_at_once(const floating* like) noexcept nogil:
    """Products between two looks at whether somebody wants to stop: some 20 milliseconds' by registers of this size"""
    return REGISTER_PRODUCTS * lane_count(like)


cdef inline bint takes_long(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Whether m samples forward and backward make about so many, or as many parameters are moved"""
    cdef Py_ssize_t count = parameter_count(net, like)
    return 4 * m * count > products_at_once(like) or count > LARGE_PARAMETERS


cdef inline Py_ssize_t rows_at_once(Py_ssize_t k, Py_ssize_t columns, const floating* like) noexcept nogil:
    """Rows of a product before the next look"""
    return max(products_at_once(like) // (k * columns) // WHOLE_TILES, 2) * WHOLE_TILES


cdef inline Py_ssize_t columns_at_once(Py_ssize_t rows, Py_ssize_t k, Py_ssize_t columns, const floating* like) noexcept nogil:
    """Of the columns of a product, those before the next look"""
    if rows * k * columns <= products_at_once(like):
        return columns
    return max(products_at_once(like) // (rows * k) // panel(like), 1) * panel(like)


cdef Py_ssize_t most_shards(const Net* net, Py_ssize_t m, const floating* like) noexcept nogil:
    """Of any step of at most m samples"""
    return min(max(m // largest_block(net, like) + 2, BLOCKS_FOR_THREADS), MAX_SHARDS, shards_in_cache(net, like))


cdef Py_ssize_t threads_paying(const Net* net, Py_ssize_t m, Py_ssize_t steps, bint rooted,
                               const floating* like) noexcept nogil:
    """Threads that are worth having for steps of m samples, or in none for a pass forward over them; rooted: see `takes_roots`

    What they hand over may take longer than what they compute.
    """
    cdef Py_ssize_t count = parameter_count(net, like), first = (net.sizes[0] + 1) * padded(net.sizes[1], like), work
    cdef Py_ssize_t all_work = m * sample_work(net, like), moving = (UPDATE_SAMPLES + (ROOT_SAMPLES if rooted else 0)) * count
    if steps == 0:
        return all_work // HANDING_WORK
    work = step_pays(net, m, like)
    if is_wide(net, m, like):
        work = (all_work + moving) * <Py_ssize_t> sizeof(floating)
        work //= STAYING_WORK if net.sizes[0] > K_BLOCK and 4 * first > 3 * count else WIDE_WORK
    elif net.whole and parameter_bytes(net, like) > WIDE_BYTES:      # moving its parameters is shared, if not the samples
        work = (all_work + moving) * <Py_ssize_t> sizeof(floating) // WIDE_WORK
    return min(work, steps * all_work // WAKING_WORK)
