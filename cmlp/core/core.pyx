# The compiled core of cmlp, for one instruction set: arrays in, pointers down. With view.pyx and shortcut.pyx the only part that
# knows of Python.
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

STATUSES = {"done": DONE, "bad_loss": BAD_LOSS, "bad_start": BAD_START, "bad_step": BAD_STEP}
WANTS = {"outputs": OUTPUTS, "classes": CLASSES, "loss": LOSS, "gradient": GRADIENT}
REGIMES = {"fused": FUSED, "wide": WIDE, "by_size": BY_SIZE}


def tile_shape(const floating[::1] like):
    """Rows and columns of the register tile, and the rows of a panel that are summed in one chain."""
    return TILE_ROWS, TILE_VECTORS * (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating), K_BLOCK


def padded_columns(Py_ssize_t n, const floating[::1] like):
    """Elements that a row of n takes in the core's arrays."""
    return padded(n, &like[0])


def has_threads():
    """Whether the core was built to use several threads."""
    return HAS_THREADS == 1


def has_openmp():
    """Whether OpenMP has a say in how many."""
    return HAS_OPENMP == 1


def forget_threads():
    """For a forked child, which has none of its parent's."""
    forget_workers()


forget_workers()


def openmp_limit():
    """The threads that OpenMP would use here: by the processors and OMP_NUM_THREADS, until somebody sets another number."""
    return thread_limit()


def matmul(floating[:, :] y, const floating[:, :] a, const floating[:, :] b, const floating[:] bias, bint accumulate,
           floating[::1] work):
    """y := (y if accumulate else bias or 0) + a @ b.

    The rows of y are `padded_columns` apart or more, and all of that is written, in a last or only row too, where the array
    itself cannot tell. y shares no memory with a and b. One of a's strides is one element. work: `matmul_work`.
    """
    cdef Py_ssize_t m = y.shape[0], n = y.shape[1], k = a.shape[1], size = sizeof(floating), j, wide, width
    cdef floating* packed = &work[0]
    cdef floating* row
    cdef Loose of_b
    cdef Into to
    # A single row has a way of its own through panels; and if there are more than a block of rows, all of them come back to b.
    cdef bint in_panels = m == 1 or m > MOST_ROWS
    cdef Py_ssize_t rows = k if in_panels else 0
    wide, width = padded(n, packed), panel(packed)
    if a.shape[0] != m or b.shape[0] != k or b.shape[1] != n or (bias is not None and bias.shape[0] != n):
        raise ValueError(f"shapes do not match: y {m, n}, a {a.shape[0], a.shape[1]}, b {b.shape[0], b.shape[1]}")
    if k > 1 and m > 1 and size != a.strides[0] and size != a.strides[1]:
        raise ValueError("one of a's strides must be one element")
    j = y.strides[0] | y.strides[1] | a.strides[0] | a.strides[1] | b.strides[0] | b.strides[1]
    if bias is not None:
        j |= bias.strides[0]
    if j & (size - 1) != 0:              # of any of them, as size is a power of two
        raise ValueError("all strides must be whole elements")
    if n > 1 and y.strides[1] != size or m > 1 and y.strides[0] < wide * size:
        raise ValueError("the rows of y must be padded_columns apart")
    if work.shape[0] < matmul_work(k, n, work):
        raise ValueError("work is smaller than matmul_work")
    if m == 0 or n == 0:
        return
    with nogil:
        if in_panels and k > 0:
            pack(packed, k + 1, 0, &b[0, 0], b.strides[0] // size, b.strides[1] // size, k, n)
        for j from 0 <= j < wide by width:
            row = packed + j * (rows + 1) + rows * min(wide - j, width)
            memset(row, 0, min(wide - j, width) * size)
        if bias is not None:
            pack(packed, rows + 1, rows, &bias[0], 0, bias.strides[0] // size, 1, n)
        of_b.b, of_b.bias, of_b.first, of_b.columns, of_b.panel_rows = &b[0, 0] if k > 0 else packed, packed, 0, n, 0
        of_b.rows_apart, of_b.columns_apart = b.strides[0] // size, b.strides[1] // size
        to = into(&y[0, 0], width, y.strides[0] // size, FROM_Y if accumulate else FROM_BIAS)
        product(&to, &a[0, 0] if k > 0 else packed,
                1 if m == 1 else a.strides[0] // size, 1 if k < 2 else a.strides[1] // size,
                packed, (k + 1) * width, 0, m, k, wide, chain_length(k), False,
                NULL if in_panels else &of_b, NULL, packed + (rows + 1) * wide)


def matmul_work(Py_ssize_t k, Py_ssize_t n, const floating[::1] like):
    """Elements of work for `matmul`."""
    return (k + 1) * padded(n, &like[0]) + copy_size(&like[0])


def activate_rows(floating[:, ::1] y, int activation):
    """y := f(y), one sample a row."""
    if activation not in ACTIVATIONS.values():
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation}")
    if y.shape[0] > 0 and y.shape[1] > 0:
        with nogil:
            activate(&y[0, 0], <floating*> NULL, y.shape[0], y.shape[1], y.shape[1], y.shape[1], activation)


def logarithms(floating[::1] y):
    """y := log(y), as the losses take it."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(y.shape[0]):
            y[i] = log(y[i])


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


def work_size(Model model, Py_ssize_t samples, int threads, want wanted, int forced, bint whole, const floating[::1] like):
    """Elements of work for a pass over so many samples; or, if the gradient is wanted, for steps of at most this many.

    whole: the steps will clip the gradient by its length, or are over sparse samples.
    """
    cdef Job job
    cdef Run steps
    job.net, job.wanted, steps.forced = model.net, wanted, <regime> forced
    job.net.whole = whole
    threads = min(threads, MAX_THREADS)
    if wanted == GRADIENT:
        return lay_out(&job, &steps, <floating*> &like[0], samples, threads)
    return lay_out_pass(&job, <floating*> &like[0], samples, threads)


def paying_threads(Model model, Py_ssize_t samples, Py_ssize_t steps, bint whole, const floating[::1] like):
    """Threads that are worth having for steps of so many samples, or if there are none for a pass; whole: as for `work_size`."""
    cdef Net net = model.net
    net.whole = whole
    return threads_paying(&net, samples, steps, &like[0])


cdef void give(Job* job, Model model, View given, View wanted, const Py_ssize_t[::1] labels, const double[::1] weights,
               const Py_ssize_t[::1] order):
    """What a pass is over"""
    job.net, job.x, job.sparse, job.targets = model.net, given.table, given.sparse, wanted.table
    job.labels, job.weights, job.order = NULL, NULL, NULL
    if labels is not None:
        job.labels = &labels[0]
    if weights is not None:
        job.weights = &weights[0]
    if order is not None:
        job.order = &order[0]


def run(Model model, floating[::1] work, const floating[::1] params, x, int threads, floating[:, :] outputs=None,
        Py_ssize_t[:] classes=None, const Py_ssize_t[::1] labels=None, targets=None, const double[::1] weights=None,
        const Py_ssize_t[::1] order=None):
    """One pass forward: outputs := those of the last layer; or classes := the index of the largest; or the loss.

    Returns the sum of the samples' losses, what those whose classes are right weigh, and whether the first layer's z is finite,
    as far as what x holds shows in it.
    """
    cdef View given = View(x), wanted = given if targets is None else View(targets)
    cdef Job job
    cdef Py_ssize_t m = given.rows
    cdef const floating* w = &params[0]
    cdef bint finite
    cdef double losses = 0, hits = 0
    cdef list caught = []
    give(&job, model, given, wanted, labels, weights, order)
    m = m if order is None else order.shape[0]
    job.wanted = LOSS
    if outputs is not None:
        job.wanted, job.results = OUTPUTS, <char*> &outputs[0, 0]
        job.results_apart, job.outputs_apart = outputs.strides[0], outputs.strides[1]
    elif classes is not None:
        job.wanted, job.results, job.results_apart = CLASSES, <char*> &classes[0], classes.strides[0]
    job.packed = m >= PACKING_PAYS
    threads = min(threads, MAX_THREADS)
    if given.columns != model.inputs or work.shape[0] < lay_out_pass(&job, &work[0], m, threads):
        raise ValueError("x must have a column for each input, and work as many elements as work_size says")
    job.params = w
    with nogil:
        if job.packed:
            pack_layers(&job.net, &work[0], w, 0, 1)
            job.params = &work[0]
        finite = do_pass(&job, m, threads, signalled, <void*> caught, w)
        if job.wanted == LOSS:
            losses, hits = sum_of(job.losses, m), hits_of(&job, m)
    if caught:
        raise caught[0]
    return losses, hits, bool(finite)


def train(Model model, floating[::1] work, floating[::1] params, floating[:, ::1] moments, x, int threads, int forced,
          Py_ssize_t batch, rule, Py_ssize_t taken, bint continued, const Py_ssize_t[::1] labels=None, targets=None,
          const double[::1] weights=None, const Py_ssize_t[::1] order=None, const double[::1] rates=None,
          unsigned long long seed=0):
    """params := those after one step for each batch of samples, in order.

    rule: kind, learning rate, momentum or beta1, beta2, epsilon, weight decay, Nesterov, and so on: see Rule. taken: steps that
    the moments have seen. continued: work is that of the call before. weights: of the samples. rates: a learning rate for each
    step. seed: of dropout. Ends at a step whose loss is not finite, with the parameters from before the step that led there,
    even if that was the last one of the call before.
    Returns the sums of the samples' losses and of the penalties, each times its weight, what those whose classes were right
    weigh, the steps taken, a status, and the sum of the parameters' squares; after a signal whose handler raised an error, that
    is raised, with the parameters of a whole number of steps.
    """
    cdef View given = View(x), wanted = given if targets is None else View(targets)
    cdef Job job
    cdef Run steps
    cdef Py_ssize_t m = given.rows, count
    cdef const floating* like = &params[0]
    cdef double squares = 0
    cdef int i
    cdef list caught = []
    give(&job, model, given, wanted, labels, weights, order)
    m = m if order is None else order.shape[0]
    steps.rule, steps.rates = rule_of(rule), NULL
    job.wanted, job.packed, job.seed, steps.forced = GRADIENT, True, seed, <regime> forced
    job.net.whole = steps.rule.clip_norm > 0 or job.sparse.values != NULL
    threads = min(threads, MAX_THREADS)
    if given.columns != model.inputs or work.shape[0] < lay_out(&job, &steps, &work[0], min(batch, m), threads):
        raise ValueError("x must have a column for each input, and work as many elements as work_size says")
    count = parameter_count(&job.net, like)
    if moments_of(&steps.rule) > 0 and (moments.shape[0] < moments_of(&steps.rule) or moments.shape[1] < count):
        raise ValueError("moments must have as many rows as moment_count says, each of a number for each parameter")
    if rates is not None:
        if rates.shape[0] < (m + batch - 1) // batch:
            raise ValueError("rates must have a number for each step")
        steps.rates = &rates[0]
    steps.samples, steps.batch, steps.taken, steps.continued = m, batch, taken, continued
    steps.moment1, steps.moment2 = &moments[0, 0], &moments[moments.shape[0] - 1, 0]
    job.run = &steps
    if not continued and (m + batch - 1) // batch % 2 == 1:
        steps.current, steps.other = steps.other, steps.current      # so that they are in their places after the last step
    steps.params = &params[0]
    with nogil:
        do_steps(&job, threads, signalled, <void*> caught, like)
        if steps.other == &work[0]:      # where the next call does not expect it
            memcpy(&work[count], &work[0], count * sizeof(floating))
    if caught:
        raise caught[0]
    for i in range(job.threads):
        squares += steps.params_squared[i]
    return steps.loss, steps.penalty, steps.correct, steps.steps, steps.ended, squares


def take_back(Model model, floating[::1] params, const floating[::1] work):
    """params := those of before the last step that `train` took, which it left in work."""
    cdef Py_ssize_t count = parameter_count(&model.net, &params[0])
    if params.shape[0] != count or work.shape[0] < 2 * count:
        raise ValueError("params and work must be those that `train` was given")
    with nogil:
        unpack_layers(&model.net, &params[0], &work[count], 0, 1)
