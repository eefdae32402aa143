# The compiled core of cmlp, for one instruction set: arrays in, pointers down. With view.pyx, shortcut.pyx and owner.pyx the only
# part that knows of Python.
#
# Parameters are one flat array. A layer of k inputs and n outputs takes (k + 1) rows, each padded to whole cache lines: k of
# weights, one of biases. X has one sample a row. work: room for the kernels, which allocate nothing; see work_size.
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating

include "tile.pyx"
include "zeros.pyx"
include "row.pyx"
include "pack.pyx"
include "gemm.pyx"
include "elementary.pyx"
include "activation.pyx"
include "dropout.pyx"
include "loss.pyx"
include "optimizer.pyx"
include "table.pyx"
include "narrow.pyx"
include "dense.pyx"
include "sparse.pyx"
include "team.pyx"
include "net.pyx"
include "passes.pyx"
include "fused.pyx"
include "step.pyx"
include "wide.pyx"
include "train.pyx"
include "job.pyx"
include "layout.pyx"
include "view.pyx"
include "shortcut.pyx"
include "owner.pyx"

STATUSES = {"done": DONE, "bad_loss": BAD_LOSS, "bad_start": BAD_START, "bad_step": BAD_STEP}
WANTS = {"outputs": OUTPUTS, "classes": CLASSES, "loss": LOSS, "gradient": GRADIENT}
REGIMES = {"fused": FUSED, "wide": WIDE, "by_size": BY_SIZE}


def tile_shape(like):
    """Rows and columns of the register tile, and the rows of a panel that are summed in one chain."""
    return TILE_ROWS, TILE_VECTORS * (sizeof(vd) // sizeof(double) if is_double(like) else sizeof(vf) // sizeof(float)), K_BLOCK


def padded_columns(Py_ssize_t n, like):
    """Elements that a row of n takes in the core's arrays."""
    return padded(n, <double*> NULL) if is_double(like) else padded(n, <float*> NULL)


def has_threads():
    """Whether the core was built to use several threads."""
    return HAS_THREADS == 1


def has_openmp():
    """Whether OpenMP has a say in how many."""
    return HAS_OPENMP == 1


def forget_threads():
    """For a forked child, which has none of its parent's."""
    global forks
    forks += 1
    forget_workers()


forget_workers()


def openmp_limit():
    """The threads that OpenMP would use here: by the processors and OMP_NUM_THREADS, until somebody sets another number."""
    return thread_limit()


cdef void multiply(const Py_buffer* y, const Py_buffer* a, const Py_buffer* b, const Py_buffer* bias, bint accumulate,
                   floating* packed) noexcept nogil:
    """`matmul` of arrays that fit"""
    cdef Py_ssize_t m = y.shape[0], n = y.shape[1], k = a.shape[1], size = sizeof(floating), j
    cdef Py_ssize_t wide = padded(n, packed), width = panel(packed)
    cdef floating* row
    cdef Loose of_b
    cdef Into to
    # A single row has a way of its own through panels; and if there are more than a block of rows, all of them come back to b.
    cdef bint in_panels = m == 1 or m > MOST_ROWS
    cdef Py_ssize_t rows = k if in_panels else 0
    of_b.b, of_b.bias, of_b.first, of_b.columns, of_b.panel_rows = b.buf, packed, 0, n, 0
    of_b.rows_apart, of_b.columns_apart = b.strides[0] // size, b.strides[1] // size
    if in_panels:
        pack(packed, k + 1, 0, <const floating*> b.buf, of_b.rows_apart, of_b.columns_apart, k, n)
    for j from 0 <= j < wide by width:
        row = packed + j * (rows + 1) + rows * min(wide - j, width)
        memset(row, 0, min(wide - j, width) * size)
    if bias != NULL:
        pack(packed, rows + 1, rows, <const floating*> bias.buf, 0, bias.strides[0] // size, 1, n)
    to = into(<floating*> y.buf, width, y.strides[0] // size, FROM_Y if accumulate else FROM_BIAS)
    product(&to, <const floating*> a.buf, 1 if m == 1 else a.strides[0] // size, 1 if k < 2 else a.strides[1] // size,
            packed, (k + 1) * width, 0, m, k, wide, chain_length(k), False,
            NULL if in_panels else &of_b, NULL, packed + (rows + 1) * wide)


def matmul(y, a, b, bias, bint accumulate, work):
    """y := (y if accumulate else bias or 0) + a @ b.

    The rows of y are `padded_columns` apart or more, and all of that is written, in a last or only row too, where the array
    itself cannot tell. y shares no memory with a and b. One of a's strides is one element. work: `matmul_work`.
    """
    cdef Py_ssize_t size = number_size(work), m, n, k, steps
    cdef Array result = held(y, c'f', size, 2, True, True), left = held(a, c'f', size, 2, False, True)
    cdef Array right = held(b, c'f', size, 2, False, True), added = held_if_any(bias, c'f', size, 1, True)
    cdef Array room = held(work, c'f', size, 1, True)
    cdef const Py_buffer* of_bias = &added.buffer if added is not None else NULL
    m, n, k = result.buffer.shape[0], result.buffer.shape[1], left.buffer.shape[1]
    if left.buffer.shape[0] != m or right.buffer.shape[0] != k or right.buffer.shape[1] != n \
            or of_bias != NULL and of_bias.shape[0] != n:
        raise ValueError(f"shapes do not match: y {y.shape}, a {a.shape}, b {b.shape}")
    if k > 1 and m > 1 and size != left.buffer.strides[0] and size != left.buffer.strides[1]:
        raise ValueError("one of a's strides must be one element")
    steps = result.buffer.strides[0] | result.buffer.strides[1] | left.buffer.strides[0] | left.buffer.strides[1]
    steps |= right.buffer.strides[0] | right.buffer.strides[1] | (of_bias.strides[0] if of_bias != NULL else 0)
    if steps & (size - 1) != 0:          # of any of them, as size is a power of two
        raise ValueError("all strides must be whole elements")
    if n > 1 and result.buffer.strides[1] != size or m > 1 and result.buffer.strides[0] < padded_columns(n, work) * size:
        raise ValueError("the rows of y must be padded_columns apart")
    if room.buffer.shape[0] < matmul_work(k, n, work):
        raise ValueError("work is smaller than matmul_work")
    if m == 0 or n == 0:
        return
    with nogil:
        if size == sizeof(double):
            multiply(&result.buffer, &left.buffer, &right.buffer, of_bias, accumulate, <double*> room.buffer.buf)
        else:
            multiply(&result.buffer, &left.buffer, &right.buffer, of_bias, accumulate, <float*> room.buffer.buf)


def matmul_work(Py_ssize_t k, Py_ssize_t n, like):
    """Elements of work for `matmul`."""
    return (k + 1) * padded_columns(n, like) + (copy_size(<double*> NULL) if is_double(like) else copy_size(<float*> NULL))


def activate_rows(y, int activation):
    """y := f(y), one sample a row."""
    cdef Array rows = held(y, c'f', number_size(y), 2, True)
    cdef Py_ssize_t m = rows.buffer.shape[0], n = rows.buffer.shape[1]
    if activation not in ACTIVATIONS.values():
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation}")
    if m > 0 and n > 0:
        with nogil:
            if rows.buffer.itemsize == sizeof(double):
                activate(<double*> rows.buffer.buf, <double*> NULL, m, n, n, n, activation)
            else:
                activate(<float*> rows.buffer.buf, <float*> NULL, m, n, n, n, activation)


cdef void take_logarithms(floating* y, Py_ssize_t n) noexcept nogil:
    """y := log(y)"""
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = log(y[i])


def logarithms(y):
    """y := log(y), as the losses take it."""
    cdef Array row = held(y, c'f', number_size(y), 1, True)
    with nogil:
        if row.buffer.itemsize == sizeof(double):
            take_logarithms(<double*> row.buffer.buf, row.buffer.shape[0])
        else:
            take_logarithms(<float*> row.buffer.buf, row.buffer.shape[0])


cdef Rule rule_of(given):
    cdef Rule rule
    (rule.kind, rule.learning_rate, rule.momentum, rule.beta2, rule.epsilon, rule.weight_decay, rule.nesterov,
     rule.epsilon_hat, rule.l1, rule.l2, rule.l2_of_sum, rule.clip_value, rule.clip_norm, rule.max_norm) = given
    return rule


def moment_count(rule):
    """How many numbers of each parameter's past the rule keeps: rows of moments for `train`."""
    cdef Rule given = rule_of(rule)
    return moments_of(&given)


cdef bint signalled(void* caught) noexcept nogil:
    """Lets Python handle the signals that have come in the meantime, and keeps what their handlers raise"""
    cdef unsigned long mode = float_mode()
    cdef bint raised = False
    set_float_mode(mode & ~FLUSHES)      # handlers are to compute as elsewhere
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<list> caught).append(error)
            raised = True
    set_float_mode(mode)
    return raised


def work_size(Model model not None, Py_ssize_t samples, int threads, want wanted, int forced, bint whole, bint sparse, like):
    """Elements of work for a pass over so many samples; or, if the gradient is wanted, for steps of at most this many.

    whole: the steps will clip the gradient by its length. sparse: the samples are.
    """
    cdef Job job
    cdef Training steps
    job.net, job.wanted, steps.forced = model.net, wanted, <regime> forced
    job.net.whole, job.net.sparse = whole, sparse
    threads = min(threads, MAX_THREADS)
    if is_double(like):
        return (lay_out(&job, &steps, <double*> NULL, samples, threads) if wanted == GRADIENT
                else lay_out_pass(&job, <double*> NULL, samples, threads))
    return (lay_out(&job, &steps, <float*> NULL, samples, threads) if wanted == GRADIENT
            else lay_out_pass(&job, <float*> NULL, samples, threads))


def paying_threads(Model model not None, Py_ssize_t samples, Py_ssize_t steps, rule, bint whole, bint sparse, like):
    """Threads that are worth having for steps of so many samples, or if there are none for a pass; else as for `work_size`.

    rule: of the steps, or None.
    """
    cdef Net net = model.net
    cdef Rule given
    cdef bint rooted = False
    net.whole, net.sparse = whole, sparse
    if rule is not None:
        given = rule_of(rule)
        rooted = takes_roots(&given)
    if is_double(like):
        return threads_paying(&net, samples, steps, rooted, <double*> NULL)
    return threads_paying(&net, samples, steps, rooted, <float*> NULL)


cdef bint forward_as(Job* job, Given given, int threads, floating* work, double* losses, double* hits) except -1:
    """`forward` for the dtype at hand: whether the first layer's z is finite"""
    cdef Py_ssize_t m = given.samples
    cdef const floating* w = <const floating*> job.params
    cdef void* caught = <void*> given.caught
    cdef bint finite
    if given.work.buffer.shape[0] < lay_out_pass(job, work, m, threads):
        raise ValueError("work must have as many elements as work_size says")
    with nogil:
        if job.packed:
            pack_layers(&job.net, work, w, 0, 1)
            job.params = work
        finite = do_pass(job, m, threads, signalled, caught, w)
        if job.wanted == LOSS:
            losses[0], hits[0] = sum_of(job.losses, m), hits_of(job, m)
    return finite


def forward(Model model not None, work, params, x, int threads, outputs=None, classes=None, labels=None, targets=None,
            weights=None, order=None):
    """One pass forward: outputs := those of the last layer; or classes := the index of the largest; or the loss.

    Returns the sum of the samples' losses, what those whose classes are right weigh, and whether the first layer's z is finite,
    as far as what x holds shows in it.
    """
    cdef Given given = Given(model, work, params, False, x, labels, targets, weights, order)
    cdef Py_ssize_t size = given.params.buffer.itemsize
    cdef Array results = None
    cdef Job job
    cdef bint finite
    cdef double losses = 0, hits = 0
    given.fill(&job, model)
    job.wanted = LOSS
    if outputs is not None:
        job.wanted, results = OUTPUTS, held(outputs, c'f', size, 2, True, True)
        job.outputs_apart = results.buffer.strides[1]
    elif classes is not None:
        job.wanted, results = CLASSES, held(classes, c'i', sizeof(Py_ssize_t), 1, True, True)
    if results is not None:
        if results.buffer.shape[0] != given.samples or outputs is not None \
                and results.buffer.shape[1] != model.net.sizes[model.net.layers]:
            raise ValueError("outputs and classes must have a row for each sample, and outputs a column for each output")
        job.results, job.results_apart = <char*> start_of(results), results.buffer.strides[0]
    job.packed = given.samples >= PACKING_PAYS
    threads = min(threads, MAX_THREADS)
    if size == sizeof(double):
        finite = forward_as(&job, given, threads, <double*> start_of(given.work), &losses, &hits)
    else:
        finite = forward_as(&job, given, threads, <float*> start_of(given.work), &losses, &hits)
    if given.caught:
        raise given.caught[0]
    return losses, hits, bool(finite)


cdef int train_as(Job* job, Training* steps, Given given, Array moments, int threads, floating* work) except -1:
    """`train` for the dtype at hand"""
    cdef floating* params = <floating*> start_of(given.params)
    cdef void* caught = <void*> given.caught
    cdef Py_ssize_t count = parameter_count(&job.net, params), number = moments_of(&steps.rule)
    if given.work.buffer.shape[0] < lay_out(job, steps, work, min(steps.batch, steps.samples), threads):
        raise ValueError("work must have as many elements as work_size says")
    if number > 0 and (moments.buffer.shape[0] < number or moments.buffer.shape[1] < count):
        raise ValueError("moments must have as many rows as moment_count says, each of a number for each parameter")
    if not steps.continued and (steps.samples + steps.batch - 1) // steps.batch % 2 == 1:
        steps.current, steps.other = steps.other, steps.current      # so that they are in their places after the last step
    with nogil:
        do_steps(job, threads, signalled, caught, <const floating*> params)
        if steps.other == work:          # where the next call does not expect it
            memcpy(work + count, work, count * sizeof(floating))


def train(Model model not None, work, params, moments, x, int threads, int forced, Py_ssize_t batch, rule, Py_ssize_t taken,
          bint continued, labels=None, targets=None, weights=None, order=None, rates=None, unsigned long long seed=0):
    """params := those after one step for each batch of samples, in order.

    rule: kind, learning rate, momentum or beta1, beta2, epsilon, weight decay, Nesterov, and so on: see Rule. taken: steps that
    the moments have seen. continued: work is that of the call before. weights: of the samples. rates: a learning rate for each
    step. seed: of dropout. Ends at a step whose loss is not finite, with the parameters from before the step that led there,
    even if that was the last one of the call before.
    Returns the sums of the samples' losses and of the penalties, each times its weight, what those whose classes were right
    weigh, the steps taken, a status, and the sum of the parameters' squares; after a signal whose handler raised an error, that
    is raised, with the parameters of a whole number of steps.
    """
    cdef Given given = Given(model, work, params, True, x, labels, targets, weights, order)
    cdef Py_ssize_t size = given.params.buffer.itemsize, m = given.samples
    cdef Array past = held(moments, c'f', size, 2, True), rate = held_if_any(rates, c'f', sizeof(double), 1)
    cdef Job job
    cdef Training steps
    cdef double squares = 0
    cdef int i
    given.fill(&job, model)
    steps.rule, steps.rates, steps.params = rule_of(rule), <const double*> start_of(rate), start_of(given.params)
    job.wanted, job.packed, job.seed, steps.forced, job.training = GRADIENT, True, seed, <regime> forced, &steps
    job.net.whole = steps.rule.clip_norm > 0
    if rate is not None and rate.buffer.shape[0] < (m + batch - 1) // batch:
        raise ValueError("rates must have a number for each step")
    steps.samples, steps.batch, steps.taken, steps.continued = m, batch, taken, continued
    steps.moment1 = start_of(past)
    steps.moment2 = <char*> steps.moment1 + (past.buffer.shape[0] - 1) * past.buffer.shape[1] * size
    threads = min(threads, MAX_THREADS)
    if size == sizeof(double):
        train_as(&job, &steps, given, past, threads, <double*> start_of(given.work))
    else:
        train_as(&job, &steps, given, past, threads, <float*> start_of(given.work))
    if given.caught:
        raise given.caught[0]
    for i in range(job.threads):
        squares += steps.params_squared[i]
    return steps.loss, steps.penalty, steps.correct, steps.steps, steps.ended, squares


cdef void give_back(const Net* net, floating* params, const floating* work) noexcept nogil:
    """`take_back` for the dtype at hand"""
    unpack_layers(net, params, work + parameter_count(net, params), 0, 1)


def take_back(Model model not None, params, work):
    """params := those of before the last step that `train` took, which it left in work."""
    cdef bint in_double = is_double(params)
    cdef Array to = held(params, c'f', params.itemsize, 1, True), room = held(work, c'f', params.itemsize, 1)
    cdef Py_ssize_t count = model.count(params.itemsize)
    if to.buffer.shape[0] != count or room.buffer.shape[0] < 2 * count:
        raise ValueError("params and work must be those that `train` was given")
    with nogil:
        if in_double:
            give_back(&model.net, <double*> to.buffer.buf, <const double*> room.buffer.buf)
        else:
            give_back(&model.net, <float*> to.buffer.buf, <const float*> room.buffer.buf)
