# The gradient of a dense layer of at most FEW outputs. The letters are those of dense.pyx.

cdef void narrow_gradient(floating* dw, const floating* d, const floating* x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t k,
                          Py_ssize_t n, bint fresh, floating* across) noexcept nogil:
    """dw := (0 if fresh else dw) + x.T @ d for at most FEW outputs, through across := d.T @ x, whose rows fill registers"""
    cdef Py_ssize_t wide = padded(n, d), ld = padded(k, d), width = panel(d), i, j
    cdef floating zero[PANEL_FLOATS]
    cdef Ahead nothing
    cdef Tile t
    memset(zero, 0, sizeof(zero))
    nothing.tiles, t.scale = 0, 1
    t.ldy, t.ldc, t.rows_apart, t.columns_apart, t.ldb, t.k = ld, 0, 1, wide, ldx, m
    for j from 0 <= j < ld by width:
        t.y, t.c, t.a, t.b, t.n = across + j, zero, d, x + j, min(ld - j, width)
        strip(&t, 0, n, NULL, &nothing, NULL, d)
    if fresh:
        memset(dw, 0, k * wide * sizeof(floating))
    for i in range(k):
        for j in range(n):
            dw[i * wide + j] += across[j * ld + i]
