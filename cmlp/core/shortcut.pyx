# The shortest way from an array of a few samples to what a network makes of them, for who predicts again and again.
cdef bint never(void* asker) noexcept nogil:
    """For what is done before anybody could want it to end"""
    return False


cdef class Shortcut:
    """What a network makes of a few samples, without judging: it takes what needs no judgement.

    array_type: that of NumPy. empty: its function. wanted: "outputs" or "classes". model, work, params: as for `forward`.
    threads: what work has room for. limit: a function that says how many may be used.
    """
    cdef Job job
    cdef Array work, params
    cdef object model, array_type, empty, dtype, limit
    cdef Py_ssize_t inputs, outputs, most, fewest_shared
    cdef int threads
    cdef bint in_double

    def __cinit__(self, Model model not None, work, params, Py_ssize_t most, want wanted, array_type, empty, dtype, int threads,
                  limit):
        self.in_double = is_double(params)
        self.work, self.params = held(work, c'f', params.itemsize, 1, True), held(params, c'f', params.itemsize, 1)
        self.model, self.array_type, self.empty, self.dtype = model, array_type, empty, dtype
        self.threads, self.limit = min(threads, MAX_THREADS), limit
        self.job.net, self.job.order, self.job.labels, self.job.weights = model.net, NULL, NULL, NULL
        self.job.wanted, self.job.packed, self.job.sparse.values = wanted, False, NULL
        self.inputs, self.outputs = model.inputs, model.net.sizes[model.net.layers]
        if self.params.buffer.shape[0] != model.count(params.itemsize):
            raise ValueError("params must have a number for each parameter, and for the padding")
        if self.work.buffer.shape[0] < (self.settle[double](NULL, most) if self.in_double else self.settle[float](NULL, most)):
            raise ValueError("work must have as many elements as work_size says")

    def __call__(self, x, out):
        """The outputs (n_outputs, m) or classes (m,) of x (inputs, m) or (inputs,); None if that must be judged first.

        out: None, or an array of the results' type for them.
        """
        cdef Py_buffer given, made
        cdef Py_ssize_t m, apart
        cdef int threads = 1
        cdef bint finite
        if type(x) is not self.array_type:
            return None
        try:
            PyObject_GetBuffer(x, &given, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        except (BufferError, ValueError):                           # of a type that has none, as dates
            return None
        try:
            if not 1 <= given.ndim <= 2 or given.shape[0] != self.inputs:
                return None
            m = given.shape[1] if given.ndim == 2 else 1
            if not 1 <= m <= self.most:
                return None
            # A single sample is a row of its own, whatever its stride says.
            apart = given.strides[1] if m > 1 else self.inputs * given.itemsize
            if out is None:
                out = self.empty((m, self.outputs), self.dtype).T if self.job.wanted == OUTPUTS else self.empty(m, self.dtype)
            elif type(out) is not self.array_type or out.dtype is not self.dtype:
                return None
            try:
                PyObject_GetBuffer(out, &made, PyBUF_STRIDED_RO | PyBUF_WRITABLE)
            except (BufferError, ValueError):                       # read-only
                return None
            try:
                if made.ndim != (2 if self.job.wanted == OUTPUTS else 1) or made.shape[made.ndim - 1] != m \
                        or made.ndim == 2 and made.shape[0] != self.outputs \
                        or (<Py_ssize_t> made.buf | made.strides[0] | made.strides[made.ndim - 1]) % made.itemsize != 0:
                    return None
                if self.threads > 1 and m >= self.fewest_shared:
                    threads = min(self.limit(), self.threads)
                with cython.critical_section(self):
                    self.job.x = table_of(&given, apart, given.strides[0])
                    self.job.results, self.job.results_apart = <char*> made.buf, made.strides[made.ndim - 1]
                    self.job.outputs_apart = made.strides[0]
                    if self.job.x.kind == 0:
                        finite = False
                    elif self.in_double:
                        finite = self.passed[double](NULL, m, threads)
                    else:
                        finite = self.passed[float](NULL, m, threads)
                return out if finite else None
            finally:
                PyBuffer_Release(&made)
        finally:
            PyBuffer_Release(&given)

    cdef Py_ssize_t settle(self, const floating* like, Py_ssize_t most) noexcept:
        """How many samples it takes, and which of them it shares; returns how many elements of work that needs"""
        self.most = min(most, largest_block(&self.job.net, like))
        self.fewest_shared = (2 * HANDING_WORK - 1) // parameter_count(&self.job.net, like) + 1
        start_team(&self.job.team, never, NULL)
        return lay_out_pass(&self.job, <floating*> start_of(self.work), self.most, self.threads)

    cdef bint passed(self, const floating* like, Py_ssize_t m, int threads) noexcept:
        """The pass; whether what x holds is finite"""
        cdef const floating* w = <const floating*> start_of(self.params)
        if threads > 1:
            self.job.params = w
            return do_pass(&self.job, m, threads, never, NULL, like)
        self.job.tallies[0].finite = True
        block_pass(&self.job, w, w, <floating*> NULL, True, <floating*> self.job.space, 0, 0, m, 0, NULL, 0)
        return self.job.tallies[0].finite
