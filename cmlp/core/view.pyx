# What Python gives: arrays, sparse samples, the description of a network, and all that a pass is over.
from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer, Py_buffer)


cdef Table table_of(const Py_buffer* buffer, Py_ssize_t rows_apart, Py_ssize_t columns_apart) noexcept nogil:
    """An array of numbers; kind 0 if it holds none"""
    cdef unsigned short one = 1
    cdef char foreign = c'>' if (<char*> &one)[0] else c'<'
    cdef const char* letter = buffer.format
    cdef Table table
    table.swapped = letter[0] == foreign
    if letter[0] in (c'<', c'>', c'=', c'@', c'!'):                # the order of bytes
        letter += 1
    if letter[1] != 0:
        table.kind = 0
    elif letter[0] in (c'f', c'd', c'g'):
        table.kind = c'f'
    elif letter[0] in (c'b', c'h', c'i', c'l', c'q'):
        table.kind = c'i'
    elif letter[0] in (c'?', c'B', c'H', c'I', c'L', c'Q'):
        table.kind = c'u'
    else:
        table.kind = c'e' if letter[0] == c'e' else 0
    table.data, table.itemsize = <const char*> buffer.buf, buffer.itemsize
    table.rows_apart, table.columns_apart = rows_apart, columns_apart
    return table


cdef class Array:
    """Keeps an array of numbers of a known type in place, while the core works on it; without the weight of a memoryview."""
    cdef Py_buffer buffer

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


cdef Array held(array, char kind, Py_ssize_t itemsize, int dimensions, bint written=False, bint strided=False):
    """An array to be read or written, its numbers one after the other or any strides apart"""
    cdef Array made = Array.__new__(Array)
    cdef Table table
    PyObject_GetBuffer(array, &made.buffer, PyBUF_FORMAT | (PyBUF_STRIDED_RO if strided else PyBUF_C_CONTIGUOUS)
                       | (PyBUF_WRITABLE if written else 0))
    table = table_of(&made.buffer, 0, 0)
    if table.kind != kind or table.itemsize != itemsize or table.swapped or made.buffer.ndim != dimensions:
        raise ValueError(f"expected an array of {dimensions} dimensions of numbers {chr(kind)}{itemsize}, "
                         f"got {made.buffer.ndim} of format {made.buffer.format.decode()}")
    return made


cdef Array held_if_any(array, char kind, Py_ssize_t itemsize, int dimensions, bint strided=False):
    """The same of one to be read, unless it is None"""
    return None if array is None else held(array, kind, itemsize, dimensions, False, strided)


cdef Py_ssize_t number_size(array) except -1:
    """The bytes of its numbers, which are floats or doubles"""
    cdef Py_ssize_t size = array.itemsize
    if size != sizeof(float) and size != sizeof(double):
        raise ValueError(f"expected an array of floats or doubles, got numbers of {size} bytes")
    return size


cdef inline bint is_double(array) except -1:
    """Whether they are doubles"""
    return number_size(array) == sizeof(double)


cdef inline void* start_of(Array array) noexcept:
    """Where its numbers are; NULL if it is None"""
    return array.buffer.buf if array is not None else NULL


cdef class View:
    """Keeps a two-dimensional array of numbers in place while the core reads it.

    Or sparse samples: a tuple of their values, of the network's type, the columns of these, where each sample's begin, and the
    number of columns.
    """
    cdef Py_buffer buffer
    cdef Table table
    cdef Sparse sparse
    cdef Py_ssize_t rows, columns
    cdef object kept

    def __cinit__(self, array):
        cdef Array columns, starts
        self.sparse.values = NULL
        if isinstance(array, tuple):
            values, column, start, self.columns = array
            PyObject_GetBuffer(values, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
            columns, starts = held(column, c'i', sizeof(int), 1), held(start, c'i', sizeof(Py_ssize_t), 1)
            self.kept, self.rows = (columns, starts), starts.buffer.shape[0] - 1
            self.sparse.columns, self.sparse.starts = <const int*> start_of(columns), <const Py_ssize_t*> start_of(starts)
            if self.buffer.ndim != 1 or self.buffer.shape[0] != columns.buffer.shape[0] \
                    or self.rows < 0 or self.buffer.shape[0] < self.sparse.starts[self.rows]:
                raise ValueError("values, columns and starts do not match")
            # There may be no values at all, and NULL says that the samples are not sparse.
            self.sparse.values = self.buffer.buf if self.buffer.shape[0] > 0 else <void*> self.buffer.shape
            self.sparse.last = <unsigned int> max(self.columns - 1, 0)
        else:
            PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
            self.table = table_of(&self.buffer, self.buffer.strides[0], self.buffer.strides[1])
            self.rows, self.columns = self.buffer.shape[0], self.buffer.shape[1]

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


cdef class Model:
    """What a network is to the core, apart from its parameters.

    sizes: the inputs, then every layer's outputs. dropout: the share of each layer's outputs that a step leaves out.
    smoothing, delta, levels: what losses may need, see loss.pyx. Inputs are read as (x - shift) * factor, one number for each
    column, or as scale * x.
    """
    cdef Net net
    cdef Py_ssize_t inputs
    cdef object kept                     # the arrays that the net points into

    def __cinit__(self, sizes, activations, dropout, int loss, double smoothing, double delta, levels, double scale, shift,
                  factor):
        cdef Net* net = &self.net
        cdef Array all_sizes = held(sizes, c'i', sizeof(Py_ssize_t), 1), kinds = held(activations, c'i', sizeof(int), 1)
        cdef Array shares = held(dropout, c'f', sizeof(double), 1), quantiles = held(levels, c'f', sizeof(double), 1)
        cdef Array shifts = held_if_any(shift, c'f', sizeof(double), 1), factors = held_if_any(factor, c'f', sizeof(double), 1)
        net.layers, net.whole, net.sparse = kinds.buffer.shape[0], False, False
        net.sizes = <const Py_ssize_t*> start_of(all_sizes)
        if all_sizes.buffer.shape[0] != net.layers + 1 or shares.buffer.shape[0] != net.layers \
                or quantiles.buffer.shape[0] != net.sizes[net.layers]:
            raise ValueError("sizes, activations, dropout and levels do not match")
        self.inputs = net.sizes[0]
        net.activations, net.dropout = <const int*> start_of(kinds), <const double*> start_of(shares)
        net.loss.kind, net.loss.smoothing, net.loss.delta = loss, smoothing, delta
        net.loss.levels = <const double*> start_of(quantiles)
        if shifts is not None and (shifts.buffer.shape[0] != self.inputs or factors is None
                                   or factors.buffer.shape[0] != self.inputs):
            raise ValueError("shift and factor must have a number for each input")
        net.inputs.scale = scale
        net.inputs.shift, net.inputs.factor = <const double*> start_of(shifts), <const double*> start_of(factors)
        self.kept = all_sizes, kinds, shares, quantiles, shifts, factors

    cdef Py_ssize_t count(self, Py_ssize_t size) noexcept:
        """Elements of its parameters, of numbers of so many bytes"""
        if size == sizeof(double):
            return parameter_count(&self.net, <double*> NULL)
        return parameter_count(&self.net, <float*> NULL)


cdef bint are_below(const Py_ssize_t* labels, Py_ssize_t m, Py_ssize_t end) noexcept nogil:
    """Whether all of them are from 0 on and less than the end"""
    cdef int good = 1
    cdef Py_ssize_t i
    for i in range(m):
        good &= <size_t> labels[i] < <size_t> end
    return good


cdef class Given:
    """What a pass is over, kept in place, and its numbers."""
    cdef View x, targets
    cdef Array work, params, labels, weights, order
    cdef Py_ssize_t samples
    cdef list caught                     # what signals' handlers have raised in the meantime

    def __cinit__(self, Model model not None, work, params, bint params_too, x, labels, targets, weights, order):
        cdef Py_ssize_t size = number_size(params), outputs = model.net.sizes[model.net.layers]
        self.x = View(x)
        self.targets = self.x if targets is None else View(targets)
        self.work, self.params = held(work, c'f', size, 1, True), held(params, c'f', size, 1, params_too)
        self.labels = held_if_any(labels, c'i', sizeof(Py_ssize_t), 1)
        self.order = held_if_any(order, c'i', sizeof(Py_ssize_t), 1)
        self.weights, self.caught = held_if_any(weights, c'f', sizeof(double), 1), []
        self.samples = self.x.rows if order is None else self.order.buffer.shape[0]
        if self.x.columns != model.inputs:
            raise ValueError("x must have a column for each input")
        if self.params.buffer.shape[0] != model.count(size):
            raise ValueError("params must have a number for each parameter, and for the padding")
        if targets is not None and (self.targets.rows < self.x.rows or self.targets.columns != outputs) \
                or labels is not None and self.labels.buffer.shape[0] < self.x.rows \
                or weights is not None and self.weights.buffer.shape[0] < self.x.rows:
            raise ValueError("labels, targets and weights must have as many rows as x, and targets a column for each output")
        if labels is not None and not are_below(<const Py_ssize_t*> start_of(self.labels), self.labels.buffer.shape[0],
                                                max(outputs, 2)):
            raise ValueError("labels must be numbers of outputs, or 0 and 1")

    cdef void fill(self, Job* job, Model model) noexcept:
        """For a job"""
        job.net, job.x, job.sparse, job.targets = model.net, self.x.table, self.x.sparse, self.targets.table
        job.net.sparse = job.sparse.values != NULL
        job.labels, job.weights = <const Py_ssize_t*> start_of(self.labels), <const double*> start_of(self.weights)
        job.order, job.params = <const Py_ssize_t*> start_of(self.order), start_of(self.params)
