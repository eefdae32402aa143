# What Python gives: arrays and sparse samples that are only read, and the description of a network.
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer, Py_buffer


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
        cdef const int[::1] columns
        cdef const Py_ssize_t[::1] starts
        self.sparse.values = NULL
        if isinstance(array, tuple):
            values, columns, starts, self.columns = array
            PyObject_GetBuffer(values, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
            self.kept, self.rows = (columns, starts), starts.shape[0] - 1
            if self.buffer.ndim != 1 or self.buffer.shape[0] != columns.shape[0] or columns.shape[0] < starts[self.rows]:
                raise ValueError("values, columns and starts do not match")
            # There may be no values at all, and NULL says that the samples are not sparse.
            self.sparse.values = self.buffer.buf if columns.shape[0] > 0 else <void*> self.buffer.shape
            self.sparse.columns, self.sparse.starts = &columns[0] if columns.shape[0] > 0 else NULL, &starts[0]
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

    def __cinit__(self, const Py_ssize_t[::1] sizes, const int[::1] activations, const double[::1] dropout, int loss,
                  double smoothing, double delta, const double[::1] levels, double scale, const double[::1] shift,
                  const double[::1] factor):
        cdef Net* net = &self.net
        net.layers, net.whole, self.inputs = activations.shape[0], False, sizes[0]
        if sizes.shape[0] != net.layers + 1 or dropout.shape[0] != net.layers or levels.shape[0] != sizes[net.layers]:
            raise ValueError("sizes, activations, dropout and levels do not match")
        net.sizes, net.activations, net.dropout = &sizes[0], &activations[0], &dropout[0]
        net.loss.kind, net.loss.smoothing, net.loss.delta, net.loss.levels = loss, smoothing, delta, &levels[0]
        net.inputs.scale, net.inputs.shift, net.inputs.factor = scale, NULL, NULL
        if shift is not None:
            if shift.shape[0] != sizes[0] or factor is None or factor.shape[0] != sizes[0]:
                raise ValueError("shift and factor must have a number for each input")
            net.inputs.shift, net.inputs.factor = &shift[0], &factor[0]
        self.kept = sizes, activations, dropout, levels, shift, factor
