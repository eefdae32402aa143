# One dense layer, forward and backward: the product in its three forms.
#
# m samples, k inputs, n outputs; rows of our own arrays are padded to whole cache lines.   x (m, k), rows ldx apart   y (m, n)
# w: the layer's parameters, k rows of weights and then the biases, (k + 1, n), packed in panels or row-major
# d: the gradient of the loss by z = x @ w + b (m, n)   dw: that by w (k + 1, n), packed   turned: the weights' transpose
# (n, k), packed   copy, packed: space to work in


cdef void dense_forward(floating* y, const floating* x, Py_ssize_t ldx, const floating* w, bint w_packed,
                        Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, floating* copy) noexcept nogil:
    """y := x @ w + b"""
    cdef Py_ssize_t ldy = padded(n, y)
    product(y, panel(y), ldy, x, ldx, 1, w, (k + 1) * panel(y) if w_packed else panel(y), 0 if w_packed else ldy,
            m, k, ldy, FROM_BIAS, copy)


cdef void dense_backward(floating* dw, const floating* d, const floating* x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t k,
                         Py_ssize_t n, bint fresh, floating* packed, floating* copy) noexcept nogil:
    """dw := (0 if fresh else dw) + x.T @ d, and the sum of d's rows below it"""
    cdef Py_ssize_t ldd = padded(n, d), width = panel(d), i, j, q, wide
    cdef floating* db
    cdef const floating* panels = d      # one panel is packed as it stands
    if ldd > width:
        pack(packed, m, 0, d, ldd, 1, m, ldd)
        panels = packed
    product(dw, (k + 1) * width, 0, x, 1, ldx, panels, m * width, 0, k, m, ldd, FROM_ZERO if fresh else FROM_Y, copy)
    for j from 0 <= j < ldd by width:
        wide = min(ldd - j, width)
        db = dw + j * (k + 1) + k * wide
        if fresh:
            memset(db, 0, wide * sizeof(floating))
        for i in range(m):
            for q in range(wide):
                db[q] += d[i * ldd + j + q]


cdef void dense_input_gradient(floating* dx, const floating* d, const floating* turned, Py_ssize_t m, Py_ssize_t k,
                               Py_ssize_t n, floating* copy) noexcept nogil:
    """dx := d @ w.T"""
    product(dx, panel(d), padded(k, d), d, padded(n, d), 1, turned, n * panel(d), 0, m, n, padded(k, d), FROM_ZERO, copy)


cdef void dense_turn(floating* turned, const floating* w, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """turned := w.T, from packed panels to packed panels"""
    cdef Py_ssize_t width = panel(w), j, wide
    for j from 0 <= j < n by width:
        wide = min(padded(n, w) - j, width)
        pack(turned, n, j, w + j * (k + 1), 1, wide, min(n - j, width), k)
